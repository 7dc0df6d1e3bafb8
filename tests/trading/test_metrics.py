"""Each figure by hand and against slow references in plain Python; the tables; the regimes."""

import math
import statistics

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.trading.metrics import (
    _TREND,
    _VOLATILITY,
    METRICS,
    checked,
    drawdown_table,
    drawdowns,
    monthly_table,
    regimes,
    rolling,
    summarise_returns,
    wealth,
)

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
        return METRICS[name](returns, **{"periods": 252, **options})

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
        assert METRICS[name](r, periods=252, benchmark=b) == pytest.approx(expected, rel=1e-13), (
            name
        )
    assert METRICS["skew"](r) == pytest.approx(stats.skew(r, bias=False), rel=1e-13)
    assert METRICS["kurtosis"](r) == pytest.approx(stats.kurtosis(r, bias=False), rel=1e-13)


def test_a_first_day_loss_is_a_drawdown():
    assert METRICS["max_drawdown"]([-0.1, 0.05]) == pytest.approx(-0.1)
    assert drawdowns([-0.1, 0.05]).tolist() == pytest.approx([-0.1, 0.9 * 1.05 - 1])
    assert wealth([0.1, 0.1]).tolist() == pytest.approx([1.1, 1.21])


def test_the_undefined_is_nan_and_never_zero():
    flat = [0.001] * 10
    for name in ("sharpe", "skew", "kurtosis", "sortino", "calmar"):
        assert math.isnan(METRICS[name](flat, periods=252)), name
    assert math.isnan(METRICS["hit_rate"]([0.0] * 5))
    assert math.isnan(METRICS["beta"](HAND, benchmark=flat[:5]))
    assert math.isnan(METRICS["information_ratio"](HAND, periods=252, benchmark=HAND))
    assert math.isnan(METRICS["volatility"]([0.1], periods=252))
    for metric in METRICS.values():
        assert math.isnan(metric([], periods=252))
        assert not metric.benchmarked or math.isnan(metric(HAND, periods=252))
    assert METRICS["max_drawdown"](flat) == 0.0
    assert METRICS["longest_drawdown"](flat) == 0.0


def test_a_yearly_figure_must_be_told_the_year():
    for name, metric in METRICS.items():
        if metric.annualisation == "none":
            assert metric(HAND, benchmark=HAND[::-1]) == metric(
                HAND, benchmark=HAND[::-1], periods=9
            )
        else:
            with pytest.raises(ConfigError, match="yearly figure: give 'periods'"):
                METRICS[name](HAND, benchmark=HAND[::-1])


def test_ruin_and_explosion_stay_numbers():
    assert METRICS["cagr"]([0.1, -1.0, 0.0], periods=252) == -1.0
    assert METRICS["max_drawdown"]([0.1, -1.0, 0.0]) == -1.0
    assert METRICS["cagr"]([50.0], periods=252) == math.inf


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
        ([0.1, np.nan, np.nan], "nan at position 1"),
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


DAYS = pd.bdate_range("2020-01-30", periods=300)
RETURNS = pd.Series(np.random.default_rng(0).normal(0.0005, 0.01, 300), index=DAYS)


def test_summarise_is_the_registry():
    benchmark = RETURNS.iloc[::-1].set_axis(DAYS)
    found = summarise_returns(RETURNS, benchmark=benchmark, risk_free=0.01, periods=260)
    assert list(found) == list(METRICS)
    for name, value in found.items():
        again = METRICS[name](
            RETURNS.to_numpy(), benchmark=benchmark.to_numpy(), risk_free=0.01, periods=260
        )
        assert value == again
    alone = summarise_returns(RETURNS, periods=252)
    assert {name for name, value in alone.items() if math.isnan(value)} == {
        "beta",
        "alpha",
        "information_ratio",
    }


