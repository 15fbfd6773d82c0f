"""The software encoders: what each `--codec` takes, its options, its limits."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vsr.errors import SettingsError, UnsupportedStreamError
from vsr.video.hdr import HdrMetadata
from vsr.video.pixel_format import PixelFormat

__all__ = [
    "CODERS",
    "ENCODER_PRESETS",
    "SVT_MAX_RATE",
    "check_limits",
    "choose_pixel_format",
    "coder_options",
    "count_threads",
    "private_options",
    "repeatable_options",
]

# SVT-AV1 writes its settings to stderr unless told otherwise; errors still show.
os.environ.setdefault("SVT_LOG", "1")

# H.264 level 6.2 (Rec. ITU-T H.264, table A-1): the largest frame any player must take, in macroblocks of 16x16.
H264_MAX_MACROBLOCKS = 139_264
MAX_SIDE = {"h264": 16_384, "hevc": 8_192, "av1": 16_384, "prores": 16_384, "ffv1": 65_535}
HEVC_MAX_SAMPLES = 35_651_584  # level 6.2 (Rec. ITU-T H.265, table A.8)
# What the encoders themselves refuse: x265 below one coding tree unit, SVT-AV1 below 4 pixels.
MIN_SIDE = {"hevc": 16, "av1": 4}
SVT_MAX_RATE = 240
# x265's cutree writes past its buffers where the half-size picture is three blocks wide (seen at 33 to 48 pixels).
X265_CUTREE_MIN_WIDTH = 64
X264_MAX_THREADS = 128
# From so many cores on, x265 works on so many frames at a time (its own choice for frames of 1080 lines).
X265_FRAME_THREADS = ((32, 5), (16, 4), (8, 3), (4, 2))
FFV1_SLICES_MIN_SIDE = 64  # smaller pictures leave slices empty, which FFV1 refuses

# The names of x264 and x265, which people know, and the number that stands for each in SVT-AV1.
ENCODER_PRESETS = {
    "ultrafast": 12, "superfast": 11, "veryfast": 10, "faster": 9, "fast": 8,
    "medium": 6, "slow": 4, "slower": 3, "veryslow": 2, "placebo": 0,
}  # fmt: skip
SVT_PRESETS = range(14)


@dataclass(frozen=True, slots=True)
class Coder:
    """One `--codec`: FFmpeg's encoder and what it can do."""

    encoder: str
    coding: str  # FFmpeg's name of the bit stream
    chromas: tuple[str, ...]  # the first is what a player expects
    depths: tuple[int, ...]
    odd_420: bool  # odd sizes in 4:2:0
    default_crf: float | None
    default_preset: str | None
    options: dict[str, str] = field(default_factory=dict)


CODERS = {
    "h264": Coder("libx264", "h264", ("420", "444"), (8, 10), False, 18, "veryfast"),
    "hevc": Coder("libx265", "hevc", ("420", "444"), (8, 10, 12), False, 20, "fast"),
    "av1": Coder("libsvtav1", "av1", ("420",), (8, 10), True, 25, "8"),
    "prores": Coder(
        "prores_ks", "prores", ("422", "444"), (10,), True, None, None, {"profile": "hq", "vendor": "apl0"}
    ),
    # Version 3 with a checksum per slice and every picture a key frame: what archives ask for (RFC 9043).
    "ffv1": Coder(
        "ffv1", "ffv1", ("420", "422", "444", "440", "411", "410", "gray"), (8, 9, 10, 12, 14, 16), True, None, None,
        {"level": "3", "slicecrc": "1", "g": "1"},
    ),
}  # fmt: skip


def choose_pixel_format(codec: str, source: PixelFormat, width: int, height: int, warnings: list[str]) -> str:
    """The format that keeps most of the source; what it cannot keep goes to `warnings`."""
    coder = CODERS[codec]
    if codec == "ffv1" and source.is_rgb:
        # 8-bit planar RGB is no format of FFV1; two bits more cost little and lose nothing.
        return f"gbrp{next(d for d in (10, 12, 14, 16) if d >= min(source.bits, 16))}le"
    depth = next((d for d in coder.depths if d >= source.bits), coder.depths[-1])
    if depth < source.bits:
        better = next((name for name, other in CODERS.items() if other.depths[-1] >= source.bits), "ffv1")
        warnings.append(f"{source.bits}-bit source: {codec} keeps {depth} bits (--codec {better} keeps them all)")
    chroma = coder.chromas[0]
    if codec == "ffv1":
        chroma = source.chroma if source.chroma in coder.chromas else "444"
        if chroma in ("410", "411"):
            depth = 8
    elif codec == "prores" and (source.is_rgb or source.chroma == "444"):
        chroma = "444"
    elif (width % 2 or height % 2) and not coder.odd_420:
        chroma = "444"
        warnings.append(f"{width}x{height} is odd: written as 4:4:4, since {codec} takes only even sizes in 4:2:0")
    name = "gray" if chroma == "gray" else f"yuv{chroma}p"
    return name if depth == 8 else f"{name}{depth}le"


