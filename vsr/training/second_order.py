"""The second-order degradation of Real-ESRGAN (Wang et al., ICCVW 2021), with RealBasicVSR's codec rounds at choice."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from vsr.training.kernels import convolve, draw_blur_kernel, draw_sinc_kernel
from vsr.training.noise import add_gaussian, add_poisson
from vsr.video.recompression import BLOCK, equivalent_quality, recompress

__all__ = ["SecondOrder", "compress_jpeg", "resize"]

Picture = npt.NDArray[np.uint8]
Range = tuple[float, float]

RESIZE_METHODS = ("area", "bilinear", "bicubic")
GREY_NOISE_SHARE = 0.4
GAUSSIAN_SHARE = 0.5  # the others are Poisson
CODED_FRAMES = 3
_CUBIC = -0.75  # sharpness of OpenCV's and torch's bicubic interpolation


@dataclass(frozen=True, slots=True)
class _Stage:
    """One of the two orders: shares of enlarging and shrinking, and the ranges."""

    up: float
    down: float
    resize: Range
    noise_sigma: Range
    poisson_scale: Range


@dataclass(frozen=True, slots=True)
class SecondOrder:
    """Blur, resize, noise, JPEG, twice over, and a sinc filter before or after the last JPEG.

    Fields: see `DegradationSettings`; defaults are the paper's.
    """

    clean_share: float = 0.0
    blur_share: float = 1.0
    blur_sigma: Range = (0.2, 3.0)
    blur2_share: float = 0.8
    blur2_sigma: Range = (0.2, 1.5)
    sinc_share: float = 0.1
    final_sinc_share: float = 0.8
    resize: Range = (0.15, 1.5)
    resize2: Range = (0.3, 1.2)
    noise_sigma: Range = (1.0, 30.0)
    noise2_sigma: Range = (1.0, 25.0)
    poisson_scale: Range = (0.05, 3.0)
    poisson2_scale: Range = (0.05, 2.5)
    jpeg_quality: Range = (30.0, 95.0)
    codec_share: float = 0.0
    codecs: tuple[str, ...] = ("h264", "mpeg4")
    crf: Range = (24.0, 38.0)

    def prepare(self, high_HWC: Picture, scale: int, rng: np.random.Generator) -> Picture:
        """The target as it is: the paper degrades inputs only."""
        return high_HWC

    def __call__(self, high_HWC: Picture, scale: int, rng: np.random.Generator) -> Picture:
        """The low-resolution partner of `high_HWC`: (H // scale, W // scale, 3), uint8, contiguous."""
        size = (high_HWC.shape[0] // scale, high_HWC.shape[1] // scale)
        if rng.random() < self.clean_share:
            low = np.asarray(Image.fromarray(high_HWC).resize(size[::-1], Image.Resampling.BICUBIC))
            return np.ascontiguousarray(low)
        picture = high_HWC
        if rng.random() < self.blur_share:
            picture = convolve(picture, draw_blur_kernel(rng, self.blur_sigma, self.sinc_share))
        first = _Stage(0.2, 0.7, self.resize, self.noise_sigma, self.poisson_scale)
        picture = self._compress(_resize_and_noise(picture, high_HWC.shape[:2], first, rng), rng)
        if rng.random() < self.blur2_share:
            picture = convolve(picture, draw_blur_kernel(rng, self.blur2_sigma, self.sinc_share))
        second = _Stage(0.3, 0.4, self.resize2, self.noise2_sigma, self.poisson2_scale)
        picture = _resize_and_noise(picture, size, second, rng)
        if rng.random() < 0.5:
            picture = self._low_pass(resize(picture, *size, _draw_method(rng)), rng)
            return self._compress(picture, rng)
        picture = self._low_pass(resize(self._compress(picture, rng), *size, _draw_method(rng)), rng)
        return np.ascontiguousarray(picture)

    def _low_pass(self, picture: Picture, rng: np.random.Generator) -> Picture:
        return convolve(picture, draw_sinc_kernel(rng)) if rng.random() < self.final_sinc_share else picture

    def _compress(self, picture: Picture, rng: np.random.Generator) -> Picture:
        picture = compress_jpeg(picture, round(rng.uniform(*self.jpeg_quality)))
        if rng.random() >= self.codec_share:
            return picture
        codec = self.codecs[int(rng.integers(len(self.codecs)))]
        quality = equivalent_quality(codec, rng.uniform(*self.crf))
        phase = (int(rng.integers(BLOCK)), int(rng.integers(BLOCK)))
        # A few equal frames: the last one carries what prediction leaves on a shot at rest.
        return recompress([picture] * CODED_FRAMES, codec, quality, phase=phase, kept=slice(-1, None))[0]


def compress_jpeg(picture: Picture, quality: int) -> Picture:
    """`picture` after JPEG at Pillow's `quality` (4:2:0 as cameras and the web write it)."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(stream))


def resize(picture: Picture, height: int, width: int, method: str) -> Picture:
    """(height, width) by "area" (means), "bilinear" or "bicubic" without antialiasing, as the paper's code does."""
    if picture.shape[:2] == (height, width):
        return picture
    if method == "area":
        return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
    interpolate = _interpolate_cubic if method == "bicubic" else _interpolate_linear
    rows = interpolate(picture.astype(np.float32), height, 0)
    rounded: Picture = np.clip(interpolate(rows, width, 1) + np.float32(0.5), 0.0, 255.0).astype(np.uint8)
    return rounded


def _resize_and_noise(picture: Picture, base: tuple[int, ...], stage: _Stage, rng: np.random.Generator) -> Picture:
    """One resize around the size `base` and one noise, as the stage draws them."""
    choice, (least, most) = rng.random(), stage.resize
    factor = 1.0
    if choice < stage.up:
        factor = rng.uniform(1.0, max(1.0, most))
    elif choice < stage.up + stage.down:
        factor = rng.uniform(min(1.0, least), 1.0)
    height, width = (max(1, round(side * factor)) for side in base)
    picture = resize(picture, height, width, _draw_method(rng))
    grey = bool(rng.random() < GREY_NOISE_SHARE)
    if rng.random() < GAUSSIAN_SHARE:
        return add_gaussian(picture, rng.uniform(*stage.noise_sigma), rng, grey=grey)
    return add_poisson(picture, rng.uniform(*stage.poisson_scale), rng, grey=grey)


def _draw_method(rng: np.random.Generator) -> str:
    return RESIZE_METHODS[int(rng.integers(len(RESIZE_METHODS)))]


def _positions(source: int, target: int) -> npt.NDArray[np.float64]:
    """Where the centres of `target` samples lie among `source` samples (corners of the pictures coincide)."""
    return (np.arange(target, dtype=np.float64) + 0.5) * (source / target) - 0.5


def _interpolate_linear(samples: npt.NDArray[np.float32], target: int, axis: int) -> npt.NDArray[np.float32]:
    places = _positions(samples.shape[axis], target)
    below = np.floor(places)
    part = places - below
    return _weigh(samples, axis, below.astype(np.intp), [1.0 - part, part], first=0)


def _interpolate_cubic(samples: npt.NDArray[np.float32], target: int, axis: int) -> npt.NDArray[np.float32]:
    """Keys' cubic convolution (IEEE Trans. ASSP 29, 1981)."""
    places = _positions(samples.shape[axis], target)
    below = np.floor(places)
    t = places - below
    a = _CUBIC
    weights = [
        a * (t**3 - 2 * t**2 + t),
        (a + 2) * t**3 - (a + 3) * t**2 + 1,
        -(a + 2) * t**3 + (2 * a + 3) * t**2 - a * t,
        a * (t**2 - t**3),
    ]
    return _weigh(samples, axis, below.astype(np.intp), weights, first=-1)


def _weigh(
    samples: npt.NDArray[np.float32],
    axis: int,
    below: npt.NDArray[np.intp],
    weights: list[npt.NDArray[np.float64]],
    *,
    first: int,
) -> npt.NDArray[np.float32]:
    shape = [1, 1, 1]
    shape[axis] = len(below)
    total: npt.NDArray[np.float32] | None = None
    for tap, weight in enumerate(weights):
        index = np.clip(below + first + tap, 0, samples.shape[axis] - 1)
        part = np.take(samples, index, axis=axis)
        part *= weight.astype(np.float32).reshape(shape)
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total
