"""What is known at a close, as plain numbers: of the symbol, of its market, and of the sessions to come.

Owns the numbers that the reference's scale is fitted on and that the network is told, and how they are brought to
one measure (`Measure`). Knows nothing of tokens or networks, and fits nothing but that measure.

*Surprise* is the score of the scale: above zero where a return was larger than was expected of it, zero on average
as long as the scale is right, and bounded, so that no glitch dominates an average. *Echoes* are what the same days
of the last four quarters were like: companies report in the same weeks. Every number of session i uses bars up to
its close; the calendar of the sessions after it is known in advance, and so are the events that were announced by
then: the variance of the session that reacts is that of any day and some more [1]_.

References
----------
.. [1] Dubinsky, A., Johannes, M., Kaeck, A. and Seeger, N. (2019). Option pricing of earnings announcement risks.
   Review of Financial Studies 32(2).
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import ConfigError
from quantseq.forecasting.volatility import (
    LONG_WINDOW,
    WINDOWS,
    SymbolFeatures,
    at_sessions,
    before,
    ewma,
    features,
    rolling_mean,
)
from quantseq.market.bars import Bars, Dates, Events, Floats, Panel, monday
from quantseq.market.calendars import planned_sessions

CHANNELS = ("return", "surprise", "range", "volume")
"""What of each session the network reads beside its token. Not the market's moves: those are the same for all, would
tell one day from another, and the network would learn the days by heart."""

NUM_NUMBERS, NUM_SHARED, NUM_DAYS, NUM_EVENTS = 123, 21, 25, 4
"""How many numbers describe a close, how many of these its market, how many the day of a session to come, and how many
its scheduled events. All but the second add up to a multiple of 4, see `seq2seq.decoding`."""

CUT = 0.005
"""Share of training values at each end that a number is cut to."""

QUARTER = 63
"""Sessions between two reports of a company."""

NEAR = 4
"""Sessions by which a report may come earlier or later than a quarter after the last."""

EVENT = 2.5
"""Standardised return, on more volume than usual, beyond which a session counts as an event."""

REACTS = 1
"""Where among the numbers of its events stands how likely a session is to react to one."""

COVARIATE_MOVES = (1, 5, 22)
"""Sessions over which a covariate has moved."""

NUM_COVARIATE = 1 + len(COVARIATE_MOVES)
"""How many numbers, the last of those of a close, say how it stands and has moved."""

HABIT, PRIOR = 12, 4
"""Past events of a symbol that say what the next is like, and how many count for what events are like elsewhere."""

LONGEST_GAP = 4
"""Days between two sessions, at most: some calendars also know of closures that nobody could foresee."""

HALF_LIFE = 120
"""Sessions after which the ratio of returns to ranges weighs half."""

PLAIN_NU = 5.0
"""Degrees of freedom of the surprise."""

Numbers = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Standardised:
    """A symbol's sessions beside what was expected of them the day before; (n,) each, zero where unknown."""

    z: Floats  # returns over their scale
    surprise: Floats
    range: Floats  # log of the day's range over the scale
    volume: Floats  # log of volume over its mean of the 20 sessions before
    event: Floats  # 1 where much happened
    scale: Floats  # what is expected of the session after each

    @classmethod
    def of(cls, one: SymbolFeatures) -> Self:
        """Compare sessions with a plain scale: nothing of it is fitted, so that inputs follow from prices alone."""
        day, week, month, long = (one.har[:, 1 + k] for k in range(len(WINDOWS)))
        plain = np.exp((0.15 * day + 0.3 * week + 0.35 * month + 0.2 * long) / 2)
        squares = np.nan_to_num(np.clip((one.returns / before(plain)) ** 2, 0, 25), nan=1.0)
        scale = 0.8 * plain * np.sqrt(ewma(squares, 0.5 ** (1 / HALF_LIFE), 1.0))
        expected = before(scale)
        z = np.nan_to_num(one.returns / expected)
        surprise = np.where(np.isfinite(expected), score_of_scale(z * z, PLAIN_NU), 0.0)
        volume, usual = np.zeros(len(z)), before(rolling_mean(one.volume, 20))
        traded = (one.volume > 0) & (usual > 0)
        volume[traded] = np.clip(np.log(one.volume[traded] / usual[traded]), -4, 4)
        spread = np.clip(np.nan_to_num(one.log_variance / 2 - np.log(expected)), -4, 4)
        event = ((np.abs(z) > EVENT) & (volume >= 0)).astype(np.float64)
        return cls(np.clip(z, -8, 8), surprise, spread, volume, event, scale)


