"""One copied stream of an output, and the tally that the finished file is held to."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from vsr.video.containers import StreamPlan
from vsr.video.readback import WrittenStream
from vsr.video.subtitles import Flattener
from vsr.video.timing import rescale

__all__ = ["CopiedStream", "PacketTimes", "is_gap"]


@dataclass(slots=True)
class PacketTimes:
    """Presentation times in ticks: the first, and the CRC-32 of the distances of all from it (as 64-bit numbers).

    `first` is None before the first packet, `known` False if one had no time.
    """

    first: int | None = None
    checksum: int = 0
    known: bool = True

    def add(self, pts: int | None) -> None:
        if pts is None:
            self.known = False
            return
        if self.first is None:
            self.first = pts
        self.checksum = zlib.crc32((pts - self.first).to_bytes(8, "little", signed=True), self.checksum)


@dataclass(slots=True)
class CopiedStream:
    """One copied stream of the output and the tally of what went into it.

    Attributes:
        index: of the stream in the output.
        flattener: for a coding with one text at a time; None elsewhere.
        num_packets, checksum: packets written, and the CRC-32 of their bytes in a row.
        exact: False where the container demands another framing of the same data (ADTS, Annex B).
        increasing: True where the muxer wants decoding times that increase, False where equal ones will do.
        times: of the packets written, in ticks of `time_base`.
        repaired: packets that had to be moved in time, by a tick of the source or more.
        num_muxed: packets handed to the muxer, gaps included.
        num_waited: packets of a copied film left out at the start of a part, for want of a key frame.
    """

    plan: StreamPlan
    output: Any
    index: int
    exact: bool
    increasing: bool = True
    flattener: Flattener | None = None
    num_packets: int = 0
    checksum: int = 0
    times: PacketTimes = field(default_factory=PacketTimes)
    repaired: int = 0
    num_muxed: int = 0
    num_waited: int = 0
    _last_dts: int | None = field(default=None, repr=False)
    _last_duration: int = field(default=0, repr=False)

    def count(self, packet: Any) -> None:
        """Add one packet, as it is handed to the muxer, to the tally."""
        payload = bytes(packet)
        self.num_muxed += 1
        if not is_gap(self.output, payload):
            self.num_packets += 1
            self.checksum = zlib.crc32(payload, self.checksum)
            self.times.add(packet.pts)

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of `times`; settled once the header is written."""
        return Fraction(self.output.time_base or 1)

    @property
    def num_moved(self) -> int:
        """Packets and texts that are not at the time that the source states."""
        return self.repaired + (0 if self.flattener is None else self.flattener.num_moved)

    @property
    def written(self) -> WrittenStream:
        """What `match_streams` needs to find this stream in the finished file."""
        return WrittenStream(self.index, self.plan.stream.kind == "cover", not self.num_muxed)

    def order(self, packet: Any) -> None:
        """Give `packet` times in the output's ticks in an order that the muxer takes; sound ones stay as they are."""
        target, source = self.time_base, packet.time_base
        packet.pts, packet.dts, packet.duration = (
            None if ticks is None else rescale(ticks, source, target)
            for ticks in (packet.pts, packet.dts, packet.duration)
        )
        packet.time_base = target
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.dts is None:
            packet.dts = packet.pts = 0 if self._last_dts is None else self._last_dts + max(1, self._last_duration)
        wanted = packet.dts if packet.pts is None else packet.pts
        if self._last_dts is not None:
            packet.dts = max(packet.dts, self._last_dts + self.increasing)
        packet.pts = max(wanted, packet.dts)
        self.repaired += (packet.pts - wanted) * target >= source
        self._last_dts, self._last_duration = packet.dts, packet.duration or 0


def is_gap(stream: Any, payload: bytes) -> bool:
    """True for the empty packets with which MP4 text tracks fill time: muxers add and remove them at will."""
    return stream.type == "subtitle" and payload == b"\0\0"
