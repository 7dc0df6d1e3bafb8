"""From forecasts to weights: what share of the money each symbol gets, decided at a close.

Owns the protocol, the list of policies, their combination, and how one is made by name. The single
rules stand in `rules`; what all of them share (slices of capital, kept positions, no-trade band,
caps) in `sizing`. Knows nothing of prices, fills or how costs are charged: a weight is dated by the
close at which it is decided, and only `backtest` says when it is filled.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import pandas as pd

from quantseq.errors import ConfigError
from quantseq.trading.decisions.rules import (
    FractionalKelly,
    MeanVariance,
    OverCost,
    Probability,
    Rank,
    Sign,
    VolTarget,
)
from quantseq.trading.decisions.sizing import PATIENCE, Floats, Sliced, View

__all__ = [
    "PATIENCE",
    "POLICIES",
    "Blend",
    "FractionalKelly",
    "MeanVariance",
    "OverCost",
    "Policy",
    "Probability",
    "Rank",
    "Sign",
    "VolTarget",
    "changed",
    "make_policy",
]


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
            Columns symbol, cutoff, mean, std, prob_up of the fill-to-fill log return, and es_long,
            es_short where a CVaR cap asks for them: one row per symbol and cutoff.

        Returns
        -------
        DataFrame
            Index ``decision`` (the cutoffs, sorted), one column per symbol. Portfolio weights
            without NaN, gross at most 1.
        """
        ...


SHARED = ("cap", "long_only", "cost_bps")
"""What a `Blend` hands to its parts."""


@dataclass(frozen=True, kw_only=True)
class Blend(Sliced):
    """Several policies at once: the mean of their positions, then one band and one set of caps.

    Parameters
    ----------
    parts : sequence of str
        Two or more names of other policies, taken with their own defaults and this one's ``cap``,
        ``long_only`` and ``cost_bps``.
    cap, long_only, band, gross, name_cap, cvar_cap, cost_bps
        As in `sizing.Sliced`.

    References
    ----------
    Bates & Granger (1969), "The Combination of Forecasts"; equal weights because estimated ones are
    hard to beat them with: DeMiguel, Garlappi & Uppal (2009), "Optimal Versus Naive
    Diversification".
    """

    name: ClassVar[str] = "blend"
    formula: ClassVar[str] = "mean of the positions of its parts"
    source: ClassVar[str] = "Bates & Granger (1969); DeMiguel, Garlappi & Uppal (2009)"

    parts: tuple[str, ...] = ("kelly", "vol_target")
    band: float | Literal["cost"] = "cost"

    def __post_init__(self) -> None:
        super().__post_init__()
        known = [name for name in POLICIES if name != self.name]
        if isinstance(self.parts, str) or len(tuple(self.parts)) < 2:
            raise ConfigError(
                f"The 'parts' parameter of Blend must name two or more policies. Got {self.parts!r}."
            )
        for part in self.parts:
            if part not in known:
                raise ConfigError(f"Blend cannot take {part!r}{_hint(part, known)}")
        object.__setattr__(self, "parts", tuple(self.parts))

    def position(self, view: View) -> Floats:
        """See `Sliced.position`."""
        shared: dict[str, Any] = {name: getattr(self, name) for name in SHARED}
        least = 0.0 if self.long_only else -self.cap
        found = [POLICIES[part](**shared).position(view) for part in self.parts]
        return np.asarray(np.mean([np.clip(one, least, self.cap) for one in found], axis=0))


POLICIES: Mapping[str, type[Sliced]] = {
    policy.name: policy
    for policy in (
        FractionalKelly,
        MeanVariance,
        Sign,
        Probability,
        OverCost,
        VolTarget,
        Rank,
        Blend,
    )
}
"""Every policy by name."""


def make_policy(name: str, **params: Any) -> Policy:
    """Build a policy by name.

    Parameters
    ----------
    name : str
        A key of `POLICIES`.
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
