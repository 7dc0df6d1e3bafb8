"""What passes from the encoder to the decoder, and from one decoder step to the next.

Owns `Memory` and `State` and how their rows are picked and repeated. Does not compute anything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class State:
    """What the decoder remembers between two steps: one (R, H) tensor per layer.

    Parameters
    ----------
    hidden : tuple of (R, H) float
        Hidden state of each layer.
    cell : tuple of (R, H) float or None
        Cell state of each layer; None for GRU.
    """

    hidden: tuple[Tensor, ...]
    cell: tuple[Tensor | None, ...]

    def repeat(self, times: int) -> Self:
        """Copy each row `times` times, side by side."""
        return self._map(lambda value: value.repeat_interleave(times, dim=0))

    def rows(self, index: Tensor) -> Self:
        """Pick rows by position."""
        return self._map(lambda value: value[index])

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(
            tuple(change(value) for value in self.hidden),
            tuple(None if value is None else change(value) for value in self.cell),
        )


@dataclass(frozen=True, eq=False)
class Memory:
    """What the encoder leaves to the decoder.

    Parameters
    ----------
    values : (B, S, M) float
        Encoder output at each step.
    keys : (B, S, A) float or None
        `values` projected for attention; None without attention.
    blocked : (B, S) bool or None
        True at padding; None if there is none.
    condition : (B, E) float or None
        Summed embeddings of the conditioning ids.
    state : State
        First state of the decoder, B rows.
    """

    values: Tensor
    keys: Tensor | None
    blocked: Tensor | None
    condition: Tensor | None
    state: State

    @property
    def size(self) -> int:
        """Number of sources, B."""
        return int(self.values.shape[0])

    def rows(self, start: int, stop: int) -> Self:
        """Sources from `start` up to `stop`."""
        index = torch.arange(start, stop, device=self.values.device)
        return type(self)(
            self.values[start:stop],
            None if self.keys is None else self.keys[start:stop],
            None if self.blocked is None else self.blocked[start:stop],
            None if self.condition is None else self.condition[start:stop],
            self.state.rows(index),
        )
