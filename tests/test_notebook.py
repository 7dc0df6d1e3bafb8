"""Results in a notebook are escaped and short."""

from quantseq.notebook import MOST, card

EVIL = "<script>alert('x')</script>"


def test_everything_is_escaped() -> None:
    text = card(EVIL, EVIL, [EVIL, EVIL], [[EVIL, EVIL]], EVIL)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 7


def test_long_tables_are_cut_and_say_so() -> None:
    text = card("t", "", ["n"], [[str(number)] for number in range(MOST + 7)])
    assert text.count("<tr>") == MOST + 1
    assert "7 more rows are not shown." in text
