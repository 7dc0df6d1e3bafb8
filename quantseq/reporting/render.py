"""From a run to one self-contained HTML page.

Owns the order of the sections and the template. `render` is pure and deterministic: the same run
gives the same bytes. Knows no figure.
"""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from quantseq.files import write_text
from quantseq.reporting import embedded, words
from quantseq.reporting.drawing.ink import pagescript, stylesheet, undrawn
from quantseq.reporting.embedded import Embedded
from quantseq.reporting.page import Page
from quantseq.reporting.printed import printed
from quantseq.reporting.run import Run
from quantseq.reporting.sections import (
    conditions,
    doubt,
    growth,
    money,
    overview,
    proof,
    risk,
    skill,
    tradable,
    trades,
)

REPORT = "report.html"


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("quantseq.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["dated"] = _dated
    return environment.get_template(name)


def _dated(text: str) -> Markup:
    """Escaped prose in which no line breaks inside an ISO date or before a percent sign."""
    whole = str(escape(words.tidy(text)))
    marked = re.sub(r"\b\d{4}-\d{2}-\d{2}\b", r"<time>\g<0></time>", whole)
    return Markup(marked)  # noqa: S704  (escaped first; only digits and hyphens are wrapped)


def assemble(run: Run) -> Page:
    """The page in its parts, in the order in which it is read."""
    return Page(
        overview.header(run),
        [
            overview.cards(run),
            growth.growth(run),
            doubt.luck(run),
            tradable.tradable(run),
            skill.forecast(run),
            money.returns(run),
            risk.risk(run),
            trades.trades(run),
            conditions.conditions(run),
            proof.evidence(run),
        ],
        "Backtests are simulations on past prices and no advice. Made by quantseq from the run folder "
        f"{run.manifest['run_id']}; the same folder gives the same page.",
    )


def render(run: Run) -> str:
    """The page as HTML: everything inline, nothing loaded from anywhere, readable without scripts.

    It is made from the numbers that it embeds (see `embedded`).

    Parameters
    ----------
    run : Run
        What to report on.

    Returns
    -------
    str
        The same text for the same run.
    """
    exact = embedded.rounded(run)
    html = fill(assemble(exact), embeds=True)
    data = embedded.gather(exact)
    shown, again = printed(html), _texts(embedded.unpacked(embedded.packed(data)).as_run())
    recorded = {
        name: text for name in {**again, **shown} if again.get(name) != (text := shown.get(name))
    }
    return embedded.insert(html, replace(data, recorded=recorded))


def fill(page: Page, template: str = "report.html.j2", *, embeds: bool = False) -> str:
    """Any page of the house as HTML, by one of its templates; with a place for data if it `embeds`."""
    # Style sheet and script are ours and hold no markup; everything else is escaped by the template.
    style, script = Markup(stylesheet()), Markup(pagescript())  # noqa: S704
    return _template(template).render(page=page, style=style, script=script, embeds=embeds)


def expected(data: Embedded) -> dict[str, str]:
    """What a page with these data must print, by name (see `printed`): computed, else as recorded."""
    texts = {**_texts(data.as_run()), **data.recorded}
    return {name: text for name, text in texts.items() if text is not None}


def expected_of(run: Run) -> dict[str, str]:
    """What the page of this run must print, by name, computed from the whole run."""
    return _texts(embedded.rounded(run))


def _texts(run: Run) -> dict[str, str]:
    with undrawn():
        return printed(fill(assemble(run), embeds=True))


def write_page(page: Page, folder: Path) -> Path:
    """Write any page of the house as ``report.html``.

    Raises
    ------
    StorageError
        If the folder is not writable.
    """
    path = Path(folder) / REPORT
    write_text(path, fill(page))
    return path


def write_report(folder: Path) -> Path:
    """Render the run in `folder` into its ``report.html``.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    RunError
        If the folder is incomplete or damaged.
    StorageError
        If it is not writable.
    """
    path = Path(folder) / REPORT
    write_text(path, render(Run.load(folder)))
    return path
