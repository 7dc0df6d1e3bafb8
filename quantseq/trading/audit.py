"""The look-ahead audit: whether anything that was decided knew what nobody could know yet.

Owns the checks, the rule of each, and the sentence that says how it went. A *line* is a function
from prices to everything that was made of them up to a decision; a check cuts, rewrites or shortens
the prices and looks at what moves. Knows nothing of models, folds or files, and writes no ledger line:
neither an audit nor a placebo is a trial.

The checks and their rules
--------------------------
- **Prefix invariance.** On prices cut at t every stage of the line, scale to weights, equals what it
  was on all prices, bit for bit.
- **Future corruption.** Nor does a bit at or before t move when the bars after t are half of them
  missing, all noise, or ten times as large.
- **Fit window.** The newest session that any fitted part has seen lies more than one horizon before
  the first test, and what is fitted again on prices rewritten after its window is the same.
- **Warm-up drift.** With only the `KEPT` newest sessions before a decision, σ, expected return (in
  units of σ) and P(up) of its forecast agree within `DRIFT`: nothing hangs on where history begins.
- **Fill timing.** Changing one decision moves no return up to its session, and earns nothing of a gap
  into the next one.

The lag curve and the placebos, which need a market to be judged by, stand in `placebos`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from quantseq.market.bars import FIELDS, PRICES, Bars, Dates, Panel
from quantseq.trading.broker.account import BacktestResult

KEPT = 756
"""Sessions of history that must be enough: what the first training block has by default."""

DRIFT = 0.05
"""Largest change by a shorter history: of ln σ, of the mean in units of σ, of P(up)."""

GAP = 1.1
"""Factor of the jump into a session that a new position must not earn."""

REWRITES = ("half missing", "noise", "ten times as large")
"""What `rewritten` can do to the bars after a cut."""

Trace = Mapping[str, pd.DataFrame]
"""Stages in the order of the line; rows by (date, symbol), each known at the close of its date."""

Line = Callable[[Panel, np.datetime64], Trace]
"""What is made of a panel for the decision at a date and those just before it."""


class Trade(Protocol):
    """Sends weights through the account, with costs, fills and masks as the run had them."""

    def __call__(self, panel: Panel, weights: pd.DataFrame, *, start: Any = None) -> BacktestResult:
        """See `backtest`."""
        ...


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes
    ----------
    name : str
    passed : bool
    reading : one sentence with its numbers
    """

    name: str
    passed: bool
    reading: str


@dataclass(frozen=True)
class Fit:
    """One fitted model, as far as its window matters.

    Attributes
    ----------
    label : str
    seen_until, test_start : datetime64[D]
        Newest session that any part of it has seen; first session it is tested on.
    state : str
        Fingerprint of what was fitted, "" where it is not compared.
    again : str
        The same after a fit on prices rewritten after the window.
    """

    label: str
    seen_until: np.datetime64
    test_start: np.datetime64
    state: str = ""
    again: str = ""


def cut_points(decisions: Dates, count: int) -> Dates:
    """`count` decision dates (fewer if there are fewer), spread evenly and away from the last."""
    days = np.unique(decisions)
    places = (np.arange(count) + 0.5) / count * max(len(days) - 1, 1)
    return np.asarray(days[np.unique(places.astype(np.intp))])


def rewritten(panel: Panel, cut: Any, how: str, *, seed: int = 0) -> Panel:
    """The same bars up to `cut`, and another future: `how` is one of `REWRITES`.

    Bars cannot hold NaN; a price that is not known is a bar that is missing.
    """
    assert how in REWRITES
    rng = np.random.default_rng(seed)
    changed: list[Bars] = []
    for bars in panel.values():
        late = bars.sessions > np.datetime64(cut, "D")
        noise, gone = np.exp(rng.normal(0, 0.3, len(bars))), rng.random(len(bars)) < 0.5
        factor = noise if how == "noise" else np.full(len(bars), 10.0)
        keep = np.ones(len(bars), dtype=bool)
        if how == "half missing":
            factor, keep = np.ones(len(bars)), ~(late & gone)
        values = {name: getattr(bars, name) for name in FIELDS}
        values |= {name: np.where(late, values[name] * factor, values[name]) for name in PRICES}
        values["volume"] = np.where(late, values["volume"] * factor, values["volume"])
        if keep.any():
            parts = {name: value[keep] for name, value in values.items()}
            changed.append(replace(bars, sessions=bars.sessions[keep], **parts))
    return Panel(changed)


