"""frames_to_tensor and tensor_to_frames against the formulas of H.273 in float64, and against swscale."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.format import names
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from hypothesis import given
from hypothesis import strategies as st

import vsr.codes
from vsr.chroma import interpolate
from vsr.errors import SettingsError, SourceError
from vsr.pixels import (
    ChromaSiting,
    codes_to_frame,
    frames_to_tensor,
    has_alpha,
    tensor_to_codes,
    tensor_to_frames,
)
from vsr.video.color import RANGE_FULL, RANGE_LIMITED, ColorTags
from vsr.video.device_frame import DeviceFrame
from vsr.video.pixel_format import describe_format
from vsr.video.planes import view_samples

LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
MATRICES = [*LUMA_WEIGHTS, 8, 0]
RANGES = [RANGE_LIMITED, RANGE_FULL]
DEPTHS = [8, 9, 10, 12, 14, 16]
SMOOTH = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT


def name_444(bits: int) -> str:
    return "yuv444p" if bits == 8 else f"yuv444p{bits}le"


def make_frame(name: str, components: list[np.ndarray]) -> av.VideoFrame:
    height, width = components[0].shape
    frame = av.VideoFrame(width, height, name)
    samples = view_samples(frame)
    for view, codes in zip(samples.components, components, strict=True):
        view[...] = codes.astype(np.uint32) << samples.shift
    return frame


def codes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    samples = view_samples(frame)
    return [component.astype(np.int64) >> samples.shift for component in samples.components]


def random_frame(name: str, width: int, height: int, seed: int = 0) -> av.VideoFrame:
    """Every code there is, legal or not, the extremes for certain."""
    random = np.random.default_rng(seed)
    samples = view_samples(av.VideoFrame(width, height, name))
    components = []
    for view, bits in zip(samples.components, samples.bits, strict=True):
        codes = random.integers(0, 1 << bits, view.shape)
        codes.flat[: min(2, codes.size)] = (0, (1 << bits) - 1)[: min(2, codes.size)]
        components.append(codes)
    return make_frame(name, components)


def scale_of(bits: int, color_range: int, matrix: int) -> tuple[float, float, float, float]:
    """Luma scale and offset, chroma scale and offset."""
    step = 2.0 ** (bits - 8)
    full = 2.0**bits - 1
    scale, offset = (full, 0.0) if color_range == RANGE_FULL else (219 * step, 16 * step)
    if matrix == 0:
        return scale, offset, scale, offset
    chroma = scale if matrix == 8 or color_range == RANGE_FULL else 224 * step
    return scale, offset, chroma, 2.0 ** (bits - 1)


def reference_rgb(y: np.ndarray, u: np.ndarray, v: np.ndarray, matrix: int) -> np.ndarray:
    if matrix == 0:
        return np.stack((v, y, u))
    if matrix == 8:
        return np.stack((y - u + v, y + u, y - u - v))
    kr, kb = LUMA_WEIGHTS[matrix]
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    return np.stack((red, (y - kr * red - kb * blue) / (1 - kr - kb), blue))


def reference_yuv(rgb: np.ndarray, matrix: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    red, green, blue = rgb
    if matrix == 0:
        return green, blue, red
    if matrix == 8:
        return green / 2 + (red + blue) / 4, green / 2 - (red + blue) / 4, (red - blue) / 2
    kr, kb = LUMA_WEIGHTS[matrix]
    y = kr * red + (1 - kr - kb) * green + kb * blue
    return y, (blue - y) / (2 * (1 - kb)), (red - y) / (2 * (1 - kr))


def upsample(plane: np.ndarray, height: int, width: int, name: str, siting: ChromaSiting) -> np.ndarray:
    for axis, size, factor, is_cosited in zip(
        (0, 1), (height, width), describe_format(name).subsampling, siting.is_cosited, strict=True
    ):
        positions = factor * np.arange(plane.shape[axis]) + (0 if is_cosited else (factor - 1) / 2)
        plane = np.apply_along_axis(lambda line, at=positions, n=size: np.interp(np.arange(n), at, line), axis, plane)
    return plane


# Against the formulas


@pytest.mark.parametrize("color_range", RANGES)
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("bits", DEPTHS)
def test_444_in_both_directions_is_the_formula(bits: int, matrix: int, color_range: int) -> None:
    tags = ColorTags(matrix, color_range)
    frame = random_frame(name_444(bits), 37, 23)
    y_scale, y_offset, c_scale, c_offset = scale_of(bits, color_range, matrix)
    y, u, v = (plane.astype(np.float64) for plane in codes_of(frame))
    expected = reference_rgb((y - y_offset) / y_scale, (u - c_offset) / c_scale, (v - c_offset) / c_scale, matrix)
    rgb = frames_to_tensor([frame], tags)
    assert rgb.shape == (1, 3, 23, 37)
    assert rgb.dtype == torch.float32
    np.testing.assert_allclose(rgb[0].numpy(), expected, atol=2e-6)
    # The way back is exact, for colours far outside the cube as well.
    (again,) = tensor_to_frames(rgb, name_444(bits), tags)
    for mine, original in zip(codes_of(again), codes_of(frame), strict=True):
        np.testing.assert_array_equal(mine, original)


@pytest.mark.parametrize("color_range", RANGES)
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("bits", DEPTHS)
def test_encoding_rounds_the_formula_to_the_nearest_code(bits: int, matrix: int, color_range: int) -> None:
    rgb = np.random.default_rng(1).random((3, 31, 29)).astype(np.float32)
    rgb[:, 0, :8] = np.array(list(product((0, 1), repeat=3))).T
    (frame,) = tensor_to_frames(torch.from_numpy(rgb)[None], name_444(bits), ColorTags(matrix, color_range))
    y_scale, y_offset, c_scale, c_offset = scale_of(bits, color_range, matrix)
    y, u, v = reference_yuv(rgb.astype(np.float64), matrix)
    wanted = (y * y_scale + y_offset, u * c_scale + c_offset, v * c_scale + c_offset)
    for codes, exact in zip(codes_of(frame), wanted, strict=True):
        # float32 leaves 16 bits about a hundredth of a code.
        assert np.abs(codes - np.clip(exact, 0, 2**bits - 1)).max() <= 0.5 + 2.0 ** (bits - 22)


@pytest.mark.parametrize("color_range", RANGES)
@pytest.mark.parametrize("matrix", [matrix for matrix in MATRICES if matrix])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_rgb_survives_444_within_half_a_step_of_each_plane(bits: int, matrix: int, color_range: int) -> None:
    rgb = np.random.default_rng(2).random((1, 3, 40, 40)).astype(np.float32) * 0.98 + 0.01
    tags = ColorTags(matrix, color_range)
    again = frames_to_tensor(tensor_to_frames(torch.from_numpy(rgb), name_444(bits), tags), tags).numpy()
    y_scale, _, c_scale, _ = scale_of(bits, color_range, matrix)
    # The error of a channel is at most what half a code of each plane makes of it.
    steps = [np.abs(reference_rgb(*np.eye(3)[plane][:, None, None], matrix)) for plane in range(3)]
    worst = 0.5 / y_scale * steps[0] + 0.5 / c_scale * (steps[1] + steps[2])
    assert (np.abs(again - rgb)[0] <= worst * 1.001 + 1e-6).all()


@pytest.mark.parametrize("siting", ChromaSiting)
@pytest.mark.parametrize(("width", "height"), [(26, 18), (27, 19), (1, 1), (2, 1), (5, 2)])
@pytest.mark.parametrize(
    "name", ["yuv420p", "yuv420p10le", "yuv422p12le", "yuv440p", "yuv411p", "yuv410p", "nv12", "p010le", "yuva420p10le"]
)
def test_subsampled_chroma_is_interpolated_where_it_lies(
    name: str, width: int, height: int, siting: ChromaSiting
) -> None:
    frame = random_frame(name, width, height)
    bits = describe_format(name).bits
    y_scale, y_offset, c_scale, c_offset = scale_of(bits, RANGE_LIMITED, 1)
    y, u, v = (plane.astype(np.float64) for plane in codes_of(frame))
    chroma = [(upsample(plane, height, width, name, siting) - c_offset) / c_scale for plane in (u, v)]
    rgb = frames_to_tensor([frame], ColorTags(1, RANGE_LIMITED), siting=siting)
    np.testing.assert_allclose(rgb[0].numpy(), reference_rgb((y - y_offset) / y_scale, *chroma, 1), atol=2e-6)
    # Luma is not touched by what happens to chroma.
    (again,) = tensor_to_frames(rgb, name, ColorTags(1, RANGE_LIMITED), siting=siting)
    np.testing.assert_array_equal(codes_of(again)[0], y)


@pytest.mark.parametrize("siting", ChromaSiting)
@pytest.mark.parametrize("name", ["yuv420p10le", "yuv422p10le", "yuv440p10le"])
def test_a_ramp_keeps_its_place(name: str, siting: ChromaSiting) -> None:
    """Cb and Cr as linear functions of the luma position: downwards they are sampled where the siting says, upwards
    the ramp returns."""
    height, width = 32, 48
    down, across = describe_format(name).subsampling
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    u, v = (4 * columns - 2 * rows - 50) / 896, (2 * rows - 3 * columns + 20) / 896
    rgb = torch.from_numpy(reference_rgb(np.full_like(u, 0.5), u, v, 1)).float()
    tags = ColorTags(1, RANGE_LIMITED)
    (frame,) = tensor_to_frames(rgb[None], name, tags, siting=siting)
    offsets = [0 if cosited else (n - 1) / 2 for n, cosited in zip((down, across), siting.is_cosited, strict=True)]
    expected_rows, expected_columns = np.mgrid[0 : height // down, 0 : width // across]
    expected_rows, expected_columns = expected_rows * down + offsets[0], expected_columns * across + offsets[1]
    _, blue, red = (plane[1:-1, 1:-1] for plane in codes_of(frame))
    at_rows, at_columns = expected_rows[1:-1, 1:-1], expected_columns[1:-1, 1:-1]
    assert np.abs(blue - (4 * at_columns - 2 * at_rows - 50 + 512)).max() <= 0.5001
    assert np.abs(red - (2 * at_rows - 3 * at_columns + 20 + 512)).max() <= 0.5001
    again = frames_to_tensor([frame], tags, siting=siting)[0]
    inside = (slice(None), slice(4, -4), slice(4, -4))
    assert (again - rgb)[inside].abs().max() < 2.5 / 896


# What must be exact


@pytest.mark.parametrize("color_range", RANGES)
@pytest.mark.parametrize("matrix", [matrix for matrix in MATRICES if matrix])
@pytest.mark.parametrize("name", ["yuv420p", "yuv444p10le", "nv12", "p010le", "yuv420p16le"])
def test_grey_has_no_colour_and_black_and_white_are_exact(name: str, matrix: int, color_range: int) -> None:
    bits = describe_format(name).bits
    scale, offset, _, middle = scale_of(bits, color_range, matrix)
    y = np.linspace(0, 2**bits - 1, 400).astype(np.int64).reshape(20, 20)
    y[0, :2] = offset, offset + scale
    _, u, v = view_samples(av.VideoFrame(20, 20, name)).components
    frame = make_frame(name, [y, np.full(u.shape, middle), np.full(v.shape, middle)])
    red, green, blue = frames_to_tensor([frame], ColorTags(matrix, color_range))[0]
    assert torch.equal(red, green)
    assert torch.equal(blue, green)
    assert green[0, :2].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("name", ["gray", "gray9le", "gray10be", "gray12le", "gray16le", "ya8", "ya16le"])
@pytest.mark.parametrize("color_range", RANGES)
def test_grey_formats_take_and_give_luma(name: str, color_range: int) -> None:
    tags = ColorTags(9, color_range)
    frame = random_frame(name, 33, 9)
    rgb = frames_to_tensor([frame], tags)
    assert torch.equal(rgb[:, 0], rgb[:, 1])
    assert torch.equal(rgb[:, 0], rgb[:, 2])
    (again,) = tensor_to_frames(rgb, name, tags)
    np.testing.assert_array_equal(codes_of(again)[0], codes_of(frame)[0])
    colours = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    bits = describe_format(name).bits
    scale, offset, _, _ = scale_of(bits, color_range, 9)
    luma = reference_yuv(colours[0].double().numpy(), 9)[0] * scale + offset
    assert np.abs(codes_of(tensor_to_frames(colours, name, tags)[0])[0] - luma).max() <= 0.5 + 2.0 ** (bits - 22)


def test_headroom_and_footroom_are_kept_and_full_codes_are_clipped() -> None:
    tags = ColorTags(1, RANGE_LIMITED)
    frame = make_frame("yuv444p", [np.array([[0, 16, 235, 255]]), np.full((1, 4), 128), np.full((1, 4), 128)])
    rgb = frames_to_tensor([frame], tags)
    np.testing.assert_allclose(rgb[0, 1, 0].numpy(), [-16 / 219, 0, 1, 239 / 219], rtol=1e-6)
    assert codes_of(tensor_to_frames(rgb, "yuv444p", tags)[0])[0].tolist() == [[0, 16, 235, 255]]
    beyond = torch.tensor([-3.0, 4.0, float("inf"), float("-inf")]).expand(1, 3, 1, 4)
    assert codes_of(tensor_to_frames(beyond, "gray", tags)[0])[0].tolist() == [[0, 255, 255, 0]]
    assert codes_of(tensor_to_frames(beyond, "rgb48le", tags)[0])[2].tolist() == [[0, 65535, 65535, 0]]


WRITABLE = [
    *("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "nv12", "nv21", "yuyv422"),
    *("yuv420p10le", "yuv422p10le", "yuv444p12le", "yuv420p16be", "p010le", "p210le", "yuva444p10le", "ayuv64le"),
    *("gbrp", "gbrp10le", "gbrap12le", "rgb24", "bgr0", "rgba", "rgb48le", "rgb48be", "gray", "gray10le", "ya8"),
]


@given(
    width=st.one_of(st.integers(1, 20), st.sampled_from((31, 61, 127))),
    height=st.one_of(st.integers(1, 20), st.sampled_from((31, 61))),
    name=st.sampled_from(WRITABLE),
    siting=st.sampled_from(list(ChromaSiting)),
    colour=st.tuples(*[st.floats(0, 1, width=32)] * 3),
    elements=st.sampled_from((1, 100, 32767)),
)
def test_one_colour_survives_any_size(
    width: int, height: int, name: str, siting: ChromaSiting, colour: tuple[float, ...], elements: int
) -> None:
    tags = ColorTags(6, RANGE_LIMITED)
    rgb = torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, height, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vsr.codes, "_SERIAL_ELEMENTS", elements)
        (frame,) = tensor_to_frames(rgb, name, tags, siting=siting)
        again = frames_to_tensor([frame], tags, siting=siting)
    assert (frame.width, frame.height, frame.format.name) == (width, height, name)
    described = describe_format(name)
    down, across = described.subsampling
    for index, codes in enumerate(codes_of(frame)):
        is_chroma = index > 0 and not described.is_rgb
        assert codes.shape == ((-(-height // down), -(-width // across)) if is_chroma else (height, width))
        assert (codes == codes[0, 0]).all()
    if described.chroma == "gray":
        rgb = rgb.new_tensor(reference_yuv(rgb[0, :, :1, :1].double().numpy(), 6)[0]).expand(1, 3, height, width)
    assert (again - rgb).abs().max() <= 2.0 / (2**described.bits - 1)
    alpha = view_samples(frame).alpha
    assert alpha is None or (alpha == 2**described.bits - 1).all()


@pytest.mark.parametrize("siting", ChromaSiting)
@pytest.mark.parametrize("name", ["yuv420p", "yuv410p", "yuv444p", "gbrp", "gray"])
def test_bands_leave_no_seam(name: str, siting: ChromaSiting, monkeypatch: pytest.MonkeyPatch) -> None:
    tags = ColorTags(1, RANGE_LIMITED)
    frame = random_frame(name, 23, 29)
    monkeypatch.setattr(vsr.codes, "_SERIAL_ELEMENTS", 10**6)
    whole = frames_to_tensor([frame], tags, siting=siting)
    colours = torch.rand(1, 3, 29, 23, generator=torch.Generator().manual_seed(3))
    whole_codes = codes_of(tensor_to_frames(colours, name, tags, siting=siting)[0])
    for elements in (1, 150, 400):
        monkeypatch.setattr(vsr.codes, "_SERIAL_ELEMENTS", elements)
        assert torch.equal(frames_to_tensor([frame], tags, siting=siting), whole)
        codes = codes_of(tensor_to_frames(colours, name, tags, siting=siting)[0])
        assert all(np.array_equal(a, b) for a, b in zip(codes, whole_codes, strict=True))


@pytest.mark.parametrize("siting", ChromaSiting)
@pytest.mark.parametrize("name", ["yuv420p", "yuvj420p"])
def test_a_device_frame_is_converted_as_the_frame_it_was(name: str, siting: ChromaSiting) -> None:
    """DALI's chroma, interpolated as centred and rounded, comes back within two codes of its own, mostly within one."""
    frame = random_frame(name, 34, 26)
    tags = ColorTags(1, RANGE_LIMITED)
    luma, *others = codes_of(frame)
    wide = [
        interpolate(
            interpolate(torch.from_numpy(plane).float(), -1, 34, 2, is_cosited=False), -2, 26, 2, is_cosited=False
        )
        for plane in others
    ]
    codes_HWC = torch.stack([torch.from_numpy(luma).float(), *wide], -1).round().to(torch.uint8)
    sequence = torch.stack([torch.zeros_like(codes_HWC), codes_HWC])
    on_device = DeviceFrame(sequence, 1, 34, 26, name, tags, pts=0, duration=1)
    difference = (
        frames_to_tensor([on_device], tags, siting=siting) - frames_to_tensor([frame], tags, siting=siting)
    ).abs()
    # A code of chroma is at most 1.86 / 224 of blue, by the matrix of BT.709.
    assert difference.max() <= 2 * 1.86 / 224
    assert difference.mean() <= 0.5 * 1.86 / 224


