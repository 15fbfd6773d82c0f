"""NVDEC: frames decoded by the GPU's own decoder, and left on the GPU. Not yet run on a GPU.

PyAV gives CUDA frames (`frame.format.name == "cuda"`, the pixels inside named by `frame.sw_format`). Where the chip
does not take a stream, FFmpeg falls back to software without a word: every frame is looked at here, and what happened
is said.
"""

from __future__ import annotations

import ctypes
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from typing import Any

from av.codec import Codec
from av.codec.hwaccel import HWAccel

from vsr.errors import DeviceError, SourceError
from vsr.video.damage import Damage
from vsr.video.decoder import SoftwareDecoder
from vsr.video.faults import FFMPEG_ERRORS
from vsr.video.planes import download
from vsr.video.probe import VideoInfo
from vsr.video.source import open_film

__all__ = ["NvdecDecoder", "find_obstacle", "open_device"]

# What PyAV hands out of CUDA frames without a copy, and vsr.pixels converts where it lies.
LAYOUTS = ("nv12", "p010le", "p016le")
CUDA_DRIVER = "libcuda.so.1"


class NvdecDecoder(SoftwareDecoder):
    """Packets of one film to frames on a GPU.

    Some frames lie in system memory all the same: where FFmpeg fell back to software, and from the first interlaced
    frame on, since the deinterlacer works there.

    Args:
        device: ordinal of the GPU, as torch counts.
    """

    def __init__(self, info: VideoInfo, device: int) -> None:
        super().__init__(info)
        self._device = device
        self._num_on_device = self._num_elsewhere = 0
        self._is_interlaced = False

    @property
    def name(self) -> str:
        """See `Decoder`; "nvdec" until a frame says otherwise."""
        if not self._num_elsewhere:
            return "nvdec"
        return "nvdec, software" if self._num_on_device else "software"

    def frames(self, begin: Fraction | None, damage: Damage, *, enter: bool = True) -> Generator[Any, None, None]:
        """See `Decoder`.

        Raises:
            DeviceError: the GPU cannot be opened.
        """
        with closing(super().frames(begin, damage, enter=enter)) as frames:
            for frame in frames:
                self._note_place(frame)
                if frame.interlaced_frame and is_on_device(frame) and not self._is_interlaced:
                    self._is_interlaced = True
                    self.notes.append("interlaced frames were taken from the GPU, to be deinterlaced in system memory")
                yield download(frame) if self._is_interlaced else frame

    def _open(self) -> Any:
        with _torchs_context(self._device):
            try:
                return open_film(self._info.path, hwaccel=_describe_device(self._device))
            except SourceError as exc:
                # The file has been opened before without trouble; what failed is the device.
                raise DeviceError(
                    f"FFmpeg cannot use GPU {self._device}: {exc.__cause__ or exc.message}",
                    hint="--decoder software decodes on the CPU",
                ) from exc

    def _prepare(self, stream: Any) -> None:
        # The chip decodes; frame threads would only hold more of its few surfaces. FFmpeg copies each frame out of
        # those, so frames may wait in queues as long as they like.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1

    def _note_place(self, frame: Any) -> None:
        if is_on_device(frame):
            self._num_on_device += 1
            return
        self._num_elsewhere += 1
        if self._num_elsewhere == 1:
            self.notes.append(
                f"NVDEC does not take {self._info.codec} with {frame.format.name} here: "
                f"decoded in software{' from there on' if self._num_on_device else ''}"
            )


def is_on_device(frame: Any) -> bool:
    """True for a frame in the memory of a GPU."""
    return bool(frame.format.name == "cuda")


def find_obstacle(info: VideoInfo, device: int) -> str | None:
    """Why NVDEC cannot decode this film, found by decoding its first frame; None where it can."""
    if info.interlaced:
        return "interlaced film is deinterlaced in system memory"
    frames = NvdecDecoder(info, device).frames(None, Damage())
    try:
        first = next(frames, None)
    except (DeviceError, SourceError) as exc:
        return exc.message
    finally:
        frames.close()
    if first is None:
        return f"it decodes no frame of this {info.codec} film"
    if not is_on_device(first) or first.sw_format.name not in LAYOUTS:
        return f"it does not take {info.codec} with {info.pix_fmt}"
    return None


def open_device(device: int) -> None:
    """Find out whether FFmpeg can work on a GPU.

    Raises:
        DeviceError: there is no driver or no such GPU, or FFmpeg refuses it.
    """
    with _torchs_context(device):
        try:
            _describe_device(device).create(Codec("h264", "r"))
        except FFMPEG_ERRORS as exc:
            raise DeviceError(f"FFmpeg cannot use GPU {device}: {exc}", hint="--decoder software needs none") from exc


def _describe_device(device: int) -> HWAccel:
    # Neither a context of FFmpeg's own nor the primary one by name: FFmpeg refuses that once torch has opened it with
    # other flags. The one that is current on this thread is torch's, so planes can be shared (both at 1 is an error).
    return HWAccel(
        "cuda",
        device=str(device),
        allow_software_fallback=True,
        options={"primary_ctx": "0", "current_ctx": "1"},
        is_hw_owned=True,
    )


@contextmanager
def _torchs_context(device: int) -> Iterator[None]:
    """Make the device's primary CUDA context, which is torch's too, current on the calling thread for a while.

    Through the driver's own interface, because torch is unknown in this room. The context is retained for as long as
    the process lives, as torch does.

    Raises:
        DeviceError: there is no driver or no such GPU.
    """
    handle, context = ctypes.c_int(), ctypes.c_void_p()
    try:
        driver = ctypes.CDLL(CUDA_DRIVER)
    except OSError as exc:
        raise DeviceError("there is no CUDA driver on this machine", hint="--decoder software needs none") from exc
    for name, arguments in (
        ("cuInit", (0,)),
        ("cuDeviceGet", (ctypes.byref(handle), device)),
        ("cuDevicePrimaryCtxRetain", (ctypes.byref(context), handle)),
        ("cuCtxPushCurrent_v2", (context,)),
    ):
        if status := getattr(driver, name)(*arguments):
            raise DeviceError(f"GPU {device} cannot be used: {name} gave error {status}", hint="see `vsr doctor`")
    try:
        yield
    finally:
        # What was current before is so again: the current context is also what torch takes for its current device.
        driver.cuCtxPopCurrent_v2(ctypes.byref(context))
