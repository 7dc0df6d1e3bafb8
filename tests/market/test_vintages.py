"""Only what is missing is asked for, and two vintages never become one history."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.errors import BarsError
from quantseq.market.bars import FIELDS, Bars
from quantseq.market.closing import Clock
from quantseq.market.vintages import (
    OVERLAP,
    Ask,
    conflict,
    covered_from,
    extend,
    missing,
    supersede,
    whole,
)
from tests.market.conftest import LAW, assert_same_bars, build_bars, build_intraday, utc

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
    gaps = missing(build_bars(n=3), start="2019-01-01", end=None, clock=LATER)
    assert gaps.front == Ask(day("2019-01-01"), day("2020-01-03"))
    assert gaps.back == Ask(day("2020-01-01"), None)


def test_an_intraday_overlap_is_counted_in_sessions() -> None:
    old = build_intraday(days=15)
    clock = Clock("1h", "America/New_York", utc("2024-03-01")(), "XNYS")
    gaps = missing(old, start=None, end=None, clock=clock)
    assert gaps.back == Ask(np.unique(old.sessions.astype("datetime64[D]"))[-OVERLAP], None)


def test_nothing_is_missing_when_the_exchange_was_closed_since() -> None:
    old = build_bars(start="2024-01-01", n=10, timezone="America/New_York")  # to Friday the 12th
    quiet = Clock("1d", "America/New_York", utc("2024-01-16T21:29")(), "XNYS")
    assert missing(old, start=None, end=None, clock=quiet) == (None, None)
    over = Clock("1d", "America/New_York", utc("2024-01-16T21:30")(), "XNYS")
    assert missing(old, start=None, end=None, clock=over).back == Ask(day("2024-01-01"), None)


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