@pytest.mark.parametrize(
    "name", ["yuv420p", "yuv420p10le", "yuv444p16le", "p010le", "nv12", "rgb24", "gbrp10le", "gray", "yuva420p", "rgba"]
)
def test_codes_and_then_frames_are_the_frames(name: str) -> None:
    """Two halves of one way: on a GPU the codes travel between them."""
    tags = ColorTags(1, RANGE_LIMITED)
    pictures = torch.rand(2, 3, 37, 51) * 1.2 - 0.1
    halves = [codes_to_frame(codes, name, tags) for codes in tensor_to_codes(pictures, name, tags)]
    for half, whole in zip(halves, tensor_to_frames(pictures, name, tags), strict=True):
        for one, other in zip(view_samples(half).components, view_samples(whole).components, strict=True):
            assert np.array_equal(one, other)
        opacities = [view_samples(frame).alpha for frame in (half, whole)]
        assert np.array_equal(*opacities) if opacities[0] is not None else opacities[1] is None
        assert (half.colorspace, half.color_range) == (whole.colorspace, whole.color_range)


def test_codes_are_uploaded_by_whoever_knows_how() -> None:
    frames = [random_frame("yuv420p10le", 21, 13, seed) for seed in range(2)]
    tags, seen = ColorTags(1, RANGE_LIMITED), []

    def upload(codes_HW: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(codes_HW.shape))
        return codes_HW.clone()

    assert torch.equal(frames_to_tensor(frames, tags, upload=upload), frames_to_tensor(frames, tags))
    assert seen == [(13, 21), (7, 11), (7, 11)] * 2


