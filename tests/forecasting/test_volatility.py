"""Scales are causal to the last bit, floored, and blind to whoever has not closed yet."""

from dataclasses import fields

import numpy as np
import pytest
from arch import arch_model
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import BarsError
from quantseq.forecasting.volatility import (
    FEATURE_NAMES,
    LONG_WINDOW,
    RELATIVE_CEILING,
    RELATIVE_FLOOR,
    RISKMETRICS_DECAY,
    VARIANCE_FLOOR,
    SymbolFeatures,
    aligned_returns,
    backcast,
    by_session,
    daily_variance,
    ewma,
    ewma_scale,
    features,
    gjr_variances,
    median_of_known,
    rolling_mean,
)
from quantseq.market.bars import Bars, Panel
from tests.forecasting.broken import glitch, only_closes
from tests.prices import TOKYO, rewrite_after, simulate_bars, simulate_panel

law = settings(deadline=None, max_examples=20)
PANEL = simulate_panel("ABC", 220)


def same_until(left: SymbolFeatures, right: SymbolFeatures, n: int) -> bool:
    """Whether the first n rows of every feature are equal bit for bit."""
    return all(
        getattr(left, one.name)[:n].tobytes() == getattr(right, one.name)[:n].tobytes()
        for one in fields(SymbolFeatures)
        if one.name != "timezone"
    )


def slow_har(panel: Panel, symbol: str, i: int) -> list[float]:
    """The features of session i, written as the definition reads."""
    logs = {s: np.log(daily_variance(bars)) for s, bars in panel.items()}
    day = panel[symbol].sessions[i]

    def mean(values: np.ndarray, end: int, window: int) -> float:
        return float(np.mean(values[end - window + 1 : end + 1]))

    def excess(session: np.datetime64) -> float:
        found = []
        for s, bars in panel.items():
            where = np.flatnonzero(bars.sessions == session)
            if len(where) and where[0] >= LONG_WINDOW - 1:
                found.append(logs[s][where[0]] - mean(logs[s], where[0], LONG_WINDOW))
        return float(np.median(found)) if found else np.nan

    own, base = logs[symbol], mean(logs[symbol], i, LONG_WINDOW)
    z = panel[symbol].log_returns()[i] / np.exp(mean(own, i, 22) / 2)
    z = float(np.clip(z, -8, 8))
    place = int(np.searchsorted(panel.sessions, day))
    week = np.nanmean([excess(d) for d in panel.sessions[place - 4 : place + 1]])
    means = [mean(own, i, window) for window in (1, 5, 22, 120)]
    return [1.0, *means, min(z, 0), max(z, 0), base + excess(day), base + float(week)]


@given(st.integers(1, 219))
@law
def test_every_scale_and_feature_is_the_same_when_the_future_is_cut_off(n: int) -> None:
    for symbol, bars in PANEL.items():
        cut = bars.until(bars.sessions[n - 1])
        assert daily_variance(cut).tobytes() == daily_variance(bars)[:n].tobytes()
        assert ewma_scale(cut).tobytes() == ewma_scale(bars)[:n].tobytes()
        assert rolling_mean(cut.volume, 20).tobytes() == rolling_mean(bars.volume, 20)[:n].tobytes()
        short = features(PANEL.until(bars.sessions[n - 1]))[symbol]
        assert same_until(short, features(PANEL)[symbol], n)


@given(st.integers(0, 218), st.integers(0, 99))
@law
def test_features_do_not_see_later_bars_that_are_rewritten(n: int, seed: int) -> None:
    other = features(rewrite_after(PANEL, PANEL.sessions[n], seed=seed))
    for symbol, one in features(PANEL).items():
        assert same_until(one, other[symbol], n + 1)


