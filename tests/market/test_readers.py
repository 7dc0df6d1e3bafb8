import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.errors import BarsError, ConfigError, CorruptFileError, SymbolNotFoundError
from quantseq.market.bars import Bars
from quantseq.market.health import clean
from quantseq.market.readers import (
    FORMATS,
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
    assert ("line 3" if reason else "line 4") in rows[0]
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


ROWS = (
    ("2024-01-02", 10.1, 10.6, 9.9, 10.4, 1200300),
    ("2024-01-03", 10.4, 10.9, 10.2, 10.8, 980500),
    ("2024-01-04", 10.8, 11.0, 10.5, 10.6, 1105000),
    ("2024-01-16", 10.6, 10.7, 10.1, 10.2, 1431200),
)
"""What every shape below holds, written as one kind of export writes it."""


def lines(form: str, *, comma: bool = False, newest_first: bool = False) -> str:
    """A line for each of `ROWS`: date, epoch, prices with a decimal comma if asked for, volume."""
    written = []
    for day, *prices, volume in ROWS:
        opened, high, low, close = (
            f"{one:.2f}".replace(".", ",") if comma else str(one) for one in prices
        )
        date = pd.Timestamp(day)
        at = {"d": day, "D": date, "s": int(date.timestamp()), "v": volume}
        written.append(form.format(**at, o=opened, h=high, l=low, c=close) + "\n")
    return "".join(written[::-1] if newest_first else written)


SHAPES = {
    "Alpha Vantage": "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient\n"
    + lines("{d},{o},{h},{l},{c},{c},{v},0.0000,1.0", newest_first=True),
    "Ariva": "Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke;Volumen\n"
    + lines("{d};{o};{h};{l};{c};{v};99999", comma=True, newest_first=True),
    "Bloomberg": "Security,AAPL US Equity\nStart Date,1/2/2024\nCurrency,USD\n\n"
    "Date,PX_OPEN,PX_HIGH,PX_LOW,PX_LAST,PX_VOLUME\n"
    + lines("{D.month}/{D.day}/{D.year},{o},{h},{l},{c},{v}"),
    "Boursorama": "date\touv\thaut\tbas\tclot\tvol\tdevise\t\n"
    + lines("{D:%d/%m/%Y} 00:00\t{o}\t{h}\t{l}\t{c}\t{v}\tEUR\t"),
    "BSE India": "Date,Open Price,High Price,Low Price,Close Price,WAP,No.of Shares,Total Turnover (Rs.)\n"
    + lines("{D:%d-%B-%Y},{o},{h},{l},{c},10.1,{v},99", newest_first=True),
    "Binance, no header": lines("{s}000000,{o},{h},{l},{c},{v},{s}999999,9,5,1,1,0"),
    "Charles Schwab": "Time,Open,High,Low,Close,Volume\n"
    + lines("{D:%m/%d/%y} 12:00 AM,{o},{h},{l},{c},{v}"),
    "Coinbase": "time,low,high,open,close,volume\n"
    + lines("{s},{l},{h},{o},{c},{v}", newest_first=True),
    "comdirect": '"Kurse X"\n\n"Datum";"Eröffnung";"Hoch";"Tief";"Schluss";"Volumen"\n'
    + lines('"{D:%d.%m.%Y}";"{o}";"{h}";"{l}";"{c}";"{v}"', comma=True),
    "Dukascopy": "Local time,Open,High,Low,Close,Volume\n"
    + lines("{D:%d.%m.%Y} 00:00:00.000 GMT+0100,{o},{h},{l},{c},{v}"),
    "Euronext": '"Historical Data"\n"From 2024-01-02"\nDate;Open;High;Low;Last;Close;"Number of Shares";vwap\n'
    + lines("{D:%d/%m/%Y};{o};{h};{l};{c};{c};{v};1", newest_first=True),
    "Eastmoney": "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额\n"
    + lines("{d},600000,{o},{c},{h},{l},{v},9"),
    "Finam": "<TICKER>;<PER>;<DATE>;<TIME>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;<VOL>\n"
    + lines("SBER;D;{D:%Y%m%d};0;{o};{h};{l};{c};{v}"),
    "Interactive Brokers": "Date,Open,High,Low,Close,Volume\n"
    + lines("{D:%Y%m%d}  00:00:00,{o},{h},{l},{c},{v}"),
    "investing.com, Brazil": '"Data","Último","Abertura","Máxima","Mínima","Vol.","Var%"\n'
    + lines('"{D:%d.%m.%Y}","{c}","{o}","{h}","{l}","{v}","1,00%"', comma=True, newest_first=True),
    "investing.com, China": '"日期","收盘","开盘","高","低","交易量","涨跌幅"\n'
    + lines('"{d}","{c}","{o}","{h}","{l}","{v}","1%"', newest_first=True),
    "investing.com, France": '"Date","Dernier","Ouv."," Plus Haut","Plus Bas","Vol.","Variation %"\n'
    + lines('"{D:%d/%m/%Y}","{c}","{o}","{h}","{l}","{v}","1,00%"', comma=True, newest_first=True),
    "investing.com, Japan": '"日付け","終値","始値","高値","安値","出来高","変化率 %"\n'
    + lines('"{D:%Y年%m月%d日}","{c}","{o}","{h}","{l}","{v}","1%"', newest_first=True),
    "investing.com, Korea": '"날짜","종가","시가","고가","저가","거래량","변동 %"\n'
    + lines('"{D:%Y- %m- %d}","{c}","{o}","{h}","{l}","{v}","1%"', newest_first=True),
    "investing.com, Russia": '"Дата","Цена","Откр.","Макс.","Мин.","Объём","Изм. %"\n'
    + lines('"{D:%d.%m.%Y}","{c}","{o}","{h}","{l}","{v}","1,00%"', comma=True, newest_first=True),
    "investing.com, Spain": '"Fecha","Último","Apertura","Máximo","Mínimo","Vol.","% var."\n'
    + lines('"{D:%d.%m.%Y}","{c}","{o}","{h}","{l}","{v}","1,00%"', comma=True, newest_first=True),
    "investing.com, Turkey": '"Tarih","Şimdi","Açılış","Yüksek","Düşük","Hac.","Fark %"\n'
    + lines('"{D:%d.%m.%Y}","{c}","{o}","{h}","{l}","{v}","1,00%"', comma=True, newest_first=True),
    "Kraken, no header": lines("{s},{o},{h},{l},{c},{v},55"),
    "KRX": "일자,종가,대비,시가,고가,저가,거래량\n"
    + lines("{D:%Y/%m/%d},{c},1,{o},{h},{l},{v}", newest_first=True),
    "MetaTrader 4, no header": lines("{D:%Y.%m.%d},00:00,{o},{h},{l},{c},{v}"),
    "MetaTrader 5": "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
    + lines("{D:%Y.%m.%d}\t{o}\t{h}\t{l}\t{c}\t{v}\t0\t1"),
    "Nasdaq": "Date,Close/Last,Volume,Open,High,Low\n"
    + lines("{D:%m/%d/%Y},${c},{v},${o},${h},${l}", newest_first=True),
    "Nasdaq Nordic": "sep=;\nDate;Bid;Opening price;High price;Low price;Closing price;Average price;Total volume;\n"
    + lines("{d};1;{o};{h};{l};{c};1;{v};", comma=True, newest_first=True),
    "NSE India": '"Date ","series ","OPEN ","HIGH ","LOW ","PREV. CLOSE ","ltp ","close ","VOLUME ","VALUE "\n'
    + lines(
        '"{D:%d-%b-%Y}","EQ","{o}","{h}","{l}","1","{c}","{c}","{v}","1,12,550.00"',
        newest_first=True,
    ),
    "pandas, index written": ",date,open,high,low,close,volume\n"
    + lines("7,{d},{o},{h},{l},{c},{v}"),
    "Polygon": "ticker,volume,open,close,high,low,window_start,transactions\n"
    + lines("AAPL,{v},{o},{c},{h},{l},{s}000000000,77"),
    "Quandl": "Date,Open,High,Low,Close,Volume,Ex-Dividend,Split Ratio,Adj. Open,Adj. Close\n"
    + lines("{d},{o},{h},{l},{c},{v},0.0,1.0,{o},{c}"),
    "Refinitiv": "Instrument,Date,TRDPRC_1,OPEN_PRC,HIGH_1,LOW_1,ACVOL_UNS\n"
    + lines("AAPL.O,{d},{c},{o},{h},{l},{v}"),
    "Stooq": "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen\n"
    + lines("{d},{o},{h},{l},{c},{v}"),
    "Stooq, all symbols": "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
    + lines("AAPL.US,D,{D:%Y%m%d},000000,{o},{h},{l},{c},{v},0"),
    "Swiss": "Datum;Eröffnung;Hoch;Tief;Schluss;Volumen\n"
    + lines("{D:%d.%m.%Y};{o};{h};{l};{c};{v}").replace("1200300", "1'200'300"),
    "totals below": "Date,Open,High,Low,Close,Volume\n"
    + lines("{d},{o},{h},{l},{c},{v}")
    + ",,,,,\nTotal,,,,,4717000\n",
    "TradingView": "time,open,high,low,close,Volume,Volume MA\n"
    + lines("{s},{o},{h},{l},{c},{v},1"),
    "Tushare": "ts_code,trade_date,open,high,low,close,pre_close,vol,amount\n"
    + lines("000001.SZ,{D:%Y%m%d},{o},{h},{l},{c},1,{v},9", newest_first=True),
    "Wall Street Journal": "Date, Open, High, Low, Close, Volume\n"
    + lines("{D:%m/%d/%y}, {o}, {h}, {l}, {c}, {v}", newest_first=True),
    "blanks between columns": "Date Open High Low Close Volume\n"
    + lines("{d} {o} {h} {l} {c} {v}"),
    "Yahoo, copied from the page": "Date\tOpen\tHigh\tLow\tClose\tAdj Close\tVolume\n"
    + lines("{D:%b %d, %Y}\t{o}\t{h}\t{l}\t{c}\t{c}\t{v:,}", newest_first=True),
    "yfinance, by ticker": "Ticker,AAA,AAA,AAA,AAA,AAA\nPrice,Open,High,Low,Close,Volume\nDate,,,,,\n"
    + lines("{d},{o},{h},{l},{c},{v}"),
    "yfinance, several tickers": "Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume\n"
    "Ticker,AAA,B,AAA,B,AAA,B,AAA,B,AAA,B\nDate,,,,,,,,,,\n"
    + lines("{d},{c},1,{h},1,{l},1,{o},1,{v},1"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_exports_are_read_as_they_are(tmp_path: Path, shape: str) -> None:
    bars = clean(read_raw(write(tmp_path, SHAPES[shape]))[0])
    found = zip(
        bars.sessions.astype(str),
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        bars.volume,
        strict=True,
    )
    assert tuple(found) == ROWS


@pytest.mark.parametrize(
    "shape", ["Boursorama", "comdirect", "investing.com, Japan", "Nasdaq Nordic"]
)
@pytest.mark.parametrize("packed", ["utf-16", "utf-16-le", "cp1252", "gz", "zip"])
def test_packing_and_encoding_change_nothing(tmp_path: Path, shape: str, packed: str) -> None:
    text, path = SHAPES[shape], tmp_path / f"X.csv{'.gz' if packed == 'gz' else ''}"
    if packed == "zip":
        path = tmp_path / "X.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inside.csv", text)
    elif packed == "gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif packed == "cp1252" and not text.isascii() and "日" in text:
        path.write_bytes(text.encode("cp932"))
        with pytest.raises(BarsError, match="--encoding"):
            read_raw(path)
        found = read_raw(path, how=Reading(encoding="cp932"))
        assert len(clean(found[0])) == len(ROWS)
        return
    else:
        path.write_bytes(text.encode(packed))
    (raw,) = read_raw(path)
    assert (raw.symbol, len(clean(raw))) == ("X", len(ROWS))


@pytest.mark.parametrize(
    ("text", "option", "how", "session"),
    [
        ("date,close\n05/01/2024,1\n08/01/2024,2\n", "--date-order", {"date_order": "dmy"}, "2024-01-05"),
        ("date,close\n05/01/2024,1\n08/01/2024,2\n", "--date-order", {"date_order": "mdy"}, "2024-05-01"),
        ('date,close\n2024-01-05,"144,890"\n2024-01-08,"1,1"\n2024-01-09,"1.5"\n', "--decimal", {"decimal": ","}, "2024-01-05"),
        ("When,Px\n2024-01-05,1\n2024-01-08,2\n", "--columns", {"columns": {"date": "When", "close": "2"}}, "2024-01-05"),
        ("date,close\n2024-01-04T23:00Z,1\n2024-01-07T23:00Z,2\n", "--timezone", {"timezone": "Europe/Berlin"}, "2024-01-05"),
        ("date,close\n2024-01-04T15:00Z,1\n2024-01-07T15:00Z,2\n", "--timezone", {"timezone": "Asia/Tokyo"}, "2024-01-05"),
        ("date,close\n2024-01-05 10:00,1\n2024-01-05 11:00,2\n", "--timezone", {"timezone": "UTC"}, "2024-01-05T10:00:00"),
        ("date,close\n2024-01-05 10:00,1\n2024-01-05 11:00,2\n", "--timezone", {"timezone": "America/New_York"}, "2024-01-05T15:00:00"),
    ],
)  # fmt: skip
def test_what_a_file_leaves_open_is_asked_for_by_the_option(
    tmp_path: Path, text: str, option: str, how: dict[str, Any], session: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BarsError, match=option):
        read_raw(path)
    assert str(read_raw(path, how=Reading(**how))[0].sessions[0]) == session


def test_a_format_says_what_its_makers_do_not_write(tmp_path: Path) -> None:
    path = write(tmp_path, 'Date,Price,Open,High,Low\n01/02/2024,"1,234","1,234","1,234","1,234"\n')
    (raw,) = read_raw(path, how=Reading.of("investing.com"))
    assert (str(raw.sessions[0]), raw.columns["close"][0]) == ("2024-01-02", 1234.0)
    with pytest.raises(BarsError, match="may have the day"):  # what is given wins over the format
        read_raw(path, how=Reading(decimal="."))
    assert Reading.of("investing.com", date_order="dmy").date_order == "dmy"
    for name in FORMATS:
        Reading.of(name)
    with pytest.raises(ConfigError, match=r"no format 'investing'.*investing\.com"):
        Reading.of("investing")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"timezone": "Europe/Berln"}, "Europe/Berlin"),
        ({"decimal": ";"}, "decimal must be one of"),
        ({"columns": {"closed": "x"}}, "close"),
        ({"interval": "2d"}, "interval must be"),
    ],
)
def test_what_cannot_be_an_option_is_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Reading(**how)


