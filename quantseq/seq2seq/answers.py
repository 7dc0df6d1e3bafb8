"""What decoding gives back, and the ground all ways of decoding stand on.

Owns `Samples`, the rules of what may be emitted, and the cutting of batches into chunks of a fixed
number of rows. Does not choose ids.

Why fixed rows: the last bits of a matrix product depend on its shape. Every chunk is therefore padded
to the same number of sequences, so that a sequence's answer does not depend on its batch mates, on
their number or on their order. That holds to the bit if all sizes of the architecture are
multiples of 4 and torch runs on one thread; for other sizes the linear algebra library may round a row
by its place, and answers agree to rounding.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from quantseq.errors import ConfigError
from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.network.memory import Memory
from quantseq.seq2seq.tokens import EOS, Batch

ENCODE_ROWS = 128
"""Sources per encoder chunk."""
DECODE_ROWS = 2048
"""About this many decoder rows per chunk: they stay in the processor's cache."""
LANES = 32
"""Row counts are multiples of this, so that vectorised arithmetic has no ragged end."""


@dataclass(frozen=True, eq=False)
class Samples:
    """N answers for each of B sources.

    Parameters
    ----------
    ids : (B, N, T) int64
        Emitted ids, EOS included; PAD after the end.
    log_probs : (B, N, T) float32
        The model's own log-probability of each id among those that may be emitted, untempered and
        untruncated; 0 after the end.
    lengths : (B, N) int64
        Ids before EOS, or T if EOS never came.
    marginals : (B, T, V) float32 or None
        Step probabilities averaged over the N answers, untempered and untruncated: exact at step 1,
        Monte Carlo after it. An answer that is over counts as certain PAD.
    scores : (B, N) float32 or None
        What beam search ranked by; None for other ways of decoding.
    """

    ids: Int[Tensor, "B N T"]
    log_probs: Float[Tensor, "B N T"]
    lengths: Int[Tensor, "B N"]
    marginals: Float[Tensor, "B T V"] | None = None
    scores: Float[Tensor, "B N"] | None = None

    def sequences(self) -> list[list[list[int]]]:
        """Answers as lists, without EOS and padding."""
        return [
            [row[:length] for row, length in zip(rows, lengths, strict=True)]
            for rows, lengths in zip(self.ids.tolist(), self.lengths.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class Rules:
    """What may be emitted when.

    Parameters
    ----------
    steps : int
        Most ids per answer.
    min_length : int
        EOS is forbidden before this many ids.
    forbid : tuple of int
        Ids forbidden at every step.
    """

    steps: int
    min_length: int = 0
    forbid: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        model: Seq2Seq,
        *,
        length: int | None,
        max_length: int | None,
        min_length: int,
        forbid: Sequence[int],
    ) -> "Rules":
        """Check what a caller asked for.

        Raises
        ------
        ConfigError
            If not exactly one of `length` and `max_length` is given, or nothing may be emitted.
        """
        if (length is None) == (max_length is None):
            raise ConfigError(
                "Decoding needs exactly one of 'length' (always that many ids) and 'max_length' "
                f"(up to EOS). Got length={length!r}, max_length={max_length!r}."
            )
        steps = length if length is not None else max_length
        assert steps is not None
        if steps < 1 or not 0 <= min_length <= steps:
            raise ConfigError(
                f"Decoding needs at least 1 step and 'min_length' in [0, {steps}]. "
                f"Got {steps} steps, min_length={min_length}."
            )
        size = model.config.vocab_size
        if not set(forbid) <= set(range(size)):
            raise ConfigError(f"'forbid' must hold ids below {size}. Got {tuple(forbid)}.")
        rules = cls(steps, steps if length is not None else min_length, tuple(forbid))
        left = set(range(size)) - set(rules.forbid) - set(model.config.never_emit)
        if not left - ({EOS} if rules.min_length else set()):
            raise ConfigError(
                f"Nothing is left to emit: 'forbid' is {tuple(forbid)}, the model never emits "
                f"{model.config.never_emit}. Leave at least one id other than EOS."
            )
        return rules

    def apply(self, logits: Float[Tensor, "*rows V"], step: int) -> Float[Tensor, "*rows V"]:
        """Give forbidden ids minus infinity: logits (..., V) of step `step`, counted from 0."""
        forbidden = list(self.forbid)
        if step < self.min_length and EOS not in forbidden:
            forbidden.append(EOS)
        if not forbidden:
            return logits
        places = torch.tensor(forbidden, device=logits.device)
        return logits.index_fill(-1, places, -torch.inf)


@contextmanager
def answering(model: Seq2Seq) -> Iterator[None]:
    """Eval mode and inference mode; the caller's mode comes back afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


@dataclass(frozen=True)
class Block:
    """Some sources, encoded: the first `stop - start` rows of `memory` are the batch's own.

    Parameters
    ----------
    start, stop : int
        Position in the batch.
    memory : Memory
        Padded to `ENCODE_ROWS` sources.
    """

    start: int
    stop: int
    memory: Memory

    def first_ids(self) -> Int[Tensor, " {self.memory.size}"]:
        """What starts an answer, for every row: EOS."""
        values = self.memory.values
        return torch.full((self.memory.size,), EOS, dtype=torch.int64, device=values.device)


def windows_per_chunk(paths: int) -> int:
    """Sources decoded together: the power of two that keeps about `DECODE_ROWS` rows busy."""
    wanted = max(1, DECODE_ROWS // paths)
    return int(min(ENCODE_ROWS, 1 << (wanted.bit_length() - 1)))


def padded_paths(paths: int, windows: int) -> int:
    """Paths per source such that `windows` times them is a multiple of `LANES`."""
    step = max(1, LANES // windows)
    return -(-paths // step) * step


def blocks(model: Seq2Seq, batch: Batch) -> Iterator[Block]:
    """Encode a batch in blocks of `ENCODE_ROWS` sources; the last one repeats its last source.

    The batch may lie elsewhere than the model; what comes out is where the model is.
    """
    batch = batch.to(model.device)
    for start in range(0, batch.size, ENCODE_ROWS):
        index = torch.arange(start, start + ENCODE_ROWS, device=batch.source.device)
        index = index.clamp(max=batch.size - 1)
        yield Block(start, min(start + ENCODE_ROWS, batch.size), model.encode(batch.rows(index)))


def parts(block: Block, windows: int) -> Iterator[tuple[int, int]]:
    """Cut a block into ranges of `windows` rows that hold sources of the batch's own."""
    for offset in range(0, block.stop - block.start, windows):
        yield offset, offset + windows
