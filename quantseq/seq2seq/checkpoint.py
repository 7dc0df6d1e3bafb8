"""Model folders and training states on disk: the only reader and writer of model files.

Owns the format. Does not know what is in `meta`, nor who trains. Weights are safetensors, the rest is
JSON: a file from somebody else cannot run code.

::

    folder/
    ├─ model.safetensors   weights by name
    ├─ config.json         format, architecture, meta, versions, SHA-256 of the weights
    ├─ training.json       history of the fit, if there is one, and the same SHA-256
    └─ state/              only while training can be resumed
        ├─ state.json          what is not a tensor, name of the tensor file, SHA-256 of both
        └─ step-N-HASH.safetensors  weights, best weights, optimiser

The three files of a model are replaced one after the other: first ``config.json``, which also keeps what
it described before, then the weights, then the history. Whoever reads in between, or after a kill in
between, finds by the hash of the weights which of the two models is there, and finds it whole.
"""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError  # noqa: TID251
from safetensors.torch import load as parse_tensors  # noqa: TID251
from safetensors.torch import save as format_tensors  # noqa: TID251
from torch import Tensor

from quantseq import __version__
from quantseq.errors import ConfigError, CorruptFileError, ModelFileError
from quantseq.files import (
    atomic_path,
    fingerprint,
    read_json,
    sha256_bytes,
    sha256_file,
    to_json,
    write_bytes,
    write_json,
)
from quantseq.seq2seq.learning.history import TrainingHistory
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig

FORMAT = 1
"""Version of the folder's layout. A reader refuses a higher one."""

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
TRAINING = "training.json"
STATE = "state.json"


def save_model(
    folder: Path,
    model: Seq2Seq,
    *,
    meta: Mapping[str, Any] | None = None,
    history: TrainingHistory | None = None,
) -> None:
    """Write a model folder; files that belong to others stay untouched.

    Parameters
    ----------
    folder : Path
        Where to; created if missing.
    model : Seq2Seq
        What to keep.
    meta : Mapping, optional
        JSON values that the caller wants back: ``task``, ``vocabulary`` (fingerprint of what the ids
        mean), ``trained_until`` (None where time plays no part), and whatever else.
    history : TrainingHistory, optional
        Record of the fit.

    Raises
    ------
    StorageError
        If the folder cannot be written. An older model in it then stays whole.
    """
    weights = format_tensors(_weights(model))
    digest = sha256_bytes(weights)
    config = {
        "format": FORMAT,
        "architecture": model.config.to_dict(),
        "meta": dict(meta or {}),
        "parameters": model.parameter_count,
        "weights_sha256": digest,
        "versions": {
            "quantseq": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
    }
    training = {
        "weights_sha256": digest,
        "history": None if history is None else history.to_dict(),
    }
    old = _replaced(folder)
    with (  # all are written before any replaces; they replace from the last to the first
        atomic_path(folder / CONFIG) as done_path,
        atomic_path(folder / TRAINING) as training_path,
        atomic_path(folder / WEIGHTS) as weights_path,
        atomic_path(folder / CONFIG) as config_path,
    ):
        config_path.write_text(to_json({**config, "replaces": old}), encoding="utf-8")
        weights_path.write_bytes(weights)
        training_path.write_text(to_json(training), encoding="utf-8")
        done_path.write_text(to_json(config), encoding="utf-8")


def _replaced(folder: Path) -> dict[str, Any] | None:
    """Find the description of the model that lies in `folder`, if there is one."""
    try:
        config = _mapping(folder / CONFIG)
        return _described(config, sha256_file(folder / WEIGHTS))
    except (ModelFileError, OSError):
        return None


def _described(config: dict[str, Any], digest: str) -> dict[str, Any]:
    """Give what describes the weights of this hash: the config, or the one that it replaces."""
    older = config.get("replaces")
    if isinstance(older, dict) and older.get("weights_sha256") == digest:
        return older
    return {name: value for name, value in config.items() if name != "replaces"}


def _weights(model: Seq2Seq) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.named_parameters()}


def load_model(folder: Path) -> tuple[Seq2Seq, dict[str, Any], TrainingHistory | None]:
    """Read a model folder.

    Returns
    -------
    model : Seq2Seq
        In eval mode.
    meta : dict
        What the writer gave.
    history : TrainingHistory or None
        Record of the fit.

    Raises
    ------
    ModelFileError
        If a file is missing, damaged, does not belong to the others or was written by a newer
        version. The message names the file.
    """
    config = _mapping(folder / CONFIG)
    _check_format(folder / CONFIG, config)
    if (folder / WEIGHTS).is_file():
        config = _described(config, sha256_file(folder / WEIGHTS))
    try:
        architecture = Seq2SeqConfig.from_dict(config["architecture"])
        meta, digest = dict(config["meta"]), config["weights_sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"{str(folder / CONFIG)!r} does not describe a model: {error}. "
            "It must hold 'architecture', 'meta' and 'weights_sha256'; train the model again."
        ) from error
    tensors = _tensors(folder / WEIGHTS, digest)
    model = Seq2Seq(architecture)
    _fill(model, tensors, folder / WEIGHTS)
    history = None
    if (folder / TRAINING).exists():
        history = _history(folder / TRAINING, digest)
    return model.eval(), meta, history


