"""The middle stage: frames to tensors, through the network, to frames of the output's format, times untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vsr.errors import Interrupted, ProcessingError, SourceError, VsrError
from vsr.model.resample import resample
from vsr.model.tiling import Tile
from vsr.model.upscaler import Upscaler
from vsr.pipeline.plan import FilmPlan
from vsr.pixels import describe_planes, frames_to_tensor, make_frame, tensor_to_frames
from vsr.planar import PlaneCodes
from vsr.video.color import TRANSFER_PQ, ColorTags
from vsr.video.encoding import Encoding
from vsr.video.pixel_format import ChromaSiting, describe_format, format_inside, resolve_tags
from vsr.video.probe import VideoInfo
from vsr.video.reader import Picture

__all__ = [
    "Tally",
    "choose_codes",
    "compute",
    "compute_windows",
    "look",
    "naming_place",
    "read_pictures",
    "upscale_group",
]

# Where chroma lies is not to be had from PyAV; these habits are (see ChromaSiting).
CODECS_WITH_CENTRED_CHROMA = ("mpeg1video", "mjpeg", "mjpegb")
PRIMARIES_BT2020 = 9


@dataclass(slots=True)
class Tally:
    """What the stages count on the way.

    Attributes:
        num_reused: pictures that were the same as the one before, and got its frame.
        pixels_seen, pixels_computed: of all pictures; those that the network has seen.
        tile: of the last frame that was computed whole.
        sizes_resampled: sizes of pictures that differ from the film's first, and were resampled to it.
    """

    num_decoded: int = 0
    num_reused: int = 0
    pixels_seen: int = 0
    pixels_computed: int = 0
    tile: int | None = None
    sizes_resampled: set[tuple[int, int]] = field(default_factory=set)


def compute(group: list[Picture], *, upscaler: Upscaler, plan: FilmPlan, tally: Tally) -> list[Any]:
    """Upscale pictures of one layout: for each the frame to be written.

    Raises:
        Interrupted: the upscaler was told to stop.
        SourceError: a pixel format or matrix that cannot be read.
        ProcessingError: anything else, with the file and the time of the first picture.
    """
    encoding = plan.output.encoding
    with naming_place(plan, group[0]):
        source_BCHW = read_pictures(group, upscaler=upscaler, plan=plan)
        frames = upscale_group(source_BCHW, upscaler, encoding, (encoding.height, encoding.width), tally)
    tally.tile = upscaler.tile
    return frames


def compute_windows(
    picture: Picture, windows: Sequence[Tile], *, upscaler: Upscaler, plan: FilmPlan, tally: Tally
) -> list[Any]:
    """Upscale windows of a picture whose frame needs no resampling: for each a frame of its own.

    Raises:
        Interrupted, SourceError, ProcessingError: as `compute`.
    """
    with naming_place(plan, picture):
        # The picture is converted as a whole: at the edge of a window its chroma needs what lies beyond.
        source_BCHW = read_pictures([picture], upscaler=upscaler, plan=plan)
        frames = []
        for window in windows:
            part_BCHW = source_BCHW[..., window.rows.start : window.rows.stop, window.cols.start : window.cols.stop]
            size = upscaler.output_size(*part_BCHW.shape[-2:])
            frames += upscale_group(part_BCHW, upscaler, plan.output.encoding, size, tally)
    return frames


def choose_codes(upscaler: Upscaler, encoding: Encoding) -> PlaneCodes | None:
    """Of the planes that the network makes itself; None where frames are made by way of RGB pictures."""
    codes = describe_planes(encoding.pix_fmt, encoding.colors)
    return codes if codes is not None and upscaler.can_fill(codes) else None


def look(picture: Picture) -> tuple[Any, ...]:
    """What pictures must have in common to be computed together."""
    frame = picture.frame
    return (
        frame.width,
        frame.height,
        frame.format.name,
        format_inside(frame),
        int(frame.colorspace),
        int(frame.color_range),
    )


@contextmanager
def naming_place(plan: FilmPlan, first: Picture) -> Iterator[None]:
    """Gives whatever fails in the block the film's name and the time of a group's first picture.

    Raises:
        Interrupted, SourceError: as they are.
        ProcessingError: anything else.
    """
    try:
        yield
    except (Interrupted, SourceError):
        raise
    except VsrError as exc:
        raise ProcessingError(_place(plan, first, exc.message), hint=exc.hint) from exc
    except Exception as exc:
        raise ProcessingError(_place(plan, first, f"{type(exc).__name__}: {exc}")) from exc


def read_pictures(
    group: Sequence[Picture], *, upscaler: Upscaler, plan: FilmPlan, upload: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Pictures of one layout as the network sees them: B,3,H,W float32 RGB, nominally 0..1, on its device.

    Args:
        upload: as for `frames_to_tensor`.

    Raises:
        SourceError: a pixel format or matrix that cannot be read.
    """
    frames = [picture.frame for picture in group]
    tags = _read_tags(frames[0], plan.info)
    siting = _guess_siting(plan.info)
    return frames_to_tensor(frames, tags, device=upscaler.device, siting=siting, upload=upload)


def upscale_group(
    source_BCHW: Tensor, upscaler: Upscaler, encoding: Encoding, size: tuple[int, int], tally: Tally
) -> list[Any]:
    """Frames of the output's format in system memory, of `size` (height, width)."""
    height, width = size
    is_resampled = upscaler.output_size(*source_BCHW.shape[-2:]) != size
    codes = choose_codes(upscaler, encoding)
    if codes is not None and not is_resampled and upscaler.device.type == "cpu":
        made = [make_frame(width, height, encoding.pix_fmt, encoding.colors) for _ in source_BCHW]
        upscaler.fill(source_BCHW, codes, [planes for _, planes in made])
        return [frame for frame, _ in made]
    frames_BCHW = upscaler(source_BCHW)
    if is_resampled:
        tally.sizes_resampled.add((source_BCHW.shape[-1], source_BCHW.shape[-2]))
        frames_BCHW = resample(frames_BCHW, height, width).clamp_(0, 1)
    return tensor_to_frames(frames_BCHW, encoding.pix_fmt, encoding.colors)


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
