"""The one way anything reaches the disk: atomically, durably, under a lock where two may meet.

Owns temporary names, ``fsync``, ``os.replace``, locks, content hashes and where things lie (`Places`).
Knows nothing of prices, models or reports. A reader sees the old file or the new file, never half of one,
even when the process is killed at any moment. Whatever the disk or folder refuses is a `StorageError`.
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantseq.errors import ConfigError, CorruptFileError, StorageError

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn what the system says against `path` into an error of our own."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Cannot write {str(path)!r}: {error.strerror or error}. "
            "The folder must be writable and the disk must have room; choose another folder."
        ) from error


def make_folder(path: Path) -> Path:
    """Create a folder with its parents."""
    with _refusals(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def ensure_writable(folder: Path) -> Path:
    """Create a folder and make sure, before long work, that files can be written into it."""
    make_folder(folder)
    with _refusals(folder), tempfile.TemporaryFile(dir=folder):
        return folder


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it replaces `path`, else it vanishes.

    Missing parent folders are created. The temporary path keeps the suffix of `path`, because some writers
    look at it. After a failure `path` has its old content.
    """
    make_folder(path.parent)
    with _refusals(path):
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem[:80]}.", suffix=f".tmp{path.suffix}", dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the content of `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Replace the content of `path` atomically, in UTF-8."""
    write_bytes(path, text.encode())


def to_json(value: Any) -> str:
    """Indented JSON with NaN and infinities as null, so that every reader can parse it."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: Path, value: Any) -> None:
    """Replace `path` with `value` as JSON, atomically."""
    write_text(path, to_json(value))


def parse_json(text: str | bytes) -> Any:
    """JSON that may come from anybody; a ValueError unless every number is finite and nothing is nested absurdly."""

    def finite(digits: str) -> Any:
        value = int(digits) if digits.lstrip("-").isdigit() else float(digits)
        if not math.isfinite(value):  # an OverflowError for an int that no float can be
            raise ValueError(f"it holds the number {digits:.20}")
        return value

    how: Any = dict.fromkeys(("parse_int", "parse_float", "parse_constant"), finite)
    return _parse(lambda: json.loads(text, **how))


def parse_toml(text: str) -> dict[str, Any]:
    """TOML that may come from anybody; a ValueError as of `parse_json`."""
    found: dict[str, Any] = _parse(lambda: tomllib.loads(text))
    return found


_DEEPEST = 64


def _parse(parse: Callable[[], Any]) -> Any:
    try:
        found = parse()
        level: list[Any] = [[found]]
        for _ in range(_DEEPEST):
            lists = (one.values() if isinstance(one, dict) else one for one in level)
            level = [item for one in lists for item in one if isinstance(item, (dict, list))]
            if not level:
                return found
    except (RecursionError, OverflowError, MemoryError) as error:
        raise ValueError(
            f"it is nested too deeply, or holds a number that is none: {error}"
        ) from error
    raise ValueError(f"it is nested more than {_DEEPEST} deep")


def read_json(path: Path) -> Any:
    """Read a JSON file as `parse_json` does; a CorruptFileError if it is missing, unreadable or not JSON."""
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptFileError(
            f"Cannot read {str(path)!r} as JSON: {error}. It must be a file that quantseq wrote; "
            "delete it and run the command that makes it again."
        ) from error


def read_parquet(path: Path, columns: list[str] | None = None) -> "pd.DataFrame":
    """Read a Parquet file that may come from anybody; a CorruptFileError if it is none, or absurdly large.

    A few bytes can stand for any number of equal cells, so these are counted before memory is asked for.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows, width = file.metadata.num_rows, file.metadata.num_columns
            if rows * (width if columns is None else len(columns)) > _MOST_CELLS:
                raise ValueError(f"it has {rows:,} rows of {width:,} columns")
        return pd.read_parquet(path, columns=columns)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, pa.ArrowException) as error:
        raise CorruptFileError(
            f"Cannot read {str(path)!r} as Parquet: {error}. It must be a file that quantseq wrote; "
            "delete it and run the command that makes it again."
        ) from error


_MOST_CELLS = 500_000_000


def check_ours(path: Path, *marks: str) -> Path:
    """Give `path` back if quantseq may fill or replace it: it is new, empty, or holds every file of `marks`.

    Temporary files of a killed process count as nothing. A StorageError if anything else is in the way.
    """
    with _refusals(path):
        if path.is_dir():
            rest = [entry for entry in path.iterdir() if not fnmatch(entry.name, ".*.tmp*")]
            free = not rest or all((path / mark).is_file() for mark in marks)
        else:
            free = not path.exists()
    if not free:
        raise StorageError(
            f"{str(path)!r} was not written by quantseq for this (it holds no {' and '.join(marks)}), "
            "so it is left as it is. Give a new or empty folder."
        )
    return path


def remove_ours(path: Path, *marks: str) -> None:
    """Remove a folder of ours, if it is there; raises as `check_ours` does."""
    shutil.rmtree(check_ours(path, *marks), ignore_errors=True)


@contextmanager
def atomic_folder(path: Path, marks: Sequence[str], ours: Sequence[str] = ()) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; on success it takes the place of `path`.

    An older folder gives way only if it holds the files `marks`. Of its content, `marks` and what the patterns
    `ours` match go; what somebody put beside them is taken over. It is moved aside first and removed
    last; a kill between the two moves leaves it beside `path` under a hidden name.
    """
    make_folder(check_ours(path, *marks).parent)
    with _refusals(path):
        name = tempfile.mkdtemp(prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            if path.exists():
                _take_over(check_ours(path, *marks), temporary, [*marks, *ours])
                old = temporary.with_suffix(".old")
                path.replace(old)
                temporary.replace(path)
                shutil.rmtree(old, ignore_errors=True)
            else:
                temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _take_over(old: Path, new: Path, ours: Sequence[str]) -> None:
    for entry in old.iterdir():
        if (new / entry.name).exists() or any(fnmatch(entry.name, one) for one in ours):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, new / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, new / entry.name, follow_symlinks=False)


@contextmanager
def lock(path: Path, *, timeout: float = 60.0) -> Iterator[None]:
    """Hold an exclusive lock named `path` between processes, waiting at most `timeout` seconds for it."""
    from filelock import FileLock, Timeout

    make_folder(path.parent)
    held = FileLock(path, timeout=timeout)
    with _refusals(path):
        try:
            held.acquire()
        except Timeout as error:
            raise StorageError(
                f"Another quantseq process has held {str(path)!r} for {timeout:.0f} s. "
                "Wait for it to finish, then try again."
            ) from error
    try:
        yield
    finally:
        held.release()


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON form of `value`: equal content, equal fingerprint.

    A ConfigError if `value` holds something that JSON cannot.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Only JSON values have a fingerprint: {error}.") from error
    return sha256_bytes(text.encode())


@dataclass(frozen=True)
class Places:
    """Where things lie, relative to the working directory unless told otherwise."""

    data: Path = Path("data")  # the store of bars, and ``models/`` with the gate's records
    reports: Path = Path("reports")  # run folders and ``ledger.jsonl``

    @property
    def models(self) -> Path:
        """Trained models."""
        return self.data / "models"

    @property
    def gates(self) -> Path:
        """Records of architectures that were put through the copy gate."""
        return self.models / "gates"

    @property
    def cache(self) -> Path:
        """Finished parts of runs, by fingerprint; deleting them costs time only."""
        return self.data / "cache"

    @property
    def ledger(self) -> Path:
        """Every trial ever scored."""
        return self.reports / "ledger.jsonl"
