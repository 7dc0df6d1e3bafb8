"""Distributions of one return that baselines speak in, beside the t with tokens: two that are no t.

Owns the skewed Student-t of Hansen [1]_ (`SkewT`) and distributions given by quantiles alone
(`Quantiles`). Knows nothing of symbols, dates or models.

References
----------
.. [1] Hansen, B. (1994). Autoregressive conditional density estimation. International Economic
   Review 35(3).
.. [2] Jordan, A., Krüger, F. and Lerch, S. (2019). Evaluating probabilistic forecasts with
   scoringRules. Journal of Statistical Software 90(12).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from quantseq.errors import ConfigError
from quantseq.forecasting.density import (
    MIN_NU,
    Distribution,
    checked_levels,
    t_log_density,
    t_partial_mean,
)
from quantseq.market.bars import Floats


def t_mean_difference(nu: Floats) -> Floats:
    """E|T − T'| of two independent standard Student-t draws [2]_."""
    ratio = special.betaln(0.5, nu - 0.5) - 2 * special.betaln(0.5, nu / 2)
    return np.asarray(4 * np.sqrt(nu) / (nu - 1) * np.exp(ratio))


@dataclass(frozen=True, eq=False)
class SkewT(Distribution):
    """Hansen's skewed Student-t [1]_: two halves of a t with scales 1 − λ and 1 + λ, joined.

    Parameters
    ----------
    loc, scale : (M, H) float64
        Mean and standard deviation.
    nu : (M, H) float64
        Degrees of freedom.
    skew : (M, H) float64
        λ in (−1, 1); 0 is the Student-t.

    Raises
    ------
    ConfigError
        If a parameter is outside its rule.
    """

    loc: Floats
    scale: Floats
    nu: Floats
    skew: Floats

    def __post_init__(self) -> None:
        good = (self.scale > 0) & (self.nu >= MIN_NU) & (np.abs(self.skew) < 1)
        if not good.all() or not np.isfinite(self.loc).all():
            raise ConfigError(
                f"SkewT needs finite loc, scale > 0, nu >= {MIN_NU} and skew in (-1, 1), without NaN."
            )

    @cached_property
    def _join(self) -> tuple[Floats, Floats, Floats]:
        """Where the halves meet, and the scales of the t on its left and right; standardised."""
        nu, skew = self.nu, self.skew
        constant = np.exp(special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2))
        a = 4 * skew * constant / np.sqrt(np.pi * (nu - 2)) * (nu - 2) / (nu - 1)
        b = np.sqrt(1 + 3 * skew**2 - a**2)
        unit = np.sqrt((nu - 2) / nu) / b
        return -a / b, unit * (1 - skew), unit * (1 + skew)

    def _place(self, returns: Floats) -> tuple[Floats, Floats, NDArray[np.bool_], Floats]:
        """Standardised return, its place t on its half, whether that is the right one, its scale."""
        join, left, right = self._join
        z = (returns - self.loc) / self.scale
        above = z >= join
        half = np.where(above, right, left)
        return z, (z - join) / half, above, half

    def log_density(self, returns: Floats) -> Floats:
        """See `Distribution.log_density`."""
        _, t, above, half = self._place(returns)
        weight = np.where(above, 1 + self.skew, 1 - self.skew)
        return t_log_density(t, self.nu) + np.log(weight / (half * self.scale))

    def cdf(self, returns: Floats) -> Floats:
        """See `Distribution.cdf`."""
        _, t, above, _ = self._place(returns)
        below = special.stdtr(self.nu, t)
        return np.where(above, below * (1 + self.skew) - self.skew, below * (1 - self.skew))

    def _quantile(self, levels: Floats) -> Floats:
        join, left, right = (part[..., None] for part in self._join)
        skew = self.skew[..., None]
        above = levels >= (1 - skew) / 2
        inner = np.where(above, (levels + skew) / (1 + skew), levels / (1 - skew))
        t = special.stdtrit(self.nu[..., None], inner)
        z = join + np.where(above, right, left) * t
        return np.asarray(self.loc[..., None] + self.scale[..., None] * z)

    def from_halves(self, size: Floats, side: Floats) -> Floats:
        """Standardised draws from |T| and uniforms that choose the half, both (M, N, H)."""
        join, left, right = (part[:, None] for part in self._join)
        above = side >= (1 - self.skew[:, None]) / 2
        return np.asarray(join + np.where(above, right * size, -left * size))

    @property
    def mean(self) -> Floats:
        """See `Distribution.mean`."""
        return self.loc

    @property
    def std(self) -> Floats:
        """See `Distribution.std`."""
        return self.scale

    def crps(self, returns: Floats) -> Floats:
        """``E|R − r| − ½ E|R − R'|``, as `Distribution.crps`.

        The first from partial means of the halves, the second from the mean differences of |T| within
        a half and its mean across halves.
        """
        join, left, right = self._join
        z, t, above, half = self._place(returns)
        lower, upper = 1 - self.skew, 1 + self.skew
        at_join = t_partial_mean(np.zeros_like(t), self.nu)
        own = t_partial_mean(t, self.nu)
        cdf = self.cdf(returns)
        partial = join * cdf + np.where(
            above, left * lower * at_join + half * upper * (own - at_join), half * lower * own
        )
        absolute = z * (2 * cdf - 1) - 2 * partial
        size = -2 * at_join  # E|T|
        within = 2 * t_mean_difference(self.nu) - 2 * size  # E||T| − |T'||
        spread = (lower**2 * left + upper**2 * right) / 4 * within
        spread += lower * upper / 2 * (left + right) * size
        return np.asarray(self.scale * (absolute - spread / 2))


