"""How a machine learns: one loop over numbered batches, exact to resume.

Owns `TrainConfig`, the loss, the order of things in a step, validation, early stopping, the state that
resuming needs, torch's threads and the random state. Does not know what a batch means:
`BatchSource.batch(step)` is a function of the step, so that the step number is the whole data position,
and the random state of a step is a function of (seed, step). A fit that was killed and resumed therefore
ends with the same bits as one that was not.
"""

import ctypes
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from quantseq.errors import ConfigError, ModelFileError, TrainingError, check_parameters
from quantseq.files import fingerprint
from quantseq.progress import on_stop
from quantseq.seq2seq.checkpoint import TrainingHistory, load_state, save_state
from quantseq.seq2seq.model import Seq2Seq, evaluating
from quantseq.seq2seq.tokens import FIRST_ID, PAD, Batch

RateSchedule = Literal["constant", "one_cycle", "plateau"]
TeacherSchedule = Literal["none", "linear", "exponential", "inverse_sigmoid", "free"]

_HISTORY_POINTS = 4096  # a history keeps about this many minibatch losses


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train with AdamW, which is Adam without weight decay; a ConfigError if a rule is broken."""

    steps: int  # batches
    learning_rate: float = 1e-3  # the highest
    weight_decay: float = 0.0  # of everything but biases
    clip_norm: float | None = 1.0  # longest gradient
    # 'one_cycle' is torch's `OneCycleLR` (Smith and Topin, 2019); 'plateau' multiplies the rate by
    # `plateau_factor` after `plateau_patience` validations without improvement.
    schedule: RateSchedule = "constant"
    plateau_factor: float = 0.5
    plateau_patience: int = 2
    masked_loss: bool = True  # padding is left out of the loss
    label_smoothing: float = 0.0  # see `soft_targets`
    ordinal_width: float = 0.0
    scheduled_sampling: TeacherSchedule = "none"  # decay of teacher forcing, see `teacher_share`
    teacher_floor: float = 0.0  # least share of it under a decay
    validate_every: int = 100  # steps between validations; the first is before training
    patience: int | None = None  # validations without improvement before training stops
    checkpoint_every: int = 500  # steps between saved states, if there is a folder for them

    def __post_init__(self) -> None:
        rules: dict[str, Any] = {
            "learning_rate": "(0, inf)",
            "weight_decay": "[0, inf)",
            "clip_norm": "None or (0, inf]",
            "schedule": get_args(RateSchedule),
            "plateau_factor": "(0, 1)",
            "label_smoothing": "[0, 1)",
            "ordinal_width": "[0, inf)",
            "scheduled_sampling": get_args(TeacherSchedule),
            "teacher_floor": "[0, 1]",
            "patience": "None or int [1, inf)",
        }
        counts = ("steps", "plateau_patience", "validate_every", "checkpoint_every")
        check_parameters(self, rules | dict.fromkeys(counts, "int [1, inf)"))


@dataclass(frozen=True)
class StepReport:
    """One training step, after the weights moved."""

    step: int  # position of the batch, from 0
    steps: int  # planned number of batches
    loss: float  # of the minibatch before the weights moved, in nats per target token
    learning_rate: float
    examples: int  # sequences seen so far
    seconds: float  # since the fit began, earlier sessions of a resumed fit included
    validation_loss: float | None = None  # if the model was validated after this step
    best_loss: float | None = None  # lowest validation loss so far


@runtime_checkable
class BatchSource(Protocol):
    """Where batches come from."""

    def batch(self, step: int) -> Batch:
        """Give the batch of this step: always the same for the same step."""
        ...


def teacher_share(kind: TeacherSchedule, step: int, steps: int, *, floor: float = 0.0) -> float:
    """Probability that the decoder is fed the truth rather than its own token at `step`.

    The decays are those of Bengio et al. (2015), scaled so that the middle of training is about the
    middle of the decay. ``'none'`` is plain teacher forcing, ``'free'`` never feeds the truth. Under a
    decay the share never falls below `floor`.
    """
    progress = step / max(steps - 1, 1)
    if kind in ("none", "free"):
        return float(kind == "none")
    shares = {
        "linear": 1.0 - progress,
        "exponential": math.exp(-4.0 * progress),
        "inverse_sigmoid": 1.0 / (1.0 + math.exp(12.0 * (progress - 0.5))),
    }
    return max(floor, shares[kind])


def soft_targets(
    vocab_size: int,
    never_emit: tuple[int, ...] = (),
    *,
    label_smoothing: float = 0.0,
    ordinal_width: float = 0.0,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "V V"] | None:
    """Distribution to learn for every target id, (V, V); None if every row is one-hot.

    `label_smoothing` is the share of the mass that is spread evenly over all ids that may be emitted.
    `ordinal_width` is the standard deviation, in ids, of a Gaussian around the target: neighbours of
    an ordered vocabulary share its mass; PAD and EOS are not ordered and keep theirs. So does an id
    never emitted: such a target gives an infinite loss.
    """
    if label_smoothing == 0.0 and ordinal_width == 0.0:
        return None
    ids = torch.arange(vocab_size, dtype=torch.float64, device="cpu")
    allowed = torch.ones_like(ids)
    allowed[list(never_emit)] = 0.0
    soft = torch.diag(torch.ones_like(ids))
    if ordinal_width > 0.0:
        near = torch.exp(-0.5 * ((ids.unsqueeze(1) - ids) / ordinal_width) ** 2)
        ordered = (ids >= FIRST_ID) & (allowed > 0.0)
        near = near[ordered] * ordered
        soft[ordered] = near / near.sum(dim=1, keepdim=True)
    soft = (1.0 - label_smoothing) * soft + label_smoothing * allowed / allowed.sum()
    return soft.to(device, torch.float32)


def sequence_loss(
    logits: Float[Tensor, "T B V"],
    batch: Batch,
    *,
    masked: bool = True,
    soft: Float[Tensor, "V V"] | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy per target token, in nats, against one-hot targets or rows of `soft`.

    With `masked` padding is left out of the mean. The original tutorial kept it in.
    """
    target = batch.target_out
    steps = torch.arange(target.shape[0], device=target.device).unsqueeze(1)
    counts = steps < batch.target_lengths if masked else torch.ones_like(target, dtype=torch.bool)
    if soft is None:
        target = target.masked_fill(~counts, -100)  # what cross_entropy ignores by default
        return F.cross_entropy(logits.flatten(0, 1), target.flatten())
    mass = soft[target]
    losses = -torch.where(mass > 0.0, mass * torch.log_softmax(logits, dim=-1), 0.0).sum(dim=-1)
    return losses.masked_fill(~counts, 0.0).sum() / counts.sum()


