from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.errors import (
    BadResponseError,
    BarsError,
    NoDataError,
    QuantseqError,
    RateLimitedError,
    SourceUnavailableError,
    StorageError,
    SymbolNotFoundError,
)
from quantseq.market.bars import FIELDS, Bars
from quantseq.market.calendars import Clock
from quantseq.market.sources import SAMPLE_SYMBOLS, SampleSource, Source
from quantseq.market.store import Store
from quantseq.market.update import (
    GIVE_UP_AFTER,
    OVERLAP,
    Ask,
    FetchOutcome,
    conflict,
    covered_from,
    extend,
    missing,
    supersede,
    update,
    whole,
)
from tests.market.conftest import (
    LAW,
    Reply,
    Yahoo,
    assert_same_bars,
    build_bars,
    build_intraday,
    chart,
    good,
    source_for,
    stamp,
    utc,
)

LATER = Clock("1d", "", utc("2024-01-01T00:00")())
"""A moment at which anything may be missing."""


def day(text: str) -> np.datetime64:
    return np.datetime64(text, "D")


def asked(bars: Bars, start: str | None) -> Bars:
    """The same bars, asked for from `start` on (None: from the source's beginning)."""
    return replace(bars, provenance={**bars.provenance, "start": start})


def with_event(bars: Bars, name: str, at: int, value: float) -> Bars:
    values = getattr(bars, name).copy()
    values[at] = value
    return replace(bars, **{name: values})


@pytest.mark.parametrize(
    ("covered", "start", "end", "front", "back"),
    [
        # continued with an overlap of ten sessions: 2020-01-15 is the tenth from behind
        (None, None, None, None, ("2020-01-15", None)),
        ("2020-01-01", None, "2021-01-01", None, ("2020-01-15", "2021-01-01")),
        ("2020-01-01", "2020-06-01", None, None, ("2020-01-15", None)),  # no hole between
        # an end in the past
        (None, None, "2020-01-20", None, None),
        # an earlier start: up to the tenth session
        ("2020-01-01", "2019-01-01", "2020-01-10", ("2019-01-01", "2020-01-14"), None),
        (
            *("2020-01-01", "2019-01-01", None),
            *(("2019-01-01", "2020-01-14"), ("2020-01-15", None)),
        ),
        # what was asked for from the beginning has nothing before it
        (None, "1990-01-01", None, None, ("2020-01-15", None)),
        ("1990-01-01", "1995-01-01", None, None, ("2020-01-15", None)),
        # all of the range lies before
        ("2020-01-01", None, "2019-05-01", (None, "2020-01-14"), None),
    ],
)
def test_what_is_missing(covered: str | None, start: Any, end: Any, front: Any, back: Any) -> None:
    old = asked(build_bars(n=20), covered)  # 2020-01-01 to 2020-01-28
    gaps = missing(old, start=start, end=end, clock=LATER)
    for found, expected in zip(gaps, (front, back), strict=True):
        want = expected and Ask(*(None if one is None else day(one) for one in expected))
        assert found == want


def test_a_short_history_overlaps_with_all_of_it() -> None:
    front, back = missing(build_bars(n=3), start="2019-01-01", end=None, clock=LATER)
    assert front == Ask(day("2019-01-01"), day("2020-01-03"))
    assert back == Ask(day("2020-01-01"), None)


def test_an_intraday_overlap_is_counted_in_sessions() -> None:
    old = build_intraday(days=15)
    clock = Clock("1h", "America/New_York", utc("2024-03-01")(), "XNYS")
    _, back = missing(old, start=None, end=None, clock=clock)
    assert back == Ask(np.unique(old.sessions.astype("datetime64[D]"))[-OVERLAP], None)


def test_nothing_is_missing_when_the_exchange_was_closed_since() -> None:
    old = build_bars(start="2024-01-01", n=10, timezone="America/New_York")  # to Friday the 12th
    quiet = Clock("1d", "America/New_York", utc("2024-01-16T21:29")(), "XNYS")
    assert missing(old, start=None, end=None, clock=quiet) == (None, None)
    over = Clock("1d", "America/New_York", utc("2024-01-16T21:30")(), "XNYS")
    assert missing(old, start=None, end=None, clock=over)[1] == Ask(day("2024-01-01"), None)


