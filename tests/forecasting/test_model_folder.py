"""A model folder comes back whole, or says which part of it is not to be trusted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantseq.errors import ModelFileError, QuantseqError
from quantseq.files import fingerprint
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.model_folder import load_forecaster, save_forecaster
from quantseq.market.bars import Panel
from tests.prices import forecast_bytes

FILES = [
    "forecaster.json",
    "tokenizer.json",
    "task.json",
    "member-0/model.safetensors",
    "member-1/model.safetensors",
]


@pytest.fixture(scope="module")
def saved(fitted: Seq2SeqForecaster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "price"
    save_forecaster(folder, fitted)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "price"))


def test_a_saved_model_forecasts_the_same_bytes(
    saved: Path, fitted: Seq2SeqForecaster, recent: Panel
) -> None:
    again, days = load_forecaster(saved), recent.sessions[[702, 750]]
    old, new = (f.predict(recent, days, horizon=3, num_paths=9) for f in (fitted, again))
    assert forecast_bytes(new) == forecast_bytes(old)
    assert again.describe() == fitted.describe()
    assert again.trained_until == fitted.trained_until
    assert [h.losses for h in again.histories] == [h.losses for h in fitted.histories]


def test_saving_again_replaces_the_folder_and_leaves_no_trace(
    folder: Path, fitted: Seq2SeqForecaster
) -> None:
    (folder / "member-7").mkdir()
    save_forecaster(folder, fitted)
    assert not (folder / "member-7").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["price"]
    load_forecaster(folder)


def test_a_failed_save_keeps_the_old_model(
    folder: Path, fitted: Seq2SeqForecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("quantseq.forecasting.model_folder.save_model", fail)
    with pytest.raises(QuantseqError, match="No space left"):
        save_forecaster(folder, fitted)
    load_forecaster(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["price"]


def test_no_model_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="quantseq train --task price"):
        load_forecaster(tmp_path / "nothing")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "halved", "garbage", "list"])
def test_damage_to_any_file_is_found(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        new = {"empty": b"", "halved": content[: len(content) // 2], "garbage": b"\x80\x04garbage"}
        path.write_bytes(new.get(damage, b"[1, 2]"))
    with pytest.raises(ModelFileError):
        load_forecaster(folder)


@pytest.mark.parametrize("name", FILES)
def test_one_changed_digit_is_found(folder: Path, name: str) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    digits = [i for i, byte in enumerate(content) if chr(byte) in "123456789"]
    place = digits[len(digits) // 2]
    content[place] = ord("1") if content[place] != ord("1") else ord("2")
    path.write_bytes(bytes(content))
    with pytest.raises(ModelFileError):
        load_forecaster(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trained_until", "1999-01-01"),
        ("shrinkage", {"weight": 1.0, "gain": 1.0}),
        ("symbols", ["MSFT"]),
        ("format", 99),
        ("tokenizer", "0" * 64),
        ("task", "0" * 64),
    ],
)
def test_a_changed_entry_is_refused(folder: Path, name: str, value: object) -> None:
    path = folder / "forecaster.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps(state | {name: value}))
    with pytest.raises(ModelFileError):
        load_forecaster(folder)


def test_a_member_of_another_model_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "member-1")
    shutil.copytree(folder / "member-0", folder / "member-1")
    with pytest.raises(ModelFileError, match="member-1"):
        load_forecaster(folder)


def test_no_file_holds_pickle(saved: Path) -> None:
    for path in saved.rglob("*"):
        if path.is_file():
            assert path.suffix in (".json", ".safetensors")
            assert not path.read_bytes().startswith((b"\x80", b"PK"))
    assert np.array_equal(
        sorted(p.name for p in saved.iterdir()),
        sorted(["forecaster.json", "tokenizer.json", "task.json", "member-0", "member-1"]),
    )


def resealed(folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """A stranger's folder: changed, and with hashes that fit."""
    state, task = (json.loads((folder / f"{n}.json").read_text()) for n in ("forecaster", "task"))
    state.pop("fingerprint")
    change(state, task)
    state["task"] = fingerprint(task)
    (folder / "task.json").write_text(json.dumps(task))
    stamp = fingerprint(state)
    (folder / "forecaster.json").write_text(json.dumps(state | {"fingerprint": stamp}))
    return folder


STRANGE: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    "hidden size": lambda state, _: state["config"].update(hidden_size=10**9),
    "members": lambda state, _: state["config"].update(members=10**6),
    "more members than there are": lambda state, _: state["config"].update(members=3),
    "no members": lambda state, _: state.update(members=[]),
    "another architecture": lambda state, _: state["config"].update(hidden_size=13),
    "batches": lambda state, _: state["config"].update(batch_size=-1),
    "horizon": lambda state, _: state["config"].update(horizon=10**9),
    "shrinkage above 1": lambda state, _: state["shrinkage"].update(weight=1.5),
    "shrinkage below 0": lambda state, _: state["shrinkage"].update(weight=-0.1),
    "shrinkage of no number": lambda state, _: state["shrinkage"].update(weight=None),
    "tilt": lambda state, _: state["recalibration"].update(width=1e30),
    "drift": lambda _, task: task["reference"].update(drift=[0.0]),
    "starts": lambda _, task: task["reference"].update(starts={}),
    "a start": lambda _, task: task["reference"]["starts"].update({"": None}),
    "shapes": lambda _, task: task["reference"]["shapes"].update({"": [[-1.0, 1.0]] * 3}),
    "nights": lambda _, task: task["reference"]["overnight_share"].update({"": 7}),
    "channels": lambda _, task: task["channels"].update(deviation=[0.0] * 4),
    "measure": lambda _, task: task["reference"]["measure"].update(low=[]),
    "slopes": lambda _, task: task["reference"].update(slopes=[[0.0]]),
    "volatility": lambda _, task: task["reference"]["volatility"].update(kind="gjr"),
    "scale": lambda _, task: task["reference"]["volatility"]["models"][""].update(
        rescale=[0.0] * 3
    ),
    "no models": lambda _, task: task["reference"]["volatility"].update(models={}),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_no_fit_gives_is_refused_though_its_hashes_fit(folder: Path, name: str) -> None:
    load_forecaster(resealed(folder, lambda *_: None))
    with pytest.raises(ModelFileError):
        load_forecaster(resealed(folder, STRANGE[name]))
