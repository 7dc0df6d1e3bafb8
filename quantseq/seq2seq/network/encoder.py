"""The half that reads: a source becomes one vector per step and a first state for the decoder.

Owns source streams, direction, reversal, padding and the bridge to a decoder of another size. Does
not know who reads what it leaves.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from quantseq.errors import ConfigError
from quantseq.seq2seq.network.architecture import Seq2SeqConfig
from quantseq.seq2seq.network.memory import State
from quantseq.seq2seq.network.recurrence import Recurrence
from quantseq.seq2seq.tokens import Batch

LOOK_UP_LIMIT = 1024
"""Vocabularies up to this size are projected once instead of at every step."""


class Encoder(nn.Module):
    """Reads a source: summed embeddings of its streams, then recurrent layers.

    Parameters
    ----------
    config : Seq2SeqConfig
        Architecture.
    embedding : nn.Embedding
        Embedding of the source tokens, perhaps shared with the decoder.
    """

    def __init__(self, config: Seq2SeqConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.config = config
        self.embedding = embedding
        self.streams = nn.ModuleList(
            nn.Embedding(size, config.embedding_size) for size in config.source_streams
        )
        self.layers = nn.ModuleList(
            Recurrence(
                config.cell,
                config.memory_size if layer else config.embedding_size,
                config.hidden_size,
                directions=config.directions,
            )
            for layer in range(config.layers)
        )
        joined, wanted = config.memory_size, config.state_size
        bridges = 0 if joined == wanted else config.layers
        self.bridge_hidden = nn.ModuleList(nn.Linear(joined, wanted) for _ in range(bridges))
        self.bridge_cell = nn.ModuleList(
            nn.Linear(joined, wanted) for _ in range(bridges if config.cell == "lstm" else 0)
        )

    def forward(
        self, batch: Batch
    ) -> tuple[Float[Tensor, "S {batch.size} {self.config.memory_size}"], State]:
        """Read all sources: outputs (S, B, M) and the decoder's first state."""
        source, extra = _reversed(batch) if self.config.reverse_source else _plain(batch)
        mask = None if self.config.through_padding else validity(batch)
        dropout = self.config.dropout if self.training else 0.0
        hiddens: list[Tensor] = []
        cells: list[Tensor | None] = []
        x = None
        if self.streams or dropout or self.config.vocab_size > LOOK_UP_LIMIT:
            x = self.embedding(source)
            for stream, embedding in enumerate(self.streams):
                assert extra is not None
                x = x + embedding(extra[:, :, stream])
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Recurrence)
            if x is None:
                x, hidden, cell = layer.look_up(source, self.embedding.weight, None, mask)
            else:
                x, hidden, cell = layer(F.dropout(x, dropout) if dropout else x, None, mask)
            hiddens.append(self._hand_over(hidden, self.bridge_hidden, index))
            cells.append(None if cell is None else self._hand_over(cell, self.bridge_cell, index))
        assert x is not None
        return x, State(tuple(hiddens), tuple(cells))

    @staticmethod
    def _hand_over(state: Tensor, bridge: nn.ModuleList, layer: int) -> Tensor:
        joined = torch.cat((state[0], state[1]), dim=-1) if state.shape[0] == 2 else state[0]
        if not bridge:
            return joined
        crossed: Tensor = bridge[layer](joined)
        return crossed


def _plain(batch: Batch) -> tuple[Tensor, Tensor | None]:
    return batch.source, batch.source_extra


def _reversed(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Turn each source around within its length; padding stays at the end."""
    steps = torch.arange(batch.source.shape[0], device=batch.source.device).unsqueeze(1)
    back = batch.source_lengths.unsqueeze(0) - 1 - steps
    index = torch.where(back >= 0, back, steps)
    extra = batch.source_extra
    if extra is not None:
        extra = extra.gather(0, index.unsqueeze(-1).expand_as(extra))
    return batch.source.gather(0, index), extra


def validity(batch: Batch) -> Bool[Tensor, "S {batch.size}"] | None:
    """Give the mask (S, B), True before a sequence's end; None if all are of full length."""
    steps = batch.source.shape[0]
    shortest, longest = int(batch.source_lengths.min()), int(batch.source_lengths.max())
    if shortest < 1 or longest > steps:
        raise ConfigError(
            f"Source lengths must lie in [1, {steps}], the steps of the source. "
            f"Got {shortest} to {longest}."
        )
    if shortest == steps:
        return None
    return torch.arange(steps, device=batch.source.device).unsqueeze(1) < batch.source_lengths
