"""A network on a device: pictures in, larger pictures out, whatever their size and whatever memory there is."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vsr.errors import Interrupted, ProcessingError, SettingsError
from vsr.model.finiteness import find_broken, mark_broken
from vsr.model.forms import Calibration, Forms
from vsr.model.memory import Cost, is_out_of_memory, keep_freed_memory, measure_cost
from vsr.model.network import Network
from vsr.model.placement import Engine, PlacedModule, can_make_planes, choose_engine
from vsr.model.precision import Precision, choose_precision, measure_free_memory, resolve_device
from vsr.model.resample import check_scale, resample, scale_side
from vsr.model.tiled import largest_window, run_in_tiles
from vsr.model.tiling import MIN_TILE, check_tile, choose_overlap, choose_tile
from vsr.planar import PlaneCodes, PlaneFiller, Planes

# Part of the free memory that activations may take; the rest is for kernels' workspaces, frames in queues, others.
MEMORY_SHARE = 0.6

# FLOP per second of one CPU thread, cautiously, and how long one operator may take: cancelling waits for it.
FLOPS_PER_THREAD: dict[Precision, float] = {"fp32": 40e9, "bf16": 160e9, "fp16": 40e9, "int8": 160e9}
MAX_OPERATOR_SECONDS = 1.0


@dataclass
class UpscalerStats:
    """What went otherwise than planned, counted over the upscaler's life."""

    fp32_repeats: int = 0
    """Frames that held NaN or Inf in half precision and were repeated in fp32."""
    tile_reductions: int = 0
    """How often memory ran out and the work was repeated in smaller portions."""


