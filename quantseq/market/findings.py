"""What a health check says: one finding per rule that is broken, with dates and a severity.

Owns the shape of a finding and where a deviation turns from a warning into an error. Knows no rule. An
**error** is something that no market did, or that moves a return by more than 1 %; a **warning** is rare
but may be real (AAPL did fall by 52 % on 2000-09-29), and nobody may drop a bar because of it.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

SHOWN = 5
"""How many sessions a finding names."""

MATERIAL = 0.01
"""A fault that moves a return by more than this is an error, otherwise a warning."""

Severity = Literal["error", "warning"]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Finding:
    """One rule that one symbol's bars break.

    Parameters
    ----------
    rule : str
        Name of the rule; ``docs/data_health.md`` defines each.
    severity : str
        ``error`` or ``warning``.
    count : int
        How many sessions are concerned; 0 if the rule could not be checked.
    sessions : tuple of str
        The first few of them, as dates; of a raw file also the line.
    message : str
        What is wrong, in one line.
    """

    rule: str
    severity: Severity
    count: int
    sessions: tuple[str, ...]
    message: str


def finding(rule: str, error: bool, where: Any, message: str) -> Finding | None:
    """A finding about the sessions `where`, or None if there are none.

    Parameters
    ----------
    rule : str
        Name of the rule.
    error : bool
        Whether it is an error; otherwise a warning.
    where : sequence
        All sessions concerned, in order.
    message : str
        What is wrong.
    """
    if not len(where):
        return None
    shown = tuple(str(one) for one in where[:SHOWN])
    return Finding(rule, "error" if error else "warning", len(where), shown, message)
