"""How fresh bars join stored ones: only what is missing is asked for, and two vintages are never mixed.

Owns what is missing, when two sets of bars are parts of one history, and what is done when they are not.
Knows no source and no disk.

Sources rewrite adjusted history after splits and dividends. So every request overlaps what is stored, and
where the two disagree, or a split or dividend is new, the whole history is fetched again and takes the
place of the old one (**vintage drift**, reported; the old file is kept).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from quantseq.errors import BarsError
from quantseq.market.bars import FIELDS, PRICES, Bars
from quantseq.market.closing import Clock
from quantseq.market.intervals import as_date, date_range, exchange_dates, is_intraday

TOLERANCE = 1e-4
"""Largest relative difference between fresh and stored prices that still counts as the same vintage."""

OVERLAP = 10
"""Stored sessions that are asked for again, to compare."""


class Ask(NamedTuple):
    """A range of dates to ask a source for, both inclusive; None leaves a side open."""

    start: np.datetime64 | None
    end: np.datetime64 | None


class Missing(NamedTuple):
    """What to ask for before and after the stored bars; None: nothing."""

    front: Ask | None
    back: Ask | None


@dataclass(frozen=True)
class Join:
    """What becomes of stored and fresh bars together.

    Parameters
    ----------
    bars : Bars
        What is to be stored: the old ones themselves if nothing changed.
    why : str
        What changed, in one line.
    drift : bool
        Whether the source has rewritten what is stored.
    replaced : bool
        Whether all that is stored gives way; its file is then worth keeping.
    """

    bars: Bars
    why: str = ""
    drift: bool = False
    replaced: bool = False


def missing(old: Bars, *, start: Any, end: Any, clock: Clock) -> Missing:
    """What to ask for, so that `old` reaches from `start` to `end`.

    Parameters
    ----------
    old : Bars
        What is stored; not empty.
    start, end : date-like or None
        Both inclusive. Without `start` the stored bars are continued, unless all of the range lies
        before them; without `end` they are continued until now.
    clock : Clock
        What can be final by now.

    Returns
    -------
    Missing
        Each range overlaps what is stored by `OVERLAP` sessions. There is none at an end where nothing is
        missing, or where nothing more can be final yet.
    """
    first, last = date_range(start, end)
    dates = np.unique(exchange_dates(old.sessions, old.timezone))
    covered = covered_from(old)
    front = back = None
    if covered is not None and (
        first < covered if first is not None else last is not None and last < dates[0]
    ):
        front = Ask(first, dates[:OVERLAP][-1])
    if not clock.is_up_to_date(old.sessions[-1], last):
        back = Ask(dates[-OVERLAP:][0], last)
    return Missing(front, back)


def whole(old: Bars, *, start: Any, end: Any, forced: bool = False) -> Ask:
    """The range to ask for when all that is stored has to be fetched again.

    Parameters
    ----------
    old : Bars
        What is stored.
    start, end : date-like or None
        What is wanted besides.
    forced : bool
        Whether the user asked for it; without `start` that means all that the source has. Intraday
        bars, which sources forget, are always asked for as far back as there are any.
    """
    first, last = date_range(start, end)
    covered = covered_from(old)
    newest = exchange_dates(old.sessions[-1:], old.timezone)[0]
    if is_intraday(old.interval) or covered is None or (first is None and forced):
        begin = None
    else:
        begin = covered if first is None else min(first, covered)
    return Ask(begin, None if last is None else max(last, newest))


def covered_from(bars: Bars) -> np.datetime64 | None:
    """From which date on the source was asked for these bars; None: from its beginning."""
    if "start" in bars.provenance:
        start = bars.provenance["start"]
        return None if start is None else as_date(start)
    return np.datetime64(exchange_dates(bars.sessions[:1], bars.timezone)[0], "D")


def conflict(old: Bars, fresh: Bars) -> str | None:
    """Why the two cannot be parts of one history, or None.

    A new dividend counts even where no price differs yet, except below a day: intraday prices are not
    adjusted for dividends.
    """
    origins = str(old.provenance.get("source")), str(fresh.provenance.get("source"))
    if origins[0] != origins[1]:
        return f"the stored bars came from {origins[0]!r}, these from {origins[1]!r}"
    shared, left, right = np.intersect1d(
        old.sessions, fresh.sessions, assume_unique=True, return_indices=True
    )
    if not len(shared):
        return "they have no session in common"
    events = ("splits",) if is_intraday(old.interval) else ("splits", "dividends")
    later = fresh.sessions > old.sessions[-1]
    for name in events:
        values = getattr(fresh, name)
        new = later & (values != 0) & ((values != 1) if name == "splits" else True)
        if new.any():
            at = int(np.argmax(new))
            what = "split of ratio" if name == "splits" else "dividend of"
            return f"a {what} {values[at]:.6g} on {fresh.sessions[at]} is new"
    for name in (*PRICES, *events):
        before, after = getattr(old, name)[left], getattr(fresh, name)[right]
        apart = np.abs(after - before) / np.maximum(np.maximum(before, after), TOLERANCE)
        if (apart > TOLERANCE).any():
            at = int(np.argmax(apart))
            return (
                f"{name} differs on {int((apart > TOLERANCE).sum())} of {len(shared)} shared "
                f"sessions, most on {shared[at]}: {before[at]:.6g} stored, {after[at]:.6g} fetched"
            )
    return None


def extend(old: Bars, parts: Sequence[Bars], *, front: Ask | None = None) -> Join:
    """Add parts of the same vintage to `old`; where both hold a session, the fresh bar counts.

    Parameters
    ----------
    old : Bars
        What is stored.
    parts : sequence of Bars
        Fetched; none of them in `conflict` with `old`. May be empty.
    front : Ask, optional
        The range before the stored bars that has been asked for, whatever came of it.
    """
    sessions = np.unique(np.concatenate([old.sessions, *(part.sessions for part in parts)]))
    columns: dict[str, Any] = {name: np.empty(len(sessions)) for name in FIELDS}
    for bars in (old, *parts):
        where = np.searchsorted(sessions, bars.sessions)
        for name, column in columns.items():
            column[where] = getattr(bars, name)
    before = {name: old.provenance.get(name) for name in ("start", "end", "fetched_at")}
    covered = covered_from(old) if front is None else front.start
    facts = {
        "start": None if covered is None else str(covered),
        "extends": {"sha256": old.sha256, **before},
    }
    latest = parts[-1].provenance if parts else old.provenance
    if not parts or parts[-1].sessions[-1] <= old.sessions[-1]:
        facts["end"] = before["end"]
    merged = replace(old, sessions=sessions, **columns, provenance={**latest, **facts})
    if merged.sha256 == old.sha256:
        return Join(old if front is None else merged)
    added = len(merged) - len(old)
    return Join(merged, f"{added} new sessions" if added else "some stored sessions were revised")


def supersede(old: Bars, fresh: Bars, reason: str | None, *, forced: bool = False) -> Join:
    """Let a whole new history take the place of the old one.

    Parameters
    ----------
    old, fresh : Bars
        Stored, and fetched anew for all of that range.
    reason : str or None
        What made it necessary; None if it was only asked for.
    forced : bool
        Whether the user asked for it.

    Raises
    ------
    BarsError
        If `fresh` does not span what is stored, does not fit it either, and was not forced.
    """
    if fresh.sha256 == old.sha256:
        return Join(old)
    spans = fresh.sessions[0] <= old.sessions[0] and fresh.sessions[-1] >= old.sessions[-1]
    reason = reason or conflict(old, fresh)
    if not spans and reason is None:
        return extend(old, [fresh])
    if not spans and not forced:
        raise BarsError(
            f"{old.symbol}: the fetched bars ({fresh.sessions[0]} to {fresh.sessions[-1]}) do not fit "
            f"the stored ones ({old.sessions[0]} to {old.sessions[-1]}), which they do not span: "
            f"{reason}. Nothing was changed; vintages are never mixed. To start anew and keep the old "
            f"file as a backup, fetch {old.symbol} with --full"
        )
    gone = len(np.setdiff1d(old.sessions, fresh.sessions, assume_unique=True))
    less = f", {gone} sessions are gone" if gone else ""
    if reason is None:
        added = len(np.setdiff1d(fresh.sessions, old.sessions, assume_unique=True))
        return Join(fresh, f"fetched anew, {added} new sessions{less}", replaced=True)
    drift = old.provenance.get("source") == fresh.provenance.get("source")
    label = "vintage drift: " if drift else ""
    why = f"{label}{reason}{_moved(old, fresh)}; the whole history was replaced{less}"
    return Join(fresh, why, drift=drift, replaced=True)


def _moved(old: Bars, fresh: Bars) -> str:
    """By how much the adjusted closes of the shared sessions changed, in words."""
    _, left, right = np.intersect1d(
        old.sessions, fresh.sessions, assume_unique=True, return_indices=True
    )
    ratio = np.abs(fresh.adj_close[right] / old.adj_close[left] - 1)
    moved = ratio > TOLERANCE
    if not moved.any():
        return ""  # nothing is shared, or nothing differs
    return f" (adj_close of {int(moved.sum())} sessions changed, by up to {ratio.max():.2%})"
