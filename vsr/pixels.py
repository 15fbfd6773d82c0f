"""Frames to tensors and back: matrix, range, bit depth and chroma siting; the one place that knows PyAV and torch.

Formulas: ITU-T H.273, section 8.3 (see `vsr.video.matrix`). Arithmetic is float32 throughout; values keep the
film's own transfer function (gamma, PQ or HLG), nothing is linearised. Both directions are plain functions of their
arguments and may run in several threads at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from vsr.chroma import interpolate, restore
from vsr.codes import cut_bands, cut_fractions, make_codes
from vsr.errors import SettingsError, SourceError
from vsr.planar import PlaneCodes, Planes
from vsr.video.color import MATRIX_RGB, RANGE_FULL, ColorTags
from vsr.video.device_frame import DeviceFrame
from vsr.video.matrix import decoding_matrix, encoding_matrix, quantise
from vsr.video.pixel_format import ChromaSiting, PixelFormat, describe_format
from vsr.video.planes import Samples, has_alpha, view_samples

__all__ = [
    "ChromaSiting",
    "codes_to_frame",
    "describe_planes",
    "frames_to_tensor",
    "has_alpha",
    "make_frame",
    "tensor_to_codes",
    "tensor_to_frames",
    "wrap_surface",
]

# Layouts of CUDA frames that PyAV hands out without a copy: bits, shift.
_CUDA_LAYOUTS = {"nv12": (8, 0), "p010le": (10, 6), "p016le": (16, 0)}

# Three components, each with codes from bit 0 on, in the byte order of the machines that vsr runs on.
_THREE_COMPONENTS = re.compile(r"yuvj?4\d\dp(\d+le)?|nv12")


@torch.no_grad()
def frames_to_tensor(
    frames: Sequence[av.VideoFrame | DeviceFrame],
    tags: ColorTags,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    siting: ChromaSiting = ChromaSiting.LEFT,
    upload: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Non-linear RGB of some frames, exactly as H.273 defines it.

    Args:
        frames: one or more frames of one size, in any pixel format; alpha is dropped (see `has_alpha`).
            CUDA frames are converted where they are when `device` is CUDA, and downloaded otherwise.
        tags: resolved tags (matrix and range decided). RGB, yuvj*, one-bit and float formats are full range
            whatever they say; grey needs no matrix.
        device: where the result lies; with CUDA the conversion runs there and only the samples travel.
        dtype: float32, float16 or bfloat16, of the result only.
        siting: place of the chroma samples, for subsampled formats.
        upload: brings rows and columns of codes (any strides) to `device`; None: a plain copy, which is waited for.

    Returns:
        B,3,H,W, contiguous, nominally 0..1. Not clamped: what a limited-range film holds below black and above
        white, and colours outside the RGB cube, are kept, so that encoding them again gives the same codes.

    Raises:
        SourceError: a pixel format that cannot be read, matrix coefficients that no 3x3 matrix undoes
            (BT.2020 constant luminance, ICtCp), or frames of different sizes.
    """
    height, width = frames[0].height, frames[0].width
    device = torch.device(device)
    # Other devices than CUDA may lack unsigned 16-bit samples: they get finished pictures.
    workplace = device if device.type == "cuda" else "cpu"
    result = torch.empty((len(frames), 3, height, width), dtype=torch.float32, device=workplace)
    for frame, rgb_CHW in zip(frames, result, strict=True):
        if (frame.height, frame.width) != (height, width):
            raise SourceError(f"the picture changes from {width}x{height} to {frame.width}x{frame.height} in one batch")
        if isinstance(frame, DeviceFrame):
            _decode_device_frame(frame, tags, siting, rgb_CHW)
            continue
        layout = frame.sw_format.name if frame.format.name == "cuda" and frame.sw_format else None
        if layout in _CUDA_LAYOUTS and rgb_CHW.is_cuda:
            _decode_cuda(frame, layout, tags, siting, rgb_CHW)
        else:
            samples = view_samples(frame)
            components = [_to_tensor(component, rgb_CHW.device, upload) for component in samples.components]
            _decode(components, samples.pixel_format, samples.bits, samples.shift, tags, siting, rgb_CHW)
    return result.to(dtype).to(device)


