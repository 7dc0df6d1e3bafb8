"""Whether prices may be used: findings on stored symbols, files and panels, and the refusal of errors.

Owns how findings of many symbols are put together and worded. `quantseq.market.health` owns the rules.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from quantseq.config import Places
from quantseq.errors import BarsError, CorruptFileError, NoDataError
from quantseq.files import write_bytes
from quantseq.market.bars import Bars, Panel
from quantseq.market.catalogue import file_name
from quantseq.market.findings import Finding
from quantseq.market.health import check
from quantseq.market.screening import screen
from quantseq.market.store import Store
from quantseq.market.tables import read_raw

Findings = Mapping[str, Sequence[Finding]]
"""Findings by symbol; a symbol without any is left out."""

NAMED = 8
"""How many symbols a message names."""


def findings(panel: Panel) -> dict[str, tuple[Finding, ...]]:
    """What the health check has to say about each symbol that is not spotless."""
    checked = {symbol: check(bars) for symbol, bars in panel.items()}
    return {symbol: found for symbol, found in checked.items() if found}


def check_stored(
    symbols: Sequence[str] = (), *, places: Places | None = None
) -> dict[str, tuple[Finding, ...]]:
    """Findings about stored symbols, all of them by default.

    A damaged file is an error of rule ``file``; the other symbols are checked all the same.

    Raises
    ------
    NoDataError
        If nothing is stored at all.
    SymbolNotFoundError
        If a named symbol is not stored.
    """
    store = Store((places or Places()).data)
    wanted = list(symbols) or list(store.symbols())
    if not wanted:
        raise NoDataError(
            f"No bars are stored under {str(store.folder)!r}. "
            "Get some first, for example: quantseq fetch AAPL MSFT"
        )
    found: dict[str, tuple[Finding, ...]] = {}
    for symbol in wanted:
        try:
            found[symbol] = check(store.read(symbol))
        except CorruptFileError as error:
            found[symbol] = (Finding("file", "error", 1, (), str(error)),)
    return {symbol: one for symbol, one in found.items() if one}


def check_file(
    path: Path, symbol: str | None = None, *, timezone: str = ""
) -> dict[str, tuple[Finding, ...]]:
    """Every finding about a CSV or Parquet file, faults included that import would refuse.

    Raises
    ------
    DataError
        If the file is no table of prices at all.
    """
    screened = {raw.symbol: screen(raw) for raw in read_raw(path, symbol, timezone=timezone)}
    return {name: found for name, found in screened.items() if found}


def errors_only(found: Findings) -> dict[str, list[Finding]]:
    """Findings of severity ``error``, by symbol."""
    errors = {
        symbol: [one for one in several if one.severity == "error"]
        for symbol, several in found.items()
    }
    return {symbol: several for symbol, several in errors.items() if several}


def describe_errors(found: Findings) -> str:
    """The symbols with errors and what is wrong with each, in one line; "" if there are none."""
    errors = errors_only(found)
    parts = []
    for symbol, several in errors.items():
        rules = [
            f"{one.rule} on {one.sessions[0]}" + (f" and {one.count - 1} more" * (one.count > 1))
            if one.sessions
            else one.rule
            for one in several
        ]
        parts.append(f"{symbol} ({', '.join(rules)})")
    return _some(parts)


def refuse_errors(found: Findings, *, total: int, allow_bad_data: bool = False) -> None:
    """Refuse prices in which the health check found errors, unless they are allowed.

    Parameters
    ----------
    found : mapping
        From `findings`.
    total : int
        How many symbols were checked.
    allow_bad_data : bool
        Let errors pass; they stay in the report.

    Raises
    ------
    BarsError
        If there are errors. The message names the symbols, in one line.
    """
    errors = errors_only(found)
    if errors and not allow_bad_data:
        raise BarsError(
            f"{len(errors)} of {total} symbols have errors in their prices: {describe_errors(found)}. "
            "See `quantseq data check`; repair or leave them out, or go on with --allow-bad-data."
        )


def as_rows(found: Findings) -> list[dict[str, Any]]:
    """Findings as plain values, one row each, for JSON and for the report."""
    return [
        {"symbol": symbol, **asdict(one), "sessions": list(one.sessions)}
        for symbol, several in found.items()
        for one in several
    ]


def summarise(bars: Bars) -> list[tuple[str, str]]:
    """What a stored symbol holds, as labelled texts."""
    returns = bars.log_returns()[1:]
    known = bars.provenance
    events = {
        "dividends": int((bars.dividends > 0).sum()),
        "splits": int(((bars.splits > 0) & (bars.splits != 1)).sum()),
    }
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
        ("events", ", ".join(f"{count} {name}" for name, count in events.items())),
    ]
    if len(returns) > 1:
        up, down = int(np.argmax(returns)) + 1, int(np.argmin(returns)) + 1
        facts += [
            ("daily volatility", f"{np.std(returns, ddof=1):.2%}"),
            ("best day", f"{np.expm1(returns[up - 1]):+.2%} on {bars.sessions[up]}"),
            ("worst day", f"{np.expm1(returns[down - 1]):+.2%} on {bars.sessions[down]}"),
        ]
    return [*facts, ("SHA-256", bars.sha256)]


def draw(bars: Bars, path: Path | None = None) -> Path:
    """Write a candlestick and volume chart as PNG, by default into the working directory."""
    from quantseq.reporting.drawing.candles import candles_png

    where = path or Path(f"{file_name(bars.symbol).replace('/', '')}-{bars.sessions[-1]}.png")
    write_bytes(where, candles_png(bars))
    return where


def draw_text(bars: Bars, *, width: int, height: int) -> Iterable[str]:
    """The same chart as lines of text."""
    from quantseq.reporting.drawing.candles import candle_lines

    return candle_lines(bars, width=width, height=height)


def usable(
    panel: Panel, *, until: Any = None, allow_bad_data: bool = False
) -> tuple[Panel, Findings, list[str]]:
    """The symbols that may be forecast and compared on, what was found in all, and a sentence about each left out.

    Left out, before anything is fitted: symbols without a bar up to `until`, and symbols in whose prices
    the health check finds errors. Days on which a price stands still are no matter of whole symbols: no
    model forecasts them, see `quantseq.forecasting.rows`.

    Parameters
    ----------
    panel : Panel
    until : date, optional
        Later bars are cut off first.
    allow_bad_data : bool
        Keep symbols with errors.

    Raises
    ------
    NoDataError
        If no symbol has a bar up to `until`.
    BarsError
        If every symbol has errors.
    """
    known = panel if until is None else _known_by(panel, np.datetime64(until, "D"))
    found = findings(known)
    left_out = {
        name: f"its prices start on {panel[name].sessions[0]}, after {until}"
        for name in panel
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


def _known_by(panel: Panel, until: np.datetime64) -> Panel:
    starts = {name: bars.sessions[0] for name, bars in panel.items()}
    if min(starts.values()) > until:
        late = [f"{name} starts on {first}" for name, first in starts.items()]
        raise NoDataError(
            f"No price is known by {until}: {_some(late)}. Fetch earlier prices, or choose a later date."
        )
    return panel.until(until)


def _some(several: Sequence[str]) -> str:
    """The first `NAMED` texts, and how many more there are."""
    more = len(several) - NAMED
    return "; ".join([*several[:NAMED], *([f"and {more} more symbols"] if more > 0 else [])])
