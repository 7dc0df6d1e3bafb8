"""The commands: parse, call the pipeline's function of the same name, print.

Owns options and what is printed of a result. Knows no computation; heavy packages are imported inside the
commands, so that ``--help`` answers at once.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantseq.cli.options import (
    DATA,
    REPORTS,
    AllowBadData,
    ConfigFile,
    DataDir,
    End,
    Figures,
    Horizon,
    Jobs,
    Json,
    Model,
    Open,
    PanelFile,
    Quiet,
    ReportsDir,
    Seed,
    Settings,
    Start,
    Symbols,
    TestStart,
    Timezone,
    day,
    places_at,
    print_table,
    progress_of,
    save_json,
    symbol_list,
    typed_command,
)
from quantseq.errors import BarsError, ConfigError, LeakageError, RunError, VerificationError

if TYPE_CHECKING:
    from quantseq.market.update import FetchOutcome
    from quantseq.pipeline.backtest import BacktestOutcome

_DAY = ["%Y-%m-%d"]
_STATUSES = ("new", "updated", "unchanged", "failed")
_MOST_LINES = 20
"""Differences that `verify` prints; ``--json`` has all."""


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        typer.echo(line)


def _settings(given: list[str] | None, **options: Any) -> dict[str, Any]:
    """Options and ``--set`` texts as one mapping of settings; the same twice is refused."""
    from quantseq.config import parse_settings

    named = {name.replace("__", "."): value for name, value in options.items() if value is not None}
    texts = parse_settings(given or [])
    both = sorted(set(named) & set(texts))
    if both:
        raise ConfigError(f"{both[0]} is given twice, by its option and by --set. Give it once.")
    return named | texts


def demo_command(
    seed: Seed = 0,
    jobs: Jobs = 2,
    data_dir: DataDir = DATA,
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Run the whole line on the bundled real prices, offline, and write a report."""
    from quantseq.pipeline.demo import demo

    outcome = demo(
        places=places_at(data_dir, reports_dir),
        seed=seed or 0,
        jobs=jobs,
        command=typed_command(),
        progress=progress_of(quiet),
    )
    _tell_backtest(outcome, json, quiet=quiet)


