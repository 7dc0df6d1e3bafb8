"""Prices without anything to find, to be sent through the identical line.

Owns simulated panels whose true conditional density is known (`gbm`, `garch`) and the real panel
with its days in another order (`permuted`), and what the line may show on them: no skill over the
truth, no direction beyond noise. A line that finds more has a leak.

References
----------
.. [1] Bollerslev, T. (1986). Generalized autoregressive conditional heteroskedasticity. Journal of
   Econometrics 31(3).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from quantseq.errors import ConfigError
from quantseq.evaluation.scores import at_step, calls_of, in_words
from quantseq.evaluation.significance import (
    SHOWN,
    by_date,
    diebold_mariano,
    hit_rate,
    information_coefficient,
    mean_interval,
)
from quantseq.forecasting.baselines import StudentForecaster
from quantseq.forecasting.density import NORMAL_NU
from quantseq.forecasting.reference import POOL, StepParameters
from quantseq.market.bars import Bars, Floats, Panel

KINDS = ("gbm", "garch", "permuted")
TRUTH = "truth"

CORRELATION = 0.3  # of the daily returns of any two simulated symbols
OVERNIGHT = 0.2  # share of a simulated day's variance that falls before the open
INTRADAY = 24  # steps of a simulated day: its high and low are those of this walk
ALPHA, BETA, NU = 0.08, 0.90, 6.0  # news, memory, degrees of freedom of the simulated GARCH(1,1)
BLOCK = 22  # sessions that stay together when real days are put into another order
NOISE = 3.0  # |t| beyond which direction on prices without direction is a fault of the line


@dataclass(frozen=True)
class Truth(StudentForecaster):
    """The density that simulated returns were drawn from, given all that came before.

    Exact for the first step. Later steps of a GARCH keep the shape around the expected variance.

    At row i, column h − 1 of `scales`, (n, H) by symbol, stands the scale of the t of the return of session i + h,
    known at the close of i; `nu` are its degrees of freedom.
    """

    name = TRUTH
    scales: Mapping[str, Floats]
    nu: float

    def parameters(self, panel: Panel, horizon: int) -> Mapping[str, StepParameters]:
        """See `StudentForecaster.parameters`."""
        result = {}
        for symbol, bars in panel.items():
            scale = self.scales[symbol][: len(bars), :horizon]
            none = np.zeros_like(scale)
            result[symbol] = StepParameters(none, scale, np.full_like(scale, self.nu), none, none)
        return result


@dataclass(frozen=True, eq=False)
class NullPanel:
    """Prices without skill to be had, on the dates of the real ones; `truth` knows their density, if anybody does."""

    kind: str
    panel: Panel
    truth: Truth | None


def make_null(kind: str, panel: Panel, *, horizon: int, seed: int) -> NullPanel:
    """Prices on the dates of `panel`, with its typical volatility per symbol, and nothing to find.

    Geometric Brownian motion (``gbm``); GARCH(1,1) [1]_ with a t of `NU` degrees of freedom (``garch``); the real
    days in blocks of `BLOCK`, in random order, the same order for every symbol (``permuted``). ConfigError if the
    kind is unknown.
    """
    if kind not in KINDS:
        raise ConfigError(f"A null run must be one of {', '.join(KINDS)}. Got {kind!r}.")
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    if kind == "permuted":
        return NullPanel(kind, _permute(panel, rng), None)
    common = rng.standard_normal((len(panel.sessions), INTRADAY + 1))
    made, scales = [], {}
    for symbol, bars in panel.items():
        where = np.searchsorted(panel.sessions, bars.sessions)
        typical = float(np.std(bars.log_returns()[1:])) if len(bars) > 1 else 0.0
        one, scales[symbol] = _simulate(
            bars, common[where], max(typical, 1e-3), rng, garch=kind == "garch", horizon=horizon
        )
        made.append(one)
    nu = NU if kind == "garch" else NORMAL_NU
    shares = {POOL: OVERNIGHT}
    return NullPanel(kind, Panel(made), Truth(panel.sessions[0], shares, scales, nu))


def _simulate(
    bars: Bars,
    common: Floats,
    typical: float,
    rng: np.random.Generator,
    *,
    garch: bool,
    horizon: int,
) -> tuple[Bars, Floats]:
    """One symbol's bars, and the scales (n, H) of its next returns."""
    n = len(bars)
    own = rng.standard_normal(common.shape)
    steps = np.sqrt(CORRELATION) * common + np.sqrt(1 - CORRELATION) * own
    steps[:, 0] *= np.sqrt(OVERNIGHT)
    steps[:, 1:] *= np.sqrt((1 - OVERNIGHT) / INTRADAY)
    variance = np.full(n + 1, typical**2)
    unit = 1.0
    if garch:
        steps *= np.sqrt(NU / rng.chisquare(NU, n))[:, None]  # a day's t, all its moves alike
        unit = np.sqrt((NU - 2) / NU)
        squares = (unit * steps.sum(axis=1)) ** 2
        for i in range(n):
            news = ALPHA * squares[i] + BETA
            variance[i + 1] = (1 - ALPHA - BETA) * typical**2 + news * variance[i]
    path = np.cumsum(steps * (unit * np.sqrt(variance[:-1]))[:, None], axis=1)
    path[0] -= path[0, 0]  # before the first open there is no close
    before = np.log(bars.adj_close[0]) + np.concatenate([[0.0], np.cumsum(path[:-1, -1])])
    prices = np.exp(before[:, None] + path)
    volume = np.round(1e6 * np.exp(0.4 * rng.standard_normal(n)))
    high, low = prices.max(axis=1), prices.min(axis=1)
    made = _like(bars, "simulated", prices[:, 0], high, low, prices[:, -1], volume)
    ahead = np.empty((n, horizon))
    ahead[:, 0] = variance[1:]
    for step in range(1, horizon):
        ahead[:, step] = typical**2 + (ALPHA + BETA) * (ahead[:, step - 1] - typical**2)
    return made, unit * np.sqrt(ahead)