@pytest.mark.parametrize(
    ("covered", "start", "end", "forced", "ask"),
    [
        ("2020-01-01", None, None, False, ("2020-01-01", None)),
        ("2020-01-01", None, None, True, (None, None)),
        ("2020-01-01", "2020-01-10", "2020-01-10", True, ("2020-01-01", "2020-01-28")),
        ("2020-01-01", "2019-01-01", "2021-01-01", False, ("2019-01-01", "2021-01-01")),
        (None, "2019-01-01", None, False, (None, None)),
    ],
)
def test_the_whole_spans_what_is_stored(
    covered: str | None, start: Any, end: Any, forced: bool, ask: Any
) -> None:
    found = whole(asked(build_bars(n=20), covered), start=start, end=end, forced=forced)
    assert found == Ask(*(None if one is None else day(one) for one in ask))


def cut(bars: Bars, rows: set[int]) -> Bars:
    keep = np.isin(np.arange(len(bars)), list(rows))
    fields = {name: getattr(bars, name)[keep] for name in FIELDS}
    return replace(bars, sessions=bars.sessions[keep], **fields)


ROWS = st.sets(st.integers(0, 29), min_size=1)


@given(ROWS, st.lists(ROWS, max_size=2))
@LAW
def test_parts_of_one_history_join_to_their_union(old: set[int], parts: list[set[int]]) -> None:
    """Law: whatever parts, nothing is lost, nothing invented, nothing mixed."""
    history = build_bars("A", n=30)
    fresh = [cut(history, rows) for rows in parts]
    for part in fresh:
        shares = bool(np.isin(part.sessions, cut(history, old).sessions).any())
        assert (conflict(cut(history, old), part) is None) == shares
    join = extend(cut(history, old), fresh)
    assert_same_bars(join.bars, cut(history, old.union(*parts)))
    assert not join.drift
    assert not join.replaced
    if len(join.bars) > len(old):
        assert join.why == f"{len(join.bars) - len(old)} new sessions"


@given(ROWS, ROWS, st.booleans(), st.booleans())
@LAW
def test_a_whole_history_takes_over_or_nothing_happens(
    old: set[int], new: set[int], rescaled: bool, forced: bool
) -> None:
    """Law: the result is one vintage: the fresh bars, the old ones, or a union of equals."""
    history = build_bars("A", n=30)
    before = cut(history, old)
    after = cut(replace(history, adj_close=history.close * 0.9) if rescaled else history, new)
    spans = min(new) <= min(old) and max(new) >= max(old)
    if not spans and not forced and (rescaled or not old & new):
        with pytest.raises(BarsError, match="with --full"):
            supersede(before, after, None)
        return
    join = supersede(before, after, None, forced=forced)
    results = [after, before] if rescaled else [after, before, cut(history, old | new)]
    assert join.bars.sha256 in {one.sha256 for one in results}
    if join.replaced:
        assert join.bars is after
        assert ("sessions are gone" in join.why) == bool(old - new)


@pytest.mark.parametrize(
    "name", ["open", "high", "low", "close", "adj_close", "dividends", "splits"]
)
def test_every_price_is_compared(name: str) -> None:
    old = build_bars()
    fresh = with_event(old, name, 3, getattr(old, name)[3] + 0.02).between("2020-01-02")
    reason = conflict(old, fresh)
    assert reason is not None
    assert reason.startswith(f"{name} differs on 1 of 7 shared sessions, most on 2020-01-06")


@pytest.mark.parametrize(("factor", "apart"), [(1 + 0.9e-4, False), (1 + 1.1e-4, True)])
def test_the_tolerance_is_one_in_ten_thousand(factor: float, apart: bool) -> None:
    old = build_bars()
    fresh = replace(old, adj_close=old.adj_close * factor)
    assert (conflict(old, fresh) is not None) == apart
    if not apart:
        join = extend(old, [fresh])
        assert join.why == "some stored sessions were revised"
        assert_same_bars(join.bars, fresh)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("splits", 4.0, "a split of ratio 4 on 2020-01-14 is new"),
        ("dividends", 1e-5, "a dividend of 1e-05 on 2020-01-14 is new"),
        ("splits", 1.0, None),  # not a split at all
    ],
)
def test_a_new_event_is_a_conflict_even_without_any_other_difference(
    name: str, value: float, reason: str | None
) -> None:
    new = with_event(build_bars(n=10), name, 9, value)
    assert conflict(build_bars(n=8), new.between("2020-01-06")) == reason
    known = with_event(build_bars(n=8), name, 7, value)
    assert conflict(known, known.between("2020-01-06")) is None  # known, in the overlap
    assert conflict(new, new.until("2020-01-08")) is None  # nothing later than what is stored


