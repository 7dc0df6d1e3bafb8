import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from arch import arch_model
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import BarsError, ConfigError, NotEnoughDataError
from quantseq.files import to_json
from quantseq.forecasting.volatility import (
    HUBER,
    LONG_WINDOW,
    MIN_OWN_ROWS,
    RELATIVE_CEILING,
    RELATIVE_FLOOR,
    RISKMETRICS_DECAY,
    SCALES,
    VARIANCE_FLOOR,
    HarModel,
    Scale,
    SymbolFeatures,
    aligned_returns,
    backcast,
    daily_variance,
    ewma,
    ewma_scale,
    features,
    gjr_variances,
    has_ticks,
    median_over_symbols,
    rolling_mean,
    tick_widths,
)
from quantseq.market.bars import Bars, Panel
from tests.forecasting.broken import glitch, only_closes, stale
from tests.prices import TOKYO, rewrite_after, simulate_bars, simulate_panel

law = settings(deadline=None, max_examples=20)
PANEL = simulate_panel("ABC", 220)


def same_until(left: SymbolFeatures, right: SymbolFeatures, n: int) -> bool:
    """Whether the first n rows of every feature are equal bit for bit."""
    return all(
        getattr(left, one.name)[:n].tobytes() == getattr(right, one.name)[:n].tobytes()
        for one in fields(SymbolFeatures)
        if one.name not in ("market", "calendar")
    )


def slow_har(panel: Panel, symbol: str, i: int) -> list[float]:
    """The features of session i, written as the definition reads."""
    logs = {s: np.log(daily_variance(bars)) for s, bars in panel.items()}
    day = panel[symbol].sessions[i]

    def mean(values: np.ndarray, end: int, window: int) -> float:
        return float(np.mean(values[end - window + 1 : end + 1]))

    def excess(session: np.datetime64) -> float:
        found = []
        for s, bars in panel.items():
            where = np.flatnonzero(bars.sessions == session)
            if len(where) and where[0] >= LONG_WINDOW - 1:
                found.append(logs[s][where[0]] - mean(logs[s], where[0], LONG_WINDOW))
        return float(np.median(found)) if found else np.nan

    own, base = logs[symbol], mean(logs[symbol], i, LONG_WINDOW)
    z = panel[symbol].log_returns()[i] / np.exp(mean(own, i, 22) / 2)
    z = float(np.clip(z, -8, 8))
    place = int(np.searchsorted(panel.sessions, day))
    week = np.nanmean([excess(d) for d in panel.sessions[place - 4 : place + 1]])
    means = [mean(own, i, window) for window in (1, 5, 22, 120)]
    return [1.0, *means, min(z, 0), max(z, 0), base + excess(day), base + float(week)]


@given(st.integers(1, 219))
@law
def test_every_scale_and_feature_is_the_same_when_the_future_is_cut_off(n: int) -> None:
    for symbol, bars in PANEL.items():
        cut = bars.until(bars.sessions[n - 1])
        assert daily_variance(cut).tobytes() == daily_variance(bars)[:n].tobytes()
        returns = bars.log_returns()
        assert ewma_scale(cut.log_returns()).tobytes() == ewma_scale(returns)[:n].tobytes()
        assert rolling_mean(cut.volume, 20).tobytes() == rolling_mean(bars.volume, 20)[:n].tobytes()
        short = features(PANEL.until(bars.sessions[n - 1]))[symbol]
        assert same_until(short, features(PANEL)[symbol], n)


@given(st.integers(0, 218), st.integers(0, 99))
@law
def test_features_do_not_see_later_bars_that_are_rewritten(n: int, seed: int) -> None:
    other = features(rewrite_after(PANEL, PANEL.sessions[n], seed=seed))
    for symbol, one in features(PANEL).items():
        assert same_until(one, other[symbol], n + 1)


