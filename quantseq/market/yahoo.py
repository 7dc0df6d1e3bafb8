"""Yahoo Finance as a source, through yfinance: the only import of yfinance in the house.

Owns the conversation with Yahoo: pace, retries, what its answers and failures mean. Knows nothing of the
store. What it answers with are validated `Bars`, or an error of our own tree: a `DataError` if asking
again would change nothing, a `SourceError` if it might.
"""

import functools
import logging
import re
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from quantseq.errors import (
    BadResponseError,
    ConfigError,
    NoDataError,
    QuantseqError,
    RateLimitedError,
    SourceError,
    SourceUnavailableError,
    SymbolNotFoundError,
    check_parameters,
)
from quantseq.files import scratch_folder
from quantseq.market.bars import (
    DATE_DTYPE,
    FIELDS,
    INSTANT_DTYPE,
    Bars,
    Events,
    check_interval,
    date_range,
    is_intraday,
    monday,
)
from quantseq.market.calendars import Clock
from quantseq.market.events import EARNINGS, timing_at
from quantseq.market.health import RawBars, clean
from quantseq.market.sources import Pace, answer

_DAYS_KEPT = {"1h": 730, "5m": 60}  # for how many days Yahoo keeps bars that are shorter than a day

_UNCHANGED = {"auto_adjust": False, "back_adjust": False, "repair": False, "keepna": True}
"""How to ask yfinance for what Yahoo says, and nothing else."""

_EARLIEST = "1900-01-01"
_YAHOO_SYMBOL = re.compile(r"[^\s/\\?#%\x00-\x1f]{1,40}")
_UNKNOWN = re.compile(r"delisted|not found|no data found", re.IGNORECASE)