def test_features_equal_their_definition_with_gaps_and_late_starters() -> None:
    whole = simulate_panel("AB", 200)
    gone = np.ones(200, bool)
    gone[[125, 160, 161]] = False
    late = simulate_bars("C", 150, start=str(whole.sessions[45]))
    holes = Bars(
        "B",
        **{
            name: getattr(whole["B"], name)[gone]
            for name in (
                "sessions",
                "open",
                "high",
                "low",
                "close",
                "adj_close",
                "volume",
                "dividends",
                "splits",
            )
        },
        timezone=whole["B"].timezone,
    )
    panel = Panel([whole["A"], holes, late])
    for symbol, one in features(panel).items():
        assert np.isnan(one.har[: LONG_WINDOW - 1]).all()
        for i in (LONG_WINDOW - 1, LONG_WINDOW + 5, len(one.sessions) - 1):
            np.testing.assert_allclose(one.har[i], slow_har(panel, symbol, i), rtol=1e-9, atol=1e-9)
    assert one.har.shape[1] == len(FEATURE_NAMES)


def test_the_market_return_is_the_median_of_who_traded() -> None:
    panel = simulate_panel("ABC", 130)
    returns = panel.matrix("log_returns")
    np.testing.assert_allclose(
        features(panel)["B"].market_return[1:], np.median(returns[1:], axis=1), atol=1e-15
    )


def test_peers_in_other_time_zones_are_never_used() -> None:
    here = simulate_panel("AB", 200)
    there = [simulate_bars(symbol, 200, timezone=TOKYO) for symbol in "XY"]
    alone, together = features(here), features(Panel([there[0], *here.values(), there[1]]))
    assert list(together) == ["X", "A", "B", "Y"]
    for symbol in "AB":
        assert same_until(alone[symbol], together[symbol], 200)


@pytest.mark.parametrize("first", [True, False])
def test_a_symbol_that_starts_later_changes_no_earlier_bit(first: bool) -> None:
    old = simulate_panel("AB", 300)
    new = simulate_bars("N", 100, start=str(old.sessions[150]))
    order = [new, *old.values()] if first else [*old.values(), new]
    before, after = features(old), features(Panel(order))
    for symbol in "AB":
        assert same_until(before[symbol], after[symbol], 150)
        assert before[symbol].market_return[200] != after[symbol].market_return[200]


def test_garman_klass_and_the_overnight_gap_by_hand() -> None:
    bars = simulate_bars("A", 2)
    gap = np.log(bars.open[1] / bars.close[0])
    spread = np.log(bars.high[1] / bars.low[1])
    body = np.log(bars.close[1] / bars.open[1])
    expected = gap**2 + 0.5 * spread**2 - (2 * np.log(2) - 1) * body**2
    assert daily_variance(bars)[1] == pytest.approx(expected)


def test_without_ranges_the_variance_is_the_squared_return() -> None:
    bars = simulate_bars("A", 60)
    closes = only_closes(bars, bars.close)
    squares = closes.log_returns()[1:] ** 2
    variance = daily_variance(closes)[1:]
    lifted = variance > squares * (1 + 1e-9)
    np.testing.assert_allclose(variance[~lifted], squares[~lifted])
    assert lifted.mean() < 0.5


def test_a_flat_series_sinks_to_the_floor_and_no_lower() -> None:
    bars = simulate_bars("A", 400)
    variance = daily_variance(only_closes(bars, np.full(400, 7.0)))
    assert variance.min() == VARIANCE_FLOOR == variance[-1]
    assert (ewma_scale(only_closes(bars, np.full(400, 7.0)))[1:] == np.sqrt(VARIANCE_FLOOR)).all()


@given(st.lists(st.booleans(), min_size=3, max_size=60))
@law
def test_a_stale_price_is_lifted_to_a_share_of_its_recent_average(stale: list[bool]) -> None:
    bars = simulate_bars("A", len(stale))
    close = bars.close.copy()
    for i in range(1, len(stale)):
        if stale[i]:
            close[i] = close[i - 1]
    variance = daily_variance(only_closes(bars, close))
    recent = max(0.0, 1e-4)
    for i, value in enumerate(variance):
        assert value >= max(RELATIVE_FLOOR * recent, VARIANCE_FLOOR)
        recent = RISKMETRICS_DECAY * recent + (1 - RISKMETRICS_DECAY) * variance[i]


