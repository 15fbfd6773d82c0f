"""One optimizer step: torch's own where all is well, and none at all where something is not finite."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vsr.training.distributed import Ranks
from vsr.training.recipe import OptimizerSettings
from vsr.training.update import Update

ALONE = Ranks(0, 1, torch.device("cpu"))


def make(kind: str = "adam", **options: object) -> tuple[nn.Module, Update]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(), nn.Conv2d(4, 3, 3))
    settings = OptimizerSettings(kind=kind, learning_rate=1e-2, **options)  # type: ignore[arg-type]
    return module, Update(module, settings, steps=10, ranks=ALONE)


def step(module: nn.Module, update: Update, number: int, factor: float = 1.0) -> float:
    loss = (module(torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(number))) * factor).square().mean()
    update.backward(loss)
    return float(update.apply(number, loss.detach()))


def test_adam_is_torchs():
    module, update = make()
    other = copy.deepcopy(module)
    reference = torch.optim.Adam(other.parameters(), lr=1e-2, betas=(0.9, 0.99))
    for number in range(3):
        assert step(module, update, number) == 0
        other(torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(number))).square().mean().backward()
        reference.step()
        reference.zero_grad()
    for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", ["adam", "adamw", "muon"])
@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 1e30])
def test_a_step_that_is_not_finite_changes_nothing(kind: str, factor: float):
    """1e30 squared overflows: the loss is infinite although every output is finite."""
    (module, update), (other, reference) = make(kind), make(kind)
    for number in (0, 1):
        step(module, update, number)
        step(other, reference, number)
    assert step(module, update, 99, factor) == 1
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))
    # Not even its moments and step counts: the next good step is that of the run which never saw the bad one.
    assert step(module, update, 2) == step(other, reference, 2) == 0
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


def test_clipping_is_torchs():
    module, update = make(clip=1e-3)
    other = copy.deepcopy(module)
    loss = module(torch.ones(1, 3, 8, 8)).square().mean()
    update.backward(loss)
    other(torch.ones(1, 3, 8, 8)).square().mean().backward()
    nn.utils.clip_grad_norm_(other.parameters(), 1e-3)
    seen = [parameter.grad for parameter in module.parameters()]
    update.apply(0, loss.detach())
    for ours, theirs in zip(seen, other.parameters(), strict=True):
        assert ours is not None
        torch.testing.assert_close(ours, theirs.grad)


def test_the_schedule_sets_the_rate():
    module, update = make(schedule="multistep", milestones=(1,), gamma=0.1)
    step(module, update, 0)
    step(module, update, 1)
    assert update.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_loss_that_is_not_finite_is_enough(precision: str):
    """The sign of NaN is 0: an L1 against a broken target has finite gradients."""
    torch.manual_seed(0)
    module = nn.Linear(3, 3)
    update = Update(module, OptimizerSettings(), steps=10, ranks=ALONE, precision=precision)
    before = copy.deepcopy(module.state_dict())
    loss = module(torch.ones(1, 3)).sum()
    update.backward(loss)
    assert float(update.apply(0, loss.detach() * float("nan"))) == 1
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)
    loss = module(torch.ones(1, 3)).sum()
    update.backward(loss)
    assert float(update.apply(1, loss.detach())) == 0
    assert not torch.equal(module.weight, before["weight"])


def test_fp16_scales_the_loss_and_clips_what_is_unscaled():
    module, update = make(clip=1e-3)
    other = copy.deepcopy(module)
    scaled = Update(other, OptimizerSettings(learning_rate=1e-2, clip=1e-3), steps=10, ranks=ALONE, precision="fp16")
    for number in range(3):
        step(module, update, number)
        step(other, scaled, number)
    for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_running_statistics_survive_a_bad_step_also_after_a_resume():
    def build() -> tuple[nn.Module, Update]:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 3))
        return module, Update(module, OptimizerSettings(), steps=10, ranks=ALONE)

    module, update = build()
    step(module, update, 0)
    good = copy.deepcopy(module.state_dict())
    resumed, again = build()
    resumed.load_state_dict(good)
    again.load_state_dict(update.state_dict())
    for network, its in ((module, update), (resumed, again)):
        loss = network(torch.full((2, 3, 8, 8), float("nan"))).mean()
        its.backward(loss)
        assert float(its.apply(1, loss.detach())) == 1
        for name in ("1.running_mean", "1.running_var"):
            assert torch.equal(network.state_dict()[name], good[name])
