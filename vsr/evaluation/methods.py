"""What enlarges a picture: a network, or a plain filter, which is the floor under all networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from vsr.errors import SettingsError
from vsr.model.loading import describe, load_model
from vsr.model.resample import ENLARGE_FILTERS, enlarge
from vsr.model.upscaler import Upscaler

__all__ = ["DEFAULT_SCALE", "FilterMethod", "Method", "NetworkMethod", "open_methods"]

DEFAULT_SCALE = 4


class Method(Protocol):
    """B,3,H,W float32 RGB in 0..1 -> B,3,H*scale,W*scale float32 on the CPU, in 0..1, not rounded to 8 bits."""

    @property
    def name(self) -> str: ...

    def describe(self) -> dict[str, Any]:
        """Plain values for JSON: `model` and what there is to know about it."""

    def __call__(self, frames_BCHW: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class FilterMethod:
    """MATLAB's imresize with one of its filters."""

    name: str
    kind: str
    scale: int

    def describe(self) -> dict[str, Any]:
        return {"model": self.name, "architecture": f"imresize, {self.kind}", "parameters": 0}

    def __call__(self, frames_BCHW: Tensor) -> Tensor:
        return enlarge(frames_BCHW, self.scale, self.kind).clamp_(0, 1)


@dataclass(frozen=True)
class NetworkMethod:
    """A network as `vsr upscale` runs it, tiles and all."""

    name: str
    upscaler: Upscaler

    def describe(self) -> dict[str, Any]:
        facts = describe(self.upscaler.network)
        facts = {"model": self.name} | {key: value for key, value in facts.items() if key != "name"}
        return facts | {"device": str(self.upscaler.device), "precision": self.upscaler.precision}

    def __call__(self, frames_BCHW: Tensor) -> Tensor:
        return self.upscaler(frames_BCHW).cpu()


def open_methods(
    names: Sequence[str],
    scale: int | None = None,
    *,
    device: str = "auto",
    precision: str = "fp32",
    tell: Callable[[str], Callable[[int, int], None]] | None = None,
) -> tuple[list[FilterMethod | NetworkMethod], int]:
    """The filters (nearest, bilinear, bicubic, lanczos) and networks of those names or files, and their common scale.

    Names that come twice (two files of one stem) get a number.

    Args:
        scale: output size over input size; a network with another one of its own is followed by a resampling.
            None: the networks' own, 4 where there are only filters.
        device, precision: as `Upscaler` takes them; a filter runs on the CPU in fp32.
        tell: for the name of a network, a function of (bytes done, bytes in all) that hears of its download.

    Raises:
        ModelError: no such network, or its weights cannot be had or used.
        DeviceError: no such device or precision here.
        SettingsError: the networks' own scales differ, and none was given.
    """
    networks = {
        name: load_model(name, scale=scale, progress=tell and tell(name))
        for name in names
        if name not in ENLARGE_FILTERS
    }
    if scale is None:
        scales = sorted({network.scale for network in networks.values()}) or [DEFAULT_SCALE]
        if len(scales) > 1:
            known = ", ".join(f"{name} {network.scale} times" for name, network in networks.items())
            raise SettingsError(
                f"the networks enlarge differently: {known}", hint="give --scale, or evaluate them apart"
            )
        scale = scales[0]
    methods: list[FilterMethod | NetworkMethod] = []
    taken: Counter[str] = Counter()
    for name in names:
        label = networks[name].name if name in networks else name
        taken[label] += 1
        label = label if taken[label] == 1 else f"{label}#{taken[label]}"
        if name in networks:
            upscaler = Upscaler(networks[name], scale=scale, device=device, precision=precision)
            methods.append(NetworkMethod(label, upscaler))
        else:
            methods.append(FilterMethod(label, name, scale))
    return methods, scale
