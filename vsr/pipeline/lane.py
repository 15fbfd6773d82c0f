"""A GPU's lane of the river: batches are launched one behind the other, and land when the device is through with them.

While one batch is computed, the samples of the next are copied to the device and the codes of the last are copied back,
each on a stream of its own. Launching only queues: the thread that does it never waits for the network, so that the GPU
always has the next batch before it. Landing, in another thread, waits for the event behind a batch's last copy.

Memory that several streams use belongs to a batch's `Flight` until it has landed, when all of them are through with it.

The order of things is tested on the CPU with stand-ins for streams; not yet run on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vsr.model.resample import resample
from vsr.model.upscaler import Upscaler
from vsr.pipeline.clock import StageClock
from vsr.pipeline.compute import Tally, choose_codes, naming_place, read_pictures, upscale_group
from vsr.pipeline.plan import FilmPlan
from vsr.pipeline.prefetch import Prefetch
from vsr.pipeline.reuse import Outcome, Task
from vsr.pipeline.ring import Ring, Slot, Waitable
from vsr.pipeline.streams import CudaStreams, Streams
from vsr.pipeline.surfaces import Surfaces
from vsr.pixels import codes_to_frame, tensor_to_codes, wrap_surface
from vsr.planar import PlaneCodes, Planes
from vsr.video.nvenc import MAX_HELD
from vsr.video.reader import Picture

__all__ = ["Flight", "Lane", "fly"]

# Batches on their way through one device: one computed, one behind it, one copied back.
FLIGHTS_PER_DEVICE = 3

# Planes on their way to the device: those of two frames.
INCOMING_SLOTS = 6

# Every plane in a buffer begins at a multiple of this many bytes: its samples may be two bytes wide, and copies are
# quickest so.
ALIGNMENT = 256


class Lane:
    """What launches batches on one device. One thread at a time calls it.

    Args:
        upscaler: on the device; nobody else's.
        streams: the device's; None: made for it.
    """

    def __init__(self, upscaler: Upscaler, plan: FilmPlan, tally: Tally, streams: Streams | None = None) -> None:
        self.plan, self.tally = plan, tally
        self.streams = streams if streams is not None else CudaStreams(upscaler.device)
        self._upscaler = upscaler
        self.repairer = upscaler.split(1)[0]  # used by the thread that lands, while this one launches
        self._incoming = Ring(INCOMING_SLOTS, self.streams.allocate, upscaler.check_stop)
        self._outgoing = Ring(FLIGHTS_PER_DEVICE, self.streams.allocate, upscaler.check_stop)
        # Where NVENC encodes, pictures stay on the device: in its hands, in those of the river, and the one before.
        num_surfaces = MAX_HELD + (FLIGHTS_PER_DEVICE + 3) * plan.batch + 1
        self.surfaces = Surfaces(num_surfaces, _allocate_surface) if plan.output.encoding.on_device else None

    def launch(self, group: list[Picture]) -> Flight:
        """Queue everything that is to be done for pictures of one layout.

        Raises:
            Interrupted, SourceError, ProcessingError: as `vsr.pipeline.compute.compute`.
        """
        with naming_place(self.plan, group[0]):
            # Samples become R'G'B' on the stream that brings them: decoders on the device wait for what reads their
            # surfaces, and must not wait for the network.
            with self.streams.copying_in():
                source_BCHW = read_pictures(group, upscaler=self._upscaler, plan=self.plan, upload=self._upload)
                is_there = self.streams.mark()
            with self.streams.computing():
                is_there.wait()
                broken_B = torch.zeros(len(group), dtype=torch.bool, device=self.streams.device)
                codes = self.make_codes(source_BCHW, self._upscaler, broken_B)
                if self.surfaces is not None:
                    codes = [[self.surfaces.fill(components)] for components in codes]
                is_computed = self.streams.mark()
            stays = self.surfaces is not None
            tensors = [broken_B] if stays else [*(plane for planes in codes for plane in planes), broken_B]
            slot = self._outgoing.take(sum(_round_up(_num_bytes(tensor)) for tensor in tensors))
            with self.streams.copying_out():
                is_computed.wait()
                views = list(_place_all(slot, tensors))
                for view, tensor in zip(views, tensors, strict=True):
                    view.copy_(tensor, non_blocking=True)
                is_back = self.streams.mark()
        num_planes = len(codes[0])
        frames = [views[start : start + num_planes] for start in range(0, len(views) - 1, num_planes)]
        return Flight(self, group, slot, codes if stays else frames, views[-1], is_back, source_BCHW, tensors)

    @property
    def tile(self) -> int | None:
        """What the network sees at a time, as `Upscaler.tile`."""
        return self._upscaler.tile

    def _upload(self, codes_HW: Tensor) -> Tensor:
        """Samples on the device, brought there through the ring, in the order of the current stream."""
        slot = self._incoming.take(_num_bytes(codes_HW))
        (staged,) = _place_all(slot, [codes_HW])
        staged.copy_(codes_HW)
        samples = torch.empty(codes_HW.shape, dtype=codes_HW.dtype, device=self.streams.device)
        samples.copy_(staged, non_blocking=True)
        slot.release(after=self.streams.mark())
        return samples

    def make_codes(
        self, source_BCHW: Tensor, upscaler: Upscaler, broken_B: Tensor | None = None
    ) -> Sequence[Sequence[Tensor]]:
        """For each frame the codes of its components, on the device.

        Args:
            upscaler: the lane's, or a sibling.
            broken_B: as `Upscaler.fill` takes it.
        """
        encoding = self.plan.output.encoding
        height, width = encoding.height, encoding.width
        is_resampled = upscaler.output_size(*source_BCHW.shape[-2:]) != (height, width)
        codes = choose_codes(upscaler, encoding)
        if codes is not None and not is_resampled:
            planes = [_empty_planes(codes, height, width, source_BCHW.device) for _ in source_BCHW]
            upscaler.fill(source_BCHW, codes, planes, broken=broken_B)
            return planes
        frames_BCHW = upscaler(source_BCHW, broken=broken_B)
        if is_resampled:
            self.tally.sizes_resampled.add((source_BCHW.shape[-1], source_BCHW.shape[-2]))
            frames_BCHW = resample(frames_BCHW, height, width).clamp_(0, 1)
        return tensor_to_codes(frames_BCHW, encoding.pix_fmt, encoding.colors)


@dataclass
class Flight:
    """A batch under way. Flights land in the order of their launching.

    Attributes:
        slot: the host's memory that `frames` (for each frame the codes of its components) and `broken` (B bool: a frame
            holds NaN or Inf) are views of. Where NVENC encodes, `frames` has the one surface of each instead.
        is_back: passed when all of that has been copied.
        source: the pictures that went in, B,3,H,W on the device.
        kept: what is copied back, on the device.
    """

    lane: Lane
    group: list[Picture]
    slot: Slot
    frames: Sequence[Sequence[Tensor]]
    broken: Tensor
    is_back: Waitable
    source: Tensor
    kept: list[Tensor]

    def land(self) -> list[Any]:
        """Wait for the device, then make frames of what it has copied back, one for each picture of the group.

        Frames that hold NaN or Inf are done again, which waits for the device once more.

        Raises:
            Interrupted, ProcessingError: as `vsr.pipeline.compute.compute`.
        """
        with naming_place(self.lane.plan, self.group[0]):
            self.is_back.synchronize()
            self.kept.clear()
            frames = [self._make_frame(number) for number in range(len(self.group))]
        self.slot.release()
        self.lane.tally.tile = self.lane.tile
        return frames

    def _make_frame(self, number: int) -> Any:
        encoding = self.lane.plan.output.encoding
        if self.lane.surfaces is not None:
            return self._wrap(self.frames[number][0], number, self.lane.surfaces)
        if not bool(self.broken[number]):
            return codes_to_frame(self.frames[number], encoding.pix_fmt, encoding.colors)
        size = (encoding.height, encoding.width)
        source_BCHW = self.source[number : number + 1]
        (frame,) = upscale_group(source_BCHW, self.lane.repairer, encoding, size, self.lane.tally)
        return frame

    def _wrap(self, surface: Tensor, number: int, surfaces: Surfaces) -> Any:
        encoding = self.lane.plan.output.encoding
        if bool(self.broken[number]):
            with self.lane.streams.computing():
                (components,) = self.lane.make_codes(self.source[number : number + 1], self.lane.repairer)
                surfaces.refill(surface, components)
                is_repaired = self.lane.streams.mark()
            is_repaired.synchronize()
        return wrap_surface(surface, encoding.pix_fmt, encoding.colors)


@contextmanager
def fly(groups: Iterable[list[Task]], lanes: Sequence[Lane], clock: StageClock) -> Iterator[Iterable[list[Outcome]]]:
    """The middle stage on GPUs: groups of `vsr.pipeline.reuse.group_tasks` go in, their outcomes come out in order.

    A thread for each lane launches, one more lands. Leaving the block ends them and waits for the devices.
    """
    ahead = (FLIGHTS_PER_DEVICE - 1) * len(lanes) - 1
    launches = [partial(_launch, lane) for lane in lanes]
    flights: Prefetch[tuple[list[Task], Flight | None]] = Prefetch(groups, ahead, "launch", launches)
    land = clock.timed("compute", _land)
    try:
        with flights:
            landed: Prefetch[list[Outcome]] = Prefetch((land(*flight) for flight in flights), 1, "land")
            with landed:
                yield landed
    finally:
        for lane in lanes:
            lane.streams.finish()


def _launch(lane: Lane, group: list[Task]) -> tuple[list[Task], Flight | None]:
    pictures = [task.picture for task in group if _needs_work(task)]
    return group, lane.launch(pictures) if pictures else None


def _land(group: list[Task], flight: Flight | None) -> list[Outcome]:
    frames = iter(flight.land() if flight is not None else ())
    return [
        Outcome(task, next(frames), num_computed=task.num_pixels) if _needs_work(task) else Outcome(task)
        for task in group
    ]


def _needs_work(task: Task) -> bool:
    """Whether its frame is computed here: whole also where patches would do, since one shape suits a GPU best."""
    return task.patches is None or len(task.patches) > 0


def _allocate_surface(luma: Tensor) -> Tensor:
    height, width = luma.shape
    return torch.empty((height * 3 // 2, width), dtype=luma.dtype, device=luma.device)


def _empty_planes(codes: PlaneCodes, height: int, width: int, device: torch.device) -> Planes:
    dtype = torch.uint8 if codes.peak < 256 else torch.uint16
    luma = torch.empty((height, width), dtype=dtype, device=device)
    blueness, redness = torch.empty(
        (2, -(-height // codes.down), -(-width // codes.across)), dtype=dtype, device=device
    )
    return luma, blueness, redness


def _num_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _round_up(num_bytes: int) -> int:
    return -(-num_bytes // ALIGNMENT) * ALIGNMENT


def _place_all(slot: Slot, tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Contiguous tensors like `tensors`, one behind the other in the slot's memory."""
    assert slot.memory is not None
    start = 0
    for tensor in tensors:
        yield slot.memory[start : start + _num_bytes(tensor)].view(tensor.dtype).view(tensor.shape)
        start += _round_up(_num_bytes(tensor))