def _history(path: Path, digest: str) -> TrainingHistory | None:
    """Read the history that belongs to the weights of this hash; None if it is that of others."""
    values = _mapping(path)
    try:
        if values["weights_sha256"] != digest or values["history"] is None:
            return None
        return TrainingHistory.from_dict(values["history"])
    except (ConfigError, KeyError, TypeError) as error:
        raise ModelFileError(f"{str(path)!r} is damaged: {error}") from error


def save_state(folder: Path, *, step: int, tensors: Mapping[str, Tensor], record: Any) -> None:
    """Keep what a fit needs to go on; a reader sees the old state or the new one, never a mixture.

    Parameters
    ----------
    folder : Path
        State folder.
    step : int
        Steps done; in the name of the tensor file, as is the start of its hash.
    tensors : Mapping of str to Tensor
        Weights and optimiser.
    record : JSON value
        Everything else.
    """
    data = format_tensors({name: value.detach().clone() for name, value in tensors.items()})
    digest = sha256_bytes(data)
    file = folder / f"step-{step}-{digest[:12]}.safetensors"
    write_bytes(file, data)
    write_json(
        folder / STATE,
        {
            "format": FORMAT,
            "tensors": file.name,
            "sha256": digest,
            "record": record,
            "record_sha256": fingerprint(record),
        },
    )
    for other in folder.glob("*.safetensors"):
        if other != file:
            other.unlink(missing_ok=True)


def has_state(folder: Path) -> bool:
    """Whether `save_state` has ever finished in this folder."""
    return (folder / STATE).exists()


def load_state(folder: Path) -> tuple[dict[str, Tensor], Any] | None:
    """Read what `save_state` wrote; None if there is nothing.

    Raises
    ------
    ModelFileError
        If the state is damaged or was written by a newer version.
    """
    if not has_state(folder):
        return None
    path = folder / STATE
    state = _mapping(path)
    _check_format(path, state)
    try:
        name, digest, record = str(state["tensors"]), state["sha256"], state["record"]
        intact = state["record_sha256"] == fingerprint(record)
    except KeyError as error:
        raise ModelFileError(
            f"{str(path)!r} does not describe a training state: {error} is missing. "
            "Train without resuming."
        ) from error
    if not intact:
        raise ModelFileError(
            f"{str(path)!r} is damaged: the SHA-256 of 'record' differs. Train without resuming."
        )
    return _tensors(folder / Path(name).name, digest), record


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except CorruptFileError as error:
        raise ModelFileError(str(error)) from error


def _mapping(path: Path) -> dict[str, Any]:
    value = _json(path)
    if not isinstance(value, dict):
        raise ModelFileError(
            f"{str(path)!r} must hold a JSON object. Got {type(value).__name__}; "
            "train the model again."
        )
    return value


def _check_format(path: Path, values: Mapping[str, Any]) -> None:
    found = values.get("format")
    if not isinstance(found, int) or found < 1:
        raise ModelFileError(f"{str(path)!r} has no valid 'format'. Got {found!r}; it must be 1.")
    if found > FORMAT:
        raise ModelFileError(
            f"{str(path)!r} has format {found}, written by a newer quantseq. "
            f"This one reads up to format {FORMAT}; upgrade, or train the model again."
        )


def _tensors(path: Path, digest: object) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"Cannot read {str(path)!r}: {error.strerror}. A model needs it; train it again."
        ) from error
    try:
        tensors = parse_tensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelFileError(
            f"{str(path)!r} is damaged or truncated: {error}. Train the model again."
        ) from error
    if sha256_bytes(data) != digest:
        raise ModelFileError(
            f"{str(path)!r} does not belong to the JSON file beside it: the SHA-256 differs. "
            "Files of two models were mixed; copy the whole folder, or train the model again."
        )
    return tensors


def _fill(model: Seq2Seq, tensors: Mapping[str, Tensor], path: Path) -> None:
    expected = {name: tuple(value.shape) for name, value in model.named_parameters()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if expected != found:
        wrong = sorted(
            name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
        )
        raise ModelFileError(
            f"{str(path)!r} does not fit the architecture in {CONFIG!r}: {', '.join(wrong)} differ. "
            "Files of two models were mixed; train the model again."
        )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[name])
