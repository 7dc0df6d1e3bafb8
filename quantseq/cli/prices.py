"""Commands about prices: fetch."""

from typing import Annotated

import typer

from quantseq.cli.options import (
    DATA,
    DataDir,
    End,
    Json,
    Quiet,
    Start,
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
