"""Drawings of forecasts' scores: calibration of several models, and scores by step or year.

Owns their shapes. Computes no score, and names no colour: the first model is drawn in the accent, the
others are neutral and told apart by their dashes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from quantseq.market.bars import Floats
from quantseq.reporting.drawing.axes import end_labels, narrow, plain_text, plot
from quantseq.reporting.drawing.ink import Ink
from quantseq.reporting.drawing.numbers import Plotted, columns

LEVELS = np.linspace(0, 1, 101)
"""Forecast probabilities at which reliability is drawn."""


def reliability(pits: Mapping[str, Floats]) -> Plotted:
    """Observed less nominal share below each level, one line per model, the first in accent."""
    gaps = {
        name: np.searchsorted(np.sort(pit), LEVELS, "right") / len(pit) - LEVELS
        for name, pit in pits.items()
    }

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink)
        axes.axhline(0, color=ink.ink, linewidth=1.0)
        for rank, (name, gap) in enumerate(gaps.items()):
            colour, dashes = _look(rank, ink)
            axes.plot(
                LEVELS,
                100 * gap,
                label=name,
                color=colour,
                dashes=dashes,
                linewidth=1.7,
                zorder=4 - rank,
            )
        reach = 100 * max(0.02, 1.1 * max(np.abs(gap).max() for gap in gaps.values()))
        axes.set_ylim(-reach, reach)
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(plain_text)
        axes.set_xlabel("forecast probability of a lower return", color=ink.muted)
        axes.set_ylabel("observed less forecast, points", color=ink.muted)
        if len(gaps) > 1:
            _named(figure, axes, ink)

    return Plotted(draw, lambda: columns({"probability": LEVELS, **gaps}))


def score_lines(
    where: Sequence[int], series: Mapping[str, Floats], *, across: str, up: str
) -> Plotted:
    """Scores over steps or years, one line per model, the first in accent; NaN leaves a gap."""

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink)
        axes.axhline(0, color=ink.ink, linewidth=1.0)
        ends = []
        small = narrow(figure)
        for rank, (name, values) in enumerate(series.items()):
            colour, dashes = _look(rank, ink)
            axes.plot(
                where,
                values,
                "o-",
                label=name,
                color=colour,
                dashes=dashes,
                linewidth=1.7,
                markersize=4,
                zorder=4 - rank,
            )
            known = values[np.isfinite(values)]
            if len(known):
                last = float(known[-1])
                value = plain_text(round(last, 1 if abs(last) >= 1 else 2) + 0.0)
                ends.append((float(known[-1]), value if small else f"{name} {value}", colour))
        shown = list(where)[:: -(-len(where) // (5 if small else 14))]
        axes.set_xticks(shown, [str(one) for one in shown])
        axes.set_xlim(min(where) - 0.15, max(where) + 0.15)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(plain_text)
        axes.set_xlabel(across, color=ink.muted)
        axes.set_ylabel(up, color=ink.muted)
        if small:
            _named(figure, axes, ink)
        end_labels(axes, figure, ends)

    return Plotted(draw, lambda: columns({across: list(where), **series}))


def _named(figure: Figure, axes: Axes, ink: Ink) -> None:
    """Names of the lines above them."""
    lines, names = axes.get_legend_handles_labels()
    figure.legend(
        lines,
        names,
        loc="outside upper left",
        ncols=2 if narrow(figure) else len(names),
        frameon=False,
        labelcolor=ink.muted,
        handlelength=2.6,
        borderpad=0,
    )


def _look(rank: int, ink: Ink) -> tuple[str, tuple[float | None, float | None]]:
    """Colour and dashes: the model in accent, the others neutral and told apart by their dashes."""
    if rank == 0:
        return ink.accent, (None, None)
    return ink.neutral, ((None, None), (5, 2), (2, 2), (1, 1))[(rank - 1) % 4]
