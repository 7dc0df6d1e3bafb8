"""Rivals are found by name, and a wrong name is answered with the right one."""

import pytest

from quantseq.errors import ConfigError
from quantseq.forecasting.baselines.registry import RIVALS, TrainingBlock, choose_rivals
from tests.prices import simulate_panel

NAMES = [
    "hist-vol",
    "bootstrap",
    "ewma-t",
    "garch-t",
    "gjr-garch-skewt",
    "har-range-t",
    "har-pooled-t",
    "ar1",
    "unigram",
    "markov",
    "boosting",
]


def test_the_names_are_those_of_the_tables() -> None:
    assert list(RIVALS) == NAMES


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("all", tuple(NAMES)),
        ("none", ("har-pooled-t",)),
        ("markov, ar1", ("har-pooled-t", "ar1", "markov")),
        (["ewma-t", "ewma-t"], ("ewma-t", "har-pooled-t")),
        ("har-pooled-t", ("har-pooled-t",)),
    ],
)
def test_rivals_are_chosen_by_name_in_the_order_of_the_tables(asked: object, found: object) -> None:
    assert choose_rivals(asked) == found  # type: ignore[arg-type]


def test_a_near_name_is_offered() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'garch-t'"):
        choose_rivals("garch")
    with pytest.raises(ConfigError, match="Known: hist-vol"):
        choose_rivals("xyz,all")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("", "No rival is named. Give all, none, or some of: hist-vol"),
        (" , ", "No rival is named"),
        ([], "No rival is named"),
        ("none,garch-t", "'none' stands alone. Got none, garch-t"),
        ("garch-t,all", "'all' stands alone"),
    ],
)
def test_an_empty_or_contradictory_choice_is_refused(asked: str | list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        choose_rivals(asked)


def test_the_reference_of_a_block_is_fitted_once() -> None:
    block = TrainingBlock(simulate_panel("AB", 400), 2)
    assert RIVALS["har-pooled-t"](block) is block.reference
