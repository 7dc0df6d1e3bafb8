"""The tree in the docstring is the tree in the code."""

import inspect
import re

import pytest

from quantseq import errors
from quantseq.errors import QuantseqError

CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__
}


def drawn() -> list[tuple[int, str, str]]:
    """Depth, name and the rest of every line of the drawing."""
    lines = re.findall(r"^    ([│├└─ ]*)([A-Z]\w+Error)\b(.*)$", errors.__doc__ or "", re.MULTILINE)
    return [(len(stem) // 4, name, rest) for stem, name, rest in lines]


def test_every_class_is_drawn_under_its_parent() -> None:
    assert [name for _, name, _ in drawn()] == list(dict.fromkeys(name for _, name, _ in drawn()))
    assert {name for _, name, _ in drawn()} == set(CLASSES)
    parents: list[str] = []
    for depth, name, _ in drawn():
        del parents[depth:]
        assert CLASSES[name].__bases__[0].__name__ == (parents[-1] if parents else "Exception")
        parents.append(name)


def test_exit_codes_are_the_drawn_ones_and_differ_between_branches() -> None:
    codes = {
        name: int(found[1])
        for _, name, rest in drawn()
        if (found := re.search(r"\b(\d{1,2})\b", rest))
    }
    assert len(set(codes.values())) == len(codes)
    for name, code in codes.items():
        assert CLASSES[name].exit_code == code
    for kind in CLASSES.values():
        assert kind.exit_code != 0
        branch = next(base for base in kind.__mro__ if base.__name__ in codes)
        assert kind.exit_code == codes[branch.__name__]


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_every_error_is_documented_and_carries_its_message(kind: type[QuantseqError]) -> None:
    assert issubclass(kind, QuantseqError)
    assert kind.__doc__
    assert str(kind("what, value, rule, remedy")) == "what, value, rule, remedy"


def test_a_wrong_parameter_is_a_value_error_too() -> None:
    assert issubclass(errors.ConfigError, ValueError)


def test_control_characters_are_spelled_out_and_words_are_left() -> None:
    assert errors.visible("\x1b[31mA\u202eB\x00\ud800") == r"\x1b[31mA\u202eB\x00\ud800"
    for words in ("−1.5 × σ → Ä 日付 שלום 🙂", "a\u00a0b\u202fc", "می\u200cخواهم", "two\nlines"):
        assert errors.visible(words) == words


def test_a_line_is_one_and_bounded_and_keeps_its_ends() -> None:
    assert errors.one_line("what \n  value\tremedy") == "what value remedy"
    line = errors.one_line(f"Cannot read '{'x' * 10_000}'. Give another.")
    assert len(line) < 1_010
    assert line.startswith("Cannot read 'xx")
    assert line.endswith("x'. Give another.")
