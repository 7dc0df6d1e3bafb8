"""One thread, and nothing breaks where glibc is missing."""

import ctypes

import pytest
import torch

from quantseq.seq2seq.learning.threads import set_threads


def test_threads_are_set() -> None:
    try:
        set_threads(2)
        assert torch.get_num_threads() == 2
    finally:
        set_threads(1)
    assert torch.get_num_threads() == 1


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    set_threads(1)
    assert torch.get_num_threads() == 1
