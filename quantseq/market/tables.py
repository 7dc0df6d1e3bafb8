"""Prices as people really have them: CSV and Parquet files of many shapes, read or refused with a reason.

Owns column names, header rows, date and number notations, and where in a file a fault stands. Knows
nothing of downloads or of the store. What it accepts, in any mixture:

- columns in any case and order, with or without adjusted close, dividends and splits; others are ignored
- the three header rows that yfinance writes (``Price, Ticker, Date``)
- dates as ``2018-10-15``, ``2018/10/15``, ``20181015``, ``15 Oct 2018``, ``10/15/2018`` or
  ``15.10.2018`` if the column as a whole leaves no doubt, with a time and offset behind (the date that
  is written counts, as the exchange's)
- oldest first or newest first
- comma thousands and a dollar sign; a semicolon or tab between columns
"""

import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import BarsError, CorruptFileError
from quantseq.files import sha256_file
from quantseq.market.bars import FIELDS, Bars, Dates, Panel, find_fault
from quantseq.market.intervals import DATE_DTYPE

_NAMES = {
    "date": ("date", "datetime", "timestamp"),
    "symbol": ("symbol", "ticker"),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "close": ("close", "closelast"),
    "adj_close": ("adjclose", "adjustedclose", "adjclosing"),
    "volume": ("volume", "vol"),
    "dividends": ("dividends", "dividend", "exdividend", "dividendamount"),
    "splits": ("splits", "split", "stocksplits", "splitratio", "splitcoefficient"),
}
_CANONICAL = {alias: name for name, aliases in _NAMES.items() for alias in aliases}
_NEEDED = ("date", "open", "high", "low", "close", "volume")
_OHLC = ["open", "high", "low", "close"]
_MISSING = ("", "nan", "null", "none", "n/a", "na", "-", "#n/a")
_THOUSANDS = r"^-?\d{1,3}(,\d{3})+(\.\d*)?$"
_ISO = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?:[T ].*)?$")
_NUMERIC = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})(?:[T ].*)?$")
_NAMED = re.compile(r"(?=.*\d{4})(?=.*[A-Za-z]{3})[\w ,.-]+$")


def read_table(path: Path | str, symbol: str, *, timezone: str = "") -> Bars:
    """Read one symbol's bars from a CSV or Parquet file.

    Rows without any price are left out (their number stands in the provenance); every other fault is
    refused.

    Parameters
    ----------
    path : Path
        The file. With a symbol column, only the rows of `symbol` count.
    symbol : str
        The name of the series.
    timezone : str
        Exchange time zone, "" if unknown.

    Raises
    ------
    CorruptFileError
        If the file is missing or no table at all.
    BarsError
        If a column is missing or a rule of `Bars` is broken. The message names the line and the reason.
    """
    path = Path(path)
    frame, place = _open(path, symbol)
    if "symbol" in frame:
        names = frame["symbol"].astype(str).str.strip()
        mine = names.str.upper() == symbol.upper()
        if not mine.any():
            raise BarsError(
                f"{path.name} holds {', '.join(sorted(set(names))[:5])}, but no {symbol!r}. "
                "Name a symbol from its symbol column."
            )
        frame = frame[mine]
    frame = _parse(frame, path, place)
    empty = frame[_OHLC].isna().all(axis=1)
    dropped = int(empty.sum())
    facts: dict[str, Any] = {
        "source": "file",
        "file": path.name,
        "file_sha256": sha256_file(path),
    }
    if dropped:
        facts["dropped_rows"] = dropped
    return _bars(frame[~empty], path, place, symbol, timezone, facts)


def read_panel(path: Path | str) -> Panel:
    """Read a long-format panel of several symbols' prices from a Parquet or CSV file.

    Parameters
    ----------
    path : Path
        Columns symbol, date, open, high, low, close, volume; the prices are taken as adjusted already
        unless there is an adjusted close too. Rows of different symbols may interleave; the rows of one
        symbol are oldest first or newest first.

    Returns
    -------
    Panel
        Symbols in the order in which they first appear, without a time zone.

    Raises
    ------
    CorruptFileError
        If the file is missing or no table at all.
    BarsError
        If a column is missing or a rule of `Bars` is broken. The message names the line and the reason.
    """
    path = Path(path)
    frame, place = _open(path, None)
    if "symbol" not in frame:
        raise BarsError(
            f"{path.name} has no symbol column; found {', '.join(map(str, frame.columns))}. "
            "A panel file needs symbol, date, open, high, low, close and volume."
        )
    names = frame["symbol"]
    unnamed = (names.isna() | (names.astype(str).str.strip() == "")).to_numpy()
    if unnamed.any():
        _refuse(path, place, frame.index[int(np.argmax(unnamed))], "the symbol is missing")
    frame = _parse(frame, path, place)
    codes, symbols = pd.factorize(frame["symbol"].astype(str).str.strip())
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(symbols)))
    facts = {"source": "panel", "file": path.name, "file_sha256": sha256_file(path)}
    frame = frame.iloc[order]
    return Panel(
        _bars(frame.iloc[begin:end], path, place, str(symbol), "", facts)
        for symbol, begin, end in zip(symbols, [0, *ends[:-1]], ends, strict=True)
    )