def test_intraday_prices_know_no_dividends_but_splits() -> None:
    old = build_intraday(days=2)
    long = build_intraday(days=3)
    assert conflict(old, with_event(long, "dividends", 15, 0.5)) is None
    assert "split" in (conflict(old, with_event(long, "splits", 15, 2.0)) or "")


def test_drift_is_told_with_its_size() -> None:
    old = build_bars("A", n=20)
    fresh = replace(build_bars("A", n=22), adj_close=build_bars("A", n=22).close * 0.98)
    join = supersede(old, fresh, "a dividend of 2 on 2020-01-29 is new")
    assert join.drift
    assert join.replaced
    assert join.why == (
        "vintage drift: a dividend of 2 on 2020-01-29 is new (adj_close of 20 sessions changed, by "
        "up to 2.00%); the whole history was replaced"
    )


def test_another_source_is_no_drift_but_is_said() -> None:
    old = replace(build_bars(), provenance={"source": "other"})
    join = supersede(old, build_bars(n=9), None)
    assert join.why.startswith("the stored bars came from 'other', these from 'test'")
    assert (join.drift, join.replaced) == (False, True)


def test_the_provenance_says_what_was_extended_and_how_far_back_was_asked() -> None:
    history = build_bars(n=10)
    old, fresh = asked(history.until("2020-01-08"), "2019-12-01"), history.between("2020-01-07")
    join = extend(old, [fresh])
    assert join.why == "4 new sessions"
    assert join.bars.provenance["extends"]["sha256"] == old.sha256
    assert covered_from(join.bars) == day("2019-12-01")
    wider = extend(old, [], front=Ask(day("2010-01-01"), day("2020-01-08")))
    assert wider.bars is not old  # nothing there, and never asked again
    assert covered_from(wider.bars) == day("2010-01-01")
    assert_same_bars(wider.bars, old)
    assert covered_from(build_bars()) == day("2020-01-01")
    assert extend(old, [old]).bars is old


NEW_YORK = "America/New_York"
NOW = utc("2024-06-01T00:00")


@dataclass
class Shelf:
    """A source that holds bars or errors by symbol and remembers what it was asked."""

    held: dict[str, Any]
    name: str = "test"
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def fetch(
        self, symbol: str, *, start: Any = None, end: Any = None, interval: str = "1d"
    ) -> Bars:
        self.asked.append((symbol, start and str(start), end and str(end)))
        found = self.held.get(symbol, SymbolNotFoundError(f"{symbol}: unknown."))
        if isinstance(found, BaseException):
            raise found
        if not isinstance(found, Bars):
            return found
        cut = found.between(start, end)
        if not len(cut):
            raise NoDataError(f"{symbol}: nothing in range.")
        return cut

    @property
    def symbols(self) -> list[str]:
        return [symbol for symbol, _, _ in self.asked]


def fetch(
    symbols: Sequence[str],
    source: Source,
    store: Store,
    *,
    on_symbol: Callable[[FetchOutcome], None] | None = None,
    now: Any = NOW,
    **asked: Any,
) -> list[FetchOutcome]:
    return update(symbols, source=source, store=store, on_symbol=on_symbol, now=now, **asked)


def backups(store: Store) -> list[Path]:
    return sorted(store.folder.glob("*.backup"))


def test_new_updated_unchanged_failed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    shelf = Shelf({"A": build_bars("A"), "B": build_bars("B")})
    happened: list[FetchOutcome] = []
    outcomes = fetch(["A", "X", "B", "A"], shelf, store, on_symbol=happened.append)
    assert happened == outcomes
    assert [(o.symbol, o.status, o.rows) for o in outcomes] == [
        ("A", "new", 8),
        ("X", "failed", 0),
        ("B", "new", 8),
    ]
    assert (outcomes[0].first, outcomes[0].last) == ("2020-01-01", "2020-01-10")
    assert isinstance(outcomes[1].error, SymbolNotFoundError)
    shelf.held["A"] = build_bars("A", n=10)
    again = fetch(["A", "B"], shelf, store)
    assert [(o.status, o.why) for o in again] == [("updated", "2 new sessions"), ("unchanged", "")]
    assert len(store.read("A")) == 10
    assert not backups(store)


