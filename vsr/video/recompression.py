"""What a lossy codec leaves of a few frames: coded and decoded again in memory, packet by packet.

Training uses it to make inputs that look as compressed films do, so a round takes milliseconds: bare codec contexts
without a container, one thread each (encoders give other bytes with other thread counts), fast encoder settings.
The way to Y'CbCr and back is our own: swscale's shortcut for 8-bit RGB darkens by more than a level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from vsr.errors import ProcessingError, SettingsError
from vsr.video.color import RANGE_LIMITED
from vsr.video.faults import FFMPEG_ERRORS
from vsr.video.matrix import Quantisation, decoding_matrix, encoding_matrix, quantise

__all__ = ["BLOCK", "LOSSY_CODECS", "MATRICES", "PROFILES", "equivalent_quality", "recompress"]

Picture = npt.NDArray[np.uint8]

BLOCK = 16  # the macroblock, which all of these codecs share
MATRICES = {"bt601": 6, "bt709": 1}  # code points of ITU-T H.273
PROFILES = ("baseline", "main", "high")
_RATE = Fraction(25)


@dataclass(frozen=True, slots=True)
class _Codec:
    """FFmpeg's pair of coders, the range of `quality`, and what an H.264 CRF of 20 and of 34 looks like in it."""

    encoder: str
    decoder: str
    best: int
    worst: int
    alike: tuple[float, float]
    by_scale: bool = False  # quality is a quantiser scale, linear in the step, where others are logarithmic
    by_bounds: bool = False  # constant quality by equal bounds of the quantiser: no CRF, or (VP8) one that is none
    options: Mapping[str, str] = field(default_factory=dict)
    bframes: bool = True


# x264's macroblock tree, too, reads memory that nobody wrote: other bytes in one run of twenty (seen at 144x144).
_X264 = {"preset": "veryfast", "x264-params": "mbtree=0"}
_X265 = {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1:cutree=0:rc-lookahead=4"}
_VP8 = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "b": "1M"}
_VP9 = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "b": "0"}

LOSSY_CODECS: Mapping[str, _Codec] = {
    "h264": _Codec("libx264", "h264", 1, 51, (20, 34), options=_X264),
    "hevc": _Codec("libx265", "hevc", 0, 51, (28, 42), options=_X265),
    "mpeg2": _Codec("mpeg2video", "mpeg2video", 1, 31, (4, 18), by_scale=True),
    "mpeg4": _Codec("mpeg4", "mpeg4", 1, 31, (3, 14), by_scale=True),
    "flv1": _Codec("flv", "flv", 1, 31, (3, 14), by_scale=True, bframes=False),
    "vp8": _Codec("libvpx", "vp8", 4, 63, (24, 56), by_bounds=True, options=_VP8, bframes=False),
    "vp9": _Codec("libvpx-vp9", "vp9", 0, 63, (40, 62), options=_VP9, bframes=False),
}


def equivalent_quality(codec: str, crf: float) -> int:
    """The `quality` of `codec` that loses about as much as x264 does at `crf` (by PSNR of natural pictures).

    Raises:
        SettingsError: there is no such codec.
    """
    coder = _find(codec)
    low, high = coder.alike
    share = (crf - 20) / 14
    value = low * (high / low) ** share if coder.by_scale else low + (high - low) * share
    return int(np.clip(round(value), coder.best, coder.worst))


