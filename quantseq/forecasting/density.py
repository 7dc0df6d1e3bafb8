"""The distribution of one return: a Student-t reference reweighted by token probabilities, and two more.

Owns what every distribution must answer (`Distribution`), and the closed forms of `TokenDensity`, whose
token probabilities sit on equal bins of the reference's probability integral transform. Uniform
probabilities (or a single bin) *are* the reference. Baselines also speak in a skewed t (`SkewT`) and in
quantiles alone (`Quantiles`). Knows nothing of symbols, dates or models.

With F the CDF and f the density of the reference, V bins and probabilities p, the density is
``V · p[⌊V·F(r)⌋] · f(r)``: inside a bin the reference's shape, tails included. Where a price moves by large ticks,
what this puts within half a tick of 0 is a return of exactly 0, and if zeros come more often than that, all other
returns are rarer by one factor.

References
----------
.. [1] Diebold, F., Gunther, T. and Tay, A. (1998). Evaluating density forecasts. International
   Economic Review 39(4).
.. [2] Gneiting, T. and Raftery, A. (2007). Strictly proper scoring rules, prediction, and
   estimation. JASA 102(477).
.. [3] Rockafellar, R. and Uryasev, S. (2002). Conditional value-at-risk for general loss
   distributions. Journal of Banking and Finance 26(7).
.. [4] Hansen, B. (1994). Autoregressive conditional density estimation. International Economic
   Review 35(3).
.. [5] Jordan, A., Krüger, F. and Lerch, S. (2019). Evaluating probabilistic forecasts with
   scoringRules. Journal of Statistical Software 90(12).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from quantseq.errors import ConfigError
from quantseq.market.bars import Floats

MIN_NU = 2.1
"""Fewer degrees of freedom have no finite variance, hence no honest mean or CRPS."""

NORMAL_NU = 1e6
"""Degrees of freedom that stand for the normal distribution."""

HALF_GRAIN = 2.0**-25
"""Half the distance between two neighbours of a 24-bit uniform draw."""

SIMPLE_BOUND = float(np.log(2))
"""A log return beyond this size counts as this size where simple returns are read: a position cannot lose more."""

RISK_LEVELS = (0.95, 0.99)
"""Confidence levels at which losses are usually quoted."""

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(96)

RowIndex = slice | NDArray[np.bool_] | NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Distribution(ABC):
    """M × H distributions of log returns, whatever their family; every array has M rows."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its arrays by name, M rows each."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    @property
    def shape(self) -> tuple[int, int]:
        """(M, H)."""
        rows, steps = next(iter(self.arrays().values())).shape[:2]
        return rows, steps

    def __getitem__(self, rows: RowIndex) -> Self:
        return replace(self, **{name: values[rows] for name, values in self.arrays().items()})

    @property
    @abstractmethod
    def mean(self) -> Floats:
        """Expected log return, (M, H)."""

    @property
    @abstractmethod
    def std(self) -> Floats:
        """Standard deviation of the log return, (M, H)."""

    @property
    def prob_up(self) -> Floats:
        """P(R > 0), (M, H)."""
        return 1 - self.cdf(np.zeros(self.shape))

    @property
    def prob_zero(self) -> Floats:
        """P(R = 0), (M, H): above 0 where there is an atom."""
        nothing = np.zeros(self.shape)
        return self.cdf(nothing) - self.cdf_below(nothing)

    @property
    def prob_down(self) -> Floats:
        """P(R < 0), (M, H)."""
        return self.cdf_below(np.zeros(self.shape))

    @property
    def untied(self) -> Self:
        """The same without large ticks: what a price would do that moves by any amount."""
        return self

    @abstractmethod
    def log_density(self, returns: Floats) -> Floats:
        """Log density at `returns` (M, H), in nats; NaN where a return is, or the family has none."""

    @abstractmethod
    def cdf(self, returns: Floats) -> Floats:
        """P(R ≤ returns), (M, H): the probability integral transform [1]_."""

    def cdf_below(self, returns: Floats) -> Floats:
        """P(R < returns), (M, H): less than the CDF at atoms only."""
        return self.cdf(returns)

    def quantile(self, levels: ArrayLike) -> Floats:
        """Quantiles at `levels` (Q,): (M, H, Q); ConfigError if a level is outside (0, 1)."""
        return self._quantile(checked_levels(levels))

    @abstractmethod
    def _quantile(self, levels: Floats) -> Floats: ...

    @abstractmethod
    def crps(self, returns: Floats) -> Floats:
        """Continuous ranked probability score [2]_ at `returns` (M, H), exact; lower is better."""


