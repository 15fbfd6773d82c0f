"""Every real clip goes through, or is refused with a message that is right; checked against PyAV's own reading.

The clips stand outside the repository (see the fixture `material`). Each is run whole where it is small, and for its
first frames where it is long or large.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

import vsr
from vsr.settings import Settings
from vsr.video.probe import probe, read_display_matrix
from vsr.video.source import open_film

ROOT = Path(__file__).resolve().parent.parent
CLIPS = Path(os.environ.get("VSR_MATERIAL") or ROOT.parent / "shared" / "material") / "clips"
FOUND = sorted(path for path in CLIPS.glob("*/*") if path.is_file())

# Clips that must be refused, and the word that the message must hold.
REFUSED = {
    "full_blocks.mkv": "no video stream",
    "sample_dts_hd_ma.mp4": "no video stream",
    "invalid-bitstream.webm": "can be decoded",
    "keyed.mp4": "can be decoded",
    "sample_fragmented_sideloaded_track.mp4": "not a film",
    "video_dovi_3840x2160_30fps_dav1_10.mp4": "cannot decode",
    "sample_with_vtt_subtitles.mkv": "--drop 2",
}
DAMAGED = {"sample_with_invalid_nalu.mp4", "corrupted.mp4"}
REPAIRED = {"sample_with_fake_auxiliary_tracks.mp4", "frame0123.m4v"}

PIXELS_PER_CLIP = 6_000_000  # of source pictures; longer or larger clips are cut to that


@dataclass
class Stream:
    """One stream as PyAV reads it."""

    kind: str
    codec: str
    num_packets: int = 0
    checksum: int = 0
    times: list[Fraction] = field(default_factory=list)


@dataclass
class Reading:
    """A film as PyAV reads it, without any code of vsr's reader."""

    times: list[Fraction]
    first: Any
    sar: Fraction | None
    streams: list[Stream]
    chapters: list[tuple[Fraction, Fraction]]
    attachments: list[bytes]


def read(path: Path, main: int, until: Fraction | None = None) -> Reading:
    """Times before `until` (all where it is None), everything else of the whole film."""
    with open_film(path) as container:
        times: list[Fraction] = []
        first: Any = None
        for frame in decode(container, container.streams[main]):
            first = first or frame
            times.append(frame.pts * frame.time_base)
            # Times may come out of order, but not by as much as a second.
            if until is not None and times[-1] > until + 1:
                break
        sar = container.streams[main].sample_aspect_ratio or None
        chapters = [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in container.chapters()]
        attachments = [stream.data for stream in container.streams.attachments]
    streams: dict[int, Stream] = {}
    with open_film(path) as container:
        for packet in container.demux():
            if not packet.size or (packet.stream.type == "subtitle" and bytes(packet) == b"\0\0"):
                continue
            context = packet.stream.codec_context
            name = context.codec.canonical_name if context else "unknown"
            stream = streams.setdefault(packet.stream_index, Stream(packet.stream.type, name))
            stream.num_packets += 1
            stream.checksum = zlib.crc32(bytes(packet), stream.checksum)
            stream.times.append((packet.pts or 0) * packet.time_base)
    return Reading(
        times=times,
        first=first,
        sar=sar,
        streams=[streams[index] for index in sorted(streams) if index != main],
        chapters=chapters,
        attachments=attachments,
    )


def decode(container: Any, stream: Any) -> Iterator[Any]:
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            continue


def test_there_are_clips(material: Path) -> None:
    assert len(list((material / "clips").glob("*/*"))) >= 100


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import networks

    weights = networks.write_compact(
        tmp_path_factory.mktemp("weights") / "tiny-x2.safetensors", scale=2, num_features=4, num_conv=0
    )
    return vsr.make_upscaler(Settings(model=str(weights)))


