"""The devices of this machine that films can be shared out to, found without loading torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from vsr.settings import Settings

__all__ = ["list_devices"]

_COUNT = "import torch; print(torch.cuda.device_count())"


def list_devices(wanted: str | None) -> tuple[str, ...]:
    """One name for each worker.

    Args:
        wanted: as `--device` has it, "cuda:0,cuda:1" for two workers; None or "auto": every GPU that CUDA sees, and
            without one a single worker, which takes the best there is. Several GPUs: not yet run.

    Raises:
        SettingsError: it names no device.
    """
    if wanted not in (None, "auto"):
        assert wanted is not None
        return Settings(device=wanted).devices
    count = _count_gpus()
    return tuple(f"cuda:{number}" for number in range(count)) or ("auto",)


def _count_gpus() -> int:
    """As many as torch sees, asked in a process of its own, and only where there is a driver."""
    if not shutil.which("nvidia-smi") and not Path("/dev/nvidia0").exists():
        return 0
    done = subprocess.run([sys.executable, "-P", "-c", _COUNT], capture_output=True, text=True, check=False)
    answer = done.stdout.strip()
    return int(answer) if answer.isdecimal() else 0
