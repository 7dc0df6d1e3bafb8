"""What moved a forecast: how much wider or narrower the next day is than an average day, cause by cause.

Owns which number belongs to which cause. Knows nothing of how a scale or a network was fitted.

The log of the reference's scale is linear in the numbers of `inputs`, whose zero is the mean of the training
block, so that the causes of a day multiply to its sigma over that of an average day, exactly.
"""

import re

import numpy as np
import pandas as pd

from quantseq.forecasting.density import TokenDensity
from quantseq.forecasting.forecasts import Forecasts
from quantseq.forecasting.reference import (
    Reference,
    event_stretch,
    measured,
    reference_parameters,
    stretch,
)
from quantseq.market.bars import Panel

CAUSES = {
    "market": "(market|covariate) .*",
    "quarter echoes": r".*(echo|quarter \d|event).*",
    "holidays": ".* holiday",
    "weekday": ".*day|weekend",
    "time of year": "(quarter|year) (co)?sine.*|year's end|(first|last) days",
    "volume and ranges": ".*(volume|range).*",
    "recent days": ".*",
}
"""Causes, and what the names of their numbers look like; a number belongs to the first that it matches."""


def cause_of(name: str) -> str:
    """The cause that a number of `inputs` belongs to."""
    return next(cause for cause, pattern in CAUSES.items() if re.fullmatch(pattern, name))


def explain(forecasts: Forecasts, panel: Panel, reference: Reference) -> pd.DataFrame:
    """What made the sigma of the next day, one line per forecast of a `panel` with this `reference`.

    ``symbol, cutoff, sigma``, that of the symbol's ``average_day``, the ``change`` between them, and one of each
    cause: ``1 + change`` is the product of theirs. On an average day the scale, before any of the numbers, has the
    mean that it had so far (in logs), and all numbers have that of the training block; where ticks are large, a
    price stays as often as today. ``volatility`` is where that scale stands now, ``events`` what is scheduled,
    ``limit`` what `LONGEST_STRETCH` takes back, ``network`` what the network and its calibration do.
    """
    data, lines = reference.inputs(panel), []
    every = reference_parameters(reference, panel)
    for symbol, cutoff, sigma in zip(
        forecasts.symbols, forecasts.cutoffs, forecasts.std[:, 0], strict=True
    ):
        one = data[symbol]
        row = int(np.searchsorted(one.sessions, cutoff))
        found = every[symbol]
        scale = found.scale[: row + 1, 0]
        moved = stretch(one, reference.measure, reference.slopes)[: row + 1, 0]
        numbers, days = measured(one, reference.measure)
        shown = np.concatenate([numbers[row], days[one.place[row], 0]]).astype(np.float64)
        widened = event_stretch(one, reference.event_slopes)[: row + 1, 0]
        terms, own = reference.slopes[0, 1:] * shown, np.log(scale) - moved - widened
        parts = {"volatility": own[-1] - np.nanmean(own)} | dict.fromkeys(reversed(CAUSES), 0.0)
        for name, term in zip(one.names, terms, strict=True):
            parts[cause_of(name)] += term
        parts["events"] = widened[-1]
        parts["limit"] = moved[-1] - reference.slopes[0, 0] - terms.sum()
        plain = TokenDensity.reference(*(part[[row], :1] for part in vars(found).values()))
        parts["network"] = np.log(sigma / plain.std[0, 0])
        total = sum(parts.values())
        line = {"symbol": symbol, "cutoff": cutoff, "sigma": sigma}
        line |= {"average_day": sigma / np.exp(total), "change": np.expm1(total)}
        lines.append(line | {cause: np.expm1(part) for cause, part in parts.items()})
    return pd.DataFrame(lines)
