"""The contract of every architecture."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

from quantseq.errors import ConfigError
from quantseq.seq2seq.model import Seq2Seq, Seq2SeqConfig
from quantseq.seq2seq.tokens import EOS, PAD, Batch
from quantseq.seq2seq.training import sequence_loss
from tests.seq2seq.conftest import (
    EVERY_CONFIG,
    config_of,
    elsewhere,
    machine,
    name_of,
    random_batch,
)

every_config = pytest.mark.parametrize("config", EVERY_CONFIG, ids=name_of)


def close(mine: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-6)


def valid(logits: Tensor, batch: Batch) -> Tensor:
    """Logits of steps that belong to a target, padding's set to zero."""
    steps = torch.arange(logits.shape[0]).unsqueeze(1) < batch.target_lengths
    return torch.where(steps.unsqueeze(-1), logits, torch.zeros(()))


@every_config
def test_shapes(config: Seq2SeqConfig) -> None:
    model, batch = machine(config), random_batch(config)
    (steps, size), (answered, _) = batch.source.shape, batch.target_in.shape
    memory = model.encode(batch)
    step, state = model.decode_step(batch.target_in[0], memory.state, memory)
    assert memory.values.shape == (
        size,
        steps,
        model.encoder.size if config.attention != "luong" else config.state_size,
    )
    assert model(batch).shape == (answered, size, config.vocab_size)
    assert step.shape == (size, config.vocab_size)
    assert state.hidden.shape == (config.layers, size, config.state_size)
    assert (state.cell is None) == (config.cell == "gru")


def test_shapes_in_signatures_are_checked_in_this_suite() -> None:
    model, batch = machine(config_of()), random_batch(config_of())
    memory = model.encode(batch)
    with pytest.raises(TypeCheckError, match="ids"):
        model.decode_step(batch.target_in, memory.state, memory)
    with pytest.raises(TypeCheckError, match="logits"):
        sequence_loss(memory.values[0], batch)
    with pytest.raises(TypeCheckError, match="blocked"):
        replace(memory, blocked=batch.source)


@every_config
def test_every_parameter_gets_gradient(config: Seq2SeqConfig) -> None:
    model, batch = machine(config), random_batch(config, (4, 1, 6, 3, 5, 2, 6, 6))
    sequence_loss(model(batch), batch).backward()  # type: ignore[no-untyped-call]
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    ]
    assert not without


def step_by_step(model: Seq2Seq, batch: Batch) -> Tensor:
    memory = model.encode(batch)
    state, rows = memory.state, []
    for given in batch.target_in:
        logits, state = model.decode_step(given, state, memory)
        rows.append(logits)
    return torch.stack(rows)


@every_config
def test_step_by_step_is_teacher_forced(config: Seq2SeqConfig) -> None:
    model, batch = machine(config), random_batch(config)
    close(step_by_step(model, batch), model(batch))


@every_config
def test_batch_mates_change_nothing(config: Seq2SeqConfig) -> None:
    model, batch = machine(config), random_batch(config)
    together = model(batch)
    for row in range(batch.size):
        close(model(batch.rows(torch.tensor([row])))[:, 0], together[:, row])


def pad_more(batch: Batch, steps: int, garbage: int) -> Batch:
    """More steps after the end of every sequence, filled with ids that must not matter."""
    size = batch.size
    source = torch.cat((batch.source, torch.full((steps, size), garbage)))
    beyond = torch.arange(source.shape[0]).unsqueeze(1) >= batch.source_lengths
    channels = batch.channels
    if channels is not None:
        channels = torch.cat((channels, torch.ones(steps, size, channels.shape[-1])))
    return replace(
        batch,
        source=source.masked_fill(beyond, garbage),
        channels=channels,
        target_in=torch.cat((batch.target_in, torch.full((steps, size), garbage))),
        target_out=torch.cat((batch.target_out, torch.full((steps, size), PAD))),
    )


@every_config
def test_padding_changes_nothing(config: Seq2SeqConfig) -> None:
    model, batch = machine(config), random_batch(config)
    padded = pad_more(batch, 3, garbage=5)
    steps = batch.target_in.shape[0]
    close(valid(model(padded)[:steps], batch), valid(model(batch), batch))
    close(sequence_loss(model(padded), padded), sequence_loss(model(batch), batch))


