"""The baselines: forecasters without a network, under the same protocol; whoever cannot beat them has no edge.

Owns every baseline but the GARCH family, and the registry that knows all of them by name. Each is a good
version of itself: causal, floored, with its distribution fitted on the training block. Knows nothing of
folds, scores or trades.

References
----------
.. [1] Corsi, F. (2009). A simple approximate long-memory model of realized volatility. Journal of
   Financial Econometrics 7(2).
.. [2] J.P. Morgan/Reuters (1996). RiskMetrics technical document, 4th edition.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Self, cast

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.forecasting.density import NORMAL_NU, Distribution, TokenDensity
from quantseq.forecasting.distributions import Quantiles
from quantseq.forecasting.forecasts import Forecaster, keyed_generators, keyed_uniforms
from quantseq.forecasting.garch import Garch, GjrGarch
from quantseq.forecasting.reference import POOL, Reference, StepParameters, fit_student_t
from quantseq.forecasting.rows import Baseline, Rows
from quantseq.forecasting.volatility import (
    VARIANCE_FLOOR,
    aligned_returns,
    daily_variance,
    ewma_scale,
    features,
    rolling_mean,
)
from quantseq.market.bars import Bars, Floats, Panel

HISTORY = 20
"""Sessions of the historical volatility that most people use."""


def _historical_scale(bars: Bars) -> Floats:
    squares = np.nan_to_num(bars.log_returns()) ** 2
    return np.sqrt(np.maximum(rolling_mean(squares, HISTORY), VARIANCE_FLOOR))


@dataclass(frozen=True)
class StudentForecaster(Baseline):
    """A Student-t per symbol, cutoff and step; the steps of a path are independent draws."""

    @abstractmethod
    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """Location, scale and ν at every session of every symbol, each known at its close."""

    def distribution(self, rows: Rows, horizon: int) -> TokenDensity:
        """See `Baseline.distribution`."""
        found = self.parameters(rows.panel, horizon)
        return TokenDensity.reference(
            *(
                rows.stack({symbol: getattr(one, name) for symbol, one in found.items()})
                for name in ("loc", "scale", "nu")
            )
        )

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Baseline.paths`."""
        density = cast(TokenDensity, found)
        draws = np.empty((len(rows.symbols), num_paths, density.shape[1]))
        generators = keyed_generators(seed, rows.symbols, rows.cutoffs)
        for row, generator in enumerate(generators):
            draws[row] = generator.standard_t(density.nu[row], draws.shape[1:])
        return np.asarray(density.loc[:, None] + density.scale[:, None] * draws)


def every_step(scale: Floats, nu: float, horizon: int) -> StepParameters:
    """The same centred t for every step."""
    repeated = np.repeat(scale[:, None], horizon, axis=1)
    return StepParameters(np.zeros_like(repeated), repeated, np.full_like(repeated, nu))


class HistoricalVolatility(StudentForecaster):
    """Normal with the standard deviation (around zero) of the last 20 returns, for every step."""

    name = "hist-vol"

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        return {
            symbol: every_step(_historical_scale(bars), NORMAL_NU, horizon)
            for symbol, bars in panel.items()
        }


@dataclass(frozen=True)
class EwmaStudent(StudentForecaster):
    """RiskMetrics volatility times a Student-t fitted per symbol on train.

    Parameters
    ----------
    shapes : mapping of symbol to (2,) float64
        Degrees of freedom and scale; under `POOL` the medians.
    """

    name = "ewma-t"
    shapes: Mapping[str, Floats]

    @classmethod
    def fit(cls, panel: Panel, overnight_share: Mapping[str, float]) -> Self:
        """Fit a t per symbol to next-day returns over their EWMA scale.

        Raises
        ------
        NotEnoughDataError
            If no symbol is long enough, or none ever moves.
        """
        shapes = {}
        for symbol, bars in panel.items():
            z = (aligned_returns(bars.log_returns(), 1)[:, 0] / ewma_scale(bars))[HISTORY:-1]
            if len(z) >= HISTORY and np.abs(z).max() > 0:
                shapes[symbol] = np.array(fit_student_t(z))
        if not shapes:
            raise NotEnoughDataError(
                f"No symbol among {', '.join(panel)} has {2 * HISTORY + 1} sessions with moving prices. "
                "Give a longer history or other symbols."
            )
        shapes[POOL] = np.median(list(shapes.values()), axis=0)
        return cls(panel.sessions[-1], overnight_share, shapes)

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        result = {}
        for symbol, bars in panel.items():
            nu, relative = self.shapes.get(symbol, self.shapes[POOL])
            result[symbol] = every_step(ewma_scale(bars) * relative, float(nu), horizon)
        return result


