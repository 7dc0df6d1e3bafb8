"""`fetch` and `data`: getting prices in, looking after them, and the panel that a command works on.

Owns what the commands do with the store, how findings of many symbols are put together and worded, and which symbols
may be used. `quantseq.market` owns the store, the sources and the rules.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from shlex import quote
from typing import Any, Literal
from unicodedata import category

import numpy as np

from quantseq.errors import (
    BarsError,
    ConfigError,
    CorruptFileError,
    NoDataError,
    QuantseqError,
    SymbolNotFoundError,
)
from quantseq.files import Places, sha256_file
from quantseq.market.bars import INTERVALS, Bars, Panel, check_symbol
from quantseq.market.calendars import session_changes
from quantseq.market.events import EventStore, KeptEvents, join, read_events
from quantseq.market.health import Finding, check_bars, screen
from quantseq.market.readers import Reading, clean_all, read_panel, read_raw, read_table
from quantseq.market.sources import SAMPLE_SYMBOLS, SampleSource, make_source
from quantseq.market.store import Store
from quantseq.market.update import FetchOutcome, update

Findings = Mapping[str, Sequence[Finding]]
"""Findings by symbol; a symbol without any is left out."""

_PLAIN = Reading()

NOTICE = 7
"""Weekdays before an event from which on it counts as known, where nobody says."""

_NAMED = 8
"""How many symbols a message names."""

_SAME_PRICE = 0.05
"""Closes of one instrument on one session differ by no more than this, whoever kept them."""

_NOT_STORED = (
    "Nothing was stored; --replace stores it all the same and keeps the old file as a backup."
)

_NO_FILE_NAME = '/\\:*?"<>|'
"""What file systems forbid in a name, besides control characters."""


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
    allow_gaps: bool = False,
    keep_closes: bool = False,
    events: bool = False,
    on_symbol: Callable[[FetchOutcome], None] | None = None,
) -> list[FetchOutcome]:
    """Download bars and store them; a failure never replaces what is stored.

    Only what is missing is asked for, so a batch that was stopped goes on when it is asked for again.

    `source` is ``yahoo``, ``sample``, or one that another package installed; nothing ever falls back to the sample.
    `start` and `end` are both inclusive; without `start`, stored bars are continued and others fetched from their
    beginning. `full` fetches the whole history again, and keeps the old file as a backup if anything changed; `rate`
    is about how many requests a second are made. `allow_gaps` and `keep_closes` say what becomes of rows without use,
    see `quantseq.market.health.clean`. With `events` the dates of earnings, past and to come, are stored too. `on_symbol` gets each outcome as it comes; all of them, failures
    included, are returned. ConfigError if source, interval or rate are none, BarsError if the range is reversed.
    """
    asked = make_source(source, rate=rate, allow_gaps=allow_gaps, keep_closes=keep_closes)
    if events and not hasattr(asked, "events"):
        raise ConfigError(
            f"The source {source!r} has no events. Use --source yahoo, or store them with: quantseq data import-events"
        )
    store, outcomes = Store(places.data, interval=interval), list[FetchOutcome]()

    def note(one: FetchOutcome) -> None:
        outcomes.append(_with_events(one, asked, store) if events else one)
        if on_symbol is not None:
            on_symbol(outcomes[-1])

    update(symbols, source=asked, store=store, start=start, end=end, full=full, on_symbol=note)
    return outcomes


def _with_events(one: FetchOutcome, source: Any, store: Store) -> FetchOutcome:
    """An outcome with the events of its symbol fetched and stored too; that none are known is no failure."""
    if one.status == "failed":
        return one
    name = one.symbol if one.symbol in store else one.symbol.strip().upper()
    try:
        fresh = source.events(name, timezone=store.info(name).timezone)
        facts = {"source": source.name, "versions": {"quantseq": metadata.version("quantseq")}}
        kept = EventStore(store.root).keep(name, fresh, facts)
    except NoDataError as error:
        return replace(one, events=0, why="; ".join(filter(None, [one.why, str(error)])))
    except QuantseqError as error:
        return replace(one, error=error, why="; ".join(filter(None, [one.why, str(error)])))
    moved = (
        f"{kept.lost} events were moved; the old file is kept as {kept.backup}" if kept.lost else ""
    )
    return replace(one, events=len(kept.events), why="; ".join(filter(None, [one.why, moved])))


def import_events(
    path: Path,
    *,
    symbol: str | None = None,
    replace_: bool = False,
    places: Places = Places(),
) -> tuple[list[KeptEvents], dict[str, list[str]]]:
    """Store the scheduled events of a CSV file, and say which of its lines were left out, by the reason.

    From its first date on, a file says all events of their kind; earlier ones, and other kinds, stay. ConfigError if
    that would lose stored ones without `replace_`; then nothing is stored. BarsError if the file cannot be read.
    """
    found, left_out = read_events(path, symbol)
    store = EventStore(places.data)
    for name, fresh in found.items():
        with suppress(CorruptFileError):
            lost = join(store.read(name), fresh)[1]
            if lost and not replace_:
                raise ConfigError(
                    f"{path.name} lacks {lost} stored events of {name} from {fresh.dates[0]} on. {_NOT_STORED}"
                )
    facts = {"source": "file", "file": path.name, "sha256": sha256_file(path)}
    return [store.keep(name, fresh, facts) for name, fresh in found.items()], left_out


@dataclass(frozen=True)
class ImportOutcome:
    """What became of one symbol of a file."""

    bars: Bars  # as they are stored now, or would be
    status: Literal["new", "replaced", "unchanged"]
    backup: str = ""  # file name under which the replaced bars are kept, "" if there is none


def import_(
    path: Path,
    *,
    symbol: str | None = None,
    how: Reading = _PLAIN,
    currency: str = "",
    start: Any = None,
    allow_gaps: bool = False,
    keep_closes: bool = False,
    replace_: bool = False,
    dry_run: bool = False,
    places: Places = Places(),
) -> list[ImportOutcome]:
    """Store the user's own CSV or Parquet file, of one symbol or of several.

    `symbol` names it, or chooses one of several; by default the file's own names count, else its stem. `how` says what
    the file does not, `allow_gaps` and `keep_closes` what becomes of rows without use (see
    `quantseq.market.health.clean`), `currency` that of the listing, "" if unknown. Rows before `start` are left away.

    Bars take the place of stored ones, of which a backup is kept, only if they hold every session of them, lose no
    dividends, splits, adjustment or volumes, and have about the same closes; others need `replace_`. With `dry_run` nothing is stored. DataError if the file cannot be read or breaks a rule, ConfigError if
    stored bars are in the way; then nothing is stored at all.
    """
    raws = [raw.since(start) for raw in read_raw(path, symbol, how=how)]
    facts = {
        "currency": currency or None,
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: metadata.version(name) for name in ("quantseq", "pandas")},
    }
    found = []
    for bars in clean_all(raws, allow_gaps=allow_gaps, keep_closes=keep_closes):
        own = {**bars.provenance, "interval": bars.interval, **facts}
        found.append(replace(bars, provenance=own))
    for bars in found:
        _refuse_to_lose(bars, places, replace_, named=symbol is not None, asked=how.interval)
    return [_keep(bars, places, replace_, dry_run) for bars in found]


def _refuse_to_lose(
    bars: Bars, places: Places, replace_: bool, *, named: bool, asked: str | None
) -> None:
    """A ConfigError if other bars, or the same under another spelling, are stored, and nobody said what to do."""
    name, file = bars.symbol, bars.provenance["file"]
    intervals = {one: Store(places.data, interval=one) for one in INTERVALS}
    known = {kept for store in intervals.values() for kept in store.symbols()}
    twins = [kept for kept in known if kept.upper() == name.upper() and kept != name]
    if twins and name not in known and not named:
        raise ConfigError(
            f"{file} would be stored as {name!r} beside {twins[0]!r}. Say which it is: --symbol {twins[0]} or "
            f"--symbol {name}."
        )
    others = [one for one in INTERVALS if one != bars.interval and name in intervals[one]]
    if others and name not in intervals[bars.interval] and asked is None and not replace_:
        raise ConfigError(
            f"{file} holds {bars.interval} bars of {name}, which is stored as {' and '.join(others)} bars. To store "
            f"them beside those, say --interval {bars.interval}."
        )
    with suppress(SymbolNotFoundError, CorruptFileError):
        _check_covers(bars, intervals[bars.interval].read(name), replace_)


def _check_covers(bars: Bars, old: Bars | None, replace_: bool) -> None:
    """Refuse bars that lack what those hold whose place they would take, or that seem to be another instrument's."""
    if old is None or replace_:
        return
    if lost := np.setdiff1d(old.sessions, bars.sessions).astype(str).tolist():
        span = f", {lost[0]} to {lost[-1]}" if len(lost) > 1 else f", {lost[0]}"
        raise ConfigError(
            f"{bars.provenance['file']} lacks {len(lost)} of the {len(old)} stored sessions of {bars.symbol}{span}. "
            f"{_NOT_STORED}"
        )
    if gone := [f"all {had[0]} {what}" for what, had in _holdings(old, bars).items() if not had[1]]:
        raise ConfigError(
            f"{bars.provenance['file']} lacks what is stored of {bars.symbol}: {', '.join(gone)}. {_NOT_STORED}"
        )
    at = np.isin(bars.sessions, old.sessions, assume_unique=True)
    with np.errstate(over="ignore"):
        far = int((np.abs(bars.close[at] / old.close - 1) > _SAME_PRICE).sum())
    if 2 * far > len(old):
        raise ConfigError(
            f"{bars.provenance['file']} may be of another instrument than the stored {bars.symbol}: on {far} of the "
            f"{len(old)} stored sessions, the closes differ by more than {_SAME_PRICE:.0%}. {_NOT_STORED}"
        )


