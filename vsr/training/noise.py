"""Noise: sensor-like (Gaussian, Poisson) as in Real-ESRGAN, and the grain of film. Pictures are uint8 (H, W, C)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["add_field", "add_gaussian", "add_poisson", "draw_grain"]

Picture = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

_POISSON_LEVELS = 256.0
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601


def add_gaussian(picture: Picture, sigma: float, rng: np.random.Generator, *, grey: bool = False) -> Picture:
    """White noise of standard deviation `sigma` (levels of 255); `grey`: the same in all channels."""
    return add_field(picture, np.float32(sigma) * _normal(picture, rng, grey))


def add_poisson(picture: Picture, scale: float, rng: np.random.Generator, *, grey: bool = False) -> Picture:
    """Noise of photons: variance proportional to brightness, `scale` times that of 256 photons at white.

    A normal distribution stands for Poisson's: where they differ (next to black) both are below a level.
    """
    light = (picture @ _LUMA if picture.shape[2] == 3 else picture[:, :, 0].astype(np.float32))[:, :, None]
    expected = (light if grey else picture.astype(np.float32)) / 255.0
    deviation = np.sqrt(expected / _POISSON_LEVELS) * np.float32(scale * 255.0)
    return add_field(picture, deviation * _normal(picture, rng, grey))


def draw_grain(
    height: int, width: int, sigma: float, softness: float, rng: np.random.Generator, chroma: float
) -> Field:
    """Grain as a film shows it: mostly of brightness, clumped; (height, width, 3), standard deviation `sigma` of luma.

    Args:
        softness: 0 (white) to 0.25 (a binomial low-pass): weight of each neighbour in both directions.
        chroma: standard deviation of the channels' own part, as a share of sigma; 0: grey.
    """
    layers = 4 if chroma > 0 else 1
    grain = rng.standard_normal((layers, height + 2, width + 2), dtype=np.float32)
    middle, side = np.float32(1.0 - 2.0 * softness), np.float32(softness)
    grain = middle * grain[:, 1:-1] + side * (grain[:, :-2] + grain[:, 2:])
    grain = middle * grain[:, :, 1:-1] + side * (grain[:, :, :-2] + grain[:, :, 2:])
    # The low-pass takes the square of its weights of the variance, once in each direction.
    grain *= np.float32(sigma) / (middle**2 + 2.0 * side**2)
    if chroma == 0:
        return np.repeat(grain[0][:, :, None], 3, axis=2)
    colours = np.moveaxis(grain[1:], 0, -1)
    colours = colours - (colours @ _LUMA)[:, :, None]
    field: Field = grain[0][:, :, None] + np.float32(chroma) * colours
    return field


def add_field(picture: Picture, field: Field) -> Picture:
    """`picture` plus `field` (levels of 255, broadcast over channels), rounded and clipped."""
    noisy: Picture = np.clip(picture + field + np.float32(0.5), 0.0, 255.0).astype(np.uint8)
    return noisy


def _normal(picture: Picture, rng: np.random.Generator, grey: bool) -> Field:
    height, width, channels = picture.shape
    return rng.standard_normal((height, width, 1 if grey else channels), dtype=np.float32)
