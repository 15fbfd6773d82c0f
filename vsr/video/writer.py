"""Segments and copied packets -> a file under a temporary name -> read back and compared -> renamed.

Where the segments come from (this run, an earlier one, another machine) makes no difference to the file.
"""

from __future__ import annotations

import math
import os
import threading
import zlib
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av

from vsr.errors import Interrupted, OutputError, ProcessingError
from vsr.video.containers import FORMATS, StreamPlan
from vsr.video.copier import Copier
from vsr.video.decoding_order import assign_decoding_times, find_delay
from vsr.video.encoding import Encoding, configure_stream
from vsr.video.faults import FFMPEG_ERRORS, writing
from vsr.video.metadata import container_metadata, container_options, cut_chapters, stream_metadata
from vsr.video.naming import give_name, remove_stale, temporary_name
from vsr.video.probe import VideoInfo
from vsr.video.reader import Window
from vsr.video.segment_file import CodedPacket, SegmentFile, flush_folder, read_packets, read_times
from vsr.video.source import address
from vsr.video.verification import find_lost_tags, verify

__all__ = ["OutputPlan", "Writer", "check_output", "minimal_step"]

MATROSKA_TICK = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """Everything decided about an output before the first frame is read."""

    path: Path
    streams: tuple[StreamPlan, ...]
    encoding: Encoding
    window: Window
    overwrite: bool = False


def check_output(path: Path, source: Path, overwrite: bool) -> None:
    """Refuse an output that cannot be written, before any work.

    Raises:
        OutputError: it is the source, exists without `overwrite`, or its folder is missing or read-only.
    """
    with writing(path):  # even looking fails where the name is too long
        _check_name(path, source, overwrite)
        # Only trying tells: permission bits say nothing about network shares, quotas or read-only mounts.
        trial = temporary_name(path)
        try:
            with open(trial, "wb") as file:
                file.write(b"\0" * 4096)
        finally:
            trial.unlink(missing_ok=True)


def _check_name(path: Path, source: Path, overwrite: bool) -> None:
    if path.exists() and source.exists() and path.samefile(source):
        raise OutputError(f"output and input are the same file {str(path)!r}", hint="give another name with -o")
    if path.is_dir():
        raise OutputError(f"{str(path)!r} is a folder", hint="end -o with / or give a file name")
    if os.path.lexists(path) and not overwrite:  # a link that leads nowhere holds the name too
        raise OutputError(f"{str(path)!r} exists already", hint="--overwrite replaces it, -o names another")
    if not path.parent.is_dir():
        raise OutputError(f"there is no folder {str(path.parent)!r}", hint="make it first, or give another with -o")


def minimal_step(path: Path, time_base: Fraction) -> int:
    """Ticks of `time_base` that two frames must lie apart to differ in the container of `path`."""
    if FORMATS[path.suffix.lower()] != "matroska" or time_base >= MATROSKA_TICK:
        return 1
    return math.ceil(MATROSKA_TICK / time_base)


