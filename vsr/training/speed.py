"""How fast a training goes, and how fast the machine could go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["Stopwatch", "flushed_denormals", "measure_matrix_rate"]

_SIDE_CPU, _SIDE_GPU = 1024, 8192
_NUM_RUNS = 5
_DENORMAL = 1e-40  # in float32


class Stopwatch:
    """Runs from the moment it is made, except while it is paused.

    Attributes:
        seconds: as of the last `stop` or pause.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since: float | None = time.perf_counter()

    def read(self) -> float:
        """Seconds so far."""
        return self.seconds + (time.perf_counter() - self._since if self._since is not None else 0.0)

    def stop(self) -> float:
        """Stop for good; seconds in all."""
        self.seconds, self._since = self.read(), None
        return self.seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done inside does not count."""
        self.stop()
        try:
            yield
        finally:
            self._since = time.perf_counter()


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Inside, the processor takes numbers below 1e-38 for zero.

    Vanishing moments of Adam would cost a CPU a hundred times as much as zeros do. Afterwards all is as before: other
    code of this process may rely on such numbers.
    """
    before = not torch.tensor([_DENORMAL]).mul(1.0).item()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def measure_matrix_rate(device: torch.device, precision: str) -> float:
    """Floating point operations per second of a large matrix product, the best of five: what there is to be had.

    Args:
        precision: "fp32", "bf16" or "fp16". fp32 is measured as torch is set to do it (TF32 or not).
    """
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    side = _SIDE_GPU if device.type == "cuda" else _SIDE_CPU
    # Numbers of its own: what the training draws must not depend on whether speed is measured.
    generator = torch.Generator(device).manual_seed(0)
    matrix = torch.rand(side, side, device=device, generator=generator).to(dtype)
    seconds = []
    for _ in range(_NUM_RUNS + 1):
        _wait(device)
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds[1:])


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
