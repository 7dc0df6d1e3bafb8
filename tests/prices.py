"""Prices to forecast, invented and real, the art of rewriting their future, and a fitted forecaster."""

from dataclasses import fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from quantseq.market.bars import TIMINGS, Bars, Events, Panel
from quantseq.market.sources import SAMPLE_SYMBOLS, SampleSource

if TYPE_CHECKING:
    from quantseq.forecasting.forecaster import Seq2SeqForecaster
    from quantseq.forecasting.forecasts import Forecasts
    from quantseq.forecasting.networks import ForecasterConfig

NEW_YORK, TOKYO = "America/New_York", "Asia/Tokyo"


def simulate_bars(
    symbol: str,
    n: int,
    *,
    seed: int = 0,
    start: str = "2015-01-01",
    timezone: str = NEW_YORK,
    **changes: Any,
) -> Bars:
    """Bars whose volatility clusters; `changes` replace whole fields."""
    rng = np.random.default_rng([seed, *symbol.encode()])
    log_variance = np.zeros(n)
    for i in range(1, n):
        log_variance[i] = 0.97 * log_variance[i - 1] + 0.2 * rng.normal()
    sigma = 0.012 * np.exp(log_variance / 2)
    moves = sigma[:, None] * rng.standard_t(6, (n, 6)) / 3
    close = 100 * np.exp(np.cumsum(moves.sum(axis=1)))
    path = np.log(close)[:, None] - np.cumsum(moves[:, ::-1], axis=1)[:, ::-1] + moves
    open_ = np.exp(path[:, 0])
    values: dict[str, Any] = {
        "sessions": np.busday_offset(start, np.arange(n), roll="forward"),
        "open": open_,
        "high": np.maximum(np.exp(path.max(axis=1)), close),
        "low": np.minimum(np.exp(path.min(axis=1)), close),
        "close": close,
        "adj_close": close,
        "volume": np.round(1e6 * np.exp(0.5 * rng.normal(size=n))),
        "dividends": np.zeros(n),
        "splits": np.zeros(n),
    }
    return Bars(symbol, **(values | changes), timezone=timezone)


def simulate_panel(symbols: str = "ABC", n: int = 400, **changes: Any) -> Panel:
    """One series of simulated bars per letter."""
    return Panel(simulate_bars(symbol, n, **changes) for symbol in symbols)


def rounded(bars: Bars, tick: float, *, still: float = 0.0) -> Bars:
    """The same bars about a price of 2, rounded to ticks; on a share of days the close is the last one again."""
    factor = 2 / np.exp(np.log(bars.close).mean())
    names = ("open", "high", "low", "close")
    prices = {
        name: np.maximum(np.round(getattr(bars, name) * factor / tick), 1) * tick for name in names
    }
    for i in np.flatnonzero(np.random.default_rng(1).random(len(bars)) < still):
        prices["close"][i] = prices["close"][max(i - 1, 0)]
    prices["high"] = np.maximum(prices["high"], prices["close"])
    prices["low"] = np.minimum(prices["low"], prices["close"])
    return replace(bars, **prices, adj_close=prices["close"])


def rewrite_after(panel: Panel, cutoff: Any, *, seed: int = 1) -> Panel:
    """The same panel up to `cutoff`; every later bar is invented, some are gone, and so is what was known later."""
    rng = np.random.default_rng(seed)
    changed = []
    for bars in panel.values():
        late = bars.sessions > np.datetime64(cutoff, "D")
        factor = np.where(late, np.exp(rng.normal(0, 0.3, len(bars))), 1.0)
        fields = {
            name: getattr(bars, name) * factor
            for name in ("open", "high", "low", "close", "adj_close")
        }
        volume = np.where(late, rng.integers(0, 10**9, len(bars)), bars.volume)
        keep = ~late | (rng.random(len(bars)) < 0.8)
        fields |= {"sessions": bars.sessions, "volume": volume}
        fields |= {"dividends": bars.dividends, "splits": bars.splits}
        changed.append(replace(bars, **{name: values[keep] for name, values in fields.items()}))
    events = {}
    for symbol, known in panel.until(cutoff).events.items():
        late = np.datetime64(cutoff, "D") + 1 + rng.permutation(30)[:10]
        fields = {"dates": late + rng.integers(0, 9, 10), "known_on": late}
        fields |= {"kinds": np.array([f"invented {i}" for i in range(10)])}
        fields |= {"timings": rng.choice(TIMINGS, 10)}
        events[symbol] = Events(
            **{name: np.concatenate([getattr(known, name), fields[name]]) for name in fields}
        )
    beside = panel.covariate
    if beside is not None:
        late = beside.sessions >= np.datetime64(cutoff, "D")
        beside = replace(beside, adj_close=np.where(late, 7.0, beside.adj_close))
    return Panel(changed, events=events, covariate=beside)


