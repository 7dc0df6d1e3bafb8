"""Ways to train a toy task: the three parts of the tutorial, and what this house uses.

Owns the presets. Does not train anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from quantseq.seq2seq.learning.train_config import TrainConfig
from quantseq.seq2seq.network.architecture import Seq2SeqConfig

VOCABULARY = 10
"""Ids of a toy task, PAD and EOS included."""


@dataclass(frozen=True)
class Preset:
    """One way to train the copy task.

    Parameters
    ----------
    note : str
        What it is, in a line.
    config : Seq2SeqConfig
        Architecture.
    training : TrainConfig
        How to train it.
    batch_size : int
        Sequences per batch.
    """

    note: str
    config: Seq2SeqConfig
    training: TrainConfig
    batch_size: int = 100


def _tutorial(**changes: Any) -> Seq2SeqConfig:
    values: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "embedding_size": 20,
        "hidden_size": 20,
        "bidirectional": False,
        "attention": "none",
        "init": "tensorflow",
        "through_padding": True,
        **changes,
    }
    return Seq2SeqConfig(**values)


_TUTORIAL_TRAINING = TrainConfig(
    steps=3001, optimiser="adam", learning_rate=1e-3, clip_norm=None, masked_loss=False
)

PRESETS: Mapping[str, Preset] = {
    "seed": Preset(
        "the original tutorial: one LSTM each way of 20, loss over padding too",
        _tutorial(),
        _TUTORIAL_TRAINING,
    ),
    "bidirectional": Preset(
        "part 2: bidirectional encoder, decoder of 40 trained on its own tokens",
        _tutorial(bidirectional=True, decoder_hidden_size=40),
        replace(_TUTORIAL_TRAINING, scheduled_sampling="free"),
    ),
    "attention": Preset(
        "part 3: bidirectional encoder and Bahdanau attention, size 20",
        _tutorial(bidirectional=True, attention="bahdanau"),
        _TUTORIAL_TRAINING,
    ),
    "strong": Preset(
        "what this house uses: bidirectional, Bahdanau, masked loss, one-cycle; solved in 1000",
        Seq2SeqConfig(vocab_size=VOCABULARY, embedding_size=32, hidden_size=32),
        TrainConfig(steps=1001, learning_rate=1e-2, schedule="one_cycle", weight_decay=0.01),
    ),
}
"""Ways to train the copy task, by name."""
