"""One clock for a film whose own clock jumps or starts late: broadcast recordings and joined transport streams.

MPEG transport and program streams may restart their clock in the middle. Every packet is looked at in file order;
a jump shifts everything after it so that time goes on. Two readers of the same file come to the same shifts, and so
sound stays with picture. Streams of another program, whose clock is another, decide about nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

__all__ = ["FOREIGN_CLOCK", "LATE_START", "Continuity", "find_foreign", "has_jumping_clock"]

# Streams are interleaved loosely and pictures are reordered; nothing sound goes back further than this.
JUMP_SECONDS = Fraction(10)
# Ahead there may be true gaps, such as lost reception or a slide show; no film stands still for this long. A clock
# that jumps back further than its first packet comes ahead too, for FFmpeg takes it for an overflow of its 33 bits.
LEAP_SECONDS = Fraction(60)
# Muxers start their clock within seconds; one that starts later is the clock of a broadcaster (up to 26.5 hours).
LATE_START = Fraction(60)
# Streams of one program start together; one that starts this far off belongs to another, with another clock.
FOREIGN_CLOCK = Fraction(60)
FORMATS_WITH_JUMPS = ("mpegts", "mpeg")


def has_jumping_clock(container: Any) -> bool:
    """True for the formats whose clock may start anywhere and restart in the middle."""
    return container.format.name in FORMATS_WITH_JUMPS


def find_foreign(container: Any, main: int | None = None) -> frozenset[int]:
    """Indices of the streams whose clock is not that of the main stream (of another program of a transport stream).

    Args:
        main: index of the main stream; None: the first film.
    """
    if container.format.name != "mpegts":
        return frozenset()
    starts = {s.index: s.start_time * s.time_base for s in container.streams if s.start_time is not None}
    if main is None:
        main = next((stream.index for stream in container.streams if stream.type == "video"), None)
    if main not in starts:
        return frozenset()
    # Subtitles and data may well begin late, on the same clock.
    steady = {stream.index for stream in container.streams if stream.type in ("video", "audio")}
    return frozenset(i for i in steady & set(starts) if abs(starts[i] - starts[main]) > FOREIGN_CLOCK)


@dataclass(slots=True)
class Continuity:
    """Follows the decoding times of packets in file order.

    Args:
        needed: False for formats whose clock cannot jump; then nothing but `shift_all` is added.
        shift_all: seconds added to all times from the beginning on (`VideoInfo.clock_shift`).
        foreign: indices of streams with another clock (`find_foreign`); they get the shift in force.
    """

    needed: bool
    shift_all: Fraction = Fraction(0)
    foreign: frozenset[int] = frozenset()
    num_jumps: int = 0
    _offset: Fraction = field(init=False, repr=False)
    _offset_before: Fraction | None = field(default=None, repr=False)
    _joint: Fraction = field(default=Fraction(0), repr=False)
    _latest: Fraction | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._offset = self.shift_all

    @classmethod
    def of(cls, container: Any, shift_all: Fraction = Fraction(0), main: int | None = None) -> Continuity:
        """For an open container, whose main stream has the index `main` (None: the first film)."""
        return cls(has_jumping_clock(container), shift_all, find_foreign(container, main))

    def offset(self, packet: Any) -> Fraction:
        """Seconds to add to the times of this packet."""
        if not self.needed or packet.dts is None or not packet.size or packet.stream_index in self.foreign:
            return self._offset
        raw = packet.dts * packet.time_base
        time = raw + self._offset
        if self._latest is not None:
            if self._is_straggler(raw, time):
                # The last packet of another stream from before the jump, which the demuxer gave out late.
                assert self._offset_before is not None
                return self._offset_before
            if self._is_jump(time, packet):
                self.num_jumps += 1
                self._offset_before, self._joint = self._offset, self._latest
                self._offset += self._latest - time
                time = self._latest
        end = time + (packet.duration or 0) * packet.time_base
        self._latest = end if self._latest is None else max(self._latest, end)
        return self._offset

    def _is_jump(self, time: Fraction, packet: Any) -> bool:
        assert self._latest is not None
        if time < self._latest - JUMP_SECONDS:
            return True
        # Subtitles and data are sparse: one may well come long after all else.
        return time > self._latest + LEAP_SECONDS and packet.stream.type in ("video", "audio")

    def _is_straggler(self, raw: Fraction, time: Fraction) -> bool:
        if self._offset_before is None or self._latest is None or abs(time - self._latest) <= JUMP_SECONDS:
            return False
        is_fresh = self._latest <= self._joint + JUMP_SECONDS
        return is_fresh and abs(raw + self._offset_before - self._joint) <= JUMP_SECONDS

    @staticmethod
    def shift(packet: Any, offset: Fraction) -> None:
        """Move the times of `packet` by `offset` seconds, to the nearest tick."""
        if not offset or not packet.time_base:
            return
        ticks = round(offset / packet.time_base)
        if packet.pts is not None:
            packet.pts += ticks
        if packet.dts is not None:
            packet.dts += ticks
