"""Schemes that cut different numbers are compared by exact densities of the same returns."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from quantseq.errors import NotEnoughDataError
from quantseq.forecasting.binning import SCHEMES, MeanScaledTokenizer
from quantseq.forecasting.reference import Reference
from quantseq.forecasting.schemes import (
    SCALED_BINS,
    NextReturns,
    SchemeComparison,
    compare_schemes,
    log_scores,
    unigram,
    variance_kept,
)
from quantseq.forecasting.tokenizer import MOST_EQUAL, ReturnTokenizer
from quantseq.market.bars import Panel
from tests.prices import rewrite_after

KINDS = (ReturnTokenizer, *SCHEMES)
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.scheme)
TRAIN_UNTIL, TEST_FROM = "2011-12-30", "2012-01-03"


@pytest.fixture(scope="module")
def rows(recent: Panel) -> NextReturns:
    return NextReturns.of(recent, Reference.fit(recent, horizon=1))


@pytest.fixture(scope="module")
def comparison(recent: Panel) -> SchemeComparison:
    return compare_schemes(recent, train_until=TRAIN_UNTIL, test_from=TEST_FROM, num_bins=(24,))


def test_uniform_tokens_of_the_transform_are_the_reference(rows: NextReturns) -> None:
    for bins in (2, 24, 64):
        scores = log_scores(ReturnTokenizer(bins), np.full(bins, 1 / bins), rows)
        density = stats.t(rows.nu, rows.loc, rows.scale).logpdf(rows.returns)
        np.testing.assert_allclose(scores, -density, rtol=1e-12)


@kinds
def test_numbers_become_returns_again(kind: type, rows: NextReturns) -> None:
    found = rows.returns_of(kind, rows.values(kind))
    np.testing.assert_allclose(found, rows.returns, atol=1e-9)


@kinds
def test_the_slope_is_that_of_the_number(kind: type, rows: NextReturns) -> None:
    some = rows.pick(slice(0, 50))
    step = 1e-7
    up, down = (replace(some, returns=some.returns + s).values(kind) for s in (step, -step))
    np.testing.assert_allclose(some.log_slope(kind), np.log((up - down) / (2 * step)), atol=1e-5)


@kinds
def test_the_density_of_a_return_integrates_to_one(kind: type, rows: NextReturns) -> None:
    tokenizer = kind.fit(rows.values(kind), num_bins=16)
    probs = unigram(tokenizer, tokenizer.encode(rows.values(kind)))
    one = rows.pick(slice(100, 101))

    def density(returns: float) -> float:
        return float(
            np.exp(-log_scores(tokenizer, probs, replace(one, returns=np.array([returns])))[0])
        )

    inner = np.array(tokenizer.edges[1:-1])
    if kind is MeanScaledTokenizer:
        inner = np.sort(inner[inner > 0])
    cuts = one.returns_of(kind, inner)
    ends = [cuts[0] - 60 * one.scale[0], *cuts, cuts[-1] + 60 * one.scale[0]]
    if kind is MeanScaledTokenizer:
        ends = [-40.0, *cuts]  # all but the share of the tail above 15 times the mean
    total = sum(integrate.quad(density, a, b, limit=200)[0] for a, b in itertools.pairwise(ends))
    negative = probs[: np.searchsorted(tokenizer.edges[1:-1], 0)].sum()
    expected = 1 if kind is not MeanScaledTokenizer else 1 - negative - probs[-1]
    assert total == pytest.approx(expected, abs=2e-3)


def test_every_scheme_stands_in_the_table(comparison: SchemeComparison) -> None:
    table = comparison.table
    names = [f"{row['scheme']}-{row['asked']}" for row in table.to_dict("records")]
    assert names == [
        *(f"{kind.scheme}-24" for kind in KINDS),
        f"mean-scaled-{SCALED_BINS}",
    ]
    assert comparison.differences.columns.tolist() == ["cutoff", *names]
    assert table["zeros"].nunique() == 1
    assert np.isfinite(table[["variance", "log_score", "excess"]]).all(axis=None)


def test_scores_on_real_prices_rank_the_schemes(comparison: SchemeComparison) -> None:
    scaled = comparison.table["scheme"] == "mean-scaled"
    assert (comparison.table.loc[scaled, "excess"] > 1).all()
    assert (comparison.table.loc[scaled, "unused"] > 0.9).all()
    assert comparison.table.loc[~scaled, "excess"].abs().max() < 0.05


def test_a_round_trip_keeps_the_variance_of_z_on_real_prices(comparison: SchemeComparison) -> None:
    kept = comparison.table.set_index("scheme")["variance"]
    for name in ("equal-mass", "uniform", "gaussian", "k-means"):
        assert kept[name] == pytest.approx(1, abs=0.01), name
    # the transform keeps what the reference says of its outer bins; few years tell little about those
    assert kept["pit"] == pytest.approx(1, abs=0.15)


def test_a_round_trip_of_the_transform_keeps_the_variance_of_its_own_law(rows: NextReturns) -> None:
    levels = np.random.default_rng(0).permutation((np.arange(len(rows)) + 0.5) / len(rows))
    law = replace(rows, nu=np.full(len(rows), 8.0))
    law = replace(law, returns=law.returns_of(ReturnTokenizer, levels))
    assert variance_kept(ReturnTokenizer(24), law) == pytest.approx(1, abs=0.01)


def test_a_comparison_fits_on_the_training_block_alone(
    recent: Panel, comparison: SchemeComparison
) -> None:
    other = compare_schemes(
        rewrite_after(recent, TRAIN_UNTIL),
        train_until=TRAIN_UNTIL,
        test_from=TEST_FROM,
        num_bins=(24,),
    )
    same = ["scheme", "asked", "bins", "unused", "variance", "zeros"]
    assert other.table[same].equals(comparison.table[same])
    assert (other.table["log_score"] != comparison.table["log_score"]).all()


def test_blocks_without_returns_are_refused(recent: Panel) -> None:
    with pytest.raises(NotEnoughDataError, match="0 test returns"):
        compare_schemes(recent, train_until=TRAIN_UNTIL, test_from="2030-01-01")


def test_equal_bins_of_the_transform_are_merged_where_they_would_be_too_narrow() -> None:
    few, many = (ReturnTokenizer.fit(np.array([0.5]), num_bins=v) for v in (24, 4096))
    assert (few.num_bins, many.num_bins) == (24, MOST_EQUAL)
    spread = np.sqrt(2)  # of a t with 4 degrees of freedom
    middle = np.diff(stats.t.ppf(many.edges, 4)).min() / spread
    assert 0.02 <= middle < 0.021
