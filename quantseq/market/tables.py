"""Prices as people really have them: CSV and Parquet files of many shapes, read or refused with a reason.

Owns column names, header rows, and where in a file a fault stands; `cells` reads what stands in the
cells. Knows nothing of downloads or of the store. What it accepts, in any mixture:

- columns in any case and order, with or without adjusted close, dividends and splits; others are ignored
- the three header rows that yfinance writes (``Price, Ticker, Date``)
- dates as ``2018-10-15``, ``2018/10/15``, ``20181015``, ``15 Oct 2018``, ``10/15/2018`` or
  ``15.10.2018`` if the column as a whole leaves no doubt, with a time and offset behind (the date that
  is written counts, as the exchange's)
- oldest first or newest first
- comma thousands and a dollar sign; a semicolon or tab between columns, then also decimal commas where
  the file as a whole leaves no doubt
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from quantseq.errors import BarsError, CorruptFileError
from quantseq.files import sha256_file
from quantseq.market.bars import FIELDS, Bars, Dates, Panel, find_fault
from quantseq.market.cells import Refuse, dates, numbers, with_decimal_points
from quantseq.market.intervals import DATE_DTYPE
from quantseq.market.screening import RawBars

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


def read_table(path: Path | str, symbol: str | None = None, *, timezone: str = "") -> Bars:
    """Read one symbol's bars from a CSV or Parquet file.

    Rows without any price are left out (their number stands in the provenance); a dividend or split that
    is recorded on one counts on the next row with prices. Every other fault is refused.

    Parameters
    ----------
    path : Path
        The file. With a symbol column, only the rows of `symbol` count.
    symbol : str, optional
        The name of the series; by default the ticker in the file's header rows, else the file's stem.
    timezone : str
        Exchange time zone, "" if unknown.

    Raises
    ------
    CorruptFileError
        If the file is missing or no table at all.
    BarsError
        If a column is missing, a rule of `Bars` is broken, or no row with prices follows a dividend or
        split. The message names the line and the reason.
    """
    path = Path(path)
    frame, place, ticker = _open(path, symbol)
    symbol = symbol or ticker or path.stem
    frame = _rows_of(frame, path, symbol)
    refuse = partial(_refuse, path, place)
    frame = _parse(frame, refuse)
    empty = frame[_OHLC].isna().all(axis=1)
    frame = _carry_actions(frame, empty.to_numpy(), refuse)
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
    frame, place, _ = _open(path, None)
    if "symbol" not in frame:
        raise BarsError(
            f"{path.name} has no symbol column; found {', '.join(map(str, frame.columns))}. "
            "A panel file needs symbol, date, open, high, low, close and volume."
        )
    names = frame["symbol"]
    unnamed = (names.isna() | (names.astype(str).str.strip() == "")).to_numpy()
    if unnamed.any():
        _refuse(path, place, frame.index[int(np.argmax(unnamed))], "the symbol is missing")
    frame = _parse(frame, partial(_refuse, path, place))
    codes, symbols = pd.factorize(frame["symbol"].astype(str).str.strip())
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(symbols)))
    facts = {"source": "panel", "file": path.name, "file_sha256": sha256_file(path)}
    frame = frame.iloc[order]
    found, faults = [], []
    for symbol, begin, end in zip(symbols, [0, *ends[:-1]], ends, strict=True):
        try:
            found.append(_bars(frame.iloc[begin:end], path, place, str(symbol), "", facts))
        except BarsError as error:
            faults.append((str(symbol), error))
    if faults:
        others = [symbol for symbol, _ in faults[1:]]
        named = ", ".join(others[:8]) + (f" and {len(others) - 8} more" if len(others) > 8 else "")
        more = (
            f" Faults also in {named}; count them with `quantseq data check --file`."
            if others
            else ""
        )
        raise BarsError(f"{faults[0][0]} in {faults[0][1]}{more}")
    return Panel(found)


def read_raw(
    path: Path | str, symbol: str | None = None, *, timezone: str = ""
) -> tuple[RawBars, ...]:
    """Read whatever stands in a file, faults included, so that all of them can be counted.

    Parameters
    ----------
    path : Path
        As for `read_table` and `read_panel`.
    symbol : str, optional
        Its name; by default every symbol of a symbol column, else as for `read_table`.
    timezone : str
        Exchange time zone, "" if unknown.

    Raises
    ------
    CorruptFileError
        If the file is missing or no table at all.
    BarsError
        If a column is missing.
    """
    path = Path(path)
    frame, place, ticker = _open(path, symbol)
    names = frame.get("symbol")
    if symbol is None and names is not None:
        wanted: Sequence[str] = list(dict.fromkeys(names.fillna("").astype(str).str.strip()))
    else:
        wanted = [symbol or ticker or path.stem]
    found = []
    for name in wanted:
        faults: list[tuple[str, str]] = []

        def note(where: Any, reason: str, faults: list[tuple[str, str]] = faults) -> None:
            faults.append((f"{place} {where}", reason))

        rows = _parse(_rows_of(frame, path, name), note)
        found.append(
            RawBars(
                name,
                rows["date"].to_numpy().astype(DATE_DTYPE),
                {column: rows[column].to_numpy(np.float64) for column in FIELDS if column in rows},
                tuple(f"{place} {row}" for row in rows.index),
                tuple(faults),
                timezone,
            )
        )
    return tuple(found)


def _rows_of(frame: pd.DataFrame, path: Path, symbol: str) -> pd.DataFrame:
    """The rows of one symbol, where there is a symbol column."""
    if "symbol" not in frame:
        return frame
    names = frame["symbol"].fillna("").astype(str).str.strip()
    mine = names.str.upper() == symbol.upper()
    if not mine.any():
        raise BarsError(
            f"{path.name} holds {', '.join(sorted(set(names))[:5])}, but no {symbol!r}. "
            "Name a symbol from its symbol column."
        )
    return frame[mine]


def _refuse(path: Path, place: str, where: Any, reason: str) -> NoReturn:
    """Say which file, where in it, and why."""
    raise BarsError(f"{path.name}, {place} {where}: {reason}. Correct or drop that {place}.")


def _open(path: Path, symbol: str | None) -> tuple[pd.DataFrame, str, str]:
    """Raw cells under canonical names, indexed by where they stand; the word for that; the header's ticker."""
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
    ticker = ""
    if isinstance(frame.columns, pd.MultiIndex):
        frame, ticker = _one_ticker(frame, path, symbol)
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
    place = "row" if parquet else "line"
    return frame[[name for name in names if name in _NAMES]], place, ticker


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
    if separator != ",":
        body = with_decimal_points(body, partial(_refuse, path, "line"))
    return body


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1))


