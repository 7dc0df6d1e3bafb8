"""Every drawing of the house, and how a drawing becomes an SVG that follows the page's theme, or a PNG.

Owns shapes, axes, ticks, and colours by role. Does not know what a run is and computes no statistic: a
drawing is any function of a matplotlib figure and a `Theme`. A themed SVG is drawn in colours that occur
nowhere else, which are then rewritten to the CSS variables of the same name; the palette itself stands in
``templates/report.css``, which is the only place with colours.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cache, partial
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateFormatter, AutoDateLocator
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import findSystemFonts, fontManager, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.style import context as style_context
from matplotlib.text import Text as Lettering
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from quantseq.files import check_file, write_bytes
from quantseq.market.bars import Bars, Dates, Floats

_NARROW = 420  # CSS pixels: figures below this width are drawn for a phone
_LINE_HEIGHT = 15
_SHAPE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "path.simplify_threshold": 0.25,
    "font.size": 11.0,
    "axes.titlesize": 12.0,
    "axes.labelsize": 11.0,
    "axes.xmargin": 0.0,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.borderpad": 0.0,
    **{f"{axis}tick.labelsize": 11.0 for axis in "xy"},
    **{f"{axis}tick.{kind}.size": 0.0 for axis in "xy" for kind in ("major", "minor")},
    **{f"{axis}tick.major.pad": 6.0 for axis in "xy"},
}
_ROLES = {
    "ink": ("text.color",),
    "muted": ("axes.labelcolor", "legend.labelcolor", "xtick.labelcolor", "ytick.labelcolor"),
    "line": ("axes.edgecolor", "grid.color"),
}
# What the style sheet says of every chart, what nothing points at, and digits that nobody sees.
_SPARED = (
    (r" id=\"[a-zA-Z\d.]+_\d{1,4}\"", ""),
    (r"<!--.*|<g/>", ""),
    (r"font-size: 11px; |font-family: [^;]*; |; stroke-line(cap|join): \w+", ""),
    (r" transform=\"rotate\(-0 [^\"]*\"", ""),
    (r"(\.\d)\d{2,}", r"\1"),
    (r"\s+", " "),
    (r"(?<=[;:]) | (?=[\"/])", ""),
    (r" ?\b([MLCQz])\b ?", r"\1"),
    (r"style=\"text-anchor:(m|e)\w+;fill:#02fe0b\"", r'class="\1"'),
    (r"style=\"fill:none;stroke:#03fe0c;stroke-width:0.7\"", 'class="g"'),
)


@dataclass(frozen=True)
class Theme:
    """The colours a drawing may use, by role, as ``#rrggbb``; each is a CSS variable of the page."""

    ink: str  # text
    muted: str  # quieter text
    line: str  # hairlines
    surface: str  # the ground
    accent: str  # the strategy or model
    neutral: str  # whatever it is compared with
    loss: str  # what was lost or missed


_SENTINELS = Theme("#01fe0a", "#02fe0b", "#03fe0c", "#04fe0d", "#05fe0e", "#06fe0f", "#07fe1a")

Drawing = Callable[[Canvas, Theme], None]
Size = tuple[int, int]
_LACKING = r"Glyph (\d+) .* missing from font"
Text = Callable[[Any], Any]


@cache
def template_text(name: str) -> str:
    """A file beside the templates, such as the style sheet, as it is inlined."""
    return (files("quantseq.reporting") / "templates" / name).read_text(encoding="utf-8")


@cache
def light_theme() -> Theme:
    """The light palette of the style sheet, for pictures that cannot follow a theme."""
    pairs = r"--([a-z]+):\s*light-dark\((#[0-9a-f]{6}),"
    values = dict(re.findall(pairs, template_text("report.css").split("}")[0]))
    return Theme(**{field.name: values[field.name] for field in fields(Theme)})


