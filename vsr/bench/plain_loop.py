"""The loop of the usual scripts: decode, network in float32, encode; one frame after the other, in one thread.

Nothing of vsr.model is imported here, and nothing that it sets for itself reaches this process (see `process`). torch,
decoder and encoder take the threads that they take by themselves.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vsr.bench import pipes
from vsr.bench.calls import load_frames, time_calls, to_tensor
from vsr.bench.plain_networks import load_plain
from vsr.bench.rgb import Array, read_rgb, write_rgb
from vsr.bench.task import Task

__all__ = ["run_film", "run_network"]

NUM_WARM_UP = 2


def run_film(task: Task) -> dict[str, Any]:
    """The whole clip, after two frames to warm up: seconds per frame, and how many frames came out."""
    module, clip = load_plain(Path(task.weights), task.device), Path(task.clip)
    read: Callable[[Path], Iterator[Array]] = read_rgb
    write = write_rgb
    if task.uses_pipes:
        read, write = partial(pipes.read_rgb, width=task.width, height=task.height), pipes.write_rgb
    enlarge = partial(_enlarge, module=module, device=task.device)
    with tempfile.TemporaryDirectory(dir=clip.parent) as folder:
        write(Path(folder, "warm.mp4"), map(enlarge, list(islice(read(clip), NUM_WARM_UP))), task.coding)
        begin = time.perf_counter()
        num_frames = write(Path(folder, "out.mp4"), map(enlarge, read(clip)), task.coding)
        seconds = time.perf_counter() - begin
    return {"seconds_per_frame": seconds / num_frames, "num_frames": num_frames}


def run_network(task: Task) -> dict[str, Any]:
    """The network alone, float32 in and out."""
    module = load_plain(Path(task.weights), task.device)

    def enlarge(frame_BCHW: Tensor) -> Tensor:
        with torch.no_grad():
            output_BCHW: Tensor = module(frame_BCHW)
            return output_BCHW.clamp(0, 1)

    return {"seconds_per_frame": time_calls(enlarge, load_frames(Path(task.clip), task.device))}


def _enlarge(picture_HW3: Array, *, module: nn.Module, device: str) -> Array:
    with torch.no_grad():
        output_BCHW = module(to_tensor(picture_HW3).to(device))
    larger: Array = (output_BCHW[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return larger
