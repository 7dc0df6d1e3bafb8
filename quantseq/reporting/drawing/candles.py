"""Prices as candles with volume below: a picture, or lines of text for a terminal.

Owns what a candle looks like, here and wherever else one is drawn: filled where it closed below its
open, hollow where it did not, so that the two differ without colour. Computes nothing but how many
sessions share a candle, and names no colour.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from quantseq.market.bars import Bars, Dates, Floats
from quantseq.reporting.drawing.axes import date_ticks, dress, plain_text
from quantseq.reporting.drawing.ink import Ink, png

MOST = 320
"""Candles in a picture; longer histories put several sessions into one."""

_LEVELS = " ▁▂▃▄▅▆▇█"
_UNITS = ((1e9, "bn"), (1e6, "m"), (1e3, "k"))


def draw_candles(
    axes: Axes,
    where: Floats,
    bars: Mapping[str, Floats],
    ink: Ink,
    *,
    width: float,
    edge: float,
    alpha: float = 1.0,
) -> None:
    """Wicks and bodies.

    Parameters
    ----------
    where : (n,) float64
        Places on the horizontal axis.
    bars : mapping of str to (n,) float64
        ``open, high, low, close``.
    width, edge : float
        Of a body on the horizontal axis, and of its outline and wicks in CSS pixels.
    alpha : float
        Opacity.
    """
    falls = bars["close"] < bars["open"]
    low, high = (pick(bars["open"], bars["close"]) for pick in (np.minimum, np.maximum))
    least = (float(bars["high"].max()) - float(bars["low"].min())) / 600
    for part, colour, face in ((~falls, ink.accent, ink.surface), (falls, ink.loss, ink.loss)):
        if not part.any():
            continue
        for bottom, top in ((bars["low"], low), (high, bars["high"])):
            ends = bottom[part], top[part]
            axes.vlines(where[part], *ends, color=colour, linewidth=edge, alpha=alpha)
        axes.bar(
            where[part],
            np.maximum(high - low, least)[part],
            width,
            low[part],
            facecolor=face,
            edgecolor=colour,
            linewidth=edge,
            alpha=alpha,
            zorder=3,
        )


def short_number(value: float, _: object = None) -> str:
    """Axis text for large counts: 950, 12.5 m, 3 bn."""
    for size, unit in _UNITS:
        if abs(value) >= size:
            return f"{value / size:.3g}\u00a0{unit}"
    return f"{value:.3g}"


@dataclass(frozen=True, eq=False)
class _Candles:
    """Runs of sessions, each as one candle: arrays of shape (k,)."""

    dates: Dates
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    sessions: int
    """In one candle; the first may hold fewer."""


def _group(bars: Bars, most: int) -> _Candles:
    """At most `most` candles on the adjusted scale: first open, extremes, last close, all volume."""
    size = -(-len(bars) // most)
    starts = np.arange(len(bars), 0, -size)[::-1] - size
    starts = np.unique(np.maximum(starts, 0))
    ends = np.append(starts[1:], len(bars)) - 1
    seen = bars.adjusted()
    return _Candles(
        dates=bars.sessions[ends].astype("datetime64[D]"),
        open=seen.open[starts],
        high=np.maximum.reduceat(seen.high, starts),
        low=np.minimum.reduceat(seen.low, starts),
        close=seen.close[ends],
        volume=np.add.reduceat(bars.volume, starts),
        sessions=size,
    )


def _title(bars: Bars, sessions: int) -> str:
    each = "" if sessions == 1 else f", {sessions} sessions in each candle"
    return f"{bars.symbol}: {bars.sessions[0]} to {bars.sessions[-1]}, adjusted prices{each}"


def candles_png(bars: Bars, *, size: tuple[int, int] = (900, 520)) -> bytes:
    """Picture of a price history: candles above, volume below.

    Parameters
    ----------
    bars : Bars
        At least one session; drawn on the adjusted scale.
    size : (width, height)
        In CSS pixels; the PNG has twice as many.
    """
    shown = _group(bars, MOST)

    def draw(figure: Figure, ink: Ink) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        where = np.arange(len(shown.close), dtype=np.float64)
        edge = min(0.9, 0.186 * size[0] / max(len(where), 12))
        draw_candles(upper, where, vars(shown), ink, width=0.66, edge=edge)
        falls = shown.close < shown.open
        for part, colour in ((~falls, ink.accent), (falls, ink.loss)):
            lower.bar(where[part], shown.volume[part], width=0.66, color=colour, alpha=0.7)
        for axes in (upper, lower):
            dress(axes, ink)
            axes.yaxis.set_major_formatter(FuncFormatter(plain_text))
        lower.yaxis.set_major_formatter(FuncFormatter(short_number))
        upper.yaxis.set_major_locator(MaxNLocator(6))
        lower.yaxis.set_major_locator(MaxNLocator(2))
        ticks, texts = date_ticks(shown.dates[0], shown.dates[-1], 8)
        lower.set_xticks(np.searchsorted(shown.dates, ticks), texts)
        lower.set_xlim(-0.8, len(where) - 0.2)
        lower.set_ylabel("volume", color=ink.muted)
        upper.set_title(_title(bars, shown.sessions), loc="left", color=ink.ink)

    return png(draw, size)


def candle_lines(bars: Bars, *, width: int = 80, height: int = 20) -> list[str]:
    """A price history as text: a column per candle, then a row of volume and one of dates.

    ``│`` is the range from low to high, ``█`` a body that closed below its open, ``▒`` one that did not.

    Parameters
    ----------
    bars : Bars
        At least one session; drawn on the adjusted scale.
    width, height : int
        Of the whole chart, in characters; at least 24 by 6.
    """
    labels = 11
    shown = _group(bars, max(width - labels, 12))
    rows = max(height - 4, 2)
    low, high = float(shown.low.min()), float(shown.high.max())
    step = (high - low) / (rows - 1) or 1.0

    def row(prices: Floats) -> Floats:
        return np.rint((high - prices) / step)

    top, bottom = row(shown.high), row(shown.low)
    body_top = row(np.maximum(shown.open, shown.close))
    body_bottom = row(np.minimum(shown.open, shown.close))
    falls = shown.close < shown.open
    lines = [_title(bars, shown.sessions)]
    for at in range(rows):
        body = (body_top <= at) & (at <= body_bottom)
        wick = (top <= at) & (at <= bottom)
        marks = np.where(body, np.where(falls, "█", "▒"), np.where(wick, "│", " "))
        label = (
            plain_text(float(f"{high - at * step:.5g}")) if at % 4 == 0 or at == rows - 1 else ""
        )
        lines.append(f"{label:>{labels - 1}} {''.join(marks)}".rstrip())
    share = shown.volume / (shown.volume.max() or 1.0)
    levels = "".join(_LEVELS[int(np.ceil(8 * one))] for one in share)
    lines.append(f"{'volume':>{labels - 1}} {levels}".rstrip())
    first, last = str(shown.dates[0]), str(shown.dates[-1])
    gap = max(len(shown.close) - len(first) - len(last), 1)
    lines.append(" " * labels + first + (" " * gap + last if len(shown.close) > len(first) else ""))
    return lines
