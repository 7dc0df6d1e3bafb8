"""The account: cash and shares, walked through the sessions one by one.

Owns what trading costs, the loop that turns orders into money, and its result. Knows nothing of
decisions: the targets it gets already stand at the session that fills them, checked by `backtest`,
which also states the rules.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import ConfigError
from quantseq.market.bars import Dates, Floats

DUST = 1e-12
"""Orders below this share of equity are rounding, not trades."""

LAPSE = 20
"""Sessions in a row without a bar after which a position is liquidated."""

MOST_BPS = 10_000.0
"""Costs as large as the traded notional: the most that `Costs` takes."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What trading and holding cost.

    Parameters
    ----------
    cost_bps : float in [0, 10000]
        Commission, half-spread and slippage together, in basis points of the traded notional.
    borrow_bps : float >= 0
        Fee on the value of short positions, basis points per year.
    cash_rate : float in [0, 1)
        Interest on free cash, simple rate per year.
    periods : int >= 1
        Sessions per year, by which the yearly rates are divided.
    """

    cost_bps: float = 5.0
    borrow_bps: float = 50.0
    cash_rate: float = 0.0
    periods: int = 252

    def __post_init__(self) -> None:
        rules = (
            ("cost_bps", 0 <= self.cost_bps <= MOST_BPS, "in [0, 10000] basis points"),
            ("borrow_bps", 0 <= self.borrow_bps < np.inf, "0 or more basis points per year"),
            ("cash_rate", 0 <= self.cash_rate < 1, "in [0, 1), such as 0.02 for 2 % per year"),
            ("periods", 1 <= self.periods <= 366, "in [1, 366] sessions per year"),
        )
        for name, good, rule in rules:
            if not good:
                raise ConfigError(
                    f"The {name!r} parameter of Costs must be {rule}. Got {getattr(self, name)!r}."
                )


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """What the weights earned, session by session: D sessions, S symbols.

    Attributes
    ----------
    symbols : tuple of str
        The S symbols, in the order of the weights.
    sessions : (D,) datetime64[D]
        The panel's sessions from start to end.
    returns_net : (D,) float64
        Simple return of the account from close to close; the first against the equity 1 before it.
    returns_gross : (D,) float64
        The same fills without that session's costs: ``returns_net + costs``. Interest on cash is in
        both.
    equity : (D,) float64
        Account value at each close. It is 1 before the first session.
    costs : (D,) float64
        Trading costs and borrow of the session over the equity at the last close.
    turnover : (D,) float64
        Traded notional, buys plus sales, over the equity at the fill.
    cash : (D,) float64
        Cash at each close, in units of the starting equity.
    shares, traded, fill_prices : (D, S) float64
        Shares held at each close, shares bought (or sold, negative), and the adjusted prices they
        were filled at.
    closes : (D, S) float64
        Adjusted closes, carried where a bar is missing, 1 before a symbol's first bar.
    cost_rate : float
        Costs over traded notional, as a fraction.
    delayed_orders : int
        Orders that met no bar and were filled at their symbol's next one.
    dropped_orders : int
        Orders never filled: no bar came by the end, or a liquidation came before it.
    liquidated : int
        Positions closed at their last price because their symbol had no bar for `LAPSE` sessions.
    carried : int
        Symbol-sessions on which a position was marked at an old price.
    scaled_sessions : int
        Sessions on which cash was short and the buys shrank.
    unfilled_decisions : int
        Decision dates without a next session in the span.
    ruined : datetime64[D] or None
        The session of ruin.
    """

    symbols: tuple[str, ...]
    sessions: Dates
    returns_net: Floats
    returns_gross: Floats
    equity: Floats
    costs: Floats
    turnover: Floats
    cash: Floats
    shares: Floats
    traded: Floats
    fill_prices: Floats
    closes: Floats
    cost_rate: float
    delayed_orders: int
    dropped_orders: int
    liquidated: int
    carried: int
    scaled_sessions: int
    unfilled_decisions: int
    ruined: np.datetime64 | None

    @cached_property
    def weights(self) -> pd.DataFrame:
        """Position values at each close over equity, by session and symbol."""
        alive = np.where(self.equity > 0, self.equity, 1.0)[:, None]
        held = self.shares * self.closes / alive
        return pd.DataFrame(held, index=self._index, columns=list(self.symbols))

    @cached_property
    def fills(self) -> pd.DataFrame:
        """Every fill: session, symbol, shares (negative: sold), price, notional, cost."""
        session, symbol = np.nonzero(self.traded)
        shares, price = self.traded[session, symbol], self.fill_prices[session, symbol]
        notional = np.abs(shares * price)
        return pd.DataFrame(
            {
                "session": self._index[session],
                "symbol": np.asarray(self.symbols, dtype=object)[symbol],
                "shares": shares,
                "price": price,
                "notional": notional,
                "cost": notional * self.cost_rate,
            }
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per session: returns_net, returns_gross, equity, cost, turnover, gross_exposure."""
        return pd.DataFrame(
            {
                "returns_net": self.returns_net,
                "returns_gross": self.returns_gross,
                "equity": self.equity,
                "cost": self.costs,
                "turnover": self.turnover,
                "gross_exposure": self.weights.abs().sum(axis=1),
            },
            index=self._index,
        )

    @cached_property
    def _index(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(self.sessions.astype("datetime64[s]"), name="session")


@dataclass(frozen=True)
class Orders:
    """Everything the loop needs; row k belongs to session k, which fills it: D sessions, S symbols.

    Attributes
    ----------
    symbols : tuple of str
        The S symbols.
    sessions : (D,) datetime64[D]
        The sessions to walk through.
    fill_at : (D, S) float64
        Prices for orders, and for valuing the book when they are sized.
    close : (D, S) float64
        Prices for the mark. No NaN in either: carried where a bar is missing.
    has_bar : (D, S) bool
        Where a symbol has prices of that session.
    target : (D, S) float64
        Weights to reach; 0 where lapsed.
    wanted : (D, S) bool
        Where an order is to be filled; a subset of `has_bar`.
    late : (D, S) bool
        The wanted orders that waited for their bar.
    lapsed : (D, S) bool
        From the `LAPSE`-th session in a row without a bar to the next bar: nothing may be held.
    waiting : (S,) float64
        Weight of the order that still waits for a bar after the last session; NaN without one.
    unfilled : int
        Decisions that no session is left to fill, for the record.
    of_start : bool
        Size by the equity before the first session, not by that at the fill.
    """

    symbols: tuple[str, ...]
    sessions: Dates
    fill_at: Floats
    close: Floats
    has_bar: NDArray[np.bool_]
    target: Floats
    wanted: NDArray[np.bool_]
    late: NDArray[np.bool_]
    lapsed: NDArray[np.bool_]
    waiting: Floats
    unfilled: int
    of_start: bool = False


def run(orders: Orders, costs: Costs) -> BacktestResult:
    """Walk through the sessions with cash and shares; every number of a result comes from here."""
    days, width = orders.target.shape
    rate, interest, borrow = costs.cost_bps / 1e4, costs.cash_rate / costs.periods, 0.0
    if (orders.target < 0).any():
        borrow = costs.borrow_bps / 1e4 / costs.periods
    allowed = orders.wanted | orders.lapsed
    any_wanted: NDArray[np.bool_] = np.any(orders.wanted, axis=1)
    any_lapsed: NDArray[np.bool_] = np.any(orders.lapsed, axis=1)
    all_allowed: NDArray[np.bool_] = np.all(allowed, axis=1)
    per_equity = orders.target / orders.fill_at  # shares per unit of equity

    equity, cash_at, cost, turnover = (np.zeros(days) for _ in range(4))
    shares, traded = np.zeros((days, width)), np.zeros((days, width))
    held, cash, last, buffers = np.zeros(width), 1.0, 1.0, np.empty((2, width))
    ignored = np.zeros(width, dtype=bool)  # liquidated, and no bar since
    dropped = liquidated = scaled = 0
    ruined: np.datetime64 | None = None

    for k in range(days):
        if interest or borrow:
            value = held * orders.close[k - 1] if k else held
            longs, fee = value[value > 0].sum(), -borrow * value[value < 0].sum()
            cash += interest * (last - longs) - fee
            cost[k] = fee / last
        overdue = any_lapsed[k] and np.any(held[orders.lapsed[k]])
        if any_wanted[k] or overdue:
            price = orders.fill_at[k]
            worth = cash + held @ price
            if worth <= 0:
                ruined = orders.sessions[k]
                break
            base = 1.0 if orders.of_start else worth
            order = np.multiply(per_equity[k], base, out=traded[k])
            order -= held
            notional = np.multiply(order, price, out=buffers[0])
            size = np.abs(notional, out=buffers[1])
            real = size > DUST * worth
            if not all_allowed[k]:
                real &= allowed[k]
            if liquidated:
                void = real & orders.late[k] & ignored
                dropped += int(void.sum())
                real &= ~void
            if overdue:
                gone = real & orders.lapsed[k] & ~ignored
                liquidated += int(gone.sum())
                ignored |= gone
            if not real.all():
                order, notional, size = order * real, notional * real, size * real
            total, net = size.sum(), notional.sum()
            buys, sells = (total + net) / 2, (total - net) / 2
            available, needed = cash + sells * (1 - rate), buys * (1 + rate)
            if needed <= available or needed == 0:
                cash = available - needed
            else:
                share = max(available, 0.0) / needed
                scaled += needed - available > DUST * worth
                order = np.where(order > 0, share * order, order)
                buys *= share
                cash = min(available, 0.0)
            held = held + order
            traded[k] = order
            turnover[k] = (buys + sells) / worth
            cost[k] += rate * (buys + sells) / last
        if liquidated:
            ignored &= ~orders.has_bar[k]
        equity[k] = cash + held @ orders.close[k]
        if equity[k] <= 0:
            ruined = orders.sessions[k]
            break
        shares[k], cash_at[k], last = held, cash, equity[k]

    if ruined is None:  # NaN where no order waits
        missed = np.abs(orders.waiting * last - held * orders.close[-1])
        dropped += int((missed > DUST * last).sum())
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
        equity=equity,
        costs=cost,
        turnover=turnover,
        cash=cash_at,
        shares=shares,
        traded=traded,
        fill_prices=orders.fill_at,
        closes=orders.close,
        cost_rate=rate,
        delayed_orders=int(late.sum()),
        dropped_orders=dropped,
        liquidated=liquidated,
        carried=int(((shares != 0) & ~orders.has_bar).sum()),
        scaled_sessions=scaled,
        unfilled_decisions=orders.unfilled,
        ruined=ruined,
    )
