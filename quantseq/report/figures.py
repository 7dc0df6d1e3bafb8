"""Figures of an evaluation: calibration, and scores by step and by year, each as SVG and PNG.

Owns which models are drawn and how; computes no score. The files stand alone, outside of any page.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from quantseq.evaluation.grades import Grades
from quantseq.market.bars import Floats
from quantseq.report.axes import end_labels, plain_text, plot
from quantseq.report.charts import pit_histogram
from quantseq.report.ink import Drawing, Ink, write_picture

SIZE = (720, 400)
SLICES = 20
DRAWN = ("gjr-garch-skewt", "har-range-t", "ewma-t")
"""Rivals with a density that are drawn beside the model and its reference, where they took part."""


def draw_figures(
    folder: Path, grades: Mapping[str, Grades], model: str, reference: str
) -> list[Path]:
    """Write ``pit``, ``reliability``, ``score_by_step`` and ``score_by_year`` as SVG and PNG.

    Parameters
    ----------
    folder : Path
    grades : mapping by model
    model, reference : str
        Drawn in the accent colour, and what scores are drawn relative to, where it took part.

    Returns
    -------
    list of Path
    """
    known = np.isfinite(grades[model].pit[:, 0])
    if not known.any():
        return []
    shown = [name for name in (model, reference, *DRAWN) if name in grades]
    drawings = {
        "pit": (
            _pit(grades[model].pit[known, 0]),
            "Where outcomes fell inside the next-day forecasts: 1 everywhere if calibrated",
        ),
        "reliability": (
            reliability({name: grades[name].pit[known, 0] for name in shown[:3]}),
            "Share of outcomes below each forecast quantile less its level, next day",
        ),
    }
    if reference in grades:
        base, others = grades[reference].log_score, [n for n in shown if n != reference]
        extra = {name: 1000 * (grades[name].log_score - base) for name in others}
        steps = {name: np.nanmean(values, axis=0) for name, values in extra.items()}
        years = grades[model].cutoffs.astype("datetime64[Y]").astype(int) + 1970
        names = [int(year) for year in np.unique(years[known])]
        by_year = {
            name: np.array([np.nanmean(values[years == year, 0]) for year in names])
            for name, values in extra.items()
        }
        unit = f"log score less that of {reference}, 1/1000 nat"
        numbers = list(range(1, grades[model].horizon + 1))
        drawings["score_by_step"] = (
            score_lines(numbers, steps, across="steps ahead", up=unit),
            f"Mean {unit}, by step; lower is better",
        )
        drawings["score_by_year"] = (
            score_lines(names, by_year, across="year of the cutoff", up=unit),
            f"Mean {unit}, next day, by year; lower is better",
        )
    written = []
    for name, (drawing, text) in drawings.items():
        write_picture(folder / name, drawing, SIZE, title=text, description=text)
        written += [folder / f"{name}.svg", folder / f"{name}.png"]
    return written


def _pit(pit: Floats) -> Drawing:
    """Histogram with the band of 95 % of slices if outcomes were independent."""
    counts = np.histogram(pit, bins=SLICES, range=(0, 1))[0]
    expected = len(pit) / SLICES
    width = 1.96 * np.sqrt((1 - 1 / SLICES) / expected)
    return pit_histogram(counts / expected, low=1 - width, high=1 + width)


def reliability(pits: Mapping[str, Floats]) -> Drawing:
    """Observed less nominal share below each level, one line per model, the first in accent."""

    def draw(figure: Figure, ink: Ink) -> None:
        levels = np.linspace(0, 1, 101)
        gaps = {
            name: np.searchsorted(np.sort(pit), levels, "right") / len(pit) - levels
            for name, pit in pits.items()
        }
        axes = plot(figure, ink)
        axes.axhline(0, color=ink.ink, linewidth=1.0)
        for rank, (name, gap) in enumerate(gaps.items()):
            colour, dashes = _look(rank, ink)
            axes.plot(
                levels,
                100 * gap,
                label=name,
                color=colour,
                dashes=dashes,
                linewidth=1.7,
                zorder=4 - rank,
            )
        reach = 100 * max(0.02, 1.3 * max(np.abs(gap).max() for gap in gaps.values()))
        axes.set_ylim(-reach, reach)
        if len(gaps) > 1:
            axes.legend(loc="upper right", ncols=len(gaps), frameon=False, labelcolor=ink.muted)
        axes.set_xlim(0, 1)
        axes.set_xlabel("forecast probability of a lower return", color=ink.muted)
        axes.set_ylabel("observed less forecast, points", color=ink.muted)

    return draw


def score_lines(
    where: Sequence[int], series: Mapping[str, Floats], *, across: str, up: str
) -> Drawing:
    """Scores over steps or years, one line per model, the first in accent."""

    def draw(figure: Figure, ink: Ink) -> None:
        axes = plot(figure, ink)
        axes.axhline(0, color=ink.ink, linewidth=1.0)
        ends = []
        for rank, (name, values) in enumerate(series.items()):
            colour, dashes = _look(rank, ink)
            axes.plot(where, values, "o-", color=colour, dashes=dashes, linewidth=1.7, markersize=4)
            ends.append((float(values[-1]), f"{name} {plain_text(round(values[-1], 1))}", colour))
        axes.set_xticks(list(where), [str(one) for one in where])
        axes.set_xlim(min(where) - 0.15, max(where) + 0.15)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(across, color=ink.muted)
        axes.set_ylabel(up, color=ink.muted)
        end_labels(axes, figure, ends)

    return draw


def _look(rank: int, ink: Ink) -> tuple[str, tuple[float | None, float | None]]:
    """Colour and dashes: the model in accent, the others neutral and told apart by their dashes."""
    if rank == 0:
        return ink.accent, (None, None)
    return ink.neutral, ((None, None), (5, 2), (2, 2), (1, 1))[(rank - 1) % 4]
