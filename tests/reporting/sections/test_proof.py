from collections.abc import Callable
from dataclasses import replace

from quantseq.reporting import words
from quantseq.reporting.page import Facts, Missing, Notes, Sheet
from quantseq.reporting.render import render
from quantseq.reporting.run import Run
from quantseq.reporting.sections import proof
from quantseq.trading.performance import METRICS


def test_every_figure_of_the_registry_is_defined(run: Run) -> None:
    sheet = proof.definitions(run).blocks[0]
    assert isinstance(sheet, Sheet)
    assert [row[0] for row in sheet.table.rows] == [metric.label for metric in METRICS.values()]
    sharpe = next(row for row in sheet.table.rows if row[0] == "Sharpe ratio")
    metric = METRICS["sharpe"]
    assert list(sharpe)[1:] == [metric.formula, "ratio", "1", metric.annualisation, metric.source]
    assert "A = 252 sessions" in proof.definitions(run).lead


def test_notes_are_listed_or_their_absence_is(run: Run, with_result: Callable[..., Run]) -> None:
    assert isinstance(proof.notes(run).blocks[0], Notes)
    assert isinstance(proof.notes(with_result(notes=[])).blocks[0], Missing)


def test_findings_on_the_prices_are_a_table_by_rule(with_result: Callable[..., Run]) -> None:
    def found(symbol: str, severity: str, rule: str, count: int, day: str) -> dict[str, object]:
        message = "<b>bad</b>"
        return {
            "symbol": symbol,
            "severity": severity,
            "rule": rule,
            "count": count,
            "sessions": [day],
            "message": message,
        }

    many = [found(f"S{i}", "warning", "jump", 2, f"2020-01-{10 + i}") for i in range(8)]
    run = with_result(data_findings=[*many, found("IBM", "error", "ohlc", 1, "2020-02-03")])
    sheet = proof.notes(run).blocks[-1]
    assert isinstance(sheet, Sheet)
    assert [list(row)[:5] for row in sheet.table.rows] == [
        ["error", "ohlc", "IBM", "1", "2020-02-03"],
        ["warning", "jump", "S0, S1, S2, S3, S4, S5 and 2 more", "16", "2020-01-10"],
    ]
    assert "<b>bad" not in render(run)
    clean = proof.notes(with_result(data_findings=[])).blocks[-1]
    assert isinstance(clean, Notes)


def test_the_manifest_shows_hashes_whole_and_settings_flat(run: Run) -> None:
    facts, data, config = proof.manifest(run).blocks
    assert isinstance(facts, Facts)
    assert dict(facts.items)["Git commit"] == words.DASH
    assert dict(facts.items)["Command"] == "quantseq demo --seed 0"
    assert isinstance(data, Sheet)
    assert data.table.rows[0][-1] == run.manifest["data"]["AAPL"]["sha256"]
    assert isinstance(config, Sheet)
    assert dict(config.table.rows) == {
        "seed": "0",
        "policy.name": "kelly",
        "policy.fraction": "0.5",
        "symbols": "AAPL, GOOG, IBM, MSFT",
    }


def test_an_unrecorded_manifest_is_said(run: Run) -> None:
    core = {
        key: run.manifest[key] for key in ("run_id", "title", "symbols", "test_start", "test_end")
    }
    facts, *rest = proof.manifest(replace(run, manifest=core)).blocks
    assert isinstance(facts, Facts)
    assert dict(facts.items)["Seeds"] == words.DASH
    assert all(isinstance(block, Missing) for block in rest)


def test_the_manifest_names_the_ledger_it_was_judged_by(
    run: Run, with_result: Callable[..., Run]
) -> None:
    def ledger(one: Run) -> str:
        facts = proof.manifest(one).blocks[0]
        assert isinstance(facts, Facts)
        return dict(facts.items)["Ledger at this run"]

    assert ledger(run) == run.result["verdict"]["ledger_head"]
    assert ledger(with_result(verdict=None)) == words.DASH
