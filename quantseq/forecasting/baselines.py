"""The baselines: forecasters without a network, under the same protocol; whoever cannot beat them has no edge.

Owns every baseline but the GARCH family, and the registry that knows all of them by name. Each is a good
version of itself: causal, floored, with its distribution fitted on the training block. What those learn that are
told the same as the network is `plain_models`' business. Knows nothing of folds, scores or trades.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, cast

import numpy as np
from joblib import delayed
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from quantseq.errors import ConfigError, NotEnoughDataError, did_you_mean
from quantseq.forecasting.density import NORMAL_NU, Distribution, Quantiles, TokenDensity
from quantseq.forecasting.forecasts import Forecaster, keyed_uniforms, with_zeros
from quantseq.forecasting.garch import Egarch, Garch, GjrGarch, ScoreDriven
from quantseq.forecasting.plain_models import Learner, Perceptron, Stretch, Trees
from quantseq.forecasting.reference import (
    POOL,
    Reference,
    StepParameters,
    fit_reference,
    fit_student_t,
    reference_parameters,
)
from quantseq.forecasting.rows import Baseline, Rows
from quantseq.forecasting.volatility import (
    VARIANCE_FLOOR,
    aligned_returns,
    daily_variance,
    ewma_scale,
    har_scale,
    rolling_mean,
)
from quantseq.market.bars import Bars, Floats, Panel
from quantseq.progress import parallel

HISTORY = 20
"""Sessions of the historical volatility that most people use."""

_CLIP = 8.0
"""Standardised returns beyond this count as this in a fit, so that no glitch sets a scale or a mean."""


# ------------------------------------------------------------------------------ Student-t


@dataclass(frozen=True)
class StudentForecaster(Baseline):
    """A Student-t per symbol, cutoff and step; the steps of a path are independent draws.

    A draw is the quantile at a uniform number keyed to its row: two that agree draw the same, and what two models
    differ by is not drowned in the noise of their draws.
    """

    @abstractmethod
    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """Location, scale and ν at every session of every symbol, each known at its close."""

    def distribution(self, rows: Rows, horizon: int) -> TokenDensity:
        """See `Baseline.distribution`."""
        found = self.parameters(rows.panel, horizon)
        return TokenDensity.reference(
            *(
                rows.stack({symbol: getattr(one, name) for symbol, one in found.items()})
                for name in ("loc", "scale", "nu", "zero", "half_tick")
            )
        )

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Baseline.paths`."""
        shape = (num_paths, found.shape[1])
        draws = keyed_uniforms(seed, rows.symbols, rows.cutoffs, shape)
        whole = np.zeros(draws.shape, np.int64)
        paths = cast(TokenDensity, found).at_tokens(whole, draws.astype(np.float64))
        return with_zeros(paths, found, seed, rows.symbols, rows.cutoffs)


def _every_step(
    horizon: int, scale: Floats, nu: Floats | float, loc: Floats | float = 0.0
) -> StepParameters:
    """One t for every step, or each its own; scale (n, 1) or (n, H)."""
    shape = (len(scale), horizon)
    return StepParameters(*(np.broadcast_to(part, shape) for part in (loc, scale, nu, 0.0, 0.0)))


class HistoricalVolatility(StudentForecaster):
    """Normal with the standard deviation (around zero) of the last 20 returns, for every step."""

    name = "hist-vol"

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        squares = {symbol: np.nan_to_num(bars.log_returns()) ** 2 for symbol, bars in panel.items()}
        variances = {symbol: rolling_mean(one, HISTORY)[:, None] for symbol, one in squares.items()}
        return {
            symbol: _every_step(horizon, np.sqrt(np.maximum(one, VARIANCE_FLOOR)), NORMAL_NU)
            for symbol, one in variances.items()
        }


