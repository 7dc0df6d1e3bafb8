"""Model folders and training states on disk: the only reader and writer of model files.

Owns the format. Does not know what is in `meta`, nor who trains. Weights are safetensors, the rest is
JSON: a file from somebody else cannot run code.

::

    folder/
    ├─ model.safetensors   weights by name
    ├─ config.json         format, architecture, meta, versions, SHA-256 of the weights
    ├─ training.json       history of the fit, if there is one
    └─ state/              only while training can be resumed
        ├─ state.json          what is not a tensor, name and SHA-256 of the tensor file
        └─ step-N-HASH.safetensors  weights, best weights, optimiser
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

from quantseq.errors import ConfigError, CorruptFileError, ModelFileError
from quantseq.files import atomic_path, read_json, sha256_bytes, to_json, write_bytes, write_json
from quantseq.seq2seq.history import TrainingHistory
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
        JSON values that the caller wants back: task, tokenizer fingerprint, training cutoff.
    history : TrainingHistory, optional
        Record of the fit.

    Raises
    ------
    StorageError
        If the folder cannot be written. An older model in it then stays whole.
    """
    weights = format_tensors(_weights(model))
    config = {
        "format": FORMAT,
        "architecture": model.config.to_dict(),
        "meta": dict(meta or {}),
        "parameters": model.parameter_count,
        "weights_sha256": sha256_bytes(weights),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
    }
    training = None if history is None else history.to_dict()
    with (
        atomic_path(folder / CONFIG) as config_path,
        atomic_path(folder / TRAINING) as training_path,
        atomic_path(folder / WEIGHTS) as weights_path,
    ):
        weights_path.write_bytes(weights)
        training_path.write_text(to_json(training), encoding="utf-8")
        config_path.write_text(to_json(config), encoding="utf-8")


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
        values = _json(folder / TRAINING)
        try:
            history = None if values is None else TrainingHistory.from_dict(values)
        except (ConfigError, TypeError) as error:
            raise ModelFileError(f"{str(folder / TRAINING)!r} is damaged: {error}") from error
    return model.eval(), meta, history


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
        {"format": FORMAT, "tensors": file.name, "sha256": digest, "record": record},
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
    except KeyError as error:
        raise ModelFileError(
            f"{str(path)!r} does not describe a training state: {error} is missing. "
            "Train without resuming."
        ) from error
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
