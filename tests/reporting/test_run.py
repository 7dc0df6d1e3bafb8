from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.errors import RunError, StorageError
from quantseq.files import SUMS, read_sums, sha256_file, write_json, write_text
from quantseq.reporting.run import RESULT, TABLES, Run, rewrite, run_files, sign
from tests.report_folders import evaluation

FILES = run_files("backtest")


@pytest.fixture
def folder(run: Run, tmp_path: Path) -> Path:
    small = replace(run, forecasts=run.forecasts.head(50), scores=run.scores.head(50))
    return small.save(tmp_path / "runs" / "one")


def test_the_folder_holds_its_files_with_their_sums_and_nothing_else(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {*FILES, SUMS}
    lines = (folder / SUMS).read_text().splitlines()
    assert lines == [f"{sha256_file(folder / name)}  {name}" for name in FILES]
    assert Run.load(folder).hashes == read_sums(folder)


def test_an_evaluation_is_the_same_without_money(tmp_path: Path) -> None:
    folder = evaluation().save(tmp_path / "evaluation")
    names = {"manifest.json", "result.json", "scores.parquet", "forecasts.parquet"}
    assert {path.name for path in folder.iterdir()} == {*names, SUMS}
    again = Run.load(folder)
    assert again.kind == "evaluation"
    assert again.equity.empty
    assert again.model == "seq2seq"


def test_only_the_asked_tables_are_read(run: Run, folder: Path) -> None:
    light = Run.load(folder, tables=("equity",))
    assert light.forecasts.empty
    assert light.scores.empty
    assert len(light.equity) == len(run.equity)


def test_what_is_saved_is_what_is_loaded(run: Run, tmp_path: Path) -> None:
    again = Run.load(run.save(tmp_path / "run"))
    assert again.manifest == run.manifest
    assert again.symbols == ["AAPL", "GOOG", "IBM", "MSFT"]
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(run, name))


def test_nan_in_a_result_becomes_null(with_result: Callable[..., Run], tmp_path: Path) -> None:
    saved = with_result(break_even_bps=float("nan")).save(tmp_path / "run")
    assert Run.load(saved).result["break_even_bps"] is None


def test_a_failing_save_leaves_the_old_run(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", fail)
    with pytest.raises(Exception, match="No space left"):
        run.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["one"]


def test_a_run_never_lands_among_files_of_somebody_else(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StorageError, match="was not written by quantseq"):
        run.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_older_run_is_replaced_and_what_was_put_beside_it_stays(run: Run, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "old").mkdir()
    (folder / "old" / "more.txt").write_text("mine too")
    (folder / "report.html").write_text("old page")
    replace(run, manifest={**run.manifest, "title": "Newer"}).save(folder)
    assert Run.load(folder).manifest["title"] == "Newer"
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "old" / "more.txt").read_text() == "mine too"
    assert not (folder / "report.html").exists()


def test_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere.*is not a run folder"):
        Run.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", FILES[1:])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(RunError, match=f"lacks {name}.*quantseq backtest"):
        Run.load(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"{", b"PAR1 and then nothing", bytes(range(256))])
