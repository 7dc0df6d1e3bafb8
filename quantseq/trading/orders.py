"""From decisions to orders: prices, bars that are missing, liquidity, and what an order's size costs it.

Owns `Orders`, everything that the loop of `account` needs to know: which order stands at which session,
which of them waited for a bar, and at what prices; and how orders are cut where size matters: whole
shares, thin volume, cash that is short for a charge that is no plain percentage. Moves no decision in
time: the rows it gets already stand at the session after the decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import ConfigError, NoDataError
from quantseq.market.bars import Dates, Floats, Panel
from quantseq.trading.costs import LIQUIDITY, Costs, FillPrice, Liquidity, order_costs

DUST = 1e-12  # orders below this share of equity are rounding, no trades
LAPSE = 20  # sessions in a row without a bar after which a position is liquidated
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
    lapsed: Flags  # from the `LAPSE`-th session without a bar to the next bar: nothing may be held
    waiting: Floats | None  # weight of the order that waits at the end of the session, else NaN
    lot: Floats | None  # one share in adjusted shares per unit of starting equity; None: fractions
    liquidity: Liquidity | None  # None where no charge asks for it
    unfilled: int = 0  # decisions that no session is left to fill, for the record
    of_start: bool = False  # size by the equity before the first session, not by that at the fill


def make_orders(
    panel: Panel,
    weights: pd.DataFrame,
    span: Dates,
    row: NDArray[np.int64],
    mask: Flags | None,
    *,
    fill: FillPrice,
    costs: Costs,
) -> Orders:
    """Put checked weights, one line per decision, at the `row` of `span` that fills each; none where `mask` is false.

    ConfigError if `fill` is neither open nor close, NoDataError if volume matters and a symbol has none.
    """
    if fill not in ("open", "close"):
        raise ConfigError(f"The 'fill' parameter must be 'open' or 'close'. Got {fill!r}.")
    symbols = tuple(str(name) for name in weights.columns)
    first = int(np.searchsorted(panel.sessions, span[0]))
    part = slice(first, first + len(span))
    opened, close = (one[part] for one in prices(panel, symbols))
    has_bar = np.isfinite(close)
    whole = bool(has_bar.all())
    if not whole:
        close = pd.DataFrame(close).ffill().fillna(1.0).to_numpy()  # 1: never held, never traded
        opened = np.where(has_bar, opened, close)
    shape = close.shape
    target, waiting = np.zeros(shape), None
    wanted, late, lapsed = (np.zeros(shape, dtype=bool) for _ in range(3))
    target[row] = weights.to_numpy(dtype=np.float64)
    wanted[row] = True if mask is None else mask
    if not whole:
        late, waiting = _wait(target, wanted, has_bar)
        lapsed = _lapsed(has_bar)
        target[lapsed] = 0.0
    return Orders(
        symbols,
        span,
        opened if fill == "open" else close,
        close,
        has_bar,
        target,
        wanted,
        late,
        lapsed,
        waiting,
        _lots(panel, symbols, part, costs.capital) if costs.whole_shares else None,
        _liquidity(panel, symbols, part, costs) if costs.need_liquidity else None,
    )


def _wait(target: Floats, wanted: Flags, has_bar: Flags) -> tuple[Flags, Floats | None]:
    """Move each order without a bar, in place, to its symbol's next one, unless a newer one replaces it.

    Returns ``late`` and ``waiting`` of `Orders`.
    """
    days, late = len(has_bar), np.zeros_like(has_bar)
    at, symbol = np.nonzero(wanted & ~has_bar)  # by session, so that below the newer of two wins
    if not len(at):
        return late, None
    bars = np.where(has_bar, np.arange(days, dtype=np.int32)[:, None], np.int32(days))
    to = np.minimum.accumulate(bars[::-1], axis=0)[::-1][at, symbol]
    weight = target[at, symbol]
    waiting: Floats = np.full(has_bar.shape, np.nan)
    waiting[at, symbol] = weight
    ends = pd.DataFrame(np.where(has_bar, np.inf, waiting))  # a bar ends the wait
    waiting = ends.ffill().replace(np.inf, np.nan).to_numpy()
    wanted[at, symbol] = False
    ever = to < days
    to, symbol, weight = to[ever], symbol[ever], weight[ever]
    newest = ~wanted[to, symbol]  # else the bar has an order of its own
    to, symbol, weight = to[newest], symbol[newest], weight[newest]
    target[to, symbol] = weight
    wanted[to, symbol] = late[to, symbol] = True
    return late, waiting


def _lapsed(has_bar: Flags) -> Flags:
    """Where a symbol has had bars, but none in the last `LAPSE` sessions: (D, S)."""
    day = np.arange(len(has_bar), dtype=np.int32)[:, None]
    last = np.maximum.accumulate(np.where(has_bar, day, np.int32(-1)), axis=0)
    return np.asarray((last >= 0) & (day - last >= LAPSE))


def prices(panel: Panel, symbols: Sequence[str]) -> tuple[Floats, Floats]:
    """Adjusted opens and closes on the panel's calendar, NaN without a bar: each (D, S)."""
    days = len(panel.sessions)
    opened, close = (np.full((len(symbols), days), np.nan) for _ in range(2))
    for row, symbol in enumerate(symbols):
        bars = panel[symbol]
        every = len(bars) == days
        at = slice(None) if every else np.searchsorted(panel.sessions, bars.sessions)
        opened[row, at] = bars.open * (bars.adj_close / bars.close)
        close[row, at] = bars.adj_close
    return np.ascontiguousarray(opened.T), np.ascontiguousarray(close.T)


def _lots(panel: Panel, symbols: Sequence[str], part: slice, capital: float) -> Floats:
    """One share as counted on the day, as adjusted shares per unit of starting equity: (D, S)."""
    close, adjusted = _fields(panel, symbols, "close", "adj_close")
    return (1 / (capital * (adjusted / close))).ffill().fillna(1.0).to_numpy()[part]


def _liquidity(panel: Panel, symbols: Sequence[str], part: slice, costs: Costs) -> Liquidity:
    """Volume and volatility over the `LIQUIDITY` sessions before each one; bars before `part` count."""
    close, volume, adjusted = _fields(panel, symbols, "close", "volume", "adj_close")
    money = close * volume / costs.capital
    for name, traded in zip(symbols, (money > 0).any(), strict=True):
        if not traded:
            raise NoDataError(
                f"{name} has no volume on any session, and market impact or a volume cap needs it. "
                "Give volumes, or set impact and volume_cap to 0."
            )
    moves = pd.DataFrame(np.log(adjusted.to_numpy())).ffill().diff()
    mean = money.rolling(LIQUIDITY, min_periods=1).mean()
    spread = moves.rolling(LIQUIDITY, min_periods=2).std()
    return Liquidity(*(one.ffill().shift(1).to_numpy()[part] for one in (mean, spread)))


def _fields(panel: Panel, symbols: Sequence[str], *names: str) -> list[pd.DataFrame]:
    """Fields of some symbols on the panel's calendar, NaN without a bar."""
    columns = [panel.symbols.index(symbol) for symbol in symbols]
    return [pd.DataFrame(panel.matrix(name)[:, columns]) for name in names]


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
    got = _share(asked * price[buying], budget + sold, costs, bought) * asked
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
