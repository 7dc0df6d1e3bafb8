"""Candlesticks for sampled returns: an open, a high, a low and a volume that fit each close.

Owns how a bar looks beside its return, and how bars are drawn for the paths of a forecast. Knows
nothing of networks: the closes are the forecast's own, and stay untouched.

A bar is a gap, a body, two wicks and a volume. In units of the reference's scale, training days
with a similar standardised return lend the gap, the wicks and the volume; the body is what is left
of the return. So gap + body is the sampled return, whatever was lent, and wicks cannot be negative:
high ≥ max(open, close), low ≤ min(open, close) and volume ≥ 0 by construction. It is the nearest
neighbour bootstrap [1]_ with one neighbourhood per step ahead.

What is not modelled: given the returns, bars of one path are drawn independently of each other.

References
----------
.. [1] Lall, U. and Sharma, A. (1996). A nearest neighbor bootstrap for resampling hydrologic time
   series. Water Resources Research 32(3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.forecasting.forecasts import Forecasts, keyed_uniforms, with_tokens
from quantseq.forecasting.reference import POOL
from quantseq.forecasting.volatility import rolling_mean
from quantseq.market.bars import Bars, Dates, Floats, Panel

Z, GAP, UPPER, LOWER, VOLUME = range(5)
"""Columns of a lender: standardised return, gap, wicks (all over the scale), log relative volume."""

FIELDS = ("open", "high", "low", "close", "volume")
VOLUME_WINDOW = 20
"""Sessions whose mean volume is called usual."""

LENDERS = 2048
"""Training days kept per step: three quarters spread evenly over the returns, the rest the most
extreme ones on both sides."""

MIN_LENDERS = 100
NEIGHBOURS = (8, 48)
"""Days that a return may borrow from: fewest, among the extremes, and most."""

LARGEST = 25.0
"""A gap or wick of more scales than this is taken for an error in the data and lends nothing."""


@dataclass(frozen=True, eq=False)
class SampledBars:
    """Bars of M forecasts' paths, in prices of the last close's scale.

    Attributes
    ----------
    symbols : (M,) object
    cutoffs : (M,) datetime64[D]
    open, high, low, close, volume : (M, N, H) float64
    """

    symbols: NDArray[np.object_]
    cutoffs: Dates
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def quantile(self, name: str, levels: ArrayLike) -> Floats:
        """Quantiles over the paths of one field, (M, H, Q)."""
        asked = np.asarray(levels, dtype=np.float64)
        return np.asarray(np.moveaxis(np.quantile(getattr(self, name), asked, axis=1), 0, -1))

    @property
    def typical(self) -> NDArray[np.intp]:
        """Number of the path whose prices stay nearest to their medians over the paths, (M,)."""
        distance = np.zeros(self.close.shape[:2])
        for name in ("open", "high", "low", "close"):
            logs = np.log(getattr(self, name))
            spread = np.maximum(logs.std(axis=1, keepdims=True), 1e-12)
            away = (logs - np.median(logs, axis=1, keepdims=True)) / spread
            distance += (away**2).sum(axis=2)
        return np.asarray(distance.argmin(axis=1))


@dataclass(frozen=True, eq=False)
class BarModel:
    """Training days that lend their shape to sampled returns.

    Parameters
    ----------
    lenders : (H, D, 5) float64
        Per step ahead, D days sorted by standardised return; columns as named above.
    wicks : mapping of symbol to float
        Length of a symbol's wicks over everybody's; 1 under `POOL`.
    """

    lenders: Floats
    wicks: Mapping[str, float]

    @classmethod
    def fit(cls, panel: Panel, scales: Mapping[str, Floats]) -> Self | None:
        """Collect the lenders of a training block.

        Symbols whose sessions mostly have no range (closes only) lend nothing, nor do sessions
        without volume where others have one.

        Parameters
        ----------
        panel : Panel
            The training block: everything in it is used, nothing else is seen.
        scales : mapping of symbol to (n, H) float64
            At row i the reference's scales of sessions i + 1 … i + H, known at the close of i; rows
            beyond the block are ignored.

        Returns
        -------
        BarModel or None
            None if fewer than `MIN_LENDERS` days can lend.
        """
        own = {}
        for symbol, bars in panel.adjusted().items():
            if np.mean(bars.high == bars.low) <= 0.5:
                found = _shapes(bars, scales[symbol][: len(bars)])
                if found.shape[1]:
                    own[symbol] = found
        if not own:
            return None
        days = np.concatenate(list(own.values()), axis=1)
        known = np.isfinite(days[..., VOLUME]).all(axis=0)
        days = days[:, known] if known.any() else np.nan_to_num(days)
        if days.shape[1] < MIN_LENDERS:
            return None
        usual = _wick(days)
        wicks = {s: _wick(x) / usual for s, x in own.items() if x.shape[1] >= MIN_LENDERS}
        return cls(np.stack([_thin(step) for step in days]), {**wicks, POOL: 1.0})

    @property
    def horizon(self) -> int:
        """Steps ahead that have lenders."""
        return len(self.lenders)

    def sample(self, forecasts: Forecasts, panel: Panel) -> SampledBars:
        """Draw a bar for every return of every path.

        Parameters
        ----------
        forecasts : Forecasts
            With paths. The draws are keyed by its seed, the symbol and the cutoff.
        panel : Panel
            Only the closes and volumes up to each cutoff are used.

        Raises
        ------
        ConfigError
            If there are no paths, or more steps than the model has lenders for.
        """
        if forecasts.paths is None:
            raise ConfigError("Bars need paths: predict with num_paths > 0.")
        if forecasts.horizon > self.horizon:
            raise ConfigError(
                f"This bar model covers {self.horizon} steps; got a horizon of {forecasts.horizon}."
            )
        keys = np.array([f"{symbol}|bars" for symbol in forecasts.symbols], dtype=object)
        returns = forecasts.paths.astype(np.float64)
        draws = keyed_uniforms(forecasts.seed, keys, forecasts.cutoffs, returns.shape[1:])
        scale = with_tokens(forecasts.density).scale[:, None]
        z = returns / scale
        lent = np.empty((*z.shape, 5))
        for step in range(forecasts.horizon):
            lenders = self.lenders[step]
            lent[:, :, step] = lenders[_neighbour(lenders[:, Z], z[..., step], draws[..., step])]
        wick = [self.wicks.get(str(s), self.wicks[POOL]) for s in forecasts.symbols]
        longer = np.array(wick)[:, None, None] * scale
        overnight = forecasts.overnight_share[:, None, None]
        gap = (lent[..., GAP] + overnight * (z - lent[..., Z])) * scale
        last, usual = _known_at(panel, forecasts)
        close = last * np.exp(np.cumsum(returns, axis=2))
        before = np.concatenate([np.broadcast_to(last, (*close.shape[:2], 1)), close[..., :-1]], 2)
        open_ = before * np.exp(gap)
        return SampledBars(
            forecasts.symbols,
            forecasts.cutoffs,
            open_,
            np.maximum(open_, close) * np.exp(lent[..., UPPER] * longer),
            np.minimum(open_, close) * np.exp(-lent[..., LOWER] * longer),
            close,
            usual * np.exp(lent[..., VOLUME]),
        )

    def to_json(self) -> dict[str, Any]:
        """State as JSON values."""
        return {"lenders": self.lenders.tolist(), "wicks": dict(self.wicks)}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        return cls(np.array(state["lenders"]), dict(state["wicks"]))


def _shapes(bars: Bars, scale: Floats) -> Floats:
    """Shapes of all sessions that were forecast: (H, d, 5), from adjusted bars.

    Row i of step h is the bar of session i + h in units of the scale known at i, its volume over
    the mean of the sessions up to i; NaN where no volume is known.
    """
    n, horizon = scale.shape
    returns, gap = bars.log_returns(), np.full(n, np.nan)
    gap[1:] = np.log(bars.open[1:] / bars.close[:-1])
    upper = np.log(bars.high / np.maximum(bars.open, bars.close))
    lower = np.log(np.minimum(bars.open, bars.close) / bars.low)
    usual = rolling_mean(bars.volume, VOLUME_WINDOW)
    count = max(n - horizon, 0)
    shapes = np.empty((horizon, count, 5))
    for step in range(horizon):
        later, unit = slice(1 + step, 1 + step + count), scale[:count, step]
        columns = np.column_stack([returns, gap, upper, lower])[later]
        shapes[step, :, :VOLUME] = columns / unit[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.log(bars.volume[later] / usual[:count])
        shapes[step, :, VOLUME] = np.where(np.isfinite(ratio), ratio, np.nan)
    prices = shapes[..., :VOLUME]
    sane = np.isfinite(prices).all((0, 2)) & (np.abs(prices[..., GAP:]) <= LARGEST).all((0, 2))
    return shapes[:, sane]


def _wick(shapes: Floats) -> float:
    """Mean length of both wicks; the tiny number keeps a market without any from dividing by 0."""
    return float(shapes[..., UPPER : LOWER + 1].mean()) + 1e-9


def _thin(days: Floats) -> Floats:
    """At most `LENDERS` days, sorted by return, rounded as they will be stored."""
    ordered = days[np.argsort(days[:, Z], kind="stable")]
    count = len(ordered)
    if count > LENDERS:
        tail = LENDERS // 8
        middle = np.linspace(tail, count - tail - 1, LENDERS - 2 * tail).round().astype(np.intp)
        ordered = ordered[np.concatenate([np.arange(tail), middle, np.arange(count - tail, count)])]
    return ordered.round(4)


def _neighbour(ordered: Floats, z: Floats, draws: NDArray[np.floating]) -> NDArray[np.intp]:
    """Position of a random one among the days nearest in rank; fewer near the ends."""
    position = np.searchsorted(ordered, z)
    fewest, most = (count // 2 for count in NEIGHBOURS)
    half = np.clip(np.minimum(position, len(ordered) - position), fewest, most)
    first = np.clip(position - half, 0, len(ordered) - 2 * half)
    return np.asarray(first + (draws * 2 * half).astype(np.intp), dtype=np.intp)


def _known_at(panel: Panel, forecasts: Forecasts) -> tuple[Floats, Floats]:
    """Last close and usual volume at each row's cutoff, both (M, 1, 1)."""
    last, usual = np.empty(len(forecasts)), np.empty(len(forecasts))
    for row, (symbol, cutoff) in enumerate(zip(forecasts.symbols, forecasts.cutoffs, strict=True)):
        bars = panel[str(symbol)]
        end = int(np.searchsorted(bars.sessions, cutoff, "right"))
        if not end or bars.sessions[end - 1] != cutoff:
            raise NotEnoughDataError(
                f"{symbol} has no bar on the cutoff {cutoff}. Give the panel that was forecast."
            )
        last[row] = bars.close[end - 1]
        usual[row] = bars.volume[max(end - VOLUME_WINDOW, 0) : end].mean()
    return last[:, None, None], usual[:, None, None]
