"""The tutorial runs, and prints what it says it prints."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

PAGE = Path(__file__).parents[1] / "docs/tutorial.md"
TEXT = PAGE.read_text(encoding="utf-8")
NUMBER = r"\d+\.\d+"


class Block(NamedTuple):
    """A block of code, and what stands under it."""

    code: str
    tolerance: float
    printed: str


BLOCKS = [
    Block(code, float(tolerance or 0), printed)
    for code, tolerance, printed in re.findall(
        r"```python\n(.*?)```\n\n```text(?: about ([\d.]+))?\n(.*?)```", TEXT, re.S
    )
]


def fixed(text: str) -> str:
    """What must be the same everywhere: all but decimals, and ids that training led to."""
    text = re.sub(r"(predicted.*> ).*", r"\1...", text)
    return re.sub(NUMBER, "#", text)


def agrees(block: Block, printed: str) -> bool:
    """Whether a block printed what it should: to the letter, or within its tolerance."""
    if not block.tolerance:
        return printed == block.printed
    pairs = zip(re.findall(NUMBER, printed), re.findall(NUMBER, block.printed), strict=True)
    return fixed(printed) == fixed(block.printed) and all(
        abs(float(mine) - float(said)) <= block.tolerance for mine, said in pairs
    )


def test_every_block_has_its_output() -> None:
    assert len(BLOCKS) == TEXT.count("```python") == TEXT.count("```text")
    assert all(block.printed for block in BLOCKS)


def test_the_sections_of_the_original_are_there() -> None:
    for words in (
        "[[5, 7, 8], [6, 3], [3], [1]]",
        "[[6], [3, 4], [9, 8, 7]]",
        "[EOS, PAD, PAD, PAD]",
        "after 300100 examples (batch_size=100)",
        "## Teacher forcing",
        "## The limits of static unrolling",
    ):
        assert words in TEXT


def test_links_lead_somewhere() -> None:
    assert "docs/tutorial.md" in (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (PAGE.parent / target).exists(), target


@pytest.mark.parametrize(
    ("printed", "right"),
    [
        ("loss 0.13 in [1, 2]\npredicted > [4]", True),
        ("loss 0.25 in [1, 2]\npredicted > [3]", False),
        ("loss 0.10 in [1, 3]\npredicted > [3]", False),
    ],
)
def test_decimals_may_differ_by_the_tolerance_and_nothing_else(printed: str, right: bool) -> None:
    block = Block("", 0.05, "loss 0.10 in [1, 2]\npredicted > [3]")
    assert agrees(block, printed) is right
    assert not agrees(block._replace(tolerance=0.0), printed)


def test_the_untrained_part_runs() -> None:
    run(BLOCKS[: next(i for i, block in enumerate(BLOCKS) if block.tolerance)])


@pytest.mark.slow
def test_the_tutorial_runs() -> None:
    run(BLOCKS)


def run(blocks: list[Block]) -> None:
    """Run blocks one after the other in one namespace, and compare what each prints."""
    names: dict[str, Any] = {}
    random_state = torch.get_rng_state()
    for block in blocks:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(block.code, str(PAGE), "exec"), names)
        assert agrees(block, out.getvalue()), f"{block.code}\nprinted\n{out.getvalue()}"
    assert torch.equal(torch.get_rng_state(), random_state)
