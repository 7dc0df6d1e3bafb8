"""Every trial ever scored, so that the deflated Sharpe ratio knows how many there were.

Owns one append-only file of JSON lines. Each line carries the hash of the line before it and its
own, so that an edited, inserted or removed line breaks the chain. Lines cut off the end break
nothing in the file itself, nor does a file that starts anew: every result keeps the `Ledger.head` that
it saw, `kept_heads` collects them, and `Ledger.verify` misses what they saw. Whoever rewrites the whole
chain and all results leaves no trace here. Knows nothing of what a trial is, beyond the fields that
count it.

A line
------
``prev``, ``hash``, whatever the caller recorded, and at least:

- ``returns_sha256``: hash of the net returns (`returns_hash`). Equal returns are one trial.
- ``sharpe``: Sharpe ratio per session, null where undefined.
- ``returns_file``, where the returns are kept: the file's path beside the ledger, with ``#`` and the
  column's name; see `check_returns`.
- ``kind``: "trial" by default; no other kind counts. Placebos and audits write no line at all.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from quantseq.errors import ConfigError, CorruptFileError, StorageError
from quantseq.files import (
    fingerprint,
    lock,
    parse_json,
    read_parquet,
    sha256_bytes,
    sync,
    to_json,
    write_bytes,
)

FIRST = "0" * 64  # what the first line has before it
Entry = dict[str, Any]


@dataclass(frozen=True)
class Ledger:
    """What stands in a ledger file: every whole line in order, and their line numbers from 1.

    ``torn`` are the numbers of lines that are no whole record: what a killed process leaves behind. They
    do not count and break nothing. `foreign` says that the file begins with no line of a ledger, whole or torn: it
    is somebody else's, and nothing is ever added to it.
    """

    entries: tuple[Entry, ...] = ()
    lines: tuple[int, ...] = ()
    torn: tuple[int, ...] = ()
    foreign: bool = False

    @property
    def head(self) -> str:
        """Hash of the last line: what a run records to notice lines cut off later."""
        return str(self.entries[-1].get("hash", "")) if self.entries else FIRST

    def verify(self, heads: Mapping[str, str] | None = None) -> str | None:
        """None if the chain holds, else what is wrong with the first line that breaks it.

        `heads` is what results saw as the last line, by their name (`kept_heads`): each must still be there.
        """
        if self.foreign:
            return "it does not begin with a line of a ledger: it is another file of that name"
        before = FIRST
        for line, entry in zip(self.lines, self.entries, strict=True):
            if entry.get("prev") != before:
                why = "a line was removed, inserted or moved"
                return f"line {line} does not follow the line before it: {why}"
            if entry.get("hash") != _hash(entry):
                return f"line {line} does not match its own hash: it was edited"
            before = str(entry["hash"])
        there = {FIRST, *(entry.get("hash") for entry in self.entries)}
        lost = [name for name, head in (heads or {}).items() if head not in there]
        if lost:
            more = f" (and {len(lost) - 1} more results saw)" if len(lost) > 1 else ""
            return (
                f"the line that {lost[0]} saw{more} as the last is gone: lines were cut off the end, or "
                "the file was replaced"
            )
        return None

    def standing(self) -> tuple[str, ...]:
        """Whether each entry counts: "yes", or why it does not.

        A trial counts once per distinct net return series; other kinds, and lines without returns, never.
        """
        found, seen = [], dict[str, int]()
        for line, entry in zip(self.lines, self.entries, strict=True):
            kind, content = entry.get("kind", "trial"), entry.get("returns_sha256")
            if kind != "trial":
                found.append(f"no: {kind}")
            elif not isinstance(content, str):
                found.append("no: no returns")
            else:
                first = seen.setdefault(content, line)
                found.append("yes" if first == line else f"no: line {first} again")
        return tuple(found)

    def trials(self) -> tuple[Entry, ...]:
        """The entries that count: of kind "trial", the first of each distinct net return series."""
        counted = zip(self.entries, self.standing(), strict=True)
        return tuple(entry for entry, counts in counted if counts == "yes")

    def n_trials(self) -> int:
        """How many distinct net return series were scored as trials."""
        return len(self.trials())

    def trial_sharpes(self) -> tuple[float, ...]:
        """Their Sharpe ratios per session, without the undefined ones."""
        values = (entry.get("sharpe") for entry in self.trials())
        return tuple(float(one) for one in values if isinstance(one, (int, float)))


def returns_hash(returns: Any) -> str:
    """Content hash of a return series: 64 hexadecimal digits, by its float64 values in order."""
    return sha256_bytes(np.ascontiguousarray(returns, dtype="<f8").tobytes())


def read(path: Path) -> Ledger:
    """Read a ledger; a missing file is an empty one, CorruptFileError if it cannot be read at all.

    Whether its chain holds is asked of the result, not assumed: see `Ledger.verify`.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Ledger()
    except OSError as error:
        raise CorruptFileError(
            f"Cannot read the ledger {str(path)!r}: {error.strerror or error}. It must be a readable "
            "file of JSON lines; move it aside to start a new one."
        ) from error
    entries, lines, torn = [], [], []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            with suppress(ValueError):
                if isinstance(entry := parse_json(line), dict):
                    entries.append(entry)
                    lines.append(number)
                    continue
            torn.append(number)
    foreign = _is_foreign(data, entries[0] if entries else None, lines[0] if lines else None)
    return Ledger(tuple(entries), tuple(lines), tuple(torn), foreign)