def test_a_failed_fetch_touches_nothing_and_names_what_is_near(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(build_bars("AAPL"))
    before = store.path("AAPL").read_bytes()
    errors = [SymbolNotFoundError("gone"), SourceUnavailableError("down"), BarsError("bad")]
    for error in errors:
        (outcome,) = fetch(["AAPL"], Shelf({"AAPL": error}), store)
        assert outcome.status == "failed"
        assert type(outcome.error) is type(error)
    assert store.path("AAPL").read_bytes() == before
    (outcome,) = fetch(["APPL"], Shelf({}), store)
    assert outcome.why == str(outcome.error) == "APPL: unknown. Stored are AAPL."


def test_an_empty_answer_never_replaces_anything(tmp_path: Path) -> None:
    """A delisted symbol has no new bars: that is no failure of anything."""
    store = Store(tmp_path)
    store.write(build_bars("A"))
    for silence in (NoDataError("A: no prices"), build_bars("A").between("2030-01-01")):
        (outcome,) = fetch(["A"], Shelf({"A": silence}), store)
        assert (outcome.status, outcome.rows) == ("unchanged", 8)
        assert outcome.why.startswith("nothing new: A: ")
    (forced,) = fetch(["A"], Shelf({"A": NoDataError("A: no prices")}), store, full=True)
    assert (forced.status, forced.why) == ("failed", "A: no prices")
    (first,) = fetch(["B"], Shelf({"B": NoDataError("B: no prices")}), store)
    assert isinstance(first.error, NoDataError)
    assert_same_bars(store.read("A"), build_bars("A"))


@pytest.mark.parametrize("kind", [SourceUnavailableError, RateLimitedError])
def test_a_batch_stops_politely_and_goes_on_later(
    tmp_path: Path, kind: type[QuantseqError]
) -> None:
    symbols = [f"S{i}" for i in range(8)]
    shelf = Shelf({symbol: kind("no") for symbol in symbols} | {"S0": build_bars("S0")})
    store = Store(tmp_path)
    outcomes = fetch(symbols, shelf, store)
    assert shelf.symbols == symbols[: 1 + GIVE_UP_AFTER]
    assert [o.status for o in outcomes] == ["new"] + ["failed"] * 7
    assert "not asked for: 3 symbols in a row" in outcomes[-1].why
    assert isinstance(outcomes[-1].error, kind)

    later = Shelf({symbol: build_bars(symbol) for symbol in symbols[1:]})
    resumed = fetch(symbols, later, store, end=str(build_bars("S0").sessions[-1]))
    assert later.symbols == symbols[1:]  # what is stored is not asked for again
    assert [o.status for o in resumed] == ["unchanged"] + ["new"] * 7


def test_ctrl_c_and_a_kill_lose_nothing(tmp_path: Path) -> None:
    """Each symbol is on disk before the next is asked for, so the same batch goes on from there."""
    shelf = Shelf({"A": build_bars("A"), "B": KeyboardInterrupt(), "C": build_bars("C")})
    store = Store(tmp_path)

    def look(outcome: FetchOutcome) -> None:
        assert outcome.symbol == "X" or outcome.symbol in Store(tmp_path)

    with pytest.raises(KeyboardInterrupt):
        fetch(["X", "A", "B", "C"], shelf, store, on_symbol=look)
    assert store.symbols() == ("A",)
    later = Shelf({symbol: build_bars(symbol) for symbol in "ABC"})
    fetch("ABC", later, store, end=str(build_bars("A").sessions[-1]))
    assert later.symbols == ["B", "C"]
    assert store.symbols() == ("A", "B", "C")


def test_a_batch_goes_on_when_failures_are_not_in_a_row(tmp_path: Path) -> None:
    held: dict[str, Any] = {f"S{i}": SourceUnavailableError("no") for i in range(6)}
    held["S2"] = build_bars("S2")
    shelf = Shelf(held)
    fetch(list(held), shelf, Store(tmp_path))
    assert shelf.symbols == list(held)


def test_unwritable_store_is_an_outcome(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    shelf = Shelf({"A": build_bars("A")})
    (outcome,) = fetch(["A"], shelf, Store(tmp_path / "file"))
    assert "Cannot write" in outcome.why


def test_reversed_range_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    shelf = Shelf({})
    with pytest.raises(BarsError, match="reversed"):
        fetch(["A"], shelf, Store(tmp_path), start="2020-01-02", end="2020-01-01")
    assert not shelf.asked


def test_a_damaged_file_is_replaced_and_kept_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(build_bars("A"))
    store.path("A").write_bytes(b"rubbish")
    (outcome,) = fetch(["A"], Shelf({"A": build_bars("A")}), store)
    assert outcome.status == "new"
    assert "damaged file, which is kept" in outcome.why
    assert_same_bars(store.read("A"), build_bars("A"))


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path)
    whole = build_bars("A", n=60)  # 2020-01-01 to 2020-03-24
    shelf = Shelf({"A": whole})
    fetch(["A"], shelf, store, start="2020-02-03", end="2020-02-28")
    fetch(["A"], shelf, store)
    fetch(["A"], shelf, store, start="2020-01-01")
    fetch(["A"], shelf, store, start="2020-01-01", end="2020-03-01")
    assert shelf.asked == [
        ("A", "2020-02-03", "2020-02-28"),
        ("A", "2020-02-17", None),  # ten sessions back
        ("A", "2020-01-01", "2020-02-14"),  # up to the tenth session,
        ("A", "2020-03-11", None),  # and whether anything is new
    ]
    assert_same_bars(store.read("A"), whole)


def test_nothing_is_asked_when_the_last_session_is_stored(tmp_path: Path) -> None:
    """Friday evening is stored; until Tuesday evening (Monday is a holiday) nobody is asked."""
    store = Store(tmp_path)
    days = build_bars("A", start="2024-01-01", n=11, timezone=NEW_YORK)
    shelf = Shelf({"A": days})
    (friday,) = fetch(["A"], shelf, store, now=utc("2024-01-13T12:00"))
    assert (friday.status, friday.last) == ("new", "2024-01-12")
    for moment in ("2024-01-13T12:00", "2024-01-15T22:00", "2024-01-16T21:29"):
        (outcome,) = fetch(["A"], shelf, store, now=utc(moment))
        assert outcome.status == "unchanged"
    assert len(shelf.asked) == 1
    shelf.held["A"] = build_bars("A", start="2024-01-01", n=12, timezone=NEW_YORK)
    fetch(["A"], shelf, store, now=utc("2024-01-16T21:31"))
    assert len(shelf.asked) == 2


def test_a_bar_is_not_stored_before_its_session_is_over_whatever_the_source(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    shelf = Shelf({"A": build_bars("A", start="2024-01-01", n=5, timezone=NEW_YORK)})
    (open_,) = fetch(["A"], shelf, store, now=utc("2024-01-05T21:29"))
    assert open_.last == "2024-01-04"
    (closed,) = fetch(["A"], shelf, store, now=utc("2024-01-05T21:30"))
    assert (closed.last, closed.why) == ("2024-01-05", "1 new sessions")
    (none,) = fetch(
        ["B"],
        Shelf({"B": build_bars("B", start="2024-01-05", n=1, timezone=NEW_YORK)}),
        store,
        now=utc("2024-01-05T20:00"),
    )
    assert isinstance(none.error, NoDataError)


def test_drift_replaces_everything_and_keeps_the_old_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = build_bars("A", n=20)
    shelf = Shelf({"A": old})
    fetch(["A"], shelf, store)
    before = store.path("A").read_bytes()
    drifted = replace(build_bars("A", n=22), adj_close=build_bars("A", n=22).close * 0.98)
    shelf.held["A"] = drifted
    (outcome,) = fetch(["A"], shelf, store, start="2020-01-20")
    assert shelf.asked[1:] == [("A", "2020-01-15", None), ("A", None, None)]
    assert outcome.status == "updated"
    assert outcome.drift
    assert outcome.why.startswith("vintage drift: adj_close differs on 10 of 10 shared sessions")
    assert "(adj_close of 20 sessions changed, by up to 2.00%)" in outcome.why
    assert_same_bars(store.read("A"), drifted)
    (kept,) = backups(store)
    assert outcome.backup == kept.name
    assert kept.read_bytes() == before


def test_a_source_that_forgot_the_past_changes_nothing_unless_forced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    whole = build_bars("A", n=40)
    fetch(["A"], Shelf({"A": whole}), store)
    tail = whole.between("2020-01-30")
    drifted = replace(tail, adj_close=tail.close * 0.98)
    shelf = Shelf({"A": drifted})
    (outcome,) = fetch(["A"], shelf, store)
    assert isinstance(outcome.error, BarsError)
    assert "fetch A with --full" in outcome.why
    assert_same_bars(store.read("A"), whole)
    (agrees,) = fetch(["A"], Shelf({"A": tail}), store, full=True)
    assert agrees.status == "unchanged"  # a shorter history that agrees takes nothing away
    (forced,) = fetch(["A"], shelf, store, full=True)
    assert "21 sessions are gone; the old file is kept as" in forced.why
    assert_same_bars(store.read("A"), drifted)
    assert len(backups(store)) == 1


def test_full_asks_for_everything_and_keeps_the_old_file_only_if_it_differs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    whole = build_bars("A", n=20)
    shelf = Shelf({"A": whole})
    fetch(["A"], shelf, store, start="2020-01-10")
    (more,) = fetch(["A"], shelf, store, full=True)
    assert shelf.asked[-1] == ("A", None, None)
    assert (more.status, more.rows, more.drift) == ("updated", 20, False)
    assert more.why.startswith("fetched anew, 7 new sessions; the old file is kept as A.parquet.")
    (same,) = fetch(["A"], shelf, store, full=True)
    assert same.status == "unchanged"
    assert len(backups(store)) == 1


def test_sources_are_never_mixed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    other = replace(build_bars("A", n=20), provenance={"source": "other"})
    store.write(other)
    (part,) = fetch(["A"], Shelf({"A": build_bars("A", n=10)}), store)
    assert isinstance(part.error, BarsError)
    assert "came from 'other', these from 'test'" in part.why
    assert_same_bars(store.read("A"), other)
    (whole,) = fetch(["A"], Shelf({"A": build_bars("A", n=21)}), store)
    assert (whole.status, whole.drift, len(backups(store))) == ("updated", False, 1)
    assert store.read("A").provenance["source"] == "test"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (ValueError("boom"), BadResponseError, "'test' failed (ValueError: boom)"),
        (ConnectionError("no"), SourceUnavailableError, "cannot be reached (ConnectionError: no)"),
        ("not bars", BadResponseError, "no Bars of interval '1d'"),
        (build_intraday("A"), BadResponseError, "no Bars of interval '1d'"),
    ],
)
def test_a_strange_source_ends_nothing_but_its_symbol(
    tmp_path: Path, answer: Any, kind: type[QuantseqError], words: str
) -> None:
    shelf = Shelf({"A": answer, "B": build_bars("B")})
    bad, good_ = fetch(["A", "B"], shelf, Store(tmp_path))
    assert type(bad.error) is kind
    assert words in bad.why
    assert good_.status == "new"


