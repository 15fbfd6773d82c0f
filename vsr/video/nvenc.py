"""NVENC: the encoders of NVIDIA's GPUs: what they take, and their options. Not yet run on a GPU.

Whether a chip has one at all (A100, H100 and H200 do not), and for which codec, only opening it tells.
"""

from __future__ import annotations

__all__ = ["ENCODERS", "PIXEL_FORMATS", "find_obstacle", "nvenc_options", "nvenc_preset"]

# FFmpeg's names by `--codec`.
ENCODERS = {"h264": "h264_nvenc", "hevc": "hevc_nvenc", "av1": "av1_nvenc"}
MAX_SIDE = {"h264": 4096, "hevc": 8192, "av1": 8192}
# The software encoders' formats, and the same pixels as NVENC wants them: chroma interleaved, codes in the upper bits.
PIXEL_FORMATS = {"yuv420p": "nv12", "yuv420p10le": "p010le"}
# x264's names for NVENC's own seven. The network takes longer than any of them: hence a slow default.
PRESETS = {
    "ultrafast": "p1", "superfast": "p2", "veryfast": "p3", "faster": "p3", "fast": "p4",
    "medium": "p5", "slow": "p6", "slower": "p7", "veryslow": "p7", "placebo": "p7",
}  # fmt: skip
DEFAULT_PRESET = "p5"
# Frames that the encoder may hold: whoever gives it frames from a ring needs more than this.
MAX_HELD = 16


def find_obstacle(codec: str, pix_fmt: str, width: int, height: int) -> str | None:
    """Why no NVENC can write this without loss against software; None where trying it is worth while.

    Args:
        pix_fmt: what the software encoder would be given.
    """
    if codec not in ENCODERS:
        return f"NVENC writes {', '.join(ENCODERS)}, not {codec}"
    if max(width, height) > MAX_SIDE[codec]:
        return f"{width}x{height} is too large: NVENC stops at {MAX_SIDE[codec]} pixels in {codec}"
    if pix_fmt not in PIXEL_FORMATS or (codec == "h264" and pix_fmt != "yuv420p"):
        return f"NVENC does not write {pix_fmt} in {codec}"
    if width % 2 or height % 2:
        return f"NVENC takes even sizes only, and the output has {width}x{height}"
    return None


def nvenc_options(crf: float, preset: str | None, device: int | None) -> dict[str, str]:
    """FFmpeg's options for constant quality: variable bit rate without a target, with `cq` = `crf`.

    FFmpeg's scales for both are the same: 51 levels, 63 in AV1. That one number looks alike is not measured. cq 0 would
    mean "automatic", hence 1 at least. Groups of pictures are closed: every I picture of NVENC is an IDR. B-frames are
    those of its preset, where the chip has them.

    Args:
        preset: one of NVENC's own (`nvenc_preset`); None: p5.
        device: ordinal of the GPU; None: the one where the frames lie, or the first.
    """
    options = {"preset": preset or DEFAULT_PRESET, "tune": "hq", "rc": "vbr", "cq": f"{max(1.0, crf):g}", "b": "0"}
    options["surfaces"] = str(MAX_HELD)
    return options if device is None else options | {"gpu": str(device)}


def nvenc_preset(name: str) -> str | None:
    """NVENC's preset for x264's name of one, or for its own (p1 to p7); None where there is none."""
    return PRESETS.get(name, name if name in PRESETS.values() else None)
