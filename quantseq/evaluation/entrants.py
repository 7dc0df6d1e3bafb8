"""Who takes part beside the network: the rivals by name, and the truth of simulated prices.

Owns how they are fitted inside a fold. It stands apart from the network's own entrant because a process
that fits rivals then never loads torch.
"""

from dataclasses import dataclass

from quantseq.evaluation.contest import Entrant
from quantseq.evaluation.nulls import TRUTH, Truth
from quantseq.evaluation.walkforward import Fold
from quantseq.forecasting.baselines import ReferenceForecaster
from quantseq.forecasting.baselines.registry import RIVALS, TrainingBlock
from quantseq.forecasting.forecasts import Forecaster
from quantseq.market.bars import Panel


def rival(name: str, horizon: int) -> Entrant:
    """A rival of the registry as an entrant; only our own reference must be there."""
    return Entrant(name, _FitRival(name, horizon), optional=name != ReferenceForecaster.name)


def truth(kind: str, known: Truth) -> Entrant:
    """The density that simulated prices were drawn from as an entrant."""
    return Entrant(TRUTH, _HandOut(known), {"kind": kind})


@dataclass(frozen=True)
class _FitRival:
    """Fits one rival on the training block of a fold: a `Fit`."""

    name: str
    horizon: int

    def __call__(self, panel: Panel, fold: Fold, seed: int, jobs: int) -> Forecaster:
        """See `Fit`."""
        return RIVALS[self.name](TrainingBlock(panel.until(fold.train_end), self.horizon, jobs))


@dataclass(frozen=True)
class _HandOut:
    """Gives what is known already: a `Fit` that fits nothing."""

    model: Forecaster

    def __call__(self, panel: Panel, fold: Fold, seed: int, jobs: int) -> Forecaster:
        """See `Fit`."""
        return self.model