def test_names_are_as_the_source_writes_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sample = SampleSource()
    fetch(["aapl"], sample, store)
    assert store.symbols() == ("AAPL",)
    (again,) = fetch(["aapl"], sample, store)
    assert (again.symbol, again.status) == ("aapl", "unchanged")
    named = Shelf({"apple": build_bars("Apple"), "Apple": build_bars("Apple", n=9)})
    assert fetch(["apple"], named, store)[0].status == "new"
    assert fetch(["Apple"], named, store)[0].why == "1 new sessions"
    assert fetch(["apple"], named, store)[0].status == "unchanged"


def test_what_another_process_stores_meanwhile_is_not_lost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    whole = build_bars("A", n=40)
    store.write(whole.until("2020-01-20"))

    @dataclass
    class Busy(Shelf):
        times: int = 1

        def fetch(self, symbol: str, **asked: Any) -> Bars:
            answer = super().fetch(symbol, **asked)
            if self.times:
                self.times -= 1
                count = len(store.read("A")) + 3
                store.write(whole.until(whole.sessions[count]))
            return answer

    (outcome,) = fetch(["A"], Busy({"A": whole}), store)
    assert outcome.status == "updated"
    assert_same_bars(store.read("A"), whole)
    store.write(whole.until("2020-01-20"))
    (never,) = fetch(["A"], Busy({"A": whole}, times=9), store)
    assert isinstance(never.error, StorageError)


