"""How models stand is worded as the numbers say."""

import pytest

from quantseq.reporting.page import Cards, Missing, Sheet
from quantseq.reporting.sections.standings import (
    bps,
    cards,
    milli,
    scores,
    sentence,
    sign_skill,
    verdict,
)

OWN = {"skill_nats": 0.0012, "skill_interval": [0.0002, 0.0021], "log_score": -2.7}
TESTS = [
    {"model": "m", "rival": rival, "score": score, "step": step, "t": t, "p": 0.01, "n_days": 300}
    for rival, score, step, t in (
        ("a", "crps", 1, 0.5),
        ("a", "log_score", 1, -2.0),
        ("a", "log_score", 2, 5.0),
        ("b", "crps", 1, 2.5),
        ("c", "crps", 1, None),
        ("d", "log_score", 1, -1.99),
    )
]


def test_only_the_next_day_counts_by_log_score_where_there_is_one() -> None:
    text = sentence(OWN, "m", "a", TESTS)
    assert "better than 1 of 4 rivals by more than noise, worse than 1, undecided against 2" in text
    assert "over its own reference, a, is +1.20 thousandths" in text
    assert "+0.20 to +2.10" in text
    nothing = [{**test, "mean_difference": 2e-11} for test in TESTS]
    assert "better than 0 of 4 rivals by more than noise, worse than 0" in sentence(
        OWN, "m", "a", nothing
    )
    assert sentence({}, "m", "", []) == "No rival took part, so nothing was compared."


def test_every_rival_has_one_answer() -> None:
    sheet = verdict(OWN, "a", TESTS).blocks[0]
    assert isinstance(sheet, Sheet)
    assert [row[0] for row in sheet.table.rows] == ["a (reference)", "b", "c", "d"]
    assert [str(row[1]).split(",")[0] for row in sheet.table.rows] == [
        "yes",
        "no",
        "not shown",
        "not shown",
    ]


def test_a_skill_too_small_to_print_is_not_drawn() -> None:
    nothing = {"skill_nats": 1e-6, "skill_interval": [-4e-6, 4e-6]}
    assert isinstance(verdict(nothing, "a", TESTS).blocks[1], Missing)


def test_cards_stand_beside_the_reference_with_an_interval_around_nothing() -> None:
    block = cards({"m": OWN, "a": {"log_score": -2.69}}, "m", "a").blocks[0]
    assert isinstance(block, Cards)
    skill, log_score, *_ = block.items
    assert (skill.value, skill.rival) == ("+1.20", "over a")
    assert skill.bar is not None
    assert skill.bar.rival == 3.0, "0 is left of the whole interval"
    assert log_score.rival == "a −2.6900"


def test_the_confidence_set_names_who_may_be_best() -> None:
    models = {
        "m": {"mcs_log_score": 1.0},
        "a": {"mcs_log_score": 0.1},
        "b": {"mcs_log_score": 0.09},
    }
    more = scores(models, "m").blocks[1]
    assert isinstance(more, Sheet)
    assert more.reading.endswith("m and a.")


def test_a_constant_call_of_up_is_not_shown_to_know_direction() -> None:
    """One symbol in a rising market: every call is up, so nothing can be tested."""
    unknown = {"value": None, "t": None, "n_days": 0, "n_needed": None}
    hits = {"value": 0.563, "t": 2.72, "n_days": 300, "n_needed": 160.0}
    own = {"hit_rate": hits, "ic": unknown, "pesaran_timmermann": unknown}
    direction = scores({"m": own}, "m").blocks[2]
    assert isinstance(direction, Sheet)
    rows = {row[0]: [str(cell) for cell in row[1:]] for row in direction.table.rows}
    assert rows["hit rate"] == ["56.3\u00a0%", "—", "300", "—"]
    cards_ = cards({"m": own}, "m", "").blocks[0]
    assert isinstance(cards_, Cards)
    assert cards_.items[-1].interval == "beyond the commoner sign t = —"
    assert sign_skill({"hit_rate": hits}) == hits, "prices without drift have no commoner sign"


@pytest.mark.parametrize("show", [milli, bps])
def test_the_unknown_is_a_dash(show) -> None:
    assert show(None) == show(float("nan")) == "—"
