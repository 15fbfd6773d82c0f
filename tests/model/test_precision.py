"""Devices and precisions, those that are not here among them."""

from __future__ import annotations

import platform

import pytest
import torch

from vsr.errors import DeviceError
from vsr.model import precision
from vsr.model.precision import choose_precision, has_native_bf16, measure_free_memory, resolve_device

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda", 0), torch.device("mps")


def test_auto_takes_the_best_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == MPS


@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_there_is_always_a_device(name: str) -> None:
    assert resolve_device(name).type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "meta", "cpu:1", "vulkan"])
def test_unknown_devices_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(DeviceError) as caught:
        resolve_device(name)
    assert caught.value.hint == "one of: auto, cpu, cuda, cuda:N, mps"


def test_a_torch_without_cuda_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(DeviceError, match="built without CUDA"):
        resolve_device("cuda")


def test_a_missing_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="no usable NVIDIA GPU"):
        resolve_device("cuda:0")


def test_gpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert resolve_device("cuda") == torch.device("cuda", 1)
    assert resolve_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(DeviceError) as caught:
        resolve_device("cuda:2")
    assert caught.value.hint == "one of: cuda:0, cuda:1"


def test_mps_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="mps"):
        resolve_device("mps")


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_on_a_cpu(monkeypatch: pytest.MonkeyPatch, native: bool, expected: str) -> None:
    monkeypatch.setattr(precision, "has_native_bf16", lambda: native)
    assert choose_precision("auto", CPU) == expected
    assert choose_precision("auto", CPU, half_safe=False) == "fp32"


@pytest.mark.parametrize("device", [CUDA, MPS])
def test_auto_on_a_gpu(device: torch.device) -> None:
    assert choose_precision("auto", device) == "fp16"
    assert choose_precision("fp16", device, half_safe=False) == "fp32"


def test_fp16_on_a_cpu_is_a_trap() -> None:
    with pytest.raises(DeviceError, match="slower"):
        choose_precision("fp16", CPU)


def test_bf16_on_an_old_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an old GPU")
    with pytest.raises(DeviceError, match="an old GPU"):
        choose_precision("bf16", CUDA)


@pytest.mark.parametrize("name", ["half", "", "FP32"])
def test_unknown_precisions_are_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="unknown precision"):
        choose_precision(name, CPU)


@pytest.mark.parametrize("word", ["fp32", "bf16"])
def test_what_was_asked_for_is_taken(word: str) -> None:
    assert choose_precision(word, CPU) == word


def test_native_bf16_of_each_kind_of_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"
    monkeypatch.setattr(precision, "_read", lambda path: cpuinfo)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert has_native_bf16()
    monkeypatch.setattr(precision, "_read", lambda path: cpuinfo.replace("bf16", ""))
    assert not has_native_bf16()
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not has_native_bf16()
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for flag, expected in (("avx512_bf16", True), ("amx_bf16", True), ("avx2", False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flag=flag: {flag: True})
        assert has_native_bf16() is expected


def test_free_memory_is_the_smaller_of_machine_and_control_group(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/proc/meminfo": "MemTotal: 99 kB\nMemAvailable:   5000 kB\n"}
    monkeypatch.setattr(precision, "_read", lambda path: files.get(path, ""))
    assert measure_free_memory(CPU) == 5000 * 1024
    files |= {"/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.current": "10\n"}
    assert measure_free_memory(CPU) == 5000 * 1024
    files |= {"/sys/fs/cgroup/memory.max": "3000000\n", "/sys/fs/cgroup/memory.current": "1000000\n"}
    assert measure_free_memory(CPU) == 2000000
    files.clear()
    assert measure_free_memory(CPU) == 4 << 30


def test_this_machine_has_memory() -> None:
    assert measure_free_memory(CPU) > 1 << 20