def test_features_equal_their_definition_with_gaps_and_late_starters() -> None:
    whole = simulate_panel("AB", 200)
    gone = np.ones(200, bool)
    gone[[125, 160, 161]] = False
    late = simulate_bars("C", 150, start=str(whole.sessions[45]))
    holes = Bars(
        "B",
        **{
            name: getattr(whole["B"], name)[gone]
            for name in (
                "sessions",
                "open",
                "high",
                "low",
                "close",
                "adj_close",
                "volume",
                "dividends",
                "splits",
            )
        },
        timezone=whole["B"].timezone,
    )
    panel = Panel([whole["A"], holes, late])
    for symbol, one in features(panel).items():
        assert np.isnan(one.har[: LONG_WINDOW - 1]).all()
        for i in (LONG_WINDOW - 1, LONG_WINDOW + 5, len(one.sessions) - 1):
            np.testing.assert_allclose(one.har[i], slow_har(panel, symbol, i), rtol=1e-9, atol=1e-9)


def test_the_market_is_made_by_its_members_alone() -> None:
    panel = simulate_panel("ABC", 300)
    members, other = panel.select("AB"), simulate_bars("X", 300, seed=9)
    alone = features(members)
    together = features(Panel([other, *panel.values()]), members=("A", "B"))
    for symbol in "AB":
        assert same_until(alone[symbol], together[symbol], 300)
    other_market = features(Panel([*members.values(), panel["C"]]))["C"]
    assert (together["C"].har[200] != other_market.har[200]).any()


def test_a_symbol_stands_in_for_its_market_where_no_member_traded() -> None:
    panel = simulate_panel("AB", 300)
    late = Panel([panel["A"], panel["B"].between(panel.sessions[200])])
    found, alone = features(late, members=("B",))["A"], features(late.select("A"))["A"]
    assert same_until(found, alone, 200)
    assert same_until(features(late.select("A"), members=("B",))["A"], alone, 300)


def test_peers_in_other_time_zones_are_never_used() -> None:
    here = simulate_panel("AB", 200)
    there = [simulate_bars(symbol, 200, timezone=TOKYO) for symbol in "XY"]
    alone, together = features(here), features(Panel([there[0], *here.values(), there[1]]))
    assert list(together) == ["X", "A", "B", "Y"]
    for symbol in "AB":
        assert same_until(alone[symbol], together[symbol], 200)


@pytest.mark.parametrize("first", [True, False])
def test_a_symbol_that_starts_later_changes_no_earlier_bit(first: bool) -> None:
    old = simulate_panel("AB", 300)
    new = simulate_bars("N", 150, start=str(old.sessions[150]))
    order = [new, *old.values()] if first else [*old.values(), new]
    before, after = features(old), features(Panel(order))
    for symbol in "AB":
        assert same_until(before[symbol], after[symbol], 150)
        assert (before[symbol].har[290] != after[symbol].har[290]).any()


def test_garman_klass_and_the_overnight_gap_by_hand() -> None:
    bars = simulate_bars("A", 2)
    gap = np.log(bars.open[1] / bars.close[0])
    spread = np.log(bars.high[1] / bars.low[1])
    body = np.log(bars.close[1] / bars.open[1])
    expected = gap**2 + 0.5 * spread**2 - (2 * np.log(2) - 1) * body**2
    assert daily_variance(bars)[1] == pytest.approx(expected)


def test_without_ranges_the_variance_is_the_squared_return() -> None:
    bars = simulate_bars("A", 60)
    closes = only_closes(bars, bars.close)
    squares = closes.log_returns()[1:] ** 2
    variance = daily_variance(closes)[1:]
    lifted = variance > squares * (1 + 1e-9)
    np.testing.assert_allclose(variance[~lifted], squares[~lifted])
    assert lifted.mean() < 0.5


