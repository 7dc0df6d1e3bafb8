"""Small machines of every kind, and batches for them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from itertools import product
from typing import Any

import jaxtyping
import pytest
import torch

from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.tokens import EOS, FIRST_ID, PAD, Batch

VOCABULARY = 7


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switch the suite's shape checks off, to see what a user sees."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def elsewhere() -> AbstractContextManager[object]:
    """Make every tensor that does not say where it belongs on a device that cannot compute.

    Code that makes a tensor without looking where its model is then fails, although model and batch
    are on the CPU: what it takes to run on an accelerator, checked without one.
    """
    return torch.device("meta")


def config_of(**changes: Any) -> Seq2SeqConfig:
    """A tiny architecture."""
    values: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "embedding_size": 5,
        "hidden_size": 6,
        "bidirectional": False,
        "attention": "none",
        **changes,
    }
    return Seq2SeqConfig(**values)


EVERY_CONFIG = [
    config_of(
        cell=cell, bidirectional=both, attention=attention, layers=1 + ((cell == "gru") ^ both)
    )
    for cell, both, attention in product(
        ("lstm", "gru"), (False, True), ("none", "bahdanau", "luong")
    )
] + [
    config_of(bidirectional=True, decoder_hidden_size=12, channels=2),
    config_of(bidirectional=True, attention="bahdanau", attention_size=3, reverse_source=True),
    config_of(
        bidirectional=True,
        attention="luong",
        channels=2,
        condition_size=2,
        never_emit=(PAD, EOS),
    ),
    config_of(
        cell="gru",
        layers=2,
        bidirectional=True,
        attention="luong",
        decoder_hidden_size=9,
        share_embedding=False,
        tie_projection=True,
        reverse_source=True,
        channels=2,
        condition_size=1,
        init="tensorflow",
    ),
    config_of(
        layers=2,
        attention="bahdanau",
        decoder_hidden_size=9,
        attention_size=3,
        tie_projection=True,
        condition_size=3,
        never_emit=(PAD,),
    ),
]


# Every kind of cell, attention, stream and rule once: enough for what is made of `decode_step` alone.
FEW_CONFIGS = [*EVERY_CONFIG[1:12:4], EVERY_CONFIG[8], *EVERY_CONFIG[13:16]]


def by_fours(config: Seq2SeqConfig) -> Seq2SeqConfig:
    """The same architecture in sizes that promise answers to the bit."""
    decoder, meeting = config.decoder_hidden_size, config.attention_size
    return replace(
        config,
        embedding_size=8,
        hidden_size=8,
        decoder_hidden_size=None if decoder is None else 4 * (decoder // 3),
        attention_size=None if meeting is None else 4,
    )


def name_of(config: Seq2SeqConfig) -> str:
    """What sets a config apart."""
    plain = asdict(config_of())
    changes = {name: value for name, value in asdict(config).items() if value != plain[name]}
    return "-".join(f"{name}={value}" for name, value in changes.items()) or "plain"


def machine(config: Seq2SeqConfig, seed: int = 0) -> Seq2Seq:
    """A machine whose weights, biases included, all matter."""
    model = Seq2Seq(config, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def random_batch(
    config: Seq2SeqConfig,
    lengths: tuple[int, ...] = (4, 1, 6, 3),
    target_lengths: tuple[int, ...] | None = None,
    *,
    seed: int = 0,
) -> Batch:
    """Random sequences of these lengths with all numbers that `config` reads."""
    generator = torch.Generator().manual_seed(seed)
    answered = target_lengths or tuple(length % 5 + 1 for length in lengths)

    def ids(steps: tuple[int, ...]) -> torch.Tensor:
        matrix = torch.randint(
            FIRST_ID, config.vocab_size, (max(steps), len(steps)), generator=generator
        )
        return matrix.masked_fill(torch.arange(max(steps)).unsqueeze(1) >= torch.tensor(steps), PAD)

    target = ids(answered)
    start = torch.full((1, len(lengths)), EOS)

    def numbers(steps: int, count: int) -> torch.Tensor | None:
        shape = (steps, len(lengths), count)
        return torch.randn(shape, generator=generator) if count else None

    return Batch(
        source=ids(lengths),
        source_lengths=torch.tensor(lengths),
        target_in=torch.cat((start, target[:-1])),
        target_out=target,
        target_lengths=torch.tensor(answered),
        channels=numbers(max(lengths), config.channels),
        condition=numbers(3, config.condition_size),
    )
