from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantseq.errors import BarsError, CorruptFileError
from quantseq.market.bars import Bars
from quantseq.market.health import clean
from quantseq.market.readers import (
    Reading,
    read_panel,
    read_raw,
    read_table,
)
from tests.market.conftest import assert_same_bars, build_bars

PLAIN = """date,open,high,low,close,volume
2024-01-02,10,12,9,11,1000
2024-01-03,11,13,10,12,2000
2024-01-04,12,14,11,13,3000
"""
EXPECTED = build_bars(
    "X",
    start="2024-01-02",
    n=3,
    open=[10, 11, 12],
    high=[12, 13, 14],
    low=[9, 10, 11],
    close=[11, 12, 13],
    adj_close=[11, 12, 13],
    volume=[1000, 2000, 3000],
)


def write(folder: Path, text: str, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "\ufeff" + PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("date,open", "Date, OPEN").replace("close", "Close/Last"),
        PLAIN.replace("date", ""),
        PLAIN.replace("2024-01-0", "2024/1/"),
        PLAIN.replace("2024-01-0", "2024010"),
        PLAIN.replace("2024-01-02", "2 Jan 2024").replace("2024-01-03", "Jan 3 2024"),
        PLAIN.replace("2024-01-02", "2024-01-02 00:00:00-05:00").replace(
            "2024-01-03", "2024-01-03 00:00:00-04:00"
        ),
        PLAIN.replace("1000", '"1,000"').replace("2000", '"2,000.0"').replace(",11,", ",$11,"),
        PLAIN + "\n2024-01-05,null,null,null,null,null\n",
        "volume,close,low,high,open,date\n"
        "3000,13,11,14,12,2024-01-04\n2000,12,10,13,11,2024-01-03\n1000,11,9,12,10,2024-01-02\n",
        "Price,Close,High,Low,Open,Volume\nTicker,X,X,X,X,X\nDate,,,,,\n"
        "2024-01-02,11,12,9,10,1000\n2024-01-03,12,13,10,11,2000\n2024-01-04,13,14,11,12,3000\n",
        "Price,Close,Close,High,Low,Open,Volume\nTicker,x,Y,X,X,X,X\nDate,,,,,,\n"
        "2024-01-02,11,5,12,9,10,1000\n2024-01-03,12,5,13,10,11,2000\n"
        "2024-01-04,13,5,14,11,12,3000\n",
    ],
)
def test_reads_csv_as_people_have_it(tmp_path: Path, text: str) -> None:
    assert_same_bars(read_table(write(tmp_path, text), "X"), EXPECTED)


def test_dates_with_the_day_or_the_month_first(tmp_path: Path) -> None:
    head, row = "date,open,high,low,close,volume\n", ",10,12,9,11,1000\n"
    american = read_table(write(tmp_path, f"{head}01/12/2024{row}01/16/2024{row}"), "X")
    german = read_table(write(tmp_path, f"{head}12.01.2024{row}16.01.2024{row}"), "X")
    assert american.sessions.tolist() == german.sessions.tolist()
    with pytest.raises(BarsError, match=r"line 2: the date '01/02/2024' may have the day"):
        read_table(write(tmp_path, f"{head}01/02/2024{row}"), "X")


def test_adjusted_close_dividends_and_splits(tmp_path: Path) -> None:
    text = (
        "Date,Open,High,Low,Close,Adj Close,Volume,dividend,Stock Splits\n"
        "2024-01-02,10,12,9,11,5.5,1000,0.5,1.0\n2024-01-03,11,13,10,12,6,2000,,2.0\n"
    )
    bars = read_table(write(tmp_path, text), "X", timezone="America/New_York")
    assert bars.adj_close.tolist() == [5.5, 6]
    assert bars.dividends.tolist() == [0.5, 0]
    assert bars.splits.tolist() == [0, 2]  # 1:1 is no split
    assert bars.timezone == "America/New_York"


def test_provenance_names_file_and_dropped_rows(tmp_path: Path) -> None:
    bars = read_table(write(tmp_path, PLAIN + "2024-01-05,,,,,\n"), "X")
    assert bars.provenance["file"] == "x.csv"
    assert bars.provenance["left_out"] == {"rows without any price": ["2024-01-05 (line 5)"]}
    assert len(bars.provenance["file_sha256"]) == 64


@pytest.mark.parametrize("newest_first", [False, True])
def test_actions_of_a_row_without_prices_count_on_the_next_with_some(
    tmp_path: Path, newest_first: bool
) -> None:
    rows = [
        "2024-01-02,10,12,9,11,100,0,0\n",
        "2024-01-03,,,,,,0.5,2\n",
        "2024-01-04,,,,,,0.25,0\n",
        "2024-01-05,11,13,10,12,100,1,3\n",
        "2024-01-08,11,13,10,12,100,0,0\n",
    ]
    head = "date,open,high,low,close,volume,dividends,splits\n"
    text = head + "".join(rows[::-1] if newest_first else rows)
    bars = read_table(write(tmp_path, text), "X")
    assert bars.dividends.tolist() == [0, 1.75, 0]
    assert bars.splits.tolist() == [0, 6, 0]
    assert len(bars.provenance["left_out"]["rows without any price"]) == 2


