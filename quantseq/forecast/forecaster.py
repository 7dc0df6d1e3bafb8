"""The forecaster of the house: reference, tokens, an ensemble of small networks, shrinkage.

Owns how the parts are fitted inside one training and validation block, and how token probabilities
and sampled tokens become `Forecasts`. Knows nothing of folds, tests or trades.

In one sentence: encode the past as tokens, let each network say how likely each token is next,
average, shrink towards the reference by what validation allows, decode through the reference.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray

from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.forecast.calibration import Shrinkage, choose_shrinkage
from quantseq.forecast.density import TokenDensity
from quantseq.forecast.forecasts import Forecasts, keyed_uniforms, rows_to_forecast
from quantseq.forecast.windows import (
    CONDITIONS,
    STREAM_BINS,
    STREAMS,
    PriceTask,
    WindowSource,
    WindowTable,
)
from quantseq.market.bars import Dates, Floats, Panel
from quantseq.seq2seq.decoding import sample
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.tokens import EOS, FIRST_ID, PAD, Batch
from quantseq.seq2seq.training import StepReport, TrainConfig, TrainingHistory, fit, set_threads

MARGINAL_PATHS = 96
"""Paths over which the probabilities of later steps are averaged, at least."""

MIN_EPOCH_STEPS = 40
"""Batches per epoch that a small panel reaches by using more of its windows."""

PREDICT_CHUNK = 4096
"""Windows gathered at once when predicting; decoding pads its own chunks."""


MAX_SEED = 2**48
"""Members' seeds are a thousand times as large and must fit the generator."""


