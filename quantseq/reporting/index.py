"""All runs of a reports folder on one page: verdict, key figures, how money grew.

Owns the table and which folders count as runs. A broken folder is listed as broken. Without a script
the page is a plain table; its own script filters it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup, escape

from quantseq.errors import QuantseqError, RunError
from quantseq.files import write_text
from quantseq.reporting import words
from quantseq.reporting.drawing.axes import thin
from quantseq.reporting.page import Block, Header, Missing, Notes, Page, Section, Sheet, Table
from quantseq.reporting.render import REPORT, fill
from quantseq.reporting.run import MANIFEST, RESULT, Run
from quantseq.reporting.sections.overview import ends, figure, metrics
from quantseq.trading.performance import METRICS, wealth

INDEX = "index.html"
NAMES = ("sharpe", "cagr", "max_drawdown")
WIDTH, HEIGHT, POINTS = 120, 28, 60


@dataclass(frozen=True, eq=False)
class Listed:
    """One folder: its run, or why it cannot be read."""

    folder: Path
    run: Run | None
    fault: str = ""

    @property
    def created(self) -> str:
        """When the run was made; the name of the folder where it does not say."""
        made = self.run.manifest.get("created") if self.run else None
        return str(made or self.folder.name)


def listed(reports: Path) -> list[Listed]:
    """Every folder with a manifest or a result, newest first; forecasts and weights are not read.

    Raises
    ------
    RunError
        If the reports folder does not exist.
    """
    if not reports.is_dir():
        raise RunError(
            f"{str(reports)!r} is not a folder. Name the folder that holds the runs with "
            "--reports-dir, or run `quantseq backtest` first."
        )
    found = [
        _read(folder)
        for folder in sorted(reports.iterdir())
        if folder.is_dir()
        and not folder.name.startswith(".")
        and not (folder / "points.csv").exists()  # a sweep
        and any((folder / name).exists() for name in (MANIFEST, RESULT))
    ]
    return sorted(found, key=lambda one: (one.run is not None, one.created), reverse=True)


def _read(folder: Path) -> Listed:
    try:
        return Listed(folder, Run.load(folder, frames=("equity",)))
    except QuantseqError as error:
        return Listed(folder, None, " ".join(str(error).split()))


def newest(reports: Path) -> Path:
    """The folder of the newest run that can be read.

    Raises
    ------
    RunError
        If there is none.
    """
    for one in listed(reports):
        if one.run is not None:
            return one.folder
    raise RunError(
        f"{str(reports)!r} holds no run. Make one with `quantseq backtest`, or name its folder."
    )


def write_index(reports: Path) -> Path:
    """Write ``index.html`` into a reports folder.

    Raises
    ------
    RunError
        If the folder does not exist.
    StorageError
        If it is not writable.
    """
    found = listed(reports)
    path = reports / INDEX
    write_text(path, render_index(found))
    return path


def render_index(found: Sequence[Listed]) -> str:
    """The page as HTML; the same runs give the same text."""
    whole = [one for one in found if one.run is not None]
    broken = [one for one in found if one.run is None]
    edges = sum(one.run.verdict.get("edge") is True for one in whole if one.run)
    said = f"{words.plural(len(whole), 'run')}, newest first; an edge was found in {edges}."
    blocks: list[Block] = [
        _table(whole) if whole else Missing("There is no run in this folder yet.")
    ]
    sections = [Section("runs", "Runs", said, blocks)]
    if broken:
        notes = Notes([f"{one.folder.name}: {one.fault}" for one in broken])
        lead = "These folders look like runs and cannot be read."
        sections.append(Section("broken", "Broken folders", lead, [notes]))
    header = Header("All runs", "", "", "quantseq", "verdicts and key figures of every backtest")
    return fill(Page(header, sections), "index.html.j2")


def _table(found: Sequence[Listed]) -> Sheet:
    headers = ["run", "what", "growth", "verdict", *(METRICS[name].label for name in NAMES)]
    headers += ["Sharpe less buy-and-hold's, 95\u00a0%", "DSR", "audit", "out of sample"]
    rows = [_row(one.folder, one.run) for one in found if one.run is not None]
    table = Table(headers, rows, align="twtt" + "n" * len(NAMES) + "rntr", style="dense")
    return Sheet(
        "Every run in this folder",
        "Figures of the strategy net of costs. Growth: the strategy, and buy-and-hold in grey.",
        table,
    )


def _row(folder: Path, run: Run) -> list[Any]:
    own, verdict = metrics(run, "strategy"), run.verdict
    low, high = ends(verdict.get("interval"))
    margin = words.number(verdict.get("sharpe_difference"), sign=True)
    if low is not None and high is not None:
        margin += f"\n({words.number(low, sign=True)} to {words.number(high, sign=True)})"
    manifest = run.manifest
    name = str(manifest["run_id"])
    page = folder / REPORT
    # The name of the folder is quoted for the address and escaped for the page.
    link = Markup('<a href="{}">{}</a>').format(f"{quote(folder.name)}/{REPORT}", name)
    return [
        link if page.is_file() else f"{name}, no page",
        f"{manifest['title']}; {words.plural(len(run.symbols), 'symbol')}",
        sparkline(run),
        "Edge" if verdict.get("edge") is True else "No edge" if verdict else words.DASH,
        *(figure(one, own.get(one)) for one in NAMES),
        margin,
        words.percent(verdict.get("dsr")),
        str(manifest.get("audit") or words.DASH).split(":")[0],
        f"{words.date(manifest['test_start'])} to\n{words.date(manifest['test_end'])}",
    ]


def sparkline(run: Run) -> Markup:
    """How 1.00 grew, on a logarithmic height where nothing was ruined: a few numbers of SVG.

    The total return is its title, by which the column sorts.
    """
    paths = []
    for name, role in (("buy_and_hold", "neutral"), ("strategy_net", "accent")):
        series = run.daily(name)
        if series is not None:
            grown = np.concatenate([[1.0], wealth(series)])
            paths.append((np.log(np.maximum(grown, 1e-3)), role))
    if not paths:
        return escape(words.DASH)
    low = min(path.min() for path, _ in paths)
    reach = max(max(path.max() for path, _ in paths) - low, 1e-9)
    lines = Markup()
    for path, role in paths:
        keep = thin(path, POINTS)
        x = 1 + (WIDTH - 2) * keep / max(len(path) - 1, 1)
        y = HEIGHT - 2 - (HEIGHT - 4) * (path[keep] - low) / reach
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        lines += Markup('<polyline class="{}" points="{}"/>').format(role, points)
    label = f"Growth of {run.manifest['run_id']}"
    head = Markup('<svg class="spark" role="img" aria-label="{}" viewBox="0 0 {} {}">')
    told = Markup("<title>{}</title>").format(
        figure("total_return", metrics(run, "strategy").get("total_return"))
    )
    return head.format(label, WIDTH, HEIGHT) + told + lines + Markup("</svg>")
