"""The page of an evaluation says what its numbers say, and says so where they are missing."""

import json
import re
from html import unescape
from typing import Any

import pytest

from quantseq.reporting.render import fill
from quantseq.reporting.score_page import assemble
from tests.report_folders import EVIL, evaluation

SECTIONS = ["figures", "verdict", "scores", "calibration", "steps", "gallery", "folds", "null"]
SECTIONS += ["definitions", "notes", "manifest"]


def words_of(page: str) -> str:
    """The page's text without style, script and tags."""
    body = re.sub(r"<(style|script|desc|title)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).replace("\u00a0", " ").split())


@pytest.fixture(scope="module")
def page() -> str:
    return fill(assemble(*evaluation()))


def test_every_section_stands_in_its_order(page: str) -> None:
    assert re.findall(r'<section id="([^"]+)"', page) == SECTIONS
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_header_counts_the_rivals_and_gives_the_skill(page: str) -> None:
    result, _ = evaluation()
    text = words_of(page)
    first = {
        row["rival"]: row["t"]
        for row in reversed(result["tests"])
        if row["step"] == 1 and (row["score"] == "log_score" or row["rival"] == EVIL)
    }
    won = sum(t <= -2 for t in first.values())
    lost = sum(t >= 2 for t in first.values())
    assert won == 2
    assert f"is better than {won} of 3 rivals by more than noise, worse than {lost}" in text
    skill = result["models"]["seq2seq"]["skill_nats"]
    assert f"is {1000 * skill:+.2f} thousandths".replace("-", "−") in text
    assert "Not shown to be better than its reference" in text
    assert "Lowest, middle and highest mean CRPS over the steps, of 1,200 forecasts" in text
    assert "0.25" not in text.split("network kept")[1][:60]
    assert "25 %" in text.split("network kept")[1][:160]


def test_the_null_run_stands_beside_the_real_one(page: str) -> None:
    text = words_of(page)
    assert "null run found nothing" in text
    assert "garch: better than the true density: not shown, t = −0.3." in text
    row = text.split("garch, nothing to find")[1]
    assert row.split("the true density")[1].startswith(" +0.10 −1.00 to +1.20 −0.3")
    loud, scores = evaluation()
    loud["null"]["ok"] = False
    assert "null run saw what is not there" in words_of(fill(assemble(loud, scores)))


def test_foreign_text_is_text_and_nothing_is_loaded(page: str) -> None:
    assert EVIL not in page
    assert page.count("&lt;script&gt;alert") >= 6
    assert "//" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"<(iframe|img|object|embed)\b", page)
    assert not re.search(r"\b(nan|NaN|None|inf)\b", words_of(page))


def test_settings_of_a_backtest_are_left_out(page: str) -> None:
    text = words_of(page)
    assert "num_paths" in text
    assert "policy.name" not in text


def _poor() -> list[tuple[str, dict[str, Any], str]]:
    full, _ = evaluation()
    ours = {"seq2seq": full["models"]["seq2seq"]}
    core = {"manifest": {"run_id": "r"}, "models": ours}
    year = json.loads(json.dumps(full))
    for one in year["models"].values():
        one["by_year"] = one["by_year"][:1]
    same = json.loads(json.dumps(full))
    same["models"]["seq2seq"].update(skill_nats=1e-9, skill_interval=[-1e-9, 1e-9])
    worse = json.loads(json.dumps(full))
    worse["models"]["seq2seq"].update(skill_nats=-0.01, skill_interval=[-0.02, -0.001])
    return [
        ("no rivals", core, "No rival took part"),
        ("no null", {**full, "null": None}, "No null run was made"),
        ("nothing", {"manifest": {"run_id": "r"}}, "This evaluation stored no scores"),
        ("no gallery", {**full, "gallery": []}, "so none is drawn"),
        ("one year", year, "1 of 1 year"),
        ("the same", same, "The two forecast alike"),
        ("worse", worse, "Worse than its reference"),
    ]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("place", range(7))
def test_what_is_missing_is_said(place: int) -> None:
    name, result, words = _poor()[place]
    scores = evaluation()[1]
    text = words_of(fill(assemble(result, scores)))
    assert words in text, name
    assert not re.search(r"\b(nan|NaN|None|inf)\b", text), name


@pytest.mark.usefixtures("undrawn")
def test_no_outcome_means_no_judgement_of_calibration() -> None:
    result, scores = evaluation()
    for name in [column for column in scores if column.startswith("pit:")]:
        scores[name] = float("nan")
    assert "calibration cannot be judged" in words_of(fill(assemble(result, scores)))


def test_the_page_is_small(page: str) -> None:
    assert len(page.encode()) < 250_000
