"""The encoder joins what differs in size, and leaves alone what does not."""

from dataclasses import replace

import pytest
import torch

from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.network.encoder import validity
from tests.seq2seq.conftest import config_of, machine, random_batch


@pytest.mark.parametrize(
    ("changes", "bridges"),
    [
        ({}, 0),
        ({"bidirectional": True, "decoder_hidden_size": 12}, 0),
        ({"bidirectional": True}, 2),
        ({"decoder_hidden_size": 9, "layers": 2}, 4),
        ({"bidirectional": True, "cell": "gru"}, 1),
    ],
    ids=str,
)
def test_a_bridge_stands_only_where_sizes_differ(changes: dict[str, int], bridges: int) -> None:
    encoder = Seq2Seq(config_of(**changes)).encoder
    assert len(encoder.bridge_hidden) + len(encoder.bridge_cell) == bridges


def test_without_a_bridge_the_last_state_is_handed_over() -> None:
    model, batch = machine(config_of()), random_batch(config_of())
    outputs, state = model.encoder(batch)
    assert torch.equal(state.hidden[0], outputs[-1])


def test_validity_is_none_when_nothing_is_padded() -> None:
    batch = random_batch(config_of(), (3, 3))
    assert validity(batch) is None
    mask = validity(random_batch(config_of(), (3, 1)))
    assert mask is not None
    assert mask.tolist() == [[True, True], [True, False], [True, False]]


def test_streams_are_summed() -> None:
    config = config_of(source_streams=(3, 4))
    model, batch = machine(config), random_batch(config)
    assert batch.source_extra is not None
    before = model.encode(batch).values
    swapped = replace(batch, source_extra=1 - batch.source_extra.clamp(max=1))
    assert not torch.allclose(model.encode(swapped).values, before)
    last = batch.source_extra.clone()
    last[..., 1] = (last[..., 1] + 1) % 4
    assert not torch.allclose(model.encode(replace(batch, source_extra=last)).values, before)
    with torch.no_grad():  # a stream whose embeddings are all equal says nothing
        for stream in model.encoder.streams:
            stream.weight.copy_(stream.weight[:1].expand_as(stream.weight))
    assert torch.equal(model.encode(swapped).values, model.encode(batch).values)
