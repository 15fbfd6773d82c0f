"""The processes of one training: torchrun tells each its rank; they share the batch and agree on what happens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from vsr.errors import TrainingError
from vsr.model.precision import resolve_device

__all__ = ["Ranks", "join_ranks"]

T = TypeVar("T", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among its like.

    Attributes:
        rank: its number, 0 for the one that writes files and speaks.
        world: how many there are.
        device: where it computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def place(self, module: T) -> T:
        """`module` itself, on the device, its weights as convolutions like them best."""
        placed: T = module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return placed

    def wrap(self, module: nn.Module) -> nn.Module:
        """`module` so that its gradients are the mean over all processes, its buffers those of process 0."""
        if self.world == 1:
            return module
        ids = [self.device.index or 0] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=ids)

    def mean(self, values: Tensor) -> Tensor:
        """Element by element the mean over all processes; changes `values`."""
        if self.world > 1:
            distributed.all_reduce(values)
            values /= self.world
        return values

    def any(self, flags: Tensor) -> Tensor:
        """Element by element the largest over all processes; changes `flags`."""
        if self.world > 1:
            distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return flags

    def agree(self, wish: bool) -> bool:
        """Whether any process wishes it. All must ask at the same moment."""
        if self.world == 1:
            return wish
        return bool(self.any(torch.tensor(float(wish), device=self.device)).item())

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """The processes that torchrun started (RANK, WORLD_SIZE, LOCAL_RANK and where to meet), or this one alone.

    Args:
        device: "auto", "cpu", "cuda", ...; of several processes each takes the GPU of its LOCAL_RANK.

    Raises:
        DeviceError: no such device.
        TrainingError: the environment is not torchrun's, or the others cannot be reached.
    """
    chosen = resolve_device(device)
    try:
        rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        local = int(os.environ.get("LOCAL_RANK", rank))
    except ValueError as exc:
        raise TrainingError(f"RANK, WORLD_SIZE or LOCAL_RANK is no number: {exc}", hint="start with torchrun") from exc
    if world == 1:
        yield Ranks(0, 1, chosen)
        return
    if chosen.type == "cuda":
        chosen = resolve_device(f"cuda:{local}")
        torch.cuda.set_device(chosen)
    try:
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", rank=rank, world_size=world)
    except (RuntimeError, ValueError) as exc:
        raise TrainingError(
            f"process {rank} of {world} cannot meet the others: {exc}",
            hint="start with torchrun --nproc-per-node N -m vsr train ...",
        ) from exc
    try:
        yield Ranks(rank, world, chosen)
    finally:
        distributed.destroy_process_group()
