"""`train`: the copy gate, the price model behind it, and the toy tasks that validate the machine."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.files import (
    Places,
    check_ours,
    ensure_writable,
    lock,
    read_sealed,
    remove_ours,
    seal,
    write_json,
)
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.model_folder import STATE, save_forecaster
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.forecasting.rows import MIN_HISTORY
from quantseq.market.bars import Panel
from quantseq.pipeline.data import as_rows, refuse_errors
from quantseq.pipeline.results import versions
from quantseq.progress import SILENT, Bar, Progress
from quantseq.reporting.charts import check_picture
from quantseq.reporting.page import Figure, card, check_figures
from quantseq.reporting.render import export_figures, page_of, write_report
from quantseq.reporting.render import figures as figures_of_page
from quantseq.reporting.toy_page import SAMPLES, seal_toy, token_text
from quantseq.seq2seq import copy_task
from quantseq.seq2seq.checkpoint import STATE_FILE
from quantseq.seq2seq.tokens import EOS
from quantseq.seq2seq.training import StepReport, set_threads

VALIDATION_SHARE = 0.15
"""Share of the calendar, at its end, that `train_price` holds out for validation."""

_IDENTITY = "quantseq-training.json"  # beside training states: whose they are
_STATES = f"member-*/{STATE_FILE}"


class TrainingOutcome(dict[str, Any]):
    """The content of ``metrics.json``, beside the model `folder` and the page, if the task has one."""

    def __init__(self, metrics: dict[str, Any], folder: Path, report: Path | None = None) -> None:
        super().__init__(metrics)
        self.folder, self.report = folder, report

    def figures(self) -> dict[str, Figure]:
        """Every figure of the page by key, with its numbers as ``.frame``; empty without a page."""
        return {} if self.report is None else figures_of_page(self.folder)

    def _repr_html_(self) -> str:
        """Shown by notebooks: what is a single value; the rest stands in ``metrics.json``."""
        rows = [
            [key, f"{value:,.6g}" if isinstance(value, float) else str(value)]
            for key, value in self.items()
            if isinstance(value, (bool, int, float, str))
        ]
        note = str(self.report or self.folder)
        return card(f"Trained: {self.get('task')}", "", ["", "value"], rows, note)


def _alone(out: Path) -> AbstractContextManager[None]:
    """Let no other training into the same folder; a StorageError at once if one is there."""
    remedy = "or train into another folder with --out"
    return lock(out.with_name(f".{out.name}.lock"), timeout=0, remedy=remedy)


@contextmanager
def _resumable(state: Path) -> Iterator[None]:
    """On Ctrl-C say how to go on, where no network has said it."""
    try:
        yield
    except KeyboardInterrupt as stop:
        said = f"The networks' states are kept in {str(state)!r}; the same command with --resume goes on from there."
        raise KeyboardInterrupt(str(stop) or said) from stop


@contextmanager
def step_bars(
    progress: Progress, title: Callable[[int], str]
) -> Iterator[Callable[[int, StepReport], None]]:
    """What to call with the number of a network and each report of it: it moves the network's bar, named by `title`."""
    shown: list[tuple[int, Bar]] = []
    with ExitStack() as stack:

        def step(member: int, report: StepReport) -> None:
            if not shown or shown[-1][0] != member:
                stack.close()
                bar = progress.bar(title(member), report.steps, unit="batch", done=report.step)
                shown.append((member, stack.enter_context(bar)))
            figures: dict[str, float | str] = {"loss": f"{report.loss:.4f}"}
            if report.best_loss is not None:
                figures["validation"] = f"{report.best_loss:.4f}"
            shown[-1][1].step(1, **figures)

        yield step


def pass_gate(
    config: ForecasterConfig, places: Places, *, seed: int = 0, progress: Progress = SILENT
) -> copy_task.GateRecord:
    """Make sure that this architecture, with this code, has mastered the copy task; a GateError if it has not."""
    set_threads(1)
    with step_bars(progress, lambda _: "copy gate") as step:
        record = copy_task.ensure_gate(
            config.architecture(),
            folder=places.gates,
            seed=seed,
            on_step=partial(step, 0),
            say=progress.say,
        )
    how = "remembered" if record.was_cached else "just now"
    progress.say(
        f"Copy gate passed ({how}): {record.score:.2%} of fresh sequences reproduced exactly "
        f"(bar {record.bar:.1%})."
    )
    return record


