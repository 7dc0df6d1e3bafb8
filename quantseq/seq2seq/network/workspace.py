"""Buffers that are borrowed for one pass and given back: the loops allocate once, not at every batch.

Owns the shelf. Does not know what is in a buffer.

Two costs vanish: fresh memory that the system hands out page by page at every batch, and the thousand
little views into it that a loop over time needs. What is borrowed belongs to one pass until its graph
is gone, so nothing that leaves a loop may point into it.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch

T = TypeVar("T")

SHELF = 12
"""Sets of buffers kept for the next pass."""

_shelf: OrderedDict[tuple[Hashable, int], object] = OrderedDict()


class Lease(Generic[T]):
    """Buffers of one pass; they go back to the shelf when nobody refers to the lease any more.

    Parameters
    ----------
    key : hashable
        Kind and shape; equal keys, interchangeable buffers.
    build : callable
        Makes buffers if none lie on the shelf.
    """

    def __init__(self, key: Hashable, build: Callable[[], T]) -> None:
        self._key = key
        for kept in reversed(_shelf):
            if kept[0] == key:
                self.buffers: T = _shelf.pop(kept)  # type: ignore[assignment]
                return
        with torch.inference_mode(mode=False):  # buffers serve training after answering
            self.buffers = build()

    def __del__(self) -> None:
        buffers = getattr(self, "buffers", None)
        if buffers is not None:
            _shelf[self._key, id(buffers)] = buffers
            while len(_shelf) > SHELF:
                _shelf.popitem(last=False)


def give_back() -> None:
    """Empty the shelf: the buffers of a training are of no use after it."""
    _shelf.clear()