def test_drawdown_table_by_hand():
    days = pd.bdate_range("2020-01-01", periods=8)
    returns = pd.Series([-0.1, 0.2, 0.0, -0.3, 0.1, 0.5, -0.05, 0.01], index=days)
    table = drawdown_table(returns)
    assert table["depth"].tolist() == pytest.approx([-0.3, -0.1, -0.05])
    assert table["start"].tolist() == [days[3], days[0], days[6]]
    assert table["valley"].tolist() == [days[3], days[0], days[6]]
    assert table["recovery"].tolist()[:2] == [days[5], days[1]]
    assert pd.isna(table["recovery"].iloc[2])
    assert table["sessions"].tolist() == [2, 1, 2]
    assert table["ongoing"].tolist() == [False, False, True]
    assert len(drawdown_table(returns, worst=2)) == 2
    assert drawdown_table(returns.to_numpy())["start"].tolist() == [3, 0, 6]
    assert drawdown_table([0.1, 0.2]).empty


def test_drawdown_table_covers_every_session_under_water():
    table = drawdown_table(RETURNS, worst=1000)
    assert table["sessions"].sum() == (drawdowns(RETURNS) < 0).sum()
    assert table["depth"].is_monotonic_increasing
    assert table["depth"].iloc[0] == METRICS["max_drawdown"](RETURNS)
    assert table["sessions"].max() == METRICS["longest_drawdown"](RETURNS)


def test_monthly_table_compounds():
    table = monthly_table(RETURNS)
    assert table.index.tolist() == [2020, 2021]
    assert table.columns.tolist() == [*range(1, 13), "year"]
    january = (1 + RETURNS["2020-01-30":"2020-01-31"]).prod() - 1
    assert table.loc[2020, 1] == pytest.approx(january)
    assert math.isnan(table.loc[2021, 12])
    whole = (1 + table["year"]).prod() - 1
    assert whole == pytest.approx(METRICS["total_return"](RETURNS))
    for year in table.index:
        months = (1 + table.loc[year, range(1, 13)].dropna()).prod() - 1
        assert months == pytest.approx(table.loc[year, "year"])


def test_rolling_is_blank_until_the_window_is_full():
    found = rolling("sharpe", RETURNS, periods=252, window=50)
    assert np.isnan(found[:49]).all()
    assert found[49] == METRICS["sharpe"](RETURNS[:50], periods=252)
    assert found[-1] == METRICS["sharpe"](RETURNS[-50:], periods=252)
    assert np.isnan(rolling("volatility", RETURNS, periods=252, window=301)).all()
    for name in ("sharp", "beta"):
        with pytest.raises(ConfigError, match="no rolling figure"):
            rolling(name, RETURNS, periods=252)


RNG = np.random.default_rng(0)
INDEX = pd.bdate_range("2010-01-04", periods=900)
CALM = pd.Series(RNG.normal(0.0003, 0.01, 900) * np.repeat([0.5, 2.0, 1.0], 300), INDEX)


def _by_label(returns: pd.Series) -> dict[str, np.ndarray]:
    return {f"{one.kind}: {one.label}": one.sessions for one in regimes(returns)}


def test_nothing_after_the_close_before_moves_a_session_out_of_trend_or_depth():
    """The thirds of volatility are cut over the whole span and may move; the others may not."""
    changed = CALM.copy()
    changed.iloc[600:] = 0.05
    before, after = _by_label(CALM), _by_label(changed)
    for name in before.keys() & after.keys():
        if "Volatility" not in name:
            np.testing.assert_array_equal(before[name][:601], after[name][:601])


def test_regimes_of_a_kind_part_the_sessions_whose_window_is_full():
    found = regimes(CALM)
    for kind in {one.kind for one in found}:
        parts = np.sum([one.sessions for one in found if one.kind == kind], axis=0)
        assert parts.max() == 1
        first = int(np.argmax(parts))
        assert parts[first:].all()
        if "Volatility" in kind:
            assert first == _VOLATILITY
        if "mean" in kind:
            assert first == _TREND


def test_thirds_of_volatility_are_thirds_and_in_order():
    found = {one.label: one.sessions for one in regimes(CALM) if "Volatility" in one.kind}
    counts = [found[name].sum() for name in ("lowest third", "middle third", "highest third")]
    assert max(counts) - min(counts) <= 2
    spread = CALM.rolling(_VOLATILITY).std().shift(1)
    assert spread[found["lowest third"]].max() <= spread[found["highest third"]].min()


@pytest.mark.parametrize("count", [1, 30])
def test_short_or_even_markets_have_no_regimes(count):
    assert regimes(CALM.head(count)) == [] or count > 1
    assert not [one for one in regimes(CALM * 0.0) if "mean" in one.kind or "high" in one.kind]
