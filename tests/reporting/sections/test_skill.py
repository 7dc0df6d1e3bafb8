from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantseq.reporting import words
from quantseq.reporting.page import Chart, Missing, Row, Section, Sheet
from quantseq.reporting.run import Run
from quantseq.reporting.sections import skill

pytestmark = pytest.mark.usefixtures("undrawn")


def _find(section: Section, key: str) -> Chart:
    for block in section.blocks:
        for part in block.blocks if isinstance(block, Row) else [block]:
            if isinstance(part, Chart) and part.key == key:
                return part
    raise AssertionError(key)


def _forecast(run: Run, **entries: Any) -> dict[str, Any]:
    return {**run.result["forecast"], **entries}


def test_models_are_listed_best_first_and_ours_is_marked(run: Run) -> None:
    sheet = skill.forecast(run).blocks[0]
    assert isinstance(sheet, Sheet)
    assert [row[0] for row in sheet.table.rows] == ["seq2seq", "reference", "ewma-t", "hist-vol"]
    assert sheet.table.strong == {0}
    assert "seq2seq is number 1 of 4" in sheet.reading


def test_a_model_without_score_comes_last(run: Run, with_result: Callable[..., Run]) -> None:
    models = {"broken": {"log_score": None}, **run.result["forecast"]["models"]}
    sheet = skill.forecast(with_result(forecast=_forecast(run, models=models))).blocks[0]
    assert isinstance(sheet, Sheet)
    assert list(sheet.table.rows[-1]) == ["broken"] + [words.DASH] * 8


def test_tests_are_read_out_with_sign_and_mark_not_only_colour(run: Run) -> None:
    sheet = skill.forecast(run).blocks[1]
    assert isinstance(sheet, Sheet)
    assert list(sheet.table.headers) == ["", "score", *(f"step {n}" for n in range(1, 6))]
    assert len(sheet.table.rows) == 6
    better, even = sheet.table.rows[2][2], sheet.table.rows[0][2]
    assert (str(better), better.tone) == ("−0.0040\np <0.001", "up3")
    assert (str(even), even.tone) == ("−0.0013\np 0.760", "")
    assert str(sheet.table.rows[3][2]).startswith("−0.04\n")
    assert sheet.more is not None
    assert len(sheet.more.rows) == 30


def test_a_clearly_worse_model_is_said(run: Run, with_result: Callable[..., Run]) -> None:
    worse = {"model": "a", "rival": "b", "score": "crps", "step": 1, "t": 3.0, "p": 0.003}
    odd = {"model": "a", "rival": "b", "score": "mine", "step": 2, "t": None, "p": None}
    sheet = skill.forecast(with_result(forecast=_forecast(run, tests=[worse, odd]))).blocks[1]
    assert isinstance(sheet, Sheet)
    assert "0 clearly better (blue), 1 clearly worse (orange), 1 undecided" in sheet.reading
    assert str(sheet.table.rows[0][2]) == f"{words.DASH}\np 0.003"
    assert sheet.table.rows[0][2].tone == "down3"
    assert str(sheet.table.rows[1][3]) == f"{words.DASH}\np {words.DASH}"


def test_a_difference_that_is_printed_as_0_is_not_clear(
    run: Run, with_result: Callable[..., Run]
) -> None:
    sure = {"model": "a", "rival": "b", "score": "crps", "t": 5.2, "p": 1e-7}
    gaps = (2e-11, 4.9e-7, 6e-7)
    tests = [{**sure, "step": n, "mean_difference": gap} for n, gap in enumerate(gaps)]
    sheet = skill.forecast(with_result(forecast=_forecast(run, tests=tests))).blocks[1]
    assert isinstance(sheet, Sheet)
    assert [cell.tone for cell in sheet.table.rows[0][2:]] == ["", "", "down3"]
    assert "0 clearly better (blue), 1 clearly worse (orange), 2 undecided" in sheet.reading


