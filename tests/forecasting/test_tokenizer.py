"""Every id comes back, PAD and EOS never do, and a changed state is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats

from quantseq.errors import ConfigError, CorruptFileError, ModelFileError
from quantseq.forecasting.tokenizer import MAX_BINS, ReturnTokenizer
from quantseq.seq2seq.tokens import EOS, FIRST_ID, PAD

law = settings(deadline=None, max_examples=60)
num_bins = st.integers(2, MAX_BINS)
insides = st.floats(0, 1, exclude_max=True)


@given(num_bins, insides)
@law
def test_every_id_comes_back(bins: int, inside: float) -> None:
    tokenizer = ReturnTokenizer(bins)
    ids = np.arange(FIRST_ID, tokenizer.vocab_size)
    levels = tokenizer.decode(ids, min(inside, 1 - 1e-9))
    assert ((levels >= 0) & (levels < 1)).all()
    middle = tokenizer.decode(ids)
    np.testing.assert_array_equal(tokenizer.encode(middle), ids)
    safe = tokenizer.decode(ids, np.clip(inside, 1e-9, 1 - 1e-9))
    np.testing.assert_array_equal(tokenizer.encode(safe), ids)


@given(num_bins, npst.arrays(float, 20, elements=st.floats(0, 1)))
@law
def test_every_level_has_a_token_whose_bin_holds_it(bins: int, levels: np.ndarray) -> None:
    tokenizer = ReturnTokenizer(bins)
    ids = tokenizer.encode(levels)
    assert ids.min() >= FIRST_ID
    assert ids.max() < tokenizer.vocab_size
    k = tokenizer.bins(ids)
    assert (k / bins <= levels + 1e-12).all()
    assert (levels <= (k + 1) / bins + 1e-12).all()


@given(num_bins, st.integers(-3, 2 * MAX_BINS))
@law
def test_only_return_ids_are_decoded(bins: int, other: int) -> None:
    tokenizer = ReturnTokenizer(bins)
    if FIRST_ID <= other < tokenizer.vocab_size:
        tokenizer.decode(np.array([other]))
        return
    with pytest.raises(ConfigError, match="PAD and EOS are not"):
        tokenizer.decode(np.array([FIRST_ID, other]))


@pytest.mark.parametrize("reserved", [PAD, EOS])
def test_reserved_ids_are_never_decoded(reserved: int) -> None:
    with pytest.raises(ConfigError, match="PAD and EOS"):
        ReturnTokenizer(4).bins(np.array([[2, 3], [reserved, 5]]))


def test_an_unknown_level_is_the_middle_bin() -> None:
    assert ReturnTokenizer(24).encode(np.array([np.nan]))[0] == 12 + FIRST_ID


@pytest.mark.parametrize("level", [-1e-9, 1.0000001, 5.0, -np.inf])
def test_a_return_is_not_mistaken_for_a_level(level: float) -> None:
    with pytest.raises(ConfigError, match=r"pass F\(r\)"):
        ReturnTokenizer(8).encode(np.array([0.5, level]))


def test_both_ends_belong_to_the_outer_bins() -> None:
    assert ReturnTokenizer(8).encode(np.array([0.0, 1.0])).tolist() == [2, 9]


@pytest.mark.parametrize("bins", [1, 0, -5, MAX_BINS + 1, 2.5, "24", None])
def test_the_number_of_bins_has_a_rule(bins: object) -> None:
    with pytest.raises(ConfigError, match=r"\[2, 4096\]"):
        ReturnTokenizer(bins)  # type: ignore[arg-type]


@pytest.mark.parametrize("bins", [8, 24, 64])
def test_drawing_inside_the_bin_keeps_the_variance_and_midpoints_lose_some(bins: int) -> None:
    rng, law_of_z = np.random.default_rng(0), stats.t(6)
    levels = (np.arange(200_000) + 0.5) / 200_000
    z = law_of_z.ppf(levels)
    tokenizer = ReturnTokenizer(bins)
    ids = tokenizer.encode(levels)
    drawn = law_of_z.ppf(tokenizer.decode(ids, rng.random(len(ids))))
    middle = law_of_z.ppf(tokenizer.decode(ids))
    assert drawn.var() == pytest.approx(z.var(), rel=0.01)
    assert middle.var() < 0.97 * z.var()


STATE = ReturnTokenizer(24, "2000-01-01", "2010-01-01", ("AAPL", "^GSPC"), "ab" * 32, 0.01)


def test_the_state_survives_the_disk(tmp_path: Path) -> None:
    STATE.save(tmp_path / "tokenizer.json")
    again = ReturnTokenizer.load(tmp_path / "tokenizer.json", expected=STATE.fingerprint)
    assert again == STATE
    assert again.fingerprint == STATE.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        ReturnTokenizer(25, "2000-01-01", "2010-01-01", ("AAPL", "^GSPC"), "ab" * 32, 0.01),
        ReturnTokenizer(24, "2000-01-01", "2010-01-01", ("AAPL", "MSFT"), "ab" * 32, 0.01),
        ReturnTokenizer(24, "2000-01-01", "2010-01-01", ("AAPL", "^GSPC"), "ac" * 32, 0.01),
    ],
)
def test_another_state_has_another_fingerprint(other: ReturnTokenizer, tmp_path: Path) -> None:
    assert other.fingerprint != STATE.fingerprint
    other.save(tmp_path / "tokenizer.json")
    with pytest.raises(ModelFileError, match="Tokens would mean something else"):
        ReturnTokenizer.load(tmp_path / "tokenizer.json", expected=STATE.fingerprint)


@pytest.mark.parametrize("name", ["num_bins", "fitted_until", "zero_share", "fingerprint"])
def test_a_changed_file_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    STATE.save(path)
    state = json.loads(path.read_text())
    state[name] = 32 if name == "num_bins" else "0"
    path.write_text(json.dumps(state))
    with pytest.raises(ModelFileError, match="fingerprint"):
        ReturnTokenizer.load(path)


@pytest.mark.parametrize(
    "content", ["[]", "3", "null", "{}", '{"version": 1}', '{"version": 1, "symbols": 7}']
)
def test_a_file_that_is_no_tokenizer_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ModelFileError):
        ReturnTokenizer.load(path)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    STATE.save(path)
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(ModelFileError, match="version 2"):
        ReturnTokenizer.load(path)


@pytest.mark.parametrize("content", [None, "", '{"version"', b"\xff\xfe"])
def test_an_unreadable_file_is_named(content: str | bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(CorruptFileError, match=r"tokenizer\.json"):
        ReturnTokenizer.load(path)
