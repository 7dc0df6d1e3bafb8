"""What a backtest is given that no backtest can use: one line each, before anything is written."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from quantseq.cli import app
from quantseq.market.bars import Panel


@pytest.fixture(scope="module")
def prices(small_panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of one stock over four years."""
    path = tmp_path_factory.mktemp("prices") / "panel.csv"
    columns = ["date", "open", "high", "low", "close", "volume"]
    frame = small_panel["IBM"].to_frame().reset_index()[columns]
    frame.assign(symbol="IBM").to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--start", "2030-01-01"], ["IBM has no bars in the asked range"]),
        (["--start", "2006-01-01", "--end", "2005-01-01"], ["reversed"]),
        (["--test-start", "2030-01-01"], ["tests from 2030-01-01 leave no room"]),
        (["--config", "cap.toml"], ["name_cap", "(0, 1]", "Got 2.0"]),
        (["--config", "gross.toml"], ["gross", "Got 1.5"]),
    ],
)
def test_spans_outside_the_prices_and_caps_above_one_are_one_line(
    words: list[str], expected: list[str], prices: Path, tmp_path: Path
) -> None:
    for name, value in (("name_cap", 2.0), ("gross", 1.5)):
        text = f"[policy.parameters]\n{name} = {value}\n"
        (tmp_path / f"{name.removeprefix('name_')}.toml").write_text(text)
    words = [str(tmp_path / one) if one.endswith(".toml") else one for one in words]
    places = ["--data-dir", str(tmp_path / "data"), "--reports-dir", str(tmp_path / "reports")]
    result = CliRunner().invoke(app, ["backtest", "--panel", str(prices), *words, *places])
    assert result.exit_code in range(2, 100), result.output
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    for word in expected:
        assert word in result.stderr
    assert not list(tmp_path.glob("reports/*"))
