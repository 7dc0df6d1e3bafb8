"""Who was trained on what and tested where: folds in time, and forecasts made inside them.

Owns the split of a calendar into train, purge, validation, purge and test, and the one loop that
fits on the past of each fold and forecasts its test block. Knows no model's inside: a model is a
function from a fold and its bars to a `Forecaster`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import ConfigError, LeakageError, NotEnoughDataError
from quantseq.forecast.forecasts import Forecaster, Forecasts
from quantseq.forecast.scores import Scores, realised_returns, score
from quantseq.market.bars import Dates, Floats, Panel
from quantseq.market.intervals import as_date


@dataclass(frozen=True)
class Fold:
    """One split of the calendar; all dates are sessions, both ends inclusive.

    ``train_end`` and ``validation_start`` are `purge` sessions apart, and so are
    ``validation_end`` and ``test_start``: exactly `purge` sessions lie between them.
    """

    number: int
    train_start: np.datetime64
    train_end: np.datetime64
    validation_start: np.datetime64
    validation_end: np.datetime64
    test_start: np.datetime64
    test_end: np.datetime64
    purge: int

    def describe(self) -> dict[str, Any]:
        """The fold as JSON values."""
        return {
            "fold": self.number,
            **{
                name: str(getattr(self, name))
                for name in (
                    "train_start",
                    "train_end",
                    "validation_start",
                    "validation_end",
                    "test_start",
                    "test_end",
                )
            },
            "purge": self.purge,
        }


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
    min_train : int
        Sessions that the first training block has at least.
    max_train : int, optional
        Longer training blocks drop their oldest sessions (rolling); None keeps all (expanding).
    test_start : date, optional
        First session of the first test block; by default as early as the sizes allow. The purge
        shortens the earlier blocks, test dates never move.

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

    def __post_init__(self) -> None:
        for name, least in (
            ("test_size", 1),
            ("validation_size", 1),
            ("purge", 0),
            ("min_train", 1),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ConfigError(
                    f"The {name!r} parameter of WalkForward must be an int of {least} or more. "
                    f"Got {value!r}."
                )
        if self.max_train is not None and (
            not isinstance(self.max_train, int) or self.max_train < self.min_train
        ):
            raise ConfigError(
                "The 'max_train' parameter of WalkForward must be an int of min_train "
                f"({self.min_train}) or more. Got {self.max_train!r}."
            )

    def split(self, sessions: Dates) -> list[Fold]:
        """Split a calendar.

        Parameters
        ----------
        sessions : (D,) datetime64[D]
            Sorted sessions.

        Raises
        ------
        NotEnoughDataError
            If not even one session is left to test.
        """
        before = self.min_train + self.validation_size + 2 * self.purge
        first = before
        if self.test_start is not None:
            first = int(np.searchsorted(sessions, as_date(self.test_start)))
        if first < before or first >= len(sessions):
            have = "" if self.test_start is None else f" with tests from {self.test_start}"
            raise NotEnoughDataError(
                f"{len(sessions)} sessions{have} leave no room for {self.min_train} of training, "
                f"{self.validation_size} of validation, 2 × {self.purge} of purge and a test block. "
                "Give a longer history, smaller blocks or another test start."
            )
        folds = []
        for number, test in enumerate(range(first, len(sessions), self.test_size)):
            validation_end = test - self.purge
            validation = validation_end - self.validation_size
            train_end = validation - self.purge
            train = 0 if self.max_train is None else max(0, train_end - self.max_train)
            folds.append(
                Fold(
                    number,
                    sessions[train],
                    sessions[train_end - 1],
                    sessions[validation],
                    sessions[validation_end - 1],
                    sessions[test],
                    sessions[min(test + self.test_size, len(sessions)) - 1],
                    self.purge,
                )
            )
        return folds


class FitFunction(Protocol):
    """Fits every model of one fold on the bars up to the end of its validation block."""

    def __call__(self, panel: Panel, fold: Fold, seed: int) -> Mapping[str, Forecaster]:
        """Return forecasters by name."""
        ...


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Forecasts of several models on the same rows, with their outcomes and scores.

    Attributes
    ----------
    forecasts, scores : mapping by model name
    realised : (M, H) log returns that followed, NaN where unknown
    fold : (M,) number of the fold of each row
    folds : the folds, with what each fit reported under ``details``
    """

    forecasts: dict[str, Forecasts]
    scores: dict[str, Scores]
    realised: Floats
    fold: NDArray[np.intp]
    folds: list[Fold]
    details: list[dict[str, Any]] = field(default_factory=list)