def evaluate_loss(
    model: Seq2Seq, batches: Sequence[Batch], *, masked: bool = True, free_running: bool = False
) -> float:
    """Mean loss in nats per target token over batches, in eval mode, against one-hot targets.

    With `free_running` the decoder is fed its own most probable ids instead of the truth.
    """
    total, tokens = 0.0, 0
    with evaluating(model):
        for batch in batches:
            count = int(batch.target_lengths.sum()) if masked else batch.target_out.numel()
            here = batch.to(model.device)
            teacher = torch.zeros(len(batch.target_in), dtype=torch.bool) if free_running else None
            logits = model(here, teacher=teacher)
            total += float(sequence_loss(logits, here, masked=masked)) * count
            tokens += count
    if not tokens:
        raise ConfigError("evaluate_loss needs at least one batch with a target. Got none.")
    return total / tokens


def fit(
    model: Seq2Seq,
    source: BatchSource,
    config: TrainConfig,
    *,
    seed: int,
    validation: Sequence[Batch] = (),
    checkpoint: Path | None = None,
    resume: bool = False,
    on_step: Callable[[StepReport], None] | None = None,
) -> TrainingHistory:
    """Train `model` in place and where it is; it ends in the mode, train or eval, that it came in.

    Training draws depend on `seed` and the step only; the global random state is left alone. The loss over
    all held-out batches of `validation` decides which weights the model ends with, perhaps its first ones.
    `on_step` hears of every step, after the weights moved, and may look at the model.

    The folder `checkpoint` gets the state at the start, every `checkpoint_every` steps, at Ctrl-C and SIGTERM, and at the
    end. What another fit left there is replaced, unless `resume` goes on from it.

    Raises
    ------
    ConfigError
        If the loss scores ids that are never emitted, or validation is asked for and there is none.
    TrainingError
        If a loss is not finite.
    ModelFileError
        If the state to resume from is damaged or belongs to another fit or other data.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, at the end of the running step and with the state saved; a second does not wait.
    """
    if not config.masked_loss and PAD in model.config.never_emit:
        raise ConfigError(
            "masked_loss=False scores PAD, which never_emit forbids: the loss would be infinite. "
            "Set masked_loss=True or take PAD out of never_emit."
        )
    if not validation and (config.schedule == "plateau" or config.patience is not None):
        raise ConfigError(
            f"schedule={config.schedule!r} with patience={config.patience!r} looks at validation losses. "
            "Got no 'validation'; give fit some held-out batches."
        )
    was_training = model.training
    try:
        with _borrowed_random_state(model.device), on_stop(_finish_the_step) as heard:
            run = _Fit(model, source, config, seed, validation, checkpoint)
            if resume and checkpoint is not None:
                run.load(checkpoint)
            try:
                run.go(on_step, heard)
            except KeyboardInterrupt as stop:
                raise KeyboardInterrupt(run.interrupt()) from stop
            return run.history
    finally:
        model.zero_grad()
        model.train(was_training)


