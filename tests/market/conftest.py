"""Builders of small bars, and a replay server that plays Yahoo for the real yfinance client."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import requests
from hypothesis import settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.market.bars import FIELDS, PRICES, Bars, check_symbol, monday
from quantseq.market.health import check_bars
from quantseq.market.yahoo import YahooSource

LAW = settings(deadline=None, max_examples=30)
"""How the laws of this room are searched."""

NEW_YORK = ZoneInfo("America/New_York")


def _is_symbol(text: str) -> bool:
    try:
        return check_symbol(text) == text
    except ConfigError:
        return False


SYMBOLS = st.text(min_size=1, max_size=30).map(str.strip).filter(_is_symbol)
"""Anything that can be the symbol of prices."""


def build_bars(
    symbol: str = "AAPL", *, start: str = "2020-01-01", n: int = 8, **changes: Any
) -> Bars:
    """Plain bars on weekdays from `start`; `changes` replace whole fields or properties of Bars."""
    first = np.busday_offset(start, 0, roll="forward")
    close = 100.0 + np.arange(n)
    values: dict[str, Any] = {
        "sessions": np.busday_offset(first, np.arange(n)),
        "open": close - 0.5,
        "high": close + 1.0,
        "low": close - 1.0,
        "close": close,
        "adj_close": close,
        "volume": np.full(n, 1000.0),
        "dividends": np.zeros(n),
        "splits": np.zeros(n),
        "provenance": {"source": "test"},
    }
    return Bars(symbol, **(values | changes))


def sound(n: int = 60, **changes: Any) -> Bars:
    """Weekday bars of 2020 that wander by about 1 % a day; no calendar unless a time zone is given."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, n)))
    fields = {"open": close * 0.999, "high": close * 1.01, "low": close * 0.98, "close": close}
    fields |= {"adj_close": close, "volume": np.arange(1.0, n + 1)}
    return build_bars(n=n, **(fields | {"timezone": "Etc/Test"} | changes))


def scaled(bars: Bars, where: slice | int, factor: float) -> Bars:
    """Bars with all prices of some sessions multiplied."""
    fields = {}
    for name in PRICES:
        fields[name] = getattr(bars, name).copy()
        fields[name][where] *= factor
    return replace(bars, **fields)


def findings(bars: Bars) -> dict[str, tuple[str, int]]:
    """Severity and count by rule, without the remark that there is no calendar."""
    return {f.rule: (f.severity, f.count) for f in check_bars(bars) if f.rule != "calendar"}


def build_intraday(
    symbol: str = "AAPL", *, start: str = "2024-01-02", days: int = 3, interval: str = "1h"
) -> Bars:
    """Plain bars of New York's winter hours, 14:30 to 21:00 UTC, on weekdays from `start`."""
    seconds = {"1h": 3600, "5m": 300}[interval]
    dates = np.busday_offset(start, np.arange(days), roll="forward").astype("datetime64[s]")
    hours = np.arange(14 * 3600 + 1800, 21 * 3600, seconds)
    sessions = (dates[:, None] + hours[None, :]).ravel()
    plain = build_bars(symbol, n=len(sessions))
    fields = {name: getattr(plain, name) for name in FIELDS}
    facts = {"provenance": {"source": "test"}, "interval": interval}
    return Bars(symbol, sessions, **fields, timezone="America/New_York", **facts)


