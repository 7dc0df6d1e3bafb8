"""The commands: parse, call the pipeline's function of the same name, print.

Owns options and what is printed of a result. Knows no computation; heavy packages are imported inside the
commands, so that ``--help`` answers at once.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from quantseq import errors
from quantseq.cli import options as opt

if TYPE_CHECKING:
    from quantseq.forecasting.forecaster import Seq2SeqForecaster
    from quantseq.market.update import FetchOutcome
    from quantseq.pipeline.backtest import BacktestOutcome

_MOST_LINES = 20
"""Differences that `verify` prints; ``--json`` has all."""

_FIRST_ROWS = 5
"""Rows that a dry run of an import shows."""


def demo_command(line: opt.Line) -> None:
    """Run the whole line on the bundled real prices, offline, and write a report."""
    from quantseq.pipeline.backtest import demo

    _tell_backtest(demo(seed=line.seed or 0, **line.run), line)


def fetch_command(
    to: opt.Data,
    symbols: Annotated[
        list[str] | None, Argument(help="Symbols as the source writes them.")
    ] = None,
    file: Annotated[
        Path | None,
        Option(help="Also those in this file, between blanks, commas or lines; # is a comment."),
    ] = None,
    start: opt.Start = None,
    end: opt.End = None,
    interval: Annotated[str, Option(help="Length of a bar: 1d, 1wk, 1h or 5m.")] = "1d",
    source: Annotated[
        str, Option(help="yahoo, sample for the bundled prices, or an installed source.")
    ] = "yahoo",
    full: Annotated[
        bool, Option("--full", help="Fetch the whole history anew; the old file is kept.")
    ] = False,
    rate: Annotated[float, Option(help="Requests a second, about.")] = 1.0,
    allow_gaps: opt.Gaps = False,
    keep_closes: opt.Closes = False,
    events: Annotated[
        bool, Option("--events", help="Also the dates of earnings, past and to come.")
    ] = False,
) -> None:
    """Download bars and store them; a failure never replaces what is stored.

    Only what is missing is asked for, with an overlap of 10 sessions. A new split or dividend, or an
    overlap that differs by more than 0.01 %, fetches the whole history anew (vintage drift). Without
    --start, stored bars are continued and others fetched from their beginning. A session's bar is taken
    half an hour after its close. Only daily bars can be trained on. Rows that cannot be used are left out and counted;
    more than 5 % of them need --allow-gaps.

    A bad symbol does not stop a batch. After three symbols in a row without an answer the batch stops; the
    same command goes on with what is left, also after Ctrl-C or a kill.

    Exit codes: 0 all well, 2 wrong options, 31 symbol not found, 32 no data in the range, 41 source
    unavailable, 42 rate limited, 43 bad response, 3 other faults of the data or the disk, 130 Ctrl-C.
    A batch leaves with the code of its failures if they are all alike, else with 8.
    """
    from quantseq.pipeline.data import fetch

    wanted = opt.symbol_list(symbols, None if file is None else _symbols_in(file))
    if not wanted:
        raise errors.ConfigError(
            "No symbols were named. Give symbols such as AAPL, or a file of them with --file."
        )
    outcomes: list[FetchOutcome] = []
    with to.progress.bar(f"fetch from {source}", len(wanted), unit="symbol") as bar:

        def note(one: "FetchOutcome") -> None:
            outcomes.append(one)
            bar.step(last=one.symbol, failed=sum(each.status == "failed" for each in outcomes))

        span: Any = {"start": start, "end": end, "interval": interval}
        how: Any = {"source": source, "full": full, "rate": rate, "places": to.places}
        how |= {"allow_gaps": allow_gaps, "keep_closes": keep_closes, "events": events}
        try:
            fetch(wanted, on_symbol=note, **span, **how)
        except KeyboardInterrupt as stop:
            _tell_fetch(outcomes, wanted, to)
            raise KeyboardInterrupt(
                f"{len(outcomes)} of {len(wanted)} symbols are done; the same command goes on from there."
            ) from stop
    left = _tell_fetch(outcomes, wanted, to)
    if failed := [one.error for one in outcomes if one.error is not None]:
        raise _failure(failed, len(outcomes), left)


def _symbols_in(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise errors.ConfigError(
            f"Cannot read {str(path)!r}: {error}. --file takes a text file with symbols."
        ) from error
    return [word for line in lines for word in line.partition("#")[0].split()]


def _tell_fetch(
    outcomes: "Sequence[FetchOutcome]", wanted: Sequence[str], to: opt.Told
) -> list[str]:
    """Write the result and print it; what is left was not asked for yet, or failed for no fault of its own."""
    from quantseq.market.update import RETRYABLE

    names: tuple[str, ...] = ("symbol", "status", "rows", "first", "last", "why")
    rows = []
    for one in outcomes:
        error = None if one.error is None else type(one.error)
        row = {name: getattr(one, name) for name in (*names, "drift")}
        row |= {"error": error and error.__name__, "exit_code": error.exit_code if error else 0}
        rows.append({**row, "backup": one.backup or None, "events": one.events})
    if any(one.events is not None for one in outcomes):
        names += ("events",)
    statuses = [one.status for one in outcomes]
    counts = {kind: statuses.count(kind) for kind in ("new", "updated", "unchanged", "failed")}
    done = {one.symbol for one in outcomes if not isinstance(one.error, RETRYABLE)}
    left = [symbol for symbol in wanted if symbol not in done]
    to.save({"symbols": rows, "counts": counts, "left": left})
    if statuses != ["failed"]:
        to.table(rows, names)
    if len(rows) > 1:
        to.say(", ".join(f"{count} {status}" for status, count in counts.items()))
    return left


def _failure(failed: Sequence[Exception], total: int, left: Sequence[str]) -> Exception:
    """One error for all failures: of their class if it is one, else a `BatchError`."""
    remedy = " The same command goes on with what is left." if left else ""
    kinds = {type(one) for one in failed}
    said = f"{failed[0]}{remedy}"
    if total > 1:
        said = f"{len(failed)} of {total} symbols failed. First: {said}"
    error: Exception = (kinds.pop() if len(kinds) == 1 else errors.BatchError)(said)
    return error


def train_command(
    to: opt.Data,
    ahead: opt.Ahead,
    task: Annotated[str, Option(help="price, or a toy task: copy, reverse, sort.")],
    more: opt.Symbols = None,
    symbols: Annotated[
        list[str] | None,
        Option(help="Stored symbols, comma-separated or repeated, or all; default: all."),
    ] = None,
    preset: Annotated[
        str | None, Option(help="For toys: seed, bidirectional, attention or strong [strong].")
    ] = None,
    batches: Annotated[
        int | None,
        Option(min=1, max=10_000_000, help="For toys: training batches instead of the preset's."),
    ] = None,
    panel: opt.PanelFile = None,
    start: opt.Start = None,
    end: opt.End = None,
    horizon: opt.Horizon = None,
    config: opt.ConfigFile = None,
    set_: opt.Settings = None,
    out: Annotated[Path | None, Option(help="Model folder; default: DATA_DIR/models/TASK.")] = None,
    resume: Annotated[bool, Option("--resume", help="Go on where it was interrupted.")] = False,
    figures: opt.Figures = None,
    allow_bad_data: opt.AllowBadData = False,
    seed: opt.Seed = None,
    jobs: opt.Jobs = 2,
) -> None:
    """Train the model: on prices after the copy gate, or on a toy task that validates the machine.

    A toy task prints loss and three samples, teacher-forced and free-running, before batch 0, 1000,
    2000, ..., then how well fresh and longer sequences are answered; its page and charts lie beside the model.
    """
    from quantseq.pipeline.train import describe_training, train

    prices: Any = None
    how: Any = {"seed": seed or 0, "resume": resume, "progress": to.progress, "places": to.places}
    toys: Any = {"preset": preset, "batches": batches, "figures": figures}
    if task == "price":
        from quantseq.config import resolve_config
        from quantseq.pipeline.data import describe_events, resolve_panel

        _only_for("copy, reverse or sort", **toys)
        asked = opt.asked_settings(set_, seed=seed, forecaster__horizon=horizon)
        chosen = resolve_config(config, asked, progress=to.progress)
        _only_settings(asked, "forecaster", "seed")
        how |= {"config": chosen.forecaster, "seed": chosen.seed}
        how |= {"jobs": jobs, "allow_bad_data": allow_bad_data}
        span: Any = {"start": start, "end": end, "allow_bad_data": allow_bad_data}
        wanted = opt.symbol_list(more, symbols)
        wanted = [] if wanted == ["all"] else wanted
        prices = resolve_panel(wanted, panel=panel, places=to.places, **span, **ahead.known)
        to.say(*describe_events(prices))
    else:
        given: Any = {"more": more, "symbols": symbols, "panel": panel, "horizon": horizon}
        given |= {"config": config, "set": set_, "allow_bad_data": allow_bad_data or None}
        given |= {"events": ahead.events, "covariate": ahead.covariate}
        _only_for("price", **given, start=start, end=end)
        how |= {**toys, "preset": preset or "strong"}
    metrics = train(prices, task=task, out=out, **how)
    to.save(metrics)
    to.say(*describe_training(metrics))
    to.say(f"{'Model' if task == 'price' else 'Model and charts'}: {metrics.folder}")
    if metrics.report is not None:
        to.say(f"Report: {metrics.report}")


def _only_settings(asked: Mapping[str, Any], *sections: str) -> None:
    """Refuse settings that decide nothing in this command, rather than ignore them."""
    for name in asked:
        if name.partition(".")[0] not in sections:
            raise errors.ConfigError(
                f"{name} decides nothing here, where only {', '.join(sections)} do. Leave it out."
            )


def _only_for(task: str, **given: object) -> None:
    """Refuse options of the other task, rather than ignore them."""
    for name, value in given.items():
        if value is not None:
            option = "symbols" if name == "more" else f"--{name.replace('_', '-')}"
            raise errors.ConfigError(
                f"{option} belongs to --task {task}. Leave it out, or change the task."
            )


def forecast_command(
    line: opt.Line,
    ahead: opt.Ahead,
    symbols: opt.Symbols = None,
    horizon: Annotated[int, Option(min=1, help="Sessions ahead.")] = 5,
    model: Annotated[
        Path | None, Option(help="Model folder; default: DATA_DIR/models/price.")
    ] = None,
    cutoff: Annotated[date | None, opt.DateOption(help="Forecast as of this session.")] = None,
    paths: Annotated[int, Option(min=100, max=1_000_000, help="Sampled paths.")] = 1000,
    panel: opt.PanelFile = None,
    csv: Annotated[Path | None, Option(help="Also write the table to this file.")] = None,
    allow_bad_data: opt.AllowBadData = False,
) -> None:
    """Forecast the next sessions: quantiles, P(up), and a fan chart per symbol."""
    from quantseq.files import check_file, write_text
    from quantseq.forecasting.model_folder import load_forecaster
    from quantseq.pipeline.data import as_rows, need_symbols, peers_of, resolve_panel
    from quantseq.pipeline.forecast import describe_forecast, draw_fans, forecast
    from quantseq.reporting.charts import font_note

    wanted, places, seed = opt.symbol_list(symbols), line.places, line.seed or 0
    need_symbols(wanted, panel)
    if csv is not None:
        check_file(csv, b"symbol,cutoff,step,last_close,")
    how: Any = {"allow_bad_data": allow_bad_data, **ahead.known}
    prices = resolve_panel(wanted, panel=panel, places=places, **how)
    fitted = load_forecaster(model or places.models / "price")
    how = {"horizon": horizon, "cutoff": cutoff, "num_paths": paths, "seed": seed}
    peers = peers_of(fitted.symbols, prices, panel=panel, places=places)
    how |= {"peers": peers, "allow_bad_data": allow_bad_data}
    found = forecast(prices, fitted, places=line.places, **how)
    charts = draw_fans(prices, found, places.reports, jobs=line.jobs)
    table, moved = (
        one.assign(cutoff=one["cutoff"].dt.strftime("%Y-%m-%d"))
        for one in (found.table, found.moved)
    )
    if csv is not None:
        write_text(csv, table.to_csv(index=False))
    line.save(
        {
            "forecasts": table.to_dict(orient="records"),
            "moved": moved.to_dict(orient="records"),
            "model": fitted.describe(),
            "charts": {symbol: str(path) for symbol, path in charts.items()},
            "notes": list(found.notes),
            "data_findings": as_rows(found.data_findings),
            "seed": seed,
        }
    )
    line.say(*describe_forecast(found, fitted), *(f"Chart: {path}" for path in charts.values()))
    line.say(*filter(None, [font_note("".join(charts))]))


def backtest_command(
    walk: opt.Walk,
    policy: Annotated[
        str | None, Option(help="How to trade; docs/policies.md lists them [kelly].")
    ] = None,
    cost_bps: Annotated[
        float | None, Option(min=0, help="Cost of traded notional, basis points [5].")
    ] = None,
    horizon: opt.Horizon = None,
    model: opt.Model = None,
    figures: opt.Figures = None,
) -> None:
    """Walk forward, trade the forecasts with costs, and write a run folder with report.html.

    A backtest that was interrupted goes on where it stopped: finished folds are kept in DATA_DIR/cache.
    """
    from quantseq.pipeline.backtest import backtest
    from quantseq.reporting.render import export_figures, page_of

    costs = {"costs__cost_bps": cost_bps, "policy__name": policy}
    asked = walk.settings(forecaster__horizon=horizon, **costs)
    if (fitted := _trained(model, asked)) is not None:
        asked["forecaster.horizon"] = fitted.config.horizon
    chosen = walk.configured(asked)
    outcome = backtest(walk.prices(), config=chosen, model=fitted, **walk.run)
    if figures is not None:
        export_figures(page_of(outcome.folder), figures)
    _tell_backtest(outcome, walk)


def _trained(model: Path | None, asked: Mapping[str, Any]) -> "Seq2SeqForecaster | None":
    """The model, if one was named; settings that it has settled already are refused."""
    from quantseq.forecasting.model_folder import load_forecaster

    free = ("walk_forward.test_start", "walk_forward.purge")
    for name in asked if model is not None else ():
        if name.startswith(("forecaster.", "walk_forward.")) and name not in free:
            raise errors.ConfigError(
                f"{name} was settled when the model was trained. "
                "Leave it out, or leave --model out to refit per fold."
            )
    return None if model is None else load_forecaster(model)


def _tell_backtest(outcome: "BacktestOutcome", to: opt.Told) -> None:
    from quantseq.pipeline.backtest import describe_backtest

    to.save(outcome.to_json())
    to.say(*describe_backtest(outcome))
    to.tell(outcome.verdict["sentence"], f"Report: {outcome.report}")


def evaluate_command(
    walk: opt.Walk,
    baselines: Annotated[
        str,
        Option(
            help="all, none, or names such as garch-t,gjr-garch-skewt; our reference is always in."
        ),
    ] = "all",
    null: Annotated[
        str | None,
        Option(help="Also run the line where nothing is to be found: gbm, garch or permuted."),
    ] = None,
    train_until: Annotated[
        date | None, opt.DateOption(help="One fold: last date of training.")
    ] = None,
    validate_until: Annotated[
        date | None, opt.DateOption(help="One fold: last date of validation.")
    ] = None,
    test_until: Annotated[
        date | None, opt.DateOption(help="One fold: last date of the test [the last].")
    ] = None,
    horizon: opt.Horizon = None,
    paths: Annotated[
        int | None, Option(min=2, help="Paths per forecast, for the cumulative score [100].")
    ] = None,
    out: Annotated[
        Path | None, Option(help="Folder of the result; default: one in REPORTS_DIR.")
    ] = None,
    figures: opt.Figures = None,
) -> None:
    """Score the network against every baseline on the same days, and say who is better in words.

    Train, validate and test either walk forward, or in one fold between dates. An evaluation that was interrupted
    goes on where it stopped: finished parts are kept in DATA_DIR/cache.
    """
    from quantseq.pipeline.evaluate import Split, describe_evaluation, evaluate

    asked = walk.settings(num_paths=paths, forecaster__horizon=horizon)
    between = (train_until, validate_until, test_until)
    if any(between):
        if None in between[:2]:
            raise errors.ConfigError(
                "One fold between dates needs both --train-until and --validate-until. Give both, or "
                "leave the dates out for a walk-forward."
            )
        gaps = {"walk_forward.purge", "walk_forward.embargo"}
        if walking := sorted(name for name in {*asked} - gaps if name.startswith("walk_forward.")):
            raise errors.ConfigError(
                f"{walking[0]} belongs to a walk-forward, --train-until to one fold between dates. "
                "Give one or the other."
            )
    chosen, split = walk.configured(asked), Split(*between) if any(between) else None
    _only_settings(asked, "forecaster", "walk_forward", "num_paths", "seed")
    how: Any = {"split": split, "baselines": baselines, "null": null, "out": out}
    outcome = evaluate(walk.prices(), config=chosen, figures=figures, **how, **walk.run)
    told = outcome.result["verdict"] if walk.quiet else describe_evaluation(outcome.result)
    walk.save(outcome.to_json())
    walk.tell(*told, f"Result: {outcome.folder}", f"Report: {outcome.report}")


def sweep_command(
    walk: opt.Walk,
    policies: Annotated[str, Option(help="all, or names such as kelly,rank.")] = "all",
    thresholds: Annotated[
        str | None, Option(help="Thresholds of the policy `probability` [0.5,0.51,0.52,0.55].")
    ] = None,
    vary: Annotated[
        list[str] | None,
        Option(help="Values of any parameter, such as kelly.fraction=0.1,0.5; repeatable."),
    ] = None,
    costs_bps: Annotated[str, Option(help="Costs of traded notional, basis points.")] = "0,5,10,20",
    horizons: Annotated[str | None, Option(help="Steps ahead; each is trained anew [5].")] = None,
    model: opt.Model = None,
) -> None:
    """Try policies, thresholds, costs and horizons on the same forecasts, and judge the best honestly.

    Forecasts are made once per horizon. Every point is a trial: it gets its line in the ledger, and its
    net returns are kept. A sweep that was interrupted goes on where it stopped.
    """
    from quantseq.pipeline.sweep import Grid, describe_sweep, sweep

    asked = walk.settings()
    if horizons is not None and "forecaster.horizon" in asked:
        raise errors.ConfigError(
            "forecaster.horizon is given twice, by --horizons and by --set. Give it once."
        )
    if model is not None and horizons is not None:
        raise errors.ConfigError(
            "--horizons was settled when the model was trained. Leave it out, or leave --model out to "
            "refit per fold."
        )
    fitted = _trained(model, asked)
    grid = Grid.parse(
        policies=policies,
        thresholds=thresholds,
        vary=vary or [],
        costs_bps=costs_bps,
        horizons=(horizons or "") if fitted is None else str(fitted.config.horizon),
    )
    if grid.horizons:
        asked["forecaster.horizon"] = max(grid.horizons)
    chosen = walk.configured(asked)
    grid.points(chosen)  # what is wrong with the grid is said before any price is read
    outcome = sweep(walk.prices(), grid=grid, config=chosen, model=fitted, **walk.run)
    walk.save(outcome.to_json())
    table, lines = describe_sweep(outcome.result)
    walk.table(table)
    walk.say(*lines)
    walk.tell(outcome.result["sweep"]["sentence"], outcome.result["verdict"]["sentence"])
    walk.tell(f"Result: {outcome.folder} (its best alone: quantseq backtest … --config best.toml)")


def trials_command(to: opt.Reports) -> None:
    """List every trial ever scored here, and whether the chain of their ledger is whole.

    A damaged ledger is listed too, and ends with an error that says what is wrong.
    """
    from quantseq.pipeline.sweep import describe_trials, list_trials

    found = list_trials(to.places)
    to.save(found)
    to.table(describe_trials(found))
    if not found["intact"]:
        raise errors.RunError(found["sentence"])
    to.tell(found["sentence"])


def audit_command(
    to: opt.Data,
    ahead: opt.Ahead,
    run: Annotated[Path, Argument(help="Run folder that a backtest wrote.")],
    panel: opt.PanelFile = None,
    model: Annotated[
        Path | None, Option(help="The trained model, where the run scored one.")
    ] = None,
    jobs: opt.Jobs = 2,
) -> None:
    """Make a run again on its own prices and look for look-ahead; leaves with 6 where a check fails.

    Every fold is fitted again on prices that are noise after its window, forecasts and decisions are repeated on
    prices that are cut, decisions are carried out late and dealt by chance. The result goes into the run's manifest, result and report.
    """
    from quantseq.forecasting.model_folder import load_forecaster
    from quantseq.pipeline.audit import audit, badge, describe_audit, describe_checks
    from quantseq.pipeline.data import resolve_panel

    prices = None
    if panel is not None:
        prices = resolve_panel(
            [], panel=panel, places=to.places, allow_bad_data=True, **ahead.known
        )
    fitted = None if model is None else load_forecaster(model)
    how: Any = {"places": to.places, "jobs": jobs, "progress": to.progress}
    outcome = audit(run, panel=prices, model=fitted, ahead=ahead.known, **how)
    to.save({"folder": str(outcome.folder), **outcome.audit})
    to.say(*describe_checks(outcome))
    if not outcome.audit["passed"]:
        raise errors.LeakageError(
            f"The audit of {str(run)!r} {badge(outcome.audit)}. "
            "Its readings say what moved; nothing that the run claims should be believed before."
        )
    to.tell(describe_audit(outcome.audit))


def report_command(
    run: Annotated[
        Path | None,
        Argument(help="Folder that backtest, evaluate or train --task copy wrote [the newest]."),
    ] = None,
    index: Annotated[
        bool, Option("--index", help="Write index.html, a page of all runs, instead.")
    ] = False,
    figures: opt.Figures = None,
    open_: opt.Open = False,
    reports_dir: opt.ReportsDir = opt.REPORTS,
    quiet: opt.Quiet = False,
) -> None:
    """Render the page of a folder again, of a run, an evaluation or a toy task, or the index of all runs."""
    from quantseq.pipeline.compare import report

    if index and (run is not None or figures is not None):
        raise errors.ConfigError(
            "--index is about all runs of --reports-dir. Leave the run and --figures out."
        )
    path = report(
        run, index=index, figures=figures, places=opt.Reports(reports_dir=reports_dir).places
    )
    opt.Told(quiet).say(f"{'Index' if index else 'Report'}: {path}")
    if open_:
        typer.launch(str(path.absolute()))


def verify_command(
    to: opt.Told,
    what: Annotated[Path, Argument(help="Run folder, or a report.html from anywhere.")],
) -> None:
    """Recompute every figure from the data and render the page again; leave with 71 if one differs."""
    from quantseq.pipeline.verify import verify

    found = verify(what)
    to.save(found.to_json())
    checked = ", ".join(f"{number:,} {kind}" for kind, number in found.checked.items())
    to.say(f"Checked {checked}.", *(f"Note: {note}" for note in found.notes))
    to.say(*map(str, found.differences[:_MOST_LINES]))
    if len(found.differences) > _MOST_LINES:
        to.say(f"... and {len(found.differences) - _MOST_LINES} more; --json lists all")
    if not found.passed:
        raise errors.VerificationError(
            f"{str(what)!r} is not what its data give: {len(found.differences)} differences, the first "
            f"is {found.differences[0]}. Render the page again with `quantseq report RUN`, or run the "
            "backtest again if its files were changed."
        )
    to.tell("Verified: everything printed is what the data give.")


def compare_command(
    to: opt.Reports,
    runs: Annotated[list[Path], Argument(help="Two or more run folders.")],
    out: Annotated[Path | None, Option(help="The page [comparison.html in --reports-dir].")] = None,
    open_: opt.Open = False,
) -> None:
    """Put several runs side by side: growth, scores, tests between their models, settings."""
    from quantseq.pipeline.compare import compare

    page = out or to.reports_dir / "comparison.html"
    found = compare(runs, out=page)
    to.save(found.to_json())
    to.say(*found.sentences())
    to.tell(f"Comparison: {page}")
    if open_:
        typer.launch(str(page.absolute()))


def import_command(
    to: opt.Data,
    shape: opt.FileShape,
    path: Annotated[Path, Argument(help="CSV, also packed as gz or zip, or Parquet.")],
    symbol: Annotated[
        str | None,
        Option(
            help="Name it, or choose one of several; default: its ticker, else the file's name."
        ),
    ] = None,
    currency: Annotated[str, Option(help="Currency of the prices, such as USD.")] = "",
    start: opt.Start = None,
    allow_gaps: opt.Gaps = False,
    keep_closes: opt.Closes = False,
    replace: Annotated[
        bool,
        Option("--replace", help="Also where something stored is lost; a backup is kept."),
    ] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Show what would be stored, and store nothing.")
    ] = False,
) -> None:
    """Store your own prices, from files as people have them; docs/importing.md lists the shapes.

    What the file leaves open is never guessed: the error names the option that says it. Rows that cannot be used are left out
    and counted; more than 5 % of them need --allow-gaps. `data check --file` counts every fault.
    """
    from quantseq.market.health import describe_left_out
    from quantseq.pipeline.data import describe_imported, import_

    how: Any = {"symbol": symbol, "how": shape.reading, "currency": currency, "start": start}
    how |= {"allow_gaps": allow_gaps, "keep_closes": keep_closes}
    found = import_(path, places=to.places, replace_=replace, dry_run=dry_run, **how)
    rows: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    for one in found:
        bars = one.bars
        row: Any = {"symbol": bars.symbol, "status": one.status, "interval": bars.interval}
        row |= {"rows": len(bars), "first": str(bars.sessions[0]), "last": str(bars.sessions[-1])}
        rows.append({**row, "backup": one.backup or None, "why": describe_left_out(bars)})
    facts = found[0].bars.provenance
    read_as, notes = facts["read_as"], facts.get("notes", [])
    to.save({"symbols": rows, "read_as": read_as, "notes": notes, "stored": not dry_run})
    if dry_run:
        first = found[0].bars.rows(slice(0, _FIRST_ROWS))
        for day, values in zip(first.sessions, first.to_frame().to_dict("records"), strict=True):
            shown.append({"date": day, **{str(k): f"{one:.10g}" for k, one in values.items()}})
        to.table(shown)
        to.say("Read as: " + "; ".join(f"{name} {one!r}" for name, one in read_as.items() if one))
    if any(row["backup"] or row["why"] for row in rows):
        to.table(rows)
    else:
        to.table(rows, ("symbol", "status", "interval", "rows", "first", "last"))
    to.say(*(f"Note: {note}." for note in notes))
    if dry_run:
        to.say("Nothing was stored: this was a dry run.")
    elif errors_found := describe_imported(found, places=to.places):
        to.say(errors_found)


def import_events_command(
    to: opt.Data,
    path: Annotated[
        Path,
        Argument(help="CSV with symbol and date, and kind, timing and known_on if they are known."),
    ],
    symbol: Annotated[
        str | None, Option(help="The symbol of all rows, where no column says it.")
    ] = None,
    replace: Annotated[
        bool, Option("--replace", help="Also where stored events are lost; a backup is kept.")
    ] = False,
) -> None:
    """Store scheduled events, such as dates of earnings, which forecasts then know in advance.

    A timing is before-open, after-close or unknown; known_on is the first close at which the event was known. From its
    first date on, a file says all events of their kind; what is stored of earlier dates and of other kinds stays.
    """
    from quantseq.market.store import Store
    from quantseq.pipeline.data import import_events

    found, left_out = import_events(path, symbol=symbol, replace_=replace, places=to.places)
    rows = [
        {
            "symbol": one.symbol,
            "status": one.status,
            "events": len(one.events),
            "first": str(one.events.dates[0]),
            "last": str(one.events.dates[-1]),
            "backup": one.backup or None,
        }
        for one in found
    ]
    to.save({"symbols": rows, "left_out": left_out})
    to.table(rows)
    for why, lines in left_out.items():
        more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
        to.say(f"Left out {len(lines)}: {why} ({', '.join(lines[:3])}{more}).")
    store = Store(to.places.data)
    if strangers := [one.symbol for one in found if one.symbol not in store]:
        more = f" and {len(strangers) - 6} more" if len(strangers) > 6 else ""
        to.say(f"Note: no daily prices are stored of {', '.join(strangers[:6])}{more}.")


def list_command(to: opt.Data) -> None:
    """List what is stored; a damaged file is named, and the others are listed all the same."""
    from quantseq.pipeline.data import list_

    rows = list_(places=to.places)
    to.save({"symbols": rows})
    to.table(rows)
    if not rows:
        to.say(f"Nothing is stored in {to.data_dir}. Get prices with `quantseq fetch AAPL`.")


def show_command(
    to: opt.Data,
    symbol: Annotated[str, Argument(help="A stored symbol.")],
    start: opt.Start = None,
    end: opt.End = None,
    out: Annotated[
        Path | None, Option(help="PNG to write; default: SYMBOL-LASTDATE.png here.")
    ] = None,
) -> None:
    """Summarise a stored symbol and draw its closes and volume."""
    from quantseq.pipeline.data import show

    facts, path = show(symbol, start=start, end=end, out=out, places=to.places)
    to.save({**facts, "chart": str(path)})
    to.say(*(f"{name:<16}  {text}" for name, text in facts.items()), f"Chart: {path}")


def check_command(
    to: opt.Data,
    shape: opt.FileShape,
    symbols: opt.Symbols = None,
    panel: opt.PanelFile = None,
    file: Annotated[
        Path | None,
        Option(help="Check a CSV or Parquet file instead, and count all of its faults."),
    ] = None,
    symbol: Annotated[str | None, Option(help="For --file: the name of the series.")] = None,
) -> None:
    """Look for what cannot be, or is rare: leaves with code 3 if there are errors, 0 otherwise."""
    from quantseq.pipeline.data import (
        alike,
        as_rows,
        check,
        describe_errors,
        errors_only,
        resolve_panel,
    )

    wanted, places = opt.symbol_list(symbols), to.places
    if file is None and (symbol is not None or shape.given or shape.format):
        raise errors.ConfigError(
            "--symbol, and what a file does not say, belong to --file. Name the file too."
        )
    if file is not None and (wanted or panel is not None):
        raise errors.ConfigError("--file is checked alone. Leave symbols and --panel out.")
    prices = None if panel is None else resolve_panel(wanted, panel=panel, places=places)
    how: Any = {"file": file, "symbol": symbol, "how": shape.reading}
    found = check(wanted, panel=prices, places=places, **how)
    rows = as_rows(found)
    for row in rows:
        row["first"] = row["sessions"][0] if row["sessions"] else ""
    to.save({"findings": rows})
    to.table(alike(rows), ("symbol", "severity", "rule", "count", "first", "message"))
    if not rows:
        to.say("Nothing implausible was found.")
    if errors_only(found):
        raise errors.BarsError(f"There are errors in the prices: {describe_errors(found)}.")


def rm_command(
    symbols: Annotated[list[str], Argument(help="Stored symbols.")],
    interval: Annotated[
        str | None, Option(help="Only bars of this length; default: all that are stored.")
    ] = None,
    data_dir: opt.DataDir = opt.DATA,
    quiet: opt.Quiet = False,
) -> None:
    """Remove stored prices; backups that a fetch has left stay where they are."""
    from quantseq.pipeline.data import rm

    to = opt.Data(quiet, data_dir=data_dir)
    removed = rm(opt.symbol_list(symbols), interval=interval, places=to.places)
    for symbol, (intervals, backups) in removed.items():
        to.say(f"Removed {symbol} ({', '.join(intervals)}).")
        to.say(*(f"Kept the backup {path}" for path in backups))
