"""Planes straight from a network's values: the same codes as by way of an RGB picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from vsr.model.compact import Compact
from vsr.model.network import Network
from vsr.model.upscaler import Upscaler
from vsr.pixels import ChromaSiting, describe_planes, make_frame, tensor_to_frames
from vsr.planar import PlaneFiller, fits_cells, mixing_matrix
from vsr.video.color import MATRIX_RGB, RANGE_FULL, RANGE_LIMITED, ColorTags
from vsr.video.planes import view_samples

BT709 = ColorTags(1, RANGE_LIMITED, 1, 1)
BT601_FULL = ColorTags(6, RANGE_FULL, 6, 6)


def view_codes(frame: object) -> list[np.ndarray]:
    return [component.astype(np.int32) for component in view_samples(frame).components]


def fill(
    pixels_CHW: Tensor, base_CHW: Tensor, scale: int, pix_fmt: str, tags: ColorTags, siting: ChromaSiting
) -> object:
    """A frame of residual pixels at the large size upon a small base picture, by way of the mixing matrix."""
    codes = describe_planes(pix_fmt, tags, siting=siting)
    assert codes is not None
    cells = torch.nn.functional.pixel_unshuffle(pixels_CHW, scale).to(torch.float64)
    values = torch.einsum("no,ohw->nhw", mixing_matrix(codes, scale), cells).to(torch.float32)
    frame, planes = make_frame(pixels_CHW.shape[2], pixels_CHW.shape[1], pix_fmt, tags)
    PlaneFiller(codes, scale).fill(values, base_CHW, planes)
    return frame


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    scale_and_format=st.sampled_from(
        [
            (4, "yuv420p"),
            (4, "nv12"),
            (4, "yuv420p10le"),
            (4, "yuv422p10le"),
            (2, "yuv420p"),
            (4, "yuv411p"),
            (3, "yuv444p"),
            (8, "yuv410p"),
        ]
    ),
    tags=st.sampled_from([BT709, BT601_FULL]),
    siting=st.sampled_from([ChromaSiting.LEFT, ChromaSiting.CENTRE]),
    seed=st.integers(0, 1000),
)
def test_codes_are_those_of_the_way_by_rgb(
    height: int, width: int, scale_and_format: tuple[int, str], tags: ColorTags, siting: ChromaSiting, seed: int
) -> None:
    scale, pix_fmt = scale_and_format
    generator = torch.Generator().manual_seed(seed)
    base_CHW = torch.rand(3, height, width, generator=generator)
    pixels_CHW = (torch.rand(3, height * scale, width * scale, generator=generator) - 0.5) * 0.3
    whole = pixels_CHW + base_CHW.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    got = fill(pixels_CHW, base_CHW, scale, pix_fmt, tags, siting)
    (wanted,) = tensor_to_frames(whole[None], pix_fmt, tags, siting=siting)
    for plane, reference in zip(view_codes(got), view_codes(wanted), strict=True):
        # Sums in another order: now and then a code on the edge of rounding goes the other way.
        assert np.abs(plane - reference).max() <= 1
        assert (plane != reference).mean() <= 0.02 + 1 / plane.size


def test_a_pure_base_gives_exactly_its_codes() -> None:
    """Grey of every level, no residual: nothing may be a code off."""
    levels = torch.arange(16, 236, dtype=torch.float32).sub(16).div(219).expand(3, 1, -1)
    frame = fill(torch.zeros(3, 4, 220 * 4), levels, 4, "yuv420p", BT709, ChromaSiting.LEFT)
    luma, *chroma = view_codes(frame)
    assert (luma == np.arange(16, 236).repeat(4)).all()
    assert all((plane == 128).all() for plane in chroma)


@pytest.mark.parametrize(("scale", "pix_fmt", "siting"), [(3, "yuv420p", "left"), (4, "yuv420p", "topleft")])
def test_what_does_not_fit_into_cells_is_known(scale: int, pix_fmt: str, siting: str) -> None:
    codes = describe_planes(pix_fmt, BT709, siting=ChromaSiting(siting))
    assert codes is not None
    assert not fits_cells(codes, scale)


@pytest.mark.parametrize("pix_fmt", ["gbrp", "rgb24", "gray", "p010le", "yuyv422", "yuv420p10be", "yuva420p"])
def test_other_formats_are_not_described(pix_fmt: str) -> None:
    assert describe_planes(pix_fmt, BT709) is None


def test_the_rgb_matrix_is_not_described() -> None:
    assert describe_planes("yuv444p", ColorTags(MATRIX_RGB, RANGE_FULL, 1, 1)) is None


# --- through the upscaler ---


def make_network(num_features: int = 8, num_conv: int = 2, scale: int = 4) -> Network:
    torch.manual_seed(0)
    module = Compact(num_features, num_conv, scale).eval().requires_grad_(False)
    for layer in module.body:
        if isinstance(layer, nn.PReLU):
            layer.weight.fill_(0.1)
    module.simplify()
    return Network(module, scale, "SRVGGNetCompact", "test", module.halo)


def fill_frame(upscaler: Upscaler, frames_BCHW: Tensor, pix_fmt: str = "yuv420p") -> list[list[np.ndarray]]:
    codes = describe_planes(pix_fmt, BT709)
    assert codes is not None
    assert upscaler.can_fill(codes)
    height, width = upscaler.output_size(*frames_BCHW.shape[-2:])
    made = [make_frame(width, height, pix_fmt, BT709) for _ in frames_BCHW]
    upscaler.fill(frames_BCHW, codes, [planes for _, planes in made])
    return [view_codes(frame) for frame, _ in made]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_upscaler_fills_what_it_would_have_drawn(precision: str) -> None:
    frames_BCHW = torch.rand(2, 3, 13, 17, generator=torch.Generator().manual_seed(1)) * 0.4 + 0.3
    upscaler = Upscaler(make_network(), device="cpu", precision=precision)
    wanted = tensor_to_frames(upscaler(frames_BCHW), "yuv420p", BT709)
    for planes, frame in zip(fill_frame(upscaler, frames_BCHW), wanted, strict=True):
        for plane, reference in zip(planes, view_codes(frame), strict=True):
            assert np.abs(plane - reference).max() <= 1
            assert (plane != reference).mean() <= (0.01 if precision == "fp32" else 0.1)


def test_tiles_and_batches_change_nothing() -> None:
    frames_BCHW = torch.rand(3, 3, 40, 53, generator=torch.Generator().manual_seed(2))
    wanted = fill_frame(Upscaler(make_network(), device="cpu", precision="fp32"), frames_BCHW)
    tiled = Upscaler(make_network(), device="cpu", precision="fp32", tile=16)
    for index in range(3):
        (got,) = fill_frame(tiled, frames_BCHW[index : index + 1])
        assert all((plane == reference).all() for plane, reference in zip(got, wanted[index], strict=True))


def test_a_frame_that_is_broken_in_half_precision_is_repeated_in_fp32() -> None:
    frames_BCHW = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    upscaler, exact = (Upscaler(make_network(), device="cpu", precision=name) for name in ("bf16", "fp32"))
    codes = describe_planes("yuv420p", BT709)

    def break_second(_: nn.Module, inputs: object, values_BNHW: Tensor) -> None:
        values_BNHW[1, 5, 3, 3] = float("nan")

    upscaler._forms.place("bf16", codes).module.register_forward_hook(break_second)
    got, wanted = fill_frame(upscaler, frames_BCHW), fill_frame(exact, frames_BCHW)
    assert upscaler.stats.fp32_repeats == 1
    assert all((plane == reference).all() for plane, reference in zip(got[1], wanted[1], strict=True))


def test_scratch_is_kept_for_few_shapes() -> None:
    codes = describe_planes("yuv420p", BT709)
    assert codes is not None
    filler = PlaneFiller(codes, 4)
    for width in range(4, 24):
        _, planes = make_frame(4 * width, 16, "yuv420p", BT709)
        filler.fill(torch.zeros(32, 4, width), torch.rand(3, 4, width), planes)
    assert len(filler._bands) == 8


def test_another_scale_than_the_networks_goes_by_rgb() -> None:
    codes = describe_planes("yuv420p", BT709)
    assert codes is not None
    assert not Upscaler(make_network(), scale=3, device="cpu").can_fill(codes)
