"""Pages in Chromium: they fit, are open to everybody, read without scripts and on paper; the controls work.

With ``QUANTSEQ_ARTEFACTS=FOLDER`` screenshots and the printed page are kept there, to be looked at.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantseq.reporting.compare import write_comparison
from quantseq.reporting.render import render, write_report
from quantseq.reporting.run import Run
from quantseq.trading.metrics import wealth
from tests.report_folders import evaluation, toy_folder
from tests.reporting.test_compare import comparison

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
@pytest.mark.parametrize("width", [1440, 360])
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


def readout(tab: Any, key: str) -> list[str]:
    parts: list[str] = tab.locator(f"#{key} .readout > *").all_inner_texts()
    return [part.replace("−", "-").replace("\u00a0", " ") for part in parts]


def over(tab: Any, key: str, share: float) -> None:
    """Move the mouse over a chart, at a share of its axes' width."""
    pad = tab.locator(f"#{key} .wide")
    pad.scroll_into_view_if_needed()
    place = pad.locator("svg").bounding_box()
    left, _, right, _ = map(float, pad.locator("svg").get_attribute("data-boxes").split())
    scale = place["width"] / 900
    x = place["x"] + scale * (left + share * (right - left))
    tab.mouse.move(x, place["y"] + place["height"] / 2)


def test_the_crosshair_stands_at_one_date_in_all_charts_and_reads_their_values(
    open_page: Callable[..., Any], run: Run
) -> None:
    tab = open_page()
    over(tab, "equity", 0.5)
    day, strategy, rival, *_ = readout(tab, "equity")
    net, held = run.daily("strategy_net"), run.daily("buy_and_hold")
    assert net is not None
    assert held is not None
    place = net.index.get_loc(day)
    assert strategy == f"strategy {wealth(net)[place]:.3f}"
    assert rival == f"buy-and-hold {wealth(held)[place]:.3f}"
    assert abs(date.fromisoformat(day) - date(2010, 8, 31)) < timedelta(days=5)
    for key in ("drawdown", "exposure", "netting", "rolling-sharpe", "rolling-volatility"):
        assert readout(tab, key)[0] == day
        assert tab.locator(f"#{key} .wide .cursor path").count() == 1
    assert tab.locator("#positions .wide .cursor path").count() == 4
    exposure = run.daily("gross_exposure")
    assert exposure is not None
    assert (
        readout(tab, "exposure")[1]
        == f"gross exposure at the close {100 * exposure.loc[day]:.1f} %"
    )
    tab.mouse.move(5, 5)
    assert readout(tab, "equity") == []
    assert tab.locator(".cursor path").count() == 0


