"""What a fit tells about itself: a report per step, a history at the end.

Owns the record only. Does not know models.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from quantseq.errors import ConfigError


@dataclass(frozen=True)
class StepReport:
    """One training step, after the weights moved.

    Parameters
    ----------
    step, steps : int
        Position of the batch, from 0, and planned number of batches.
    loss : float
        Minibatch loss before the weights moved, in nats per target token.
    learning_rate : float
        Rate of this step.
    examples : int
        Sequences seen so far.
    seconds : float
        Since the fit began, earlier sessions of a resumed fit included.
    validation_loss : float or None
        If the model was validated after this step.
    best_loss : float or None
        Lowest validation loss so far.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    examples: int
    seconds: float
    validation_loss: float | None = None
    best_loss: float | None = None


@dataclass
class TrainingHistory:
    """Record of a fit.

    Parameters
    ----------
    steps, losses : list
        Minibatch losses in nats per target token, and the steps they belong to. Long fits are
        thinned to every k-th step; the last step is always there.
    validation_steps, validation_losses : list
        Validation losses, and the steps after which they were measured.
    best_step : int or None
        Step after which the kept weights were reached; None without validation.
    best_loss : float or None
        Their validation loss.
    stopped_early : bool
        Whether patience ran out before the planned steps.
    examples : int
        Sequences seen.
    seconds : float
        Time spent.
    """

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    validation_steps: list[int] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best_step: int | None = None
    best_loss: float | None = None
    stopped_early: bool = False
    examples: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingHistory":
        """Read what `to_dict` wrote.

        Raises
        ------
        ConfigError
            If names are missing or unknown.
        """
        known = {item.name for item in fields(cls)}
        if set(values) != known:
            raise ConfigError(
                f"A training history holds {sorted(known)}. Got {sorted(values)}; "
                "the file was not written by this version."
            )
        return cls(**values)
