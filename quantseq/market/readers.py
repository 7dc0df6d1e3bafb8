"""Prices as people really have them: files of many shapes, read or refused with a reason.

Owns where the table in a file begins and ends, how its columns are called, and which symbols it holds. Numbers and
dates are `quantseq.market.notations`', what a row must be is `quantseq.market.health`'s. Knows nothing of downloads
or of the store. ``docs/importing.md`` has the formats. What was guessed, and what is not used, stands in the
provenance under ``read_as`` and ``notes``.
"""

import csv
import gzip
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import (
    BarsError,
    ConfigError,
    CorruptFileError,
    DataError,
    SymbolNotFoundError,
    did_you_mean,
)
from quantseq.files import sha256_file
from quantseq.market.bars import (
    DATE_DTYPE,
    FIELDS,
    INSTANT_DTYPE,
    INTERVALS,
    OHLC,
    Bars,
    Panel,
    check_symbol,
    check_timezone,
    is_intraday,
    monday,
)
from quantseq.market.health import RawBars, clean
from quantseq.market.notations import (
    DECIMALS,
    MISSING,
    ORDERS,
    WORDS,
    Faults,
    Moments,
    decimal_mark,
    parse_dates,
    parse_numbers,
    plain_letters,
    sessions_of,
)


def _key(name: object) -> str:
    """A heading without accents, case, blanks and marks."""
    return re.sub(r"[\W_]", "", plain_letters(str(name)))


COLUMNS: tuple[str, ...] = tuple(WORDS["columns"])
"""The columns that a file may have, under our names."""

FORMATS: Mapping[str, Mapping[str, str]] = WORDS["formats"]
"""By well-known export, what it does not say by itself."""

_ALIASES = {
    _key(word): (name, rank)
    for name, words in WORDS["columns"].items()
    for rank, word in reversed([*enumerate(words)])
}
_NUMBERS = (*FIELDS, "tick_volume")
_PREAMBLE = 60  # lines among which the first row of the table is looked for
_SEPARATORS = (";", "\t", "|", ",")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?|\d{6}|0")