def test_a_table_of_closes_is_one_symbol_per_column(tmp_path: Path) -> None:
    path = write(tmp_path, "Date,AAA,BBB\n2024-01-02,1,\n2024-01-03,2,5\n2024-01-04,3,6\n")
    panel = read_panel(path)
    assert {name: bars.close.tolist() for name, bars in panel.items()} == {
        "AAA": [1, 2, 3],
        "BBB": [5, 6],
    }
    path = write(tmp_path, PLAIN.replace("date,", "Name,date,").replace("2024", "ZZ,2024"))
    path.write_text(path.read_text() + "AA,2024-01-02,1,1,1,1,1\n")
    assert read_panel(path).symbols == ("ZZ", "AA")  # as they first appear
    path = write(tmp_path, "Date,AAA,BBB\n2024-01-02,1,\n2024-01-03,2,5\n2024-01-04,3,6\n")
    assert read_panel(path, ["BBB"]).symbols == ("BBB",)
    with pytest.raises(SymbolNotFoundError, match="holds AAA, BBB"):
        read_panel(path, ["CCC"])
    statement = "Datum;Text;Betrag\n02.01.2024;Lohn;1.000,00\n03.01.2024;Miete;-500,00\n"
    with pytest.raises(BarsError, match="columns close are missing"):
        read_raw(write(tmp_path, statement))


