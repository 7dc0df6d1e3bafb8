"""A contest gives the same bits for any number of jobs, goes on where it stopped, refuses leaks."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest

from quantseq.errors import LeakageError, NotEnoughDataError
from quantseq.evaluation import contest
from quantseq.evaluation.contest import Contest, Entrant, Rules, hold
from quantseq.evaluation.grades import Grades
from quantseq.evaluation.walkforward import Fold, WalkForward
from quantseq.forecasting.baselines.registry import RIVALS, TrainingBlock
from quantseq.forecasting.forecasts import Forecaster
from quantseq.market.bars import Panel
from tests.prices import simulate_panel

PANEL = simulate_panel("AB", 440)
FOLDS = WalkForward(test_size=40, validation_size=30, purge=3, min_train=250).split(PANEL.sessions)
RULES = Rules(horizon=2, num_paths=10, seed=5)


@dataclass(frozen=True)
class Fit:
    """Fits a rival, and leaves a line in a file each time."""

    name: str
    log: Path | None = None

    def __call__(self, panel: Panel, fold: Fold, seed: int, jobs: int) -> Forecaster:
        assert panel.sessions[-1] == fold.validation_end
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{self.name} {fold.number}\n")
        return RIVALS[self.name](TrainingBlock(panel.until(fold.train_end), 2, jobs))


def travelling() -> list[Entrant]:
    """The same models by local functions, which travel to other processes by value."""

    def entrant(name: str) -> Entrant:
        def fit(panel: Panel, fold: Fold, seed: int, jobs: int) -> Forecaster:
            return RIVALS[name](TrainingBlock(panel.until(fold.train_end), 2, jobs))

        return Entrant(name, fit, heavy=name == "ewma-t", fans=name != "hist-vol")

    return [entrant(name) for name in ("ewma-t", "bootstrap", "hist-vol")]


def entrants(log: Path | None = None) -> list[Entrant]:
    names = ("ewma-t", "bootstrap", "hist-vol")
    return [
        Entrant(name, Fit(name, log), heavy=name == "ewma-t", fans=name != "hist-vol")
        for name in names
    ]


def same(one: Contest, two: Contest) -> bool:
    assert list(one.grades) == list(two.grades)
    return all(
        repr(np.asarray(getattr(one.grades[name], f.name)).tolist())
        == repr(np.asarray(getattr(two.grades[name], f.name)).tolist())
        for name in one.grades
        for f in fields(Grades)
    )


@pytest.fixture(scope="module")
def plain() -> Contest:
    return hold(PANEL, FOLDS, entrants(), RULES)


def test_all_are_graded_on_the_same_rows_of_every_fold(plain: Contest) -> None:
    first = plain.grades["ewma-t"]
    tested = PANEL.sessions[PANEL.sessions >= FOLDS[0].test_start]
    assert len(first) == 2 * len(tested)
    for one in plain.grades.values():
        assert (one.cutoffs == first.cutoffs).all()
        assert (one.symbols == first.symbols).all()
    assert len(plain.details["bootstrap"]) == len(FOLDS) == 4


@pytest.mark.parametrize(("folds", "jobs"), [(FOLDS[:1], 3), (FOLDS[:2], 2)])
def test_the_number_of_jobs_changes_no_bit(folds: list[Fold], jobs: int) -> None:
    one, many = (hold(PANEL, folds, travelling(), RULES, jobs=j) for j in (1, jobs))
    assert same(one, many)


def test_an_interrupted_contest_goes_on_with_what_is_missing(
    plain: Contest, tmp_path: Path
) -> None:
    log, done = tmp_path / "log", []

    def stop(name: str) -> None:
        done.append(name)
        if len(done) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hold(PANEL, FOLDS, entrants(log), RULES, parts=tmp_path / "parts", on_part=stop)
    first = len(log.read_text().splitlines())
    told: list[str] = []
    again = hold(PANEL, FOLDS, entrants(log), RULES, parts=tmp_path / "parts", on_part=told.append)
    assert same(again, plain)
    assert len(told) == 12
    assert len(log.read_text().splitlines()) - first == 12 - 5
    before = log.read_text()
    assert same(hold(PANEL, FOLDS, entrants(log), RULES, parts=tmp_path / "parts"), plain)
    assert log.read_text() == before


def test_a_damaged_part_is_computed_again(plain: Contest, tmp_path: Path) -> None:
    hold(PANEL, FOLDS[:1], entrants(), RULES, parts=tmp_path)
    for part in tmp_path.glob("*.parquet"):
        part.write_bytes(b"half")
    again = hold(PANEL, FOLDS[:1], entrants(), RULES, parts=tmp_path)
    assert len(again.grades["ewma-t"]) == 80


@pytest.mark.parametrize("what", ["seed", "data", "fold", "key", "fans", "code"])
def test_whatever_decides_the_numbers_decides_the_part(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entrant, panel, fold, rules = entrants()[0], PANEL, FOLDS[0], RULES
    before = contest._part_name(panel, fold, entrant, rules)
    if what == "seed":
        rules = Rules(2, 10, 6)
    elif what == "data":
        panel = PANEL.until(PANEL.sessions[-2])
    elif what == "fold":
        fold = FOLDS[1]
    elif what == "key":
        entrant = Entrant(entrant.name, entrant.fit, {"members": 2})
    elif what == "fans":
        entrant = replace(entrant, fans=not entrant.fans)
    else:
        monkeypatch.setattr(contest, "code_fingerprint", lambda: "other")
    assert contest._part_name(panel, fold, entrant, rules) != before


def test_folds_between_refits_share_one_fit(tmp_path: Path) -> None:
    splitter = WalkForward(test_size=40, validation_size=30, purge=3, min_train=250, refit_every=2)
    folds = splitter.split(PANEL.sessions)
    hold(PANEL, folds, entrants(tmp_path / "log")[1:2], RULES)
    fits = sorted((tmp_path / "log").read_text().splitlines())
    assert fits == ["bootstrap 0", "bootstrap 2"]


def test_a_model_that_has_seen_the_test_is_refused() -> None:
    def cheat(panel: Panel, fold: Fold, seed: int, jobs: int) -> Forecaster:
        return RIVALS["hist-vol"](TrainingBlock(PANEL, 2))

    with pytest.raises(LeakageError, match="hist-vol"):
        hold(PANEL, FOLDS[:1], [Entrant("hist-vol", cheat)], RULES)


def test_the_code_has_a_fingerprint() -> None:
    assert len(contest.code_fingerprint()) == 64
    assert np.unique([contest.code_fingerprint() for _ in range(2)]).size == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_optional_entrant_without_enough_history_is_left_out_with_the_reason(
    plain: Contest, tmp_path: Path, jobs: int
) -> None:
    def fit(panel: Panel, fold: Fold, seed: int, jobs: int) -> Forecaster:
        return RIVALS["garch-t"](TrainingBlock(panel.until(fold.train_end), 2, jobs))

    garch = Entrant("garch-t", fit, optional=True)
    for _ in range(2):  # from the start, and with everything else finished already
        found = hold(PANEL, FOLDS, [*travelling(), garch], RULES, jobs=jobs, parts=tmp_path)
        assert same(found, plain)
        assert list(found.left_out) == ["garch-t"]
        assert "500 moving sessions" in found.left_out["garch-t"]
    with pytest.raises(NotEnoughDataError, match="500 moving sessions"):
        hold(PANEL, FOLDS, [replace(garch, optional=False)], RULES, jobs=jobs)
