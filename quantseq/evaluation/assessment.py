"""From the grades of a contest to what is printed: scores, tests and sentences.

Owns the summary per model, the tests of one model against each other, and the verdict in words.
Knows names and grades; fits and forecasts nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from quantseq.evaluation.confidence import confidence_set, mean_interval
from quantseq.evaluation.direction import (
    SHOWN,
    days_needed,
    hit_rate,
    information_coefficient,
    pesaran_timmermann,
)
from quantseq.evaluation.grades import Grades
from quantseq.evaluation.significance import by_date, diebold_mariano
from quantseq.market.bars import Floats

SCORES = ("log_score", "crps")
LEAST = {"log_score": 5e-5, "crps": 5e-7}
"""Mean differences below are printed as 0.0000 nats, and as 0.00 basis points."""

CUMULATIVE = "cumulative"
"""The step of a test on the sum of all steps."""


def describe_grades(grades: Mapping[str, Grades], reference: str, seed: int) -> dict[str, Any]:
    """Every model's scores; see ``docs/json.md`` for the keys.

    Parameters
    ----------
    grades : mapping by model
        All on the same rows.
    reference : str
        Skill in nats is measured against this model, where it takes part.
    seed : int
        Of the bootstraps.
    """
    found = {name: _one_model(one) for name, one in grades.items()}
    for score in SCORES:
        daily = {
            name: _daily(one, score) for name, one in grades.items() if _known(one, score).any()
        }
        inside = confidence_set(daily, seed=seed)
        for name in grades:
            found[name][f"mcs_{score}"] = inside.get(name)
    for name, one in grades.items():
        gain: Any = None
        if reference in grades and _known(one, "log_score").any():
            difference = grades[reference].log_score[:, 0] - one.log_score[:, 0]
            daily_gain = by_date(difference, one.cutoffs)
            gain = float(daily_gain.mean()) if len(daily_gain) else None
            found[name]["skill_interval"] = list(mean_interval(daily_gain, seed=seed))
        found[name]["skill_nats"] = gain
        found[name].setdefault("skill_interval", None)
    return found


def _known(one: Grades, score: str) -> Any:
    return ~np.isnan(getattr(one, score)[:, 0])


def _daily(one: Grades, score: str) -> Floats:
    return by_date(getattr(one, score)[:, 0], one.cutoffs)


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _one_model(one: Grades) -> dict[str, Any]:
    steps = []
    for step in range(1, one.horizon + 1):
        column = step - 1
        up, came, dates = one.prob_up[:, column], one.realised[:, column], one.cutoffs
        steps.append(
            {
                "step": step,
                **one.scores.summary(step=step),
                "pinball": _mean(one.pinball[:, column]),
                "winkler_90": _mean(one.winkler[:, column]),
                "mase": _mean(one.error[:, column]),
                "hit_rate": asdict(hit_rate(up, came, dates, step=step)),
                "ic": asdict(information_coefficient(one.mean[:, column], came, dates, step=step)),
            }
        )
    up, came, dates = one.prob_up[:, 0], one.realised[:, 0], one.cutoffs
    ranked = information_coefficient(one.mean[:, 0], came, dates, ranks=True)
    first = {name: value for name, value in steps[0].items() if name != "step"}
    return {
        **first,
        "n_days": len(np.unique(dates[np.isfinite(came)])),
        "crps_cumulative": _mean(one.crps_cumulative[:, 0]),
        "rank_ic": asdict(ranked),
        "pesaran_timmermann": asdict(pesaran_timmermann(up, came, dates)),
        "by_step": steps,
        "by_year": _by_year(one),
    }


def _by_year(one: Grades) -> list[dict[str, Any]]:
    years = one.cutoffs.astype("datetime64[Y]").astype(int) + 1970
    return [
        {
            "year": int(year),
            **{score: _mean(getattr(one, score)[years == year, 0]) for score in SCORES},
            "coverage_90": one.take(years == year).scores.summary()["coverage_90"],
        }
        for year in np.unique(years)
    ]


def compare(grades: Mapping[str, Grades], model: str) -> list[dict[str, Any]]:
    """Diebold-Mariano tests of `model` against every other, by score and step.

    Returns
    -------
    list of dict
        ``model, rival, score, step, t, p, mean_difference, n_days, days_needed``; negative t: the
        model is better. ``step`` is 1..H, or ``"cumulative"`` for the CRPS of the sum of all steps.
        Scores that a rival does not have make no row.
    """
    ours, rows = grades[model], []
    columns = range(ours.horizon)
    cases: list[tuple[str, Any, str, int]] = [
        (score, column + 1, score, column) for score in SCORES for column in columns
    ]
    cases.append(("crps", CUMULATIVE, "crps_cumulative", 0))
    for rival, theirs in grades.items():
        if rival != model:
            rows += [
                _test(model, rival, score, step, *_columns(ours, theirs, name, column), ours)
                for score, step, name, column in cases
            ]
    return [row for row in rows if row["n_days"] > 0]


def _columns(ours: Grades, theirs: Grades, name: str, column: int) -> tuple[Floats, Floats]:
    return getattr(ours, name)[:, column], getattr(theirs, name)[:, column]


def _test(
    model: str, rival: str, score: str, step: Any, mine: Floats, other: Floats, rows: Grades
) -> dict[str, Any]:
    overlap = step if isinstance(step, int) else rows.horizon
    found = diebold_mariano(mine, other, rows.cutoffs, step=overlap)
    return {
        "model": model,
        "rival": rival,
        "score": score,
        "step": step,
        **asdict(found),
        "days_needed": days_needed(found.t, found.n_days) if np.isfinite(found.t) else None,
    }


def verdicts(tests: list[dict[str, Any]], *, own_reference: str) -> list[str]:
    """One sentence per rival on the next day: by log score where it has one, else by CRPS."""
    sentences = []
    for rival in dict.fromkeys(row["rival"] for row in tests):
        rows = {row["score"]: row for row in tests if row["rival"] == rival and row["step"] == 1}
        if rows:
            row = rows.get("log_score") or rows["crps"]
            name = f"its own reference ({rival})" if rival == own_reference else rival
            sentences.append(f"better than {name}: {in_words(row)}")
    return sentences


def negligible(test: Mapping[str, Any]) -> bool:
    """Whether the mean difference would be printed as 0: however sure, it favours nobody."""
    gap = test.get("mean_difference")
    return gap is not None and abs(gap) < LEAST.get(str(test.get("score")), 0.0)


def in_words(test: Mapping[str, Any]) -> str:
    """Whether the model is shown to be better, with what the claim rests on."""
    t, n = test["t"], test["n_days"]
    unit = "" if test["score"] == "log_score" else " on CRPS"
    if t is None or np.isnan(t):
        return f"not shown, {n} days are too few{unit}"
    shown = f"t = {t:+.1f}{unit}".replace("-", "−").replace("+", "" if t < 0 else "+")
    if abs(t) >= SHOWN and negligible(test):
        return f"not shown, the two differ by nothing that could be printed{unit}"
    if t <= -SHOWN:
        return f"yes, {shown}"
    if t >= SHOWN:
        return f"no, the rival is better, {shown}"
    if t == 0:
        return "not shown, the two are the same"
    if t > 0:
        return f"not shown, the rival was ahead, {shown}"
    more = round_up(days_needed(t, n) - n)
    return f"not shown, {shown}; {more:,} more days would be needed"


def round_up(days: float) -> int:
    """Days in two leading digits: more would claim too much."""
    whole = int(np.ceil(days))
    grain = 10 ** max(len(str(whole)) - 2, 0)
    return int(-(-whole // grain) * grain)
