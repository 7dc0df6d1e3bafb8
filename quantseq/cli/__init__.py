"""The door: parse, call the pipeline, print.

Heavy packages are imported inside the commands, so that ``--help`` answers at once. Whatever goes wrong is one
line on standard error: on purpose with the exit code of its class (see `quantseq.errors`), else with 1 and where
it happened. Ctrl-C leaves with 130, SIGTERM with 143.
"""

import signal
import sys
import tomllib
from collections.abc import Callable
from functools import wraps
from importlib.resources import files
from pathlib import Path
from traceback import extract_tb
from typing import Any

import typer
from typer.core import TyperGroup

from quantseq.cli import commands
from quantseq.cli.options import JSON_MARK, flat
from quantseq.errors import QuantseqError, StorageError, one_line
from quantseq.files import check_file, ensure_writable
from quantseq.progress import interruptible


class _Door(TyperGroup):
    """The group of all commands: none of them ends in a traceback."""

    def main(self, *args: Any, **how: Any) -> Any:
        """Run the command line and leave with its exit code."""
        leaves = how.pop("standalone_mode", True)
        try:
            code = super().main(*args, **how | {"standalone_mode": False})
        except BaseException as error:
            said, code = _told(error)
            print(said, file=sys.stderr)
        if leaves:
            sys.exit(code)
        return code


def _told(error: BaseException) -> tuple[str, int]:
    """What is printed of an error, and the exit code."""
    if isinstance(error, QuantseqError):
        return f"error: {one_line(str(error))}", error.exit_code
    if isinstance(error, KeyboardInterrupt):
        note = str(error) or "Nothing was overwritten."
        return f"interrupted: {one_line(note)}", 130
    if isinstance(error, typer.Abort):
        return "interrupted: Nothing was overwritten.", 130
    if hasattr(error, "format_message"):  # of typer: the words of the command were wrong
        said = f"Error: {one_line(error.format_message())}"
        context = getattr(error, "ctx", None)
        usage = f"{context.get_usage()}\n\n" if context is not None else ""
        return usage + said, error.exit_code  # type: ignore[attr-defined]
    if isinstance(error, OSError) and error.filename is not None:
        where = one_line(str(error.filename))
        said = f"error: Cannot use {where!r}: {error.strerror}. Give another path, or make it accessible."
        return one_line(said), StorageError.exit_code
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return "error: There is not enough memory for this. Ask for less, or free some.", 1
    if isinstance(error, ImportError):
        return (
            f"error: The installation is broken: {one_line(str(error))}. Install quantseq again.",
            1,
        )
    place = extract_tb(error.__traceback__)[-1]
    kind, where = type(error).__name__, f"{Path(place.filename).name}, line {place.lineno}"
    fault = f"{kind} in {where}: {one_line(str(error))}"
    return (
        f"error: This was not foreseen, and is a fault of quantseq ({fault}). Please report it.",
        1,
    )


app = typer.Typer(
    name="quantseq",
    cls=_Door,
    help="Sequence-to-sequence forecast distributions for prices, honestly backtested.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Look first whether what is asked for can be written, and let Ctrl-C and SIGTERM end the rest."""

    @wraps(command)
    def run(**options: Any) -> None:
        heard: list[int] = []
        try:
            with interruptible() as heard:
                for name in ("json", "figures"):
                    if options.get(name) is not None:
                        ensure_writable(options[name].absolute().parent)
                _spare_what_is_theirs(options.get("json"), options.get("figures"))
                command(**options)
        except KeyboardInterrupt as stop:  # which typer would tell nobody of
            print(_told(stop)[0], file=sys.stderr)
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
    command = _guarded(flat(getattr(commands, f"{name.replace('-', '_')}_command")))
    to.command(name, epilog=label + "   |   ".join(examples))(command)


data = typer.Typer(
    help="Look after the stored prices.", no_args_is_help=True, rich_markup_mode=None
)
_EXAMPLES = (files("quantseq.cli") / "templates" / "examples.toml").read_text(encoding="utf-8")
for _group, _commands in tomllib.loads(_EXAMPLES).items():
    for _name, _examples in _commands.items():
        _add(data if _group == "data" else app, _name, _examples)
app.add_typer(data, name="data")