@dataclass(frozen=True)
class Reading:
    """What a file does not say by itself; a ConfigError if a value is none of its kind.

    Parameters
    ----------
    columns : mapping
        One of `COLUMNS` to the file's own name for it, or to its place from 1.
    date_order : {"dmy", "mdy", "ymd"}, optional
    decimal : {".", ","}, optional
    encoding : str, optional
        By default what the first bytes say, UTF-8, or else Windows' western code page.
    timezone : str
        Of the exchange, "" if unknown.
    interval : str, optional
        Length of a bar; by default what the dates say.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    date_order: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    timezone: str = ""
    interval: str | None = None

    def __post_init__(self) -> None:
        choices = {"date_order": ORDERS, "decimal": DECIMALS, "interval": INTERVALS}
        for name, known in choices.items():
            if getattr(self, name) not in (None, *known):
                raise ConfigError(
                    f"The {name} must be one of {', '.join(known)}. Got {getattr(self, name)!r}."
                )
        for wrong in set(self.columns) - set(COLUMNS):
            raise ConfigError(f"There is no column {wrong!r}. {did_you_mean(wrong, COLUMNS)}")
        check_timezone(self.timezone)

    @classmethod
    def of(cls, format_: str | None, **given: Any) -> "Reading":
        """What is given, and for the rest what is known of a well-known export, one of `FORMATS`."""
        if format_ is not None and format_ not in FORMATS:
            raise ConfigError(f"There is no format {format_!r}. {did_you_mean(format_, FORMATS)}")
        known = FORMATS[format_] if format_ else {}
        return cls(**{**known, **{name: value for name, value in given.items() if value}})


def read_table(path: Path | str, symbol: str | None = None, *, timezone: str = "") -> Bars:
    """Read one symbol's bars from a file; see `read_raw` and `quantseq.market.health.clean`.

    A CorruptFileError if the file is missing or no table at all; a BarsError if it holds several symbols and none is
    named, or its rows cannot be used.
    """
    found = read_raw(path, symbol, how=Reading(timezone=timezone))
    if len(found) > 1:
        raise BarsError(
            f"{Path(path).name} holds {_few([one.symbol for one in found])}. Name one of its symbols."
        )
    return clean(found[0])


def read_panel(
    path: Path | str, symbols: Sequence[str] = (), *, start: Any = None, allow_gaps: bool = False
) -> Panel:
    """Read several symbols' daily prices from a table with a symbol column, or with a column of closes per symbol.

    Symbols come in the order in which they first appear, without a time zone; or only those of `symbols`, in their
    order. Rows before `start` count for nothing. The prices are taken as adjusted already unless there is an adjusted
    close too. Rows of different symbols may interleave. Raises as `read_table` and `clean_all`, and a
    SymbolNotFoundError if one of `symbols` is not there.
    """
    raws = {raw.symbol: raw for raw in read_raw(path)}
    if not all(raw.named for raw in raws.values()):
        raise BarsError(
            f"{Path(path).name} has no symbol column. A panel file needs symbol, date, open, high, low, close "
            "and volume."
        )
    for unknown in [name for name in symbols if name not in raws]:
        raise SymbolNotFoundError(
            f"{unknown!r} is not in {Path(path).name}, which holds {_few(raws)}."
        )
    wanted = [raws[name].since(start) for name in symbols or raws]
    cleaned = clean_all(wanted, allow_gaps=allow_gaps)
    return Panel(
        replace(bars, provenance={**bars.provenance, "source": "panel"}) for bars in cleaned
    )


def clean_all(raws: Sequence[RawBars], **how: bool) -> list[Bars]:
    """As `quantseq.market.health.clean` of each; a BarsError names every symbol with a fault, and the first."""
    found: list[Bars] = []
    faults: dict[str, DataError] = {}
    for raw in raws:
        try:
            found.append(clean(raw, **how))
        except DataError as error:
            faults[raw.symbol] = error
    if faults and len(raws) == 1:
        raise next(iter(faults.values()))
    if faults:
        (first, why), *others = faults.items()
        more = f" Faults also in {_few([name for name, _ in others])}." if others else ""
        raise BarsError(
            f"{first} in {why}{more} `quantseq data check --file` counts all; of a --panel, --allow-bad-data leaves "
            "such rows out."
        )
    return found


def read_raw(
    path: Path | str, symbol: str | None = None, *, how: Reading | None = None
) -> tuple[RawBars, ...]:
    """Read whatever stands in a file, faults included: every symbol of it, or the one that is named.

    Raises
    ------
    CorruptFileError
        If the file is missing or no table at all.
    BarsError
        If no table of prices is in it, a column is missing or there twice, or no row has the symbol; if a notation
        stays undecided, it cannot be told to which session UTC times belong, or bars are of a length that quantseq
        does not keep.
    """
    path, asked = Path(path), how or Reading()
    parquet = path.suffix.lower() in (".parquet", ".pq")
    try:
        sheet = _parquet(path) if parquet else _csv(path, asked)
        found = _raw_bars(path, _long(sheet, asked, symbol), sheet, asked, symbol)
    except BarsError as error:
        told = str(error)
        raise BarsError(told if told.startswith(path.name) else f"{path.name}: {told}") from error
    except FileNotFoundError as error:
        raise CorruptFileError(
            f"There is no file {str(path)!r}. Give the path of a CSV or Parquet file with prices."
        ) from error
    except (DataError, ConfigError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise CorruptFileError(
            f"Cannot read {str(path)!r} as a {'Parquet' if parquet else 'CSV'} table: {reason}. "
            "Give a CSV or Parquet file with prices."
        ) from error
    return found


@dataclass
class _Sheet:
    """Cells as they stand in a file: a body by place, the names above it, and what is told of both."""

    header: list[str]
    body: pd.DataFrame  # a column per name, indexed by line or row
    place: str = "line"
    tickers: list[str] = field(default_factory=list)  # a second header of symbols, if any
    notes: list[str] = field(default_factory=list)  # what is not used, or was filled in
    faults: dict[int, str] = field(default_factory=dict)  # by line, cells that stand under no name
    read_as: dict[str, Any] = field(default_factory=dict)  # what was guessed


def _parquet(path: Path) -> _Sheet:
    frame = pd.read_parquet(path)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    frame = frame.set_axis(pd.RangeIndex(1, len(frame) + 1))
    names = [one if isinstance(one, tuple) else (one,) for one in frame.columns]
    tickers = [str(one[-1]) if len(one) > 1 else "" for one in names]
    body = frame.set_axis(range(frame.shape[1]), axis="columns")
    return _Sheet([str(one[0]) for one in names], body, "row", tickers if any(tickers) else [])


def _csv(path: Path, how: Reading) -> _Sheet:
    text, encoding = _text(path, how.encoding)
    lines = text.splitlines()
    first = re.fullmatch(r"\W*sep=(.)\W*", lines[0].strip()) if lines else None
    separator = first[1] if first else _separator(lines)
    if not separator:  # only blanks part the columns
        lines = [re.sub(r"\s+", "\t", line.strip()) for line in lines]
        text, separator = "\n".join(lines), "\t"
    width = max((len(row) for row in csv.reader(lines, delimiter=separator)), default=0)
    cells = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        header=None,
        names=range(width),
        index_col=False,
        dtype=str,
        keep_default_na=False,
        skip_blank_lines=False,
        skipinitialspace=True,
        skiprows=1 if first else 0,
    )
    cells = cells.fillna("").apply(lambda column: column.str.strip())
    cells.index += 2 if first else 1
    sheet = _locate(cells[(cells != "").any(axis=1)], how)
    sheet.read_as |= {"encoding": encoding, "separator": separator}
    return sheet


def _text(path: Path, encoding: str | None) -> tuple[str, str]:
    """The text of a file, unpacked, and how it is encoded."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    elif data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            junk = re.compile(r"(^|/)(__MACOSX/|\.)|/$")  # what a Mac adds, and folders
            names = [name for name in archive.namelist() if not junk.search(name)]
            if len(names) != 1:
                raise BarsError(
                    f"it holds {len(names)} files. Unpack it and import them one by one."
                )
            if Path(names[0]).name.startswith("[") or Path(names[0]).suffix == ".xml":
                raise BarsError("this is no table but a document. Save it as CSV.")
            data = archive.read(names[0])
    if encoding is None:
        encoding = "utf-8-sig"
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            encoding = "utf-16"
        elif data[:200].count(b"\0") > len(data[:200]) / 3:
            encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
        else:
            try:
                data.decode(encoding)
            except UnicodeDecodeError:
                encoding = "cp1252"
    try:
        return data.decode(encoding), encoding
    except LookupError as error:
        raise ConfigError(
            f"There is no encoding {encoding!r}. Try utf-8, cp1252 or utf-16."
        ) from error
    except UnicodeDecodeError as error:
        raise BarsError(
            f"it is not written as {encoding} ({error.reason}). Say how with --encoding, such as cp932, gb18030, "
            "cp949, cp1250 or cp1251."
        ) from error


