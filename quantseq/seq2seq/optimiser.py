"""Adam over one flat vector: all weights of a model, moved by a handful of operations.

Owns the flat views, clipping and the optimiser's state. Does not know losses or schedules.

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


class FlatOptimiser:
    """Adam or AdamW over a flattened model. Use as a context: weights are unflattened at the end.

    Parameters
    ----------
    model : nn.Module
        Its parameters become views of `weights` until the context ends.
    kind : 'adam' | 'adamw'
        Whether weight decay enters the gradient or the weights.
    learning_rate, weight_decay : float
        As usual; biases are not decayed.
    """

    def __init__(
        self, model: nn.Module, kind: Optimiser, *, learning_rate: float, weight_decay: float
    ) -> None:
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
        groups = []
        for first, last, decay in ((0, border, weight_decay), (border, total, 0.0)):
            part = nn.Parameter(self.weights[first:last])
            part.grad = self.gradient[first:last]
            groups.append({"params": [part], "weight_decay": decay})
        maker = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
        self.optimiser = maker(groups, lr=learning_rate, fused=True)

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
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.step()

    def state(self) -> dict[str, Tensor]:
        """Weights and moments by name, for `load`."""
        tensors = {"weights": self.weights}
        for index, group in enumerate(self.optimiser.param_groups):
            for name, value in self.optimiser.state[group["params"][0]].items():
                tensors[f"{name}.{index}"] = value
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self.weights.copy_(tensors["weights"])
        for index, group in enumerate(self.optimiser.param_groups):
            moments = {
                name.removesuffix(f".{index}"): value.to(self.weights.device, copy=True)
                for name, value in tensors.items()
                if name.endswith(f".{index}")
            }
            if moments:
                self.optimiser.state[group["params"][0]] = moments


def _decays(name: str) -> bool:
    return "bias" not in name and "score" not in name
