"""Small films for the tests, made on the spot with PyAV: one function for each trait that films have in the wild.

Each function writes one file and returns a `Film` that says what was asked for; `test_films.py` reads the files
back and holds them to it. All are deterministic, tens of pixels large and made in milliseconds. No FFmpeg program
is needed, only the encoders inside PyAV's wheel.

`write_film` is the one writer; what it cannot do (damage, odd timestamps) is done to its packets or bytes afterwards.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import Any

import av
import av.container
import av.stream
import numpy as np
from av.video.reformatter import Colorspace

RATE = 24
SAMPLE_RATE = 48000
ASS_HEADER = (
    "[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 384\r\nPlayResY: 288\r\n\r\n[V4+ Styles]\r\n"
    "Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, "
    "Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, "
    "MarginR, MarginV, Encoding\r\n"
    "Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0\r\n\r\n[Events]\r\n"
    "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)
MASTERING_DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"


@dataclass(frozen=True)
class Film:
    """A film that was made, and what it was asked to be."""

    path: Path
    num_frames: int
    times: tuple[Fraction, ...]
    """Instants of the frames in seconds, in order of presentation, as asked for (the container rounds to its tick)."""
    width: int
    height: int


@dataclass(frozen=True)
class Tags:
    """Colour code points of ITU-T H.273; range 1 is limited, 2 full."""

    matrix: int
    range: int
    primaries: int
    transfer: int


BT601 = Tags(matrix=6, range=1, primaries=6, transfer=6)
BT709 = Tags(matrix=1, range=1, primaries=1, transfer=1)
BT601_FULL = replace(BT601, range=2)
BT709_FULL = replace(BT709, range=2)
HDR10 = Tags(matrix=9, range=1, primaries=9, transfer=16)
HLG = replace(HDR10, transfer=18)
VPX = {"deadline": "realtime", "cpu-used": "8"}


@dataclass(frozen=True)
class Sound:
    """A sine tone in stereo."""

    codec: str = "aac"
    start: Fraction = Fraction(0)
    seconds: Fraction = Fraction(1)
    pitch: int = 440
    metadata: dict[str, str] = field(default_factory=dict)
    disposition: int = 0


@dataclass(frozen=True)
class Subtitle:
    """Text lines: (start, end, text), times in milliseconds."""

    codec: str
    lines: tuple[tuple[int, int, str], ...] = ((0, 400, "first line"), (500, 900, "zweite Zeile, größer"))
    metadata: dict[str, str] = field(default_factory=dict)
    disposition: int = 0


def picture(index: int, width: int, height: int) -> np.ndarray:
    """Draw frame `index`: ramps in all three colours and a white bar that moves; uint8 H,W,3, RGB."""
    rows, columns = np.mgrid[0:height, 0:width]
    red = 255 * columns // max(1, width - 1)
    green = 255 * rows // max(1, height - 1)
    blue = np.full_like(red, (index * 37) % 256)
    image = np.stack([red, green, blue], axis=-1).astype(np.uint8)
    bar = (index * 5) % width
    image[:, bar : bar + max(1, width // 16)] = 255
    return image


def frame(index: int, width: int, height: int, pix_fmt: str, tags: Tags | None = None) -> av.VideoFrame:
    """Draw frame `index` and convert it to `pix_fmt` with the matrix and range of `tags` (BT.601 limited if None)."""
    rgb = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24")
    matrix = {1: Colorspace.ITU709, 9: Colorspace.BT2020}.get(tags.matrix if tags else 6, Colorspace.ITU601)
    made = rgb.reformat(format=pix_fmt, dst_colorspace=matrix, dst_color_range=tags.range if tags else 0)
    if tags:
        made.colorspace, made.color_range = tags.matrix, tags.range
        made.color_primaries, made.color_trc = tags.primaries, tags.transfer
    return made


def constant(num_frames: int, rate: Fraction | int = RATE, start: Fraction | int = 0) -> tuple[Fraction, ...]:
    """Instants of `num_frames` frames at a constant `rate`, the first at `start` seconds."""
    return tuple(start + Fraction(index) / Fraction(rate) for index in range(num_frames))


def write_film(
    path: Path,
    *,
    times: Sequence[Fraction] | int = 24,
    rate: Fraction | int = RATE,
    time_base: Fraction | None = None,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    tags: Tags | None = None,
    sar: Fraction | None = None,
    rotation: int | None = None,
    sounds: Sequence[Sound] = (Sound(),),
    subtitles: Sequence[Subtitle] = (),
    chapters: Sequence[tuple[int, int, str]] = (),
    attachments: Sequence[tuple[str, str, bytes]] = (),
    cover: bool = False,
    metadata: dict[str, str] | None = None,
    video_metadata: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    file_format: str | None = None,
) -> Film:
    """Write one film; the container follows from the name of `path` unless `file_format` names it.

    Args:
        times: instants of the frames in seconds, or how many frames at a constant `rate`.
        time_base: of the video encoder; 1/rate when None. Every instant must be a whole number of it.
        rotation: degrees counter-clockwise, written as a display matrix.
        chapters: (start, end, title) in milliseconds.
        attachments: (file name, MIME type, content).
        cover: add a JPEG as attached picture.
    """
    instants = constant(times, rate) if isinstance(times, int) else tuple(times)
    width, height = size
    with av.open(
        str(path), "w", format=file_format, options={"fflags": "+bitexact", **(container_options or {})}
    ) as container:
        container.metadata.update(metadata or {})
        video = container.add_stream(codec, rate=rate, width=width, height=height, pix_fmt=pix_fmt)
        video.thread_count = 1  # the same bytes on every machine
        video.options = {**({"preset": "veryfast"} if codec == "libx264" else {}), **(options or {})}
        video.codec_context.time_base = time_base or 1 / Fraction(rate)
        video.metadata.update(video_metadata or {})
        if tags:
            video.codec_context.colorspace, video.codec_context.color_range = tags.matrix, tags.range
            video.codec_context.color_primaries, video.codec_context.color_trc = tags.primaries, tags.transfer
        if sar:
            video.codec_context.sample_aspect_ratio = sar
        if rotation is not None:
            video.set_display_rotation(rotation)
        sound_streams = [_add_sound(container, sound) for sound in sounds]
        subtitle_streams = [_add_subtitle(container, subtitle) for subtitle in subtitles]
        cover_stream = _add_cover(container) if cover else None
        for name, mimetype, content in attachments:
            container.add_attachment(name, mimetype, content)
        if chapters:
            container.set_chapters(
                [
                    {"id": n, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                    for n, (a, b, title) in enumerate(chapters)
                ]
            )
        container.start_encoding()
        if cover_stream is not None:
            _mux_cover(container, cover_stream)
        for subtitle, stream in zip(subtitles, subtitle_streams, strict=True):
            _mux_subtitle(container, stream, subtitle)
        for sound, stream in zip(sounds, sound_streams, strict=True):
            _mux_sound(container, stream, sound)
        tick = video.codec_context.time_base
        for index, instant in enumerate(instants):
            image = frame(index, width, height, pix_fmt, tags)
            ticks = instant / tick
            assert ticks.denominator == 1, f"{instant} s is no whole number of {tick}"
            image.pts, image.time_base = int(ticks), tick
            container.mux(video.encode(image))
        container.mux(video.encode(None))
    return Film(path, len(instants), instants, width, height)


def _add_sound(container: av.container.OutputContainer, sound: Sound) -> Any:
    stream = container.add_stream(sound.codec, rate=SAMPLE_RATE, layout="stereo")
    stream.metadata.update(sound.metadata)
    if sound.disposition:
        stream.disposition = sound.disposition
    return stream


def _mux_sound(container: av.container.OutputContainer, stream: Any, sound: Sound) -> None:
    num_samples = int(sound.seconds * SAMPLE_RATE)
    phase = 2 * np.pi * sound.pitch * np.arange(num_samples) / SAMPLE_RATE
    mono = (8000 * np.sin(phase)).astype(np.int16)
    block = 1024
    for first in range(0, num_samples, block):
        samples = np.repeat(mono[first : first + block], 2)[None]
        chunk = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        chunk.sample_rate, chunk.time_base = SAMPLE_RATE, Fraction(1, SAMPLE_RATE)
        chunk.pts = int(sound.start * SAMPLE_RATE) + first
        container.mux(stream.encode(chunk))
    container.mux(stream.encode(None))


def _add_subtitle(container: av.container.OutputContainer, subtitle: Subtitle) -> Any:
    if subtitle.codec in ("ass", "mov_text"):  # those two carry a header, which only the encoder knows to write
        stream = container.add_stream(subtitle.codec)
        stream.codec_context.subtitle_header = ASS_HEADER.encode()
    else:
        stream = container.add_mux_stream(subtitle.codec)
    stream.time_base = Fraction(1, 1000)
    stream.metadata.update(subtitle.metadata)
    if subtitle.disposition:
        stream.disposition = subtitle.disposition
    return stream


def _mux_subtitle(container: av.container.OutputContainer, stream: Any, subtitle: Subtitle) -> None:
    for order, (start, end, text) in enumerate(subtitle.lines):
        content = text.encode()
        if subtitle.codec == "mov_text":
            content = struct.pack(">H", len(content)) + content
        elif subtitle.codec == "ass":
            content = f"{order},0,Default,,0,0,0,,{text}".encode()
        packet = av.Packet(content)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = start
        packet.duration = end - start
        container.mux(packet)


def _add_cover(container: av.container.OutputContainer) -> Any:
    if container.format.name == "matroska":  # an attachment in Matroska, which the demuxer shows as attached picture
        container.add_attachment("cover.jpg", "image/jpeg", _cover_packet())
        return None
    stream = container.add_stream("mjpeg", rate=1, width=32, height=32, pix_fmt="yuvj420p")
    stream.disposition = av.stream.Disposition.attached_pic
    return stream


def _cover_packet() -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 32, 32, "yuvj420p", Fraction(1)
    image = frame(0, 32, 32, "yuvj420p")
    image.pts, image.time_base = 0, Fraction(1)
    (packet,) = [*encoder.encode(image), *encoder.encode(None)]
    return bytes(packet)


def _mux_cover(container: av.container.OutputContainer, stream: Any) -> None:
    packet = av.Packet(_cover_packet())
    packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1), 0, 0
    container.mux(packet)


# One trait each.


def plain(path: Path, **changes: Any) -> Film:
    """H.264 4:2:0 at a constant 24 frames/s with AAC stereo: the film every tool can read."""
    return write_film(path, **changes)


def variable_rate(path: Path, **changes: Any) -> Film:
    """Frames at uneven milliseconds, one tick apart and 700 ms apart: what phones and screen recorders write."""
    milliseconds = (0, 40, 41, 120, 200, 233, 300, 1000)
    times = [Fraction(value, 1000) for value in milliseconds]
    return write_film(path, times=times, time_base=Fraction(1, 1000), **changes)


def delayed_video(path: Path, **changes: Any) -> Film:
    """The first frame comes at 0.5 s, the sound at 0."""
    return write_film(path, times=constant(24, start=Fraction(1, 2)), sounds=[Sound(seconds=Fraction(3, 2))], **changes)


def delayed_sound(path: Path, **changes: Any) -> Film:
    """The sound comes at 0.25 s, the first frame at 0."""
    return write_film(path, sounds=[Sound(start=Fraction(1, 4), seconds=Fraction(3, 4))], **changes)


def b_frames(path: Path, **changes: Any) -> Film:
    """Three B-frames between references, always: packets come out of order and the decoder holds frames back."""
    return write_film(path, options={"preset": "medium", "bf": "3", "b-adapt": "0"}, **changes)


def ten_bit(path: Path, **changes: Any) -> Film:
    """H.264 with 10 bits a sample, tagged BT.709."""
    return write_film(path, **{"pix_fmt": "yuv420p10le", "tags": BT709, **changes})


def hdr10(path: Path, **changes: Any) -> Film:
    """HEVC Main 10, PQ, BT.2020, with mastering display and content light level (1000 nit, max-cll 1000,400)."""
    parameters = (
        f"log-level=none:pools=none:frame-threads=1:hdr10=1:repeat-headers=1:max-cll=1000,400:"
        f"master-display={MASTERING_DISPLAY}"
    )
    return write_film(
        path,
        **{
            "codec": "libx265",
            "pix_fmt": "yuv420p10le",
            "tags": HDR10,
            "options": {"preset": "ultrafast", "x265-params": parameters},
            "times": 8,
            **changes,
        },
    )


def hlg(path: Path, **changes: Any) -> Film:
    """H.264 with 10 bits, HLG, BT.2020."""
    return write_film(path, **{"pix_fmt": "yuv420p10le", "tags": HLG, **changes})


def rotated(path: Path, degrees: int = 90, **changes: Any) -> Film:
    """Signalled to be turned by `degrees` counter-clockwise (display matrix), as phones do."""
    return write_film(path, rotation=degrees, **changes)


def odd_size(path: Path, size: tuple[int, int] = (65, 49), **changes: Any) -> Film:
    """Odd width and height in 4:4:4, where H.264 may have them."""
    return write_film(path, size=size, **{"pix_fmt": "yuv444p", **changes})


def odd_size_420(path: Path, size: tuple[int, int] = (65, 49), **changes: Any) -> Film:
    """Odd width and height in 4:2:0 (VP9, which needs a .webm or .mkv): the last chroma sample covers half a pair."""
    return write_film(path, size=size, codec="libvpx-vp9", options=VPX, sounds=[Sound(codec="libopus")], **changes)


def silent(path: Path, **changes: Any) -> Film:
    """No audio stream at all."""
    return write_film(path, sounds=[], **changes)


def two_sounds(path: Path, **changes: Any) -> Film:
    """Two audio tracks: English, default; German commentary, titled."""
    english = Sound(metadata={"language": "eng", "title": "Original"}, disposition=av.stream.Disposition.default)
    german = Sound(
        pitch=660,
        metadata={"language": "ger", "title": "Kommentar"},
        disposition=av.stream.Disposition.comment,
    )
    return write_film(path, sounds=[english, german], **changes)


def subtitled(path: Path, **changes: Any) -> Film:
    """Every text subtitle that the container holds: mov_text in .mp4, SubRip + ASS + WebVTT in .mkv.

    The first is English and forced, the others are German.
    """
    codecs = ("mov_text",) if path.suffix in (".mp4", ".mov") else ("subrip", "ass", "webvtt")
    subtitles = [Subtitle(codec, metadata={"language": "ger", "title": codec}) for codec in codecs]
    forced = av.stream.Disposition.forced
    subtitles[0] = replace(subtitles[0], metadata={"language": "eng", "title": codecs[0]}, disposition=forced)
    return write_film(path, subtitles=subtitles, **changes)


def with_chapters(path: Path, **changes: Any) -> Film:
    """Two chapters of half a second, "One" and "Two", and a title of the whole."""
    return write_film(
        path, chapters=[(0, 500, "One"), (500, 1000, "Two")], metadata={"title": "A film in chapters"}, **changes
    )


def with_attachments(path: Path, **changes: Any) -> Film:
    """A font and a text attached (Matroska only)."""
    attachments = [
        ("Sans.ttf", "application/x-truetype-font", bytes(range(256)) * 4),
        ("note.txt", "text/plain", b"no font at all"),
    ]
    return write_film(path, attachments=attachments, **changes)


def with_cover(path: Path, **changes: Any) -> Film:
    """A JPEG of 32x32 as attached picture: a second video stream that is no film."""
    return write_film(path, cover=True, **changes)


def everything(path: Path, **changes: Any) -> Film:
    """Matroska with two audio tracks, three subtitles, chapters, attachments, cover and metadata."""
    kept = Subtitle("subrip", metadata={"language": "eng"})
    styled = Subtitle("ass", metadata={"language": "ger"})
    return write_film(
        path,
        sounds=[Sound(metadata={"language": "eng"}), Sound(pitch=660, metadata={"language": "ger", "title": "B"})],
        subtitles=[kept, styled, Subtitle("webvtt")],
        chapters=[(0, 500, "One"), (500, 1000, "Two")],
        attachments=[("Sans.ttf", "application/x-truetype-font", b"\0font" * 50)],
        cover=True,
        metadata={"title": "Everything", "comment": "kept"},
        **changes,
    )


def interlaced(path: Path, **changes: Any) -> Film:
    """H.264 flagged and coded interlaced, top field first."""
    return write_film(path, options={"x264-params": "tff=1"}, **changes)


def interlaced_mpeg2(path: Path, **changes: Any) -> Film:
    """MPEG-2 coded interlaced, as on DVDs and in broadcasts; sound in MP2."""
    return write_film(
        path,
        **{
            "codec": "mpeg2video",
            "options": {"flags": "+ilme+ildct"},
            "rate": 25,
            "sounds": [Sound(codec="mp2")],
            **changes,
        },
    )


def mpeg_ts(path: Path, **changes: Any) -> Film:
    """MPEG transport stream: 90 kHz clock, H.264 and AAC (name it .ts)."""
    return write_film(path, file_format="mpegts", **changes)


def late_clock(path: Path, hours: int = 12, **changes: Any) -> Film:
    """MPEG transport stream as a broadcaster sends it: the clock starts hours after zero (name it .ts)."""
    film = mpeg_ts(path, container_options={"output_ts_offset": str(hours * 3600)}, **changes)
    with av.open(str(path)) as container:
        first = min(packet.pts for packet in container.demux(video=0) if packet.pts is not None)
    return replace(film, times=tuple(time + Fraction(first, 90000) for time in film.times))


def joined(path: Path, hours: tuple[int, int] = (0, 0), **changes: Any) -> Film:
    """Two MPEG transport streams end to end: the clock runs for 12 s, then starts again (name it .ts).

    `hours` is where the clock of each starts.
    `Film.times` are those of the file, which restart.
    """
    parts = []
    for number, (num_frames, seconds) in enumerate(((12 * RATE, 12), (RATE, 1))):
        part = path.with_name(f"{path.stem}.{number}.ts")
        sounds, offset = [Sound(seconds=Fraction(seconds))], {"output_ts_offset": str(hours[number] * 3600)}
        parts.append(mpeg_ts(part, times=num_frames, sounds=sounds, container_options=offset, **changes))
    path.write_bytes(b"".join(part.path.read_bytes() for part in parts))
    for part in parts:
        part.path.unlink()
    return replace(parts[0], path=path, num_frames=13 * RATE, times=parts[0].times + parts[1].times)


SHORT_PROBE = {"probesize": "20000", "analyzeduration": "100000", "duration_probesize": "10000"}


def late_stream(path: Path) -> Film:
    """MPEG transport stream with sound in the middle third only, which SHORT_PROBE does not see (name it .ts)."""
    parts = []
    for number, sounds in enumerate(([], [Sound(start=Fraction(4))], [])):
        part = path.with_name(f"{path.stem}.{number}.ts")
        times = constant(4 * RATE, start=Fraction(4 * number))
        parts.append(mpeg_ts(part, times=times, sounds=sounds, options={"qp": "5", "bf": "0"}))
    path.write_bytes(b"".join(part.path.read_bytes() for part in parts))
    for part in parts:
        part.path.unlink()
    return replace(parts[0], path=path, num_frames=12 * RATE, times=constant(12 * RATE))


def two_programs(path: Path) -> Film:
    """MPEG transport stream of two programs with clocks of their own, ten hours apart (name it .ts).

    `Film` is the first of them.
    """
    parts = []
    for number, hours in enumerate((10, 0)):
        part = path.with_name(f"{path.stem}.{number}.ts")
        layout = {
            "output_ts_offset": str(hours * 3600),
            "mpegts_start_pid": str(0x100 * (number + 1)),
            "mpegts_pmt_start_pid": str(0x1000 + 16 * number),
            "mpegts_service_id": str(number + 1),
        }
        parts.append(mpeg_ts(part, codec="mpeg2video", rate=25, times=50, sounds=[], container_options=layout))
    table = bytes.fromhex("00b0110001c10000 0001f000 0002f010")
    table += _mpeg_crc(table)
    head = (b"\x47\x40\x00\x10\x00" + table).ljust(188, b"\xff")
    packets = [_ts_packets(part.path) for part in parts]
    mixed = [packet for pair in zip_longest(*packets, fillvalue=b"") for packet in pair]
    path.write_bytes(head + b"".join(mixed))
    for part in parts:
        part.path.unlink()
    return replace(parts[0], path=path)


def _ts_packets(path: Path) -> list[bytes]:
    """All packets but those that list the programs (PID 0) and describe them (PID 17)."""
    content = path.read_bytes()
    packets = [content[first : first + 188] for first in range(0, len(content), 188)]
    return [packet for packet in packets if int.from_bytes(packet[1:3], "big") & 0x1FFF not in (0, 17)]


def _mpeg_crc(content: bytes) -> bytes:
    """CRC-32/MPEG-2 (ISO/IEC 13818-1, annex A)."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc.to_bytes(4, "big")


