"""The numbers behind a drawing as a table, unthinned and unrounded.

Owns how a drawing carries them along. Does not know what is drawn, nor how it looks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from quantseq.market.bars import Dates, Floats
from quantseq.reporting.drawing.ink import Drawing, Ink


@dataclass(frozen=True, eq=False)
class Plotted:
    """A drawing that can say which numbers it shows.

    Parameters
    ----------
    draw : callable
        The drawing.
    numbers : callable
        Makes the table when it is asked for.
    """

    draw: Drawing
    numbers: Callable[[], pd.DataFrame]

    def __call__(self, figure: Figure, ink: Ink) -> None:
        """Draw."""
        self.draw(figure, ink)


def columns(table: Mapping[str, Any], index: Sequence[str] | None = None) -> pd.DataFrame:
    """Columns of equal length; a single number is repeated. None leaves a column out."""
    known = {name: column for name, column in table.items() if column is not None}
    return pd.DataFrame(known, index=None if index is None else pd.Index(index))


def by_date(names: Sequence[str], series: Sequence[tuple[Dates, Floats]]) -> pd.DataFrame:
    """Series side by side over all their dates; NaN where one has none."""
    found = [pd.Series(values, dates.astype("datetime64[s]")) for dates, values in series]
    return pd.concat(found, axis=1, keys=names).rename_axis("date")
