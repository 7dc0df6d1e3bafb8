"""The look-ahead audit: whether anything that was decided knew what nobody could know yet.

Owns the checks, the rule of each, and the sentence that says how it went: a check cuts, rewrites or
delays, and looks at what moves. Knows nothing of models, folds or files, and writes no ledger line:
neither an audit nor a placebo is a trial.

The checks and their rules
--------------------------
- **Prefix invariance.** On prices cut at t every stage of the line, scale to weights, equals what it
  was on all prices, bit for bit.
- **Fit window.** The newest session that any fitted part has seen lies more than one horizon before
  the first test.
- **Refit.** What is fitted again on prices that are noise after its window is the same.
- **Lag curve.** The Sharpe ratio when every decision is carried out 0, 1, 2 or 5 sessions late. A
  cliff from 0 to 1 is flagged: at least `CLIFF` and half of the Sharpe ratio lost, the daily
  difference `CLIFF_T` standard errors above 0. An honest signal that fast exists; it must be
  looked at.
- **Placebos.** The same decisions at random times, moved in a circle [1]_. Over all such moves they earn
  what their mean weights earn, whatever the prices did. Flagged where they earn more: a Sharpe ratio
  `PLACEBO_EDGE` above the mean book's, `PLACEBO_T` standard errors above 0; then the account pays what
  nobody decided. The place of the real result among them is told, not judged: a result that beats few of
  them is luck or nothing, but no leak.

References
----------
.. [1] Aronson, D. (2006). Evidence-Based Technical Analysis. Wiley. Ch. 6, on permutation of decisions.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from quantseq.market.bars import PRICES, Dates, Floats, Panel
from quantseq.trading.account import BacktestResult
from quantseq.trading.metrics import METRICS
from quantseq.trading.policies import changed

DELAYS = (0, 1, 2, 5)  # sessions by which every decision is held back in a lag curve
CLIFF, CLIFF_T = 1.0, 4.0
PLACEBO_EDGE, PLACEBO_T = 0.5, 3.0

# stages in the order of the line; rows by (date, symbol), each known at the close of its date
Trace = Mapping[str, pd.DataFrame]
# what is made of a panel for the decision at a date and those just before it
Replay = Callable[[Panel, np.datetime64], Trace]
Trade = Callable[..., BacktestResult]  # `backtest.simulate` with the costs and fills of the run


@dataclass(frozen=True)
class Check:
    """What one check found: its name, whether it passed, and a sentence with its numbers."""

    name: str
    passed: bool
    reading: str


def cut_points(decisions: Dates, count: int) -> Dates:
    """`count` decision dates (fewer if there are fewer), spread evenly and away from the last."""
    days = np.unique(decisions)
    places = (np.arange(count) + 0.5) / count * max(len(days) - 1, 1)
    return np.asarray(days[np.unique(places.astype(np.intp))])


def noise_after(panel: Panel, cut: Any, *, seed: int = 0) -> Panel:
    """The same bars up to `cut`, and another future: every price and volume times its own noise, no later event."""
    rng = np.random.default_rng(seed)
    noisy = []
    for bars in panel.values():
        late = bars.sessions > np.datetime64(cut, "D")
        factor = np.where(late, np.exp(rng.normal(0, 0.3, len(bars))), 1.0)
        values = {name: getattr(bars, name) * factor for name in (*PRICES, "volume")}
        noisy.append(replace(bars, **values))
    known = panel.until(cut)
    return Panel(noisy, events=known.events, covariate=known.covariate)


def prefix_invariance(
    replay: Replay,
    panel: Panel,
    cuts: Dates,
    *,
    known: Callable[[np.datetime64], Trace] | None = None,
) -> Check:
    """Whether the line, on prices cut at each of `cuts`, makes what it made of all of them.

    `known` gives what the run itself made, by date; by default the line on the whole panel.
    """
    name, rows, stages = "prefix invariance", 0, ""
    for cut in cuts:
        expected = (known or partial(replay, panel))(cut)
        compared, moved = _compare(expected, replay(panel.until(cut), cut), cut)
        rows, stages = rows + compared, ", ".join(expected)
        if moved:
            reading = f"With the bars after {cut} removed, {moved} changed: they were known before."
            return Check(name, False, reading)
    reading = (
        f"With the bars after each of {len(cuts)} dates removed, not a bit of {stages} moved at or "
        f"before it ({rows} rows)."
    )
    return Check(name, rows > 0, reading if rows else "There was not a single row to compare.")


def _compare(expected: Trace, found: Trace, cut: np.datetime64) -> tuple[int, str]:
    """Rows compared, and the first stage that differs in words, "" if none does."""
    compared, last = 0, pd.Timestamp(str(cut))
    for stage in expected:
        frames = expected[stage], found[stage]
        ours, other = (one[one.index.get_level_values(0) <= last] for one in frames)
        compared += len(ours)
        both = ours.index.intersection(other.index)
        values = (one.loc[both].to_numpy(dtype=np.float64) for one in (ours, other))
        one, two = (np.ascontiguousarray(bits).view(np.int64) for bits in values)
        moved = both[(one != two).any(axis=1)] if one.shape == two.shape else both
        moved = moved.append(ours.index.symmetric_difference(other.index))
        if len(moved):
            date, symbol = min(moved)
            return compared, (
                f"{len(moved)} of {len(ours)} rows of {stage}, the first of {symbol} on {date:%Y-%m-%d},"
            )
    return compared, ""


def fit_window(
    fits: Mapping[str, tuple[np.datetime64, np.datetime64]], sessions: Dates, *, horizon: int
) -> Check:
    """Whether every fit ended more than `horizon` sessions of the panel before its test.

    `fits` has by label the newest session that any part of it has seen, and its first test.
    """
    room, bad = [], []
    for label, (seen_until, test_start) in fits.items():
        first, last = np.searchsorted(sessions, [test_start, seen_until])
        room.append(first - last)
        if room[-1] <= horizon:
            ahead = f"{room[-1]} sessions before its test on {test_start}"
            bad.append(f"{label} has seen {seen_until}, {ahead}")
    found = f"The {len(fits)} fits end at least {min(room, default=0)} sessions before their tests"
    if bad or not fits:
        found = bad[0] if bad else "Nothing was fitted"
    reading = f"{found} (more than {horizon} are required{_more(bad)})."
    return Check("fit window", bool(fits) and not bad, reading)


def refit(states: Mapping[str, tuple[str, str]]) -> Check:
    """Whether fits are the same when the prices after their window are noise.

    `states` has by label the fingerprint of what was fitted, and of the same fit on `noise_after`.
    """
    moved = [label for label, (state, again) in states.items() if state != again]
    told = (
        f"{len(states)} fits, made again on prices that are noise after their window, are the same"
    )
    if moved:
        told = f"{moved[0]} changes with prices after its window{_more(moved)}"
    return Check("refit", not moved and bool(states), f"{told}.")


def _more(bad: Sequence[str]) -> str:
    return f"; {len(bad) - 1} more faults" if len(bad) > 1 else ""


def lag_curve(
    trade: Trade, panel: Panel, weights: pd.DataFrame
) -> tuple[list[dict[str, Any]], Check]:
    """What the weights, by decision date, earn when carried out late; all over the same sessions.

    The curve is the annualised ``sharpe`` by the ``delay`` in sessions.
    """
    place = np.searchsorted(panel.sessions, weights.index.to_numpy().astype("datetime64[D]"))
    start, returns = None, {}
    curve: list[dict[str, Any]] = []
    for delay in DELAYS:
        inside = place + delay < len(panel.sessions)
        if not inside.any():
            continue
        days = panel.sessions[(place + delay)[inside]].astype("datetime64[s]")
        late = weights[inside].set_axis(pd.DatetimeIndex(days))
        result = trade(panel, late, start=start, trade=changed(late))
        start = result.sessions[0] if start is None else start
        returns[delay] = result.returns_net
        sharpe = METRICS["sharpe"](result.returns_net, periods=result.terms.year)
        curve.append({"delay": delay, "sharpe": sharpe})
    told = ", ".join(f"{_ratio(one['sharpe'])} at {one['delay']}" for one in curve)
    t = _t(returns[0] - returns[1]) if 1 in returns else math.nan
    now, later = ([one["sharpe"] for one in curve] + [math.nan])[:2]
    lost = now - later
    cliff = lost >= CLIFF and lost >= now / 2 and t >= CLIFF_T
    rule = "a cliff, as if the next session had been known" if cliff else "no cliff"
    cost = f"one session costs {_ratio(lost)}, t = {_ratio(t, 1)}"
    reading = f"Sharpe by sessions of delay: {told}; {rule} ({cost})."
    return curve, Check("lag curve", not cliff, reading)


def placebos(
    trade: Trade, panel: Panel, weights: pd.DataFrame, net: Floats, draws: Sequence[Floats]
) -> tuple[dict[str, Any], float, Check]:
    """What random entries earned, beside the real result and the book of the mean weights.

    `net`, (D,), is what the run's weights earned, and `draws` what `benchmarks.random_entries` of them did. Returns
    the number and the Sharpe ratios of the draws (median, 5 % and 95 % quantile), the share of them that the real
    result beats, a tie counting half, and the check; NaN where undefined.
    """
    mean = weights * 0.0 + weights.to_numpy().mean(axis=0)
    book = trade(panel, mean, trade=pd.DataFrame(True, weights.index, weights.columns))
    sharpe, year = METRICS["sharpe"], book.terms.year
    sharpes = np.array([sharpe(one, periods=year) for one in draws])
    sharpes, real = sharpes[np.isfinite(sharpes)], sharpe(net, periods=year)
    low, middle, high = np.quantile(sharpes, [0.05, 0.5, 0.95]) if len(sharpes) else [math.nan] * 3
    rank = math.nan
    if len(sharpes) and math.isfinite(real):
        tied = np.isclose(sharpes, real, rtol=1e-9, atol=0)  # the same trades, in another order
        rank = float(np.mean(np.where(tied, 0.5, sharpes < real)))
    # the same book of mean weights for all: what differs is earned by timing, and that is random
    difference, unit = np.mean(draws, axis=0) - book.returns_net, float(np.std(draws, ddof=1))
    edge = float(difference.mean()) / unit * math.sqrt(year) if unit > 0 else math.nan
    t = _t(difference)
    loud = edge > PLACEBO_EDGE and t > PLACEBO_T
    verdict = "; the account pays for what nobody decided" if loud else ""
    told = f"{_ratio(edge, plus='+')} (t = {_ratio(t, 1)}, {len(draws)} draws){verdict}."
    reading = f"Sharpe of the same decisions at random times above that of their mean: {told}"
    ends = {"sharpe": float(middle), "low": float(low), "high": float(high)}
    found = {"name": "random entry", "n": len(sharpes), **ends}
    return found, rank, Check("placebos", not loud, reading)


def _t(values: Floats) -> float:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return float(values.mean()) / spread * math.sqrt(len(values)) if spread > 0 else math.nan


def _ratio(value: float, digits: int = 2, *, plus: str = "") -> str:
    return "undefined" if math.isnan(value) else f"{value:{plus}.{digits}f}".replace("-", "−")
