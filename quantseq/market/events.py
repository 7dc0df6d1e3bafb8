"""Scheduled events: how a file of them is read, how fresh ones join stored ones, and where they are kept.

Owns the words that such files are written in, and one sealed JSON file per symbol, replaced under a lock. Knows
nothing of prices, nor of what events do to them; what an event is stands in `quantseq.market.bars`. ::

    <root>/events/AAPL.json      date, kind, timing and known_on of each, with their provenance
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from quantseq.errors import BarsError, CorruptFileError, NoDataError
from quantseq.files import lock, read_sealed, seal, write_bytes, write_json
from quantseq.market.bars import DATE_DTYPE, Events, check_symbol
from quantseq.market.notations import MISSING, parse_dates, plain_letters
from quantseq.market.store import file_name

EARNINGS = "earnings"
"""The kind of an event of which nobody says more."""

AFTERNOON = 15
"""Hour at the exchange from which on a time of day is after the close."""

_COLUMNS = {
    "symbol": "symbol ticker code stocksymbol instrument",
    "date": "date earningsdate eventdate reportdate announcementdate day datetime",
    "kind": "kind type event eventtype",
    "timing": "timing time when session hour",
    "known_on": "knownon known announcedon announced asof",
}
_TIMINGS = {
    "before-open": "beforeopen bmo before premarket timepremarket beforemarket beforemarketopen am during dmh "
    "duringmarket duringmarkethours",
    "after-close": "afterclose amc after afterhours timeafterhours aftermarket aftermarketclose postmarket pm",
    "unknown": "unknown timenotsupplied tns tas notsupplied",
}
_MEANING = {word: timing for timing, words in _TIMINGS.items() for word in words.split()}


def _key(text: object) -> str:
    return re.sub(r"[\W_]", "", plain_letters(str(text)))


def timing_at(moments: Any) -> Any:
    """The timing of events at these times of day, an array of exchange times; midnight says nothing."""
    hours = pd.DatetimeIndex(moments).hour.to_numpy()
    midnight = moments == moments.astype(DATE_DTYPE)
    return np.select([midnight, hours >= AFTERNOON], ["unknown", "after-close"], "before-open")


def read_events(
    path: Path, symbol: str | None = None
) -> tuple[dict[str, Events], dict[str, list[str]]]:
    """Events by symbol from a CSV file, and the lines that were left out, by the reason.

    Columns are date and, unless `symbol` names the one, symbol; kind, timing and known_on if there are any. A
    BarsError if it is no such file, or says no date or no timing that can be understood.
    """
    name = Path(path).name
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise BarsError(
            f"Cannot read {name} as CSV: {' '.join(str(error).split())}. Events need the columns symbol and date."
        ) from error
    if not isinstance(frame.index, pd.RangeIndex):
        raise BarsError(
            f"{name} has lines with more cells than its first line names. Name every column."
        )
    known = {word: ours for ours, words in _COLUMNS.items() for word in words.split()}
    ours = [known.get(_key(one), "") for one in frame.columns]
    if twice := sorted({one for one in ours if one and ours.count(one) > 1}):
        raise BarsError(f"{name} has two columns for {twice[0]!r}. Keep one of them.")
    cells = frame.set_axis(ours, axis="columns").drop(columns="", errors="ignore")
    cells = cells.apply(lambda column: column.str.strip())
    if symbol is not None:
        cells["symbol"] = symbol
    if lost := [one for one in ("symbol", "date") if one not in cells]:
        raise BarsError(
            f"{name} has no column {lost[0]!r}; found {', '.join(map(str, frame.columns))}. Events need symbol and "
            "date; --symbol names the one of all rows."
        )
    left_out: dict[str, list[str]] = {}

    def leave_out(why: str, wrong: Any) -> None:
        nonlocal cells
        if wrong.any():
            left_out[why] = [f"line {line + 2}" for line in cells.index[wrong]]
            cells = cells[~wrong]

    for one in ("symbol", "date"):
        leave_out(f"no {one}", cells[one].str.lower().isin(MISSING).to_numpy())
    moments = {"date": _moments(cells["date"], name)}
    if "known_on" in cells:
        moments["known_on"] = _moments(cells["known_on"], name)
    cells = cells.assign(**moments)
    cells["timing"] = _timings(cells, name)
    cells["kind"] = [_kind(one) for one in cells.get("kind", pd.Series(EARNINGS, cells.index))]
    cells["symbol"] = [check_symbol(one) for one in cells["symbol"]]
    cells["date"] = cells["date"].dt.normalize()
    cells["known_on"] = (
        pd.to_datetime(cells.get("known_on")).dt.normalize() if "known_on" in cells else pd.NaT
    )
    leave_out("known only after its date", (cells["known_on"] > cells["date"]).to_numpy())
    leave_out(
        "a second one of its kind on its date",
        cells.duplicated(["symbol", "date", "kind"]).to_numpy(),
    )
    if cells.empty:
        raise NoDataError(f"{name} holds no events. Each needs a symbol and a date.")
    found = {
        str(one): Events(
            *(rows[part].to_numpy() for part in ("date", "kind", "timing", "known_on"))
        )
        for one, rows in cells.groupby("symbol", sort=False)
    }
    return found, left_out


def _moments(cells: pd.Series, name: str) -> pd.Series:
    """When these texts say, not a time where they are empty."""
    given = ~cells.str.lower().isin(MISSING)
    moments, faults = parse_dates(cells[given])
    if faults:
        line = cells.index[given][faults[0][0]] + 2
        raise BarsError(f"{name}, line {line}: {faults[0][1]}. Write dates as YYYY-MM-DD.")
    return pd.Series(moments.local, cells.index[given]).reindex(cells.index)


def _kind(text: str) -> str:
    return EARNINGS if text.lower() in MISSING else text.lower()


def _timings(cells: pd.DataFrame, name: str) -> Any:
    """The timing of each row, from its column or else from the time of day of its date."""
    if "timing" not in cells:
        return timing_at(cells["date"].to_numpy())
    keys = [_key(one) if one.lower() not in MISSING else "unknown" for one in cells["timing"]]
    for line, key, text in zip(cells.index, keys, cells["timing"], strict=True):
        if key not in _MEANING:
            raise BarsError(
                f"{name}, line {line + 2}: the timing {text!r} is none. Write before-open, after-close or unknown."
            )
    return [_MEANING[key] for key in keys]


def join(old: Events | None, fresh: Events) -> tuple[Events, int]:
    """Fresh events with those stored ones that they do not speak of, and how many are lost.

    From their first date on, fresh events are all that there are of their kinds; a stored one that is not among them
    was moved or called off, and is lost.
    """
    if old is None:
        return fresh, 0
    spoken = np.isin(old.kinds, fresh.kinds) & (old.dates >= fresh.dates.min())
    again = set(zip(fresh.dates.tolist(), fresh.kinds.tolist(), strict=True))
    pairs = zip(old.dates.tolist(), old.kinds.tolist(), spoken.tolist(), strict=True)
    lost = sum(told and (day, kind) not in again for day, kind, told in pairs)
    rest, fresh = old.rows(~spoken), _with_what_was_known(old, fresh)
    parts = ("dates", "kinds", "timings", "known_on")
    return Events(
        *(np.concatenate([getattr(one, part) for one in (rest, fresh)]) for part in parts)
    ), lost


def _with_what_was_known(old: Events, fresh: Events) -> Events:
    """Fresh events with the timing and the `known_on` of stored ones of the same date and kind, where they lack them."""
    keys = zip(old.dates.tolist(), old.kinds.tolist(), strict=True)
    place = {key: at for at, key in enumerate(keys)}
    timings, known_on = fresh.timings.astype(object), fresh.known_on.copy()
    for at, key in enumerate(zip(fresh.dates.tolist(), fresh.kinds.tolist(), strict=True)):
        if (before := place.get(key)) is not None:
            if timings[at] == "unknown":
                timings[at] = old.timings[before]
            if np.isnat(known_on[at]):
                known_on[at] = old.known_on[before]
    return Events(fresh.dates, fresh.kinds, timings, known_on)


class KeptEvents(NamedTuple):
    """What became of one symbol's events."""

    symbol: str
    status: Literal["new", "updated", "unchanged"]
    events: Events  # as they are stored now, or would be
    lost: int = 0  # stored ones that fresh ones no longer name
    backup: str = ""  # file name under which those before are kept, "" if there is none