def test_the_ticker_of_the_header_names_the_file(tmp_path: Path) -> None:
    text = "Price,Close,High,Low,Open,Volume\nTicker,SPY,SPY,SPY,SPY,SPY\nDate,,,,,\n"
    path = write(tmp_path, text + "2024-01-02,11,12,9,10,100\n")
    assert read_table(path).symbol == read_raw(path)[0].symbol == "SPY"
    assert read_table(path, "X").symbol == read_raw(path, "X")[0].symbol == "X"
    assert read_table(write(tmp_path, PLAIN)).symbol == "x"


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize(
    ("high", "volume"),
    [
        ("12,5", "1.000"),
        ("12,5", "1000"),
        ("12,50", "1.000,00"),
        ("12.5", "1,000"),
        ("12,5", "1,0"),
    ],
)
def test_decimal_commas_where_the_file_leaves_no_doubt(
    tmp_path: Path, separator: str, high: str, volume: str
) -> None:
    text = PLAIN.replace(",", separator).replace("12" + separator + "9", high + separator + "9")
    bars = read_table(write(tmp_path, text.replace("1000", volume)), "X")
    assert bars.high.tolist() == [12.5, 13, 14]
    assert bars.volume[0] == (1 if volume == "1,0" else 1000)


@pytest.mark.parametrize(
    ("text", "why", "reason"),
    [
        (PLAIN.replace("2024-01-03", "11:34"), "cells that cannot", "'11:34' is not a date"),
        (PLAIN.replace("2024-01-03", "2024-02-30"), "cells that", "'2024-02-30' is not a date"),
        (
            PLAIN.replace("13,10,12", "13,10,abc"),
            "cells that",
            "close is 'abc', which is not a num",
        ),
        (PLAIN.replace("13,10,12", "13,10,"), "rows that lack", "close is nan; it must be a price"),
        (
            PLAIN.replace("13,10,12", "13,-10,12"),
            "prices that are zero",
            "low is -10.0; it must be",
        ),
        (PLAIN.replace("13,10,12", "0,10,12"), "prices that are zero", "high is 0.0; it must be"),
        (
            PLAIN.replace("2024-01-04", "2024-01-03").replace(
                "12,14,11,13,3000", "11,13,10,12,2000"
            ),
            "rows that only repeat",
            "",
        ),
    ],
)
def test_an_unusable_row_is_left_out_named_and_counted(
    tmp_path: Path, text: str, why: str, reason: str
) -> None:
    bars = read_table(write(tmp_path, text), "X")
    assert len(bars) == 2
    ((told, rows),) = bars.provenance["left_out"].items()
    assert told.startswith(why)
    assert len(rows) == 1
    assert rows[0].endswith("(line 3)" if reason else "(line 4)")
    many = text + "".join(
        text.split("\n", 1)[1].replace("2024-01", f"2024-0{month}") for month in (2, 3, 4)
    )
    path = write(tmp_path, many, "many.csv")
    if reason:
        with pytest.raises(BarsError, match=f"line 3.*{reason}.*4 of 12 rows cannot.*--allow-gaps"):
            read_table(path, "X")
        assert len(clean(read_raw(path, "X")[0], allow_gaps=True)) == 8


def test_closes_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    text = PLAIN.replace(",10,12,9", ",0,12,9").replace(",11,13,10,12,", ",,,,12,")
    (raw,) = read_raw(write(tmp_path, text), "X")
    bars = clean(raw, keep_closes=True)
    assert bars.open.tolist() == [11, 12, 12]
    assert bars.high.tolist() == [12, 12, 14]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            PLAIN.replace("2024-01-03", "2024-01-02"),
            "2024-01-02 .line 3.: sessions that appear more than once",
        ),
        (PLAIN.replace("2024-01-03", "2025-01-02"), "2024-01-04 .line 4.: rows out of order"),
        (
            PLAIN.replace("2000", '"20,00"').replace("1000", "1.5"),
            "line 3: volume is '20,00', whose",
        ),
        (
            PLAIN.replace(",", ";").replace("1000", "1,000"),
            "line 2: volume is '1,000', whose comma",
        ),
        (
            PLAIN.replace(",", ";").replace("12;9", "12,5;9").replace("13;10", "13.5;10"),
            "line 2: high is '12,5', whose comma may part",
        ),
        (PLAIN.replace("low", "lowest"), "columns low are missing; found date, open"),
        (PLAIN.replace("high", "Close"), "two columns for 'close'"),
        (PLAIN[: PLAIN.index("\n") + 1], "there is a header but no rows"),
        ("symbol,date,open,high,low,close,volume\nA,2024-01-02,1,1,1,1,1\n", "holds A, but no 'X'"),
        (
            "Price,Close,Close\nTicker,A,B\nDate,,\n2024-01-02,1,1\n",
            "holds A, B, but no 'X'",
        ),
    ],
)
def test_refuses_with_line_and_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BarsError, match=message):
        read_table(write(tmp_path, text), "X")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"", "as a CSV table"),
        ("x.csv", b"\x1f\x8b\x00\x01", "as a CSV table"),
        ("x.parquet", b"PAR1 no", "as a Parquet table"),
    ],
)
def test_refuses_what_is_no_table(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=message):
        read_table(path, "X")


