"""A frame that lies on a GPU in a form that PyAV has no frame for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av

from vsr.video.color import ColorTags

__all__ = ["DeviceFrame"]


@dataclass(slots=True)
class DeviceFrame:
    """One of several frames in one piece of a GPU's memory; stands where a VideoFrame would. Not yet run on a GPU.

    Attributes:
        codes: F,H,W,3 of uint8, with `__dlpack__`: the film's own codes of Y, Cb, Cr. Chroma was 4:2:0, and was
            interpolated to luma's size as if it lay in the centre of its four pixels, then rounded
            (`vsr.chroma.restore` undoes that).
        position: of this frame in it.
        pixel_format: FFmpeg's name of the film's own pixels, "yuv420p" or "yuvj420p".
        colors: tags as signalled.
        pts, duration: ticks of the film's stream.
    """

    codes: Any
    position: int
    width: int
    height: int
    pixel_format: str
    colors: ColorTags
    pts: int
    duration: int

    # What readers of frames ask every frame; the answers are the same for all of these.
    dts = None
    sw_format = None
    is_corrupt = False
    interlaced_frame = False

    @property
    def format(self) -> av.VideoFormat:
        return av.VideoFormat(self.pixel_format, self.width, self.height)

    @property
    def colorspace(self) -> int:
        return self.colors.matrix

    @property
    def color_range(self) -> int:
        return self.colors.range

    @property
    def color_primaries(self) -> int:
        return self.colors.primaries

    @property
    def color_trc(self) -> int:
        return self.colors.transfer
