"""`backtest`: walk-forward forecasts → weights → money → verdict → a run folder with its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from quantseq.config import RunConfig, least_purge, on_calendar
from quantseq.evaluation.run import Evaluation, run
from quantseq.evaluation.walkforward import Fold
from quantseq.files import Places, ensure_writable
from quantseq.forecasting.baselines import EwmaStudent, HistoricalVolatility, ReferenceForecaster
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.market.bars import Floats, Panel
from quantseq.pipeline.audit import SHORT, Audited, audit_run, badge, describe_audit
from quantseq.pipeline.data import describe_data, findings, refuse_errors
from quantseq.pipeline.evaluate import model_fold, traded_models
from quantseq.pipeline.manifest import new_manifest
from quantseq.pipeline.results import OURS, Traded, judge
from quantseq.pipeline.train import pass_gate
from quantseq.progress import SILENT, Progress
from quantseq.reporting.page import SPACE, Figure, number
from quantseq.reporting.render import figures, write_report
from quantseq.reporting.run import Run
from quantseq.reporting.sections import break_even
from quantseq.trading.account import BacktestResult
from quantseq.trading.backtest import break_even_bps, simulate
from quantseq.trading.benchmarks import run_benchmarks
from quantseq.trading.metrics import METRICS
from quantseq.trading.policies import changed, gap_loss, held_moments, other_policies

BACKTEST_BASELINES = (ReferenceForecaster.name, EwmaStudent.name, HistoricalVolatility.name)
"""What a backtest's forecasts are scored against; `evaluate` has more."""


