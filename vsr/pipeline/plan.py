"""Everything decided about a film before its first frame: what cannot be is refused here, not after hours of work."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from vsr.errors import SettingsError
from vsr.model.upscaler import Upscaler
from vsr.settings import Settings
from vsr.video.containers import choose_container, plan_streams, suffix_of
from vsr.video.decoder_choice import DecoderChoice, choose_decoder
from vsr.video.encoding import CODERS, choose_encoding
from vsr.video.losses import list_losses
from vsr.video.matrix import decoding_matrix
from vsr.video.pixel_format import describe_format, resolve_tags
from vsr.video.probe import VideoInfo, probe
from vsr.video.reader import Window
from vsr.video.writer import OutputPlan, check_output

__all__ = ["FilmPlan", "plan_film"]

# Batches on a GPU hold about this many source pixels.
PIXELS_PER_BATCH = 1920 * 1080
MAX_BATCH = 8


@dataclass(frozen=True, slots=True)
class FilmPlan:
    """What will be done with one film.

    Attributes:
        decoder: what will decode it.
        batch: frames per network call.
        notes: what the user should know beforehand, each a sentence.
        reuse: what is the same as in the frame before is not computed again.
        tile: as in `Settings`.
        fresh: what an earlier run has done of the film is thrown away.
    """

    info: VideoInfo
    output: OutputPlan
    decoder: DecoderChoice
    batch: int
    notes: tuple[str, ...]
    reuse: bool = True
    tile: str | int = "auto"
    fresh: bool = False

    @property
    def num_frames(self) -> int | None:
        """Frames to expect, None where nobody knows; an estimate where the container does not say."""
        window, info = self.output.window, self.info
        if info.num_frames is None or (window.start is None and window.end is None):
            return info.num_frames
        if info.frame_rate is None or info.end is None:
            return None
        start = window.start if window.start is not None else info.start
        end = info.end if window.end is None else min(window.end, info.end)
        return max(0, math.ceil((end - start) * info.frame_rate))

    @property
    def num_groups(self) -> int | None:
        """Network calls to expect."""
        return None if self.num_frames is None else -(-self.num_frames // self.batch)


def plan_film(source: Path, output: Path | None, settings: Settings, upscaler: Upscaler) -> FilmPlan:
    """Look at the film and decide how it will be written.

    Args:
        output: file or existing folder; None: beside the source, `film_x4.mp4`.

    Raises:
        SourceError: it is no film, cannot be decoded, or has colours that cannot be converted.
        DeviceError: the decoder or encoder asked for is not here.
        OutputError: the output exists, cannot be written, or cannot hold what the source holds.
    """
    info = probe(source)
    _check_drop(info, settings)
    decoding_matrix(resolve_tags(info.colors, describe_format(info.pix_fmt), info.width, info.height).matrix)
    gpu = _find_gpu(settings, upscaler)
    decoder = choose_decoder(info, settings.decoder, gpu)
    height, width = upscaler.output_size(info.height, info.width)
    encoding = choose_encoding(
        info, width, height, settings.codec, settings.crf, settings.encoder_preset,
        encoder=settings.encoder, device=gpu, on_device=gpu is not None,
    )  # fmt: skip
    path = _name_output(info, output, settings, upscaler.scale)
    check_output(path, source, settings.overwrite)
    streams = plan_streams(info, suffix_of(path), settings.drop, encoding.coding)
    window = Window.of(info, settings.start, settings.duration)
    notes = [*decoder.notes, *list_losses(info, encoding, streams)]
    if upscaler.scale != upscaler.network.scale:
        notes.append(
            f"{upscaler.network.name} enlarges {upscaler.network.scale} times; "
            f"resampled to {upscaler.scale:g} times after it"
        )
    free = shutil.disk_usage(path.parent).free
    if free < source.stat().st_size:
        notes.append(f"only {free / 1e6:.0f} MB are free on the disk of {path.name!r}, less than the source takes")
    plan = OutputPlan(path, streams, encoding, window, settings.overwrite)
    batch = _choose_batch(settings, info, upscaler)
    return FilmPlan(info, plan, decoder, batch, tuple(notes), settings.reuse, settings.tile, settings.fresh)


def _find_gpu(settings: Settings, upscaler: Upscaler) -> int | None:
    """The ordinal of the one CUDA device that computes; None where the CPU does, or several share the work."""
    if upscaler.device.type != "cuda" or len(settings.devices) > 1:
        return None
    return upscaler.device.index or 0


def _check_drop(info: VideoInfo, settings: Settings) -> None:
    for name in settings.drop:
        if name.isdigit() and int(name) == info.main:
            raise SettingsError(f"stream #{name} of {info.path.name!r} is the film itself and cannot be dropped")
        if name.isdigit() and int(name) >= len(info.streams):
            raise SettingsError(
                f"{info.path.name!r} has no stream #{name} to drop", hint=f"it has #0 to #{len(info.streams) - 1}"
            )


def _name_output(info: VideoInfo, output: Path | None, settings: Settings, scale: float) -> Path:
    if output is not None and not os.path.isdir(output):  # unlike Path.is_dir, never raises
        return output
    folder = output if output is not None else info.path.parent
    suffix = choose_container(info, CODERS[settings.codec].coding, settings.drop)
    return folder / f"{info.path.stem}_x{scale:g}{suffix}"


def _choose_batch(settings: Settings, info: VideoInfo, upscaler: Upscaler) -> int:
    if isinstance(settings.batch, int):
        return settings.batch
    if upscaler.device.type == "cpu":
        return 1  # a CPU is busy with one frame; more only cost memory
    return max(1, min(MAX_BATCH, PIXELS_PER_BATCH // (info.width * info.height)))