def test_intraday_bars_are_continued_and_holes_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, interval="1h")
    whole = build_intraday("A", days=40)
    shelf = Shelf({"A": whole.between("2024-01-02", "2024-01-19")})
    fetch(["A"], shelf, store, now=utc("2024-01-20T00:00"))
    shelf.held["A"] = whole
    (more,) = fetch(["A"], shelf, store)
    assert more.status == "updated"
    assert_same_bars(store.read("A"), whole)
    forgotten = Shelf({"A": NoDataError("A: only 60 days.")})
    (hole,) = fetch(["A"], forgotten, store)
    assert isinstance(hole.error, NoDataError)
    assert "use --full" in hole.why
    later = Shelf({"A": build_intraday("A", start="2024-05-01")})
    (gap,) = fetch(["A"], later, store)
    assert gap.status == "failed"
    assert_same_bars(store.read("A"), whole)


def test_weeks_are_whole_whatever_day_was_named(tmp_path: Path) -> None:
    store = Store(tmp_path, interval="1wk")
    weeks = np.datetime64("2024-01-01") + 7 * np.arange(20)
    whole = replace(build_bars("A", n=20), sessions=weeks, interval="1wk")
    shelf = Shelf({"A": whole})
    fetch(["A"], shelf, store, start="2024-01-31", end="2024-02-29")  # Wednesday to Thursday
    assert store.read("A").sessions.astype(str).tolist() == [
        *("2024-01-29", "2024-02-05", "2024-02-12", "2024-02-19", "2024-02-26")
    ]
    fetch(["A"], shelf, store, start="2024-01-03")
    assert shelf.asked[1:] == [("A", "2024-01-01", "2024-02-26"), ("A", "2024-01-29", None)]
    assert_same_bars(store.read("A"), whole)


