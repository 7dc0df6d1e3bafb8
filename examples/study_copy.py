"""Which kind of machine learns to copy: a table, and a figure by batch and by processor time.

Run ``python examples/study_copy.py [--seeds 3] [--batches 2000] [--out reports/study-copy]``; about ten
minutes of one core. Every finished training is kept under `out`, so that the same command goes on after
Ctrl-C. The result is docs/study.md.

Kinds are {forward, bidirectional} × {no attention, Bahdanau, Luong} × {LSTM, GRU} at the tutorial's sizes
(embedding and state of 20, TensorFlow's initialisation) and with its training (Adam at 1e-3, batches of
100). Unlike the tutorial lengths are respected and padding is left out of the loss: attention must not
look at padding, and losses compare only if they count the same.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from quantseq.seq2seq.copy_task import BAR, EVALUATION, VOCABULARY, CopySource, free_running
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.training import StepReport, TrainConfig, evaluate_loss, fit, set_threads

FRESH = 500
LOOKS = 40
KINDS = list(product(("none", "bahdanau", "luong"), ("forward", "bidirectional"), ("lstm", "gru")))
TITLES = {"none": "no attention", "bahdanau": "Bahdanau attention", "luong": "Luong attention"}
ANSWERED = f"share of {FRESH} fresh sequences answered exactly, free-running, lengths 3 to 8"


def run(kind: tuple[str, str, str], seed: int, batches: int) -> dict[str, Any]:
    """Train one machine and look at it as it learns; looking does not count as time."""
    attention, encoder, cell = kind
    config = Seq2SeqConfig.from_dict(
        {
            "vocab_size": VOCABULARY,
            "embedding_size": 20,
            "hidden_size": 20,
            "init": "tensorflow",
            "bidirectional": encoder == "bidirectional",
            "attention": attention,
            "cell": cell,
        }
    )
    source = CopySource(seed=seed)
    fresh = CopySource(seed=seed, stream=EVALUATION, batch_size=FRESH).batch(0)
    model = Seq2Seq(config, seed=seed)
    looks: list[dict[str, float]] = []
    spent, since = 0.0, 0.0

    def look(done: int) -> None:
        exact = float(free_running(model, fresh).double().mean())
        loss = evaluate_loss(model, [fresh])
        looks.append({"batch": done, "seconds": spent, "exact_match": exact, "loss": loss})

    def told(report: StepReport) -> None:
        nonlocal spent, since
        done = report.step + 1
        if done == batches or done % -(-batches // LOOKS) == 0:
            spent += time.process_time() - since
            look(done)
            since = time.process_time()

    fit(Seq2Seq(config), source, TrainConfig(steps=3), seed=seed)  # warm up
    look(0)
    since = time.process_time()
    plan = TrainConfig(steps=batches, learning_rate=1e-3, clip_norm=None)
    fit(model, source, plan, seed=seed, on_step=told)
    names = {"encoder": encoder, "attention": attention, "cell": cell}
    return {**names, "seed": seed, "parameters": model.parameter_count, "looks": looks}


def row(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One kind in one line: medians over seeds, and where most seeds have mastered copying."""
    last = pd.DataFrame([one["looks"][-1] for one in runs])
    exact = last["exact_match"]
    firsts = [
        next((look for look in one["looks"] if look["exact_match"] >= BAR), None) for one in runs
    ]
    at = {
        name: np.median([np.inf if first is None else first[name] for first in firsts])
        for name in ("batch", "seconds")
    }
    return {
        **{name: runs[0][name] for name in ("encoder", "attention", "cell")},
        "parameters": f"{runs[0]['parameters']:,}",
        "exact match": f"{exact.median():.1%}",
        "range": f"{exact.min():.1%}-{exact.max():.1%}",
        "loss": f"{last['loss'].median():.4f}",
        "mastered": f"{sum(first is not None for first in firsts)} of {len(runs)}",
        "at batch": f"{at['batch']:.0f}" if np.isfinite(at["batch"]) else "-",
        "at second": f"{at['seconds']:.1f}" if np.isfinite(at["seconds"]) else "-",
        "seconds in all": f"{last['seconds'].median():.1f}",
    }


def draw(groups: dict[tuple[str, str, str], list[dict[str, Any]]], path: Path) -> None:
    """Exact match by batch and by processor time: lines are medians of the seeds, tints their range."""
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    grid = figure.subplots(2, 3, sharey=True, sharex="row")
    for (attention, encoder, cell), runs in groups.items():
        column = list(TITLES).index(attention)
        grid[0, column].set_title(TITLES[attention], loc="left", fontweight="bold")
        looks = [pd.DataFrame(one["looks"]) for one in runs]
        exact = np.array([one["exact_match"] for one in looks])
        colour = "#c2410c" if encoder == "bidirectional" else "#1d4ed8"
        for axes, unit in zip(grid[:, column], ("batch", "seconds"), strict=True):
            where = np.median([one[unit] for one in looks], axis=0)
            axes.fill_between(
                where, exact.min(axis=0), exact.max(axis=0), color=colour, alpha=0.14, linewidth=0
            )
            axes.plot(
                where,
                np.median(exact, axis=0),
                color=colour,
                linestyle="--" if cell == "gru" else "-",
                label=f"{encoder} {cell.upper()}",
            )
            axes.set_xlabel("batches" if unit == "batch" else "seconds of training, processor time")
            axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[:, 0]:
        axes.yaxis.set_major_formatter("{x:.0%}")
    figure.suptitle(f"Copying by kind of machine: {ANSWERED}", x=0.01, ha="left", fontsize=10.5)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "study"}):
        figure.savefig(path, metadata={"Date": None, "Description": ANSWERED})


def main() -> None:
    """Train what is missing, then write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("reports/study-copy"))
    asked = parser.parse_args()
    set_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for seed, kind in product(range(asked.seeds), KINDS):
        path = asked.out / f"{'-'.join(kind)}-{asked.batches}-{seed}.json"
        if not path.exists():
            path.write_text(json.dumps(run(kind, seed, asked.batches)))
        groups[kind].append(json.loads(path.read_text()))
        print(f"{path.stem}: {groups[kind][-1]['looks'][-1]['exact_match']:.1%}", flush=True)
    rows = [row(runs) for runs in groups.values()]
    table = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    table += ["| " + " | ".join(map(str, one.values())) + " |" for one in rows]
    (asked.out / "table.md").write_text("\n".join(table) + "\n")
    draw(groups, asked.out / "exact_match.svg")
    print("\n".join(table))


if __name__ == "__main__":
    main()
