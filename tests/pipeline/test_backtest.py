import json
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantseq.config import PolicyConfig, RunConfig
from quantseq.errors import LeakageError, NotEnoughDataError, StorageError
from quantseq.evaluation.scores import at_step
from quantseq.evaluation.significance import diebold_mariano
from quantseq.evaluation.walkforward import WalkForward
from quantseq.files import Places
from quantseq.forecasting import forecaster
from quantseq.forecasting.calibration import Shrinkage
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Bars, Panel
from quantseq.pipeline.backtest import (
    BacktestOutcome,
    Traded,
    _notes,
    backtest,
    describe_backtest,
    settled,
)
from quantseq.pipeline.evaluate import model_fold
from quantseq.pipeline.results import _free
from quantseq.pipeline.sweep import sweep
from quantseq.progress import Progress
from quantseq.reporting.render import write_report
from quantseq.reporting.run import TABLES
from quantseq.trading.backtest import buy_and_hold
from quantseq.trading.benchmarks import BENCHMARKS
from quantseq.trading.inference import expected_best_sharpe, min_track_record, psr, spa
from quantseq.trading.ledger import check_returns, kept_heads, read
from quantseq.trading.metrics import METRICS
from quantseq.trading.policies import POLICIES
from tests.forecasting.broken import only_closes

SMALL_FORECASTER = ForecasterConfig(members=1, epochs=1, horizon=3)


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """For runs whose page nobody reads: drawing it takes most of their time."""
    monkeypatch.setattr("quantseq.pipeline.backtest.write_report", lambda *_: None)


def test_the_run_folder_is_complete(small_run: BacktestOutcome) -> None:
    assert {path.name for path in small_run.folder.iterdir()} == {
        "manifest.json",
        "result.json",
        *(f"{name}.parquet" for name in TABLES),
        "SHA256SUMS",
        "report.html",
    }
    assert small_run.report.read_text().startswith("<!doctype html>") or (
        "<html" in small_run.report.read_text()[:200].lower()
    )


def test_a_backtest_offers_its_figures_and_shows_itself(small_run: BacktestOutcome) -> None:
    shown = small_run.figures()
    assert {"equity", "drawdown"} <= set(shown)
    np.testing.assert_allclose(
        shown["equity"].frame.iloc[-1, 0],
        (1 + small_run.run.equity["strategy_net"]).prod(),
        rtol=1e-12,
    )
    text = small_run._repr_html_()
    assert small_run.verdict["sentence"][:20] in unescape(text)
    assert str(small_run.report) in text


def test_the_manifest_says_how_to_run_it_again(
    small_run: BacktestOutcome, small_panel: Panel
) -> None:
    manifest = json.loads((small_run.folder / "manifest.json").read_text())
    assert manifest["command"] == "quantseq backtest IBM MSFT"
    assert manifest["data"]["IBM"]["sha256"] == small_panel["IBM"].sha256
    assert manifest["sample_data"] is True
    assert RunConfig.from_mapping(manifest["config"]).seed == 7
    assert {"python", "torch", "numpy"} <= set(manifest["versions"])


def test_every_fold_is_tested_on_sessions_it_never_saw(small_run: BacktestOutcome) -> None:
    frame = small_run.run.forecasts
    for fold in small_run.evaluation.folds:
        cutoffs = frame.loc[frame["fold"] == fold.number, "cutoff"]
        assert cutoffs.min() >= pd.Timestamp(str(fold.test_start))
        assert cutoffs.max() <= pd.Timestamp(str(fold.test_end))
        assert fold.validation_end < fold.test_start


def test_the_benchmark_starts_at_the_same_fill(
    small_run: BacktestOutcome, small_panel: Panel
) -> None:
    held, traded = small_run.benchmark, small_run.strategy
    np.testing.assert_array_equal(held.sessions, traded.sessions)
    again = buy_and_hold(small_panel, ["IBM", "MSFT"], traded.sessions[0], traded.sessions[-1])
    np.testing.assert_array_equal(again.returns_net, held.returns_net)


def test_rivals_attribution_and_gap_are_stored_and_agree(small_run: BacktestOutcome) -> None:
    result, equity = small_run.run.result, small_run.run.equity
    assert list(result["benchmarks"]) == list(BENCHMARKS)
    for name, one in result["benchmarks"].items():
        sharpe = METRICS["sharpe"](equity[f"benchmark:{name}"], periods=small_run.run.periods)
        assert sharpe == pytest.approx(one["metrics"]["sharpe"], rel=1e-12)
    np.testing.assert_array_equal(equity["benchmark:buy_and_hold"], equity["buy_and_hold"])
    total = sum(one["total"] for one in result["attribution"])
    assert total == pytest.approx(result["metrics"]["strategy"]["total_return"], abs=1e-12)
    assert 0 < result["overnight_gap"]["of_forecast"] < 1
    assert any("before the fill" in note for note in result["notes"])
    page = small_run.report.read_text()
    assert "Against simple rules" in page
    assert "Where the profit came from" in page


