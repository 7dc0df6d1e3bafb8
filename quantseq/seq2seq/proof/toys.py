"""Sequences of random ids with a known answer: copy, reverse, sort.

Owns how toy batches are made. Does not know models.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from quantseq.errors import ConfigError
from quantseq.seq2seq.tokens import EOS, FIRST_ID, PAD, Batch, Ids, check_ranges, draw_sequences

Toy = Literal["copy", "reverse", "sort"]
TOYS: tuple[Toy, ...] = ("copy", "reverse", "sort")

TRAINING, EVALUATION = 0, 1
"""Streams of random numbers that never meet."""


@dataclass(frozen=True, kw_only=True)
class ToySource:
    """Batches of a toy task, each a function of (seed, step).

    Parameters
    ----------
    toy : 'copy' | 'reverse' | 'sort'
        What the target is made of.
    seed : int
        Seeds the ids.
    batch_size : int
        Sequences per batch.
    length_from, length_to : int
        Shortest and longest sequence, inclusive.
    vocab_lower, vocab_upper : int
        Ids from, inclusive, and to, exclusive.
    source_streams, condition_streams : int
        Further streams, fed with the constant id 0.
    stream : int
        TRAINING or EVALUATION: the two share no batch.

    Raises
    ------
    ConfigError
        If a range is impossible.
    """

    toy: Toy = "copy"
    seed: int = 0
    batch_size: int = 100
    length_from: int = 3
    length_to: int = 8
    vocab_lower: int = FIRST_ID
    vocab_upper: int = 10
    source_streams: int = 0
    condition_streams: int = 0
    stream: int = TRAINING

    def __post_init__(self) -> None:
        if self.toy not in TOYS:
            raise ConfigError(f"The 'toy' parameter must be one of {TOYS}. Got {self.toy!r}.")
        check_ranges(*self._ranges())
        if self.seed < 0:
            raise ConfigError(f"The 'seed' parameter must be at least 0. Got {self.seed}.")

    def draw(self, step: int) -> tuple[Ids, Ids]:
        """Draw the sources of one batch: ids (S, B) padded, lengths (B,)."""
        random = np.random.default_rng((self.seed, self.stream, step))
        return draw_sequences(random, *self._ranges())

    def _ranges(self) -> tuple[int, int, int, int, int]:
        return (
            self.length_from,
            self.length_to,
            self.vocab_lower,
            self.vocab_upper,
            self.batch_size,
        )

    def batch(self, step: int) -> Batch:
        """Give the batch of this step, ready for teacher forcing."""
        source, lengths = self.draw(step)
        answer = self._answer(source, lengths)
        steps, size = source.shape
        target_in = np.concatenate((np.full((1, size), EOS), answer))
        target_out = np.concatenate((answer, np.full((1, size), PAD)))
        target_out[lengths, np.arange(size)] = EOS
        return Batch(
            source=torch.from_numpy(source),
            source_lengths=torch.from_numpy(lengths),
            target_in=torch.from_numpy(target_in),
            target_out=torch.from_numpy(target_out),
            target_lengths=torch.from_numpy(lengths + 1),
            source_extra=(
                torch.from_numpy(np.zeros((steps, size, self.source_streams), dtype=np.int64))
                if self.source_streams
                else None
            ),
            condition=(
                torch.from_numpy(np.zeros((size, self.condition_streams), dtype=np.int64))
                if self.condition_streams
                else None
            ),
        )

    def _answer(self, source: Ids, lengths: Ids) -> Ids:
        if self.toy == "copy":
            return source
        steps = np.arange(source.shape[0])[:, None]
        if self.toy == "reverse":
            index = np.where(steps < lengths, lengths - 1 - steps, steps)
            return np.take_along_axis(source, index, axis=0)
        last = np.iinfo(np.int64).max
        ordered = np.sort(np.where(steps < lengths, source, last), axis=0)
        return np.where(ordered == last, PAD, ordered)
