"""The TensorRT module with a stand-in for the package: what is called, when an engine is built, what comes out.

The real package, on a GPU, has not been run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tensorrt_double import TensorrtDouble
from vsr.errors import DeviceError, ModelError, ProcessingError
from vsr.model.catalog import cache_folder
from vsr.model.loading import load_model
from vsr.model.network import Network
from vsr.model.tensorrt_engine import (
    NUM_AUX_STREAMS,
    OPTIMISATION_LEVEL,
    WORKSPACE_BYTES,
    TensorrtModule,
    make_tensorrt_module,
)

BUILT = ["create_network", "parse", "build", "deserialise"]


class Stream:
    """A CUDA stream, of which only the order is looked at."""

    def __init__(self, number: int) -> None:
        self.cuda_stream, self.waited_for, self.num_synchronised = number, [], 0

    def synchronize(self) -> None:
        self.num_synchronised += 1

    def wait_stream(self, other: Stream) -> None:
        self.waited_for.append(other)


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TensorrtDouble:
    """The double in the place of tensorrt, the CPU in the place of a GPU, and a cache of its own."""
    double = TensorrtDouble()
    monkeypatch.setitem(sys.modules, "tensorrt", double)
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    stream = Stream(7)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    return double


@pytest.fixture
def network(tiny_weights: Path) -> Network:
    return load_model(tiny_weights)


@pytest.fixture
def make(trt: TensorrtDouble, network: Network) -> Callable[[], TensorrtModule]:
    return lambda: TensorrtModule(network, torch.device("cpu"), "fp32", print)


def engines() -> list[Path]:
    return sorted((cache_folder() / "tensorrt").iterdir())


def test_the_output_is_that_of_the_network(make: Callable[[], TensorrtModule], network: Network) -> None:
    module = make()
    frames = torch.rand(2, 3, 9, 14)
    for given in (
        frames,
        frames.contiguous(memory_format=torch.channels_last),
        frames.double(),
        frames[:1, :, 2:, 3:],
    ):
        output = module(given)
        assert (output.dtype, output.is_contiguous()) == (torch.float32, True)
        torch.testing.assert_close(output, network.module(given.float()), rtol=0, atol=1e-6)


def test_an_engine_is_built_as_it_should_be(make: Callable[[], TensorrtModule], trt: TensorrtDouble) -> None:
    make()(torch.rand(2, 3, 9, 14))
    assert trt.names() == [*BUILT, "execute"]
    calls = {name: arguments for name, *arguments in trt.calls}
    assert calls["create_network"] == [1 << trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED]
    assert calls["execute"] == [7]
    [config] = calls["build"]
    assert config.limits == {"workspace": WORKSPACE_BYTES}
    assert (config.builder_optimization_level, config.max_aux_streams) == (OPTIMISATION_LEVEL, NUM_AUX_STREAMS)
    [profile] = config.profiles
    assert (profile.name, profile.shapes) == ("input", ((1, 3, 1, 1), (2, 3, 9, 14), (2, 3, 9, 14)))


def test_smaller_pictures_use_the_same_engine_and_larger_ones_another(
    make: Callable[[], TensorrtModule], trt: TensorrtDouble
) -> None:
    module = make()
    for size in ((2, 9, 14), (1, 9, 14), (2, 1, 1)):
        module(torch.rand(size[0], 3, *size[1:]))
    assert trt.names() == [*BUILT, "execute", "execute", "execute"]
    trt.calls.clear()
    stream = torch.cuda.current_stream(module.device)
    assert stream.num_synchronised == 0
    module(torch.rand(1, 3, 20, 5))
    assert stream.num_synchronised == 1  # before the engine that it is using goes
    assert trt.names() == [*BUILT, "execute"]
    [config] = next(arguments for name, *arguments in trt.calls if name == "build")
    assert config.profiles[0].shapes == ((1, 3, 1, 1), (1, 3, 20, 5), (2, 3, 20, 14))
    trt.calls.clear()
    module(torch.rand(2, 3, 9, 14))
    assert trt.names() == ["execute"]


def test_what_is_prepared_is_not_built_again(make: Callable[[], TensorrtModule], trt: TensorrtDouble) -> None:
    module = make()
    module.prepare(4, 32, 32)
    assert trt.names() == BUILT
    module(torch.rand(1, 3, 9, 14))
    assert trt.names() == [*BUILT, "execute"]


def test_the_next_process_finds_the_engine(make: Callable[[], TensorrtModule], trt: TensorrtDouble) -> None:
    frames = torch.rand(1, 3, 6, 5)
    first = make()(frames)
    [path] = engines()
    trt.calls.clear()
    assert torch.equal(make()(frames), first)
    assert trt.names() == ["deserialise", "execute"]
    assert engines() == [path]


@pytest.mark.parametrize("change", ["version", "gpu", "precision", "weights"])
def test_another_version_gpu_precision_or_network_is_another_engine(
    make: Callable[[], TensorrtModule],
    trt: TensorrtDouble,
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    frames = torch.rand(1, 3, 6, 5)
    make()(frames)
    trt.calls.clear()
    if change == "version":
        trt.__version__ = "11.0.0"
    elif change == "gpu":
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "another GPU")
    elif change == "weights":
        network.module.state_dict()["body.0.bias"][0] += 1e-6
    TensorrtModule(network, torch.device("cpu"), "fp16" if change == "precision" else "fp32", print)(frames)
    assert trt.names() == [*BUILT, "execute"]
    assert len(engines()) == 2


def test_a_damaged_engine_is_built_anew(make: Callable[[], TensorrtModule], trt: TensorrtDouble) -> None:
    frames = torch.rand(1, 3, 6, 5)
    first = make()(frames)
    [path] = engines()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    trt.calls.clear()
    assert torch.equal(make()(frames), first)
    assert trt.names() == [*BUILT, "execute"]  # TensorRT has not seen the damaged one
    assert path.read_bytes() == whole


def test_an_engine_that_tensorrt_refuses_is_built_anew(
    make: Callable[[], TensorrtModule], trt: TensorrtDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsr.model.tensorrt_build.read_plan", lambda path: b"of another driver")
    make()(torch.rand(1, 3, 6, 5))
    assert trt.names() == ["deserialise", *BUILT, "execute"]


def test_a_cache_that_cannot_be_written_is_told(
    make: Callable[[], TensorrtModule], trt: TensorrtDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    cache_folder().mkdir(parents=True)
    (cache_folder() / "tensorrt").write_text("in the way")
    make()(torch.rand(1, 3, 6, 5))
    assert capsys.readouterr().out.count("cannot be kept") == 1


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("parse", ModelError, "cannot read the graph: error 0; error 1"),
        ("build", ModelError, "cannot build the engine: the last word"),
        ("memory", MemoryError, "cannot build the engine: the last word"),
        ("open", ModelError, "that it has built: this is no plan of mine"),
        ("context", MemoryError, r"pictures of \(1, 6, 5\): OutOfMemory"),
        ("run", ProcessingError, r"does not run pictures of \(1, 3, 6, 5\)"),
    ],
)
def test_faults_are_told(
    make: Callable[[], TensorrtModule], trt: TensorrtDouble, fault: str, error: type[Exception], words: str
) -> None:
    module, trt.fault = make(), fault
    with pytest.raises(error, match=words):
        module(torch.rand(1, 3, 6, 5))


def test_after_a_lack_of_memory_smaller_pictures_begin_anew(
    make: Callable[[], TensorrtModule], trt: TensorrtDouble
) -> None:
    module = make()
    module(torch.rand(1, 3, 8, 8))
    trt.fault = "context"
    with pytest.raises(MemoryError):
        module(torch.rand(1, 3, 16, 16))
    trt.fault = None
    trt.calls.clear()
    module(torch.rand(1, 3, 6, 6))
    assert trt.names() == [*BUILT, "execute"]  # the engine for 8x8 had made room for the one for 16x16
    [config] = next(arguments for name, *arguments in trt.calls if name == "build")
    assert config.profiles[0].shapes[-1] == (1, 3, 6, 6)


def test_the_work_of_two_streams_is_put_in_order(
    make: Callable[[], TensorrtModule], trt: TensorrtDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, frames = make(), torch.rand(1, 3, 6, 5)
    one, other = Stream(1), Stream(2)
    for stream in (one, one, other):
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device, stream=stream: stream)
        module(frames)
    assert (one.waited_for, other.waited_for) == ([], [one])
    assert [arguments for name, *arguments in trt.calls if name == "execute"] == [[1], [1], [2]]


def test_frames_on_another_device_are_refused(make: Callable[[], TensorrtModule]) -> None:
    with pytest.raises(ValueError, match="meta"):
        make()(torch.empty(1, 3, 6, 5, device="meta"))


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_other_precisions_are_refused(trt: TensorrtDouble, network: Network, precision: str) -> None:
    with pytest.raises(DeviceError, match=f"no {precision}"):
        TensorrtModule(network, torch.device("cpu"), precision, print)


def test_an_old_tensorrt_is_refused(trt: TensorrtDouble, network: Network) -> None:
    trt.__version__ = "8.6.1"
    with pytest.raises(DeviceError, match=r"8\.6\.1 is too old"):
        TensorrtModule(network, torch.device("cpu"), "fp16", print)


def test_without_tensorrt_the_way_out_is_named(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(DeviceError, match="needs the package tensorrt") as caught:
        TensorrtModule(network, torch.device("cpu"), "fp16", print)
    assert "pip install 'vsr[tensorrt]'" in str(caught.value.hint)


def test_without_cuda_the_way_out_is_named(network: Network) -> None:
    with pytest.raises(DeviceError, match="needs an NVIDIA GPU"):
        make_tensorrt_module(network, torch.device("cpu"), "fp16", print)
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="cuda:0"):
            make_tensorrt_module(network, torch.device("cuda", 0), "fp16", print)


@pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("tensorrt") is None, reason="no GPU with TensorRT"
)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 2e-3), ("fp16", 1e-2)])  # fp32 multiplies in TF32
def test_the_real_one(  # not yet run
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, precision: str, tolerance: float
) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path))
    device = torch.device("cuda", 0)
    module = make_tensorrt_module(network, device, precision, print)
    for size in ((2, 3, 40, 56), (1, 3, 1, 7)):
        frames = torch.rand(size)
        expected = network.module(frames)
        torch.testing.assert_close(module(frames.to(device)).cpu(), expected, rtol=0, atol=tolerance)
