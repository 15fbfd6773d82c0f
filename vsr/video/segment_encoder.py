"""Pictures -> segments: each cell of the grid goes through an encoder of its own, into a file of its own.

An encoder that begins anew knows nothing of what came before: so a segment is the same whether the run was broken off
before it or not, or whether another machine made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av

from vsr.video.encoding import Encoding, configure_context
from vsr.video.faults import writing
from vsr.video.reader import Picture
from vsr.video.segment_file import SegmentFile, SegmentFileWriter
from vsr.video.segments import SegmentGrid

__all__ = ["SegmentEncoder", "encode_film", "encode_segments", "name_segment"]


def name_segment(index: int) -> str:
    """The file name of a cell's segment."""
    return f"{index:06d}.segment"


class SegmentEncoder:
    """The encoder of one segment: pictures in, a file out.

    Args:
        path: of the file.
        shown_as: the film that all this is for, for messages.

    Raises:
        OutputError: the encoder or the disk fails, from every method.
    """

    def __init__(self, index: int, encoding: Encoding, path: Path, shown_as: Path) -> None:
        self.index = index
        self._shown_as = shown_as
        with writing(shown_as):
            self._context: Any = av.CodecContext.create(encoding.encoder, "w")
            configure_context(self._context, encoding)
            self._file = SegmentFileWriter(path)

    def add(self, picture: Picture) -> None:
        """Encode a picture; its frame may be that of the picture before."""
        frame = picture.frame
        frame.pts, frame.time_base, frame.duration = picture.pts, picture.time_base, picture.duration
        with writing(self._shown_as):
            for packet in self._context.encode(frame):
                self._file.add(packet)

    def finish(self) -> SegmentFile:
        """Drain the encoder and complete the file; if that fails, there is none."""
        try:
            with writing(self._shown_as):
                for packet in self._context.encode_lazy(None):
                    self._file.add(packet)
                return self._file.finish(self._context.extradata or b"")
        finally:
            self._file.discard()

    def discard(self) -> None:
        """Leave nothing of an unfinished file."""
        self._file.discard()


def encode_segments(
    pictures: Iterable[Picture], grid: SegmentGrid, encoding: Encoding, folder: Path, shown_as: Path
) -> Iterator[SegmentEncoder]:
    """Encode pictures in the order of their time; yield each encoder when its last picture is in, to be finished.

    Args:
        folder: where the files go.
        shown_as: the film that all this is for, for messages.

    Raises:
        OutputError: the encoder or the disk fails; whatever `pictures` raises.
    """
    encoder: SegmentEncoder | None = None
    try:
        for picture in pictures:
            index = grid.index_of(picture.time)
            if encoder is not None and encoder.index != index:
                full, encoder = encoder, None
                yield full
            if encoder is None:
                encoder = SegmentEncoder(index, encoding, folder / name_segment(index), shown_as)
            encoder.add(picture)
        if encoder is not None:
            full, encoder = encoder, None
            yield full
    finally:
        if encoder is not None:
            encoder.discard()


def encode_film(
    pictures: Iterable[Picture], grid: SegmentGrid, encoding: Encoding, folder: Path, shown_as: Path
) -> list[SegmentFile]:
    """Encode a film from its first picture to its last, one segment after the other.

    Raises:
        OutputError: the encoder or the disk fails.
    """
    return [encoder.finish() for encoder in encode_segments(pictures, grid, encoding, folder, shown_as)]
