"""How good forecasts were: every score in one long table, and what is said of it.

Owns the scores of a row (by closed forms, and by ``scoringrules`` where draws, quantiles or intervals are
scored), the long table ``model, symbol, cutoff, step, …`` that everything after a run reads, its summary per model,
the tests of one model against each other, and the verdict in words. Knows no model, and does not care who made a
forecast. Every score uses the outcome, so it is known at the close of cutoff + step.

References
----------
.. [1] Gneiting, T. and Raftery, A. (2007). Strictly proper scoring rules, prediction, and
   estimation. JASA 102(477).
.. [2] Diebold, F., Gunther, T. and Tay, A. (1998). Evaluating density forecasts. International
   Economic Review 39(4).
.. [3] Fricker, T., Ferro, C. and Stephenson, D. (2013). Three recommendations for evaluating
   climate predictions. Meteorological Applications 20(2).
.. [4] Hyndman, R. and Koehler, A. (2006). Another look at measures of forecast accuracy. International
   Journal of Forecasting 22(4).
.. [5] Diks, C., Panchenko, V. and van Dijk, D. (2011). Likelihood-based scoring rules for comparing density
   forecasts in tails. Journal of Econometrics 163(2): the censored likelihood, here of what lies within a tick.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import scoringrules
from numpy.typing import NDArray
from scipy import stats

from quantseq.evaluation.significance import (
    SHOWN,
    by_date,
    confidence_set,
    days_needed,
    diebold_mariano,
    hit_rate,
    information_coefficient,
    mean_interval,
    pesaran_timmermann,
)
from quantseq.forecasting.forecasts import QUANTILE_LEVELS, Forecasts, keyed_uniforms
from quantseq.forecasting.volatility import aligned_returns, has_ticks, tick_widths
from quantseq.market.bars import Floats, Panel

COVERAGES = (50, 80, 90, 95)  # two-sided central intervals, in per cent
TESTED_SCORES = ("log_score", "crps")
CUMULATIVE = "cumulative"  # the step of a test on the sum of all steps
TAILS = (0.0001, 0.001, 0.01, 0.99, 0.999, 0.9999)  # levels beyond which outcomes are counted
_INTERVAL = 0.9  # of the interval score: central, between the outermost of `QUANTILE_LEVELS`

TOLD_THE_SAME = ("boosting-t", "perceptron-t")  # plain models that know what the network knows

# Mean differences below are printed as 0.0000 nats, and as 0.00 basis points.
LEAST_SHOWN = {"log_score": 5e-5, "crps": 5e-7}


def realised_returns(panel: Panel, forecasts: Forecasts) -> Floats:
    """Log returns that followed each cutoff: (M, H), NaN where they are not known yet."""
    result = np.full((len(forecasts), forecasts.horizon), np.nan)
    for symbol in np.unique(forecasts.symbols):
        rows = np.flatnonzero(forecasts.symbols == symbol)
        bars = panel[str(symbol)]
        ahead = aligned_returns(bars.log_returns(), forecasts.horizon)
        result[rows] = ahead[np.searchsorted(bars.sessions, forecasts.cutoffs[rows])]
    return result


def naive_errors(train: Panel) -> dict[str, float]:
    """Mean absolute log return per symbol of a training block; under "" the median over symbols."""
    found = {}
    for symbol, bars in train.items():
        moves = np.abs(bars.log_returns()[1:])
        if len(moves) and moves.mean() > 0:
            found[symbol] = float(moves.mean())
    middle = float(np.median(list(found.values()))) if found else float("nan")
    return {"": middle, **found}


def symbols_with_ticks(train: Panel) -> frozenset[str]:
    """Symbols of a training block whose prices move by large ticks, see `volatility.has_ticks`."""
    return frozenset(s for s, bars in train.items() if has_ticks(bars.log_returns()))


def score(
    forecasts: Forecasts,
    panel: Panel,
    naive: Mapping[str, float],
    *,
    ticks: Set[str] = frozenset(),
    fold: int = 0,
) -> pd.DataFrame:
    """Score forecasts against what happened: the part of the long table that these rows fill.

    The `forecasts` are M rows of H steps, in order of cutoff, the `panel` holds the outcomes, `naive` has the
    `naive_errors` that the absolute error is scaled by [4]_, and `ticks` are the `symbols_with_ticks`.

    M · H lines: ``symbol, cutoff, step, fold``, the outcome ``realised``, the forecast's ``mean`` and ``prob_up`` (given
    that the price moves), and, NaN where the outcome is unknown: ``log_score`` (negative log density in nats; NaN without
    a density; where ticks are large, that of a return within half a tick of 0 is the mean density over that tick [5]_, of
    every model alike, so that a price which does not move can be told by a density or by a probability), ``crps``
    (log-return units), ``pit`` [2]_ (randomised at atoms only, by draws keyed to the row), ``pinball`` (mean over
    `QUANTILE_LEVELS`, without the factor 2), ``interval_score`` (Winkler, central 90 %), ``scaled_error`` of the
    median, and, on the line of the last step, ``crps_cumulative``: that of the sum of all steps, from paths, fair in
    their number [3]_. All scores: lower is better [1]_.
    """
    realised = realised_returns(panel, forecasts)
    density, horizon = forecasts.density, forecasts.horizon
    unknown = ~np.isfinite(realised)
    outcome = np.where(unknown, 0.0, realised)
    quantiles = forecasts.quantile(QUANTILE_LEVELS)
    losses = scoringrules.quantile_score(outcome[..., None], quantiles, np.array(QUANTILE_LEVELS))
    scale = np.array([naive.get(str(symbol), naive[""]) for symbol in forecasts.symbols])
    middle = quantiles[..., QUANTILE_LEVELS.index(0.5)]
    columns = {
        "log_score": _log_score(forecasts, panel, outcome, ticks),
        "crps": density.crps(outcome),
        "pit": _transform(forecasts, outcome),
        "pinball": losses.mean(axis=-1),
        "interval_score": scoringrules.interval_score(
            outcome, quantiles[..., 0], quantiles[..., -1], 1 - _INTERVAL
        ).reshape(outcome.shape),  # which drops a last axis of one step
        "scaled_error": np.abs(outcome - middle) / scale[:, None],
        "crps_cumulative": _cumulative_crps(forecasts, realised),
    }
    table = pd.DataFrame(
        {
            "symbol": pd.Categorical(np.repeat(forecasts.symbols, horizon), panel.symbols),
            "cutoff": np.repeat(forecasts.cutoffs, horizon).astype("datetime64[s]"),
            "step": np.tile(np.arange(1, horizon + 1, dtype=np.int16), len(forecasts)),
            "fold": np.int16(fold),
            "realised": realised.ravel(),
            "mean": forecasts.mean.ravel().astype(np.float32),
            "prob_up": density.untied.prob_up.ravel().astype(np.float32),
        }
    )
    for name, values in columns.items():
        known = np.where(unknown, np.nan, values).ravel()
        # What is tested stays exact; the rest is as exact as it is ever shown, at half the memory.
        table[name] = known if name in TESTED_SCORES else known.astype(np.float32)
    return table


def _log_score(
    forecasts: Forecasts, panel: Panel, outcome: Floats, ticks: Set[str]
) -> NDArray[np.float64]:
    """Negative log density (M, H), averaged over one tick around 0 where that is large and the outcome inside."""
    density = forecasts.density
    found = -density.log_density(outcome)
    width = np.zeros(len(forecasts))
    for symbol in ticks & set(forecasts.symbols):
        rows, bars = np.flatnonzero(forecasts.symbols == symbol), panel[str(symbol)]
        known = tick_widths(bars.log_returns())
        width[rows] = known[np.searchsorted(bars.sessions, forecasts.cutoffs[rows])]
    half = np.broadcast_to(width[:, None] / 2, outcome.shape)
    inside = (np.abs(outcome) < half) & ~np.isnan(found)
    if inside.any():
        with np.errstate(divide="ignore", invalid="ignore"):
            mass = density.cdf(half) - density.cdf(-half)
            found = np.where(inside, -np.log(mass / (2 * half)), found)
    return np.asarray(found)


def _transform(forecasts: Forecasts, outcome: Floats) -> Floats:
    """Probability integral transform (M, H), randomised at atoms only, by draws keyed to the row."""
    pit, below = forecasts.density.cdf(outcome), forecasts.density.cdf_below(outcome)
    rows = np.flatnonzero((below < pit).any(axis=1))
    if len(rows):
        symbols, cutoffs = forecasts.symbols[rows], forecasts.cutoffs[rows]
        draws = keyed_uniforms(forecasts.seed, symbols, cutoffs, (forecasts.horizon,))
        pit[rows] = below[rows] + draws * (pit[rows] - below[rows])
    return pit


def _cumulative_crps(forecasts: Forecasts, realised: Floats) -> Floats:
    """CRPS of the sum of all steps in the last column (M, H), NaN elsewhere and without paths."""
    result = np.full(realised.shape, np.nan)
    known = np.isfinite(realised).all(axis=1)
    if forecasts.paths is not None and known.any():
        sums = forecasts.paths[known].sum(axis=2, dtype=np.float64)
        # Probability-weighted moments: unbiased in the number of draws, and fast.
        result[known, -1] = scoringrules.crps_ensemble(
            realised[known].sum(axis=1), sums, estimator="pwm"
        )
    return result


def coverage(pit: Floats, level: float) -> float:
    """Share of outcomes inside the central interval of probability `level`."""
    return float(np.mean(np.abs(pit - 0.5) <= level / 2))


def tail_rates(pit: Floats) -> dict[str, float]:
    """Share of outcomes below each of `TAILS` up to one half, and above each of the others."""
    shares = {level: pit < level if level < 0.5 else pit > level for level in TAILS}
    return {f"{level:g}": float(np.mean(beyond)) for level, beyond in shares.items()}


def kolmogorov_distance(pit: Floats) -> float:
    """Largest distance between the empirical distribution of `pit` and the uniform."""
    return float(stats.ks_1samp(pit, stats.uniform.cdf, method="asymp").statistic)


def at_step(scores: pd.DataFrame, model: str, step: int = 1) -> pd.DataFrame:
    """The lines of one model at one step."""
    return scores[(scores["model"] == model) & (scores["step"] == step)]


def dates_of(rows: pd.DataFrame) -> Any:
    """The cutoffs of lines as datetime64[D]."""
    return rows["cutoff"].to_numpy().astype("datetime64[D]")


def calls_of(rows: pd.DataFrame) -> tuple[Floats, Floats, Floats, Any]:
    """Probability of a rise, expected and realised return, and the dates, of lines."""
    up, mean, came = (rows[name].to_numpy() for name in ("prob_up", "mean", "realised"))
    return up, mean, came, dates_of(rows)


def models_of(scores: pd.DataFrame) -> list[str]:
    """The models of a table, in its order."""
    return [str(name) for name in scores["model"].unique()]


def _mean(values: Any) -> float | None:
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else None


def summary(rows: pd.DataFrame) -> dict[str, Any]:
    """Averages over the lines of one model at one step; NaN without outcomes.

    ``log_score, crps, coverage_50 … coverage_95`` (shares in [0, 1]), ``pit_ks`` (largest distance of the PIT's
    distribution from uniform) and ``n``.
    """
    known = np.isfinite(rows["pit"].to_numpy())
    pit = rows["pit"].to_numpy(dtype=np.float64)[known]
    if not len(pit):
        names = ["log_score", "crps", *(f"coverage_{c}" for c in COVERAGES), "pit_ks"]
        return {**dict.fromkeys(names, float("nan")), "n": 0}
    return {
        **{name: float(rows[name].to_numpy()[known].mean()) for name in TESTED_SCORES},
        **{f"coverage_{c}": coverage(pit, c / 100) for c in COVERAGES},
        "pit_ks": kolmogorov_distance(pit),
        "n": len(pit),
    }


def summarise_models(scores: pd.DataFrame, reference: str, seed: int) -> dict[str, Any]:
    """Every model's scores, from the long table with all models on the same rows; see ``docs/json.md`` for the keys.

    Skill in nats is measured against the model `reference`, where it takes part; `seed` is that of the bootstraps.
    """
    names, horizon = models_of(scores), int(scores["step"].max())
    parts = dict(list(scores.groupby(["model", "step"], observed=True)))
    found = {
        name: _one_model([parts[name, step] for step in range(1, horizon + 1)]) for name in names
    }
    first = {name: parts[name, 1] for name in names}
    for tested in TESTED_SCORES:
        scored = {name: rows for name, rows in first.items() if rows[tested].notna().any()}
        daily = {n: by_date(rows[tested].to_numpy(), dates_of(rows)) for n, rows in scored.items()}
        inside = confidence_set(daily, seed=seed)
        for name in names:
            found[name][f"mcs_{tested}"] = inside.get(name)
    for name, rows in first.items():
        found[name] |= {"skill_interval": None, "skill_nats": None}
        found[name]["gain_by_step"] = None
        if reference in names and rows["log_score"].notna().any():
            gains = [
                by_date(
                    parts[reference, step]["log_score"].to_numpy()
                    - parts[name, step]["log_score"].to_numpy(),
                    dates_of(parts[name, step]),
                )
                for step in range(1, horizon + 1)
            ]
            gain = gains[0]
            found[name]["gain_by_step"] = [float(one.mean()) if len(one) else None for one in gains]
            found[name]["skill_interval"] = list(mean_interval(gain, seed=seed))
            found[name]["skill_nats"] = float(gain.mean()) if len(gain) else None
    return found


def _one_model(by_step: list[pd.DataFrame]) -> dict[str, Any]:
    steps = []
    for step, rows in enumerate(by_step, 1):
        up, mean, came, dates = calls_of(rows)
        steps.append(
            {
                "step": step,
                **summary(rows),
                "pinball": _mean(rows["pinball"]),
                "winkler_90": _mean(rows["interval_score"]),
                "mase": _mean(rows["scaled_error"]),
                "hit_rate": asdict(hit_rate(up, came, dates, step=step)),
                "ic": asdict(information_coefficient(mean, came, dates, step=step)),
            }
        )
    rows = by_step[0]
    up, mean, came, dates = calls_of(rows)
    known = np.isfinite(rows["pit"].to_numpy())
    pit = rows["pit"].to_numpy(np.float64)[known]
    return {
        **{name: value for name, value in steps[0].items() if name != "step"},
        "tail_rates": tail_rates(pit) if len(pit) else None,
        "n_days": len(np.unique(dates[np.isfinite(came)])),
        "crps_cumulative": _mean(by_step[-1]["crps_cumulative"]),
        "rank_ic": asdict(information_coefficient(mean, came, dates, ranks=True)),
        "pesaran_timmermann": asdict(pesaran_timmermann(up, came, dates)),
        "by_step": steps,
        "by_year": [
            {
                "year": int(year),
                **{name: _mean(part[name]) for name in TESTED_SCORES},
                "coverage_90": summary(part)["coverage_90"],
            }
            for year, part in rows.groupby(rows["cutoff"].dt.year)
        ],
    }


def compare_models(scores: pd.DataFrame, model: str) -> list[dict[str, Any]]:
    """Diebold-Mariano tests of `model` against every other, by score and step.

    A row is ``model, baseline, score, step, t, p, mean_difference, n_days, days_needed``; negative t: the model is
    better. ``step`` is 1..H, or ``"cumulative"`` for the CRPS of the sum of all steps. Scores that the other does not
    have make no row.
    """
    horizon, rows = int(scores["step"].max()), []
    parts = dict(list(scores.groupby(["model", "step"], observed=True)))
    steps = range(1, horizon + 1)
    cases: list[tuple[str, Any, str, int]] = [(n, h, n, h) for n in TESTED_SCORES for h in steps]
    cases.append(("crps", CUMULATIVE, "crps_cumulative", horizon))
    for other in models_of(scores):
        if other == model:
            continue
        for name, label, column, step in cases:
            ours, theirs = (parts[one, step][column].to_numpy(np.float64) for one in (model, other))
            found = diebold_mariano(ours, theirs, dates_of(parts[model, step]), step=step)
            needed = days_needed(found.t, found.n_days) if np.isfinite(found.t) else None
            tested = {"model": model, "baseline": other, "score": name, "step": label}
            rows.append({**tested, **asdict(found), "days_needed": needed})
    return [row for row in rows if row["n_days"] > 0]


def next_day(tests: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """One test per other model on the next day: by log score where it has one, else by CRPS."""
    found: dict[str, Mapping[str, Any]] = {}
    for test in tests:
        name, by_density = str(test.get("baseline")), test.get("score") == "log_score"
        if test.get("step") == 1 and (by_density or name not in found):
            found[name] = test
    return found


def verdicts(tests: list[dict[str, Any]], *, own_reference: str) -> list[str]:
    """One sentence per other model, on `next_day`, and one on those that are `told_the_same`."""
    sentences = [
        f"better than {f'its own reference ({other})' if other == own_reference else other}: {in_words(test)}"
        for other, test in next_day(tests).items()
    ]
    return sentences + told_the_same(tests)


def told_the_same(tests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whether the network beats the plain models that are told the same: a sentence, none if they took no part."""
    found = next_day(tests)
    told = {name: in_words(found[name]) for name in TOLD_THE_SAME if name in found}
    missed = {name: words for name, words in told.items() if not words.startswith("yes")}
    if not told:
        return []
    judged = " and ".join(f"{name} ({words})" for name, words in (missed or told).items())
    return [f"the network {'does not beat' if missed else 'beats'} {judged}, told the same"]


