"""Which volatility a forecaster stands on: causal scales under one protocol, chosen by name.

Owns `make_scale`, the choice between ``har`` (pooled over the panel, the default), ``har-symbol`` (one
regression per symbol), ``ewma`` and ``gjr`` (GJR-GARCH per symbol, fitted by ``arch``), and what each
falls back to. Knows nothing of densities, tokens or networks.

Every scale answers the same question: at the close of session i, how large will the returns of
sessions i + 1 … i + H be? None of them is ever below ``sqrt(VARIANCE_FLOOR)``.

References
----------
.. [1] Glosten, L., Jagannathan, R. and Runkle, D. (1993). On the relation between the expected value
   and the volatility of the nominal excess return on stocks. Journal of Finance 48(5).
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from quantseq.errors import ConfigError, NotEnoughDataError
from quantseq.forecasting.har import HarModel
from quantseq.forecasting.volatility import (
    VARIANCE_FLOOR,
    SymbolFeatures,
    backcast,
    ewma_of_returns,
    gjr_variances,
)
from quantseq.market.bars import Floats

MIN_OWN_ROWS = 500
"""Training sessions below which a symbol gets no parameters of its own."""


class Scale(Protocol):
    """A fitted volatility."""

    @property
    def kind(self) -> str:
        """Its name in `SCALES`."""
        ...

    @property
    def horizon(self) -> int:
        """Steps ahead that it covers."""
        ...

    def scale(self, symbol: str, one: SymbolFeatures) -> Floats:
        """Volatility of each of the next H returns: (n, H), the row of session i known at its close.

        NaN before there is enough history.
        """
        ...

    def to_json(self) -> dict[str, Any]:
        """State as JSON values."""
        ...


@dataclass(frozen=True)
class PooledHar:
    """One range-based HAR for all symbols; a symbol that was never seen is like any other."""

    kind: ClassVar[str] = "har"
    model: HarModel

    @property
    def horizon(self) -> int:
        """See `Scale.horizon`."""
        return self.model.horizon

    @classmethod
    def fit(cls, data: Mapping[str, SymbolFeatures], *, horizon: int) -> Self:
        """Fit on the training block; raises what `HarModel.fit` raises."""
        return cls(HarModel.fit(data, horizon=horizon))

    def scale(self, symbol: str, one: SymbolFeatures) -> Floats:
        """See `Scale.scale`."""
        return self.model.scale(one.har)

    def to_json(self) -> dict[str, Any]:
        """See `Scale.to_json`."""
        return self.model.to_json()

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        return cls(HarModel.from_json(state))


@dataclass(frozen=True)
class SymbolHar:
    """A range-based HAR per symbol; symbols with a short history, and new ones, take the pooled one.

    Parameters
    ----------
    pooled : HarModel
    own : mapping of symbol to HarModel
    """

    kind: ClassVar[str] = "har-symbol"
    pooled: HarModel
    own: Mapping[str, HarModel]

    @property
    def horizon(self) -> int:
        """See `Scale.horizon`."""
        return self.pooled.horizon

    @classmethod
    def fit(cls, data: Mapping[str, SymbolFeatures], *, horizon: int) -> Self:
        """Fit on the training block; raises what `HarModel.fit` raises."""
        own = {}
        for symbol, one in data.items():
            if np.isfinite(one.har).all(axis=1).sum() >= MIN_OWN_ROWS:
                try:
                    own[symbol] = HarModel.fit({symbol: one}, horizon=horizon)
                except NotEnoughDataError:  # most of its prices are stale
                    continue
        return cls(HarModel.fit(data, horizon=horizon), own)

    def scale(self, symbol: str, one: SymbolFeatures) -> Floats:
        """See `Scale.scale`."""
        return self.own.get(symbol, self.pooled).scale(one.har)

    def to_json(self) -> dict[str, Any]:
        """See `Scale.to_json`."""
        own = {symbol: model.to_json() for symbol, model in self.own.items()}
        return {"pooled": self.pooled.to_json(), "own": own}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        own = {symbol: HarModel.from_json(one) for symbol, one in state["own"].items()}
        return cls(HarModel.from_json(state["pooled"]), own)


@dataclass(frozen=True)
class Ewma:
    """RiskMetrics volatility of close-to-close returns, the same for every step; nothing is fitted."""

    kind: ClassVar[str] = "ewma"
    horizon: int

    @classmethod
    def fit(cls, data: Mapping[str, SymbolFeatures], *, horizon: int) -> Self:
        """See `Scale`; any data will do."""
        return cls(horizon)

    def scale(self, symbol: str, one: SymbolFeatures) -> Floats:
        """See `Scale.scale`."""
        return np.repeat(ewma_of_returns(one.returns)[:, None], self.horizon, axis=1)

    def to_json(self) -> dict[str, Any]:
        """See `Scale.to_json`."""
        return {"horizon": self.horizon}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        return cls(int(state["horizon"]))


@dataclass(frozen=True)
class GjrGarch:
    """GJR-GARCH(1,1,1) [1]_ with Student-t errors per symbol, parameters fixed after training.

    Symbols with a short history, without movement or without a convergent fit, and new ones, take
    the EWMA.

    Parameters
    ----------
    horizon : int
    parameters : mapping of symbol to (5,) float64
        ω, α, γ, β, and the variance before the first session.
    """

    kind: ClassVar[str] = "gjr"
    horizon: int
    parameters: Mapping[str, Floats]

    @classmethod
    def fit(cls, data: Mapping[str, SymbolFeatures], *, horizon: int) -> Self:
        """Fit by maximum likelihood with ``arch``, on the training block."""
        found = {}
        for symbol, one in data.items():
            parameters = _fit_gjr(one.returns[1:])
            if parameters is not None:
                found[symbol] = parameters
        return cls(horizon, found)

    def scale(self, symbol: str, one: SymbolFeatures) -> Floats:
        """See `Scale.scale`; later steps are the model's own expected variances."""
        if symbol not in self.parameters:
            return Ewma(self.horizon).scale(symbol, one)
        omega, alpha, gamma, beta, start = self.parameters[symbol]
        variance = np.full((len(one.returns), self.horizon), np.nan)
        variance[1:, 0] = gjr_variances(one.returns[1:], omega, alpha, gamma, beta, start)[1:]
        for step in range(1, self.horizon):
            variance[:, step] = omega + (alpha + gamma / 2 + beta) * variance[:, step - 1]
        return np.asarray(np.sqrt(np.maximum(variance, VARIANCE_FLOOR)))

    def to_json(self) -> dict[str, Any]:
        """See `Scale.to_json`."""
        parameters = {symbol: one.tolist() for symbol, one in self.parameters.items()}
        return {"horizon": self.horizon, "parameters": parameters}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        parameters = {symbol: np.array(one) for symbol, one in state["parameters"].items()}
        return cls(int(state["horizon"]), parameters)


