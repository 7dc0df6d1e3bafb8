"""The single policies: one rule each, from the forecast of a position's return to the position.

Owns the formulas and their sources. What happens to a position before it is a weight (slices, kept
positions, band, caps) is stated in `sizing`.

Every rule reads the *fill-to-fill* log return, the one that the position will really hold, by its
mean m, standard deviation s and probability of a rise p. The expected simple return is taken as
μ = m + s²/2, the drift of a log-normal price.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from quantseq.trading.decisions.sizing import Floats, Sliced, View, total


@dataclass(frozen=True, kw_only=True)
class FractionalKelly(Sliced):
    """A fraction of the growth-optimal bet: position = fraction · μ / s², clipped to the cap.

    With μ = m + s²/2 this is the log-optimal share of one risky asset in continuous time. The full
    bet is optimal only when m and s are known; a fraction pays for their estimation error.

    Parameters
    ----------
    fraction : float in (0, 1]
        Share of the full Kelly bet.
    cap, long_only, band, gross, name_cap, cvar_cap, cost_bps
        As in `sizing.Sliced`; the band defaults to 0.1.

    References
    ----------
    Kelly (1956), "A New Interpretation of Information Rate". Merton (1969), "Lifetime Portfolio
    Selection under Uncertainty". MacLean, Thorp & Ziemba (2011), "The Kelly Capital Growth
    Investment Criterion".
    """

    name: ClassVar[str] = "kelly"
    formula: ClassVar[str] = "fraction · μ / s², of its slice"
    source: ClassVar[str] = "Kelly (1956); Merton (1969); MacLean, Thorp & Ziemba (2011)"

    fraction: float = 0.5
    band: float | Literal["cost"] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("fraction", above=0.0, most=1.0)

    @property
    def aversion(self) -> float:
        """The aversion whose optimal bet this is: 1 / fraction."""
        return 1 / self.fraction

    def position(self, view: View) -> Floats:
        """See `Sliced.position`."""
        return self.fraction * view.mu / view.std**2


@dataclass(frozen=True, kw_only=True)
class MeanVariance(Sliced):
    """Weights Σ⁻¹μ / γ over all symbols at once, shrunk to the caps: gross, name and CVaR.

    Σ has the forecast variances and one correlation ρ for every pair, so that its inverse is a closed
    form: with z = μ/s, w = (z − ρ·Σz / (1 + (n − 1)·ρ)) / ((1 − ρ)·γ·s).

    Parameters
    ----------
    risk_aversion : float in [0.1, 100]
        γ.
    correlation : float in [0, 1)
        ρ; the default is usual for daily returns of large stocks.
    long_only, band, gross, name_cap, cvar_cap, cost_bps
        As in `sizing.Sliced`; ``cap`` is not used, the CVaR cap defaults to 0.05.

    References
    ----------
    Markowitz (1952), "Portfolio Selection". Elton & Gruber (1973), "Estimating the Dependence
    Structure of Share Prices", for the constant correlation.
    """

    name: ClassVar[str] = "mean_variance"
    formula: ClassVar[str] = "Σ⁻¹μ / γ with one correlation ρ, shrunk to the caps"
    source: ClassVar[str] = "Markowitz (1952); Elton & Gruber (1973)"
    in_slices: ClassVar[bool] = False

    risk_aversion: float = 2.0
    correlation: float = 0.3
    band: float | Literal["cost"] = 0.1
    cvar_cap: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("risk_aversion", least=0.1, most=100.0)
        self._number("correlation", least=0.0, below=1.0)

    @property
    def aversion(self) -> float:
        """γ."""
        return self.risk_aversion

    def position(self, view: View) -> Floats:
        """See `Sliced.position`."""
        z, rho = view.mu / view.std, self.correlation
        count = view.known.sum(axis=1, keepdims=True)
        shared = rho * total(z) / (1 + (count - 1) * rho)
        weights = (z - shared) / ((1 - rho) * self.risk_aversion * view.std)
        seen = np.maximum.accumulate(view.known, axis=0).sum(axis=1, keepdims=True)
        return np.asarray(weights * seen)


@dataclass(frozen=True, kw_only=True)
class Sign(Sliced):
    """All in or all out: position = cap · sign(μ).

    Parameters
    ----------
    cap, long_only, band, gross, name_cap, cvar_cap, cost_bps
        As in `sizing.Sliced`.

    References
    ----------
    The market-timing rule that Merton (1981), "On Market Timing and Investment Performance", uses to
    value direction forecasts.
    """

    name: ClassVar[str] = "sign"
    formula: ClassVar[str] = "cap · sign(μ)"
    source: ClassVar[str] = "Merton (1981)"

    def position(self, view: View) -> Floats:
        """See `Sliced.position`."""
        return self.cap * np.sign(view.mu)


@dataclass(frozen=True, kw_only=True)
class Probability(Sliced):
    """Sure enough or not at all: cap where p > threshold, −cap where p < 1 − threshold, else 0.

    Parameters
    ----------
    threshold : float in [0.5, 1)
        Least probability of the side taken.
    cap, long_only, band, gross, name_cap, cvar_cap, cost_bps
        As in `sizing.Sliced`.

    References
    ----------
    Pesaran & Timmermann (1995), "Predictability of Stock Returns: Robustness and Economic
    Significance", switch on the forecast's side; the threshold is the usual abstention rule of
    Chow (1970), "On Optimum Recognition Error and Reject Tradeoff".
    """

    name: ClassVar[str] = "probability"
    formula: ClassVar[str] = "cap where p > threshold, −cap where p < 1 − threshold, else 0"
    source: ClassVar[str] = "Pesaran & Timmermann (1995); Chow (1970)"

    threshold: float = 0.52

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("threshold", least=0.5, below=1.0)

    def position(self, view: View) -> Floats:
        """See `Sliced.position`."""
        up, down = view.prob_up > self.threshold, view.prob_up < 1 - self.threshold
        return self.cap * (up.astype(np.float64) - down)


@dataclass(frozen=True, kw_only=True)
class OverCost(Sliced):
    """Only what pays for itself: cap · sign(μ) where |μ|·holding > multiple · 2·cost, else 0.

    Parameters
    ----------
    multiple : float in (0, 100]
        How many round trips the expected return must pay for.
    holding : int in [1, 252]
        Sessions over which a round trip is paid off, with a forecast that lasts.
    cost_bps : float in [0, 10000]
        One-way cost.
    cap, long_only, band, gross, name_cap, cvar_cap
        As in `sizing.Sliced`.

    References
    ----------
    The no-trade rule of a risk-neutral investor under proportional costs: Constantinides (1986),
    "Capital Market Equilibrium with Transaction Costs"; Martin (2014), "Optimal Trading under
    Proportional Transaction Costs".
    """

    name: ClassVar[str] = "over_cost"
    formula: ClassVar[str] = "cap · sign(μ) where |μ|·holding > multiple · 2·cost, else 0"
    source: ClassVar[str] = "Constantinides (1986); Martin (2014)"

    multiple: float = 1.0
    holding: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("multiple", above=0.0, most=100.0)
        self._number("holding", least=1, most=252)

    def position(self, view: View) -> Floats:
        """See `Sliced.position`."""
        pays = np.abs(view.mu) * self.holding > self.multiple * 2 * self.cost_bps / 1e4
        return self.cap * np.sign(view.mu) * pays


@dataclass(frozen=True, kw_only=True)
class VolTarget(Sliced):
    """Constant risk: position = min(cap, target / (s·√periods)), with the sign of μ if not long-only.

    Long-only ignores μ: it is long always, and less of it when the forecast risk is high.

    Parameters
    ----------
    target : float in (0, 2]
        Annualised volatility wanted from each symbol's slice of capital.
    periods : int >= 1
        Sessions per year.
    cap, long_only, band, gross, name_cap, cvar_cap, cost_bps
        As in `sizing.Sliced`.

    References
    ----------
    Moreira & Muir (2017), "Volatility-Managed Portfolios". Harvey et al. (2018), "The Impact of
    Volatility Targeting".
    """

    name: ClassVar[str] = "vol_target"
    formula: ClassVar[str] = "min(cap, target / (s·√periods)), with the sign of μ if not long-only"
    source: ClassVar[str] = "Moreira & Muir (2017); Harvey et al. (2018)"

    target: float = 0.15
    periods: int = 252

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("target", above=0.0, most=2.0)
        self._number("periods", least=1, most=366)

    def position(self, view: View) -> Floats:
        """See `Sliced.position`."""
        size = np.minimum(self.cap, self.target / (view.std * math.sqrt(self.periods)))
        return size if self.long_only else size * np.sign(view.mu)


@dataclass(frozen=True, kw_only=True)
class Rank(Sliced):
    """Best against worst: cap for the top share of symbols by μ/s, −cap for the bottom share.

    Long and short sides have as many symbols each; long-only holds the top alone. Ties share their
    rank. One symbol alone has no rank and gets no position.

    Parameters
    ----------
    share : float in (0, 0.5]
        Share of the symbols on each side.
    cap, long_only, band, gross, name_cap, cvar_cap, cost_bps
        As in `sizing.Sliced`; long-only defaults to false.

    References
    ----------
    Jegadeesh & Titman (1993), "Returns to Buying Winners and Selling Losers"; Gu, Kelly & Xiu (2020),
    "Empirical Asset Pricing via Machine Learning", sort forecasts the same way.
    """

    name: ClassVar[str] = "rank"
    formula: ClassVar[str] = "cap in the top share by μ/s, −cap in the bottom share, else 0"
    source: ClassVar[str] = "Jegadeesh & Titman (1993); Gu, Kelly & Xiu (2020)"

    share: float = 1 / 3
    long_only: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("share", above=0.0, most=0.5)

    def position(self, view: View) -> Floats:
        """See `Sliced.position`."""
        place = pd.DataFrame(view.mu / view.std).rank(axis=1).to_numpy() - 0.5
        count = view.known.sum(axis=1, keepdims=True)
        near = self.share * count + 1e-9  # thirds are not exact in binary
        lone = count < 2
        top, bottom = (place >= count - near) & ~lone, (place <= near) & ~lone
        return np.asarray(self.cap * (top.astype(np.float64) - bottom))