def fetch_command(
    symbols: Annotated[
        list[str] | None, typer.Argument(help="Symbols as the source writes them.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="Also those in this file, between blanks, commas or lines; # is a comment."
        ),
    ] = None,
    start: Start = None,
    end: End = None,
    interval: Annotated[str, typer.Option(help="Length of a bar: 1d, 1wk, 1h or 5m.")] = "1d",
    source: Annotated[
        str, typer.Option(help="yahoo, sample for the bundled prices, or an installed source.")
    ] = "yahoo",
    full: Annotated[
        bool, typer.Option("--full", help="Fetch the whole history anew; the old file is kept.")
    ] = False,
    rate: Annotated[float, typer.Option(help="Requests a second, about.")] = 1.0,
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Download bars and store them; a failure never replaces what is stored.

    Only what is missing is asked for, with an overlap of 10 sessions. A new split or dividend, or an
    overlap that differs by more than 0.01 %, fetches the whole history anew (vintage drift). Without
    --start, stored bars are continued and others fetched from their beginning. A session's bar is taken
    half an hour after its close. Only daily bars can be trained on.

    A bad symbol does not stop a batch. After three symbols in a row without an answer the batch stops; the
    same command goes on with what is left, also after Ctrl-C or a kill.

    Exit codes: 0 all well, 2 wrong options, 31 symbol not found, 32 no data in the range, 41 source
    unavailable, 42 rate limited, 43 bad response, 3 other faults of the data or the disk, 130 Ctrl-C.
    A batch leaves with the code of its failures if they are all alike, else with 8.
    """
    from quantseq.pipeline.data import fetch

    wanted = symbol_list(symbols, None if file is None else _symbols_in(file))
    if not wanted:
        raise ConfigError(
            "No symbols were named. Give symbols such as AAPL, or a file of them with --file."
        )
    outcomes: list[FetchOutcome] = []
    with progress_of(quiet).bar(f"fetch from {source}", len(wanted), unit="symbol") as bar:

        def note(one: "FetchOutcome") -> None:
            outcomes.append(one)
            bar.step(last=one.symbol, failed=sum(each.status == "failed" for each in outcomes))

        try:
            fetch(
                wanted,
                source=source,
                places=places_at(data_dir),
                start=day(start),
                end=day(end),
                interval=interval,
                full=full,
                rate=rate,
                on_symbol=note,
            )
        except KeyboardInterrupt as stop:
            _tell_fetch(outcomes, _left(wanted, outcomes), quiet=quiet, json=json)
            raise KeyboardInterrupt(
                f"{len(outcomes)} of {len(wanted)} symbols are done; the same command goes on from there."
            ) from stop
    left = _left(wanted, outcomes)
    failed = [one for one in outcomes if one.error is not None]
    single = len(failed) == len(outcomes) == 1
    _tell_fetch(outcomes, left, quiet=quiet or single, json=json)
    if failed:
        raise _failure(failed, len(outcomes), left)


def _symbols_in(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"Cannot read {str(path)!r}: {error}. --file takes a text file with symbols."
        ) from error
    return [word for line in lines for word in line.partition("#")[0].split()]


def _left(wanted: Sequence[str], outcomes: "Sequence[FetchOutcome]") -> list[str]:
    """Not asked for yet, or failed for no fault of its own."""
    from quantseq.market.update import RETRYABLE

    done = {one.symbol for one in outcomes if not isinstance(one.error, RETRYABLE)}
    return [symbol for symbol in wanted if symbol not in done]


def _tell_fetch(
    outcomes: "Sequence[FetchOutcome]", left: Sequence[str], *, quiet: bool, json: Path | None
) -> None:
    """Write the result, and print it as a table with a line of counts below."""
    names = ("symbol", "status", "rows", "first", "last", "why", "drift")
    rows = [
        {name: getattr(one, name) for name in names}
        | {
            "error": None if one.error is None else type(one.error).__name__,
            "exit_code": 0 if one.error is None else one.error.exit_code,
            "backup": one.backup or None,
        }
        for one in outcomes
    ]
    counts = {status: sum(one.status == status for one in outcomes) for status in _STATUSES}
    save_json(json, {"symbols": rows, "counts": counts, "left": list(left)})
    if quiet or not rows:
        return
    print_table([{name: row[name] for name in names[:-1]} for row in rows])
    if len(rows) > 1:
        typer.echo(", ".join(f"{count} {status}" for status, count in counts.items()))


def _failure(failed: "Sequence[FetchOutcome]", total: int, left: Sequence[str]) -> Exception:
    """One error for all failures: of their class if it is one, else a `BatchError`."""
    from quantseq.errors import BatchError

    first = failed[0].error
    assert first is not None
    remedy = " The same command goes on with what is left." if left else ""
    if total == 1:
        return type(first)(f"{first}{remedy}")
    kind: Any = type(first) if len({type(one.error) for one in failed}) == 1 else BatchError
    error: Exception = kind(f"{len(failed)} of {total} symbols failed. First: {first}{remedy}")
    return error


def train_command(
    task: Annotated[str, typer.Option(help="price, or a toy task: copy, reverse, sort.")],
    more: Symbols = None,
    symbols: Annotated[
        list[str] | None,
        typer.Option(help="Stored symbols, comma-separated or repeated; default: all of them."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="For toys: seed, bidirectional, attention or strong [strong]."),
    ] = None,
    batches: Annotated[
        int | None, typer.Option(min=1, help="For toys: training batches instead of the preset's.")
    ] = None,
    panel: PanelFile = None,
    start: Start = None,
    end: End = None,
    horizon: Horizon = None,
    config: ConfigFile = None,
    set_: Settings = None,
    out: Annotated[
        Path | None, typer.Option(help="Model folder; default: DATA_DIR/models/TASK.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where it was interrupted.")
    ] = False,
    figures: Figures = None,
    allow_bad_data: AllowBadData = False,
    seed: Seed = 0,
    jobs: Jobs = 2,
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Train the model: on prices after the copy gate, or on a toy task that validates the machine.

    A toy task prints loss and three samples, teacher-forced and free-running, before batch 0, 1000,
    2000, ..., then how well fresh and longer sequences are answered; its page and charts lie beside the model.
    """
    from quantseq.pipeline.train import describe_training, train

    places, prices = places_at(data_dir), None
    options: dict[str, Any] = {"seed": seed or 0, "resume": resume, "progress": progress_of(quiet)}
    if task == "price":
        from quantseq.config import resolve_config
        from quantseq.pipeline.data import resolve_panel

        _only_for("copy, reverse or sort", preset=preset, batches=batches, figures=figures)
        settings = _settings(set_, forecaster__horizon=horizon)
        chosen = resolve_config(config, settings, progress=progress_of(quiet))
        options |= {"config": chosen.forecaster, "jobs": jobs, "allow_bad_data": allow_bad_data}
        prices = resolve_panel(
            symbol_list(more, symbols), panel=panel, places=places, start=day(start), end=day(end)
        )
    else:
        _only_for(
            "price",
            more=more,
            symbols=symbols,
            panel=panel,
            start=start,
            end=end,
            horizon=horizon,
            config=config,
            set=set_,
            allow_bad_data=allow_bad_data or None,
        )
        options |= {"preset": preset or "strong", "batches": batches, "figures": figures}
    metrics = train(prices, task=task, out=out, places=places, **options)
    save_json(json, metrics)
    if not quiet:
        _say(describe_training(metrics))
        typer.echo(f"{'Model' if task == 'price' else 'Model and charts'}: {metrics.folder}")
        if metrics.report is not None:
            typer.echo(f"Report: {metrics.report}")


def _only_for(task: str, **given: object) -> None:
    """Refuse options of the other task, rather than ignore them."""
    for name, value in given.items():
        if value is not None:
            option = "symbols" if name == "more" else f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{option} belongs to --task {task}. Leave it out, or change the task."
            )


