"""Weights times returns, all sessions at once: for sweeps only, where many books are compared.

Owns the vectorised approximation of `backtest`. Knows no account: no cash runs short, no order waits,
no share is whole. Whatever is reported comes from `backtest`; the tests hold this path against it.

What is exact and what is not
-----------------------------
Without costs, gaps and short cash the returns are those of the loop but for rounding. Trading costs
are taken off at first order: turnover is measured as if earlier costs had not been paid, an error of
the order of cost × turnover × return per session. A position that is not traded (`trade`) is brought
back to its weight for free instead of drifting. Borrow, interest and financing are charged on the
last close as in the loop. An order without a bar is filled at the carried price, so a panel with gaps
is refused unless `carried` allows it. Nothing here charges least commissions or impact.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.market.bars import Dates, Floats, Panel
from quantseq.trading.backtest import Fill, prepare
from quantseq.trading.broker.costs import Costs


@dataclass(frozen=True)
class ReturnsSpace:
    """A book of weights, ready to be priced at any proportional cost.

    Attributes
    ----------
    sessions : (D,) datetime64[D]
    before : (D,) float64
        Return from the last close to the fill, before costs.
    after : (D,) float64
        Return from the fill to the close, before costs.
    turnover : (D,) float64
        Traded notional over the equity at the fill.
    long, short : (D,) float64
        Value of longs and of shorts (positive) over equity at the close of the session before.
    """

    sessions: Dates
    before: Floats
    after: Floats
    turnover: Floats
    long: Floats
    short: Floats

    def returns(self, costs: Costs | None = None) -> Floats:
        """Net simple returns per session, (D,).

        Raises
        ------
        ConfigError
            If `costs` asks for what depends on the size of an order.
        """
        costs = costs or Costs()
        if not costs.proportional:
            raise ConfigError(
                "The returns-space path charges proportional costs only: min_commission, impact and "
                "volume_cap must be 0 and whole_shares false. Use backtest for the others."
            )
        free = 1 - self.long
        rates = costs.cash_rate, costs.cash_rate + costs.financing_bps / 1e4
        held = np.maximum(free, 0) * rates[0] + np.minimum(free, 0) * rates[1]
        held = (held - self.short * costs.borrow_bps / 1e4) / costs.year
        paid = 1 - costs.rate * self.turnover
        return np.asarray((1 + self.before + held) * paid * (1 + self.after) - 1)


def in_returns_space(
    panel: Panel,
    weights: pd.DataFrame,
    *,
    fill: Fill = "open",
    carried: bool = False,
    max_gross: float = 1.0,
    trade: pd.DataFrame | None = None,
) -> ReturnsSpace:
    """Price a book that is brought to its weights after every decision, one decision per session.

    Parameters
    ----------
    panel, weights, fill
        As in `backtest`; every session from the first decision on must have its decision.
    carried : bool
        Take missing bars as unchanged prices instead of refusing them.
    max_gross : float
        As in `Costs`.
    trade : DataFrame of bool, optional
        As in `backtest`; where it is false no turnover is charged.

    Raises
    ------
    ConfigError, NoDataError, NotEnoughDataError, SymbolNotFoundError
        As in `backtest`, and if a session lacks its decision or, unless `carried`, a bar.
    """
    orders = prepare(panel, weights, Costs(max_gross=max_gross), fill, trade=trade)
    if len(weights) < len(orders.sessions):
        raise ConfigError(
            f"There are {len(weights)} decisions for {len(orders.sessions)} sessions. The "
            "returns-space path needs one per session; use backtest for rarer ones."
        )
    if not (carried or orders.has_bar.all()):
        raise NotEnoughDataError(
            f"{int((~orders.has_bar).sum())} bars are missing. Use backtest, where orders wait for "
            "them, or set carried=True to take prices as unchanged."
        )
    target = np.asarray(weights.to_numpy(dtype=np.float64)[: len(orders.sessions)])
    ends = np.vstack([orders.fill_at[:1], orders.close[:-1]])
    gap, inside = orders.fill_at / ends, orders.close / orders.fill_at
    held = np.zeros_like(target)  # weights at the close before each session
    held[1:] = target[:-1] * inside[:-1]
    held[1:] /= 1 + (target[:-1] * (inside[:-1] - 1)).sum(axis=1, keepdims=True)
    before = np.einsum("ds,ds->d", held, gap - 1)
    drifted = held * gap / (1 + before)[:, None]
    moved = np.abs(target - drifted)
    if trade is not None:
        moved *= trade.to_numpy(dtype=bool)[: len(orders.sessions)]
    return ReturnsSpace(
        orders.sessions,
        before,
        np.einsum("ds,ds->d", target, inside - 1),
        moved.sum(axis=1),
        np.maximum(held, 0).sum(axis=1),
        np.maximum(-held, 0).sum(axis=1),
    )
