"""How a download becomes stored bars: one symbol after the other, never losing what is there.

Owns the batch and the outcome of every symbol. Knows the `Source` protocol and the `Store`, but no source
in particular; what is asked for, and how it joins what is stored, is decided in `vintages`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from quantseq.errors import (
    BadResponseError,
    CorruptFileError,
    NoDataError,
    QuantseqError,
    RateLimitedError,
    SourceUnavailableError,
    StorageError,
    SymbolNotFoundError,
)
from quantseq.market.backlog import Backlog, Batch
from quantseq.market.bars import Bars
from quantseq.market.closing import Clock
from quantseq.market.intervals import date_range, is_intraday, monday
from quantseq.market.protocol import Source
from quantseq.market.store import Store
from quantseq.market.vintages import Ask, Join, conflict, extend, missing, supersede, whole

GIVE_UP_AFTER = 3
"""A batch stops asking after so many symbols in a row that failed for no fault of theirs."""
RETRYABLE = (SourceUnavailableError, RateLimitedError, StorageError)
"""What another try may cure."""

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
        Bars stored now; 0 if it failed.
    first, last : str
        The sessions that they span, "" if it failed.
    why : str
        What changed, or why it failed; one line.
    error : QuantseqError or None
        What failed.
    drift : bool
        Whether the source had rewritten what was stored (vintage drift).
    backup : str
        File name under which the replaced history is kept, "" if there is none.
    """

    symbol: str
    status: Status
    rows: int = 0
    first: str = ""
    last: str = ""
    why: str = ""
    error: QuantseqError | None = None
    drift: bool = False
    backup: str = ""


class _MovedError(Exception):
    """Another process has changed the stored bars while these were fetched."""