@dataclass(frozen=True)
class ForecasterConfig:
    """Choices of a `Seq2SeqForecaster`; the defaults were chosen on validation blocks only.

    Parameters
    ----------
    horizon : int
        Steps ahead.
    num_bins : int
        V, size of the return vocabulary without PAD and EOS.
    members : int
        Networks in the ensemble, each from a seed of its own.
    epochs : int
        Passes over the training windows, at most; early stopping ends sooner.
    stride : int
        Every `stride`-th window is used per epoch, at a random phase; more of them in small panels.
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
    patience: int = 3

    def __post_init__(self) -> None:
        for name in ("horizon", "members", "epochs", "stride", "batch_size", "patience"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(
                    f"The {name!r} parameter of ForecasterConfig must be an int of 1 or more. "
                    f"Got {value!r}."
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


@dataclass(frozen=True, eq=False)
class Seq2SeqForecaster:
    """A fitted forecaster.

    Parameters
    ----------
    config : ForecasterConfig
    task : PriceTask
        Reference, tokenizer and bins, fitted on the training block.
    networks : tuple of Seq2Seq
        The ensemble's members.
    shrinkage : Shrinkage
        How much of the network validation let through.
    trained_until : datetime64[D]
        Newest session that any fitted part has seen, validation included.
    symbols : tuple of str
        What it was trained on.
    data_hashes : mapping of symbol to str
        SHA-256 of the bars that it was trained on.
    num_windows : int
        Windows in the training block.
    histories : tuple of TrainingHistory
        One per member.
    """

    config: ForecasterConfig
    task: PriceTask
    networks: tuple[Seq2Seq, ...]
    shrinkage: Shrinkage
    trained_until: np.datetime64
    symbols: tuple[str, ...]
    data_hashes: dict[str, str]
    num_windows: int
    histories: tuple[TrainingHistory, ...] = field(default=())
    name: str = "seq2seq"

    @classmethod
    def fit(
        cls,
        panel: Panel,
        *,
        train_until: Any,
        validate_from: Any,
        config: ForecasterConfig | None = None,
        seed: int = 0,
        jobs: int = 1,
        checkpoint: Path | None = None,
        on_step: Callable[[int, StepReport], None] | None = None,
    ) -> Self:
        """Fit everything on one panel; whatever it holds is seen, nothing else can be.

        The training block ends at `train_until`. The validation block starts at `validate_from`
        and ends with the panel: its first half stops the training early, its second half, after a
        purge of one horizon, decides how much of the network to keep.

        Parameters
        ----------
        panel : Panel
            Bars up to the end of the validation block.
        train_until, validate_from : date
            End of training and start of validation, ``train_until < validate_from``.
        config : ForecasterConfig, optional
        seed : int
            Seed of the first member; others follow from it.
        jobs : int
            Members are trained in this many processes; the numbers are the same for every choice.
        checkpoint : Path, optional
            Folder for the training states of the members; a fit that finds some goes on from them,
            to the same bits. The caller answers for their belonging to the same data.
        on_step : callable, optional
            Called with the member's number and its `StepReport` after each training step; only
            with one process.

        Raises
        ------
        ConfigError
            If the seed is outside its rule.
        NotEnoughDataError
            If either block is too short for one window.
        """
        chosen = config or ForecasterConfig()
        if not 0 <= seed < MAX_SEED:
            raise ConfigError(f"The seed of a fit must be an int in [0, {MAX_SEED}). Got {seed}.")
        task = PriceTask.fit(
            panel.until(train_until), horizon=chosen.horizon, num_bins=chosen.num_bins
        )
        table = task.table(panel)
        training = table.rows_between(panel.sessions[0], train_until)
        stopping, choosing = table.halves(panel.sessions, validate_from, purge=chosen.horizon)
        if len(training) < chosen.batch_size or not len(stopping) or not len(choosing):
            raise NotEnoughDataError(
                f"The blocks give {len(training)} training, {len(stopping)} early-stopping and "
                f"{len(choosing)} shrinkage windows; at least {chosen.batch_size}, 1 and 1 are "
                "needed. Give a longer history, more symbols or a longer validation block."
            )
        # Few windows: use more of them per epoch, so that an epoch stays worth validating.
        enough = len(training) // (chosen.batch_size * MIN_EPOCH_STEPS)
        stride = min(max(enough, 1), chosen.stride)
        stop = [table.batch(stopping[i : i + 1024]) for i in range(0, len(stopping), 1024)]
        seeds = [seed * 1000 + member for member in range(chosen.members)]
        sources = [WindowSource(table, training, chosen.batch_size, stride, one) for one in seeds]
        networks, histories = zip(
            *Parallel(n_jobs=jobs)(
                delayed(_fit_member)(
                    chosen,
                    task,
                    source,
                    stop,
                    checkpoint and checkpoint / f"member-{member}",
                    on_step and partial(on_step, member),
                )
                for member, source in enumerate(sources)
            ),
            strict=True,
        )
        fitted = cls(
            chosen,
            task,
            networks,
            Shrinkage(1.0, 0.0),
            panel.sessions[-1],
            panel.symbols,
            {symbol: bars.sha256 for symbol, bars in panel.items()},
            len(training),
            histories,
        )
        probs = fitted.token_probabilities(table, choosing)
        happened = table.targets[choosing, 0] - FIRST_ID
        tilt = np.take_along_axis(probs, happened[:, None], axis=1)[:, 0] * chosen.num_bins
        return replace(fitted, shrinkage=choose_shrinkage(tilt, table.sessions[choosing]))

    def token_probabilities(self, table: WindowTable, rows: NDArray[np.intp]) -> Floats:
        """Ensemble probabilities of the next token, before shrinkage: (R, V)."""
        unused = np.zeros((len(rows), len(self.networks), 1), np.float32)
        return self._sample(table, rows, unused, horizon=1)[1][:, 0]

    def _sample(
        self,
        table: WindowTable,
        rows: NDArray[np.intp],
        draws: NDArray[np.float32],
        *,
        horizon: int,
    ) -> tuple[NDArray[np.int64], Floats]:
        """Sample N paths per window, shared out among the members.

        Returns
        -------
        bins : (R, N, H) int64
        probs : (R, H, V) float64
            Marginal probabilities: members averaged, steps after the first averaged over paths.
            Every member needs at least one path.
        """
        num_paths, members = draws.shape[1], len(self.networks)
        bins = np.zeros((len(rows), num_paths, horizon), np.int64)
        probs = np.zeros((len(rows), horizon, self.config.num_bins))
        for start in range(0, len(rows), PREDICT_CHUNK):
            part = slice(start, start + PREDICT_CHUNK)
            batch = table.batch(rows[part])
            for member, network in enumerate(self.networks):
                mine = slice(member, None, members)
                uniforms = np.ascontiguousarray(draws[part, mine, :horizon].transpose(2, 0, 1))
                found = sample(
                    network,
                    batch,
                    num_paths=uniforms.shape[2],
                    length=horizon,
                    uniforms=torch.from_numpy(uniforms),
                    marginals=True,
                )
                bins[part, mine] = found.ids.numpy() - FIRST_ID
                assert found.marginals is not None
                probs[part] += found.marginals.numpy()[..., FIRST_ID:].astype(np.float64) / members
        return bins, probs / probs.sum(axis=-1, keepdims=True)

    def predict(
        self, panel: Panel, cutoffs: Dates, *, horizon: int, num_paths: int = 0, seed: int = 0
    ) -> Forecasts:
        """Forecast every symbol at every cutoff on which it traded.

        A share `shrinkage.weight` of the paths comes from the networks, the rest from the
        reference, so that the paths are draws from the distributions that stand beside them.

        Parameters
        ----------
        panel : Panel
            For each row only bars up to its cutoff are used.
        cutoffs : (D,) datetime64[D]
        horizon : int
            Steps ahead, at most that of the fit.
        num_paths : int
            Samples per row; 0 for none.
        seed : int
            Draws are keyed by (seed, symbol, cutoff).

        Raises
        ------
        ConfigError
            If the horizon is longer than the fitted one.
        NotEnoughDataError
            If nothing can be forecast.
        """
        if not 1 <= horizon <= self.config.horizon:
            raise ConfigError(
                f"This model forecasts 1 to {self.config.horizon} steps; got a horizon of {horizon}. "
                "Train again with a longer horizon."
            )
        wanted = rows_to_forecast(panel, cutoffs)
        table = self.task.table(panel)
        offset, rows = 0, []
        for symbol, bars in panel.items():
            rows.append(wanted[symbol] + offset)
            offset += len(bars)
        index = np.concatenate(rows)
        symbols, dates = table.symbols[index], table.sessions[index]
        weight, bins_per_row = self.shrinkage.weight, self.config.num_bins
        loc, scale, nu = (x[index, :horizon] for x in (table.loc, table.scale, table.nu))
        from_network = round(weight * num_paths)
        sampled = max(from_network, len(self.networks), MARGINAL_PATHS if horizon > 1 else 1)
        draws = keyed_uniforms(seed, symbols, dates, (2, max(num_paths, sampled), horizon))
        probs = np.full((len(index), horizon, bins_per_row), 1 / bins_per_row)
        bins = np.floor(draws[:, 0, :num_paths] * bins_per_row).astype(np.int64)
        if weight > 0:
            network_bins, network_probs = self._sample(
                table, index, draws[:, 0, :sampled], horizon=horizon
            )
            bins[:, :from_network] = network_bins[:, :from_network]
            probs = weight * network_probs + (1 - weight) / bins_per_row
        density = TokenDensity(loc, scale, nu, probs.astype(np.float32))
        paths = None
        if num_paths:
            paths = density.at_tokens(bins, draws[:, 1, :num_paths]).astype(np.float32)
        shares = np.array([self.task.reference.share_overnight(str(s)) for s in symbols])
        return Forecasts(
            self.name, symbols, dates, density, shares, self.trained_until, seed, paths
        )

    def describe(self) -> dict[str, Any]:
        """What was fitted, as JSON values."""
        return {
            "config": asdict(self.config),
            "shrinkage": asdict(self.shrinkage),
            "trained_until": str(self.trained_until),
            "symbols": list(self.symbols),
            "data_hashes": self.data_hashes,
            "num_windows": self.num_windows,
            "tokenizer": self.task.tokenizer.fingerprint,
            "zero_share": self.task.tokenizer.zero_share,
        }


def _fit_member(
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
