"""One trial: a policy with its parameters, on given forecasts, at given costs, turned into net returns.

Owns what a trial is, so that a backtest and a sweep score the same one to the same bits. Knows nothing
of models, of the ledger, or of how many trials there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from quantseq.market.bars import Dates, Floats, Panel
from quantseq.trading.backtest import Fill, backtest
from quantseq.trading.broker.costs import MOST_BPS, Costs
from quantseq.trading.policy import POLICIES, Policy, changed, make_policy
from quantseq.trading.returns_space import ReturnsSpace, in_returns_space


@dataclass(frozen=True)
class Trial:
    """What is tried.

    Parameters
    ----------
    policy : str
        A key of `POLICIES`.
    parameters : mapping
        Its parameters; ``cost_bps`` and ``periods`` are those of `costs` unless given here.
    costs : Costs
    fill : {"open", "close"}
    """

    policy: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    costs: Costs = Costs()
    fill: Fill = "open"

    def decide(self, moments: pd.DataFrame) -> pd.DataFrame:
        """Weights by decision date and symbol; see `Policy.weights`.

        Raises
        ------
        ConfigError
            If the policy or a parameter is unknown or breaks its rule.
        """
        return self.make_policy().weights(moments)

    def make_policy(self) -> Policy:
        """The policy, told the costs and the sessions per year unless its parameters say otherwise.

        Raises
        ------
        ConfigError
            As in `decide`.
        """
        one_way = min(self.costs.one_way_bps, MOST_BPS)
        told: dict[str, Any] = {"cost_bps": one_way}
        if hasattr(POLICIES.get(self.policy), "periods"):
            told["periods"] = self.costs.year
        return make_policy(self.policy, **{**told, **self.parameters})


@dataclass(frozen=True, eq=False)
class Scored:
    """What a trial earned: D sessions.

    Attributes
    ----------
    sessions : (D,) datetime64[D]
    net : (D,) float64
        Net simple returns per session.
    turnover : (D,) float64
        Traded notional over equity.
    """

    sessions: Dates
    net: Floats
    turnover: Floats


def score(panel: Panel, moments: pd.DataFrame, trial: Trial) -> Scored:
    """Score one trial by the account of `backtest`.

    Parameters
    ----------
    panel : Panel
    moments : DataFrame
        As from `holding.held_moments`, for the same fill.
    trial : Trial

    Raises
    ------
    ConfigError
        As in `Trial.decide`.
    """
    weights = trial.decide(moments)
    result = backtest(panel, weights, costs=trial.costs, fill=trial.fill, trade=changed(weights))
    return Scored(result.sessions, result.returns_net, result.turnover)


def alternatives(trial: Trial) -> dict[str, Trial]:
    """The same forecasts under every other policy, each with its own defaults, at the same costs.

    What the trial says about short positions holds for them too; nothing else is carried over.
    """
    shared = {k: v for k, v in trial.parameters.items() if k == "long_only"}
    return {
        name: Trial(name, shared, trial.costs, trial.fill)
        for name in POLICIES
        if name != trial.policy
    }


def score_all(
    panel: Panel,
    moments: Mapping[int, pd.DataFrame],
    trials: Sequence[tuple[int, Trial]],
    *,
    fast: bool = False,
) -> list[Scored]:
    """Score several trials, each on one of several tables of moments: what a process is handed.

    Parameters
    ----------
    panel : Panel
    moments : mapping
        Tables of moments by any key, such as the horizon.
    trials : sequence of (key, Trial)
    fast : bool
        In returns space, for grids of many points: costs at first order, positions that are not traded
        restored for free, missing bars as unchanged prices. A book is built once and priced at every
        cost that leaves its weights as they are. Else by the account, to the bit as `score`.

    Raises
    ------
    ConfigError
        As in `Trial.decide`, and if `fast` cannot charge the costs.
    """
    if not fast:
        return [score(panel, moments[key], trial) for key, trial in trials]
    books: dict[Any, ReturnsSpace] = {}
    found = []
    for key, trial in trials:
        weights = trial.decide(moments[key])
        name = (key, trial.fill, trial.costs.max_gross, weights.to_numpy().tobytes())
        if name not in books:
            books[name] = in_returns_space(
                panel,
                weights,
                fill=trial.fill,
                carried=True,
                max_gross=trial.costs.max_gross,
                trade=changed(weights),
            )
        found.append(_priced(books[name], trial.costs))
    return found


def _priced(book: ReturnsSpace, costs: Costs) -> Scored:
    net, turnover = book.returns(costs), book.turnover
    gone = np.flatnonzero(net <= -1)  # as in the loop: a ruined account loses all, and ends
    if len(gone):
        after = np.arange(len(net)) > gone[0]
        net, turnover = np.where(after, 0.0, net), np.where(after, 0.0, turnover)
        net[gone[0]] = -1.0
    return Scored(book.sessions, net, turnover)