def inline_svg(
    draw: Drawing, size: Size, *, prefix: str, title: str, description: str, boxes: bool = False
) -> Markup:
    """Draw once as an inline SVG, themed and deterministic, with ids made from `prefix`.

    `boxes` notes in ``data-boxes`` where each axes lies, for the page's script.
    """
    body, places = _svg_body(draw, size, prefix)
    for one in fields(Theme):
        body = body.replace(getattr(_SENTINELS, one.name), f"var(--{one.name})")
    if boxes:
        body = f'<g class="still">{body}</g>'
    noted = f' data-boxes="{places}"' if boxes else ""
    return Markup(  # noqa: S704  (its parts are escaped here or by the backend)
        f'<svg role="img" viewBox="0 0 {size[0]} {size[1]}" aria-labelledby="{prefix}-t {prefix}-d"'
        f'{noted}><title id="{prefix}-t">{escape(title)}</title>'
        f'<desc id="{prefix}-d">{escape(description)}</desc>{body}</svg>'
    )


def svg_document(draw: Drawing, size: Size, *, title: str, description: str) -> str:
    """Draw once as an SVG document on the light ground, which any viewer shows alike."""
    told = {"Title": title, "Description": description, "Date": None, "Creator": "quantseq"}
    look: Any = {"format": "svg", "facecolor": light_theme().surface, "metadata": told}
    text = _drawn(draw, size, light_theme(), pad=10, salt=title, **look)[1].decode()
    return text[text.index("<svg") :].replace('pt"', '"', 2)


def png(draw: Drawing, size: Size) -> bytes:
    """Draw once as a PNG on the light ground, two pixels per CSS pixel, with any installed font that its texts need."""
    ground, plain = light_theme().surface, {"Software": "quantseq"}
    look: Any = {"format": "png", "dpi": 144, "facecolor": ground, "metadata": plain}
    _, drawn, lacking = _drawn(draw, size, light_theme(), pad=10, **look)
    if fonts := sorted({font for one in lacking if (font := _font_with(one))}):
        drawn = _drawn(draw, size, light_theme(), pad=10, fonts=fonts, **look)[1]
    return drawn


@cache
def _fonts() -> list[Any]:
    """Every installed font that draws outlines, upright and regular ones first."""
    seen = {font.fname for font in fontManager.ttflist}
    for path in set(findSystemFonts()) - seen:  # installed since matplotlib looked last
        with suppress(Exception):  # no file of somebody else's may end a drawing
            fontManager.addfont(path)
    real = [f for f in fontManager.ttflist if "Last Resort" not in f.name and "Color" not in f.name]
    return sorted(real, key=lambda f: (f.style != "normal", f.weight not in (400, "normal")))


@cache
def _font_with(character: str) -> str:
    """The name of an installed font that can draw this, "" if there is none."""
    for font in _fonts():
        with suppress(Exception):
            if get_font(font.fname).get_char_index(ord(character)):
                return str(font.name)
    return ""


def font_note(text: str) -> str:
    """A sentence about what a PNG shows as boxes, because no installed font has it; "" if it can be read."""
    lacking = [one for one in dict.fromkeys(text) if ord(one) > 127 and not _font_with(one)]
    if not lacking:
        return ""
    return (
        f"No installed font can draw {''.join(lacking)}: pictures show boxes there. Install one that can, "
        "such as Noto Sans CJK; pages and SVG files use the fonts of whoever opens them."
    )


_RIGHT = "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
_RIGHT_RUN = re.compile(rf"(?:\d+[-.]?)?{_RIGHT}(?:[^,;:()A-Za-z\n]*{_RIGHT})?(?:[-.]?\d+)?")


def isolated(text: str) -> str:
    """The text with marks around what runs from right to left, so that it does not turn its neighbours around.

    Separators between names, such as commas, stay outside. A text that is such a name alone needs no marks.
    """
    if not text or _RIGHT_RUN.fullmatch(text):
        return text
    return _RIGHT_RUN.sub("\u2068\\g<0>\u2069", text)


# What our SVG and PNG files say of themselves. The pictures inside a page do not.
_MARKS = (b"<dc:title>quantseq</dc:title>", b"Software\0quantseq")


def check_picture(path: Path) -> Path:
    """Give `path` back if a picture may be written there; raises as `quantseq.files.check_file` does."""
    return check_file(path, *_MARKS)