def negligible(test: Mapping[str, Any]) -> bool:
    """Whether the mean difference would be printed as 0: however sure, it favours nobody."""
    gap = test.get("mean_difference")
    return gap is not None and abs(gap) < LEAST_SHOWN.get(str(test.get("score")), 0.0)


def in_words(test: Mapping[str, Any]) -> str:
    """Whether the model is shown to be better, with what the claim rests on."""
    t, n = test["t"], test["n_days"]
    unit = "" if test["score"] == "log_score" else " on CRPS"
    if t is None or np.isnan(t):
        return f"not shown, {n} days are too few{unit}"
    shown = f"t = {t:+.1f}{unit}".replace("-", "−").replace("+", "" if t < 0 else "+")
    if abs(t) >= SHOWN and negligible(test):
        return f"not shown, the two differ by nothing that could be printed{unit}"
    if t <= -SHOWN:
        return f"yes, {shown}"
    if t >= SHOWN:
        return f"no, the other is better, {shown}"
    if t == 0:
        return "not shown, the two are the same"
    if t > 0:
        return f"not shown, the other was ahead, {shown}"
    more = round_up(days_needed(t, n) - n)
    return f"not shown, {shown}; {more:,} more days would be needed"


def round_up(days: float) -> int:
    """Days in two leading digits: more would claim too much."""
    whole = int(np.ceil(days))
    grain = 10 ** max(len(str(whole)) - 2, 0)
    return int(-(-whole // grain) * grain)
