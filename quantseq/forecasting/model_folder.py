"""A fitted forecaster as a folder, written whole or not at all, and checked when read back.

::

    price/
    ├─ forecaster.json    configuration, calibration, training cutoff, symbols, hashes of data and parts
    ├─ tokenizer.json     what an id means, with its fingerprint
    ├─ task.json          reference density and measures of the inputs
    └─ member-0/ …        one network each, in the format of `quantseq.seq2seq.checkpoint`

Owns this layout. The networks' files are read and written by the seq2seq room alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quantseq.errors import CorruptFileError, ModelFileError
from quantseq.files import atomic_folder, fingerprint, read_json, sha256_file, to_json, write_json
from quantseq.forecasting.calibration import Recalibration, Shrinkage
from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.inputs import CHANNELS, NUM_DAYS, NUM_EVENTS, NUM_NUMBERS, Measure
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.forecasting.reference import POOL
from quantseq.forecasting.tokenizer import ReturnTokenizer
from quantseq.forecasting.volatility import WINDOWS
from quantseq.forecasting.windows import PriceTask
from quantseq.seq2seq.checkpoint import MODEL_FILE, load_model, save_model

FORMAT = 6
STATE = "forecaster.json"
_OURS = ("tokenizer.json", "task.json", "metrics.json", "member-[0-9]", "member-[0-9][0-9]")


def save_forecaster(
    folder: Path, forecaster: Seq2SeqForecaster, *, metrics: Mapping[str, Any] | None = None
) -> None:
    """Write a forecaster's folder, replacing an older one only when the new one is complete.

    What else lies in that folder stays. `metrics`, what the training measured, become ``metrics.json``, for
    people. StorageError if the folder holds something else, or cannot be written.
    """
    with atomic_folder(folder, [STATE, "task.json"], _OURS) as fresh:
        task = forecaster.task.to_json()
        forecaster.task.tokenizer.save(fresh / "tokenizer.json")
        write_json(fresh / "task.json", task)
        for number, network in enumerate(forecaster.networks):
            history = forecaster.histories[number] if forecaster.histories else None
            meta = {
                "task": "price",
                "member": number,
                "vocabulary": forecaster.task.tokenizer.fingerprint,
                "trained_until": str(forecaster.trained_until),
            }
            save_model(fresh / f"member-{number}", network, meta=meta, history=history)
        if metrics is not None:
            write_json(fresh / "metrics.json", metrics)
        members = [_member_hash(fresh, number) for number in range(len(forecaster.networks))]
        parts = {"format": FORMAT, "task": fingerprint(task), "members": members}
        state = json.loads(to_json(forecaster.describe() | parts))  # as it will be read back
        write_json(fresh / STATE, state | {"fingerprint": fingerprint(state)})


def _member_hash(folder: Path, number: int) -> str:
    """Hash of a member's weights and their description."""
    return sha256_file(folder / f"member-{number}" / MODEL_FILE)


def load_forecaster(folder: Path) -> Seq2SeqForecaster:
    """Read a forecaster back; ModelFileError if it is missing, damaged, mismatched, or of another format."""
    if not (folder / STATE).is_file():
        raise ModelFileError(
            f"No trained price model in {str(folder)!r}. "
            "Train one with `quantseq train --task price`, or name its folder with --model."
        )
    try:
        state = read_json(folder / STATE)
        if state["format"] != FORMAT:
            raise ModelFileError(
                f"{str(folder)!r} has format {state['format']}; this quantseq reads {FORMAT}. "
                "Train the model again."
            )
        stamp = state.pop("fingerprint")
        _unchanged(folder / STATE, fingerprint(state), stamp)
        tokenizer = ReturnTokenizer.load(folder / "tokenizer.json", expected=state["tokenizer"])
        task = read_json(folder / "task.json")
        _unchanged(folder / "task.json", fingerprint(task), state["task"])
        config = ForecasterConfig(**state["config"])
        if len(state["members"]) != config.members:
            raise ValueError(f"it has {len(state['members'])} members of {config.members}")
        fitted = PriceTask.from_json(task, tokenizer)
        _check_fitted(fitted, config)
        for number, expected in enumerate(state["members"]):
            _unchanged(folder / f"member-{number}", _member_hash(folder, number), expected)
        members = [load_model(folder / f"member-{i}") for i in range(config.members)]
        if any(model.config != config.architecture() for model, _, _ in members):
            raise ValueError("a member has another architecture than the forecaster")
        return Seq2SeqForecaster(
            config,
            fitted,
            tuple(model for model, _, _ in members),
            Shrinkage(**state["shrinkage"] | {"later": tuple(state["shrinkage"]["later"])}),
            Recalibration(**state["recalibration"]),
            np.datetime64(state["validate_from"], "D"),
            np.datetime64(state["trained_until"], "D"),
            tuple(map(str, state["symbols"])),
            dict(state["data_hashes"]),
            int(state["num_windows"]),
            tuple(history for _, _, history in members if history is not None),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OSError, CorruptFileError) as error:
        raise ModelFileError(
            f"The model in {str(folder)!r} is damaged: {error}. "
            "Restore the folder or train the model again."
        ) from error


def _check_fitted(task: PriceTask, config: ForecasterConfig) -> None:
    """Refuse what no fit gives; a ValueError says what. A folder may come from anybody, its hashes too."""
    reference, steps = task.reference, config.horizon
    scale, shapes = reference.volatility, reference.shapes.values()
    parts = reference.starts, reference.shapes, reference.overnight_share
    numbers = NUM_NUMBERS + NUM_DAYS
    levels = np.array([*reference.starts.values(), *map(sum, scale.garch.values())], dtype=float)
    good = {
        "the bins": task.tokenizer.num_bins == config.num_bins,
        "the measures": _is_fitted(task.channels, len(CHANNELS))
        and _is_fitted(reference.measure, numbers),
        "the slopes": reference.slopes.shape == (steps, 1 + numbers)
        and reference.event_slopes.shape == (steps, NUM_EVENTS)
        and bool(np.isfinite(reference.slopes).all() and np.isfinite(reference.event_slopes).all()),
        "the horizon": reference.horizon == steps and reference.drift.shape == (steps,),
        "the pooled parameters": all(POOL in one for one in parts),
        "the shapes": all(one.shape == (steps, 2) and (one > 0).all() for one in shapes),
        "the levels": bool(np.isfinite(levels).all()),
        "the overnight shares": all(0 <= one <= 1 for one in reference.overnight_share.values()),
        "the volatility": scale.kind == config.volatility
        and ("" in scale.models) == scale.kind.startswith("har")
        and all(len(one) == 5 for one in scale.garch.values())
        and all(
            np.isfinite(one.coefficients).all()
            and one.coefficients.shape == (len(WINDOWS) + 5, steps)
            and (one.rescale > 0).all()
            and one.rescale.shape == (steps,)
            for one in scale.models.values()
        ),
    }
    if wrong := [name for name, holds in good.items() if not holds]:
        raise ValueError(f"{wrong[0]} of the reference cannot have been fitted")


def _is_fitted(measure: Measure, numbers: int) -> bool:
    parts = measure.low, measure.high, measure.mean, measure.deviation
    finite = all(one.shape == (numbers,) and np.isfinite(one).all() for one in parts)
    return finite and bool((measure.low <= measure.high).all() and (measure.deviation > 0).all())


def _unchanged(path: Path, found: str, stored: str) -> None:
    if found != stored:
        raise CorruptFileError(f"{path.name} was changed after the model was saved")