def test_a_damaged_file_is_a_run_error_in_one_line(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(RunError, match="one") as caught:
        Run.load(folder)
    assert "\n" not in str(caught.value)


def test_a_truncated_table_is_a_run_error(folder: Path) -> None:
    path = folder / "equity.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RunError, match="Cannot read the run"):
        Run.load(folder)


def test_json_of_another_shape_is_named(folder: Path) -> None:
    write_text(folder / RESULT, "[1, 2]")
    sign(folder)
    with pytest.raises(RunError, match=f"{RESULT}: the file holds a list"):
        Run.load(folder)


def test_other_layouts_and_kinds_are_refused(run: Run, folder: Path) -> None:
    for change in ({"schema": 1}, {"schema": 99}, {"kind": "sweep"}):
        write_json(folder / "manifest.json", {**run.manifest, **change})
        sign(folder)
        with pytest.raises(RunError, match=r"reads backtests and evaluations of schema"):
            Run.load(folder)


@pytest.mark.parametrize("key", ["run_id", "title", "symbols", "test_start", "test_end"])
def test_a_manifest_without_its_core_is_refused(run: Run, key: str) -> None:
    manifest = {name: value for name, value in run.manifest.items() if name != key}
    with pytest.raises(RunError, match=f"manifest.json: '{key}' is missing"):
        replace(run, manifest=manifest)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_table_without_its_core_is_refused(run: Run, name: str) -> None:
    for column in TABLES[name]:
        with pytest.raises(RunError, match=rf"{name}.parquet: the columns \['{column}'\]"):
            replace(run, **{name: getattr(run, name).drop(columns=column)})


def test_equity_must_have_increasing_sessions_and_finite_returns(run: Run) -> None:
    for equity in (run.equity.head(0), run.equity.iloc[::-1]):
        with pytest.raises(RunError, match="sessions must be increasing, at least one"):
            replace(run, equity=equity)
    for bad in (np.nan, np.inf, -1.5):
        broken = run.equity.copy()
        broken.loc[7, "buy_and_hold"] = bad
        with pytest.raises(RunError, match=r"buy_and_hold is .* on 2008-03-1"):
            replace(run, equity=broken)
    with pytest.raises(RunError, match="'session' is not a date"):
        replace(run, equity=run.equity.assign(session="soon"))
    with pytest.raises(RunError, match="'strategy_net' is not a number"):
        replace(run, equity=run.equity.assign(strategy_net="much"))


def test_an_empty_column_is_no_series(run: Run) -> None:
    lone = replace(run, equity=run.equity.assign(buy_and_hold=np.nan))
    assert lone.daily("buy_and_hold") is None
    assert lone.daily("no such column") is None
    net = lone.daily("strategy_net")
    assert net is not None
    assert len(net) == len(run.equity)


def test_the_year_is_as_configured(run: Run) -> None:
    config = {"costs": {"periods": 365}}
    assert replace(run, manifest={**run.manifest, "config": config}).periods == 365


def test_an_edge_stands_only_as_long_as_the_audit_does(with_result: Callable[..., Run]) -> None:
    verdict = {"edge": True, "sentence": "So."}
    assert with_result(verdict=verdict, audit={"passed": True}).verdict == verdict
    for audit, what in ((None, "is missing"), ({"passed": False}, "failed")):
        found = with_result(verdict=verdict, audit=audit).verdict
        assert found["edge"] is False
        assert found["sentence"].startswith(f"No edge is claimed, for the look-ahead audit {what}.")


def test_a_notebook_shows_verdict_and_figures_escaped(run: Run) -> None:
    loud = replace(run, manifest={**run.manifest, "title": "<script>alert(1)</script>"})
    text = loud._repr_html_()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert f"{run.result['metrics']['strategy']['sharpe']:,.4f}" in text
    assert "nan" not in replace(run, result={})._repr_html_()


def test_a_rewritten_run_keeps_its_tables_to_the_byte(run: Run, folder: Path) -> None:
    before = {name: (folder / f"{name}.parquet").read_bytes() for name in TABLES}
    (folder / "notes.txt").write_text("mine")
    told = replace(run, result={**run.result, "audit": {"passed": False}})
    rewrite(folder, told, also=lambda fresh: (fresh / "report.html").write_text("page"))
    assert {name: (folder / f"{name}.parquet").read_bytes() for name in TABLES} == before
    assert Run.load(folder).result["audit"] == {"passed": False}
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "report.html").read_text() == "page"


@pytest.mark.parametrize("name", [*FILES, SUMS])
def test_one_flipped_bit_is_named_unless_it_is_looked_for(folder: Path, name: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(
        RunError, match=SUMS if name == SUMS else f"{name}.*do not match {SUMS}|{name}"
    ):
        Run.load(folder)


def test_a_run_is_written_with_its_page_or_not_at_all(run: Run, tmp_path: Path) -> None:
    def fail(fresh: Path) -> None:
        assert (fresh / SUMS).exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.save(tmp_path / "new", also=fail)
    assert not list(tmp_path.iterdir())
