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
    from quantseq.files import Places
    from quantseq.progress import Progress

_DAY = ["%Y-%m-%d"]

Symbols = Annotated[list[str] | None, typer.Argument(help="Stored symbols, such as AAPL ^GSPC.")]
PanelFile = Annotated[
    Path | None,
    typer.Option(
        "--panel",
        help="Parquet or CSV with symbol, date, open, high, low, close, volume, already adjusted.",
    ),
]
Start = Annotated[datetime | None, typer.Option(formats=_DAY, help="First date.")]
End = Annotated[datetime | None, typer.Option(formats=_DAY, help="Last date.")]
Seed = Annotated[
    int | None, typer.Option(min=0, help="The one seed that all others follow from [0].")
]
Jobs = Annotated[int, typer.Option(min=1, help="Processes; the numbers stay the same.")]
DataDir = Annotated[Path, typer.Option(help="Stored prices, models/ and cache/.")]
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
    Path | None, typer.Option(help="Also write every figure as SVG and PNG into this folder.")
]
Model = Annotated[
    Path | None, typer.Option(help="Score this trained model after its training data instead.")
]
Open = Annotated[bool, typer.Option("--open", help="Show the page in the browser.")]
Timezone = Annotated[
    str, typer.Option(help="Exchange time zone of the file, such as America/New_York.")
]

# What a TOML file can say too; None leaves it to that, or to the default in brackets.
ConfigFile = Annotated[
    Path | None,
    typer.Option(help="TOML file with [forecaster], [walk_forward], [policy] and [costs]."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any setting of the TOML file, such as costs.borrow_bps=80; repeatable, wins over it.",
    ),
]
Horizon = Annotated[int | None, typer.Option(min=1, help="Steps ahead [5].")]
TestStart = Annotated[
    datetime | None, typer.Option(formats=_DAY, help="Walk-forward: first session of the tests.")
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
    from quantseq.files import Places

    return Places(data, reports)


def progress_of(quiet: bool) -> "Progress":
    """Bars on standard error, or silence."""
    from quantseq.progress import Progress

    return Progress(quiet=quiet)


def typed_command() -> str:
    """The command line as it was typed, for manifests."""
    return shlex.join(["quantseq", *sys.argv[1:]])


def save_json(path: Path | None, value: Any) -> None:
    """Write a result where ``--json`` asked for it."""
    if path is not None:
        from quantseq.files import write_json

        write_json(path, value)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows as aligned columns; where nobody watches, as wide as they are."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if row[name] is None else str(row[name])) for name in rows[0]))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=1_000)
    console.print(table)