def mpeg_ps(path: Path, **changes: Any) -> Film:
    """MPEG program stream: MPEG-2 and MP2, time stamps that start anywhere (name it .mpg)."""
    return write_film(path, file_format="mpeg", codec="mpeg2video", rate=25, sounds=[Sound(codec="mp2")], **changes)


def avi(path: Path, **changes: Any) -> Film:
    """AVI: MPEG-4 part 2 and PCM; time is the packet's number (name it .avi)."""
    return write_film(path, codec="mpeg4", sounds=[Sound(codec="pcm_s16le")], **changes)


def avi_b_frames(path: Path, **changes: Any) -> Film:
    """H.264 with B-frames in AVI, which stores no PTS: FFmpeg guesses them, and guesses wrong (name it .avi).

    The pictures come out in order, their time stamps do not; `Film.times` states what was meant.
    """
    return b_frames(path, sounds=[Sound(codec="pcm_s16le")], **changes)


def webm(path: Path, codec: str = "libvpx-vp9", **changes: Any) -> Film:
    """WebM: VP9 (or `codec` libvpx) and Opus (name it .webm)."""
    return write_film(path, codec=codec, options=VPX, sounds=[Sound(codec="libopus")], **changes)


def mov_pcm(path: Path, **changes: Any) -> Film:
    """QuickTime: ProRes 4:2:2 with 10 bits and PCM sound (name it .mov)."""
    return write_film(
        path,
        **{
            "codec": "prores_ks",
            "pix_fmt": "yuv422p10le",
            "options": {"profile": "proxy"},
            "sounds": [Sound(codec="pcm_s16le")],
            "times": 8,
            **changes,
        },
    )


