"""A still picture's journey: read, through the network, written; and the names it gets on the way.

photo.png                    ->  photo_x4.png beside it
photo.png with -o out.tiff   ->  out.tiff
photos/ (a folder)           ->  photos_x4/ beside it, every picture under its own name
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.errors import OutputError, ProcessingError, SourceError
from vsr.model.upscaler import Upscaler
from vsr.pipeline.calibration import calibrate_on_picture
from vsr.stills import Still, check_output, is_still, read_still, write_still
from vsr.stills.formats import output_suffix
from vsr.stills.still import Samples

_BAND_ROWS = 256


class StillUpscaler(Protocol):
    """What is needed of vsr.model.upscaler.Upscaler here; `network`, `tile` and the like may be absent."""

    @property
    def scale(self) -> float: ...

    def output_size(self, height: int, width: int) -> tuple[int, int]: ...

    def __call__(self, frames_BCHW: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class StillReport:
    """What was done: sizes in pixels as stored, `bits` per sample of the output, `seconds` of wall-clock time.

    `precision` and `tile` are those that the network ran in; None where the upscaler does not say.
    """

    input: Path
    output: Path
    format: str
    bits: int
    width_in: int
    height_in: int
    width_out: int
    height_out: int
    seconds: float
    warnings: tuple[str, ...]
    precision: str | None = None
    tile: int | None = None


def upscale_still(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    upscaler: StillUpscaler,
    *,
    overwrite: bool = False,
) -> StillReport:
    """Upscale the picture `source` into the file `output`, in the format that its name asks for.

    Everything that can be refused is refused before the network runs. The folder of `output` is made if it is missing.

    Raises:
        UsageError: vsr writes no such format.
        SourceError: the picture cannot be read.
        OutputError: `output` is `source`, exists and may not be overwritten, cannot hold the picture, or cannot be
            written.
        ProcessingError: the network failed on it.
        Interrupted: the run was asked to stop; nothing is left behind.
    """
    start = time.perf_counter()
    source, output = Path(source), Path(output)
    check_paths(source, output, overwrite=overwrite)
    still = read_still(source)
    height, width = upscaler.output_size(still.height, still.width)
    notes = [*still.warnings, *check_output(output, still, width, height), *_note_resampling(upscaler)]
    upscaler = _suit_depth(upscaler, still.bits)
    try:
        larger = upscale_pixels(still, upscaler)
    except ProcessingError as exc:
        raise ProcessingError(f"{source}: {exc.message}", hint=exc.hint) from exc
    except MemoryError as exc:
        raise ProcessingError(
            f"{source}: not enough memory for {width}x{height} pixels",
            hint="choose a smaller --scale, or cut the picture into parts",
        ) from exc
    _make_folder(output)
    written = write_still(output, larger, overwrite=overwrite)
    return StillReport(
        input=source,
        output=output,
        format=written.format,
        bits=written.bits,
        width_in=still.width,
        height_in=still.height,
        width_out=written.width,
        height_out=written.height,
        seconds=time.perf_counter() - start,
        warnings=tuple(notes),
        precision=getattr(upscaler, "precision", None),
        tile=getattr(upscaler, "tile", None),
    )


def upscale_pixels(still: Still, upscaler: StillUpscaler) -> Still:
    """The same picture, larger, in the same number of bits.

    A picture without colour, stored as grey or as RGB, comes back without: the network sees three equal channels,
    and the mean of its three is taken. Alpha goes through the network as a grey picture of its own, bounded by what
    stands around each pixel in the source, so that what was wholly opaque or transparent stays so. Colours under
    transparent pixels are nobody's choice, and a network would smear them over the edges: they are replaced by
    those of their neighbours first.
    """
    colours_BCHW = _to_tensor(still.pixels)
    alpha_BCHW = _to_tensor(still.alpha[..., None]) if still.alpha is not None and not still.is_opaque else None
    if alpha_BCHW is not None:
        colours_BCHW = fill_transparent(colours_BCHW, alpha_BCHW)
    num_channels = colours_BCHW.shape[1]
    if num_channels == 3 and torch.equal(colours_BCHW[:, :1].expand_as(colours_BCHW), colours_BCHW):
        colours_BCHW = colours_BCHW[:, :1]
    if isinstance(upscaler, Upscaler) and upscaler.precision == "int8":
        calibrate_on_picture(colours_BCHW.expand(-1, 3, -1, -1), upscaler)  # what fits one picture may not fit the next
    colours_BCHW = _upscale(colours_BCHW, upscaler)
    alpha: Samples | None = None
    if alpha_BCHW is not None:
        alpha = _to_samples(_upscale_alpha(alpha_BCHW, upscaler), still.bits)[..., 0]
    elif still.alpha is not None:
        alpha = np.full(colours_BCHW.shape[2:], 2**still.bits - 1, still.alpha.dtype)
    return Still(
        pixels=_to_samples(colours_BCHW.expand(-1, num_channels, -1, -1), still.bits),
        alpha=alpha,
        bits=still.bits,
        metadata=still.metadata,
        format=still.format,
        warnings=still.warnings,
    )


def fill_transparent(colours_BCHW: Tensor, alpha_BCHW: Tensor) -> Tensor:
    """Give wholly transparent pixels the colour of the nearest visible ones; all others stay as they are.

    Pull-push (Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4.2): averages weighted by alpha are pulled
    up a pyramid, and pushed back down into what is empty.

    Args:
        colours_BCHW: B,C,H,W, 0..1, not premultiplied.
        alpha_BCHW: B,1,H,W, 0..1.
    """
    pyramid = [(colours_BCHW * alpha_BCHW, alpha_BCHW)]
    while max(pyramid[-1][1].shape[2:]) > 1:
        sums, weights = (F.avg_pool2d(level, 2, ceil_mode=True, count_include_pad=False) for level in pyramid[-1])
        pyramid.append((sums, weights))
    filled = pyramid[-1][0] / pyramid[-1][1].clamp_min(1e-12)
    for sums, weights in reversed(pyramid[:-1]):
        coarse = F.interpolate(filled, size=weights.shape[2:], mode="bilinear", align_corners=False)
        filled = torch.where(weights > 0, sums / weights.clamp_min(1e-12), coarse)
    return torch.where(alpha_BCHW > 0, colours_BCHW, filled)


def list_stills(folder: str | os.PathLike[str]) -> tuple[list[Path], list[Path]]:
    """The still pictures of `folder`, and whatever else lies in it (sub-folders too), each in natural order.

    "2.png" comes before "10.png". Hidden files are passed over; sub-folders are not entered.

    Raises:
        SourceError: there is no such folder, or it cannot be read.
    """
    folder = Path(folder)
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except NotADirectoryError as exc:
        raise SourceError(f"{folder}: not a folder") from exc
    except OSError as exc:
        raise SourceError(f"{folder}: cannot be read ({exc.strerror})") from exc
    stills: list[Path] = []
    others: list[Path] = []
    for entry in sorted(entries, key=_natural_key):
        (stills if is_still(entry) else others).append(entry)
    return stills, others


def output_path_for(source: str | os.PathLike[str], scale: float, output: str | os.PathLike[str] | None = None) -> Path:
    """Where the larger `source` goes, a picture or a folder of pictures.

    `output` where it is given; if that is a folder (it exists, or its name ends in a separator) and `source` is a
    picture, ``photo_x4.png`` in it; else ``photo_x4.png`` or ``photos_x4`` beside `source`. The scale stands in the
    name as a whole number where it is one ("x4", else "x1.5"); HEIC, which cannot be written, becomes PNG.
    """
    source = Path(source)
    if source.is_dir():
        whole = source.resolve()
        return Path(output) if output is not None else whole.with_name(f"{whole.name}_x{scale:g}")
    name = f"{source.stem}_x{scale:g}{output_suffix(source)}"
    if output is None:
        return source.with_name(name)
    if Path(output).is_dir() or os.fspath(output).endswith(("/", os.sep)):
        return Path(output) / name
    return Path(output)


def output_path_in(folder: str | os.PathLike[str], source: str | os.PathLike[str]) -> Path:
    """Where a picture of a folder goes in the folder `folder` of larger pictures: under its own name."""
    source = Path(source)
    suffix = output_suffix(source)
    # Beside photo.png, photo.heic must not become another photo.png.
    name = source.name if suffix == source.suffix else source.name + suffix
    return Path(folder) / name


def check_paths(source: Path, output: Path, *, overwrite: bool) -> None:
    """Refuse what needs no look into the picture.

    Raises:
        OutputError: both names are one file; or `output` is a folder, exists and may not be overwritten, or lies where
            nothing can be written.
    """
    if output.resolve() == source.resolve() or (output.exists() and source.exists() and output.samefile(source)):
        raise OutputError(f"{output}: the output would overwrite the input", hint="choose another name with -o")
    if output.is_dir():
        raise OutputError(f"{output}: is a folder", hint="give the name of a file with -o")
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: already exists", hint="use --overwrite, or another name with -o")
    folder = next(folder for folder in output.absolute().parents if folder.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{output}: nothing can be written in {folder}", hint="choose another place with -o")


def _note_resampling(upscaler: StillUpscaler) -> list[str]:
    network = getattr(upscaler, "network", None)
    if network is None or network.scale == upscaler.scale:
        return []
    return [f"{network.name} enlarges {network.scale} times; resampled to {upscaler.scale:g} times after it"]


def _suit_depth(upscaler: StillUpscaler, bits: int) -> StillUpscaler:
    """The upscaler, in full precision if it was left the choice and the picture is deep."""
    for_depth: Callable[[int], StillUpscaler] | None = getattr(upscaler, "for_depth", None)
    return upscaler if for_depth is None else for_depth(bits)


def _make_folder(output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"{output.parent}: this folder cannot be made ({exc.strerror})") from exc


def _natural_key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Runs of digits compare as numbers, before letters; letters without regard to case."""
    parts = re.findall(r"[0-9]+|[^0-9]+", path.name)
    return [
        (0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part.casefold()) for part in parts
    ], path.name