DAYS = [str(one) for one in np.busday_offset("2024-01-02", np.arange(16))]


def yahoo_with(yahoo: Yahoo, days: list[str], **chart_of: Any) -> list[str]:
    """Let Yahoo answer with those of `days` that are asked for; returns the days asked from."""
    starts: list[str] = []

    def answer(symbol: str, query: dict[str, str]) -> Reply:
        if "period1" not in query:
            return good(chart(days))
        keep = [
            i
            for i, one in enumerate(days)
            if int(query["period1"]) <= stamp(one) < int(query["period2"])
        ]
        starts.append(days[keep[0]])
        close = [100.0 + i for i in keep]
        adjusted = chart_of.get("factor", 1.0)
        return good(
            chart(
                [days[i] for i in keep],
                close=[c / chart_of.get("ratio", 1.0) for c in close],
                adjclose=[c / chart_of.get("ratio", 1.0) * adjusted for c in close],
                events=chart_of.get("events"),
                exchange="NMS",
                volume=[1000 + i for i in keep],
            )
        )

    yahoo.answer = answer
    return starts


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        (
            "DIVI",
            {
                "factor": 0.9999999,  # far too small to be seen in the overlap
                "events": {"dividends": {"a": {"amount": 0.001, "date": stamp(DAYS[15])}}},
            },
            f"vintage drift: a dividend of 0.001 on {DAYS[15]} is new; the whole history",
        ),
        (
            "SPLIT",
            {
                "ratio": 2.0,
                "events": {
                    "splits": {
                        "b": {
                            "date": stamp(DAYS[15]),
                            "numerator": 2,
                            "denominator": 1,
                            "splitRatio": "2:1",
                        }
                    }
                },
            },
            f"vintage drift: a split of ratio 2 on {DAYS[15]} is new (adj_close of 15 sessions "
            "changed, by up to 50.00%); the whole history",
        ),
        ("REVISED", {"ratio": 1.001}, "vintage drift: open differs on 10 of 10 shared sessions"),
    ],
)
def test_yahoos_history_changes_between_two_fetches(
    tmp_path: Path, yahoo: Yahoo, name: str, change: dict[str, Any], why: str
) -> None:
    store, source = Store(tmp_path), source_for(yahoo)
    yahoo_with(yahoo, DAYS[:15])
    (first,) = fetch([name], source, store)
    assert (first.status, first.rows) == ("new", 15)
    before = store.path(name).read_bytes()
    starts = yahoo_with(yahoo, DAYS, **change)
    (second,) = fetch([name], source, store)
    assert starts == [DAYS[5], DAYS[0]]  # the overlap, then everything
    assert second.why.startswith(why)
    assert (second.status, second.drift, second.rows) == ("updated", True, 16)
    assert [path.read_bytes() for path in backups(store)] == [before]
    starts = yahoo_with(yahoo, DAYS, **change)
    (third,) = fetch([name], source, store)
    assert (third.status, starts) == ("unchanged", [DAYS[6]])  # the event is known by now


