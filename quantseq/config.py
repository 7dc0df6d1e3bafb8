"""What a run was asked to do: frozen choices, from TOML or the command line, stored with each run.

Owns the resolved configuration, how it comes from a file and from settings. Knows the
choices of every room, and runs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import date
from pathlib import Path
from typing import Any, Self

from quantseq.errors import ConfigError, check_parameters, did_you_mean
from quantseq.evaluation.walkforward import WalkForward
from quantseq.files import parse_toml
from quantseq.forecasting.networks import ForecasterConfig
from quantseq.market.bars import Dates
from quantseq.market.calendars import sessions_per_year
from quantseq.progress import SILENT, Progress
from quantseq.trading.costs import Costs, FillPrice
from quantseq.trading.policies import Policy, make_policy


@dataclass(frozen=True)
class PolicyConfig:
    """How forecasts become weights.

    What is missing among the parameters takes the policy's default.
    """

    name: str = "kelly"  # see `quantseq.trading.policies.make_policy`
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ConfigError(f"policy.name must be a text. Got {self.name!r}.")
        if not isinstance(self.parameters, Mapping):
            raise ConfigError(f"policy.parameters must be a table. Got {self.parameters!r}.")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a backtest's numbers, besides the data: the choices of each room."""

    forecaster: ForecasterConfig = ForecasterConfig()
    walk_forward: WalkForward = WalkForward()
    policy: PolicyConfig = PolicyConfig()
    costs: Costs = Costs()
    fill: FillPrice = "open"  # of session t+1: there orders decided at the close of t are filled
    num_paths: int = 100  # sampled per forecast
    seed: int = 0  # the one that all others follow from

    def __post_init__(self) -> None:
        rules = {"fill": ("open", "close"), "num_paths": "int [2, 1000000]", "seed": "int [0, inf)"}
        check_parameters(self, rules)
        make_policy(self.policy.name, **self.policy.parameters)
        if self.walk_forward.purge < self.forecaster.horizon:
            raise ConfigError(
                f"The purge of {self.walk_forward.purge} sessions is shorter than the horizon of "
                f"{self.forecaster.horizon}: targets of one block would lie in the next. "
                "Set purge to the horizon or more."
            )

    def make_policy(self) -> Policy:
        """The policy, told the costs and the sessions per year unless its parameters say otherwise."""
        return make_policy(self.policy.name, costs=self.costs, **self.policy.parameters)

    def to_mapping(self) -> dict[str, Any]:
        """As nested JSON values."""
        mapping: dict[str, Any] = asdict(self)
        start = self.walk_forward.test_start
        mapping["walk_forward"]["test_start"] = None if start is None else str(start)
        return mapping

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Build from nested values; what is missing takes its default.

        A ConfigError if a name is unknown (with the nearest known one) or a value breaks its rule.
        """
        values = dict(_known(mapping, cls, "the configuration"))
        for name, kind in _SECTIONS.items():
            if name in values:
                values[name] = kind(**_known(values[name], kind, f"[{name}]"))
        return cls(**values)


_SECTIONS: dict[str, Any] = {
    "forecaster": ForecasterConfig,
    "walk_forward": WalkForward,
    "policy": PolicyConfig,
    "costs": Costs,
}


def _known(values: Any, kind: Any, where: str) -> Mapping[str, Any]:
    """Give `values` back if they are a table of fields of the dataclass `kind`."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} must be a table of names and values. Got {values!r}.")
    names = [one.name for one in fields(kind)]
    for name in values:
        if name not in names:
            raise ConfigError(f"Unknown name {name!r} in {where}. {did_you_mean(name, names)}")
    return values


def parse_settings(given: Sequence[str]) -> dict[str, Any]:
    """``section.name=value`` texts of ``--set`` as a mapping; values as TOML, or as they stand.

    Examples
    --------
    >>> parse_settings(["costs.borrow_bps=80", "walk_forward.test_start=2010-01-04", "fill=close"])
    {'costs.borrow_bps': 80, 'walk_forward.test_start': '2010-01-04', 'fill': 'close'}
    """
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ConfigError(
                f"--set wants section.name=value, such as costs.borrow_bps=80. Got {text!r}."
            )
        if name in found:
            raise ConfigError(f"--set {name} is given twice. Give it once.")
        try:
            parsed = parse_toml(f"value = {value}")["value"]
        except ValueError:
            parsed = value
        found[name] = str(parsed) if isinstance(parsed, date) else parsed
    return found


def resolve_config(
    path: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    progress: Progress = SILENT,
) -> RunConfig:
    """Defaults, overridden by a TOML file, overridden by settings that are not None.

    Settings are dotted names to values: ``{"forecaster.horizon": 1, "policy.fraction": 0.5}``; a name of the
    policy that is no field of `PolicyConfig` is one of its parameters. Another policy than the file's drops
    the file's parameters. Without a purge of its own the purge is the horizon. A horizon that is given raises
    the file's purge, which `progress` hears of; a purge that is given must fit.

    Raises
    ------
    ConfigError
        If the file cannot be read, a name is unknown, or a value breaks its rule.
    """
    asked: dict[str, Any] = {}
    if path is not None:
        try:
            asked = parse_toml(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"Cannot read {str(path)!r} as TOML: {error}.") from error
    for section, kind in _SECTIONS.items():
        _known(asked.get(section, {}), kind, f"[{section}]")
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    policy = given.get("policy.name")
    if policy is not None and policy != asked.get("policy", {}).get("name", PolicyConfig().name):
        asked["policy"] = {}
    for name, value in given.items():
        *sections, last = name.split(".")
        if sections == ["policy"] and last not in ("name", "parameters"):
            sections = ["policy", "parameters"]
        place = asked
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{section!r} in {name!r} is no section. Write {section}=value.")
        place[last] = value
    for section, kind in _SECTIONS.items():
        _known(asked.get(section, {}), kind, f"[{section}]")
    horizon = asked.get("forecaster", {}).get("horizon")
    if horizon is not None:
        walk = asked.setdefault("walk_forward", {})
        purge = walk.setdefault("purge", horizon)
        raised = "forecaster.horizon" in given and "walk_forward.purge" not in given
        if raised and type(purge) is int and type(horizon) is int:  # unchecked yet
            walk["purge"] = least_purge(purge, horizon, progress)
    return RunConfig.from_mapping(asked)


def on_calendar(config: RunConfig, sessions: Dates) -> RunConfig:
    """The configuration with the sessions per year of these dates, unless it has some of its own."""
    if config.costs.periods:
        return config
    return replace(config, costs=replace(config.costs, periods=sessions_per_year(sessions)))


def least_purge(purge: int, horizon: int, progress: Progress = SILENT) -> int:
    """The purge, or a horizon that is longer and was settled elsewhere: by a model, a grid, an option."""
    if purge < horizon:
        progress.say(
            f"The purge is raised from {purge} to {horizon} sessions, the horizon: targets of one block "
            "would lie in the next."
        )
    return max(purge, horizon)