def test_a_flat_series_sinks_to_the_floor_and_no_lower() -> None:
    bars = simulate_bars("A", 400)
    variance = daily_variance(only_closes(bars, np.full(400, 7.0)))
    assert variance.min() == VARIANCE_FLOOR == variance[-1]
    flat = only_closes(bars, np.full(400, 7.0)).log_returns()
    assert (ewma_scale(flat)[1:] == np.sqrt(VARIANCE_FLOOR)).all()


@given(st.lists(st.booleans(), min_size=3, max_size=60))
@law
def test_a_stale_price_is_lifted_to_a_share_of_its_recent_average(stale: list[bool]) -> None:
    bars = simulate_bars("A", len(stale))
    close = bars.close.copy()
    for i in range(1, len(stale)):
        if stale[i]:
            close[i] = close[i - 1]
    variance = daily_variance(only_closes(bars, close))
    recent = max(0.0, 1e-4)
    for i, value in enumerate(variance):
        assert value >= max(RELATIVE_FLOOR * recent, VARIANCE_FLOOR)
        recent = RISKMETRICS_DECAY * recent + (1 - RISKMETRICS_DECAY) * variance[i]


def test_ewma_equals_its_recursion() -> None:
    values = np.random.default_rng(0).random(50)
    average, expected = 0.3, []
    for value in values:
        average = 0.9 * average + 0.1 * value
        expected.append(average)
    np.testing.assert_allclose(ewma(values, 0.9, 0.3), expected, rtol=1e-13)


def test_the_ewma_scale_starts_with_the_first_return() -> None:
    bars = simulate_bars("A", 30)
    returns = bars.log_returns()
    scale = ewma_scale(returns)
    assert np.isnan(scale[0])
    assert scale[1] == pytest.approx(abs(returns[1]))
    assert scale[2] ** 2 == pytest.approx(0.94 * returns[1] ** 2 + 0.06 * returns[2] ** 2)


@given(st.integers(1, 30), st.integers(0, 30))
@law
def test_a_rolling_mean_has_no_value_before_its_window_is_full(window: int, n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    means = rolling_mean(values, window)
    assert np.isnan(means[: window - 1]).all()
    for i in range(window - 1, n):
        assert means[i] == pytest.approx(values[i - window + 1 : i + 1].mean())


def test_medians_over_symbols_leave_out_who_has_no_value() -> None:
    days = np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]")
    parts = {
        "A": (days, np.array([1.0, np.nan, np.nan, 4.0])),
        "B": (days[:2], np.array([3.0, 5.0])),
        "C": (days, np.array([9.0, 6.0, np.nan, np.nan])),
    }
    known, median = median_over_symbols(parts)
    np.testing.assert_array_equal(known, days)
    np.testing.assert_array_equal(median, [3, 5.5, np.nan, 4])


def test_future_returns_stand_beside_the_session_that_would_forecast_them() -> None:
    ahead = aligned_returns(np.array([np.nan, 1.0, 2.0, 3.0]), 3)
    np.testing.assert_array_equal(
        ahead, [[1, 2, 3], [2, 3, np.nan], [3, np.nan, np.nan], [np.nan] * 3]
    )


@given(st.integers(0, 4), st.integers(1, 6))
@law
def test_short_series_have_unknown_future_returns(n: int, horizon: int) -> None:
    ahead = aligned_returns(np.arange(n, dtype=float), horizon)
    assert ahead.shape == (n, horizon)
    for i in range(n):
        for h in range(1, horizon + 1):
            assert np.array_equal(ahead[i, h - 1], i + h if i + h < n else np.nan, equal_nan=True)


def test_a_glitch_is_cut_to_a_multiple_of_what_was_usual() -> None:
    bars = simulate_bars("A", 60)
    variance, usual = daily_variance(glitch(bars, 40)), daily_variance(bars)
    assert usual[40] < variance[40] <= RELATIVE_CEILING * usual[:40].max()
    assert variance[45] < RELATIVE_CEILING * usual[:40].max()


