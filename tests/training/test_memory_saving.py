"""Gradient checkpointing: the same gradients from a fraction of the kept activations."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from vsr.model.compact import Compact
from vsr.model.rrdb import RRDBNet
from vsr.model.srresnet import SRResNet
from vsr.training.memory_saving import save_memory


def run(module: nn.Module) -> tuple[list[Tensor], int]:
    """Gradients of a step, and how many bytes of activations lay in memory between its way there and its way back."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    low_BCHW = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = module(low_BCHW).square().mean()
        weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
        num_bytes = sum(size for place, size in kept.items() if place not in weights)
    loss.backward()
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None], num_bytes


@pytest.mark.parametrize(
    ("make", "least_factor"),
    [
        (lambda: Compact(32, 14, 2), 2.5),
        (lambda: RRDBNet(16, 6, 8, 1), 5.0),
        (lambda: SRResNet(16, 8, 1), 2.0),
    ],
    ids=["compact", "rrdb", "srresnet"],
)
def test_same_gradients_and_far_less_memory(make, least_factor: float):
    torch.manual_seed(0)
    module = make()
    saving = copy.deepcopy(module)
    assert save_memory(saving) >= 4
    assert saving.state_dict().keys() == module.state_dict().keys()
    (gradients, plain_bytes), (others, saved_bytes) = run(module), run(saving)
    assert plain_bytes > least_factor * saved_bytes
    assert len(gradients) == len(others)
    for ours, theirs in zip(gradients, others, strict=True):
        torch.testing.assert_close(ours, theirs)
