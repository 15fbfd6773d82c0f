"""The packets of a film's main stream, on one clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av

from vsr.video.continuity import Continuity
from vsr.video.damage import Damage
from vsr.video.probe import VideoInfo
from vsr.video.source import demux_known

__all__ = ["demux_main", "skip_to_key_frame", "states_presentation_times", "time_of"]

# Containers that store presentation times. In the others (AVI, raw streams) FFmpeg guesses them from decoding
# times and gets them wrong around B-frames, while the decoder knows the order of the pictures.
FORMATS_WITH_PTS = frozenset(("mov", "matroska", "mpegts", "mpeg", "flv", "asf", "nut", "ogg"))

# Packets kept while looking for the start of a part; a longer group of pictures is decoded from its middle.
MAX_GROUP_PACKETS = 4000


def states_presentation_times(info: VideoInfo) -> bool:
    """False where the container stores decoding times only."""
    return not info.formats.isdisjoint(FORMATS_WITH_PTS)


def demux_main(info: VideoInfo, container: Any, damage: Damage) -> Iterator[Any]:
    """Packets of the main stream in file order, on the film's one clock, whatever the file does.

    Jumps of the clock, late streams and an early end are told in `damage`.
    """
    stream = container.streams[info.main]
    continuity = Continuity.of(container, info.clock_shift, info.main)

    def note_late_streams() -> None:
        damage.late_streams = True

    packets = demux_known(container, None if continuity.needed else stream, note_late_streams)
    try:
        for packet in packets:
            offset = continuity.offset(packet)
            # PyAV ends every stream with an empty packet; its `stream_index` is not to be trusted.
            if not packet.size or packet.stream_index != stream.index:
                continue
            continuity.shift(packet, offset)
            yield packet
    except av.error.FFmpegError as exc:
        damage.read_error = str(exc.strerror)
    damage.clock_jumps = continuity.num_jumps
    # Where two streams were joined, the demuxer marks a packet whose number does not follow.
    damage.corrupt_packets = max(0, damage.corrupt_packets - continuity.num_jumps)


def skip_to_key_frame(packets: Iterable[Any], start: Fraction | None) -> Iterator[Any]:
    """Leave out the packets before the last key frame that does not lie behind `start` (seconds; None: keep all)."""
    group: deque[Any] = deque(maxlen=MAX_GROUP_PACKETS)
    is_reached = start is None
    for packet in packets:
        if is_reached:
            yield packet
            continue
        time = time_of(packet, packet.time_base)
        is_reached = time is not None and start is not None and time >= start
        if packet.is_keyframe and time is not None and (not is_reached or time == start):
            group.clear()
        group.append(packet)
        if is_reached:
            yield from group
            group.clear()
    yield from group


def time_of(item: Any, time_base: Fraction) -> Fraction | None:
    """Seconds of a packet or frame, by its decoding time where it has no other."""
    # The frames that a decoder gives up last have no time base.
    ticks = item.pts if item.pts is not None else item.dts
    return None if ticks is None else ticks * time_base
