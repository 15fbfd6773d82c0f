"""The CUDA form of networks: its logic on a CPU with stand-ins, the whole where there is a GPU."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Tensor, nn

from networks import make_rrdb
from vsr.model import cuda_engine
from vsr.model.choice import Run
from vsr.model.compact import Compact
from vsr.model.cuda_engine import MIN_PIXELS, CudaModule, make_cuda_module

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
SIDE = 128


class Watch:
    """Stands in for recording and timing: knows how often each was asked."""

    def __init__(self) -> None:
        self.num_recorded = self.num_measured = 0

    def record(self, run: Run, frames_BCHW: Tensor) -> Run:
        self.num_recorded += 1
        return run

    def measure(self, run: Run, frames_BCHW: Tensor) -> float:
        self.num_measured += 1
        run(frames_BCHW)
        return 1.0


def make_module(dtype: torch.dtype = torch.float32) -> tuple[CudaModule, nn.Module, Watch, list[str]]:
    torch.manual_seed(0)
    module, watch, told = Compact(8, 1, 2).eval().requires_grad_(False).to(dtype), Watch(), list[str]()
    return CudaModule(module, dtype, told.append, lambda: watch.record, watch.measure), module, watch, told


def test_the_form_is_chosen_at_the_first_real_call() -> None:
    engine, module, watch, told = make_module()
    small, frames = torch.rand(1, 3, SIDE, SIDE), torch.rand(2, 3, SIDE, SIDE)
    assert 2 * SIDE * SIDE >= MIN_PIXELS > SIDE * SIDE
    with torch.inference_mode():
        assert torch.equal(engine(small), module(small))
        assert (watch.num_measured, watch.num_recorded) == (0, 0)
        for _ in range(3):
            assert torch.equal(engine(frames), module(frames))
    assert (watch.num_measured, watch.num_recorded, told) == (1, 1, [])


def test_a_missing_triton_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    engine, module, _, told = make_module(torch.bfloat16)
    frames = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.equal(engine(frames), module(frames))
    assert told == ["Triton is not installed (pip install triton): only torch's own kernels are used"]


def test_the_forms_of_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())

    def name_forms(module: nn.Module, dtype: torch.dtype) -> list[str]:
        return [form.name.split(" in ")[0] for form in cuda_engine._list_forms(module, dtype, pytest.fail)]

    kernels = ["the Triton convolution"] * len(cuda_engine.TILES)
    assert name_forms(make_rrdb(num_features=32, growth=16), torch.float16) == [*kernels, "torch.compile"]
    assert name_forms(make_rrdb(num_features=32, growth=8), torch.float16) == ["torch.compile"]
    assert name_forms(Compact(8, 1, 2), torch.bfloat16) == ["torch.compile"]
    assert name_forms(make_rrdb(num_features=32, growth=16), torch.float32) == []


def test_hooks_of_others_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the engine hooks into its layers, with methods of objects that cannot be copied."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    engine, *_ = make_module(torch.bfloat16)
    for part in engine.modules():
        part.register_forward_pre_hook(lambda *_: None)
    compiled = engine._forms[-1].make.args[0]  # type: ignore[attr-defined]
    assert not any(part._forward_pre_hooks for part in compiled.modules())


@pytest.mark.parametrize(("dtype", "precision"), [(torch.float32, "ieee"), (torch.float16, "tf32")])
@pytest.mark.parametrize("setting", ["none", "ieee", "tf32"])
def test_cudnn_is_set_while_kernels_are_launched_and_put_back(
    dtype: torch.dtype, precision: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> tuple[bool, str]:
        return torch.backends.cudnn.benchmark, torch.backends.cudnn.conv.fp32_precision

    monkeypatch.setattr(torch.backends, "fp32_precision", setting)  # what a user of the API may have chosen
    before = read()
    with cuda_engine._cudnn_settings(dtype):
        with cuda_engine._cudnn_settings(dtype):
            assert read() == (True, precision)
        assert read() == (True, precision)
    assert read() == before


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", ["rrdb", "compact"])
def test_gives_what_the_module_gives_in_float32(dtype: torch.dtype, name: str) -> None:
    module = make_rrdb(num_features=32, growth=16) if name == "rrdb" else Compact(32, 4, 4).eval().requires_grad_(False)
    frames = torch.rand(3, 3, 120, 133)
    told: list[str] = []
    with torch.inference_mode():
        exact = module.double()(frames.double())
        placed = module.float().to("cuda", dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        engine = make_cuda_module(placed, dtype, told.append)
        source = frames.cuda().contiguous(memory_format=torch.channels_last)
        for _ in range(3):
            torch.testing.assert_close(
                engine(source).cpu().double(), exact, rtol=0, atol=1e-5 if dtype == torch.float32 else 5e-3
            )
    assert told == []