@dataclass(frozen=True, eq=False)
class Quantiles(Distribution):
    """Distributions known by their quantiles at fixed levels; there is no density.

    The rule between and beyond: the quantile function is linear between two levels and constant
    below the first and above the last. Everything else follows exactly from that function. Sums run
    along a row, never as a matrix product, so that a row's bits do not depend on its batch.

    Parameters
    ----------
    values : (M, H, Q) float
        Quantiles, not decreasing along the last axis.
    levels : tuple of float
        Q levels in (0, 1), increasing.
    """

    values: NDArray[np.floating]
    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        checked_levels(self.levels)
        if self.values.ndim != 3 or self.values.shape[2] != len(self.levels):
            raise ConfigError(
                f"Quantiles needs values (M, H, {len(self.levels)}). Got {self.values.shape}."
            )
        if not all((np.diff(one, axis=1) >= 0).all() for one in self._steps()):
            raise ConfigError("Quantiles needs values that do not decrease, without NaN.")

    @cached_property
    def _weights(self) -> tuple[float, Floats, float]:
        """Probability at the first value, between each two, and at the last."""
        return self.levels[0], np.diff(self.levels), 1 - self.levels[-1]

    def _steps(self) -> Iterator[Floats]:
        """Quantiles (M, Q) of each step, row after row in memory."""
        for step in range(self.values.shape[1]):
            yield np.ascontiguousarray(self.values[:, step], np.float64)

    @cached_property
    def mean(self) -> Floats:
        """See `Distribution.mean`."""
        first, between, last = self._weights
        return np.column_stack(
            [
                first * v[:, 0] + ((v[:, 1:] + v[:, :-1]) * (between / 2)).sum(1) + last * v[:, -1]
                for v in self._steps()
            ]
        )

    @cached_property
    def std(self) -> Floats:
        """See `Distribution.std`."""
        first, between, last = self._weights
        result = np.empty(self.shape)
        for step, values in enumerate(self._steps()):
            v = values - self.mean[:, step, None]
            a, b = v[:, :-1], v[:, 1:]
            middle = ((a * a + a * b + b * b) * (between / 3)).sum(axis=1)
            result[:, step] = np.sqrt(first * v[:, 0] ** 2 + middle + last * v[:, -1] ** 2)
        return result

    def log_density(self, returns: Floats) -> Floats:
        """NaN: quantiles have no density."""
        return np.full(returns.shape, np.nan)

    def _step(self, returns: Floats, count: NDArray[np.intp]) -> Floats:
        """CDF where `count` values lie on the left of each return."""
        last = len(self.levels)
        right = np.clip(count, 1, last - 1)
        low = np.take_along_axis(self.values, right[..., None] - 1, axis=-1)[..., 0]
        high = np.take_along_axis(self.values, right[..., None], axis=-1)[..., 0]
        levels = np.array(self.levels)
        width = np.where(high > low, high - low, 1)
        share = np.clip((returns - low) / width, 0, 1)
        inside = levels[right - 1] + share * (levels[right] - levels[right - 1])
        return np.where(count == 0, 0.0, np.where(count == last, 1.0, inside))

    def cdf(self, returns: Floats) -> Floats:
        """See `Distribution.cdf`."""
        return self._step(returns, (self.values <= returns[..., None]).sum(axis=-1))

    def cdf_below(self, returns: Floats) -> Floats:
        """Less than the CDF where quantiles coincide, and at both ends."""
        below = (self.values < returns[..., None]).sum(axis=-1)
        return np.where(below == len(self.levels), 1.0, self._step(returns, below))

    def _between(self, levels: NDArray[np.floating]) -> tuple[NDArray[np.intp], Floats]:
        """The value before each level, and how far the next one is taken in, from 0 to 1."""
        place = np.interp(levels, self.levels, np.arange(len(self.levels)))
        low = np.minimum(place.astype(np.intp), len(self.levels) - 2)
        return low, place - low

    def _quantile(self, levels: Floats) -> Floats:
        low, share = self._between(levels)
        return np.asarray(
            (1 - share) * self.values[..., low] + share * self.values[..., low + 1], np.float64
        )

    def at(self, uniforms: NDArray[np.floating]) -> Floats:
        """Draws: the quantile function at `uniforms` (M, N, H)."""
        (low, share), v = self._between(uniforms), np.moveaxis(self.values, 1, 2)
        at_low, at_high = (np.take_along_axis(v, part, axis=1) for part in (low, low + 1))
        return np.asarray((1 - share) * at_low + share * at_high, np.float64)

    def crps(self, returns: Floats) -> Floats:
        """Exact for the stated quantile function: twice the integral of its pinball losses."""
        result = np.empty(returns.shape)
        first, between, last = self._weights
        low, high = np.array(self.levels[:-1]), np.array(self.levels[1:])
        overlap = (low + high) / 2 - (low**2 + low * high + high**2) / 3  # ∫ F(1 − F) per width
        for step, v in enumerate(self._steps()):
            r = returns[:, step, None]
            width = np.diff(v, axis=-1)
            near = np.clip(r, v[:, :-1], v[:, 1:])
            inside = (near - v[:, :-1]) ** 2 + (v[:, 1:] - near) ** 2
            away = inside / (2 * np.where(width > 0, width, 1)) + np.abs(r - near)
            ends = first * np.abs(v[:, 0] - r[:, 0]) + last * np.abs(v[:, -1] - r[:, 0])
            result[:, step] = ends + (away * between - width * overlap).sum(axis=-1)
        return result
