"""From what was asked (a TOML file, then options) to one resolved `RunConfig`."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from quantseq.config import RunConfig
from quantseq.errors import ConfigError
from quantseq.market.bars import Dates
from quantseq.market.calendars import sessions_per_year
from quantseq.progress import SILENT, Progress


def resolve_config(
    path: Path | None = None,
    *,
    policy: str | None = None,
    policy_parameters: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
    **given: Any,
) -> RunConfig:
    """Defaults, overridden by a TOML file, overridden by options that are not None.

    Without a purge of its own the purge is the horizon. A horizon that is given raises the file's purge;
    a purge that is given must fit.

    Parameters
    ----------
    path : Path, optional
        TOML with the sections of `RunConfig`.
    policy : str, optional
        Name of the policy; another one than the file's drops the file's parameters.
    policy_parameters : mapping, optional
        Parameters of the policy.
    progress : Progress
        Hears of a purge that was raised.
    **given
        Fields of `RunConfig`: plain values, or mappings for its sections.

    Raises
    ------
    ConfigError
        If the file cannot be read, a name is unknown, or a value breaks its rule.
    """
    asked: dict[str, Any] = {}
    if path is not None:
        try:
            asked = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"Cannot read {str(path)!r} as TOML: {error}.") from error
    for name in ("forecaster", "walk_forward", "policy", "costs"):
        if not isinstance(asked.get(name, {}), dict):
            raise ConfigError(f"[{name}] must be a table of names and values. Got {asked[name]!r}.")
    for name, value in given.items():
        if isinstance(value, Mapping):
            section = asked.setdefault(name, {})
            section.update({key: item for key, item in value.items() if item is not None})
        elif value is not None:
            asked[name] = value
    chosen = dict(asked.get("policy", {}))
    if policy is not None and policy != chosen.get("name", RunConfig().policy.name):
        chosen = {}
    if policy is not None:
        chosen["name"] = policy
    extra = {k: v for k, v in (policy_parameters or {}).items() if v is not None}
    if extra:
        chosen["parameters"] = {**chosen.get("parameters", {}), **extra}
    if chosen:
        asked["policy"] = chosen
    horizon = asked.get("forecaster", {}).get("horizon")
    if horizon is not None:
        walk = asked.setdefault("walk_forward", {})
        purge = walk.setdefault("purge", horizon)
        given_horizon = given.get("forecaster", {}).get("horizon") is not None
        given_purge = given.get("walk_forward", {}).get("purge") is not None
        if given_horizon and not given_purge and type(purge) is int:  # of the file, unchecked yet
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
