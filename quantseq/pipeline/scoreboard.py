"""The result of an evaluation on a terminal: a table of all models, and what it means in words.

Owns the wording of what `evaluate` prints. Knows the result's keys; computes no score.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from quantseq.evaluation.confidence import MCS_SIZE
from quantseq.pipeline.results import OURS, REFERENCE
from quantseq.reporting import words

DIRECTION = {
    "IC": "ic",
    "rank IC": "rank_ic",
    "Pesaran-Timmermann": "pesaran_timmermann",
}
"""Measures of direction that a claim may rest on; the hit rate stands in the table."""


def describe(result: Mapping[str, Any]) -> list[str]:
    """The result as a table and sentences.

    Parameters
    ----------
    result : mapping
        Content of ``evaluation.json``, see ``docs/json.md``.
    """
    models, tests = result["models"], result["tests"]
    horizon = len(models[OURS]["by_step"])
    heads = (
        "log score",
        "t",
        "CRPS bp",
        "t",
        f"CRPS {horizon}d",
        "t",
        "90 %",
        "PIT KS",
        "IC",
        "hits",
    )
    lines = ["next day".ljust(17) + "".join(head.rjust(10) for head in heads)]
    for name, one in models.items():
        cells = [
            number(one["log_score"], 4),
            _t(tests, name, "log_score", 1),
            number(one["crps"], 2, 1e4),
            _t(tests, name, "crps", 1),
            number(one["crps_cumulative"], 1, 1e4),
            _t(tests, name, "crps", "cumulative"),
            number(one["coverage_90"], 1, 100, "%"),
            number(one["pit_ks"], 4),
            number(one["ic"]["value"], 4),
            number(one["hit_rate"]["value"], 1, 100, "%"),
        ]
        lines.append(name.ljust(17) + "".join(cell.rjust(10) for cell in cells))
    ours = models[OURS]
    lines.append(
        f"{ours['n']:,} forecasts on {ours['n_days']:,} days; lower scores are better; t: {OURS} against the "
        "line's model (HAC), negative: better."
    )
    if ours["skill_nats"] is not None:
        low, high = ours["skill_interval"]
        lines.append(
            f"Skill over {REFERENCE}: {words.number(ours['skill_nats'], 4, sign=True)} nats "
            f"(95 % interval {words.number(low, 4, sign=True)} to {words.number(high, 4, sign=True)})."
        )
    shares = [share for share in result["survived"] if share is not None]
    if shares:
        tilts = [told.get("recalibration", {}) for told in result["details"][OURS]]
        tilted = sum(bool(tilt.get("width") or tilt.get("skew")) for tilt in tilts)
        lines.append(
            f"Validation kept {np.mean(shares):.0%} of the network, on average over "
            f"{words.plural(len(shares), 'fold')}; the rest is "
            f"the reference, {tilt_in_words(tilted, len(shares))}."
        )
    inside = [name for name, one in models.items() if (one["mcs_log_score"] or 0) >= MCS_SIZE]
    if inside:
        lines.append(f"May be the best by log score (90 % confidence set): {', '.join(inside)}.")
    for label, key in DIRECTION.items():
        found = ours[key]
        if np.isfinite(found["t"]):
            lines.append(
                f"Direction, {label} {number(found['value'], 4)}: t = "
                f"{words.number(found['t'], 1, sign=True)} over "
                f"{found['n_days']:,} days; t = 2 would need {found['n_needed']:,.0f}."
            )
    hits, informed = ours["hit_rate"], ours["pesaran_timmermann"]
    if np.isfinite(hits["t"]) and not np.isfinite(informed["t"]):
        lines.append(
            f"Direction, hit rate {number(hits['value'], 4)} over {hits['n_days']:,} days: every call was the "
            "same, so it says what the prices did and nothing of the forecast."
        )
    lines += result["verdict"] + result["notes"]
    if result["null"] is not None:
        lines.append(f"Null run, {result['null']['sentence']}.")
    return lines


def tilt_in_words(tilted: int, folds: int) -> str:
    """Whether recalibration changed the probabilities after that: of how many folds."""
    if not tilted:
        return "not recalibrated"
    return "recalibrated" + (f" in {tilted} of {folds} folds" if folds > 1 else "")


def number(value: float | None, digits: int, factor: float = 1, unit: str = "") -> str:
    """`value` times `factor` in `digits` digits, with its unit; a dash where it is unknown."""
    shown = words.number(None if value is None else value * factor, digits)
    return shown if shown == words.DASH else shown + unit


def _t(tests: list[dict[str, Any]], rival: str, score: str, step: int | str) -> str:
    for row in tests:
        if (row["rival"], row["score"], row["step"]) == (rival, score, step):
            return words.number(row["t"], 1, sign=True)
    return ""
