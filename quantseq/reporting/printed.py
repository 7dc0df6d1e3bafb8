"""What a page prints, text by text: read back from its HTML, each text under the name of its place.

Owns the names. Knows sections, headings, tables and terms, and nothing of what they say. Drawings,
styles and scripts print nothing here.
"""

from html.parser import HTMLParser

TABLE = frozenset({"table", "caption", "thead", "tbody", "tr", "th", "td"})
HEADINGS = frozenset({"h1", "h2", "h3", "h4"})
GROUPS = frozenset({"div", "figure", "details", "dl", "ul", "ol"})
BLOCKS = frozenset(
    {"header", "main", "footer", "nav", "section", "figcaption", "summary", "strong"}
)
BLOCKS |= {"html", "head", "title", "body", "p", "li", "dt", "dd"} | TABLE | HEADINGS | GROUPS
"""Elements at whose edges one text ends and another begins."""

MUTE = frozenset({"svg", "style", "script", "template", "button"})


def printed(html: str) -> dict[str, str]:
    """Every text of a page by its name, in order.

    Returns
    -------
    dict
        Such as ``"risk / Every figure / Sharpe ratio / strategy": "+0.79"``: section, heading, row and
        column of a cell, or the term that a figure belongs to. White space is collapsed. A second text
        of the same name gets a number.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.texts


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: dict[str, str] = {}
        self._taken: dict[str, int] = {}
        self._buffer: list[str] = []
        self._mute: list[str] = []
        self._tags: list[str] = []
        self._section = self._heading = self._term = ""
        self._heads: list[str] = []
        self._row, self._column = "", -1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._mute or tag in MUTE:
            self._mute.append(tag) if tag in MUTE else None
            return
        if tag not in BLOCKS:
            return
        self._flush()
        self._tags.append(tag)
        if tag in ("section", "header", "footer"):
            self._section, self._heading, self._term = dict(attrs).get("id") or tag, "", ""
        elif tag in GROUPS:
            self._term = ""
        elif tag == "thead":
            self._heads = []
        elif tag == "tr":
            self._row, self._column = "", -1
        elif tag in ("th", "td"):
            self._column += 1

    def handle_endtag(self, tag: str) -> None:
        if self._mute:
            if tag == self._mute[-1]:
                self._mute.pop()
        elif tag in BLOCKS:
            self._flush()
            if tag in self._tags:
                while self._tags.pop() != tag:
                    pass

    def handle_data(self, data: str) -> None:
        if not self._mute:
            self._buffer.append(data)

    def close(self) -> None:
        super().close()
        self._flush()

    def _flush(self) -> None:
        text = " ".join("".join(self._buffer).split())
        self._buffer = []
        tag = self._tags[-1] if self._tags else ""
        if tag in ("th", "td"):
            self._cell(text)
        elif text:
            self._keep(self._place(tag, text), text)

    def _cell(self, text: str) -> None:
        if "thead" in self._tags:
            self._heads.append(text)
            self._keep(self._name("column"), text)
        elif self._column == 0:
            self._row = text
            self._keep(self._name("row"), text)
        else:
            known = self._column < len(self._heads)
            head = self._heads[self._column] if known else str(self._column)
            self._keep(self._name(self._row, head or str(self._column)), text)

    def _place(self, tag: str, text: str) -> str:
        if tag in HEADINGS:
            self._heading = text if tag in ("h3", "h4") else ""
            self._term = ""
            return self._name("heading")
        if tag == "dt":
            self._term = text
            return self._name("term")
        return self._name(self._term or "text")

    def _name(self, *parts: str) -> str:
        return " / ".join(part for part in (self._section, self._heading, *parts) if part)

    def _keep(self, name: str, text: str) -> None:
        number = self._taken[name] = self._taken.get(name, 0) + 1
        self.texts[f"{name} ({number})" if number > 1 else name] = text
