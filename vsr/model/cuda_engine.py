"""The inference form of a network on CUDA: the fastest of a few forms, its kernels launched as one graph.

Forms are torch's own operators, the same compiled by Inductor, and for RRDB networks the growth form with a Triton
convolution; which is fastest depends on chip, cuDNN and size, so they are measured on the film's own first frames.

FP8 is not offered: cuDNN's FP8 convolutions for GPUs before Blackwell are 1x1 only, and TensorRT measured no gain.

Written from documentation; not yet run on a GPU. What is plain logic is tested on a CPU.
"""

from __future__ import annotations

import copy
import importlib.util
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vsr.model.choice import Form, Run, choose_fastest
from vsr.model.graphs import GraphRecorder, Record, ShapeGraphs
from vsr.model.growth import grow
from vsr.model.rrdb import RRDB, RRDBNet

__all__ = ["CudaModule", "make_cuda_module"]

# Smaller batches say nothing about speed, and are run as they come: such as measure a network's cost in memory (32x32),
# or in time, for `vsr probe` (128x128), which is to answer at once.
MIN_PIXELS = 1 << 15

# Rows, columns and stages of the Triton convolution's tiles; one stage means loads through the first-level cache.
TILES = ((8, 16, 3), (16, 16, 3), (8, 16, 1))

NUM_TIMED_RUNS = 3

# cuDNN's settings belong to the process: they are set while kernels are launched, by one thread at a time.
_setting = threading.RLock()


class CudaModule(nn.Module):
    """A network's module on a GPU, the quickest way. See `make_cuda_module`.

    Attributes:
        eager: the module itself, torch's operators one by one.
    """

    def __init__(
        self,
        module: nn.Module,
        dtype: torch.dtype,
        tell: Callable[[str], None],
        make_recorder: Callable[[], Record],
        measure: Callable[[Run, Tensor], float],
    ) -> None:
        super().__init__()
        self.eager = module
        self._dtype, self._tell, self._make_recorder, self._measure = dtype, tell, make_recorder, measure
        # Made of the module as it is now: whoever hooks into its layers later must not be copied with it.
        self._forms = tuple(_list_forms(module, dtype, tell))
        self._fastest: Run | None = None
        self._calling = threading.Lock()  # graphs have one set of buffers

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """As the module's own forward, on CUDA."""
        # Triton launches on the thread's own device, whatever the tensors say.
        with self._calling, torch.cuda.device_of(frames_BCHW):  # type: ignore[no-untyped-call]
            if frames_BCHW[:, 0].numel() < MIN_PIXELS:
                return self._run_alone(self.eager, frames_BCHW)
            if self._fastest is None:
                self._fastest = self._choose(frames_BCHW)
            return self._fastest(frames_BCHW)

    def _choose(self, frames_BCHW: Tensor) -> Run:
        forms = (Form("torch", lambda: self.eager), *self._forms)
        return choose_fastest(
            [Form(form.name, partial(self._make_graphs, form)) for form in forms],
            torch.rand_like(frames_BCHW),
            measure=self._measure,
            tell=self._tell,
        )

    def _make_graphs(self, form: Form) -> Run:
        # A recorder for each: the memory of those that are dropped goes with them.
        return ShapeGraphs(partial(self._run_alone, form.make()), self._make_recorder(), self._tell)

    def _run_alone(self, run: Run, frames_BCHW: Tensor) -> Tensor:
        with _cudnn_settings(self._dtype):
            return run(frames_BCHW)


def make_cuda_module(module: nn.Module, dtype: torch.dtype, tell: Callable[[str], None]) -> CudaModule:
    """The module in its fastest form, found out at the first real call, which therefore takes up to a minute or so.

    Args:
        module: on its CUDA device, in `dtype`, channels-last; nobody else's. Called under `torch.inference_mode`.
        dtype: float16, bfloat16, or float32, which is exact: TF32 is off.
        tell: hears, in whole sentences, what could not be used.

    Returns:
        B,3,H,W float32 channels-last -> what `module` gives, in fresh memory.
    """
    return CudaModule(module, dtype, tell, GraphRecorder, _measure_seconds)


def _list_forms(module: nn.Module, dtype: torch.dtype, tell: Callable[[str], None]) -> Iterator[Form]:
    """Forms besides the module itself, those that take least time to make first."""
    if dtype == torch.float32:
        return  # wanted for exactness and for single frames: not worth the search
    if importlib.util.find_spec("triton") is None:  # Inductor needs it as well
        tell("Triton is not installed (pip install triton): only torch's own kernels are used")
        return
    if isinstance(module, RRDBNet) and module.num_features % 16 == 0 and module.growth % 16 == 0:
        for tile in TILES:
            name = f"the Triton convolution in tiles of {tile[0]}x{tile[1]}, {tile[2]} deep,"
            yield Form(name, partial(_grow_in_kernels, module, tile))
    yield Form("torch.compile", partial(_compile, copy.deepcopy(module)))


def _grow_in_kernels(module: RRDBNet, tile: tuple[int, int, int]) -> Run:
    from vsr.model.conv_kernel import convolution_of_tile  # needs Triton

    return grow(module, convolution_of_tile(*tile))


def _compile(module: nn.Module) -> Run:
    """The repeated block alone where there is one: it is compiled once for all its copies, which takes seconds instead
    of minutes."""
    blocks: list[nn.Module] = [part for part in module.modules() if isinstance(part, RRDB)]
    for block in blocks or [module]:
        block.compile(dynamic=False)
    return module


@contextmanager
def _cudnn_settings(dtype: torch.dtype) -> Iterator[None]:
    """cuDNN tries its algorithms once for every shape; float32 is float32.

    In half precision TF32 stays on for the last convolution, which is float32: it keeps 11 bits of each factor, as many
    as the features have, and its sums are float32 either way.
    """
    cudnn: Any = torch.backends.cudnn
    with _setting:
        before = cudnn.benchmark, cudnn.conv.fp32_precision
        # Not `cudnn.flags`, which is of the older kind of setting, and fails where somebody has used the newer.
        cudnn.benchmark, cudnn.conv.fp32_precision = True, "ieee" if dtype == torch.float32 else "tf32"
        try:
            yield
        finally:
            cudnn.benchmark, cudnn.conv.fp32_precision = before


def _measure_seconds(run: Run, frames_BCHW: Tensor) -> float:
    """Seconds of the device for one run, the best of a few. Not yet run on a GPU."""
    run(frames_BCHW)  # the second in all: it is recorded here
    best = float("inf")
    for _ in range(NUM_TIMED_RUNS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record(torch.cuda.current_stream(frames_BCHW.device))
        run(frames_BCHW)
        end.record(torch.cuda.current_stream(frames_BCHW.device))
        end.synchronize()
        best = min(best, begin.elapsed_time(end) / 1000)
    return best
