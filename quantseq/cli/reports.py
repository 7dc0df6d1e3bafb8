"""Commands about finished runs: report, verify and compare."""

from pathlib import Path
from typing import Annotated

import typer

from quantseq.cli.options import REPORTS, Figures, Json, Quiet, ReportsDir, save_json
from quantseq.errors import ConfigError, VerificationError

MOST_LINES = 20
"""Differences that are printed; ``--json`` has all."""

Open = Annotated[bool, typer.Option("--open", help="Show the page in the browser.")]


def report(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="Folder that backtest, evaluate or train --task copy wrote [the newest]."
        ),
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="Write index.html, a page of all runs, instead.")
    ] = False,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Also print the page into report.pdf, through Chromium.")
    ] = False,
    figures: Figures = None,
    open_: Open = False,
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
) -> None:
    """Render the page of a folder again, of a run, an evaluation or a toy task, or the index of all runs."""
    from quantseq.pipeline.printing import print_pdf
    from quantseq.reporting.figures import export_figures
    from quantseq.reporting.index import newest, write_index
    from quantseq.reporting.pages import page_of, rewrite

    if index:
        if run is not None or pdf or figures is not None:
            raise ConfigError(
                "--index is about all runs of --reports-dir. Leave the run, --pdf and --figures out."
            )
        paths = [write_index(reports_dir)]
    else:
        folder = run or newest(reports_dir)
        paths = [rewrite(folder)]
        if figures is not None:
            export_figures(page_of(folder), figures)
        if pdf:
            paths.append(print_pdf(paths[0]))
    if not quiet:
        for path in paths:
            label = "Index" if index else "PDF" if path.suffix == ".pdf" else "Report"
            typer.echo(f"{label}: {path}")
    if open_:
        _show(paths[-1])


def verify(
    what: Annotated[Path, typer.Argument(help="Run folder, or a report.html from anywhere.")],
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Recompute every printed figure from the data; leave with 71 if one differs."""
    from quantseq.pipeline.checks.verifying import verify as run_verify

    found = run_verify(what)
    save_json(json, found.to_json())
    checked = ", ".join(f"{number:,} {kind}" for kind, number in found.checked.items())
    if not quiet:
        typer.echo(f"Checked {checked}.")
        for note in found.notes:
            typer.echo(f"Note: {note}")
        for one in found.differences[:MOST_LINES]:
            typer.echo(str(one))
        if len(found.differences) > MOST_LINES:
            typer.echo(f"... and {len(found.differences) - MOST_LINES} more; --json lists all")
    if not found.passed:
        raise VerificationError(
            f"{str(what)!r} is not what its data give: {len(found.differences)} differences, the first "
            f"is {found.differences[0]}. Render the page again with `quantseq report RUN`, or run the "
            "backtest again if its files were changed."
        )
    typer.echo("Verified: everything printed is what the data give.")


def compare(
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
    from quantseq.pipeline.comparing import compare as run_compare
    from quantseq.reporting.comparison import write_comparison

    found = run_compare(runs)
    path = write_comparison(found, out or reports_dir / "comparison.html")
    save_json(json, found.to_json())
    if not quiet:
        for line in found.sentences():
            typer.echo(line)
    typer.echo(f"Comparison: {path}")
    if open_:
        _show(path)


def _show(path: Path) -> None:
    typer.launch(str(path.absolute()))
