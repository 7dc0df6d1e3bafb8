"""How well a model answers, by the strictest reading: its own tokens, the whole answer, EOS included.

Owns exact match, token answers and edit distance. Does not know which task is being answered.
"""

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from quantseq.seq2seq.decoding import greedy
from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.tokens import EOS, PAD, Batch, Ids


@torch.no_grad()
def teacher_forced_ids(model: Seq2Seq, batch: Batch) -> Int[Tensor, "T {batch.size}"]:
    """Best id at every step, given the truth before it: (T, B)."""
    was_training = model.training
    model.eval()
    ids: Tensor = model(batch.to(model.device)).argmax(dim=-1)
    model.train(was_training)
    return ids


def free_running(model: Seq2Seq, batch: Batch) -> Bool[Tensor, " {batch.size}"]:
    """Whether greedy decoding answers all of `batch.target_out` right, EOS included: (B,) bool."""
    return right(free_running_ids(model, batch), batch)


def free_running_ids(model: Seq2Seq, batch: Batch) -> Int[Tensor, "T {batch.size}"]:
    """Greedy answers, time-major (T + 1, B): one step more than the longest right answer."""
    return greedy(model, batch, max_length=batch.target_out.shape[0] + 1).ids[:, 0].t()


def right(answers: Int[Tensor, "T {batch.size}"], batch: Batch) -> Bool[Tensor, " {batch.size}"]:
    """Whether answers (T + 1, B) are the whole of `batch.target_out` and no more: (B,) bool."""
    truth = batch.target_out.to(answers.device)
    steps = truth.shape[0]
    # after EOS both hold PAD, so that equality of all steps is equality of the answers
    return (answers[:steps] == truth).all(dim=0) & (answers[steps:] == PAD).all(dim=0)


def share_by_length(right: Bool[Tensor, " {batch.size}"], batch: Batch) -> dict[str, float]:
    """Share of right answers among the sources of each length."""
    lengths = batch.source_lengths
    return {
        str(length): float(right[lengths == length].double().mean())
        for length in sorted(set(lengths.tolist()))
    }


def edit_distances(answers: Ids, truth: Ids) -> Ids:
    """Levenshtein distances between columns, each read up to its first EOS.

    Parameters
    ----------
    answers, truth : (T, B) int
        Time-major ids.

    Returns
    -------
    (B,) int64
        Fewest insertions, deletions and replacements.
    """
    size = answers.shape[1]
    ends = [_ends(ids) for ids in (answers, truth)]
    rows, columns = int(ends[0].max()), int(ends[1].max())
    table: Ids = np.empty((rows + 1, columns + 1, size), dtype=np.int64)
    table[:, 0] = np.arange(rows + 1)[:, None]
    table[0] = np.arange(columns + 1)[:, None]
    for i in range(rows):
        for j in range(columns):
            replaced = table[i, j] + (answers[i] != truth[j])
            moved = np.minimum(table[i, j + 1], table[i + 1, j]) + 1
            table[i + 1, j + 1] = np.minimum(replaced, moved)
    return np.asarray(table[ends[0], ends[1], np.arange(size)], dtype=np.int64)


def _ends(ids: Ids) -> Ids:
    """Steps before the first EOS of each column; all of them if there is none."""
    ended = ids == EOS
    firsts = np.where(ended.any(axis=0), ended.argmax(axis=0), ids.shape[0])
    return np.asarray(firsts, dtype=np.int64)
