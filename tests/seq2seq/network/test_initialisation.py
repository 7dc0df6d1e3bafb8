"""Weights begin where the chosen habit says."""

import math

import torch

from quantseq.seq2seq.model import Seq2Seq
from tests.seq2seq.conftest import config_of


def test_tensorflow_is_glorot_over_the_joint_kernel_with_open_forget_gates() -> None:
    layer = Seq2Seq(config_of(init="tensorflow", hidden_size=40)).encoder.layers[0]
    limit = math.sqrt(6.0 / (5 + 40 + 160))
    for weight in (layer.weight_input, layer.weight_hidden):
        assert isinstance(weight, torch.Tensor)
        assert 0.9 * limit < weight.abs().max() <= limit
    assert isinstance(layer.bias, torch.Tensor)
    gates = layer.bias[0].view(4, 40)
    assert (gates[1] == 1).all()
    assert (gates[[0, 2, 3]] == 0).all()


def test_tensorflow_opens_both_gates_of_a_gru() -> None:
    layer = Seq2Seq(config_of(init="tensorflow", cell="gru")).encoder.layers[0]
    assert isinstance(layer.bias, torch.Tensor)
    assert layer.bias[0].tolist() == [1.0] * 12 + [0.0] * 6


def test_tensorflow_embeddings_are_uniform_within_one() -> None:
    weight = Seq2Seq(config_of(init="tensorflow", vocab_size=500)).encoder.embedding.weight
    assert 0.99 < weight.abs().max() <= 1.0
    assert abs(float(weight.detach().mean())) < 0.05


def test_torch_is_uniform_within_the_root_of_the_width() -> None:
    layer = Seq2Seq(config_of(hidden_size=100)).encoder.layers[0]
    assert isinstance(layer.weight_hidden, torch.Tensor)
    assert 0.09 < layer.weight_hidden.abs().max() <= 0.1


def test_summed_streams_vary_like_one() -> None:
    config = config_of(source_streams=(400, 400, 400), vocab_size=400)
    encoder = Seq2Seq(config).encoder
    total = encoder.embedding.weight + sum(stream.weight for stream in encoder.streams)
    assert abs(float(total.detach().std()) - 1.0) < 0.1
