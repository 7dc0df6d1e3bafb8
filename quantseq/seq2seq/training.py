"""How a machine learns: one loop over numbered batches, exact to resume.

Owns the order of things in a step, validation, early stopping and the state that resuming needs. Does
not know what a batch means: `BatchSource.batch(step)` is a function of the step, so that the step
number is the whole data position, and the random state of a step is a function of (seed, step). A fit
that was killed and resumed therefore ends with the same bits as one that was not.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from quantseq.errors import ConfigError, ModelFileError, TrainingError
from quantseq.files import fingerprint
from quantseq.seq2seq.checkpoint import load_state, save_state
from quantseq.seq2seq.learning.history import StepReport as StepReport
from quantseq.seq2seq.learning.history import TrainingHistory as TrainingHistory
from quantseq.seq2seq.learning.loss import sequence_loss, soft_targets
from quantseq.seq2seq.learning.optimiser import FlatOptimiser
from quantseq.seq2seq.learning.schedules import one_cycle, teacher_share
from quantseq.seq2seq.learning.seeding import borrowed_random_state, seed_step
from quantseq.seq2seq.learning.threads import set_threads as set_threads
from quantseq.seq2seq.learning.train_config import TrainConfig as TrainConfig
from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.network.workspace import give_back
from quantseq.seq2seq.tokens import PAD, Batch

HISTORY_POINTS = 4096
"""A history keeps about this many minibatch losses."""


@runtime_checkable
class BatchSource(Protocol):
    """Where batches come from."""

    def batch(self, step: int) -> Batch:
        """Give the batch of this step: always the same for the same step."""
        ...


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
    """Train `model` in place.

    With validation data the model ends with the weights of its best validation, which may be those it
    began with. The global random state is the same before and after; training draws depend on `seed`
    and the step only.

    Parameters
    ----------
    model : Seq2Seq
        Trained in place and where it is; ends in the mode, train or eval, that it came in.
    source : BatchSource
        Batches by step number, on any device.
    config : TrainConfig
        How to train.
    seed : int
        Seeds dropout and scheduled sampling.
    validation : sequence of Batch
        Held-out batches; loss per token over all of them decides.
    checkpoint : Path, optional
        Folder for the state, written at the start, every `checkpoint_every` steps, at Ctrl-C and at
        the end. What another fit left there is replaced at the start, unless `resume` goes on from it.
    resume : bool
        Whether to go on from the state in `checkpoint`, if there is one.
    on_step : callable, optional
        Told about every step, after the weights moved. It may look at the model.

    Returns
    -------
    TrainingHistory
        Losses by step, best step, time.

    Raises
    ------
    ConfigError
        If the loss scores ids that are never emitted, or the configuration asks for validation and
        there is none.
    TrainingError
        If a loss is not finite.
    ModelFileError
        If the state to resume from is damaged or belongs to another fit or other data.
    KeyboardInterrupt
        After Ctrl-C, at the end of the running step and with the state saved; a second Ctrl-C does
        not wait.
    """
    if not config.masked_loss and PAD in model.config.never_emit:
        raise ConfigError(
            "masked_loss=False scores PAD, which never_emit forbids: the loss would be infinite. "
            "Set masked_loss=True or take PAD out of never_emit."
        )
    if not validation and (config.schedule == "plateau" or config.patience is not None):
        raise ConfigError(
            "schedule='plateau' and 'patience' look at validation losses. "
            f"Got schedule={config.schedule!r}, patience={config.patience!r} and no 'validation'; "
            "give fit some held-out batches."
        )
    was_training = model.training
    try:
        with (
            borrowed_random_state(model.device),
            _interrupts() as interrupted,
            FlatOptimiser(model, config.optimiser, weight_decay=config.weight_decay) as optimiser,
        ):
            run = _Fit(model, source, config, seed, validation, optimiser, checkpoint)
            if resume and checkpoint is not None:
                run.load(checkpoint)
            try:
                run.go(on_step, interrupted)
            except KeyboardInterrupt as stop:
                raise KeyboardInterrupt(run.interrupt()) from stop
            return run.finish()
    finally:
        model.train(was_training)
        give_back()


class _Fit:
    """One running fit: everything that `save` writes and `load` reads is an attribute here."""

    def __init__(
        self,
        model: Seq2Seq,
        source: BatchSource,
        config: TrainConfig,
        seed: int,
        validation: Sequence[Batch],
        optimiser: FlatOptimiser,
        checkpoint: Path | None,
    ) -> None:
        self.model, self.source, self.config, self.seed = model, source, config, seed
        self.validation, self.optimiser, self.checkpoint = validation, optimiser, checkpoint
        self.soft = soft_targets(
            model.config.vocab_size,
            model.config.never_emit,
            label_smoothing=config.label_smoothing,
            ordinal_width=config.ordinal_width,
            device=model.device,
        )
        self.done = 0
        self.saved = -1
        self.rate_factor = 1.0
        self.waiting = 0  # validations without improvement
        self.plateau = 0  # the same since the rate last fell
        self.best: Tensor | None = None
        self.history = TrainingHistory()
        self.began = time.perf_counter()

    def identity(self) -> str:
        """Fingerprint of what decides the outcome: architecture, training, seed, first data."""
        return fingerprint(
            {
                "architecture": self.model.config.to_dict(),
                "training": asdict(self.config),
                "seed": self.seed,
                "data": [batch.fingerprint() for batch in (self.source.batch(0), *self.validation)],
            }
        )

    def go(
        self,
        on_step: Callable[[StepReport], None] | None,
        interrupted: list[bool],
    ) -> None:
        """Take the remaining steps."""
        config, history = self.config, self.history
        stride = -(-config.steps // HISTORY_POINTS)
        if self.done == 0 and self.validation and not history.validation_steps:
            self.validate()
        if self.checkpoint is not None and self.saved < 0:
            self.save(self.checkpoint)
        self.model.train()
        while self.done < config.steps and not history.stopped_early:
            step = self.done
            batch = self.source.batch(step).to(self.model.device)
            rate = config.learning_rate * self.rate_factor
            if config.schedule == "one_cycle":
                rate *= one_cycle(step, config.steps)
            loss = self.update(batch, step, rate)
            self.done = step + 1
            history.examples += batch.size
            if step % stride == 0 or self.done == config.steps:
                history.steps.append(step)
                history.losses.append(loss)
            validated = bool(self.validation) and (
                self.done % config.validate_every == 0 or self.done == config.steps
            )
            if validated:
                self.validate()
                self.model.train()
            if on_step is not None:
                on_step(
                    StepReport(
                        step=step,
                        steps=config.steps,
                        loss=loss,
                        learning_rate=rate,
                        examples=history.examples,
                        seconds=self.seconds(),
                        validation_loss=history.validation_losses[-1] if validated else None,
                        best_loss=history.best_loss,
                    )
                )
            if self.checkpoint is not None and self.done % config.checkpoint_every == 0:
                self.save(self.checkpoint)
            if interrupted:
                raise KeyboardInterrupt

    def update(self, batch: Batch, step: int, rate: float) -> float:
        """Move the weights by one batch; gives its loss before the move."""
        config = self.config
        seed_step(self.seed, step, self.model.device)
        teacher = None
        if config.scheduled_sampling != "none":
            share = teacher_share(
                config.scheduled_sampling, step, config.steps, floor=config.teacher_floor
            )
            teacher = torch.rand(batch.target_in.shape, device="cpu") < share
        self.optimiser.clear()
        logits = self.model(batch, teacher=teacher)
        loss = sequence_loss(logits, batch, masked=config.masked_loss, soft=self.soft)
        loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss of batch {step} is {value}; it must be finite. Lower the learning rate "
                f"({rate:g}), clip the gradient, or look for ids that never_emit forbids."
            )
        self.optimiser.step(learning_rate=rate, clip_norm=config.clip_norm)
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
        if history.best_loss is None or loss < history.best_loss:
            history.best_loss, history.best_step = loss, self.done
            self.best = self.optimiser.weights.clone()
            self.waiting = self.plateau = 0
            return
        self.waiting += 1
        self.plateau += 1
        if config.schedule == "plateau" and self.plateau >= config.plateau_patience:
            self.rate_factor *= config.plateau_factor
            self.plateau = 0
        history.stopped_early = config.patience is not None and self.waiting >= config.patience

    def seconds(self) -> float:
        """Time spent, earlier sessions included."""
        return self.history.seconds + time.perf_counter() - self.began

    def save(self, folder: Path) -> None:
        """Write the state."""
        tensors = self.optimiser.state()
        if self.best is not None:
            tensors["best"] = self.best
        record = {
            "identity": self.identity(),
            "done": self.done,
            "rate_factor": self.rate_factor,
            "waiting": self.waiting,
            "plateau": self.plateau,
            "history": {**self.history.to_dict(), "seconds": self.seconds()},
        }
        save_state(folder, step=self.done, tensors=tensors, record=record)
        self.saved = self.done

    def load(self, folder: Path) -> None:
        """Go on from the state in `folder`, if there is one."""
        state = load_state(folder)
        if state is None:
            return
        tensors, record = state
        if record.get("identity") != self.identity():
            raise ModelFileError(
                f"The training state in {str(folder)!r} belongs to another architecture, training "
                "configuration, seed or data. Resume with the same ones, or train without resuming."
            )
        if "best" in tensors:
            self.best = tensors.pop("best").to(self.model.device)
        self.optimiser.load(tensors)
        self.done = self.saved = record["done"]
        self.rate_factor = record["rate_factor"]
        self.waiting, self.plateau = record["waiting"], record["plateau"]
        self.history = TrainingHistory.from_dict(record["history"])

    def interrupt(self) -> str:
        """Save what is there; gives a sentence that says how to go on."""
        if self.checkpoint is None:
            return f"Training stopped after {self.done} steps; no checkpoint folder was given."
        if self.saved != self.done:
            self.save(self.checkpoint)
        return (
            f"Training stopped after {self.done} of {self.config.steps} steps. The state is saved in "
            f"{str(self.checkpoint)!r}; run the same command again with --resume to go on."
        )

    def finish(self) -> TrainingHistory:
        """Put the best weights in place and close the record."""
        if self.checkpoint is not None and self.saved != self.done:
            self.save(self.checkpoint)
        self.history.seconds = self.seconds()
        if self.best is not None:
            self.optimiser.weights.copy_(self.best)
        return self.history


@torch.no_grad()
def evaluate_loss(
    model: Seq2Seq, batches: Sequence[Batch], *, masked: bool = True, free_running: bool = False
) -> float:
    """Mean loss per target token over batches, in eval mode, against one-hot targets.

    Parameters
    ----------
    model : Seq2Seq
        Its mode is restored afterwards.
    batches : sequence of Batch
        At least one, on any device.
    masked : bool
        Whether padding is left out.
    free_running : bool
        Whether the decoder is fed its own most probable ids instead of the truth.

    Returns
    -------
    float
        Nats per token.

    Raises
    ------
    ConfigError
        If there is no target token.
    """
    was_training = model.training
    model.eval()
    total, tokens = 0.0, 0
    try:
        for batch in batches:
            count = int(batch.target_lengths.sum()) if masked else batch.target_out.numel()
            here = batch.to(model.device)
            teacher = torch.zeros(len(batch.target_in), dtype=torch.bool) if free_running else None
            logits = model(here, teacher=teacher)
            total += float(sequence_loss(logits, here, masked=masked)) * count
            tokens += count
    finally:
        model.train(was_training)
    if not tokens:
        raise ConfigError("evaluate_loss needs at least one batch with a target. Got none.")
    return total / tokens


@contextmanager
def _interrupts() -> Iterator[list[bool]]:
    """Turn the first Ctrl-C into a note, so that a step is never cut in two."""
    noted: list[bool] = []

    def note(number: int, frame: Any) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(True)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread: Ctrl-C does not come here
        yield noted
        return
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
