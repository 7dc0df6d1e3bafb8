"""What tokens say without a network: how often each comes, and how often each follows another.

Owns `Unigram` and `Markov`: counts of the tokens of the training block, pooled over symbols. Both
reweight the same reference that the network does, so they show what its attention adds to counting.
"""

from dataclasses import dataclass
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from quantseq.forecasting.baselines.rival import Rival, Rows
from quantseq.forecasting.baselines.student import ReferenceForecaster
from quantseq.forecasting.density import TokenDensity
from quantseq.forecasting.distributions import Distribution
from quantseq.forecasting.forecasts import keyed_uniforms
from quantseq.forecasting.volatility import aligned_returns
from quantseq.market.bars import Floats, Panel

NUM_BINS = 24
"""Equal bins of the reference's probability integral transform."""

PRIOR = 50.0
"""Tokens that uniform probabilities are worth: pseudo-counts per row of a table."""


def tokens(levels: Floats) -> NDArray[np.intp]:
    """Bins 0..V−1 of levels in [0, 1]; −1 where unknown."""
    bins = np.minimum(np.nan_to_num(levels) * NUM_BINS, NUM_BINS - 1).astype(np.intp)
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
    padded = counts + PRIOR / NUM_BINS
    return np.asarray(padded / padded.sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class Unigram(Rival):
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
        counts = [np.bincount(t[t >= 0], minlength=NUM_BINS) for t in found.T]
        return cls(
            reference.trained_until, reference.overnight_share, reference, _shares(np.array(counts))
        )

    def distribution(self, rows: Rows, horizon: int) -> TokenDensity:
        """See `Rival.distribution`."""
        plain = self.reference.distribution(rows, horizon)
        probs = np.broadcast_to(self.probs[:horizon], (*plain.shape, NUM_BINS))
        return TokenDensity(plain.loc, plain.scale, plain.nu, probs)

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Rival.paths`: independent tokens, and a uniform place inside each bin."""
        density = cast(TokenDensity, found)
        shape = (2, num_paths, density.shape[1])
        draws = keyed_uniforms(seed, rows.symbols, rows.cutoffs, shape)
        bins = [_draw(self.probs[step], draws[:, 0, :, step]) for step in range(density.shape[1])]
        return density.at_tokens(np.stack(bins, axis=-1), draws[:, 1])


@dataclass(frozen=True)
class Markov(Rival):
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
        counts = np.zeros((NUM_BINS + 1, NUM_BINS))
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
        """See `Rival.distribution`."""
        plain = self.reference.distribution(rows, horizon)
        tables = [self.table]
        for _ in range(horizon - 1):
            tables.append(tables[-1] @ self.table[:-1])
        probs = np.stack(tables, axis=1)[self._last_tokens(rows)]
        return TokenDensity(plain.loc, plain.scale, plain.nu, probs)

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Rival.paths`."""
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
