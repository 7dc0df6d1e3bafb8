"""The verdict: every part of its rule, and a sentence for every case."""

import math

import numpy as np
import pytest

from quantseq.trading.chance.deflation import expected_best_sharpe, min_track_record, psr
from quantseq.trading.luck import verdict
from quantseq.trading.measures import METRICS


def noise(seed: int, mean: float = 0.0, n: int = 500) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.01, n)


HOLD = noise(20, n=1500)
HOLD += 0.0003 - HOLD.mean()
STEADY = np.random.default_rng(21).normal(0, 0.003, 1500)


def judge(net, benchmark=HOLD, **options):
    options = {"audit_passed": True, **options}
    return verdict(net, benchmark, seed=0, cost_bps=5, resamples=400, **options)


def test_an_edge_needs_every_part_of_the_rule():
    net = HOLD + 0.0008 + STEADY
    found = judge(net)
    assert found.edge
    assert found.interval[0] > 0
    assert found.dsr > 0.95
    assert found.sentence.startswith(
        "An edge over buy-and-hold was found after 5 bps costs: Sharpe "
    )
    assert found.sentence.endswith("after 1 trial; the look-ahead audit passed.")
    tried = judge(net, n_trials=100_000, trial_sharpes=[0.2, -0.2])
    assert not tried.edge
    assert tried.interval == found.interval
    assert tried.sentence.startswith("No edge over buy-and-hold was established after 5 bps costs")
    assert "after 100000 trials and more than 95 % is needed." in tried.sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"audit_passed": None}, "but no look-ahead audit was run."),
        ({"audit_passed": False}, "but the look-ahead audit failed."),
        (
            {"ledger_fault": "line 3 was edited"},
            "but the ledger that counts the trials is damaged (line 3 was edited).",
        ),
        (
            {"audit_passed": False, "n_trials": 100_000, "trial_sharpes": [0.2, -0.2]},
            "more than 95 % is needed, and the look-ahead audit failed.",
        ),
    ],
)
def test_without_audit_or_ledger_nothing_is_established(options, words):
    found = judge(HOLD + 0.0008 + STEADY, **options)
    assert not found.edge
    assert found.interval[0] > 0
    assert found.sentence.startswith("No edge over buy-and-hold was established")
    assert found.sentence.endswith(words)


def test_a_failed_audit_is_told_whatever_was_found():
    for net in (0.5 * HOLD + STEADY, HOLD - 0.0015, (HOLD + STEADY)[:30]):
        held = HOLD[: len(net)]
        assert judge(net, held, audit_passed=False).sentence.endswith(
            "The look-ahead audit failed."
        )
        assert "audit" not in judge(net, held).sentence


def test_what_it_was_deflated_by_is_kept_and_enough_to_do_it_again():
    net, trials = HOLD + STEADY, [0.01, 0.05, -0.02]
    found = judge(net, n_trials=3, trial_sharpes=trials)
    assert found.trial_sd == pytest.approx(np.std(trials, ddof=1))
    best = expected_best_sharpe(found.n_trials, found.trial_sd)
    assert psr(net, benchmark_sharpe=best) == found.dsr
    assert found.min_track_record == min_track_record(net)


def test_no_edge_is_said_plainly():
    net = 0.5 * HOLD + STEADY
    found = judge(net)
    assert not found.edge
    low, high = found.interval
    assert low < 0 < high
    assert found.sharpe_difference == found.sharpe - found.rival_sharpe
    assert found.sharpe == METRICS["sharpe"](net)
    words = (
        f"No edge over buy-and-hold was found after 5 bps costs: Sharpe {found.sharpe:.2f} against "
        f"{found.rival_sharpe:.2f}, difference {found.sharpe_difference:+.2f} "
        f"(95 % interval {low:+.2f} to {high:+.2f})."
    )
    assert found.sentence == words.replace("-0", "−0").replace("-1", "−1").replace("-2", "−2")
    assert verdict(net, HOLD, seed=0, resamples=400).sentence == words.replace(
        " 5 bps", ""
    ).replace("-0", "−0").replace("-1", "−1").replace("-2", "−2")


def test_worse_is_said_too():
    found = judge(HOLD - 0.0015)
    assert found.interval[1] < 0
    assert found.sentence.startswith("Worse than buy-and-hold after 5 bps costs: Sharpe −")


def test_the_same_returns_are_no_edge():
    found = judge(HOLD)
    assert not found.edge
    assert found.interval == (0.0, 0.0)
    assert found.sentence.startswith("No edge")


@pytest.mark.parametrize(
    ("net", "benchmark", "words"),
    [
        ([], [], "No verdict: there is not a single session"),
        (np.zeros(200), HOLD[:200], "returns never moved, so no position was held"),
        (np.full(200, 1e-4), HOLD[:200], "returns never moved"),
        (HOLD[:200], np.zeros(200), "no rival to beat"),
        (HOLD[:59] + STEADY[:59], HOLD[:59], "Too short to judge against buy-and-hold after 5 bps"),
        (np.eye(1, 200, 50)[0] * 0.01, HOLD[:200], "Too few trades to judge"),
    ],
)
def test_nothing_is_claimed_from_nothing(net, benchmark, words):
    found = judge(net, benchmark)
    assert not found.edge
    assert words in found.sentence
    assert all(math.isnan(end) for end in found.interval)
    assert "nan" not in found.sentence


def test_a_miss_never_reads_as_a_hit():
    from quantseq.trading.luck import _percent

    assert _percent(0.9499999) == "94.9 %"
    assert _percent(math.nan) == "undefined"


def test_on_noise_an_edge_is_rare():
    edges = [
        verdict(
            noise(s, n=250), noise(s + 1000, n=250), seed=s, resamples=200, audit_passed=True
        ).edge
        for s in range(30)
    ]
    assert sum(edges) <= 2