def test_yahoo_is_asked_for_the_overlap_alone_if_nothing_changed(
    tmp_path: Path, yahoo: Yahoo
) -> None:
    store, source = Store(tmp_path), source_for(yahoo)
    yahoo_with(yahoo, DAYS[:15])
    fetch(["CALM"], source, store)
    starts = yahoo_with(yahoo, DAYS)
    (second,) = fetch(["CALM"], source, store)
    assert (second.why, starts) == ("1 new sessions", [DAYS[5]])


def test_the_sample_can_be_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    outcomes = fetch(SAMPLE_SYMBOLS, SampleSource(), store)
    assert [o.status for o in outcomes] == ["new"] * 4
    assert store.panel().symbols == SAMPLE_SYMBOLS
    again = fetch(["AAPL"], SampleSource(), store, start="2012-01-01")
    assert again[0].status == "unchanged"


def test_a_row_without_use_costs_only_itself_and_comes_in_when_it_is_mended(
    yahoo: Yahoo, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    days = np.arange("2024-01-02", "2024-01-20", dtype="datetime64[D]")
    days = days[np.is_busday(days)].astype(str).tolist()

    def fetch(count: int, *nulls: int) -> FetchOutcome:
        opens: list[Any] = [None if at in nulls else 99.5 + at for at in range(count)]
        yahoo.answer = lambda symbol, query: good(chart(days[:count], open=opens))
        source = source_for(yahoo)
        (outcome,) = update(
            ["ACME"], source=source, store=store, end=days[count - 1], now=utc("2024-02-01T00:00")
        )
        return outcome

    assert fetch(4).rows == 4
    late = fetch(12, 7)
    assert (late.status, late.rows, late.last) == ("updated", 11, days[11])
    assert f"1 left out, rows that lack a number: {days[7]}" in late.why
    assert store.read("ACME").provenance["left_out"] == {"rows that lack a number": [days[7]]}
    again = fetch(13, 7)  # the row is asked for once more and still counts once
    assert "1 left out" in again.why
    mended = fetch(14)
    assert (mended.rows, "left out" in mended.why) == (14, False)
    assert "left_out" not in store.read("ACME").provenance


def test_a_negative_price_refuses_no_history(yahoo: Yahoo, tmp_path: Path) -> None:
    days = ["2020-04-17", "2020-04-20", "2020-04-21", "2020-04-22"]  # crude oil, May 2020
    payload = chart(
        days,
        close=[18.3, -37.6, 10.0, 13.8],
        low=[17.0, -40.3, 6.5, 10.3],
        open=[19.0, 17.7, 11.0, 11.9],
    )
    yahoo.answer = lambda symbol, query: good(payload)
    (outcome,) = update(
        ["CL=F"],
        source=source_for(yahoo),
        store=Store(tmp_path),
        start=days[0],
        end=days[-1],
        now=utc("2024-02-01T00:00"),
    )
    assert (outcome.status, outcome.rows) == ("new", 3)
    assert "prices that are zero or negative: 2020-04-20" in outcome.why


def test_what_was_kept_with_its_close_alone_stays_told(yahoo: Yahoo, tmp_path: Path) -> None:
    store, days = Store(tmp_path), DAYS[:15]
    for count in (12, 15):
        opens: list[Any] = [0.0 if at == 1 else 99.5 + at for at in range(count)]
        yahoo.answer = lambda symbol, query, n=count, o=opens: good(chart(days[:n], open=o))
        source = source_for(yahoo, keep_closes=True)
        how: Any = {"end": days[count - 1], "now": utc("2025-02-01T00:00")}
        update(["ACME"], source=source, store=store, **how)
    bars = store.read("ACME")
    assert (len(bars), bars.provenance["closes_only"]) == (15, [days[1]])
