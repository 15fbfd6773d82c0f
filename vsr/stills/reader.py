"""Reading a still picture: `read_still`, the one door through which a picture file comes in.

Decoders meet hostile and broken files here; whatever they raise leaves as SourceError.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from vsr.errors import SourceError
from vsr.stills import png, tiff
from vsr.stills.exif import PREFIX
from vsr.stills.formats import HEAD_SIZE, sniff_format
from vsr.stills.still import Samples, Still, StillMetadata

# One gigapixel. Far above any camera or scanner, and the memory it takes is still that of a large machine.
MAX_PIXELS = 2**30

_READABLE = "PNG, TIFF, JPEG, WebP, BMP and AVIF"
_PHOTOSHOP = b"Photoshop 3.0\0"
_pillow_lock = threading.Lock()
_pillow_users = 0  # threads that decode without its limits now
_pillow_settings = contextlib.ExitStack()  # what is put back when the last of them is done


def read_still(path: str | os.PathLike[str]) -> Still:
    """Read the still picture at `path`, whatever its name says it is.

    Grey stays grey, 16 bits stay 16; palettes become RGB, 1-, 2- and 4-bit samples are spread over 0..255, a colour
    that stands for transparency becomes alpha, CMYK becomes RGB (through its profile, where it has one).

    Raises:
        SourceError: there is no such file; it is no picture, a broken one, one of several frames or pages, one
            of more than MAX_PIXELS, or of a kind that cannot be held without loss (32-bit and float samples, Lab).
    """
    path = Path(path)
    kind = _find_format(path)
    try:
        with without_pillow_limits():
            still = _read_tiff(path) if kind == "TIFF" else _read(path, kind)
    except SourceError:
        raise
    except MemoryError as exc:
        raise SourceError(f"{path}: not enough memory to read this picture") from exc
    # Decoders answer broken files with nearly everything: OSError, SyntaxError, struct.error, KeyError ...
    except Exception as exc:
        raise SourceError(
            f"{path}: this {kind} picture is broken and cannot be read ({str(exc) or type(exc).__name__})",
            hint="open it in another program and save it anew, or fetch it again",
        ) from exc
    return still


def has_avif() -> bool:
    """True if this Pillow reads and writes AVIF (11.3 and later, unless built without)."""
    Image.init()
    return "AVIF" in Image.SAVE


def _find_format(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_SIZE)
    except FileNotFoundError as exc:
        raise SourceError(f"{path}: no such file") from exc
    except OSError as exc:
        raise SourceError(f"{path}: cannot be read ({exc.strerror})") from exc
    if not head:
        raise SourceError(f"{path}: the file is empty")
    kind = sniff_format(head)
    if kind == "GIF":
        raise SourceError(f"{path}: a GIF is a film to vsr, not a still picture", hint="give it a name ending in .gif")
    if kind is None:
        raise SourceError(f"{path}: not a picture that vsr knows", hint=f"it reads {_READABLE}")
    if kind == "AVIF" and not has_avif():
        raise SourceError(f"{path}: this Pillow cannot read AVIF", hint="pip install 'pillow>=11.3'")
    if kind == "HEIF":
        try:
            import_module("pillow_heif").register_heif_opener()
        except ImportError as exc:
            raise SourceError(
                f"{path}: HEIC pictures are read with pillow-heif, which is not installed",
                hint="pip install pillow-heif, or convert the picture to PNG, TIFF or JPEG",
            ) from exc
    return kind


@contextlib.contextmanager
def without_pillow_limits() -> Iterator[None]:
    """Silence Pillow's own size limit (179 megapixels): MAX_PIXELS takes its place. Its warnings are ours to give.

    Both are settings of the whole process: the first of several threads lifts them, the last one puts them back.
    """
    global _pillow_users
    with _pillow_lock:
        if _pillow_users == 0:
            _pillow_settings.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            _pillow_settings.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            Image.MAX_IMAGE_PIXELS = None
        _pillow_users += 1
    try:
        yield
    finally:
        with _pillow_lock:
            _pillow_users -= 1
            if _pillow_users == 0:
                _pillow_settings.close()


def _check_size(path: Path, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise SourceError(f"{path}: the picture is {width}x{height}, it has no pixels")
    if width * height > MAX_PIXELS:
        raise SourceError(
            f"{path}: {width}x{height} pixels are more than vsr takes at once ({MAX_PIXELS:,})",
            hint="cut the picture into parts",
        )


def _read(path: Path, kind: str) -> Still:
    """Everything but TIFF."""
    header, key, metadata = None, None, StillMetadata()
    if kind == "PNG":
        with path.open("rb") as file:
            header = png.read_header(file)
            _check_size(path, header.width, header.height)
            metadata = png.read_metadata(file)
            key = png.read_key(file, header)
    formats = ["JPEG", "MPO"] if kind == "JPEG" else [kind]
    with Image.open(path, formats=formats) as image:
        _check_size(path, *image.size)
        notes: list[str] = []
        num_frames = getattr(image, "n_frames", 1)
        if num_frames > 1:
            if kind not in ("JPEG", "HEIF"):
                raise SourceError(
                    f"{path}: this {kind} is an animation of {num_frames} frames, not a still picture",
                    hint="convert it to a film first, for instance: ffmpeg -i IN.png film.mkv",
                )
            # Cameras append previews, depth and gain maps to the picture proper, which comes first.
            notes.append(f"only the first of the {num_frames} pictures in the file was read")
        if header and header.depth == 16:
            samples: Samples = png.read_deep(path, header)
            image.load()  # once more as a whole, so that Pillow checks what stands behind the pixels
        else:
            samples = _to_samples(path, image, notes)
        if header is None:
            metadata = _read_metadata(path, image, kind)
        if image.mode == "CMYK":
            metadata = replace(metadata, icc=None)
    if kind == "AVIF" and _is_deep_avif(path):
        notes.append("this AVIF has more than 8 bits per sample; it was read with 8")
    still = _make_still(samples, metadata, kind, notes)
    if header and key is not None:
        still = replace(still, alpha=_key_to_alpha(still.pixels, key, header.depth))
    return still


def _read_tiff(path: Path) -> Still:
    with path.open("rb") as file:
        pages = tiff.read_pages(file)
        page = pages[0]
        _check_size(path, page.width, page.height)
        if len(pages) > 1:
            raise SourceError(
                f"{path}: this TIFF holds {len(pages)} pages, not one picture",
                hint="split it into one file per page first",
            )
        notes: list[str] = []
        if page.is_deep:
            file.seek(0)
            pixels = _finish_deep(tiff.read_deep(file.read(), page), page, notes)
            with contextlib.suppress(Exception), Image.open(path, formats=["TIFF"]) as image:
                return _make_still(pixels, tiff.read_metadata(page, image), "TIFF", notes)
            return _make_still(pixels, tiff.read_metadata(page, None), "TIFF", notes)
    with Image.open(path, formats=["TIFF"]) as image:
        metadata = tiff.read_metadata(page, image)
        samples = _to_samples(path, tiff.load_as_stored(image), notes)
        num_bits = max(page.values(tiff.BITS), default=1)
        if samples.itemsize == 1 and num_bits > 8:
            notes.append(f"samples of {num_bits} bits were read with 8")
        if samples.itemsize == 2 and num_bits == 12:
            samples = samples * 16 + samples // 256
        if image.mode == "CMYK":
            metadata = replace(metadata, icc=None)
    return _make_still(samples, metadata, "TIFF", notes)


def _finish_deep(samples: npt.NDArray[np.uint16], page: tiff.Page, notes: list[str]) -> npt.NDArray[np.uint16]:
    """Samples as stored in a TIFF -> H,W,1|2|3|4: white is white, alpha is the last sample and not multiplied in."""
    photometric = page.value(tiff.PHOTOMETRIC, tiff.BLACK_IS_ZERO)
    num_colours = 3 if photometric == tiff.RGB else 1
    if samples.shape[2] < num_colours:
        raise ValueError("an RGB picture with fewer than three samples per pixel")
    num_extra = samples.shape[2] - num_colours
    # As other readers do: one extra sample that the file does not explain is alpha.
    meaning = page.values(tiff.EXTRA_SAMPLES)[:1] or ((tiff.UNASSOCIATED,) if num_extra else ())
    has_alpha = num_extra > 0 and meaning[0] in (tiff.ASSOCIATED, tiff.UNASSOCIATED)
    if num_extra > has_alpha:
        notes.append(f"{num_extra - has_alpha} extra channel(s) of the TIFF were left out")
    samples = samples[..., : num_colours + has_alpha]
    if photometric == tiff.WHITE_IS_ZERO:
        samples = samples.copy()
        samples[..., 0] = 65535 - samples[..., 0]
    if has_alpha and meaning[0] == tiff.ASSOCIATED:
        alpha = samples[..., -1:].astype(np.float64)
        colours = np.rint(samples[..., :-1] * (65535.0 / np.maximum(alpha, 1.0))).clip(0, 65535)
        samples = np.concatenate((colours.astype(np.uint16), samples[..., -1:]), axis=2)
    return samples


def _to_samples(path: Path, image: Image.Image, notes: list[str]) -> Samples:
    """A loaded picture of any of Pillow's modes -> H,W,1|2|3|4 (alpha last), uint8; uint16 for 16-bit grey."""
    image.load()
    match image.mode:
        case "1" | "L":
            image = image.convert("L")
        case "LA" | "RGB" | "RGBA":
            pass
        case "La":
            image = image.convert("LA")
        case "P" | "PA":
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        case "RGBX" | "YCbCr":
            image = image.convert("RGB")
        case "CMYK":
            image = _convert_cmyk(image, notes)
        case "I;16" | "I;16L" | "I;16B" | "I;16N":
            return np.asarray(image).astype(np.uint16)[..., None]
        case mode:
            raise SourceError(
                f"{path}: pictures with samples of Pillow's mode {mode} are not supported",
                hint="convert it to 8 or 16 bits per sample, grey or RGB",
            )
    samples: npt.NDArray[np.uint8] = np.asarray(image)
    return samples[..., None] if samples.ndim == 2 else samples


