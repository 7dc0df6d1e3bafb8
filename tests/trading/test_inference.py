"""Intervals, PSR and DSR, SPA and PBO, and the verdict: properties, frozen numbers, slow references."""

import math
from functools import partial
from itertools import combinations

import numpy as np
import pytest
from arch.bootstrap import SPA, StationaryBootstrap
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from quantseq.errors import ConfigError
from quantseq.trading.inference import (
    _CURVE,
    Overfitting,
    _block_length,
    _long_run_deviation,
    bootstrap_interval,
    dsr,
    dsr_curve,
    expected_best_sharpe,
    metric_intervals,
    min_track_record,
    overfitting,
    psr,
    sharpe_per_session,
    spa,
    trial_spread,
    verdict,
)
from quantseq.trading.metrics import METRICS

SHARPE = partial(METRICS["sharpe"], periods=252)
quick = settings(deadline=None, max_examples=30)


def noise(seed: int, mean: float = 0.0, n: int = 500) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.01, n)


HOLD = noise(20, n=1500)
HOLD += 0.0003 - HOLD.mean()
STEADY = np.random.default_rng(21).normal(0, 0.003, 1500)


def judge(net, benchmark=HOLD, **options):
    options = {"audit_passed": True, "periods": 252, **options}
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
    tried = judge(net, n_trials=100_000, trial_sd=trial_spread([0.2, -0.2], 500))
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
            {
                "audit_passed": False,
                "n_trials": 100_000,
                "trial_sd": trial_spread([0.2, -0.2], 500),
            },
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
    found = judge(net, n_trials=3, trial_sd=trial_spread(trials, 500))
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
    assert found.sharpe_difference == found.sharpe - found.benchmark_sharpe
    assert found.sharpe == SHARPE(net)
    words = (
        f"No edge over buy-and-hold was found after 5 bps costs: Sharpe {found.sharpe:.2f} against "
        f"{found.benchmark_sharpe:.2f}, difference {found.sharpe_difference:+.2f} "
        f"(95 % interval {low:+.2f} to {high:+.2f})."
    )
    assert found.sentence == words.replace("-0", "−0").replace("-1", "−1").replace("-2", "−2")
    assert verdict(net, HOLD, seed=0, periods=252, resamples=400).sentence == words.replace(
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
    from quantseq.trading.inference import _percent

    assert _percent(0.9499999) == "94.9 %"
    assert _percent(math.nan) == "undefined"


@pytest.mark.slow
def test_on_noise_an_edge_is_rare():
    edges = [
        verdict(
            noise(s, n=250),
            noise(s + 1000, n=250),
            seed=s,
            periods=252,
            resamples=200,
            audit_passed=True,
        ).edge
        for s in range(30)
    ]
    assert sum(edges) <= 2


def test_equal_seeds_give_equal_intervals():
    one, same, other = (
        bootstrap_interval(np.mean, noise(3), seed=s, resamples=200).tolist() for s in (1, 1, 2)
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
    assert _block_length(slow) > 2 * _block_length(shocks)
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
    assert all(math.isnan(end) for end in bootstrap_interval(SHARPE, rare, seed=0))
    assert _block_length(np.zeros(100)) == 1
    assert _block_length(noise(0, n=5)) == 1


def test_intervals_of_many_figures_share_their_samples():
    returns = noise(7, 0.0005)
    names = ("sharpe", "volatility", "max_drawdown")
    found = metric_intervals(returns, names, seed=0, periods=252, resamples=300)
    assert list(found) == list(names)
    for name, (low, high) in found.items():
        assert low < METRICS[name](returns, periods=252) < high
    alone = metric_intervals(returns, ["sharpe"], seed=0, periods=252, resamples=300)
    direct = bootstrap_interval(SHARPE, returns, seed=0, resamples=300)
    assert list(alone["sharpe"]) == direct.tolist()
    assert all(
        math.isnan(one)
        for one in metric_intervals([0.1], ["sharpe"], seed=0, periods=252)["sharpe"]
    )


def test_bad_bootstraps_are_named():
    with pytest.raises(ConfigError, match="two or more finite"):
        bootstrap_interval(np.mean, [0.1, math.nan], seed=0)


SINE = 0.01 * np.sin(np.arange(250) * 1.7) ** 3 + 0.0007
TRIALS = [0.01, 0.03, -0.02, 0.05, 0.0]
PSR = 0.9801935039411159
PSR_AGAINST = 0.6860337892258788
DSR = 0.9395333940198877
BEST = 0.06706920533299215


def deflated(returns, trials, n_trials=None):
    spread = trial_spread(trials, len(returns))
    return dsr(returns, n_trials=n_trials or len(trials), spread=spread)


def test_frozen_numbers_of_skfolio():
    """From skfolio 1.12.2: probabilistic_sharpe_ratio, deflated_sharpe_ratio, expected_max."""
    assert psr(SINE) == pytest.approx(PSR, rel=1e-13)
    assert psr(SINE, benchmark_sharpe=0.1) == pytest.approx(PSR_AGAINST, rel=1e-13)
    assert deflated(SINE, TRIALS) == pytest.approx(DSR, rel=1e-13)
    assert expected_best_sharpe(45, 0.03) == pytest.approx(BEST, rel=1e-13)


def test_agrees_with_skfolio_where_it_is_installed():
    measures = pytest.importorskip("skfolio.measures")
    for seed in range(5):
        returns, trials = noise(seed, 0.0003), noise(seed + 9, n=12) * 3
        ours, theirs = psr(returns), measures.probabilistic_sharpe_ratio(returns)
        assert ours == pytest.approx(theirs, rel=1e-13)
        ours, theirs = (
            deflated(returns, trials),
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
    one, few, more = (deflated(returns, trials, k) for k in (1, n, n + 1))
    assert one == psr(returns)
    assert more <= few <= one


def test_copies_of_one_trial_are_no_discount():
    returns = noise(1, 0.0008)
    copies = [sharpe_per_session(returns)] * 45
    assert deflated(returns, copies) < psr(returns) - 0.1
    assert deflated(returns, copies) == dsr(returns, n_trials=45)


def test_the_undefined_is_nan():
    assert math.isnan(psr([0.01, 0.02]))
    assert math.isnan(psr([0.01] * 50))
    assert math.isnan(dsr([0.01] * 50))
    assert math.isnan(dsr([]))
    assert expected_best_sharpe(1, 0.3) == 0.0
    with pytest.raises(ConfigError, match="'n_trials'"):
        expected_best_sharpe(0, 0.3)


def test_expected_best_is_about_the_best_of_many_draws():
    draws = np.random.default_rng(0).normal(0, 0.03, (4000, 45)).max(axis=1)
    assert expected_best_sharpe(45, 0.03) == pytest.approx(draws.mean(), rel=0.03)


# --------------------------------------------------------------------- record length and the curve


def moments_of(returns: np.ndarray) -> tuple[float, float]:
    """Sharpe ratio and the spread of PSR, written out as the paper does."""
    z = (returns - returns.mean()) / returns.std()
    sharpe = returns.mean() / returns.std(ddof=1)
    return sharpe, 1 - (z**3).mean() * sharpe + ((z**4).mean() - 1) / 4 * sharpe**2


@quick
@given(seed=st.integers(0, 10**6), mean=st.floats(0.0005, 0.01))
def test_the_least_record_is_where_psr_reaches_the_level(seed, mean):
    returns = noise(seed, mean, 60)
    least, level = min_track_record(returns), 0.95
    sharpe, spread = moments_of(returns)
    if least is None:
        assert sharpe <= 0
        return

    def at(sessions: int) -> float:
        return 0.5 * math.erfc(-sharpe * math.sqrt(sessions - 1) / math.sqrt(spread) / math.sqrt(2))

    assert at(least) >= level - 1e-9
    assert at(least - 1) < level + 1e-9
    assert (psr(returns) >= level) == (len(returns) >= least)


def test_a_hand_worked_record():
    """A fair coin with mean 0.001 and deviation 0.01: SR 0.1, no skew, kurtosis 1, so 1 + 1.645²/0.1²."""
    returns = np.tile([0.011, -0.009], 5000) * 1.0
    sharpe = sharpe_per_session(returns)
    expected = 1 + (1.6448536269514722 / sharpe) ** 2
    assert min_track_record(returns) == math.ceil(expected) == 272


def test_no_record_is_long_enough_for_a_loss():
    assert min_track_record(noise(0) - 0.005) is None
    assert min_track_record(np.zeros(50)) is None
    assert min_track_record([0.1, 0.2]) is None


def test_the_curve_falls_and_holds_what_was_counted():
    returns = noise(1, 0.001)
    spread = trial_spread(TRIALS, len(returns))
    curve = dsr_curve(returns, n_trials=37, spread=spread)
    assert [one["n"] for one in curve] == sorted({*_CURVE, 37, 370})
    values = [one["dsr"] for one in curve]
    assert values == sorted(values, reverse=True)
    assert values[0] == psr(returns)
    here = next(one["dsr"] for one in curve if one["n"] == 37)
    assert here == deflated(returns, TRIALS, 37)


def test_the_spread_of_nothing_or_of_copies_is_the_sampling_deviation():
    assert trial_spread([], 101) == trial_spread([0.02] * 9, 101) == 0.1
    assert trial_spread([0.02], 101) == trial_spread([math.nan, 0.3], 101) == 0.1
    assert trial_spread([0.0, 0.2, math.nan], 101) == pytest.approx(0.2 / math.sqrt(2))


WAVES = np.array([1.7, 2.3, 3.1, 0.9, 4.7, 5.3])
TRIED = 0.01 * np.sin(np.arange(320)[:, None] * WAVES) ** 3


def columns(seed: int, n: int = 250, k: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.01, (n, k))


# -------------------------------------------------------------------------------------------- PBO


def slow_pbo(returns: np.ndarray, blocks: int) -> float:
    """Bailey et al. as they wrote it: concatenate, rank, logit; 0 counts half."""
    parts = np.array_split(np.arange(len(returns)), blocks)
    logits = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[k] for k in chosen])
        other = np.setdiff1d(np.arange(len(returns)), inside)
        first, second = (
            returns[rows].mean(axis=0) / returns[rows].std(axis=0, ddof=1)
            for rows in (inside, other)
        )
        share = rankdata(second)[np.argmax(first)] / (returns.shape[1] + 1)
        logits.append(math.log(share / (1 - share)))
    signs = np.sign(np.round(logits, 12))
    return float((signs < 0).mean() + 0.5 * (signs == 0).mean())


@quick
@given(seed=st.integers(0, 10**6), k=st.integers(2, 7), drift=st.floats(0, 0.002))
def test_pbo_is_what_the_paper_says(seed, k, drift):
    returns = columns(seed, 90, k) + np.linspace(-drift, drift, k)
    found = overfitting(returns, blocks=6)
    assert found.pbo == pytest.approx(slow_pbo(returns, 6), abs=1e-12)
    assert (found.configurations, found.blocks, found.halves) == (k, 6, 20)


def test_frozen_numbers_of_purgedcv():
    """From purgedcv 0.1.11, probability_of_backtest_overfitting(returns.T, n_splits=8)."""
    frozen = {0: 0.22857142857142856, 1: 0.24285714285714285, 2: 0.07142857142857142}
    for seed, pbo in frozen.items():
        returns = np.random.default_rng(seed).normal(0.0003 * seed, 0.01, (320, 6))
        returns += np.linspace(-0.0005 * seed, 0.0005 * seed, 6)
        assert overfitting(returns, blocks=8).pbo == pbo


def test_a_case_by_hand():
    """Two blocks; A wins the first, B the second: whatever is chosen is the worse one afterwards."""
    early, late = np.tile([0.02, 0.0], 10), np.tile([0.01, -0.01], 10)
    returns = np.column_stack([np.r_[early, late], np.r_[late, early]])
    assert overfitting(returns, blocks=2) == Overfitting(1.0, 0.0, 2, 2, 2)
    better = np.column_stack([np.r_[early, early], np.r_[late, late]])
    assert overfitting(better, blocks=2).pbo == 0.0


@pytest.mark.parametrize("k", [8, 9])
def test_on_noise_it_is_a_coin_toss(k):
    found = [overfitting(columns(seed, 240, k), blocks=8).pbo for seed in range(60)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_skill_is_no_overfitting():
    returns = columns(3, 500, 8)
    returns[:, 5] += 0.005
    found = overfitting(returns)
    assert found.pbo == found.loss == 0.0
    assert found.halves == 12_870


def test_copies_and_what_never_moves_are_no_configurations():
    returns = columns(1, 200, 4)
    with_copies = np.column_stack([returns, returns[:, [0, 0, 2]], np.zeros(200)])
    assert overfitting(with_copies, blocks=8) == overfitting(returns, blocks=8)
    alone = overfitting(np.column_stack([returns[:, 0]] * 9))
    assert math.isnan(alone.pbo)
    assert alone.configurations == 1


def test_a_half_without_a_move_counts_as_cash():
    returns = columns(2, 80, 3)
    returns[:40, 0] = 0.0
    returns[:, 1:] -= 0.1
    found = overfitting(returns, blocks=2)
    assert np.isfinite([found.pbo, found.loss]).all()
    assert found.pbo == 0.0  # cash beats both losers on the half where it did not trade


def test_short_series_have_fewer_blocks_or_none():
    assert overfitting(columns(0, 47, 3)).blocks == 4
    assert math.isnan(overfitting(columns(0, 19, 3)).pbo)


# -------------------------------------------------------------------------------------------- SPA


def slow_spa(tried: np.ndarray, held: np.ndarray, seed: int, resamples: int) -> float:
    """Hansen's consistent p, written out: studentised, re-centred where it matters, at equal risk."""
    better = tried / tried.std(axis=0) * held.std() - held[:, None]
    n, size = len(better), _block_length(better)
    centred = better - better.mean(axis=0)
    variance = (centred**2).mean(axis=0)
    for lag in range(1, n):
        stay = 1 - 1 / size
        kappa = (1 - lag / n) * stay**lag + lag / n * stay ** (n - lag)
        variance += 2 * kappa * (centred[:-lag] * centred[lag:]).sum(axis=0) / n
    omega, mean = np.sqrt(variance), better.mean(axis=0)
    matters = math.sqrt(n) * mean / omega >= -math.sqrt(2 * math.log(math.log(n)))
    statistic = max(0.0, (math.sqrt(n) * mean / omega).max())
    rows = StationaryBootstrap(size, np.arange(n), seed=np.random.default_rng(seed))
    beyond = 0
    for (drawn,), _ in rows.bootstrap(resamples):
        moved = better[drawn].mean(axis=0) - np.where(matters, mean, 0.0)
        beyond += max(0.0, (math.sqrt(n) * moved / omega).max()) >= statistic
    return beyond / resamples


@pytest.mark.parametrize("shift", [0.0, 0.0008, 0.001, 0.002])
def test_spa_is_hansens(shift):
    tried, held = TRIED * np.arange(1, 7) + shift, columns(4, 320, 1)[:, 0] + 0.0002
    ours = spa(tried, held, seed=5, resamples=200)
    assert ours == pytest.approx(slow_spa(tried, held, 5, 200), abs=1e-12)
    assert 0 < ours < 1 or shift in (0.0, 0.002)


def test_the_long_run_deviation_sees_dependence():
    values = columns(7, 1000, 1)
    slow = np.apply_along_axis(lambda x: np.convolve(x, np.ones(5), "same"), 0, values)
    assert _long_run_deviation(values, 1) == pytest.approx(values.std(axis=0), rel=1e-12)
    assert _long_run_deviation(slow, 25) > 1.7 * slow.std(axis=0)


def test_arch_itself_does_not_studentise():
    """Why we do it: its p-value is the same with and without. When this fails, drop our own."""
    tried = TRIED * np.arange(1, 7) + 0.0003
    found = []
    for studentize in (True, False):
        test = SPA(np.zeros(320), -tried, block_size=3, reps=100, studentize=studentize, seed=1)
        test.compute()
        found.append(list(test.pvalues))
    assert found[0] == found[1]


@pytest.mark.slow
def test_its_size_on_noise_is_about_what_it_says():
    found = np.array(
        [
            spa(columns(seed), columns(seed + 5000, k=1)[:, 0], seed=seed, resamples=100)
            for seed in range(150)
        ]
    )
    assert (found < 0.1).mean() == pytest.approx(0.1, abs=0.055)
    assert 0.3 < found.mean() < 0.7


def test_more_tries_make_the_best_less_of_a_wonder():
    held = columns(8, 500, 1)[:, 0]
    good = held + 0.0006 + columns(9, 500, 1)[:, 0] * 0.5
    alone = spa(good[:, None], held, seed=0)
    among = spa(np.column_stack([good, columns(10, 500, 60)]), held, seed=0)
    assert alone < 0.05 < among


def test_risk_is_no_skill():
    held = columns(11, 500, 1)[:, 0] + 0.001
    assert math.isnan(
        spa(2 * held[:, None], held, seed=0)
    )  # at equal risk it is the benchmark itself
    half = 0.5 * held[:, None] + 0.0004 + 0.1 * columns(16, 500, 1)
    assert spa(half, held, seed=0) < 0.05


def test_each_trial_may_have_its_own_benchmark():
    tried, held = columns(12, 300, 3), columns(13, 300, 3)
    same = np.broadcast_to(held[:, :1], (300, 3))
    assert spa(tried, same, seed=0) == spa(tried, held[:, 0], seed=0)
    assert spa(tried, held, seed=0) != spa(tried, held[:, 0], seed=0)


def test_what_says_nothing_is_left_out():
    held, tried = columns(14, 300, 1)[:, 0], columns(15, 300, 3)
    more = np.column_stack([tried, np.zeros(300), held])
    assert spa(more, held, seed=1) == spa(tried, held, seed=1)
    assert math.isnan(spa(np.zeros((300, 2)), held, seed=1))
    assert math.isnan(spa(tried[:19], held[:19], seed=1))


def test_bad_trials_are_named():
    with pytest.raises(ConfigError, match="finite returns over the same sessions"):
        spa(columns(0), columns(1)[:-1, 0], seed=0)
    with pytest.raises(ConfigError, match="finite returns over the same sessions"):
        spa(columns(0) * math.nan, columns(1)[:, 0], seed=0)
    with pytest.raises(ConfigError, match="finite returns over the same sessions"):
        spa(columns(0)[:, 0], columns(1)[:, 0], seed=0)
    with pytest.raises(ConfigError, match=r"finite returns, shape \(T, K\)"):
        overfitting(columns(0)[:, 0])
    for blocks in (3, 0, 22):
        with pytest.raises(ConfigError, match="'blocks'"):
            overfitting(columns(0), blocks=blocks)


def test_where_all_are_worse_nothing_is_claimed() -> None:
    held = np.random.default_rng(4).normal(5e-4, 0.01, 700)
    worse = (
        held[:, None]
        - np.array([0.002, 0.004])
        + np.random.default_rng(5).normal(0, 1e-3, (700, 2))
    )
    assert spa(worse, held, seed=0) == 1.0
    assert spa(np.column_stack([worse, held]), held, seed=0) == 1.0
