"""The pages of evaluations and toy tasks in Chromium: quiet, alone, never wider than the screen.

With ``QUANTSEQ_ARTEFACTS=FOLDER`` full-page screenshots are kept there, to be looked at.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantseq.reporting.comparison import write_comparison
from quantseq.reporting.index import write_index
from quantseq.reporting.pages import rewrite
from quantseq.reporting.render import write_report
from quantseq.reporting.run import Run
from tests.report_folders import evaluation_folder, toy_folder
from tests.reporting.test_comparison import comparison

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARTEFACTS = os.environ.get("QUANTSEQ_ARTEFACTS")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
KINDS = ("evaluation", "toy")
OVERVIEWS = ("comparison", "index")
SIZES = ((1440, "light"), (1440, "dark"), (360, "light"), (360, "dark"))

OVERFLOW = """() => [...document.querySelectorAll('body *')]
  .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .filter(e => !e.closest('.scroll')).map(e => e.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync.sync_playwright() as play:
        launched = play.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def addresses(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("pages")
    folders = evaluation_folder(root / "evaluation"), toy_folder(root / "toy")
    found = {kind: rewrite(folder).as_uri() for kind, folder in zip(KINDS, folders, strict=True)}
    names = tuple(f"20261124-1945{n:02}-f6e16e" for n in range(4))
    for name in names:
        title = "seq2seq with mean_variance on AAPL, GOOG, IBM, MSFT"
        write_report(
            replace(run, manifest={**run.manifest, "run_id": name, "title": title}).save(
                root / "reports" / name
            )
        )
    compared = replace(
        comparison(run, names),
        data={s: {name: f"{n}" * 64 for n, name in enumerate(names)} for s in ("IBM", "MSFT")},
    )
    return {
        **found,
        "index": write_index(root / "reports").as_uri(),
        "comparison": write_comparison(compared, root / "comparison.html").as_uri(),
    }


@pytest.mark.parametrize("kind", KINDS + OVERVIEWS)
@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_a_page_is_quiet_alone_and_never_wider_than_the_screen(
    browser: Any, addresses: dict[str, str], kind: str, width: int, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    tab = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(addresses[kind])
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(OVERFLOW) == []
    if ARTEFACTS:
        Path(ARTEFACTS).mkdir(parents=True, exist_ok=True)
        place = Path(ARTEFACTS) / f"{kind}-{width}-{scheme}.png"
        tab.screenshot(path=str(place), full_page=True)
    names = tab.evaluate("[...document.querySelectorAll('[role=region]')].map(e => e.ariaLabel)")
    assert len(set(names)) == len(names) > 0
    for details in tab.query_selector_all("details"):
        details.evaluate("element => element.open = true")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
    assert said == []
    assert asked == [addresses[kind]]


@pytest.mark.parametrize("kind", KINDS + OVERVIEWS)
def test_axe_finds_nothing_serious(browser: Any, addresses: dict[str, str], kind: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe")
    context = browser.new_context(viewport={"width": 1200, "height": 900}, bypass_csp=True)
    tab = context.new_page()
    tab.goto(addresses[kind])
    found = axe.Axe().run(tab).response["violations"]
    context.close()
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in grave] == []


def test_a_number_of_the_tests_is_seen_on_a_telephone(
    browser: Any, addresses: dict[str, str]
) -> None:
    tab = browser.new_page(viewport={"width": 360, "height": 900})
    tab.goto(addresses["evaluation"])
    table = tab.locator(".heat").first
    right = table.locator("tbody tr").first.locator("td").nth(1).bounding_box()
    inside = table.locator("xpath=..").bounding_box()
    assert right["x"] + right["width"] <= inside["x"] + inside["width"]
    tab.close()


@pytest.mark.parametrize("kind", OVERVIEWS)
def test_no_column_of_an_overview_is_hidden(
    browser: Any, addresses: dict[str, str], kind: str
) -> None:
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    tab.goto(addresses[kind])
    hidden = "e => e.scrollWidth - e.clientWidth"
    tables = tab.locator("section .scroll >> visible=true")
    assert tables.count() >= 1
    assert [tables.nth(n).evaluate(hidden) for n in range(tables.count())] == [0] * tables.count()
    tab.close()


def test_a_comparison_has_the_controls_of_a_report(browser: Any, addresses: dict[str, str]) -> None:
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    tab.goto(addresses["comparison"])
    pad = tab.locator("#growth-of-all .wide")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    middle = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] / 2, middle)
    assert tab.locator("#growth-of-all .readout > *").count() == 5
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.7 * box["width"], middle, steps=4)
    tab.mouse.up()
    tab.click("#growth-of-all >> text=Linear scale")
    assert tab.locator("#growth-of-all .wide.redrawn, #growth-of-all .wide .redrawn").count() == 1
    assert tab.locator("#growth-of-all .scale").inner_text() == "linear scale"
    tab.click(".theme >> text=dark")
    assert tab.get_attribute("html", "data-theme") == "dark"
    tab.close()


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_readable_without_scripts(
    browser: Any, addresses: dict[str, str], kind: str
) -> None:
    context = browser.new_context(
        java_script_enabled=False, viewport={"width": 1200, "height": 900}
    )
    tab = context.new_page()
    tab.goto(addresses[kind])
    sections = tab.locator("section")
    assert sections.count() >= 7
    for place in range(sections.count()):
        assert sections.nth(place).is_visible()
        assert len(sections.nth(place).inner_text()) > 20
    shown = tab.locator("figure svg[role=img] >> visible=true").count()
    assert shown == tab.locator("figure").count() >= 3
    context.close()
