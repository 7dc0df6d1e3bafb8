"""Everything that is wrong with bars that `Bars` would refuse: all faults counted, not only the first.

Owns the rules that `Bars` enforces, as findings, and what is left of raw columns once they are cleaned.
Knows nothing of files. What is cleaned here is never stored: it only lets the other rules be checked too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantseq.market.bars import FIELDS, PRICES, Bars, Dates, Floats, find_fault
from quantseq.market.findings import Finding, Mask, finding
from quantseq.market.health import check

_OHLC = ("open", "high", "low", "close")


@dataclass(frozen=True, eq=False)
class RawBars:
    """One symbol's columns as somebody wrote them, without any rule.

    Parameters
    ----------
    symbol : str
        The name of the series.
    sessions : (n,) datetime64[D]
        Dates in the order of the file, NaT where there is none.
    columns : Mapping of str to (n,) float64
        Open, high, low, close and volume, and any of the other fields; NaN where there is no number.
    places : tuple of str
        Where each row stands, such as ``line 7``.
    unreadable : tuple of (str, str)
        Place and reason of every cell that is neither number nor date.
    timezone : str
        Exchange time zone, "" if unknown.
    """

    symbol: str
    sessions: Dates
    columns: Mapping[str, Floats]
    places: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...] = ()
    timezone: str = ""


def screen(raw: RawBars) -> tuple[Finding, ...]:
    """Every finding about raw bars, errors first: what `Bars` would refuse, then what `check` says.

    Rows that `Bars` would refuse are left out of the second half, and unsorted rows are sorted for it.

    Returns
    -------
    tuple of Finding
        Rules ``unreadable``, ``date``, ``order``, ``duplicate``, ``empty``, ``nan``, ``price``,
        ``negative``, and those of `check`. Findings about rows name date and place.
    """
    given = {"adj_close": raw.columns["close"], **raw.columns}
    empty = np.all([np.isnan(given[name]) for name in _OHLC], axis=0)
    undated = np.isnat(raw.sessions) | _bad_rows(raw.sessions)
    moves = np.diff(raw.sessions[~undated]).astype(np.int64)
    steps = -moves if (moves < 0).sum() > (moves > 0).sum() else moves
    missing, worthless, negative = (np.zeros(len(raw.sessions), dtype=bool) for _ in range(3))
    for name, column in given.items():
        missing |= ~np.isfinite(column) & ~empty
        if name in PRICES:
            worthless |= column <= 0
        else:
            negative |= column < 0
    _, first = np.unique(raw.sessions, return_index=True)
    again = ~undated
    again[first] = False
    unordered = np.flatnonzero(~undated)[1:][steps < 0]

    def about(rule: str, where: Mask | Any, message: str, *, error: bool = True) -> Finding | None:
        rows = np.flatnonzero(where) if where.dtype == bool else where
        return finding(
            rule, error, [f"{raw.sessions[at]} ({raw.places[at]})" for at in rows], message
        )

    found = [
        finding(
            "unreadable",
            True,
            [place for place, _ in raw.unreadable],
            f"cells that cannot be read, such as: {raw.unreadable[0][1]}" if raw.unreadable else "",
        ),
        about("date", undated, "rows without a date between 1600 and 2200"),
        about("order", unordered, "rows out of order"),
        about("duplicate", again, "sessions that appear more than once"),
        about("empty", empty, "rows without any price; they are left out", error=False),
        about("nan", missing, "rows that lack a number"),
        about("price", worthless, "prices that are zero or negative"),
        about("negative", negative, "volumes, dividends or splits below zero"),
    ]
    keep = ~(undated | empty | worthless | again)
    for name in PRICES:
        keep &= np.isfinite(given.get(name, given["close"]))
    rows = np.flatnonzero(keep)[np.argsort(raw.sessions[keep], kind="stable")]
    columns: dict[str, Any] = {name: np.zeros(len(rows)) for name in FIELDS}
    for name, column in given.items():
        clean = column[rows]
        columns[name] = np.where(np.isfinite(clean) & (clean >= 0), clean, 0.0)
    bars = Bars(raw.symbol, raw.sessions[rows], **columns, timezone=raw.timezone)
    listed = [one for one in (*found, *check(bars)) if one is not None]
    return tuple(sorted(listed, key=lambda one: one.severity))


def _bad_rows(sessions: Dates) -> Mask:
    """Dates that `Bars` refuses, row by row."""
    return np.array([find_fault(sessions[i : i + 1], {}) is not None for i in range(len(sessions))])
