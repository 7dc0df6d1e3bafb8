"""Folds tile the calendar with exact gaps; a fit sees its past only; jobs change no byte."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError, NotEnoughDataError, QuantseqError
from quantseq.evaluation.walkforward import (
    WalkForward,
    fold_between,
)

law = settings(deadline=None, max_examples=100)


def days(n: int) -> np.ndarray:
    return np.busday_offset("2001-01-01", np.arange(n), roll="forward").astype("datetime64[D]")


def place(sessions: np.ndarray, day: np.datetime64) -> int:
    where = int(np.searchsorted(sessions, day))
    assert sessions[where] == day
    return where


@st.composite
def splitters(draw: st.DrawFn) -> tuple[WalkForward, np.ndarray]:
    min_train = draw(st.integers(1, 30))
    rolling = draw(st.none() | st.integers(min_train, 60))
    splitter = WalkForward(
        test_size=draw(st.integers(1, 40)),
        validation_size=draw(st.integers(1, 30)),
        purge=draw(st.integers(0, 12)),
        min_train=min_train,
        max_train=rolling,
    )
    return splitter, days(draw(st.integers(1, 250)))


@given(splitters())
@law
def test_gaps_equal_the_purge_exactly_and_tests_tile(case: tuple[WalkForward, np.ndarray]) -> None:
    splitter, sessions = case
    before = splitter.min_train + splitter.validation_size + 2 * splitter.purge
    if len(sessions) <= before:
        with pytest.raises(NotEnoughDataError, match="no room"):
            splitter.split(sessions)
        return
    folds = splitter.split(sessions)
    assert [fold.number for fold in folds] == list(range(len(folds)))
    next_test = before
    for fold in folds:
        train, train_end = (place(sessions, d) for d in (fold.train_start, fold.train_end))
        first, last = (place(sessions, d) for d in (fold.validation_start, fold.validation_end))
        test, test_end = (place(sessions, d) for d in (fold.test_start, fold.test_end))
        assert first - train_end - 1 == splitter.purge == fold.purge
        assert test - last - 1 == splitter.purge
        assert last - first + 1 == splitter.validation_size
        assert train_end - train + 1 >= splitter.min_train
        if splitter.max_train is None:
            assert train == 0
        else:
            assert train_end - train + 1 == min(splitter.max_train, train_end + 1)
        assert test == next_test
        next_test = test_end + 1
        if fold is not folds[-1]:
            assert test_end - test + 1 == splitter.test_size
    assert next_test == len(sessions)
    assert 1 <= test_end - test + 1 <= splitter.test_size


@given(splitters(), st.integers(0, 249))
@law
def test_a_test_start_is_kept_whatever_the_purge(
    case: tuple[WalkForward, np.ndarray], start: int
) -> None:
    splitter, sessions = case
    assume(start < len(sessions))
    chosen = WalkForward(
        **{**vars(splitter), "test_start": str(sessions[start])},
    )
    if start < splitter.min_train + splitter.validation_size + 2 * splitter.purge:
        with pytest.raises(NotEnoughDataError, match="tests from"):
            chosen.split(sessions)
        return
    assert chosen.split(sessions)[0].test_start == sessions[start]


def test_a_test_start_between_sessions_takes_the_next_one() -> None:
    splitter = WalkForward(
        test_size=5, validation_size=3, purge=1, min_train=5, test_start="2001-01-20"
    )
    assert splitter.split(days(40))[0].test_start == np.datetime64("2001-01-22")


@pytest.mark.parametrize("start", ["2001-13-40", "soon", 7, "2099-01-01", "1990-01-01"])
def test_a_test_start_that_cannot_be_is_a_named_error(start: Any) -> None:
    sizes: Any = {"test_size": 5, "validation_size": 3, "purge": 1, "min_train": 5}
    with pytest.raises(QuantseqError):
        WalkForward(**sizes, test_start=start).split(days(40))


@pytest.mark.parametrize(
    "wrong",
    [
        {"test_size": 0},
        {"validation_size": -1},
        {"purge": -1},
        {"min_train": 0},
        {"test_size": 2.5},
        {"purge": None},
        {"embargo": -1},
        {"refit_every": 0},
        {"min_train": 10, "max_train": 9},
    ],
)
def test_sizes_have_rules(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="WalkForward"):
        WalkForward(**wrong)


@given(splitters(), st.integers(0, 10))
@law
def test_the_embargo_lies_before_the_tests_besides_the_purge(
    case: tuple[WalkForward, np.ndarray], embargo: int
) -> None:
    splitter, sessions = case
    chosen = WalkForward(**{**vars(splitter), "embargo": embargo})
    before = splitter.min_train + splitter.validation_size + 2 * splitter.purge + embargo
    assume(len(sessions) > before)
    for fold in chosen.split(sessions):
        test, last = (place(sessions, d) for d in (fold.test_start, fold.validation_end))
        assert test - last - 1 == splitter.purge + embargo == fold.purge + fold.embargo
        first, end = (place(sessions, d) for d in (fold.validation_start, fold.train_end))
        assert first - end - 1 == splitter.purge


@given(splitters(), st.integers(1, 4))
@law
def test_folds_between_refits_keep_their_tests_and_share_an_earlier_fit(
    case: tuple[WalkForward, np.ndarray], every: int
) -> None:
    splitter, sessions = case
    assume(len(sessions) > splitter.min_train + splitter.validation_size + 2 * splitter.purge)
    plain = splitter.split(sessions)
    sparse = WalkForward(**{**vars(splitter), "refit_every": every}).split(sessions)
    for one, other in zip(plain, sparse, strict=True):
        assert (one.test_start, one.test_end) == (other.test_start, other.test_end)
        assert other.fitted_on == plain[one.number // every * every].fitted_on


# Blocks of skfolio 1.12.2's WalkForward(test_size=7, train_size=12, purged_size=3, reduce_test=True) over
# 47 sessions, expanding and rolling: first and last of training, first and last of the test.
SKFOLIO = {
    True: [(0, 11, 15, 21), (0, 18, 22, 28), (0, 25, 29, 35), (0, 32, 36, 42), (0, 39, 43, 46)],
    False: [(0, 11, 15, 21), (7, 18, 22, 28), (14, 25, 29, 35), (21, 32, 36, 42), (28, 39, 43, 46)],
}


def blocks(splitter: WalkForward, sessions: np.ndarray) -> list[tuple[int, ...]]:
    """Where everything that is fitted on begins and ends, and where the test does."""
    return [
        tuple(
            place(sessions, d)
            for d in (fold.train_start, fold.validation_end, fold.test_start, fold.test_end)
        )
        for fold in splitter.split(sessions)
    ]


def like_skfolio(train: int, purge: int, *, expanding: bool, test: int) -> WalkForward:
    """Our splitter whose training, purge and validation together are skfolio's training."""
    own = train - 1 - purge
    return WalkForward(
        test_size=test,
        validation_size=1,
        purge=purge,
        min_train=own,
        max_train=None if expanding else own,
    )