def _holdings(*several: Bars) -> dict[str, list[int]]:
    """How much each of the bars holds of what a file may leave out, by its name."""
    found: dict[str, list[int]] = {}
    for bars in several:
        held = {
            "dividends": bars.dividends > 0,
            "splits": (bars.splits > 0) & (bars.splits != 1),
            "adjusted closes that differ from the close": ~np.isclose(
                bars.adj_close, bars.close, rtol=1e-6, atol=0
            ),
            "volumes": bars.volume > 0,
        }
        for name, mask in held.items():
            found.setdefault(name, []).append(int(mask.sum()))
    return {name: held for name, held in found.items() if held[0]}


def _keep(bars: Bars, places: Places, replace_: bool, dry_run: bool) -> ImportOutcome:
    """Store bars, a backup of others beside them."""
    store, outcome = Store(places.data, interval=bars.interval), ImportOutcome(bars, "new")

    def change(old: Bars | None) -> Bars:
        nonlocal outcome
        _check_covers(bars, old, replace_)
        if old is not None and old.sha256 == bars.sha256:
            outcome = replace(outcome, status="unchanged")
        elif old is not None:
            backup = "" if dry_run else store.back_up(bars.symbol).name
            outcome = replace(outcome, status="replaced", backup=backup)
        return bars

    if dry_run:
        with suppress(SymbolNotFoundError, CorruptFileError):
            change(store.read(bars.symbol))
    else:
        store.update(bars.symbol, change)
    return outcome


