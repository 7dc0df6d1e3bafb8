"""The conditional density a quant would use anyway: σ_t × Student-t, one per symbol and step.

Owns the fit of degrees of freedom and scale on standardised returns, the level that follows a symbol's
own ratio of returns to σ, what daily bars say of the scale beyond that, how often a price that moves by large
ticks does not move, and the lookup of (loc, scale, ν) for any (symbol, cutoff). It is the baseline to beat, and the measure that tokens are quantised in. Knows
nothing of tokens or networks.

How large a day's return is beside its range drifts over the years. A scale fitted once goes stale;
here it is a level that moves by a small step with the score of each return [3]_, known at each close.
On top of it the log of the scale is linear in the numbers of `inputs`, one set of slopes per step for all
symbols, found by the likelihood of the t itself [4]_: what moves slopes is the score, which is bounded, so
that no broken series sets them. They are shrunk by a ridge and by what the years of training say of each
other's slopes. Scheduled events have slopes of their own, found first: they are too rare for the measure and the
shrinkage of the other numbers, and too large to be left among what those explain.

References
----------
.. [1] Bollerslev, T. (1987). A conditionally heteroskedastic time series model for speculative
   prices and rates of return. Review of Economics and Statistics 69(3).
.. [2] Merton, R. (1980). On estimating the expected return on the market. Journal of Financial
   Economics 8(4).
.. [3] Creal, D., Koopman, S. and Lucas, A. (2013). Generalized autoregressive score models with
   applications. Journal of Applied Econometrics 28(5).
.. [4] Harvey, A. (1976). Estimating regression models with multiplicative heteroscedasticity.
   Econometrica 44(3); here for a Student-t, by Fisher scoring: its information about the log of the scale,
   2ν/(ν + 3), is the same for every row.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, special

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.density import MIN_NU, t_log_density
from quantseq.forecasting.inputs import (
    NUM_COVARIATE,
    NUM_DAYS,
    NUM_EVENTS,
    NUM_NUMBERS,
    Measure,
    Numbers,
    SymbolInputs,
    inputs,
    score_of_scale,
)
from quantseq.forecasting.volatility import (
    LONG_WINDOW,
    MIN_OWN_ROWS,
    THIN,
    Scale,
    SymbolFeatures,
    aligned_returns,
    before,
    ewma,
    has_ticks,
    rolling_mean,
    tick_widths,
)
from quantseq.market.bars import Floats, Panel
from quantseq.market.calendars import calendar_of, market_of

MAX_NU = 100.0
DRIFT_PRIOR = 0.03
"""Plausible size of a daily mean in units of σ: an annual Sharpe ratio of 0.5."""

LEVEL_STEP = 0.003
"""How far a return moves the log level: half of an error is gone after about 200 sessions."""

LEVEL_NU = 5.0
"""Degrees of freedom of the score that the level follows."""

START_SESSIONS = 1000
"""Newest training sessions that set the level from which a symbol starts."""

CLIP = 10.0
"""Standardised returns beyond this count as this when a shape is fitted: a glitch is no crash."""

WIDEST = 3.0
"""A level is at most this many times its start, a symbol's start so many times the pooled one."""

RIDGE, RIDGE_ROWS = 0.05, 2000.0
"""Rows, as a share of all and beyond that, that speak for slopes of zero."""

SLOPE_BLOCKS, SHARES = 4, np.linspace(0, 1, 11)
SCORING_STEPS = 4

KEPT_SLOPES = 0.8
"""Share of the slopes that is kept of what other years would ask for: the years to come are further away."""

EVENT_RIDGE = 30.0
"""Events that speak for their days being like others."""

ROWS_PER_SLOPE = 20
"""Training rows per number below which none has a slope."""

MAX_SLOPE_ROWS = 250_000
"""Rows that slopes are fitted on: of more, every k-th is used."""

LONGEST_STRETCH = 1.0
"""The log of the scale is moved no further than this."""

TAIL = 0.001
"""Probability on each side beyond which the tails must be right."""

HEAVIER = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
"""What the likeliest degrees of freedom may be multiplied by for that."""

ZERO_HALF_LIFE = 250
"""Sessions after which it weighs half that returns were exactly 0 more often than a density says."""

