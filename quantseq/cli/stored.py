"""Commands about what is stored: data import, list, show, check and rm."""

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from quantseq.cli.options import (
    DATA,
    DataDir,
    End,
    Json,
    PanelFile,
    Quiet,
    Start,
    Symbols,
    day,
    places_at,
    print_table,
    save_json,
    symbol_list,
)
from quantseq.errors import BarsError, ConfigError

Timezone = Annotated[
    str, typer.Option(help="Exchange time zone of the file, such as America/New_York.")
]


def import_(
    path: Annotated[Path, typer.Argument(help="CSV or Parquet: one symbol, or a panel of many.")],
    symbol: Annotated[
        str | None, typer.Option(help="Name it; default: its ticker, else the file's name.")
    ] = None,
    timezone: Timezone = "",
    currency: Annotated[str, typer.Option(help="Currency of the prices, such as USD.")] = "",
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Store your own prices; the first fault refuses them. `data check --file` names all faults."""
    from quantseq.pipeline.data import import_file

    found = import_file(
        path, symbol=symbol, timezone=timezone, currency=currency, places=places_at(data_dir)
    )
    rows = [
        {
            "symbol": one.symbol,
            "status": "replaced" if replaced else "new",
            "rows": len(one),
            "first": str(one.sessions[0]),
            "last": str(one.sessions[-1]),
        }
        for one, replaced in found.values()
    ]
    save_json(json, {"symbols": rows})
    if not quiet:
        print_table(rows)


def list_(data_dir: DataDir = DATA, quiet: Quiet = False, json: Json = None) -> None:
    """List what is stored; a damaged file is named, and the others are listed all the same."""
    from quantseq.errors import CorruptFileError
    from quantseq.market.catalogue import INTERVALS, Catalogue

    stored = [
        (symbol, interval, info)
        for interval in INTERVALS
        for symbol, info in Catalogue(data_dir, interval=interval).infos()
    ]
    rows: list[dict[str, Any]] = []
    for symbol, interval, info in sorted(stored, key=lambda one: one[0]):
        if isinstance(info, CorruptFileError):
            facts: dict[str, Any] = {
                "rows": None,
                "first": None,
                "last": None,
                "source": f"damaged: {' '.join(str(info).split())}",
            }
        else:
            facts = {
                "rows": info.rows,
                "first": info.first,
                "last": info.last,
                "source": str(info.provenance.get("source", "")),
            }
        rows.append({"symbol": symbol, "interval": interval, **facts})
    save_json(json, {"symbols": rows})
    if rows and not quiet:
        print_table([{k: "" if v is None else v for k, v in row.items()} for row in rows])
    elif not quiet:
        typer.echo(f"Nothing is stored in {data_dir}. Get prices with `quantseq fetch AAPL`.")


def show(
    symbol: Annotated[str, typer.Argument(help="A stored symbol.")],
    start: Start = None,
    end: End = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG to write; default: SYMBOL-LASTDATE.png here.")
    ] = None,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Draw in the terminal instead of a PNG.")
    ] = False,
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Summarise a stored symbol and draw its candles and volume."""
    from quantseq.market.store import Store
    from quantseq.pipeline.data import resolve_panel
    from quantseq.pipeline.health import draw, draw_text, summarise

    if terminal and out is not None:
        raise ConfigError("--terminal draws no PNG, so --out has no meaning. Give one of the two.")
    Store(data_dir).info(symbol)
    panel = resolve_panel([symbol], places=places_at(data_dir), start=day(start), end=day(end))
    bars = panel[symbol]
    facts = summarise(bars)
    path = None if terminal else draw(bars, out)
    save_json(json, {**dict(facts), "chart": None if path is None else str(path)})
    if quiet:
        return
    for name, text in facts:
        typer.echo(f"{name:<16}  {text}")
    if path is None:
        columns, lines = shutil.get_terminal_size((100, 30))
        for line in draw_text(bars, width=columns, height=max(min(lines - 2, 30), 12)):
            typer.echo(line)
    else:
        typer.echo(f"Chart: {path}")


def check(
    symbols: Symbols = None,
    panel: PanelFile = None,
    file: Annotated[
        Path | None,
        typer.Option(help="Check a CSV or Parquet file instead, and count all of its faults."),
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="For --file: the name of the series.")] = None,
    timezone: Timezone = "",
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Look for what cannot be, or is rare: leaves with code 3 if there are errors, 0 otherwise."""
    from quantseq.pipeline.data import resolve_panel
    from quantseq.pipeline.health import (
        as_rows,
        check_file,
        check_stored,
        describe_errors,
        errors_only,
        findings,
    )

    wanted, places = symbol_list(symbols), places_at(data_dir)
    if file is None and (symbol is not None or timezone):
        raise ConfigError("--symbol and --timezone belong to --file. Name the file too.")
    if file is not None:
        if wanted or panel is not None:
            raise ConfigError("--file is checked alone. Leave symbols and --panel out.")
        found = check_file(file, symbol, timezone=timezone)
    elif panel is not None:
        found = findings(resolve_panel(wanted, panel=panel, places=places))
    else:
        found = check_stored(wanted, places=places)
    rows = as_rows(found)
    for row in rows:
        row["first"] = row["sessions"][0] if row["sessions"] else ""
    save_json(json, {"findings": rows})
    order = ("symbol", "severity", "rule", "count", "first", "message")
    if rows and not quiet:
        print_table([{name: row[name] for name in order} for row in rows])
    elif not quiet:
        typer.echo("Nothing implausible was found.")
    if errors_only(found):
        raise BarsError(f"There are errors in the prices: {describe_errors(found)}.")


def remove(
    symbols: Annotated[list[str], typer.Argument(help="Stored symbols.")],
    interval: Annotated[
        str | None, typer.Option(help="Only bars of this length; default: all that are stored.")
    ] = None,
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
) -> None:
    """Remove stored prices; backups that a fetch has left stay where they are."""
    from quantseq.market.catalogue import INTERVALS, Catalogue

    asked = INTERVALS if interval is None else (interval,)
    stores = [Catalogue(data_dir, interval=one) for one in asked]
    for symbol in symbol_list(symbols):
        holding = [store for store in stores if symbol in store] or stores[:1]
        for store in holding:
            store.remove(symbol)
        if not quiet:
            typer.echo(f"Removed {symbol} ({', '.join(store.interval for store in holding)}).")
            for path in (path for store in stores for path in store.backups(symbol)):
                typer.echo(f"Kept the backup {path}")
