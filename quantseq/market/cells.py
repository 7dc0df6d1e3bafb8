"""What people write into a cell: numbers and dates in many notations, or a reason why it is neither.

Owns notations. Knows nothing of files: whoever calls says what a refusal does, raise or be noted. A cell
that was refused counts as missing.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.market.bars import Dates
from quantseq.market.intervals import DATE_DTYPE

Refuse = Callable[[Any, str], None]
"""Gets the label of the row and the reason."""

_MISSING = ("", "nan", "null", "none", "n/a", "na", "-", "#n/a")
_THOUSANDS = r"^-?\d{1,3}(?:,\d{3})+(?:\.\d*)?$"
_EITHER = r"^-?\d{1,3},\d{3}$"
_DECIMAL_COMMA = r"^-?(?:\d+|\d{1,3}(?:\.\d{3})+),\d*$"
_POINT = r"^-?\d+\.\d*$"
_DOTS = r"^-?\d{1,3}(?:\.\d{3})+$"
_ISO = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?:[T ].*)?$")
_NUMERIC = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})(?:[T ].*)?$")
_NAMED = re.compile(r"(?=.*\d{4})(?=.*[A-Za-z]{3})[\w ,.-]+$")


def with_decimal_points(cells: pd.DataFrame, refuse: Refuse) -> pd.DataFrame:
    """Write decimal commas as points, if the cells as a whole leave no doubt that they are.

    ``12,5`` or ``1.234,56`` can only be decimals, ``1,234,567`` or ``1,234.5`` only thousands; ``1,234``
    may be either and follows the others. Cells that hold both kinds, or no cell that decides, are
    refused.

    Parameters
    ----------
    cells : DataFrame of str
        Every cell of a file whose columns are not parted by commas.
    refuse : callable
        Gets the row and the reason.
    """
    text = cells.fillna("").apply(lambda column: column.str.strip().str.removeprefix("$"))

    def like(pattern: str) -> pd.DataFrame:
        matches: pd.DataFrame = text.apply(lambda column: column.str.contains(pattern))
        return matches

    either = like(_EITHER)
    thousands = (like(_THOUSANDS) | like(_POINT)) & ~either & ~like(_DOTS)
    decimal = like(_DECIMAL_COMMA) & ~either
    if not (either | decimal).to_numpy().any():
        return cells
    if not decimal.to_numpy().any() and thousands.to_numpy().any():
        return cells
    if decimal.to_numpy().any() and not thousands.to_numpy().any():
        written = text.apply(lambda c: c.str.replace(".", "").str.replace(",", "."))
        return cells.where(~(decimal | either | like(_DOTS)), written)
    doubtful = either if not decimal.to_numpy().any() else thousands
    row = cells.index[int(np.argmax(doubtful.any(axis=1).to_numpy()))]
    refuse(row, "a comma in a number may mean thousands or decimals")
    return cells


def numbers(column: pd.Series, refuse: Refuse) -> NDArray[np.float64]:
    """A column of numbers as float64, NaN where there is none, shape (n,)."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    values = np.array(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    odd = np.flatnonzero(np.isnan(values))
    if odd.size:
        text = column.iloc[odd].fillna("").astype(str).str.strip().str.removeprefix("$")
        grouped = text.str.match(_THOUSANDS)
        text = text.where(~grouped, text.str.replace(",", ""))
        values[odd] = pd.to_numeric(text, errors="coerce")
        lost = np.isnan(values[odd]) & ~text.str.lower().isin(_MISSING).to_numpy()
        for at in map(int, odd[lost]):
            reason = f"{column.name} is {column.iloc[at]!r}, which is not a number"
            refuse(column.index[at], reason)
    return values


def dates(column: pd.Series, refuse: Refuse) -> Dates:
    """A column of dates as they are written, without time and zone, NaT where there is none."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_localize(None)
    if pd.api.types.is_datetime64_any_dtype(column):
        found: Dates = column.to_numpy().astype(DATE_DTYPE)
        return found
    codes, distinct = pd.factorize(column.fillna("").astype(str).str.strip())
    numeric = [match for text in distinct if (match := _NUMERIC.match(text))]
    day_first = any(int(match[1]) > 12 for match in numeric)
    month_first = any(int(match[2]) > 12 for match in numeric)
    parsed = np.full(len(distinct), "NaT", dtype=DATE_DTYPE)
    for number, text in enumerate(distinct):
        try:
            if (match := _ISO.match(text)) and (match[2] or len(match[3] + match[4]) == 4):
                year, month, day = match[1], match[3], match[4]
            elif match := _NUMERIC.match(text):
                if day_first == month_first:
                    raise ValueError("may have the day or the month first; write YYYY-MM-DD")
                year, month, day = match[3], match[2], match[1]
                month, day = (month, day) if day_first else (day, month)
            elif _NAMED.match(text):
                stamp = pd.Timestamp(text)
                year, month, day = str(stamp.year), str(stamp.month), str(stamp.day)
            else:
                raise ValueError("is not a date")
            parsed[number] = np.datetime64(f"{year}-{month:0>2}-{day:0>2}", "D")
        except ValueError as error:
            reason = str(error) if str(error).startswith(("is", "may")) else "is not a date"
            for at in map(int, np.flatnonzero(codes == number)):
                refuse(column.index[at], f"the date {text!r} {reason}")
    return parsed[codes]
