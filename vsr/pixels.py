"""Frames to tensors and back: matrix, range, bit depth and chroma siting; the one place that knows PyAV and torch.

Formulas: ITU-T H.273, section 8.3 (see `vsr.video.matrix`). Arithmetic is float32 throughout; values keep the
film's own transfer function (gamma, PQ or HLG), nothing is linearised. Both directions are plain functions of their
arguments and may run in several threads at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from vsr.chroma import decimate, interpolate, restore
from vsr.errors import SettingsError, SourceError
from vsr.planar import PlaneCodes, Planes
from vsr.video.color import MATRIX_RGB, RANGE_FULL, ColorTags
from vsr.video.device_frame import DeviceFrame
from vsr.video.matrix import decoding_matrix, encoding_matrix, quantise
from vsr.video.pixel_format import ChromaSiting, PixelFormat, describe_format
from vsr.video.planes import Samples, has_alpha, view_samples

__all__ = ["ChromaSiting", "describe_planes", "frames_to_tensor", "has_alpha", "make_frame", "tensor_to_frames"]

# Layouts of CUDA frames that PyAV hands out without a copy: bits, shift.
_CUDA_LAYOUTS = {"nv12": (8, 0), "p010le": (10, 6), "p016le": (16, 0)}

# Three planes, nothing interleaved; the byte order of the machines that vsr runs on.
_PLANAR_YUV = re.compile(r"yuvj?4\d\dp(\d+le)?")

_RGB_WEIGHTS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

# One less than torch's grain (at::internal::GRAIN_SIZE), from which on it forks.
_SERIAL_ELEMENTS = 32767


@torch.no_grad()
def frames_to_tensor(
    frames: Sequence[av.VideoFrame | DeviceFrame],
    tags: ColorTags,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    siting: ChromaSiting = ChromaSiting.LEFT,
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
            components = [_to_tensor(component, rgb_CHW.device) for component in samples.components]
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
    pixel_format = describe_format(pix_fmt)
    if frames_BCHW.device.type != "cuda":
        frames_BCHW = frames_BCHW.cpu()
    if pixel_format.is_rgb:
        tags = ColorTags(MATRIX_RGB, RANGE_FULL, tags.primaries, tags.transfer)
    elif tags.matrix == MATRIX_RGB and pixel_format.chroma != "444":
        raise SettingsError(f"pixel format {pix_fmt!r} cannot hold RGB", hint="give the tags a matrix, such as BT.709")
    return [_encode(rgb_CHW, pixel_format, tags, siting) for rgb_CHW in frames_BCHW]


def describe_planes(pix_fmt: str, tags: ColorTags, *, siting: ChromaSiting = ChromaSiting.LEFT) -> PlaneCodes | None:
    """How the codes of `tensor_to_frames` come about, for whoever makes them himself; None where the format is none of
    three whole planes of Y'CbCr in the machine's own byte order.

    Raises:
        SettingsError, SourceError: as `tensor_to_frames`.
    """
    pixel_format = describe_format(pix_fmt)
    if pixel_format.is_rgb or not _PLANAR_YUV.fullmatch(pix_fmt) or tags.matrix == MATRIX_RGB:
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


def _new_frame(width: int, height: int, pix_fmt: str, tags: ColorTags) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, pix_fmt)
    frame.color_range, frame.colorspace = tags.range, tags.matrix
    frame.color_primaries, frame.color_trc = tags.primaries, tags.transfer
    return frame


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
    for top, bottom in _bands(rgb_CHW, pixel_format.subsampling[0]):
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
    for top, bottom in _bands(rgb_CHW):
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


def _encode(rgb_CHW: Tensor, pixel_format: PixelFormat, tags: ColorTags, siting: ChromaSiting) -> av.VideoFrame:
    height, width = rgb_CHW.shape[1:]
    frame = _new_frame(width, height, pixel_format.name, tags)
    samples = view_samples(frame)
    if not samples.is_view or pixel_format.is_float or pixel_format.bits > 16:
        raise SettingsError(
            f"pixel format {pixel_format.name!r} cannot be written", hint="use a planar one, such as yuv420p10le"
        )
    color_range = RANGE_FULL if pixel_format.is_full_range else tags.range
    codes = quantise(pixel_format.bits, color_range, tags.matrix)
    weights = _RGB_WEIGHTS if pixel_format.is_rgb else encoding_matrix(tags.matrix)
    is_yuv = not pixel_format.is_rgb and len(samples.components) == 3
    (down, across), (is_down_cosited, is_across_cosited) = pixel_format.subsampling, siting.is_cosited
    halo = down if down > 1 and is_down_cosited else 0
    for top, bottom in _bands(rgb_CHW, down, planes=2 if is_yuv else 1):
        start = max(0, top - halo)
        planes = [_straighten(plane) for plane in rgb_CHW[:, start : bottom + halo]]
        whole = [plane[top - start : bottom - start] for plane in planes]
        for index in range(1 if is_yuv else len(samples.components)):
            values = _mix(whole, weights[index], codes.luma_scale)
            _round(values, codes.luma_offset, codes.peak)
            _store(values, samples, index, top)
        if is_yuv:
            # Filtering and matrix commute; rows first, since those are cheap, then two planes instead of three.
            rows = [decimate(plane, -2, down, is_cosited=is_down_cosited) for plane in planes]
            rows = [plane[(top - start) // down :][: -(-(bottom - top) // down)] for plane in rows]
            chroma = torch.empty((2, *rows[0].shape), device=rows[0].device)
            for plane, parts in zip(chroma, weights[1:], strict=True):
                _mix(rows, parts, codes.chroma_scale, out=plane)
            chroma = decimate(chroma, -1, across, is_cosited=is_across_cosited)
            _round(chroma, codes.chroma_offset, codes.peak)
            for index in (1, 2):
                _store(chroma[index - 1], samples, index, top // down)
    if samples.alpha is not None:
        samples.alpha[...] = int(codes.peak) << samples.shift
    return frame


def _bands(rgb_CHW: Tensor, down: int = 1, planes: int = 1) -> Iterator[tuple[int, int]]:
    """Bands of rows (top, bottom) to work on at a time, for chroma of 1/`down` the rows in `planes` planes at once.

    On a CPU torch runs what is smaller than 32768 elements on the calling thread alone. Where decoder, network
    and encoder share the cores that is what one wants: a parallel region waits for its slowest thread, dozens of
    times per frame (0.2 ms became 110 ms beside two busy processes). It also keeps the work in the cache.
    """
    height, width = rgb_CHW.shape[1:]
    if rgb_CHW.device.type != "cpu":
        yield 0, height
        return
    rows = max(1, _SERIAL_ELEMENTS // (width * max(down, planes))) * down
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def _straighten(plane_HW: Tensor) -> Tensor:
    plane_HW = plane_HW.to(torch.float32)
    return plane_HW if plane_HW.stride(-1) == 1 else plane_HW.contiguous()


def _mix(planes: Sequence[Tensor], weights: Sequence[float], scale: float, out: Tensor | None = None) -> Tensor:
    """The weighted sum of red, green and blue, in `out` or a new tensor."""
    parts = [(plane, weight * scale) for plane, weight in zip(planes, weights, strict=True) if weight]
    mixed = torch.mul(parts[0][0], parts[0][1], out=out)
    for plane, weight in parts[1:]:
        mixed.add_(plane, alpha=weight)
    return mixed


def _round(values: Tensor, offset: float, peak: float) -> None:
    """Make codes of `values` + `offset`, in place: what is left to do is to cut their fractions off."""
    # Converting to integers truncates, which for the positive is rounding to nearest once a half is added.
    values.add_(offset + 0.5).clamp_(0.0, peak)


def _store(values: Tensor, samples: Samples, index: int, top: int) -> None:
    """Store rounded `values` as the rows from `top` on of component `index`."""
    target = samples.components[index][top : top + values.size(0)]
    if samples.shift:
        values = values.to(torch.int32) << samples.shift
    if values.device.type != "cpu":
        # Only the codes cross the bus.
        values = values.to(torch.uint8 if target.itemsize == 1 else torch.uint16)
    # numpy, unlike torch, writes any byte order and stride, and converts to 8 bits several times faster.
    target[...] = values.cpu().numpy()


def _to_tensor(component: npt.NDArray[Any], device: torch.device) -> Tensor:
    """`component` on `device`, still in codes; on the CPU a view wherever torch can express it."""
    if not component.dtype.isnative or component.itemsize == 4:
        # float32 holds 32-bit integers to 24 bits, more than any network sees.
        component = component.astype(np.float32 if component.itemsize == 4 else component.dtype.newbyteorder("="))
    elif not _is_shareable(component):
        component = np.ascontiguousarray(component)
    return torch.from_numpy(component).to(device)


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
