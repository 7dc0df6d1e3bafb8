"""What the machine reads and writes: token ids, padded time-major, with their lengths.

Owns PAD, EOS, `Batch` and how sequences become one, in buckets of like length if asked. Does not know
what an id stands for nor who made it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from quantseq.errors import ConfigError, check_parameters
from quantseq.files import sha256_bytes

PAD = 0  # fills what is shorter than its neighbours. Carries no meaning
EOS = 1  # ends a target; as decoder input it also starts one
FIRST_ID = 2  # the first id with a meaning of its own

TokenIds = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Batch:
    """B sequence pairs, time-major: row t of a matrix is time t of every sequence.

    What lies beyond a sequence's length is PAD and must not matter. T may be 0 when there is only
    something to decode (see `Batch.of_source`). A ConfigError if the shapes do not fit together.
    """

    source: Int[Tensor, "S B"]
    source_lengths: Int[Tensor, " B"]  # valid steps, 1..S
    target_in: Int[Tensor, "T B"]  # what the decoder is fed under teacher forcing
    target_out: Int[Tensor, "T B"]  # what it should answer
    target_lengths: Int[Tensor, " B"]  # valid steps, 0..T
    channels: Float[Tensor, "S B K"] | None = None  # numbers beside each source id
    # numbers beside each target step; the last row serves all later steps
    condition: Float[Tensor, "U B C"] | None = None

    def __post_init__(self) -> None:
        steps, size = self.source.shape
        expected: dict[str, tuple[int, ...]] = {"channels": (steps, size)}
        expected |= dict.fromkeys(("source_lengths", "target_lengths"), (size,))
        expected |= dict.fromkeys(("target_in", "target_out"), (len(self.target_in), size))
        if self.condition is not None:
            expected["condition"] = (max(len(self.condition), 1), size)
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is not None and value.shape[: len(shape)] != shape:
                raise ConfigError(
                    f"Batch.{name} has the shape {tuple(value.shape)}; with a source of {steps} steps "
                    f"and {size} sequences it must begin with {shape}."
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
        channels: Float[Tensor, "S B K"] | None = None,
        condition: Float[Tensor, "U B C"] | None = None,
    ) -> "Batch":
        """Make a batch without targets, for decoding."""
        empty = source.new_zeros((0, source.shape[1]))
        none = torch.zeros_like(source_lengths)
        return cls(source, source_lengths, empty, empty, none, channels, condition)

    def rows(self, index: Int[Tensor, " _"]) -> "Batch":
        """Pick sequences by position, in the order of `index`."""
        by_row = ("source_lengths", "target_lengths")
        return self._map(lambda name, value: value[index] if name in by_row else value[:, index])

    def to(self, device: torch.device | str) -> "Batch":
        """Move every tensor to `device`; the batch itself if it is there already."""
        if self.source.device == torch.device(device):
            return self
        return self._map(lambda _, value: value.to(device))

    def _map(self, change: Callable[[str, Tensor], Tensor]) -> "Batch":
        parts = {n: None if v is None else change(n, v) for n, v in vars(self).items()}
        return Batch(**parts)  # type: ignore[arg-type]

    def fingerprint(self) -> str:
        """Hash of all ids, numbers, lengths and shapes."""
        parts = [value.cpu() for value in vars(self).values() if value is not None]
        return sha256_bytes(
            b"".join(repr(tuple(one.shape)).encode() + one.numpy().tobytes() for one in parts)
        )


def batch(
    sequences: Sequence[Sequence[int]], max_sequence_length: int | None = None
) -> tuple[TokenIds, TokenIds]:
    """Turn a list of sequences into one time-major matrix, padded with PAD, and their lengths.

    The tutorial's helper of this name: column b is sequence b from top to bottom, with as many rows as
    the longest sequence needs or as are asked for. A ConfigError if that does not fit.

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
    targets: Sequence[Sequence[int]],
    *,
    sources: Sequence[Sequence[int]] | None = None,
    source_steps: int | None = None,
) -> Batch:
    """Batch in which the decoder is fed ``[EOS] + target`` and should answer ``target + [EOS]``.

    Sources are the targets themselves if none are given: the copy task. They are padded to
    `source_steps`, by default to the longest.
    """
    source, source_lengths = batch(targets if sources is None else sources, source_steps)
    target_in, target_lengths = batch([[EOS, *target] for target in targets])
    target_out, _ = batch([[*target, EOS] for target in targets])
    parts = (source, source_lengths, target_in, target_out, target_lengths)
    return Batch(*map(torch.from_numpy, parts))


