"""What is stored, told from file names and footers alone: no price is read, and no heavy package.

Owns the folder layout, the file names and the header inside each file. Knows nothing of bars. ::

    <root>/bars/1d/AAPL.parquet        date, open, high, low, close, adj_close, volume, dividends, splits
    <root>/bars/1d/%5EGSPC.parquet     names are reversible: see `file_name`
    <root>/bars/1d/.lock               held while a file is replaced
    <root>/bars/5m/AAPL.parquet        date is then the moment at which the bar opens, in UTC
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from quantseq.errors import ConfigError, CorruptFileError, SymbolNotFoundError
from quantseq.files import lock, sha256_bytes

INTERVALS = ("1d", "1wk", "1h", "5m")
"""Bar lengths that the house can keep."""

SCHEMA = 1
HEADER, SEAL = b"quantseq", b"quantseq.sha256"
"""Keys of the Parquet metadata: what a file says about itself, and the SHA-256 of that."""

_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|COM\d|LPT\d)(\.|$)")
_LONGEST, _LONGEST_PATH = 160, 3000


def check_interval(interval: str) -> str:
    """Give `interval` back if the house knows it.

    Raises
    ------
    ConfigError
        If it does not.
    """
    if interval not in INTERVALS:
        raise ConfigError(f"The interval must be one of {', '.join(INTERVALS)}. Got {interval!r}.")
    return interval


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


class Catalogue:
    """The stored symbols under one folder, and what their files say about themselves.

    Parameters
    ----------
    root : Path
        The data folder; it is created when something is written.
    interval : str
        Bar length, one of `INTERVALS`; every interval has its own folder.

    Raises
    ------
    ConfigError
        If the interval is unknown.
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
        """Where the bars of `symbol` are kept, whether or not there are any.

        Raises
        ------
        ConfigError
            If the symbol is longer than any path may be.
        """
        name = file_name(symbol)
        if len(name) > _LONGEST_PATH:
            raise ConfigError(
                f"The symbol {symbol[:20]!r}... has {len(symbol)} characters, more than a file path "
                "holds. Give a symbol as exchanges write them."
            )
        return self.folder / f"{name}.parquet"

    def symbols(self) -> tuple[str, ...]:
        """Every stored symbol, sorted. Only names are looked at, no file is opened."""
        names = (
            path.relative_to(self.folder).with_suffix("").as_posix()
            for path in self.folder.rglob("*.parquet")
            if not path.name.startswith(".")
        )
        return tuple(sorted(symbol for name in names if (symbol := _own(name)) is not None))

    def info(self, symbol: str) -> StoredInfo:
        """What the file of `symbol` says about itself; fast, because no price is read.

        Raises
        ------
        SymbolNotFoundError
            If nothing is stored under this symbol.
        CorruptFileError
            If the file's header is damaged.
        """
        path = self._existing(symbol)
        try:
            header = read_header(_footer(path), symbol)
            return StoredInfo(**{name: header[name] for name in StoredInfo._fields})
        except Exception as error:
            raise self._corrupt(path, error) from error

    def infos(self) -> Iterator[tuple[str, StoredInfo | CorruptFileError]]:
        """Every stored symbol, sorted, with what its file says, or why it cannot be read."""
        for symbol in self.symbols():
            try:
                yield symbol, self.info(symbol)
            except CorruptFileError as error:
                yield symbol, error

    def remove(self, symbol: str) -> None:
        """Delete one symbol's bars, damaged or not.

        Raises
        ------
        SymbolNotFoundError
            If nothing is stored under this symbol.
        """
        self._existing(symbol)
        with lock(self.folder / ".lock"):
            self._existing(symbol).unlink()

    def backups(self, symbol: str) -> tuple[Path, ...]:
        """What was kept beside the file of `symbol` when it was replaced, oldest first."""
        path = self.path(symbol)
        kept = (path.parent / name for name in _names(path.parent) if name.startswith(path.name))
        return tuple(one for one in kept if one.suffix in (".backup", ".damaged"))

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

    def _corrupt(self, path: Path, error: Exception) -> CorruptFileError:
        symbol = symbol_of(path.relative_to(self.folder).with_suffix("").as_posix())
        return CorruptFileError(
            f"{str(path)!r} cannot be read back: {error}. "
            f"Get the bars again with: quantseq fetch {symbol}"
        )


def _names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []


def _own(name: str) -> str | None:
    """The symbol of a file name, or None if the name is none of ours."""
    try:
        symbol = symbol_of(name)
    except UnicodeDecodeError:
        return None
    return symbol if file_name(symbol) == name else None


def _footer(path: Path) -> dict[bytes, bytes]:
    """Header and seal out of a Parquet footer, in a tenth of a millisecond and without pyarrow.

    The footer is a Thrift structure in the compact protocol, its length before the closing ``PAR1``: a
    key is ``18 <length> <key>``, its value ``18 <length as varint> <value>``. The seal proves that the
    right bytes were found.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - 8, 0))
        tail = file.read()
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != b"PAR1" or length > size - 12:
            raise ValueError("it is no complete Parquet file")
        file.seek(size - 8 - length)
        footer = file.read(length)
    found = {}
    for key in (HEADER, SEAL):
        mark = bytes([0x18, len(key)]) + key + b"\x18"
        at = footer.find(mark) + len(mark)
        count = shift = 0
        while at >= len(mark) and at < len(footer):
            byte = footer[at]
            count |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                found[key] = footer[at : at + count]
                break
    return found


def read_header(metadata: Mapping[bytes, bytes] | None, symbol: str) -> dict[str, Any]:
    """The header of a file, once its seal and its symbol are checked.

    Raises
    ------
    ValueError
        If it is missing or damaged, of a newer schema, or of another symbol.
    """
    if not metadata or HEADER not in metadata or SEAL not in metadata:
        raise ValueError("it was not written by quantseq")
    text = metadata[HEADER]
    if sha256_bytes(text) != metadata[SEAL].decode():
        raise ValueError("its header does not match its SHA-256")
    header: dict[str, Any] = json.loads(text)
    if header["schema"] > SCHEMA:
        raise ValueError(f"schema {header['schema']} was written by a newer quantseq")
    if header["symbol"] != symbol:
        raise ValueError(f"it holds {header['symbol']!r} instead of {symbol!r}")
    return header
