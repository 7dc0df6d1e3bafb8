"""Padding loses nothing, and a batch refuses parts that do not fit."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.seq2seq.tokens import (
    EOS,
    PAD,
    Batch,
    bucket_batches,
    random_sequences,
    teacher_forcing,
)
from quantseq.seq2seq.tokens import batch as pad
from tests.seq2seq.conftest import config_of, random_batch

sequences = st.lists(st.lists(st.integers(2, 50), max_size=9), min_size=1, max_size=8)


@given(sequences, st.integers(0, 3))
def test_padding_keeps_every_sequence(given_sequences: list[list[int]], more: int) -> None:
    longest = max(map(len, given_sequences))
    matrix, lengths = pad(given_sequences, longest + more)
    assert matrix.shape == (longest + more, len(given_sequences))
    for column, sequence in enumerate(given_sequences):
        assert matrix[: lengths[column], column].tolist() == sequence
        assert (matrix[lengths[column] :, column] == PAD).all()


def test_the_example_of_the_tutorial() -> None:
    matrix, lengths = pad([[5, 7, 8], [6, 3], [3], [1]])
    assert matrix.tolist() == [[5, 6, 3, 1], [7, 3, 0, 0], [8, 0, 0, 0]]
    assert lengths.tolist() == [3, 2, 1, 1]
    assert matrix.dtype == lengths.dtype == np.int64


def test_more_rows_than_needed_are_padding() -> None:
    matrix, _ = pad([[5, 7, 8], [6, 3]], max_sequence_length=5)
    assert matrix[:, 0].tolist() == [5, 7, 8, 0, 0]


@pytest.mark.parametrize(("given_sequences", "rows"), [([], None), ([[1, 2]], 1)])
def test_padding_refuses(given_sequences: list[list[int]], rows: int | None) -> None:
    with pytest.raises(ConfigError):
        pad(given_sequences, rows)


def test_teacher_forcing_starts_and_ends_with_eos() -> None:
    batch = teacher_forcing([[5, 6], [7]])
    assert batch.source.tolist() == [[5, 7], [6, PAD]]
    assert batch.target_in.tolist() == [[EOS, EOS], [5, 7], [6, PAD]]
    assert batch.target_out.tolist() == [[5, 7], [6, EOS], [EOS, PAD]]
    assert batch.target_lengths.tolist() == [3, 2]


def test_sources_may_differ_from_targets() -> None:
    batch = teacher_forcing([[5]], sources=[[2, 3, 4]])
    assert batch.source[:, 0].tolist() == [2, 3, 4]
    assert batch.target_out[:, 0].tolist() == [5, EOS]


@pytest.mark.usefixtures("unchecked")
def test_a_batch_refuses_what_does_not_fit() -> None:
    batch = teacher_forcing([[5, 6], [7]])
    with pytest.raises(ConfigError, match="source_lengths"):
        Batch(
            batch.source,
            batch.source_lengths[:1],
            batch.target_in,
            batch.target_out,
            batch.target_lengths,
        )


def test_rows_and_moving_keep_all_parts() -> None:
    batch = random_batch(config_of(channels=2, condition_size=1))
    picked = batch.rows(torch.tensor([2, 0])).to("cpu")
    assert picked.size == 2
    assert picked.channels is not None
    assert picked.condition is not None
    assert batch.channels is not None
    assert batch.condition is not None
    assert torch.equal(picked.source, batch.source[:, [2, 0]])
    assert torch.equal(picked.channels, batch.channels[:, [2, 0]])
    assert torch.equal(picked.condition, batch.condition[:, [2, 0]])
    assert torch.equal(picked.target_out, batch.target_out[:, [2, 0]])


def test_a_source_alone_is_a_batch() -> None:
    batch = Batch.of_source(torch.tensor([[5, 6]]), torch.tensor([1, 1]))
    assert batch.size == 2
    assert batch.target_in.shape == (0, 2)


def test_random_sequences_are_those_of_the_tutorial() -> None:
    batches = random_sequences(3, 8, 2, 10, 100)
    first, second = next(batches), next(batches)
    assert first != second
    assert len(first) == 100
    assert {len(sequence) for sequence in first} == set(range(3, 9))
    assert {token for sequence in first for token in sequence} == set(range(2, 10))
    assert EOS not in first[0]


@pytest.mark.parametrize(
    "arguments",
    [(8, 3, 2, 10, 5), (0, 3, 2, 10, 5), (3, 8, 10, 10, 5), (3, 8, -1, 10, 5), (3, 8, 2, 10, 0)],
)
def test_impossible_ranges_are_refused_at_once(arguments: Any) -> None:
    with pytest.raises(ConfigError):
        random_sequences(*arguments)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed"):
        random_sequences(3, 8, 2, 10, 100, seed=-1)


def test_same_seed_same_sequences() -> None:
    assert next(random_sequences(3, 8, 2, 10, 9)) == next(random_sequences(3, 8, 2, 10, 9))
    assert next(random_sequences(3, 8, 2, 10, 9)) != next(random_sequences(3, 8, 2, 10, 9, seed=1))


ids = st.lists(st.integers(2, 9), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(st.lists(ids, min_size=1, max_size=30), st.integers(1, 7))
def test_buckets_lose_no_sequence_and_have_one_shape_each(
    given_sequences: list[list[int]], size: int
) -> None:
    seen: Counter[tuple[int, ...]] = Counter()
    for batch in bucket_batches(given_sequences, bounds=(3, 6, 12), batch_size=size):
        assert batch.size <= size
        bound = batch.source.shape[0]
        assert int(batch.source_lengths.min()) > {3: 0, 6: 3, 12: 6}[bound]
        for row, length in enumerate(batch.source_lengths.tolist()):
            assert batch.target_out[length, row] == EOS
            assert (batch.source[length:, row] == PAD).all()
            seen[tuple(batch.source[:length, row].tolist())] += 1
    assert seen == Counter(map(tuple, given_sequences))


def test_a_seed_shuffles_buckets() -> None:
    def first(seed: int) -> list[list[int]]:
        given_sequences = [[2 + i % 7] for i in range(40)]
        batches = bucket_batches(given_sequences, bounds=(1,), batch_size=40, seed=seed)
        return batches[0].source.tolist()

    assert first(0) == first(0) != first(1)


@pytest.mark.parametrize("bounds", [(), (1,), (3, 3)])
def test_bounds_must_cover_the_sequences(bounds: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="bounds"):
        bucket_batches([[2, 2]], bounds=bounds, batch_size=2)
