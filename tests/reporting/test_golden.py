"""What the page of the test's run says, word for word: its structure and numbers, not its pixels.

After a change that is meant, run this file with ``QUANTSEQ_GOLDEN=write`` and read the difference.
"""

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from quantseq.reporting.render import render
from quantseq.reporting.run import Run

GOLDEN = Path(__file__).parent / "goldens" / "page.txt"
LINES = frozenset({"h1", "h2", "h3", "p", "li", "tr", "dt", "dd", "summary", "figure"})
SILENT = frozenset({"style", "script", "svg", "title", "details", "fieldset"})


class _Words(HTMLParser):
    """The text of a page as lines: cells apart by bars; without pictures and what is folded away."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.lines: list[str] = [""]
        self._quiet = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._quiet += tag in SILENT
        if self._quiet:
            return
        if tag in LINES:
            self.lines.append({"h2": "\n## ", "h3": "### ", "figure": "[figure]"}.get(tag, ""))
        elif tag in ("td", "th"):
            self.lines[-1] += "| "

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        self._quiet -= tag in SILENT

    def handle_data(self, data: str) -> None:
        if not self._quiet:
            self.lines[-1] += re.sub(r"\s*\n\s*", " ", data)

    @property
    def text(self) -> str:
        kept = (line.rstrip() for line in self.lines)
        return "\n".join(line for line in kept if line.strip()) + "\n"


@pytest.mark.usefixtures("undrawn")
def test_the_page_says_what_it_said(run: Run) -> None:
    text = _Words(render(run)).text.replace("\u00a0", " ")
    if os.environ.get("QUANTSEQ_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text.splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines()
