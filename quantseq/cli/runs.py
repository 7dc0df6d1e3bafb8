"""Commands that make runs: demo and backtest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantseq.cli.options import (
    DATA,
    REPORTS,
    AllowBadData,
    BorrowBps,
    ConfigFile,
    ConfigSeed,
    DataDir,
    End,
    Figures,
    Fill,
    Horizon,
    Jobs,
    Json,
    LongOnly,
    MinTrain,
    PanelFile,
    Purge,
    Quiet,
    ReportsDir,
    Seed,
    Start,
    Symbols,
    TestSize,
    TestStart,
    ValidationSize,
    command,
    day,
    places_at,
    progress_of,
    save_json,
    symbol_list,
)
from quantseq.errors import ConfigError
from quantseq.files import ensure_writable

if TYPE_CHECKING:
    from quantseq.pipeline.backtesting import BacktestOutcome


def demo(
    seed: Seed = 0,
    jobs: Jobs = 2,
    data_dir: DataDir = DATA,
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Run the whole line on the bundled real prices, offline, and write a report."""
    from quantseq.pipeline.demo import demo as run_demo

    outcome = run_demo(
        places=places_at(data_dir, reports_dir),
        seed=seed,
        jobs=jobs,
        command=command(),
        progress=progress_of(quiet),
    )
    _tell(outcome, json, quiet=quiet)


def backtest(
    symbols: Symbols = None,
    panel: PanelFile = None,
    start: Start = None,
    end: End = None,
    model: Annotated[
        Path | None, typer.Option(help="Score this trained model after its training data instead.")
    ] = None,
    config: ConfigFile = None,
    horizon: Horizon = None,
    policy: Annotated[
        str | None, typer.Option(help="How to trade; docs/policies.md lists them [kelly].")
    ] = None,
    long_only: LongOnly = None,
    cost_bps: Annotated[
        float | None, typer.Option(min=0, help="Cost of traded notional, basis points [5].")
    ] = None,
    half_spread_bps: Annotated[
        float | None, typer.Option(min=0, help="Half the spread, basis points [0].")
    ] = None,
    borrow_bps: BorrowBps = None,
    fill: Fill = None,
    test_start: TestStart = None,
    test_size: TestSize = None,
    validation_size: ValidationSize = None,
    min_train: MinTrain = None,
    purge: Purge = None,
    figures: Figures = None,
    seed: ConfigSeed = None,
    allow_bad_data: AllowBadData = False,
    jobs: Jobs = 2,
    data_dir: DataDir = DATA,
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Walk forward, trade the forecasts with costs, and write a run folder with report.html."""
    from quantseq.forecasting.model_folder import load_forecaster
    from quantseq.pipeline.backtesting import backtest as run_backtest
    from quantseq.pipeline.data import need_symbols, resolve_panel
    from quantseq.pipeline.options import resolve_config
    from quantseq.reporting.figures import export_figures
    from quantseq.reporting.pages import page_of

    if figures is not None:
        ensure_writable(figures)
    wanted, places = symbol_list(symbols), places_at(data_dir, reports_dir)
    need_symbols(wanted, panel)
    fitted = None
    if model is not None:
        _not_with_model(
            horizon=horizon,
            test_size=test_size,
            validation_size=validation_size,
            min_train=min_train,
        )
        fitted = load_forecaster(model)
        horizon = fitted.config.horizon
    chosen = resolve_config(
        config,
        seed=seed,
        fill=fill,
        forecaster={"horizon": horizon},
        walk_forward={
            "test_start": None if test_start is None else str(day(test_start)),
            "test_size": test_size,
            "validation_size": validation_size,
            "min_train": min_train,
            "purge": purge,
        },
        costs={
            "cost_bps": cost_bps,
            "half_spread_bps": half_spread_bps,
            "borrow_bps": borrow_bps,
        },
        policy=policy,
        policy_parameters={"long_only": long_only},
        progress=progress_of(quiet),
    )
    prices = resolve_panel(wanted, panel=panel, places=places, start=day(start), end=day(end))
    outcome = run_backtest(
        prices,
        config=chosen,
        model=fitted,
        places=places,
        jobs=jobs,
        allow_bad_data=allow_bad_data,
        command=command(),
        progress=progress_of(quiet),
    )
    if figures is not None:
        export_figures(page_of(outcome.folder), figures)
    _tell(outcome, json, quiet=quiet)


def _not_with_model(**given: object) -> None:
    """Refuse options that a trained model has settled already."""
    for name, value in given.items():
        if value is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} was settled when the model was trained. "
                "Leave it out, or leave --model out to refit per fold."
            )


def _tell(outcome: "BacktestOutcome", json: Path | None, *, quiet: bool) -> None:
    from quantseq.pipeline.backtesting import describe, to_json

    if not quiet:
        for line in describe(outcome):
            typer.echo(line)
    typer.echo(outcome.verdict.sentence)
    typer.echo(f"Report: {outcome.report}")
    save_json(json, to_json(outcome))
