"""The real yfinance client against a replay server: answers, errors, partial bars, retries, pace."""

import json
import re
import socket
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.version import Version

from quantseq.errors import (
    BadResponseError,
    BarsError,
    ConfigError,
    NoDataError,
    QuantseqError,
    RateLimitedError,
    SourceUnavailableError,
    SymbolNotFoundError,
)
from quantseq.market.yahoo import YahooSource, _explain, _yfinance
from tests.market.conftest import (
    LoopbackSession,
    Reply,
    Yahoo,
    chart,
    earnings_page,
    good,
    refusal,
    source_for,
    stamp,
    utc,
)

DAYS = ["2024-01-02", "2024-01-03", "2024-01-04"]


def by_kind(zone: Reply, prices: Reply):
    """Answer the look-up of the time zone with one reply and the prices with another."""
    return lambda symbol, query: prices if "period1" in query else zone


def test_answer_becomes_bars(yahoo: Yahoo) -> None:
    events = {
        "dividends": {"a": {"amount": 0.25, "date": stamp("2024-01-03")}},
        "splits": {
            "b": {
                "date": stamp("2024-01-04"),
                "numerator": 2,
                "denominator": 1,
                "splitRatio": "2:1",
            }
        },
    }
    payload = chart(DAYS, events=events, adjclose=[50.0, 50.5, 51.0])
    yahoo.answer = lambda symbol, query: good(payload)
    bars = source_for(yahoo).fetch("good1", start="2024-01-02", end="2024-01-04")
    assert bars.symbol == "GOOD1"
    assert bars.sessions.astype(str).tolist() == DAYS
    assert bars.close.tolist() == [100, 101, 102]
    assert bars.open.tolist() == [99.5, 100.5, 101.5]
    assert bars.high.tolist() == [101, 102, 103]
    assert bars.low.tolist() == [99, 100, 101]
    assert bars.adj_close.tolist() == [50, 50.5, 51]
    assert bars.volume.tolist() == [1000, 1001, 1002]
    assert bars.dividends.tolist() == [0, 0.25, 0]
    assert bars.splits.tolist() == [0, 0, 2]
    assert bars.timezone == "America/New_York"
    facts = bars.provenance
    assert (facts["source"], facts["interval"], facts["currency"]) == ("yahoo", "1d", "USD")
    assert (facts["start"], facts["end"]) == ("2024-01-02", "2024-01-04")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", facts["fetched_at"])
    assert set(facts["versions"]) == {"quantseq", "pandas", "yfinance"}


def test_asks_for_both_ends_inclusively(yahoo: Yahoo) -> None:
    yahoo.answer = lambda symbol, query: good(chart(DAYS))
    source_for(yahoo).fetch("^range", start="2024-01-02", end="2024-01-03")
    symbol, query = yahoo.asked[-1]
    assert symbol == "^RANGE"
    midnight = stamp("2024-01-02") - 34_200
    assert int(query["period1"]) == midnight
    assert int(query["period2"]) == midnight + 2 * 86_400
    assert query["interval"] == "1d"


def test_no_start_asks_for_everything(yahoo: Yahoo) -> None:
    yahoo.answer = lambda symbol, query: good(chart(DAYS))
    assert len(source_for(yahoo).fetch("ALLOFIT")) == 3
    assert int(yahoo.asked[-1][1]["period1"]) < -2_000_000_000


def test_more_than_asked_for_is_cut(yahoo: Yahoo) -> None:
    yahoo.answer = lambda symbol, query: good(chart(DAYS))
    bars = source_for(yahoo).fetch("CUT", start="2024-01-03", end="2024-01-03")
    assert bars.sessions.astype(str).tolist() == ["2024-01-03"]


def test_rows_without_any_price_are_left_out(yahoo: Yahoo) -> None:
    yahoo.answer = lambda symbol, query: good(chart(DAYS, close=[100.0, None, 102.0]))
    bars = source_for(yahoo).fetch("NULLS", end="2024-01-04")
    assert bars.sessions.astype(str).tolist() == [DAYS[0], DAYS[2]]