def recompress(
    frames: Sequence[Picture],
    codec: str = "h264",
    quality: float = 28,
    *,
    profile: str = "high",
    bframes: int = 0,
    matrix: str = "bt601",
    phase: tuple[int, int] = (0, 0),
    kept: slice = slice(None),
) -> list[Picture]:
    """`frames` as they come out of `codec`, 4:2:0, 8 bit, limited range. The same frames give the same bytes.

    Nothing moves and nothing is tinted on the way to the codec and back (to 0.005 pixels and 0.1 levels); the codecs
    themselves do both where they are coarse. h264, hevc, vp8 and vp9 predict blocks from above and from the left and so
    drag content to the lower right: luma by 0.01 to 0.03 pixels, chroma by 0.03 to 0.1. What h264, mpeg2 and flv1
    interpolate they round up: half a level of luma and a level of red and blue over a few frames; mpeg4 takes turns.

    Args:
        frames: RGB, uint8, (H, W, 3), all of one size, any size from 1x1 on; the first becomes a key frame.
        codec: "h264", "hevc", "mpeg2", "mpeg4" (as DivX), "flv1" (Sorenson), "vp8" or "vp9".
        quality: lower is better. CRF 1 (0 is lossless) to 51 of h264, 0 to 51 of hevc, 4 to 63 of vp8, 0 to 63 of vp9;
            constant quantiser scale 1 to 31 of mpeg2, mpeg4 and flv1 (whole numbers).
        profile: "baseline", "main" or "high"; h264 alone knows it.
        bframes: bi-directional frames between two others; none in h264's baseline, flv1, vp8 and vp9.
        matrix: "bt601" or "bt709".
        phase: rows and columns by which the grid of 16x16 blocks begins above and left of the picture.
        kept: the frames to give back; the others are decoded but not converted.

    Raises:
        SettingsError: an unknown codec, profile or matrix, or a quality out of the codec's range.
        ProcessingError: the codec fails, or gives back another number of frames.
    """
    coder = _find(codec)
    if not coder.best <= quality <= coder.worst:
        raise SettingsError(
            f"quality {quality!r} is out of range", hint=f"{coder.best} (best) to {coder.worst} for {codec}"
        )
    if profile not in PROFILES:
        raise SettingsError(f"profile {profile!r} is not one of {', '.join(PROFILES)}")
    if matrix not in MATRICES:
        raise SettingsError(f"matrix {matrix!r} is not one of {', '.join(MATRICES)}")
    if not frames:
        return []
    height, width, _ = frames[0].shape
    assert all(frame.shape == frames[0].shape and frame.dtype == np.uint8 for frame in frames)
    top, left = phase[0] % BLOCK, phase[1] % BLOCK
    margins = ((top, -(top + height) % BLOCK), (left, -(left + width) % BLOCK), (0, 0))
    padded = [np.pad(frame, margins, mode="edge") for frame in frames]
    options = _options(codec, coder, quality, profile, bframes)
    try:
        planes = _round_trip(coder, options, [_to_planes(frame, matrix) for frame in padded], padded[0].shape)
    except FFMPEG_ERRORS as exc:
        raise ProcessingError(f"{codec} cannot code {width}x{height} at quality {quality:g}: {exc}") from exc
    if len(planes) != len(frames):
        raise ProcessingError(f"{codec} made {len(planes)} frames of {len(frames)} at {width}x{height}")
    return [_to_rgb(plane, matrix)[top : top + height, left : left + width] for plane in planes[kept]]


def _find(codec: str) -> _Codec:
    if codec not in LOSSY_CODECS:
        raise SettingsError(f"codec {codec!r} is not one of {', '.join(LOSSY_CODECS)}")
    return LOSSY_CODECS[codec]


def _options(codec: str, coder: _Codec, quality: float, profile: str, bframes: int) -> dict[str, str]:
    options = dict(coder.options)
    if coder.by_scale or coder.by_bounds:
        options |= {"qmin": str(round(quality)), "qmax": str(round(quality))}
    else:
        options["crf"] = f"{quality:g}"
    if codec == "h264":
        options["profile"] = profile
    if coder.bframes and not (codec == "h264" and profile == "baseline"):
        options["bf"] = str(bframes)
    return options


