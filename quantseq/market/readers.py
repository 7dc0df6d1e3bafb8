"""Prices as people really have them: CSV and Parquet files of many shapes, read or refused with a reason.

Owns notations of numbers and dates, column names, header rows, and where in a file a fault stands. Knows nothing
of downloads or of the store. What it accepts, in any mixture:

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
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import BarsError, CorruptFileError
from quantseq.files import sha256_file
from quantseq.market.bars import DATE_DTYPE, FIELDS, OHLC, Bars, Dates, Panel, find_fault
from quantseq.market.health import RawBars

Refuse = Callable[[Any, str], None]  # gets the label of the row and the reason

_MISSING = ("", "nan", "null", "none", "n/a", "na", "-", "#n/a")
_THOUSANDS = r"^-?\d{1,3}(?:,\d{3})+(?:\.\d*)?$"
_EITHER = r"^-?\d{1,3},\d{3}$"
_DECIMAL_COMMA = r"^-?(?:\d+|\d{1,3}(?:\.\d{3})+),\d*$"
_POINT = r"^-?\d+\.\d*$"
_DOTS = r"^-?\d{1,3}(?:\.\d{3})+$"
_ISO = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?:[T ].*)?$")
_NUMERIC = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})(?:[T ].*)?$")
_NAMED = re.compile(r"(?=.*\d{4})(?=.*[A-Za-z]{3})[\w ,.-]+$")


def with_decimal_points(cells: pd.DataFrame, refuse: Refuse) -> pd.DataFrame:
    """Write decimal commas as points, if all cells of a file not parted by commas leave no doubt of them.

    ``12,5`` or ``1.234,56`` can only be decimals, ``1,234,567`` or ``1,234.5`` only thousands; ``1,234``
    may be either and follows the others. Cells that hold both kinds, or no cell that decides, are
    refused.
    """
    text = cells.fillna("").apply(lambda column: column.str.strip().str.removeprefix("$"))

    def like(pattern: str) -> pd.DataFrame:
        matches: pd.DataFrame = text.apply(lambda column: column.str.contains(pattern))
        return matches

    either, dots = like(_EITHER), like(_DOTS)
    thousands = (like(_THOUSANDS) | like(_POINT)) & ~either & ~dots
    decimal = like(_DECIMAL_COMMA) & ~either
    doubt, points, commas = (bool(one.to_numpy().any()) for one in (either, thousands, decimal))
    if not (doubt or commas) or (points and not commas):
        return cells
    if commas and not points:
        written = text.apply(lambda c: c.str.replace(".", "").str.replace(",", "."))
        return cells.where(~(decimal | either | dots), written)
    doubtful = thousands if commas else either
    row = cells.index[int(np.argmax(doubtful.any(axis=1).to_numpy()))]
    refuse(row, "a comma in a number may mean thousands or decimals")
    return cells


def parse_numbers(column: pd.Series, refuse: Refuse) -> NDArray[np.float64]:
    """A column of numbers as float64, NaN where there is none, shape (n,)."""
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
        for at in map(int, odd[lost]):
            reason = f"{column.name} is {column.iloc[at]!r}, which is not a number"
            refuse(column.index[at], reason)
    return values


def parse_dates(column: pd.Series, refuse: Refuse) -> Dates:
    """A column of dates as they are written, without time and zone, NaT where there is none."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_localize(None)
    if pd.api.types.is_datetime64_any_dtype(column):
        found: Dates = column.to_numpy().astype(DATE_DTYPE)
        return found
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
            reason = str(error) if str(error).startswith(("is", "may")) else "is not a date"
            for at in map(int, np.flatnonzero(codes == number)):
                refuse(column.index[at], f"the date {text!r} {reason}")
    return parsed[codes]


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
_NEEDED = ("date", *OHLC, "volume")


