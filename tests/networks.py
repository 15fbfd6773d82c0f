"""Small networks for the tests: every architecture in every variant, and weights files made on the spot."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from vsr.model.compact import Compact
from vsr.model.rrdb import RRDBNet
from vsr.model.srresnet import SRResNet

__all__ = ["SMALL", "AnyNetwork", "make", "make_rrdb", "write_compact"]

AnyNetwork = Compact | RRDBNet | SRResNet

SMALL = {
    "compact-x4": lambda: Compact(8, 3, 4),
    "compact-x2": lambda: Compact(8, 0, 2),
    "compact-x1": lambda: Compact(4, 1, 1),
    "rrdb-x4": lambda: RRDBNet(8, 2, 4),
    "rrdb-x8": lambda: RRDBNet(8, 1, 4, num_upsample=3),
    "rrdb-x2": lambda: RRDBNet(8, 1, 4, num_upsample=1),
    "rrdb-x1": lambda: RRDBNet(8, 1, 4, num_upsample=0),
    "rrdb-unshuffle2": lambda: RRDBNet(8, 1, 4, unshuffle=2),
    "rrdb-unshuffle4": lambda: RRDBNet(8, 1, 4, unshuffle=4),
    "srresnet-x4": lambda: SRResNet(8, 2, 2),
    "srresnet-x2": lambda: SRResNet(8, 1, 1),
}


def make(kind: str) -> AnyNetwork:
    """A network of `SMALL` with random weights (of torch's generator as it stands), ready to run."""
    network: AnyNetwork = SMALL[kind]()
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)  # running statistics that do something
    return network.eval()


def write_compact(path: Path, *, scale: int = 4, num_features: int = 8, num_conv: int = 1, seed: int = 0) -> Path:
    """A compact network of random weights that stays near its nearest-neighbour base, so that pictures keep sense."""
    torch.manual_seed(seed)
    module = Compact(num_features=num_features, num_conv=num_conv, scale=scale)
    state = {name: (value * 0.2).contiguous() for name, value in module.state_dict().items()}
    save_file(state, path)
    return path


def make_rrdb(num_blocks: int = 2, *, unshuffle: int = 1, num_features: int = 16, growth: int = 8) -> RRDBNet:
    """A small RRDBNet x4 (x2, x1 with `unshuffle`) of random weights, ready for inference, channels-last."""
    torch.manual_seed(0)
    module = RRDBNet(num_features=num_features, num_blocks=num_blocks, growth=growth, unshuffle=unshuffle)
    return module.eval().requires_grad_(False).to(memory_format=torch.channels_last)
