"""The door: parse, call the pipeline, print.

Heavy packages are imported inside the commands, so that ``--help`` answers at once. What goes wrong
on purpose is one line on standard error and the exit code of its class (see `quantseq.errors`);
Ctrl-C leaves with 130, SIGTERM with 143.
"""

import signal
import sys
import tomllib
from collections.abc import Callable
from functools import wraps
from importlib.resources import files
from pathlib import Path
from typing import Any

import typer

from quantseq.cli import commands
from quantseq.cli.options import JSON_MARK, flat
from quantseq.errors import QuantseqError
from quantseq.files import check_file, ensure_writable
from quantseq.progress import interruptible

app = typer.Typer(
    name="quantseq",
    help="Sequence-to-sequence forecast distributions for prices, honestly backtested.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn errors of the house, Ctrl-C and SIGTERM into one line and an exit code."""

    @wraps(command)
    def run(**options: Any) -> None:
        heard: list[int] = []
        try:
            for name in ("json", "figures"):
                if options.get(name) is not None:
                    ensure_writable(options[name].absolute().parent)
            _spare_what_is_theirs(options.get("json"), options.get("figures"))
            with interruptible() as heard:
                command(**options)
        except QuantseqError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as stop:
            note = str(stop) or "Nothing was overwritten."
            print(f"interrupted: {' '.join(note.split())}", file=sys.stderr)
            raise typer.Exit(128 + (heard or [signal.SIGINT])[-1]) from stop

    return run


def _spare_what_is_theirs(json: Path | None, figures: Path | None) -> None:
    """Refuse, before long work, to write a result or figures over files that quantseq has not written."""
    if json is not None:
        check_file(json, JSON_MARK)
    if figures is not None and figures.is_dir():
        from quantseq.reporting.page import check_figures

        check_figures(figures)


def _add(to: typer.Typer, name: str, examples: list[str]) -> None:
    label = "Example:  " if len(examples) == 1 else "Examples:  "
    command = _guarded(flat(getattr(commands, f"{name}_command")))
    to.command(name, epilog=label + "   |   ".join(examples))(command)


data = typer.Typer(
    help="Look after the stored prices.", no_args_is_help=True, rich_markup_mode=None
)
_EXAMPLES = (files("quantseq.cli") / "templates" / "examples.toml").read_text(encoding="utf-8")
for _group, _commands in tomllib.loads(_EXAMPLES).items():
    for _name, _examples in _commands.items():
        _add(data if _group == "data" else app, _name, _examples)
app.add_typer(data, name="data")


def main() -> None:
    """Run the command line."""
    app()
