"""What a machine looks like before it exists: `Seq2SeqConfig`, validated once, then trusted.

Owns the names and rules of every architectural choice. Does not build anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal

from quantseq.errors import ConfigError
from quantseq.seq2seq.network.recurrence import CELLS, Cell
from quantseq.seq2seq.tokens import EOS, FIRST_ID

AttentionKind = Literal["none", "bahdanau", "luong"]
ATTENTIONS: tuple[AttentionKind, ...] = ("none", "bahdanau", "luong")

Init = Literal["torch", "tensorflow"]
INITS: tuple[Init, ...] = ("torch", "tensorflow")

_SWITCHES = (
    "bidirectional",
    "share_embedding",
    "tie_projection",
    "reverse_source",
    "zero_projection",
    "through_padding",
)


@dataclass(frozen=True, kw_only=True)
class Seq2SeqConfig:
    """Architecture of one `Seq2Seq`.

    Parameters
    ----------
    vocab_size : int
        Ids 0..vocab_size-1 of source and target, PAD and EOS included.
    embedding_size, hidden_size : int
        Features of a token, and of a recurrent state per direction.
    decoder_hidden_size : int, optional
        Features of the decoder's state. By default `hidden_size`. If it differs from what the encoder
        hands over (a bidirectional encoder hands over twice `hidden_size`), a linear bridge joins them.
    attention_size : int, optional
        Features in which query and key meet under Bahdanau attention. By default the decoder's.
    layers : int
        Recurrent layers on each side.
    cell : 'lstm' | 'gru'
        Kind of recurrent cell.
    bidirectional : bool
        Whether the encoder also reads backwards.
    attention : 'none' | 'bahdanau' | 'luong'
        How the decoder looks back at the source.
    share_embedding : bool
        Whether source and target tokens share one embedding.
    tie_projection : bool
        Whether the output layer reuses the target embedding.
    reverse_source : bool
        Whether each source is read back to front (Sutskever et al., 2014).
    dropout : float
        Share of embeddings, between-layer states and output features dropped in training.
    init : 'torch' | 'tensorflow'
        'torch': uniform within 1/sqrt(hidden). 'tensorflow': Glorot over the joint kernel, forget
        bias 1, embeddings uniform within 1; needed to reproduce the tutorial's losses.
    source_streams : tuple of int
        Vocabulary sizes of further ids per source step; their embeddings are summed.
    condition_streams : tuple of int
        Vocabulary sizes of ids per sequence that the decoder sees at every step.
    never_emit : tuple of int
        Ids whose logits are minus infinity, in the loss as in decoding.
    zero_projection : bool
        Whether the output layer starts at zero: the first distribution is then exactly uniform over
        the ids that may be emitted.
    through_padding : bool
        Whether the encoder runs through PAD as if it were a token, like the original tutorial.

    Raises
    ------
    ConfigError
        If a value is outside its rule.
    """

    vocab_size: int
    embedding_size: int = 32
    hidden_size: int = 32
    decoder_hidden_size: int | None = None
    attention_size: int | None = None
    layers: int = 1
    cell: Cell = "lstm"
    bidirectional: bool = True
    attention: AttentionKind = "bahdanau"
    share_embedding: bool = True
    tie_projection: bool = False
    reverse_source: bool = False
    dropout: float = 0.0
    init: Init = "torch"
    source_streams: tuple[int, ...] = ()
    condition_streams: tuple[int, ...] = ()
    never_emit: tuple[int, ...] = ()
    zero_projection: bool = False
    through_padding: bool = False

    def __post_init__(self) -> None:
        for name in ("source_streams", "condition_streams", "never_emit"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._whole("vocab_size", self.vocab_size, FIRST_ID + 1)
        for name in ("embedding_size", "hidden_size", "layers"):
            self._whole(name, getattr(self, name), 1)
        for name in ("decoder_hidden_size", "attention_size"):
            if getattr(self, name) is not None:
                self._whole(name, getattr(self, name), 1)
        for name in ("source_streams", "condition_streams"):
            for size in getattr(self, name):
                self._whole(name, size, 1)
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                self._refuse(name, "True or False", getattr(self, name))
        self._choice("cell", self.cell, CELLS)
        self._choice("attention", self.attention, ATTENTIONS)
        self._choice("init", self.init, INITS)
        if not isinstance(self.dropout, int | float) or not 0.0 <= self.dropout < 1.0:
            self._refuse("dropout", "a number in [0, 1)", self.dropout)
        allowed = set(range(self.vocab_size)) - set(self.never_emit)
        if not set(self.never_emit) <= set(range(self.vocab_size)) or not allowed - {EOS}:
            self._refuse(
                "never_emit",
                f"ids below vocab_size={self.vocab_size} that leave an id other than EOS to emit",
                self.never_emit,
            )
        if self.tie_projection and self.zero_projection:
            self._refuse(
                "zero_projection",
                "False when tie_projection is set: an embedding cannot be zero",
                True,
            )

    def _whole(self, name: str, value: object, low: int) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            self._refuse(name, f"an int of at least {low}", value)

    def _choice(self, name: str, value: object, choices: tuple[str, ...]) -> None:
        if value not in choices:
            near = get_close_matches(str(value), choices, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            self._refuse(name, f"one of {', '.join(map(repr, choices))}", value, hint)

    def _refuse(self, name: str, rule: str, value: object, hint: str = "") -> None:
        raise ConfigError(
            f"The {name!r} parameter of Seq2SeqConfig must be {rule}. Got {value!r}.{hint}"
        )

    @property
    def directions(self) -> int:
        """Directions of the encoder, 1 or 2."""
        return 2 if self.bidirectional else 1

    @property
    def memory_size(self) -> int:
        """Features of the encoder's output at each step."""
        return self.directions * self.hidden_size

    @property
    def state_size(self) -> int:
        """Features of the decoder's state."""
        return self.decoder_hidden_size or self.hidden_size

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Seq2SeqConfig":
        """Read what `to_dict` wrote.

        Raises
        ------
        ConfigError
            If a name is unknown or missing, or a value is outside its rule.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown or "vocab_size" not in values:
            raise ConfigError(
                f"Seq2SeqConfig needs 'vocab_size' and knows {sorted(known)}. "
                f"Got {sorted(values)}; unknown: {unknown}."
            )
        return cls(**values)
