"""How much of the network to believe, and what to correct: decided on held-out validation.

Owns the pool of network and reference, the recalibration after it, and the rule that guards both: a
change is accepted only if it helps in blocks of days that it was not chosen on. Knows nothing of
networks or prices: it sees the probabilities that were given to what happened.

References
----------
.. [1] Stone, M. (1961). The opinion pool. Annals of Mathematical Statistics 32(4).
.. [2] Hall, S. and Mitchell, J. (2007). Combining density forecasts. International Journal of
   Forecasting 23(1).
.. [3] Efron, B. and Tibshirani, R. (1996). Using specially designed exponential families for density
   estimation. Annals of Statistics 24(6).
.. [4] Newey, W. and West, K. (1987). A simple, positive semi-definite, heteroskedasticity and
   autocorrelation consistent covariance matrix. Econometrica 55(3).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special
from statsmodels.stats.sandwich_covariance import S_hac_simple

from quantseq.errors import check_parameters
from quantseq.market.bars import Dates, Floats

WEIGHTS = np.linspace(0, 1, 21)
BLOCKS = 4

KEEP = 0.5
"""Share of the weight that validation asks for: some of the skill is gone by the time of the test, and
half of an optimal change already brings three quarters of its gain."""

KEEP_TILT = 0.25
"""Share of the tilt that validation asks for: the reference follows its own level, so that most of
what one half-year wants beyond it is that half-year's."""

SURE = 2.0
"""Standard errors (HAC) by which a tilt's gain must exceed zero."""

_ANY = "None or [-inf, inf]"  # minus infinity is kept as null


@dataclass(frozen=True)
class Shrinkage:
    """The linear pool [1]_ of network and reference: ``p = weight · network + (1 − weight) / V``.

    ``gain`` is the mean log-score gain over the reference in nats, cross-fitted: each block of validation
    days is scored with the weight that the other blocks chose. Both are those of the next day; ``later`` are
    the weights of the steps after it, the same for all if it is empty.
    """

    weight: float
    gain: float
    later: tuple[float, ...] = ()

    def weights(self, horizon: int) -> Floats:
        """Weight of each of the first steps, (H,)."""
        later = self.later or (self.weight,) * (horizon - 1)
        return np.array([self.weight, *later][:horizon])

    def __post_init__(self) -> None:
        check_parameters(self, {"weight": "[0, 1]", "gain": _ANY})


@dataclass(frozen=True)
class Recalibration:
    """An exponential tilt [3]_ of bin probabilities: ``p ∝ pool · exp(width · a + skew · b)``.

    a and b are the second and third Hermite polynomials of the bins' normal scores: the tilt widens
    or narrows, and leans, smoothly. Both zero change nothing. The same tilt serves every step. ``gain`` is
    the mean log-score gain over the pool in nats, cross-fitted.
    """

    width: float
    skew: float
    gain: float

    def __post_init__(self) -> None:
        check_parameters(self, {"width": "[-10, 10]", "skew": "[-10, 10]", "gain": _ANY})

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.width != 0 or self.skew != 0

    def apply(self, probs: NDArray[np.floating]) -> NDArray[np.floating]:
        """Tilt probabilities (..., V)."""
        if not self.changes:
            return probs
        tilt = np.exp(hermite(probs.shape[-1])[:, 1:3] @ np.array([self.width, self.skew]))
        tilted = probs * tilt
        return np.asarray(tilted / tilted.sum(axis=-1, keepdims=True))


def choose_shrinkage(tilt: Floats, cutoffs: Dates) -> Shrinkage:
    """Choose the pool's weight on validation, accepted only if it helps out of block.

    `tilt`, (M,) or (M, H), is ``V · p(token that happened)``: how many times likelier the network made it than the
    reference. A step's weight is the mean of its own and of that which serves all steps best: one year of
    validation says little of one step. Blocks are consecutive spans of the `cutoffs` (M,). Either of the two is 0
    unless its cross-fitted gain is positive: little data can then hardly make the forecast worse than the reference.
    Else it is `KEEP` times the mean of the blocks' weights, which is steadier than a single optimum [2]_.
    """

    def choose(tilt: Floats) -> tuple[float, float]:
        def gains(rows: NDArray[np.bool_], weight: Floats) -> Floats:
            with np.errstate(divide="ignore"):  # a token that was ruled out costs infinitely much
                return np.asarray(np.log(1 + weight * (tilt[rows].ravel() - 1)))

        def best(rows: NDArray[np.bool_]) -> Floats:
            return np.asarray(KEEP * max(WEIGHTS, key=lambda weight: gains(rows, weight).mean()))

        weight, gain = _cross_fit(cutoffs, best, gains)
        return float(weight), gain

    steps = tilt if tilt.ndim == 2 else tilt[:, None]
    together, _ = choose(steps)
    (weight, gain), *later = (choose(steps[:, [step]]) for step in range(steps.shape[1]))
    weights = tuple((together + own) / 2 for own in (weight, *(own for own, _ in later)))
    return Shrinkage(weights[0], gain, weights[1:])


