"""A page's columns lie on grids that are fine enough for every figure made from them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.reporting.embedded import gather, packed, rounded, unpacked
from quantseq.reporting.run import Run
from quantseq.trading.measures import METRICS
from quantseq.trading.performance import summarise


def _with(run: Run, **columns: Any) -> Run:
    return replace(run, equity=run.equity.assign(**columns))


def test_every_return_keeps_its_sign_on_the_page(run: Run) -> None:
    net = run.equity["strategy_net"].to_numpy().copy()
    net[5:200:7] = 1e-12  # a holiday of one of two calendars
    net[6:200:7] = 0.0
    many = _with(run, strategy_net=net, **{"rival:r": net})
    found = unpacked(packed(gather(rounded(many)))).equity
    for name in ("strategy_net", "rival:r"):
        np.testing.assert_array_equal(np.sign(found[name]), np.sign(net))
        assert np.abs(np.cumsum(found[name] - net)).max() <= 1e-4
    assert METRICS["hit_rate"](found["rival:r"]) == METRICS["hit_rate"](net)


def test_many_small_returns_in_a_row_do_not_distort_the_next_large_one(run: Run) -> None:
    cash = run.equity["buy_and_hold"].to_numpy().copy()
    cash[100:400] = 4e-7  # out of the market, at 0.01 % a year
    found = rounded(_with(run, **{"rival:r": cash})).equity["rival:r"]
    assert np.abs(found - cash).max() <= 1e-5
    assert (found > 0).equals(pd.Series(cash > 0))


@pytest.mark.parametrize("apart", [0.0, 2e-5])
def test_a_rival_near_buy_and_hold_keeps_its_distance(run: Run, apart: float) -> None:
    held = run.equity["buy_and_hold"].to_numpy()
    near = held + np.random.default_rng(0).normal(apart / 4, apart, len(held)) * (apart > 0)
    found = unpacked(packed(gather(rounded(_with(run, **{"rival:r": near}))))).equity
    stored = METRICS["information_ratio"](near, benchmark=held)
    again = METRICS["information_ratio"](found["rival:r"], benchmark=found["buy_and_hold"])
    assert again == pytest.approx(stored, abs=2e-3, nan_ok=True)
    assert np.isnan(stored) == (apart == 0)


def test_a_column_that_lies_on_a_grid_is_embedded_on_it_whatever_its_deviation(run: Run) -> None:
    exact = rounded(_with(run, **{"rival:r": run.equity["strategy_net"]}))
    exact.equity["rival:r"] *= 1e-2  # a thousandth of a step at its old deviation
    exact = replace(
        exact, equity=exact.equity.assign(**{"rival:r": exact.equity["rival:r"].round(9)})
    )
    found = unpacked(packed(gather(exact))).equity
    np.testing.assert_array_equal(found["rival:r"], exact.equity["rival:r"])


@pytest.mark.parametrize("days", [30, 60, 120, 250, 1000])
def test_figures_of_a_rival_follow_from_the_page_however_short_the_run(run: Run, days: int) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        net = rng.standard_t(5, days) * 0.004
        short = replace(run, equity=run.equity.iloc[:days].assign(**{"rival:r": net}))
        found = unpacked(packed(gather(rounded(short)))).equity["rival:r"]
        stored, again = summarise(net), summarise(found)
        for name, value in stored.items():
            if METRICS[name].unit != "sessions" and np.isfinite(value):
                assert again[name] == pytest.approx(value, rel=2e-3, abs=2e-3), name
