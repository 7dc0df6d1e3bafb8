"""Where prices come from: one small protocol, and the sources that speak it.

Owns the conversation with Yahoo (the only import of yfinance in the house), the bundled sample and the
user's files as sources. Knows nothing of the store. A source answers with validated `Bars` or raises:
a `DataError` if asking again would change nothing, a `SourceError` if it might.
"""

import atexit
import functools
import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Protocol

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
)
from quantseq.market.bars import Bars, date_range
from quantseq.market.tables import read_table

SAMPLE_SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
SAMPLE_ATTRIBUTION = (
    "Quandl WIKI Prices (public domain), archived copy supplied by marketneutral on Kaggle, "
    "as packaged by bokeh-sampledata."
)
CLOSE_DELAY = pd.Timedelta(minutes=30)
"""How long after the close a bar still counts as partial."""

_EARLIEST = "1900-01-01"
_YAHOO_SYMBOL = re.compile(r"[^\s/\\?#%\x00-\x1f]{1,40}")
_UNKNOWN = re.compile(r"delisted|not found|no data found", re.IGNORECASE)


class Source(Protocol):
    """Anything that delivers bars."""

    @property
    def name(self) -> str:
        """One word; it stands in the provenance of every bar."""
        ...

    def fetch(
        self, symbol: str, *, start: Any = None, end: Any = None, interval: str = "1d"
    ) -> Bars:
        """Bars of `symbol` from `start` to `end`, both inclusive; None leaves that side open.

        Raises
        ------
        SymbolNotFoundError
            If the source does not know the symbol.
        NoDataError
            If the range holds no bars; an answer is never empty.
        BarsError
            If the range is reversed, or what came back breaks a rule of `Bars`.
        SourceError
            If the source failed; another try may help.
        ConfigError
            If the source does not have this interval.
        """
        ...


def make_source(name: str) -> Source:
    """Build the source that is called `name`.

    Raises
    ------
    ConfigError
        If there is none.
    """
    known: dict[str, Callable[[], Source]] = {"yahoo": YahooSource, "sample": SampleSource}
    if name not in known:
        raise ConfigError(f"There is no source {name!r}. Choose one of {', '.join(known)}.")
    return known[name]()


class SampleSource:
    """The bundled daily bars of AAPL, GOOG, IBM and MSFT, 2000-03-01 to 2013-03-01.

    Prices are raw, with splits and dividends only in the adjusted close: use `Bars.adjusted`.
    """

    name = "sample"
    symbols = SAMPLE_SYMBOLS

    def fetch(
        self, symbol: str, *, start: Any = None, end: Any = None, interval: str = "1d"
    ) -> Bars:
        """See `Source.fetch`; needs no network."""
        date_range(start, end)
        _only_daily(self.name, interval)
        known = symbol.strip().upper()
        if known not in SAMPLE_SYMBOLS:
            raise SymbolNotFoundError(
                f"{symbol!r} is not in the bundled sample, which holds "
                f"{', '.join(SAMPLE_SYMBOLS)}. Use --source yahoo for everything else."
            )
        place = resources.files("quantseq.market").joinpath("sample", f"{known}.csv")
        with resources.as_file(place) as path:
            bars = read_table(path, known, timezone="America/New_York")
        facts = {"attribution": SAMPLE_ATTRIBUTION, "currency": "USD"}
        return _answer(bars, self.name, facts, start=start, end=end, interval=interval)


