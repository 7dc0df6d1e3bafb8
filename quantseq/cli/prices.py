"""Commands about prices: fetch, and ``data …`` for what is stored."""

from pathlib import Path
from typing import Annotated

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
    progress_of,
    save_json,
    symbol_list,
)


def fetch(
    symbols: Annotated[list[str], typer.Argument(help="Symbols as the source writes them.")],
    start: Start = None,
    end: End = None,
    interval: Annotated[str, typer.Option(help="Length of a bar.")] = "1d",
    source: Annotated[str, typer.Option(help="yahoo, or sample for the bundled prices.")] = "yahoo",
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Download daily bars and store them; a failure never replaces what is stored."""
    from quantseq.pipeline.data import fetch as run_fetch
    from quantseq.pipeline.data import need_symbols

    wanted = symbol_list(symbols)
    need_symbols(wanted, None)
    with progress_of(quiet).bar(f"fetch from {source}", len(wanted), unit="symbol") as bar:
        outcomes = run_fetch(
            wanted,
            source=source,
            places=places_at(data_dir),
            start=day(start),
            end=day(end),
            interval=interval,
            on_symbol=lambda one: bar.step(last=one.symbol),
        )
    rows = [
        {
            "symbol": one.symbol,
            "status": one.status,
            "rows": one.rows,
            "first": one.first,
            "last": one.last,
            "why": one.why,
        }
        for one in outcomes
    ]
    save_json(json, {"symbols": rows})
    failures = [one.error for one in outcomes if one.error is not None]
    if failures and len(failures) == len(outcomes) == 1:
        raise failures[0]
    if not quiet:
        print_table(rows)
    if failures:
        first = failures[0]
        raise type(first)(f"{len(failures)} of {len(outcomes)} symbols failed. First: {first}")


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
