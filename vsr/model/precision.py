"""Which device does the work, in which precision, and how much memory it has to offer.

fp16 on a CPU is a trap: no kernel there computes in it, and a frame takes minutes. bf16 is three times
faster than fp32, but only on processors that multiply it natively.
"""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Literal, get_args

import torch

from vsr.errors import DeviceError

Precision = Literal["fp32", "fp16", "bf16", "int8"]

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

_DEVICES = "auto, cpu, cuda, cuda:N, mps"


def resolve_device(name: str) -> torch.device:
    """The device of a user's word: 'auto' (CUDA, else MPS, else CPU), 'cpu', 'cuda', 'cuda:N' or 'mps'.

    Raises:
        DeviceError: no such word, no such device here, or a torch that was built without it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as exc:
        raise DeviceError(f"unknown device {name!r}", hint=f"one of: {_DEVICES}") from exc
    if device.type == "cuda":
        return _resolve_cuda(device, name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device 'mps': this is no Mac with Metal", hint="use --device auto or --device cpu")
    if device.type not in ("cpu", "mps") or ":" in name:
        raise DeviceError(f"device {name!r} is not supported", hint=f"one of: {_DEVICES}")
    return device


def _resolve_cuda(device: torch.device, name: str) -> torch.device:
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        raise DeviceError(
            f"device {name!r}: this torch ({torch.__version__}) is built without CUDA",
            hint="install a CUDA build (https://pytorch.org/get-started/locally/), or use --device cpu",
        )
    if not torch.cuda.is_available():
        raise DeviceError(
            f"device {name!r}: no usable NVIDIA GPU or driver found",
            hint="`nvidia-smi` shows whether the driver works; --device cpu needs none",
        )
    count = torch.cuda.device_count()
    index = device.index if ":" in name else torch.cuda.current_device()
    if index >= count:
        known = ", ".join(f"cuda:{i}" for i in range(count))
        raise DeviceError(f"device {name!r}: there is no such GPU here", hint=f"one of: {known}")
    return torch.device("cuda", index)


def choose_precision(name: str, device: torch.device, *, half_safe: bool = True) -> Precision:
    """The precision of a user's word on a device.

    'auto' is bf16 on CPUs that multiply it natively, fp16 on CUDA and MPS, else fp32. A network that is not
    `half_safe` stays in fp32 whatever was asked for. int8 is for CPUs.

    Raises:
        DeviceError: an unknown word, or a precision that this device does not compute in.
    """
    if name not in ("auto", *get_args(Precision)):
        raise DeviceError(f"unknown precision {name!r}", hint="one of: auto, fp32, fp16, bf16, int8")
    if name == "int8" and device.type != "cpu":
        raise DeviceError(
            "precision 'int8' is computed on a CPU", hint="use --device cpu, or --precision fp16 on a GPU"
        )
    if name == "fp16" and device.type == "cpu":
        raise DeviceError(
            "precision 'fp16' on a CPU runs hundreds of times slower than fp32",
            hint="use --precision auto, which takes bf16 where the processor has it",
        )
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise DeviceError(
            f"precision 'bf16': {torch.cuda.get_device_name(device)} does not compute in it",
            hint="use --precision fp16",
        )
    if name == "fp32" or not half_safe:
        return "fp32"
    if name == "fp16":
        return "fp16"
    if name == "bf16":
        return "bf16"
    if name == "int8":
        return "int8"
    if device.type == "cpu":
        return "bf16" if has_native_bf16() else "fp32"
    return "fp16"


def working_dtype(precision: Precision) -> torch.dtype:
    """What is computed in; with int8, what is left in floating point."""
    if precision == "int8":
        return torch.bfloat16 if has_native_bf16() else torch.float32
    return DTYPES[precision]


def has_native_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware: AVX512-BF16 or AMX on x86, FEAT_BF16 on ARM."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    if machine in ("aarch64", "arm64"):
        return _arm_has_bf16()
    return False


def _arm_has_bf16() -> bool:
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "hw.optional.arm.FEAT_BF16"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "1"
    features = (line for line in _read("/proc/cpuinfo").splitlines() if line.startswith("Features"))
    return "bf16" in next(features, "").split()


def measure_free_memory(device: torch.device) -> int:
    """Bytes that a run may still take on a device: free memory, and on a CPU what its control group leaves of it."""
    if device.type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        # What torch holds in reserve but does not use is as good as free.
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    known = [free for free in (_mem_available(), _cgroup_free()) if free is not None]
    return min(known, default=4 << 30)  # nothing known (Windows, macOS): a modest machine


def _mem_available() -> int | None:
    """MemAvailable of /proc/meminfo, in bytes."""
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_free() -> int | None:
    """What the process's control group (version 2, else 1) leaves of its memory limit; None without a limit."""
    for limit, usage in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        most, used = _read(limit).strip(), _read(usage).strip()
        if most.isdecimal() and used.isdecimal():
            return max(0, int(most) - int(used))
    return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