MOST_ZEROS = 0.9
"""And the share of all other days, at most, on which they are 0 for that."""

KEPT_REFERENCES = 16
"""References that a process keeps; each has a few numbers per symbol."""

POOL = ""
"""Key of the pooled parameters, used for symbols that were not in the training block."""


def fit_student_t(z: Floats) -> tuple[float, float]:
    """Maximum-likelihood ν, within [`MIN_NU`, `MAX_NU`], and scale of zero-location returns (n,) [1]_."""

    def loss(log_nu: float) -> float:
        nu = float(np.exp(log_nu))
        scale = student_scale(z, nu)
        return float(np.log(scale) - np.mean(t_log_density(z / scale, np.asarray(nu))))

    found = optimize.minimize_scalar(
        loss, bounds=(np.log(MIN_NU), np.log(MAX_NU)), method="bounded", options={"xatol": 1e-3}
    )
    nu = float(np.clip(np.exp(found.x), MIN_NU, MAX_NU))
    return nu, student_scale(z, nu)


def student_scale(z: Floats, nu: float) -> float:
    """Maximum-likelihood scale of zero-location returns (n,) with `nu` degrees of freedom."""
    squares = z * z
    scale2 = float(np.mean(squares)) + 1e-12
    for _ in range(30):  # expectation-maximisation in the scale alone
        updated = float(np.mean((nu + 1) / (nu + squares / scale2) * squares)) + 1e-12
        if abs(updated / scale2 - 1) < 1e-7:
            break
        scale2 = updated
    return float(np.sqrt(scale2))


def fit_slopes(x: Numbers, z: Floats, days: Floats) -> Floats:
    """Intercept and slopes (1 + K,) of the log of the scale of `z` (R,) in a one and K numbers, (R, 1 + K) [4]_.

    Zero if no share of what some of the blocks of `days` (R,) ask for helps in the others; else `KEPT_SLOPES`
    times the share that helps most.
    """
    order = np.unique(days, return_inverse=True)[1]
    block = order * SLOPE_BLOCKS // (order.max() + 1)
    seen = np.column_stack([*(block != part for part in range(SLOPE_BLOCKS)), block >= 0])
    slopes = _scoring(x, z, seen, RIDGE * seen.sum(axis=0) + RIDGE_ROWS)
    found = x @ slopes.astype(np.float32)
    found = np.where(seen[:, :-1], 0, found[:, :-1]).sum(axis=1, dtype=np.float64)
    gains = [_log_likelihood(z, share * found).sum() for share in SHARES]
    return np.asarray(KEPT_SLOPES * SHARES[int(np.argmax(gains))] * slopes[:, -1])


def _log_likelihood(z: Floats, log_scale: Floats) -> Floats:
    """Of z (R,) under a t with `LEVEL_NU` and this log scale, but for a constant."""
    squares = (z * np.exp(-log_scale)) ** 2
    return np.asarray(-(LEVEL_NU + 1) / 2 * np.log1p(squares / LEVEL_NU) - log_scale)


def _scoring(x: Numbers, z: Floats, seen: NDArray[np.bool_], prior: Floats) -> Floats:
    """Fisher scoring with a ridge, on the rows that each of F fits has `seen` (R, F): (K + 1, F).

    So many rows as the `prior` (F,) says speak for slopes of zero, but for the intercept. All fits go side by side, because reading the numbers is what takes the time.
    """
    information = 2 * LEVEL_NU / (LEVEL_NU + 3)
    slopes = np.zeros((x.shape[1], seen.shape[1]))
    ridge = np.outer(np.arange(len(slopes)) > 0, prior)
    whole = x.T @ x
    factors = []
    for rows, own in zip(seen.T, ridge.T, strict=True):
        unseen = x[~rows]
        gram = (whole - unseen.T @ unseen).astype(np.float64)
        factors.append(linalg.cho_factor(information * gram + np.diag(own)))
    for _ in range(SCORING_STEPS):
        relative = z[:, None] * np.exp(-(x @ slopes.astype(np.float32)))
        scores = np.where(seen, score_of_scale(relative**2, LEVEL_NU), 0).astype(np.float32)
        ahead = (x.T @ scores).astype(np.float64) - ridge * slopes
        for fit, factor in enumerate(factors):
            slopes[:, fit] += linalg.cho_solve(factor, ahead[:, fit])
    return slopes


