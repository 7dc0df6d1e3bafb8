"""Rules and chunks that all ways of decoding share."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.seq2seq.answers import (
    DECODE_ROWS,
    ENCODE_ROWS,
    LANES,
    Rules,
    Samples,
    answering,
    blocks,
    padded_paths,
    parts,
    windows_per_chunk,
)
from quantseq.seq2seq.tokens import EOS
from tests.seq2seq.conftest import config_of, machine, random_batch


@given(st.integers(1, 5000))
def test_chunks_are_full_lanes_of_about_one_size(paths: int) -> None:
    windows = windows_per_chunk(paths)
    padded = padded_paths(paths, windows)
    assert ENCODE_ROWS % windows == 0
    assert padded >= paths
    assert windows * padded % LANES == 0
    assert windows * padded <= DECODE_ROWS + LANES * windows or windows == 1
    assert windows == ENCODE_ROWS or 2 * windows * paths > DECODE_ROWS


@pytest.mark.parametrize("size", [1, ENCODE_ROWS, ENCODE_ROWS + 1])
def test_blocks_cover_the_batch_once(size: int) -> None:
    config = config_of()
    model, batch = machine(config), random_batch(config, tuple(1 + i % 3 for i in range(size)))
    found = list(blocks(model, batch))
    assert all(block.memory.size == ENCODE_ROWS for block in found)
    assert [block.start for block in found] == list(range(0, size, ENCODE_ROWS))
    assert found[-1].stop == size
    covered = [
        row
        for block in found
        for first, last in parts(block, 16)
        for row in range(block.start + first, min(block.start + last, block.stop))
    ]
    assert covered == list(range(size))


@pytest.mark.parametrize("training", [True, False])
def test_the_callers_mode_comes_back(training: bool) -> None:
    model = machine(config_of()).train(training)

    def fail() -> None:
        with answering(model):
            assert not model.training
            assert torch.is_inference_mode_enabled()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert model.training is training


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"length": 3, "max_length": 3},
        {"length": 0},
        {"max_length": 2, "min_length": 3},
        {"max_length": 2, "min_length": -1},
        {"max_length": 2, "forbid": (99,)},
        {"length": 2, "forbid": (0, 2, 3, 4, 5, 6)},
        {"max_length": 2, "forbid": tuple(range(7))},
    ],
    ids=str,
)
def test_impossible_rules_are_refused(asked: dict[str, Any]) -> None:
    values: dict[str, Any] = {
        "length": None,
        "max_length": None,
        "min_length": 0,
        "forbid": (),
        **asked,
    }
    with pytest.raises(ConfigError):
        Rules.of(machine(config_of()), **values)


def test_rules_forbid_eos_before_its_time() -> None:
    rules = Rules(steps=3, min_length=2, forbid=(4,))
    for step, forbidden in ((0, [EOS, 4]), (1, [EOS, 4]), (2, [4])):
        logits = rules.apply(torch.zeros(2, 7), step)
        assert logits.isinf().nonzero()[:, 1].unique().tolist() == forbidden
    untouched = torch.zeros(2, 7)
    assert Rules(steps=3).apply(untouched, 0) is untouched


def test_sequences_end_before_eos() -> None:
    samples = Samples(
        torch.tensor([[[5, EOS, 0], [5, 6, 7]]]), torch.zeros(1, 2, 3), torch.tensor([[1, 3]])
    )
    assert samples.sequences() == [[[5], [5, 6, 7]]]
