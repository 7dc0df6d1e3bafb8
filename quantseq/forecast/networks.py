"""The networks of a forecaster: what they look like, and how an ensemble of them is trained.

Owns the choices and the loop over members. Knows windows and token ids, but neither prices nor what
the answers are used for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from quantseq.errors import ConfigError
from quantseq.forecast.inputs import CONDITIONS, STREAMS
from quantseq.forecast.scales import SCALES
from quantseq.forecast.windows import (
    STREAM_BINS,
    PriceTask,
    WindowSource,
    WindowTable,
)
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.tokens import EOS, FIRST_ID, PAD, Batch
from quantseq.seq2seq.training import StepReport, TrainConfig, TrainingHistory, fit, set_threads

MIN_EPOCH_STEPS = 40
"""Batches per epoch that a small panel reaches by using more of its windows."""


@dataclass(frozen=True)
class ForecasterConfig:
    """Choices of a forecaster; the defaults were chosen on validation blocks only.

    Parameters
    ----------
    horizon : int
        Steps ahead.
    num_bins : int
        V, size of the return vocabulary without PAD and EOS.
    members : int
        Networks in the ensemble, each from a seed of its own.
    epochs : int
        Passes over the training windows.
    stride : int
        Every `stride`-th window is used per epoch, at a random phase; more of them in small panels.
    batch_size : int
        Windows per training step.
    hidden_size, embedding_size : int
        Size of the recurrent layers (per direction) and of the token embeddings.
    dropout, learning_rate, weight_decay : float
        Regularisation, and the highest rate of the one-cycle schedule.
    volatility : str
        Scale of the reference, one of `quantseq.forecast.scales.SCALES`.
    patience : int
        Validations (two per epoch) without improvement after which a network stops; the best weights
        are kept. Fewer than half of the cycle would stop most networks while the rate is still high,
        when validation loss rises before it falls.
    """

    horizon: int = 5
    num_bins: int = 24
    members: int = 3
    epochs: int = 6
    stride: int = 5
    batch_size: int = 256
    hidden_size: int = 32
    embedding_size: int = 16
    dropout: float = 0.4
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    patience: int = 6
    volatility: str = "har"

    def __post_init__(self) -> None:
        for name in ("horizon", "members", "epochs", "stride", "batch_size", "patience"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(
                    f"The {name!r} parameter of ForecasterConfig must be an int of 1 or more. "
                    f"Got {value!r}."
                )
        if self.volatility not in SCALES:
            raise ConfigError(
                f"The 'volatility' parameter of ForecasterConfig must be one of {', '.join(SCALES)}. "
                f"Got {self.volatility!r}."
            )

    def architecture(self, task: PriceTask | None = None) -> Seq2SeqConfig:
        """The network's configuration: for a fitted task, or with nominal stream sizes."""
        streams = [STREAM_BINS + 3] * len(STREAMS)
        conditions = [STREAM_BINS + 3] * len(CONDITIONS)
        if task is not None:
            streams = [bins.vocab_size for bins in task.stream_bins]
            conditions = [bins.vocab_size for bins in task.condition_bins]
        return Seq2SeqConfig(
            vocab_size=self.num_bins + FIRST_ID,
            embedding_size=self.embedding_size,
            hidden_size=self.hidden_size,
            bidirectional=True,
            attention="bahdanau",
            dropout=self.dropout,
            source_streams=tuple(streams),
            condition_streams=tuple(conditions),
            never_emit=(PAD, EOS),
            zero_projection=True,
        )

    def training(self, steps_per_epoch: int) -> TrainConfig:
        """How each network is trained."""
        return TrainConfig(
            steps=self.epochs * steps_per_epoch,
            optimiser="adamw",
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            clip_norm=1.0,
            schedule="one_cycle",
            validate_every=max(10, steps_per_epoch // 2),
            patience=self.patience,
        )


def fit_networks(
    config: ForecasterConfig,
    task: PriceTask,
    table: WindowTable,
    training: NDArray[np.intp],
    stopping: NDArray[np.intp],
    *,
    seed: int,
    jobs: int = 1,
    checkpoint: Path | None = None,
    on_step: Callable[[int, StepReport], None] | None = None,
    on_network: Callable[[int], None] | None = None,
) -> tuple[tuple[Seq2Seq, ...], tuple[TrainingHistory, ...]]:
    """Train every member of the ensemble.

    Parameters
    ----------
    config : ForecasterConfig
    task : PriceTask
    table : WindowTable
    training, stopping : (R,) int
        Rows to train on, and rows that decide which weights are kept.
    seed : int
        Members take the seeds ``1000 · seed`` and up.
    jobs : int
        Processes; the numbers are the same for every choice.
    checkpoint : Path, optional
        Folder for the training states, which a later call goes on from.
    on_step : callable, optional
        Called with the member's number and its `StepReport`; only with one process.
    on_network : callable, optional
        Called with the member's number when it is trained.
    """
    # Few windows: use more of them per epoch, so that an epoch stays worth validating.
    enough = len(training) // (config.batch_size * MIN_EPOCH_STEPS)
    stride = min(max(enough, 1), config.stride)
    validation = [table.batch(stopping[i : i + 1024]) for i in range(0, len(stopping), 1024)]
    sources = [
        WindowSource(table, training, config.batch_size, stride, seed * 1000 + member)
        for member in range(config.members)
    ]
    results = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_fit_one)(
            config,
            task,
            source,
            validation,
            checkpoint and checkpoint / f"member-{member}",
            on_step and partial(on_step, member),
        )
        for member, source in enumerate(sources)
    )
    found = []
    for member, result in enumerate(results):
        found.append(result)
        if on_network is not None:
            on_network(member)
    return tuple(network for network, _ in found), tuple(history for _, history in found)


def _fit_one(
    config: ForecasterConfig,
    task: PriceTask,
    source: WindowSource,
    validation: list[Batch],
    checkpoint: Path | None,
    on_step: Callable[[StepReport], None] | None,
) -> tuple[Seq2Seq, TrainingHistory]:
    set_threads(1)
    network = Seq2Seq(config.architecture(task), seed=source.seed)
    history = fit(
        network,
        source,
        config.training(source.steps_per_epoch),
        seed=source.seed,
        validation=validation,
        checkpoint=checkpoint,
        resume=True,
        on_step=on_step,
    )
    return network, history
