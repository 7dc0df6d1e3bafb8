"""The gate: no architecture touches prices before it has mastered the copy task.

Owns what mastering means, and the record of who has. Does not train anything that is kept.

What is kept of an architecture: cell, sizes, layers, directions, attention, streams, initialisation.
What is changed, and why: the vocabulary becomes the copy task's 10; extra streams and conditions are fed
a constant, because copying has none; `never_emit` is cleared, because a copy ends with EOS; dropout is 0,
because the question is whether code and architecture can carry a sequence across, and noise that
forbids memorising says nothing about that.

With attention the bar is 99.5 % free-running exact match on 2,000 fresh sequences. Without attention
one vector carries the whole sequence, and what a small one holds after a minute is a matter of its
size, not of its correctness: the bar is 50 %, which no broken machine comes near (guessing the last
token of every sequence alone costs seven in eight).

A pass is always mastery, measured; how fast the machine is cannot give one. A slow machine can keep
an architecture from passing, because all attempts together must end within `TIME_LIMIT`. Such a record
says so (`cut_by_time`), the refusal names time as the reason, and the next command tries again. A
failure with all planned batches trained is a verdict: it is remembered and refused from the record.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from quantseq.errors import CorruptFileError, GateError
from quantseq.files import fingerprint, read_json, sha256_file, write_json
from quantseq.seq2seq.copy_task import FRESH, CopySource
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.proof.mastery import free_running
from quantseq.seq2seq.proof.presets import VOCABULARY
from quantseq.seq2seq.proof.toys import EVALUATION
from quantseq.seq2seq.tokens import PAD, Batch
from quantseq.seq2seq.training import StepReport, TrainConfig, fit

BAR = 0.995
"""Free-running exact match that an architecture with attention must reach."""
BAR_WITHOUT_ATTENTION = 0.5
"""The same for one without."""
TIME_LIMIT = 90.0
"""Seconds that all attempts together may take."""
MEASURING_SHARE = 0.05
"""Share of the time limit that is kept for measuring a training that was cut."""
ATTEMPTS = (400, 1500, 4000)
"""Batches of the first, second and third attempt."""
PADDING_TOLERANCE = 1e-4
"""Largest change of a logit that more padding may cause."""


@dataclass(frozen=True)
class GateRecord:
    """Outcome of a gate.

    Parameters
    ----------
    passed : bool
        Whether `score` reached `bar`, and padding changed nothing.
    score : float
        Free-running exact match on 2,000 fresh sequences.
    bar : float
        What was asked for.
    padding_gap : float
        Largest change of a logit when a batch was padded further.
    date : str
        ISO time in UTC.
    seed : int
        Of the attempt that counts.
    batches : int
        Of the attempt that counts.
    seconds : float
        All attempts together.
    fingerprint : str
        Of code, architecture and torch version.
    cut_by_time : bool
        Whether it failed with planned batches untrained, because the time limit was reached: too
        slow a machine, and no verdict about the architecture.
    was_cached : bool
        Whether the record was found rather than made.
    """

    passed: bool
    score: float
    bar: float
    padding_gap: float
    date: str
    seed: int
    batches: int
    seconds: float
    fingerprint: str
    cut_by_time: bool = False
    was_cached: bool = False


def gate_config(config: Seq2SeqConfig) -> Seq2SeqConfig:
    """Give the architecture that stands for `config` in the gate; see this module's docstring."""
    return replace(config, vocab_size=VOCABULARY, never_emit=(), dropout=0.0)


def gate_fingerprint(config: Seq2SeqConfig) -> str:
    """Hash what the outcome depends on: the room's code, the gate's architecture, torch's version."""
    architecture = gate_config(config).to_dict()
    return fingerprint(
        {"code": code_hashes(), "architecture": architecture, "torch": torch.__version__}
    )


def code_hashes() -> dict[str, str]:
    """SHA-256 of every source file of this room, by its path in the room."""
    room = Path(__file__).parent
    return {
        path.relative_to(room).as_posix(): sha256_file(path) for path in sorted(room.rglob("*.py"))
    }


def ensure_gate(
    config: Seq2SeqConfig,
    *,
    folder: Path,
    seed: int = 0,
    on_step: Callable[[StepReport], None] | None = None,
) -> GateRecord:
    """Make sure that an architecture has passed the gate, running it if nobody has yet.

    Parameters
    ----------
    config : Seq2SeqConfig
        Architecture as it will meet prices.
    folder : Path
        Where records are kept, one ``<fingerprint>.json`` each.
    seed : int
        Of the first attempt.
    on_step : callable, optional
        Told about every training step of an attempt.

    Returns
    -------
    GateRecord
        Passed.

    Raises
    ------
    GateError
        If the architecture failed, now or by its record, or if time ran out before it could pass.
    """
    mark = gate_fingerprint(config)
    path = folder / f"{mark}.json"
    if path.exists():
        record = read_record(path)
        if record.passed:
            return replace(record, was_cached=True)
        if not record.cut_by_time:
            raise GateError(f"{_refusal(record)} Record of {record.date}: {str(path)!r}.")
    record = _run(config, mark, seed, on_step)
    write_json(path, asdict(record))
    if not record.passed:
        raise GateError(f"{_refusal(record)} Record: {str(path)!r}.")
    return record