def forecast_command(
    symbols: Symbols = None,
    horizon: Annotated[int, typer.Option(min=1, help="Sessions ahead.")] = 5,
    model: Annotated[
        Path | None, typer.Option(help="Model folder; default: DATA_DIR/models/price.")
    ] = None,
    cutoff: Annotated[
        datetime | None, typer.Option(formats=_DAY, help="Forecast as of this session.")
    ] = None,
    paths: Annotated[int, typer.Option(min=100, help="Sampled paths.")] = 1000,
    panel: PanelFile = None,
    csv: Annotated[Path | None, typer.Option(help="Also write the table to this file.")] = None,
    seed: Seed = 0,
    jobs: Jobs = 2,
    allow_bad_data: AllowBadData = False,
    data_dir: DataDir = DATA,
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Forecast the next sessions: quantiles, P(up), and a fan chart per symbol."""
    from quantseq.files import write_text
    from quantseq.forecasting.model_folder import load_forecaster
    from quantseq.pipeline.data import as_rows, need_symbols, resolve_panel
    from quantseq.pipeline.forecast import describe_forecast, draw_fans, forecast

    wanted, places = symbol_list(symbols), places_at(data_dir, reports_dir)
    need_symbols(wanted, panel)
    prices = resolve_panel(wanted, panel=panel, places=places)
    fitted = load_forecaster(model or places.models / "price")
    found = forecast(
        prices,
        fitted,
        horizon=horizon,
        cutoff=day(cutoff),
        num_paths=paths,
        seed=seed or 0,
        allow_bad_data=allow_bad_data,
    )
    charts = draw_fans(prices, found, places.reports, jobs=jobs)
    table = found.table.assign(cutoff=found.table["cutoff"].dt.strftime("%Y-%m-%d"))
    if csv is not None:
        write_text(csv, table.to_csv(index=False))
    save_json(
        json,
        {
            "forecasts": table.to_dict(orient="records"),
            "model": fitted.describe(),
            "charts": {symbol: str(path) for symbol, path in charts.items()},
            "notes": list(found.notes),
            "data_findings": as_rows(found.data_findings),
            "seed": seed or 0,
        },
    )
    if not quiet:
        _say(describe_forecast(found, fitted))
        _say([f"Chart: {path}" for path in charts.values()])


def backtest_command(
    symbols: Symbols = None,
    panel: PanelFile = None,
    start: Start = None,
    end: End = None,
    model: Model = None,
    policy: Annotated[
        str | None, typer.Option(help="How to trade; docs/policies.md lists them [kelly].")
    ] = None,
    cost_bps: Annotated[
        float | None, typer.Option(min=0, help="Cost of traded notional, basis points [5].")
    ] = None,
    horizon: Horizon = None,
    test_start: TestStart = None,
    config: ConfigFile = None,
    set_: Settings = None,
    figures: Figures = None,
    seed: Seed = None,
    allow_bad_data: AllowBadData = False,
    jobs: Jobs = 2,
    data_dir: DataDir = DATA,
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Walk forward, trade the forecasts with costs, and write a run folder with report.html.

    A backtest that was interrupted goes on where it stopped: finished folds are kept in DATA_DIR/cache.
    """
    from quantseq.config import resolve_config
    from quantseq.files import ensure_writable
    from quantseq.forecasting.model_folder import load_forecaster
    from quantseq.pipeline.backtest import backtest
    from quantseq.pipeline.data import need_symbols, resolve_panel

    if figures is not None:
        ensure_writable(figures)
    wanted, places = symbol_list(symbols), places_at(data_dir, reports_dir)
    need_symbols(wanted, panel)
    settings = _settings(
        set_,
        seed=seed,
        forecaster__horizon=horizon,
        walk_forward__test_start=None if test_start is None else str(day(test_start)),
        costs__cost_bps=cost_bps,
        policy__name=policy,
    )
    fitted = None
    if model is not None:
        _settled_by_the_model(settings)
        fitted = load_forecaster(model)
        settings["forecaster.horizon"] = fitted.config.horizon
    chosen = resolve_config(config, settings, progress=progress_of(quiet))
    prices = resolve_panel(wanted, panel=panel, places=places, start=day(start), end=day(end))
    outcome = backtest(
        prices,
        config=chosen,
        model=fitted,
        places=places,
        jobs=jobs,
        allow_bad_data=allow_bad_data,
        command=typed_command(),
        progress=progress_of(quiet),
    )
    if figures is not None:
        from quantseq.pipeline.compare import report

        report(outcome.folder, figures=figures)
    _tell_backtest(outcome, json, quiet=quiet)


def _settled_by_the_model(settings: Mapping[str, Any]) -> None:
    """Refuse settings that a trained model has settled already."""
    for name in settings:
        if name.startswith(("forecaster.", "walk_forward.")) and name not in (
            "walk_forward.test_start",
            "walk_forward.purge",
        ):
            raise ConfigError(
                f"{name} was settled when the model was trained. "
                "Leave it out, or leave --model out to refit per fold."
            )


def _tell_backtest(outcome: "BacktestOutcome", json: Path | None, *, quiet: bool) -> None:
    from quantseq.pipeline.backtest import describe_backtest

    if not quiet:
        _say(describe_backtest(outcome))
    typer.echo(outcome.verdict["sentence"])
    typer.echo(f"Report: {outcome.report}")
    save_json(json, outcome.to_json())


def evaluate_command(
    symbols: Symbols = None,
    panel: PanelFile = None,
    start: Start = None,
    end: End = None,
    baselines: Annotated[
        str,
        typer.Option(
            help="all, none, or names such as garch-t,gjr-garch-skewt; our reference is always in.",
        ),
    ] = "all",
    null: Annotated[
        str | None,
        typer.Option(
            help="Also run the line where nothing is to be found: gbm, garch or permuted."
        ),
    ] = None,
    train_until: Annotated[
        datetime | None, typer.Option(formats=_DAY, help="One fold: last date of training.")
    ] = None,
    validate_until: Annotated[
        datetime | None, typer.Option(formats=_DAY, help="One fold: last date of validation.")
    ] = None,
    test_until: Annotated[
        datetime | None,
        typer.Option(formats=_DAY, help="One fold: last date of the test [the last]."),
    ] = None,
    test_start: TestStart = None,
    horizon: Horizon = None,
    paths: Annotated[
        int | None, typer.Option(min=2, help="Paths per forecast, for the cumulative score [100].")
    ] = None,
    config: ConfigFile = None,
    set_: Settings = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the result; default: one in REPORTS_DIR.")
    ] = None,
    figures: Figures = None,
    seed: Seed = None,
    allow_bad_data: AllowBadData = False,
    jobs: Jobs = 2,
    data_dir: DataDir = DATA,
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Score the network against every baseline on the same days, and say who is better in words.

    Train, validate and test either walk forward, or in one fold between dates. An evaluation that was interrupted
    goes on where it stopped: finished parts are kept in DATA_DIR/cache.
    """
    from quantseq.config import resolve_config
    from quantseq.pipeline.data import need_symbols, resolve_panel

    wanted, places = symbol_list(symbols), places_at(data_dir, reports_dir)
    need_symbols(wanted, panel)
    settings = _settings(
        set_,
        seed=seed,
        num_paths=paths,
        forecaster__horizon=horizon,
        walk_forward__test_start=None if test_start is None else str(day(test_start)),
    )
    between = [day(date) for date in (train_until, validate_until, test_until)]
    if any(between):
        if None in between[:2]:
            raise ConfigError(
                "One fold between dates needs both --train-until and --validate-until. Give both, or "
                "leave the dates out for a walk-forward."
            )
        walking = sorted(name for name in settings if name.startswith("walk_forward."))
        walking = [name for name in walking if name.split(".")[1] not in ("purge", "embargo")]
        if walking:
            raise ConfigError(
                f"{walking[0]} belongs to a walk-forward, --train-until to one fold between dates. "
                "Give one or the other."
            )
    chosen = resolve_config(config, settings, progress=progress_of(quiet))
    prices = resolve_panel(wanted, panel=panel, places=places, start=day(start), end=day(end))
    from quantseq.pipeline.evaluate import Split, describe_evaluation, evaluate

    outcome = evaluate(
        prices,
        config=chosen,
        split=Split(*between) if any(between) else None,
        baselines=baselines,
        null=null,
        places=places,
        out=out,
        figures=figures,
        jobs=jobs,
        allow_bad_data=allow_bad_data,
        command=typed_command(),
        progress=progress_of(quiet),
    )
    _say(outcome.result["verdict"] if quiet else describe_evaluation(outcome.result))
    typer.echo(f"Result: {outcome.folder}")
    typer.echo(f"Report: {outcome.report}")
    save_json(json, outcome.to_json())


def sweep_command(
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
    model: Model = None,
    test_start: TestStart = None,
    config: ConfigFile = None,
    set_: Settings = None,
    seed: Seed = None,
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
    from quantseq.config import resolve_config
    from quantseq.forecasting.model_folder import load_forecaster
    from quantseq.pipeline.data import need_symbols, resolve_panel
    from quantseq.pipeline.sweep import Grid, describe_sweep, sweep

    wanted, places = symbol_list(symbols), places_at(data_dir, reports_dir)
    need_symbols(wanted, panel)
    if model is not None and horizons is not None:
        raise ConfigError(
            "--horizons was settled when the model was trained. Leave it out, or leave --model out to "
            "refit per fold."
        )
    settings = _settings(
        set_,
        seed=seed,
        walk_forward__test_start=None if test_start is None else str(day(test_start)),
    )
    fitted = None
    if model is not None:
        _settled_by_the_model(settings)
        fitted = load_forecaster(model)
    grid = Grid.parse(
        policies=policies,
        thresholds=thresholds,
        vary=vary or [],
        costs_bps=costs_bps,
        horizons=(horizons or "") if fitted is None else str(fitted.config.horizon),
    )
    if grid.horizons:
        settings["forecaster.horizon"] = max(grid.horizons)
    chosen = resolve_config(config, settings, progress=progress_of(quiet))
    grid.points(chosen)  # what is wrong with the grid is said before any price is read
    prices = resolve_panel(wanted, panel=panel, places=places, start=day(start), end=day(end))
    outcome = sweep(
        prices,
        grid=grid,
        config=chosen,
        model=fitted,
        places=places,
        jobs=jobs,
        allow_bad_data=allow_bad_data,
        command=typed_command(),
        progress=progress_of(quiet),
    )
    table, lines = describe_sweep(outcome.result)
    if not quiet:
        print_table(table)
        _say(lines)
    typer.echo(outcome.result["sweep"]["sentence"])
    typer.echo(outcome.result["verdict"]["sentence"])
    typer.echo(f"Result: {outcome.folder} (its best alone: quantseq backtest … --config best.toml)")
    save_json(json, outcome.to_json())


def trials_command(
    reports_dir: ReportsDir = REPORTS, quiet: Quiet = False, json: Json = None
) -> None:
    """List every trial ever scored here, and whether the chain of their ledger is whole.

    A damaged ledger is listed too, and ends with an error that says what is wrong.
    """
    from quantseq.pipeline.sweep import describe_trials, list_trials

    found = list_trials(places_at(DATA, reports_dir))
    if found["trials"] and not quiet:
        print_table(describe_trials(found))
    save_json(json, found)
    if not found["intact"]:
        raise RunError(found["sentence"])
    typer.echo(found["sentence"])


def audit_command(
    run: Annotated[Path, typer.Argument(help="Run folder that a backtest wrote.")],
    panel: PanelFile = None,
    model: Annotated[
        Path | None, typer.Option(help="The trained model, where the run scored one.")
    ] = None,
    jobs: Jobs = 2,
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Make a run again on its own prices and look for look-ahead; leaves with 6 where a check fails.

    Every fold is fitted again on prices that are noise after its window, forecasts are repeated on prices that are
    cut and rewritten, decisions are carried out late, and the line is sent over prices without anything to find.
    The result goes into the run's manifest, result and report.
    """
    from quantseq.forecasting.model_folder import load_forecaster
    from quantseq.pipeline.audit import audit, badge, describe_audit, describe_checks
    from quantseq.pipeline.data import resolve_panel

    outcome = audit(
        run,
        places=places_at(data_dir),
        panel=None if panel is None else resolve_panel([], panel=panel),
        model=None if model is None else load_forecaster(model),
        jobs=jobs,
        progress=progress_of(quiet),
    )
    save_json(json, {"folder": str(outcome.folder), **outcome.audit})
    if not quiet:
        _say(describe_checks(outcome))
    if not outcome.audit["passed"]:
        raise LeakageError(
            f"The audit of {str(run)!r} {badge(outcome.audit)}. "
            "Its readings say what moved; nothing that the run claims should be believed before."
        )
    typer.echo(describe_audit(outcome.audit))


def report_command(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="Folder that backtest, evaluate or train --task copy wrote [the newest]."
        ),
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="Write index.html, a page of all runs, instead.")
    ] = False,
    figures: Figures = None,
    open_: Open = False,
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
) -> None:
    """Render the page of a folder again, of a run, an evaluation or a toy task, or the index of all runs."""
    from quantseq.pipeline.compare import report

    if index and (run is not None or figures is not None):
        raise ConfigError(
            "--index is about all runs of --reports-dir. Leave the run and --figures out."
        )
    path = report(run, index=index, figures=figures, places=places_at(DATA, reports_dir))
    if not quiet:
        typer.echo(f"{'Index' if index else 'Report'}: {path}")
    if open_:
        typer.launch(str(path.absolute()))


