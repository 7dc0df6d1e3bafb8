"""A clean run passes; one digit changed anywhere is found and named."""

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from quantseq.errors import RunError
from quantseq.files import sha256_file
from quantseq.pipeline.backtesting import BacktestOutcome
from quantseq.pipeline.checks import verifying
from quantseq.pipeline.checks.verifying import Verification, verify
from quantseq.reporting.embedded import OPEN, insert, read_embedded, without_data
from quantseq.reporting.render import expected, render
from quantseq.reporting.run import FILES, SUMS, Run


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


def names(found: Verification) -> str:
    return " | ".join(one.name for one in found.differences)


def sign_again(folder: Path) -> None:
    """What a forger does who knows of the checksums."""
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in FILES]
    (folder / SUMS).write_text("".join(lines))


def test_a_clean_run_passes(folder: Path) -> None:
    found = verify(folder)
    assert found.passed, found.differences
    assert found.checked["files"] == 5
    assert found.checked["figures"] > 250
    assert found.checked["printed texts"] > 1000
    assert found.checked["ledger lines"] == 1
    (note,) = found.notes
    assert "overnight_gap" in note
    assert "metrics" not in note
    assert "verdict.dsr" not in note
    assert json.dumps(found.to_json())


def test_a_clean_page_passes_wherever_it_lies(page: str, tmp_path: Path) -> None:
    path = tmp_path / "sent by mail.html"
    path.write_text(page, encoding="utf-8")
    found = verify(path)
    assert found.passed, found.differences
    assert found.checked["figures"] > 250
    assert any("were compared with what the page recorded" in note for note in found.notes)


def test_every_digit_of_a_page_counts(page: str) -> None:
    """A digit in a text is named with what stands there and what should; any other is noticed."""
    data = read_embedded(page)
    wanted, ends = expected(data), page.index(OPEN)
    places = [match.start() for match in re.finditer(r"\d", page[:ends])]
    in_text = [at for at in places if page.rfind(">", 0, at) > page.rfind("<", 0, at)]
    rng = random.Random(0)
    named = 0
    for place in [*rng.sample(places, 20), *rng.sample(in_text, 20)]:
        digit = str((int(page[place]) + 1) % 10)
        changed = page[:place] + digit + page[place + 1 :]
        found = Verification("page")
        verifying._compare_texts(found, changed, data, wanted)
        assert not found.passed, page[place - 40 : place + 40]
        named += found.differences[0].name != "page"
    assert named >= 10


def test_a_changed_cell_is_named_with_both_numbers(folder: Path, page: str) -> None:
    match = re.search(r"(Sharpe ratio</th><td>[+−]\d\.)(\d)", page)
    assert match
    digit = str((int(match[2]) + 1) % 10)
    path = folder / "report.html"
    path.write_text(page[: match.end(1)] + digit + page[match.end(2) :], encoding="utf-8")
    for what in (path, folder):
        (one,) = verify(what).differences
        assert one.name == "costs / Before and after costs / Sharpe ratio / before"
        assert str(one.printed)[3] == digit
        assert str(one.recomputed)[3] == match[2]


def _json_digit(path: Path, key: str) -> None:
    """Change the last digit of the number under a key."""
    text = path.read_text(encoding="utf-8")
    match = re.search(rf'"{key}": -?[\d.]*?(\d)(?=[,\n])', text)
    assert match
    digit = str((int(match[1]) + 1) % 10)
    path.write_text(text[: match.start(1)] + digit + text[match.end(1) :], encoding="utf-8")


@pytest.mark.parametrize("key", ["sharpe", "dsr", "pit_ks", "n_days"])
def test_the_last_digit_of_a_result_is_found(folder: Path, key: str) -> None:
    _json_digit(folder / "result.json", key)
    assert "SHA256SUMS: result.json" in names(verify(folder))


