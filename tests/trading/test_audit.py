"""Every check passes an honest line and catches the leak that it is there for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.market.bars import Bars, Dates, Panel
from quantseq.trading.audit import (
    KEPT,
    REWRITES,
    Check,
    Fit,
    Trace,
    cut_points,
    fill_timing,
    fit_window,
    future_corruption,
    in_words,
    prefix_invariance,
    rewritten,
    warm_up,
)
from quantseq.trading.backtest import backtest
from quantseq.trading.broker.account import BacktestResult
from quantseq.trading.broker.costs import Costs
from quantseq.trading.policy import changed
from tests.prices import simulate_bars, simulate_panel

PANEL = Panel([*simulate_panel("AB", 1200).values(), simulate_bars("Y", 700, start="2017-01-02")])
CUTS = cut_points(PANEL.sessions[400:], 3)
FREE = Costs(cost_bps=0, borrow_bps=0)
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


@pytest.mark.parametrize("check", [prefix_invariance, future_corruption])
def test_an_honest_line_passes(check: Callable[..., Check]) -> None:
    steps: list[int] = []
    found = check(make_line(), PANEL, CUTS, step=lambda: steps.append(1))
    assert found.passed, found.reading
    assert "not a bit of scale, tokens, weights moved" in found.reading
    assert len(steps) == len(CUTS) == 3


@pytest.mark.parametrize("leak", SCALES)
@pytest.mark.parametrize("check", [prefix_invariance, future_corruption])
def test_a_scale_that_sees_the_future_is_caught(leak: str, check: Callable[..., Check]) -> None:
    found = check(make_line(scale=SCALES[leak]), PANEL, CUTS)
    assert not found.passed
    assert "rows of scale, the first of" in found.reading


@pytest.mark.parametrize("check", [prefix_invariance, future_corruption])
def test_bins_of_all_data_and_weights_moved_by_one_are_caught(check: Callable[..., Check]) -> None:
    bins = check(make_line(bins=lambda z: np.floor(4 * z.rank(pct=True))), PANEL, CUTS)
    assert not bins.passed
    assert "of tokens" in bins.reading
    early = make_line(decide=lambda tokens: tokens.rolling(5).mean().shift(-1))
    moved = check(early, PANEL, CUTS)
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


@pytest.mark.parametrize("how", REWRITES)
def test_a_rewritten_panel_keeps_every_bit_up_to_the_cut(how: str) -> None:
    cut = CUTS[1]
    other = rewritten(PANEL, cut, how, seed=3)
    assert other.until(cut).sha256 == PANEL.until(cut).sha256
    for symbol, bars in other.items():
        late = bars.sessions > cut
        old = PANEL[symbol].close[np.isin(PANEL[symbol].sessions, bars.sessions[late])]
        if how == "half missing":
            assert 0.3 < late.sum() / (PANEL[symbol].sessions > cut).sum() < 0.7
            assert (bars.close[late] == old).all()
        else:
            assert (bars.close[late] != old).all()
            assert (bars.volume[late] != PANEL[symbol].volume[PANEL[symbol].sessions > cut]).any()


def day(place: int) -> np.datetime64:
    return PANEL.sessions[place]


def test_the_fit_window_must_end_more_than_a_horizon_before_the_test() -> None:
    good = [Fit("a", day(494), day(500), "x", "x"), Fit("b", day(300), day(500))]
    found = fit_window(good, PANEL.sessions, horizon=5)
    assert found.passed
    assert "at least 6 sessions before" in found.reading
    assert "1 fitted again on prices rewritten after their window are the same" in found.reading
    late = fit_window([*good, Fit("late", day(495), day(500))], PANEL.sessions, horizon=5)
    assert not late.passed
    assert late.reading.startswith(f"late has seen {day(495)}, 5 sessions before its test")


def test_a_fit_that_changes_with_later_prices_is_caught() -> None:
    liar = Fit("liar", day(300), day(500), "x", "y")
    found = fit_window([liar], PANEL.sessions, horizon=5)
    assert not found.passed
    assert f"liar changes with prices after {day(300)}" in found.reading
    assert not fit_window([], PANEL.sessions, horizon=5).passed


def moments_with(scale: Callable[[Series], Series]) -> Callable[[Panel, Dates], pd.DataFrame]:
    def moments(panel: Panel, days: Dates) -> pd.DataFrame:
        rows = []
        for symbol, bars in panel.items():
            std = scale(pd.Series(np.nan_to_num(bars.log_returns()))).to_numpy()
            at = np.flatnonzero(np.isin(bars.sessions, days))
            rows += [
                {"symbol": symbol, "cutoff": bars.sessions[i], "mean": 0.0, "std": std[i]}
                for i in at
            ]
        return pd.DataFrame(rows).assign(prob_up=0.5)

    return moments


def test_a_memory_that_never_fades_is_caught() -> None:
    days = PANEL.sessions[[1000, 1100, 1190]]
    fading = warm_up(moments_with(ewma), PANEL, days)
    assert fading.passed, fading.reading
    assert f"With {KEPT} sessions of history" in fading.reading
    for scale in (lambda r: r.expanding().std(), lambda r: ewma(r) / r.abs().iloc[1]):
        endless = warm_up(moments_with(scale), PANEL, days, tolerance=0.01)
        assert not endless.passed, endless.reading


def test_too_short_a_history_is_told_not_tested() -> None:
    found = warm_up(moments_with(ewma), PANEL, PANEL.sessions[[300, KEPT]])
    assert found.passed
    assert found.reading.startswith("Not tested: no decision has more than 756 sessions")


@pytest.fixture(scope="module")
def weights() -> pd.DataFrame:
    days = pd.DatetimeIndex(PANEL.sessions[800:].astype("datetime64[s]"))
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.uniform(0, 0.3, (len(days), 3)), days, list(PANEL.symbols))


def account(fill: Any = "open") -> Any:
    def trade(panel: Panel, weights: pd.DataFrame, *, start: Any = None) -> BacktestResult:
        return backtest(panel, weights, costs=FREE, fill=fill, start=start, trade=changed(weights))

    return trade


@pytest.mark.parametrize("fill", ["open", "close"])
def test_the_account_earns_nothing_early(fill: str, weights: pd.DataFrame) -> None:
    found = fill_timing(account(fill), PANEL, weights, CUTS[-2:])
    assert found.passed, found.reading
    assert found.reading.startswith("2 decisions, changed one at a time")


def test_a_fill_at_the_decisions_own_close_is_caught(weights: pd.DataFrame) -> None:
    def at_own_close(panel: Panel, weights: pd.DataFrame, **options: Any) -> BacktestResult:
        return account()(Panel(map(open_at_last_close, panel.values())), weights, **options)

    def open_at_last_close(bars: Bars) -> Bars:
        last = np.concatenate([bars.adj_close[:1], bars.adj_close[:-1]])
        return replace(bars, open=last / (bars.adj_close / bars.close))

    found = fill_timing(at_own_close, PANEL, weights, CUTS[-1:])
    assert not found.passed
    assert "earns the gap into" in found.reading


def test_a_decision_that_is_filled_a_session_early_is_caught(weights: pd.DataFrame) -> None:
    def early(panel: Panel, weights: pd.DataFrame, **options: Any) -> BacktestResult:
        before = PANEL.sessions[
            np.searchsorted(PANEL.sessions, weights.index.to_numpy().astype("datetime64[D]")) - 1
        ]
        moved = weights.set_axis(pd.DatetimeIndex(before.astype("datetime64[s]")))
        return account()(panel, moved, **options)

    found = fill_timing(early, PANEL, weights, CUTS[-1:])
    assert not found.passed
    assert "moves returns up to its own close" in found.reading


def test_cut_points_are_decisions_spread_over_the_test() -> None:
    days = PANEL.sessions[500:]
    cuts = cut_points(np.repeat(days, 3), 4)
    assert len(cuts) == 4
    assert np.isin(cuts, days).all()
    assert cuts[-1] < days[-1]
    assert len(cut_points(days[:2], 9)) <= 2


def test_the_badge_names_what_failed() -> None:
    good, bad = Check("fine", True, ""), Check("broken", False, "")
    assert in_words([good]) == "passed"
    assert in_words([good, bad, replace(bad, name="worse")]) == "failed: broken, worse"
