"""What a forecast is, whatever made it: many (symbol, cutoff) rows of distributions and paths.

Owns `Forecasts` (columnar, what code passes around), the `Forecaster` protocol, the keyed draws, and the moments of the return that a position
really holds. Knows nothing of how a model works inside.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from quantseq.errors import ConfigError, CorruptFileError
from quantseq.files import atomic_path
from quantseq.forecasting.density import RISK_LEVELS, Distribution, TokenDensity, concatenate
from quantseq.market.bars import Dates, Floats, Panel

QUANTILE_LEVELS = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)

Paths = NDArray[np.float32]


def with_tokens(density: Distribution) -> TokenDensity:
    """Give `density` back if it is a `TokenDensity`, as every t and the network have.

    Raises
    ------
    ConfigError
        If its family has no closed form for what was asked.
    """
    if not isinstance(density, TokenDensity):
        raise ConfigError(
            "Expected shortfall and storage need a forecast from a Student-t, with or "
            f"without tokens. Got {type(density).__name__}: use its quantiles."
        )
    return density


@dataclass(frozen=True, eq=False)
class Forecasts:
    """M forecasts as columns.

    Parameters
    ----------
    model : str
        Name of the forecaster.
    symbols : (M,) object
    cutoffs : (M,) datetime64[D]
        Last session that each row's forecast saw.
    density : Distribution
        Marginal distribution per step, (M, H); a `TokenDensity` for the network and every t.
    overnight_share : (M,) float64
        Share of a close-to-close variance that falls between close and open; fitted on train.
    trained_until : datetime64[D]
        Newest session that any fitted part has seen.
    seed : int
        Seed of the draws.
    paths : (M, N, H) float32 or None
        Joint samples of the log returns of steps 1..H.
    cumulative : (M, H, Q) float64 or None
        What `without_paths` keeps of them: quantiles at `QUANTILE_LEVELS` of the return to each step.
    """

    model: str
    symbols: NDArray[np.object_]
    cutoffs: Dates
    density: Distribution
    overnight_share: Floats
    trained_until: np.datetime64
    seed: int
    paths: Paths | None = None
    cumulative: Floats | None = None

    def __len__(self) -> int:
        return len(self.symbols)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Forecasts":
        return replace(
            self,
            symbols=self.symbols[rows],
            cutoffs=self.cutoffs[rows],
            density=self.density[rows],
            overnight_share=self.overnight_share[rows],
            paths=None if self.paths is None else self.paths[rows],
            cumulative=None if self.cumulative is None else self.cumulative[rows],
        )

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

    def value_at_risk(self, levels: ArrayLike = RISK_LEVELS) -> Floats:
        """Losses per step, (M, H, Q): see `TokenDensity.value_at_risk`."""
        return with_tokens(self.density).value_at_risk(levels)

    def expected_shortfall(self, levels: ArrayLike = RISK_LEVELS) -> Floats:
        """Mean losses beyond the value at risk, (M, H, Q): see `TokenDensity`."""
        return with_tokens(self.density).expected_shortfall(levels)

    def cumulative_quantile(self, levels: ArrayLike) -> Floats:
        """Quantiles of the return from the cutoff to each step: (M, H, Q).

        Exact for the first step, over the paths for the later ones.

        Raises
        ------
        ConfigError
            If no paths were asked for.
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

    def without_paths(self, levels: tuple[float, ...] = QUANTILE_LEVELS) -> "Forecasts":
        """The same forecasts with the quantiles of their paths' sums instead of the paths."""
        moved = None if self.paths is None else self.cumulative_quantile(levels)
        return replace(self, paths=None, cumulative=moved)

    def fill_moments(self, fill: str = "open") -> pd.DataFrame:
        """Moments of the log return that a position decided at the cutoff really holds.

        With open fills it is held from open t+1 to open t+2: the part of step 1 after the open and
        the overnight part of step 2. Both are split by the overnight share of variance. With close
        fills it is all of step 2. A horizon of one step stands in for the missing step 2.

        Parameters
        ----------
        fill : {"open", "close"}
            Where orders are filled on session t+1.

        Returns
        -------
        DataFrame
            Columns symbol, cutoff, mean, std, prob_up; known at the close of cutoff. P(up) is that
            of step 1 (close: step 2) after a change of location and scale.
        """
        if fill not in ("open", "close"):
            raise ConfigError(f"fill must be 'open' or 'close'. Got {fill!r}.")
        last = min(1, self.horizon - 1)
        late = self.overnight_share if fill == "open" else np.ones(len(self))
        mean = (1 - late) * self.mean[:, 0] + late * self.mean[:, last]
        std = np.sqrt((1 - late) * self.std[:, 0] ** 2 + late * self.std[:, last] ** 2)
        base = 0 if fill == "open" else last
        threshold = self.mean.copy()
        threshold[:, base] -= self.std[:, base] * mean / std
        prob_up = 1 - self.density.cdf(threshold)[:, base]
        return pd.DataFrame(
            {
                "symbol": self.symbols,
                "cutoff": self.cutoffs.astype("datetime64[s]"),
                "mean": mean,
                "std": std,
                "prob_up": prob_up,
            }
        )

    def to_frame(self, *, levels: tuple[float, ...] = QUANTILE_LEVELS) -> pd.DataFrame:
        """One line per row and step: moments, quantiles ``q05 …``, cumulative ``cum_q05 …``."""
        rows, steps = len(self), self.horizon
        names = [f"{round(100 * level):02d}" for level in levels]
        columns: dict[str, NDArray[np.generic]] = {
            "symbol": np.repeat(self.symbols, steps),
            "cutoff": np.repeat(self.cutoffs, steps).astype("datetime64[s]"),
            "step": np.tile(np.arange(1, steps + 1), rows),
            "sigma": self.std.ravel(),
            "mean": self.mean.ravel(),
            "prob_up": self.prob_up.ravel(),
            "token_prob_max": self._token_prob_max().ravel(),
        }
        quantiles = self.quantile(levels)
        columns |= {f"q{n}": quantiles[..., i].ravel() for i, n in enumerate(names)}
        if self.paths is not None or self.cumulative is not None:
            summed = self.cumulative_quantile(levels)
            columns |= {f"cum_q{n}": summed[..., i].ravel() for i, n in enumerate(names)}
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

    def _token_prob_max(self) -> Floats:
        """Probability of the likeliest token, (M, H); NaN for a model without tokens."""
        if isinstance(self.density, TokenDensity):
            likeliest: Floats = np.asarray(self.density.probs, np.float64).max(axis=-1)
            return likeliest
        return np.full(self.density.shape, np.nan)

    @staticmethod
    def concatenate(parts: list["Forecasts"]) -> "Forecasts":
        """Stack forecasts of one model over folds; `trained_until` becomes the newest."""
        first = parts[0]
        density = concatenate([p.density for p in parts])
        paths = [p.paths for p in parts if p.paths is not None]
        moved = [p.cumulative for p in parts if p.cumulative is not None]
        return Forecasts(
            first.model,
            np.concatenate([p.symbols for p in parts]),
            np.concatenate([p.cutoffs for p in parts]),
            density,
            np.concatenate([p.overnight_share for p in parts]),
            max(p.trained_until for p in parts),
            first.seed,
            np.concatenate(paths) if len(paths) == len(parts) else None,
            np.concatenate(moved) if len(moved) == len(parts) else None,
        )

    def save(self, path: Path) -> None:
        """Write as Parquet, atomically and to the bit, without paths.

        Raises
        ------
        ConfigError
            If the distributions are no `TokenDensity`.
        """
        density = with_tokens(self.density)
        arrays = {name: getattr(density, name) for name in ("loc", "scale", "nu", "probs")}
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
        """Read back what `save` wrote.

        Raises
        ------
        CorruptFileError
            If the file cannot be read.
        """
        try:
            table = pq.read_table(path)
            head = json.loads(table.schema.metadata[b"quantseq"])
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

        For each row only bars up to its cutoff are used, however rows are batched.
        """
        ...


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
