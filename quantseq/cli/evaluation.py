"""The command about forecasts alone: evaluate, the network against every rival."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from quantseq.cli.options import (
    DATA,
    REPORTS,
    AllowBadData,
    ConfigFile,
    ConfigSeed,
    DataDir,
    End,
    Horizon,
    Jobs,
    Json,
    MinTrain,
    PanelFile,
    Purge,
    Quiet,
    ReportsDir,
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


def evaluate(
    symbols: Symbols = None,
    panel: PanelFile = None,
    start: Start = None,
    end: End = None,
    rivals: Annotated[
        str,
        typer.Option(
            help="all, none, or names such as garch-t,gjr-garch-skewt; our reference is always in."
        ),
    ] = "all",
    null: Annotated[
        str | None,
        typer.Option(
            help="Also run the line where nothing is to be found: gbm, garch or permuted."
        ),
    ] = None,
    train_until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="One fold: last date of training.")
    ] = None,
    validate_until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="One fold: last date of validation."),
    ] = None,
    test_until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="One fold: last date of the test [the last]."),
    ] = None,
    test_start: TestStart = None,
    test_size: TestSize = None,
    validation_size: ValidationSize = None,
    min_train: MinTrain = None,
    max_train: Annotated[
        int | None, typer.Option(min=1, help="Walk-forward: a rolling training block this long.")
    ] = None,
    refit_every: Annotated[
        int | None, typer.Option(min=1, help="Walk-forward: fit anew in every n-th fold [1].")
    ] = None,
    purge: Purge = None,
    embargo: Annotated[
        int | None, typer.Option(min=0, help="Further sessions left out before the tests [0].")
    ] = None,
    horizon: Horizon = None,
    paths: Annotated[
        int | None, typer.Option(min=2, help="Paths per forecast, for the cumulative score [100].")
    ] = None,
    config: ConfigFile = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the result; default: one in REPORTS_DIR.")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(help="Folder of the figures as SVG and PNG; default: that of the result."),
    ] = None,
    seed: ConfigSeed = None,
    allow_bad_data: AllowBadData = False,
    jobs: Jobs = 2,
    data_dir: DataDir = DATA,
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Score the network against every rival on the same days, and say who is better in words.

    An evaluation that was interrupted goes on where it stopped: finished parts are kept in
    DATA_DIR/evaluations.
    """
    from quantseq.pipeline.data import need_symbols, resolve_panel
    from quantseq.pipeline.options import resolve_config

    wanted, places = symbol_list(symbols), places_at(data_dir, reports_dir)
    need_symbols(wanted, panel)
    walk = {
        "test_start": None if test_start is None else str(day(test_start)),
        "test_size": test_size,
        "validation_size": validation_size,
        "min_train": min_train,
        "max_train": max_train,
        "refit_every": refit_every,
    }
    between = (train_until, validate_until, test_until)
    if train_until is not None or validate_until is not None or test_until is not None:
        if train_until is None or validate_until is None:
            raise ConfigError(
                "One fold between dates needs both --train-until and --validate-until. Give both, or "
                "leave the dates out for a walk-forward."
            )
        given = [name for name, value in walk.items() if value is not None]
        if given:
            raise ConfigError(
                f"--{given[0].replace('_', '-')} belongs to a walk-forward, --train-until to one fold "
                "between dates. Give one or the other."
            )
    chosen = resolve_config(
        config,
        seed=seed,
        num_paths=paths,
        forecaster={"horizon": horizon},
        walk_forward={**walk, "purge": purge, "embargo": embargo},
        progress=progress_of(quiet),
    )
    prices = resolve_panel(wanted, panel=panel, places=places, start=day(start), end=day(end))
    from quantseq.pipeline.evaluating import Split
    from quantseq.pipeline.evaluating import evaluate as run_evaluate
    from quantseq.pipeline.scoreboard import describe

    outcome = run_evaluate(
        prices,
        config=chosen,
        split=None if train_until is None else Split(*(day(date) for date in between)),
        rivals=rivals,
        null=null,
        places=places,
        out=out,
        figures=figures,
        jobs=jobs,
        allow_bad_data=allow_bad_data,
        command=command(),
        progress=progress_of(quiet),
    )
    lines = describe(outcome.result)
    for line in lines if not quiet else outcome.result["verdict"]:
        typer.echo(line)
    typer.echo(f"Result: {outcome.folder}")
    typer.echo(f"Report: {outcome.report}")
    save_json(
        json, {"folder": str(outcome.folder), "report": str(outcome.report), **outcome.result}
    )
