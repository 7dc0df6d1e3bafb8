"""What training minimises: cross-entropy per target token, in nats.

Owns the loss and its soft targets. Does not know models or optimisers.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from quantseq.seq2seq.tokens import FIRST_ID, Batch

IGNORED = -100
"""Stands for a target that does not count."""


def soft_targets(
    vocab_size: int,
    never_emit: tuple[int, ...] = (),
    *,
    label_smoothing: float = 0.0,
    ordinal_width: float = 0.0,
    first_ordinal: int = FIRST_ID,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "V V"] | None:
    """Distribution to learn for every target id.

    Parameters
    ----------
    vocab_size : int
        Ids.
    never_emit : tuple of int
        Ids that get no mass.
    label_smoothing : float
        Share of the mass spread evenly over all ids that may be emitted.
    ordinal_width : float
        Standard deviation, in ids, of a Gaussian around the target: neighbours of an ordered
        vocabulary share its mass. Ids below `first_ordinal` are not ordered and keep theirs.
    first_ordinal : int
        First id of the ordered part.
    device : torch.device or str
        Where the targets will be.

    Returns
    -------
    (V, V) float or None
        Row i is what to learn where the target is i; None if every row is one-hot. The row of an id
        never emitted keeps its mass, so that such a target gives an infinite loss.
    """
    if label_smoothing == 0.0 and ordinal_width == 0.0:
        return None
    ids = torch.arange(vocab_size, dtype=torch.float64, device="cpu")
    allowed = torch.ones_like(ids)
    allowed[list(never_emit)] = 0.0
    soft = torch.diag(torch.ones_like(ids))
    if ordinal_width > 0.0:
        near = torch.exp(-0.5 * ((ids.unsqueeze(1) - ids) / ordinal_width) ** 2)
        ordered = (ids >= first_ordinal) & (allowed > 0.0)
        near = near[ordered] * ordered
        soft[ordered] = near / near.sum(dim=1, keepdim=True)
    soft = (1.0 - label_smoothing) * soft + label_smoothing * allowed / allowed.sum()
    return soft.to(device, torch.float32)


def sequence_loss(
    logits: Float[Tensor, "T B V"],
    batch: Batch,
    *,
    masked: bool = True,
    soft: Float[Tensor, "V V"] | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy per target token.

    Parameters
    ----------
    logits : (T, B, V) float
        Scores; minus infinity for ids never emitted.
    batch : Batch
        Targets and their lengths.
    masked : bool
        Whether padding is left out of the mean. The original tutorial kept it in.
    soft : (V, V) float, optional
        Rows of `soft_targets`. By default one-hot.

    Returns
    -------
    () float
        Nats per token.
    """
    target = batch.target_out
    over = None
    if masked:
        steps = torch.arange(target.shape[0], device=target.device).unsqueeze(1)
        over = steps >= batch.target_lengths
    if soft is None:
        if over is not None:
            target = target.masked_fill(over, IGNORED)
        # ids first, which is how a decoder lays its logits out
        by_id = logits.flatten(0, 1).t().unsqueeze(0)
        return F.cross_entropy(by_id, target.view(1, -1), ignore_index=IGNORED)
    mass = soft[target]
    log_probs = torch.log_softmax(logits, dim=-1)
    losses = -torch.where(mass > 0.0, mass * log_probs, 0.0).sum(dim=-1)
    if over is None:
        return losses.mean()
    return losses.masked_fill(over, 0.0).sum() / batch.target_lengths.sum()