def write_picture(path: Path, picture: bytes) -> None:
    """Write a PNG or SVG, in the place of nothing but an older one of ours."""
    write_bytes(check_picture(path), picture)


def _drawn(
    draw: Drawing,
    size: Size,
    theme: Theme,
    *,
    pad: float,
    salt: str = "",
    fonts: Sequence[str] = (),
    **how: Any,
) -> tuple[Canvas, bytes, set[str]]:
    """The canvas, what is saved of it, and the characters that its fonts lack; ids depend on `salt`.

    Only pictures name `fonts` beside the usual one: an SVG is laid out alike on every machine, and drawn with the
    fonts of whoever looks at it.
    """
    colours = {key: getattr(theme, role) for role, keys in _ROLES.items() for key in keys}
    buffer, layout = io.BytesIO(), ConstrainedLayoutEngine(w_pad=pad / 72, h_pad=pad / 72)
    shape = {**_SHAPE, **colours, "svg.hashsalt": salt, "font.family": ["sans-serif", *fonts]}
    with style_context(["default", shape]), warnings.catch_warnings(record=True) as told:
        warnings.filterwarnings("always", _LACKING)
        canvas = Canvas(figsize=(size[0] / 72, size[1] / 72), dpi=72, layout=layout)
        draw(canvas, theme)
        for text in canvas.findobj(Lettering):
            text.set_text(isolated(text.get_text()))
        canvas.savefig(buffer, **how)
    found = [(one, re.match(_LACKING, str(one.message))) for one in told]
    for one, match in found:
        if match is None:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return canvas, buffer.getvalue(), {chr(int(match[1])) for _, match in found if match}


def _svg_body(draw: Drawing, size: Size, prefix: str) -> tuple[str, str]:
    """What stands inside the SVG element, with ids of its own and short numbers; where the axes lie."""
    how: Any = {"format": "svg", "metadata": {"Date": None, "Creator": None}, "facecolor": "none"}
    canvas, written, _ = _drawn(draw, size, _SENTINELS, pad=3, salt=prefix, **how)
    ends = [axes.get_window_extent() for axes in canvas.axes]
    places = (f"{b.x0:.1f} {size[1] - b.y1:.1f} {b.x1:.1f} {size[1] - b.y0:.1f}" for b in ends)
    text = written.decode().replace("xlink:href", "href")
    body = re.sub(r"<[^>]+>", _spared, text[text.index("<g ") : text.rindex("</svg>")])
    return re.sub(r">\s+<", "><", body), ";".join(places)


def _spared(match: re.Match[str]) -> str:
    tag = match[0]
    for pattern, kept in _SPARED:
        tag = re.sub(pattern, kept, tag)
    return tag


def thin(values: Any, limit: int) -> NDArray[np.int64]:
    """Positions of at most `limit` points that keep both ends and the extremes of each bucket."""
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


def day_numbers(dates: Any) -> Floats:
    """Dates as days since 1970, the horizontal coordinate of every time axis."""
    return np.asarray(dates, dtype="datetime64[D]").astype(np.float64)


def _width(canvas: Canvas) -> float:
    return 72 * float(canvas.get_size_inches()[0])


def _plot(
    canvas: Canvas,
    theme: Theme,
    *,
    level: float | None = None,
    top: float | None = None,
    percent: bool = False,
    across: str = "",
    up: str = "",
) -> Axes:
    """Axes with few round heights, as fractions or plain, a line at `level`, from 0 to `top` if given."""
    axes = canvas.add_subplot(xlabel=across, ylabel=up)
    axes.grid(axis="y")
    _heights(axes, percent_text if percent else plain_text)
    if level is not None:
        axes.axhline(level, color=theme.ink, linewidth=1.0)
    if top is not None:
        axes.set_ylim(0, top)
    return axes


def _heights(axes: Axes, show: Text, most: int = 4) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(most))
    axes.yaxis.set_major_formatter(FuncFormatter(show))


