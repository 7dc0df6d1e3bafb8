"""What a position holds: tails against sampling and the normal, and the arithmetic of the gap."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from quantseq.forecasting.density import NORMAL_NU, SIMPLE_BOUND, TokenDensity
from quantseq.forecasting.forecasts import Forecasts
from quantseq.trading.decisions.holding import gap_loss, held_moments


def forecasts(rows: int = 3, nu: float = 5.0, bins: int = 1, mean: float = 0.001) -> Forecasts:
    shape = (rows, 2)
    rng = np.random.default_rng(1)
    probs = rng.dirichlet(np.full(bins, 20.0), shape)
    density = TokenDensity(np.full(shape, mean), np.full(shape, 0.02), np.full(shape, nu), probs)
    day = np.datetime64("2020-01-01", "D")
    names = np.array([f"S{k}" for k in range(rows)], dtype=object)
    return Forecasts("m", names, np.full(rows, day), density, np.full(rows, 0.25), day, 0)


@pytest.mark.parametrize("fill", ["open", "close"])
def test_the_tails_of_a_normal_are_the_closed_form(fill):
    one = forecasts(nu=NORMAL_NU)
    table = held_moments(one, fill)
    m, s = table["mean"].to_numpy(), table["std"].to_numpy()
    z = stats.norm.ppf(0.05)
    worst = np.exp(m + s**2 / 2) * stats.norm.cdf(z - s) / 0.05 - 1  # E[e^X − 1 | X < q]
    best = np.exp(m + s**2 / 2) * stats.norm.cdf(s + z) / 0.05 - 1
    np.testing.assert_allclose(table["es_long"], -worst, rtol=1e-5)
    np.testing.assert_allclose(table["es_short"], best, rtol=1e-5)


@pytest.mark.parametrize("bins", [1, 8])
def test_the_tails_agree_with_a_fine_sum_over_quantiles(bins):
    one = forecasts(nu=4.0, bins=bins)
    table = held_moments(one)
    grid = (np.arange(200_000) + 0.5) / 200_000 * 0.05
    stretch = (table["std"] / one.std[:, 0]).to_numpy()
    shift = (table["mean"] - stretch * one.mean[:, 0]).to_numpy()
    low, high = (
        np.expm1(shift[:, None] + stretch[:, None] * one.density.quantile(u)[:, 0]).mean(axis=1)
        for u in (grid, 1 - grid)
    )
    np.testing.assert_allclose(table["es_long"], -low, rtol=2e-3 if bins == 1 else 1e-2)
    np.testing.assert_allclose(table["es_short"], high, rtol=2e-3 if bins == 1 else 1e-2)


def test_the_loss_of_a_short_is_bounded_where_the_exponential_has_no_mean():
    """A scale so wide that the outer nodes lie far beyond a doubling."""
    one = forecasts(nu=2.2)
    wide = replace(one, density=replace(one.density, scale=one.density.scale * 100))
    short = held_moments(wide)["es_short"]
    assert ((short > 0.5) & (short <= np.expm1(SIMPLE_BOUND) + 1e-12)).all()


def test_a_row_does_not_depend_on_the_batch():
    one = forecasts(rows=5, bins=8)
    whole = held_moments(one)
    part = held_moments(one[np.array([3])])
    np.testing.assert_array_equal(whole.iloc[3, 2:].to_numpy(), part.iloc[0, 2:].to_numpy())


def test_the_gap_by_hand(build, weights_of):
    opens = np.array([[10.0], [11.0], [12.0]])
    closes = np.array([[10.0], [12.0], [9.0]])
    panel = build(opens, closes)
    weights = weights_of(panel, [[0.5], [1.0], [1.0]])
    loss = gap_loss(panel, weights, forecasts())
    assert loss.of_forecast == pytest.approx(0.25)
    assert loss.move == pytest.approx(0.5 * 0.2 + 1.0 * (9 / 12 - 1))
    assert loss.before_fill == pytest.approx(0.5 * 0.1 + 0.0)
    assert loss.of_move == pytest.approx(0.05 / (0.1 - 0.25))
    late = gap_loss(panel, weights, forecasts(), fill="close")
    assert (late.of_forecast, late.of_move) == (1.0, 1.0)
    none = gap_loss(panel, weights * 0, replace(forecasts(mean=0.0)))
    assert np.isnan(none.of_forecast)
    assert np.isnan(none.of_move)