@dataclass(eq=False)
class _Fit:
    """One running fit: everything that `save` writes and `load` reads is an attribute here."""

    model: Seq2Seq
    source: BatchSource
    config: TrainConfig
    seed: int
    validation: Sequence[Batch]
    checkpoint: Path | None

    def __post_init__(self) -> None:
        model, config = self.model, self.config
        self.soft = soft_targets(
            model.config.vocab_size,
            model.config.never_emit,
            label_smoothing=config.label_smoothing,
            ordinal_width=config.ordinal_width,
            device=model.device,
        )
        self.weights: dict[str, Tensor] = {
            name: w for name, w in model.named_parameters() if w.requires_grad
        }
        decays: dict[float, list[Tensor]] = {config.weight_decay: [], 0.0: []}
        for name, weight in self.weights.items():
            decays[0.0 if "bias" in name or "score" in name else config.weight_decay].append(weight)
        groups = [{"params": group, "weight_decay": decay} for decay, group in decays.items()]
        self.optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
        self.rates: OneCycleLR | ReduceLROnPlateau | None = None
        if config.schedule == "one_cycle":
            peak, steps = config.learning_rate, config.steps
            self.rates = OneCycleLR(self.optimiser, peak, steps, cycle_momentum=False)
        elif config.schedule == "plateau":
            factor, patience = config.plateau_factor, config.plateau_patience - 1
            self.rates = ReduceLROnPlateau(self.optimiser, "min", factor, patience, threshold=0.0)
        self.done, self.saved = 0, -1
        self.waiting = 0  # validations without improvement
        self.best: dict[str, Tensor] = {}
        self.history, self.began = TrainingHistory(), time.perf_counter()

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        return float(self.optimiser.param_groups[0]["lr"])

    @cached_property
    def identity(self) -> str:
        """Fingerprint of what decides the outcome: architecture, training, seed, first data."""
        data = [batch.fingerprint() for batch in (self.source.batch(0), *self.validation)]
        kinds = {"architecture": asdict(self.model.config), "training": asdict(self.config)}
        return fingerprint({**kinds, "seed": self.seed, "data": data})

    def go(self, on_step: Callable[[StepReport], None] | None, heard: list[int]) -> None:
        """Take the remaining steps, put the best weights in place and close the record."""
        config, history = self.config, self.history
        stride = -(-config.steps // _HISTORY_POINTS)
        if self.done == 0 and self.validation and not history.validation_steps:
            self.validate()
        if self.saved < 0:
            self.save()
        self.model.train()
        while self.done < config.steps and not history.stopped_early:
            step, rate = self.done, self.rate
            batch = self.source.batch(step).to(self.model.device)
            loss = self.update(batch, step)
            self.done = step + 1
            if isinstance(self.rates, OneCycleLR) and self.done < config.steps:
                self.rates.step()
            history.examples += batch.size
            last = self.done == config.steps
            if step % stride == 0 or last:
                history.steps.append(step)
                history.losses.append(loss)
            validated = bool(self.validation) and (self.done % config.validate_every == 0 or last)
            if validated:
                self.validate()
                self.model.train()
            if on_step is not None:
                found = history.validation_losses[-1] if validated else None
                seen = (history.examples, self.seconds(), found, history.best_loss)
                on_step(StepReport(step, config.steps, loss, rate, *seen))
            if self.done % config.checkpoint_every == 0:
                self.save()
            if heard:
                raise KeyboardInterrupt
        self.save()
        history.seconds = self.seconds()
        self._put(self.best)

    def update(self, batch: Batch, step: int) -> float:
        """Move the weights by one batch; gives its loss before the move."""
        config = self.config
        _seed_step(self.seed, step, self.model.device)
        teacher = None
        if config.scheduled_sampling != "none":
            kind, floor = config.scheduled_sampling, config.teacher_floor
            share = teacher_share(kind, step, config.steps, floor=floor)
            teacher = torch.rand(batch.target_in.shape, device="cpu") < share
        self.optimiser.zero_grad()
        logits = self.model(batch, teacher=teacher)
        loss = sequence_loss(logits, batch, masked=config.masked_loss, soft=self.soft)
        loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss of batch {step} is {value}; it must be finite. Lower the learning rate "
                f"({self.rate:g}), clip the gradient, or look for ids that never_emit forbids."
            )
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.weights.values(), config.clip_norm)
        self.optimiser.step()
        return value

    def validate(self) -> None:
        """Measure the validation loss; keep the weights if it is the lowest so far."""
        history, config = self.history, self.config
        loss = evaluate_loss(self.model, self.validation, masked=config.masked_loss)
        if not math.isfinite(loss):
            raise TrainingError(
                f"The validation loss after {self.done} steps is {loss}; it must be finite. "
                "Lower the learning rate, or look for ids that never_emit forbids."
            )
        history.validation_steps.append(self.done)
        history.validation_losses.append(loss)
        if isinstance(self.rates, ReduceLROnPlateau):
            self.rates.step(loss)
        if history.best_loss is None or loss < history.best_loss:
            history.best_loss, history.best_step = loss, self.done
            self.best = {name: weight.detach().clone() for name, weight in self.weights.items()}
            self.waiting = 0
            return
        self.waiting += 1
        history.stopped_early = config.patience is not None and self.waiting >= config.patience

    def seconds(self) -> float:
        """Time spent, earlier sessions included."""
        return self.history.seconds + time.perf_counter() - self.began

    def save(self) -> None:
        """Write the state, if there is a folder and it does not lie there already."""
        if self.checkpoint is None or self.saved == self.done:
            return
        tensors = {f"weights.{name}": weight for name, weight in self.weights.items()}
        tensors |= {f"best.{name}": weight for name, weight in self.best.items()}
        for place, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{place}.{name}": value for name, value in moments.items()}
        rates = {} if self.rates is None else self.rates.state_dict()
        # what moves in a schedule are finite numbers; the rest comes from the configuration
        moving = {n: v for n, v in rates.items() if isinstance(v, int | float) and math.isfinite(v)}
        record = {
            "identity": self.identity,
            "done": self.done,
            "rate": self.rate,
            "rates": moving,
            "waiting": self.waiting,
            "history": {**asdict(self.history), "seconds": self.seconds()},
        }
        save_state(self.checkpoint, tensors=tensors, record=record)
        self.saved = self.done

    def load(self, folder: Path) -> None:
        """Go on from the state in `folder`, if there is one."""
        try:
            self._take(folder)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelFileError(
                f"The training state in {str(folder)!r} is damaged: {error!r:.200}. Train without resuming."
            ) from error

    def _take(self, folder: Path) -> None:
        state = load_state(folder)
        if state is None:
            return
        tensors, record = state
        if record.get("identity") != self.identity:
            raise ModelFileError(
                f"The training state in {str(folder)!r} belongs to another architecture, training "
                "configuration, seed or data. Resume with the same ones, or train without resuming."
            )
        weights: dict[str, Tensor] = {}
        moments: dict[int, dict[str, Tensor]] = {}
        for full, value in tensors.items():
            kind, name = full.split(".", 1)
            part = weights if kind == "weights" else self.best
            if kind == "optimiser":
                place, name = name.split(".", 1)
                part = moments.setdefault(int(place), {})
            part[name] = value.to(self.model.device)
        self._put(weights)
        groups = self.optimiser.state_dict()["param_groups"]
        groups = [{**group, "lr": record["rate"]} for group in groups]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        if self.rates is not None:
            self.rates.load_state_dict(record["rates"])
        self.done = self.saved = record["done"]
        self.waiting = record["waiting"]
        self.history = TrainingHistory(**record["history"])

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, value in weights.items():
            self.weights[name].copy_(value)

    def interrupt(self) -> str:
        """Save what is there; gives a sentence that says how to go on."""
        if self.checkpoint is None:
            return f"Training stopped after {self.done} steps; no checkpoint folder was given."
        self.save()
        return (
            f"Training stopped after {self.done} of {self.config.steps} steps. The state is saved in "
            f"{str(self.checkpoint)!r}; run the same command again with --resume to go on."
        )


