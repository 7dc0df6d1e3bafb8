"""What trading and holding cost: one definition of each charge, and the terms of the account.

Owns `Costs` and the charge for an order. Knows nothing of when orders come or how they are filled:
`account` asks for charges, and `backtest` states when an order may be filled.

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

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import ConfigError
from quantseq.market.bars import Floats
from quantseq.market.calendars import YEAR

MOST_BPS = 10_000.0
"""Costs as large as the traded notional: the most that `Costs` takes."""

LIQUIDITY = 20
"""Sessions before a fill over which volume and volatility are measured."""

TRADING = ("commission", "spread", "impact")
"""Charges for an order, in the order of `order_costs`."""

HOLDING = ("borrow", "financing")
"""Charges for what is held, per session."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What trading and holding cost, and the terms on which the account trades.

    Parameters
    ----------
    cost_bps : float in [0, 10000]
        Commission, and whatever else is proportional: basis points of the traded notional.
    min_commission : float >= 0
        Least commission of an order, in the currency of the prices.
    half_spread_bps : float in [0, 10000]
        Half the quoted spread, basis points of the traded notional.
    impact : float >= 0
        Y of the square-root law; about 1 in the literature, 0 for none.
    volume_cap : float in [0, 1]
        Largest order as a share of the daily volume; the rest stays open. 0 for no cap.
    borrow_bps : float >= 0
        Fee on the value of short positions, basis points per year.
    cash_rate : float in [0, 1)
        Interest on free cash, simple rate per year.
    financing_bps : float >= 0
        What borrowed money costs above `cash_rate`, basis points per year.
    capital : float > 0
        Starting money, in the currency of the prices. It matters where size does: for the least
        commission, impact, the volume cap and whole shares. Results are in units of it.
    whole_shares : bool
        Positions after an order are whole shares, as counted on that day, rounded towards 0.
    max_gross : float in [1, 10]
        Largest sum of absolute weights; above 1 the account borrows.
    periods : int in [0, 366]
        Sessions per year, by which the yearly rates are divided. 0 leaves it to the calendar of the
        prices; see `quantseq.market.calendars.sessions_per_year`.
    """

    cost_bps: float = 5.0
    min_commission: float = 0.0
    half_spread_bps: float = 0.0
    impact: float = 0.0
    volume_cap: float = 0.0
    borrow_bps: float = 50.0
    cash_rate: float = 0.0
    financing_bps: float = 0.0
    capital: float = 1_000_000.0
    whole_shares: bool = False
    max_gross: float = 1.0
    periods: int = 0

    def __post_init__(self) -> None:
        rules = (
            ("cost_bps", 0 <= self.cost_bps <= MOST_BPS, "in [0, 10000] basis points"),
            ("min_commission", 0 <= self.min_commission < math.inf, "0 or more in money"),
            (
                "half_spread_bps",
                0 <= self.half_spread_bps <= MOST_BPS,
                "in [0, 10000] basis points",
            ),
            ("impact", 0 <= self.impact < math.inf, "0 or more, about 1 for stocks"),
            ("volume_cap", 0 <= self.volume_cap <= 1, "in [0, 1], 0 for no cap"),
            ("borrow_bps", 0 <= self.borrow_bps < math.inf, "0 or more basis points per year"),
            ("cash_rate", 0 <= self.cash_rate < 1, "in [0, 1), such as 0.02 for 2 % per year"),
            (
                "financing_bps",
                0 <= self.financing_bps < math.inf,
                "0 or more basis points per year",
            ),
            ("capital", 0 < self.capital < math.inf, "above 0 in money"),
            ("whole_shares", isinstance(self.whole_shares, bool), "true or false"),
            ("max_gross", 1 <= self.max_gross <= 10, "in [1, 10] times equity"),
            (
                "periods",
                0 <= self.periods <= 366,
                "in [0, 366] sessions per year, 0 for the calendar's own",
            ),
        )
        for name, good, rule in rules:
            if not good:
                raise ConfigError(
                    f"The {name!r} parameter of Costs must be {rule}. Got {getattr(self, name)!r}."
                )

    @property
    def year(self) -> int:
        """Sessions per year: those of one exchange where the calendar has not been asked."""
        return self.periods or YEAR

    @property
    def one_way_bps(self) -> float:
        """What every order pays in proportion to its notional, in basis points."""
        return self.cost_bps + self.half_spread_bps

    @property
    def rate(self) -> float:
        """The same as a fraction."""
        return self.one_way_bps / 1e4

    @property
    def need_liquidity(self) -> bool:
        """Whether an order's charge or size depends on volume."""
        return self.impact > 0 or self.volume_cap > 0

    @property
    def proportional(self) -> bool:
        """Whether `rate` is all that an order pays, whatever its size."""
        return not (self.need_liquidity or self.whole_shares or self.min_commission > 0)


@dataclass(frozen=True)
class Liquidity:
    """How much an order can move a symbol; known before the session that fills it.

    Attributes
    ----------
    volume : (D, S) or (S,) float64
        Mean daily money volume, in units of the starting equity; NaN or 0 where unknown.
    volatility : (D, S) or (S,) float64
        Standard deviation of daily log returns; NaN where unknown.
    """

    volume: Floats
    volatility: Floats

    def at(self, session: int) -> "Liquidity":
        """One session's row."""
        return Liquidity(self.volume[session], self.volatility[session])

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where there is volume and volatility to trade by."""
        return (self.volume > 0) & np.isfinite(self.volatility)


def order_costs(notional: Floats, costs: Costs, liquidity: Liquidity | None) -> Floats:
    """Charges of orders by kind: commission, spread and impact.

    Parameters
    ----------
    notional : (..., S) float64
        Absolute traded value, in units of the starting equity; 0 where nothing is filled.
    costs : Costs
    liquidity : Liquidity or None
        Of the same shape; needed where ``costs.impact`` is above 0.

    Returns
    -------
    (3, ..., S) float64
        In units of the starting equity, in the order of `TRADING`.
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
