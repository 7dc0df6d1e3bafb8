"""A model folder gives back the same machine, or says which file is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from quantseq.errors import ModelFileError, StorageError
from quantseq.files import read_json
from quantseq.seq2seq import checkpoint
from quantseq.seq2seq.checkpoint import load_model, load_state, save_model, save_state
from quantseq.seq2seq.learning.history import TrainingHistory
from quantseq.seq2seq.network.architecture import Seq2SeqConfig
from tests.seq2seq.conftest import EVERY_CONFIG, config_of, machine, name_of, random_batch

META = {"task": "copy", "edges": [0.5, 1.0]}


@pytest.mark.parametrize("config", EVERY_CONFIG, ids=name_of)
def test_what_was_saved_comes_back_bit_by_bit(config: Seq2SeqConfig, tmp_path: Path) -> None:
    model, batch = machine(config), random_batch(config)
    history = TrainingHistory(steps=[0], losses=[1.5], examples=4)
    save_model(tmp_path / "m", model, meta=META, history=history)
    loaded, meta, found = load_model(tmp_path / "m")
    assert loaded.config == config
    assert not loaded.training
    assert torch.equal(loaded(batch), model(batch))
    assert meta == META
    assert found == history


def test_same_model_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        save_model(tmp_path / name, machine(config_of()))
    for file in ("model.safetensors", "config.json", "training.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_config_says_what_the_model_is(tmp_path: Path) -> None:
    save_model(tmp_path, machine(config_of()), meta=META)
    written = read_json(tmp_path / "config.json")
    assert written["architecture"]["vocab_size"] == 7
    assert written["meta"] == META
    assert set(written["versions"]) == {"quantseq", "python", "torch"}


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("reached", range(5))
def test_a_save_killed_at_any_file_leaves_a_whole_model(
    before: bool, reached: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, batch = (
        machine(config_of()),
        machine(config_of(hidden_size=7)),
        random_batch(config_of()),
    )
    histories = [TrainingHistory(examples=1), TrainingHistory(examples=2)]
    if before:
        save_model(tmp_path, old, meta={"name": "old"}, history=histories[0])
    replaced: list[Path] = []
    original = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if len(replaced) == reached:
            raise OSError("killed")
        replaced.append(target)
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        try:
            save_model(tmp_path, new, meta={"name": "new"}, history=histories[1])
        except StorageError:
            assert reached < 4
    if not before and reached < 2:
        with pytest.raises(ModelFileError):
            load_model(tmp_path)
        return
    model, meta, history = load_model(tmp_path)
    written = reached >= 2
    assert meta == {"name": "new" if written else "old"}
    assert torch.equal(model(batch), (new if written else old)(batch))
    assert history in ([None, histories[1]] if reached == 2 else [histories[written]])
    save_model(tmp_path, new, meta={"name": "newer"})  # and the next save goes on from there
    assert load_model(tmp_path)[1] == {"name": "newer"}
    assert "replaces" not in read_json(tmp_path / "config.json")


def test_without_a_history_there_is_none(tmp_path: Path) -> None:
    save_model(tmp_path, machine(config_of()))
    assert load_model(tmp_path)[2] is None


def test_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    save_model(tmp_path, machine(config_of()))
    save_model(tmp_path, machine(config_of(cell="gru")))
    assert (tmp_path / "metrics.json").read_text() == "{}"
    assert load_model(tmp_path)[0].config.cell == "gru"


def test_no_file_is_a_pickle(tmp_path: Path) -> None:
    save_model(tmp_path, machine(config_of()))
    save_state(tmp_path / "state", step=1, tensors={"a": torch.ones(2)}, record={})
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert path.suffix in {".json", ".safetensors"}
            assert not path.read_bytes().startswith((b"\x80", b"PK"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**read_json(path), **changes}))


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def mix(folder: Path, name: str) -> None:
    other = folder / "other"
    save_model(other, machine(config_of(hidden_size=7)))
    (other / name).replace(folder / name)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors"),
        (lambda f: cut(f / "model.safetensors"), "damaged or truncated"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "damaged or truncated"),
        (lambda f: flip(f / "model.safetensors"), "SHA-256"),
        (lambda f: cut(f / "config.json"), "config.json"),
        (lambda f: (f / "config.json").write_text("[]"), "object"),
        (lambda f: edit(f / "config.json", format=2), "newer"),
        (lambda f: edit(f / "config.json", format="x"), "format"),
        (lambda f: edit(f / "config.json", architecture={"vocab_size": 9, "x": 1}), "unknown"),
        (lambda f: edit(f / "config.json", architecture=3), "config.json"),
        (lambda f: edit(f / "config.json", meta=None), "config.json"),
        (lambda f: mix(f, "model.safetensors"), "SHA-256"),
        (lambda f: mix(f, "config.json"), "SHA-256"),
        (lambda f: cut(f / "training.json"), "training.json"),
        (lambda f: (f / "training.json").write_text('{"a": 1}'), "training.json"),
    ],
)
def test_damage_is_named(damage: Any, words: str, tmp_path: Path) -> None:
    save_model(tmp_path, machine(config_of()), history=TrainingHistory())
    damage(tmp_path)
    with pytest.raises(ModelFileError, match=words):
        load_model(tmp_path)


def test_weights_of_another_shape_are_named(tmp_path: Path) -> None:
    save_model(tmp_path, machine(config_of()))
    config = read_json(tmp_path / "config.json")
    edit(tmp_path / "config.json", architecture={**config["architecture"], "hidden_size": 7})
    with pytest.raises(ModelFileError, match="weight_hidden"):
        load_model(tmp_path)


def test_an_unwritable_folder_keeps_the_old_model(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError):
        save_model(tmp_path / "file" / "m", machine(config_of()))
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_state_replaces_the_one_before(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    for step in (1, 2):
        save_state(tmp_path, step=step, tensors={"a": torch.full((2,), step)}, record=[step])
    state = load_state(tmp_path)
    assert state is not None
    assert state[0]["a"].tolist() == [2, 2]
    assert state[1] == [2]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_state_killed_while_it_is_written_is_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_state(tmp_path, step=1, tensors={"a": torch.ones(2)}, record="old")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_json", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            save_state(tmp_path, step=1, tensors={"a": torch.zeros(2)}, record="new")
    state = load_state(tmp_path)
    assert state is not None
    assert state[0]["a"].tolist() == [1, 1]
    assert state[1] == "old"
    save_state(tmp_path, step=2, tensors={"a": torch.zeros(2)}, record="newer")
    assert len(list(tmp_path.iterdir())) == 2


def tensors_of(folder: Path) -> Path:
    (path,) = folder.glob("step-1-*.safetensors")
    return path


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: tensors_of(f).unlink(), "step-1"),
        (lambda f: cut(tensors_of(f)), "truncated"),
        (lambda f: flip(tensors_of(f)), "SHA-256"),
        (lambda f: cut(f / "state.json"), "state.json"),
        (lambda f: edit(f / "state.json", format=9), "newer"),
        (lambda f: edit(f / "state.json", record={"done": "1"}), "'record' differs"),
        (lambda f: (f / "state.json").write_text('{"format": 1}'), "missing"),
    ],
)
def test_a_damaged_state_is_named(damage: Any, words: str, tmp_path: Path) -> None:
    save_state(tmp_path, step=1, tensors={"a": torch.ones(2)}, record=None)
    damage(tmp_path)
    with pytest.raises(ModelFileError, match=words):
        load_state(tmp_path)
