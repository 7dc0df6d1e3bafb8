"""GARCH equals arch: its fit, its fixed-parameter filter, its variance forecasts; and it is floored."""

import math
from typing import Any

import numpy as np
import pytest
from arch import arch_model
from arch.univariate import StudentsT
from threadpoolctl import threadpool_limits

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.density import SkewT
from quantseq.forecasting.garch import (
    _SIGMA_CEILING,
    _SIGMA_FLOOR,
    Egarch,
    EgarchFit,
    Garch,
    GarchFit,
    GjrGarch,
    ScoreDriven,
    ScoreFit,
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


def in_logs(kind: type[EgarchFit], **changes: Any) -> EgarchFit:
    """Hand-made parameters of a recursion in logs."""
    values = {"mean": 0.02, "omega": -0.01, "alpha": 0.12, "gamma": -0.05, "beta": 0.97}
    shapes = np.tile([7.0, 0.0, 1.0], (H, 1))
    return kind(0.015, **(values | changes), shapes=shapes)


def test_egarch_is_that_of_arch() -> None:
    one = fit_garch(BLOCK, family=EgarchFit, horizon=H)
    assert one is not None
    kind: Any = {"mean": "Constant", "vol": "EGARCH", "p": 1, "o": 1, "q": 1, "dist": "t"}
    with threadpool_limits(1):
        theirs = arch_model(BLOCK[1:] / one.unit, rescale=False, **kind).fit(disp="off")
    ours = [one.mean, one.omega, one.alpha, one.gamma, one.beta, one.shapes[0, 0]]
    np.testing.assert_allclose(ours, theirs.params, rtol=1e-12)
    fixed = arch_model(IBM[1:] / one.unit, rescale=False, **kind).fix(ours)
    found = one.variances(one.residuals(IBM))
    np.testing.assert_allclose(found[300:-1], fixed.conditional_volatility[300:] ** 2, rtol=1e-9)
    ahead = fixed.forecast(horizon=1).variance.to_numpy()[-1, 0]
    np.testing.assert_allclose(found[-1], ahead, rtol=1e-9)


def test_the_news_of_the_score_driven_t_is_twice_the_score_of_its_log_variance() -> None:
    one = in_logs(ScoreFit, alpha=1.0, gamma=0.0)
    z, step = np.array([-6.0, -1.0, 0.0, 0.4, 3.0]), 1e-5
    high, low = (
        StudentsT().loglikelihood([7.0], z, np.full(5, np.exp(change)), individual=True)
        for change in (step, -step)
    )
    np.testing.assert_allclose(one.news()(z), (high - low) / step, atol=1e-6)
    nodes, weights = np.polynomial.legendre.leggauss(2000)
    density = np.exp(StudentsT().loglikelihood([7.0], 60 * nodes, np.ones(2000), individual=True))
    for kind in (EgarchFit, ScoreFit):  # the mean of the news, by integration
        one = in_logs(kind)
        news = np.array([one.news()(60 * node) for node in nodes])
        assert (news * density * weights).sum() * 60 == pytest.approx(one.mean_news(), abs=2e-4)


@pytest.mark.parametrize("kind", [EgarchFit, ScoreFit])
def test_the_filter_in_logs_is_the_recursion_as_it_is_written(kind: type[EgarchFit]) -> None:
    one, nu, expected = in_logs(kind), 7.0, []
    residuals = one.residuals(IBM[:400])
    level = math.log(one.start(residuals))
    for residual in residuals[1:]:
        expected.append(level)
        z = residual / math.sqrt(math.exp(level))
        if kind is EgarchFit:
            news = 0.12 * (abs(z) - math.sqrt(2 / math.pi)) - 0.05 * z
        else:
            u = (nu + 1) * z**2 / (nu - 2 + z**2) - 1
            news = 0.12 * u - 0.05 * -np.sign(z) * (u + 1)
        level = -0.01 + 0.97 * level + news
    np.testing.assert_allclose(np.log(one.variances(residuals))[:-1], expected, atol=1e-10)
    variance, residual = np.exp(expected[-2]), residuals[-2]
    after = one.after(np.array([variance]), np.array([residual]))
    np.testing.assert_allclose(np.log(after), expected[-1], atol=1e-10)


def test_the_score_driven_t_is_found_again_in_its_own_paths() -> None:
    truth = in_logs(ScoreFit, mean=0.0, omega=-0.01, alpha=0.08, gamma=0.03, beta=0.96)
    rng, level, returns = np.random.default_rng(4), -0.25, [np.nan]
    for _ in range(20_000):
        z = rng.standard_t(7) * math.sqrt(5 / 7)
        returns.append(0.015 * math.exp(level / 2) * z)
        level = truth.omega + truth.beta * level + truth.news()(z)
    one = fit_garch(np.array(returns), family=ScoreFit, horizon=1)
    assert one is not None
    scale = np.log(0.015 / one.unit) * 2 * (1 - one.beta)  # ω is in units of the sample
    found = [one.omega - scale, one.alpha, one.gamma, one.beta, one.shapes[0, 0] / 100]
    np.testing.assert_allclose(found, [-0.01, 0.08, 0.03, 0.96, 0.07], atol=0.012)


@pytest.mark.parametrize("kind", [Egarch, ScoreDriven])
def test_log_variance_forecasts_are_means_of_the_simulated_paths(kind: type[Garch]) -> None:
    family = kind.family
    assert issubclass(family, EgarchFit)
    one = in_logs(family)
    rival = kind(np.datetime64("2010-01-01"), SHARES, {"IBM": one, "": one}, ())
    panel = REAL.select(["IBM"])
    found = rival.predict(panel, panel.sessions[-1:], horizon=H, num_paths=40_000, seed=3)
    assert found.paths is not None
    sigma = one.sigma(one.residuals(IBM), H)[-1]
    moves = found.paths[0].astype(np.float64) / one.unit - one.mean
    variance, levels = np.full(len(moves), sigma[0] ** 2), []
    for step in range(H):
        levels.append(np.log(variance).mean() / 2)
        variance = one.after(variance, moves[:, step])
    np.testing.assert_allclose(levels, np.log(sigma), atol=0.005)


def test_a_glitch_and_a_rest_stay_within_floor_and_ceiling() -> None:
    returns = IBM[:700].copy()
    returns[500] = 5.0
    returns[560:660] = 0.0
    for kind in (EgarchFit, ScoreFit):
        found = in_logs(kind, beta=0.999).variances(in_logs(kind).residuals(returns))
        assert np.isfinite(found).all()
        assert found.min() >= _SIGMA_FLOOR**2 * (1 - 1e-12)
        assert found.max() <= _SIGMA_CEILING**2 * (1 + 1e-12)
    calm = in_logs(ScoreFit)
    moved = calm.variances(calm.residuals(returns))[500:502]
    assert np.log(moved[1] / moved[0]) < 1.5  # a score is bounded: EGARCH would leap