class YahooSource:
    """Yahoo Finance through yfinance: prices split-adjusted, the adjusted close adds dividends.

    A bar whose session has not been closed for 30 minutes is left out, and so are rows that cannot be used: see
    `quantseq.market.health.clean`, whose `allow_gaps` and `keep_closes` these are.

    Only a `SourceError` is worth another of the `attempts`, of which there is at least 1.
    """

    name = "yahoo"

    def __init__(
        self,
        *,
        session: Any = None,  # the transport, as requests or curl_cffi have it; by default yfinance's
        timeout: float = 10.0,  # seconds
        attempts: int = 3,
        wait: float = 1.0,  # seconds before the second attempt; doubles, with jitter, up to 30
        rate: float = 1.0,  # requests a second, about; above 0
        allow_gaps: bool = False,
        keep_closes: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.session, self.timeout = session, timeout
        self.attempts, self.wait = attempts, wait
        self.cleaning = {"allow_gaps": allow_gaps, "keep_closes": keep_closes}
        self.now, self.sleep, self.pace = now, sleep, Pace(rate, sleep=sleep)
        self._known: set[str] = set()
        check_parameters(self, {"attempts": "int [1, inf)"})

    def fetch(
        self, symbol: str, *, start: Any = None, end: Any = None, interval: str = "1d"
    ) -> Bars:
        """See `Source.fetch`; asks Yahoo up to `attempts` times."""
        first, last = date_range(start, end)
        check_interval(interval)
        known = self._written(symbol)
        first = self._reachable(known, first, interval)
        if interval == "1wk":  # whole weeks, whatever day was named
            first = None if first is None else monday(first)
            last = None if last is None else monday(last) + np.timedelta64(6, "D")
        stop = None if last is None else str(last + np.timedelta64(1, "D"))
        frame, meta = self._retrying(self._ask, known, str(first or _EARLIEST), stop, interval)
        bars = self._bars(known, frame, meta, interval)
        return answer(bars, self.name, {}, start=first, end=last, packages=("yfinance",))

    def events(self, symbol: str, *, timezone: str = "") -> Events:
        """The past and upcoming earnings dates that Yahoo shows for a symbol, 100 at most.

        Their timing is that of the time of day at an exchange in `timezone`, by default New York. Yahoo does not say
        since when they were known. A NoDataError if it shows none.
        """
        known = self._written(symbol)
        moments = self._retrying(self._ask_events, known)
        clock = moments.tz_convert(timezone or "America/New_York").tz_localize(None)
        local = clock.sort_values().to_numpy().astype(INSTANT_DTYPE)
        local = local[
            np.diff(local.astype(DATE_DTYPE), append=np.datetime64("9999-12-31")).astype(np.int64)
            > 0
        ]  # the last of a day
        nothing = np.full(len(local), "NaT", dtype=DATE_DTYPE)
        return Events(local, np.full(len(local), EARNINGS), timing_at(local), nothing)

    @staticmethod
    def _written(symbol: str) -> str:
        """The symbol as Yahoo writes it."""
        known = symbol.strip().upper()
        if not _YAHOO_SYMBOL.fullmatch(known):
            raise SymbolNotFoundError(
                f"{symbol!r} cannot be a Yahoo symbol. Write it like AAPL, ^GSPC, BRK-B or EURUSD=X."
            )
        return known

    def _retrying(self, ask: Callable[..., Any], *asked: Any) -> Any:
        import tenacity

        pauses = tenacity.wait_exponential(multiplier=self.wait, max=30)
        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=pauses + tenacity.wait_random(0, self.wait),
            retry=tenacity.retry_if_exception_type(SourceError),
            sleep=self.sleep,
            reraise=True,
        )(ask, *asked)

    def _ask_events(self, symbol: str) -> pd.DatetimeIndex:
        """One attempt: when the earnings are that Yahoo shows."""
        self.pace()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yfinance, cache_clear = _yfinance()
            warnings.simplefilter("ignore")
            try:
                cache_clear()
                frame = yfinance.Ticker(symbol, session=self.session).get_earnings_dates(limit=100)
            except Exception as error:
                raise _explain(symbol, error) from error
        if frame is None or not len(frame):
            raise NoDataError(
                f"{symbol}: Yahoo shows no earnings dates. Import those that you know with: quantseq data import-events"
            )
        return pd.DatetimeIndex(frame.index)

    def _reachable(
        self, symbol: str, first: np.datetime64 | None, interval: str
    ) -> np.datetime64 | None:
        """`first`, or where Yahoo's history of this interval begins."""
        if not is_intraday(interval):
            return first
        days = _DAYS_KEPT[interval]
        earliest = np.datetime64(self.now().date() - timedelta(days=days - 1), "D")
        if first is not None and first < earliest:
            raise NoDataError(
                f"{symbol}: Yahoo keeps {interval} bars for {days} days only, now from {earliest} on; "
                f"asked for was {first}. Use a --start of {earliest} or later, or --interval 1d."
            )
        return earliest if first is None else first

    def _ask(
        self, symbol: str, start: str, stop: str | None, interval: str
    ) -> tuple[pd.DataFrame, Mapping[str, Any]]:
        """One attempt: the raw frame and Yahoo's facts about the listing."""
        self.pace(1 if symbol in self._known else 2)  # a new symbol's time zone is asked for first
        self._known.add(symbol)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # yfinance itself trips over pandas 3 ...
            yfinance, cache_clear = _yfinance()
            warnings.simplefilter("ignore")  # ... and asks for warnings when it is imported
            try:
                cache_clear()
                ticker = yfinance.Ticker(symbol, session=self.session)
                asked = {"start": start, "end": stop, "interval": interval}
                frame = ticker.history(**asked, **_UNCHANGED, timeout=self.timeout)
                return frame, ticker.get_history_metadata()
            except Exception as error:
                raise _explain(symbol, error) from error

    def _bars(
        self, symbol: str, frame: pd.DataFrame, meta: Mapping[str, Any], interval: str
    ) -> Bars:
        names = {"Adj Close": "adj_close", "Stock Splits": "splits"}
        frame = frame.rename(columns=names).rename(columns=str.lower)
        clock = pd.DatetimeIndex(frame.index)
        if is_intraday(interval) and clock.tz is not None:
            clock = clock.tz_convert("UTC")
        sessions = clock.tz_localize(None).to_numpy().astype(INSTANT_DTYPE)
        if not is_intraday(interval):
            sessions = monday(sessions) if interval == "1wk" else sessions.astype(DATE_DTYPE)
        facts = {
            "currency": meta.get("currency"),
            "instrument": meta.get("instrumentType"),
            "exchange": meta.get("exchangeName"),
            "adjustment": "split-adjusted prices; adj_close adds dividends",
        }
        zone = str(meta.get("exchangeTimezoneName") or "")
        columns = {one: frame[one].to_numpy(np.float64, na_value=np.nan) for one in FIELDS}
        where: Any = {"timezone": zone, "interval": interval, "provenance": facts}
        raw = RawBars(symbol, sessions, columns, tuple(map(str, sessions)), **where)
        bars = clean(raw, **self.cleaning)
        end = ((meta.get("currentTradingPeriod") or {}).get("regular") or {}).get("end")
        close = np.datetime64(int(end.timestamp()), "s") if isinstance(end, pd.Timestamp) else None
        return Clock.of(bars, self.now(), close).drop_partial(bars)


