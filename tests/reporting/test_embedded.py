from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from quantseq.errors import RunError
from quantseq.reporting import embedded
from quantseq.reporting.embedded import (
    Embedded,
    daily_scores,
    gather,
    packed,
    read_embedded,
    rounded,
    unpacked,
    without_data,
)
from quantseq.reporting.printed import printed
from quantseq.reporting.render import expected, render
from quantseq.reporting.run import Run


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return render(run)


@pytest.fixture(scope="module")
def data(page: str) -> Embedded:
    return read_embedded(page)


def ten_years(symbols: int) -> Run:
    """Random numbers in the shape of ten years: sizes only, nothing is measured on them."""
    rng = np.random.default_rng(symbols)
    days = pd.bdate_range("2003-01-02", periods=2520)
    names = [f"S{i:02d}" for i in range(symbols)]
    columns = {name: rng.normal(0, 0.01, 2520) for name in ("strategy_net", "buy_and_hold")}
    columns |= {f"rival:r{i}": rng.normal(0, 0.01, 2520) for i in range(5)}
    columns["cost"] = rng.exponential(2e-5, 2520)
    columns["strategy_gross"] = columns["strategy_net"] + columns["cost"]
    columns |= {"turnover": columns["cost"] / 5e-4, "gross_exposure": rng.uniform(0, 1, 2520)}
    columns |= {f"close:{s}": np.exp(np.cumsum(rng.normal(0, 0.01, 2520))) for s in names}
    rows = pd.MultiIndex.from_product(
        [names, days, range(1, 6)], names=["symbol", "cutoff", "step"]
    )
    frame = rows.to_frame(index=False)
    for name in ("", ":a", ":b", ":c"):
        frame[f"pit{name}"] = rng.uniform(size=len(frame))
        frame[f"log_score{name}"] = rng.normal(-2.8, 0.7, len(frame))
        frame[f"crps{name}"] = rng.exponential(0.008, len(frame))
    weights = pd.MultiIndex.from_product([days[:-1], names], names=["decision", "symbol"])
    long = weights.to_frame(index=False).assign(weight=rng.uniform(0, 1 / symbols, len(weights)))
    manifest = {
        "run_id": "r",
        "title": "t",
        "symbols": names,
        "test_start": "2003-01-02",
        "test_end": "2012-08-31",
    }
    models = {name: {"n": 1} for name in ("m", "a", "b", "c")}
    equity = pd.DataFrame({"session": days, **columns})
    return Run(manifest, {"forecast": {"models": models}}, frame, long, equity)


def test_what_is_embedded_is_read_back_exactly(run: Run, data: Embedded) -> None:
    exact = rounded(run)
    daily = [c for c in exact.equity if not str(c).startswith("close:")]
    pd.testing.assert_frame_equal(data.equity, exact.equity[daily], check_exact=True)
    for name in ("strategy_net", "buy_and_hold", "strategy_gross"):
        assert np.abs(run.equity[name] - data.equity[name]).max() <= 1e-7
        assert abs(run.equity[name].sum() - data.equity[name].sum()) <= 0.51e-7
    wide = [w.pivot_table("weight", "decision", "symbol") for w in (data.weights, exact.weights)]
    pd.testing.assert_frame_equal(wide[0], wide[1], check_exact=True, check_like=True)
    assert data.manifest["run_id"] == run.manifest["run_id"]
    assert data.left_out == ()
    first = run.forecasts.loc[run.forecasts["step"] == 1, "pit"].dropna()
    assert data.pits["seq2seq"].sum() == len(first)
    assert data.pits["seq2seq"][:200].sum() == (first < 0.05).sum()


def test_moving_a_run_onto_its_grids_again_changes_nothing(run: Run) -> None:
    once = rounded(run)
    pd.testing.assert_frame_equal(rounded(once).equity, once.equity, check_exact=True)
    pd.testing.assert_frame_equal(rounded(once).weights, once.weights, check_exact=True)


def test_every_text_follows_from_the_data_but_those_about_single_forecasts(
    page: str, data: Embedded
) -> None:
    assert printed(page) == expected(data)
    assert data.recorded
    for name in data.recorded:
        assert name.startswith(("forecast / ", "regimes / ")), name
        assert not name.startswith("forecast / Where outcomes fell in the forecast / 0."), name


def test_daily_scores_are_means_over_symbols() -> None:
    run = ten_years(3)
    scores = daily_scores(run)
    rows = run.forecasts[run.forecasts["step"] == 2]
    day = rows[rows["cutoff"] == rows["cutoff"].iloc[7]]
    found = scores.loc[day["cutoff"].iloc[0]]
    assert found["n:2"] == 3
    assert found["crps:2"] == pytest.approx(day["crps"].mean(), rel=1e-12)
    assert found["crps:2:a"] == pytest.approx((day["crps:a"] - day["crps"]).mean(), rel=1e-12)


def test_sums_of_embedded_scores_are_kept() -> None:
    exact = gather(ten_years(3))
    found = unpacked(packed(exact)).scores
    for name in found:
        assert found[name].sum() == pytest.approx(exact.scores[name].sum(), abs=0.1), name


@pytest.mark.parametrize("symbols", [4, 60])
def test_ten_years_take_at_most_120_kilobytes_however_many_symbols(symbols: int) -> None:
    data = gather(rounded(ten_years(symbols)))
    size = len(embedded.insert(f"{embedded.OPEN}{embedded.CLOSE}", data))
    assert size <= 120_000
    found = read_embedded(embedded.insert(f"{embedded.OPEN}{embedded.CLOSE}", data))
    assert ("weights" in found.left_out) == (symbols == 60)
    assert "scores one step ahead" not in found.left_out
    assert set(found.pits) == {"m", "a", "b", "c"}


def test_the_data_come_out_of_the_page_and_leave_it_whole(page: str, data: Embedded) -> None:
    bare = without_data(page)
    assert embedded.insert(bare, data) == page
    assert "S00" not in bare
    with pytest.raises(RunError, match="holds no embedded data"):
        read_embedded(bare)


def test_damaged_data_are_refused(page: str) -> None:
    place = page.index(embedded.OPEN) + len(embedded.OPEN) + 300
    changed = "A" if page[place] != "A" else "B"
    with pytest.raises(RunError, match="do not match their checksum"):
        read_embedded(page[:place] + changed + page[place + 1 :])
    with pytest.raises(RunError, match="not base64"):
        read_embedded(page[:place] + "!" + page[place + 1 :])


def test_a_run_without_scores_weights_or_benchmark_is_embedded(run: Run) -> None:
    poor = replace(
        run,
        result={},
        forecasts=run.forecasts.head(0),
        weights=run.weights.head(0),
        equity=run.equity[["session", "strategy_net"]].assign(buy_and_hold=np.nan),
    )
    page = render(poor)
    data = read_embedded(page)
    assert printed(page) == expected(data)
    assert data.weights.empty
    assert data.equity["buy_and_hold"].isna().all()


def test_other_policies_are_embedded_with_their_sums(run: Run) -> None:
    net = run.equity["strategy_net"]
    rich = replace(run, equity=run.equity.assign(**{"policy:sign": net * 1.5}))
    found = unpacked(packed(gather(rounded(rich)))).equity["policy:sign"]
    step = 1.5 * net.std() / 32
    assert np.abs(found - net * 1.5).max() <= step
    assert found.sum() == pytest.approx(1.5 * net.sum(), abs=step)
