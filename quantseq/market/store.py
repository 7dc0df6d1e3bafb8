"""Where bars are kept: one Parquet file per symbol and interval, with its provenance inside.

Owns the Parquet schema, reading and writing, and the lock between writers; `catalogue` owns names and
headers. Knows nothing of where bars come from or who reads them.

A reader sees the old file or the new one, never half of one. What is read back is checked against the
SHA-256 that was written with it.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from quantseq.errors import (
    CorruptFileError,
    IntervalError,
    NoDataError,
    StorageError,
    SymbolNotFoundError,
)
from quantseq.files import atomic_path, lock, sha256_bytes
from quantseq.market.bars import FIELDS, Bars, Panel
from quantseq.market.catalogue import HEADER, SCHEMA, SEAL, Catalogue, read_header
from quantseq.market.intervals import is_intraday


class Store(Catalogue):
    """Bars on disk under one folder: a `Catalogue` that can read and write them.

    Parameters
    ----------
    root : Path
        The data folder; it is created when something is written.
    interval : str
        Bar length, one of `quantseq.market.catalogue.INTERVALS`; every interval has its own folder.

    Raises
    ------
    ConfigError
        If the interval is unknown.
    """

    def write(self, bars: Bars) -> None:
        """Keep `bars` in place of whatever is stored under their symbol.

        Raises
        ------
        NoDataError
            If there are no bars: nothing never replaces something.
        StorageError
            If the folder is not writable, the disk is full, or another process keeps the lock.
        """
        with lock(self.folder / ".lock"):
            self._replace(bars)

    def update(self, symbol: str, change: Callable[[Bars | None], Bars]) -> Bars:
        """Read, change and replace one symbol's bars under the lock.

        Parameters
        ----------
        symbol : str
            What to update.
        change : Callable
            Gets the stored bars (None if there are none, or if the file is damaged) and returns those to
            keep. What it raises goes through, and the stored file stays as it was.

        Returns
        -------
        Bars
            What is stored now. A damaged file is kept beside it as ``*.damaged``.
        """
        with lock(self.folder / ".lock"):
            old, damaged = None, False
            try:
                old = self.read(symbol)
            except SymbolNotFoundError:
                pass
            except CorruptFileError:
                damaged = True
            new = change(old)
            if new is not old:
                path = self.path(symbol)
                if damaged:
                    path.replace(path.with_name(f"{path.name}.damaged"))
                self._replace(new)
        return new

    def read(self, symbol: str) -> Bars:
        """Bars of one symbol as they were written: raw prices, see `Bars.adjusted`.

        Raises
        ------
        SymbolNotFoundError
            If nothing is stored under this symbol.
        CorruptFileError
            If the file cannot be read back exactly as it was written.
        """
        path = self._existing(symbol)
        try:
            with pq.ParquetFile(path) as file:
                header = read_header(file.metadata.metadata, symbol)
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
        except Exception as error:
            raise self._corrupt(path, error) from error
        return bars

    def panel(self, symbols: Iterable[str] | None = None) -> Panel:
        """Bars of several symbols, in the order given; None means everything that is stored.

        Raises
        ------
        NoDataError
            If nothing is stored at all.
        SymbolNotFoundError
            If a symbol is not stored.
        CorruptFileError
            If a file is damaged.
        """
        names = self.symbols() if symbols is None else tuple(symbols)
        if symbols is None and not names:
            raise NoDataError(
                f"No bars are stored under {str(self.folder)!r}. "
                "Get some first, for example: quantseq fetch AAPL MSFT"
            )
        return Panel(self.read(symbol) for symbol in names)

    def back_up(self, symbol: str) -> Path:
        """Keep the stored file of `symbol` beside it under a dated name, and say which.

        Call it inside `update`, before the bars are replaced.
        """
        path = self._existing(symbol)
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        kept = path.with_name(f"{path.name}.{moment}.backup")
        try:
            shutil.copy2(path, kept)
        except OSError as error:
            raise StorageError(
                f"Cannot keep {str(path)!r} as {kept.name}: {error.strerror}. "
                "The folder must be writable and the disk must have room."
            ) from error
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
        header = {
            "schema": SCHEMA,
            "symbol": bars.symbol,
            "interval": self.interval,
            "rows": len(bars),
            "first": str(bars.sessions[0]),
            "last": str(bars.sessions[-1]),
            "timezone": bars.timezone,
            "sha256": bars.sha256,
            "stored_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "provenance": dict(bars.provenance),
        }
        text = json.dumps(header, default=str).encode()
        columns = {"date": bars.sessions} | {name: getattr(bars, name) for name in FIELDS}
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        if is_intraday(self.interval):
            moments = table["date"].cast(pa.timestamp("ms")).cast(pa.timestamp("ms", tz="UTC"))
            table = table.set_column(0, "date", moments)
        table = table.replace_schema_metadata({HEADER: text, SEAL: sha256_bytes(text)})
        with atomic_path(self.path(bars.symbol)) as temporary:
            pq.write_table(table, temporary, compression="zstd", use_dictionary=False)
