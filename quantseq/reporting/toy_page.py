"""The page of a toy task: whether the machine has learned it, how fast, how far, and where it looks.

Owns the order and wording of that page. Everything was measured and stored by the training, so that the
same model folder gives the same page.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quantseq.errors import CorruptFileError, RunError
from quantseq.files import read_json
from quantseq.reporting import charts, page
from quantseq.reporting.page import (
    DASH,
    SPACE,
    Cell,
    Figure,
    count,
    figure,
    number,
    percent,
    plain,
    section,
    sheet,
)
from quantseq.reporting.sections import settings

SAMPLES = "samples.json"
_LEAD = "Measured after training, on fresh sequences."
_ANSWERS = {"copy": "the same", "reverse": "the same backwards", "sort": "the same in order"}


def toy_page(folder: Path) -> page.Page:
    """The page of a toy's model folder, in the order in which it is read."""
    folder = Path(folder)
    try:
        names = ("metrics", "samples", "config")
        record = {name: read_json(folder / f"{name}.json") for name in names}
        record["milestones"] = read_json(folder / "milestones.json")["milestones"]
        record["history"] = read_json(folder / "training.json")["history"]
        heat = folder / "attention.json"
        record["attention"] = read_json(heat) if heat.exists() else None
        footer = "A toy task says nothing about prices. Made by quantseq from the files of a model folder; the "
        footer += "same folder gives the same page."
        sections = [
            section("figures", "Headline figures", _cards(record), lead=_LEAD),
            section("learning", "How it learned", _learning(record)),
            section("reach", "How far it carries, and where it looks", _reach(record)),
            section("samples", "What it answers", _samples(record)),
            section("milestones", "On the way", _milestones(record)),
            section("configuration", "Configuration", *_configuration(record)),
            section("definitions", "Definitions", page.terms("toy")),
        ]
        return page.Page(_header(record), sections, footer)
    except (OSError, CorruptFileError, KeyError, TypeError) as error:
        raise RunError(
            f"{str(folder)!r} holds no toy task that can be shown: {error!r:.200}. Name a folder that "
            "`quantseq train --task copy` wrote, or train again."
        ) from error


def token_text(token: int) -> str:
    """An id as it is shown."""
    return {0: "PAD", 1: "EOS"}.get(token, str(token))


def _spelled(ids: Sequence[int]) -> str:
    return " ".join(map(token_text, ids)) or DASH


def _counted(metrics: Mapping[str, Any]) -> str:
    return "padding left out" if metrics["loss_masked"] else "padding included"


def _header(record: Mapping[str, Any]) -> page.Header:
    metrics, shown = record["metrics"], record["samples"]
    share, bar, task = float(metrics["exact_match"]), float(shown["bar"]), str(metrics["task"])
    passed, attention = share >= bar, str(record["config"]["architecture"]["attention"])
    side = "above" if passed else "below"
    looks = "no attention" if attention == "none" else f"{attention.capitalize()} attention"
    badges = [Cell(f"{side} the gate's bar of {percent(bar)}", "good" if passed else "warn")]
    badges += [Cell(looks), Cell(f"loss with {_counted(metrics)}")]
    longer, of = percent(metrics["longer_exact_match"]), count(shown["fresh"])
    sentence = f"Of {of} fresh sequences {percent(share, 2)} are answered exactly, free-running; the gate asks "
    sentence += (
        f"an architecture like this for {percent(bar)}. Of sequences longer than any in training, "
    )
    title, above = (
        f"{task.capitalize()} task, preset {metrics['preset']}",
        f"quantseq train --task {task}",
    )
    what = f"sequences of 3 to 8 random ids, answered with {_ANSWERS[task]}"
    span = f"{count(metrics['examples'])} seen in training, seed {metrics['seed']}"
    answer = "Mastered" if passed else "Not mastered"
    return page.Header(title, above, what, span, badges, passed, answer, f"{sentence}{longer} are.")


def _cards(record: Mapping[str, Any]) -> page.Cards:
    found = record["metrics"]
    items = [
        ["Exact match", percent(found["exact_match"], 2), "free-running"],
        ["Token accuracy", percent(found["token_accuracy"], 2), "teacher-forced"],
        ["Edit distance", number(found["edit_distance"], 4), "edits a sequence"],
        ["Longer than trained", percent(found["longer_exact_match"], 2), "exact, 9 to 16"],
        ["Loss of the last batch", number(found["final_loss"], 4), "nats a token"],
        ["Batches", count(found["batches"]), f"of {found['batch_size']} sequences"],
        ["Parameters", count(found["parameters"])],
        ["Training time", f"{number(found['seconds'], 1)}{SPACE}s", "one core"],
    ]
    return page.Cards(items)


