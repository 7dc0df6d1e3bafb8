"""How answers are read off a machine: greedily, by sampling, by beam search.

Owns greedy decoding and sampling; beam search lives in `search` and is named here. Does not train,
and does not know what an answer means. One rule for all: sources are encoded once, in eval and
inference mode, and a source's answers do not depend on its batch mates.

Greedy decoding is sampling at temperature 0 is beam search of width 1.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from quantseq.errors import ConfigError
from quantseq.seq2seq.answers import (
    Rules,
    answering,
    blocks,
    padded_paths,
    parts,
    windows_per_chunk,
)
from quantseq.seq2seq.answers import Samples as Samples
from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.network.memory import Memory, State
from quantseq.seq2seq.search import beam as beam
from quantseq.seq2seq.tokens import EOS, PAD, Batch


def greedy(
    model: Seq2Seq,
    batch: Batch,
    *,
    max_length: int | None = None,
    length: int | None = None,
    min_length: int = 0,
    forbid: tuple[int, ...] = (),
) -> Samples:
    """Answer each source with its most probable id at every step.

    Parameters
    ----------
    model : Seq2Seq
        In any mode.
    batch : Batch
        B sources; targets are not looked at.
    max_length, length, min_length, forbid
        As in `sample`.

    Returns
    -------
    Samples
        One answer per source, N = 1.
    """
    return sample(
        model,
        batch,
        num_paths=1,
        length=length,
        max_length=max_length,
        min_length=min_length,
        forbid=forbid,
        temperature=0.0,
    )


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

    Parameters
    ----------
    model : Seq2Seq
        In any mode.
    batch : Batch
        B sources; targets are not looked at.
    num_paths : int
        N, answers per source.
    length : int, optional
        Exactly this many ids; EOS is forbidden. Give either this or `max_length`.
    max_length : int, optional
        At most this many ids, EOS included.
    min_length : int
        EOS is forbidden before this many ids.
    forbid : tuple of int
        Ids forbidden at every step.
    uniforms : (T, B, N) float, optional
        Numbers in [0, 1) to draw with, T the most ids per answer: a caller who keys them by row gets
        the same answer for a row whatever batch it comes in. Give either this or `generator`.
    generator : torch.Generator, optional
        Where uniforms come from otherwise.
    temperature : float
        Divides the logits; 0 takes the most probable id.
    top_k : int, optional
        Draw among the k most probable ids only.
    top_p : float, optional
        Draw among the fewest most probable ids that hold at least this share of the mass left by
        temperature and `top_k`.
    marginals : bool
        Whether to average step probabilities over the answers.

    Returns
    -------
    Samples
        Ids, the model's log-probabilities, lengths and perhaps marginals.

    Raises
    ------
    ConfigError
        If a parameter is outside its rule.
    """
    rules = Rules.of(
        model, length=length, max_length=max_length, min_length=min_length, forbid=forbid
    )
    truncation = _Truncation.of(model.config.vocab_size, temperature, top_k, top_p)
    if num_paths < 1:
        raise ConfigError(
            f"The 'num_paths' parameter of sample must be an int of at least 1. Got {num_paths}."
        )
    shape, device, size = (batch.size, num_paths), model.device, model.config.vocab_size
    draws = _draws((rules.steps, *shape), temperature, uniforms, generator).to(device)
    out = Samples(
        ids=torch.full((*shape, rules.steps), PAD, dtype=torch.int64, device=device),
        log_probs=torch.zeros((*shape, rules.steps), device=device),
        lengths=torch.full(shape, rules.steps, dtype=torch.int64, device=device),
        marginals=(
            torch.zeros(batch.size, rules.steps, size, device=device) if marginals else None
        ),
    )
    windows = windows_per_chunk(num_paths)
    with answering(model):
        for block in blocks(model, batch):
            start = block.first_ids()
            logits, state = model.decode_step(start, block.memory.state, block.memory)
            for first, last in parts(block, windows):
                index = torch.arange(first, last, device=device)
                own = slice(block.start + first, min(block.start + last, block.stop))
                part = _Part(
                    model,
                    rules,
                    truncation,
                    block.memory.rows(first, last),
                    draws[:, own],
                    out,
                    own,
                )
                part.draw(logits[index], state.rows(index))
    return out


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
    if uniforms.shape != shape:
        raise ConfigError(
            f"The 'uniforms' parameter of sample must have the shape (T, B, N) = {shape}. "
            f"Got {tuple(uniforms.shape)}."
        )
    if not bool(((uniforms >= 0.0) & (uniforms <= 1.0)).all()):
        raise ConfigError("The 'uniforms' parameter of sample must hold numbers in [0, 1) only.")
    return uniforms.to(torch.float32)