@st.composite
def any_bars(draw: st.DrawFn, interval: str = "1d") -> Bars:
    """Whatever `Bars` accepts: odd symbols, gaps, extreme prices, negative zeros."""
    n = draw(st.integers(1, 12))
    days = draw(st.lists(st.integers(-130_000, 80_000), min_size=n, max_size=n, unique=True))
    prices = st.floats(min_value=5e-324, allow_infinity=False, allow_nan=False)
    others = st.floats(min_value=-0.0, allow_infinity=False, allow_nan=False)
    fields = {
        name: np.array(draw(st.lists(prices if name in PRICES else others, min_size=n, max_size=n)))
        for name in FIELDS
    }
    sessions = np.sort(np.array(days)).astype("datetime64[D]")
    if interval == "1wk":
        sessions = np.unique(monday(sessions))
        fields = {name: values[: len(sessions)] for name, values in fields.items()}
    elif interval != "1d":
        moments = st.lists(st.integers(-(10**10), 7 * 10**9), min_size=n, max_size=n, unique=True)
        sessions = np.sort(np.array(draw(moments))).astype("datetime64[s]")
    provenance = draw(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2))
    symbol = draw(SYMBOLS)
    timezone = draw(st.sampled_from(["", "UTC", "Asia/Tokyo", "America/New_York"]))
    facts = {"timezone": timezone, "provenance": provenance, "interval": interval}
    return Bars(symbol, sessions, **fields, **facts)


def assert_same_bars(left: Bars, right: Bars) -> None:
    """Equal bit for bit: symbol, sessions, every field, and time zone."""
    assert left.symbol == right.symbol
    assert left.sessions.tobytes() == right.sessions.tobytes()
    for name in FIELDS:
        assert getattr(left, name).tobytes() == getattr(right, name).tobytes(), name
    assert (left.timezone, left.interval) == (right.timezone, right.interval)
    assert left.sha256 == right.sha256


@dataclass
class Reply:
    """What the server answers once: a status and a body, or a way to misbehave."""

    status: int = 200
    body: str = ""
    claimed_length: int | None = None
    hang: float = 0.0


@dataclass
class Yahoo:
    """The replay server: `answer` decides on chart requests, `asked` records them."""

    answer: Callable[[str, dict[str, str]], Reply]
    port: int = 0
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def session(self) -> requests.Session:
        """A session that sends everything here, whatever host it is meant for."""
        return LoopbackSession(self.port)

    def prices_asked(self) -> int:
        """How many chart requests were about prices, not about the time zone."""
        return sum("period1" in query for _, query in self.asked)


class LoopbackSession(requests.Session):
    """Swaps scheme and host of every request for the replay server's."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.trust_env = False
        self.port = port

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        parts = urlsplit(url)
        local = urlunsplit(("http", f"127.0.0.1:{self.port}", parts.path, parts.query, ""))
        response = super().request(method, local, *args, **kwargs)
        response.url = url
        return response


def chart(
    days: list[str],
    *,
    close: list[float | None] | None = None,
    zone: str = "America/New_York",
    events: dict[str, Any] | None = None,
    period: tuple[str, str] | None = None,
    instrument: str = "EQUITY",
    exchange: str | None = None,
    **quote: Any,
) -> dict[str, Any]:
    """Yahoo's chart answer for bars at 09:30 exchange time, or at the time that stands in `days`."""
    clock = ZoneInfo(zone)
    moments = [
        datetime.fromisoformat(day if "T" in day else f"{day}T09:30").replace(tzinfo=clock)
        for day in days
    ]
    stamps = [int(moment.timestamp()) for moment in moments]
    close = [100.0 + i for i in range(len(days))] if close is None else close
    columns: dict[str, Any] = {
        "open": [None if c is None else c - 0.5 for c in close],
        "high": [None if c is None else c + 1 for c in close],
        "low": [None if c is None else c - 1 for c in close],
        "close": close,
        "volume": [1000 + i for i in range(len(days))],
    } | quote
    adjusted = columns.pop("adjclose", close)
    regular = {"start": 0, "end": 0, "gmtoffset": 0, "timezone": "EST"}
    if period is not None:
        for name, text in zip(("start", "end"), period, strict=True):
            regular[name] = int(datetime.fromisoformat(text).replace(tzinfo=clock).timestamp())
    result = {
        "meta": {
            "currency": "USD",
            "instrumentType": instrument,
            "exchangeTimezoneName": zone,
            "validRanges": ["1d", "max"],
            "priceHint": 2,
            "regularMarketTime": 0,
            "currentTradingPeriod": {name: dict(regular) for name in ("pre", "regular", "post")},
        },
        "timestamp": stamps,
        "indicators": {"quote": [columns], "adjclose": [{"adjclose": adjusted}]},
    }
    if exchange is not None:
        result["meta"]["exchangeName"] = exchange
    if any("T" in day for day in days):
        hours = [
            {
                "start": int(moment.replace(hour=9, minute=30).timestamp()),
                "end": int(moment.replace(hour=16, minute=0).timestamp()),
                "gmtoffset": 0,
                "timezone": "EST",
            }
            for moment in {moment.date(): moment for moment in moments}.values()
        ]
        result["meta"]["tradingPeriods"] = [[one] for one in hours]
    if events is not None:
        result["events"] = events
    return {"chart": {"error": None, "result": [result]}}