def choose_recalibration(
    probs: Floats, happened: NDArray[np.intp], cutoffs: Dates
) -> Recalibration:
    """Choose the tilt of pooled probabilities on validation, accepted only if it helps out of block.

    `probs` (M, V) are those of the next token's bin, `happened` (M,) the bin that came. The tilt is
    `KEEP_TILT` times the mean of what the blocks asked for; nothing unless the cross-fitted gain, averaged
    by day, exceeds zero by `SURE` standard errors.
    """
    basis, log_probs = hermite(probs.shape[1])[:, 1:3], np.log(np.maximum(probs, 1e-300))

    def log_tilted(rows: NDArray[np.bool_], angle: Floats) -> Floats:
        tilted = log_probs[rows] + basis @ angle
        return np.asarray(tilted - special.logsumexp(tilted, axis=1, keepdims=True))

    def best(rows: NDArray[np.bool_]) -> Floats:
        came = basis[happened[rows]].mean(axis=0)

        def loss(angle: Floats) -> tuple[float, Floats]:
            tilted = log_tilted(rows, angle)
            expected = (np.exp(tilted) @ basis).mean(axis=0)
            score = np.take_along_axis(tilted, happened[rows, None], axis=1).mean()
            return -float(score), expected - came

        found = optimize.minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B")
        return np.asarray(KEEP_TILT * found.x)

    def gains(rows: NDArray[np.bool_], angle: Floats) -> Floats:
        new = np.take_along_axis(log_tilted(rows, angle), happened[rows, None], axis=1)[:, 0]
        old = np.take_along_axis(log_probs[rows], happened[rows, None], axis=1)[:, 0]
        return np.asarray(new - old)

    angle, gain = _cross_fit(cutoffs, best, gains, sure=SURE)
    width, skew = np.broadcast_to(angle, 2).tolist()
    return Recalibration(width, skew, gain)


def move_draws(
    bins: NDArray[np.integer],
    inside: NDArray[np.floating],
    before: NDArray[np.floating],
    after: NDArray[np.floating],
) -> tuple[NDArray[np.intp], Floats]:
    """Move draws from one distribution over bins to another, each at its own probability level.

    `bins` and the position `inside` them, in [0, 1), are (M, N, H); `before` and `after`, (M, H, V), are the
    probabilities that the draws come from, and that they shall have. Returns both with the new marginals;
    which path is high at which step stays as it was.
    """
    steps = np.arange(bins.shape[2])
    rows = np.arange(len(bins))[:, None, None]
    below, above = (np.cumsum(probs, axis=-1, dtype=np.float64) for probs in (before, after))
    share = before[rows, steps, bins].astype(np.float64)
    level = below[rows, steps, bins] - share * (1 - inside)
    moved = np.zeros(bins.shape, dtype=np.intp)
    for edge in range(after.shape[-1] - 1):
        moved += level >= above[:, None, :, edge]
    share = after[rows, steps, moved].astype(np.float64)
    start = above[rows, steps, moved] - share
    last = np.nextafter(1.0, 0.0)
    return moved, np.clip((level - start) / np.maximum(share, 1e-300), 0, last)


def standard_error(series: Floats, *, step: int = 1) -> float:
    """Newey-West error [4]_ of the mean of a series (n,) whose values overlap by `step` − 1 neighbours.

    Bartlett weights up to a lag of max(step − 1, ⌊4(n/100)^(2/9)⌋), by ``statsmodels``.
    """
    n = len(series)
    lag = max(step - 1, int(4 * (n / 100) ** (2 / 9)))
    total = float(S_hac_simple((series - series.mean())[:, None], nlags=lag)[0, 0])
    return float(np.sqrt(max(total, 0.0)) / n)


def hermite(bins: int) -> Floats:
    """Hermite polynomials 1 to 4 of the bins' normal scores, (V, 4), each of mean 0.

    As tilts of a distribution they move it, widen it, lean it, and fatten its tails.
    """
    x = special.ndtri((np.arange(bins) + 0.5) / bins)
    basis = np.column_stack([x, x**2 - 1, (x**3 - 3 * x) / 6, (x**4 - 6 * x**2 + 3) / 24])
    return np.asarray(basis - basis.mean(axis=0))


def _cross_fit(
    cutoffs: Dates,
    choose: Callable[[NDArray[np.bool_]], Floats],
    gains: Callable[[NDArray[np.bool_], Floats], Floats],
    sure: float = 0.0,
) -> tuple[Floats, float]:
    """Mean of what each complement of a block chooses, and the mean gain inside the blocks.

    Zero if that gain, averaged by day, does not exceed zero by `sure` standard errors, or if there
    are fewer than two days per block.
    """
    days, index = np.unique(cutoffs, return_inverse=True)
    if len(days) < 2 * BLOCKS:
        return np.zeros(()), 0.0
    block = index * BLOCKS // len(days)
    chosen = [choose(block != part) for part in range(BLOCKS)]
    found = np.empty(len(cutoffs))
    for part in range(BLOCKS):
        rows = block == part
        found[rows] = gains(rows, chosen[part]).reshape(rows.sum(), -1).mean(axis=1)
    by_day = np.bincount(index, found) / np.bincount(index)
    gain = float(by_day.mean())
    error = standard_error(by_day) if np.isfinite(gain) else np.inf
    accepted = gain > 0 and gain >= sure * error
    mean = np.mean(np.array(chosen), axis=0)
    return np.asarray(mean if accepted else np.zeros_like(mean)), gain