def test_batches_dtypes_and_strides_do_not_matter() -> None:
    tags = ColorTags(1, RANGE_LIMITED)
    frames = [random_frame("yuv420p", 34, 18, seed) for seed in range(3)]
    batch = frames_to_tensor(frames, tags)
    assert batch.shape == (3, 3, 18, 34)
    for index, frame in enumerate(frames):
        assert torch.equal(batch[index], frames_to_tensor([frame], tags)[0])
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(frames_to_tensor(frames, tags, dtype=dtype), batch.to(dtype))
    expected = [codes_of(frame) for frame in tensor_to_frames(batch, "yuv420p10le", tags)]
    with torch.inference_mode():
        strided = batch.clone().to(memory_format=torch.channels_last)
    mirrored = batch.flip(-1).requires_grad_().flip(-1)
    before = batch.clone()
    for same in (strided, mirrored, batch.double()):
        for mine, codes in zip(tensor_to_frames(same, "yuv420p10le", tags), expected, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(codes_of(mine), codes, strict=True))
    assert torch.equal(batch, before)


# Against swscale


def gradient(width: int, height: int) -> av.VideoFrame:
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = 255 * columns // (width - 1), 255 * rows // (height - 1)
    return make_frame("rgb24", [red, green, (510 - red - green) // 2])


@pytest.mark.parametrize("color_range", RANGES)
@pytest.mark.parametrize(
    ("matrix", "space"),
    [(1, Colorspace.ITU709), (6, Colorspace.ITU601), (7, Colorspace.SMPTE240M), (9, Colorspace.BT2020)],
)
@pytest.mark.parametrize(("name", "tolerance"), [("yuv444p", 1), ("yuv420p", 2), ("yuv422p10le", 4)])
def test_swscale_agrees_on_smooth_pictures(
    name: str, tolerance: int, matrix: int, space: Colorspace, color_range: int
) -> None:
    source = gradient(128, 96)
    tags = ColorTags(matrix, color_range)
    target_range = ColorRange.JPEG if color_range == RANGE_FULL else ColorRange.MPEG
    theirs = source.reformat(
        format=name, dst_colorspace=space, dst_color_range=target_range, interpolation=SMOOTH, threads=1
    )
    (mine,) = tensor_to_frames(frames_to_tensor([source], tags), name, tags)
    for index, (a, b) in enumerate(zip(codes_of(mine), codes_of(theirs), strict=True)):
        # At the edges swscale's chroma filters differ.
        inside = (slice(2, -2), slice(2, -2)) if index and name != "yuv444p" else ...
        assert np.abs(a - b)[inside].max() <= tolerance
    back = mine.reformat(
        format="rgb24", src_colorspace=space, src_color_range=target_range, interpolation=SMOOTH, threads=1
    )
    rgb = frames_to_tensor([mine], tags)[0].clamp(0, 1).mul(255).numpy()
    difference = np.abs(rgb - np.stack(codes_of(back)))[:, 4:-4, 4:-4]
    assert difference.max() <= 2.5
    assert difference.mean() < 0.8  # swscale cuts fractions off


def is_from_swscale(name: str) -> bool:
    layout = av.VideoFormat(name)
    if not layout.components or layout.is_bayer or name.startswith("xyz") or name in ("rgb4", "bgr4"):
        return False
    try:
        av.VideoFrame(16, 2, "rgb24").reformat(format=name, threads=1)
    except OSError:
        return False
    return True


FROM_SWSCALE = sorted(name for name in names if is_from_swscale(name))


def test_swscale_makes_most_formats() -> None:
    assert len(FROM_SWSCALE) > 150
    assert {"nv12", "p010be", "yuyv422", "gbrap10le", "pal8"} - set(FROM_SWSCALE) == {"pal8"}


@pytest.mark.parametrize("name", FROM_SWSCALE)
def test_every_format_that_swscale_writes_is_read_alike(name: str) -> None:
    described = describe_format(name)
    is_full = described.is_full_range or described.chroma == "gray"
    tags = ColorTags(6, RANGE_FULL if is_full else RANGE_LIMITED)
    # swscale takes floating-point grey for limited range, as it does everything that is not RGB.
    floor, reach = (16, 219) if name.startswith("grayf") else (0, 255)
    for colour in ((255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)):
        if described.bits == 1 and len(set(colour)) > 1:
            continue  # dithered
        source = make_frame("rgb24", [np.full((18, 34), value) for value in colour])
        frame = source.reformat(format=name, interpolation=SMOOTH, threads=1)
        rgb = frames_to_tensor([frame], tags)
        assert rgb.shape == (1, 3, 18, 34)
        wanted = np.array(colour) / 255
        if described.chroma == "gray":
            wanted = np.full(3, wanted @ (0.299, 0.587, 0.114)) * reach / 255 + floor / 255
        is_coarse = described.bits == 4 and "444" in name
        tolerance = 0.07 if is_coarse else 2 / 255
        assert np.abs(rgb[0].numpy() - wanted[:, None, None]).max() <= tolerance, colour


# Formats that swscale does not write


@pytest.mark.parametrize(
    "name", ["gbrpf32le", "gbrpf32be", "gbrapf32le", "gbrpf16le", "rgbf32le", "rgbaf16be", "rgbf16le", "grayf32be"]
)
def test_floating_point_is_taken_as_it_is(name: str) -> None:
    frame = av.VideoFrame(9, 4, name)
    samples = view_samples(frame)
    values = np.random.default_rng(5).random((3, 4, 9)).astype(np.float16)
    for view, plane in zip(samples.components, values, strict=False):
        view[...] = plane
    rgb = frames_to_tensor([frame], ColorTags(1, RANGE_LIMITED))[0].numpy()
    np.testing.assert_array_equal(rgb, values if len(samples.components) == 3 else values[[0, 0, 0]])


@pytest.mark.parametrize("name", ["gray32le", "rgb96le", "rgba128be", "gbrap32le"])
def test_thirty_two_bits(name: str) -> None:
    frame = av.VideoFrame(4, 1, name)
    for component in view_samples(frame).components:
        component[...] = [[0, 1 << 30, 3 << 30, 2**32 - 1]]
    rgb = frames_to_tensor([frame], ColorTags(1, RANGE_FULL))
    np.testing.assert_allclose(rgb[0, :, 0].numpy(), [[0, 0.25, 0.75, 1]] * 3, atol=1e-6)


@pytest.mark.parametrize("name", ["bayer_rggb8", "bayer_gbrg16le", "uyyvyy411"])
def test_what_ffmpeg_unpacks(name: str) -> None:
    frame = av.VideoFrame(16, 8, name)
    memory = np.frombuffer(frame.planes[0], np.uint8)
    memory[:] = 128
    rgb = frames_to_tensor([frame], ColorTags(1, RANGE_FULL))
    torch.testing.assert_close(rgb, torch.full((1, 3, 8, 16), 128 / 255), atol=1e-3, rtol=0)


# Tags and refusals


def test_frames_say_how_they_are_coded() -> None:
    rgb = torch.zeros(1, 3, 2, 2)
    (frame,) = tensor_to_frames(rgb, "yuv420p10le", ColorTags(9, RANGE_LIMITED, 9, 16))
    assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (9, 1, 9, 16)
    assert frame.pts is None
    (frame,) = tensor_to_frames(rgb, "gbrp", ColorTags(1, RANGE_LIMITED, 1, 13))
    assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (0, 2, 1, 13)


@pytest.mark.parametrize(("matrix", "name"), [(10, "constant luminance"), (14, "ICtCp")])
def test_matrices_beyond_a_matrix_are_refused(matrix: int, name: str) -> None:
    with pytest.raises(SourceError, match=name):
        frames_to_tensor([random_frame("yuv420p10le", 4, 4)], ColorTags(matrix, RANGE_LIMITED))
    with pytest.raises(SourceError, match=name):
        tensor_to_frames(torch.zeros(1, 3, 4, 4), "yuv420p10le", ColorTags(matrix, RANGE_LIMITED))


def test_rgb_in_subsampled_planes_is_refused() -> None:
    with pytest.raises(SourceError, match="yuv420p"):
        frames_to_tensor([random_frame("yuv420p", 4, 4)], ColorTags(0, RANGE_FULL))
    with pytest.raises(SettingsError, match="yuv420p"):
        tensor_to_frames(torch.zeros(1, 3, 4, 4), "yuv420p", ColorTags(0, RANGE_FULL))


@pytest.mark.parametrize("name", ["pal8", "rgb565le", "monob", "gbrpf32le", "gray32le"])
def test_formats_that_are_only_read_are_refused_for_writing(name: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        tensor_to_frames(torch.zeros(1, 3, 4, 4), name, ColorTags(1, RANGE_LIMITED))
    assert caught.value.hint


def test_a_batch_has_one_size() -> None:
    with pytest.raises(SourceError, match="8x4 to 4x8"):
        frames_to_tensor([random_frame("gray", 8, 4), random_frame("gray", 4, 8)], ColorTags(1, RANGE_FULL))


def test_alpha_is_reported_and_dropped() -> None:
    frame = random_frame("rgba", 6, 4)
    view_samples(frame).alpha[...] = 0
    assert has_alpha(frame)
    rgb = frames_to_tensor([frame], ColorTags(1, RANGE_FULL))[0]
    np.testing.assert_allclose(rgb.numpy() * 255, np.stack(codes_of(frame)), atol=1e-4)


# Real films


@pytest.mark.parametrize(
    ("clip", "tags"),
    [
        ("dv-toolbox/sony_good_quality.dv", ColorTags(6, RANGE_LIMITED)),  # yuv411p
        ("ffmpegwasm/video-3s.avi", ColorTags(6, RANGE_LIMITED)),  # yuv410p
        ("moviepy/pigs_in_a_polka.gif", ColorTags(0, RANGE_FULL)),  # bgra, odd size
        ("torchcodec/bt709_full_range.mp4", ColorTags(1, RANGE_FULL)),
        ("torchcodec/testsrc2_odd_width_vp9_10bit.mp4", ColorTags(6, RANGE_LIMITED)),
        ("torchcodec/testsrc2_12bit_hdr.mp4", ColorTags(9, RANGE_LIMITED)),
    ],
)
def test_real_films_look_as_swscale_shows_them(material: Path, clip: str, tags: ColorTags) -> None:
    with av.open(str(material / "clips" / clip)) as container:
        frame = next(container.decode(video=0))
        spaces = {1: Colorspace.ITU709, 6: Colorspace.ITU601, 9: Colorspace.BT2020, 0: None}
        shown = frame.reformat(
            format="rgb24",
            src_colorspace=spaces[tags.matrix],
            src_color_range=tags.range,
            interpolation=SMOOTH,
            threads=1,
        )
        rgb = frames_to_tensor([frame], tags)[0].clamp(0, 1).mul(255).numpy()
    difference = np.abs(rgb - np.stack(codes_of(shown)))
    assert difference.mean() < 1.5
    assert np.median(difference) <= 1


# On a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["yuv420p", "nv12", "yuv444p12le", "rgb24", "gray"])
def test_a_gpu_computes_the_same(name: str) -> None:
    tags = ColorTags(1, RANGE_LIMITED)
    frame = random_frame(name, 66, 34)
    rgb = frames_to_tensor([frame], tags, device="cuda")
    assert rgb.is_cuda
    torch.testing.assert_close(rgb.cpu(), frames_to_tensor([frame], tags), atol=1e-6, rtol=0)
    (again,) = tensor_to_frames(rgb, name, tags)
    np.testing.assert_array_equal(codes_of(again)[0], codes_of(frame)[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["nv12", "p010le"])
def test_frames_on_the_gpu_are_converted_there(name: str) -> None:
    tags = ColorTags(1, RANGE_LIMITED)
    frame = random_frame(name, 64, 32)
    planes = tuple(torch.from_dlpack(plane).clone().cuda() for plane in frame.planes)
    on_gpu = av.VideoFrame.from_dlpack(planes, format=name, width=64, height=32)
    assert on_gpu.format.name == "cuda"
    expected = frames_to_tensor([frame], tags)
    torch.testing.assert_close(frames_to_tensor([on_gpu], tags, device="cuda").cpu(), expected, atol=1e-6, rtol=0)
    assert torch.equal(frames_to_tensor([on_gpu], tags), expected)
