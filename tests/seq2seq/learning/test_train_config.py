"""A training configuration says what is wrong with a bad value."""

from typing import Any

import pytest

from quantseq.errors import ConfigError
from quantseq.seq2seq.learning.train_config import TrainConfig


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"steps": 1.5},
        {"steps": True},
        {"validate_every": 2.0},
        {"patience": 1.5},
        {"optimiser": "sgd"},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"weight_decay": -1.0},
        {"clip_norm": 0.0},
        {"schedule": "cosine"},
        {"plateau_factor": 1.0},
        {"plateau_patience": 0},
        {"label_smoothing": 1.0},
        {"ordinal_width": -0.1},
        {"scheduled_sampling": "always"},
        {"teacher_floor": 2.0},
        {"validate_every": 0},
        {"patience": 0},
        {"checkpoint_every": 0},
    ],
    ids=str,
)
def test_bad_values_are_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        TrainConfig(**{"steps": 10, **changes})
