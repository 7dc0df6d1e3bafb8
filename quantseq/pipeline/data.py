"""Getting prices in: download, import, and the panel that a command works on."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from quantseq.config import Places
from quantseq.errors import ConfigError, NoDataError
from quantseq.market.backlog import Backlog, Batch, pending
from quantseq.market.bars import Bars, Panel
from quantseq.market.fetching import Outcome
from quantseq.market.fetching import fetch as fetch_batch
from quantseq.market.intervals import date_range
from quantseq.market.sources import SAMPLE_SYMBOLS, SampleSource, make_source
from quantseq.market.store import Store
from quantseq.market.tables import read_panel, read_table


def fetch(
    symbols: Sequence[str],
    *,
    source: str = "yahoo",
    places: Places | None = None,
    start: Any = None,
    end: Any = None,
    interval: str = "1d",
    full: bool = False,
    rate: float = 1.0,
    on_symbol: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Download bars and store them; a failure never replaces what is stored.

    Only what is missing is asked for. A batch that is stopped can be continued with `resume_fetches`.

    Parameters
    ----------
    symbols : sequence of str
    source : str
        Where from: ``yahoo``, ``sample``, or a source that another package installed. Nothing ever falls
        back to the sample by itself.
    places : Places, optional
    start, end : date, optional
        Both inclusive. Without `start`, stored bars are continued and others fetched from their beginning.
    interval : {"1d", "1wk", "1h", "5m"}
        Bar length.
    full : bool
        Fetch the whole history again; the old file is kept as a backup if anything changed.
    rate : float
        Requests a second, about.
    on_symbol : callable, optional
        Called with each outcome as it comes.

    Returns
    -------
    list of Outcome
        One per symbol, failures included.

    Raises
    ------
    ConfigError
        If the source or the interval is unknown, or the rate is not above 0.
    BarsError
        If the range is reversed.
    """
    first, last = date_range(start, end)
    batch = Batch(
        tuple(dict.fromkeys(symbols)),
        source,
        interval,
        None if first is None else str(first),
        None if last is None else str(last),
        full,
    )
    backlog = Backlog((places or Places()).data, batch)
    return _work_off(backlog, places or Places(), rate, on_symbol)


def unfinished_fetches(places: Places | None = None) -> list[Backlog]:
    """The batches that were stopped before their end, oldest first."""
    return pending((places or Places()).data)


def resume_fetches(
    backlogs: Sequence[Backlog],
    *,
    places: Places | None = None,
    rate: float = 1.0,
    on_symbol: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Go on with what `unfinished_fetches` found, as each batch was asked for.

    Returns
    -------
    list of Outcome
        One per symbol that was left.
    """
    where = places or Places()
    return [one for left in backlogs for one in _work_off(left, where, rate, on_symbol)]


def _work_off(
    backlog: Backlog,
    places: Places,
    rate: float,
    on_symbol: Callable[[Outcome], None] | None,
) -> list[Outcome]:
    batch = backlog.batch
    return fetch_batch(
        batch,
        source=make_source(batch.source, rate=rate),
        store=Store(places.data, interval=batch.interval),
        backlog=backlog,
        on_symbol=on_symbol,
    )


def import_file(
    path: Path,
    *,
    symbol: str | None = None,
    timezone: str = "",
    currency: str = "",
    places: Places | None = None,
) -> dict[str, tuple[Bars, bool]]:
    """Store the user's own CSV or Parquet file.

    Parameters
    ----------
    path : Path
        One symbol's bars, or a long-format panel with a ``symbol`` column.
    symbol : str, optional
        Its name; by default every symbol of a panel, else the header's ticker, else the file's stem.
    timezone, currency : str
        Of the listing, "" if unknown.
    places : Places, optional

    Returns
    -------
    dict of symbol to (Bars, bool)
        What was stored, and whether it took the place of other bars.

    Raises
    ------
    DataError
        If the file cannot be read or breaks a rule; nothing is stored then.
    """
    store = Store((places or Places()).data)
    facts = {
        "interval": store.interval,
        "currency": currency or None,
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: metadata.version(name) for name in ("quantseq", "pandas")},
    }
    found = {
        name: replace(bars, timezone=timezone, provenance={**bars.provenance, **facts})
        for name, bars in read_any(path, symbol).items()
    }
    replaced = {name: name in store for name in found}
    for bars in found.values():
        store.write(bars)
    return {name: (bars, replaced[name]) for name, bars in found.items()}


def read_any(path: Path, symbol: str | None = None) -> Panel:
    """A panel from a file of one symbol or of many."""
    if symbol is None and _has_symbol_column(path):
        return read_panel(path)
    return Panel([read_table(path, symbol)])


def _has_symbol_column(path: Path) -> bool:
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            names: list[str] = pq.read_schema(path).names
        else:
            with path.open(encoding="utf-8-sig", errors="replace") as file:
                names = file.readline().replace(";", ",").replace("\t", ",").split(",")
    except (OSError, ValueError):
        return False  # the reader proper says what is wrong
    return any(name.strip().strip('"').lower() in ("symbol", "ticker") for name in names)


def resolve_panel(
    symbols: Sequence[str],
    *,
    panel: Path | None = None,
    places: Places | None = None,
    start: Any = None,
    end: Any = None,
) -> Panel:
    """The prices that a command works on.

    Parameters
    ----------
    symbols : sequence of str
        Stored symbols, or symbols of the panel file; empty for all of them.
    panel : Path, optional
        A panel file instead of the store.
    start, end : date, optional
        Both inclusive.

    Raises
    ------
    NoDataError
        If nothing is stored, or the range is empty.
    SymbolNotFoundError
        If a symbol is unknown.
    """
    wanted = list(dict.fromkeys(symbols))
    if panel is not None:
        found = read_panel(panel)
        found = found.select(wanted) if wanted else found
    else:
        found = Store((places or Places()).data).panel(wanted or None)
    if start is None and end is None:
        return found
    cut = [bars.between(start, end) for bars in found.values()]
    empty = [bars.symbol for bars in cut if not len(bars)]
    if empty:
        raise NoDataError(
            f"No bars of {', '.join(empty)} between {start or 'the beginning'} and "
            f"{end or 'the end'}. Widen the range, or leave those symbols out."
        )
    return Panel(cut)


def sample_panel() -> Panel:
    """The bundled real prices of AAPL, GOOG, IBM and MSFT."""
    source = SampleSource()
    return Panel(source.fetch(symbol) for symbol in SAMPLE_SYMBOLS)


def describe_data(panel: Panel) -> dict[str, dict[str, Any]]:
    """Per symbol: content hash, rows, first and last session, source. For manifests."""
    return {
        symbol: {
            "sha256": bars.sha256,
            "rows": len(bars),
            "first": str(bars.sessions[0]),
            "last": str(bars.sessions[-1]),
            "source": str(bars.provenance.get("source", "memory")),
        }
        for symbol, bars in panel.items()
    }


def need_symbols(symbols: Sequence[str], panel: Path | None) -> None:
    """Refuse a command that names neither symbols nor a panel file."""
    if not symbols and panel is None:
        raise ConfigError(
            "No symbols were named. Give symbols such as AAPL, or a panel file with --panel."
        )
