"""The bootstrap: tomorrow is one of the symbol's own recent days, each as likely as the others."""

from dataclasses import dataclass

import numpy as np

from quantseq.forecasting.baselines.rival import Rival, Rows
from quantseq.forecasting.distributions import Distribution, Quantiles
from quantseq.forecasting.forecasts import keyed_uniforms
from quantseq.market.bars import Floats

WINDOW = 500
"""Returns that may come again: two years, or as many as there are."""

LEVELS = tuple(((np.arange(200) + 0.5) / 200).tolist())
"""Levels at which the sorted returns are kept."""


def trailing_quantiles(returns: Floats, places: np.ndarray) -> Floats:
    """Quantiles at `LEVELS` of the last `WINDOW` returns up to each place: (m, Q).

    Parameters
    ----------
    returns : (n,) float64
        The first is NaN: before it there is no close.
    places : (m,) int
        Each at least 1; sorted values are joined by straight lines (Hazen's rule).
    """
    levels, result = np.array(LEVELS), np.empty((len(places), len(LEVELS)))
    full = places >= WINDOW
    if full.any():
        windows = np.lib.stride_tricks.sliding_window_view(returns, WINDOW)
        ordered = np.sort(windows[places[full] - WINDOW + 1], axis=1)
        place = np.clip(levels * WINDOW - 0.5, 0, WINDOW - 1)
        low = np.minimum(place.astype(np.intp), WINDOW - 2)
        share = place - low
        result[full] = (1 - share) * ordered[:, low] + share * ordered[:, low + 1]
    for row in np.flatnonzero(~full):
        result[row] = np.quantile(returns[1 : places[row] + 1], levels, method="hazen")
    return np.maximum.accumulate(result, axis=1)


@dataclass(frozen=True)
class Bootstrap(Rival):
    """The empirical distribution of the last `WINDOW` returns, the same for every step.

    It has no density, hence no log score. A path is a run of H returns that once followed each
    other, its start drawn with equal probabilities, so that sums keep the dependence of old days.
    """

    name = "bootstrap"

    def distribution(self, rows: Rows, horizon: int) -> Quantiles:
        """See `Rival.distribution`."""
        values = np.concatenate(
            [
                trailing_quantiles(bars.log_returns(), rows.index[symbol])
                for symbol, bars in rows.panel.items()
            ]
        )
        every = np.broadcast_to(values[:, None], (len(values), horizon, len(LEVELS)))
        return Quantiles(every, LEVELS)

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Rival.paths`."""
        horizon = found.shape[1]
        draws = keyed_uniforms(seed, rows.symbols, rows.cutoffs, (num_paths,))
        result, start = np.empty((len(draws), num_paths, horizon)), 0
        for symbol, bars in rows.panel.items():
            places = rows.index[symbol]
            mine = draws[start : start + len(places)].astype(np.float64)
            count = np.minimum(places, WINDOW) - horizon + 1  # runs that end by the cutoff
            first = places - np.minimum(places, WINDOW) + 1
            begin = first[:, None] + np.floor(mine * count[:, None]).astype(np.intp)
            returns = bars.log_returns()
            result[start : start + len(places)] = returns[begin[..., None] + np.arange(horizon)]
            start += len(places)
        return result