@dataclass(frozen=True)
class ReferenceForecaster(StudentForecaster):
    """The pooled-HAR Student-t reference itself, without a network."""

    name = "har-pooled-t"
    reference: Reference

    @classmethod
    def fit(cls, panel: Panel, reference: Reference, *, horizon: int, jobs: int = 1) -> Self:
        """See `Baseline.fit`."""
        return cls(panel.sessions[-1], reference.overnight_share, reference)

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        found = reference_parameters(self.reference, panel)
        return {symbol: one.first(horizon) for symbol, one in found.items()}

    def tokens(self, panel: Panel, horizon: int) -> dict[str, NDArray[np.intp]]:
        """Tokens (n, H) of the returns that follow each session, each under its own step's t."""
        found = self.parameters(panel, horizon)
        return {
            symbol: tokens(found[symbol].cdf(aligned_returns(bars.log_returns(), horizon)))
            for symbol, bars in panel.items()
        }


@dataclass(frozen=True)
class ToldTheSame(ReferenceForecaster):
    """The reference with its scale stretched by a model that is told what the network is told; see `plain_models`."""

    learner: ClassVar[type[Learner]]
    learned: Stretch

    @classmethod
    def fit(cls, panel: Panel, reference: Reference, *, horizon: int, jobs: int = 1) -> Self:
        """See `Baseline.fit`."""
        learned = Stretch.fit(panel, reference, kind=cls.learner, name=cls.name, jobs=jobs)
        return cls(panel.sessions[-1], reference.overnight_share, reference, learned)

    def distribution(self, rows: Rows, horizon: int) -> TokenDensity:
        """See `Baseline.distribution`."""
        plain = super().distribution(rows, horizon)
        data = self.reference.inputs(rows.panel)
        parts = (
            self.learned.at(one, rows.index[symbol], self.reference, horizon)
            for symbol, one in data.items()
        )
        return replace(plain, scale=plain.scale * np.exp(np.concatenate(list(parts))))

    def describe(self) -> dict[str, Any]:
        """How much of what was learned is believed at each step."""
        return {"kept": list(self.learned.kept)}


class BoostingStudent(ToldTheSame):
    """Boosted trees stretch the scale of the reference."""

    name = "boosting-t"
    learner = Trees


class PerceptronStudent(ToldTheSame):
    """A small perceptron stretches the scale of the reference."""

    name = "perceptron-t"
    learner = Perceptron


@dataclass(frozen=True)
class FittedStudent(StudentForecaster):
    """A Student-t with numbers fitted per symbol.

    `fits` are what `fit_symbol` found; under `POOL` the medians, for symbols without a fit of their own.
    """

    least = 0  # usable sessions that a fit needs
    fits: Mapping[str, Floats]

    @classmethod
    def beside(cls, panel: Panel) -> tuple[Bars, ...]:
        """What a fit reads beside a symbol's own bars."""
        return ()

    @classmethod
    @abstractmethod
    def fit_symbol(cls, bars: Bars, horizon: int, *beside: Bars) -> Floats | None:
        """The numbers of one symbol; None where it is too short or never moves."""

    @abstractmethod
    def follow(self, bars: Bars, fit: Floats, horizon: int, *beside: Bars) -> StepParameters:
        """Carry the numbers through later bars: the t at every session, known at its close."""

    @classmethod
    def fit(cls, panel: Panel, reference: Reference, *, horizon: int, jobs: int = 1) -> Self:
        """Fit every symbol by itself; NotEnoughDataError if none has a fit."""
        beside = cls.beside(panel)
        found = {symbol: cls.fit_symbol(bars, horizon, *beside) for symbol, bars in panel.items()}
        fits = {symbol: one for symbol, one in found.items() if one is not None}
        if not fits:
            since = "".join(f" beside {one.symbol} from {one.sessions[0]} on" for one in beside)
            raise NotEnoughDataError(
                f"No symbol among {', '.join(panel)} has {cls.least} sessions with moving prices{since} for "
                f"{cls.name}. Give a longer history, or leave this baseline out."
            )
        fits[POOL] = np.median(list(fits.values()), axis=0)
        return cls(panel.sessions[-1], reference.overnight_share, fits)

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        beside = self.beside(panel)
        return {
            symbol: self.follow(bars, self.fits.get(symbol, self.fits[POOL]), horizon, *beside)
            for symbol, bars in panel.items()
        }


