"""How a download becomes stored bars: one symbol after the other, never losing what is there.

Owns the batch, the merge of fresh with stored bars, and the outcome of every symbol. Knows the `Source`
protocol and the `Store`, but no source in particular.

The merge keeps one vintage. Sources rewrite adjusted history after splits and dividends, so fresh bars
may join stored ones only where both agree on the sessions that they share; otherwise only fresh bars that
span all of what is stored take its place (**vintage drift**, reported).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from quantseq.errors import (
    BarsError,
    QuantseqError,
    RateLimitedError,
    SourceUnavailableError,
    StorageError,
    SymbolNotFoundError,
)
from quantseq.market.bars import FIELDS, PRICES, Bars, date_range
from quantseq.market.sources import Source
from quantseq.market.store import Store

TOLERANCE = 1e-4
"""Largest relative difference between fresh and stored prices that still counts as the same vintage."""

GIVE_UP_AFTER = 3
"""A batch stops asking after so many symbols in a row that failed for no fault of theirs."""
_HOPELESS = (SourceUnavailableError, RateLimitedError, StorageError)

Status = Literal["new", "updated", "unchanged", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What became of one symbol of a batch.

    Parameters
    ----------
    symbol : str
        As it was asked for.
    status : str
        ``new``, ``updated``, ``unchanged`` or ``failed``.
    rows : int
        Sessions stored now; 0 if it failed.
    first, last : str
        The sessions that they span, "" if it failed.
    why : str
        What changed, or why it failed; one line.
    error : QuantseqError or None
        What failed.
    """

    symbol: str
    status: Status
    rows: int = 0
    first: str = ""
    last: str = ""
    why: str = ""
    error: QuantseqError | None = None


def fetch(
    symbols: Iterable[str],
    *,
    source: Source,
    store: Store,
    start: Any = None,
    end: Any = None,
    on_symbol: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Fetch and store bars of several symbols, at the interval of the store.

    A symbol that fails leaves its stored bars untouched, and the batch goes on. After
    `GIVE_UP_AFTER` symbols in a row that found the source or the disk unavailable, the rest is not asked
    for.

    Parameters
    ----------
    symbols : iterable of str
        What to fetch; repeated names count once.
    source : Source
        Where from.
    store : Store
        Where to.
    start, end : date-like, optional
        Both inclusive; None leaves that side open. Neither: the full history.
    on_symbol : callable, optional
        Called with each outcome as it happens.

    Returns
    -------
    list of Outcome
        One per symbol, in order.

    Raises
    ------
    BarsError
        If the range is reversed or no range at all.
    """
    date_range(start, end)
    outcomes: list[Outcome] = []
    hopeless = 0
    for symbol in dict.fromkeys(symbols):
        if hopeless < GIVE_UP_AFTER:
            outcome = _one(symbol, source, store, start, end)
            hopeless = hopeless + 1 if isinstance(outcome.error, _HOPELESS) else 0
        else:
            why = f"not asked for: {hopeless} symbols in a row failed before it"
            outcome = Outcome(symbol, "failed", why=why, error=outcomes[-1].error)
        outcomes.append(outcome)
        if on_symbol is not None:
            on_symbol(outcome)
    return outcomes


def _one(symbol: str, source: Source, store: Store, start: Any, end: Any) -> Outcome:
    try:
        fresh = source.fetch(symbol, start=start, end=end, interval=store.interval)
        status: Status = "new"
        why = ""

        def change(old: Bars | None) -> Bars:
            nonlocal status, why
            if old is None:
                if fresh.symbol in store:
                    why = "took the place of a damaged file, which is kept beside it"
                return fresh
            merged, why = merge(old, fresh)
            status = "unchanged" if merged is old else "updated"
            return merged

        kept = store.update(fresh.symbol, change)
    except QuantseqError as error:
        why = str(error)
        if isinstance(error, SymbolNotFoundError) and (near := store.near(symbol)):
            why += f" Stored are {', '.join(near)}."
        return Outcome(symbol, "failed", why=why, error=error)
    span = str(kept.sessions[0]), str(kept.sessions[-1])
    return Outcome(symbol, status, len(kept), *span, why)


def merge(old: Bars, fresh: Bars) -> tuple[Bars, str]:
    """Join fresh bars with those that are stored, without losing or mixing anything.

    Parameters
    ----------
    old, fresh : Bars
        Stored and fetched; neither is empty.

    Returns
    -------
    merged : Bars
        `old` itself if nothing changed. Where both hold a session, the fresh bar counts.
    why : str
        What changed.

    Raises
    ------
    BarsError
        If the two disagree and `fresh` does not span all of `old`.
    """
    conflict = _conflict(old, fresh)
    if conflict is not None:
        covers = fresh.sessions[0] <= old.sessions[0] and fresh.sessions[-1] >= old.sessions[-1]
        if covers:
            gone = len(np.setdiff1d(old.sessions, fresh.sessions, assume_unique=True))
            less = f", {gone} sessions are gone" if gone else ""
            return fresh, f"vintage drift: {conflict}; the whole history was replaced{less}"
        raise BarsError(
            f"{old.symbol}: the fetched bars ({fresh.sessions[0]} to {fresh.sessions[-1]}) do not fit "
            f"the stored ones ({old.sessions[0]} to {old.sessions[-1]}): {conflict}. "
            "Nothing was changed; vintages are never mixed. Fetch the full history, without --start "
            f"and --end, or remove the stored bars first with: quantseq data rm {old.symbol}"
        )
    sessions = np.union1d(old.sessions, fresh.sessions)
    columns: dict[str, Any] = {name: np.empty(len(sessions)) for name in FIELDS}
    for bars in (old, fresh):
        where = np.searchsorted(sessions, bars.sessions)
        for name, column in columns.items():
            column[where] = getattr(bars, name)
    provenance = fresh.provenance
    if fresh.sessions[0] > old.sessions[0] or len(sessions) > len(fresh):
        provenance = {**provenance, "extends": {"sha256": old.sha256, **_origin(old)}}
    merged = replace(fresh, sessions=sessions, **columns, provenance=provenance)
    if merged.sha256 == old.sha256:
        return old, ""
    added = len(merged) - len(old)
    return merged, f"{added} new sessions" if added else "some stored sessions were revised"


def _origin(bars: Bars) -> dict[str, Any]:
    return {name: bars.provenance.get(name) for name in ("start", "end", "fetched_at")}


def _conflict(old: Bars, fresh: Bars) -> str | None:
    """Why the two cannot be parts of one history, or None."""
    origins = str(old.provenance.get("source")), str(fresh.provenance.get("source"))
    if origins[0] != origins[1]:
        return f"the stored bars came from {origins[0]!r}, these from {origins[1]!r}"
    shared, left, right = np.intersect1d(
        old.sessions, fresh.sessions, assume_unique=True, return_indices=True
    )
    if not len(shared):
        return "they have no session in common"
    for name in (*PRICES, "dividends", "splits"):
        before, after = getattr(old, name)[left], getattr(fresh, name)[right]
        apart = np.abs(after - before) / np.maximum(np.maximum(before, after), TOLERANCE)
        if (apart > TOLERANCE).any():
            at = int(np.argmax(apart))
            return (
                f"{name} differs on {int((apart > TOLERANCE).sum())} of {len(shared)} shared sessions, "
                f"most on {shared[at]}: {before[at]:.6g} stored, {after[at]:.6g} fetched"
            )
    return None
