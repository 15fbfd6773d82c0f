"""DALI: frames decoded by NVIDIA's DALI, where it was asked for and the film allows it. On a GPU not yet run.

DALI knows whole files, frame numbers and 8 bits. What it gives is held to what the container says:

- Times are those of the packets, put in order. DALI's own are seconds from the first frame, in floating point; they
  must agree with the packets' to within half a tick, or the reading ends.
- On a GPU DALI hands out the film's own Y, Cb, Cr codes, with chroma interpolated as if it were centred; `vsr.pixels`
  undoes that and converts as for any other frame.
- On a CPU it knows RGB alone: BT.601 whatever the film says (range as signalled), 4:2:0 interpolated as centred. Within
  0.51 of 255 levels of `vsr.pixels` with that siting (measured on VP9 and MJPEG); where chroma really is left-sited,
  colour edges are half a pixel off. BT.709 cannot be had back from that exactly (colours were clipped): refused.
- Damage is not told: a broken packet ends the reading or repeats a picture, and where the picture size changes within
  the film, smaller pictures come out broken. Hence the note, and `--decoder auto` never comes here.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vsr.errors import DeviceError, ProcessingError, SourceError
from vsr.video.color import MATRIX_BT470BG, MATRIX_SMPTE170M
from vsr.video.damage import Damage
from vsr.video.device_frame import DeviceFrame
from vsr.video.faults import reading
from vsr.video.packets import demux_main, states_presentation_times
from vsr.video.pixel_format import describe_format, resolve_tags
from vsr.video.probe import VideoInfo
from vsr.video.source import open_film

__all__ = ["DaliDecoder", "check_dali", "is_installed"]

CPU_CODECS = ("vp8", "vp9", "mjpeg")
GPU_CODECS = (*CPU_CODECS, "h264", "hevc", "av1", "mpeg4")
PIXEL_FORMATS = ("yuv420p", "yuvj420p")
# Frames that DALI decodes in one go. It keeps two or three such sequences, at 3 bytes per pixel.
SEQUENCE_LENGTH = 4
# In the first byte of a VP8 frame (RFC 6386, section 9.1): without it the frame only serves as a reference.
VP8_SHOWN = 0x10
WAY_OUT = "--decoder software reads it"


def is_installed() -> bool:
    """True where DALI can be imported; does not import it."""
    try:
        return importlib.util.find_spec("nvidia.dali") is not None
    except ModuleNotFoundError:
        return False


def check_dali(info: VideoInfo, device: int | None) -> None:
    """Refuse what DALI would get wrong.

    Args:
        device: ordinal of the GPU that decodes; None: the CPU does.

    Raises:
        DeviceError: DALI is not installed.
        SourceError: the film is one that DALI does not read, or not faithfully; names the way out.
    """
    if not is_installed():
        raise DeviceError("DALI is not installed", hint="pip install 'vsr[dali]', or --decoder auto")
    place = "on a CPU" if device is None else "on a GPU"
    tags = resolve_tags(info.colors, describe_format(info.pix_fmt), info.width, info.height)
    is_bt601 = tags.matrix in (MATRIX_BT470BG, MATRIX_SMPTE170M)
    num_pictures = sum(stream.kind in ("video", "cover") for stream in info.streams)
    obstacles = {
        f"DALI does not decode {info.codec} {place}": info.codec not in (CPU_CODECS if device is None else GPU_CODECS),
        f"DALI gives 8-bit 4:2:0, and the film has {info.pix_fmt}": info.pix_fmt not in PIXEL_FORMATS,
        "DALI cannot deinterlace, and the film is interlaced": info.interlaced,
        f"DALI misplaces chroma at odd sizes, and the film has {info.width}x{info.height}": bool(
            info.width % 2 or info.height % 2
        ),
        "DALI chooses the video stream itself, and the film has several": num_pictures > 1,
        "DALI goes by presentation times, and the container has none": not states_presentation_times(info)
        and info.codec != "mjpeg",
        f"DALI converts to BT.601 on a CPU, and the film's matrix is {tags.matrix}": device is None and not is_bt601,
    }
    for obstacle, is_met in obstacles.items():
        if is_met:
            raise SourceError(f"{str(info.path)!r}: {obstacle}", hint=WAY_OUT)


@dataclass
class DaliDecoder:
    """Decodes one film with DALI. See `Decoder` for what it gives.

    Args:
        info: the film, which `check_dali` has let pass.
        device: ordinal of the GPU that decodes, as torch counts; frames are `DeviceFrame`s on it. None: the CPU
            decodes, and frames are PyAV's, in RGB.
    """

    info: VideoInfo
    device: int | None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.notes.append("DALI tells neither of damaged pictures nor of a changing size; --decoder software does")
        if self.device is None:
            self.notes.append("DALI's CPU decoder takes chroma for centred: colour edges may lie half a pixel off")

    @property
    def name(self) -> str:
        return "dali"

    def frames(self, begin: Fraction | None, damage: Damage, *, enter: bool = True) -> Generator[Any, None, None]:
        """See `Decoder`. All packets of the file are looked at first.

        Decoding begins at the film's beginning always: DALI finds frames by number, and where a container is entered
        elsewhere than its index says, the numbers would be wrong without a sign of it.

        Raises:
            SourceError: the film holds packets that DALI would count wrongly, or cannot decode.
            DeviceError: DALI does not load.
            ProcessingError: DALI gives other frames than the container lists.
        """
        instants = _list_instants(self.info, damage)
        num_decoded = 0
        for sequence, numbers, seconds in self._sequences(instants):
            for position, (number, second) in enumerate(zip(numbers, seconds, strict=True)):
                if number < 0:  # padding behind the last frame
                    continue
                self._check_frame(number, second, num_decoded, instants)
                num_decoded += 1
                pts, duration = instants[number]
                if begin is None or pts * self.info.time_base >= begin:
                    yield self._make_frame(sequence, position, pts, duration)
        if num_decoded != len(instants):
            raise self._disagreement(f"DALI gave {num_decoded} of {len(instants)} frames")

    def _check_frame(self, number: int, second: float, num_decoded: int, instants: list[tuple[int, int]]) -> None:
        """Hold DALI's number of a frame, and its seconds from the first one, to what the packets say."""
        if number != num_decoded or number >= len(instants):
            raise self._disagreement(f"DALI gives frame {number} where {num_decoded} of {len(instants)} is due")
        elapsed = float((instants[number][0] - instants[0][0]) * self.info.time_base)
        if abs(second - elapsed) > float(self.info.time_base) / 2:
            raise self._disagreement(f"frame {number} is {elapsed:.6f} s from the first, for DALI {second:.6f} s")

    def _disagreement(self, what: str) -> ProcessingError:
        return ProcessingError(f"{str(self.info.path)!r}: {what}", hint=WAY_OUT)

    def _sequences(self, instants: list[tuple[int, int]]) -> Iterator[tuple[Any, list[int], list[float]]]:
        """DALI's tensors of some frames, the frames' numbers (-1: padding) and their seconds from the first one."""
        # DALI keeps its index of a file by name as long as the process lives: under a name of its own for each reading
        # a file that has changed meanwhile is indexed anew.
        with tempfile.TemporaryDirectory(prefix="vsr-") as folder:
            link = Path(folder, "film")
            link.symlink_to(self.info.path.absolute())
            pipeline = self._build(link)
            for first in range(0, len(instants), SEQUENCE_LENGTH):
                with self._reading(f"at {float(instants[first][0] * self.info.time_base):.3f} s"):
                    outputs = pipeline.run()
                if self.device is not None:
                    outputs = (outputs[0], *(output.as_cpu() for output in outputs[1:]))
                frames, numbers, seconds = (output[0] for output in outputs)
                yield frames, np.array(numbers).tolist(), np.array(seconds).tolist()

    def _build(self, path: Path) -> Any:
        try:
            from nvidia import dali
            from nvidia.dali import fn, types
        except ImportError as exc:
            raise DeviceError(f"DALI is installed and does not load: {exc}", hint="--decoder auto") from exc
        with self._reading("at its beginning"):
            # With the dynamic executor outputs live as long as someone holds them, not only until the next run.
            pipeline = dali.Pipeline(
                batch_size=1, num_threads=1, device_id=self.device, exec_dynamic=True, prefetch_queue_depth=1
            )
            with pipeline:
                outputs = fn.experimental.readers.video(
                    device="cpu" if self.device is None else "gpu",
                    filenames=[str(path)],
                    sequence_length=SEQUENCE_LENGTH,
                    enable_frame_num="sequence",
                    enable_timestamps=True,
                    pad_mode="constant",  # "none" would leave out the frames behind the last whole sequence
                    # On a CPU, DALI 2.4 fails at YCbCr; on a GPU, its RGB is BT.601 for every film.
                    image_type=types.RGB if self.device is None else types.YCbCr,
                )
                pipeline.set_outputs(*outputs)
            pipeline.build()
        return pipeline

    def _make_frame(self, sequence: Any, position: int, pts: int, duration: int) -> Any:
        info = self.info
        if self.device is not None:
            return DeviceFrame(sequence, position, info.width, info.height, info.pix_fmt, info.colors, pts, duration)
        frame = av.VideoFrame.from_ndarray(np.asarray(sequence)[position], format="rgb24")
        frame.color_primaries, frame.color_trc = info.colors.primaries, info.colors.transfer
        frame.pts, frame.duration, frame.time_base = pts, duration, info.time_base
        return frame

    @contextmanager
    def _reading(self, place: str) -> Iterator[None]:
        """DALI's errors leave as SourceError."""
        try:
            yield
        except RuntimeError as exc:
            # Behind a traceback of the pipeline's definition: 'Assert on "..." failed: REASON'.
            told = str(exc).partition("encountered:")[2].strip() or str(exc)
            reason = told.partition("\n")[0].rpartition("failed: ")[2]
            raise SourceError(f"{str(self.info.path)!r} {place}: DALI failed: {reason}", hint=WAY_OUT) from exc


