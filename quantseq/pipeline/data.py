"""`fetch` and `data`: getting prices in, looking after them, and the panel that a command works on.

Owns what the commands do with the store, how findings of many symbols are put together and worded, and which symbols
may be used. `quantseq.market` owns the store, the sources and the rules.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from quantseq.errors import BarsError, ConfigError, CorruptFileError, NoDataError
from quantseq.files import Places
from quantseq.market.bars import INTERVALS, Bars, Panel
from quantseq.market.health import Finding, check_bars, screen
from quantseq.market.readers import read_panel, read_raw, read_table
from quantseq.market.sources import SAMPLE_SYMBOLS, SampleSource, make_source
from quantseq.market.store import Store, file_name
from quantseq.market.update import FetchOutcome, update

Findings = Mapping[str, Sequence[Finding]]
"""Findings by symbol; a symbol without any is left out."""

_NAMED = 8
"""How many symbols a message names."""


def fetch(
    symbols: Sequence[str],
    *,
    source: str = "yahoo",
    places: Places = Places(),
    start: Any = None,
    end: Any = None,
    interval: str = "1d",
    full: bool = False,
    rate: float = 1.0,
    on_symbol: Callable[[FetchOutcome], None] | None = None,
) -> list[FetchOutcome]:
    """Download bars and store them; a failure never replaces what is stored.

    Only what is missing is asked for, so a batch that was stopped goes on when it is asked for again.

    `source` is ``yahoo``, ``sample``, or one that another package installed; nothing ever falls back to the sample.
    `start` and `end` are both inclusive; without `start`, stored bars are continued and others fetched from their
    beginning. `full` fetches the whole history again, and keeps the old file as a backup if anything changed; `rate`
    is about how many requests a second are made. `on_symbol` gets each outcome as it comes; all of them, failures
    included, are returned. ConfigError if source, interval or rate are none, BarsError if the range is reversed.
    """
    return update(
        symbols,
        source=make_source(source, rate=rate),
        store=Store(places.data, interval=interval),
        start=start,
        end=end,
        full=full,
        on_symbol=on_symbol,
    )


def import_(
    path: Path,
    *,
    symbol: str | None = None,
    timezone: str = "",
    currency: str = "",
    places: Places = Places(),
) -> dict[str, tuple[Bars, bool]]:
    """Store the user's own CSV or Parquet file, of one symbol or a long-format panel with a ``symbol`` column.

    `symbol` names it; by default every symbol of a panel, else the header's ticker, else the file's stem counts.
    `timezone` and `currency` are those of the listing, "" if unknown. Returns by symbol what was stored, and whether
    it took the place of other bars; DataError if the file cannot be read or breaks a rule, and nothing is stored.
    """
    store = Store(places.data)
    facts = {
        "interval": store.interval,
        "currency": currency or None,
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: metadata.version(name) for name in ("quantseq", "pandas")},
    }
    names = [raw.symbol for raw in read_raw(path, symbol)]
    panel = read_panel(path) if len(names) > 1 else Panel([read_table(path, *names)])
    found = {}
    for name, bars in panel.items():
        stored = replace(bars, timezone=timezone, provenance={**bars.provenance, **facts})
        found[name] = stored, name in store
        store.write(stored)
    return found


def resolve_panel(
    symbols: Sequence[str],
    *,
    panel: Path | None = None,
    places: Places = Places(),
    start: Any = None,
    end: Any = None,
) -> Panel:
    """The prices that a command works on: `symbols`, or all, of the panel file or else of the store.

    `start` and `end` are both inclusive. NoDataError if nothing is stored or the range is empty, SymbolNotFoundError
    if a symbol is unknown.
    """
    wanted = list(dict.fromkeys(symbols))
    found = Store(places.data).panel(wanted or None) if panel is None else read_panel(panel)
    return Panel(found[symbol].between(start, end) for symbol in wanted or found)


def sample_panel() -> Panel:
    """The bundled real prices of AAPL, GOOG, IBM and MSFT."""
    source = SampleSource()
    return Panel(source.fetch(symbol) for symbol in SAMPLE_SYMBOLS)


def need_symbols(symbols: Sequence[str], panel: Path | None) -> None:
    """Refuse a command that names neither symbols nor a panel file."""
    if not symbols and panel is None:
        example = "Give symbols such as AAPL, or a panel file with --panel."
        raise ConfigError(f"No symbols were named. {example}")


def list_(*, places: Places = Places()) -> list[dict[str, Any]]:
    """What is stored, one row per symbol and interval; a damaged file is named in its ``source``."""
    rows: list[dict[str, Any]] = []
    for interval in INTERVALS:
        for symbol, info in Store(places.data, interval=interval).infos():
            if isinstance(info, CorruptFileError):
                source = f"damaged: {' '.join(str(info).split())}"
            else:
                source = str(info.provenance.get("source", ""))
            facts = {name: getattr(info, name, None) for name in ("rows", "first", "last")}
            rows.append({"symbol": symbol, "interval": interval, **facts, "source": source})
    return sorted(rows, key=lambda row: str(row["symbol"]))


def show(
    symbol: str,
    *,
    start: Any = None,
    end: Any = None,
    out: Path | None = None,
    places: Places = Places(),
) -> tuple[dict[str, str], Path]:
    """Facts about a stored symbol as labelled texts, and a chart of its closes and volume as PNG.

    The chart goes to `out`, by default SYMBOL-LASTDATE.png in the working directory.
    """
    bars = resolve_panel([symbol], places=places, start=start, end=end)[symbol]
    from quantseq.reporting.charts import price_chart_png, write_picture

    path = out or Path(f"{file_name(symbol).replace('/', '')}-{bars.sessions[-1]}.png")
    write_picture(path, price_chart_png(bars))
    return dict(summarise(bars)), path


def rm(
    symbols: Sequence[str], *, interval: str | None = None, places: Places = Places()
) -> dict[str, tuple[tuple[str, ...], tuple[Path, ...]]]:
    """Remove stored prices; backups that a fetch has left stay where they are.

    Returns by symbol the intervals that were removed, and the backups that are kept.
    """
    asked = INTERVALS if interval is None else (interval,)
    stores = [Store(places.data, interval=one) for one in asked]
    holders = {one: [store for store in stores if one in store] for one in symbols}
    for symbol, holding in holders.items():  # before anything is removed
        if not holding:
            stores[0].info(symbol)  # which says that nothing is stored under this name
    removed = {}
    for symbol, holding in holders.items():
        for store in holding:
            store.remove(symbol)
        kept = tuple(path for store in stores for path in store.backups(symbol))
        removed[symbol] = tuple(store.interval for store in holding), kept
    return removed


def check(
    symbols: Sequence[str] = (),
    *,
    file: Path | None = None,
    symbol: str | None = None,
    timezone: str = "",
    panel: Panel | None = None,
    places: Places = Places(),
) -> dict[str, tuple[Finding, ...]]:
    """What the health check says about stored symbols (all by default), a CSV or Parquet `file`, or a `panel`.

    A damaged stored file is an error of rule ``file``; of a file of prices, with the name of its `symbol` and its
    `timezone`, every fault is counted, those included that an import would refuse. NoDataError or SymbolNotFoundError
    if nothing, or a named symbol, is not stored; another DataError if the file is no table of prices at all.
    """
    if file is not None:
        screened = {raw.symbol: screen(raw) for raw in read_raw(file, symbol, timezone=timezone)}
        return {name: found for name, found in screened.items() if found}
    if panel is not None:
        return findings(panel)
    store = Store(places.data)
    wanted = list(symbols) or list(store.symbols())
    if not wanted:
        store.panel()  # which says that nothing is stored
    found: dict[str, tuple[Finding, ...]] = {}
    for name in wanted:
        try:
            found[name] = check_bars(store.read(name))
        except CorruptFileError as error:
            found[name] = (Finding("file", "error", 1, (), str(error)),)
    return {name: one for name, one in found.items() if one}


def findings(panel: Panel) -> dict[str, tuple[Finding, ...]]:
    """What the health check has to say about each symbol that is not spotless."""
    return {symbol: found for symbol, bars in panel.items() if (found := check_bars(bars))}


def errors_only(found: Findings) -> dict[str, list[Finding]]:
    """Findings of severity ``error``, by symbol."""
    errors = {name: [one for one in found[name] if one.severity == "error"] for name in found}
    return {name: several for name, several in errors.items() if several}


def describe_errors(found: Findings) -> str:
    """The symbols with errors and what is wrong with each, in one line; "" if there are none."""

    def words(one: Finding) -> str:
        more = f" and {one.count - 1} more" if one.count > 1 else ""
        return f"{one.rule} on {one.sessions[0]}{more}" if one.sessions else one.rule

    errors = errors_only(found).items()
    return _some([f"{name} ({', '.join(map(words, several))})" for name, several in errors])


def refuse_errors(panel: Panel, *, allow_bad_data: bool = False) -> Findings:
    """What the health check found in the prices; a BarsError that names the symbols if these are errors.

    With `allow_bad_data` errors pass; they stay in the report.
    """
    found = findings(panel)
    errors = errors_only(found)
    if errors and not allow_bad_data:
        raise BarsError(
            f"{len(errors)} of {len(panel)} symbols have errors in their prices: {describe_errors(found)}. "
            "See `quantseq data check`; repair or leave them out, or go on with --allow-bad-data."
        )
    return found


def as_rows(found: Findings) -> list[dict[str, Any]]:
    """Findings as plain values, one row each, for JSON and for the report."""
    return [
        {"symbol": symbol, **asdict(one), "sessions": list(one.sessions)}
        for symbol, several in found.items()
        for one in several
    ]


def summarise(bars: Bars) -> list[tuple[str, str]]:
    """What a stored symbol holds, as labelled texts."""
    returns, known = bars.log_returns()[1:], bars.provenance
    splits = int(((bars.splits > 0) & (bars.splits != 1)).sum())
    facts = [
        ("symbol", bars.symbol),
        ("sessions", f"{len(bars)}, {bars.sessions[0]} to {bars.sessions[-1]}"),
        ("source", str(known.get("source", "unknown"))),
        ("fetched at", str(known.get("fetched_at", "unknown"))),
        ("time zone", bars.timezone or "unknown"),
        ("currency", str(known.get("currency") or "unknown")),
        ("last close", f"{bars.close[-1]:.6g} (adjusted {bars.adj_close[-1]:.6g})"),
        ("range of closes", f"{bars.close.min():.6g} to {bars.close.max():.6g}"),
        ("median volume", f"{np.median(bars.volume):,.0f}"),
        ("events", f"{int((bars.dividends > 0).sum())} dividends, {splits} splits"),
    ]
    if len(returns) > 1:
        up, down = int(np.argmax(returns)) + 1, int(np.argmin(returns)) + 1
        facts += [
            ("daily volatility", f"{np.std(returns, ddof=1):.2%}"),
            ("best day", f"{np.expm1(returns[up - 1]):+.2%} on {bars.sessions[up]}"),
            ("worst day", f"{np.expm1(returns[down - 1]):+.2%} on {bars.sessions[down]}"),
        ]
    return [*facts, ("SHA-256", bars.sha256)]


def usable(
    panel: Panel, *, until: Any = None, allow_bad_data: bool = False
) -> tuple[Panel, Findings, list[str]]:
    """The symbols that may be forecast and compared on, what was found in all, and a sentence about each left out.

    Left out, before anything is fitted: symbols without a bar up to `until` (later bars are cut off first), and,
    unless allowed, symbols in whose prices the health check finds errors. Days on which a price stands still are no
    matter of whole symbols: no model forecasts them, see `quantseq.forecasting.rows`. NoDataError if no symbol has a
    bar up to `until`, BarsError if none is left.
    """
    starts = {name: bars.sessions[0] for name, bars in panel.items()}
    if until is not None and min(starts.values()) > np.datetime64(until, "D"):
        late = [f"{name} starts on {first}" for name, first in starts.items()]
        raise NoDataError(
            f"No price is known by {until}: {_some(late)}. Fetch earlier prices, or choose a later date."
        )
    known = panel if until is None else panel.until(until)
    found = findings(known)
    left_out = {
        name: f"its prices start on {first}, after {until}"
        for name, first in starts.items()
        if name not in known
    }
    broken = {} if allow_bad_data else errors_only(found)
    left_out |= {s: f"errors in its prices, {describe_errors({s: broken[s]})}" for s in broken}
    kept = [name for name in known if name not in left_out]
    told = [f"{name} was left out: {why}." for name, why in left_out.items()]
    if not kept:
        raise BarsError(
            f"No symbol is left: {_some([one.rstrip('.') for one in told])}. Mend the prices "
            "(see `quantseq data check`), or use them as they are with --allow-bad-data."
        )
    return (known if len(kept) == len(known) else known.select(kept)), found, told


def _some(several: Sequence[str]) -> str:
    """The first `_NAMED` texts, and how many more there are."""
    more = len(several) - _NAMED
    return "; ".join([*several[:_NAMED], *([f"and {more} more symbols"] if more > 0 else [])])
