"""From a file and options to one configuration."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantseq.config import PolicyConfig, RunConfig, on_calendar, parse_settings, resolve_config
from quantseq.errors import ConfigError
from quantseq.progress import Progress


def test_without_anything_the_defaults_stand() -> None:
    assert resolve_config() == RunConfig()


def test_options_win_over_the_file_and_none_means_not_given(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("seed = 3\n[costs]\ncost_bps = 20.0\n[forecaster]\nmembers = 1\n")
    config = resolve_config(path, {"seed": 5, "costs.cost_bps": None, "fill": None})
    assert (config.seed, config.costs.cost_bps, config.forecaster.members) == (5, 20.0, 1)


def test_the_purge_follows_the_horizon() -> None:
    assert resolve_config(settings={"forecaster.horizon": 8}).walk_forward.purge == 8
    with pytest.raises(ConfigError, match="purge of 2 sessions is shorter"):
        resolve_config(settings={"forecaster.horizon": 8, "walk_forward.purge": 2})


def test_a_horizon_given_raises_the_purge_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[walk_forward]\npurge = 5\n")
    config = resolve_config(path, {"forecaster.horizon": 8}, progress=Progress(quiet=False))
    assert config.walk_forward.purge == 8
    assert "purge is raised from 5 to 8 sessions" in capsys.readouterr().err
    assert resolve_config(path, {"forecaster.horizon": 3}).walk_forward.purge == 5
    assert resolve_config(path, {"forecaster.horizon": None}).walk_forward.purge == 5
    path.write_text("[forecaster]\nhorizon = 8\n[walk_forward]\npurge = 5\n")
    with pytest.raises(ConfigError, match="purge of 5 sessions is shorter"):
        resolve_config(path)
    path.write_text('[walk_forward]\npurge = "5"\n')
    with pytest.raises(ConfigError, match="'purge' parameter"):
        resolve_config(path, {"forecaster.horizon": 8})


def test_another_policy_drops_the_parameters_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('[policy]\nname = "kelly"\n[policy.parameters]\nfraction = 0.1\n')
    assert dict(resolve_config(path).policy.parameters) == {"fraction": 0.1}
    other = resolve_config(path, {"policy.name": "sign", "policy.long_only": False})
    assert dict(other.policy.parameters) == {"long_only": False}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1", "Did you mean 'seed'"),
        ("[costs]\ncost_bp = 1", "Did you mean 'cost_bps'"),
        ("costs = 3", "must be a table"),
        ("a = = 1", "as TOML"),
    ],
)
def test_bad_files_are_named_errors(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        resolve_config(path)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["costs.cost_bsp=3"], "Did you mean 'cost_bps'"),
        (["cost.cost_bps=3"], "Did you mean 'costs'"),
        (["seed=1", "seed.x=3"], "is no section"),
        (["costs.cost_bps"], "section.name=value"),
        (["=3"], "section.name=value"),
        (["policy.fractoin=0.1"], "fraction"),
        (["costs.cost_bps=many"], "must be a number"),
        (["forecaster=1"], "must be a table"),
        (["policy.name.x=1"], "policy.name"),
        (["seed=1", "seed=2"], "given twice"),
    ],
)
def test_settings_that_cannot_be_are_named_with_the_nearest(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_config(settings=parse_settings(texts))


def test_settings_reach_every_section() -> None:
    texts = ["costs.borrow_bps=80", "policy.long_only=false", "fill=close", "forecaster.epochs=1"]
    config = resolve_config(settings=parse_settings(texts))
    assert (config.costs.borrow_bps, config.fill, config.forecaster.epochs) == (80, "close", 1)
    assert dict(config.policy.parameters) == {"long_only": False}


def test_a_missing_file_is_a_named_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml"):
        resolve_config(tmp_path / "nothing.toml")


def test_the_mapping_round_trips() -> None:
    config = resolve_config(
        settings={"walk_forward.test_start": "2010-01-04", "policy.name": "vol_target"}
    )
    assert RunConfig.from_mapping(config.to_mapping()) == config


def test_every_term_and_policy_comes_from_the_file_and_survives_json(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        "[costs]\nhalf_spread_bps = 2\nimpact = 1\nvolume_cap = 0.05\nwhole_shares = true\n"
        "capital = 100000\nfinancing_bps = 150\nmin_commission = 1.0\n"
        '[policy]\nname = "blend"\n[policy.parameters]\nparts = ["kelly", "rank"]\n'
        'band = "cost"\ncvar_cap = 0.03\n'
    )
    config = resolve_config(path, {"costs.cost_bps": 3.0})
    assert config.costs.one_way_bps == 5.0
    assert config.costs.whole_shares is True
    again = json.loads(json.dumps(config.to_mapping()))
    assert RunConfig.from_mapping(again) == config


@pytest.mark.parametrize(
    "text",
    [
        "[costs]\nwhole_shares = 1",
        "[costs]\nvolume_cap = 2.0",
        '[policy]\nname = "blend"\n[policy.parameters]\nparts = ["kelly"]',
        'policy = "kelly"',
        "forecaster = 3",
        'num_paths = "a"',
        "num_paths = 2.5",
        'seed = "a"',
        "seed = -1",
        '[walk_forward]\nmax_train = "abc"',
        '[forecaster]\nlearning_rate = "x"',
        "[forecaster]\nepochs = true",
        '[costs]\ncost_bps = "x"',
        "[policy]\nparameters = 3",
        '[policy]\nname = "kely"',
        "[policy.name]\nx = 1",
        "[costs]\nperiods = 252.5",
        '[walk_forward]\ntest_start = "foo"',
        "[policy.parameters]\nfractoin = 0.5",
    ],
)
def test_a_value_of_the_wrong_kind_is_a_named_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        resolve_config(path)


def test_the_seed_of_the_file_stands_unless_another_is_given(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("seed = 7\n")
    assert resolve_config(path, {"seed": None}).seed == 7
    assert resolve_config(path, {"seed": 0}).seed == 0


def test_the_sessions_per_year_are_the_calendars_unless_they_are_set() -> None:
    days = np.arange("2018-01-01", "2021-01-01", dtype="datetime64[D]")
    found = on_calendar(RunConfig(), days)
    assert (RunConfig().costs.periods, found.costs.periods, found.costs.year) == (0, 365, 365)
    assert on_calendar(found, days[np.is_busday(days)]) == found
    assert RunConfig.from_mapping(found.to_mapping()) == found
    policy = replace(found, policy=PolicyConfig("vol_target")).make_policy()
    assert policy.periods == 365
    own = PolicyConfig("vol_target", {"periods": 250})
    assert replace(found, policy=own).make_policy().periods == 250
