"""What the network is told besides returns: numbers that are known at each close, per symbol.

Owns the streams of the context and the conditions of the decoder as plain numbers. Knows nothing of
bins, ids or networks; asks the reference what it had expected.

Streams, one value per session: the range over the scale that was expected, the volume over its
20-session mean, the market's return over its scale. Conditions, one value per cutoff: where the scale
stands, how wrong the reference has been lately (for the symbol and for its market), how the same days
of the last quarter were, and the calendar.

*Surprise* is `quantseq.forecasting.reference.score_of_scale` of a day's return: above zero where the
scale was too small, zero on average as long as the reference is right.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from quantseq.forecasting.reference import StepParameters, score_of_scale
from quantseq.forecasting.volatility import (
    RISKMETRICS_DECAY,
    SymbolFeatures,
    ewma,
    rolling_mean,
)
from quantseq.market.bars import Dates, Floats

STREAMS = ("range", "volume", "market")
CONDITIONS = (
    "scale over long run",
    "range over return",
    "last return",
    "month's return",
    "last volume",
    "week's volume",
    "own surprise",
    "last quarter",
    "weekday",
    "end of month",
)
SURPRISE_HALF_LIFE = 20
"""Sessions after which a surprise weighs half."""

QUARTER = (61, 62, 63)
"""Sessions ago that lie a quarter before the next one: companies report in the same weeks."""

MONTH = 22
MONTH_END = 28
"""Day of the month from which it ends."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """One symbol's numbers at each of its n sessions; NaN where unknown."""

    streams: Floats  # (n, len(STREAMS))
    conditions: Floats  # (n, len(CONDITIONS))


def inputs(
    data: Mapping[str, SymbolFeatures], expected: Mapping[str, StepParameters]
) -> dict[str, Inputs]:
    """Compute every symbol's inputs; the row of session i uses bars up to its close.

    `expected` has the reference at each session, for the sessions after it. Market terms average the
    peers that share the time zone: only those have closed as well.
    """
    result = {}
    for symbol, one in data.items():
        parameters = expected[symbol]
        sigma = np.log(parameters.scale[:, 0])
        volume = _volume(one)
        recent = ewma(np.nan_to_num(surprise(one, parameters)), 0.5 ** (1 / SURPRISE_HALF_LIFE), 0)
        conditions = [
            sigma - one.long_run / 2,
            one.log_variance / 2 - 0.5 * np.log(_variance(one.returns)),
            _standardised(one, parameters),
            rolling_mean(np.nan_to_num(one.returns), MONTH) / parameters.scale[:, 0],
            volume,
            rolling_mean(np.nan_to_num(volume), 5),
            recent,
            _last_quarter(one),
            *_calendar(one.sessions),
        ]
        result[symbol] = Inputs(_streams(one, sigma, volume), np.column_stack(conditions))
    return result


def surprise(one: SymbolFeatures, expected: StepParameters) -> Floats:
    """How much too small the scale was for each session's return: (n,), NaN where unknown."""
    z = _standardised(one, expected)
    return score_of_scale(z * z, _before(expected.nu[:, 0]))


def _standardised(one: SymbolFeatures, expected: StepParameters) -> Floats:
    """Each session's return over the scale that was expected, (n,)."""
    return (one.returns - _before(expected.loc[:, 0])) / _before(expected.scale[:, 0])


def _volume(one: SymbolFeatures) -> Floats:
    """Log volume over its mean of the 20 sessions before, (n,)."""
    volume = np.full(len(one.sessions), np.nan)
    usual = _before(rolling_mean(one.volume, 20))
    traded = (one.volume > 0) & (usual > 0)
    volume[traded] = np.log(one.volume[traded] / usual[traded])
    return volume


def _streams(one: SymbolFeatures, sigma: Floats, volume: Floats) -> Floats:
    market = np.nan_to_num(one.market_return)
    market_z = market / _before(np.sqrt(_variance(market)))
    return np.column_stack([one.log_variance / 2 - _before(sigma), volume, market_z])


def _before(values: Floats) -> Floats:
    """What was known at the close before: (n,), NaN first."""
    return np.concatenate([[np.nan], values[:-1]])


def _variance(returns: Floats) -> Floats:
    """EWMA of squared returns (n,)."""
    return np.maximum(ewma(np.nan_to_num(returns) ** 2, RISKMETRICS_DECAY, 1e-4), 1e-8)


def _last_quarter(one: SymbolFeatures) -> Floats:
    """Mean log variance over its long run, of the days that lie a quarter before the next session."""
    n = len(one.sessions)
    excess, result, first = one.log_variance - one.long_run, np.full(n, np.nan), QUARTER[-1]
    if n > first:
        result[first:] = sum(excess[first - lag : n - lag] for lag in QUARTER) / len(QUARTER)
    return result


def _calendar(sessions: Dates) -> tuple[Floats, Floats]:
    """Weekday of the cutoff, 0 for Monday, and whether its month ends."""
    weekday = (sessions.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    day = (sessions - sessions.astype("datetime64[M]")).astype(np.int64) + 1
    return weekday.astype(np.float64), (day >= MONTH_END).astype(np.float64)
