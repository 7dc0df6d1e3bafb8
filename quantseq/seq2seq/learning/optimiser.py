"""Adam over one flat vector: all weights of a model, moved by a handful of operations.

Owns the flat views, clipping and the optimiser's state. Does not know losses or schedules.

The arithmetic is torch's own fused kernel, called without `torch.optim` around it: the first optimiser of
a process imports torch's compiler, a second and 75 MB that nothing here uses. The tests hold it to torch's.

A small model has two dozen weight tensors, and an optimiser that visits each spends more time between
them than on them. Here every parameter is a view of one vector, first those that weight decay pulls,
then the rest (biases and the attention score, which it leaves alone).
"""

from types import TracebackType
from typing import Literal

import torch
from torch import Tensor, nn

Optimiser = Literal["adam", "adamw"]
OPTIMISERS: tuple[Optimiser, ...] = ("adam", "adamw")


_STATE = ("step", "exp_avg", "exp_avg_sq")
"""What a group carries from step to step, by torch's names."""


class _Group:
    """Weights that decay alike, with their gradient and moments."""

    def __init__(self, weights: Tensor, gradient: Tensor, decay: float) -> None:
        self.weights, self.gradient, self.decay = weights, gradient, decay
        self.exp_avg, self.exp_avg_sq = torch.zeros_like(weights), torch.zeros_like(weights)
        self.step = torch.zeros((), dtype=torch.float32, device=weights.device)


class FlatOptimiser:
    """Adam or AdamW over a flattened model. Use as a context: weights are unflattened at the end.

    Parameters
    ----------
    model : nn.Module
        Its parameters become views of `weights` until the context ends.
    kind : 'adam' | 'adamw'
        Whether weight decay enters the gradient or the weights.
    weight_decay : float
        As usual; biases are not decayed.
    """

    def __init__(self, model: nn.Module, kind: Optimiser, *, weight_decay: float) -> None:
        named = list(model.named_parameters())
        decayed = [value for name, value in named if _decays(name)]
        others = [value for name, value in named if not _decays(name)]
        self.parameters = [*decayed, *others]
        total = sum(value.numel() for value in self.parameters)
        border = sum(value.numel() for value in decayed)
        self.weights = torch.cat([value.detach().reshape(-1) for value in self.parameters])
        self.gradient = torch.zeros_like(self.weights)
        start = 0
        for value in self.parameters:
            stop = start + value.numel()
            value.data = self.weights[start:stop].view_as(value)
            value.grad = self.gradient[start:stop].view_as(value)
            start = stop
        self._kernel = torch._fused_adam_ if kind == "adam" else torch._fused_adamw_
        self._groups = [
            _Group(self.weights[first:last], self.gradient[first:last], decay)
            for first, last, decay in ((0, border, weight_decay), (border, total, 0.0))
        ]

    def __enter__(self) -> "FlatOptimiser":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for value in self.parameters:
            value.data = value.data.clone()
            value.grad = None

    def clear(self) -> None:
        """Forget the gradient."""
        self.gradient.zero_()

    def step(self, *, learning_rate: float, clip_norm: float | None) -> None:
        """Move the weights along the gradient, first shortened to `clip_norm` if it is longer."""
        if clip_norm is not None:
            norm = torch.linalg.vector_norm(self.gradient)
            self.gradient.mul_((clip_norm / (norm + 1e-6)).clamp(max=1.0))
        for group in self._groups:
            group.step += 1
            self._kernel(
                [group.weights],
                [group.gradient],
                [group.exp_avg],
                [group.exp_avg_sq],
                [],
                [group.step],
                amsgrad=False,
                lr=learning_rate,
                beta1=0.9,
                beta2=0.999,
                weight_decay=group.decay,
                eps=1e-8,
                maximize=False,
            )

    def state(self) -> dict[str, Tensor]:
        """Weights and moments by name, for `load`."""
        tensors = {"weights": self.weights}
        for index, group in enumerate(self._groups):
            tensors |= {f"{name}.{index}": getattr(group, name) for name in _STATE}
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self.weights.copy_(tensors["weights"])
        for index, group in enumerate(self._groups):
            for name in _STATE:
                getattr(group, name).copy_(tensors[f"{name}.{index}"])


def _decays(name: str) -> bool:
    return "bias" not in name and "score" not in name