def test_a_tap_leaves_the_values_standing(open_page: Callable[..., Any]) -> None:
    tab = open_page(360, has_touch=True)
    pad = tab.locator("#equity .narrow")
    pad.scroll_into_view_if_needed()
    place = pad.bounding_box()
    tab.touchscreen.tap(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    assert len(readout(tab, "equity")) == 3
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_figure_without_value_reads_as_a_dash(open_page: Callable[..., Any]) -> None:
    tab = open_page()
    over(tab, "rolling-sharpe", 0.02)
    assert readout(tab, "rolling-sharpe")[1:] == ["strategy —", "buy-and-hold —"]


def test_a_brush_zooms_every_chart_and_a_button_shows_all_again(
    open_page: Callable[..., Any], keep: Callable[..., Any]
) -> None:
    tab = open_page()
    before = tab.locator("#drawdown .wide .still").bounding_box()
    over(tab, "equity", 0.3)
    tab.mouse.down()
    over(tab, "equity", 0.5)
    assert tab.locator("#equity .wide .cursor rect").bounding_box()["width"] > 100
    tab.mouse.up()
    for key in ("equity", "drawdown", "positions", "rolling-sharpe"):
        assert tab.locator(f"#{key} .wide .still").is_hidden()
        assert tab.locator(f"#{key} .wide .now path").count() > 2
    frame = tab.locator("#equity .wide svg").bounding_box()
    for mark in tab.locator("#equity .wide .now path[stroke-dasharray='1 3']").all():
        assert frame["x"] < mark.bounding_box()["x"] < frame["x"] + frame["width"]
    over(tab, "drawdown", 0.0)
    first = date.fromisoformat(readout(tab, "equity")[0])
    assert abs(first - date(2009, 9, 1)) < timedelta(days=10)
    over(tab, "drawdown", 1.0)
    last = date.fromisoformat(readout(tab, "equity")[0])
    assert abs(last - date(2010, 8, 31)) < timedelta(days=10)
    picture = keep("zoomed.png")
    if picture is not None:
        tab.screenshot(path=picture, full_page=True)
    tab.locator("#equity").get_by_role("button", name="Reset zoom").click()
    assert tab.locator("#drawdown .wide .still").bounding_box()["width"] == before["width"]
    assert tab.locator(".now path").count() == 0
    assert tab.get_by_role("button", name="Reset zoom").count() == 0


def test_a_click_is_no_zoom_and_a_double_click_shows_all(open_page: Callable[..., Any]) -> None:
    tab = open_page()
    over(tab, "equity", 0.4)
    tab.mouse.down()
    tab.mouse.up()
    assert tab.locator(".redrawn").count() == 0
    tab.mouse.down()
    over(tab, "equity", 0.6)
    tab.mouse.up()
    assert tab.locator(".redrawn").count() > 0
    tab.locator("#equity .wide").dblclick()
    assert tab.locator(".redrawn").count() == 0


def test_everything_over_time_works_by_keys(open_page: Callable[..., Any]) -> None:
    tab = open_page()
    pad = tab.locator("#equity .wide")
    assert "arrow keys" in pad.get_attribute("aria-label")
    pad.focus()
    tab.keyboard.press("ArrowLeft")
    days = [date.fromisoformat(readout(tab, "equity")[0])]
    assert days[0] == date(2013, 3, 1)
    for key in ("ArrowLeft", "Shift+ArrowLeft", "ArrowRight", "ArrowRight"):
        tab.keyboard.press(key)
        days.append(date.fromisoformat(readout(tab, "drawdown")[0]))
    assert days[1] == date(2013, 2, 28)
    assert timedelta(days=25) < days[1] - days[2] < timedelta(days=40)
    assert days[2] < days[3] < days[4]
    tab.keyboard.press("+")
    assert tab.locator("#equity .wide .now path").count() > 2
    for _ in range(3):
        tab.keyboard.press("-")
    tab.keyboard.press("0")
    assert tab.locator(".now path").count() == 0
    tab.keyboard.press("Escape")
    assert readout(tab, "equity") == []


def test_the_scale_switches_between_log_and_linear(
    open_page: Callable[..., Any], keep: Callable[..., Any]
) -> None:
    tab = open_page()
    assert tab.locator("#equity .scale").inner_text() == "log scale"
    button = tab.locator("#equity").get_by_role("button", name="Linear scale")
    button.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#equity .scale").inner_text() == "linear scale"
    ticks = tab.locator("#equity .wide .now text").all_text_contents()
    heights = [float(text) for text in ticks if re.fullmatch(r"[\d.]{1,4}", text)]
    assert len(heights) >= 3
    steps = np.diff(sorted(heights)[:3])
    assert steps[0] == pytest.approx(steps[1])
    picture = keep("linear.png")
    if picture is not None:
        tab.locator("#equity").screenshot(path=picture)
    tab.locator("#equity").get_by_role("button", name="Log scale").click()
    assert tab.locator("#equity .wide .still").is_visible()
    assert tab.locator("#drawdown").get_by_role("button", name=re.compile("scale")).count() == 0


def test_tables_sort_by_numbers_dates_and_words_with_unknowns_last(
    open_page: Callable[..., Any],
) -> None:
    tab = open_page()
    section = tab.locator(".sheet", has=tab.get_by_role("heading", name="Every figure"))
    column = section.locator("tbody tr td:nth-child(2)")
    before = column.all_inner_texts()
    head = section.get_by_role("button", name="buy-and-hold")
    head.focus()
    tab.keyboard.press("Enter")
    assert section.locator("th[aria-sort=ascending]").inner_text().startswith("buy-and-hold")
    values = [
        text.replace("−", "-") for text in section.locator("td:nth-child(4)").all_inner_texts()
    ]
    known = [float(text.replace(",", "").split("\u00a0")[0]) for text in values if text != "—"]
    assert known == sorted(known)
    assert [text == "—" for text in values] == sorted(text == "—" for text in values)
    head.click()
    again = [
        text.replace("−", "-") for text in section.locator("td:nth-child(4)").all_inner_texts()
    ]
    known = [float(text.replace(",", "").split("\u00a0")[0]) for text in again if text != "—"]
    assert known == sorted(known, reverse=True)
    assert again[-1] == "—"
    assert sorted(column.all_inner_texts()) == sorted(before)
    falls = tab.locator(".sheet", has=tab.get_by_role("heading", name="Worst drawdowns"))
    falls.get_by_role("button", name="lowest").click()
    dates = falls.locator("td:nth-child(4)").all_inner_texts()
    assert dates == sorted(dates)


def test_totals_stay_below_when_the_rest_is_sorted(open_page: Callable[..., Any]) -> None:
    tab = open_page()
    sheet = tab.locator(".sheet", has=tab.get_by_role("heading", name="Where the profit came from"))
    sheet.get_by_role("button", name="total").click()
    assert sheet.locator("tr").last.inner_text().startswith("all")


def test_tables_are_copied_as_csv(open_page: Callable[..., Any], run: Run) -> None:
    tab = open_page(permissions=["clipboard-read", "clipboard-write"])
    sheet = tab.locator(".sheet", has=tab.get_by_role("heading", name="Against simple rules"))
    sheet.get_by_role("button", name="Copy as CSV").first.click()
    sheet.get_by_role("button", name="Copied").wait_for()
    text = tab.evaluate("navigator.clipboard.readText()")
    lines = text.strip().split("\n")
    assert lines[0] == ",CAGR,Volatility,Sharpe ratio,Max drawdown,turnover a year"
    assert lines[1].startswith("Strategy,+9.3 %,11.3 %,+0.84,-16.1 %,")
    assert len(lines) == 2 + len(run.result["benchmarks"])


def test_csv_is_copied_where_the_clipboard_is_closed(open_page: Callable[..., Any]) -> None:
    tab = open_page()
    tab.evaluate(
        "Object.defineProperty(navigator, 'clipboard', {value: undefined});"
        "document.addEventListener('copy', () => { window.taken = document.activeElement.value; })"
    )
    tab.locator("#definitions").get_by_role("button", name="Copy as CSV").first.click()
    tab.locator("#definitions").get_by_role("button", name="Copied").wait_for()
    taken = tab.evaluate("window.taken")
    assert taken.startswith("figure,formula,unit,ddof,annualised,source\n")
    assert '"mean(r - f)·A / √(mean(min(r - f, 0)²)·A), all T in the mean"' in taken


def test_the_theme_follows_the_reader_until_one_is_chosen_and_remembered(
    open_page: Callable[..., Any],
) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('#equity svg text')).fill"
    light, dark = open_page(color_scheme="light"), open_page(color_scheme="dark")
    assert light.evaluate(ground) != dark.evaluate(ground)
    assert light.evaluate(ink) != dark.evaluate(ink)
    light.get_by_text("dark", exact=True).click()
    assert light.evaluate(ground) == dark.evaluate(ground)
    light.reload()
    assert light.evaluate(ground) == dark.evaluate(ground)
    light.get_by_label("dark").focus()
    light.keyboard.press("ArrowLeft")
    assert light.evaluate(ground) != dark.evaluate(ground)
    light.get_by_text("auto", exact=True).click()
    light.reload()
    assert light.evaluate("document.documentElement.dataset.theme") is None


