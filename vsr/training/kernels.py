"""Blur kernels of the second-order degradation (Wang et al., Real-ESRGAN, ICCVW 2021), and the convolution with them.

Kernels are float64 arrays (size, size), size odd, that sum to 1. Generalised Gaussian and plateau kernels follow
Liu et al., "Estimating Generalized Gaussian Blur Kernels for Out-of-Focus Image Deblurring" (2020).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["KERNEL_SIZES", "convolve", "draw_blur_kernel", "draw_sinc_kernel", "gaussian", "plateau", "sinc"]

Kernel = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]

KERNEL_SIZES = tuple(range(7, 22, 2))
# Isotropic and anisotropic of each: the paper's shares.
_SHAPES = ("gaussian", "gaussian", "generalised", "generalised", "plateau", "plateau")
_SHARES = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
_GENERALISED_SHAPE = (0.5, 4.0)
_PLATEAU_SHAPE = (1.0, 2.0)
_TRIM = 1e-4  # the weight that may be lost with a ring of the kernel
_BESSEL_NODES = 128


def gaussian(
    size: int, sigma_x: float, sigma_y: float | None = None, angle: float = 0.0, *, shape: float = 1.0
) -> Kernel:
    """exp(-d^shape / 2), d the squared distance in units of sigma; shape 1 is the Gaussian.

    Args:
        size: side, odd.
        sigma_x, sigma_y: in pixels, along the axes turned by `angle` radians; isotropic without sigma_y.
        shape: below 1 a sharper peak with longer tails, above 1 flatter.
    """
    kernel = np.exp(-0.5 * _distance(size, sigma_x, sigma_y, angle) ** shape)
    return _normalise(kernel)


def plateau(
    size: int, sigma_x: float, sigma_y: float | None = None, angle: float = 0.0, *, shape: float = 1.0
) -> Kernel:
    """1 / (1 + d^shape), as `gaussian` otherwise."""
    return _normalise(1.0 / (1.0 + _distance(size, sigma_x, sigma_y, angle) ** shape))


def sinc(size: int, cutoff: float) -> Kernel:
    """The circular low-pass that rings: passes frequencies below `cutoff` radians per pixel (pi: all along an axis).

    cutoff J1(cutoff r) / (2 pi r), r the distance to the centre (Real-ESRGAN, equation 6), normalised to sum 1.
    """
    y, x = _offsets(size)
    # 20 digits of a radius are too many to find equal ones again: the squares are whole numbers.
    squares, where = np.unique((x * x + y * y).astype(np.int64), return_inverse=True)
    radii = np.sqrt(squares[1:].astype(np.float64))
    values = np.concatenate(
        [[cutoff**2 / (4.0 * math.pi)], cutoff * _bessel_j1(cutoff * radii) / (2.0 * math.pi * radii)]
    )
    return _normalise(values[where].reshape(size, size))


def draw_blur_kernel(rng: np.random.Generator, sigma: tuple[float, float], sinc_share: float) -> Kernel:
    """A kernel as the paper draws it: shape, size, axes and angle at random, `sinc_share` of them sinc."""
    size = int(rng.choice(KERNEL_SIZES))
    if rng.random() < sinc_share:
        return sinc(size, rng.uniform(math.pi / 3 if size < 13 else math.pi / 5, math.pi))
    number = int(rng.choice(len(_SHAPES), p=_SHARES))
    sigma_x = rng.uniform(*sigma)
    sigma_y, angle = (rng.uniform(*sigma), rng.uniform(-math.pi, math.pi)) if number % 2 else (sigma_x, 0.0)
    if _SHAPES[number] == "gaussian":
        return gaussian(size, sigma_x, sigma_y, angle)
    make, (least, most) = (
        (gaussian, _GENERALISED_SHAPE) if _SHAPES[number] == "generalised" else (plateau, _PLATEAU_SHAPE)
    )
    # Half of the draws below 1, whatever the range above it.
    shape = rng.uniform(least, 1.0) if rng.random() < 0.5 else rng.uniform(1.0, most)
    return make(size, sigma_x, sigma_y, angle, shape=shape)


def draw_sinc_kernel(rng: np.random.Generator) -> Kernel:
    """The last low-pass of the paper: any size, cut off between pi/3 and pi."""
    return sinc(int(rng.choice(KERNEL_SIZES)), rng.uniform(math.pi / 3, math.pi))


def convolve(picture: Picture, kernel: Kernel) -> Picture:
    """`picture` (H, W, C), uint8, blurred by `kernel`, mirrored at its edges and rounded; the same size and type.

    Separable kernels take two passes, others go through the Fourier transform: both exact up to float32.
    """
    kernel = _trim(kernel)
    radius = kernel.shape[0] // 2
    if radius == 0:
        return picture.copy()
    padded = np.pad(picture, ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    rows, columns = kernel.sum(axis=1), kernel.sum(axis=0)
    if np.abs(kernel - np.outer(rows, columns)).max() < _TRIM / kernel.size:
        blurred = _convolve_separably(padded, rows, columns)
    else:
        blurred = _convolve_by_fourier(padded, kernel)
    rounded: Picture = np.clip(blurred + np.float32(0.5), 0.0, 255.0).astype(np.uint8)
    return rounded


def _convolve_separably(padded: Picture, rows: Kernel, columns: Kernel) -> Samples:
    height, width = padded.shape[0] - len(rows) + 1, padded.shape[1] - len(columns) + 1
    source = padded.astype(np.float32)
    upright = source[:height] * np.float32(rows[0])
    for i in range(1, len(rows)):
        upright += source[i : i + height] * np.float32(rows[i])
    blurred: Samples = upright[:, :width] * np.float32(columns[0])
    for i in range(1, len(columns)):
        blurred += upright[:, i : i + width] * np.float32(columns[i])
    return blurred


def _convolve_by_fourier(padded: Picture, kernel: Kernel) -> Samples:
    """Two channels at a time as one complex picture: numpy's complex transforms are faster than its real ones."""
    size = kernel.shape[0]
    height, width, channels = padded.shape
    tall, wide = _smooth_size(height), _smooth_size(width)
    transfer = np.fft.fft(np.fft.fft(kernel.astype(np.complex64), wide, axis=1), tall, axis=0)
    blurred = np.empty((height - size + 1, width - size + 1, channels), np.float32)
    for first in range(0, channels, 2):
        pair = np.zeros((tall, wide), np.complex64)
        pair.real[:height, :width] = padded[:, :, first]
        if first + 1 < channels:
            pair.imag[:height, :width] = padded[:, :, first + 1]
        result = np.fft.ifft2(np.fft.fft2(pair) * transfer)[size - 1 : height, size - 1 : width]
        blurred[:, :, first] = result.real
        if first + 1 < channels:
            blurred[:, :, first + 1] = result.imag
    return blurred


