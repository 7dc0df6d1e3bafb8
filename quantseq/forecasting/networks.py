"""The networks of a forecaster: what they look like, and how an ensemble of them is trained.

Owns the choices, the loop over members, and what a member starts from and is measured against. Knows
windows and token ids, but neither prices nor what the answers are used for.

A network is to say how a day differs from an average day; how average days are is the reference's
business, and what of it drifts, recalibration's. So its output starts from the base rates of training
tokens, and after training its own average answer is taken out again [1]_: a network that has learned
nothing else then answers uniformly, which is the reference. And how much likelier a bin has become may
only change smoothly from bin to bin: after each step the output layer is brought back to the span of the
tilts that move, widen, lean and fatten. A few thousand days teach no more. The
numbers of a step's condition only widen and fatten: what they say of direction in training are its days, learned
by heart.

References
----------
.. [1] Menon, A. et al. (2021). Long-tail learning via logit adjustment. ICLR.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import delayed
from numpy.typing import NDArray

from quantseq.errors import check_parameters
from quantseq.forecasting.calibration import hermite
from quantseq.forecasting.inputs import CHANNELS, NUM_DAYS, NUM_EVENTS, NUM_NUMBERS
from quantseq.forecasting.tokenizer import MAX_BINS
from quantseq.forecasting.volatility import SCALES
from quantseq.forecasting.windows import WindowSource, WindowTable
from quantseq.market.bars import Floats
from quantseq.progress import parallel
from quantseq.seq2seq.checkpoint import TrainingHistory
from quantseq.seq2seq.model import MOST_FEATURES, Seq2Seq, Seq2SeqConfig, evaluating
from quantseq.seq2seq.tokens import EOS, FIRST_ID, PAD, Batch
from quantseq.seq2seq.training import StepReport, TrainConfig, fit, set_threads

AVERAGE_OVER = 8192
"""Training windows whose mean answer stands for that of an average day."""

ANSWERED = 256
"""Windows answered at once outside of training: more are no faster and take more memory."""

MIN_EPOCH_STEPS = 40
"""Batches per epoch that a small panel reaches by using more of its windows."""


@dataclass(frozen=True)
class ForecasterConfig:
    """Choices of a forecaster; the defaults were chosen on validation blocks only.

    A patience of fewer validations than half of the cycle would stop most networks while the rate is still
    high, when validation loss rises before it falls.
    """

    horizon: int = 5  # steps ahead
    num_bins: int = 48  # V, size of the return vocabulary without PAD and EOS
    members: int = 4  # networks in the ensemble, each from a seed of its own
    epochs: int = 3  # passes over the training windows
    stride: int = 3  # every so many-th window per epoch, at a random phase; more of small panels
    batch_size: int = 256  # windows per training step
    hidden_size: int = 32  # of the recurrent layers, per direction
    embedding_size: int = 16  # of a token
    dropout: float = 0.4
    learning_rate: float = 3e-3  # the highest of the one-cycle schedule
    weight_decay: float = 0.1
    patience: int = 6  # validations (two per epoch) without improvement; the best weights are kept
    volatility: str = "har"  # scale of the reference, one of `volatility.SCALES`

    def __post_init__(self) -> None:
        counts = "epochs stride patience"
        rules: dict[str, Any] = dict.fromkeys(counts.split(), "int [1, inf)")
        rules |= dict.fromkeys(("hidden_size", "embedding_size"), f"int [1, {MOST_FEATURES}]")
        rules |= {
            "horizon": "int [1, 1000]",
            "members": "int [1, 100]",
            "batch_size": "int [1, 100000]",
            "num_bins": f"int [2, {MAX_BINS}]",
            "dropout": "[0, 1)",
            "learning_rate": "(0, inf)",
        }
        check_parameters(self, rules | {"weight_decay": "[0, inf)", "volatility": SCALES})

    def architecture(self) -> Seq2SeqConfig:
        """The network's configuration."""
        return Seq2SeqConfig(
            vocab_size=self.num_bins + FIRST_ID,
            embedding_size=self.embedding_size,
            hidden_size=self.hidden_size,
            bidirectional=True,
            attention="luong",
            dropout=self.dropout,
            channels=len(CHANNELS),
            condition_size=NUM_NUMBERS + NUM_DAYS + NUM_EVENTS,
            never_emit=(PAD, EOS),
            zero_projection=True,
        )

    def training(self, steps_per_epoch: int) -> TrainConfig:
        """How each network is trained."""
        return TrainConfig(
            steps=self.epochs * steps_per_epoch,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            clip_norm=1.0,
            schedule="one_cycle",
            validate_every=max(10, steps_per_epoch // 2),
            patience=self.patience,
        )


def fit_networks(
    config: ForecasterConfig,
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
    """Train every member of the ensemble on rows `training`; rows `stopping` decide which weights are kept.

    Members take the seeds ``1000 · seed`` and up. The other options are those of `Seq2SeqForecaster.fit`.
    """
    # Few windows: use more of them per epoch, so that an epoch stays worth validating.
    enough = len(training) // (config.batch_size * MIN_EPOCH_STEPS)
    stride = min(max(enough, 1), config.stride)
    validation = [
        table.batch(stopping[i : i + ANSWERED]) for i in range(0, len(stopping), ANSWERED)
    ]
    sources = [
        WindowSource(table, training, config.batch_size, stride, seed * 1000 + member)
        for member in range(config.members)
    ]
    results = parallel(jobs, return_as="generator")(
        delayed(_fit_one)(
            config,
            source,
            validation,
            checkpoint and checkpoint / f"member-{member}",
            on_step and partial(on_step, member),
        )
        for member, source in enumerate(sources)
    )
    networks, histories = [], []
    for member, (network, history) in enumerate(results):
        networks.append(network)
        histories.append(history)
        if on_network is not None:
            on_network(member)
    return tuple(networks), tuple(histories)


def _fit_one(
    config: ForecasterConfig,
    source: WindowSource,
    validation: list[Batch],
    checkpoint: Path | None,
    on_step: Callable[[StepReport], None] | None,
) -> tuple[Seq2Seq, TrainingHistory]:
    set_threads(1)
    network = Seq2Seq(config.architecture(), seed=source.seed)
    shift_answers(network, base_rates(source.table.targets[source.rows], config.num_bins))

    def after_step(report: StepReport) -> None:
        smooth_answers(network)
        if on_step is not None:
            on_step(report)

    history = fit(
        network,
        source,
        config.training(source.steps_per_epoch),
        seed=source.seed,
        validation=validation,
        checkpoint=checkpoint,
        resume=True,
        on_step=after_step,
    )
    smooth_answers(network)
    shift_answers(network, 1 / average_answer(network, source.table, source.rows))
    return network, history


def base_rates(targets: NDArray[np.integer], bins: int) -> Floats:
    """How often each bin came, all steps together, over its expectation: (V,)."""
    counts = np.bincount(targets.ravel() - FIRST_ID, minlength=bins) + 1.0
    return np.asarray(counts / counts.mean(), dtype=np.float64)


def average_answer(network: Seq2Seq, table: WindowTable, rows: NDArray[np.intp]) -> Floats:
    """Mean probability of each bin over (at most `AVERAGE_OVER`) windows, over uniform: (V,)."""
    chosen = rows[:: -(-len(rows) // AVERAGE_OVER)]
    total = np.zeros(network.config.vocab_size - FIRST_ID)
    with evaluating(network):
        for start in range(0, len(chosen), ANSWERED):
            answers = network(table.batch(chosen[start : start + ANSWERED]))[..., FIRST_ID:]
            total += torch.softmax(answers, dim=-1).double().sum(dim=(0, 1)).numpy()
    return np.asarray(total / total.mean())


@torch.no_grad()
def smooth_answers(network: Seq2Seq) -> None:
    """Bring the output layer to the nearest one (least squares) whose log odds are smooth over the bins."""
    weight = network.decoder.projection.weight[FIRST_ID:]
    tilts, told = hermite(len(weight)), weight.shape[1] - network.config.hidden_size
    for part, directions in ((weight[:, :told], tilts), (weight[:, told:], tilts[:, [1, 3]])):
        smooth = np.linalg.qr(directions)[0]
        part.copy_(torch.from_numpy(smooth @ smooth.T).to(weight.dtype) @ part)


@torch.no_grad()
def shift_answers(network: Seq2Seq, factors: Floats) -> None:
    """Multiply the odds of each bin by a factor (V,), whatever the input."""
    network.decoder.bias[FIRST_ID:] += torch.from_numpy(np.log(factors)).float()
