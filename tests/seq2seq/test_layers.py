"""Layers join what differs in size, attention is its formula, and weights begin where they should."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantseq.seq2seq.layers import Bahdanau, Luong, State, padding_of
from quantseq.seq2seq.model import Seq2Seq
from tests.seq2seq.conftest import config_of, machine, random_batch

B, Q, S, H, M, A = 3, 4, 5, 6, 7, 2


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("changes", "bridges"),
    [
        ({}, 0),
        ({"bidirectional": True, "decoder_hidden_size": 12}, 0),
        ({"decoder_hidden_size": 9, "layers": 2}, 2),
        ({"bidirectional": True, "cell": "gru"}, 1),
    ],
    ids=str,
)
def test_a_bridge_stands_only_where_sizes_differ(changes: dict[str, Any], bridges: int) -> None:
    encoder = Seq2Seq(config_of(**changes)).encoder
    assert sum(isinstance(bridge, nn.Linear) for bridge in encoder.bridges) == bridges


@pytest.mark.parametrize("both", [False, True])
def test_the_state_of_the_last_valid_step_is_handed_over(both: bool) -> None:
    config = config_of(bidirectional=both, decoder_hidden_size=12 if both else None)
    batch = random_batch(config)
    outputs, state = machine(config).encoder(batch)
    last = outputs[batch.source_lengths - 1, torch.arange(batch.size)]
    expected = torch.cat((last[:, :6], outputs[0, :, 6:]), dim=1)
    torch.testing.assert_close(state.hidden[0], expected)


def test_nothing_is_padding_when_all_are_of_full_length() -> None:
    assert padding_of(random_batch(config_of(), (3, 3))) is None
    blocked = padding_of(random_batch(config_of(), (3, 1)))
    assert blocked is not None
    assert blocked.tolist() == [[False] * 3, [False, True, True]]


def test_channels_are_read_with_the_ids() -> None:
    config = config_of(channels=2)
    model, batch = machine(config), random_batch(config)
    assert batch.channels is not None
    before = model.encode(batch).values
    turned_over = replace(batch, channels=-batch.channels)
    assert not torch.allclose(model.encode(turned_over).values, before)
    with torch.no_grad():
        assert model.encoder.channels is not None
        model.encoder.channels.weight.zero_()
    assert torch.equal(model.encode(turned_over).values, model.encode(batch).values)


@pytest.mark.parametrize("attention", ["none", "luong", "bahdanau"])
def test_a_condition_reaches_its_own_step_and_the_last_all_later_ones(attention: str) -> None:
    config = config_of(condition_size=4, bidirectional=True, attention=attention)
    model = machine(config)
    batch = random_batch(config, (5, 5), (5, 5))
    assert batch.condition is not None
    for place in range(3):
        condition = batch.condition.clone()
        condition[place] += 1
        moved = (model(replace(batch, condition=condition)) - model(batch)).abs().amax(dim=(1, 2))
        touched = torch.arange(5).clamp(max=2) == place
        assert ((moved > 1e-6) == touched).all()


def test_a_tied_projection_moves_with_the_embedding() -> None:
    config = config_of(tie_projection=True)
    model, batch = machine(config), random_batch(config)
    before = model(batch)[0]
    with torch.no_grad():
        model.decoder.embedding.weight[6] += 1.0
    assert not torch.allclose(model(batch)[0, :, 6], before[:, 6])


def test_a_zero_projection_starts_uniform() -> None:
    config = config_of(zero_projection=True, attention="luong")
    logits = Seq2Seq(config)(random_batch(config))
    assert torch.equal(logits, torch.zeros_like(logits))


def test_additive_scores_are_the_formula() -> None:
    attention, queries, outputs = Bahdanau(H, M, A), draw(B, Q, H, seed=8), draw(B, S, M, seed=9)
    keys, values = attention.project(outputs)
    scores = attention.scores(queries, keys)
    for b, q, s in ((0, 0, 0), (2, 3, 4), (1, 2, 0)):
        met = torch.tanh(attention.query(queries[b, q]) + attention.key(outputs[b, s]))
        torch.testing.assert_close(scores[b, q, s], attention.score @ met)
    assert values is outputs


def test_multiplicative_scores_are_the_formula() -> None:
    attention, queries, outputs = Luong(H, M), draw(B, Q, H, seed=8), draw(B, S, M, seed=9)
    keys, values = attention.project(outputs)
    expected = torch.einsum("bqh,hm,bsm->bqs", queries, attention.key.weight, outputs)
    torch.testing.assert_close(attention.scores(queries, keys), expected)
    torch.testing.assert_close(values, outputs @ attention.value.weight.t())


def test_rows_of_a_state_are_repeated_and_picked() -> None:
    state = State(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[3.0], [4.0]]]))
    assert state.repeat(2).hidden.flatten().tolist() == [1.0, 1.0, 2.0, 2.0]
    picked = state.rows(torch.tensor([1, 1, 0])).cell
    assert picked is not None
    assert picked.flatten().tolist() == [4.0, 4.0, 3.0]
    assert State(state.hidden).repeat(2).cell is None


def test_tensorflow_is_glorot_over_the_joint_kernel_with_open_forget_gates() -> None:
    model = Seq2Seq(config_of(init="tensorflow", hidden_size=40, vocab_size=500))
    into, over, bias, other = model.encoder.rnn.all_weights[0]
    limit = math.sqrt(6.0 / (5 + 40 + 160))
    for weight in (into, over):
        assert 0.9 * limit < weight.abs().max() <= limit
    gates = bias.view(4, 40)
    assert (gates[1] == 1).all()
    assert not gates[[0, 2, 3]].any()
    assert not other.any()
    embedding = model.encoder.embedding.weight.detach()
    assert 0.99 < embedding.abs().max() <= 1.0


def test_tensorflow_opens_both_gates_of_a_gru() -> None:
    bias = Seq2Seq(config_of(init="tensorflow", cell="gru")).encoder.rnn.bias_ih_l0
    assert isinstance(bias, Tensor)
    assert bias.tolist() == [1.0] * 12 + [0.0] * 6
