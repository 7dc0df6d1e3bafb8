"""How a machine is to be trained: `TrainConfig`, validated once, then trusted.

Owns the names and rules of every choice about training. Does not train.
"""

import math
from dataclasses import dataclass

from quantseq.errors import ConfigError
from quantseq.seq2seq.learning.optimiser import OPTIMISERS, Optimiser
from quantseq.seq2seq.learning.schedules import RATE_SCHEDULES, SAMPLINGS, RateSchedule, Sampling


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train.

    Parameters
    ----------
    steps : int
        Batches.
    optimiser : 'adam' | 'adamw'
        Kind of Adam.
    learning_rate, weight_decay : float
        Peak rate, and decay of everything but biases.
    clip_norm : float or None
        Longest gradient.
    schedule : 'constant' | 'one_cycle' | 'plateau'
        Learning rate over time; 'plateau' multiplies it by `plateau_factor` after
        `plateau_patience` validations without improvement.
    masked_loss : bool
        Whether padding is left out of the loss.
    label_smoothing, ordinal_width : float
        Soft targets; see `loss.soft_targets`.
    scheduled_sampling : str
        Decay of teacher forcing: 'none', 'linear', 'exponential', 'inverse_sigmoid'; 'free' feeds
        the decoder its own tokens from the start.
    teacher_floor : float
        Least share of teacher forcing under a decay.
    validate_every : int
        Steps between validations, if there is validation data. The first is before training.
    patience : int or None
        Validations without improvement before training stops; None never stops.
    checkpoint_every : int
        Steps between saved states, if there is a checkpoint folder.

    Raises
    ------
    ConfigError
        If a value is outside its rule.
    """

    steps: int
    optimiser: Optimiser = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    schedule: RateSchedule = "constant"
    plateau_factor: float = 0.5
    plateau_patience: int = 2
    masked_loss: bool = True
    label_smoothing: float = 0.0
    ordinal_width: float = 0.0
    scheduled_sampling: Sampling = "none"
    teacher_floor: float = 0.0
    validate_every: int = 100
    patience: int | None = None
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        rules: list[tuple[str, bool, str]] = [
            ("steps", _count(self.steps), "an int of at least 1"),
            ("optimiser", self.optimiser in OPTIMISERS, f"one of {OPTIMISERS}"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "a positive number"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "a number of at least 0"),
            ("clip_norm", self.clip_norm is None or self.clip_norm > 0, "None or positive"),
            ("schedule", self.schedule in RATE_SCHEDULES, f"one of {RATE_SCHEDULES}"),
            ("plateau_factor", 0 < self.plateau_factor < 1, "a number between 0 and 1"),
            ("plateau_patience", _count(self.plateau_patience), "an int of at least 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "a number in [0, 1)"),
            ("ordinal_width", 0 <= self.ordinal_width < math.inf, "a number of at least 0"),
            ("scheduled_sampling", self.scheduled_sampling in SAMPLINGS, f"one of {SAMPLINGS}"),
            ("teacher_floor", 0 <= self.teacher_floor <= 1, "a number in [0, 1]"),
            ("validate_every", _count(self.validate_every), "an int of at least 1"),
            (
                "patience",
                self.patience is None or _count(self.patience),
                "None or an int of at least 1",
            ),
            ("checkpoint_every", _count(self.checkpoint_every), "an int of at least 1"),
        ]
        for name, kept, rule in rules:
            if not kept:
                raise ConfigError(
                    f"The {name!r} parameter of TrainConfig must be {rule}. "
                    f"Got {getattr(self, name)!r}."
                )


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
