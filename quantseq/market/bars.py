"""What a price history is: one symbol's validated bars, its scheduled events, and a panel of several with daily bars.

Owns the rules that bars and events must satisfy, the arithmetic of dates and instants around their intervals, and the
views that the rest of the house reads: adjusted bars, log returns, everything up to a cutoff. Knows nothing of where
bars come from, how they are stored, or what anybody does with them. Sessions are written down as ::

    1d        datetime64[D]   the exchange date
    1wk       datetime64[D]   the Monday of the week
    1h, 5m    datetime64[s]   the moment at which the bar opens, in UTC

Everything behind the store works on days (`require_daily`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cache, cached_property
from typing import Any, Self
from unicodedata import category, normalize
from zoneinfo import available_timezones

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import BarsError, ConfigError, IntervalError, NoDataError, SymbolNotFoundError
from quantseq.files import fingerprint, sha256_bytes

INTERVALS = ("1d", "1wk", "1h", "5m")
"""Bar lengths that the house can keep."""

LENGTHS = {"1h": np.timedelta64(3600, "s"), "5m": np.timedelta64(300, "s")}  # shorter than a day

DATE_DTYPE, INSTANT_DTYPE = "datetime64[D]", "datetime64[s]"


def check_interval(interval: str) -> str:
    """Give `interval` back; a ConfigError if the house does not know it."""
    if interval not in INTERVALS:
        raise ConfigError(f"The interval must be one of {', '.join(INTERVALS)}. Got {interval!r}.")
    return interval


_LONGEST_SYMBOL = 100
_UNSEEN = (
    "Cc",
    "Cf",
    "Cs",
    "Zl",
    "Zp",
)  # Unicode's controls, formats, halves of characters, and line ends
_JOINERS = "\u200c\u200d"  # formats that Persian and emoji are written with


def check_symbol(symbol: str) -> str:
    """`symbol` as it is kept and looked up: composed (NFC), without blanks at its ends.

    A ConfigError if no command could address it: empty, over-long, with a comma or a leading dash, or with characters
    that nobody sees. How it becomes the name of a file, see `quantseq.market.store.file_name`.
    """
    known, why = normalize("NFC", symbol).strip(), ""
    unseen = [one for one in known if category(one) in _UNSEEN and one not in _JOINERS]
    if not known:
        why = "it is empty"
    elif len(known) > _LONGEST_SYMBOL:
        why = f"it has {len(known):,} characters, more than {_LONGEST_SYMBOL}"
    elif unseen:
        why = f"it contains U+{ord(unseen[0]):04X}, which nobody sees"
    elif "," in known:
        why = "it contains a comma, which separates symbols"
    elif known.startswith("-"):
        why = "it starts with a dash, as options do"
    if why:
        shown = ascii(known[:40]) if unseen else repr(known[:40])
        raise ConfigError(
            f"{shown} cannot be the symbol of prices: {why}. Name it as exchanges do, like AAPL or "
            "7203.T; for a file, with --symbol or in its symbol column."
        )
    return known


@cache
def _zones() -> dict[str, str]:
    """Every time zone by its name, and by its city alone, in small letters."""
    every = sorted(available_timezones())
    cities = {zone.rpartition("/")[2].lower(): zone for zone in every}
    return cities | {zone.lower(): zone for zone in every}


def check_timezone(timezone: str) -> str:
    """Give `timezone` back, "" if unknown; a ConfigError with near names if there is none of that name."""
    if timezone and _zones().get(timezone.lower()) != timezone:
        words = timezone[:60].lower().replace(" ", "_")
        near = dict.fromkeys(_zones()[one] for one in get_close_matches(words, _zones()))
        hint = f"Did you mean {' or '.join(near)}?" if near else "Write it like America/New_York."
        raise ConfigError(f"There is no time zone {timezone[:60]!r}. {hint}")
    return timezone


def is_intraday(interval: str) -> bool:
    """Whether bars of this interval are shorter than a day."""
    return interval in LENGTHS


def require_daily(symbol: str, interval: str) -> None:
    """Refuse bars that are not daily with an IntervalError, at every door behind the store."""
    if interval != "1d":
        raise IntervalError(
            f"{symbol}: these are bars of interval {interval!r}, and this works on daily bars only. "
            f"Use the daily ones: quantseq fetch {symbol} --interval 1d"
        )


def as_date(value: Any) -> np.datetime64:
    """Exchange date (``datetime64[D]``) of a date, timestamp or ISO text; else a BarsError."""
    try:
        if isinstance(value, (int, float, np.number)):
            raise TypeError
        return np.datetime64(pd.Timestamp(value).tz_localize(None).date(), "D")
    except (ValueError, TypeError, OverflowError) as error:
        raise BarsError(f"{value!r} is not a date. Write it as YYYY-MM-DD.") from error


def date_range(start: Any, end: Any) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    """Both ends as exchange dates; None leaves a side open. A BarsError if none, or if reversed."""
    first = None if start is None else as_date(start)
    last = None if end is None else as_date(end)
    if first is not None and last is not None and first > last:
        raise BarsError(f"The range {first} to {last} is reversed. Give the earlier date first.")
    return first, last


def monday(dates: Any) -> Any:
    """The Monday of the week of a date, or of each of an array of dates."""
    days = np.asarray(dates, dtype=DATE_DTYPE)
    return days - (days.astype(np.int64) + 3) % 7


def exchange_dates(sessions: NDArray[np.datetime64], timezone: str) -> NDArray[np.datetime64]:
    """The exchange date of every session, shape (n,); an unknown time zone counts as UTC."""
    if sessions.dtype == DATE_DTYPE:
        return sessions
    clock = pd.DatetimeIndex(sessions, tz="UTC").tz_convert(timezone or "UTC")
    return clock.tz_localize(None).to_numpy().astype(DATE_DTYPE)


def midnight(date: Any, timezone: str) -> np.datetime64:
    """When `date` begins at the exchange, in UTC (``datetime64[s]``)."""
    clock = pd.Timestamp(str(date)).tz_localize(
        timezone or "UTC", ambiguous=True, nonexistent="shift_forward"
    )
    return np.datetime64(int(clock.timestamp()), "s")


OHLC = ("open", "high", "low", "close")
PRICES = (*OHLC, "adj_close")
FIELDS = (*PRICES, "volume", "dividends", "splits")

Dates = NDArray[np.datetime64]
Floats = NDArray[np.float64]

_FIRST_DATE = np.datetime64("1600-01-01", "D")
_LAST_DATE = np.datetime64("2200-12-31", "D")


def undated_rows(sessions: Dates) -> NDArray[np.bool_]:
    """Where there is no date, or none that prices can have, shape (n,)."""
    return np.isnat(sessions) | (sessions < _FIRST_DATE) | (sessions > _LAST_DATE)


def find_fault(sessions: Dates, values: Mapping[str, Floats]) -> tuple[int, str] | None:
    """Look for the first broken rule in raw columns, any of the fields of `Bars`, (n,) like the sessions.

    Returns the row it stands in and the reason; None if every rule holds.
    """
    if (undated := undated_rows(sessions)).any():
        where = int(np.argmax(undated))
        return where, f"{sessions[where]} is not a date between {_FIRST_DATE} and {_LAST_DATE}."
    steps = np.diff(sessions).astype(np.int64)
    if (steps <= 0).any():
        where = int(np.argmax(steps <= 0)) + 1
        what = "appears twice" if steps[where - 1] == 0 else "is out of order"
        return where, (
            f"session {sessions[where]} {what}. "
            "Sessions must be unique and increasing; sort the bars and drop duplicates."
        )
    for name, column in values.items():
        rule, bad = "a finite number", ~np.isfinite(column)
        if not bad.any():
            price = name in PRICES
            rule, bad = ("a price above 0", column <= 0) if price else ("0 or more", column < 0)
        if bad.any():
            where, others = int(np.argmax(bad)), int(bad.sum()) - 1
            more = f" and on {others} other sessions" if others else ""
            return where, (
                f"{name} is {column[where]} on {sessions[where]}{more}. "
                f"It must be {rule}; repair or drop those bars."
            )
    return None


def _frozen(values: Any, dtype: Any) -> NDArray[Any]:
    """A read-only array that nobody else can change: writeable input is copied."""
    array = np.ascontiguousarray(values, dtype=dtype)
    if array.flags.writeable and np.may_share_memory(array, values):
        array = array.copy()
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Bars:
    """One symbol's price bars, sorted by session, complete and plausible.

    All columns have one value per session, shape (n,). A BarsError if a rule is broken; its message names
    symbol, field, session and value.
    """

    symbol: str  # as its source writes it, within `check_symbol`
    # Strictly increasing; `quantseq.market.bars` says how each interval writes them. A daily bar is known
    # at the close of its session.
    sessions: Dates
    open: Floats  # raw or already adjusted, in the currency of the listing, all finite and positive
    high: Floats
    low: Floats
    close: Floats
    adj_close: Floats  # adjusted for splits and dividends
    volume: Floats  # shares traded, finite and not negative
    dividends: Floats  # cash per share on the session where it takes effect; 0 where there is none
    splits: Floats  # ratio of the split on that session; 0 where there is none
    timezone: str = ""  # of the exchange; peers of one zone close together
    provenance: Mapping[str, Any] = field(default_factory=dict)  # at least `source`
    interval: str = "1d"  # length of a bar, one of `INTERVALS`

    def __post_init__(self) -> None:
        intraday = is_intraday(check_interval(self.interval))
        object.__setattr__(self, "symbol", check_symbol(self.symbol))
        sessions = _frozen(self.sessions, INSTANT_DTYPE if intraday else DATE_DTYPE)
        object.__setattr__(self, "sessions", sessions)
        for name in FIELDS:
            values = _frozen(getattr(self, name), np.float64)
            if values.shape != sessions.shape:
                raise BarsError(
                    f"{self.symbol}: field {name!r} has shape {values.shape}, the sessions have "
                    f"{sessions.shape}. Every field needs one value per session."
                )
            object.__setattr__(self, name, values)
        fault = find_fault(sessions, {name: getattr(self, name) for name in FIELDS})
        if fault is not None:
            raise BarsError(f"{self.symbol}: {fault[1]}")
        if self.interval == "1wk" and (sessions != monday(sessions)).any():
            raise BarsError(f"{self.symbol}: weekly bars are dated by the Monday of their week.")

    def __len__(self) -> int:
        return len(self.sessions)

    def __repr__(self) -> str:
        span = f"{self.sessions[0]} to {self.sessions[-1]}" if len(self) else "empty"
        return f"Bars({self.symbol!r}, {len(self)} sessions, {span})"

    @classmethod
    def from_frame(
        cls,
        symbol: str,
        frame: pd.DataFrame,
        *,
        timezone: str = "",
        provenance: Mapping[str, Any] | None = None,
        interval: str = "1d",
    ) -> Self:
        """Build bars from a frame indexed by date, or with a ``date`` column.

        Columns are open, high, low, close, volume; adj_close defaults to close, dividends and splits to 0.
        Below a day, an index without time zone counts as UTC. A BarsError if a column is missing, or a
        rule of `Bars` is broken.
        """
        if "date" in frame.columns:
            frame = frame.set_index("date")
        if not frame.columns.is_unique:
            twice = frame.columns[frame.columns.duplicated()][0]
            raise BarsError(f"{symbol}: two columns are called {twice!r}. Keep one of them.")
        missing = [name for name in (*OHLC, "volume") if name not in frame]
        if missing:
            raise BarsError(
                f"{symbol}: the columns {missing} are missing; found {list(map(str, frame.columns))}. "
                "Bars need date, open, high, low, close and volume."
            )
        try:
            if pd.api.types.is_numeric_dtype(frame.index):
                raise TypeError("it holds numbers")
            index = pd.DatetimeIndex(frame.index)
        except (ValueError, TypeError) as error:
            raise BarsError(
                f"{symbol}: the index holds no dates: {error}. "
                "Index the frame by exchange date, or give it a 'date' column."
            ) from error
        defaults: dict[str, Any] = {"adj_close": frame["close"], "dividends": 0.0, "splits": 0.0}
        frame = frame.assign(**{name: defaults[name] for name in defaults if name not in frame})
        columns: dict[str, Any] = {}
        for name in FIELDS:
            try:
                columns[name] = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
            except (ValueError, TypeError) as error:
                raise BarsError(
                    f"{symbol}: column {name!r} holds something that is no number: {error}. "
                    "Every price and volume must be a number."
                ) from error
        check_timezone(timezone)
        if is_intraday(interval) and index.tz is not None:
            index = index.tz_convert("UTC")
        sessions = index.tz_localize(None).to_numpy().astype(INSTANT_DTYPE)
        columns |= {"timezone": timezone, "provenance": provenance or {}, "interval": interval}
        return cls(symbol, sessions, **columns)

    def to_frame(self) -> pd.DataFrame:
        """All fields, indexed by ``date`` (datetime64[s]: midnight, or intraday UTC)."""
        zone = "UTC" if is_intraday(self.interval) else None
        index = pd.DatetimeIndex(self.sessions.astype(INSTANT_DTYPE), name="date", tz=zone)
        return pd.DataFrame({name: getattr(self, name) for name in FIELDS}, index=index)

    def rows(self, part: slice) -> Self:
        """The bars of a range of positions."""
        fields = {name: getattr(self, name)[part] for name in FIELDS}
        return replace(self, sessions=self.sessions[part], **fields)

    def until(self, cutoff: Any) -> Self:
        """Only the daily bars known at the close of `cutoff` (inclusive)."""
        require_daily(self.symbol, self.interval)
        return self.rows(slice(0, int(np.searchsorted(self.sessions, as_date(cutoff), "right"))))

    def between(self, start: Any = None, end: Any = None) -> Self:
        """The bars of the exchange dates `start` to `end`, both inclusive; None leaves a side open."""
        first, last = date_range(start, end)
        dates = exchange_dates(self.sessions, self.timezone)
        begin = 0 if first is None else int(np.searchsorted(dates, first, "left"))
        stop = len(self) if last is None else int(np.searchsorted(dates, last, "right"))
        return self.rows(slice(begin, stop))

    def adjusted(self) -> Self:
        """Bars on the adjusted scale: open, high, low and close times ``adj_close / close``.

        Returns on them are total returns, free of split jumps. Volume is left as traded.
        """
        factor = self.adj_close / self.close
        scaled = {name: getattr(self, name) * factor for name in ("open", "high", "low")}
        return replace(self, **scaled, close=self.adj_close)

    def log_returns(self) -> Floats:
        """Close-to-close total log returns, shape (n,); the first is NaN.

        The value at session t is known at the close of t.
        """
        returns = np.full(len(self), np.nan)
        returns[1:] = np.diff(np.log(self.adj_close))
        return returns

    @cached_property
    def sha256(self) -> str:
        """Content hash over symbol, sessions, every field, and the interval if it is not a day."""
        parts = [self.symbol.encode()]
        parts += [self.sessions.astype(np.int64).tobytes()]
        parts += [getattr(self, name).tobytes() for name in FIELDS]
        parts += [] if self.interval == "1d" else [self.interval.encode()]
        return sha256_bytes(b"\0".join(parts))


TIMINGS = ("before-open", "after-close", "unknown")
"""When on its date an event happens: before the close of that session or after it."""


@dataclass(frozen=True, eq=False)
class Events:
    """Scheduled events of one symbol, such as its earnings, in order of date and kind; (n,) each.

    A BarsError if there is no date, an event comes twice or was known only after its date, or a timing is none of
    `TIMINGS`.
    """

    dates: Dates
    kinds: NDArray[np.str_]
    timings: NDArray[np.str_]
    known_on: Dates  # the first close at which it was known; not a time where nobody says

    def __post_init__(self) -> None:
        order = np.lexsort((self.kinds, np.asarray(self.dates, DATE_DTYPE)))
        for name, dtype in (
            ("dates", DATE_DTYPE),
            ("known_on", DATE_DTYPE),
            ("kinds", str),
            ("timings", str),
        ):
            object.__setattr__(
                self, name, _frozen(np.asarray(getattr(self, name), dtype)[order], None)
            )
        where = undated_rows(self.dates)
        if where.any():
            raise BarsError(
                f"{self.dates[where][0]} is not a date of an event. Write it as YYYY-MM-DD."
            )
        twice = (self.dates[1:] == self.dates[:-1]) & (self.kinds[1:] == self.kinds[:-1])
        if twice.any():
            at = int(np.argmax(twice))
            raise BarsError(
                f"Two events of kind {str(self.kinds[at])!r} are on {self.dates[at]}. Give one of them."
            )
        late = self.known_on > self.dates
        if late.any():
            at = int(np.argmax(late))
            raise BarsError(
                f"The event on {self.dates[at]} was known on {self.known_on[at]} only. Scheduled events are known "
                "before; leave it out."
            )
        if wrong := sorted(set(self.timings.tolist()) - set(TIMINGS)):
            raise BarsError(
                f"The timing of an event must be one of {', '.join(TIMINGS)}. Got {wrong[0]!r}."
            )

    def __len__(self) -> int:
        return len(self.dates)

    def rows(self, keep: NDArray[Any]) -> Self:
        """Some of the events, by place or by mask."""
        return type(self)(*(getattr(self, one.name)[keep] for one in fields(self)))

    def assuming(self, notice: int) -> Self:
        """The same events, those of which nobody says since when they were known with `notice` weekdays before."""
        usual = np.busday_offset(self.dates, -notice, roll="backward")
        return replace(self, known_on=np.where(np.isnat(self.known_on), usual, self.known_on))

    @cached_property
    def sha256(self) -> str:
        """Content hash over all of every event."""
        return fingerprint([getattr(self, one.name).astype(str).tolist() for one in fields(self)])


class Panel(Mapping[str, Bars]):
    """Several symbols' daily bars, in the order given, with a shared calendar.

    A NoDataError if there are no bars at all, or a symbol has none; a BarsError if a symbol appears twice.

    Beside them stand the `events` of some symbols, and one more series about the market, its `covariate`. Nothing in
    a panel was known later than its newest bar: what was is left out, so that whoever cuts the bars cuts that too.
    """

    def __init__(
        self,
        bars: Iterable[Bars],
        *,
        events: Mapping[str, Events] | None = None,
        covariate: Bars | None = None,
    ) -> None:
        self._bars: dict[str, Bars] = {}
        for one in bars:
            require_daily(one.symbol, one.interval)
            if one.symbol in self._bars:
                raise BarsError(f"{one.symbol} appears twice in the panel. Give each symbol once.")
            if not len(one):
                raise NoDataError(
                    f"{one.symbol} has no bars in the asked range. Widen the range or drop the symbol."
                )
            self._bars[one.symbol] = one
        if not self._bars:
            raise NoDataError("The panel holds no symbols. Name at least one symbol with bars.")
        self.events: dict[str, Events] = {}
        for symbol, several in (events or {}).items():
            if np.isnat(several.known_on).any():
                raise BarsError(
                    f"{symbol}: of an event on {several.dates[np.isnat(several.known_on)][0]} nobody says since when "
                    "it was known. Say how long before: Events.assuming."
                )
            known = several.rows(several.known_on <= self.sessions[-1])
            if symbol in self._bars and len(known):
                self.events[symbol] = known
        self.covariate = None if covariate is None else covariate.until(self.sessions[-1])

    def __getitem__(self, symbol: str) -> Bars:
        try:
            return self._bars[symbol]
        except KeyError:
            raise SymbolNotFoundError(
                f"{symbol!r} is not in the panel, which holds {', '.join(self._bars)}."
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._bars)

    def __len__(self) -> int:
        return len(self._bars)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._bars

    def __repr__(self) -> str:
        return f"Panel({len(self)} symbols, {self.sessions[0]} to {self.sessions[-1]})"

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in order."""
        return tuple(self._bars)

    @cached_property
    def sessions(self) -> Dates:
        """Union of all symbols' sessions, sorted: shape (D,)."""
        return np.unique(np.concatenate([bars.sessions for bars in self._bars.values()]))

    def matrix(self, name: str) -> Floats:
        """One field (or ``log_returns``) of every symbol on the shared calendar, (D, S).

        NaN where a symbol has no bar.
        """
        result = np.full((len(self.sessions), len(self)), np.nan)
        for column, bars in enumerate(self._bars.values()):
            values = bars.log_returns() if name == "log_returns" else getattr(bars, name)
            result[np.searchsorted(self.sessions, bars.sessions), column] = values
        return result

    def replaced(self, bars: Iterable[Bars]) -> "Panel":
        """Other bars in place of these, with what of all else is about them and was known by then."""
        return Panel(bars, events=self.events, covariate=self.covariate)

    def until(self, cutoff: Any) -> "Panel":
        """Only what is known at the close of `cutoff`; a NoDataError if that is nothing.

        Symbols that start later are left out.
        """
        return self.replaced(cut for bars in self._bars.values() if len(cut := bars.until(cutoff)))

    def between(self, start: Any = None, end: Any = None) -> "Panel":
        """The panel from `start` to `end`, both inclusive; symbols without bars are left out."""
        return self.replaced(
            cut for bars in self._bars.values() if len(cut := bars.between(start, end))
        )

    def select(self, symbols: Iterable[str]) -> "Panel":
        """A panel of the named symbols, in that order."""
        return self.replaced(self[symbol] for symbol in symbols)

    def adjusted(self) -> "Panel":
        """Every symbol on the adjusted scale (see `Bars.adjusted`)."""
        return self.replaced(bars.adjusted() for bars in self._bars.values())

    @cached_property
    def sha256(self) -> str:
        """Content hash over all symbols in order, and over their events and the covariate if there are any."""
        told: list[Any] = [bars.sha256 for bars in self._bars.values()]
        if self.events:
            told.append({symbol: several.sha256 for symbol, several in self.events.items()})
        return fingerprint(told if self.covariate is None else [told, self.covariate.sha256])
