"""The one way anything reaches the disk: atomically, durably, under a lock where two may meet.

Owns temporary names, ``fsync``, ``os.replace``, locks, seals and where things lie (`Places`), and what may be
replaced or removed at all: what quantseq has made of that kind. Knows nothing of prices, models or reports. A
reader sees the old file or the new file, never half of one, even when the process is killed at any moment.
Whatever the disk or folder refuses is a `StorageError`; what cannot be synced or marked there is none.
"""

import atexit
import ctypes
import errno
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
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


# Unfinished files and folders. Whoever makes one holds a lock on it, which ends with its process: what nobody
# holds any more is swept by the next process that writes beside it.
_UNFINISHED = re.compile(r"\.quantseq-\w{8}\.tmp(\.\w+)?")
_swept: set[Path] = set()


@contextmanager
def _unfinished(make: Callable[[], str]) -> Iterator[Path]:
    """Yield a new temporary file or folder, under a lock; it is gone afterwards, unless it was moved."""
    while True:
        path = Path(make())
        handle = _claimed(path)
        if handle is None or os.fstat(handle).st_nlink:  # else swept before it was claimed
            break
        os.close(handle)
    try:
        yield path
    finally:
        if handle is not None:
            os.close(handle)
        _discard(path)


def _claimed(path: Path) -> int | None:
    """A descriptor with an exclusive lock on a file or folder; None where the system or the disk knows none."""
    try:
        import fcntl

        handle = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _discard(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _sweep(folder: Path) -> None:
    """Remove what killed processes have left unfinished in a folder, the first time this process writes there."""
    if folder in _swept:
        return
    _swept.add(folder)
    for path in folder.glob(".quantseq-*"):
        if _UNFINISHED.fullmatch(path.name) and (handle := _claimed(path)) is not None:
            _discard(path)
            os.close(handle)


def scratch_folder() -> Path:
    """A new folder that is gone when this process ends; if that was killed, when another one asks for such a folder."""
    place, stack = Path(tempfile.gettempdir()), ExitStack()
    _sweep(place)
    atexit.register(stack.close)
    return stack.enter_context(_unfinished(lambda: tempfile.mkdtemp(".tmp", ".quantseq-", place)))


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it replaces `path`, else it vanishes.

    Missing parent folders are created. The temporary path keeps the suffix of `path`, because some writers
    look at it. After a failure `path` has its old content. A link is followed.
    """
    with _refusals(path):
        path = path.resolve()
    folder = make_folder(path.parent)
    _sweep(folder)

    def make() -> str:
        handle, name = tempfile.mkstemp(f".tmp{path.suffix[:40]}", ".quantseq-", folder)
        os.close(handle)
        return name

    with _refusals(path), _unfinished(make) as temporary:
        yield temporary
        with suppress(PermissionError):  # a share may know no modes
            temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb+") as written:
            sync(written.fileno())
        temporary.replace(path)
        _sync_folder(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync(handle: int) -> None:
    """Have an open file on the disk before going on; a disk that cannot promise it (a share) is no error."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):  # then it is not written
            raise


def _sync_folder(folder: Path) -> None:
    """Have a new name on the disk where folders can be synced; by now the write has happened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the content of `path` atomically; a pipe or device is written to."""
    with _refusals(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            path.write_bytes(data)
            return
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
_SEAL = "sealed"


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """An object as JSON holds it, with the fingerprint of all of it."""
    plain = json.loads(to_json(value))
    return {**plain, _SEAL: fingerprint(plain)}


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote of a `seal`, without it; a CorruptFileError if anything in it was changed."""
    value = read_json(path)
    if not isinstance(value, dict) or value.pop(_SEAL, None) != fingerprint(value):
        raise CorruptFileError(
            f"{str(path)!r} is damaged: it does not match its own SHA-256. Delete it and run the command "
            "that makes it again."
        )
    return value


SUMS = "SHA256SUMS"  # of the other files of a folder, as ``sha256sum --check`` reads it


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write the checksums of a folder's files, by name, anew."""
    write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def sums_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of these files of a folder, by name."""
    return {name: sha256_file(folder / name) for name in names}


def read_sums(folder: Path) -> dict[str, str]:
    """SHA-256 by file as ``SHA256SUMS`` has them; empty if it cannot be read."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines if line)}


def check_sums(folder: Path, names: Iterable[str]) -> None:
    """Make sure that ``SHA256SUMS`` knows these files and no others, and that they are as it says.

    CorruptFileError names every file that is missing, was changed, or has no sum.
    """
    sums, needed = read_sums(folder), list(names)
    wrong = [name for name in needed if not _is_sealed(folder / name, sums.get(name))]
    wrong += [f"{SUMS} ({name!r:.80})" for name in sums if name not in needed]
    if wrong:
        raise CorruptFileError(f"{', '.join(wrong)} in {str(folder)!r} do not match {SUMS}")


def _is_sealed(path: Path, digest: str | None) -> bool:
    try:
        return sha256_file(path) == digest
    except OSError:
        return False


def check_file(path: Path, *marks: bytes) -> Path:
    """Give `path` back if quantseq may write a file there: it is new, empty, or begins as one of ours.

    `marks` are what the first kilobytes of such a file of ours hold, one of them at least. Pipes and devices are
    nobody's. A StorageError if anything else is in the way.
    """
    with _refusals(path):
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(8192)
            free = not head or any(mark in head for mark in marks)
        else:
            free = not path.is_dir()
    if not free:
        raise StorageError(
            f"{str(path)!r} was not written by quantseq for this, so it is left as it is. "
            "Give another name, or move it away first."
        )
    return path


def check_ours(path: Path, *marks: str) -> Path:
    """Give `path` back if quantseq may fill or replace it: it is new, empty, or holds every file of `marks`.

    Unfinished files of a killed process count as nothing. A StorageError if anything else is in the way.
    """
    with _refusals(path):
        if path.is_dir():
            rest = [one for one in path.iterdir() if not _UNFINISHED.fullmatch(one.name)]
            free = not rest or all((path / mark).is_file() for mark in marks)
        else:
            free = not path.exists()
    if not free:
        raise StorageError(
            f"{str(path)!r} was not written by quantseq for this (it holds no {' and '.join(marks)}), "
            "so it is left as it is. Give a new or empty folder."
        )
    return path


def remove_ours(path: Path, *names: str) -> None:
    """Remove from a folder of ours the files that match the patterns `names`, and the folders that are then empty.

    What else somebody has put there stays. Raises as `check_ours` does, for the first of the names.
    """
    check_ours(path, names[0])
    for pattern in (*names[1:], names[0]):  # the mark last: a kill in between leaves it ours
        for file in sorted(path.glob(pattern)):
            if not _is_folder(file):
                file.unlink(missing_ok=True)
                with suppress(OSError):  # not empty
                    file.parent.rmdir()
    with suppress(OSError):
        path.rmdir()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


@contextmanager
def atomic_folder(path: Path, marks: Sequence[str], ours: Sequence[str] = ()) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; on success it takes the place of `path`.

    An older folder gives way only if it holds the files `marks`. Of its content, `marks` and what the patterns
    `ours` match go; what somebody put beside them is taken over. The two change places in one step where
    the system can do that; else a kill between two steps leaves the old one under a hidden name, from where the
    next call brings it back.
    """
    with _refusals(path):
        path = path.resolve()
    folder, old = make_folder(path.parent), path.with_name(f".{path.name}.quantseq-old")
    _sweep(folder)
    with (
        _refusals(path),
        _unfinished(lambda: tempfile.mkdtemp(".tmp", ".quantseq-", folder)) as temporary,
    ):
        if not path.exists() and all((old / mark).is_file() for mark in marks):
            old.replace(path)
        check_ours(path, *marks)
        yield temporary
        with suppress(PermissionError):
            temporary.chmod(0o777 & ~_umask())
        if path.exists():
            _take_over(check_ours(path, *marks), temporary, [*marks, *ours])
            if not _exchange(temporary, path):
                path.replace(old)
                temporary.replace(path)
                shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.replace(path)
        _sync_folder(folder)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step, if the system (Linux) and the disk can."""
    try:
        swap = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(swap(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _take_over(old: Path, new: Path, ours: Sequence[str]) -> None:
    for entry in old.iterdir():
        if (new / entry.name).exists() or any(fnmatch(entry.name, one) for one in ours):
            continue
        if _is_folder(entry):
            shutil.copytree(entry, new / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, new / entry.name, follow_symlinks=False)


@contextmanager
def lock(path: Path, *, timeout: float = 60.0, remedy: str = "then try again") -> Iterator[None]:
    """Hold an exclusive lock named `path` between processes, waiting at most `timeout` seconds for it.

    The system gives it up with the process, however that ends. A StorageError if somebody else has it still.
    """
    from filelock import FileLock, Timeout

    make_folder(path.parent)
    held = FileLock(path, timeout=timeout)
    with _refusals(path):
        try:
            held.acquire()
        except Timeout as error:
            since = (
                f"has held {str(path)!r} for {timeout:.0f} s" if timeout else f"holds {str(path)!r}"
            )
            raise StorageError(
                f"Another quantseq process {since}. Wait for it to finish, {remedy}."
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
