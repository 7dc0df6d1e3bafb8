"""A page for several runs side by side.

Owns `Comparison`, the numbers it is made from, and its wording. Computes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quantseq.files import write_text
from quantseq.reporting import words
from quantseq.reporting.drawing.curves import Line, curves
from quantseq.reporting.drawing.live import Live
from quantseq.reporting.page import (
    Badge,
    Block,
    Cell,
    Facts,
    Header,
    Key,
    Missing,
    Page,
    Section,
    Sheet,
    Table,
    chart,
    thinned,
)
from quantseq.reporting.render import fill
from quantseq.reporting.run import Run
from quantseq.reporting.sections.growth import SCALE
from quantseq.reporting.sections.overview import days, ends, figure, metrics, month_rows
from quantseq.reporting.sections.skill import sign
from quantseq.trading.performance import METRICS, wealth

NAMES = ("total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar")
STYLES = (("accent", False), ("neutral", False), ("loss", False), ("ink", False))
"""Role and dashes of the lines; beyond the fourth they come again, dashed."""


HASH = 12
"""Digits of a hash that tell two vintages apart; all of them stand in the JSON."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What several runs have in common, and what not.

    Attributes
    ----------
    runs : Mapping of str to Run
        By label; the first is what the others are held against.
    growth : DataFrame
        Net returns over common intervals, a column per run; empty if there are none.
    sessions : Mapping
        By run: ``sessions`` it has, ``merged`` into longer intervals, ``dropped``.
    metrics : Mapping
        By run: every figure over the common intervals.
    against : Mapping
        By run but the first: ``sharpe_difference`` to the first, and its 95 % ``interval``.
    scores : Mapping
        By run: scores one step ahead on common forecasts.
    rows : Mapping
        By run: common forecasts, and how many it has.
    tests : list
        Diebold-Mariano between two runs' models.
    settings, data : Mapping
        What differs: settings, and hashes of prices, by run.
    """

    runs: Mapping[str, Run]
    growth: pd.DataFrame
    sessions: Mapping[str, Mapping[str, int]]
    metrics: Mapping[str, Mapping[str, float]]
    against: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, Mapping[str, float]]
    rows: Mapping[str, tuple[int, int]]
    tests: list[dict[str, Any]]
    settings: Mapping[str, Mapping[str, str]]
    data: Mapping[str, Mapping[str, str]]

    def sentences(self) -> list[str]:
        """What is common, in a few lines."""
        count = len(self.growth)
        lines = [
            f"{len(self.runs)} runs, {words.plural(count, 'common session')}, "
            f"{words.plural(next(iter(self.rows.values()))[0], 'common forecast')}."
        ]
        for name, found in self.sessions.items():
            if found["dropped"] or found["merged"]:
                lines.append(
                    f"{name}: {found['dropped']} of {words.plural(found['sessions'], 'session')} "
                    f"dropped, {found['merged']} merged into longer intervals."
                )
        if self.data:
            lines.append(f"The prices of {words.listing(list(self.data))} are not the same.")
        return lines

    def to_json(self) -> dict[str, Any]:
        """The numbers with their documented keys."""
        return {
            "runs": list(self.runs),
            "common_sessions": len(self.growth),
            "common_forecasts": next(iter(self.rows.values()))[0],
            "sessions": {name: dict(one) for name, one in self.sessions.items()},
            "metrics": self.metrics,
            "against_first": self.against,
            "scores": self.scores,
            "tests": self.tests,
            "settings": self.settings,
            "data": self.data,
        }


def write_comparison(found: Comparison, path: Path) -> Path:
    """Write the page.

    Raises
    ------
    StorageError
        If the place is not writable.
    """
    write_text(path, render_comparison(found))
    return path


def render_comparison(found: Comparison) -> str:
    """The page as HTML; the same runs give the same text."""
    count = len(found.growth)
    span = "no common session"
    if count:
        first, last = found.growth.index[0], found.growth.index[-1]
        span = f"common sessions {words.date(first)} to {words.date(last)}, {count:,} of them"
    badges = [Badge("prices differ", "warn")] if found.data else [Badge("same prices")]
    header = Header(
        f"Comparison of {len(found.runs)} runs", "", "", "quantseq comparison", span, badges
    )
    sections = [_runs(found), _growth(found), _forecasts(found), _settings(found)]
    return fill(Page(header, sections), "plain.html.j2")


def _runs(found: Comparison) -> Section:
    rows = []
    for name, run in found.runs.items():
        verdict = run.verdict
        own = metrics(run, "strategy")
        rows.append(
            [
                name,
                str(run.manifest["title"]),
                "Edge" if verdict.get("edge") is True else "No edge" if verdict else words.DASH,
                figure("sharpe", own.get("sharpe")),
                words.percent(verdict.get("dsr")),
                f"{words.date(run.manifest['test_start'])} to\n{words.date(run.manifest['test_end'])}",
                words.count(len(run.equity)),
            ]
        )
    headers = ["run", "what", "verdict", "Sharpe ratio", "DSR", "out of sample", "sessions"]
    table = Table(headers, rows, align="twtnnrn", style="dense")
    sheet = Sheet("Each run over its own sessions", "As its own report says it.", table)
    return Section("runs", "Runs", "", [sheet])


def _growth(found: Comparison) -> Section:
    if found.growth.empty:
        text = "The runs have no common session, so their growth cannot be laid over each other."
        return Section("growth", "Growth on common sessions", blocks=[Missing(text)])
    lead = " ".join(found.sentences()[1:]) or "Every session of every run is in."
    blocks: list[Block] = [_curves(found), _figures(found)]
    return Section("growth", "Growth on common sessions", lead, blocks)


def _curves(found: Comparison) -> Block:
    paths = {str(n): pd.Series(wealth(found.growth[n]), found.growth.index) for n in found.growth}
    log = all((path > 0).all() for path in paths.values())
    lines, legend = [], []
    for rank, (name, path) in enumerate(paths.items()):
        role = STYLES[rank % len(STYLES)][0]
        dashed = rank >= len(STYLES)
        dates = days(path.index)
        lines.append(
            Line(
                np.concatenate([dates[:1] - 1, dates]),
                np.concatenate([[1.0], path.to_numpy()]),
                role,
                dashed=dashed,
            )
        )
        legend.append(Key(role, "dash" if dashed else "line", name))
    legend.append(Key("muted", SCALE, "log scale" if log else "linear scale"))
    best = max(paths, key=lambda name: float(paths[name].iloc[-1]))
    return chart(
        "growth-of-all",
        "Growth of 1.00, net of costs",
        f"1.00 became most in {best}: {words.number(float(paths[best].iloc[-1]))}.",
        curves(lines, log=log, end=words.number),
        table=Table(
            ["session", *paths],
            thinned(month_rows(paths, words.number)),
            "Value of 1.00 at the end of each month",
        ),
        legend=legend,
        live=Live(list(paths), lines, digits=3, log=log or None),
    )


def _figures(found: Comparison) -> Sheet:
    names = list(found.metrics)
    rows: list[list[str]] = [
        [METRICS[one].label, *(figure(one, found.metrics[name].get(one)) for name in names)]
        for one in NAMES
    ]
    margin = ["Sharpe ratio less the first's", words.DASH]
    for name in names[1:]:
        one = found.against[name]
        low, high = ends(one["interval"])
        text = words.number(one["sharpe_difference"], sign=True)
        if low is not None and high is not None:
            text += f" ({words.number(low, sign=True)} to {words.number(high, sign=True)})"
        margin.append(text)
    return Sheet(
        "Figures over the common sessions",
        f"In brackets the 95{words.SPACE}% interval of a paired stationary bootstrap.",
        Table(["", *names], [*rows, margin], style="dense"),
    )


def _forecasts(found: Comparison) -> Section:
    common = next(iter(found.rows.values()))[0]
    if not common:
        text = "The runs have no forecast of the same symbol, cutoff and step with an outcome."
        return Section("forecasts", "Forecasts on common rows", blocks=[Missing(text)])
    headers = ["run", "log score, nats", "CRPS, bps", f"in 90{words.SPACE}% band", "PIT distance"]
    rows = [
        [
            name,
            words.number(one["log_score"], 4, sign=True),
            words.number(1e4 * one["crps"], 2),
            words.percent(one["coverage_90"]),
            words.number(one["pit_ks"], 3),
            words.count(one["n"]),
        ]
        for name, one in found.scores.items()
    ]
    left = [
        f"{name} {words.count(whole - kept)} of {words.count(whole)}"
        for name, (kept, whole) in found.rows.items()
        if whole > kept
    ]
    lead = f"Left out, for want of a partner or an outcome: {words.listing(left)}." if left else ""
    scores = Sheet(
        "Scores one step ahead",
        "Lower scores are better; the same symbols and days for all.",
        Table([*headers, "forecasts"], rows, style="dense"),
    )
    return Section("forecasts", "Forecasts on common rows", lead, [scores, _tests(found)])


def _tests(found: Comparison) -> Sheet:
    steps = sorted({test["step"] for test in found.tests})
    lines: dict[tuple[str, str], dict[int, Cell]] = {}
    full = []
    for test in found.tests:
        name = f"{test['run']} against {test['rival']}"
        t, p = words.known(test["t"]), words.known(test["p"])
        tone = ("up2", "", "down2")[1 + sign(test)]
        cell = Cell(words.number(t, 1, sign=True) + ("*" if tone else ""), tone)
        score = "CRPS" if test["score"] == "crps" else "log score"
        lines.setdefault((name, score), {})[test["step"]] = cell
        full.append(
            [
                name,
                score,
                str(test["step"]),
                words.number(t, 2, sign=True),
                words.p_value(p),
                words.count(test["n_days"]),
            ]
        )
    rows: list[list[str | Cell]] = [
        [*names, *(line.get(step, Cell(words.DASH)) for step in steps)]
        for names, line in lines.items()
    ]
    headers = ["", "score", *(f"step {step}" for step in steps)]
    return Sheet(
        "Is one better by more than noise? Diebold-Mariano t",
        "A negative t favours the run named first, * marks p below 5 %, unless the difference itself rounds to 0.",
        Table(headers, rows, align="wt" + "n" * len(steps), style="heat"),
        Table(["", "score", "step", "t", "p", "days"], full, "All tests with p", "wtnnnn"),
    )


def _settings(found: Comparison) -> Section:
    names = list(found.runs)
    blocks: list[Block] = []
    if found.settings:
        rows = [
            [name, *(one[run] or words.DASH for run in names)]
            for name, one in found.settings.items()
        ]
        table = Table(["setting", *names], rows, align="t" + "w" * len(names))
        blocks.append(Sheet("Settings that differ", "", table))
    else:
        blocks.append(Missing("All settings and versions are the same."))
    if found.data:
        hashes = [
            [name, *(one[run][:HASH] or words.DASH for run in names)]
            for name, one in found.data.items()
        ]
        table = Table(["symbol", *names], hashes, align="t" + "h" * len(names))
        reading = f"First {HASH} digits of the prices' SHA-256. Differences between the runs may come from the data alone."
        blocks.append(Sheet("Prices that differ", reading, table))
    else:
        blocks.append(Facts([("Prices", "the same in all runs, wherever a symbol is shared")]))
    return Section("settings", "What is different", "", blocks)