def test_a_row_that_lacks_some_prices_is_left_out_and_counted(yahoo: Yahoo) -> None:
    yahoo.answer = lambda symbol, query: good(chart(DAYS, low=[99.0, None, 101.0]))
    bars = source_for(yahoo).fetch("HALF", end="2024-01-04")
    assert bars.sessions.astype(str).tolist() == [DAYS[0], DAYS[2]]
    assert bars.provenance["left_out"] == {"rows that lack a number": [DAYS[1]]}


def test_many_rows_without_use_are_asked_about(yahoo: Yahoo) -> None:
    yahoo.answer = lambda symbol, query: good(chart(DAYS, open=[0.0, 0.0, 101.0]))
    with pytest.raises(BarsError, match=r"2 of 3 rows cannot be used.*--start 2024-01-04"):
        source_for(yahoo).fetch("OLD", end="2024-01-04")
    assert len(source_for(yahoo, allow_gaps=True).fetch("OLD", end="2024-01-04")) == 1
    kept = source_for(yahoo, keep_closes=True).fetch("OLD", end="2024-01-04")
    assert kept.provenance["closes_only"] == DAYS[:2]


@pytest.mark.parametrize(
    ("zone", "instrument", "now", "period", "kept"),
    [
        # New York closes at 16:00, which is 21:00 UTC in January; the calendar knows
        ("America/New_York", "EQUITY", "2024-01-04T20:00", None, 2),
        ("America/New_York", "EQUITY", "2024-01-04T21:29", None, 2),
        ("America/New_York", "EQUITY", "2024-01-04T21:30", None, 3),
        # whatever Yahoo says about the session in progress
        (
            *("America/New_York", "EQUITY", "2024-01-04T18:30"),
            *(("2024-01-04T09:30", "2024-01-04T13:00"), 2),
        ),
        # Tokyo's day starts before UTC's and ends at 15:00, as it did until November 2024
        ("Asia/Tokyo", "EQUITY", "2024-01-04T06:29", None, 2),
        ("Asia/Tokyo", "EQUITY", "2024-01-04T06:30", None, 3),
        # around the clock
        ("UTC", "CRYPTOCURRENCY", "2024-01-05T00:29", None, 2),
        ("UTC", "CRYPTOCURRENCY", "2024-01-05T00:30", None, 3),
        # no calendar: the close that Yahoo names
        (
            *("America/New_York", "FUTURE", "2024-01-04T21:29"),
            *(("2024-01-04T09:30", "2024-01-04T16:00"), 2),
        ),
        (
            *("America/New_York", "FUTURE", "2024-01-04T21:30"),
            *(("2024-01-04T09:30", "2024-01-04T16:00"), 3),
        ),
        # Yahoo speaks of the next session already
        (
            *("America/New_York", "FUTURE", "2024-01-05T12:00"),
            *(("2024-01-05T09:30", "2024-01-05T16:00"), 3),
        ),
        # no session known: midnight at the exchange decides
        ("Europe/London", "CURRENCY", "2024-01-05T00:29", None, 2),
        ("Europe/London", "CURRENCY", "2024-01-05T00:30", None, 3),
    ],
)
def test_partial_last_bar(
    yahoo: Yahoo,
    zone: str,
    instrument: str,
    now: str,
    period: tuple[str, str] | None,
    kept: int,
) -> None:
    yahoo.answer = lambda symbol, query: good(
        chart(DAYS, zone=zone, period=period, instrument=instrument)
    )
    symbol = f"PART-{instrument}-{zone.split('/')[-1].upper()}"
    bars = source_for(yahoo, now=utc(now)).fetch(symbol, end="2024-01-08")
    assert len(bars) == kept


def test_an_early_close_is_known_from_the_calendar(yahoo: Yahoo) -> None:
    """The day after Thanksgiving ends at 13:00, 18:00 UTC."""
    days = ["2023-11-22", "2023-11-24"]
    yahoo.answer = lambda symbol, query: good(chart(days, exchange="NMS"))
    for now, kept in [("2023-11-24T18:29", 1), ("2023-11-24T18:30", 2)]:
        assert len(source_for(yahoo, now=utc(now)).fetch("EARLY", end="2023-12-01")) == kept


