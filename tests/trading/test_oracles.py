"""Parity with other people's engines and libraries: frozen numbers always, live ones where installed.

The goldens are made by ``goldens/make.py``; ``pip install 'quantseq[oracle]'`` brings the libraries.
"""

import importlib.util
import json
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from quantseq.market.bars import Bars, Panel
from quantseq.trading.backtest import simulate
from quantseq.trading.costs import Costs
from quantseq.trading.inference import _block_length, bootstrap_interval, metric_intervals, psr
from quantseq.trading.metrics import METRICS

HERE = Path(__file__).parent / "goldens"
GOLDEN = json.loads((HERE / "oracles.json").read_text(encoding="utf-8"))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cases = load("cases")


def ours(book: str, fill: str, bps: float) -> np.ndarray:
    opens, closes = cases.prices()
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    bars = []
    for k in range(cases.SYMBOLS):
        columns = {"open": opens, "high": high, "low": low, "close": closes}
        frame = pd.DataFrame({n: c[:, k] for n, c in columns.items()}, cases.index())
        bars.append(Bars.from_frame(f"S{k}", frame.assign(volume=1.0)))
    panel = Panel(bars)
    weights = pd.DataFrame(cases.weights(book), cases.index(), list(panel.symbols))
    costs = Costs(cost_bps=bps, borrow_bps=0)
    return simulate(panel, weights, costs=costs, fill=fill).equity


@pytest.mark.parametrize("case", GOLDEN["vectorbt"])
def test_the_engine_equals_the_frozen_vectorbt(case):
    book, fill, bps = case.split()
    equity = ours(book, fill, float(bps))
    assert np.abs(equity - GOLDEN["vectorbt"][case]).max() <= 1e-12


@pytest.mark.parametrize("book", GOLDEN["bt"])
def test_the_engine_equals_the_frozen_bt_at_no_cost(book):
    assert np.abs(ours(book, "close", 0.0) - GOLDEN["bt"][book]).max() <= 1e-12


@pytest.mark.parametrize("library", GOLDEN["measures"])
def test_the_figures_equal_the_frozen_libraries(library):
    own, other = cases.returns()
    for name, expected in GOLDEN["measures"][library].items():
        found = psr(own) if name == "psr" else METRICS[name](own, periods=252, benchmark=other)
        assert found == pytest.approx(expected, rel=1e-12), name


def test_the_intervals_are_those_of_arch():
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    own, _ = cases.returns()
    block = _block_length(own)
    best = float(optimal_block_length(own)["stationary"].iloc[0])
    assert block == round(min(max(best, 1.0), len(own) / 10))
    boot = StationaryBootstrap(block, own, seed=np.random.default_rng(3))
    theirs = boot.conf_int(np.mean, reps=400, method="percentile")[:, 0]
    low, high = bootstrap_interval(np.mean, own, seed=3, resamples=400)
    assert (low, high) == pytest.approx(tuple(theirs), rel=1e-12)
    shown = metric_intervals(own, seed=3, periods=252, names=("sharpe",), resamples=400)["sharpe"]
    boot = StationaryBootstrap(block, own, seed=np.random.default_rng(3))
    theirs = boot.conf_int(partial(METRICS["sharpe"], periods=252), reps=400, method="percentile")[
        :, 0
    ]
    assert shown == pytest.approx(tuple(theirs), rel=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_goldens_are_what_the_libraries_say_today():
    for name in ("vectorbt", "bt", "empyrical", "skfolio", "statsmodels"):
        pytest.importorskip(name, exc_type=ImportError)
    made = load("make")
    for case, equity in GOLDEN["vectorbt"].items():
        book, fill, bps = case.split()
        np.testing.assert_allclose(made.vectorbt(book, fill, float(bps) / 1e4), equity, rtol=1e-13)
    for book, equity in GOLDEN["bt"].items():
        np.testing.assert_allclose(made.bt(book), equity, rtol=1e-12)
    for library, figures in made.measures().items():
        assert figures == pytest.approx(GOLDEN["measures"][library], rel=1e-12)
