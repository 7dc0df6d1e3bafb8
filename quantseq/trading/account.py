"""The account: cash and shares, walked through the sessions one by one.

Owns `Orders`, everything that the loop needs to know, the loop that turns them into money, its result,
and how orders are cut where size matters: whole shares, thin volume, cash that is short for a charge that is
no plain percentage. Knows nothing of decisions: the targets it gets already stand at the session that fills
them, put there by `backtest`, which also states the rules; what an order costs is defined in `costs`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq

from quantseq.market.bars import Dates, Floats
from quantseq.trading.costs import Costs, Liquidity, order_costs

DUST = 1e-12  # orders below this share of equity are rounding, no trades
_REST = 1e-9  # rests below this share of the starting equity are what a root leaves over
_ALMOST = 1e-9  # within this share of a whole one a position is whole: rounding must sell none

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Orders:
    """Everything the loop needs; row k belongs to session k, which fills it: D sessions, S symbols."""

    symbols: tuple[str, ...]
    sessions: Dates
    fill_at: Floats  # price for orders, and for the book when they are sized; carried without a bar
    close: Floats  # the mark, carried likewise
    has_bar: Flags
    target: Floats  # weight to reach, 0 where lapsed
    wanted: Flags  # an order is to be filled, a subset of `has_bar`
    late: Flags  # it waited for its bar
    lapsed: Flags  # from the `backtest.LAPSE`-th session without a bar to the next bar: nothing may be held
    waiting: Floats | None  # weight of the order that waits at the end of the session, else NaN
    lot: Floats | None  # one share in adjusted shares per unit of starting equity; None: fractions
    liquidity: Liquidity | None  # None where no charge asks for it
    unfilled: int = 0  # decisions that no session is left to fill, for the record
    of_start: bool = False  # size by the equity before the first session, not by that at the fill


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """What the weights earned, session by session: D sessions, S symbols.

    Money is in units of the starting equity, which is 1 before the first session; simple returns are from close to
    close; costs, interest, borrow and financing are those of the session.
    """

    symbols: tuple[str, ...]  # in the order of the weights
    sessions: Dates
    returns_net: Floats  # (D,), the first against the equity before it; interest on cash is in it
    returns_gross: Floats  # the same fills without the session's `costs`
    equity: Floats  # account value at each close, (D,)
    costs: Floats  # trading costs, borrow and financing over the equity at the last close
    turnover: Floats  # traded notional, buys plus sales, over the equity at the fill
    cash: Floats
    borrow: Floats
    financing: Floats
    interest: Floats
    shares: Floats  # held at each close, (D, S)
    traded: Floats  # bought, or sold where negative
    fill_prices: Floats  # adjusted
    closes: Floats  # adjusted, carried where a bar is missing, 1 before a symbol's first bar
    terms: Costs
    liquidity: Liquidity | None  # what impact was charged by
    delayed_orders: int  # met no bar and were filled at their symbol's next one
    dropped_orders: int  # never filled in full: no bar, cash or volume came, or a liquidation did
    completed_orders: int  # fills of the rest of an order
    capped_orders: int  # times the volume of a session cut an order or its rest
    liquidated: int  # positions closed at their last price, for `LAPSE` sessions without a bar
    carried: int  # symbol-sessions on which a position was marked at an old price
    scaled_sessions: int  # on which cash was short and the buys shrank
    unfilled_decisions: int  # without a next session
    ruined: np.datetime64 | None  # the session of ruin
    ruined_at: Literal["fill", "mark"] | None  # equity was gone at the fill, or only at the close
    written_off: float  # equity below 0 at the ruin, which the account does not owe

    @cached_property
    def weights(self) -> pd.DataFrame:
        """Position values at each close over equity, by session and symbol."""
        alive = np.where(self.equity > 0, self.equity, 1.0)[:, None]
        held = self.shares * self.closes / alive
        return pd.DataFrame(held, index=self._index, columns=list(self.symbols))

    @cached_property
    def order_costs(self) -> Floats:
        """Charges for every order by kind (commission, spread, impact): (3, D, S)."""
        charged = order_costs(np.abs(self.traded * self.fill_prices), self.terms, self.liquidity)
        if self.ruined_at == "fill":  # what is closed by ruin pays nothing more
            charged[:, self.sessions == self.ruined] = 0.0
        return charged

    def to_frame(self) -> pd.DataFrame:
        """One row per session: net and gross return, equity, cost, turnover, exposures."""
        exposure = self.weights.to_numpy()
        return pd.DataFrame(
            {
                "returns_net": self.returns_net,
                "returns_gross": self.returns_gross,
                "equity": self.equity,
                "cost": self.costs,
                "turnover": self.turnover,
                "gross_exposure": np.abs(exposure).sum(axis=1),
                "net_exposure": exposure.sum(axis=1),
            },
            index=self._index,
        )

    @cached_property
    def _index(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(self.sessions.astype("datetime64[s]"), name="session")


def run_account(orders: Orders, costs: Costs) -> BacktestResult:
    """Walk through the sessions with cash and shares; every number of a result comes from here."""
    days, width = orders.target.shape
    rate, interest, lend = costs.one_way_bps / 1e4, costs.cash_rate / costs.year, 0.0
    if (orders.target < 0).any():
        lend = costs.borrow_bps / 1e4 / costs.year
    owe = interest + costs.financing_bps / 1e4 / costs.year
    holding_matters, simple = bool(interest or lend or owe), costs.proportional
    may_wait = not simple or orders.waiting is not None  # else no order is ever left open
    allowed = orders.wanted | orders.lapsed
    any_wanted: Flags = np.any(orders.wanted, axis=1)
    any_lapsed: Flags = np.any(orders.lapsed, axis=1)
    all_allowed: Flags = np.all(allowed, axis=1)
    per_equity = orders.target / orders.fill_at  # shares per unit of equity

    names = ("equity", "cash", "costs", "turnover", "borrow", "financing", "interest")
    book: dict[str, Any] = {name: np.zeros(days) for name in names}
    equity, cash_at, cost, turnover, borrow, financing, earned = book.values()
    shares, traded = np.zeros((days, width)), np.zeros((days, width))
    held, cash, last, buffers = np.zeros(width), 1.0, 1.0, np.empty((2, width))
    ignored = np.zeros(width, dtype=bool)  # liquidated, and no bar since
    rest, resting = np.zeros(width), False  # shares of orders that stay open
    dropped = completed = capped = liquidated = scaled = 0
    ruined: np.datetime64 | None = None
    ruined_at: Literal["fill", "mark"] | None = None
    written_off = 0.0

    for k in range(days):
        if holding_matters:
            value = held * orders.close[k - 1] if k else held
            free = last - value[value > 0].sum()
            free = free if abs(free) > DUST * last else 0.0
            borrow[k] = -lend * value[value < 0].sum()
            earned[k], financing[k] = interest * max(free, 0.0), -owe * min(free, 0.0)
            cash += earned[k] - financing[k] - borrow[k]
            cost[k] = (borrow[k] + financing[k]) / last
        overdue = any_lapsed[k] and np.any(held[orders.lapsed[k]])
        if any_wanted[k] or overdue or resting:
            price = orders.fill_at[k]
            worth = cash + held @ price
            if worth <= 0:
                ruined, ruined_at, written_off = orders.sessions[k], "fill", -worth
                traded[k] = -held
                break
            base = 1.0 if orders.of_start else worth
            order = np.multiply(per_equity[k], base, out=traded[k])
            if orders.lot is not None:
                order[:] = whole_lots(order, orders.lot[k])
            order -= held
            due = None
            if resting:
                rest[orders.wanted[k]] = 0.0  # replaced
                if orders.waiting is not None:
                    rest[~np.isnan(orders.waiting[k])] = 0.0  # replaced by one that has no bar yet
                gone = (rest != 0) & orders.lapsed[k]
                dropped += int(gone.sum())
                rest[gone] = 0.0
                due = (rest != 0) & orders.has_bar[k]
                order[due] = rest[due]
                rest[due] = 0.0
            notional = np.multiply(order, price, out=buffers[0])
            size = np.abs(notional, out=buffers[1])
            real = size > DUST * worth
            if not all_allowed[k]:
                real &= allowed[k] if due is None else allowed[k] | due
            if liquidated:
                void = real & orders.late[k] & ignored
                dropped += int(void.sum())
                real &= ~void
            if overdue:
                gone = real & orders.lapsed[k] & ~ignored
                liquidated += int(gone.sum())
                ignored |= gone
            if not real.all():
                order *= real
                notional *= real
                size *= real
            credit = (costs.max_gross - 1.0) * worth
            if simple:
                total, net = size.sum(), notional.sum()
                buys, sells = (total + net) / 2, (total - net) / 2
                available, needed = cash + sells * (1 - rate) + credit, buys * (1 + rate)
                if needed <= available or needed == 0:
                    cash = available - needed - credit
                else:
                    share = max(available, 0.0) / needed
                    scaled += bool(any_wanted[k] and needed - available > DUST * worth)
                    if may_wait and sale_waits(orders, k, held, base, rest, ignored):
                        rest += np.where(order > 0, (1 - share) * order, 0.0)
                    order[:] = np.where(order > 0, share * order, order)
                    buys *= share
                    cash = min(available, 0.0) - credit
                fee = rate * (buys + sells)
            else:
                cut = cap_by_volume(order, size, k, orders, costs)
                capped += int(np.count_nonzero(cut))
                rest += cut
                fee, missing = afford(order, held, k, cash + credit, orders, costs)
                if missing is not None:
                    scaled += bool(any_wanted[k])
                    if sale_waits(orders, k, held, base, rest, ignored):
                        rest += missing
                notional = order * price
                buys, sells = notional[order > 0].sum(), -notional[order < 0].sum()
                cash += sells - buys - fee
                if orders.lot is not None:
                    rest[np.abs(rest) < orders.lot[k] * (1 - 1e-9)] = 0.0
            if due is not None:
                completed += int((np.abs(order[due] * price[due]) > _REST).sum())
            resting = may_wait and bool(rest.any())
            held = held + order
            turnover[k] = (buys + sells) / worth
            cost[k] += fee / last
        if liquidated:
            ignored &= ~orders.has_bar[k]
        equity[k] = cash + held @ orders.close[k]
        if equity[k] <= 0:
            ruined, ruined_at, written_off = orders.sessions[k], "mark", -equity[k]
            break
        shares[k], cash_at[k], last = held, cash, equity[k]

    if ruined is None:
        missed = np.abs(rest) * orders.close[-1] > DUST * last
        if orders.waiting is not None:  # NaN where no order waits
            missed |= np.abs(orders.waiting[-1] * last - held * orders.close[-1]) > DUST * last
        dropped += int(missed.sum())
    else:
        equity[equity < 0] = 0.0
    late = np.abs(traded[orders.late] * orders.fill_at[orders.late]) > DUST
    before = np.concatenate([[1.0], equity[:-1]])
    net_returns = np.divide(equity, before, out=np.ones(days), where=before > 0) - 1
    return BacktestResult(
        symbols=orders.symbols,
        sessions=orders.sessions,
        returns_net=net_returns,
        returns_gross=net_returns + cost,
        **book,
        shares=shares,
        traded=traded,
        fill_prices=orders.fill_at,
        closes=orders.close,
        terms=costs,
        liquidity=orders.liquidity,
        delayed_orders=int(late.sum()),
        dropped_orders=dropped,
        completed_orders=completed,
        capped_orders=capped,
        liquidated=liquidated,
        carried=int(((shares != 0) & ~orders.has_bar).sum()),
        scaled_sessions=scaled,
        unfilled_decisions=orders.unfilled,
        ruined=ruined,
        ruined_at=ruined_at,
        written_off=float(written_off),
    )


# ------------------------------------------------------------------------ where size matters


def whole_lots(shares: Floats, lot: Floats) -> Floats:
    """Round towards 0 to a multiple of `lot`."""
    count = shares / lot
    return np.asarray(np.trunc(count + _ALMOST * np.sign(count)) * lot)


def cap_by_volume(order: Floats, size: Floats, k: int, orders: Orders, costs: Costs) -> Floats:
    """Cut orders, in place, to what the volume of session `k` lets through; return what is left of them.

    Without volume or volatility to go by nothing is filled. The liquidation of a symbol that is no longer traded is
    not cut: no market is left to limit it.
    """
    left = np.zeros_like(order)
    if orders.liquidity is not None:
        here = orders.liquidity.at(k)
        cap = costs.volume_cap * here.volume if costs.volume_cap else np.inf
        most = np.where(here.known, cap, 0)
        over = (size > most) & ~orders.lapsed[k]
        if over.any():
            part = np.divide(most, size, out=np.ones_like(size), where=over) * order
            if orders.lot is not None:
                part[over] = whole_lots(part[over], orders.lot[k][over])
            left[over] = (order - part)[over]
            order[over] = part[over]
    return left


def afford(
    order: Floats, held: Floats, k: int, budget: float, orders: Orders, costs: Costs
) -> tuple[float, Floats | None]:
    """Shrink the buys of session `k`, in place, by one factor to what sales and `budget` can pay for.

    Returns the charge for all orders, and the shares that could not be paid for, None where cash sufficed.
    """
    price = orders.fill_at[k]
    here = None if orders.liquidity is None else orders.liquidity.at(k)
    buying, fee = order > 0, _fee(np.abs(order * price), costs, here)
    sold = -(order * price)[~buying].sum() - fee[~buying].sum()
    if (order * price + fee)[buying].sum() <= budget + sold or not buying.any():
        return float(fee.sum()), None
    asked, bought = order[buying].copy(), None if here is None else here.at(buying)
    got = _payable(asked * price[buying], budget + sold, costs, bought) * asked
    if orders.lot is not None:
        got = np.maximum(whole_lots(held[buying] + got, orders.lot[k][buying]) - held[buying], 0.0)
    order[buying] = got
    missing = np.zeros_like(order)
    missing[buying] = asked - got
    return float(_fee(np.abs(order * price), costs, here).sum()), missing


def sale_waits(
    orders: Orders, k: int, held: Floats, base: float, rest: Floats, closed: Flags
) -> bool:
    """Whether a sale that would bring cash still waits for a bar or volume; one of `closed` symbols waits no more."""
    if (rest < 0).any():
        return True
    if orders.waiting is None:
        return False
    with np.errstate(invalid="ignore"):  # NaN where no order waits
        over = held * orders.fill_at[k] - orders.waiting[k] * base
    return bool(((over > DUST * base) & ~closed).any())  # rounding is no sale


def _payable(notional: Floats, available: float, costs: Costs, here: Liquidity | None) -> float:
    """Largest factor on the buys that `available` pays for, their charges included."""

    def short(share: float) -> float:
        bought = share * notional
        return float(bought.sum() + _fee(bought, costs, here).sum() - available)

    if available <= 0 or short(1e-12) > 0:
        return 0.0
    return float(brentq(short, 1e-12, 1.0, xtol=1e-15)) * (1 - 1e-12)


def _fee(notional: Floats, costs: Costs, here: Liquidity | None) -> Floats:
    return np.asarray(order_costs(notional, costs, here).sum(axis=0))
