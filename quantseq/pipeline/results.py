"""What a backtest came to: scores, tests, verdict and tables, gathered into a `Run`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from quantseq.config import Places, RunConfig
from quantseq.evaluation.significance import diebold_mariano
from quantseq.evaluation.walkforward import Evaluation, Fold, cutoffs_of
from quantseq.files import fingerprint
from quantseq.forecasting.rows import AT_REST, rows_at_rest
from quantseq.market.bars import Panel
from quantseq.pipeline.health import Findings, as_rows
from quantseq.reporting.run import Run
from quantseq.reporting.words import plural
from quantseq.seq2seq.gate import GateRecord
from quantseq.trading import ledger
from quantseq.trading.attribution import attribute
from quantseq.trading.broker.account import BacktestResult
from quantseq.trading.chance.overfitting import spa
from quantseq.trading.decisions.holding import GapLoss
from quantseq.trading.luck import (
    Verdict,
    dsr_curve,
    metric_intervals,
    psr,
    sharpe_per_session,
    verdict,
)
from quantseq.trading.measures import Floats
from quantseq.trading.performance import summarise
from quantseq.trading.rivals import Contest
from quantseq.trading.trips import round_trips

OURS = "seq2seq"
REFERENCE = "har-pooled-t"

NOT_TRIED = ("buy_and_hold", "random_entry")
"""Rivals that the test of superior predictive ability leaves out: its benchmark, and a placebo."""


@dataclass(frozen=True, eq=False)
class Traded:
    """Decisions, and what they and their rivals earned over the same sessions.

    `policies` holds the net returns of the same forecasts under every other policy.
    """

    weights: pd.DataFrame
    strategy: BacktestResult
    benchmark: BacktestResult
    break_even: float | None
    rivals: Mapping[str, Contest]
    gap: GapLoss
    policies: Mapping[str, Floats]

    def tried(self) -> dict[str, Floats]:
        """Net returns of everything that was tried, by the column of the equity table."""
        rules = {f"rival:{k}": v.result.returns_net for k, v in self.rivals.items()}
        policies = {f"policy:{name}": net for name, net in self.policies.items()}
        left = {f"rival:{name}" for name in NOT_TRIED}
        tried = {"strategy_net": self.strategy.returns_net, **policies, **rules}
        return {name: net for name, net in tried.items() if name not in left}


def judge(
    panel: Panel,
    evaluation: Evaluation,
    traded: Traded,
    manifest: dict[str, Any],
    gate: GateRecord,
    config: RunConfig,
    places: Places,
    findings: Findings,
    audit: Mapping[str, Any],
) -> tuple[Run, Verdict]:
    """Score the trial, write it into the ledger, and gather everything for the run folder."""
    net, held = traded.strategy.returns_net, traded.benchmark.returns_net
    sharpe = sharpe_per_session(net)
    ledger.append(
        places.ledger,
        {
            "run_id": manifest["run_id"],
            "date": manifest["created"],
            "command": manifest["command"],
            "config_sha256": fingerprint(config.to_mapping()),
            "data_sha256": panel.sha256,
            "start": manifest["test_start"],
            "end": manifest["test_end"],
            "sessions": len(net),
            "sharpe": sharpe,
            "returns_sha256": ledger.returns_hash(net),
            "returns_file": f"{manifest['run_id']}/equity.parquet#strategy_net",
            "label": manifest["title"],
        },
    )
    record = ledger.read(places.ledger)
    fault = record.verify(ledger.kept_heads(places.reports))
    periods, tried = config.costs.year, traded.tried()
    judged = verdict(
        net,
        held,
        seed=config.seed,
        n_trials=max(1, record.n_trials()),
        trial_sharpes=record.trial_sharpes(),
        audit_passed=audit["passed"],
        ledger_fault=fault,
        cost_bps=config.costs.one_way_bps,
        periods=periods,
    )
    intervals = metric_intervals(net, seed=config.seed, periods=periods)
    result = {
        "verdict": {
            **asdict(judged),
            "interval": list(judged.interval),
            "psr": psr(net),
            "dsr_curve": dsr_curve(net, n_trials=judged.n_trials, spread=judged.trial_sd),
            "spa_p": spa(np.column_stack(list(tried.values())), held, seed=config.seed),
            "spa_over": list(tried),
            "ledger": fault or "intact",
            "ledger_head": record.head,
        },
        "metrics": {
            "strategy": dict(summarise(net, benchmark=held, periods=periods)),
            "buy_and_hold": dict(summarise(held, periods=periods)),
        },
        "intervals": {name: list(interval) for name, interval in intervals.items()},
        "folds": [
            fold.describe()
            | {
                "n_train": details.get("num_windows"),
                "n_test": int((evaluation.fold == number).sum()),
                "survived": details.get("shrinkage", {}).get("weight"),
            }
            for number, (fold, details) in enumerate(
                zip(evaluation.folds, evaluation.details, strict=True)
            )
        ],
        "forecast": forecast_quality(evaluation),
        "gate": asdict(gate),
        "audit": dict(audit),
        "break_even_bps": traded.break_even,
        "data_findings": as_rows(findings),
        "rivals": {name: _rival(one, held, periods) for name, one in traded.rivals.items()},
        "attribution": attribute(traded.strategy).reset_index().to_dict("records"),
        "trades": _trades(traded.strategy),
        "overnight_gap": asdict(traded.gap),
        "notes": _notes(panel, traded, evaluation),
    }
    run = Run(
        manifest,
        result,
        forecast_frame(evaluation),
        long_weights(traded.weights),
        _equity_frame(panel, traded),
    )
    return run, judged


def _rival(contest: Contest, held: Any, periods: int) -> dict[str, Any]:
    result = contest.result
    return {
        **asdict(contest.rival),
        "metrics": dict(summarise(result.returns_net, benchmark=held, periods=periods)),
        "turnover": float(result.turnover.mean()) * periods,
        "costs": float(result.costs.mean()) * periods,
        "sharpe_range": None if contest.sharpe_range is None else list(contest.sharpe_range),
    }


def _trades(strategy: BacktestResult) -> dict[str, list[Any]]:
    """Round trips by column, dates in ISO."""
    table = round_trips(strategy)
    for name in ("entered", "left"):
        table[name] = table[name].dt.strftime("%Y-%m-%d")
    return {
        str(name): [None if value != value else value for value in column.tolist()]
        for name, column in table.items()
    }


def forecast_quality(evaluation: Evaluation) -> dict[str, Any]:
    """Scores of every model, tests of ours against each rival, and the skill over the reference."""
    scores, ours = evaluation.scores, evaluation.scores[OURS]
    cutoffs = evaluation.forecasts[OURS].cutoffs
    horizon = evaluation.forecasts[OURS].horizon
    tests = [
        {
            "model": OURS,
            "rival": rival,
            "score": name,
            "step": step,
            **asdict(
                diebold_mariano(
                    getattr(ours, name)[:, step - 1],
                    getattr(scores[rival], name)[:, step - 1],
                    cutoffs,
                    step=step,
                )
            ),
        }
        for rival in scores
        if rival != OURS
        for name in ("log_score", "crps")
        for step in range(1, horizon + 1)
    ]
    return {
        "models": {name: one.summary() for name, one in scores.items()},
        "by_step": {
            name: [one.summary(step=step) for step in range(1, horizon + 1)]
            for name, one in scores.items()
        },
        "skill_nats": float(np.nanmean(scores[REFERENCE].log_score[:, 0] - ours.log_score[:, 0])),
        "tests": tests,
    }


def forecast_frame(evaluation: Evaluation) -> pd.DataFrame:
    """Our forecasts as a long table beside their outcomes, their scores, and those of the rivals."""
    forecasts, scores = evaluation.forecasts[OURS], evaluation.scores[OURS]
    frame = forecasts.to_frame()
    frame["fold"] = np.repeat(evaluation.fold, forecasts.horizon)
    frame["realised"] = evaluation.realised.ravel()
    for name in ("pit", "log_score", "crps"):
        frame[name] = getattr(scores, name).ravel()
    for rival, found in evaluation.scores.items():
        if rival != OURS:
            frame[f"log_score:{rival}"] = found.log_score.ravel()
            frame[f"crps:{rival}"] = found.crps.ravel()
            frame[f"pit:{rival}"] = found.pit.ravel()
    return frame


def long_weights(weights: pd.DataFrame) -> pd.DataFrame:
    """Weights as the run folder keeps them: one row per decision date and symbol."""
    return (
        weights.rename_axis("decision")
        .reset_index()
        .melt("decision", var_name="symbol", value_name="weight")
    )


def _equity_frame(panel: Panel, traded: Traded) -> pd.DataFrame:
    frame = traded.strategy.to_frame()
    sessions = traded.strategy.sessions
    place = np.searchsorted(panel.sessions, sessions)
    columns = {
        "session": sessions.astype("datetime64[s]"),
        "strategy_net": frame["returns_net"].to_numpy(),
        "strategy_gross": frame["returns_gross"].to_numpy(),
        "buy_and_hold": traded.benchmark.returns_net,
        "cost": frame["cost"].to_numpy(),
        "turnover": frame["turnover"].to_numpy(),
        "gross_exposure": frame["gross_exposure"].to_numpy(),
    }
    closes = panel.matrix("adj_close")[place]
    columns |= {f"rival:{name}": one.result.returns_net for name, one in traded.rivals.items()}
    columns |= {f"policy:{name}": net for name, net in traded.policies.items()}
    columns |= {f"close:{s}": closes[:, i] for i, s in enumerate(panel.symbols)}
    return pd.DataFrame(columns)


def notes_on_rest(panel: Panel, folds: Sequence[Fold]) -> dict[str, str]:
    """One sentence per symbol whose price stood still at cutoffs of the tests: no model forecast those."""
    days = np.unique(np.concatenate([cutoffs_of(panel, fold) for fold in folds]))
    return {
        symbol: f"{symbol}: its price stood still, with {AT_REST}, at {plural(len(rows), 'cutoff')} "
        f"from {rows[0]} to {rows[-1]}; no model forecast it then."
        for symbol, rows in rows_at_rest(panel, days).items()
    }


def _notes(panel: Panel, traded: Traded, evaluation: Evaluation) -> list[str]:
    strategy = traded.strategy
    forecast = set(evaluation.forecasts[OURS].symbols)
    resting = notes_on_rest(panel, evaluation.folds)
    notes = [
        f"{symbol}: too few sessions ({len(bars):,}), or none in the tests; it was neither "
        "forecast nor traded, nor held by the benchmark."
        for symbol, bars in panel.items()
        if symbol not in forecast and symbol not in resting
    ]
    notes += resting.values()
    counted = (
        (strategy.delayed_orders, "order", "met no bar and waited for the symbol's next one"),
        (
            strategy.dropped_orders,
            "order",
            "found no fill, or none in full, for want of a bar, cash or volume",
        ),
        (strategy.completed_orders, "rest", "of orders found cash or volume on a later session"),
        (strategy.capped_orders, "time", "the volume of a session cut an order or its rest"),
        (
            strategy.liquidated,
            "position",
            "ended at its last price after 20 sessions without a bar",
        ),
        (strategy.carried, "time", "a position was marked at an old price for want of a bar"),
        (strategy.scaled_sessions, "session", "had less cash than buys wanted; buys were scaled"),
    )
    notes += [f"{plural(count, noun)} {what}." for count, noun, what in counted if count]
    if np.isfinite(traded.gap.of_forecast):
        notes.append(
            f"{traded.gap.of_forecast:.0%} of the move that was forecast for the next session lies "
            "before the fill and was lost to it."
        )
    if strategy.ruined is not None:
        notes.append(f"The account was ruined on {strategy.ruined}; trading stopped there.")
    return notes