def test_only_daily_bars_are_forecast() -> None:
    weeks = np.datetime64("2010-01-04") + 7 * np.arange(300)
    with pytest.raises(BarsError, match="Only daily bars are forecast: those of W are typically 7"):
        features(Panel([simulate_bars("W", 300, sessions=weeks)]))


def test_the_recursion_of_garch_by_hand() -> None:
    found = gjr_variances(np.array([1.0, -2.0]), 0.1, 0.2, 0.3, 0.5, 4.0)
    assert found.tolist() == pytest.approx([4.0, 0.1 + 0.2 + 2.0, 0.1 + 0.5 * 4 + 0.5 * 2.3])


def test_the_variance_before_the_first_session_is_that_of_arch() -> None:
    residuals = np.random.default_rng(3).standard_normal(300)
    theirs = arch_model(residuals, mean="Zero").volatility.backcast(residuals)
    assert backcast(residuals) == pytest.approx(theirs, rel=1e-12)


PANEL_HAR = simulate_panel("ABC", 220)


def test_the_har_fit_minimises_the_loss_of_huber() -> None:
    data = features(simulate_panel("AB", 300))
    x, y = [], []
    for one in data.values():
        for i in range(LONG_WINDOW - 1, 300 - 2):
            x.append(one.har[i])
            y.append(one.log_variance[[i + 1, i + 2]])
    rows, targets = np.array(x), np.array(y)
    model = HarModel.fit(data, horizon=2)
    for step in (0, 1):
        residual = targets[:, step] - rows @ model.coefficients[:, step]
        limit = HUBER * 1.4826 * np.median(np.abs(residual))
        gradient = rows.T @ np.clip(residual, -limit, limit)
        plain = np.linalg.lstsq(rows, targets[:, step], rcond=None)[0]
        wrong = targets[:, step] - rows @ (plain + 0.01)
        assert np.abs(gradient).max() < 0.02 * np.abs(rows.T @ np.clip(wrong, -limit, limit)).max()


@pytest.mark.parametrize("spoil", [lambda bars: glitch(bars, 500), stale])
def test_one_broken_series_hardly_moves_the_scales_of_the_others(
    spoil: Callable[[Bars], Bars],
) -> None:
    panel = simulate_panel("ABCD", 900)
    broken = Panel([*list(panel.values())[:3], spoil(panel["D"])])
    scales = []
    for whole in (panel, broken):
        data = features(whole)
        scales.append(HarModel.fit(data, horizon=2).scale(data["A"].har)[LONG_WINDOW:])
    change = np.abs(scales[1] / scales[0] - 1)
    assert np.median(change) < 0.02
    assert np.quantile(change, 0.99) < 0.06


def test_standardised_returns_of_the_typical_symbol_have_unit_variance() -> None:
    data = features(simulate_panel("ABC", 700))
    model = HarModel.fit(data, horizon=3)
    energy = [
        np.nanmean(np.clip(aligned_returns(o.returns, 3) / model.scale(o.har), -8, 8) ** 2, axis=0)
        for o in data.values()
    ]
    np.testing.assert_allclose(np.median(energy, axis=0), 1, rtol=0.02)


def test_scales_follow_the_volatility_that_comes() -> None:
    data = features(simulate_panel("ABCD", 900))
    model = HarModel.fit(data, horizon=2)
    for one in data.values():
        scale = model.scale(one.har)[LONG_WINDOW:-1, 0]
        ahead = np.abs(one.returns[LONG_WINDOW + 1 :])
        assert np.corrcoef(scale, ahead)[0, 1] > 0.15


def test_a_scale_never_falls_below_its_floor() -> None:
    model = HarModel(np.full((9, 2), 1.0), np.ones(2))
    assert model.scale(np.full((1, 9), -1e6)).tolist() == [[np.sqrt(VARIANCE_FLOOR)] * 2]
    assert np.isfinite(model.scale(np.full((1, 9), 1e6))).all()
    assert np.isnan(model.scale(np.full((1, 9), np.nan))).all()


