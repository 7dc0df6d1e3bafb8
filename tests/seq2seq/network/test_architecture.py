"""A config survives JSON, and says what is wrong with a bad value."""

import json
from typing import Any

import pytest

from quantseq.errors import ConfigError
from quantseq.seq2seq.network.architecture import Seq2SeqConfig
from tests.seq2seq.conftest import EVERY_CONFIG, config_of, name_of


@pytest.mark.parametrize("config", EVERY_CONFIG, ids=name_of)
def test_json_round_trip(config: Seq2SeqConfig) -> None:
    assert Seq2SeqConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 2},
        {"vocab_size": 7.0},
        {"hidden_size": 0},
        {"layers": True},
        {"decoder_hidden_size": 0},
        {"attention_size": -1},
        {"cell": "lsmt"},
        {"attention": "additive"},
        {"init": "keras"},
        {"dropout": 1.0},
        {"dropout": "0.1"},
        {"bidirectional": "yes"},
        {"through_padding": 1},
        {"source_streams": (0,)},
        {"condition_streams": (2, -2)},
        {"never_emit": (7,)},
        {"never_emit": (0, 2, 3, 4, 5, 6)},
        {"tie_projection": True, "zero_projection": True},
    ],
    ids=str,
)
def test_bad_values_are_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=list(changes)[-1]):
        config_of(**changes)


def test_a_near_miss_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'lstm'"):
        config_of(cell="lsmt")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="colour"):
        Seq2SeqConfig.from_dict({"vocab_size": 9, "colour": "blue"})
    with pytest.raises(ConfigError, match="vocab_size"):
        Seq2SeqConfig.from_dict({"hidden_size": 9})


def test_sizes_follow_from_direction() -> None:
    config = config_of(bidirectional=True)
    assert (config.directions, config.memory_size, config.state_size) == (2, 12, 6)
    assert config_of(decoder_hidden_size=9).state_size == 9
