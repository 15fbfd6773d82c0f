"""What the name of a pixel format says, and what that means for the colour tags of a source."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass, replace
from typing import Any

import av

from vsr.errors import SettingsError
from vsr.video.color import MATRIX_RGB, RANGE_FULL, RANGE_UNSPECIFIED, UNSPECIFIED, ColorTags

# Chroma name -> (vertical, horizontal) number of luma samples per chroma sample.
_SUBSAMPLING = {
    "gray": (1, 1),
    "444": (1, 1),
    "422": (1, 2),
    "420": (2, 2),
    "440": (2, 1),
    "411": (1, 4),
    "410": (4, 4),
}


class ChromaSiting(enum.Enum):
    """Where the chroma samples lie between the luma samples (H.273: 4:2:0 chroma sample location type).

    LEFT: on the luma columns, between the luma rows; H.264, HEVC and MPEG-2 unless they say otherwise.
    TOP_LEFT: on luma columns and rows; BT.2020 and HDR10.
    CENTRE: between columns and between rows; JPEG, MPEG-1, H.263.
    """

    LEFT = "left"
    TOP_LEFT = "topleft"
    CENTRE = "center"

    @property
    def is_cosited(self) -> tuple[bool, bool]:
        """(vertically, horizontally): True where chroma samples coincide with luma samples on that axis."""
        return (self is ChromaSiting.TOP_LEFT, self is not ChromaSiting.CENTRE)


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """The facts in a pixel format's name.

    Attributes:
        name: FFmpeg's name, such as "yuv420p10le".
        bits: bits per sample of the deepest colour component (5:6:5 says 6; float formats 16 or 32).
        chroma: "gray", "444" (also every RGB format), "422", "420", "440", "411" or "410".
        is_rgb: True where the samples need no matrix: RGB, GBR, palettes, Bayer patterns and XYZ.
        has_alpha: True where every pixel has an opacity of its own; palettes count, whatever they hold.
        is_float: True for floating-point samples, 0..1 instead of integer codes.
        is_full_range: True where the name alone decides on full range: RGB, yuvj*, one bit, float.
    """

    name: str
    bits: int
    chroma: str
    is_rgb: bool
    has_alpha: bool
    is_float: bool
    is_full_range: bool

    @property
    def subsampling(self) -> tuple[int, int]:
        """(vertical, horizontal) number of luma samples per chroma sample."""
        return _SUBSAMPLING[self.chroma]


@functools.cache
def describe_format(name: str) -> PixelFormat:
    """Describe the pixel format that FFmpeg calls `name`.

    Raises:
        SettingsError: FFmpeg knows no such format, or it is an opaque surface of some hardware ("cuda").
    """
    try:
        described = av.VideoFormat(name)
    except ValueError as exc:
        hint = "use one of FFmpeg's names, such as yuv420p or yuv420p10le"
        raise SettingsError(f"unknown pixel format {name!r}", hint=hint) from exc
    components = described.components
    colours = [component for component in components if not component.is_alpha]
    if not colours:
        raise SettingsError(
            f"pixel format {name!r} is an opaque hardware surface", hint="ask for the format of the pixels inside it"
        )
    is_rgb = described.is_rgb or described.has_palette or name.startswith("xyz")
    # Named by FFmpeg's convention: f16 or f32 before the byte order.
    is_float = name[:-2].endswith(("f16", "f32"))
    bits = max(component.bits for component in colours)
    if described.is_bayer:
        bits = described.bits_per_pixel  # there a component's bits say its share of a pixel
    ratio = (64 // described.chroma_height(64), 64 // described.chroma_width(64))
    if len(colours) == 1 and not is_rgb:
        chroma = "gray"
    else:
        chroma = next(known for known, factors in _SUBSAMPLING.items() if known != "gray" and factors == ratio)
    return PixelFormat(
        name=name,
        bits=bits,
        chroma=chroma,
        is_rgb=is_rgb,
        has_alpha=described.has_palette or len(colours) < len(components),
        is_float=is_float,
        is_full_range=is_rgb or is_float or bits == 1 or name.startswith("yuvj"),
    )


def format_inside(frame: Any) -> str:
    """FFmpeg's name of the format of a frame's pixels, also where a GPU holds them."""
    inside = frame.format if frame.sw_format is None else frame.sw_format
    return str(inside.name)


def resolve_tags(tags: ColorTags, pixel_format: PixelFormat, width: int, height: int) -> ColorTags:
    """`tags` of a source with matrix and range decided, for `width` x `height` pixels in `pixel_format`.

    Beyond `ColorTags.resolve`: RGB is full range and has no matrix, whatever is signalled (films tagged
    "limited RGB" are nearly always full range that went through an old scaler); yuvj* is full range; grey
    that says nothing is full range, as FFmpeg reads it; the RGB matrix on subsampled chroma, which H.273
    forbids, counts as unsignalled.
    """
    if pixel_format.is_rgb:
        return replace(tags, matrix=MATRIX_RGB, range=RANGE_FULL)
    if tags.matrix == MATRIX_RGB and pixel_format.chroma != "444":
        tags = replace(tags, matrix=UNSPECIFIED)
    is_untagged_gray = pixel_format.chroma == "gray" and tags.range == RANGE_UNSPECIFIED
    if pixel_format.is_full_range or is_untagged_gray:
        tags = replace(tags, range=RANGE_FULL)
    return tags.resolve(width, height)
