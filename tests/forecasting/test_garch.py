"""GARCH equals arch: its fit, its fixed-parameter filter, its variance forecasts; and it is floored."""

import numpy as np
import pytest
from arch import arch_model
from threadpoolctl import threadpool_limits

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.density import SkewT
from quantseq.forecasting.garch import (
    _SIGMA_FLOOR,
    Garch,
    GarchFit,
    GjrGarch,
    _fit_skew_t,
    fit_garch,
)
from quantseq.forecasting.reference import Reference
from quantseq.forecasting.volatility import MIN_OWN_ROWS
from quantseq.market.bars import Floats, Panel
from tests.prices import recent_prices, simulate_bars, simulate_panel

H = 5
SHARES = {"": 0.3}
REFERENCE = Reference.fit(simulate_panel("A", 400), horizon=2)
REAL = recent_prices()
IBM = REAL["IBM"].log_returns()
BLOCK = IBM[:700]


def oracle(returns: Floats, unit: float, *, skewed: bool):
    """The same model in arch."""
    return arch_model(
        returns[1:] / unit,
        mean="Constant",
        p=1,
        o=int(skewed),
        q=1,
        dist="skewt" if skewed else "t",
        rescale=False,
    )


def parameters(one: GarchFit, *, skewed: bool) -> list[float]:
    news = [one.alpha, one.gamma] if skewed else [one.alpha]
    tail = [one.shapes[0, 0], one.shapes[0, 1]] if skewed else [one.shapes[0, 0]]
    return [one.mean, one.omega, *news, one.beta, *tail]


@pytest.fixture(scope="module", params=[False, True], ids=["garch-t", "gjr-garch-skewt"])
def fitted(request: pytest.FixtureRequest) -> tuple[GarchFit, bool]:
    found = fit_garch(BLOCK, skewed=request.param, horizon=H)
    assert found is not None
    return found, request.param


def test_the_fit_is_that_of_arch(fitted: tuple[GarchFit, bool]) -> None:
    one, skewed = fitted
    with threadpool_limits(1):
        theirs = oracle(BLOCK, one.unit, skewed=skewed).fit(disp="off")
    np.testing.assert_allclose(parameters(one, skewed=skewed), theirs.params, rtol=1e-12)


def test_the_filter_through_later_sessions_is_that_of_arch_with_fixed_parameters(
    fitted: tuple[GarchFit, bool],
) -> None:
    one, skewed = fitted
    fixed = oracle(IBM, one.unit, skewed=skewed).fix(parameters(one, skewed=skewed))
    ours = one.variances(one.residuals(IBM))
    # arch starts from residuals around the sample's mean, we from those around the fitted one.
    theirs = fixed.conditional_volatility[300:] ** 2
    np.testing.assert_allclose(ours[300:-1], theirs, rtol=1e-9)
    ahead = fixed.forecast(horizon=H).variance.to_numpy()[-1]
    np.testing.assert_allclose(ours[-1], ahead[0], rtol=1e-9)
    if not skewed:  # arch takes one half for the share of bad news, here it is that of the skew
        np.testing.assert_allclose(one.sigma(one.residuals(IBM), H)[-1] ** 2, ahead, rtol=1e-9)


def test_the_first_step_is_the_density_of_arch(fitted: tuple[GarchFit, bool]) -> None:
    one, skewed = fitted
    model = oracle(IBM, one.unit, skewed=skewed)
    fixed = model.fix(parameters(one, skewed=skewed))
    kind = GjrGarch if skewed else Garch
    rival = kind(np.datetime64("2010-01-01"), SHARES, {"IBM": one, "": one}, ())
    panel = REAL.select(["IBM"])
    found = rival.predict(panel, panel.sessions[-51:-1], horizon=H)
    happened = np.repeat(IBM[-50:, None], H, axis=1)
    ours = found.density.log_density(happened)[:, 0] + np.log(one.unit)
    theirs = model.distribution.loglikelihood(
        one.shapes[0, : 1 + skewed],
        np.asarray(fixed.resid)[-50:],
        np.asarray(fixed.conditional_volatility)[-50:] ** 2,
        individual=True,
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_variance_forecasts_are_means_of_the_simulated_paths(fitted: tuple[GarchFit, bool]) -> None:
    one, skewed = fitted
    kind = GjrGarch if skewed else Garch
    rival = kind(np.datetime64("2010-01-01"), SHARES, {"IBM": one, "": one}, ())
    panel = REAL.select(["IBM"])
    found = rival.predict(panel, panel.sessions[-1:], horizon=H, num_paths=60_000, seed=3)
    assert found.paths is not None
    sigma2 = (one.sigma(one.residuals(IBM), H)[-1] * one.unit) ** 2
    np.testing.assert_allclose(found.paths[0].var(axis=0), sigma2, rtol=0.12)
    clustering = np.corrcoef(found.paths[0, :, :2].T ** 2)[0, 1]
    assert clustering > 0.01


def test_later_steps_have_shapes_of_their_own(fitted: tuple[GarchFit, bool]) -> None:
    one, _ = fitted
    assert (one.shapes[0, 2], len(one.shapes)) == (1.0, H)
    assert (one.shapes[1:, 0] != one.shapes[0, 0]).all()
    np.testing.assert_allclose(one.shapes[1:, 2], 1, atol=0.15)


def test_the_skewed_t_is_found_again() -> None:
    truth = SkewT(*(np.full((1, 1), value) for value in (0.0, 1.3, 5.0, -0.3)))
    u = np.random.default_rng(0).random(8000)
    found = _fit_skew_t(truth.quantile(u)[0, 0], np.array([8.0, 0.0, 1.0]))
    np.testing.assert_allclose(found, [5.0, -0.3, 1.3], rtol=0.12)


@pytest.mark.parametrize("n", [MIN_OWN_ROWS, 100])
def test_what_is_too_short_or_never_moves_has_no_fit(n: int) -> None:
    assert fit_garch(IBM[:n], skewed=False, horizon=2) is None
    flat = np.where(np.arange(700) == 0, np.nan, 0.0)
    assert fit_garch(flat, skewed=True, horizon=2) is None


def test_a_symbol_without_a_fit_borrows_the_pooled_parameters_and_is_counted() -> None:
    short = simulate_bars("S", 300, start="2016-02-01")
    panel = Panel([*simulate_panel("AB", 800).values(), short])
    rival = Garch.fit(panel, REFERENCE, horizon=2)
    assert rival.failed == ("S",)
    assert rival.describe() == {"own_fits": 2, "pooled": ["S"]}
    pooled, own = rival.fits[""], rival.fits["S"]
    assert (own.alpha, own.beta) == (pooled.alpha, pooled.beta)
    assert own.unit == pytest.approx(short.log_returns()[1:].std(), rel=0.02)
    with pytest.raises(NotEnoughDataError, match="garch-t"):
        Garch.fit(Panel([short]), REFERENCE, horizon=2)


def test_stale_prices_do_not_drive_the_scale_to_zero() -> None:
    bars = simulate_bars("A", 900)
    returns = bars.log_returns()
    returns[750:850] = 0.0
    one = fit_garch(returns[:700], skewed=False, horizon=2)
    assert one is not None
    quiet = GarchFit(**{**vars(one), "omega": 1e-12})
    assert quiet.variances(quiet.residuals(returns)).min() >= _SIGMA_FLOOR**2
