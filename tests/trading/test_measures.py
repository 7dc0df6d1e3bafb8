"""Each figure by hand and against slow references written in plain Python."""

import math
import statistics

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.trading.measures import METRICS, checked, drawdowns, wealth

quick = settings(deadline=None, max_examples=50)
series = st.lists(st.floats(-0.2, 0.25), min_size=5, max_size=40).filter(
    lambda r: max(r) - min(r) > 1e-3
)
HAND = [0.10, -0.10, 0.05, 0.0, -0.20]


def slow(returns, benchmark, free, periods):
    """Every figure the long way."""
    r, b, n = returns, benchmark, len(returns)
    path = [1.0]
    for one in r:
        path.append(path[-1] * (1 + one))
    depth, high, run, longest = 0.0, 1.0, 0, 0
    for value in path[1:]:
        high = max(high, value)
        run = run + 1 if value / high - 1 <= -1e-12 else 0
        depth, longest = min(depth, value / high - 1), max(longest, run)
    depth = depth if depth < -1e-12 else 0.0
    mean, std = statistics.fmean(r), statistics.stdev(r)
    cagr = path[-1] ** (periods / n) - 1
    down = math.sqrt(sum(min(x - free, 0) ** 2 for x in r) / n * periods)
    place = 0.05 * (n - 1)
    ordered, low = sorted(r), int(0.05 * (n - 1))
    upper = ordered[min(low + 1, n - 1)]
    m2, m3, m4 = (sum((x - mean) ** k for x in r) / n for k in (2, 3, 4))
    other = statistics.fmean(b)
    beta = sum((x - mean) * (y - other) for x, y in zip(r, b, strict=True)) / sum(
        (y - other) ** 2 for y in b
    )
    active = [x - y for x, y in zip(r, b, strict=True)]
    moved = [x for x in r if x != 0]
    return {
        "total_return": path[-1] - 1,
        "cagr": cagr,
        "volatility": std * math.sqrt(periods),
        "sharpe": (mean - free) / std * math.sqrt(periods),
        "sortino": (mean - free) * periods / down if down else math.nan,
        "max_drawdown": depth,
        "longest_drawdown": longest,
        "calmar": cagr / -depth if depth else math.nan,
        "var_95": ordered[low] + (place - low) * (upper - ordered[low]),
        "es_95": statistics.fmean(ordered[: low + 1]),
        "skew": math.sqrt(n * (n - 1)) / (n - 2) * m3 / m2**1.5,
        "kurtosis": (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (m4 / m2**2 - 3) + 6),
        "hit_rate": sum(x > 0 for x in r) / len(moved),
        "best_day": max(r),
        "worst_day": min(r),
        "beta": beta,
        "alpha": (mean - free - beta * (other - free)) * periods,
        "information_ratio": statistics.fmean(active)
        / statistics.stdev(active)
        * math.sqrt(periods),
    }


@quick
@given(
    r=series,
    seed=st.integers(0, 99),
    free=st.sampled_from([0.0, 0.03]),
    a=st.sampled_from([12, 252]),
)
def test_every_figure_equals_its_slow_reference(r, seed, free, a):
    benchmark = np.random.default_rng(seed).normal(0, 0.1, len(r)).tolist()
    expected = slow(r, benchmark, free / a, a)
    assert set(expected) == set(METRICS)
    for name, metric in METRICS.items():
        value = metric(r, benchmark=benchmark, risk_free=free, periods=a)
        assert value == pytest.approx(expected[name], rel=1e-9, abs=1e-9, nan_ok=True), name


def test_by_hand():
    def of(name, returns=HAND, **options):
        return METRICS[name](returns, **options)

    assert of("total_return") == pytest.approx(1.1 * 0.9 * 1.05 * 0.8 - 1)
    assert of("cagr", periods=5) == pytest.approx(of("total_return"))
    assert of("max_drawdown") == pytest.approx(0.9 * 1.05 * 0.8 - 1)
    assert of("longest_drawdown") == 4
    assert of("hit_rate") == 0.5
    assert of("worst_day") == -0.2
    assert of("best_day") == 0.1
    assert of("var_95") == pytest.approx(-0.2 + 0.2 * 0.1)
    assert of("es_95") == pytest.approx(-0.2)
    assert of("sharpe", periods=1) == pytest.approx(-0.03 / statistics.stdev(HAND))
    assert of("sortino", periods=1) == pytest.approx(-0.03 / math.sqrt(0.05 / 5))
    assert of("beta", benchmark=[0.5 * r for r in HAND]) == pytest.approx(2.0)
    assert of("alpha", benchmark=[0.5 * r for r in HAND]) == pytest.approx(0.0, abs=1e-12)


