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

from quantseq.cli import commands
from quantseq.cli.options import flat
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
    def run(**options: Any) -> None:
        try:
            for name in ("json", "figures"):
                if options.get(name) is not None:
                    ensure_writable(options[name].absolute().parent)
            command(**options)
        except QuantseqError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as stop:
            note = str(stop) or "Nothing was overwritten."
            print(f"interrupted: {' '.join(note.split())}", file=sys.stderr)
            raise typer.Exit(130) from stop

    return run


def _add(command: Callable[..., None], *examples: str, to: typer.Typer = app) -> None:
    label = "Example:  " if len(examples) == 1 else "Examples:  "
    epilog = label + "   |   ".join(examples)
    to.command(command.__name__.removesuffix("_command"), epilog=epilog)(_guarded(flat(command)))


_add(commands.demo_command, "quantseq demo --reports-dir /tmp/reports")
_add(
    commands.fetch_command,
    "quantseq fetch AAPL MSFT ^GSPC BRK-B EURUSD=X --start 2010-01-01",
    "quantseq fetch --file symbols.txt --rate 0.5",
    "quantseq fetch AAPL --interval 5m",
    "quantseq fetch AAPL GOOG IBM MSFT --source sample",
)
_add(
    commands.train_command,
    "quantseq train --task copy --preset seed",
    "quantseq train --task price --symbols AAPL,MSFT --out data/models/price",
)
_add(commands.forecast_command, "quantseq forecast AAPL --horizon 5 --csv aapl.csv")
_add(
    commands.backtest_command,
    "quantseq backtest AAPL GOOG IBM MSFT --cost-bps 10",
    "quantseq backtest --panel prices.parquet --set costs.borrow_bps=80 --set policy.long_only=false",
)
_add(
    commands.evaluate_command,
    "quantseq evaluate AAPL MSFT --baselines garch-t,gjr-garch-skewt",
    "quantseq evaluate --panel p.parquet --train-until 2007-12-31 --validate-until 2009-12-31",
)
_add(
    commands.sweep_command,
    "quantseq sweep AAPL GOOG IBM MSFT --costs-bps 0,5,10",
    "quantseq sweep --panel prices.parquet --policies probability,rank --thresholds 0.51,0.53",
    "quantseq sweep AAPL MSFT --vary kelly.fraction=0.1,0.5 --horizons 1,5",
)
_add(commands.trials_command, "quantseq trials", "quantseq trials --json trials.json")
_add(
    commands.audit_command,
    "quantseq audit reports/20260101-120000-abc123",
    "quantseq audit reports/20260101-120000-abc123 --panel prices.parquet --json audit.json",
)
_add(
    commands.report_command,
    "quantseq report --open",
    "quantseq report reports/20260101-120000-abc123 --figures figures",
    "quantseq report --index",
)
_add(
    commands.verify_command,
    "quantseq verify reports/20260101-120000-abc123",
    "quantseq verify report.html --json differences.json",
)
_add(
    commands.compare_command,
    "quantseq compare reports/20260101-120000-abc123 reports/20260102-120000-def456 --open",
)

data = typer.Typer(
    help="Look after the stored prices.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data, name="data")
_add(commands.import_command, "quantseq data import prices.csv --symbol MINE", to=data)
_add(commands.list_command, "quantseq data list", to=data)
_add(commands.show_command, "quantseq data show AAPL --start 2012-01-01", to=data)
_add(
    commands.check_command,
    "quantseq data check AAPL",
    "quantseq data check --file prices.csv",
    to=data,
)
_add(commands.rm_command, "quantseq data rm AAPL", to=data)


def main() -> None:
    """Run the command line."""
    app()