def wide_pixels(path: Path, sar: Fraction = Fraction(8, 9), **changes: Any) -> Film:
    """Pixels that are no squares: sample aspect ratio 8:9, as of NTSC DVDs."""
    return write_film(path, sar=sar, **changes)


def tagged(path: Path, tags: Tags, **changes: Any) -> Film:
    """Signalled colours, and pixels converted by them."""
    return write_film(path, tags=tags, **changes)


def one_frame(path: Path, **changes: Any) -> Film:
    """One frame, no sound."""
    return write_film(path, times=1, sounds=[], **changes)


def tiny(path: Path, size: tuple[int, int] = (1, 1), pix_fmt: str = "yuv420p", **changes: Any) -> Film:
    """A pixel or few, lossless in FFV1, three frames, no sound (name it .mkv).

    FFV1 cuts pictures into slices by default, and refuses sizes that leave a slice empty.
    """
    options = {"level": "3", "slices": "1"}
    return write_film(path, times=3, size=size, codec="ffv1", pix_fmt=pix_fmt, options=options, sounds=[], **changes)


def long_sound(path: Path, **changes: Any) -> Film:
    """Two seconds of sound over one second of pictures."""
    return write_film(path, sounds=[Sound(seconds=Fraction(2))], **changes)


def no_duration(path: Path, **changes: Any) -> Film:
    """WebM as a live stream is recorded: no duration, no index, no frame count (name it .webm)."""
    return webm(path, container_options={"live": "1"}, **changes)


