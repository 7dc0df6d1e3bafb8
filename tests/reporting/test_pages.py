"""Any folder with a page can be shown again, and comes out the same."""

from pathlib import Path

import pytest

from quantseq.errors import RunError
from quantseq.reporting.pages import figures, page_of, rewrite
from quantseq.reporting.run import Run
from tests.report_folders import evaluation_folder, toy_folder


@pytest.mark.parametrize(
    ("write", "kind", "keys"),
    [
        (evaluation_folder, "evaluate", {"pit", "reliability", "score_by_step", "fan-worst"}),
        (toy_folder, "train --task reverse", {"loss", "accuracy", "attention"}),
    ],
)
def test_a_folder_makes_its_own_page_with_the_same_bytes(
    write, kind: str, keys: set[str], tmp_path: Path
) -> None:
    folder = write(tmp_path / "it")
    assert page_of(folder).header.kind == kind
    first = rewrite(folder).read_bytes()
    assert rewrite(folder).read_bytes() == first
    assert f"quantseq {kind}".encode() in first
    assert keys <= set(figures(folder))


@pytest.mark.usefixtures("undrawn")
def test_a_run_is_known_as_a_run(run: Run, tmp_path: Path) -> None:
    folder = run.save(tmp_path / "run")
    assert rewrite(folder) == folder / "report.html"
    assert page_of(folder).header.kind == "backtest"
    assert list(figures(str(folder))) == list(figures(run))


def test_other_folders_are_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="quantseq backtest"):
        page_of(tmp_path / "nowhere")
    with pytest.raises(RunError):
        rewrite(tmp_path)


@pytest.mark.parametrize(
    ("write", "file", "words"),
    [
        (evaluation_folder, "scores.parquet", "quantseq evaluate"),
        (evaluation_folder, "evaluation.json", "quantseq evaluate"),
        (toy_folder, "metrics.json", "quantseq train"),
        (toy_folder, "training.json", "quantseq train"),
    ],
)
def test_damage_is_named(write, file: str, words: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "it")
    (folder / file).write_text("[", encoding="utf-8")
    with pytest.raises(RunError, match=words):
        page_of(folder)
