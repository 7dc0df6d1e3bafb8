"""Rows that every model forecasts: enough history, a price that moves, nothing from after the cutoff."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.baselines import fit_baseline
from quantseq.forecasting.rows import MIN_HISTORY, is_moving, rows_to_forecast, stale_rows
from quantseq.market.bars import Bars, Panel
from tests.forecasting.broken import only_closes
from tests.prices import simulate_bars, simulate_panel

law = settings(deadline=None, max_examples=25)
DAYS = np.arange("2020-01-01", "2020-01-07", dtype="datetime64[D]")


def resting(symbol: str, start: int, end: int, n: int = 400) -> Bars:
    """Bars whose closes from `start` to `end` repeat the one before."""
    bars = simulate_bars(symbol, n)
    close = bars.close.copy()
    close[start:end] = close[start - 1]
    return only_closes(bars, close)


def test_only_sessions_with_enough_before_them_are_forecast() -> None:
    late = simulate_bars("L", 200, start="2015-06-01")
    panel = Panel([*simulate_panel("A", 300).values(), late])
    rows = rows_to_forecast(panel, panel.sessions[::-1])
    assert rows["A"].tolist() == list(range(MIN_HISTORY, 300))
    assert rows["L"].tolist() == list(range(MIN_HISTORY, 200))


def test_days_without_trading_are_passed_over() -> None:
    panel = simulate_panel("A", 300)
    sunday = np.datetime64("2015-12-27")
    rows = rows_to_forecast(panel, np.array([sunday, panel.sessions[200]]))
    assert rows["A"].tolist() == [200]


@pytest.mark.parametrize("which", ["too early", "no session"])
def test_nothing_to_forecast_is_an_error(which: str) -> None:
    panel = simulate_panel("A", 300)
    cutoffs = panel.sessions[:MIN_HISTORY] if which == "too early" else DAYS
    with pytest.raises(NotEnoughDataError, match="Nothing to forecast"):
        rows_to_forecast(panel, cutoffs)


def test_a_price_that_stands_still_is_not_forecast_until_it_has_moved_again() -> None:
    panel = Panel([simulate_bars("A", 400), resting("B", 200, 300)])
    rows = rows_to_forecast(panel, panel.sessions)
    assert rows["A"].tolist() == list(range(MIN_HISTORY, 400))
    left = sorted(set(range(MIN_HISTORY, 400)) - set(rows["B"].tolist()))
    # it rests from the 21st unchanged close until 5 of 48 have changed, and 60 sessions more
    assert left == list(range(200 + 20, 304 + 60))
    found = stale_rows(panel, panel.sessions)
    assert list(found) == ["B"]
    assert found["B"].tolist() == panel["B"].sessions[left].tolist()
    assert stale_rows(panel, panel.sessions[:MIN_HISTORY]) == {}


@given(st.integers(MIN_HISTORY + 1, 380), st.integers(1, 200), st.integers(60, 399))
@law
def test_whether_it_stands_still_is_known_at_the_cutoff(start: int, length: int, n: int) -> None:
    bars = resting("B", start, min(start + length, 400))
    cut = bars.until(bars.sessions[n])
    np.testing.assert_array_equal(
        is_moving(cut.log_returns()), is_moving(bars.log_returns())[: n + 1]
    )


def test_thin_trading_is_no_rest_and_a_short_rest_is_soon_forgotten() -> None:
    bars = simulate_bars("T", 400)
    thin = only_closes(bars, bars.close[np.arange(400) // 5 * 5])
    assert is_moving(thin.log_returns()).all()
    twenty = is_moving(resting("B", 200, 220).log_returns())
    assert twenty.all()
    longer = is_moving(resting("B", 200, 230).log_returns())
    assert np.flatnonzero(~longer).tolist() == list(range(220, 230 + 30))


def test_a_price_that_moves_again_is_forecast_with_a_scale_that_has_forgotten_the_rest() -> None:
    awake = simulate_panel("ABCD", 700)
    close = awake["D"].close.copy()
    close[400:520] = close[399]
    close[520:] *= close[399] / close[520]  # no jump to wake up with
    panel = Panel([*list(awake.values())[:3], only_closes(awake["D"], close)])
    model = fit_baseline("har-pooled-t", panel.until(panel.sessions[399]), horizon=1)
    found = model.predict(panel, panel.sessions[520:], horizon=1)
    scale = found.density.scale[found.symbols == "D", 0]
    first = int(np.flatnonzero(panel.sessions == found.cutoffs[found.symbols == "D"][0])[0])
    assert first == 525 + 60  # it moves again from 521 on; 5 of 48 have then changed at 525
    usual = model.predict(awake, awake.sessions[300:400], horizon=1)
    ratio = scale[:20] / np.median(usual.density.scale[usual.symbols == "D", 0])
    assert ratio.min() > 0.6


def test_nothing_but_dead_prices_is_an_error_that_names_them() -> None:
    panel = Panel([resting("B", 2, 400), resting("C", 2, 400)])
    with pytest.raises(NotEnoughDataError, match="the price of B, C stands still"):
        rows_to_forecast(panel, panel.sessions)
