"""How fresh bars join stored ones: only what is missing is asked for, and two vintages are never mixed.

Owns a batch of symbols and the outcome of each, what is missing, when two sets of bars are parts of one history, and
what is done when they are not. Knows the `Source` protocol and the `Store`, but no source in particular.

Sources rewrite adjusted history after splits and dividends. So every request overlaps what is stored, and where the
two disagree, or a split or dividend is new, the whole history is fetched again and takes the place of the old one
(**vintage drift**, reported; the old file is kept). A batch that is stopped goes on when it is asked for again:
what is stored already is not asked for twice.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import numpy as np

from quantseq.errors import (
    BadResponseError,
    BarsError,
    ConfigError,
    CorruptFileError,
    NoDataError,
    QuantseqError,
    RateLimitedError,
    SourceUnavailableError,
    StorageError,
    SymbolNotFoundError,
)
from quantseq.market.bars import (
    FIELDS,
    PRICES,
    Bars,
    as_date,
    check_timezone,
    date_range,
    exchange_dates,
    is_intraday,
    monday,
)
from quantseq.market.calendars import Clock
from quantseq.market.health import describe_left_out
from quantseq.market.sources import Source
from quantseq.market.store import Store

# The largest relative difference of fresh and stored prices that still counts as the same vintage, and the
# stored sessions that are asked for again to compare.
TOLERANCE, OVERLAP = 1e-4, 10

GIVE_UP_AFTER = 3
"""A batch stops asking after so many symbols in a row that failed for no fault of theirs."""

RETRYABLE = (SourceUnavailableError, RateLimitedError, StorageError)
"""What another try may cure."""


class Ask(NamedTuple):
    """A range of dates to ask a source for, both inclusive; None leaves a side open."""

    start: np.datetime64 | None
    end: np.datetime64 | None


@dataclass(frozen=True)
class Join:
    """What becomes of stored and fresh bars together."""

    bars: Bars  # what is to be stored: the old ones themselves if nothing changed
    why: str = ""  # what changed, in one line
    drift: bool = False  # the source has rewritten what is stored
    replaced: bool = False  # all that is stored gives way; its file is then worth keeping


def missing(old: Bars, *, start: Any, end: Any, clock: Clock) -> tuple[Ask | None, Ask | None]:
    """What to ask for before and after `old`, so that it reaches from `start` to `end`; None: nothing.

    Both ends are inclusive. Without `start` the stored bars, of which there are some, are continued, unless
    all of the range lies before them; without `end` they are continued until now. Each range overlaps what
    is stored by `OVERLAP` sessions. There is none after `old` if nothing more can be final by `clock`.
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
    return front, back


def whole(old: Bars, *, start: Any, end: Any, forced: bool = False) -> Ask:
    """The range to ask for when all that is stored has to be fetched again.

    If the user `forced` it without `start`, that means all that the source has. Intraday bars, which
    sources forget, are always asked for as far back as there are any.
    """
    first, last = date_range(start, end)
    covered = covered_from(old)
    newest = exchange_dates(old.sessions[-1:], old.timezone)[0]
    begin = covered if first is None or covered is None else min(first, covered)
    if is_intraday(old.interval) or (first is None and forced):
        begin = None
    return Ask(begin, None if last is None else max(last, newest))


def covered_from(bars: Bars) -> np.datetime64 | None:
    """From which date on the source was asked for these bars; None: from its beginning."""
    start = bars.provenance.get("start", exchange_dates(bars.sessions[:1], bars.timezone)[0])
    return None if start is None else as_date(start)


def _shared(old: Bars, fresh: Bars) -> tuple[np.ndarray, ...]:
    """Sessions that both hold, and their rows in each."""
    return np.intersect1d(old.sessions, fresh.sessions, assume_unique=True, return_indices=True)