def read_table(path: Path | str, symbol: str | None = None, *, timezone: str = "") -> Bars:
    """Read one symbol's bars from a CSV or Parquet file.

    Rows without any price are left out (their number stands in the provenance); a dividend or split that
    is recorded on one counts on the next row with prices. Every other fault is refused.

    With a symbol column, only the rows of `symbol` count; its default is the ticker in the file's header
    rows, else the file's stem. A CorruptFileError if the file is missing or no table at all; a BarsError
    names the line and the reason.
    """
    table = _Table.read(Path(path), symbol)
    symbol = symbol or table.name
    frame = _parse(table.rows_of(symbol), table.refuse)
    empty = frame[list(OHLC)].isna().all(axis=1)
    _carry_actions(frame, empty.to_numpy(), table.refuse)
    facts = table.facts("file") | ({"dropped_rows": int(empty.sum())} if empty.any() else {})
    return table.bars(frame[~empty], symbol, timezone, facts)


def read_panel(path: Path | str) -> Panel:
    """Read a long-format panel of several symbols' prices from a Parquet or CSV file.

    Its columns are symbol, date, open, high, low, close, volume; the prices are taken as adjusted already
    unless there is an adjusted close too. Rows of different symbols may interleave; the rows of one symbol
    are oldest first or newest first. Symbols come in the order in which they first appear, without a time
    zone. Raises as `read_table`.
    """
    table = _Table.read(Path(path), None)
    if "symbol" not in table.frame:
        raise BarsError(
            f"{table.path.name} has no symbol column; found {', '.join(map(str, table.frame.columns))}. "
            "A panel file needs symbol, date, open, high, low, close and volume."
        )
    names = table.frame["symbol"]
    if (names == "").any():
        table.refuse(names.index[int(np.argmax(names == ""))], "the symbol is missing")
    facts, found = table.facts("panel"), []
    faults: dict[str, BarsError] = {}
    for symbol, frame in _parse(table.frame, table.refuse).groupby(names, sort=False):
        try:
            found.append(table.bars(frame, str(symbol), "", facts))
        except BarsError as error:
            faults[str(symbol)] = error
    if faults:
        (first, why), *others = faults.items()
        named = ", ".join(other for other, _ in others[:8])
        named += f" and {len(others) - 8} more" if len(others) > 8 else ""
        more = f" Faults also in {named}; count them with `quantseq data check --file`."
        raise BarsError(f"{first} in {why}{more if others else ''}")
    return Panel(found)


def read_raw(
    path: Path | str, symbol: str | None = None, *, timezone: str = ""
) -> tuple[RawBars, ...]:
    """Read whatever stands in a file, faults included, so that all of them can be counted.

    As `read_table` and `read_panel`, for every symbol of a symbol column unless one is named; the errors
    that are left are a file that is no table at all, and a missing column.
    """
    table = _Table.read(Path(path), symbol)
    wanted = [symbol or table.name]
    if symbol is None and "symbol" in table.frame:
        names = table.frame["symbol"]
        wanted = list(names[~names.str.upper().duplicated()])
    found = []
    faults: list[tuple[str, str]] = []

    def note(where: Any, reason: str) -> None:
        faults.append((f"{table.place} {where}", reason))

    for name in wanted:
        faults.clear()
        rows = _parse(table.rows_of(name), note)
        sessions: Dates = rows["date"].to_numpy().astype(DATE_DTYPE)
        columns = {column: rows[column].to_numpy(np.float64) for column in FIELDS if column in rows}
        places = tuple(f"{table.place} {row}" for row in rows.index)
        found.append(RawBars(name, sessions, columns, places, tuple(faults), timezone))
    return tuple(found)


def _refuse(path: Path, place: str, where: Any, reason: str) -> NoReturn:
    raise BarsError(f"{path.name}, {place} {where}: {reason}. Correct or drop that {place}.")