def fetch(
    batch: Batch,
    *,
    source: Source,
    store: Store,
    backlog: Backlog | None = None,
    on_symbol: Callable[[Outcome], None] | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[Outcome]:
    """Fetch and store bars of several symbols, at the interval of the store.

    A symbol that fails leaves its stored bars untouched, and the batch goes on. After
    `GIVE_UP_AFTER` symbols in a row that found the source or the disk unavailable, the rest is not asked
    for.

    Parameters
    ----------
    batch : Batch
        What to fetch.
    source : Source
        Where from.
    store : Store
        Where to.
    backlog : Backlog, optional
        Where what is left to do is kept on disk; only its symbols are fetched.
    on_symbol : callable, optional
        Called with each outcome as it happens.
    now : callable
        The time of day; it decides which sessions can be over.

    Returns
    -------
    list of Outcome
        One per symbol, in order.

    Raises
    ------
    BarsError
        If the range is reversed or no range at all.
    StorageError
        If what is left to do cannot be written.
    """
    date_range(batch.start, batch.end)
    outcomes: list[Outcome] = []
    hopeless = 0
    if backlog is not None:
        backlog.save()
    try:
        for symbol in batch.symbols if backlog is None else tuple(backlog.left):
            if hopeless < GIVE_UP_AFTER:
                outcome = _one(symbol, batch, source, store, now())
                hopeless = hopeless + 1 if isinstance(outcome.error, RETRYABLE) else 0
            else:
                why = f"not asked for: {hopeless} symbols in a row failed before it"
                outcome = Outcome(symbol, "failed", why=why, error=outcomes[-1].error)
            outcomes.append(outcome)
            if backlog is not None and not isinstance(outcome.error, RETRYABLE):
                backlog.done(symbol)
                if outcome.status != "unchanged":
                    backlog.save()
            if on_symbol is not None:
                on_symbol(outcome)
    finally:
        if backlog is not None:
            backlog.save()
    return outcomes


def _one(symbol: str, batch: Batch, source: Source, store: Store, now: datetime) -> Outcome:
    try:
        for _ in range(GIVE_UP_AFTER):
            try:
                return _Visit(symbol, batch, source, store, now).outcome()
            except _MovedError:
                continue
        raise StorageError(
            f"{symbol}: other processes keep changing the stored bars. Fetch it again later."
        )
    except QuantseqError as error:
        if isinstance(error, SymbolNotFoundError) and (near := store.near(symbol)):
            error = SymbolNotFoundError(f"{error} Stored are {', '.join(near)}.")
        return Outcome(symbol, "failed", why=str(error), error=error)


class _Visit:
    """One symbol's way from the store to the source and back."""

    def __init__(
        self, symbol: str, batch: Batch, source: Source, store: Store, now: datetime
    ) -> None:
        self.symbol = symbol
        self.batch = batch
        self.source = source
        self.store = store
        self.now = now

    def outcome(self) -> Outcome:
        """Ask for what is missing, and keep it."""
        old = self._stored(self.symbol, self.symbol.strip().upper())
        if old is None:
            return self._unknown()
        if self.batch.full:
            return self._keep(old, self._anew(old, None))
        if (origin := old.provenance.get("source")) != self.source.name:
            reason = f"the stored bars came from {str(origin)!r}, these from {self.source.name!r}"
            return self._keep(old, self._anew(old, reason))
        clock = Clock.of(old, self.now)
        gaps = missing(old, start=self.batch.start, end=self.batch.end, clock=clock)
        parts, silence = [], ""
        for ask in gaps:
            if ask is None:
                continue
            try:
                part = self._ask(ask)
            except NoDataError as error:
                if is_intraday(old.interval):
                    raise NoDataError(
                        f"{error} The stored bars end on {old.sessions[-1]} and stay as they are; to "
                        "start anew and keep them as a backup, use --full."
                    ) from error
                silence = f"nothing new: {error}"
                continue
            if part.symbol != old.symbol:
                return self._unknown()
            if (reason_apart := conflict(old, part)) is not None:
                return self._keep(old, self._anew(old, reason_apart))
            parts.append(part)
        join = extend(old, parts, front=gaps.front)
        return self._keep(old, replace(join, why=join.why or silence))

    def _stored(self, *names: str) -> Bars | None:
        """What is stored under the first of these names that there is; a damaged file is nothing."""
        for name in names:
            try:
                return self.store.read(name)
            except SymbolNotFoundError:
                continue
            except CorruptFileError:
                return None
        return None

    def _unknown(self) -> Outcome:
        """Ask as if nothing were stored, and only then look under the name that was answered."""
        fresh = self._ask(Ask(*date_range(self.batch.start, self.batch.end)))
        old = self._stored(fresh.symbol)
        if old is None:
            return self._keep(None, Join(fresh))
        return self._keep(old, supersede(old, fresh, None, forced=self.batch.full))

    def _anew(self, old: Bars, reason: str | None) -> Join:
        """The whole history once more, in place of the old one."""
        batch = self.batch
        fresh = self._ask(whole(old, start=batch.start, end=batch.end, forced=batch.full))
        if fresh.symbol != old.symbol:
            raise BadResponseError(
                f"{self.symbol}: the source {self.source.name!r} answers with bars of {fresh.symbol!r} "
                f"where it answered with {old.symbol!r} before. Fetch {fresh.symbol!r} by its name."
            )
        return supersede(old, fresh, reason, forced=batch.full)

    def _ask(self, ask: Ask) -> Bars:
        """One answer of the source: final bars of the asked range, with their provenance."""
        interval, name = self.store.interval, self.source.name
        if interval == "1wk" and ask.start is not None:  # whole weeks, whatever day was named
            ask = Ask(monday(ask.start), ask.end)
        try:
            bars = self.source.fetch(self.symbol, start=ask.start, end=ask.end, interval=interval)
            if not isinstance(bars, Bars) or bars.interval != interval:
                raise TypeError(f"the answer is no Bars of interval {interval!r}")
            bars = bars.between(ask.start, ask.end)
        except QuantseqError:
            raise
        except OSError as error:
            raise SourceUnavailableError(
                f"{self.symbol}: the source {name!r} cannot be reached "
                f"({type(error).__name__}: {error}). Try again later."
            ) from error
        except Exception as error:
            raise BadResponseError(
                f"{self.symbol}: the source {name!r} failed ({type(error).__name__}: {error}). "
                "Tell its makers, or use another source."
            ) from error
        bars = Clock.of(bars, self.now).drop_partial(bars)
        if not len(bars):
            raise NoDataError(
                f"{self.symbol}: the source {name!r} has no session in this range that is over. "
                "Widen the range, or wait until half an hour after the close."
            )
        asked = {
            "interval": interval,
            "start": None if ask.start is None else str(ask.start),
            "end": None if ask.end is None else str(ask.end),
            "fetched_at": self.now.isoformat(timespec="seconds"),
        }
        return replace(bars, provenance={**asked, **bars.provenance, "source": name})

    def _keep(self, old: Bars | None, join: Join) -> Outcome:
        """Put the bars into the store, if nobody else has touched it since."""
        backup = ""
        damaged = False

        def change(current: Bars | None) -> Bars:
            nonlocal backup, damaged
            if (current and current.sha256) != (old and old.sha256):
                raise _MovedError
            if current is None:
                damaged = join.bars.symbol in self.store
                return join.bars
            if join.bars is old:
                return current
            if join.replaced:
                backup = self.store.back_up(current.symbol).name
            return join.bars

        kept = self.store.update(join.bars.symbol, change)
        status: Status = "new"
        if old is not None:
            status = "unchanged" if kept.sha256 == old.sha256 else "updated"
        why = join.why
        if damaged:
            why = "took the place of a damaged file, which is kept beside it"
        if backup:
            why += f"; the old file is kept as {backup}"
        span = str(kept.sessions[0]), str(kept.sessions[-1])
        return Outcome(self.symbol, status, len(kept), *span, why, drift=join.drift, backup=backup)
