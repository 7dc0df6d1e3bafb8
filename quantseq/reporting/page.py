"""The parts a page is made of: tables, charts, cards, sections.

Owns their shape, and how one drawing becomes a wide and a narrow picture with its table. Knows
nothing of runs or numbers: every cell is already text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from quantseq.reporting.drawing.ink import Drawing, Size, svg
from quantseq.reporting.drawing.live import Live

FULL: tuple[Size, Size] = ((900, 300), (340, 240))
"""Wide and narrow size of a picture over the whole width; the page shows the one that fits."""

HALF: tuple[Size, Size] = ((440, 250), (340, 230))
THIRD: tuple[Size] = ((320, 230),)
MAX_ROWS = 130
"""Rows of a table behind a chart; longer series are thinned."""


@dataclass(frozen=True)
class Cell:
    """One table cell: text, and a tone such as ``up3`` or ``down1`` that only repeats its sign."""

    text: str
    tone: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Table:
    """Headers, rows of text, and how to align them.

    Parameters
    ----------
    headers : sequence of str
        One per column; the first column names the row.
    rows : sequence of sequences of str or Cell
        As wide as the headers.
    caption : str
        What the table shows, unless a heading says it.
    align : str
        One letter per column: ``t`` text, ``w`` text that wraps, ``r`` a range of dates in two
        lines, ``h`` a hash, ``n`` number, ``l`` a number over its p. By default text, then numbers.
    style : str
        CSS class of the table.
    strong : frozenset of int
        Rows that stand out: the model in question.
    totals : sequence of sequences of str or Cell
        Rows below the others, which sorting leaves there.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    caption: str = ""
    align: str = ""
    style: str = ""
    strong: frozenset[int] = frozenset()
    totals: Sequence[Sequence[str | Cell]] = ()

    @property
    def classes(self) -> list[str]:
        """CSS class of each column."""
        letters = self.align or "t" + "n" * (len(self.headers) - 1)
        names = {"t": "text", "w": "text wrap", "r": "text range", "h": "text hash", "l": "two"}
        return [names.get(letter, "") for letter in letters]


@dataclass(frozen=True)
class Key:
    """One entry of a chart's legend: its colour by role, its shape, its text."""

    role: str
    shape: str
    text: str


@dataclass(frozen=True)
class Chart:
    """A picture with its title, its reading in words, its legend and its numbers.

    `draw` and `size` are what the pictures were made from, for files outside of the page.
    """

    key: str
    title: str
    reading: str
    pictures: Sequence[Markup]
    table: Table | None = None
    legend: Sequence[Key] = ()
    live: Live | None = None
    draw: Drawing | None = None
    size: Size = FULL[0]

    kind: ClassVar[str] = "chart"


@dataclass(frozen=True)
class Sheet:
    """A framed table with a heading and a reading, and a longer one on demand."""

    title: str
    reading: str
    table: Table
    more: Table | None = None

    kind: ClassVar[str] = "sheet"


@dataclass(frozen=True)
class Row:
    """Blocks side by side where there is room: ``pair`` or ``trio``, under one heading if given."""

    style: str
    blocks: Sequence["Chart | Sheet"]
    title: str = ""
    reading: str = ""
    legend: Sequence[Key] = ()

    kind: ClassVar[str] = "row"


@dataclass(frozen=True)
class Facts:
    """Terms and what they are, under a heading if given."""

    items: Sequence[tuple[str, str]]
    title: str = ""

    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Notes:
    """Sentences in a list, under a heading if given."""

    items: Sequence[str]
    title: str = ""

    kind: ClassVar[str] = "notes"


@dataclass(frozen=True)
class Missing:
    """Why a part of the page is empty, in one line."""

    text: str

    kind: ClassVar[str] = "missing"


@dataclass(frozen=True)
class Interval:
    """Where an estimate, its interval and a rival lie on one scale, in percent of its width."""

    low: float
    high: float
    value: float
    rival: float | None = None


@dataclass(frozen=True)
class Card:
    """One headline figure, its interval, and its rival."""

    label: str
    value: str
    interval: str = ""
    rival: str = ""
    bar: Interval | None = None

    kind: ClassVar[str] = "card"


@dataclass(frozen=True)
class Cards:
    """Up to twelve headline figures."""

    items: Sequence[Card]

    kind: ClassVar[str] = "cards"


# Every block has a `kind`, by which the template chooses how to show it.
Block = Cards | Chart | Facts | Missing | Notes | Row | Sheet


@dataclass(frozen=True)
class Section:
    """A part of the page with its heading, one sentence about it, and its blocks."""

    id: str
    title: str
    lead: str = ""
    blocks: Sequence[Block] = ()


@dataclass(frozen=True)
class Badge:
    """A short fact about how the run was made; tone ``good``, ``warn`` or none."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Header:
    """What the page is about, and the answer; `kind` is the command that made it."""

    title: str
    run_id: str
    created: str
    universe: str
    span: str
    badges: Sequence[Badge] = ()
    edge: bool = False
    answer: str = ""
    sentence: str = ""
    kind: str = "backtest"


@dataclass(frozen=True)
class Page:
    """The whole page; `footer` says what it is not, and where it came from."""

    header: Header
    sections: Sequence[Section] = field(default_factory=tuple)
    footer: str = ""


def chart(
    key: str,
    title: str,
    reading: str,
    draw: Drawing,
    *,
    sizes: Sequence[Size] = FULL,
    table: Table | None = None,
    legend: Sequence[Key] = (),
    live: Live | None = None,
) -> Chart:
    """Draw once per size; every id inside starts with `key`.

    Parameters
    ----------
    key : str
        Unique in the page.
    title, reading : str
        Heading, and what the picture says in one line; also what a screen reader says.
    draw : callable
        The drawing.
    sizes : sequence of (width, height)
        One, or wide and narrow.
    table : Table, optional
        The numbers behind it.
    legend : sequence of Key
        Explained above the picture.
    live : Live, optional
        Daily values of a chart over time, for crosshair and zoom.
    """
    pictures = [
        svg(
            draw,
            size,
            prefix=f"{key}{rank}",
            title=title,
            description=reading,
            boxes=live is not None,
        )
        for rank, size in enumerate(sizes)
    ]
    return Chart(key, title, reading, pictures, table, legend, live, draw, sizes[0])


def thinned(rows: Sequence[Sequence[str]], most: int = MAX_ROWS) -> Sequence[Sequence[str]]:
    """Every k-th row counted from the last, so that at most `most` are left."""
    step = -(-len(rows) // most)
    return rows[::-1][::step][::-1] if step > 1 else rows
