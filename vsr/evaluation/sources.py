"""What is evaluated on, as 8-bit RGB: H,W,3 of uint8, whatever the file holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vsr.errors import DataError, SourceError
from vsr.pipeline.stills import list_stills
from vsr.pixels import frames_to_tensor
from vsr.stills import read_still
from vsr.video.color import ColorTags
from vsr.video.pixel_format import describe_format, resolve_tags
from vsr.video.probe import probe
from vsr.video.reader import Damage, Reader

__all__ = ["Pixels", "crop_to_multiple", "from_tensor", "list_pictures", "read_film", "read_picture", "to_tensor"]

Pixels = npt.NDArray[np.uint8]


def list_pictures(data: Path) -> list[Path]:
    """The pictures of a folder in natural order, not of the folders in it; or the one picture itself.

    Raises:
        SourceError: there is nothing of that name, or it cannot be read.
        DataError: no picture lies in it.
    """
    if not os.path.isdir(data):  # unlike Path.is_dir, never raises
        if not os.path.lexists(data):
            raise SourceError(f"there is no folder, picture or film {str(data)!r}")
        return [data]
    pictures, others = list_stills(data)
    if not pictures:
        hint = f"it holds {len(others)} other entries; folders in it are not entered" if others else "it is empty"
        raise DataError(f"{str(data)!r} is a folder without pictures", hint=hint)
    return pictures


def read_picture(path: Path) -> Pixels:
    """The picture as stored (no orientation applied); grey becomes RGB, 16 bits are rounded to 8, alpha is dropped.

    Raises:
        SourceError: it cannot be read.
    """
    still = read_still(path)
    samples = still.pixels
    if still.bits == 16:
        samples = (samples.astype(np.uint32) + 128) // 257  # 257 steps of the one are one of the other
    return np.ascontiguousarray(np.broadcast_to(samples, (*samples.shape[:2], 3)), dtype=np.uint8)


def read_film(path: Path, damage: list[str]) -> Iterator[Pixels]:
    """The film's frames in order, one at a time; what is wrong with the file is told in `damage` at the end.

    Raises:
        SourceError: it is no film, or cannot be decoded.
    """
    info = probe(path)
    reader = Reader(info)
    for picture in reader.pictures():
        frame = picture.frame
        tags = ColorTags(
            int(frame.colorspace), int(frame.color_range), int(frame.color_primaries), int(frame.color_trc)
        )
        tags = resolve_tags(tags, describe_format(frame.format.name), info.width, info.height)
        yield from_tensor(frames_to_tensor([frame], tags))
    damage.extend(_describe(reader.damage))


def _describe(damage: Damage) -> list[str]:
    return damage.describe() if damage.is_lossy() else []


def crop_to_multiple(picture_HWC: Pixels, factor: int) -> Pixels:
    """Without the rows at the bottom and the columns at the right that are too many, as the papers do."""
    height, width = (side - side % factor for side in picture_HWC.shape[:2])
    return picture_HWC[:height, :width]


def to_tensor(picture_HWC: Pixels) -> Tensor:
    """H,W,3 of uint8 to 1,3,H,W float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(picture_HWC.transpose(2, 0, 1))[None]).float().div_(255)


def from_tensor(frames_BCHW: Tensor) -> Pixels:
    """1,3,H,W float, clipped to 0..1 and rounded, to H,W,3 of uint8."""
    rounded = frames_BCHW[0].clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    return np.ascontiguousarray(rounded.numpy().transpose(1, 2, 0))
