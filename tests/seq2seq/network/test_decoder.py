"""The decoder's output layer and conditioning."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from quantseq.seq2seq.model import Seq2Seq
from tests.seq2seq.conftest import config_of, machine, random_batch


def test_a_tied_projection_moves_with_the_embedding() -> None:
    config = config_of(tie_projection=True)
    model, batch = machine(config), random_batch(config)
    before = model(batch)[0]
    with torch.no_grad():
        model.decoder.embedding.weight[6] += 1.0
    after = model(batch)[0]
    assert not torch.allclose(after[:, 6], before[:, 6])


def test_conditions_reach_the_first_step() -> None:
    config = config_of(condition_streams=(4,), bidirectional=True, attention="bahdanau")
    model, batch = machine(config), random_batch(config)
    assert batch.condition is not None
    other = replace(batch, condition=(batch.condition + 1) % 4)
    assert not torch.allclose(model(other)[0], model(batch)[0])


def test_a_zero_projection_starts_uniform() -> None:
    config = config_of(zero_projection=True, attention="luong")
    logits = Seq2Seq(config)(random_batch(config))
    assert torch.equal(logits, torch.zeros_like(logits))


def test_a_large_vocabulary_takes_the_other_way_to_the_same_logits() -> None:
    config = config_of(vocab_size=1500, bidirectional=True)
    model, batch = machine(config), random_batch(config)
    memory = model.encode(batch)
    step, _ = model.decode_step(batch.target_in[0], memory.state, memory)
    torch.testing.assert_close(step, model(batch)[0])


@pytest.mark.parametrize("changes", [{}, {"condition_streams": (4, 2)}, {"layers": 2}], ids=str)
@pytest.mark.parametrize("attention", ["none", "bahdanau", "luong"])
def test_prepared_memory_answers_the_same(attention: str, changes: dict[str, Any]) -> None:
    config = config_of(attention=attention, **changes)
    model, batch = machine(config), random_batch(config)
    with torch.no_grad():
        memory = model.encode(batch)
        ids = torch.arange(8) % 5 + 2
        prepared = model.decoder.prepare(memory, 8)
        assert prepared.prepared is not None
        logits, state = model.decode_step(ids, memory.state.repeat(2), memory)
        quick, quick_state = model.decode_step(ids, memory.state.repeat(2), prepared)
    torch.testing.assert_close(quick, logits)
    torch.testing.assert_close(quick_state.hidden, state.hidden)


def test_training_is_never_prepared() -> None:
    model, batch = machine(config_of()).train(), random_batch(config_of())
    assert model.decoder.prepare(model.encode(batch), 4).prepared is None
