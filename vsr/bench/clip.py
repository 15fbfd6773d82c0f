"""The clip that everything is measured on: the first frames of a film, or a synthetic one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from vsr.bench.rgb import Array, write_rgb
from vsr.bench.task import Coding
from vsr.video.probe import VideoInfo, probe
from vsr.video.reader import Reader

__all__ = ["Clip", "make_clip"]

WIDTH, HEIGHT, RATE = 480, 270, Fraction(25)
CRF = 12  # hardly any loss, and work for a decoder


@dataclass(frozen=True, slots=True)
class Clip:
    """A silent H.264 film of constant rate in 8 bits, without colour tags.

    Attributes:
        name: of the film that it was cut from, or "synthetic".
    """

    name: str
    width: int
    height: int
    num_frames: int
    rate: Fraction


def make_clip(path: Path, source: Path | None, num_frames: int) -> Clip:
    """Write the clip: the film is coded anew, so that all that is measured sees as many frames, and no sound.

    Args:
        path: a name that ends in .mkv.
        source: a film, or None for gradients, a moving disc, stripes and grain.

    Raises:
        SourceError: the film is missing or cannot be read.
    """
    if source is None:
        name, width, height, rate, pictures = "synthetic", WIDTH, HEIGHT, RATE, draw_pictures(num_frames)
    else:
        info = probe(source)
        name, width, height, rate = source.name, info.width, info.height, info.frame_rate or RATE
        pictures = _read_pictures(info, num_frames)
    pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
    written = write_rgb(path, pictures, Coding("libx264", {"crf": str(CRF)}, pix_fmt, str(rate)))
    return Clip(name, width, height, written, rate)


def draw_pictures(num_frames: int, width: int = WIDTH, height: int = HEIGHT) -> Iterator[Array]:
    """Pictures of H,W,3 with what gives codecs and networks work: the same ones every time."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for t in range(num_frames):
        disc = ((x - 100 - 5 * t) ** 2 + (y - 130) ** 2 < 60**2) * 90.0
        stripes = 40 * np.sin(x / 3 + t) * (y > height / 2)
        planes = [60 + 0.2 * x + disc, 90 + 0.3 * y + stripes, 160 - 0.2 * x + disc]
        picture = np.stack(planes, axis=2) + random.normal(0, 3, (height, width, 3))
        yield picture.clip(0, 255).astype(np.uint8)


def _read_pictures(info: VideoInfo, num_frames: int) -> Iterator[Array]:
    """A film whose size changes keeps its first."""
    for picture in islice(Reader(info).pictures(), num_frames):
        yield picture.frame.to_ndarray(format="rgb24", width=info.width, height=info.height)
