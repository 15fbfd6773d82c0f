"""Memory that the processes of a loader share: written once, read by all, gone with the last of them."""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from multiprocessing import reduction
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SharedArena"]

_ALIGNMENT = 64


class SharedArena:
    """Arrays in one piece of shared memory of at most `limit` bytes; what is not used costs nothing.

    Forked processes see the same memory; spawned ones are handed its file. Not /dev/shm: containers often have just
    64 MiB of it, and end a process that writes more. Not safe to `store` from several threads at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(mmap.PAGESIZE, limit)
        self._used = 0
        self._places: list[tuple[int, tuple[int, ...], str]] = []
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("vsr-pictures", os.MFD_CLOEXEC)
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, self._limit)
        self._map(descriptor)

    def _map(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, self._limit)
        weakref.finalize(self, os.close, descriptor)

    @property
    def used(self) -> int:
        """Bytes taken."""
        return self._used

    def store(self, array: npt.NDArray[Any]) -> int | None:
        """Copy `array` in and return its number; None where it does not fit any more."""
        start = -(-self._used // _ALIGNMENT) * _ALIGNMENT
        if start + array.nbytes > self._limit:
            return None
        self._places.append((start, array.shape, array.dtype.str))
        self._used = start + array.nbytes
        self._view(len(self._places) - 1)[...] = array
        return len(self._places) - 1

    def view(self, number: int) -> npt.NDArray[Any]:
        """The array stored under `number`, read-only, without a copy."""
        array = self._view(number)
        array.flags.writeable = False
        return array

    def _view(self, number: int) -> npt.NDArray[Any]:
        start, shape, dtype = self._places[number]
        return np.ndarray(shape, dtype, self._memory, start)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name not in ("_memory", "_descriptor")}
        return {**state, "handed": reduction.DupFd(self._descriptor)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        handed = state.pop("handed")
        self.__dict__.update(state)
        self._map(handed.detach())
