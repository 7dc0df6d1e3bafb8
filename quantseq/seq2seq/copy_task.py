"""The copy task: where the machine comes from, and the proof that it works.

Owns the presets, their training and what is measured about them. Everything it uses below, model,
trainer, decoding, model folder, is what prices use too.

A loss near 0.1 is not a solved task: what counts is *free-running exact match*, greedy decoding on its
own tokens with the whole answer right, EOS included, on fresh sequences.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from quantseq.errors import ConfigError
from quantseq.files import fingerprint, make_folder, read_json, write_json
from quantseq.seq2seq.checkpoint import save_model
from quantseq.seq2seq.decoding import greedy
from quantseq.seq2seq.mastery import (
    edit_distances,
    free_running,
    free_running_ids,
    right,
    share_by_length,
    teacher_forced_ids,
)
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.tokens import EOS, FIRST_ID, PAD, Batch
from quantseq.seq2seq.tokens import random_sequences as random_sequences
from quantseq.seq2seq.toys import EVALUATION, Toy
from quantseq.seq2seq.toys import ToySource as CopySource
from quantseq.seq2seq.training import (
    StepReport,
    TrainConfig,
    TrainingHistory,
    evaluate_loss,
    fit,
)

__all__ = [
    "MILESTONE",
    "PRESETS",
    "CopyResult",
    "CopySource",
    "Milestone",
    "Preset",
    "random_sequences",
    "train_copy",
]

MILESTONE = 1000
"""Batches between two looks at where a training stands, as in the tutorial."""

FRESH = 2000
"""Sequences that exact match is measured on."""

VOCABULARY = 10


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


@dataclass(frozen=True)
class Milestone:
    """Where a training stands before some batch.

    Parameters
    ----------
    batch : int
        Number of batches seen.
    loss : float
        Teacher-forced loss of the training's own kind (masked or not), mean over 5 fresh batches.
    samples : list of dict
        Three sequences: ``input``, ``teacher_forced`` (best id at every step, given the truth before
        it) and ``free_running``, EOS included where it was emitted.
    """

    batch: int
    loss: float
    samples: list[dict[str, list[int]]]


@dataclass(frozen=True)
class CopyResult:
    """A trained copy model and what was measured about it.

    Parameters
    ----------
    metrics : dict
        As in ``metrics.json``: ``task``, ``preset``, ``seed``, ``batches``, ``batch_size``,
        ``examples``, ``parameters``, ``loss_masked``, ``loss_at`` (by batch, see `Milestone`),
        ``final_loss`` (last minibatch), ``exact_match`` (free-running, 2,000 fresh sequences),
        ``exact_match_by_length``, ``token_accuracy`` (teacher-forced), ``edit_distance``
        (free-running, mean edits per sequence), ``longer_exact_match`` and
        ``longer_exact_match_by_length`` (lengths 9-16, never trained on), ``seconds``.
    milestones : list of Milestone
        At batches 0, 1000, 2000, ...
    history : TrainingHistory
        Losses by batch.
    model : Seq2Seq
        In eval mode.
    folder : Path
        Model folder.
    """

    metrics: dict[str, Any]
    milestones: list[Milestone]
    history: TrainingHistory
    model: Seq2Seq
    folder: Path

    @property
    def closing_line(self) -> str:
        """The line that ends the original tutorial."""
        return (
            f"loss {self.metrics['final_loss']:.4f} after {self.metrics['examples']} examples "
            f"(batch_size={self.metrics['batch_size']})"
        )


def train_copy(
    preset: str = "strong",
    *,
    seed: int,
    out: Path,
    batches: int | None = None,
    toy: Toy = "copy",
    resume: bool = False,
    on_step: Callable[[StepReport], None] | None = None,
    on_milestone: Callable[[Milestone], None] | None = None,
) -> CopyResult:
    """Train a preset, measure it, and write its model folder.

    Parameters
    ----------
    preset : str
        One of `PRESETS`.
    seed : int
        Seeds weights and sequences.
    out : Path
        Model folder; also gets ``metrics.json``, ``milestones.json`` and, with attention,
        ``attention.json`` (``source``, ``target``, ``weights`` by target and source step).
    batches : int, optional
        Batches to train, if not as many as the preset says.
    toy : 'copy' | 'reverse' | 'sort'
        What to answer.
    resume : bool
        Whether to go on from the state in ``out/state``.
    on_step, on_milestone : callable, optional
        Told about every step, and about where training stands at 0, 1000, 2000, ... batches.

    Returns
    -------
    CopyResult
        Model and measurements.

    Raises
    ------
    ConfigError
        If the preset is unknown.
    """
    if preset not in PRESETS:
        raise ConfigError(
            f"The 'preset' parameter of train_copy must be one of {', '.join(PRESETS)}. "
            f"Got {preset!r}."
        )
    chosen = PRESETS[preset]
    training = chosen.training if batches is None else replace(chosen.training, steps=batches)
    make_folder(out)
    model = Seq2Seq(chosen.config, seed=seed)
    source = CopySource(toy=toy, seed=seed, batch_size=chosen.batch_size)
    log = _MilestoneLog(out / "milestones.json", model, source, training.masked_loss, on_milestone)
    if resume and (out / "state").exists():
        log.load()
    log.reach(0)

    def told(report: StepReport) -> None:
        log.reach(report.step + 1)
        if on_step is not None:
            on_step(report)

    history = fit(
        model, source, training, seed=seed, checkpoint=out / "state", resume=resume, on_step=told
    )
    model.eval()
    began = time.perf_counter()
    metrics = {
        "task": toy,
        "preset": preset,
        "seed": seed,
        "batches": training.steps,
        "batch_size": source.batch_size,
        "examples": history.examples,
        "parameters": model.parameter_count,
        "loss_masked": training.masked_loss,
        "loss_at": {str(stone.batch): stone.loss for stone in log.stones},
        "final_loss": history.losses[-1],
        **_measure(model, source),
        "seconds": history.seconds,
    }
    metrics["seconds_measuring"] = time.perf_counter() - began
    meta = {
        "task": toy,
        "preset": preset,
        "seed": seed,
        "vocabulary": fingerprint({"pad": PAD, "eos": EOS, "ids": [FIRST_ID, VOCABULARY]}),
        "trained_until": None,
    }
    save_model(out, model, meta=meta, history=history)
    write_json(out / "metrics.json", metrics)
    if chosen.config.attention != "none":
        write_json(out / "attention.json", _heat_map(model, source))
    return CopyResult(metrics, log.stones, history, model, out)


class _MilestoneLog:
    """Writes down where training stands, in a file that a resumed training finds again."""

    def __init__(
        self,
        path: Path,
        model: Seq2Seq,
        source: CopySource,
        masked: bool,
        tell: Callable[[Milestone], None] | None,
    ) -> None:
        self.path, self.model, self.masked, self.tell = path, model, masked, tell
        fresh = replace(source, stream=EVALUATION)
        self.batches = [fresh.batch(step) for step in range(5)]
        self.stones: list[Milestone] = []

    def load(self) -> None:
        """Read the stones that an earlier session reached."""
        if self.path.exists():
            self.stones = [Milestone(**stone) for stone in read_json(self.path)]

    def reach(self, batch: int) -> None:
        """Note a milestone, if `batch` is one that is not noted yet."""
        if batch % MILESTONE or any(stone.batch >= batch for stone in self.stones):
            return
        loss = evaluate_loss(self.model, self.batches, masked=self.masked)
        stone = Milestone(batch, loss, _three_samples(self.model, self.batches[0]))
        self.stones.append(stone)
        write_json(self.path, [asdict(stone) for stone in self.stones])
        if self.tell is not None:
            self.tell(stone)


def _three_samples(model: Seq2Seq, batch: Batch) -> list[dict[str, list[int]]]:
    few = batch.rows(torch.arange(3))
    forced = teacher_forced_ids(model, few)
    free = greedy(model, few, max_length=few.source.shape[0] + 2)
    samples = []
    for row in range(3):
        length, answered = int(few.source_lengths[row]), int(free.lengths[row, 0])
        samples.append(
            {
                "input": few.source[:length, row].tolist(),
                "teacher_forced": forced[: length + 1, row].tolist(),
                "free_running": free.ids[row, 0, : answered + 1].tolist(),
            }
        )
    return samples


def _measure(model: Seq2Seq, source: CopySource) -> dict[str, Any]:
    fresh = replace(source, stream=EVALUATION, batch_size=FRESH)
    batch = fresh.batch(1000)
    answers = free_running_ids(model, batch)
    exact = right(answers, batch)
    forced = teacher_forced_ids(model, batch) == batch.target_out
    valid = torch.arange(forced.shape[0]).unsqueeze(1) < batch.target_lengths
    longer = replace(fresh, length_from=9, length_to=16, batch_size=FRESH // 2).batch(1001)
    longer_right = free_running(model, longer)
    return {
        "exact_match": float(exact.double().mean()),
        "exact_match_by_length": share_by_length(exact, batch),
        "token_accuracy": float(forced[valid].double().mean()),
        "edit_distance": float(edit_distances(answers.numpy(), batch.target_out.numpy()).mean()),
        "longer_exact_match": float(longer_right.double().mean()),
        "longer_exact_match_by_length": share_by_length(longer_right, longer),
    }


def _heat_map(model: Seq2Seq, source: CopySource) -> dict[str, Any]:
    batch = replace(source, stream=EVALUATION, length_from=source.length_to, batch_size=1).batch(0)
    return {
        "source": batch.source[:, 0].tolist(),
        "target": batch.target_out[:, 0].tolist(),
        "weights": model.alignment(batch)[:, 0].tolist(),
    }
