"""What a forecast is, whatever made it: many (symbol, cutoff) rows of distributions and paths.

Owns `Forecasts` (columnar, what code passes around), `Forecast` (one row of it, what people look
at), the `Forecaster` protocol, the keyed draws, and the moments of the return that a position
really holds. Knows nothing of how a model works inside.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from quantseq.errors import ConfigError
from quantseq.forecasting.density import RISK_LEVELS, SIMPLE_BOUND, TokenDensity
from quantseq.forecasting.distributions import Distribution, concatenate
from quantseq.market.bars import Dates, Floats, Panel
from quantseq.notebook import MOST, card

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
            "Expected shortfall, simple returns and bars need a forecast from a Student-t, with or "
            f"without tokens. Got {type(density).__name__}: use its quantiles."
        )
    return density


@dataclass(frozen=True, eq=False)
class Forecast:
    """One symbol at one cutoff; every field is known at the close of `cutoff`.

    Attributes
    ----------
    symbol : str
    cutoff : datetime64[D]
        Last session that the model saw.
    paths : (num_paths, horizon) float32 or None
        Sampled log returns per step.
    token_probs : (V,) float64 or None
        Probabilities of the first step's bins; None for a model without tokens.
    density : Distribution
        The marginal distributions of the steps, shape (1, H).
    seed : int
    """

    symbol: str
    cutoff: np.datetime64
    paths: Paths | None
    token_probs: Floats | None
    density: Distribution
    seed: int

    def quantile(self, levels: ArrayLike) -> Floats:
        """Log-return quantiles per step, (H, Q)."""
        return np.asarray(self.density.quantile(levels)[0])

    @property
    def mean(self) -> Floats:
        """Expected log return per step, (H,)."""
        return np.asarray(self.density.mean[0])

    @property
    def prob_up(self) -> Floats:
        """P(log return > 0) per step, (H,)."""
        return np.asarray(self.density.prob_up[0])

    def value_at_risk(self, levels: ArrayLike = RISK_LEVELS) -> Floats:
        """Losses per step, (H, Q): see `TokenDensity.value_at_risk`."""
        return np.asarray(with_tokens(self.density).value_at_risk(levels)[0])

    def expected_shortfall(self, levels: ArrayLike = RISK_LEVELS) -> Floats:
        """Mean losses beyond the value at risk, (H, Q): see `TokenDensity.expected_shortfall`."""
        return np.asarray(with_tokens(self.density).expected_shortfall(levels)[0])

    def simple_moments(self, *, bound: float = SIMPLE_BOUND) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the simple return, (H,): see `TokenDensity`."""
        mean, std = with_tokens(self.density).simple_moments(bound=bound)
        return mean[0], std[0]


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
    """

    model: str
    symbols: NDArray[np.object_]
    cutoffs: Dates
    density: Distribution
    overnight_share: Floats
    trained_until: np.datetime64
    seed: int
    paths: Paths | None = None

    def __len__(self) -> int:
        return len(self.symbols)

    def __iter__(self) -> Iterator[Forecast]:
        for row in range(len(self)):
            one = self[np.array([row])]
            tokens = one.density.probs[0, 0] if isinstance(one.density, TokenDensity) else None
            yield Forecast(
                str(self.symbols[row]),
                self.cutoffs[row],
                None if one.paths is None else one.paths[0],
                None if tokens is None else np.asarray(tokens, dtype=np.float64),
                one.density,
                self.seed,
            )

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Forecasts":
        return replace(
            self,
            symbols=self.symbols[rows],
            cutoffs=self.cutoffs[rows],
            density=self.density[rows],
            overnight_share=self.overnight_share[rows],
            paths=None if self.paths is None else self.paths[rows],
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

    def simple_moments(self, *, bound: float = SIMPLE_BOUND) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the simple return, (M, H): see `TokenDensity`."""
        return with_tokens(self.density).simple_moments(bound=bound)

    def cumulative_quantile(self, levels: ArrayLike) -> Floats:
        """Quantiles of the return from the cutoff to each step: (M, H, Q).

        Exact for the first step, over the paths for the later ones.

        Raises
        ------
        ConfigError
            If no paths were asked for.
        """
        if self.paths is None:
            raise ConfigError("Cumulative quantiles need paths: predict with num_paths > 0.")
        summed = np.cumsum(self.paths, axis=2, dtype=np.float64)
        moved = np.moveaxis(np.quantile(summed, np.asarray(levels), axis=1), 0, -1)
        result: Floats = np.ascontiguousarray(moved)
        result[:, 0] = self.quantile(levels)[:, 0]
        return result

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
        if self.paths is not None:
            summed = self.cumulative_quantile(levels)
            columns |= {f"cum_q{n}": summed[..., i].ravel() for i, n in enumerate(names)}
        return pd.DataFrame(columns)

    def _repr_html_(self) -> str:
        """Shown by notebooks: the next step's moments and quantiles, one line per row."""
        few = self[np.arange(min(len(self), MOST))]
        levels = (0.05, 0.5, 0.95)
        numbers = np.column_stack(
            [few.std[:, 0], few.prob_up[:, 0], few.quantile(levels)[:, 0]]
        ).tolist()
        rows = [
            [str(symbol), str(cutoff), *(f"{100 * value:.2f} %" for value in values)]
            for symbol, cutoff, values in zip(few.symbols, few.cutoffs, numbers, strict=True)
        ]
        left = len(self) - len(few)
        return card(
            f"{self.model}: {len(self):,} forecasts of {self.horizon} steps",
            f"Log return of the next step; the model has seen nothing after {self.trained_until}.",
            ["symbol", "cutoff", "std", "P(up)", *(f"{100 * level:g} %" for level in levels)],
            rows,
            f"{left:,} more forecasts are not shown." if left else "",
        )

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
        return Forecasts(
            first.model,
            np.concatenate([p.symbols for p in parts]),
            np.concatenate([p.cutoffs for p in parts]),
            density,
            np.concatenate([p.overnight_share for p in parts]),
            max(p.trained_until for p in parts),
            first.seed,
            np.concatenate(paths) if len(paths) == len(parts) else None,
        )


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
