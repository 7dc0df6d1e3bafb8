"""What a training returns is its metrics, and knows where they lie."""

import json
from pathlib import Path

from quantseq.pipeline.outcomes import TrainingOutcome
from tests.report_folders import toy_folder


def test_it_is_its_metrics_and_shows_them_escaped(tmp_path: Path) -> None:
    outcome = TrainingOutcome({"task": "<b>", "share": 0.25, "more": [1]}, tmp_path)
    assert json.loads(json.dumps(outcome)) == {"task": "<b>", "share": 0.25, "more": [1]}
    text = outcome._repr_html_()
    assert "<b>" not in text
    assert "0.25" in text
    assert str(tmp_path) in text
    assert outcome.figures() == {}


def test_a_toy_has_figures(tmp_path: Path) -> None:
    outcome = TrainingOutcome({}, toy_folder(tmp_path), tmp_path / "report.html")
    assert list(outcome.figures()) == ["loss", "accuracy", "attention"]
    assert outcome.figures()["loss"].frame["loss"].iloc[0] == 2.3
