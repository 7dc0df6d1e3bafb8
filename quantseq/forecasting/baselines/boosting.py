"""Gradient boosting: what a data scientist would reach for, quantile by quantile.

Owns `Boosting`: scikit-learn's histogram gradient boosting, one model per quantile level, pooled over
symbols, on returns over their EWMA scale; the step ahead is a feature, so that one model serves all
steps. There is no density: the rule between and beyond the levels is that of `Quantiles`.
"""

from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
from joblib import Parallel, delayed
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.baselines.rival import Rival, Rows
from quantseq.forecasting.distributions import Distribution, Quantiles
from quantseq.forecasting.forecasts import keyed_uniforms
from quantseq.forecasting.volatility import (
    aligned_returns,
    daily_variance,
    ewma_scale,
    rolling_mean,
)
from quantseq.market.bars import Bars, Floats, Panel

LEVELS = (0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.995)
"""Quantiles that are fitted: both ends of every interval that is scored."""

MAX_ROWS = 60_000
"""Training rows, evenly spaced over what there is."""

MIN_ROWS = 500
CLIP = 8.0
"""Standardised returns beyond this count as this, among features and targets."""


def inputs(bars: Bars) -> tuple[Floats, Floats]:
    """Features (n, 9) at the close of each session of adjusted bars, and the EWMA scale (n,)."""
    scale, returns = ewma_scale(bars), bars.log_returns()
    log_variance = np.log(daily_variance(bars))
    level = 2 * np.log(scale)
    z = np.clip(returns / scale, -CLIP, CLIP)
    week = rolling_mean(np.nan_to_num(z), 5)
    columns = [
        *(rolling_mean(log_variance, window) - level for window in (1, 5, 22, 120)),
        level,
        z,
        np.abs(z),
        week,
        rolling_mean(np.nan_to_num(z), 22),
    ]
    return np.column_stack(columns), scale


def _fit_level(level: float, x: Floats, y: Floats) -> Any:
    model = HistGradientBoostingRegressor(
        loss="quantile",
        quantile=level,
        learning_rate=0.06,
        max_iter=min(120, 20 + len(y) // 600),  # little data cannot bear many trees
        max_leaf_nodes=12,
        min_samples_leaf=300,
        l2_regularization=10.0,
        early_stopping=False,
        random_state=0,
    )
    with threadpool_limits(1):
        return model.fit(x, y)


@dataclass(frozen=True)
class Boosting(Rival):
    """Boosted quantiles of the standardised return.

    Parameters
    ----------
    models : tuple
        One regressor per level of `LEVELS`.
    horizon : int
        Steps that were fitted.
    """

    name = "boosting"
    models: tuple[Any, ...]
    horizon: int

    @classmethod
    def fit(cls, panel: Panel, overnight_share: Any, *, horizon: int, jobs: int = 1) -> Self:
        """Fit every level; each training row stands for one step, in turn.

        Raises
        ------
        NotEnoughDataError
            If fewer than `MIN_ROWS` rows have features and targets.
        """
        rows, targets = [], []
        for bars in panel.adjusted().values():
            features, scale = inputs(bars)
            z = aligned_returns(bars.log_returns(), horizon) / scale[:, None]
            usable = np.flatnonzero(np.isfinite(features).all(axis=1) & np.isfinite(z).all(axis=1))
            step = np.arange(len(usable)) % horizon
            rows.append(np.column_stack([features[usable], step + 1]))
            targets.append(np.clip(z[usable, step], -CLIP, CLIP))
        x, y = np.concatenate(rows), np.concatenate(targets)
        if len(x) < MIN_ROWS:
            raise NotEnoughDataError(
                f"boosting found {len(x)} usable sessions; it needs {MIN_ROWS}. Give a longer "
                "history or more symbols, or leave this rival out."
            )
        chosen = np.linspace(0, len(x) - 1, min(len(x), MAX_ROWS)).astype(np.intp)
        x, y = x[chosen], y[chosen]
        tasks = (delayed(_fit_level)(level, x, y) for level in LEVELS)
        models = Parallel(n_jobs=jobs)(tasks)
        return cls(panel.sessions[-1], overnight_share, tuple(models), horizon)

    def distribution(self, rows: Rows, horizon: int) -> Quantiles:
        """See `Rival.distribution`; quantiles that cross are put in order."""
        found = {symbol: inputs(bars) for symbol, bars in rows.panel.adjusted().items()}
        x = rows.stack({symbol: one[0] for symbol, one in found.items()})
        scale = rows.stack({symbol: one[1] for symbol, one in found.items()})
        values = np.empty((len(x), horizon, len(LEVELS)))
        with threadpool_limits(1):
            for step in range(horizon):
                stepped = np.column_stack([x, np.full(len(x), step + 1)])
                for number, model in enumerate(self.models):
                    values[:, step, number] = model.predict(stepped)
        return Quantiles(np.sort(values, axis=-1) * scale[:, None, None], LEVELS)

    def paths(self, rows: Rows, found: Distribution, num_paths: int, seed: int) -> Floats:
        """See `Rival.paths`: the steps are independent draws from their quantile functions."""
        shape = (num_paths, found.shape[1])
        draws = keyed_uniforms(seed, rows.symbols, rows.cutoffs, shape)
        return cast(Quantiles, found).at(draws)
