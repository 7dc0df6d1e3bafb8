"""The tables: all figures at once, drawdowns, months, rolling windows."""

import math

import numpy as np
import pandas as pd
import pytest

from quantseq.errors import ConfigError
from quantseq.trading.performance import (
    METRICS,
    drawdown_table,
    drawdowns,
    monthly_table,
    rolling,
    summarise,
)

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
