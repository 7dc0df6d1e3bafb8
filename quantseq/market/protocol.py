"""What a source of prices is: one small protocol, and what every answer has in common.

Owns the protocol, the pace at which a source is asked, and the provenance of an answer. Knows no source
in particular. A source answers with validated `Bars` or raises: a `DataError` if asking again would
change nothing, a `SourceError` if it might.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Protocol

import numpy as np

from quantseq.errors import ConfigError, NoDataError
from quantseq.market.bars import Bars


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

        Bars whose session is not over are better left out; `quantseq fetch` drops what it knows to be
        partial. Whatever else is raised counts as a failure of the source and ends nothing but this
        symbol.
        """
        ...


class Pace:
    """Waits before each call, so that there are at most `rate` of them a second.

    Parameters
    ----------
    rate : float
        Calls a second, above 0.
    sleep, clock : callable
        How to wait for some seconds, and how to read them.
    """

    def __init__(
        self,
        rate: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < rate < np.inf:
            raise ConfigError(
                f"The rate must be a number of requests a second above 0. Got {rate}."
            )
        self._gap = 1 / rate
        self._sleep = sleep
        self._clock = clock
        self._next = -np.inf

    def __call__(self, count: int = 1) -> None:
        """Wait until the calls before are far enough away; then `count` of them may happen."""
        left = self._next - self._clock()
        if left > 0:
            self._sleep(left)
        self._next = self._clock() + count * self._gap


def answer(
    bars: Bars,
    name: str,
    facts: Mapping[str, Any],
    *,
    start: Any,
    end: Any,
    packages: tuple[str, ...] = (),
) -> Bars:
    """Cut to the asked range and say where the bars came from; an empty answer is an error.

    Parameters
    ----------
    bars : Bars
        What the source has.
    name : str
        Of the source.
    facts : Mapping
        What else belongs into the provenance.
    start, end : date-like or None
        What was asked for.
    packages : tuple of str
        Whose versions belong into the provenance, beside our own and that of pandas.

    Raises
    ------
    NoDataError
        If nothing lies in the range.
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