def test_hours_become_instants(yahoo: Yahoo) -> None:
    hours = ["2024-01-03T09:30", "2024-01-03T15:30", "2024-01-04T09:30", "2024-01-04T10:30"]
    yahoo.answer = lambda symbol, query: good(chart(hours, exchange="NMS"))
    source = source_for(yahoo, now=utc("2024-01-04T15:59"))
    bars = source.fetch("HOURLY", start="2024-01-03", interval="1h")
    assert bars.interval == "1h"
    assert bars.sessions.astype(str).tolist() == [
        "2024-01-03T14:30:00",
        "2024-01-03T20:30:00",  # ends at the close, not an hour later
    ]
    assert yahoo.asked[-1][1]["interval"] == "1h"
    later = source_for(yahoo, now=utc("2024-01-04T16:00"))
    assert len(later.fetch("HOURLY", start="2024-01-03", interval="1h")) == 3


def test_weeks_are_dated_by_their_monday_and_wait_for_their_last_close(yahoo: Yahoo) -> None:
    weeks = ["2023-12-26", "2024-01-01", "2024-01-08"]  # a Tuesday, after a holiday
    yahoo.answer = lambda symbol, query: good(chart(weeks, exchange="NYQ"))
    source = source_for(yahoo, now=utc("2024-01-12T21:29"))
    bars = source.fetch("WEEKLY", start="2023-12-28", interval="1wk")
    assert bars.sessions.astype(str).tolist() == ["2023-12-25", "2024-01-01"]
    assert int(yahoo.asked[-1][1]["period1"]) == stamp("2023-12-25") - 34_200
    later = source_for(yahoo, now=utc("2024-01-12T21:30"))
    assert len(later.fetch("WEEKLY", start="2023-12-28", interval="1wk")) == 3


@pytest.mark.parametrize(
    ("interval", "earliest", "days"), [("5m", "2023-11-06", 60), ("1h", "2022-01-05", 730)]
)
def test_what_yahoo_has_forgotten_is_said_before_it_is_asked(
    yahoo: Yahoo, interval: str, earliest: str, days: int
) -> None:
    yahoo.answer = lambda symbol, query: good(chart(["2024-01-03T09:30"]))
    source = source_for(yahoo, now=utc("2024-01-04T12:00"))
    with pytest.raises(NoDataError, match=f"{interval} bars for {days} days only, now from"):
        source.fetch("AAPL", start="2020-01-01", interval=interval)
    assert not yahoo.asked
    bars = source.fetch("SHORT", interval=interval)
    assert bars.provenance["start"] == earliest
    assert int(yahoo.asked[-1][1]["period1"]) == stamp(earliest) - 34_200


def test_about_one_request_a_second(yahoo: Yahoo) -> None:
    """The first visit of a symbol takes two requests: its time zone, its prices."""
    yahoo.answer = lambda symbol, query: good(chart(DAYS))
    slept: list[float] = []
    source = source_for(yahoo, rate=0.001, sleep=slept.append)
    for symbol in ("PACE1", "PACE1", "PACE2"):
        source.fetch(symbol, end="2024-01-04")
    assert slept == [pytest.approx(2000, abs=60), pytest.approx(1000, abs=60)]


def test_retries_wait_longer_each_time_with_jitter(yahoo: Yahoo) -> None:
    yahoo.answer = by_kind(FINE, Reply(200, "{"))
    slept: list[float] = []
    source = source_for(yahoo, attempts=4, wait=8.0, sleep=slept.append)
    with pytest.raises(BadResponseError):
        source.fetch("JITTER", start="2024-01-02", end="2024-01-04")
    assert len(slept) == 3
    for seconds, least in zip(slept, (8, 16, 30), strict=True):
        assert least <= seconds < least + 8
    assert len({second % 1 for second in slept}) == 3


UNKNOWN = refusal(404, "No data found, symbol may be delisted")
BAD_RANGE = refusal(
    422, "Data doesn't exist for startDate = 1, endDate = 2", "Unprocessable Entity"
)
FINE = good(chart(DAYS))
NULL = Reply(200, json.dumps({"chart": {"result": None, "error": None}}))
EMPTY = chart([])
del EMPTY["chart"]["result"][0]["timestamp"]
EMPTY["chart"]["result"][0]["indicators"] = {"quote": [{}], "adjclose": [{}]}
NO_CURRENCY = chart(DAYS)
del NO_CURRENCY["chart"]["result"][0]["meta"]["currency"]


