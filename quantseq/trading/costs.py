"""What trading and holding cost: one definition of each charge, and the terms of the account.

Owns `Costs`, the charge for an order, and the year that every yearly figure of a run is brought to
(`Costs.year`). Knows nothing of when orders come or how they are filled: `account` asks for charges,
and `backtest` states when an order may be filled.

The charges
-----------
n is the notional of an order, in units of the starting equity; rates in basis points are over 10⁴.

- **Commission**: max(cost_bps·n, min_commission / capital) for every order that is filled.
- **Half-spread**: half_spread_bps·n. Fill prices stay the market's; the spread is booked as a cost.
- **Impact**: impact·σ·√(n·capital / V)·n, the square-root law [1]_ [2]_: σ is the daily volatility and
  V the daily money volume, both over the 20 sessions *before* the fill (`LIQUIDITY`).
- **Volume cap**: an order takes at most volume_cap·V in one session.
- **Borrow**: borrow_bps a year on the value of shorts at the last close. **Interest**: cash_rate a
  year on equity minus longs where that is positive, so short proceeds earn nothing.
  **Financing**: cash_rate + financing_bps a year on longs beyond equity, which is borrowed money.

References
----------
.. [1] Almgren, R., Thum, C., Hauptmann, E. and Li, H. (2005). Direct estimation of equity market
   impact. Risk 18(7).
.. [2] Tóth, B. et al. (2011). Anomalous price impact and the critical nature of liquidity in
   financial markets. Physical Review X 1(2).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import check_parameters
from quantseq.market.bars import Floats
from quantseq.market.calendars import YEAR

FillPrice = Literal["open", "close"]  # where in the session after a decision its order is filled
MOST_BPS = 10_000.0  # costs as large as the traded notional: the most that `Costs` takes
LIQUIDITY = 20  # sessions before a fill over which volume and volatility are measured
TRADING = ("commission", "spread", "impact")  # charges for an order, in the order of `order_costs`


_BOUNDS = {
    "cost_bps": "[0, 10000] basis points",
    "min_commission": "[0, inf), in money",
    "half_spread_bps": "[0, 10000] basis points",
    "impact": "[0, inf), about 1 for stocks",
    "volume_cap": "[0, 1], 0 for no cap",
    "borrow_bps": "[0, inf) basis points per year",
    "cash_rate": "[0, 1), such as 0.02 for 2 % per year",
    "financing_bps": "[0, inf) basis points per year",
    "capital": "(0, inf), in money",
    "whole_shares": bool,
    "max_gross": "[1, 10] times equity",
    "periods": "int [0, 366] sessions per year, 0 for the calendar's own",
}


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What trading and holding cost, and the terms on which the account trades; ConfigError beyond `_BOUNDS`.

    Money is in the currency of the prices, results are in units of the starting `capital`: it matters for
    the least commission, impact, the volume cap and whole shares.
    """

    cost_bps: float = 5.0  # commission and whatever else is proportional to the traded notional
    min_commission: float = 0.0  # of an order
    half_spread_bps: float = 0.0  # of the traded notional
    impact: float = 0.0  # Y of the square-root law
    volume_cap: float = 0.0  # largest order as a share of the daily volume; the rest stays open
    borrow_bps: float = 50.0  # on the value of short positions
    cash_rate: float = 0.0  # interest on free cash, simple
    financing_bps: float = 0.0  # what borrowed money costs above `cash_rate`
    capital: float = 1_000_000.0
    whole_shares: bool = False  # after an order, as counted on that day, rounded towards 0
    max_gross: float = 1.0  # largest sum of absolute weights; above 1 the account borrows
    periods: int = 0  # by which yearly rates are divided

    def __post_init__(self) -> None:
        check_parameters(self, _BOUNDS)

    @property
    def year(self) -> int:
        """Sessions per year, the one year of a run: an exchange's where no calendar was asked."""
        return self.periods or YEAR

    @property
    def one_way_bps(self) -> float:
        """What every order pays in proportion to its notional, in basis points."""
        return self.cost_bps + self.half_spread_bps

    @property
    def need_liquidity(self) -> bool:
        """Whether an order's charge or size depends on volume."""
        return self.impact > 0 or self.volume_cap > 0

    @property
    def proportional(self) -> bool:
        """Whether `one_way_bps` is all that an order pays, whatever its size."""
        return not (self.need_liquidity or self.whole_shares or self.min_commission > 0)


@dataclass(frozen=True)
class Liquidity:
    """How much an order can move a symbol, (D, S) or (S,); known before the session that fills it.

    Mean daily money volume in units of the starting equity, NaN or 0 where unknown, and the standard
    deviation of daily log returns, NaN where unknown.
    """

    volume: Floats
    volatility: Floats

    def at(self, where: int | NDArray[np.bool_]) -> "Liquidity":
        """One session's row, or some symbols of a row."""
        return Liquidity(self.volume[where], self.volatility[where])

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where there is volume and volatility to trade by."""
        return (self.volume > 0) & np.isfinite(self.volatility)


def order_costs(notional: Floats, costs: Costs, liquidity: Liquidity | None) -> Floats:
    """Charges of orders by kind, (3, ..., S) in the order of `TRADING`.

    `notional` is the absolute traded value, (..., S) in units of the starting equity, 0 where nothing is
    filled; `liquidity`, of the same shape, is needed where ``costs.impact`` is above 0.
    """
    charged = np.zeros((len(TRADING), *notional.shape))
    least = np.where(notional > 0, costs.min_commission / costs.capital, 0.0)
    np.maximum(costs.cost_bps / 1e4 * notional, least, out=charged[0])
    np.multiply(costs.half_spread_bps / 1e4, notional, out=charged[1])
    if costs.impact > 0:
        assert liquidity is not None
        known = liquidity.known  # without it nothing is filled but a position whose symbol is gone
        share = np.divide(notional, liquidity.volume, out=np.zeros_like(notional), where=known)
        moved = costs.impact * np.where(known, liquidity.volatility, 0.0) * np.sqrt(share)
        charged[2] = moved * notional
    return charged
