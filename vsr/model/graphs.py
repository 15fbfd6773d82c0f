"""CUDA graphs: the hundreds of kernels of a network launched as one, recorded once for every shape of input.

Which shape is recorded and which is forgotten is plain logic (`ShapeGraphs`), tested without a GPU; the recording
itself (`GraphRecorder`) is written from torch's documentation and not yet run on a GPU.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vsr.errors import Interrupted
from vsr.model.choice import Run

__all__ = ["GraphRecorder", "Record", "ShapeGraphs"]

Record = Callable[[Run, Tensor], Run]

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

    def __init__(self, run: Run, record: Record, tell: Callable[[str], None], capacity: int = CAPACITY) -> None:
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


class GraphRecorder:
    """Records functions of one CUDA tensor as CUDA graphs, which share one pool of memory. Not yet run on a GPU.

    A recording reads and writes memory of its own. Input is copied in, and the result out: 0.2 GB of traffic for a
    frame of 4K, nothing beside the network, and no result is ever overwritten by the next.

    One pool, since a film in tiles has nine recordings, each with the memory of a network's activations. They write
    over each other's, so that they must not run at the same time: one event makes every call wait, on the device, until
    the one before has been copied out, on whatever stream it was.
    """

    def __init__(self) -> None:
        self._pool: Any = None
        self._stream: torch.cuda.Stream | None = None
        self._is_idle: torch.cuda.Event | None = None

    def __call__(self, run: Run, frames_BCHW: Tensor) -> Run:
        """A recording of `run` for tensors of this shape, these strides, and this device.

        Raises:
            RuntimeError: the function does what cannot be recorded, or memory ran out.
        """
        device = frames_BCHW.device
        with _recording, torch.cuda.device(device):
            current = torch.cuda.current_stream(device)
            if self._stream is None or self._is_idle is None:
                # torch's own stream for this stands on the device that recorded first in the process.
                self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
                self._is_idle = torch.cuda.Event()  # type: ignore[no-untyped-call]
            side, is_idle = self._stream, self._is_idle
            source = torch.empty_like(frames_BCHW)
            source.copy_(frames_BCHW)
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(NUM_WARM_UP):
                    run(source)
            graph = torch.cuda.CUDAGraph()
            # "thread_local": the decoder's thread may pin memory, other threads may allocate, while this one records.
            with torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"):
                result = run(source)
            self._pool = graph.pool()
            current.wait_stream(side)
            is_idle.record(current)

        def replay(frames_BCHW: Tensor) -> Tensor:
            current = torch.cuda.current_stream(device)
            current.wait_event(is_idle)
            source.copy_(frames_BCHW)
            graph.replay()
            copied = result.clone()
            is_idle.record(current)
            return copied

        return replay
