"""Candles keep first opens, extremes and last closes, however many sessions share one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.market.bars import Bars
from quantseq.report.candles import _group, candle_lines, candles_png


def wander(n: int, symbol: str = "AAPL") -> Bars:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(n).normal(0, 0.02, n)))
    fields = {"open": close * 0.99, "high": close * 1.02, "low": close * 0.97, "close": close}
    days = np.busday_offset("2020-01-01", np.arange(n), roll="forward")
    events = {"dividends": np.zeros(n), "splits": np.zeros(n)}
    return Bars(symbol, days, **fields, adj_close=close / 2, volume=np.arange(n) * 1.0, **events)


@given(st.integers(1, 90), st.integers(1, 40))
def test_candles_lose_no_extreme_and_no_volume(n: int, most: int) -> None:
    bars = wander(n)
    shown = _group(bars, most)
    assert len(shown.close) <= most
    assert shown.open[0] == bars.open[0] / 2
    assert shown.close[-1] == bars.close[-1] / 2
    assert shown.high.max() == bars.high.max() / 2
    assert shown.low.min() == bars.low.min() / 2
    assert shown.volume.sum() == bars.volume.sum()
    assert shown.dates[-1] == bars.sessions[-1]


@pytest.mark.parametrize("n", [1, 2, 40, 700])
def test_the_picture_is_a_png_and_deterministic(n: int) -> None:
    bars = wander(n, "$x_$ <b>")
    picture = candles_png(bars)
    assert picture.startswith(b"\x89PNG")
    assert picture == candles_png(bars)


@pytest.mark.parametrize(("n", "width"), [(1, 24), (30, 80), (700, 80), (3000, 200)])
def test_the_text_fits_the_terminal(n: int, width: int) -> None:
    lines = candle_lines(wander(n), width=width, height=20)
    assert len(lines) == 19
    assert max(map(len, lines[1:])) <= max(width, 11 + 12)
    assert lines[0].startswith("AAPL: 2020-01-01 to ")
    assert lines[-2].lstrip().startswith("volume")
    body = "".join(lines[1:-2])
    assert "▒" in body or "█" in body


def test_a_flat_history_draws() -> None:
    ones = np.ones(5)
    days = np.busday_offset("2020-01-01", np.arange(5), roll="forward")
    flat = Bars("X", days, ones, ones, ones, ones, ones, 0 * ones, 0 * ones, 0 * ones)
    assert candles_png(flat).startswith(b"\x89PNG")
    assert "▒▒▒▒▒" in "".join(candle_lines(flat))
