"""The same picture in other ways: flips and quarter turns for nothing, colours through torchvision."""

from __future__ import annotations

import numpy as np
import torch

from vsr.model.vision import import_torchvision
from vsr.training.decoding import Samples, to_float, to_samples

__all__ = ["NUM_TURNS", "copy_turned", "jitter_colors", "turn"]

# The symmetries of a square.
NUM_TURNS = 8


def turn(samples: Samples, code: int) -> Samples:
    """One of the eight views of ...,H,W that flips and quarter turns give; no sample is moved.

    Args:
        code: 0 to 7, the sum of 1 (columns in reverse), 2 (rows in reverse) and 4 (then rows and columns swapped).
    """
    assert 0 <= code < NUM_TURNS, code
    if code & 3:
        samples = samples[..., :: -1 if code & 2 else 1, :: -1 if code & 1 else 1]
    return samples.swapaxes(-1, -2) if code & 4 else samples


def copy_turned(samples: Samples, code: int, out: Samples) -> None:
    """Copy ``turn(samples, code)`` to `out`, which is contiguous."""
    if code & 5 == 1 and out.itemsize == 1 and out.shape[-1] % 8 == 0:
        # Copying bytes backwards one by one takes seven times as long as turning words of eight of them.
        out[...] = turn(samples, code & ~1)
        words = out.view(np.uint64)
        words[...] = words[..., ::-1]
        words.byteswap(inplace=True)
    else:
        out[...] = turn(samples, code)


def jitter_colors(low: Samples, high: Samples, strength: float, rng: np.random.Generator) -> tuple[Samples, Samples]:
    """Change brightness, contrast and saturation (torchvision's ColorJitter) of both pictures alike.

    Args:
        low, high: ...,3,h,w and ...,3,H,W of uint8 or uint16.
        strength: 0.1 for factors between 0.9 and 1.1.
        rng: what the factors are drawn from; torch's own generators stay as they are.

    Raises:
        TrainingError: torchvision is not there.
    """
    import_torchvision()
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    jitter = v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength)
    # Not torch.manual_seed: that would seed the GPU's generators as well.
    generator = torch.default_generator
    state = generator.get_state()
    try:
        generator.manual_seed(int(rng.integers(2**62)))
        changed = jitter(*(tv_tensors.Image(to_float(samples)) for samples in (low, high)))
    finally:
        generator.set_state(state)
    is_deep = high.dtype == np.uint16
    low, high = (to_samples(image.as_subclass(torch.Tensor), is_deep=is_deep) for image in changed)
    return low, high
