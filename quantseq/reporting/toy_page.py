"""The page of a toy task: whether the machine has learned it, how fast, how far, and where it looks.

Owns the order and wording of that page. Everything was measured and stored by the training, so that the
same model folder gives the same page.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantseq.errors import CorruptFileError, RunError
from quantseq.files import read_json
from quantseq.reporting import words
from quantseq.reporting.drawing.toy_charts import accuracy_by_length, attention_map, loss_curve
from quantseq.reporting.page import (
    Badge,
    Block,
    Card,
    Cards,
    Cell,
    Chart,
    Facts,
    Header,
    Missing,
    Page,
    Row,
    Section,
    Sheet,
    Table,
    chart,
    thinned,
)
from quantseq.reporting.sections import proof

SAMPLES = "samples.json"
SPECIAL = {0: "PAD", 1: "EOS"}
ANSWERS = {"copy": "the same", "reverse": "the same backwards", "sort": "the same in order"}
LOOKS = ((440, 400), (340, 330))
TERMS = (
    (
        "Exact match",
        "Share of fresh sequences whose whole answer is right, end of sequence included. Free-running: the "
        "machine is fed its own tokens, as in use.",
    ),
    (
        "Token accuracy",
        "Share of right tokens under teacher forcing: the machine is fed the true answer so far.",
    ),
    (
        "Edit distance",
        "Insertions, deletions and replacements that turn a free-running answer into the right one, mean.",
    ),
    ("Fresh", "Drawn from a stream of random numbers that training never sees."),
    ("Loss", "Mean negative log probability of the right token, in nats, teacher-forced."),
    (
        "Gate",
        "No architecture touches prices before it answers the gate's share of fresh sequences exactly: the "
        "proof that encoder, attention, decoder, trainer and decoding carry a sequence across.",
    ),
)


def assemble(record: Mapping[str, Any]) -> Page:
    """The page in its parts, in the order in which it is read.

    Parameters
    ----------
    record : mapping
        ``metrics``, ``milestones``, ``samples``, ``config``, ``history`` and ``attention`` (or None):
        the contents of a toy's model folder.
    """
    metrics, shown = record["metrics"], record["samples"]
    return Page(
        _header(record),
        [
            _cards(metrics),
            _learning(metrics, record["history"], record["milestones"]),
            _reach(record),
            _samples(str(metrics["task"]), shown.get("samples") or []),
            _on_the_way(record["milestones"]),
            _configuration(record),
            Section("definitions", "Definitions", blocks=[Facts(TERMS)]),
        ],
        "A toy task says nothing about prices. Made by quantseq from the files of a model folder; the same "
        "folder gives the same page.",
    )


def load(folder: Path) -> Page:
    """The page of a toy's model folder.

    Raises
    ------
    RunError
        If the folder is no toy's, incomplete or damaged.
    """
    folder = Path(folder)
    try:
        names = {"metrics": "metrics.json", "samples": SAMPLES, "config": "config.json"}
        record = {name: read_json(folder / file) for name, file in names.items()}
        record["milestones"] = read_json(folder / "milestones.json")["milestones"]
        record["history"] = read_json(folder / "training.json")["history"]
        heat = folder / "attention.json"
        record["attention"] = read_json(heat) if heat.exists() else None
        return assemble(record)
    except (OSError, CorruptFileError, KeyError, TypeError) as error:
        raise RunError(
            f"{str(folder)!r} holds no toy task that can be shown: {error!r:.200}. Name a folder that "
            "`quantseq train --task copy` wrote, or train again."
        ) from error


def token(number: int) -> str:
    """An id as it is shown."""
    return SPECIAL.get(number, str(number))


def _spelled(ids: Sequence[int]) -> str:
    return " ".join(token(one) for one in ids) or words.DASH


def _header(record: Mapping[str, Any]) -> Header:
    metrics, shown = record["metrics"], record["samples"]
    share, bar = float(metrics["exact_match"]), float(shown["bar"])
    passed = share >= bar
    counted = "padding left out" if metrics["loss_masked"] else "padding included"
    attention = str(record["config"]["architecture"]["attention"])
    longer = float(metrics["longer_exact_match"])
    return Header(
        title=f"{str(metrics['task']).capitalize()} task, preset {metrics['preset']}",
        run_id="",
        created="",
        universe=f"sequences of 3 to 8 random ids, answered with {ANSWERS[metrics['task']]}",
        span=f"{words.count(metrics['examples'])} seen in training, seed {metrics['seed']}",
        badges=[
            Badge(
                f"above the gate's bar of {words.percent(bar)}"
                if passed
                else f"below the gate's bar of {words.percent(bar)}",
                "good" if passed else "warn",
            ),
            Badge("no attention" if attention == "none" else f"{attention.capitalize()} attention"),
            Badge(f"loss with {counted}"),
        ],
        edge=passed,
        answer="Mastered" if passed else "Not mastered",
        sentence=f"Of {words.count(shown['fresh'])} fresh sequences {words.percent(share, 2)} are answered "
        f"exactly, free-running; the gate asks an architecture like this for {words.percent(bar)}. Of "
        f"sequences longer than any in training, {words.percent(longer)} are.",
        kind=f"train --task {metrics['task']}",
    )


def _cards(metrics: Mapping[str, Any]) -> Section:
    items = [
        Card("Exact match", words.percent(metrics["exact_match"], 2), "free-running"),
        Card("Token accuracy", words.percent(metrics["token_accuracy"], 2), "teacher-forced"),
        Card("Edit distance", words.number(metrics["edit_distance"], 4), "edits a sequence"),
        Card(
            "Longer than trained", words.percent(metrics["longer_exact_match"], 2), "exact, 9 to 16"
        ),
        Card("Loss of the last batch", words.number(metrics["final_loss"], 4), "nats a token"),
        Card("Batches", words.count(metrics["batches"]), f"of {metrics['batch_size']} sequences"),
        Card("Parameters", words.count(metrics["parameters"])),
        Card("Training time", f"{words.number(metrics['seconds'], 1)}{words.SPACE}s", "one core"),
    ]
    lead = "Measured after training, on fresh sequences."
    return Section("figures", "Headline figures", lead, [Cards(items)])


def _learning(
    metrics: Mapping[str, Any],
    history: Mapping[str, Any] | None,
    stones: Sequence[Mapping[str, Any]],
) -> Section:
    title = "How it learned"
    if not history or not history.get("losses"):
        return Section("learning", title, blocks=[Missing("This folder keeps no losses.")])
    counted = "padding left out" if metrics["loss_masked"] else "padding included"
    steps, losses = history["steps"], history["losses"]
    fresh = {int(stone["batch"]): float(stone["loss"]) for stone in stones}
    rows = [
        [words.count(step), words.number(loss, 5), words.number(fresh.get(step), 5)]
        for step, loss in zip(steps, losses, strict=True)
    ]
    picture = chart(
        "loss",
        "Loss by batch, log scale",
        f"Teacher-forced, {counted}: from {words.number(losses[0], 2)} to {words.number(losses[-1], 4)} "
        "nats a token.",
        loss_curve(steps, losses, stones=fresh, unit=f"nats a token, {counted}"),
        sizes=((900, 340), (340, 260)),
        table=Table(
            ["batch", "minibatch loss, nats", "on fresh sequences"], thinned(rows), "Loss by batch"
        ),
    )
    return Section("learning", title, "", [picture])


def _reach(record: Mapping[str, Any]) -> Section:
    """Accuracy by length, and where the machine looks."""
    metrics = record["metrics"]
    trained, longer = (
        {int(length): float(share) for length, share in metrics[key].items()}
        for key in ("exact_match_by_length", "longer_exact_match_by_length")
    )
    shares = {**trained, **longer}
    best = [length for length, share in shares.items() if share >= record["samples"]["bar"]]
    reading = (
        f"At or above the gate's bar up to length {max(best)}."
        if best
        else "Below the bar everywhere."
    )
    parts: list[Chart] = [
        chart(
            "accuracy",
            "Exact match by length",
            f"Per cent of fresh sequences, free-running. {reading}",
            accuracy_by_length(trained, longer),
            sizes=LOOKS,
            table=Table(
                ["length", "in training", "exact match"],
                [
                    [str(length), "yes" if length in trained else "no", words.percent(share)]
                    for length, share in shares.items()
                ],
                "Share of sequences answered exactly",
                align="ttn",
            ),
        )
    ]
    blocks: list[Block] = []
    if record["attention"]:
        parts.append(_attention(record["attention"], str(metrics["task"])))
    else:
        blocks.append(Missing("Without attention there is no map of where the machine looks."))
    return Section(
        "reach", "How far it carries, and where it looks", "", [Row("pair", parts), *blocks]
    )


def _attention(heat: Mapping[str, Any], task: str) -> Chart:
    weights = np.array(heat["weights"], dtype=np.float64)
    source, target = ([token(one) for one in heat[name]] for name in ("source", "target"))
    most = weights.max(axis=1)[: len(source)]
    return chart(
        "attention",
        "Where it looks, per cent",
        f"One fresh sequence, answered with {ANSWERS[task]}: the token looked at most gets "
        f"{words.percent(float(most.mean()), 0)} on average.",
        attention_map(source, target, weights),
        sizes=LOOKS,
        table=Table(
            ["answered", *source],
            [
                [name, *(words.percent(weight) for weight in row)]
                for name, row in zip(target, weights, strict=True)
            ],
            "Share of attention on each token read",
        ),
    )


def _samples(task: str, samples: Sequence[Mapping[str, Any]]) -> Section:
    """Fresh sequences, what the machine answered, and whether it was right."""
    title = "What it answers"
    if not samples:
        return Section("samples", title, blocks=[Missing("This folder keeps no samples.")])
    rows: list[list[str | Cell]] = []
    right = 0
    for one in samples:
        good = list(one["answered"]) == list(one["answer"])
        right += good
        rows.append(
            [
                str(len(one["input"])),
                Cell("right", "up3") if good else Cell("wrong", "down3"),
                _spelled(one["input"]),
                _spelled(one["answered"]),
            ]
        )
    sheet = Sheet(
        "Fresh sequences, free-running",
        f"{right} of {len(samples)} right. To be answered with {ANSWERS[task]} and EOS; lengths above 8 were "
        "never trained on.",
        Table(["length", "answer", "read", "answered"], rows, align="ttww"),
    )
    return Section("samples", title, "", [sheet])


def _on_the_way(stones: Sequence[Mapping[str, Any]]) -> Section:
    """Where training stood at each look, with the samples that were printed."""
    if not stones:
        return Section("milestones", "On the way", blocks=[Missing("No milestone was reached.")])
    rows = [
        [
            words.count(stone["batch"]),
            words.number(stone["loss"], 4),
            words.number(stone["free_running_loss"], 4),
            words.percent(stone["exact_match"]),
        ]
        for stone in stones
    ]
    headers = ["batch", "loss, teacher-forced", "loss, free-running", "exact match"]
    spoken = [
        [
            words.count(stone["batch"]),
            *(_spelled(sample[name]) for name in ("input", "teacher_forced", "free_running")),
        ]
        for stone in stones
        for sample in stone["samples"]
    ]
    sheet = Sheet(
        "Before every thousandth batch",
        "On fresh sequences, in nats a token.",
        Table(headers, rows),
        Table(
            ["batch", "read", "teacher-forced", "free-running"],
            spoken,
            "Samples on the way",
            align="twww",
        ),
    )
    return Section("milestones", "On the way", "", [sheet])


def _configuration(record: Mapping[str, Any]) -> Section:
    config, shown = record["config"], record["samples"]
    blocks: list[Block] = [
        Facts(
            [
                ("Preset", f"{record['metrics']['preset']}: {shown['note']}"),
                ("Seed", str(record["metrics"]["seed"])),
                ("Weights, SHA-256", str(config["weights_sha256"])),
                ("Versions", ", ".join(f"{k} {v}" for k, v in config["versions"].items())),
            ]
        )
    ]
    tables = [
        Sheet(
            name,
            "",
            Table(["setting", "value"], list(map(list, proof.settings(given))), align="tw"),
        )
        for name, given in (
            ("Architecture", config["architecture"]),
            ("Training", shown["training"]),
        )
    ]
    return Section("configuration", "Configuration", "", [*blocks, Row("pair", tables)])
