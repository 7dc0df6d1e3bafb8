"""The page of a toy task says whether it was mastered, and shows right and wrong answers as such."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from quantseq.errors import RunError
from quantseq.reporting.render import page_of, render
from quantseq.reporting.toy_page import seal_toy
from tests.report_folders import EVIL, toy_folder

SECTIONS = ["figures", "learning", "reach", "samples", "milestones", "configuration", "definitions"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    return render(toy_folder(tmp_path_factory.mktemp("toy")))


def test_every_section_stands_in_its_order(made: str) -> None:
    assert re.findall(r'<section id="([^"]+)"', made) == SECTIONS
    assert re.findall(r'<figure[^>]* id="([^"]+)"', made) == ["loss", "accuracy", "attention"]


def test_mastery_is_what_the_gate_asks_for(
    made: str, tmp_path: Path, words: Callable[[str], str]
) -> None:
    text = words(made)
    assert "Mastered Of 2,000 fresh sequences 99.80 % are answered exactly" in text
    assert "above the gate's bar of 99.5 %" in text
    assert "Of sequences longer than any in training, 24.0 % are." in text
    poor = words(render(toy_folder(tmp_path, exact=0.98)))
    assert "Not mastered" in poor
    assert "below the gate's bar" in poor


def test_answers_are_right_or_wrong_as_they_are(made: str, words: Callable[[str], str]) -> None:
    text = words(made)
    assert "1 of 2 right. To be answered with the same backwards and EOS" in text
    assert "3 right 5 6 7 7 6 5 EOS" in text
    assert "3 wrong 5 6 7 7 6 6 EOS" in text
    assert "5 6 6 5 EOS 6 6 EOS" in text, "samples on the way"


def test_foreign_text_is_text_and_nothing_is_loaded(made: str, words: Callable[[str], str]) -> None:
    assert EVIL not in made
    assert "&lt;script&gt;alert" in made
    assert not re.search(r"\b(nan|None|inf)\b", words(made).replace("never_emit", ""))


def test_without_attention_and_losses_the_page_says_so(tmp_path: Path) -> None:
    folder = toy_folder(tmp_path, attention=False)
    (folder / "training.json").write_text('{"history": {"steps": [], "losses": []}}')
    seal_toy(folder)
    assert list(page_of(folder).figures) == ["accuracy"]
    page = render(folder)
    assert "This folder keeps no losses." in page
    assert "Without attention there is no map" in page


def test_an_incomplete_folder_is_named(tmp_path: Path) -> None:
    folder = toy_folder(tmp_path)
    (folder / "metrics.json").write_text("{}")
    with pytest.raises(RunError, match="holds no toy task that can be shown"):
        render(folder)


def test_a_damaged_folder_is_named_in_plain_words(tmp_path: Path) -> None:
    folder = toy_folder(tmp_path)
    (folder / "metrics.json").write_text("{}")
    with pytest.raises(
        RunError, match=r"shown: metrics\.json in .* do not match SHA256SUMS\. Name"
    ) as caught:
        render(folder)
    assert "CorruptFileError" not in str(caught.value)
