"""What is read first: the header with its verdict, and the headline figures.

Owns the wording and choice of these two, and how a figure of the registry is spelled anywhere in the page.
Every figure comes from the run or from the registry of the trading room.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from quantseq.market.bars import Dates, Floats
from quantseq.reporting import words
from quantseq.reporting.page import (
    Badge,
    Block,
    Card,
    Cards,
    Header,
    Interval,
    Key,
    Missing,
    Section,
)
from quantseq.reporting.run import Run
from quantseq.trading.luck import HEADLINES
from quantseq.trading.performance import METRICS

STRATEGY = Key("accent", "line", "strategy, net of costs")
RIVAL = Key("neutral", "line", "buy-and-hold")

_UNSIGNED = ("volatility", "hit_rate", "psr", "dsr")
_DAILY = ("var_95", "es_95", "best_day", "worst_day")


def figure(name: str, value: Any) -> str:
    """A figure of the registry with its sign and unit."""
    unit = METRICS[name].unit if name in METRICS else "ratio"
    if unit == "fraction":
        return words.percent(value, 2 if name in _DAILY else 1, sign=name not in _UNSIGNED)
    if unit == "sessions":
        text = words.count(value)
        return text if text == words.DASH else f"{text}{words.SPACE}sessions"
    return words.number(value, 2, sign=name not in _UNSIGNED)


def ends(interval: Any) -> tuple[float | None, float | None]:
    """Both ends of a stored interval, or None for what is unknown."""
    if not isinstance(interval, (list, tuple)) or len(interval) != 2:
        return None, None
    return words.known(interval[0]), words.known(interval[1])


def metrics(run: Run, who: str) -> Mapping[str, Any]:
    """The stored figures of ``strategy`` or ``buy_and_hold``; empty if there are none."""
    found: Mapping[str, Any] = (run.result.get("metrics") or {}).get(who) or {}
    return found


def audit(run: Run) -> Mapping[str, Any]:
    """What the look-ahead audit found; empty if the run was not audited."""
    found = run.result.get("audit")
    return found if isinstance(found, Mapping) else {}


def entries(found: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A stored list of objects, without whatever else stands in it."""
    listed = found.get(name)
    several = listed if isinstance(listed, (list, tuple)) else []
    return [one for one in several if isinstance(one, Mapping)]


def header(run: Run) -> Header:
    """Title, universe, span, badges, and the verdict in words."""
    manifest, verdict = run.manifest, run.verdict
    symbols = run.symbols
    universe = (
        words.listing(symbols)
        if len(symbols) <= 12
        else f"{len(symbols)} symbols, listed under Manifest"
    )
    span = (
        f"out of sample {words.date(manifest['test_start'])} to {words.date(manifest['test_end'])}, "
        f"{words.plural(len(run.equity), 'session')}"
    )
    sentence = str(verdict.get("sentence") or "")
    edge = verdict.get("edge") is True
    return Header(
        title=str(manifest["title"]),
        run_id=str(manifest["run_id"]),
        created=str(manifest.get("created") or ""),
        universe=universe,
        span=span,
        badges=_badges(run),
        edge=edge,
        answer="Edge found" if edge else "No edge found" if sentence else "No verdict",
        sentence=words.tidy(sentence) or "This run was not judged: result.json holds no verdict.",
    )


def _badges(run: Run) -> list[Badge]:
    manifest, gate = run.manifest, run.result.get("gate")
    badges = []
    if manifest.get("sample_data"):
        badges.append(Badge("bundled sample data", "warn"))
    cost = words.known(manifest.get("cost_bps"))
    if cost is None:
        badges.append(Badge("costs not recorded", "warn"))
    elif cost == 0:
        badges.append(Badge("no trading costs charged", "warn"))
    else:
        badges.append(Badge(f"{cost:g}{words.SPACE}bps of every trade charged"))
    fill = manifest.get("fill")
    if fill:
        badges.append(Badge(f"decided at the close, filled at the next {fill}"))
    if gate and gate.get("passed"):
        score, bar = (words.percent(gate.get(name)) for name in ("score", "bar"))
        badges.append(Badge(f"copy gate passed: {score} exact, {bar} needed", "good"))
    elif gate:
        badges.append(Badge("copy gate not passed", "warn"))
    badges.append(_audit_badge(run))
    return badges


def _audit_badge(run: Run) -> Badge:
    found = audit(run)
    failed = [
        words.text(one.get("name")) for one in entries(found, "checks") if not one.get("passed")
    ]
    if found.get("passed") is True:
        return Badge(f"look-ahead audit passed: {len(entries(found, 'checks'))} checks", "good")
    if found:
        return Badge(f"look-ahead audit failed: {', '.join(failed) or words.DASH}", "warn")
    return Badge("not audited for look-ahead", "warn")


def cards(run: Run) -> Section:
    """The headline figures with their intervals, beside buy-and-hold's."""
    own, rival = metrics(run, "strategy"), metrics(run, "buy_and_hold")
    intervals = run.result.get("intervals") or {}
    items = [
        _card(name, own.get(name), rival.get(name), intervals.get(name))
        for name in HEADLINES
        if name in own
    ]
    blocks: list[Block] = [Cards(items)] if items else [Missing("This run stored no figures.")]
    return Section(
        "figures",
        "Headline figures",
        "Strategy net of costs. The line under a figure is its 95 % interval, the dot the figure, "
        "the tick buy-and-hold."
        if items
        else "",
        blocks,
    )


def _card(name: str, own: Any, rival: Any, interval: Any) -> Card:
    label = METRICS[name].label if name in METRICS else name
    low, high = ends(interval)
    inside = low is not None and high is not None
    return Card(
        label,
        figure(name, own),
        f"95 %: {figure(name, low)} to {figure(name, high)}" if inside else "",
        f"buy-and-hold {figure(name, rival)}",
        _bar(low, high, words.known(own), words.known(rival)),
    )


def _bar(
    low: float | None, high: float | None, value: float | None, rival: float | None
) -> Interval | None:
    if low is None or high is None or value is None:
        return None
    marks = [low, high, value] + ([] if rival is None else [rival])
    left, width = min(marks), max(marks) - min(marks)
    if width <= 0:
        return None
    place = [round(3 + 94 * (mark - left) / width, 1) for mark in marks]
    return Interval(place[0], place[1], place[2], None if rival is None else place[3])


def days(index: Any) -> Dates:
    """Sessions as plain dates."""
    dates: Dates = pd.DatetimeIndex(index).to_numpy().astype("datetime64[D]")
    return dates


def floats(series: Any) -> Floats:
    """A series as plain numbers."""
    values: Floats = np.asarray(series, dtype=np.float64)
    return values


def month_rows(columns: Mapping[str, "pd.Series[float] | None"], show: Any) -> list[list[str]]:
    """Each column's last value of every month, as table rows that start with the date."""
    present = {name: column for name, column in columns.items() if column is not None}
    frame = pd.DataFrame(present)
    index = pd.DatetimeIndex(frame.index)
    last = frame.groupby([index.year, index.month]).tail(1)
    return [
        [words.date(at), *(show(value) for value in row)]
        for at, row in zip(last.index, last.to_numpy(), strict=True)
    ]
