"""The rivals, under the same protocol as the network: whoever cannot beat them has no edge.

Owns `HistoricalVolatility`, `EwmaStudent` and `ReferenceForecaster` (the HAR reference without any
network). Each is a good version of itself: causal, floored, with its distribution fitted on train.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from quantseq.errors import NotEnoughDataError
from quantseq.forecast.density import NORMAL_NU, TokenDensity
from quantseq.forecast.forecasts import Forecasts, keyed_uniforms, rows_to_forecast
from quantseq.forecast.reference import POOL, Reference, StepParameters, fit_student_t
from quantseq.forecast.volatility import (
    VARIANCE_FLOOR,
    aligned_returns,
    ewma_scale,
    features,
    rolling_mean,
)
from quantseq.market.bars import Bars, Dates, Floats, Panel

HISTORY = 20
"""Sessions of the historical volatility that most people use."""


def _historical_scale(bars: Bars) -> Floats:
    squares = np.nan_to_num(bars.log_returns()) ** 2
    return np.sqrt(np.maximum(rolling_mean(squares, HISTORY), VARIANCE_FLOOR))


@dataclass(frozen=True)
class StudentForecaster(ABC):
    """What the rivals share: a Student-t per symbol, cutoff and step.

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
    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """Location, scale and ν at every session of every symbol, each known at its close."""

    def predict(
        self, panel: Panel, cutoffs: Dates, *, horizon: int, num_paths: int = 0, seed: int = 0
    ) -> Forecasts:
        """See `Forecaster.predict`."""
        rows, found = rows_to_forecast(panel, cutoffs), self.parameters(panel, horizon)
        symbols = np.concatenate([np.full(len(rows[s]), s, dtype=object) for s in panel])
        dates = np.concatenate([panel[s].sessions[rows[s]] for s in panel])
        density = TokenDensity.reference(
            np.concatenate([found[s].loc[rows[s]] for s in panel]),
            np.concatenate([found[s].scale[rows[s]] for s in panel]),
            np.concatenate([found[s].nu[rows[s]] for s in panel]),
        )
        paths = None
        if num_paths:
            inside = keyed_uniforms(seed, symbols, dates, (num_paths, horizon))
            paths = density.at_tokens(np.zeros(inside.shape, np.int64), inside).astype(np.float32)
        pooled = self.overnight_share[POOL]
        shares = np.array([self.overnight_share.get(str(s), pooled) for s in symbols])
        return Forecasts(
            self.name, symbols, dates, density, shares, self.trained_until, seed, paths
        )


def _every_step(scale: Floats, nu: float, horizon: int) -> StepParameters:
    repeated = np.repeat(scale[:, None], horizon, axis=1)
    return StepParameters(np.zeros_like(repeated), repeated, np.full_like(repeated, nu))


class HistoricalVolatility(StudentForecaster):
    """Normal with the standard deviation (around zero) of the last 20 returns, for every step."""

    name = "hist-vol"

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        return {
            symbol: _every_step(_historical_scale(bars), NORMAL_NU, horizon)
            for symbol, bars in panel.items()
        }


@dataclass(frozen=True)
class EwmaStudent(StudentForecaster):
    """RiskMetrics volatility times a Student-t fitted per symbol on train.

    Parameters
    ----------
    shapes : mapping of symbol to (2,) float64
        Degrees of freedom and scale; under `POOL` the medians.
    """

    name = "ewma-t"
    shapes: Mapping[str, Floats]

    @classmethod
    def fit(cls, panel: Panel, overnight_share: Mapping[str, float]) -> Self:
        """Fit a t per symbol to next-day returns over their EWMA scale.

        Raises
        ------
        NotEnoughDataError
            If no symbol is long enough, or none ever moves.
        """
        shapes = {}
        for symbol, bars in panel.items():
            z = (aligned_returns(bars.log_returns(), 1)[:, 0] / ewma_scale(bars))[HISTORY:-1]
            if len(z) >= HISTORY and np.abs(z).max() > 0:
                shapes[symbol] = np.array(fit_student_t(z))
        if not shapes:
            raise NotEnoughDataError(
                f"No symbol among {', '.join(panel)} has {2 * HISTORY + 1} sessions with moving prices. "
                "Give a longer history or other symbols."
            )
        shapes[POOL] = np.median(list(shapes.values()), axis=0)
        return cls(panel.sessions[-1], overnight_share, shapes)

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        result = {}
        for symbol, bars in panel.items():
            nu, relative = self.shapes.get(symbol, self.shapes[POOL])
            result[symbol] = _every_step(ewma_scale(bars) * relative, float(nu), horizon)
        return result


@dataclass(frozen=True)
class ReferenceForecaster(StudentForecaster):
    """The pooled-HAR Student-t reference itself, without a network."""

    name = "har-pooled-t"
    reference: Reference

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        return {
            symbol: self.reference.parameters(symbol, one).first(horizon)
            for symbol, one in features(panel).items()
        }
