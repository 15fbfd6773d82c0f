"""The finished file is read back, packet by packet, before it gets its name."""

from __future__ import annotations

import threading
import zlib
from array import array
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vsr.errors import Interrupted, VerificationError
from vsr.video.copied_stream import CopiedStream, PacketTimes, is_gap
from vsr.video.metadata import container_metadata, stream_metadata
from vsr.video.probe import StreamInfo, VideoInfo, describe_stream
from vsr.video.readback import WrittenStream, match_streams
from vsr.video.source import address
from vsr.video.timing import rescale

__all__ = ["find_lost_tags", "verify"]

# Containers write these in their own way; a difference in them is none in meaning.
_REWRITTEN_TAGS = ("creation_time", "handler_name", "location")
# Of these the first is compared apart, the others say how an attachment was stored.
_IGNORED_TAGS = {"language", "filename", "mimetype", "timecode"}
# The coarsest clock in which MP4 counts the delay of a stream (`container_options` asks for a finer one), in seconds.
DELAY_TICK = Fraction(1, 1000)
MATROSKA_TICK = Fraction(1, 1000)
_NO_DATES = ("1904-01-01", "1970-01-01")  # how zero reads


@dataclass(slots=True)
class _Found:
    num_packets: int = 0
    checksum: int = 0
    times: PacketTimes = field(default_factory=PacketTimes)
    time_base: Fraction = Fraction(1)


def verify(
    path: Path,
    name: str,
    main: int,
    stamps: Sequence[int],
    time_base: Fraction,
    copied: Sequence[CopiedStream],
    *,
    cancel: threading.Event | None = None,
) -> None:
    """Compare the file at `path` with what was handed to the muxer.

    Args:
        name: the final name, for messages.
        main: index of the upscaled stream in the output.
        stamps: presentation times of all frames written, in ticks of `time_base`, ascending.
        copied: tallies of the copied streams.
        cancel: set it from elsewhere to stop.

    Raises:
        VerificationError: a frame or packet is missing, is too many, or has another time or other bytes.
        Interrupted: `cancel` was set.
    """
    written = [WrittenStream(main), *(stream.written for stream in copied)]
    try:
        with av.open(address(path), metadata_errors="surrogateescape") as container:
            places = match_streams(container, written)
            if main not in places:
                raise VerificationError(f"{name!r} holds no video stream")
            found_stamps, found = _tally(container, places[main], cancel)
            target = Fraction(container.streams[places[main]].time_base or 1)
    except av.error.FFmpegError as exc:
        raise VerificationError(f"{name!r} cannot be read back after writing: {exc.strerror}") from exc
    _compare_frames(name, stamps, time_base, found_stamps, target)
    for stream in copied:
        tally = found.get(places.get(stream.index, -1), _Found())
        _compare(name, stream, tally)
        _compare_times(name, stream, tally)


def _compare_frames(
    name: str, stamps: Sequence[int], time_base: Fraction, found: Sequence[int], target: Fraction
) -> None:
    if len(found) != len(stamps):
        raise VerificationError(f"{name!r}: {len(stamps)} frames went in, {len(found)} are in the file")
    for number, (ticks, got) in enumerate(zip(stamps, found, strict=True)):
        wanted = rescale(ticks, time_base, target)
        if wanted != got:
            raise VerificationError(
                f"{name!r}: frame {number} should be shown at {float(wanted * target):.6f} s, "
                f"the file says {float(got * target):.6f} s"
            )


def _tally(container: Any, main: int, cancel: threading.Event | None) -> tuple[Sequence[int], dict[int, _Found]]:
    """The ascending times of stream `main`, and the sums of all others by their index."""
    stamps = array("q")  # a long film has millions: as Python's own numbers they would take gigabytes with the rest
    found: dict[int, _Found] = {}
    for packet in container.demux():
        if cancel is not None and cancel.is_set():
            raise Interrupted
        if not packet.size:
            continue
        if packet.stream_index == main:
            if packet.pts is not None:
                insort(stamps, packet.pts)  # cheap: pictures are coded a few places off their order of presentation
            continue
        payload = bytes(packet)
        if is_gap(packet.stream, payload):
            continue
        tally = found.setdefault(packet.stream_index, _Found())
        tally.num_packets += 1
        tally.checksum = zlib.crc32(payload, tally.checksum)
        tally.time_base = Fraction(packet.time_base)
        tally.times.add(packet.pts)
    return stamps, found