def _refusal(record: GateRecord) -> str:
    """Why an architecture may not pass, and what helps."""
    reached = f"exact match {record.score:.2%} after {record.batches} batches, the bar is {record.bar:.1%}"
    if record.cut_by_time:
        return (
            f"The copy gate ran out of time, which is no verdict about the architecture: {reached}. "
            f"All attempts together may take {TIME_LIMIT:.0f} s, too few on this machine now. Run the "
            "command again when the machine is idle, or use a smaller architecture."
        )
    return (
        f"The architecture has not mastered the copy task: {reached}; padding moves logits by "
        f"{record.padding_gap:.1g}, at most {PADDING_TOLERANCE:g} is allowed. Use attention and more "
        "hidden units, or look for what broke; deleting the record lets the gate run again."
    )


def _run(
    config: Seq2SeqConfig,
    mark: str,
    seed: int,
    on_step: Callable[[StepReport], None] | None,
) -> GateRecord:
    small = gate_config(config)
    bar = BAR if small.attention != "none" else BAR_WITHOUT_ATTENTION
    began = time.perf_counter()
    deadline = began + (1 - MEASURING_SHARE) * TIME_LIMIT
    best: GateRecord | None = None
    pace, cut = 0.0, False
    for attempt, planned in enumerate(ATTEMPTS):
        batches = planned
        if best is not None:
            batches = min(planned, int((deadline - time.perf_counter()) / pace))
            if batches < ATTEMPTS[0]:
                cut = True
                break
        started = time.perf_counter()
        score, gap, trained = _attempt(small, seed + attempt, batches, deadline, on_step)
        pace, cut = (time.perf_counter() - started) / trained, trained < planned
        passed = score >= bar and gap <= PADDING_TOLERANCE
        record = GateRecord(
            passed=passed,
            score=score,
            bar=bar,
            padding_gap=gap,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            seed=seed + attempt,
            batches=trained,
            seconds=time.perf_counter() - began,
            fingerprint=mark,
        )
        if passed or gap > PADDING_TOLERANCE:  # more training does not mend a leak
            return record
        if best is None or score > best.score:
            best = record
    assert best is not None
    return replace(best, seconds=time.perf_counter() - began, cut_by_time=cut)


class _OutOfTimeError(Exception):
    """The gate's time is over."""


def _attempt(
    config: Seq2SeqConfig,
    seed: int,
    batches: int,
    deadline: float,
    on_step: Callable[[StepReport], None] | None,
) -> tuple[float, float, int]:
    """Train once, no longer than until `deadline`; gives exact match, padding gap, batches trained."""
    model = Seq2Seq(config, seed=seed)
    source = CopySource(
        seed=seed,
        source_streams=len(config.source_streams),
        condition_streams=len(config.condition_streams),
    )
    training = TrainConfig(steps=batches, learning_rate=1e-2, schedule="one_cycle")
    trained = 0

    def told(report: StepReport) -> None:
        nonlocal trained
        trained = report.step + 1
        if on_step is not None:
            on_step(report)
        if trained < batches and time.perf_counter() > deadline:
            raise _OutOfTimeError

    with suppress(_OutOfTimeError):
        fit(model, source, training, seed=seed, on_step=told)
    model.eval()
    batch = replace(source, stream=EVALUATION, batch_size=FRESH).batch(0)
    score = float(free_running(model, batch).double().mean())
    return score, 0.0 if config.through_padding else padding_gap(model, batch), trained


@torch.no_grad()
def padding_gap(model: Seq2Seq, batch: Batch, *, steps: int = 4) -> float:
    """Largest change of a logit when the sources of `batch` are padded by `steps` more steps."""
    extra = batch.source_extra
    padded = replace(
        batch,
        source=torch.nn.functional.pad(batch.source, (0, 0, 0, steps), value=PAD),
        source_extra=(
            None if extra is None else torch.nn.functional.pad(extra, (0, 0, 0, 0, 0, steps))
        ),
    )
    return float((model(padded) - model(batch)).abs().max())


def read_record(path: Path) -> GateRecord:
    """Read a record.

    Raises
    ------
    GateError
        If it is not one.
    """
    try:
        return GateRecord(**read_json(path))
    except (CorruptFileError, TypeError) as error:
        raise GateError(
            f"{str(path)!r} is not a gate record: {error}. Delete it; the gate will run again."
        ) from error
