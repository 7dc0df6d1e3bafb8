"""From a drawing to bytes: an SVG that follows the page's theme, or pictures that stand alone.

Owns sentinel colours, chart fonts, and what is stripped from matplotlib's output. Knows nothing of
what is drawn: a drawing is any function of a figure and an `Ink`.

A themed SVG is drawn in colours that occur nowhere else and that are then rewritten to the CSS
variables of the same name, so that one file looks designed in light and in dark. The palette itself
stands in ``templates/report.css``, which is the only place with colours. Paths are written as steps of
a tenth of a pixel, which halves the size of a page; no error adds up.
"""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.style import context as style_context

from quantseq.files import write_bytes, write_text

SALT = "quantseq"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": SALT,
    "text.parse_math": False,
    "path.simplify": True,
    "path.simplify_threshold": 0.25,
    "font.family": "DejaVu Sans",
    "font.size": 11.0,
    "axes.titlesize": 12.0,
    "axes.labelsize": 11.0,
    "axes.linewidth": 0.8,
    "axes.xmargin": 0.0,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "xtick.major.pad": 6.0,
    "ytick.major.pad": 6.0,
}


@dataclass(frozen=True)
class Ink:
    """The colours a drawing may use, by role; each is a CSS variable of the page.

    Parameters
    ----------
    ink, muted, line, surface : str
        Text, quieter text, hairlines and the ground, as ``#rrggbb``.
    accent, neutral, loss : str
        The strategy or model, whatever it is compared with, and what was lost or missed.
    """

    ink: str
    muted: str
    line: str
    surface: str
    accent: str
    neutral: str
    loss: str


THEMED = Ink("#01fe0a", "#02fe0b", "#03fe0c", "#04fe0d", "#05fe0e", "#06fe0f", "#07fe1a")
"""Sentinels: `svg` rewrites each to ``var(--name)``."""

_DEFAULTS = (
    (";stroke-linecap:square", ""),
    (";stroke-linejoin:miter", ""),
    ("font-size:11px;", ""),
    (";fill:var(--muted)", ""),
    ('style="fill:none;stroke:var(--line);stroke-width:0.7"', 'class="g"'),
    ('style="text-anchor:middle"', 'class="m"'),
    ('style="text-anchor:end"', 'class="e"'),
)
"""What the style sheet says of every chart, and so need not be said in each."""

Drawing = Callable[[Figure, Ink], None]
Size = tuple[int, int]


@cache
def stylesheet() -> str:
    """The page's style sheet, as it is inlined."""
    return (files("quantseq.reporting") / "templates" / "report.css").read_text(encoding="utf-8")


@cache
def pagescript() -> str:
    """The page's script as it is inlined, without comments and idle space; at most 8 KiB.

    Strings are left alone. The source keeps to what this understands: no comment marks and no spaces in
    regular expressions, a semicolon after every statement.
    """
    source = (files("quantseq.reporting") / "templates" / "report.js").read_text(encoding="utf-8")
    parts = re.split(r'("[^"\n]*"|`[^`]*`)', re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL))
    for place in range(0, len(parts), 2):
        code = re.sub(r"\bconst ", "let ", re.sub(r"\s+", " ", parts[place]))
        code = re.sub(r" ?([=+<>*/?:&|!%,;{}()\[\]-]+) ?", r"\1", code)
        parts[place] = re.sub(r"(?<![\w$])\((\w+)\)=>", r"\1=>", code)
    return "".join(parts).replace(";}", "}").strip()


@cache
def daylight() -> Ink:
    """The light palette of the style sheet, for pictures that cannot follow a theme."""
    pairs = r"--([a-z]+):\s*light-dark\((#[0-9a-f]{6}),"
    values = dict(re.findall(pairs, stylesheet().split("}")[0]))
    return Ink(**{field.name: values[field.name] for field in fields(Ink)})


def _figure(draw: Drawing, size: Size, ink: Ink, *, pad: float) -> Figure:
    layout = ConstrainedLayoutEngine(w_pad=pad / 72, h_pad=pad / 72)
    figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72, layout=layout)
    draw(figure, ink)
    return figure


_drawing = ContextVar("drawing", default=True)


@contextmanager
def undrawn() -> Iterator[None]:
    """Leave inline pictures empty: for whoever needs the texts of a page only."""
    token = _drawing.set(False)
    try:
        yield
    finally:
        _drawing.reset(token)


def svg(
    draw: Drawing, size: Size, *, prefix: str, title: str, description: str, boxes: bool = False
) -> Markup:
    """Draw once as an inline SVG: themed, deterministic, and without anything from outside.

    Parameters
    ----------
    draw : callable
        Draws on a figure in the colours of an `Ink`.
    size : (width, height)
        In CSS pixels at scale 1; the picture scales to the width of its container.
    prefix : str
        Starts every id inside, so that several pictures fit in one page.
    title, description : str
        What a screen reader says; escaped here.
    boxes : bool
        Note in ``data-boxes`` where each axes lies (left, top, right, bottom), for the page's script.
    """
    if not _drawing.get():
        return Markup("<svg></svg>")
    body, places = _svg_body(draw, size, THEMED, prefix, pad=3)
    for field in fields(Ink):
        body = body.replace(getattr(THEMED, field.name), f"var(--{field.name})")
    for long, short in _DEFAULTS:
        body = body.replace(long, short)
    body = re.sub(r' clip-path="[^"]*"(?= class="g")', "", body)
    noted = f' data-boxes="{places}"' if boxes else ""
    body = f'<g class="still">{body}</g>' if boxes else body
    head = (
        f'<svg role="img" viewBox="0 0 {size[0]} {size[1]}" aria-labelledby="{prefix}-t {prefix}-d"'
        f"{noted}>"
        f'<title id="{prefix}-t">{escape(title)}</title>'
        f'<desc id="{prefix}-d">{escape(description)}</desc>'
    )
    return Markup(f"{head}{body}</svg>")  # noqa: S704  (its parts are escaped above or by the backend)