def with_events(panel: Panel, *, notice: int = 7, size: float = 0.0) -> Panel:
    """The panel with a covariate and an event a quarter per symbol; each moves its price by draws of this `size`."""
    made, events = [], {}
    for number, (symbol, bars) in enumerate(panel.items()):
        rng = np.random.default_rng([number, *symbol.encode()])
        places = np.arange(20 + 3 * number, len(bars) + 63, 63)
        days = np.busday_offset(bars.sessions[-1], places - len(bars) + 1, roll="backward")
        days[places < len(bars)] = bars.sessions[places[places < len(bars)]]
        timing = TIMINGS[number % len(TIMINGS)]
        jumps, inside = np.zeros(len(bars)), places + (timing == "after-close")
        inside = inside[inside < len(bars)]
        jumps[inside] = size * rng.standard_t(5, len(inside))
        factor = np.exp(np.cumsum(jumps))
        names = ("open", "high", "low", "close", "adj_close")
        made.append(replace(bars, **{name: getattr(bars, name) * factor for name in names}))
        n = len(places)
        unknown = np.full(n, "NaT", dtype="datetime64[D]")
        told = Events(days, np.full(n, "earnings"), np.full(n, timing), unknown)
        events[symbol] = told.assuming(notice)
    return Panel(made, events=events, covariate=replace(made[0], symbol="^V"))


@cache
def recent_prices() -> Panel:
    """The newest 900 sessions of the bundled real prices."""
    source = SampleSource()
    whole = Panel(source.fetch(symbol) for symbol in SAMPLE_SYMBOLS)
    return whole.between(whole.sessions[-900])


@cache
def small_config() -> "ForecasterConfig":
    """A forecaster that fits in seconds."""
    from quantseq.forecasting.networks import ForecasterConfig

    return ForecasterConfig(
        horizon=3,
        num_bins=12,
        members=2,
        epochs=2,
        stride=4,
        batch_size=64,
        hidden_size=12,
        embedding_size=8,
    )


def fit_small(
    panel: Panel, config: "ForecasterConfig", *, seed: int = 0, last: int = 700
) -> "Seq2SeqForecaster":
    """Fit on sessions up to number `last`: train, a purge of 5, then 130 of validation."""
    from quantseq.forecasting.forecaster import Seq2SeqForecaster

    days = panel.sessions
    return Seq2SeqForecaster.fit(
        panel.until(days[last]),
        train_until=days[last - 135],
        validate_from=days[last - 129],
        config=config,
        seed=seed,
    )


def opinionated(forecaster: "Seq2SeqForecaster", weight: float = 0.5) -> "Seq2SeqForecaster":
    """The same forecaster with output layers that say something loud about every input."""
    from quantseq.forecasting.calibration import Recalibration, Shrinkage

    for number, network in enumerate(forecaster.networks):
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            layer = network.decoder.projection
            layer.weight.copy_(2 * torch.randn(layer.weight.shape, generator=generator))
    return replace(
        forecaster,
        shrinkage=Shrinkage(weight, 0.0),
        recalibration=Recalibration(-0.1, 0.1, 0.0),
    )


@cache
def loud_forecaster() -> "Seq2SeqForecaster":
    """Fitted once for the whole suite, then made loud, so that an input that moves is heard."""
    return opinionated(fit_small(recent_prices(), small_config()))


def forecast_bytes(forecasts: "Forecasts") -> bytes:
    """Every number of some forecasts: parameters, probabilities, quantiles, moments, paths."""
    density: Any = forecasts.density
    parts = [getattr(density, one.name) for one in fields(density)]
    parts += [forecasts.overnight_share]
    parts += [forecasts.mean, forecasts.std, forecasts.prob_up]
    parts += [forecasts.quantile([0.05, 0.5, 0.95]), forecasts.cutoffs]
    parts += [part for part in (forecasts.paths, forecasts.cumulative) if part is not None]
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
