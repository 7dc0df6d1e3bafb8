"""One loop: the same bits for any number of jobs, resumed where it stopped, blind to the future, deaf to leaks."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantseq.errors import ConfigError, LeakageError, NotEnoughDataError
from quantseq.evaluation import run as module
from quantseq.evaluation.run import (
    Evaluation,
    ModelSpec,
    baseline,
    code_fingerprint,
    run,
    use_fitted,
)
from quantseq.evaluation.walkforward import Fold, WalkForward, fold_between
from quantseq.forecasting.baselines import fit_baseline
from quantseq.forecasting.forecasts import Forecaster
from quantseq.market.bars import Panel
from tests.prices import loud_forecaster, recent_prices, rewrite_after, simulate_panel

PANEL = simulate_panel("AB", 440)
SPLITTER = WalkForward(test_size=40, validation_size=30, purge=3, min_train=250)
FOLDS = SPLITTER.split(PANEL.sessions)
DRAWS = {"horizon": 2, "num_paths": 10, "seed": 5}
NAMES = ("ewma-t", "bootstrap", "hist-vol")


@dataclass(frozen=True)
class Fit:
    """Fits a baseline, and leaves a line in a file each time."""

    name: str
    log: Path | None = None

    def __call__(self, panel: Panel, fold: Fold, seed: int, jobs: int) -> Forecaster:
        assert panel.sessions[0] == fold.train_start
        assert panel.sessions[-1] == fold.validation_end
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{self.name} {fold.number}\n")
        return fit_baseline(self.name, panel.until(fold.train_end), horizon=2, jobs=jobs)


def models(log: Path | None = None) -> list[ModelSpec]:
    return [ModelSpec(name, Fit(name, log), parallel=name == "ewma-t") for name in NAMES]


def travelling(fit: Callable[[str, Panel, int], Forecaster] | None = None) -> list[ModelSpec]:
    """The same models by local functions, which travel to other processes by value."""

    def spec(name: str) -> ModelSpec:
        def local(panel: Panel, fold: Fold, seed: int, jobs: int) -> Forecaster:
            return fit_baseline(name, panel.until(fold.train_end), horizon=2, jobs=jobs)

        return ModelSpec(name, local, parallel=name == "ewma-t")

    return [spec(name) for name in NAMES]


def same(one: Evaluation, two: Evaluation) -> bool:
    pd.testing.assert_frame_equal(one.scores, two.scores, check_exact=True)
    return one.details == two.details


@pytest.fixture(scope="module")
def plain() -> Evaluation:
    return run(PANEL, models(), FOLDS, **DRAWS)


def test_all_are_scored_on_the_same_rows_of_every_fold(plain: Evaluation) -> None:
    key = ["symbol", "cutoff", "step", "fold", "realised"]
    parts = [part[key].reset_index(drop=True) for _, part in plain.scores.groupby("model")]
    tested = PANEL.sessions[PANEL.sessions >= FOLDS[0].test_start]
    assert len(parts[0]) == 2 * 2 * len(tested)
    for part in parts[1:]:
        pd.testing.assert_frame_equal(part, parts[0])
    for number, fold in enumerate(FOLDS):
        days = parts[0].loc[parts[0]["fold"] == number, "cutoff"]
        ends = days.min().to_datetime64(), days.max().to_datetime64()
        assert ends == (fold.test_start, fold.test_end)
    assert parts[0].sort_values(["cutoff", "symbol", "step"]).equals(parts[0])
    assert list(plain.scores["model"].unique()) == list(NAMES)
    assert len(plain.details["bootstrap"]) == len(FOLDS) == 4


def test_outcomes_are_what_followed_and_the_last_ones_are_unknown(plain: Evaluation) -> None:
    rows = plain.scores[(plain.scores["model"] == "ewma-t") & (plain.scores["symbol"] == "B")]
    returns, sessions = PANEL["B"].log_returns(), PANEL["B"].sessions
    place = np.searchsorted(sessions, rows["cutoff"].to_numpy().astype("datetime64[D]"))
    place = place + rows["step"].to_numpy()
    padded = np.concatenate([returns, np.full(2, np.nan)])
    np.testing.assert_array_equal(rows["realised"].to_numpy(), padded[place])
    assert rows["realised"].isna().sum() == 3
    assert rows["log_score"].isna().equals(rows["realised"].isna())


@pytest.mark.slow
def test_the_number_of_jobs_changes_no_bit() -> None:
    one, many = (run(PANEL, travelling(), FOLDS[:2], **DRAWS, jobs=jobs) for jobs in (1, 2))
    assert same(one, many)


def test_chunks_change_no_bit(plain: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_ROWS", 50)
    assert same(run(PANEL, models(), FOLDS, **DRAWS), plain)


def test_rewriting_a_test_block_changes_no_forecast_made_before_it(plain: Evaluation) -> None:
    cut = FOLDS[1].test_start
    other = run(rewrite_after(PANEL, cut, seed=1), models(), FOLDS, **DRAWS)
    early, late = (
        [one.scores[(one.scores["cutoff"] <= pd.Timestamp(cut)) == side] for one in (plain, other)]
        for side in (True, False)
    )
    for name in ("symbol", "cutoff", "mean", "prob_up"):
        np.testing.assert_array_equal(early[0][name], early[1][name])
    assert late[0]["mean"].sum() != late[1]["mean"].sum()


def test_an_interrupted_run_goes_on_with_what_is_missing(plain: Evaluation, tmp_path: Path) -> None:
    log, cache, done = tmp_path / "log", tmp_path / "cache", []

    def stop(name: str) -> None:
        done.append(name)
        if len(done) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(PANEL, models(log), FOLDS, **DRAWS, cache=cache, on_part=stop)
    first = len(log.read_text().splitlines())
    told: list[str] = []
    again = run(PANEL, models(log), FOLDS, **DRAWS, cache=cache, on_part=told.append)
    assert same(again, plain)
    assert len(told) == 12
    assert len(log.read_text().splitlines()) - first == 12 - 5
    before = log.read_text()
    assert same(run(PANEL, models(log), FOLDS, **DRAWS, cache=cache), plain)
    assert log.read_text() == before


def test_a_damaged_part_is_computed_again(plain: Evaluation, tmp_path: Path) -> None:
    run(PANEL, models(), FOLDS[:1], **DRAWS, cache=tmp_path)
    for number, part in enumerate(sorted(tmp_path.glob("*.scores"))):
        data = bytearray(part.read_bytes())
        data[len(data) // 2] ^= 1 << number  # one bit is enough
        part.write_bytes(data)
    again = run(PANEL, models(), FOLDS[:1], **DRAWS, cache=tmp_path).scores
    first = plain.scores[plain.scores["fold"] == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, first, check_exact=True)


def test_a_kept_model_is_sealed_with_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Saved:
        def save(self, path: Path) -> None:
            path.write_text("forecasts")

    def save(folder: Path, model: object) -> None:
        (folder / "member-0").mkdir(parents=True)
        (folder / "member-0" / "weights").write_text("1")

    monkeypatch.setattr("quantseq.forecasting.model_folder.save_forecaster", save)
    part = module._Part(pd.DataFrame({"x": [1.0]}), {}, Saved(), object())  # type: ignore[arg-type]
    place = module._keep(part, tmp_path / "net")
    assert module._is_kept(place)
    weights = tmp_path / "net.model" / "member-0" / "weights"
    weights.write_text("2")
    assert not module._is_kept(place)
    weights.unlink()
    assert not module._is_kept(place)


@pytest.mark.parametrize("what", ["seed", "data", "fold", "key", "keep", "code"])
def test_whatever_decides_the_numbers_decides_the_part(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, panel, fold, draws = models()[0], PANEL, FOLDS[0], dict(DRAWS)
    before = module._part_name(panel, fold, model, draws)
    if what == "seed":
        draws["seed"] = 6
    elif what == "data":
        panel = PANEL.until(PANEL.sessions[-2])
    elif what == "fold":
        fold = FOLDS[1]
    elif what == "key":
        model = replace(model, key={"members": 2})
    elif what == "keep":
        model = replace(model, keep=True)
    else:
        monkeypatch.setattr(module, "code_fingerprint", lambda: "other")
    assert module._part_name(panel, fold, model, draws) != before


def test_folds_between_refits_share_one_fit(tmp_path: Path) -> None:
    folds = replace(SPLITTER, refit_every=2).split(PANEL.sessions)
    run(PANEL, models(tmp_path / "log")[1:2], folds, **DRAWS)
    fits = sorted((tmp_path / "log").read_text().splitlines())
    assert fits == ["bootstrap 0", "bootstrap 2"]


@pytest.mark.slow
def test_what_is_kept_comes_back_from_the_cache_to_the_bit(tmp_path: Path) -> None:
    ours, panel = loud_forecaster(), recent_prices()
    days = panel.sessions
    fold = fold_between(days[:760], days[600], ours.trained_until, purge=5)
    spec = [ModelSpec("seq2seq", partial(use_fitted, ours), keep=True)]
    plain, kept, again = (
        run(panel, spec, [fold], **DRAWS, cache=cache) for cache in (None, tmp_path, tmp_path)
    )
    assert same(kept, plain)
    assert same(again, plain)
    for found in (kept, again):
        for name in ("loc", "scale", "nu", "probs"):
            first, second = (
                getattr(one.forecasts["seq2seq"].density, name) for one in (plain, found)
            )
            np.testing.assert_array_equal(first, second)
        pd.testing.assert_frame_equal(
            plain.forecasts["seq2seq"].to_frame(), found.forecasts["seq2seq"].to_frame()
        )
        repeated = found.fitted["seq2seq"][0].predict(panel, days[-5:], **DRAWS)
        np.testing.assert_array_equal(repeated.paths, ours.predict(panel, days[-5:], **DRAWS).paths)


def test_a_model_that_has_seen_the_test_is_refused_before_it_is_asked() -> None:
    class Seer:
        name = "seer"
        trained_until = FOLDS[0].test_start

        def predict(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("it must not be asked")

    with pytest.raises(LeakageError, match="seer"):
        run(PANEL, [ModelSpec("seer", partial(use_fitted, Seer()))], FOLDS[:1], **DRAWS)  # type: ignore[arg-type]


def test_a_model_trained_to_the_eve_of_the_test_block_is_scored() -> None:
    eve = PANEL.until(FOLDS[0].test_start - np.timedelta64(1, "D"))
    model = fit_baseline("hist-vol", eve, horizon=2)
    found = run(PANEL, [ModelSpec("hist-vol", partial(use_fitted, model))], FOLDS[:1], **DRAWS)
    assert found.scores["log_score"].notna().any()


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_optional_model_without_enough_history_is_skipped_with_the_reason(
    plain: Evaluation, tmp_path: Path, jobs: int
) -> None:
    garch = baseline("garch-t", 2)
    for _ in range(3 - jobs):  # from the start, and with everything else finished already
        found = run(PANEL, [*travelling(), garch], FOLDS, **DRAWS, jobs=jobs, cache=tmp_path)
        assert same(replace(found, skipped={}), plain)
        assert list(found.skipped) == ["garch-t"]
        assert "500 moving sessions" in found.skipped["garch-t"]
    with pytest.raises(NotEnoughDataError, match="500 moving sessions"):
        run(PANEL, [replace(garch, optional=False)], FOLDS, **DRAWS)


def test_a_baseline_sees_the_training_block_and_nothing_after_it() -> None:
    past = PANEL.until(FOLDS[0].validation_end)
    model = baseline("ewma-t", 2).fit(past, FOLDS[0], 0, 1)
    assert (model.name, model.trained_until) == ("ewma-t", FOLDS[0].train_end)


def test_no_folds_and_no_history_are_errors() -> None:
    with pytest.raises(ConfigError, match="at least one fold"):
        run(PANEL, models(), [], **DRAWS)
    short = simulate_panel("AB", 160)
    folds = WalkForward(test_size=20, validation_size=20, purge=2, min_train=100)
    with pytest.raises(NotEnoughDataError):
        run(short, models(), folds.split(short.sessions), **DRAWS)


def test_the_code_has_a_fingerprint() -> None:
    assert len(code_fingerprint()) == 64
    assert code_fingerprint(("market",)) != code_fingerprint(("evaluation",))


def test_tables_that_decide_numbers_are_code(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()
    monkeypatch.setattr(module, "sha256_file", lambda path: seen.add(path.name) or "")
    code_fingerprint.__wrapped__()
    assert {"run.py", "exchanges.toml"} <= seen


@pytest.mark.slow
def test_a_process_that_fits_baselines_does_not_load_torch() -> None:
    code = "import sys, quantseq.evaluation.run; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