class EwmaStudent(FittedStudent):
    """RiskMetrics volatility times a Student-t: degrees of freedom and scale (2,) per symbol."""

    name = "ewma-t"
    least = 2 * HISTORY + 1

    @classmethod
    def fit_symbol(cls, bars: Bars, horizon: int, *beside: Bars) -> Floats | None:
        """A t of next-day returns over their EWMA scale."""
        returns = bars.log_returns()
        z = (aligned_returns(returns, 1)[:, 0] / ewma_scale(returns))[HISTORY:-1]
        return np.array(fit_student_t(z)) if len(z) >= HISTORY and np.abs(z).max() > 0 else None

    def follow(self, bars: Bars, fit: Floats, horizon: int, *beside: Bars) -> StepParameters:
        """The same t for every step."""
        return _every_step(horizon, (ewma_scale(bars.log_returns()) * fit[1])[:, None], fit[0])


def _har_rows(bars: Bars, *beside: Bars) -> tuple[Floats, Floats, Floats]:
    """Features (n, 5), log variances (n,) and log returns (n,) of adjusted bars.

    One more feature is the log of each series `beside` them, as of its last session before.
    """
    log_variance = np.log(daily_variance(bars))
    means = [rolling_mean(log_variance, lag) for lag in (1, 5, 22)]
    returns = bars.log_returns()
    negative = np.minimum(np.clip(returns / np.exp(means[-1] / 2), -_CLIP, _CLIP), 0)
    columns = [np.ones(len(bars)), *means, negative]
    for one in beside:
        known = np.append(
            np.log(one.adj_close), np.nan
        )  # nothing is known before its first session
        columns.append(known[np.searchsorted(one.sessions, bars.sessions) - 1])
    return np.column_stack(columns), log_variance, returns


class HarRangeStudent(FittedStudent):
    """HAR (sources in `volatility`) on log daily range-based variance per symbol and step, times a Student-t.

    A symbol's numbers are (7, H): coefficients of the intercept, lags 1, 5 and 22 and the lagged negative
    standardised return; degrees of freedom; scale in units of σ.
    """

    name = "har-range-t"
    least = 250

    @classmethod
    def fit_symbol(cls, bars: Bars, horizon: int, *beside: Bars) -> Floats | None:
        """Least squares per step, then a t on the standardised returns."""
        x, log_variance, returns = _har_rows(bars.adjusted(), *beside)
        y, ahead = (aligned_returns(part, horizon) for part in (log_variance, returns))
        usable = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
        if usable.sum() < cls.least or not np.any(ahead[usable]):
            return None
        found = np.asarray(np.linalg.lstsq(x[usable], y[usable], rcond=None)[0], np.float64)
        z = np.clip(ahead[usable] / har_scale(x[usable], found), -_CLIP, _CLIP)
        shapes = np.array([fit_student_t(z[:, h]) for h in range(horizon)])
        return np.vstack([found, shapes.T])

    def follow(self, bars: Bars, fit: Floats, horizon: int, *beside: Bars) -> StepParameters:
        """The regression's σ at every session, times the t of each step."""
        *coefficients, nu, relative = fit[:, :horizon]
        x, _, _ = _har_rows(bars.adjusted(), *beside)
        scale = har_scale(x, np.array(coefficients)) * relative
        return _every_step(horizon, scale, nu)

    def describe(self) -> dict[str, Any]:
        """How many symbols have a regression of their own."""
        return {"own_fits": len(self.fits) - 1}


class HarX(HarRangeStudent):
    """The same regression with the log of the panel's covariate, such as the VIX, of the day before each session."""

    name = "har-x"
    needs_covariate = True

    @classmethod
    def beside(cls, panel: Panel) -> tuple[Bars, ...]:
        """The covariate; NotEnoughDataError if the panel has none."""
        if panel.covariate is None:
            raise NotEnoughDataError(
                f"{cls.name} reads a covariate such as ^VIX, and there is none. Give one with --covariate, or "
                "leave this baseline out."
            )
        return (panel.covariate,)