@pytest.mark.parametrize("clip", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_clip(clip: Path, tmp_path: Path, upscaler: Any) -> None:
    if clip.name in REFUSED:
        with pytest.raises(vsr.VsrError) as caught:
            vsr.upscale(clip, tmp_path, settings=Settings(), upscaler=upscaler)
        assert REFUSED[clip.name] in str(caught.value)
        assert list(tmp_path.iterdir()) == []
        return
    info = probe(clip)
    most = max(2, PIXELS_PER_CLIP // (info.width * info.height))
    duration = None
    if info.num_frames is None or info.num_frames > most:
        late = max(Fraction(0), (info.main_stream.start or info.start) - info.start)  # a picture that begins later
        duration = late + Fraction(most) / (info.frame_rate or 25)
    settings = Settings(duration=duration, encoder_preset="ultrafast")
    report = vsr.upscale(clip, tmp_path, settings=settings, upscaler=upscaler)
    output = Path(report.output)
    source = read(clip, info.main, None if duration is None else info.start + duration)
    result = read(output, find_main(output, report))
    check_pictures(clip, info, source, result, duration)
    if duration is None:
        check_streams(report, source, result)
        assert [start for start, _ in result.chapters] == [start for start, _ in source.chapters]
    assert [data for data in source.attachments if data not in result.attachments] == []
    if duration is None or report.damaged:
        assert report.damaged == (clip.name in DAMAGED)


def find_main(path: Path, report: vsr.Report) -> int:
    with open_film(path) as container:
        sizes = [(s.index, (s.codec_context.width, s.codec_context.height)) for s in container.streams.video]
    return next(index for index, size in sizes if size == tuple(report.size_out))


def check_pictures(
    clip: Path, info: vsr.VideoInfo, source: Reading, result: Reading, duration: Fraction | None
) -> None:
    wanted = sorted(source.times)
    if duration is not None:
        wanted = [time for time in wanted if time < info.start + duration]
    assert len(result.times) == len(wanted)
    if clip.name not in REPAIRED:
        assert sorted(result.times) == wanted
    assert result.times == sorted(set(result.times)), "strictly increasing"
    before, after = source.first, result.first
    assert (after.width, after.height) == (2 * before.width, 2 * before.height)
    assert result.sar in (source.sar, *((None, Fraction(1)) if source.sar in (None, Fraction(1)) else ()))
    assert read_display_matrix(after) == read_display_matrix(before)
    depth = max(component.bits for component in before.format.components)
    assert max(component.bits for component in after.format.components) >= min(depth, 10)
    assert int(after.color_trc) == int(before.color_trc)
    assert int(after.color_primaries) == int(before.color_primaries)
    if int(before.colorspace) not in (0, 2):
        assert int(after.colorspace) == int(before.colorspace)
    else:
        assert int(after.colorspace) in (1, 5, 6), "what is not signalled is decided, and written"
    is_full = before.format.name.startswith("yuvj") or int(before.color_range) == 2
    assert int(after.color_range) == (2 if is_full else 1)
    assert not after.interlaced_frame


def check_streams(report: vsr.Report, source: Reading, result: Reading) -> None:
    dropped = [stream for stream in report.streams if stream["action"] == "drop"]
    assert all(stream["kind"] == "data" for stream in dropped), "only data that no container holds may go"
    covers = [s for s in source.streams if s.kind == "video" and s.codec in ("mjpeg", "png")]
    wanted = [s for s in source.streams if s not in covers]
    found = [s for s in result.streams if not (s.kind == "video" and s.codec in ("mjpeg", "png"))]
    if dropped:
        wanted = [s for s in wanted if s.kind != "data"]
    if len(wanted) < len(found):  # MP4 and MOV write a timecode track for a film that states where its tape began
        found = [s for s in found if s.kind != "data"]
    # MP4 has one number for MPEG audio of layers II and III.
    layers = {"mp2": "mp3"} if Path(report.output).suffix == ".mp4" else {}
    assert [(s.kind, s.codec) for s in found] == [(s.kind, layers.get(s.codec, s.codec)) for s in wanted]
    for before, after in zip(wanted, found, strict=True):
        assert after.checksum == before.checksum, f"{before.kind} packets, byte for byte"
        if not before.codec.startswith("pcm"):
            assert after.num_packets == before.num_packets
            # Matroska counts milliseconds; a stream never moves by more than its container's tick.
            off = max(abs(a - b) for a, b in zip(before.times, after.times, strict=True))
            assert off <= Fraction(1, 1000), f"{before.kind} moved by {float(off)} s"
