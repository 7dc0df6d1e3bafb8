"""What a sweep came to: a table of its points, the best at each cost, and how much of that is selection."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from quantseq.config import Places, RunConfig
from quantseq.market.bars import Floats, Panel
from quantseq.pipeline.sweeps.grid import label, policy_label
from quantseq.reporting.sections.tradable import break_even
from quantseq.reporting.words import SPACE
from quantseq.trading import ledger
from quantseq.trading.backtest import break_even_bps, buy_and_hold
from quantseq.trading.chance.overfitting import overfitting, spa
from quantseq.trading.luck import Verdict, dsr_curve, metric_intervals, psr, verdict
from quantseq.trading.performance import METRICS, summarise
from quantseq.trading.policy import changed
from quantseq.trading.trials import Scored

SHOWN = 10
"""Points that are printed."""

FIGURES = ("sharpe", "cagr", "volatility", "max_drawdown")


@dataclass(frozen=True, eq=False)
class Point:
    """One scored point.

    Attributes
    ----------
    config : RunConfig
    scored : Scored
    fast : bool
        Whether it was scored in returns space.
    file : str
        Where its net returns lie, beside the ledger.
    """

    config: RunConfig
    scored: Scored
    fast: bool
    file: str

    @property
    def cost_bps(self) -> float:
        """Its cost level: what every order pays in proportion to its notional."""
        return self.config.costs.one_way_bps

    @property
    def sharpe(self) -> float:
        """Annualised, after costs; NaN where nothing moved."""
        return METRICS["sharpe"](self.scored.net, periods=self.config.costs.year)


def by_sharpe(point: Point) -> float:
    """What points are ordered by; those that never moved come last."""
    return point.sharpe if math.isfinite(point.sharpe) else -math.inf


def judge_points(
    panel: Panel,
    moments: Mapping[int, pd.DataFrame],
    points: Sequence[Point],
    config: RunConfig,
    places: Places,
) -> tuple[dict[str, Any], RunConfig]:
    """Compare the points of a sweep with buy-and-hold, and judge the best one at the sweep's cost.

    Costs are a fact of the market and no choice: the best point is chosen among those that pay the same.
    The sweep's cost is the configuration's where it was swept, else the highest that was.

    Parameters
    ----------
    panel : Panel
    moments : mapping
        By horizon, as they were scored on.
    points : sequence of Point
        All over the same sessions, and all in the ledger.
    config : RunConfig
        What the sweep did not vary.
    places : Places

    Returns
    -------
    result : dict
        As it stands in ``result.json``.
    best : RunConfig
    """
    symbols = list(dict.fromkeys(str(name) for one in moments.values() for name in one["symbol"]))
    sessions = points[0].scored.sessions
    assert all((one.scored.sessions == sessions).all() for one in points)
    levels: dict[float, list[Point]] = {}
    for point in sorted(points, key=by_sharpe, reverse=True):
        levels.setdefault(point.cost_bps, []).append(point)
    held = {
        bps: buy_and_hold(
            panel, symbols, sessions[0], sessions[-1], costs=level[0].config.costs, fill=config.fill
        ).returns_net
        for bps, level in levels.items()
    }
    wanted = config.costs.one_way_bps
    cost = wanted if wanted in levels else max(levels)
    best = _best(levels[cost])
    record = ledger.read(places.ledger)
    fault = record.verify(ledger.kept_heads(places.reports))
    periods, seed, net = config.costs.year, config.seed, best.scored.net
    judged = verdict(
        net,
        held[cost],
        seed=seed,
        n_trials=max(1, record.n_trials()),
        trial_sharpes=record.trial_sharpes(),
        ledger_fault=fault,
        cost_bps=cost,
        periods=periods,
    )
    by_cost = [_level(bps, levels[bps], held[bps], seed, periods) for bps in sorted(levels)]
    here = next(one for one in by_cost if one["cost_bps"] == cost)
    intervals = metric_intervals(net, seed=seed, periods=periods)
    result: dict[str, Any] = {
        "verdict": {
            **asdict(judged),
            "interval": list(judged.interval),
            "psr": psr(net),
            "dsr_curve": dsr_curve(net, n_trials=judged.n_trials, spread=judged.trial_sd),
            "spa_p": here["spa_p"],
            "ledger": fault or "intact",
            "ledger_head": record.head,
        },
        "sweep": {
            "sentence": _sentence(best, judged, here, len(points)),
            "best": label(best.config),
            "cost_bps": cost,
            "pbo": here["pbo"],
            "spa_p": spa(
                np.column_stack([one.scored.net for level in levels.values() for one in level]),
                np.column_stack([held[bps] for bps, level in levels.items() for _ in level]),
                seed=seed,
            ),
            "by_cost": by_cost,
            "points": [
                _row(one, held[bps], periods) for bps in sorted(levels) for one in levels[bps]
            ],
        },
        "metrics": {
            "strategy": dict(summarise(net, benchmark=held[cost], periods=periods)),
            "buy_and_hold": dict(summarise(held[cost], periods=periods)),
        },
        "intervals": {name: list(ends) for name, ends in intervals.items()},
        "break_even_bps": _break_even(panel, moments, best.config),
        "notes": [],
    }
    return result, best.config


def _best(level: Sequence[Point]) -> Point:
    """The first of those scored by the account, in the order of Sharpe ratios."""
    return next((one for one in level if not one.fast), level[0])


def _level(
    bps: float, level: Sequence[Point], held: Floats, seed: int, periods: int
) -> dict[str, Any]:
    """Points that pay the same: their best, and the two tests over all of them."""
    returns, best = np.column_stack([one.scored.net for one in level]), _best(level)
    found = overfitting(returns)
    return {
        "cost_bps": bps,
        "points": len(level),
        "best": label(best.config),
        "sharpe": best.sharpe,
        "rival_sharpe": METRICS["sharpe"](held, periods=periods),
        "spa_p": spa(returns, held, seed=seed),
        "pbo": found.pbo,
        "pbo_loss": found.loss,
        "configurations": found.configurations,
        "halves": found.halves,
    }


def _row(point: Point, held: Floats, periods: int) -> dict[str, Any]:
    config, net = point.config, point.scored.net
    figures = {name: METRICS[name](net, periods=periods) for name in FIGURES}
    return {
        "policy": config.policy.name,
        "parameters": dict(config.policy.parameters),
        "label": policy_label(config),
        "cost_bps": point.cost_bps,
        "horizon": config.forecaster.horizon,
        "engine": "returns space" if point.fast else "account",
        **figures,
        "sharpe_difference": figures["sharpe"] - METRICS["sharpe"](held, periods=periods),
        "psr": psr(net),
        "turnover": float(point.scored.turnover.mean()) * periods,
        "returns_file": point.file,
        "returns_sha256": ledger.returns_hash(net),
    }


def _break_even(
    panel: Panel, moments: Mapping[int, pd.DataFrame], config: RunConfig
) -> float | None:
    weights = config.trial.decide(moments[config.forecaster.horizon])
    return break_even_bps(
        panel, weights, costs=config.costs, fill=config.fill, trade=changed(weights)
    )


def _sentence(best: Point, judged: Verdict, here: Mapping[str, Any], count: int) -> str:
    """What the choice is worth, in words."""
    chosen = (
        f"Best of {here['points']} points at {best.cost_bps:g} bps ({count} in all): "
        f"{policy_label(best.config)}, horizon {best.config.forecaster.horizon}, Sharpe "
        + f"{judged.sharpe:.2f}.".replace("-", "−")
    )
    if math.isfinite(here["pbo"]):
        verb = "is a coin toss or worse" if here["pbo"] >= 0.5 else "is better than a coin toss"
        chosen += (
            f" Choosing by the past {verb}: what was best on one half of the sessions was no better than "
            f"the median on the other in {here['pbo']:.0%} of {here['halves']:,} halves (PBO)."
        )
    if math.isfinite(here["spa_p"]):
        found = "beats" if here["spa_p"] < 0.05 else "does not beat"
        chosen += (
            f" The best of them {found} buy-and-hold by more than so many tries explain "
            f"(SPA p = {here['spa_p']:.3f})."
        )
    return chosen


def describe(result: Mapping[str, Any]) -> tuple[list[dict[str, str]], list[str]]:
    """The best points at the sweep's cost as a table, and what each cost level came to in lines."""
    found, verdict = result["sweep"], result["verdict"]
    rows = [one for one in found["points"] if one["cost_bps"] == found["cost_bps"]][:SHOWN]
    table = [
        {
            f"at {found['cost_bps']:g} bps": one["label"],
            "horizon": str(one["horizon"]),
            "Sharpe": _ratio(one["sharpe"]),
            "to buy-and-hold": _ratio(one["sharpe_difference"]),
            "CAGR": _share(one["cagr"]),
            "max drawdown": _share(one["max_drawdown"]),
            "turnover a year": f"{one['turnover']:.1f}",
        }
        for one in rows
    ]
    lines = [
        f"{one['cost_bps']:g} bps: best of {one['points']} is {one['best']}, Sharpe {_ratio(one['sharpe'])} "
        f"against {_ratio(one['rival_sharpe'])}; SPA p {_ratio(one['spa_p'], 3, '')}, PBO "
        f"{_share(one['pbo'], '')}."
        for one in found["by_cost"]
    ]
    even = break_even(result, [one["turnover"] for one in rows]).replace(SPACE, " ")
    lines += [
        f"Break-even cost of the best: {even}. Deflated Sharpe {_share(verdict['dsr'], '')} after "
        f"{verdict['n_trials']} trials; ledger {verdict['ledger']}.",
    ]
    return table, lines


def _ratio(value: float | None, digits: int = 2, plus: str = "+") -> str:
    if value is None or not math.isfinite(value):
        return "—"
    return f"{value:{plus}.{digits}f}".replace("-", "−")


def _share(value: float | None, plus: str = "+") -> str:
    if value is None or not math.isfinite(value):
        return "—"
    return f"{value:{plus}.1%}".replace("-", "−")