def _date_axis(axes: Axes, canvas: Canvas, dates: Any) -> None:
    least, most = (2, 5) if _width(canvas) < _NARROW else (3, 10)  # any span has a step between
    locator = AutoDateLocator(minticks=least, maxticks=most)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(AutoDateFormatter(locator))  # type: ignore[no-untyped-call]
    left, right = day_numbers(dates)[[0, -1]]
    axes.set_xlim(left, max(right, left + 3))


def _log_heights(axes: Axes) -> None:
    """Logarithmic height with a few round values; call it when everything is drawn."""
    axes.set_yscale("log")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7), numticks=8))
    axes.yaxis.set_major_formatter(FuncFormatter(plain_text))


def _mark(axes: Axes, theme: Theme, mark: "Mark", **line: Any) -> None:
    """An upright line with its text above the axes."""
    colour = getattr(theme, mark.role)
    axes.axvline(mark.at, color=colour, **line)
    _note(axes, mark.text, (mark.at, 1), (0, 4), xycoords=("data", "axes fraction"), color=colour)


def _end_labels(axes: Axes, canvas: Canvas, ends: Sequence[tuple[float, str, str]]) -> None:
    """Value, text and colour of each line right of its last point, moved apart where they would touch."""
    tall = 0.85 * float(canvas.get_size_inches()[1]) * 72  # about the height of the axes
    place, lowest = axes.transScale + axes.transLimits, -np.inf
    heights = [float(place.transform((axes.get_xlim()[1], value))[1]) for value, _, _ in ends]
    for height, (_, text, colour) in sorted(zip(heights, ends, strict=True)):
        lowest = max(height, lowest + _LINE_HEIGHT / tall)
        _note(axes, text, (1, lowest), (6, 0), xycoords="axes fraction", color=colour, **_BESIDE)


_BESIDE: Mapping[str, Any] = {"ha": "left", "va": "center"}


def _note(axes: Axes, text: str, at: Any, offset: Size, **look: Any) -> None:
    """Bold text beside a point, `offset` pixels away."""
    plain: Any = {"fontweight": "bold", "ha": "center", "textcoords": "offset points"}
    axes.annotate(text, at, xytext=offset, **plain | look)


def curves(
    canvas: Canvas,
    theme: Theme,
    data: pd.DataFrame,
    looks: Sequence[str],
    *,
    log: bool = False,
    axis: Text = plain_text,
    end: Text = plain_text,
    marks: Sequence[Any] = (),
    top: float | None = None,
    level: float | None = None,
) -> None:
    """Series over time on one axis, a column per line with its last value at its end; the first is on top.

    `looks` has of each line its role, and ``dashed`` or ``filled`` down to 0. `axis` and `end` print numbers on
    the axis and at the ends; `marks` are upright lines by date, `level` a horizontal line, `top` the upper end. `log` needs values above 0.
    """
    axes, days, ends = _plot(canvas, theme, level=level), data.index.to_numpy(), []
    for mark in day_numbers(list(marks)):
        axes.axvline(mark, color=theme.muted, linewidth=0.7, dashes=(1, 3))
    for rank, (name, look) in enumerate(zip(data, looks, strict=False)):
        role, *how = look.split()
        values, colour = data[name].to_numpy(dtype=np.float64), getattr(theme, role)
        keep = thin(values, round(0.38 * _width(canvas)))
        where, what = day_numbers(days[keep]), values[keep]
        if "filled" in how:
            down = (np.append(where, where[[-1, 0]]), np.append(what, [0.0, 0.0]))
            axes.fill(*down, color=colour, alpha=0.16, linewidth=0)
        line: Any = {"color": colour, "linewidth": 1.7 if role == "accent" else 1.3}
        line |= {"dashes": (4, 2) if "dashed" in how else (None, None)}
        axes.plot(where, what, solid_joinstyle="round", zorder=4 - 0.1 * rank, **line)
        ends.append((float(values[-1]), end(values[-1]), colour))
    _date_axis(axes, canvas, days)
    if log:
        _log_heights(axes)
    else:
        _heights(axes, axis)
        axes.set_ylim(top=top)
    _end_labels(axes, canvas, ends)


