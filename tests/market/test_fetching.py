"""A batch goes on, tells what happened, asks only for what is missing, and never loses or mixes anything."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
from quantseq.market import fetching
from quantseq.market.backlog import Backlog, Batch, pending
from quantseq.market.bars import Bars
from quantseq.market.fetching import GIVE_UP_AFTER, Outcome
from quantseq.market.protocol import Source
from quantseq.market.sources import SampleSource
from quantseq.market.store import Store
from tests.market.conftest import (
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
    on_symbol: Callable[[Outcome], None] | None = None,
    backlog: Backlog | None = None,
    now: Any = NOW,
    **asked: Any,
) -> list[Outcome]:
    batch = Batch(tuple(dict.fromkeys(symbols)), source.name, store.interval, **asked)
    return fetching.fetch(
        batch, source=source, store=store, backlog=backlog, on_symbol=on_symbol, now=now
    )


def backups(store: Store) -> list[Path]:
    return sorted(store.folder.glob("*.backup"))


def test_new_updated_unchanged_failed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    shelf = Shelf({"A": build_bars("A"), "B": build_bars("B")})
    happened: list[Outcome] = []
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
    backlog = Backlog(tmp_path, Batch(tuple(symbols), "test"))
    outcomes = fetch(symbols, shelf, store, backlog=backlog)
    assert shelf.symbols == symbols[: 1 + GIVE_UP_AFTER]
    assert [o.status for o in outcomes] == ["new"] + ["failed"] * 7
    assert "not asked for: 3 symbols in a row" in outcomes[-1].why
    assert isinstance(outcomes[-1].error, kind)

    later = Shelf({symbol: build_bars(symbol) for symbol in symbols[1:]})
    (left,) = pending(tmp_path)
    resumed = fetch(left.batch.symbols, later, store, backlog=left)
    assert later.symbols == [o.symbol for o in resumed] == symbols[1:]
    assert [o.status for o in resumed] == ["new"] * 7
    assert not pending(tmp_path)


def test_ctrl_c_leaves_what_was_not_done(tmp_path: Path) -> None:
    shelf = Shelf({"A": build_bars("A"), "B": KeyboardInterrupt(), "C": build_bars("C")})
    store = Store(tmp_path)
    backlog = Backlog(tmp_path, Batch(("X", "A", "B", "C"), "test"))
    with pytest.raises(KeyboardInterrupt):
        fetch(["X", "A", "B", "C"], shelf, store, backlog=backlog)
    assert pending(tmp_path)[0].left == ["B", "C"]
    assert store.symbols() == ("A",)


def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    """What is on disk when each symbol has just been dealt with is what a kill would leave."""
    shelf = Shelf({symbol: build_bars(symbol) for symbol in "ABC"})
    seen: list[list[str]] = []

    def look(outcome: Outcome) -> None:
        seen.append(json.loads(next((tmp_path / "fetches").glob("*.json")).read_text())["left"])
        assert outcome.symbol in Store(tmp_path)

    backlog = Backlog(tmp_path, Batch(("A", "B", "C"), "test"))
    with pytest.raises(StopIteration):  # nothing is left to look at after the last one
        fetch("ABC", shelf, Store(tmp_path), backlog=backlog, on_symbol=look)
    assert seen == [["B", "C"], ["C"]]


def test_a_batch_goes_on_when_failures_are_not_in_a_row(tmp_path: Path) -> None:
    held: dict[str, Any] = {f"S{i}": SourceUnavailableError("no") for i in range(6)}
    held["S2"] = build_bars("S2")
    shelf = Shelf(held)
    backlog = Backlog(tmp_path, Batch(tuple(held), "test"))
    fetch(list(held), shelf, Store(tmp_path), backlog=backlog)
    assert shelf.symbols == list(held)
    assert pending(tmp_path)[0].left == ["S0", "S1", "S3", "S4", "S5"]


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
    outcomes = fetch(SampleSource.symbols, SampleSource(), store)
    assert [o.status for o in outcomes] == ["new"] * 4
    assert store.panel().symbols == SampleSource.symbols
    again = fetch(["AAPL"], SampleSource(), store, start="2012-01-01")
    assert again[0].status == "unchanged"