def _separator(lines: list[str]) -> str:
    """What parts most of the first lines into the same number of columns, four or more where possible; "" for nothing."""
    best = ("", 0)
    for mark in _SEPARATORS:
        counts = [
            len(row) for row in csv.reader([line for line in lines[:200] if line], delimiter=mark)
        ]
        wide = [count for count in counts if count > 1]
        usual = max(set(wide), key=wide.count) if wide else 1
        score = wide.count(usual) * min(usual, 5) + (usual >= 4)
        if score > best[1]:
            best = (mark, score)
    return best[0]


def _locate(cells: pd.DataFrame, how: Reading) -> _Sheet:
    """Where the table begins: at a row of names, or at the first of dates and numbers; what is around it."""
    rows = cells.to_numpy()
    own = {_key(name) for name in how.columns.values()}
    for at in range(min(len(rows), _PREAMBLE)):
        keys = [_key(cell) for cell in rows[at]]
        known = {
            _ALIASES[key][0] if key in _ALIASES else "own"
            for key in keys
            if key in own or key in _ALIASES
        }
        levels = {str(row[0]).lower(): row for row in rows[at : at + 2]}
        symbols = levels.pop("ticker", levels.pop("symbols", None))
        if (
            symbols is not None
            and len(levels) == 1
            and levels.keys() <= {"price", "attributes", ""}
        ):
            # the header of yfinance: names and tickers, in either order, then the name of the index
            skip = at + (3 if at + 2 < len(rows) and _key(rows[at + 2][0]) in _ALIASES else 2)
            header = ["date", *map(str, levels.popitem()[1][1:])]
            return _Sheet(header, cells.iloc[skip:], tickers=["", *map(str, symbols[1:])])
        dated = known & {"date", "time", "own"} or _is_unnamed(keys[0])
        if (
            dated
            and known
            and sum(map(bool, keys)) > 1
            and not (len(known) == 1 and _is_data(rows[at]))
        ):
            return _around(_Sheet([*map(str, rows[at])], cells.iloc[at + 1 :]), cells.iloc[:at])
        if _is_data(rows[at]):
            above = [cell for cell in rows[at - 1] if cell] if at else []
            if len(above) > max(2, len(rows[at]) / 2) and not _is_data(rows[at - 1]):
                if not how.columns:
                    raise BarsError(
                        f"the columns are called {_few(above, 12)}, and dates and prices are not told by that. Say which "
                        "is which, by name or place, such as --columns date=1,open=2,high=3,low=4,close=5,volume=6"
                    )
                return _around(
                    _Sheet([*map(str, rows[at - 1])], cells.iloc[at:]), cells.iloc[: at - 1]
                )
            names = _content_names(rows[at:], how)
            sheet = _around(_Sheet(names, cells.iloc[at:]), cells.iloc[:at])
            sheet.notes.append(f"there is no row of names; read as {', '.join(names)}")
            return sheet
    raise BarsError(
        f"no row names a date and prices, or holds some, among the first {_PREAMBLE} lines. Prices need date, open, "
        "high, low and close; say what they are called with --columns date=When,close=Price."
    )


