"""The middle stage: frames to tensors, through the network, to frames of the output's format, times untouched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vsr.errors import Interrupted, ProcessingError, SourceError, VsrError
from vsr.model.resample import resample
from vsr.model.upscaler import Upscaler
from vsr.pipeline.plan import FilmPlan
from vsr.pixels import describe_planes, frames_to_tensor, make_frame, tensor_to_frames
from vsr.video.color import TRANSFER_PQ, ColorTags
from vsr.video.encoding import Encoding
from vsr.video.pixel_format import ChromaSiting, describe_format, format_inside, resolve_tags
from vsr.video.probe import VideoInfo
from vsr.video.reader import Picture

__all__ = ["Tally", "compute", "group_pictures", "read_pictures"]

# Where chroma lies is not to be had from PyAV; these habits are (see ChromaSiting).
CODECS_WITH_CENTRED_CHROMA = ("mpeg1video", "mjpeg", "mjpegb")
PRIMARIES_BT2020 = 9


@dataclass(slots=True)
class Tally:
    """What the stages count on the way.

    Attributes:
        sizes_resampled: sizes of pictures that differ from the film's first, and were resampled to it.
    """

    num_decoded: int = 0
    sizes_resampled: set[tuple[int, int]] = field(default_factory=set)


def group_pictures(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    """Up to `size` pictures of one size, format and colour at a time."""
    group: list[Picture] = []
    for picture in pictures:
        if group and _layout(group[0]) != _layout(picture):
            yield group
            group = []
        group.append(picture)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def compute(group: list[Picture], *, upscaler: Upscaler, plan: FilmPlan, tally: Tally) -> list[Picture]:
    """Upscale pictures of one layout.

    Raises:
        Interrupted: the upscaler was told to stop.
        SourceError: a pixel format or matrix that cannot be read.
        ProcessingError: anything else, with the file and the time of the first picture.
    """
    try:
        source_BCHW = read_pictures(group, upscaler=upscaler, plan=plan)
        larger = _upscale(source_BCHW, upscaler, plan.output.encoding, tally)
    except (Interrupted, SourceError):
        raise
    except VsrError as exc:
        raise ProcessingError(_place(plan, group[0], exc.message), hint=exc.hint) from exc
    except Exception as exc:
        raise ProcessingError(_place(plan, group[0], f"{type(exc).__name__}: {exc}")) from exc
    return [
        Picture(frame, picture.pts, picture.duration, picture.time_base)
        for picture, frame in zip(group, larger, strict=True)
    ]


def read_pictures(group: list[Picture], *, upscaler: Upscaler, plan: FilmPlan) -> Tensor:
    """Pictures of one layout as the network sees them: B,3,H,W float32 RGB, nominally 0..1, on its device.

    Raises:
        SourceError: a pixel format or matrix that cannot be read.
    """
    frames = [picture.frame for picture in group]
    tags = _read_tags(frames[0], plan.info)
    return frames_to_tensor(frames, tags, device=upscaler.device, siting=_guess_siting(plan.info))


def _upscale(source_BCHW: Tensor, upscaler: Upscaler, encoding: Encoding, tally: Tally) -> list[Any]:
    height, width = encoding.height, encoding.width
    is_resampled = upscaler.output_size(*source_BCHW.shape[-2:]) != (height, width)
    codes = describe_planes(encoding.pix_fmt, encoding.colors)
    if upscaler.device.type == "cpu" and codes is not None and not is_resampled and upscaler.can_fill(codes):
        made = [make_frame(width, height, encoding.pix_fmt, encoding.colors) for _ in source_BCHW]
        upscaler.fill(source_BCHW, codes, [planes for _, planes in made])
        return [frame for frame, _ in made]
    frames_BCHW = upscaler(source_BCHW)
    if is_resampled:
        tally.sizes_resampled.add((source_BCHW.shape[-1], source_BCHW.shape[-2]))
        frames_BCHW = resample(frames_BCHW, height, width).clamp_(0, 1)
    return tensor_to_frames(frames_BCHW, encoding.pix_fmt, encoding.colors)


def _layout(picture: Picture) -> tuple[Any, ...]:
    frame = picture.frame
    return (
        frame.width,
        frame.height,
        frame.format.name,
        format_inside(frame),
        int(frame.colorspace),
        int(frame.color_range),
    )


def _read_tags(frame: Any, info: VideoInfo) -> ColorTags:
    tags = ColorTags(int(frame.colorspace), int(frame.color_range), int(frame.color_primaries), int(frame.color_trc))
    return resolve_tags(tags, describe_format(format_inside(frame)), info.width, info.height)


def _guess_siting(info: VideoInfo) -> ChromaSiting:
    if info.codec in CODECS_WITH_CENTRED_CHROMA:
        return ChromaSiting.CENTRE
    if info.colors.primaries == PRIMARIES_BT2020 and info.colors.transfer == TRANSFER_PQ:
        return ChromaSiting.TOP_LEFT  # what BT.2100 discs and streams use
    return ChromaSiting.LEFT


def _place(plan: FilmPlan, picture: Picture, message: str) -> str:
    return f"{str(plan.info.path)!r} at {float(picture.time):.3f} s: {message}"
