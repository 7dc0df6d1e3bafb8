import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from quantseq.errors import RunError
from quantseq.reporting.embedded import OPEN, without_data
from quantseq.reporting.render import render, write_report
from quantseq.reporting.run import Run

EVIL = "<script>alert('x')</script>"
BUDGET = 450_000
SCRIPTS = {OPEN, '<script type="application/json">', "<script>"}

HEADINGS = {
    "figures": ("Headline figures", []),
    "growth": (
        "Growth",
        [
            "Growth of 1.00",
            "Drawdown from the highest value so far",
            "Capital at work",
            "Positions, as decided at each close",
        ],
    ),
    "luck": (
        "Is it luck?",
        [
            "Sharpe ratio against buy-and-hold's, with its 95 % interval",
            "Deflated Sharpe against the number of trials",
            "Sharpe ratio beside placebos without any forecast",
            "Look-ahead audit",
            "Folds",
        ],
    ),
    "costs": (
        "Is it tradable?",
        [
            "Before and after costs",
            "Growth of 1.00 before and after costs",
            "Net return a year at other trading costs",
            "Sharpe ratio if every decision came later",
            "Against simple rules",
            "Where the profit came from",
        ],
    ),
    "forecast": (
        "Did the forecast earn it?",
        [
            "Scores one step ahead, best first",
            "Is seq2seq better by more than noise? Score difference and p",
            "Do the bands hold what they promise?",
            "Where outcomes fell in the forecast",
            "Reliability by level",
            "Profit by confidence",
            "Three forecasts, picked by rule",
            "Best: IBM",
            "Median: IBM",
            "Worst: AAPL",
        ],
    ),
    "returns": (
        "Returns",
        ["Months and years, net of costs, in percent", "Years", "Daily returns"],
    ),
    "risk": (
        "Risk",
        [
            "Sharpe ratio over the last 126 sessions",
            "Volatility over the last 126 sessions",
            "Worst drawdowns",
            "The worst days",
            "Every figure",
        ],
    ),
    "trades": ("Trades", ["In figures", "Return of each trade", "The 5 best and the 5 worst"]),
    "regimes": ("Regimes", ["In which markets it worked"]),
    "definitions": (
        "Definitions and manifest",
        ["Figures", "Terms", "Notes", "Manifest", "Data", "Configuration"],
    ),
}


def _scripts(page: str) -> set[str]:
    """Opening tags of the scripts: the data, those of charts, and the page's own."""
    return set(re.findall(r"<script[^>]*>", re.sub(r' data-days="[^"]*"', "", page)))


