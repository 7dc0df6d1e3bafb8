"""Whether surer forecasts earn more: profit of following the sign, by how sure the forecast was.

Owns the grouping. Knows arrays of probabilities and outcomes, neither models nor costs.
"""

import numpy as np

from quantseq.evaluation.direction import Clustered, clustered_mean
from quantseq.evaluation.significance import by_date
from quantseq.market.bars import Dates, Floats

EVEN = 1e-9
"""A probability this close to one half calls no direction."""


def profit_by_confidence(
    prob_up: Floats, outcome: Floats, dates: Dates, *, groups: int = 10
) -> list[Clustered]:
    """Mean profit of following the forecast's sign, by group of rising distance of P(up) from ½.

    Parameters
    ----------
    prob_up, outcome : (M,) float64
        Probability of a rise, and the realised log return; NaN where unknown.
    dates : (M,) datetime64[D]
        Cutoffs: errors count days, because symbols of one day move together.
    groups : int
        Of equal size; ties are kept in the order of rows.

    Returns
    -------
    list of Clustered
        Simple return per forecast before costs, least sure first. Empty where fewer than ten forecasts
        a group call a direction.
    """
    sure = np.abs(prob_up - 0.5)
    called = np.isfinite(outcome) & (sure > EVEN)
    if called.sum() < 10 * groups:
        return []
    earned = (np.sign(prob_up - 0.5) * np.expm1(outcome))[called]
    days = dates[called]
    order = np.argsort(sure[called], kind="stable")
    return [
        clustered_mean(by_date(earned[np.sort(part)], days[np.sort(part)]))
        for part in np.array_split(order, groups)
    ]
