"""The GARCH family: fitted per symbol on the training block, filtered through later bars.

Owns `Garch`: GARCH(1,1) with Student-t [1]_, GJR-GARCH(1,1,1) with Hansen's skewed t, EGARCH(1,1,1) [2]_ and
the score-driven t [3]_, a constant mean in all. The parameters stay as they were fitted; the variance
recursion runs causally over every later session. ``arch`` fits, and the recursions here equal its
fixed-parameter filters (tested); it has no score-driven model, which is fitted here.

The first step is the model itself. Later steps are no t: their scale is the model's own variance
forecast, and their shape is fitted, per symbol and step, to the training returns over that scale. Where
the recursion is in logs, that forecast is the exponential of the expected log variance: under a t the variance
itself has no finite expectation in EGARCH. Paths are simulated from the recursion, so that their sums carry the clustering.

References
----------
.. [1] Bollerslev, T. (1987). A conditionally heteroskedastic time series model for speculative
   prices and rates of return. Review of Economics and Statistics 69(3).
.. [2] Nelson, D. (1991). Conditional heteroskedasticity in asset returns: a new approach. Econometrica 59(2).
.. [3] Harvey, A. (2013). Dynamic models for volatility and heavy tails. Cambridge University Press: the
   Beta-t-EGARCH with leverage, which is the GAS model for the log scale of a t of Creal, D., Koopman, S. and Lucas,
   A. (2013). Generalized autoregressive score models with applications. Journal of Applied Econometrics 28(5).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self, cast

import numpy as np
from arch.univariate import SkewStudent
from joblib import delayed
from scipy import optimize
from threadpoolctl import threadpool_limits

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.density import (
    MIN_NU,
    Distribution,
    SkewT,
    t_log_density,
    t_partial_mean,
)
from quantseq.forecasting.forecasts import keyed_generators
from quantseq.forecasting.reference import MAX_NU, POOL, Reference, fit_student_t
from quantseq.forecasting.rows import MIN_HISTORY, Baseline, Rows
from quantseq.forecasting.volatility import (
    MIN_OWN_ROWS,
    VARIANCE_FLOOR,
    aligned_returns,
    backcast,
    fit_arch,
    gjr_variances,
    variances_ahead,
)
from quantseq.market.bars import Floats, Panel
from quantseq.progress import parallel

_SIGMA_FLOOR = 0.1
"""σ is never less than this share of the symbol's own standard deviation: prices may be stale."""

_SIGMA_CEILING = 10.0
"""And in logs never more: there a glitch would explode."""

_MAX_SKEW = 0.95
_NORMAL_SIZE = math.sqrt(2 / math.pi)
"""Mean absolute value of a standard normal: what EGARCH subtracts, whatever its errors are."""


@dataclass(frozen=True, eq=False)
class GarchFit:
    """Parameters of one symbol, in units of its training standard deviation."""

    unit: float  # that deviation
    mean: float
    omega: float
    alpha: float
    gamma: float  # weighs squared negative residuals
    beta: float
    shapes: Floats  # (H, 3), degrees of freedom, skew and scale in units of σ, per step

    @classmethod
    def estimate(cls, returns: Floats, *, skewed: bool) -> tuple[float, dict[str, float]] | None:
        """Unit and parameters by the names of ``arch`` from one symbol's returns (n,); see `fit_arch`."""
        return fit_arch(returns, mean="Constant", o=int(skewed), dist="skewt" if skewed else "t")

    @property
    def persistence(self) -> float:
        """Share of a variance shock that is left a day later."""
        nu, skew, _ = self.shapes[0]
        downside = float(SkewStudent().partial_moment(2, 0.0, [nu, skew])) if skew else 0.5
        return self.alpha + self.gamma * downside + self.beta

    @property
    def explodes(self) -> bool:
        """Whether no forecast should rest on it."""
        return self.persistence > 1.001 or self.omega <= 0

    def start(self, residuals: Floats) -> float:
        """The variance of the session after the first, in units²."""
        before = backcast(residuals[1:])
        return self.omega + (self.alpha + self.gamma / 2 + self.beta) * before

    def residuals(self, returns: Floats) -> Floats:
        """Residuals (n,) in units; the first session has none and counts as 0."""
        return np.concatenate([[0.0], returns[1:] / self.unit - self.mean])

    def variances(self, residuals: Floats) -> Floats:
        """σ² (n,) of each next session in units², known at the close of its index.

        The recursion starts from the `backcast` of the first residuals: values before that index
        are not causal, and no row that is forecast stands there (`MIN_HISTORY`).
        """
        news = self.omega, self.alpha, self.gamma, self.beta
        found = gjr_variances(residuals[1:], *news, self.start(residuals))
        return np.asarray(np.maximum(found, self.floor), np.float64)

    @property
    def floor(self) -> float:
        """The least variance, in units²."""
        return max(_SIGMA_FLOOR**2, VARIANCE_FLOOR / self.unit**2)

    def sigma(self, residuals: Floats, horizon: int) -> Floats:
        """σ expected of steps 1..H (n, H) in units, known at the close of its index."""
        first = self.variances(residuals)
        return np.sqrt(variances_ahead(first, self.omega, self.persistence, horizon))

    def after(self, variance: Floats, residual: Floats) -> Floats:
        """The next session's variance, from a session's own and its residual."""
        news = (self.alpha + self.gamma * (residual < 0)) * residual**2
        return np.asarray(self.omega + news + self.beta * variance)


