"""The copy task: where the machine comes from, and the proof that it works.

Owns the training of a preset and what is measured about it. Everything it uses below, model, trainer,
decoding, model folder, is what prices use too.

A loss near 0.1 is not a solved task: what counts is *free-running exact match*, greedy decoding on its
own tokens with the whole answer right, EOS included, on fresh sequences.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from quantseq.errors import ConfigError
from quantseq.files import fingerprint, make_folder, write_json
from quantseq.seq2seq.checkpoint import has_state, save_model
from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.proof.mastery import (
    edit_distances,
    free_running,
    free_running_ids,
    right,
    share_by_length,
    teacher_forced_ids,
)
from quantseq.seq2seq.proof.milestones import Milestone, MilestoneLog
from quantseq.seq2seq.proof.presets import PRESETS, VOCABULARY, Preset
from quantseq.seq2seq.proof.toys import EVALUATION, Toy
from quantseq.seq2seq.proof.toys import ToySource as CopySource
from quantseq.seq2seq.tokens import EOS, FIRST_ID, PAD
from quantseq.seq2seq.tokens import random_sequences as random_sequences
from quantseq.seq2seq.training import StepReport, TrainingHistory, fit

__all__ = [
    "PRESETS",
    "CopyResult",
    "CopySource",
    "Milestone",
    "Preset",
    "random_sequences",
    "train_copy",
]

FRESH = 2000
"""Sequences that exact match is measured on."""


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
        return closing_line(self.metrics)


def closing_line(metrics: Mapping[str, Any]) -> str:
    """The line that ends the original tutorial, from the metrics of a `CopyResult`."""
    return (
        f"loss {metrics['final_loss']:.4f} after {metrics['examples']} examples "
        f"(batch_size={metrics['batch_size']})"
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
    ModelFileError
        If the state to resume from is damaged or belongs to another training.
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
    meta = {"task": toy, "preset": preset, "seed": seed}
    log = MilestoneLog(
        out / "milestones.json", meta, model, source, training.masked_loss, on_milestone
    )
    if resume and has_state(out / "state"):
        log.load()
    else:
        shutil.rmtree(out / "state", ignore_errors=True)
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
        **meta,
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
    ids = fingerprint({"pad": PAD, "eos": EOS, "ids": [FIRST_ID, VOCABULARY]})
    save_model(out, model, meta={**meta, "vocabulary": ids, "trained_until": None}, history=history)
    write_json(out / "metrics.json", metrics)
    if chosen.config.attention == "none":
        (out / "attention.json").unlink(missing_ok=True)
    else:
        write_json(out / "attention.json", _heat_map(model, source))
    return CopyResult(metrics, log.stones, history, model, out)


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
