"""Other ways to cut returns into tokens, under the default's interface, for comparison.

Owns the edges of the schemes that people use (equal-mass, uniform, Gaussian and k-means bins of r/σ,
mean-scaled price levels), and the density inside their bins. Does not know how a return becomes the
number that is cut: see `quantseq.forecasting.schemes`.

Inner bins have a linear density that keeps the mean of their training values; the two outer ones a
generalised Pareto tail that keeps mean and variance of the exceedances. So every token has an exact
density, and drawing inside the bin keeps the variance.

References
----------
.. [1] Hosking, J. and Wallis, J. (1987). Parameter and quantile estimation for the generalized
   Pareto distribution. Technometrics 29(3).
.. [2] Ansari, A. et al. (2024). Chronos: learning the language of time series. TMLR.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import special
from sklearn.cluster import KMeans

from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.forecasting.tokenizer import NARROWEST, Ids, Origin, SavedTokenizer
from quantseq.market.bars import Floats
from quantseq.seq2seq.tokens import FIRST_ID

TAIL = 0.005
"""Share of training values beyond the outer edge on each side, where a scheme does not say itself:
equal-mass bins leave 1/V, Gaussian ones what lies beyond the normal's 1/V."""

SCALED_LIMIT = 15.0
"""Mean-scaled levels are cut between ± this, as in Chronos [2]_."""

OUTLIER = 10.0
"""Interquartile ranges, as standard deviations of a normal, at which values are limited before a fit:
one crash, or one error in the data, would otherwise make every tail as heavy as itself."""

MAX_SLOPE = 0.95
"""Of the density inside a bin, so that it is nowhere zero."""

MAX_SHAPE = 0.49
"""Of a Pareto tail: at one half its variance ends."""

HALF_GRAIN = 2.0**-25
"""Least share of a tail that is decoded: the end itself lies at infinity."""

MIN_VALUES = 50

_SUMMARY = 10_000
"""Quantiles that stand for the values when k-means clusters them: exact enough, and fast."""


