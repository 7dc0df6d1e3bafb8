"""Flip single bits in every kind of file that quantseq reads back, and count what nobody notices.

Each trial flips one bit, drawn uniformly over the files of a kind, reads them as quantseq does, and puts the bit back. What
comes out is one of: *refused* (an error of the house that names the file, or a verdict that says so), *made again* (said, and
the same as before), *harmless* (the same content: blanks in JSON, unused bytes in Parquet), *silent* (other content, without a
word), or a *traceback*. The last two must not happen. ::

    python tests/campaigns/flip.py --times 200 --seed 0
"""

import argparse
import hashlib
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

from quantseq.config import RunConfig
from quantseq.errors import QuantseqError
from quantseq.evaluation import run as loop
from quantseq.evaluation.walkforward import WalkForward
from quantseq.files import Places
from quantseq.forecasting.model_folder import load_forecaster
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.store import Store
from quantseq.pipeline.backtest import backtest
from quantseq.pipeline.data import fetch, sample_panel
from quantseq.pipeline.sweep import Grid, list_trials, sweep
from quantseq.pipeline.train import train_price, train_toy
from quantseq.pipeline.verify import verify
from quantseq.reporting.render import render
from quantseq.reporting.run import Run
from quantseq.seq2seq.checkpoint import load_state
from quantseq.seq2seq.copy_task import ensure_gate

OUTCOMES = ("refused", "made again", "harmless", "silent", "traceback")
CONFIG = RunConfig(
    forecaster=ForecasterConfig(members=1, epochs=1, horizon=2),
    walk_forward=WalkForward(test_size=300, validation_size=120, min_train=500, purge=2),
    num_paths=20,
    seed=7,
)
GRID = Grid(
    policies=("probability",), knobs={"probability": {"threshold": (0.5, 0.55)}}, costs_bps=(5.0,)
)


class NoticedError(Exception):
    """What is not refused by an error, but by a verdict."""


@dataclass(frozen=True)
class Kind:
    """Files of a kind, and how they are read: to a text of all that they say, with what is said on the way."""

    files: list[Path]
    read: Callable[[Callable[[str], None]], object]


def told(value: Any) -> str:
    """A value as a text that differs wherever it does."""
    if isinstance(value, pd.DataFrame):
        return f"{value.dtypes.to_dict()}{value.to_csv()}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{told(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(told, value)) + "]"
    return repr(value)


def _forecaster(folder: Path) -> str:
    found = load_forecaster(folder)
    weights = [
        {name: weight.detach().numpy() for name, weight in network.named_parameters()}
        for network in found.networks
    ]
    return told(
        [found.describe(), weights, [asdict(one) for one in found.histories], found.task.to_json()]
    )


def _run(folder: Path) -> str:
    run = Run.load(folder)
    tables = [getattr(run, name) for name in ("scores", "forecasts", "weights", "equity", "trades")]
    return told([run.manifest, run.result, tables, run.hashes])


def _verified(folder: Path) -> str:
    found = verify(folder)
    if not found.passed:
        raise NoticedError(str(found.differences[0]))
    return told(found.checked)


def _ledger(places: Places) -> str:
    found = list_trials(places)
    if (
        not found["intact"]
        or found["torn"]
        or any(one["returns"] == "changed" for one in found["trials"])
    ):
        raise NoticedError(found["sentence"])
    return told(found)


def _part(cache: Path, say: Callable[[str], None]) -> str:
    """Every kept part as the loop takes it; one that is damaged it would make again, after saying so."""
    found = []
    for path in sorted(cache.glob("*.json")):
        part = path.with_suffix("")
        if not loop._is_kept(part, say):
            raise NoticedError("it is made again")
        taken = loop._taken(part)
        found.append([taken.scores, taken.details])
        if taken.forecasts is not None:
            found[-1].append(taken.forecasts.to_frame())
    return told(found)


