import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantseq.errors import RunError
from quantseq.reporting.index import INDEX, listed, newest, render_index, sparkline, write_index
from quantseq.reporting.printed import printed
from quantseq.reporting.render import write_report
from quantseq.reporting.run import Run

CHROMIUM = Path("/usr/bin/chromium")
EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def reports(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, one of them with its page, a broken one, and things that are no run."""
    root = tmp_path_factory.mktemp("reports")
    write_report(run.save(root / "older"))
    manifest = {**run.manifest, "run_id": "newer", "created": "2026-02-02T03:04:05Z", "title": EVIL}
    verdict = {**run.result["verdict"], "edge": True, "sharpe_difference": 1.25}
    metrics = {"strategy": {"sharpe": 10.5, "cagr": None}}
    result = {**run.result, "verdict": verdict, "metrics": metrics}
    replace(run, manifest=manifest, result=result).save(root / "newer")
    shutil.copytree(root / "older", root / "broken")
    (root / "broken" / "result.json").write_text("{")
    (root / "study-copy").mkdir()
    (root / ".hidden.tmp").mkdir()
    (root / "ledger.jsonl").write_text("")
    return root


def test_runs_are_listed_newest_first_and_broken_ones_last(reports: Path) -> None:
    found = listed(reports)
    assert [one.folder.name for one in found] == ["newer", "older", "broken"]
    assert found[2].run is None
    assert "result.json" in found[2].fault
    assert newest(reports).name == "newer"


def test_the_page_says_what_the_runs_say(reports: Path, run: Run) -> None:
    page = write_index(reports).read_text(encoding="utf-8")
    assert page == render_index(listed(reports))
    texts = printed(page)
    place = f"runs / Every run in this folder / {run.manifest['run_id']}"
    assert texts[f"{place} / verdict"] == "No edge"
    sharpe = run.result["metrics"]["strategy"]["sharpe"]
    assert texts[f"{place} / Sharpe ratio"] == f"{sharpe:+.2f}".replace("-", "−")
    assert texts[f"{place} / out of sample"] == "2008-03-03 to 2013-03-01"
    assert texts["runs / text"] == "2 runs, newest first; an edge was found in 1."
    assert texts["runs / Every run in this folder / newer, no page / CAGR"] == "—"
    assert "broken: Cannot read" in texts["broken / text (2)"]
    assert 'href="older/report.html"' in page
    assert "newer/report.html" not in page


def test_foreign_text_is_shown_never_run(reports: Path) -> None:
    page = render_index(listed(reports))
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert "http:" not in page
    assert "https:" not in page


def test_a_sparkline_shows_both_and_fits_its_box(run: Run) -> None:
    picture = sparkline(run)
    points = re.findall(r"([\d.]+),([\d.]+)", picture)
    assert picture.count("<polyline") == 2
    assert all(0 <= float(x) <= 120 and 0 <= float(y) <= 28 for x, y in points)
    assert len(picture) < 2_500


def test_an_empty_folder_and_none_at_all(tmp_path: Path) -> None:
    assert "There is no run in this folder yet." in write_index(tmp_path).read_text()
    with pytest.raises(RunError, match="holds no run"):
        newest(tmp_path)
    with pytest.raises(RunError, match="is not a folder"):
        write_index(tmp_path / "nowhere")
    assert (tmp_path / INDEX).exists()


@pytest.mark.browser
def test_filter_and_sort_work_by_clicks_and_keys(reports: Path) -> None:
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    address = write_index(reports).as_uri()
    with sync.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        said: list[Any] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(address)

        def order() -> list[str]:
            return [row.inner_text()[:5] for row in page.query_selector_all("#runs tbody tr")]

        assert order() == ["newer", "20260"]
        page.click("#runs th button:has-text('Max')")
        assert order() == ["20260", "newer"]  # what is unknown comes last, either way
        page.click("#runs th button:has-text('Max')")
        assert order() == ["20260", "newer"]
        page.focus("#runs th button:has-text('Sharpe ratio')")
        page.keyboard.press("Enter")
        assert order() == ["20260", "newer"]
        page.keyboard.press("Enter")
        assert order() == ["newer", "20260"]
        assert page.get_attribute("#runs th[aria-sort]", "aria-sort") == "descending"
        page.click("#runs th button:has-text('growth')")
        assert order() == ["20260", "newer"]
        page.click(".theme >> text=dark")
        assert page.get_attribute("html", "data-theme") == "dark"
        page.fill("input[type=search]", "STOCKS trend")
        assert page.inner_text("output") == "1 of 2 runs"
        assert page.is_hidden("#runs tbody tr:has-text('newer')")
        assert not said
        browser.close()
