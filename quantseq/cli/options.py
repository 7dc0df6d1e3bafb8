"""What several commands have in common: options that mean the same everywhere, and printing.

Knows no command.
"""

import shlex
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from quantseq.config import Places
    from quantseq.progress import Progress

Symbols = Annotated[list[str] | None, typer.Argument(help="Stored symbols, such as AAPL ^GSPC.")]
PanelFile = Annotated[
    Path | None,
    typer.Option(
        "--panel",
        help="Parquet or CSV with symbol, date, open, high, low, close, volume, already adjusted.",
    ),
]
Start = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First date.")]
End = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last date.")]
Seed = Annotated[int, typer.Option(min=0, help="The one seed that all others follow from.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes; the numbers stay the same.")]
DataDir = Annotated[Path, typer.Option(help="Stored prices, and models under models/.")]
ReportsDir = Annotated[Path, typer.Option(help="Run folders and ledger.jsonl.")]
AllowBadData = Annotated[
    bool,
    typer.Option(
        "--allow-bad-data",
        help="Use prices in which `data check` finds errors; the result lists them.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no tables.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")]

Figures = Annotated[
    Path | None,
    typer.Option("--figures", help="Also write every figure as SVG and PNG into this folder."),
]

# What a TOML file can say too; None leaves it to that, or to the default in brackets.
ConfigFile = Annotated[Path | None, typer.Option(help="TOML file; options given here win over it.")]
Horizon = Annotated[int | None, typer.Option(min=1, help="Steps ahead [5].")]
LongOnly = Annotated[
    bool | None,
    typer.Option("--long-only/--long-short", help="Allow short positions or not [the policy's]."),
]
BorrowBps = Annotated[
    float | None, typer.Option(min=0, help="Fee on shorts, basis points a year [50].")
]
Fill = Annotated[str | None, typer.Option(help="Fill at the next session's open or close [open].")]
TestStart = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="Walk-forward: first session of the tests."),
]
TestSize = Annotated[int | None, typer.Option(min=1, help="Walk-forward: sessions per fold [504].")]
ValidationSize = Annotated[
    int | None, typer.Option(min=1, help="Walk-forward: sessions of validation [378].")
]
MinTrain = Annotated[
    int | None, typer.Option(min=1, help="Walk-forward: sessions of the first training [756].")
]
Purge = Annotated[
    int | None, typer.Option(min=0, help="Sessions between the blocks [the horizon].")
]
ConfigSeed = Annotated[
    int | None, typer.Option(min=0, help="The one seed that all others follow from [0].")
]

DATA, REPORTS = Path("data"), Path("reports")


def day(moment: datetime | None) -> date | None:
    """The date of an option, which the parser gives as midnight."""
    return None if moment is None else moment.date()


def symbol_list(*given: list[str] | None) -> list[str]:
    """Symbols in the order typed, each once; ``A,B`` counts as two."""
    words = [word for part in given for word in part or []]
    return list(dict.fromkeys(name for word in words for name in word.split(",") if name))


def places_at(data: Path, reports: Path = REPORTS) -> "Places":
    """Where this command keeps its things."""
    from quantseq.config import Places

    return Places(data, reports)


def progress_of(quiet: bool) -> "Progress":
    """Bars on standard error, or silence."""
    from quantseq.progress import Progress

    return Progress(quiet=quiet)


def command() -> str:
    """The command line as it was typed, for manifests."""
    return shlex.join(["quantseq", *sys.argv[1:]])


def save_json(path: Path | None, value: Any) -> None:
    """Write a result where ``--json`` asked for it."""
    if path is not None:
        from quantseq.files import write_json

        write_json(path, value)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows as aligned columns."""
    names = list(rows[0])
    cells = [names, *([str(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    for line in cells:
        parts = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        typer.echo("  ".join(parts).rstrip())
