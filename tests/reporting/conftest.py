"""A realistic run: four real stocks, a volatility rule, EWMA forecasts, the real engine."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup
from scipy import stats

from quantseq.market.bars import Bars, Panel
from quantseq.reporting.render import render
from quantseq.reporting.run import RUN_SCHEMA, Run, run_files
from quantseq.trading.attribution import attribute, round_trips
from quantseq.trading.backtest import break_even_bps, buy_and_hold, simulate
from quantseq.trading.benchmarks import run_benchmarks
from quantseq.trading.costs import Costs
from quantseq.trading.inference import dsr, metric_intervals, verdict
from quantseq.trading.metrics import summarise_returns

SAMPLE = Path(__file__).parents[2] / "quantseq" / "market" / "sample"
SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
START, END = "2008-03-03", "2013-03-01"
LEVELS = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)
HORIZON = 5
NU = 5
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARTEFACTS = os.environ.get("QUANTSEQ_ARTEFACTS")


AUDIT = {
    "passed": True,
    "checks": [
        {"name": "prefix invariance", "passed": True, "reading": "5 cut-points: every bit equal."},
        {
            "name": "future corruption",
            "passed": True,
            "reading": "9 rewritten futures moved nothing.",
        },
    ],
    "lag_curve": [
        {"delay": delay, "sharpe": sharpe}
        for delay, sharpe in ((0, 0.91), (1, 0.84), (2, 0.8), (5, 0.62))
    ],
    "placebos": [
        {"name": "random entry", "sharpe": 0.31, "n": 20, "low": -0.2, "high": 0.81},
        {"name": "permuted returns", "sharpe": 0.05, "n": 20, "low": -0.6, "high": 0.63},
    ],
    "rank": 0.93,
}


def sample_panel() -> Panel:
    """Bars of the bundled sample, read without the market room's sources."""
    return Panel(
        Bars.from_frame(symbol, pd.read_csv(SAMPLE / f"{symbol}.csv", parse_dates=["date"]))
        for symbol in SYMBOLS
    ).between("2004-08-19", END)


def _forecasts(log_returns: pd.DataFrame, sigma: pd.DataFrame) -> pd.DataFrame:
    unit = stats.t.ppf(LEVELS, NU) * np.sqrt((NU - 2) / NU)
    parts = []
    for symbol in log_returns:
        for step in range(1, HORIZON + 1):
            scale = sigma[symbol].to_numpy()
            drift = 0.05 * np.sign(log_returns[symbol].rolling(20).mean().fillna(0.0).to_numpy())
            realised = log_returns[symbol].shift(-step).to_numpy()
            standard = realised / scale * np.sqrt(NU / (NU - 2))
            columns = {
                f"q{round(100 * p):02d}": u * scale for p, u in zip(LEVELS, unit, strict=True)
            }
            columns |= {f"cum_{k}": v * np.sqrt(step) for k, v in columns.items()}
            pinball = [
                np.maximum(p * (realised - u * scale), (p - 1) * (realised - u * scale))
                for p, u in zip(LEVELS, unit, strict=True)
            ]
            parts.append(
                pd.DataFrame(
                    {
                        "symbol": symbol,
                        "cutoff": log_returns.index,
                        "step": step,
                        "fold": 0,
                        "sigma": scale,
                        "mean": drift * scale,
                        "prob_up": stats.t.cdf(drift * np.abs(scale / 0.02), NU),
                        **columns,
                        "realised": realised,
                        "pit": stats.t.cdf(standard, NU),
                        "log_score": np.log(scale) - stats.t.logpdf(standard, NU),
                        "crps": 2 * np.mean(pinball, axis=0),
                        "token_prob_max": 0.05,
                    }
                )
            )
    frame = pd.concat(parts, ignore_index=True)
    return frame.loc[frame["cutoff"] >= START].reset_index(drop=True)