def follow(z: Floats, start: float) -> Floats:
    """Log level of the scale of returns (n,), as it was known at each close; within a factor `WIDEST` of `start`.

    Returns are in units of the σ that was known the day before; NaN leaves the level as it is. Row i has
    seen ``z[: i + 1]``.
    """
    low, high = start - np.log(WIDEST), start + np.log(WIDEST)
    level, levels = start, []
    for square in (z * z).tolist():
        if square == square:  # not NaN
            relative = square * math.exp(-2 * level)
            score = (LEVEL_NU + 1) * relative / (LEVEL_NU + relative) - 1
            level = min(max(level + LEVEL_STEP * score, low), high)
        levels.append(level)
    return np.array(levels, dtype=np.float64)


def chance_of_zero(returns: Floats, within: Floats) -> Floats:
    """Probability that each of the next H returns is exactly 0, (n, H).

    That is how likely a density says it is to be `within` half a tick of 0, (n, H), and as much of the rest as returns
    (n,) have been 0 more often than that.
    """
    more = (returns == 0) - before(within[:, 0])
    more = ewma(np.where(np.isfinite(more), more, 0.0), 0.5 ** (1 / ZERO_HALF_LIFE), 0.0)
    return within + (1 - within) * np.clip(more, 0, MOST_ZEROS)[:, None]


@dataclass(frozen=True)
class StepParameters:
    """Parameters (M, H) of the reference at M (symbol, cutoff) rows, see `TokenDensity`."""

    loc: Floats
    scale: Floats
    nu: Floats
    zero: Floats  # 0 but for symbols with large ticks, as half a tick
    half_tick: Floats

    def cdf(self, returns: Floats) -> Floats:
        """Probability integral transform u = F(r), shape (M, H)."""
        return np.asarray(special.stdtr(self.nu, (returns - self.loc) / self.scale))

    def first(self, steps: int) -> "StepParameters":
        """The first `steps` columns."""
        return StepParameters(*(part[:, :steps] for part in vars(self).values()))