def _is_unnamed(key: str) -> bool:
    return key in ("", "index") or key.startswith("unnamed")


def _is_dated(cells: Any) -> NDArray[np.bool_]:
    """Which cells hold a date, in whatever order of day and month, (n,)."""
    texts = pd.Series(cells, dtype=object)
    found = [~np.isnat(parse_dates(texts, one)[0].local) for one in (None, *ORDERS)]
    return np.asarray(np.any(found, axis=0))


def _is_data(row: Any) -> bool:
    """Whether a row begins with a date, perhaps behind a symbol, and goes on with numbers."""
    series = pd.Series(row, name="", dtype=object)
    numbers, _ = parse_numbers(series, decimal_mark(series.to_frame()) or ".")
    return bool(np.isfinite(numbers).sum() >= 3 and _is_dated(row[:3]).any())


def _around(sheet: _Sheet, before: pd.DataFrame) -> _Sheet:
    """Leave out rows above the table, and those at its end that fill one cell of many."""
    body = sheet.body
    filled = (body != "").sum(axis=1).to_numpy()
    end = len(body)
    while end and len(sheet.header) > 2 and filled[end - 1] == 1:
        cells = body.iloc[end - 1]
        if not np.isnat(parse_dates(cells[cells != ""])[0].local).any():
            break  # a date without prices is a row without prices
        end -= 1
    if outside := len(before) + len(body) - end:
        first = (before if len(before) else body.iloc[end:]).iloc[0]
        sheet.notes.append(
            f"left out around the table: {outside} of the lines, such as {' '.join(filter(None, first))[:60]!r}"
        )
    body = body.iloc[:end]
    header = np.array(sheet.header, dtype=object)
    repeated = (body.to_numpy() == header).all(axis=1) if len(body) else np.zeros(0, dtype=bool)
    if repeated.any() and (filled[:end][np.flatnonzero(repeated) - 1] == 1).any():
        raise BarsError("there are several tables below each other. Import them one by one.")
    if repeated.any():
        sheet.notes.append(f"the row of names stands {int(repeated.sum())} times more in the table")
    sheet.body = body = body[~repeated]
    named = max((k for k, name in enumerate(sheet.header) if name), default=0) + 1
    beyond = (body.iloc[:, named:] != "").any(axis=1)
    told = f"there are more cells than the {named} names; quote numbers that hold commas"
    sheet.faults = dict.fromkeys(body.index[beyond], told)
    return sheet


def _content_names(rows: Any, how: Reading) -> list[str]:
    """Names of columns that have none, by what stands in them: a symbol, a date, a time, four prices, a volume."""
    width = len(rows[0])
    if how.columns:
        return [str(k + 1) for k in range(width)]
    sample = rows[:500]
    date = int(np.argmax(_is_dated(sample[0][:3])))
    names = [*["symbol", "period"][:date], "date"]
    if date + 1 < width and all(_CLOCK.fullmatch(str(cell)) for cell in sample[:, date + 1]):
        names.append("time")
    first = len(names)
    mark = decimal_mark(pd.DataFrame(sample[:, first:])) or "."
    values = [
        parse_numbers(pd.Series(sample[:, k], name=str(k + 1)), mark)[0]
        for k in range(first, min(first + 4, width))
    ]
    if len(values) == 4:
        opened, high, low, closed = values
        fits = (high >= np.fmax(opened, closed)) & (low <= np.fmin(opened, closed))
        if fits.mean() >= 0.95 and _opens_where_it_closed(sample[:, date], opened, closed):
            names += ["open", "high", "low", "close", "volume"]
            return (names + [f"column {k + 1}" for k in range(len(names), width)])[:width]
    raise BarsError(
        "there is no row of names, and the numbers are not open, high, low, close in this order. Name them by place, "
        "such as --columns date=1,open=2,high=3,low=4,close=5"
    )


def _opens_where_it_closed(dates: Any, opened: Any, closed: Any) -> bool:
    """Whether each bar opens nearer to the close before than closes to the open before: else the two may be swapped."""
    texts = pd.Series(dates, dtype=object)
    read = [parse_dates(texts, one)[0].local for one in (None, *ORDERS)]
    days = next((one for one in read if not np.isnat(one).any()), read[0])
    if len(days) > 1 and days[-1] < days[0]:
        opened, closed = opened[::-1], closed[::-1]
    right, swapped = np.abs(opened[1:] - closed[:-1]), np.abs(closed[1:] - opened[:-1])
    return len(right) == 0 or bool(np.nansum(right) <= 0.8 * np.nansum(swapped))