def _convert_cmyk(image: Image.Image, notes: list[str]) -> Image.Image:
    if profile := image.info.get("icc_profile"):
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            converted = ImageCms.profileToProfile(
                image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                notes.append("CMYK was converted to sRGB through its own profile")
                return converted
    notes.append("CMYK was converted to RGB without a profile: colours may differ from print")
    return image.convert("RGB")


def _key_to_alpha(pixels: Samples, key: tuple[int, ...], depth: int) -> Samples:
    """Alpha of a PNG in which one colour stands for transparency: 0 there, opaque elsewhere."""
    most = 255 if pixels.dtype == np.uint8 else 65535
    colour = np.asarray(key) * (most // (2**depth - 1))
    return np.where((pixels == colour).all(axis=2), 0, most).astype(pixels.dtype)


def _make_still(samples: Samples, metadata: StillMetadata, kind: str, notes: list[str]) -> Still:
    has_alpha = samples.shape[2] in (2, 4)
    return Still(
        pixels=samples[..., :-1] if has_alpha else samples,
        alpha=samples[..., -1] if has_alpha else None,
        bits=8 * samples.itemsize,
        metadata=metadata,
        format=kind,
        warnings=tuple(notes),
    )


def _read_metadata(path: Path, image: Image.Image, kind: str) -> StillMetadata:
    """What Pillow found beside the pixels of a JPEG, WebP, AVIF, HEIC or BMP."""
    info = image.info
    exif: bytes = info.get("exif") or b""
    dpi = info.get("dpi")
    if kind == "JPEG" and info.get("jfif_unit") not in (1, 2):
        dpi = None  # a pixel aspect, or derived from EXIF, which is kept as it is
    photoshop = b"".join(
        data[len(_PHOTOSHOP) :]
        for segment, data in getattr(image, "applist", ())
        if segment == "APP13" and data.startswith(_PHOTOSHOP)
    )
    tables: dict[int, list[int]] = getattr(image, "quantization", {})
    return StillMetadata(
        exif=exif.removeprefix(PREFIX) or None,
        icc=info.get("icc_profile") or None,
        xmp=info.get("xmp") or None,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and all(dpi) else None,
        photoshop=photoshop or None,
        comment=info.get("comment") or None,
        lossy=kind in ("JPEG", "AVIF", "HEIF") or (kind == "WEBP" and not _is_lossless_webp(path)),
        jpeg_tables=tuple(tuple(table) for _, table in sorted(tables.items())),
    )


def _is_lossless_webp(path: Path) -> bool:
    """True if the WebP holds a VP8L chunk; that chunk or VP8 comes first, or after VP8X, ICCP and ALPH."""
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            if head[:4] in (b"VP8 ", b"VP8L"):
                return bool(head[:4] == b"VP8L")
            length = int.from_bytes(head[4:], "little")
            file.seek(length + length % 2, 1)
    return False


def _is_deep_avif(path: Path) -> bool:
    """True if the AV1 configuration of the file says 10 or 12 bits (av1C box: high_bitdepth, third byte, bit 6)."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    at = head.find(b"av1C\x81")
    return at >= 0 and at + 6 < len(head) and bool(head[at + 6] & 0x40)
