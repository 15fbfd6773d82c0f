"""Writing a still picture: `write_still`, whole under its final name or not at all."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vsr.errors import OutputError, UsageError, VerificationError
from vsr.stills import png, tiff
from vsr.stills.exif import PREFIX, correct_exif, correct_xmp
from vsr.stills.formats import FORMATS, StillFormat, format_of_suffix
from vsr.stills.reader import MAX_PIXELS, has_avif, without_pillow_limits
from vsr.stills.still import Samples, Still, StillMetadata, join_alpha
from vsr.video.naming import give_name, remove_stale, temporary_name

QUALITY = 95

_MAX_MARKER = 65533
_XMP_OVERHEAD = 29
# The sum of the IJG luminance table at quality 95: a table with a smaller sum is finer.
_SUM_OF_TABLE_95 = 369


def choose_format(path: str | os.PathLike[str]) -> StillFormat:
    """The format that the name `path` asks for.

    Raises:
        UsageError: vsr writes no such format.
    """
    path = Path(path)
    form = format_of_suffix(path.suffix)
    if form is None or not form.writes:
        names = ", ".join(form.suffixes[0] for form in FORMATS.values() if form.writes)
        raise UsageError(
            f"{path}: vsr does not write pictures of the kind '{path.suffix}'", hint=f"give a name ending in {names}"
        )
    if form.name == "AVIF" and not has_avif():
        raise UsageError(f"{path}: this Pillow cannot write AVIF", hint="pip install 'pillow>=11.3', or choose .png")
    return form


def check_output(path: str | os.PathLike[str], still: Still, width: int, height: int) -> list[str]:
    """Say before any work whether `still`, made `width` x `height`, can be written as `path`; what will change.

    Returns:
        Warnings: what the format cannot hold and need not be refused for.

    Raises:
        UsageError: vsr writes no such format.
        OutputError: the picture is too large for the format (or for vsr), or has alpha and the format has not.
    """
    path = Path(path)
    form = choose_format(path)
    if max(width, height) > form.max_side:
        raise OutputError(
            f"{path}: {form.name} holds at most {form.max_side} pixels a side, the picture will be {width}x{height}",
            hint="choose a smaller --scale, or -o with a name ending in .png or .tiff",
        )
    if width * height > MAX_PIXELS:
        raise OutputError(
            f"{path}: {width}x{height} pixels are more than vsr makes at once ({MAX_PIXELS:,})",
            hint="choose a smaller --scale, or cut the picture into parts",
        )
    if not form.alpha and not still.is_opaque:
        raise OutputError(
            f"{path}: {form.name} holds no transparency, and the picture has some",
            hint="choose a name ending in .png, .tiff or .webp",
        )
    notes = []
    if still.bits == 16 and not form.deep:
        notes.append(f"16 bits per sample become 8: {form.name} holds no more")
    metadata = still.metadata
    lost = [
        name
        for name, value, holds in (
            ("EXIF", metadata.exif, form.exif),
            ("the colour profile", metadata.icc, form.icc),
            ("XMP", metadata.xmp, form.xmp),
            ("Photoshop/IPTC data", metadata.photoshop, form.name in ("JPEG", "TIFF")),
        )
        if value and not holds
    ]
    if (
        metadata.png_chunks
        and form.name != "PNG"
        and not metadata.icc
        and png.colour_is_lost_without(metadata.png_chunks)
    ):
        lost.append("the colour space of the PNG (gAMA, cHRM or cICP)")
    if form.name == "JPEG":
        if metadata.exif and len(PREFIX + metadata.exif) > _MAX_MARKER:
            lost.append("EXIF (too long)")
        if metadata.xmp and len(metadata.xmp) > _MAX_MARKER - _XMP_OVERHEAD:
            lost.append("XMP (too long)")
    if lost:
        notes.append(f"{form.name} cannot hold {', '.join(lost)}: left out")
    return notes


def write_still(path: str | os.PathLike[str], still: Still, *, overwrite: bool = False) -> Still:
    """Write `still` as `path`, in the format its name asks for.

    The file is written beside its place under a temporary name, flushed to the disk, read back, and only then
    renamed; what killed runs left of the same picture is removed. JPEG and AVIF are written with quality 95 and full
    chroma, a JPEG finer than that if its source is; WebP losslessly, from a lossy source with quality 95. The EXIF
    orientation is kept, and the pixels as they are, where readers heed it; a PNG made of something else, and a BMP, get
    upright pixels instead, which is lossless.

    Returns:
        The picture as it was written (turned upright where that was needed).

    Raises:
        UsageError, OutputError: as `check_output`; or the file exists (or has appeared meanwhile) and
            `overwrite` is False; or the disk said no.
        VerificationError: what was written does not read back.
    """
    path = Path(path)
    check_output(path, still, still.width, still.height)
    form = choose_format(path)
    still = _prepare(still, form)
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: already exists", hint="use --overwrite, or another name with -o")
    # Hidden, because a picture is known by its content: what a killed run left must not be taken for one.
    hidden = path.with_name(f".{path.name[:200]}")
    temporary = temporary_name(hidden)
    try:
        remove_stale(hidden)
        temporary.unlink(missing_ok=True)  # in a container every run may have the same process number
        with temporary.open("xb") as file:
            _WRITERS[form.name](file, still)
            file.flush()
            os.fsync(file.fileno())
        _verify(temporary, path, form, still)
        give_name(temporary, path, overwrite)
    except OutputError:
        raise
    except (OSError, ValueError, struct.error, MemoryError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
        raise OutputError(f"{path}: cannot be written ({reason})") from exc
    finally:
        temporary.unlink(missing_ok=True)
    return still


def _prepare(still: Still, form: StillFormat) -> Still:
    """The picture as `form` will hold it: depth, orientation, and a metadata that knows the new size."""
    alpha = still.alpha if form.alpha else None
    pixels = still.pixels
    if still.bits == 16 and not form.deep:
        pixels, alpha = _to_8_bits(pixels), _to_8_bits(alpha) if alpha is not None else None
    metadata, orientation = still.metadata, still.metadata.orientation
    turned = orientation > 1 and (not form.exif or (form.name == "PNG" and still.format != "PNG"))
    if turned:
        pixels = _turn_upright(pixels, orientation)
        alpha = _turn_upright(alpha, orientation) if alpha is not None else None
        metadata = replace(
            metadata,
            xmp=correct_xmp(metadata.xmp) if metadata.xmp else None,
            dpi=metadata.dpi[::-1] if metadata.dpi and orientation > 4 else metadata.dpi,
        )
    if metadata.exif:
        height, width = pixels.shape[:2]
        exif = correct_exif(metadata.exif, width=width, height=height, orientation=1 if turned else None)
        metadata = replace(metadata, exif=exif)
    return replace(still, pixels=pixels, alpha=alpha, bits=8 * pixels.itemsize, metadata=metadata, format=form.name)


def _to_8_bits(samples: Samples) -> npt.NDArray[np.uint8]:
    """Round 0..65535 to 0..255: 257 steps of the one are one step of the other."""
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _turn_upright(samples: Samples, orientation: int) -> Samples:
    """Samples H,W[,C] as EXIF orientation `orientation` (2 to 8) wants them shown. Nothing is resampled."""
    if orientation > 4:
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return np.ascontiguousarray(samples)


def _to_image(still: Still) -> Image.Image:
    """A picture of 8 bits for Pillow's writers."""
    samples = join_alpha(still.pixels, still.alpha)
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)


