"""The GARCH family: fitted per symbol on the training block by arch, filtered through later bars.

Owns `Garch`: GARCH(1,1) with Student-t [1]_ and GJR-GARCH(1,1,1) with Hansen's skewed t, a constant mean
in both. The parameters stay as they were fitted; the variance recursion runs causally over every
later session. ``arch`` fits; the recursion here equals its fixed-parameter filter (tested).

The first step is the model itself. Later steps are no t: their scale is the model's own variance
forecast, and their shape is fitted, per symbol and step, to the training returns over that scale.
Paths are simulated from the recursion, so that their sums carry the clustering.

References
----------
.. [1] Bollerslev, T. (1987). A conditionally heteroskedastic time series model for speculative
   prices and rates of return. Review of Economics and Statistics 69(3).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self, cast

import numpy as np
from arch.univariate import SkewStudent
from joblib import delayed
from scipy import optimize
from threadpoolctl import threadpool_limits

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.density import MIN_NU, Distribution, SkewT
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

_MAX_SKEW = 0.95


@dataclass(frozen=True, eq=False)
class GarchFit:
    """Parameters of one symbol, in units of its training standard deviation."""

    unit: float  # that deviation
    mean: float
    omega: float
    alpha: float
    gamma: float  # weighs squared negative residuals
    beta: float
    downside: float  # E[z²; z < 0], one half without skew
    shapes: Floats  # (H, 3), degrees of freedom, skew and scale in units of σ, per step

    @property
    def persistence(self) -> float:
        """Share of a variance shock that is left a day later."""
        return self.alpha + self.gamma * self.downside + self.beta

    def residuals(self, returns: Floats) -> Floats:
        """Residuals (n,) in units; the first session has none and counts as 0."""
        return np.concatenate([[0.0], returns[1:] / self.unit - self.mean])

    def variances(self, residuals: Floats) -> Floats:
        """σ² (n,) of each next session in units², known at the close of its index.

        The recursion starts from the `backcast` of the first residuals: values before that index
        are not causal, and no row that is forecast stands there (`MIN_HISTORY`).
        """
        known = residuals[1:]
        start = self.omega + (self.alpha + self.gamma / 2 + self.beta) * backcast(known)
        found = gjr_variances(known, self.omega, self.alpha, self.gamma, self.beta, start)
        floor = max(_SIGMA_FLOOR**2, VARIANCE_FLOOR / self.unit**2)
        return np.asarray(np.maximum(found, floor), np.float64)

    def sigma(self, residuals: Floats, horizon: int) -> Floats:
        """σ expected of steps 1..H (n, H) in units, known at the close of its index."""
        first = self.variances(residuals)
        return np.sqrt(variances_ahead(first, self.omega, self.persistence, horizon))


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
def fit_garch(returns: Floats, *, skewed: bool, horizon: int) -> GarchFit | None:
    """Fit one symbol's log returns (n,), the first of them NaN.

    None where there are fewer than `MIN_OWN_ROWS` sessions, nothing moves, the optimiser does not
    converge, or the variance would explode.
    """
    kind = {"mean": "Constant", "o": int(skewed), "dist": "skewt" if skewed else "t"}
    fit = fit_arch(returns[1:], **kind)
    if fit is None:
        return None
    unit, p = fit
    nu = float(np.clip(p["eta" if skewed else "nu"], MIN_NU, MAX_NU))
    skew = float(np.clip(p.get("lambda", 0.0), -_MAX_SKEW, _MAX_SKEW))
    downside = float(SkewStudent().partial_moment(2, 0.0, [nu, skew])) if skewed else 0.5
    shapes = np.tile([nu, skew, 1.0], (horizon, 1))
    news = p["omega"], p["alpha[1]"], p.get("gamma[1]", 0.0), p["beta[1]"]
    found = GarchFit(unit, p["mu"], *news, downside, shapes)
    if found.persistence > 1.001 or found.omega <= 0:
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
    skewed: ClassVar[bool] = False
    fits: Mapping[str, GarchFit]
    failed: tuple[str, ...]

    @classmethod
    def fit(cls, panel: Panel, reference: Reference, *, horizon: int, jobs: int = 1) -> Self:
        """Fit every symbol, in `jobs` processes; NotEnoughDataError if none can be fitted."""
        tasks = (
            delayed(fit_garch)(bars.log_returns(), skewed=cls.skewed, horizon=horizon)
            for bars in panel.values()
        )
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
        fits[POOL] = GarchFit(**medians)
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
        own = {symbol: self._of(symbol, bars.log_returns()) for symbol, bars in rows.panel.items()}
        unit, mean, omega, alpha, gamma, beta = (
            np.array([[getattr(own[str(symbol)], name)] for symbol in rows.symbols])
            for name in ("unit", "mean", "omega", "alpha", "gamma", "beta")
        )
        variance = np.repeat((first.scale[:, :1] / unit) ** 2, num_paths, axis=1)
        for step in range(horizon):
            residual = np.sqrt(variance) * z[..., step]
            z[..., step] = (mean + residual) * unit
            variance = omega + (alpha + gamma * (residual < 0)) * residual**2 + beta * variance
        return np.asarray(z)

    def describe(self) -> dict[str, Any]:
        """How many symbols have a fit of their own, and which do not."""
        return {"own_fits": len(self.fits) - 1 - len(self.failed), "pooled": list(self.failed)}


class GjrGarch(Garch):
    """GJR-GARCH(1,1,1), see `volatility`, with Hansen's skewed Student-t, see `density.SkewT`."""

    name = "gjr-garch-skewt"
    skewed = True
