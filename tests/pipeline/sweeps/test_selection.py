"""What is chosen: among points that pay the same, by the account, in words that name the odds."""

import math
from dataclasses import replace

import numpy as np
import pytest

from quantseq.config import PolicyConfig, RunConfig
from quantseq.pipeline.sweeps.selection import Point, _best, _level, _sentence, by_sharpe
from quantseq.trading.broker.costs import Costs
from quantseq.trading.chance.overfitting import overfitting, spa
from quantseq.trading.luck import verdict
from quantseq.trading.trials import Scored

DAYS = np.arange("2020-01-01", "2020-10-27", dtype="datetime64[D]")
HELD = np.random.default_rng(0).normal(0.0005, 0.01, len(DAYS))


def point(seed: int, drift: float = 0.0, *, bps: float = 5.0, fast: bool = False) -> Point:
    net = np.random.default_rng(seed).normal(drift, 0.01, len(DAYS))
    config = RunConfig(policy=PolicyConfig("kelly", {"fraction": (seed + 1) / 100}))
    config = replace(config, costs=Costs(cost_bps=bps))
    return Point(config, Scored(DAYS, net, np.ones(len(DAYS))), fast, f"{seed}.parquet")


def still() -> Point:
    return replace(point(0), scored=Scored(DAYS, np.zeros(len(DAYS)), np.zeros(len(DAYS))))


def test_points_that_never_moved_come_last() -> None:
    points = sorted([still(), point(1, -0.01), point(2, 0.01)], key=by_sharpe, reverse=True)
    assert [math.isfinite(one.sharpe) for one in points] == [True, True, False]
    assert points[0].sharpe > 0 > points[1].sharpe


def test_what_the_account_has_not_scored_is_not_chosen() -> None:
    fast, exact = point(1, 0.01, fast=True), point(2)
    assert _best([fast, exact]) is exact
    assert _best([fast]) is fast


def test_a_level_tests_its_own_points() -> None:
    points = sorted([point(seed) for seed in range(6)], key=by_sharpe, reverse=True)
    found = _level(5.0, points, HELD, 3, 252)
    matrix = np.column_stack([one.scored.net for one in points])
    assert found["pbo"] == overfitting(matrix).pbo
    assert found["spa_p"] == spa(matrix, HELD, seed=3)
    assert found["best"] == "kelly fraction=" + found["best"].split("=")[1]
    assert found["sharpe"] == max(one.sharpe for one in points)
    alone = _level(5.0, points[:1], HELD, 3, 252)
    assert math.isnan(alone["pbo"])


@pytest.mark.parametrize(
    ("pbo", "p", "words"),
    [
        (0.5, 0.2, ["is a coin toss or worse", "in 50% of 70 halves (PBO)", "does not beat"]),
        (0.1, 0.01, ["is better than a coin toss", "beats buy-and-hold", "(SPA p = 0.010)"]),
        (math.nan, math.nan, ["Sharpe "]),
    ],
)
def test_the_sentence_names_the_odds(pbo: float, p: float, words: list[str]) -> None:
    one = point(4)
    judged = verdict(one.scored.net, HELD, seed=0, resamples=50)
    found = _sentence(one, judged, {"points": 3, "pbo": pbo, "spa_p": p, "halves": 70}, 12)
    assert found.startswith("Best of 3 points at 5 bps (12 in all): kelly fraction=0.05, horizon 5")
    for word in words:
        assert word in found
    assert "nan" not in found
