"""How many threads torch uses, and what becomes of the memory it frees: decided here and nowhere else.

Owns both settings of the process. Does not start threads or processes.
"""

import ctypes

import torch


def set_threads(count: int = 1) -> None:
    """Let torch use `count` threads in this process; the one place where that is decided.

    One is the default of the house: the matrices are small, work is parallel by process, and two
    threads beside a busy neighbour run many times slower than one.
    """
    torch.set_num_threads(count)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed instead of fetching it from the system at every batch.

    By default a freed megabyte goes back at once and comes again page by page, which costs more than
    the arithmetic done in it. Other C libraries are left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for option, size in ((-3, 32 << 20), (-1, 256 << 20)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
        mallopt(option, size)
