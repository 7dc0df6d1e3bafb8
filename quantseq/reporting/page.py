"""What a page is made of: how a number is printed, blocks, figures, and the template that shows them.

Owns spelling, the shape of the blocks, and how a block becomes HTML; titles and sentences stand in the TOML
files beside the template. Knows nothing of runs.
"""

import json
import math
import re
import textwrap
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, Template, UndefinedError
from markupsafe import Markup, escape
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from quantseq.files import check_file, make_folder, write_text
from quantseq.reporting import charts
from quantseq.reporting.charts import Drawing, Size, Text, Theme, template_text

DASH = "—"  # stands for None, NaN and infinity, never for 0
SPACE = "\u00a0"  # between a number and its unit, where no line breaks
# Wide and narrow size of a picture, of which the page shows the one that fits.
FULL_WIDTH: tuple[Size, ...] = ((900, 300), (340, 240))
HALF: tuple[Size, ...] = ((440, 250), (340, 230))
_MAX_ROWS = 130  # of a table behind a chart; longer series are thinned


def known(value: Any) -> float | None:
    """`value` as a finite float, or None if it is nothing of that kind."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        return None
    return float(value) if math.isfinite(value) else None


def number(value: Any, digits: int = 2, *, sign: bool = False, factor: float = 1.0) -> str:
    """A plain number, times `factor`, with grouped thousands.

    Examples
    --------
    >>> number(-1234.5), number(0.125, 2, sign=True), number(float("nan"))
    ('−1,234.50', '+0.12', '—')
    """
    finite = known(value)
    if finite is None:
        return DASH
    text = f"{abs(factor * finite):,.{digits}f}"
    if not text.strip("0.,"):
        return text
    return ("−" if factor * finite < 0 else "+" if sign else "") + text


def _unit(text: str, unit: str) -> str:
    return text if text == DASH else f"{text}{unit}"


def percent(value: Any, digits: int = 1, *, sign: bool = False) -> str:
    """A fraction in percent, with a space that does not break."""
    return _unit(number(value, digits, sign=sign, factor=100), f"{SPACE}%")


def bps(value: Any, digits: int = 1, *, factor: float = 1.0, sign: bool = False) -> str:
    """Basis points: `value` times `factor`."""
    return _unit(number(value, digits, factor=factor, sign=sign), f"{SPACE}bps")


def points(value: Any) -> str:
    """A difference of two shares, in percentage points."""
    return _unit(number(value, sign=True, digits=1, factor=100), " points")


def count(value: Any) -> str:
    """A whole number with grouped thousands."""
    return number(value, 0)


def p_value(value: Any) -> str:
    """A probability of chance, never printed as 0."""
    finite = known(value)
    return "<0.001" if finite is not None and 0 <= finite < 0.001 else number(value, 3)


def plain(value: Any) -> str:
    """Anything as it stands; what is missing or empty as a dash."""
    return DASH if value is None or value == "" else str(value)


def iso(value: Any) -> str:
    """An ISO date, or the dash for none."""
    if value is None or pd.isna(value):
        return DASH
    return value[:10] if isinstance(value, str) else str(pd.Timestamp(value).date())


def spread(low: Any, high: Any, show: Callable[[Any], str]) -> str:
    """Two ends with *to* between them, or the dash where one is unknown."""
    return DASH if known(low) is None or known(high) is None else f"{show(low)} to {show(high)}"


def between(first: Any, last: Any) -> str:
    """Two dates in two lines."""
    return f"{iso(first)} to\n{iso(last)}"


def plural(amount: float, noun: str) -> str:
    """A counted noun."""
    return f"{int(amount):,} {noun}{'' if amount == 1 else 's'}"


def listing(items: Sequence[str]) -> str:
    """Names in a row with a final *and*."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else list(items))


_NAMED = (number, percent, bps, points, count, p_value, plain, iso, plural, listing)
_SPELLINGS: Mapping[str, Callable[..., str]] = {one.__name__: one for one in _NAMED}