def _distance(size: int, sigma_x: float, sigma_y: float | None, angle: float) -> Kernel:
    """Squared distances to the centre in units of sigma along the turned axes."""
    y, x = _offsets(size)
    along = (x * math.cos(angle) + y * math.sin(angle)) / sigma_x
    across = (y * math.cos(angle) - x * math.sin(angle)) / (sigma_x if sigma_y is None else sigma_y)
    return along**2 + across**2


def _offsets(size: int) -> tuple[Kernel, Kernel]:
    assert size % 2, size
    line = np.arange(size, dtype=np.float64) - size // 2
    return line[:, None], line[None, :]


def _normalise(kernel: Kernel) -> Kernel:
    normal: Kernel = kernel / kernel.sum()
    return normal


def _trim(kernel: Kernel) -> Kernel:
    """Without the outer rings that weigh next to nothing, which most small sigmas have."""
    while kernel.shape[0] > 1:
        inner = kernel[1:-1, 1:-1]
        if np.abs(kernel).sum() - np.abs(inner).sum() > _TRIM:
            break
        kernel = _normalise(inner)
    return kernel


def _bessel_j1(x: Kernel) -> Kernel:
    """J1 by its integral over a period, (1/pi) int cos(t - x sin t) dt: the trapezoid rule converges geometrically.

    Exact to double precision for x below about 100 (Abramowitz and Stegun, 9.1.21).
    """
    t = (np.arange(_BESSEL_NODES) + 0.5) * (math.pi / _BESSEL_NODES)
    values: Kernel = np.cos(t - x[:, None] * np.sin(t)).mean(axis=1)
    return values


@cache
def _smooth_size(least: int) -> int:
    """The smallest size of at least `least` with no prime factor above 5, which transforms fast."""
    size = least
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1
