"""What encoder and decoder are made of: what passes between them, attention, padding, first weights.

Owns `State` and `Memory`, both kinds of attention, where sources are over and how one is turned around,
and TensorFlow's habits of initialisation. Does not know which layers a model has.

Luong's attention stands *after* the recurrence: the state asks once its step is done, so that all steps
of a known target are one call of the recurrent layer and one batched look at the source. Bahdanau's
stands inside: what was read enters the next state, and steps follow one another.

References
----------
Bahdanau, Cho and Bengio (2015), "Neural machine translation by jointly learning to align and
translate". Luong, Pham and Manning (2015), "Effective approaches to attention-based neural machine
translation".
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from quantseq.errors import ConfigError
from quantseq.seq2seq.tokens import Batch

CellKind = Literal["lstm", "gru"]
AttentionKind = Literal["none", "bahdanau", "luong"]


@dataclass(frozen=True, eq=False)
class State:
    """What the decoder remembers between two steps: L layers of R rows."""

    hidden: Float[Tensor, "L R H"]
    cell: Float[Tensor, "L R H"] | None = None  # None for GRU
    step: int = 0  # steps answered so far

    def repeat(self, times: int) -> "State":
        """Copy each row `times` times, side by side."""
        return self._map(lambda value: value.repeat_interleave(times, dim=1))

    def rows(self, index: Int[Tensor, " _"] | slice) -> "State":
        """Pick rows by position."""
        return self._map(lambda value: value[:, index].contiguous())

    def _map(self, change: Callable[[Tensor], Tensor]) -> "State":
        cell = None if self.cell is None else change(self.cell)
        return State(change(self.hidden), cell, self.step)


@dataclass(frozen=True, eq=False)
class Memory:
    """What the encoder leaves to the decoder, for B sources."""

    values: Float[Tensor, "B S M"]  # what is read at each step; for Luong attention projected
    keys: Float[Tensor, "B S A"] | None  # what queries meet; None without attention
    blocked: Bool[Tensor, "B S"] | None  # True at padding; None if there is none
    condition: Float[Tensor, "U B P"] | None  # what the perceptron made of each step's numbers
    state: State  # the decoder's first

    @property
    def size(self) -> int:
        """Number of sources, B."""
        return int(self.values.shape[0])

    def rows(self, part: slice) -> "Memory":
        """Sources of a range."""
        keys, blocked = (None if one is None else one[part] for one in (self.keys, self.blocked))
        condition = None if self.condition is None else self.condition[:, part]
        return Memory(self.values[part], keys, blocked, condition, self.state.rows(part))


def turned(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Turn each source around within its length; padding stays at the end."""
    steps = torch.arange(batch.source.shape[0], device=batch.source.device).unsqueeze(1)
    back = batch.source_lengths.unsqueeze(0) - 1 - steps
    index = torch.where(back >= 0, back, steps)
    channels = batch.channels
    if channels is not None:
        channels = channels.gather(0, index.unsqueeze(-1).expand_as(channels))
    return batch.source.gather(0, index), channels


def padding_of(batch: Batch) -> Bool[Tensor, "{batch.size} S"] | None:
    """Where a batch's sources are over, (B, S); None if all are of full length."""
    steps, lengths = batch.source.shape[0], batch.source_lengths
    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest < 1 or longest > steps:
        raise ConfigError(
            f"Source lengths must lie in [1, {steps}], the steps of the source. "
            f"Got {shortest} to {longest}."
        )
    if shortest == steps:
        return None
    return torch.arange(steps, device=lengths.device) >= lengths.unsqueeze(1)


class Bahdanau(nn.Module):
    """Additive attention: score ``v · tanh(W q + U m)`` of a query q and a memory step m."""

    def __init__(self, query_size: int, memory_size: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, size, bias=False)
        self.key = nn.Linear(memory_size, size)
        self.score = nn.Parameter(torch.empty(size))
        nn.init.uniform_(self.score, -1.0 / math.sqrt(size), 1.0 / math.sqrt(size))

    def project(
        self, outputs: Float[Tensor, "B S M"]
    ) -> tuple[Float[Tensor, "B S A"], Float[Tensor, "B S M"]]:
        """Keys and values of the encoder's outputs, worked out once per source."""
        return self.key(outputs), outputs

    def scores(
        self, queries: Float[Tensor, "B Q H"], keys: Float[Tensor, "B S A"]
    ) -> Float[Tensor, "B Q S"]:
        """Unnormalised log weights."""
        return torch.tanh(self.query(queries).unsqueeze(2) + keys.unsqueeze(1)) @ self.score


class Luong(nn.Module):
    """Multiplicative attention in its general form, score ``q · W m``, with what it reads projected."""

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__()
        self.key = nn.Linear(memory_size, query_size, bias=False)
        self.value = nn.Linear(memory_size, query_size, bias=False)

    def project(
        self, outputs: Float[Tensor, "B S M"]
    ) -> tuple[Float[Tensor, "B S A"], Float[Tensor, "B S H"]]:
        """Keys and values of the encoder's outputs, worked out once per source."""
        return self.key(outputs), self.value(outputs)

    def scores(
        self, queries: Float[Tensor, "B Q H"], keys: Float[Tensor, "B S A"]
    ) -> Float[Tensor, "B Q S"]:
        """Unnormalised log weights."""
        return torch.bmm(queries, keys.transpose(1, 2))


@torch.no_grad()
def initialise_tensorflow(model: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights as TensorFlow 1 did: Glorot over joint kernels, forget bias 1, embeddings in ±1.

    Its LSTM has one bias a gate; torch's second one is set to zero and not trained.
    """

    def uniform(weight: Tensor, limit: float) -> None:
        weight.uniform_(-limit, limit, generator=generator)

    for module in model.modules():
        if isinstance(module, nn.Embedding):
            uniform(module.weight, 1.0)
        elif isinstance(module, nn.Linear):
            uniform(module.weight, math.sqrt(6.0 / sum(module.weight.shape)))
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, Bahdanau):
            uniform(module.score, 1.0 / math.sqrt(len(module.score)))
        elif isinstance(module, nn.LSTM | nn.GRU):
            size = module.hidden_size
            # one joint kernel; TensorFlow's GRU has one for its gates and one for the candidate
            blocks = [slice(2 * size), slice(2 * size, None)]
            opened = slice(2 * size)
            if isinstance(module, nn.LSTM):
                blocks, opened = [slice(None)], slice(size, 2 * size)
            for from_input, from_hidden, bias_input, bias_hidden in module.all_weights:
                for block in blocks:
                    kernel = (from_input[block], from_hidden[block])
                    fan_in = sum(weight.shape[1] for weight in kernel)
                    limit = math.sqrt(6.0 / (fan_in + len(kernel[0])))
                    for weight in kernel:  # which TensorFlow lays out the other way round
                        drawn = torch.empty_like(weight.t(), memory_format=torch.contiguous_format)
                        uniform(drawn, limit)
                        weight.copy_(drawn.t())
                bias_hidden.requires_grad_(not isinstance(module, nn.LSTM))
                bias_input.zero_()
                bias_hidden.zero_()
                bias_input[opened] = 1.0
