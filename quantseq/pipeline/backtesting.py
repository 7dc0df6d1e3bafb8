"""Walk-forward forecasts → weights → money → verdict → a run folder with its report."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from quantseq.config import Places, RunConfig
from quantseq.errors import NotEnoughDataError
from quantseq.evaluation.walkforward import (
    Evaluation,
    FitFunction,
    Fold,
    WalkForward,
    check_not_trained_on,
    evaluate,
)
from quantseq.files import ensure_writable
from quantseq.forecasting.baselines import EwmaStudent, HistoricalVolatility, ReferenceForecaster
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.forecasts import Forecaster
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Floats, Panel
from quantseq.pipeline.checks.audited import SHORT, Audited
from quantseq.pipeline.checks.auditing import audit_run, badge, describe_audit
from quantseq.pipeline.data import describe_data
from quantseq.pipeline.health import findings, refuse_errors
from quantseq.pipeline.manifest import new_manifest
from quantseq.pipeline.options import least_purge, on_calendar
from quantseq.pipeline.results import OURS, Traded, judge
from quantseq.pipeline.training import pass_gate
from quantseq.progress import SILENT, Progress
from quantseq.reporting.figures import Figure
from quantseq.reporting.pages import figures
from quantseq.reporting.render import write_report
from quantseq.reporting.run import Run
from quantseq.reporting.sections.tradable import break_even
from quantseq.reporting.words import SPACE, number
from quantseq.trading.backtest import backtest as run_backtest
from quantseq.trading.backtest import break_even_bps
from quantseq.trading.broker.account import BacktestResult
from quantseq.trading.decisions.holding import gap_loss, held_moments
from quantseq.trading.luck import Verdict
from quantseq.trading.performance import METRICS
from quantseq.trading.policy import changed
from quantseq.trading.rivals import run_rivals
from quantseq.trading.trials import alternatives, score


@dataclass(frozen=True)
class FitFold:
    """Fits the network and its rivals on one fold's past: a `FitFunction`.

    Parameters
    ----------
    config : ForecasterConfig
    jobs : int
        Processes for the networks of a fold.
    rivals : bool
        Whether to fit the rivals too.
    """

    config: ForecasterConfig
    jobs: int = 1
    rivals: bool = True

    def __call__(self, panel: Panel, fold: Fold, seed: int) -> Mapping[str, Forecaster]:
        """See `FitFunction`."""
        ours = Seq2SeqForecaster.fit(
            panel,
            train_until=fold.train_end,
            validate_from=fold.validation_start,
            config=self.config,
            seed=seed,
            jobs=self.jobs,
        )
        return with_rivals(ours, panel.until(fold.train_end)) if self.rivals else {OURS: ours}


@dataclass(frozen=True)
class UseModel:
    """Stands in for fitting where a trained model is given; its rivals use its training block."""

    model: Seq2SeqForecaster
    rivals: bool = True

    def __call__(self, panel: Panel, fold: Fold, seed: int) -> Mapping[str, Forecaster]:
        """See `FitFunction`."""
        if not self.rivals:
            return {OURS: self.model}
        return with_rivals(self.model, panel.until(fold.train_end))


def with_rivals(ours: Seq2SeqForecaster, train: Panel) -> dict[str, Forecaster]:
    """The network beside its own reference and two volatility models, all fitted on `train`."""
    reference = ours.task.reference
    shares, last = reference.overnight_share, train.sessions[-1]
    rivals: list[Forecaster] = [
        ReferenceForecaster(last, shares, reference),
        EwmaStudent.fit(train, shares),
        HistoricalVolatility(last, shares),
    ]
    return {OURS: ours, **{rival.name: rival for rival in rivals}}


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
    verdict : Verdict
    """

    folder: Path
    run: Run
    evaluation: Evaluation
    strategy: BacktestResult
    benchmark: BacktestResult
    verdict: Verdict

    @property
    def report(self) -> Path:
        """The HTML file."""
        return self.folder / "report.html"

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
    fit: FitFunction
    if model is None:
        folds, forecaster = chosen.walk_forward.split(panel.sessions), chosen.forecaster
        fit = FitFold(forecaster, jobs=max(1, jobs // len(folds)))
    else:
        folds, forecaster = [model_fold(panel, model, chosen.walk_forward)], model.config
        fit = UseModel(model)
    gate = pass_gate(forecaster, where, seed=chosen.seed, progress=progress)
    verb = "fit and forecast" if model is None else "forecast"
    with progress.bar(f"{verb} {len(folds)} folds", len(folds), unit="fold") as bar:
        evaluation = evaluate(
            panel,
            folds,
            fit,
            horizon=forecaster.horizon,
            num_paths=chosen.num_paths,
            seed=chosen.seed,
            jobs=min(jobs, len(folds)),
            on_fold=lambda _: bar.step(),
        )
    traded = _trade(panel, evaluation, chosen)
    asked = Audited(
        panel, evaluation, traded.weights, traded.strategy, traded.benchmark, chosen, SHORT
    )
    with progress.bar("audit for look-ahead", SHORT.steps, unit="step") as bar:
        audit = audit_run(asked, step=bar.step)
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
                "seeds": {"run": chosen.seed},
                "allow_bad_data": allow_bad_data,
                "cost_bps": chosen.costs.one_way_bps,
                "fill": chosen.fill,
                "gate": gate.fingerprint,
                "model": None if model is None else model.describe(),
                "audit": badge(audit),
            },
        )
        run, judged = judge(panel, evaluation, traded, manifest, gate, chosen, where, found, audit)
        bar.step()
        folder = run.save(where.reports / manifest["run_id"])
        write_report(folder)
        bar.step()
    return BacktestOutcome(folder, run, evaluation, traded.strategy, traded.benchmark, judged)


