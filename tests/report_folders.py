"""Folders of an evaluation and of a toy task, as their commands write them, without any training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quantseq.files import write_json
from quantseq.reporting.run import Run
from quantseq.reporting.toy_page import seal_toy

EVIL = "<script>alert('x')</script>"
GOLDEN = Path(__file__).parent / "reporting" / "goldens" / "evaluation.json"
"""Manifest and result of an evaluation of `EVIL` among others, with every documented key."""


def evaluation() -> Run:
    """The run of an evaluation: its stored result beside scores of four models."""
    rng, stored = np.random.default_rng(0), json.loads(GOLDEN.read_text(encoding="utf-8"))
    days, steps, symbols = 420, 3, stored["manifest"]["symbols"]
    rows = days * len(symbols)
    cutoffs = np.busday_offset("2010-06-01", np.arange(days), roll="forward")
    keys = {
        "symbol": np.repeat(np.tile(symbols, days), steps),
        "cutoff": np.repeat(cutoffs.repeat(len(symbols)), steps).astype("datetime64[s]"),
        "step": np.tile(np.arange(1, steps + 1), rows),
        "realised": 0.01 * rng.normal(size=rows * steps),
    }
    parts = [
        pd.DataFrame({"model": name, **keys, "pit": rng.random(rows * steps) ** (1 + 0.02 * place)})
        for place, name in enumerate(stored["result"]["models"])
    ]
    forecasts = pd.DataFrame(keys).drop(columns="realised")
    return Run(stored["manifest"], stored["result"], pd.concat(parts), forecasts)


def toy_folder(folder: Path, *, attention: bool = True, exact: float = 0.998) -> Path:
    """Write a toy's model folder, but for its weights."""
    lengths = {str(length): exact for length in range(3, 9)}
    metrics = {
        "task": "reverse",
        "preset": "strong",
        "seed": 0,
        "batches": 601,
        "batch_size": 100,
        "examples": 60100,
        "parameters": 41738,
        "loss_masked": True,
        "final_loss": 0.0021,
        "exact_match": exact,
        "exact_match_by_length": lengths,
        "token_accuracy": 0.9991,
        "edit_distance": 0.004,
        "longer_exact_match": 0.24,
        "longer_exact_match_by_length": {"9": 0.9, "12": 0.056, "16": 0.0},
        "seconds": 12.3,
    }
    sample = {"input": [5, 6], "teacher_forced": [6, 5, 1], "free_running": [6, 6, 1]}
    stone = {"batch": 0, "loss": 2.3, "masked": True, "free_running_loss": 2.4, "exact_match": 0.0}
    good = {"input": [5, 6, 7], "answer": [7, 6, 5, 1], "answered": [7, 6, 5, 1]}
    samples = {
        "samples": [good, {**good, "answered": [7, 6, 6, 1]}],
        "fresh": 2000,
        "bar": 0.995,
        "note": f"what {EVIL} uses",
        "training": {"steps": 601, "learning_rate": 0.01, "patience": None},
    }
    config = {
        "architecture": {
            "attention": "bahdanau" if attention else "none",
            "hidden_size": 32,
            "never_emit": [],
        },
        "weights_sha256": "ab" * 32,
        "versions": {"quantseq": "0", "torch": "2"},
    }
    losses = (2.3 * np.exp(-np.arange(601) / 90)).tolist()
    contents: dict[str, Any] = {
        "metrics": metrics,
        "milestones": {"milestones": [{**stone, "samples": [sample]}]},
        "samples": samples,
        "config": config,
        "training": {"history": {"steps": list(range(601)), "losses": losses}},
    }
    if attention:
        weights = np.full((4, 3), 1 / 3)
        contents["attention"] = {
            "source": [5, 6, 7],
            "target": [7, 6, 5, 1],
            "weights": weights.tolist(),
        }
    for name, content in contents.items():
        write_json(folder / f"{name}.json", content)
    seal_toy(folder)
    return folder