def forecast_fold(
    panel: Panel,
    fold: Fold,
    fit: FitFunction,
    *,
    horizon: int,
    num_paths: int,
    seed: int,
) -> tuple[dict[str, Forecasts], dict[str, Any]]:
    """Fit on the fold's past, then forecast every session of its test block.

    Raises
    ------
    LeakageError
        If a model says that it has seen a session of the test block.
    """
    past = panel.between(fold.train_start, fold.validation_end)
    models = fit(past, fold, seed)
    cutoffs = panel.sessions[
        (panel.sessions >= fold.test_start) & (panel.sessions <= fold.test_end)
    ]
    results = {}
    for name, model in models.items():
        check_not_trained_on(model, fold.test_start)
        paths = num_paths if name == "seq2seq" else 0
        results[name] = model.predict(panel, cutoffs, horizon=horizon, num_paths=paths, seed=seed)
    describe: Callable[[], dict[str, Any]] = getattr(models.get("seq2seq"), "describe", dict)
    return results, describe()


def check_not_trained_on(model: Forecaster, test_start: Any) -> None:
    """Refuse a model that has seen the test block.

    Raises
    ------
    LeakageError
        If ``trained_until`` is not before `test_start`.
    """
    if model.trained_until >= np.datetime64(test_start, "D"):
        raise LeakageError(
            f"The model {model.name!r} has seen data until {model.trained_until}, but is to be tested "
            f"from {test_start}. Test after {model.trained_until}, or train on an earlier block."
        )


def evaluate(
    panel: Panel,
    folds: list[Fold],
    fit: FitFunction,
    *,
    horizon: int,
    num_paths: int = 100,
    seed: int = 0,
    jobs: int = 1,
    on_fold: Callable[[Fold], None] | None = None,
) -> Evaluation:
    """Forecast every fold and score all models on the same rows.

    Parameters
    ----------
    panel : Panel
    folds : list of Fold
    fit : FitFunction
        Sees only the bars from the start of the training block to the end of the validation block.
    horizon, num_paths, seed : int
        See `Forecaster.predict`.
    jobs : int
        Folds run in this many processes; the numbers are the same for every choice.
    on_fold : callable, optional
        Called when a fold is done.

    Raises
    ------
    ConfigError
        If there are no folds.
    LeakageError
        If a model has seen the test block.
    """
    if not folds:
        raise ConfigError("evaluate needs at least one fold. Split the calendar with WalkForward.")
    from joblib import Parallel, delayed

    tasks = (
        delayed(_numbered)(i, panel, fold, fit, horizon, num_paths, seed)
        for i, fold in enumerate(folds)
    )
    done: dict[int, tuple[dict[str, Forecasts], dict[str, Any]]] = {}
    for number, result in Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks):
        done[number] = result
        if on_fold is not None:
            on_fold(folds[number])
    names = list(done[0][0])
    forecasts = {
        name: Forecasts.concatenate([done[i][0][name] for i in range(len(folds))]) for name in names
    }
    first = forecasts[names[0]]
    realised = realised_returns(panel, first)
    fold_of_row = np.repeat(
        range(len(folds)), [len(done[i][0][names[0]]) for i in range(len(folds))]
    )
    scores = {name: score(one, realised) for name, one in forecasts.items()}
    return Evaluation(
        forecasts, scores, realised, fold_of_row, folds, [done[i][1] for i in range(len(folds))]
    )


def _numbered(
    number: int,
    panel: Panel,
    fold: Fold,
    fit: FitFunction,
    horizon: int,
    num_paths: int,
    seed: int,
) -> tuple[int, tuple[dict[str, Forecasts], dict[str, Any]]]:
    from quantseq.seq2seq.training import set_threads

    set_threads(1)
    result = forecast_fold(panel, fold, fit, horizon=horizon, num_paths=num_paths, seed=seed)
    return number, result