def _upscale(colours_BCHW: Tensor, upscaler: StillUpscaler) -> Tensor:
    """B,1|3,H,W -> B,1|3,H',W' on the CPU, float32 0..1."""
    larger_BCHW = upscaler(colours_BCHW.expand(-1, 3, -1, -1))
    if colours_BCHW.shape[1] == 1:
        larger_BCHW = larger_BCHW.mean(dim=1, keepdim=True)
    return larger_BCHW.to("cpu", torch.float32)


def _upscale_alpha(alpha_BCHW: Tensor, upscaler: StillUpscaler) -> Tensor:
    """B,1,H,W -> B,1,H',W', nowhere beyond the least and the most of the 3x3 source pixels around."""
    larger_BCHW = _upscale(alpha_BCHW, upscaler)
    size = larger_BCHW.shape[2:]
    most = F.interpolate(F.max_pool2d(alpha_BCHW, 3, 1, 1), size=size, mode="nearest-exact")
    least = F.interpolate(-F.max_pool2d(-alpha_BCHW, 3, 1, 1), size=size, mode="nearest-exact")
    return larger_BCHW.clamp(least, most)


def _to_tensor(samples: Samples) -> Tensor:
    """H,W,C of uint8 or uint16 -> 1,C,H,W of float32, 0..1."""
    most = np.float32(255 if samples.dtype == np.uint8 else 65535)
    return torch.from_numpy(samples.transpose(2, 0, 1)[None].astype(np.float32, order="C") / most)


def _to_samples(frames_BCHW: Tensor, bits: int) -> Samples:
    """1,C,H,W of float32, 0..1 -> H,W,C of uint8 or uint16, rounded. In bands: the floats are large enough once."""
    planes = frames_BCHW[0].numpy()
    num_channels, height, width = planes.shape
    samples: Samples = np.empty((height, width, num_channels), np.uint8 if bits == 8 else np.uint16)
    for row in range(0, height, _BAND_ROWS):
        band = planes[:, row : row + _BAND_ROWS].transpose(1, 2, 0)
        samples[row : row + _BAND_ROWS] = np.rint(band * np.float32(2**bits - 1))
    return samples
