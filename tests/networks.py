"""Small networks for the tests: weights files made on the spot."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from vsr.model.compact import Compact

__all__ = ["write_compact"]


def write_compact(path: Path, *, scale: int = 4, num_features: int = 8, num_conv: int = 1, seed: int = 0) -> Path:
    """A compact network of random weights that stays near its nearest-neighbour base, so that pictures keep sense."""
    torch.manual_seed(seed)
    module = Compact(num_features=num_features, num_conv=num_conv, scale=scale)
    state = {name: (value * 0.2).contiguous() for name, value in module.state_dict().items()}
    save_file(state, path)
    return path
