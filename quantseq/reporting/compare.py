"""Pages about several runs: some side by side, or all of a folder as an index.

Owns `Comparison`, the numbers that the first is made from, the wording of both, and which folders count as
runs. Computes nothing. A broken folder is listed as broken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from markupsafe import Markup

from quantseq.errors import QuantseqError, RunError
from quantseq.reporting import page, sections
from quantseq.reporting.charts import thin
from quantseq.reporting.page import (
    DASH,
    Cell,
    Section,
    between,
    count,
    iso,
    listing,
    number,
    over_time,
    percent,
    plural,
    section,
    sheet,
    signed,
    spread,
)
from quantseq.reporting.run import MANIFEST, REPORT, Run, readable
from quantseq.reporting.sections import SCORE_NAMES, ends, metric_label, metric_text
from quantseq.trading.metrics import wealth

INDEX = "index.html"
_NAMES = ("total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar")
_HASH = 12  # digits of a hash that tell two apart; all of them stand in the JSON


@dataclass(frozen=True, eq=False)
class Comparison:
    """What several runs have in common, and what not; each part by label of a run.

    The first run is what the others are held `against` by Sharpe ratio. `growth` has net returns over common
    intervals, a column per run, and is empty if there are none; `sessions` says how many a run has, merged
    and dropped for it. `rows` are common forecasts and how many a run has; `tests` compare two runs' models
    there by Diebold-Mariano. `settings` and `data` (hashes of prices) hold what differs.
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

    @property
    def common(self) -> int:
        """Forecasts that all runs have."""
        return next(iter(self.rows.values()))[0]

    def sentences(self) -> list[str]:
        """What is common, in a few lines."""
        sessions = plural(len(self.growth), "common session")
        lines = [f"{len(self.runs)} runs, {sessions}, {plural(self.common, 'common forecast')}."]
        for name, one in self.sessions.items():
            if one["dropped"] or one["merged"]:
                dropped = f"{one['dropped']} of {plural(one['sessions'], 'session')} dropped"
                lines.append(f"{name}: {dropped}, {one['merged']} merged into longer intervals.")
        if self.data:
            lines.append(f"The prices of {listing(list(self.data))} are not the same.")
        return lines

    def to_json(self) -> dict[str, Any]:
        """The numbers with their documented keys."""
        found = {"runs": list(self.runs), "common_sessions": len(self.growth)}
        found |= {"common_forecasts": self.common, "against_first": self.against}
        names = ("sessions", "metrics", "scores", "tests", "settings", "data")
        return {**found, **{name: getattr(self, name) for name in names}}

    def page(self) -> page.Page:
        """The page in its parts; the same runs give the same page."""
        amount, span = len(self.growth), "no common session"
        if amount:
            first, last = iso(self.growth.index[0]), iso(self.growth.index[-1])
            span = f"common sessions {first} to {last}, {amount:,} of them"
        badges = [Cell("prices differ", "warn")] if self.data else [Cell("same prices")]
        title = f"Comparison of {len(self.runs)} runs"
        header = page.Header(title, "quantseq comparison", "", span, badges)
        parts = [_runs(self), _growth(self), _forecasts(self), _settings(self)]
        return page.Page(header, parts, page.stands("comparison"), broad=True)


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Write the page."""
    return page.write_page(path, comparison.page())


def _answer(run: Run) -> str:
    return "Edge" if run.verdict.get("edge") is True else "No edge" if run.verdict else DASH


def _runs(found: Comparison) -> Section:
    rows = []
    for name, run in found.runs.items():
        manifest, sharpe = run.manifest, run.metrics("strategy").get("sharpe")
        figures = [metric_text("sharpe", sharpe), run.verdict.get("dsr")]
        span = [between(manifest["test_start"], manifest["test_end"]), len(run.equity)]
        rows.append([name, str(manifest["title"]), _answer(run), *figures, *span])
    return section("comparison.runs", sheet("runs", rows))


def _growth(found: Comparison) -> Section:
    growth = found.growth
    if growth.empty:
        return section("comparison.growth")
    paths = {str(n): pd.Series(wealth(growth[n]), growth.index) for n in growth}
    frame = sections.from_start(paths, 1.0)
    roles = ("accent", "neutral", "loss", "ink")  # beyond the fourth they come again, dashed
    looks = [roles[i % 4] + (" dashed" if i >= 4 else "") for i in range(frame.shape[1])]
    best, value = str(frame.iloc[-1].idxmax()), frame.iloc[-1].max()
    drawn = over_time("growth-of-all", frame, how={"looks": looks}, best=best, value=value)
    left_out = " ".join(found.sentences()[1:])
    return section("comparison.growth", drawn, _figures(found), left_out=left_out)


def _figures(found: Comparison) -> page.Sheet | str:
    several, margins = found.metrics, ["Sharpe ratio less the first's", DASH]
    for name in list(several)[1:]:
        one = found.against[name]
        text = spread(*ends(one["interval"]), signed)
        margins.append(signed(one["sharpe_difference"]) + (f" ({text})" if text != DASH else ""))
    rows = [
        [metric_label(k), *(metric_text(k, x.get(k)) for x in several.values())] for k in _NAMES
    ]
    return sheet("common", [*rows, margins], columns=list(several))


def _forecasts(found: Comparison) -> Section:
    if not found.common:
        return section("comparison.forecasts")
    keys = ("log_score", "crps", "coverage_90", "pit_ks", "n")
    rows = [[name, *(one[key] for key in keys)] for name, one in found.scores.items()]
    left = [f"{n} {count(w - k)} of {count(w)}" for n, (k, w) in found.rows.items() if w > k]
    shown = (sheet("common-scores", rows), _tests(found))
    return section("comparison.forecasts", *shown, left_out=left)


def _tests(found: Comparison) -> page.Sheet | str:
    steps, full = sorted({test["step"] for test in found.tests}), []
    lines: dict[tuple[str, str], dict[int, Cell]] = {}
    for test in found.tests:
        name, score = f"{test['run']} against {test['other']}", SCORE_NAMES[test["score"]]
        tone = ("up2", "", "down2")[1 + sections.test_side(test)]
        cell = Cell(number(test["t"], 1, sign=True) + ("*" if tone else ""), tone)
        lines.setdefault((name, score), {})[test["step"]] = cell
        full.append([name, score, test["step"], *(test[key] for key in sections.TEST_KEYS)])
    rows = [[*names, *(one.get(step) for step in steps)] for names, one in lines.items()]
    return sheet("common-tests", rows, columns=[f"step {step}" for step in steps], more=full)


def _settings(found: Comparison) -> Section:
    several: Any = {"columns": list(found.runs)}
    rows, hashes = (
        [[key, *(one[run][:most] or DASH for run in found.runs)] for key, one in table.items()]
        for table, most in ((found.settings, None), (found.data, _HASH))
    )
    prices = sheet("prices", hashes, digits=_HASH, **several)
    return section("comparison.settings", sheet("differences", rows, **several), prices)


@dataclass(frozen=True, eq=False)
class Listed:
    """One folder: its run, or why it cannot be read."""

    folder: Path
    run: Run | None
    created: str  # when the run was made; the name of the folder where that is not known
    fault: str = ""


def listed(reports: Path) -> list[Listed]:
    """Every folder with a manifest that is no sweep, newest first; forecasts and weights are not read."""
    if not reports.is_dir():
        raise RunError(
            f"{str(reports)!r} is not a folder. Name the folder that holds the runs with "
            "--reports-dir, or run `quantseq backtest` first."
        )
    found = []
    for folder in sorted(one.parent for one in reports.glob(f"[!.]*/{MANIFEST}")):
        if (folder / "points.csv").exists():  # a sweep
            continue
        try:
            run = Run.load(folder, tables=("equity",))
            made = str(run.manifest.get("created") or folder.name)
            found.append(Listed(folder, run, made))
        except QuantseqError as error:
            found.append(Listed(folder, None, folder.name, " ".join(str(error).split())))
    return sorted(found, key=lambda one: (one.run is not None, one.created), reverse=True)


def newest(reports: Path) -> Path:
    """The folder of the newest run that can be read; a RunError if there is none."""
    whole = [one.folder for one in listed(reports) if one.run is not None]
    if not whole:
        raise RunError(
            f"{str(reports)!r} holds no run. Make one with `quantseq backtest`, or name its folder."
        )
    return whole[0]


def write_index(reports: Path) -> Path:
    """Write ``index.html`` into a reports folder."""
    return page.write_page(reports / INDEX, index_page(listed(reports)))


def index_page(found: Sequence[Listed]) -> page.Page:
    """All runs with verdict, key figures and how money grew; the same runs give the same page."""
    rows, broken, edges = [], [], 0
    for one in found:
        try:
            if one.run is None:
                raise RunError(one.fault)
            with readable(one.folder.name):
                rows.append(_index_row(one.folder, one.run))
                edges += one.run.verdict.get("edge") is True
        except QuantseqError as error:
            broken.append(f"{one.folder.name}: {error}")
    shown = sheet("index", rows) if rows else None
    parts = [section("index.runs", shown, runs=len(rows), edges=edges)]
    if broken:
        parts.append(section("index.broken", page.Items("notes", broken)))
    header = page.Header("All runs", "quantseq", "", "verdicts and key figures of every run")
    return page.Page(header, parts, page.stands("comparison"), broad=True)


def _index_row(folder: Path, run: Run) -> list[Any]:
    own, verdict, manifest = run.metrics("strategy"), run.verdict, run.manifest
    text = spread(*ends(verdict.get("interval")), signed)
    margin = signed(verdict.get("sharpe_difference"))
    # The name of the folder is quoted for the address and escaped for the page.
    where, name = f"{quote(folder.name)}/{REPORT}", manifest["run_id"]
    link = Markup('<a href="{}">{}</a>').format(where, name)
    return [
        link if (folder / REPORT).is_file() else f"{name}, no page",
        f"{manifest['title']}; {plural(len(run.symbols), 'symbol')}",
        sparkline(run),
        _answer(run) if run.kind == "backtest" else run.kind,
        *(metric_text(one, own.get(one)) for one in ("sharpe", "cagr", "max_drawdown")),
        margin + (f"\n({text})" if text != DASH else ""),
        percent(verdict.get("dsr")),
        str(manifest.get("audit") or DASH).split(":")[0],
        between(manifest["test_start"], manifest["test_end"]),
    ]


def sparkline(run: Run) -> Markup | str:
    """How 1.00 grew, on a logarithmic height; the total return is its title, by which the column sorts."""
    found = {"neutral": run.daily("buy_and_hold"), "accent": run.daily("strategy_net")}
    grown = {role: wealth(one) for role, one in found.items() if one is not None}
    if not grown:
        return DASH
    paths = {role: np.log(np.maximum(np.r_[1.0, one], 1e-3)) for role, one in grown.items()}
    every, lines = np.concatenate(list(paths.values())), Markup()
    for role, path in paths.items():
        keep = thin(path, 60)
        x = 1 + 118 * keep / max(len(path) - 1, 1)
        y = 26 - 24 * (path[keep] - every.min()) / max(float(np.ptp(every)), 1e-9)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        lines += Markup('<polyline class="{}" points="{}"/>').format(role, points)
    earned = metric_text("total_return", run.metrics("strategy").get("total_return"))
    look = '<svg class="spark" role="img" aria-label="{}" viewBox="0 0 120 28"><title>{}</title>{}</svg>'
    return Markup(look).format(f"Growth of {run.manifest['run_id']}", earned, lines)  # noqa: S704