def bucket_batches(
    sequences: Sequence[Sequence[int]],
    *,
    bounds: Sequence[int],
    batch_size: int,
    seed: int = 0,
) -> list[Batch]:
    """Cut sequences into copy-task batches of like length, as static unrolling needs them.

    Every bucket has one shape: its sources are padded to its bound, the longest that belongs there.
    Order within buckets and of batches is shuffled; the last batch of a bucket may be smaller.
    """
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    longest = int(lengths.max(initial=1))
    if not bounds or (np.diff(bounds) <= 0).any() or bounds[-1] < longest:
        raise ConfigError(
            f"The 'bounds' parameter of bucket_batches must increase and end at {longest} or later, "
            f"the longest source. Got {tuple(bounds)}."
        )
    random, place = np.random.default_rng(seed), np.searchsorted(bounds, lengths)
    batches = []
    for bucket, bound in enumerate(bounds):
        rows = random.permutation(np.flatnonzero(place == bucket))
        for start in range(0, len(rows), batch_size):
            chosen = [sequences[row] for row in rows[start : start + batch_size]]
            batches.append(teacher_forcing(chosen, source_steps=bound))
    return [batches[i] for i in random.permutation(len(batches))]


@dataclass(frozen=True)
class RandomSequences:
    """Ranges of random sequences; a ConfigError if no sequence fits them."""

    seed: int = 0
    batch_size: int = 100
    length_from: int = 3  # shortest and longest sequence, inclusive
    length_to: int = 8
    vocab_lower: int = FIRST_ID  # ids from, inclusive, and to, **exclusive**
    vocab_upper: int = 10

    def __post_init__(self) -> None:
        rules = {
            "seed": "int [0, inf)",
            "batch_size": "int [1, inf)",
            "length_from": f"int [1, {self.length_to}], of which the end is length_to",
            "vocab_lower": f"int [0, {self.vocab_upper}), of which the end is vocab_upper",
        }
        check_parameters(self, rules)

    def draw(self, random: np.random.Generator) -> tuple[TokenIds, TokenIds]:
        """Draw one batch: ids (S, B) padded, lengths (B,)."""
        lengths = random.integers(self.length_from, self.length_to + 1, self.batch_size)
        shape = (int(lengths.max()), self.batch_size)
        matrix = random.integers(self.vocab_lower, self.vocab_upper, shape)
        matrix[np.arange(shape[0])[:, None] >= lengths] = PAD
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
    """Yield batches of random integer sequences, for ever: the tutorial's helper of this name.

    Lengths are inclusive, `vocab_upper` is **exclusive**; see `RandomSequences`, which refuses
    impossible ranges at the call.

    Examples
    --------
    >>> sequences = next(random_sequences(3, 8, 2, 10, 100))
    >>> len(sequences), {len(sequence) for sequence in sequences} <= set(range(3, 9))
    (100, True)
    """
    ranges = (length_from, length_to, vocab_lower, vocab_upper)
    source, random = RandomSequences(seed, batch_size, *ranges), np.random.default_rng(seed)

    def batches() -> Iterator[list[list[int]]]:
        while True:
            matrix, lengths = source.draw(random)
            rows = zip(matrix.T.tolist(), lengths.tolist(), strict=True)
            yield [row[:length] for row, length in rows]

    return batches()