@torch.no_grad()
def tensor_to_frames(
    frames_BCHW: Tensor, pix_fmt: str, tags: ColorTags, *, siting: ChromaSiting = ChromaSiting.LEFT
) -> list[av.VideoFrame]:
    """Fresh frames in system memory, rounded to the nearest code, with the colour tags set and no time stamp.

    Args:
        frames_BCHW: B,3,H,W non-linear RGB, nominally 0..1, any floating dtype, device and strides. What lies
            outside is kept as far as the codes reach (limited range has room there), then clipped.
        pix_fmt: planar, semi-planar or packed, YUV, RGB or grey, of up to 16 bits per sample. Grey formats take
            the luma; alpha becomes opaque.
        tags: resolved tags to convert with. RGB formats are full range and say matrix 0 whatever these say.
        siting: place of the chroma samples, for subsampled formats. PyAV cannot state it in the frame.

    Raises:
        SettingsError: a pixel format that is not written here (palettes, bit fields, floats), or the RGB
            matrix in subsampled YUV.
        SourceError: matrix coefficients that no 3x3 matrix describes.
    """
    pixel_format, tags = _check_target(pix_fmt, tags)
    if frames_BCHW.device.type != "cuda":
        frames_BCHW = frames_BCHW.cpu()
    return [_encode(rgb_CHW, pixel_format, tags, siting) for rgb_CHW in frames_BCHW]


@torch.no_grad()
def tensor_to_codes(
    frames_BCHW: Tensor, pix_fmt: str, tags: ColorTags, *, siting: ChromaSiting = ChromaSiting.LEFT
) -> list[list[Tensor]]:
    """The first half of `tensor_to_frames`: for each frame the codes of its components, on the device of the tensor.

    Args, Raises: as `tensor_to_frames`.

    Returns:
        For each frame, for `codes_to_frame`: rows and columns of uint8 or uint16, chroma at its own size.
    """
    pixel_format, tags = _check_target(pix_fmt, tags)
    samples = _view_writable(_new_frame(8, 8, pix_fmt, tags), pixel_format)
    dtype = torch.uint8 if samples.components[0].itemsize == 1 else torch.uint16
    frames = []
    for rgb_CHW in frames_BCHW:
        bands: list[list[Tensor]] = [[] for _ in samples.components]
        for index, _, values in make_codes(rgb_CHW, pixel_format, tags, siting, len(bands)):
            bands[index].append(values)
        frames.append([cut_fractions(torch.cat(values), samples.shift, dtype) for values in bands])
    return frames


def codes_to_frame(codes: Sequence[Tensor], pix_fmt: str, tags: ColorTags) -> av.VideoFrame:
    """The second half of `tensor_to_frames`: a fresh frame of the codes of its components, which lie on the CPU."""
    pixel_format, tags = _check_target(pix_fmt, tags)
    height, width = codes[0].shape
    frame = _new_frame(width, height, pix_fmt, tags)
    samples = _view_writable(frame, pixel_format)
    for component, values in zip(samples.components, codes, strict=True):
        component[...] = values.numpy()
    _make_opaque(samples)
    return frame


def describe_planes(pix_fmt: str, tags: ColorTags, *, siting: ChromaSiting = ChromaSiting.LEFT) -> PlaneCodes | None:
    """How the codes of `tensor_to_frames` come about, for whoever makes them himself; None where the format is none of
    three components of Y'CbCr, or has its codes in the upper bits or another byte order.

    Raises:
        SettingsError, SourceError: as `tensor_to_frames`.
    """
    pixel_format = describe_format(pix_fmt)
    if pixel_format.is_rgb or not _THREE_COMPONENTS.fullmatch(pix_fmt) or tags.matrix == MATRIX_RGB:
        return None
    color_range = RANGE_FULL if pixel_format.is_full_range else tags.range
    codes = quantise(pixel_format.bits, color_range, tags.matrix)
    return PlaneCodes(
        encoding_matrix(tags.matrix),
        codes.luma_scale,
        codes.luma_offset,
        codes.chroma_scale,
        codes.chroma_offset,
        codes.peak,
        *pixel_format.subsampling,
        *siting.is_cosited,
    )


def make_frame(width: int, height: int, pix_fmt: str, tags: ColorTags) -> tuple[av.VideoFrame, Planes]:
    """A fresh frame in system memory with its colour tags set, and its three planes, to be filled in place.

    Args:
        pix_fmt: one that `describe_planes` describes.
    """
    frame = _new_frame(width, height, pix_fmt, tags)
    luma, blueness, redness = (torch.from_numpy(component) for component in view_samples(frame).components)
    return frame, (luma, blueness, redness)


