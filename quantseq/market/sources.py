"""What a source of prices is, the bundled sample, and how a source is found by its name.

Owns the protocol, the pace at which a source is asked, the provenance of an answer, the sample, and the names of the
sources; Yahoo is defined in `quantseq.market.yahoo`. Knows nothing of the store. A source answers with validated
`Bars` or raises: a `DataError` if asking again would change nothing, a `SourceError` if it might. Whoever wants to
add one installs a package with an entry point in the group ``quantseq.sources``: its name is what ``--source``
takes, its value anything that makes a `Source` when called, such as its class.
"""

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata, resources
from typing import Any, Protocol

import numpy as np

from quantseq.errors import ConfigError, NoDataError, SymbolNotFoundError, check_parameters
from quantseq.market.bars import Bars, date_range
from quantseq.market.readers import read_table

PLUGINS = "quantseq.sources"
"""Entry point group of sources from other packages."""

SAMPLE_SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
_ATTRIBUTION = (
    "Quandl WIKI Prices (public domain), archived copy supplied by marketneutral on Kaggle, "
    "as packaged by bokeh-sampledata."
)


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

        A SymbolNotFoundError if the source does not know the symbol; a NoDataError if the range holds no
        bars, for an answer is never empty; a BarsError if the range is reversed, or what came back breaks a
        rule of `Bars`; a SourceError if the source failed and another try may help; a ConfigError if it
        does not have this interval.

        Bars whose session is not over are better left out; `quantseq fetch` drops what it knows to be
        partial. Whatever else is raised counts as a failure of the source and ends nothing but this
        symbol.
        """
        ...


@dataclass
class Pace:
    """Waits before each call, so that there are at most `rate` of them a second; `rate` is above 0."""

    rate: float
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _next: float = field(default=-np.inf, init=False)

    def __post_init__(self) -> None:
        check_parameters(self, {"rate": "(0, inf) requests a second"})

    def __call__(self, count: int = 1) -> None:
        """Wait until the calls before are far enough away; then `count` of them may happen."""
        if (left := self._next - self.clock()) > 0:
            self.sleep(left)
        self._next = self.clock() + count / self.rate


def answer(
    bars: Bars,
    name: str,
    facts: Mapping[str, Any],
    *,
    start: Any,
    end: Any,
    packages: tuple[str, ...] = (),
) -> Bars:
    """Cut what the source `name` has to the asked range, and say where it came from.

    The provenance gets `facts` and the versions of `packages`, beside our own and that of pandas. A
    NoDataError if nothing lies in the range.
    """
    cut = bars.between(start, end)
    if not len(cut):
        have = f"; it has {bars.sessions[0]} to {bars.sessions[-1]}" if len(bars) else ""
        raise NoDataError(
            f"{bars.symbol}: the source {name!r} has no bars from {start or 'the beginning'} to "
            f"{end or 'today'}{have}. Widen the range."
        )
    provenance = {
        **bars.provenance,
        **facts,
        "source": name,
        "interval": bars.interval,
        "start": None if start is None else str(start),
        "end": None if end is None else str(end),
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {one: metadata.version(one) for one in ("quantseq", "pandas", *packages)},
    }
    return replace(cut, provenance=provenance)


class SampleSource:
    """The bundled daily bars of AAPL, GOOG, IBM and MSFT, 2000-03-01 to 2013-03-01.

    Prices are raw, with splits and dividends only in the adjusted close: use `Bars.adjusted`.
    """

    name = "sample"

    def fetch(
        self, symbol: str, *, start: Any = None, end: Any = None, interval: str = "1d"
    ) -> Bars:
        """See `Source.fetch`; needs no network."""
        date_range(start, end)
        if interval != "1d":
            raise ConfigError(
                f"The source 'sample' has daily bars only. Use interval '1d', not {interval!r}."
            )
        known = symbol.strip().upper()
        if known not in SAMPLE_SYMBOLS:
            raise SymbolNotFoundError(
                f"{symbol!r} is not in the bundled sample, which holds "
                f"{', '.join(SAMPLE_SYMBOLS)}. Use --source yahoo for everything else."
            )
        place = resources.files("quantseq.market").joinpath("sample", f"{known}.csv")
        with resources.as_file(place) as path:
            bars = read_table(path, known, timezone="America/New_York")
        facts = {"attribution": _ATTRIBUTION, "currency": "USD"}
        return answer(bars, self.name, facts, start=start, end=end)


# Named as other packages name theirs, so that nothing here imports a source that is not asked for.
_YAHOO = metadata.EntryPoint("yahoo", "quantseq.market.yahoo:YahooSource", PLUGINS)
_OWN = (_YAHOO.name, SampleSource.name)


@dataclass
class _Paced:
    """Somebody else's source, asked under the name it was installed with and not too often."""

    name: str
    source: Source
    pace: Pace

    def fetch(
        self, symbol: str, *, start: Any = None, end: Any = None, interval: str = "1d"
    ) -> Bars:
        self.pace()
        return self.source.fetch(symbol, start=start, end=end, interval=interval)


def source_names() -> tuple[str, ...]:
    """Every source that can be asked for: our own, then those that other packages installed."""
    installed = {point.name for point in metadata.entry_points(group=PLUGINS)}
    return (*_OWN, *sorted(installed.difference(_OWN)))


def make_source(
    name: str, *, rate: float = 1.0, allow_gaps: bool = False, keep_closes: bool = False
) -> Source:
    """Build the source that is called `name`, one of `source_names`, for about `rate` requests a second.

    What becomes of rows without use is said by `allow_gaps` and `keep_closes`, see `quantseq.market.health.clean`.

    A ConfigError if there is none, if what is installed under the name is none, or if the rate is not above 0.
    """
    pace = Pace(rate)
    if name == "yahoo":
        yahoo: Source = _YAHOO.load()(rate=rate, allow_gaps=allow_gaps, keep_closes=keep_closes)
        return yahoo
    if name == "sample":
        return SampleSource()
    for point in metadata.entry_points(group=PLUGINS):
        if point.name == name:
            return _Paced(name, _plugin(point), pace)
    raise ConfigError(
        f"There is no source {name!r}. Choose one of {', '.join(source_names())}; others can be "
        f"installed as packages with an entry point in the group {PLUGINS!r}."
    )


def _plugin(point: metadata.EntryPoint) -> Source:
    package = point.dist.name if point.dist is not None else point.value
    wanted = {"start", "end", "interval"}
    try:
        source: Source = point.load()()
        fetch = getattr(source, "fetch", None)
        fits = callable(fetch) and wanted <= set(inspect.signature(fetch).parameters)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # code of others may even exit
        raise ConfigError(
            f"The source {point.name!r} of the package {package!r} cannot be made "
            f"({type(error).__name__}: {error}). Repair or uninstall that package."
        ) from error
    if not fits:
        raise ConfigError(
            f"The source {point.name!r} of the package {package!r} is none: it needs "
            "fetch(symbol, *, start, end, interval)."
        )
    return source
