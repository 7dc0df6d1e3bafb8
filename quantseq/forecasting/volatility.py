"""Causal scales: how large the next returns may be, known before they happen.

Owns the daily variance proxy, the features that volatility is forecast from, the pooled regression on them
(`HarModel`), and the choice among scales by name (`Scale`). Knows nothing of tokens, densities or networks.

One broken series (a price ten times too high, a price that never moves) must not set what is pooled: the proxy
is kept within bounds around its own recent average, market terms are medians over symbols, rows of stale
prices are not fitted, and residuals are weighed as Huber did.

Every array here is indexed by session, and the value at session i uses bars up to the close of i only: a scale
for the return of session i + h that stands at index i is known h sessions ahead. No scale is ever below
``sqrt(VARIANCE_FLOOR)``.

References
----------
.. [1] Garman, M. and Klass, M. (1980). On the estimation of security price volatilities from
   historical data. Journal of Business 53(1).
.. [2] Corsi, F. (2009). A simple approximate long-memory model of realized volatility. Journal of
   Financial Econometrics 7(2).
.. [3] J.P. Morgan/Reuters (1996). RiskMetrics technical document, 4th edition.
.. [4] Glosten, L., Jagannathan, R. and Runkle, D. (1993). On the relation between the expected value
   and the volatility of the nominal excess return on stocks. Journal of Finance 48(5).
.. [5] Huber, P. (1964). Robust estimation of a location parameter. Annals of Mathematical
   Statistics 35(1).
"""

import warnings
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import signal

from quantseq.errors import BarsError, ConfigError, NotEnoughDataError
from quantseq.market.bars import Bars, Dates, Floats, Panel
from quantseq.market.calendars import calendar_of, market_of

LONG_WINDOW = 120
"""Sessions of the longest HAR average: features exist from index ``LONG_WINDOW - 1`` on."""

WINDOWS = (1, 5, 22, LONG_WINDOW)
RISKMETRICS_DECAY = 0.94

BACKCAST = 75
"""Squared residuals whose weighted mean stands before the first session, as in ``arch``."""

VARIANCE_FLOOR = 1e-8
"""Smallest daily variance: a scale of 0.01 % a day."""

RELATIVE_FLOOR = 0.05
"""A day's variance proxy is at least this share of its own recent average."""

RELATIVE_CEILING = 20.0
"""And at most this multiple: a digit glitch is hundreds of times as large, a crash rarely so."""

LONGEST_STEP = 3
"""Days between daily bars, typically; weekly ones are further apart."""


def ewma(values: Floats, decay: float, start: float) -> Floats:
    """Exponentially weighted average of finite `values` (n,); the one at i includes ``values[i]``.

    `decay` is the weight of the past, `start` the average before the first value.
    """
    extended = pd.Series(np.concatenate([[start], values]))
    return extended.ewm(alpha=1 - decay, adjust=False).mean().to_numpy()[1:]


def daily_variance(bars: Bars) -> Floats:
    """Range-based variance of each session: overnight² + Garman-Klass [1]_, floored.

    Of adjusted bars, (n,), each known at its close. Where only closes are known (open = high = low =
    close) it becomes the squared close-to-close return by itself. A session without range or a stale
    price is lifted to `RELATIVE_FLOOR` of its recent average, a glitch cut to `RELATIVE_CEILING` times it.
    """
    open_, close = np.log(bars.open), np.log(bars.close)
    overnight = np.zeros(len(bars))
    overnight[1:] = open_[1:] - close[:-1]
    spread = np.log(bars.high / bars.low)
    klass = 0.5 * spread**2 - (2 * np.log(2) - 1) * (close - open_) ** 2
    raw = overnight**2 + np.maximum(klass, 0)
    floored = np.empty_like(raw)
    recent = max(float(raw[0]), 1e-4)
    for i, value in enumerate(raw.tolist()):
        kept = min(max(value, RELATIVE_FLOOR * recent, VARIANCE_FLOOR), RELATIVE_CEILING * recent)
        floored[i] = kept
        recent = RISKMETRICS_DECAY * recent + (1 - RISKMETRICS_DECAY) * kept
    return np.asarray(floored)