def _names(symbols: tuple[str, ...]) -> str:
    return ", ".join(symbols) if len(symbols) <= 6 else f"{len(symbols)} symbols"


def with_model(config: RunConfig, model: Seq2SeqForecaster, progress: Progress) -> RunConfig:
    """The configuration with the forecaster of a trained model, and a purge that covers its horizon."""
    purge = least_purge(config.walk_forward.purge, model.config.horizon, progress)
    walk = replace(config.walk_forward, purge=purge)
    return replace(config, forecaster=model.config, walk_forward=walk)


def model_fold(panel: Panel, model: Seq2SeqForecaster, splitter: WalkForward) -> Fold:
    """The one fold of a model that was trained before: everything after it is the test block.

    Raises
    ------
    LeakageError
        If the asked test start is not after the model's last session.
    NotEnoughDataError
        If no session is left to test.
    """
    sessions = panel.sessions
    first = int(np.searchsorted(sessions, model.trained_until, "right")) + splitter.purge
    if splitter.test_start is not None:
        check_not_trained_on(model, splitter.test_start)
        first = max(first, int(np.searchsorted(sessions, np.datetime64(splitter.test_start, "D"))))
    if first >= len(sessions):
        raise NotEnoughDataError(
            f"The model has seen data until {model.trained_until} and the prices end on "
            f"{sessions[-1]}: after a purge of {splitter.purge} sessions nothing is left to test. "
            "Fetch newer prices or train on an earlier block."
        )
    tokenizer = model.task.tokenizer
    fitted = np.datetime64(tokenizer.fitted_until, "D")
    if sessions[0] > fitted:
        raise NotEnoughDataError(
            f"The prices start on {sessions[0]}, after the model's training block ended on {fitted}: "
            "its rivals are fitted on that block. Leave --start out, or give earlier prices."
        )
    return Fold(
        0,
        np.datetime64(tokenizer.fitted_from, "D"),
        fitted,
        model.validate_from,
        model.trained_until,
        sessions[first],
        sessions[-1],
        splitter.purge,
    )


def _trade(panel: Panel, evaluation: Evaluation, config: RunConfig) -> Traded:
    forecasts = evaluation.forecasts[OURS]
    moments = held_moments(forecasts, config.fill)
    weights = config.trial.make_policy().weights(moments)
    trade = changed(weights)
    strategy = run_backtest(panel, weights, costs=config.costs, fill=config.fill, trade=trade)
    rivals = run_rivals(
        panel, weights, costs=config.costs, fill=config.fill, trade=trade, seed=config.seed
    )
    even = break_even_bps(panel, weights, costs=config.costs, fill=config.fill, trade=trade)
    gap = gap_loss(panel, weights, forecasts, fill=config.fill)
    others = {
        name: score(panel, moments, one).net for name, one in alternatives(config.trial).items()
    }
    return Traded(weights, strategy, rivals["buy_and_hold"].result, even, rivals, gap, others)


def describe(outcome: BacktestOutcome) -> list[str]:
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


def to_json(outcome: BacktestOutcome) -> dict[str, Any]:
    """The result with its documented, stable keys."""
    return {
        "run_id": outcome.run.manifest["run_id"],
        "folder": str(outcome.folder),
        "report": str(outcome.report),
        "manifest": outcome.run.manifest,
        **outcome.run.result,
    }
