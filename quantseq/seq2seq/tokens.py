"""What the machine reads and writes: token ids, padded time-major, with their lengths.

Owns PAD, EOS and `Batch`. Does not know what an id stands for nor who made it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from quantseq.errors import ConfigError

PAD = 0
"""Fills what is shorter than its neighbours. Carries no meaning."""
EOS = 1
"""Ends a target; as decoder input it also starts one."""
FIRST_ID = 2
"""The first id with a meaning of its own."""

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Batch:
    """B sequence pairs, time-major: row t of a matrix is time t of every sequence.

    Parameters
    ----------
    source : (S, B) int64
        Source ids; what lies beyond a sequence's length is PAD and must not matter.
    source_lengths : (B,) int64
        Valid steps of each source, 1..S.
    target_in, target_out : (T, B) int64
        What the decoder is fed under teacher forcing, and what it should answer. T may be 0 when
        there is only something to decode (see `Batch.of_source`).
    target_lengths : (B,) int64
        Valid steps of each target, 0..T.
    source_extra : (S, B, K) int64, optional
        K further ids per source step, one per stream of `Seq2SeqConfig.source_streams`.
    condition : (B, C) int64, optional
        C ids per sequence that the decoder sees at every step, one per stream of
        `Seq2SeqConfig.condition_streams`.

    Raises
    ------
    ConfigError
        If the shapes do not fit together.
    """

    source: Int[Tensor, "S B"]
    source_lengths: Int[Tensor, " B"]
    target_in: Int[Tensor, "T B"]
    target_out: Int[Tensor, "T B"]
    target_lengths: Int[Tensor, " B"]
    source_extra: Int[Tensor, "S B K"] | None = None
    condition: Int[Tensor, "B C"] | None = None

    def __post_init__(self) -> None:
        size = self.source.shape[-1]
        fits = (
            self.source.ndim == 2
            and self.source_lengths.shape == (size,)
            and self.target_in.ndim == 2
            and self.target_in.shape == self.target_out.shape
            and self.target_in.shape[1] == size
            and self.target_lengths.shape == (size,)
            and (self.source_extra is None or self.source_extra.shape[:2] == self.source.shape)
            and (self.condition is None or self.condition.shape[:1] == (size,))
        )
        if not fits:
            shapes = {
                name: tuple(value.shape)
                for name, value in vars(self).items()
                if isinstance(value, Tensor)
            }
            raise ConfigError(
                f"The parts of a Batch do not fit together: {shapes}. They must be source (S, B), "
                "source_lengths (B,), target_in and target_out (T, B), target_lengths (B,), "
                "source_extra (S, B, K) and condition (B, C)."
            )

    @property
    def size(self) -> int:
        """Number of sequences, B."""
        return int(self.source.shape[1])

    @classmethod
    def of_source(
        cls,
        source: Int[Tensor, "S B"],
        source_lengths: Int[Tensor, " B"],
        *,
        source_extra: Int[Tensor, "S B K"] | None = None,
        condition: Int[Tensor, "B C"] | None = None,
    ) -> "Batch":
        """Make a batch without targets, for decoding."""
        empty = source.new_zeros((0, source.shape[1]))
        none = torch.zeros_like(source_lengths)
        return cls(source, source_lengths, empty, empty, none, source_extra, condition)

    def rows(self, index: Int[Tensor, " _"]) -> "Batch":
        """Pick sequences by position, in the order of `index`."""
        extra, condition = self.source_extra, self.condition
        return Batch(
            source=self.source[:, index],
            source_lengths=self.source_lengths[index],
            target_in=self.target_in[:, index],
            target_out=self.target_out[:, index],
            target_lengths=self.target_lengths[index],
            source_extra=None if extra is None else extra[:, index],
            condition=None if condition is None else condition[index],
        )

    def fingerprint(self) -> str:
        """Hash of all ids, lengths and shapes."""
        digest = hashlib.sha256()
        for value in vars(self).values():
            if isinstance(value, Tensor):
                digest.update(repr(tuple(value.shape)).encode() + value.cpu().numpy().tobytes())
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> "Batch":
        """Move every tensor to `device`; the batch itself if it is there already."""
        if self.source.device == torch.device(device):
            return self
        moved = {
            name: value.to(device) if isinstance(value, Tensor) else None
            for name, value in vars(self).items()
        }
        return Batch(**moved)  # type: ignore[arg-type]


def batch(
    sequences: Sequence[Sequence[int]], max_sequence_length: int | None = None
) -> tuple[Ids, Ids]:
    """Turn a list of sequences into one time-major matrix, padded with PAD, and their lengths.

    The tutorial's helper of this name.

    Parameters
    ----------
    sequences : list of lists of int
        At least one sequence; a sequence may be empty.
    max_sequence_length : int, optional
        Rows of the matrix. By default the length of the longest sequence.

    Returns
    -------
    (max_sequence_length, B) int64
        Column b is sequence b from top to bottom.
    (B,) int64
        Lengths.

    Raises
    ------
    ConfigError
        If there is no sequence, or one is longer than `max_sequence_length`.

    Examples
    --------
    >>> matrix, lengths = batch([[5, 7, 8], [6, 3], [3], [1]])
    >>> matrix.tolist()
    [[5, 6, 3, 1], [7, 3, 0, 0], [8, 0, 0, 0]]
    >>> lengths.tolist()
    [3, 2, 1, 1]
    """
    if not sequences:
        raise ConfigError("batch got no sequence. Give it at least one.")
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    longest = int(lengths.max())
    rows = longest if max_sequence_length is None else max_sequence_length
    if rows < longest:
        raise ConfigError(
            f"The 'max_sequence_length' parameter of batch must be at least {longest}, "
            f"the length of the longest sequence. Got {rows}."
        )
    matrix = np.full((rows, len(sequences)), PAD, dtype=np.int64)
    for column, sequence in enumerate(sequences):
        matrix[: len(sequence), column] = sequence
    return matrix, lengths


def teacher_forcing(
    sequences: Sequence[Sequence[int]], *, sources: Sequence[Sequence[int]] | None = None
) -> Batch:
    """Batch in which the decoder is fed ``[EOS] + target`` and should answer ``target + [EOS]``.

    Parameters
    ----------
    sequences : list of lists of int
        The targets.
    sources : list of lists of int, optional
        The sources. By default the targets themselves: the copy task.

    Returns
    -------
    Batch
        Time-major and padded.
    """
    return pad_batch(sequences if sources is None else sources, sequences)


def pad_batch(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    *,
    source_steps: int | None = None,
) -> Batch:
    """Pad sources and targets into a batch for teacher forcing.

    Parameters
    ----------
    sources, targets : lists of lists of int
        As many of one as of the other, without EOS.
    source_steps : int, optional
        Steps of the source. By default as many as the longest needs.

    Returns
    -------
    Batch
        Decoder input ``[EOS] + target``, answer ``target + [EOS]``.
    """
    source, source_lengths = batch(sources, source_steps)
    target_in, target_lengths = batch([[EOS, *target] for target in targets])
    target_out, _ = batch([[*target, EOS] for target in targets])
    return Batch(
        source=torch.from_numpy(source),
        source_lengths=torch.from_numpy(source_lengths),
        target_in=torch.from_numpy(target_in),
        target_out=torch.from_numpy(target_out),
        target_lengths=torch.from_numpy(target_lengths),
    )


def check_ranges(
    length_from: int, length_to: int, vocab_lower: int, vocab_upper: int, batch_size: int
) -> None:
    """Refuse ranges that no random sequence fits.

    Raises
    ------
    ConfigError
        If there are none.
    """
    if not 1 <= length_from <= length_to:
        raise ConfigError(
            "Random sequences need 1 <= length_from <= length_to. "
            f"Got length_from={length_from}, length_to={length_to}."
        )
    if not 0 <= vocab_lower < vocab_upper:
        raise ConfigError(
            "Random sequences need 0 <= vocab_lower < vocab_upper, the upper end exclusive. "
            f"Got vocab_lower={vocab_lower}, vocab_upper={vocab_upper}."
        )
    if batch_size < 1:
        raise ConfigError(f"Random sequences need batch_size of at least 1. Got {batch_size}.")


def draw_sequences(
    random: np.random.Generator,
    length_from: int,
    length_to: int,
    vocab_lower: int,
    vocab_upper: int,
    batch_size: int,
) -> tuple[Ids, Ids]:
    """Draw one batch of random sequences: ids (S, B) padded, lengths (B,)."""
    lengths = random.integers(length_from, length_to + 1, batch_size)
    matrix = random.integers(vocab_lower, vocab_upper, (int(lengths.max()), batch_size))
    matrix[np.arange(matrix.shape[0])[:, None] >= lengths] = PAD
    return matrix, lengths


def random_sequences(
    length_from: int,
    length_to: int,
    vocab_lower: int,
    vocab_upper: int,
    batch_size: int,
    *,
    seed: int = 0,
) -> Iterator[list[list[int]]]:
    """Yield batches of random integer sequences, for ever.

    The tutorial's helper of this name.

    Parameters
    ----------
    length_from, length_to : int
        Shortest and longest sequence, both inclusive.
    vocab_lower, vocab_upper : int
        Lowest id, inclusive, and highest id, **exclusive**.
    batch_size : int
        Sequences per batch.
    seed : int
        Same seed, same batches.

    Yields
    ------
    list of lists of int
        One batch.

    Raises
    ------
    ConfigError
        If no sequence fits the ranges, or the seed is negative; at the call, not at the first batch.

    Examples
    --------
    >>> sequences = next(random_sequences(3, 8, 2, 10, 100))
    >>> len(sequences), {len(sequence) for sequence in sequences} <= set(range(3, 9))
    (100, True)
    """
    ranges = (length_from, length_to, vocab_lower, vocab_upper, batch_size)
    check_ranges(*ranges)
    if seed < 0:
        raise ConfigError(
            f"The 'seed' parameter of random_sequences must be at least 0. Got {seed}."
        )
    random = np.random.default_rng(seed)

    def batches() -> Iterator[list[list[int]]]:
        while True:
            matrix, lengths = draw_sequences(random, *ranges)
            rows = zip(matrix.T.tolist(), lengths.tolist(), strict=True)
            yield [row[:length] for row, length in rows]

    return batches()
