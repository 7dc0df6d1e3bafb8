"""An outlook starts at each symbol's newest bar, which the model may have seen but not passed."""

import numpy as np
import pytest

from quantseq.errors import LeakageError
from quantseq.market.bars import Panel
from quantseq.pipeline.forecasting import outlook
from tests.prices import fit_small, recent_prices, small_config


def test_a_symbol_whose_calendar_ended_earlier_is_forecast_from_what_was_trained_on() -> None:
    recent = recent_prices()
    first, *others = recent.values()
    early = first.until(first.sessions[-2])
    panel = Panel([early, *others])
    model = fit_small(panel, small_config(), last=len(panel.sessions) - 1)
    assert model.trained_until > early.sessions[-1]
    shown = outlook(panel, model, horizon=3, num_paths=8).forecasts
    assert set(shown.symbols) == set(panel)
    assert shown.cutoffs.min() == early.sessions[-1]
    assert np.isfinite(shown.mean).all()
    with pytest.raises(LeakageError, match=f"the cutoff {early.sessions[-2]} of {early.symbol}"):
        outlook(Panel([early.until(early.sessions[-2]), *others]), model, horizon=3, num_paths=8)
    with pytest.raises(LeakageError, match="after the cutoff"):
        outlook(panel, model, cutoff=early.sessions[-1], horizon=3, num_paths=8)
