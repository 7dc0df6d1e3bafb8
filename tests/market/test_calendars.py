from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.market.calendars import (
    EXCHANGES,
    KNOWN_CHANGES,
    SUFFIXES,
    ZONES,
    Clock,
    calendar_name,
    expected_sessions,
    market_of,
    session_changes,
    sessions_per_year,
)
from tests.market.conftest import LAW, build_bars, build_intraday, utc
from tests.prices import simulate_bars

HOLIDAYS = ("01-01", "02-15", "04-10", "05-28", "07-04", "09-03", "11-22", "12-25")


@pytest.mark.parametrize(
    ("symbol", "timezone", "expected"),
    [
        ("BARC.L", "", "XLON"),
        ("HSBK.IL", "Europe/London", "XLON"),
        ("0700.HK", "", "XHKG"),
        ("4063.T", "", "XTKS"),
        ("8TRA.DE", "", "XETR"),
        ("tep.pa", "", "XPAR"),
        ("DEX.AX", "", "XASX"),
        ("SSW.JO", "", "XJSE"),
        ("SCR.TO", "America/Toronto", "XTSE"),
        ("LA.V", "America/Toronto", "XTSE"),
        ("KEN.TA", "", "XTAE"),
        ("SPM.MI", "", "XMIL"),
        ("MOB.ST", "", "XSTO"),
        ("IBE.MC", "", "XMAD"),
        ("BTC-USD", "UTC", "24/7"),
        ("ETH-BTC", "", "24/7"),
        ("EURUSD=X", "Europe/London", "24/5"),
        ("ES=F", "America/New_York", "CMES"),
        ("AAPL", "America/New_York", "XNYS"),
        ("BRK-B", "America/New_York", "XNYS"),
        ("BRK.B", "America/New_York", "XNYS"),
        ("^N225", "Asia/Tokyo", "XTKS"),
        ("AAPL", "", None),
        ("BRK-B", "", None),
        ("X.UNKNOWN", "Mars/Olympus", None),
    ],
)
def test_the_calendar_of_a_symbol(symbol: str, timezone: str, expected: str | None) -> None:
    assert calendar_name(symbol, timezone) == expected


def test_every_name_is_a_calendar_of_the_package() -> None:
    import exchange_calendars

    known = set(exchange_calendars.get_calendar_names(include_aliases=False))
    assert {*SUFFIXES.values(), *ZONES.values(), *EXCHANGES.values()} <= known


