"""Sequences of like length in one batch: what static unrolling needs, and what padding it saves.

Owns how a fixed collection of sequence pairs is cut into batches. Does not know what they mean.

A network unrolled to a fixed number of steps (static unrolling) wastes work on padding unless short
sequences share batches with short ones. The loops of this house run as many steps as a batch needs
(dynamic unrolling), so buckets are an option, not a need; the padding they save is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import ConfigError
from quantseq.seq2seq.tokens import Batch, pad_batch

Pair = tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True)
class PaddingReport:
    """Source and target steps of one epoch.

    Parameters
    ----------
    needed : int
        Steps that hold an id.
    bucketed : int
        Steps of all batches, padding included.
    unsorted : int
        The same had batches been cut from the sequences in random order.
    """

    needed: int
    bucketed: int
    unsorted: int

    @property
    def saved(self) -> float:
        """Share of the padding that buckets save."""
        waste = self.unsorted - self.needed
        return (self.unsorted - self.bucketed) / waste if waste else 0.0


@dataclass(frozen=True, kw_only=True)
class BucketSource:
    """Batches of sequence pairs of like length, each a function of (seed, step).

    Every pair comes up once per epoch. Within a bucket pairs are shuffled at every epoch, and so is
    the order of batches. The last batch of a bucket may be smaller.

    Parameters
    ----------
    pairs : sequence of (source, target)
        Ids without EOS; the decoder is fed ``[EOS] + target`` and answers ``target + [EOS]``.
    bounds : tuple of int
        Longest source of each bucket, increasing; the last must cover all.
    batch_size : int
        Pairs per batch.
    seed : int
        Same seed, same batches.
    static : bool
        Whether sources are padded to their bucket's bound, so that every bucket has one shape.

    Raises
    ------
    ConfigError
        If there are no pairs, or the bounds do not cover them.
    """

    pairs: Sequence[Pair]
    bounds: tuple[int, ...]
    batch_size: int
    seed: int = 0
    static: bool = False
    _buckets: list[NDArray[np.int64]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        lengths = np.array([len(source) for source, _ in self.pairs], dtype=np.int64)
        bounds = np.array(self.bounds, dtype=np.int64)
        if not lengths.size or lengths.min() < 1 or self.batch_size < 1:
            raise ConfigError(
                "BucketSource needs pairs with a source of at least one id, and batch_size of at "
                f"least 1. Got {lengths.size} pairs, batch_size={self.batch_size}."
            )
        if not bounds.size or (np.diff(bounds) <= 0).any() or bounds[-1] < lengths.max():
            raise ConfigError(
                "The 'bounds' parameter of BucketSource must increase and end at "
                f"{lengths.max()} or later, the longest source. Got {self.bounds}."
            )
        place = np.searchsorted(bounds, lengths)
        buckets = [np.flatnonzero(place == bucket) for bucket in range(len(bounds))]
        object.__setattr__(self, "_buckets", buckets)

    @property
    def batches_per_epoch(self) -> int:
        """Batches until every pair has come up once."""
        return sum(-(-len(bucket) // self.batch_size) for bucket in self._buckets)

    def batch(self, step: int) -> Batch:
        """Give the batch of this step."""
        epoch, place = divmod(step, self.batches_per_epoch)
        bucket, rows = self._epoch(epoch)[place]
        steps = self.bounds[bucket] if self.static else None
        chosen = [self.pairs[row] for row in rows]
        return pad_batch([s for s, _ in chosen], [t for _, t in chosen], source_steps=steps)

    def _epoch(self, epoch: int) -> list[tuple[int, NDArray[np.int64]]]:
        random = np.random.default_rng((self.seed, epoch))
        cut = [
            (bucket, shuffled[first : first + self.batch_size])
            for bucket, rows in enumerate(self._buckets)
            for shuffled in [random.permutation(rows)]
            for first in range(0, len(rows), self.batch_size)
        ]
        return [cut[place] for place in random.permutation(len(cut))]

    def padding(self) -> PaddingReport:
        """Count the steps of the first epoch."""
        source = np.array([len(pair[0]) for pair in self.pairs])
        target = np.array([len(pair[1]) + 1 for pair in self.pairs])
        order = np.random.default_rng((self.seed, 0)).permutation(len(self.pairs))
        cuts = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        bucketed = sum(
            len(rows)
            * ((self.bounds[bucket] if self.static else source[rows].max()) + target[rows].max())
            for bucket, rows in self._epoch(0)
        )
        unsorted = sum(len(rows) * (source[rows].max() + target[rows].max()) for rows in cuts)
        return PaddingReport(int((source + target).sum()), int(bucketed), int(unsorted))