def resolve_panel(
    symbols: Sequence[str],
    *,
    panel: Path | None = None,
    places: Places = Places(),
    start: Any = None,
    end: Any = None,
    allow_bad_data: bool = False,
    events: Path | None = None,
    notice: int = NOTICE,
    covariate: str | None = None,
) -> Panel:
    """The prices that a command works on: `symbols`, or all, of the panel file or else of the store.

    Beside them stand the events of the file `events`, or else, for stored prices, those that are stored; where nobody
    says since when one was known, it counts as known `notice` weekdays before. `covariate` is a stored symbol, or a
    file of prices. `start` and `end` are both inclusive. Rows of a panel file that cannot be used are left out, see
    `quantseq.market.health.clean`; however many they are with `allow_bad_data`. NoDataError if nothing is stored or
    the range is empty, SymbolNotFoundError if a symbol is unknown.
    """
    wanted = list(dict.fromkeys(map(check_symbol, symbols)))
    if panel is None:
        found = Store(places.data).panel(wanted or None)
    else:
        found = read_panel(panel, wanted, start=start, allow_gaps=allow_bad_data)
    names = wanted or list(found)
    if events is not None:
        told = read_events(events)[0]
        if not told.keys() & set(names):
            raise NoDataError(
                f"{events.name} holds no events of {_some(names)}. Its symbols are {_some(list(told))}."
            )
    else:
        store = EventStore(places.data)
        stored = {} if panel is not None else {name: store.read(name) for name in names}
        told = {name: one for name, one in stored.items() if one is not None}
    beside = None
    if covariate is not None:
        path = Path(covariate)
        beside = read_table(path) if path.is_file() else Store(places.data).read(covariate)
    return Panel(
        (found[symbol].between(start, end) for symbol in names),
        events={name: one.assuming(notice) for name, one in told.items() if name in names},
        covariate=beside,
    )


