"""Batches for the training loop, made by itself or by worker processes: the same ones, either way."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import time
import warnings
import weakref
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vsr.errors import SettingsError, TrainingError, VsrError
from vsr.progress import Progress
from vsr.training.decoding import Samples
from vsr.training.degradation import Degrade
from vsr.training.patches import Chunk, Chunks
from vsr.training.pictures import Pictures

__all__ = ["Batch", "PatchLoader"]

NUM_CHUNKS_AHEAD = 2
_LAST_CHUNK = 2**62


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs and targets of one step: `low_BCHW` and `high_BCHW`, float32 RGB 0..1, contiguous."""

    low_BCHW: Tensor  # noqa: N815
    high_BCHW: Tensor  # noqa: N815


class PatchLoader:
    """Iterating yields the `Batch` of step `start_step`, of the one after, and so on without end.

    What a step holds hangs on the pictures, the seed, and the settings that say what a patch is; not on the number of
    workers or ranks, nor on where one starts. Leaving the loop, `close` or the end of a ``with`` ends the workers.

    Args:
        pictures: opened for `scale`, with patches of this size in mind.
        patch: side of a low-resolution patch; the high-resolution one is `scale` times as large.
        batch: patches of a step over all ranks; a multiple of `world`.
        degrade: makes low-resolution regions out of high-resolution ones; None for the partners that the pictures came
            with, and `kernel` ("matlab" or "pillow") where there are none.
        patches_per_sheet: patches cut from one region before the next is taken. It makes degradation cheap, and
            consecutive batches alike; without degradation 1 costs little.
        workers: processes that make batches; 0: the one that iterates.
        rank, world: which contiguous share of every batch is made here.
        augment: flips and quarter turns.
        jitter: strength of changes in brightness, contrast and saturation; 0 for none.
        device: where the tensors lie.
        start_method: of the worker processes; None for fork on Linux, the platform's usual one elsewhere.

    Attributes:
        wait_seconds: time spent waiting for batches so far.

    Raises:
        SettingsError: sizes that do not fit together.
        DataError: a picture smaller than a patch.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        scale: int,
        patch: int,
        batch: int,
        degrade: Degrade | None = None,
        kernel: str = "matlab",
        patches_per_sheet: int = 1,
        seed: int = 0,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        start_step: int = 0,
        augment: bool = True,
        jitter: float = 0.0,
        device: torch.device | str = "cpu",
        start_method: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        if batch < 1 or batch % world:
            raise SettingsError(
                f"a batch of {batch} patches cannot be shared out evenly to {world} processes",
                hint=f"take a multiple of {world} for data.batch",
            )
        for name, value, least in (("patch", patch, 1), ("patches_per_sheet", patches_per_sheet, 1), ("seed", seed, 0)):
            if value < least:
                raise SettingsError(f"{name} {value} is below {least}")
        assert scale == pictures.scale, f"the pictures were opened for x{pictures.scale}, not x{scale}"
        assert 0 <= rank < world, (rank, world)
        assert start_step >= 0, start_step
        share = batch // world
        self._chunks = Chunks(
            pictures, patch=patch, batch=batch, rows=range(rank * share, (rank + 1) * share), degrade=degrade,
            patches_per_sheet=patches_per_sheet, seed=seed, augment=augment, jitter=jitter,
        )  # fmt: skip
        if degrade is None:
            pictures.make_lows(kernel, progress)
        self._depth, self._start_step, self._workers = patches_per_sheet, start_step, workers
        self._device, self._start_method = torch.device(device), start_method
        # Weak: leaving a for loop drops its generator, and that ends the workers.
        self._running: weakref.WeakSet[Generator[Batch, None, None]] = weakref.WeakSet()
        self.wait_seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        batches = self._batches()
        self._running.add(batches)
        return batches

    def __enter__(self) -> PatchLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every iteration under way and its workers."""
        for batches in list(self._running):
            batches.close()

    def _batches(self) -> Generator[Batch, None, None]:
        first, skipped = divmod(self._start_step, self._depth)
        chunks = self._chunks_here(first) if not self._workers else self._chunks_of_workers(first)
        with contextlib.closing(chunks):
            while True:
                started = time.perf_counter()
                chunk = next(chunks)
                for at in range(skipped, self._depth):
                    batch = Batch(self._to_float(chunk.low[at]), self._to_float(chunk.high[at]))
                    self.wait_seconds += time.perf_counter() - started
                    yield batch
                    started = time.perf_counter()
                skipped = 0

    def _to_float(self, samples: Samples) -> Tensor:
        most = np.float32(np.iinfo(samples.dtype).max)
        if self._device.type != "cpu" and samples.itemsize == 1:
            # Only the integers cross the bus.
            return torch.from_numpy(samples).to(self._device).to(torch.float32).div_(float(most))
        # By numpy, on one thread: torch would share it out, and where all cores are busy waiting for the slowest
        # thread takes far longer than the work (0.3 ms became 20 ms beside another training).
        return torch.from_numpy(np.divide(samples, most, dtype=np.float32)).to(self._device)

    def _chunks_here(self, first: int) -> Generator[Chunk, None, None]:
        for number in range(first, _LAST_CHUNK):
            yield self._chunks[number]

    def _chunks_of_workers(self, first: int) -> Generator[Chunk, None, None]:
        num_bytes = self._chunks.num_bytes * self._workers * (NUM_CHUNKS_AHEAD + 1)
        loader: DataLoader[Any] = DataLoader(
            _Work(self._chunks, by_shared_memory=_has_shared_memory(num_bytes)),
            batch_size=None,
            sampler=range(first, _LAST_CHUNK),
            num_workers=self._workers,
            prefetch_factor=NUM_CHUNKS_AHEAD,
            collate_fn=_leave_alone,
            worker_init_fn=_prepare_worker,
            # Its own generator: the usual one would take a number from torch's, and change what the loop draws.
            generator=torch.Generator(),
            multiprocessing_context=self._start_method or ("fork" if sys.platform == "linux" else None),
        )
        with warnings.catch_warnings():
            # Since Python 3.12 every fork beside threads warns. The workers use none of the parent's: numpy, Pillow
            # and FFmpeg with contexts of their own, torch on one thread.
            warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
            results: Any = iter(loader)
        try:
            while True:
                try:
                    result = next(results)
                except RuntimeError as exc:
                    raise TrainingError(
                        f"a process that prepares data has died ({str(exc).splitlines()[0]})",
                        hint="often memory has run out: use fewer workers (run.workers) or smaller patches",
                    ) from exc
                if isinstance(result, VsrError):
                    raise result
                low, high = (part.numpy() if isinstance(part, Tensor) else part for part in result)
                yield Chunk(low, high)
        finally:
            # What torch says of a worker that dies while it is being ended is no news.
            with contextlib.suppress(RuntimeError):
                results._shutdown_workers()