def edit_list(path: Path, num_hidden: int = 6, **changes: Any) -> Film:
    """MP4 cut without re-encoding: `num_hidden` frames are stored before time zero, and an edit list hides them.

    `Film.num_frames` and `times` are those of the frames shown; sound starts at zero.
    """
    stored = constant(24 + num_hidden, start=Fraction(-num_hidden, RATE))
    film = write_film(path, times=stored, container_options={"avoid_negative_ts": "disabled"}, **changes)
    return replace(film, num_frames=24, times=film.times[num_hidden:])


def hidden_reference(path: Path, index: int = 5) -> Film:
    """VP8 whose packet `index` is a frame that is never shown, only referred to, as good encoders write them."""
    film = write_film(path, codec="libvpx", options=VPX, sounds=[])
    content = bytearray(path.read_bytes())
    content[_video_packets(path, content)[index].start] &= ~0x10  # show_frame (RFC 6386, section 9.1)
    path.write_bytes(bytes(content))
    shown = [time for number, time in enumerate(film.times) if number != index]
    return replace(film, num_frames=len(shown), times=tuple(shown))


def repeated_times(path: Path) -> Film:
    """Matroska with MJPEG whose time stamps stand still once and run back once: 0, 40, 80, 80, 120, 100, 200 ms."""
    milliseconds = (0, 40, 80, 80, 120, 100, 200)
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "yuvj420p", Fraction(1, 25)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_mux_stream("mjpeg", rate=25, width=64, height=48)
        for index, value in enumerate(milliseconds):
            image = frame(index, 64, 48, "yuvj420p")
            image.pts, image.time_base = index, Fraction(1, 25)
            (packet,) = encoder.encode(image)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts, packet.dts = value, 0
            container.mux(packet)
    return Film(path, len(milliseconds), tuple(Fraction(value, 1000) for value in milliseconds), 64, 48)


