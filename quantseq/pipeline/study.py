"""The study of copying: many trainings kept one by one, then a table and figures.

What is finished is on disk at once, under a fingerprint of all that its numbers depend on; so the
same command goes on after Ctrl-C or a kill, and never mixes results of two versions.
"""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from quantseq.errors import ConfigError, CorruptFileError
from quantseq.files import ensure_writable, read_json, write_json, write_text
from quantseq.pipeline.manifest import versions
from quantseq.progress import SILENT, Progress
from quantseq.reporting.drawing.ink import write_picture
from quantseq.reporting.drawing.toy_charts import Band, small_multiples
from quantseq.seq2seq.gate import BAR
from quantseq.seq2seq.proof.study import (
    CASES,
    FRESH,
    StudyCase,
    StudyRun,
    run_case,
    run_fingerprint,
)

BATCHES = 2000
"""Batches of each training, if not told otherwise."""
SEEDS = 3
"""Trainings of each kind of machine, if not told otherwise."""
SIZE = (1100, 620)
"""Of the figures, in CSS pixels."""
HEADINGS = {"none": "no attention", "bahdanau": "Bahdanau attention", "luong": "Luong attention"}


def study_copy(
    *,
    out: Path,
    seeds: int = SEEDS,
    batches: int = BATCHES,
    seed: int = 0,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Compare every kind of machine on the copy task, by batch and by wall clock.

    Kinds are {forward, bidirectional} × {no attention, Bahdanau, Luong} × {LSTM, GRU}, at the sizes of
    the tutorial; see `quantseq.seq2seq.proof.study`. All numbers but the seconds are the same whatever
    `jobs` is; with several processes seconds include what they cost each other.

    Parameters
    ----------
    out : Path
        Folder for ``study.json``, ``table.csv``, ``curves.csv``, the figures ``exact_match`` and
        ``loss`` as SVG and PNG, and ``runs/`` with a file per finished training.
    seeds : int
        Trainings of each kind; they take the seeds `seed`, `seed` + 1, ...
    batches : int
        Batches of each training.
    seed : int
    jobs : int
        Processes, one torch thread each.
    progress : Progress

    Returns
    -------
    dict
        The content of ``study.json``.

    Raises
    ------
    ConfigError
        If there is nothing to train.
    KeyboardInterrupt
        After Ctrl-C; finished trainings are kept, and the same call goes on from them.
    """
    for name, value in (("seeds", seeds), ("batches", batches), ("jobs", jobs)):
        if value < 1:
            raise ConfigError(
                f"The {name!r} parameter of study_copy must be at least 1. Got {value}."
            )
    ensure_writable(out)
    asked = [(case, seed + number) for number in range(seeds) for case in CASES]
    marks = {(case, one): run_fingerprint(case, seed=one, batches=batches) for case, one in asked}
    found = {
        (case, one): run
        for case, one in asked
        if (run := _kept(_place(out, case, one, batches), marks[case, one])) is not None
    }
    pending = [key for key in asked if key not in found]
    if found and pending:
        progress.say(f"{len(found)} of {len(asked)} trainings are there already.")
    work = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(_run)(case, one, batches, _place(out, case, one, batches), marks[case, one])
        for case, one in pending
    )
    try:
        with progress.bar("study of copying", len(asked), unit="training", done=len(found)) as bar:
            for case, one, run in work:
                found[case, one] = run
                bar.step(1, last=case.name)
    except KeyboardInterrupt as stop:
        done = sum(_place(out, case, one, batches).exists() for case, one in asked)
        raise KeyboardInterrupt(
            f"{done} of {len(asked)} trainings are finished and kept in {str(out / 'runs')!r}; the same "
            "command goes on from them."
        ) from stop
    groups = {case: [found[case, one] for kind, one in asked if kind == case] for case in CASES}
    return _write(out, groups, seed=seed, batches=batches)


def _place(out: Path, case: StudyCase, seed: int, batches: int) -> Path:
    return out / "runs" / f"{case.name}-{batches}-seed-{seed}.json"


def _kept(path: Path, mark: str) -> StudyRun | None:
    """What an earlier call has left, unless it is damaged or depends on something else."""
    with suppress(CorruptFileError, KeyError, TypeError):
        record = read_json(path)
        if record["fingerprint"] == mark:
            return StudyRun(**record["run"])
    return None


def _run(
    case: StudyCase, seed: int, batches: int, path: Path, mark: str
) -> tuple[StudyCase, int, StudyRun]:
    run = run_case(case, seed=seed, batches=batches)
    write_json(path, {"fingerprint": mark, "run": asdict(run)})
    return case, seed, run


def _write(
    out: Path, groups: dict[StudyCase, list[StudyRun]], *, seed: int, batches: int
) -> dict[str, Any]:
    """Write tables and figures; gives the content of ``study.json``."""
    rows = [_row(case, runs) for case, runs in groups.items()]
    write_text(out / "table.csv", pd.DataFrame(rows).to_csv(index=False))
    curves = [
        pd.DataFrame(
            {
                **_names(case),
                "seed": run.seed,
                "batch": run.batches,
                "seconds": run.seconds,
                "exact_match": run.exact_match,
                "loss": run.loss,
            }
        )
        for case, runs in groups.items()
        for run in runs
    ]
    write_text(out / "curves.csv", pd.concat(curves).to_csv(index=False))
    seeds = len(groups[CASES[0]])
    spread = f"line: median of {seeds} seeds, tint: lowest to highest" if seeds > 1 else "one seed"
    for figure, title, what in (
        (
            "exact_match",
            "Copying by kind of machine: exact match",
            f"share of {FRESH} fresh sequences answered exactly, free-running, lengths 3 to 8",
        ),
        (
            "loss",
            "Copying by kind of machine: loss on fresh sequences, log scale",
            f"teacher-forced, nats per token, padding left out, {FRESH} sequences",
        ),
    ):
        write_picture(
            out / figure,
            small_multiples(
                {
                    "batches": _panels(groups, "batches", figure),
                    "seconds of training, wall clock": _panels(groups, "seconds", figure),
                },
                title=title,
                note=f"{what} · {spread}",
                log=figure == "loss",
            ),
            SIZE,
            title=title,
            description=f"{what}; {spread}. The same numbers are in table.csv and curves.csv.",
        )
    result = {
        "task": "copy",
        "seeds": list(range(seed, seed + seeds)),
        "batches": batches,
        "fresh_sequences": FRESH,
        "mastery": BAR,
        "table": rows,
        "versions": versions(),
        "folder": str(out),
    }
    write_json(out / "study.json", result)
    return result


def _names(case: StudyCase) -> dict[str, str]:
    return {"encoder": case.encoder, "attention": case.attention, "cell": case.cell}


def _row(case: StudyCase, runs: list[StudyRun]) -> dict[str, Any]:
    """A kind of machine in one line: medians over seeds, with the range of exact match."""
    exact = [run.exact_match[-1] for run in runs]
    mastered = [_mastered(run) for run in runs]
    return {
        **_names(case),
        "parameters": runs[0].parameters,
        "exact_match": float(np.median(exact)),
        "exact_match_low": min(exact),
        "exact_match_high": max(exact),
        "loss": float(np.median([run.loss[-1] for run in runs])),
        "mastered": sum(np.isfinite(batch) for batch, _ in mastered),
        "batches_to_mastery": _median([batch for batch, _ in mastered]),
        "seconds_to_mastery": _median([seconds for _, seconds in mastered]),
        "seconds": float(np.median([run.seconds[-1] for run in runs])),
    }


def _mastered(run: StudyRun) -> tuple[float, float]:
    """Batches and seconds at the first look with the gate's exact match; infinite if there is none."""
    for batch, seconds, exact in zip(run.batches, run.seconds, run.exact_match, strict=True):
        if exact >= BAR:
            return batch, seconds
    return np.inf, np.inf


def _median(values: list[float]) -> float | None:
    """Median over seeds; None unless more than half of them arrived."""
    middle = float(np.median(values))
    return middle if np.isfinite(middle) else None


def _panels(
    groups: dict[StudyCase, list[StudyRun]], axis: str, figure: str
) -> dict[str, list[Band]]:
    """One panel per attention; by wall clock every look stands at its median second."""
    panels: dict[str, list[Band]] = {}
    for case, runs in groups.items():
        values = np.array([getattr(run, figure) for run in runs])
        panels.setdefault(HEADINGS[case.attention], []).append(
            Band(
                where=np.median([getattr(run, axis) for run in runs], axis=0),
                low=values.min(axis=0),
                middle=np.median(values, axis=0),
                high=values.max(axis=0),
                label=f"{case.encoder} {case.cell.upper()}",
                role="loss" if case.bidirectional else "accent",
                dashed=case.cell == "gru",
            )
        )
    return panels


def describe(result: dict[str, Any]) -> list[dict[str, str]]:
    """Rows of a table for people; `result` is what `study_copy` gives."""
    seeds = len(result["seeds"])
    return [
        {
            "encoder": row["encoder"],
            "attention": row["attention"],
            "cell": row["cell"],
            "parameters": f"{row['parameters']:,}",
            "exact match": f"{row['exact_match']:.1%}",
            "range": f"{row['exact_match_low']:.1%}-{row['exact_match_high']:.1%}",
            "loss": f"{row['loss']:.4f}",
            f"mastered of {seeds}": str(row["mastered"]),
            "at batch": _or_dash(row["batches_to_mastery"], ".0f"),
            "at second": _or_dash(row["seconds_to_mastery"], ".1f"),
            "seconds in all": f"{row['seconds']:.1f}",
        }
        for row in result["table"]
    ]


def _or_dash(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)
