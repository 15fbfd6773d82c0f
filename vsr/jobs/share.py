"""What one task takes of the machines of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vsr.errors import DeviceError

__all__ = ["Share"]

# Where there are no GPUs, a task takes no more cores than this: several tasks make better use of many.
MAX_CORES = 8


@dataclass(frozen=True, slots=True)
class Share:
    """What a task takes of a machine.

    Attributes:
        num_cpus: cores, and threads of torch.
        num_gpus: 0 or 1.
        num_slots: how many tasks the cluster can work on at a time.
    """

    num_cpus: int
    num_gpus: int
    num_slots: int

    @classmethod
    def of(cls, machines: Sequence[dict[str, float]], device: str) -> Share:
        """A GPU and its part of the cores; without GPUs as many cores as the smallest machine has, up to `MAX_CORES`.

        Args:
            machines: their resources, as Ray counts them: "CPU", "GPU".
            device: as in `Settings`.

        Raises:
            DeviceError: no machine has what is asked for.
        """
        with_gpu = [machine for machine in machines if machine.get("GPU", 0) >= 1 and machine.get("CPU", 0) >= 1]
        if device != "cpu" and with_gpu:
            num_cpus = max(1, min(int(machine["CPU"] // machine["GPU"]) for machine in with_gpu))
            slots = [min(int(machine["GPU"]), int(machine["CPU"] // num_cpus)) for machine in with_gpu]
            return cls(num_cpus, 1, sum(slots))
        if device not in ("auto", "cpu"):
            raise DeviceError(f"no machine of the cluster has what device {device!r} asks for")
        cores = [int(machine["CPU"]) for machine in machines if machine.get("CPU", 0) >= 1]
        if not cores:
            raise DeviceError("no machine of the cluster has a processor core to give", hint="see `ray status`")
        num_cpus = min(*cores, MAX_CORES)
        return cls(num_cpus, 0, sum(number // num_cpus for number in cores))

    @property
    def device(self) -> str:
        """Its kind: "cpu" or "cuda"."""
        return "cuda" if self.num_gpus else "cpu"