def _long(sheet: _Sheet, how: Reading, symbol: str | None) -> pd.DataFrame:
    """The body under our names, with a symbol column where the file tells symbols apart."""
    if not sheet.header:
        raise BarsError("there are no columns. Give a file with prices.")
    if sheet.body.empty:
        raise BarsError("there is a header but no rows. Give a file with prices.")
    tickers = sheet.tickers or [""] * len(sheet.header)
    distinct = _distinct([ticker for ticker in tickers if ticker])
    if symbol is not None and len(distinct) > 1:
        distinct = {key: one for key, one in distinct.items() if key == symbol.upper()}
        if not distinct:
            raise BarsError(
                f"it holds {_few(_distinct(filter(None, tickers)).values())}, but no {symbol!r}. Name one of its tickers."
            )
    parts = []
    for key, ticker in distinct.items() or [("", "")]:
        chosen = [k for k, own in enumerate(tickers) if own.upper() in ("", key)]
        names = _canonical([sheet.header[k] for k in chosen], how)
        columns = {name: sheet.body[k] for k, name in zip(chosen, names, strict=True) if name}
        others = [
            k for k, name in zip(chosen, names, strict=True) if not name and sheet.header[k].strip()
        ]
        rest = [
            k for k, name in zip(chosen, names, strict=True) if name != "date" and sheet.header[k]
        ]
        lonely = set(columns) == {"date"} or (
            "date" in columns
            and not set(OHLC) <= set(columns)
            and len(others) >= 2 * len(columns)
            and all(_TICKER.fullmatch(sheet.header[k]) for k in rest)
        )  # C, LOW and V are tickers, and what people call columns too
        if lonely and (wide := _wide(sheet, columns["date"], rest)):
            parts += wide
            continue
        if not parts:
            used = {name: sheet.header[k] for k, name in zip(chosen, names, strict=True) if name}
            sheet.read_as["columns"] = {
                name: own for name, own in used.items() if _key(own) != _key(name)
            }
            if others:
                sheet.notes.append(
                    f"columns not used: {_few([sheet.header[k] for k in others], 20)}"
                )
        parts.append(
            pd.DataFrame(columns | ({"symbol": ticker} if ticker else {}), index=sheet.body.index)
        )
    frame = _with_events(sheet, pd.concat(parts))
    closes_only = not {"open", "high", "low"} & set(frame)
    needed = ("date", "close") if closes_only else ("date", *OHLC)
    if missing := [name for name in needed if name not in frame]:
        raise BarsError(
            f"the columns {', '.join(missing)} are missing; found {_few([*filter(None, sheet.header)], 12)}. Prices "
            "need date, open, high, low and close; say what they are called with --columns close=Price."
        )
    return _of_symbol(frame, sheet, symbol)


_EVENT = r"^([\d.,]+)\s+Dividend|^(\d+)[:/](\d+)\s+(?:Stock )?Splits?"


def _with_events(sheet: _Sheet, frame: pd.DataFrame) -> pd.DataFrame:
    """Lines of Yahoo's page such as ``0.22 Dividend`` and ``4:1 Stock Splits`` as dividends and splits without prices."""
    if sheet.place != "line" or sheet.body.shape[1] < 2:
        return frame
    found = sheet.body.iloc[:, 1].str.extract(_EVENT).dropna(how="all")
    if found.empty or len(found) == len(frame):
        return frame
    columns = {
        name: frame.get(name, pd.Series("", index=frame.index)) for name in ("dividends", "splits")
    }
    frame = frame.assign(**columns)
    frame.loc[found.index, [name for name in frame if name not in ("date", "symbol")]] = ""
    frame.loc[found.index, "dividends"] = found[0].fillna("")
    frame.loc[found.index, "splits"] = (found[1] + ":" + found[2]).fillna("")
    return frame


_TICKER = re.compile(r"[A-Z0-9.^=_-]{1,12}")
_FIELD = re.compile(
    r"open|high|low(?!e)|close|clos|adj|volum|bid|ask|kurs|price|return|change|yield|turnover|value|prix|precio|avg|vwap|%",
    re.IGNORECASE,
)