def changing_size(path: Path, sizes: tuple[tuple[int, int], tuple[int, int]] = ((64, 48), (96, 64))) -> Film:
    """MPEG-TS whose frames change size half way, as broadcasts do between programmes. `Film` states the first size."""
    halves = []
    for number, size in enumerate(sizes):
        half = path.with_name(f"{path.stem}.{number}.ts")
        times = constant(12, start=Fraction(number * 12, RATE))
        halves.append(mpeg_ts(half, size=size, sounds=[], times=times, options={"bf": "0"}))
    path.write_bytes(b"".join(half.path.read_bytes() for half in halves))
    for half in halves:
        half.path.unlink()
    return replace(halves[0], path=path, num_frames=24, times=halves[0].times + halves[1].times)


# Damage.


def truncated(path: Path, make: Callable[..., Film] = plain, keep: float = 0.6, **changes: Any) -> Film:
    """The first `keep` of a film's bytes: a download that broke off. MP4 with its index in front.

    `Film.num_frames` is what was in the whole; fewer can be read.
    """
    if path.suffix in (".mp4", ".mov"):
        changes["container_options"] = {"movflags": "+faststart"}
    film = make(path, **changes)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return film


def headless(path: Path) -> Film:
    """MP4 whose index (at the end) was never written: a recording that was cut off by a crash. Does not open."""
    film = plain(path)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"moov") - 4])
    return film