def prefix_invariance(
    line: Line,
    panel: Panel,
    cuts: Dates,
    *,
    known: Callable[[np.datetime64], Trace] | None = None,
    step: Callable[[], object] = lambda: None,
) -> Check:
    """Whether the line, on prices cut at each of `cuts`, makes what it made of all of them.

    Parameters
    ----------
    line : Line
    panel : Panel
    cuts : (K,) datetime64[D]
    known : callable, optional
        What the run itself made, by date; by default the line on the whole panel.
    step : callable, optional
        Called after each cut.
    """
    futures: dict[str, Callable[[np.datetime64], Panel]] = {"removed": panel.until}
    return _unmoved("prefix invariance", line, panel, cuts, futures, known, step)


def future_corruption(
    line: Line,
    panel: Panel,
    cuts: Dates,
    *,
    seed: int = 0,
    known: Callable[[np.datetime64], Trace] | None = None,
    step: Callable[[], object] = lambda: None,
) -> Check:
    """Whether anything at or before `cuts` moves when the bars after them are rewritten.

    Parameters
    ----------
    line, panel, cuts, known, step
        As in `prefix_invariance`.
    seed : int
        Of the noise and of the bars that go missing.
    """

    def future(how: str) -> Callable[[np.datetime64], Panel]:
        return lambda cut: rewritten(panel, cut, how, seed=seed)

    return _unmoved(
        "future corruption", line, panel, cuts, {how: future(how) for how in REWRITES}, known, step
    )


def _unmoved(
    name: str,
    line: Line,
    panel: Panel,
    cuts: Dates,
    futures: Mapping[str, Callable[[np.datetime64], Panel]],
    known: Callable[[np.datetime64], Trace] | None,
    step: Callable[[], object],
) -> Check:
    rows, stages = 0, ""
    for cut in cuts:
        expected = line(panel, cut) if known is None else known(cut)
        stages = ", ".join(expected)
        for what, future in futures.items():
            compared, moved = _compare(expected, line(future(cut), cut), cut)
            rows += compared
            if moved:
                return Check(
                    name,
                    False,
                    f"With the bars after {cut} {what}, {moved} changed: they were known before.",
                )
        step()
    if not rows:
        return Check(name, False, "There was not a single row to compare.")
    return Check(
        name,
        True,
        f"With the bars after each of {len(cuts)} dates {', '.join(futures)}, not a bit of {stages} "
        f"moved at or before it ({rows} rows).",
    )


def _compare(expected: Trace, found: Trace, cut: np.datetime64) -> tuple[int, str]:
    """Rows compared, and the first stage that differs in words, "" if none does."""
    compared, last = 0, pd.Timestamp(str(cut))
    for stage in expected:
        ours, other = (
            frame[frame.index.get_level_values(0) <= last]
            for frame in (expected[stage], found[stage])
        )
        compared += len(ours)
        both = ours.index.intersection(other.index)
        one, two = (_bits(frame.loc[both]) for frame in (ours, other))
        same = one.shape == two.shape
        moved = both[(one != two).any(axis=1)] if same else both
        moved = moved.append(ours.index.symmetric_difference(other.index))
        if len(moved):
            date, symbol = min(moved)
            return compared, (
                f"{len(moved)} of {len(ours)} rows of {stage}, the first of {symbol} on {date:%Y-%m-%d},"
            )
    return compared, ""


def _bits(frame: pd.DataFrame) -> Any:
    return np.ascontiguousarray(frame.to_numpy(dtype=np.float64)).view(np.int64)


def fit_window(fits: Sequence[Fit], sessions: Dates, *, horizon: int) -> Check:
    """Whether every fit ended more than `horizon` sessions before its test, and saw nothing later.

    Parameters
    ----------
    fits : sequence of Fit
    sessions : (D,) datetime64[D]
        The panel's.
    horizon : int
        Steps that targets reach ahead.
    """
    seen, tests = (
        np.searchsorted(sessions, np.array([getattr(one, name) for one in fits]))
        for name in ("seen_until", "test_start")
    )
    room, repeated = tests - seen, [one for one in fits if one.state]
    bad = [
        f"{one.label} has seen {one.seen_until}, {ahead} sessions before its test on {one.test_start}"
        for one, ahead in zip(fits, room, strict=True)
        if ahead <= horizon
    ]
    bad += [
        f"{one.label} changes with prices after {one.seen_until}"
        for one in repeated
        if one.state != one.again
    ]
    if bad or not fits:
        first = bad[0] if bad else "Nothing was fitted"
        return Check(
            "fit window", False, f"{first} (more than {horizon} sessions are required{_more(bad)})."
        )
    again = "none was fitted again"
    if repeated:
        again = f"{len(repeated)} fitted again on prices rewritten after their window are the same"
    return Check(
        "fit window",
        True,
        f"The {len(fits)} fits end at least {room.min()} sessions before their tests (more than "
        f"{horizon} are required); {again}.",
    )


