"""The forecaster of the house: reference, tokens, an ensemble of small networks, calibration.

Owns how the parts are fitted inside one training and validation block, and how token probabilities
and sampled tokens become `Forecasts`. Knows nothing of folds, tests or trades.

In one sentence: encode the past as tokens, let each network say how likely each token is next,
average, shrink towards the reference and recalibrate by what validation allows, decode through the
reference.
"""

from collections.abc import Callable, Container
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.forecasting.calibration import (
    Recalibration,
    Shrinkage,
    choose_recalibration,
    choose_shrinkage,
    move_draws,
)
from quantseq.forecasting.density import TokenDensity
from quantseq.forecasting.forecasts import Forecasts, keyed_uniforms, with_zeros
from quantseq.forecasting.networks import ForecasterConfig, fit_networks
from quantseq.forecasting.rows import rows_to_forecast
from quantseq.forecasting.windows import PriceTask, WindowTable
from quantseq.market.bars import Dates, Floats, Panel
from quantseq.seq2seq.checkpoint import TrainingHistory
from quantseq.seq2seq.decoding import sample
from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.tokens import FIRST_ID
from quantseq.seq2seq.training import StepReport

MARGINAL_PATHS = 96
"""Paths over which the probabilities of later steps are averaged, at least."""

CHOOSING_ROWS, CHOOSING_PATHS = 12_000, 32
"""Validation windows at most, and paths each, from which the shares of the network are chosen."""

PREDICT_CHUNK = 4096
"""Windows gathered at once when predicting; decoding pads its own chunks."""

PREDICT_DRAWS = 4_000_000
"""Draws held at once when predicting."""


MAX_SEED = 2**48
"""Members' seeds are a thousand times as large and must fit the generator."""


