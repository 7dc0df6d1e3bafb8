"""What several commands have in common: options that mean the same everywhere, and printing.

Owns groups of options as dataclasses: a command that takes one has all of its options (`flat`). Knows no
command.
"""

import inspect
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import date
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from quantseq.errors import ConfigError, visible

if TYPE_CHECKING:
    from quantseq.config import RunConfig
    from quantseq.files import Places
    from quantseq.market.bars import Panel
    from quantseq.market.readers import Reading
    from quantseq.progress import Progress

DateOption = partial(Option, parser=date.fromisoformat, metavar="YYYY-MM-DD")

Symbols = Annotated[list[str] | None, Argument(help="Stored symbols, such as AAPL ^GSPC.")]
PanelFile = Annotated[
    Path | None,
    Option(
        "--panel",
        help="Parquet or CSV with symbol, date, open, high, low, close, volume, already adjusted.",
    ),
]
Start = Annotated[date | None, DateOption(help="First date.")]
End = Annotated[date | None, DateOption(help="Last date.")]
Seed = Annotated[int | None, Option(min=0, help="The one seed that all others follow from [0].")]
Jobs = Annotated[int, Option(min=1, max=1_000, help="Processes; the numbers stay the same.")]
DataDir = Annotated[Path, Option(help="Stored prices, models/ and cache/.")]
ReportsDir = Annotated[Path, Option(help="Run folders and ledger.jsonl.")]
AllowBadData = Annotated[
    bool,
    Option(
        "--allow-bad-data",
        help="Use prices in which `data check` finds errors; the result lists them.",
    ),
]
Quiet = Annotated[bool, Option("--quiet", help="No progress and no tables.")]
Json = Annotated[Path | None, Option("--json", help="Also write the result to this file.")]
Figures = Annotated[
    Path | None, Option(help="Also write every figure as SVG and PNG into this folder.")
]
Model = Annotated[
    Path | None, Option(help="Score this trained model after its training data instead.")
]
Open = Annotated[bool, Option("--open", help="Show the page in the browser.")]
Gaps = Annotated[
    bool, Option("--allow-gaps", help="Leave out rows without use, however many they are.")
]
Closes = Annotated[
    bool,
    Option(
        "--keep-closes",
        help="Keep rows with a good close; it stands for an open, high or low that is zero or missing.",
    ),
]

# What a TOML file can say too; None leaves it to that, or to the default in brackets.
ConfigFile = Annotated[
    Path | None, Option(help="TOML file with [forecaster], [walk_forward], [policy] and [costs].")
]
Settings = Annotated[
    list[str] | None,
    Option(
        "--set",
        help="Any setting of the TOML file, such as costs.borrow_bps=80; repeatable, wins over it.",
    ),
]
Horizon = Annotated[int | None, Option(min=1, help="Steps ahead [5].")]
TestStart = Annotated[date | None, DateOption(help="Walk-forward: first session of the tests.")]

JSON_MARK = b'{\n  "quantseq": "'
"""How a file of ``--json`` begins: with the version that wrote it."""

DATA, REPORTS = Path("data"), Path("reports")


@dataclass(frozen=True)
class Told:
    """How a result is told."""

    quiet: Quiet = False
    json: Json = None

    @property
    def progress(self) -> "Progress":
        """Bars on standard error, or silence."""
        from quantseq.progress import Progress

        return Progress(quiet=self.quiet)

    @property
    def places(self) -> "Places":
        """Where this command keeps its things."""
        from quantseq.files import Places

        return Places(getattr(self, "data_dir", DATA), getattr(self, "reports_dir", REPORTS))

    def tell(self, *lines: str) -> None:
        """Print lines."""
        for line in lines:
            print(visible(line))

    def say(self, *lines: str) -> None:
        """Print lines, unless it should be quiet."""
        if not self.quiet:
            self.tell(*lines)

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
        """Print rows as aligned columns, unless it should be quiet; where nobody watches, as wide as they are."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        if self.quiet or not rows:
            return
        names = columns or list(rows[0])
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name in names:
            table.add_column(name, overflow="fold")
        for row in rows:
            cells = ("" if row[name] is None else str(row[name]) for name in names)
            table.add_row(*(Text(visible(cell)) for cell in cells))
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=1_000)
        console.print(table)

    def save(self, value: Any) -> None:
        """Write a result where ``--json`` asked for it."""
        if self.json is not None:
            from quantseq import __version__
            from quantseq.files import check_file, write_json

            write_json(check_file(self.json, JSON_MARK), {"quantseq": __version__, **value})


@dataclass(frozen=True)
class Data(Told):
    """The same of a command that keeps prices and models."""

    data_dir: DataDir = DATA


@dataclass(frozen=True)
class FileShape:
    """What a file of prices does not say by itself."""

    format: Annotated[
        str | None, Option(help="A well-known export, such as investing.com, binance or nasdaq.")
    ] = None
    columns: Annotated[
        list[str] | None,
        Option(help="Columns as the file calls or counts them: date=When,close=7; repeatable."),
    ] = None
    date_order: Annotated[str | None, Option(help="What 01/02/2024 means: dmy, mdy, ymd.")] = None
    decimal: Annotated[str | None, Option(help="The decimal mark: . or ,")] = None
    encoding: Annotated[str | None, Option(help="Such as cp932, gb18030 or utf-16.")] = None
    timezone: Annotated[str, Option(help="Of the exchange, such as America/New_York.")] = ""
    interval: Annotated[
        str | None, Option(help="Length of a bar; default: what the dates say.")
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """What was said at all."""
        columns = {}
        for pair in [one for text in self.columns or () for one in text.split(",")]:
            name, equals, own = pair.partition("=")
            if not (equals and name.strip() and own.strip()):
                raise ConfigError(
                    f"--columns takes NAME=COLUMN, such as close=Price. Got {pair!r}."
                )
            columns[name.strip()] = own.strip()
        said = {"columns": columns, **{name: getattr(self, name) for name in _SHAPE}}
        return {name: value for name, value in said.items() if value}

    @property
    def reading(self) -> "Reading":
        """The same, with what is known of the format."""
        from quantseq.market.readers import Reading

        return Reading.of(self.format, **self.given)


_SHAPE = ("date_order", "decimal", "encoding", "timezone", "interval")


@dataclass(frozen=True)
class Reports(Told):
    """The same of a command about finished runs."""

    reports_dir: ReportsDir = REPORTS


@dataclass(frozen=True)
class Line(Data):
    """The same of a command that makes a run."""

    reports_dir: ReportsDir = REPORTS
    jobs: Jobs = 2
    seed: Seed = None

    @property
    def run(self) -> dict[str, Any]:
        """Arguments of the pipeline's function that do not change any number."""
        command = shlex.join(["quantseq", *sys.argv[1:]])
        shared = {"places": self.places, "jobs": self.jobs, "progress": self.progress}
        return {**shared, "command": command}


