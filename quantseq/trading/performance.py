"""What a return series looks like from outside: all figures, drawdowns, months, rolling windows.

Owns the tables that people read. The figures themselves are defined in `measures`. Knows nothing of
how returns came about, or how a table is drawn.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from quantseq.errors import ConfigError
from quantseq.trading.measures import (
    METRICS,
    Floats,
    Metric,
    Sample,
    checked,
    drawdowns,
    make_sample,
    wealth,
)

__all__ = [
    "METRICS",
    "Aligned",
    "Metric",
    "align",
    "drawdown_table",
    "drawdowns",
    "monthly_table",
    "rolling",
    "summarise",
    "wealth",
]


def summarise(
    returns: Any, *, benchmark: Any = None, risk_free: float = 0.0, periods: int = 252
) -> dict[str, float]:
    """Every figure of `METRICS`.

    Parameters
    ----------
    returns : (T,) Series or array
        Simple returns per session, finite and at least −1.
    benchmark : (T,) Series or array, optional
        The benchmark's returns over the same sessions.
    risk_free : float
        Risk-free rate per year, simple.
    periods : int
        Sessions per year.

    Returns
    -------
    dict
        Name to figure; NaN where undefined.

    Raises
    ------
    ConfigError
        If returns are not finite or below −1, or the benchmark covers other sessions.
    """
    sample = make_sample(returns, benchmark, risk_free, periods)
    return {name: metric.of(sample) for name, metric in METRICS.items()}


@dataclass(frozen=True, eq=False)
class Aligned:
    """Two return series over the same intervals, and what was left out to get there.

    Attributes
    ----------
    returns, benchmark : Series
        Simple returns over the same intervals, labelled by their last session.
    merged : int
        Sessions of either that were compounded into a longer interval, because the other was closed.
    dropped_returns, dropped_benchmark : int
        Sessions of each outside the common span.
    """

    returns: pd.Series
    benchmark: pd.Series
    merged: int
    dropped_returns: int
    dropped_benchmark: int


def align(returns: pd.Series, benchmark: pd.Series) -> Aligned:
    """Bring two calendars together on return intervals: sessions of one alone are compounded.

    Dropping the sessions that only one has would lose its return of those days, so both are compounded
    from each common session to the next. A return whose interval starts before the first common
    session is dropped unless both series start with that session; sessions after the last common one
    are dropped. Every session is either in an interval or counted.

    Parameters
    ----------
    returns, benchmark : Series
        Simple returns per session, indexed by date, increasing.

    Raises
    ------
    ConfigError
        If an index is not increasing, a return is not finite or below −1, or no interval is common.
    """
    own, other = _dated(returns, "returns"), _dated(benchmark, "benchmark returns")
    common = own.index.intersection(other.index)
    starts_alike = len(common) > 0 and own.index[0] == other.index[0] == common[0]
    ends = common if starts_alike else common[1:]
    if not len(ends):
        raise ConfigError(
            f"The returns ({len(own)} sessions) and the benchmark ({len(other)} sessions) share "
            f"{len(common)} sessions: no common interval. Give a benchmark over the same span."
        )
    parts, dropped, merged = [], [], 0
    for series in (own, other):
        first = series.index.searchsorted(common[0], "left" if starts_alike else "right")
        inside = series.iloc[int(first) :].loc[: common[-1]]
        place = np.searchsorted(ends, inside.index)
        growth = np.multiply.reduceat(
            (1 + inside).to_numpy(), np.searchsorted(place, np.arange(len(ends)))
        )
        parts.append(pd.Series(growth - 1, ends, name=series.name))
        dropped.append(len(series) - len(inside))
        merged += len(inside) - len(ends)
    return Aligned(parts[0], parts[1], merged, dropped[0], dropped[1])


def _dated(values: pd.Series, what: str) -> "pd.Series[float]":
    index = pd.DatetimeIndex(values.index)
    if not (index.is_monotonic_increasing and index.is_unique):
        raise ConfigError(
            f"The {what} must be indexed by increasing dates without repeats. Sort them and drop "
            "duplicates."
        )
    return pd.Series(checked(values, what), index, name=values.name)


def drawdown_table(returns: Any, *, worst: int = 10) -> pd.DataFrame:
    """The deepest drawdowns, deepest first.

    Parameters
    ----------
    returns : (T,) Series or array
        Simple returns per session.
    worst : int
        How many at most.

    Returns
    -------
    DataFrame
        depth; start, the first session below the old high; valley, the deepest; recovery, the first
        session back at the old high, or missing; sessions below the high; ongoing, whether the
        high has not been reached again. Sessions are labels of the Series, else positions.
    """
    depth = drawdowns(returns)
    labels: Any = returns.index if isinstance(returns, pd.Series) else range(len(depth))
    under = np.concatenate([[False], depth < 0, [False]])
    starts = np.flatnonzero(under[1:] & ~under[:-1])
    ends = np.flatnonzero(under[:-1] & ~under[1:])  # first session that is back, T if none is
    rows = []
    for start, end in zip(starts, ends, strict=True):
        valley = start + int(np.argmin(depth[start:end]))
        back = labels[end] if end < len(depth) else None
        rows.append(
            (depth[valley], labels[start], labels[valley], back, int(end - start), back is None)
        )
    names = ["depth", "start", "valley", "recovery", "sessions", "ongoing"]
    table = pd.DataFrame(rows, columns=names)
    return table.sort_values("depth", kind="stable", ignore_index=True).head(worst)


def monthly_table(returns: pd.Series) -> pd.DataFrame:
    """Compounded returns by year (rows) and month (columns 1 to 12), with the year's in ``year``.

    Parameters
    ----------
    returns : Series
        Simple returns indexed by date.

    Returns
    -------
    DataFrame
        NaN for months without sessions; months covered in part hold what there is.
    """
    dates = pd.DatetimeIndex(returns.index)
    frame = pd.DataFrame({"growth": 1 + checked(returns), "year": dates.year, "month": dates.month})
    table = frame.pivot_table("growth", "year", "month", aggfunc="prod") - 1
    table = table.reindex(columns=range(1, 13))
    table["year"] = frame.groupby("year")["growth"].prod() - 1
    table.columns.name = "month"
    return table


def rolling(name: str, returns: Any, *, window: int = 126, periods: int = 252) -> Floats:
    """One figure over the last `window` sessions at each session, shape (T,).

    NaN until the window is full.
    """
    values = checked(returns)
    if name not in METRICS or METRICS[name].benchmarked:
        known = ", ".join(key for key, metric in METRICS.items() if not metric.benchmarked)
        raise ConfigError(f"There is no rolling figure {name!r}. Known: {known}.")
    result = np.full(len(values), np.nan)
    if 1 <= window <= len(values):
        blocks = np.lib.stride_tricks.sliding_window_view(values, window)
        metric = METRICS[name]
        result[window - 1 :] = [metric.of(Sample(block, None, 0.0, periods)) for block in blocks]
    return result
