"""What a network takes of a machine: memory and arithmetic per pixel, and how running out of memory looks."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vsr.errors import Interrupted

__all__ = ["Cost", "is_out_of_memory", "keep_freed_memory", "measure_cost"]


@dataclass(frozen=True)
class Cost:
    """What one low-resolution pixel costs."""

    bytes_per_pixel: float
    """Largest sum of a layer's input and output; what is alive at once is at most twice that in the usual networks."""
    operator_flop_per_pixel: float
    """FLOP of the heaviest convolution."""


# Of an RRDB x4 in half precision, the heaviest of the usual networks.
UNKNOWN_COST = Cost(bytes_per_pixel=8192.0, operator_flop_per_pixel=1179648.0)


def measure_cost(module: nn.Module, device: torch.device) -> Cost:
    """Run a network on a small black picture, and watch what goes in and out of its layers.

    On the device and in earnest: 0.1 s for an RRDB on two CPU cores. torch's "meta" device would cost no arithmetic but
    a second of imports.

    Args:
        module: on the device, with its parameters in the precision in question.
    """
    side = 32  # a multiple of every `multiple` and of the usual attention windows
    largest_bytes, largest_flop = 1, 1

    def watch(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal largest_bytes, largest_flop
        tensors = [tensor for tensor in (*inputs, output) if isinstance(tensor, Tensor)]
        largest_bytes = max(largest_bytes, sum(tensor.numel() * tensor.element_size() for tensor in tensors))
        if isinstance(part, nn.Conv2d) and isinstance(output, Tensor):
            largest_flop = max(largest_flop, 2 * output.numel() * part.weight[0].numel())

    hooks = [part.register_forward_hook(watch) for part in module.modules()]
    try:
        module(torch.zeros(1, 3, side, side, device=device))
    except Interrupted:
        raise
    except Exception:  # too large for memory even so, or too small for the network: the frames themselves will tell
        return UNKNOWN_COST
    finally:
        for hook in hooks:
            hook.remove()
    return Cost(largest_bytes / side**2, largest_flop / side**2)


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether a failure is one of memory: torch's CPU allocator and some GPU libraries raise a plain RuntimeError."""
    if isinstance(exc, MemoryError | torch.OutOfMemoryError):
        return True
    signs = ("DefaultCPUAllocator", "out of memory", "could not create a memory object", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(exc, RuntimeError) and any(sign in str(exc) for sign in signs)


@functools.cache
def keep_freed_memory() -> None:
    """Have glibc keep the blocks it is given back, up to the 32 MiB it can keep.

    torch takes every activation from malloc, and glibc takes each large one from the kernel, which clears its pages
    at the first touch: 32000 page faults per frame of 480x270 through a compact network, a fifth of its time. Larger
    blocks are helped by huge pages (see vsr/model/__init__.py). Other C libraries have no mallopt or ignore it.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of <malloc.h>
    try:
        mallopt: Callable[[int, int], int] = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(mmap_threshold, 32 << 20)
    mallopt(trim_threshold, 2**31 - 1)
