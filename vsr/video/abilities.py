"""What the FFmpeg inside PyAV can do here."""

from __future__ import annotations

from typing import Any

import av

from vsr.video.encoding import CODERS

__all__ = ["describe_ffmpeg"]


def describe_ffmpeg() -> dict[str, Any]:
    """Versions, and which of the encoders that vsr uses are there."""
    return {
        "pyav": av.__version__,
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
        "encoders": [coder.encoder for coder in CODERS.values() if coder.encoder in av.codecs_available],
    }
