"""The command `audit`: what it prints, writes, and leaves with."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from quantseq.cli import app
from quantseq.pipeline import audit as module
from quantseq.pipeline.audit import AuditOutcome


def outcome(passed: bool) -> AuditOutcome:
    checks = [
        {"name": "prefix invariance", "passed": True, "reading": "Nothing moved."},
        {"name": "lag curve", "passed": passed, "reading": "A reading."},
    ]
    placebos = [{"name": "random entry", "sharpe": 0.5, "n": 9, "low": 0.1, "high": float("nan")}]
    found: dict[str, Any] = {"passed": passed, "scope": "full", "checks": checks}
    found |= {"lag_curve": [], "placebos": placebos, "rank": 0.25}
    return AuditOutcome(Path("reports/run"), found)


@pytest.mark.parametrize("passed", [True, False])
def test_every_reading_is_printed_and_a_failure_has_its_code(
    passed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "audit", lambda *_, **__: outcome(passed))
    file = tmp_path / "audit.json"
    result = CliRunner().invoke(app, ["audit", "reports/run", "--json", str(file)])
    assert result.exit_code == (0 if passed else 6)
    assert "passed  prefix invariance  Nothing moved." in result.output
    assert "random entry: Sharpe 0.50 (0.10 to —) in 9 draws" in result.output
    assert json.loads(file.read_text())["passed"] is passed
    if passed:
        assert "2 checks passed; ahead of 25% of 9 placebos." in result.output
    else:
        assert "FAILED  lag curve          A reading." in result.output
        assert "error: The audit of 'reports/run' failed: lag curve." in result.output


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["audit", str(tmp_path / "nothing")])
    assert result.exit_code == 7
    assert "is not a run folder" in result.output
