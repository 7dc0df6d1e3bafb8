"""What passes from the encoder to the decoder, and from one decoder step to the next.

Owns `Memory` and `State` and how their rows are picked and repeated. Does not compute anything.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
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

    hidden: tuple[Float[Tensor, "R H"], ...]
    cell: tuple[Float[Tensor, "R H"] | None, ...]

    def repeat(self, times: int) -> "State":
        """Copy each row `times` times, side by side."""
        return self._map(lambda value: value.repeat_interleave(times, dim=0))

    def rows(self, index: Int[Tensor, " _"]) -> "State":
        """Pick rows by position."""
        return self._map(lambda value: value[index])

    def _map(self, change: Callable[[Tensor], Tensor]) -> "State":
        return State(
            tuple(change(value) for value in self.hidden),
            tuple(None if value is None else change(value) for value in self.cell),
        )


@dataclass(frozen=True, eq=False)
class Prepared:
    """What many steps over the same sources need, worked out once.

    Parameters
    ----------
    table : (B * V, G) or (V, G) float
        Scaled gates of the first layer for each source and id, or for each id alone.
    offsets : (R,) int64 or None
        Where the rows of each source begin in `table`; None if it is the same for all.
    weight_context : (M, G) float or None
        From context to scaled gates; None if the context does not enter the recurrence.
    weight_hidden : (H, G) float
        From state to scaled gates.
    """

    table: Float[Tensor, "_ G"]
    offsets: Int[Tensor, " R"] | None
    weight_context: Float[Tensor, "M G"] | None
    weight_hidden: Float[Tensor, "H G"]


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
    prepared : Prepared or None
        Set while many steps are taken without gradient; see `Decoder.prepare`.
    """

    values: Float[Tensor, "B S M"]
    keys: Float[Tensor, "B S A"] | None
    blocked: Bool[Tensor, "B S"] | None
    condition: Float[Tensor, "B E"] | None
    state: State
    prepared: Prepared | None = None

    @property
    def size(self) -> int:
        """Number of sources, B."""
        return int(self.values.shape[0])

    def rows(self, start: int, stop: int) -> "Memory":
        """Sources from `start` up to `stop`."""
        index = torch.arange(start, stop, device=self.values.device)
        return Memory(
            self.values[start:stop],
            None if self.keys is None else self.keys[start:stop],
            None if self.blocked is None else self.blocked[start:stop],
            None if self.condition is None else self.condition[start:stop],
            self.state.rows(index),
        )
