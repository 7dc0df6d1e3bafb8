"""The random state of training: set anew at every step, and given back to the caller afterwards.

Owns how a seed and a step become a random state. Does not draw.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_step(seed: int, step: int, device: torch.device) -> None:
    """Set the random state of a step, a function of (seed, step), on the CPU and on `device`."""
    mixed = _mix(seed, step)
    if device.type == "cpu":
        torch.default_generator.manual_seed(mixed)  # seeding every device takes 70 times as long
    else:
        torch.manual_seed(mixed)


@contextmanager
def borrowed_random_state(device: torch.device) -> Iterator[None]:
    """Give the random state of the CPU and of `device` back as it was."""
    if device.type == "cpu":
        with torch.random.fork_rng(devices=[]):
            yield
    else:
        with torch.random.fork_rng(devices=[device.index or 0], device_type=device.type):
            yield


def _mix(seed: int, step: int) -> int:
    """Well-mixed seed of one step (the finaliser of SplitMix64 over seed and step)."""
    mask = (1 << 64) - 1
    z = (seed * 0x9E3779B97F4A7C15 + step + 0x632BE59BD9B4E019) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) & 0x7FFFFFFFFFFFFFFF
