"""What a run was asked to do: frozen choices, from TOML or the command line, stored with each run.

Owns the resolved configuration and the places on disk. Knows the choices of every room, and runs
nothing.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from quantseq.errors import ConfigError
from quantseq.evaluation.walkforward import WalkForward
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.trading.backtest import Fill
from quantseq.trading.broker.costs import Costs
from quantseq.trading.policy import make_policy
from quantseq.trading.trials import Trial


@dataclass(frozen=True)
class Places:
    """Where things lie, relative to the working directory unless told otherwise.

    Parameters
    ----------
    data : Path
        The store of bars, and ``models/`` with the gate's records.
    reports : Path
        Run folders and ``ledger.jsonl``.
    """

    data: Path = Path("data")
    reports: Path = Path("reports")

    @property
    def models(self) -> Path:
        """Trained models."""
        return self.data / "models"

    @property
    def gates(self) -> Path:
        """Records of architectures that were put through the copy gate."""
        return self.models / "gates"

    @property
    def evaluations(self) -> Path:
        """Finished parts of evaluations, by fingerprint; deleting them costs time only."""
        return self.data / "evaluations"

    @property
    def sweeps(self) -> Path:
        """Forecasts that sweeps have made, by fingerprint; deleting them costs time only."""
        return self.data / "sweeps"

    @property
    def ledger(self) -> Path:
        """Every trial ever scored."""
        return self.reports / "ledger.jsonl"


@dataclass(frozen=True)
class PolicyConfig:
    """How forecasts become weights.

    Parameters
    ----------
    name : str
        See `quantseq.trading.policy.make_policy`.
    parameters : mapping
        Its parameters; what is missing takes the policy's default.
    """

    name: str = "kelly"
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a backtest's numbers, besides the data.

    Parameters
    ----------
    forecaster, walk_forward, policy, costs
        The choices of each room.
    fill : {"open", "close"}
        Price of session t+1 at which orders decided at the close of t are filled.
    num_paths : int
        Sampled paths per forecast.
    seed : int
        The one seed that all others follow from.
    """

    forecaster: ForecasterConfig = ForecasterConfig()
    walk_forward: WalkForward = WalkForward()
    policy: PolicyConfig = PolicyConfig()
    costs: Costs = Costs()
    fill: Fill = "open"
    num_paths: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.fill not in ("open", "close"):
            raise ConfigError(f"fill must be 'open' or 'close'. Got {self.fill!r}.")
        for name, least in (("num_paths", 2), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"{name} must be an int of {least} or more. Got {value!r}.")
        make_policy(self.policy.name, **self.policy.parameters)
        if self.walk_forward.purge < self.forecaster.horizon:
            raise ConfigError(
                f"The purge of {self.walk_forward.purge} sessions is shorter than the horizon of "
                f"{self.forecaster.horizon}: targets of one block would lie in the next. "
                "Set purge to the horizon or more."
            )

    @property
    def trial(self) -> Trial:
        """What of it is tried on forecasts that are there: policy, costs and fill."""
        return Trial(self.policy.name, self.policy.parameters, self.costs, self.fill)

    def to_mapping(self) -> dict[str, Any]:
        """As nested JSON values."""
        mapping: dict[str, Any] = asdict(self)
        start = self.walk_forward.test_start
        mapping["walk_forward"]["test_start"] = None if start is None else str(start)
        return mapping

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Build from nested values; what is missing takes its default.

        Raises
        ------
        ConfigError
            If a name is unknown (with the nearest known one) or a value breaks its rule.
        """
        sections: dict[str, Any] = {
            "forecaster": ForecasterConfig,
            "walk_forward": WalkForward,
            "policy": PolicyConfig,
            "costs": Costs,
        }
        _known(mapping, cls, "the configuration")
        values = {
            name: _section(sections[name], value, name) if name in sections else value
            for name, value in mapping.items()
        }
        return cls(**values)


def _known(mapping: Mapping[str, Any], kind: Any, where: str) -> None:
    names = [one.name for one in fields(kind)]
    for name in mapping:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(names)}."
            raise ConfigError(f"Unknown name {name!r} in {where}. {hint}")


def _section(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(f"[{where}] must be a table of names and values. Got {value!r}.")
    _known(value, kind, f"[{where}]")
    for one in fields(kind):
        if one.name in value:
            _check_type(f"{where}.{one.name}", value[one.name], one)
    return kind(**value)


def _check_type(name: str, value: Any, known: Field[Any]) -> None:
    """Refuse a value that is of another type than the default of its field."""
    default = {} if known.default is MISSING else known.default
    if default is None:
        good = value is None or (isinstance(value, (int, str, date)) and value is not True)
        rule = "a whole number or a date"
    elif isinstance(default, Mapping):
        good, rule = isinstance(value, Mapping), "a table"
    elif isinstance(default, float):
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        rule = "a number"
    else:
        good, rule = type(value) is type(default), f"of type {type(default).__name__}"
    if not good:
        raise ConfigError(f"{name} must be {rule}. Got {value!r}.")
