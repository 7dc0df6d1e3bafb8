"""Sampling draws from the model's distribution, whoever else is in the batch."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from quantseq.errors import ConfigError
from quantseq.seq2seq import decoding
from quantseq.seq2seq.decoding import Samples, _Rules, _Truncation, beam, greedy, sample
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.tokens import EOS, PAD, Batch
from tests.seq2seq.conftest import (
    FEW_CONFIGS,
    by_fours,
    config_of,
    elsewhere,
    machine,
    name_of,
    random_batch,
)

every_kind = pytest.mark.parametrize("config", FEW_CONFIGS, ids=name_of)
STEPS = 4
FULL = config_of(
    hidden_size=8,
    bidirectional=True,
    attention="bahdanau",
    channels=1,
    condition_size=2,
    never_emit=(PAD, EOS),
)


def uniforms(steps: int, size: int, paths: int, seed: int = 0) -> Tensor:
    return torch.rand(steps, size, paths, generator=torch.Generator().manual_seed(seed))


def same(mine: Samples, expected: Samples, rows: Tensor | slice = slice(None)) -> bool:
    """Bit-identical, row by row."""
    pairs = [(mine.ids, expected.ids), (mine.log_probs, expected.log_probs)]
    pairs.append((mine.lengths, expected.lengths))
    if mine.marginals is not None and expected.marginals is not None:
        pairs.append((mine.marginals, expected.marginals))
    return all(torch.equal(a, b[rows]) for a, b in pairs)


def slow_sample(model: Seq2Seq, batch: Batch, draws: Tensor, steps: int) -> list[list[list[int]]]:
    """One path of one source at a time, the obvious way."""
    answers: list[list[list[int]]] = []
    for b in range(batch.size):
        alone = batch.rows(torch.tensor([b]))
        answers.append([])
        for n in range(draws.shape[2]):
            with torch.no_grad():
                memory = model.encode(alone)
                state, given, ids = memory.state, torch.tensor([EOS]), []
                for t in range(steps):
                    logits, state = model.decode_step(given, state, memory)
                    cdf = torch.softmax(logits[0].double(), dim=0).cumsum(dim=0)
                    token = int((cdf <= float(draws[t, b, n])).sum())
                    if token == EOS:
                        break
                    ids.append(token)
                    given = torch.tensor([token])
            answers[-1].append(ids)
    return answers


@every_kind
def test_sampling_is_the_slow_way_and_keeps_rows_apart(config: Seq2SeqConfig) -> None:
    config = by_fours(config)
    model, batch = machine(config), random_batch(config, (4, 1, 6, 3, 2))
    draws = uniforms(STEPS, 5, 3)
    kwargs: dict[str, Any] = {"num_paths": 3, "max_length": STEPS, "marginals": True}
    found = sample(model, batch, uniforms=draws, **kwargs)
    assert found.sequences() == slow_sample(model, batch, draws, STEPS)
    order = torch.tensor([3, 0, 4, 2, 1])
    permuted = sample(model, batch.rows(order), uniforms=draws[:, order], **kwargs)
    assert same(permuted, found, order)
    for row in range(5):
        index = torch.tensor([row])
        alone = sample(model, batch.rows(index), uniforms=draws[:, index], **kwargs)
        assert same(alone, found, index)


@pytest.mark.parametrize(("size", "paths"), [(150, 1), (40, 100), (3, 3000), (5, 333)])
def test_no_batch_size_or_place_changes_a_bit(size: int, paths: int) -> None:
    model, batch = machine(FULL), random_batch(FULL, (9,) * size, (1,) * size)
    draws = uniforms(3, size, paths)
    kwargs: dict[str, Any] = {"num_paths": paths, "length": 3, "marginals": True}
    whole = sample(model, batch, uniforms=draws, **kwargs)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(1))
    assert same(sample(model, batch.rows(order), uniforms=draws[:, order], **kwargs), whole, order)
    for rows in (torch.tensor([size - 1]), torch.arange(size // 2, size)):
        part = sample(model, batch.rows(rows), uniforms=draws[:, rows], **kwargs)
        assert same(part, whole, rows)


@every_kind
def test_greedy_is_temperature_zero_is_a_beam_of_one(config: Seq2SeqConfig) -> None:
    model, batch = machine(config), random_batch(config)
    for asked in (
        {"length": 3},
        {"max_length": 4, "min_length": 1, "forbid": (2, 5)},
    ):
        first = greedy(model, batch, **asked)
        cold = sample(model, batch, num_paths=1, temperature=0.0, **asked)
        narrow = beam(model, batch, width=1, **asked)
        assert same(cold, first)
        assert torch.equal(narrow.ids, first.ids)
        assert torch.equal(narrow.lengths, first.lengths)
        torch.testing.assert_close(narrow.log_probs, first.log_probs, rtol=1e-4, atol=1e-5)


@every_kind
def test_decoding_happens_where_the_model_is(config: Seq2SeqConfig) -> None:
    model, batch = machine(config), random_batch(config)
    bend: dict[str, Any] = {"temperature": 1.3, "top_k": 4, "top_p": 0.9, "marginals": True}

    def answers() -> list[Samples]:
        kwargs: dict[str, Any] = {"max_length": 4, "min_length": 1, "forbid": (5,)}
        generator = torch.Generator("cpu").manual_seed(0)
        return [
            greedy(model, batch, **kwargs),
            beam(model, batch, width=3, n_best=2, **kwargs),
            sample(model, batch, num_paths=3, generator=generator, **kwargs, **bend),
        ]

    expected = answers()
    with elsewhere():
        found = answers()
    assert all(same(mine, theirs) for mine, theirs in zip(found, expected, strict=True))


def sequence_probabilities(
    model: Seq2Seq, batch: Batch, length: int
) -> dict[tuple[int, ...], float]:
    """Exact probability of every id sequence of a length, EOS forbidden."""
    memory, found = model.encode(batch), {}
    for ids in product(range(model.config.vocab_size), repeat=length):
        state, given, log_prob = memory.state, torch.tensor([EOS]), 0.0
        for token in ids:
            logits, state = model.decode_step(given, state, memory)
            logits[:, EOS] = -torch.inf
            log_prob += float(torch.log_softmax(logits, dim=1)[0, token])
            given = torch.tensor([token])
        found[ids] = float(np.exp(log_prob))
    return found


def test_frequencies_are_the_exact_probabilities() -> None:
    config = config_of(vocab_size=5, bidirectional=True, attention="bahdanau", never_emit=(PAD,))
    model, batch = machine(config, seed=3), random_batch(config, (4,))
    with torch.no_grad():
        exact = sequence_probabilities(model, batch, 2)
    generator = torch.Generator().manual_seed(0)
    found = sample(model, batch, num_paths=20_000, length=2, generator=generator, marginals=True)
    drawn, counts = np.unique(found.ids[0].numpy(), axis=0, return_counts=True)
    possible = {ids: p for ids, p in exact.items() if p > 0}
    assert {tuple(row) for row in drawn.tolist()} == set(possible)
    observed = dict(zip(map(tuple, drawn.tolist()), counts, strict=True))
    expected = np.array(list(possible.values()))
    test = chisquare([observed[ids] for ids in possible], 20_000 * expected / expected.sum())
    assert test.pvalue > 0.01
    first = [sum(p for ids, p in exact.items() if ids[0] == token) for token in range(5)]
    second = [sum(p for ids, p in exact.items() if ids[1] == token) for token in range(5)]
    assert found.marginals is not None
    np.testing.assert_allclose(found.marginals[0, 0], first, atol=1e-6)
    np.testing.assert_allclose(found.marginals[0, 1], second, atol=0.02)


@pytest.mark.parametrize(
    "bend",
    [
        {},
        {"temperature": 0.7},
        {"top_k": 3},
        {"top_p": 0.8},
        {"temperature": 2, "top_k": 4, "top_p": 0.9},
    ],
    ids=str,
)
def test_log_probs_are_the_models_own(bend: dict[str, Any]) -> None:
    model, batch = machine(FULL), random_batch(FULL)
    found = sample(
        model, batch, num_paths=5, length=3, uniforms=uniforms(3, 4, 5), marginals=True, **bend
    )
    for path in range(5):
        ids = found.ids[:, path].t()
        fed = torch.cat((torch.full((1, 4), EOS), ids[:-1]))
        forced = Batch(
            batch.source,
            batch.source_lengths,
            fed,
            ids,
            torch.full((4,), 3),
            batch.channels,
            batch.condition,
        )
        log_probs = torch.log_softmax(model(forced), dim=-1).gather(-1, ids.unsqueeze(-1))
        torch.testing.assert_close(
            found.log_probs[:, path].t(), log_probs.squeeze(-1).detach(), rtol=1e-4, atol=1e-5
        )
    assert found.marginals is not None
    torch.testing.assert_close(found.marginals.sum(dim=-1), torch.ones(4, 3))
    assert (found.marginals[..., :2] == 0).all()


def slow_truncation(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> dict[int, float]:
    """Temperature, then top-k, then top-p, as one would explain it."""
    weights = np.exp((np.array(logits) - max(logits)) / temperature)
    ranked = sorted(range(len(logits)), key=lambda i: (-weights[i], i))[: top_k or len(logits)]
    total, kept, mass = sum(weights[i] for i in ranked), [], 0.0
    for i in ranked:
        if top_p is not None and mass >= top_p * total:
            break
        kept.append(i)
        mass += weights[i]
    return {i: weights[i] / mass for i in kept}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-16, 16), min_size=6, max_size=6).map(lambda ids: [i / 4 for i in ids]),
    st.sampled_from([0.5, 1.0, 1.7]),
    st.sampled_from([None, 1, 2, 4, 6]),
    st.sampled_from([None, 1e-60, 0.11, 0.37, 0.83, 1.0]),
)
def test_truncation_is_the_slow_reference(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> None:
    expected = slow_truncation(logits, temperature, top_k, top_p)
    masses = torch.softmax(torch.tensor([logits]) / temperature, dim=1)
    if top_k is not None or top_p is not None:
        masses = _Truncation(temperature, top_k, top_p).truncate(masses)
    found = (masses / masses.sum())[0].tolist()
    assert found == pytest.approx([expected.get(i, 0.0) for i in range(6)], abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 999),
    st.sampled_from([(), (PAD,), (2, 5), (EOS, 3)]),
    st.sampled_from([{"length": 3}, {"max_length": 3}, {"max_length": 4, "min_length": 2}]),
    st.sampled_from([0.6, 1.0, 1.8]),
    st.sampled_from([None, 1, 2, 5]),
    st.sampled_from([None, 0.31, 0.87]),
)
def test_all_rules_at_once_are_the_slow_way(
    seed: int,
    forbid: tuple[int, ...],
    asked: dict[str, int],
    temperature: float,
    top_k: int | None,
    top_p: float | None,
) -> None:
    config = config_of(bidirectional=True, attention="luong", never_emit=(6,))
    model, batch = machine(config, seed=seed), random_batch(config, (3,), seed=seed)
    steps = asked.get("length", asked.get("max_length", 0))
    earliest = asked.get("length", asked.get("min_length", 0))
    draws = uniforms(steps, 1, 4, seed)
    bend: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    found = sample(model, batch, num_paths=4, forbid=forbid, uniforms=draws, **asked, **bend)
    for path in range(4):
        memory = model.encode(batch)
        state, given_id = memory.state, EOS
        for t in range(steps):
            with torch.no_grad():
                logits, state = model.decode_step(torch.tensor([given_id]), state, memory)
            row = logits[0].tolist()
            for token in (*forbid, *([EOS] if t < earliest else [])):
                row[token] = -np.inf
            kept = slow_truncation(row, temperature, top_k, top_p)
            given_id = int(found.ids[0, path, t])
            below = sum(share for token, share in kept.items() if token < given_id)
            assert below - 1e-5 <= float(draws[t, 0, path]) <= below + kept[given_id] + 1e-5
            exact = row[given_id] - float(torch.logsumexp(torch.tensor(row), dim=0))
            assert float(found.log_probs[0, path, t]) == pytest.approx(exact, abs=1e-4)
            if given_id == EOS:
                assert found.lengths[0, path] == t
                break


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (None, 0.5, [0]),
        (None, 0.501, [0, 1]),
        (None, 0.75, [0, 1]),
        (3, None, [0, 1, 2]),
        (2, 0.7, [0, 1]),  # of the mass that top-k leaves, id 0 holds two thirds
        (2, 0.6, [0]),
    ],
)
def test_truncation_at_its_edges(top_k: int | None, top_p: float | None, kept: list[int]) -> None:
    masses = torch.tensor([[0.5, 0.25, 0.125, 0.125]])
    left = _Truncation(1.0, top_k, top_p).truncate(masses)
    assert left.nonzero()[:, 1].tolist() == kept
    assert torch.equal(left[:, kept], masses[:, kept])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=1, max_size=5),
    st.sampled_from([1.0, 0.3]),
    st.sampled_from([None, 2]),
    st.sampled_from([None, 0.5]),
)
def test_draws_are_the_inverse_cdf(
    draws: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> None:
    logits = [0.3, -1.0, 2.0, 0.1, 1.9]
    kept = slow_truncation(logits, temperature, top_k, top_p)
    log_probs = torch.log_softmax(torch.tensor([logits] * len(draws)), dim=1)
    chosen = (
        _Truncation(temperature, top_k, top_p)
        .choose(log_probs, torch.tensor(draws).unsqueeze(1))
        .squeeze(1)
    )
    cumulative = 0.0
    bounds = {}
    for i in sorted(kept):
        bounds[i] = (cumulative - 1e-5, cumulative + kept[i] + 1e-5)
        cumulative += kept[i]
    for draw, token in zip(draws, chosen.tolist(), strict=True):
        assert bounds[token][0] <= draw <= bounds[token][1]


@pytest.mark.parametrize("edge", [0.0, 1.0 - 2**-24, 1.0])
def test_the_ends_of_the_unit_interval_stay_allowed(edge: float) -> None:
    for never in ((PAD, EOS), (PAD, EOS, 5, 6)):
        config = config_of(never_emit=never)
        model, batch = machine(config), random_batch(config)
        draws = torch.full((2, 4, 3), edge)
        found = sample(model, batch, num_paths=3, length=2, uniforms=draws)
        assert not set(found.ids.flatten().tolist()) & set(never)
        assert torch.isfinite(found.log_probs).all()


def test_answers_end_with_eos_and_padding() -> None:
    config = config_of()
    model, batch = machine(config), random_batch(config)
    found = sample(
        model,
        batch,
        num_paths=200,
        max_length=6,
        min_length=2,
        uniforms=uniforms(6, 4, 200),
        marginals=True,
    )
    assert 2 <= found.lengths.min() < found.lengths.max() == 6
    for rows, lengths in zip(found.ids.tolist(), found.lengths.tolist(), strict=True):
        for row, length in zip(rows, lengths, strict=True):
            assert EOS not in row[:length]
            assert row[length:] == [EOS, *[PAD] * 6][: 6 - length]
    steps = torch.arange(6)
    over = steps > found.lengths.unsqueeze(-1)
    assert (found.log_probs[over] == 0).all()
    assert (found.log_probs[~over] < 0).all()
    assert found.marginals is not None
    torch.testing.assert_close(found.marginals.sum(dim=-1), torch.ones(4, 6))


def test_all_paths_may_end_early() -> None:
    config = config_of(never_emit=(PAD, 2, 3, 4, 5))
    model, batch = machine(config), random_batch(config)
    with torch.no_grad():
        model.decoder.bias[EOS] += 50.0
    found = greedy(model, batch, max_length=9)
    assert found.lengths.eq(0).all()
    found = sample(
        model, batch, num_paths=2, max_length=9, uniforms=uniforms(9, 4, 2), marginals=True
    )
    assert found.ids[0, 0].tolist() == [EOS] + [PAD] * 8
    assert found.marginals is not None
    assert (found.marginals[:, 1:, PAD] == 1).all()


def test_forbidden_ids_are_never_drawn() -> None:
    model, batch = machine(config_of()), random_batch(config_of())
    found = sample(
        model, batch, num_paths=300, length=3, forbid=(PAD, 4), uniforms=uniforms(3, 4, 300)
    )
    assert set(found.ids.flatten().tolist()) == {2, 3, 5, 6}
    assert found.lengths.eq(3).all()


@pytest.mark.parametrize("training", [True, False])
def test_the_callers_mode_neither_matters_nor_changes(training: bool) -> None:
    config = config_of(dropout=0.5, bidirectional=True, attention="luong")
    model, batch = machine(config), random_batch(config)
    expected = sample(model, batch, num_paths=3, length=3, uniforms=uniforms(3, 4, 3))
    model.train(training)
    found = sample(model, batch, num_paths=3, length=3, uniforms=uniforms(3, 4, 3))
    assert same(found, expected)
    assert model.training is training
    assert not found.ids.is_inference()


def test_a_generator_draws_what_its_uniforms_draw() -> None:
    model, batch = machine(FULL), random_batch(FULL)
    before = torch.get_rng_state()
    drawn = sample(model, batch, num_paths=3, length=2, generator=torch.Generator().manual_seed(7))
    given_ = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(7))
    assert same(sample(model, batch, num_paths=3, length=2, uniforms=given_), drawn)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_paths": 0}, "num_paths"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 8}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"uniforms": None}, "exactly one"),
        ({"generator": torch.Generator()}, "exactly one"),
        ({"uniforms": torch.zeros(2, 4, 3)}, "shape"),
        ({"uniforms": torch.full((3, 4, 3), 1.5)}, "numbers in"),
        ({"uniforms": torch.full((3, 4, 3), torch.nan)}, "numbers in"),
    ],
)
def test_bad_parameters_are_refused(changes: dict[str, Any], words: str) -> None:
    model, batch = machine(FULL), random_batch(FULL)
    asked: dict[str, Any] = {"num_paths": 3, "length": 3, "uniforms": uniforms(3, 4, 3), **changes}
    with pytest.raises(ConfigError, match=words):
        sample(model, batch, **asked)


@given(st.integers(1, 5000))
def test_chunks_are_about_one_size(paths: int) -> None:
    windows = decoding._windows(paths)
    assert decoding._ENCODE_ROWS % windows == 0
    assert windows * paths <= decoding._DECODE_ROWS or windows == 1
    assert windows == decoding._ENCODE_ROWS or 2 * windows * paths > decoding._DECODE_ROWS


@pytest.mark.parametrize("size", [1, 128, 129])
def test_chunks_cover_the_batch_once(size: int) -> None:
    config = config_of()
    model, batch = machine(config), random_batch(config, tuple(1 + i % 3 for i in range(size)))
    chunks = list(decoding._chunks(model, batch, 16))
    assert all(chunk.memory.size == len(chunk.logits) == 16 for chunk in chunks)
    assert sorted(torch.cat([chunk.sources for chunk in chunks]).tolist()) == list(range(size))


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
        _Rules.of(machine(config_of()), *values.values())


def test_rules_forbid_eos_before_its_time() -> None:
    rules = _Rules(steps=3, min_length=2, forbid=frozenset({4}))
    for step, forbidden in ((0, [EOS, 4]), (1, [EOS, 4]), (2, [4])):
        log_probs = rules.log_probs(torch.zeros(2, 7), step)
        assert log_probs.isinf().nonzero()[:, 1].unique().tolist() == forbidden


def test_sequences_end_before_eos() -> None:
    samples = Samples(
        torch.tensor([[[5, EOS, 0], [5, 6, 7]]]), torch.zeros(1, 2, 3), torch.tensor([[1, 3]])
    )
    assert samples.sequences() == [[[5], [5, 6, 7]]]


def enumerate_answers(
    model: Seq2Seq, batch: Batch, steps: int, min_length: int, penalty: float
) -> list[tuple[float, tuple[int, ...]]]:
    """Every answer of at most `steps` ids, best first: those that end, and those cut off."""
    size, found = model.config.vocab_size, []
    others = [token for token in range(size) if token != EOS]
    answers = [
        (*ids, EOS) for length in range(min_length, steps) for ids in product(others, repeat=length)
    ]
    answers += list(product(others, repeat=steps))
    with torch.no_grad():
        memory = model.encode(batch)
        for answer in answers:
            state, given, score = memory.state, torch.tensor([EOS]), 0.0
            for t, token in enumerate(answer):
                logits, state = model.decode_step(given, state, memory)
                if t < min_length:
                    logits[:, EOS] = -torch.inf
                score += float(torch.log_softmax(logits, dim=1)[0, token])
                given = torch.tensor([token])
            found.append((score / len(answer) ** penalty, answer))
    return sorted(found, reverse=True)


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from(["none", "bahdanau", "luong"]),
    st.sampled_from([0.0, 0.6, 1.0]),
    st.integers(0, 2),
)
def test_a_wide_beam_is_exhaustive(
    seed: int, attention: str, penalty: float, min_length: int
) -> None:
    config = config_of(vocab_size=4, attention=attention)
    model, batch = machine(config, seed=seed), random_batch(config, (3,), seed=seed)
    expected = enumerate_answers(model, batch, 3, min_length, penalty)
    width = len(expected)
    found = beam(
        model,
        batch,
        width=width,
        n_best=width,
        max_length=3,
        length_penalty=penalty,
        min_length=min_length,
    )
    assert found.scores is not None
    answers = [
        (*ids[:length], EOS) if length < 3 else tuple(ids)
        for ids, length in zip(found.ids[0].tolist(), found.lengths[0].tolist(), strict=True)
    ]
    scores = {ids: score for score, ids in expected}
    assert set(answers) == set(scores)
    assert found.scores[0].tolist() == pytest.approx([scores[ids] for ids in answers], abs=1e-4)
    assert found.scores[0].tolist() == sorted(found.scores[0].tolist(), reverse=True)
    torch.testing.assert_close(
        found.log_probs.sum(dim=-1)[0],
        found.scores[0] * torch.tensor([len(ids) for ids in answers]) ** penalty,
        rtol=1e-4,
        atol=1e-4,
    )


def test_wider_is_never_worse_here_and_mates_change_nothing() -> None:
    config = config_of(bidirectional=True, attention="bahdanau", hidden_size=8)
    model, batch = machine(config), random_batch(config, (4, 1, 6, 3, 2))
    narrow = beam(model, batch, width=1, length=4)
    wide = beam(model, batch, width=50, length=4, n_best=3)
    assert narrow.scores is not None
    assert wide.scores is not None
    assert (wide.scores[:, 0] >= narrow.scores[:, 0] - 1e-6).all()
    for row in range(5):
        alone = beam(model, batch.rows(torch.tensor([row])), width=50, length=4, n_best=3)
        assert alone.scores is not None
        assert torch.equal(alone.ids[0], wide.ids[row])
        assert torch.equal(alone.scores[0], wide.scores[row])


def test_fewer_answers_than_places_leave_the_rest_impossible() -> None:
    config = config_of(vocab_size=3)
    model, batch = machine(config), random_batch(config)
    found = beam(model, batch, width=6, n_best=6, length=1)
    assert found.scores is not None
    assert found.scores.isfinite().sum(dim=1).tolist() == [2] * 4


@pytest.mark.parametrize(
    "asked", [{"width": 0}, {"width": 2, "n_best": 3}, {"width": 2, "length_penalty": -1.0}]
)
def test_bad_beams_are_refused(asked: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        beam(machine(config_of()), random_batch(config_of()), max_length=3, **asked)
