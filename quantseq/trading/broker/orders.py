"""From decisions to orders: prices, bars that are missing, and liquidity, by the session that fills.

Owns `Orders`, everything that the loop of `account` needs to know: which order stands at which
session, which of them waited for a bar, and at what prices. Knows nothing of cash or costs, and
moves no decision in time: the rows it gets already stand at the session after the decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import NoDataError
from quantseq.market.bars import Dates, Floats, Panel
from quantseq.trading.broker.costs import LIQUIDITY, Costs, Liquidity

DUST = 1e-12
"""Orders below this share of equity are rounding, not trades."""

LAPSE = 20
"""Sessions in a row without a bar after which a position is liquidated."""

Flags = NDArray[np.bool_]


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
    waiting : (D, S) float64 or None
        Weight of the order that waits for a bar at the end of the session; NaN without one. None
        without a single one.
    unfilled : int
        Decisions that no session is left to fill, for the record.
    of_start : bool
        Size by the equity before the first session, not by that at the fill.
    lot : (D, S) float64 or None
        One whole share of the session in adjusted shares per unit of starting equity; None for
        fractional shares.
    liquidity : Liquidity or None
        Of every session; None where no charge asks for it.
    """

    symbols: tuple[str, ...]
    sessions: Dates
    fill_at: Floats
    close: Floats
    has_bar: Flags
    target: Floats
    wanted: Flags
    late: Flags
    lapsed: Flags
    waiting: Floats | None
    unfilled: int
    of_start: bool = False
    lot: Floats | None = None
    liquidity: Liquidity | None = None


def make_orders(
    panel: Panel,
    weights: pd.DataFrame,
    span: Dates,
    row: NDArray[np.int64],
    mask: Flags | None,
    *,
    at_open: bool,
    unfilled: int,
    costs: Costs,
) -> Orders:
    """Put checked weights at the rows of `span` that fill them.

    Parameters
    ----------
    panel : Panel
    weights : DataFrame
        One line per decision.
    span : (D,) datetime64[D]
        Sessions of the panel in a row.
    row : (len(weights),) int
        Row of `span` that fills each line.
    mask : (len(weights), S) bool, optional
        False: no order.
    at_open : bool
        Fill at the open, else at the close.
    unfilled : int
        For the record.
    costs : Costs
        Says whether shares are whole and whether volume matters.

    Raises
    ------
    NoDataError
        If volume matters and a symbol has none.
    """
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
    target, wanted = np.zeros(shape), np.zeros(shape, dtype=bool)
    target[row] = weights.to_numpy(dtype=np.float64)
    wanted[row] = True if mask is None else mask
    late, lapsed = (np.zeros(shape, dtype=bool) for _ in range(2))
    waiting = None
    if not whole:
        late, waiting = wait(target, wanted, has_bar)
        lapsed = _lapsed(has_bar)
        target[lapsed] = 0.0
    return Orders(
        symbols,
        span,
        opened if at_open else close,
        close,
        has_bar,
        target,
        wanted,
        late,
        lapsed,
        waiting,
        unfilled,
        lot=_lots(panel, symbols, part, costs.capital) if costs.whole_shares else None,
        liquidity=_liquidity(panel, symbols, part, costs) if costs.need_liquidity else None,
    )


def wait(target: Floats, wanted: Flags, has_bar: Flags) -> tuple[Flags, Floats | None]:
    """Move each order without a bar to its symbol's next one, in place, unless a newer one replaces it.

    Returns
    -------
    late : (D, S) bool
        The orders that were moved.
    waiting : (D, S) float64 or None
        As in `Orders`.
    """
    days = len(has_bar)
    late = np.zeros_like(has_bar)
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
    lapsed: Flags = (last >= 0) & (day - last >= LAPSE)
    return lapsed


def prices(panel: Panel, symbols: Sequence[str]) -> tuple[Floats, Floats]:
    """Adjusted opens and closes on the panel's calendar, NaN without a bar: each (D, S).

    The same numbers as ``panel.select(symbols).adjusted()``, without building bars again.
    """
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
    chosen = panel.select(symbols)
    factor = chosen.matrix("adj_close") / chosen.matrix("close")
    lots = pd.DataFrame(1 / (capital * factor)).ffill().fillna(1.0)
    return lots.to_numpy()[_rows(panel, chosen)][part]


def _liquidity(panel: Panel, symbols: Sequence[str], part: slice, costs: Costs) -> Liquidity:
    """Volume and volatility over the `LIQUIDITY` sessions before each one; bars before `part` count."""
    chosen = panel.select(symbols)
    money = pd.DataFrame(chosen.matrix("close") * chosen.matrix("volume") / costs.capital)
    for name, traded in zip(symbols, (money > 0).any(), strict=True):
        if not traded:
            raise NoDataError(
                f"{name} has no volume on any session, and market impact or a volume cap needs it. "
                "Give volumes, or set impact and volume_cap to 0."
            )
    moves = pd.DataFrame(np.log(chosen.matrix("adj_close"))).ffill().diff()
    volume = money.rolling(LIQUIDITY, min_periods=1).mean().ffill().shift(1)
    spread = moves.rolling(LIQUIDITY, min_periods=2).std().ffill().shift(1)
    rows = _rows(panel, chosen)
    return Liquidity(volume.to_numpy()[rows][part], spread.to_numpy()[rows][part])


def _rows(panel: Panel, chosen: Panel) -> NDArray[np.intp]:
    """Row of `chosen` known at each session of the whole panel; its calendar may be the shorter."""
    return np.maximum(np.searchsorted(chosen.sessions, panel.sessions, "right") - 1, 0)