def _list_instants(info: VideoInfo, damage: Damage) -> list[tuple[int, int]]:
    """Presentation time and duration (ticks) of every frame, in order, from the packets.

    Raises:
        SourceError: a packet that is no frame for FFmpeg but one for DALI, or the reverse.
    """
    instants: dict[int, int] = {}
    with open_film(info.path) as container, reading(info.path):
        for number, packet in enumerate(demux_main(info, container, damage)):
            pts = packet.pts if packet.pts is not None else packet.dts
            obstacles = {
                "has no time": pts is None,
                "lies before time zero": pts is not None and pts < 0,
                "has the time of another": pts in instants,
                "is marked as damaged": packet.is_corrupt,
                "is hidden by an edit list": packet.is_discard,
                "is no key frame, but the first": number == 0 and not packet.is_keyframe,
                "is never shown": info.codec == "vp8" and not memoryview(packet)[0] & VP8_SHOWN,
            }
            for obstacle, is_met in obstacles.items():
                if is_met:
                    raise SourceError(
                        f"{str(info.path)!r}: packet {number} {obstacle}, which DALI counts otherwise", hint=WAY_OUT
                    )
            instants[pts] = packet.duration or 0
    if damage.clock_jumps or damage.read_error:
        raise SourceError(f"{str(info.path)!r}: {damage.describe()[0]}, which DALI does not notice", hint=WAY_OUT)
    return sorted(instants.items())