class CsvSource:
    """The user's own files as a source: one CSV or Parquet file, or a folder of ``SYMBOL.csv``.

    Parameters
    ----------
    path : Path
        A file (it answers for whatever symbol is asked) or a folder.
    timezone : str
        Exchange time zone of everything in it, "" if unknown.
    """

    name = "csv"

    def __init__(self, path: Path | str, *, timezone: str = "") -> None:
        self.path = Path(path)
        self.timezone = timezone

    @property
    def files(self) -> Mapping[str, Path]:
        """The file of each symbol; a file's name without suffix is its symbol."""
        if not self.path.is_dir():
            return {self.path.stem: self.path}
        kinds = (".csv", ".parquet", ".pq")
        found = sorted(path for path in self.path.iterdir() if path.suffix.lower() in kinds)
        return {path.stem: path for path in found}

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the file names promise."""
        return tuple(self.files)

    def fetch(
        self, symbol: str, *, start: Any = None, end: Any = None, interval: str = "1d"
    ) -> Bars:
        """See `Source.fetch`; needs no network. Faults name the line and the reason."""
        date_range(start, end)
        _only_daily(self.name, interval)
        files = self.files
        if self.path.is_dir() and symbol not in files:
            raise SymbolNotFoundError(
                f"{str(self.path)!r} has no file {symbol}.csv or {symbol}.parquet. "
                "A folder of prices needs one file per symbol, named after it."
            )
        path = files.get(symbol, self.path)
        bars = read_table(path, symbol, timezone=self.timezone)
        return _answer(bars, self.name, {}, start=start, end=end, interval=interval)


class YahooSource:
    """Yahoo Finance through yfinance: prices split-adjusted, the adjusted close adds dividends.

    A bar whose session has not been closed for 30 minutes is left out. Rows without any price are left
    out; a row that lacks some is an error.

    Parameters
    ----------
    session : requests or curl_cffi session, optional
        The transport; None lets yfinance make its own.
    timeout : float
        Seconds to wait for an answer.
    attempts : int
        How often to ask before giving up, at least 1; only a `SourceError` is worth another try.
    wait : float
        Seconds before the second attempt; doubles with each further one, with jitter, up to 30.
    now : callable
        The time of day, in UTC.
    """

    name = "yahoo"

    def __init__(
        self,
        *,
        session: Any = None,
        timeout: float = 10.0,
        attempts: int = 3,
        wait: float = 1.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if attempts < 1:
            raise ConfigError(f"The 'attempts' of YahooSource must be 1 or more. Got {attempts}.")
        self.session = session
        self.timeout = timeout
        self.attempts = attempts
        self.wait = wait
        self.now = now

    def fetch(
        self, symbol: str, *, start: Any = None, end: Any = None, interval: str = "1d"
    ) -> Bars:
        """See `Source.fetch`; asks Yahoo up to `attempts` times."""
        from tenacity import (
            Retrying,
            retry_if_exception_type,
            stop_after_attempt,
            wait_exponential,
            wait_random,
        )

        first, last = date_range(start, end)
        _only_daily(self.name, interval)
        known = symbol.strip().upper()
        if not _YAHOO_SYMBOL.fullmatch(known):
            raise SymbolNotFoundError(
                f"{symbol!r} cannot be a Yahoo symbol. Write it like AAPL, ^GSPC, BRK-B or EURUSD=X."
            )
        retrying = Retrying(
            stop=stop_after_attempt(self.attempts),
            wait=wait_exponential(multiplier=self.wait, max=30) + wait_random(0, self.wait),
            retry=retry_if_exception_type(SourceError),
            reraise=True,
        )
        stop = None if last is None else str(last + np.timedelta64(1, "D"))
        frame, meta = retrying(self._ask, known, str(first or _EARLIEST), stop, interval)
        bars = self._bars(known, frame, meta)
        facts = {
            "currency": meta.get("currency"),
            "instrument": meta.get("instrumentType"),
            "adjustment": "split-adjusted prices; adj_close adds dividends",
        }
        return _answer(bars, self.name, facts, start=start, end=end, interval=interval)

    def _ask(
        self, symbol: str, start: str, stop: str | None, interval: str
    ) -> tuple[pd.DataFrame, Mapping[str, Any]]:
        """One attempt: the raw frame and Yahoo's facts about the listing."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # yfinance itself trips over pandas 3 ...
            try:
                yfinance, cache_clear = _yfinance()
                warnings.simplefilter("ignore")  # ... and asks for warnings when it is imported
                cache_clear()
                ticker = yfinance.Ticker(symbol, session=self.session)
                frame = ticker.history(
                    start=start,
                    end=stop,
                    interval=interval,
                    prepost=False,
                    actions=True,
                    auto_adjust=False,
                    back_adjust=False,
                    repair=False,
                    keepna=True,
                    rounding=False,
                    timeout=self.timeout,
                )
                return frame, ticker.get_history_metadata()
            except Exception as error:
                raise _explain(symbol, error) from error

    def _bars(self, symbol: str, frame: pd.DataFrame, meta: Mapping[str, Any]) -> Bars:
        names = {"Adj Close": "adj_close", "Stock Splits": "splits"}
        frame = frame.rename(columns=names).rename(columns=str.lower)
        frame = frame[~frame[["open", "high", "low", "close"]].isna().all(axis=1)]
        if len(frame) and self._is_partial(frame.index[-1], meta):
            frame = frame.iloc[:-1]
        zone = str(meta.get("exchangeTimezoneName") or "")
        return Bars.from_frame(symbol, frame, timezone=zone)

    def _is_partial(self, last: pd.Timestamp, meta: Mapping[str, Any]) -> bool:
        """Tell whether the session of bar `last` (exchange time) may still change.

        Yahoo names the close of the current session; without it, the exchange's midnight is the close.
        """
        now = pd.Timestamp(self.now()).tz_convert(last.tz)
        regular = (meta.get("currentTradingPeriod") or {}).get("regular") or {}
        close = regular.get("end")
        if not isinstance(close, pd.Timestamp) or close.tz_convert(last.tz).date() != last.date():
            if last.date() < now.date():
                return False
            close = last.normalize() + pd.Timedelta(days=1)
        return bool(now < close + CLOSE_DELAY)


