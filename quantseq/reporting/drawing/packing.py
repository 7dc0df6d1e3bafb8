"""Numbers packed small: columns become integers on a grid, integers become byte planes, planes are squeezed.

Owns the layout of a pack. Does not know what the numbers mean, nor how fine their grid should be.

A column lies on a grid of 1/`per`: an integer over `per` is its value, exactly the same on every
machine. Each column is written as it is, as differences from row to row, or as differences to the
first column, whichever is smallest, or not at all if an earlier one is the same; then zigzag, then
one plane per byte, lowest first, because the high bytes of neighbours are alike. A column too large
for its grid is kept as float64. The pack is SHA-256 (32 bytes) + zlib(JSON head + NUL + planes), with
a code of its own for every plane.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import RunError
from quantseq.market.bars import Floats

LARGEST = 2.0**52
"""Integers up to this size are exact in a float."""

_LEVEL = 9
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Column:
    """One column and the grid that it lies on.

    Parameters
    ----------
    name : str
    values : (n,) float64
        NaN where unknown; not infinite.
    per : int
        Steps of the grid in 1.
    """

    name: str
    values: Floats
    per: int


def on_grid(values: Any, per: int) -> Floats:
    """Values moved to the nearest step of a grid, as a pack gives them back; too large ones stay."""
    array = np.asarray(values, dtype=np.float64)
    return array if _too_large(array, per) else np.rint(array * per) / per


def with_carry(values: Any, per: int) -> Floats:
    """Values on a grid whose running sum is that of the values, to half a step; NaN stay."""
    array = np.asarray(values, dtype=np.float64)
    known = np.isfinite(array)
    steps = np.diff(np.rint(np.cumsum(array[known]) * per), prepend=0.0)
    result = array.copy()
    result[known] = steps / per
    return result


def with_signs(values: Any, per: int) -> Floats:
    """Values on a grid that keep their signs: 0 stays, anything else takes at least one step of its sign.

    What a value took too much or too little is carried on to the next, so the running sum strays by
    half a step, and by more while many values in a row are below one. NaN stay, and values that are too
    large for the grid.
    """
    array = np.asarray(values, dtype=np.float64)
    if _too_large(array, per):
        return array
    result, owed = array.copy(), 0.0
    for place in np.flatnonzero(np.isfinite(array)).tolist():
        wanted = float(array[place]) * per + owed
        step = round(wanted)
        if array[place] > 0:
            step = max(step, 1)
        elif array[place] < 0:
            step = min(step, -1)
        else:
            step = 0
        owed = wanted - step
        result[place] = step / per
    return result


def pack(head: Mapping[str, Any], columns: Sequence[Column]) -> bytes:
    """Any JSON values and some columns, as bytes; the same input gives the same bytes."""
    described: list[dict[str, Any]] = []
    planes: list[bytes] = []
    first: Integers | None = None
    seen: dict[tuple[int, bytes], str] = {}
    for column in columns:
        entry, body, first = _encode(column, first)
        twin = seen.setdefault((column.per, column.values.tobytes()), column.name)
        if twin != column.name:
            entry, body = {"name": column.name, "as": "same", "of": twin}, []
        described.append(entry)
        planes += body
    text = json.dumps(
        {"head": head, "columns": described},
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )
    squeezed = _squeeze([text.encode() + b"\0", *planes])
    return hashlib.sha256(squeezed).digest() + squeezed


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, Floats]]:
    """What `pack` was given: the head, and each column by name.

    Raises
    ------
    RunError
        If a single bit differs from what was packed.
    """
    digest, body = data[:32], data[32:]
    if hashlib.sha256(body).digest() != digest:
        raise RunError(
            "The embedded data do not match their checksum: they were changed or cut after they were "
            "written. Render the page again with `quantseq report RUN`."
        )
    text, _, planes = zlib.decompress(body).partition(b"\0")
    content = json.loads(text)
    found: dict[str, Floats] = {}
    first: Integers | None = None
    place = 0
    for entry in content["columns"]:
        if entry["as"] == "same":
            found[entry["name"]] = found[entry["of"]].copy()
            continue
        size = entry["rows"] * entry["bytes"]
        found[entry["name"]], first = _decode(entry, planes[place : place + size], first)
        place += size
    return content["head"], found


def packed_size(columns: Sequence[Column]) -> int:
    """Bytes that the columns take."""
    return len(pack({}, columns))


def _too_large(values: Floats, per: int) -> bool:
    return bool((np.abs(values[np.isfinite(values)]) * per > LARGEST).any()) or bool(
        np.isinf(values).any()
    )


def _encode(
    column: Column, first: Integers | None
) -> tuple[dict[str, Any], list[bytes], Integers | None]:
    values = np.asarray(column.values, dtype=np.float64)
    entry: dict[str, Any] = {"name": column.name, "rows": len(values)}
    if _too_large(values, column.per):
        return entry | {"bytes": 8, "as": "float"}, [values.astype("<f8").tobytes()], first
    unknown = np.isnan(values)
    numbers = np.rint(np.where(unknown, 0.0, values) * column.per).astype(np.int64)
    if unknown.any():
        entry["unknown"] = int(numbers.max(initial=0)) + 1
        numbers[unknown] = entry["unknown"]
    choices = {"plain": numbers, "steps": np.diff(numbers, prepend=0)}
    if first is not None and len(first) == len(numbers):
        choices["less first"] = numbers - first
    bodies = {kind: _planes(one) for kind, one in choices.items()}
    kind = min(bodies, key=lambda name: len(_squeeze(bodies[name])))
    entry |= {"bytes": len(bodies[kind]), "as": kind, "per": column.per}
    return entry, bodies[kind], numbers if first is None else first


def _decode(
    entry: Mapping[str, Any], body: bytes, first: Integers | None
) -> tuple[Floats, Integers | None]:
    if entry["as"] == "float":
        return np.frombuffer(body, "<f8").astype(np.float64), first
    numbers = _from_planes(body, entry["rows"], entry["bytes"])
    if entry["as"] == "steps":
        numbers = np.cumsum(numbers)
    elif entry["as"] == "less first":
        assert first is not None, "only a later column is written against the first"
        numbers = numbers + first
    values = numbers / entry["per"]
    if "unknown" in entry:
        values[numbers == entry["unknown"]] = np.nan
    return values, numbers if first is None else first


def _squeeze(parts: Sequence[bytes]) -> bytes:
    squeezer = zlib.compressobj(_LEVEL, strategy=zlib.Z_FILTERED)
    body = [squeezer.compress(part) + squeezer.flush(zlib.Z_FULL_FLUSH) for part in parts]
    return b"".join([*body, squeezer.flush()])


def _planes(numbers: Integers) -> list[bytes]:
    zigzag = ((numbers << 1) ^ (numbers >> 63)).astype("<u8")
    planes = zigzag.view(np.uint8).reshape(-1, 8).T
    width = 1 + max((k for k in range(8) if planes[k].any()), default=0)
    return [plane.tobytes() for plane in planes[:width]]


def _from_planes(body: bytes, rows: int, width: int) -> Integers:
    planes = np.zeros((8, rows), dtype=np.uint8)
    planes[:width] = np.frombuffer(body, np.uint8).reshape(width, rows)
    zigzag = np.ascontiguousarray(planes.T).view("<u8").ravel()
    return np.asarray(
        (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64)
    )