class _Part:
    """W sources of a block and N' ≥ N rows for each; `draw` writes to rows `own` of `out`."""

    def __init__(
        self,
        model: Seq2Seq,
        rules: Rules,
        truncation: "_Truncation",
        memory: Memory,
        uniforms: Tensor,
        out: Samples,
        own: slice,
    ) -> None:
        self.model, self.rules, self.truncation = model, rules, truncation
        self.out, self.own = out, own
        _, self.kept, self.paths = uniforms.shape
        self.padded = padded_paths(self.paths, memory.size)
        self.memory = model.decoder.prepare(memory, memory.size * self.padded)
        self.draws = uniforms.new_full((rules.steps, memory.size, self.padded), 0.5)
        self.draws[:, : self.kept, : self.paths] = uniforms

    def draw(self, logits: Tensor, state: State) -> None:
        """Draw all steps; the first comes computed, logits (W, V), once for all paths of a source."""
        rows = self.memory.size * self.padded
        finished = torch.zeros(rows, dtype=torch.bool, device=logits.device)
        ids = finished.to(torch.int64)
        for step in range(self.rules.steps):
            if step:
                logits, state = self.model.decode_step(ids, state, self.memory)
            scores = (
                self.rules.apply(logits, step).t().contiguous()
            )  # (V, R): ids outermost is fast
            scores -= scores.amax(dim=0)
            masses = torch.exp(scores)
            total = masses.sum(dim=0)
            self._add_marginals(step, masses, total, finished)
            if step == 0:
                scores, masses = self._spread(scores), self._spread(masses)
                total, state = total.repeat_interleave(self.padded), state.repeat(self.padded)
            ids = self.truncation.choose(scores, masses, self.draws[step].view(rows))
            log_probs = scores.gather(0, ids.unsqueeze(0)).squeeze(0) - total.log()
            if step:
                ids = ids.masked_fill(finished, PAD)
                log_probs = log_probs.masked_fill(finished, 0.0)
            self.out.ids[self.own, :, step] = self._kept(ids)
            self.out.log_probs[self.own, :, step] = self._kept(log_probs)
            if self.rules.min_length == self.rules.steps:
                continue  # nothing can end
            ended = (ids == EOS) & ~finished
            lengths = self.out.lengths[self.own]
            lengths.masked_fill_(self._kept(ended), step)
            finished |= ended
            if bool(finished.all()):
                if self.out.marginals is not None:
                    self.out.marginals[self.own, step + 1 :, PAD] = 1.0
                return

    def _spread(self, values: Tensor) -> Tensor:
        return values.repeat_interleave(self.padded, dim=1)

    def _kept(self, rows: Tensor) -> Tensor:
        """Drop padding: (W * N',) to (own, N)."""
        return rows.view(-1, self.padded)[: self.kept, : self.paths]

    def _add_marginals(self, step: int, masses: Tensor, total: Tensor, finished: Tensor) -> None:
        """Write step probabilities, averaged over paths."""
        if self.out.marginals is None:
            return
        probabilities = masses / total
        if step == 0:
            self.out.marginals[self.own, 0] = probabilities.t()[: self.kept]
            return
        over = finished.to(probabilities.dtype)
        probabilities *= 1.0 - over
        probabilities[PAD] += over
        grouped = probabilities.view(masses.shape[0], -1, self.padded)
        averaged = grouped[:, : self.kept, : self.paths].mean(dim=-1)
        self.out.marginals[self.own, step] = averaged.t()


@dataclass(frozen=True)
class _Truncation:
    """How a distribution is bent and cut before an id is drawn from it."""

    temperature: float
    top_k: int | None
    top_p: float | None

    @classmethod
    def of(
        cls, vocab_size: int, temperature: float, top_k: int | None, top_p: float | None
    ) -> "_Truncation":
        """Check the parameters."""
        if not 0.0 <= temperature < math.inf:
            raise ConfigError(
                f"The 'temperature' parameter of sample must be a number of at least 0. "
                f"Got {temperature!r}."
            )
        if top_k is not None and not 1 <= top_k <= vocab_size:
            raise ConfigError(
                f"The 'top_k' parameter of sample must be an int in [1, {vocab_size}]. "
                f"Got {top_k!r}."
            )
        if top_p is not None and not 0.0 < top_p <= 1.0:
            raise ConfigError(
                f"The 'top_p' parameter of sample must be a number in (0, 1]. Got {top_p!r}."
            )
        return cls(temperature, top_k, top_p)

    def choose(
        self,
        scores: Float[Tensor, "V R"],
        masses: Float[Tensor, "V R"],
        uniforms: Float[Tensor, " R"],
    ) -> Int[Tensor, " R"]:
        """Pick an id per row: scores and their exponentials (V, R), highest score 0; to (R,)."""
        if self.temperature == 0.0:
            return scores.argmax(dim=0)
        if self.temperature != 1.0:
            masses = torch.exp(scores / self.temperature)
        if self.top_k is not None or self.top_p is not None:
            masses = self.truncate(masses)
        cumulative = masses.cumsum(dim=0)
        total = cumulative[-1]
        # Below the total even if u rounds to 1: the first id that reaches the total has mass.
        threshold = torch.minimum(uniforms * total, torch.nextafter(total, torch.zeros_like(total)))
        return (cumulative <= threshold).sum(dim=0)

    def truncate(self, masses: Float[Tensor, "V R"]) -> Float[Tensor, "V R"]:
        """Zero what `top_k` and then `top_p` leave out; among equals the lower id stays."""
        ordered, order = masses.sort(dim=0, descending=True, stable=True)
        if self.top_k is not None:
            ordered[self.top_k :] = 0.0
        if self.top_p is not None:
            before = ordered.cumsum(dim=0) - ordered
            beyond = before >= self.top_p * ordered.sum(dim=0)
            beyond[0] = False  # the most probable id stays, though the share round to 0
            ordered = ordered.masked_fill(beyond, 0.0)
        return torch.zeros_like(masses).scatter_(0, order, ordered)