EMPYRICAL = {
    # empyrical-reloaded 0.7.1 on the series below
    "total_return": 0.19619187357606527,
    "cagr": 3.5032610198580096,
    "volatility": 0.5718158869377147,
    "sharpe": 2.9145647573355746,
    "sortino": 4.935464028325021,
    "max_drawdown": -0.1176089236989276,
    "calmar": 29.78737420322089,
    "var_95": -0.046677786824572735,
    "es_95": -0.05097286203034605,
    "beta": -0.24818977485836416,
}


def test_frozen_numbers_of_empyrical_and_the_moments_of_scipy():
    from scipy import stats

    r = 0.05 * np.sin(np.arange(30)) + 0.001 * np.arange(30) - 0.01
    b = 0.04 * np.cos(np.arange(30) * 1.3)
    for name, expected in EMPYRICAL.items():
        assert METRICS[name](r, benchmark=b) == pytest.approx(expected, rel=1e-13), name
    assert METRICS["skew"](r) == pytest.approx(stats.skew(r, bias=False), rel=1e-13)
    assert METRICS["kurtosis"](r) == pytest.approx(stats.kurtosis(r, bias=False), rel=1e-13)


def test_a_first_day_loss_is_a_drawdown():
    assert METRICS["max_drawdown"]([-0.1, 0.05]) == pytest.approx(-0.1)
    assert drawdowns([-0.1, 0.05]).tolist() == pytest.approx([-0.1, 0.9 * 1.05 - 1])
    assert wealth([0.1, 0.1]).tolist() == pytest.approx([1.1, 1.21])


def test_the_undefined_is_nan_and_never_zero():
    flat = [0.001] * 10
    for name in ("sharpe", "skew", "kurtosis", "sortino", "calmar"):
        assert math.isnan(METRICS[name](flat)), name
    assert math.isnan(METRICS["hit_rate"]([0.0] * 5))
    assert math.isnan(METRICS["beta"](HAND, benchmark=flat[:5]))
    assert math.isnan(METRICS["information_ratio"](HAND, benchmark=HAND))
    assert math.isnan(METRICS["volatility"]([0.1]))
    for metric in METRICS.values():
        assert math.isnan(metric([]))
        assert not metric.benchmarked or math.isnan(metric(HAND))
    assert METRICS["max_drawdown"](flat) == 0.0
    assert METRICS["longest_drawdown"](flat) == 0.0


def test_ruin_and_explosion_stay_numbers():
    assert METRICS["cagr"]([0.1, -1.0, 0.0]) == -1.0
    assert METRICS["max_drawdown"]([0.1, -1.0, 0.0]) == -1.0
    assert METRICS["cagr"]([50.0]) == math.inf


def test_rounding_is_no_drawdown():
    assert METRICS["longest_drawdown"]([0.1, -0.1, 1 / 0.9 - 1, 0.0]) == 1


def test_every_metric_says_how_it_is_computed():
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.label
        assert metric.formula
        assert metric.source
        assert metric.unit in ("fraction", "ratio", "sessions")
        assert metric.annualisation
        assert (metric.ddof is not None) == any(
            word in metric.formula for word in ("std", "cov", "moments", "m₄")
        )


@pytest.mark.parametrize(
    ("returns", "words"),
    [
        ([0.1, np.nan, np.nan], "nan at position 1, and 1 more"),
        ([0.1, -1.2], "-1.2 at position 1"),
        ([[0.1], [0.2]], "one series"),
    ],
)
def test_bad_returns_are_named(returns, words):
    with pytest.raises(ConfigError) as caught:
        checked(returns)
    assert words in str(caught.value)


def test_a_benchmark_of_other_sessions_is_refused():
    days = pd.bdate_range("2020-01-01", periods=5)
    own = pd.Series(HAND, index=days)
    for other in (HAND[:4], pd.Series(HAND, index=days + pd.Timedelta(days=1))):
        with pytest.raises(ConfigError, match="same"):
            METRICS["beta"](own, benchmark=other)
    with pytest.raises(ConfigError, match="'periods'"):
        METRICS["sharpe"](own, periods=0)
