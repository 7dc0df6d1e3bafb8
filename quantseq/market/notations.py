"""How people write numbers and dates: read where a whole column leaves no doubt, refused where it does.

Owns decimal and thousands marks, currency signs, blanks and suffixes of numbers; orders, months, epochs and
serials of dates; the words for columns and months, in ``notations.toml``. Knows nothing of files or prices. Where
nothing decides, nobody guesses: the caller says it, by `decimal` or `order`. Cells are texts; what cannot be read
comes back as a fault, by position.
"""

import re
import tomllib
import unicodedata
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import BarsError

Faults = list[tuple[int, str]]
"""Positions in a column, and what is wrong there."""

DECIMALS, ORDERS = (".", ","), ("dmy", "mdy", "ymd")

WORDS: dict[str, dict[str, Any]] = tomllib.loads(
    resources.files("quantseq.market").joinpath("notations.toml").read_text(encoding="utf-8")
)
"""What people call columns and months, and what well-known exports do not say."""

MISSING = frozenset(
    ("", "nan", "null", "none", "n/a", "na", "#n/a", ".", "-", "--", "—", "–", "nat")
)
_SIGNS = r"[€$£¥₹₩₽\s\u00a0\u2009\u202f'’]"
_SCALES = {"k": 1e3, "m": 1e6, "mio": 1e6, "b": 1e9, "mrd": 1e9, "t": 1e12}
_SCALE = re.compile(r"^(.*\d[.,]?)\s*(k|m|b|t|mio\.?|mrd\.?)$", re.IGNORECASE)
# What only one mark can have written; ``1,234`` alone fits both.
_COMMA_GROUPS = re.compile(r"-?\d{1,3}(,\d{2,3})*,\d{3}(\.\d*)?")
_DOT_GROUPS = re.compile(r"-?\d{1,3}(\.\d{3})+(,\d*)?")
_EITHER, _EITHER_DOT = (re.compile(rf"-?[1-9]\d{{0,2}}{mark}\d{{3}}") for mark in (",", r"\."))
_DECIMAL_COMMA = re.compile(r"-?(\d+|\d{1,3}(\.\d{3})+),\d*")
_POINT = re.compile(r"-?\d+\.\d*")


def _tidy(cell: str) -> str:
    """A number without currency signs, blanks and apostrophes, with a plain minus."""
    return re.sub(_SIGNS, "", cell).replace("−", "-").removeprefix("+")


def decimal_mark(cells: pd.DataFrame, *, comma_parted: bool = True) -> str | None:
    """The decimal mark of a table's numbers, or None where its cells contradict each other or decide nothing.

    ``12,5`` and ``1.234,56`` can only have decimal commas, ``1,234,567``, ``1,234.5`` and, beside commas, ``1.5``
    only points; ``1,234`` may be either and follows the others. Without any comma the mark is the point,
    unless ``1.234.567`` says otherwise, or, in a table that is not `comma_parted`, all points stand as in ``1.234`` and
    no number of four digits shows that thousands are not parted.
    """
    point = comma = doubt = False
    texts = pd.unique(cells.to_numpy().ravel())
    numbers = np.asarray(pd.to_numeric(texts, errors="coerce"), dtype=np.float64)
    if (~np.isnan(numbers) | (texts == "")).all():
        dotted = [one for one in map(_tidy, texts) if "." in one]
        whole = any(re.fullmatch(r"-?\d{4,}", one) for one in texts)
        grouped = bool(dotted) and all(map(_EITHER_DOT.fullmatch, dotted))
        return None if grouped and not (comma_parted or whole) else "."
    for name in cells:
        for cell in map(_tidy, cells[name].unique()):
            text = match[1] if (match := _SCALE.match(cell)) else cell
            if _EITHER.fullmatch(text):
                doubt = True
            elif _DOT_GROUPS.fullmatch(text) and text.count(".") > 1:
                comma = True
            elif _COMMA_GROUPS.fullmatch(text) or (
                _POINT.fullmatch(text) and not _DOT_GROUPS.fullmatch(text)
            ):
                point = True
            elif _DECIMAL_COMMA.fullmatch(text):
                comma = True
    if point == comma:
        return None if point or doubt else "."
    return "," if comma else "."