def test_every_backtest_stands_in_the_ledger(small_run: BacktestOutcome) -> None:
    ledger = read(small_run.folder.parent / "ledger.jsonl")
    assert ledger.verify() is None
    assert ledger.entries[0]["run_id"] == small_run.run.manifest["run_id"]
    assert small_run.verdict["n_trials"] == 1


def test_the_summary_has_the_documented_keys(small_run: BacktestOutcome) -> None:
    result = small_run.to_json()
    assert {"verdict", "metrics", "folds", "forecast", "gate", "report", "manifest"} <= set(result)
    assert {"seq2seq", "har-pooled-t", "ewma-t", "hist-vol"} == set(result["forecast"]["models"])
    assert {"sharpe", "cagr", "max_drawdown"} <= set(result["metrics"]["strategy"])
    assert any("Sharpe" in line for line in describe_backtest(small_run))


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_the_number_of_processes(
    small_run: BacktestOutcome,
    small_panel: Panel,
    with_gate: Callable[[Path], None],
    tmp_path: Path,
) -> None:
    config = RunConfig.from_mapping(small_run.run.manifest["config"])
    places = Places(tmp_path / "data", tmp_path / "reports")  # with a cache of its own
    with_gate(places.data)
    again = backtest(small_panel, config=config, places=places, jobs=2)
    for name in TABLES:
        first, second = getattr(small_run.run, name), getattr(again.run, name)
        pd.testing.assert_frame_equal(first, second, check_exact=True)
        one, two = (run.folder / f"{name}.parquet" for run in (small_run, again))
        assert one.read_bytes() == two.read_bytes()


def with_another_future(panel: Panel, after: np.datetime64) -> Panel:
    """The same bars up to `after`, then prices of another world."""
    changed = []
    for bars in panel.values():
        frame = bars.to_frame()
        late = frame.index > pd.Timestamp(str(after))
        noise = np.exp(np.random.default_rng(1).normal(0, 0.2, late.sum()).cumsum())
        for name in ("open", "high", "low", "close", "adj_close"):
            frame.loc[late, name] = frame.loc[late, name] * noise
        frame.loc[late, "volume"] = frame.loc[late, "volume"] * 10
        changed.append(Bars.from_frame(bars.symbol, frame, timezone=bars.timezone))
    return Panel(changed)


