"""Exact match is strict, and edit distance is Levenshtein's."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.seq2seq.proof.mastery import (
    edit_distances,
    free_running,
    free_running_ids,
    right,
    share_by_length,
    teacher_forced_ids,
)
from quantseq.seq2seq.tokens import EOS, teacher_forcing
from quantseq.seq2seq.tokens import batch as pad
from tests.seq2seq.conftest import config_of, machine

words = st.lists(st.integers(2, 4), max_size=5)


def slow_distance(a: list[int], b: list[int]) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(
        slow_distance(a[1:], b[1:]) + (a[0] != b[0]),
        slow_distance(a[1:], b) + 1,
        slow_distance(a, b[1:]) + 1,
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=4))
def test_edit_distance_is_the_recursion(pairs: list[tuple[list[int], list[int]]]) -> None:
    answers, _ = pad([[*a, EOS] for a, _ in pairs])
    truth, _ = pad([[*b, EOS] for _, b in pairs])
    expected = [slow_distance(a, b) for a, b in pairs]
    assert edit_distances(answers, truth).tolist() == expected


def test_without_eos_all_ids_count() -> None:
    assert edit_distances(np.array([[2], [3], [4]]), np.array([[2], [EOS], [0]])).tolist() == [2]


def test_an_answer_is_right_as_a_whole_or_not_at_all() -> None:
    batch = teacher_forcing([[5, 6], [5, 6], [5, 6], [7]])
    answers = torch.tensor([[5, 6, EOS, 0], [5, 6, 0, 0], [5, 6, 7, EOS], [7, EOS, 0, 0]]).t()
    assert right(answers, batch).tolist() == [True, False, False, True]
    longer = torch.cat((answers, torch.tensor([[0, 0, 0, 9]])))
    assert right(longer, batch).tolist() == [True, False, False, False]


def test_share_by_length_reads_the_source() -> None:
    batch = teacher_forcing([[5, 6], [5, 6], [7]])
    assert share_by_length(torch.tensor([True, False, True]), batch) == {"1": 1.0, "2": 0.5}


def test_free_running_feeds_on_itself() -> None:
    model, batch = machine(config_of()).train(), teacher_forcing([[5, 6], [3]])
    ids = free_running_ids(model, batch)
    assert ids.shape == (batch.target_out.shape[0] + 1, 2)
    assert model.training
    assert torch.equal(free_running(model, batch), right(ids, batch))
    forced = teacher_forced_ids(model, batch)
    assert forced.shape == batch.target_out.shape
    assert torch.equal(forced[0], ids[0])