def parse_numbers(cells: pd.Series, decimal: str | None) -> tuple[NDArray[np.float64], Faults]:
    """A column of texts as float64, (n,), NaN where there is none.

    With `decimal` None, cells whose mark may mean either are faults.
    """
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, copy=True)
    if decimal != ".":
        values[cells.str.contains(".", regex=False).to_numpy()] = np.nan
    faults: Faults = []
    for at in map(int, np.flatnonzero(np.isnan(values))):
        text = _tidy(cells.iloc[at])
        if text.lower() in MISSING:
            continue
        try:
            values[at] = _number(text, decimal)
        except ValueError as error:
            reason = str(error) if decimal is None else "which is not a number"
            faults.append((at, f"{cells.name} is {cells.iloc[at]!r}, {reason}"))
    return values, faults


def _number(text: str, decimal: str | None) -> float:
    scale = 1.0
    if match := _SCALE.match(text):
        text, scale = match[1], _SCALES[match[2].lower().rstrip(".")]
    if decimal is None and ("," in text or _EITHER_DOT.fullmatch(text)):
        mark = "comma" if "," in text else "point"
        raise ValueError(f"whose {mark} may part thousands or decimals; say which with --decimal")
    if decimal == ",":
        if "." in text and not _DOT_GROUPS.fullmatch(text):
            raise ValueError
        text = text.replace(".", "").replace(",", ".")
    elif "," in text:
        if not _COMMA_GROUPS.fullmatch(text):
            raise ValueError
        text = text.replace(",", "")
    return float(text) * scale


class Moments(NamedTuple):
    """When the rows of a table are, (n,) each."""

    local: NDArray[np.datetime64]  # as it is written, datetime64[s]; NaT where nothing is
    offset: NDArray[np.float64]  # minutes ahead of UTC of that clock; NaN where nobody says


def _month(word: str) -> int | None:
    """The month that a word, or three letters of it or more, names in one of eight languages."""
    found = {
        int(number)
        for number, names in WORDS["months"].items()
        for name in names.split()
        if name == word or (len(word) > 2 and plain_letters(name).startswith(word))
    }
    return found.pop() if len(found) == 1 else None


_TIME = r"(?:[T ]\s*(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\.\d+)?\s*([AaPp]\.?[Mm]\.?)?)?"
_ZONE = r"\s*(Z|UTC|GMT|(?:GMT|UTC)?[+-]\d{2}(?::?\d{2})?)?"
_ISO = re.compile(r"(\d{4})([-/. ]?)(\d{1,2})\2(\d{1,2})\.?" + _TIME + _ZONE)
_NUMERIC = re.compile(r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4}|\d{2})\.?" + _TIME + _ZONE)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})[ T]?(\d{2})(\d{2})(\d{2})?")
_EPOCHS = ((1e8, 1e10, 1), (1e11, 1e13, 10**3), (1e14, 1e16, 10**6), (1e17, 1e19, 10**9))
_SERIAL_ZERO = np.datetime64("1899-12-30", "s")


