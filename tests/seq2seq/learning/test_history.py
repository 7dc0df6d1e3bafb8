"""A history survives JSON."""

import json

import pytest

from quantseq.errors import ConfigError
from quantseq.seq2seq.learning.history import TrainingHistory


def test_json_round_trip() -> None:
    history = TrainingHistory([0, 1], [2.5, 1.25], [0, 2], [3.0, 2.0], 2, 2.0, True, 200, 1.5)
    assert TrainingHistory.from_dict(json.loads(json.dumps(history.to_dict()))) == history


def test_other_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="colour"):
        TrainingHistory.from_dict({**TrainingHistory().to_dict(), "colour": 1})
