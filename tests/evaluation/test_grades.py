"""Grades are the scores of the forecasts they came from, in any chunks, and come back from disk."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from quantseq.errors import CorruptFileError
from quantseq.evaluation.grades import Grades, chunks_of, grade, grade_cutoffs, naive_errors
from quantseq.evaluation.walkforward import WalkForward, cutoffs_of
from quantseq.forecasting.baselines.registry import RIVALS, TrainingBlock
from quantseq.forecasting.forecasts import QUANTILE_LEVELS
from quantseq.forecasting.scores import realised_returns, sample_crps, score
from quantseq.market.bars import Panel
from tests.prices import simulate_bars, simulate_panel

H = 2
PANEL = Panel([*simulate_panel("AB", 420).values(), simulate_bars("C", 300, start="2015-06-01")])
FOLD = WalkForward(test_size=40, validation_size=30, purge=3, min_train=250).split(PANEL.sessions)[
    0
]
TRAIN = PANEL.until(FOLD.train_end)
MODEL = RIVALS["ewma-t"](TrainingBlock(TRAIN, H))
NAIVE = naive_errors(TRAIN)


def graded(cutoffs: np.ndarray, *, fans: bool = True) -> Grades:
    options = {"horizon": H, "num_paths": 20, "seed": 3, "fans": fans}
    return grade_cutoffs(PANEL, MODEL, cutoffs, NAIVE, **options)


def same(one: Grades, two: Grades) -> bool:
    pairs = {f.name: (getattr(one, f.name), getattr(two, f.name)) for f in fields(Grades)}
    return all(
        (first is None and second is None)
        or np.array_equal(first, second, equal_nan=name not in ("symbols", "cutoffs"))
        for name, (first, second) in pairs.items()
    )


def test_grades_are_the_scores_of_the_forecasts() -> None:
    days = cutoffs_of(PANEL, FOLD)
    found = graded(days)
    forecasts = MODEL.predict(PANEL, days, horizon=H, num_paths=20, seed=3)
    realised = realised_returns(PANEL, forecasts)
    scores, order = score(forecasts, realised), np.argsort(forecasts.cutoffs, kind="stable")
    for name in ("log_score", "crps", "pit"):
        np.testing.assert_array_equal(getattr(found, name), getattr(scores, name)[order])
    assert forecasts.paths is not None
    cumulative = sample_crps(forecasts.paths.sum(axis=2), realised.sum(axis=1))[order]
    np.testing.assert_allclose(found.crps_cumulative[:, 0], cumulative, rtol=1e-6)
    assert (np.diff(found.cutoffs) >= np.timedelta64(0)).all()
    middle = forecasts.quantile([0.5])[order, :, 0]
    scale = np.array([NAIVE[str(s)] for s in found.symbols])[:, None]
    np.testing.assert_allclose(found.error, np.abs(found.realised - middle) / scale)
    low, high = np.moveaxis(forecasts.quantile([0.05, 0.95])[order], 2, 0)
    r = found.realised
    winkler = high - low + 20 * (np.maximum(low - r, 0) + np.maximum(r - high, 0))
    np.testing.assert_allclose(found.winkler, winkler)


def test_chunks_change_no_bit_and_cover_every_cutoff(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = graded(cutoffs_of(PANEL, FOLD))
    monkeypatch.setattr("quantseq.evaluation.grades.CHUNK_ROWS", 60)
    chunks = list(chunks_of(PANEL, FOLD))
    assert [len(chunk) for chunk in chunks] == [20, 20]
    assert same(Grades.concatenate([graded(chunk) for chunk in chunks]), whole)


def test_what_is_not_known_yet_is_nan() -> None:
    found = graded(PANEL.sessions[-3:])
    assert np.isnan(found.realised[-1]).all()
    for name in ("log_score", "crps", "pit", "pinball", "winkler", "error", "crps_cumulative"):
        assert np.isnan(getattr(found, name)[-1]).all(), name
    assert np.isfinite(found.mean).all()


def test_fans_are_the_cumulative_quantiles_of_the_forecasts() -> None:
    days = PANEL.sessions[-30:]
    found = graded(days)
    forecasts = MODEL.predict(PANEL, days, horizon=H, num_paths=20, seed=3)
    ordered = forecasts[np.argsort(forecasts.cutoffs, kind="stable")]
    fan = ordered.cumulative_quantile(QUANTILE_LEVELS)
    np.testing.assert_array_equal(found.fan, fan.reshape(len(fan), -1).astype(np.float32))
    half = np.arange(0, len(found), 2)
    assert np.array_equal(found.take(half).fan, found.fan[half])
    assert graded(days, fans=False).take(half).fan is None


@pytest.mark.parametrize("fans", [True, False])
def test_grades_come_back_from_disk(fans: bool, tmp_path: Path) -> None:
    found = graded(PANEL.sessions[-30:], fans=fans)
    found.save(tmp_path / "part.parquet")
    assert same(Grades.load(tmp_path / "part.parquet"), found)
    (tmp_path / "part.parquet").write_bytes(b"PAR1 half a file")
    with pytest.raises(CorruptFileError, match="Delete it"):
        Grades.load(tmp_path / "part.parquet")


def test_the_naive_error_is_the_mean_absolute_training_return() -> None:
    assert NAIVE["A"] == pytest.approx(np.abs(TRAIN["A"].log_returns()[1:]).mean())
    assert NAIVE[""] == pytest.approx(np.median([NAIVE[s] for s in TRAIN]))


def test_strangers_take_the_pooled_naive_error() -> None:
    stranger = Panel([simulate_bars("Q", 420)])
    forecasts = MODEL.predict(stranger, stranger.sessions[300:310], horizon=H)
    found = grade(forecasts, realised_returns(stranger, forecasts), NAIVE)
    middle = forecasts.quantile([0.5])[..., 0]
    np.testing.assert_allclose(found.error, np.abs(found.realised - middle) / NAIVE[""])
    assert np.isnan(found.crps_cumulative).all()
