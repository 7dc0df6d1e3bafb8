"""Placebos and the lag curve: what the same line earns where, or when, there should be nothing to earn.

Owns decisions carried out late, decisions and forecasts dealt to other dates, prices without anything
to find grafted onto a run's history, and the two rules that judge them. Knows nothing of models.
Neither an audit nor a placebo is a trial: none is written into the ledger.

The rules
---------
- **Lag curve.** The Sharpe ratio when every decision is carried out 0, 1, 2 or 5 sessions late. A
  cliff from 0 to 1 is flagged: at least `CLIFF` and half of the Sharpe ratio lost, the daily
  difference `CLIFF_T` standard errors above 0. An honest signal that fast exists; it must be
  looked at.
- **Placebos.** The line on prices without anything to find, and its decisions at other times. Flagged
  where it earns on such prices: a Sharpe ratio more than `PLACEBO_EDGE` above that of buy-and-hold
  on the same prices, `PLACEBO_T` standard errors above 0. The place of the real result among them
  is told, not judged: a result that beats few of them is luck or nothing, but no leak.

References
----------
.. [1] Aronson, D. (2006). Evidence-Based Technical Analysis. Wiley. Ch. 6, on permutation of decisions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from quantseq.evaluation.nulls import BLOCK, make_null
from quantseq.evaluation.walkforward import Fold
from quantseq.market.bars import FIELDS, Floats, Panel
from quantseq.trading.audit import Check, Trade
from quantseq.trading.measures import METRICS

DELAYS = (0, 1, 2, 5)
"""Sessions by which every decision is held back in a lag curve."""

CLIFF, CLIFF_T = 1.0, 4.0
PLACEBO_EDGE, PLACEBO_T = 0.5, 3.0


def dealt_anew(moments: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Forecasts whose targets are shuffled: blocks of `BLOCK` decision dates exchange their forecasts.

    Parameters
    ----------
    moments : DataFrame
        Columns symbol and cutoff, and whatever a policy reads.
    seed : int

    Returns
    -------
    DataFrame
        The same forecasts at other cutoffs. Blocks keep how forecasts follow each other, so that the
        turnover stays what it was; all symbols of a date move together.
    """
    days, index = np.unique(moments["cutoff"].to_numpy(), return_inverse=True)
    starts = np.random.default_rng(seed).permutation(np.arange(0, len(days), BLOCK))
    order = np.concatenate([np.arange(one, min(one + BLOCK, len(days))) for one in starts])
    rank = np.empty(len(days), np.intp)
    rank[order] = np.arange(len(days))
    return moments.assign(cutoff=days[rank[index]])


def permuted_tests(panel: Panel, folds: Sequence[Fold], *, seed: int) -> Panel:
    """The adjusted panel with the days inside each test block in another order, in blocks of `BLOCK`.

    What lies before the first test stays, and no day leaves its fold: the model of a fold meets only
    days that it has not been fitted on. Each block ends at the price at which it really ended.
    """
    pieces = [panel.adjusted().until(folds[0].test_start - np.timedelta64(1, "D"))]
    for number, fold in enumerate(folds):
        block = panel.between(fold.test_start, fold.test_end)
        pieces.append(make_null("permuted", block, horizon=1, seed=seed + number).panel)
    return _joined(panel, pieces)


def simulated(panel: Panel, span: tuple[Any, Any], *, seed: int) -> Panel:
    """A GARCH with the volatility of each symbol, and with its mean return and volumes over `span`.

    The drift is the real one, constant: holding earns what it really earned, timing nothing.
    """
    null = make_null("garch", panel, horizon=1, seed=seed).panel
    changed = []
    for symbol, bars in null.items():
        tested = panel[symbol].between(*span).log_returns()[1:]
        drift = float(tested.mean()) if len(tested) else 0.0
        grown = np.exp(drift * np.arange(len(bars)))
        prices = {
            name: getattr(bars, name) * grown
            for name in ("open", "high", "low", "close", "adj_close")
        }
        changed.append(replace(bars, **prices, volume=panel[symbol].volume))
    return Panel(changed)


def _joined(panel: Panel, pieces: Sequence[Panel]) -> Panel:
    """Pieces of a panel after each other in time, in the order of its symbols."""
    joined = []
    for symbol, bars in panel.items():
        parts = [piece[symbol] for piece in pieces if symbol in piece]
        if parts:
            fields: dict[str, Any] = {
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in ("sessions", *FIELDS)
            }
            joined.append(replace(bars, **fields))
    return Panel(joined)


@dataclass(frozen=True)
class Lag:
    """One point of the lag curve: the annualised Sharpe ratio with decisions `delay` sessions late."""

    delay: int
    sharpe: float