def _learning(record: Mapping[str, Any]) -> Figure | str:
    metrics, history = record["metrics"], record["history"]
    if not history or not history.get("losses"):
        return "This folder keeps no losses."
    steps, losses, unit = history["steps"], history["losses"], f"nats a token, {_counted(metrics)}"
    fresh = {int(stone["batch"]): float(stone["loss"]) for stone in record["milestones"]}
    frame = pd.DataFrame({"minibatch loss, nats": losses}, pd.Index(steps, name="batch"))
    frame["on fresh sequences"] = pd.Series(fresh, dtype=np.float64).reindex(steps).to_numpy()
    reading = f"Teacher-forced, {_counted(metrics)}: from {number(losses[0])} to {number(losses[-1], 4)} nats a "
    draw = charts.loss_curve(steps, losses, fresh=fresh, unit=unit)
    shown = frame.iloc[:: -1 - len(frame) // 130].iloc[::-1]
    show: Any = dict.fromkeys(frame, partial(number, digits=5)) | {"batch": count}
    return figure("loss", f"{reading}token.", frame, show, draw=draw, shown=shown)


def _reach(record: Mapping[str, Any]) -> list[Figure | str]:
    """Accuracy by length, and where the machine looks."""
    metrics, bar, heat = record["metrics"], record["samples"]["bar"], record["attention"]
    keys = ("exact_match_by_length", "longer_exact_match_by_length")
    trained, longer = ({int(n): float(share) for n, share in metrics[key].items()} for key in keys)
    shares = {**trained, **longer}
    frame = pd.DataFrame({"exact match": shares}).rename_axis("length")
    frame.insert(0, "in training", ["yes" if length in trained else "no" for length in shares])
    best = [length for length, share in shares.items() if share >= bar]
    said = (
        f"At or above the gate's bar up to length {max(best)}."
        if best
        else "Below the bar everywhere."
    )
    reading = f"Per cent of fresh sequences, free-running. {said}"
    roles = ["accent" if length in trained else "loss" for length in shares]
    how: Any = {"roles": roles, "label": lambda share: f"{100 * share:.3g}"}
    shown: Any = {"exact match": percent}
    accuracy = figure("accuracy", reading, frame, shown, of=pd.Series(shares), how=how)
    none = "Without attention there is no map of where the machine looks."
    return [accuracy, _attention(heat, str(metrics["task"])) if heat else none]


def _attention(heat: Mapping[str, Any], task: str) -> Figure:
    weights = np.array(heat["weights"], dtype=np.float64)
    source, target = ([token_text(one) for one in heat[name]] for name in ("source", "target"))
    most = percent(float(weights.max(axis=1)[: len(source)].mean()), 0)
    reading = f"One fresh sequence, answered with {_ANSWERS[task]}: the token looked at most gets {most} on "
    columns = [f"{place}: {name}" for place, name in enumerate(source)]
    frame = pd.DataFrame(weights, pd.Index(target, name="answered"), columns)
    draw = charts.attention_map(source, target, weights)
    return figure("attention", f"{reading}average.", frame, percent, draw=draw)


def _samples(record: Mapping[str, Any]) -> page.Sheet | str:
    """Fresh sequences, what the machine answered, and whether it was right."""
    samples, rows = record["samples"].get("samples") or [], []
    if not samples:
        return "This folder keeps no samples."
    right = [list(one["answered"]) == list(one["answer"]) for one in samples]
    for one, good in zip(samples, right, strict=True):
        mark = Cell("right", "up3") if good else Cell("wrong", "down3")
        texts = [_spelled(one["input"]), _spelled(one["answered"])]
        rows.append([str(len(one["input"])), mark, *texts])
    words: Any = {"all": len(samples), "answer": _ANSWERS[record["metrics"]["task"]]}
    return sheet("samples", rows, right=sum(right), **words)


def _milestones(record: Mapping[str, Any]) -> page.Sheet | str:
    """Where training stood at each look, with the samples that were printed."""
    rows, spoken = [], []
    for stone in record["milestones"]:
        losses = [number(stone[key], 4) for key in ("loss", "free_running_loss")]
        rows.append([count(stone["batch"]), *losses, percent(stone["exact_match"])])
        for sample in stone["samples"]:
            texts = [_spelled(sample[name]) for name in ("input", "teacher_forced", "free_running")]
            spoken.append([count(stone["batch"]), *texts])
    return sheet("milestones", rows, more=spoken) if rows else "No milestone was reached."


def _configuration(record: Mapping[str, Any]) -> list[Any]:
    config, shown, metrics = record["config"], record["samples"], record["metrics"]
    facts = [("Preset", f"{metrics['preset']}: {shown['note']}"), ("Seed", str(metrics["seed"]))]
    facts.append(("Weights, SHA-256", plain(config["weights_sha256"])))
    facts.append(("Versions", ", ".join(f"{k} {v}" for k, v in config["versions"].items())))
    parts = (("Architecture", config["architecture"]), ("Training", shown["training"]))
    tables = [sheet("settings", settings(part), title=title) for title, part in parts]
    return [page.Facts(facts), tables]
