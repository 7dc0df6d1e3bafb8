"""How answers are read off a machine: greedily, by sampling, by beam search.

Owns `Samples`, the rules of what may be emitted, and the cutting of batches into chunks of a fixed
shape. Does not train, and does not know what an answer means. Everything below is made of one step,
`Seq2Seq.decode_step`: greedy decoding is sampling at temperature 0 is beam search of width 1.

Why fixed shapes: the last bits of a matrix product depend on its shape. A chunk therefore holds sources
of one length, cut to that length, and always as many, the last repeated; so a sequence's answer does
not depend on its batch mates, on their number, their order or their padding. That holds to the bit if
all sizes of the architecture are multiples of 4 and torch runs on one thread; for other sizes the
linear algebra library may round a row by its place, and answers agree to rounding. (A model that runs
through padding gets its batch as it is.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from quantseq.errors import ConfigError, check_parameters
from quantseq.seq2seq.layers import Memory, State
from quantseq.seq2seq.model import Seq2Seq, evaluating
from quantseq.seq2seq.tokens import EOS, PAD, Batch

_ENCODE_ROWS = 128  # sources per encoder chunk
_DECODE_ROWS = 2048  # about this many decoder rows per chunk: they stay in the processor's cache
_LANES = 32  # row counts are multiples of this, so that vectorised arithmetic has no ragged end


@dataclass(frozen=True, eq=False)
class Samples:
    """N answers for each of B sources.

    Probabilities are the model's own among the ids that may be emitted, untempered and untruncated.
    Marginals average the step probabilities over the N answers: exact at step 1, Monte Carlo after it;
    an answer that is over counts as certain PAD.
    """

    ids: Int[Tensor, "B N T"]  # emitted, EOS included; PAD after the end
    log_probs: Float[Tensor, "B N T"]  # of each id; 0 after the end
    lengths: Int[Tensor, "B N"]  # ids before EOS, or T if EOS never came
    marginals: Float[Tensor, "B T V"] | None = None
    scores: Float[Tensor, "B N"] | None = None  # what beam search ranked by

    def sequences(self) -> list[list[list[int]]]:
        """Answers as lists, without EOS and padding."""
        return [
            [row[:length] for row, length in zip(rows, lengths, strict=True)]
            for rows, lengths in zip(self.ids.tolist(), self.lengths.tolist(), strict=True)
        ]


def greedy(
    model: Seq2Seq,
    batch: Batch,
    *,
    max_length: int | None = None,
    length: int | None = None,
    min_length: int = 0,
    forbid: tuple[int, ...] = (),
) -> Samples:
    """Answer each source with its most probable id at every step: `sample` at temperature 0, N = 1."""
    rules: dict[str, Any] = {"length": length, "max_length": max_length, "min_length": min_length}
    return sample(model, batch, num_paths=1, temperature=0.0, forbid=forbid, **rules)


def sample(
    model: Seq2Seq,
    batch: Batch,
    *,
    num_paths: int,
    length: int | None = None,
    max_length: int | None = None,
    min_length: int = 0,
    forbid: tuple[int, ...] = (),
    uniforms: Float[Tensor, "T B N"] | None = None,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    marginals: bool = False,
) -> Samples:
    """Draw N answers per source, each id by inverse CDF from a uniform number.

    The model may be in any mode, and the batch of B sources lie anywhere; targets are not looked at.

    Parameters
    ----------
    num_paths : int
        N, answers per source.
    length, max_length : int
        Give one: exactly this many ids, EOS forbidden; or at most this many, EOS included.
    min_length, forbid : int, tuple of int
        EOS is forbidden before so many ids, the others at every step.
    uniforms : (T, B, N) float, optional
        Numbers in [0, 1) to draw with, T the most ids per answer: a caller who keys them by row gets
        the same answer for a row whatever batch it comes in. Give either this or a `generator`.
    temperature : float
        Divides the logits; 0 takes the most probable id.
    top_k, top_p : optional
        Draw among the k most probable ids only, and of these among the fewest that hold at least the
        share p of their mass.
    marginals : bool
        Whether to average step probabilities over the answers.
    """
    rules = _Rules.of(model, length, max_length, min_length, forbid)
    truncation = _Truncation(temperature, top_k, top_p)
    top_k_rule = f"None or int [1, {model.config.vocab_size}]"
    limits = {"temperature": "[0, inf)", "top_k": top_k_rule, "top_p": "None or (0, 1]"}
    check_parameters(truncation, limits, of="sample")
    check_parameters(
        SimpleNamespace(num_paths=num_paths), {"num_paths": "int [1, inf)"}, of="sample"
    )
    shape, device = (batch.size, num_paths), model.device
    given = _draws((rules.steps, *shape), temperature, uniforms, generator).to(device)
    out = _empty(shape, rules.steps, device)
    if marginals:
        sizes = (batch.size, rules.steps, model.config.vocab_size)
        out = replace(out, marginals=torch.zeros(sizes, device=device))
    windows = _windows(num_paths)
    multiple = max(1, _LANES // windows)
    rows = -(-num_paths // multiple) * multiple  # per source: windows × rows is a multiple of LANES
    with evaluating(model):
        for chunk in _chunks(model, batch, windows):
            draws = given.new_full((rules.steps, windows, rows), 0.5)
            draws[:, : len(chunk.sources), :num_paths] = given[:, chunk.sources]
            _draw(model, chunk, rules, truncation, draws, out)
    return out


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
    """Search the `n_best` most probable answers with a beam of some width, best first.

    An answer that has ended keeps its place in the beam and competes with those that go on; width 1 is
    therefore greedy decoding, and a beam as wide as there are answers finds the best. Answers are
    ranked by log-probability over (number of ids, EOS included) to the power of `length_penalty`. If
    fewer different answers exist than are asked for, the score of the rest is minus infinity. The
    other parameters are those of `sample`.
    """
    rules = _Rules.of(model, length, max_length, min_length, forbid)
    if not 1 <= n_best <= width:
        raise ConfigError(f"beam needs 1 <= n_best <= width. Got n_best={n_best}, width={width}.")
    penalty = SimpleNamespace(length_penalty=length_penalty)
    check_parameters(penalty, {"length_penalty": "[0, inf)"}, of="beam")
    shape = (batch.size, n_best)
    out = _empty(shape, rules.steps, model.device)
    out = replace(out, scores=torch.zeros(shape, device=model.device))
    with evaluating(model):
        for chunk in _chunks(model, batch, _windows(width)):
            found = _search(model, chunk, rules, width, length_penalty)
            for name, values in vars(found).items():
                if values is not None:
                    getattr(out, name)[chunk.sources] = values[: len(chunk.sources), :n_best]
    return out


@dataclass(frozen=True)
class _Rules:
    """What may be emitted when: at most `steps` ids, no EOS before `min_length`, never `forbid`."""

    steps: int
    min_length: int
    forbid: frozenset[int]
    never: frozenset[int] = frozenset()  # what the model itself never emits

    @classmethod
    def of(
        cls,
        model: Seq2Seq,
        length: int | None,
        max_length: int | None,
        min_length: int,
        forbid: Sequence[int],
    ) -> "_Rules":
        """Check what a caller asked for."""
        steps = max_length if length is None else length
        if steps is None or None not in (length, max_length):
            raise ConfigError(
                "Decoding needs exactly one of 'length' (always that many ids) and 'max_length' "
                f"(up to EOS). Got length={length!r}, max_length={max_length!r}."
            )
        if steps < 1 or not 0 <= min_length <= steps:
            raise ConfigError(
                f"Decoding needs at least 1 step and 'min_length' in [0, {steps}]. "
                f"Got {steps} steps, min_length={min_length}."
            )
        ids, never = frozenset(range(model.config.vocab_size)), frozenset(model.config.never_emit)
        if not ids.issuperset(forbid):
            raise ConfigError(f"'forbid' must hold ids below {len(ids)}. Got {tuple(forbid)}.")
        least = steps if length is not None else min_length
        rules = cls(steps, least, frozenset(forbid), never)
        if not ids - rules.forbid - never - ({EOS} if least else set()):
            raise ConfigError(
                f"Nothing is left to emit: 'forbid' is {tuple(forbid)}, the model never emits "
                f"{tuple(never)}. Leave at least one id other than EOS."
            )
        return rules

    def log_probs(self, logits: Float[Tensor, "R V"], step: int) -> Float[Tensor, "R V"]:
        """Log-probabilities of what may be emitted at `step`, counted from 0."""
        forbidden = {*self.forbid, *((EOS,) if step < self.min_length else ())} - self.never
        if forbidden:
            places = torch.tensor(sorted(forbidden), device=logits.device)
            logits = logits.index_fill(-1, places, -torch.inf)
        return torch.log_softmax(logits, dim=-1)


@dataclass(frozen=True)
class _Truncation:
    """How a distribution is bent and cut before an id is drawn from it."""

    temperature: float
    top_k: int | None
    top_p: float | None

    def choose(
        self, log_probs: Float[Tensor, "R V"], uniforms: Float[Tensor, "R N"]
    ) -> Int[Tensor, "R N"]:
        """Pick N ids per row."""
        if self.temperature == 0.0:
            return log_probs.argmax(dim=1, keepdim=True).expand(uniforms.shape)
        masses = log_probs.exp()
        if self.temperature != 1.0:
            masses = torch.softmax(log_probs / self.temperature, dim=1)
        if self.top_k is not None or self.top_p is not None:
            masses = self.truncate(masses)
        cumulative = masses.cumsum(dim=1)
        total = cumulative[:, -1:]
        # below the total even if u rounds to 1: the first id that exceeds it then has mass
        threshold = torch.minimum(uniforms * total, torch.nextafter(total, total.new_zeros(())))
        return torch.searchsorted(cumulative, threshold, right=True)

    def truncate(self, masses: Float[Tensor, "R V"]) -> Float[Tensor, "R V"]:
        """Zero what `top_k` and then `top_p` leave out; among equals the lower id stays."""
        ordered, order = masses.sort(dim=1, descending=True, stable=True)
        if self.top_k is not None:
            ordered[:, self.top_k :] = 0.0
        if self.top_p is not None:
            before = ordered.cumsum(dim=1) - ordered
            beyond = before >= self.top_p * ordered.sum(dim=1, keepdim=True)
            beyond[:, 0] = False  # the most probable id stays, though the share round to 0
            ordered = ordered.masked_fill(beyond, 0.0)
        return torch.zeros_like(masses).scatter_(1, order, ordered)


def _draws(
    shape: tuple[int, int, int],
    temperature: float,
    uniforms: Tensor | None,
    generator: torch.Generator | None,
) -> Tensor:
    """Numbers to draw with, (T, B, N) in [0, 1]."""
    if temperature == 0.0:
        return torch.zeros((), device="cpu").expand(shape)
    if (uniforms is None) == (generator is None):
        raise ConfigError("sample needs exactly one of 'uniforms' and 'generator' to draw with.")
    if uniforms is None:
        assert generator is not None
        return torch.rand(shape, generator=generator, device=generator.device)
    if uniforms.shape != shape or not bool(((uniforms >= 0.0) & (uniforms <= 1.0)).all()):
        raise ConfigError(
            "The 'uniforms' parameter of sample must hold numbers in [0, 1), in the shape (T, B, N) = "
            f"{shape}. Got {tuple(uniforms.shape)}."
        )
    return uniforms.to(torch.float32)


def _empty(shape: tuple[int, int], steps: int, device: torch.device) -> Samples:
    """Answers (B, N) that nobody has given yet."""
    return Samples(
        ids=torch.full((*shape, steps), PAD, dtype=torch.int64, device=device),
        log_probs=torch.zeros((*shape, steps), device=device),
        lengths=torch.full(shape, steps, dtype=torch.int64, device=device),
    )


@dataclass(frozen=True)
class _Chunk:
    """W sources, encoded and asked for their first id; the last ones may only fill the chunk up."""

    sources: Int[Tensor, " _"]  # positions in the batch, at most W
    memory: Memory
    logits: Float[Tensor, "W V"]
    state: State


def _windows(paths: int) -> int:
    """Sources decoded together: the power of two that keeps about `_DECODE_ROWS` rows busy."""
    wanted = max(1, _DECODE_ROWS // paths)
    return int(min(_ENCODE_ROWS, 1 << (wanted.bit_length() - 1)))


def _chunks(model: Seq2Seq, batch: Batch, windows: int) -> Iterator[_Chunk]:
    """Cut a batch, which may lie elsewhere than the model, into chunks of `windows` sources."""
    batch = batch.to(model.device)
    lengths = batch.source_lengths
    for length in [None] if model.config.through_padding else sorted(set(lengths.tolist())):
        chosen = torch.ones_like(lengths) if length is None else lengths == length
        for sources in chosen.nonzero().squeeze(1).split(_ENCODE_ROWS):
            places = torch.arange(_ENCODE_ROWS, device=lengths.device)
            part = batch.rows(sources[places.clamp(max=len(sources) - 1)])
            channels = None if part.channels is None else part.channels[:length]
            part = replace(part, source=part.source[:length], channels=channels)
            memory = model.encode(part)
            logits, state = model.decode_step(torch.full_like(places, EOS), memory.state, memory)
            for first in range(0, len(sources), windows):
                own = slice(first, first + windows)
                yield _Chunk(sources[own], memory.rows(own), logits[own], state.rows(own))


def _draw(
    model: Seq2Seq,
    chunk: _Chunk,
    rules: _Rules,
    truncation: _Truncation,
    draws: Float[Tensor, "T W Q"],
    out: Samples,
) -> None:
    """Draw all steps of a chunk, Q rows per source, and write those that are asked for to `out`."""
    _, windows, rows = draws.shape
    kept, paths = len(chunk.sources), out.ids.shape[1]

    def wanted(values: Tensor) -> Tensor:
        """(W * Q, ...) to (own sources, N, ...)."""
        return values.view(windows, rows, *values.shape[1:])[:kept, :paths]

    logits, state = chunk.logits, chunk.state
    finished = torch.zeros(windows * rows, dtype=torch.bool, device=logits.device)
    lengths = torch.full_like(finished, rules.steps, dtype=torch.int64)
    drawn: list[tuple[Tensor, Tensor]] = []
    for step, uniforms in enumerate(draws.flatten(1)):
        if step:
            logits, state = model.decode_step(drawn[-1][0], state, chunk.memory)
        else:
            state = state.repeat(rows)
        log_probs = rules.log_probs(
            logits, step
        )  # the first step is the same for all rows of a source
        if out.marginals is not None and not step:
            out.marginals[chunk.sources, 0] = log_probs.exp()[:kept]
        elif out.marginals is not None:
            masses = log_probs.exp().masked_fill(finished.unsqueeze(1), 0.0)
            masses[:, PAD] += finished
            out.marginals[chunk.sources, step] = wanted(masses).mean(dim=1)
        ids = truncation.choose(log_probs, uniforms.view(len(log_probs), -1))
        chosen = log_probs.gather(1, ids).flatten().masked_fill(finished, 0.0)
        ids = ids.flatten().masked_fill(finished, PAD)
        drawn.append((ids, chosen))
        if rules.min_length == rules.steps:
            continue  # nothing can end
        lengths = lengths.masked_fill((ids == EOS) & ~finished, step)
        finished = lengths <= step
        if bool(finished.all()):
            if out.marginals is not None:
                out.marginals[chunk.sources, step + 1 :, PAD] = 1.0
            break
    for place, parts in zip((out.ids, out.log_probs), zip(*drawn, strict=True), strict=True):
        place[chunk.sources, :, : len(parts)] = wanted(torch.stack(parts, dim=-1))
    out.lengths[chunk.sources] = wanted(lengths)


def _search(
    model: Seq2Seq, chunk: _Chunk, rules: _Rules, width: int, length_penalty: float
) -> Samples:
    """Search the W sources of a chunk, `width` answers each."""
    windows, size = chunk.logits.shape
    log_probs = chunk.logits.new_zeros(windows, width, rules.steps)
    ids = torch.full_like(log_probs, PAD, dtype=torch.int64)
    scores = chunk.logits.new_full((windows, width), -torch.inf)
    scores[:, 0] = 0.0  # one empty answer; the other places are taken at the first step
    finished = torch.zeros_like(scores, dtype=torch.bool)
    lengths = torch.full_like(scores, rules.steps, dtype=torch.int64)
    only_pad = chunk.logits.new_full((size,), -torch.inf)
    only_pad[PAD] = 0.0
    logits, state = chunk.logits.repeat_interleave(width, dim=0), chunk.state.repeat(width)
    offsets = torch.arange(windows, device=logits.device).unsqueeze(1) * width
    for step in range(rules.steps):
        if step:
            logits, state = model.decode_step(ids[:, :, step - 1].flatten(), state, chunk.memory)
        steps = rules.log_probs(logits, step).view(windows, width, size)
        steps = torch.where(finished.unsqueeze(-1), only_pad, steps)
        candidates = (scores.unsqueeze(-1) + steps).flatten(1)
        ranked, order = candidates.sort(dim=1, descending=True, stable=True)
        scores, best = ranked[:, :width], order[:, :width]
        parent, chosen = best // size, best % size
        ids, log_probs = _reorder(ids, parent), _reorder(log_probs, parent)
        finished, lengths = finished.gather(1, parent), lengths.gather(1, parent)
        ids[:, :, step] = chosen
        log_probs[:, :, step] = steps.flatten(1).gather(1, best)
        ended = (chosen == EOS) & ~finished
        lengths = lengths.masked_fill(ended, step)
        finished = finished | ended
        state = state.rows((parent + offsets).flatten())
        if bool((finished | scores.isinf()).all()):
            break
    emitted = (lengths + finished.to(torch.int64)).clamp(min=1)
    ranking = scores / emitted.to(torch.float32) ** length_penalty
    ranking, order = ranking.sort(dim=1, descending=True, stable=True)
    return Samples(
        ids=_reorder(ids, order),
        log_probs=_reorder(log_probs, order),
        lengths=lengths.gather(1, order),
        scores=ranking,
    )


def _reorder(values: Tensor, parent: Tensor) -> Tensor:
    """Reorder the places of a beam: values (W, K, T), parent (W, K)."""
    return values.gather(1, parent.unsqueeze(-1).expand_as(values))
