"""Where the money came from: profit by symbol, side and cost, in parts that sum to the total.

Owns the arithmetic that takes a `BacktestResult` apart. Knows nothing of how it came about.

A symbol's profit in a session is the move from the last close to the fill price on the shares held
before, and from the fill price to the close on the shares held after. Each part belongs to the long
side if those shares are positive, else to the short side. Costs, interest and, after a ruin, the
negative equity that nobody owes are parts of their own. The sum is ``equity[-1] − 1`` but for
rounding.
"""

import numpy as np
import pandas as pd

from quantseq.market.bars import Floats
from quantseq.trading.broker.account import BacktestResult
from quantseq.trading.broker.costs import TRADING

ACCOUNT = "(account)"
"""The row of what belongs to no symbol."""


def attribute(result: BacktestResult) -> pd.DataFrame:
    """Profit by symbol, side and cost, in units of the starting equity.

    Returns
    -------
    DataFrame
        One row per symbol, then `ACCOUNT`. Columns: long and short (profit of the side before
        costs), commission, spread, impact, borrow, financing (negative), interest, written_off (only
        after a ruin), total. The grand total is ``equity[-1] − 1``.
    """
    long, short = _sides(result)
    symbols = len(result.symbols)
    parts = {"long": long.sum(axis=0), "short": short.sum(axis=0)}
    parts |= dict(zip(TRADING, -result.order_costs.sum(axis=1), strict=True))
    parts["borrow"] = -_borrow(result)
    table = pd.DataFrame(parts, index=list(result.symbols))
    table.loc[ACCOUNT] = 0.0
    for name, amount in (
        ("financing", -result.financing.sum()),
        ("interest", result.interest.sum()),
        ("written_off", result.written_off),
    ):
        table[name] = np.append(np.zeros(symbols), amount)
    table["total"] = table.sum(axis=1)
    table.index.name = "symbol"
    return table + 0.0  # no −0 for what was not charged


def profit(result: BacktestResult) -> tuple[Floats, Floats]:
    """Profit before costs by session and symbol: from the last close to the fill, and on to the close.

    Returns
    -------
    (D, S), (D, S) float64
        In units of the starting equity.
    """
    before, after = _held(result)
    opened = np.vstack([result.fill_prices[:1], result.closes[:-1]])
    at_fill = before * (result.fill_prices - opened)
    at_mark = after * (result.closes - result.fill_prices)
    if result.ruined is not None:  # nothing is held after the ruin
        at_fill[result.sessions > result.ruined] = 0.0
        at_mark[result.sessions > result.ruined] = 0.0
    return at_fill, at_mark


def _held(result: BacktestResult) -> tuple[Floats, Floats]:
    """Shares before and after the fill of each session: each (D, S)."""
    before = np.vstack([np.zeros((1, len(result.symbols))), result.shares[:-1]])
    return before, before + result.traded


def _sides(result: BacktestResult) -> tuple[Floats, Floats]:
    """Profit before costs by session and symbol, of the long and of the short side: each (D, S)."""
    (before, after), (at_fill, at_mark) = _held(result), profit(result)
    long = np.where(before > 0, at_fill, 0.0) + np.where(after > 0, at_mark, 0.0)
    return long, at_fill + at_mark - long


def _borrow(result: BacktestResult) -> Floats:
    """What borrowing each symbol cost: (S,). The charge of a session is shared by value short."""
    values = np.maximum(-result.shares * result.closes, 0.0)
    total = values.sum(axis=1)
    charged = np.append(result.borrow[1:], 0.0)  # on the state at the last close
    per_value = np.divide(charged, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(per_value @ values)
