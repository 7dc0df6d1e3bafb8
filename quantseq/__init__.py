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
    from quantseq.config import RunConfig as RunConfig
    from quantseq.errors import QuantseqError as QuantseqError
    from quantseq.evaluation.run import Evaluation as Evaluation
    from quantseq.evaluation.walkforward import WalkForward as WalkForward
    from quantseq.files import Places as Places
    from quantseq.forecasting.forecaster import Seq2SeqForecaster as Seq2SeqForecaster
    from quantseq.forecasting.forecasts import Forecasts as Forecasts
    from quantseq.forecasting.model_folder import load_forecaster as load_forecaster
    from quantseq.forecasting.model_folder import save_forecaster as save_forecaster
    from quantseq.forecasting.networks import ForecasterConfig as ForecasterConfig
    from quantseq.market.bars import Bars as Bars
    from quantseq.market.bars import Events as Events
    from quantseq.market.bars import Panel as Panel
    from quantseq.market.events import read_events as read_events
    from quantseq.market.readers import read_panel as read_panel
    from quantseq.market.store import Store as Store
    from quantseq.pipeline import data as data
    from quantseq.pipeline.audit import audit as audit
    from quantseq.pipeline.backtest import backtest as backtest
    from quantseq.pipeline.backtest import demo as demo
    from quantseq.pipeline.compare import compare as compare
    from quantseq.pipeline.compare import report as report
    from quantseq.pipeline.data import fetch as fetch
    from quantseq.pipeline.data import sample_panel as sample_panel
    from quantseq.pipeline.evaluate import evaluate as evaluate
    from quantseq.pipeline.forecast import forecast as forecast
    from quantseq.pipeline.sweep import sweep as sweep
    from quantseq.pipeline.train import train as train
    from quantseq.pipeline.verify import verify as verify
    from quantseq.reporting.render import figures as figures
    from quantseq.trading.costs import Costs as Costs

__version__ = "0.1.0"

_HOMES = {
    "config": "RunConfig",
    "errors": "QuantseqError",
    "evaluation.run": "Evaluation",
    "evaluation.walkforward": "WalkForward",
    "files": "Places",
    "forecasting.forecaster": "Seq2SeqForecaster",
    "forecasting.forecasts": "Forecasts",
    "forecasting.model_folder": "load_forecaster save_forecaster",
    "forecasting.networks": "ForecasterConfig",
    "market.bars": "Bars Events Panel",
    "market.events": "read_events",
    "market.readers": "read_panel",
    "market.store": "Store",
    "pipeline.audit": "audit",
    "pipeline.backtest": "backtest demo",
    "pipeline.compare": "compare report",
    "pipeline.data": "fetch sample_panel",
    "pipeline.evaluate": "evaluate",
    "pipeline.forecast": "forecast",
    "pipeline.sweep": "sweep",
    "pipeline.train": "train",
    "pipeline.verify": "verify",
    "reporting.render": "figures",
    "trading.costs": "Costs",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted([*_MODULES, "data"])


def __getattr__(name: str) -> Any:
    if name == "data":
        return import_module("quantseq.pipeline.data")
    if name not in _MODULES:
        raise AttributeError(f"module 'quantseq' has no attribute {name!r}")
    return getattr(import_module(f"quantseq.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