def strips(canvas: Canvas, theme: Theme, data: pd.DataFrame) -> None:
    """One thin band per column over a shared time axis: above the line long, below it short."""
    grid = canvas.subplots(data.shape[1], 1, sharex=True, squeeze=False)[:, 0]
    most = float(np.nanmax(np.abs(data.to_numpy()), initial=0.0)) or 1.0
    least = float(np.nanmin(data.to_numpy(), initial=0.0))
    for axes, name in zip(grid, data, strict=True):
        axes.grid(axis="x")
        values = data[name].to_numpy(dtype=np.float64)
        keep = thin(values, round(0.19 * _width(canvas)))
        where, what = day_numbers(data.index[keep]), values[keep]
        for part, colour in ((what.clip(min=0), theme.accent), (what.clip(max=0), theme.loss)):
            if part.any():
                axes.stairs(part[:-1], where, fill=True, color=colour, alpha=0.75, linewidth=0)
        axes.axhline(0, color=theme.line, linewidth=0.8)
        axes.set_ylim(1.05 * most * np.sign(least), 1.05 * most)
        axes.set_yticks([0.0, most], ["", percent_text(float(f"{most:.2g}"))])
        label = "\n".join(wrap(str(name), 16)) or str(name)
        axes.set_ylabel(label, rotation=0, ha="right", va="center", color=theme.ink)
        axes.spines["bottom"].set_visible(False)
    _date_axis(grid[-1], canvas, data.index.to_numpy())