class Autoregression(FittedStudent):
    """AR(1) on returns per symbol, with EWMA volatility and a Student-t around its mean.

    Least squares on returns over their EWMA scale, so that stormy days do not decide. The mean of
    step h follows from the recursion; every step keeps the scale and shape of the first. A symbol's
    numbers are (4,): intercept, slope, degrees of freedom, scale in units of the EWMA.
    """

    name = "ar1"
    least = 250

    @classmethod
    def fit_symbol(cls, bars: Bars, horizon: int, *beside: Bars) -> Floats | None:
        """Least squares, then a t on what is left."""
        returns = bars.log_returns()
        scale = ewma_scale(returns)
        ahead = aligned_returns(returns, 1)[:, 0]
        rows = slice(HISTORY, len(bars) - 1)
        if len(bars) < cls.least + HISTORY or not np.any(ahead[rows]):
            return None
        x = np.column_stack([1 / scale[rows], np.clip(returns[rows] / scale[rows], -_CLIP, _CLIP)])
        y = ahead[rows] / scale[rows]
        found = np.linalg.lstsq(x, np.clip(y, -_CLIP, _CLIP), rcond=None)[0]
        found[1] = np.clip(found[1], -0.9, 0.9)
        return np.array([*found, *fit_student_t(y - x @ found)])

    def follow(self, bars: Bars, fit: Floats, horizon: int, *beside: Bars) -> StepParameters:
        """The mean of each step by the recursion."""
        intercept, slope, nu, relative = fit
        scale = ewma_scale(bars.log_returns()) * relative
        means = [np.clip(bars.log_returns(), -_CLIP * scale, _CLIP * scale)]
        for _ in range(horizon):
            means.append(intercept + slope * means[-1])
        return _every_step(horizon, scale[:, None], nu, np.column_stack(means[1:]))


# ------------------------------------------------------------------------------ tokens

BASELINE_BINS = 24
"""Equal bins of the reference's probability integral transform."""

PRIOR = 50.0
"""Tokens that uniform probabilities are worth: pseudo-counts per row of a table."""


def tokens(levels: Floats) -> NDArray[np.intp]:
    """Bins 0..V−1 of levels in [0, 1]; −1 where unknown."""
    bins = np.minimum(np.nan_to_num(levels) * BASELINE_BINS, BASELINE_BINS - 1).astype(np.intp)
    return np.where(np.isfinite(levels), bins, -1)


def _draw(probs: Floats, uniforms: NDArray[np.floating]) -> NDArray[np.intp]:
    """Tokens with the given probabilities (V,), by inversion."""
    return np.asarray(np.searchsorted(np.cumsum(probs)[:-1], uniforms, side="right"), np.intp)