def conflict(old: Bars, fresh: Bars) -> str | None:
    """Why the two cannot be parts of one history, or None.

    A new dividend counts even where no price differs yet, except below a day: intraday prices are not
    adjusted for dividends.
    """
    origins = str(old.provenance.get("source")), str(fresh.provenance.get("source"))
    if origins[0] != origins[1]:
        return f"the stored bars came from {origins[0]!r}, these from {origins[1]!r}"
    shared, left, right = _shared(old, fresh)
    if not len(shared):
        return "they have no session in common"
    events = ("splits",) if is_intraday(old.interval) else ("splits", "dividends")
    later = fresh.sessions > old.sessions[-1]
    for name, what, none in (("splits", "split of ratio", 1.0), ("dividends", "dividend of", 0.0)):
        values = getattr(fresh, name)
        new = later & (values != 0) & (values != none) & (name in events)
        if new.any():
            at = int(np.argmax(new))
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

    None of the parts is in `conflict` with `old`. `front` is the range before it that has been asked for,
    whatever came of it.
    """
    sessions = np.unique(np.concatenate([old.sessions, *(part.sessions for part in parts)]))
    columns: dict[str, Any] = {name: np.empty(len(sessions)) for name in FIELDS}
    for bars in (old, *parts):
        where = np.searchsorted(sessions, bars.sessions)
        for name, column in columns.items():
            column[where] = getattr(bars, name)
    before = {name: old.provenance.get(name) for name in ("start", "end", "fetched_at")}
    covered = covered_from(old) if front is None else front.start
    facts = {**(parts[-1] if parts else old).provenance}
    if sessions[-1] == old.sessions[-1]:
        facts["end"] = before["end"]
    facts["start"] = None if covered is None else str(covered)
    facts["extends"] = {"sha256": old.sha256, **before}
    _join_left_out(facts, [old, *parts], set(sessions.astype(str)))
    merged = replace(old, sessions=sessions, **columns, provenance=facts)
    if merged.sha256 == old.sha256:
        return Join(old if front is None else merged)
    added = len(merged) - len(old)
    return Join(merged, f"{added} new sessions" if added else "some stored sessions were revised")


def _join_left_out(facts: dict[str, Any], parts: Sequence[Bars], kept: set[str]) -> None:
    """What was left out of any part unless another has it, and what is kept with its close alone, in place."""
    left_out: dict[str, list[str]] = {}
    for part in parts:
        for why, rows in part.provenance.get("left_out", {}).items():
            left_out[why] = sorted({*left_out.get(why, []), *rows} - kept)
    closes = {row for part in parts for row in part.provenance.get("closes_only", [])} & kept
    for name in ("left_out", "closes_only"):
        facts.pop(name, None)
    facts |= {"closes_only": sorted(closes)} if closes else {}
    if left_out := {why: rows for why, rows in left_out.items() if rows}:
        facts["left_out"] = left_out


def supersede(old: Bars, fresh: Bars, reason: str | None, *, forced: bool = False) -> Join:
    """Let a whole new history take the place of the old one.

    `reason` is what made it necessary, None if it was only asked for; `forced` if the user did. A BarsError
    if `fresh` neither spans what is stored nor fits it, and was not forced.
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
    shared, left, right = _shared(old, fresh)
    gone, added = len(old) - len(shared), len(fresh) - len(shared)
    less = f", {gone} sessions are gone" if gone else ""
    if reason is None:
        return Join(fresh, f"fetched anew, {added} new sessions{less}", replaced=True)
    drift = old.provenance.get("source") == fresh.provenance.get("source")
    label = "vintage drift: " if drift else ""
    ratio = np.abs(fresh.adj_close[right] / old.adj_close[left] - 1)
    moved = int((ratio > TOLERANCE).sum())
    by = f" (adj_close of {moved} sessions changed, by up to {ratio.max():.2%})" if moved else ""
    why = f"{label}{reason}{by}; the whole history was replaced{less}"
    return Join(fresh, why, drift=drift, replaced=True)


Status = Literal["new", "updated", "unchanged", "failed"]


@dataclass(frozen=True)
class FetchOutcome:
    """What became of one symbol of a batch."""

    symbol: str  # as it was asked for
    status: Status
    rows: int = 0  # bars stored now; 0 if it failed
    first: str = ""  # the sessions that they span, "" if it failed
    last: str = ""
    why: str = ""  # what changed, or why it failed; one line
    error: QuantseqError | None = None  # what failed
    drift: bool = False  # the source had rewritten what was stored (vintage drift)
    backup: str = ""  # file name under which the replaced history is kept, "" if there is none
    events: int | None = None  # scheduled events stored now, where they were asked for


class _MovedError(Exception):
    """Another process has changed the stored bars while these were fetched."""


