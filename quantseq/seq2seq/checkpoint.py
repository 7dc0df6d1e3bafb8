"""Model folders and training states on disk: the only reader and writer of model files.

Owns the format, and `TrainingHistory`, which lies in it. Does not know what is in `meta`, nor who
trains. Files are safetensors with JSON in their header: one from somebody else cannot run code, and one
that is replaced is replaced whole, so that a reader or a kill in between finds the old or the new one.

::

    folder/
    ├─ model.safetensors   weights by name; header: architecture, meta, versions
    ├─ config.json         the header again, for people
    ├─ training.json       history of the fit, and the hash of the weights it led to
    └─ state/              only while training can be resumed
        └─ state.safetensors   weights, best weights, optimiser; header: what is not a tensor
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open  # noqa: TID251
from safetensors.torch import save as format_tensors  # noqa: TID251
from torch import Tensor

from quantseq import __version__
from quantseq.errors import ConfigError, CorruptFileError, ModelFileError
from quantseq.files import (
    fingerprint,
    parse_json,
    read_sealed,
    seal,
    sha256_bytes,
    write_bytes,
    write_json,
)
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig

_FORMAT = 2  # version of the files. A reader refuses another one

MODEL_FILE = "model.safetensors"
_HISTORY_FILE = "training.json"
STATE_FILE = "state.safetensors"


@dataclass
class TrainingHistory:
    """Record of a fit; losses are nats per target token."""

    steps: list[int] = field(default_factory=list)  # long fits keep every k-th step, and the last
    losses: list[float] = field(default_factory=list)  # of those minibatches
    validation_steps: list[int] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best_step: int | None = None  # after which the kept weights were reached
    best_loss: float | None = None  # their validation loss
    stopped_early: bool = False  # patience ran out before the planned steps
    examples: int = 0  # sequences seen
    seconds: float = 0.0


def save_model(
    folder: Path,
    model: Seq2Seq,
    *,
    meta: Mapping[str, Any] | None = None,
    history: TrainingHistory | None = None,
) -> None:
    """Write a model folder; files that belong to others stay untouched.

    `meta` are JSON values that the caller wants back: ``task``, ``vocabulary`` (fingerprint of what the
    ids mean), ``trained_until`` (None where time plays no part), and whatever else. After a StorageError
    an older model in the folder is still whole.
    """
    versions = {"quantseq": __version__, "python": platform.python_version()}
    record = {
        "architecture": asdict(model.config),
        "meta": dict(meta or {}),
        "parameters": model.parameter_count,
        "versions": versions | {"torch": str(torch.__version__)},
    }
    past = None if history is None else asdict(history)
    digest = _write(folder / MODEL_FILE, dict(model.named_parameters()), record)
    write_json(folder / "config.json", {"format": _FORMAT, **record, "weights_sha256": digest})
    write_json(folder / _HISTORY_FILE, seal({"weights_sha256": digest, "history": past}))


def load_model(folder: Path) -> tuple[Seq2Seq, dict[str, Any], TrainingHistory | None]:
    """Read a model folder: the model in eval mode, `meta`, and the record of the fit if there is one.

    A ModelFileError names a file that is missing, damaged or of another format.
    """
    path = folder / MODEL_FILE
    tensors, record = _read(path)
    try:
        config, meta = Seq2SeqConfig.from_dict(record["architecture"]), dict(record["meta"])
        bare = Seq2Seq(config, shapes_only=True)
        shapes = {n: (w.shape, w.dtype) for n, w in bare.named_parameters()}
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ModelFileError(
            f"{str(path)!r} does not describe a model: {error}. Train the model again."
        ) from error
    if shapes != {n: (w.shape, w.dtype) for n, w in tensors.items()}:
        raise ModelFileError(
            f"{str(path)!r} holds weights that do not fit its own architecture. "
            "Train the model again."
        )
    model = Seq2Seq(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(tensors[name])
    return model.eval(), meta, _history(folder / _HISTORY_FILE, _digest(tensors, record))


def _history(path: Path, digest: str) -> TrainingHistory | None:
    """Read the history that led to the weights of this hash; None if it is that of others."""
    if not path.exists():
        return None
    try:
        values = read_sealed(path)
        if values["weights_sha256"] != digest or values["history"] is None:
            return None
        return TrainingHistory(**values["history"])
    except (CorruptFileError, KeyError, TypeError) as error:
        raise ModelFileError(f"{str(path)!r} is damaged: {error}") from error


def save_state(folder: Path, *, tensors: Mapping[str, Tensor], record: Any) -> None:
    """Keep what a fit needs to go on: tensors by name, and everything else as JSON."""
    _write(folder / STATE_FILE, tensors, record)


def load_state(folder: Path) -> tuple[dict[str, Tensor], Any] | None:
    """Read what `save_state` wrote; None if there is nothing, a ModelFileError if it is damaged."""
    return _read(folder / STATE_FILE) if (folder / STATE_FILE).exists() else None


def _digest(tensors: Mapping[str, Tensor], record: Any) -> str:
    """Hash of names, bytes and record."""
    parts = {name: sha256_bytes(tensors[name].numpy().tobytes()) for name in sorted(tensors)}
    return fingerprint([parts, record])


def _write(path: Path, tensors: Mapping[str, Tensor], record: Any) -> str:
    copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    digest = _digest(copies, json.loads(json.dumps(record)))
    header = json.dumps({"format": _FORMAT, "record": record, "sha256": digest}, allow_nan=False)
    write_bytes(path, format_tensors(copies, {"quantseq": header}))  # one key: no order to vary
    return digest


def _read(path: Path) -> tuple[dict[str, Tensor], Any]:
    if not path.is_file():
        raise ModelFileError(f"{str(path)!r} is missing. A model needs it; train it again.")
    try:
        with safe_open(path, framework="pt") as file:
            header = parse_json((file.metadata() or {})["quantseq"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found, digest, record = header["format"], header.get("sha256"), header.get("record")
        fresh = _digest(tensors, record)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(
            f"{str(path)!r} is damaged, or no file of quantseq: {error!r}. Train the model again."
        ) from error
    if found != _FORMAT:
        raise ModelFileError(
            f"{str(path)!r} has format {found!r}; this quantseq reads {_FORMAT}. "
            "Use the version that wrote it, or train the model again."
        )
    if fresh != digest:
        raise ModelFileError(
            f"{str(path)!r} is damaged: its SHA-256 differs. Restore it, or train the model again."
        )
    if bad := [name for name, one in tensors.items() if not one.isfinite().all()]:
        raise ModelFileError(
            f"{str(path)!r} holds NaN or infinite numbers in {bad[0]!r}. Train the model again."
        )
    return tensors, record