def _state(folder: Path) -> str:
    state = load_state(folder)
    assert state is not None
    tensors, record = state
    return told([{name: one.numpy() for name, one in tensors.items()}, record])


def prepare(root: Path) -> dict[str, Kind]:
    """Make one of everything, small."""
    places = Places(root / "data", root / "reports")
    fetch(["IBM", "MSFT"], source="sample", places=places, start="2003-01-01", end="2006-12-31")
    panel = sample_panel().select(["IBM", "MSFT"]).between("2003-01-01", "2006-12-31")
    how: dict[str, Any] = {"config": CONFIG, "places": places}
    run = backtest(panel, **how).folder
    swept = sweep(panel, grid=GRID, **how).folder
    model = train_price(panel, out=root / "price", config=CONFIG.forecaster, places=places).folder
    toy = train_toy("seed", out=root / "toy", batches=20).folder
    gate = ensure_gate(CONFIG.forecaster.architecture(), folder=places.gates)
    assert gate.was_cached

    def bars(_: object) -> str:
        several = [Store(places.data).read(symbol) for symbol in ("IBM", "MSFT")]
        infos = [Store(places.data).info(symbol) for symbol in ("IBM", "MSFT")]
        return told([[one.sha256, one.timezone, dict(one.provenance)] for one in several] + [infos])

    def resumed(_: object) -> str:
        again = train_toy("seed", out=root / "toy", batches=20, resume=True)
        return told({name: one for name, one in again.items() if not name.startswith("seconds")})

    remade = Counter[str]()

    def noted(say: Callable[[str], None], kind: str) -> Callable[[str], None]:
        """Hear of damage; what takes long is made again five times only."""

        def hear(line: str) -> None:
            if "damaged" in line or "do not match" in line:
                say(line)
                remade[kind] += 1
                if remade[kind] > 5:
                    raise NoticedError(line)

        return hear

    def gated(given: Callable[[str], None]) -> str:
        say = noted(given, "gate")
        record = ensure_gate(
            CONFIG.forecaster.architecture(), folder=places.gates, seed=CONFIG.seed, say=say
        )
        return told([record.passed, record.score, record.seed, record.batches, record.padding_gap])

    class Said:
        """A progress that hears."""

        def __init__(self, say: Callable[[str], None]) -> None:
            from quantseq.progress import Progress

            self.say, self.bar, self.tell = say, Progress().bar, say

    def swept_again(say: Callable[[str], None]) -> str:
        found = sweep(panel, grid=GRID, progress=Said(noted(say, "sweep")), **how)  # type: ignore[arg-type]
        return told([found.result["sweep"]["points"], found.result["verdict"]["sharpe"]])

    def files(folder: Path, pattern: str = "**/*") -> list[Path]:
        return sorted(
            one for one in folder.glob(pattern) if one.is_file() and not one.name.startswith(".")
        )

    sealed = [one for one in files(run) if one.suffix != ".html"]
    return {
        "stored bars": Kind(files(places.data / "bars", "**/*.parquet"), bars),
        "parts of a run: JSON": Kind(
            files(places.cache, "*.json"), lambda say: _part(places.cache, say)
        ),
        "parts of a run: scores": Kind(
            files(places.cache, "*.scores"), lambda say: _part(places.cache, say)
        ),
        "parts of a run: forecasts": Kind(
            files(places.cache, "*.forecasts"), lambda say: _part(places.cache, say)
        ),
        "parts of a run: models": Kind(
            files(places.cache, "*.model/**/*"), lambda say: _part(places.cache, say)
        ),
        "run folder, rendered": Kind(sealed, lambda _: render(run)),
        "run folder, loaded": Kind(sealed, lambda _: _run(run)),
        "run folder, SHA256SUMS": Kind([run / "SHA256SUMS"], lambda _: _run(run)),
        "page, verified": Kind([run / "report.html"], lambda _: _verified(run)),
        "sweep: points": Kind(files(swept / "points"), swept_again),
        "sweep: results": Kind([*files(swept, "*.*"), swept / "SHA256SUMS"], swept_again),
        "ledger": Kind([places.ledger], lambda _: _ledger(places)),
        "model folder: weights": Kind(
            files(model, "member-*/model.safetensors"), lambda _: _forecaster(model)
        ),
        "model folder: history": Kind(
            files(model, "member-*/training.json"), lambda _: _forecaster(model)
        ),
        "model folder: JSON": Kind(
            [model / f"{name}.json" for name in ("forecaster", "tokenizer", "task")],
            lambda _: _forecaster(model),
        ),
        "training state": Kind([toy / "state/state.safetensors"], lambda _: _state(toy / "state")),
        "milestones, resumed": Kind([toy / "milestones.json"], resumed),
        "toy folder, rendered": Kind(
            [
                toy / f"{name}.json"
                for name in ("metrics", "samples", "config", "training", "attention")
                if (toy / f"{name}.json").exists()
            ]
            + [toy / "SHA256SUMS"],
            lambda _: render(toy),
        ),
        "gate's record": Kind(files(places.gates, "*.json"), gated),
    }


