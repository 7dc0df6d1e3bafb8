"""What might have been earned instead: at other trading costs, or by a steady drift.

Owns two formulas for drawings. Nothing that is claimed rests on them: break-even costs are solved on
re-run accounts (`backtest.break_even_bps`), and placebos are run.
"""

from typing import Any

import numpy as np

from quantseq.market.bars import Floats
from quantseq.trading.measures import checked


def at_cost(net: Any, turnover: Any, *, charged_bps: float, cost_bps: float) -> Floats:
    """Net returns if every trade had cost `cost_bps` instead of `charged_bps`.

    r + (charged − asked)/10⁴ · turnover: the trades stay the same shares of equity, and what was paid
    before is not compounded into their size, an error of the order of cost × turnover × return.

    Parameters
    ----------
    net, turnover : (T,) Series or array
        Net simple returns, and traded notional over equity, by session.
    charged_bps, cost_bps : float
        Proportional costs in basis points of the traded notional.

    Returns
    -------
    (T,) float64
        Never below −1.
    """
    moved = (charged_bps - cost_bps) / 1e4 * np.asarray(turnover, dtype=np.float64)
    return np.maximum(checked(net) + np.nan_to_num(moved), -1.0)


def drift(sharpe: float, volatility: float, sessions: int, *, periods: int = 252) -> Floats:
    """Median wealth after each session of a steady drift with given Sharpe ratio and volatility.

    exp((S·σ − σ²/2)·t/A), the median of geometric Brownian motion.

    Parameters
    ----------
    sharpe, volatility : float
        Per year.
    sessions : int
        How many.
    periods : int
        A, sessions per year.
    """
    years = np.arange(1, sessions + 1) / periods
    return np.asarray(np.exp((sharpe * volatility - volatility**2 / 2) * years))
