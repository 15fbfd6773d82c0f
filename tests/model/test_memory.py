"""What a network costs, and which failures are failures of memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vsr.errors import Interrupted
from vsr.model.memory import UNKNOWN_COST, is_out_of_memory, keep_freed_memory, measure_cost

CPU = torch.device("cpu")


def test_cost_of_a_convolution_is_counted() -> None:
    module = nn.Conv2d(3, 8, 3, padding=1)
    cost = measure_cost(module, CPU)
    assert cost.operator_flop_per_pixel == 2 * 9 * 3 * 8
    assert cost.bytes_per_pixel == 4 * (3 + 8)
    assert not module._forward_hooks


class Failing(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, frames_BCHW: torch.Tensor) -> torch.Tensor:
        raise self.error


def test_a_network_that_cannot_be_tried_is_taken_for_a_heavy_one() -> None:
    module = Failing(RuntimeError("too small"))
    assert measure_cost(module, CPU) == UNKNOWN_COST
    assert not module._forward_hooks


def test_trying_can_be_interrupted() -> None:
    with pytest.raises(Interrupted):
        measure_cost(Failing(Interrupted("stopped")), CPU)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("could not create a memory object"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_which_failures_are_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_c_library_without_mallopt_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def refuse(name: object) -> object:
        calls.append(name)
        raise OSError("no C library")

    monkeypatch.setattr("ctypes.CDLL", refuse)
    keep_freed_memory.__wrapped__()
    assert calls == [None]