def describe_events(panel: Panel) -> list[str]:
    """A sentence on the events and the covariate that are used, if any."""
    lines = []
    if panel.events:
        last = panel.sessions[-1]
        count = sum(len(one) for one in panel.events.values())
        ahead = sum(int((one.dates > last).sum()) for one in panel.events.values())
        lines.append(
            f"Scheduled events: {count:,} of {len(panel.events)} of {len(panel)} symbols were known by {last}, {ahead} of "
            "them still to come."
        )
    if panel.covariate is not None:
        lines.append(f"Covariate: {panel.covariate.symbol}, as of the day before each session.")
    return lines


def peers_of(
    names: Sequence[str], prices: Panel, *, panel: Path | None = None, places: Places = Places()
) -> Panel | None:
    """Those of some symbols that are not among the `prices`, from where these come; None if there are none.

    What is not there, or damaged, is left out: they are only the market of others.
    """
    found = []
    if rest := [name for name in names if name not in prices]:
        stored = read_panel(panel, allow_gaps=True) if panel is not None else None
        for name in rest:
            with suppress(NoDataError, SymbolNotFoundError, CorruptFileError, BarsError):
                found.append(Store(places.data).read(name) if stored is None else stored[name])
    return Panel(found) if found else None


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
            facts |= {"events": _events_stored(symbol, places)}
            rows.append({"symbol": symbol, "interval": interval, **facts, "source": source})
    return sorted(rows, key=lambda row: str(row["symbol"]))


def _events_stored(symbol: str, places: Places) -> int | str:
    """How many scheduled events are stored of a symbol."""
    try:
        return len(EventStore(places.data).read(symbol) or ())
    except CorruptFileError:
        return "damaged"


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
    from quantseq.reporting.charts import font_note, price_chart_png, write_picture

    path = out or Path(f"{_readable(symbol)}-{bars.sessions[-1]}.png")
    write_picture(path, price_chart_png(bars))
    note = font_note(bars.symbol)
    told = {"scheduled events": str(_events_stored(symbol, places))}
    return dict(summarise(bars)) | told | ({"fonts": note} if note else {}), path


def _readable(symbol: str) -> str:
    """The symbol as the name of a file that people see: only what no file system takes becomes ``_``."""
    return "".join("_" if c in _NO_FILE_NAME or category(c) in {"Cc", "Cs"} else c for c in symbol)


def rm(
    symbols: Sequence[str], *, interval: str | None = None, places: Places = Places()
) -> dict[str, tuple[tuple[str, ...], tuple[Path, ...]]]:
    """Remove stored prices, and with all of them the events; backups stay where they are.

    Returns by symbol what was removed, intervals and ``events``, and the backups that are kept.
    """
    asked = INTERVALS if interval is None else (interval,)
    stores = [Store(places.data, interval=one) for one in asked]
    holders = {one: [store for store in stores if one in store] for one in symbols}
    events = EventStore(places.data)
    for symbol, holding in holders.items():  # before anything is removed
        if not holding and not (interval is None and events.path(symbol).is_file()):
            stores[0].info(symbol)  # which says that nothing is stored under this name
    removed = {}
    for symbol, holding in holders.items():
        for store in holding:
            store.remove(symbol)
        kept = tuple(path for store in stores for path in store.backups(symbol))
        gone = tuple(store.interval for store in holding)
        if interval is None and events.remove(symbol):
            gone += ("events",)
        removed[symbol] = gone, kept
    return removed


