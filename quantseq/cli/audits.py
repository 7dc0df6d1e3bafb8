"""The command that looks for look-ahead in a run: audit."""

from pathlib import Path
from typing import Annotated

import typer

from quantseq.cli.options import (
    DATA,
    DataDir,
    Jobs,
    Json,
    PanelFile,
    Quiet,
    places_at,
    progress_of,
    save_json,
)
from quantseq.errors import LeakageError


def audit(
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

    Every fold is fitted again on prices that are noise after its window, forecasts are repeated on
    prices that are cut and rewritten, decisions are carried out late, and the line is sent over prices
    without anything to find. The result goes into the run's manifest, result and report.
    """
    from quantseq.forecasting.model_folder import load_forecaster
    from quantseq.pipeline.checks.auditing import badge, describe_audit
    from quantseq.pipeline.checks.recreating import audit as run_audit
    from quantseq.pipeline.checks.recreating import describe
    from quantseq.pipeline.data import resolve_panel

    outcome = run_audit(
        run,
        places=places_at(data_dir),
        panel=None if panel is None else resolve_panel([], panel=panel),
        model=None if model is None else load_forecaster(model),
        jobs=jobs,
        progress=progress_of(quiet),
    )
    save_json(json, {"folder": str(outcome.folder), **outcome.audit})
    if not quiet:
        for line in describe(outcome):
            typer.echo(line)
    if not outcome.audit["passed"]:
        raise LeakageError(
            f"The audit of {str(run)!r} {badge(outcome.audit)}. "
            "Its readings say what moved; nothing that the run claims should be believed before."
        )
    typer.echo(describe_audit(outcome.audit))