def train_price(
    panel: Panel,
    *,
    out: Path,
    config: ForecasterConfig = ForecasterConfig(),
    places: Places = Places(),
    seed: int = 0,
    jobs: int = 1,
    resume: bool = False,
    allow_bad_data: bool = False,
    progress: Progress = SILENT,
) -> TrainingOutcome:
    """Train the price model on a panel, after the copy gate, and save it.

    The last `VALIDATION_SHARE` of the calendar, a horizon after the training block, is held out for
    early stopping and shrinkage. While it runs, the networks' training states lie beside `out`, in
    a folder of that name with ``.state`` added; an older model in `out` stays until the new one is
    complete.

    ``metrics.json`` lies in `out` too, the gate's records in `places`. With one of the `jobs`, every network shows a
    bar with its losses. `resume` goes on from the states that an interrupted training of the same data, configuration
    and seed has left, to the same bits; `allow_bad_data` uses prices although the health check found errors in them.

    Raises as `quantseq.backtest` does; StorageError also if `out` holds something else than a model.
    """
    out = out.resolve()
    ensure_writable(check_ours(out, STATE, "task.json").parent)
    sessions = panel.sessions
    held_out = max(int(VALIDATION_SHARE * len(sessions)), 4 * config.horizon)
    last = len(sessions) - held_out - config.horizon - 1
    if last <= MIN_HISTORY:
        raise NotEnoughDataError(
            f"{len(sessions)} sessions are too few to train on: {held_out} are held out for "
            f"validation, and a context takes {MIN_HISTORY}. Give a longer history."
        )
    found = refuse_errors(panel, places=places, allow_bad_data=allow_bad_data)
    state = check_ours(out.with_name(f"{out.name}.state"), _IDENTITY)
    identity = {"panel": panel.sha256, "config": asdict(config), "seed": seed}
    with _alone(out):
        gate = pass_gate(config, places, seed=seed, progress=progress)
        _prepare_state(state, identity, resume=resume)
        begun = time.perf_counter()
        with ExitStack() as stack:
            if jobs == 1:
                bars = step_bars(progress, lambda i: f"network {i + 1} of {config.members}")
                told: dict[str, Any] = {"on_step": stack.enter_context(bars)}
            else:
                bar = stack.enter_context(progress.bar("networks", config.members, unit="network"))
                told = {"on_network": lambda _: bar.step()}
            with _resumable(state):
                model = Seq2SeqForecaster.fit(
                    panel,
                    train_until=sessions[last],
                    validate_from=sessions[-held_out],
                    config=config,
                    seed=seed,
                    jobs=jobs,
                    checkpoint=state,
                    **told,
                )
        metrics = {
            "task": "price",
            "seed": seed,
            "train_until": str(sessions[last]),
            **model.describe(),
            "validation_loss": [history.best_loss for history in model.histories],
            "best_step": [history.best_step for history in model.histories],
            "parameters": sum(p.numel() for n in model.networks for p in n.parameters()),
            "seconds": time.perf_counter() - begun,
            "gate": asdict(gate),
            "data_findings": as_rows(found),
            "versions": versions(),
        }
        save_forecaster(out, model, metrics=metrics)
        remove_ours(state, _IDENTITY, _STATES)
    return TrainingOutcome(metrics, out)


def _prepare_state(state: Path, identity: dict[str, Any], *, resume: bool) -> None:
    """Empty the folder of training states, or make sure that they belong to this training."""
    known = state / _IDENTITY
    if resume and known.is_file():
        if read_sealed(known) != identity:
            raise ConfigError(
                f"The training states in {str(state)!r} belong to other prices, another "
                "configuration or another seed. Ask for the same again, or train without --resume."
            )
        return
    remove_ours(state, _IDENTITY, _STATES)
    write_json(known, seal(identity))


# Lengths of the fresh sequences that the page shows with their answers, one each; their batches in the stream of
# fresh sequences come after that one, where nothing else is measured.
_LENGTHS, _FIRST_SAMPLE = (3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16), 2000


def train_toy(
    preset: str = "strong",
    *,
    out: Path,
    seed: int = 0,
    batches: int | None = None,
    toy: copy_task.Toy = "copy",
    resume: bool = False,
    figures: Path | None = None,
    progress: Progress = SILENT,
) -> TrainingOutcome:
    """Train on random sequences until they can be answered, measure it, and draw it.

    `preset`, `out`, `seed`, `batches`, `toy` and `resume` are as in `quantseq.seq2seq.copy_task.train_preset`; after
    Ctrl-C the state is saved. The model folder also gets ``samples.json``, the page ``report.html``, and as SVG and
    PNG, or else the folder `figures` does, ``loss``, ``accuracy`` (by length) and, with attention, ``attention``.
    `progress` is told where training stands before batch 0, 1000, 2000, ..., once for each.
    """
    set_threads(1)
    check_figures(out if figures is None else ensure_writable(figures))

    def tell(stone: copy_task.Milestone) -> None:
        for line in _milestone_lines(stone):
            progress.tell(line)

    copy_task.check_folder(out, resume=resume)  # before a lock lies beside it
    with _alone(out.resolve()):
        with step_bars(progress, lambda _: f"{toy} task, preset {preset}") as step:
            result = copy_task.train_preset(
                preset,
                seed=seed,
                out=out,
                batches=batches,
                toy=toy,
                resume=resume,
                on_step=partial(step, 0),
                on_milestone=tell,
            )
        write_json(out / SAMPLES, _samples(result))
        for suffix in ("svg", "png"):  # of an older model
            check_picture(out / f"attention.{suffix}").unlink(missing_ok=True)
        seal_toy(out)
        page = page_of(out)
        export_figures(page, out if figures is None else figures)
        return TrainingOutcome(result.metrics, out, write_report(out, page))


