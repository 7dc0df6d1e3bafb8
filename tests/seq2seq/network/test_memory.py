"""Rows of memory and state can be picked and repeated without losing track of them."""

import torch

from quantseq.seq2seq.network.memory import State
from tests.seq2seq.conftest import config_of, machine, random_batch


def test_repeated_rows_stand_side_by_side() -> None:
    state = State((torch.tensor([[1.0], [2.0]]),), (None,))
    assert state.repeat(2).hidden[0].tolist() == [[1.0], [1.0], [2.0], [2.0]]
    assert state.repeat(2).cell == (None,)


def test_rows_of_a_state_are_picked_by_position() -> None:
    state = State((torch.tensor([[1.0], [2.0]]),), (torch.tensor([[3.0], [4.0]]),))
    picked = state.rows(torch.tensor([1, 1, 0]))
    assert picked.hidden[0].tolist() == [[2.0], [2.0], [1.0]]
    assert picked.cell[0] is not None
    assert picked.cell[0].tolist() == [[4.0], [4.0], [3.0]]


def test_a_slice_of_memory_answers_like_the_whole() -> None:
    config = config_of(bidirectional=True, attention="bahdanau", condition_streams=(3,))
    model, batch = machine(config), random_batch(config)
    memory = model.encode(batch)
    part = memory.rows(1, 3)
    whole, _ = model.decode_step(batch.target_in[0], memory.state, memory)
    sliced, _ = model.decode_step(batch.target_in[0, 1:3], part.state, part)
    torch.testing.assert_close(sliced, whole[1:3])
