"""Every symbol keeps the calendar of its exchange, or none is guessed."""

from dataclasses import replace

import numpy as np
import pytest

from quantseq.errors import ConfigError
from quantseq.market.calendars import (
    EXCHANGES,
    SUFFIXES,
    ZONES,
    calendar_name,
    expected_sessions,
    market_of,
    sessions_per_year,
)
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
        ("XTAE", "2024-04-18", "2024-04-24", ["2024-04-18", "2024-04-21", "2024-04-24"]),
        ("XTAE", "2025-12-31", "2026-01-08",
         ["2025-12-31", "2026-01-01", "2026-01-04", "2026-01-05", "2026-01-06", "2026-01-07",
          "2026-01-08"]),
        ("XTAE", "2026-01-08", "2026-01-12", ["2026-01-08", "2026-01-09", "2026-01-12"]),
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
