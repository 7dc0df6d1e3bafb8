"""Properties and frozen numbers of the statistics, and a sentence for every case."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.trading.luck import (
    block_length,
    bootstrap_interval,
    deflated_sharpe,
    expected_best_sharpe,
    metric_intervals,
    psr,
    sharpe_per_session,
    verdict,
)
from quantseq.trading.measures import METRICS

quick = settings(deadline=None, max_examples=40)
SINE = 0.01 * np.sin(np.arange(250) * 1.7) ** 3 + 0.0007
TRIALS = [0.01, 0.03, -0.02, 0.05, 0.0]
PSR = 0.9801935039411159
PSR_AGAINST = 0.6860337892258788
DSR = 0.9395333940198877
BEST = 0.06706920533299215


def noise(seed: int, mean: float = 0.0, n: int = 500) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.01, n)


def test_frozen_numbers_of_skfolio():
    """From skfolio 1.12.2: probabilistic_sharpe_ratio, deflated_sharpe_ratio, expected_max."""
    assert psr(SINE) == pytest.approx(PSR, rel=1e-13)
    assert psr(SINE, benchmark_sharpe=0.1) == pytest.approx(PSR_AGAINST, rel=1e-13)
    assert deflated_sharpe(SINE, TRIALS) == pytest.approx(DSR, rel=1e-13)
    assert expected_best_sharpe(45, 0.03) == pytest.approx(BEST, rel=1e-13)


def test_agrees_with_skfolio_where_it_is_installed():
    measures = pytest.importorskip("skfolio.measures")
    for seed in range(5):
        returns, trials = noise(seed, 0.0003), noise(seed + 9, n=12) * 3
        ours, theirs = psr(returns), measures.probabilistic_sharpe_ratio(returns)
        assert ours == pytest.approx(theirs, rel=1e-13)
        ours, theirs = (
            deflated_sharpe(returns, trials),
            measures.deflated_sharpe_ratio(returns, trials),
        )
        assert ours == pytest.approx(theirs, rel=1e-13)


@quick
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 500),
    spread=st.floats(0, 0.2),
    mean=st.floats(-1, 1),
)
def test_deflating_only_lowers_and_more_trials_lower_more(seed, n, spread, mean):
    returns, trials = noise(seed, mean / 500, 80), noise(seed, n=5) * spread / 0.01
    one, few, more = (deflated_sharpe(returns, trials, n_trials=k) for k in (1, n, n + 1))
    assert one == psr(returns)
    assert more <= few <= one


def test_copies_of_one_trial_are_no_discount():
    returns = noise(1, 0.0008)
    copies = [sharpe_per_session(returns)] * 45
    assert deflated_sharpe(returns, copies) < psr(returns) - 0.1
    assert deflated_sharpe(returns, copies) == deflated_sharpe(returns, n_trials=45)


def test_the_undefined_is_nan():
    assert math.isnan(psr([0.01, 0.02]))
    assert math.isnan(psr([0.01] * 50))
    assert math.isnan(deflated_sharpe([0.01] * 50))
    assert math.isnan(deflated_sharpe([]))
    assert expected_best_sharpe(1, 0.3) == 0.0
    with pytest.raises(ConfigError, match="'n_trials'"):
        expected_best_sharpe(0, 0.3)


def test_expected_best_is_about_the_best_of_many_draws():
    draws = np.random.default_rng(0).normal(0, 0.03, (4000, 45)).max(axis=1)
    assert expected_best_sharpe(45, 0.03) == pytest.approx(draws.mean(), rel=0.03)


# -------------------------------------------------------------------------------------- bootstrap


def test_equal_seeds_give_equal_intervals():
    one, same, other = (
        bootstrap_interval(np.mean, noise(3), seed=s, resamples=200) for s in (1, 1, 2)
    )
    assert one == same
    assert one != other
    assert one[0] < np.mean(noise(3)) < one[1]


def test_the_interval_of_a_mean_has_its_known_width():
    returns = noise(4, n=1000)
    low, high = bootstrap_interval(np.mean, returns, seed=0)
    assert high - low == pytest.approx(2 * 1.96 * returns.std() / math.sqrt(1000), rel=0.15)


def test_dependence_makes_it_wider():
    shocks = noise(5, n=1000)
    slow = np.convolve(shocks, np.ones(10) / math.sqrt(10), mode="same")
    assert block_length(slow) > 2 * block_length(shocks)
    wide, narrow = (
        bootstrap_interval(np.mean, one, seed=0, resamples=500) for one in (slow, shocks)
    )
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_pairs_stay_paired():
    own = noise(6)
    pair = np.column_stack([own, own + 0.001])
    low, high = bootstrap_interval(
        lambda drawn: np.mean(drawn[:, 1] - drawn[:, 0]), pair, seed=0, resamples=200
    )
    assert (low, high) == (pytest.approx(0.001), pytest.approx(0.001))


def test_an_undefined_statistic_has_no_interval():
    rare = np.zeros(100)
    rare[50] = 0.01
    assert all(math.isnan(end) for end in bootstrap_interval(METRICS["sharpe"], rare, seed=0))
    assert block_length(np.zeros(100)) == 1
    assert block_length(noise(0, n=5)) == 1


def test_intervals_of_many_figures_share_their_samples():
    returns, benchmark = noise(7, 0.0005), noise(8)
    names = ("sharpe", "beta", "max_drawdown")
    found = metric_intervals(returns, names, benchmark=benchmark, seed=0, resamples=300)
    assert list(found) == list(names)
    assert found["beta"][0] < 0 < found["beta"][1]
    for name, (low, high) in found.items():
        assert low < METRICS[name](returns, benchmark=benchmark) < high
    alone = metric_intervals(returns, ["sharpe"], seed=0, resamples=300)
    direct = bootstrap_interval(METRICS["sharpe"], returns, seed=0, resamples=300)
    assert alone["sharpe"] == direct
    assert all(math.isnan(one) for one in metric_intervals([0.1], ["sharpe"], seed=0)["sharpe"])


def test_bad_bootstraps_are_named():
    with pytest.raises(ConfigError, match="two or more finite"):
        bootstrap_interval(np.mean, [0.1, math.nan], seed=0)
    with pytest.raises(ConfigError, match="'level'"):
        bootstrap_interval(np.mean, noise(0), seed=0, level=95)


# ---------------------------------------------------------------------------------------- verdict

HOLD = noise(20, n=1500)
HOLD += 0.0003 - HOLD.mean()
STEADY = np.random.default_rng(21).normal(0, 0.003, 1500)


def judge(net, benchmark=HOLD, **options):
    return verdict(net, benchmark, seed=0, cost_bps=5, resamples=400, **options)


def test_an_edge_needs_both_halves_of_the_rule():
    net = HOLD + 0.0008 + STEADY
    found = judge(net)
    assert found.edge
    assert found.interval[0] > 0
    assert found.dsr > 0.95
    assert found.sentence.startswith(
        "An edge over buy-and-hold was found after 5 bps costs: Sharpe "
    )
    assert "after 1 trial." in found.sentence
    tried = judge(net, n_trials=100_000, trial_sharpes=[0.2, -0.2])
    assert not tried.edge
    assert tried.interval == found.interval
    assert tried.sentence.startswith("No edge over buy-and-hold was established after 5 bps costs")
    assert "after 100000 trials and more than 95 % is needed" in tried.sentence


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
        verdict(noise(s, n=250), noise(s + 1000, n=250), seed=s, resamples=200).edge
        for s in range(30)
    ]
    assert sum(edges) <= 2