def _compare(name: str, stream: CopiedStream, found: _Found) -> None:
    what = _describe(name, stream)
    same_bytes = found.checksum == stream.checksum
    # Demuxers cut PCM and a few others into packets as they like: the bytes in a row are what counts.
    if stream.exact and not same_bytes:
        raise VerificationError(f"{what} has other bytes in the file than in the source")
    if not same_bytes and found.num_packets != stream.num_packets:
        raise VerificationError(f"{what}: {stream.num_packets} packets went in, {found.num_packets} are in the file")


def _compare_times(name: str, stream: CopiedStream, found: _Found) -> None:
    """Containers keep the distances between packets exactly, if not the start: MP4 rounds delays to its own clock."""
    wanted, got = stream.times, found.times
    if stream.plan.stream.kind == "cover" or wanted.first is None or got.first is None or not got.known:
        return
    if wanted.first < 0 and stream.time_base == MATROSKA_TICK:
        return  # Matroska has no times below zero: what it makes of those is its own affair
    starts = wanted.first * stream.time_base, got.first * found.time_base
    if abs(starts[0] - starts[1]) > max(stream.time_base, found.time_base, DELAY_TICK):
        raise VerificationError(
            f"{_describe(name, stream)} should start at {float(starts[0]):.6f} s, "
            f"the file says {float(starts[1]):.6f} s"
        )
    is_cut_alike = found.num_packets == stream.num_packets and found.time_base == stream.time_base
    if is_cut_alike and got.checksum != wanted.checksum:
        raise VerificationError(f"{_describe(name, stream)} has packets at other times in the file than in the source")


def _describe(name: str, stream: CopiedStream) -> str:
    return f"{name!r}: {stream.plan.stream.kind} stream #{stream.plan.stream.index}"


def find_lost_tags(info: VideoInfo, path: Path, main: int, copied: Sequence[CopiedStream]) -> list[str]:
    """What of the source's tags is not in the finished file: "tag 'x' of the film", "language of audio stream #2".

    Args:
        path: the finished file, under whatever name.
        main: index of the upscaled stream at the muxer.
    """
    written = [WrittenStream(main), *(stream.written for stream in copied)]
    with av.open(address(path), metadata_errors="surrogateescape") as container:
        tags = container_metadata(info)
        lost = [f"tag {key!r} of the film" for key in _missing_tags(tags, dict(container.metadata))]
        if len(info.chapters) and not container.chapters():
            lost.append("the chapters")
        places = match_streams(container, written)
        sources = {main: info.main_stream} | {stream.index: stream.plan.stream for stream in copied}
        for index, source in sources.items():
            if index in places:
                found = describe_stream(container.streams[places[index]])
                lost += [f"{what} of {source.kind} stream #{source.index}" for what in _missing_facts(source, found)]
        return lost


def _missing_tags(wanted: dict[str, str], found: dict[str, str]) -> list[str]:
    there = {key.lower(): value for key, value in found.items()}
    return [
        key
        for key, value in wanted.items()
        if key.lower() not in _IGNORED_TAGS
        and not value.startswith(_NO_DATES)
        and (key.lower() not in there or (there[key.lower()] != value and not key.lower().startswith(_REWRITTEN_TAGS)))
    ]


def _missing_facts(source: StreamInfo, found: StreamInfo) -> list[str]:
    facts = [f"tag {key!r}" for key in _missing_tags(stream_metadata(source), found.metadata)]
    if source.language not in (None, "und", found.language):
        facts.append("language")
    return facts + [f"mark {name!r}" for name in source.dispositions if name not in found.dispositions]