@dataclass(frozen=True, eq=False)
class EgarchFit(GarchFit):
    """EGARCH(1,1,1): the log of σ² follows ``ω + β·ln σ² + α·(|z| − √(2/π)) + γ·z``, as in ``arch``."""

    @classmethod
    def estimate(cls, returns: Floats, *, skewed: bool) -> tuple[float, dict[str, float]] | None:
        """See `GarchFit.estimate`."""
        return fit_arch(returns, mean="Constant", vol="EGARCH", o=1, dist="t")

    @property
    def explodes(self) -> bool:
        """See `GarchFit.explodes`."""
        return not 0 <= self.beta < 1

    def news(self) -> Callable[[Any], Any]:
        """What a standardised residual, a float or several, adds to the log of the next variance."""
        alpha, gamma = self.alpha, self.gamma
        return lambda z: alpha * (abs(z) - _NORMAL_SIZE) + gamma * z

    def mean_news(self) -> float:
        """Its expectation."""
        nu = self.shapes[:1, 0]
        size = -2 * t_partial_mean(np.zeros(1), nu) * np.sqrt((nu - 2) / nu)
        return self.alpha * (float(size[0]) - _NORMAL_SIZE)

    def start(self, residuals: Floats) -> float:
        """See `GarchFit.start`."""
        before = max(backcast(residuals[1:]), self.floor)
        return math.exp(self.omega + self.beta * math.log(before))

    def variances(self, residuals: Floats) -> Floats:
        """See `GarchFit.variances`; within floor and ceiling at every session."""
        low, high = math.log(self.floor), 2 * math.log(_SIGMA_CEILING)
        level = min(max(math.log(self.start(residuals)), low), high)
        levels, news, exp, omega, beta = [level], self.news(), math.exp, self.omega, self.beta
        for residual in residuals[1:].tolist():
            level = omega + beta * level + news(residual * exp(-level / 2))
            level = low if level < low else high if level > high else level
            levels.append(level)
        return np.exp(levels)

    def sigma(self, residuals: Floats, horizon: int) -> Floats:
        """See `GarchFit.sigma`; the root of the exponential of the expected log variance."""
        first = np.log(self.variances(residuals))
        return np.exp(variances_ahead(first, self.omega + self.mean_news(), self.beta, horizon) / 2)

    def after(self, variance: Floats, residual: Floats) -> Floats:
        """See `GarchFit.after`."""
        news = self.news()(residual / np.sqrt(variance))
        found = np.exp(self.omega + self.beta * np.log(variance) + news)
        return np.asarray(np.clip(found, self.floor, _SIGMA_CEILING**2))


