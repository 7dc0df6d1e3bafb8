"""Drawings that are no history: a figure against something that was varied, bars, and ranges.

Owns their shapes. Does not know what is drawn, computes no statistic, and names no colour: a
drawing takes its colours by role from an `Ink`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from quantseq.market.bars import Floats
from quantseq.reporting.drawing.axes import blocks, narrow, plain_text, plot, wrapped
from quantseq.reporting.drawing.ink import Drawing, Ink

Text = Callable[[float], str]


@dataclass(frozen=True)
class Mark:
    """A vertical line with its text, in the loss colour."""

    at: float
    text: str


def profile(
    where: Floats,
    what: Floats,
    *,
    across: str,
    up: str = "",
    show: Text = plain_text,
    mark: Mark | None = None,
    level: float | None = None,
    top: float | None = None,
    log: bool = False,
    ticks: Sequence[float] = (),
    dots: bool = False,
) -> Drawing:
    """One figure against what was varied.

    Parameters
    ----------
    where, what : (n,) float64
        Increasing, and the figure there; gaps are NaN.
    across, up : str
        What the axes show.
    show : callable
        Number to text, on the upright axis.
    mark : Mark, optional
        A place that matters.
    level : float, optional
        A horizontal line to compare with.
    top : float, optional
        Upper end of the axis, which then starts at 0.
    log : bool
        Logarithmic across.
    ticks : sequence of float
        Places to name across; by default round ones.
    dots : bool
        Whether every point is marked.
    """

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink)
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
        if level is not None:
            axes.axhline(level, color=ink.ink, linewidth=1.0)
        axes.plot(where, what, "o-" if dots else "-", color=ink.accent, linewidth=1.8, markersize=5)
        axes.set_xlim(*_reach(where, log=log, dots=dots))
        if top is not None:
            axes.set_ylim(0, top)
        else:
            axes.margins(y=0.08)
        if mark is not None:
            _line(axes, ink, mark)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_text(value)))
        if len(ticks):
            axes.set_xticks(list(ticks), [plain_text(tick) for tick in ticks])
        elif not log:
            axes.xaxis.set_major_locator(MaxNLocator(4 if narrow(figure) else 6))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
        axes.set_xlabel(across, color=ink.muted)
        if up:
            axes.set_ylabel(up, color=ink.muted)

    return draw


def _reach(where: Floats, *, log: bool, dots: bool) -> tuple[float, float]:
    first, last = float(where[0]), float(where[-1])
    if log:
        return first, max(last, first * 1.1)
    air = 0.04 * (last - first) if dots else 0.0
    return first - air, max(last, first + 1e-9) + air


def _line(axes: Axes, ink: Ink, mark: Mark) -> None:
    low, high = axes.get_xlim()
    if not low <= mark.at <= high:
        return
    axes.axvline(mark.at, color=ink.loss, linewidth=1.3, dashes=(4, 2))
    place = axes.transScale + axes.transLimits
    share = float(place.transform((mark.at, axes.get_ylim()[0]))[0])
    axes.annotate(
        mark.text,
        (mark.at, 1),
        xycoords=("data", "axes fraction"),
        xytext=(5 if share < 0.6 else -5, -3),
        textcoords="offset points",
        ha="left" if share < 0.6 else "right",
        va="top",
        color=ink.loss,
        fontweight="bold",
    )


def ranges(
    names: Sequence[str], lows: Floats, middles: Floats, highs: Floats, *, mark: Mark, unit: str
) -> Drawing:
    """One horizontal range with its middle per name, against one marked value."""

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink, grid="x")
        where = np.arange(len(names))[::-1].astype(np.float64)
        axes.hlines(where, lows, highs, color=ink.neutral, linewidth=5, alpha=0.45)
        axes.plot(middles, where, "o", color=ink.neutral, markersize=7)
        ends = np.concatenate([lows, highs, middles, [mark.at, 0.0]])
        ends = ends[np.isfinite(ends)]
        air = 0.08 * max(float(np.ptp(ends)), 1e-9)
        axes.set_xlim(float(ends.min()) - air, float(ends.max()) + air)
        axes.set_ylim(-0.6, len(names) - 0.1)
        axes.axvline(0, color=ink.ink, linewidth=1.0)
        axes.axvline(mark.at, color=ink.accent, linewidth=2.0)
        axes.annotate(
            mark.text,
            (mark.at, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            color=ink.accent,
            fontweight="bold",
        )
        axes.set_yticks(where, [wrapped(name) for name in names])
        axes.tick_params(axis="y", labelcolor=ink.ink)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_text(value)))
        axes.set_xlabel(unit, color=ink.muted)

    return draw


def bars(
    names: Sequence[str],
    values: Floats,
    *,
    show: Text,
    across: str = "",
    up: str = "",
    errors: Floats | None = None,
    rival: Floats | None = None,
) -> Drawing:
    """Upright bars from 0, gains and losses apart, with twice their error or a rival's level.

    Parameters
    ----------
    names : sequence of str
        One per bar; thinned where they would touch.
    values, errors, rival : (n,) float64
        Heights; half widths of the whiskers; short lines to compare with.
    show : callable
        Number to text, on the upright axis.
    across, up : str
        What the axes show.
    """

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink)
        where = np.arange(len(names)).astype(np.float64)
        for part, colour in ((values >= 0, ink.accent), (values < 0, ink.loss)):
            if part.any():
                blocks(axes, where[part] - 0.31, where[part] + 0.31, values[part], colour)
        if errors is not None:
            axes.vlines(where, values - errors, values + errors, color=ink.ink, linewidth=1.2)
        if rival is not None:
            axes.hlines(rival, where - 0.42, where + 0.42, color=ink.neutral, linewidth=2.4)
        axes.axhline(0, color=ink.ink, linewidth=1.0)
        axes.set_xlim(-0.7, len(names) - 0.3)
        step = -(-len(names) // (7 if narrow(figure) else 11))
        axes.set_xticks(where[::step], list(names)[::step])
        axes.margins(y=0.08)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
        if across:
            axes.set_xlabel(across, color=ink.muted)
        if up:
            axes.set_ylabel(up, color=ink.muted)

    return draw