def spelling(how: str) -> Text:
    """A way to print by its name: ``percent``, ``+percent 2`` with sign and digits, ``bps 1 10000`` times a factor."""
    name, *given = how.removeprefix("+").split()
    options: dict[str, Any] = {"sign": True} if how.startswith("+") else {}
    several = zip(("digits", "factor"), (int, float), given, strict=False)
    return partial(_SPELLINGS[name], **options | {key: kind(text) for key, kind, text in several})


signed, gain = spelling("+number"), spelling("+percent")


def card(
    title: str, sentence: str, headers: Sequence[str], rows: Sequence[Sequence[str]], note: str = ""
) -> str:
    """HTML of a result as a notebook shows it: heading, sentence, small table, note; all escaped."""
    parts: Any = {"title": title, "said": sentence, "headers": headers, "rows": rows, "note": note}
    return _environment().get_template("card.html.j2").render(parts)


@dataclass(frozen=True)
class Cell:
    """Text of a table, a list or a badge.

    A `tone` such as ``up3``, ``good`` or ``warn`` only repeats what the text says; `figure` names what
    `quantseq verify` computes again from the returns that the page carries.
    """

    text: str
    tone: str = ""
    figure: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Table:
    """Headers, rows of texts or cells as wide as they, and how to show them.

    `align` has a letter per column, the last one for all that follow: ``t`` text, ``w`` text that wraps, ``r`` a
    range of dates in two lines, ``h`` a hash, ``n`` number, ``l`` a number over its p. `strong` is the row that
    stands out, and sorting leaves `totals` below the others.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    align: str = "tn"
    style: str = ""
    strong: int = -1
    totals: Sequence[Sequence[Any]] = ()

    @property
    def classes(self) -> list[str]:
        """CSS class of each column."""
        names = {"t": "text", "w": "text wrap", "r": "text range", "h": "text hash", "l": "two"}
        letters = self.align.ljust(len(self.headers), self.align[-1])
        return [names.get(letter, "") for letter in letters]


@dataclass(frozen=True)
class Key:
    """One entry of a chart's legend: its colour by role, its shape, its text."""

    role: str
    shape: str
    text: str


