"""What a forecast is, whatever made it: many (symbol, cutoff) rows of distributions and paths.

Owns `Forecasts` (columnar, what code passes around), the `Forecaster` protocol, the keyed draws, and the
moments of the return that a position really holds. Knows nothing of how a model works inside.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from quantseq.errors import ConfigError, CorruptFileError
from quantseq.files import atomic_path, parse_json
from quantseq.forecasting.density import RISK_LEVELS, Distribution, TokenDensity, concatenate
from quantseq.market.bars import Dates, Floats, Panel

QUANTILE_LEVELS = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)

Paths = NDArray[np.float32]
_BY_ROW = ("symbols", "cutoffs", "density", "overnight_share", "paths", "cumulative")


def with_tokens(density: Distribution) -> TokenDensity:
    """Give `density` back if it is a `TokenDensity`, as every t and the network have, else ConfigError."""
    if not isinstance(density, TokenDensity):
        raise ConfigError(
            "Expected shortfall and storage need a forecast from a Student-t, with or "
            f"without tokens. Got {type(density).__name__}: use its quantiles."
        )
    return density


@dataclass(frozen=True, eq=False)
class Forecasts:
    """M forecasts as columns."""

    model: str
    symbols: NDArray[np.object_]  # (M,)
    cutoffs: Dates  # (M,), the last session that each row's forecast saw
    density: Distribution  # marginal per step, (M, H); a `TokenDensity` for the network and every t
    overnight_share: Floats  # (M,), of a close-to-close variance, before the open; fitted on train
    trained_until: np.datetime64  # newest session that any fitted part has seen
    seed: int  # of the draws
    paths: Paths | None = None  # (M, N, H), joint samples of the log returns of steps 1..H
    cumulative: Floats | None = None  # (M, H, Q), what `without_paths` keeps of them

    def __len__(self) -> int:
        return len(self.symbols)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Forecasts":
        columns: dict[str, Any] = {name: getattr(self, name) for name in _BY_ROW}
        return replace(self, **{name: x[rows] for name, x in columns.items() if x is not None})

    @property
    def horizon(self) -> int:
        """H, steps ahead."""
        return self.density.shape[1]

    def quantile(self, levels: ArrayLike) -> Floats:
        """Quantiles of each step's log return, (M, H, Q)."""
        return self.density.quantile(levels)

    @property
    def mean(self) -> Floats:
        """Expected log return per step, (M, H)."""
        return self.density.mean

    @property
    def std(self) -> Floats:
        """Standard deviation of the log return per step, (M, H)."""
        return self.density.std

    @property
    def prob_up(self) -> Floats:
        """P(log return > 0) per step, (M, H)."""
        return self.density.prob_up

    @property
    def prob_zero(self) -> Floats:
        """P(log return = 0) per step, (M, H): above 0 where ticks are large."""
        return self.density.prob_zero

    @property
    def prob_down(self) -> Floats:
        """P(log return < 0) per step, (M, H)."""
        return self.density.prob_down

    def value_at_risk(self, levels: ArrayLike = RISK_LEVELS) -> Floats:
        """Losses per step, (M, H, Q): see `TokenDensity.value_at_risk`."""
        return with_tokens(self.density).value_at_risk(levels)

    def expected_shortfall(self, levels: ArrayLike = RISK_LEVELS) -> Floats:
        """Mean losses beyond the value at risk, (M, H, Q): see `TokenDensity`."""
        return with_tokens(self.density).expected_shortfall(levels)

    def cumulative_quantile(self, levels: ArrayLike) -> Floats:
        """Quantiles of the return from the cutoff to each step: (M, H, Q).

        Exact for the first step, over the paths for the later ones; ConfigError if none were asked for.
        """
        if self.paths is None:
            if self.cumulative is not None and tuple(np.ravel(levels)) == QUANTILE_LEVELS:
                return self.cumulative
            raise ConfigError("Cumulative quantiles need paths: predict with num_paths > 0.")
        summed = np.cumsum(self.paths, axis=2, dtype=np.float64)
        moved = np.moveaxis(np.quantile(summed, np.asarray(levels), axis=1), 0, -1)
        result: Floats = np.ascontiguousarray(moved)
        result[:, 0] = self.quantile(levels)[:, 0]
        return result

    def without_paths(self) -> "Forecasts":
        """The same forecasts with the quantiles of their paths' sums instead of the paths."""
        moved = None if self.paths is None else self.cumulative_quantile(QUANTILE_LEVELS)
        plain = replace(self.density)  # without what was computed of it meanwhile, which is larger
        return replace(self, density=plain, paths=None, cumulative=moved)

    def fill_moments(self, fill: str = "open") -> pd.DataFrame:
        """Moments of the log return that a position decided at the cutoff really holds.

        With open fills it is held from open t+1 to open t+2: the part of step 1 after the open and
        the overnight part of step 2. Both are split by the overnight share of variance. With close
        fills it is all of step 2. A horizon of one step stands in for the missing step 2.

        Columns symbol, cutoff, mean, std, prob_up; known at the close of cutoff. P(up) is that of step 1
        (close: step 2) after a change of location and scale, without ticks, the rest is P(down). ConfigError unless `fill` is open or close.
        """
        if fill not in ("open", "close"):
            raise ConfigError(f"fill must be 'open' or 'close'. Got {fill!r}.")
        last = min(1, self.horizon - 1)
        late = self.overnight_share if fill == "open" else np.ones(len(self))

        def held(one: Distribution) -> tuple[Floats, Floats]:
            mean = (1 - late) * one.mean[:, 0] + late * one.mean[:, last]
            return mean, np.sqrt((1 - late) * one.std[:, 0] ** 2 + late * one.std[:, last] ** 2)

        base, smooth = 0 if fill == "open" else last, self.density.untied
        (mean, std), (drift, spread) = held(self.density), held(smooth)
        threshold = smooth.mean.copy()
        threshold[:, base] -= smooth.std[:, base] * drift / spread
        prob_up = 1 - smooth.cdf(threshold)[:, base]
        columns = {"symbol": self.symbols, "cutoff": self.cutoffs.astype("datetime64[s]")}
        return pd.DataFrame(columns | {"mean": mean, "std": std, "prob_up": prob_up})

    def to_frame(self) -> pd.DataFrame:
        """One line per row and step: moments, quantiles ``q05 …``, cumulative ``cum_q05 …``."""
        rows, steps = len(self), self.horizon
        likeliest = np.full(self.density.shape, np.nan)
        if isinstance(self.density, TokenDensity):
            likeliest = np.asarray(self.density.probs, np.float64).max(axis=-1)
        columns: dict[str, NDArray[np.generic]] = {
            "symbol": np.repeat(self.symbols, steps),
            "cutoff": np.repeat(self.cutoffs, steps).astype("datetime64[s]"),
            "step": np.tile(np.arange(1, steps + 1), rows),
            "sigma": self.std.ravel(),
            "mean": self.mean.ravel(),
            "prob_up": self.prob_up.ravel(),
            "prob_zero": self.prob_zero.ravel(),
            "prob_down": self.prob_down.ravel(),
            "token_prob_max": likeliest.ravel(),
        }
        several = {"q": self.quantile(QUANTILE_LEVELS)}
        if self.paths is not None or self.cumulative is not None:
            several["cum_q"] = self.cumulative_quantile(QUANTILE_LEVELS)
        for kind, quantiles in several.items():
            for i, level in enumerate(QUANTILE_LEVELS):
                columns[f"{kind}{round(100 * level):02d}"] = quantiles[..., i].ravel()
        return pd.DataFrame(columns)

    def _repr_html_(self) -> str:
        """Shown by notebooks: the next step's moments and quantiles, one line per row."""
        few, levels = self[np.arange(min(len(self), 30))], (0.05, 0.5, 0.95)
        head = f"{self.model}: {len(self):,} forecasts of {self.horizon} steps, in per cent of log return; "
        frame = pd.DataFrame(
            100 * np.column_stack([few.std[:, 0], few.prob_up[:, 0], few.quantile(levels)[:, 0]]),
            pd.MultiIndex.from_arrays([few.symbols, few.cutoffs], names=["symbol", "cutoff"]),
            ["std", "P(up)", *(f"{100 * level:g} %" for level in levels)],
        )
        table = frame.to_html(float_format="{:.2f}".format, border=0, sparsify=False)
        left = (
            f"<div>{len(self) - 30:,} more forecasts are not shown.</div>" if len(self) > 30 else ""
        )
        seen = f"the model has seen nothing after {self.trained_until}."
        return f"<div><strong>{escape(head + seen)}</strong>{table}{left}</div>"

    @staticmethod
    def concatenate(parts: list["Forecasts"]) -> "Forecasts":
        """Stack forecasts of one model over folds; `trained_until` becomes the newest."""
        joined: dict[str, Any] = {"density": concatenate([part.density for part in parts])}
        for name in set(_BY_ROW) - {"density"}:
            values = [getattr(part, name) for part in parts]
            joined[name] = None if any(x is None for x in values) else np.concatenate(values)
        return replace(parts[0], trained_until=max(p.trained_until for p in parts), **joined)

    def save(self, path: Path) -> None:
        """Write as Parquet, atomically and to the bit, without paths; ConfigError as `with_tokens`."""
        arrays = with_tokens(self.density).arrays()
        if self.cumulative is not None:
            arrays["cumulative"] = self.cumulative
        columns = {
            "symbol": pa.array([str(s) for s in self.symbols]).dictionary_encode(),
            "cutoff": pa.array(self.cutoffs.astype("datetime64[D]")),
            "overnight_share": pa.array(self.overnight_share),
        }
        for name, values in arrays.items():
            flat = pa.array(np.ascontiguousarray(values).ravel())
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, values[0].size)
        head = {
            "model": self.model,
            "trained_until": str(self.trained_until),
            "seed": self.seed,
            "shapes": {name: values.shape[1:] for name, values in arrays.items()},
        }
        table = pa.table(columns).replace_schema_metadata({"quantseq": json.dumps(head)})
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read back what `save` wrote; CorruptFileError if the file cannot be read."""
        try:
            table = pq.read_table(path)
            head = parse_json(table.schema.metadata[b"quantseq"])
            arrays = {
                name: table[name].combine_chunks().flatten().to_numpy().reshape(-1, *shape)
                for name, shape in head["shapes"].items()
            }
            cumulative = arrays.pop("cumulative", None)
            return cls(
                head["model"],
                np.array(table["symbol"].to_pylist(), dtype=object),
                table["cutoff"].to_numpy().astype("datetime64[D]"),
                TokenDensity(**arrays),
                table["overnight_share"].to_numpy(),
                np.datetime64(head["trained_until"], "D"),
                head["seed"],
                cumulative=cumulative,
            )
        except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
            raise CorruptFileError(
                f"Cannot read {str(path)!r}: {error}. Delete it; it is computed again."
            ) from error


class Forecaster(Protocol):
    """Anything that forecasts; `trained_until` is checked before it is scored."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def trained_until(self) -> np.datetime64:
        """Newest session that any fitted part has seen."""
        ...

    def predict(
        self, panel: Panel, cutoffs: Dates, *, horizon: int, num_paths: int = 0, seed: int = 0
    ) -> Forecasts:
        """Forecast every symbol at every cutoff on which it traded.

        For each row only bars up to its cutoff are used, however rows are batched. NotEnoughDataError if
        nothing can be forecast.
        """
        ...


