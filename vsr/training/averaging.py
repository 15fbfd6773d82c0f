"""The moving average of a network's weights: what is measured and exported, since it gives the better pictures."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """Exponential moving average of the weights of a module, on the module's device, in float32.

    Early on the decay is lower, (1 + step) / (10 + step), so that the average does not remember the random start.

    Args:
        module: in training form; it is copied.
        decay: share of the old average that stays at each step; 0: the average is the module itself.

    Attributes:
        module: a copy of the module with the averaged weights, in eval mode, no gradients.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._averages, self._weights = _split(self.module, module)
        self._copies, self._counts = _split(self.module, module, floating=False)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights as they are after `step` (the first is 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, self._weights, 1 - decay)
        for target, source in zip(self._copies, self._counts, strict=True):
            target.copy_(source)

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.module.state_dict())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.module.load_state_dict(state)

    def restart(self, module: nn.Module) -> None:
        """Forget everything: the average is `module` as it is now."""
        self.module.load_state_dict(module.state_dict())


def _split(average: nn.Module, module: nn.Module, *, floating: bool = True) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors of both in the same order: the floating-point ones, or the others (counters of batch norm)."""
    # state_dict would leave out buffers that are not persistent; those are constants, and equal in both already.
    ours, theirs = average.state_dict(), module.state_dict()
    keys = [key for key, value in theirs.items() if value.is_floating_point() == floating]
    return [ours[key] for key in keys], [theirs[key] for key in keys]
