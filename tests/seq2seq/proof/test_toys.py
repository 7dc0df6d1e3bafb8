"""Toy batches are right by definition, and a function of (seed, step)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.seq2seq.proof.toys import EVALUATION, TOYS, Toy, ToySource
from quantseq.seq2seq.tokens import PAD, teacher_forcing

ANSWER = {"copy": list, "reverse": lambda ids: ids[::-1], "sort": sorted}


@settings(max_examples=30)
@given(st.sampled_from(TOYS), st.integers(0, 99), st.integers(1, 5), st.integers(0, 6))
def test_targets_are_the_task(toy: Toy, seed: int, shortest: int, more: int) -> None:
    source = ToySource(
        toy=toy, seed=seed, batch_size=7, length_from=shortest, length_to=shortest + more
    )
    batch = source.batch(3)
    columns = zip(batch.source.t().tolist(), batch.source_lengths.tolist(), strict=True)
    sequences = [column[:length] for column, length in columns]
    assert all(shortest <= len(sequence) <= shortest + more for sequence in sequences)
    assert all(2 <= token < 10 for sequence in sequences for token in sequence)
    expected = teacher_forcing([ANSWER[toy](s) for s in sequences], sources=sequences)
    for name in ("source", "source_lengths", "target_in", "target_out", "target_lengths"):
        assert torch.equal(getattr(batch, name), getattr(expected, name)), name


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    source = ToySource(seed=4)
    assert torch.equal(source.batch(9).source, ToySource(seed=4).batch(9).source)
    for other in (source.batch(8), replace(source, stream=EVALUATION).batch(9)):
        assert not torch.equal(other.source, source.batch(9).source)


def test_streams_are_constant() -> None:
    batch = ToySource(source_streams=3, condition_streams=2).batch(0)
    assert batch.source_extra is not None
    assert batch.condition is not None
    assert batch.source_extra.shape == (*batch.source.shape, 3)
    assert batch.condition.shape == (100, 2)
    assert not batch.source_extra.any()


def test_all_lengths_and_ids_come_up_evenly() -> None:
    matrix, lengths = ToySource(batch_size=60_000).draw(0)
    assert np.bincount(lengths)[3:] / 60_000 == pytest.approx([1 / 6] * 6, abs=0.01)
    ids = np.bincount(matrix[matrix != PAD])
    assert (ids[2:] / ids.sum()) == pytest.approx([1 / 8] * 8, abs=0.01)


@pytest.mark.parametrize(
    "changes", [{"length_from": 9}, {"vocab_upper": 2}, {"batch_size": 0}], ids=str
)
def test_impossible_ranges_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        ToySource(**changes)


def test_unknown_toys_and_seeds_are_refused() -> None:
    with pytest.raises(ConfigError, match="toy"):
        ToySource(toy="shuffle")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="seed"):
        ToySource(seed=-1)
