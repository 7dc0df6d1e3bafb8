"""What a sweep tries: every policy with every value of its knobs, at every cost and horizon.

Owns the grid and its points. A point is a whole `RunConfig`, so that what a sweep has scored can be
backtested alone, to the same returns. Runs nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any

from quantseq.config import PolicyConfig, RunConfig
from quantseq.errors import ConfigError
from quantseq.files import fingerprint
from quantseq.pipeline.options import least_purge
from quantseq.progress import SILENT, Progress
from quantseq.trading.policy import POLICIES

COSTS_BPS = (0.0, 5.0, 10.0, 20.0)

KNOBS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "kelly": {"fraction": (0.25, 0.5, 1.0)},
    "mean_variance": {"risk_aversion": (1.0, 2.0, 5.0)},
    "probability": {"threshold": (0.5, 0.51, 0.52, 0.55)},
    "over_cost": {"multiple": (0.5, 1.0, 2.0)},
    "vol_target": {"target": (0.1, 0.15, 0.2)},
    "rank": {"share": (0.2, 1 / 3, 0.5)},
}
"""What is varied unless told otherwise; the other policies are tried as they are."""


@dataclass(frozen=True)
class Grid:
    """The values of each choice; points are all their combinations.

    Parameters
    ----------
    policies : sequence of str
        Names; all by default.
    knobs : mapping
        Values by policy and parameter; those given take the place of `KNOBS`, parameter by parameter.
    costs_bps : sequence of float
        Commission and whatever else is proportional, in basis points.
    horizons : sequence of int
        Steps ahead that networks are trained for; the configuration's if empty.
    long_only : bool, optional
        For all policies; each one's own default if not given.

    Raises
    ------
    ConfigError
        If a policy or parameter is unknown, a list is empty, or a value is repeated.
    """

    policies: tuple[str, ...] = tuple(POLICIES)
    knobs: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    costs_bps: tuple[float, ...] = COSTS_BPS
    horizons: tuple[int, ...] = ()
    long_only: bool | None = None

    def __post_init__(self) -> None:
        for name, values in (
            ("policies", self.policies),
            ("costs_bps", self.costs_bps),
            ("horizons", self.horizons),
            *((f"{p}.{k}", v) for p, knobs in self.knobs.items() for k, v in knobs.items()),
        ):
            if len(set(values)) < len(values) or not (values or name == "horizons"):
                raise ConfigError(
                    f"A sweep needs one or more different values of {name!r}. Got {list(values)!r}."
                )
        unknown = [name for name in self.knobs if name not in self.policies]
        if unknown:
            raise ConfigError(
                f"{unknown[0]!r} is varied, but is none of the policies of this sweep: "
                f"{', '.join(self.policies)}. Add it, or leave its values out."
            )

    def points(self, base: RunConfig, progress: Progress = SILENT) -> tuple[RunConfig, ...]:
        """Every point as a configuration, in the order of horizons, policies, values, costs.

        All have the same purge, so that they are tested on the same sessions.

        Parameters
        ----------
        base : RunConfig
            Everything that the grid does not vary. Parameters of its own policy hold for that policy.
        progress : Progress
            Hears of a purge that was raised.

        Raises
        ------
        ConfigError
            If a point breaks a rule of `RunConfig`.
        """
        horizons = self.horizons or (base.forecaster.horizon,)
        purge = least_purge(base.walk_forward.purge, max(horizons), progress)
        walk = replace(base.walk_forward, purge=purge)
        found: dict[str, RunConfig] = {}
        for horizon, policy, bps in product(horizons, self._policies(base), self.costs_bps):
            point = replace(
                base,
                forecaster=replace(base.forecaster, horizon=horizon),
                walk_forward=walk,
                policy=policy,
                costs=replace(base.costs, cost_bps=float(bps)),
            )
            found.setdefault(fingerprint(point.to_mapping()), point)
        return tuple(found.values())

    def _policies(self, base: RunConfig) -> list[PolicyConfig]:
        own = {} if self.long_only is None else {"long_only": self.long_only}
        found = []
        for name in self.policies:
            kept = base.policy.parameters if name == base.policy.name else {}
            usual = {k: v for k, v in KNOBS.get(name, {}).items() if k not in kept}
            knobs = {**usual, **self.knobs.get(name, {})}
            found += [
                PolicyConfig(name, {**kept, **own, **dict(zip(knobs, values, strict=True))})
                for values in product(*knobs.values())
            ]
        return found


def label(point: RunConfig) -> str:
    """A point in a few words: ``kelly fraction=0.5, 5 bps, horizon 5``."""
    return f"{policy_label(point)}, {point.costs.one_way_bps:g} bps, horizon {point.forecaster.horizon}"


def policy_label(point: RunConfig) -> str:
    """Its policy with the parameters that were set."""
    set_ = [f"{name}={_short(value)}" for name, value in point.policy.parameters.items()]
    return " ".join([point.policy.name, *set_])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def to_toml(config: RunConfig) -> str:
    """A configuration as a file that ``--config`` reads back to the same."""
    sections = {name: v for name, v in config.to_mapping().items() if isinstance(v, Mapping)}
    plain = [one.name for one in fields(config) if one.name not in sections]
    lines = [f"{name} = {_toml(getattr(config, name))}" for name in plain]
    for name, values in sections.items():
        set_ = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
        lines += ["", f"[{name}]", *set_]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{name} = {_toml(one)}" for name, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    return json.dumps(value, ensure_ascii=False)  # plain values and lists read the same in TOML