def coder_options(
    codec: str, crf: float | None, encoder_preset: str | None, width: int, height: int, warnings: list[str]
) -> dict[str, str]:
    """Quality, speed and what the codec needs besides; settings without effect go to `warnings`.

    Raises:
        SettingsError: there is no such encoder preset.
    """
    coder = CODERS[codec]
    options = dict(coder.options)
    if codec == "ffv1":
        if min(width, height) < FFV1_SLICES_MIN_SIDE:
            options["slices"] = "1"
        elif width % 2 == height % 2 == 0:  # odd ones cannot be cut so between chroma samples: FFV1 finds its own way
            options["slices"] = "4"
    if coder.default_crf is not None:
        options["crf"] = f"{crf if crf is not None else coder.default_crf:g}"
    elif crf is not None:
        warnings.append(f"{codec} has no crf; --crf {crf:g} is without effect")
    preset = None if encoder_preset is None else _check_preset(codec, encoder_preset)
    if coder.default_preset is not None:
        options["preset"] = preset or coder.default_preset
    elif preset is not None:
        warnings.append(f"{codec} has no encoder preset; --encoder-preset {encoder_preset} is without effect")
    return options


def _check_preset(codec: str, name: str) -> str:
    """The encoder's own word for the preset `name`."""
    if name in ENCODER_PRESETS:
        return str(ENCODER_PRESETS[name]) if codec == "av1" else name
    if codec == "av1" and name.isdigit() and int(name) in SVT_PRESETS:
        return name
    numbers = f", or a number from 0 (slow) to {SVT_PRESETS[-1]} (fast)" if codec == "av1" else ""
    raise SettingsError(f"{codec} has no encoder preset {name!r}", hint=f"one of {', '.join(ENCODER_PRESETS)}{numbers}")


def private_options(codec: str, hdr: HdrMetadata | None, width: int) -> dict[str, str]:
    """What goes to the encoder past FFmpeg, as one option of the encoder's own language."""
    params: dict[str, str] = {}
    if codec == "h264":
        params = hdr.x264_params() if hdr else {}
    elif codec == "hevc":
        # Closed groups of pictures: a film can be cut between them (and joined again) without touching a picture.
        params = {"log-level": "none", "open-gop": "0"} | (hdr.x265_params() if hdr else {})
        if width <= X265_CUTREE_MIN_WIDTH:
            params["cutree"] = "0"
    elif codec == "av1":
        params = hdr.svtav1_params() if hdr else {}
    name = {"h264": "x264-params", "hevc": "x265-params", "av1": "svtav1-params"}.get(codec)
    return {name: ":".join(f"{key}={value}" for key, value in params.items())} if name and params else {}


def count_threads(encoder: str) -> int:
    """How many frames the encoder works on at a time on this machine: what x264 and x265 would choose themselves; 0
    for those whose output does not depend on it.

    A film that is begun here and finished elsewhere must be coded with the same number.
    """
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if encoder == "libx264":
        return max(1, min(num_cores * 3 // 2, X264_MAX_THREADS))
    if encoder == "libx265":
        return next((frames for cores, frames in X265_FRAME_THREADS if num_cores >= cores), 1)
    return 0


def repeatable_options(encoder: str, options: Mapping[str, str], num_threads: int) -> dict[str, str]:
    """`options` with all that it takes to get the same file of the same pictures again, on any machine.

    Args:
        num_threads: of `count_threads`, here or where the film was begun.
    """
    options = dict(options)
    if encoder == "libx264":
        options["threads"] = str(num_threads)
        if _has_avx512():
            options["x264-params"] = ":".join(filter(None, [options.get("x264-params"), "asm=AVX2"]))
    if encoder == "libx265":
        # "info" would have it name processor and threads in the headers, which all segments of a film must share.
        options["x265-params"] += f":frame-threads={num_threads}:info=0"
    return options


@functools.cache
def _has_avx512() -> bool:
    """x264's macroblock tree reads past its rows with AVX-512 where the width is no multiple of 128 pixels: the same
    pictures then give another file now and then (seen with core 165; with AVX2, which is as fast, never)."""
    try:
        return " avx512" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def check_limits(codec: str, width: int, height: int) -> None:
    """Refuse sizes that the codec does not have.

    Raises:
        UnsupportedStreamError: too small or too large; names the way out.
    """
    least = MIN_SIDE.get(codec, 1)
    if min(width, height) < least:
        raise UnsupportedStreamError(
            f"{width}x{height} is smaller than {codec} allows ({least}x{least})",
            hint="a larger --scale, or --codec h264 or ffv1",
        )
    too_large = max(width, height) > MAX_SIDE[codec]
    if codec == "h264":
        too_large |= math.ceil(width / 16) * math.ceil(height / 16) > H264_MAX_MACROBLOCKS
    if codec == "hevc":
        too_large |= width * height > HEVC_MAX_SAMPLES
    if too_large:
        raise UnsupportedStreamError(
            f"{width}x{height} is larger than {codec} allows", hint="a smaller --scale, or --codec av1 or ffv1"
        )
