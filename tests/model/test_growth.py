"""The growth form of RRDBNet gives what the network itself gives, to the bit in float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import make_rrdb
from vsr.model.growth import SliceConv2d, grow

SIZES = [(1, 1), (1, 9), (7, 5), (16, 16), (13, 31)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("num_blocks", [1, 2, 3, 4])
def test_equals_the_network_to_the_bit(size: tuple[int, int], num_blocks: int) -> None:
    module = make_rrdb(num_blocks)
    frames = torch.rand(2, 3, *size)
    with torch.inference_mode():
        # Sums of another order would show in the last bits; oneDNN takes its order from shapes and layouts, and those
        # are the same in both forms.
        torch.testing.assert_close(grow(module)(frames), module(frames), rtol=0, atol=1e-6)


@pytest.mark.parametrize("unshuffle", [2, 4])
def test_with_a_pixel_unshuffle(unshuffle: int) -> None:
    module, frames = make_rrdb(unshuffle=unshuffle), torch.rand(1, 3, 21, 18)
    with torch.inference_mode():
        torch.testing.assert_close(grow(module)(frames), module(frames), rtol=0, atol=1e-6)


def test_bfloat16_rounds_where_the_network_does() -> None:
    module, frames = make_rrdb().bfloat16(), torch.rand(1, 3, 12, 17)
    with torch.inference_mode():
        torch.testing.assert_close(grow(module)(frames), module(frames), rtol=0, atol=2e-3)


def test_the_network_keeps_its_own_form() -> None:
    module = make_rrdb()
    state, trunk = {name: value.clone() for name, value in module.state_dict().items()}, module.body
    grown = grow(module)
    assert module.body is trunk
    assert grown is not module
    assert grown.body is not trunk
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert grown.halo == module.halo


def test_calls_leave_nothing_behind() -> None:
    """Buffers belong to a call: a smaller picture after a larger one, and the same picture again, change nothing."""
    grown = grow(make_rrdb())
    large, small = torch.rand(2, 3, 20, 20), torch.rand(1, 3, 6, 9)
    with torch.inference_mode():
        first = grown(large)
        kept = first.clone()
        grown(small)
        assert torch.equal(first, kept)
        assert torch.equal(grown(large), kept)


def test_other_convolutions_are_refused() -> None:
    for conv in (nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, padding=1, bias=False)):
        with pytest.raises(ValueError, match="3x3"):
            SliceConv2d(conv)
