"""The machine itself: an encoder that reads, a decoder that answers step by step.

Owns what one forward pass computes. Does not know how it is trained, how answers are searched or
drawn, or what the ids stand for.

::

    source (S, B) ── encode ──→ Memory: values (B, S, M), first state
                                   │
    ids (R,) ──── decode_step ─────┴──→ logits (R, V), next state          R = B × Q rows

Q decoder rows may share one source: Q = 1 when answering, Q = paths when sampling. Memory is never
copied for them.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from quantseq.errors import ConfigError
from quantseq.seq2seq.network.architecture import Seq2SeqConfig as Seq2SeqConfig
from quantseq.seq2seq.network.decoder import Decoder
from quantseq.seq2seq.network.encoder import Encoder
from quantseq.seq2seq.network.initialisation import initialise
from quantseq.seq2seq.network.memory import Memory as Memory
from quantseq.seq2seq.network.memory import State as State
from quantseq.seq2seq.tokens import Batch


class Seq2Seq(nn.Module):
    """Encoder and decoder of one architecture.

    Parameters
    ----------
    config : Seq2SeqConfig
        Architecture.
    seed : int
        Initial weights are a function of the architecture and this number, nothing else: they are
        drawn on the CPU, and ``model.to(device)`` moves them. In [0, 2**63).

    Raises
    ------
    ConfigError
        If the seed is outside its rule.
    """

    def __init__(self, config: Seq2SeqConfig, *, seed: int = 0) -> None:
        super().__init__()
        if not 0 <= seed < 2**63:
            raise ConfigError(
                f"The 'seed' parameter of Seq2Seq must be an int in [0, 2**63). Got {seed}."
            )
        self.config = config
        # modules draw defaults; ours are drawn below
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            source = nn.Embedding(config.vocab_size, config.embedding_size)
            target = source
            if not config.share_embedding:
                target = nn.Embedding(config.vocab_size, config.embedding_size)
            self.encoder = Encoder(config, source)
            self.decoder = Decoder(config, target)
        initialise(self, config, torch.Generator("cpu").manual_seed(seed))
        self._begin()

    @torch.no_grad()
    def _begin(self) -> None:
        """Let summed embeddings vary like one, and the output layer start at zero if asked."""
        encoder, decoder = self.encoder, self.decoder
        for embeddings in ([encoder.embedding, *encoder.streams], decoder.conditions):
            for embedding in embeddings:
                assert isinstance(embedding, nn.Embedding)
                embedding.weight.div_(len(embeddings) ** 0.5)
        if self.config.zero_projection:
            decoder.projection.weight.zero_()

    @property
    def parameter_count(self) -> int:
        """Numbers that training may change."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.bias.device

    def encode(self, batch: Batch) -> Memory:
        """Read the sources of `batch`.

        Raises
        ------
        ConfigError
            If streams are missing, lengths are outside the source, or an id is outside its
            vocabulary.
        """
        self._check_streams("source_extra", batch.source_extra, self.config.source_streams)
        self._check_streams("condition", batch.condition, self.config.condition_streams)
        try:
            outputs, state = self.encoder(batch)
            values = outputs.transpose(0, 1)
            if self.config.attention != "none":
                values = values.contiguous()
            memory: Memory = self.decoder.memory(values, state, batch)
        except IndexError as error:
            raise self._unknown_id(batch) from error
        return memory

    def decode_step(
        self, ids: Int[Tensor, " R"], state: State, memory: Memory
    ) -> tuple[Float[Tensor, "R {self.config.vocab_size}"], State]:
        """Answer one step.

        Parameters
        ----------
        ids : (R,) int64
            Ids fed in, R = B × Q rows: the Q rows of one source side by side.
        state : State
            R rows; `memory.state` at first.
        memory : Memory
            Of B sources.

        Returns
        -------
        logits : (R, V) float
            Scores of the next id.
        state : State
            For the next step.
        """
        features, state, _ = self.decoder.step(ids, state, memory)
        return self.decoder.logits(features), state

    def forward(
        self,
        batch: Batch,
        *,
        teacher: Bool[Tensor, " T"] | Bool[Tensor, "T {batch.size}"] | None = None,
    ) -> Float[Tensor, "T {batch.size} {self.config.vocab_size}"]:
        """Score all target steps.

        Parameters
        ----------
        batch : Batch
            Sources and targets.
        teacher : (T,) or (T, B) bool, optional
            True where the decoder is fed `target_in`, False where it is fed its own most probable
            id of the step before. By default the teacher speaks everywhere. Step 0 is always fed
            from `target_in`.

        Returns
        -------
        (T, B, V) float
            Logits.
        """
        memory = self.encode(batch)
        if teacher is None:
            try:
                return self.decoder.logits(self.decoder.all_steps(batch.target_in, memory))
            except IndexError as error:
                raise self._unknown_id(batch) from error
        state, teacher = memory.state, teacher.to(self.device)
        outputs: list[Tensor] = []
        for t, given in enumerate(batch.target_in.unbind(0)):
            if t:
                given = torch.where(teacher[t], given, outputs[-1].detach().argmax(dim=-1))
            logits, state = self.decode_step(given, state, memory)
            outputs.append(logits)
        return torch.stack(outputs)

    @torch.no_grad()
    def alignment(self, batch: Batch) -> Float[Tensor, "T {batch.size} S"]:
        """Attention weights under teacher forcing, (T, B, S), in eval mode.

        Raises
        ------
        ConfigError
            If the architecture has no attention.
        """
        if self.config.attention == "none":
            raise ConfigError("A model with attention='none' has no alignment. Choose another one.")
        was_training = self.training
        self.eval()
        memory = self.encode(batch)
        state, rows = memory.state, []
        for given in batch.target_in.unbind(0):
            _, state, weights = self.decoder.step(given, state, memory)
            assert weights is not None
            rows.append(weights)
        self.train(was_training)
        return torch.stack(rows)

    def _unknown_id(self, batch: Batch) -> ConfigError:
        """Say which ids of `batch` no embedding has a row for."""
        size = self.config.vocab_size
        parts = {"source": (batch.source, size), "target_in": (batch.target_in, size)}
        for name, given, sizes in (
            ("source_extra", batch.source_extra, self.config.source_streams),
            ("condition", batch.condition, self.config.condition_streams),
        ):
            for stream, rows in enumerate(sizes):
                assert given is not None
                parts[f"{name}[..., {stream}]"] = given[..., stream], rows
        found = "; ".join(
            f"Batch.{name} must hold ids in [0, {rows - 1}], got {int(ids.min())} to {int(ids.max())}"
            for name, (ids, rows) in parts.items()
            if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < rows
        )
        return ConfigError(
            f"{found}. Raise the vocabulary's size in Seq2SeqConfig, or mend the ids."
        )

    def _check_streams(self, name: str, given: Tensor | None, expected: tuple[int, ...]) -> None:
        count = 0 if given is None else given.shape[-1]
        if count != len(expected):
            raise ConfigError(
                f"The architecture reads {len(expected)} streams as Batch.{name}, the batch holds "
                f"{count}. Both must agree; see Seq2SeqConfig."
            )