def _more(bad: Sequence[str]) -> str:
    return f"; {len(bad) - 1} more faults" if len(bad) > 1 else ""


def warm_up(
    moments: Callable[[Panel, Dates], pd.DataFrame],
    panel: Panel,
    decisions: Dates,
    *,
    kept: int = KEPT,
    tolerance: float = DRIFT,
) -> Check:
    """Whether the forecast for some dates depends on how long ago history begins.

    Parameters
    ----------
    moments : callable
        From a panel and dates to the columns symbol, cutoff, mean, std and prob_up.
    panel : Panel
    decisions : (K,) datetime64[D]
        Those with more than `kept` sessions before them are looked at.
    kept : int
        Sessions before the first of them that are left.
    tolerance : float
    """
    place = np.searchsorted(panel.sessions, np.sort(decisions))
    dates = panel.sessions[place[place > kept]]
    if not len(dates):
        return Check(
            "warm-up drift",
            True,
            f"Not tested: no decision has more than {kept} sessions before it.",
        )
    begin = panel.sessions[np.searchsorted(panel.sessions, dates[0]) - kept]
    key = ["symbol", "cutoff"]
    whole, short = (
        moments(prices, dates).set_index(key) for prices in (panel, panel.between(begin))
    )
    short = short.reindex(whole.index)
    whole, short = (frame[short["std"].notna()] for frame in (whole, short))
    drift = {
        "ln σ": np.abs(np.log(short["std"] / whole["std"])),
        "the mean in units of σ": np.abs(short["mean"] - whole["mean"]) / whole["std"],
        "P(up)": np.abs(short["prob_up"] - whole["prob_up"]),
    }
    worst = {name: float(values.max()) for name, values in drift.items() if len(values)}
    passed = bool(worst) and all(value <= tolerance for value in worst.values())
    numbers = ", ".join(f"{name} moves by {value:.4f}" for name, value in worst.items())
    return Check(
        "warm-up drift",
        passed,
        f"With {kept} sessions of history instead of all, {numbers} at most in {len(whole)} "
        f"forecasts ({tolerance:g} is allowed).",
    )


def fill_timing(trade: Trade, panel: Panel, weights: pd.DataFrame, cuts: Dates) -> Check:
    """Whether a decision earns before it can be filled.

    Parameters
    ----------
    trade : Trade
        At zero costs, so that what differs is earned.
    panel : Panel
    weights : DataFrame
        By decision date and symbol.
    cuts : (K,) datetime64[D]
        Decisions that are changed, one at a time; each needs a session after it.
    """
    name, sessions, tried = "fill timing", panel.sessions, 0
    for cut in cuts:
        row = int(np.searchsorted(weights.index.to_numpy().astype("datetime64[D]"), cut))
        here = int(np.searchsorted(sessions, cut))
        if here + 1 >= len(sessions):
            continue
        gapped, other = _gap_into(panel, sessions[here + 1], cut), weights.copy()
        held = np.abs(weights.to_numpy()[row]).sum() > 0
        other.iloc[row] = 0.0 if held else 1 / weights.shape[1]
        one, two = (trade(gapped, frame) for frame in (weights, other))
        moved = np.abs(one.returns_net - two.returns_net)
        if moved[one.sessions <= cut].any():
            return Check(name, False, f"The decision of {cut} moves returns up to its own close.")
        if moved[one.sessions == sessions[here + 1]].max() > 1e-9:
            return Check(
                name,
                False,
                f"The decision of {cut} earns the gap into {sessions[here + 1]}, which was over "
                "before it could be filled.",
            )
        tried += 1
    return Check(
        name,
        tried > 0,
        f"{tried} decisions, changed one at a time, moved no return up to their session and earned "
        "nothing of a gap into the next.",
    )


def _gap_into(panel: Panel, session: np.datetime64, last: np.datetime64) -> Panel:
    """The panel with a session in which all prices stand still `GAP` times above the last close."""
    changed = []
    for bars in panel.values():
        at = int(np.searchsorted(bars.sessions, session))
        if at == 0 or at == len(bars) or bars.sessions[at] != session:
            changed.append(bars)
            continue
        values = {}
        for field in PRICES:
            values[field] = getattr(bars, field).copy()
            source = "adj_close" if field == "adj_close" else "close"
            values[field][at] = GAP * getattr(bars, source)[at - 1]
        changed.append(replace(bars, **values))
    return Panel(changed)


def in_words(checks: Iterable[Check]) -> str:
    """``passed``, or ``failed:`` and the names of the checks that did."""
    failed = [one.name for one in checks if not one.passed]
    return f"failed: {', '.join(failed)}" if failed else "passed"
