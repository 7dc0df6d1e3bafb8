"""The ledger as people read it: what counts, what is kept, what is wrong."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantseq.config import Places
from quantseq.files import write_json
from quantseq.pipeline.sweeps.trials import list_trials
from quantseq.trading.ledger import append, returns_hash

ROOT = Path(__file__).parents[3]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Two runs and a copy of the first, with their returns, and a placebo."""
    found = Places(tmp_path / "data", tmp_path / "reports")
    for name, seed in (("run-a", 0), ("run-b", 1), ("run-c", 0)):
        net = np.random.default_rng(seed).normal(0, 0.01, 50)
        (found.reports / name).mkdir(parents=True)
        pd.DataFrame({"net": net}).to_parquet(found.reports / name / "net.parquet")
        entry = {
            "run_id": name,
            "sharpe": float(net.mean() / net.std(ddof=1)),
            "returns_sha256": returns_hash(net),
            "returns_file": f"{name}/net.parquet#net",
        }
        head = append(found.ledger, entry)["hash"]
        write_json(found.reports / name / "result.json", {"verdict": {"ledger_head": head}})
    append(found.ledger, {"kind": "placebo", "sharpe": None, "returns_sha256": "x"})
    return found


def test_it_lists_what_counts_and_what_is_kept(places: Places) -> None:
    found = list_trials(places)
    assert [row["counts"] for row in found["trials"]] == [
        "yes",
        "yes",
        "no: line 1 again",
        "no: placebo",
    ]
    assert [row["returns"] for row in found["trials"]] == ["kept", "kept", "kept", "missing"]
    assert found["n_trials"] == 2
    first, second = (row["sharpe"] for row in found["trials"][:2])
    assert found["trial_sd"] == pytest.approx(np.std([first, second], ddof=1))
    assert found["trials"][0]["sharpe_annual"] == pytest.approx(first * np.sqrt(252))
    assert found["intact"]
    assert found["sentence"] == "2 distinct trials in 4 lines. The chain is intact."


def test_damage_is_said(places: Places) -> None:
    lines = places.ledger.read_text().splitlines(keepends=True)
    pd.DataFrame({"net": np.zeros(50)}).to_parquet(places.reports / "run-b" / "net.parquet")
    places.ledger.write_text("".join(lines[:2]) + '{"half')
    found = list_trials(places)
    assert not found["intact"]
    assert "that run-c saw as the last is gone" in found["fault"]
    assert found["torn"] == [3]
    assert "Torn, as a killed process leaves them: line 3. " in found["sentence"]
    assert "no longer those that were scored: line 2. " in found["sentence"]
    assert found["sentence"].endswith("cut off the end, or the file was replaced.")
    edited = lines[1].replace('"run-b"', '"run-x"')
    places.ledger.write_text("".join([lines[0], edited, *lines[2:]]))
    assert list_trials(places)["fault"] == "line 2 does not match its own hash: it was edited"


def test_nothing_is_an_empty_ledger(tmp_path: Path) -> None:
    found = list_trials(Places(tmp_path, tmp_path))
    assert found["trials"] == []
    assert found["trial_sd"] is None
    assert found["sentence"] == "0 distinct trials in 0 lines. The chain is intact."


def test_the_documented_keys_are_all_there_are(places: Places) -> None:
    found = list_trials(places)
    text = (ROOT / "docs/json.md").read_text(encoding="utf-8").split("## `trials`")[1]
    words = set(re.findall(r"`([a-z0-9_]+)", text.split("\n## ")[0]))
    assert {*found, *found["trials"][0]} <= words
    json.dumps(found, allow_nan=False)
