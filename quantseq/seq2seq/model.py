"""The machine itself: an encoder that reads, a decoder that answers, and the choices between them.

Owns `Seq2SeqConfig`, validated once, then trusted, and what one forward pass computes. Does not know how
it is trained, how answers are searched or drawn, or what the ids stand for.

::

    source (S, B) ── encode ──→ Memory: values (B, S, M), first state
                                   │
    ids (R,) ──── decode_step ─────┴──→ logits (R, V), next state          R = B × Q rows

Q decoder rows may share one source: Q = 1 when answering, Q = paths when sampling. Memory is never
copied for them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from quantseq.errors import ConfigError, check_parameters
from quantseq.seq2seq.layers import (
    AttentionKind,
    Bahdanau,
    CellKind,
    Luong,
    Memory,
    State,
    initialise_tensorflow,
    padding_of,
    turned,
)
from quantseq.seq2seq.tokens import EOS, FIRST_ID, Batch

Init = Literal["torch", "tensorflow"]

# A configuration may come from anybody, and is refused before memory is asked for.
MOST_FEATURES = 4096
_MOST_IDS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Seq2SeqConfig:
    """Architecture of one `Seq2Seq`; a ConfigError if a value is outside its rule."""

    vocab_size: int  # ids 0..vocab_size-1 of source and target, PAD and EOS included
    embedding_size: int = 32  # features of a token
    hidden_size: int = 32  # features of a recurrent state, per direction
    # If the decoder's state differs from what the encoder hands over (twice `hidden_size` if it is
    # bidirectional), a linear bridge joins them. By default it has `hidden_size` features.
    decoder_hidden_size: int | None = None
    # Where query and key meet under Bahdanau; by default as large as the state.
    attention_size: int | None = None
    layers: int = 1  # recurrent layers on each side
    cell: CellKind = "lstm"
    bidirectional: bool = True  # whether the encoder also reads backwards
    attention: AttentionKind = "luong"  # 'bahdanau' stands inside the recurrence; see `layers`
    share_embedding: bool = True  # whether source and target tokens share one
    tie_projection: bool = False  # whether the output layer reuses the target embedding
    reverse_source: bool = False  # read back to front (Sutskever et al., 2014)
    dropout: float = 0.0  # of embeddings, between layers, and of output features
    # 'tensorflow' (Glorot over joint kernels, forget bias 1, embeddings uniform within 1) is needed to
    # reproduce the tutorial's losses.
    init: Init = "torch"
    channels: int = 0  # numbers beside each source id, read with its embedding
    condition_size: int = 0  # numbers beside each target step, read by a perceptron
    never_emit: tuple[int, ...] = ()  # ids of logit minus infinity, in the loss as in decoding
    zero_projection: bool = False  # output layer starts at zero: uniform over what may be emitted
    through_padding: bool = False  # the encoder reads PAD like a token, as the original tutorial

    def __post_init__(self) -> None:
        rules: dict[str, Any] = {"vocab_size": f"int [{FIRST_ID + 1}, {_MOST_IDS}]"}
        rules |= {"dropout": "[0, 1)", "layers": "int [1, 64]"}
        size = f"int [1, {MOST_FEATURES}]"
        rules |= dict.fromkeys(("embedding_size", "hidden_size"), size)
        rules |= dict.fromkeys(("channels", "condition_size"), f"int [0, {MOST_FEATURES}]")
        rules |= dict.fromkeys(("decoder_hidden_size", "attention_size"), f"None or {size}")
        for name, kinds in (("cell", CellKind), ("attention", AttentionKind), ("init", Init)):
            rules[name] = get_args(kinds)
        rules |= {field.name: bool for field in fields(self) if field.type is bool}
        check_parameters(self, rules)
        ids = set(range(self.vocab_size))
        if not set(self.never_emit) <= ids or not ids - set(self.never_emit) - {EOS}:
            raise ConfigError(
                f"The 'never_emit' parameter of Seq2SeqConfig must be ids below vocab_size={self.vocab_size} "
                f"that leave an id other than EOS to emit. Got {self.never_emit!r}."
            )
        if self.tie_projection and self.zero_projection:
            raise ConfigError(
                "The 'zero_projection' parameter of Seq2SeqConfig must be false when tie_projection is set: "
                "an embedding cannot be zero."
            )

    @property
    def state_size(self) -> int:
        """Features of the decoder's state."""
        return self.decoder_hidden_size or self.hidden_size

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Seq2SeqConfig":
        """Read what `asdict` gave, perhaps through JSON; a ConfigError if a name is unknown or missing."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        try:
            return cls(**{**values, **lists})
        except TypeError as error:
            known = ", ".join(field.name for field in fields(cls))
            raise ConfigError(f"Seq2SeqConfig has fields {known}; {error}") from error


def recurrence(config: Seq2SeqConfig, inputs: int, size: int, *, both: bool) -> nn.LSTM | nn.GRU:
    """Recurrent layers of one side, read in one direction or both."""
    kind = nn.LSTM if config.cell == "lstm" else nn.GRU
    dropout = config.dropout if config.layers > 1 else 0.0
    return kind(inputs, size, config.layers, dropout=dropout, bidirectional=both)


class Encoder(nn.Module):
    """Reads a source: the embedding of each id and what stands beside it, then recurrent layers.

    The last state is handed over to the decoder, through a linear bridge if sizes differ.
    """

    def __init__(self, config: Seq2SeqConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.config, self.embedding = config, embedding
        width, both, target = config.embedding_size, config.bidirectional, config.state_size
        self.directions = 2 if both else 1
        self.size = self.directions * config.hidden_size
        self.channels = nn.Linear(config.channels, width, bias=False) if config.channels else None
        self.rnn = recurrence(config, width, config.hidden_size, both=both)
        self.bridges = nn.ModuleList(  # one for the hidden state, for LSTM one for the cell state
            nn.Linear(self.size, target) if self.size != target else nn.Identity()
            for _ in range(2 if config.cell == "lstm" else 1)
        )

    def forward(self, batch: Batch) -> tuple[Float[Tensor, "S {batch.size} {self.size}"], State]:
        """Read all sources: outputs (S, B, M) and the decoder's first state."""
        source, channels = batch.source, batch.channels
        if self.config.reverse_source:
            source, channels = turned(batch)
        x = self.embedding(source)
        if self.channels is not None:
            assert channels is not None
            x = x + self.channels(channels)
        x = F.dropout(x, self.config.dropout, self.training)
        if self.config.through_padding or padding_of(batch) is None:
            outputs, last = self.rnn(x)
        else:
            lengths = batch.source_lengths.cpu()
            packed, last = self.rnn(pack_padded_sequence(x, lengths, enforce_sorted=False))
            outputs, _ = pad_packed_sequence(packed, total_length=len(source))
        parts = last if isinstance(last, tuple) else (last,)
        handed = [
            bridge(part.view(-1, self.directions, *part.shape[1:]).transpose(1, 2).flatten(2))
            for bridge, part in zip(self.bridges, parts, strict=True)
        ]
        return outputs, State(*handed)


