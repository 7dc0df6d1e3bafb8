"""From forecasts to weights: what share of the money each symbol gets, decided at a close.

Owns the policies and the rules that all of them share: one slice of capital per symbol, a cap on
each slice, a no-trade band, long-only unless told otherwise. Knows nothing of prices, fills or
costs: a weight is dated by the close at which it is decided, and only `backtest` says when it is
filled.

Every policy reads the *fill-to-fill* log return, the one that the position will really hold, by its
mean m, standard deviation s and probability of a rise. The expected simple return is taken as
μ = m + s²/2, the drift of a log-normal price.

Dates without a forecast
------------------------
A symbol that is not forecast at a decision date, on a holiday of its exchange for one, keeps its
position for up to `PATIENCE` decision dates in a row: no opinion is no reason to trade. From the date
after those its position is 0: no opinion for a week, no position. What is kept is the share of the
symbol's slice, which the band sees as no move; the weight stays the same too, unless another symbol
is forecast for the first time on that date and makes every slice smaller.

Causality
---------
A weight at date t depends on rows with ``cutoff <= t`` only. The slice of capital is 1/n with n the
number of distinct symbols forecast *so far*, and both the band and the kept positions look back
only, so cutting the forecasts at t leaves every weight up to t as it was.
"""

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantseq.errors import ConfigError

MOMENTS = ("symbol", "cutoff", "mean", "std", "prob_up")

PATIENCE = 5
"""Decision dates in a row over which a symbol without a forecast keeps its position."""

Floats = NDArray[np.float64]


