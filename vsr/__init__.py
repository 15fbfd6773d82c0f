"""vsr: video super-resolution. A film goes in, the same film comes out larger.

    >>> import vsr
    >>> report = vsr.upscale("movie.mp4", scale=4)          # -> movie_x4.mp4
    >>> upscaler = vsr.Upscaler(vsr.load_model("fast"))     # tensors: B,3,H,W -> B,3,4H,4W

Importing this package is cheap: torch, PyAV and numpy are loaded with the first name that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vsr.errors import (
    DeviceError,
    DownloadError,
    Interrupted,
    ModelError,
    OutputError,
    ProcessingError,
    SettingsError,
    SourceError,
    UnsupportedStreamError,
    UsageError,
    VerificationError,
    VsrError,
    WeightsError,
)
from vsr.settings import Settings

if TYPE_CHECKING:
    from vsr.api import make_upscaler, upscale
    from vsr.model.loading import load_model
    from vsr.model.upscaler import Upscaler
    from vsr.pipeline.report import Report
    from vsr.video.probe import VideoInfo, probe

__version__ = "0.1.0"

__all__ = [
    "DeviceError",
    "DownloadError",
    "Interrupted",
    "ModelError",
    "OutputError",
    "ProcessingError",
    "Report",
    "Settings",
    "SettingsError",
    "SourceError",
    "UnsupportedStreamError",
    "Upscaler",
    "UsageError",
    "VerificationError",
    "VideoInfo",
    "VsrError",
    "WeightsError",
    "__version__",
    "load_model",
    "make_upscaler",
    "probe",
    "upscale",
]

_HOMES = {
    "upscale": "vsr.api",
    "make_upscaler": "vsr.api",
    "load_model": "vsr.model.loading",
    "Upscaler": "vsr.model.upscaler",
    "Report": "vsr.pipeline.report",
    "VideoInfo": "vsr.video.probe",
    "probe": "vsr.video.probe",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vsr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
