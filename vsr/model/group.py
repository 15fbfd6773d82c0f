"""One upscaler on several devices: the batches of a film are dealt out among them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from vsr.model.network import Network
from vsr.model.upscaler import Upscaler

__all__ = ["UpscalerGroup"]


class UpscalerGroup(Upscaler):
    """An upscaler on the first of some devices, whose `split` deals out upscalers on all of them.

    They share the counts, the warnings and the events to stop; each has its device's memory to itself.

    Args:
        devices: at least one, as `Upscaler` takes them.
        others: as for `Upscaler`.

    Raises:
        DeviceError: one of the devices, or the precision on one of them, is not to be had here.
        SettingsError: scale or tile out of range.
    """

    def __init__(
        self,
        network: Network,
        devices: Sequence[str],
        *,
        scale: float | None = None,
        precision: str = "auto",
        engine: str = "auto",
        tile: str | int = "auto",
        cancel: threading.Event | None = None,
    ) -> None:
        def options(device: str) -> dict[str, Any]:
            return {"device": device, "scale": scale, "precision": precision, "engine": engine, "tile": tile}

        first, *others = devices
        super().__init__(network, cancel=cancel, **options(first))
        self._others = [Upscaler(network, cancel=cancel, **options(device)) for device in others]
        for other in self._others:
            other.share_with(self)

    @property
    def placement(self) -> str:
        return ",".join([str(self.device), *(str(other.device) for other in self._others)])

    @property
    def num_devices(self) -> int:
        return 1 + len(self._others)

    def split(self, num_threads: int) -> list[Upscaler]:
        """As many upscalers as that, on each device in turn; those of one device share its memory."""
        num_devices = self.num_devices
        shares = [len(range(number, num_threads, num_devices)) for number in range(num_devices)]
        dealt = [super().split(shares[0]), *(other.split(n) for other, n in zip(self._others, shares[1:], strict=True))]
        return [dealt[number % num_devices][number // num_devices] for number in range(num_threads)]

    def for_depth(self, bits: int) -> Upscaler:
        sibling = super().for_depth(bits)
        if sibling is not self:
            assert isinstance(sibling, UpscalerGroup)
            sibling._others = [other.for_depth(bits) for other in self._others]
        return sibling