@dataclass(frozen=True)
class ReferenceForecaster(StudentForecaster):
    """The pooled-HAR Student-t reference itself, without a network."""

    name = "har-pooled-t"
    reference: Reference

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        return {
            symbol: self.reference.parameters(symbol, one).first(horizon)
            for symbol, one in features(panel).items()
        }


BOOTSTRAP_WINDOW = 500
"""Returns that may come again: two years, or as many as there are."""

BOOTSTRAP_LEVELS = tuple(((np.arange(200) + 0.5) / 200).tolist())
"""Levels at which the sorted returns are kept."""


def trailing_quantiles(returns: Floats, places: np.ndarray) -> Floats:
    """Quantiles at `BOOTSTRAP_LEVELS` of the last `BOOTSTRAP_WINDOW` returns up to each place: (m, Q).

    Parameters
    ----------
    returns : (n,) float64
        The first is NaN: before it there is no close.
    places : (m,) int
        Each at least 1; sorted values are joined by straight lines (Hazen's rule).
    """
    levels, result = np.array(BOOTSTRAP_LEVELS), np.empty((len(places), len(BOOTSTRAP_LEVELS)))
    full = places >= BOOTSTRAP_WINDOW
    if full.any():
        windows = np.lib.stride_tricks.sliding_window_view(returns, BOOTSTRAP_WINDOW)
        ordered = np.sort(windows[places[full] - BOOTSTRAP_WINDOW + 1], axis=1)
        place = np.clip(levels * BOOTSTRAP_WINDOW - 0.5, 0, BOOTSTRAP_WINDOW - 1)
        low = np.minimum(place.astype(np.intp), BOOTSTRAP_WINDOW - 2)
        share = place - low
        result[full] = (1 - share) * ordered[:, low] + share * ordered[:, low + 1]
    for row in np.flatnonzero(~full):
        result[row] = np.quantile(returns[1 : places[row] + 1], levels, method="hazen")
    return np.maximum.accumulate(result, axis=1)