class Upscaler:
    """Network + device + precision: frames in, frames `scale` times as large out.

    Args:
        network: as `load_model` returns it; its module is copied, never changed.
        scale: size of the output relative to the input, 0 < scale <= 16; None for the network's own. Another scale
            than that is reached by an antialiased bicubic after the network.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, fp16, bf16, or int8 on a CPU, which is calibrated by `calibrate`, or on the first frames.
        engine: auto, torch, openvino or tensorrt.
        tile: 'auto' (whole frames if memory allows), 'off' (whole frames) or the longest side of a tile in
            low-resolution pixels, without its halo, at least 16.
        cancel: once set, the work under way ends with `Interrupted` before the network's next layer. The upscaler's own
            event `halt`, which its siblings share, does the same: for whoever runs it and has failed elsewhere.

    Raises:
        DeviceError: device, precision or engine not to be had here, or not for this network.
        SettingsError: scale or tile out of range; precision and engine do not go together.

    Not thread-safe: one thread calls it at a time; `split` makes siblings for others.
    """

    def __init__(
        self,
        network: Network,
        *,
        scale: float | None = None,
        device: str = "auto",
        precision: str = "auto",
        engine: str = "auto",
        tile: str | int = "auto",
        cancel: threading.Event | None = None,
    ) -> None:
        self.network = network
        self.scale = check_scale(network.scale if scale is None else scale)
        self._tile_setting = check_tile(tile)
        self.device = resolve_device(device)
        self._precision_setting = precision
        self.precision: Precision = choose_precision(precision, self.device, half_safe=network.half_safe)
        self.engine: Engine = choose_engine(engine, network, self.device, self.precision)
        self.stats = UpscalerStats()
        self.warnings: list[str] = []
        self._telling = threading.Lock()  # guards the two above, which siblings share
        self._memory_share = MEMORY_SHARE
        self.tile: int | None = self._tile_setting if isinstance(self._tile_setting, int) else None
        self.halt = threading.Event()
        self._cancel = cancel
        self._tiles: dict[tuple[int, int, int], int | None] = {}  # by batch, height and width
        self._tile_limit: int | None = None  # the largest side that memory has allowed so far
        self._batch_limit: int | None = None
        # As of now, for all siblings and for ever: tiles must not depend on how cores are shared between frames.
        self._num_threads = torch.get_num_threads()
        self._cost: Cost | None = None
        self._forms = Forms(network, self.device, self.engine, self.check_stop, self._tell)  # siblings share it
        self._fillers: dict[PlaneCodes, PlaneFiller] = {}
        if self.precision != "int8":
            self._forms.place(self.precision)
        is_cuda = self.device.type == "cuda"
        self._stream = torch.cuda.Stream(self.device) if is_cuda else None  # type: ignore[no-untyped-call]
        if precision not in ("auto", "fp32") and self.precision == "fp32":
            self.warnings.append(f"{network.name} is not safe in {precision}: fp32 is used")
        if self.device.type == "cpu":
            keep_freed_memory()

    @property
    def placement(self) -> str:
        """Where it works, for people."""
        return str(self.device)

    @property
    def num_devices(self) -> int:
        """On how many devices `split` deals out upscalers."""
        return 1

    def share_with(self, leader: Upscaler) -> None:
        """Count and warn together with `leader` from here on, and stop when it is told to."""
        self.stats, self.warnings, self._telling = leader.stats, leader.warnings, leader._telling
        self.halt, self._cancel = leader.halt, leader._cancel

    def split(self, num_threads: int) -> list[Upscaler]:
        """As many upscalers as that, for as many threads: they share the network, the counts and the warnings with this
        one, and the memory among themselves.

        Raises:
            Interrupted: `cancel` or `halt` was set.
        """
        if self._tile_setting == "auto":
            self._cost = self._cost or self._measure_cost()  # not by siblings: they share the layers that it watches
        siblings = [copy.copy(self) for _ in range(num_threads)]
        for sibling in siblings:
            sibling._memory_share = MEMORY_SHARE / num_threads
            sibling._tiles, sibling._fillers = {}, {}
        return siblings

    def for_depth(self, bits: int) -> Upscaler:
        """The upscaler for pictures of that many bits per sample: itself, or, where the precision was left to it
        ('auto') and is too coarse for them, a sibling in fp32 that shares the counts and the warnings.

        bf16 is 65 dB from fp32: a seventh of a step of 8 bits, but 37 steps of 16.
        """
        if bits <= 8 or self.precision == "fp32" or self._precision_setting != "auto":
            return self
        sibling = copy.copy(self)
        sibling.precision = "fp32"
        sibling._fillers = {}
        sibling._cost, sibling._tiles = None, {}  # a value takes more memory
        return sibling

    def is_blended(self, height: int, width: int) -> bool:
        """Whether frames of that size are put together from tiles that fade into each other, by today's memory."""
        tile = self._choose_tile(1, height, width)
        return tile is not None and max(height, width) > tile and choose_overlap(tile, self.network.halo)[1] > 0

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the output for an input of that size: each side x scale, rounded half up, at least 1."""
        return scale_side(height, self.scale), scale_side(width, self.scale)

    def __call__(self, frames_BCHW: Tensor, *, broken: Tensor | None = None) -> Tensor:
        """Upscale a batch of frames.

        Args:
            frames_BCHW: B,3,H,W float32 or half RGB in 0..1, B, H and W at least 1, any strides, on any device.
            broken: B bool on `self.device`. Whether frames hold NaN or Inf is written there, and they are not repeated
                in fp32: for callers that must not wait for the device, and call again for such frames without this.

        Returns:
            B,3,*output_size(H, W) float32 RGB in 0..1 on `self.device`, in memory of its own.

        Raises:
            Interrupted: `cancel` or `halt` was set.
            ProcessingError: NaN or Inf even in fp32, or memory too small for the smallest tile.
        """
        return self._call_on_stream(partial(self._upscale, broken=broken), frames_BCHW)

    def calibrate(self, samples: Sequence[Tensor]) -> Calibration:
        """Fit int8 to pictures of the film at hand, and compare it with fp32.

        Args:
            samples: B,3,H,W float32 RGB 0..1 each, from different places. Every other one is kept for comparing.

        Raises:
            SettingsError: the precision is another.
            ProcessingError: int8 is less than 40 dB (PSNR of the finished pictures) from fp32.
        """
        if self.precision != "int8":
            raise SettingsError(f"precision {self.precision!r} has nothing to calibrate")
        return self._forms.calibrate(samples)

    def can_fill(self, codes: PlaneCodes) -> bool:
        """Whether `fill` can make such planes: of networks that end in a pixel-shuffle, at their own scale."""
        return self.scale == self.network.scale and can_make_planes(self.network, self.engine, codes)

    def fill(
        self, frames_BCHW: Tensor, codes: PlaneCodes, planes: Sequence[Planes], *, broken: Tensor | None = None
    ) -> None:
        """Upscale a batch of frames straight to Y'CbCr planes: what `__call__` and the matrix would give, in a third of
        the time that those would take besides the network.

        Colours outside of the RGB cube, which `__call__` clips, are kept as far as the codes reach.

        Args:
            frames_BCHW: as `__call__` takes them.
            codes: what `can_fill` has said yes to.
            planes: for each frame, on `self.device`, luma of the size of the output.
            broken: as `__call__` takes it.

        Raises:
            Interrupted, ProcessingError: as `__call__`.
        """

        def work(frames_BCHW: Tensor) -> Tensor:
            values = self._compute(frames_BCHW, codes, broken)
            filler = self._fillers.setdefault(codes, PlaneFiller(codes, self.network.scale))
            for values_NHW, frame_CHW, target in zip(values, frames_BCHW, planes, strict=True):
                filler.fill(values_NHW, frame_CHW, target)
            return frames_BCHW

        self._call_on_stream(work, frames_BCHW)

    def values(self, frames_BCHW: Tensor, codes: PlaneCodes | None) -> Tensor:
        """What the network itself gives, to be compared to the last bit: B,C,H*n,W*n of some float dtype.

        Args:
            frames_BCHW: as `__call__` takes them.
            codes: of the planes that `fill` makes of these values; None: the values are those of a picture.

        Raises:
            Interrupted, ProcessingError: as `__call__`, save that NaN and Inf are none of its business.
        """

        def work(frames_BCHW: Tensor) -> Tensor:
            self._plan(frames_BCHW)
            return self._run_in_memory(self._forms.place(self.precision, codes), frames_BCHW)

        return self._call_on_stream(work, frames_BCHW)

    def _call_on_stream(self, work: Callable[[Tensor], Tensor], frames_BCHW: Tensor) -> Tensor:
        """`work` on the frames on the device; CUDA has a stream of its own for it, ordered after what the caller has
        queued and before what he will queue."""
        if frames_BCHW.ndim != 4 or frames_BCHW.shape[1] != 3 or 0 in frames_BCHW.shape:
            raise ValueError(f"frames must be B,3,H,W and not empty, not {tuple(frames_BCHW.shape)}")
        if not frames_BCHW.is_floating_point():
            raise ValueError(f"frames must be floating point in 0..1, not {frames_BCHW.dtype}")
        self.check_stop()
        if self._stream is None:
            with torch.inference_mode():
                return work(self._fetch(frames_BCHW))
        callers, stream = torch.cuda.current_stream(self.device), self._stream
        stream.wait_stream(callers)
        with torch.inference_mode(), torch.cuda.stream(stream):
            frames_BCHW = self._fetch(frames_BCHW)
            result = work(frames_BCHW)
        callers.wait_stream(stream)
        # Memory belongs to the stream it was made on; the other one must be known to use it too.
        frames_BCHW.record_stream(stream)
        result.record_stream(callers)
        return result

    def _upscale(self, frames_BCHW: Tensor, broken: Tensor | None) -> Tensor:
        pictures = self._compute(frames_BCHW, None, broken)
        result = pictures[0] if len(pictures) == 1 else torch.cat(pictures)
        result = resample(result, *self.output_size(*frames_BCHW.shape[-2:]))
        if result.untyped_storage().data_ptr() == frames_BCHW.untyped_storage().data_ptr():
            return result.clamp(0, 1)  # a network that hands its input through must not have it changed
        return result.clamp_(0, 1)

    def _compute(self, frames_BCHW: Tensor, codes: PlaneCodes | None, broken: Tensor | None) -> list[Tensor]:
        """What the network gives: one tensor of all frames, or, where some had to be repeated, one of each."""
        if self.precision == "int8":
            self._forms.ensure_calibration(frames_BCHW)
        placed = self._forms.place(self.precision, codes)
        self._plan(frames_BCHW)
        result = self._run_in_memory(placed, frames_BCHW)
        if broken is not None:
            mark_broken(result, broken)
        repeats = find_broken(result) if broken is None else []
        is_whole = codes is None and not repeats
        results = [result] if is_whole else [result[index : index + 1] for index in range(len(result))]
        for index in repeats:
            results[index] = self._repeat_in_fp32(frames_BCHW[index : index + 1], codes)
        return results if codes is None else [value[0] for value in results]

    def _repeat_in_fp32(self, frame_BCHW: Tensor, codes: PlaneCodes | None) -> Tensor:
        if self.precision != "fp32":
            with self._telling:
                warning = f"{self.precision} overflowed in {self.network.name}: such frames are done in fp32"
                if warning not in self.warnings:  # the run of a film takes its warnings away with it
                    self.warnings.append(warning)
                self.stats.fp32_repeats += 1
            result = self._run_in_memory(self._forms.place_reference(codes), frame_BCHW)
            if bool(torch.isfinite(result).all()):
                return result
        raise ProcessingError(
            f"network {self.network.name} gives NaN or Inf, in fp32 too",
            hint="its weights are broken or made for other input; try another --model",
        )

    # --- memory: tiles and portions ---

    def _plan(self, frames_BCHW: Tensor) -> None:
        """Choose the tile for frames of a size not seen before; a limit found by running out of memory stays."""
        batch, _, height, width = frames_BCHW.shape
        self.tile = self._choose_tile(batch, height, width)

    def _choose_tile(self, batch: int, height: int, width: int) -> int | None:
        if self._tile_setting != "auto":
            return self.tile
        size = (batch, height, width)
        if size not in self._tiles:
            self._cost = self._cost or self._measure_cost()
            memory = measure_free_memory(self.device) * self._memory_share
            num_pixels = memory / (2 * batch * self._cost.bytes_per_pixel)
            if self.device.type == "cpu":
                flop = FLOPS_PER_THREAD[self.precision] * self._num_threads * MAX_OPERATOR_SECONDS
                num_pixels = min(num_pixels, flop / (batch * self._cost.operator_flop_per_pixel))
            self._tiles[size] = choose_tile(height, width, num_pixels, self.network.halo)
        tile = self._tiles[size]
        if self._tile_limit is not None and max(height, width) > self._tile_limit:
            tile = min(tile or self._tile_limit, self._tile_limit)
        return tile

    def _run_in_memory(self, placed: PlacedModule, frames_BCHW: Tensor) -> Tensor:
        """Run, and while memory runs out run again: frame by frame first, then in smaller tiles."""
        while True:
            portions = torch.split(frames_BCHW, self._batch_limit or len(frames_BCHW))
            try:
                results = [self._run(placed, portion) for portion in portions]
                return results[0] if len(results) == 1 else torch.cat(results)
            except (MemoryError, RuntimeError) as exc:
                if not is_out_of_memory(exc):
                    raise
                reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            # Outside of `except`: the exception would keep alive the tensors of the frames it passed through.
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._reduce(portions[0], reason)

    def _reduce(self, frames_BCHW: Tensor, reason: str) -> None:
        batch, _, height, width = frames_BCHW.shape
        if batch > 1:
            self._batch_limit, what = 1, "frames are done one at a time"
        else:
            side = min(self.tile or sys.maxsize, max(height, width)) // 2
            if side < MIN_TILE:
                raise ProcessingError(
                    f"out of memory on {self.device} even in tiles of {MIN_TILE} px: {reason}",
                    hint="close other programs that use memory, or take a smaller --model",
                )
            self.tile = self._tile_limit = side
            what = f"frames are done in tiles of {side} px"
        with self._telling:
            self.stats.tile_reductions += 1
            self.warnings.append(f"out of memory on {self.device}: {what} from here on")

    # --- running the network ---

    def _run(self, placed: PlacedModule, frames_BCHW: Tensor) -> Tensor:
        """Network over whole frames or tiles: pictures are float32 at the network's own scale, not clamped."""

        def forward(window_BCHW: Tensor) -> Tensor:
            self.check_stop()
            output: Tensor = placed.module(window_BCHW.contiguous(memory_format=torch.channels_last))
            return output if placed.makes_planes else output.to(torch.float32)

        batch, _, height, width = frames_BCHW.shape
        is_whole = self.tile is None or max(height, width) <= self.tile
        if placed.prepare is not None:
            window = (height, width) if is_whole else largest_window(height, width, self.network, self.tile or 0)
            placed.prepare(batch, *window)
        if is_whole:
            return forward(frames_BCHW)
        assert self.tile is not None
        return run_in_tiles(forward, frames_BCHW, self.network, self.tile, placed.scale)

    # --- device ---

    def _measure_cost(self) -> Cost:
        if self.engine == "torch":
            return measure_cost(self._forms.place(self.precision).module, self.device)
        return measure_cost(self.network.module, torch.device("cpu"))  # others do not let their layers be watched

    def _tell(self, message: str) -> None:
        with self._telling:
            self.warnings.append(message)

    def check_stop(self, *_: Any) -> None:
        """Raises `Interrupted` once `cancel` or `halt` is set."""
        if self.halt.is_set() or (self._cancel is not None and self._cancel.is_set()):
            raise Interrupted("stopped on request")

    def _fetch(self, frames_BCHW: Tensor) -> Tensor:
        """The frames on the device in float32; pinned on the way to CUDA, so that the copy need not be waited for."""
        if self.device.type == "cuda" and frames_BCHW.device.type == "cpu":
            frames_BCHW = frames_BCHW.pin_memory()  # torch keeps pinned memory until the copy's event has passed
        return frames_BCHW.to(self.device, non_blocking=True).to(torch.float32)