@functools.cache
def _yfinance() -> tuple[Any, Callable[[], None]]:
    """Import yfinance once, make it speak up, and give it a cache folder that nobody else sees."""
    try:
        import yfinance  # noqa: TID251
        from yfinance.data import YfData  # noqa: TID251
    except Exception as error:
        raise _broken(error) from error
    yfinance.set_tz_cache_location(str(scratch_folder()))
    yfinance.config.debug.hide_exceptions = False
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)
    return yfinance, YfData.cache_get.cache_clear


def _broken(error: Exception) -> ConfigError:
    return ConfigError(
        f"yfinance cannot be used ({type(error).__name__}: {' '.join(str(error).split())[:200]}). Not Yahoo "
        "but the installation here is broken. Repair it with: pip install --force-reinstall yfinance"
    )


def _explain(symbol: str, error: Exception) -> QuantseqError:
    """Find the error of our own tree that says what yfinance and its transports mean."""
    if isinstance(error, ImportError):  # yfinance imports some packages only when it needs them
        return _broken(error)
    kind, text = type(error).__name__, " ".join(str(error).split())[:200]
    status = getattr(getattr(error, "response", None), "status_code", 0)  # 0: there was no answer
    reason = getattr(error, "yahoo_reason", None)
    meaning: type[QuantseqError] = BadResponseError
    what = f"Yahoo's answer makes no sense ({kind}: {text}). Try again later."
    if kind == "YFRateLimitError" or status == 429:
        meaning = RateLimitedError
        what = "Yahoo says that it was asked too often. Wait some minutes, then try again."
    elif kind == "YFTzMissingError" or status == 404 or _UNKNOWN.search(reason or ""):
        meaning = SymbolNotFoundError
        what = "Yahoo does not know this symbol. Check its spelling at finance.yahoo.com."
    elif kind == "YFPricesMissingError":
        meaning = NoDataError
        what = f"Yahoo has no prices in this range ({reason or 'an empty answer'}). Choose another --start and --end."
    elif kind == "JSONDecodeError" and str(getattr(error, "doc", "")).lstrip()[:1] in ("{", "["):
        what = f"Yahoo's answer breaks off or is no valid JSON ({text}). Try again later."
    elif kind == "JSONDecodeError":
        meaning = SourceUnavailableError
        what = "Yahoo answered with an error page instead of prices. Try again later."
    elif kind == "YFDataException" or status >= 500:
        meaning, what = SourceUnavailableError, f"Yahoo is down ({text}). Try again later."
    elif status < 400 and isinstance(error, OSError):
        meaning = SourceUnavailableError
        what = f"Yahoo cannot be reached ({kind}). Check the network and try again; --source sample needs none."
    return meaning(f"{symbol}: {what}")