def svg_file(draw: Drawing, size: Size, *, title: str, description: str) -> str:
    """Draw once as an SVG document on the light ground, which any viewer shows alike."""
    body, _ = _svg_body(draw, size, daylight(), "q", pad=10)
    width, height = size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="DejaVu Sans, Verdana, sans-serif">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
        f'<rect width="100%" height="100%" fill="{daylight().surface}"/>{body}</svg>\n'
    )


def write_picture(path: Path, draw: Drawing, size: Size, *, title: str, description: str) -> None:
    """Write a drawing as ``path.svg`` and ``path.png``."""
    write_text(
        path.with_name(f"{path.name}.svg"),
        svg_file(draw, size, title=title, description=description),
    )
    write_bytes(path.with_name(f"{path.name}.png"), png(draw, size))


def _svg_body(draw: Drawing, size: Size, ink: Ink, prefix: str, *, pad: float) -> tuple[str, str]:
    """What stands inside the SVG element, and where the axes lie in it."""
    buffer = io.StringIO()
    with style_context(["default", _STYLE]):
        figure = _figure(draw, size, ink, pad=pad)
        figure.patch.set_visible(False)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        ends = [axes.get_window_extent() for axes in figure.axes]
    places = (f"{b.x0:.1f} {size[1] - b.y1:.1f} {b.x1:.1f} {size[1] - b.y0:.1f}" for b in ends)
    return _slim(buffer.getvalue(), prefix), ";".join(places)


def png(draw: Drawing, size: Size, *, scale: float = 2.0) -> bytes:
    """Draw once as a PNG on the light ground, `scale` pixels per CSS pixel."""
    buffer = io.BytesIO()
    with style_context(["default", _STYLE]):
        figure = _figure(draw, size, daylight(), pad=10)
        figure.savefig(
            buffer,
            format="png",
            dpi=72 * scale,
            facecolor=daylight().surface,
            metadata={"Software": None},
        )
    return buffer.getvalue()


def _slim(text: str, prefix: str) -> str:
    """Matplotlib's document as a fragment: own ids, no name spaces, short numbers."""
    body = text[text.index("<g ") : text.rindex("</svg>")]
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    used = dict.fromkeys(re.findall(r"#([A-Za-z][\w-]*)[\"')]", body))
    short = {name: f"{prefix}-{place}" for place, name in enumerate(used)}
    body = re.sub(r' id="([^"]*)"', lambda m: f' id="{short[m[1]]}"' if m[1] in used else "", body)
    body = re.sub(r"(url\(|href=\")#([\w-]+)", lambda m: f"{m[1]}#{short[m[2]]}", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r">\s+<", "><", re.sub(r"<[^>]+>", lambda m: _short_tag(m[0]), body))
    return _unwrap(body)


def _short_tag(tag: str) -> str:
    tag = re.sub(r' d="([^"]*)"', lambda m: f' d="{_steps(m[1])}"', tag)
    tag = re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.1f}".removesuffix(".0"), tag)
    tag = re.sub(r"\s+", " ", tag).replace(' "', '"')
    tag = re.sub(r' transform="rotate\(-?0 [^"]*"', "", tag.replace("; ", ";").replace(": ", ":"))
    return re.sub(r"font-family:[^;\"]*;?", "", tag)


def _steps(path: str) -> str:
    """A path of absolute points as steps of tenths of a pixel from one rounded point to the next.

    Examples
    --------
    >>> _steps("M 10.04 20 L 11.26 18.5 L 11.26 18.5 L 12 19 z")
    'M10 20l1.3-1.5 .7 .5z'
    """
    parts, here, previous = [], (0, 0), ""
    for letter, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        flat = [round(10 * float(number)) for number in numbers.split()]
        points = list(zip(flat[::2], flat[1::2], strict=True))
        if letter == "L" and points == [here]:
            continue
        base = here if letter == "L" else (0, 0)
        shown = "l" if letter == "L" else letter
        text = _joined(
            [end - start for point in points for end, start in zip(point, base, strict=True)]
        )
        glue = " " if shown == previous == "l" and not text.startswith("-") else ""
        parts.append(f"{glue}{text}" if shown == previous == "l" else f"{shown}{text}")
        here, previous = (points[-1] if points else here), shown
    return "".join(parts)


def _joined(tenths: list[int]) -> str:
    """Numbers with as few characters between them as a path allows."""
    texts = [f"{number / 10:.1f}".removesuffix(".0") for number in tenths]
    texts = [re.sub(r"^(-?)0\.", r"\1.", text) for text in texts]
    return "".join(
        f" {text}" if place and not text.startswith("-") else text
        for place, text in enumerate(texts)
    )


def _unwrap(body: str) -> str:
    """Drop groups that say nothing, and keep what is in them."""
    kept: list[str] = []
    open_groups: list[bool] = []
    for part in re.split(r"(</?g\b[^>]*>)", body.replace("<g/>", "")):
        if part.startswith("<g"):
            open_groups.append(part != "<g>")
            if open_groups[-1]:
                kept.append(part)
        elif part != "</g>" or open_groups.pop():
            kept.append(part)
    return "".join(kept)
