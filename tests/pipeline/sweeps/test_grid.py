"""What a sweep tries: all combinations, each once, each a configuration that can be run alone."""

import tomllib
from dataclasses import replace

import pytest

from quantseq.config import PolicyConfig, RunConfig
from quantseq.errors import ConfigError
from quantseq.evaluation.walkforward import WalkForward
from quantseq.files import fingerprint
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.pipeline.sweeps.grid import COSTS_BPS, KNOBS, Grid, label, to_toml
from quantseq.trading.broker.costs import Costs
from quantseq.trading.policy import POLICIES, make_policy


def test_by_default_every_policy_is_tried_with_its_knobs_at_every_cost() -> None:
    points = Grid().points(RunConfig())
    values = sum(len(next(iter(KNOBS.get(name, {"": (0,)}).values()))) for name in POLICIES)
    assert len(points) == values * len(COSTS_BPS) == 84
    assert {one.policy.name for one in points} == set(POLICIES)
    assert len({label(one) for one in points}) == len(points)
    assert label(points[0]) == "kelly fraction=0.25, 0 bps, horizon 5"


def test_knobs_name_parameters_that_exist_and_values_that_are_allowed() -> None:
    for name, knobs in KNOBS.items():
        for knob, values in knobs.items():
            for value in values:
                assert getattr(make_policy(name, **{knob: value}), knob) == value


def test_what_is_given_takes_the_place_of_what_is_usual() -> None:
    grid = Grid(
        ("probability", "sign"),
        {"probability": {"threshold": (0.6,), "cap": (0.5, 1.0)}},
        (3,),
        (1, 2),
        long_only=False,
    )
    points = grid.points(RunConfig(costs=Costs(half_spread_bps=1)))
    assert [label(one) for one in points] == [
        f"{policy}, 4 bps, horizon {horizon}"
        for horizon in (1, 2)
        for policy in (
            "probability long_only=False threshold=0.6 cap=0.5",
            "probability long_only=False threshold=0.6 cap=1",
            "sign long_only=False",
        )
    ]


def test_all_points_are_tested_on_the_same_sessions() -> None:
    base = RunConfig(forecaster=ForecasterConfig(horizon=3), walk_forward=WalkForward(purge=3))
    points = Grid(("sign",), horizons=(1, 7)).points(base)
    assert {one.walk_forward.purge for one in points} == {7}
    assert {one.forecaster.horizon for one in points} == {1, 7}
    alone = Grid(("kelly",), {"kelly": {"fraction": (0.5,)}}, (5,)).points(base)
    assert alone == (replace(base, policy=PolicyConfig("kelly", {"fraction": 0.5})),)


def test_the_file_of_a_policy_holds_for_that_policy() -> None:
    base = RunConfig(policy=PolicyConfig("rank", {"share": 0.4, "band": 0.2}))
    points = Grid(("rank", "sign"), costs_bps=(5,)).points(base)
    assert [dict(one.policy.parameters) for one in points] == [{"share": 0.4, "band": 0.2}, {}]


def test_a_point_is_a_file_that_reads_back_to_itself() -> None:
    base = RunConfig(
        policy=PolicyConfig("blend", {"parts": ["sign", "rank"], "band": "cost"}),
        walk_forward=WalkForward(test_start="2006-01-03", max_train=900),
    )
    for point in (base, *Grid(costs_bps=(1e-5, 20)).points(base)):
        again = RunConfig.from_mapping(tomllib.loads(to_toml(point)))
        assert fingerprint(again.to_mapping()) == fingerprint(point.to_mapping())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"policies": ()}, "one or more different values of 'policies'"),
        ({"costs_bps": (5, 5.0)}, "different values of 'costs_bps'"),
        ({"knobs": {"kelly": {"fraction": ()}}}, "'kelly.fraction'"),
        ({"policies": ("sign",), "knobs": {"kelly": {"fraction": (1,)}}}, "'kelly' is varied"),
    ],
)
def test_empty_and_repeated_values_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Grid(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"policies": ("kely",)}, "did you mean 'kelly'"),
        ({"knobs": {"kelly": {"fracton": (0.5,)}}}, "did you mean 'fraction'"),
        ({"knobs": {"probability": {"threshold": (0.2,)}}}, "'threshold' parameter of Probability"),
        ({"costs_bps": (-1,)}, "'cost_bps' parameter of Costs"),
        ({"horizons": (0,)}, "horizon"),
    ],
)
def test_a_point_that_breaks_a_rule_is_named_before_anything_runs(
    options: dict, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Grid(**options).points(RunConfig())