def _samples(result: copy_task.CopyResult) -> dict[str, Any]:
    """What the page shows besides the training's own files: fresh answers, the bar, the settings."""
    seed, toy = result.metrics["seed"], result.metrics["task"]
    source = copy_task.CopySource(toy=toy, seed=seed, stream=copy_task.EVALUATION, batch_size=1)
    found = []
    for length in _LENGTHS:
        one = replace(source, length_from=length, length_to=length).batch(_FIRST_SAMPLE + length)
        answered = copy_task.free_running_ids(result.model, one)[:, 0].tolist()
        end = answered.index(EOS) + 1 if EOS in answered else len(answered)
        read, truth = one.source[:, 0].tolist(), one.target_out[:, 0].tolist()
        found.append({"input": read, "answer": truth, "answered": answered[:end]})
    preset = copy_task.PRESETS[result.metrics["preset"]]
    return {
        "samples": found,
        "fresh": copy_task.FRESH_SEQUENCES,
        "bar": copy_task.bar_of(result.model.config),
        "note": preset.note,
        "training": {**asdict(preset.training), "steps": result.metrics["batches"]},
    }


def _milestone_lines(stone: copy_task.Milestone) -> list[str]:
    """Where a training stands, as the tutorial prints it."""
    kind = "left out" if stone.masked else "included"
    lines = [
        f"batch {stone.batch}",
        f"  loss: {stone.loss:.4f} teacher-forced, padding {kind}",
        f"        {stone.free_running_loss:.4f} free-running, padding left out",
        f"  exact match: {stone.exact_match:.1%} free-running",
    ]
    names = {"input": "input", "teacher_forced": "predicted, teacher-forced"}
    names["free_running"] = "predicted, free-running"
    for number, sample in enumerate(stone.samples, 1):
        lines.append(f"  sample {number}:")
        for key, name in names.items():
            lines.append(f"    {name:<25} > {' '.join(map(token_text, sample[key]))}")
    return lines


def train(
    panel: Panel | None = None,
    *,
    task: str = "price",
    out: Path | None = None,
    places: Places = Places(),
    **options: Any,
) -> TrainingOutcome:
    """Train the price model on a panel, or the machine on a toy task: copy, reverse or sort.

    `out` is the model folder, by default that of the task's name under the models of `places`; the `options` are
    those of `train_price` and `train_toy`. ConfigError if there is no such task, or the price task has no prices.
    """
    folder = out or places.models / task
    if task in copy_task.TOYS:
        return train_toy(out=folder, toy=task, **options)
    if task != "price":
        raise ConfigError(f"There is no task {task!r}. Choose price, {', '.join(copy_task.TOYS)}.")
    if panel is None:
        raise ConfigError("The price task needs prices. Give a panel.")
    return train_price(panel, out=folder, places=places, **options)


def describe_training(metrics: Mapping[str, Any]) -> list[str]:
    """What a training measured, in a few lines of text; of a toy task the tutorial's closing line first."""
    if metrics["task"] == "price":
        kept = metrics["shrinkage"]
        return [
            f"Trained on {len(metrics['symbols'])} symbols until {metrics['train_until']}, "
            f"validated until {metrics['trained_until']}, in {metrics['seconds']:.0f} s.",
            f"Validation let {kept['weight']:.0%} of the network through "
            f"({kept['gain']:+.4f} nats over the reference, cross-fitted).",
        ]
    lengths, longer = (
        ", ".join(f"{n}: {v:.1%}" for n, v in metrics[key].items())
        for key in ("exact_match_by_length", "longer_exact_match_by_length")
    )
    kind = "padding left out" if metrics["loss_masked"] else "padding included"
    fresh = copy_task.FRESH_SEQUENCES
    return [
        copy_task.closing_line(metrics),
        f"Loss is nats per token, teacher-forced, {kind}.",
        f"Teacher-forced token accuracy: {metrics['token_accuracy']:.2%}",
        f"Free-running exact match: {metrics['exact_match']:.2%} of {fresh} fresh sequences",
        f"  by length {lengths}",
        f"Free-running edit distance: {metrics['edit_distance']:.4f} per sequence",
        f"Longer than in training: {metrics['longer_exact_match']:.2%} exact",
        f"  by length {longer}",
    ]
