"""The page of a toy task says whether it was mastered, and shows right and wrong answers as such."""

import re
from pathlib import Path

import pytest

from quantseq.reporting.render import fill
from quantseq.reporting.toy_page import load
from tests.report_folders import EVIL, toy_folder
from tests.reporting.test_score_page import words_of

SECTIONS = ["figures", "learning", "reach", "samples", "milestones", "configuration", "definitions"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return fill(load(toy_folder(tmp_path_factory.mktemp("toy"))))


def test_every_section_stands_in_its_order(page: str) -> None:
    assert re.findall(r'<section id="([^"]+)"', page) == SECTIONS
    assert re.findall(r'<figure[^>]* id="([^"]+)"', page) == ["loss", "accuracy", "attention"]


def test_mastery_is_what_the_gate_asks_for(page: str, tmp_path: Path) -> None:
    text = words_of(page)
    assert "Mastered Of 2,000 fresh sequences 99.80 % are answered exactly" in text
    assert "above the gate's bar of 99.5 %" in text
    assert "Of sequences longer than any in training, 24.0 % are." in text
    poor = words_of(fill(load(toy_folder(tmp_path, exact=0.98))))
    assert "Not mastered" in poor
    assert "below the gate's bar" in poor


def test_answers_are_right_or_wrong_as_they_are(page: str) -> None:
    text = words_of(page)
    assert "1 of 2 right. To be answered with the same backwards and EOS" in text
    assert "3 right 5 6 7 7 6 5 EOS" in text
    assert "3 wrong 5 6 7 7 6 6 EOS" in text
    assert "5 6 6 5 EOS 6 6 EOS" in text, "samples on the way"


def test_foreign_text_is_text_and_nothing_is_loaded(page: str) -> None:
    assert EVIL not in page
    assert "&lt;script&gt;alert" in page
    assert "//" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"\b(nan|None|inf)\b", words_of(page).replace("never_emit", ""))


@pytest.mark.usefixtures("undrawn")
def test_without_attention_there_is_no_map(tmp_path: Path) -> None:
    text = words_of(fill(load(toy_folder(tmp_path, attention=False))))
    assert "no attention" in text
    assert "there is no map" in text
