"""How much of the network to believe: shrinkage towards the reference on held-out validation.

Owns the choice of the weight and the rule that guards it. Knows nothing of networks or prices: it
sees the probabilities that two forecasters gave to what happened.

References
----------
.. [1] Stone, M. (1961). The opinion pool. Annals of Mathematical Statistics 32(4).
.. [2] Hall, S. and Mitchell, J. (2007). Combining density forecasts. International Journal of
   Forecasting 23(1).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantseq.market.bars import Dates, Floats

WEIGHTS = np.linspace(0, 1, 21)
BLOCKS = 4


@dataclass(frozen=True)
class Shrinkage:
    """The linear pool [1]_ of network and reference: ``p = weight · network + (1 − weight) / V``.

    Attributes
    ----------
    weight : float
        In [0, 1]; 0 is the reference itself.
    gain : float
        Mean log-score gain over the reference in nats, cross-fitted: each block of validation days
        is scored with the weight that the other blocks chose.
    """

    weight: float
    gain: float


def _best_weight(tilt: Floats) -> float:
    with np.errstate(divide="ignore"):  # a token that was ruled out costs infinitely much
        gains = np.log(1 + WEIGHTS[:, None] * (tilt - 1)[None, :]).mean(axis=1)
    return float(WEIGHTS[int(np.argmax(gains))])


def choose_shrinkage(tilt: Floats, cutoffs: Dates) -> Shrinkage:
    """Choose the pool's weight on validation, accepted only if it helps out of block.

    Parameters
    ----------
    tilt : (M,) or (M, H) float64
        ``V · p(token that happened)``: how many times likelier the network made it than the
        reference. 1 everywhere means that the network says nothing.
    cutoffs : (M,) datetime64[D]
        Dates of the rows; blocks are consecutive spans of them.

    Returns
    -------
    Shrinkage
        Weight 0 unless the cross-fitted gain is positive: little data can then not make the
        forecast worse than the reference. The accepted weight is the mean of the weights that the
        blocks chose, which is steadier than a single optimum [2]_.
    """
    days = np.unique(cutoffs)
    if len(days) < 2 * BLOCKS:
        return Shrinkage(0.0, 0.0)
    block = np.searchsorted(days, cutoffs) * BLOCKS // len(days)
    flat = tilt.reshape(len(cutoffs), -1)
    weights, gains = [], []
    for part in range(BLOCKS):
        inside: NDArray[np.bool_] = block == part
        weight = _best_weight(flat[~inside].ravel())
        weights.append(weight)
        with np.errstate(divide="ignore"):
            gains.append(np.log(1 + weight * (flat[inside].ravel() - 1)).mean())
    gain = float(np.mean(gains))
    return Shrinkage(float(np.mean(weights)), gain) if gain > 0 else Shrinkage(0.0, gain)
