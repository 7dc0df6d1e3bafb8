"""The toy tasks as the commands do them: train, tell as it goes, and draw what came out."""

from pathlib import Path
from typing import Any

import numpy as np

from quantseq.files import read_json
from quantseq.pipeline.step_bars import StepBars
from quantseq.progress import SILENT, Progress
from quantseq.report.ink import write_picture
from quantseq.report.toy_charts import accuracy_by_length, attention_map, loss_curve
from quantseq.seq2seq import copy_task
from quantseq.seq2seq.copy_task import CopyResult, Milestone
from quantseq.seq2seq.tokens import EOS, PAD
from quantseq.seq2seq.toys import Toy
from quantseq.seq2seq.training import set_threads

SPECIAL = {PAD: "PAD", EOS: "EOS"}


def train_copy(
    preset: str = "strong",
    *,
    out: Path,
    seed: int = 0,
    batches: int | None = None,
    toy: Toy = "copy",
    resume: bool = False,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train on random sequences until they can be answered, measure it, and draw it.

    Parameters
    ----------
    preset : str
        One of `quantseq.seq2seq.copy_task.PRESETS`.
    out : Path
        Model folder. ``metrics.json``, ``milestones.json``, the training state, and as SVG and PNG
        ``loss``, ``accuracy`` (by length) and, with attention, ``attention`` lie in it too.
    seed : int
    batches : int, optional
        Training batches instead of the preset's.
    toy : 'copy' | 'reverse' | 'sort'
        What to answer a sequence with.
    resume : bool
        Go on from the last checkpoint in `out`, to the same bits.
    progress : Progress
        Also told where training stands before batch 0, 1000, 2000, ..., once for each.

    Returns
    -------
    dict
        The content of ``metrics.json``; its keys stand in ``docs/json.md``.

    Raises
    ------
    ConfigError
        If the preset or the toy is unknown.
    ModelFileError
        If the state to resume from is damaged or belongs to another training.
    KeyboardInterrupt
        After Ctrl-C, with the state saved.
    """
    set_threads(1)

    def tell(stone: Milestone) -> None:
        for line in milestone_lines(stone):
            progress.tell(line)

    with StepBars(progress, lambda _: f"{toy} task, preset {preset}") as bars:
        result = copy_task.train_copy(
            preset,
            seed=seed,
            out=out,
            batches=batches,
            toy=toy,
            resume=resume,
            on_step=bars.only,
            on_milestone=tell,
        )
    _draw(result)
    return dict(result.metrics)


def milestone_lines(stone: Milestone) -> list[str]:
    """Where a training stands, as the tutorial printed it, and on the model's own tokens."""
    lines = [
        f"batch {stone.batch}",
        f"  loss: {stone.loss:.4f} teacher-forced, padding {'left out' if stone.masked else 'included'}",
        f"        {stone.free_running_loss:.4f} free-running, padding left out",
        f"  exact match: {stone.exact_match:.1%} free-running",
    ]
    for number, sample in enumerate(stone.samples, 1):
        lines += [
            f"  sample {number}:",
            f"    input                     > {_words(sample['input'])}",
            f"    predicted, teacher-forced > {_words(sample['teacher_forced'])}",
            f"    predicted, free-running   > {_words(sample['free_running'])}",
        ]
    return lines


def _words(ids: list[int]) -> str:
    return " ".join(SPECIAL.get(one, str(one)) for one in ids)


def describe(metrics: dict[str, Any]) -> list[str]:
    """Metrics of a toy task in a few lines of text, the tutorial's closing line first."""
    lengths, longer = (
        ", ".join(f"{n}: {v:.1%}" for n, v in metrics[key].items())
        for key in ("exact_match_by_length", "longer_exact_match_by_length")
    )
    kind = "padding left out" if metrics["loss_masked"] else "padding included"
    return [
        copy_task.closing_line(metrics),
        f"Loss is nats per token, teacher-forced, {kind}.",
        f"Teacher-forced token accuracy: {metrics['token_accuracy']:.2%}",
        f"Free-running exact match: {metrics['exact_match']:.2%} of {copy_task.FRESH} fresh sequences",
        f"  by length {lengths}",
        f"Free-running edit distance: {metrics['edit_distance']:.4f} per sequence",
        f"Longer than in training: {metrics['longer_exact_match']:.2%} exact",
        f"  by length {longer}",
    ]


def _draw(result: CopyResult) -> None:
    """Write the pictures of a training beside its model."""
    metrics, out = result.metrics, result.folder
    name = f"{metrics['task']} task, preset {metrics['preset']}, seed {metrics['seed']}"
    counted = "padding left out" if metrics["loss_masked"] else "padding included"
    write_picture(
        out / "loss",
        loss_curve(
            result.history.steps,
            result.history.losses,
            stones={stone.batch: stone.loss for stone in result.milestones},
            title=f"Loss by batch: {name}",
            unit=f"nats per token, {counted}",
        ),
        (900, 420),
        title=f"Loss by batch: {name}",
        description=f"Teacher-forced minibatch loss in nats per token, {counted}, log scale; "
        f"at the end {metrics['final_loss']:.4g}.",
    )
    trained, longer = (
        {int(length): share for length, share in metrics[key].items()}
        for key in ("exact_match_by_length", "longer_exact_match_by_length")
    )
    write_picture(
        out / "accuracy",
        accuracy_by_length(trained, longer, title=f"Exact match by length, free-running: {name}"),
        (900, 420),
        title=f"Exact match by length: {name}",
        description="Per cent of fresh sequences answered exactly: "
        + ", ".join(f"length {n} {100 * share:.1f}" for n, share in {**trained, **longer}.items()),
    )
    if result.model.config.attention == "none":
        for suffix in ("svg", "png"):
            (out / f"attention.{suffix}").unlink(missing_ok=True)
        return
    heat = read_json(out / "attention.json")
    write_picture(
        out / "attention",
        attention_map(
            [SPECIAL.get(one, str(one)) for one in heat["source"]],
            [SPECIAL.get(one, str(one)) for one in heat["target"]],
            np.array(heat["weights"]),
            title=f"Where it looks, per cent: {name}",
        ),
        (560, 620),
        title=f"Attention: {name}",
        description="Share of attention that each answered token (row) pays to each token read "
        "(column), teacher-forced, one fresh sequence.",
    )
