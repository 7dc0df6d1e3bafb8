"""Buckets lose no pair and save padding."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantseq.errors import ConfigError
from quantseq.seq2seq.buckets import BucketSource, PaddingReport
from quantseq.seq2seq.tokens import EOS, PAD

ids = st.lists(st.integers(2, 9), min_size=1, max_size=12)
pairs = st.lists(st.tuples(ids, ids), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(pairs, st.integers(1, 7), st.booleans(), st.integers(0, 3))
def test_every_pair_comes_up_once_per_epoch(
    given_pairs: list[tuple[list[int], list[int]]], size: int, static: bool, epoch: int
) -> None:
    source = BucketSource(pairs=given_pairs, bounds=(3, 6, 12), batch_size=size, static=static)
    seen: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    steps = 0
    count = source.batches_per_epoch
    for step in range(epoch * count, (epoch + 1) * count):
        batch = source.batch(step)
        assert batch.size <= size
        longest = int(batch.source_lengths.max())
        bound = min(bound for bound in source.bounds if bound >= longest)
        assert batch.source.shape[0] == (bound if static else longest)
        assert int(batch.source_lengths.min()) > {3: 0, 6: 3, 12: 6}[bound]
        for row in range(batch.size):
            length, answered = int(batch.source_lengths[row]), int(batch.target_lengths[row])
            target = batch.target_out[:answered, row].tolist()
            assert target[-1] == EOS
            assert (batch.source[length:, row] == PAD).all()
            seen[tuple(batch.source[:length, row].tolist()), tuple(target[:-1])] += 1
        steps += batch.source.numel() + batch.target_in.numel()
    assert seen == Counter((tuple(s), tuple(t)) for s, t in given_pairs)
    if epoch == 0:
        assert source.padding().bucketed == steps


def test_like_lengths_save_padding() -> None:
    given_pairs = [([2] * (1 + i % 12), [3] * (1 + i % 12)) for i in range(600)]
    source = BucketSource(pairs=given_pairs, bounds=tuple(range(1, 13)), batch_size=50)
    report = source.padding()
    assert report.bucketed == report.needed
    assert report.unsorted > 1.5 * report.needed
    assert report.saved == 1.0
    assert PaddingReport(10, 10, 10).saved == 0.0


def test_epochs_differ_and_seeds_decide() -> None:
    given_pairs = [([2 + i % 7], [3]) for i in range(40)]
    source = BucketSource(pairs=given_pairs, bounds=(1,), batch_size=40)
    same = BucketSource(pairs=given_pairs, bounds=(1,), batch_size=40)
    assert source.batch(0).source.tolist() == same.batch(0).source.tolist()
    assert source.batch(0).source.tolist() != source.batch(1).source.tolist()


@pytest.mark.parametrize(
    ("given_pairs", "bounds", "size"),
    [
        ([], (3,), 2),
        ([([2], [2])], (), 2),
        ([([2, 2], [2])], (1,), 2),
        ([([2], [2])], (3, 3), 2),
        ([([], [2])], (3,), 2),
        ([([2], [2])], (3,), 0),
    ],
)
def test_bad_parameters_are_refused(
    given_pairs: list[tuple[list[int], list[int]]], bounds: tuple[int, ...], size: int
) -> None:
    with pytest.raises(ConfigError):
        BucketSource(pairs=given_pairs, bounds=bounds, batch_size=size)
