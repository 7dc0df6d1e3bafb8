"""The page in Chromium: it fits, is open to everybody, and can be read without scripts and on paper.

With ``QUANTSEQ_ARTEFACTS=FOLDER`` screenshots and the printed page are kept there, to be looked at.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SECTIONS = ("figures", "growth", "luck", "costs", "forecast", "returns", "risk", "trades")
SECTIONS += ("regimes", "definitions")
pytestmark = pytest.mark.browser

OVERFLOW = """() => [...document.querySelectorAll('body *')]
  .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .filter(e => !e.closest('.scroll')).map(e => e.outerHTML.slice(0, 120))"""

SMALL = """() => [...document.querySelectorAll('p, h1, h2, h3, li, td, th, dt, dd, svg text, a, button')]
  .filter(e => e.getClientRects().length && e.textContent.trim())
  .map(e => [parseFloat(getComputedStyle(e).fontSize) *
             (e.ownerSVGElement ? e.ownerSVGElement.getScreenCTM().a : 1), e.textContent.slice(0, 40)])
  .filter(([size]) => size < 9.5)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 768, 360])
def test_the_page_fits_its_screen_and_nothing_is_tiny(
    open_page: Callable[..., Any], keep: Callable[..., Any], width: int, scheme: str
) -> None:
    tab = open_page(width, color_scheme=scheme)
    picture = keep(f"page-{width}-{scheme}.png")
    if picture is not None:
        tab.screenshot(path=picture, full_page=True)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(OVERFLOW) == []
    assert tab.evaluate(SMALL) == []
    tab.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Callable[..., Any], scheme: str) -> None:
    sync = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab = open_page(color_scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    found = sync.Axe().run(tab).response["violations"]
    grave = [(one["id"], one["impact"], one["nodes"][0]["html"][:200]) for one in found]
    assert grave == []


def test_everything_is_readable_without_javascript(browser: Any, address: str) -> None:
    context = browser.new_context(
        java_script_enabled=False, viewport={"width": 1200, "height": 900}
    )
    tab = context.new_page()
    tab.goto(address)
    for key in SECTIONS:
        section = tab.locator(f"#{key}")
        assert section.is_visible()
        assert len(section.inner_text()) > 100
    assert tab.locator("figure svg[role=img] >> visible=true").count() == 22
    assert tab.get_by_role("button").count() == 0
    assert tab.locator(".theme").is_hidden()
    tab.locator("#equity summary").click()
    assert tab.locator("#equity table").is_visible()
    context.close()


def test_it_prints_on_a4_in_daylight_and_nothing_is_cut(
    browser: Any, address: str, keep: Callable[..., Any], tmp_path: Path
) -> None:
    context = browser.new_context(color_scheme="dark", viewport={"width": 695, "height": 1000})
    tab = context.new_page()
    tab.emulate_media(media="print", color_scheme="dark")
    tab.goto(address)
    tab.get_by_label("dark").evaluate("e => e.click()")
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert tab.evaluate(OVERFLOW.replace("!e.closest('.scroll')", "true")) == []
    for controls in (".theme", ".tools", ".copy", ".readout", "nav"):
        assert all(one.is_hidden() for one in tab.locator(controls).all())
    path = keep("page.pdf") or tmp_path / "page.pdf"
    pdf = tab.pdf(path=path, prefer_css_page_size=True, print_background=True)
    assert pdf[:5] == b"%PDF-"
    assert 8 <= len(re.findall(rb"/Type /Page\b", pdf)) <= 18
    avoid = "e => getComputedStyle(e).breakInside"
    whole = [*tab.locator("figure").all(), *tab.locator(".heading").all()]
    assert {one.evaluate(avoid) for one in whole} == {"avoid"}
    for place, rule in ((".heading", "breakAfter"), ("footer", "breakBefore")):
        assert tab.locator(place).first.evaluate(f"e => getComputedStyle(e).{rule}") == "avoid"
    context.close()
