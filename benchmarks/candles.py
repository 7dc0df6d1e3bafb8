"""Are sampled bars as large as real ones? ``python benchmarks/candles.py``.

Lenders come from the bundled stocks until 2007; bars are sampled for the reference's paths from 2010
on and compared with what happened: how often the 90 % band of range, gap and volume held, and the
mean sampled range over the mean real one.
"""

import time

import numpy as np
import pandas as pd

from quantseq.forecasting.baselines import ReferenceForecaster
from quantseq.forecasting.candles import BarModel
from quantseq.forecasting.windows import PriceTask
from quantseq.market.bars import Floats
from quantseq.pipeline.data import sample_panel

HORIZON, PATHS = 5, 200


def held(sampled: Floats, real: Floats) -> float:
    """Share of outcomes (R,) inside the central 90 % of the samples (R, N)."""
    level = (sampled < real[:, None]).mean(axis=1)
    return float(np.mean(np.abs(level - 0.5) <= 0.45))


def main() -> None:
    """Fit, sample, compare."""
    panel = sample_panel().until("2012-12-31")
    train = panel.until("2007-12-31")
    task = PriceTask.fit(train, horizon=HORIZON, num_bins=24)
    ends = np.cumsum([len(bars) for bars in panel.values()])[:-1]
    scales = dict(zip(panel, np.split(task.table(panel).scale, ends), strict=True))
    model = BarModel.fit(train, scales)
    assert model is not None
    cutoffs = panel.sessions[panel.sessions >= np.datetime64("2010-01-01")][:-HORIZON]
    shares = task.reference.overnight_share
    forecasts = ReferenceForecaster(train.sessions[-1], shares, task.reference).predict(
        panel, cutoffs, horizon=HORIZON, num_paths=PATHS, seed=1
    )
    begun = time.perf_counter()
    bars = model.sample(forecasts, panel)
    seconds, lines = time.perf_counter() - begun, []
    for symbol, real in panel.adjusted().items():
        mine = forecasts.symbols == symbol
        last = panel[symbol].close[np.searchsorted(real.sessions, forecasts.cutoffs[mine])]
        before = np.concatenate(
            [np.broadcast_to(last[:, None, None], (len(last), PATHS, 1)), bars.close[mine]], axis=2
        )
        for step in (1, HORIZON):
            at, h = np.searchsorted(real.sessions, forecasts.cutoffs[mine]) + step, step - 1
            spread = np.log(bars.high[mine] / bars.low[mine])[..., h]
            happened = np.log(real.high[at] / real.low[at])
            gap = np.log(bars.open[mine] / before[..., :-1])[..., h]
            lines.append(
                {
                    "symbol": symbol,
                    "step": step,
                    "range held": held(spread, happened),
                    "range ratio": spread.mean() / happened.mean(),
                    "gap held": held(gap, np.log(real.open[at] / real.close[at - 1])),
                    "volume held": held(bars.volume[mine][..., h], real.volume[at]),
                }
            )
    table = pd.DataFrame(lines)
    print(table.round(3).to_string(index=False))
    print(table.groupby("step").mean(numeric_only=True).round(3).to_string())
    print(f"{bars.close.size:,} bars in {seconds:.2f} s")


if __name__ == "__main__":
    main()