@pytest.mark.parametrize(
    ("symbol", "zone", "prices", "error", "attempts"),
    [
        ("E404", UNKNOWN, UNKNOWN, SymbolNotFoundError, 0),
        ("E404LATER", FINE, UNKNOWN, SymbolNotFoundError, 2),
        ("E422", FINE, BAD_RANGE, NoDataError, 2),
        ("ENULL", FINE, NULL, NoDataError, 1),
        ("EEMPTY", FINE, good(EMPTY), NoDataError, 1),
        ("E429", FINE, Reply(429, "Too Many Requests"), RateLimitedError, 6),
        ("E500", FINE, Reply(500, "Internal Server Error"), SourceUnavailableError, 6),
        (
            "E502",
            FINE,
            Reply(502, "<html><body>Bad Gateway</body></html>"),
            SourceUnavailableError,
            6,
        ),
        ("EHTML", FINE, Reply(200, "<!doctype html><p>consent</p>"), SourceUnavailableError, 3),
        ("EDOWN", FINE, Reply(200, "Will be right back"), SourceUnavailableError, 3),
        ("EJSON", FINE, Reply(200, '{"chart": {"result": ['), BadResponseError, 3),
        ("ENOTHING", FINE, Reply(200, ""), SourceUnavailableError, 3),
        (
            "ESHAPE",
            FINE,
            Reply(200, '{"chart": {"error": null, "result": [{}]}}'),
            BadResponseError,
            3,
        ),
        ("EMETA", FINE, good(NO_CURRENCY), BadResponseError, 3),
        ("EZONE", NULL, FINE, BadResponseError, 0),
        ("ECUT", FINE, Reply(200, '{"chart":', claimed_length=5000), SourceUnavailableError, 3),
    ],
)
def test_every_answer_has_its_error(
    yahoo: Yahoo, symbol: str, zone: Reply, prices: Reply, error: type[QuantseqError], attempts: int
) -> None:
    yahoo.answer = by_kind(zone, prices)
    with pytest.raises(error) as caught:
        source_for(yahoo).fetch(symbol, start="2024-01-02", end="2024-01-04")
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"{symbol}: ")
    assert "\n" not in str(caught.value)
    assert yahoo.prices_asked() == attempts  # yfinance itself asks twice when refused


def test_refused_connection_of_the_default_transport() -> None:
    from curl_cffi.requests import Session

    class Refused(Session):
        def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
            return super().request(method, "http://127.0.0.1:9/", *args, **kwargs)

    with pytest.raises(SourceUnavailableError, match=r"NOCURL: Yahoo cannot be reached \(Conn"):
        YahooSource(session=Refused(), wait=0.0, rate=1e9).fetch("NOCURL")


def test_refused_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        source = YahooSource(session=LoopbackSession(taken.getsockname()[1]), wait=0.0, rate=1e9)
        with pytest.raises(
            SourceUnavailableError, match=r"REFUSED: Yahoo cannot be reached \(Conn"
        ):
            source.fetch("REFUSED")


def test_a_slow_answer_is_an_answer(yahoo: Yahoo) -> None:
    yahoo.answer = by_kind(FINE, Reply(200, FINE.body, hang=0.3))
    assert len(source_for(yahoo).fetch("LATE", start="2024-01-02", end="2024-01-04")) == 3


def test_timeout(yahoo: Yahoo) -> None:
    yahoo.answer = by_kind(FINE, Reply(200, "{}", hang=30.0))
    source = source_for(yahoo, timeout=0.1, attempts=2)
    with pytest.raises(
        SourceUnavailableError, match=r"SLOW: Yahoo cannot be reached \(ReadTimeout\)"
    ):
        source.fetch("SLOW", start="2024-01-02", end="2024-01-04")
    assert yahoo.prices_asked() == 2


@pytest.mark.parametrize(
    "first", [Reply(500, "oops"), Reply(200, "{"), Reply(200, "<p>"), Reply(429, "slow down")]
)
def test_a_second_try_helps(yahoo: Yahoo, first: Reply) -> None:
    """The bad answer is not remembered, although the range lies in the past (yfinance caches it)."""
    bad_ones = 2 if first.status >= 400 else 1

    def answer(symbol: str, query: dict[str, str]) -> Reply:
        return first if "period1" in query and yahoo.prices_asked() <= bad_ones else FINE

    yahoo.answer = answer
    bars = source_for(yahoo).fetch("RETRY", start="2024-01-02", end="2024-01-04")
    assert len(bars) == 3
    assert yahoo.prices_asked() == bad_ones + 1


