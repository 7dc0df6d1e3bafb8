"""Commands about many trials: sweep, and trials, the ledger of all that were ever scored."""

from pathlib import Path
from typing import Annotated, Any

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
    Fill,
    Jobs,
    Json,
    LongOnly,
    MinTrain,
    PanelFile,
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
    print_table,
    progress_of,
    save_json,
    symbol_list,
)
from quantseq.errors import ConfigError, RunError


def sweep(
    symbols: Symbols = None,
    panel: PanelFile = None,
    start: Start = None,
    end: End = None,
    policies: Annotated[str, typer.Option(help="all, or names such as kelly,rank.")] = "all",
    thresholds: Annotated[
        str | None,
        typer.Option(help="Thresholds of the policy `probability` [0.5,0.51,0.52,0.55]."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(help="Values of any parameter, such as kelly.fraction=0.1,0.5; repeatable."),
    ] = None,
    costs_bps: Annotated[
        str, typer.Option(help="Costs of traded notional, basis points.")
    ] = "0,5,10,20",
    horizons: Annotated[
        str | None, typer.Option(help="Steps ahead; each is trained anew [5].")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Use this trained model after its training data instead.")
    ] = None,
    config: ConfigFile = None,
    long_only: LongOnly = None,
    borrow_bps: BorrowBps = None,
    fill: Fill = None,
    test_start: TestStart = None,
    test_size: TestSize = None,
    validation_size: ValidationSize = None,
    min_train: MinTrain = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="For very many points: score them in returns space, with costs at first order, and "
            "only the best five at each cost by the exact account.",
        ),
    ] = False,
    seed: ConfigSeed = None,
    allow_bad_data: AllowBadData = False,
    jobs: Jobs = 2,
    data_dir: DataDir = DATA,
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Try policies, thresholds, costs and horizons on the same forecasts, and judge the best honestly.

    Forecasts are made once per horizon. Every point is a trial: it gets its line in the ledger, and its
    net returns are kept. A sweep that was interrupted goes on where it stopped.
    """
    from quantseq.forecasting.model_folder import load_forecaster
    from quantseq.pipeline.data import need_symbols, resolve_panel
    from quantseq.pipeline.options import resolve_config
    from quantseq.pipeline.sweeps.grid import Grid
    from quantseq.trading.policy import POLICIES

    wanted, places = symbol_list(symbols), places_at(data_dir, reports_dir)
    need_symbols(wanted, panel)
    knobs = _knobs(vary or [])
    if thresholds is not None:
        knobs.setdefault("probability", {})["threshold"] = _values("--thresholds", thresholds)
    steps = () if horizons is None else _values("--horizons", horizons)
    if model is not None and steps:
        raise ConfigError(
            "--horizons was settled when the model was trained. Leave it out, or leave --model out to "
            "refit per fold."
        )
    fitted = None if model is None else load_forecaster(model)
    if fitted is not None:
        steps = (fitted.config.horizon,)
    if not all(isinstance(one, int) and one > 0 for one in steps):
        raise ConfigError(f"--horizons must be whole numbers of 1 or more. Got {horizons!r}.")
    chosen = resolve_config(
        config,
        seed=seed,
        fill=fill,
        forecaster={"horizon": max(steps, default=None)},
        walk_forward={
            "test_start": None if test_start is None else str(day(test_start)),
            "test_size": test_size,
            "validation_size": validation_size,
            "min_train": min_train,
        },
        costs={"borrow_bps": borrow_bps},
        progress=progress_of(quiet),
    )
    names = tuple(POLICIES) if policies == "all" else tuple(symbol_list([policies]))
    costs = _values("--costs-bps", costs_bps)
    if not all(isinstance(one, (int, float)) for one in costs):
        raise ConfigError(f"--costs-bps must be numbers between commas. Got {costs_bps!r}.")
    grid = Grid(names, knobs, costs, steps, long_only)
    grid.points(chosen)  # what is wrong with the grid is said before any price is read
    prices = resolve_panel(wanted, panel=panel, places=places, start=day(start), end=day(end))
    from quantseq.pipeline.sweeps.selection import describe
    from quantseq.pipeline.sweeps.sweeping import sweep as run_sweep
    from quantseq.pipeline.sweeps.sweeping import to_json

    outcome = run_sweep(
        prices,
        grid=grid,
        config=chosen,
        model=fitted,
        places=places,
        jobs=jobs,
        fast=fast,
        allow_bad_data=allow_bad_data,
        command=command(),
        progress=progress_of(quiet),
    )
    table, lines = describe(outcome.result)
    if not quiet:
        print_table(table)
        for line in lines:
            typer.echo(line)
    typer.echo(outcome.result["sweep"]["sentence"])
    typer.echo(outcome.result["verdict"]["sentence"])
    typer.echo(f"Result: {outcome.folder} (its best alone: quantseq backtest … --config best.toml)")
    save_json(json, to_json(outcome))


def _values(option: str, text: str) -> tuple[Any, ...]:
    """Numbers, or words that are no numbers, between commas."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise ConfigError(f"{option} needs one or more values between commas. Got {text!r}.")
    return tuple(_value(word) for word in words)


def _value(word: str) -> Any:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(word, word)


def _knobs(given: list[str]) -> dict[str, dict[str, tuple[Any, ...]]]:
    found: dict[str, dict[str, tuple[Any, ...]]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        policy, dot, parameter = name.partition(".")
        if not (equals and dot and policy and parameter):
            raise ConfigError(
                f"--vary must look like kelly.fraction=0.1,0.5: policy, parameter, values. Got {text!r}."
            )
        found.setdefault(policy, {})[parameter] = _values("--vary", values)
    return found


def trials(
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """List every trial ever scored here, and whether the chain of their ledger is whole.

    A damaged ledger is listed too, and ends with an error that says what is wrong.
    """
    from quantseq.pipeline.sweeps.trials import list_trials

    found = list_trials(places_at(DATA, reports_dir))
    if found["trials"] and not quiet:
        print_table([_shown(row) for row in found["trials"]])
    save_json(json, found)
    if not found["intact"]:
        raise RunError(found["sentence"])
    typer.echo(found["sentence"])


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    sharpe = row["sharpe_annual"]
    return {
        "line": row["line"],
        "date": str(row["date"] or "")[:16],
        "counts": row["counts"],
        "Sharpe": "—" if sharpe is None else f"{sharpe:+.2f}".replace("-", "−"),
        "sessions": row["sessions"] or "—",
        "span": f"{row['start']} to {row['end']}" if row["start"] else "—",
        "returns": row["returns"],
        "run": row["run_id"] or "—",
        "trial": row["label"] or "—",
    }