@pytest.mark.parametrize(
    ("step", "periods", "interval"),
    [("5min", 30, "5m"), ("1h", 30, "1h"), ("1D", 9, "1d"), ("7D", 9, "1wk")],
)
def test_the_dates_say_how_long_a_bar_is(
    tmp_path: Path, step: str, periods: int, interval: str
) -> None:
    moments = pd.date_range("2024-01-05 00:00", freq=step, periods=periods, tz="America/New_York")
    path = tmp_path / "x.csv"
    pd.DataFrame({"date": moments, "close": 1.0}).to_csv(path, index=False)
    (raw,) = read_raw(path)
    assert raw.interval == interval
    assert str(raw.sessions[0]).startswith("2024-01-01" if interval == "1wk" else "2024-01-05")
    if interval in ("5m", "1h"):  # New York's midnight, in UTC
        assert str(raw.sessions[0]) == "2024-01-05T05:00:00"
    minutes = pd.date_range("2024-01-05", freq="1min", periods=30)
    pd.DataFrame({"date": minutes, "close": 1.0}).to_csv(path, index=False)
    with pytest.raises(BarsError, match="bars of 1 minutes"):
        read_raw(path)


def test_every_column_that_is_not_used_is_named(tmp_path: Path) -> None:
    (raw,) = read_raw(
        write(tmp_path, PLAIN.replace("volume", "volume,Sector").replace("000\n", "000,x\n"))
    )
    assert raw.provenance["notes"] == ["columns not used: Sector"]
    (raw,) = read_raw(
        write(tmp_path, "date,o,h,l,c,divCash,splitFactor\n2024-01-02,1,1,1,1,0.5,2\n")
    )
    assert (raw.columns["dividends"][0], raw.columns["splits"][0]) == (0.5, 2.0)