@pytest.mark.parametrize(
    ("skilled", "text"),
    [
        (0.0123, "added 0.0123 nats a day to"),
        (-0.0123, "lost 0.0123 nats a day against"),
        (1e-6, "added nothing measurable"),
    ],
)
def test_the_networks_own_contribution_is_put_in_words(
    run: Run, with_result: Callable[..., Run], skilled: float, text: str
) -> None:
    lead = skill.forecast(with_result(forecast=_forecast(run, skill_nats=skilled))).lead
    assert text in lead
    assert f"Validation kept 28{words.SPACE}%" in lead


def test_coverage_reads_the_band_and_the_largest_miss(
    run: Run, with_result: Callable[..., Run]
) -> None:
    models = {"seq2seq": {"coverage_50": 0.49, "coverage_80": 0.77, "coverage_90": 0.903}}
    section = skill.forecast(with_result(forecast={"models": models}))
    reading = _find(section, "coverage").reading
    assert f"The 90{words.SPACE}% band held 90.3{words.SPACE}% of the days" in reading
    assert f"−3.0 points, at 80{words.SPACE}%" in reading


def test_the_pit_counts_every_outcome_once(run: Run) -> None:
    table = _find(skill.forecast(run), "pit").table
    assert table is not None
    counts = [int(str(row[1]).replace(",", "")) for row in table.rows]
    first = run.forecasts.loc[run.forecasts["step"] == 1, "pit"]
    assert sum(counts) == first.notna().sum()


def test_the_gallery_is_the_best_the_middle_and_the_worst_by_crps(run: Run) -> None:
    section = skill.forecast(run)
    worst = _find(section, "fan-worst")
    mean = run.forecasts.groupby(["symbol", "cutoff"])["crps"].mean()
    symbol, cutoff = mean.idxmax()
    assert worst.title == f"Worst: {symbol}"
    assert f"From {cutoff:%Y-%m-%d} on" in worst.reading
    assert _find(section, "fan-best").title.startswith("Best: ")
    assert _find(section, "fan-median").table is not None


def test_a_fan_starts_at_the_cutoffs_close_and_ends_where_the_price_went(run: Run) -> None:
    ranked = skill._ranked(run)
    symbol, cutoff = ranked.index[0]
    fan = skill._fan(run, symbol, cutoff, skill._fan_columns(run))
    closes = run.daily(f"close:{symbol}")
    assert closes is not None
    assert fan.closes[-1] == closes.loc[cutoff]
    after = closes.loc[cutoff:].iloc[1:6].to_numpy()
    assert fan.realised is not None
    np.testing.assert_allclose(fan.realised, after, rtol=1e-12)
    np.testing.assert_allclose(fan.levels, [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
    assert (np.diff(fan.prices, axis=1) > 0).all()


def test_only_forecasts_with_outcome_and_history_are_picked(run: Run) -> None:
    ranked = skill._ranked(run)
    unknown = run.forecasts.loc[run.forecasts["realised"].isna()]
    assert not set(zip(unknown["symbol"], unknown["cutoff"], strict=True)) & set(ranked.index)
    earliest = ranked.index.get_level_values("cutoff").min()
    assert earliest == run.equity["session"].iloc[skill.LEAST_HISTORY - 1]


@pytest.mark.parametrize("what", ["cum", "closes", "crps", "rows", "columns"])
def test_what_is_missing_is_said(run: Run, what: str) -> None:
    frame, equity = run.forecasts, run.equity
    changes: dict[str, Any] = {
        "cum": {"forecasts": frame.drop(columns=[c for c in frame if c.startswith("cum")])},
        "closes": {"equity": equity.drop(columns=[c for c in equity if c.startswith("close")])},
        "crps": {"forecasts": frame.assign(crps=np.nan)},
        "rows": {"forecasts": frame.head(0)},
        "columns": {"forecasts": frame[["symbol", "cutoff", "step"]]},
    }
    bare = replace(run, **changes[what])
    assert isinstance(skill.forecast(bare).blocks[-1], Missing)


def test_a_run_without_any_forecast_results_says_so(
    run: Run, with_result: Callable[..., Run]
) -> None:
    empty = replace(with_result(forecast=None, folds=None), forecasts=run.forecasts.head(0))
    section = skill.forecast(empty)
    assert section.lead == ""
    assert all(isinstance(block, Missing) for block in section.blocks)