def _is_foreign(data: bytes, first: Entry | None, line: int | None) -> bool:
    """Whether a file begins with no line of ours: neither a whole one nor what a killed process leaves of it."""
    begun = [one for one in data.split(b"\n")[: line and line - 1] if one.strip()]
    if first is None:  # a line that was never finished has no end
        ours = not begun or not data.endswith(b"\n")
    else:
        ours = {"prev", "hash"} <= set(first)
    return not ours or any(not one.startswith(b"{") for one in begun)


def check_ledger(path: Path) -> Ledger:
    """What stands in the file, if lines may be added to it: StorageError if it begins with no line of a ledger."""
    known = read(path)
    if known.foreign:
        raise StorageError(
            f"{str(path)!r} does not begin with a line of a ledger, so it is left as it is and nothing is added to "
            "it. Move it away, or choose another reports folder."
        )
    return known


def append(path: Path, *entries: Mapping[str, Any]) -> list[Entry]:
    """Add lines of JSON values, locked against other processes and synced to the disk before returning.

    The file is created with its folder when missing; its lock is the same name with ``.lock``. Each entry must hold
    ``returns_sha256`` and ``sharpe``, and must not ``prev`` or ``hash``, else ConfigError and nothing is written; NaN
    become null. StorageError if the disk refuses or the lock is held too long, or if the file begins with no line of
    a ledger: what was in the file stays. Returns the lines as written.
    """
    written = [_complete(entry) for entry in entries]
    with lock(path.with_name(path.name + ".lock")):
        if not path.exists():
            write_bytes(path, b"")
        known = check_ledger(path)
        head, lines = known.head, ""
        for one in written:
            one["prev"] = head
            one["hash"] = head = _hash(one)
            lines += json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n"
        try:
            with path.open("rb+") as file:
                whole = file.read().endswith(b"\n") or not file.tell()
                file.write((lines if whole else "\n" + lines).encode())
                file.flush()
                sync(file.fileno())
        except OSError as error:
            raise StorageError(
                f"Cannot append to the ledger {str(path)!r}: {error.strerror or error}. The file must "
                "be writable and the disk must have room; choose another reports folder."
            ) from error
    return written


def _complete(entry: Mapping[str, Any]) -> Entry:
    if not {"returns_sha256", "sharpe"} <= set(entry) or {"prev", "hash"} & set(entry):
        raise ConfigError(
            "A ledger entry needs returns_sha256 and sharpe; prev and hash are the ledger's own. "
            f"Got {sorted(entry)}."
        )
    return dict(json.loads(to_json(entry)))


def kept_heads(folder: Path) -> dict[str, str]:
    """The heads that the results beside a ledger keep, by the name of their folder.

    A result is ``NAME/result.json`` with a ``ledger_head``; what cannot be read keeps none.
    """
    heads: dict[str, str] = {}
    for path in sorted(folder.glob("*/result.json")):
        try:
            found = re.findall(rb'"ledger_head": "([0-9a-f]{64})"', path.read_bytes())
        except OSError:
            continue
        heads |= {path.parent.name: found[-1].decode()} if found else {}
    return heads


def check_returns(folder: Path, entry: Mapping[str, Any]) -> Literal["kept", "missing", "changed"]:
    """Whether the net returns of a line are still where it says, beside the ledger, and the same."""
    name, _, column = str(entry.get("returns_file") or "").partition("#")
    path = folder / name
    if not name or not path.is_file():
        return "missing"
    try:
        values = read_parquet(path, [column])[column].to_numpy()
        return "kept" if returns_hash(values) == entry["returns_sha256"] else "changed"
    except (CorruptFileError, ValueError, KeyError, TypeError):
        return "changed"


def _hash(entry: Mapping[str, Any]) -> str:
    return fingerprint({name: value for name, value in entry.items() if name != "hash"})
