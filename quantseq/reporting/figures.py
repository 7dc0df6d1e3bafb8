"""Every chart of a page as a figure of its own: pictures that stand alone, numbers as a pandas table.

Owns how a chart leaves its page. Draws nothing itself and computes nothing.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from quantseq.files import make_folder, write_bytes, write_text
from quantseq.reporting.drawing.axes import LINE_HEIGHT
from quantseq.reporting.drawing.ink import Drawing, Ink, Size, png, svg_file
from quantseq.reporting.drawing.numbers import Plotted
from quantseq.reporting.page import Block, Cell, Chart, Key, Page, Row, Table

KEY_WIDTH, KEY_LETTER = 50, 7
"""About the width of a legend's line and gap, and of one of its letters, in CSS pixels."""

TITLE_LETTER = 8
"""About the width of a bold letter, in CSS pixels."""

_LINES = ("line", "dash")
_NUMBER = re.compile(r"([+−]?)(<?)([\d,]*\.?\d+)(?:\u00a0?(%|bps|×|s|sessions|points))?(?: \*)?")
_SCALE = {"%": 0.01, "bps": 1e-4}


@dataclass(frozen=True, eq=False)
class Figure:
    """One chart outside of its page.

    Parameters
    ----------
    chart : Chart
        The chart; it must know what it was drawn from.

    Examples
    --------
    In a notebook, a figure as the last line of a cell shows itself; its numbers are a table::

        outcome = quantseq.backtest(panel)
        outcome.figures()["drawdown"]
        outcome.figures()["drawdown"].frame.loc["2008":].min()
    """

    chart: Chart

    @property
    def key(self) -> str:
        """Its name in the page and of its files."""
        return self.chart.key

    @property
    def title(self) -> str:
        """Heading."""
        return self.chart.title

    @property
    def reading(self) -> str:
        """What it shows, in one line."""
        return self.chart.reading

    @property
    def frame(self) -> pd.DataFrame:
        """The numbers behind it: all of them, unrounded, where the drawing carries them.

        Otherwise the page's own table, read back: percent and basis points as fractions, the dash
        as NaN. Series over time have the date as index and their names as columns.
        """
        if not isinstance(self.chart.draw, Plotted):
            return _read_back(self.chart.table) if self.chart.table else pd.DataFrame()
        frame, live = self.chart.draw.numbers(), self.chart.live
        if live is not None and len(live.names) == len(frame.columns):
            return frame.set_axis(list(live.names), axis="columns")
        names = [key for key in self.chart.legend if key.shape in _LINES]
        if frame.index.name != "date" or not names:
            return frame
        if len(names) == len(frame.columns):
            return frame.set_axis([key.text for key in names], axis="columns")
        looks = {f"{k.role}{' dash' if k.shape == 'dash' else ''}": k.text for k in names}
        return frame.rename(columns=looks)

    def svg(self) -> str:
        """An SVG document on the light ground."""
        draw, size = _alone(self.chart)
        return svg_file(draw, size, title=self.title, description=self.reading)

    def png(self) -> bytes:
        """A PNG on the light ground, two pixels per CSS pixel."""
        return png(*_alone(self.chart))

    def save(self, folder: Path) -> list[Path]:
        """Write ``KEY.svg`` and ``KEY.png``.

        Raises
        ------
        StorageError
            If the folder is not writable.
        """
        make_folder(folder)
        paths = [folder / f"{self.key}.{suffix}" for suffix in ("svg", "png")]
        write_text(paths[0], self.svg())
        write_bytes(paths[1], self.png())
        return paths

    def _repr_html_(self) -> str:
        """Shown by notebooks."""
        head = f"<b>{escape(self.title)}</b><br>{escape(self.reading)}"
        return f"<figure><figcaption>{head}</figcaption>{self.svg()}</figure>"


def figures_of(page: Page) -> dict[str, Figure]:
    """Every chart of a page by its key, in the order of the page."""
    charts = [chart for section in page.sections for chart in _charts(section.blocks)]
    return {chart.key: Figure(chart) for chart in charts if chart.draw is not None}


def export_figures(page: Page, folder: Path) -> list[Path]:
    """Write every chart of a page as SVG and PNG, named by its key.

    Returns
    -------
    list of Path
        In the order of the page, SVG before PNG.
    """
    return [path for figure in figures_of(page).values() for path in figure.save(folder)]


def _charts(blocks: Sequence[Block]) -> Iterator[Chart]:
    for block in blocks:
        if isinstance(block, Chart):
            yield block
        elif isinstance(block, Row):
            for chart in _charts(block.blocks):
                yield chart if chart.legend else replace(chart, legend=block.legend)


def _alone(chart: Chart) -> tuple[Drawing, Size]:
    """The drawing under its title and above its legend, which are text on the page, and its size."""
    draw, (width, height) = chart.draw, chart.size
    assert draw is not None, "figures_of keeps only charts that can be drawn"
    longest = max((len(key.text) for key in chart.legend), default=0)
    per_row = max(width // (KEY_WIDTH + KEY_LETTER * longest), 1)

    def whole(figure: MatplotlibFigure, ink: Ink) -> None:
        draw(figure, ink)
        title = textwrap.fill(chart.title, width // TITLE_LETTER)
        figure.suptitle(title, x=0.01, ha="left", color=ink.ink, fontweight="bold", fontsize=12)
        if chart.legend:
            figure.legend(
                [_handle(key, ink) for key in chart.legend],
                [key.text for key in chart.legend],
                loc="outside lower left",
                ncols=per_row,
                frameon=False,
                labelcolor=ink.muted,
            )

    lines = -(-len(chart.title) // (width // TITLE_LETTER)) - (-len(chart.legend) // per_row)
    return whole, (width, height + LINE_HEIGHT * (lines + 1))


def _handle(key: Key, ink: Ink) -> Artist:
    """What a key of the page's legend looks like in a picture."""
    colour = getattr(ink, key.role)
    if key.shape == "box":
        return Patch(color=colour, alpha=0.6, linewidth=0)
    if key.shape == "dot":
        return Line2D([], [], color=colour, marker="o", linestyle="")
    dashes = {"dash": (4, 2), "dots": (1, 3)}.get(key.shape)
    return Line2D([], [], color=colour, dashes=dashes or (None, None))


def _read_back(table: Table) -> pd.DataFrame:
    """A table of the page with its printed numbers as numbers; other cells stay text."""
    rows = [[_value(cell) for cell in row] for row in table.rows]
    return pd.DataFrame(rows, columns=pd.Index(list(table.headers)))


def _value(cell: str | Cell) -> float | str:
    text = str(cell)
    if text == "—":
        return np.nan
    found = _NUMBER.fullmatch(text)
    if not found or found[2]:
        return text
    sign = -1.0 if found[1] == "−" else 1.0
    return sign * float(found[3].replace(",", "")) * _SCALE.get(found[4], 1.0)
