"""What kind of market each session was in, told from the benchmark's returns before it.

Owns the rules. A session is sorted by what was known at the close before it; where the cuts between the
thirds of volatility lie is known only at the end, so regimes describe a result and trade nothing.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.trading.measures import checked, drawdowns, wealth

VOLATILITY, TREND = 63, 200
"""Sessions over which the benchmark's volatility and its mean level are measured."""

DEEP = -0.10
"""Drawdown of the benchmark below which a session counts as in a fall."""


@dataclass(frozen=True, eq=False)
class Regime:
    """Some sessions.

    Attributes
    ----------
    kind, label : str
        What was looked at, and what was found.
    sessions : (T,) bool
    """

    kind: str
    label: str
    sessions: NDArray[np.bool_]


def regimes(benchmark: "pd.Series[float]") -> list[Regime]:
    """Sort sessions by volatility, trend and depth of the market before them.

    Parameters
    ----------
    benchmark : (T,) Series
        Simple returns per session.

    Returns
    -------
    list of Regime
        Sessions whose window is not full yet are in none of their kind. Kinds without any session in
        one of their regimes are left out.
    """
    values = checked(benchmark)
    frame = pd.DataFrame({"return": values, "wealth": wealth(values)})
    before = pd.DataFrame(
        {
            "volatility": frame["return"].rolling(VOLATILITY).std(ddof=1),
            "trend": frame["wealth"] / frame["wealth"].rolling(TREND).mean() - 1,
            "depth": drawdowns(values),
        }
    ).shift(1)
    volatility, trend, depth = (before[name].to_numpy() for name in before)
    known = volatility[np.isfinite(volatility)]
    low, high = np.quantile(known, [1 / 3, 2 / 3]) if len(known) else (np.nan, np.nan)
    kinds = {
        f"Volatility, {VOLATILITY} sessions": {
            "lowest third": volatility <= low,
            "middle third": (volatility > low) & (volatility <= high),
            "highest third": volatility > high,
        },
        f"Against {TREND}-session mean": {"above": trend > 0, "below": trend <= 0},
        "Below its high": {
            f"by less than {-100 * DEEP:.0f} %": depth > DEEP,
            f"by {-100 * DEEP:.0f} % or more": depth <= DEEP,
        },
    }
    return [
        Regime(kind, label, mask)
        for kind, parts in kinds.items()
        if all(mask.any() for mask in parts.values())
        for label, mask in parts.items()
    ]