def _finish_the_step(heard: list[int]) -> None:
    """Let the first Ctrl-C wait, so that a step is never cut in two."""
    if len(heard) > 1:
        raise KeyboardInterrupt


def _seed_step(seed: int, step: int, device: torch.device) -> None:
    """Set the random state of a step, on the CPU and on `device`: SplitMix64 of (seed, step)."""
    mask = (1 << 64) - 1
    z = (seed * 0x9E3779B97F4A7C15 + step + 0x632BE59BD9B4E019) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    z = (z ^ (z >> 31)) & (mask >> 1)
    if device.type == "cpu":
        torch.default_generator.manual_seed(z)  # seeding every device takes 70 times as long
    else:
        torch.manual_seed(z)


@contextmanager
def _borrowed_random_state(device: torch.device) -> Iterator[None]:
    """Give the random state of the CPU and of `device` back as it was."""
    kind = "cuda" if device.type == "cpu" else device.type
    devices = [] if device.type == "cpu" else [device.index or 0]
    with torch.random.fork_rng(devices=devices, device_type=kind):
        yield


def set_threads(count: int = 1) -> None:
    """Let torch use `count` threads in this process; the one place where that is decided.

    One is the default of the house: the matrices are small, work is parallel by process, and two
    threads beside a busy neighbour run many times slower than one. And glibc is told to keep what is
    freed: by default a freed megabyte goes back to the system and comes again page by page at every
    batch, which costs more than the arithmetic done in it. Other C libraries are left alone.
    """
    torch.set_num_threads(count)
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for option, size in ((-3, 32 << 20), (-1, 256 << 20)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
        mallopt(option, size)
