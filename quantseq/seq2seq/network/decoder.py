"""The half that answers: ids in, logits out, one step at a time or all known steps at once.

Owns attention's place in the recurrence, conditioning, the output layer and the ids it may never
emit. Does not choose what to emit.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from quantseq.seq2seq.network.architecture import Seq2SeqConfig
from quantseq.seq2seq.network.attention import Bahdanau, Luong, attend
from quantseq.seq2seq.network.attentive import attentive_loop
from quantseq.seq2seq.network.encoder import LOOK_UP_LIMIT, validity
from quantseq.seq2seq.network.loops import lstm_step
from quantseq.seq2seq.network.memory import Memory, Prepared, State
from quantseq.seq2seq.network.recurrence import Recurrence, look_up_gates
from quantseq.seq2seq.tokens import Batch


class Decoder(nn.Module):
    """Answers step by step: embedding, recurrent layers, attention, logits.

    With Bahdanau attention the previous state asks, and the context enters the recurrence and the
    output. With Luong attention the new state asks, and the context enters the output only.

    Parameters
    ----------
    config : Seq2SeqConfig
        Architecture.
    embedding : nn.Embedding
        Embedding of the target tokens.
    """

    def __init__(self, config: Seq2SeqConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.config = config
        self.embedding = embedding
        self.conditions = nn.ModuleList(
            nn.Embedding(size, config.embedding_size) for size in config.condition_streams
        )
        size, memory = config.state_size, config.memory_size
        additive = config.attention == "bahdanau"
        self.attention: Bahdanau | Luong | None = None
        self.combine: nn.Linear | None = None
        if additive:
            self.attention = Bahdanau(size, memory, config.attention_size or size)
        elif config.attention == "luong":
            self.attention = Luong(size, memory)
            self.combine = nn.Linear(size + memory, size)
        entering = config.embedding_size + (memory if additive else 0)
        self.layers = nn.ModuleList(
            Recurrence(config.cell, size if layer else entering, size)
            for layer in range(config.layers)
        )
        features = size + (memory if additive else 0)
        width = config.embedding_size if config.tie_projection else config.vocab_size
        self.projection = nn.Linear(features, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        forbidden = torch.zeros(config.vocab_size)
        forbidden[list(config.never_emit)] = -torch.inf
        self.register_buffer("forbidden", forbidden, persistent=False)
        self.forbidden: Tensor

    def memory(
        self, values: Float[Tensor, "B S {self.config.memory_size}"], state: State, batch: Batch
    ) -> Memory:
        """Prepare what every step reads: values (B, S, M) from the encoder."""
        keys = blocked = condition = None
        if self.attention is not None:
            keys = self.attention.keys(values)
            valid = validity(batch)
            blocked = None if valid is None else ~valid.t()
        for stream, embedding in enumerate(self.conditions):
            assert batch.condition is not None
            embedded = embedding(batch.condition[:, stream])
            condition = embedded if condition is None else condition + embedded
        return Memory(values, keys, blocked, condition, state)

    def prepare(self, memory: Memory, rows: int) -> Memory:
        """Work out once what `rows` decoder rows will need at every step over these sources.

        Only without gradient, and only for LSTM; otherwise `memory` comes back as it is.
        """
        layer, size = self.layers[0], self.config.embedding_size
        assert isinstance(layer, Recurrence)
        if self.training or self.config.cell != "lstm" or self.config.vocab_size > LOOK_UP_LIMIT:
            return memory
        weight, scale = layer.weight_input[0], layer.scale
        table = torch.addmm(layer.bias[0], self.embedding.weight, weight[:size]).mul_(scale)
        offsets = None
        if memory.condition is not None:
            shift = (memory.condition @ weight[:size]).mul_(scale)
            table = (table + shift.unsqueeze(1)).flatten(0, 1)
            starts = torch.arange(memory.size, device=table.device) * self.config.vocab_size
            offsets = starts.repeat_interleave(rows // memory.size)
        context = weight[size:] * scale if isinstance(self.attention, Bahdanau) else None
        prepared = Prepared(table, offsets, context, layer.weight_hidden[0] * scale)
        return replace(memory, prepared=prepared)

    def step(
        self, ids: Int[Tensor, " R"], state: State, memory: Memory
    ) -> tuple[Float[Tensor, "R F"], State, Float[Tensor, "R S"] | None]:
        """Take one step: ids (R,) to output features (R, F), the next state, weights (R, S)."""
        context = weights = None
        if isinstance(self.attention, Bahdanau):
            context, weights = self._look(state.hidden[-1], memory)
        x, cell = self._first_layer(ids, state, memory, context)
        hiddens, cells = [x], [cell]
        for layer, hidden, cell in zip(
            self.layers[1:], state.hidden[1:], state.cell[1:], strict=True
        ):
            assert isinstance(layer, Recurrence)
            x, cell = layer.step(self._drop(x), hidden, cell)
            hiddens.append(x)
            cells.append(cell)
        if context is not None:
            x = torch.cat((x, context), dim=1)
        elif self.combine is not None:
            context, weights = self._look(x, memory)
            x = torch.tanh(self.combine(torch.cat((x, context), dim=1)))
        return x, State(tuple(hiddens), tuple(cells)), weights

    def _first_layer(
        self, ids: Tensor, state: State, memory: Memory, context: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        hidden, cell, prepared = state.hidden[0], state.cell[0], memory.prepared
        if prepared is not None and cell is not None:
            places = ids if prepared.offsets is None else ids + prepared.offsets
            gates = prepared.table.index_select(0, places)
            if context is not None and prepared.weight_context is not None:
                gates.addmm_(context, prepared.weight_context)
            return lstm_step(gates.addmm_(hidden, prepared.weight_hidden), cell)
        layer = self.layers[0]
        assert isinstance(layer, Recurrence)
        x = self._drop(self.embedding(ids))
        if memory.condition is not None:
            x = x + memory.condition.repeat_interleave(ids.shape[0] // memory.size, dim=0)
        if context is not None:
            x = torch.cat((x, context), dim=1)
        return layer.step(x, hidden, cell)

    def _look(
        self, queries: Float[Tensor, "R H"], memory: Memory
    ) -> tuple[Float[Tensor, "R M"], Float[Tensor, "R S"]]:
        """Read memory for queries (R, H): context (R, M) and weights (R, S)."""
        assert self.attention is not None
        assert memory.keys is not None
        grouped = queries.reshape(memory.size, -1, queries.shape[1])
        scores = self.attention.scores(grouped, memory.keys)
        context, weights = attend(scores, memory.values, memory.blocked)
        return context.flatten(0, 1), weights.flatten(0, 1)

    def all_steps(self, ids: Int[Tensor, "T B"], memory: Memory) -> Float[Tensor, "T B F"]:
        """Take all steps of known ids (T, B): output features (T, B, F).

        The same as calling `step` T times, faster: what can be computed for all steps at once is.
        """
        if isinstance(self.attention, Bahdanau):
            if self.config.layers == 1 and self.config.cell == "lstm":
                return self._all_attentive(self.attention, ids, memory)
            outputs, state = [], memory.state
            for given in ids.unbind(0):
                features, state, _ = self.step(given, state, memory)
                outputs.append(features)
            return torch.stack(outputs)
        x = self._embedded(ids, memory)
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Recurrence)
            cell = memory.state.cell[index]
            hidden = memory.state.hidden[index].unsqueeze(0)
            first = (hidden, None if cell is None else cell.unsqueeze(0))
            if x is None:
                x, _, _ = layer.look_up(ids, self.embedding.weight, first, None)
            else:
                x, _, _ = layer(self._drop(x) if index else x, first, None)
        assert x is not None
        if self.combine is not None:
            assert self.attention is not None
            assert memory.keys is not None
            scores = self.attention.scores(x.transpose(0, 1), memory.keys)
            context, _ = attend(scores, memory.values, memory.blocked)
            x = torch.tanh(self.combine(torch.cat((x, context.transpose(0, 1)), dim=-1)))
        return x

    def _embedded(self, ids: Tensor, memory: Memory) -> Tensor | None:
        """Inputs of all steps (T, B, E); None if they are plain rows of the embedding."""
        dropped = self.training and self.config.dropout > 0.0
        if not dropped and memory.condition is None and self.config.vocab_size <= LOOK_UP_LIMIT:
            return None
        x = self._drop(self.embedding(ids))
        return x if memory.condition is None else x + memory.condition

    def _all_attentive(self, attention: Bahdanau, ids: Tensor, memory: Memory) -> Tensor:
        """All steps of one attentive LSTM layer."""
        layer, cell = self.layers[0], memory.state.cell[0]
        assert isinstance(layer, Recurrence)
        assert cell is not None
        assert memory.keys is not None
        size, scale = self.config.embedding_size, layer.scale
        weight = layer.weight_input[:, :size]
        x = self._embedded(ids, memory)
        if x is None:
            table = (self.embedding.weight, weight, layer.bias, scale)
            gates = look_up_gates(ids.unsqueeze(1), *table).squeeze(1)
        else:
            bias = layer.bias[0] * scale
            gates = torch.addmm(bias, x.flatten(0, 1), weight[0] * scale).view(*ids.shape, -1)
        hiddens, contexts = attentive_loop(
            gates,
            layer.weight_input[0, size:] * scale,
            layer.weight_hidden[0] * scale,
            2.0 * attention.query.weight.t(),
            memory.keys,
            -2.0 * attention.score,
            memory.values,
            memory.blocked,
            memory.state.hidden[0],
            cell,
        )
        return torch.cat((hiddens, contexts), dim=-1)

    def logits(
        self, features: Float[Tensor, "*rows F"]
    ) -> Float[Tensor, "*rows {self.config.vocab_size}"]:
        """Score every id: features (..., F) to (..., V); minus infinity for ids never emitted.

        In memory the ids come first: with few ids and many rows both the product and whatever is
        done to the scores of a row, softmax or cumulative sum, are several times faster that way.
        """
        bias = self.bias + self.forbidden if self.config.never_emit else self.bias
        rows, weight = self._drop(features).flatten(0, -2), self.projection.weight
        if self.config.tie_projection:
            rows, weight = self.projection(rows), self.embedding.weight
        by_id = torch.addmm(bias.unsqueeze(1), weight, rows.t())
        return by_id.t().view(*features.shape[:-1], -1)

    def _drop(self, x: Tensor) -> Tensor:
        if not self.training or self.config.dropout == 0.0:
            return x
        return F.dropout(x, self.config.dropout)