def test_scales_do_not_depend_on_the_rows_beside_them() -> None:
    data = features(PANEL_HAR)
    model, har = HarModel.fit(data, horizon=5), data["A"].har
    whole = model.scale(har)
    for rows in (slice(150, 151), slice(119, 220), np.array([200, 130, 131])):
        assert model.scale(har[rows]).tobytes() == whole[rows].tobytes()


def test_series_that_never_move_do_not_set_the_scale_of_those_that_do() -> None:
    real = simulate_bars("A", 600)
    flat = [only_closes(simulate_bars(s, 600), np.full(600, 5.0)) for s in "XYZ"]
    data = features(Panel([real, *flat]))
    model = HarModel.fit(data, horizon=1)
    z = aligned_returns(data["A"].returns, 1) / model.scale(data["A"].har)
    assert np.nanmean(z**2) == pytest.approx(1, rel=0.1)


def test_too_little_history_is_an_error_that_says_how_much() -> None:
    with pytest.raises(NotEnoughDataError, match="it needs 100"):
        HarModel.fit(features(simulate_panel("A", 180)), horizon=1)


def test_the_model_survives_json() -> None:
    model = HarModel.fit(features(PANEL_HAR), horizon=2)
    again = HarModel.from_json(json.loads(to_json(asdict(model))))
    assert again.coefficients.tobytes() == model.coefficients.tobytes()
    assert again.rescale.tobytes() == model.rescale.tobytes()


H = 3
PANEL_SCALES = Panel(
    [*simulate_panel("AB", 700).values(), simulate_bars("Y", 300, start="2016-06-01")]
)
DATA = features(PANEL_SCALES)


@pytest.fixture(scope="module", params=list(SCALES))
def fitted(request: pytest.FixtureRequest) -> Scale:
    return Scale.fit(request.param, DATA, horizon=H)


def test_a_scale_does_not_see_later_bars_that_are_rewritten(fitted: Scale) -> None:
    n = 600
    other = features(rewrite_after(PANEL_SCALES, PANEL_SCALES.sessions[n]))
    for symbol in "AB":
        old, new = fitted.scale(symbol, DATA[symbol]), fitted.scale(symbol, other[symbol])
        assert old.shape == (700, H)
        assert old[: n + 1].tobytes() == new[: n + 1].tobytes()
        later = features(rewrite_after(PANEL_SCALES, PANEL_SCALES.sessions[n - 1]))[symbol]
        assert fitted.scale(symbol, later)[n, 0] != old[n, 0]


def test_a_scale_says_how_large_returns_will_be(fitted: Scale) -> None:
    for symbol in "AB":
        scale = fitted.scale(symbol, DATA[symbol])[LONG_WINDOW:]
        ahead = aligned_returns(DATA[symbol].returns, H)[LONG_WINDOW:]
        assert np.nanstd(ahead / scale, axis=0) == pytest.approx(1, rel=0.15)
        known = np.isfinite(ahead[:, 0])
        assert np.corrcoef(scale[known, 0], np.abs(ahead[known, 0]))[0, 1] > 0.1


def test_a_scale_never_falls_below_its_floor_scales(fitted: Scale) -> None:
    flat = simulate_bars("A", 400)
    same = dict.fromkeys(("open", "high", "low", "close", "adj_close"), np.full(400, 9.0))
    data = features(Panel([replace(flat, **same)]))
    scale = fitted.scale("A", data["A"])[LONG_WINDOW:]
    assert (scale >= np.sqrt(VARIANCE_FLOOR)).all()
    assert np.isfinite(scale).all()


def test_a_symbol_that_was_never_seen_has_a_scale_too(fitted: Scale) -> None:
    stranger = features(Panel([simulate_bars("Q", 250)]))["Q"]
    assert np.isfinite(fitted.scale("Q", stranger)[LONG_WINDOW:]).all()


