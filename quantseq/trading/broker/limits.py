"""What an order gets where its size matters: whole shares, thin volume, charges that do not scale.

Owns the cuts that the loop of `account` makes to a session's orders, and how buys shrink when cash is
short and the charge is no plain percentage. Knows nothing of decisions or marks.
"""

import numpy as np

from quantseq.market.bars import Floats
from quantseq.trading.broker.costs import Costs, Liquidity, order_costs
from quantseq.trading.broker.orders import DUST, Flags, Orders

ALMOST = 1e-9
"""A position within this share of a whole one is whole: rounding must not sell a share."""


def whole(shares: Floats, lot: Floats) -> Floats:
    """Round towards 0 to a multiple of `lot`."""
    count = shares / lot
    return np.asarray(np.trunc(count + ALMOST * np.sign(count)) * lot)


def cap_by_volume(order: Floats, size: Floats, k: int, orders: Orders, costs: Costs) -> Floats:
    """Cut orders to what the volume of session `k` lets through; return what is left of them.

    Without volume or volatility to go by nothing is filled. The liquidation of a symbol that is no
    longer traded is not cut: no market is left to limit it.

    Parameters
    ----------
    order, size : (S,) float64
        Shares, changed in place, and their absolute value in units of the starting equity.
    """
    left = np.zeros_like(order)
    if orders.liquidity is not None:
        here = orders.liquidity.at(k)
        most = np.where(
            here.known, costs.volume_cap * here.volume if costs.volume_cap else np.inf, 0
        )
        over = (size > most) & ~orders.lapsed[k]
        if over.any():
            part = np.divide(most, size, out=np.ones_like(size), where=over) * order
            if orders.lot is not None:
                part[over] = whole(part[over], orders.lot[k][over])
            left[over] = (order - part)[over]
            order[over] = part[over]
    return left


def afford(
    order: Floats, held: Floats, k: int, budget: float, orders: Orders, costs: Costs
) -> tuple[float, Floats | None]:
    """Shrink the buys of session `k` by one factor to what sales and `budget` can pay for.

    Parameters
    ----------
    order : (S,) float64
        Shares, changed in place.
    held : (S,) float64
        Shares before.
    budget : float
        Cash and credit before the sales.

    Returns
    -------
    fee : float
        Charge for all orders.
    missing : (S,) float64 or None
        Shares that could not be paid for; None where cash sufficed.
    """
    price = orders.fill_at[k]
    here = None if orders.liquidity is None else orders.liquidity.at(k)
    buying, fee = order > 0, _fee(np.abs(order * price), costs, here)
    sold = -(order * price)[~buying].sum() - fee[~buying].sum()
    if (order * price + fee)[buying].sum() <= budget + sold or not buying.any():
        return float(fee.sum()), None
    asked = order[buying].copy()
    share = _share(asked * price[buying], budget + sold, costs, _of(here, buying))
    got = share * asked
    if orders.lot is not None:
        got = np.maximum(whole(held[buying] + got, orders.lot[k][buying]) - held[buying], 0.0)
    order[buying] = got
    missing = np.zeros_like(order)
    missing[buying] = asked - got
    return float(_fee(np.abs(order * price), costs, here).sum()), missing


def sale_waits(
    orders: Orders, k: int, held: Floats, base: float, rest: Floats, closed: Flags
) -> bool:
    """Whether a sale that would bring cash still waits at session `k`, for a bar or for volume.

    Orders of symbols that were `closed` for want of bars wait no more.
    """
    if (rest < 0).any():
        return True
    if orders.waiting is None:
        return False
    with np.errstate(invalid="ignore"):  # NaN where no order waits
        over = held * orders.fill_at[k] - orders.waiting[k] * base
    return bool(((over > DUST * base) & ~closed).any())  # rounding is no sale


def _share(notional: Floats, available: float, costs: Costs, here: Liquidity | None) -> float:
    """Largest factor on the buys that `available` pays for, their charges included."""
    from scipy.optimize import brentq

    def short(share: float) -> float:
        bought = share * notional
        return float(bought.sum() + _fee(bought, costs, here).sum() - available)

    if available <= 0 or short(1e-12) > 0:
        return 0.0
    return float(brentq(short, 1e-12, 1.0, xtol=1e-15)) * (1 - 1e-12)


def _fee(notional: Floats, costs: Costs, here: Liquidity | None) -> Floats:
    return np.asarray(order_costs(notional, costs, here).sum(axis=0))


def _of(here: Liquidity | None, where: Flags) -> Liquidity | None:
    return None if here is None else Liquidity(here.volume[where], here.volatility[where])