def bars(
    canvas: Canvas,
    theme: Theme,
    data: Any,
    *,
    roles: Any = None,
    label: Text | None = None,
    errors: Floats | None = None,
    marks: Floats | None = None,
    band: tuple[float, float] | None = None,
    **look: Any,
) -> None:
    """Upright bars of a named series from 0, in accent for gains and loss for losses unless `roles` says otherwise.

    `label` prints values on every bar; `errors` are half widths of whiskers, `marks` short lines to compare with,
    `band` a tinted range, `look` is that of the axes.
    """
    names, values = [str(name) for name in data.index], data.to_numpy(dtype=np.float64)
    tones = roles if roles is not None else np.where(values >= 0, "accent", "loss")
    if "top" in look:
        look["top"] = max(look["top"], 1.08 * float(np.nanmax(values)))
    axes = _plot(canvas, theme, **{"level": 0.0, **look})
    where = np.arange(len(names)).astype(np.float64)
    if band is not None:
        axes.axhspan(*band, color=theme.neutral, alpha=0.22, linewidth=0)
    colours = [getattr(theme, role) for role in tones]
    axes.bar(where, values, 0.8, color=colours, alpha=0.85)
    if errors is not None:
        axes.vlines(where, values - errors, values + errors, color=theme.ink, linewidth=1.2)
    if marks is not None:
        axes.hlines(marks, where - 0.44, where + 0.44, color=theme.ink, linewidth=1.6)
    for at, value in enumerate(values) if label is not None else ():
        _note(axes, label(value), (at, value), (0, 4), color=theme.ink)  # type: ignore[misc]
    axes.set_xlim(-0.7, len(names) - 0.3)
    step = -(-len(names) // (6 if _width(canvas) < _NARROW else 10))
    axes.set_xticks(where[::step], names[::step])
    axes.margins(y=0.08)


@dataclass(frozen=True)
class Mark:
    """A vertical line with its text, in the loss colour unless another role is named."""

    at: float
    text: str
    role: str = "loss"


def profile(
    canvas: Canvas,
    theme: Theme,
    data: pd.DataFrame,
    *,
    mark: Mark | None = None,
    log: bool = False,
    ticks: Sequence[float] = (),
    dots: bool = False,
    **look: Any,
) -> None:
    """One or several figures against what was varied, which increases down the data; NaN leaves a gap.

    The first is drawn in accent, others are told apart by their dashes and named. `log` is meant across, `ticks`
    are places to name there, `look` is that of the axes.
    """
    at = np.asarray(data.index, dtype=np.float64)
    axes, small = _plot(canvas, theme, **look), _width(canvas) < _NARROW
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    for rank, name in enumerate(data):
        line: Any = {"color": theme.neutral if rank else theme.accent, "linewidth": 1.7}
        line |= {"linestyle": ("-", "-", "--", "-.", ":")[min(rank, 4)], "zorder": 4 - 0.1 * rank}
        marker = "o" if dots else ""
        axes.plot(at, data[name].to_numpy(), label=name, marker=marker, markersize=4.5, **line)
    axes.margins(x=0.04 if dots and not log else 0, y=0.08)
    if mark is not None and at[0] <= mark.at <= at[-1]:
        _mark(axes, theme, mark, linewidth=1.3, dashes=(4, 2))
    axes.xaxis.set_major_formatter(FuncFormatter(plain_text))
    if len(ticks):
        some = list(ticks)[:: -(-len(ticks) // (5 if small else 14))]
        axes.set_xticks(some, [f"{tick:g}" for tick in some])
    elif not log:
        axes.xaxis.set_major_locator(MaxNLocator(4 if small else 6))
    if data.shape[1] > 1:
        wide = 1 if small else data.shape[1]
        canvas.legend(loc="outside upper left", ncols=wide, handlelength=2.6)


def ranges(
    canvas: Canvas,
    theme: Theme,
    data: pd.DataFrame,
    *,
    unit: str,
    mark: Mark | None = None,
    role: str = "neutral",
) -> None:
    """A horizontal range per row (low, middle, high), against 0 and perhaps one marked value."""
    values = data.to_numpy(dtype=np.float64)
    axes, where = canvas.add_subplot(xlabel=unit), np.arange(len(data))[::-1].astype(np.float64)
    axes.grid(axis="x")
    colour = getattr(theme, role)
    axes.axvline(0, color=theme.ink, linewidth=1.0)
    axes.hlines(where, values[:, 0], values[:, 2], color=colour, linewidth=5, alpha=0.45)
    axes.plot(values[:, 1], where, "o", color=colour, markersize=7)
    ends = np.append(values[np.isfinite(values)], [0.0, mark.at] if mark else [0.0])
    air = 0.08 * max(float(np.ptp(ends)), 1e-9)
    axes.set_xlim(ends.min() - air, ends.max() + air)
    axes.set_ylim(-0.6, len(data) - 0.1)
    if mark is not None:
        _mark(axes, theme, mark, linewidth=2.0)
    for (row, _), value in np.ndenumerate(values) if mark is None else ():
        text = f"{value:+.2f}".replace("-", "−")
        _note(axes, text, (value, where[row]), (0, 9), color=colour)
    axes.set_yticks(where, ["\n".join(wrap(str(name), 16)) for name in data.index])
    axes.tick_params(axis="y", labelcolor=theme.ink)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(plain_text))


@dataclass(frozen=True, eq=False)
class Fan:
    """A forecast distribution of prices behind the history it was made from, which ends with the cutoff.

    `labels` name H future steps; `levels` are Q quantile levels, increasing, symmetric about 0.5; `prices` (H, Q)
    the quantiles, `realised` (H) what the price did, NaN where unknown; `events` are the steps, from 1, whose session
    may react to a scheduled event.
    """

    symbol: str
    dates: Dates
    closes: Floats
    labels: Sequence[str]
    levels: Floats
    prices: Floats
    realised: Floats | None = None
    events: Sequence[int] = field(default=(), kw_only=True)

    def draw(self, canvas: Canvas, theme: Theme) -> None:
        """History, nested quantile bands from the cutoff on, their median, and what happened."""
        axes = _plot(canvas, theme)
        past, steps = np.arange(1 - len(self.closes), 1), np.arange(len(self.prices) + 1)
        start, middle = self.closes[-1], len(self.levels) // 2
        prices = np.vstack([np.full(len(self.levels), start), self.prices])
        band: Any = {"color": theme.accent, "alpha": 0.17, "linewidth": 0}
        for rank in range(middle):
            axes.fill_between(steps, prices[:, rank], prices[:, -1 - rank], **band)
        if len(self.levels) % 2:
            axes.plot(steps, prices[:, middle], color=theme.accent, linewidth=1.6)
        axes.axvline(0, color=theme.muted, linewidth=0.8, dashes=(1, 3))
        for step in self.events:
            axes.axvline(step, color=theme.accent, linewidth=0.9, dashes=(4, 2))
        axes.plot(past, self.closes, color=theme.neutral, linewidth=1.4)
        if self.realised is not None:
            path = np.concatenate([[start], self.realised])
            axes.plot(steps, path, "o-", color=theme.ink, linewidth=1.4, markersize=3.2, zorder=5)
        axes.set_xlim(past[0], steps[-1] + 0.5)
        dates = [str(self.dates[0])[:10], str(self.dates[-1])[:10]]
        axes.set_xticks([past[0], 0, steps[-1]], [*dates, self.labels[-1]])
        first, cutoff, _ = axes.get_xticklabels()
        first.set_horizontalalignment("left")
        cutoff.set_horizontalalignment("right" if steps[-1] < 0.3 * len(past) else "center")


def forecast_png(fan: Fan, average_day: float, causes: Mapping[str, float]) -> bytes:
    """Picture of one forecast: the history, the fan of quantile prices, where it ends, and below it a waterfall.

    That leads from the sigma of an average day to the next day's, by causes that each change it by a share.
    """
    cutoff, last, middle = str(fan.dates[-1])[:10], len(fan.prices), len(fan.levels) // 2
    shown = f"{fan.symbol}: forecast for the {last} sessions after {cutoff}"
    held = ", ".join(percent_text(fan.levels[-1 - i] - fan.levels[i]) for i in range(middle))
    across = f"tinted: {held} of outcomes expected inside · blue line: median · grey line: "

    def draw(canvas: Canvas, theme: Theme) -> None:
        fan.draw(canvas, theme)
        axes, places = canvas.axes[0], canvas.add_gridspec(2, 1, height_ratios=(3, 1))
        axes.set_subplotspec(places[0])
        _waterfall(canvas.add_subplot(places[1], ylabel="sigma"), theme, average_day, causes)
        axes.set_title(shown, loc="left", color=theme.ink, fontweight="bold")
        for place in sorted({0, middle, len(fan.levels) - 1}):
            price = fan.prices[-1, place]
            text = f"{price:,.2f}  ({percent_text(fan.levels[place])})"
            _note(axes, text, (last, price), (10, 0), color=theme.accent, **_BESIDE)
        marked = " · dashed: may react to a scheduled event" if fan.events else ""
        axes.set_xlabel(f"{across}adjusted close{marked}")

    return png(draw, (900, 620))


def _waterfall(axes: Axes, theme: Theme, average_day: float, causes: Mapping[str, float]) -> None:
    """A bar from level to level per cause, between the sigma of an average day and that of the next day."""
    levels = average_day * np.cumprod([1.0, *(1 + change for change in causes.values())])
    low, high = np.minimum(levels[1:], levels[:-1]), np.maximum(levels[1:], levels[:-1])
    where = np.arange(len(levels) + 1)
    axes.grid(axis="y")
    _heights(axes, percent_text, 3)
    ends: Any = {"color": theme.neutral, "linewidth": 3}
    axes.hlines(levels[[0, -1]], where[[0, -1]] - 0.4, where[[0, -1]] + 0.4, **ends)
    tones = [theme.accent if change > 0 else theme.loss for change in causes.values()]
    axes.bar(where[1:-1], high - low, 0.8, low, color=tones, alpha=0.85)
    texts = [f"{100 * change:+.0f}\u00a0%".replace("-", "−") for change in causes.values()]
    first, last = (f"{100 * level:.2f}\u00a0%" for level in levels[[0, -1]])
    tops = [levels[0], *high, levels[-1]]
    for at, top, text in zip(where, tops, [first, *texts, last], strict=True):
        _note(axes, text, (at, top), (0, 3), color=theme.ink)
    names = ["average day", *causes, "next day"]
    axes.set_xticks(where, ["\n".join(wrap(n, 9, break_long_words=False)) for n in names])
    air = 0.2 * float(np.ptp(levels)) + 0.01 * average_day
    axes.set_ylim(levels.min() - air, levels.max() + 2 * air)


def price_chart_png(history: Bars) -> bytes:
    """Picture of a price history: adjusted close above, volume below."""
    days, limit = history.sessions.astype("datetime64[D]"), 1_200

    def draw(canvas: Canvas, theme: Theme) -> None:
        upper, lower = canvas.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        for axes, values in ((upper, history.adj_close), (lower, history.volume)):
            axes.grid(axis="y")
            keep = thin(values, limit)
            axes.plot(day_numbers(days[keep]), values[keep], color=theme.accent, linewidth=1.2)
        _heights(upper, plain_text, 6)
        _heights(lower, EngFormatter(sep="\u00a0"), 2)
        lower.set_ylim(bottom=0)
        lower.set_ylabel("volume")
        _date_axis(lower, canvas, days)
        title = f"{history.symbol}: {days[0]} to {days[-1]}, adjusted closes"
        upper.set_title(title, loc="left", color=theme.ink)

    return png(draw, (900, 480))


def loss_curve(
    canvas: Canvas,
    theme: Theme,
    steps: Sequence[int],
    losses: Sequence[float],
    *,
    fresh: Mapping[int, float],
    unit: str,
) -> None:
    """Minibatch loss by batch on a log scale, its running median, and the loss on fresh sequences by batch."""
    floor, window = 1e-7, 51  # single precision knows no lower loss; batches in the median
    axes = _plot(canvas, theme, across="batch", up=unit)
    where = np.asarray(steps, dtype=np.float64)
    what = pd.Series(np.maximum(np.asarray(losses, dtype=np.float64), floor))
    smooth = len(what) >= 10 * window
    drawn = {"minibatch": (what, 0.8 if smooth else 1.6, 0.35 if smooth else 1.0)}
    if smooth:
        middle = what.rolling(window, center=True).median().dropna()
        drawn[f"running median of {window}"] = (middle, 2.0, 1.0)
    for name, (series, width, alpha) in drawn.items():
        part = series.iloc[thin(series.to_numpy(), 900)]
        look: Any = {"color": theme.accent, "linewidth": width, "alpha": alpha}
        axes.plot(where[part.index], part, label=name, **look)
    if fresh:
        dots = [max(value, floor) for value in fresh.values()]
        dot: Any = {"color": theme.loss, "markersize": 6, "zorder": 6, "clip_on": False}
        axes.plot(list(fresh), dots, "o", label="fresh sequences", **dot)
    axes.set_xlim(0, max(float(where[-1]), 1.0))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(plain_text))
    _log_heights(axes)
    axes.legend(loc="upper right")


def attention_map(
    canvas: Canvas, theme: Theme, source: Sequence[str], target: Sequence[str], weights: Floats
) -> None:
    """Where the decoder looks: a row per answered token, a column per token read; rows of (T, S) sum to 1."""
    axes = canvas.add_subplot()
    axes.spines["bottom"].set_visible(False)
    cell = partial(axes.bar, width=0.94, color=theme.accent, linewidth=0)
    for (row, column), weight in np.ndenumerate(weights):
        cell(column, 0.94, bottom=row - 0.47, alpha=round(0.04 + 0.96 * float(weight), 2))
        if weight >= 0.05:
            colour = theme.surface if weight > 0.65 else theme.ink
            text: Any = {"ha": "center", "va": "center", "color": colour}
            axes.annotate(f"{100 * weight:.0f}", (column, row), **text)
    axes.set_aspect("equal")
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(range(len(source)), list(source))
    axes.set_yticks(range(len(target)), list(target))
    axes.tick_params(labelcolor=theme.ink)
    limits: Any = {"xlim": (-0.5, len(source) - 0.5), "ylim": (len(target) - 0.5, -0.5)}
    axes.set(xlabel="read", ylabel="answered", **limits)