def _write_png(file: IO[bytes], still: Still) -> None:
    png.write(file, still.pixels, still.alpha, still.metadata)


def _write_tiff(file: IO[bytes], still: Still) -> None:
    tiff.write(file, still.pixels, still.alpha, still.metadata)


def _write_jpeg(file: IO[bytes], still: Still) -> None:
    metadata = still.metadata
    options: dict[str, Any] = {"quality": QUALITY}
    if metadata.jpeg_tables and sum(metadata.jpeg_tables[0]) < _SUM_OF_TABLE_95:
        options = {"qtables": [list(table) for table in metadata.jpeg_tables]}
    if metadata.dpi:
        options["dpi"] = metadata.dpi
    if metadata.exif and len(PREFIX + metadata.exif) <= _MAX_MARKER:
        options["exif"] = PREFIX + metadata.exif
    if metadata.xmp and len(metadata.xmp) <= _MAX_MARKER - _XMP_OVERHEAD:
        options["xmp"] = metadata.xmp
    if metadata.comment and len(metadata.comment) <= _MAX_MARKER:
        options["comment"] = metadata.comment
    _to_image(still).save(
        file, "JPEG", subsampling=0, icc_profile=metadata.icc, extra=_photoshop_segments(metadata), **options
    )


def _photoshop_segments(metadata: StillMetadata) -> bytes:
    name = b"Photoshop 3.0\0"
    data, step = metadata.photoshop or b"", _MAX_MARKER - len(name)
    parts = (name + data[start : start + step] for start in range(0, len(data), step))
    return b"".join(b"\xff\xed" + struct.pack(">H", 2 + len(part)) + part for part in parts)


