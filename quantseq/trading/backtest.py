"""From weights to money: an exact loop of cash and shares, one session after the other.

Owns fills, costs, cash and the mark at each close. Knows nothing of forecasts or models, and takes
weights by the date at which they were decided: this is the only file that moves a decision in time.

The rules
---------
- **Timing.** A weight decided at the close of session t is filled at the *next* session of the
  panel: at its open (``fill="open"``) or at its close (``fill="close"``). A decision at the last
  session is not filled. Equity is marked at every close and is 1 before the first session.
- **Prices** are adjusted: dividends are reinvested, splits leave no trace.
- **Size.** The order makes the position worth weight × equity, both at the fill price and before
  costs. Shares are fractional, or whole as counted on the day (`Costs.whole_shares`; reinvested
  dividends then add fractions until the next order). Sales come first. When cash does not pay for all
  buys with their costs, all buys shrink by one factor: with `Costs.max_gross` at 1 cash never goes
  below 0 in a long-only book.
- **Costs** are defined in `costs`. Holding is charged per session on the state at the last close.
- **Missing bars.** A symbol without a bar keeps its last close. An order that meets no bar waits and
  is filled at the symbol's next one, sized by the equity of that session, unless a newer order for
  the symbol replaces it; a decision masked by `trade` is no order and replaces nothing. Late fills
  count in `BacktestResult.delayed_orders`, orders without any fill in ``dropped_orders``, replaced
  ones in neither.
- **Rests.** What the volume cap cuts off an order stays open, and so does what a buy could not get
  because the cash of a sale is still to come (the sale waits for a bar or for volume). A rest is
  filled in shares as soon as bar, volume and cash are there, unless a newer order replaces it; such
  fills count in ``completed_orders``. A buy that is short for any other reason, such as the costs of
  being fully invested, is done with what it got.
- **Delisting.** In the 20th session in a row without a bar (`LAPSE`) a position is closed at
  its last price, with costs, and counted in ``liquidated``. Until the symbol has a bar again every
  order for it is void, waiting ones too. Nobody knows at the last bar that it is the last.
- **Ruin.** When equity at a fill or a mark is 0 or less, everything is closed and the account ends:
  equity 0, that session's return −1, nothing after it; `BacktestResult.ruined` says when.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq

from quantseq.errors import ConfigError, NoDataError, NotEnoughDataError
from quantseq.market.bars import Dates, Floats, Panel, as_date
from quantseq.trading.account import BacktestResult, Flags, Orders, run_account
from quantseq.trading.costs import LIQUIDITY, MOST_BPS, Costs, FillPrice, Liquidity
from quantseq.trading.metrics import checked

LAPSE = 20  # sessions in a row without a bar after which a position is liquidated
_ROUNDING = 1e-9  # what the absolute weights may sum to above `Costs.max_gross`


def simulate(
    panel: Panel,
    weights: pd.DataFrame,
    *,
    costs: Costs = Costs(),
    fill: FillPrice = "open",
    start: Any = None,
    end: Any = None,
    trade: pd.DataFrame | None = None,
) -> BacktestResult:
    """Run weights through prices; the rules stand in the module docstring.

    `panel` has at least the symbols in `weights`, and its shared calendar is that of the run. The weights, by decision
    date (sorted, unique, each a session of the panel) and symbol, are without NaN, and gross at most
    `Costs.max_gross`. `start` and `end` are the first and last session of the result, by default the session after
    the first decision and the last of the panel; decisions whose fill lies before `start` are not used. Where
    `trade`, of true and false in the shape of the weights, is false there is no new order: the shares stay as they
    are, and so does an order that waits for a bar (see `policies.changed`).

    Raises
    ------
    ConfigError
        If weights or another parameter break their rule.
    DataError
        If a decision date is no session of the panel, or volume matters and a symbol has none; if no session is left
        to fill or to mark; if the panel lacks a symbol.
    """
    return run_account(_prepare(panel, weights, costs, fill, trade, start, end), costs)


def buy_and_hold(
    panel: Panel,
    symbols: Sequence[str] | None = None,
    start: Any = None,
    end: Any = None,
    *,
    costs: Costs = Costs(),
    fill: FillPrice = "open",
) -> BacktestResult:
    """Equal money in every symbol at the first session's fill, then held: what everything is compared with.

    `symbols` are all of the panel by default; one without a bar at `start` leaves its 1/n of the starting money in
    cash, and is bought for it at its first bar (an order that waits, as in `simulate`): for less when costs have used
    some of the cash, never if no bar comes. `start` and `end` are the first and last session, those of the panel by
    default; give those of a `BacktestResult` to compare with it from the same first fill.
    """
    names = list(panel.symbols if symbols is None else symbols)
    sessions = _span(panel, start, end)
    first = pd.DatetimeIndex(sessions[:1].astype("datetime64[s]"))
    weights = pd.DataFrame(1 / max(len(names), 1), index=first, columns=names)
    _check(weights, costs.max_gross)
    orders = make_orders(panel, weights, sessions, np.array([0]), None, fill=fill, costs=costs)
    return run_account(replace(orders, of_start=True), costs)


def break_even_bps(
    panel: Panel,
    weights: pd.DataFrame,
    *,
    costs: Costs = Costs(),
    fill: FillPrice = "open",
    trade: pd.DataFrame | None = None,
) -> float | None:
    """Trading cost in basis points at which the net result is no better than cash.

    Solves, by Brent's method on re-run accounts, for the `Costs.cost_bps` at which the account ends
    where the same cash at `Costs.cash_rate` would: with no interest, where net CAGR is 0. None without any
    trade, or when the account does not beat cash even without trading costs; 10,000 when it still does at
    a cost of the whole notional.
    """
    orders = _prepare(panel, weights, costs, fill, trade)
    cash = (1 + costs.cash_rate / costs.year) ** len(orders.sessions)

    def excess(bps: float) -> float:
        return float(run_account(orders, replace(costs, cost_bps=bps)).equity[-1] - cash)

    free = run_account(orders, replace(costs, cost_bps=0.0))
    if not free.traded.any() or free.equity[-1] <= cash:
        return None
    high = 10.0
    while excess(high) > 0:
        if high >= MOST_BPS:
            return MOST_BPS
        high = min(4 * high, MOST_BPS)
    return float(brentq(excess, 0.0, high, xtol=1e-6))


def _prepare(
    panel: Panel,
    weights: pd.DataFrame,
    costs: Costs,
    fill: FillPrice,
    trade: Any = None,
    start: Any = None,
    end: Any = None,
) -> Orders:
    """Check everything, and move each decision to the session that fills it; see `simulate`."""
    decided, mask = _check(weights, costs.max_gross), None
    if trade is not None:
        mask = np.asarray(trade)
        same = isinstance(trade, pd.DataFrame) and trade.index.equals(weights.index)
        if not (same and trade.columns.equals(weights.columns) and mask.dtype == bool):
            raise ConfigError(
                "The trade mask must be a frame of true and false with the index and columns of the "
                "weights. Build it from the weights, as policies.changed does."
            )
    sessions = panel.sessions
    at = np.searchsorted(sessions, decided)
    outside = sessions[np.minimum(at, len(sessions) - 1)] != decided
    if outside.any():
        raise NoDataError(
            f"The weights are decided on {decided[outside][0]}, which is no session of the prices "
            f"({sessions[0]} to {sessions[-1]}). Decide at the close of a session."
        )
    filled_at = at + 1  # the one shift: decided at the close of t, filled in the session after it
    if start is None:
        if filled_at[0] >= len(sessions):
            raise NotEnoughDataError(
                f"The first decision, {decided[0]}, is the last session of the prices. A decision is "
                "filled in the session after it; give at least one more bar."
            )
        start = sessions[filled_at[0]]
    span = _span(panel, start, end)
    row = filled_at - int(np.searchsorted(sessions, span[0]))
    inside = (row >= 0) & (row < len(span))
    chosen = mask if mask is None else mask[inside]
    orders = make_orders(panel, weights[inside], span, row[inside], chosen, fill=fill, costs=costs)
    return replace(orders, unfilled=int((row >= len(span)).sum()))


def _check(weights: pd.DataFrame, max_gross: float) -> Dates:
    """Check the weights; return their decision dates."""
    if weights.empty:
        raise ConfigError("The weights are empty. Decide at least one date for one symbol.")
    if not weights.columns.is_unique:
        twice = weights.columns[weights.columns.duplicated()][0]
        raise ConfigError(f"The weights name {twice!r} twice. Give each symbol one column.")
    try:
        index = pd.DatetimeIndex(weights.index).tz_localize(None)
        values = weights.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The weights must be numbers, indexed by decision date: {error}."
        ) from error
    decided: Dates = index.to_numpy().astype("datetime64[D]")
    if np.isnat(decided).any() or (np.diff(decided).astype(np.int64) <= 0).any():
        raise ConfigError(
            "The decision dates must be increasing without repeats or gaps in the index. "
            "Sort the weights and keep one row per date."
        )
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ConfigError(
            f"The weight of {weights.columns[column]} decided on {decided[row]} is "
            f"{values[row, column]}. Every weight must be a number; 0 means no position."
        )
    gross = np.abs(values).sum(axis=1)
    if gross.max() > max_gross + _ROUNDING:
        row = int(np.argmax(gross))
        raise ConfigError(
            f"The absolute weights decided on {decided[row]} sum to {gross[row]:.6g}. They must not "
            f"exceed {max_gross:g}; scale them down, or raise Costs.max_gross."
        )
    return decided


def _span(panel: Panel, start: Any, end: Any) -> Dates:
    sessions = panel.sessions
    first = sessions[0] if start is None else as_date(start)
    last = sessions[-1] if end is None else as_date(end)
    if first > last:
        raise ConfigError(f"The range {first} to {last} is reversed. Give the earlier date first.")
    span = sessions[np.searchsorted(sessions, first) : np.searchsorted(sessions, last, "right")]
    if not len(span):
        raise NotEnoughDataError(
            f"No session of the prices lies between {first} and {last}; they run from {sessions[0]} "
            f"to {sessions[-1]}. Choose a span inside."
        )
    return span


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
        day = np.arange(len(span), dtype=np.int32)[:, None]
        last = np.maximum.accumulate(np.where(has_bar, day, np.int32(-1)), axis=0)
        lapsed = (last >= 0) & (day - last >= LAPSE)
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


def prices(panel: Panel, symbols: Sequence[str]) -> tuple[Floats, Floats]:
    """Adjusted opens and closes on the panel's calendar, NaN without a bar: each (D, S)."""
    opened, close, adjusted = _fields(panel, symbols, "open", "close", "adj_close")
    return opened * (adjusted / close), adjusted


