"""A study of copying: every kind of machine, trained alike and looked at while it learns.

Owns which kinds are compared, how each is trained, and what is noted on the way. Does not know how
trainings are spread over processes, kept, gathered or drawn.

All kinds have the tutorial's sizes (embedding and state of 20, TensorFlow's initialisation) and its
training (Adam at 1e-3, batches of 100). Unlike the tutorial lengths are respected and padding is left
out of the loss: attention must not look at padding, and losses compare only if they count the same.
"""

import time
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch

from quantseq.errors import ConfigError
from quantseq.files import fingerprint
from quantseq.seq2seq.copy_task import CopySource
from quantseq.seq2seq.gate import code_hashes
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.network.architecture import ATTENTIONS, AttentionKind
from quantseq.seq2seq.network.recurrence import CELLS, Cell
from quantseq.seq2seq.proof.mastery import free_running
from quantseq.seq2seq.proof.presets import VOCABULARY
from quantseq.seq2seq.proof.toys import EVALUATION
from quantseq.seq2seq.training import StepReport, TrainConfig, evaluate_loss, fit, set_threads

SIZE = 20
"""Features of an embedding and of a state."""

LOOKS = 40
"""A training is looked at about this many times."""

FRESH = 500
"""Sequences that each look measures on."""

WARM_UP = 3
"""Batches that a machine of the same kind, thrown away, takes before the clock runs."""


@dataclass(frozen=True)
class StudyCase:
    """One kind of machine.

    Parameters
    ----------
    cell : 'lstm' | 'gru'
        Recurrent cell of both sides.
    bidirectional : bool
        Whether the encoder also reads backwards.
    attention : 'none' | 'bahdanau' | 'luong'
        How the decoder looks back.
    """

    cell: Cell
    bidirectional: bool
    attention: AttentionKind

    @property
    def encoder(self) -> str:
        """Which way the encoder reads."""
        return "bidirectional" if self.bidirectional else "forward"

    @property
    def name(self) -> str:
        """Name of the kind, fit for a file."""
        return f"{self.cell}-{self.encoder}-{self.attention}"

    @property
    def architecture(self) -> Seq2SeqConfig:
        """What the machine looks like."""
        return Seq2SeqConfig(
            vocab_size=VOCABULARY,
            embedding_size=SIZE,
            hidden_size=SIZE,
            cell=self.cell,
            bidirectional=self.bidirectional,
            attention=self.attention,
            init="tensorflow",
        )


CASES: tuple[StudyCase, ...] = tuple(
    StudyCase(cell, bidirectional, attention)
    for attention, bidirectional, cell in product(ATTENTIONS, (False, True), CELLS)
)
"""{forward, bidirectional} × {none, Bahdanau, Luong} × {LSTM, GRU}."""


@dataclass(frozen=True)
class StudyRun:
    """How one machine learned.

    Parameters
    ----------
    case : str
        Name of its kind.
    seed : int
        Of weights and sequences.
    parameters : int
        Numbers that training changes.
    batches : list of int
        Batches seen before each look, from 0 to the last.
    seconds : list of float
        Wall clock spent on training before each look; looking is not counted.
    exact_match : list of float
        Share of fresh sequences answered exactly, free-running, EOS included.
    loss : list of float
        Teacher-forced loss on the same sequences, nats per token, padding left out.
    """

    case: str
    seed: int
    parameters: int
    batches: list[int]
    seconds: list[float]
    exact_match: list[float]
    loss: list[float]


def training_of(batches: int) -> TrainConfig:
    """How every machine of a study is trained."""
    return TrainConfig(steps=batches, optimiser="adam", learning_rate=1e-3, clip_norm=None)


def looks_at(batches: int) -> list[int]:
    """Numbers of batches after which a training of this length is looked at.

    Examples
    --------
    >>> looks_at(5)
    [0, 1, 2, 3, 4, 5]
    >>> looks_at(2000)[:3], looks_at(2000)[-1], len(looks_at(2000))
    ([0, 50, 100], 2000, 41)
    """
    return sorted({*range(0, batches, -(-batches // LOOKS)), batches})


def run_fingerprint(case: StudyCase, *, seed: int, batches: int) -> str:
    """Hash what the numbers of a training depend on: code, architecture, training, torch."""
    return fingerprint(
        {
            "code": code_hashes(),
            "architecture": case.architecture.to_dict(),
            "training": asdict(training_of(batches)),
            "seed": seed,
            "torch": torch.__version__,
        }
    )


def run_case(case: StudyCase, *, seed: int, batches: int) -> StudyRun:
    """Train one machine on one thread and look at it as it learns.

    Parameters
    ----------
    case : StudyCase
        Kind of machine.
    seed : int
        Seeds weights and sequences.
    batches : int
        Batches to train, at least 1.

    Returns
    -------
    StudyRun
        All but `seconds` is the same at every call.

    Raises
    ------
    ConfigError
        If there is no batch to train.
    """
    if batches < 1:
        raise ConfigError(f"A study needs at least 1 batch. Got batches={batches}.")
    set_threads(1)
    model = Seq2Seq(case.architecture, seed=seed)
    fresh = CopySource(seed=seed, stream=EVALUATION, batch_size=FRESH).batch(0)
    looks = set(looks_at(batches))
    found: dict[str, list[Any]] = {"batches": [], "seconds": [], "exact_match": [], "loss": []}
    spent, since = 0.0, 0.0

    def look(done: int) -> None:
        found["batches"].append(done)
        found["seconds"].append(spent)
        found["exact_match"].append(float(free_running(model, fresh).double().mean()))
        found["loss"].append(evaluate_loss(model, [fresh]))

    def told(report: StepReport) -> None:
        nonlocal spent, since
        if report.step + 1 in looks:
            spent += time.perf_counter() - since
            look(report.step + 1)
            since = time.perf_counter()

    warm = Seq2Seq(case.architecture, seed=seed)
    fit(warm, CopySource(seed=seed), training_of(WARM_UP), seed=seed)
    look(0)
    since = time.perf_counter()
    fit(model, CopySource(seed=seed), training_of(batches), seed=seed, on_step=told)
    return StudyRun(case.name, seed, model.parameter_count, **found)
