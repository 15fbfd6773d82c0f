"""CUDA graphs: the hundreds of kernels of a network launched as one, recorded once for every shape of input.

Which shape is recorded and which is forgotten is plain logic (`ShapeGraphs`), tested without a GPU; the recording
itself (`CudaGraph`) is written from torch's documentation and not yet run on a GPU.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

from vsr.errors import Interrupted
from vsr.model.choice import Run

__all__ = ["CudaGraph", "ShapeGraphs"]

# Shapes with a graph of their own; a film has one, a film in tiles up to nine (corners, edges, middle).
CAPACITY = 12

# Runs before a recording, in which libraries choose kernels and take workspaces: what a recording may not do.
NUM_WARM_UP = 2

# torch allows one recording at a time in a process.
_recording = threading.Lock()


class ShapeGraphs:
    """A function of frames, run through a recording of it once a shape comes the second time.

    A shape that comes once only is not worth a recording. Of more than `capacity` shapes the one unused for longest
    loses its recording and gets no other, so that a film of many sizes does not record all the time. Where recording
    fails the function itself is run, for that shape from then on.

    Args:
        run: B,C,H,W -> a fresh tensor.
        record: makes a recording of `run` for tensors of the shape and strides of the one given.
        tell: hears of the first failure.
    """

    def __init__(
        self, run: Run, record: Callable[[Run, Tensor], Run], tell: Callable[[str], None], capacity: int = CAPACITY
    ) -> None:
        self._run, self._record, self._tell, self._capacity = run, record, tell, capacity
        self._graphs: OrderedDict[tuple[int, ...], Run] = OrderedDict()
        self._seen: set[tuple[int, ...]] = set()
        self._refused: set[tuple[int, ...]] = set()
        self._has_told = False

    def __call__(self, frames_BCHW: Tensor) -> Tensor:
        shape = tuple(frames_BCHW.shape)
        graph = self._graphs.get(shape)
        if graph is None:
            graph = self._record_when_due(shape, frames_BCHW)
        if graph is None:
            return self._run(frames_BCHW)
        self._graphs.move_to_end(shape)
        return graph(frames_BCHW)

    def _record_when_due(self, shape: tuple[int, ...], frames_BCHW: Tensor) -> Run | None:
        is_first = shape not in self._seen
        self._seen.add(shape)
        if is_first or shape in self._refused:
            return None
        try:
            graph = self._record(self._run, frames_BCHW)
        except Interrupted:
            raise
        except (MemoryError, RuntimeError) as exc:
            self._refused.add(shape)
            if not self._has_told:
                self._has_told = True
                reason = str(exc).strip().split("\n")[0]
                self._tell(f"no CUDA graph for frames of {shape[-1]}x{shape[-2]} ({reason}): kernels one by one")
            return None
        self._graphs[shape] = graph
        if len(self._graphs) > self._capacity:
            forgotten, _ = self._graphs.popitem(last=False)
            self._refused.add(forgotten)
        return graph


class CudaGraph:
    """A recording of a function of one CUDA tensor. Not yet run on a GPU.

    The recording reads and writes memory of its own. Input is copied in, and the result out: 0.2 GB of traffic for a
    frame of 4K, nothing beside the network, and no result is ever overwritten by the next.

    May be called on any stream: the event makes a call wait, on the device, until the one before has been copied out.

    Raises:
        RuntimeError: the function does what cannot be recorded, or memory ran out.
    """

    def __init__(self, run: Run, frames_BCHW: Tensor) -> None:
        self._device = device = frames_BCHW.device
        with _recording, torch.cuda.device(device):
            current = torch.cuda.current_stream(device)
            side: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._source = torch.empty_like(frames_BCHW)
            self._source.copy_(frames_BCHW)
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(NUM_WARM_UP):
                    run(self._source)
            self._graph = torch.cuda.CUDAGraph()
            # "thread_local": the decoder's thread may pin memory, other threads may allocate, while this one records.
            # The stream is given, since torch's own stands on the device that recorded first in this process.
            with torch.cuda.graph(self._graph, stream=side, capture_error_mode="thread_local"):
                self._result = run(self._source)
            current.wait_stream(side)
            self._is_idle = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._is_idle.record(current)

    def __call__(self, frames_BCHW: Tensor) -> Tensor:
        current = torch.cuda.current_stream(self._device)
        current.wait_event(self._is_idle)
        self._source.copy_(frames_BCHW)
        self._graph.replay()
        result = self._result.clone()
        self._is_idle.record(current)
        return result
