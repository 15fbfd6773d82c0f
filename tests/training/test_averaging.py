"""The moving average against its definition."""

from __future__ import annotations

import torch
from torch import nn

from vsr.training.averaging import Average


def test_average_follows_its_formula_with_counters_and_statistics():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    average = Average(module, 0.5)
    expected = module[0].weight.detach().clone()
    for step in range(40):
        module(torch.rand(2, 3, 8, 8))  # batch norm counts and gathers
        with torch.no_grad():
            module[0].weight.add_(torch.randn_like(module[0].weight))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * module[0].weight.detach()
    torch.testing.assert_close(average.module[0].weight, expected)
    assert int(average.module[1].num_batches_tracked) == 40
    assert not average.module.training
    assert not any(parameter.requires_grad for parameter in average.module.parameters())


def test_no_decay_is_the_module_itself():
    module = nn.Linear(2, 2)
    average = Average(module, 0.0)
    with torch.no_grad():
        module.weight.fill_(3.0)
    average.update(1000)
    assert torch.equal(average.module.weight, module.weight)


def test_average_comes_back_from_its_state():
    module, former = nn.Linear(2, 2), nn.Linear(2, 2)
    average = Average(module, 0.9)
    average.load_state_dict(Average(former, 0.9).state_dict())
    torch.testing.assert_close(average.module.weight, former.weight, check_stride=True)
    average.update(10_000)  # goes on from there, towards its own module
    torch.testing.assert_close(average.module.weight, 0.9 * former.weight + 0.1 * module.weight)
