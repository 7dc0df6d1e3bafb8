"""Drawings as pictures: themed, deterministic, self-contained, whatever numbers they get."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given
from hypothesis import strategies as st

from quantseq.market.bars import Bars
from quantseq.reporting import charts
from quantseq.reporting.charts import (
    Drawing,
    font_note,
    inline_svg,
    isolated,
    png,
    svg_document,
    thin,
)

SIZE = (440, 250)
DAYS = pd.DatetimeIndex(pd.bdate_range("2010-01-01", periods=300), name="date")
RNG = np.random.default_rng(0)
WAVES = pd.DataFrame({"a": np.exp(RNG.normal(0, 0.02, 300).cumsum()), "b": 1.0}, DAYS)

LOSSES = np.geomspace(2, 1e-9, 600)


def drawings() -> Iterator[tuple[str, Drawing]]:
    gaps = WAVES[WAVES.index > DAYS[100]].reindex(DAYS)
    both = ["accent filled", "neutral dashed"]
    yield (
        "curves",
        partial(charts.curves, data=WAVES, looks=both, log=True, marks=[DAYS[50]]),
    )
    yield "gaps", partial(charts.curves, data=gaps, looks=both, top=2.0, level=1.0)
    yield "one day", partial(charts.curves, data=WAVES.head(1), looks=both)
    yield "strips", partial(charts.strips, data=WAVES - 1)
    yield (
        "bars",
        partial(charts.bars, data=pd.Series([1.0, -2.0], list("ab")), errors=np.ones(2), label=str),
    )
    band = {"band": (0.8, 1.2), "level": 1.0, "top": 1.6, "marks": np.ones(2)}
    yield (
        "band",
        partial(
            charts.bars, data=pd.Series([1.0, 2.0], list("ab")), roles=["accent", "loss"], **band
        ),
    )
    frame = pd.DataFrame({"x": [1.0, np.nan, 3.0], "y": 2.0}, [1, 10, 100])
    mark = charts.Mark(10, "here")
    yield (
        "profile",
        partial(charts.profile, data=frame, across="n", log=True, mark=mark, top=4.0, level=1.0),
    )
    yield (
        "dots",
        partial(charts.profile, data=frame[["y"]], across="n", ticks=[1, 10, 100], dots=True),
    )
    three = pd.DataFrame([[-1.0, 0.0, 1.0]], ["a"])
    yield "ranges", partial(charts.ranges, data=three, unit="u", mark=mark)
    yield "nothing", partial(charts.ranges, data=0 * three, unit="u", role="accent")
    levels, prices = np.array([0.05, 0.5, 0.95]), 100 + np.outer([1.0, 2.0], [-1, 0, 1])
    closes = WAVES["a"].to_numpy()[:20]
    days = DAYS[:20].to_numpy()
    fan = charts.Fan("IBM", days, closes, ["+1", "+2"], levels, prices, np.array([99.0, np.nan]))
    yield "fan", fan.draw
    yield (
        "loss",
        partial(charts.loss_curve, steps=range(600), fresh={0: 2.4}, unit="u", losses=LOSSES),
    )
    heat = {"source": ["5", "6"], "target": ["6", "EOS"], "weights": np.full((2, 2), 0.5)}
    yield "attention", partial(charts.attention_map, **heat)


DRAWN = dict(drawings())


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawing_follows_the_theme_and_is_the_same_every_time(name: str) -> None:
    pictures = [
        inline_svg(DRAWN[name], SIZE, prefix="x", title="<b>", description="d", boxes=True)
        for _ in range(2)
    ]
    assert pictures[0] == pictures[1]
    text = str(pictures[0])
    assert not re.search(r"#[0-9a-f]{6}|http|<script|<image|font-family|nan", text)
    assert "var(--" in text
    assert '<title id="x-t">&lt;b&gt;</title>' in text
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(set(ids)) == len(ids)
    other = inline_svg(DRAWN[name], SIZE, prefix="y", title="t", description="d")
    assert not {*ids} & {*re.findall(r' id="([^"]+)"', str(other))}
    assert set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", text)) <= {
        pair for one in ids for pair in ((one, ""), ("", one))
    }
    for box in re.search(r'data-boxes="([^"]+)"', text)[1].split(";"):  # type: ignore[index]
        left, top, right, bottom = map(float, box.split())
        assert 0 <= left < right <= SIZE[0]
        assert 0 <= top < bottom <= SIZE[1]


def test_pictures_stand_alone_on_the_light_ground() -> None:
    text = svg_document(DRAWN["curves"], SIZE, title="t", description="d")
    assert text.startswith("<svg")
    assert 'xmlns="http://www.w3.org/2000/svg"' in text
    assert "<title>t</title>" in text
    assert "var(--" not in text
    assert charts.light_theme().accent in text
    assert png(DRAWN["curves"], SIZE)[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_price_chart_and_a_forecast_are_pictures() -> None:
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), WAVES["a"]))
    frame = frame.assign(volume=1e6).reset_index()
    history = Bars.from_frame("IBM", frame)
    levels = np.array([0.05, 0.5, 0.95])
    fan = charts.Fan(
        "IBM", history.sessions, history.close, ["+1"], levels, np.array([[1.0, 2, 3]])
    )
    causes = 0.02, {"volatility": 0.2, "market": -0.1}
    forecasts = [charts.forecast_png(one, *causes) for one in (fan, replace(fan, events=[1]))]
    pictures = [charts.price_chart_png(history), *forecasts]
    for picture in pictures:
        assert picture[:4] == b"\x89PNG"
    assert len(set(pictures)) == 3


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=300), st.integers(4, 60))
def test_thinning_keeps_ends_and_extremes(values: list[float], limit: int) -> None:
    series = np.array(values)
    kept = thin(series, limit)
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= max(limit, 4)
    assert kept[0] == 0
    assert kept[-1] == len(series) - 1
    assert series[kept].max() == series.max()
    assert series[kept].min() == series.min()


@pytest.mark.parametrize("size", [SIZE, (340, 230)])
@pytest.mark.parametrize("days", [0, 1, 5, 40, 62, 75, 91, 300, 560, 700, 1000, 2500, 20_000])
def test_dates_on_an_axis_are_few_and_iso_whatever_the_span(days: int, size: charts.Size) -> None:
    first = pd.Timestamp("1970-02-03")
    ends = pd.DatetimeIndex([first, first + pd.Timedelta(days=days)][: 2 if days else 1])
    data = pd.DataFrame({"a": 1.0}, ends)
    draw = partial(charts.curves, data=data, looks=["accent"])
    texts = re.findall(
        r">([^<]+)</text>", inline_svg(draw, size, prefix="x", title="", description="")
    )
    dates = [text for text in texts if re.fullmatch(r"(19|20)\d\d(-\d\d){0,2}", text)]
    assert 1 <= len(dates) <= (5 if size[0] < 420 else 10)


def test_axis_texts_are_short_with_a_true_minus() -> None:
    assert charts.percent_text(-0.125) == "−12.5\u00a0%"
    assert charts.plain_text(-1234.5) == "−1,234.5"


HEBREW, JAPANESE = "שלום-תעשיות", "日経225"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{HEBREW}: 2024-01-02 to 2024-01-03", f"<{HEBREW}>: 2024-01-02 to 2024-01-03"),
        ("IBM, שלום, תעש.12 and 3 more", "IBM, <שלום>, <תעש.12> and 3 more"),
        ("שלום עולם was left out", "<שלום עולם> was left out"),
        (HEBREW, HEBREW),  # alone it turns nothing around
        ("AAPL: 2024 日経225 é", "AAPL: 2024 日経225 é"),
        ("", ""),
    ],
)
def test_what_runs_from_right_to_left_is_kept_apart(text: str, shown: str) -> None:
    assert isolated(text).replace("\u2068", "<").replace("\u2069", ">") == shown


@pytest.mark.parametrize("name", [HEBREW, JAPANESE, "株式会社", "삼성전자", "شركة 2222", "🚀"])
def test_any_name_is_drawn_without_a_warning(name: str) -> None:
    def draw(canvas: charts.Canvas, theme: charts.Theme) -> None:
        axes = canvas.add_subplot(title=f"{name}: 2024")
        axes.set_xticks([0, 1], [name, "x"])

    assert charts.png(draw, (300, 200)).startswith(b"\x89PNG")
    inline = charts.inline_svg(draw, (300, 200), prefix="a", title=name, description="")
    assert f"{isolated(name + ':')} 2024" in inline
    assert name in charts.svg_document(draw, (300, 200), title=name, description="")


def test_a_font_that_is_installed_is_used_in_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(canvas: charts.Canvas, theme: charts.Theme) -> None:
        canvas.suptitle(f"{secret} AAPL")

    secret = "\U00105678"  # a character of nobody's, and then of a font's
    assert secret in font_note(f"A{secret}")
    before = charts.png(draw, (200, 60))
    _build_font(tmp_path / "secret.ttf", secret)
    monkeypatch.setattr(charts, "findSystemFonts", lambda: [str(tmp_path / "secret.ttf")])
    monkeypatch.setattr(charts.fontManager, "ttflist", list(charts.fontManager.ttflist))
    _forget_fonts()
    try:
        assert font_note(f"A{secret}") == ""
        assert charts.png(draw, (200, 60)) != before
    finally:
        _forget_fonts()


def _forget_fonts() -> None:
    charts._fonts.cache_clear()
    charts._font_with.cache_clear()


def _build_font(path: Path, character: str) -> None:
    pen = TTGlyphPen(None)
    for at in ((0, 0), (0, 700), (700, 700)):
        (pen.lineTo if at[1] else pen.moveTo)(at)
    pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "triangle"])
    font.setupCharacterMap({ord(character): "triangle"})
    font.setupGlyf({".notdef": pen.glyph(), "triangle": pen.glyph()})
    font.setupHorizontalMetrics(dict.fromkeys([".notdef", "triangle"], (800, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Secret", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)