def test_read_raw_counts_every_fault_instead_of_stopping_at_the_first(tmp_path: Path) -> None:
    text = PLAIN.replace("2024-01-03", "11:34").replace("12,9", "abc,-9") + "2024-01-05,,,,,\n"
    (raw,) = read_raw(write(tmp_path, text), how=Reading(timezone="Europe/Berlin"))
    assert (raw.symbol, raw.timezone) == ("x", "Europe/Berlin")
    assert raw.places == ("line 2", "line 3", "line 4", "line 5")
    assert raw.unreadable == (
        ("line 2", "high is 'abc', which is not a number"),
        ("line 3", "the date '11:34' is not a date"),
    )
    assert np.isnat(raw.sessions).tolist() == [False, True, False, False]
    assert raw.columns["low"][:3].tolist() == [-9, 10, 11]


def test_read_raw_gives_every_symbol_of_a_panel(tmp_path: Path) -> None:
    path = tmp_path / "panel.parquet"
    panel_frame().to_parquet(path)
    assert [raw.symbol for raw in read_raw(path)] == ["B", "NA"]
    assert [raw.symbol for raw in read_raw(path, "B")] == ["B"]
    with pytest.raises(BarsError, match="but no 'C'"):
        read_raw(path, "C")
    with pytest.raises(BarsError, match="columns low are missing"):
        read_raw(write(tmp_path, PLAIN.replace("low", "lowest")))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match=r"There is no file .*gone\.csv"):
        read_table(tmp_path / "gone.csv", "X")


def frame_of(bars: Bars) -> pd.DataFrame:
    return bars.to_frame()[["open", "high", "low", "close", "volume"]]


@pytest.mark.parametrize(
    "shape",
    [
        lambda f: f,
        lambda f: f.reset_index(),
        lambda f: f.rename_axis(None),
        lambda f: f.tz_localize("America/New_York"),
        lambda f: f.iloc[::-1].rename(columns=str.title),
        lambda f: f.reset_index().assign(date=lambda g: g["date"].dt.date),
        lambda f: pd.concat({"X": f}, axis=1).swaplevel(axis=1),
        lambda f: f.assign(symbol="X").reset_index().set_index(["symbol", "date"]),
    ],
)
def test_reads_parquet_as_people_have_it(tmp_path: Path, shape) -> None:
    path = tmp_path / "x.parquet"
    shape(frame_of(EXPECTED)).to_parquet(path)
    assert_same_bars(read_table(path, "X"), EXPECTED)


def panel_frame() -> pd.DataFrame:
    parts = [
        frame_of(build_bars(name, n=5)).assign(symbol=name).reset_index() for name in ("B", "NA")
    ]
    return pd.concat(parts).sort_values(["date", "symbol"], kind="stable")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    "change",
    [
        lambda f: f,
        lambda f: f.iloc[::-1].sort_values("symbol", kind="stable"),
        lambda f: f.assign(extra="?", Sector=None).rename(columns={"symbol": "Ticker"}),
    ],
)
def test_read_panel(tmp_path: Path, suffix: str, change) -> None:
    path = tmp_path / f"panel.{suffix}"
    frame = change(panel_frame())
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    panel = read_panel(path)
    assert panel.symbols == ("B", "NA")
    for name in panel:
        assert_same_bars(panel[name], build_bars(name, n=5))
        assert panel[name].timezone == ""
        assert panel[name].provenance["source"] == "panel"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="symbol"), "has no symbol column"),
        (lambda f: f.assign(symbol=[None, *f["symbol"][1:]]), "row 1: the symbol is missing"),
        (lambda f: f.assign(close=f["close"].where(f["symbol"] != "NA")), "row 2.*: close is nan"),
        (lambda f: f.assign(open=-1.0), "row 1.*: open is -1.0"),
        (
            lambda f: pd.concat([f, f.iloc[-1:].assign(open=1.0)]),
            "2020-01-07 .row 11.: sessions that appear",
        ),
        (lambda f: pd.concat([f.iloc[4:6], f.iloc[:4], f.iloc[6:]]), "rows out of order"),
        (lambda f: f.assign(date=[*[None] * 8, *f["date"][8:]]), "the date is missing"),
        (lambda f: f.iloc[:0], "no rows"),
    ],
)
def test_read_panel_refuses(tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "panel.parquet"
    change(panel_frame()).to_parquet(path)
    with pytest.raises(BarsError, match=message):
        read_panel(path)


def test_read_panel_names_every_symbol_with_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "panel.csv"
    panel_frame().assign(close=np.nan).to_csv(path, index=False)
    with pytest.raises(BarsError, match=r"B in panel\.csv, .* close is nan.* also in NA\."):
        read_panel(path)
