"""The learning rate of each step, as a function of the step alone: what resumes needs no memory of it."""

from __future__ import annotations

import math

from vsr.training.recipe import OptimizerSettings

__all__ = ["rate_factor"]


def rate_factor(step: int, settings: OptimizerSettings, steps: int) -> float:
    """What the learning rate is multiplied with at `step` (the first is 0) of `steps`.

    Warm-up is a straight line that reaches 1 at its end. "cosine" falls from 1 to `final_rate` along half a cosine
    (Loshchilov and Hutter, SGDR, ICLR 2017, without restarts) between warm-up and the last step; "multistep" is
    `gamma` to the power of the milestones behind. Milestones and `steps` count from the beginning, warm-up included.
    """
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    if settings.schedule == "multistep":
        return settings.gamma ** sum(step >= milestone for milestone in settings.milestones)
    if settings.schedule == "cosine":
        way = min(1.0, (step - settings.warmup) / max(1, steps - settings.warmup))
        return settings.final_rate + (1 - settings.final_rate) * 0.5 * (1 + math.cos(math.pi * way))
    return 1.0