@dataclass(frozen=True)
class SymbolInputs(SymbolFeatures):
    """A symbol's features, and all else that is known of it at the close of each of its n sessions.

    No number is NaN: what is unknown is what it is on average, or zero, which says the same.
    """

    surprises: Standardised
    shared: Numbers  # (n, NUM_SHARED), numbers of its market
    days: Numbers  # (D, H, NUM_DAYS), of the H sessions after each of its market's D
    place: NDArray[np.intp]  # (n,), where its own sessions stand among those
    # (n, H, NUM_EVENTS), what its scheduled events say of the H sessions after each
    events: Numbers
    names: tuple[str, ...]  # of its numbers, and of those of a day

    @property
    def channels(self) -> Numbers:
        """What of each session the network reads, (n, len(CHANNELS))."""
        own = self.surprises
        shown = [np.clip(own.z, -4, 4), own.surprise, own.range, own.volume]
        return np.column_stack(shown).astype(np.float32)

    @property
    def numbers(self) -> Numbers:
        """What describes each close, (n, NUM_NUMBERS); computed when asked for, which is cheaper than to keep it."""
        own = _stacked(_numbers(self, self.surprises), NUM_NUMBERS - NUM_SHARED)
        return np.concatenate([own, self.shared], axis=1)


def inputs(
    panel: Panel, *, horizon: int, members: Container[str] | None = None
) -> dict[str, SymbolInputs]:
    """Compute every symbol's inputs, with the `members` as its market; see `features`, and BarsError as there."""
    data = features(panel, members)
    markets: dict[str, list[str]] = {}
    for name, one in data.items():
        markets.setdefault(one.market, []).append(name)
    result: dict[str, SymbolInputs] = {}
    for names in markets.values():
        seen = {name: Standardised.of(data[name]) for name in names}
        makers = {name: seen[name] for name in names if members is None or name in members}
        known = _union([data[name].sessions for name in makers])
        shared = _market(_means(known, data, makers)) if makers else {}
        sessions = _union([data[name].sessions for name in names])
        ahead = next_sessions(data[names[0]].calendar, sessions, horizon + 1)
        calendar = _calendar(ahead)
        days = _stacked(calendar, NUM_DAYS)
        listed: tuple[str, ...] = ()
        for name in names:
            one, own = data[name], seen[name]
            place = np.searchsorted(sessions, one.sessions)
            theirs = shared
            if not np.array_equal(known, one.sessions):
                alone = _market(_means(one.sessions, data, {name: own}))
                theirs = {
                    key: at_sessions(one.sessions, known, shared.get(key, values), values)
                    for key, values in alone.items()
                }
            theirs = theirs | _covariate(panel.covariate, one.sessions)
            listed = listed or (*_numbers(one, own), *theirs, *calendar)
            result[name] = SymbolInputs(
                **{field.name: getattr(one, field.name) for field in fields(one)},
                surprises=own,
                shared=_stacked(theirs, NUM_SHARED),
                days=days,
                place=place,
                events=_events(panel.events.get(name), own, one.sessions, ahead[place]),
                names=listed,
            )
    return {name: result[name] for name in panel}