def _wide(sheet: _Sheet, dates: pd.Series, others: list[int]) -> list[pd.DataFrame]:
    """A table of closes, one column per symbol, as a part of each; none if a column may be anything else.

    Not where a name sounds like a field of prices, a column holds no prices, or four columns beside each other are the
    highest, the lowest and two between, and near each other: then they are one symbol's under unknown names.
    """
    parts, sample = [], []
    if any(
        _FIELD.search(sheet.header[k]) and not _TICKER.fullmatch(sheet.header[k]) for k in others
    ):
        return []
    for k in others:
        part = pd.DataFrame(
            {"date": dates, "close": sheet.body[k], "symbol": sheet.header[k].strip()}
        )
        texts = sheet.body[k].iloc[:200].map(str).str.strip()
        numbers, _ = parse_numbers(texts, decimal_mark(texts.to_frame()) or ".")
        known = numbers[np.isfinite(numbers)]
        if not len(known) or (known > 0).mean() < 0.97:
            return []
        sample.append(numbers)
        parts.append(part[~part["close"].map(str).str.strip().str.lower().isin(MISSING)])
    for at in range(len(sample) - 3):
        four = np.stack(sample[at : at + 4])
        four = four[:, np.isfinite(four).all(axis=0)]
        if four.shape[1] < 2 or np.median(four.max(axis=0) / four.min(axis=0)) > 1.2:
            continue
        highest, lowest = (
            (four == edge(four, axis=0)).mean(axis=1).max() for edge in (np.max, np.min)
        )
        if highest >= 0.95 and lowest >= 0.95:
            return []
    if parts:
        sheet.notes.append(f"a table of closes, one column for each of {len(parts)} symbols")
    return parts


