"""Inputs of the goldens, from closed forms: no generator whose stream could change."""

import numpy as np
import pandas as pd

DAYS, SYMBOLS = 80, 4


def prices() -> tuple[np.ndarray, np.ndarray]:
    """Opens and closes, (D, S)."""
    t, k = np.arange(DAYS)[:, None], np.arange(SYMBOLS)
    moves = 0.02 * np.sin(1.7 * t * (k + 1) + k) + 0.01 * np.cos(0.9 * t + 2 * k)
    closes = (20 + 10 * k) * np.exp(np.cumsum(moves, axis=0))
    opens = closes * np.exp(0.008 * np.sin(2.3 * t + 5 * k))
    return opens, closes


def weights(book: str) -> np.ndarray:
    """Weights by decision, (D, S): ``long`` with gross 0.95, ``both`` long and short with 0.9."""
    t, k = np.arange(DAYS)[:, None], np.arange(SYMBOLS)
    raw = np.sin(0.6 * t + 1.9 * k) + 0.2 * np.cos(2.1 * t * (k + 1))
    if book == "long":
        raw = np.maximum(raw, 0.05)
        return 0.95 * raw / raw.sum(axis=1, keepdims=True)
    return 0.9 * raw / np.abs(raw).sum(axis=1, keepdims=True)


def index() -> pd.DatetimeIndex:
    """The sessions."""
    return pd.bdate_range("2020-01-01", periods=DAYS)


def returns() -> tuple[np.ndarray, np.ndarray]:
    """A strategy's and a benchmark's daily returns, (250,) each."""
    t = np.arange(250)
    own = 0.012 * np.sin(1.3 * t) + 0.006 * np.cos(0.37 * t**1.5) + 0.0005
    other = 0.010 * np.cos(1.3 * t + 0.5) + 0.004 * np.sin(2.9 * t) + 0.0003
    return own, other