@dataclass(frozen=True)
class BinTokenizer(SavedTokenizer, ABC):
    """Bins with fitted edges, linear inside, with Pareto tails; one subclass per scheme.

    Parameters
    ----------
    num_bins : int
        V after merging, in [2, 4096].
    fitted_from, fitted_until, symbols, data_hash, zero_share
        See `Origin`.
    asked : int
        Bins that were asked for; the difference was merged by `NARROWEST`.
    inner : tuple of float
        (V − 1,) edges between the bins, increasing.
    slopes : tuple of float
        (V − 2,) slopes of the density in the inner bins, in [−1, 1]: 0 is uniform.
    lower, upper : tuple of float
        Shape and scale of the tails below the first and above the last inner edge.
    unused : int
        Bins without a training value, counted before merging.
    """

    asked: int = 0
    inner: tuple[float, ...] = ()
    slopes: tuple[float, ...] = ()
    lower: tuple[float, float] = (0.0, 1.0)
    upper: tuple[float, float] = (0.0, 1.0)
    unused: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        edges = np.array(self.inner)
        if len(edges) != self.num_bins - 1 or len(self.slopes) != self.num_bins - 2:
            raise ConfigError(
                f"{self.num_bins} bins need {self.num_bins - 1} inner edges and {self.num_bins - 2} "
                f"slopes. Got {len(edges)} and {len(self.slopes)}."
            )
        if not (np.diff(edges) > 0).all() or self.lower[1] <= 0 or self.upper[1] <= 0:
            raise ConfigError("Edges must increase and tails must have a scale above 0.")

    @classmethod
    @abstractmethod
    def inner_edges(cls, values: Floats, num_bins: int) -> Floats:
        """The scheme itself: edges between `num_bins` bins of sorted values; ties are merged."""

    @classmethod
    def fit(cls, values: Floats, *, num_bins: int, origin: Origin | None = None) -> Self:
        """Fit edges, densities inside and tails on the finite values of a training block.

        Parameters
        ----------
        values : float64
            r/σ, or the scaled level.
        num_bins : int
            In [4, 4096]; merged where narrower than `NARROWEST` standard deviations.
        origin : Origin, optional

        Raises
        ------
        ConfigError
            If `num_bins` is outside its rule.
        NotEnoughDataError
            If the values are too few, or do not vary.
        """
        if not isinstance(num_bins, int) or not 4 <= num_bins <= 4096:
            raise ConfigError(
                f"The 'num_bins' parameter of {cls.__name__}.fit must be an int in [4, 4096]. "
                f"Got {num_bins!r}."
            )
        ordered = np.sort(limited(values[np.isfinite(values)]))
        spread = float(ordered.std()) if len(ordered) else 0.0
        if len(ordered) < MIN_VALUES or not spread > 0:
            raise NotEnoughDataError(
                f"{len(ordered)} values with a standard deviation of {spread:g} cannot be cut into "
                f"bins; {MIN_VALUES} that vary are needed. Give a longer history."
            )
        proposed = cls.inner_edges(ordered, num_bins)
        bounds = np.searchsorted(ordered, proposed)
        held = np.diff([0, *bounds, len(ordered)])
        inner = _merged(proposed, NARROWEST * spread)
        if len(inner) < 3:
            raise NotEnoughDataError(
                "Nearly all values are the same: less than 4 bins are wide enough. "
                "Leave symbols with stale prices out."
            )
        return cls(
            len(inner) + 1,
            **vars(origin or Origin()),
            asked=num_bins,
            inner=tuple(inner.tolist()),
            slopes=tuple(_slopes(ordered, inner)),
            lower=_tail(inner[0] - ordered[ordered < inner[0]], inner[1] - inner[0]),
            upper=_tail(ordered[ordered > inner[-1]] - inner[-1], inner[-1] - inner[-2]),
            unused=int((held == 0).sum()) + num_bins - len(held),
        )

    @property
    def edges(self) -> Floats:
        """(V + 1,) edges; the outer ones are infinite."""
        return np.array([-np.inf, *self.inner, np.inf])

    def encode(self, values: Floats) -> Ids:
        """Ids of values; NaN becomes the middle bin, which says nothing."""
        bins = np.searchsorted(np.array(self.inner), values, side="right")
        return np.where(np.isnan(values), self.num_bins // 2, bins).astype(np.int64) + FIRST_ID

    def decode(self, ids: Ids, inside: Floats | float = 0.5) -> Floats:
        """Values at the share `inside` ∈ [0, 1) of the probability of each id's bin.

        Raises
        ------
        ConfigError
            If an id is PAD, EOS or beyond the vocabulary.
        """
        bins = self.bins(ids)
        share = np.broadcast_to(np.asarray(inside, dtype=np.float64), bins.shape)
        inner, slopes = np.array(self.inner), np.array([0.0, *self.slopes, 0.0])[bins]
        # Inverts s + a·(s² − s) = share; this root is stable where a is 0.
        position = 2 * share / (1 - slopes + np.sqrt((1 - slopes) ** 2 + 4 * slopes * share))
        left = inner[np.clip(bins - 1, 0, None)]
        right = inner[np.clip(bins, None, len(inner) - 1)]
        values = left + (right - left) * position
        values = np.where(bins == 0, inner[0] - _tail_quantile(1 - share, self.lower), values)
        last = bins == self.num_bins - 1
        return np.asarray(np.where(last, inner[-1] + _tail_quantile(share, self.upper), values))

    def log_inside(self, values: Floats) -> Floats:
        """Log density of values given their bin, in nats per unit of the value."""
        bins = self.bins(self.encode(values))
        inner, slopes = np.array(self.inner), np.array([0.0, *self.slopes, 0.0])[bins]
        left = inner[np.clip(bins - 1, 0, len(inner) - 2)]
        width = inner[np.clip(bins, 1, len(inner) - 1)] - left
        position = np.clip((values - left) / width, 0, 1)
        density = np.log1p(slopes * (2 * position - 1)) - np.log(width)
        density = np.where(bins == 0, _tail_log_density(inner[0] - values, self.lower), density)
        last = bins == self.num_bins - 1
        found = np.where(last, _tail_log_density(values - inner[-1], self.upper), density)
        return np.asarray(np.where(np.isnan(values), np.nan, found))


class EqualMassTokenizer(BinTokenizer):
    """Every bin holds the same share of the training values of r/σ."""

    scheme = "equal-mass"

    @classmethod
    def inner_edges(cls, values: Floats, num_bins: int) -> Floats:
        """Quantiles at k/V."""
        return np.unique(np.quantile(values, np.arange(1, num_bins) / num_bins))


class UniformTokenizer(BinTokenizer):
    """Equally wide bins of r/σ between the `TAIL` quantiles of the training values."""

    scheme = "uniform"

    @classmethod
    def inner_edges(cls, values: Floats, num_bins: int) -> Floats:
        """Equal steps."""
        low, high = np.quantile(values, [TAIL, 1 - TAIL])
        return np.unique(np.linspace(float(low), float(high), num_bins - 1))


class GaussianTokenizer(BinTokenizer):
    """Bins of r/σ that would be equally likely if it were normal."""

    scheme = "gaussian"

    @classmethod
    def inner_edges(cls, values: Floats, num_bins: int) -> Floats:
        """Normal quantiles at k/V with the training mean and standard deviation."""
        levels = special.ndtri(np.arange(1, num_bins) / num_bins)
        return np.asarray(values.mean() + values.std() * levels)


class KMeansTokenizer(BinTokenizer):
    """Bins of r/σ half-way between the centres of one-dimensional k-means, tails cut off first."""

    scheme = "k-means"

    @classmethod
    def inner_edges(cls, values: Floats, num_bins: int) -> Floats:
        """Midpoints between V − 2 centres, within the `TAIL` quantiles, and those quantiles."""
        levels = np.linspace(TAIL, 1 - TAIL, min(len(values), _SUMMARY))
        body = np.quantile(values, levels)
        wanted = min(num_bins - 2, len(body) // 2)
        starts = np.unique(np.quantile(body, (np.arange(wanted) + 0.5) / wanted))
        found = KMeans(len(starts), init=starts[:, None], n_init=1).fit(body[:, None])
        centres = np.sort(found.cluster_centers_[:, 0])
        return np.unique([body[0], *((centres[1:] + centres[:-1]) / 2), body[-1]])


class MeanScaledTokenizer(BinTokenizer):
    """Equally wide bins of the next price over the mean price of the context, as in Chronos [2]_."""

    scheme = "mean-scaled"

    @classmethod
    def inner_edges(cls, values: Floats, num_bins: int) -> Floats:
        """Equal steps between ± `SCALED_LIMIT`, whatever the values are."""
        return np.linspace(-SCALED_LIMIT, SCALED_LIMIT, num_bins + 1)[1:-1]


SCHEMES: tuple[type[BinTokenizer], ...] = (
    EqualMassTokenizer,
    UniformTokenizer,
    GaussianTokenizer,
    KMeansTokenizer,
    MeanScaledTokenizer,
)


def limited(values: Floats) -> Floats:
    """Values no further than `OUTLIER` robust standard deviations from their median."""
    if not len(values):
        return values
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    reach = OUTLIER * ((high - low) / 1.349 or values.std())
    return np.asarray(np.clip(values, middle - reach, middle + reach))


def _merged(edges: Floats, least: float) -> Floats:
    """The first edge, and every later one that leaves a bin of at least `least` before it."""
    kept = [float(edges[0])]
    for edge in edges[1:].tolist():
        if edge - kept[-1] >= least:
            kept.append(edge)
    return np.array(kept)


def _slopes(ordered: Floats, inner: Floats) -> list[float]:
    """Slope in each inner bin that gives a linear density the mean of the bin's values."""
    bounds = np.searchsorted(ordered, inner)
    slopes = []
    for left, right, start, stop in zip(
        inner[:-1], inner[1:], bounds[:-1], bounds[1:], strict=True
    ):
        offset = 0.0
        if stop > start:
            offset = float((ordered[start:stop].mean() - left) / (right - left) - 0.5)
        slopes.append(float(np.clip(6 * offset, -MAX_SLOPE, MAX_SLOPE)))
    return slopes


def _tail(exceedances: Floats, fallback: float) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto tail by the method of moments [1]_.

    The shape stays in [0, `MAX_SHAPE`]: a bounded tail would rule out what may still happen. Without
    two exceedances it is exponential with the mean there is, or the neighbouring bin's width.
    """
    if len(exceedances) < 2:
        return 0.0, float(exceedances.mean()) if len(exceedances) else float(fallback)
    mean, variance = float(exceedances.mean()), float(exceedances.var())
    shape = 0.5 * (1 - mean**2 / max(variance, 1e-300))
    shape = float(np.clip(shape, 0.0, MAX_SHAPE))
    return shape, mean * (1 - shape)


def _tail_quantile(share: Floats, tail: tuple[float, float]) -> Floats:
    """Exceedance below which `share` of a tail lies."""
    shape, scale = max(tail[0], 1e-9), tail[1]  # the limit of shape 0 is the exponential
    above = np.clip(1 - share, HALF_GRAIN, 1)
    return np.asarray(scale * np.expm1(-shape * np.log(above)) / shape)


def _tail_log_density(exceedance: Floats, tail: tuple[float, float]) -> Floats:
    """Log density of a tail at an exceedance; negative ones belong to other bins."""
    shape, scale = max(tail[0], 1e-9), tail[1]
    reach = np.log1p(shape * np.maximum(exceedance, 0) / scale)
    return np.asarray(-np.log(scale) - (1 + 1 / shape) * reach)