def _lots(panel: Panel, symbols: Sequence[str], part: slice, capital: float) -> Floats:
    """One share as counted on the day, as adjusted shares per unit of starting equity: (D, S)."""
    close, adjusted = _fields(panel, symbols, "close", "adj_close")
    lots = pd.DataFrame(1 / (capital * (adjusted / close)))
    return lots.ffill().fillna(1.0).to_numpy()[part]


def _liquidity(panel: Panel, symbols: Sequence[str], part: slice, costs: Costs) -> Liquidity:
    """Volume and volatility over the `LIQUIDITY` sessions before each one; bars before `part` count."""
    close, volume, adjusted = _fields(panel, symbols, "close", "volume", "adj_close")
    money = pd.DataFrame(close * volume / costs.capital)
    for name, traded in zip(symbols, (money > 0).any(), strict=True):
        if not traded:
            raise NoDataError(
                f"{name} has no volume on any session, and market impact or a volume cap needs it. "
                "Give volumes, or set impact and volume_cap to 0."
            )
    moves = pd.DataFrame(np.log(adjusted)).ffill().diff()
    mean = money.rolling(LIQUIDITY, min_periods=1).mean()
    spread = moves.rolling(LIQUIDITY, min_periods=2).std()
    return Liquidity(*(one.ffill().shift(1).to_numpy()[part] for one in (mean, spread)))


def _fields(panel: Panel, symbols: Sequence[str], *names: str) -> Floats:
    """Fields of some symbols on the panel's calendar, NaN without a bar: (F, D, S)."""
    found = np.full((len(names), len(panel.sessions), len(symbols)), np.nan)
    for column, symbol in enumerate(symbols):
        bars = panel[symbol]
        rows = np.searchsorted(panel.sessions, bars.sessions)
        found[:, rows, column] = [getattr(bars, name) for name in names]
    return found


# ------------------------------------------------------ for drawings; nothing that is claimed


def at_cost(net: Any, turnover: Any, *, charged_bps: float, cost_bps: float) -> Floats:
    """Net returns if every trade had cost `cost_bps` instead of `charged_bps`; never below −1.

    r + (charged − asked)/10⁴ · turnover: what was paid before is not compounded into the size of the trades, an error
    of the order of cost × turnover × return.
    """
    moved = (charged_bps - cost_bps) / 1e4 * np.asarray(turnover, dtype=np.float64)
    return np.maximum(checked(net) + np.nan_to_num(moved), -1.0)
