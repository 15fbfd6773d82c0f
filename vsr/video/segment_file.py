"""The coded pictures of a segment in a file: packets one behind the other, each with its time, whatever the codec.

No container: those have clocks of their own, and what was 1001/30000 s in the film must come back as that.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vsr.errors import ProcessingError

__all__ = ["CodedPacket", "SegmentFile", "SegmentFileWriter", "flush_folder", "read_packets", "read_times"]

MAGIC = b"vsr segment 1\n"
# Presentation time and duration in ticks of the film's clock, size in bytes, 1 for a key frame.
HEAD = struct.Struct("<qqIB")
CHUNK = 1 << 20
# How file systems that cannot flush a folder say so (some network shares).
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class CodedPacket:
    """A coded picture. Times in ticks of the film's clock; packets of a segment come in decoding order."""

    pts: int
    duration: int
    is_key: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A finished file and what is known of it.

    Attributes:
        size, checksum: of the whole file; CRC-32.
        header: CRC-32 of the codec's headers that lie outside the packets, the same for all segments of a film.
    """

    path: Path
    num_frames: int
    size: int
    checksum: int
    header: int

    def is_intact(self) -> bool:
        """Whether the file is there with the bytes that were written; reads all of it."""
        try:
            if self.path.stat().st_size != self.size:
                return False
            with open(self.path, "rb") as file:
                checksum = 0
                while chunk := file.read(CHUNK):
                    checksum = zlib.crc32(chunk, checksum)
        except OSError:
            return False
        return checksum == self.checksum


class SegmentFileWriter:
    """Writes packets under a temporary name; `finish` gives the file its own, safe from a power cut.

    Raises:
        OSError: whatever the disk says, from every method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Two processes may write the same segment (a lost worker that was not dead): each under a name of its own.
        self._temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        self._file: BinaryIO = open(self._temporary, "wb")  # noqa: SIM115 (closed by finish or discard)
        self._size = self._checksum = self._num_frames = 0
        self._write(MAGIC)

    def add(self, packet: Any) -> None:
        """Append a PyAV packet."""
        data = bytes(packet)
        self._write(HEAD.pack(packet.pts, packet.duration or 0, len(data), packet.is_keyframe))
        self._write(data)
        self._num_frames += 1

    def finish(self, codec_header: bytes) -> SegmentFile:
        """Complete the file and give it its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temporary, self._path)
        flush_folder(self._path.parent)
        return SegmentFile(self._path, self._num_frames, self._size, self._checksum, zlib.crc32(codec_header))

    def discard(self) -> None:
        """Leave nothing behind, unless the file is finished."""
        with suppress(OSError):  # what it still held back does not fit on the disk either
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._size += len(data)
        self._checksum = zlib.crc32(data, self._checksum)


def flush_folder(folder: Path) -> None:
    """Make sure that names just given in `folder` outlast a power cut, where its file system has a way to."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def read_packets(path: Path) -> Iterator[CodedPacket]:
    """The packets of a finished file, in decoding order.

    Raises:
        ProcessingError: it is not what `SegmentFileWriter` wrote.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        for pts, duration, size, is_key in _read_heads(file, path):
            data = file.read(size)
            if len(data) < size:
                raise _broken(path)
            yield CodedPacket(pts, duration, bool(is_key), data)


def read_times(path: Path) -> list[int]:
    """The presentation times of a finished file's packets, in decoding order.

    Raises:
        ProcessingError, OSError: as `read_packets`.
    """
    times = []
    with open(path, "rb") as file:
        for pts, _, size, _ in _read_heads(file, path):
            times.append(pts)
            file.seek(size, os.SEEK_CUR)
    return times


def _read_heads(file: BinaryIO, path: Path) -> Iterator[tuple[int, int, int, int]]:
    """The head of each packet; whoever asks for the next one has left the packet's bytes behind."""
    if file.read(len(MAGIC)) != MAGIC:
        raise _broken(path)
    while head := file.read(HEAD.size):
        if len(head) < HEAD.size:
            raise _broken(path)
        yield HEAD.unpack(head)


def _broken(path: Path) -> ProcessingError:
    return ProcessingError(f"{str(path)!r} is damaged", hint="begin anew with --fresh")
