"""The copy task: where the machine comes from, and the gate that every architecture must pass.

Owns the toy tasks and the ways to train them, what is measured about a training, and the gate: no
architecture touches prices before it has mastered copying. Everything below it, model, trainer,
decoding, model folder, is what prices use too.

A loss near 0.1 is not a solved task: what counts is *free-running exact match*, greedy decoding on its
own tokens with the whole answer right, EOS included, on fresh sequences.

What the gate changes of an architecture, and why: the vocabulary becomes the copy task's 10;
channels and conditions are fed zeros, because copying has none; `never_emit` is cleared, because a
copy ends with EOS; dropout is 0, because noise that forbids memorising says nothing about whether a
sequence can be carried across.

With attention the bar is 99.5 % on 2,000 fresh sequences. Without it one vector carries the whole
sequence, and what a small one holds after a minute is a matter of its size: the bar is 50 %, which no
broken machine comes near. A pass is always mastery, measured. A slow machine can keep an architecture
from passing, because all attempts together must end within a time limit; such a record says so
(`cut_by_time`), and the next command tries again. A failure with all planned batches trained is a
verdict: it is remembered and refused.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional as F

from quantseq.errors import (
    ConfigError,
    CorruptFileError,
    GateError,
    ModelFileError,
    check_parameters,
)
from quantseq.files import (
    check_file,
    check_ours,
    fingerprint,
    make_folder,
    read_sealed,
    seal,
    sha256_file,
    write_json,
)
from quantseq.seq2seq.checkpoint import STATE_FILE, TrainingHistory, save_model
from quantseq.seq2seq.decoding import greedy
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig, evaluating
from quantseq.seq2seq.tokens import EOS, FIRST_ID, PAD, Batch, RandomSequences, TokenIds
from quantseq.seq2seq.training import StepReport, TrainConfig, evaluate_loss, fit

VOCABULARY = 10  # ids of a toy task, PAD and EOS included
FRESH_SEQUENCES = 2000  # sequences that exact match is measured on

Toy = Literal["copy", "reverse", "sort"]
TOYS: tuple[Toy, ...] = get_args(Toy)

TRAINING, EVALUATION = 0, 1  # streams of random numbers that never meet


@dataclass(frozen=True, kw_only=True)
class CopySource(RandomSequences):
    """Batches of a toy task, each a function of (seed, step)."""

    toy: Toy = "copy"  # what the target is made of
    channels: int = 0  # numbers beside the ids, all zero
    condition_size: int = 0
    stream: int = TRAINING  # or EVALUATION: the two share no batch

    def __post_init__(self) -> None:
        super().__post_init__()
        check_parameters(self, {"toy": TOYS})

    def batch(self, step: int) -> Batch:
        """Give the batch of this step, ready for teacher forcing."""
        ids, counts = self.draw(np.random.default_rng((self.seed, self.stream, step)))
        source, lengths = torch.from_numpy(ids), torch.from_numpy(counts)
        answer = torch.from_numpy(self._answer(ids, counts))
        target_in = F.pad(answer, (0, 0, 1, 0), value=EOS)
        target_out = F.pad(answer, (0, 0, 0, 1), value=PAD)
        target_out[lengths, torch.arange(self.batch_size, device="cpu")] = EOS
        channels = condition = None
        if self.channels:
            channels = torch.zeros(*source.shape, self.channels, device="cpu")
        if self.condition_size:
            condition = torch.zeros(1, self.batch_size, self.condition_size, device="cpu")
        return Batch(source, lengths, target_in, target_out, lengths + 1, channels, condition)

    def _answer(self, source: TokenIds, lengths: TokenIds) -> TokenIds:
        if self.toy == "copy":
            return source
        steps = np.arange(source.shape[0])[:, None]
        order = np.where(steps < lengths, lengths - 1 - steps, steps)
        if self.toy == "sort":
            order = np.argsort(np.where(steps < lengths, source, self.vocab_upper), axis=0)
        return np.take_along_axis(source, order, axis=0)


@dataclass(frozen=True)
class Preset:
    """One way to train the copy task, in batches of 100."""

    note: str  # what it is, in a line
    config: Seq2SeqConfig
    training: TrainConfig


_TUTORIAL = Seq2SeqConfig(
    vocab_size=VOCABULARY,
    embedding_size=20,
    hidden_size=20,
    bidirectional=False,
    attention="none",
    init="tensorflow",
    through_padding=True,
)
_TUTORIAL_TRAINING = TrainConfig(steps=3001, learning_rate=1e-3, clip_norm=None, masked_loss=False)

PRESETS: Mapping[str, Preset] = {
    "seed": Preset(
        "the original tutorial: one LSTM each way of 20, loss over padding too",
        _TUTORIAL,
        _TUTORIAL_TRAINING,
    ),
    "bidirectional": Preset(
        "part 2: bidirectional encoder, decoder of 40 trained on its own tokens",
        replace(_TUTORIAL, bidirectional=True, decoder_hidden_size=40),
        replace(_TUTORIAL_TRAINING, scheduled_sampling="free"),
    ),
    "attention": Preset(
        "part 3: bidirectional encoder and Bahdanau attention, size 20",
        replace(_TUTORIAL, bidirectional=True, attention="bahdanau"),
        _TUTORIAL_TRAINING,
    ),
    "strong": Preset(
        "what this house uses: bidirectional, Luong, masked loss, one-cycle; solved in 1000",
        Seq2SeqConfig(vocab_size=VOCABULARY),
        TrainConfig(steps=1001, learning_rate=1e-2, schedule="one_cycle", weight_decay=0.01),
    ),
}
"""Ways to train the copy task, by name."""


def teacher_forced_ids(model: Seq2Seq, batch: Batch) -> Int[Tensor, "T {batch.size}"]:
    """Best id at every step, given the truth before it: (T, B)."""
    with evaluating(model):
        ids: Tensor = model(batch.to(model.device)).argmax(dim=-1)
    return ids


def free_running_ids(model: Seq2Seq, batch: Batch) -> Int[Tensor, "T {batch.size}"]:
    """Greedy answers, time-major (T + 1, B): one step more than the longest right answer."""
    return greedy(model, batch, max_length=batch.target_out.shape[0] + 1).ids[:, 0].t()


def free_running(model: Seq2Seq, batch: Batch) -> Bool[Tensor, " {batch.size}"]:
    """Whether greedy decoding answers all of `batch.target_out` right, EOS included: (B,) bool."""
    return exact_match(free_running_ids(model, batch), batch)


def exact_match(
    answers: Int[Tensor, "T {batch.size}"], batch: Batch
) -> Bool[Tensor, " {batch.size}"]:
    """Whether answers (T + 1, B) are the whole of `batch.target_out` and no more: (B,) bool."""
    truth = batch.target_out.to(answers.device)
    steps = truth.shape[0]
    # after EOS both hold PAD, so that equality of all steps is equality of the answers
    return (answers[:steps] == truth).all(dim=0) & (answers[steps:] == PAD).all(dim=0)


def share_by_length(right: Bool[Tensor, " {batch.size}"], batch: Batch) -> dict[str, float]:
    """Share of right answers among the sources of each length."""
    lengths, shares = batch.source_lengths, right.double()
    return {str(n): float(shares[lengths == n].mean()) for n in sorted(set(lengths.tolist()))}


def edit_distances(answers: TokenIds, truth: TokenIds) -> TokenIds:
    """Levenshtein distances (B,) between columns of time-major ids, each read up to its first EOS."""
    size = answers.shape[1]
    ends = []
    for ids in (answers, truth):
        ended = ids == EOS
        ends.append(np.where(ended.any(axis=0), ended.argmax(axis=0), ids.shape[0]))
    rows, columns = int(ends[0].max()), int(ends[1].max())
    table: TokenIds = np.empty((rows + 1, columns + 1, size), dtype=np.int64)
    table[:, 0] = np.arange(rows + 1)[:, None]
    table[0] = np.arange(columns + 1)[:, None]
    for i in range(rows):
        for j in range(columns):
            replaced = table[i, j] + (answers[i] != truth[j])
            moved = np.minimum(table[i, j + 1], table[i + 1, j]) + 1
            table[i + 1, j + 1] = np.minimum(replaced, moved)
    return np.asarray(table[ends[0], ends[1], np.arange(size)], dtype=np.int64)


_MILESTONES = "milestones.json"
_MILESTONE = 1000  # batches between two looks at where a training stands, as in the tutorial


@dataclass(frozen=True)
class Milestone:
    """Where a training stands before some batch, measured on 5 fresh batches."""

    batch: int  # number of batches seen
    loss: float  # teacher-forced, of the training's own kind
    masked: bool  # whether that leaves padding out
    # Fed its own tokens; padding is always left out, because behind its own EOS a decoder is fed what
    # it never meets in training.
    free_running_loss: float
    exact_match: float
    # Three sequences: `input`, `teacher_forced` (best id at every step, given the truth before it) and
    # `free_running`, EOS included where it was emitted.
    samples: list[dict[str, list[int]]]


@dataclass
class _TrainingLog:
    """Milestones in a file that a resumed training finds again; it says whose they are."""

    path: Path
    meta: dict[str, Any]
    model: Seq2Seq
    source: CopySource
    masked: bool
    tell: Callable[[Milestone], None] | None
    stones: list[Milestone] = field(default_factory=list)

    def load(self) -> None:
        """Read what an earlier session of the same training reached."""
        try:
            record = read_sealed(self.path)
            whose, self.stones = record["training"], [Milestone(**m) for m in record["milestones"]]
        except (CorruptFileError, KeyError, TypeError) as error:
            raise ModelFileError(
                f"{str(self.path)!r} does not say which training it belongs to: it is damaged or from elsewhere. "
                "Train without resuming."
            ) from error
        if whose != self.meta:
            raise ModelFileError(
                f"The training state in {str(self.path.parent)!r} belongs to {whose}, not to "
                f"{self.meta}. Ask for the same again, or train without resuming."
            )

    def reach(self, done: int) -> None:
        """Note a milestone, if `done` batches are one that is not noted yet."""
        if done % _MILESTONE or any(stone.batch >= done for stone in self.stones):
            return
        model, fresh = self.model, replace(self.source, stream=EVALUATION)
        batches = [fresh.batch(step) for step in range(5)]
        loss = evaluate_loss(model, batches, masked=self.masked)
        free_loss = evaluate_loss(model, batches, free_running=True)
        exact = float(torch.cat([free_running(model, b) for b in batches]).double().mean())
        samples = _three_samples(model, batches[0])
        stone = Milestone(done, loss, self.masked, free_loss, exact, samples)
        self.stones.append(stone)
        stones = [asdict(stone) for stone in self.stones]
        write_json(self.path, seal({"training": self.meta, "milestones": stones}))
        if self.tell is not None:
            self.tell(stone)


def _three_samples(model: Seq2Seq, batch: Batch) -> list[dict[str, list[int]]]:
    few = batch.rows(torch.arange(3))
    forced = teacher_forced_ids(model, few)
    free = greedy(model, few, max_length=few.source.shape[0] + 2)
    return [
        {
            "input": few.source[:length, row].tolist(),
            "teacher_forced": forced[: length + 1, row].tolist(),
            "free_running": free.ids[row, 0, : free.lengths[row, 0] + 1].tolist(),
        }
        for row, length in enumerate(few.source_lengths.tolist())
    ]


@dataclass(frozen=True)
class CopyResult:
    """A trained copy model and what was measured about it; ``docs/json.md`` explains the metrics."""

    metrics: dict[str, Any]
    milestones: list[Milestone]  # at batches 0, 1000, 2000, ...
    history: TrainingHistory
    model: Seq2Seq  # in eval mode
    folder: Path


def closing_line(metrics: Mapping[str, Any]) -> str:
    """The line that ends the original tutorial, from the metrics of a `CopyResult`."""
    return (
        f"loss {metrics['final_loss']:.4f} after {metrics['examples']} examples "
        f"(batch_size={metrics['batch_size']})"
    )


def check_folder(out: Path, *, resume: bool = False) -> Path:
    """Give `out` back if a toy may be trained there; a StorageError if it holds something else."""
    check_ours(out, _MILESTONES)
    if not (resume and (out / "state" / STATE_FILE).exists()):
        check_file(out / _MILESTONES, b'{\n  "training": {')  # a file of that name is a weak mark
    return out


def train_preset(
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

    The folder `out` also gets ``metrics.json``, ``milestones.json`` and, with attention,
    ``attention.json`` (``source``, ``target``, ``weights`` by target and source step). `on_milestone` hears
    where training stands at 0, 1000, 2000, ... `batches`, of which there are as many as the preset says
    unless told otherwise; `resume` goes on from the state in ``out/state``.

    Raises
    ------
    ConfigError
        If there is no such preset.
    StorageError
        If `out` holds something else than such a model, or is not writable.
    ModelFileError
        If the state to resume from is damaged or belongs to another training.
    """
    if preset not in PRESETS:
        raise ConfigError(f"There is no preset {preset!r}. Choose one of {', '.join(PRESETS)}.")
    chosen = PRESETS[preset]
    training = chosen.training if batches is None else replace(chosen.training, steps=batches)
    make_folder(check_folder(out, resume=resume))
    model, source = Seq2Seq(chosen.config, seed=seed), CopySource(toy=toy, seed=seed)
    meta = {"task": toy, "preset": preset, "seed": seed}
    log = _TrainingLog(out / _MILESTONES, meta, model, source, training.masked_loss, on_milestone)
    if resume and (out / "state" / STATE_FILE).exists():
        log.load()
    else:
        (out / "state" / STATE_FILE).unlink(missing_ok=True)
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
    (out / "attention.json").unlink(missing_ok=True)
    if chosen.config.attention != "none":
        write_json(out / "attention.json", _heat_map(model, source))
    return CopyResult(metrics, log.stones, history, model, out)