def corrupt(path: Path, packets: Sequence[int] = (10, 11), **changes: Any) -> Film:
    """Some video packets overwritten from their length field on, so that just those packets do not decode.

    Every frame is coded for itself (no prediction), therefore exactly `len(packets)` frames are lost. .mp4 or .mkv.
    """
    film = write_film(path, options={"g": "1", "bf": "0"}, **changes)
    content = bytearray(path.read_bytes())
    places = _video_packets(path, content)
    for index in packets:
        content[places[index].start : places[index].stop] = b"\xff" * len(places[index])
    path.write_bytes(bytes(content))
    return film


def noisy(path: Path, num_bytes: int = 40, seed: int = 1, **changes: Any) -> Film:
    """Random bytes of the later video packets overwritten: a bad disk. What decodes is up to the decoder."""
    film = write_film(path, **changes)
    content = bytearray(path.read_bytes())
    places = _video_packets(path, content)[4:]
    generator = random.Random(seed)
    for _ in range(num_bytes):
        content[generator.choice(generator.choice(places))] = generator.randrange(256)
    path.write_bytes(bytes(content))
    return film


def _video_packets(path: Path, content: bytes | bytearray) -> list[range]:
    """Byte ranges of the video packets in `content` (packet.pos of a Matroska film points before the payload)."""
    with av.open(str(path)) as container:
        payloads = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    starts = [content.index(payload) for payload in payloads]
    return [range(start, start + len(payload)) for start, payload in zip(starts, payloads, strict=True)]


def foreign_letters(path: Path) -> Film:
    """A title in Latin-1 ("Café"), where the container promises UTF-8: old taggers did that."""
    film = write_film(path, metadata={"title": "Cafe!"})
    content = path.read_bytes()
    assert content.count(b"Cafe!") == 1
    path.write_bytes(content.replace(b"Cafe!", b"Caf\xe9!"))
    return film


def no_video(path: Path) -> Path:
    """Sound and nothing else."""
    with av.open(str(path), "w") as container:
        sound = Sound()
        _mux_sound(container, _add_sound(container, sound), sound)
    return path
