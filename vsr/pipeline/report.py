"""What a run did, as one frozen object: the source of `--json` and of the last line on the screen."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Report", "peak_memory"]


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of upscaling one input.

    Attributes:
        input, output: paths as given and as written.
        kind: "film" or "image".
        frames_in, frames_out: pictures decoded and pictures found in the verified file; an image counts one.
        seconds: wall-clock time of the whole run, `fps` frames_out over it.
        scale: output size over input size; `size_in`, `size_out` are width and height in pixels.
        frames_resumed: those of `frames_out` that an earlier run had done; `seconds` and `fps` are without them.
        frames_reused: pictures that were bit for bit the one before and got its frame.
        area_computed: pixels that went through the network over pixels of the film; 1.0 where nothing was reused.
        tile: side of a tile in source pixels, None for whole frames.
        streams: what became of each stream of the source.
        stage_seconds: working time per stage.
        peak_memory_bytes: largest resident size of this process so far.
        damaged: the source was damaged and pictures may be missing.
        decoder: what really decoded: "software", "nvdec", "dali", or two of them; None for an image.
        encoder: FFmpeg's name of the encoder ("libx264", "hevc_nvenc"); None for an image.
    """

    input: str
    output: str
    kind: str
    frames_in: int
    frames_out: int
    seconds: float
    fps: float
    model: str
    scale: float
    size_in: tuple[int, int]
    size_out: tuple[int, int]
    device: str
    precision: str
    tile: int | None
    codec: str | None
    streams: tuple[dict[str, Any], ...]
    stage_seconds: dict[str, float]
    peak_memory_bytes: int
    warnings: tuple[str, ...]
    damaged: bool = False
    decoder: str | None = None
    encoder: str | None = None
    frames_resumed: int = 0
    frames_reused: int = 0
    area_computed: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = asdict(self)
        for key in ("seconds", "fps", "area_computed"):
            values[key] = round(values[key], 3)
        values["stage_seconds"] = {stage: round(seconds, 3) for stage, seconds in self.stage_seconds.items()}
        return values


def peak_memory() -> int:
    """The largest resident size of this process so far, in bytes."""
    # Not by getrusage(2) where it can be helped: on Linux that begins with the size of the process that started it.
    with suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
