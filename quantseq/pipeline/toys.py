"""The toy tasks as the commands do them: train, tell as it goes, and draw what came out."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from quantseq.files import ensure_writable, write_json
from quantseq.pipeline.outcomes import TrainingOutcome
from quantseq.pipeline.step_bars import StepBars
from quantseq.progress import SILENT, Progress
from quantseq.reporting import toy_page
from quantseq.reporting.figures import export_figures
from quantseq.reporting.render import write_page
from quantseq.seq2seq import copy_task
from quantseq.seq2seq.copy_task import CopyResult, CopySource, Milestone
from quantseq.seq2seq.gate import BAR, BAR_WITHOUT_ATTENTION
from quantseq.seq2seq.proof.mastery import free_running_ids
from quantseq.seq2seq.proof.toys import EVALUATION, Toy
from quantseq.seq2seq.tokens import EOS
from quantseq.seq2seq.training import set_threads

LENGTHS = (3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16)
"""Lengths of the fresh sequences that the page shows with their answers, one each."""

FIRST_SAMPLE = 2000
"""Their batches in the stream of fresh sequences come after this one; nothing else is measured there."""


def train_copy(
    preset: str = "strong",
    *,
    out: Path,
    seed: int = 0,
    batches: int | None = None,
    toy: Toy = "copy",
    resume: bool = False,
    figures: Path | None = None,
    progress: Progress = SILENT,
) -> TrainingOutcome:
    """Train on random sequences until they can be answered, measure it, and draw it.

    Parameters
    ----------
    preset : str
        One of `quantseq.seq2seq.copy_task.PRESETS`.
    out : Path
        Model folder. ``metrics.json``, ``milestones.json``, ``samples.json``, the training state, the
        page ``report.html``, and as SVG and PNG ``loss``, ``accuracy`` (by length) and, with
        attention, ``attention`` lie in it too.
    seed : int
    batches : int, optional
        Training batches instead of the preset's.
    toy : 'copy' | 'reverse' | 'sort'
        What to answer a sequence with.
    resume : bool
        Go on from the last checkpoint in `out`, to the same bits.
    figures : Path, optional
        Folder of the pictures instead of `out`.
    progress : Progress
        Also told where training stands before batch 0, 1000, 2000, ..., once for each.

    Returns
    -------
    TrainingOutcome
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
    if figures is not None:
        ensure_writable(figures)

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
    write_json(out / toy_page.SAMPLES, _samples(result))
    for suffix in ("svg", "png"):  # of an older model
        (out / f"attention.{suffix}").unlink(missing_ok=True)
    page = toy_page.load(out)
    export_figures(page, out if figures is None else figures)
    return TrainingOutcome(result.metrics, out, write_page(page, out))


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
    return " ".join(map(toy_page.token, ids))


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


def _samples(result: CopyResult) -> dict[str, Any]:
    """What the page shows besides the training's own files: fresh answers, the bar, the settings."""
    source = CopySource(toy=result.metrics["task"], seed=result.metrics["seed"], stream=EVALUATION)
    found = []
    for length in LENGTHS:
        one = replace(source, length_from=length, length_to=length, batch_size=1).batch(
            FIRST_SAMPLE + length
        )
        answered = free_running_ids(result.model, one)[:, 0].tolist()
        end = answered.index(EOS) + 1 if EOS in answered else len(answered)
        found.append(
            {
                "input": one.source[:, 0].tolist(),
                "answer": one.target_out[:, 0].tolist(),
                "answered": answered[:end],
            }
        )
    preset = copy_task.PRESETS[result.metrics["preset"]]
    training = {**asdict(preset.training), "steps": result.metrics["batches"]}
    bar = BAR_WITHOUT_ATTENTION if result.model.config.attention == "none" else BAR
    return {
        "samples": found,
        "fresh": copy_task.FRESH,
        "bar": bar,
        "note": preset.note,
        "training": training,
    }