def verify_command(
    what: Annotated[Path, typer.Argument(help="Run folder, or a report.html from anywhere.")],
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Recompute every figure from the data and render the page again; leave with 71 if one differs."""
    from quantseq.pipeline.verify import verify

    found = verify(what)
    save_json(json, found.to_json())
    checked = ", ".join(f"{number:,} {kind}" for kind, number in found.checked.items())
    if not quiet:
        typer.echo(f"Checked {checked}.")
        _say([f"Note: {note}" for note in found.notes])
        _say([str(one) for one in found.differences[:_MOST_LINES]])
        if len(found.differences) > _MOST_LINES:
            typer.echo(f"... and {len(found.differences) - _MOST_LINES} more; --json lists all")
    if not found.passed:
        raise VerificationError(
            f"{str(what)!r} is not what its data give: {len(found.differences)} differences, the first "
            f"is {found.differences[0]}. Render the page again with `quantseq report RUN`, or run the "
            "backtest again if its files were changed."
        )
    typer.echo("Verified: everything printed is what the data give.")


def compare_command(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders.")],
    out: Annotated[
        Path | None, typer.Option(help="The page [comparison.html in --reports-dir].")
    ] = None,
    open_: Open = False,
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Put several runs side by side: growth, scores, tests between their models, settings."""
    from quantseq.pipeline.compare import compare

    page = out or reports_dir / "comparison.html"
    found = compare(runs, out=page)
    save_json(json, found.to_json())
    if not quiet:
        _say(found.sentences())
    typer.echo(f"Comparison: {page}")
    if open_:
        typer.launch(str(page.absolute()))


def import_command(
    path: Annotated[Path, typer.Argument(help="CSV or Parquet: one symbol, or a panel of many.")],
    symbol: Annotated[
        str | None, typer.Option(help="Name it; default: its ticker, else the file's name.")
    ] = None,
    timezone: Timezone = "",
    currency: Annotated[str, typer.Option(help="Currency of the prices, such as USD.")] = "",
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Store your own prices; the first fault refuses them. `data check --file` names all faults."""
    from quantseq.pipeline.data import import_

    found = import_(
        path, symbol=symbol, timezone=timezone, currency=currency, places=places_at(data_dir)
    )
    rows = [
        {
            "symbol": one.symbol,
            "status": "replaced" if replaced else "new",
            "rows": len(one),
            "first": str(one.sessions[0]),
            "last": str(one.sessions[-1]),
        }
        for one, replaced in found.values()
    ]
    save_json(json, {"symbols": rows})
    if not quiet:
        print_table(rows)


def list_command(data_dir: DataDir = DATA, quiet: Quiet = False, json: Json = None) -> None:
    """List what is stored; a damaged file is named, and the others are listed all the same."""
    from quantseq.pipeline.data import list_

    rows = list_(places=places_at(data_dir))
    save_json(json, {"symbols": rows})
    if rows and not quiet:
        print_table(rows)
    elif not quiet:
        typer.echo(f"Nothing is stored in {data_dir}. Get prices with `quantseq fetch AAPL`.")


def show_command(
    symbol: Annotated[str, typer.Argument(help="A stored symbol.")],
    start: Start = None,
    end: End = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG to write; default: SYMBOL-LASTDATE.png here.")
    ] = None,
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Summarise a stored symbol and draw its closes and volume."""
    from quantseq.pipeline.data import show

    facts, path = show(symbol, start=day(start), end=day(end), out=out, places=places_at(data_dir))
    save_json(json, {**facts, "chart": str(path)})
    if not quiet:
        _say([f"{name:<16}  {text}" for name, text in facts.items()])
        typer.echo(f"Chart: {path}")


def check_command(
    symbols: Symbols = None,
    panel: PanelFile = None,
    file: Annotated[
        Path | None,
        typer.Option(help="Check a CSV or Parquet file instead, and count all of its faults."),
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="For --file: the name of the series.")] = None,
    timezone: Timezone = "",
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Look for what cannot be, or is rare: leaves with code 3 if there are errors, 0 otherwise."""
    from quantseq.pipeline.data import as_rows, check, describe_errors, errors_only, resolve_panel

    wanted, places = symbol_list(symbols), places_at(data_dir)
    if file is None and (symbol is not None or timezone):
        raise ConfigError("--symbol and --timezone belong to --file. Name the file too.")
    if file is not None and (wanted or panel is not None):
        raise ConfigError("--file is checked alone. Leave symbols and --panel out.")
    prices = None if panel is None else resolve_panel(wanted, panel=panel, places=places)
    found = check(wanted, file=file, symbol=symbol, timezone=timezone, panel=prices, places=places)
    rows = as_rows(found)
    for row in rows:
        row["first"] = row["sessions"][0] if row["sessions"] else ""
    save_json(json, {"findings": rows})
    order = ("symbol", "severity", "rule", "count", "first", "message")
    if rows and not quiet:
        print_table([{name: row[name] for name in order} for row in rows])
    elif not quiet:
        typer.echo("Nothing implausible was found.")
    if errors_only(found):
        raise BarsError(f"There are errors in the prices: {describe_errors(found)}.")


def rm_command(
    symbols: Annotated[list[str], typer.Argument(help="Stored symbols.")],
    interval: Annotated[
        str | None, typer.Option(help="Only bars of this length; default: all that are stored.")
    ] = None,
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
) -> None:
    """Remove stored prices; backups that a fetch has left stay where they are."""
    from quantseq.pipeline.data import rm

    removed = rm(symbol_list(symbols), interval=interval, places=places_at(data_dir))
    if not quiet:
        for symbol, (intervals, backups) in removed.items():
            typer.echo(f"Removed {symbol} ({', '.join(intervals)}).")
            _say([f"Kept the backup {path}" for path in backups])