def test_ewma_equals_its_recursion() -> None:
    values = np.random.default_rng(0).random(50)
    average, expected = 0.3, []
    for value in values:
        average = 0.9 * average + 0.1 * value
        expected.append(average)
    np.testing.assert_allclose(ewma(values, 0.9, 0.3), expected, rtol=1e-13)


def test_the_ewma_scale_starts_with_the_first_return() -> None:
    bars = simulate_bars("A", 30)
    scale, returns = ewma_scale(bars), bars.log_returns()
    assert np.isnan(scale[0])
    assert scale[1] == pytest.approx(abs(returns[1]))
    assert scale[2] ** 2 == pytest.approx(0.94 * returns[1] ** 2 + 0.06 * returns[2] ** 2)


@given(st.integers(1, 30), st.integers(0, 30))
@law
def test_a_rolling_mean_has_no_value_before_its_window_is_full(window: int, n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    means = rolling_mean(values, window)
    assert np.isnan(means[: window - 1]).all()
    for i in range(window - 1, n):
        assert means[i] == pytest.approx(values[i - window + 1 : i + 1].mean())


def test_medians_over_symbols_leave_out_who_has_no_value() -> None:
    days = np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]")
    parts = {
        "A": (days, np.array([1.0, np.nan, np.nan, 4.0])),
        "B": (days[:2], np.array([3.0, 5.0])),
        "C": (days, np.array([9.0, 6.0, np.nan, np.nan])),
    }
    median = median_of_known(by_session(days, parts))
    np.testing.assert_array_equal(median, [3, 5.5, np.nan, 4])


def test_future_returns_stand_beside_the_session_that_would_forecast_them() -> None:
    ahead = aligned_returns(np.array([np.nan, 1.0, 2.0, 3.0]), 3)
    np.testing.assert_array_equal(
        ahead, [[1, 2, 3], [2, 3, np.nan], [3, np.nan, np.nan], [np.nan] * 3]
    )


@given(st.integers(0, 4), st.integers(1, 6))
@law
def test_short_series_have_unknown_future_returns(n: int, horizon: int) -> None:
    ahead = aligned_returns(np.arange(n, dtype=float), horizon)
    assert ahead.shape == (n, horizon)
    for i in range(n):
        for h in range(1, horizon + 1):
            assert np.array_equal(ahead[i, h - 1], i + h if i + h < n else np.nan, equal_nan=True)


def test_a_glitch_is_cut_to_a_multiple_of_what_was_usual() -> None:
    bars = simulate_bars("A", 60)
    variance, usual = daily_variance(glitch(bars, 40)), daily_variance(bars)
    assert usual[40] < variance[40] <= RELATIVE_CEILING * usual[:40].max()
    assert variance[45] < RELATIVE_CEILING * usual[:40].max()


def test_only_daily_bars_are_forecast() -> None:
    weeks = np.datetime64("2010-01-04") + 7 * np.arange(300)
    with pytest.raises(BarsError, match="Only daily bars are forecast: those of W are typically 7"):
        features(Panel([simulate_bars("W", 300, sessions=weeks)]))


def test_the_recursion_of_garch_by_hand() -> None:
    found = gjr_variances(np.array([1.0, -2.0]), 0.1, 0.2, 0.3, 0.5, 4.0)
    assert found.tolist() == pytest.approx([4.0, 0.1 + 0.2 + 2.0, 0.1 + 0.5 * 4 + 0.5 * 2.3])


def test_the_variance_before_the_first_session_is_that_of_arch() -> None:
    residuals = np.random.default_rng(3).standard_normal(300)
    theirs = arch_model(residuals, mean="Zero").volatility.backcast(residuals)
    assert backcast(residuals) == pytest.approx(theirs, rel=1e-12)
