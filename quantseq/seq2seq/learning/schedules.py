"""What changes while training goes on, as functions of the step alone.

Owns learning-rate and scheduled-sampling schedules. Does not hold state: a resumed run reads the same
values. (The plateau rule depends on validation losses; its factor lives in the trainer's state.)
"""

import math
from typing import Literal

RateSchedule = Literal["constant", "one_cycle", "plateau"]
RATE_SCHEDULES: tuple[RateSchedule, ...] = ("constant", "one_cycle", "plateau")

Sampling = Literal["none", "linear", "exponential", "inverse_sigmoid", "free"]
SAMPLINGS: tuple[Sampling, ...] = ("none", "linear", "exponential", "inverse_sigmoid", "free")

WARM_UP = 0.25
START_DIVISOR = 25.0
END_DIVISOR = 1e4


def one_cycle(step: int, steps: int) -> float:
    """Factor on the peak learning rate: up from 1/25 in a quarter of the steps, then down to 1e-4/25.

    Both ways follow a cosine (Smith and Topin, 2019).
    """
    start, end = 1.0 / START_DIVISOR, 1.0 / (START_DIVISOR * END_DIVISOR)
    last = max(steps - 1, 1)
    peak = max(WARM_UP * last, 1e-9)
    if step < peak:
        return _cosine(start, 1.0, step / peak)
    return _cosine(1.0, end, (step - peak) / max(last - peak, 1e-9))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))


def teacher_share(kind: Sampling, step: int, steps: int, *, floor: float = 0.0) -> float:
    """Probability that the decoder is fed the truth rather than its own token at `step`.

    The decays are those of Bengio et al. (2015), scaled so that the middle of training is about the
    middle of the decay. ``'none'`` is plain teacher forcing, ``'free'`` never feeds the truth.

    Parameters
    ----------
    kind : str
        One of `SAMPLINGS`.
    step, steps : int
        Where training is, and how long it is.
    floor : float
        The share never falls below this.

    Returns
    -------
    float
        In [0, 1].
    """
    progress = step / max(steps - 1, 1)
    if kind == "none":
        return 1.0
    if kind == "free":
        return 0.0
    if kind == "linear":
        share = 1.0 - progress
    elif kind == "exponential":
        share = math.exp(-4.0 * progress)
    else:
        sharpness = 12.0
        share = 1.0 / (1.0 + math.exp(sharpness * (progress - 0.5)))
    return max(floor, share)
