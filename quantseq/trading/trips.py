"""Round trips: what each position earned from the order that opened it to the one that closed it.

Owns the arithmetic that cuts a `BacktestResult` into trips. Knows nothing of why anything was bought.

A trip begins with the fill after which a symbol is held on one side, and ends with the fill after which
it is not; adding to it or taking from it does not end it. The move to a fill belongs to the trip that
was open before it, the move from it to the one open after it; an order that turns a position over has its
cost shared by the shares that closed one trip and opened the next. Trips therefore sum to the profit of
all sides less trading costs; borrow, financing and interest belong to no trip.
"""

import numpy as np
import pandas as pd

from quantseq.market.bars import Floats
from quantseq.trading.attribution import profit
from quantseq.trading.broker.account import BacktestResult

NOTHING = 1e-12
"""A position worth less than this share of the starting equity is rounding."""


def round_trips(result: BacktestResult) -> pd.DataFrame:
    """Every round trip, in the order in which they were opened.

    Returns
    -------
    DataFrame
        symbol; side, "long" or "short"; entered and left, the sessions of the fills, left missing
        while the position is open; sessions, closes at which it was held; invested, the largest
        value at a fill or close; profit, after trading costs; cost, what trading it cost. Money is in
        units of the starting equity.
    """
    at_fill, at_mark = profit(result)
    before = np.vstack([np.zeros((1, len(result.symbols))), result.shares[:-1]])
    after = before + result.traded
    marks = {"at_fill": at_fill, "at_mark": at_mark, "cost": result.order_costs.sum(axis=0)}
    rows = []
    for place, symbol in enumerate(result.symbols):
        columns = {name: values[:, place] for name, values in marks.items()}
        prices = result.fill_prices[:, place], result.closes[:, place]
        rows += [
            (symbol, *row) for row in _of_one(before[:, place], after[:, place], *prices, **columns)
        ]
    names = ["symbol", "side", "entered", "left", "sessions", "invested", "profit", "cost"]
    table = pd.DataFrame(rows, columns=names)
    days = pd.DatetimeIndex(result.sessions.astype("datetime64[s]"))
    entered, left = (table[name].to_numpy(dtype=np.int64) for name in ("entered", "left"))
    table["entered"] = days[entered]
    table["left"] = days[left].where(left >= 0)
    return table.sort_values(["entered", "symbol"], kind="stable", ignore_index=True)


def _of_one(
    before: Floats,
    after: Floats,
    fills: Floats,
    closes: Floats,
    *,
    at_fill: Floats,
    at_mark: Floats,
    cost: Floats,
) -> list[tuple[str, int, int, int, float, float, float]]:
    """Trips of one symbol: side, rows of entry and exit (−1 while open), sessions and money."""
    sides = [_side(shares, fills) for shares in (before, after)]
    trips = []
    starts = np.flatnonzero((sides[1] != 0) & (sides[1] != sides[0]))
    for start in starts.tolist():
        side = int(sides[1][start])
        ends = np.flatnonzero(sides[1][start + 1 :] != side)
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


def _side(shares: Floats, prices: Floats) -> Floats:
    return np.where(np.abs(shares * prices) > NOTHING, np.sign(shares), 0.0)


def _opening(before: Floats, after: Floats, at: int) -> float:
    """Share of an order that opened rather than closed: 0, 1, or between where the side turned."""
    if before[at] * after[at] < 0:
        return float(abs(after[at]) / (abs(after[at]) + abs(before[at])))
    return 1.0 if abs(after[at]) > 0 else 0.0
