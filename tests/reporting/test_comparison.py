import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from quantseq.reporting.comparison import Comparison, render_comparison
from quantseq.reporting.printed import printed
from quantseq.reporting.run import Run
from quantseq.trading.performance import summarise

EVIL = "<script>alert('x')</script>"


def comparison(run: Run, labels: tuple[str, ...] = ("a", "b")) -> Comparison:
    growth = pd.DataFrame({name: run.daily("strategy_net") for name in labels})
    score = {"log_score": -2.5, "crps": 0.009, "coverage_90": 0.897, "pit_ks": 0.02, "n": 1200}
    test = {"run": labels[0], "rival": labels[1], "score": "crps", "step": 1}
    tests = [{**test, "t": -2.5, "p": 0.012, "n_days": 1200}]
    return Comparison(
        runs=dict.fromkeys(labels, run),
        growth=growth,
        sessions={name: {"sessions": len(growth), "merged": 0, "dropped": 0} for name in labels},
        metrics={name: summarise(growth[name]) for name in labels},
        against={n: {"sharpe_difference": 0.0, "interval": [-0.4, 0.4]} for n in labels[1:]},
        scores=dict.fromkeys(labels, score),
        rows=dict.fromkeys(labels, (6000, 6295)),
        tests=tests,
        settings={"seed": {name: str(place) for place, name in enumerate(labels)}},
        data={},
    )


def test_the_page_says_what_was_compared(run: Run) -> None:
    page = render_comparison(comparison(run))
    assert page == render_comparison(comparison(run))
    texts = printed(page)
    assert texts["header / heading"] == "Comparison of 2 runs"
    place = "growth / Figures over the common sessions"
    assert texts[f"{place} / Sharpe ratio less the first's / b"] == "0.00 (−0.40 to +0.40)"
    assert texts["forecasts / Scores one step ahead / a / CRPS, bps"] == "90.00"
    tests = "forecasts / Is one better by more than noise? Diebold-Mariano t"
    assert texts[f"{tests} / a against b / step 1"] == "−2.5*"
    assert texts["settings / Settings that differ / seed / b"] == "1"
    assert texts["growth / text"] == "Every session of every run is in."
    assert "http:" not in page
    assert "https:" not in page


@pytest.mark.usefixtures("undrawn")
def test_foreign_text_is_shown_never_run(run: Run) -> None:
    page = render_comparison(comparison(run, (EVIL, "b")))
    assert EVIL not in page
    assert page.count("&lt;script&gt;") > 5


@pytest.mark.usefixtures("undrawn")
def test_what_is_not_common_is_said(run: Run) -> None:
    poor = replace(
        comparison(run),
        growth=pd.DataFrame(),
        rows={"a": (0, 5), "b": (0, 5)},
        settings={},
        data={"IBM": {"a": "1" * 64, "b": ""}},
        tests=[],
    )
    page = render_comparison(poor)
    texts = " ".join(printed(page).values())
    assert "have no common session" in texts
    assert "no forecast of the same symbol" in texts
    assert "prices differ" in texts
    assert not re.search(r"\b(nan|NaN|None|inf)\b", texts)


@pytest.mark.usefixtures("undrawn")
def test_five_runs_are_told_apart(run: Run) -> None:
    found = comparison(run, tuple("abcde"))
    page = render_comparison(found)
    keys = re.findall(r'<li><i class="([^"]+)"></i>([a-e])</li>', page)
    assert len({style for style, _ in keys}) == 5
    assert np.isfinite(found.metrics["e"]["sharpe"])
