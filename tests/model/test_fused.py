"""The fused form on a CPU: the same values as layer by layer, for any size, in any thread."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vsr.model.compact import Compact
from vsr.model.fused import FusedConv2d, can_fuse, fuse
from vsr.model.rrdb import RRDBNet

pytestmark = pytest.mark.skipif(not can_fuse(torch.float32), reason="this torch has no oneDNN to fuse with")


def make_compact(common_slope: bool = True, dtype: torch.dtype = torch.float32) -> Compact:
    torch.manual_seed(0)
    module = Compact(32, 3, 2).eval().requires_grad_(False)
    for layer in module.body:
        if isinstance(layer, nn.PReLU):
            layer.weight.copy_(torch.full((32,), 0.2) if common_slope else torch.rand(32))
    module.simplify()
    return module.to(dtype).to(memory_format=torch.channels_last)


def make_frames(height: int, width: int, batch: int = 1) -> torch.Tensor:
    frames = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(height * 100 + width))
    return frames.contiguous(memory_format=torch.channels_last)


FUSED = fuse(make_compact())


@given(height=st.integers(1, 40), width=st.integers(1, 40), batch=st.integers(1, 3))
def test_one_set_of_packed_weights_does_for_every_size(height: int, width: int, batch: int) -> None:
    frames = make_frames(height, width, batch)
    with torch.inference_mode():
        assert torch.allclose(FUSED(frames), make_compact()(frames), atol=1e-5)


@pytest.mark.parametrize("common_slope", [True, False])
def test_half_precision_is_no_further_from_fp32_than_before(common_slope: bool) -> None:
    if not can_fuse(torch.bfloat16):
        pytest.skip("oneDNN does not compute in bf16 here")
    exact, half = make_compact(common_slope), make_compact(common_slope, torch.bfloat16)
    fused = fuse(copy.deepcopy(half))
    frames = make_frames(24, 31)
    with torch.inference_mode():
        wanted = exact(frames)
        errors = [float((module(frames) - wanted).square().mean()) for module in (half, fused)]
    assert errors[1] <= 1.2 * errors[0]


def test_activations_with_one_slope_are_gone_and_others_stay() -> None:
    layers = [type(layer) for layer in fuse(make_compact()).body]
    assert len(layers) == 5
    assert all(issubclass(kind, FusedConv2d) for kind in layers)
    assert sum(isinstance(layer, nn.PReLU) for layer in fuse(make_compact(common_slope=False)).body) == 4


def test_other_networks_stay_as_they_are() -> None:
    module = RRDBNet(8, 1, 4)
    before = list(module.modules())
    assert list(fuse(module).modules()) == before


def test_trying_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    can_fuse.__wrapped__(torch.float32)
    assert torch.equal(before, torch.get_rng_state())
