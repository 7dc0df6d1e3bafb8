"""The rivals, under the same protocol as the network: whoever cannot beat them has no edge.

Every rival is a good version of itself: causal, floored, with its distribution fitted on train. The
simple ones are imported from here; `registry` knows all of them by name.
"""

from quantseq.forecasting.baselines.student import (
    HISTORY,
    EwmaStudent,
    HistoricalVolatility,
    ReferenceForecaster,
    StudentForecaster,
)

__all__ = [
    "HISTORY",
    "EwmaStudent",
    "HistoricalVolatility",
    "ReferenceForecaster",
    "StudentForecaster",
]