@dataclass(frozen=True)
class Ahead:
    """What is known beside prices."""

    events: Annotated[
        Path | None,
        Option(help="CSV of scheduled events instead of those stored: symbol, date, timing, …"),
    ] = None
    assumed_notice: Annotated[
        int | None,
        Option(
            min=0,
            max=1000,
            help="Weekdays before an event that counts as known by then, if nobody says [7].",
        ),
    ] = None
    covariate: Annotated[
        str | None,
        Option(help="A series about the market: a stored symbol, such as ^VIX, or a file."),
    ] = None

    @property
    def known(self) -> dict[str, Any]:
        """As `resolve_panel` takes it."""
        given = {"events": self.events, "notice": self.assumed_notice, "covariate": self.covariate}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Walk(Ahead, Line):
    """The same of a command that walks forward over prices, and its settings."""

    symbols: Symbols = None
    panel: PanelFile = None
    start: Start = None
    end: End = None
    test_start: TestStart = None
    config: ConfigFile = None
    set_: Settings = None
    allow_bad_data: AllowBadData = False

    @property
    def run(self) -> dict[str, Any]:
        """As of `Line`."""
        return {**super().run, "allow_bad_data": self.allow_bad_data}

    def settings(self, **options: Any) -> dict[str, Any]:
        """Options and ``--set`` texts as one mapping of settings, after a look whether there are prices at all."""
        from quantseq.pipeline.data import need_symbols

        need_symbols(symbol_list(self.symbols), self.panel)
        first = None if self.test_start is None else str(self.test_start)
        return asked_settings(self.set_, seed=self.seed, walk_forward__test_start=first, **options)

    def configured(self, settings: Mapping[str, Any]) -> "RunConfig":
        """The configuration of the file, with these settings."""
        from quantseq.config import resolve_config

        return resolve_config(self.config, settings, progress=self.progress)

    def prices(self) -> "Panel":
        """The bars that were asked for."""
        from quantseq.pipeline.data import resolve_panel

        wanted, span = symbol_list(self.symbols), {"start": self.start, "end": self.end}
        how: Any = {**span, **self.known, "allow_bad_data": self.allow_bad_data}
        return resolve_panel(wanted, panel=self.panel, places=self.places, **how)


def flat(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of its groups, behind its own, among its parameters."""
    groups: dict[str, Any] = {}
    options: dict[str, inspect.Parameter] = {}
    for name, one in inspect.signature(command, eval_str=True).parameters.items():
        if is_dataclass(one.annotation):
            groups[name] = one.annotation
        else:
            options[name] = one
    for group in groups.values():
        options |= inspect.signature(group, eval_str=True).parameters

    @wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            parts = inspect.signature(group).parameters
            given[name] = group(**{part: given.pop(part) for part in parts})
        command(**given)

    run.__annotations__ = {name: one.annotation for name, one in options.items()}
    several = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in options.values()]
    run.__signature__ = inspect.Signature(several)  # type: ignore[attr-defined]
    return run


def asked_settings(given: list[str] | None, **options: Any) -> dict[str, Any]:
    """Options and ``--set`` texts as one mapping of settings; the same twice is refused."""
    from quantseq.config import parse_settings

    named = {name.replace("__", "."): value for name, value in options.items() if value is not None}
    texts = parse_settings(given or [])
    if both := sorted(set(named) & set(texts)):
        raise ConfigError(f"{both[0]} is given twice, by its option and by --set. Give it once.")
    return named | texts


def symbol_list(*given: list[str] | None) -> list[str]:
    """Symbols in the order typed, each once; ``A,B`` counts as two."""
    words = [word for part in given for word in part or []]
    names = (name.strip() for word in words for name in word.split(","))
    return list(dict.fromkeys(filter(None, names)))
