"""Beam search: the most probable answers, as far as a beam of some width can see.

Owns the beam. An answer that has ended keeps its place in the beam and competes with those that go
on; width 1 is therefore greedy decoding, and a beam as wide as there are answers finds the best.
"""

import torch
from torch import Tensor

from quantseq.errors import ConfigError
from quantseq.seq2seq.answers import Block, Rules, Samples, answering, blocks, parts
from quantseq.seq2seq.answers import windows_per_chunk as windows_per_part
from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.network.memory import Memory, State
from quantseq.seq2seq.tokens import EOS, PAD, Batch


def beam(
    model: Seq2Seq,
    batch: Batch,
    *,
    width: int,
    max_length: int | None = None,
    length: int | None = None,
    n_best: int = 1,
    length_penalty: float = 0.0,
    min_length: int = 0,
    forbid: tuple[int, ...] = (),
) -> Samples:
    """Search the most probable answers.

    Parameters
    ----------
    model : Seq2Seq
        In any mode.
    batch : Batch
        B sources; targets are not looked at.
    width : int
        Answers kept at every step.
    max_length, length, min_length, forbid
        As in `decoding.sample`.
    n_best : int
        Answers given back, at most `width`.
    length_penalty : float
        Answers are ranked by log-probability over (number of ids, EOS included) to this power. 0
        ranks by log-probability, 1 by its mean per id.

    Returns
    -------
    Samples
        N = `n_best` answers per source, best first, with `scores`. If fewer different answers exist,
        the score of the rest is minus infinity.

    Raises
    ------
    ConfigError
        If a parameter is outside its rule.
    """
    rules = Rules.of(
        model, length=length, max_length=max_length, min_length=min_length, forbid=forbid
    )
    if not 1 <= n_best <= width:
        raise ConfigError(f"beam needs 1 <= n_best <= width. Got n_best={n_best}, width={width}.")
    if length_penalty < 0.0:
        raise ConfigError(
            f"The 'length_penalty' parameter of beam must be at least 0. Got {length_penalty}."
        )
    shape, device = (batch.size, n_best), model.device
    out = Samples(
        ids=torch.full((*shape, rules.steps), PAD, dtype=torch.int64, device=device),
        log_probs=torch.zeros((*shape, rules.steps), device=device),
        lengths=torch.zeros(shape, dtype=torch.int64, device=device),
        scores=torch.zeros(shape, device=device),
    )
    windows = windows_per_part(width)
    with answering(model):
        for block in blocks(model, batch):
            start = block.first_ids()
            logits, state = model.decode_step(start, block.memory.state, block.memory)
            for first, last in parts(block, windows):
                index = torch.arange(first, last, device=device)
                found = _search(
                    model,
                    rules,
                    block.memory.rows(first, last),
                    logits[index],
                    state.rows(index),
                    width,
                    length_penalty,
                )
                _write(found, out, block, first, n_best)
    return out


def _write(found: Samples, out: Samples, block: Block, first: int, n_best: int) -> None:
    start = block.start + first
    own = slice(start, min(start + found.ids.shape[0], block.stop))
    kept = own.stop - own.start
    assert found.scores is not None
    assert out.scores is not None
    out.ids[own] = found.ids[:kept, :n_best]
    out.log_probs[own] = found.log_probs[:kept, :n_best]
    out.lengths[own] = found.lengths[:kept, :n_best]
    out.scores[own] = found.scores[:kept, :n_best]


def _search(
    model: Seq2Seq,
    rules: Rules,
    memory: Memory,
    logits: Tensor,
    state: State,
    width: int,
    length_penalty: float,
) -> Samples:
    """Search W sources, W × width rows, from the first step's logits (W, V)."""
    windows, size = memory.size, model.config.vocab_size
    log_probs = logits.new_zeros(windows, width, rules.steps)
    ids = torch.full_like(log_probs, PAD, dtype=torch.int64)
    scores = logits.new_full((windows, width), -torch.inf)
    scores[:, 0] = 0.0  # one empty answer; the other places are taken at the first step
    finished = torch.zeros_like(scores, dtype=torch.bool)
    lengths = torch.full_like(scores, rules.steps, dtype=torch.int64)
    only_pad = logits.new_full((size,), -torch.inf)
    only_pad[PAD] = 0.0
    logits, state = logits.repeat_interleave(width, dim=0), state.repeat(width)
    memory = model.decoder.prepare(memory, windows * width)
    offsets = torch.arange(windows, device=logits.device).unsqueeze(1) * width
    for step in range(rules.steps):
        if step:
            logits, state = model.decode_step(ids[:, :, step - 1].reshape(-1), state, memory)
        steps = torch.log_softmax(rules.apply(logits, step), dim=-1).view(windows, width, size)
        steps = torch.where(finished.unsqueeze(-1), only_pad, steps)
        candidates = (scores.unsqueeze(-1) + steps).view(windows, width * size)
        ranked, order = candidates.sort(dim=1, descending=True, stable=True)
        scores, best = ranked[:, :width], order[:, :width]
        parent, chosen = best // size, best % size
        ids, log_probs = _follow(ids, parent), _follow(log_probs, parent)
        finished, lengths = finished.gather(1, parent), lengths.gather(1, parent)
        ids[:, :, step] = chosen
        log_probs[:, :, step] = steps.view(windows, -1).gather(1, best)
        ended = (chosen == EOS) & ~finished
        lengths = lengths.masked_fill(ended, step)
        finished = finished | ended
        state = state.rows((parent + offsets).view(-1))
        if bool((finished | scores.isinf()).all()):
            break
    emitted = (lengths + finished.to(torch.int64)).clamp(min=1)
    ranking = scores / emitted.to(torch.float32) ** length_penalty
    ranking, order = ranking.sort(dim=1, descending=True, stable=True)
    return Samples(
        ids=_follow(ids, order),
        log_probs=_follow(log_probs, order),
        lengths=lengths.gather(1, order),
        scores=ranking,
    )


def _follow(values: Tensor, parent: Tensor) -> Tensor:
    """Reorder the places of a beam: values (W, K, T), parent (W, K)."""
    return values.gather(1, parent.unsqueeze(-1).expand_as(values))
