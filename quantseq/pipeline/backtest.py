"""`backtest`: walk-forward forecasts → weights → money → verdict → a run folder with its report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from quantseq.config import RunConfig, least_purge, on_calendar
from quantseq.evaluation.run import Evaluation
from quantseq.evaluation.walkforward import WalkForward
from quantseq.files import Places, ensure_writable
from quantseq.forecasting.baselines import EwmaStudent, HistoricalVolatility, ReferenceForecaster
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.market.bars import Floats, Panel
from quantseq.pipeline.audit import SHORT, Audited, audit_run, badge, describe_audit
from quantseq.pipeline.data import as_rows, refuse_errors, sample_panel
from quantseq.pipeline.evaluate import (
    RunOutcome,
    resumable,
    run_models,
    split_calendar,
    traded_models,
)
from quantseq.pipeline.results import (
    OURS,
    count_trials,
    figures_of_run,
    forecast_frame,
    long_weights,
    new_manifest,
    notes_on_symbols,
    trial_line,
)
from quantseq.pipeline.train import pass_gate
from quantseq.progress import SILENT, Progress
from quantseq.reporting.page import SPACE, number, plural
from quantseq.reporting.render import write_report
from quantseq.reporting.run import Run
from quantseq.reporting.sections import break_even
from quantseq.trading import ledger
from quantseq.trading.account import BacktestResult
from quantseq.trading.attribution import attribute, round_trips
from quantseq.trading.backtest import LAPSE, break_even_bps, simulate
from quantseq.trading.benchmarks import BenchmarkResult, run_benchmarks
from quantseq.trading.metrics import METRICS
from quantseq.trading.policies import changed, gap_loss, held_moments, other_policies

BACKTEST_BASELINES = (ReferenceForecaster.name, EwmaStudent.name, HistoricalVolatility.name)
"""What a backtest's forecasts are scored against; `evaluate` has more."""


@dataclass(frozen=True, eq=False)
class BacktestOutcome(RunOutcome):
    """What `backtest` returns: beside the run what the account held, that of the strategy and of buy-and-hold."""

    strategy: BacktestResult
    benchmark: BacktestResult

    @property
    def verdict(self) -> Mapping[str, Any]:
        """What may be claimed; see ``docs/json.md``."""
        return self.run.verdict

    def _repr_html_(self) -> str:
        """Shown by notebooks."""
        return self.run.card(str(self.report))


def backtest(
    panel: Panel,
    *,
    config: RunConfig = RunConfig(),
    model: Seq2SeqForecaster | None = None,
    places: Places = Places(),
    jobs: int = 1,
    allow_bad_data: bool = False,
    command: str = "",
    title: str = "",
    progress: Progress = SILENT,
) -> BacktestOutcome:
    """Forecast walk-forward, trade the forecasts, judge the result, and write a run folder.

    A trained `model` is scored after its ``trained_until`` instead of refitting per fold. The numbers are the same for
    any number of processes, `jobs`. With `allow_bad_data` prices are used although the health check found errors in
    them. `command` and `title` are for the manifest and the report.

    Raises
    ------
    BarsError, NotEnoughDataError
        If the health check finds errors in the prices and they are not allowed; if the history is too short.
    GateError, LeakageError, StorageError
        If the architecture has not mastered the copy task; if `model` has seen the test block; if the reports folder
        is not writable.
    """
    chosen = settled(config, panel, model, progress)
    ensure_writable(places.reports)
    ledger.check_ledger(places.ledger)
    found = refuse_errors(panel, places=places, allow_bad_data=allow_bad_data)
    folds = split_calendar(panel, chosen, model=model)
    gate = pass_gate(chosen.forecaster, places, seed=chosen.seed, progress=progress)
    models = traded_models(chosen, BACKTEST_BASELINES, model)
    how: dict[str, Any] = {"cache": places.cache, "jobs": jobs, "progress": progress}
    with resumable(f"Finished folds are kept in {places.cache}"):
        evaluation = run_models(
            panel, models, folds, chosen, title=f"forecast {len(folds)} folds", **how
        )
    traded = _trade(panel, evaluation, chosen)
    asked = Audited(panel, evaluation, traded.weights, chosen, SHORT)
    audit = audit_run(asked, draws=traded.benchmarks["random_entry"].draws)
    names = ", ".join(panel) if len(panel) <= 6 else f"{len(panel)} symbols"
    manifest = new_manifest(
        panel,
        chosen,
        traded.strategy.sessions,
        command=command,
        title=title or f"{OURS} with {chosen.policy.name} on {names}",
        reports=places.reports,
        kind="backtest",
        seeds={"run": chosen.seed},
        allow_bad_data=allow_bad_data,
        cost_bps=chosen.costs.one_way_bps,
        fill=chosen.fill,
        gate=gate.fingerprint,
        model=None if model is None else model.describe(),
        audit=badge(audit),
    )
    net, days = traded.strategy.returns_net, traded.strategy.sessions
    file, label = f"{manifest['run_id']}/equity.parquet#strategy_net", manifest["title"]
    told = {"run_id": manifest["run_id"], "date": manifest["created"], "command": command}
    line = trial_line(net, chosen, panel, days, returns_file=file, label=label, **told)
    ledger.append(places.ledger, line)
    stated = {
        "verdict": count_trials(places, len(net)),
        "folds": [
            {
                **fold.describe(),
                "n_train": details.get("num_windows"),
                "kept_weight": details.get("shrinkage", {}).get("weight"),
            }
            for fold, details in zip(folds, evaluation.details[OURS], strict=True)
        ],
        "gate": asdict(gate),
        "audit": audit,
        "break_even_bps": traded.break_even,
        "data_findings": as_rows(found),
        "benchmarks": {
            name: {**asdict(one.rule), "sharpe_range": one.sharpe_range and list(one.sharpe_range)}
            for name, one in traded.benchmarks.items()
        },
        "attribution": attribute(traded.strategy).reset_index().to_dict("records"),
        "overnight_gap": traded.gap,
        "notes": _notes(panel, traded, evaluation),
    }
    stored = Run(
        manifest,
        stated,
        evaluation.scores,
        forecast_frame(evaluation),
        long_weights(traded.weights),
        _equity_frame(panel, traded),
        round_trips(traded.strategy),
    )
    stored = replace(stored, result=figures_of_run(stored))
    folder = stored.save(places.reports / manifest["run_id"], also=write_report)
    held = traded.benchmarks["buy_and_hold"].result
    return BacktestOutcome(folder, stored, evaluation, traded.strategy, held)