@dataclass(frozen=True, eq=False)
class ScoreFit(EgarchFit):
    """The score-driven t: the log of σ² follows ``ω + β·ln σ² + α·u + γ·sgn(−z)·(u + 1)``.

    u is twice the slope of the log density of z in ln σ², see `inputs.score_of_scale`: bounded, so that no glitch
    moves σ far.
    """

    @classmethod
    def estimate(cls, returns: Floats, *, skewed: bool) -> tuple[float, dict[str, float]] | None:
        """See `GarchFit.estimate`; by maximum likelihood."""
        unit = float(returns.std()) if len(returns) else 0.0
        if len(returns) < MIN_OWN_ROWS or not unit > np.sqrt(VARIANCE_FLOOR):
            return None
        padded = np.concatenate([[np.nan], returns])

        def unpack(x: Floats) -> ScoreFit:
            mean, level, alpha, gamma, beta, log_nu = x.tolist()
            shapes = np.array([[math.exp(log_nu), 0.0, 1.0]])
            return cls(unit, mean, level * (1 - beta), alpha, gamma, beta, shapes)

        def loss(x: Floats) -> float:
            one = unpack(x)
            nu, residuals = one.shapes[:1, 0], one.residuals(padded)
            scale = np.sqrt(one.variances(residuals)[:-1] * (nu - 2) / nu)
            return -float(np.mean(t_log_density(residuals[1:] / scale, nu) - np.log(scale)))

        bounds = [(-1, 1), (-4, 4), (0, 0.5), (-0.2, 0.5), (0.5, 0.9995)]
        bounds.append((math.log(MIN_NU), math.log(MAX_NU)))
        first = [returns.mean() / unit, -0.2, 0.05, 0.02, 0.98, math.log(6)]
        found = optimize.minimize(loss, first, method="L-BFGS-B", bounds=bounds)
        if not found.success:
            return None
        one = unpack(found.x)
        names = ("mu", "omega", "alpha[1]", "gamma[1]", "beta[1]", "nu")
        values = one.mean, one.omega, one.alpha, one.gamma, one.beta, float(one.shapes[0, 0])
        return unit, dict(zip(names, values, strict=True))

    def news(self) -> Callable[[Any], Any]:
        """See `EgarchFit.news`."""
        alpha, gamma, nu = self.alpha, self.gamma, float(self.shapes[0, 0])

        def news(z: Any) -> Any:
            share = (nu + 1) * z * z / (nu - 2 + z * z)  # u + 1
            return alpha * (share - 1) + gamma * (1 - 2 * (z > 0)) * share

        return news

    def mean_news(self) -> float:
        """Zero, as of any score."""
        return 0.0


def _fit_skew_t(z: Floats, start: Floats) -> Floats:
    """Maximum-likelihood degrees of freedom, skew and scale of returns with mean 0: (3,)."""

    def unpack(x: Floats) -> Floats:
        nu = np.clip(np.exp(x[0]), MIN_NU, MAX_NU)
        return np.array([nu, _MAX_SKEW * np.tanh(x[1]), np.exp(x[2])])

    def loss(x: Floats) -> float:
        nu, skew, scale = unpack(x)
        one = SkewT(*(np.array([[value]]) for value in (0.0, scale, nu, skew)))
        return -float(one.log_density(z[:, None]).mean())

    first = [np.log(start[0]), np.arctanh(start[1] / _MAX_SKEW), np.log(start[2])]
    return unpack(optimize.minimize(loss, first, method="BFGS", options={"gtol": 1e-4}).x)


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]  # sums split alike anywhere
def fit_garch(
    returns: Floats, *, family: type[GarchFit] = GarchFit, skewed: bool = False, horizon: int
) -> GarchFit | None:
    """Fit one symbol's log returns (n,), the first of them NaN.

    None where there are fewer than `MIN_OWN_ROWS` sessions, nothing moves, the optimiser does not
    converge, or the variance would explode.
    """
    fit = family.estimate(returns[1:], skewed=skewed)
    if fit is None:
        return None
    unit, p = fit
    nu = float(np.clip(p["eta" if skewed else "nu"], MIN_NU, MAX_NU))
    skew = float(np.clip(p.get("lambda", 0.0), -_MAX_SKEW, _MAX_SKEW))
    shapes = np.tile([nu, skew, 1.0], (horizon, 1))
    news = p["omega"], p["alpha[1]"], p.get("gamma[1]", 0.0), p["beta[1]"]
    found = family(unit, p["mu"], *news, shapes)
    if found.explodes:
        return None
    residuals = found.residuals(returns)
    z = aligned_returns(residuals, horizon) / found.sigma(residuals, horizon)
    z = z[np.isfinite(z).all(axis=1)]
    for step in range(1, horizon):
        if skewed:
            shapes[step] = _fit_skew_t(z[:, step], shapes[step - 1])
        else:
            own, scale = fit_student_t(z[:, step])
            shapes[step] = own, 0.0, scale * np.sqrt(own / (own - 2))
    return found


def _borrow(pooled: GarchFit, returns: Floats) -> GarchFit:
    """The pooled parameters in units of these log returns (n,), the first of them NaN."""
    unit = float(np.sqrt(np.mean(returns[1:] ** 2))) if len(returns) > 1 else 0.0
    return replace(pooled, unit=max(unit, float(np.sqrt(VARIANCE_FLOOR))), mean=0.0)