@every_config
def test_train_mode_without_dropout_is_eval_mode(config: Seq2SeqConfig) -> None:
    model, batch = machine(config), random_batch(config)
    evaluated = model.eval()(batch)
    close(model.train()(batch), evaluated)


@every_config
def test_it_computes_where_its_weights_are(config: Seq2SeqConfig) -> None:
    config = replace(config, dropout=0.3)
    model, batch = machine(config), random_batch(config)
    teacher = torch.zeros(batch.target_in.shape[0], dtype=torch.bool)
    expected, free = model(batch), model(batch, teacher=teacher)
    with elsewhere():
        assert torch.equal(model(batch), expected)
        assert torch.equal(model(batch, teacher=teacher), free)
        assert torch.equal(step_by_step(model, batch)[0], step_by_step(model, batch)[0])
        loss = sequence_loss(model.train()(batch), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if config.attention != "none":
            model.alignment(batch)
        fresh = Seq2Seq(config)
    assert model.device == loss.device == fresh.device == torch.device("cpu")


@every_config
def test_rows_may_share_a_source(config: Seq2SeqConfig) -> None:
    model, batch = machine(config), random_batch(config)
    memory, ids = model.encode(batch), torch.arange(2, 2 + 3 * batch.size) % 5 + 2
    logits, _ = model.decode_step(ids, memory.state.repeat(3), memory)
    for path in range(3):
        alone, _ = model.decode_step(ids[path::3], memory.state, memory)
        close(logits[path::3], alone)


def test_dropout_acts_in_training_only() -> None:
    config = config_of(dropout=0.5, bidirectional=True, attention="bahdanau", layers=2)
    model, batch = machine(config), random_batch(config)
    assert torch.equal(model(batch), model(batch))
    model.train()
    assert not torch.equal(model(batch), model(batch))


def test_dropout_keeps_the_expectation_of_inputs() -> None:
    config = config_of(dropout=0.4)
    model, batch = machine(config).train(), random_batch(config)
    with torch.no_grad():
        mean = torch.stack([model(batch) for _ in range(400)]).mean(dim=0)
    assert (mean - model.eval()(batch)).abs().mean() < 0.1


@pytest.mark.parametrize("attention", ["none", "bahdanau"])
def test_ids_never_emitted_have_no_probability(attention: str) -> None:
    config = config_of(never_emit=(PAD, EOS), zero_projection=True, attention=attention)
    model, batch = Seq2Seq(config), random_batch(config)
    probabilities = torch.softmax(model(batch), dim=-1)
    assert (probabilities[..., :2] == 0).all()
    assert torch.equal(probabilities[..., 2:], torch.full_like(probabilities[..., 2:], 0.2))


def test_through_padding_reads_padding() -> None:
    config = config_of(through_padding=True)
    model, batch = machine(config), random_batch(config)
    padded = pad_more(batch, 3, garbage=PAD)
    steps = batch.target_in.shape[0]
    assert not torch.allclose(model(padded)[:steps], model(batch))


def test_a_reversed_source_is_a_source_reversed_by_hand() -> None:
    plain, turned = config_of(), config_of(reverse_source=True)
    batch = random_batch(plain)
    by_hand = batch.source.clone()
    for row, length in enumerate(batch.source_lengths.tolist()):
        by_hand[:length, row] = batch.source[:length, row].flip(0)
    expected = machine(plain)(replace(batch, source=by_hand))
    assert torch.equal(machine(turned)(batch), expected)


def test_the_teacher_may_be_silent() -> None:
    config = config_of(bidirectional=True, attention="bahdanau")
    model, batch = machine(config), random_batch(config)
    steps = batch.target_in.shape[0]
    free = model(batch, teacher=torch.zeros(steps, dtype=torch.bool))
    own = torch.cat((batch.target_in[:1], free.argmax(dim=-1)[:-1]))
    close(free, model(replace(batch, target_in=own)))
    forced = model(batch, teacher=torch.ones(steps, batch.size, dtype=torch.bool))
    close(forced, model(batch))


def test_alignment_sums_to_one_over_the_source() -> None:
    config = config_of(attention="luong")
    batch = random_batch(config)
    weights = machine(config).alignment(batch)
    assert weights.shape == (batch.target_in.shape[0], batch.size, batch.source.shape[0])
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:2]))
    assert (weights[:, 1, 1:] == 0).all()
    dropped = machine(config_of(attention="luong", dropout=0.5)).train()
    assert torch.equal(dropped.alignment(batch), dropped.alignment(batch))
    assert dropped.training
    with pytest.raises(ConfigError, match="attention"):
        machine(config_of()).alignment(batch)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_outside_its_range_is_refused(seed: int) -> None:
    with pytest.raises(ConfigError, match="'seed'"):
        Seq2Seq(config_of(), seed=seed)