def ewma_scale(returns: Floats) -> Floats:
    """RiskMetrics volatility [3]_ for the next session, from log returns (n,), the first of them NaN.

    At index i: the scale of the return of session i + 1, known at the close of i; NaN at 0.
    """
    scale = np.full(len(returns), np.nan)
    if len(returns) > 1:
        squares = returns[1:] ** 2
        average = ewma(squares, RISKMETRICS_DECAY, float(squares[0]))
        scale[1:] = np.sqrt(np.maximum(average, VARIANCE_FLOOR))
    return scale


def backcast(residuals: Floats) -> float:
    """Weighted mean of the first `BACKCAST` squared residuals (n,): a variance for before them."""
    early = residuals[:BACKCAST]
    weights = RISKMETRICS_DECAY ** np.arange(len(early))
    return float(early**2 @ (weights / weights.sum()))


def gjr_variances(
    residuals: Floats, omega: float, alpha: float, gamma: float, beta: float, start: float
) -> Floats:
    """Variance of each session by the recursion of GJR-GARCH(1,1,1) [4]_, from residuals (n,): (n + 1,).

    ``σ²ₜ₊₁ = ω + (α + γ·[εₜ < 0])·εₜ² + β·σ²ₜ``, from `start`; GARCH(1,1) where γ = 0. Index i is known at
    the close of session i − 1; the last is that of the session to come.
    """
    news = omega + (alpha + gamma * (residuals < 0)) * residuals**2
    later, _ = signal.lfilter([1.0], [1.0, -beta], news, zi=[beta * start])
    return np.concatenate([[start], later])


def before(values: Floats) -> Floats:
    """What stood beside the session before: (n,), NaN first."""
    return np.concatenate([[np.nan], values[:-1]])


def variances_ahead(first: Floats, omega: float, persistence: float, horizon: int) -> Floats:
    """Variances (n, H) that a GARCH expects, from those of the next session (n,)."""
    columns = [first]
    for _ in range(1, horizon):
        columns.append(omega + persistence * columns[-1])
    return np.column_stack(columns)


