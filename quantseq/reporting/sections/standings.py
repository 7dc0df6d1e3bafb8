"""How the models of an evaluation stand: headline figures, the answer against every rival, all scores.

Owns the wording of these parts. Every number and test was stored by the evaluation.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from quantseq.evaluation.assessment import in_words, negligible
from quantseq.evaluation.confidence import MCS_SIZE
from quantseq.evaluation.direction import SHOWN
from quantseq.reporting import words
from quantseq.reporting.drawing import charts
from quantseq.reporting.page import (
    Block,
    Card,
    Cards,
    Interval,
    Missing,
    Section,
    Sheet,
    Table,
    chart,
)
from quantseq.reporting.sections import skill
from quantseq.reporting.sections.overview import ends

MILLI = 1000.0
"""Skill is printed in thousandths of a nat; whole nats a day do not occur."""

LEAST = 0.005
"""Less would be printed as 0.00."""

DIRECTION = {
    "ic": "IC",
    "rank_ic": "rank IC",
    "hit_rate": "hit rate",
    "pesaran_timmermann": "Pesaran-Timmermann",
}


def sentence(
    own: Mapping[str, Any], main: str, reference: str, tests: Sequence[Mapping[str, Any]]
) -> str:
    """Against how many rivals the model won, and its skill over the reference."""
    found = list(_next_day(tests).values())
    known = [
        t
        for test in found
        if (t := words.known(test.get("t"))) is not None and not negligible(test)
    ]
    won, lost = (sum(sign * t >= SHOWN for t in known) for sign in (-1, 1))
    parts = []
    if found:
        parts.append(
            f"On the next day {main} is better than {won} of {words.plural(len(found), 'rival')} by more "
            f"than noise, worse than {lost}, undecided against {len(found) - won - lost}."
        )
    low, high = ends(own.get("skill_interval"))
    gain = words.known(own.get("skill_nats"))
    if None not in (gain, low, high) and reference not in ("", main):
        parts.append(
            f"Its skill over its own reference, {reference}, is {milli(gain)} thousandths of a nat a day, "
            f"95{words.SPACE}% interval {milli(low)} to {milli(high)}."
        )
    return " ".join(parts) or "No rival took part, so nothing was compared."


def _next_day(tests: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """One test per rival on the next day: by log score where it has one, else by CRPS."""
    found: dict[str, Mapping[str, Any]] = {}
    for test in tests:
        if test.get("step") == 1 and (
            test.get("score") == "log_score" or str(test.get("rival")) not in found
        ):
            found[str(test.get("rival"))] = test
    return found


def milli(value: Any) -> str:
    """Nats in thousandths."""
    finite = words.known(value)
    return words.number(None if finite is None else MILLI * finite, 2, sign=True)


def bps(value: Any, digits: int = 2) -> str:
    """A score in log-return units in basis points."""
    finite = words.known(value)
    return words.bps(None if finite is None else 1e4 * finite, digits)


def cards(models: Mapping[str, Any], main: str, reference: str) -> Section:
    """The headline figures of the model, beside those of its reference."""
    own = models.get(main) or {}
    rival = models.get(reference) if reference != main else None
    low, high = ends(own.get("skill_interval"))
    items = [
        Card(
            "Skill, nat/1000 a day",
            milli(own.get("skill_nats")),
            "" if low is None else f"95 %: {milli(low)} to {milli(high)}",
            f"over {reference}" if rival else "no reference took part",
            _bar(low, high, words.known(own.get("skill_nats"))),
        )
    ]
    shown: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
        ("Log score, nats", "log_score", partial(words.number, digits=4, sign=True)),
        ("CRPS", "crps", bps),
        ("CRPS, all steps", "crps_cumulative", partial(bps, digits=1)),
        (f"Held in the 90{words.SPACE}% band", "coverage_90", words.percent),
        ("PIT distance", "pit_ks", partial(words.number, digits=4)),
    )
    for label, key, show in shown:
        beside = "" if rival is None else f"{reference} {show(rival.get(key))}"
        items.append(Card(label, show(own.get(key)), "", beside))
    for label, key in (("IC", "ic"), ("Hit rate", "hit_rate")):
        items.append(Card(label, _called(key, (own.get(key) or {}).get("value")), _claim(own, key)))
    lead = f"{main} on the next day, beside its reference. Lower scores are better."
    return Section("figures", "Headline figures", lead, [Cards(items)])


def sign_skill(own: Mapping[str, Any]) -> Mapping[str, Any]:
    """What hits prove: Pesaran-Timmermann, beyond the commoner sign; null prices have none to beat."""
    return own.get("pesaran_timmermann" if "pesaran_timmermann" in own else "hit_rate") or {}


def _claim(own: Mapping[str, Any], key: str) -> str:
    """The t of a measure of direction on a card."""
    found = sign_skill(own) if key == "hit_rate" else own.get(key) or {}
    t = words.known(found.get("t"))
    if key == "hit_rate":
        return f"beyond the commoner sign t = {words.number(t, 1, sign=True)}"
    return f"t = {words.number(t, 1, sign=True)}"


def _called(measure: str, value: Any) -> str:
    """A measure of direction with its unit."""
    return words.percent(value) if measure == "hit_rate" else words.number(value, 4, sign=True)


def _bar(low: float | None, high: float | None, value: float | None) -> Interval | None:
    """The interval on a scale that holds 0, which is the tick."""
    if low is None or high is None or value is None:
        return None
    left, right = min(low, value, 0.0), max(high, value, 0.0)
    if right <= left:
        return None
    at = [round(3 + 94 * (mark - left) / (right - left), 1) for mark in (low, high, value, 0.0)]
    return Interval(*at)


def verdict(own: Mapping[str, Any], reference: str, tests: Sequence[Mapping[str, Any]]) -> Section:
    """The answer against every rival in words, the skill over the reference, and all tests."""
    title = "Is it better, and by more than noise?"
    if not tests:
        said = Missing("No rival took part, so there is nothing to be better than.")
        return Section("verdict", title, blocks=[said])
    rows = [
        [
            f"{rival} (reference)" if rival == reference else rival,
            in_words(test),
            skill.SCORES.get(str(test.get("score")), words.DASH),
            words.number(test.get("t"), 2, sign=True),
            words.p_value(test.get("p")) if words.known(test.get("p")) is not None else words.DASH,
            words.count(test.get("n_days")),
        ]
        for rival, test in _next_day(tests).items()
    ]
    blocks: list[Block] = [
        Sheet(
            "Better than …?",
            f"Next day, by log score where the rival has one. A claim needs |t| of at least {SHOWN:g}; "
            "negative t favours the model.",
            Table(["rival", "answer", "score", "t", "p", "days"], rows, align="twtnnn"),
        )
    ]
    low, high = ends(own.get("skill_interval"))
    gain = words.known(own.get("skill_nats"))
    if low is not None and high is not None and gain is not None and reference:
        blocks.append(_skill(low, gain, high, reference))
    blocks.append(skill.test_sheet(list(tests)))
    return Section("verdict", title, "", blocks)


def _skill(low: float, gain: float, high: float, reference: str) -> Block:
    if MILLI * max(abs(low), abs(high)) < LEAST:
        return Missing(
            f"Skill over {reference}: 0.00 thousandths of a nat, and so are both ends of its interval. "
            "The two forecast alike on the next day."
        )
    inside = low <= 0 <= high
    reading = "0 lies inside: chance alone can explain it" if inside else "0 lies outside"
    return chart(
        "skill",
        f"Skill over {reference}, with its 95 % interval",
        f"{milli(gain)} thousandths of a nat a day, {milli(low)} to {milli(high)}; {reading}.",
        charts.whisker(MILLI * low, MILLI * gain, MILLI * high, unit="thousandths of a nat a day"),
        sizes=((900, 110), (340, 110)),
        table=Table(
            ["", "low", "estimate", "high"],
            [["skill, nat/1000", milli(low), milli(gain), milli(high)]],
            "Stationary bootstrap over days",
        ),
    )


def scores(models: Mapping[str, Any], main: str) -> Section:
    """Every model's scores: the main ones, then all others."""
    if not models:
        return Section("scores", "Scores", blocks=[Missing("This evaluation stored no scores.")])
    blocks: list[Block] = [skill.score_sheet(models, main), _more(models, main)]
    own = models[main]
    rows = [
        [
            label,
            _called(key, found.get("value")),
            words.DASH if key == "hit_rate" else words.number(found.get("t"), 2, sign=True),
            words.count(found.get("n_days")),
            words.DASH if key == "hit_rate" else words.count(found.get("n_needed")),
        ]
        for key, label in DIRECTION.items()
        for found in (own.get(key) or {},)
    ]
    blocks.append(
        Sheet(
            f"Direction: does {main} know up from down?",
            f"Next day. |t| of at least {SHOWN:g} would say so; errors count days, not rows. Hits are tested "
            "by Pesaran-Timmermann, beyond what always calling the commoner sign would hit.",
            Table(["measure", "value", "t", "days", "days needed for t = 2"], rows),
        )
    )
    return Section("scores", "Scores", "", blocks)


