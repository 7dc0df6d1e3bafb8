"""How results show themselves in a notebook: a heading, one sentence, one small table.

Owns the markup, which takes fonts and colours from the notebook and loads nothing. Everything is escaped.
Knows no result: every cell is already text.
"""

from collections.abc import Sequence
from html import escape

MOST = 30
"""Rows shown; how many are left out is said."""


def card(
    title: str,
    sentence: str,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    note: str = "",
) -> str:
    """HTML of a result.

    Parameters
    ----------
    title, sentence : str
        Heading, and what came out in words; the sentence may be empty.
    headers, rows : sequence of str, sequence of sequences of str
        A table; the first column names the row.
    note : str
        What stands below, such as where the page lies.

    Examples
    --------
    >>> print(card("A <b>", "So it is.", ["", "CRPS"], [["x", "1.0"]]))
    <div><strong>A &lt;b&gt;</strong><div>So it is.</div><table><thead><tr><th></th><th>CRPS</th></tr></thead><tbody><tr><th>x</th><td>1.0</td></tr></tbody></table></div>
    """
    head = "".join(f"<th>{escape(one)}</th>" for one in headers)
    body = "".join(
        f"<tr><th>{escape(first)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for first, *cells in rows[:MOST]
    )
    said = f"<div>{escape(sentence)}</div>" if sentence else ""
    left = len(rows) - MOST
    notes = [f"{left} more rows are not shown."] if left > 0 else []
    below = "".join(f"<div>{escape(one)}</div>" for one in (*notes, note) if one)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div><strong>{escape(title)}</strong>{said}{table}{below}</div>"
