"""What was wrong with a film, counted while it is read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

__all__ = ["Damage"]


@dataclass(slots=True)
class Damage:
    """What was wrong with the source, counted while reading.

    `cut_off` is for whoever reads the file to its end (`truncation.find_truncation`); the reader leaves it None.
    """

    undecodable_packets: int = 0
    corrupt_packets: int = 0
    corrupt_frames: int = 0
    read_error: str | None = None
    missing_timestamps: int = 0
    repaired_timestamps: int = 0
    clock_jumps: int = 0
    late_streams: bool = False
    cut_off: str | None = None

    def copy(self) -> Damage:
        """As it stands now."""
        return replace(self)

    def since(self, earlier: Damage) -> Damage:
        """What has been added to an `earlier` copy of this."""
        added: dict[str, Any] = {}
        for name, value in asdict(self).items():
            before = getattr(earlier, name)
            added[name] = value - before if type(value) is int else value if value != before else None
        added["late_streams"] = self.late_streams and not earlier.late_streams
        return Damage(**added)

    def add(self, other: Damage) -> None:
        """Count in what was wrong elsewhere in the film."""
        for field in fields(self):
            value, more = getattr(self, field.name), getattr(other, field.name)
            setattr(self, field.name, value + more if type(value) is int else value or more)

    def is_lossy(self) -> bool:
        """True if pictures may be missing or broken (repaired times are not)."""
        losses = (self.undecodable_packets, self.corrupt_packets, self.corrupt_frames, self.read_error, self.cut_off)
        return any(losses)

    def describe(self) -> list[str]:
        """The counts in words, worst first; empty for a sound film."""
        lines = []
        if self.read_error:
            lines.append(f"reading stopped early: {self.read_error}")
        if self.cut_off:
            lines.append(self.cut_off)
        if self.undecodable_packets:
            lines.append(f"{self.undecodable_packets} video packets could not be decoded")
        if self.corrupt_packets:
            lines.append(f"{self.corrupt_packets} video packets are marked as damaged")
        if self.corrupt_frames:
            lines.append(f"{self.corrupt_frames} frames were decoded with errors")
        if self.missing_timestamps:
            lines.append(f"{self.missing_timestamps} frames had no timestamp; given by the frame before")
        if self.repaired_timestamps:
            lines.append(
                f"{self.repaired_timestamps} timestamps did not increase; moved to just after the frame before"
            )
        if self.clock_jumps:
            lines.append(f"the film's clock jumps {self.clock_jumps} times; the parts were joined, sound alike")
        if self.late_streams:
            lines.append("streams that begin only in the middle of the file, too late to be found, are left out")
        return lines
