"""What the page's script needs of a chart over time: its dates and daily values, packed as text.

Owns the packing. Does not know what is drawn or what it means, and a page is complete without it:
the script only adds crosshair, zoom and the logarithmic switch to what is already drawn.

The packing: whole numbers, each as its difference from the one before, in groups of five bits with the
sign in the last bit of the first group (the VLQ code of source maps). A gap is ``!``.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import Markup

from quantseq.reporting.drawing.axes import day_numbers
from quantseq.reporting.drawing.curves import Line

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
GAP = "!"
WHOLE_WEEK = "CCCCG"
"""Four steps of one day and one of three."""


@dataclass(frozen=True, eq=False)
class Live:
    """Daily values behind a chart over time.

    Parameters
    ----------
    names : sequence of str
        One per line, for the crosshair.
    lines : sequence of Line
        As drawn, all over the same dates.
    unit : 'percent' or 'number'
        How values are shown.
    digits : int
        Digits after the point.
    log : bool, optional
        Whether the height is logarithmic at first; None where it cannot be.
    marks : sequence of dates
        Thin vertical marks.
    top : float, optional
        Upper end of the axis.
    fine : bool
        Whether values keep a digit more than is shown, because zooming in shows small moves; dashed
        lines never do.
    panels : bool
        Whether each line has axes of its own, as steps.
    """

    names: Sequence[str]
    lines: Sequence[Line]
    unit: Literal["percent", "number"] = "number"
    digits: int = 2
    log: bool | None = None
    marks: Sequence[np.datetime64] = ()
    top: float | None = None
    panels: bool = False
    fine: bool = True

    @property
    def days(self) -> str:
        """The dates, packed; a week without a holiday is ``*``."""
        return packed(day_numbers(self.lines[0].dates)).replace(WHOLE_WEEK, "*")

    @property
    def data(self) -> Markup:
        """Everything but the dates as JSON that may stand in a page."""
        content = {
            "log": self.log,
            "percent": self.unit == "percent",
            "digits": self.digits,
            "marks": day_numbers(np.array(self.marks, dtype="datetime64[D]")).astype(int).tolist(),
            "top": self.top,
            "panels": self.panels,
            "lines": [
                {
                    "name": name,
                    "role": line.role,
                    "dash": line.dashed,
                    "fill": line.filled,
                    "scale": (scale := self._scale(line)),
                    "values": packed(scale * line.values),
                }
                for name, line in zip(self.names, self.lines, strict=True)
            ],
        }
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return Markup(text.replace("<", "\\u003c"))  # noqa: S704  (JSON without any tag)

    def _scale(self, line: Line) -> int:
        """Whole numbers per unit: as many digits as are shown, or one more, within 28 bits."""
        most = float(np.nanmax(np.abs(line.values), initial=0.0))
        fine = self.fine and not line.dashed
        scale = 10 ** (self.digits + 2 * (self.unit == "percent") + fine)
        while scale > 1 and most * scale > 2**28:
            scale //= 10
        return int(scale)


def packed(values: Iterable[float]) -> str:
    """Whole numbers as text; what is not finite becomes a gap.

    Examples
    --------
    >>> packed([0.0, 1.2, 17.0, float("nan"), -4.0])
    'ACgB!rB'
    """
    known = np.asarray(values, dtype=np.float64)
    whole = np.rint(np.where(np.isfinite(known), known, 0.0)).astype(np.int64).tolist()
    parts, before = [], 0
    for finite, value in zip(np.isfinite(known).tolist(), whole, strict=True):
        if not finite:
            parts.append(GAP)
            continue
        step, before = value - before, value
        left = 2 * abs(step) + (step < 0)
        while left > 31:
            parts.append(ALPHABET[32 + (left & 31)])
            left >>= 5
        parts.append(ALPHABET[left])
    return "".join(parts)