D = TypeVar("D", bound=Distribution)


def concatenate(parts: Sequence[D]) -> D:
    """Stack distributions along their rows; ConfigError if their families differ."""
    families = {type(part).__name__ for part in parts}
    if len(families) > 1:
        raise ConfigError(
            f"Only distributions of one family can be stacked. Got {', '.join(sorted(families))}."
        )
    arrays = [part.arrays() for part in parts]
    return replace(
        parts[0], **{name: np.concatenate([one[name] for one in arrays]) for name in arrays[0]}
    )


def checked_levels(levels: ArrayLike) -> Floats:
    """Quantile levels as an array; ConfigError if one is outside (0, 1)."""
    asked = np.asarray(levels, dtype=np.float64)
    if not ((asked > 0) & (asked < 1)).all():
        raise ConfigError(f"Quantile levels must lie in (0, 1), both excluded. Got {asked}.")
    return asked


def t_log_density(t: Floats, nu: Floats) -> Floats:
    """Log density of the standard Student-t with `nu` degrees of freedom."""
    constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
    return np.asarray(constant - (nu + 1) / 2 * np.log1p(t * t / nu), dtype=np.float64)


def t_partial_mean(t: Floats, nu: Floats) -> Floats:
    """E[T; T < t]."""
    with np.errstate(invalid="ignore"):
        value = -(nu + t * t) / (nu - 1) * np.exp(t_log_density(t, nu))
    return np.where(np.isinf(t), 0.0, value)


def _t_partial_second(t: Floats, nu: Floats) -> Floats:
    """E[T²; T < t], through the t with ν − 2 degrees of freedom."""
    lower = special.stdtr(nu - 2, t * np.sqrt((nu - 2) / nu))
    return np.asarray(nu * ((nu - 1) / (nu - 2) * lower - special.stdtr(nu, t)))


def _make_table(nu: float, bins: int) -> dict[str, Floats]:
    """Constants of one (ν, V): edges (V + 1,) in units of t; E[T | bin], E[T² | bin], E|T − T'| of two draws."""
    levels = np.arange(bins + 1) / bins
    edges: Floats = np.asarray(special.stdtrit(nu, levels), dtype=np.float64)
    edges[0], edges[-1] = -np.inf, np.inf
    nus = np.full(bins + 1, nu)
    mean = np.diff(t_partial_mean(edges, nus)) * bins
    second = np.diff(_t_partial_second(edges, nus)) * bins
    # E|T − T'| within a bin = 2 ∫ q(a + w·x)(2x − 1) dx; the substitution x = B(s) with four
    # vanishing derivatives at both ends tames the infinite quantiles of the outer bins.
    s = (_NODES + 1) / 2
    x = s**5 * (126 - 420 * s + 540 * s**2 - 315 * s**3 + 70 * s**4)
    jacobian = 630 * s**4 * (1 - s) ** 4
    # Levels above one half are counted from the top (x at 1 − s is x reversed): near 1 they round.
    k = np.arange(bins)[:, None]
    below, above = (k + x) / bins, (bins - 1 - k + x[::-1]) / bins
    sign = np.where(below < above, 1.0, -1.0)
    quantiles = sign * special.stdtrit(nu, np.minimum(below, above))
    difference: Floats = quantiles @ (_NODE_WEIGHTS / 2 * jacobian * 2 * (2 * x - 1))
    return {"edges": edges, "mean": mean, "second": second, "difference": difference}


def _sums_below(values: NDArray[np.floating]) -> Floats:
    """Sums of the bins (..., V) below each edge: (..., V + 1)."""
    below = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
    np.cumsum(values, axis=-1, out=below[..., 1:])
    return below


def t_mean_difference(nu: Floats) -> Floats:
    """E|T − T'| of two independent standard Student-t draws [5]_."""
    ratio = special.betaln(0.5, nu - 0.5) - 2 * special.betaln(0.5, nu / 2)
    return np.asarray(4 * np.sqrt(nu) / (nu - 1) * np.exp(ratio))


