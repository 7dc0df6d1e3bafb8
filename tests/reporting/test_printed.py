import re

from quantseq.reporting.printed import printed
from quantseq.reporting.render import render
from quantseq.reporting.run import Run

PAGE = """<html><head><title>T</title><style>p { x: 1 }</style></head><body>
<header><h1>Name</h1><div class="verdict"><strong>No edge</strong><p>Sharpe <b>0.79</b> on
<time>2010-01-04</time></p></div></header>
<main><section id="risk"><h2>Risk</h2><p>lead 1</p>
<dl><div class="card"><dt>CAGR</dt><dd class="value">+9.0&nbsp;%</dd><dd>95 %: 1 to 2</dd></div></dl>
<figure><h3>Falls</h3><div><svg><title>5</title><g><text>6</text></g></svg></div>
<table><thead><tr><th></th><th>low</th><th>low</th></tr></thead>
<tbody><tr><th>AAPL</th><td>1.0</td><td>2.0</td></tr></tbody></table></figure>
<script>var x = "7";</script></section></main><footer><p>end</p></footer></body></html>"""


def test_texts_stand_under_the_names_of_their_places() -> None:
    assert printed(PAGE) == {
        "text": "T",
        "header / text": "No edge",
        "header / heading": "Name",
        "header / text (2)": "Sharpe 0.79 on 2010-01-04",
        "risk / heading": "Risk",
        "risk / text": "lead 1",
        "risk / term": "CAGR",
        "risk / CAGR": "+9.0 %",
        "risk / CAGR (2)": "95 %: 1 to 2",
        "risk / Falls / heading": "Falls",
        "risk / Falls / column": "",
        "risk / Falls / column (2)": "low",
        "risk / Falls / column (3)": "low",
        "risk / Falls / row": "AAPL",
        "risk / Falls / AAPL / low": "1.0",
        "risk / Falls / AAPL / low (2)": "2.0",
        "footer / text": "end",
    }


def test_no_text_of_a_real_page_is_lost(run: Run) -> None:
    page = render(run)
    found = printed(page)
    bare = re.sub(r"<(svg|style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    digits = re.sub(r"\D", "", re.sub(r"<[^>]*>|&#?\w+;", "", bare))
    assert re.sub(r"\D", "", "".join(found.values())) == digits
    assert found["figures / Sharpe ratio"].startswith(("+", "−"))
    assert "risk / Every figure / Sharpe ratio / strategy" in found