def test_the_page_works_where_storage_is_closed(browser: Any, address: str) -> None:
    tab = browser.new_context().new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('closed'); }})"
    )
    tab.goto(address)
    tab.get_by_text("dark", exact=True).click()
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    assert errors == []
    tab.context.close()


def test_hostile_text_appears_as_text_and_never_runs(
    browser: Any, run: Run, tmp_path: Path
) -> None:
    evil = "</script><script>window.taken = 1</script><img src=x onerror='window.taken = 2'>"
    hostile = replace(
        run,
        manifest={**run.manifest, "title": evil, "config": {"policy": {"name": evil}}},
        weights=run.weights.replace({"symbol": {"IBM": evil}}),
    )
    path = tmp_path / "hostile.html"
    path.write_text(render(hostile), encoding="utf-8")
    tab = browser.new_context().new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(path.as_uri())
    over(tab, "equity", 0.5)
    assert tab.locator("h1").inner_text() == evil
    assert any(part.startswith(evil) for part in readout(tab, "positions"))
    assert tab.get_by_role("cell", name=evil).count() >= 1
    assert tab.evaluate("window.taken") is None
    assert asked == [path.as_uri()]
    tab.context.close()


@pytest.fixture(scope="module")
def addresses(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Pages of an evaluation, a toy task and a comparison."""
    root = tmp_path_factory.mktemp("pages")
    names = tuple(f"20261124-1945{n:02}-f6e16e" for n in range(4))
    data = {s: {name: f"{n}" * 64 for n, name in enumerate(names)} for s in ("IBM", "MSFT")}
    compared = replace(comparison(run, names), data=data)
    return {
        "evaluation": write_report(evaluation().save(root / "evaluation")).as_uri(),
        "toy": write_report(toy_folder(root / "toy")).as_uri(),
        "comparison": write_comparison(compared, root / "comparison.html").as_uri(),
    }


@pytest.mark.parametrize("kind", ["evaluation", "toy", "comparison"])
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
def test_other_pages_are_quiet_alone_open_and_never_wider_than_the_screen(
    browser: Any,
    addresses: dict[str, str],
    keep: Callable[..., Any],
    kind: str,
    width: int,
    scheme: str,
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe")
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    tab = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(addresses[kind])
    assert tab.evaluate(OVERFLOW) == []
    if picture := keep(f"{kind}-{width}-{scheme}.png"):
        tab.screenshot(path=picture, full_page=True)
    names = tab.evaluate("[...document.querySelectorAll('[role=region]')].map(e => e.ariaLabel)")
    assert len(set(names)) == len(names) > 0
    tab.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert asked == [addresses[kind]]
    found = axe.Axe().run(tab).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in grave] == []
    context.close()
    assert said == []


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
    assert tab.locator("#growth-of-all .wide .redrawn").count() == 1
    assert tab.locator("#growth-of-all .scale").inner_text() == "linear scale"
    tab.close()


def test_the_returns_are_downloaded_as_csv_without_a_script(
    browser: Any, address: str, run: Run
) -> None:
    context = browser.new_context(java_script_enabled=False, accept_downloads=True)
    tab = context.new_page()
    tab.goto(address)
    with tab.expect_download() as waiting:
        tab.locator("#daily").click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    assert waiting.value.suggested_filename == f"{run.manifest['run_id']}.csv"
    assert len(text.splitlines()) == 1 + len(run.equity)
    context.close()