def several(rows: int = 24, form: str = "{d},{o},{h},{l},{c},{v}", **how: Any) -> str:
    """Lines of two dozen sessions, in which each bar opens near the close before."""
    days = pd.bdate_range("2024-01-02", periods=rows)
    written = []
    for at, day in enumerate(days):
        close = 16100.0 + 37 * (at % 5) + 11 * at
        opened = 16100.0 + 37 * ((at - 1) % 5) + 11 * (at - 1) + 2
        prices = {"o": opened, "h": max(opened, close) + 9, "l": min(opened, close) - 9, "c": close}
        texts = {name: how.get("number", str)(value) for name, value in prices.items()}
        written.append(form.format(d=day.date(), D=day, v=163000 + at, **texts) + "\n")
    return "".join(written)


HEAD = "Date,Open,High,Low,Close,Volume\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # cells beyond the names: numbers with commas that nobody quoted
        (HEAD + several(form="{d},{o},{h},{l},{c},1,088,003"), "quote numbers that hold commas"),
        # names in words that nobody told, above one symbol's columns
        ("Datum;Avaus;Ylin;Alin;Loppu;Vaihto\n" + several(form="{d};{o};{h};{l};{c};{v}"), "--columns"),
        ("Päivä;Avaus;Ylin;Alin;Loppu;Vaihto\n" + several(form="{D:%d.%m.%Y};{o};{h};{l};{c};{v}"), "--columns"),
        ("Date,Bid,Ask\n" + several(form="{d},{l},{h}"), "columns close are missing"),
        ("Date,Close_AAPL,High_AAPL\n" + several(form="{d},{c},{h}"), "columns close are missing"),
        # no names, and the first and the fourth price may be swapped
        (several(form="{d},{c},{h},{l},{o},{v}"), "are not open, high, low, close in this order"),
        # thousands or decimals
        (
            "Datum;Eröffnung;Hoch;Tief;Schluss\n"
            + several(form="{d};{o};{h};{l};{c}", number=lambda one: f"{one:,.0f}".replace(",", ".")),
            "say which with --decimal",
        ),
        # midnights of Berlin, written in UTC without saying so
        (HEAD + "".join(f"{day} 23:00:00,10,12,9,11,1\n" for day in np.arange("2023-12-31", "2024-01-05", dtype="M8[D]")), "Write their offset"),
        ("date,close,splits\n2024-01-02,1,two\n2024-01-03,1,\n", "splits is 'two'"),
        (HEAD + several(6) + "MSFT\n" + HEAD + several(6), "several tables"),
        ("date,close\n" + "".join(f"{day},1\n" for day in np.arange("2023-01-01", "2023-03-01", 7, "M8[D]")), "dated by Sundays"),
        ("date,close\n" + "".join(f"{day},1\n" for day in [*np.arange("2023-01-02", "2023-02-14", 7, "M8[D]"), *np.arange("2023-02-14", "2023-02-25", dtype="M8[D]")]), "a week apart and others a day"),
    ],
)  # fmt: skip
def test_what_may_be_meant_otherwise_is_not_stored(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BarsError, match=message):
        clean(read_raw(path)[0])


