"""What a tokenizer costs before any network: every scheme's unigram on the same held-out returns.

Owns how a return becomes the number that a scheme cuts (its transform under the reference, r/σ, or
the next price over the context's mean price), and the log score of token frequencies. Knows nothing
of networks, and leaves significance to the evaluation room.

If x is that number and k its bin, the density of the return is ``p(k) · g(x | k) · |dx/dr|``, exact
for every scheme, so schemes that cut different things can be compared in nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.binning import (
    SCHEMES,
    BinTokenizer,
    MeanScaledTokenizer,
    limited,
)
from quantseq.forecasting.density import t_log_density
from quantseq.forecasting.reference import Reference
from quantseq.forecasting.rows import CONTEXT
from quantseq.forecasting.tokenizer import Ids, Origin, ReturnTokenizer, Tokenizer
from quantseq.forecasting.volatility import features, rolling_mean
from quantseq.market.bars import Dates, Floats, Panel

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
        if scheme is ReturnTokenizer:
            return np.asarray(special.stdtr(self.nu, (self.returns - self.loc) / self.scale))
        if scheme is MeanScaledTokenizer:
            return np.asarray(self.level * np.exp(self.returns))
        return self.returns / self.scale

    def returns_of(self, scheme: type[Tokenizer], values: Floats) -> Floats:
        """The returns that have these numbers, (M,): undoes `values`."""
        if scheme is ReturnTokenizer:
            return self.loc + self.scale * special.stdtrit(self.nu, values)
        if scheme is MeanScaledTokenizer:
            return np.asarray(np.log(values / self.level))
        return values * self.scale

    def log_slope(self, scheme: type[Tokenizer]) -> Floats:
        """``log |dx/dr|`` of the number that a scheme cuts, (M,)."""
        if scheme is ReturnTokenizer:
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
    origin = Origin.of(train_panel)
    rows = NextReturns.of(panel, reference)
    train = rows.pick(rows.known <= train_panel.sessions[-1])
    test = rows.pick(rows.cutoffs >= np.datetime64(test_from, "D"))
    if not len(train) or not len(test):
        raise NotEnoughDataError(
            f"The blocks hold {len(train)} training and {len(test)} test returns. "
            "Give a longer history or other dates."
        )
    own = -test.log_slope(ReturnTokenizer)  # the reference's density is the slope of its transform
    lines, excess = [], {}
    kinds: list[tuple[type[Tokenizer], int]] = [(ReturnTokenizer, v) for v in num_bins]
    kinds += [(scheme, v) for scheme in SCHEMES for v in num_bins]
    kinds += [(MeanScaledTokenizer, SCALED_BINS)]
    for kind, asked in kinds:
        tokenizer = kind.fit(train.values(kind), num_bins=asked, origin=origin)
        probs = unigram(tokenizer, tokenizer.encode(train.values(kind)))
        scores = log_scores(tokenizer, probs, test)
        unused = tokenizer.unused if isinstance(tokenizer, BinTokenizer) else 0
        lines.append(
            {
                "scheme": kind.scheme,
                "asked": asked,
                "bins": tokenizer.num_bins,
                "unused": unused / asked,
                "variance": variance_kept(tokenizer, train),
                "zeros": tokenizer.zero_share,
                "log_score": float(scores.mean()),
                "excess": float((scores - own).mean()),
            }
        )
        excess[f"{kind.scheme}-{asked}"] = scores - own
    frame = pd.DataFrame({"cutoff": test.cutoffs.astype("datetime64[s]"), **excess})
    return SchemeComparison(pd.DataFrame(lines), frame.groupby("cutoff").mean().reset_index())
