"""Properties and frozen numbers of the probabilistic and the deflated Sharpe ratio."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.trading.chance.deflation import (
    CURVE,
    deflated_sharpe,
    dsr_curve,
    expected_best_sharpe,
    min_track_record,
    psr,
    sharpe_per_session,
    trial_spread,
)

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


# --------------------------------------------------------------------- record length and the curve


def moments(returns: np.ndarray) -> tuple[float, float]:
    """Sharpe ratio and the spread of PSR, written out as the paper does."""
    z = (returns - returns.mean()) / returns.std()
    sharpe = returns.mean() / returns.std(ddof=1)
    return sharpe, 1 - (z**3).mean() * sharpe + ((z**4).mean() - 1) / 4 * sharpe**2


@quick
@given(seed=st.integers(0, 10**6), mean=st.floats(0.0005, 0.01), level=st.floats(0.6, 0.99))
def test_the_least_record_is_where_psr_reaches_the_level(seed, mean, level):
    returns = noise(seed, mean, 60)
    least = min_track_record(returns, level=level)
    sharpe, spread = moments(returns)
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
    assert min_track_record(returns, benchmark_sharpe=0.05) == pytest.approx(4 * 271, abs=2)


def test_no_record_is_long_enough_for_a_loss():
    assert min_track_record(noise(0) - 0.005) is None
    assert min_track_record(np.zeros(50)) is None
    assert min_track_record([0.1, 0.2]) is None
    assert min_track_record(noise(1, 0.001), benchmark_sharpe=1.0) is None
    with pytest.raises(ConfigError, match="'level'"):
        min_track_record(noise(0), level=0.5)


def test_the_curve_falls_and_holds_what_was_counted():
    returns = noise(1, 0.001)
    spread = trial_spread(TRIALS, len(returns))
    curve = dsr_curve(returns, n_trials=37, spread=spread)
    assert [one["n"] for one in curve] == sorted({*CURVE, 37, 370})
    values = [one["dsr"] for one in curve]
    assert values == sorted(values, reverse=True)
    assert values[0] == psr(returns)
    here = next(one["dsr"] for one in curve if one["n"] == 37)
    assert here == deflated_sharpe(returns, TRIALS, n_trials=37)


def test_the_spread_of_nothing_or_of_copies_is_the_sampling_deviation():
    assert trial_spread([], 101) == trial_spread([0.02] * 9, 101) == 0.1
    assert trial_spread([0.02], 101) == trial_spread([math.nan, 0.3], 101) == 0.1
    assert trial_spread([0.0, 0.2, math.nan], 101) == pytest.approx(0.2 / math.sqrt(2))
