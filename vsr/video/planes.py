"""The samples of a frame as arrays, whatever the pixel format: views of the frame's memory wherever that is possible.

The layouts are those of FFmpeg's libavutil/pixfmt.h; PyAV tells a component's plane and depth, but neither its place
inside a packed pixel nor its shift, so these stand here in tables. A "stem" is a format's name without its byte order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.video.plane import VideoPlane

from vsr.errors import SourceError
from vsr.video.faults import FFMPEG_ERRORS
from vsr.video.pixel_format import PixelFormat, describe_format

Array = npt.NDArray[Any]

# Order of the components in a packed pixel; "x" is unused.
_PACKED = {
    **dict.fromkeys(("rgb24", "rgb48", "rgb96", "rgbf16", "rgbf32"), "rgb"),
    **dict.fromkeys(("bgr24", "bgr48"), "bgr"),
    **dict.fromkeys(("rgba", "rgba64", "rgba128", "rgbaf16", "rgbaf32"), "rgba"),
    **dict.fromkeys(("bgra", "bgra64"), "bgra"),
    **dict.fromkeys(("ya8", "ya16", "yaf16", "yaf32"), "ya"),
    **dict.fromkeys(("ayuv", "ayuv64"), "ayuv"),
    **dict.fromkeys(("xv36", "xv48"), "uyvx"),
    "argb": "argb",
    "abgr": "abgr",
    "rgb0": "rgbx",
    "bgr0": "bgrx",
    "0rgb": "xrgb",
    "0bgr": "xbgr",
    "vuya": "vuya",
    "vuyx": "vuyx",
    "vyu444": "vyu",
    "uyva": "uyva",
}
# Two pixels share one pair of chroma samples.
_PACKED_PAIRS = {
    **dict.fromkeys(("yuyv422", "y210", "y212", "y216"), "yuyv"),
    "uyvy422": "uyvy",
    "yvyu422": "yvyu",
}
# A luma plane, and one with both chroma components in turn.
_SEMIPLANAR = {
    **dict.fromkeys(("nv12", "nv16", "nv20", "nv24", "p010", "p012", "p016"), "uv"),
    **dict.fromkeys(("p210", "p212", "p216", "p410", "p412", "p416"), "uv"),
    **dict.fromkeys(("nv21", "nv42"), "vu"),
}
# Bytes per pixel, then (lowest bit, number of bits) of each component: red, green, blue or Y, Cb, Cr.
_BIT_FIELDS = {
    "rgb8": (1, ((5, 3), (2, 3), (0, 2))),
    "bgr8": (1, ((0, 3), (3, 3), (6, 2))),
    "rgb4_byte": (1, ((3, 1), (1, 2), (0, 1))),
    "bgr4_byte": (1, ((0, 1), (1, 2), (3, 1))),
    "rgb444": (2, ((8, 4), (4, 4), (0, 4))),
    "bgr444": (2, ((0, 4), (4, 4), (8, 4))),
    "rgb555": (2, ((10, 5), (5, 5), (0, 5))),
    "bgr555": (2, ((0, 5), (5, 5), (10, 5))),
    "rgb565": (2, ((11, 5), (5, 6), (0, 5))),
    "bgr565": (2, ((0, 5), (5, 6), (11, 5))),
    "x2rgb10": (4, ((20, 10), (10, 10), (0, 10))),
    "x2bgr10": (4, ((0, 10), (10, 10), (20, 10))),
    "xv30": (4, ((10, 10), (0, 10), (20, 10))),
    "v30x": (4, ((12, 10), (2, 10), (22, 10))),
}
# Rare layouts that FFmpeg unpacks first, to a format that needs neither another matrix nor another range.
_UNPACKED_BY_FFMPEG = {
    "uyyvyy411": "yuv411p",
    "rgb4": "rgb24",
    "bgr4": "bgr24",
    "xyz12": "rgb48le",
    **{f"bayer_{pattern}8": "rgb24" for pattern in ("bggr", "rggb", "gbrg", "grbg")},
    **{f"bayer_{pattern}16": "rgb48le" for pattern in ("bggr", "rggb", "gbrg", "grbg")},
}


@dataclass(frozen=True, slots=True)
class Samples:
    """The components of one frame.

    Attributes:
        pixel_format: of the frame they lie in (after unpacking by FFmpeg, where that was needed).
        components: Y; Y, Cb, Cr; or R, G, B: arrays of rows and columns, chroma at its own size. Views of the
            frame's memory: any strides, and the byte order of the format.
        alpha: the opacity in the same manner, None where there is none.
        bits: of each component's codes, once shifted.
        shift: the codes lie this many bits above bit 0.
        is_view: writing to the arrays writes to the frame.
    """

    pixel_format: PixelFormat
    components: tuple[Array, ...]
    alpha: Array | None
    bits: tuple[int, ...]
    shift: int = 0
    is_view: bool = True


def view_samples(frame: av.VideoFrame) -> Samples:
    """The samples of a frame in system memory, or of a hardware frame after its download.

    Raises:
        SourceError: the pixel format is one that neither this table nor FFmpeg unpacks.
    """
    frame = download(frame)
    name = frame.format.name
    stem = name[:-2] if name.endswith(("le", "be")) else name
    if stem in _UNPACKED_BY_FFMPEG:
        return view_samples(_convert(frame, _UNPACKED_BY_FFMPEG[stem]))
    pixel_format = describe_format(name)
    if name == "pal8":
        pixels = _read_palette(frame)[_view_plane(frame, 0, np.dtype(np.uint8))[:, : frame.width]]
        return _split_bits(pixel_format, pixels, ((16, 8), (8, 8), (0, 8)))
    if stem in _BIT_FIELDS:
        size, fields = _BIT_FIELDS[stem]
        dtype = np.dtype(f"{'>' if frame.format.is_big_endian else '<'}u{size}")
        return _split_bits(pixel_format, _view_plane(frame, 0, dtype)[:, : frame.width], fields)
    if stem in ("monob", "monow"):
        rows = np.unpackbits(_view_plane(frame, 0, np.dtype(np.uint8)), axis=1)[:, : frame.width]
        return Samples(pixel_format, (rows if stem == "monob" else 1 - rows,), None, (1,), is_view=False)
    if stem in _PACKED:
        found = _view_packed(frame, _PACKED[stem])
    elif stem in _PACKED_PAIRS:
        found = _view_pairs(frame, _PACKED_PAIRS[stem])
    elif stem in _SEMIPLANAR:
        found = _view_semiplanar(frame, _SEMIPLANAR[stem])
    else:
        found = _view_planar(frame)
    order = "y" if pixel_format.chroma == "gray" else "rgb" if pixel_format.is_rgb else "yuv"
    bits = pixel_format.bits
    # p010 and its kind, y210, xv36 and *msb keep their codes in the upper bits of 16; nv20 does not.
    is_upper = re.fullmatch(r"p[0-9]{3}|y21[0-9]|xv36|.*msb", stem) is not None
    return Samples(
        pixel_format,
        tuple(found[component] for component in order),
        found.get("a"),
        (bits,) * len(order),
        16 - bits if is_upper else 0,
    )


def download(frame: av.VideoFrame) -> av.VideoFrame:
    """A hardware frame brought to system memory, in the format of its pixels; any other frame as it is."""
    return frame if frame.sw_format is None else _convert(frame, frame.sw_format.name)


def has_alpha(frame: av.VideoFrame | str) -> bool:
    """True where pixels have an opacity that is lost on the way to RGB.

    Args:
        frame: a frame, or the name of a pixel format. Palettes may hold opacities but seldom do: a frame
            answers for the entries that it uses, the name alone ("pal8") answers False.
    """
    name = frame if isinstance(frame, str) else frame.format.name
    if name != "pal8":
        return describe_format(name).has_alpha
    if isinstance(frame, str):
        return False
    used = np.unique(_view_plane(frame, 0, np.dtype(np.uint8))[:, : frame.width])
    return bool((_read_palette(frame)[used] >> 24 != 255).any())


def _convert(frame: av.VideoFrame, name: str) -> av.VideoFrame:
    try:
        # One thread: with several, swscale of PyAV 18.1's wheel now and then leaves rows wrong on a busy machine.
        return frame.reformat(format=name, threads=1)
    except (*FFMPEG_ERRORS, ValueError) as exc:
        raise SourceError(
            f"pixel format {frame.format.name!r} cannot be read", hint=f"convert the film to {name} with FFmpeg first"
        ) from exc


def _sample_type(frame: av.VideoFrame) -> np.dtype[Any]:
    pixel_format = describe_format(frame.format.name)
    size = 1 if pixel_format.bits <= 8 else 2 if pixel_format.bits <= 16 else 4
    kind = "f" if pixel_format.is_float else "u"
    return np.dtype(f"{'>' if frame.format.is_big_endian else '<'}{kind}{size}")


def _view_plane(frame: av.VideoFrame, index: int, dtype: np.dtype[Any]) -> Array:
    """All samples that fit into the lines of a plane, padding at the right included."""
    plane = frame.planes[index]
    line_size = plane.line_size
    # Of planes that lie upside down (negative line size) PyAV gives the memory from its lowest address.
    lines = _memory(plane).reshape(plane.height, abs(line_size))
    usable = abs(line_size) // dtype.itemsize * dtype.itemsize
    samples: Array = (lines[::-1] if line_size < 0 else lines)[:, :usable].view(dtype)
    return samples


def _memory(plane: VideoPlane) -> npt.NDArray[np.uint8]:
    return np.frombuffer(cast(Any, plane), np.uint8)  # PyAV's stubs do not mention the buffer protocol


def _view_planar(frame: av.VideoFrame) -> dict[str, Array]:
    components = frame.format.components
    names = "rgba" if frame.format.is_rgb else "yuva" if len(components) > 2 else "ya"
    dtype = _sample_type(frame)
    return {
        name: _view_plane(frame, component.plane, dtype)[:, : component.width]
        for name, component in zip(names, components, strict=False)
    }


def _view_semiplanar(frame: av.VideoFrame, order: str) -> dict[str, Array]:
    dtype = _sample_type(frame)
    chroma = _view_plane(frame, 1, dtype)[:, : 2 * frame.format.chroma_width(frame.width)]
    found = {name: chroma[:, index::2] for index, name in enumerate(order)}
    return found | {"y": _view_plane(frame, 0, dtype)[:, : frame.width]}


def _view_packed(frame: av.VideoFrame, order: str) -> dict[str, Array]:
    pixels = _view_plane(frame, 0, _sample_type(frame))[:, : frame.width * len(order)]
    return {name: pixels[:, index :: len(order)] for index, name in enumerate(order)}


def _view_pairs(frame: av.VideoFrame, order: str) -> dict[str, Array]:
    pairs = _view_plane(frame, 0, _sample_type(frame))[:, : (frame.width + 1) // 2 * 4]
    found = {name: pairs[:, order.index(name) :: 4] for name in "uv"}
    return found | {"y": pairs[:, order.index("y") :: 2][:, : frame.width]}


def _split_bits(pixel_format: PixelFormat, pixels: Array, fields: Sequence[tuple[int, int]]) -> Samples:
    components = tuple(((pixels >> lowest) & ((1 << bits) - 1)).astype(np.uint16) for lowest, bits in fields)
    return Samples(pixel_format, components, None, tuple(bits for _, bits in fields), is_view=False)


def _read_palette(frame: av.VideoFrame) -> Array:
    """256 colours, 0xAARRGGBB in the machine's own byte order."""
    return _memory(frame.planes[1]).view(np.uint32)
