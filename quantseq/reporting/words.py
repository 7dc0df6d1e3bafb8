"""How a number is printed: one sign, one unit, one dash for what is unknown.

Owns the spelling of numbers, dates and lists. Knows nothing of what they mean.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

DASH = "—"
"""What stands for None, NaN and infinity; never 0."""

SPACE = "\u00a0"
"""Between a number and its unit: a line never breaks there."""

_MINUS = "−"


def known(value: Any) -> float | None:
    """`value` as a finite float, or None if it is nothing of that kind."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def number(value: Any, digits: int = 2, *, sign: bool = False) -> str:
    """A plain number with grouped thousands.

    Examples
    --------
    >>> number(-1234.5), number(0.125, 2, sign=True), number(float("nan"))
    ('−1,234.50', '+0.12', '—')
    """
    finite = known(value)
    if finite is None:
        return DASH
    text = f"{abs(finite):,.{digits}f}"
    if not text.strip("0.,"):
        return text
    return (_MINUS if finite < 0 else "+" if sign else "") + text


def percent(value: Any, digits: int = 1, *, sign: bool = False) -> str:
    r"""A fraction in percent, with a space that does not break.

    Examples
    --------
    >>> percent(0.1234, sign=True), percent(-0.00001), percent(None)
    ('+12.3\xa0%', '0.0\xa0%', '—')
    """
    finite = known(value)
    return DASH if finite is None else f"{number(100 * finite, digits, sign=sign)}{SPACE}%"


def text(value: Any) -> str:
    """Anything as it stands; what is missing or empty as a dash.

    Examples
    --------
    >>> text("a"), text(None), text("")
    ('a', '—', '—')
    """
    return DASH if value is None or value == "" else str(value)


def count(value: Any) -> str:
    """A whole number with grouped thousands."""
    return number(value, 0)


def bps(value: Any, digits: int = 1) -> str:
    r"""A number that already is in basis points.

    Examples
    --------
    >>> bps(5.0), bps(None)
    ('5.0\xa0bps', '—')
    """
    return DASH if known(value) is None else f"{number(value, digits)}{SPACE}bps"


def p_value(value: Any) -> str:
    """A probability of chance, never printed as 0.

    Examples
    --------
    >>> p_value(0.0312), p_value(1e-9)
    ('0.031', '<0.001')
    """
    finite = known(value)
    return "<0.001" if finite is not None and 0 <= finite < 0.001 else number(value, 3)


def date(value: Any) -> str:
    """An ISO date, or the dash for none."""
    if value is None or pd.isna(value):
        return DASH
    if isinstance(value, str):
        return value[:10]
    return str(pd.Timestamp(value).date())


def plural(amount: int, noun: str) -> str:
    """A counted noun.

    Examples
    --------
    >>> plural(1, "session"), plural(1200, "session")
    ('1 session', '1,200 sessions')
    """
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def listing(items: Sequence[str]) -> str:
    """Names in a row with a final *and*.

    Examples
    --------
    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else list(items))


def tidy(text: str) -> str:
    r"""Foreign text with the spaces before its percent signs made unbreakable.

    Examples
    --------
    >>> tidy("a 95 % interval")
    'a 95\xa0% interval'
    """
    return text.replace(" %", f"{SPACE}%")
