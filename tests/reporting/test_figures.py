"""Figures carry every number of their chart, and stand alone with title and legend."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure as MatplotlibFigure

from quantseq.reporting import figures as room
from quantseq.reporting.drawing.curves import Line, curves
from quantseq.reporting.drawing.ink import daylight
from quantseq.reporting.figures import Figure, export_figures, figures_of
from quantseq.reporting.page import Header, Key, Page, Row, Section, Table, chart
from quantseq.reporting.pages import figures
from quantseq.reporting.run import Run
from quantseq.trading.performance import drawdowns, wealth
from tests.report_folders import EVIL

DAYS = np.datetime64("2020-01-01") + np.arange(900)
LINES = [Line(DAYS, np.arange(900.0)), Line(DAYS, -np.arange(900.0), "neutral", dashed=True)]
KEYS = [Key("neutral", "dash", EVIL), Key("accent", "line", "ours"), Key("loss", "dot", "a point")]
SHEET = Table(
    ["day", "won", "share"], [["2020-01-01", "−1,234.5", "12.5\u00a0%"], ["x", "—", "<0.001"]]
)


def page(*blocks) -> Page:
    return Page(Header("t", "r", "", "", ""), [Section("s", "S", "", blocks)])


def made(key: str = "growth", **options) -> Figure:
    found = chart(key, f"Growth {EVIL}", "It grew.", curves(LINES), **options)
    return figures_of(page(found))[key]


def test_a_frame_has_every_day_and_the_legend_as_names() -> None:
    frame = made(legend=KEYS[1:2] + KEYS[:1]).frame
    assert list(frame.columns) == ["ours", EVIL]
    assert frame["ours"].tolist() == list(range(900)), "neither thinned nor rounded"
    assert (frame[EVIL] == -frame["ours"]).all()
    assert str(frame.loc["2020-01-05"].name)[:10] == "2020-01-05"
    assert list(made(legend=KEYS[:1]).frame) == ["accent", EVIL]


def test_the_numbers_of_a_run_are_those_of_its_returns(run: Run) -> None:
    shown = figures(run)
    equity, drawdown = shown["equity"].frame, shown["drawdown"].frame
    net = run.daily("strategy_net")
    assert net is not None
    np.testing.assert_array_equal(equity.iloc[1:, 0], wealth(net))
    np.testing.assert_array_equal(drawdown.iloc[1:, 0], drawdowns(net))
    for key, figure in shown.items():
        assert len(figure.frame), key
        assert not figure.frame.columns.duplicated().any(), key


def test_without_numbers_the_table_of_the_page_is_read_back() -> None:
    found = chart("k", "t", "r", lambda figure, ink: None, sizes=((100, 50),), table=SHEET)
    frame = figures_of(page(found))["k"].frame
    assert frame["won"].tolist()[0] == -1234.5
    assert np.isnan(frame["won"].tolist()[1])
    assert frame["share"].tolist() == [0.125, "<0.001"]
    assert frame["day"].tolist() == ["2020-01-01", "x"]


def test_a_picture_stands_alone_with_title_and_legend(tmp_path: Path) -> None:
    figure = made(legend=KEYS)
    svg, png = figure.save(tmp_path / "new")
    assert (svg.name, png.name) == ("growth.svg", "growth.png")
    text = svg.read_text(encoding="utf-8")
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<script" not in text
    said = " ".join(root.itertext())
    for words in ("Growth <script>", "ours", "a point", "It grew."):
        assert words in said
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    again = figure.save(tmp_path / "again")
    assert [path.read_bytes() for path in again] == [svg.read_bytes(), png.read_bytes()]


@pytest.mark.parametrize("letters", [3, 40, 70])
def test_no_legend_is_wider_than_its_picture(letters: int) -> None:
    chart = made(legend=[Key("accent", "line", "m" * letters), *KEYS[1:]]).chart
    draw, size = room._alone(chart)
    with rc_context({"font.size": 11.0}):
        figure = MatplotlibFigure((size[0] / 72, size[1] / 72), dpi=72, layout="constrained")
        draw(figure, daylight())
        figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= size[0]


def test_a_row_lends_its_legend_and_every_chart_is_written(tmp_path: Path) -> None:
    pair = [chart(key, key, "", curves(LINES), sizes=((440, 250),)) for key in ("a", "b")]
    whole = page(Row("pair", pair, legend=KEYS[:1]), Row("pair", [made("c").chart]))
    assert [path.name for path in export_figures(whole, tmp_path)] == [
        f"{key}.{suffix}" for key in "abc" for suffix in ("svg", "png")
    ]
    assert EVIL.split(">")[0].removeprefix("<") in (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert list(figures_of(whole)["b"].frame) == ["accent", EVIL]


def test_a_notebook_shows_it_escaped_and_loads_nothing() -> None:
    text = made(legend=KEYS)._repr_html_()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("text", "value"),
    [("+1.5", 1.5), ("−3", -3.0), ("5.0\u00a0bps", 5e-4), ("12\u00a0sessions", 12.0), (".5", 0.5)],
)
def test_printed_numbers_are_read_with_sign_and_unit(text: str, value: float) -> None:
    assert room._value(text) == pytest.approx(value)
    assert room._value(f"{text} to {text}") == f"{text} to {text}"
