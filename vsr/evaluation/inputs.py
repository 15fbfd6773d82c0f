"""The low-resolution twin of a picture: shrunk, rounded to 8 bits, and, where asked for, noisy and compressed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from vsr.errors import DataError
from vsr.evaluation.conditions import Conditions
from vsr.evaluation.sources import Pixels, crop_to_multiple, from_tensor, to_tensor
from vsr.model.resample import shrink
from vsr.video.recompression import recompress

__all__ = ["check_size", "degrade_film", "degrade_picture", "fit_pair", "make_pair"]

# The clip that a still picture is made into before it is compressed: an encoder gives a lone frame more bits.
CLIP_FRAMES = 5


def make_pair(picture_HWC: Pixels, conditions: Conditions) -> tuple[Pixels, Pixels]:
    """(low, high): the picture cropped to a multiple of the scale, and its clean low-resolution twin.

    Raises:
        DataError: too little is left to compare.
    """
    check_size(picture_HWC, conditions)
    high = crop_to_multiple(picture_HWC, conditions.scale)
    return from_tensor(shrink(to_tensor(high), conditions.scale, conditions.kernel)), high


def fit_pair(low_HWC: Pixels, picture_HWC: Pixels, conditions: Conditions) -> tuple[Pixels, Pixels]:
    """(low, high) of a given low-resolution picture: the other one is cropped to `scale` times its size.

    Raises:
        DataError: the sizes do not belong together, or too little is left to compare.
    """
    scale = conditions.scale
    height, width = (side * scale for side in low_HWC.shape[:2])
    rows, columns = picture_HWC.shape[:2]
    if not (0 <= rows - height < scale and 0 <= columns - width < scale):
        raise DataError(
            f"{low_HWC.shape[1]}x{low_HWC.shape[0]} pixels are no input for {columns}x{rows} at scale {scale}:"
            f" {columns // scale}x{rows // scale} are",
            hint="give the --scale that it was made with, or leave --low out",
        )
    high = picture_HWC[:height, :width]
    check_size(high, conditions)
    return low_HWC, high


def check_size(picture_HWC: Pixels, conditions: Conditions) -> None:
    """Raises DataError where, cropped to a multiple of the scale, no window of SSIM (11x11) is inside the border."""
    height, width = picture_HWC.shape[:2]
    if any(side - side % conditions.scale < 11 + 2 * conditions.cut for side in (height, width)):
        raise DataError(
            f"{width}x{height} pixels are too few: 11x11 must be left inside a border of {conditions.cut}",
            hint="leave it out, or give a smaller --border",
        )


def degrade_picture(low_HWC: Pixels, name: str, conditions: Conditions) -> Pixels:
    """The low-resolution picture called `name` with noise, then from the middle of a compressed clip of itself."""
    if not conditions.is_degraded:
        return low_HWC
    rng = _noise_source(name, conditions)
    if conditions.crf is None:
        return _add_noise(low_HWC, conditions.noise, rng)
    clip = [_add_noise(low_HWC, conditions.noise, rng) for _ in range(CLIP_FRAMES)]
    return recompress(clip, "h264", conditions.crf)[CLIP_FRAMES // 2]


def degrade_film(lows: Sequence[Pixels], first: int, conditions: Conditions) -> list[Pixels]:
    """Neighbouring low-resolution frames, from number `first` on, with noise, then compressed as one film."""
    noisy = [
        _add_noise(low, conditions.noise, _noise_source(str(number), conditions))
        for number, low in enumerate(lows, first)
    ]
    return noisy if conditions.crf is None else recompress(noisy, "h264", conditions.crf)


def _noise_source(name: str, conditions: Conditions) -> np.random.Generator:
    # By name: the same picture gets the same noise in whatever company.
    return np.random.default_rng([conditions.seed, zlib.crc32(name.encode(errors="surrogateescape"))])


def _add_noise(picture_HWC: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    if not sigma:
        return picture_HWC
    noise = rng.standard_normal(picture_HWC.shape, dtype=np.float32) * np.float32(sigma)
    return np.rint(picture_HWC + noise).clip(0, 255).astype(np.uint8)