def days(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[D]")


@pytest.mark.parametrize(
    ("name", "first", "last", "expected"),
    [
        ("24/7", "2024-12-31", "2025-01-02", ["2024-12-31", "2025-01-01", "2025-01-02"]),
        ("24/5", "2024-05-31", "2024-06-03", ["2024-05-31", "2024-06-03"]),
        ("XNYS", "2012-10-26", "2012-10-31", ["2012-10-26", "2012-10-31"]),  # hurricane Sandy
        ("XLON", "2023-05-05", "2023-05-09", ["2023-05-05", "2023-05-09"]),  # the coronation
    ],
)  # fmt: skip
def test_sessions(name: str, first: str, last: str, expected: list[str]) -> None:
    found, covered = expected_sessions(name, days(first, last))
    assert found.astype(str).tolist() == expected
    assert covered.tolist() == days(first, last).tolist()


def test_days_before_the_calendar_begins_are_not_judged() -> None:
    found, covered = expected_sessions("XHKG", days("1955-03-01", "1985-01-07", "1985-01-08"))
    assert covered.astype(str).tolist() == ["1985-01-07", "1985-01-08"]
    assert found.tolist() == covered.tolist()
    assert [len(part) for part in expected_sessions("XNYS", days("1925-01-05"))] == [0, 0]
    assert [len(part) for part in expected_sessions("XNYS", days())] == [0, 0]


def test_a_calendar_that_cannot_be_built_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import exchange_calendars

    def broken(name: str, **given: str) -> None:
        raise NotImplementedError("implemented by subclasses")

    monkeypatch.setattr(exchange_calendars, "get_calendar", broken)
    with pytest.raises(ConfigError, match=r"XWAR cannot be built .* NotImplementedError"):
        expected_sessions("XWAR", days("2024-01-03"))


@pytest.mark.parametrize(
    ("symbol", "timezone", "facts", "expected"),
    [
        ("AAPL", "America/New_York", {}, "XNYS"),
        ("7203.T", "", {}, "XTKS"),
        ("BTC-USD", "UTC", {}, "24/7"),
        ("XYZ", "America/New_York", {"exchange": "TOR"}, "America/New_York"),
        ("XYZ", "Asia/Dhaka", {}, "Asia/Dhaka"),
        ("XYZ", "", {}, ""),
    ],
)
def test_what_closes_together(
    symbol: str, timezone: str, facts: dict[str, str], expected: str
) -> None:
    bars = replace(simulate_bars("A", 5), symbol=symbol, timezone=timezone, provenance=facts)
    assert market_of(bars) == expected


def test_a_year_has_the_sessions_of_its_calendar() -> None:
    days = np.arange("2018-01-01", "2023-01-01", dtype="datetime64[D]")
    weekdays = days[np.is_busday(days)]
    york = days[np.is_busday(days, holidays=[d for d in days if str(d)[5:] in HOLIDAYS])]
    assert sessions_per_year(days) == 365
    assert sessions_per_year(weekdays) == 261
    assert sessions_per_year(york) == 252, "a few more or less are one exchange's"
    assert sessions_per_year(days[::7]) == 52
    assert sessions_per_year(days[:300]) == sessions_per_year(days[:0]) == 252


NEW_YORK = "America/New_York"


def clock(now: str, interval: str = "1d", zone: str = NEW_YORK, calendar: str | None = "XNYS"):
    return Clock(interval, zone, utc(now)(), calendar)


@pytest.mark.parametrize(
    ("zone", "exchange", "instrument", "calendar"),
    [
        (NEW_YORK, "", "", "XNYS"),
        (NEW_YORK, "NMS", "EQUITY", "XNYS"),
        (NEW_YORK, "SNP", "INDEX", "XNYS"),
        (NEW_YORK, "NYB", "INDEX", None),  # trades nearly around the clock
        (NEW_YORK, "CME", "FUTURE", None),
        ("Europe/London", "CCY", "CURRENCY", None),
        ("Europe/London", "LSE", "EQUITY", "XLON"),
        ("UTC", "CCC", "CRYPTOCURRENCY", "24/7"),
        ("UTC", "", "", None),
        ("Europe/Berlin", "GER", "EQUITY", "XETR"),
        ("Europe/Berlin", "FRA", "EQUITY", "XFRA"),  # closes hours after Xetra
        ("Europe/Berlin", "BER", "EQUITY", None),
        ("Europe/Berlin", "", "", "XETR"),
        ("Mars/Olympus", "", "EQUITY", None),
    ],
)
def test_calendar_of(zone: str, exchange: str, instrument: str, calendar: str | None) -> None:
    facts = {"exchange": exchange, "instrument": instrument}
    bars = replace(build_bars("ABC"), timezone=zone, provenance=facts)
    assert Clock.of(bars, utc("2024-01-01")()).calendar == calendar


@pytest.mark.parametrize(
    ("session", "end"),
    [
        ("2023-11-22", "2023-11-22T21:00"),
        ("2023-11-24", "2023-11-24T18:00"),  # an early close
        ("2024-07-03", "2024-07-03T17:00"),  # another, in summer
        ("2023-11-25", "2023-11-26T05:00"),  # a Saturday has no close: midnight
        ("1955-01-03", "1955-01-04T05:00"),  # long before the calendar begins
    ],
)
def test_end_of_a_day(session: str, end: str) -> None:
    assert clock("2024-12-01").end_of(np.datetime64(session)) == np.datetime64(end)


def test_end_of_a_week_and_of_an_hour() -> None:
    weekly = clock("2024-12-01", "1wk")
    assert weekly.end_of(np.datetime64("2023-11-20")) == np.datetime64("2023-11-24T18:00")
    assert weekly.end_of(np.datetime64("2024-03-25")) == np.datetime64("2024-03-28T20:00")
    hourly = clock("2024-12-01", "1h")
    for start, end in [("T14:30", "T15:30"), ("T20:30", "T21:00")]:
        moment = np.datetime64(f"2024-01-03{start}", "s")
        assert hourly.end_of(moment) == np.datetime64(f"2024-01-03{end}")


@pytest.mark.parametrize(
    ("last", "now", "end", "known"),
    [
        # Thursday's bar is there; Friday's is final at 21:30 UTC
        ("2024-01-04", "2024-01-05T21:29", None, True),
        ("2024-01-04", "2024-01-05T21:30", None, False),
        # nothing happens on a weekend, nor on Martin Luther King's day
        ("2024-01-12", "2024-01-16T21:29", None, True),
        ("2024-01-12", "2024-01-16T21:30", None, False),
        # an end in the past, on a Sunday
        ("2024-01-04", "2024-03-01T12:00", "2024-01-04", True),
        ("2024-01-05", "2024-03-01T12:00", "2024-01-07", True),
        ("2024-01-05", "2024-03-01T12:00", "2024-01-08", False),
        # what the calendar does not cover is never certain
        ("1990-01-05", "2024-03-01T12:00", "1991-01-01", False),
        ("2024-01-05", "2090-03-01T12:00", None, False),
    ],
)
def test_days_that_are_up_to_date(last: str, now: str, end: str | None, known: bool) -> None:
    assert clock(now).is_up_to_date(np.datetime64(last), end) is known


@pytest.mark.parametrize(
    ("last", "now", "end", "known"),
    [
        ("2023-11-13", "2023-11-24T18:29", None, True),
        ("2023-11-13", "2023-11-24T18:30", None, False),
        ("2023-11-20", "2023-12-01T21:29", None, True),
        ("2023-11-20", "2023-12-06T12:00", "2023-11-24", True),
        ("2023-11-20", "2023-12-06T12:00", "2023-11-29", False),
    ],
)
def test_weeks_that_are_up_to_date(last: str, now: str, end: str | None, known: bool) -> None:
    assert clock(now, "1wk").is_up_to_date(np.datetime64(last), end) is known


@pytest.mark.parametrize(
    ("last", "now", "end", "known"),
    [
        ("2024-01-03T20:30", "2024-01-04T14:00", None, True),  # the night between
        ("2024-01-03T20:30", "2024-01-04T15:59", None, True),  # the first hour ended at 15:30
        ("2024-01-03T20:30", "2024-01-04T16:00", None, False),
        ("2024-01-03T19:30", "2024-01-04T14:00", None, False),  # the last half hour is missing
        ("2024-01-04T14:30", "2024-01-04T16:59", None, True),
        ("2024-01-04T14:30", "2024-01-04T17:00", None, False),
        ("2024-01-03T20:30", "2024-01-10T12:00", "2024-01-03", True),
        ("2024-01-03T19:30", "2024-01-10T12:00", "2024-01-03", False),
    ],
)
def test_hours_that_are_up_to_date(last: str, now: str, end: str | None, known: bool) -> None:
    assert clock(now, "1h").is_up_to_date(np.datetime64(last, "s"), end) is known


def test_without_a_calendar_only_today_is_up_to_date() -> None:
    tokyo = clock("2024-01-04T20:00", zone="Asia/Tokyo", calendar=None)  # the 5th has begun there
    assert tokyo.is_up_to_date(np.datetime64("2024-01-05"))
    assert not tokyo.is_up_to_date(np.datetime64("2024-01-04"))
    assert tokyo.is_up_to_date(np.datetime64("2024-01-04"), "2024-01-04")
    weekly = clock("2024-01-10T20:00", "1wk", calendar=None)
    assert weekly.is_up_to_date(np.datetime64("2024-01-01"))
    assert not weekly.is_up_to_date(np.datetime64("2023-12-25"))
    assert not clock("2024-01-10", "5m", calendar=None).is_up_to_date(
        np.datetime64("2024-01-09T20:55", "s")
    )


@given(st.integers(0, 60 * 24 * 30), st.sampled_from(["XNYS", None]), st.sampled_from(["1d", "1h"]))
@LAW
def test_what_was_final_stays_final_and_what_is_up_to_date_gains_nothing(
    minutes: int, calendar: str | None, interval: str
) -> None:
    """Law: an up-to-date series would not grow if the source were asked for everything again."""
    everything = (
        build_bars("A", start="2024-01-02", n=40, timezone=NEW_YORK)
        if interval == "1d"
        else build_intraday("A", interval="1h", days=40)
    )
    now = datetime(2024, 1, 20, tzinfo=UTC).timestamp() + 60 * minutes
    moments = [datetime.fromtimestamp(now + late, UTC) for late in (0, 3600)]
    before, after = (
        Clock(interval, NEW_YORK, moment, calendar).drop_partial(everything) for moment in moments
    )
    assert len(before) <= len(after)
    clocks = [Clock(interval, NEW_YORK, moment, calendar) for moment in moments]
    if clocks[1].is_up_to_date(before.sessions[-1]):
        assert len(before) == len(after)


@pytest.mark.parametrize("name", sorted({*SUFFIXES.values(), *EXCHANGES.values()}))
def test_every_exchange_of_a_suffix_opens(name: str) -> None:
    found, covered = expected_sessions(name, days("2025-06-02", "2025-07-31"))
    assert 35 < len(found) < 45
    assert len(covered) == 2


@pytest.mark.parametrize(
    ("name", "open_on", "closed_on"),
    [
        ("ASEX", "2024-05-02", "2024-05-06"),  # Orthodox Easter Monday
        ("XBSE", "2024-05-02", "2024-05-03"),  # Orthodox Good Friday
        ("XTAE", "2024-04-24", "2024-04-23"),  # Passover
        ("XTAE", "2024-06-09", "2024-06-07"),  # a Sunday, and a Friday
        ("XKRX", "1998-11-28", "1998-12-12"),  # Saturdays, until December 1998
        ("XHKG", "2023-08-31", "2023-09-01"),
        ("XHKG", "2023-09-07", "2023-09-08"),
    ],
)
def test_sessions_that_packages_have_got_wrong(name: str, open_on: str, closed_on: str) -> None:
    found, _ = expected_sessions(
        name, days(*sorted(["1998-11-02", open_on, closed_on, "2025-06-03"]))
    )
    assert np.isin(days(open_on, closed_on), found).tolist() == [True, False]


def test_a_session_can_be_taken_out_and_added(tmp_path: Path) -> None:
    text = '[XNYS]\ncancelled = ["2024-01-03"]\nextra = [2024-01-06]\n[XHKG]\ncancelled = ["2023-09-01"]'
    (tmp_path / "sessions.toml").write_text(text)
    changes = session_changes(tmp_path)
    found, _ = expected_sessions("XNYS", days("2024-01-02", "2024-01-08"), changes)
    expected = ["2024-01-02", "2024-01-04", "2024-01-05", "2024-01-06", "2024-01-08"]
    assert found.astype(str).tolist() == expected
    assert changes["XHKG"]["cancelled"].astype(str).tolist() == ["2023-09-01", "2023-09-08"]
    assert session_changes(tmp_path / "nowhere") == KNOWN_CHANGES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[XHKK]\nextra = []", "no exchange calendar 'XHKK'. Did you mean 'XHKG'"),
        ('[XNYS]\nclosed = ["2024-01-03"]', "cancelled and extra.* Got closed"),
        ('[XNYS]\nextra = "2024-01-06"', "lists of dates"),
        ("XNYS = 1", "lists of dates"),
        ('[XNYS]\nextra = ["2024-13-06"]', "XNYS.extra: '2024-13-06' is not a date"),
        ('[XNYS]\ncancelled = ["2024-01-06"]', "2024-01-06 is no session anyway"),
        ('[XNYS]\nextra = ["2024-01-03"]', "2024-01-03 is a session already"),
        ('[XNYS]\nextra = ["2190-01-06"]', "does not reach 2190-01-06"),
        ("[XNYS", "as TOML"),
        ("x = " + "[" * 20_000, "as TOML"),
        ("x = '\udcff'", "as TOML"),
    ],
)
def test_what_is_wrong_in_the_file_of_sessions(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "sessions.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=words):
        session_changes(tmp_path)
