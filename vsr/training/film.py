"""What old and compressed films look like: soft, a little sharpening and grain, then a video codec, at times twice.

The codec works at low resolution on a short clip, moving or at rest, that is shot from the sheet itself: blocks lie at
any phase, and residuals of motion compensation, frozen blocks and mosquito noise are all there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from vsr.training.kernels import convolve, gaussian
from vsr.training.noise import add_field, draw_grain
from vsr.video.recompression import BLOCK, MATRICES, PROFILES, equivalent_quality, recompress

__all__ = ["Film"]

Picture = npt.NDArray[np.uint8]
Range = tuple[float, float]

CLEAN_METHODS = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BOX)
HALO_SIGMA = (0.7, 1.6)
HALO_AMOUNT = (0.2, 0.8)
GRAIN_SOFTNESS = (0.05, 0.25)
GRAIN_CHROMA = (-0.4, 0.4)  # below 0: grey
# Low-resolution pixels around the sheet that a moving clip may show, mirrored from within: by panning and by zooming.
PAN_MARGIN, ZOOM_MARGIN = 14, 4
MARGIN = PAN_MARGIN + ZOOM_MARGIN
CLIP_FRAMES = (3, 6)
STATIC_SHARE = 0.4
ZOOM_SHARE = 0.2  # of the moving clips
ZOOM = 0.01  # largest change of size from frame to frame
FIRST_SIZE = (0.5, 1.2)  # size of the first upload over that of the second
PROFILE_SHARES = (0.2, 0.3, 0.5)  # baseline, main, high
BFRAMES_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Film:
    """Degrades as films are degraded. Fields: see `DegradationSettings`; lengths are in low-resolution pixels."""

    clean_share: float = 0.25
    blur_share: float = 0.5
    blur_sigma: Range = (0.3, 1.2)
    resize: Range = (0.5, 1.5)
    halo_share: float = 0.25
    interlace_share: float = 0.1
    noise_share: float = 0.6
    noise_sigma: Range = (0.5, 6.0)
    codec_share: float = 0.95
    codecs: tuple[str, ...] = ("h264", "h264", "h264", "h264", "mpeg2", "mpeg2", "mpeg4", "flv1", "vp8", "vp9")
    crf: Range = (20.0, 34.0)
    second_round_share: float = 0.25
    motion: float = 3.0
    kept_grain_share: float = 0.0
    grey_share: float = 0.15

    def prepare(self, high_HWC: Picture, scale: int, rng: np.random.Generator) -> Picture:
        """The target to train towards: without colour in `grey_share` of the sheets, with grain in `kept_grain_share`.

        Called before the degradation, so that input and target agree: a network learns to keep the grain, and to leave
        black and white films without a tint.
        """
        if rng.random() < self.grey_share:
            grey = Image.fromarray(high_HWC).convert("L")
            high_HWC = np.ascontiguousarray(np.broadcast_to(np.asarray(grey)[:, :, None], high_HWC.shape))
        if rng.random() >= self.kept_grain_share:
            return high_HWC
        height, width = high_HWC.shape[0] // scale, high_HWC.shape[1] // scale
        # Drawn at low resolution: finer grain would not be there in the input.
        grain = self._draw_grain(height, width, rng)
        layers = [
            Image.fromarray(np.ascontiguousarray(grain[:, :, layer])).resize(
                (high_HWC.shape[1], high_HWC.shape[0]), Image.Resampling.BICUBIC
            )
            for layer in range(3)
        ]
        return add_field(high_HWC, np.stack([np.asarray(layer) for layer in layers], axis=-1))

    def __call__(self, high_HWC: Picture, scale: int, rng: np.random.Generator) -> Picture:
        """The low-resolution partner of `high_HWC`: (H // scale, W // scale, 3), uint8, contiguous."""
        height, width = high_HWC.shape[0] // scale, high_HWC.shape[1] // scale
        if rng.random() < self.clean_share:
            return _fit(high_HWC, height, width, CLEAN_METHODS[int(rng.integers(len(CLEAN_METHODS)))])
        master = self._soften(high_HWC, height, width, rng)
        num_frames = int(rng.integers(CLIP_FRAMES[0], CLIP_FRAMES[1] + 1)) if rng.random() < self.codec_share else 1
        kept = int(rng.integers(num_frames // 2, num_frames))
        clip = self._shoot(master, height, width, num_frames, kept, rng)
        if num_frames == 1:
            return clip[0]
        if rng.random() < self.second_round_share:
            factor = rng.uniform(*FIRST_SIZE)
            first = [_fit(frame, max(1, round(height * factor)), max(1, round(width * factor))) for frame in clip]
            clip = [_fit(frame, height, width) for frame in self._code(first, rng)]
        return np.ascontiguousarray(self._code(clip, rng, slice(kept, kept + 1))[0])

    def _soften(self, high: Picture, height: int, width: int, rng: np.random.Generator) -> Picture:
        """The picture as it was before its last resize: blurred, perhaps sharpened, around (height, width)."""
        factor = rng.uniform(*self.resize)
        master = _fit(high, max(1, round(height * factor)), max(1, round(width * factor)))
        if rng.random() < self.blur_share:
            master = _blur(master, rng.uniform(*self.blur_sigma) * factor)
        if rng.random() < self.halo_share:
            blurred = _blur(master, rng.uniform(*HALO_SIGMA) * factor).astype(np.float32)
            master = add_field(master, np.float32(rng.uniform(*HALO_AMOUNT)) * (master - blurred))
        return master

    def _shoot(
        self, master: Picture, height: int, width: int, num_frames: int, kept: int, rng: np.random.Generator
    ) -> list[Picture]:
        """A clip of frames (height, width) whose frame `kept` shows `master` in place; grain is new in each frame."""
        down, right, zoom = self._draw_motion(num_frames, rng)
        interlace = int(rng.integers(2)) + 1 if rng.random() < self.interlace_share else 0
        grainy = rng.random() < self.noise_share
        sigma, softness, chroma = _draw_grain_traits(self.noise_sigma, rng)
        camera = _Camera(master, height, width)
        still = None if down or right or zoom else camera.look(0.0, 0.0, 0.0)
        frames = []
        for number in range(num_frames):
            steps = number - kept
            frame = camera.look(down * steps, right * steps, zoom * steps) if still is None else still
            if grainy:
                frame = add_field(frame, draw_grain(height, width, sigma, softness, rng, chroma))
            frames.append(_deinterlace(frame, interlace, number % 2))
        return frames

    def _draw_motion(self, num_frames: int, rng: np.random.Generator) -> tuple[float, float, float]:
        """Rows, columns and zoom per frame; within the margin over the whole clip."""
        at_rest, zooms = rng.random() < STATIC_SHARE, rng.random() < ZOOM_SHARE
        speed, angle, zoom = rng.uniform(0.0, self.motion), rng.uniform(-math.pi, math.pi), rng.uniform(-ZOOM, ZOOM)
        if at_rest:
            return 0.0, 0.0, 0.0
        speed = min(speed, PAN_MARGIN / max(1, num_frames - 1))
        return speed * math.sin(angle), speed * math.cos(angle), zoom if zooms else 0.0

    def _code(self, clip: Sequence[Picture], rng: np.random.Generator, kept: slice = slice(None)) -> list[Picture]:
        """`clip` after one codec at one quality, its block grid at any phase."""
        codec = self.codecs[int(rng.integers(len(self.codecs)))]
        return recompress(
            clip,
            codec,
            equivalent_quality(codec, rng.uniform(*self.crf)),
            profile=PROFILES[int(rng.choice(len(PROFILES), p=PROFILE_SHARES))],
            bframes=2 if rng.random() < BFRAMES_SHARE else 0,
            matrix=tuple(MATRICES)[int(rng.integers(len(MATRICES)))],
            phase=(int(rng.integers(BLOCK)), int(rng.integers(BLOCK))),
            kept=kept,
        )

    def _draw_grain(self, height: int, width: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        sigma, softness, chroma = _draw_grain_traits(self.noise_sigma, rng)
        return draw_grain(height, width, sigma, softness, rng, chroma)


class _Camera:
    """Looks at a picture that continues, mirrored, past its edges; frames are (height, width)."""

    def __init__(self, master: Picture, height: int, width: int) -> None:
        rows, columns = master.shape[0] / height, master.shape[1] / width
        margins = (math.ceil(MARGIN * rows), math.ceil(MARGIN * columns))
        self._scene = Image.fromarray(
            np.pad(master, ((margins[0], margins[0]), (margins[1], margins[1]), (0, 0)), mode="symmetric")
        )
        self._top, self._left = margins
        self._rows, self._columns = rows, columns
        self._height, self._width = height, width

    def look(self, down: float, right: float, zoom: float) -> Picture:
        """The frame moved by `down` and `right` low-resolution pixels and grown by the share `zoom`."""
        grow_y, grow_x = (min(zoom * side / 2, ZOOM_MARGIN) for side in (self._height, self._width))
        box = (
            self._left + (right - grow_x) * self._columns,
            self._top + (down - grow_y) * self._rows,
            self._left + (right + grow_x + self._width) * self._columns,
            self._top + (down + grow_y + self._height) * self._rows,
        )
        frame = self._scene.resize((self._width, self._height), Image.Resampling.BICUBIC, box=box)
        return np.asarray(frame)


def _draw_grain_traits(sigma: Range, rng: np.random.Generator) -> tuple[float, float, float]:
    """Standard deviation, softness and share of chroma."""
    return rng.uniform(*sigma), rng.uniform(*GRAIN_SOFTNESS), max(0.0, rng.uniform(*GRAIN_CHROMA))


def _fit(picture: Picture, height: int, width: int, method: Image.Resampling = Image.Resampling.BICUBIC) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((width, height), method)).copy()


def _blur(picture: Picture, sigma: float) -> Picture:
    return convolve(picture, gaussian(2 * math.ceil(3.0 * sigma) + 1, sigma))


def _deinterlace(frame: Picture, method: int, parity: int) -> Picture:
    """What deinterlacers leave: 1 means of three lines, 2 one field with the other interpolated, 0 nothing."""
    if method == 0:
        return frame
    lines = np.pad(frame, ((1, 1), (0, 0), (0, 0)), mode="edge").astype(np.float32)
    between = (lines[:-2] + lines[2:]) / 2
    # Halves go to the even level: always up would brighten by a quarter of a level.
    if method == 1:
        return np.rint((between + frame) / 2).astype(np.uint8)
    woven = frame.copy()
    woven[parity::2] = np.rint(between[parity::2])
    return woven
