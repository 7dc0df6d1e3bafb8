"""Scores by hand and by brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats

from quantseq.errors import ConfigError
from quantseq.forecasting.density import TokenDensity
from quantseq.forecasting.distributions import Quantiles
from quantseq.forecasting.forecasts import Forecasts
from quantseq.forecasting.scores import (
    COVERAGES,
    coverage,
    interval_score,
    kolmogorov_distance,
    pinball_loss,
    realised_returns,
    sample_crps,
    score,
)
from quantseq.market.bars import Panel
from tests.prices import simulate_bars, simulate_panel

law = settings(deadline=None, max_examples=40)


def forecasts_of(symbols: list[str], days: np.ndarray, horizon: int = 2) -> Forecasts:
    shape = (len(symbols), horizon)
    density = TokenDensity.reference(np.zeros(shape), np.full(shape, 0.02), np.full(shape, 4.0))
    return Forecasts(
        "t", np.array(symbols, object), days, density, np.full(len(symbols), 0.3), days[0], 0
    )


def test_outcomes_are_the_returns_after_the_cutoff() -> None:
    late = simulate_bars("B", 30, start="2015-01-12")
    panel = Panel([*simulate_panel("A", 40).values(), late])
    days = np.array([late.sessions[3], late.sessions[3], panel["A"].sessions[-2], late.sessions[0]])
    found = realised_returns(panel, forecasts_of(["A", "B", "A", "B"], days))
    own = panel["A"].log_returns()
    place = int(np.searchsorted(panel["A"].sessions, days[0]))
    np.testing.assert_array_equal(found[0], own[place + 1 : place + 3])
    np.testing.assert_array_equal(found[1], late.log_returns()[4:6])
    np.testing.assert_array_equal(found[2], [own[-1], np.nan])
    np.testing.assert_array_equal(found[3], late.log_returns()[1:3])


def test_scores_of_a_student_t_by_hand() -> None:
    days = np.arange("2020-01-01", "2020-01-04", dtype="datetime64[D]")
    forecasts = forecasts_of(["A", "B", "C"], days, horizon=1)
    realised = np.array([[0.01], [-0.05], [np.nan]])
    found = score(forecasts, realised)
    law_of_r = stats.t(4, 0, 0.02)
    np.testing.assert_allclose(found.log_score[:2], -law_of_r.logpdf(realised[:2]))
    np.testing.assert_allclose(found.pit[:2], law_of_r.cdf(realised[:2]))
    assert (found.crps[:2] > 0).all()
    for part in (found.log_score, found.crps, found.pit):
        assert np.isnan(part[2, 0])
    summary = found.summary()
    assert summary["n"] == 2
    assert summary["log_score"] == pytest.approx(-law_of_r.logpdf(realised[:2]).mean())
    assert summary["coverage_50"] == 0.5
    assert summary["coverage_95"] == 1.0


def test_without_outcomes_every_average_is_unknown() -> None:
    days = np.arange("2020-01-01", "2020-01-03", dtype="datetime64[D]")
    summary = score(forecasts_of(["A", "B"], days), np.full((2, 2), np.nan)).summary(step=2)
    assert summary["n"] == 0
    assert all(np.isnan(value) for name, value in summary.items() if name != "n")
    assert set(summary) == {"log_score", "crps", "pit_ks", "n"} | {
        f"coverage_{c}" for c in COVERAGES
    }


def test_a_true_forecast_is_calibrated_and_beats_a_false_one() -> None:
    rng = np.random.default_rng(0)
    days = np.arange(3000).astype("datetime64[D]")
    truth = forecasts_of(["A"] * 3000, days)
    realised = 0.02 * rng.standard_t(4, (3000, 2))
    wrong = Forecasts(
        "w",
        truth.symbols,
        days,
        TokenDensity.reference(truth.density.loc, truth.density.scale * 2, truth.density.nu),
        truth.overnight_share,
        days[0],
        0,
    )
    good, bad = score(truth, realised), score(wrong, realised)
    assert good.summary()["coverage_90"] == pytest.approx(0.9, abs=0.02)
    assert good.summary()["pit_ks"] < 0.03 < bad.summary()["pit_ks"]
    assert good.log_score.mean() < bad.log_score.mean()
    assert good.crps.mean() < bad.crps.mean()


def test_coverage_counts_both_sides() -> None:
    pit = np.array([0.01, 0.2, 0.25, 0.74, 0.8, 0.99])
    assert coverage(pit, 0.5) == pytest.approx(2 / 6)
    assert coverage(pit, 0.9) == pytest.approx(4 / 6)


@given(npst.arrays(float, st.integers(1, 50), elements=st.floats(0, 1)))
@law
def test_the_distance_from_uniform_is_that_of_scipy(pit: np.ndarray) -> None:
    assert kolmogorov_distance(pit) == pytest.approx(stats.kstest(pit, "uniform").statistic)


def test_the_pinball_loss_has_no_factor_two() -> None:
    loss = pinball_loss(np.array([1.0, 1.0, np.nan]), np.array([3.0, 0.0, 1.0]), 0.9)
    np.testing.assert_allclose(loss, [1.8, 0.1, np.nan])
    with pytest.raises(ConfigError, match=r"lie in \(0, 1\)"):
        pinball_loss(np.ones(1), np.ones(1), 1.0)


def test_the_pinball_loss_is_smallest_at_the_quantile() -> None:
    outcomes = np.random.default_rng(0).normal(size=20_000)
    grid = np.linspace(-2, 2, 81)
    losses = [pinball_loss(np.full(20_000, q), outcomes, 0.8).mean() for q in grid]
    assert grid[int(np.argmin(losses))] == pytest.approx(stats.norm.ppf(0.8), abs=0.06)


def test_the_crps_is_twice_the_average_pinball_loss() -> None:
    levels = (np.arange(4000) + 0.5) / 4000
    days = np.arange(1).astype("datetime64[D]")
    forecasts = forecasts_of(["A"], days, horizon=1)
    quantiles = forecasts.quantile(levels)[0, 0]
    for outcome in (-0.04, 0.005):
        losses = [
            pinball_loss(q, np.array(outcome), a) for q, a in zip(quantiles, levels, strict=True)
        ]
        crps = score(forecasts, np.array([[outcome]])).crps[0, 0]
        assert crps == pytest.approx(2 * np.mean(losses), rel=1e-3)


@given(
    npst.arrays(float, st.tuples(st.integers(1, 4), st.integers(2, 12)), elements=st.floats(-5, 5)),
    st.floats(-5, 5),
)
@law
def test_the_sample_crps_equals_its_brute_force(paths: np.ndarray, outcome: float) -> None:
    m, n = paths.shape
    expected = []
    for row in paths:
        pairs = [abs(a - b) for i, a in enumerate(row) for j, b in enumerate(row) if i != j]
        expected.append(np.abs(row - outcome).mean() - sum(pairs) / (2 * n * (n - 1)))
    np.testing.assert_allclose(sample_crps(paths, np.full(m, outcome)), expected, atol=1e-12)


def test_the_sample_crps_is_fair_whatever_the_number_of_paths() -> None:
    rng = np.random.default_rng(0)
    outcome = rng.normal(size=60_000)
    exact = (
        outcome * (2 * stats.norm.cdf(outcome) - 1) + 2 * stats.norm.pdf(outcome) - np.pi**-0.5
    ).mean()
    for n in (2, 5, 20):
        found = sample_crps(rng.normal(size=(60_000, n)), outcome).mean()
        assert found == pytest.approx(exact, abs=0.01)


def test_one_path_has_no_fair_crps() -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        sample_crps(np.ones((3, 1)), np.ones(3))


def test_the_interval_score_is_the_width_and_the_price_of_a_miss() -> None:
    low, high = np.array([-1.0, -1.0, -1.0]), np.array([2.0, 2.0, 2.0])
    found = interval_score(low, high, np.array([0.0, -1.5, np.nan]), 0.8)
    np.testing.assert_allclose(found, [3.0, 3.0 + 10 * 0.5, np.nan])
    with pytest.raises(ConfigError, match="interval"):
        interval_score(low, high, low, 1.0)


def test_the_pit_is_randomised_at_atoms_only_and_keyed_to_the_row() -> None:
    n = 4000
    days = np.datetime64("2000-01-01") + np.arange(n)
    atom = Quantiles(np.tile([-1.0, 0.0, 0.0, 1.0], (n, 2, 1)), (0.01, 0.2, 0.7, 0.99))
    plain = forecasts_of(["A"] * n, days)
    forecasts = Forecasts("q", plain.symbols, days, atom, plain.overnight_share, days[0], 0)
    outcome = np.column_stack([np.zeros(n), np.full(n, 0.5)])
    found = score(forecasts, outcome)
    assert stats.kstest((found.pit[:, 0] - 0.2) / 0.5, "uniform").pvalue > 0.01
    np.testing.assert_array_equal(found.pit[:, 1], atom.cdf(outcome)[:, 1])
    rows = np.arange(100, 110)
    np.testing.assert_array_equal(score(forecasts[rows], outcome[rows]).pit, found.pit[rows])
    assert np.isnan(found.log_score).all()
    assert np.isnan(found.summary()["log_score"])
