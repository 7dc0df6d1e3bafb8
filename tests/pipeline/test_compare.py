from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.errors import ConfigError, RunError
from quantseq.evaluation.significance import diebold_mariano
from quantseq.pipeline.backtest import BacktestOutcome
from quantseq.pipeline.compare import compare, report
from quantseq.reporting.compare import Comparison
from quantseq.reporting.run import Run
from quantseq.trading.metrics import METRICS, wealth


@pytest.fixture(scope="module")
def run(small_run: BacktestOutcome) -> Run:
    return Run.load(small_run.folder)


@pytest.fixture(scope="module")
def other(run: Run) -> Run:
    """A cautious twin with worse forecasts, without its first ten sessions and one in the middle."""
    equity = run.equity.drop(index=[*range(10), 60]).reset_index(drop=True)
    equity["strategy_net"] *= 0.5
    frame = run.scores.loc[run.scores["symbol"] == "IBM"].reset_index(drop=True)
    noise = np.random.default_rng(0).normal(0.02, 0.1, len(frame))
    frame["log_score"] += noise
    config: Any = {**run.manifest["config"], "seed": 8}
    data: Any = {**run.manifest["data"], "IBM": {"sha256": "0" * 64}}
    manifest = {**run.manifest, "run_id": "other", "config": config, "data": data}
    return replace(run, manifest=manifest, equity=equity, scores=frame)


@pytest.fixture(scope="module")
def found(run: Run, other: Run, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    root = tmp_path_factory.mktemp("runs")
    return compare([run.save(root / "a"), other.save(root / "b")])


def test_growth_is_compounded_over_common_intervals_and_the_rest_counted(
    run: Run, other: Run, found: Comparison
) -> None:
    days = len(run.equity)
    assert len(found.growth) == days - 12  # 11 sessions are not common, the first has no start
    assert found.sessions["a"] == {"sessions": days, "merged": 1, "dropped": 11}
    assert found.sessions["b"] == {"sessions": days - 11, "merged": 0, "dropped": 1}
    net = run.equity["strategy_net"]
    whole = wealth(net)[-1] / wealth(net)[10]
    assert wealth(found.growth["a"])[-1] == pytest.approx(whole, rel=1e-12)
    assert found.metrics["a"]["sharpe"] == METRICS["sharpe"](found.growth["a"], periods=run.periods)


def test_runs_of_the_same_sessions_lose_none(run: Run, tmp_path: Path) -> None:
    folders = [run.save(tmp_path / name) for name in ("a", "b")]
    found = compare(folders)
    np.testing.assert_array_equal(found.growth["a"], run.equity["strategy_net"])
    assert found.sessions["a"]["dropped"] == 0
    assert found.against["b"]["sharpe_difference"] == 0
    assert all(test["t"] == 0 for test in found.tests)
    assert not found.settings
    assert not found.data
    for name, value in run.result["forecast"]["models"]["seq2seq"].items():
        assert found.scores["a"][name] == pytest.approx(value, rel=1e-12)


def test_scores_and_tests_are_on_common_rows(run: Run, other: Run, found: Comparison) -> None:
    tables = (one.scores.loc[one.scores["model"] == "seq2seq"] for one in (run, other))
    ours, theirs = (t.loc[t["symbol"] == "IBM"].set_index(["cutoff", "step"]) for t in tables)
    own, rival = (f["log_score"].xs(1, level="step").dropna() for f in (ours, theirs))
    assert found.scores["a"]["log_score"] == pytest.approx(own.mean(), rel=1e-12)
    assert found.scores["a"]["n"] == found.scores["b"]["n"] == len(own)
    dates = pd.DatetimeIndex(own.index).to_numpy().astype("datetime64[D]")
    expected = diebold_mariano(own.to_numpy(), rival.to_numpy(), dates)
    (test,) = (t for t in found.tests if (t["score"], t["step"]) == ("log_score", 1))
    assert (test["run"], test["other"], test["n_days"]) == ("a", "b", len(own))
    assert test["t"] == pytest.approx(expected.t, rel=1e-9)
    assert test["t"] < 0
    assert found.rows["a"] == (
        len(theirs["pit"].dropna()),
        (run.scores["model"] == "seq2seq").sum(),
    )


def test_what_is_different_is_told(found: Comparison) -> None:
    assert found.settings["seed"] == {"a": "7", "b": "8"}
    assert found.data["IBM"]["b"] == "0" * 64
    assert "MSFT" not in found.data
    said = " ".join(found.sentences())
    assert "a: 11 of" in said
    assert "The prices of IBM are not the same." in said


def test_without_common_sessions_forecasts_are_still_compared(run: Run, tmp_path: Path) -> None:
    moved = run.equity.assign(session=run.equity["session"] + pd.Timedelta(days=10_000))
    late = replace(run, equity=moved)
    found = compare([run.save(tmp_path / "a"), late.save(tmp_path / "b")])
    assert found.growth.empty
    assert found.sessions["b"]["dropped"] == len(moved)
    assert found.scores["b"]["n"] > 100
    frame = run.scores.assign(symbol="ELSE")
    replace(late, scores=frame).save(tmp_path / "c")
    with pytest.raises(RunError, match="neither a session nor a forecast in common"):
        compare([tmp_path / "a", tmp_path / "c"])


def test_one_run_is_no_comparison(run: Run, tmp_path: Path) -> None:
    folder = run.save(tmp_path / "a")
    with pytest.raises(ConfigError, match=r"two or more different run folders\. Got 1"):
        compare([folder, folder])
    with pytest.raises(RunError, match="is not a run folder"):
        compare([folder, tmp_path / "none"])


def test_a_page_is_rendered_again(run: Run, tmp_path: Path) -> None:
    folder = run.save(tmp_path / "a")
    assert report(folder).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
