"""Counts what torch does, instead of timing it: the same on every machine, however busy."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operators whose whole purpose is to have the same values elsewhere or in another form.
_COPIES = ("copy_", "clone", "_to_copy", "cat", "contiguous")


class WorkCounter(TorchDispatchMode):
    """Counts while its block runs, in the calling thread.

    Attributes:
        flops: of convolutions and matrix products, two for each multiply-add.
        bytes_copied: written by operators that only copy or cast.
        num_allocated: tensors with memory of their own that operators made.
        calls: of every operator, by its name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.bytes_copied = self.num_allocated = 0
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = options or {}
        result = function(*arguments, **options)
        name = function.overloadpacket.__name__
        self.calls[name] += 1
        made = [tensor for tensor in tree_leaves(result) if isinstance(tensor, torch.Tensor)]
        given = [tensor for tensor in tree_leaves((arguments, options)) if isinstance(tensor, torch.Tensor)]
        if name in ("convolution", "_convolution_pointwise"):
            weight = given[1]
            self.flops += 2 * made[0].numel() * weight.numel() // weight.shape[0]
        elif name in ("mm", "addmm"):
            first, second = given[-3:-1] if "out" in options else given[-2:]
            self.flops += 2 * first.shape[0] * first.shape[1] * second.shape[1]
        elif name in _COPIES:
            self.bytes_copied += sum(tensor.numel() * tensor.element_size() for tensor in made)
        known = {tensor.untyped_storage().data_ptr() for tensor in given if not tensor.is_mkldnn}
        self.num_allocated += sum(
            not tensor.is_mkldnn and tensor.numel() > 1 and tensor.untyped_storage().data_ptr() not in known
            for tensor in made
        )
        return result