@dataclass(frozen=True)
class Garch(Baseline):
    """A member of the family, fitted per symbol.

    Under `POOL` stand the medians. A training symbol that could not be fitted (``failed``) takes them, in
    units of its own standard deviation; a stranger in units of that of its first `MIN_HISTORY` sessions.
    """

    name = "garch-t"
    family: ClassVar[type[GarchFit]] = GarchFit
    skewed: ClassVar[bool] = False
    fits: Mapping[str, GarchFit]
    failed: tuple[str, ...]

    @classmethod
    def fit(cls, panel: Panel, reference: Reference, *, horizon: int, jobs: int = 1) -> Self:
        """Fit every symbol, in `jobs` processes; NotEnoughDataError if none can be fitted."""
        kind: Any = {"family": cls.family, "skewed": cls.skewed, "horizon": horizon}
        tasks = (delayed(fit_garch)(bars.log_returns(), **kind) for bars in panel.values())
        found = dict(zip(panel, parallel(jobs)(tasks), strict=True))
        fits = {symbol: one for symbol, one in found.items() if one is not None}
        if not fits:
            raise NotEnoughDataError(
                f"No symbol among {', '.join(panel)} could be fitted for {cls.name}, which needs "
                f"{MIN_OWN_ROWS} moving sessions. Give a longer history, or leave this baseline out."
            )
        medians = {
            one.name: np.median([getattr(fit, one.name) for fit in fits.values()], axis=0)
            for one in fields(GarchFit)
        }
        failed = tuple(symbol for symbol in panel if symbol not in fits)
        fits[POOL] = cls.family(**medians)
        borrowed = {s: _borrow(fits[POOL], panel[s].log_returns()) for s in failed}
        return cls(panel.sessions[-1], reference.overnight_share, fits | borrowed, failed)

    def _of(self, symbol: str, returns: Floats) -> GarchFit:
        """The symbol's parameters, or for a stranger the pooled ones in its own early unit."""
        if symbol in self.fits:
            return self.fits[symbol]
        return _borrow(self.fits[POOL], returns[:MIN_HISTORY])

    def distribution(self, rows: Rows, horizon: int) -> SkewT:
        """See `Baseline.distribution`."""
        parts: dict[str, Floats] = {}
        for symbol, bars in rows.panel.items():
            returns = bars.log_returns()
            one = self._of(symbol, returns)
            shapes = one.shapes[:horizon]
            sigma = one.sigma(one.residuals(returns), horizon)
            nu, skew, relative = shapes.T
            values = (one.mean * one.unit, sigma * one.unit * relative, nu, skew)
            parts[symbol] = np.stack([np.broadcast_to(v, sigma.shape) for v in values], axis=1)
        return SkewT(*np.moveaxis(rows.stack(parts), 1, 0))

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Baseline.paths`: residuals drawn from the first step's shape drive the recursion."""
        first = cast(SkewT, found)
        m, horizon = found.shape
        size, side = np.empty((2, m, num_paths, horizon))
        for row, generator in enumerate(keyed_generators(seed, rows.symbols, rows.cutoffs)):
            size[row] = generator.standard_t(first.nu[row, 0], size.shape[1:])
            side[row] = generator.random(side.shape[1:])
        columns = [np.repeat(part[:, :1], horizon, axis=1) for part in first.arrays().values()]
        z = SkewT(*columns).from_halves(np.abs(size), side)
        for symbol, bars in rows.panel.items():
            mine, one = rows.symbols == symbol, self._of(symbol, bars.log_returns())
            own = z[mine]
            variance = np.repeat((first.scale[mine, :1] / one.unit) ** 2, num_paths, axis=1)
            for step in range(horizon):
                residual = np.sqrt(variance) * own[..., step]
                own[..., step] = (one.mean + residual) * one.unit
                variance = one.after(variance, residual)
            z[mine] = own
        return np.asarray(z)

    def describe(self) -> dict[str, Any]:
        """How many symbols have a fit of their own, and which do not."""
        return {"own_fits": len(self.fits) - 1 - len(self.failed), "pooled": list(self.failed)}


class GjrGarch(Garch):
    """GJR-GARCH(1,1,1), see `volatility`, with Hansen's skewed Student-t, see `density.SkewT`."""

    name = "gjr-garch-skewt"
    skewed = True


class Egarch(Garch):
    """EGARCH(1,1,1) with Student-t errors, see `EgarchFit`."""

    name = "egarch-t"
    family = EgarchFit


class ScoreDriven(Garch):
    """The score-driven t, see `ScoreFit`."""

    name = "gas-t"
    family = ScoreFit
