import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantseq.reporting.charts import bars
from quantseq.reporting.page import (
    Cell,
    Download,
    Figure,
    Header,
    Items,
    Key,
    Page,
    Section,
    Sheet,
    Table,
    fill,
    iso,
    listing,
    number,
    numbers,
    over_time,
    p_value,
    percent,
    plain,
    section,
    spread,
    terms,
)

EVIL = "<script>alert('x')</script>"
DAYS = pd.DatetimeIndex(pd.bdate_range("2010-01-29", periods=60), name="date")


@pytest.fixture(scope="module")
def figure() -> Figure:
    frame = pd.DataFrame({"strategy": np.linspace(1, 2, 60), "b": np.nan}, DAYS)
    frame.loc[DAYS[3], "b"] = 0.123456
    looks = ["accent filled", "neutral dashed"]
    how = {"looks": looks, "marks": [DAYS[9]]}
    return over_time("exposure", frame, how=how, mean=0.5, most=1.0)


@pytest.mark.parametrize("value", [None, np.nan, np.inf, "text", True])
def test_what_is_unknown_is_a_dash(value: object) -> None:
    shown = [number(value), percent(value), p_value(value), spread(value, 1.0, number)]
    assert shown == ["—"] * 4
    assert [plain(None), plain(""), iso(None), iso(pd.NaT)] == ["—"] * 4


def test_zero_has_no_sign_however_it_came() -> None:
    assert number(-0.001, sign=True) == number(0.001, sign=True) == "0.00"
    assert number(-0.5, sign=True) == "−0.50"
    assert number(0.5, sign=True, factor=1000) == "+500.00"
    assert listing(["a"]) == "a"
    assert iso("2020-01-02T03:04") == iso(pd.Timestamp("2020-01-02")) == "2020-01-02"


def test_a_table_of_a_frame_prints_each_column_its_way() -> None:
    frame = pd.DataFrame({"x": [0.5, np.nan], "n": [1000, 2]}, pd.Index(["a", "b"], name="what"))
    table = numbers(frame, {"x": percent, "n": lambda value: f"{value:,}"}, "C")
    assert table.headers == ["what", "x", "n"]
    assert table.rows == [["a", "50.0\u00a0%", "1,000"], ["b", "—", "2"]]


def test_a_daily_figure_shows_ends_of_months_and_keeps_all_numbers(figure: Figure) -> None:
    assert [row[0] for row in figure.table.rows] == [
        "2010-01-29",
        "2010-02-26",
        "2010-03-31",
        "2010-04-22",
    ]
    assert figure.table.rows[0][1:] == ["100.0\u00a0%", "—"]
    assert figure.frame["b"].iloc[3] == 0.123456
    assert [key.shape for key in figure.legend] == ["line", "dash"]


def test_the_data_of_a_page_are_plain_json_with_days_once(figure: Figure) -> None:
    other = Figure(
        "o",
        "T",
        "R",
        partial(bars, data=pd.Series([1.0], ["a"])),
        pd.DataFrame({"x": [1]}),
        legend=[Key("accent", "box", "x")],
    )
    shown = section("backtest.growth", figure, [other, "None."])
    page = fill(Page(Header("H", "", "", ""), [shown]))
    text = re.search(r'id="data">(.*?)</script>', page)
    assert text
    data = json.loads(text[1])
    assert list(data["charts"]) == ["exposure"]
    assert len(data["days"]) == 1
    assert data["days"][0][0] == (DAYS[0] - pd.Timestamp(0)).days
    line = data["charts"]["exposure"]["lines"][1]
    assert line["values"][:4] == [None, None, None, 12.3]
    assert line["dash"]
    assert 'class="missing">None.<' in page


def test_a_figure_is_saved_as_svg_and_png(figure: Figure, tmp_path: Path) -> None:
    svg, picture = figure.save(tmp_path)
    assert "<title>Capital at work</title>" in svg.read_text()
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in figure._repr_html_()


def test_everything_foreign_is_escaped() -> None:
    cell = Cell(EVIL, figure=EVIL)
    table = Table([EVIL], [[cell]], EVIL, totals=[[EVIL]])
    blocks = [Sheet(EVIL, EVIL, table, table), Items("facts", [(EVIL, EVIL)]), EVIL]
    blocks.append(Download(EVIL, "a,b\n1,2\n", EVIL, {"year": EVIL}))
    shown = [Section("s", EVIL, EVIL, blocks)]
    page = fill(Page(Header(EVIL, EVIL, EVIL, EVIL, sentence=EVIL), shown))
    assert EVIL not in page
    assert page.count("&lt;script&gt;") > 15
    assert 'href="data:text/csv;charset=utf-8,a,b%0A1,2%0A"' in page


def test_dates_and_percents_do_not_break() -> None:
    page = fill(Page(Header("H", "", "", "from 2010-01-02 a 95 % interval")))
    assert "<time>2010-01-02</time> a 95\u00a0% interval" in page


@pytest.mark.parametrize("kind", ["backtest", "evaluation", "toy"])
def test_terms_are_explained(kind: str) -> None:
    items = terms(kind).items
    assert len(items) > 5
    assert all(str(text).endswith(".") for _, text in items)