@dataclass(frozen=True)
class Bootstrap(Baseline):
    """The empirical distribution of the last `BOOTSTRAP_WINDOW` returns, the same for every step.

    It has no density, hence no log score. A path is a run of H returns that once followed each
    other, its start drawn with equal probabilities, so that sums keep the dependence of old days.
    """

    name = "bootstrap"

    def distribution(self, rows: Rows, horizon: int) -> Quantiles:
        """See `Baseline.distribution`."""
        values = np.concatenate(
            [
                trailing_quantiles(bars.log_returns(), rows.index[symbol])
                for symbol, bars in rows.panel.items()
            ]
        )
        every = np.broadcast_to(values[:, None], (len(values), horizon, len(BOOTSTRAP_LEVELS)))
        return Quantiles(every, BOOTSTRAP_LEVELS)

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Baseline.paths`."""
        horizon = found.shape[1]
        draws = keyed_uniforms(seed, rows.symbols, rows.cutoffs, (num_paths,))
        result, start = np.empty((len(draws), num_paths, horizon)), 0
        for symbol, bars in rows.panel.items():
            places = rows.index[symbol]
            mine = draws[start : start + len(places)].astype(np.float64)
            count = (
                np.minimum(places, BOOTSTRAP_WINDOW) - horizon + 1
            )  # runs that end by the cutoff
            first = places - np.minimum(places, BOOTSTRAP_WINDOW) + 1
            begin = first[:, None] + np.floor(mine * count[:, None]).astype(np.intp)
            returns = bars.log_returns()
            result[start : start + len(places)] = returns[begin[..., None] + np.arange(horizon)]
            start += len(places)
        return result


_HAR_LAGS = (1, 5, 22)
_MIN_HAR_ROWS = 250
"""Training sessions below which a symbol takes the pooled regression."""

_CLIP = 8.0
"""Standardised returns beyond this count as this, so that no glitch sets a scale."""


def _har_rows(bars: Bars) -> tuple[Floats, Floats, Floats]:
    """Features (n, 5), log variances (n,) and log returns (n,) of adjusted bars."""
    log_variance = np.log(daily_variance(bars))
    means = [rolling_mean(log_variance, lag) for lag in _HAR_LAGS]
    returns = bars.log_returns()
    negative = np.minimum(np.clip(returns / np.exp(means[-1] / 2), -_CLIP, _CLIP), 0)
    return np.column_stack([np.ones(len(bars)), *means, negative]), log_variance, returns


def _har_scale(rows: Floats, coefficients: Floats) -> Floats:
    """Volatility (n, H) of features (n, 5); added column by column, so that rows stay alone."""
    log_variance = np.zeros((len(rows), coefficients.shape[1]))
    for feature in range(rows.shape[1]):
        log_variance += rows[:, feature, None] * coefficients[feature]
    return np.maximum(np.exp(np.clip(log_variance, -30, 5) / 2), np.sqrt(VARIANCE_FLOOR))


@dataclass(frozen=True)
class HarRangeStudent(StudentForecaster):
    """HAR [1]_ on log daily range-based variance per symbol and step, times a Student-t.

    Parameters
    ----------
    coefficients : mapping of symbol to (5, H) float64
        Intercept, lags 1, 5 and 22, lagged negative standardised return; under `POOL` the medians.
    shapes : mapping of symbol to (H, 2) float64
        Degrees of freedom and scale in units of σ; under `POOL` the medians.
    """

    name = "har-range-t"
    coefficients: Mapping[str, Floats]
    shapes: Mapping[str, Floats]

    @classmethod
    def fit(cls, panel: Panel, overnight_share: Mapping[str, float], *, horizon: int) -> Self:
        """Least squares per symbol and step, then a t on the standardised returns.

        A symbol with fewer than `_MIN_HAR_ROWS` usable sessions, or that never moves, takes the pooled
        medians.

        Raises
        ------
        NotEnoughDataError
            If no symbol is long enough.
        """
        coefficients: dict[str, Floats] = {}
        shapes: dict[str, Floats] = {}
        for symbol, bars in panel.adjusted().items():
            x, log_variance, returns = _har_rows(bars)
            y, ahead = (aligned_returns(part, horizon) for part in (log_variance, returns))
            usable = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
            if usable.sum() < _MIN_HAR_ROWS or not np.any(ahead[usable]):
                continue
            found = np.asarray(np.linalg.lstsq(x[usable], y[usable], rcond=None)[0], np.float64)
            z = np.clip(ahead[usable] / _har_scale(x[usable], found), -_CLIP, _CLIP)
            coefficients[symbol] = found
            shapes[symbol] = np.array([fit_student_t(z[:, h]) for h in range(horizon)])
        if not shapes:
            raise NotEnoughDataError(
                f"No symbol among {', '.join(panel)} has {_MIN_HAR_ROWS} sessions for har-range-t. "
                "Give a longer history, or leave this baseline out."
            )
        for fitted in (coefficients, shapes):
            fitted[POOL] = np.median(list(fitted.values()), axis=0)
        return cls(panel.sessions[-1], overnight_share, coefficients, shapes)

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        result = {}
        for symbol, bars in panel.adjusted().items():
            own = symbol if symbol in self.shapes else POOL
            nu, relative = self.shapes[own][:horizon].T
            scale = _har_scale(_har_rows(bars)[0], self.coefficients[own][:, :horizon]) * relative
            result[symbol] = StepParameters(
                np.zeros_like(scale), scale, np.broadcast_to(nu, scale.shape)
            )
        return result

    def describe(self) -> dict[str, Any]:
        """How many symbols have a regression of their own."""
        return {"own_fits": len(self.shapes) - 1}


_MIN_AR_ROWS = 250
"""Training sessions below which a symbol takes the pooled medians."""

_CLIP = 8.0
"""Standardised returns beyond this count as this when the mean is fitted."""


@dataclass(frozen=True)
class Autoregression(StudentForecaster):
    """AR(1) on returns per symbol, with EWMA volatility and a Student-t around its mean.

    Least squares on returns over their EWMA scale, so that stormy days do not decide. The mean of
    step h follows from the recursion; every step keeps the scale and shape of the first.

    Parameters
    ----------
    fits : mapping of symbol to (4,) float64
        Intercept, slope, degrees of freedom, scale in units of the EWMA; under `POOL` the medians.
    """

    name = "ar1"
    fits: Mapping[str, Floats]

    @classmethod
    def fit(cls, panel: Panel, overnight_share: Mapping[str, float]) -> Self:
        """Fit each symbol of at least `_MIN_AR_ROWS` sessions that moves.

        Raises
        ------
        NotEnoughDataError
            If there is none.
        """
        fits = {}
        for symbol, bars in panel.items():
            returns, scale = bars.log_returns(), ewma_scale(bars)
            ahead = aligned_returns(returns, 1)[:, 0]
            rows = slice(HISTORY, len(bars) - 1)
            if len(bars) < _MIN_AR_ROWS + HISTORY or not np.any(ahead[rows]):
                continue
            x = np.column_stack(
                [1 / scale[rows], np.clip(returns[rows] / scale[rows], -_CLIP, _CLIP)]
            )
            y = ahead[rows] / scale[rows]
            found = np.linalg.lstsq(x, np.clip(y, -_CLIP, _CLIP), rcond=None)[0]
            found[1] = np.clip(found[1], -0.9, 0.9)
            fits[symbol] = np.array([*found, *fit_student_t(y - x @ found)])
        if not fits:
            raise NotEnoughDataError(
                f"No symbol among {', '.join(panel)} has {_MIN_AR_ROWS} moving sessions for ar1. "
                "Give a longer history, or leave this baseline out."
            )
        fits[POOL] = np.median(list(fits.values()), axis=0)
        return cls(panel.sessions[-1], overnight_share, fits)

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        result = {}
        for symbol, bars in panel.items():
            intercept, slope, nu, relative = self.fits.get(symbol, self.fits[POOL])
            scale = ewma_scale(bars) * relative
            loc = np.empty((len(bars), horizon))
            mean = np.clip(bars.log_returns(), -_CLIP * scale, _CLIP * scale)
            for step in range(horizon):
                mean = intercept + slope * mean
                loc[:, step] = mean
            every = np.repeat(scale[:, None], horizon, axis=1)
            result[symbol] = StepParameters(loc, every, np.full_like(every, nu))
        return result


BASELINE_BINS = 24
"""Equal bins of the reference's probability integral transform."""

PRIOR = 50.0
"""Tokens that uniform probabilities are worth: pseudo-counts per row of a table."""


def tokens(levels: Floats) -> NDArray[np.intp]:
    """Bins 0..V−1 of levels in [0, 1]; −1 where unknown."""
    bins = np.minimum(np.nan_to_num(levels) * BASELINE_BINS, BASELINE_BINS - 1).astype(np.intp)
    return np.where(np.isfinite(levels), bins, -1)


def _step_tokens(
    reference: ReferenceForecaster, panel: Panel, horizon: int
) -> dict[str, NDArray[np.intp]]:
    """Tokens (n, H) of the returns that follow each session, each under its own step's reference."""
    found = reference.parameters(panel, horizon)
    return {
        symbol: tokens(found[symbol].cdf(aligned_returns(bars.log_returns(), horizon)))
        for symbol, bars in panel.items()
    }


def _draw(probs: Floats, uniforms: NDArray[np.floating]) -> NDArray[np.intp]:
    """Tokens with the given probabilities (V,), by inversion."""
    return np.asarray(np.searchsorted(np.cumsum(probs)[:-1], uniforms, side="right"), np.intp)


def _shares(counts: Floats) -> Floats:
    """Counts (..., V) with the prior as probabilities."""
    padded = counts + PRIOR / BASELINE_BINS
    return np.asarray(padded / padded.sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class Unigram(Baseline):
    """Each step's token as often as it came in the training block.

    Parameters
    ----------
    reference : ReferenceForecaster
        The measure that tokens are bins of.
    probs : (H, V) float64
    """

    name = "unigram"
    reference: ReferenceForecaster
    probs: Floats

    @classmethod
    def fit(cls, panel: Panel, reference: ReferenceForecaster, *, horizon: int) -> Self:
        """Count the tokens of the training block."""
        found = np.concatenate(list(_step_tokens(reference, panel, horizon).values()))
        counts = [np.bincount(t[t >= 0], minlength=BASELINE_BINS) for t in found.T]
        return cls(
            reference.trained_until, reference.overnight_share, reference, _shares(np.array(counts))
        )

    def distribution(self, rows: Rows, horizon: int) -> TokenDensity:
        """See `Baseline.distribution`."""
        plain = self.reference.distribution(rows, horizon)
        probs = np.broadcast_to(self.probs[:horizon], (*plain.shape, BASELINE_BINS))
        return TokenDensity(plain.loc, plain.scale, plain.nu, probs)

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Baseline.paths`: independent tokens, and a uniform place inside each bin."""
        density = cast(TokenDensity, found)
        shape = (2, num_paths, density.shape[1])
        draws = keyed_uniforms(seed, rows.symbols, rows.cutoffs, shape)
        bins = [_draw(self.probs[step], draws[:, 0, :, step]) for step in range(density.shape[1])]
        return density.at_tokens(np.stack(bins, axis=-1), draws[:, 1])


@dataclass(frozen=True)
class Markov(Baseline):
    """The next token given the last one: a chain of order 1.

    The last token is that of the cutoff's own return under the reference of the session before;
    step h takes the h-th power of the table, and paths walk through it.

    Parameters
    ----------
    reference : ReferenceForecaster
        The measure that tokens are bins of.
    table : (V + 1, V) float64
        Probabilities of the next token; the last row is for an unknown last token.
    """

    name = "markov"
    reference: ReferenceForecaster
    table: Floats

    @classmethod
    def fit(cls, panel: Panel, reference: ReferenceForecaster) -> Self:
        """Count the pairs of neighbouring tokens of the training block."""
        counts = np.zeros((BASELINE_BINS + 1, BASELINE_BINS))
        for found in _step_tokens(reference, panel, 1).values():
            last, following = found[:-1, 0], found[1:, 0]
            known = (last >= 0) & (following >= 0)
            np.add.at(counts, (last[known], following[known]), 1.0)
        counts[-1] = counts[:-1].sum(axis=0)
        return cls(reference.trained_until, reference.overnight_share, reference, _shares(counts))

    def _last_tokens(self, rows: Rows) -> NDArray[np.intp]:
        """Token of each row's newest return, −1 (the table's last row) where it has none."""
        found = _step_tokens(self.reference, rows.panel, 1)
        shifted = {s: np.concatenate([[-1], t[:-1, 0]]) for s, t in found.items()}
        return np.concatenate([shifted[s][rows.index[s]] for s in rows.panel])

    def distribution(self, rows: Rows, horizon: int) -> TokenDensity:
        """See `Baseline.distribution`."""
        plain = self.reference.distribution(rows, horizon)
        tables = [self.table]
        for _ in range(horizon - 1):
            tables.append(tables[-1] @ self.table[:-1])
        probs = np.stack(tables, axis=1)[self._last_tokens(rows)]
        return TokenDensity(plain.loc, plain.scale, plain.nu, probs)

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Baseline.paths`."""
        density = cast(TokenDensity, found)
        horizon = density.shape[1]
        draws = keyed_uniforms(seed, rows.symbols, rows.cutoffs, (2, num_paths, horizon))
        bins = np.empty((len(draws), num_paths, horizon), np.intp)
        last = np.repeat(self._last_tokens(rows)[:, None], num_paths, axis=1)
        for step in range(horizon):
            for token in np.unique(last):
                mine = last == token
                bins[mine, step] = _draw(self.table[token], draws[:, 0, :, step][mine])
            last = bins[..., step]
        return density.at_tokens(bins, draws[:, 1])