def lag_curve(
    trade: Trade, panel: Panel, weights: pd.DataFrame, *, delays: Sequence[int] = DELAYS
) -> tuple[list[Lag], Check]:
    """What the weights earn when they are carried out late; all delays over the same sessions.

    Parameters
    ----------
    trade : Trade
        With the costs of the run.
    panel : Panel
    weights : DataFrame
        By decision date and symbol. Delay 0 fills as configured.
    delays : sequence of int
        Beginning with 0 and 1.
    """
    place = np.searchsorted(panel.sessions, weights.index.to_numpy().astype("datetime64[D]"))
    start, periods, returns = None, 252, {}
    for delay in delays:
        inside = place + delay < len(panel.sessions)
        if not inside.any():
            continue
        late = weights[inside].set_axis(
            pd.DatetimeIndex(panel.sessions[(place + delay)[inside]].astype("datetime64[s]"))
        )
        result = trade(panel, late, start=start)
        start, periods = result.sessions[0] if start is None else start, result.terms.year
        returns[delay] = result.returns_net
    curve = [Lag(delay, METRICS["sharpe"](net, periods=periods)) for delay, net in returns.items()]
    return curve, _cliff(curve, returns)


def _cliff(curve: Sequence[Lag], returns: Mapping[int, Floats]) -> Check:
    told = ", ".join(f"{_ratio(one.sharpe)} at {one.delay}" for one in curve)
    t = _t(returns[0] - returns[1]) if 1 in returns else math.nan
    now, later = ([one.sharpe for one in curve] + [math.nan])[:2]
    lost = now - later
    cliff = lost >= CLIFF and lost >= now / 2 and t >= CLIFF_T
    rule = "a cliff, as if the next session had been known" if cliff else "no cliff"
    return Check(
        "lag curve",
        not cliff,
        f"Sharpe by sessions of delay: {told}; {rule} (one session costs {_ratio(lost)}, t = {_ratio(t, 1)}).",
    )


@dataclass(frozen=True, eq=False)
class Draw:
    """One placebo: net returns by session, and those of buy-and-hold on the same prices."""

    net: Floats
    held: Floats


@dataclass(frozen=True)
class Placebo:
    """One family of placebos.

    Attributes
    ----------
    name : str
    sharpe, low, high : float
        Median, 5 % and 95 % quantile of the annualised Sharpe ratios; NaN where undefined.
    n : int
        Draws with a Sharpe ratio.
    """

    name: str
    sharpe: float
    n: int
    low: float
    high: float


def placebos(
    real: float, families: Mapping[str, Sequence[Draw]], *, periods: int = 252
) -> tuple[list[Placebo], float]:
    """The Sharpe ratios of placebos, and the share of them that the real one beats.

    Parameters
    ----------
    real : float
        Annualised Sharpe ratio of the run.
    families : mapping of name to draws
    periods : int
        Sessions per year.

    Returns
    -------
    list of Placebo
    rank : float
        Over all draws of all families, a tie counting half; NaN where nothing can be compared.
    """
    found, every = [], []
    for name, draws in families.items():
        sharpes = np.array([METRICS["sharpe"](one.net, periods=periods) for one in draws])
        sharpes = sharpes[np.isfinite(sharpes)]
        low, middle, high = (
            np.quantile(sharpes, [0.05, 0.5, 0.95]) if len(sharpes) else [math.nan] * 3
        )
        found.append(Placebo(name, float(middle), len(sharpes), float(low), float(high)))
        every.extend(sharpes.tolist())
    if not every or not math.isfinite(real):
        return found, math.nan
    others = np.array(every)
    tied = np.isclose(others, real, rtol=1e-9, atol=0)  # the same trades, summed in another order
    return found, float(np.mean(np.where(tied, 0.5, others < real)))


def nothing_to_find(families: Mapping[str, Sequence[Draw]], *, periods: int = 252) -> Check:
    """Whether the line earns on prices that hold nothing, beyond buy-and-hold of the same prices.

    Parameters
    ----------
    families : mapping of name to draws
        Only those on such prices.
    periods : int
    """
    told, loud = [], []
    for name, draws in families.items():
        parts = [_unit(one.net) - _unit(one.held) for one in draws]
        difference = np.concatenate(parts) if parts else np.zeros(0)
        t = _t(difference)
        edge = float(difference.mean()) * math.sqrt(periods) if len(difference) else math.nan
        told.append(f"{_ratio(edge, plus='+')} on {name} (t = {_ratio(t, 1)}, {len(draws)} draws)")
        if edge > PLACEBO_EDGE and t > PLACEBO_T:
            loud.append(name)
    verdict = f"; the line sees what is not there on {', '.join(loud)}" if loud else ""
    return Check(
        "placebos",
        bool(told) and not loud,
        f"Sharpe above buy-and-hold where nothing is to be found: {', '.join(told)}{verdict}.",
    )


def _unit(returns: Floats) -> Floats:
    """Returns in units of their deviation; all 0 where nothing moves."""
    spread = float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0
    return returns / spread if spread > 0 else np.zeros_like(returns)


def _t(values: Floats) -> float:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return float(values.mean()) / spread * math.sqrt(len(values)) if spread > 0 else math.nan


def _ratio(value: float, digits: int = 2, *, plus: str = "") -> str:
    return "undefined" if math.isnan(value) else f"{value:{plus}.{digits}f}".replace("-", "−")