def wrap_surface(surface: Tensor, pix_fmt: str, tags: ColorTags) -> av.VideoFrame:
    """A frame on a GPU that is `surface`, without a copy, for NVENC. Not yet run on a GPU.

    Args:
        surface: 3H/2,W uint8 (nv12) or uint16 (p010le) on CUDA, contiguous: luma above, both chroma components in turn
            below, complete. It must not be written to while an encoder may hold the frame.
    """
    rows, width = surface.shape
    height = rows * 2 // 3
    # The context that is current here, torch's, is the one that the memory belongs to.
    frame = av.VideoFrame.from_dlpack(
        (surface[:height], surface[height:].view(height // 2, width // 2, 2)), format=pix_fmt, primary_ctx=False,
        current_ctx=True,
    )  # fmt: skip
    _set_tags(frame, tags)
    return frame


def _new_frame(width: int, height: int, pix_fmt: str, tags: ColorTags) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, pix_fmt)
    _set_tags(frame, tags)
    return frame


def _set_tags(frame: av.VideoFrame, tags: ColorTags) -> None:
    frame.color_range, frame.colorspace = tags.range, tags.matrix
    frame.color_primaries, frame.color_trc = tags.primaries, tags.transfer


def _decode(
    components: Sequence[Tensor],
    pixel_format: PixelFormat,
    bits: Sequence[int],
    shift: int,
    tags: ColorTags,
    siting: ChromaSiting,
    rgb_CHW: Tensor,
) -> None:
    """Fill `rgb_CHW` (float32) from integer or float components of the same device."""
    color_range = RANGE_FULL if pixel_format.is_full_range else tags.range
    unit = 2.0**shift
    if pixel_format.is_rgb:
        scales, offset = [1.0 if pixel_format.is_float else (2.0**depth - 1) * unit for depth in bits], 0.0
        _decode_channels(components, scales, offset, rgb_CHW)
        return
    codes = quantise(bits[0], color_range, tags.matrix)
    luma_scale, luma_offset = codes.luma_scale * unit, codes.luma_offset * unit
    if pixel_format.is_float:
        luma_scale, luma_offset = 1.0, 0.0
    if len(components) == 1:
        _decode_channels([*components] * 3, [luma_scale] * 3, luma_offset, rgb_CHW)
        return
    if tags.matrix == MATRIX_RGB:
        if pixel_format.chroma != "444":
            raise SourceError(
                f"the film says RGB, but its pixel format is {pixel_format.name}", hint="correct its tags"
            )
        green, blue, red = components
        _decode_channels((red, green, blue), [luma_scale] * 3, luma_offset, rgb_CHW)
        return
    weights = [
        [weight / (codes.chroma_scale * unit) for weight in (blueness, redness)]
        for _, blueness, redness in decoding_matrix(tags.matrix)
    ]
    for top, bottom in cut_bands(rgb_CHW, pixel_format.subsampling[0]):
        luma, *others = rgb_CHW[:, top:bottom]
        luma.copy_(components[0][top:bottom]).sub_(luma_offset).div_(luma_scale)
        chroma = [
            _upsample(plane, codes.chroma_offset * unit, pixel_format, siting, rgb_CHW.shape[1:], top, bottom)
            for plane in components[1:]
        ]
        # Red last: luma lies in its place until then.
        for channel, parts in zip((*others, luma), (*weights[1:], weights[0]), strict=True):
            source = luma
            for plane, weight in zip(chroma, parts, strict=True):
                if weight:
                    source = torch.add(source, plane, alpha=weight, out=channel)


def _decode_channels(components: Sequence[Tensor], scales: Sequence[float], offset: float, rgb_CHW: Tensor) -> None:
    for top, bottom in cut_bands(rgb_CHW):
        for channel, component, scale in zip(rgb_CHW[:, top:bottom], components, scales, strict=True):
            channel.copy_(component[top:bottom])
            if offset:
                channel.sub_(offset)
            # Dividing, not multiplying by a reciprocal, makes white exactly 1.
            if scale != 1.0:
                channel.div_(scale)


def _upsample(
    codes_HW: Tensor,
    offset: float,
    pixel_format: PixelFormat,
    siting: ChromaSiting,
    size: Sequence[int],
    top: int,
    bottom: int,
) -> Tensor:
    """Rows `top` to `bottom` of a chroma plane at luma's `size`, less `offset`; float32."""
    (down, across), (is_down_cosited, is_across_cosited) = pixel_format.subsampling, siting.is_cosited
    halo = 1 if down > 1 else 0
    first, last = max(0, top // down - halo), min(codes_HW.size(0), -(-bottom // down) + halo)
    chroma = codes_HW[first:last].to(torch.float32).sub_(offset)
    chroma = interpolate(chroma, -1, size[1], across, is_cosited=is_across_cosited)
    chroma = interpolate(
        chroma, -2, min((last - first) * down, size[0] - first * down), down, is_cosited=is_down_cosited
    )
    return chroma[top - first * down : bottom - first * down]


def _check_target(pix_fmt: str, tags: ColorTags) -> tuple[PixelFormat, ColorTags]:
    """The format, and the tags that it is to be written with."""
    pixel_format = describe_format(pix_fmt)
    if pixel_format.is_rgb:
        tags = ColorTags(MATRIX_RGB, RANGE_FULL, tags.primaries, tags.transfer)
    elif tags.matrix == MATRIX_RGB and pixel_format.chroma != "444":
        raise SettingsError(f"pixel format {pix_fmt!r} cannot hold RGB", hint="give the tags a matrix, such as BT.709")
    return pixel_format, tags


def _view_writable(frame: av.VideoFrame, pixel_format: PixelFormat) -> Samples:
    samples = view_samples(frame)
    if not samples.is_view or pixel_format.is_float or pixel_format.bits > 16:
        raise SettingsError(
            f"pixel format {pixel_format.name!r} cannot be written", hint="use a planar one, such as yuv420p10le"
        )
    return samples


def _encode(rgb_CHW: Tensor, pixel_format: PixelFormat, tags: ColorTags, siting: ChromaSiting) -> av.VideoFrame:
    height, width = rgb_CHW.shape[1:]
    frame = _new_frame(width, height, pixel_format.name, tags)
    samples = _view_writable(frame, pixel_format)
    for index, top, values in make_codes(rgb_CHW, pixel_format, tags, siting, len(samples.components)):
        _store(values, samples, index, top)
    _make_opaque(samples)
    return frame


def _make_opaque(samples: Samples) -> None:
    if samples.alpha is not None:
        samples.alpha[...] = ((1 << samples.bits[0]) - 1) << samples.shift


def _store(values: Tensor, samples: Samples, index: int, top: int) -> None:
    """Store rounded `values` as the rows from `top` on of component `index`."""
    target = samples.components[index][top : top + values.size(0)]
    if values.device.type != "cpu":
        # Only the codes cross the bus.
        values = cut_fractions(values, samples.shift, torch.uint8 if target.itemsize == 1 else torch.uint16)
    elif samples.shift:
        values = values.to(torch.int32) << samples.shift
    # numpy, unlike torch, writes any byte order and stride, and converts to 8 bits several times faster.
    target[...] = values.cpu().numpy()


def _to_tensor(component: npt.NDArray[Any], device: torch.device, upload: Callable[[Tensor], Tensor] | None) -> Tensor:
    """`component` on `device`, still in codes; on the CPU a view wherever torch can express it."""
    if not component.dtype.isnative or component.itemsize == 4:
        # float32 holds 32-bit integers to 24 bits, more than any network sees.
        component = component.astype(np.float32 if component.itemsize == 4 else component.dtype.newbyteorder("="))
    elif not _is_shareable(component):
        component = np.ascontiguousarray(component)
    codes_HW = torch.from_numpy(component)
    return codes_HW.to(device) if upload is None else upload(codes_HW)


def _is_shareable(component: npt.NDArray[Any]) -> bool:
    """Torch knows neither negative strides nor strides that are no multiple of the sample."""
    return component.flags.aligned and all(s >= 0 and s % component.itemsize == 0 for s in component.strides)


def _decode_cuda(frame: av.VideoFrame, layout: str, tags: ColorTags, siting: ChromaSiting, rgb_CHW: Tensor) -> None:
    """Convert a frame of NVDEC without leaving its device. Written from PyAV's source; not yet run on a GPU."""
    bits, shift = _CUDA_LAYOUTS[layout]
    # FFmpeg works on the legacy default stream: wait for it before reading, and keep it from reusing the surface
    # (which goes back to the decoder's pool with the frame) until everything queued here has been read.
    current, default = torch.cuda.current_stream(rgb_CHW.device), torch.cuda.default_stream(rgb_CHW.device)
    current.wait_stream(default)
    luma, chroma = (from_dlpack(plane.__dlpack__()) for plane in frame.planes[:2])
    components = (luma, chroma[..., 0], chroma[..., 1])
    _decode(components, describe_format(layout), (bits,) * 3, shift, tags, siting, rgb_CHW)
    default.wait_stream(current)


def _decode_device_frame(frame: DeviceFrame, tags: ColorTags, siting: ChromaSiting, rgb_CHW: Tensor) -> None:
    """Convert a frame of DALI: its chroma goes back to 4:2:0, for the film's own siting. Not yet run on a GPU."""
    codes_HWC = from_dlpack(frame.codes)[frame.position]
    planes = [restore(restore(codes_HWC[..., index].float(), -1), -2).round_() for index in (1, 2)]
    _decode((codes_HWC[..., 0], *planes), describe_format(frame.pixel_format), (8, 8, 8), 0, tags, siting, rgb_CHW)
    if rgb_CHW.is_cuda:
        # DALI takes the memory back with the last frame in it, on a stream of its own that knows nothing of this one.
        torch.cuda.current_stream(rgb_CHW.device).synchronize()
