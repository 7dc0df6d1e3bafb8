"""Small random panels for the trading room: real enough to trade, small enough to check by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from quantseq.market.bars import Bars, Panel

MakePanel = Callable[..., Panel]
Build = Callable[..., Panel]


def _build(opens: np.ndarray, closes: np.ndarray, factor: np.ndarray | None = None) -> Panel:
    """A panel from (D, S) opens and closes; NaN where a symbol has no bar."""
    index = pd.bdate_range("2020-01-01", periods=len(closes))
    bars = []
    for k in range(closes.shape[1]):
        there = np.isfinite(closes[:, k])
        o, c = opens[there, k], closes[there, k]
        frame = pd.DataFrame(
            {"open": o, "high": np.maximum(o, c), "low": np.minimum(o, c), "close": c},
            index=index[there],
        )
        frame["volume"] = 1000.0
        if factor is not None:
            frame["adj_close"] = c * factor[there, k]
        bars.append(Bars.from_frame(f"S{k}", frame))
    return Panel(bars)


def _random(
    seed: int,
    days: int = 20,
    symbols: int = 3,
    missing: float = 0.0,
    dividends: bool = False,
    hole: int = 0,
) -> Panel:
    """Random walks; bars are missing at random, and in one hole of up to `hole` sessions each."""
    rng = np.random.default_rng(seed)
    closes = np.exp(np.cumsum(rng.normal(0, 0.03, (days, symbols)), axis=0)) * 50
    opens = closes * np.exp(rng.normal(0, 0.02, (days, symbols)))
    gone = rng.random((days, symbols)) < missing
    for k in range(symbols if hole else 0):
        begin, length = rng.integers(0, days), rng.integers(1, hole + 1)
        gone[begin : begin + length, k] = True
    gone[:, 0] = False  # the calendar keeps every day
    opens[gone] = closes[gone] = np.nan
    factor = np.cumprod(1 + rng.random((days, symbols)) * 0.01, axis=0) if dividends else None
    return _build(opens, closes, factor)


def _weights(panel: Panel, values: Sequence | np.ndarray, first: int = 0) -> pd.DataFrame:
    """Weights by decision date, one row per session from `first` on."""
    array = np.asarray(values, dtype=float)
    index = pd.DatetimeIndex(panel.sessions[first : first + len(array)].astype("datetime64[s]"))
    return pd.DataFrame(array, index=index, columns=list(panel.symbols))


def _random_weights(panel: Panel, seed: int, long_only: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    shape = (len(panel.sessions), len(panel))
    raw = rng.random(shape) if long_only else rng.normal(size=shape)
    raw[rng.random(shape) < 0.2] = 0.0
    gross = np.abs(raw).sum(axis=1, keepdims=True)
    level = rng.choice([0.3, 0.9, 1.0], size=(shape[0], 1))
    return _weights(panel, raw / np.where(gross > 0, gross, 1) * level)


@pytest.fixture(scope="session")
def build() -> Build:
    return _build


@pytest.fixture(scope="session")
def make_panel() -> MakePanel:
    return _random


@pytest.fixture(scope="session")
def weights_of() -> Callable[..., pd.DataFrame]:
    return _weights


@pytest.fixture(scope="session")
def random_weights() -> Callable[..., pd.DataFrame]:
    return _random_weights