def _write_webp(file: IO[bytes], still: Still) -> None:
    metadata = still.metadata
    options: dict[str, Any] = {"quality": QUALITY} if metadata.lossy else {"lossless": True, "quality": 80}
    _to_image(still).save(
        file, "WEBP", method=4, exif=metadata.exif or b"", icc_profile=metadata.icc, xmp=metadata.xmp or b"", **options
    )


def _write_avif(file: IO[bytes], still: Still) -> None:
    metadata = still.metadata
    options: dict[str, Any] = {} if still.pixels.shape[2] == 1 and still.alpha is None else {"subsampling": "4:4:4"}
    if metadata.exif:
        options["exif"] = PREFIX + metadata.exif
    _to_image(still).save(
        file, "AVIF", quality=QUALITY, icc_profile=metadata.icc or b"", xmp=metadata.xmp or b"", **options
    )


def _write_bmp(file: IO[bytes], still: Still) -> None:
    _to_image(still).save(file, "BMP", **({"dpi": still.metadata.dpi} if still.metadata.dpi else {}))


_WRITERS: dict[str, Callable[[IO[bytes], Still], None]] = {
    "PNG": _write_png,
    "TIFF": _write_tiff,
    "JPEG": _write_jpeg,
    "WEBP": _write_webp,
    "AVIF": _write_avif,
    "BMP": _write_bmp,
}


def _verify(temporary: Path, path: Path, form: StillFormat, still: Still) -> None:
    """Unpack what was written, checksums and all, and compare its size."""
    try:
        with without_pillow_limits():
            size = _unpacked_size(temporary, form, still)
    except Exception as exc:
        raise VerificationError(f"{path}: what was written does not read back ({exc})") from exc
    if size != (still.width, still.height):
        raise VerificationError(
            f"{path}: {still.width}x{still.height} pixels were written, {size[0]}x{size[1]} read back"
        )


def _unpacked_size(temporary: Path, form: StillFormat, still: Still) -> tuple[int, int]:
    if form.name == "TIFF" and still.bits == 16:  # not every one of which Pillow can show
        data = temporary.read_bytes()
        height, width, _ = tiff.read_deep(data, tiff.read_pages(io.BytesIO(data))[0]).shape
        return width, height
    with Image.open(temporary, formats=[form.name]) as image:
        size = (tiff.load_as_stored(image) if form.name == "TIFF" else image).size
        image.load()
        return size
