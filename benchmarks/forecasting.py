"""Seconds to train and to forecast with the default model, beside naive ways: ``python benchmarks/forecasting.py``.

On simulated prices, so that anyone can run it: 60 symbols of 3,276 sessions. The forecast is of 60
symbols, 1,000 paths, 5 steps, at one cutoff. It is compared with eager PyTorch that encodes every path
for itself and draws with ``torch.multinomial``; training is compared, window by window, with the same
eager model, and with fitting GJR-GARCH to the same symbols. ``--members`` and ``--symbols`` make it
smaller.
"""

import argparse
import statistics
import time
import warnings

import numpy as np
import torch
from plain import PlainAttentive
from torch.nn import functional as F

from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.forecasting.rows import CONTEXT
from quantseq.forecasting.volatility import Scale, features
from quantseq.market.bars import Bars, Panel
from quantseq.seq2seq.training import set_threads

PATHS, STEPS = 1000, 5


def simulated(symbol: str, sessions: int) -> Bars:
    """Daily bars with clustering volatility."""
    rng = np.random.default_rng(list(symbol.encode()))
    log_variance = np.zeros(sessions)
    for i in range(1, sessions):
        log_variance[i] = 0.97 * log_variance[i - 1] + 0.2 * rng.normal()
    moves = 0.012 * np.exp(log_variance / 2)[:, None] * rng.standard_t(6, (sessions, 6)) / 3
    path = np.cumsum(moves.ravel()).reshape(moves.shape)
    close = 50 * np.exp(path[:, -1])
    days = np.busday_offset("1995-01-02", np.arange(sessions), roll="forward")
    return Bars(
        symbol,
        days,
        50 * np.exp(path[:, 0]),
        50 * np.exp(path.max(axis=1)),
        50 * np.exp(path.min(axis=1)),
        close,
        close,
        np.round(1e6 * np.exp(0.5 * rng.normal(size=sessions))),
        np.zeros(sessions),
        np.zeros(sessions),
        timezone="America/New_York",
    )


def main() -> None:
    """Time everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=60)
    parser.add_argument("--members", type=int, default=ForecasterConfig().members)
    parser.add_argument("--jobs", type=int, default=1)
    chosen = parser.parse_args()
    set_threads(1)
    panel = Panel(simulated(f"S{i:02d}", 3276) for i in range(chosen.symbols))
    config = ForecasterConfig(members=chosen.members)
    days = panel.sessions
    begun = time.perf_counter()
    model = Seq2SeqForecaster.fit(
        panel, train_until=days[-510], validate_from=days[-504], config=config, jobs=chosen.jobs
    )
    fitted = time.perf_counter() - begun
    windows = sum(history.examples for history in model.histories)
    print(f"fit, {chosen.members} networks, {chosen.jobs} jobs: {fitted:.1f} s, {windows} windows")

    # The network must be heard, whatever validation thought of simulated prices.
    spoken = Seq2SeqForecaster(
        **{
            name: getattr(model, name)
            for name in model.__dataclass_fields__
            if name not in ("shrinkage", "name")
        },
        shrinkage=type(model.shrinkage)(1.0, 0.0),
    )
    ours = []
    for seed in range(3):
        begun = time.perf_counter()
        spoken.predict(panel, days[-1:], horizon=STEPS, num_paths=PATHS, seed=seed)
        ours.append(time.perf_counter() - begun)
    print(f"forecast {chosen.symbols} x {PATHS} x {STEPS}: {statistics.median(ours):.2f} s")

    plain = PlainAttentive(config.num_bins + 2, config.hidden_size, bidirectional=True)
    source = torch.randint(2, config.num_bins + 2, (CONTEXT, chosen.symbols))
    begun = time.perf_counter()
    for start in range(0, chosen.symbols, 4):
        plain.sample(source[:, start : start + 4], PATHS, STEPS, encode_once=False)
    naive = time.perf_counter() - begun
    print(f"the same draws, eager, encoding per path: {naive:.2f} s: {naive / ours[0]:.1f} x")

    batch, rounds = config.batch_size, 10
    source = torch.randint(2, config.num_bins + 2, (CONTEXT, batch))
    target = torch.randint(2, config.num_bins + 2, (STEPS, batch))
    optimiser = torch.optim.AdamW(plain.parameters())
    begun = time.perf_counter()
    for _ in range(rounds):
        optimiser.zero_grad()
        F.cross_entropy(plain(source, target).flatten(0, 1), target.flatten()).backward()
        optimiser.step()
    per_window = (time.perf_counter() - begun) / (rounds * batch)
    spent = sum(history.seconds for history in model.histories)
    print(f"training, windows per second: {windows / spent:.0f}, eager {1 / per_window:.0f}")

    data = features(panel.until(days[-510]))
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Scale.fit("gjr", data, horizon=STEPS)
    garch = time.perf_counter() - begun
    print(
        f"GJR-GARCH for {chosen.symbols} symbols: {garch:.1f} s; the fit is {fitted / garch:.0f} x"
    )


if __name__ == "__main__":
    main()