@dataclass(frozen=True, eq=False)
class Seq2SeqForecaster:
    """A fitted forecaster."""

    config: ForecasterConfig
    task: PriceTask  # reference, tokenizer and bins, fitted on the training block
    networks: tuple[Seq2Seq, ...]
    shrinkage: Shrinkage  # how much of the network validation let through
    recalibration: Recalibration  # what validation corrected after that
    validate_from: np.datetime64
    trained_until: np.datetime64  # newest session that any fitted part has seen, in validation too
    symbols: tuple[str, ...]  # what it was trained on
    data_hashes: dict[str, str]  # SHA-256 of each one's bars
    num_windows: int  # in the training block
    histories: tuple[TrainingHistory, ...] = ()  # one per member
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
        on_network: Callable[[int], None] | None = None,
    ) -> Self:
        """Fit everything on one panel; whatever it holds is seen, nothing else can be.

        The training block ends at `train_until`. The validation block starts at `validate_from`
        and ends with the panel: its first half stops the training early, its second half, after a
        purge of one horizon, decides how much of the network to keep and what to correct.

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
        on_network : callable, optional
            Called with the member's number when it is trained.

        Raises
        ------
        ConfigError, NotEnoughDataError
            If the seed is outside its rule; if either block is too short for one window.
        """
        chosen = config or ForecasterConfig()
        if not 0 <= seed < MAX_SEED:
            raise ConfigError(f"The seed of a fit must be an int in [0, {MAX_SEED}). Got {seed}.")
        task = PriceTask.fit(
            panel.until(train_until),
            horizon=chosen.horizon,
            num_bins=chosen.num_bins,
            volatility=chosen.volatility,
        )
        chosen = replace(chosen, num_bins=task.tokenizer.num_bins)
        table = task.table(panel)
        training = table.rows_between(panel.sessions[0], train_until)
        stopping, choosing = table.halves(panel.sessions, validate_from, purge=chosen.horizon)
        if len(training) < chosen.batch_size or not len(stopping) or not len(choosing):
            raise NotEnoughDataError(
                f"The blocks give {len(training)} training, {len(stopping)} early-stopping and "
                f"{len(choosing)} shrinkage windows; at least {chosen.batch_size}, 1 and 1 are "
                "needed. Give a longer history, more symbols or a longer validation block."
            )
        networks, histories = fit_networks(
            chosen,
            table,
            training,
            stopping,
            seed=seed,
            jobs=jobs,
            checkpoint=checkpoint,
            on_step=on_step,
            on_network=on_network,
        )
        fitted = cls(
            chosen,
            task,
            networks,
            Shrinkage(1.0, 0.0),
            Recalibration(0.0, 0.0, 0.0),
            np.datetime64(validate_from, "D"),
            panel.sessions[-1],
            panel.symbols,
            {symbol: bars.sha256 for symbol, bars in panel.items()},
            len(training),
            histories,
        )
        choosing = choosing[:: -(-len(choosing) // CHOOSING_ROWS)]
        probs = fitted.token_probabilities(table, choosing, seed=seed)
        happened = table.targets[choosing].astype(np.intp) - FIRST_ID
        tilt = np.take_along_axis(probs, happened[..., None], axis=2)[..., 0] * chosen.num_bins
        cutoffs = table.sessions[choosing]
        fitted = replace(fitted, shrinkage=choose_shrinkage(tilt, cutoffs))
        pooled = fitted.pool(probs)[:, 0]
        tilted = choose_recalibration(pooled, happened[:, 0], cutoffs)
        return replace(fitted, recalibration=tilted)

    def pool(self, probs: Floats) -> Floats:
        """Mix the network's probabilities (R, H, V) with the reference's."""
        weight = self.shrinkage.weights(probs.shape[1])[:, None]
        return weight * probs + (1 - weight) / self.config.num_bins

    def token_probabilities(
        self, table: WindowTable, rows: NDArray[np.intp], *, seed: int = 0
    ) -> Floats:
        """Ensemble probabilities of each step's token, before shrinkage: (R, H, V)."""
        paths = CHOOSING_PATHS if self.config.horizon > 1 else 1
        shape = (max(paths, len(self.networks)), self.config.horizon)
        found = []
        for start in range(0, len(rows), PREDICT_CHUNK):
            part = rows[start : start + PREDICT_CHUNK]
            draws = keyed_uniforms(seed, table.symbols[part], table.sessions[part], shape)
            found.append(self._sample(table, part, draws)[1])
        return np.concatenate(found)

    def _sample(
        self, table: WindowTable, rows: NDArray[np.intp], draws: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], Floats]:
        """Sample N paths per window from draws (R, N, H), shared out among the members.

        Bins (R, N, H), and marginal probabilities (R, H, V): members averaged, steps after the first
        averaged over paths. Every member needs at least one path.
        """
        members = len(self.networks)
        bins = np.zeros(draws.shape, np.int64)
        probs = np.zeros((len(rows), draws.shape[2], self.config.num_bins))
        batch = table.batch(rows)
        for member, network in enumerate(self.networks):
            mine = slice(member, None, members)
            uniforms = np.ascontiguousarray(draws[:, mine].transpose(2, 0, 1))
            length, _, num_paths = uniforms.shape
            how: Any = {"num_paths": num_paths, "length": length, "marginals": True}
            found = sample(network, batch, uniforms=torch.from_numpy(uniforms), **how)
            bins[:, mine] = found.ids.numpy() - FIRST_ID
            assert found.marginals is not None
            probs += found.marginals.numpy()[..., FIRST_ID:].astype(np.float64) / members
        return bins, probs / probs.sum(axis=-1, keepdims=True)

    def predict(
        self,
        panel: Panel,
        cutoffs: Dates,
        *,
        horizon: int,
        num_paths: int = 0,
        seed: int = 0,
        symbols: Container[str] | None = None,
    ) -> Forecasts:
        """See `Forecaster.predict`; ConfigError if the horizon is longer than the fitted one.

        Only `symbols` are forecast, by default all of the panel. The market is made by those symbols of the panel that
        the model was trained on: leaving these out changes the forecasts of others, adding or asking for any does not.

        A share of the paths comes from the networks, the rest from the reference: as large a share as any step
        keeps of the networks. Steps that keep less move their draws, so that the paths are draws from the
        distributions that stand beside them. The rest takes its levels from the draws as they are, as every
        Student-t does: two models that agree then draw the same paths.
        """
        if not 1 <= horizon <= self.config.horizon:
            raise ConfigError(
                f"This model forecasts 1 to {self.config.horizon} steps; got a horizon of {horizon}. "
                "Train again with a longer horizon."
            )
        asked = panel if symbols is None else panel.select(s for s in panel if s in symbols)
        wanted = rows_to_forecast(asked, cutoffs)
        table = self.task.table(panel)
        starts = np.cumsum([0, *(len(bars) for bars in panel.values())])
        begin = dict(zip(panel, starts, strict=False))
        index = np.concatenate([places + begin[s] for s, places in wanted.items()])
        names, dates = table.symbols[index], table.sessions[index]
        weights, num_bins = self.shrinkage.weights(horizon), self.config.num_bins
        weight = float(weights.max())
        parts = ("loc", "scale", "nu", "zero", "half_tick")
        known = {part: getattr(table, part)[index, :horizon] for part in parts}
        from_network = round(weight * num_paths)
        sampled = max(from_network, len(self.networks), MARGINAL_PATHS if horizon > 1 else 1)
        uniform = np.full((1, 1, num_bins), 1 / num_bins)
        calibrated = self.recalibration.apply(uniform)
        probs = np.broadcast_to(calibrated, (len(index), horizon, num_bins)).copy()
        density = TokenDensity(probs=probs, **known)
        paths = np.empty((len(index), num_paths, horizon), np.float32)
        chunk = max(1, min(PREDICT_CHUNK, PREDICT_DRAWS // max(num_paths * horizon, 1)))
        for start in range(0, len(index), chunk):
            part = slice(start, start + chunk)
            shape = (2, max(num_paths, sampled), horizon)
            draws = keyed_uniforms(seed, names[part], dates[part], shape)
            scaled = draws[:, 0, :num_paths].astype(np.float64) * num_bins
            bins = np.floor(scaled).astype(np.int64)
            inside: NDArray[np.floating] = scaled - bins
            drawn_from = np.broadcast_to(uniform, probs[part].shape)
            if weight > 0:
                answers, found = self._sample(table, index[part], draws[:, 0, :sampled])
                bins[:, :from_network] = answers[:, :from_network]
                inside[:, :from_network] = draws[:, 1, :from_network]
                drawn_from = weight * found + (1 - weight) / num_bins
                probs[part] = self.recalibration.apply(self.pool(found))
            if self.recalibration.changes or (weights < weight).any():
                bins, inside = move_draws(bins, inside, drawn_from, probs[part])
            smooth = density[part].at_tokens(bins, inside)
            paths[part] = with_zeros(smooth, density[part], seed, names[part], dates[part])
        shares = np.array([self.task.reference.share_overnight(str(s)) for s in names])
        until, drawn = self.trained_until, paths if num_paths else None
        return Forecasts(self.name, names, dates, density, shares, until, seed, drawn)

    def describe(self) -> dict[str, Any]:
        """What was fitted, as JSON values."""
        return {
            **{
                name: asdict(getattr(self, name), dict_factory=_as_json)
                for name in ("config", "shrinkage", "recalibration")
            },
            "validate_from": str(self.validate_from),
            "trained_until": str(self.trained_until),
            "symbols": list(self.symbols),
            "data_hashes": self.data_hashes,
            "num_windows": self.num_windows,
            "tokenizer": self.task.tokenizer.fingerprint,
            "zero_share": self.task.tokenizer.zero_share,
        }


def _as_json(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in items}