@pytest.mark.parametrize("order", ["%d.%m.%Y", "%m/%d/%Y"])
@pytest.mark.parametrize("newest_first", [False, True])
def test_without_names_no_row_is_lost(tmp_path: Path, order: str, newest_first: bool) -> None:
    rows = several(form="{D:" + order + "};{o};{h};{l};{c};{v}").splitlines()
    text = "\n".join(rows[::-1] if newest_first else rows) + "\n"
    bars = clean(read_raw(write(tmp_path, text))[0])
    assert (len(bars), str(bars.sessions[0])) == (24, "2024-01-02")


def test_one_row_with_a_cell_too_many_costs_itself(tmp_path: Path) -> None:
    rows = several().splitlines()
    rows[3] = "1," + rows[3]
    path = write(tmp_path, HEAD + "\n".join(rows) + "\n")
    assert len(clean(read_raw(path)[0])) == 23


def test_shares_count_as_volume_and_money_does_not(tmp_path: Path) -> None:
    text = "Datum;Schluss;Umsatz (Stück);Umsatz (€)\n2024-01-02;1.5;1200;99999\n2024-01-03;1.5;1300;9\n"
    assert read_raw(write(tmp_path, text))[0].columns["volume"].tolist() == [1200, 1300]


def test_an_offset_wins_over_the_time_zone(tmp_path: Path) -> None:
    moments = pd.date_range("2024-03-07 09:30", freq="5min", periods=12, tz="America/New_York")
    path = tmp_path / "x.csv"
    pd.DataFrame({"date": moments, "close": 1.0}).to_csv(path, index=False)
    (raw,) = read_raw(path, how=Reading(timezone="Europe/Berlin"))
    assert str(raw.sessions[0]) == "2024-03-07T14:30:00"
    hours = pd.date_range(
        "2024-11-02 00:00", freq="1h", periods=60, tz="America/New_York"
    )  # the clock goes back
    pd.DataFrame({"date": hours, "close": 1.0}).to_csv(path, index=False)
    assert len(clean(read_raw(path, how=Reading(timezone="America/New_York"))[0])) == 60


