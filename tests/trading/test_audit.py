"""Every check passes an honest line and catches the leak that it is there for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.market.bars import Panel
from quantseq.trading.account import BacktestResult
from quantseq.trading.audit import (
    DELAYS,
    Trace,
    cut_points,
    fit_window,
    lag_curve,
    noise_after,
    placebos,
    prefix_invariance,
    refit,
)
from quantseq.trading.backtest import simulate
from quantseq.trading.benchmarks import random_entries
from quantseq.trading.costs import Costs
from quantseq.trading.metrics import METRICS
from quantseq.trading.policies import changed
from tests.prices import simulate_bars, simulate_panel

PANEL = Panel([*simulate_panel("AB", 1200).values(), simulate_bars("Y", 700, start="2017-01-02")])
CUTS = cut_points(PANEL.sessions[400:], 3)
Series = Any


def ewma(returns: Series) -> Series:
    return returns.ewm(alpha=0.06).std()


SCALES: dict[str, Callable[[Series], Series]] = {
    "sigma that knows the next return": lambda r: ewma(r).shift(-1),
    "centred smoothing": lambda r: r.rolling(21, center=True, min_periods=2).std(),
    "standardised by all of history": lambda r: ewma(r) / r.std(),
    "gaps filled from the future": lambda r: ewma(r).where(np.arange(len(r)) % 3 > 0).bfill(),
}


def make_line(
    scale: Callable[[Series], Series] = ewma,
    bins: Callable[[Series], Series] = lambda z: z.clip(-2, 2).round(),
    decide: Callable[[Series], Series] = lambda tokens: tokens.rolling(5).mean(),
) -> Callable[[Panel, np.datetime64], Trace]:
    """A small line: scale, tokens and weights of every session up to the date."""

    def line(panel: Panel, cut: np.datetime64) -> Trace:
        parts: dict[str, list[pd.DataFrame]] = {"scale": [], "tokens": [], "weights": []}
        for symbol, bars in panel.items():
            days = pd.DatetimeIndex(bars.sessions.astype("datetime64[s]"))
            returns = pd.Series(np.nan_to_num(bars.log_returns()), days)
            sigma = scale(returns)
            tokens = bins((returns / sigma.shift(1)).fillna(0.0).replace(np.inf, 0.0))
            made = {"scale": sigma, "tokens": tokens, "weights": decide(tokens)}
            for stage, values in made.items():
                index = pd.MultiIndex.from_product([days, [symbol]])
                parts[stage].append(pd.DataFrame(values.to_numpy(), index=index))
        return {stage: pd.concat(frames) for stage, frames in parts.items()}

    return line


def test_an_honest_line_passes() -> None:
    found = prefix_invariance(make_line(), PANEL, CUTS)
    assert found.passed, found.reading
    assert "not a bit of scale, tokens, weights moved" in found.reading


@pytest.mark.parametrize("leak", SCALES)
def test_a_scale_that_sees_the_future_is_caught(leak: str) -> None:
    found = prefix_invariance(make_line(scale=SCALES[leak]), PANEL, CUTS)
    assert not found.passed
    assert "rows of scale, the first of" in found.reading


def test_bins_of_all_data_and_weights_moved_by_one_are_caught() -> None:
    ranked = make_line(bins=lambda z: np.floor(4 * z.rank(pct=True)))
    bins = prefix_invariance(ranked, PANEL, CUTS)
    assert not bins.passed
    assert "of tokens" in bins.reading
    early = make_line(decide=lambda tokens: tokens.rolling(5).mean().shift(-1))
    moved = prefix_invariance(early, PANEL, CUTS)
    assert not moved.passed
    assert "of weights" in moved.reading


def test_what_the_run_itself_made_is_what_is_compared() -> None:
    line = make_line()
    honest = prefix_invariance(line, PANEL, CUTS, known=lambda cut: line(PANEL, cut))
    assert honest.passed
    other = make_line(scale=lambda r: r.ewm(alpha=0.0601).std())
    assert not prefix_invariance(line, PANEL, CUTS, known=lambda cut: other(PANEL, cut)).passed


def test_a_row_that_is_there_only_with_the_future_is_caught() -> None:
    def line(panel: Panel, cut: np.datetime64) -> Trace:
        made = make_line()(panel, cut)
        known = panel.sessions[-1] > cut
        return {"scale": made["scale"] if known else made["scale"].iloc[:-1]}

    assert not prefix_invariance(line, PANEL, CUTS[:1]).passed


def test_a_last_bit_counts_and_nothing_compared_is_no_pass() -> None:
    def drifting(panel: Panel, cut: np.datetime64) -> Trace:
        made = make_line()(panel, cut)["scale"]
        return {"scale": made * (1 + 1e-16 * 3 * (len(panel.sessions) == len(PANEL.sessions)))}

    assert not prefix_invariance(drifting, PANEL, CUTS).passed
    empty = prefix_invariance(lambda panel, cut: {}, PANEL, CUTS)
    assert not empty.passed
    assert "not a single row" in empty.reading


def test_a_noisy_future_keeps_every_bit_up_to_the_cut() -> None:
    cut = CUTS[1]
    other = noise_after(PANEL, cut, seed=3)
    assert other.until(cut).sha256 == PANEL.until(cut).sha256
    for symbol, bars in other.items():
        late = bars.sessions > cut
        assert (bars.close[late] != PANEL[symbol].close[late]).all()
        assert (bars.volume[late] != PANEL[symbol].volume[late]).any()
    assert noise_after(PANEL, cut, seed=4) != other


def day(place: int) -> np.datetime64:
    return PANEL.sessions[place]


def test_the_fit_window_must_end_more_than_a_horizon_before_the_test() -> None:
    good = {"a": (day(494), day(500)), "b": (day(300), day(500))}
    found = fit_window(good, PANEL.sessions, horizon=5)
    assert found.passed
    assert "at least 6 sessions before" in found.reading
    late = fit_window({**good, "late": (day(495), day(500))}, PANEL.sessions, horizon=5)
    assert not late.passed
    assert late.reading.startswith(f"late has seen {day(495)}, 5 sessions before its test")
    assert not fit_window({}, PANEL.sessions, horizon=5).passed


def test_a_fit_that_looks_behind_its_window_is_caught() -> None:
    def fitted(panel: Panel, until: np.datetime64) -> str:
        return panel.until(until).sha256

    states = {}
    for name, reach in (("honest", 300), ("peeking", 301)):
        both = (fitted(one, day(reach)) for one in (PANEL, noise_after(PANEL, day(300))))
        states[name] = tuple(both)
    assert refit({"honest": states["honest"]}).passed
    found = refit(states)
    assert not found.passed
    assert found.reading == "peeking changes with prices after its window."
    assert not refit({}).passed


def test_cut_points_are_decisions_spread_over_the_test() -> None:
    days = PANEL.sessions[500:]
    cuts = cut_points(np.repeat(days, 3), 4)
    assert len(cuts) == 4
    assert np.isin(cuts, days).all()
    assert cuts[-1] < days[-1]
    assert len(cut_points(days[:2], 9)) <= 2


# ------------------------------------------------------------------------ lag curve, placebos


def trade(
    panel: Panel, weights: pd.DataFrame, *, start: Any = None, trade: pd.DataFrame | None = None
) -> BacktestResult:
    mask = changed(weights) if trade is None else trade
    return simulate(panel, weights, costs=Costs(periods=365), start=start, trade=mask)


def decided(panel: Panel, signal: np.ndarray, first: int = 500) -> pd.DataFrame:
    days = pd.DatetimeIndex(panel.sessions[first:].astype("datetime64[s]"))
    side = np.nan_to_num(np.sign(signal[first:])) / signal.shape[1]
    return pd.DataFrame(side, days, list(panel.symbols))


def held_returns(panel: Panel) -> np.ndarray:
    """What a position decided at t holds: open t+1 to open t+2; the future, in other words."""
    opened = panel.matrix("open")
    ahead = np.full_like(opened, np.nan)
    ahead[:-2] = opened[2:] / opened[1:-1] - 1
    return ahead


def past_returns(panel: Panel) -> np.ndarray:
    close = panel.matrix("close")
    past = np.full_like(close, np.nan)
    past[20:] = close[20:] / close[:-20] - 1
    return past


HONEST = decided(PANEL, past_returns(PANEL))


def test_honest_decisions_lose_little_by_waiting() -> None:
    curve, found = lag_curve(trade, PANEL, HONEST)
    assert [one["delay"] for one in curve] == list(DELAYS)
    assert found.passed, found.reading
    assert "no cliff" in found.reading


def test_decisions_that_know_tomorrow_fall_off_a_cliff() -> None:
    curve, found = lag_curve(trade, PANEL, decided(PANEL, held_returns(PANEL)))
    assert not found.passed
    assert "a cliff, as if the next session had been known" in found.reading
    assert curve[0]["sharpe"] > 5 > 2 > curve[1]["sharpe"]


def test_delay_0_is_the_run_in_its_own_year_and_all_delays_have_its_sessions() -> None:
    plain = trade(PANEL, HONEST)
    seen: list[BacktestResult] = []

    def watched(panel: Panel, weights: pd.DataFrame, **options: Any) -> BacktestResult:
        seen.append(trade(panel, weights, **options))
        return seen[-1]

    curve, _ = lag_curve(watched, PANEL, HONEST)
    np.testing.assert_array_equal(seen[0].returns_net, plain.returns_net)
    assert curve[0]["sharpe"] == METRICS["sharpe"](plain.returns_net, periods=365)
    for delay, one in zip(DELAYS, seen, strict=True):
        np.testing.assert_array_equal(one.sessions, plain.sessions)
        assert not one.returns_net[:delay].any()


def test_nothing_held_has_no_curve_no_cliff_and_no_placebo() -> None:
    curve, found = lag_curve(trade, PANEL, 0 * HONEST)
    assert np.isnan([one["sharpe"] for one in curve]).all()
    assert found.passed
    assert "undefined at 0" in found.reading
    flat = trade(PANEL, 0 * HONEST).returns_net
    placebo, rank, check = placebos(trade, PANEL, 0 * HONEST, flat, [flat, flat])
    assert (placebo["n"], check.passed) == (0, True)
    assert np.isnan([placebo["sharpe"], rank]).all()


def entries(account: Any, weights: pd.DataFrame) -> list[np.ndarray]:
    made = random_entries(weights, changed(weights), seed=1, draws=20)
    return [account(PANEL, moved, trade=mask).returns_net for moved, mask in made]


@pytest.mark.parametrize("weights", [HONEST, HONEST.abs(), -HONEST.abs()], ids=["both", "+", "-"])
def test_random_times_earn_what_the_mean_book_does(weights: pd.DataFrame) -> None:
    net = trade(PANEL, weights).returns_net
    placebo, rank, check = placebos(trade, PANEL, weights, net, entries(trade, weights))
    assert check.passed, check.reading
    assert "(t = " in check.reading
    assert placebo["low"] <= placebo["sharpe"] <= placebo["high"]
    assert placebo["n"] == 20
    assert 0 <= rank <= 1


def test_an_account_that_pays_at_random_times_too_is_caught() -> None:
    """It fills a trade at the better one of two prices: whatever is traded earns."""

    def generous(panel: Panel, weights: pd.DataFrame, **options: Any) -> BacktestResult:
        result = trade(panel, weights, **options)
        return replace(result, returns_net=result.returns_net + 0.002 * result.turnover)

    net = generous(PANEL, HONEST).returns_net
    *_, check = placebos(generous, PANEL, HONEST, net, entries(generous, HONEST))
    assert not check.passed
    assert "the account pays for what nobody decided" in check.reading


def test_the_place_of_the_real_result_among_placebos() -> None:
    rng = np.random.default_rng(0)
    book = trade(PANEL, HONEST).returns_net
    draws = [rng.normal(0.0, 0.01, len(book)) for _ in range(10)]
    best = np.max([one.mean() / one.std() for one in draws])
    shift = (best + 1) * 0.01

    def rank(net: np.ndarray, among: list[np.ndarray]) -> float:
        return placebos(trade, PANEL, HONEST, net, among)[1]

    assert rank(draws[0] + shift, draws) == 1.0
    assert rank(draws[0] - shift, draws) == 0.0
    assert rank(draws[0] * (1 + 1e-13), [draws[0]] * 4) == 0.5
    assert rank(draws[0], [draws[0]] * 4 + [draws[0] - 1e-4] * 4) == 0.75
    assert np.isnan(rank(np.zeros(len(book)), draws))
