"""Where prices come from: the bundled sample, the user's files, Yahoo, and sources that others install.

Owns the names of the sources and how one is found; the sample and files are defined here, Yahoo in
`quantseq.market.yahoo`. Knows nothing of the store. Whoever wants to add a source installs a package with
an entry point in the group ``quantseq.sources``: its name is what ``--source`` takes, its value anything
that makes a `Source` when called, such as its class.
"""

import inspect
from collections.abc import Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from quantseq.errors import ConfigError, SymbolNotFoundError
from quantseq.market.bars import Bars
from quantseq.market.intervals import date_range
from quantseq.market.protocol import Pace, Source, answer
from quantseq.market.tables import read_table
from quantseq.market.yahoo import YahooSource

PLUGINS = "quantseq.sources"
"""Entry point group of sources from other packages."""

SAMPLE_SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
SAMPLE_ATTRIBUTION = (
    "Quandl WIKI Prices (public domain), archived copy supplied by marketneutral on Kaggle, "
    "as packaged by bokeh-sampledata."
)


def source_names() -> tuple[str, ...]:
    """Every source that can be asked for: our own, then those that other packages installed."""
    installed = {point.name for point in metadata.entry_points(group=PLUGINS)}
    own = ("yahoo", "sample")
    return (*own, *sorted(installed - set(own)))


def make_source(name: str, *, rate: float = 1.0) -> Source:
    """Build the source that is called `name`.

    Parameters
    ----------
    name : str
        One of `source_names`; our own names cannot be taken by others.
    rate : float
        Requests a second, about. The sample makes none.

    Raises
    ------
    ConfigError
        If there is none, if what is installed under the name is no source, or if the rate is not above
        0.
    """
    pace = Pace(rate)
    if name == "yahoo":
        return YahooSource(rate=rate)
    if name == "sample":
        return SampleSource()
    for point in metadata.entry_points(group=PLUGINS):
        if point.name == name:
            return _Paced(_plugin(point), pace, name)
    raise ConfigError(
        f"There is no source {name!r}. Choose one of {', '.join(source_names())}; others can be "
        f"installed as packages with an entry point in the group {PLUGINS!r}."
    )


def _plugin(point: metadata.EntryPoint) -> Source:
    package = point.dist.name if point.dist is not None else point.value
    try:
        source: Source = point.load()()
    except Exception as error:
        raise ConfigError(
            f"The source {point.name!r} of the package {package!r} cannot be made "
            f"({type(error).__name__}: {error}). Repair or uninstall that package."
        ) from error
    wanted = {"start", "end", "interval"}
    fetch = getattr(source, "fetch", None)
    if not callable(fetch) or not wanted <= set(inspect.signature(fetch).parameters):
        raise ConfigError(
            f"The source {point.name!r} of the package {package!r} is none: it needs "
            "fetch(symbol, *, start, end, interval)."
        )
    return source


class _Paced:
    """Somebody else's source, asked under the name it was installed with and not too often."""

    def __init__(self, source: Source, pace: Pace, name: str) -> None:
        self.name = name
        self._source = source
        self._pace = pace

    def fetch(
        self, symbol: str, *, start: Any = None, end: Any = None, interval: str = "1d"
    ) -> Bars:
        self._pace()
        return self._source.fetch(symbol, start=start, end=end, interval=interval)


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
        return answer(bars, self.name, facts, start=start, end=end)


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
        return answer(bars, self.name, {}, start=start, end=end)


def _only_daily(name: str, interval: str) -> None:
    if interval != "1d":
        raise ConfigError(
            f"The source {name!r} has daily bars only. Use interval '1d', not {interval!r}."
        )
