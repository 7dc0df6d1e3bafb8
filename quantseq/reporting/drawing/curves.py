"""Drawings over time: lines on one axis, and positions as strips.

Owns their shapes. Does not know what is drawn, computes no statistic, and names no colour: a
drawing takes its colours by role from an `Ink`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from quantseq.market.bars import Dates, Floats
from quantseq.reporting.drawing.axes import (
    date_axis,
    day_numbers,
    dress,
    end_labels,
    ground,
    log_axis,
    percent_text,
    plain_text,
    plot,
    points,
    thin,
    wrapped,
)
from quantseq.reporting.drawing.ink import Ink
from quantseq.reporting.drawing.numbers import Plotted, by_date


@dataclass(frozen=True, eq=False)
class Line:
    """One series over time.

    Parameters
    ----------
    dates : (n,) datetime64
        Increasing.
    values : (n,) float64
        Gaps are NaN.
    role : str
        ``accent``, ``neutral`` or ``loss``.
    dashed, filled : bool
        How it is told apart without colour, and whether the ground down to 0 is tinted.
    """

    dates: Dates
    values: Floats
    role: str = "accent"
    dashed: bool = False
    filled: bool = False


@dataclass(frozen=True, eq=False)
class Ribbon:
    """A tinted band between two lines over the same dates."""

    low: Line
    high: Line


def curves(
    lines: Sequence[Line],
    *,
    log: bool = False,
    axis: Callable[[float], str] = plain_text,
    end: Callable[[float], str] = plain_text,
    boundaries: Sequence[np.datetime64] = (),
    dot: tuple[np.datetime64, float] | None = None,
    top: float | None = None,
    ribbon: Ribbon | None = None,
    level: float | None = None,
) -> Plotted:
    """Series over time on one axis, with their last values written at their ends.

    Parameters
    ----------
    lines : sequence of Line
        Drawn in order, the first on top.
    log : bool
        Logarithmic height; every value must then be positive.
    axis, end : callable
        Number to text, on the axis and at the end of a line.
    boundaries : sequence of dates
        Thin vertical marks, as between folds.
    dot : (date, value), optional
        One point to mark in the loss colour.
    top : float, optional
        Upper end of the axis.
    ribbon : Ribbon, optional
        Tinted behind the lines.
    level : float, optional
        A horizontal line to compare with.
    """

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink)
        limit = points(figure)
        for mark in day_numbers(np.array(boundaries, dtype="datetime64[D]")):
            axes.axvline(mark, color=ink.muted, linewidth=0.7, dashes=(1, 3))
        if ribbon is not None:
            keep = np.linspace(0, len(ribbon.low.dates) - 1, 60).astype(np.int64)
            where = day_numbers(ribbon.low.dates[keep])
            edges = ribbon.low.values[keep], ribbon.high.values[keep]
            axes.fill_between(where, *edges, color=ink.neutral, alpha=0.16, linewidth=0)
        if level is not None:
            axes.axhline(level, color=ink.muted, linewidth=1.0)
        for rank, line in enumerate(lines):
            keep = thin(line.values, limit)
            where, what = day_numbers(line.dates[keep]), line.values[keep]
            colour = getattr(ink, line.role)
            if line.filled:
                ground(axes, where, what, colour, alpha=0.16)
            axes.plot(
                where,
                what,
                color=colour,
                linewidth=1.7 if line.role == "accent" else 1.3,
                dashes=(4, 2) if line.dashed else (None, None),
                solid_joinstyle="round",
                zorder=4 - 0.1 * rank,
            )
        if dot is not None:
            where = day_numbers(np.array([dot[0]], dtype="datetime64[D]"))
            axes.plot(where, [dot[1]], "o", color=ink.loss, markersize=6, zorder=6)
        date_axis(axes, figure, lines[0].dates)
        if log:
            log_axis(axes)
        else:
            axes.set_ylim(top=top)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: axis(value)))
        end_labels(
            axes,
            figure,
            [(line.values[-1], end(line.values[-1]), getattr(ink, line.role)) for line in lines],
        )

    looks = [f"{line.role}{' dash' if line.dashed else ''}" for line in lines]
    return Plotted(draw, lambda: by_date(looks, _series(lines)))


def strips(names: Sequence[str], lines: Sequence[Line]) -> Plotted:
    """One thin band per name over a shared time axis: above the line long, below it short."""

    def draw(figure: Figure, ink: Ink) -> None:
        grid = figure.subplots(len(lines), 1, sharex=True, squeeze=False)[:, 0]
        most = max(float(np.abs(line.values).max(initial=0)) for line in lines) or 1.0
        least = min(float(line.values.min(initial=0)) for line in lines)
        for axes, name, line in zip(grid, names, lines, strict=True):
            dress(axes, ink, grid="x")
            keep = thin(line.values, points(figure) // 2)
            where, what = day_numbers(line.dates[keep]), line.values[keep]
            for part, colour in (
                (np.maximum(what, 0), ink.accent),
                (np.minimum(what, 0), ink.loss),
            ):
                if np.any(part):
                    ground(
                        axes, np.repeat(where, 2)[1:], np.repeat(part, 2)[:-1], colour, alpha=0.75
                    )
            axes.axhline(0, color=ink.line, linewidth=0.8)
            axes.set_ylim(1.05 * most * np.sign(least), 1.05 * most)
            axes.set_yticks([0.0, most], ["", percent_text(float(f"{most:.2g}"))])
            axes.set_ylabel(wrapped(name), rotation=0, ha="right", va="center", color=ink.ink)
            axes.spines["bottom"].set_visible(False)
        date_axis(grid[-1], figure, lines[0].dates)

    return Plotted(draw, lambda: by_date(names, _series(lines)))


def _series(lines: Sequence[Line]) -> list[tuple[Dates, Floats]]:
    return [(line.dates, line.values) for line in lines]
