"""From forecasts to weights: what share of the money each symbol gets, decided at a close.

Owns what all policies share, the policies, one rule each, their combination, how one is made by name, and
the moments that they read: the *fill-to-fill* log return that a position will really hold, and what of
the forecast the overnight gap takes away. Knows nothing of prices, fills or costs beyond one rate: a weight
is dated by the close at which it is decided, and only `backtest` says when it is filled.

Every rule reads mean m, standard deviation s and probability of a rise p of that return. The expected
simple return is taken as μ = m + s²/2, the drift of a log-normal price.

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

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import ConfigError, check_parameters
from quantseq.forecasting.density import SIMPLE_BOUND
from quantseq.forecasting.forecasts import Forecasts, with_tokens
from quantseq.market.bars import Floats, Panel
from quantseq.market.calendars import YEAR
from quantseq.trading.backtest import prices
from quantseq.trading.costs import MOST_BPS, Costs, FillPrice

MOMENTS = ("symbol", "cutoff", "mean", "std", "prob_up")
SHORTFALLS = ("es_long", "es_short")  # columns that a CVaR cap needs; see `held_moments`
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
    # of a policy's own parameters; see `errors.check_parameters`
    bounds: ClassVar[Mapping[str, str]] = {}
    # whether `cap` bounds each position by its slice; else only the caps on weights do
    in_slices: ClassVar[bool] = True

    cap: float = 1.0  # largest position of a symbol, as a share of its 1/n of capital
    long_only: bool = True  # positions below 0 become 0
    band: float | Literal["cost"] = 0.0  # half width as a share of the slice, or derived from costs
    gross: float = 1.0  # largest sum of absolute weights
    name_cap: float = 1.0  # largest weight
    cvar_cap: float = 0.0  # largest 95 % expected shortfall a session, a share of equity; 0: none
    cost_bps: float = 5.0  # one way; what bands and thresholds are derived from

    def __post_init__(self) -> None:
        shared: dict[str, Any] = dict.fromkeys(("cap", "gross", "name_cap"), "(0, 1]")
        shared |= {"cvar_cap": "[0, 1)", "cost_bps": "[0, 10000]", "long_only": bool}
        if self.band != "cost":
            shared["band"] = '[0, 1) or "cost"'
        check_parameters(self, {**shared, **self.bounds})

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
    shortfalls = set(SHORTFALLS) <= set(moments.columns)
    names = [*MOMENTS[2:], *(SHORTFALLS if shortfalls else ())]
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


# ------------------------------------------------------------------------------ the policies


@dataclass(frozen=True, kw_only=True)
class FractionalKelly(Policy):
    """A fraction of the growth-optimal bet: position = fraction · μ / s², clipped to the cap.

    With μ = m + s²/2 this is the log-optimal share of one risky asset in continuous time. The full
    bet is optimal only when m and s are known; a fraction in (0, 1] pays for their estimation error.
    """

    name: ClassVar[str] = "kelly"
    formula: ClassVar[str] = "fraction · μ / s², of its slice"
    source: ClassVar[str] = "Kelly (1956); Merton (1969); MacLean, Thorp & Ziemba (2011)"
    bounds: ClassVar[Mapping[str, str]] = {"fraction": "(0, 1]"}

    fraction: float = 0.5
    band: float | Literal["cost"] = 0.1

    @property
    def _aversion(self) -> float:
        return 1 / self.fraction

    def _position(self, view: View) -> Floats:
        return self.fraction * view.mu / view.std**2


@dataclass(frozen=True, kw_only=True)
class MeanVariance(Policy):
    """Weights Σ⁻¹μ / γ over all symbols at once, shrunk to the caps: gross, name and CVaR.

    Σ has the forecast variances and one correlation ρ for every pair, so that its inverse is a closed
    form: with z = μ/s, w = (z − ρ·Σz / (1 + (n − 1)·ρ)) / ((1 − ρ)·γ·s). ``risk_aversion`` is γ;
    ``correlation`` is ρ, by default what is usual for daily returns of large stocks; ``cap`` is not used.
    """

    name: ClassVar[str] = "mean_variance"
    formula: ClassVar[str] = "Σ⁻¹μ / γ with one correlation ρ, shrunk to the caps"
    source: ClassVar[str] = "Markowitz (1952); Elton & Gruber (1973)"
    bounds: ClassVar[Mapping[str, str]] = {"risk_aversion": "[0.1, 100]", "correlation": "[0, 1)"}
    in_slices: ClassVar[bool] = False

    risk_aversion: float = 2.0
    correlation: float = 0.3
    band: float | Literal["cost"] = 0.1
    cvar_cap: float = 0.05

    @property
    def _aversion(self) -> float:
        return self.risk_aversion

    def _position(self, view: View) -> Floats:
        z, rho = view.mu / view.std, self.correlation
        count = view.known.sum(axis=1, keepdims=True)
        shared = rho * total(z) / (1 + (count - 1) * rho)
        weights = (z - shared) / ((1 - rho) * self.risk_aversion * view.std)
        return np.asarray(weights * view.seen)


@dataclass(frozen=True, kw_only=True)
class Sign(Policy):
    """All in or all out: the market-timing rule by which Merton values direction forecasts."""

    name: ClassVar[str] = "sign"
    formula: ClassVar[str] = "cap · sign(μ)"
    source: ClassVar[str] = "Merton (1981)"

    def _position(self, view: View) -> Floats:
        return self.cap * np.sign(view.mu)


@dataclass(frozen=True, kw_only=True)
class Probability(Policy):
    """Sure enough or not at all: a side is taken where its probability exceeds the threshold.

    Pesaran & Timmermann switch on the forecast's side; the threshold is Chow's rule of abstention.
    """

    name: ClassVar[str] = "probability"
    formula: ClassVar[str] = "cap where p > threshold, −cap where p < 1 − threshold, else 0"
    source: ClassVar[str] = "Pesaran & Timmermann (1995); Chow (1970)"
    bounds: ClassVar[Mapping[str, str]] = {"threshold": "[0.5, 1)"}

    threshold: float = 0.52

    def _position(self, view: View) -> Floats:
        up, down = view.prob_up > self.threshold, view.prob_up < 1 - self.threshold
        return self.cap * (up.astype(np.float64) - down)


@dataclass(frozen=True, kw_only=True)
class OverCost(Policy):
    """Only what pays for itself: the no-trade rule of a risk-neutral investor under costs.

    ``multiple`` round trips must be paid for by the expected return over ``holding`` sessions, with a
    forecast that lasts.
    """

    name: ClassVar[str] = "over_cost"
    formula: ClassVar[str] = "cap · sign(μ) where |μ|·holding > multiple · 2·cost, else 0"
    source: ClassVar[str] = "Constantinides (1986); Martin (2014)"
    bounds: ClassVar[Mapping[str, str]] = {"multiple": "(0, 100]", "holding": "[1, 252]"}

    multiple: float = 1.0
    holding: int = 5

    def _position(self, view: View) -> Floats:
        pays = np.abs(view.mu) * self.holding > self.multiple * 2 * self.cost_bps / 1e4
        return self.cap * np.sign(view.mu) * pays


@dataclass(frozen=True, kw_only=True)
class VolTarget(Policy):
    """Constant risk: each slice has the annualised volatility ``target``, by ``periods`` sessions a year.

    Long-only ignores μ: it is long always, and less of it when the forecast risk is high.
    """

    name: ClassVar[str] = "vol_target"
    formula: ClassVar[str] = "min(cap, target / (s·√periods)), with the sign of μ if not long-only"
    source: ClassVar[str] = "Moreira & Muir (2017); Harvey et al. (2018)"
    bounds: ClassVar[Mapping[str, str]] = {"target": "(0, 2]", "periods": "int [1, 366]"}

    target: float = 0.15
    periods: int = YEAR

    def _position(self, view: View) -> Floats:
        size = np.minimum(self.cap, self.target / (view.std * math.sqrt(self.periods)))
        return size if self.long_only else size * np.sign(view.mu)


@dataclass(frozen=True, kw_only=True)
class Rank(Policy):
    """Best against worst, as portfolios are sorted by past returns or by forecasts.

    Long and short sides have as many symbols each; long-only holds the top alone. Ties share their
    rank. One symbol alone has no rank and gets no position.
    """

    name: ClassVar[str] = "rank"
    formula: ClassVar[str] = "cap in the top share by μ/s, −cap in the bottom share, else 0"
    source: ClassVar[str] = "Jegadeesh & Titman (1993); Gu, Kelly & Xiu (2020)"
    bounds: ClassVar[Mapping[str, str]] = {"share": "(0, 0.5]"}

    share: float = 1 / 3
    long_only: bool = False

    def _position(self, view: View) -> Floats:
        place = pd.DataFrame(view.mu / view.std).rank(axis=1).to_numpy() - 0.5
        count = view.known.sum(axis=1, keepdims=True)
        near = self.share * count + 1e-9  # thirds are not exact in binary
        lone = count < 2
        top, bottom = (place >= count - near) & ~lone, (place <= near) & ~lone
        return np.asarray(self.cap * (top.astype(np.float64) - bottom))


@dataclass(frozen=True, kw_only=True)
class Blend(Policy):
    """Several policies at once: the mean of their positions, then one band and one set of caps.

    ``parts`` names two or more others, taken with their own defaults and this one's ``cap``,
    ``long_only``, ``cost_bps`` and ``periods``, sessions a year. Weights are equal, for estimated ones
    rarely beat them.
    """

    name: ClassVar[str] = "blend"
    formula: ClassVar[str] = "mean of the positions of its parts"
    source: ClassVar[str] = "Bates & Granger (1969); DeMiguel, Garlappi & Uppal (2009)"

    bounds: ClassVar[Mapping[str, str]] = {"periods": "int [1, 366]"}

    parts: tuple[str, ...] = ("kelly", "vol_target")
    periods: int = YEAR
    band: float | Literal["cost"] = "cost"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.parts, str) or len(tuple(self.parts)) < 2:
            raise ConfigError(
                f"The 'parts' parameter of Blend must name two or more policies. Got {self.parts!r}."
            )
        for part in self.parts:
            _known(part, [name for name in POLICIES if name != self.name], "Blend cannot take")
        object.__setattr__(self, "parts", tuple(self.parts))

    def _position(self, view: View) -> Floats:
        least, positions = 0.0 if self.long_only else -self.cap, []
        for policy in map(POLICIES.__getitem__, self.parts):
            shared = {"cap", "long_only", "cost_bps", "periods"} & {n.name for n in fields(policy)}
            part = policy(**{name: getattr(self, name) for name in shared})
            positions.append(part._position(view))
        return np.asarray(np.mean([np.clip(one, least, self.cap) for one in positions], axis=0))


_ALL = (FractionalKelly, MeanVariance, Sign, Probability, OverCost, VolTarget, Rank, Blend)
POLICIES: Mapping[str, type[Policy]] = {policy.name: policy for policy in _ALL}


def make_policy(name: str, *, costs: Costs | None = None, **params: Any) -> Policy:
    """Build a policy of `POLICIES` with its parameters; `costs` give ``cost_bps`` and ``periods`` where they do not.

    ConfigError if the name or a parameter is unknown (with the nearest known one), or a value breaks a rule.

    Examples
    --------
    >>> make_policy("kelly", fraction=0.25).name
    'kelly'
    """
    _known(name, POLICIES, "There is no policy")
    policy = POLICIES[name]
    known = [one.name for one in fields(policy)]
    for param in params:
        _known(param, known, f"Policy {name!r} has no parameter")
    if costs is not None:
        params.setdefault("cost_bps", min(costs.one_way_bps, MOST_BPS))
        if "periods" in known:
            params.setdefault("periods", costs.year)
    return policy(**params)


def other_policies(name: str, *, costs: Costs, **params: Any) -> dict[str, Policy]:
    """Every other policy with its own defaults, at the same costs, and short only if this one may be."""
    shared = {key: value for key, value in params.items() if key == "long_only"}
    return {other: make_policy(other, costs=costs, **shared) for other in POLICIES if other != name}


def changed(weights: pd.DataFrame) -> pd.DataFrame:
    """Where a decision differs from the one before: the `trade` mask that lets positions drift.

    Without it a weight which stays put still trades against every price move. The first decision counts as changed.
    """
    return weights.ne(weights.shift())


def _known(word: str, known: Iterable[str], otherwise: str) -> None:
    if word not in known:
        near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.5)
        question = f"; did you mean {near[0]!r}?" if near else "."
        raise ConfigError(f"{otherwise} {word!r}{question} Known: {', '.join(known)}.")


# ------------------------------------------------------------------------------ what is held

_TAIL = 0.05  # share of the outcomes that the expected shortfall averages over
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(8)
_ROWS = 20_000  # rows whose tails are integrated at once


def held_moments(
    forecasts: Forecasts, fill: FillPrice = "open", *, symbols: Sequence[str] = ()
) -> pd.DataFrame:
    """Moments and tails of the return that a position decided at the cutoff really holds.

    The columns of `Forecasts.fill_moments`, and es_long, es_short: minus the mean simple return of a long (short)
    position over its worst 5 %, never below 0; known at the close of cutoff. `symbols` are all of them, in whose
    order the rows come, and hence the columns of weights; else as forecast.

    The tails are those of step 1 (close: step 2) after the change of location and scale that P(up)
    takes too. ES = −(1/α)·∫₀^α (e^Q(u) − 1) du, by 8 Gauss nodes after u = α·x³, which tames the
    infinite quantile at 0 (Acerbi & Tasche, 2002); where bins of unlike probability meet inside the tail it is good
    to about 1 %. A log return counts as at most `density.SIMPLE_BOUND`: without a bound the loss of a short position
    is infinite under any Student-t.
    """
    table = forecasts.fill_moments(fill)
    base = 0 if fill == "open" else min(1, forecasts.horizon - 1)
    stretch = table["std"].to_numpy() / forecasts.std[:, base]
    shift = table["mean"].to_numpy() - stretch * forecasts.mean[:, base]
    x = (_NODES + 1) / 2
    below, weights = _TAIL * x**3, _NODE_WEIGHTS / 2 * 3 * x**2
    levels = np.concatenate([below, 1 - below])
    density, losses = with_tokens(forecasts.density), np.empty((2, len(forecasts)))
    for first in range(0, len(forecasts), _ROWS):
        rows, step = slice(first, first + _ROWS), slice(base, base + 1)
        whole = density.arrays()
        part = replace(density, **{name: one[rows, step] for name, one in whole.items()})
        moves = shift[rows, None] + stretch[rows, None] * part.quantile(levels)[:, 0]
        simple = np.expm1(np.minimum(moves, SIMPLE_BOUND))
        losses[0, rows] = -(simple[:, : len(x)] * weights).sum(axis=1)  # row by row: no bit moves
        losses[1, rows] = (simple[:, len(x) :] * weights).sum(axis=1)
    table["es_long"], table["es_short"] = np.maximum(losses, 0.0)
    if symbols:
        place = pd.Index(symbols).get_indexer(pd.Index(table["symbol"]))
        table = table.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)
    return table


def gap_loss(
    panel: Panel, weights: pd.DataFrame, forecasts: Forecasts, *, fill: FillPrice = "open"
) -> dict[str, float]:
    """How much of the first step was over before the position was filled; shares are NaN where nothing moved.

    ``of_forecast``: of the expected absolute move of step 1, by the overnight share of variance; ``move``: made by the
    weights over step 1, were they filled at the deciding close, before costs; ``before_fill``: the part of it before
    the fill; ``of_move``: its share.
    """
    expected = np.abs(forecasts.mean[:, 0])
    late = forecasts.overnight_share if fill == "open" else np.ones(len(forecasts))
    of_forecast = _share(float(late @ expected), float(expected.sum()))
    opened, close = prices(panel, [str(name) for name in weights.columns])
    decided = pd.DatetimeIndex(weights.index).to_numpy().astype("datetime64[D]")
    at = np.searchsorted(panel.sessions, decided)
    later = at + 1 < len(panel.sessions)
    at, held = at[later], weights.to_numpy()[later]
    whole = close[at + 1] / close[at] - 1
    before = opened[at + 1] / close[at] - 1 if fill == "open" else whole
    move, gap = (float((held * np.nan_to_num(one)).sum()) for one in (whole, before))  # NaN: no bar
    part = _share(gap, move)
    return {"of_forecast": of_forecast, "move": move, "before_fill": gap, "of_move": part}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
