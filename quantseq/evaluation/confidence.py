"""Which models may still be the best, and how sure a mean gain is: bootstraps over days.

Owns the model confidence set and the block-bootstrap interval, both by ``arch.bootstrap``. Knows
daily losses, not models.

References
----------
.. [1] Hansen, P., Lunde, A. and Nason, J. (2011). The model confidence set. Econometrica 79(2).
.. [2] Politis, D. and Romano, J. (1994). The stationary bootstrap. JASA 89(428).
.. [3] Patton, A., Politis, D. and White, H. (2009). Correction to "Automatic block-length selection
   for the dependent bootstrap". Econometric Reviews 28(4).
"""

import warnings
from collections.abc import Mapping

import numpy as np
from arch.bootstrap import MCS, StationaryBootstrap, optimal_block_length

from quantseq.market.bars import Floats

REPETITIONS = 1000
MCS_SIZE = 0.1
"""The set of models whose p-value reaches this holds the best with probability 90 %."""

MIN_DAYS = 20
"""Days below which nothing is resampled."""


def block_length(series: Floats) -> float:
    """Mean block of the stationary bootstrap [3]_ for a daily series, within [1, n/4]."""
    if np.ptp(series) == 0:
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = float(optimal_block_length(series)["stationary"].iloc[0])
    return float(np.clip(np.nan_to_num(found, nan=1.0), 1.0, max(1.0, len(series) / 4)))


def mean_interval(daily: Floats, *, seed: int, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of a mean under the stationary bootstrap [2]_.

    Parameters
    ----------
    daily : (n,) float64
        NaN days are left out; fewer than `MIN_DAYS`, or an infinite day, give NaN.
    """
    known = daily[~np.isnan(daily)]
    if len(known) < MIN_DAYS or np.isinf(known).any():
        return float("nan"), float("nan")
    resampled = StationaryBootstrap(
        max(1, round(block_length(known))), known, seed=np.random.default_rng(seed)
    )
    low, high = resampled.conf_int(
        lambda x: np.array([x.mean()]), REPETITIONS, method="percentile", size=level
    )[:, 0]
    return float(low), float(high)


def confidence_set(losses: Mapping[str, Floats], *, seed: int) -> dict[str, float]:
    """p-value of each model for staying in the model confidence set [1]_.

    Parameters
    ----------
    losses : mapping of name to (n,) float64
        Daily losses on the same days; days on which one is unknown (NaN) are left out. A model with
        an infinite loss is out with p = 0, and the others are compared on all days.
    seed : int

    Returns
    -------
    dict
        Empty for fewer than two models or `MIN_DAYS` days, and if every model is out.
    """
    out = {name: 0.0 for name, one in losses.items() if np.isinf(one).any()}
    names = [name for name in losses if name not in out]
    if len(losses) < 2 or not names:
        return {}
    table = np.column_stack([losses[name] for name in names])
    table = table[~np.isnan(table).any(axis=1)]
    if len(table) < MIN_DAYS:
        return {}
    return {name: out.get(name, 1.0) for name in losses} | _among(names, table, seed)


def _among(names: list[str], table: Floats, seed: int) -> dict[str, float]:
    """The same for finite losses (n, M)."""
    worst = table - table.mean(axis=1, keepdims=True)
    length = max(block_length(worst[:, column]) for column in range(len(names)))
    distinct, first = np.unique(table.round(14), axis=1, return_index=True)
    if distinct.shape[1] < 2:
        return dict.fromkeys(names, 1.0)
    kept = table[:, np.sort(first)]  # twins have no variance between them; they share a p-value
    mcs = MCS(
        kept,
        MCS_SIZE,
        reps=REPETITIONS,
        block_size=max(1, round(length)),
        bootstrap="stationary",
        seed=np.random.default_rng(seed),
    )
    mcs.compute()
    values = mcs.pvalues["Pvalue"].to_dict()
    twin = [int(np.abs(kept - table[:, [i]]).max(axis=0).argmin()) for i in range(len(names))]
    return {name: float(values[twin[i]]) for i, name in enumerate(names)}