def rolling_mean(values: Floats, window: int) -> Floats:
    """Mean of the last `window` values including the current one; NaN until there are enough."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means: Floats = np.full(len(values), np.nan)
    if len(values) >= window:
        means[window - 1 :] = (sums[window:] - sums[:-window]) / window
    return means


def median_over_symbols(parts: Mapping[str, tuple[Dates, Floats]]) -> tuple[Dates, Floats]:
    """Median of sessions and values per symbol: the union (D,) of the sessions, and values, NaN where nobody has one.

    One broken series among three or more does not move it. A symbol that appears later changes no bit of
    an earlier session.
    """
    if not parts:
        return np.array([], "datetime64[D]"), np.array([])
    columns = [pd.Series(values, sessions) for sessions, values in parts.values()]
    medians = pd.concat(columns, axis=1, sort=True).median(axis=1)
    return medians.index.to_numpy().astype("datetime64[D]"), medians.to_numpy()


def at_sessions(sessions: Dates, known: Dates, values: Floats, own: Floats) -> Floats:
    """The `values` (D,) of some `known` (D,) sessions at others (n,); `own` (n,) at those that are not among them."""
    if not len(known):
        return own
    place = np.minimum(np.searchsorted(known, sessions), len(known) - 1)
    return np.where(known[place] == sessions, values[place], own)


@dataclass(frozen=True)
class SymbolFeatures:
    """What one symbol shows at the close of each session; every array has n rows.

    ``har``, (n, F), are the intercept, the mean log variances of `WINDOWS`, the negative and the positive
    standardised return, and the market's log variance over 1 and 5 sessions; NaN before `LONG_WINDOW` - 1.
    """

    sessions: Dates
    returns: Floats  # log returns, NaN at 0
    overnight: Floats  # log return from the last close to the open, NaN at 0
    log_variance: Floats  # log of `daily_variance`
    har: Floats
    volume: Floats
    market: str  # what closes together, see `calendars.market_of`
    calendar: str | None  # of its exchange, None where nobody knows it

    @property
    def long_run(self) -> Floats:
        """Mean log variance of the last `LONG_WINDOW` sessions, (n,)."""
        long_run: Floats = self.har[:, len(WINDOWS)]
        return long_run


def features(panel: Panel, members: Container[str] | None = None) -> dict[str, SymbolFeatures]:
    """Compute every symbol's causal features.

    Market terms are medians over the `members` that close together (`calendars.market_of`), because only those have
    closed when a symbol closes; by default over all. On a session that no member traded, a symbol stands in for its
    market: no other symbol changes a bit of it. The bars are raw; BarsError if they are not daily.
    """
    for name, bars in panel.items():
        step = float(np.median(np.diff(bars.sessions).astype(np.int64))) if len(bars) > 1 else 1.0
        if step > LONGEST_STEP:
            raise BarsError(
                f"Only daily bars are forecast: those of {name} are typically {step:g} days apart, at "
                f"most {LONGEST_STEP} are. Fetch it with the interval 1d."
            )
    adjusted = panel.adjusted()
    markets: dict[str, list[str]] = {}
    for name, bars in adjusted.items():
        markets.setdefault(market_of(bars), []).append(name)
    result: dict[str, SymbolFeatures] = {}
    for names in markets.values():
        makers = [name for name in names if members is None or name in members]
        result |= _market_features(Panel(adjusted[name] for name in names), makers)
    return {name: result[name] for name in panel}


def _market_features(peers: Panel, makers: Sequence[str]) -> dict[str, SymbolFeatures]:
    """Features of adjusted bars that close together; `makers` of them make the market."""
    variances = {name: np.log(daily_variance(bars)) for name, bars in peers.items()}
    means = {
        name: {window: rolling_mean(values, window) for window in WINDOWS}
        for name, values in variances.items()
    }
    own = {name: variances[name] - means[name][LONG_WINDOW] for name in peers}
    known, excess = median_over_symbols(
        {name: (peers[name].sessions, own[name]) for name in makers}
    )
    week = _mean_of_known(excess, 5)
    result = {}
    for name, bars in peers.items():
        now = at_sessions(bars.sessions, known, excess, own[name])
        lately = at_sessions(bars.sessions, known, week, _mean_of_known(own[name], 5))
        returns = bars.log_returns()
        overnight = np.log(bars.open / before(bars.close))
        standardised = np.clip(returns / np.exp(means[name][22] / 2), -8, 8)
        base = means[name][LONG_WINDOW]
        har = np.column_stack(
            [
                np.ones(len(bars)),
                *means[name].values(),
                np.minimum(standardised, 0),
                np.maximum(standardised, 0),
                base + now,
                base + lately,
            ]
        )
        har[~np.isfinite(har).all(axis=1)] = np.nan
        parts = returns, overnight, variances[name], har, bars.volume
        keeps = market_of(bars), calendar_of(bars)
        result[name] = SymbolFeatures(bars.sessions, *parts, *keeps)
    return result


def _mean_of_known(values: Floats, window: int) -> Floats:
    """Mean of what is known of the last `window` values; NaN where nothing is."""
    known, nothing = np.isfinite(values), np.zeros(window - 1)
    total, share = (
        rolling_mean(np.concatenate([nothing, part]), window)[window - 1 :]
        for part in (np.where(known, values, 0.0), known.astype(float))
    )
    empty = np.full(len(values), np.nan)
    return np.asarray(np.divide(total, share, out=empty, where=share > 0))


def aligned_returns(returns: Floats, horizon: int) -> NDArray[np.float64]:
    """Future returns beside the session that would forecast them: (n, H).

    At row i, column h - 1: the return of session i + h; NaN past the end.
    """
    padded = np.concatenate([returns, np.full(horizon, np.nan)])
    return np.array(np.lib.stride_tricks.sliding_window_view(padded, horizon)[1:])


def has_ticks(returns: Floats) -> bool:
    """Whether the price moves by large ticks, from the log returns (n,) of training, the first of them NaN.

    It does where more than `TICKS` of them are exactly 0, but not where more than `THIN` are: that is a stale price.
    """
    return len(returns) > 1 and bool(TICKS < np.mean(returns[1:] == 0) <= THIN)


def tick_widths(returns: Floats) -> Floats:
    """What one tick is in log return, as seen at each close: (n,), NaN before the price has moved.

    A low quantile of the moves so far, as prices rarely move by less; two prices of a day are one tick apart or more.
    """
    moves = pd.Series(np.where(returns == 0, np.nan, np.abs(returns)))
    return moves.rolling(LONG_WINDOW, min_periods=1).quantile(ONE_TICK).to_numpy()


THIN = 0.5
"""Share of unchanged closes in `LONG_WINDOW` sessions beyond which a row is not fitted."""

TICKS = 0.05
"""Share of returns that are exactly 0 beyond which a price moves by large ticks."""

ONE_TICK = 0.05
"""Quantile of the moves of `LONG_WINDOW` sessions that is taken for one tick."""

HUBER = 2.0
"""Residuals beyond this many robust standard deviations count linearly, not quadratically."""

_MIN_ROWS = 100
_MAX_ROWS = 400_000
"""Rows of a pooled regression: fewer are refused; of more, every k-th is used."""


@dataclass(frozen=True)
class HarModel:
    """Pooled HAR [2]_ on the log of the range-based variance, one regression per step ahead.

    ``coefficients``, (F, H), are a Huber regression [5]_ over the symbols and sessions of the training block;
    ``rescale``, (H,), makes the typical symbol's standardised training return have unit variance.
    """

    coefficients: Floats
    rescale: Floats

    @classmethod
    def fit(cls, data: Mapping[str, SymbolFeatures], *, horizon: int) -> Self:
        """Fit on the rows whose features and targets lie inside `data`: whatever is in them is used.

        Rows of stale prices are left out, unless that leaves too few. NotEnoughDataError if fewer than
        `_MIN_ROWS` rows have both features and targets.
        """
        rows, targets, thick = [], [], []
        for one in data.values():
            usable = np.flatnonzero(np.isfinite(one.har).all(axis=1))
            usable = usable[usable + horizon < len(one.sessions)]
            unchanged = rolling_mean((one.returns == 0).astype(np.float64), LONG_WINDOW)
            thick.append(unchanged[usable] <= THIN)
            rows.append(one.har[usable])
            targets.append(one.log_variance[usable[:, None] + np.arange(1, horizon + 1)])
        x, y = np.concatenate(rows), np.concatenate(targets)
        if len(x) < _MIN_ROWS:
            raise NotEnoughDataError(
                f"The volatility model found {len(x)} usable sessions; it needs {_MIN_ROWS} after the first "
                f"{LONG_WINDOW} of each symbol. Give a longer history or an earlier start."
            )
        moving = np.concatenate(thick)
        if moving.sum() >= _MIN_ROWS:
            x, y = x[moving], y[moving]
        every = -(-len(x) // _MAX_ROWS)
        coefficients = _huber(x[::every], y[::every])
        plain = cls(coefficients, np.ones(horizon))
        energy = []
        for one in data.values():
            z = aligned_returns(one.returns, horizon) / plain.scale(one.har)
            if np.isfinite(z).any(axis=0).all():
                own = np.nanmean(np.clip(z, -8, 8) ** 2, axis=0)
                if (own > 0).all():  # a series that never moves says nothing of a unit variance
                    energy.append(own)
        return cls(coefficients, np.sqrt(np.median(energy or [plain.rescale], axis=0)))

    def scale(self, har: Floats) -> Floats:
        """Volatility (n, H) of the next H returns, from feature rows (n, F); NaN rows give NaN.

        At row i, column h - 1: the scale of the return of session i + h, known at the close of i.
        """
        return har_scale(har, self.coefficients, self.rescale)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from ``dataclasses.asdict`` as JSON."""
        return cls(np.array(state["coefficients"]), np.array(state["rescale"]))