@dataclass(frozen=True)
class _Table:
    """A file's cells under canonical names, indexed by where they stand in it."""

    path: Path
    frame: pd.DataFrame
    place: str  # "row" or "line"
    name: str  # the ticker of the header if there is one, else the file's stem

    @classmethod
    def read(cls, path: Path, symbol: str | None) -> "_Table":
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
                raise BarsError(
                    f"{path.name}: there are two columns for {name!r}. Keep one of them."
                )
        missing = [name for name in _NEEDED if name not in names]
        if missing:
            raise BarsError(
                f"{path.name}: the columns {', '.join(missing)} are missing; found "
                f"{', '.join(names[:12])}. Prices need date, open, high, low, close and volume."
            )
        if frame.empty:
            raise BarsError(f"{path.name} has a header but no rows. Give a file with prices.")
        frame = frame.set_axis(names, axis="columns")[[name for name in names if name in _NAMES]]
        if "symbol" in frame:
            frame["symbol"] = frame["symbol"].fillna("").astype(str).str.strip()
        return cls(path, frame, "row" if parquet else "line", ticker or path.stem)

    def refuse(self, where: Any, reason: str) -> NoReturn:
        _refuse(self.path, self.place, where, reason)

    def facts(self, source: str) -> dict[str, Any]:
        """What the provenance says about the file."""
        return {"source": source, "file": self.path.name, "file_sha256": sha256_file(self.path)}

    def rows_of(self, symbol: str) -> pd.DataFrame:
        """The rows of one symbol, where there is a symbol column."""
        if "symbol" not in self.frame:
            return self.frame
        mine = self.frame["symbol"].str.upper() == symbol.upper()
        if not mine.any():
            raise BarsError(
                f"{self.path.name} holds {', '.join(sorted(set(self.frame['symbol']))[:5])}, "
                f"but no {symbol!r}. Name a symbol from its symbol column."
            )
        return self.frame[mine]

    def bars(self, frame: pd.DataFrame, symbol: str, timezone: str, facts: dict[str, Any]) -> Bars:
        """Parsed rows as bars, oldest first."""
        steps = frame["date"].diff().dropna()
        if (steps <= pd.Timedelta(0)).all() and (steps < pd.Timedelta(0)).any():
            frame = frame.iloc[::-1]
        sessions: Dates = frame["date"].to_numpy().astype(DATE_DTYPE)
        columns = {name: frame[name].to_numpy(dtype=np.float64) for name in FIELDS if name in frame}
        if (fault := find_fault(sessions, columns)) is not None:
            raise BarsError(f"{self.path.name}, {self.place} {frame.index[fault[0]]}: {fault[1]}")
        rows = frame.set_index("date")[list(columns)]
        return Bars.from_frame(symbol, rows, timezone=timezone, provenance=facts)


def _read_csv(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig") as file:
        head, second = file.readline(), file.readline()
    separator = max(",;\t", key=head.count)
    three = second.split(separator)[0].strip().strip('"').lower() == "ticker"
    verbatim: dict[str, Any] = {"dtype": str, "keep_default_na": False, "skip_blank_lines": False}
    verbatim |= {"header": None, "skipinitialspace": True, "encoding": "utf-8-sig"}
    cells: pd.DataFrame = pd.read_csv(path, sep=separator, **verbatim)
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
    body = body[(body.fillna("") != "").any(axis=1)]
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
    distinct = sorted(set(tickers) - {""})
    only = distinct[0] if len(distinct) == 1 else ""
    wanted = (only or symbol or "").upper()
    if distinct and wanted not in [ticker.upper() for ticker in distinct]:
        raise BarsError(
            f"{path.name} holds {', '.join(distinct)}, but no {symbol!r}. Name one of its tickers."
        )
    frame = frame.loc[:, [ticker.upper() in ("", wanted) for ticker in tickers]]
    return frame.set_axis([str(column[0]) for column in frame.columns], axis="columns"), only


def _parse(frame: pd.DataFrame, refuse: Refuse) -> pd.DataFrame:
    """Numbers as float64 and dates as datetime64[D]; what is neither is refused, and then missing."""
    parsed: dict[str, Any] = {"date": parse_dates(frame["date"], refuse)}
    for name in (field for field in FIELDS if field in frame):
        parsed[name] = parse_numbers(frame[name], refuse)
        if name in ("dividends", "splits"):  # a split of 1 is none
            none = np.isnan(parsed[name]) | ((name == "splits") & (parsed[name] == 1.0))
            parsed[name] = np.where(none, 0.0, parsed[name])
    return pd.DataFrame(parsed, index=frame.index)


def _carry_actions(frame: pd.DataFrame, empty: NDArray[np.bool_], refuse: Refuse) -> None:
    """Dividends (added) and splits (multiplied) of rows without prices on the next row in time that has some.

    Whoever held the share over such a day gets both, and the next price is the first that shows it.
    """
    names = [name for name in ("dividends", "splits") if name in frame]
    moved = empty & (frame[names] != 0).any(axis=1).to_numpy()
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
            both = name == "splits" and value and there
            frame.loc[target, name] = value * there if both else value + there