def _distinct(names: Any) -> dict[str, str]:
    """Names by their capital form, each as it is written first."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(str(name).upper(), str(name))
    return found


def _of_symbol(frame: pd.DataFrame, sheet: _Sheet, symbol: str | None) -> pd.DataFrame:
    """The rows of the symbol that is named, or all; a symbol is the same in every case of its letters."""
    if "symbol" not in frame:
        return frame
    names = frame["symbol"].fillna("").astype(str).str.strip()
    names = names.map({one: check_symbol(one) if one else "" for one in names.unique()})
    keys = names.str.upper()
    spelt = _distinct(names.unique())
    if symbol is None:
        if (keys == "").any():
            row = names.index[int(np.argmax(keys == ""))]
            raise BarsError(
                f"{sheet.place} {row}: the symbol is missing. Correct or drop that {sheet.place}."
            )
        return frame.assign(symbol=keys.map(spelt))
    by_name = _key(sheet.read_as.get("columns", {}).get("symbol", "symbol")) == "name"
    if len(spelt) == 1 and (sheet.tickers or by_name):  # a name need not be the symbol
        return frame.assign(symbol=symbol)
    mine = keys == symbol.upper()
    if not mine.any():
        raise BarsError(
            f"it holds {_few(spelt.values())}, but no {symbol!r}. Name one of its symbols."
        )
    return frame[mine].assign(symbol=symbol)


def _stem(path: Path) -> str:
    """The name of a file without what says how it is packed and written."""
    return (
        re.sub(r"(\.(csv|txt|tsv|gz|zip))+$", "", path.name, flags=re.IGNORECASE)
        if path.suffix.lower() not in (".parquet", ".pq")
        else path.stem
    )


def _few(names: Any, most: int = 8) -> str:
    named = list(map(str, names))
    more = len(named) - most
    return ", ".join(named[:most]) + (f" and {more} more" if more > 0 else "")


_MONEY = re.compile(r"[€$£¥₹]|\b(eur|usd|gbp|chf|jpy|wert|betrag|value|turnover)\b", re.IGNORECASE)


def _canonical(header: list[str], how: Reading) -> list[str]:
    """Our name of each column, "" for one that is not used."""
    keys, names = [_key(name) for name in header], [""] * len(header)
    given = {}
    for name, wanted in how.columns.items():
        if _key(wanted) in keys:
            given[name] = keys.index(_key(wanted))
        elif wanted.isascii() and wanted.isdigit() and 0 < int(wanted) <= len(header):
            given[name] = int(wanted) - 1
        else:
            raise BarsError(
                f"there is no column {wanted!r}; found {_few([*filter(None, header)], 12)}. Name one of them, or its place."
            )
        names[given[name]] = name
    best: dict[str, tuple[int, int]] = {}
    for at, key in enumerate(keys):
        name, rank = _ALIASES.get(key, ("", 0))
        if not name or names[at] or name in given:
            continue
        if name == "volume" and _MONEY.search(header[at]):
            continue  # what was paid, not how many were traded
        if name in best and best[name][0] == rank:
            raise BarsError(
                f"there are two columns for {name!r}, {header[best[name][1]]!r} and {header[at]!r}. Keep one, or name it "
                f"by its place with --columns {name}={at + 1}."
            )
        if name not in best or rank < best[name][0]:
            best[name] = (rank, at)
    for name, (_, at) in best.items():
        names[at] = name
    if "date" not in names:
        where = names.index("time") if "time" in names else 0
        if names[where] == "time" or _is_unnamed(keys[0]):
            names[where] = "date"
    return names


def _raw_bars(
    path: Path, frame: pd.DataFrame, sheet: _Sheet, how: Reading, symbol: str | None
) -> tuple[RawBars, ...]:
    """Parse all rows together, so that one notation holds for the file, and part them by symbol."""
    texts = {name: _as_text(frame[name]) for name in _NUMBERS if name in frame}
    cells = pd.DataFrame({name: c.to_numpy() for name, c in texts.items() if c.dtype == object})
    comma_parted = sheet.read_as.get("separator", ",") == ","
    mark = how.decimal or decimal_mark(cells, comma_parted=comma_parted)
    columns: dict[str, Any] = {}
    faults: Faults = []
    for name, column in texts.items():
        if column.dtype == object:
            given = column.map(_ratio) if name == "splits" else column
            columns[name], wrong = parse_numbers(given, mark)
            if wrong and name in ("dividends", "splits"):  # all earlier prices would be wrong
                raise BarsError(
                    f"{sheet.place} {frame.index[wrong[0][0]]}: {wrong[0][1]}. Correct it."
                )
            faults += wrong
        else:
            columns[name] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    notes = [*sheet.notes, *_settle(columns, len(frame))]
    moments, undated = _moments(frame, how)
    places = np.array([f"{sheet.place} {row}" for row in frame.index])
    faults += [(at, sheet.faults[row]) for at, row in enumerate(frame.index) if row in sheet.faults]
    why: dict[int, str] = {}
    for at, reason in sorted([*undated, *faults]):
        why.setdefault(at, reason)
        if " say " in reason:  # a notation that nothing decides is a matter of the whole file
            raise BarsError(f"{places[at]}: {reason}.")
    local = sessions_of(moments, how.timezone)
    if frame["date"].iloc[:20].map(str).str.fullmatch(r"\d{5}(\.\d*)?").any():
        notes.append("the dates are serial days, read as Excel counts them")
    read_as = {**sheet.read_as, **({"decimal": mark} if mark == "," else {})}
    facts = {
        "source": "file",
        "file": path.name,
        "file_sha256": sha256_file(path),
        "read_as": read_as,
    }
    facts |= {"notes": notes} if notes else {}
    named, found = "symbol" in frame, []
    symbols = pd.Series(
        frame["symbol"].to_numpy() if named else symbol or _stem(path), index=range(len(frame))
    )
    positions = symbols.groupby(symbols).indices
    for own in symbols.unique():
        rows = np.asarray(positions[own])
        interval, sessions = _sessions(local[rows], moments.local[rows], moments.offset[rows], how)
        raw = RawBars(
            symbol=str(own),
            sessions=sessions,
            columns={one: values[rows] for one, values in columns.items()},
            places=tuple(map(str, places[rows])),
            unreadable=tuple((str(places[at]), why[at]) for at in rows.tolist() if at in why),
            timezone=how.timezone,
            interval=interval,
            provenance=facts,
            named=named and not (sheet.tickers and len(set(sheet.tickers)) <= 2),
        )
        found.append(raw)
    return tuple(found)


def _ratio(cell: str) -> str:
    """``4:1``, ``4/1`` or ``4 for 1`` as a number."""
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?::|/|for)\s*(\d+(?:\.\d+)?)", cell)
    return str(float(parts[1]) / float(parts[2])) if parts and float(parts[2]) else cell


def _as_text(column: pd.Series) -> pd.Series:
    """A column of numbers as it is, another as tidy texts."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column
    return column.map(
        lambda one: "" if one is None or one is pd.NaT or one != one else str(one).strip()
    ).astype(object)


def _settle(columns: dict[str, Any], count: int) -> list[str]:
    """Fill in what a file may lack, in place; sentences about what was filled in."""
    told = []
    ticks = columns.pop("tick_volume", None)
    traded = columns.get("volume")
    if traded is None or (ticks is not None and not np.nan_to_num(traded).any()):
        told.append(
            "there is no volume; 0 stands for unknown"
            if ticks is None
            else "volume is that of ticks"
        )
        columns["volume"] = np.zeros(count) if ticks is None else ticks
    unknown = ~(columns["volume"] >= 0)
    if unknown.any():
        told.append(
            f"the volume is unknown in {int(unknown.sum())} of {count} rows; 0 stands for that"
        )
        columns["volume"] = np.where(unknown, 0.0, columns["volume"])
    if "open" not in columns and "high" not in columns and "low" not in columns:
        told.append("there are closes only; open, high and low repeat them")
        columns |= {name: columns["close"].copy() for name in ("open", "high", "low")}
    for name in ("dividends", "splits"):
        if name in columns:
            columns[name] = np.nan_to_num(columns[name], nan=0.0, posinf=np.inf)
    if "splits" in columns:  # one share for one is no split
        columns["splits"] = np.where(columns["splits"] == 1.0, 0.0, columns["splits"])
    return told