def test_weights_are_a_function_of_architecture_and_seed() -> None:
    before = torch.get_rng_state()
    config = config_of(bidirectional=True, attention="bahdanau")
    one, same, other = Seq2Seq(config), Seq2Seq(config), Seq2Seq(config, seed=1)
    pairs = zip(one.parameters(), same.parameters(), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)
    assert not torch.equal(one.encoder.embedding.weight, other.encoder.embedding.weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_missing_numbers_and_bad_lengths_are_refused() -> None:
    config = config_of(channels=1)
    batch = random_batch(config)
    with pytest.raises(ConfigError, match="channels"):
        machine(config).encode(replace(batch, channels=None))
    with pytest.raises(ConfigError, match="condition"):
        machine(config_of(condition_size=1)).encode(random_batch(config_of()))
    with pytest.raises(ConfigError, match="lengths"):
        machine(config).encode(replace(batch, source_lengths=batch.source_lengths * 0))


@pytest.mark.parametrize("name", ["source", "target_in"])
@pytest.mark.parametrize("bad", [-1, 7])
@pytest.mark.parametrize("attention", ["none", "bahdanau"])
def test_ids_outside_the_vocabulary_are_named(name: str, bad: int, attention: str) -> None:
    config = config_of(bidirectional=True, attention=attention)
    batch = random_batch(config)
    ids = getattr(batch, name).clone()
    ids.view(-1)[0] = bad
    with pytest.raises(ConfigError, match=rf"Batch.{name}.*got.*{bad}"):
        machine(config)(replace(batch, **{name: ids}))


def test_the_smoke_batch_of_the_tutorial() -> None:
    source = torch.tensor([[6, 3, 9], [0, 4, 8], [0, 0, 7]])
    fed = torch.tensor([[EOS] * 3, [PAD] * 3, [PAD] * 3, [PAD] * 3])
    batch = Batch(source, torch.tensor([1, 2, 3]), fed, fed, torch.tensor([4, 4, 4]))
    assert Seq2Seq(config_of(vocab_size=10))(batch).shape == (4, 3, 10)


def test_a_slice_of_memory_answers_like_the_whole() -> None:
    config = config_of(bidirectional=True, attention="luong", condition_size=3)
    model, batch = machine(config), random_batch(config)
    memory = model.encode(batch)
    part = memory.rows(slice(1, 3))
    whole, _ = model.decode_step(batch.target_in[0], memory.state, memory)
    sliced, _ = model.decode_step(batch.target_in[0, 1:3], part.state, part)
    close(sliced, whole[1:3])


@every_config
def test_a_config_survives_json(config: Seq2SeqConfig) -> None:
    assert Seq2SeqConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 2},
        {"vocab_size": 7.0},
        {"hidden_size": 0},
        {"layers": True},
        {"decoder_hidden_size": 0},
        {"attention_size": -1},
        {"cell": "lsmt"},
        {"attention": "additive"},
        {"init": "keras"},
        {"dropout": 1.0},
        {"dropout": "0.1"},
        {"bidirectional": "yes"},
        {"through_padding": 1},
        {"channels": -1},
        {"condition_size": 2.5},
        {"never_emit": (7,)},
        {"never_emit": (0, 2, 3, 4, 5, 6)},
        {"tie_projection": True, "zero_projection": True},
    ],
    ids=str,
)
def test_bad_values_are_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=list(changes)[-1]):
        config_of(**changes)


@pytest.mark.usefixtures("unchecked")
def test_a_near_miss_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'lstm'"):
        config_of(cell="lsmt")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="colour"):
        Seq2SeqConfig.from_dict({"vocab_size": 9, "colour": "blue"})
    with pytest.raises(ConfigError, match="vocab_size"):
        Seq2SeqConfig.from_dict({"hidden_size": 9})
