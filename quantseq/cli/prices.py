"""Commands about what is stored: data import, list, check and rm."""

from pathlib import Path
from typing import Annotated

import typer

from quantseq.cli.options import (
    DATA,
    DataDir,
    Json,
    PanelFile,
    Quiet,
    Symbols,
    places_at,
    print_table,
    save_json,
    symbol_list,
)


def import_(
    path: Annotated[Path, typer.Argument(help="CSV or Parquet: one symbol, or a panel of many.")],
    symbol: Annotated[str | None, typer.Option(help="Name it; default: the file's name.")] = None,
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Store your own prices."""
    from quantseq.pipeline.data import import_file

    found = import_file(path, symbol=symbol, places=places_at(data_dir))
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
    """List what is stored."""
    from quantseq.market.store import Store

    store = Store(data_dir)
    infos = [store.info(symbol) for symbol in store.symbols()]
    rows = [
        {
            "symbol": one.symbol,
            "rows": one.rows,
            "first": one.first,
            "last": one.last,
            "source": str(one.provenance.get("source", "")),
        }
        for one in infos
    ]
    save_json(json, {"symbols": rows})
    if rows and not quiet:
        print_table(rows)
    elif not quiet:
        typer.echo(f"Nothing is stored in {data_dir}. Get prices with `quantseq fetch AAPL`.")


def check(
    symbols: Symbols = None,
    panel: PanelFile = None,
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Look for what is implausible: jumps, glitches, stale runs, missing sessions."""
    from quantseq.pipeline.data import findings, resolve_panel

    found = findings(resolve_panel(symbol_list(symbols), panel=panel, places=places_at(data_dir)))
    rows = [
        {
            "symbol": symbol,
            "severity": one.severity,
            "rule": one.rule,
            "count": one.count,
            "first": one.sessions[0] if one.sessions else "",
            "message": one.message,
        }
        for symbol, several in found.items()
        for one in several
    ]
    save_json(json, {"findings": rows})
    if rows and not quiet:
        print_table(rows)
    elif not quiet:
        typer.echo("Nothing implausible was found.")


def remove(
    symbols: Annotated[list[str], typer.Argument(help="Stored symbols.")],
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
) -> None:
    """Remove stored prices."""
    from quantseq.market.store import Store

    store = Store(data_dir)
    for symbol in symbol_list(symbols):
        store.remove(symbol)
        if not quiet:
            typer.echo(f"Removed {symbol}.")
