"""The command that gets prices: fetch, its batches, and what it says about them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from quantseq.market.fetching import Outcome

STATUSES = ("new", "updated", "unchanged", "failed")


def fetch(
    symbols: Annotated[
        list[str] | None, typer.Argument(help="Symbols as the source writes them.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="Also those in this file, between blanks, commas or lines; # is a comment."
        ),
    ] = None,
    start: Start = None,
    end: End = None,
    interval: Annotated[str, typer.Option(help="Length of a bar: 1d, 1wk, 1h or 5m.")] = "1d",
    source: Annotated[
        str, typer.Option(help="yahoo, sample for the bundled prices, or an installed source.")
    ] = "yahoo",
    full: Annotated[
        bool, typer.Option("--full", help="Fetch the whole history anew; the old file is kept.")
    ] = False,
    rate: Annotated[float, typer.Option(help="Requests a second, about.")] = 1.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the batches that were stopped.")
    ] = False,
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Download bars and store them; a failure never replaces what is stored.

    Only what is missing is asked for, with an overlap of 10 sessions. A new split or dividend, or an
    overlap that differs by more than 0.01 %, fetches the whole history anew (vintage drift). Without
    --start, stored bars are continued and others fetched from their beginning. A session's bar is taken
    half an hour after its close. Only daily bars can be trained on.

    A bad symbol does not stop a batch. After three symbols in a row without an answer the batch stops;
    --resume goes on with it, also after Ctrl-C or a kill.

    Exit codes: 0 all well, 2 wrong options, 31 symbol not found, 32 no data in the range, 41 source
    unavailable, 42 rate limited, 43 bad response, 3 other faults of the data or the disk, 130 Ctrl-C.
    A batch leaves with the code of its failures if they are all alike, else with 8.
    """
    from quantseq.errors import ConfigError
    from quantseq.pipeline import data as pipeline

    wanted = symbol_list(symbols, None if file is None else _symbols_in(file))
    places = places_at(data_dir)
    left = pipeline.unfinished_fetches(places) if resume else []
    if resume and (wanted or start or end or full or interval != "1d" or source != "yahoo"):
        raise ConfigError(
            "--resume goes on with a batch as it was asked for. Give it no symbols and no --file, "
            "--start, --end, --interval, --source or --full."
        )
    if not (wanted or resume):
        raise ConfigError(
            "No symbols were named. Give symbols such as AAPL, a file of them with --file, or --resume."
        )
    if resume and not left:
        save_json(json, _result([], []))
        if not quiet:
            typer.echo(f"Nothing is left to fetch in {data_dir}.")
        return
    if resume:
        wanted = [symbol for one in left for symbol in one.left]
    sources = {one.batch.source for one in left} if resume else {source}
    outcomes: list[Outcome] = []
    again = "quantseq fetch --resume" + ("" if data_dir == DATA else f" --data-dir {data_dir}")
    with progress_of(quiet).bar(
        f"fetch from {', '.join(sorted(sources))}", len(wanted), unit="symbol"
    ) as bar:

        def note(one: "Outcome") -> None:
            outcomes.append(one)
            bar.step(last=one.symbol, failed=sum(each.status == "failed" for each in outcomes))

        try:
            if resume:
                pipeline.resume_fetches(left, places=places, rate=rate, on_symbol=note)
            else:
                pipeline.fetch(
                    wanted,
                    source=source,
                    places=places,
                    start=day(start),
                    end=day(end),
                    interval=interval,
                    full=full,
                    rate=rate,
                    on_symbol=note,
                )
        except KeyboardInterrupt as stop:
            _tell(outcomes, _left(wanted, outcomes), quiet=quiet, json=json)
            raise KeyboardInterrupt(
                f"{len(outcomes)} of {len(wanted)} symbols are done. Go on with: {again}"
            ) from stop
    still = _left(wanted, outcomes)
    failed = [one for one in outcomes if one.error is not None]
    single = len(failed) == len(outcomes) == 1
    _tell(outcomes, still, quiet=quiet or single, json=json)
    if failed:
        raise _failure(failed, len(outcomes), again if still else "")


def _symbols_in(path: Path) -> list[str]:
    from quantseq.errors import ConfigError

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"Cannot read {str(path)!r}: {error}. --file takes a text file with symbols."
        ) from error
    return [word for line in lines for word in line.partition("#")[0].split()]


def _left(wanted: Sequence[str], outcomes: "Sequence[Outcome]") -> list[str]:
    """What `--resume` would go on with: not asked for yet, or failed for no fault of its own."""
    from quantseq.market.fetching import RETRYABLE

    done = {one.symbol for one in outcomes if not isinstance(one.error, RETRYABLE)}
    return [symbol for symbol in wanted if symbol not in done]


def _result(outcomes: "Sequence[Outcome]", left: Sequence[str]) -> dict[str, Any]:
    return {
        "symbols": [
            {
                "symbol": one.symbol,
                "status": one.status,
                "rows": one.rows,
                "first": one.first,
                "last": one.last,
                "why": one.why,
                "error": None if one.error is None else type(one.error).__name__,
                "exit_code": 0 if one.error is None else one.error.exit_code,
                "drift": one.drift,
                "backup": one.backup or None,
            }
            for one in outcomes
        ],
        "counts": {status: sum(one.status == status for one in outcomes) for status in STATUSES},
        "left": list(left),
    }


def _tell(
    outcomes: "Sequence[Outcome]", left: Sequence[str], *, quiet: bool, json: Path | None
) -> None:
    """Write the result, and print it as a table with a line of counts below."""
    result = _result(outcomes, left)
    save_json(json, result)
    if quiet or not outcomes:
        return
    shown = ("symbol", "status", "rows", "first", "last", "why")
    print_table([{name: row[name] for name in shown} for row in result["symbols"]])
    if len(outcomes) > 1:
        counts = result["counts"]
        typer.echo(", ".join(f"{counts[status]} {status}" for status in STATUSES))


def _failure(failed: "Sequence[Outcome]", total: int, again: str) -> Exception:
    """One error for all failures: of their class if it is one, else a `BatchError`."""
    from quantseq.errors import BatchError

    first = failed[0].error
    assert first is not None
    kinds = {type(one.error) for one in failed}
    remedy = f" Go on with: {again}" if again else ""
    if total == 1:
        return type(first)(f"{first}{remedy}")
    kind = type(first) if len(kinds) == 1 else BatchError
    return kind(f"{len(failed)} of {total} symbols failed. First: {first}{remedy}")