@dataclass(frozen=True, eq=False)
class TokenDensity(Distribution):
    """M × H distributions of log returns over a Student-t reference.

    That is ``r = loc + scale · T`` with T standard t with `nu` degrees of freedom, (M, H) each; `probs` reweigh
    its V equal bins, and V = 1 is the reference itself. `zero` and `half_tick`, (M, H) and 0 unless given, are how often
    a return is exactly 0 at least, and the size below which it is. ConfigError if shapes disagree, a scale is not
    positive, ν is below `MIN_NU`, or a tick has no size or a probability of 1.
    """

    loc: Floats
    scale: Floats
    nu: Floats
    probs: NDArray[np.floating]  # (M, H, V), sum to 1
    zero: Floats = None  # type: ignore[assignment]  # filled in below
    half_tick: Floats = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        shape = self.loc.shape
        for name in ("zero", "half_tick"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.zeros(shape))
        parts = (self.scale, self.nu, self.zero, self.half_tick, self.probs[..., 0])
        if any(part.shape != shape for part in parts):
            raise ConfigError(
                "TokenDensity needs loc, scale, nu, zero and half_tick of one shape (M, H) and probs (M, H, V); "
                f"got {shape}, {', '.join(str(one.shape) for one in parts[:-1])} and {self.probs.shape}."
            )
        if not ((self.zero >= 0) & (self.zero < 1) & (self.half_tick >= 0)).all():
            raise ConfigError("TokenDensity needs zero in [0, 1) and half_tick >= 0, without NaN.")
        if not (self.scale > 0).all() or not (self.nu >= MIN_NU).all():
            raise ConfigError(f"TokenDensity needs scale > 0 and nu >= {MIN_NU}, without NaN.")

    @classmethod
    def reference(cls, loc: Floats, scale: Floats, nu: Floats, *ticks: Floats) -> Self:
        """The Student-t itself; `ticks` are `zero` and `half_tick`."""
        return cls(loc, scale, nu, np.ones((*loc.shape, 1)), *ticks)

    @property
    def untied(self) -> Self:
        """See `Distribution.untied`."""
        return type(self)(self.loc, self.scale, self.nu, self.probs) if self.has_ticks else self

    @cached_property
    def has_ticks(self) -> bool:
        """Whether any return may be exactly 0."""
        return bool(self.half_tick.any() or self.zero.any())

    @cached_property
    def _inside(self) -> Floats:
        """CDF without ticks at −a, −a/2, 0, a/2 and a, for half a tick a: (5, M, H)."""
        places = (-1.0, -0.5, 0.0, 0.5, 1.0)
        return np.stack([self._smooth_cdf(place * self.half_tick) for place in places])

    @cached_property
    def _extra(self) -> Floats:
        """Share of all returns that are 0 for no other reason than that they often are, (M, H)."""
        within = self._inside[-1] - self._inside[0]
        return np.asarray(np.maximum(self.zero - within, 0) / np.maximum(1 - within, 1e-12))

    @property
    def num_bins(self) -> int:
        """V."""
        return int(self.probs.shape[-1])

    @cached_property
    def _lower(self) -> Floats:
        """(M, H, V + 1) probability below each edge."""
        return _sums_below(self.probs)

    @cached_property
    def _tables(self) -> tuple[NDArray[np.intp], list[dict[str, Floats]]]:
        """Index of each row's table (M, H) and the tables themselves, one per distinct ν."""
        nus, inverse = np.unique(self.nu, return_inverse=True)
        return inverse.reshape(self.nu.shape), [_make_table(nu, self.num_bins) for nu in nus]

    def _of_bins(self, name: str) -> Floats:
        index, tables = self._tables
        stacked: Floats = np.stack([table[name] for table in tables])[index]
        return stacked

    def _locate(self, returns: Floats) -> tuple[Floats, Floats, NDArray[np.intp], Floats]:
        """t, u = F(r), bin, and the bin's probability for returns of shape (M, H)."""
        t = (returns - self.loc) / self.scale
        u = special.stdtr(self.nu, t)
        position = np.nan_to_num(u) * self.num_bins
        bins = np.minimum(position.astype(np.intp), self.num_bins - 1)
        p = np.take_along_axis(self.probs, bins[..., None], axis=-1)[..., 0]
        return t, u, bins, np.asarray(p, dtype=np.float64)

    @cached_property
    def _means(self) -> tuple[Floats, Floats]:
        """Each bin's share of the mean of t (M, H, V), and their sums below each edge."""
        weighted: Floats = self.probs * self._of_bins("mean")
        return weighted, _sums_below(weighted)

    def _partial_mean(self, t: Floats, bins: NDArray[np.intp], p: Floats) -> Floats:
        """E[T; T < t] for t in the given bins, (M, H)."""
        pick = bins[..., None]
        edge = np.take_along_axis(self._of_bins("edges"), pick, axis=-1)[..., 0]
        inside = t_partial_mean(t, self.nu) - t_partial_mean(edge, self.nu)
        below = np.take_along_axis(self._means[1], pick, axis=-1)[..., 0]
        return np.asarray(below + p * self.num_bins * inside)

    def log_density(self, returns: Floats) -> Floats:
        """See `Distribution.log_density`; within half a tick of 0 that of a price without ticks."""
        t, _, _, p = self._locate(returns)
        with np.errstate(divide="ignore"):
            tilt = np.log(p * self.num_bins)
        found = t_log_density(t, self.nu) - np.log(self.scale) + tilt
        return found + np.log1p(-self._extra) if self.has_ticks else found

    def _smooth_cdf(self, returns: Floats) -> Floats:
        _, u, bins, p = self._locate(returns)
        below = np.take_along_axis(self._lower, bins[..., None], axis=-1)[..., 0]
        return np.clip(below + p * (u * self.num_bins - bins), 0, 1)

    def cdf(self, returns: Floats) -> Floats:
        """See `Distribution.cdf`."""
        return self._cdf(returns, returns >= 0)

    def cdf_below(self, returns: Floats) -> Floats:
        """Less than the CDF at 0, where ticks are large."""
        return self._cdf(returns, returns > 0)

    def _cdf(self, returns: Floats, above: NDArray[np.bool_]) -> Floats:
        """CDF where what is `above` 0 has all returns of exactly 0 below it."""
        if not self.has_ticks:
            return self._smooth_cdf(returns)
        edge = np.where(above, self.half_tick, -self.half_tick)
        outside = np.where(np.abs(returns) < self.half_tick, edge, returns)
        return (1 - self._extra) * self._smooth_cdf(outside) + self._extra * above

    def _quantile(self, levels: Floats) -> Floats:
        levels = np.broadcast_to(levels, (*self.shape, len(levels)))
        if not self.has_ticks:
            return self._smooth_quantile(levels)
        extra, (below, above) = self._extra[..., None], self._inside[[0, -1], ..., None]
        low, high = (1 - extra) * below, (1 - extra) * above + extra
        smooth = np.where(levels < low, levels, levels - extra) / (1 - extra)
        found = self._smooth_quantile(np.clip(smooth, 0, np.nextafter(1.0, 0.0)))
        return np.where((levels >= low) & (levels <= high), 0.0, found)

    def _smooth_quantile(self, levels: Floats) -> Floats:
        bins = (levels[..., None] >= self._lower[..., None, 1:-1]).sum(axis=-1)
        below = np.take_along_axis(self._lower, bins, axis=-1)
        p = np.take_along_axis(self.probs, bins, axis=-1)
        inside = np.clip((levels - below) / np.maximum(p, 1e-300), 0, 1)
        t = special.stdtrit(self.nu[..., None], (bins + inside) / self.num_bins)
        return np.asarray(self.loc[..., None] + self.scale[..., None] * t)

    def at_tokens(self, bins: NDArray[np.integer], inside: NDArray[np.floating]) -> Floats:
        """Returns without ticks at position `inside` ∈ (0, 1) of bins 0..V − 1, (M, N, H) all: N paths per row."""
        grain = HALF_GRAIN / self.num_bins  # a draw of exactly 0 counts as half a grain
        u = np.clip((bins + inside) / self.num_bins, grain, 1 - grain)
        t = special.stdtrit(self.nu[:, None], u)
        return np.asarray(self.loc[:, None] + self.scale[:, None] * t, dtype=np.float64)

    def tie(self, smooth: Floats, uniforms: NDArray[np.floating]) -> Floats:
        """Draws without ticks (M, N, H), with exact zeros in the place of some, which `uniforms` choose."""
        still = np.abs(smooth) < self.half_tick[:, None]
        return np.where(still | (uniforms < self._extra[:, None]), 0.0, smooth)

    @cached_property
    def mean(self) -> Floats:
        """See `Distribution.mean`."""
        return self._moments[0]

    @cached_property
    def std(self) -> Floats:
        """See `Distribution.std`."""
        return self._moments[1]

    @cached_property
    def _inside_moments(self) -> tuple[Floats, Floats]:
        """∫ r f and ∫ r² f without ticks over [−a, a], by Simpson's rule for the CDF."""
        (low, left, middle, right, high), a = self._inside, self.half_tick
        one = a * (low + high) - a / 6 * (low + 4 * left + 2 * middle + 4 * right + high)
        return one, a**2 * (high - low - (high - low + 2 * (right - left)) / 3)

    @cached_property
    def _moments(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation; with ticks, the moments of what lies within half a tick of 0 are taken out."""
        first = self._means[0].sum(axis=-1)
        second = (self.probs * self._of_bins("second")).sum(axis=-1)
        mean = self.loc + self.scale * first
        std = self.scale * np.sqrt(np.maximum(second - first**2, 0))
        if self.has_ticks:
            one, two = self._inside_moments
            square = (1 - self._extra) * (std**2 + mean**2 - two)
            mean = (1 - self._extra) * (mean - one)
            std = np.sqrt(np.maximum(square - mean**2, 0))
        return np.asarray(mean), np.asarray(std)

    def value_at_risk(self, levels: ArrayLike = RISK_LEVELS) -> Floats:
        """Loss, positive and in log return, that is exceeded with probability 1 − level: (M, H, Q).

        ``-expm1(-loss)`` is the share of the price lost. ConfigError if a level is outside (0, 1).
        """
        return -self.quantile(1 - np.asarray(levels, dtype=np.float64))

    def expected_shortfall(self, levels: ArrayLike = RISK_LEVELS) -> Floats:
        """Mean loss in the worst share 1 − level of outcomes [3]_, exact: (M, H, Q).

        As in `value_at_risk`, and never smaller. ``-expm1(-loss)`` is an upper bound of the mean share of
        the price lost, by convexity.
        """
        losses = -self.value_at_risk(levels)
        shortfall = np.empty_like(losses)
        for i, level in enumerate(np.asarray(levels, dtype=np.float64)):
            edge = np.where(losses[..., i] == 0, -self.half_tick, losses[..., i])
            t, _, bins, p = self._locate(edge)
            partial = self._partial_mean(t, bins, p)
            if not self.has_ticks:
                shortfall[..., i] = -self.loc - self.scale * partial / (1 - level)
                continue
            total = self.loc * self._smooth_cdf(edge) + self.scale * partial
            total -= self._inside_moments[0] * (edge > 0)
            shortfall[..., i] = -(1 - self._extra) * total / (1 - level)
        return shortfall

    def crps(self, returns: Floats) -> Floats:
        """``E|R − r| − ½ E|R − R'|`` in units of log return, from partial expectations of the t.

        With ticks also by Simpson's rule within one of them, where the CDF is nearly straight.
        """
        found = self._smooth_crps(returns)
        if not self.has_ticks:
            return found
        a, extra, at_zero = self.half_tick, self._extra, self._smooth_crps(np.zeros(self.shape))
        inside = (
            np.abs(returns) < a
        )  # first as 0, then along a CDF that is flat from there to the end of the tick
        found = (1 - extra) * (np.where(inside, at_zero, found) - extra * at_zero)
        found += extra * np.where(inside, 0, np.abs(returns))
        low, left, middle, right, high = (1 - extra) * self._inside
        low_side = (low, left, middle), ~inside & (returns < 0)
        high_side = (high + extra, right + extra, middle + extra), inside | (returns < 0)
        for nodes, passed in (low_side, high_side):
            flat, between, last = ((node - passed) ** 2 for node in nodes)
            found += a * flat - a / 6 * (flat + 4 * between + last)
        slope = np.where(returns < 0, 1 - 2 * low, 2 * (high + extra) - 1)
        return np.asarray(found + np.where(inside, np.abs(returns) * slope, 0))

    def _smooth_crps(self, returns: Floats) -> Floats:
        t, u, bins, p = self._locate(returns)
        weighted, weighted_below = self._means
        partial = self._partial_mean(t, bins, p)
        below = np.take_along_axis(self._lower, bins[..., None], axis=-1)[..., 0]
        cdf = below + p * (u * self.num_bins - bins)
        absolute = (2 * cdf - 1) * t + weighted_below[..., -1] - 2 * partial
        between = (weighted * self._lower[..., :-1] - self.probs * weighted_below[..., :-1]).sum(-1)
        within = 0.5 * (self.probs.astype(np.float64) ** 2 * self._of_bins("difference")).sum(-1)
        return np.asarray(self.scale * (absolute - between - within))


@dataclass(frozen=True, eq=False)
class SkewT(Distribution):
    """Hansen's skewed Student-t [4]_: two halves of a t with scales 1 − λ and 1 + λ, joined.

    ConfigError if a parameter is outside its rule.
    """

    loc: Floats  # (M, H), the mean
    scale: Floats  # (M, H), the standard deviation
    nu: Floats  # (M, H), degrees of freedom
    skew: Floats  # (M, H), λ in (−1, 1); 0 is the Student-t

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
    """

    values: NDArray[np.floating]  # (M, H, Q), not decreasing along the last axis
    levels: tuple[float, ...]  # Q of them in (0, 1), increasing

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