@dataclass(frozen=True, eq=False)
class Figure:
    """A chart: what it says in words, how it is drawn, and the numbers behind it.

    `frame` holds these numbers, all of them and unrounded, by date for a chart over time. The page prints them
    by `show`, or else those of `shown`, or the ends of months of a daily frame; `live` is what its script needs.
    """

    key: str
    title: str
    reading: str
    draw: Drawing
    frame: pd.DataFrame
    show: Text | Mapping[Any, Text] = number
    caption: str = ""
    legend: Sequence[Key] = ()
    sizes: Sequence[Size] = FULL_WIDTH
    live: Mapping[str, Any] | None = None
    shown: pd.DataFrame | None = None

    @property
    def table(self) -> Table:
        """The numbers as the page shows them."""
        frame = self.frame if self.shown is None else self.shown
        if self.shown is None and isinstance(frame.index, pd.DatetimeIndex):
            frame = frame.groupby([frame.index.year, frame.index.month]).tail(1)
            frame = frame.iloc[::-1].iloc[:: -(-len(frame) // _MAX_ROWS)].iloc[::-1]
        return numbers(frame, self.show, self.caption)

    @property
    def pictures(self) -> list[Markup]:
        """Inline SVG, one for each size."""
        named: Any = {"title": self.title, "description": self.reading}
        named["boxes"] = self.live is not None
        sizes = enumerate(self.sizes)
        return [charts.inline_svg(self.draw, s, prefix=f"{self.key}{i}", **named) for i, s in sizes]

    def svg(self) -> str:
        """An SVG document on the light ground."""
        draw, size = self._alone()
        return charts.svg_document(draw, size, title=self.title, description=self.reading)

    def png(self) -> bytes:
        """A PNG on the light ground, two pixels per CSS pixel."""
        return charts.png(*self._alone())

    def save(self, folder: Path) -> list[Path]:
        """Write ``KEY.svg`` and ``KEY.png``; StorageError if the folder is not writable."""
        paths = [make_folder(folder) / f"{self.key}.{suffix}" for suffix in ("svg", "png")]
        for path in paths:  # both or none
            charts.check_picture(path)
        charts.write_picture(paths[0], self.svg().encode())
        charts.write_picture(paths[1], self.png())
        return paths

    def _alone(self) -> tuple[Drawing, Size]:
        """The drawing under its title and above its legend, which are text on the page, and its size."""
        (width, height), line, texts = self.sizes[0], 15, [key.text for key in self.legend]
        title = textwrap.fill(self.title, width // 8)
        per_row = max(width // (50 + 7 * max(map(len, texts), default=0)), 1)

        def whole(canvas: Canvas, theme: Theme) -> None:
            self.draw(canvas, theme)
            look: Any = {"color": theme.ink, "fontweight": "bold", "fontsize": 12}
            canvas.suptitle(title, x=0.01, ha="left", **look)
            if self.legend:
                handles = [_handle(key, theme) for key in self.legend]
                canvas.legend(handles, texts, ncols=per_row, loc="outside lower left")

        lines = 1 + title.count("\n") + -(-len(texts) // per_row)
        return whole, (width, height + line * (lines + 1))

    def _repr_html_(self) -> str:
        """Shown by notebooks."""
        head = f"<b>{escape(self.title)}</b><br>{escape(self.reading)}"
        return f"<figure><figcaption>{head}</figcaption>{self.svg()}</figure>"


def _handle(key: Key, theme: Theme) -> Any:
    """What a key of the page's legend looks like in a picture."""
    colour, style = getattr(theme, key.role), {"dash": (4, 2), "dots": (1, 3)}
    box = Patch(color=colour, alpha=0.6, linewidth=0)
    line = Line2D([], [], color=colour, dashes=style.get(key.shape, (None, None)))
    return box if key.shape == "box" else line


@dataclass(frozen=True)
class Sheet:
    """A framed table with a heading and a reading, and a longer one on demand."""

    title: str
    reading: str
    table: Table
    more: Table | None = None


@dataclass(frozen=True)
class Row:
    """Blocks side by side where there is room: ``pair`` or ``trio``, under one heading if given."""

    style: str
    blocks: Sequence["Figure | Sheet"]
    title: str = ""
    reading: str = ""
    legend: Sequence[Key] = ()


@dataclass(frozen=True)
class Items:
    """A list under a heading if given, by `style`.

    ``cards`` have a label, its value and what stands below it, ``facts`` a term and what it is, ``notes`` are
    sentences.
    """

    style: str
    items: Sequence[Any]
    title: str = ""


@dataclass(frozen=True)
class Download:
    """A CSV that travels inside the page, as a link that works without a script, with its ``data-`` attributes."""

    name: str
    csv: str
    text: str
    attributes: Mapping[str, Any]


Block = Download | Figure | Items | Row | Sheet | str
"""What the template shows, each by its kind; a text says why a block is missing."""


@dataclass(frozen=True)
class Section:
    """A part of the page with its heading, one sentence about it, and its blocks."""

    id: str
    title: str
    lead: str = ""
    blocks: Sequence[Block] = ()


def section(key: str, *parts: Block | list[Any] | None, **words: Any) -> Section:
    """A section as ``pages.toml`` describes it under PAGE.ID; without any part it says what is missing.

    Blocks of a list stand in a row, and what the row misses below it.
    """
    spec, blocks = _spec("pages", key), list[Any]()
    for part in filter(None, parts):
        if isinstance(part, list):
            shown = [one for one in part if not isinstance(one, str)]
            blocks += [Row("pair", shown)] if shown else []
            blocks += [one for one in part if isinstance(one, str)]
        else:
            blocks.append(part)
    lead = sentence(spec.get("lead", ""), words) if blocks else ""
    blocks = blocks or [sentence(spec["missing"], words)]
    return Section(key.split(".")[1], spec["title"], lead, blocks)


def terms(kind: str, title: str = "Terms", **words: Any) -> Items:
    """Terms of ``terms.toml`` and what they mean."""
    found = [(term, sentence(text, words)) for term, text in _spec("terms", kind).items()]
    return Items("facts", found, title)


@dataclass(frozen=True)
class Header:
    """What the page is about, and the answer; `eyebrow` is the line above the title."""

    title: str
    eyebrow: str
    universe: str
    span: str
    badges: Sequence[Cell] = ()
    edge: bool = False
    answer: str = ""
    sentence: str = ""


@dataclass(frozen=True)
class Page:
    """The whole page; `footer` says what it is not, and where it came from."""

    header: Header
    sections: Sequence[Section] = field(default_factory=tuple)
    footer: str = ""
    broad: bool = False

    @property
    def figures(self) -> dict[str, Figure]:
        """Every chart by its key, in the order of the page."""
        found = {}
        for block in (block for section in self.sections for block in section.blocks):
            for one in block.blocks if isinstance(block, Row) else [block]:
                if isinstance(one, Figure):
                    shared = block.legend if isinstance(block, Row) else ()
                    found[one.key] = replace(one, legend=one.legend or shared)
        return found


def numbers(frame: pd.DataFrame, show: Text | Mapping[Any, Text], caption: str = "") -> Table:
    """A table of a frame: its index, then every column, as `show` prints it (all alike, or by name)."""
    spell = show if isinstance(show, Mapping) else {"*": show}
    dates, other = isinstance(frame.index, pd.DatetimeIndex), spell.get("*", plain)
    names = map(spell.get(str(frame.index.name), iso if dates else plain), frame.index)
    columns = [map(spell.get(str(name), other), frame[name]) for name in frame]
    rows = [list(cells) for cells in zip(names, *columns, strict=True)]
    return Table([str(frame.index.name or ""), *map(str, frame)], rows, caption)


@cache
def _spec(file: str, key: str) -> Mapping[str, Any]:
    """What stands in a TOML file under a dotted key."""
    return reduce(dict.__getitem__, key.split("."), tomllib.loads(template_text(f"{file}.toml")))


@cache
def _wording(text: str) -> Template:
    return _environment().overlay(autoescape=False).from_string(text)


def sentence(text: str, words: Mapping[str, Any]) -> str:
    """A text of the TOML files with its words filled in, a KeyError if one is missing; the page escapes it later."""
    try:
        return _wording(text).render(words).strip()
    except UndefinedError as error:
        raise KeyError(str(error)) from error


def stands(kind: str, name: str = "footer", **words: Any) -> str:
    """A sentence of a kind of page as ``pages.toml`` has it: by default what stands below it."""
    return sentence(_spec("pages", kind)[name], words)


def cards(kind: str, **words: Any) -> Items:
    """Headline figures of a kind of page as ``pages.toml`` has them."""
    several = _spec("pages", kind)["cards"]
    return Items("cards", [[sentence(text, words) for text in texts] for texts in several])


def sheet(
    key: str,
    rows: Sequence[Sequence[Any]],
    *,
    columns: Sequence[str] = (),
    more: Sequence[Sequence[Any]] = (),
    strong: int = -1,
    totals: Sequence[Sequence[Any]] = (),
    **words: Any,
) -> Sheet | str:
    """A `Sheet` as ``tables.toml`` describes it, or why there is none where there is no row.

    `words` fill the sentences there, `columns` follow its headers; cells are texts, or spelled by column.
    """
    spec = _spec("tables", key)
    if not rows and "missing" in spec:
        return sentence(spec["missing"], words)
    title, reading = (sentence(spec.get(name, ""), words) for name in ("title", "reading"))
    looks = {name: spec[name] for name in ("align", "style") if name in spec}
    table = Table([*spec.get("headers", ()), *columns], _spelled(rows, spec), **looks)
    below = {name: value for name, value in spec.get("more", {}).items() if name != "show"}
    longer = Table(rows=_spelled(more, spec["more"]), **below) if below else None
    table = replace(table, strong=strong, totals=_spelled(totals, spec))
    return Sheet(title, reading, table, longer)


def _spelled(rows: Sequence[Sequence[Any]], spec: Mapping[str, Any]) -> list[list[Any]]:
    """Cells as text: what is no text yet by its column's ``show``, the last one for all that follow."""
    show = [spelling(how) for how in spec.get("show", ["plain"])]
    return [
        [
            cell if isinstance(cell, (str, Cell)) else show[min(place, len(show) - 1)](cell)
            for place, cell in enumerate(cells)
        ]
        for cells in rows
    ]


def figure(
    key: str,
    frame: pd.DataFrame,
    show: Text | Mapping[Any, Text] = number,
    *,
    of: Any = None,
    how: Mapping[str, Any] | None = None,
    draw: Drawing | None = None,
    more: Sequence[Key] = (),
    changes: Mapping[str, Any] | None = None,
    **words: Any,
) -> Figure:
    """A `Figure` as ``figures.toml`` describes it, under its key up to a point.

    The drawing that is named there shows `of`, by default the frame, with `how` beside what stands there, unless
    `draw` is given. `words` fill the sentences, `more` keys follow the legend, `changes` are arguments of `Figure`.
    """
    spec = _spec("figures", key.split(".")[0])
    if draw is None:
        given = {"data": frame if of is None else of, **spec.get("how", {}), **(how or {})}
        draw = partial(getattr(charts, spec["draw"]), **given)
    if isinstance(spelled := spec.get("show"), Mapping):
        show = {name: spelling(one) for name, one in spelled.items()}
    elif spelled is not None:
        show = spelling(spelled)
    sizes = HALF if spec.get("sizes") == "half" else spec.get("sizes", FULL_WIDTH)
    title, reading, caption = (sentence(spec[k], words) for k in ("title", "reading", "caption"))
    fixed: dict[str, Any] = {"caption": caption, "sizes": tuple(map(tuple, sizes))}
    fixed["legend"] = [*(Key(*one) for one in spec.get("legend", ())), *more]
    named = key.replace(".", "-")
    return Figure(named, title, reading, draw, frame, show, **fixed | dict(changes or {}))


def not_drawn(key: str, **words: Any) -> str:
    """Why a figure is missing."""
    return sentence(_spec("figures", key)["missing"], words)


def over_time(
    key: str,
    frame: pd.DataFrame,
    *,
    how: Mapping[str, Any] | None = None,
    more: Sequence[Key] = (),
    changes: Mapping[str, Any] | None = None,
    **words: Any,
) -> Figure:
    """A chart of daily values with crosshair and zoom, a key per line, and a table of the ends of months.

    `how` is added to what stands in ``figures.toml``: `looks`, `marks`, `top` and the like as in `charts.curves`;
    `share` says that values are fractions, `digits` how many the crosshair shows, `log` to begin on a logarithmic
    height where all values allow it, `panels` to draw a strip for each column. `derived` (``wealth`` or
    ``drawdown``) is what the script makes each line from, by the returns in the page.
    """
    given = {**_spec("figures", key).get("how", {}), **(how or {})}
    share, digits = given.pop("share", False), given.pop("digits", 1)
    panels, derived = given.pop("panels", False), given.pop("derived", "")
    looks = given.pop("looks", ["accent", *["neutral"] * (frame.shape[1] - 1)])
    log = given.pop("log", False) and bool((frame > 0).all(axis=None))
    show, lines, keys = partial(percent, digits=digits) if share else number, [], list[Key]()
    for name, (role, *flags) in zip(frame, map(str.split, looks), strict=False):
        values = (frame[name] * (100 if share else 1)).round(digits)
        line: Any = {"of": f"{derived} {name}"} if derived else {"values": _plain(values)}
        line |= {"dash": "dashed" in flags, "fill": "filled" in flags}
        lines.append({"name": str(name), "role": role, **line})
        keys += [] if panels else [Key(role, "dash" if line["dash"] else "line", str(name))]
    keys += [*more, *([Key("muted", "scale", "log scale")] if log else [])]
    days, marks = (charts.day_numbers(one) for one in (frame.index, list(given.get("marks", ()))))
    live: dict[str, Any] = {"percent": share, "digits": digits, "log": log or None}
    live |= {"top": given.get("top"), "panels": panels, "lines": lines}
    live |= {"marks": _plain(marks), "days": _plain(days)}
    axis = charts.percent_text if share else charts.plain_text
    given |= {"log": log, "axis": axis, "end": show}
    lone = partial(charts.strips, data=frame)
    drawn = lone if panels else partial(charts.curves, data=frame, looks=looks, **given)
    changed = {"live": live, **(changes or {})}
    return figure(key, frame, show, draw=drawn, more=keys, changes=changed, **words)


def _plain(values: Any) -> tuple[float | None, ...]:
    """Numbers as JSON has them: whole ones without a point, NaN as null."""
    numbers = (None if np.isnan(one) else float(one) for one in values)
    return tuple(int(one) if one is not None and one.is_integer() else one for one in numbers)


@cache
def _environment() -> Environment:
    rules: Any = {"trim_blocks": True, "lstrip_blocks": True, "undefined": StrictUndefined}
    loader = PackageLoader("quantseq.reporting")
    environment = Environment(loader=loader, autoescape=True, **rules)
    kind = {"kind": lambda block: type(block).__name__.lower()}
    environment.filters.update(_SPELLINGS, dated=_dated, isolated=_isolated, **kind)
    return environment


def _isolated(text: Any) -> Any:
    return text if hasattr(text, "__html__") else charts.isolated(str(text))


def _dated(text: Any) -> Markup:
    """Escaped prose in which no line breaks inside an ISO date or before a percent sign."""
    whole = str(escape(charts.isolated(str(text).replace(" %", f"{SPACE}%"))))
    marked = re.sub(r"\b\d{4}-\d{2}-\d{2}\b", r"<time>\g<0></time>", whole)
    return Markup(marked)  # noqa: S704  (escaped first; only digits and hyphens are wrapped)


def check_figures(folder: Path) -> None:
    """Make sure, before long work, that no figure of the house would take the place of a picture of somebody's.

    StorageError names one that is in the way.
    """
    for kind in tomllib.loads(charts.template_text("figures.toml")):
        for path in folder.glob(f"{kind}*"):
            if re.fullmatch(rf"{kind}(-.+)?\.(svg|png)", path.name):
                charts.check_picture(path)


# What only pages of ours have in their head, since the first release
_MARK = b"""<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src"""


def write_page(path: Path, page: Page) -> Path:
    """Write a page, in the place of nothing but an older one of ours; StorageError if anything else is there."""
    write_text(check_file(path, _MARK), fill(page))
    return path


def fill(page: Page) -> str:
    """Any page of the house as HTML: everything inline, nothing loaded from anywhere."""
    live = {key: one.live for key, one in page.figures.items() if one.live is not None}
    days = list(dict.fromkeys(one["days"] for one in live.values()))  # shared ones stand once
    shown = {key: {**one, "days": days.index(one["days"])} for key, one in live.items()}
    found = {"days": days, "charts": shown}
    data = json.dumps(found, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    # Style sheet, script and data are ours and hold no markup; the template escapes everything else.
    own = (Markup(text) for text in (template_text("report.css"), template_text("report.js"), data))  # noqa: S704
    inline = dict(zip(("style", "script", "data"), own, strict=True))
    return _environment().get_template("report.html.j2").render(page=page, **inline)