@dataclass(frozen=True)
class TokenBaseline(ReferenceForecaster):
    """Tokens, which are bins of the reference, as often as they were counted in the training block."""

    table: Floats  # (R, V), rows of probabilities, the prior in them

    @classmethod
    def fit(cls, panel: Panel, reference: Reference, *, horizon: int, jobs: int = 1) -> Self:
        """See `Baseline.fit`."""
        plain = ReferenceForecaster.fit(panel, reference, horizon=horizon)
        padded = cls._count(list(plain.tokens(panel, horizon).values())) + PRIOR / BASELINE_BINS
        table = padded / padded.sum(axis=-1, keepdims=True)
        return cls(plain.trained_until, plain.overnight_share, reference, table)

    @classmethod
    @abstractmethod
    def _count(cls, found: list[NDArray[np.intp]]) -> Floats:
        """Counts (R, V) of each symbol's tokens (n, H)."""

    @abstractmethod
    def _probs(self, rows: Rows, horizon: int) -> Floats:
        """Marginal probabilities of each step, (M, H, V) or (H, V)."""

    @abstractmethod
    def _walk(self, rows: Rows, draws: NDArray[np.floating]) -> NDArray[np.intp]:
        """Tokens of paths from uniform draws, (M, N, H) both."""

    def distribution(self, rows: Rows, horizon: int) -> TokenDensity:
        """See `Baseline.distribution`."""
        plain = super().distribution(rows, horizon)
        probs = np.broadcast_to(self._probs(rows, horizon), (*plain.shape, BASELINE_BINS))
        return replace(plain, probs=probs)

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Baseline.paths`: a uniform place inside each bin."""
        shape = (2, num_paths, found.shape[1])
        draws = keyed_uniforms(seed, rows.symbols, rows.cutoffs, shape)
        paths = cast(TokenDensity, found).at_tokens(self._walk(rows, draws[:, 0]), draws[:, 1])
        return with_zeros(paths, found, seed, rows.symbols, rows.cutoffs)


class Unigram(TokenBaseline):
    """Each step's token as often as it came: a row of the table per step, independent draws."""

    name = "unigram"

    @classmethod
    def _count(cls, found: list[NDArray[np.intp]]) -> Floats:
        steps = np.concatenate(found).T
        return np.array([np.bincount(t[t >= 0], minlength=BASELINE_BINS) for t in steps], float)

    def _probs(self, rows: Rows, horizon: int) -> Floats:
        return self.table[:horizon]

    def _walk(self, rows: Rows, draws: NDArray[np.floating]) -> NDArray[np.intp]:
        steps = range(draws.shape[2])
        return np.stack([_draw(self.table[step], draws[..., step]) for step in steps], axis=-1)


class Markov(TokenBaseline):
    """The next token given the last one, a row of the table each: a chain of order 1.

    The last token is that of the cutoff's own return under the reference of the session before, the last
    row for an unknown one; step h takes the h-th power of the table, and paths walk through it.
    """

    name = "markov"

    @classmethod
    def _count(cls, found: list[NDArray[np.intp]]) -> Floats:
        counts = np.zeros((BASELINE_BINS + 1, BASELINE_BINS))
        for one in found:
            last, following = one[:-1, 0], one[1:, 0]
            known = (last >= 0) & (following >= 0)
            np.add.at(counts, (last[known], following[known]), 1.0)
        counts[-1] = counts[:-1].sum(axis=0)
        return counts

    def _last_tokens(self, rows: Rows) -> NDArray[np.intp]:
        """Token of each row's newest return, −1 (the table's last row) where it has none."""
        found = self.tokens(rows.panel, 1)
        return np.concatenate([np.r_[-1, t[:-1, 0]][rows.index[s]] for s, t in found.items()])

    def _probs(self, rows: Rows, horizon: int) -> Floats:
        tables = [self.table]
        for _ in range(horizon - 1):
            tables.append(tables[-1] @ self.table[:-1])
        return np.stack(tables, axis=1)[self._last_tokens(rows)]

    def _walk(self, rows: Rows, draws: NDArray[np.floating]) -> NDArray[np.intp]:
        bins = np.empty(draws.shape, np.intp)
        last = np.repeat(self._last_tokens(rows)[:, None], draws.shape[1], axis=1)
        for step in range(draws.shape[2]):
            for token in np.unique(last):
                mine = last == token
                bins[mine, step] = _draw(self.table[token], draws[..., step][mine])
            last = bins[..., step]
        return bins


# ------------------------------------------------------------------------------ quantiles

BOOTSTRAP_WINDOW = 500
"""Returns that may come again: two years, or as many as there are."""

BOOTSTRAP_LEVELS = tuple(((np.arange(200) + 0.5) / 200).tolist())
"""Levels at which the sorted returns are kept."""


def trailing_quantiles(returns: Floats, places: np.ndarray) -> Floats:
    """Quantiles at `BOOTSTRAP_LEVELS` of the last `BOOTSTRAP_WINDOW` returns up to each place: (m, Q).

    Of log returns (n,), the first of them NaN, at places (m,) of at least 1; sorted values are joined by
    straight lines (Hazen's rule).
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
        several = ((bars.log_returns(), rows.index[symbol]) for symbol, bars in rows.panel.items())
        values = np.concatenate([trailing_quantiles(*one) for one in several])
        every = np.broadcast_to(values[:, None], (len(values), horizon, len(BOOTSTRAP_LEVELS)))
        return Quantiles(every, BOOTSTRAP_LEVELS)

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Baseline.paths`."""
        horizon = found.shape[1]
        draws = keyed_uniforms(seed, rows.symbols, rows.cutoffs, (num_paths,))
        result = np.empty((len(draws), num_paths, horizon))
        for symbol, bars in rows.panel.items():
            mine, places = rows.symbols == symbol, rows.index[symbol][:, None]
            window = np.minimum(places, BOOTSTRAP_WINDOW)
            count = window - horizon + 1  # runs that end by the cutoff
            begun = np.floor(draws[mine].astype(np.float64) * count).astype(np.intp)
            begin = places - window + 1 + begun
            result[mine] = bars.log_returns()[begin[..., None] + np.arange(horizon)]
        return result


BOOSTED_LEVELS = (0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.995)
"""Quantiles that are fitted: both ends of every interval that is scored."""

_MIN_BOOSTING_ROWS = 500
_MAX_BOOSTING_ROWS = 60_000
"""Training rows, evenly spaced over what there is."""


def _boosting_inputs(bars: Bars) -> tuple[Floats, Floats]:
    """Features (n, 9) at the close of each session of adjusted bars, and the EWMA scale (n,)."""
    returns = bars.log_returns()
    scale = ewma_scale(returns)
    log_variance = np.log(daily_variance(bars))
    level = 2 * np.log(scale)
    z = np.clip(returns / scale, -_CLIP, _CLIP)
    variances = [rolling_mean(log_variance, window) - level for window in (1, 5, 22, 120)]
    means = [rolling_mean(np.nan_to_num(z), window) for window in (5, 22)]
    return np.column_stack([*variances, level, z, np.abs(z), *means]), scale


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
    """Boosted quantiles of the standardised return: a regressor per level of `BOOSTED_LEVELS`."""

    name = "boosting"
    models: tuple[Any, ...]

    @classmethod
    def fit(cls, panel: Panel, reference: Reference, *, horizon: int, jobs: int = 1) -> Self:
        """Fit every level; each training row stands for one step, in turn.

        NotEnoughDataError if fewer than `_MIN_BOOSTING_ROWS` rows have features and targets.
        """
        rows, targets = [], []
        for bars in panel.adjusted().values():
            own, scale = _boosting_inputs(bars)
            z = aligned_returns(bars.log_returns(), horizon) / scale[:, None]
            usable = np.flatnonzero(np.isfinite(own).all(axis=1) & np.isfinite(z).all(axis=1))
            step = np.arange(len(usable)) % horizon
            rows.append(np.column_stack([own[usable], step + 1]))
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
        models = tuple(parallel(jobs)(tasks))
        return cls(panel.sessions[-1], reference.overnight_share, models)

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


BASELINES: Mapping[str, type[Baseline]] = {
    kind.name: kind
    for kind in (
        HistoricalVolatility,
        Bootstrap,
        EwmaStudent,
        Garch,
        GjrGarch,
        Egarch,
        ScoreDriven,
        HarRangeStudent,
        HarX,
        ReferenceForecaster,
        Autoregression,
        Unigram,
        Markov,
        Boosting,
        BoostingStudent,
        PerceptronStudent,
    )
}
"""From the simplest to the heaviest idea; tables keep this order."""


def fit_baseline(name: str, panel: Panel, *, horizon: int, jobs: int = 1) -> Forecaster:
    """Fit a baseline of `BASELINES` on a training block: all of `panel`, and nothing after it.

    The numbers are the same for any number of processes.
    """
    reference = fit_reference(panel, horizon=horizon)
    return BASELINES[name].fit(panel, reference, horizon=horizon, jobs=jobs)


def choose_baselines(names: str | Sequence[str], *, covariate: bool = True) -> tuple[str, ...]:
    """Names of baselines: ``all``, ``none``, or some, comma-separated or as a sequence.

    ``all`` leaves out those that need a `covariate` where there is none. Our own reference is always among them: skill
    is measured against it. ConfigError if a name is unknown (with the nearest known one), if there is none, or if
    ``all`` or ``none`` has names beside it.
    """
    given = names.split(",") if isinstance(names, str) else names
    asked = [name.strip() for name in given if name.strip()]
    if not asked:
        raise ConfigError(
            f"No baseline is named. Give all, none, or some of: {', '.join(BASELINES)}."
        )
    for name in asked:
        if name not in (*BASELINES, "all", "none"):
            hint = did_you_mean(name, BASELINES)
            raise ConfigError(f"Unknown baseline {name!r}. {hint} 'all' and 'none' are names too.")
        if name in ("all", "none") and len(asked) > 1:
            raise ConfigError(
                f"{name!r} stands alone. Got {', '.join(asked)}: leave {name!r} or the others out."
            )
    chosen: Sequence[str] = (*asked, ReferenceForecaster.name)
    if asked == ["all"]:
        chosen = [name for name, kind in BASELINES.items() if covariate or not kind.needs_covariate]
    return tuple(name for name in BASELINES if name in chosen)
