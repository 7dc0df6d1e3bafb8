"""Who was trained on what and tested where: folds in time.

Owns the split of a calendar into train, purge, validation, purge and test, and the check that no model has seen
its test block. Fits nothing: that is `run.py`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from quantseq.errors import (
    BarsError,
    ConfigError,
    LeakageError,
    NotEnoughDataError,
    check_parameters,
)
from quantseq.forecasting.forecasts import Forecaster
from quantseq.market.bars import Dates, Panel, as_date


@dataclass(frozen=True)
class Fold:
    """One split of the calendar; all dates are sessions, both ends inclusive.

    Exactly `purge` sessions lie between ``train_end`` and ``validation_start``; between
    ``validation_end`` and ``test_start`` lie `purge` + `embargo`, and more where a fold uses the fit
    of an earlier one.
    """

    number: int
    train_start: np.datetime64
    train_end: np.datetime64
    validation_start: np.datetime64
    validation_end: np.datetime64
    test_start: np.datetime64
    test_end: np.datetime64
    purge: int
    embargo: int = 0

    @property
    def fitted_on(self) -> tuple[np.datetime64, ...]:
        """Dates that decide a fit: folds that share them share it."""
        return self.train_start, self.train_end, self.validation_start, self.validation_end

    def describe(self) -> dict[str, Any]:
        """The fold as JSON values."""
        days = {n: str(day) for n, day in vars(self).items() if isinstance(day, np.datetime64)}
        return {"fold": self.number, "purge": self.purge, "embargo": self.embargo, **days}


def fold_between(
    sessions: Dates, train_until: Any, validate_until: Any, *, purge: int, embargo: int = 0
) -> Fold:
    """One fold between given dates: everything after `validate_until` is its test block.

    ::

        [ train ... purge | train_until ] [ validation ... purge | validate_until ] [ test ...... ]

    The purge and the embargo (see `WalkForward`) shorten the earlier block; the first of the sorted `sessions`, (D,),
    after each date belongs to the later one. ConfigError if the dates are out of order, NotEnoughDataError if a block
    is empty.
    """
    ends = [as_date(train_until), as_date(validate_until)]
    if ends[0] >= ends[1]:
        raise ConfigError(
            f"Training until {ends[0]} must end before validation until {ends[1]}. Swap the dates."
        )
    validation, test = (int(np.searchsorted(sessions, end, "right")) for end in ends)
    train_end, validation_end = validation - purge - 1, test - purge - embargo - 1
    if train_end < 0 or validation_end < validation or test >= len(sessions):
        raise NotEnoughDataError(
            f"{len(sessions)} sessions from {sessions[0]} to {sessions[-1]} leave an empty block: "
            f"training until {ends[0]}, validation until {ends[1]}, a purge of {purge}, an embargo of "
            f"{embargo} and a test block after it. Choose other dates or give a longer history."
        )
    days = sessions[[0, train_end, validation, validation_end, test, -1]]
    values: tuple[Any, ...] = (0, *days, purge, embargo)
    return Fold(*values)


@dataclass(frozen=True)
class WalkForward:
    """Walk-forward splits: the model of each fold is refitted on its own past.

    ::

        fold 0   [ train ........ ] purge [ validation ] purge [ test ]
        fold 1   [ train ................. ] purge [ validation ] purge [ test ]
        fold 2   [ train .......................... ] purge [ validation ] purge [ test ]

    Parameters
    ----------
    test_size : int
        Sessions per test block; the last may be shorter. Test blocks follow each other without gap.
    validation_size : int
        Sessions per validation block.
    purge : int
        Sessions left out between the blocks; at least the forecast horizon, so that no target of an
        earlier block is known only in a later one.
    embargo : int
        Further sessions left out before each test block, against what the purge cannot see: data
        that come late, or dependence that is longer than the horizon.
    min_train : int
        Sessions that the first training block has at least.
    max_train : int, optional
        Longer training blocks drop their oldest sessions (rolling); None keeps all (expanding).
    test_start : date, optional
        First session of the first test block; by default as early as the sizes allow. The purge
        shortens the earlier blocks, test dates never move.
    refit_every : int
        Models are fitted anew in every n-th fold; the folds between use the last fit.

    Examples
    --------
    >>> import numpy as np
    >>> days = np.arange("2020-01-01", "2020-01-21", dtype="datetime64[D]")
    >>> splitter = WalkForward(test_size=4, validation_size=3, purge=2, min_train=5)
    >>> for fold in splitter.split(days):
    ...     print(*(str(d)[-2:] for d in (fold.train_start, fold.train_end,
    ...           fold.validation_start, fold.validation_end, fold.test_start, fold.test_end)))
    01 05 08 10 13 16
    01 09 12 14 17 20
    """

    test_size: int = 504
    validation_size: int = 378
    purge: int = 5
    min_train: int = 756
    max_train: int | None = None
    test_start: Any = None
    embargo: int = 0
    refit_every: int = 1

    def __post_init__(self) -> None:
        counts = ("test_size", "validation_size", "min_train", "refit_every")
        rules = dict.fromkeys(counts, "int [1, inf)") | {
            "max_train": f"None or int [{self.min_train}, inf)"
        }
        check_parameters(self, rules | dict.fromkeys(("purge", "embargo"), "int [0, inf)"))

        if self.test_start is not None:
            try:
                as_date(self.test_start)
            except BarsError as error:
                raise ConfigError(f"The 'test_start' parameter of WalkForward: {error}") from error

    def split(self, sessions: Dates) -> list[Fold]:
        """Split a calendar, (D,) sorted sessions; NotEnoughDataError if not even one session is left to test."""
        before = self.min_train + self.validation_size + 2 * self.purge + self.embargo
        first = before
        if self.test_start is not None:
            first = int(np.searchsorted(sessions, as_date(self.test_start)))
        if first < before or first >= len(sessions):
            have = "" if self.test_start is None else f" with tests from {self.test_start}"
            raise NotEnoughDataError(
                f"{len(sessions)} sessions{have} leave no room for {self.min_train} of training, "
                f"{self.validation_size} of validation, 2 × {self.purge} of purge, {self.embargo} of "
                "embargo and a test block. "
                "Give a longer history, smaller blocks or another test start."
            )
        folds = []
        for number, test in enumerate(range(first, len(sessions), self.test_size)):
            fitted = test - number % self.refit_every * self.test_size
            validation_end = fitted - self.purge - self.embargo
            validation = validation_end - self.validation_size
            train_end = validation - self.purge
            train = 0 if self.max_train is None else max(0, train_end - self.max_train)
            last = min(test + self.test_size, len(sessions)) - 1
            ends = [train, train_end - 1, validation, validation_end - 1, test, last]
            values: tuple[Any, ...] = (number, *sessions[ends], self.purge, self.embargo)
            folds.append(Fold(*values))
        return folds


def check_not_trained_on(model: Forecaster, test_start: Any) -> None:
    """Refuse a model that has seen the test block: LeakageError if `trained_until` is not before `test_start`."""
    if model.trained_until >= np.datetime64(test_start, "D"):
        raise LeakageError(
            f"The model {model.name!r} has seen data until {model.trained_until}, but is to be tested "
            f"from {test_start}. Test after {model.trained_until}, or train on an earlier block."
        )


def cutoffs_of(panel: Panel, fold: Fold) -> Dates:
    """Sessions of the fold's test block."""
    days = panel.sessions
    return days[(days >= fold.test_start) & (days <= fold.test_end)]