def _fit_gjr(returns: Floats) -> Floats | None:
    """Parameters of `GjrGarch` for one symbol's returns (n,), None if there are none to trust."""
    unit = float(returns.std()) if len(returns) else 0.0
    if len(returns) < MIN_OWN_ROWS or unit <= np.sqrt(VARIANCE_FLOOR):
        return None
    from arch import arch_model  # takes seconds to import, and only this choice needs it

    model = arch_model(returns / unit, mean="Zero", p=1, o=1, q=1, dist="t", rescale=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the flag below says the same
        result = model.fit(disp="off", show_warning=False)
    omega, alpha, gamma, beta = result.params.to_numpy()[:4]
    stable = alpha + gamma / 2 + beta < 1 and np.isfinite([omega, alpha, gamma, beta]).all()
    if result.convergence_flag or not stable:
        return None
    start = omega * unit**2 + (alpha + gamma / 2 + beta) * backcast(returns)
    return np.array([omega * unit**2, alpha, gamma, beta, start])


SCALES: dict[str, type[PooledHar] | type[SymbolHar] | type[Ewma] | type[GjrGarch]] = {
    one.kind: one for one in (PooledHar, SymbolHar, Ewma, GjrGarch)
}


def make_scale(kind: str, data: Mapping[str, SymbolFeatures], *, horizon: int) -> Scale:
    """Fit the scale of this name on the features of a training block.

    Raises
    ------
    ConfigError
        If no scale has this name.
    """
    if kind not in SCALES:
        raise ConfigError(f"The volatility must be one of {', '.join(SCALES)}. Got {kind!r}.")
    return SCALES[kind].fit(data, horizon=horizon)