class EventStore:
    """Events on disk under the data folder `root`, which is created when something is written."""

    def __init__(self, root: Path | str) -> None:
        self.folder = Path(root) / "events"

    def path(self, symbol: str) -> Path:
        """Where the events of `symbol` are kept, whether or not there are any."""
        return self.folder / f"{file_name(check_symbol(symbol))}.json"

    def read(self, symbol: str) -> Events | None:
        """The events of a symbol; None if there are none, a CorruptFileError if they cannot be read back exactly."""
        path = self.path(symbol)
        if not path.is_file():
            return None
        told = read_sealed(path)
        try:
            if told["symbol"] != check_symbol(symbol):
                raise ValueError(f"it holds {told['symbol']!r}")
            columns = zip(*told["events"], strict=True)
            day, kind, timing, known = (
                np.array([one or "NaT" for one in column]) for column in columns
            )
            return Events(day.astype(DATE_DTYPE), kind, timing, known.astype(DATE_DTYPE))
        except (KeyError, TypeError, ValueError, BarsError) as error:
            raise CorruptFileError(
                f"{str(path)!r} cannot be read back: {error}. Import or fetch the events again."
            ) from error

    def keep(self, symbol: str, fresh: Events, provenance: Mapping[str, Any]) -> KeptEvents:
        """Let fresh events join those that are stored; of what they replace a backup is kept."""
        with lock(self.folder / ".lock"):
            path, old = self.path(symbol), None
            with suppress(CorruptFileError):
                old = self.read(symbol)
            joined, lost = join(old, fresh)
            if old is not None and old.sha256 == joined.sha256:
                return KeptEvents(symbol, "unchanged", joined)
            backup = ""
            if path.is_file():
                backup = _back_up(path, "damaged" if old is None else "backup")
            columns = (joined.dates, joined.kinds, joined.timings, joined.known_on)
            rows = zip(*(one.astype(str).tolist() for one in columns), strict=True)
            told = [[None if cell == "NaT" else cell for cell in row] for row in rows]
            now = datetime.now(UTC).isoformat(timespec="seconds")
            facts = {"stored_at": now, **provenance}
            write_json(
                path, seal({"symbol": check_symbol(symbol), "provenance": facts, "events": told})
            )
            return KeptEvents(symbol, "new" if old is None else "updated", joined, lost, backup)

    def remove(self, symbol: str) -> bool:
        """Delete the events of a symbol, but for a copy of a file that cannot be read; whether there were any."""
        path = self.path(symbol)
        if not path.is_file():
            return False
        with lock(self.folder / ".lock"):
            try:
                self.read(symbol)
            except CorruptFileError:
                _back_up(path, "damaged")
            path.unlink(missing_ok=True)
        return True


def _back_up(path: Path, kind: str) -> str:
    """Keep a copy of a file beside it, under a dated name."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    kept = path.with_name(f"{path.name}.{moment}.{kind}")
    write_bytes(kept, path.read_bytes())
    return kept.name