def with_zeros(
    paths: Floats,
    density: Distribution,
    seed: int,
    symbols: NDArray[np.object_],
    cutoffs: Dates,
) -> Floats:
    """Paths (M, N, H) without ticks, with the returns that are exactly 0 under `density`, by draws with their own key."""
    tied = with_tokens(density)
    rows = np.flatnonzero((tied.zero + tied.half_tick).any(axis=1))
    if len(rows):
        draws = keyed_uniforms(seed, symbols[rows] + "|zero", cutoffs[rows], paths.shape[1:])
        paths[rows] = tied[rows].tie(paths[rows], draws)
    return paths


def keyed_uniforms(
    seed: int, symbols: NDArray[np.object_], cutoffs: Dates, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Uniform draws in [0, 1) keyed by (seed, symbol, cutoff): (M, *shape).

    A row's numbers depend on nothing but its key, so neither batching nor the number of jobs
    changes a bit (Philox counter-based generator).
    """
    draws = np.empty((len(symbols), *shape), dtype=np.float32)
    for row, generator in enumerate(keyed_generators(seed, symbols, cutoffs)):
        draws[row] = generator.random(shape, dtype=np.float32)
    return draws


def keyed_generators(
    seed: int, symbols: NDArray[np.object_], cutoffs: Dates
) -> Iterator[np.random.Generator]:
    """One generator per row, keyed by (seed, symbol, cutoff)."""
    for symbol, cutoff in zip(symbols, cutoffs, strict=True):
        key = hashlib.blake2b(f"{seed}|{symbol}|{cutoff}".encode(), digest_size=16).digest()
        yield np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype=np.uint64)))