def _measure(model: Seq2Seq, source: CopySource) -> dict[str, Any]:
    fresh = replace(source, stream=EVALUATION, batch_size=FRESH_SEQUENCES)
    longer = replace(fresh, length_from=9, length_to=16, batch_size=FRESH_SEQUENCES // 2)
    batch, longer_batch = fresh.batch(1000), longer.batch(1001)
    answers = free_running_ids(model, batch)
    exact, longer_exact = exact_match(answers, batch), free_running(model, longer_batch)
    forced = teacher_forced_ids(model, batch) == batch.target_out
    valid = torch.arange(forced.shape[0]).unsqueeze(1) < batch.target_lengths
    return {
        "exact_match": float(exact.double().mean()),
        "exact_match_by_length": share_by_length(exact, batch),
        "token_accuracy": float(forced[valid].double().mean()),
        "edit_distance": float(edit_distances(answers.numpy(), batch.target_out.numpy()).mean()),
        "longer_exact_match": float(longer_exact.double().mean()),
        "longer_exact_match_by_length": share_by_length(longer_exact, longer_batch),
    }


def _heat_map(model: Seq2Seq, source: CopySource) -> dict[str, Any]:
    batch = replace(source, stream=EVALUATION, length_from=source.length_to, batch_size=1).batch(0)
    return {
        "source": batch.source[:, 0].tolist(),
        "target": batch.target_out[:, 0].tolist(),
        "weights": model.alignment(batch)[:, 0].tolist(),
    }


BAR = 0.995  # free-running exact match that an architecture with attention must reach
BAR_WITHOUT_ATTENTION = 0.5  # the same for one without
_TIME_LIMIT = 90.0  # seconds that the training of all attempts together may take
_ATTEMPTS = (400, 1500, 4000)  # batches of the first, second and third attempt
_PADDING_TOLERANCE = 1e-4  # largest change of a logit that more padding may cause


@dataclass(frozen=True)
class GateRecord:
    """Outcome of a gate."""

    passed: bool  # whether `score` reached `bar`, and padding changed nothing
    score: float  # free-running exact match on 2,000 fresh sequences
    bar: float
    padding_gap: float  # largest change of a logit when a batch was padded further
    date: str  # ISO time in UTC
    seed: int  # of the attempt that counts
    batches: int
    seconds: float  # of all attempts together
    fingerprint: str  # of code, architecture and torch version
    cut_by_time: bool = False  # failed with planned batches untrained: no verdict
    was_cached: bool = False  # found rather than made


def bar_of(config: Seq2SeqConfig) -> float:
    """Exact match that this architecture must reach."""
    return BAR_WITHOUT_ATTENTION if config.attention == "none" else BAR


def gate_config(config: Seq2SeqConfig) -> Seq2SeqConfig:
    """Give the architecture that stands for `config` in the gate; see this module's docstring."""
    return replace(config, vocab_size=VOCABULARY, never_emit=(), dropout=0.0)


def gate_fingerprint(config: Seq2SeqConfig) -> str:
    """Hash what the outcome depends on: the room's code, the gate's architecture, torch's version."""
    code = {path.name: sha256_file(path) for path in sorted(Path(__file__).parent.glob("*.py"))}
    architecture = asdict(gate_config(config))
    return fingerprint({"code": code, "architecture": architecture, "torch": torch.__version__})


def ensure_gate(
    config: Seq2SeqConfig,
    *,
    folder: Path,
    seed: int = 0,
    on_step: Callable[[StepReport], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> GateRecord:
    """Make sure that an architecture has passed the gate, running it if nobody has yet.

    Records are kept in `folder`, one ``<fingerprint>.json`` each. `seed` is that of the first attempt; `say` hears
    of a damaged record, in whose place the gate runs again.

    Raises
    ------
    GateError
        If the architecture failed, now or by its record, or if time ran out before it could pass.
    """
    mark = gate_fingerprint(config)
    path = folder / f"{mark}.json"
    record = _read_record(path, say) if path.exists() else None
    cached = record is not None and (record.passed or not record.cut_by_time)
    if record is None or not cached:
        record = _run_gate(config, mark, seed, on_step)
        write_json(path, seal(asdict(record)))
    if not record.passed:
        raise GateError(f"{_refusal(record)} Record of {record.date}: {str(path)!r}.")
    return replace(record, was_cached=cached)


def _read_record(path: Path, say: Callable[[str], None]) -> GateRecord | None:
    try:
        return GateRecord(**read_sealed(path))
    except (CorruptFileError, TypeError):
        say(f"The gate's record {str(path)!r} is damaged; the gate runs again.")
        return None


def _refusal(record: GateRecord) -> str:
    """Why an architecture may not pass, and what helps."""
    reached = f"exact match {record.score:.2%} after {record.batches} batches, the bar is {record.bar:.1%}"
    if record.cut_by_time:
        return (
            f"The copy gate ran out of time, which is no verdict about the architecture: {reached}. "
            f"All attempts together may take {_TIME_LIMIT:.0f} s. Run the command again when the "
            "machine is idle, or use a smaller architecture."
        )
    return (
        f"The architecture has not mastered the copy task: {reached}; padding moves logits by "
        f"{record.padding_gap:.1g}, at most {_PADDING_TOLERANCE:g} is allowed. Use attention and more "
        "hidden units, or look for what broke; deleting the record lets the gate run again."
    )


def _run_gate(
    config: Seq2SeqConfig, mark: str, seed: int, on_step: Callable[[StepReport], None] | None
) -> GateRecord:
    bar, began = bar_of(config), time.perf_counter()
    deadline = began + _TIME_LIMIT
    records: list[GateRecord] = []
    late = False
    for attempt, planned in enumerate(_ATTEMPTS, start=seed):
        score, gap, trained = _attempt(config, attempt, planned, deadline, on_step)
        tight = gap <= _PADDING_TOLERANCE
        now, seconds = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter() - began
        passed = score >= bar and tight
        record = GateRecord(passed, score, bar, gap, now, attempt, trained, seconds, mark)
        if passed or not tight:  # more training does not mend a leak
            return record
        records.append(record)
        late = trained < planned or (planned != _ATTEMPTS[-1] and time.perf_counter() > deadline)
        if late:
            break
    best = max(records, key=lambda record: record.score)  # the first of equals
    return replace(best, seconds=records[-1].seconds, cut_by_time=late)


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
    model = Seq2Seq(gate_config(config), seed=seed)
    channels, conditions = config.channels, config.condition_size
    source = CopySource(seed=seed, channels=channels, condition_size=conditions)
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
    batch = replace(source, stream=EVALUATION, batch_size=FRESH_SEQUENCES).batch(0)
    score = float(free_running(model, batch).double().mean())
    return score, 0.0 if config.through_padding else padding_gap(model, batch), trained


@torch.no_grad()
def padding_gap(model: Seq2Seq, batch: Batch, *, steps: int = 4) -> float:
    """Largest change of a logit when the sources of `batch` are padded by `steps` more steps."""
    channels = batch.channels
    padded = replace(
        batch,
        source=F.pad(batch.source, (0, 0, 0, steps), value=PAD),
        channels=None if channels is None else F.pad(channels, (0, 0, 0, 0, 0, steps)),
    )
    return float((model(padded) - model(batch)).abs().max())