def update(
    symbols: Sequence[str],
    *,
    source: Source,
    store: Store,
    start: Any = None,
    end: Any = None,
    full: bool = False,
    on_symbol: Callable[[FetchOutcome], None] | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[FetchOutcome]:
    """Fetch and store bars of several symbols, at the interval of the store.

    Both ends are inclusive; `full` fetches the whole history again. A symbol that fails leaves its stored
    bars untouched, and the batch goes on. After `GIVE_UP_AFTER` symbols in a row that found the source or
    the disk unavailable, the rest is not asked for.

    Gives one outcome per symbol, in order, each symbol once; `on_symbol` is called with each as it happens.
    The time of day, `now`, decides which sessions can be over. A range that is none is a BarsError.
    """
    asked = Ask(*date_range(start, end))
    outcomes: list[FetchOutcome] = []
    hopeless = 0
    for symbol in dict.fromkeys(symbols):
        if hopeless < GIVE_UP_AFTER:
            outcome = _Visit(symbol, asked, full, source, store, now()).outcome()
            hopeless = hopeless + 1 if isinstance(outcome.error, RETRYABLE) else 0
        else:
            why = f"not asked for: {hopeless} symbols in a row failed before it"
            outcome = FetchOutcome(symbol, "failed", why=why, error=outcomes[-1].error)
        outcomes.append(outcome)
        if on_symbol is not None:
            on_symbol(outcome)
    return outcomes


@dataclass(frozen=True)
class _Visit:
    """One symbol's way from the store to the source and back."""

    symbol: str
    asked: Ask
    full: bool
    source: Source
    store: Store
    now: datetime

    def outcome(self) -> FetchOutcome:
        """Ask for what is missing, and keep it; a failure is an outcome too."""
        try:
            for _ in range(GIVE_UP_AFTER):
                try:
                    return self._keep(*self._fetch())
                except _MovedError:
                    continue
            raise StorageError(
                f"{self.symbol}: other processes keep changing the stored bars. Fetch it again later."
            )
        except QuantseqError as error:
            if isinstance(error, SymbolNotFoundError) and (near := self.store.near(self.symbol)):
                error = SymbolNotFoundError(f"{error} Stored are {', '.join(near)}.")
            return FetchOutcome(self.symbol, "failed", why=str(error), error=error)

    def _fetch(self) -> tuple[Bars | None, Join]:
        """What is stored, and what it becomes."""
        old = self._stored(self.symbol, self.symbol.strip().upper())
        if old is None:
            return self._unknown()
        if self.full or old.provenance.get("source") != self.source.name:
            return old, self._anew(old, None)
        clock = Clock.of(old, self.now)
        front, back = missing(old, start=self.asked.start, end=self.asked.end, clock=clock)
        parts, silence = [], ""
        for ask in filter(None, (front, back)):
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
            if (apart := conflict(old, part)) is not None:
                return old, self._anew(old, apart)
            parts.append(part)
        join = extend(old, parts, front=front)
        return old, replace(join, why=join.why or silence)

    def _stored(self, *names: str) -> Bars | None:
        """What is stored under the first of these names that there is; a damaged file is nothing."""
        with suppress(CorruptFileError, StopIteration):
            return self.store.read(next(name for name in names if name in self.store))
        return None

    def _unknown(self) -> tuple[Bars | None, Join]:
        """Ask as if nothing were stored, and only then look under the name that was answered."""
        fresh = self._ask(self.asked)
        old = self._stored(fresh.symbol)
        return old, Join(fresh) if old is None else supersede(old, fresh, None, forced=self.full)

    def _anew(self, old: Bars, reason: str | None) -> Join:
        """The whole history once more, in place of the old one."""
        start, end = self.asked
        fresh = self._ask(whole(old, start=start, end=end, forced=self.full))
        if fresh.symbol != old.symbol:
            raise BadResponseError(
                f"{self.symbol}: the source {self.source.name!r} answers with bars of {fresh.symbol!r} "
                f"where it answered with {old.symbol!r} before. Fetch {fresh.symbol!r} by its name."
            )
        return supersede(old, fresh, reason, forced=self.full)

    def _ask(self, ask: Ask) -> Bars:
        """One answer of the source: final bars of the asked range, with their provenance."""
        interval, name = self.store.interval, self.source.name
        if interval == "1wk" and ask.start is not None:  # whole weeks, whatever day was named
            ask = Ask(monday(ask.start), ask.end)
        try:
            bars = self.source.fetch(self.symbol, start=ask.start, end=ask.end, interval=interval)
            if not isinstance(bars, Bars) or bars.interval != interval:
                raise TypeError(f"the answer is no Bars of interval {interval!r}")
            check_timezone(bars.timezone)
            bars = bars.between(ask.start, ask.end)
        except QuantseqError:
            raise
        except ImportError as error:
            raise ConfigError(
                f"{self.symbol}: the source {name!r} cannot be used here: a package that it needs is missing or "
                f"broken ({error}). Repair it with: pip install --force-reinstall {error.name or name}"
            ) from error
        except OSError as error:
            raise SourceUnavailableError(
                f"{self.symbol}: the source {name!r} cannot be reached "
                f"({type(error).__name__}: {error}). Try again later."
            ) from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # code of others may even exit
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
        facts = {side: None if day is None else str(day) for side, day in ask._asdict().items()}
        facts |= {"interval": interval, "fetched_at": self.now.isoformat(timespec="seconds")}
        return replace(bars, provenance={**facts, **bars.provenance, "source": name})

    def _keep(self, old: Bars | None, join: Join) -> FetchOutcome:
        """Put the bars into the store, if nobody else has touched it since."""
        backup, why = "", join.why

        def change(current: Bars | None) -> Bars:
            nonlocal backup, why
            if (current and current.sha256) != (old and old.sha256):
                raise _MovedError
            if current is None and join.bars.symbol in self.store:
                why = "took the place of a damaged file, which is kept beside it"
            if current is not None and join.replaced:
                backup = self.store.back_up(current.symbol).name
                why += f"; the old file is kept as {backup}"
            return current if current is not None and join.bars is old else join.bars

        kept = self.store.update(join.bars.symbol, change)
        status: Status = "new"
        if old is not None:
            status = "unchanged" if kept.sha256 == old.sha256 else "updated"
        span = str(kept.sessions[0]), str(kept.sessions[-1])
        told = "; ".join(filter(None, (why, describe_left_out(kept))))
        return FetchOutcome(
            self.symbol, status, len(kept), *span, told, drift=join.drift, backup=backup
        )