def _one_ticker(frame: pd.DataFrame, path: Path, symbol: str | None) -> tuple[pd.DataFrame, str]:
    """Drop the second header level, keeping the columns of one ticker; that ticker if it is the only one."""
    tickers = [str(column[-1]) for column in frame.columns]
    distinct = sorted({ticker for ticker in tickers if ticker})
    wanted = (symbol or "").upper()
    if len(distinct) > 1 and wanted not in [ticker.upper() for ticker in distinct]:
        raise BarsError(
            f"{path.name} holds {', '.join(distinct)}, but no {symbol!r}. Name one of its tickers."
        )
    keep = [not t or len(distinct) == 1 or t.upper() == wanted for t in tickers]
    frame = frame.loc[:, keep]
    frame = frame.set_axis([str(column[0]) for column in frame.columns], axis="columns")
    return frame, distinct[0] if len(distinct) == 1 else ""


def _parse(frame: pd.DataFrame, refuse: Refuse) -> pd.DataFrame:
    """Numbers as float64 and dates as datetime64[D]; what is neither is refused, and then missing."""
    parsed: dict[str, Any] = {"date": dates(frame["date"], refuse)}
    for name in (field for field in FIELDS if field in frame):
        parsed[name] = numbers(frame[name], refuse)
    if "splits" in parsed:
        parsed["splits"] = np.where(parsed["splits"] == 1.0, 0.0, parsed["splits"])
    for name in ("dividends", "splits"):
        if name in parsed:
            parsed[name] = np.nan_to_num(parsed[name], nan=0.0, posinf=np.inf)
    if "symbol" in frame:
        parsed["symbol"] = frame["symbol"]
    return pd.DataFrame(parsed, index=frame.index)


def _carry_actions(frame: pd.DataFrame, empty: np.ndarray, refuse: Refuse) -> pd.DataFrame:
    """Dividends (added) and splits (multiplied) of rows without prices on the next row in time that has some.

    Whoever held the share over such a day gets both, and the next price is the first that shows it.
    """
    names = [name for name in ("dividends", "splits") if name in frame]
    moved = empty & (frame[names] != 0).any(axis=1).to_numpy()
    if not moved.any():
        return frame
    frame = frame.copy()
    dates = frame["date"].to_numpy()
    for row in np.flatnonzero(moved):
        later = np.flatnonzero(~empty & (dates > dates[row]))
        if not len(later):
            refuse(
                frame.index[int(row)], "a dividend or split without prices, on that day or later"
            )
            continue
        target = frame.index[int(later[np.argmin(dates[later])])]
        for name in names:
            value, there = frame[name].iloc[row], frame.loc[target, name]
            if name == "splits" and value and there:
                frame.loc[target, name] = value * there
            else:
                frame.loc[target, name] = value + there
    return frame


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