class _Outline(HTMLParser):
    """Sections with their headings, all ids, links and texts; complains about unbalanced tags."""

    VOID = frozenset({"meta", "link", "br", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: dict[str, tuple[str, list[str]]] = {}
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.tags: list[str] = []
        self._stack: list[str] = []
        self.feed(text)
        assert not self._stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.tags.append(tag)
        self.ids += [names["id"] or ""] if "id" in names else []
        self.links += [names["href"] or ""] if "href" in names else []
        if tag == "section":
            self.sections[names["id"] or ""] = ("", [])
        if tag not in self.VOID:
            self._stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self._stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._stack and self._stack[-1] not in ("style", "title", "desc", "script"):
            self.texts.append(data)
        if self._stack and self._stack[-1] in ("h2", "h3") and self.sections:
            key = list(self.sections)[-1]
            if self._stack[-1] == "h2":
                self.sections[key] = (data, self.sections[key][1])
            else:
                self.sections[key][1].append(data)


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return render(run)


def test_the_structure_is_as_agreed(page: str) -> None:
    assert _Outline(page).sections == HEADINGS


def test_the_page_is_one_file_that_points_nowhere_else(page: str) -> None:
    outline, bare = _Outline(page), without_data(page)
    assert not re.search(r"https?:|url\((?!#)|@import|src=", bare)
    assert "//" not in bare
    assert not {"iframe", "object", "embed", "img"} & set(outline.tags)
    assert _scripts(page) == SCRIPTS
    assert {link for link in outline.links if not link.startswith("#")} == {"data:,"}


def test_ids_are_unique_and_every_reference_has_its_target(page: str) -> None:
    outline = _Outline(page)
    assert len(outline.ids) == len(set(outline.ids))
    targets = {link[1:] for link in outline.links if link.startswith("#")}
    targets |= set(re.findall(r"url\(#([^)]+)\)", page))
    for labels in re.findall(r'aria-labelledby="([^"]+)"', page):
        targets |= set(labels.split())
    assert targets <= set(outline.ids)


def test_every_chart_has_title_reading_description_and_numbers(page: str) -> None:
    figures = re.findall(r"<figure.*?</figure>", page, flags=re.DOTALL)
    assert len(figures) == 22
    for figure in figures:
        assert re.search(r"<h3>.+?</h3>\s*<p>.+?</p>", figure)
        assert figure.count('role="img"') == figure.count("<desc") == figure.count("<svg") >= 1
        assert re.search(r"<details><summary>.*<table", figure, flags=re.DOTALL)


def test_every_chart_colour_follows_the_theme(page: str) -> None:
    outside = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    pictures = "".join(re.findall(r"<svg.*?</svg>", outside, flags=re.DOTALL))
    assert not re.search(r"#[0-9a-f]{6}", pictures)
    assert "style=" not in re.sub(r"<svg.*?</svg>", "", outside, flags=re.DOTALL)


def test_the_page_stays_within_its_budget(page: str) -> None:
    assert len(page.encode()) <= BUDGET


def test_same_run_same_bytes(run: Run, page: str, tmp_path: Path) -> None:
    folder = run.save(tmp_path / "run")
    path = write_report(folder)
    assert path == folder / "report.html"
    assert path.read_text(encoding="utf-8") == page


def test_a_damaged_folder_is_refused_and_an_old_page_stays(run: Run, tmp_path: Path) -> None:
    folder = run.save(tmp_path / "run")
    (folder / "report.html").write_text("old")
    (folder / "result.json").write_text("{")
    with pytest.raises(RunError, match=r"result\.json"):
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
    tests = [{"model": EVIL, "rival": EVIL, "score": EVIL, "step": 1, "t": 1.0, "p": 0.5}]
    result = {
        **run.result,
        "verdict": {"sentence": EVIL, "ledger": EVIL},
        "metrics": {"strategy": {EVIL: 1.0, "sharpe": 0.5}},
        "audit": {
            "passed": False,
            "checks": [{"name": EVIL, "passed": False, "reading": EVIL}],
            "placebos": [{"name": EVIL, "low": -1.0, "sharpe": 0.0, "high": 1.0, "n": 3}],
        },
        "trades": {name: [EVIL] for name in ("symbol", "side", "entered", "left")}
        | {name: [1.0] for name in ("sessions", "invested", "profit", "cost")},
        "forecast": {"models": {EVIL: {"log_score": 1.0, "coverage_90": 0.9}}, "tests": tests},
        "folds": [{"fold": EVIL, "test_start": "2009-01-02"}],
        "notes": [EVIL],
    }
    hostile = replace(
        run,
        manifest=manifest,
        result=result,
        forecasts=run.forecasts.replace({"symbol": rename}),
        weights=run.weights.replace({"symbol": rename}),
        equity=run.equity.rename(columns={"close:AAPL": f"close:{EVIL}"}),
    )
    page = render(hostile)
    assert EVIL not in page
    assert _scripts(page) == SCRIPTS
    assert page.count("&lt;script&gt;") >= 30
    _Outline(page)


def _shown(page: str) -> str:
    return " ".join(_Outline(page).texts)


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
        folds=[{"fold": 0, "test_start": None, "survived": None}],
        forecast={"models": {"seq2seq": dict.fromkeys(("log_score", "crps", "n"))}},
        audit={"passed": None, "rank": float("nan"), "checks": [{"name": None}]},
        trades={name: [None] for name in run.result["trades"]},
    )
    text = _shown(render(empty))
    assert not re.search(r"\b(nan|NaN|None|NaT|inf|null)\b", text)
    assert text.count("—") > 30


def _stripped(run: Run) -> Iterator[tuple[str, Run]]:
    core = {
        key: run.manifest[key] for key in ("run_id", "title", "symbols", "test_start", "test_end")
    }
    yield "no results", replace(run, result={})
    yield "core manifest", replace(run, manifest=core)
    yield "no forecasts", replace(run, forecasts=run.forecasts.head(0))
    yield "no weights", replace(run, weights=run.weights.head(0))
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
    outline = _Outline(page)
    assert list(outline.sections) == list(HEADINGS), name
    assert not re.search(r"\b(nan|NaN|NaT|inf)\b", " ".join(outline.texts)), name
    if name not in ("never invested", "one session", "two sessions"):
        assert 'class="missing"' in page, name


@pytest.mark.parametrize("sessions", [1, 2])
def test_the_shortest_runs_are_drawn(run: Run, sessions: int) -> None:
    page = render(replace(run, equity=run.equity.head(sessions)))
    assert len(re.findall(r"<figure", page)) >= 8