@functools.cache
def _yfinance() -> tuple[Any, Callable[[], None]]:
    """Import yfinance once, make it speak up, and give it a cache folder that nobody else sees."""
    import yfinance  # noqa: TID251
    from yfinance.data import YfData  # noqa: TID251

    folder = tempfile.mkdtemp(prefix="quantseq-yahoo-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    yfinance.set_tz_cache_location(folder)
    yfinance.config.debug.hide_exceptions = False
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)
    return yfinance, YfData.cache_get.cache_clear


def _explain(symbol: str, error: Exception) -> QuantseqError:
    """Find the error of our own tree that says what yfinance and its transports mean."""
    kind = type(error).__name__
    text = " ".join(str(error).split())[:200]
    status = getattr(getattr(error, "response", None), "status_code", 0)  # 0: there was no answer
    if kind == "YFRateLimitError" or status == 429:
        return RateLimitedError(
            f"{symbol}: Yahoo says that it was asked too often. Wait some minutes, then try again."
        )
    unknown = SymbolNotFoundError(
        f"{symbol}: Yahoo does not know this symbol. Check its spelling at finance.yahoo.com."
    )
    if kind == "YFTzMissingError" or status == 404:
        return unknown
    if kind == "YFPricesMissingError":
        reason = getattr(error, "yahoo_reason", None)
        if reason and _UNKNOWN.search(reason):
            return unknown
        return NoDataError(
            f"{symbol}: Yahoo has no prices in this range ({reason or 'an empty answer'}). "
            "Choose another --start and --end."
        )
    if kind == "JSONDecodeError":
        page = str(getattr(error, "doc", "")).lstrip()[:1]
        if page in ("{", "["):
            return BadResponseError(
                f"{symbol}: Yahoo's answer breaks off or is no valid JSON ({text}). Try again later."
            )
        return SourceUnavailableError(
            f"{symbol}: Yahoo answered with an error page instead of prices. Try again later."
        )
    if kind == "YFDataException" or status >= 500:
        return SourceUnavailableError(f"{symbol}: Yahoo is down ({text}). Try again later.")
    if status < 400 and isinstance(error, OSError):
        return SourceUnavailableError(
            f"{symbol}: Yahoo cannot be reached ({kind}). Check the network and try again; "
            "--source sample needs none."
        )
    return BadResponseError(
        f"{symbol}: Yahoo's answer makes no sense ({kind}: {text}). Try again later."
    )


def _only_daily(name: str, interval: str) -> None:
    if interval != "1d":
        raise ConfigError(
            f"The source {name!r} has daily bars only. Use interval '1d', not {interval!r}."
        )


def _answer(
    bars: Bars, name: str, facts: Mapping[str, Any], *, start: Any, end: Any, interval: str
) -> Bars:
    """Cut to the asked range and say where the bars came from; an empty answer is an error."""
    cut = bars.between(start, end)
    if not len(cut):
        have = f"; it has {bars.sessions[0]} to {bars.sessions[-1]}" if len(bars) else ""
        raise NoDataError(
            f"{bars.symbol}: the source {name!r} has no bars from {start or 'the beginning'} to "
            f"{end or 'today'}{have}. Widen the range."
        )
    packages = ("quantseq", "pandas", "yfinance") if name == "yahoo" else ("quantseq", "pandas")
    provenance = {
        **bars.provenance,
        **facts,
        "source": name,
        "interval": interval,
        "start": None if start is None else str(start),
        "end": None if end is None else str(end),
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {package: metadata.version(package) for package in packages},
    }
    return replace(cut, provenance=provenance)