def har_scale(rows: Floats, coefficients: Floats, rescale: Floats | float = 1.0) -> Floats:
    """Volatility (n, H) of a regression (F, H) on log variances, from feature rows (n, F)."""
    # Column by column: a matrix product may choose another kernel for another number of rows.
    log_variance = np.zeros((len(rows), coefficients.shape[1]))
    for feature in range(rows.shape[1]):
        log_variance += rows[:, feature, None] * coefficients[feature]
    scale = np.exp(np.clip(log_variance, -30, 5) / 2) * rescale
    return np.maximum(scale, np.sqrt(VARIANCE_FLOOR))


def _huber(x: Floats, y: Floats) -> Floats:
    """Regress every column of y on x by iteratively reweighted least squares: (F, H)."""
    coefficients: Floats = np.linalg.lstsq(x, y, rcond=None)[0].astype(np.float64)
    for step in range(y.shape[1]):
        for _ in range(5):
            residual = np.abs(y[:, step] - x @ coefficients[:, step])
            spread = 1.4826 * float(np.median(residual)) + 1e-12
            weighted = x * np.minimum(1, HUBER * spread / np.maximum(residual, 1e-12))[:, None]
            coefficients[:, step] = np.linalg.lstsq(
                weighted.T @ x, weighted.T @ y[:, step], rcond=1e-10
            )[0]
    return coefficients


MIN_OWN_ROWS = 500
"""Training sessions below which a symbol gets no parameters of its own."""