def test_events_between_the_lines_of_yahoos_page(tmp_path: Path) -> None:
    text = "Date\tOpen\tHigh\tLow\tClose\tAdj Close\tVolume\n"
    text += "Jan 4, 2024\t10\t12\t9\t11\t11\t1,000\nJan 4, 2024\t0.22 Dividend\n"
    text += "Jan 3, 2024\t10\t12\t9\t11\t11\t1,000\nJan 3, 2024\t4:1 Stock Splits\nJan 2, 2024\t10\t12\t9\t11\t11\t1,000\n"
    bars = clean(read_raw(write(tmp_path, text))[0])
    assert bars.dividends.tolist() == [0, 0, 0.22]
    assert bars.splits.tolist() == [0, 4, 0]


def test_serial_days_are_told(tmp_path: Path) -> None:
    (raw,) = read_raw(write(tmp_path, "Date,Close\n45293,1\n45294,2\n"))
    assert str(raw.sessions[0]) == "2024-01-02"
    assert "the dates are serial days, read as Excel counts them" in raw.provenance["notes"]


def test_tickers_that_are_names_of_columns_too(tmp_path: Path) -> None:
    tickers = ("AAPL", "BA", "C", "GE", "IBM", "KO", "LOW", "MMM", "MSFT", "PG", "T", "V", "WMT")
    lines = [
        f"2024-01-{day:02}," + ",".join(str(50 * at + day) for at in range(13))
        for day in range(2, 6)
    ]
    path = write(tmp_path, "Date," + ",".join(tickers) + "\n" + "\n".join(lines) + "\n")
    assert read_panel(path).symbols == tickers
