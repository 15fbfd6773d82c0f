"""From a loss to new weights: backward, guard against NaN, clipping, the optimizer's step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vsr.training.distributed import Ranks
from vsr.training.muon import Muon
from vsr.training.recipe import OptimizerSettings
from vsr.training.schedule import rate_factor

__all__ = ["Update"]


class Update:
    """One module and its optimizer.

    A step whose loss or gradient is not finite leaves weights, buffers and moments as they were. That is decided on the
    device (the fused optimizers take a flag): no step waits for the processor to read a number.

    Args:
        module: its parameters are those that learn.
        settings: kind, rates, schedule, clipping.
        steps: length of the training, for the schedule.
        precision: "fp16" scales the loss.
        ranks: gradients are already averaged over them when `apply` is called.
    """

    def __init__(
        self,
        module: nn.Module,
        settings: OptimizerSettings,
        *,
        steps: int,
        ranks: Ranks,
        precision: str = "fp32",
    ) -> None:
        self._settings, self._steps, self._ranks = settings, steps, ranks
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.optimizer = _build_optimizer(self._parameters, settings)
        # Batch norm takes NaN into its running statistics before anybody sees the loss, and would never lose it again.
        self._buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
        self._kept = [buffer.clone() for buffer in self._buffers]
        self._scaler = torch.amp.GradScaler(ranks.device.type, enabled=precision == "fp16")

    def rate(self, step: int) -> float:
        """The learning rate of `step`."""
        return self._settings.learning_rate * rate_factor(step, self._settings, self._steps)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss` (a mean over a part of the batch)."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def apply(self, step: int, loss: Tensor) -> Tensor:
        """Change the weights by the gradients gathered, and forget those.

        Args:
            step: the first is 0.
            loss: what the gradients are of; looked at for NaN and infinity only.

        Returns:
            A float scalar on the device: 1 where the step was skipped, else 0.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        loss = self._ranks.mean(loss.detach().clone())  # not finite anywhere is not finite everywhere
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        if self._scaler.is_enabled():
            # It looks at gradients alone, and that of an L1 may be finite where the loss is not.
            gradients[0].add_(0 * loss)
            self._scaler.unscale_(self.optimizer)
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        skipped = 1 - torch.isfinite(norm + loss).float()
        if self._settings.clip:
            torch._foreach_mul_(gradients, (self._settings.clip / (norm + 1e-6)).clamp(max=1.0))
        if self._scaler.is_enabled():
            self._scaler.step(self.optimizer)
            self._scaler.update()
        elif isinstance(self.optimizer, Muon):
            if not skipped.item():
                self.optimizer.step()
        else:
            optimizer: Any = self.optimizer
            optimizer.found_inf = skipped
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            kept.copy_(torch.where(skipped > 0, kept, buffer))
            buffer.copy_(kept)
        return skipped

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`; the module has got its weights and buffers already."""
        for kept, buffer in zip(self._kept, self._buffers, strict=True):
            kept.copy_(buffer)
        self.optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])


def _build_optimizer(parameters: list[nn.Parameter], settings: OptimizerSettings) -> torch.optim.Optimizer:
    rate, decay = settings.learning_rate, settings.weight_decay
    betas = (settings.betas[0], settings.betas[1])
    if settings.kind == "muon":
        return Muon(parameters, lr=rate, betas=betas, weight_decay=decay)
    kind = torch.optim.AdamW if settings.kind == "adamw" else torch.optim.Adam
    return kind(parameters, lr=rate, betas=betas, weight_decay=decay, fused=True)
