"""Commands about the toy tasks: study …."""

from pathlib import Path
from typing import Annotated

import typer

from quantseq.cli.options import (
    REPORTS,
    Jobs,
    Json,
    Quiet,
    ReportsDir,
    Seed,
    print_table,
    progress_of,
    save_json,
)


def copy_(
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each kind of machine.")] = 3,
    batches: Annotated[int, typer.Option(min=1, help="Batches of each training.")] = 2000,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for tables and figures; default: REPORTS_DIR/study-copy."),
    ] = None,
    seed: Seed = 0,
    jobs: Jobs = 2,
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Compare kinds of machines on the copy task: how fast each learns, by batch and by wall clock.

    Kinds are {forward, bidirectional} x {no attention, Bahdanau, Luong} x {LSTM, GRU} at the sizes of
    the tutorial. Every finished training is kept, so that the same command goes on after Ctrl-C or a
    kill. The numbers do not depend on --jobs, except the seconds: several processes slow each other
    down, and --jobs 1 on an idle machine measures them best. The default is about ten minutes of one
    core.
    """
    from quantseq.pipeline.study import describe, study_copy

    folder = out or reports_dir / "study-copy"
    result = study_copy(
        out=folder,
        seeds=seeds,
        batches=batches,
        seed=seed,
        jobs=jobs,
        progress=progress_of(quiet),
    )
    save_json(json, result)
    if not quiet:
        print_table(describe(result))
        typer.echo(f"Figures and tables: {folder}")