def check(
    symbols: Sequence[str] = (),
    *,
    file: Path | None = None,
    symbol: str | None = None,
    how: Reading = _PLAIN,
    panel: Panel | None = None,
    places: Places = Places(),
) -> dict[str, tuple[Finding, ...]]:
    """What the health check says about stored symbols (all by default), a CSV or Parquet `file`, or a `panel`.

    A damaged stored file is an error of rule ``file``; of a file of prices, read as `how` says, every fault is counted,
    those included that an import would refuse. NoDataError or SymbolNotFoundError
    if nothing, or a named symbol, is not stored; another DataError if the file is no table of prices at all.
    """
    changes = session_changes(places.data)
    if file is not None:
        raws = read_raw(file, symbol, how=how)
        screened = {raw.symbol: screen(raw, changes) for raw in raws}
        return {name: found for name, found in screened.items() if found}
    if panel is not None:
        return findings(panel, places)
    store = Store(places.data)
    wanted = list(symbols) or list(store.symbols())
    if not wanted:
        store.panel()  # which says that nothing is stored
    found: dict[str, tuple[Finding, ...]] = {}
    for name in wanted:
        try:
            found[name] = check_bars(store.read(name), changes)
        except CorruptFileError as error:
            found[name] = (Finding("file", "error", 1, (), str(error)),)
    return {name: one for name, one in found.items() if one}


def findings(panel: Panel, places: Places = Places()) -> dict[str, tuple[Finding, ...]]:
    """What the health check has to say about each symbol that is not spotless."""
    changes = session_changes(places.data)
    every = {symbol: check_bars(bars, changes) for symbol, bars in panel.items()}
    return {symbol: found for symbol, found in every.items() if found}


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


def describe_imported(found: Sequence[ImportOutcome], *, places: Places = Places()) -> str:
    """One line about the errors in daily prices that were imported; "" if there are none."""
    changes = session_changes(places.data)
    every = {one.bars.symbol: one.bars for one in found if one.bars.interval == "1d"}
    errors = errors_only({name: check_bars(bars, changes) for name, bars in every.items()})
    if not errors:
        return ""
    number = sum(one.count for several in errors.values() for one in several)
    names = " ".join(map(quote, errors)) if len(errors) <= _NAMED else ""
    return (
        f"{number} {'error' if number == 1 else 'errors'} in the prices: {describe_errors(errors)}; "
        f"`{f'quantseq data check {names}'.strip()}` lists them."
    )


def refuse_errors(
    panel: Panel, *, places: Places = Places(), allow_bad_data: bool = False
) -> Findings:
    """What the health check found in the prices; a BarsError that names the symbols if these are errors.

    With `allow_bad_data` errors pass; they stay in the report.
    """
    found = findings(panel, places)
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


def alike(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of findings, where those about no bar at all stand once for all symbols of which they say the same."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for at, row in enumerate(rows):
        groups.setdefault(at if row["count"] else (row["rule"], row["message"]), []).append(row)
    told = []
    for several in groups.values():
        more = f" and {len(several) - 3} more" if len(several) > 3 else ""
        names = ", ".join(str(row["symbol"]) for row in several[:3])
        told.append({**several[0], "symbol": f"{names}{more}"})
    return told


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
    panel: Panel,
    *,
    places: Places = Places(),
    until: Any = None,
    allow_bad_data: bool = False,
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
    found = findings(known, places)
    left_out = {
        name: f"its prices start on {first}, after {until}"
        for name, first in starts.items()
        if name not in known
    }
    broken = {} if allow_bad_data else errors_only(found)
    left_out |= {s: f"errors in its prices, {describe_errors({s: broken[s]})}" for s in broken}
    kept = [name for name in known if name not in left_out]
    told = [f"{name} was left out: {why}." for name, why in left_out.items()]
    if rest := list(left_out)[_NAMED:]:
        told[_NAMED:] = [f"{len(rest)} more symbols were left out: {', '.join(rest)}."]
    if not kept:
        raise BarsError(
            f"No symbol is left: {'; '.join(one.rstrip('.') for one in told[:_NAMED])}"
            f"{f' and {len(rest)} more' if rest else ''}. Mend the prices "
            "(see `quantseq data check`), or use them as they are with --allow-bad-data."
        )
    return (known if len(kept) == len(known) else known.select(kept)), found, told


def _some(several: Sequence[str]) -> str:
    """The first `_NAMED` texts, and how many more there are."""
    more = len(several) - _NAMED
    return "; ".join([*several[:_NAMED], *([f"and {more} more symbols"] if more > 0 else [])])
