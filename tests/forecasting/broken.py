"""Bars that no rule forbids and nobody should learn from."""

from dataclasses import replace

import numpy as np

from quantseq.market.bars import Bars


def only_closes(bars: Bars, close: np.ndarray) -> Bars:
    """The bars of someone who records nothing but a close."""
    same = dict.fromkeys(("open", "high", "low", "close", "adj_close"), close)
    return Bars(
        bars.symbol,
        bars.sessions,
        **same,
        volume=np.zeros(len(bars)),
        dividends=bars.dividends,
        splits=bars.splits,
        timezone=bars.timezone,
    )


def glitch(bars: Bars, at: int, factor: float = 10.0) -> Bars:
    """The bars with one session written `factor` times too high."""
    prices = {}
    for name in ("open", "high", "low", "close", "adj_close"):
        prices[name] = getattr(bars, name).copy()
        prices[name][at] *= factor
    return replace(bars, **prices)


def stale(bars: Bars) -> Bars:
    """The bars with nine closes of ten repeated, without any range."""
    close = bars.close[np.arange(len(bars)) // 10 * 10]
    return only_closes(bars, close)