def test_what_changes_between_two_fetches_is_seen(yahoo: Yahoo) -> None:
    yahoo.answer = lambda symbol, query: good(chart(DAYS))
    source = source_for(yahoo)
    before = source.fetch("TWICE", start="2024-01-02", end="2024-01-04")
    yahoo.answer = lambda symbol, query: good(chart(DAYS, adjclose=[50.0, 50.5, 51.0]))
    after = source.fetch("TWICE", start="2024-01-02", end="2024-01-04")
    assert before.adj_close.tolist() == [100, 101, 102]
    assert after.adj_close.tolist() == [50, 50.5, 51]


@pytest.mark.parametrize(
    "symbol", ["../x", "", "  ", "A B", "A?range=max", "A%2e", "A\nB", "A" * 41]
)
def test_impossible_symbols_never_reach_the_network(yahoo: Yahoo, symbol: str) -> None:
    with pytest.raises(SymbolNotFoundError, match="cannot be a Yahoo symbol"):
        source_for(yahoo).fetch(symbol)
    assert not yahoo.asked


def test_yahoo_refuses_bad_parameters() -> None:
    with pytest.raises(ConfigError, match=r"must be an int in .1, inf.. Got 0"):
        YahooSource(attempts=0)
    with pytest.raises(ConfigError, match="Got '2h'"):
        YahooSource().fetch("AAPL", interval="2h")
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=r"'rate' parameter"):
            YahooSource(rate=rate)


def test_a_broken_installation_is_not_blamed_on_yahoo(
    yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_for(yahoo)
    _yfinance.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "yfinance", None)  # as if it were not installed
        with pytest.raises(ConfigError, match="pip install --force-reinstall yfinance"):
            source.fetch("AAPL")
    _yfinance.cache_clear()
    assert yahoo.prices_asked() == 0


def test_a_package_that_yfinance_lacks_later_is_not_blamed_on_yahoo() -> None:
    found = _explain("AAPL", ModuleNotFoundError("No module named 'lxml'"))
    assert isinstance(found, ConfigError)
    assert "lxml" in str(found)


def test_the_floors_are_the_versions_that_are_tested() -> None:
    """No replay covers an older yfinance, and exchange_calendars had no Stuttgart before."""
    root = Path(__file__).parents[2]
    needs = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = dict(
        line.split("==") for line in (root / "constraints.txt").read_text().split("\n")[1:-1]
    )
    for name in ("yfinance", "exchange_calendars"):
        floor = next(one for one in needs if one.startswith(name)).partition(">=")[2]
        assert Version(floor) == Version(pins[name]) <= Version(metadata.version(name))


def test_earnings_dates_become_events_at_the_clock_of_the_exchange(yahoo: Yahoo) -> None:
    page = earnings_page(
        "January 29, 2026 at 4 PM EST",
        "October 30, 2025 at 8 AM EDT",
        "July 31, 2025 at 12 AM EDT",
        "July 31, 2025 at 4 PM EDT",
    )
    yahoo.answer = lambda symbol, query: page
    found = source_for(yahoo).events("aapl")
    assert yahoo.asked[-1][0] == "AAPL"
    assert found.dates.astype(str).tolist() == ["2025-07-31", "2025-10-30", "2026-01-29"]
    assert found.timings.tolist() == ["after-close", "before-open", "after-close"]
    assert set(found.kinds.tolist()) == {"earnings"}
    assert np.isnat(found.known_on).all()
    tokyo = source_for(yahoo).events("7203.T", timezone="Asia/Tokyo")
    assert tokyo.dates.astype(str).tolist()[-1] == "2026-01-30"


def test_no_earnings_dates_and_no_answer_are_told_apart(yahoo: Yahoo) -> None:
    yahoo.answer = lambda symbol, query: earnings_page()
    with pytest.raises(NoDataError, match="no earnings dates"):
        source_for(yahoo).events("^GSPC")
    yahoo.answer = lambda symbol, query: Reply(429, "slow down")
    with pytest.raises(RateLimitedError, match="too often"):
        source_for(yahoo).events("AAPL")
