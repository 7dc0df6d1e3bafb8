import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.errors import RunError
from quantseq.reporting.compare import (
    INDEX,
    Comparison,
    index_page,
    listed,
    newest,
    sparkline,
    write_comparison,
    write_index,
)
from quantseq.reporting.page import fill
from quantseq.reporting.run import Run
from quantseq.trading.metrics import summarise_returns
from tests.report_folders import evaluation

EVIL = "<script>alert('x')</script>"


def comparison(run: Run, labels: tuple[str, ...] = ("a", "b")) -> Comparison:
    growth = pd.DataFrame({name: run.daily("strategy_net") for name in labels})
    score = {"log_score": -2.5, "crps": 0.009, "coverage_90": 0.897, "pit_ks": 0.02, "n": 1200}
    test = {"run": labels[0], "other": labels[1], "score": "crps", "step": 1}
    return Comparison(
        runs=dict.fromkeys(labels, run),
        growth=growth,
        sessions={name: {"sessions": len(growth), "merged": 0, "dropped": 0} for name in labels},
        metrics={name: summarise_returns(growth[name], periods=run.periods) for name in labels},
        against={n: {"sharpe_difference": 0.0, "interval": [-0.4, 0.4]} for n in labels[1:]},
        scores=dict.fromkeys(labels, score),
        rows=dict.fromkeys(labels, (6000, 6295)),
        tests=[{**test, "t": -2.5, "p": 0.012, "n_days": 1200}],
        settings={"seed": {name: str(place) for place, name in enumerate(labels)}},
        data={},
    )


def test_the_page_says_what_was_compared(
    run: Run, tmp_path: Path, words: Callable[[str], str]
) -> None:
    page = write_comparison(comparison(run), tmp_path / "c.html").read_text(encoding="utf-8")
    assert page == fill(comparison(run).page())
    text = words(page)
    assert "Comparison of 2 runs" in text
    assert "Sharpe ratio less the first's — 0.00 (−0.40 to +0.40)" in text
    assert "a −2.5000 90.00 89.7 % 0.020 1,200" in text
    assert "a against b CRPS −2.5*" in text
    assert "Every session of every run is in." in text
    assert not re.search("https?:", page)


@pytest.mark.usefixtures("undrawn")
def test_foreign_labels_are_shown_never_run(run: Run) -> None:
    page = fill(comparison(run, (EVIL, "b")).page())
    assert EVIL not in page
    assert page.count("&lt;script&gt;") > 5


@pytest.mark.usefixtures("undrawn")
def test_what_is_not_common_is_said(run: Run, words: Callable[[str], str]) -> None:
    poor = replace(
        comparison(run),
        growth=pd.DataFrame(),
        rows={"a": (0, 5), "b": (0, 5)},
        settings={},
        data={"IBM": {"a": "1" * 64, "b": ""}},
        tests=[],
    )
    text = words(fill(poor.page()))
    assert "have no common session" in text
    assert "no forecast of the same symbol" in text
    assert "prices differ" in text
    assert not re.search(r"\b(nan|NaN|None|inf)\b", text)


@pytest.mark.usefixtures("undrawn")
def test_five_runs_are_told_apart(run: Run) -> None:
    found = comparison(run, tuple("abcde"))
    keys = re.findall(r'<li><i class="([^"]+)"></i>([a-e])</li>', fill(found.page()))
    assert len({style for style, _ in keys}) == 5
    assert np.isfinite(found.metrics["e"]["sharpe"])


@pytest.fixture(scope="module")
def reports(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two backtests, one with its page, an evaluation, a broken run, and things that are no run."""
    root = tmp_path_factory.mktemp("reports")
    light = replace(run, scores=run.scores.head(0), forecasts=run.forecasts.head(0))
    (light.save(root / "older") / "report.html").write_text("a page")
    manifest = {**run.manifest, "run_id": "newer", "created": "2026-02-02T03:04:05Z", "title": EVIL}
    verdict = {**run.result["verdict"], "edge": True, "sharpe_difference": 1.25}
    metrics = {"strategy": {"sharpe": 10.5, "cagr": None}}
    result = {**run.result, "verdict": verdict, "metrics": metrics}
    replace(light, manifest=manifest, result=result).save(root / "newer")
    shutil.copytree(root / "older", root / "broken")
    (root / "broken" / "result.json").write_text("{")
    shutil.copytree(root / "older", root / "sweep")
    (root / "sweep" / "points.csv").write_text("")
    (root / "notes").mkdir()
    shutil.copytree(root / "older", root / ".hidden.tmp")
    return root


def test_runs_are_listed_newest_first_and_broken_ones_last(reports: Path) -> None:
    found = listed(reports)
    assert [one.folder.name for one in found] == ["newer", "older", "broken"]
    assert found[2].run is None
    assert "result.json" in found[2].fault
    assert newest(reports).name == "newer"


def test_the_index_says_what_the_runs_say(
    reports: Path, run: Run, words: Callable[[str], str]
) -> None:
    page = write_index(reports).read_text(encoding="utf-8")
    assert page == fill(index_page(listed(reports)))
    text = words(page)
    sharpe = f"{run.result['metrics']['strategy']['sharpe']:+.2f}"
    assert f"{run.manifest['run_id']} Volatility-scaled trend on four stocks; 4 symbols" in text
    assert f"No edge {sharpe} " in text
    assert "2 runs, newest first; an edge was found in 1." in text
    assert "newer, no page" in text
    assert "broken: Cannot read" in text
    assert 'href="older/report.html"' in page
    assert "newer/report.html" not in page
    assert EVIL not in page
    assert not re.search("https?:", page)


def test_a_sparkline_shows_both_and_fits_its_box(run: Run) -> None:
    picture = str(sparkline(run))
    points = re.findall(r"([\d.]+),([\d.]+)", picture)
    assert picture.count("<polyline") == 2
    assert all(0 <= float(x) <= 120 and 0 <= float(y) <= 28 for x, y in points)
    assert len(picture) < 2_500
    assert sparkline(evaluation()) == "—"


def test_an_empty_folder_and_none_at_all(tmp_path: Path) -> None:
    assert "There is no run in this folder yet." in write_index(tmp_path).read_text()
    with pytest.raises(RunError, match="holds no run"):
        newest(tmp_path)
    with pytest.raises(RunError, match="is not a folder"):
        write_index(tmp_path / "nowhere")
    assert (tmp_path / INDEX).exists()


@pytest.mark.browser
def test_filter_and_sort_work_by_clicks_and_keys(reports: Path, browser: Any) -> None:
    page = browser.new_page()
    said: list[Any] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(write_index(reports).as_uri())

    def order() -> list[str]:
        return [row.inner_text()[:5] for row in page.query_selector_all("#runs tbody tr")]

    assert order() == ["newer", "20260"]
    for _ in range(2):
        page.click("#runs th button:has-text('Max')")
        assert order() == ["20260", "newer"]  # what is unknown comes last, either way
    page.focus("#runs th button:has-text('Sharpe ratio')")
    page.keyboard.press("Enter")
    assert order() == ["20260", "newer"]
    page.keyboard.press("Enter")
    assert order() == ["newer", "20260"]
    assert page.get_attribute("#runs th[aria-sort]", "aria-sort") == "descending"
    page.fill("input[type=search]", "STOCKS trend")
    assert page.inner_text("output") == "1 of 2 runs"
    assert page.is_hidden("#runs tbody tr:has-text('newer')")
    assert not said
    page.close()
