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
from quantseq.files import check_sums, read_json, sums_of, write_sums
from quantseq.reporting import charts, page
from quantseq.reporting.page import (
    DASH,
    Cell,
    Figure,
    count,
    figure,
    not_drawn,
    percent,
    plain,
    section,
    sheet,
)
from quantseq.reporting.sections import settings

SAMPLES = "samples.json"
_ANSWERS = {"copy": "the same", "reverse": "the same backwards", "sort": "the same in order"}


def _files(folder: Path) -> list[str]:
    """What the page is made from."""
    names = ("metrics", "samples", "config", "milestones", "training", "attention")
    found = [f"{name}.json" for name in names]
    return [one for one in found if one != "attention.json" or (folder / one).exists()]


def seal_toy(folder: Path) -> None:
    """Write the checksums of what the page is made from."""
    write_sums(folder, sums_of(folder, _files(folder)))


def toy_page(folder: Path) -> page.Page:
    """The page of a toy's model folder, in the order in which it is read."""
    folder = Path(folder)
    try:
        check_sums(folder, _files(folder))
        names = ("metrics", "samples", "config")
        record = {name: read_json(folder / f"{name}.json") for name in names}
        record["milestones"] = read_json(folder / "milestones.json")["milestones"]
        record["history"] = read_json(folder / "training.json")["history"]
        heat = folder / "attention.json"
        record["attention"] = read_json(heat) if heat.exists() else None
        sections = [
            section("toy.figures", page.cards("toy", **record["metrics"])),
            section("toy.learning", _learning(record)),
            section("toy.reach", _reach(record)),
            section("toy.samples", _samples(record)),
            section("toy.milestones", _milestones(record)),
            section("toy.configuration", *_configuration(record)),
            section("toy.definitions", page.terms("toy")),
        ]
        return page.Page(_header(record), sections, page.stands("toy"))
    except (OSError, CorruptFileError, KeyError, TypeError) as error:
        ours = isinstance(error, CorruptFileError)
        why = str(error).rstrip(".") if ours else f"{error!r:.200}"
        raise RunError(
            f"{str(folder)!r} holds no toy task that can be shown: {why}. Name a folder that "
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
    words = {"fresh": shown["fresh"], "share": share, "bar": bar}
    words["longer"] = metrics["longer_exact_match"]
    title = f"{task.capitalize()} task, preset {metrics['preset']}"
    what = f"sequences of 3 to 8 random ids, answered with {_ANSWERS[task]}"
    span = f"{count(metrics['examples'])} seen in training, seed {metrics['seed']}"
    answer, above = "Mastered" if passed else "Not mastered", f"quantseq train --task {task}"
    sentence = page.stands("toy", "sentence", **words)
    return page.Header(title, above, what, span, badges, passed, answer, sentence)


def _learning(record: Mapping[str, Any]) -> Figure | str:
    history, counted = record["history"], _counted(record["metrics"])
    if not history or not history.get("losses"):
        return not_drawn("loss")
    steps, losses = history["steps"], history["losses"]
    fresh = {int(stone["batch"]): float(stone["loss"]) for stone in record["milestones"]}
    frame = pd.DataFrame({"minibatch loss, nats": losses}, pd.Index(steps, name="batch"))
    frame["on fresh sequences"] = pd.Series(fresh, dtype=np.float64).reindex(steps).to_numpy()
    shown: Any = {"steps": steps, "losses": losses, "unit": f"nats a token, {counted}"}
    draw = partial(charts.loss_curve, fresh=fresh, **shown)
    words: Any = {"counted": counted, "first": losses[0], "last": losses[-1]}
    changes = {"shown": frame.iloc[:: -1 - len(frame) // 130].iloc[::-1]}
    return figure("loss", frame, draw=draw, changes=changes, **words)


def _reach(record: Mapping[str, Any]) -> list[Figure | str]:
    """Accuracy by length, and where the machine looks."""
    metrics, bar, heat = record["metrics"], record["samples"]["bar"], record["attention"]
    keys = ("exact_match_by_length", "longer_exact_match_by_length")
    trained, longer = ({int(n): float(share) for n, share in metrics[key].items()} for key in keys)
    shares = {**trained, **longer}
    frame = pd.DataFrame({"exact match": shares}).rename_axis("length")
    frame.insert(0, "in training", ["yes" if length in trained else "no" for length in shares])
    best = max((length for length, share in shares.items() if share >= bar), default=None)
    roles = ["accent" if length in trained else "loss" for length in shares]
    how: Any = {"roles": roles, "label": lambda share: f"{100 * share:.3g}"}
    accuracy = figure("accuracy", frame, of=pd.Series(shares), how=how, best=best)
    return [accuracy, _attention(heat, str(metrics["task"])) if heat else not_drawn("attention")]


def _attention(heat: Mapping[str, Any], task: str) -> Figure:
    weights = np.array(heat["weights"], dtype=np.float64)
    source, target = ([token_text(one) for one in heat[name]] for name in ("source", "target"))
    columns = [f"{place}: {name}" for place, name in enumerate(source)]
    frame = pd.DataFrame(weights, pd.Index(target, name="answered"), columns)
    draw = partial(charts.attention_map, source=source, target=target, weights=weights)
    most = weights.max(axis=1)[: len(source)].mean()
    return figure("attention", frame, draw=draw, answer=_ANSWERS[task], most=most)


def _samples(record: Mapping[str, Any]) -> page.Sheet | str:
    """Fresh sequences, what the machine answered, and whether it was right."""
    rows, right = [], 0
    for one in record["samples"].get("samples") or []:
        good = list(one["answered"]) == list(one["answer"])
        right += good
        mark = Cell("right", "up3") if good else Cell("wrong", "down3")
        rows.append([len(one["input"]), mark, _spelled(one["input"]), _spelled(one["answered"])])
    answer = _ANSWERS[record["metrics"]["task"]]
    return sheet("samples", rows, right=right, all=len(rows), answer=answer)


def _milestones(record: Mapping[str, Any]) -> page.Sheet | str:
    """Where training stood at each look, with the samples that were printed."""
    names, texts, stones = ("loss", "free_running_loss", "exact_match"), [], record["milestones"]
    for stone in stones:
        for sample in stone["samples"]:
            told = (sample[name] for name in ("input", "teacher_forced", "free_running"))
            texts.append([stone["batch"], *map(_spelled, told)])
    rows = [[stone["batch"], *(stone[name] for name in names)] for stone in stones]
    return sheet("milestones", rows, more=texts)


def _configuration(record: Mapping[str, Any]) -> list[Any]:
    config, shown, metrics = record["config"], record["samples"], record["metrics"]
    facts = [("Preset", f"{metrics['preset']}: {shown['note']}"), ("Seed", str(metrics["seed"]))]
    facts.append(("Weights, SHA-256", plain(config["weights_sha256"])))
    facts.append(("Versions", ", ".join(f"{k} {v}" for k, v in config["versions"].items())))
    parts = (("Architecture", config["architecture"]), ("Training", shown["training"]))
    tables = [sheet("settings", settings(part), title=title) for title, part in parts]
    return [page.Items("facts", facts), tables]
