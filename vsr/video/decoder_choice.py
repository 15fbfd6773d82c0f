"""Which decoder reads a film: settled before the first frame."""

from __future__ import annotations

from dataclasses import dataclass

from vsr.errors import DeviceError
from vsr.video.dali import DaliDecoder, check_dali
from vsr.video.decoder import Decoder, SoftwareDecoder
from vsr.video.nvdec import NvdecDecoder, find_obstacle
from vsr.video.probe import VideoInfo

__all__ = ["DecoderChoice", "choose_decoder"]


@dataclass(frozen=True, slots=True)
class DecoderChoice:
    """What will decode a film.

    Attributes:
        name: "software", "nvdec" or "dali".
        device: ordinal of the GPU that decodes; None: the CPU does.
        notes: what the user should know beforehand, each a sentence.
    """

    name: str
    device: int | None = None
    notes: tuple[str, ...] = ()

    def make(self, info: VideoInfo) -> Decoder:
        """A decoder for one reading of that film."""
        if self.name == "dali":
            return DaliDecoder(info, self.device)
        if self.name == "nvdec" and self.device is not None:
            return NvdecDecoder(info, self.device)
        return SoftwareDecoder(info)


def choose_decoder(info: VideoInfo, wanted: str, device: int | None) -> DecoderChoice:
    """The decoder for a film.

    Args:
        wanted: "auto", "software", "nvdec" or "dali" (`Settings.decoder`). "auto" is NVDEC where it takes the film.
        device: ordinal of the one GPU that computes; None where the CPU does, or several GPUs share the work.

    Raises:
        DeviceError: what was asked for is not here, or does not take this film.
        SourceError: DALI was asked for, and would not read this film faithfully.
    """
    if wanted == "dali":
        check_dali(info, device)
        return DecoderChoice("dali", device)
    if wanted == "software" or (wanted == "auto" and device is None):
        return DecoderChoice("software")
    if device is None:
        raise DeviceError(
            "NVDEC leaves its frames on a GPU, and it is not one GPU that computes",
            hint="--device cuda, or --decoder auto",
        )
    obstacle = find_obstacle(info, device)
    if obstacle is None:
        return DecoderChoice("nvdec", device)
    if wanted == "nvdec" and not info.interlaced:
        raise DeviceError(f"{str(info.path)!r}: NVDEC is no way: {obstacle}", hint="--decoder auto")
    return DecoderChoice("software", notes=(f"decoded in software, not by NVDEC: {obstacle}",))
