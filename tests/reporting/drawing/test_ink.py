import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from quantseq.reporting.drawing import ink
from quantseq.reporting.drawing.ink import (
    THEMED,
    Ink,
    daylight,
    pagescript,
    png,
    stylesheet,
    svg,
    svg_file,
    undrawn,
    write_picture,
)


def _draw(figure: Figure, colours: Ink) -> None:
    axes = figure.add_subplot()
    axes.plot([0, 1, 2], [1.23456789, 2, 1], "o-", color=colours.accent, label="a < b")
    axes.set_title("cost $5 & <script>", color=colours.loss)
    axes.axhspan(1, 2, color=colours.neutral, alpha=0.15)


def _picture(prefix: str = "one") -> str:
    return svg(_draw, (300, 200), prefix=prefix, title="T <b>", description="D & d")


def test_an_svg_names_itself_and_escapes_its_words() -> None:
    picture = _picture()
    assert picture.startswith(
        '<svg role="img" viewBox="0 0 300 200" aria-labelledby="one-t one-d">'
    )
    assert '<title id="one-t">T &lt;b&gt;</title><desc id="one-d">D &amp; d</desc>' in picture
    assert "cost $5 &amp; &lt;script&gt;" in picture
    assert picture.count("<svg") == picture.count("</svg>") == 1


def test_an_svg_is_the_same_every_time_whatever_the_user_has_configured() -> None:
    first = _picture()
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "svg.fonttype": "path"}):
        assert _picture() == first


def test_colours_are_variables_and_nothing_points_outside() -> None:
    picture = _picture()
    assert "var(--accent)" in picture
    assert "var(--neutral)" in picture
    assert not any(sentinel in picture for sentinel in vars(THEMED).values())
    assert "http" not in picture
    assert "xmlns" not in picture
    assert "font-family" not in picture


def test_ids_of_two_pictures_never_meet_and_every_reference_has_its_target() -> None:
    ids = [re.findall(r'id="([^"]+)"', _picture(prefix)) for prefix in ("one", "two")]
    assert not set(ids[0]) & set(ids[1])
    assert len(ids[0]) == len(set(ids[0]))
    assert set(re.findall(r"url\(#([^)]+)\)", _picture())) <= set(ids[0])
    assert set(re.findall(r'href="#([^"]+)"', _picture())) <= set(ids[0])


def test_groups_that_say_nothing_are_gone_and_the_rest_is_balanced() -> None:
    picture = _picture()
    assert "<g>" not in picture
    assert len(re.findall(r"<g\b", picture)) == picture.count("</g>")


def test_a_png_is_the_same_every_time_and_as_large_as_asked() -> None:
    data = png(_draw, (300, 200), scale=2)
    assert data == png(_draw, (300, 200), scale=2)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (600, 400)


def test_drawing_imports_neither_pyplot_nor_torch() -> None:
    code = (
        "import sys, quantseq.reporting.render; "
        "print([m for m in ('matplotlib.pyplot', 'torch', 'yfinance') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _palettes() -> dict[str, dict[str, str]]:
    triple = re.findall(r"--(\w+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", stylesheet())
    return {
        "light": {name: light for name, light, _ in triple},
        "dark": {name: dark for name, _, dark in triple},
    }


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_colour_is_readable_on_every_ground(theme: str) -> None:
    palette = _palettes()[theme]
    for text in ("ink", "muted", "accent", "neutral", "loss"):
        for ground in ("page", "surface"):
            assert _contrast(palette[text], palette[ground]) >= 4.5, (text, ground)
    for ground in ("tint", "up1", "up2", "up3", "up4", "down1", "down2", "down3", "down4"):
        assert _contrast(palette["ink"], palette[ground]) >= 4.5, ground


def test_both_themes_define_the_same_colours_and_nothing_else_does() -> None:
    palettes = _palettes()
    assert palettes["light"].keys() == palettes["dark"].keys()
    assert set(vars(daylight())) <= palettes["light"].keys()
    rest = re.sub(r":root \{.*?\}", "", stylesheet(), count=1, flags=re.DOTALL)
    assert stylesheet().index("light-dark(") < stylesheet().index("body")
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgb|hsl", rest)
    used = set(re.findall(r"var\(--([a-z0-9]+)\)", stylesheet()))
    assert used <= palettes["light"].keys()


def test_sentinels_are_no_colours_of_the_palette() -> None:
    real = {colour for palette in _palettes().values() for colour in palette.values()}
    assert not real & set(vars(THEMED).values())


def test_a_picture_that_stands_alone_is_a_document_in_daylight(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.b", _draw, (300, 200), title="T <b>", description="D & d")
    assert (tmp_path / "a.b.png").read_bytes() == png(_draw, (300, 200))
    text = (tmp_path / "a.b.svg").read_text(encoding="utf-8")
    assert text == svg_file(_draw, (300, 200), title="T <b>", description="D & d")
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("width"), root.get("height")) == ("300", "200")
    assert [child.text for child in root[:2]] == ["T <b>", "D & d"]
    assert "var(--" not in text
    assert not any(sentinel in text for sentinel in vars(THEMED).values())
    assert daylight().accent in text


def test_undrawn_pictures_are_empty_until_the_end_of_the_block() -> None:
    def picture() -> str:
        return svg(_draw, (300, 200), prefix="x", title="t", description="d")

    before = picture()
    with undrawn():
        assert picture() == "<svg></svg>"
    assert picture() == before


def test_the_script_is_small_and_keeps_its_strings() -> None:
    script = pagescript()
    assert len(script.encode()) <= 8 * 1024
    assert "/*" not in script
    assert "//" not in script
    assert ": arrow keys read values, plus and minus zoom, 0 shows all" in script


@given(
    st.lists(
        st.tuples(st.floats(-999, 999), st.floats(-999, 999)), min_size=1, max_size=40, unique=True
    )
)
def test_steps_end_where_the_path_ends_however_long_it_is(
    points: list[tuple[float, float]],
) -> None:
    path = "M " + " L ".join(f"{x:.6f} {y:.6f}" for x, y in points)
    numbers = [float(n) for n in re.findall(r"-?\d*\.?\d+", ink._steps(path))]
    where = np.array(numbers).reshape(-1, 2).sum(axis=0)
    np.testing.assert_allclose(where, points[-1], atol=0.0501)


def test_curves_stay_absolute_and_the_axes_are_noted() -> None:
    assert ink._steps("M 1 2 C 3 4 5 6 7 8 L 8 8.5") == "M1 2C3 4 5 6 7 8l1 .5"
    picture = svg(_draw, (300, 200), prefix="p", title="t", description="d", boxes=True)
    (box,) = re.findall(r'data-boxes="([^"]+)"', picture)
    left, top, right, bottom = map(float, box.split())
    assert 0 < left < right <= 300
    assert 0 < top < bottom <= 200
    assert '<g class="still">' in picture