class Policy(Protocol):
    """Anything that turns forecast moments into portfolio weights."""

    @property
    def name(self) -> str:
        """The name under which `make_policy` builds it."""
        ...

    def weights(self, moments: pd.DataFrame) -> pd.DataFrame:
        """Decide weights.

        Parameters
        ----------
        moments : DataFrame
            Columns symbol, cutoff, mean, std, prob_up of the fill-to-fill log return: one row per
            symbol and cutoff.

        Returns
        -------
        DataFrame
            Index ``decision`` (the cutoffs, sorted), one column per symbol. Portfolio weights
            without NaN, gross at most 1.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class _Sliced(ABC):
    """What all policies share: a position per symbol in [−1, 1], times that symbol's 1/n of capital.

    A symbol without a forecast keeps its position for `PATIENCE` decision dates, then has none.
    """

    name: ClassVar[str] = ""

    cap: float = 1.0
    long_only: bool = True
    band: float = 0.0

    def __post_init__(self) -> None:
        self._number("cap", above=0.0, most=1.0)
        self._number("band", least=0.0, below=1.0)
        if not isinstance(self.long_only, bool):
            raise ConfigError(
                f"The 'long_only' parameter of {type(self).__name__} must be true or false. "
                f"Got {self.long_only!r}."
            )

    def _number(
        self,
        name: str,
        *,
        least: float = -math.inf,
        above: float = -math.inf,
        most: float = math.inf,
        below: float = math.inf,
    ) -> None:
        value = getattr(self, name)
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (good and least <= value <= most and above < value < below):
            left = f"({above:g}" if above > -math.inf else f"[{least:g}"
            right = f"{below:g})" if below < math.inf else f"{most:g}]"
            raise ConfigError(
                f"The {name!r} parameter of {type(self).__name__} must be a number in "
                f"{left}, {right}. Got {value!r}."
            )

    @abstractmethod
    def _position(self, mu: Floats, std: Floats) -> Floats:
        """Position per symbol in [−1, 1] before caps, from expected simple return and std."""

    def weights(self, moments: pd.DataFrame) -> pd.DataFrame:
        """Decide weights for every cutoff in `moments`; see `Policy.weights`.

        Raises
        ------
        ConfigError
            If a column is missing, a value is not finite, std is not positive, or a symbol has two
            rows for one cutoff.
        """
        means, stds = _wide(moments)
        mean, std = means.to_numpy(), stds.to_numpy()
        known = np.isfinite(mean)
        position = self._position(mean + std**2 / 2, std)
        position = np.clip(position, 0.0 if self.long_only else -self.cap, self.cap)
        position = _hold(_keep(position, known), self.band)
        seen = np.maximum.accumulate(known, axis=0).sum(axis=1, keepdims=True)
        return pd.DataFrame(position / seen, index=means.index, columns=means.columns)


@dataclass(frozen=True, kw_only=True)
class FractionalKelly(_Sliced):
    """A fraction of the growth-optimal bet: position = fraction · μ / s², clipped to the cap.

    With μ = m + s²/2 this is the log-optimal share of one risky asset in continuous time. The full
    bet is optimal only when m and s are known; a fraction pays for their estimation error.

    Parameters
    ----------
    fraction : float in (0, 1]
        Share of the full Kelly bet.
    cap : float in (0, 1]
        Largest position of a symbol, as a share of its 1/n of capital.
    long_only : bool
        Positions below 0 become 0.
    band : float in [0, 1)
        No-trade band, as a share of the symbol's capital: inside it the last decision stands, from
        outside the position moves to its nearer edge; a target of exactly 0 always closes.

    References
    ----------
    Kelly (1956), "A New Interpretation of Information Rate". Merton (1969), "Lifetime Portfolio
    Selection under Uncertainty". MacLean, Thorp & Ziemba (2011), "The Kelly Capital Growth
    Investment Criterion". Band: Davis & Norman (1990), "Portfolio Selection with Transaction
    Costs".
    """

    name: ClassVar[str] = "kelly"

    fraction: float = 0.5
    band: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("fraction", above=0.0, most=1.0)

    def _position(self, mu: Floats, std: Floats) -> Floats:
        return self.fraction * mu / std**2


@dataclass(frozen=True, kw_only=True)
class Sign(_Sliced):
    """All in or all out: position = cap · sign(μ).

    Parameters
    ----------
    cap, long_only, band
        As in `FractionalKelly`; the band defaults to 0.

    References
    ----------
    The market-timing rule that Merton (1981), "On Market Timing and Investment Performance", uses to
    value direction forecasts.
    """

    name: ClassVar[str] = "sign"

    def _position(self, mu: Floats, std: Floats) -> Floats:
        return self.cap * np.sign(mu)


@dataclass(frozen=True, kw_only=True)
class VolTarget(_Sliced):
    """Constant risk: position = min(cap, target / (s·√periods)), with the sign of μ if not long-only.

    Long-only ignores μ: it is long always, and less of it when the forecast risk is high.

    Parameters
    ----------
    target : float in (0, 2]
        Annualised volatility wanted from each symbol's slice of capital.
    periods : int >= 1
        Sessions per year.
    cap, long_only, band
        As in `FractionalKelly`; the band defaults to 0.

    References
    ----------
    Moreira & Muir (2017), "Volatility-Managed Portfolios". Harvey et al. (2018), "The Impact of
    Volatility Targeting".
    """

    name: ClassVar[str] = "vol_target"

    target: float = 0.15
    periods: int = 252

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("target", above=0.0, most=2.0)
        self._number("periods", least=1, most=366)

    def _position(self, mu: Floats, std: Floats) -> Floats:
        size = np.minimum(self.cap, self.target / (std * math.sqrt(self.periods)))
        return size if self.long_only else size * np.sign(mu)


POLICIES: Mapping[str, type[_Sliced]] = {
    policy.name: policy for policy in (FractionalKelly, Sign, VolTarget)
}
"""Every policy by name."""


def make_policy(name: str, **params: Any) -> Policy:
    """Build a policy by name.

    Parameters
    ----------
    name : str
        A key of `POLICIES`: kelly, sign or vol_target.
    **params
        The policy's parameters.

    Raises
    ------
    ConfigError
        If the name or a parameter is unknown (with the nearest known one), or a value breaks a rule.

    Examples
    --------
    >>> make_policy("kelly", fraction=0.25).name
    'kelly'
    """
    if name not in POLICIES:
        raise ConfigError(f"There is no policy {name!r}{_hint(name, POLICIES)}")
    policy = POLICIES[name]
    known = [one.name for one in fields(policy)]
    for param in params:
        if param not in known:
            raise ConfigError(f"Policy {name!r} has no parameter {param!r}{_hint(param, known)}")
    return policy(**params)


def changed(weights: pd.DataFrame) -> pd.DataFrame:
    """Where a decision differs from the one before: the `trade` mask that lets positions drift.

    Without it the backtest brings every position back to its weight after each decision, so that a
    weight which stays put still trades against every price move. The first decision counts as
    changed.

    Parameters
    ----------
    weights : DataFrame
        Weights by decision date, as a policy gives them.

    Returns
    -------
    DataFrame of bool
        Same index and columns.
    """
    values = weights.to_numpy()
    mask = np.ones(values.shape, dtype=bool)
    mask[1:] = values[1:] != values[:-1]
    return pd.DataFrame(mask, index=weights.index, columns=weights.columns)


def _hint(word: str, known: Any) -> str:
    near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    question = f"; did you mean {near[0]!r}?" if near else "."
    return f"{question} Known: {', '.join(known)}."


def _wide(moments: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    missing = [name for name in MOMENTS if name not in moments.columns]
    if missing:
        raise ConfigError(
            f"The moments lack the columns {missing}; found {list(map(str, moments.columns))}. "
            f"They need {', '.join(MOMENTS)}."
        )
    if moments.empty:
        raise ConfigError("The moments hold no rows. Forecast at least one cutoff first.")
    values = moments[["mean", "std"]].to_numpy(dtype=np.float64)
    bad = ~np.isfinite(values).all(axis=1) | (values[:, 1] <= 0)
    if bad.any():
        worst = moments.iloc[int(np.argmax(bad))]
        raise ConfigError(
            f"The forecast of {worst['symbol']} at {worst['cutoff']} has mean {worst['mean']} and std "
            f"{worst['std']}. Both must be finite and std above 0; repair the forecast or drop the row."
        )
    symbols = list(dict.fromkeys(moments["symbol"]))
    column = pd.Index(symbols).get_indexer(pd.Index(moments["symbol"]))
    dates, row = np.unique(
        pd.DatetimeIndex(moments["cutoff"]).to_numpy().astype("datetime64[s]"), return_inverse=True
    )
    if np.isnat(dates).any():
        raise ConfigError("A forecast has no cutoff. Date every row by the last session it saw.")
    cell = row * len(symbols) + column
    if len(np.unique(cell)) < len(cell):
        twice = moments.iloc[int(np.argmax(pd.Series(cell).duplicated()))]
        raise ConfigError(
            f"{twice['symbol']} has two forecasts for {twice['cutoff']}. "
            "Each symbol needs one row per cutoff; drop the duplicates."
        )
    wide = np.full((2, len(dates), len(symbols)), np.nan)
    wide[:, row, column] = values.T
    index = pd.DatetimeIndex(dates, name="decision")
    return pd.DataFrame(wide[0], index, symbols), pd.DataFrame(wide[1], index, symbols)


def _keep(position: Floats, known: NDArray[np.bool_]) -> Floats:
    """Carry the last known position for `PATIENCE` dates; 0 after them and before the first."""
    day = np.arange(len(known))[:, None]
    last = np.maximum.accumulate(np.where(known, day, -1), axis=0)
    kept = np.take_along_axis(position, np.maximum(last, 0), axis=0)
    return np.where((last >= 0) & (day - last <= PATIENCE), kept, 0.0)


def _hold(target: Floats, band: float) -> Floats:
    """Follow `target` lazily: move only to the nearer edge of the band; a target of 0 closes."""
    if band == 0:
        return target
    held = np.zeros_like(target)
    last = np.zeros(target.shape[1])
    for row, goal in enumerate(target):
        last = np.where(goal == 0, 0.0, np.clip(last, goal - band, goal + band))
        held[row] = last
    return held
