"""What the FFmpeg inside PyAV can do here, on the CPU and on the GPU."""

from __future__ import annotations

import io
from typing import Any

import av

from vsr.errors import DeviceError
from vsr.video import nvdec, nvenc
from vsr.video.encoding import CODERS
from vsr.video.faults import FFMPEG_ERRORS

__all__ = ["describe_ffmpeg", "describe_gpu"]

# Large enough for every NVENC, small enough for any.
TRIAL_SIZE = (640, 480)


def describe_ffmpeg() -> dict[str, Any]:
    """Versions, and which of the encoders that vsr uses are there."""
    return {
        "pyav": av.__version__,
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
        "encoders": [coder.encoder for coder in CODERS.values() if coder.encoder in av.codecs_available],
    }


def describe_gpu(device: int = 0) -> dict[str, str]:
    """Whether NVDEC and NVENC are here, found by opening them, in words."""
    try:
        nvdec.open_device(device)
        decoding = f"FFmpeg can use GPU {device}; what its NVDEC takes is tried with each film"
    except DeviceError as exc:
        decoding = f"not here: {exc.message}"
    encoders = [name for name in nvenc.ENCODERS.values() if _opens(name)]
    return {"nvdec": decoding, "nvenc": ", ".join(encoders) or "not here: no encoder of it opens"}


def _opens(encoder: str) -> bool:
    try:
        with av.open(io.BytesIO(), "w", format="null") as trial:
            stream: Any = trial.add_stream(encoder, rate=24)
            stream.width, stream.height, stream.pix_fmt = *TRIAL_SIZE, "nv12"
            stream.codec_context.open()
    except FFMPEG_ERRORS:
        return False
    return True
