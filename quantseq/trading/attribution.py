"""Where the money came from: profit by symbol, side and cost, and by round trip.

Owns the arithmetic that takes a `BacktestResult` apart. Knows nothing of why anything was bought.

A symbol's profit in a session is the move from the last close to the fill price on the shares held
before, and from the fill price to the close on the shares held after. Each part belongs to the long
side if those shares are positive, else to the short side. Costs, interest and, after a ruin, the
negative equity that nobody owes are parts of their own. The sum is ``equity[-1] − 1`` but for
rounding.

A round trip begins with the fill after which a symbol is held on one side, and ends with the fill after
which it is not; adding to it or taking from it does not end it. The move to a fill belongs to the trip
that was open before it, the move from it to the one open after it; an order that turns a position over
has its cost shared by the shares that closed one trip and opened the next. Trips therefore sum to the
profit of all sides less trading costs; borrow, financing and interest belong to no trip.
"""

import numpy as np
import pandas as pd

from quantseq.market.bars import Floats
from quantseq.trading.account import BacktestResult
from quantseq.trading.costs import TRADING

ACCOUNT = "(account)"  # the row of what belongs to no symbol
_NOTHING = 1e-12  # a position worth less than this share of the starting equity is rounding


def attribute(result: BacktestResult) -> pd.DataFrame:
    """Profit by symbol, side and cost, in units of the starting equity.

    One row per symbol, then `ACCOUNT`. Columns: long and short (profit of the side before costs),
    commission, spread, impact, borrow, financing (negative), interest, written_off (only after a ruin),
    total.
    """
    before, after, at_fill, at_mark = _moves(result)
    long = np.where(before > 0, at_fill, 0.0) + np.where(after > 0, at_mark, 0.0)
    short = at_fill + at_mark - long
    parts = {"long": long.sum(axis=0), "short": short.sum(axis=0)}
    parts |= dict(zip(TRADING, -result.order_costs.sum(axis=1), strict=True))
    parts["borrow"] = -_borrow(result)
    table = pd.DataFrame(parts, index=list(result.symbols))
    table.loc[ACCOUNT] = 0.0
    amounts = -result.financing.sum(), result.interest.sum(), result.written_off
    for name, amount in zip(("financing", "interest", "written_off"), amounts, strict=True):
        table[name] = np.append(np.zeros(len(result.symbols)), amount)
    table["total"] = table.sum(axis=1)
    table.index.name = "symbol"
    return table + 0.0  # no −0 for what was not charged


def _moves(result: BacktestResult) -> tuple[Floats, Floats, Floats, Floats]:
    """Shares before and after the fill of each session, and profit before costs: (D, S) each.

    The profit on the shares before is from the last close to the fill, that on those after on to the close.
    """
    before = np.vstack([np.zeros((1, len(result.symbols))), result.shares[:-1]])
    after = before + result.traded
    opened = np.vstack([result.fill_prices[:1], result.closes[:-1]])
    at_fill = before * (result.fill_prices - opened)
    at_mark = after * (result.closes - result.fill_prices)
    if result.ruined is not None:  # nothing is held after the ruin
        at_fill[result.sessions > result.ruined] = 0.0
        at_mark[result.sessions > result.ruined] = 0.0
    return before, after, at_fill, at_mark


def _borrow(result: BacktestResult) -> Floats:
    """What borrowing each symbol cost: (S,). The charge of a session is shared by value short."""
    values = np.maximum(-result.shares * result.closes, 0.0)
    total = values.sum(axis=1)
    charged = np.append(result.borrow[1:], 0.0)  # on the state at the last close
    per_value = np.divide(charged, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(per_value @ values)


def round_trips(result: BacktestResult) -> pd.DataFrame:
    """Every round trip, in the order in which they were opened.

    Columns: symbol; side, "long" or "short"; entered and left, the sessions of the fills, left missing while it is
    open; sessions, closes at which it was held; invested, the largest value at a fill or close; profit, after trading
    costs; cost of trading it.
    """
    before, after, at_fill, at_mark = _moves(result)
    cost, fills, closes = result.order_costs.sum(axis=0), result.fill_prices, result.closes
    marks = np.stack([before, after, fills, closes, at_fill, at_mark, cost])
    rows = []
    for place, symbol in enumerate(result.symbols):
        rows += [(symbol, *row) for row in _of_one(marks[..., place])]
    names = ["symbol", "side", "entered", "left", "sessions", "invested", "profit", "cost"]
    table = pd.DataFrame(rows, columns=names)
    days = pd.DatetimeIndex(result.sessions.astype("datetime64[s]"))
    entered, left = (table[name].to_numpy(dtype=np.int64) for name in ("entered", "left"))
    table["entered"] = days[entered]
    table["left"] = days[left].where(left >= 0)
    return table.sort_values(["entered", "symbol"], kind="stable", ignore_index=True)


def _of_one(marks: Floats) -> list[tuple[str, int, int, int, float, float, float]]:
    """Trips of one symbol, (7, D): side, rows of entry and exit (−1 while open), sessions and money."""
    before, after, fills, closes, at_fill, at_mark, cost = marks
    was, now = (
        np.where(np.abs(shares * fills) > _NOTHING, np.sign(shares), 0.0)
        for shares in (before, after)
    )
    trips = []
    for start in np.flatnonzero((now != 0) & (now != was)).tolist():
        side = int(now[start])
        ends = np.flatnonzero(now[start + 1 :] != side)
        end = start + 1 + int(ends[0]) if len(ends) else -1
        last = end if end >= 0 else len(before)
        paid = float(cost[start + 1 : last].sum()) + cost[start] * _opening(before, after, start)
        earned = float(at_mark[start:last].sum() + at_fill[start + 1 : last].sum())
        if end >= 0:
            earned += float(at_fill[end])
            paid += cost[end] * (1 - _opening(before, after, end))
        held = np.abs(after[start:last])
        invested = float(np.max(held * np.maximum(fills[start:last], closes[start:last])))
        name = "long" if side > 0 else "short"
        trips.append((name, start, end, last - start, invested, earned - paid, float(paid)))
    return trips


def _opening(before: Floats, after: Floats, at: int) -> float:
    """Share of an order that opened rather than closed: 0, 1, or between where the side turned."""
    if before[at] * after[at] < 0:
        return float(abs(after[at]) / (abs(after[at]) + abs(before[at])))
    return 1.0 if abs(after[at]) > 0 else 0.0
