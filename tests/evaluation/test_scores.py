"""Scores by hand and by brute force, in one long table; summaries, tests and sentences follow from it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats

from quantseq.evaluation.scores import (
    COVERAGES,
    TOLD_THE_SAME,
    compare_models,
    coverage,
    in_words,
    kolmogorov_distance,
    naive_errors,
    realised_returns,
    round_up,
    score,
    summarise_models,
    summary,
    symbols_with_ticks,
    tail_rates,
    told_the_same,
    verdicts,
)
from quantseq.evaluation.significance import diebold_mariano
from quantseq.forecasting.baselines import BASELINES, fit_baseline
from quantseq.forecasting.density import Distribution, Quantiles, TokenDensity
from quantseq.forecasting.forecasts import QUANTILE_LEVELS, Forecasts
from quantseq.market.bars import Bars, Panel
from tests.prices import simulate_bars, simulate_panel

law = settings(deadline=None, max_examples=40)
START = np.datetime64("2010-01-04")


def panel_of(returns: np.ndarray, symbol: str = "A") -> Panel:
    """Daily closes that move by the returns; the first day has none."""
    close = 100 * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))
    days = START + np.arange(len(close))
    prices = dict.fromkeys(("open", "high", "low", "close", "adj_close"), close)
    rest = {"volume": 1.0, "dividends": 0.0, "splits": 0.0}
    return Panel(
        [Bars(symbol, days, **prices, **{k: np.full(len(close), v) for k, v in rest.items()})]
    )


def forecasts_of(
    cutoffs: np.ndarray, density: Distribution | None = None, *, symbol: str = "A", seed: int = 0
) -> Forecasts:
    n = len(cutoffs)
    if density is None:
        shape = (n, 1)
        density = TokenDensity.reference(np.zeros(shape), np.full(shape, 0.02), np.full(shape, 4.0))
    names = np.full(n, symbol, dtype=object)
    return Forecasts("t", names, cutoffs, density, np.full(n, 0.3), cutoffs[0], seed)


def test_outcomes_are_the_returns_after_the_cutoff() -> None:
    late = simulate_bars("B", 30, start="2015-01-12")
    panel = Panel([*simulate_panel("A", 40).values(), late])
    days = np.array([late.sessions[3], late.sessions[3], panel["A"].sessions[-2], late.sessions[0]])
    shape = (4, 2)
    density = TokenDensity.reference(np.zeros(shape), np.ones(shape), np.full(shape, 4.0))
    names = np.array(["A", "B", "A", "B"], object)
    found = realised_returns(panel, Forecasts("t", names, days, density, np.ones(4), days[0], 0))
    own = panel["A"].log_returns()
    place = int(np.searchsorted(panel["A"].sessions, days[0]))
    np.testing.assert_array_equal(found[0], own[place + 1 : place + 3])
    np.testing.assert_array_equal(found[1], late.log_returns()[4:6])
    np.testing.assert_array_equal(found[2], [own[-1], np.nan])
    np.testing.assert_array_equal(found[3], late.log_returns()[1:3])


def test_scores_of_a_student_t_by_hand() -> None:
    moves = np.array([0.01, -0.05])
    panel = panel_of(moves)
    found = score(forecasts_of(panel.sessions), panel, {"": 0.04})
    law_of_r = stats.t(4, 0, 0.02)
    np.testing.assert_allclose(found["log_score"][:2], -law_of_r.logpdf(moves))
    np.testing.assert_allclose(found["pit"][:2], law_of_r.cdf(moves), rtol=1e-6)
    np.testing.assert_allclose(found["scaled_error"][:2], np.abs(moves) / 0.04, rtol=1e-6)
    low, high = law_of_r.ppf([0.05, 0.95])
    winkler = high - low + 20 * (np.maximum(low - moves, 0) + np.maximum(moves - high, 0))
    np.testing.assert_allclose(found["interval_score"][:2], winkler, rtol=1e-6)
    levels = np.array(QUANTILE_LEVELS)
    gap = moves[:, None] - law_of_r.ppf(levels)
    pinball = np.maximum(levels * gap, (levels - 1) * gap).mean(axis=1)  # without the factor 2
    np.testing.assert_allclose(found["pinball"][:2], pinball, rtol=1e-6)
    assert found.loc[2, ["log_score", "crps", "pit", "pinball", "interval_score"]].isna().all()
    assert np.isfinite(found.loc[2, ["mean", "prob_up"]].astype(float)).all()
    told = summary(found)
    assert (told["n"], told["coverage_50"], told["coverage_95"]) == (2, 0.5, 1.0)
    assert told["log_score"] == pytest.approx(-law_of_r.logpdf(moves).mean())


def test_without_outcomes_every_average_is_unknown() -> None:
    panel = panel_of(np.zeros(0))
    told = summary(score(forecasts_of(panel.sessions), panel, {"": 1.0}))
    assert told["n"] == 0
    assert all(np.isnan(value) for name, value in told.items() if name != "n")
    assert set(told) == {"log_score", "crps", "pit_ks", "n"} | {f"coverage_{c}" for c in COVERAGES}


def test_a_true_forecast_is_calibrated_and_beats_a_false_one() -> None:
    panel = panel_of(0.02 * np.random.default_rng(0).standard_t(4, 3000))
    truth = forecasts_of(panel.sessions[:-1])
    density = truth.density
    assert isinstance(density, TokenDensity)
    false = TokenDensity.reference(density.loc, density.scale * 2, density.nu)
    wrong = forecasts_of(panel.sessions[:-1], false)
    good, bad = (summary(score(one, panel, {"": 1.0})) for one in (truth, wrong))
    assert good["coverage_90"] == pytest.approx(0.9, abs=0.02)
    assert good["pit_ks"] < 0.03 < bad["pit_ks"]
    assert good["log_score"] < bad["log_score"]
    assert good["crps"] < bad["crps"]


def test_coverage_counts_both_sides() -> None:
    pit = np.array([0.01, 0.2, 0.25, 0.74, 0.8, 0.99])
    assert coverage(pit, 0.5) == pytest.approx(2 / 6)
    assert coverage(pit, 0.9) == pytest.approx(4 / 6)


@given(npst.arrays(float, st.integers(1, 50), elements=st.floats(0, 1)))
@law
def test_the_distance_from_uniform_is_that_of_scipy(pit: np.ndarray) -> None:
    assert kolmogorov_distance(pit) == pytest.approx(stats.kstest(pit, "uniform").statistic)


@given(
    npst.arrays(float, st.integers(2, 12), elements=st.floats(-0.25, 0.25, width=32)),
    st.floats(-0.25, 0.25),
)
@law
def test_the_cumulative_crps_is_fair_and_equals_its_brute_force(
    draws: np.ndarray, outcome: float
) -> None:
    panel = panel_of(np.array([outcome]))
    paths = draws.astype(np.float32)[None, :, None]
    one = forecasts_of(panel.sessions[:1])
    found = score(Forecasts(**{**vars(one), "paths": paths}), panel, {"": 1.0})[
        "crps_cumulative"
    ].iloc[-1]
    row, n = paths[0, :, 0].astype(float), len(draws)
    came = panel["A"].log_returns()[1]
    pairs = [abs(a - b) for i, a in enumerate(row) for j, b in enumerate(row) if i != j]
    expected = np.abs(row - came).mean() - sum(pairs) / (2 * n * (n - 1))
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_pit_is_randomised_at_atoms_only_and_keyed_to_the_row() -> None:
    n = 4000
    panel = panel_of(np.where(np.arange(n) % 2, 0.0, 0.01 * (-1.0) ** (np.arange(n) // 2)))
    atom = Quantiles(np.tile([-1.0, 0.0, 0.0, 1.0], (n, 1, 1)), (0.01, 0.2, 0.7, 0.99))
    days = panel.sessions[:-1]
    found = score(forecasts_of(days, atom), panel, {"": 1.0})
    at_atom = found["pit"].to_numpy()[1::2].astype(float)
    moved = panel["A"].log_returns()[2::2] == 0
    assert stats.kstest((at_atom[moved] - 0.2) / 0.5, "uniform").pvalue > 0.01
    smooth = atom.cdf(panel["A"].log_returns()[1:, None])[::2, 0]
    np.testing.assert_allclose(found["pit"].to_numpy()[::2], smooth, rtol=1e-6)
    rows = np.arange(100, 110)
    again = score(forecasts_of(days, atom)[rows], panel, {"": 1.0})
    np.testing.assert_array_equal(again["pit"], found["pit"][rows])
    assert found["log_score"].isna().all()


def test_the_naive_error_is_the_mean_absolute_training_return_and_strangers_take_the_median() -> (
    None
):
    train = simulate_panel("ABC", 420)
    naive = naive_errors(train)
    assert naive["A"] == pytest.approx(np.abs(train["A"].log_returns()[1:]).mean())
    assert naive[""] == pytest.approx(np.median([naive[s] for s in train]))
    stranger = Panel([simulate_bars("Q", 420)])
    model = fit_baseline("ewma-t", train, horizon=2)
    forecasts = model.predict(stranger, stranger.sessions[300:310], horizon=2)
    found = score(forecasts, stranger, naive)
    middle = forecasts.quantile([0.5])[..., 0].ravel()
    error = np.abs(found["realised"] - middle) / naive[""]
    np.testing.assert_allclose(found["scaled_error"], error, rtol=1e-6)
    assert found["crps_cumulative"].isna().all()


M, H = 300, 2


def table(name: str, shift: float = 0.0, *, density: bool = True, seed: int = 0) -> pd.DataFrame:
    """The lines of one made-up model on 100 days of three symbols."""
    rng = np.random.default_rng(0)
    noise = 0.3 * np.random.default_rng(seed + 1).normal(size=(M, H))
    loss = rng.normal(size=(M, H)) ** 2 + noise + shift
    realised = rng.normal(size=(M, H))
    last = np.column_stack([np.full(M, np.nan), loss[:, 0]])
    columns = {
        "realised": realised,
        "mean": rng.normal(size=(M, H)),
        "prob_up": rng.random((M, H)),
        "log_score": loss if density else np.full((M, H), np.nan),
        "crps": loss,
        "pit": rng.random((M, H)),
        "pinball": loss / 2,
        "interval_score": loss * 3,
        "scaled_error": np.abs(realised),
        "crps_cumulative": last,
    }
    days = (np.datetime64("2010-12-01") + np.arange(M // 3)).repeat(3).astype("datetime64[s]")
    return pd.DataFrame(
        {
            "model": name,
            "symbol": np.tile(["A", "B", "C"], M // 3).repeat(H),
            "cutoff": days.repeat(H),
            "step": np.tile([1, 2], M),
            "fold": 0,
            **{key: values.ravel() for key, values in columns.items()},
        }
    )


FOUND = pd.concat(
    [
        table("ours"),
        table("ref", 0.01, seed=1),
        table("far", 0.5, seed=2),
        table("blunt", 0.5, density=False, seed=3),
    ]
)


def of(name: str, column: str, step: int = 1) -> np.ndarray:
    rows = FOUND[(FOUND["model"] == name) & (FOUND["step"] == step)]
    return rows[column].to_numpy()


def test_every_pair_is_tested_by_score_and_step_and_for_the_sum() -> None:
    rows = compare_models(FOUND, "ours")
    kinds = [(row["baseline"], row["score"], row["step"]) for row in rows]
    crps = [("crps", 1), ("crps", 2), ("crps", "cumulative")]
    both = [("log_score", 1), ("log_score", 2), *crps]
    expected = [("ref", *k) for k in both] + [("far", *k) for k in both]
    assert kinds == expected + [("blunt", *k) for k in crps]
    days = of("ours", "cutoff").astype("datetime64[D]")
    row = rows[6]
    test = diebold_mariano(of("ours", "log_score", 2), of("far", "log_score", 2), days, step=2)
    assert (row["t"], row["p"], row["n_days"]) == (test.t, test.p, 100)
    assert row["t"] < 0
    assert row["days_needed"] == pytest.approx(100 * 4 / test.t**2)


def test_scores_are_means_and_what_has_no_density_has_no_log_score() -> None:
    found = summarise_models(FOUND, "ref", seed=0)
    ours = found["ours"]
    assert ours["log_score"] == pytest.approx(of("ours", "log_score").mean())
    assert ours["crps_cumulative"] == pytest.approx(of("ours", "crps_cumulative", 2).mean())
    assert ours["by_step"][1]["mase"] == pytest.approx(of("ours", "scaled_error", 2).mean())
    gain = of("ref", "log_score").mean() - ours["log_score"]
    assert ours["gain_by_step"][0] == ours["skill_nats"]
    assert len(ours["gain_by_step"]) == len(ours["by_step"])
    assert ours["skill_nats"] == pytest.approx(gain)
    low, high = ours["skill_interval"]
    assert low < gain < high
    blunt = found["blunt"]
    assert np.isnan(blunt["log_score"])
    assert (blunt["skill_nats"], blunt["skill_interval"], blunt["mcs_log_score"]) == (None,) * 3
    assert blunt["mcs_crps"] < 0.05 < ours["mcs_crps"]
    assert [year["year"] for year in ours["by_year"]] == [2010, 2011]
    weighted = [(31 * 3, ours["by_year"][0]), (M - 93, ours["by_year"][1])]
    assert sum(n * year["crps"] for n, year in weighted) / M == pytest.approx(ours["crps"])


def test_without_the_reference_there_is_no_skill() -> None:
    found = summarise_models(table("ours"), "ref", seed=0)["ours"]
    assert (found["skill_nats"], found["skill_interval"], found["mcs_crps"]) == (None, None, None)


def test_unknown_outcomes_leave_everything_unknown() -> None:
    nothing = pd.concat([table("ours"), table("ref")])
    nothing.loc[:, "realised"] = np.nan
    nothing.loc[:, "log_score":"crps_cumulative"] = np.nan
    found = summarise_models(nothing, "ref", seed=0)["ours"]
    assert (found["n"], found["pinball"]) == (0, None)
    assert compare_models(nothing, "ours") == []


def test_verdicts_name_the_other_model_and_the_reference() -> None:
    first, second, third = verdicts(compare_models(FOUND, "ours"), own_reference="ref")
    assert first.startswith("better than its own reference (ref): not shown, t = −")
    assert first.endswith("more days would be needed")
    assert second.startswith("better than far: yes, t = −")
    assert third.endswith(" on CRPS")


def test_one_sentence_says_whether_what_is_told_the_same_is_beaten() -> None:
    def against(**found: float) -> list[str]:
        kind = {"score": "log_score", "step": 1, "n_days": 500}
        return told_the_same(
            [{"baseline": n.replace("_", "-"), "t": t, **kind} for n, t in found.items()]
        )

    assert against(garch_t=-9.0) == []
    assert against(perceptron_t=-2.5, boosting_t=-3.1, garch_t=1.0) == [
        "the network beats boosting-t (yes, t = −3.1) and perceptron-t (yes, t = −2.5), told the same"
    ]
    assert against(boosting_t=-3.1, perceptron_t=2.5) == [
        "the network does not beat perceptron-t (no, the other is better, t = +2.5), told the same"
    ]
    tests = [{"baseline": "boosting-t", "t": 0.5, "score": "log_score", "step": 1, "n_days": 9}]
    assert verdicts(tests, own_reference="")[-1] == told_the_same(tests)[0]
    assert set(TOLD_THE_SAME) <= set(BASELINES)


@pytest.mark.parametrize(
    ("t", "words"),
    [
        (-6.94, "yes, t = −6.9"),
        (-1.0, "not shown, t = −1.0; 3,800 more days would be needed"),
        (0.0, "not shown, the two are the same"),
        (0.5, "not shown, the other was ahead, t = +0.5"),
        (2.5, "no, the other is better, t = +2.5"),
        (float("nan"), "not shown, 1254 days are too few"),
    ],
)
def test_words_follow_t(t: float, words: str) -> None:
    assert in_words({"t": t, "n_days": 1254, "score": "log_score"}) == words


def test_a_difference_that_is_printed_as_0_favours_nobody() -> None:
    tiny = {"t": -5.1, "n_days": 1254, "mean_difference": -2e-11}
    for name in ("log_score", "crps"):
        assert in_words({**tiny, "score": name}).startswith("not shown, the two differ by nothing")
    sure = {**tiny, "mean_difference": -1e-5}
    assert in_words({**sure, "score": "crps"}) == "yes, t = −5.1 on CRPS"
    assert in_words({**sure, "score": "log_score"}).startswith("not shown")


def test_days_are_rounded_up_to_two_digits() -> None:
    assert [round_up(x) for x in (0.2, 9, 99, 101, 1834, 3762)] == [1, 9, 99, 110, 1900, 3800]


def test_tails_are_counted_on_their_own_side() -> None:
    found = tail_rates(np.array([0.00005, 0.0005, 0.5, 0.995]))
    assert found == {
        "0.0001": 0.25,
        "0.001": 0.5,
        "0.01": 0.5,
        "0.99": 0.25,
        "0.999": 0,
        "0.9999": 0,
    }


def test_where_ticks_are_large_all_models_are_scored_by_their_mean_density_over_the_tick() -> None:
    rng = np.random.default_rng(0)
    panel = panel_of(0.01 * rng.integers(-3, 4, 300))
    assert symbols_with_ticks(panel) == {"A"}
    assert symbols_with_ticks(simulate_panel("A", 300)) == set()
    days = panel.sessions[150:-1]
    shape = (len(days), 1)
    t = (np.zeros(shape), np.full(shape, 0.02), np.full(shape, 4.0))
    smooth = forecasts_of(days, TokenDensity.reference(*t))
    rounded = forecasts_of(days, TokenDensity.reference(*t, np.zeros(shape), np.full(shape, 0.005)))
    often = forecasts_of(
        days, TokenDensity.reference(*t, np.full(shape, 0.3), np.full(shape, 0.005))
    )
    plain = score(smooth, panel, {"": 0.04})
    one, two, three = (score(f, panel, {"": 0.04}, ticks={"A"}) for f in (smooth, rounded, often))
    still = (np.abs(one["realised"]) < 1e-9).to_numpy()
    assert 0.1 < still.mean() < 0.2
    assert plain["log_score"][~still].equals(one["log_score"][~still])
    law_of_r = stats.t(4, 0, 0.02)
    mass = law_of_r.cdf(0.005) - law_of_r.cdf(-0.005)
    np.testing.assert_allclose(one["log_score"][still], -np.log(mass / 0.01), rtol=1e-6)
    np.testing.assert_allclose(one["log_score"], two["log_score"], rtol=1e-6)  # like with like
    np.testing.assert_allclose(three["log_score"][still], -np.log(0.3 / 0.01), rtol=1e-6)
    rarer = np.log((1 - 0.3) / (1 - mass))
    np.testing.assert_allclose((one["log_score"] - three["log_score"])[~still], rarer, rtol=1e-6)
    assert one["prob_up"].equals(three["prob_up"])  # of a move


def test_a_distribution_without_density_still_has_no_log_score_where_ticks_are_large() -> None:
    panel = panel_of(0.01 * np.random.default_rng(0).integers(-3, 4, 300))
    days = panel.sessions[150:160]
    values = np.broadcast_to(np.linspace(-0.03, 0.03, 7), (len(days), 1, 7))
    found = forecasts_of(days, Quantiles(values, tuple(np.arange(1, 8) / 8)))
    assert score(found, panel, {"": 0.04}, ticks={"A"})["log_score"].isna().all()