class _Work(Dataset[Any]):
    """What a worker does for the number of a chunk. Errors travel as values, so that they arrive as they are."""

    def __init__(self, chunks: Chunks, *, by_shared_memory: bool) -> None:
        self._chunks, self._by_shared_memory = chunks, by_shared_memory

    def __getitem__(self, number: int) -> Any:
        try:
            chunk = self._chunks[number]
        except VsrError as exc:
            return exc.with_traceback(None)
        if self._by_shared_memory:
            return torch.from_numpy(chunk.low), torch.from_numpy(chunk.high)
        return chunk.low, chunk.high


def _leave_alone(result: Any) -> Any:
    return result


def _prepare_worker(number: int) -> None:
    """Ctrl-C and SIGTERM are for the loop, which ends the workers when it has saved its state.

    Both reach workers as well where a whole group of processes is meant (a terminal, `timeout`, a batch system). When
    the loop's process is gone at once (kill -9), they see that by themselves within seconds.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # The thread that hands over shared memory (multiprocessing.resource_sharer) reports here, and nothing else does:
    # that the loop has gone while it was being served is no news.
    report = sys.excepthook
    sys.excepthook = lambda kind, error, trace: (
        None if issubclass(kind, (ConnectionError, EOFError)) else report(kind, error, trace)
    )


def _has_shared_memory(num_bytes: int) -> bool:
    """False where /dev/shm is too small, as in many containers: writing more than fits ends a process."""
    try:
        return shutil.disk_usage("/dev/shm").free > 2 * num_bytes
    except OSError:
        return sys.platform != "linux"