def forecast_walk_forward(
    panel: Panel,
    folds: Sequence[Fold],
    config: RunConfig,
    *,
    model: Seq2SeqForecaster | None = None,
    baselines: Sequence[str] = BACKTEST_BASELINES,
    cache: Path | None = None,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> Evaluation:
    """Our forecasts in every fold beside those of some baselines: the run behind backtest and sweep.

    Parameters
    ----------
    panel, folds, config
    model : Seq2SeqForecaster, optional
        Use it in every fold instead of fitting one; its own reference stands for that baseline.
    baselines : sequence of str
    cache : Path, optional
        See `quantseq.evaluation.run.run`.
    jobs : int
    progress : Progress
    """
    horizon, models = config.forecaster.horizon, traded_models(config, baselines, model)
    verb = "fit and forecast" if model is None else "forecast"
    title = f"{verb} {len(folds)} folds, horizon {horizon}"
    with progress.bar(title, len(folds) * len(models), unit="part") as bar:
        return run(
            panel,
            models,
            folds,
            horizon=horizon,
            num_paths=config.num_paths,
            seed=config.seed,
            jobs=jobs,
            cache=cache,
            on_part=lambda name: bar.step(last=name),
        )


@dataclass(frozen=True, eq=False)
class BacktestOutcome:
    """What `backtest` returns: the run, where it lies, and what was computed on the way.

    Attributes
    ----------
    folder : Path
        The run folder; ``report.html`` lies in it.
    run : Run
    evaluation : Evaluation
    strategy, benchmark : BacktestResult
    """

    folder: Path
    run: Run
    evaluation: Evaluation
    strategy: BacktestResult
    benchmark: BacktestResult

    @property
    def verdict(self) -> Mapping[str, Any]:
        """What may be claimed; see ``docs/json.md``."""
        return self.run.verdict

    @property
    def report(self) -> Path:
        """The HTML file."""
        return self.folder / "report.html"

    def to_json(self) -> dict[str, Any]:
        """The result with its documented, stable keys."""
        return {
            "run_id": self.run.manifest["run_id"],
            "folder": str(self.folder),
            "report": str(self.report),
            "manifest": self.run.manifest,
            **self.run.result,
        }

    def figures(self) -> dict[str, Figure]:
        """Every figure of the page by key, with its numbers as ``.frame``."""
        return figures(self.run)

    def _repr_html_(self) -> str:
        """Shown by notebooks."""
        return self.run.card(str(self.report))


def backtest(
    panel: Panel,
    *,
    config: RunConfig | None = None,
    model: Seq2SeqForecaster | None = None,
    places: Places | None = None,
    jobs: int = 1,
    allow_bad_data: bool = False,
    command: str = "",
    title: str = "",
    progress: Progress = SILENT,
) -> BacktestOutcome:
    """Forecast walk-forward, trade the forecasts, judge the result, and write a run folder.

    Parameters
    ----------
    panel : Panel
    config : RunConfig, optional
    model : Seq2SeqForecaster, optional
        Score this trained model after its ``trained_until`` instead of refitting per fold.
    places : Places, optional
    jobs : int
        Processes; the numbers are the same for every choice.
    allow_bad_data : bool
        Use prices although the health check found errors in them; the report lists them.
    command, title : str
        For the manifest.
    progress : Progress

    Raises
    ------
    BarsError
        If the health check finds errors in the prices and they are not allowed.
    LeakageError
        If the model has seen the test block.
    NotEnoughDataError
        If the history is too short for one fold.
    StorageError
        If the reports folder is not writable; nothing is computed then.
    GateError
        If the architecture has not mastered the copy task.
    """
    chosen = on_calendar(config or RunConfig(), panel.sessions)
    where = places or Places()
    if model is not None:
        chosen = with_model(chosen, model, progress)
    ensure_writable(where.reports)
    found = findings(panel)
    refuse_errors(found, total=len(panel), allow_bad_data=allow_bad_data)
    if model is None:
        folds = chosen.walk_forward.split(panel.sessions)
    else:
        folds = [model_fold(panel, model, chosen.walk_forward)]
    gate = pass_gate(chosen.forecaster, where, seed=chosen.seed, progress=progress)
    try:
        evaluation = forecast_walk_forward(
            panel, folds, chosen, model=model, cache=where.cache, jobs=jobs, progress=progress
        )
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(
            f"Finished folds are kept in {where.cache}; the same command goes on from there."
        ) from stop
    traded = _trade(panel, evaluation, chosen)
    asked = Audited(panel, evaluation, traded.weights, chosen, SHORT)
    audit = audit_run(asked, draws=traded.benchmarks["random_entry"].draws, progress=progress)
    with progress.bar("judge and report", 2, unit="step") as bar:
        manifest = new_manifest(
            command=command,
            title=title or f"{OURS} with {chosen.policy.name} on {_names(panel.symbols)}",
            config=chosen.to_mapping(),
            data=describe_data(panel),
            symbols=list(panel.symbols),
            sessions=traded.strategy.sessions,
            reports=where.reports,
            extra={
                "kind": "backtest",
                "seeds": {"run": chosen.seed},
                "allow_bad_data": allow_bad_data,
                "cost_bps": chosen.costs.one_way_bps,
                "fill": chosen.fill,
                "gate": gate.fingerprint,
                "model": None if model is None else model.describe(),
                "audit": badge(audit),
            },
        )
        stored = judge(panel, evaluation, traded, manifest, gate, chosen, where, found, audit)
        bar.step()
        folder = stored.save(where.reports / manifest["run_id"])
        write_report(folder)
        bar.step()
    return BacktestOutcome(folder, stored, evaluation, traded.strategy, traded.benchmark)


def _names(symbols: tuple[str, ...]) -> str:
    return ", ".join(symbols) if len(symbols) <= 6 else f"{len(symbols)} symbols"


def with_model(config: RunConfig, model: Seq2SeqForecaster, progress: Progress) -> RunConfig:
    """The configuration with the forecaster of a trained model, and a purge that covers its horizon."""
    purge = least_purge(config.walk_forward.purge, model.config.horizon, progress)
    walk = replace(config.walk_forward, purge=purge)
    return replace(config, forecaster=model.config, walk_forward=walk)


def _trade(panel: Panel, evaluation: Evaluation, config: RunConfig) -> Traded:
    forecasts = evaluation.forecasts[OURS]
    moments = held_moments(forecasts, config.fill, symbols=panel.symbols)
    weights = config.make_policy().weights(moments)
    trade = changed(weights)
    strategy = simulate(panel, weights, costs=config.costs, fill=config.fill, trade=trade)
    benchmarks = run_benchmarks(
        panel, weights, costs=config.costs, fill=config.fill, trade=trade, seed=config.seed
    )
    even = break_even_bps(panel, weights, costs=config.costs, fill=config.fill, trade=trade)
    gap = gap_loss(panel, weights, forecasts, fill=config.fill)
    others = {}
    policies = other_policies(config.policy.name, costs=config.costs, **config.policy.parameters)
    for name, policy in policies.items():
        decided = policy.weights(moments)
        result = simulate(
            panel, decided, costs=config.costs, fill=config.fill, trade=changed(decided)
        )
        others[name] = result.returns_net
    return Traded(
        weights, strategy, benchmarks["buy_and_hold"].result, even, benchmarks, gap, others
    )


def describe_backtest(outcome: BacktestOutcome) -> list[str]:
    """The result in a few lines of text."""
    metrics = outcome.run.result["metrics"]
    lines = [f"{'':24}{'strategy':>12}{'buy-and-hold':>14}"]
    for name in ("cagr", "volatility", "sharpe", "max_drawdown"):
        metric = METRICS[name]
        values = [metrics[who].get(name, float("nan")) for who in ("strategy", "buy_and_hold")]
        shown = [f"{value:+.2f}" if metric.unit == "ratio" else f"{value:+.1%}" for value in values]
        lines.append(f"{metric.label:24}{shown[0]:>12}{shown[1]:>14}")
    ours = outcome.run.result["forecast"]["models"][OURS]
    lines.append(
        f"Forecasts: {ours['n']} next-day densities, 90 % band held {ours['coverage_90']:.1%}, "
        f"{number(outcome.run.result['forecast']['skill_nats'], 4, sign=True)} nats over the "
        "reference."
    )
    told = _describe_luck(outcome.run.result, outcome.strategy.turnover)
    return [*lines, *told, describe_audit(outcome.run.result["audit"])]


def _describe_luck(result: Mapping[str, Any], turnover: Floats) -> list[str]:
    """Whether it could be luck, and what costs it can bear, in two lines of text."""
    found = result["verdict"]
    least, p = found["min_track_record"], found["spa_p"]
    record = "no record is long enough" if least is None else f"{least:,} sessions would be enough"
    over = f"{p:.3f} over {len(found['spa_over'])} rules" if np.isfinite(p) else "undefined"
    count = f"{found['n_trials']} trial{'s' * (found['n_trials'] != 1)}"
    return [
        f"Luck: PSR {found['psr']:.1%}, deflated by {count} {found['dsr']:.1%}; {record} for a Sharpe "
        f"ratio above 0; SPA p {over}; ledger {found['ledger']}.",
        f"Break-even cost: {break_even(result, turnover)}.".replace(SPACE, " "),
    ]
