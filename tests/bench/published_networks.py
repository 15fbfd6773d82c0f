"""What the networks of the papers cost here: milliseconds for a 480x270 frame at x4, beside those that come with vsr.

    python tests/bench/published_networks.py [--runs N] [--json]

Only the work is theirs, the weights are random: how long a convolution takes does not depend on its weights. All run as
`vsr.Upscaler` runs networks (channels-last; bf16 where the processor has it), one after another in every round, so that
a slow minute of the machine hits all of them. SRCNN, VDSR and FSRCNN work on luma alone, the first two on the enlarged
picture; enlarging it is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch import Tensor, nn

from vsr.model.catalog import entries
from vsr.model.loading import load_model
from vsr.model.precision import DTYPES, choose_precision
from vsr.model.rrdb import RRDBNet

WIDTH, HEIGHT, SCALE = 480, 270, 4


class Residual(nn.Module):
    """x + body(x)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        return features_BCHW + self.body(features_BCHW)


def conv(in_channels: int, out_channels: int, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)


def build_srcnn() -> nn.Module:
    """Dong et al., 2015: 9-1-5 with 64 and 32 features."""
    return nn.Sequential(conv(1, 64, 9), nn.ReLU(), conv(64, 32, 1), nn.ReLU(), conv(32, 1, 5))


def build_fsrcnn() -> nn.Module:
    """Dong et al., ECCV 2016: d 56, s 12, m 4; a transposed convolution at the end."""
    mapping = [layer for _ in range(4) for layer in (conv(12, 12), nn.PReLU(12))]
    last = nn.ConvTranspose2d(56, 1, 9, stride=SCALE, padding=4, output_padding=SCALE - 1)
    return nn.Sequential(
        conv(1, 56, 5), nn.PReLU(56), conv(56, 12, 1), nn.PReLU(12), *mapping, conv(12, 56, 1), nn.PReLU(56), last
    )


def build_vdsr() -> nn.Module:
    """Kim et al., CVPR 2016: 20 layers of 64 features, a residual around all."""
    hidden = [layer for _ in range(18) for layer in (conv(64, 64), nn.ReLU())]
    return Residual(conv(1, 64), nn.ReLU(), *hidden, conv(64, 1))


def build_edsr() -> nn.Module:
    """Lim et al., CVPRW 2017: 32 blocks of 256 features without batch norm."""
    blocks = [Residual(conv(256, 256), nn.ReLU(), conv(256, 256)) for _ in range(32)]
    tail = [conv(256, 1024), nn.PixelShuffle(2), conv(256, 1024), nn.PixelShuffle(2), conv(256, 3)]
    return nn.Sequential(conv(3, 256), Residual(*blocks, conv(256, 256)), *tail)


def list_networks() -> dict[str, tuple[nn.Module, int, int]]:
    """Name -> module, channels that go in, and how much larger than the source its input is."""
    networks: dict[str, tuple[nn.Module, int, int]] = {
        "SRCNN": (build_srcnn(), 1, SCALE),
        "FSRCNN": (build_fsrcnn(), 1, 1),
        "VDSR": (build_vdsr(), 1, SCALE),
        "EDSR": (build_edsr(), 3, 1),
        "RRDB": (RRDBNet(), 3, 1),
    }
    ours = [entry.name for entry in entries() if entry.is_embedded]
    return networks | {name: (load_model(name).module, 3, 1) for name in ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="time these alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    device = torch.device("cpu")
    precision = choose_precision("auto", device)
    prepared = {}
    for name, (module, channels, factor) in list_networks().items():
        if options.only and name not in options.only:
            continue
        module = module.eval().to(device, DTYPES[precision], memory_format=torch.channels_last)
        frame = torch.rand(1, channels, HEIGHT * factor, WIDTH * factor)
        # The published ones take half precision; ours split the picture into two parts themselves.
        own = not isinstance(module, (nn.Sequential, Residual))
        prepared[name] = (module, frame if own else frame.to(DTYPES[precision], memory_format=torch.channels_last))
    times: dict[str, list[float]] = {name: [] for name in prepared}
    with torch.inference_mode():
        for number in range(options.runs + 1):  # the first is the warm-up
            for name, (module, frame) in prepared.items():
                started = time.perf_counter()
                module(frame)
                if number:
                    times[name].append((time.perf_counter() - started) * 1e3)
    medians = {name: statistics.median(values) for name, values in times.items()}
    if options.json:
        facts = {"precision": precision, "threads": torch.get_num_threads(), "runs": options.runs}
        print(json.dumps(facts | {"milliseconds": times}))
        return
    print(f"{WIDTH}x{HEIGHT} -> x{SCALE}, {precision}, {torch.get_num_threads()} threads, median of {options.runs}")
    for name, value in medians.items():
        print(f"{name:10} {value:9.1f} ms   ({min(times[name]):.1f} to {max(times[name]):.1f})")


if __name__ == "__main__":
    main()