def _scores(forecasts: pd.DataFrame) -> dict[str, Any]:
    first = forecasts.loc[(forecasts["step"] == 1) & forecasts["pit"].notna()]
    models = {}
    for name, worse in (
        ("seq2seq", 0.0),
        ("reference", 0.0004),
        ("ewma-t", 0.0161),
        ("hist-vol", 0.0934),
    ):
        inside = {
            c: float((np.abs(first["pit"] - 0.5) <= c / 200).mean()) for c in (50, 80, 90, 95)
        }
        models[name] = {
            "log_score": float(first["log_score"].mean()) + worse,
            "crps": float(first["crps"].mean()) * (1 + worse / 4),
            **{f"coverage_{c}": share + worse / 3 for c, share in inside.items()},
            "pit_ks": 0.021 + worse / 2,
            "n": len(first),
        }
    rivals = (("reference", -1.31, 0.19), ("ewma-t", -4.02, 0.00006), ("hist-vol", -9.7, 1e-20))
    tests = [
        {
            "model": "seq2seq",
            "baseline": r,
            "score": score,
            "step": step,
            "t": t / step,
            "mean_difference": t / step / (1000 if score == "log_score" else 1e6),
            "p": min(1.0, p * 4**step),
            "n_days": 1259 - step,
        }
        for r, t, p in rivals
        for score in ("log_score", "crps")
        for step in range(1, HORIZON + 1)
    ]
    return {"models": models, "skill_nats": 0.0004, "tests": tests}


def _folds() -> list[dict[str, Any]]:
    edges = pd.to_datetime(
        [START, "2009-03-02", "2010-03-01", "2011-03-01", "2012-03-01", "2013-03-04"]
    )
    day = pd.Timedelta(days=1)
    rows = []
    for number, (first, last) in enumerate(pairwise(edges)):
        rows.append(
            {
                "fold": number,
                "train_start": "2000-03-01",
                "train_end": str((first - 400 * day).date()),
                "validation_start": str((first - 390 * day).date()),
                "validation_end": str((first - 9 * day).date()),
                "test_start": str(first.date()),
                "test_end": str((last - day).date()),
                "purge": 5,
                "n_train": 6000 + 1000 * number,
                "n_test": 1008,
                "kept_weight": [0.0, 0.25, 0.5, 0.25, 0.4][number],
                "seconds": 14.2 + number,
            }
        )
    return rows


