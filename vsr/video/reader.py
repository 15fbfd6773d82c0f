"""Container -> packets -> frames: the film's pictures in the order of their time, each with its own timestamp."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vsr.errors import SourceError
from vsr.video.damage import Damage
from vsr.video.decoder import NUM_LEAD_IN, Decoder, SoftwareDecoder
from vsr.video.deinterlace import deinterlace
from vsr.video.packets import states_presentation_times, time_of
from vsr.video.probe import VideoInfo
from vsr.video.timing import Stamped, TimestampRepair, sort_by_time

__all__ = ["Damage", "Picture", "Reader", "Window"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame (PyAV's VideoFrame, or a DeviceFrame) and its presentation time: `pts` ticks of `time_base` seconds.

    `was_interlaced` tells that the frame was made whole.
    """

    frame: Any
    pts: int
    duration: int
    time_base: Fraction
    was_interlaced: bool = False

    @property
    def time(self) -> Fraction:
        """Seconds."""
        return self.pts * self.time_base


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a film to work on, in the film's own clock: `start` <= time < `end` (None: open), seconds."""

    start: Fraction | None = None
    end: Fraction | None = None

    @classmethod
    def of(cls, info: VideoInfo, start: Fraction | None, duration: Fraction | None) -> Window:
        """`start` and `duration` count from the film's beginning, wherever its clock starts."""
        first = None if start is None else info.start + start
        origin = info.start if first is None else first
        return cls(first, None if duration is None else origin + duration)

    def holds(self, time: Fraction) -> bool:
        return (self.start is None or time >= self.start) and (self.end is None or time < self.end)


class Reader:
    """Decodes the main video stream of one film, once.

    Args:
        info: what `probe` found.
        window: the part wanted.
        minimal_step: smallest distance of two timestamps that the output can hold, in ticks of the stream.
        decoder: where the frames come from, made for `info`; None: FFmpeg's own decoders.
        enter: False: a part is not entered in the midst of the film, but reached by decoding all that comes before it.

    Attributes:
        decoder: its `name` and `notes` tell after the reading what really decoded.
        damage: what was wrong with the source, so far.
    """

    def __init__(
        self,
        info: VideoInfo,
        window: Window | None = None,
        minimal_step: int = 1,
        decoder: Decoder | None = None,
        *,
        enter: bool = True,
    ) -> None:
        self._info = info
        self._enter = enter
        self.decoder = decoder or SoftwareDecoder(info)
        self._window = window or Window()
        self._step = minimal_step
        self.damage = Damage()

    def pictures(self) -> Iterator[Picture]:
        """Yield every picture of the window, in presentation order, with strictly increasing timestamps.

        Interlaced pictures come out deinterlaced. What cannot be decoded is counted in `damage` and left out.

        Raises:
            SourceError: the file cannot be opened, or not one picture could be decoded.
        """
        time_base = self._info.time_base
        rate = self._info.frame_rate
        repair = TimestampRepair(time_base, 1 / rate if rate else None, minimal_step=self._step)
        num_pictures = 0
        trust_order = not states_presentation_times(self._info)
        for item in deinterlace(sort_by_time(self._decode(), trust_order=trust_order)):
            pts = repair.repair(item.pts, item.duration)
            self.damage.missing_timestamps = repair.num_missing
            self.damage.repaired_timestamps = repair.num_not_increasing
            if self._window.end is not None and pts * time_base >= self._window.end:
                break
            if self._window.holds(pts * time_base):
                num_pictures += 1
                yield Picture(item.payload, pts, item.duration, time_base, item.is_interlaced)
        if not num_pictures:
            raise SourceError(
                f"{str(self._info.path)!r}: no picture lies in the part asked for",
                hint=f"the film is {float(self._info.duration):.3f} s long" if self._info.duration else None,
            )

    def _decode(self) -> Iterator[Stamped[Any]]:
        """All frames of the window, and the few before it that the deinterlacer looks back at."""
        start = self._window.start
        if start is None or not self._enter or not self.can_be_entered:
            yield from map(_stamp, self.decoder.frames(start, self.damage, enter=False))
            return
        frames = self.decoder.frames(start, self.damage)
        lead_in: deque[Any] = deque(maxlen=NUM_LEAD_IN)
        for frame in frames:
            time = time_of(frame, self._info.time_base)
            if time is not None and time < start:
                lead_in.append(frame)
                continue
            if frame.is_corrupt:
                # Some films cannot be entered at what they call key frames: then from the beginning.
                frames.close()
                self.damage = Damage()
                yield from map(_stamp, self.decoder.frames(start, self.damage, enter=False))
                return
            yield from map(_stamp, lead_in)
            yield _stamp(frame)
            break
        yield from map(_stamp, frames)

    @property
    def can_be_entered(self) -> bool:
        """False where a part can only be had by decoding all before it, because times or pictures hang on it."""
        return states_presentation_times(self._info) and self._info.codec != "gif"


def _stamp(frame: Any) -> Stamped[Any]:
    pts = frame.pts if frame.pts is not None else frame.dts
    return Stamped(frame, pts, frame.duration or 0, frame.interlaced_frame)
