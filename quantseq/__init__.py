"""quantseq: sequence-to-sequence forecast distributions for prices, honestly backtested.

The map of the house; data moves from top to bottom and never back::

    errors, files, progress     what may go wrong · how anything reaches the disk · bars on a screen
    market                      where prices come from, how they are kept, whether to trust them
    seq2seq                     the machine: integers in, integers out
    forecast                    the bridge: money ↔ integers ↔ distributions
    evaluation                  how good a forecast is
    trading                     what it would have earned, and whether that was luck
    report                      one self-contained page
    config, pipeline, cli       what was asked · the line as functions · the door

The names below are the public Python interface; they are imported when first used, so that
``import quantseq`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantseq.config import Places, RunConfig
    from quantseq.errors import QuantseqError
    from quantseq.evaluation.walkforward import WalkForward, evaluate
    from quantseq.forecasting.forecaster import Seq2SeqForecaster
    from quantseq.forecasting.forecasts import Forecasts
    from quantseq.forecasting.model_folder import load_forecaster, save_forecaster
    from quantseq.forecasting.networks import ForecasterConfig
    from quantseq.market.bars import Bars, Panel
    from quantseq.market.store import Store
    from quantseq.market.tables import read_panel
    from quantseq.pipeline.backtesting import backtest
    from quantseq.pipeline.checks.recreating import audit
    from quantseq.pipeline.data import fetch, sample_panel
    from quantseq.pipeline.demo import demo
    from quantseq.pipeline.forecasting import outlook
    from quantseq.pipeline.study import study_copy
    from quantseq.pipeline.toys import train_copy
    from quantseq.pipeline.training import train_price
    from quantseq.reporting.pages import figures
    from quantseq.trading.broker.costs import Costs

__version__ = "0.1.0"

_HOMES = {
    "Bars": "market.bars",
    "Costs": "trading.broker.costs",
    "ForecasterConfig": "forecasting.networks",
    "Forecasts": "forecasting.forecasts",
    "Panel": "market.bars",
    "Places": "config",
    "QuantseqError": "errors",
    "RunConfig": "config",
    "Seq2SeqForecaster": "forecasting.forecaster",
    "Store": "market.store",
    "WalkForward": "evaluation.walkforward",
    "audit": "pipeline.checks.recreating",
    "backtest": "pipeline.backtesting",
    "demo": "pipeline.demo",
    "evaluate": "evaluation.walkforward",
    "fetch": "pipeline.data",
    "figures": "reporting.pages",
    "load_forecaster": "forecasting.model_folder",
    "outlook": "pipeline.forecasting",
    "read_panel": "market.tables",
    "sample_panel": "pipeline.data",
    "save_forecaster": "forecasting.model_folder",
    "study_copy": "pipeline.study",
    "train_copy": "pipeline.toys",
    "train_price": "pipeline.training",
}

__all__ = [
    "Bars",
    "Costs",
    "ForecasterConfig",
    "Forecasts",
    "Panel",
    "Places",
    "QuantseqError",
    "RunConfig",
    "Seq2SeqForecaster",
    "Store",
    "WalkForward",
    "audit",
    "backtest",
    "demo",
    "evaluate",
    "fetch",
    "figures",
    "load_forecaster",
    "outlook",
    "read_panel",
    "sample_panel",
    "save_forecaster",
    "study_copy",
    "train_copy",
    "train_price",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'quantseq' has no attribute {name!r}")
    return getattr(import_module(f"quantseq.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
