"""A clean run passes; one digit changed anywhere is found and named."""

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from quantseq.errors import RunError
from quantseq.files import SUMS, read_sums
from quantseq.pipeline.backtest import BacktestOutcome
from quantseq.pipeline.verify import Verification, recompute, verify
from quantseq.reporting.render import write_report
from quantseq.reporting.run import Run, run_files, sign
from tests.report_folders import toy_folder

FILES = run_files("backtest")


@pytest.fixture(scope="module")
def source(small_run: BacktestOutcome) -> Path:
    return small_run.folder


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    """A copy to be damaged, with its ledger beside it."""
    shutil.copy(source.parent / "ledger.jsonl", tmp_path)
    return Path(shutil.copytree(source, tmp_path / source.name))


@pytest.fixture(scope="module")
def page(source: Path) -> str:
    return (source / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    """The page as it was: for damage that the page's drawings cannot show."""
    text = (source / "report.html").read_text(encoding="utf-8")
    monkeypatch.setattr("quantseq.pipeline.verify.render", lambda _: text)


def names(found: Verification) -> str:
    return " | ".join(one.name for one in found.differences)


def test_a_clean_run_passes(folder: Path) -> None:
    found = verify(folder)
    assert found.passed, found.differences
    assert found.checked["files"] == len(FILES)
    assert found.checked["figures"] > 250
    assert found.checked["lines of the page"] > 1000
    assert found.checked["ledger lines"] == 1
    assert found.notes == []
    assert json.dumps(found.to_json())


def test_recomputing_a_finished_run_gives_its_result_again(source: Path) -> None:
    run = Run.load(source)
    assert set(recompute(run)) == set(run.result)


def test_a_clean_page_passes_wherever_it_lies_and_says_what_it_cannot_tell(
    page: str, tmp_path: Path
) -> None:
    path = tmp_path / "sent by mail.html"
    path.write_text(page, encoding="utf-8")
    found = verify(path)
    assert found.passed, found.differences
    assert found.checked["figures"] > 40
    assert "only the run folder tells" in found.notes[0]


def test_every_digit_of_a_page_counts_beside_its_folder(folder: Path, page: str) -> None:
    path, rng = folder / "report.html", random.Random(0)
    fresh = page
    places = [match.start() for match in re.finditer(r"\d", page)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantseq.pipeline.verify.render", lambda _: fresh)
        for place in rng.sample(places, 5):
            digit = str((int(page[place]) + 1) % 10)
            path.write_text(page[:place] + digit + page[place + 1 :], encoding="utf-8")
            assert "report.html, line" in names(verify(folder)), page[place - 40 : place + 40]


def test_changed_headline_figures_of_a_page_alone_are_named(page: str, tmp_path: Path) -> None:
    path, rng = tmp_path / "report.html", random.Random(1)
    cells = list(re.finditer(r'data-figure="([^"]+)">[^<]*?(\d)[^\d<]*<', page))
    assert len(cells) > 40
    for cell in rng.sample(cells, 4):
        digit = str((int(cell[2]) + 1) % 10)
        path.write_text(page[: cell.start(2)] + digit + page[cell.end(2) :], encoding="utf-8")
        (one,) = verify(path).differences
        assert one.name == cell[1]
        assert one.printed != one.recomputed


def test_returns_that_are_changed_in_the_page_are_found(page: str, tmp_path: Path) -> None:
    day = re.search(r"%0A2\d{3}-\d\d-\d\d,(-?0\.\d{6})", page)
    assert day
    path = tmp_path / "report.html"
    path.write_text(page[: day.start(1)] + "0.123456" + page[day.end(1) :], encoding="utf-8")
    assert "strategy.total_return" in names(verify(path))


def test_a_verdict_with_other_numbers_is_found(page: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    head, body = page.split("<main>")
    changed = re.sub(r"Sharpe (−?)(\d)", lambda m: f"Sharpe {m[1]}{(int(m[2]) + 1) % 10}", head)
    assert changed != head
    path.write_text(changed + "<main>" + body, encoding="utf-8")
    assert "sentence" in names(verify(path))


def _json_digit(path: Path, key: str) -> None:
    """Change an early digit of the number under a key: the last ones are rounding."""
    text = path.read_text(encoding="utf-8")
    match = re.search(rf'"{key}": -?[\d.]{{0,4}}(\d)', text)
    assert match
    digit = str((int(match[1]) + 1) % 10)
    path.write_text(text[: match.start(1)] + digit + text[match.end(1) :], encoding="utf-8")


def _cell(name: str, column: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        frame = pd.read_parquet(folder / name)
        place = frame.index[frame[column].notna()][37 % frame[column].notna().sum()]
        frame.loc[place, column] = change(frame.loc[place, column])
        frame.to_parquet(folder / name, compression="zstd", index=False)

    return damage


FORGERIES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a daily return": (
        _cell("equity.parquet", "strategy_net", lambda x: x + 1e-5),
        "metrics.strategy.",
    ),
    "a benchmark's return": (
        _cell("equity.parquet", "benchmark:momentum_12m", lambda x: x + 1e-5),
        "benchmarks.momentum_12m.metrics.",
    ),
    "a log score": (_cell("scores.parquet", "log_score", lambda x: x - 0.01), "forecast."),
    "a PIT": (_cell("scores.parquet", "pit", lambda x: (x + 0.5) % 1), "forecast.by_step."),
    "a trade": (_cell("trades.parquet", "profit", lambda x: x + 0.01), "trades.profit"),
    "a metric": (
        lambda folder: _json_digit(folder / "result.json", "cagr"),
        "metrics.strategy.cagr",
    ),
    "a probability": (lambda folder: _json_digit(folder / "result.json", "dsr"), "verdict.dsr"),
    "a seed": (lambda folder: _json_digit(folder / "manifest.json", "run"), "intervals."),
}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("what", FORGERIES)
def test_a_forger_who_signs_again_is_found_by_the_figures(folder: Path, what: str) -> None:
    damage, name = FORGERIES[what]
    damage(folder)
    sign(folder)
    found = verify(folder)
    assert not [one for one in found.differences if SUMS in one.name]
    assert name in names(found)


def test_what_no_figure_tells_is_told_by_the_hashes_in_the_page(folder: Path) -> None:
    _cell("weights.parquet", "weight", lambda x: x + 1e-12)(folder)
    sign(folder)
    found = [one for one in verify(folder).differences if "report.html, line" in one.name]
    digest = read_sums(folder)["weights.parquet"]
    assert any(digest[:20] in one.recomputed for one in found), found


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_of_a_file_is_found(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    assert f"{SUMS}: {name}" in names(verify(folder))


@pytest.mark.usefixtures("undrawn")
def test_the_ledger_must_know_the_run(folder: Path) -> None:
    book = folder.parent / "ledger.jsonl"
    text = book.read_text()
    book.write_text(text.replace('"sessions":', '"sessions": 1'))
    assert "ledger.jsonl" in names(verify(folder))
    book.write_text("")
    assert "ledger.jsonl: " in names(verify(folder))
    book.unlink()
    found = verify(folder)
    assert found.passed
    assert any("There is no ledger.jsonl" in note for note in found.notes)


def test_missing_sums_and_a_missing_page_are_told(folder: Path) -> None:
    (folder / SUMS).unlink()
    (folder / "report.html").unlink()
    found = verify(folder)
    assert {one.name for one in found.differences} == {f"{SUMS}: {name}" for name in FILES}
    assert any("There is no report.html" in note for note in found.notes)


@pytest.mark.slow
def test_a_toys_page_is_made_again(tmp_path: Path) -> None:
    folder = toy_folder(tmp_path)
    path = write_report(folder)
    assert verify(folder).passed
    path.write_text(path.read_text(encoding="utf-8").replace("99.80", "99.90", 1), encoding="utf-8")
    found = verify(folder)
    assert "report.html, line" in names(found)
    assert "checksums were compared" in found.notes[0]


def test_what_is_no_run_and_no_page_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run folder"):
        verify(tmp_path)
    with pytest.raises(RunError, match="Cannot read"):
        verify(tmp_path / "nothing.html")
    (tmp_path / "other.html").write_text("<p>hello</p>")
    with pytest.raises(RunError, match="carries no returns"):
        verify(tmp_path / "other.html")