def _more(models: Mapping[str, Any], main: str) -> Block:
    def interval(one: Mapping[str, Any]) -> str:
        low, high = ends(one.get("skill_interval"))
        return words.DASH if low is None else f"{milli(low)} to {milli(high)}"

    rows = [
        [
            name,
            milli(one.get("skill_nats")),
            interval(one),
            *(words.number(one.get(f"mcs_{score}"), 2) for score in skill.SCORES),
            *(bps(one.get(key), 1) for key in ("crps_cumulative", "pinball", "winkler_90")),
            words.number(one.get("mase"), 3),
        ]
        for name, one in models.items()
    ]
    staying = [
        name
        for name, one in models.items()
        if (words.known(one.get("mcs_log_score")) or 0) >= MCS_SIZE
    ]
    reading = (
        f"May be the best by log score, with 90{words.SPACE}% confidence: {words.listing(staying)}."
        if staying
        else "No confidence set was stored."
    )
    headers = ["model", "skill, nat/1000", "95 % interval", "set p, log", "set p, CRPS"]
    headers += ["CRPS, all steps", "pinball", "interval score", "MASE"]
    strong = frozenset(i for i, name in enumerate(models) if name == main)
    return Sheet(
        "Skill and further scores", reading, Table(headers, rows, style="dense", strong=strong)
    )
