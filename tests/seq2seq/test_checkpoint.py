"""A model folder gives back the same machine, or says which file is wrong."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from quantseq.errors import ModelFileError, StorageError
from quantseq.files import read_json, read_sealed, seal, write_json
from quantseq.seq2seq import checkpoint
from quantseq.seq2seq.checkpoint import (
    TrainingHistory,
    load_model,
    load_state,
    save_model,
    save_state,
)
from quantseq.seq2seq.model import Seq2SeqConfig
from tests.seq2seq.conftest import EVERY_CONFIG, config_of, machine, name_of, random_batch

META = {"task": "copy", "edges": [0.5, 1.0]}
MODEL, TRAINING = "model.safetensors", "training.json"


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
    for file in (MODEL, "config.json", TRAINING):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_config_says_what_the_model_is(tmp_path: Path) -> None:
    save_model(tmp_path, machine(config_of()), meta=META)
    written = read_json(tmp_path / "config.json")
    assert written["architecture"]["vocab_size"] == 7
    assert written["meta"] == META
    assert set(written["versions"]) == {"quantseq", "python", "torch"}
    assert load_model(tmp_path)[2] is None


@pytest.mark.parametrize("reached", range(4))
def test_a_save_killed_at_any_file_leaves_a_whole_model(
    reached: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {"old": machine(config_of()), "new": machine(config_of(hidden_size=7))}
    batch, histories = random_batch(config_of()), [TrainingHistory(examples=n) for n in (1, 2)]
    save_model(tmp_path, models["old"], meta={"name": "old"}, history=histories[0])
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
            save_model(tmp_path, models["new"], meta={"name": "new"}, history=histories[1])
        except StorageError:
            assert reached < 3
    model, meta, history = load_model(tmp_path)
    assert meta == {"name": "new" if reached else "old"}
    assert torch.equal(model(batch), models[meta["name"]](batch))
    assert history == [histories[0], None, None, histories[1]][reached]


def test_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    save_model(tmp_path, machine(config_of()))
    save_model(tmp_path, machine(config_of(cell="gru")))
    assert (tmp_path / "metrics.json").read_text() == "{}"
    assert load_model(tmp_path)[0].config.cell == "gru"


def test_no_file_is_a_pickle(tmp_path: Path) -> None:
    save_model(tmp_path, machine(config_of()))
    save_state(tmp_path / "state", tensors={"a": torch.ones(2)}, record={})
    for path in tmp_path.rglob("*.*"):
        assert path.suffix in {".json", ".safetensors"}
        assert not path.read_bytes().startswith((b"\x80", b"PK"))


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def swap(path: Path, old: bytes, new: bytes) -> None:
    """Change the header without its length."""
    assert len(old) == len(new)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / MODEL).unlink(), "missing"),
        (lambda f: cut(f / MODEL), "damaged"),
        (lambda f: (f / MODEL).write_bytes(b""), "damaged"),
        (lambda f: flip(f / MODEL), "SHA-256"),
        (lambda f: swap(f / MODEL, b"copy", b"sort"), "SHA-256"),
        (lambda f: swap(f / MODEL, b'format\\": 2', b'format\\": 9'), "format 9"),
        (lambda f: cut(f / TRAINING), TRAINING),
        (lambda f: (f / TRAINING).write_text('{"a": 1}'), TRAINING),
    ],
)
def test_damage_is_named(damage: Any, words: str, tmp_path: Path) -> None:
    save_model(tmp_path, machine(config_of()), meta=META, history=TrainingHistory())
    damage(tmp_path)
    with pytest.raises(ModelFileError, match=words):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"meta": {}}, "architecture"),
        ({"architecture": {"vocab_size": 9, "x": 1}, "meta": {}}, "unexpected .*'x'"),
        ({"architecture": asdict(config_of(hidden_size=7)), "meta": {}}, "do not fit"),
    ],
    ids=str,
)
def test_a_description_of_something_else_is_refused(
    record: dict[str, Any], words: str, tmp_path: Path
) -> None:
    checkpoint._write(tmp_path / MODEL, dict(machine(config_of()).named_parameters()), record)
    with pytest.raises(ModelFileError, match=words):
        load_model(tmp_path)


def test_an_unwritable_folder_keeps_the_old_model(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError):
        save_model(tmp_path / "file" / "m", machine(config_of()))
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_state_replaces_the_one_before(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    for step in (1, 2):
        save_state(tmp_path, tensors={"a": torch.full((2,), step)}, record=[step])
    state = load_state(tmp_path)
    assert state is not None
    assert state[0]["a"].tolist() == [2, 2]
    assert state[1] == [2]
    assert len(list(tmp_path.iterdir())) == 1
    flip(tmp_path / "state.safetensors")
    with pytest.raises(ModelFileError, match="SHA-256"):
        load_state(tmp_path)


def test_a_history_survives_json_and_refuses_other_names(tmp_path: Path) -> None:
    history = TrainingHistory([0, 1], [2.5, 1.25], [0, 2], [3.0, 2.0], 2, 2.0, True, 200, 1.5)
    save_model(tmp_path, machine(config_of()), history=history)
    assert load_model(tmp_path)[2] == history
    path = tmp_path / "training.json"
    record = read_sealed(path)
    record["history"]["colour"] = 1
    write_json(path, record)
    with pytest.raises(ModelFileError, match="does not match its own SHA-256"):
        load_model(tmp_path)
    write_json(path, seal(record))
    with pytest.raises(ModelFileError, match="colour"):
        load_model(tmp_path)


def strange(folder: Path, change: Any = None, **architecture: Any) -> Path:
    """A stranger's model: another architecture or other weights, and hashes that fit."""
    model = machine(config_of())
    tensors = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    if change is not None:
        change(tensors)
    record = {"architecture": asdict(model.config) | architecture, "meta": {}}
    checkpoint._write(folder / MODEL, tensors, record)
    return folder


@pytest.mark.parametrize(
    "sizes",
    [
        {"hidden_size": 10**9},
        {"hidden_size": 4096},
        {"vocab_size": 10**9},
        {"embedding_size": -1},
        {"layers": 10**6},
        {"source_streams": [10**12]},
        {"source_streams": ["x"]},
        {"condition_streams": None},
        {"never_emit": [-1]},
        {"dropout": None},
        {"cell": []},
    ],
    ids=str,
)
def test_absurd_sizes_are_refused_before_memory_is_asked_for(
    sizes: dict[str, Any], tmp_path: Path
) -> None:
    load_model(strange(tmp_path))
    with pytest.raises(ModelFileError):
        load_model(strange(tmp_path, **sizes))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float, tmp_path: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        next(iter(tensors.values())).view(-1)[0] = value

    with pytest.raises(ModelFileError, match="NaN or infinite"):
        load_model(strange(tmp_path, change))


@pytest.mark.parametrize("kind", [torch.float64, torch.int64, torch.float16])
def test_weights_of_another_kind_are_refused(kind: torch.dtype, tmp_path: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        name = next(iter(tensors))
        tensors[name] = tensors[name].to(kind)

    with pytest.raises(ModelFileError):
        load_model(strange(tmp_path, change))
