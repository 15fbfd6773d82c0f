"""Which encoder, pixel format and options an output gets; limits are checked before the first frame."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av

from vsr.errors import DeviceError, SettingsError, UnsupportedStreamError
from vsr.video import nvenc
from vsr.video.coders import (
    CODERS,
    ENCODER_PRESETS,
    SVT_MAX_RATE,
    check_limits,
    choose_pixel_format,
    coder_options,
    count_threads,
    private_options,
    repeatable_options,
)
from vsr.video.color import MATRIX_RGB, RANGE_LIMITED, UNSPECIFIED, ColorTags
from vsr.video.faults import FFMPEG_ERRORS
from vsr.video.pixel_format import describe_format
from vsr.video.probe import VideoInfo

__all__ = ["CODERS", "Encoding", "choose_encoding", "configure_context", "configure_stream", "output_colors"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the pictures are coded.

    Attributes:
        coding: FFmpeg's name of the bit stream ("h264"), `encoder` of the program that writes it.
        pix_fmt: the pixel format that frames must have; on a GPU, the format of the pixels inside.
        colors: tags to convert with and to write; matrix and range decided.
        warnings: what the output cannot keep of the pictures, in words.
        on_device: frames come as CUDA frames and go to NVENC without leaving the GPU; their width and height are even,
            and both planes of each are slices of one buffer of (3H/2, W) samples, out of a fixed set of them.
        num_threads: frames that the encoder works on at a time, which shapes what it writes; 0 where it does not.
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
    on_device: bool = False
    num_threads: int = 0

    @property
    def encoder_options(self) -> dict[str, str]:
        """Everything that FFmpeg is told by name."""
        return repeatable_options(self.encoder, self.options, self.num_threads)


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
    info: VideoInfo,
    width: int,
    height: int,
    codec: str,
    crf: float | None = None,
    encoder_preset: str | None = None,
    *,
    encoder: str = "auto",
    device: int | None = None,
    on_device: bool = False,
) -> Encoding:
    """The encoding for an output of `width` x `height` pixels.

    Args:
        encoder_preset: x264's names ("ultrafast" to "placebo") for every codec; av1 takes 0 to 13 too, NVENC p1 to p7.
        encoder: "auto", "software" or "nvenc" (`Settings.encoder`). "auto" is NVENC where a GPU computes, has one, and
            nothing is lost by it.
        device: ordinal of the GPU that computes; None where none does.
        on_device: NVENC will be given CUDA frames (`Encoding.on_device`).

    Raises:
        SettingsError: there is no such encoder preset.
        UnsupportedStreamError: size or options are beyond the codec; names the way out.
        DeviceError: NVENC was asked for, and is not here or does not take this.
    """
    if encoder == "nvenc" or (encoder == "auto" and device is not None and info.hdr is None):
        try:
            return _choose_nvenc(info, width, height, codec, crf, encoder_preset, device, on_device)
        except (DeviceError, SettingsError, UnsupportedStreamError):
            if encoder == "nvenc":
                raise
            # "auto" does without; the report names the encoder.
    check_limits(codec, width, height)
    warnings: list[str] = []
    pix_fmt = choose_pixel_format(codec, describe_format(info.pix_fmt), width, height, warnings)
    options = coder_options(codec, crf, encoder_preset, width, height, warnings)
    options |= private_options(codec, info.hdr, width)
    encoding = _make_encoding(info, width, height, codec, CODERS[codec].encoder, pix_fmt, options, warnings)
    if codec == "av1":
        encoding = replace(encoding, frame_rate=min(encoding.frame_rate, Fraction(SVT_MAX_RATE)))
    _try_encoder(encoding)
    return encoding


def _choose_nvenc(
    info: VideoInfo,
    width: int,
    height: int,
    codec: str,
    crf: float | None,
    encoder_preset: str | None,
    device: int | None,
    on_device: bool,
) -> Encoding:
    """The encoding by NVENC, tried out. Not yet run on a GPU.

    Raises:
        SettingsError: NVENC has no such preset.
        UnsupportedStreamError: no NVENC takes this.
        DeviceError: the one here does not, or there is none.
    """
    warnings: list[str] = []
    pix_fmt = choose_pixel_format(codec, describe_format(info.pix_fmt), width, height, warnings)
    if (obstacle := nvenc.find_obstacle(codec, pix_fmt, width, height)) is not None:
        raise UnsupportedStreamError(obstacle, hint="--encoder software, or another --codec")
    preset = None if encoder_preset is None else nvenc.nvenc_preset(encoder_preset)
    if encoder_preset is not None and preset is None:
        raise SettingsError(
            f"NVENC has no encoder preset {encoder_preset!r}", hint=f"one of {', '.join(ENCODER_PRESETS)}, or p1 to p7"
        )
    if info.hdr is not None:
        warnings.append("NVENC is not given the mastering metadata of HDR; --encoder software writes it")
    quality = CODERS[codec].default_crf if crf is None else crf
    assert quality is not None  # all that NVENC writes has a default
    options = nvenc.nvenc_options(quality, preset, None if on_device else device)
    encoding = _make_encoding(
        info, width, height, codec, nvenc.ENCODERS[codec], nvenc.PIXEL_FORMATS[pix_fmt], options, warnings
    )
    try:
        # Tried with frames of system memory: those of a GPU are only known once the first one has come.
        _try_encoder(encoding)
    except UnsupportedStreamError as exc:
        raise DeviceError(
            f"NVENC does not write {codec} of {width}x{height} here: {exc.__cause__}",
            hint="--encoder software; some GPUs (A100, H100, H200) have no NVENC",
        ) from exc
    return replace(encoding, on_device=on_device)


def _make_encoding(
    info: VideoInfo,
    width: int,
    height: int,
    codec: str,
    encoder: str,
    pix_fmt: str,
    options: dict[str, str],
    warnings: list[str],
) -> Encoding:
    return Encoding(
        codec=codec,
        encoder=encoder,
        coding=CODERS[codec].coding,
        width=width,
        height=height,
        pix_fmt=pix_fmt,
        colors=output_colors(info),
        frame_rate=info.frame_rate or Fraction(25),
        time_base=info.time_base,
        pixel_aspect=info.pixel_aspect,
        display_matrix=info.display_matrix,
        options=options,
        warnings=tuple(warnings),
        num_threads=count_threads(encoder),
    )


def configure_context(context: Any, encoding: Encoding) -> None:
    """Set everything of a fresh PyAV encoder, which then can be opened; its headers lie outside the packets.

    With `encoding.on_device` that must wait for the first frame, which brings the GPU's context.
    """
    context.options = encoding.encoder_options
    context.framerate = encoding.frame_rate
    context.bit_rate = 0
    _configure(context, encoding)
    context.pix_fmt = "cuda" if encoding.on_device else encoding.pix_fmt
    context.flags |= av.codec.context.Flags.global_header


def configure_stream(stream: Any, encoding: Encoding) -> None:
    """Set size, colours and timing of a freshly added PyAV video stream.

    Its encoder takes frames of system memory, also where `encoding.on_device` says that others do not.
    """
    _configure(stream.codec_context, encoding)
    stream.time_base = encoding.time_base
    if encoding.display_matrix is not None:
        stream.set_display_matrix(encoding.display_matrix)


def _configure(context: Any, encoding: Encoding) -> None:
    context.width, context.height = encoding.width, encoding.height
    context.pix_fmt = encoding.pix_fmt
    context.time_base = encoding.time_base
    context.color_range = encoding.colors.range
    context.colorspace = encoding.colors.matrix
    context.color_primaries = encoding.colors.primaries
    context.color_trc = encoding.colors.transfer
    context.flags |= av.codec.context.Flags.frame_duration
    if encoding.pixel_aspect:
        context.sample_aspect_ratio = encoding.pixel_aspect


def _try_encoder(encoding: Encoding) -> None:
    try:
        with av.open(io.BytesIO(), "w", format="null") as trial:
            stream = trial.add_stream(encoding.encoder, rate=encoding.frame_rate, options=encoding.encoder_options)
            configure_stream(stream, encoding)
            stream.codec_context.open()
    except FFMPEG_ERRORS as exc:
        options = ", ".join(f"{key} {value}" for key, value in encoding.options.items())
        raise UnsupportedStreamError(
            f"{encoding.codec} does not take {encoding.width}x{encoding.height} {encoding.pix_fmt} "
            f"with {options or 'these settings'}",
            hint="check --crf and --encoder-preset, or choose another --codec (ffv1 takes any size)",
        ) from exc