def plain_letters(text: str) -> str:
    """Small letters without accents: ``März`` is ``marz``, ``Eröffnung`` is ``eroffnung``."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def parse_dates(cells: pd.Series, order: str | None = None) -> tuple[Moments, Faults]:
    """A column of texts as moments.

    ISO dates, compact ones, numbers between dots, slashes or blanks, names of months in eight languages, epochs in
    s, ms, µs and ns, and Excel's serial days; each with or without a time of day. An offset other than 0 says
    what the exchange's clock shows, so that the time as written counts.

    `order` says what comes first in ``01/02/2024``. By itself a column is read in the one order in which all its
    dates exist; else in the one without a weekend, if the others have some.
    """
    codes, distinct = pd.factorize(cells.str.strip())
    plain = [re.sub(r"年|月", "-", text).replace("日", "") for text in map(str, distinct)]
    texts = [re.sub(r"(?<=\d[-/.])\s+(?=\d)", "", text) for text in plain]
    values = np.full(len(texts), "NaT", dtype="datetime64[s]")
    zones = np.full(len(texts), np.nan)
    why: dict[int, str] = {}
    numeric: dict[int, re.Match[str]] = {}
    for at, text in enumerate(texts):
        if text.lower() in MISSING:
            why[at] = "is missing"
        elif (found := _epoch(text)) is not None:
            values[at], zones[at] = found
        elif match := _COMPACT.fullmatch(text):
            values[at] = _moment(*match.groups()[:3], *match.groups()[3:])
        elif (match := _ISO.fullmatch(text)) and (match[2] or len(match[3] + match[4]) == 4):
            year, _, month, day, *rest = match.groups()
            values[at], zones[at] = _moment(year, month, day, *rest[:4]), _offset(rest[4])
        elif match := _NUMERIC.fullmatch(text):
            numeric[at] = match
        else:
            values[at] = _named(text)
    if numeric:
        rows = np.fromiter(numeric, dtype=np.int64)
        read, reason = _in_order(list(numeric.values()), order)
        values[rows] = read
        zones[rows] = [_offset(match[8]) for match in numeric.values()]
        why |= dict.fromkeys(numeric, reason) if reason else {}
    lost = np.flatnonzero(np.isnat(values))
    faults = [
        (int(at), f"the date {cells.iloc[at]!r} {why.get(int(codes[at]), 'is not a date')}")
        for at in np.flatnonzero(np.isin(codes, lost))
    ]
    return Moments(values[codes], zones[codes]), sorted(faults)


def _offset(zone: str | None) -> float:
    """Minutes ahead of UTC, NaN for none."""
    if zone is None:
        return np.nan
    digits = zone.replace(":", "").lstrip("UTCGMZ+-")
    if not digits:
        return 0.0
    return (int(digits[:2]) * 60 + int(digits[2:] or 0)) * (-1.0 if "-" in zone else 1.0)


def _epoch(text: str) -> tuple[np.datetime64, float] | None:
    """Seconds to nanoseconds since 1970, in UTC, or an Excel day, by size; None if it is neither."""
    if not re.fullmatch(r"\d+(\.\d*)?", text) or _looks_like_a_date(text):
        return None
    value = float(text)
    for low, high, unit in _EPOCHS:
        if low <= value < high:
            return np.datetime64(int(text.partition(".")[0]) // unit, "s"), 0.0
    if 1e4 <= value < 8e4:
        return _SERIAL_ZERO + np.timedelta64(round(value * 86400), "s"), np.nan
    return None


def _looks_like_a_date(digits: str) -> bool:
    return len(digits) in (8, 12, 14) and not np.isnat(
        _moment(digits[:4], digits[4:6], digits[6:8], digits[8:10], digits[10:12])
    )


def _moment(
    year: Any,
    month: Any,
    day: Any,
    hour: Any = "",
    minute: Any = "",
    second: Any = "",
    half: Any = "",
) -> np.datetime64:
    """A moment of texts, NaT if there is none such; a year of two digits lies between 1970 and 2069."""
    number = int(year)
    if len(str(year)) == 2:
        number += 1900 if number >= 70 else 2000
    hours = int(hour or 0)
    if half:
        hours = hours % 12 + 12 * (half[0] in "pP")
    try:
        if not 1600 <= number <= 2200:
            raise ValueError
        stamp = pd.Timestamp(
            number, int(month), int(day), hours, int(minute or 0), int(second or 0)
        )
    except ValueError:
        return np.datetime64("NaT", "s")
    return np.datetime64(stamp, "s")


def _named(text: str) -> np.datetime64:
    """``Tue, Jan 16, 2024`` and its like: one name of a month, a day and a year."""
    nothing = np.datetime64("NaT", "s")
    clock = re.search(_TIME.removesuffix("?") + _ZONE + "$", text)
    words = re.findall(r"[^\W\d_]+|\d+", plain_letters(text[: clock.start()] if clock else text))
    months = [month for word in words if not word.isdigit() and (month := _month(word))]
    numbers = [word for word in words if word.isdigit()]
    if len(months) != 1 or len(numbers) != 2:
        return nothing
    years = [word for word in numbers if len(word) == 4] or numbers[1:]
    days = [word for word in numbers if word is not years[0]]
    return _moment(years[0], months[0], days[0], *(clock.groups()[:4] if clock else ()))


def _in_order(matches: list[re.Match[str]], order: str | None) -> tuple[Any, str]:
    """Moments of dates that are written in numbers, all in one order; or the reason why not."""
    nothing = np.full(len(matches), "NaT", dtype="datetime64[s]")
    if order is not None:
        return _read(matches, order), ""
    read = {name: _read(matches, name) for name in ORDERS}
    fits = {one.tobytes(): one for one in read.values() if not np.isnat(one).any()}
    found = list(fits.values())
    if len(found) > 1 and not np.isnat(read["ymd"]).any():  # years, or days of one month
        found = [one for one in found if _usual_gap(one) <= _LONGEST_GAP]
    if len(found) > 1:  # one order has bars on weekends, the other has none
        busy = [one for one in found if np.is_busday(one.astype("datetime64[D]")).all()]
        found = busy if len(busy) == 1 and 0 < _usual_gap(busy[0]) < 9 else found
    if len(found) == 1:
        return found[0], ""
    if fits:
        return (
            nothing,
            "may have the day or the month first; say it with --date-order, or write YYYY-MM-DD",
        )
    decided = {
        "dmy" if int(m[1]) > 12 else "mdy" for m in matches if max(int(m[1]), int(m[2])) > 12
    }
    if len(decided) == 1:  # some are no dates at all, the others agree
        return _read(matches, decided.pop()), ""
    return nothing, "stands among dates of another order; say which with --date-order"


_LONGEST_GAP = 40  # days between bars; nobody keeps bars that are farther apart


def _usual_gap(moments: NDArray[np.datetime64]) -> float:
    days = np.unique(moments.astype("datetime64[D]"))
    return float(np.median(np.diff(days).astype(np.int64))) if len(days) > 1 else 0.0


def _read(matches: list[re.Match[str]], order: str) -> NDArray[np.datetime64]:
    rows: list[Any] = []
    for match in matches:
        part = dict(zip(order, match.groups()[:3], strict=True))
        if (
            len(part["y"]) < 2 or len(part["d"]) > 2
        ):  # as ymd: two digits of the year, not four of a day
            rows.append(np.datetime64("NaT", "s"))
        else:
            rows.append(_moment(part["y"], part["m"], part["d"], *match.groups()[3:7]))
    return np.array(rows, dtype="datetime64[s]")


def sessions_of(moments: Moments, timezone: str) -> NDArray[np.datetime64]:
    """The exchange's clock at every moment, (n,) datetime64[s].

    UTC stamps are shown on the clock of `timezone`. Without one they stand as they are, if their weekdays say so.

    Raises
    ------
    BarsError
        If it cannot be told to which session UTC stamps belong.
    """
    local, known = moments.local.copy(), ~np.isnat(moments.local)
    utc = (moments.offset == 0) & known
    if timezone:
        clock = pd.DatetimeIndex(local[utc], tz="UTC").tz_convert(timezone).tz_localize(None)
        local[utc] = clock.to_numpy().astype("datetime64[s]")
        return local
    stamps = local[utc] if utc.any() else local[known & np.isnan(moments.offset)]
    days = np.unique(stamps.astype("datetime64[D]"))
    hours = (stamps - stamps.astype("datetime64[D]")).astype(np.int64) / 3600
    # midnights elsewhere, whether or not somebody wrote that they are UTC
    evenings = len(hours) > 0 and (utc.any() or (hours.min() == hours.max() >= 12))
    rest, shifted = ~np.is_busday(days), ~np.is_busday(days + 1)
    # bars of shares on Sunday that a day later would be bars of Monday are the next day's, begun in the evening
    betrayed = rest.any() and not shifted.any()
    unsure = utc.any() and not rest.any() and not shifted.any() and np.median(hours) >= 12
    if evenings and (betrayed or unsure):
        raise BarsError(
            f"the times are UTC, such as {stamps[0]}, and may belong to the next session. "
            + ("Name" if utc.any() else "Write their offset, +00:00, and name")
            + " the exchange's time zone with --timezone, such as Europe/Berlin."
        )
    return local