def demo(
    *,
    places: Places = Places(),
    seed: int = 0,
    jobs: int = 2,
    command: str = "quantseq demo",
    progress: Progress = SILENT,
) -> BacktestOutcome:
    """The whole line on the bundled real prices, offline and small enough to watch: a `backtest`."""
    panel = sample_panel()
    five_years = WalkForward(min_train=1260)  # before the first validation block
    progress.say(
        f"Bundled real prices: {', '.join(panel)}, daily, {panel.sessions[0]} to "
        f"{panel.sessions[-1]} (public domain)."
    )
    return backtest(
        panel,
        config=RunConfig(seed=seed, walk_forward=five_years),
        places=places,
        jobs=jobs,
        command=command,
        title="Demo: seq2seq forecasts on four bundled stocks",
        progress=progress,
    )


def settled(
    config: RunConfig, panel: Panel, model: Seq2SeqForecaster | None, progress: Progress
) -> RunConfig:
    """The configuration with the year of these dates, and the horizon of a trained model that a purge must cover."""
    chosen = on_calendar(config, panel.sessions)
    if model is None:
        return chosen
    purge = least_purge(chosen.walk_forward.purge, model.config.horizon, progress)
    walk = replace(chosen.walk_forward, purge=purge)
    return replace(chosen, forecaster=model.config, walk_forward=walk)


@dataclass(frozen=True, eq=False)
class Traded:
    """Decisions, and what they and the benchmarks earned over the same sessions."""

    weights: pd.DataFrame
    strategy: BacktestResult
    break_even: float | None
    benchmarks: Mapping[str, BenchmarkResult]
    gap: Mapping[str, float]
    policies: Mapping[str, Floats]  # net returns of the same forecasts under every other policy


def _trade(panel: Panel, evaluation: Evaluation, config: RunConfig) -> Traded:
    forecasts = evaluation.forecasts[OURS]
    terms: dict[str, Any] = {"costs": config.costs, "fill": config.fill}
    moments = held_moments(forecasts, config.fill, symbols=panel.symbols)
    weights = config.make_policy().weights(moments)
    trade = changed(weights)
    policies = other_policies(config.policy.name, costs=config.costs, **config.policy.parameters)
    others = {name: policy.weights(moments) for name, policy in policies.items()}
    return Traded(
        weights,
        simulate(panel, weights, trade=trade, **terms),
        break_even_bps(panel, weights, trade=trade, **terms),
        run_benchmarks(panel, weights, trade=trade, seed=config.seed, **terms),
        gap_loss(panel, weights, forecasts, fill=config.fill),
        {
            name: simulate(panel, decided, trade=changed(decided), **terms).returns_net
            for name, decided in others.items()
        },
    )


