"""A network on its device, kept from one job to the next: loading it takes seconds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from vsr.settings import Settings

if TYPE_CHECKING:
    from vsr.model.upscaler import Upscaler

__all__ = ["KeptUpscaler"]

# As the command line does, see `vsr.cli`; before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class KeptUpscaler:
    """At most one upscaler at a time: two may not fit into the device's memory.

    Args:
        cancel: stops whatever it does.
    """

    def __init__(self, cancel: threading.Event) -> None:
        self._cancel = cancel
        self._upscaler: Upscaler | None = None
        self._purpose: object = None  # what it was made for

    def get(self, settings: Settings, on_download: Callable[[int, int], None] | None = None) -> Upscaler:
        """The one that was got before, where it fits; else a new one.

        Raises:
            ModelError, DeviceError: as `vsr.api.make_upscaler`.
        """
        from vsr.api import make_upscaler

        purpose = _name_purpose(settings)
        if self._upscaler is None or purpose != self._purpose:
            self._upscaler = None
            self._upscaler = make_upscaler(settings, cancel=self._cancel, on_download=on_download)
            self._purpose = purpose
        return self._upscaler


def _name_purpose(settings: Settings) -> tuple[object, ...]:
    """What settings must have in common to share an upscaler."""
    file = os.stat(settings.model) if os.path.isfile(settings.model) else None
    version = (file.st_ino, file.st_size, file.st_mtime_ns) if file is not None else None
    return (
        settings.model, version, settings.scale, settings.device, settings.precision, settings.engine, settings.tile,
    )  # fmt: skip