def stamp(day: str) -> int:
    """Unix seconds of 09:30 in New York."""
    return int(datetime.fromisoformat(f"{day}T09:30").replace(tzinfo=NEW_YORK).timestamp())


def refusal(status: int, description: str, code: str = "Not Found") -> Reply:
    """Yahoo's JSON form of a refusal."""
    error = {"result": None, "error": {"code": code, "description": description}}
    return Reply(status, json.dumps({"chart": error}))


def good(payload: dict[str, Any]) -> Reply:
    """A successful answer."""
    return Reply(200, json.dumps(payload))


def earnings_page(*days: str) -> Reply:
    """Yahoo's page of earnings dates, each written like ``October 30, 2025 at 4 PM EDT``."""
    heads = "Symbol", "Company", "Earnings Date", "EPS Estimate", "Reported EPS", "Surprise (%)"
    rows = [["X", "X Inc.", day, "1.5", "-", "-"] for day in days]
    table = "".join(
        f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in row)}</tr>"
        for tag, row in [("th", heads), *(("td", row) for row in rows)]
    )
    return Reply(200, f"<html><table>{table}</table></html>" if days else "<html>nothing</html>")


class ReplayHandler(BaseHTTPRequestHandler):
    """Speaks for the `Yahoo` that its server carries."""

    def do_GET(self) -> None:
        state: Yahoo = self.server.state  # type: ignore[attr-defined]
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/v1/test/getcrumb":
            reply = Reply(200, "crumb")
        elif parts.path.startswith("/v8/finance/chart/"):
            symbol = requests.utils.unquote(parts.path.rsplit("/", 1)[1])
            state.asked.append((symbol, query))
            reply = state.answer(symbol, query)
        elif parts.path == "/calendar/earnings":
            state.asked.append((query["symbol"], query))
            reply = state.answer(query["symbol"], query)
        else:
            reply = Reply(404, "not here")
        if reply.hang:
            state.released.wait(reply.hang)
        body = reply.body.encode()
        self.send_response(reply.status)
        self.send_header("Content-Length", str(reply.claimed_length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[Yahoo]:
    """A server on loopback; set the `answer` of what is yielded."""
    state = Yahoo(lambda symbol, query: refusal(404, "No data found, symbol may be delisted"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *args: None  # type: ignore[method-assign]
    server.state = state  # type: ignore[attr-defined]
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def yahoo() -> Iterator[Yahoo]:
    """A server on loopback; set its `answer` in the test."""
    with serving(ReplayHandler) as state:
        yield state


def source_for(yahoo: Yahoo, **changes: Any) -> YahooSource:
    """The real Yahoo source, talking to the replay server and not waiting between attempts."""
    options = {"session": yahoo.session(), "wait": 0.0, "timeout": 5.0, "rate": 1e9} | changes
    return YahooSource(**options)


def utc(text: str) -> Callable[[], datetime]:
    """A clock that has stopped at `text` (UTC)."""
    return lambda: datetime.fromisoformat(text).replace(tzinfo=UTC)