class Decoder(nn.Module):
    """Answers step by step: embedding, recurrent layers, attention, logits.

    With Bahdanau attention the state before a step asks, and what was read enters the recurrence and
    the output. With Luong attention the state after it asks, and what was read enters the output only.
    Numbers that are known of a step in advance go through a perceptron to the output of that step.
    """

    def __init__(self, config: Seq2SeqConfig, embedding: nn.Embedding, memory_size: int) -> None:
        super().__init__()
        self.config, self.embedding = config, embedding
        size, vocabulary, width = config.state_size, config.vocab_size, config.embedding_size
        self.attention: Bahdanau | Luong | None = None
        self.combine: nn.Linear | None = None
        inside = memory_size if config.attention == "bahdanau" else 0
        if inside:
            self.attention = Bahdanau(size, memory_size, config.attention_size or size)
        elif config.attention == "luong":
            self.attention = Luong(size, memory_size)
            self.combine = nn.Linear(size, size)
        self.rnn = recurrence(config, width + inside, size, both=False)
        scored = width if config.tie_projection else vocabulary
        told = config.hidden_size if config.condition_size else 0
        self.perceptron: nn.Module | None = None
        if told:
            drop = nn.Dropout(config.dropout)
            first, second = nn.Linear(config.condition_size, told), nn.Linear(told, told)
            self.perceptron = nn.Sequential(first, nn.SiLU(), drop, second, nn.SiLU())
        self.projection = nn.Linear(size + inside + told, scored, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        forbidden = torch.zeros(vocabulary)
        forbidden[list(config.never_emit)] = -torch.inf
        self.register_buffer("forbidden", forbidden, persistent=False)
        self.forbidden: Tensor

    def memory(self, outputs: Float[Tensor, "S B M"], state: State, batch: Batch) -> Memory:
        """Prepare what every step reads, from what the encoder gave."""
        values, keys, blocked, condition = outputs.transpose(0, 1), None, None, None
        if self.attention is not None:
            keys, values = self.attention.project(values.contiguous())
            blocked = padding_of(batch)
        if self.perceptron is not None:
            assert batch.condition is not None
            condition = self.perceptron(batch.condition)
        return Memory(values, keys, blocked, condition, state)

    def forward(
        self, ids: Int[Tensor, "T R"], state: State, memory: Memory
    ) -> tuple[Float[Tensor, "T R F"], State, Float[Tensor, "T R S"] | None]:
        """Take T steps of known ids, T = 1 when answering: features, the next state, weights.

        R = B × Q rows: the Q rows of one source lie side by side, and share its memory.
        """
        x, first, weights = self._drop(self.embedding(ids)), state.step, None
        if isinstance(self.attention, Bahdanau):
            steps = []
            for given in x.unsqueeze(1):  # what is read depends on the state of the step before
                context, weight = self._look(state.hidden[-1:], memory)
                after, state = self._recur(torch.cat((given, context), dim=-1), state)
                steps.append((torch.cat((after, context), dim=-1), weight))
            x, weights = (torch.cat(parts) for parts in zip(*steps, strict=True))
        else:
            x, state = self._recur(x, state)
            if self.combine is not None:
                context, weights = self._look(x, memory)
                x = torch.tanh(self.combine(x) + context)
        if memory.condition is not None:
            places = torch.arange(first, first + len(ids), device=x.device)
            told = memory.condition[places.clamp(max=len(memory.condition) - 1)]
            copies = ids.shape[1] // memory.size
            x = torch.cat((x, told.repeat_interleave(copies, dim=1)), dim=-1)
        return x, state, weights

    def _recur(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        done = state.step + len(x)
        if state.cell is None:
            outputs, hidden = self.rnn(x, state.hidden)
            return outputs, State(hidden, step=done)
        outputs, (hidden, cell) = self.rnn(x, (state.hidden, state.cell))
        return outputs, State(hidden, cell, done)

    def _look(
        self, queries: Float[Tensor, "T R H"], memory: Memory
    ) -> tuple[Float[Tensor, "T R M"], Float[Tensor, "T R S"]]:
        """Read memory where the queries point: what was read, and the weights of the source's steps."""
        assert self.attention is not None
        assert memory.keys is not None
        steps, rows, size = queries.shape
        grouped = queries.view(steps, memory.size, -1, size).transpose(0, 1).flatten(1, 2)
        scores = self.attention.scores(grouped, memory.keys)  # (B, T * Q, S)
        if memory.blocked is not None:
            scores = scores.masked_fill(memory.blocked.unsqueeze(1), -torch.inf)
        weights = torch.softmax(scores, dim=-1)
        context = torch.bmm(weights, memory.values)
        return _by_step(context, steps, rows), _by_step(weights, steps, rows)

    def logits(
        self, features: Float[Tensor, "*rows F"]
    ) -> Float[Tensor, "*rows {self.config.vocab_size}"]:
        """Score every id; minus infinity for ids never emitted."""
        x, weight = self._drop(features), self.projection.weight
        if self.config.tie_projection:
            x, weight = self.projection(x), self.embedding.weight
        return F.linear(x, weight, self.bias + self.forbidden)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode and inference mode; the caller's mode comes back afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


def _by_step(grouped: Tensor, steps: int, rows: int) -> Tensor:
    """(B, T * Q, X) to (T, B * Q, X)."""
    size = grouped.shape[-1]
    return grouped.view(len(grouped), steps, -1, size).transpose(0, 1).reshape(steps, rows, size)


class Seq2Seq(nn.Module):
    """Encoder and decoder of one architecture.

    Initial weights are a function of the architecture and a seed in [0, 2**63), nothing else: they are
    drawn on the CPU, and ``model.to(device)`` moves them. With `shapes_only` they take no memory, and hold nothing.
    """

    def __init__(self, config: Seq2SeqConfig, *, seed: int = 0, shapes_only: bool = False) -> None:
        super().__init__()
        self.config, self.seed = config, seed
        check_parameters(self, {"seed": f"int [0, {2**63})"})
        with torch.random.fork_rng(devices=[]), torch.device("meta" if shapes_only else "cpu"):
            torch.default_generator.manual_seed(seed)
            source = nn.Embedding(config.vocab_size, config.embedding_size)
            target = source
            if not config.share_embedding:
                target = nn.Embedding(config.vocab_size, config.embedding_size)
            self.encoder = Encoder(config, source)
            self.decoder = Decoder(config, target, self.encoder.size)
            if config.init == "tensorflow" and not shapes_only:
                initialise_tensorflow(self, torch.Generator("cpu").manual_seed(seed))
        self._begin()

    @torch.no_grad()
    def _begin(self) -> None:
        """Let the output layer start at zero if asked."""
        if self.config.zero_projection:
            self.decoder.projection.weight.zero_()

    @property
    def parameter_count(self) -> int:
        """Numbers that training may change."""
        return sum(weight.numel() for weight in self.parameters() if weight.requires_grad)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.bias.device

    def encode(self, batch: Batch) -> Memory:
        """Read the sources of `batch`; a ConfigError names what does not fit the architecture."""
        for name, expected in (
            ("channels", self.config.channels),
            ("condition", self.config.condition_size),
        ):
            given = getattr(batch, name)
            count = 0 if given is None else given.shape[-1]
            if count != expected:
                raise ConfigError(
                    f"The architecture reads {expected} numbers as Batch.{name}, the batch holds "
                    f"{count}. Both must agree; see Seq2SeqConfig."
                )
        try:
            outputs, state = self.encoder(batch)
            memory: Memory = self.decoder.memory(outputs, state, batch)
            return memory
        except IndexError as error:
            raise self._unknown_id(batch) from error

    def decode_step(
        self, ids: Int[Tensor, " R"], state: State, memory: Memory
    ) -> tuple[Float[Tensor, "R {self.config.vocab_size}"], State]:
        """Answer one step: what every way of decoding is made of.

        The R = B × Q ids that are fed in give scores of the next id and the next state; `memory.state`
        is the first. The Q rows of one source lie side by side.
        """
        features, state, _ = self.decoder(ids.unsqueeze(0), state, memory)
        return self.decoder.logits(features.squeeze(0)), state

    def forward(
        self,
        batch: Batch,
        *,
        teacher: Bool[Tensor, " T"] | Bool[Tensor, "T {batch.size}"] | None = None,
    ) -> Float[Tensor, "T {batch.size} {self.config.vocab_size}"]:
        """Score all target steps.

        `teacher` is True where the decoder is fed `target_in`, False where it is fed its own most
        probable id of the step before; by default the teacher speaks everywhere. Step 0 is always fed
        from `target_in`.
        """
        memory = self.encode(batch)
        if teacher is None:
            return self.decoder.logits(self._teach(batch, memory)[0])
        state, teacher = memory.state, teacher.to(self.device)
        outputs: list[Tensor] = []
        for t, given in enumerate(batch.target_in.unbind(0)):
            if t:
                given = torch.where(teacher[t], given, outputs[-1].detach().argmax(dim=-1))
            logits, state = self.decode_step(given, state, memory)
            outputs.append(logits)
        return torch.stack(outputs)

    def alignment(self, batch: Batch) -> Float[Tensor, "T {batch.size} S"]:
        """Attention weights under teacher forcing, (T, B, S), in eval mode."""
        if self.config.attention == "none":
            raise ConfigError("A model with attention='none' has no alignment. Choose another one.")
        with evaluating(self):
            weights = self._teach(batch, self.encode(batch))[1]
        assert weights is not None
        return weights

    def _teach(self, batch: Batch, memory: Memory) -> tuple[Tensor, Tensor | None]:
        """Features and attention weights of all steps under teacher forcing."""
        try:
            features, _, weights = self.decoder(batch.target_in, memory.state, memory)
        except IndexError as error:
            raise self._unknown_id(batch) from error
        return features, weights

    def _unknown_id(self, batch: Batch) -> ConfigError:
        """Say which ids of `batch` no embedding has a row for."""
        size = self.config.vocab_size
        parts = [("source", batch.source), ("target_in", batch.target_in)]
        found = [
            f"Batch.{name} must hold ids in [0, {size - 1}], got {int(ids.min())} to {int(ids.max())}"
            for name, ids in parts
            if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < size
        ]
        return ConfigError(
            f"{'; '.join(found)}. Raise the vocabulary's size in Seq2SeqConfig, or mend the ids."
        )
