"""From what was asked (a TOML file, then options) to one resolved `RunConfig`."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantseq.config import RunConfig
from quantseq.errors import ConfigError


def resolve_config(
    path: Path | None = None,
    *,
    policy: str | None = None,
    policy_parameters: Mapping[str, Any] | None = None,
    **given: Any,
) -> RunConfig:
    """Defaults, overridden by a TOML file, overridden by options that are not None.

    Without a purge of its own the purge is the horizon.

    Parameters
    ----------
    path : Path, optional
        TOML with the sections of `RunConfig`.
    policy : str, optional
        Name of the policy; another one than the file's drops the file's parameters.
    policy_parameters : mapping, optional
        Parameters of the policy.
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
        asked.setdefault("walk_forward", {}).setdefault("purge", horizon)
    return RunConfig.from_mapping(asked)
