"""quantseq: sequence-to-sequence forecast distributions for prices, honestly backtested.

The map of the house; data moves from top to bottom and never back::

    errors, files, progress     what may go wrong · how anything reaches the disk · bars on a screen
    market                      where prices come from, how they are kept, whether to trust them
    seq2seq                     the machine: integers in, integers out
    forecasting                 the bridge: money ↔ integers ↔ distributions
    evaluation                  how good a forecast is
    trading                     what it would have earned, and whether that was luck
    reporting                   one self-contained page
    config, pipeline, cli       what was asked · the line as functions · the door

The names below are the public Python interface: what a command does, the function of its name does too, and
``quantseq.data`` holds those of ``quantseq data``. They are imported when first used, so that ``import quantseq``
stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantseq.config import RunConfig
    from quantseq.errors import QuantseqError
    from quantseq.evaluation.run import Evaluation
    from quantseq.evaluation.walkforward import WalkForward
    from quantseq.files import Places
    from quantseq.forecasting.forecaster import Seq2SeqForecaster
    from quantseq.forecasting.forecasts import Forecasts
    from quantseq.forecasting.model_folder import load_forecaster, save_forecaster
    from quantseq.forecasting.networks import ForecasterConfig
    from quantseq.market.bars import Bars, Panel
    from quantseq.market.readers import read_panel
    from quantseq.market.store import Store
    from quantseq.pipeline import data
    from quantseq.pipeline.audit import audit
    from quantseq.pipeline.backtest import backtest
    from quantseq.pipeline.compare import compare, report
    from quantseq.pipeline.data import fetch, sample_panel
    from quantseq.pipeline.demo import demo
    from quantseq.pipeline.evaluate import evaluate
    from quantseq.pipeline.forecast import forecast
    from quantseq.pipeline.sweep import sweep
    from quantseq.pipeline.train import train
    from quantseq.pipeline.verify import verify
    from quantseq.reporting.render import figures
    from quantseq.trading.costs import Costs

__version__ = "0.1.0"

_HOMES = {
    "Bars": "market.bars",
    "Costs": "trading.costs",
    "Evaluation": "evaluation.run",
    "ForecasterConfig": "forecasting.networks",
    "Forecasts": "forecasting.forecasts",
    "Panel": "market.bars",
    "Places": "files",
    "QuantseqError": "errors",
    "RunConfig": "config",
    "Seq2SeqForecaster": "forecasting.forecaster",
    "Store": "market.store",
    "WalkForward": "evaluation.walkforward",
    "audit": "pipeline.audit",
    "backtest": "pipeline.backtest",
    "compare": "pipeline.compare",
    "demo": "pipeline.demo",
    "evaluate": "pipeline.evaluate",
    "fetch": "pipeline.data",
    "figures": "reporting.render",
    "forecast": "pipeline.forecast",
    "load_forecaster": "forecasting.model_folder",
    "read_panel": "market.readers",
    "report": "pipeline.compare",
    "sample_panel": "pipeline.data",
    "save_forecaster": "forecasting.model_folder",
    "sweep": "pipeline.sweep",
    "train": "pipeline.train",
    "verify": "pipeline.verify",
}

__all__ = [
    "Bars",
    "Costs",
    "Evaluation",
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
    "compare",
    "data",
    "demo",
    "evaluate",
    "fetch",
    "figures",
    "forecast",
    "load_forecaster",
    "read_panel",
    "report",
    "sample_panel",
    "save_forecaster",
    "sweep",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "data":
        return import_module("quantseq.pipeline.data")
    if name not in _HOMES:
        raise AttributeError(f"module 'quantseq' has no attribute {name!r}")
    return getattr(import_module(f"quantseq.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