def _moments(frame: pd.DataFrame, how: Reading) -> tuple[Moments, Faults]:
    dates = frame["date"]
    if pd.api.types.is_datetime64_any_dtype(dates):
        offset = np.full(len(dates), np.nan)
        if isinstance(dates.dtype, pd.DatetimeTZDtype):
            clock = dates.dt.tz_localize(None)
            ahead = clock - dates.dt.tz_convert("UTC").dt.tz_localize(None)
            offset, dates = ahead.dt.total_seconds().to_numpy() / 60, clock
        local = dates.to_numpy().astype(INSTANT_DTYPE)
        return Moments(local, offset), [
            (int(at), "the date is missing") for at in np.flatnonzero(np.isnat(local))
        ]
    texts = _as_text(dates)
    if texts.dtype != object and dates.between(1e4, 8e4).any():
        raise BarsError(
            f"the dates are numbers such as {dates.iloc[0]}, of which nobody says from when they count. Write dates."
        )
    if texts.dtype != object:
        texts = texts.map(
            lambda one: "" if pd.isna(one) else f"{one:.10g}" if one % 1 else str(int(one))
        ).astype(object)
    if "time" in frame:
        texts = (texts + " " + _as_text(frame["time"]).map(_clock)).str.strip()
    return parse_dates(texts, how.date_order)


def _clock(time: object) -> str:
    """A time of day with colons; 930 and 93000 are half past nine."""
    text = str(int(time)) if isinstance(time, (int, float)) else str(time)
    if not re.fullmatch(r"\d{1,6}", text):
        return text
    digits = text.zfill(4) + "00" if len(text) in (3, 4) else text.zfill(6)
    return ":".join((digits[:2], digits[2:4], digits[4:]))


_KEPT = {3600: "1h", 300: "5m"}


def _sessions(local: Any, written: Any, offset: Any, how: Reading) -> tuple[str, Any]:
    """The interval that the moments of one symbol keep, and its sessions; NaT where there is no moment.

    `local` is the exchange's clock, `written` the one of the file, `offset` its minutes ahead of UTC.
    """
    interval, days = how.interval, local.astype(DATE_DTYPE)
    known = np.unique(local[~np.isnat(local)])
    if interval is None:
        apart = np.diff(np.unique(known.astype(DATE_DTYPE))).astype(np.int64)
        usual = float(np.median(apart)) if len(apart) > 3 else 1.0
        interval = "1d"
        if len(known) > 1.5 * (len(apart) + 1):
            step = int(np.median(np.diff(known).astype(np.int64)))
            if step not in _KEPT:
                raise BarsError(
                    f"these are bars of {step / 60:g} minutes. quantseq keeps {', '.join(INTERVALS)}; make one of "
                    "these of them first."
                )
            interval = _KEPT[step]
        elif 5 <= usual <= 9:
            interval = "1wk"
        elif len(apart) > 4 and (np.convolve(apart == 7, np.ones(4), "valid") == 4).any():
            raise BarsError(
                "some of these bars are a week apart and others a day. Import them apart, or say --interval 1d."
            )
        elif usual > 9:
            raise BarsError(
                f"these bars are {usual:g} days apart. quantseq keeps {', '.join(INTERVALS)}; say that they are "
                "daily with --interval 1d."
            )
    sundays = (days[~np.isnat(local)] - monday(days[~np.isnat(local)])).astype(np.int64) == 6
    if interval == "1wk" and len(sundays) and sundays.all():
        raise BarsError(
            "the weeks are dated by Sundays, which may begin or end them. Date each by one of its trading days."
        )
    if not is_intraday(interval):
        return interval, monday(days) if interval == "1wk" else days
    silent = np.isnan(offset) & ~np.isnat(written)
    if silent.any() and not how.timezone:
        raise BarsError(
            f"the times of these {interval} bars have no time zone. Say whose clock they show with --timezone, such as "
            "America/New_York, or UTC."
        )
    instants = written - (60 * np.nan_to_num(offset)).astype("timedelta64[s]")
    if silent.any():
        clock = pd.DatetimeIndex(written[silent])
        try:
            aware = clock.tz_localize(how.timezone, ambiguous="infer", nonexistent="shift_forward")
        except ValueError:
            aware = clock.tz_localize(how.timezone, ambiguous=True, nonexistent="shift_forward")
        instants[silent] = (
            aware.tz_convert("UTC").tz_localize(None).to_numpy().astype(INSTANT_DTYPE)
        )
    return interval, instants
