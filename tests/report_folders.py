"""Folders of an evaluation and of a toy task, as their commands write them, without any training."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quantseq.evaluation.assessment import compare, describe_grades, verdicts
from quantseq.evaluation.grades import Grades
from quantseq.files import write_json

EVIL = "<script>alert('x')</script>"
DAYS, SYMBOLS, STEPS = 420, ("A", EVIL, "C"), 3
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def _grades(shift: float, *, density: bool = True) -> Grades:
    """Scores of the same rows for every model, worse by `shift`."""
    rng = np.random.default_rng(0)
    rows = DAYS * len(SYMBOLS)
    shape = rows, STEPS
    noise = rng.normal(size=shape)
    apart = np.random.default_rng(1).normal(0, 0.1, size=shape)
    other = apart if shift else np.zeros(shape)
    log_score = -3.0 + 0.2 * noise + shift + other if density else np.full(shape, np.nan)
    crps = 0.009 + 0.001 * (noise + shift + other)
    return Grades(
        np.tile(np.array(SYMBOLS, dtype=object), DAYS),
        np.busday_offset("2010-06-01", np.arange(DAYS), roll="forward").repeat(len(SYMBOLS)),
        0.01 * noise,
        log_score,
        crps,
        rng.random(shape) ** (1 + shift),
        crps / 2,
        7 * crps,
        np.abs(noise),
        0.001 * rng.normal(size=shape),
        0.5 + 0.02 * rng.normal(size=shape),
        3 * crps[:, :1],
    )


def evaluation(*, null: bool = True) -> tuple[dict[str, Any], pd.DataFrame]:
    """Content of ``evaluation.json`` and ``scores.parquet``."""
    grades = {
        "seq2seq": _grades(0.0),
        "har-pooled-t": _grades(0.0002),
        "ewma-t": _grades(0.03),
        EVIL: _grades(0.02, density=False),
    }
    tests = compare(grades, "seq2seq")
    models = describe_grades(grades, "har-pooled-t", 0)
    first = grades["seq2seq"]
    columns: dict[str, Any] = {
        "symbol": np.repeat(first.symbols, STEPS),
        "cutoff": np.repeat(first.cutoffs, STEPS).astype("datetime64[s]"),
        "step": np.tile(np.arange(1, STEPS + 1), len(first)),
    }
    columns |= {f"pit:{name}": one.pit.ravel() for name, one in grades.items()}
    dates = [str(day) for day in first.cutoffs[:: len(SYMBOLS)][:40]]
    closes = (100 * np.exp(0.01 * np.sin(np.arange(40)))).tolist()
    prices = closes[-1] * np.exp(
        np.outer(np.sqrt(np.arange(1, STEPS + 1)), 0.02 * np.linspace(-1.6, 1.6, len(LEVELS)))
    )
    fan = {
        "of": 1200,
        "symbol": EVIL,
        "cutoff": dates[-1],
        "crps": 0.009,
        "dates": dates,
        "closes": closes,
        "levels": list(LEVELS),
        "prices": prices.tolist(),
        "realised": [closes[-1] * 1.01] * STEPS,
    }
    noise = {key: models["seq2seq"][key] for key in ("hit_rate", "ic", "rank_ic")}
    fold = {"fold": 0, "purge": 3, "embargo": 0}
    fold |= {
        f"{part}_{end}": "2010-01-04"
        for part in ("train", "validation")
        for end in ("start", "end")
    }
    result = {
        "manifest": {
            "run_id": "20260102-030405-abcdef",
            "created": "2026-01-02T03:04:05+00:00",
            "command": f"quantseq evaluate {EVIL}",
            "title": "seq2seq against 3 rivals on 3 symbols",
            "sample_data": False,
            "config": {"seed": 7, "policy": {"name": "kelly"}, "num_paths": 20},
            "data": {symbol: {"source": "csv", "rows": 900} for symbol in SYMBOLS},
            "symbols": list(SYMBOLS),
            "test_start": "2010-06-01",
            "test_end": "2012-01-09",
            "versions": {"numpy": "2"},
            "git_commit": None,
        },
        "reference": "har-pooled-t",
        "folds": [{**fold, "test_start": "2010-06-01", "test_end": "2012-01-09"}],
        "models": models,
        "tests": tests,
        "verdict": verdicts(tests, own_reference="har-pooled-t"),
        "survived": [0.25],
        "details": {},
        "null": {
            "kind": "garch",
            "ok": True,
            "sentence": "garch: better than the true density: not shown, t = −0.3",
            "skill_nats": 0.0001,
            "interval": [-0.001, 0.0012],
            "t": -0.3,
            **noise,
        }
        if null
        else None,
        "gate": {"passed": True, "score": 1.0, "bar": 0.995},
        "gallery": [{**fan, "pick": pick} for pick in ("best", "median", "worst")],
        "notes": [f"{EVIL}: 12 sessions are too few."],
    }
    return result, pd.DataFrame(columns)


def evaluation_folder(folder: Path, *, null: bool = True) -> Path:
    """Write it."""
    result, scores = evaluation(null=null)
    write_json(folder / "evaluation.json", result)
    scores.to_parquet(folder / "scores.parquet")
    return folder


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
    return folder
