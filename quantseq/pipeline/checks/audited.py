"""A run that can be asked again: its fitted models, its policy and its account, as an audit needs them.

Owns `Audited`, a `trading.audit.Line`: what the run made for a date, and what it makes of other prices
for the same date. Knows no check.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.config import RunConfig
from quantseq.evaluation.walkforward import Evaluation
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.forecasts import Forecasts, with_tokens
from quantseq.forecasting.rows import CONTEXT
from quantseq.market.bars import Dates, Panel
from quantseq.trading.audit import Trace, cut_points
from quantseq.trading.backtest import Fill
from quantseq.trading.backtest import backtest as run_backtest
from quantseq.trading.broker.account import BacktestResult
from quantseq.trading.broker.costs import Costs
from quantseq.trading.decisions.holding import held_moments
from quantseq.trading.policy import changed
from quantseq.trading.rivals import DRAWS

OURS = "seq2seq"


@dataclass(frozen=True)
class Depth:
    """How much an audit looks at.

    Attributes
    ----------
    name : str
    cuts : dates at which the future is cut and rewritten
    window : sessions up to each of them that are forecast again
    draws : random entries, and deals of the forecasts to other dates
    worlds : simulated and permuted price histories, of each kind
    """

    name: str
    cuts: int
    window: int
    draws: int
    worlds: int

    @property
    def steps(self) -> int:
        """What a progress bar counts: cuts of two checks, four other checks, families of placebos."""
        return 2 * self.cuts + 4 + 2 + 2 * self.worlds


SHORT = Depth("short", cuts=2, window=2, draws=DRAWS, worlds=0)
"""Inside every backtest."""

FULL = Depth("full", cuts=12, window=20, draws=200, worlds=5)
"""In `quantseq audit`."""


@dataclass(frozen=True)
class Trader:
    """A `trading.audit.Trade`: the account of a run."""

    costs: Costs
    fill: Fill

    def __call__(
        self,
        panel: Panel,
        weights: pd.DataFrame,
        *,
        start: Any = None,
        trade: pd.DataFrame | None = None,
    ) -> BacktestResult:
        """Trade weights where they change, or where `trade` says."""
        mask = changed(weights) if trade is None else trade
        return run_backtest(
            panel, weights, costs=self.costs, fill=self.fill, start=start, trade=mask
        )


@dataclass(frozen=True, eq=False)
class Audited:
    """A run that can be asked again: a `trading.audit.Line`.

    Parameters
    ----------
    panel : Panel
    evaluation : Evaluation
        With its models.
    weights : DataFrame
        What was decided.
    strategy, benchmark : BacktestResult
        What it earned, and buy-and-hold over the same sessions.
    config : RunConfig
    depth : Depth
    """

    panel: Panel
    evaluation: Evaluation
    weights: pd.DataFrame
    strategy: BacktestResult
    benchmark: BacktestResult
    config: RunConfig
    depth: Depth

    @cached_property
    def forecasts(self) -> Forecasts:
        """What the run forecast."""
        return self.evaluation.forecasts[OURS]

    @cached_property
    def moments(self) -> pd.DataFrame:
        """What its policy read."""
        return held_moments(self.forecasts, self.config.fill)

    @cached_property
    def decided(self) -> pd.DataFrame:
        """The weights as a stage: rows by (date, symbol), without positions of 0."""
        return _positions(self.weights)

    @property
    def trader(self) -> Trader:
        """Its account."""
        return Trader(self.config.costs, self.config.fill)

    @cached_property
    def cuts(self) -> Dates:
        """Decisions that are looked at: those that traded, where a move by one session shows.

        All decisions may be chosen where too few traded.
        """
        moved = changed(self.weights).to_numpy()[1:].any(axis=1)
        days = pd.DatetimeIndex(self.weights.index).to_numpy().astype("datetime64[D]")
        trades = days[1:][moved]
        enough = len(trades) > self.depth.cuts
        return cut_points(trades if enough else days, self.depth.cuts)

    def model(self, number: int) -> Seq2SeqForecaster:
        """The network of the fold at place `number`."""
        model = self.evaluation.models[number][OURS]
        assert isinstance(model, Seq2SeqForecaster)
        return model

    def days(self, number: int, cut: Any = None) -> Dates:
        """Decision dates of a fold, up to `cut`."""
        days = np.unique(self.forecasts.cutoffs[self.evaluation.fold == number])
        return days if cut is None else days[days <= cut]

    def fold_at(self, cut: np.datetime64) -> int:
        """Place of the fold that `cut` is tested in."""
        starts = np.array([fold.test_start for fold in self.evaluation.folds])
        return int(np.searchsorted(starts, cut, "right")) - 1

    def known(self, cut: np.datetime64) -> Trace:
        """What the run itself made for `cut` and the dates just before it."""
        number = self.fold_at(cut)
        days = self.days(number, cut)[-self.depth.window :]
        rows = np.isin(self.forecasts.cutoffs, days)
        moments = self.moments[rows]
        return self._trace(self.panel, number, days, self.forecasts[rows], moments, self.decided)

    def __call__(self, panel: Panel, cut: np.datetime64) -> Trace:
        """The same from `panel`: forecast again, decide again."""
        number = self.fold_at(cut)
        days = self.days(number, cut)[-self.depth.window :]
        found = self.predict(number, panel, days, num_paths=self.config.num_paths)
        moments = held_moments(found, self.config.fill)
        earlier = self.moments[self.moments["cutoff"] < days[0]]
        weights = self.config.trial.make_policy().weights(pd.concat([earlier, moments]))
        return self._trace(panel, number, days, found, moments, _positions(weights))

    def predict(
        self, number: int, panel: Panel, days: Dates, *, num_paths: int = 0, horizon: int = 0
    ) -> Forecasts:
        """Forecast with the network of a fold as the run did; `horizon` 0 is the run's."""
        return self.model(number).predict(
            panel,
            days,
            horizon=horizon or self.forecasts.horizon,
            num_paths=num_paths,
            seed=self.config.seed,
        )

    def _trace(
        self,
        panel: Panel,
        number: int,
        days: Dates,
        found: Forecasts,
        moments: pd.DataFrame,
        weights: pd.DataFrame,
    ) -> Trace:
        table, sessions = self.model(number).task.table(panel), self.panel.sessions
        read = sessions[sessions <= days[-1]][-CONTEXT:]
        rows = np.flatnonzero(np.isin(table.sessions, read) & table.usable)
        tokens = np.hstack([table.source[rows], table.condition[rows]])
        density, count = with_tokens(found.density), len(found)
        told = [density.probs.reshape(count, -1), found.overnight_share[:, None]]
        told += [] if found.paths is None else [found.paths.reshape(count, -1)]
        key = (found.cutoffs, found.symbols)
        return {
            "scale": _stage(*key, np.hstack([density.loc, density.scale, density.nu])),
            "tokens": _stage(table.sessions[rows], table.symbols[rows], tokens),
            "forecasts": _stage(*key, np.hstack(told)),
            "moments": _stage(*key, moments.drop(columns=["symbol", "cutoff"]).to_numpy()),
            "weights": weights,
        }


def _stage(dates: Dates, symbols: Any, values: NDArray[Any]) -> pd.DataFrame:
    index = [pd.DatetimeIndex(dates.astype("datetime64[s]")), symbols]
    return pd.DataFrame(values, index=pd.MultiIndex.from_arrays(index))


def _positions(weights: pd.DataFrame) -> pd.DataFrame:
    row, column = np.nonzero(weights.to_numpy())
    dates = pd.DatetimeIndex(weights.index).to_numpy()[row]
    return _stage(dates, weights.columns.to_numpy()[column], weights.to_numpy()[row, column, None])
