"""The tables: all figures at once, drawdowns, months, rolling windows."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.trading.performance import (
    METRICS,
    align,
    drawdown_table,
    drawdowns,
    monthly_table,
    rolling,
    summarise,
)

quick = settings(deadline=None, max_examples=30)
DAYS = pd.bdate_range("2020-01-30", periods=300)
RETURNS = pd.Series(np.random.default_rng(0).normal(0.0005, 0.01, 300), index=DAYS)


def test_summarise_is_the_registry():
    benchmark = RETURNS.iloc[::-1].set_axis(DAYS)
    found = summarise(RETURNS, benchmark=benchmark, risk_free=0.01, periods=260)
    assert list(found) == list(METRICS)
    for name, value in found.items():
        again = METRICS[name](
            RETURNS.to_numpy(), benchmark=benchmark.to_numpy(), risk_free=0.01, periods=260
        )
        assert value == again
    alone = summarise(RETURNS)
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
    found = rolling("sharpe", RETURNS, window=50)
    assert np.isnan(found[:49]).all()
    assert found[49] == METRICS["sharpe"](RETURNS[:50])
    assert found[-1] == METRICS["sharpe"](RETURNS[-50:])
    assert np.isnan(rolling("volatility", RETURNS, window=301)).all()
    for name in ("sharp", "beta"):
        with pytest.raises(ConfigError, match="no rolling figure"):
            rolling(name, RETURNS)


@quick
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.5, 0.8, 1.0]))
def test_aligned_returns_compound_to_what_each_earned(seed, share):
    """Every session is in an interval or counted, and no return of a common span is lost."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2020-01-01", periods=40)
    own, other = (
        pd.Series(rng.normal(0, 0.02, 40), days)[rng.random(40) < share] for _ in range(2)
    )
    common = own.index.intersection(other.index)
    if len(common) < 2:
        return
    both = align(own, other)
    np.testing.assert_array_equal(both.returns.index, both.benchmark.index)
    kept = len(both.returns)
    total = len(own) + len(other)
    assert 2 * kept + both.merged + both.dropped_returns + both.dropped_benchmark == total
    whole = own.index[0] == other.index[0]
    for found, series in ((both.returns, own), (both.benchmark, other)):
        span = series.loc[common[0] : common[-1]]
        span = span if whole else span.iloc[1:]
        assert np.prod(1 + found) == pytest.approx(np.prod(1 + span))
    if share == 1.0:
        pd.testing.assert_series_equal(both.returns, own, check_freq=False)


def test_a_holiday_of_one_exchange_is_compounded_not_dropped():
    days = pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-06"])
    own = pd.Series([0.1, 0.1, 0.1, 0.1], days)
    other = pd.Series([0.2, 0.2, 0.2], days[[0, 2, 3]])
    both = align(own, other)
    np.testing.assert_allclose(both.returns, [0.1, 0.21, 0.1])
    np.testing.assert_allclose(both.benchmark, [0.2, 0.2, 0.2])
    assert (both.merged, both.dropped_returns, both.dropped_benchmark) == (1, 0, 0)
    late = align(own, other.iloc[1:])
    np.testing.assert_allclose(late.returns, [0.1])  # the benchmark's first interval is unknown
    assert (late.dropped_returns, late.dropped_benchmark) == (3, 1)
    with pytest.raises(ConfigError, match="no common interval"):
        align(own, other.set_axis(other.index + pd.Timedelta(days=90)))
    with pytest.raises(ConfigError, match="increasing dates"):
        align(own.iloc[::-1], other)
