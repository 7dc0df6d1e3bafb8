"""Where weights begin: PyTorch's habits or TensorFlow's.

Owns the distributions of initial weights. Does not know how the modules use them.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from quantseq.seq2seq.network.architecture import Seq2SeqConfig
from quantseq.seq2seq.network.attention import Bahdanau
from quantseq.seq2seq.network.recurrence import Recurrence


@torch.no_grad()
def initialise(model: nn.Module, config: Seq2SeqConfig, generator: torch.Generator) -> None:
    """Draw all weights of `model` from `generator`, as `config.init` says."""
    glorot = config.init == "tensorflow"

    def uniform(weight: Tensor, limit: float) -> None:
        weight.uniform_(-limit, limit, generator=generator)

    for module in model.modules():
        if isinstance(module, nn.Embedding):
            if glorot:
                uniform(module.weight, 1.0)
            else:
                module.weight.normal_(generator=generator)
        elif isinstance(module, nn.Linear):
            fan_out, fan_in = module.weight.shape
            limit = math.sqrt(6.0 / (fan_in + fan_out)) if glorot else 1.0 / math.sqrt(fan_in)
            uniform(module.weight, limit)
            if module.bias is not None:
                uniform(module.bias, 0.0 if glorot else limit)
        elif isinstance(module, Recurrence):
            _initialise_recurrence(module, glorot, uniform)
        elif isinstance(module, Bahdanau):
            uniform(module.score, 1.0 / math.sqrt(module.score.shape[0]))


def _initialise_recurrence(
    layer: Recurrence, glorot: bool, uniform: Callable[[Tensor, float], None]
) -> None:
    size = layer.hidden_size
    if not glorot:
        for parameter in layer.parameters():
            uniform(parameter, 1.0 / math.sqrt(size))
        return
    for direction in range(layer.directions):
        joint = layer.weight_input.shape[1] + size
        blocks = [slice(None)] if layer.cell == "lstm" else [slice(2 * size), slice(2 * size, None)]
        for block in blocks:  # TensorFlow's GRU has one kernel for its gates, one for the candidate
            weights = (
                layer.weight_input[direction, :, block],
                layer.weight_hidden[direction, :, block],
            )
            limit = math.sqrt(6.0 / (joint + weights[0].shape[1]))
            for weight in weights:
                uniform(weight, limit)
        layer.bias[direction].zero_()
        opened = slice(size, 2 * size) if layer.cell == "lstm" else slice(2 * size)
        layer.bias[direction, opened] = 1.0
    if layer.bias_candidate is not None:
        layer.bias_candidate.zero_()
