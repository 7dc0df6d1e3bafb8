"""Axes that every drawing shares: their dress, readable ticks, thinning of long series.

Owns tick positions and texts. Does not know what is drawn on them.
"""

from collections.abc import Sequence
from itertools import pairwise
from textwrap import wrap
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from quantseq.market.bars import Dates, Floats
from quantseq.reporting.drawing.ink import Ink

MAX_POINTS = 600
"""A line that is no history keeps at most this many points, peaks and troughs among them."""

DENSITY = 0.38
"""Points of a daily line per pixel of the figure's width; peaks and troughs are among them."""

LINE_HEIGHT = 15
"""Of one text, in CSS pixels."""

AXES_SHARE = 0.85
"""About how much of a figure's height its axes take."""

NARROW = 420
"""Figures below this width, in CSS pixels, are drawn for a phone."""

_RUNGS = ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 6, 7, 8, 9))
_CALENDAR = (*(("M", n) for n in (1, 3, 6)), *(("Y", n) for n in (1, 2, 5, 10, 25, 50)))


def points(figure: Figure) -> int:
    """How many points a daily line keeps in a figure of this width."""
    return round(DENSITY * float(figure.get_size_inches()[0]) * 72)


def thin(values: Floats, limit: int = MAX_POINTS) -> NDArray[np.int64]:
    """Positions of at most `limit` points that keep both ends and the extremes of each bucket.

    Returns
    -------
    (m,) int64
        Increasing, ``m <= max(limit, 4)``.
    """
    count = len(values)
    if count <= limit:
        return np.arange(count)
    edges = np.linspace(0, count, max((limit - 2) // 2, 1) + 1).astype(np.int64)
    keep = {0, count - 1}
    for left, right in pairwise(edges.tolist()):
        part = values[left:right]
        if np.isfinite(part).any():
            keep |= {left + int(np.nanargmin(part)), left + int(np.nanargmax(part))}
    return np.array(sorted(keep), dtype=np.int64)


def percent_text(value: float, _: Any = None) -> str:
    """Axis text for a fraction, in percent."""
    return f"{100 * value:.4g}\u00a0%".replace("-", "−")


def plain_text(value: float, _: Any = None) -> str:
    """Axis text for a number, with a true minus sign."""
    return f"{value:,.6g}".replace("-", "−")


def wrapped(name: str, width: int = 16) -> str:
    """A name in lines short enough to stand beside a chart.

    Examples
    --------
    >>> wrapped("AAPL"), wrapped("a name of some length").splitlines()
    ('AAPL', ['a name of some', 'length'])
    """
    return "\n".join(wrap(name, width)) or name


def day_numbers(dates: Dates) -> Floats:
    """Dates as days since 1970, the horizontal coordinate of every time axis."""
    return dates.astype("datetime64[D]").astype(np.float64)


def narrow(figure: Figure) -> bool:
    """Whether the figure is drawn for a phone."""
    return bool(figure.get_size_inches()[0] * 72 < NARROW)


def plot(figure: Figure, ink: Ink, *, grid: Literal["x", "y"] | None = "y") -> Axes:
    """The only axes of a figure, dressed."""
    axes = figure.add_subplot()
    dress(axes, ink, grid=grid)
    return axes


def dress(axes: Axes, ink: Ink, *, grid: Literal["x", "y"] | None = "y") -> None:
    """No frame, one hairline at the bottom, quiet labels, a grid along one axis."""
    axes.patch.set_visible(False)
    if grid:
        axes.grid(visible=True, axis=grid, color=ink.line, linewidth=0.7)
    axes.spines["bottom"].set_color(ink.line)
    axes.tick_params(labelcolor=ink.muted, color=ink.line)


def date_ticks(first: np.datetime64, last: np.datetime64, most: int) -> tuple[Dates, list[str]]:
    """At most about `most` calendar dates between two dates, with ISO texts as short as they can be.

    Examples
    --------
    >>> date_ticks(np.datetime64("2008-03-03"), np.datetime64("2011-03-01"), 5)[1]
    ['2009', '2010', '2011']
    >>> date_ticks(np.datetime64("2008-03-03"), np.datetime64("2008-06-11"), 4)[1]
    ['2008-04', '2008-05', '2008-06']
    """
    span = np.array([first, last], dtype="datetime64[D]")
    for unit, step in _CALENDAR:
        start = 1970 if unit == "Y" else 0  # whole years are counted from 1970, months from January
        ends = span.astype(f"datetime64[{unit}]").astype(np.int64) + start
        whole = np.arange(-(-ends[0] // step) * step, ends[1] + 1, step) - start
        ticks = whole.astype(f"datetime64[{unit}]").astype("datetime64[D]")
        ticks = ticks[(ticks >= span[0]) & (ticks <= span[1])]
        if 2 <= len(ticks) <= (most if unit == "Y" else 2 * most // 3 + 1):
            return ticks, [str(tick)[: 4 if unit == "Y" else 7] for tick in ticks]
    ticks = np.unique([span[0], span[0] + (span[1] - span[0]) // 2])
    return ticks, [str(tick) for tick in ticks]


def date_axis(axes: Axes, figure: Figure, dates: Dates) -> None:
    """Horizontal time axis over all of `dates`."""
    ticks, texts = date_ticks(dates[0], dates[-1], 4 if narrow(figure) else 10)
    axes.set_xticks(day_numbers(ticks), texts)
    left, right = day_numbers(dates[[0, -1]])
    axes.set_xlim(left, max(right, left + 1))


def log_axis(axes: Axes) -> None:
    """Logarithmic height with a few round values; call it when everything is drawn."""
    axes.set_yscale("log")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(FixedLocator(log_ticks(*axes.get_ylim())))
    axes.yaxis.set_major_formatter(FuncFormatter(plain_text))


def log_ticks(low: float, high: float) -> list[float]:
    """Three to eight round values between two positive numbers, if there are that many.

    Examples
    --------
    >>> log_ticks(0.6, 2.6)
    [0.7, 1.0, 1.5, 2.0]
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for rungs in _RUNGS:
        ticks = [float(f"{rung}e{decade}") for decade in decades for rung in rungs]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            return ticks[:: -(-len(ticks) // 8)]
    return [float(tick) for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]


def ground(axes: Axes, where: Floats, what: Floats, colour: str, *, alpha: float) -> None:
    """Tint the ground between a line and 0, leaving out points inside flat stretches."""
    flat = np.zeros(len(what), dtype=bool)
    flat[1:-1] = (what[1:-1] == what[:-2]) & (what[1:-1] == what[2:])
    where, what = where[~flat], what[~flat]
    across, up = np.concatenate([where, where[[-1, 0]]]), np.concatenate([what, [0.0, 0.0]])
    axes.fill(across, up, color=colour, alpha=alpha, linewidth=0)


def blocks(
    axes: Axes, left: Floats, right: Floats, up: Floats, colour: str, *, alpha: float = 0.85
) -> None:
    """Upright bars from 0 as one path, which is much shorter than a path each."""
    corners = np.array([[left, 0 * up], [left, up], [right, up], [right, 0 * up], [left, 0 * up]])
    codes = np.array([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY])
    path = Path(corners.transpose(2, 0, 1).reshape(-1, 2), np.tile(codes, len(up)))
    axes.add_patch(PathPatch(path, facecolor=colour, alpha=alpha, linewidth=0))
    axes.update_datalim(path.vertices)
    axes.autoscale_view()


def end_labels(axes: Axes, figure: Figure, ends: Sequence[tuple[float, str, str]]) -> None:
    """Texts right of the last point of each line, moved apart where they would touch.

    Parameters
    ----------
    ends : sequence of (value, text, colour)
        One per line.
    """
    tall = AXES_SHARE * float(figure.get_size_inches()[1]) * 72
    place = axes.transScale + axes.transLimits
    heights = [float(place.transform((axes.get_xlim()[1], value))[1]) for value, _, _ in ends]
    lowest = -np.inf
    for index in np.argsort(heights, kind="stable"):
        lowest = max(heights[index], lowest + LINE_HEIGHT / tall)
        _, text, colour = ends[index]
        axes.annotate(
            text,
            (1, lowest),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontweight="bold",
        )