def test_a_scale_survives_json_bit_for_bit(fitted: Scale) -> None:
    again = Scale.from_json(json.loads(to_json(asdict(fitted))))
    assert again.horizon == H
    for symbol, one in DATA.items():
        assert again.scale(symbol, one).tobytes() == fitted.scale(symbol, one).tobytes()


def test_the_pooled_regression_is_that_of_the_panel() -> None:
    expected = HarModel.fit(DATA, horizon=H).scale(DATA["A"].har)
    assert Scale.fit("har", DATA, horizon=H).scale("A", DATA["A"]).tobytes() == expected.tobytes()


def test_symbols_have_regressions_of_their_own_if_they_are_old_enough() -> None:
    found = Scale.fit("har-symbol", DATA, horizon=H)
    assert set(found.models) - {""} == {"A", "B"}
    alone = HarModel.fit({"A": DATA["A"]}, horizon=H).scale(DATA["A"].har)
    assert found.scale("A", DATA["A"]).tobytes() == alone.tobytes()
    pooled = HarModel.fit(DATA, horizon=H).scale(DATA["Y"].har)
    assert found.scale("Y", DATA["Y"]).tobytes() == pooled.tobytes()


def test_the_ewma_is_that_of_riskmetrics() -> None:
    scale = Scale.fit("ewma", DATA, horizon=H).scale("A", DATA["A"])
    for step in range(H):
        assert scale[:, step].tobytes() == ewma_scale(PANEL_SCALES["A"].log_returns()).tobytes()


def test_gjr_equals_the_filter_and_the_forecast_of_arch() -> None:
    from arch import arch_model

    found = Scale.fit("gjr", DATA, horizon=H)
    returns = DATA["A"].returns[1:]
    unit = returns.std()
    model = arch_model(returns / unit, mean="Zero", p=1, o=1, q=1, dist="t", rescale=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = model.fit(disp="off")
        ahead = result.forecast(horizon=H, reindex=False).variance.to_numpy()[0]
    scale = found.scale("A", DATA["A"]) / unit
    np.testing.assert_allclose(scale[1:-1, 0], result.conditional_volatility[1:], rtol=1e-6)
    np.testing.assert_allclose(scale[-1] ** 2, ahead, rtol=1e-6)


def test_gjr_falls_back_to_the_ewma_for_the_young_and_the_flat() -> None:
    found = Scale.fit("gjr", DATA, horizon=H)
    assert len(DATA["Y"].returns) < MIN_OWN_ROWS
    assert set(found.garch) == {"A", "B"}
    expected = Scale.fit("ewma", DATA, horizon=H).scale("Y", DATA["Y"])
    assert found.scale("Y", DATA["Y"]).tobytes() == expected.tobytes()


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="har, har-symbol, ewma, gjr"):
        Scale.fit("garch", DATA, horizon=1)


def test_large_ticks_are_told_by_the_zeros_of_training() -> None:
    returns = np.full(1001, 0.01)
    for zeros, expected in ((50, False), (51, True), (500, True), (501, False)):
        returns[1:] = np.where(np.arange(1000) < zeros, 0.0, 0.01)
        assert has_ticks(returns) is expected
    assert not has_ticks(np.array([np.nan]))


def test_a_tick_is_about_the_smallest_move_so_far() -> None:
    rng = np.random.default_rng(0)
    price = 2 + 0.01 * np.cumsum(rng.integers(-2, 3, 600))
    returns = np.concatenate([[np.nan], np.diff(np.log(price))])
    widths = tick_widths(returns)
    np.testing.assert_allclose(widths[200:], 0.01 / price[200:], rtol=0.2)
    first = np.flatnonzero(returns[1:] != 0)[0] + 1
    assert np.isnan(widths[:first]).all()
    assert widths[:300].tobytes() == tick_widths(returns[:300]).tobytes()