def _equity_frame(panel: Panel, traded: Traded) -> pd.DataFrame:
    """Returns, costs and closes by session, of the strategy and of what stands beside it."""
    names = {"returns_net": "strategy_net", "returns_gross": "strategy_gross"}
    frame = traded.strategy.to_frame().drop(columns=["equity", "net_exposure"])
    frame = frame.rename(columns=names).reset_index()
    frame.insert(3, "buy_and_hold", traded.benchmarks["buy_and_hold"].result.returns_net)
    beside: dict[str, Floats] = {}
    for name, one in traded.benchmarks.items():
        beside[f"benchmark:{name}"] = one.result.returns_net
        beside[f"benchmark_turnover:{name}"] = one.result.turnover
        beside[f"benchmark_cost:{name}"] = one.result.costs
    beside |= {f"policy:{name}": net for name, net in traded.policies.items()}
    closes = panel.matrix("adj_close")[np.searchsorted(panel.sessions, traded.strategy.sessions)]
    beside |= {f"close:{symbol}": closes[:, i] for i, symbol in enumerate(panel.symbols)}
    return frame.assign(**beside)


def _notes(panel: Panel, traded: Traded, evaluation: Evaluation) -> list[str]:
    strategy = traded.strategy
    lost = "neither forecast nor traded, nor held by the benchmark"
    notes = notes_on_symbols(panel, evaluation, lost)
    want, lapse = "for want of a bar, cash or volume", f"{LAPSE} sessions without a bar"
    counted = (
        (strategy.delayed_orders, "order", "met no bar and waited for the symbol's next one"),
        (strategy.dropped_orders, "order", f"found no fill, or none in full, {want}"),
        (strategy.completed_orders, "rest", "of orders found cash or volume on a later session"),
        (strategy.capped_orders, "time", "the volume of a session cut an order or its rest"),
        (strategy.liquidated, "position", f"ended at its last price after {lapse}"),
        (strategy.carried, "time", "a position was marked at an old price for want of a bar"),
        (strategy.scaled_sessions, "session", "had less cash than buys wanted; buys were scaled"),
    )
    notes += [f"{plural(count, noun)} {what}." for count, noun, what in counted if count]
    if np.isfinite(lost_share := traded.gap["of_forecast"]):
        notes.append(
            f"{lost_share:.0%} of the move that was forecast for the next session lies "
            "before the fill and was lost to it."
        )
    if strategy.ruined is not None:
        notes.append(f"The account was ruined on {strategy.ruined}; trading stopped there.")
    return notes


def describe_backtest(outcome: BacktestOutcome) -> list[str]:
    """The result in a few lines of text."""
    result = outcome.run.result
    metrics, ours, found = result["metrics"], result["forecast"]["models"][OURS], result["verdict"]
    lines = [f"{'':24}{'strategy':>12}{'buy-and-hold':>14}"]
    for name in ("cagr", "volatility", "sharpe", "max_drawdown"):
        metric = METRICS[name]
        values = [metrics[who].get(name, float("nan")) for who in ("strategy", "buy_and_hold")]
        shown = [f"{value:+.2f}" if metric.unit == "ratio" else f"{value:+.1%}" for value in values]
        lines.append(f"{metric.label:24}{shown[0]:>12}{shown[1]:>14}")
    skill = number(result["forecast"]["skill_nats"], 4, sign=True)
    least, p = found["min_track_record"], found["spa_p"]
    record = "no record is long enough" if least is None else f"{least:,} sessions would be enough"
    over = f"{p:.3f} over {len(found['spa_over'])} rules" if np.isfinite(p) else "undefined"
    return [
        *lines,
        f"Forecasts: {ours['n']} next-day densities, 90 % band held {ours['coverage_90']:.1%}, "
        f"{skill} nats over the reference.",
        f"Luck: PSR {found['psr']:.1%}, deflated by {plural(found['n_trials'], 'trial')} "
        f"{found['dsr']:.1%}; {record} for a Sharpe ratio above 0; SPA p {over}; ledger {found['ledger']}.",
        f"Break-even cost: {break_even(result, outcome.strategy.turnover)}.".replace(SPACE, " "),
        describe_audit(result["audit"]),
    ]
