"""Three streams of a GPU: copies in, work, copies out; side by side, and each in order."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from vsr.pipeline.ring import Waitable

__all__ = ["CudaStreams", "Mark", "Streams"]


class Mark(Waitable, Protocol):
    """A point in a stream."""

    def wait(self) -> None:
        """Make the current stream, not the caller, wait until the point has passed."""


class Streams(Protocol):
    """Where the parts of a batch's way through a device are queued."""

    device: torch.device

    def copying_in(self) -> AbstractContextManager[object]:
        """In the block, work is queued behind earlier copies to the device."""

    def computing(self) -> AbstractContextManager[object]:
        """In the block, work is queued behind earlier work of this kind."""

    def copying_out(self) -> AbstractContextManager[object]:
        """In the block, work is queued behind earlier copies from the device."""

    def mark(self) -> Mark:
        """The point in the current stream behind what has been queued."""

    def allocate(self, num_bytes: int) -> Tensor:
        """Flat uint8 memory of the host that copies need not be waited for."""

    def finish(self) -> None:
        """Wait for everything queued."""


class CudaStreams:
    """The streams of a GPU; memory of the host is pinned. Not yet run on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._in, self._work, self._out = (
            torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            for _ in range(3)
        )

    def copying_in(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._in)

    def computing(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._work)

    def copying_out(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._out)

    def mark(self) -> Mark:
        # "blocking" is the way of waiting: a thread that sleeps leaves its core to the encoder.
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def allocate(self, num_bytes: int) -> Tensor:
        return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True)

    def finish(self) -> None:
        for stream in (self._in, self._work, self._out):
            stream.synchronize()
