from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from quantseq.errors import RunError
from quantseq.files import sha256_file, write_json, write_text
from quantseq.reporting.run import FRAMES, SUMS, Run

FILES = ("manifest.json", "result.json", "forecasts.parquet", "weights.parquet", "equity.parquet")


@pytest.fixture
def folder(run: Run, tmp_path: Path) -> Path:
    small = replace(run, forecasts=run.forecasts.head(50))
    return small.save(tmp_path / "runs" / "one")


def test_the_sums_are_those_of_the_files(folder: Path) -> None:
    lines = (folder / SUMS).read_text().splitlines()
    assert lines == [f"{sha256_file(folder / name)}  {name}" for name in FILES]


def test_only_the_asked_tables_are_read(run: Run, folder: Path) -> None:
    light = Run.load(folder, frames=("equity",))
    assert light.forecasts.empty
    assert light.weights.empty
    assert len(light.equity) == len(run.equity)


def test_what_is_saved_is_what_is_loaded(run: Run, tmp_path: Path) -> None:
    again = Run.load(run.save(tmp_path / "run"))
    assert again.manifest == run.manifest
    assert again.symbols == ["AAPL", "GOOG", "IBM", "MSFT"]
    for name in FRAMES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(run, name))


def test_nan_in_a_result_becomes_null(with_result: Callable[..., Run], tmp_path: Path) -> None:
    saved = with_result(break_even_bps=float("nan")).save(tmp_path / "run")
    assert Run.load(saved).result["break_even_bps"] is None


def test_the_folder_holds_five_files_with_their_sums_and_tables_are_zstd(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {*FILES, SUMS}
    for name in FRAMES:
        group = pq.read_metadata(folder / f"{name}.parquet").row_group(0)
        assert group.column(0).compression == "ZSTD"


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


def test_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere.*is not a run folder"):
        Run.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(RunError, match=f"lacks {name}.*quantseq backtest"):
        Run.load(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"{", b"PAR1 and then nothing", bytes(range(256))])
def test_a_damaged_file_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(RunError, match=name) as caught:
        Run.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_a_truncated_table_is_named(folder: Path, name: str) -> None:
    path = folder / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RunError, match=f"{name}.parquet"):
        Run.load(folder)


@pytest.mark.parametrize("name", ["manifest.json", "result.json"])
def test_json_of_another_shape_is_named(folder: Path, name: str) -> None:
    write_text(folder / name, "[1, 2]")
    with pytest.raises(RunError, match=f"{name}: the file holds a list"):
        Run.load(folder)


def test_a_newer_layout_asks_for_an_upgrade(run: Run, folder: Path) -> None:
    write_json(folder / "manifest.json", {**run.manifest, "schema": 2})
    with pytest.raises(RunError, match=r"schema is 2.*Upgrade quantseq"):
        Run.load(folder)


@pytest.mark.parametrize("key", ["run_id", "title", "symbols", "test_start", "test_end"])
def test_a_manifest_without_its_core_is_refused(run: Run, key: str) -> None:
    manifest = {name: value for name, value in run.manifest.items() if name != key}
    with pytest.raises(RunError, match=f"manifest.json: '{key}' is missing"):
        replace(run, manifest=manifest)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"folds": {}}, "'folds' is a dict, it must be a list"),
        ({"verdict": "no"}, "'verdict' is a str, it must be an object"),
        ({"metrics": {"strategy": 3}}, "metrics holds 3, not objects"),
        ({"folds": [1]}, "folds holds 1, not objects"),
        ({"folds": [{"fold": 0, "test_start": "soon"}]}, "test_start of fold 0 is 'soon'"),
        ({"forecast": {"models": [1]}}, "forecast.models holds"),
        ({"forecast": {"models": {"x": 1}}}, "forecast.models holds 1"),
        ({"forecast": {"tests": ["x"]}}, "forecast.tests holds 'x'"),
    ],
)
def test_results_of_the_wrong_kind_are_refused(
    with_result: Callable[..., Run], entries: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        with_result(**entries)


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_a_table_without_its_core_is_refused(run: Run, name: str) -> None:
    for column in FRAMES[name]:
        with pytest.raises(RunError, match=rf"{name}.parquet: the columns \['{column}'\]"):
            replace(run, **{name: getattr(run, name).drop(columns=column)})


def test_equity_must_have_increasing_sessions_and_finite_returns(run: Run) -> None:
    with pytest.raises(RunError, match="there are no sessions"):
        replace(run, equity=run.equity.head(0))
    with pytest.raises(RunError, match="is not after the one before it"):
        replace(run, equity=run.equity.iloc[::-1])
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
    assert run.periods == 252
    config = {"costs": {"periods": 365}}
    assert replace(run, manifest={**run.manifest, "config": config}).periods == 365


def test_a_notebook_shows_verdict_and_figures_escaped(run: Run) -> None:
    loud = replace(run, manifest={**run.manifest, "title": "<script>alert(1)</script>"})
    text = loud._repr_html_()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert f"{run.result['metrics']['strategy']['sharpe']:,.4g}" in text
    assert "nan" not in replace(run, result={})._repr_html_()
