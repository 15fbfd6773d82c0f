"""Looking over a run's shoulder: now and then a picture as it came and as it goes, each as a JPEG."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from PIL import Image

from vsr.pixels import frames_to_tensor
from vsr.video.color import RANGE_FULL, ColorTags
from vsr.video.device_frame import DeviceFrame
from vsr.video.pixel_format import describe_format, format_inside, resolve_tags
from vsr.video.reader import Picture

__all__ = ["MAX_WIDTH", "Glimpse", "Preview", "make_jpeg"]

MAX_WIDTH = 1600
QUALITY = 90

# H.273's matrix coefficients as FFmpeg's scaler numbers them (SWS_CS_*); of others it takes the frame's own word.
_SCALER_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


@dataclass(frozen=True, slots=True)
class Glimpse:
    """One picture before and after: its presentation time, and two JPEG files of their own sizes."""

    time: Fraction
    before_jpeg: bytes
    after_jpeg: bytes


class Preview:
    """Makes a `Glimpse` whenever one is wanted, and costs nothing otherwise.

    Args:
        wanted: set it, from any thread, to have one made of the next picture.
        on_made: takes it, in the thread that encodes the film, which waits meanwhile.
        on_failed: takes the reason why there is none: no reason to give up a film.
    """

    def __init__(
        self,
        wanted: threading.Event,
        on_made: Callable[[Glimpse], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self._wanted, self._on_made, self._on_failed = wanted, on_made, on_failed

    @property
    def is_wanted(self) -> bool:
        return self._wanted.is_set()

    def offer(self, before: Picture, after: Picture) -> None:
        """A picture of the source, and what has become of it. No other thread may be reading the frames' colour tags:
        they are changed for a moment."""
        self._wanted.clear()
        try:
            rotation = getattr(before.frame, "rotation", 0)  # what the network made has none of its own
            rotation = rotation if rotation % 90 == 0 else 0
            glimpse = Glimpse(before.time, make_jpeg(before.frame, rotation), make_jpeg(after.frame, rotation))
        except Exception as exc:
            self._on_failed(exc)
        else:
            self._on_made(glimpse)


def make_jpeg(frame: Any, rotation: int = 0) -> bytes:
    """A frame (PyAV's VideoFrame, or a DeviceFrame) as a JPEG file.

    At most `MAX_WIDTH` pixels wide, never enlarged. Matrix and range are the film's own; transfer function and
    primaries are not converted (HDR looks flat), and pixels are shown as squares. Frames on a GPU: not yet run.

    Args:
        rotation: degrees counterclockwise, a multiple of 90.
    """
    codes = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
    signalled = ColorTags(*(int(code) for code in codes))
    tags = resolve_tags(signalled, describe_format(format_inside(frame)), frame.width, frame.height)
    width = min(frame.width, MAX_WIDTH)
    height = max(1, round(frame.height * width / frame.width))
    image = _read_device_frame(frame, tags) if isinstance(frame, DeviceFrame) else _convert(frame, tags, width, height)
    file = io.BytesIO()
    image.resize((width, height)).rotate(rotation, expand=True).save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()


def _convert(frame: Any, tags: ColorTags, width: int, height: int) -> Image.Image:
    """By FFmpeg's scaler, which downloads frames of a GPU; one thread, since the others are at work."""
    matrix = _SCALER_MATRICES.get(tags.matrix)
    converted = frame.reformat(
        width, height, "rgb24", src_colorspace=matrix, src_color_range=tags.range, dst_color_range=RANGE_FULL,
        interpolation="BICUBIC", threads=1,
    )  # fmt: skip
    return Image.fromarray(converted.to_ndarray())


def _read_device_frame(frame: DeviceFrame, tags: ColorTags) -> Image.Image:
    rgb_CHW = frames_to_tensor([frame], tags, device="cuda")[0].clamp(0, 1)
    return Image.fromarray((rgb_CHW.permute(1, 2, 0) * 255).round().byte().cpu().numpy())
