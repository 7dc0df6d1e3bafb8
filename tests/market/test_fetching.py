"""A batch goes on, tells what happened, and never loses or mixes what is stored."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.errors import (
    BarsError,
    NoDataError,
    QuantseqError,
    RateLimitedError,
    SourceUnavailableError,
    SymbolNotFoundError,
)
from quantseq.market.bars import Bars
from quantseq.market.fetching import GIVE_UP_AFTER, Outcome, fetch, merge
from quantseq.market.sources import SampleSource
from quantseq.market.store import Store
from tests.market.conftest import LAW, Yahoo, assert_same_bars, build_bars, chart, good, source_for


@dataclass
class Shelf:
    """A source that holds bars or errors by symbol and remembers what it was asked."""

    held: dict[str, Bars | QuantseqError]
    name: str = "test"
    asked: list[str] = field(default_factory=list)

    def fetch(
        self, symbol: str, *, start: Any = None, end: Any = None, interval: str = "1d"
    ) -> Bars:
        self.asked.append(symbol)
        found = self.held.get(symbol, SymbolNotFoundError(f"{symbol}: unknown."))
        if isinstance(found, QuantseqError):
            raise found
        cut = found.between(start, end)
        if not len(cut):
            raise NoDataError(f"{symbol}: nothing in range.")
        return cut


def test_new_updated_unchanged_failed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    shelf = Shelf({"A": build_bars("A"), "B": build_bars("B")})
    happened: list[Outcome] = []
    outcomes = fetch(["A", "X", "B", "A"], source=shelf, store=store, on_symbol=happened.append)
    assert happened == outcomes
    assert [(o.symbol, o.status, o.rows) for o in outcomes] == [
        ("A", "new", 8),
        ("X", "failed", 0),
        ("B", "new", 8),
    ]
    assert outcomes[0].first == "2020-01-01"
    assert outcomes[0].last == "2020-01-10"
    assert isinstance(outcomes[1].error, SymbolNotFoundError)
    shelf.held["A"] = build_bars("A", n=10)
    again = fetch(["A", "B"], source=shelf, store=store)
    assert [(o.status, o.why) for o in again] == [("updated", "2 new sessions"), ("unchanged", "")]
    assert len(store.read("A")) == 10


def test_a_failed_fetch_touches_nothing_and_names_what_is_near(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(build_bars("AAPL"))
    before = store.path("AAPL").read_bytes()
    errors = [NoDataError("none"), SourceUnavailableError("down"), BarsError("bad")]
    for error in errors:
        (outcome,) = fetch(["AAPL"], source=Shelf({"AAPL": error}), store=store)
        assert (outcome.status, outcome.error) == ("failed", error)
    assert store.path("AAPL").read_bytes() == before
    (outcome,) = fetch(["APPL"], source=Shelf({}), store=store)
    assert outcome.why == "APPL: unknown. Stored are AAPL."


@pytest.mark.parametrize("kind", [SourceUnavailableError, RateLimitedError])
def test_a_batch_stops_politely(tmp_path: Path, kind: type[QuantseqError]) -> None:
    symbols = [f"S{i}" for i in range(8)]
    shelf = Shelf({symbol: kind("no") for symbol in symbols})
    outcomes = fetch(symbols, source=shelf, store=Store(tmp_path))
    assert shelf.asked == symbols[:GIVE_UP_AFTER]
    assert [o.status for o in outcomes] == ["failed"] * 8
    assert "not asked for: 3 symbols in a row" in outcomes[-1].why
    assert isinstance(outcomes[-1].error, kind)


def test_a_batch_goes_on_when_failures_are_not_in_a_row(tmp_path: Path) -> None:
    held: dict[str, Bars | QuantseqError] = {
        f"S{i}": SourceUnavailableError("no") for i in range(6)
    }
    held["S2"] = build_bars("S2")
    shelf = Shelf(held)
    fetch(list(held), source=shelf, store=Store(tmp_path))
    assert shelf.asked == list(held)


def test_unwritable_store_is_an_outcome(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    shelf = Shelf({"A": build_bars("A")})
    (outcome,) = fetch(["A"], source=shelf, store=Store(tmp_path / "file"))
    assert "Cannot write" in outcome.why


def test_reversed_range_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    shelf = Shelf({})
    with pytest.raises(BarsError, match="reversed"):
        fetch(["A"], source=shelf, store=Store(tmp_path), start="2020-01-02", end="2020-01-01")
    assert not shelf.asked


def test_a_damaged_file_is_replaced_and_kept_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(build_bars("A"))
    store.path("A").write_bytes(b"rubbish")
    (outcome,) = fetch(["A"], source=Shelf({"A": build_bars("A")}), store=store)
    assert outcome.status == "new"
    assert "damaged file, which is kept" in outcome.why
    assert_same_bars(store.read("A"), build_bars("A"))


def test_a_range_extends_what_is_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    whole = build_bars("A", n=20)
    shelf = Shelf({"A": whole})
    fetch(["A"], source=shelf, store=store, start="2020-01-08", end="2020-01-15")
    fetch(["A"], source=shelf, store=store, start="2020-01-15")
    fetch(["A"], source=shelf, store=store, end="2020-01-09")
    assert_same_bars(store.read("A"), whole)


def test_a_range_that_does_not_meet_what_is_stored_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    shelf = Shelf({"A": build_bars("A", n=20)})
    fetch(["A"], source=shelf, store=store, end="2020-01-08")
    (outcome,) = fetch(["A"], source=shelf, store=store, start="2020-01-15")
    assert "no session in common" in outcome.why
    assert "Fetch the full history" in outcome.why
    assert len(store.read("A")) == 6


def test_vintage_drift_is_never_mixed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = build_bars("A", n=20)
    store.write(old)
    drifted = replace(build_bars("A", n=22), adj_close=build_bars("A", n=22).close * 0.98)
    shelf = Shelf({"A": drifted})
    (part,) = fetch(["A"], source=shelf, store=store, start="2020-01-20")
    assert part.status == "failed"
    assert isinstance(part.error, BarsError)
    assert "adj_close differs on 7 of 7 shared sessions" in part.why
    assert_same_bars(store.read("A"), old)
    (whole,) = fetch(["A"], source=shelf, store=store, start="2020-01-01")  # spans what is stored
    assert whole.status == "updated"
    assert whole.why.startswith("vintage drift: adj_close differs on 20 of 20 shared sessions")
    assert_same_bars(store.read("A"), drifted)


def test_a_shorter_history_never_replaces_a_longer_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    whole = build_bars("A", n=20)
    store.write(whole)
    tail = whole.between("2020-01-15")
    (agrees,) = fetch(["A"], source=Shelf({"A": tail}), store=store)
    assert agrees.status == "unchanged"
    drifted = replace(tail, adj_close=tail.close * 0.98)
    (outcome,) = fetch(["A"], source=Shelf({"A": drifted}), store=store)
    assert "quantseq data rm A" in outcome.why
    assert_same_bars(store.read("A"), whole)


def test_sources_are_never_mixed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    other = replace(build_bars("A", n=20), provenance={"source": "other"})
    store.write(other)
    shelf = Shelf({"A": build_bars("A", n=10)})
    (part,) = fetch(["A"], source=shelf, store=store)
    assert part.status == "failed"
    assert "came from 'other', these from 'test'" in part.why
    assert_same_bars(store.read("A"), other)


@given(st.sets(st.integers(0, 29), min_size=1), st.sets(st.integers(0, 29), min_size=1))
@LAW
def test_merge_is_the_union_of_two_cuts_of_one_history(left: set[int], right: set[int]) -> None:
    whole = build_bars("A", n=30)

    def cut(rows: set[int]) -> Bars:
        keep = np.isin(np.arange(30), list(rows))
        fields = {name: getattr(whole, name)[keep] for name in ("open", "high", "low", "close")}
        fields |= {
            name: getattr(whole, name)[keep]
            for name in ("adj_close", "volume", "dividends", "splits")
        }
        return replace(whole, sessions=whole.sessions[keep], **fields)

    if not left & right:
        if min(right) < min(left) and max(right) > max(left):
            merged, why = merge(cut(left), cut(right))
            assert why.endswith(f"replaced, {len(left)} sessions are gone")
            assert_same_bars(merged, cut(right))
        else:
            with pytest.raises(BarsError, match="no session in common"):
                merge(cut(left), cut(right))
        return
    merged, _ = merge(cut(left), cut(right))
    assert_same_bars(merged, cut(left | right))


@pytest.mark.parametrize(
    "name", ["open", "high", "low", "close", "adj_close", "dividends", "splits"]
)
def test_merge_compares_every_price(name: str) -> None:
    old = build_bars()
    values = getattr(old, name).copy()
    values[3] += 0.02
    fresh = replace(old, **{name: values}).between("2020-01-02")
    with pytest.raises(
        BarsError, match=f"{name} differs on 1 of 7 shared sessions, most on 2020-01-06"
    ):
        merge(old, fresh)
    within = replace(old, **{name: getattr(old, name) * (1 + 5e-5)})
    merged, why = merge(old, within)
    if name in ("dividends", "splits"):
        assert merged is old
    else:
        assert why == "some stored sessions were revised"
        assert_same_bars(merged, within)


def test_merged_provenance_says_what_it_extends() -> None:
    whole = build_bars(n=10)
    old, fresh = whole.until("2020-01-08"), whole.between("2020-01-07")
    merged, why = merge(old, fresh)
    assert why == "4 new sessions"
    assert merged.provenance["extends"]["sha256"] == old.sha256


def test_a_dividend_between_two_fetches_from_yahoo(tmp_path: Path, yahoo: Yahoo) -> None:
    days = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"]
    store, source = Store(tmp_path), source_for(yahoo)
    yahoo.answer = lambda symbol, query: good(chart(days[:3]))
    (first,) = fetch(["DIVI"], source=source, store=store, end="2024-01-04")
    assert first.status == "new"
    yahoo.answer = lambda symbol, query: good(chart(days, adjclose=[98.0, 99.0, 100.0, 103.0]))
    (part,) = fetch(["DIVI"], source=source, store=store, start="2024-01-03", end="2024-01-05")
    assert part.status == "failed"
    assert len(store.read("DIVI")) == 3
    (whole,) = fetch(["DIVI"], source=source, store=store)
    assert "vintage drift" in whole.why
    assert store.read("DIVI").adj_close.tolist() == [98, 99, 100, 103]


def test_the_sample_can_be_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    outcomes = fetch(SampleSource.symbols, source=SampleSource(), store=store)
    assert [o.status for o in outcomes] == ["new"] * 4
    assert store.panel().symbols == SampleSource.symbols
    again = fetch(["AAPL"], source=SampleSource(), store=store, start="2012-01-01")
    assert again[0].status == "unchanged"
