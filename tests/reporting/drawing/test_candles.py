"""Candles keep first opens, extremes and last closes, however many sessions share one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from quantseq.market.bars import Bars
from quantseq.reporting.drawing.candles import (
    _group,
    candle_lines,
    candles_png,
    draw_candles,
    short_number,
)
from quantseq.reporting.drawing.ink import daylight


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


def some_bars(count: int) -> dict[str, np.ndarray]:
    bars = wander(count)
    return {name: getattr(bars, name) for name in ("open", "high", "low", "close")}


def test_candles_span_open_to_close_and_wicks_low_to_high() -> None:
    axes = Figure().add_subplot()
    bars = some_bars(4)
    bars["open"] = bars["open"][[1, 0, 3, 2]].clip(bars["low"], bars["high"])
    draw_candles(axes, np.arange(4.0), bars, daylight(), width=0.9, edge=1.0)
    bodies = sorted((p.get_x(), p.get_y(), p.get_y() + p.get_height()) for p in axes.patches)
    for (_, low, high), open_, close in zip(bodies, bars["open"], bars["close"], strict=True):
        assert low == pytest.approx(min(open_, close))
        assert high == pytest.approx(max(open_, close))
    ends = np.concatenate(
        [np.array(line.get_segments()).reshape(-1, 2) for line in axes.collections]
    )
    for at in range(4):
        touched = ends[ends[:, 0] == at, 1]
        assert touched.min() == pytest.approx(bars["low"][at])
        assert touched.max() == pytest.approx(bars["high"][at])


def test_rises_are_hollow_and_falls_are_full_in_both_pictures() -> None:
    ink = daylight()
    axes = Figure().add_subplot()
    fields = ("open", "high", "low", "close")
    bars = dict(zip(fields, np.array([[1.0, 2], [3, 3], [0.5, 0.5], [2, 1]]), strict=True))
    draw_candles(axes, np.arange(2.0), bars, ink, width=0.9, edge=1.0)
    rise, fall = sorted(axes.patches, key=lambda body: body.get_x())
    assert rise.get_facecolor() == to_rgba(ink.surface)
    assert rise.get_edgecolor() == to_rgba(ink.accent)
    assert fall.get_facecolor() == fall.get_edgecolor() == to_rgba(ink.loss)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (950, "950"), (12.5e6, "12.5\u00a0m"), (3e9, "3\u00a0bn")]
)
def test_large_counts_are_short(value: float, text: str) -> None:
    assert short_number(value) == text
