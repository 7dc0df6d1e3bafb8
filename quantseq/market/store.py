"""Where bars are kept: one Parquet file per symbol and interval, with its provenance inside.

Owns the folder layout, the file names, the Parquet schema, reading and writing, and the lock between writers. Knows
nothing of where bars come from or who reads them. ::

    <root>/bars/1d/AAPL.parquet        date, open, high, low, close, adj_close, volume, dividends, splits
    <root>/bars/1d/%5EGSPC.parquet     names are reversible: see `file_name`
    <root>/bars/1d/.lock               held while a file is replaced
    <root>/bars/5m/AAPL.parquet        date is then the moment at which the bar opens, in UTC

A reader sees the old file or the new one, never half of one. What is read back is checked against the SHA-256 that
was written with it.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import pyarrow as pa
import pyarrow.parquet as pq

from quantseq.errors import (
    ConfigError,
    CorruptFileError,
    IntervalError,
    NoDataError,
    SymbolNotFoundError,
)
from quantseq.files import atomic_path, lock, parse_json, sha256_bytes, write_bytes
from quantseq.market.bars import FIELDS, Bars, Panel, check_interval, check_symbol, is_intraday

_SCHEMA = 1
# Keys of the Parquet metadata: what a file says about itself, and the SHA-256 of that.
_HEADER, _SEAL = b"quantseq", b"quantseq.sha256"

_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|COM\d|LPT\d)(\.|$)")
_LONGEST = 160


def file_name(symbol: str) -> str:
    """Turn any text into a relative path, without suffix, that is safe on every file system.

    Capital letters, digits, ``-``, ``_`` and inner dots stay; every other byte of the UTF-8 form becomes
    ``%XX``. Small letters are escaped too, so that names differ even where case does not count. Names
    that are too long for one file go into folders.

    Examples
    --------
    >>> file_name("BRK-B"), file_name("^GSPC"), file_name("../x")
    ('BRK-B', '%5EGSPC', '%2E.%2F%78')
    >>> symbol_of("EURUSD%3DX")
    'EURUSD=X'
    """
    data = symbol.encode(errors="surrogatepass")
    name = "".join(
        chr(byte) if chr(byte) in "-_.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" else f"%{byte:02X}"
        for byte in data
    )
    if not data:
        return "%"
    if name.startswith(".") or _RESERVED.match(name):
        name = f"%{data[0]:02X}{name[1:]}"
    return "/~".join(name[at : at + _LONGEST] for at in range(0, len(name), _LONGEST))


def symbol_of(name: str) -> str:
    """Undo `file_name`."""
    if name == "%":
        return ""
    return unquote_to_bytes(name.replace("/~", "")).decode(errors="surrogatepass")


class StoredInfo(NamedTuple):
    """What a stored file says about itself, read without its prices."""

    symbol: str
    rows: int
    first: str
    last: str
    timezone: str
    sha256: str
    provenance: Mapping[str, Any]


def _read_header(metadata: Mapping[bytes, bytes] | None, symbol: str) -> dict[str, Any]:
    """The header of a file, once its seal and its symbol are checked; a ValueError says what is wrong."""
    if not metadata or _HEADER not in metadata or _SEAL not in metadata:
        raise ValueError("it was not written by quantseq")
    text = metadata[_HEADER]
    if sha256_bytes(text) != metadata[_SEAL].decode():
        raise ValueError("its header does not match its SHA-256")
    header: dict[str, Any] = parse_json(text)
    if header["schema"] > _SCHEMA:
        raise ValueError(f"schema {header['schema']} was written by a newer quantseq")
    if header["symbol"] != check_symbol(symbol):
        raise ValueError(f"it holds {header['symbol']!r} instead of {symbol!r}")
    return header


class Store:
    """Bars on disk under the data folder `root`, which is created when something is written.

    Every interval, one of `INTERVALS`, has its own folder.
    """

    def __init__(self, root: Path | str, *, interval: str = "1d") -> None:
        self.root = Path(root)
        self.interval = check_interval(interval)
        self.folder = self.root / "bars" / interval

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r}, interval={self.interval!r})"

    def __contains__(self, symbol: object) -> bool:
        return isinstance(symbol, str) and self.path(symbol).is_file()

    def path(self, symbol: str) -> Path:
        """Where the bars of `symbol` are kept, whether or not there are any; raises as `check_symbol`."""
        return self.folder / f"{file_name(check_symbol(symbol))}.parquet"

    def symbols(self) -> tuple[str, ...]:
        """Every stored symbol, sorted. Only names are looked at, and no file is opened."""
        found = []
        for path in self.folder.rglob("*.parquet"):
            name = path.relative_to(self.folder).with_suffix("").as_posix()
            with suppress(
                UnicodeDecodeError
            ):  # then, as where they differ, the name is none of ours
                if file_name(symbol := symbol_of(name)) == name:
                    found.append(symbol)
        return tuple(sorted(found))

    def info(self, symbol: str) -> StoredInfo:
        """What the file of `symbol` says about itself; fast, because no price is read. Raises as `read`."""
        with self._opened(symbol) as (_, header):
            return StoredInfo(**{name: header[name] for name in StoredInfo._fields})

    def infos(self) -> Iterator[tuple[str, StoredInfo | CorruptFileError]]:
        """Every stored symbol, sorted, with what its file says, or why it cannot be read."""
        for symbol in self.symbols():
            try:
                yield symbol, self.info(symbol)
            except (CorruptFileError, ConfigError) as error:
                yield symbol, CorruptFileError(str(error))

    def remove(self, symbol: str) -> None:
        """Delete one symbol's bars; a SymbolNotFoundError if there are none.

        A file that cannot be read back, and may be somebody's, is kept under a dated name that ends in ``.damaged``.
        """
        self._existing(symbol)
        with lock(self.folder / ".lock"):
            self._spare(symbol)
            self._existing(symbol).unlink()

    def _spare(self, symbol: str) -> None:
        """Keep a copy of what lies there under this symbol's name and is no file of ours, or damaged."""
        with suppress(SymbolNotFoundError):
            try:
                self.info(symbol)
            except CorruptFileError:
                self.back_up(symbol, "damaged")

    def backups(self, symbol: str) -> tuple[Path, ...]:
        """What was kept beside the file of `symbol` when it was replaced, oldest first."""
        path = self.path(symbol)
        kept = (one for one in path.parent.glob("*") if one.name.startswith(path.name))
        return tuple(sorted(one for one in kept if one.suffix in (".backup", ".damaged")))

    def near(self, symbol: str) -> tuple[str, ...]:
        """Up to three stored symbols that look like `symbol`, whatever the case."""
        known = {name.upper(): name for name in self.symbols()}
        close = difflib.get_close_matches(symbol.upper(), known, n=3, cutoff=0.5)
        return tuple(known[name] for name in close)

    def _existing(self, symbol: str) -> Path:
        path = self.path(symbol)
        if path.is_file():
            return path
        near = self.near(symbol)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise SymbolNotFoundError(
            f"No bars of {symbol!r} are stored under {str(self.folder)!r}.{hint} "
            f"Get them with: quantseq fetch {symbol}"
        )

    @contextmanager
    def _opened(self, symbol: str) -> Iterator[tuple[pq.ParquetFile, dict[str, Any]]]:
        """A stored file and its header; whatever is wrong with them is a CorruptFileError."""
        path = self._existing(symbol)
        try:
            with pq.ParquetFile(path) as file:
                yield file, _read_header(file.metadata.metadata, symbol)
        except Exception as error:
            raise CorruptFileError(
                f"{str(path)!r} cannot be read back: {error}. "
                f"Get the bars again with: quantseq fetch {symbol}"
            ) from error

    def write(self, bars: Bars) -> None:
        """Keep `bars` in place of whatever is stored under their symbol.

        Nothing never replaces something: a NoDataError if there are no bars. A StorageError if the folder
        is not writable, the disk is full, or another process keeps the lock.
        """
        with lock(self.folder / ".lock"):
            self._spare(bars.symbol)
            self._replace(bars)

    def update(self, symbol: str, change: Callable[[Bars | None], Bars]) -> Bars:
        """Read, change and replace one symbol's bars under the lock; gives what is stored now.

        `change` gets the stored bars (None if there are none, or if the file is damaged) and returns those
        to keep. What it raises goes through, and the stored file stays as it was. A damaged file is kept
        beside the new one, under a dated name that ends in ``.damaged``.
        """
        with lock(self.folder / ".lock"):
            path, old = self.path(symbol), None
            with suppress(SymbolNotFoundError, CorruptFileError):
                old = self.read(symbol)
            new = change(old)
            if new is not old:
                if old is None and path.is_file():
                    self.back_up(symbol, "damaged")
                self._replace(new)
        return new

    def read(self, symbol: str) -> Bars:
        """Bars of one symbol as they were written: raw prices, see `Bars.adjusted`.

        A SymbolNotFoundError if there are none, a CorruptFileError if their file cannot be read back exactly.
        """
        with self._opened(symbol) as (file, header):
            table = file.read(use_threads=False)
            bars = Bars(
                symbol,
                table["date"].to_numpy(),
                **{name: table[name].to_numpy() for name in FIELDS},
                timezone=header["timezone"],
                provenance=header["provenance"],
                interval=self.interval,
            )
            if bars.sha256 != header["sha256"]:
                raise ValueError("the prices do not match their SHA-256")
        return bars

    def panel(self, symbols: Iterable[str] | None = None) -> Panel:
        """Bars of several symbols, in the order given; None means everything that is stored.

        Raises as `read`, and a NoDataError if nothing is stored at all.
        """
        names = self.symbols() if symbols is None else tuple(symbols)
        if symbols is None and not names:
            raise NoDataError(
                f"No bars are stored under {str(self.folder)!r}. "
                "Get some first, for example: quantseq fetch AAPL MSFT"
            )
        return Panel(self.read(symbol) for symbol in names)

    def back_up(self, symbol: str, kind: str = "backup") -> Path:
        """Keep a copy of a stored file beside it, under a dated name; for callers inside `update`."""
        path = self._existing(symbol)
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        kept = path.with_name(f"{path.name}.{moment}.{kind}")
        write_bytes(kept, path.read_bytes())
        return kept

    def _replace(self, bars: Bars) -> None:
        if not len(bars):
            raise NoDataError(
                f"{bars.symbol} has no bars to store, and nothing never replaces something. "
                "Ask for a range that holds bars."
            )
        if bars.interval != self.interval:
            raise IntervalError(
                f"{bars.symbol}: bars of interval {bars.interval!r} cannot be kept among those of "
                f"{self.interval!r}. Use a store with their interval."
            )
        first, last = map(str, bars.sessions[[0, -1]])
        facts = StoredInfo(
            bars.symbol, len(bars), first, last, bars.timezone, bars.sha256, bars.provenance
        )
        header = facts._asdict() | {"provenance": dict(bars.provenance)}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        header |= {"schema": _SCHEMA, "interval": self.interval, "stored_at": now}
        text = json.dumps(header, default=str).encode()
        columns = {"date": bars.sessions} | {name: getattr(bars, name) for name in FIELDS}
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        if is_intraday(self.interval):
            moments = table["date"].cast(pa.timestamp("ms")).cast(pa.timestamp("ms", tz="UTC"))
            table = table.set_column(0, "date", moments)
        table = table.replace_schema_metadata({_HEADER: text, _SEAL: sha256_bytes(text)})
        with atomic_path(self.path(bars.symbol)) as temporary:
            pq.write_table(table, temporary, compression="zstd", use_dictionary=False)
