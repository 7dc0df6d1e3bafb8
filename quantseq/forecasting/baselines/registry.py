"""Every rival by the name that tables call it, and how it is fitted on a training block."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

from quantseq.errors import ConfigError
from quantseq.forecasting.baselines.autoregression import Autoregression
from quantseq.forecasting.baselines.boosting import Boosting
from quantseq.forecasting.baselines.bootstrap import Bootstrap
from quantseq.forecasting.baselines.garch import Garch, GjrGarch
from quantseq.forecasting.baselines.har import HarRangeStudent
from quantseq.forecasting.baselines.student import (
    EwmaStudent,
    HistoricalVolatility,
    ReferenceForecaster,
)
from quantseq.forecasting.baselines.tokens import Markov, Unigram
from quantseq.forecasting.forecasts import Forecaster
from quantseq.forecasting.reference import Reference
from quantseq.market.bars import Panel


@dataclass(frozen=True)
class TrainingBlock:
    """What a rival may see, and what several of them share.

    Parameters
    ----------
    panel : Panel
        The training block and nothing after it.
    horizon : int
        Steps ahead.
    jobs : int
        Processes for fits that are parallel over symbols; the numbers are the same for every choice.
    """

    panel: Panel
    horizon: int
    jobs: int = 1

    @cached_property
    def reference(self) -> ReferenceForecaster:
        """The pooled-HAR reference of this block, fitted once."""
        found = Reference.fit(self.panel, horizon=self.horizon)
        return ReferenceForecaster(self.panel.sessions[-1], found.overnight_share, found)


RIVALS: Mapping[str, Callable[[TrainingBlock], Forecaster]] = {
    HistoricalVolatility.name: lambda b: HistoricalVolatility(
        b.panel.sessions[-1], b.reference.overnight_share
    ),
    Bootstrap.name: lambda b: Bootstrap(b.panel.sessions[-1], b.reference.overnight_share),
    EwmaStudent.name: lambda b: EwmaStudent.fit(b.panel, b.reference.overnight_share),
    Garch.name: lambda b: Garch.fit(
        b.panel, b.reference.overnight_share, horizon=b.horizon, jobs=b.jobs
    ),
    GjrGarch.name: lambda b: GjrGarch.fit(
        b.panel, b.reference.overnight_share, horizon=b.horizon, jobs=b.jobs
    ),
    HarRangeStudent.name: lambda b: HarRangeStudent.fit(
        b.panel, b.reference.overnight_share, horizon=b.horizon
    ),
    ReferenceForecaster.name: lambda b: b.reference,
    Autoregression.name: lambda b: Autoregression.fit(b.panel, b.reference.overnight_share),
    Unigram.name: lambda b: Unigram.fit(b.panel, b.reference, horizon=b.horizon),
    Markov.name: lambda b: Markov.fit(b.panel, b.reference),
    Boosting.name: lambda b: Boosting.fit(
        b.panel, b.reference.overnight_share, horizon=b.horizon, jobs=b.jobs
    ),
}
"""From the simplest to the heaviest idea; tables keep this order."""


def choose_rivals(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names of rivals: ``all``, ``none``, or some, comma-separated or as a sequence.

    Our own reference is always among them: skill is measured against it.

    Raises
    ------
    ConfigError
        If a name is unknown, with the nearest known one, if there is none, or if ``all`` or ``none``
        has names beside it.
    """
    given = names.split(",") if isinstance(names, str) else list(names)
    asked = {name.strip(): None for name in given if name.strip()}
    if not asked:
        raise ConfigError(f"No rival is named. Give all, none, or some of: {', '.join(RIVALS)}.")
    for name in asked:
        if name not in (*RIVALS, "all", "none"):
            near = get_close_matches(name, RIVALS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(RIVALS)}."
            raise ConfigError(f"Unknown rival {name!r}. {hint} 'all' and 'none' are names too.")
    for word, meant in (("all", tuple(RIVALS)), ("none", ())):
        if word in asked:
            if len(asked) > 1:
                raise ConfigError(
                    f"{word!r} stands alone. Got {', '.join(asked)}: leave {word!r} or the others out."
                )
            asked = dict.fromkeys(meant)
    return tuple(name for name in RIVALS if name in asked or name == ReferenceForecaster.name)
