"""Candlesticks: a history of bars, one sampled path, and the bands in which highs and lows lie.

Owns where history, path and bands stand; what a candle looks like is told in `candles`. Does not know how
bars are sampled, and names no colour: a drawing takes its colours by role from an `Ink`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from quantseq.market.bars import Dates, Floats
from quantseq.reporting.drawing.axes import dress, plain_text
from quantseq.reporting.drawing.candles import draw_candles, short_number
from quantseq.reporting.drawing.ink import Ink, png

STEP_WIDTH = 2.4
"""Slots of history that one step of the forecast takes on the horizontal axis."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """Bars as they were, and as they may go on.

    Parameters
    ----------
    symbol : str
        Whose bars.
    dates : (n,) datetime64
        Sessions of the history, up to and with the cutoff.
    history : mapping of str to (n,) float64
        ``open, high, low, close, volume``.
    path : mapping of str to (H,) float64
        The same fields of one sampled path.
    low, close, high, volume : (H, 3) float64
        Quantiles over all paths at each step, increasing; the middle one is the median.
    levels : (low, middle, high)
        Their levels.
    """

    symbol: str
    dates: Dates
    history: Mapping[str, Floats]
    path: Mapping[str, Floats]
    low: Floats
    close: Floats
    high: Floats
    volume: Floats
    levels: tuple[float, float, float]


def candlestick_png(outcome: Outcome, *, size: tuple[int, int] = (900, 560)) -> bytes:
    """Picture of sampled bars: history, one path of candles, bands of highs and lows, volume.

    Parameters
    ----------
    outcome : Outcome
    size : (width, height)
        In CSS pixels; the PNG has twice as many.
    """
    low, _, high = (f"{100 * level:g}" for level in outcome.levels)
    steps, cutoff = len(outcome.close), str(outcome.dates[-1])[:10]

    def draw(figure: Figure, ink: Ink) -> None:
        panels = figure.add_gridspec(2, 1, height_ratios=[4, 1], hspace=0.04)
        prices, volume = figure.add_subplot(panels[0]), figure.add_subplot(panels[1])
        for axes in (prices, volume):
            dress(axes, ink)
        past = np.arange(1 - len(outcome.dates), 1).astype(np.float64)
        ahead = STEP_WIDTH * (np.arange(steps).astype(np.float64) + 0.75)
        _bands(prices, outcome, ahead, ink)
        draw_candles(prices, past, outcome.history, ink, width=0.62, edge=0.9, alpha=0.55)
        draw_candles(prices, ahead, outcome.path, ink, width=0.9, edge=1.2)
        _volumes(volume, outcome, past, ahead, ink)
        for axes in (prices, volume):
            axes.axvline(0.5, color=ink.muted, linewidth=0.8, dashes=(1, 3))
            axes.set_xlim(past[0] - 0.8, ahead[-1] + 0.6 * STEP_WIDTH)
        prices.margins(y=0.04)
        prices.set_xticks([])
        prices.spines["bottom"].set_visible(False)
        prices.yaxis.set_major_locator(MaxNLocator(6))
        prices.yaxis.set_major_formatter(FuncFormatter(plain_text))
        prices.set_title(
            f"{outcome.symbol}: sampled bars for the {steps} sessions after {cutoff}",
            loc="left",
            color=ink.ink,
            fontweight="bold",
        )
        volume.set_xticks(
            [past[0], 0, *ahead],
            [
                str(outcome.dates[0])[:10],
                cutoff,
                *(f"+{step + 1}" for step in range(steps)),
            ],
        )
        first, last, *_ = volume.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
        volume.set_xlabel(
            f"candles after the cutoff: the sampled path nearest to the medians; filled where it falls · "
            "dashed: median close\ntinted: median high up to its "
            f"{high} % quantile (blue), median low down to its {low} % quantile (red)",
            color=ink.muted,
        )

    return png(draw, size)


def _bands(axes: Axes, outcome: Outcome, ahead: Floats, ink: Ink) -> None:
    """Per step a block from the median high upwards, and one from the median low downwards."""
    half = 0.44 * STEP_WIDTH
    for near, far, colour in (
        (outcome.high[:, 1], outcome.high[:, 2], ink.accent),
        (outcome.low[:, 1], outcome.low[:, 0], ink.loss),
    ):
        axes.bar(ahead, far - near, 2 * half, near, color=colour, alpha=0.17, linewidth=0)
        axes.hlines(near, ahead - half, ahead + half, color=colour, linewidth=1.0, alpha=0.7)
    start = [0.0, *ahead]
    median = [outcome.history["close"][-1], *outcome.close[:, 1]]
    axes.plot(start, median, color=ink.ink, linewidth=1.1, dashes=(4, 2), zorder=4)
    for value, colour in ((outcome.high[-1, 2], ink.accent), (outcome.low[-1, 0], ink.loss)):
        axes.annotate(
            f"{value:,.2f}",
            (ahead[-1] + half, value),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontweight="bold",
            annotation_clip=False,
        )


def _volumes(axes: Axes, outcome: Outcome, past: Floats, ahead: Floats, ink: Ink) -> None:
    """Traded and sampled volume, with the band of the sampled ones."""
    axes.bar(past, outcome.history["volume"], 0.62, color=ink.neutral, alpha=0.55, linewidth=0)
    axes.bar(ahead, outcome.path["volume"], 0.9, color=ink.neutral, linewidth=0)
    bottom, _, top = outcome.volume.T
    axes.bar(
        ahead, top - bottom, 0.84 * STEP_WIDTH, bottom, color=ink.neutral, alpha=0.22, linewidth=0
    )
    axes.set_ylim(0, None)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(short_number))
    axes.set_ylabel("volume", color=ink.muted)
