"""The rules that every policy shares: slices of capital, kept positions, no-trade bands and caps.

Owns the table of moments that policies read, and `Policy`, which turns positions into weights. Knows no
policy in particular, nothing of prices, fills or costs beyond one rate: a weight is dated by the close
at which it is decided, and only `backtest` says when it is filled.

The rules, in their order
-------------------------
1. **Slices.** A policy takes a position per symbol, in [−1, 1] times that symbol's 1/n of capital, n
   the number of distinct symbols forecast *so far*. ``cap`` bounds it; long-only makes shorts 0.
2. **No forecast.** A symbol that is not forecast at a decision date, on a holiday of its exchange for
   one, keeps its position for up to 5 decision dates in a row (`FORECAST_PATIENCE`): no opinion is no
   reason to trade. From the date after those its position is 0: no opinion for a week, no position.
   What is kept is the share of the slice, which the band sees as no move.
3. **Band.** Inside the no-trade band around the target the last decision stands; from outside the
   position moves to the nearer edge; a target of exactly 0 always closes [1]_. A number is the half
   width as a share of the slice. ``"cost"`` derives it from costs as
   ``(3/2 · ε/γ · η²/σ²)^(1/3)``, at most ½: ε the one-way cost, γ the risk aversion, σ the forecast
   deviation, η² the mean squared move of the target over its forecasts so far [2]_ [3]_.
4. **Caps**, of the target and again after the band, whatever it says: |w| ≤ ``name_cap`` cuts; a gross
   above ``gross`` and a ``Σ |w|·ES`` above ``cvar_cap`` shrink all weights of the date by one factor.
   ES is the forecast 95 % expected shortfall of the side held. The sum bounds the portfolio's, for
   expected shortfall is subadditive [4]_.

Causality: a weight at date t depends on rows with ``cutoff <= t`` only.

References
----------
.. [1] Davis, M. and Norman, A. (1990). Portfolio selection with transaction costs. Mathematics of
   Operations Research 15(4).
.. [2] Rogers, L.C.G. (2004). Why is the effect of proportional transaction costs O(δ^⅔)? In
   Mathematics of Finance, AMS.
.. [3] Martin, R. (2014). Optimal trading under proportional transaction costs. Risk 27(8).
.. [4] Rockafellar, R.T. and Uryasev, S. (2002). Conditional value-at-risk for general loss
   distributions. Journal of Banking & Finance 26(7).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import ConfigError
from quantseq.market.bars import Floats
from quantseq.trading.costs import check_bounds

MOMENTS = ("symbol", "cutoff", "mean", "std", "prob_up")
SHORTFALLS = ("es_long", "es_short")  # columns that a CVaR cap needs; see `policies.held_moments`
FORECAST_PATIENCE = 5  # decision dates in a row over which a position without a forecast is kept
_WIDEST = 0.5  # largest half width of a band derived from costs


@dataclass(frozen=True)
class View:
    """Forecasts by decision date and symbol, (D, S) each; NaN where there is none."""

    mu: Floats  # expected simple return, m + s²/2 of the log return: the drift of a log-normal price
    std: Floats  # of the log return
    prob_up: Floats
    shortfall: tuple[Floats, Floats] | None  # of the long and the short side, positive, if known
    known: NDArray[np.bool_]

    @property
    def seen(self) -> NDArray[np.int_]:
        """How many symbols have been forecast so far: (D, 1)."""
        return np.asarray(np.maximum.accumulate(self.known, axis=0).sum(axis=1, keepdims=True))


@dataclass(frozen=True, kw_only=True)
class Policy(ABC):
    """What all policies share; the rules stand in the module docstring."""

    name: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""
    # of a policy's own parameters; see `costs.check_bounds`
    bounds: ClassVar[Mapping[str, str]] = {}
    # whether `cap` bounds each position by its slice; else only the caps on weights do
    in_slices: ClassVar[bool] = True

    cap: float = 1.0  # largest position of a symbol, as a share of its 1/n of capital
    long_only: bool = True  # positions below 0 become 0
    band: float | Literal["cost"] = 0.0  # half width as a share of the slice, or derived from costs
    gross: float = 1.0  # largest sum of absolute weights
    name_cap: float = 1.0  # largest weight
    cvar_cap: float = (
        0.0  # largest 95 % expected shortfall per session, as a share of equity; 0: none
    )
    cost_bps: float = 5.0  # one way; what bands and thresholds are derived from

    def __post_init__(self) -> None:
        shared = {"cap": "(0, 1]", "gross": "(0, 1]", "name_cap": "(0, 1]", "cvar_cap": "[0, 1)"}
        shared |= {"cost_bps": "[0, 10000]", "long_only": "true or false"}
        if self.band != "cost":
            shared["band"] = '[0, 1) or "cost"'
        check_bounds(self, {**shared, **self.bounds})

    @abstractmethod
    def _position(self, view: View) -> Floats:
        """Position per symbol and date before any rule, in slices; NaN where there is no forecast."""

    @property
    def _aversion(self) -> float:
        return 2.0  # relative risk aversion γ that a band from costs assumes: that of half Kelly

    def weights(self, moments: pd.DataFrame) -> pd.DataFrame:
        """Portfolio weights without NaN, gross at most 1: by ``decision`` (the cutoffs, sorted) and symbol.

        `moments` has one row per symbol and cutoff, with the mean, std and prob_up of the fill-to-fill log return,
        and es_long, es_short where a CVaR cap asks for them. ConfigError if a column is missing, a value is not
        finite or outside its range, or a symbol has two rows for one cutoff.
        """
        view, dates, symbols = read_view(moments)
        if self.cvar_cap and view.shortfall is None:
            raise ConfigError(
                f"The moments lack {' and '.join(SHORTFALLS)}, which a 'cvar_cap' needs. "
                "Take them from policies.held_moments, or set cvar_cap to 0."
            )
        limit = self.cap if self.in_slices else np.inf
        target = np.clip(self._position(view), 0.0 if self.long_only else -limit, limit)
        seen = view.seen
        target = self._capped(_keep(target, view.known) / seen, view) * seen
        width = self._width(target, view) if self.band == "cost" else self.band
        weights = self._capped(_hold(target, width) / seen, view)
        index = pd.DatetimeIndex(dates, name="decision")
        return pd.DataFrame(weights, index=index, columns=symbols)

    def _capped(self, weights: Floats, view: View) -> Floats:
        if self.name_cap < 1:
            weights = np.clip(weights, -self.name_cap, self.name_cap)
        if self.gross < 1 or not self.in_slices:
            weights = weights * _factor(self.gross, total(np.abs(weights)))
        if self.cvar_cap:
            assert view.shortfall is not None
            long, short = (_last_known(one) for one in view.shortfall)
            loss = np.where(weights > 0, weights * long, 0.0)
            loss = loss - np.where(weights < 0, weights * short, 0.0)
            weights = weights * _factor(self.cvar_cap, total(loss))
        return weights

    def _width(self, target: Floats, view: View) -> Floats:
        moves = np.vstack([np.zeros((1, target.shape[1])), np.diff(target, axis=0) ** 2])
        mean = np.cumsum(moves, axis=0) / np.maximum(np.cumsum(view.known, axis=0), 1)
        deviation = _last_known(view.std)
        ratio = np.divide(mean, deviation**2, out=np.zeros_like(mean), where=deviation > 0)
        width = np.cbrt(1.5 * self.cost_bps / 1e4 / self._aversion * ratio)
        return np.asarray(np.minimum(width, _WIDEST))


def read_view(moments: pd.DataFrame) -> tuple[View, NDArray[np.datetime64], list[str]]:
    """Check moments and spread them: the view, its decision dates and its symbols."""
    missing = [name for name in MOMENTS if name not in moments.columns]
    if missing or moments.empty:
        what = f"lack the columns {missing}" if missing else "hold no rows"
        raise ConfigError(f"The moments {what}. They need {', '.join(MOMENTS)}.")
    shortfalls = all(name in moments.columns for name in SHORTFALLS)
    names = ["mean", "std", "prob_up", *(SHORTFALLS if shortfalls else ())]
    values = moments[names].to_numpy(dtype=np.float64)
    days = pd.DatetimeIndex(moments["cutoff"])
    bad = ~np.isfinite(values).all(axis=1) | (values[:, 1] <= 0) | days.isna()
    bad |= (values[:, 2] < 0) | (values[:, 2] > 1)
    if bad.any():
        worst = moments.iloc[int(np.argmax(bad))]
        raise ConfigError(
            f"The forecast of {worst['symbol']} at {worst['cutoff']} has mean {worst['mean']}, std "
            f"{worst['std']} and prob_up {worst['prob_up']}. It needs a cutoff, and all must be finite, "
            "std above 0 and prob_up in [0, 1]; repair the forecast or drop the row."
        )
    if (twice := moments.duplicated(["symbol", "cutoff"])).any():
        first = moments.loc[twice].iloc[0]
        raise ConfigError(
            f"{first['symbol']} has two forecasts for {first['cutoff']}. "
            "Each symbol needs one row per cutoff; drop the duplicates."
        )
    symbols = list(dict.fromkeys(moments["symbol"]))
    column = pd.Index(symbols).get_indexer(pd.Index(moments["symbol"]))
    dates, row = np.unique(days.to_numpy().astype("datetime64[s]"), return_inverse=True)
    wide = np.full((len(names), len(dates), len(symbols)), np.nan)
    wide[:, row, column] = values.T
    mean, std, prob_up = wide[:3]
    shortfall = (wide[3], wide[4]) if shortfalls else None
    return View(mean + std**2 / 2, std, prob_up, shortfall, np.isfinite(mean)), dates, symbols


def total(values: Floats) -> Floats:
    """Sum over symbols, (D, 1), NaN as 0; added one by one: a symbol yet to come changes no bit."""
    return np.asarray(np.nancumsum(values, axis=1)[:, -1:])


def _factor(most: float, found: Floats) -> Floats:
    """What shrinks `found` to `most`; 1 where it is not above."""
    return np.divide(most, found, out=np.ones_like(found), where=found > most)


def _last_known(values: Floats) -> Floats:
    """Carried forward where there is no forecast, 0 before the first."""
    return np.asarray(pd.DataFrame(values).ffill().fillna(0.0).to_numpy())


def _keep(position: Floats, known: NDArray[np.bool_]) -> Floats:
    """Carry the last known position for `FORECAST_PATIENCE` dates; 0 after them and before the first."""
    day = np.arange(len(known))[:, None]
    last = np.maximum.accumulate(np.where(known, day, -1), axis=0)
    kept = np.take_along_axis(position, np.maximum(last, 0), axis=0)
    return np.where((last >= 0) & (day - last <= FORECAST_PATIENCE), kept, 0.0)


def _hold(target: Floats, width: float | Floats) -> Floats:
    """Follow `target` lazily: move only to the nearer edge of the band; a target of 0 closes."""
    if isinstance(width, (int, float)) and width == 0:
        return target
    widths = np.broadcast_to(width, target.shape)
    held = np.zeros_like(target)
    last = np.zeros(target.shape[1])
    for row, goal in enumerate(target):
        last = np.where(goal == 0, 0.0, np.clip(last, goal - widths[row], goal + widths[row]))
        held[row] = last
    return held