SCALES = ("har", "har-symbol", "ewma", "gjr")


@dataclass(frozen=True)
class Scale:
    """A fitted volatility, by its `kind` in `SCALES`.

    ``har`` is one regression for all symbols; ``har-symbol`` one per symbol with enough history, the pooled one
    for the others; ``ewma`` fits nothing; ``gjr`` is GJR-GARCH(1,1,1) [4]_ with Student-t errors per symbol, with
    the EWMA for symbols without a fit to trust. Parameters stay as they were fitted.
    """

    kind: str
    horizon: int
    models: Mapping[str, HarModel]  # under "" the pooled one; empty for ``ewma`` and ``gjr``
    garch: Mapping[str, tuple[float, ...]]  # ω, α, γ, β, and the variance before the first session

    @classmethod
    def fit(cls, kind: str, data: Mapping[str, SymbolFeatures], *, horizon: int) -> Self:
        """Fit on a training block; ConfigError if no scale has this name, NotEnoughDataError as `HarModel.fit`."""
        if kind not in SCALES:
            raise ConfigError(f"The volatility must be one of {', '.join(SCALES)}. Got {kind!r}.")
        models, garch = {}, {}
        for symbol, one in data.items():
            long = np.isfinite(one.har).all(axis=1).sum() >= MIN_OWN_ROWS
            if kind == "har-symbol" and long:
                with suppress(NotEnoughDataError):  # most of its prices are stale
                    models[symbol] = HarModel.fit({symbol: one}, horizon=horizon)
            if kind == "gjr" and (found := _fit_gjr(one.returns[1:])) is not None:
                garch[symbol] = found
        if kind.startswith("har"):
            models[""] = HarModel.fit(data, horizon=horizon)
        return cls(kind, horizon, models, garch)

    def scale(self, symbol: str, one: SymbolFeatures) -> Floats:
        """Volatility of each of the next H returns: (n, H), the row of session i known at its close.

        NaN before there is enough history.
        """
        if self.models:
            return self.models.get(symbol, self.models[""]).scale(one.har)
        if symbol not in self.garch:
            return np.repeat(ewma_scale(one.returns)[:, None], self.horizon, axis=1)
        omega, alpha, gamma, beta, start = self.garch[symbol]
        first = gjr_variances(one.returns[1:], omega, alpha, gamma, beta, start)
        first[0] = np.nan  # nothing is known at the first close
        variance = variances_ahead(first, omega, alpha + gamma / 2 + beta, self.horizon)
        return np.asarray(np.sqrt(np.maximum(variance, VARIANCE_FLOOR)))

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from ``dataclasses.asdict`` as JSON."""
        models = {symbol: HarModel.from_json(one) for symbol, one in state["models"].items()}
        garch = {symbol: tuple(one) for symbol, one in state["garch"].items()}
        return cls(state["kind"], state["horizon"], models, garch)


def fit_arch(returns: Floats, **kind: Any) -> tuple[float, dict[str, float]] | None:
    """Fit a GARCH of ``arch`` to one symbol's returns (n,), in units of their standard deviation.

    That unit, and the parameters by arch's names; None where there are fewer than `MIN_OWN_ROWS` returns, nothing
    moves, or the optimiser does not converge.
    """
    unit = float(returns.std()) if len(returns) else 0.0
    if len(returns) < MIN_OWN_ROWS or not unit > np.sqrt(VARIANCE_FLOOR):
        return None
    from arch import arch_model  # takes seconds to import, and only some choices need it

    model = arch_model(returns / unit, p=1, q=1, rescale=False, **kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the flag below says the same
        result = model.fit(disp="off", show_warning=False)
    found = {str(name): float(value) for name, value in result.params.items()}
    good = not result.convergence_flag and np.isfinite(list(found.values())).all()
    return (unit, found) if good else None


def _fit_gjr(returns: Floats) -> tuple[float, ...] | None:
    """GJR parameters of one symbol's returns (n,), None if there are none to trust."""
    fit = fit_arch(returns, mean="Zero", o=1, dist="t")
    if fit is None:
        return None
    unit, (omega, alpha, gamma, beta, _) = fit[0], fit[1].values()
    persistence = alpha + gamma / 2 + beta
    if persistence >= 1:
        return None
    start = omega * unit**2 + persistence * backcast(returns)
    return omega * unit**2, alpha, gamma, beta, start
