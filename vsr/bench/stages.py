"""Each stage of the river alone, with the machine to itself."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from vsr.bench.spread import Spread
from vsr.model.speed import synchronize
from vsr.model.upscaler import Upscaler
from vsr.pipeline.compute import Tally, compute, read_pictures
from vsr.pipeline.plan import FilmPlan, plan_film
from vsr.pixels import tensor_to_frames
from vsr.settings import Settings
from vsr.video.reader import Picture, Reader
from vsr.video.segment_encoder import encode_film
from vsr.video.segments import SegmentGrid
from vsr.video.writer import Writer

__all__ = ["Stages", "measure_stages"]

# What finished pictures may take of the memory; those of a long or large clip come round again.
MAX_BYTES = 1 << 29
BYTES_PER_PIXEL = 12  # of a float32 RGB tensor


@dataclass(frozen=True, slots=True)
class Stages:
    """What each stage takes without the others.

    Attributes:
        milliseconds: per frame, of "decode", "compute" (from decoded to finished frames, each of them whole, one batch
            after the other with all threads) and "encode" (to the file's final name: encoded, read back, verified),
            which are the river's own stages; and of the colour conversions "frames_to_tensor" and "tensor_to_frames"
            (one frame after the other), which `compute` does too where the network does not give planes itself.
    """

    milliseconds: dict[str, Spread]


def measure_stages(clip: Path, settings: Settings, upscaler: Upscaler, folder: Path, num_runs: int) -> Stages:
    """Time the stages on the clip, in turns, after a round to warm up. What is encoded is what the network makes of it.

    Args:
        folder: for the encoded film.
    """
    plan = plan_film(clip, folder / "stages.mp4", replace(settings, overwrite=True), upscaler)
    encoding = plan.output.encoding
    pictures = list(_open(plan).pictures())
    tensors = _upscale_some(pictures, plan, upscaler)
    finished = [tensor_to_frames(tensor, encoding.pix_fmt, encoding.colors)[0] for tensor in tensors]

    def decode() -> None:
        deque(_open(plan).pictures(), maxlen=0)

    def compute_all() -> None:
        for start in range(0, len(pictures), plan.batch):
            compute(pictures[start : start + plan.batch], upscaler=upscaler, plan=plan, tally=Tally())

    def convert_to_tensors() -> None:
        for picture in pictures:
            read_pictures([picture], upscaler=upscaler, plan=plan)

    def convert_to_frames() -> None:
        for tensor in islice(cycle(tensors), len(pictures)):
            tensor_to_frames(tensor, encoding.pix_fmt, encoding.colors)

    def encode() -> None:
        made = (replace(picture, frame=frame) for picture, frame in zip(pictures, cycle(finished)))
        grid = SegmentGrid.of(plan.info, plan.output.window)
        with TemporaryDirectory(dir=folder) as place, Writer(plan.info, plan.output) as writer:
            writer.join(encode_film(made, grid, encoding, Path(place), plan.output.path))
            writer.finish()

    works: dict[str, Callable[[], None]] = {
        "decode": decode, "compute": compute_all, "encode": encode,
        "frames_to_tensor": convert_to_tensors, "tensor_to_frames": convert_to_frames,
    }  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(num_runs + 1):
        for name, work in works.items():
            begin = time.perf_counter()
            work()
            synchronize(upscaler.device)
            if number:
                times[name].append((time.perf_counter() - begin) * 1e3 / len(pictures))
    return Stages({name: Spread.of(values) for name, values in times.items()})


def _upscale_some(pictures: list[Picture], plan: FilmPlan, upscaler: Upscaler) -> list[Tensor]:
    """The network's results for as many of the first pictures as memory is for; at least one."""
    encoding = plan.output.encoding
    most = max(1, MAX_BYTES // (encoding.height * encoding.width * BYTES_PER_PIXEL))
    return [upscaler(read_pictures([picture], upscaler=upscaler, plan=plan)) for picture in pictures[:most]]


def _open(plan: FilmPlan) -> Reader:
    return Reader(plan.info, decoder=plan.decoder.make(plan.info))