def _refuse(path: Path, place: str, where: Any, reason: str) -> NoReturn:
    """Say which file, where in it, and why."""
    raise BarsError(f"{path.name}, {place} {where}: {reason}. Correct or drop that {place}.")


def _open(path: Path, symbol: str | None) -> tuple[pd.DataFrame, str]:
    """Raw cells under canonical column names, indexed by where they stand, and the word for that."""
    parquet = path.suffix.lower() in (".parquet", ".pq")
    try:
        frame = _read_parquet(path) if parquet else _read_csv(path)
    except FileNotFoundError as error:
        raise CorruptFileError(
            f"There is no file {str(path)!r}. Give the path of a CSV or Parquet file with prices."
        ) from error
    except BarsError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise CorruptFileError(
            f"Cannot read {str(path)!r} as a {'Parquet' if parquet else 'CSV'} table: {reason}. "
            "Give a CSV or Parquet file with prices."
        ) from error
    if isinstance(frame.columns, pd.MultiIndex):
        frame = _one_ticker(frame, path, symbol)
    names = [
        _CANONICAL.get(re.sub(r"[^a-z]", "", str(name).lower()), str(name))
        for name in frame.columns
    ]
    if "date" not in names and re.fullmatch("|time|day|index|unnamed.*", names[0].lower()):
        names[0] = "date"
    for name in _NAMES:
        if names.count(name) > 1:
            raise BarsError(f"{path.name}: there are two columns for {name!r}. Keep one of them.")
    frame = frame.set_axis(names, axis="columns")
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise BarsError(
            f"{path.name}: the columns {', '.join(missing)} are missing; found {', '.join(names[:12])}. "
            "Prices need date, open, high, low, close and volume."
        )
    if frame.empty:
        raise BarsError(f"{path.name} has a header but no rows. Give a file with prices.")
    return frame[[name for name in names if name in _NAMES]], "row" if parquet else "line"


def _read_csv(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig") as file:
        head = file.readline()
        second = file.readline()
    separator = max(",;\t", key=head.count)
    three = second.split(separator)[0].strip().strip('"').lower() == "ticker"
    cells = pd.read_csv(
        path,
        sep=separator,
        header=None,
        dtype=str,
        keep_default_na=False,
        na_values=[],
        skip_blank_lines=False,
        skipinitialspace=True,
        encoding="utf-8-sig",
    )
    cells.index += 1
    header = cells.iloc[0].fillna("").str.strip()
    if three:
        header.iloc[0] = "date"
        tickers = cells.iloc[1].fillna("").str.strip()
        tickers.iloc[0] = ""
        named = str(cells.iloc[2, 0]).strip().lower() in _NAMES["date"]
        body = cells.iloc[3 if named else 2 :]
        body = body.set_axis(pd.MultiIndex.from_arrays([header, tickers]), axis="columns")
    else:
        body = cells.iloc[1:].set_axis(header.to_list(), axis="columns")
    blank = (body.fillna("") == "").all(axis=1)
    body = body[~blank]
    if separator == ";":
        commas = body.apply(lambda column: column.str.contains(",", regex=False, na=False))
        if commas.to_numpy().any():
            line = body.index[int(np.argmax(commas.any(axis=1).to_numpy()))]
            _refuse(path, "line", line, "a comma in a number may mean thousands or decimals")
    return body


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1))


