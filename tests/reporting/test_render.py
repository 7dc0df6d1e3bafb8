"""The page of a backtest as a whole: its words, its structure, and what may not stand in it.

After a change of words that is meant, run this file with ``QUANTSEQ_GOLDEN=write`` and read the difference.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantseq.errors import RunError
from quantseq.reporting.render import export_figures, figures, page_of, render, write_report
from quantseq.reporting.run import Run, sign

pytestmark = pytest.mark.slow

EVIL = "<script>alert('x')</script>"
GOLDEN = Path(__file__).parent / "goldens" / "page.txt"
LINES = frozenset({"h1", "h2", "h3", "p", "li", "tr", "dt", "dd", "summary", "figure"})
SILENT = frozenset({"style", "script", "svg", "title", "details", "fieldset"})
SECTIONS = ["figures", "growth", "luck", "costs", "forecast", "returns", "risk", "trades"]
SECTIONS += ["regimes", "definitions"]
BUDGET = 475_000
"""Bytes of five years; ten stay below 600 KB."""


class _Words(HTMLParser):
    """The text of a page as lines: cells apart by bars; without pictures and what is folded away."""

    VOID = frozenset({"meta", "link", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.lines: list[str] = [""]
        self.open: list[str] = []
        self.feed(page)
        assert not self.open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        if SILENT & {*self.open}:
            return
        if tag in LINES:
            self.lines.append({"h2": "\n## ", "h3": "### ", "figure": "[figure]"}.get(tag, ""))
        elif tag in ("td", "th"):
            self.lines[-1] += "| "

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not SILENT & {*self.open}:
            self.lines[-1] += re.sub(r"\s*\n\s*", " ", data)

    @property
    def text(self) -> str:
        kept = (line.rstrip() for line in self.lines)
        return "\n".join(line for line in kept if line.strip()) + "\n"


def test_the_page_says_what_it_said(page: str) -> None:
    text = _Words(page).text.replace("\u00a0", " ")
    if os.environ.get("QUANTSEQ_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text.splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines()


def test_the_page_is_one_file_that_points_nowhere_else(page: str) -> None:
    assert not re.search(r"https?:|url\((?!#)|@import|src=|<(iframe|object|embed|img)\b", page)
    links = set(re.findall(r'href="([^"]*)"', page))
    outside = {link for link in links if not link.startswith("#")}
    assert {link[:13] for link in outside} == {"data:,", "data:text/csv"}
    assert re.findall(r"<script[^>]*>", page) == [
        '<script type="application/json" id="data">',
        "<script>",
    ]


def test_ids_are_unique_and_every_reference_has_its_target(page: str) -> None:
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    targets = {*re.findall(r'href="#([^"]+)"', page), *re.findall(r"url\(#([^)]+)\)", page)}
    for labels in re.findall(r'aria-labelledby="([^"]+)"', page):
        targets |= set(labels.split())
    assert targets <= set(ids)
    assert re.findall(r'<section id="([^"]+)"', page) == SECTIONS


def test_every_chart_has_title_reading_description_and_numbers(page: str) -> None:
    shown = re.findall(r"<figure.*?</figure>", page, flags=re.DOTALL)
    assert len(shown) == 22
    for figure in shown:
        assert re.search(r"<h3>.+?</h3>\s*<p>.+?</p>", figure)
        assert figure.count('role="img"') == figure.count("<desc") == figure.count("<svg") >= 1
        assert re.search(r"<details><summary>.*<table", figure, flags=re.DOTALL)


def test_every_chart_colour_follows_the_theme(page: str) -> None:
    outside = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    pictures = "".join(re.findall(r"<svg.*?</svg>", outside, flags=re.DOTALL))
    assert not re.search(r"#[0-9a-f]{6}", pictures)
    assert "style=" not in re.sub(r"<(svg|script).*?</\1>", "", outside, flags=re.DOTALL)


def test_the_page_stays_within_its_budget(page: str) -> None:
    assert len(page.encode()) <= BUDGET


def test_the_page_carries_returns_and_hashes(run: Run, page: str) -> None:
    link = re.search(r'data-year="252" data-seed="0" href="data:text/csv[^,]*,([^"]+)"', page)
    assert link
    lines = link[1].replace("%0A", "\n").splitlines()
    assert lines[0] == "session,strategy,buy-and-hold"
    assert len(lines) == 1 + len(run.equity)
    returns = [float(line.split(",")[1]) for line in lines[1:]]
    np.testing.assert_allclose(returns, run.equity["strategy_net"], rtol=1e-8, atol=0)
    assert all(
        f'<th>{name}</th><td class="text hash">{digest}' in page
        for name, digest in run.hashes.items()
    )


@pytest.mark.usefixtures("undrawn")
def test_same_run_same_bytes(run: Run) -> None:
    assert render(run) == render(run)


@pytest.mark.usefixtures("undrawn")
def test_a_folder_gets_its_page_and_its_figures(run: Run, tmp_path: Path) -> None:
    folder = run.save(tmp_path / "run")
    path = write_report(folder)
    assert path == folder / "report.html"
    assert path.read_text(encoding="utf-8") == render(Run.load(folder))
    whole = page_of(folder)
    small = replace(whole, sections=whole.sections[2:3])
    names = [path.name for path in export_figures(small, tmp_path / "figures")]
    assert names == [
        f"{k}.{s}" for k in ("difference", "deflated", "placebos") for s in ("svg", "png")
    ]
    assert list(whole.figures) == list(figures(run))


def test_a_damaged_folder_is_refused_and_an_old_page_stays(run: Run, tmp_path: Path) -> None:
    folder = run.save(tmp_path / "run")
    (folder / "report.html").write_text("old")
    (folder / "result.json").write_text(json.dumps({"verdict": {"interval": 3}}))
    sign(folder)
    with pytest.raises(RunError, match=r"cannot be shown or computed with"):
        write_report(folder)
    assert (folder / "report.html").read_text() == "old"


def test_foreign_text_is_shown_never_run(run: Run) -> None:
    rename = {"AAPL": EVIL}
    manifest = {
        **run.manifest,
        "title": EVIL,
        "run_id": EVIL,
        "command": EVIL,
        "symbols": [EVIL, "GOOG", "IBM", "MSFT"],
        "fill": EVIL,
        "config": {EVIL: {EVIL: [EVIL, {"a": EVIL}]}},
        "data": {EVIL: {"source": EVIL, "sha256": EVIL, "first": EVIL}},
        "versions": {EVIL: EVIL},
    }
    tests = [{"model": EVIL, "baseline": EVIL, "score": EVIL, "step": 1, "t": 1.0, "p": 0.5}]
    result = {
        **run.result,
        "verdict": {"sentence": EVIL, "ledger": EVIL},
        "metrics": {"strategy": {EVIL: 1.0, "sharpe": 0.5}},
        "audit": {
            "passed": False,
            "checks": [{"name": EVIL, "passed": False, "reading": EVIL}],
            "placebos": [{"name": EVIL, "low": -1.0, "sharpe": 0.0, "high": 1.0, "n": 3}],
        },
        "forecast": {"models": {EVIL: {"log_score": 1.0, "coverage_90": 0.9}}, "tests": tests},
        "folds": [{"fold": EVIL, "test_start": "2009-01-02"}],
        "notes": [EVIL],
    }
    hostile = Run(
        manifest,
        result,
        run.scores.replace({"symbol": rename}).assign(model=EVIL),
        run.forecasts.replace({"symbol": rename}),
        run.weights.replace({"symbol": rename}),
        run.equity.rename(columns={"close:AAPL": f"close:{EVIL}"}),
        run.trades.replace({"symbol": rename}),
        {EVIL: EVIL},
    )
    page = render(hostile)
    assert EVIL not in page
    assert len(re.findall(r"<script", page)) == 2
    assert page.count("&lt;script&gt;") >= 30
    _Words(page)


@pytest.mark.usefixtures("undrawn")
def test_what_is_undefined_is_a_dash_and_never_zero_or_nan(
    run: Run, with_result: Callable[..., Run]
) -> None:
    nothing = {
        name: (None if n % 2 else float("nan"))
        for n, name in enumerate(run.result["metrics"]["strategy"])
    }
    empty = with_result(
        metrics={"strategy": nothing, "buy_and_hold": nothing},
        intervals={name: [None, float("nan")] for name in nothing},
        verdict={"edge": None, "sentence": None, "sharpe_difference": None, "dsr": None},
        break_even_bps=None,
        gate=None,
        folds=[{"fold": 0, "test_start": None, "kept_weight": None}],
        forecast={"models": {"seq2seq": dict.fromkeys(("log_score", "crps", "n"))}},
        audit={"passed": None, "rank": float("nan"), "checks": [{"name": None}]},
    )
    text = _Words(render(empty)).text
    assert not re.search(r"\b(nan|NaN|None|NaT|inf|null)\b", text)
    assert text.count("—") > 30


def _stripped(run: Run) -> Iterator[tuple[str, Run]]:
    needed = ("run_id", "title", "symbols", "test_start", "test_end")
    yield "no results", replace(run, result={})
    yield "core manifest", replace(run, manifest={key: run.manifest[key] for key in needed})
    yield "no forecasts", replace(run, forecasts=run.forecasts.head(0), scores=run.scores.head(0))
    yield "no weights", replace(run, weights=run.weights.head(0), trades=run.trades.head(0))
    yield "net only", replace(run, equity=run.equity[["session", "strategy_net"]])
    yield "one session", replace(run, equity=run.equity.head(1))
    yield "two sessions", replace(run, equity=run.equity.head(2))
    yield "never invested", replace(run, equity=run.equity.assign(strategy_net=0.0))
    yield "empty net", replace(run, equity=run.equity.assign(strategy_net=np.nan))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("place", range(9))
def test_a_run_that_lacks_parts_says_so_and_keeps_every_section(run: Run, place: int) -> None:
    name, poor = list(_stripped(run))[place]
    page = render(poor)
    assert re.findall(r'<section id="([^"]+)"', page) == SECTIONS, name
    assert not re.search(r"\b(nan|NaN|NaT|inf)\b", _Words(page).text), name
    if name not in ("never invested", "one session", "two sessions"):
        assert 'class="missing"' in page, name


def test_the_shortest_run_is_drawn(run: Run) -> None:
    page = render(replace(run, equity=run.equity.head(1)))
    assert len(re.findall(r"<figure", page)) >= 8


def test_figures_are_frames_by_date(run: Run) -> None:
    shown = figures(run)
    assert len(shown) == 22
    for key in ("equity", "drawdown", "exposure", "positions", "netting", "rolling-sharpe"):
        assert isinstance(shown[key].frame.index, pd.DatetimeIndex)
        assert shown[key].live is not None
    assert all(len(one.frame) for one in shown.values())
