"""Which segments of a film are finished: one line of text for each, on the disk before anything relies on it."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from vsr.video.damage import Damage
from vsr.video.landmarks import Landmark, Span
from vsr.video.segment_encoder import name_segment
from vsr.video.segment_file import SegmentFile, flush_folder

__all__ = ["Entry", "Facts", "Journal", "is_misfit", "read_entries"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What was counted for the pictures of a segment; see `vsr.pipeline.compute.Tally`."""

    num_interlaced: int = 0
    num_reused: int = 0
    pixels_seen: int = 0
    pixels_computed: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished segment.

    Attributes:
        span: of the source, which it stands for.
        notes: what users should know of the frames up to here, each a sentence.
    """

    index: int
    file: SegmentFile
    span: Span
    facts: Facts
    notes: tuple[str, ...] = ()


class Journal:
    """The lines, and the file that holds them.

    A line that a power cut has left half written, and whatever comes behind it, is no part of it.

    Args:
        path: made if it is not there; the segments' files lie beside it.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a+b")  # noqa: SIM115 (closed by close)
        self.entries, end = _read_lines(path)
        self._file.truncate(end)
        flush_folder(path.parent)

    def record(self, entry: Entry) -> None:
        """Add a segment; when this returns, a power cut cannot take it away.

        Raises:
            OSError: the disk is full or broken.
        """
        self._file.write(_write_line(entry))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.entries[entry.index] = entry

    def forget_unusable(self) -> None:
        """Leave out entries whose files are not what was written, and those that begin where the one before ends, but
        with another picture: some films give others when they are entered in their midst."""
        for entry in self:
            if not entry.file.is_intact():
                del self.entries[entry.index]
        for one, later in pairwise(self):
            if is_misfit(one, later):
                del self.entries[later.index]

    def __iter__(self) -> Iterator[Entry]:
        """All entries in the order of the film."""
        return iter([self.entries[index] for index in sorted(self.entries)])

    def close(self) -> None:
        with suppress(OSError):  # what it still held back does not fit on the disk either
            self._file.close()


def is_misfit(one: Entry, later: Entry) -> bool:
    """Whether `later` takes over from `one` at its time, but not with the picture that was seen there."""
    return (
        one.span.after is not None and one.span.after.pts == later.span.first.pts and one.span.after != later.span.first
    )


def read_entries(path: Path) -> list[Entry]:
    """What a journal holds, in the order of the film, also while another process writes it; nothing if it is not there.

    Raises:
        OSError: it cannot be read.
    """
    try:
        entries, _ = _read_lines(path)
    except FileNotFoundError:
        return []
    return [entries[index] for index in sorted(entries)]


def _read_lines(path: Path) -> tuple[dict[int, Entry], int]:
    """The entries, and where the last good line ends."""
    entries: dict[int, Entry] = {}
    end = 0
    with open(path, "rb") as file:
        for line in file:
            entry = _read_line(line, path.parent)
            if entry is None:
                break
            entries[entry.index] = entry
            end += len(line)
    return entries, end


def _write_line(entry: Entry) -> bytes:
    span = entry.span
    text = json.dumps({
        "segment": entry.index,
        "frames": entry.file.num_frames, "size": entry.file.size, "crc": entry.file.checksum,
        "header": entry.file.header,
        "first": [span.first.pts, span.first.checksum],
        "after": None if span.after is None else [span.after.pts, span.after.checksum],
        "begins_film": span.begins_film,
        "damage": asdict(span.damage), "facts": asdict(entry.facts), "notes": entry.notes,
    }).encode()  # fmt: skip
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read_line(line: bytes, folder: Path) -> Entry | None:
    """None for what is no whole line."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    values: dict[str, Any] = json.loads(text)
    path = folder / name_segment(values["segment"])
    after = values["after"]
    return Entry(
        index=values["segment"],
        file=SegmentFile(path, values["frames"], values["size"], values["crc"], values["header"]),
        span=Span(
            Landmark(*values["first"]),
            None if after is None else Landmark(*after),
            values["begins_film"],
            Damage(**values["damage"]),
        ),
        facts=Facts(**values["facts"]),
        notes=tuple(values["notes"]),
    )
