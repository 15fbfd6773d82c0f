"""Which encoder, pixel format and options an output gets; limits are checked before the first frame."""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av

from vsr.errors import SettingsError, UnsupportedStreamError
from vsr.video.color import MATRIX_RGB, RANGE_LIMITED, UNSPECIFIED, ColorTags
from vsr.video.faults import FFMPEG_ERRORS
from vsr.video.hdr import HdrMetadata
from vsr.video.pixel_format import PixelFormat, describe_format
from vsr.video.probe import VideoInfo

__all__ = ["CODERS", "Encoding", "choose_encoding", "configure_stream", "output_colors"]

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
FFV1_SLICES_MIN_SIDE = 64  # smaller pictures leave slices empty, which FFV1 refuses

# The names of x264 and x265, which people know, and the number that stands for each in SVT-AV1.
ENCODER_PRESETS = {
    "ultrafast": 12, "superfast": 11, "veryfast": 10, "faster": 9, "fast": 8,
    "medium": 6, "slow": 4, "slower": 3, "veryslow": 2, "placebo": 0,
}  # fmt: skip
SVT_PRESETS = range(14)


@dataclass(frozen=True, slots=True)
class _Coder:
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
    "h264": _Coder("libx264", "h264", ("420", "444"), (8, 10), False, 18, "veryfast"),
    "hevc": _Coder("libx265", "hevc", ("420", "444"), (8, 10, 12), False, 20, "fast"),
    "av1": _Coder("libsvtav1", "av1", ("420",), (8, 10), True, 25, "8"),
    "prores": _Coder(
        "prores_ks", "prores", ("422", "444"), (10,), True, None, None, {"profile": "hq", "vendor": "apl0"}
    ),
    # Version 3 with a checksum per slice and every picture a key frame: what archives ask for (RFC 9043).
    "ffv1": _Coder(
        "ffv1", "ffv1", ("420", "422", "444", "440", "411", "410", "gray"), (8, 9, 10, 12, 14, 16), True, None, None,
        {"level": "3", "slicecrc": "1", "g": "1"},
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the pictures are coded.

    Attributes:
        coding: FFmpeg's name of the bit stream ("h264"), `encoder` of the program that writes it.
        pix_fmt: the pixel format that frames must have.
        colors: tags to convert with and to write; matrix and range decided.
        warnings: what the output cannot keep of the pictures, in words.
    """

    codec: str
    encoder: str
    coding: str
    width: int
    height: int
    pix_fmt: str
    colors: ColorTags
    frame_rate: Fraction
    time_base: Fraction
    pixel_aspect: Fraction | None
    display_matrix: tuple[int, ...] | None
    options: dict[str, str]
    warnings: tuple[str, ...] = ()


def output_colors(info: VideoInfo) -> ColorTags:
    """Colour tags of the output: the source's, decided by the source's size where it is silent.

    The output states its matrix always: a film that grows from SD to HD would otherwise be read with another one.
    """
    source = describe_format(info.pix_fmt)
    tags = info.colors
    if source.is_rgb or tags.matrix == MATRIX_RGB:
        # RGB has no matrix of its own; the one that players assume for the size is as good as any.
        tags = ColorTags(UNSPECIFIED, RANGE_LIMITED, tags.primaries, tags.transfer)
    elif info.pix_fmt.startswith("yuvj"):
        tags = ColorTags(tags.matrix, 2, tags.primaries, tags.transfer)
    return tags.resolve(info.width, info.height)


def choose_encoding(
    info: VideoInfo, width: int, height: int, codec: str, crf: float | None = None, encoder_preset: str | None = None
) -> Encoding:
    """The encoding for an output of `width` x `height` pixels.

    Args:
        encoder_preset: x264's names ("ultrafast" to "placebo") for every codec; av1 takes 0 to 13 as well.

    Raises:
        SettingsError: there is no such encoder preset.
        UnsupportedStreamError: size or options are beyond the codec; names the way out.
    """
    coder = CODERS[codec]
    source = describe_format(info.pix_fmt)
    warnings: list[str] = []
    pix_fmt = _choose_pixel_format(coder, codec, source, width, height, warnings)
    rate = info.frame_rate or Fraction(25)
    options = _options(coder, codec, crf, encoder_preset, warnings)
    options |= _private_options(codec, info.hdr, width)
    if codec == "ffv1":
        options["slices"] = "4" if min(width, height) >= FFV1_SLICES_MIN_SIDE else "1"
    encoding = Encoding(
        codec=codec,
        encoder=coder.encoder,
        coding=coder.coding,
        width=width,
        height=height,
        pix_fmt=pix_fmt,
        colors=output_colors(info),
        frame_rate=min(rate, Fraction(SVT_MAX_RATE)) if codec == "av1" else rate,
        time_base=info.time_base,
        pixel_aspect=info.pixel_aspect,
        display_matrix=info.display_matrix,
        options=options,
        warnings=tuple(warnings),
    )
    _check_limits(encoding)
    _try_encoder(encoding)
    return encoding


def configure_stream(stream: Any, encoding: Encoding) -> None:
    """Set size, colours and timing of a freshly added PyAV video stream."""
    context = stream.codec_context
    stream.width, stream.height, stream.pix_fmt = encoding.width, encoding.height, encoding.pix_fmt
    stream.time_base = context.time_base = encoding.time_base
    context.color_range = encoding.colors.range
    context.colorspace = encoding.colors.matrix
    context.color_primaries = encoding.colors.primaries
    context.color_trc = encoding.colors.transfer
    context.flags |= av.codec.context.Flags.frame_duration
    if encoding.pixel_aspect:
        context.sample_aspect_ratio = encoding.pixel_aspect
    if encoding.display_matrix is not None:
        stream.set_display_matrix(encoding.display_matrix)


def _choose_pixel_format(
    coder: _Coder, codec: str, source: PixelFormat, width: int, height: int, warnings: list[str]
) -> str:
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


def _options(
    coder: _Coder, codec: str, crf: float | None, encoder_preset: str | None, warnings: list[str]
) -> dict[str, str]:
    options = dict(coder.options)
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


def _private_options(codec: str, hdr: HdrMetadata | None, width: int) -> dict[str, str]:
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


def _check_limits(encoding: Encoding) -> None:
    codec, width, height = encoding.codec, encoding.width, encoding.height
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


def _try_encoder(encoding: Encoding) -> None:
    try:
        with av.open(io.BytesIO(), "w", format="null") as trial:
            stream = trial.add_stream(encoding.encoder, rate=encoding.frame_rate, options=dict(encoding.options))
            configure_stream(stream, encoding)
            stream.codec_context.open()
    except FFMPEG_ERRORS as exc:
        options = ", ".join(f"{key} {value}" for key, value in encoding.options.items())
        raise UnsupportedStreamError(
            f"{encoding.codec} does not take {encoding.width}x{encoding.height} {encoding.pix_fmt} "
            f"with {options or 'these settings'}",
            hint="check --crf and --encoder-preset, or choose another --codec (ffv1 takes any size)",
        ) from exc
