"""Sampled bars keep every rule of bars and every close of the forecast, and look like real ones."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.forecasting.baselines import ReferenceForecaster
from quantseq.forecasting.candles import (
    GAP,
    LENDERS,
    LOWER,
    MIN_LENDERS,
    POOL,
    UPPER,
    VOLUME,
    BarModel,
    SampledBars,
    Z,
    _neighbour,
    _shapes,
)
from quantseq.forecasting.density import TokenDensity
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.forecasts import Forecasts, keyed_uniforms
from quantseq.forecasting.windows import PriceTask
from quantseq.market.bars import Bars, Panel
from tests.prices import rewrite_after, simulate_bars

law = settings(deadline=None, max_examples=40)
HORIZON = 3


def forecast(
    panel: Panel, *, paths: int = 60, scale: float = 0.02, seed: int = 3, rows: int = 2
) -> Forecasts:
    """Two cutoffs per symbol under a fixed Student-t."""
    cutoffs = panel.sessions[-rows:]
    symbols = np.repeat(np.array(panel.symbols, dtype=object), rows)
    shape = (len(symbols), HORIZON)
    density = TokenDensity.reference(np.zeros(shape), np.full(shape, scale), np.full(shape, 4.0))
    draws = np.random.default_rng(seed).random((len(symbols), paths, HORIZON))
    returns = density.at_tokens(np.zeros(draws.shape, np.int64), draws).astype(np.float32)
    days, shares = np.tile(cutoffs, len(panel)), np.full(len(symbols), 0.3)
    return Forecasts("t", symbols, days, density, shares, cutoffs[0], seed, returns)


def lenders(*days: tuple[float, float, float, float, float], copies: int = MIN_LENDERS) -> BarModel:
    """A model whose days are these, over and over."""
    step = np.repeat(np.array(days), copies, axis=0)
    step = step[np.argsort(step[:, Z], kind="stable")]
    return BarModel(np.stack([step] * HORIZON), {POOL: 1.0})


def scales_of(panel: Panel, task: PriceTask) -> dict[str, np.ndarray]:
    ends = np.cumsum([len(bars) for bars in panel.values()])[:-1]
    return dict(zip(panel, np.split(task.table(panel).scale, ends), strict=True))


@pytest.fixture(scope="module")
def panel(recent: Panel) -> Panel:
    return recent.select(["IBM", "MSFT"])


@pytest.fixture(scope="module")
def model(fitted: Seq2SeqForecaster) -> BarModel:
    assert fitted.bars is not None
    return fitted.bars


def assert_whole(bars: SampledBars) -> None:
    for name in ("open", "high", "low", "close", "volume"):
        assert np.isfinite(getattr(bars, name)).all(), name
    assert (bars.low > 0).all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.volume >= 0).all()


@given(
    days=st.lists(
        st.tuples(
            st.floats(-30, 30),
            st.floats(-25, 25),
            st.floats(0, 25),
            st.floats(0, 25),
            st.floats(-8, 8),
        ),
        min_size=1,
        max_size=5,
    ),
    scale=st.floats(1e-4, 0.1),
    wick=st.floats(0, 5),
)
@law
def test_every_sampled_bar_keeps_the_rules_whatever_was_lent(
    days: list[tuple[float, float, float, float, float]], scale: float, wick: float
) -> None:
    panel = Panel([simulate_bars("A", 60)])
    plain = lenders(*days)
    bars = replace(plain, wicks={POOL: wick}).sample(forecast(panel, scale=scale), panel)
    assert_whole(bars)
    row = Bars(  # the house's own rules for bars accept each path as a history
        "A",
        np.arange("2020-01-01", "2020-01-04", dtype="datetime64[D]"),
        *(getattr(bars, name)[0, 0] for name in ("open", "high", "low", "close")),
        bars.close[0, 0],
        bars.volume[0, 0],
        np.zeros(HORIZON),
        np.zeros(HORIZON),
    )
    assert len(row) == HORIZON


def test_the_closes_are_the_forecasts_own(panel: Panel, model: BarModel) -> None:
    forecasts = forecast(panel)
    bars = model.sample(forecasts, panel)
    last = [
        panel[s].close[panel[s].sessions == c][0]
        for s, c in zip(bars.symbols, bars.cutoffs, strict=True)
    ]
    moved = np.cumsum(forecasts.paths.astype(np.float64), axis=2)
    np.testing.assert_array_equal(bars.close, np.array(last)[:, None, None] * np.exp(moved))
    before = np.concatenate(
        [np.broadcast_to(np.array(last)[:, None, None], (4, 60, 1)), bars.close[..., :-1]], axis=2
    )
    gap, body = np.log(bars.open / before), np.log(bars.close / bars.open)
    np.testing.assert_allclose(gap + body, forecasts.paths, atol=1e-7)


def test_a_lent_day_comes_back_in_units_of_the_scale() -> None:
    panel = Panel([simulate_bars("A", 60)])
    forecasts = forecast(panel, paths=5)
    bars = lenders((0.0, 0.5, 1.0, 2.0, np.log(3))).sample(forecasts, panel)
    z = forecasts.paths.astype(np.float64) / 0.02
    before = np.concatenate(
        [np.broadcast_to(panel["A"].close[-2:, None, None], (2, 5, 1)), bars.close[..., :-1]], 2
    )
    np.testing.assert_allclose(np.log(bars.open / before), (0.5 + 0.3 * z) * 0.02)
    np.testing.assert_allclose(np.log(bars.high / np.maximum(bars.open, bars.close)), 0.02)
    np.testing.assert_allclose(np.log(np.minimum(bars.open, bars.close) / bars.low), 0.04)
    for row, end in enumerate((-1, None)):
        usual = panel["A"].volume[:end][-20:].mean()
        np.testing.assert_allclose(bars.volume[row], 3 * usual)


def test_big_returns_borrow_from_big_returns() -> None:
    ordered = np.linspace(-3, 3, 600)
    draws = np.random.default_rng(0).random(500)
    for z in (-9.0, -3.0, -1.2, 0.0, 2.5, 3.0, 9.0):
        lent = ordered[_neighbour(ordered, np.full(500, z), draws)]
        nearest = np.clip(z, -3, 3)
        assert abs(lent - nearest).max() < 0.26
        assert len(np.unique(lent)) >= 6
    assert lent.min() > 2.9  # the extremes keep to themselves


def test_real_bars_become_shapes_that_give_them_back(recent: Panel) -> None:
    bars = recent["MSFT"].adjusted()
    scale = np.random.default_rng(0).uniform(0.01, 0.03, (len(bars), HORIZON))
    scale[:119] = np.nan
    shapes = _shapes(bars, scale)
    first, count = 119, len(bars) - HORIZON - 119
    assert shapes.shape == (HORIZON, count, 5)
    for step in range(HORIZON):
        at = np.arange(first, first + count) + 1 + step
        unit = scale[first : first + count, step]
        open_ = bars.close[at - 1] * np.exp(shapes[step, :, GAP] * unit)
        close = bars.close[at - 1] * np.exp(shapes[step, :, Z] * unit)
        np.testing.assert_allclose(open_, bars.open[at])
        np.testing.assert_allclose(close, bars.close[at])
        high = np.maximum(open_, close) * np.exp(shapes[step, :, UPPER] * unit)
        low = np.minimum(open_, close) * np.exp(-shapes[step, :, LOWER] * unit)
        np.testing.assert_allclose(high, bars.high[at])
        np.testing.assert_allclose(low, bars.low[at])
        usual = [bars.volume[i - 19 : i + 1].mean() for i in range(first, first + count)]
        np.testing.assert_allclose(np.exp(shapes[step, :, VOLUME]) * usual, bars.volume[at])


@pytest.mark.slow
def test_ranges_gaps_and_volumes_are_calibrated_on_held_out_prices(sample: Panel) -> None:
    panel, until = sample.until("2012-12-31"), "2007-12-31"
    train = panel.until(until)
    task = PriceTask.fit(train, horizon=5, num_bins=24)
    found = BarModel.fit(train, scales_of(panel, task))
    assert found is not None
    days = panel.sessions[panel.sessions >= np.datetime64("2010-01-01")][:-5:3]
    reference = task.reference
    forecasts = ReferenceForecaster(
        train.sessions[-1], reference.overnight_share, reference
    ).predict(panel, days, horizon=5, num_paths=200, seed=1)
    bars = found.sample(forecasts, panel)
    assert_whole(bars)
    for step in (1, 5):
        held, ratio = [], []
        for symbol in panel:
            mine, real = forecasts.symbols == symbol, panel[symbol]
            at = np.searchsorted(real.sessions, forecasts.cutoffs[mine]) + step
            sampled = np.log(bars.high[mine] / bars.low[mine])[..., step - 1]
            happened = np.log(real.high[at] / real.low[at])
            level = (sampled < happened[:, None]).mean(axis=1)
            held.append(np.mean(np.abs(level - 0.5) <= 0.45))
            ratio.append(sampled.mean() / happened.mean())
        assert np.mean(held) == pytest.approx(0.9, abs=0.04)
        assert np.mean(ratio) == pytest.approx(1, abs=0.08)


def test_bars_do_not_see_the_future(fitted: Seq2SeqForecaster, recent: Panel) -> None:
    cutoff = recent.sessions[760]
    days = recent.sessions[[720, 750, 760]]
    other = rewrite_after(recent, cutoff)
    assert fitted.bars is not None
    old, new = (
        fitted.bars.sample(fitted.predict(p, days, horizon=3, num_paths=9, seed=2), p)
        for p in (recent, other)
    )
    for name in ("open", "high", "low", "close", "volume"):
        assert getattr(old, name).tobytes() == getattr(new, name).tobytes(), name


def test_lenders_do_not_see_past_the_training_block(panel: Panel) -> None:
    until = panel.sessions[600]
    train = panel.until(until)
    task = PriceTask.fit(train, horizon=HORIZON, num_bins=8)
    found = []
    for prices in (panel, rewrite_after(panel, until), train):
        model = BarModel.fit(prices.until(until), scales_of(prices, task))
        assert model is not None
        found.append(model)
    for other in found[1:]:
        assert found[0].lenders.tobytes() == other.lenders.tobytes()
        assert found[0].wicks == other.wicks


def test_draws_are_keyed_by_seed_symbol_and_cutoff(panel: Panel, model: BarModel) -> None:
    every = forecast(panel)
    whole = model.sample(every, panel)
    for rows in (np.array([3]), np.array([2, 0])):
        part = model.sample(every[rows], panel)
        for name in ("open", "high", "low", "close", "volume"):
            assert getattr(part, name).tobytes() == getattr(whole, name)[rows].tobytes()
    again, other = (model.sample(replace(every, seed=s), panel) for s in (3, 4))
    assert again.open.tobytes() == whole.open.tobytes()
    assert (other.open != whole.open).any()
    assert other.close.tobytes() == whole.close.tobytes()


def test_bars_are_not_drawn_with_the_numbers_that_drew_the_returns(
    panel: Panel, model: BarModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def keep(seed: int, symbols: np.ndarray, *rest: object) -> np.ndarray:
        seen.extend(symbols)
        return keyed_uniforms(seed, symbols, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("quantseq.forecasting.candles.keyed_uniforms", keep)
    model.sample(forecast(panel), panel)
    assert len(seen) == 4
    assert not set(seen) & set(panel.symbols)


def test_the_state_survives_json(model: BarModel, panel: Panel) -> None:
    again = BarModel.from_json(model.to_json())
    assert again.lenders.tobytes() == model.lenders.tobytes()
    assert again.wicks == model.wicks
    assert model.lenders.shape[1] <= LENDERS
    assert (np.diff(model.lenders[..., Z], axis=1) >= 0).all()


def flat(bars: Bars) -> Bars:
    """The same closes without anything else."""
    price = bars.close
    return replace(
        bars, open=price, high=price, low=price, adj_close=price, volume=np.zeros(len(bars))
    )


def fit_on(*bars: Bars) -> BarModel | None:
    panel = Panel(bars)
    scales = {s: np.full((len(b), HORIZON), 0.012) for s, b in panel.items()}
    return BarModel.fit(panel, scales)


def test_closes_alone_lend_nothing() -> None:
    one, two = simulate_bars("A", 400), simulate_bars("B", 400)
    assert fit_on(flat(one), flat(two)) is None
    mixed, alone = fit_on(flat(one), two), fit_on(two)
    assert mixed is not None
    assert alone is not None
    assert mixed.lenders.tobytes() == alone.lenders.tobytes()
    assert "A" not in mixed.wicks


def test_too_few_days_lend_nothing() -> None:
    assert fit_on(simulate_bars("A", MIN_LENDERS // 2)) is None


def test_an_index_without_volume_has_bars_without_volume() -> None:
    silent = simulate_bars("A", 400, volume=np.zeros(400))
    model = fit_on(silent)
    assert model is not None
    panel = Panel([silent])
    bars = model.sample(forecast(panel), panel)
    assert_whole(bars)
    assert (bars.volume == 0).all()
    assert fit_on(silent, simulate_bars("B", 400)) is not None


def test_a_misplaced_decimal_point_lends_nothing() -> None:
    bars = simulate_bars("A", 400)
    high = bars.high.copy()
    high[200] *= 10
    broken = fit_on(replace(bars, high=high))
    assert broken is not None
    assert broken.lenders[..., UPPER].max() < 25


def test_symbols_with_longer_wicks_keep_them() -> None:
    def stretched(symbol: str, power: float) -> Bars:
        bars = simulate_bars(symbol, 600)
        top, bottom = np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close)
        return replace(
            bars, high=top * (bars.high / top) ** power, low=bottom * (bars.low / bottom) ** power
        )

    model = fit_on(stretched("A", 0.5), stretched("B", 2.0))
    assert model is not None
    assert model.wicks["B"] / model.wicks["A"] == pytest.approx(4, rel=0.15)


def test_the_typical_path_is_near_the_medians(panel: Panel, model: BarModel) -> None:
    bars = model.sample(forecast(panel, paths=200), panel)
    chosen = bars.typical
    for row, path in enumerate(chosen):
        inside = bars.quantile("close", [0.25, 0.75])[row]
        assert (bars.close[row, path] > inside[:, 0]).all()
        assert (bars.close[row, path] < inside[:, 1]).all()


def test_bars_need_paths_a_covered_horizon_and_the_same_panel(
    panel: Panel, model: BarModel
) -> None:
    every = forecast(panel)
    with pytest.raises(ConfigError, match="num_paths > 0"):
        model.sample(replace(every, paths=None), panel)
    with pytest.raises(ConfigError, match="covers 2 steps"):
        replace(model, lenders=model.lenders[:2]).sample(every, panel)
    with pytest.raises(NotEnoughDataError, match="no bar on the cutoff"):
        model.sample(every, panel.until(panel.sessions[-2]))
