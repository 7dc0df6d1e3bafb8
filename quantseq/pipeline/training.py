"""Training: the copy gate, and the price model behind it."""

import shutil
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quantseq.config import Places
from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.files import ensure_writable, read_json, write_json
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.model_folder import save_forecaster
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.forecasting.rows import MIN_HISTORY
from quantseq.market.bars import Panel
from quantseq.pipeline.health import as_rows, findings, refuse_errors
from quantseq.pipeline.manifest import versions
from quantseq.pipeline.outcomes import TrainingOutcome
from quantseq.pipeline.step_bars import StepBars
from quantseq.progress import SILENT, Progress
from quantseq.seq2seq.gate import GateRecord, ensure_gate
from quantseq.seq2seq.training import set_threads

VALIDATION_SHARE = 0.15
"""Share of the calendar, at its end, that `train_price` holds out for validation."""


def pass_gate(
    config: ForecasterConfig, places: Places, *, seed: int = 0, progress: Progress = SILENT
) -> GateRecord:
    """Make sure that this architecture, with this code, has mastered the copy task.

    Raises
    ------
    GateError
        If it has not.
    """
    set_threads(1)
    with StepBars(progress, lambda _: "copy gate") as bars:
        record = ensure_gate(
            config.architecture(), folder=places.gates, seed=seed, on_step=bars.only
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
    config: ForecasterConfig | None = None,
    places: Places | None = None,
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

    Parameters
    ----------
    panel : Panel
    out : Path
        Model folder; ``metrics.json`` lies in it too.
    config : ForecasterConfig, optional
    places : Places, optional
        Where the gate's records are kept.
    seed : int
    jobs : int
        Processes; with one, every network shows a bar with its losses.
    resume : bool
        Go on from the states that an interrupted training of the same data, configuration and seed
        has left, to the same bits.
    allow_bad_data : bool
        Use prices although the health check found errors in them.
    progress : Progress

    Returns
    -------
    TrainingOutcome
        The content of ``metrics.json``.

    Raises
    ------
    BarsError
        If the health check finds errors in the prices and they are not allowed.
    GateError
        If the architecture has not mastered the copy task.
    NotEnoughDataError
        If the panel is too short.
    """
    chosen = config or ForecasterConfig()
    out = out.resolve()
    ensure_writable(out.parent)
    sessions = panel.sessions
    held_out = max(int(VALIDATION_SHARE * len(sessions)), 4 * chosen.horizon)
    last = len(sessions) - held_out - chosen.horizon - 1
    if last <= MIN_HISTORY:
        raise NotEnoughDataError(
            f"{len(sessions)} sessions are too few to train on: {held_out} are held out for "
            f"validation, and a context takes {MIN_HISTORY}. Give a longer history."
        )
    found = findings(panel)
    refuse_errors(found, total=len(panel), allow_bad_data=allow_bad_data)
    gate = pass_gate(chosen, places or Places(), seed=seed, progress=progress)
    state = out.with_name(f"{out.name}.state")
    identity = {"panel": panel.sha256, "config": asdict(chosen), "seed": seed}
    _prepare_state(state, identity, resume=resume)
    begun = time.perf_counter()
    with ExitStack() as stack:
        if jobs == 1:
            bars = stack.enter_context(
                StepBars(progress, lambda i: f"network {i + 1} of {chosen.members}")
            )
            told: dict[str, Any] = {"on_step": bars.member}
        else:
            bar = stack.enter_context(progress.bar("networks", chosen.members, unit="network"))
            told = {"on_network": lambda _: bar.step()}
        model = Seq2SeqForecaster.fit(
            panel,
            train_until=sessions[last],
            validate_from=sessions[-held_out],
            config=chosen,
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
    shutil.rmtree(state, ignore_errors=True)
    return TrainingOutcome(metrics, out)


def _prepare_state(state: Path, identity: dict[str, Any], *, resume: bool) -> None:
    """Empty the folder of training states, or make sure that they belong to this training."""
    known = state / "identity.json"
    if resume and known.is_file():
        if read_json(known) != identity:
            raise ConfigError(
                f"The training states in {str(state)!r} belong to other prices, another "
                "configuration or another seed. Ask for the same again, or train without --resume."
            )
        return
    shutil.rmtree(state, ignore_errors=True)
    write_json(known, identity)


def describe(metrics: dict[str, Any]) -> list[str]:
    """Metrics of a price model in a few lines of text."""
    kept = metrics["shrinkage"]
    return [
        f"Trained on {len(metrics['symbols'])} symbols until {metrics['train_until']}, "
        f"validated until {metrics['trained_until']}, in {metrics['seconds']:.0f} s.",
        f"Validation let {kept['weight']:.0%} of the network through "
        f"({kept['gain']:+.4f} nats over the reference, cross-fitted).",
    ]
