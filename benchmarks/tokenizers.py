"""What each way of cutting returns into tokens costs: ``python benchmarks/tokenizers.py``.

Fits every scheme that people use (equal-mass, uniform, Gaussian and k-means bins of r/σ, mean-scaled price
levels) on the bundled stocks until 2007 and scores its token frequencies, without any network, on the days
from 2008, beside the reference that knows no tokens. ``--panel FILE`` with ``--train-until`` and
``--test-from`` does the same for prices of your own.

Inner bins have a linear density that keeps the mean of their training values; the two outer ones a
generalised Pareto tail that keeps mean and variance of the exceedances. If x is the number that is cut and k
its bin, the density of the return is ``p(k) · g(x | k) · |dx/dr|``, exact for every scheme, so schemes that cut
different things can be compared in nats.

References
----------
.. [1] Hosking, J. and Wallis, J. (1987). Parameter and quantile estimation for the generalized
   Pareto distribution. Technometrics 29(3).
.. [2] Ansari, A. et al. (2024). Chronos: learning the language of time series. TMLR.
"""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy import special
from sklearn.cluster import KMeans

from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.evaluation.significance import diebold_mariano
from quantseq.forecasting.density import t_log_density
from quantseq.forecasting.reference import Reference
from quantseq.forecasting.rows import CONTEXT
from quantseq.forecasting.tokenizer import NARROWEST, Ids, ReturnTokenizer
from quantseq.forecasting.volatility import features, rolling_mean
from quantseq.market.bars import Dates, Floats, Panel
from quantseq.market.readers import read_panel
from quantseq.pipeline.data import sample_panel
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
class BinTokenizer(ABC):
    """Bins with fitted edges, linear inside, with Pareto tails; one subclass per scheme.

    Parameters
    ----------
    num_bins : int
        V after merging.
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

    scheme: ClassVar[str]
    num_bins: int
    asked: int
    inner: tuple[float, ...]
    slopes: tuple[float, ...]
    lower: tuple[float, float]
    upper: tuple[float, float]
    unused: int

    def __post_init__(self) -> None:
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
    def fit(cls, values: Floats, *, num_bins: int) -> Self:
        """Fit edges, densities inside and tails on the finite values of a training block.

        Parameters
        ----------
        values : float64
            r/σ, or the scaled level.
        num_bins : int
            In [4, 4096]; merged where narrower than `NARROWEST` standard deviations.

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
            asked=num_bins,
            inner=tuple(inner.tolist()),
            slopes=tuple(_slopes(ordered, inner)),
            lower=_tail(inner[0] - ordered[ordered < inner[0]], inner[1] - inner[0]),
            upper=_tail(ordered[ordered > inner[-1]] - inner[-1], inner[-1] - inner[-2]),
            unused=int((held == 0).sum()) + num_bins - len(held),
        )

    def bins(self, ids: Ids) -> Ids:
        """Bin numbers 0..V − 1 of ids."""
        return ids - FIRST_ID

    def encode(self, values: Floats) -> Ids:
        """Ids of values; NaN becomes the middle bin, which says nothing."""
        bins = np.searchsorted(np.array(self.inner), values, side="right")
        return np.where(np.isnan(values), self.num_bins // 2, bins).astype(np.int64) + FIRST_ID

    def decode(self, ids: Ids, inside: Floats | float = 0.5) -> Floats:
        """Values at the share `inside` ∈ [0, 1) of the probability of each id's bin."""
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


@dataclass(frozen=True)
class EqualTransformBins(ReturnTokenizer):
    """The product's own tokens, under the interface of the others."""

    scheme = "pit"
    unused = 0

    def log_inside(self, values: Floats) -> Floats:
        """Log density of levels given their bin: ``ln V`` everywhere."""
        return np.full(np.shape(values), np.log(self.num_bins))


Tokenizer = BinTokenizer | EqualTransformBins


SMOOTHING = 0.5
"""Added to the count of every token, so that none is impossible [Krichevsky and Trofimov, 1981]."""

SCALED_BINS = 4094
"""Bins of mean-scaled levels, as in Chronos."""

ROUND_TRIP_DRAWS = 1_000_000
"""Draws for the variance that a round trip keeps."""


@dataclass(frozen=True, eq=False)
class NextReturns:
    """Next-day returns with what was known before them; every array has M rows.

    Attributes
    ----------
    symbols : (M,) object
    cutoffs, known : (M,) datetime64[D]
        The session before the return, and its own.
    returns : (M,) float64
        Log returns.
    loc, scale, nu : (M,) float64
        The reference at the cutoff.
    level : (M,) float64
        Last close over the mean close of the context, at the cutoff.
    """

    symbols: Any
    cutoffs: Dates
    known: Dates
    returns: Floats
    loc: Floats
    scale: Floats
    nu: Floats
    level: Floats

    @classmethod
    def of(cls, panel: Panel, reference: Reference) -> "NextReturns":
        """Every return of a panel whose scale and context were known the day before."""
        parts = []
        for symbol, one in features(panel).items():
            n = len(one.sessions)
            close = panel[symbol].adj_close
            parameters = reference.parameters(symbol, one)
            columns = [
                one.sessions[:-1],
                one.sessions[1:],
                one.returns[1:],
                *(x[:-1, 0] for x in (parameters.loc, parameters.scale, parameters.nu)),
                (close / rolling_mean(close, CONTEXT))[:-1],
            ]
            names = np.full(n - 1, symbol, dtype=object)
            whole = np.isfinite(np.array(columns[2:])).all(axis=0)
            parts.append([column[whole] for column in (names, *columns)])
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def __len__(self) -> int:
        return len(self.returns)

    def pick(self, rows: Any) -> "NextReturns":
        """The same columns at some rows."""
        return replace(self, **{name: values[rows] for name, values in vars(self).items()})

    def values(self, scheme: type[Tokenizer]) -> Floats:
        """The number that a scheme cuts, (M,)."""
        if scheme is EqualTransformBins:
            return np.asarray(special.stdtr(self.nu, (self.returns - self.loc) / self.scale))
        if scheme is MeanScaledTokenizer:
            return np.asarray(self.level * np.exp(self.returns))
        return self.returns / self.scale

    def returns_of(self, scheme: type[Tokenizer], values: Floats) -> Floats:
        """The returns that have these numbers, (M,): undoes `values`."""
        if scheme is EqualTransformBins:
            return self.loc + self.scale * special.stdtrit(self.nu, values)
        if scheme is MeanScaledTokenizer:
            return np.asarray(np.log(values / self.level))
        return values * self.scale

    def log_slope(self, scheme: type[Tokenizer]) -> Floats:
        """``log |dx/dr|`` of the number that a scheme cuts, (M,)."""
        if scheme is EqualTransformBins:
            return t_log_density((self.returns - self.loc) / self.scale, self.nu) - np.log(
                self.scale
            )
        if scheme is MeanScaledTokenizer:
            return np.asarray(np.log(self.level) + self.returns)
        return -np.log(self.scale)


def unigram(tokenizer: Tokenizer, ids: Ids) -> Floats:
    """Smoothed token frequencies of a training block: (V,)."""
    counts = np.bincount(tokenizer.bins(ids), minlength=tokenizer.num_bins) + SMOOTHING
    return np.asarray(counts / counts.sum())


def log_scores(tokenizer: Tokenizer, probs: Floats, rows: NextReturns) -> Floats:
    """Negative log density of each return under fixed token probabilities (V,), in nats: (M,)."""
    values = rows.values(type(tokenizer))
    token = np.log(probs[tokenizer.bins(tokenizer.encode(values))])
    return -(token + tokenizer.log_inside(values) + rows.log_slope(type(tokenizer)))


def variance_kept(tokenizer: Tokenizer, rows: NextReturns, *, seed: int = 0) -> float:
    """Variance of z = r/σ after a token round trip with a draw inside the bin, over that before.

    Averaged over enough draws to see a quarter of a per cent. Before the round trip z is `limited`,
    as in the fit: a single crash can be a tenth of a sample's variance, and no draw brings it back.
    """
    scheme, rng = type(tokenizer), np.random.default_rng(seed)
    ids, z = tokenizer.encode(rows.values(scheme)), rows.returns / rows.scale
    after = []
    for _ in range(max(1, ROUND_TRIP_DRAWS // len(ids))):
        again = rows.returns_of(scheme, tokenizer.decode(ids, rng.random(len(ids))))
        after.append((again / rows.scale).var())
    return float(np.mean(after) / limited(z).var())


@dataclass(frozen=True, eq=False)
class SchemeComparison:
    """Unigrams of several tokenizers on one test block.

    Attributes
    ----------
    table : DataFrame
        One line per scheme: ``scheme, asked, bins, unused`` (share of the asked bins without a
        training value), ``variance`` (kept on train), ``zeros`` (share on train), ``log_score``
        on test and ``excess``, its difference to the reference's own.
    differences : DataFrame
        ``cutoff``, then a column per line of the table: log score less the reference's, averaged
        over symbols.
    """

    table: pd.DataFrame
    differences: pd.DataFrame


def compare_schemes(
    panel: Panel, *, train_until: Any, test_from: Any, num_bins: Sequence[int] = (24, 64)
) -> SchemeComparison:
    """Fit every scheme on one block, and score its token frequencies on a later one.

    Parameters
    ----------
    panel : Panel
    train_until, test_from : date
        Reference, edges and frequencies see bars up to the first; scores start at the second.
    num_bins : sequence of int
        Sizes for every scheme; mean-scaled levels also come with `SCALED_BINS`.

    Raises
    ------
    NotEnoughDataError
        If a block has no returns.
    """
    train_panel = panel.until(train_until)
    reference = Reference.fit(train_panel, horizon=1)
    rows = NextReturns.of(panel, reference)
    train = rows.pick(rows.known <= train_panel.sessions[-1])
    test = rows.pick(rows.cutoffs >= np.datetime64(test_from, "D"))
    if not len(train) or not len(test):
        raise NotEnoughDataError(
            f"The blocks hold {len(train)} training and {len(test)} test returns. "
            "Give a longer history or other dates."
        )
    own = -test.log_slope(
        EqualTransformBins
    )  # the reference's density is the slope of its transform
    zeros = EqualTransformBins.fit(train_panel, num_bins=2).zero_share
    lines, excess = [], {}
    kinds: list[tuple[type[Tokenizer], int]] = [(EqualTransformBins, v) for v in num_bins]
    kinds += [(scheme, v) for scheme in SCHEMES for v in num_bins]
    kinds += [(MeanScaledTokenizer, SCALED_BINS)]
    for kind, asked in kinds:
        tokenizer = (
            kind.fit(train_panel, num_bins=asked)
            if issubclass(kind, EqualTransformBins)
            else kind.fit(train.values(kind), num_bins=asked)
        )
        probs = unigram(tokenizer, tokenizer.encode(train.values(kind)))
        scores = log_scores(tokenizer, probs, test)
        unused = tokenizer.unused
        lines.append(
            {
                "scheme": kind.scheme,
                "asked": asked,
                "bins": tokenizer.num_bins,
                "unused": unused / asked,
                "variance": variance_kept(tokenizer, train),
                "zeros": zeros,
                "log_score": float(scores.mean()),
                "excess": float((scores - own).mean()),
            }
        )
        excess[f"{kind.scheme}-{asked}"] = scores - own
    frame = pd.DataFrame({"cutoff": test.cutoffs.astype("datetime64[s]"), **excess})
    return SchemeComparison(pd.DataFrame(lines), frame.groupby("cutoff").mean().reset_index())


def lines(comparison: SchemeComparison) -> list[str]:
    """The comparison as a Markdown table."""
    found = [
        "| tokens | V asked | V | bins unused | variance kept | log score | over the reference | t |",
        "|---|---|---|---|---|---|---|---|",
    ]
    daily = comparison.differences
    dates = daily["cutoff"].to_numpy().astype("datetime64[D]")
    for row, name in zip(
        comparison.table.to_dict("records"), daily.columns.drop("cutoff"), strict=True
    ):
        excess = daily[name].to_numpy()
        test = diebold_mariano(excess, np.zeros(len(excess)), dates)
        found.append(
            f"| `{row['scheme']}` | {row['asked']} | {row['bins']} | {row['unused']:.1%} "
            f"| {row['variance']:.1%} | {row['log_score']:.4f} | {row['excess']:+.4f} "
            f"| {test.t:+.1f} |".replace(" -", " −")
        )
    return found


def main() -> None:
    """Compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panel", type=Path)
    parser.add_argument("--train-until", default="2007-12-31")
    parser.add_argument("--test-from", default="2008-01-02")
    asked = parser.parse_args()
    panel = sample_panel() if asked.panel is None else read_panel(asked.panel)
    comparison = compare_schemes(
        panel, train_until=asked.train_until, test_from=asked.test_from, num_bins=(24, 64)
    )
    zeros = comparison.table["zeros"].iloc[0]
    print(f"{len(panel)} symbols, {zeros:.2%} of the training returns are exactly 0")
    print("\n".join(lines(comparison)))


if __name__ == "__main__":
    main()