class Writer:
    """Writes one film. A context manager: left without `finish`, nothing stays behind.

    Args:
        info: the source.
        plan: what to write, and where.
        cancel: set it from elsewhere to stop, even in the midst of `finish`.

    Attributes:
        copier: brings the streams that are not upscaled; its tallies are complete after `finish`.
        lost_tags: tags, titles and dispositions that the container did not keep, in words; known after `finish`.

    Raises:
        OutputError: the file cannot be made or its header not be written.
    """

    def __init__(self, info: VideoInfo, plan: OutputPlan, *, cancel: threading.Event | None = None) -> None:
        self._info, self._plan, self._cancel = info, plan, cancel
        self._temporary = temporary_name(plan.path)
        self._stamps = array("q")
        self._shift = Fraction(0)
        self._container: Any = None
        self.lost_tags: list[str] = []
        remove_stale(plan.path)
        self.copier = Copier(info, plan.window)
        try:
            with writing(plan.path):
                self._open()
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()

    @property
    def num_frames(self) -> int:
        return len(self._stamps)

    def join(self, segments: Sequence[SegmentFile]) -> None:
        """Write the segments of the whole film, in order, and everything of the other streams where it belongs.

        Raises:
            OutputError: the disk is full, or the file cannot be written.
            ProcessingError: a segment's file is damaged, or was coded otherwise than the rest.
            Interrupted: `cancel` was set.
        """
        encoding = self._plan.encoding
        header = zlib.crc32(self._stream.codec_context.extradata or b"")
        for segment in segments:
            if segment.header != header:
                raise ProcessingError(
                    f"{str(segment.path)!r} was coded by another encoder than the rest of the film",
                    hint="begin anew with --fresh",
                )
        with writing(self._plan.path):
            shown = [read_times(segment.path) for segment in segments]
            ascending = [sorted(times) for times in shown]
            # A part of a film starts at zero; a whole film keeps its clock.
            shift = 0 if self._plan.window.start is None else -ascending[0][0]
            self._shift = shift * encoding.time_base
            step = max(1, round(1 / encoding.frame_rate / encoding.time_base))
            due = assign_decoding_times(shown, find_delay(shown), step)
            for segment, times, decoding_times in zip(segments, ascending, due, strict=True):
                self._stamps.extend(ticks + shift for ticks in times)
                for packet, dts in zip(read_packets(segment.path), decoding_times, strict=True):
                    self._mux(packet, dts + shift, shift)

    def finish(self) -> None:
        """Complete, read back, compare, and give the file its name.

        Raises:
            OutputError: the disk is full, the name was taken meanwhile, or the file is not what was meant.
            Interrupted: `cancel` was set.
        """
        with writing(self._plan.path):
            self._copy_until(None)
            self._container.close()
            _flush_to_disk(self._temporary)
        plan = self._plan
        copied = self.copier.streams
        verify(
            self._temporary, plan.path.name, self._stream.index, self._stamps, plan.encoding.time_base, copied,
            cancel=self._cancel,
        )  # fmt: skip
        self.lost_tags = find_lost_tags(self._info, self._temporary, self._stream.index, copied)
        with writing(plan.path):
            give_name(self._temporary, plan.path, plan.overwrite)
            flush_folder(plan.path.parent)  # before anybody removes what the film was made of

    def _open(self) -> None:
        plan, info = self._plan, self._info
        format_name = FORMATS[plan.path.suffix.lower()]
        kept = [stream for stream in plan.streams if stream.action not in ("drop", "rebuild")]
        metadata = container_metadata(info)
        container = self._container = av.open(
            address(self._temporary), "w", format=format_name,
            container_options=container_options(info, format_name, metadata, kept), metadata_errors="surrogateescape",
        )  # fmt: skip
        container.metadata.update(metadata)
        container.set_chapters(cut_chapters(info, plan.window))
        for stream in kept:
            if stream.action == "upscale":
                self._stream = _add_video_stream(container, plan.encoding)
                self._stream.metadata.update(stream_metadata(stream.stream))
                self._stream.disposition = self.copier.disposition(stream)
            else:
                self.copier.add_stream(container, stream)
        container.start_encoding()

    def _mux(self, coded: CodedPacket, dts: int, shift: int) -> None:
        packet = av.Packet(coded.data)
        packet.stream, packet.time_base = self._stream, self._plan.encoding.time_base
        packet.pts, packet.dts, packet.duration = coded.pts + shift, dts, coded.duration
        packet.is_keyframe = coded.is_key
        self._copy_until(dts * packet.time_base - self._shift)
        self._container.mux(packet)

    def _copy_until(self, time: Fraction | None) -> None:
        self._check_cancel()
        for packet in self.copier.packets_until(time, self._shift):
            self._container.mux(packet)
            self._check_cancel()

    def _check_cancel(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise Interrupted

    def _discard(self) -> None:
        """Close everything; remove the file if it has not got its name yet.

        A second Ctrl-C may arrive at any step; the next ones are done all the same.
        """
        try:
            try:
                self.copier.close()
            finally:
                if self._container is not None:
                    with suppress(*FFMPEG_ERRORS):  # the reason that brought us here is the one to report
                        self._container.close()
        finally:
            self._temporary.unlink(missing_ok=True)


def _add_video_stream(container: Any, encoding: Encoding) -> Any:
    """The upscaled stream. Its encoder makes the headers, as those of the segments do, and is given no frame."""
    stream = container.add_stream(
        encoding.encoder, rate=encoding.frame_rate, options=encoding.encoder_options, time_base=encoding.time_base
    )
    configure_stream(stream, encoding)
    return stream


def _flush_to_disk(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
