"""What every rival shares: which rows are forecast, and how distributions and draws become forecasts.

Owns `Rival`, the base of all of them, and `Rows`. Knows no model.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from quantseq.forecasting.distributions import Distribution
from quantseq.forecasting.forecasts import Forecasts
from quantseq.forecasting.reference import POOL
from quantseq.forecasting.rows import rows_to_forecast
from quantseq.market.bars import Dates, Floats, Panel


@dataclass(frozen=True, eq=False)
class Rows:
    """The M (symbol, cutoff) rows of one call, symbol by symbol.

    Attributes
    ----------
    panel : Panel
        Prices; a row may use its symbol's bars up to its cutoff.
    index : mapping of symbol to (m,) int
        Places of the cutoffs in the symbol's sessions.
    symbols, cutoffs : (M,)
    """

    panel: Panel
    index: Mapping[str, NDArray[np.intp]]
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
class Rival(ABC):
    """A forecaster that is no network.

    Parameters
    ----------
    trained_until : datetime64[D]
        Newest session that any fitted part has seen.
    overnight_share : mapping of symbol to float
        See `Reference`.
    """

    trained_until: np.datetime64
    overnight_share: Mapping[str, float]
    name: ClassVar[str]

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
        pooled = self.overnight_share[POOL]
        shares = np.array([self.overnight_share.get(str(s), pooled) for s in rows.symbols])
        return Forecasts(
            self.name, rows.symbols, rows.cutoffs, found, shares, self.trained_until, seed, paths
        )
