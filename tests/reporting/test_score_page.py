"""The page of an evaluation says what its numbers say, and says so where they are missing."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from quantseq.reporting.render import render
from quantseq.reporting.run import Run
from tests.report_folders import EVIL, evaluation

SECTIONS = ["figures", "verdict", "scores", "calibration", "steps", "gallery", "folds", "null"]
SECTIONS += ["definitions", "notes", "manifest"]
FIGURES = ["skill", "coverage", "pit", "reliability", "score_by_step", "score_by_year"]
FIGURES += ["fan-best", "fan-median", "fan-worst"]


@pytest.fixture(scope="module")
def made() -> str:
    return render(evaluation())


def test_every_section_and_figure_stands_in_its_order(made: str) -> None:
    assert re.findall(r'<section id="([^"]+)"', made) == SECTIONS
    assert re.findall(r'<figure[^>]* id="([^"]+)"', made) == FIGURES
    ids = re.findall(r' id="([^"]+)"', made)
    assert len(ids) == len(set(ids))
    assert len(made.encode()) < 300_000


def test_the_header_counts_the_baselines_and_gives_the_skill(
    made: str, words: Callable[[str], str]
) -> None:
    result, text = evaluation().result, words(made)
    first = {
        row["baseline"]: row["t"]
        for row in reversed(result["tests"])
        if row["step"] == 1 and (row["score"] == "log_score" or row["baseline"] == EVIL)
    }
    won = sum(t <= -2 for t in first.values())
    lost = sum(t >= 2 for t in first.values())
    assert won == 2
    assert f"is better than {won} of 3 baselines by more than noise, worse than {lost}" in text
    skill = result["models"]["seq2seq"]["skill_nats"]
    assert f"is {1000 * skill:+.2f} thousandths".replace("-", "−") in text
    assert "Not shown to be better than its reference" in text
    assert "Lowest, middle and highest mean CRPS over the steps, of 1,200 forecasts" in text
    assert "25 %" in text.split("network kept")[1][:160]


def test_the_page_says_whether_a_plain_model_told_the_same_is_beaten(
    words: Callable[[str], str],
) -> None:
    test = {"model": "seq2seq", "score": "log_score", "step": 1, "p": 0.6, "n_days": 500}
    run = evaluation()
    for t, said in (
        (0.5, "The network does not beat perceptron-t (not"),
        (-3.0, "The network beats"),
    ):
        tests = [*run.result["tests"], {**test, "baseline": "perceptron-t", "t": t}]
        shown = replace(run, result={**run.result, "tests": tests})
        assert said in words(render(shown))
    assert "told the same" not in words(render(run))


def test_the_null_run_stands_beside_the_real_one(made: str, words: Callable[[str], str]) -> None:
    text = words(made)
    assert "null run found nothing" in text
    assert "garch: better than the true density: not shown, t = −0.3." in text
    row = text.split("garch, nothing to find")[1]
    assert row.split("the true density")[1].startswith(" +0.10 −1.00 to +1.20 −0.3")


def test_foreign_text_is_text_and_nothing_is_loaded(made: str, words: Callable[[str], str]) -> None:
    assert EVIL not in made
    assert made.count("&lt;script&gt;alert") >= 6
    assert not re.search(r"https?:|<(iframe|img|object|embed)\b", made)
    assert not re.search(r"\b(nan|NaN|None|inf)\b", words(made))


def test_settings_of_a_backtest_are_left_out(made: str, words: Callable[[str], str]) -> None:
    assert "num_paths" in words(made)
    assert "policy.name" not in words(made)


def _poor() -> Iterator[tuple[dict[str, Any], str]]:
    full = dict(evaluation().result)
    copy: Any = json.loads(json.dumps(full))
    yield {"models": {"seq2seq": full["models"]["seq2seq"]}}, "No baseline took part"
    yield {**full, "null": None}, "No null run was made"
    yield {}, "This evaluation stored no scores"
    yield {**full, "gallery": []}, "so none is drawn"
    for one in copy["models"].values():
        one["by_year"] = one["by_year"][:1]
    copy["null"]["ok"] = False
    yield copy, "1 of 1 year"
    yield copy, "null run saw what is not there"
    for gain, ends, words in (
        (1e-9, 1e-9, "The two forecast alike"),
        (-0.01, -0.001, "Worse than its"),
    ):
        own = {**full["models"]["seq2seq"], "skill_nats": gain, "skill_interval": [2 * gain, ends]}
        yield {**full, "models": {**full["models"], "seq2seq": own}}, words


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("place", range(8))
def test_what_is_missing_is_said(place: int, words: Callable[[str], str]) -> None:
    result, said = list(_poor())[place]
    text = words(render(replace(evaluation(), result=result)))
    assert said in text
    assert not re.search(r"\b(nan|NaN|None|inf)\b", text)


@pytest.mark.usefixtures("undrawn")
def test_no_outcome_means_no_judgement_of_calibration(words: Callable[[str], str]) -> None:
    run: Run = evaluation()
    text = words(render(replace(run, scores=run.scores.assign(pit=float("nan")))))
    assert "Too few outcomes are known" in text
