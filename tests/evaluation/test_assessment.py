"""What is printed follows from the grades: scores, tests with their sign, and sentences."""

from dataclasses import replace

import numpy as np
import pytest

from quantseq.evaluation.assessment import compare, describe_grades, in_words, round_up, verdicts
from quantseq.evaluation.grades import Grades
from quantseq.evaluation.significance import diebold_mariano

M, H = 300, 2


def grades(shift: float = 0.0, *, density: bool = True, seed: int = 0) -> Grades:
    rng = np.random.default_rng(0)
    noise = 0.3 * np.random.default_rng(seed + 1).normal(size=(M, H))
    loss = rng.normal(size=(M, H)) ** 2 + noise + shift
    realised = rng.normal(size=(M, H))
    return Grades(
        symbols=np.tile(np.array(["A", "B", "C"], dtype=object), M // 3),
        cutoffs=(np.datetime64("2010-12-01") + np.arange(M // 3)).repeat(3),
        realised=realised,
        log_score=loss if density else np.full((M, H), np.nan),
        crps=loss,
        pit=rng.random((M, H)),
        pinball=loss / 2,
        winkler=loss * 3,
        error=np.abs(realised),
        mean=rng.normal(size=(M, H)),
        prob_up=rng.random((M, H)),
        crps_cumulative=loss[:, :1],
    )


FOUND = {
    "ours": grades(),
    "ref": grades(0.01, seed=1),
    "far": grades(0.5, seed=2),
    "blunt": grades(0.5, density=False, seed=3),
}


def test_every_pair_is_tested_by_score_and_step_and_for_the_sum() -> None:
    rows = compare(FOUND, "ours")
    kinds = [(row["rival"], row["score"], row["step"]) for row in rows]
    crps = [("crps", 1), ("crps", 2), ("crps", "cumulative")]
    both = [("log_score", 1), ("log_score", 2), *crps]
    expected = [("ref", *k) for k in both] + [("far", *k) for k in both]
    assert kinds == expected + [("blunt", *k) for k in crps]
    row = rows[6]
    test = diebold_mariano(
        FOUND["ours"].log_score[:, 1], FOUND["far"].log_score[:, 1], FOUND["ours"].cutoffs, step=2
    )
    assert (row["t"], row["p"], row["n_days"]) == (test.t, test.p, 100)
    assert row["t"] < 0
    assert row["days_needed"] == pytest.approx(100 * 4 / test.t**2)


def test_scores_are_means_and_what_has_no_density_has_no_log_score() -> None:
    found = describe_grades(FOUND, "ref", seed=0)
    ours = found["ours"]
    assert ours["log_score"] == pytest.approx(FOUND["ours"].log_score[:, 0].mean())
    assert ours["crps_cumulative"] == pytest.approx(FOUND["ours"].crps_cumulative.mean())
    assert ours["by_step"][1]["mase"] == pytest.approx(FOUND["ours"].error[:, 1].mean())
    gain = FOUND["ref"].log_score[:, 0].mean() - ours["log_score"]
    assert ours["skill_nats"] == pytest.approx(gain)
    low, high = ours["skill_interval"]
    assert low < gain < high
    blunt = found["blunt"]
    assert np.isnan(blunt["log_score"])
    assert (blunt["skill_nats"], blunt["skill_interval"], blunt["mcs_log_score"]) == (None,) * 3
    assert blunt["mcs_crps"] < 0.05 < ours["mcs_crps"]
    assert [year["year"] for year in ours["by_year"]] == [2010, 2011]
    weighted = [(31 * 3, ours["by_year"][0]), (M - 93, ours["by_year"][1])]
    mean = sum(n * year["crps"] for n, year in weighted) / M
    assert mean == pytest.approx(ours["crps"])


def test_without_the_reference_there_is_no_skill() -> None:
    found = describe_grades({"ours": FOUND["ours"]}, "ref", seed=0)["ours"]
    assert (found["skill_nats"], found["skill_interval"], found["mcs_crps"]) == (None, None, None)


def test_unknown_outcomes_leave_everything_unknown() -> None:
    blank = {
        name: np.full_like(getattr(FOUND["ours"], name), np.nan)
        for name in ("realised", "log_score", "crps", "pit", "pinball", "crps_cumulative")
    }
    nothing = replace(FOUND["ours"], **blank)
    found = describe_grades({"ours": nothing, "ref": nothing}, "ref", seed=0)["ours"]
    assert (found["n"], found["pinball"]) == (0, None)
    assert compare({"ours": nothing, "ref": nothing}, "ours") == []


def test_verdicts_name_the_rival_and_the_reference() -> None:
    first, second, third = verdicts(compare(FOUND, "ours"), own_reference="ref")
    assert first.startswith("better than its own reference (ref): not shown, t = −")
    assert first.endswith("more days would be needed")
    assert second.startswith("better than far: yes, t = −")
    assert third.endswith(" on CRPS")


@pytest.mark.parametrize(
    ("t", "words"),
    [
        (-6.94, "yes, t = −6.9"),
        (-1.0, "not shown, t = −1.0; 3,800 more days would be needed"),
        (0.0, "not shown, the two are the same"),
        (0.5, "not shown, the rival was ahead, t = +0.5"),
        (2.5, "no, the rival is better, t = +2.5"),
        (float("nan"), "not shown, 1254 days are too few"),
    ],
)
def test_words_follow_t(t: float, words: str) -> None:
    assert in_words({"t": t, "n_days": 1254, "score": "log_score"}) == words


def test_a_difference_that_is_printed_as_0_favours_nobody() -> None:
    tiny = {"t": -5.1, "n_days": 1254, "mean_difference": -2e-11}
    for score in ("log_score", "crps"):
        assert in_words({**tiny, "score": score}).startswith("not shown, the two differ by nothing")
    sure = {**tiny, "mean_difference": -1e-5}
    assert in_words({**sure, "score": "crps"}) == "yes, t = −5.1 on CRPS"
    assert in_words({**sure, "score": "log_score"}).startswith("not shown")


def test_days_are_rounded_up_to_two_digits() -> None:
    assert [round_up(x) for x in (0.2, 9, 99, 101, 1834, 3762)] == [1, 9, 99, 110, 1900, 3800]