@pytest.mark.slow
@pytest.mark.usefixtures("no_page")
def test_rewriting_the_future_changes_no_bit_of_the_past(
    small_run: BacktestOutcome,
    small_panel: Panel,
    with_gate: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whatever validation says, half of the network takes part, so that its law is tested too.
    monkeypatch.setattr(forecaster, "choose_shrinkage", lambda *_: Shrinkage(0.5, 0.0))
    cut = small_run.evaluation.folds[0].test_end - np.timedelta64(60, "D")
    config = RunConfig.from_mapping(small_run.run.manifest["config"])
    places = Places(tmp_path / "data", tmp_path / "reports")  # the cache knows no patched choice
    with_gate(places.data)
    one = backtest(small_panel, config=config, places=places)
    other = backtest(with_another_future(small_panel, cut), config=config, places=places)
    first = one.evaluation.forecasts["seq2seq"]
    second = other.evaluation.forecasts["seq2seq"]
    assert np.ptp(first.density.probs, axis=-1).max() > 0
    early = first.cutoffs <= cut
    assert 50 < early.sum() < len(early)
    np.testing.assert_array_equal(first[early].density.probs, second[early].density.probs)
    np.testing.assert_array_equal(first[early].density.scale, second[early].density.scale)
    np.testing.assert_array_equal(first[early].cumulative, second[early].cumulative)
    before = one.run.weights["decision"] <= pd.Timestamp(str(cut))
    pd.testing.assert_frame_equal(
        one.run.weights[before], other.run.weights[before], check_exact=True
    )
    late = ~early
    assert (first[late].density.scale != second[late].density.scale).any()


@pytest.fixture(scope="module")
def model(small_panel: Panel) -> Seq2SeqForecaster:
    return Seq2SeqForecaster.fit(
        small_panel.until("2005-06-30"),
        train_until="2004-12-31",
        validate_from="2005-01-10",
        config=SMALL_FORECASTER,
    )


@pytest.mark.usefixtures("no_page")
def test_a_trained_model_is_scored_after_its_training_data_only(
    model: Seq2SeqForecaster, small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    places = Places(gates.parent.parent, tmp_path)
    outcome = backtest(small_panel, model=model, places=places)
    first = outcome.run.forecasts["cutoff"].min()
    assert first > pd.Timestamp("2005-06-30")
    early = RunConfig(walk_forward=WalkForward(test_start="2005-06-30"))
    with pytest.raises(LeakageError, match="has seen data until 2005-06-30"):
        backtest(small_panel, model=model, config=early, places=places)


@pytest.mark.usefixtures("no_page")
def test_the_run_of_a_trained_model_tells_of_that_model(
    model: Seq2SeqForecaster, small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    outcome = backtest(small_panel, model=model, places=Places(gates.parent.parent, tmp_path))
    manifest = outcome.run.manifest
    assert manifest["config"]["forecaster"]["horizon"] == model.config.horizon
    assert manifest["model"]["tokenizer"] == model.task.tokenizer.fingerprint
    fold = outcome.run.result["folds"][0]
    assert fold["validation_start"] == "2005-01-10"
    with pytest.raises(NotEnoughDataError, match="after the model's training block"):
        model_fold(small_panel.between("2005-03-01"), model, WalkForward())


def test_the_purge_covers_the_horizon_of_a_trained_model(
    model: Seq2SeqForecaster, small_panel: Panel, capsys: pytest.CaptureFixture[str]
) -> None:
    short = RunConfig(forecaster=ForecasterConfig(horizon=1), walk_forward=WalkForward(purge=1))
    chosen = settled(short, small_panel, model, Progress(quiet=False))
    assert (chosen.forecaster, chosen.walk_forward.purge) == (model.config, 3)
    assert "purge is raised from 1 to 3 sessions" in capsys.readouterr().err
    assert settled(chosen, small_panel, model, Progress(quiet=False)) == chosen
    assert not capsys.readouterr().err


def test_a_network_that_was_thrown_away_is_level_with_its_reference(
    small_panel: Panel, gates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecaster, "choose_shrinkage", lambda *_: Shrinkage(0.0, 0.0))
    config = RunConfig(
        forecaster=SMALL_FORECASTER,
        walk_forward=WalkForward(test_size=150, validation_size=120, min_train=500, purge=3),
    )
    outcome = backtest(small_panel, config=config, places=Places(gates.parent.parent, tmp_path))
    tests = [
        one for one in outcome.run.result["forecast"]["tests"] if one["baseline"] == "har-pooled-t"
    ]
    assert {(one["t"], one["p"]) for one in tests} == {(0.0, 1.0)}
    assert "level with har-pooled-t" in outcome.report.read_text()


def test_the_tests_can_be_recomputed_from_the_run_folder(small_run: BacktestOutcome) -> None:
    ours, theirs = (at_step(small_run.run.scores, name, 1) for name in ("seq2seq", "ewma-t"))
    shown = next(
        one
        for one in small_run.run.result["forecast"]["tests"]
        if (one["baseline"], one["score"], one["step"]) == ("ewma-t", "crps", 1)
    )
    again = diebold_mariano(
        ours["crps"].to_numpy(),
        theirs["crps"].to_numpy(),
        ours["cutoff"].to_numpy().astype("datetime64[D]"),
    )
    assert again.t == pytest.approx(shown["t"], rel=1e-12)


@pytest.mark.usefixtures("no_page")
def test_a_symbol_that_is_too_short_is_told(
    small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    short = replace(small_panel["IBM"].between("2006-10-01"), symbol="YOUNG")
    panel = Panel([*small_panel.values(), short])
    config = RunConfig(
        forecaster=SMALL_FORECASTER,
        walk_forward=WalkForward(test_size=400, validation_size=120, min_train=500, purge=3),
    )
    outcome = backtest(panel, config=config, places=Places(gates.parent.parent, tmp_path))
    assert any(note.startswith("YOUNG: ") for note in outcome.run.result["notes"])


@pytest.mark.usefixtures("no_page")
def test_a_position_is_closed_when_its_price_stands_still(
    model: Seq2SeqForecaster, small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    bars = small_panel["IBM"]
    close, at = bars.close.copy(), len(bars) - 200
    close[at:] = close[at]
    panel = Panel([small_panel["MSFT"], only_closes(bars, close)])
    outcome = backtest(
        panel, model=model, places=Places(gates.parent.parent, tmp_path), allow_bad_data=True
    )
    rows = outcome.run.forecasts
    last = rows.loc[rows["symbol"] == "IBM", "cutoff"].max()
    assert pd.Timestamp(str(bars.sessions[at])) < last < pd.Timestamp(str(bars.sessions[at + 48]))
    assert any(
        note.startswith("IBM: its price stood still") for note in outcome.run.result["notes"]
    )
    weights = outcome.run.weights.pivot_table(index="decision", columns="symbol", values="weight")
    assert np.isfinite(weights.to_numpy()).all()
    assert (weights["IBM"].iloc[-100:] == 0).all()


def test_two_runs_of_one_second_get_two_folders(small_run: BacktestOutcome, tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    assert _free(tmp_path, "name") == "name-2"
    assert _free(tmp_path, "other") == "other"


def test_a_model_without_later_prices_cannot_be_scored(
    model: Seq2SeqForecaster, small_panel: Panel
) -> None:
    with pytest.raises(NotEnoughDataError, match="nothing is left to test"):
        model_fold(small_panel.until("2005-06-30"), model, WalkForward())


def test_too_little_history_names_what_is_missing(
    small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    places = Places(gates.parent.parent, tmp_path)
    with pytest.raises(NotEnoughDataError, match="leave no room"):
        backtest(small_panel.until("2004-06-30"), places=places)
    assert not any(tmp_path.iterdir())


def test_each_fold_refits_everything(small_run: BacktestOutcome) -> None:
    found = small_run.evaluation
    fits = [one["tokenizer"] for one in found.details["seq2seq"]]
    assert len(set(fits)) == len(fits) > 1
    for fold, fitted in zip(found.folds, found.fitted["seq2seq"], strict=True):
        assert fitted.trained_until == fold.validation_end


def test_whether_it_is_luck_can_be_recomputed_from_the_run_folder(
    small_run: BacktestOutcome,
) -> None:
    found, equity = small_run.run.result["verdict"], small_run.run.equity
    names = [f"policy:{name}" for name in POLICIES if name != "kelly"]
    rules = [
        f"benchmark:{name}" for name in BENCHMARKS if name not in ("buy_and_hold", "random_entry")
    ]
    assert found["spa_over"] == ["strategy_net", *names, *rules]
    tried, net = equity[found["spa_over"]].to_numpy(), equity["strategy_net"]
    held = equity["buy_and_hold"].to_numpy()
    assert spa(tried, held, seed=7) == pytest.approx(found["spa_p"], abs=1e-12)
    best = expected_best_sharpe(found["n_trials"], found["trial_sd"])
    assert psr(net, benchmark_sharpe=best) == pytest.approx(found["dsr"], rel=1e-12)
    assert found["min_track_record"] == min_track_record(net)
    assert [one["n"] for one in found["dsr_curve"]] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    assert found["audit_passed"] is small_run.run.result["audit"]["passed"]
    assert not found["edge"]
    lines = describe_backtest(small_run)
    assert any(line.startswith("Luck: PSR ") and "over 12 rules" in line for line in lines)
    assert any(line.startswith("Break-even cost: ") for line in lines)


def test_the_ledger_names_the_returns_and_a_run_keeps_its_head(small_run: BacktestOutcome) -> None:
    reports = small_run.folder.parent
    (entry,) = read(reports / "ledger.jsonl").entries
    assert check_returns(reports, entry) == "kept"
    assert entry["label"] == small_run.run.manifest["title"]
    assert kept_heads(reports) == {small_run.folder.name: entry["hash"]}


@pytest.mark.slow
def test_a_ledger_that_was_cut_is_told_and_rendering_again_changes_nothing(
    model: Seq2SeqForecaster, small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    places = Places(gates.parent.parent, tmp_path)
    first = backtest(small_panel, model=model, places=places)
    before = first.report.read_bytes()
    places.ledger.unlink()
    second = backtest(small_panel, model=model, places=places)
    told = second.run.result["verdict"]["ledger"]
    assert f"that {first.folder.name} saw" in told
    assert "is gone" in told
    assert second.verdict["n_trials"] == 1
    write_report(first.folder)
    assert first.report.read_bytes() == before  # N and spread are frozen in the run


SMALL = RunConfig(
    forecaster=ForecasterConfig(members=1, epochs=1, horizon=3),
    walk_forward=WalkForward(test_size=150, validation_size=120, min_train=500, purge=3),
    num_paths=20,
    seed=7,
)


def elsewhere(bars: Bars) -> Bars:
    """The same stock on another exchange: closed on days of its own, open on New York's holidays."""
    frame = bars.to_frame()
    own = pd.bdate_range(frame.index[0], frame.index[-1]).difference(frame.index)
    frame = frame[np.random.default_rng(0).random(len(frame)) > 0.06]
    added = frame.reindex(own, method="ffill").assign(dividends=0.0, splits=0.0)
    return Bars.from_frame("7203.T", pd.concat([frame, added]).sort_index(), timezone="Asia/Tokyo")


@pytest.mark.usefixtures("no_page")
def test_exchanges_with_different_calendars_are_traded_on_the_union_and_counted(
    small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    panel = Panel([small_panel["IBM"], elsewhere(small_panel["MSFT"])])
    assert not set(panel["7203.T"].sessions) <= set(panel["IBM"].sessions)
    outcome = backtest(panel, config=SMALL, places=Places(gates.parent.parent, tmp_path))
    strategy, notes = outcome.strategy, outcome.run.result["notes"]
    assert strategy.carried > 0 < strategy.delayed_orders
    assert f"{strategy.carried} times a position was marked at an old price for want" in str(notes)
    assert f"{strategy.delayed_orders} orders met no bar and waited for the symbol's" in str(notes)
    tested = panel.sessions[panel.sessions > outcome.evaluation.folds[0].test_start]
    assert (
        strategy.sessions.tolist() == tested.tolist()
    )  # no session of either exchange is left out


def test_an_account_that_is_ruined_ends_and_the_run_says_when(
    small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    """Long IBM for half, short MSFT for half; MSFT opens at five times its close."""
    config = replace(SMALL, policy=PolicyConfig("rank"))
    day = np.datetime64("2006-04-17")
    frame = small_panel["MSFT"].to_frame()
    frame.loc[frame.index > pd.Timestamp(day), ["open", "high", "low", "close", "adj_close"]] *= 5
    jumped = Bars.from_frame("MSFT", frame, timezone=small_panel["MSFT"].timezone)
    outcome = backtest(
        Panel([small_panel["IBM"], jumped]),
        config=config,
        places=Places(gates.parent.parent, tmp_path),
        allow_bad_data=True,
    )
    strategy, result = outcome.strategy, outcome.run.result
    assert strategy.weights.loc[pd.Timestamp(day), "MSFT"] < -0.4
    assert strategy.ruined == np.datetime64("2006-04-18")
    assert "The account was ruined on 2006-04-18; trading stopped there." in result["notes"]
    assert (strategy.equity[strategy.sessions > day] == 0).all()
    assert result["metrics"]["strategy"]["max_drawdown"] == pytest.approx(-1.0)
    assert not outcome.verdict["edge"]
    assert "The account was ruined on" in outcome.report.read_text(encoding="utf-8")


def test_symbols_that_never_trade_at_one_time_are_refused_where_a_block_is_empty(
    small_panel: Panel, gates: Path, tmp_path: Path
) -> None:
    ibm, msft = small_panel["IBM"].until("2004-12-31"), small_panel["MSFT"].between("2005-01-03")
    places = Places(gates.parent.parent, tmp_path)
    with pytest.raises(NotEnoughDataError, match="0 early-stopping and 0 shrinkage windows"):
        backtest(Panel([ibm, msft]), config=SMALL, places=places)


def test_what_happened_once_is_told_in_the_singular(
    small_run: BacktestOutcome, small_panel: Panel
) -> None:
    one = replace(
        small_run.strategy,
        **dict.fromkeys(
            (
                *("delayed_orders", "dropped_orders", "completed_orders", "capped_orders"),
                *("liquidated", "carried", "scaled_sessions"),
            ),
            1,
        ),
    )
    traded = Traded(pd.DataFrame(), one, None, {}, {"of_forecast": np.nan}, {})
    notes = _notes(small_panel, traded, small_run.evaluation)
    assert [note.split()[:2] for note in notes[-7:]] == [
        ["1", noun] for noun in ("order", "order", "rest", "time", "position", "time", "session")
    ]
    assert "1 time the volume of a session cut an order or its rest." in notes


def test_a_file_that_is_no_ledger_is_refused_before_anything_is_computed(
    small_panel: Panel, tmp_path: Path
) -> None:
    places = Places(tmp_path / "data", tmp_path / "reports")
    places.reports.mkdir()
    places.ledger.write_text("my diary\n")
    with pytest.raises(StorageError, match="does not begin with a line"):
        backtest(small_panel, places=places)
    with pytest.raises(StorageError, match="does not begin with a line"):
        sweep(small_panel, places=places)
    assert places.ledger.read_text() == "my diary\n"
    assert not places.cache.exists()
