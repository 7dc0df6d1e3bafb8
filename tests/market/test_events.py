"""Files of events are read or refused with a reason; fresh events join stored ones; what is stored comes back whole."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.errors import BarsError, CorruptFileError, NoDataError
from quantseq.market.bars import TIMINGS, Events
from quantseq.market.events import EventStore, join, read_events
from tests.market.conftest import LAW

DAY = np.datetime64("2020-01-01")


def build_events(*days: str, kind: str = "earnings", timing: str = "unknown") -> Events:
    n = len(days)
    dates = np.array(days, dtype="datetime64[D]")
    return Events(dates, np.full(n, kind), np.full(n, timing), np.full(n, "NaT", "datetime64[D]"))


@st.composite
def any_events(draw: st.DrawFn) -> Events:
    days = draw(st.lists(st.integers(0, 4000), min_size=1, max_size=8, unique=True))
    notice = [draw(st.none() | st.integers(0, 90)) for _ in days]
    dates = DAY + np.array(days)
    known = [
        np.datetime64("NaT") if one is None else day - one
        for day, one in zip(dates, notice, strict=True)
    ]
    kinds = [draw(st.sampled_from(["earnings", "meeting", "Ärger"])) for _ in days]
    timings = [draw(st.sampled_from(TIMINGS)) for _ in days]
    return Events(dates, np.array(kinds), np.array(timings), np.array(known, "datetime64[D]"))


def write(folder: Path, *lines: str) -> Path:
    path = folder / "events.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_file_in_the_words_of_others_is_understood(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "Ticker,Report Date,Time,Event Type,Announced On,EPS",
        "AAPL,2024-05-02,amc,Earnings,2024-04-04,1.5",
        "AAPL,2024-02-01,After Market Close,,,2.2",
        "MSFT,2024-04-25 00:00:00,bmo,Investor Day,,",
        "MSFT,2024-04-26,,earnings,,",
    )
    found, left_out = read_events(path)
    assert left_out == {}
    assert found["AAPL"].dates.astype(str).tolist() == ["2024-02-01", "2024-05-02"]
    assert found["AAPL"].timings.tolist() == ["after-close", "after-close"]
    assert found["AAPL"].known_on.astype(str).tolist() == ["NaT", "2024-04-04"]
    assert found["MSFT"].kinds.tolist() == ["investor day", "earnings"]
    assert found["MSFT"].timings.tolist() == ["before-open", "unknown"]


def test_a_time_of_day_says_the_timing_where_no_column_does(tmp_path: Path) -> None:
    path = write(tmp_path, "date", "2024-05-02T16:30:00-04:00", "2024-08-01 07:00", "2024-10-31")
    found, _ = read_events(path, "AAPL")
    assert found["AAPL"].timings.tolist() == ["after-close", "before-open", "unknown"]


def test_lines_of_no_use_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "symbol,date,known_on",
        "A,2024-05-02,2024-05-03",
        ",2024-05-02,",
        "A,,",
        "A,2024-08-01,",
        "A,2024-08-01,2024-07-01",
    )
    found, left_out = read_events(path)
    assert found["A"].dates.astype(str).tolist() == ["2024-08-01"]
    assert left_out == {
        "no symbol": ["line 3"],
        "no date": ["line 4"],
        "known only after its date": ["line 2"],
        "a second one of its kind on its date": ["line 6"],
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["symbol,when", "A,2024-05-02"], "no column 'date'"),
        (["date", "2024-05-02"], "no column 'symbol'"),
        (["symbol,date,timing", "A,2024-05-02,noon"], "line 2: the timing 'noon' is none"),
        (["symbol,date", "A,2024-05-02", "A,soon"], "line 3: the date 'soon' is not a date"),
        (["symbol,date,Date", "A,2024-05-02,2024-05-02"], "two columns for 'date'"),
        (["symbol,date"], "holds no events"),
        ([""], "Cannot read"),
    ],
)
def test_what_cannot_be_understood_is_refused(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises((BarsError, NoDataError), match=message) as caught:
        read_events(write(tmp_path, *lines))
    assert "\n" not in str(caught.value)


@given(any_events())
@LAW
def test_what_is_stored_comes_back_and_is_sealed(
    tmp_path_factory: pytest.TempPathFactory, events: Events
) -> None:
    store = EventStore(tmp_path_factory.mktemp("data"))
    assert store.read("^X") is None
    assert store.keep("^X", events, {"source": "test"}).status == "new"
    again = store.read("^X")
    assert again is not None
    assert again.sha256 == events.sha256
    assert store.keep("^X", events, {}).status == "unchanged"
    path = store.path("^X")
    path.write_text(path.read_text().replace('"events"', '"Events"'))
    with pytest.raises(CorruptFileError, match="damaged"):
        store.read("^X")
    kept = list(path.parent.glob("*.damaged"))
    mended = store.keep("^X", events, {})
    assert mended.backup.endswith(".damaged")
    path.write_text("somebody's")
    assert store.remove("^X")
    assert len(list(path.parent.glob("*.damaged"))) == len(kept) + 2
    assert not store.remove("^X")


@given(any_events(), any_events())
@LAW
def test_fresh_events_are_all_that_there_are_of_their_kinds_from_their_first_date_on(
    old: Events, fresh: Events
) -> None:
    joined, lost = join(old, fresh)
    for one in (join(None, fresh)[0], join(joined, fresh)[0], join(fresh, fresh)[0]):
        assert len(one) in (len(fresh), len(joined))
    late = np.isin(joined.kinds, fresh.kinds) & (joined.dates >= fresh.dates[0])
    assert joined.rows(late).dates.tolist() == fresh.dates.tolist()
    assert joined.rows(late).kinds.tolist() == fresh.kinds.tolist()
    assert join(joined, fresh)[1] == 0
    assert len(joined) >= len(old) - lost
    assert (lost == 0) or len(joined) < len(old) + len(fresh)


def test_a_moved_event_is_lost_and_the_old_file_is_kept(tmp_path: Path) -> None:
    store = EventStore(tmp_path)
    store.keep("A", build_events("2024-02-01", "2024-05-02", "2024-08-01"), {})
    kept = store.keep("A", build_events("2024-05-02", "2024-08-08"), {})
    assert (kept.status, kept.lost) == ("updated", 1)
    assert kept.events.dates.astype(str).tolist() == ["2024-02-01", "2024-05-02", "2024-08-08"]
    assert (tmp_path / "events" / kept.backup).is_file()


def test_what_was_known_of_a_date_stays_where_fresh_events_do_not_say() -> None:
    day = np.array(["2013-03-05"], "datetime64[D]")
    kinds, never = np.array(["earnings"]), np.array(["NaT"], "datetime64[D]")
    old = Events(day, kinds, np.array(["after-close"]), day - 4)
    both, lost = join(old, Events(day, kinds, np.array(["unknown"]), never))
    assert lost == 0
    assert both.timings.tolist() == ["after-close"]
    assert both.known_on.tolist() == (day - 4).tolist()


def test_lines_longer_than_the_header_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("symbol,date\nAAPL,2013-03-05,earnings,amc\n")
    with pytest.raises(BarsError, match="more cells than its first line"):
        read_events(path)
