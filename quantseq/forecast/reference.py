"""The conditional density a quant would use anyway: σ_t × Student-t, one per symbol and step.

Owns the fit of degrees of freedom and scale on standardised returns, and the lookup of (loc, scale,
ν) for any (symbol, cutoff). It is the rival to beat, and the measure that tokens are quantised in.
Knows nothing of tokens or networks.

References
----------
.. [1] Bollerslev, T. (1987). A conditionally heteroskedastic time series model for speculative
   prices and rates of return. Review of Economics and Statistics 69(3).
.. [2] Merton, R. (1980). On estimating the expected return on the market. Journal of Financial
   Economics 8(4).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import optimize, special

from quantseq.errors import NotEnoughDataError
from quantseq.forecast.density import MIN_NU, t_log_density
from quantseq.forecast.volatility import (
    LONG_WINDOW,
    HarModel,
    SymbolFeatures,
    aligned_returns,
    features,
)
from quantseq.market.bars import Floats, Panel

MAX_NU = 100.0
MIN_OWN_ROWS = 500
"""Symbols with fewer training sessions borrow shape and scale from the pool."""

DRIFT_PRIOR = 0.03
"""Plausible size of a daily mean in units of σ: an annual Sharpe ratio of 0.5."""

POOL = ""
"""Key of the pooled parameters, used for symbols that were not in the training block."""


def fit_student_t(z: Floats) -> tuple[float, float]:
    """Maximum-likelihood degrees of freedom and scale of zero-location returns [1]_.

    Parameters
    ----------
    z : (n,) float64
        Standardised returns without NaN.

    Returns
    -------
    nu, scale : float
        ``nu`` within [`MIN_NU`, `MAX_NU`].
    """
    squares = z * z

    def scale_for(nu: float) -> float:
        scale2 = float(np.mean(squares)) + 1e-12
        for _ in range(30):  # expectation-maximisation in the scale alone
            updated = float(np.mean((nu + 1) / (nu + squares / scale2) * squares)) + 1e-12
            if abs(updated / scale2 - 1) < 1e-7:
                break
            scale2 = updated
        return float(np.sqrt(scale2))

    def loss(log_nu: float) -> float:
        nu = float(np.exp(log_nu))
        scale = scale_for(nu)
        return float(np.log(scale) - np.mean(t_log_density(z / scale, np.asarray(nu))))

    found = optimize.minimize_scalar(
        loss, bounds=(np.log(MIN_NU), np.log(MAX_NU)), method="bounded", options={"xatol": 1e-3}
    )
    nu = float(np.clip(np.exp(found.x), MIN_NU, MAX_NU))
    return nu, scale_for(nu)


@dataclass(frozen=True)
class StepParameters:
    """Parameters (M, H) of the reference at M (symbol, cutoff) rows."""

    loc: Floats
    scale: Floats
    nu: Floats

    def cdf(self, returns: Floats) -> Floats:
        """Probability integral transform u = F(r), shape (M, H)."""
        return np.asarray(special.stdtr(self.nu, (returns - self.loc) / self.scale))

    def first(self, steps: int) -> "StepParameters":
        """The first `steps` columns."""
        return StepParameters(self.loc[:, :steps], self.scale[:, :steps], self.nu[:, :steps])


@dataclass(frozen=True)
class Reference:
    """Pooled HAR volatility times a Student-t per symbol and step.

    Parameters
    ----------
    har : HarModel
        The volatility regression.
    drift : (H,) float64
        Location in units of σ, the same for every symbol: a mean per stock is noise.
    shapes : mapping of symbol to (H, 2) float64
        Degrees of freedom and scale in units of σ; under `POOL` the pooled ones.
    overnight_share : mapping of symbol to float
        Share of the close-to-close variance that falls between close and open.

    Notes
    -----
    Each step's density depends on the cutoff alone: σ of steps 2..H is not known at the cutoff, so
    every step has its own regression and its own t.
    """

    har: HarModel
    drift: Floats
    shapes: Mapping[str, Floats]
    overnight_share: Mapping[str, float]

    @property
    def horizon(self) -> int:
        """Steps ahead that the reference covers."""
        return self.har.horizon

    @classmethod
    def fit(cls, panel: Panel, *, horizon: int) -> Self:
        """Fit on a training block: everything in `panel` is used, nothing else is seen.

        Raises
        ------
        NotEnoughDataError
            If the block is too short, or no symbol ever moves.
        """
        data = features(panel)
        har = HarModel.fit(data, horizon=horizon)
        standardised: dict[str, Floats] = {}
        for symbol, one in data.items():
            z = aligned_returns(one.returns, horizon) / har.scale(one.har)
            z = z[np.isfinite(z).all(axis=1)]
            if len(z) and np.abs(z).max() > 0:
                standardised[symbol] = z
        if not standardised:
            raise NotEnoughDataError(
                f"No symbol among {', '.join(panel)} has moving prices for more than "
                f"{LONG_WINDOW + horizon} sessions. Give a longer history or other symbols."
            )
        drift = _shrunk_drift(standardised)
        own = {
            symbol: np.array([fit_student_t(z[:, h] - drift[h]) for h in range(horizon)])
            for symbol, z in standardised.items()
            if len(z) >= MIN_OWN_ROWS
        }
        shorter = [z for symbol, z in standardised.items() if symbol not in own]
        if own:
            pooled = np.median(list(own.values()), axis=0)
        else:
            together = np.concatenate(shorter)
            pooled = np.array([fit_student_t(together[:, h] - drift[h]) for h in range(horizon)])
        shares = {symbol: _overnight_share(data[symbol]) for symbol in standardised}
        shares[POOL] = float(np.median(list(shares.values())))
        return cls(har, drift, {**own, POOL: pooled}, shares)

    def parameters(self, symbol: str, har_rows: Floats) -> StepParameters:
        """Location, scale and ν of the next H returns.

        Parameters
        ----------
        symbol : str
            A symbol without parameters of its own takes the pooled ones.
        har_rows : (n, F) float64
            Rows of `SymbolFeatures.har` at the cutoffs.
        """
        shape = self.shapes.get(symbol, self.shapes[POOL])
        sigma = self.har.scale(har_rows)
        return StepParameters(
            sigma * self.drift, sigma * shape[:, 1], np.broadcast_to(shape[:, 0], sigma.shape)
        )

    def share_overnight(self, symbol: str) -> float:
        """The symbol's overnight share of variance, pooled if unknown."""
        return self.overnight_share.get(symbol, self.overnight_share[POOL])

    def to_json(self) -> dict[str, Any]:
        """State as JSON values."""
        return {
            "har": self.har.to_json(),
            "drift": self.drift.tolist(),
            "shapes": {symbol: shape.tolist() for symbol, shape in self.shapes.items()},
            "overnight_share": dict(self.overnight_share),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        return cls(
            HarModel.from_json(state["har"]),
            np.array(state["drift"]),
            {symbol: np.array(shape) for symbol, shape in state["shapes"].items()},
            dict(state["overnight_share"]),
        )


def _shrunk_drift(standardised: Mapping[str, Floats]) -> Floats:
    """Mean standardised return per step, pooled and shrunk towards zero: (H,).

    The posterior mean under a normal prior with standard deviation `DRIFT_PRIOR`: a few years of
    prices say little about a mean [2]_. The median over symbols keeps one broken series from
    setting it; its error is that of one series over the same days, because symbols move together.
    """
    means = np.array([np.clip(z, -8, 8).mean(axis=0) for z in standardised.values()])
    error2 = 1 / max(len(z) for z in standardised.values())
    pooled = np.median(means, axis=0) * DRIFT_PRIOR**2 / (DRIFT_PRIOR**2 + error2)
    return np.asarray(pooled, dtype=np.float64)


def _overnight_share(one: SymbolFeatures) -> float:
    overnight, total = one.overnight[1:], one.returns[1:]
    intraday = total - overnight
    energy = float(np.mean(np.clip(overnight, -0.2, 0.2) ** 2))
    rest = float(np.mean(np.clip(intraday, -0.2, 0.2) ** 2))
    return energy / (energy + rest) if energy + rest > 0 else 0.0
