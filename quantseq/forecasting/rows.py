"""Which symbols are forecast at which cutoffs, and how every forecaster without a network answers for them.

Owns how much history a forecast needs, when a price stands still, the rows of one call (`Rows`) and the base
of all baselines (`Baseline`). Knows no model.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.density import Distribution
from quantseq.forecasting.forecasts import Forecasts
from quantseq.forecasting.reference import POOL, Reference
from quantseq.forecasting.volatility import LONG_WINDOW, rolling_mean
from quantseq.market.bars import Bars, Dates, Floats, Panel

MIN_HISTORY = 168
"""Sessions before the first cutoff that any model forecasts, so that all are scored on one set."""

CONTEXT = MIN_HISTORY - LONG_WINDOW
"""Sessions of context: what `MIN_HISTORY` leaves after the longest volatility average."""

STALE = 0.9
"""Share of unchanged closes in a context beyond which a price stands still."""

LONGEST_RUN = 20
"""Unchanged closes in a row beyond which it stands still too."""

RECOVERY = LONG_WINDOW // 2
"""Sessions after a rest, at most, that a price must move again before it is forecast."""

STALE_RULE = (
    f"more than {LONGEST_RUN} closes in a row or {STALE:.0%} of {CONTEXT} unchanged, or hardly begun to "
    "move again"
)
"""The rule in words."""


def is_moving(returns: Floats) -> NDArray[np.bool_]:
    """Whether the price moves, as seen at each session: (n,).

    A price stands still after more than `LONGEST_RUN` unchanged closes in a row, or more than `STALE` of
    a context. It moves again, for this purpose, after as many sessions as it stood still, at most
    `RECOVERY`: until then a scale remembers the rest, and is far too small. A series that stands still
    teaches nothing, and must not decide anything that is pooled. The first, unknown return counts as a move.
    """
    unchanged, place = returns == 0, np.arange(len(returns))
    run = place - np.maximum.accumulate(np.where(unchanged, -1, place))
    resting = run > LONGEST_RUN
    resting |= rolling_mean(unchanged.astype(np.float64), CONTEXT) > STALE
    edges = np.flatnonzero(np.diff(np.concatenate([[False], resting, [False]]).astype(np.int8)))
    moves = np.ones(len(returns), dtype=bool)
    for begin, end in edges.reshape(-1, 2):
        moves[begin : end + min(end - begin + LONGEST_RUN, RECOVERY)] = False
    return moves


def _old_enough(bars: Bars, cutoffs: Dates) -> NDArray[np.intp]:
    """Places of the cutoffs with at least `MIN_HISTORY` sessions before."""
    index = np.flatnonzero(np.isin(bars.sessions, np.asarray(cutoffs, dtype="datetime64[D]")))
    return index[index >= MIN_HISTORY]


def stale_rows(panel: Panel, cutoffs: Dates) -> dict[str, Dates]:
    """Cutoffs that are not forecast, by no model, because the price stands still; see `is_moving`."""
    found = {}
    for symbol, bars in panel.items():
        index = _old_enough(bars, cutoffs)
        if len(resting := index[~is_moving(bars.log_returns())[index]]):
            found[symbol] = bars.sessions[resting]
    return found


def rows_to_forecast(panel: Panel, cutoffs: Dates) -> dict[str, NDArray[np.intp]]:
    """Indices into each symbol's sessions that are cutoffs which every model forecasts.

    Those with at least `MIN_HISTORY` sessions before, and a price that moves (`is_moving`): both are
    known at the cutoff. NotEnoughDataError if nothing is left to forecast.
    """
    rows = {}
    for symbol, bars in panel.items():
        index = _old_enough(bars, cutoffs)
        rows[symbol] = index[is_moving(bars.log_returns())[index]]
    if not any(len(index) for index in rows.values()):
        if resting := stale_rows(panel, cutoffs):
            raise NotEnoughDataError(
                f"Nothing to forecast: the price of {', '.join(resting)} stands still, with "
                f"{STALE_RULE}. Give prices that move."
            )
        longest = max(len(bars) for bars in panel.values())
        raise NotEnoughDataError(
            f"Nothing to forecast: the longest of {len(panel)} symbols has {longest} sessions, and "
            f"every cutoff needs {MIN_HISTORY} before it. Give a longer history or later dates."
        )
    return rows


@dataclass(frozen=True, eq=False)
class Rows:
    """The M (symbol, cutoff) rows of one call, symbol by symbol."""

    panel: Panel  # a row may use its symbol's bars up to its cutoff
    index: Mapping[str, NDArray[np.intp]]  # places of the cutoffs in the symbol's sessions
    symbols: NDArray[np.object_]
    cutoffs: Dates

    @classmethod
    def of(cls, panel: Panel, cutoffs: Dates) -> "Rows":
        """Every symbol at every cutoff on which it traded; see `rows_to_forecast`."""
        index = rows_to_forecast(panel, cutoffs)
        return cls(
            panel,
            index,
            np.concatenate([np.full(len(index[s]), s, dtype=object) for s in panel]),
            np.concatenate([panel[s].sessions[index[s]] for s in panel]),
        )

    def stack(self, found: Mapping[str, Floats]) -> Floats:
        """Put values per session (n, ...) of each symbol into one array per row (M, ...)."""
        return np.concatenate([found[s][self.index[s]] for s in self.panel])


@dataclass(frozen=True)
class Baseline(ABC):
    """A forecaster that is no network."""

    trained_until: np.datetime64  # newest session that any fitted part has seen
    overnight_share: Mapping[str, float]  # see `Reference`
    name: ClassVar[str]
    needs_covariate: ClassVar[bool] = False

    @classmethod
    def fit(cls, panel: Panel, reference: Reference, *, horizon: int, jobs: int = 1) -> Self:
        """Fit to all of a training panel, whose reference is known; the same for any number of jobs."""
        return cls(panel.sessions[-1], reference.overnight_share)

    @abstractmethod
    def distribution(self, rows: Rows, horizon: int) -> Distribution:
        """Marginal distribution of each step, (M, H), each row known at its cutoff."""

    @abstractmethod
    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """Joint draws of the steps, (M, N, H), keyed by (seed, symbol, cutoff)."""

    def describe(self) -> dict[str, Any]:
        """What a reader should know of the fit, as JSON values."""
        return {}

    def predict(
        self, panel: Panel, cutoffs: Dates, *, horizon: int, num_paths: int = 0, seed: int = 0
    ) -> Forecasts:
        """See `Forecaster.predict`."""
        rows = Rows.of(panel, cutoffs)
        found = self.distribution(rows, horizon)
        paths = self.paths(rows, found, num_paths, seed).astype(np.float32) if num_paths else None
        pooled, until = self.overnight_share[POOL], self.trained_until
        shares = np.array([self.overnight_share.get(str(s), pooled) for s in rows.symbols])
        return Forecasts(self.name, rows.symbols, rows.cutoffs, found, shares, until, seed, paths)
