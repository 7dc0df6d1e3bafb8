"""What a batch still has to do, on disk, so that neither Ctrl-C nor a kill loses it.

Owns one small file per unfinished batch. Knows no source and no bars. ::

    <data>/fetches/<fingerprint>.json      the same command has the same file

A file is written before the first symbol is asked for, again after each one that took a request, and
deleted when nothing is left that another try could bring.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from quantseq.errors import CorruptFileError, StorageError
from quantseq.files import fingerprint, read_json, write_json

SCHEMA = 1


@dataclass(frozen=True)
class Batch:
    """What one fetch was asked for.

    Parameters
    ----------
    symbols : tuple of str
        In order, each once.
    source, interval : str
        Where from, and which bars.
    start, end : str or None
        ISO dates, both inclusive.
    full : bool
        Whether the whole history is fetched again.
    """

    symbols: tuple[str, ...]
    source: str
    interval: str = "1d"
    start: str | None = None
    end: str | None = None
    full: bool = False


class Backlog:
    """The part of a batch that is still to do.

    Parameters
    ----------
    root : Path
        The data folder.
    batch : Batch
        What was asked for.
    left : iterable of str, optional
        Symbols still to do; all of them by default.
    """

    def __init__(self, root: Path, batch: Batch, left: Iterable[str] | None = None) -> None:
        self.batch = batch
        self.left = list(batch.symbols if left is None else left)
        self.path = root / "fetches" / f"{fingerprint(asdict(batch))[:16]}.json"

    @classmethod
    def read(cls, path: Path) -> Self:
        """The backlog that `path` holds.

        Raises
        ------
        CorruptFileError
            If it was not written by this version of quantseq.
        """
        try:
            found = read_json(path)
            if found["schema"] != SCHEMA:
                raise ValueError(f"schema {found['schema']}")
            batch = Batch(**{**found["batch"], "symbols": tuple(found["batch"]["symbols"])})
            return cls(path.parent.parent, batch, [str(symbol) for symbol in found["left"]])
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFileError(
                f"{str(path)!r} is no list of symbols still to fetch ({error}). Delete it."
            ) from error

    def save(self) -> None:
        """Write what is left, or delete the file if nothing is."""
        if self.left:
            kept: dict[str, Any] = {
                "schema": SCHEMA,
                "batch": asdict(self.batch),
                "left": self.left,
            }
            write_json(self.path, kept)
            return
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"Cannot delete {str(self.path)!r}: {error.strerror}.") from error

    def done(self, symbol: str) -> None:
        """Strike `symbol` off; `save` makes it last."""
        self.left.remove(symbol)


def pending(root: Path) -> list[Backlog]:
    """Every unfinished batch under the data folder `root`, oldest first."""
    paths = (root / "fetches").glob("[!.]*.json")
    dated = sorted((path.stat().st_mtime_ns, path) for path in paths)
    return [Backlog.read(path) for _, path in dated]