def _round_trip(coder: _Codec, options: dict[str, str], frames: list[Picture], shape: Sequence[int]) -> list[Picture]:
    """Encoder straight into decoder; frames are planar 4:2:0 as (H * 3 / 2, W), multiples of the block."""
    encoder = cast(av.VideoCodecContext, av.CodecContext.create(coder.encoder, "w"))
    encoder.height, encoder.width = shape[:2]
    encoder.pix_fmt = "yuv420p"
    encoder.time_base, encoder.framerate = 1 / _RATE, _RATE
    encoder.thread_count = 1
    encoder.options = options
    encoder.open()
    decoder = cast(av.VideoCodecContext, av.CodecContext.create(coder.decoder, "r"))
    decoder.thread_count = 1
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    decoded: list[av.VideoFrame] = []
    for number, planes in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = number, 1 / _RATE
        for packet in encoder.encode(frame):
            decoded += decoder.decode(packet)
    for packet in encoder.encode(None):
        decoded += decoder.decode(packet)
    decoded += decoder.decode(None)
    return [cast(Picture, frame.to_ndarray()) for frame in decoded]


def _to_planes(frame: Picture, matrix: str) -> Picture:
    """(H, W, 3) RGB -> (H * 3 / 2, W): Y, then Cb and Cr at half the size, each the mean of 2x2."""
    height, width, _ = frame.shape
    luma, *chroma = Image.fromarray(frame).convert("RGB", _affine_to_yuv(matrix)).split()
    return np.concatenate([np.asarray(luma), *(_halve(plane).reshape(height // 4, width) for plane in chroma)])


def _halve(plane: Image.Image) -> Picture:
    """Means of 2x2. A half goes up in every other column and else down: always up would tint by a third of a level."""
    codes = np.asarray(plane).astype(np.uint16)
    rows = codes[::2] + codes[1::2]
    means = rows[:, ::2] + rows[:, 1::2] + np.uint16(1)
    means[:, ::2] += np.uint16(1)
    return (means >> 2).astype(np.uint8)


def _to_rgb(planes: Picture, matrix: str) -> Picture:
    """The inverse of `_to_planes`, chroma interpolated between the centres of its 2x2."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    halves = planes[height:].reshape(2, height // 2, width // 2)
    layers = [Image.fromarray(plane) for plane in (planes[:height], _double(halves[0]), _double(halves[1]))]
    return np.asarray(Image.merge("RGB", layers).convert("RGB", _affine_to_rgb(matrix)))


def _double(plane: Picture) -> Picture:
    """Linear interpolation to twice the size, centres between centres; one rounding, where Pillow's two would tint."""
    edged = np.pad(plane, 1, mode="edge").astype(np.uint16)
    rows = np.stack([edged[:-2] + 3 * edged[1:-1], 3 * edged[1:-1] + edged[2:]], axis=1).reshape(-1, edged.shape[1])
    near, left, right = 3 * rows[:, 1:-1], rows[:, :-2], rows[:, 2:]
    columns = np.stack([left + near, near + right], axis=2).reshape(len(rows), -1)
    return ((columns + np.uint16(8)) >> 4).astype(np.uint8)


@cache
def _affine_to_yuv(matrix: str) -> tuple[float, ...]:
    """Pillow's 3x4 matrix from 8-bit RGB to 8-bit Y'CbCr (ITU-T H.273, section 8.3)."""
    forward, offsets = _scaled(matrix)
    return tuple(np.column_stack([forward, offsets]).ravel().tolist())


@cache
def _affine_to_rgb(matrix: str) -> tuple[float, ...]:
    codes = _quantisation(matrix)
    scales = np.array([codes.luma_scale, codes.chroma_scale, codes.chroma_scale])
    backward = np.array(decoding_matrix(MATRICES[matrix])) / scales * 255.0
    _, offsets = _scaled(matrix)
    return tuple(np.column_stack([backward, -backward @ offsets]).ravel().tolist())


def _scaled(matrix: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    codes = _quantisation(matrix)
    scales = np.array([codes.luma_scale, codes.chroma_scale, codes.chroma_scale])
    offsets = np.array([codes.luma_offset, codes.chroma_offset, codes.chroma_offset])
    return np.array(encoding_matrix(MATRICES[matrix])) * scales[:, None] / 255.0, offsets


def _quantisation(matrix: str) -> Quantisation:
    return quantise(8, RANGE_LIMITED, MATRICES[matrix])