@dataclass(frozen=True)
class Measure:
    """How numbers are brought to one measure: cut at the ends of what training showed, then mean 0, deviation 1."""

    low: Floats  # (K,) each
    high: Floats
    mean: Floats
    deviation: Floats

    @classmethod
    def fit(cls, values: Numbers) -> Self:
        """Fit on the rows (R, K) of a training block; a number that never moves keeps its size."""
        low, high = np.quantile(values, [CUT, 1 - CUT], axis=0).astype(np.float64)
        inside = np.clip(values, low.astype(np.float32), high.astype(np.float32))
        deviation = inside.std(axis=0, dtype=np.float64)
        deviation[deviation < 1e-6] = 1.0
        return cls(low, high, inside.mean(axis=0, dtype=np.float64), deviation)

    def apply(self, values: Numbers) -> Numbers:
        """Numbers (..., K) in that measure."""
        low, high, mean, deviation = (
            part.astype(np.float32) for part in (self.low, self.high, self.mean, self.deviation)
        )
        return np.asarray((np.clip(values, low, high) - mean) / deviation)

    def part(self, places: slice) -> Self:
        """That of some of the numbers."""
        return type(self)(
            self.low[places], self.high[places], self.mean[places], self.deviation[places]
        )

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from ``dataclasses.asdict`` as JSON."""
        return cls(**{name: np.array(values) for name, values in state.items()})


def score_of_scale(squares: Floats, nu: Floats | float) -> Floats:
    """Slope of the log density of squared standardised returns in the log of the scale.

    Above zero where the scale was too small, within [−1, ν]: no glitch can dominate an average.
    """
    return np.asarray((nu + 1) * squares / (nu + squares) - 1, dtype=np.float64)


def _stacked(values: Mapping[str, Floats], count: int) -> Numbers:
    """Numbers by name, side by side in a last axis."""
    assert len(values) == count, f"{len(values)} numbers, not {count}"
    return np.stack([np.asarray(one, np.float32) for one in values.values()], axis=-1)


def _union(several: Sequence[Dates]) -> Dates:
    """All sessions, sorted."""
    return np.unique(np.concatenate(several)) if several else np.array([], "datetime64[D]")


def _means(
    sessions: Dates, data: Mapping[str, SymbolFeatures], seen: Mapping[str, Standardised]
) -> Floats:
    """Means over the symbols of a market, at its sessions: (D, 6).

    They are added one by one, so that a symbol that comes later changes no bit of an earlier session.
    """
    total, count = np.zeros((len(sessions), 6)), np.zeros((len(sessions), 1))
    for name, own in seen.items():
        place = np.searchsorted(sessions, data[name].sessions)
        shown = [own.z, own.surprise, own.range, own.volume, own.event, own.z**2]
        total[place] += np.column_stack(shown)
        count[place] += 1
    return total / count


def _market(means: Floats) -> dict[str, Floats]:
    """Numbers of a market from its mean sessions (D, 6)."""
    z, surprise, spread, volume, event, square = means.T
    found = {"market z": z, "market dispersion": np.sqrt(np.maximum(square - z * z, 0))}
    for window in (1, 5, 22):
        found[f"market surprise {window}"] = _mean(surprise, window)
        found[f"market range {window}"] = _mean(spread, window)
        found[f"market event {window}"] = _mean(event, window)
    for window in (5, 22, 66):
        found[f"market z {window}"] = _mean(z, window)
    for window in (1, 5):
        found[f"market volume {window}"] = _mean(volume, window)
    found["market surprise 66"] = _mean(surprise, 66)
    return found


def _numbers(one: SymbolFeatures, own: Standardised) -> dict[str, Floats]:
    """What a symbol shows at each close, (n,) each.

    Not how large its scale is: what that meant in one decade it did not mean in the next.
    """
    found: dict[str, Floats] = {}
    for lag in range(5):
        found[f"z {lag}"] = np.clip(_ago(own.z, lag), -4, 4)
    found["fall"], found["rise"] = np.minimum(own.z, 0), np.maximum(own.z, 0)
    for window in (1, 2, 3, 5, 10, 22, 66, 252):
        found[f"surprise {window}"] = _mean(own.surprise, window)
    returns, night = np.nan_to_num(one.returns), np.nan_to_num(one.overnight)
    parts = {
        "night": night**2,
        "day": (returns - night) ** 2,
        "fallen": np.minimum(returns, 0) ** 2,
        "range": np.exp(one.log_variance),
    }
    for name, values in parts.items():
        usual = _mean(values, LONG_WINDOW) + 1e-8
        for window in (1, 5, 22, 66):
            found[f"{name} {window}"] = np.log(_mean(values, window) / usual + 0.02)
    nightly = _mean(parts["night"], LONG_WINDOW) / (_mean(parts["range"], LONG_WINDOW) + 1e-8)
    found["night's share"] = np.log(nightly + 0.02)
    for window in (22, 66):
        spread = _mean(own.range**2, window) - _mean(own.range, window) ** 2
        found[f"spread of ranges {window}"] = np.sqrt(np.maximum(spread, 0))
        found[f"largest {window}"] = _largest(np.abs(own.z), window)
        found[f"quarticity {window}"] = np.log(_mean(own.z**4, window) + 0.1)
    for window in (5, 22, 66, 252):
        found[f"return {window}"] = _mean(own.z, window)
    for lag in (0, 1, 4):
        found[f"volume {lag}"] = _ago(own.volume, lag)
    for window in (5, 22, 66):
        found[f"mean volume {window}"] = _mean(own.volume, window)
    since = np.minimum(_since(own.event), 252)
    found["since event"] = np.log1p(since)
    angle = 2 * np.pi * since / QUARTER
    found["event cosine"], found["event sine"] = np.cos(angle), np.sin(angle)
    for name, values in (("surprise", own.surprise), ("volume", own.volume), ("range", own.range)):
        found |= _echoes(name, np.minimum(values, 3))
    return found


def _echoes(name: str, values: Floats) -> dict[str, Floats]:
    """How the days around the next session were in each of the last four quarters, and on average of them."""
    found = {}
    largest, near = _largest(values, 2 * NEAR + 1), _mean(values, 3)
    for quarter in range(1, 5):
        lag = quarter * QUARTER - 1  # sessions before the cutoff: the next one lies a session later
        found[f"{name} largest, quarter {quarter}"] = _ago(largest, lag - NEAR)
        found[f"{name} near, quarter {quarter}"] = _ago(near, lag - 1)
    for offset in range(-NEAR, NEAR + 1):
        total = np.zeros(len(values))
        for quarter in range(1, 5):
            total += _ago(values, quarter * QUARTER - 1 + offset)
        found[f"{name} echo {offset}"] = total / 4
    return found


def _covariate(bars: Bars | None, sessions: Dates) -> dict[str, Floats]:
    """How high a market's covariate stood the day before each session, and how it had moved; (D,) each.

    Its own session of that day may close later than the market's.
    """
    count = len(sessions)
    if bars is None or not len(bars):
        return {f"covariate {name}": np.zeros(count) for name in ("level", *COVARIATE_MOVES)}
    level = np.log(bars.adj_close)
    place = np.searchsorted(bars.sessions, sessions) - 1
    usual = rolling_mean(np.concatenate([np.full(251, level[0]), level]), 252)[251:]
    found = {"covariate level": level - usual}
    for lag in COVARIATE_MOVES:
        ago = np.maximum(np.arange(len(level)) - lag, 0)
        found[f"covariate {lag}"] = level - level[ago]
    return {name: np.where(place >= 0, values[place], 0.0) for name, values in found.items()}


def _events(events: Events | None, own: Standardised, sessions: Dates, ahead: Dates) -> Numbers:
    """What the events that were known at each close say of the sessions after it: (n, H, NUM_EVENTS).

    The session that reacts is the one whose return, from close to close, holds the event. Where nobody says whether
    that comes before the close of its date or after, the symbol's earlier events say how likely each is. They say
    too by how much it widens: the variance of such a day comes on top of that of any day [1]_. `ahead` (n, 2 + H) has
    each session and those that follow.
    """
    n, steps = len(sessions), ahead.shape[1]
    if events is None:
        return np.broadcast_to(np.zeros(NUM_EVENTS, np.float32), (n, steps - 2, NUM_EVENTS))
    edges = np.column_stack([np.append(sessions[:1] - 1, sessions[:-1]), ahead])
    known = np.searchsorted(sessions, events.known_on)
    begin = np.maximum(known, np.searchsorted(edges[:, -1], events.dates))
    stop = np.searchsorted(edges[:, 0], events.dates, "right")
    on, after = (np.searchsorted(sessions, events.dates, side) for side in ("left", "right"))
    variance = np.nan_to_num(own.z * before(own.scale)) ** 2
    usual = _mean(variance, 252) * 252 / np.minimum(np.arange(1, n + 1), 252)
    expected = np.nan_to_num(own.scale, nan=1.0) ** 2
    louder = 3 * (np.log1p(own.z**2 / PLAIN_NU) - np.log1p(own.z**2 / (4 * PLAIN_NU)))
    early, late = events.timings == "before-open", events.timings == "after-close"
    reacts, widens = np.zeros((2, n, steps))
    for at in np.flatnonzero(begin < stop):
        rows = slice(begin[at], stop[at])
        seen = np.flatnonzero((after[:at] <= begin[at]) & (on[:at] < after[:at]))[-HABIT:]
        votes = np.where(
            early[seen], 2.0, np.where(late[seen], -2.0, louder[on[seen]] - louder[after[seen]])
        )
        share = 1 / (1 + np.exp(-votes.sum() / 2))
        share = 1.0 if early[at] else 0.0 if late[at] else np.clip(share, 0.03, 0.97)
        moved = variance[np.where(votes > 0, on[seen], after[seen])]
        extra = (moved.sum() + PRIOR * 3 * usual[rows]) / (len(seen) + PRIOR)
        times = np.minimum(extra / expected[rows], 50)[:, None]
        day, left, right = events.dates[at], edges[rows, :-1], edges[rows, 1:]
        chance = np.maximum(
            ((left < day) & (day <= right)) * share, ((left <= day) & (day < right)) * (1 - share)
        )
        reacts[rows] = np.maximum(reacts[rows], chance)
        widens[rows] = np.maximum(widens[rows], np.log1p(chance * times) / 2)
    found = {"widens": widens[:, 1:-1], "reacts": reacts[:, 1:-1]}
    return _stacked(found | {"before": reacts[:, 2:], "after": reacts[:, :-2]}, NUM_EVENTS)


def _calendar(ahead: Dates) -> dict[str, Floats]:
    """What days the sessions after each are, (D, H) each."""
    target, gap = ahead[:, 1:-1], np.diff(ahead, axis=1).astype(np.int64)
    weekday = (target - monday(target)).astype(np.int64)
    usual, usual_after = np.where(weekday == 0, 3, 1), np.where(weekday == 4, 3, 1)
    month = target.astype("datetime64[M]")
    first = (month.astype(np.int64) // 3 * 3).astype("datetime64[M]").astype("datetime64[D]")
    day = (target - month.astype("datetime64[D]")).astype(np.int64) + 1
    left = ((month + 1).astype("datetime64[D]") - target).astype(np.int64)
    begun = (target - first).astype(np.int64)
    year = (target - target.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    found: dict[str, Any] = {
        name: weekday == number
        for number, name in enumerate(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"))
    }
    found["weekend"] = weekday > 4
    found["after holiday"] = np.clip(gap[:, :-1] - usual, 0, LONGEST_GAP - 1)
    found["before holiday"] = np.clip(gap[:, 1:] - usual_after, 0, LONGEST_GAP - 1)
    found["first days"] = day <= 3
    found["last days"] = left <= 3
    found["first Friday"] = (weekday == 4) & (day <= 7)
    found["third Friday"] = (weekday == 4) & (day > 14) & (day <= 21)
    found["year's end"] = year > 355
    for harmonic in (1, 2, 3):
        for name, share in (("quarter", begun / 91.3), ("year", year / 365.25)):
            found[f"{name} cosine {harmonic}"] = np.cos(2 * np.pi * harmonic * share)
            found[f"{name} sine {harmonic}"] = np.sin(2 * np.pi * harmonic * share)
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def next_sessions(calendar: str | None, sessions: Dates, count: int) -> Dates:
    """Each session (D,), and the `count` that its calendar had planned after it: (D, 1 + count), known at the session.

    Where no calendar is known, or it does not reach, the next weekday follows, or the next day for whoever trades
    at weekends.
    """
    known: Dates = np.array([], dtype="datetime64[D]")
    try:
        if calendar is not None:
            ahead = np.append(sessions, sessions[-1] + 30 + 3 * count)
            known = planned_sessions(calendar, ahead)
    except ConfigError:  # the installed packages cannot build it
        pass
    columns = [sessions]
    weekend = _mean((~np.is_busday(sessions)).astype(np.float64), 7) > 0
    for _ in range(count):
        last = columns[-1]
        following = np.where(weekend, last + 1, np.busday_offset(last, 1, roll="backward"))
        place = np.searchsorted(known, last, "right")
        inside = (place > 0) & (place < len(known))
        following[inside] = known[place[inside]]
        columns.append(following.astype("datetime64[D]"))
    return np.stack(columns, axis=1)


def _mean(values: Floats, window: int) -> Floats:
    """Mean of the last `window` values, those before the first counted as zeros."""
    return rolling_mean(np.concatenate([np.zeros(window - 1), values]), window)[window - 1 :]


def _ago(values: Floats, lag: int) -> Floats:
    """What stood `lag` sessions before; zero before the first."""
    none = np.zeros(min(lag, len(values)))
    return np.concatenate([none, values[: max(len(values) - lag, 0)]])


def _largest(values: Floats, window: int) -> Floats:
    """Largest of the last `window` values."""
    return pd.Series(values).rolling(window, min_periods=1).max().to_numpy()


def _since(event: Floats) -> Floats:
    """Sessions since the last event; many where there was none."""
    place = np.arange(len(event))
    last = np.maximum.accumulate(np.where(event > 0, place, -252))
    return np.asarray(place - last, np.float64)
