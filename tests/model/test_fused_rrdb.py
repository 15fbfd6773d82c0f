"""RRDB's dense blocks fused for a CPU: the same values as layer by layer, for any size."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import make_rrdb
from vsr.model.fused import FusedConv2d, can_fuse
from vsr.model.fused_rrdb import fuse_dense_blocks

pytestmark = pytest.mark.skipif(not can_fuse(torch.float32), reason="this torch has no oneDNN to fuse with")

PLAIN = make_rrdb()
FUSED = fuse_dense_blocks(copy.deepcopy(PLAIN))


@settings(max_examples=25)
@given(height=st.integers(1, 24), width=st.integers(1, 24), batch=st.integers(1, 2))
def test_the_same_values_for_every_size(height: int, width: int, batch: int) -> None:
    frames = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(height * 100 + width))
    with torch.inference_mode():
        torch.testing.assert_close(FUSED(frames), PLAIN(frames), rtol=0, atol=1e-5)


def test_half_precision_is_no_further_from_fp32_than_before() -> None:
    if not can_fuse(torch.bfloat16):
        pytest.skip("oneDNN does not compute in bf16 here")
    half = copy.deepcopy(PLAIN).bfloat16()
    fused = fuse_dense_blocks(copy.deepcopy(half))
    frames = torch.rand(2, 3, 24, 31, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = PLAIN(frames)
        errors = [float((module(frames) - wanted).square().mean()) for module in (half, fused)]
    assert errors[1] <= 1.2 * errors[0]


def test_all_convolutions_of_the_trunk_are_fused() -> None:
    kinds = [isinstance(part, FusedConv2d) for part in FUSED.body.modules() if isinstance(part, torch.nn.Conv2d)]
    assert kinds == [True] * (2 * 3 * 5)
    assert not any(isinstance(part, FusedConv2d) for part in PLAIN.modules())