@dataclass(frozen=True)
class Reference:
    """A causal volatility times a Student-t per symbol and step.

    Each step's density depends on the cutoff alone: σ of steps 2..H is not known at the cutoff, so
    every step has its own regression and its own t. Mappings are by symbol; under `POOL` stand the medians,
    for symbols with fewer than `MIN_OWN_ROWS` training sessions.
    """

    volatility: Scale
    measure: Measure  # of the numbers of a close, and of a session to come
    slopes: Floats  # (H, 1 + K), of the log of the scale in those numbers
    event_slopes: Floats  # (H, NUM_EVENTS), the same in what scheduled events say
    drift: Floats  # (H,), location in units of σ, the same for all: a mean per stock is noise
    starts: Mapping[str, float]  # log level, in units of σ, before the first session
    shapes: Mapping[
        str, Floats
    ]  # (H, 2), degrees of freedom, and scale in units of σ times the level
    overnight_share: Mapping[str, float]  # of the close-to-close variance, between close and open
    members: tuple[str, ...]  # what it was fitted on: the market of all others
    ticks: tuple[str, ...]  # symbols whose prices move by large ones

    @property
    def horizon(self) -> int:
        """Steps ahead that the reference covers."""
        return self.volatility.horizon

    @classmethod
    def fit(cls, panel: Panel, *, horizon: int, volatility: str = "har") -> Self:
        """Fit on a training block: everything in `panel` is used, nothing else is seen.

        `volatility` is one of `volatility.SCALES`. NotEnoughDataError if the block is too short, or no symbol
        ever moves.
        """
        data = inputs(panel, horizon=horizon)
        scale = Scale.fit(volatility, data, horizon=horizon)
        ahead: dict[str, Floats] = {}  # returns of steps 1..H over the σ that was known
        for symbol, one in data.items():
            z = aligned_returns(one.returns, horizon) / scale.scale(symbol, one)
            z[~np.isfinite(one.har).all(axis=1)] = np.nan
            known = z[np.isfinite(z).all(axis=1)]
            if len(known) and np.abs(known).max() > 0:
                ahead[symbol] = z
        if not ahead:
            raise NotEnoughDataError(
                f"No symbol among {', '.join(panel)} has moving prices for more than "
                f"{LONG_WINDOW + horizon} sessions. Give a longer history or other symbols."
            )
        drift = _shrunk_drift({s: z[np.isfinite(z).all(axis=1)] for s, z in ahead.items()})
        centred = {symbol: z - drift for symbol, z in ahead.items()}
        starts = _starts({symbol: z[:, 0] for symbol, z in centred.items()})
        levelled = {}
        for symbol, z in centred.items():
            level = follow(before(z[:, 0]), starts.get(symbol, starts[POOL]))
            levelled[symbol] = np.clip(z / np.exp(level)[:, None], -CLIP, CLIP)
        measure, slopes, event_slopes = _fit_stretch({s: data[s] for s in levelled}, levelled)
        standardised = {}
        for symbol, z in levelled.items():
            z = z / np.exp(stretch(data[symbol], measure, slopes))
            z /= np.exp(event_stretch(data[symbol], event_slopes))
            standardised[symbol] = z[np.isfinite(z).all(axis=1)]
        shapes = {
            symbol: np.array([fit_student_t(z[:, h]) for h in range(horizon)])
            for symbol, z in standardised.items()
        }
        _make_heavier(shapes, standardised)
        own = {s: shape for s, shape in shapes.items() if len(standardised[s]) >= MIN_OWN_ROWS}
        pooled = np.median(list((own or shapes).values()), axis=0)
        for shape in own.values():  # a stale series would have hardly any scale of its own
            shape[:, 1].clip(pooled[:, 1] / WIDEST, pooled[:, 1] * WIDEST, out=shape[:, 1])
        shares = {symbol: _overnight_share(data[symbol]) for symbol in ahead}
        shares[POOL] = float(np.median(list(shares.values())))
        ticks = tuple(symbol for symbol in own if has_ticks(data[symbol].returns))
        shapes = {**own, POOL: pooled}
        names = panel.symbols, ticks
        return cls(scale, measure, slopes, event_slopes, drift, starts, shapes, shares, *names)

    @property
    def knows_covariate(self) -> bool:
        """Whether there was a covariate to learn from."""
        return bool(self.measure.mean[NUM_NUMBERS - NUM_COVARIATE : NUM_NUMBERS].any())

    def inputs(self, panel: Panel) -> dict[str, SymbolInputs]:
        """What is known of every symbol at each close, beside the market of the training block."""
        return inputs(panel, horizon=self.horizon, members=frozenset(self.members))

    def parameters(self, symbol: str, one: SymbolInputs) -> StepParameters:
        """Location, scale and ν of the next H returns, at every session: (n, H) each.

        A symbol without parameters of its own takes the pooled ones.
        """
        shape = self.shapes.get(symbol, self.shapes[POOL])
        sigma = self.volatility.scale(symbol, one)
        z = one.returns / before(sigma[:, 0]) - self.drift[0]
        level = np.exp(follow(z, self.starts.get(symbol, self.starts[POOL])))[:, None]
        nu = np.broadcast_to(shape[:, 0], sigma.shape)
        moved = np.exp(stretch(one, self.measure, self.slopes))
        moved *= np.exp(event_stretch(one, self.event_slopes))
        loc, scale = sigma * self.drift, sigma * level * moved * shape[:, 1]
        zero, half_tick = np.zeros_like(scale), np.zeros_like(scale)
        if symbol in self.ticks:
            half_tick = half_tick + tick_widths(one.returns)[:, None] / 2
            ends = (special.stdtr(nu, (end - loc) / scale) for end in (half_tick, -half_tick))
            zero = chance_of_zero(one.returns, np.subtract(*ends))
        return StepParameters(loc, scale, nu, zero, half_tick)

    def events(self, one: SymbolInputs) -> Numbers:
        """What scheduled events say to models on top of it; zero if there was none to learn from in training."""
        return one.events * np.float32(self.event_slopes.any())

    def share_overnight(self, symbol: str) -> float:
        """The symbol's overnight share of variance, pooled if unknown."""
        return self.overnight_share.get(symbol, self.overnight_share[POOL])

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from ``dataclasses.asdict`` as JSON."""
        return cls(
            Scale.from_json(state["volatility"]),
            Measure.from_json(state["measure"]),
            np.array(state["slopes"]),
            np.array(state["event_slopes"]),
            np.array(state["drift"]),
            dict(state["starts"]),
            {symbol: np.array(shape) for symbol, shape in state["shapes"].items()},
            dict(state["overnight_share"]),
            tuple(state["members"]),
            tuple(state["ticks"]),
        )


def _identity(panel: Panel) -> str:
    """What decides its inputs: bars, events and covariate, and where each symbol trades."""
    where = (f"{market_of(bars)} {calendar_of(bars)}" for bars in panel.values())
    return "|".join((panel.sha256, *where))


_newest: dict[tuple[str, int, str], Reference] = {}


def fit_reference(panel: Panel, *, horizon: int, volatility: str = "har") -> Reference:
    """`Reference.fit`; the last few of a process are kept, because all models of a fold start from the same."""
    key = _identity(panel), horizon, volatility
    if key not in _newest:
        _newest[key] = Reference.fit(panel, horizon=horizon, volatility=volatility)
        if len(_newest) > KEPT_REFERENCES:
            del _newest[next(iter(_newest))]
    return _newest[key]


_known: list[tuple[Reference, str, dict[str, StepParameters]]] = []


def reference_parameters(reference: Reference, panel: Panel) -> dict[str, StepParameters]:
    """`Reference.parameters` of every symbol; the newest are kept, because a panel is forecast part by part."""
    whose = _identity(panel)
    if not _known or _known[0][0] is not reference or _known[0][1] != whose:
        data = reference.inputs(panel)
        found = {symbol: reference.parameters(symbol, one) for symbol, one in data.items()}
        _known[:] = [(reference, whose, found)]
    return _known[0][2]


def stretch(one: SymbolInputs, measure: Measure, slopes: Floats) -> Floats:
    """By how much the log of the scale of the next H returns is moved, at each session: (n, H)."""
    numbers, days = measured(one, measure)
    # Number by number: a matrix product may choose another kernel for another count of rows.
    moved = np.repeat(slopes[None, :, 0], len(numbers), axis=0)
    for place, column in enumerate(numbers.T, 1):
        moved += column[:, None].astype(np.float64) * slopes[:, place]
    ahead = np.zeros(days.shape[:2])
    for place, columns in enumerate(np.moveaxis(days, 2, 0), 1 + numbers.shape[1]):
        ahead += columns.astype(np.float64) * slopes[:, place]
    return np.clip(moved + ahead[one.place], -LONGEST_STRETCH, LONGEST_STRETCH)


def event_stretch(one: SymbolInputs, slopes: Floats) -> Floats:
    """By how much scheduled events move it, with slopes (H, NUM_EVENTS), beyond that: (n, H)."""
    moved = np.zeros(one.events.shape[:2])
    for place, columns in enumerate(np.moveaxis(one.events, 2, 0)):
        moved += columns * slopes[:, place]
    return np.clip(moved, -LONGEST_STRETCH, LONGEST_STRETCH)


def measured(one: SymbolInputs, measure: Measure) -> tuple[Numbers, Numbers]:
    """Numbers (n, NUM_NUMBERS) and days (D, H, NUM_DAYS) of a symbol in the measure of training."""
    return measure.part(slice(NUM_NUMBERS)).apply(one.numbers), measure.part(
        slice(NUM_NUMBERS, None)
    ).apply(one.days)


def _fit_stretch(
    data: Mapping[str, SymbolInputs], levelled: Mapping[str, Floats]
) -> tuple[Measure, Floats, Floats]:
    """The measure of all inputs, slopes, and those of events, for returns (n, H) in units of σ times the level."""
    known = {symbol: np.flatnonzero(np.isfinite(z).all(axis=1)) for symbol, z in levelled.items()}
    chosen = {}
    for symbol, rows in known.items():
        unchanged = rolling_mean((data[symbol].returns == 0).astype(np.float64), LONG_WINDOW)
        chosen[symbol] = rows[unchanged[rows] <= THIN]  # a stale price teaches nothing
    if not any(map(len, chosen.values())):
        chosen = known
    every = -(-sum(map(len, chosen.values())) // MAX_SLOPE_ROWS)
    chosen = {symbol: rows[::every] for symbol, rows in chosen.items()}
    numbers = np.concatenate([data[s].numbers[rows] for s, rows in chosen.items()])
    days = np.concatenate([data[s].days[data[s].place[rows]] for s, rows in chosen.items()])
    z = np.concatenate([levelled[s][rows] for s, rows in chosen.items()])
    sessions = np.concatenate([data[s].sessions[rows] for s, rows in chosen.items()])
    measure = Measure.fit(np.concatenate([numbers, days[:, 0]], axis=1))
    horizon, count = z.shape[1], NUM_NUMBERS + NUM_DAYS
    slopes, event_slopes = np.zeros((horizon, 1 + count)), np.zeros((horizon, NUM_EVENTS))
    events = np.concatenate([data[s].events[rows] for s, rows in chosen.items()])
    if events.any():
        every_row = np.ones((len(z), 1), dtype=bool)
        for step in range(horizon):
            x = np.column_stack([np.ones(len(z), np.float32), events[:, step]])
            found = _scoring(x, z[:, step], every_row, np.array([EVENT_RIDGE]))
            event_slopes[step] = found[1:, 0]
            z[:, step] /= np.exp(events[:, step] @ event_slopes[step])
    if len(z) >= ROWS_PER_SLOPE * count:
        x = np.ones((len(z), 1 + count), np.float32)
        x[:, 1 : 1 + NUM_NUMBERS] = measure.part(slice(NUM_NUMBERS)).apply(numbers)
        ahead = measure.part(slice(NUM_NUMBERS, None))
        for step in range(horizon):
            x[:, 1 + NUM_NUMBERS :] = ahead.apply(days[:, step])
            slopes[step] = fit_slopes(x, z[:, step], sessions.astype(np.float64))
    return measure, slopes, event_slopes


def _make_heavier(shapes: Mapping[str, Floats], standardised: Mapping[str, Floats]) -> None:
    """Lower all degrees of freedom until neither tail beyond `TAIL` holds more of the next day's returns than is due.

    The likelihood of a t is decided in the middle, where most of the returns are; what is beyond one in a thousand
    decays more slowly. A symbol counts with at most twice the share that is due, so that none decides for all.
    """
    likeliest = {symbol: shape[:, 0].copy() for symbol, shape in shapes.items()}
    pooled = np.median(list(likeliest.values()), axis=0)

    def change(part: float, steps: range) -> None:
        for symbol, shape in shapes.items():
            for step in steps:
                # half of a symbol's own, by its reciprocal: the weight of one tail is known to few digits
                nu = part * 2 / (1 / likeliest[symbol][step] + 1 / pooled[step])
                nu = max(nu, MIN_NU)
                shape[step] = nu, student_scale(standardised[symbol][:, step], nu)

    for part in HEAVIER:
        change(part, range(1))
        beyond = []
        for symbol, shape in shapes.items():
            z = standardised[symbol][:, 0] / shape[0, 1]
            edge = special.stdtrit(shape[0, 0], 1 - TAIL)
            beyond.append(np.minimum((np.mean(z < -edge), np.mean(z > edge)), 2 * TAIL))
        if np.mean(beyond, axis=0).max() <= TAIL:
            break
    change(part, range(len(pooled)))


def _starts(ahead: Mapping[str, Floats]) -> dict[str, float]:
    """Log level of each symbol's newest next-day returns (n,) in units of σ, and the pooled one."""
    known = {symbol: z[np.isfinite(z)][-START_SESSIONS:] for symbol, z in ahead.items()}
    found = {symbol: np.log(student_scale(z, LEVEL_NU)) for symbol, z in known.items()}
    own = {symbol: found[symbol] for symbol, z in known.items() if len(z) >= MIN_OWN_ROWS}
    pooled = float(np.median(list((own or found).values())))
    low, high = pooled - np.log(WIDEST), pooled + np.log(WIDEST)
    return {s: float(np.clip(level, low, high)) for s, level in own.items()} | {POOL: pooled}


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
    parts = one.overnight[1:], one.returns[1:] - one.overnight[1:]
    energy, rest = (float(np.mean(np.clip(part, -0.2, 0.2) ** 2)) for part in parts)
    return energy / (energy + rest) if energy + rest > 0 else 0.0
