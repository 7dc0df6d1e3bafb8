"""The door: parse, call the pipeline, print.

Heavy packages are imported inside the commands, so that ``--help`` answers at once. What goes wrong
on purpose is one line on standard error and the exit code of its class (see `quantseq.errors`);
Ctrl-C leaves with 130.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from quantseq.cli import audits, evaluation, fetching, models, reports, runs, stored, sweeps, toys
from quantseq.errors import QuantseqError
from quantseq.files import ensure_writable

app = typer.Typer(
    name="quantseq",
    help="Sequence-to-sequence forecast distributions for prices, honestly backtested.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn errors of the house, and Ctrl-C, into one line and an exit code."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            if options.get("json") is not None:
                ensure_writable(options["json"].absolute().parent)
            command(*args, **options)
        except QuantseqError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as stop:
            note = str(stop) or "Nothing was overwritten."
            print(f"interrupted: {' '.join(note.split())}", file=sys.stderr)
            raise typer.Exit(130) from stop

    return run


def _add(
    command: Callable[..., None], *examples: str, to: typer.Typer = app, name: str = ""
) -> None:
    label = "Example:  " if len(examples) == 1 else "Examples:  "
    epilog = label + "   |   ".join(examples)
    to.command(name or command.__name__, epilog=epilog)(_guarded(command))


_add(runs.demo, "quantseq demo --reports-dir /tmp/reports")
_add(
    fetching.fetch,
    "quantseq fetch AAPL MSFT ^GSPC BRK-B EURUSD=X --start 2010-01-01",
    "quantseq fetch --file symbols.txt --rate 0.5",
    "quantseq fetch --resume",
    "quantseq fetch AAPL --interval 5m",
    "quantseq fetch AAPL GOOG IBM MSFT --source sample",
)
_add(
    models.train,
    "quantseq train --task copy --preset seed",
    "quantseq train --task price --symbols AAPL,MSFT --out data/models/price",
)
_add(
    models.forecast,
    "quantseq forecast AAPL --horizon 5 --csv aapl.csv",
    "quantseq forecast AAPL MSFT --bars --json bars.json",
)
_add(
    runs.backtest,
    "quantseq backtest AAPL GOOG IBM MSFT --cost-bps 10",
    "quantseq backtest --panel prices.parquet --jobs 2",
)
_add(
    evaluation.evaluate,
    "quantseq evaluate AAPL MSFT --rivals garch-t,gjr-garch-skewt",
    "quantseq evaluate --panel p.parquet --train-until 2007-12-31 --validate-until 2009-12-31",
)
_add(
    sweeps.sweep,
    "quantseq sweep AAPL GOOG IBM MSFT --costs-bps 0,5,10",
    "quantseq sweep --panel prices.parquet --policies probability,rank --thresholds 0.51,0.53",
    "quantseq sweep AAPL MSFT --vary kelly.fraction=0.1,0.5 --horizons 1,5",
)
_add(sweeps.trials, "quantseq trials", "quantseq trials --json trials.json")
_add(
    audits.audit,
    "quantseq audit reports/20260101-120000-abc123",
    "quantseq audit reports/20260101-120000-abc123 --panel prices.parquet --json audit.json",
)
_add(
    reports.report,
    "quantseq report --open",
    "quantseq report reports/20260101-120000-abc123 --pdf",
    "quantseq report --index",
)
_add(
    reports.verify,
    "quantseq verify reports/20260101-120000-abc123",
    "quantseq verify report.html --json differences.json",
)
_add(
    reports.compare,
    "quantseq compare reports/20260101-120000-abc123 reports/20260102-120000-def456 --open",
)

data = typer.Typer(
    help="Look after the stored prices.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data, name="data")
_add(stored.import_, "quantseq data import prices.csv --symbol MINE", to=data, name="import")
_add(stored.list_, "quantseq data list", to=data, name="list")
_add(
    stored.show,
    "quantseq data show AAPL --start 2012-01-01",
    "quantseq data show AAPL --terminal",
    to=data,
)
_add(stored.check, "quantseq data check AAPL", "quantseq data check --file prices.csv", to=data)
_add(stored.remove, "quantseq data rm AAPL", to=data, name="rm")

study = typer.Typer(
    help="Compare kinds of machines on the toy task.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(study, name="study")
_add(
    toys.copy_,
    "quantseq study copy --seeds 5",
    "quantseq study copy --batches 500 --out /tmp/study",
    to=study,
    name="copy",
)


def main() -> None:
    """Run the command line."""
    app()