def build_run() -> Run:
    """The run that the tests render; the same every time."""
    panel = sample_panel()
    index = pd.DatetimeIndex(panel.sessions.astype("datetime64[s]"))
    log_returns = pd.DataFrame(panel.matrix("log_returns"), index, list(SYMBOLS))
    sigma = log_returns.ewm(alpha=0.06, min_periods=20).std()
    trend = log_returns.rolling(60).mean() > 0
    weights = (0.25 * np.minimum(0.013 / sigma, 1)).where(trend, 0.0).round(2)
    weights = weights.loc[START:END].iloc[:-1]
    decided = weights.loc[(weights != weights.shift()).any(axis=1)]
    costs = Costs(cost_bps=5.0)
    held = simulate(panel, decided, costs=costs)
    rival = buy_and_hold(panel, start=held.sessions[0], end=END, costs=costs)
    frame = held.to_frame()
    net, other = frame["returns_net"], rival.to_frame()["returns_net"]
    closes = pd.DataFrame(panel.matrix("adj_close"), index, list(SYMBOLS)).loc[frame.index]
    equity = pd.DataFrame(
        {
            "session": frame.index,
            "strategy_net": net.to_numpy(),
            "strategy_gross": frame["returns_gross"].to_numpy(),
            "buy_and_hold": other.to_numpy(),
            "cost": frame["cost"].to_numpy(),
            "turnover": frame["turnover"].to_numpy(),
            "gross_exposure": frame["gross_exposure"].to_numpy(),
            **{f"close:{symbol}": closes[symbol].to_numpy() for symbol in SYMBOLS},
        }
    )
    judged = verdict(net, other, seed=0, periods=252, n_trials=7, cost_bps=5.0, resamples=300)
    forecasts = _forecasts(log_returns, sigma)
    result = {
        "verdict": {
            "edge": judged.edge,
            "sentence": judged.sentence,
            "sharpe_difference": judged.sharpe_difference,
            "interval": list(judged.interval),
            "dsr": judged.dsr,
            "n_trials": judged.n_trials,
            "ledger_head": "5ca1ab1e" * 8,
            "spa_p": 0.412,
            "min_track_record": 1834.2,
            "trial_sd": 0.0123,
            "dsr_curve": [
                {"n": n, "dsr": dsr(net, n_trials=n)} for n in (1, 2, 5, 10, 50, 200, 1000)
            ],
        },
        "metrics": {
            "strategy": summarise_returns(net, benchmark=other, periods=252),
            "buy_and_hold": summarise_returns(other, periods=252),
        },
        "intervals": {
            name: list(ends)
            for name, ends in metric_intervals(net, seed=0, periods=252, resamples=300).items()
        },
        "folds": _folds(),
        "forecast": _scores(forecasts),
        "gate": {"passed": True, "score": 0.9985, "bar": 0.995, "cached": True},
        "break_even_bps": break_even_bps(panel, decided, costs=costs),
        "benchmarks": {
            name: {
                **asdict(one.rule),
                "metrics": summarise_returns(one.result.returns_net, periods=252),
                "turnover": one.result.turnover.mean() * 252,
                "sharpe_range": one.sharpe_range,
            }
            for name, one in run_benchmarks(panel, decided, costs=costs, draws=3).items()
        },
        "audit": AUDIT,
        "attribution": attribute(held).reset_index().to_dict("records"),
        "notes": ["The universe was chosen in 2013 by surviving: both sides profit from that."],
    }
    manifest = {
        "schema": RUN_SCHEMA,
        "run_id": "20260102-030405-demo",
        "created": "2026-01-02T03:04:05Z",
        "command": "quantseq demo --seed 0",
        "title": "Volatility-scaled trend on four stocks",
        "sample_data": True,
        "config": {
            "seed": 0,
            "policy": {"name": "kelly", "fraction": 0.5},
            "symbols": list(SYMBOLS),
        },
        "data": {
            symbol: {
                "sha256": panel[symbol].sha256,
                "rows": len(panel[symbol]),
                "first": str(panel[symbol].sessions[0]),
                "last": str(panel[symbol].sessions[-1]),
                "source": "sample",
            }
            for symbol in SYMBOLS
        },
        "seeds": {"run": 0},
        "versions": {"quantseq": "0.1.0", "numpy": "2.4.6", "torch": "2.13.0"},
        "git_commit": None,
        "symbols": list(SYMBOLS),
        "test_start": START,
        "test_end": END,
        "cost_bps": 5.0,
        "fill": "open",
    }
    long = decided.rename_axis("decision").reset_index()
    scored = ["realised", "pit", "log_score", "crps"]
    scores = forecasts[["symbol", "cutoff", "step", "fold", "mean", "prob_up", *scored]]
    return Run(
        manifest,
        result,
        scores.assign(model="seq2seq"),
        forecasts.drop(columns=scored),
        long.melt("decision", var_name="symbol", value_name="weight"),
        equity,
        round_trips(held),
        dict.fromkeys(run_files("backtest"), "ab" * 32),
    )


@pytest.fixture(scope="session")
def run() -> Run:
    return build_run()


@pytest.fixture(scope="session")
def with_result(run: Run) -> Callable[..., Run]:
    """The same run with some entries of result.json exchanged; None takes one out."""

    def change(**entries: Any) -> Run:
        return replace(run, result={**run.result, **entries})

    return change


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts without their pictures, for what does not depend on them."""
    empty = Markup("<svg></svg>")
    monkeypatch.setattr("quantseq.reporting.charts.inline_svg", lambda *_, **__: empty)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, skipped with the reason where it is missing."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync.sync_playwright() as play:
        launched = play.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def page(run: Run) -> str:
    """The page of the test's run."""
    return render(run)


@pytest.fixture(scope="session")
def address(page: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same as a file."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page, encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="session")
def words() -> Callable[[str], str]:
    """The text of a page without style, script and tags."""

    def read(page: str) -> str:
        body = re.sub(r"<(style|script|desc|title)\b.*?</\1>", " ", page, flags=re.DOTALL)
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).replace("\u00a0", " ").split())

    return read


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """A tab with the page, which must not complain or ask for anything until it is closed."""
    said: list[str] = []
    asked: list[str] = []
    contexts = []

    def make(width: int = 1440, height: int = 1000, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(10_000)
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(address)
        return tab

    yield make
    for context in contexts:
        context.close()
    assert said == []
    assert set(asked) <= {address}


@pytest.fixture(scope="session")
def keep() -> Callable[[str], Path | None]:
    """Where an artefact goes: into ``$QUANTSEQ_ARTEFACTS``, or nowhere if that is not set."""

    def place(name: str) -> Path | None:
        if not ARTEFACTS:
            return None
        folder = Path(ARTEFACTS)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    return place
