"""The machine that figures belong to."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from vsr import __version__
from vsr.bench.pipes import find_ffmpeg
from vsr.video.abilities import describe_ffmpeg

__all__ = ["describe_machine", "is_busy"]

# Busy processes that a bench can bear beside it.
MAX_LOAD = 0.5


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Plain values: processor, cores (those that this process may use), threads of torch, versions, device.

    `load` is the system's average number of busy processes over the last minute (None where the system has none): what
    was at work beforehand, if this is asked first.
    """
    is_cuda = device.type == "cuda"
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if is_cuda else None,
        "system": platform.platform(),
        "vsr": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pyav": describe_ffmpeg()["pyav"],
        "ffmpeg": _ffmpeg(),
    }


def is_busy(machine: dict[str, Any]) -> bool:
    """Whether so much else was at work when `describe_machine` looked that figures mean little."""
    return machine["load"] is not None and machine["load"] > MAX_LOAD


def _ffmpeg() -> str | None:
    """The version of the ffmpeg program that the plain loop uses, None where there is none."""
    program = find_ffmpeg()
    if program is None:
        return None
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stdout
    return said.partition("version ")[2].partition(" ")[0]


def _processor() -> str:
    """Its name, as the system has it."""
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        facts = ""
    names = (line.partition(":")[2].strip() for line in facts.splitlines() if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