def _permute(panel: Panel, rng: np.random.Generator) -> Panel:
    """Blocks of real days in random order; each day keeps its gap, its bar and its volume."""
    days = len(panel.sessions)
    starts = rng.permutation(np.arange(0, days, BLOCK))
    order = np.concatenate([np.arange(start, min(start + BLOCK, days)) for start in starts])
    rank = np.empty(days, np.intp)
    rank[order] = np.arange(days)
    made = []
    for bars in panel.adjusted().values():
        where = np.searchsorted(panel.sessions, bars.sessions)[1:]  # the first has no gap
        moved = 1 + np.argsort(rank[where], kind="stable")
        gap = np.log(bars.open[1:] / bars.close[:-1])
        inside = {
            name: np.log(getattr(bars, name) / bars.open) for name in ("high", "low", "close")
        }
        days_moved = np.concatenate([[0], moved])
        total = np.concatenate([[inside["close"][0]], gap[moved - 1] + inside["close"][moved]])
        close = bars.open[0] * np.exp(np.cumsum(total))
        open_ = close / np.exp(inside["close"][days_moved])
        high, low = (open_ * np.exp(inside[name][days_moved]) for name in ("high", "low"))
        high = np.maximum(high, np.maximum(open_, close))
        low = np.minimum(low, np.minimum(open_, close))
        made.append(_like(bars, "permuted", open_, high, low, close, bars.volume[days_moved]))
    return Panel(made)


def _like(bars: Bars, source: str, *values: Floats) -> Bars:
    """Other values, open to volume, on the dates of `bars`, without dividends and splits."""
    names, none = ("open", "high", "low", "close", "volume"), np.zeros(len(bars))
    made: dict[str, Any] = dict(zip(names, values, strict=True))
    made |= {"adj_close": made["close"], "dividends": none, "splits": none}
    return replace(bars, **made, provenance={"source": source})


def judge_null(kind: str, scores: pd.DataFrame, model: str, *, seed: int) -> dict[str, Any]:
    """What the line showed where nothing is to be found, from the long table of a run on a `NullPanel`.

    Beside ``kind``, ``ok`` and ``sentence`` it has ``skill_nats`` with ``interval``, ``t``, ``p`` and ``n_days``
    against the true density (None for permuted prices), ``hit_rate``, ``ic`` and ``rank_ic``. ``ok`` is False where
    the skill is positive with t ≤ −2, or |t| of a measure of direction is above `NOISE`.
    """
    ours, truth = at_step(scores, model), at_step(scores, TRUTH)
    up, mean, came, dates = calls_of(ours)
    direction = {
        "hit_rate": hit_rate(up, came, dates),
        "ic": information_coefficient(mean, came, dates),
        "rank_ic": information_coefficient(mean, came, dates, ranks=True),
    }
    result: dict[str, Any] = {"kind": kind} | {n: asdict(one) for n, one in direction.items()}
    loud = [name for name, one in direction.items() if abs(one.t) > NOISE]
    skilled, found = False, f"direction in {', '.join(loud)}" if loud else "no direction was found"
    if not len(truth):
        result |= dict.fromkeys(("skill_nats", "interval", "t", "p", "n_days"))
    else:
        own, true = ours["log_score"].to_numpy(), truth["log_score"].to_numpy()
        test = diebold_mariano(own, true, dates)
        gain = by_date(true - own, dates)
        skilled = test.t <= -SHOWN
        result |= {"skill_nats": -test.mean_difference, "t": test.t, "p": test.p}
        result |= {"interval": list(mean_interval(gain, seed=seed)), "n_days": test.n_days}
        told = in_words({**asdict(test), "score": "log_score"})
        found = f"better than the true density: {told}; {found}"
    ok = not (loud or skilled)
    told = "" if ok else ": THE LINE SEES WHAT IS NOT THERE"
    result |= {"ok": ok, "sentence": f"{kind}: {found}{told}"}
    return result