def _one_ticker(frame: pd.DataFrame, path: Path, symbol: str | None) -> pd.DataFrame:
    """Drop the second header level, keeping the columns of one ticker."""
    tickers = [str(column[-1]) for column in frame.columns]
    distinct = sorted({ticker for ticker in tickers if ticker})
    wanted = (symbol or "").upper()
    if len(distinct) > 1 and wanted not in [ticker.upper() for ticker in distinct]:
        raise BarsError(
            f"{path.name} holds {', '.join(distinct)}, but no {symbol!r}. Name one of its tickers."
        )
    keep = [not t or len(distinct) == 1 or t.upper() == wanted for t in tickers]
    frame = frame.loc[:, keep]
    return frame.set_axis([str(column[0]) for column in frame.columns], axis="columns")


def _parse(frame: pd.DataFrame, path: Path, place: str) -> pd.DataFrame:
    """Numbers as float64 and dates as datetime64[D]; refuses what is neither."""
    parsed: dict[str, Any] = {"date": _dates(frame["date"], path, place)}
    for name in (field for field in FIELDS if field in frame):
        parsed[name] = _numbers(frame[name], path, place)
    if "splits" in parsed:
        parsed["splits"] = np.where(parsed["splits"] == 1.0, 0.0, parsed["splits"])
    for name in ("dividends", "splits"):
        if name in parsed:
            parsed[name] = np.nan_to_num(parsed[name], nan=0.0, posinf=np.inf)
    if "symbol" in frame:
        parsed["symbol"] = frame["symbol"]
    return pd.DataFrame(parsed, index=frame.index)


def _numbers(column: pd.Series, path: Path, place: str) -> NDArray[np.float64]:
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    values = np.array(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    odd = np.flatnonzero(np.isnan(values))
    if odd.size:
        text = column.iloc[odd].fillna("").astype(str).str.strip().str.removeprefix("$")
        grouped = text.str.match(_THOUSANDS)
        text = text.where(~grouped, text.str.replace(",", ""))
        values[odd] = pd.to_numeric(text, errors="coerce")
        lost = np.isnan(values[odd]) & ~text.str.lower().isin(_MISSING).to_numpy()
        if lost.any():
            at = odd[int(np.argmax(lost))]
            reason = f"{column.name} is {column.iloc[at]!r}, which is not a number"
            _refuse(path, place, column.index[at], reason)
    return values


def _dates(column: pd.Series, path: Path, place: str) -> Dates:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_localize(None)
    if pd.api.types.is_datetime64_any_dtype(column):
        dates: Dates = column.to_numpy().astype(DATE_DTYPE)
        return dates
    codes, distinct = pd.factorize(column.fillna("").astype(str).str.strip())
    numeric = [match for text in distinct if (match := _NUMERIC.match(text))]
    day_first = any(int(match[1]) > 12 for match in numeric)
    month_first = any(int(match[2]) > 12 for match in numeric)
    parsed = np.full(len(distinct), "NaT", dtype=DATE_DTYPE)
    for number, text in enumerate(distinct):
        try:
            if (match := _ISO.match(text)) and (match[2] or len(match[3] + match[4]) == 4):
                year, month, day = match[1], match[3], match[4]
            elif match := _NUMERIC.match(text):
                if day_first == month_first:
                    raise ValueError("may have the day or the month first; write YYYY-MM-DD")
                year, month, day = match[3], match[2], match[1]
                month, day = (month, day) if day_first else (day, month)
            elif _NAMED.match(text):
                stamp = pd.Timestamp(text)
                year, month, day = str(stamp.year), str(stamp.month), str(stamp.day)
            else:
                raise ValueError("is not a date")
            parsed[number] = np.datetime64(f"{year}-{month:0>2}-{day:0>2}", "D")
        except ValueError as error:
            where = column.index[int(np.argmax(codes == number))]
            reason = str(error) if str(error).startswith(("is", "may")) else "is not a date"
            _refuse(path, place, where, f"the date {text!r} {reason}")
    return parsed[codes]


def _bars(
    frame: pd.DataFrame, path: Path, place: str, symbol: str, timezone: str, facts: dict[str, Any]
) -> Bars:
    sessions: Dates = frame["date"].to_numpy().astype(DATE_DTYPE)
    steps = np.diff(sessions).astype(np.int64)
    if (steps < 0).any() and (steps <= 0).all():
        frame, sessions = frame.iloc[::-1], sessions[::-1]
    columns = {name: frame[name].to_numpy(dtype=np.float64) for name in FIELDS if name in frame}
    fault = find_fault(sessions, columns)
    if fault is not None:
        raise BarsError(f"{path.name}, {place} {frame.index[fault[0]]}: {fault[1]}")
    return Bars.from_frame(
        symbol, frame.set_index("date")[list(columns)], timezone=timezone, provenance=facts
    )
