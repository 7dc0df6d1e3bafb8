"""What a Sharpe ratio is worth: its probability, its discount for trials, and the record it needs.

Owns the probabilistic and the deflated Sharpe ratio and the minimum track record length. Knows nothing
of where trials are counted, or of what may be claimed.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from quantseq.errors import ConfigError
from quantseq.trading.chance.bootstrap import LEVEL
from quantseq.trading.measures import METRICS, Floats, checked

CURVE = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
"""Numbers of trials at which `dsr_curve` looks, besides the one counted and ten times it."""


def sharpe_per_session(returns: Any) -> float:
    """Mean over sample deviation, not annualised: what PSR, DSR and the ledger use."""
    return METRICS["sharpe"](returns, periods=1)


def psr(returns: Any, *, benchmark_sharpe: float = 0.0) -> float:
    """Probabilistic Sharpe ratio: the probability that the true Sharpe ratio exceeds a benchmark.

    Φ((SR − SR*)·√(T − 1) / √(1 − γ₃·SR + (γ₄ − 1)/4·SR²)) with SR per session (ddof 1) and the
    population skewness γ₃ and kurtosis γ₄ (3 for the normal).

    Parameters
    ----------
    returns : (T,) Series or array
        Simple returns per session.
    benchmark_sharpe : float
        SR*, per session.

    Returns
    -------
    float
        NaN below three sessions, or when nothing moves.

    References
    ----------
    Bailey & López de Prado (2012), "The Sharpe Ratio Efficient Frontier".
    """
    from scipy.special import ndtr

    values = checked(returns)
    sharpe, spread = _sharpe_and_spread(values)
    if not spread > 0:
        return math.nan
    return float(ndtr((sharpe - benchmark_sharpe) * math.sqrt(len(values) - 1) / math.sqrt(spread)))


def _sharpe_and_spread(values: Floats) -> tuple[float, float]:
    """SR and 1 − γ₃·SR + (γ₄ − 1)/4·SR², T − 1 times the variance of SR; NaN where undefined."""
    if len(values) < 3 or np.ptp(values) == 0:
        return math.nan, math.nan
    sharpe, deviations = sharpe_per_session(values), values - values.mean()
    variance = np.mean(deviations**2)
    skewness = np.mean(deviations**3) / variance**1.5
    kurtosis = np.mean(deviations**4) / variance**2
    return sharpe, float(1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2)


def min_track_record(
    returns: Any, *, benchmark_sharpe: float = 0.0, level: float = LEVEL
) -> int | None:
    """Minimum track record length: sessions from which on PSR is at least `level`.

    1 + (1 − γ₃·SR + (γ₄ − 1)/4·SR²)·(Φ⁻¹(level) / (SR − SR*))², rounded up, with the Sharpe ratio and
    moments of `psr`, taken to stay as they are.

    Parameters
    ----------
    returns : (T,) Series or array
        Simple returns per session.
    benchmark_sharpe : float
        SR*, per session.
    level : float in (0.5, 1)
        Probability wanted.

    Returns
    -------
    int or None
        None where PSR is undefined, or where the Sharpe ratio is no better than the benchmark's: no
        record is long enough then.

    References
    ----------
    Bailey & López de Prado (2012), "The Sharpe Ratio Efficient Frontier".
    """
    from scipy.special import ndtri

    if not 0.5 < level < 1:
        raise ConfigError(f"The 'level' parameter must be in (0.5, 1). Got {level!r}.")
    sharpe, spread = _sharpe_and_spread(checked(returns))
    if not (spread > 0 and sharpe > benchmark_sharpe):
        return None
    needed = 1 + spread * (ndtri(level) / (sharpe - benchmark_sharpe)) ** 2
    return math.ceil(needed) if math.isfinite(needed) else None


def expected_best_sharpe(n_trials: int, spread: float) -> float:
    """Sharpe ratio to expect from the best of N trials without any skill.

    σ·((1 − γ)·Φ⁻¹(1 − 1/N) + γ·Φ⁻¹(1 − 1/(N·e))), γ the Euler-Mascheroni constant; 0 for N = 1.

    Parameters
    ----------
    n_trials : int
        N, at least 1.
    spread : float
        σ, the standard deviation of the trials' Sharpe ratios per session.
    """
    from scipy.special import ndtri

    if not n_trials >= 1:
        raise ConfigError(f"The 'n_trials' parameter must be 1 or more. Got {n_trials!r}.")
    if n_trials == 1:
        return 0.0
    gamma = np.euler_gamma
    best = (1 - gamma) * ndtri(1 - 1 / n_trials) + gamma * ndtri(1 - 1 / (n_trials * math.e))
    return float(spread * best)


def deflated_sharpe(
    returns: Any, trial_sharpes: Sequence[float] = (), *, n_trials: int | None = None
) -> float:
    """Deflated Sharpe ratio: PSR against the best Sharpe ratio that N skill-less trials would show.

    Parameters
    ----------
    returns : (T,) Series or array
        Simple returns per session of the chosen trial.
    trial_sharpes : sequence of float
        Sharpe ratios per session of all distinct trials, this one included; NaN are left out.
    n_trials : int, optional
        N; the number of finite `trial_sharpes` (at least 1) by default.

    Returns
    -------
    float
        PSR for N = 1; NaN where PSR is.

    References
    ----------
    Bailey & López de Prado (2014), "The Deflated Sharpe Ratio".
    """
    values = checked(returns)
    known = [one for one in trial_sharpes if math.isfinite(one)]
    count = max(len(known), 1) if n_trials is None else n_trials
    if len(values) < 3:
        return math.nan
    spread = trial_spread(known, len(values))
    return psr(values, benchmark_sharpe=expected_best_sharpe(count, spread))


def trial_spread(trial_sharpes: Sequence[float], sessions: int) -> float:
    """Standard deviation of the trials' Sharpe ratios per session that a result is deflated by.

    The sample deviation (ddof 1) of the finite ones. Where it is unknown, or 0 because copies were
    counted, it is 1/√(T − 1), the sampling deviation of a Sharpe ratio of 0: copies of one trial must not
    make a discount of nothing.

    Parameters
    ----------
    trial_sharpes : sequence of float
    sessions : int
        T of the result, at least 2.
    """
    known = np.asarray(trial_sharpes, dtype=np.float64)
    known = known[np.isfinite(known)]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 and np.ptp(known) > 0 else 0.0
    return spread or 1 / math.sqrt(sessions - 1)


def dsr_curve(returns: Any, *, n_trials: int, spread: float) -> list[dict[str, float]]:
    """Deflated Sharpe ratio against the number of trials: rows of ``n`` and ``dsr``.

    At the numbers of `CURVE`, at `n_trials` and at ten times it, all with the same `spread`.
    """
    values = checked(returns)
    counts = sorted({*CURVE, n_trials, 10 * n_trials})
    return [
        {"n": n, "dsr": psr(values, benchmark_sharpe=expected_best_sharpe(n, spread))}
        for n in counts
    ]
