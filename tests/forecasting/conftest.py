"""What most tests of this room look at: recent real prices and a forecaster fitted on them."""

import pytest

from quantseq.forecasting.forecaster import Seq2SeqForecaster
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Panel
from tests.prices import loud_forecaster, recent_prices, small_config


@pytest.fixture(scope="session")
def recent() -> Panel:
    """The newest 900 sessions of the bundled real prices."""
    return recent_prices()


@pytest.fixture(scope="session")
def config() -> ForecasterConfig:
    """A forecaster that fits in seconds."""
    return small_config()


@pytest.fixture(scope="session")
def fitted() -> Seq2SeqForecaster:
    """Fitted once, until session 700, and loud."""
    return loud_forecaster()
