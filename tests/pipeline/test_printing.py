import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from quantseq.errors import ConfigError, RunError
from quantseq.pipeline import printing
from quantseq.pipeline.printing import print_pdf


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text("<h1>Hello</h1>", encoding="utf-8")
    return path


def test_without_a_browser_the_remedy_is_named(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "BROWSERS", ("no-such-browser",))
    with pytest.raises(ConfigError, match=r"needs one of no-such-browser.*apt-get install"):
        print_pdf(page)


def test_a_browser_that_fails_leaves_an_old_pdf(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.with_suffix(".pdf").write_text("old")
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/false")
    with pytest.raises(RunError, match=r"left with 1 and printed nothing; it said: nothing"):
        print_pdf(page)

    def never(*_: Any, **__: Any) -> None:
        raise subprocess.TimeoutExpired("chromium", 1)

    monkeypatch.setattr(subprocess, "run", never)
    with pytest.raises(RunError, match="did not print"):
        print_pdf(page)
    assert page.with_suffix(".pdf").read_text() == "old"


@pytest.mark.browser
def test_a_page_becomes_a_pdf(page: Path) -> None:
    if not any(map(shutil.which, printing.BROWSERS)):
        pytest.skip("Chromium is not installed")
    path = print_pdf(page)
    assert path.name == "report.pdf"
    assert path.read_bytes().startswith(b"%PDF-")