BOOSTED_LEVELS = (0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.995)
"""Quantiles that are fitted: both ends of every interval that is scored."""

_MAX_BOOSTING_ROWS = 60_000
"""Training rows, evenly spaced over what there is."""

_MIN_BOOSTING_ROWS = 500
_CLIP = 8.0
"""Standardised returns beyond this count as this, among features and targets."""


def _boosting_inputs(bars: Bars) -> tuple[Floats, Floats]:
    """Features (n, 9) at the close of each session of adjusted bars, and the EWMA scale (n,)."""
    scale, returns = ewma_scale(bars), bars.log_returns()
    log_variance = np.log(daily_variance(bars))
    level = 2 * np.log(scale)
    z = np.clip(returns / scale, -_CLIP, _CLIP)
    week = rolling_mean(np.nan_to_num(z), 5)
    columns = [
        *(rolling_mean(log_variance, window) - level for window in (1, 5, 22, 120)),
        level,
        z,
        np.abs(z),
        week,
        rolling_mean(np.nan_to_num(z), 22),
    ]
    return np.column_stack(columns), scale


def _fit_level(level: float, x: Floats, y: Floats) -> Any:
    model = HistGradientBoostingRegressor(
        loss="quantile",
        quantile=level,
        learning_rate=0.06,
        max_iter=min(120, 20 + len(y) // 600),  # little data cannot bear many trees
        max_leaf_nodes=12,
        min_samples_leaf=300,
        l2_regularization=10.0,
        early_stopping=False,
        random_state=0,
    )
    with threadpool_limits(1):
        return model.fit(x, y)


@dataclass(frozen=True)
class Boosting(Baseline):
    """Boosted quantiles of the standardised return.

    Parameters
    ----------
    models : tuple
        One regressor per level of `BOOSTED_LEVELS`.
    horizon : int
        Steps that were fitted.
    """

    name = "boosting"
    models: tuple[Any, ...]
    horizon: int

    @classmethod
    def fit(cls, panel: Panel, overnight_share: Any, *, horizon: int, jobs: int = 1) -> Self:
        """Fit every level; each training row stands for one step, in turn.

        Raises
        ------
        NotEnoughDataError
            If fewer than `_MIN_BOOSTING_ROWS` rows have features and targets.
        """
        rows, targets = [], []
        for bars in panel.adjusted().values():
            features, scale = _boosting_inputs(bars)
            z = aligned_returns(bars.log_returns(), horizon) / scale[:, None]
            usable = np.flatnonzero(np.isfinite(features).all(axis=1) & np.isfinite(z).all(axis=1))
            step = np.arange(len(usable)) % horizon
            rows.append(np.column_stack([features[usable], step + 1]))
            targets.append(np.clip(z[usable, step], -_CLIP, _CLIP))
        x, y = np.concatenate(rows), np.concatenate(targets)
        if len(x) < _MIN_BOOSTING_ROWS:
            raise NotEnoughDataError(
                f"boosting found {len(x)} usable sessions; it needs {_MIN_BOOSTING_ROWS}. Give a longer "
                "history or more symbols, or leave this baseline out."
            )
        chosen = np.linspace(0, len(x) - 1, min(len(x), _MAX_BOOSTING_ROWS)).astype(np.intp)
        x, y = x[chosen], y[chosen]
        tasks = (delayed(_fit_level)(level, x, y) for level in BOOSTED_LEVELS)
        models = Parallel(n_jobs=jobs)(tasks)
        return cls(panel.sessions[-1], overnight_share, tuple(models), horizon)

    def distribution(self, rows: Rows, horizon: int) -> Quantiles:
        """See `Baseline.distribution`; quantiles that cross are put in order."""
        found = {symbol: _boosting_inputs(bars) for symbol, bars in rows.panel.adjusted().items()}
        x = rows.stack({symbol: one[0] for symbol, one in found.items()})
        scale = rows.stack({symbol: one[1] for symbol, one in found.items()})
        values = np.empty((len(x), horizon, len(BOOSTED_LEVELS)))
        with threadpool_limits(1):
            for step in range(horizon):
                stepped = np.column_stack([x, np.full(len(x), step + 1)])
                for number, model in enumerate(self.models):
                    values[:, step, number] = model.predict(stepped)
        return Quantiles(np.sort(values, axis=-1) * scale[:, None, None], BOOSTED_LEVELS)

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Baseline.paths`: the steps are independent draws from their quantile functions."""
        shape = (num_paths, found.shape[1])
        draws = keyed_uniforms(seed, rows.symbols, rows.cutoffs, shape)
        return cast(Quantiles, found).at(draws)


_Fitter = Callable[[Panel, ReferenceForecaster, int, int], Forecaster]

BASELINES: Mapping[str, _Fitter] = {
    HistoricalVolatility.name: lambda p, r, h, j: HistoricalVolatility(
        r.trained_until, r.overnight_share
    ),
    Bootstrap.name: lambda p, r, h, j: Bootstrap(r.trained_until, r.overnight_share),
    EwmaStudent.name: lambda p, r, h, j: EwmaStudent.fit(p, r.overnight_share),
    Garch.name: lambda p, r, h, j: Garch.fit(p, r.overnight_share, horizon=h, jobs=j),
    GjrGarch.name: lambda p, r, h, j: GjrGarch.fit(p, r.overnight_share, horizon=h, jobs=j),
    HarRangeStudent.name: lambda p, r, h, j: HarRangeStudent.fit(p, r.overnight_share, horizon=h),
    ReferenceForecaster.name: lambda p, r, h, j: r,
    Autoregression.name: lambda p, r, h, j: Autoregression.fit(p, r.overnight_share),
    Unigram.name: lambda p, r, h, j: Unigram.fit(p, r, horizon=h),
    Markov.name: lambda p, r, h, j: Markov.fit(p, r),
    Boosting.name: lambda p, r, h, j: Boosting.fit(p, r.overnight_share, horizon=h, jobs=j),
}
"""How each is fitted to a training panel, given the fitted reference, the horizon and the processes; from the
simplest to the heaviest idea. Tables keep this order."""


def fit_baseline(name: str, panel: Panel, *, horizon: int, jobs: int = 1) -> Forecaster:
    """Fit a baseline of `BASELINES` on a training block: all of `panel`, and nothing after it.

    The numbers are the same for any number of processes.
    """
    found = Reference.fit(panel, horizon=horizon)
    reference = ReferenceForecaster(panel.sessions[-1], found.overnight_share, found)
    return BASELINES[name](panel, reference, horizon, jobs)


def choose_baselines(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names of baselines: ``all``, ``none``, or some, comma-separated or as a sequence.

    Our own reference is always among them: skill is measured against it.

    Raises
    ------
    ConfigError
        If a name is unknown, with the nearest known one, if there is none, or if ``all`` or ``none``
        has names beside it.
    """
    given = names.split(",") if isinstance(names, str) else list(names)
    asked = {name.strip(): None for name in given if name.strip()}
    if not asked:
        raise ConfigError(
            f"No baseline is named. Give all, none, or some of: {', '.join(BASELINES)}."
        )
    for name in asked:
        if name not in (*BASELINES, "all", "none"):
            near = get_close_matches(name, BASELINES, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(BASELINES)}."
            raise ConfigError(f"Unknown baseline {name!r}. {hint} 'all' and 'none' are names too.")
    for word, meant in (("all", tuple(BASELINES)), ("none", ())):
        if word in asked:
            if len(asked) > 1:
                raise ConfigError(
                    f"{word!r} stands alone. Got {', '.join(asked)}: leave {word!r} or the others out."
                )
            asked = dict.fromkeys(meant)
    return tuple(name for name in BASELINES if name in asked or name == ReferenceForecaster.name)