@pytest.mark.parametrize("expanding", [True, False])
def test_splits_are_those_of_skfolio_frozen(expanding: bool) -> None:
    assert blocks(like_skfolio(12, 3, expanding=expanding, test=7), days(47)) == SKFOLIO[expanding]


@given(
    st.integers(1, 30), st.integers(2, 40), st.integers(0, 8), st.booleans(), st.integers(60, 160)
)
@law
def test_splits_are_those_of_skfolio(
    test: int, own: int, purge: int, expanding: bool, n: int
) -> None:
    skfolio = pytest.importorskip(
        "skfolio.model_selection", reason="skfolio is not installed: pip install 'quantseq[oracle]'"
    )
    train = own + 1 + purge
    assume(train + purge + test <= n)
    theirs = skfolio.WalkForward(
        test_size=test,
        train_size=train,
        purged_size=purge,
        expand_train=expanding,
        reduce_test=True,
    ).split(np.zeros((n, 1)))
    expected = [(a[0], a[-1], b[0], b[-1]) for a, b in theirs]
    assert blocks(like_skfolio(train, purge, expanding=expanding, test=test), days(n)) == expected


@given(st.integers(30, 60), st.integers(75, 90), st.integers(0, 9), st.integers(0, 4))
@law
def test_one_fold_between_dates_purges_the_earlier_block(
    train: int, validate: int, purge: int, embargo: int
) -> None:
    sessions = days(120)
    fold = fold_between(sessions, sessions[train], sessions[validate], purge=purge, embargo=embargo)
    at = [place(sessions, day) for day in fold.fitted_on]
    assert at == [0, train - purge, train + 1, validate - purge - embargo]
    assert place(sessions, fold.test_start) == validate + 1
    assert fold.test_end == sessions[-1]


@pytest.mark.parametrize(
    ("train", "validate", "purge", "error"),
    [
        ("2001-03-01", "2001-02-01", 0, ConfigError),
        ("1999-01-01", "2001-02-01", 0, NotEnoughDataError),
        ("2001-02-01", "2001-02-05", 9, NotEnoughDataError),
        ("2001-02-01", "2010-01-01", 0, NotEnoughDataError),
        ("soon", "2010-01-01", 0, QuantseqError),
    ],
)
def test_dates_that_leave_a_block_empty_are_refused(
    train: str, validate: str, purge: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        fold_between(days(120), train, validate, purge=purge)


def test_a_fold_describes_itself_in_json_values() -> None:
    fold = WalkForward(test_size=5, validation_size=3, purge=2, min_train=5).split(days(40))[0]
    told = fold.describe()
    assert told["train_start"] == "2001-01-01"
    assert told["purge"] == 2
    assert set(told) == {"fold", "purge", "embargo"} | {
        f"{block}_{end}" for block in ("train", "validation", "test") for end in ("start", "end")
    }
