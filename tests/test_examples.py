"""The examples run, and the documents show what they write."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_study_of_copying_writes_the_documented_table_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("study", ROOT / "examples/study_copy.py")
    assert spec is not None
    assert spec.loader is not None
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    monkeypatch.setattr(study, "KINDS", [study.KINDS[0], study.KINDS[-1]])
    words = ["study", "--seeds", "2", "--batches", "3", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    study.main()
    table = (tmp_path / "table.md").read_text().splitlines()
    assert len(table) == 4
    assert table[0] in (ROOT / "docs/study.md").read_text(encoding="utf-8")
    assert "forward LSTM" in (tmp_path / "exact_match.svg").read_text()
    monkeypatch.setattr(study, "run", lambda *parts: pytest.fail("trained again"))
    study.main()
    assert (tmp_path / "table.md").read_text().splitlines() == table
