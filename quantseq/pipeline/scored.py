"""Scores of forecasts wherever a run keeps them: row by row in its folder, or averaged in its page.

Owns how a mean, a test or a calibration is read off either, and how exact it can be. Does not know which of
them a result states.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import pandas as pd

from quantseq.evaluation.significance import TestResult, diebold_mariano
from quantseq.forecasting.scores import COVERAGES, coverage, kolmogorov_distance
from quantseq.market.bars import Floats
from quantseq.reporting.embedded import SLICES, Embedded, model_of, pit_values
from quantseq.reporting.run import Run

PRECISE = 1e-9
"""Tolerance, relative above 1, where nothing was rounded."""


class Scored(Protocol):
    """Scores of forecasts, from wherever they are kept; None for what is not kept."""

    precise: bool

    def mean(self, model: str, score: str, step: int) -> float | None:
        """Mean over all rows with an outcome."""

    def test(self, rival: str, score: str, step: int) -> TestResult | None:
        """Diebold-Mariano of the run's model against a rival."""

    def calibration(self, model: str) -> Mapping[str, float] | None:
        """Coverages, PIT distance and number of rows, one step ahead."""

    def room(self, model: str, score: str, step: int) -> float:
        """Tolerance of a mean, and of a mean difference to the run's model."""


class FromForecasts:
    """Scores in the forecasts of a run folder, row by row."""

    precise = True

    def __init__(self, run: Run) -> None:
        self.model = model_of(run.result)
        self.frame = run.forecasts
        self.pits = pit_values(run)

    def _rows(self, step: int) -> pd.DataFrame:
        known = (self.frame["step"] == step) & self.frame["pit"].notna()
        return self.frame.loc[known]

    def _column(self, model: str, score: str) -> str | None:
        name = score if model == self.model else f"{score}:{model}"
        return name if name in self.frame and "pit" in self.frame else None

    def mean(self, model: str, score: str, step: int) -> float | None:
        """See `Scored`."""
        name = self._column(model, score)
        return None if name is None else float(self._rows(step)[name].to_numpy().mean())

    def test(self, rival: str, score: str, step: int) -> TestResult | None:
        """See `Scored`."""
        own, other = self._column(self.model, score), self._column(rival, score)
        if own is None or other is None:
            return None
        rows = self.frame.loc[self.frame["step"] == step]
        dates = rows["cutoff"].to_numpy().astype("datetime64[D]")
        return diebold_mariano(rows[own].to_numpy(), rows[other].to_numpy(), dates, step=step)

    def calibration(self, model: str) -> Mapping[str, float] | None:
        """See `Scored`."""
        values = self.pits.get(model)
        return None if values is None or not len(values) else _calibration(values)

    def room(self, model: str, score: str, step: int) -> float:
        """See `Scored`."""
        return PRECISE


class FromPage:
    """Scores in a page: daily averages and counts of the PIT."""

    precise = False

    def __init__(self, data: Embedded) -> None:
        self.model = model_of(data.result)
        self.scores, self.pits, self.grids = data.scores, data.pits, data.grids

    def _series(self, name: str) -> Floats | None:
        return self.scores[name].to_numpy(dtype=np.float64) if name in self.scores else None

    def mean(self, model: str, score: str, step: int) -> float | None:
        """See `Scored`."""
        rows, own = self._series(f"n:{step}"), self._series(f"{score}:{step}")
        if rows is None or own is None:
            return None
        daily = own
        if model != self.model:
            more = self._series(f"{score}:{step}:{model}")
            if more is None:
                return None
            daily = own + more
        known = np.isfinite(daily)
        return float((rows[known] * daily[known]).sum() / rows[known].sum())

    def test(self, rival: str, score: str, step: int) -> TestResult | None:
        """See `Scored`."""
        more = self._series(f"{score}:{step}:{rival}")
        if more is None:
            return None
        dates = pd.DatetimeIndex(self.scores.index).to_numpy().astype("datetime64[D]")
        return diebold_mariano(-more, np.zeros(len(more)), dates, step=step)

    def calibration(self, model: str) -> Mapping[str, float] | None:
        """See `Scored`."""
        counts = self.pits.get(model)
        if counts is None or not counts.sum():
            return None
        return _calibration((np.repeat(np.arange(SLICES), counts.astype(np.int64)) + 0.5) / SLICES)

    def room(self, model: str, score: str, step: int) -> float:
        """Sums by parts: what a running sum kept to half a step allows a mean over rows to be off by.

        Days weigh by their rows, and every change of the weight lets half a step through.
        """
        names = (f"{score}:{step}", f"{score}:{step}:{model}")
        kept = [name for name in names if name in self.grids]
        steps = sum(1 / self.grids[name] for name in kept)
        rows = self._series(f"n:{step}")
        if rows is None:  # of later steps only differences are kept, and their days weigh alike
            rows = np.isfinite(self.scores[kept].to_numpy()).all(axis=1).astype(np.float64)
        rows = rows[rows > 0]
        through = np.abs(np.diff(rows, append=0.0)).sum() / max(rows.sum(), 1.0)
        return PRECISE + 0.5 * steps * float(through)


def _calibration(values: Floats) -> dict[str, float]:
    shares = {f"coverage_{level}": coverage(values, level / 100) for level in COVERAGES}
    return {**shares, "pit_ks": kolmogorov_distance(values), "n": float(len(values))}
