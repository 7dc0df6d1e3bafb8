"""How good forecasts were: proper scores and calibration, one definition each.

Owns the scores per row and step and their summary. Does not know which model made a forecast, and
leaves significance to the evaluation room. Every score uses the outcome, so it is known at the
close of cutoff + step.

References
----------
.. [1] Gneiting, T. and Raftery, A. (2007). Strictly proper scoring rules, prediction, and
   estimation. JASA 102(477).
.. [2] Diebold, F., Gunther, T. and Tay, A. (1998). Evaluating density forecasts. International
   Economic Review 39(4).
.. [3] Fricker, T., Ferro, C. and Stephenson, D. (2013). Three recommendations for evaluating
   climate predictions. Meteorological Applications 20(2).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from quantseq.errors import ConfigError
from quantseq.forecasting.forecasts import Forecasts, keyed_uniforms
from quantseq.forecasting.volatility import aligned_returns
from quantseq.market.bars import Floats, Panel

COVERAGES = (50, 80, 90, 95)
"""Two-sided central intervals, in per cent."""


def realised_returns(panel: Panel, forecasts: Forecasts) -> Floats:
    """Log returns that followed each cutoff: (M, H), NaN where they are not known yet."""
    result = np.full((len(forecasts), forecasts.horizon), np.nan)
    for symbol in np.unique(forecasts.symbols):
        rows = np.flatnonzero(forecasts.symbols == symbol)
        bars = panel[str(symbol)]
        ahead = aligned_returns(bars.log_returns(), forecasts.horizon)
        result[rows] = ahead[np.searchsorted(bars.sessions, forecasts.cutoffs[rows])]
    return result


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores per row and step, all (M, H) float64; NaN where the outcome is unknown.

    Attributes
    ----------
    log_score : negative log density at the outcome, nats; lower is better [1]_
    crps : continuous ranked probability score, log-return units; lower is better [1]_
    pit : probability integral transform of the outcome; uniform if calibrated [2]_
    """

    log_score: Floats
    crps: Floats
    pit: Floats

    def summary(self, *, step: int = 1) -> dict[str, float]:
        """Averages over all rows at one step: scores, coverage, PIT distance, sample size.

        Returns
        -------
        dict
            ``log_score, crps, coverage_50 … coverage_95`` (shares in [0, 1]), ``pit_ks`` (largest
            distance of the PIT's distribution from uniform) and ``n``; NaN without outcomes.
        """
        known = np.isfinite(self.pit[:, step - 1])
        pit = self.pit[known, step - 1]
        if not len(pit):
            names = ["log_score", "crps", *(f"coverage_{c}" for c in COVERAGES), "pit_ks"]
            return {**dict.fromkeys(names, float("nan")), "n": 0}
        return {
            "log_score": float(self.log_score[known, step - 1].mean()),
            "crps": float(self.crps[known, step - 1].mean()),
            **{f"coverage_{c}": coverage(pit, c / 100) for c in COVERAGES},
            "pit_ks": kolmogorov_distance(pit),
            "n": int(known.sum()),
        }


def score(forecasts: Forecasts, realised: Floats) -> Scores:
    """Score forecasts against what happened (M, H), exactly, from their distributions."""
    density = forecasts.density
    unknown = ~np.isfinite(realised)
    filled = np.where(unknown, 0.0, realised)
    parts = (-density.log_density(filled), density.crps(filled), _pit(forecasts, filled))
    return Scores(*(np.where(unknown, np.nan, part) for part in parts))


def _pit(forecasts: Forecasts, outcome: Floats) -> Floats:
    """Probability integral transform (M, H), randomised at atoms only, by draws keyed to the row."""
    pit, below = forecasts.density.cdf(outcome), forecasts.density.cdf_below(outcome)
    rows = np.flatnonzero((below < pit).any(axis=1))
    if len(rows):
        shape = (forecasts.horizon,)
        draws = keyed_uniforms(
            forecasts.seed, forecasts.symbols[rows], forecasts.cutoffs[rows], shape
        )
        pit[rows] = below[rows] + draws * (pit[rows] - below[rows])
    return pit


def coverage(pit: Floats, level: float) -> float:
    """Share of outcomes inside the central interval of probability `level`."""
    return float(np.mean(np.abs(pit - 0.5) <= level / 2))


def kolmogorov_distance(pit: Floats) -> float:
    """Largest distance between the empirical distribution of `pit` and the uniform."""
    ordered = np.sort(pit)
    n = len(ordered)
    above = np.arange(1, n + 1) / n - ordered
    below = ordered - np.arange(n) / n
    return float(max(above.max(), below.max()))


def pinball_loss(quantile: Floats, outcome: Floats, level: float) -> Floats:
    """Pinball (quantile) loss without the factor 2, lower is better; NaN where NaN goes in."""
    if not 0 < level < 1:
        raise ConfigError(f"The level of a pinball loss must lie in (0, 1). Got {level}.")
    difference = outcome - quantile
    return np.maximum(level * difference, (level - 1) * difference)


def interval_score(low: Floats, high: Floats, outcome: Floats, level: float) -> Floats:
    """Winkler score [1]_ of central intervals of probability `level`: width plus 2/(1 − level) times the miss."""
    if not 0 < level < 1:
        raise ConfigError(f"The level of an interval must lie in (0, 1). Got {level}.")
    miss = np.maximum(low - outcome, 0) + np.maximum(outcome - high, 0)
    return high - low + 2 / (1 - level) * miss


def sample_crps(paths: ArrayLike, outcome: Floats) -> Floats:
    """CRPS from samples, fair (unbiased) in their number [3]_.

    Parameters
    ----------
    paths : (M, N) float
        N >= 2 samples per row.
    outcome : (M,) float64

    Returns
    -------
    (M,) float64
    """
    ordered = np.sort(np.asarray(paths, dtype=np.float64), axis=1)
    n = ordered.shape[1]
    if n < 2:
        raise ConfigError(f"The fair CRPS needs at least 2 paths per row. Got {n}.")
    absolute = np.abs(ordered - outcome[:, None]).mean(axis=1)
    rank = 2 * np.arange(1, n + 1) - n - 1
    return np.asarray(absolute - (ordered * rank).sum(axis=1) / (n * (n - 1)))
