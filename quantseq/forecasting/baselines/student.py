"""Rivals whose every step is a Student-t: 20-day and RiskMetrics volatility, and the bare reference.

Owns `HistoricalVolatility`, `EwmaStudent` and `ReferenceForecaster` (the HAR reference without any
network). Each is a good version of itself: causal, floored, with its distribution fitted on train.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, cast

import numpy as np

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.baselines.rival import Rival, Rows
from quantseq.forecasting.density import NORMAL_NU, TokenDensity
from quantseq.forecasting.distributions import Distribution
from quantseq.forecasting.forecasts import keyed_generators
from quantseq.forecasting.reference import POOL, Reference, StepParameters, fit_student_t
from quantseq.forecasting.volatility import (
    VARIANCE_FLOOR,
    aligned_returns,
    ewma_scale,
    features,
    rolling_mean,
)
from quantseq.market.bars import Bars, Floats, Panel

HISTORY = 20
"""Sessions of the historical volatility that most people use."""


def _historical_scale(bars: Bars) -> Floats:
    squares = np.nan_to_num(bars.log_returns()) ** 2
    return np.sqrt(np.maximum(rolling_mean(squares, HISTORY), VARIANCE_FLOOR))


@dataclass(frozen=True)
class StudentForecaster(Rival):
    """A Student-t per symbol, cutoff and step; the steps of a path are independent draws."""

    @abstractmethod
    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """Location, scale and ν at every session of every symbol, each known at its close."""

    def distribution(self, rows: Rows, horizon: int) -> TokenDensity:
        """See `Rival.distribution`."""
        found = self.parameters(rows.panel, horizon)
        return TokenDensity.reference(
            *(
                rows.stack({symbol: getattr(one, name) for symbol, one in found.items()})
                for name in ("loc", "scale", "nu")
            )
        )

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Rival.paths`."""
        density = cast(TokenDensity, found)
        draws = np.empty((len(rows.symbols), num_paths, density.shape[1]))
        generators = keyed_generators(seed, rows.symbols, rows.cutoffs)
        for row, generator in enumerate(generators):
            draws[row] = generator.standard_t(density.nu[row], draws.shape[1:])
        return np.asarray(density.loc[:, None] + density.scale[:, None] * draws)


def every_step(scale: Floats, nu: float, horizon: int) -> StepParameters:
    """The same centred t for every step."""
    repeated = np.repeat(scale[:, None], horizon, axis=1)
    return StepParameters(np.zeros_like(repeated), repeated, np.full_like(repeated, nu))


class HistoricalVolatility(StudentForecaster):
    """Normal with the standard deviation (around zero) of the last 20 returns, for every step."""

    name = "hist-vol"

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        return {
            symbol: every_step(_historical_scale(bars), NORMAL_NU, horizon)
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
            result[symbol] = every_step(ewma_scale(bars) * relative, float(nu), horizon)
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