def flips(rng: random.Random, files: list[Path], times: int) -> Iterator[tuple[Path, int]]:
    """Files and bits, uniformly over all bytes of a kind."""
    sizes = [one.stat().st_size for one in files]
    for _ in range(times):
        place = rng.randrange(sum(sizes))
        for file, size in zip(files, sizes, strict=True):
            if place < size:
                yield file, 8 * place + rng.randrange(8)
                break
            place -= size


def attempt(kind: Kind, file: Path, bit: int, before: object) -> tuple[str, str]:
    """Flip, read, put back: the outcome, and what was said."""
    beside = [one for one in {*kind.files, file, *file.parent.iterdir()} if one.is_file()]
    kept = {one: one.read_bytes() for one in beside}
    data = bytearray(kept[file])
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)
    said: list[str] = []
    try:
        after = kind.read(said.append)
        outcome = "made again" if said else "harmless"
        return (outcome, "") if after == before else ("silent", f"{after!s:.80}")
    except (QuantseqError, NoticedError) as error:
        return ("made again" if said else "refused"), str(error)
    except Exception as error:
        return "traceback", repr(error)[:200]
    finally:
        for one, content in kept.items():
            if not one.is_file() or one.read_bytes() != content:
                one.write_bytes(content)


def campaign(
    kinds: Mapping[str, Kind], times: int, seed: int, tell: Callable[[str], None] = print
) -> dict[str, Counter[str]]:
    """Flip `times` bits of each kind."""
    found = {}
    for name, kind in kinds.items():
        rng, counts = random.Random(f"{seed} {name}"), Counter[str]()
        before, bad = kind.read(lambda _: None), []
        for file, bit in flips(rng, kind.files, times):
            outcome, why = attempt(kind, file, bit, before)
            counts[outcome] += 1
            if outcome in OUTCOMES[3:]:
                bad.append(f"    {outcome}: {file.name}, bit {bit}: {why}")
        tell(
            f"| {name} | {len(kind.files)} | {times} | {' | '.join(str(counts[o]) for o in OUTCOMES)} |"
        )
        for one in bad[:5]:
            tell(one)
        found[name] = counts
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--times", type=int, default=200, help="flips of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", help="only kinds whose name contains one of these")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flip-") as place:
        kinds = prepare(Path(place))
        if asked.kinds:
            kinds = {n: k for n, k in kinds.items() if any(part in n for part in asked.kinds)}
        print(
            f"| kind of file | files | flips | {' | '.join(OUTCOMES)} |\n|---|---|---|---|---|---|---|---|",
            flush=True,
        )
        found = campaign(kinds, asked.times, asked.seed, lambda line: print(line, flush=True))
    sys.exit(any(counts[bad] for counts in found.values() for bad in OUTCOMES[3:]))


if __name__ == "__main__":
    main()
