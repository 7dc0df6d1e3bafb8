"""What an evaluation prints: every model, how much of the network was kept, and no undefined number."""

from typing import Any

import pytest

from quantseq.pipeline.scoreboard import describe, number

SIGN: dict[str, Any] = {"value": 0.51, "t": 1.2, "p": 0.2, "n_days": 250, "n_needed": 700.0}


def model(**changes: Any) -> dict[str, Any]:
    shown = dict.fromkeys(("log_score", "crps", "crps_cumulative", "pit_ks"), 0.01)
    signs = dict.fromkeys(("ic", "rank_ic", "hit_rate", "pesaran_timmermann"), SIGN)
    skill = {"skill_nats": 0.002, "skill_interval": [0.001, 0.003], "mcs_log_score": 0.5}
    sizes = {"coverage_90": 0.9, "n": 500, "n_days": 250, "by_step": [{}, {}]}
    return shown | signs | skill | sizes | changes


def result(**changes: Any) -> dict[str, Any]:
    test = {"rival": "har-pooled-t", "score": "log_score", "step": 1, "t": -2.5}
    told = {
        "models": {"seq2seq": model(), "har-pooled-t": model(mcs_log_score=0.01)},
        "tests": [test],
        "verdict": ["better than its own reference (har-pooled-t): yes, t = −2.5"],
        "survived": [0.25, 0.75],
        "details": {"seq2seq": [{}, {"recalibration": {"width": 0.1, "skew": 0.0}}]},
        "notes": ["D: its price stood still"],
        "null": None,
    }
    return told | changes


def test_models_days_skill_and_notes_are_printed() -> None:
    lines = describe(result())
    assert [line.split()[0] for line in lines[1:3]] == ["seq2seq", "har-pooled-t"]
    assert "CRPS 2d" in lines[0]
    assert "−2.5" in lines[2]
    assert any(line.startswith("500 forecasts on 250 days;") for line in lines)
    assert "Skill over har-pooled-t: +0.0020 nats (95 % interval +0.0010 to +0.0030)." in lines
    assert "May be the best by log score (90 % confidence set): seq2seq." in lines
    told = [line.split(" 0.51")[0] for line in lines if line.startswith("Direction")]
    assert told == [f"Direction, {name}" for name in ("IC", "rank IC", "Pesaran-Timmermann")]
    assert lines[-1] == "D: its price stood still"


@pytest.mark.parametrize(
    ("survived", "words"),
    [
        (
            [0.25, 0.75],
            "Validation kept 50% of the network, on average over 2 folds; the rest is the reference, "
            "recalibrated in 1 of 2 folds.",
        ),
        ([0.0], "Validation kept 0% of the network, on average over 1 fold;"),
        ([None], ""),
    ],
)
def test_how_much_of_the_network_was_kept_is_printed(survived: list[Any], words: str) -> None:
    lines = [line for line in describe(result(survived=survived)) if "Validation kept" in line]
    assert len(lines) == bool(words)
    assert all(line.startswith(words) for line in lines)


def test_a_hit_rate_of_one_and_the_same_call_is_told_as_such() -> None:
    unknown = SIGN | {"t": float("nan"), "p": float("nan")}
    models = {"seq2seq": model(pesaran_timmermann=unknown), "har-pooled-t": model()}
    (line,) = [one for one in describe(result(models=models)) if "hit rate" in one]
    assert line.startswith("Direction, hit rate 0.5100 over 250 days: every call was the same")
    assert not [one for one in describe(result()) if "hit rate" in one]


def test_the_null_run_is_the_last_line() -> None:
    assert describe(result(null={"sentence": "gbm: nothing"}))[-1] == "Null run, gbm: nothing."


def test_an_unknown_number_is_a_dash() -> None:
    assert number(None, 2) == number(float("nan"), 2) == "—"
    assert number(0.905, 1, 100, "%") == "90.5%"


def test_nothing_is_printed_without_a_sign() -> None:
    told = describe(
        result(models={"seq2seq": model(skill_nats=-1e-9, skill_interval=[-0.002, 1e-9])})
    )
    assert "Skill over har-pooled-t: 0.0000 nats (95 % interval −0.0020 to 0.0000)." in told
