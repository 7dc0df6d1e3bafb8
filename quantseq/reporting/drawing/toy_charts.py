"""Drawings of the toy tasks: how a machine learned, where it looks, how far it carries, and which kind learns best.

Owns their shapes. Does not know models, computes no statistic but a running median, and names no
colour: a drawing takes its colours by role from an `Ink`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from quantseq.market.bars import Floats
from quantseq.reporting.drawing.axes import (
    MAX_POINTS,
    dress,
    log_axis,
    narrow,
    percent_text,
    plain_text,
    plot,
    thin,
)
from quantseq.reporting.drawing.ink import Drawing, Ink
from quantseq.reporting.drawing.numbers import Plotted, columns

LEAST_LOSS = 1e-7
"""A lower loss is drawn here: single precision knows no difference."""

SMOOTHED = 51
"""Batches in the running median of a loss curve, if it has at least ten times as many."""


def loss_curve(
    steps: Sequence[int],
    losses: Sequence[float],
    *,
    stones: Mapping[int, float],
    unit: str,
) -> Plotted:
    """Minibatch loss by batch on a log scale, its running median, and the loss on fresh sequences.

    Parameters
    ----------
    steps, losses : sequences
        Batch number and minibatch loss, equally long.
    stones : mapping of int to float
        Loss on fresh sequences by number of batches seen; may be empty.
    unit : str
        What the loss counts.
    """

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink)
        where = np.asarray(steps, dtype=np.float64)
        what = np.maximum(np.asarray(losses, dtype=np.float64), LEAST_LOSS)
        keep = thin(what, 2 * MAX_POINTS)
        smooth = len(what) >= 10 * SMOOTHED
        axes.plot(
            where[keep],
            what[keep],
            color=ink.accent,
            linewidth=0.8 if smooth else 1.6,
            alpha=0.35 if smooth else 1.0,
            label="minibatch",
        )
        if smooth:
            half = SMOOTHED // 2
            windows = np.lib.stride_tricks.sliding_window_view(what, SMOOTHED)
            middle = np.median(windows, axis=1)
            centre = where[half : len(what) - half]
            keep = thin(middle, MAX_POINTS)
            name = f"running median of {SMOOTHED}"
            axes.plot(centre[keep], middle[keep], color=ink.accent, linewidth=2.0, label=name)
        if stones:
            axes.plot(
                list(stones),
                [max(value, LEAST_LOSS) for value in stones.values()],
                "o",
                color=ink.loss,
                markersize=6,
                markeredgecolor=ink.surface,
                label="fresh sequences",
                zorder=6,
                clip_on=False,
            )
        axes.set_xlim(0, max(float(where[-1]), 1.0))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(plain_text))
        log_axis(axes)
        axes.set_xlabel("batch", color=ink.muted)
        axes.set_ylabel(unit, color=ink.muted)
        axes.legend(frameon=False, labelcolor=ink.muted, loc="upper right")

    table = {"batch": list(steps), "loss": list(losses)}
    fresh = [stones.get(step) for step in steps] if stones else None
    return Plotted(draw, lambda: columns({**table, "fresh_sequences": fresh}))


def accuracy_by_length(trained: Mapping[int, float], longer: Mapping[int, float]) -> Plotted:
    """Share of sequences answered exactly by length: trained lengths filled, longer ones hatched."""

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink)
        shares = {**trained, **longer}
        where, small = np.arange(len(shares)), narrow(figure)
        border = len(trained)
        axes.bar(where[:border], list(trained.values()), width=0.7, color=ink.accent)
        axes.bar(
            where[border:],
            list(longer.values()),
            width=0.7,
            facecolor=ink.surface,
            edgecolor=ink.loss,
            hatch="////",
            linewidth=1.2,
        )
        for at, value in zip(where, shares.values(), strict=True):
            text = f"{100 * value:.0f}" if small or value in (0, 1) else f"{100 * value:.1f}"
            axes.annotate(
                text,
                (at, value),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                color=ink.accent if at < border else ink.loss,
                fontweight="bold",
                fontsize=8 if small else 10,
            )
        for first, last, text, colour in (
            (0, border, "trained lengths", ink.accent),
            (border, len(shares), "longer than any in training", ink.loss),
        ):
            if last > first:
                axes.annotate(
                    text,
                    ((first + last - 1) / 2, 1.15),
                    ha="center",
                    color=colour,
                    annotation_clip=False,
                )
        if trained and longer:
            axes.axvline(border - 0.5, color=ink.muted, linewidth=0.8, dashes=(2, 3))
        axes.set_xticks(where, [str(length) for length in shares])
        axes.set_xlim(-0.6, len(shares) - 0.4)
        axes.set_ylim(0, 1.24)
        axes.set_yticks([0, 0.5, 1], [percent_text(tick) for tick in (0, 0.5, 1)])
        axes.set_xlabel("length of the sequence", color=ink.muted)

    lengths = [*trained, *longer]
    told = [length in trained for length in lengths]
    match = [*trained.values(), *longer.values()]
    return Plotted(
        draw, lambda: columns({"length": lengths, "trained": told, "exact_match": match})
    )


def attention_map(source: Sequence[str], target: Sequence[str], weights: Floats) -> Plotted:
    """Where the decoder looks: one row per answered token, one column per source step.

    Parameters
    ----------
    source, target : sequences of str
        Names of the S tokens read and of the T tokens answered.
    weights : (T, S) float64
        Attention, each row adding up to 1.
    """

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink, grid=None)
        axes.spines["bottom"].set_visible(False)
        for row, column in np.ndindex(weights.shape):
            weight = float(weights[row, column])
            axes.bar(
                column,
                0.94,
                width=0.94,
                bottom=row - 0.47,
                facecolor=ink.accent,
                edgecolor=ink.line,
                linewidth=0,
                alpha=round(0.04 + 0.96 * weight, 2),
            )
            if weight >= 0.05:
                axes.annotate(
                    f"{100 * weight:.0f}",
                    (column, row),
                    ha="center",
                    va="center",
                    color=ink.surface if weight > 0.65 else ink.ink,
                )
        axes.set_xlim(-0.5, len(source) - 0.5)
        axes.set_ylim(len(target) - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.set_xticks(range(len(source)), list(source))
        axes.set_yticks(range(len(target)), list(target))
        axes.tick_params(labelcolor=ink.ink)
        axes.set_xlabel("read", color=ink.muted)
        axes.set_ylabel("answered", color=ink.muted)

    table = {f"{place}: {name}": weights[:, place] for place, name in enumerate(source)}
    return Plotted(draw, lambda: columns(table, list(target)))


@dataclass(frozen=True, eq=False)
class Band:
    """How a figure of several trainings went: the middle one and the range of all.

    Parameters
    ----------
    where : (n,) float64
        Increasing.
    low, middle, high : (n,) float64
        Lowest, median and highest.
    label : str
        What it is; equal labels must look alike.
    role : str
        ``accent``, ``neutral`` or ``loss``.
    dashed : bool
        How it is told apart without colour.
    """

    where: Floats
    low: Floats
    middle: Floats
    high: Floats
    label: str
    role: str = "accent"
    dashed: bool = False


def small_multiples(
    rows: Mapping[str, Mapping[str, Sequence[Band]]],
    *,
    title: str,
    note: str,
    log: bool = False,
) -> Drawing:
    """Panels side by side with one height for all: a row per horizontal axis, a column per heading.

    Parameters
    ----------
    rows : mapping of str to mapping of str to sequence of Band
        By name of the horizontal axis, then by heading; every row has the same headings.
    title, note : str
        Heading of the whole, and what height, lines and tints mean.
    log : bool
        Logarithmic height, where every value must be positive; otherwise a share in percent.
    """

    def draw(figure: Figure, ink: Ink) -> None:
        headings = list(next(iter(rows.values())))
        grid = figure.subplots(len(rows), len(headings), sharey=True, sharex="row", squeeze=False)
        seen: dict[str, Line2D] = {}
        for rank, (unit, panels) in enumerate(rows.items()):
            longest = max(float(band.where[-1]) for bands in panels.values() for band in bands)
            for axes, heading in zip(grid[rank], headings, strict=True):
                dress(axes, ink)
                _bands(axes, ink, panels[heading], seen)
                axes.set_xlabel(unit, color=ink.muted)
                axes.set_xlim(0, longest or 1.0)
                axes.xaxis.set_major_locator(MaxNLocator(4))
                axes.xaxis.set_major_formatter(FuncFormatter(plain_text))
                if rank == 0:
                    axes.set_title(heading, loc="left", color=ink.ink, fontweight="bold")
                if not log:
                    axes.set_ylim(0, 1.02)
                    axes.set_yticks([0, 0.5, 1], [percent_text(tick) for tick in (0, 0.5, 1)])
        if log:
            log_axis(grid[0, 0])
        figure.suptitle(f"{title}\n", x=0.01, ha="left", color=ink.ink, fontweight="bold")
        figure.text(0.01, 0.945, note, color=ink.muted, fontsize=10.5, va="top")
        figure.legend(
            seen.values(),
            seen.keys(),
            loc="outside lower center",
            ncols=len(seen),
            frameon=False,
            labelcolor=ink.ink,
            handlelength=3.2,
        )

    return draw


def _bands(axes: Axes, ink: Ink, bands: Sequence[Band], seen: dict[str, Line2D]) -> None:
    for band in bands:
        colour = getattr(ink, band.role)
        axes.fill_between(
            band.where, band.low, band.high, color=colour, alpha=0.14, linewidth=0, zorder=2
        )
        (line,) = axes.plot(
            band.where,
            band.middle,
            color=colour,
            linewidth=1.8,
            dashes=(4, 2) if band.dashed else (None, None),
            zorder=4,
        )
        seen.setdefault(band.label, line)