def _cell(name: str, column: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        frame = pd.read_parquet(folder / name)
        place = frame.index[frame[column].notna()][37]
        frame.loc[place, column] = change(frame.loc[place, column])
        frame.to_parquet(folder / name, compression="zstd", index=False)

    return damage


FORGERIES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a daily return": (
        _cell("equity.parquet", "strategy_net", lambda x: x + 1e-5),
        "metrics.strategy.",
    ),
    "a rival's return": (
        _cell("equity.parquet", "rival:momentum_12m", lambda x: x + 1e-5),
        "rivals.momentum_12m.metrics.",
    ),
    "a close": (_cell("equity.parquet", "close:IBM", lambda x: x * 1.0001), "realised of IBM"),
    "turnover": (_cell("equity.parquet", "turnover", lambda x: x + 0.01), "page data: equity"),
    "an outcome": (
        _cell("forecasts.parquet", "realised", lambda x: x + 1e-4),
        "forecasts.parquet: realised of",
    ),
    "a log score": (
        _cell("forecasts.parquet", "log_score", lambda x: x - 0.01),
        "forecast.",
    ),
    "a PIT": (_cell("forecasts.parquet", "pit", lambda x: (x + 0.5) % 1), "pit and q"),
    "a weight": (_cell("weights.parquet", "weight", lambda x: x + 0.01), "page data: weights"),
    "a metric": (lambda folder: _json_digit(folder / "result.json", "cagr"), "page data: result"),
    "a seed": (lambda folder: _json_digit(folder / "manifest.json", "run"), "intervals."),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forger_who_signs_again_is_found_by_the_figures(folder: Path, what: str) -> None:
    damage, name = FORGERIES[what]
    damage(folder)
    sign_again(folder)
    found = verify(folder)
    assert not [one for one in found.differences if SUMS in one.name]
    assert name in names(found)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_of_a_file_is_found(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    assert f"{SUMS}: {name}" in names(verify(folder))


def test_a_whole_forged_page_is_found_by_its_own_series(
    source: Path, page: str, tmp_path: Path
) -> None:
    run = Run.load(source)
    metrics: Any = run.result["metrics"]
    lied = {**metrics, "strategy": {**metrics["strategy"], "sharpe": 2.5}}
    forged = render(replace(run, result={**run.result, "metrics": lied}))
    assert "+2.50" in forged
    path = tmp_path / "report.html"
    path.write_text(forged, encoding="utf-8")
    (one,) = verify(path).differences
    assert (one.name, one.printed) == ("metrics.strategy.sharpe", 2.5)
    assert one.tolerance
    assert str(one).startswith("metrics.strategy.sharpe: printed 2.5, recomputed ")
    assert without_data(page) != without_data(forged)


def test_series_that_are_changed_in_the_page_are_found(page: str, tmp_path: Path) -> None:
    data = read_embedded(page)
    equity = data.equity.copy()
    equity.loc[100, "strategy_net"] += 0.005
    path = tmp_path / "report.html"
    path.write_text(insert(without_data(page), replace(data, equity=equity)), encoding="utf-8")
    found = verify(path)
    assert "metrics.strategy.total_return" in names(found)
    assert "returns / Months and years" in names(found)


def test_a_page_of_another_run_is_found(folder: Path, page: str) -> None:
    run = Run.load(folder)
    other = replace(run, equity=run.equity.assign(cost=run.equity["cost"] * 2))
    (folder / "report.html").write_text(render(other), encoding="utf-8")
    assert "page data: equity" in names(verify(folder))


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


def test_trials_that_the_ledger_does_not_know_are_found(folder: Path) -> None:
    path = folder / "result.json"
    path.write_text(path.read_text().replace('"n_trials": 1', '"n_trials": 4'))
    assert "verdict.n_trials" in names(verify(folder))


def test_missing_sums_and_a_missing_page_are_told(folder: Path) -> None:
    (folder / SUMS).unlink()
    (folder / "report.html").unlink()
    found = verify(folder)
    assert len(found.differences) == len(FILES)
    assert any("There is no report.html" in note for note in found.notes)


def test_what_is_no_run_and_no_page_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(RunError, match=r"is no backtest: it lacks .*not an evaluation, a toy task"):
        verify(tmp_path)
    with pytest.raises(RunError, match="Cannot read"):
        verify(tmp_path / "nothing.html")
    (tmp_path / "other.html").write_text("<p>hello</p>")
    with pytest.raises(RunError, match="holds no embedded data"):
        verify(tmp_path / "other.html")
