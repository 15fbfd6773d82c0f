"""Which files are still pictures, and what each format can hold. Imports nothing heavy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HEAD_SIZE = 32


@dataclass(frozen=True)
class StillFormat:
    """What a format can hold. `max_side` is in pixels; `writes` is False for formats that are only read."""

    name: str
    suffixes: tuple[str, ...]
    max_side: int
    deep: bool = False
    alpha: bool = True
    grey: bool = True
    exif: bool = True
    icc: bool = True
    xmp: bool = True
    writes: bool = True


FORMATS = {
    form.name: form
    for form in (
        StillFormat("PNG", (".png",), 2**31 - 1, deep=True),
        StillFormat("TIFF", (".tif", ".tiff"), 2**31 - 1, deep=True),
        StillFormat("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), 65500, alpha=False),
        StillFormat("WEBP", (".webp",), 16383, grey=False),
        StillFormat("AVIF", (".avif",), 65536),
        StillFormat("BMP", (".bmp", ".dib"), 2**31 - 1, alpha=False, exif=False, icc=False, xmp=False),
        StillFormat("HEIF", (".heic", ".heif", ".hif"), 0, writes=False),
    )
}
STILL_SUFFIXES = frozenset(suffix for form in FORMATS.values() for suffix in form.suffixes)

# MJPEG streams are JPEG files one after the other and begin like one.
_FILM_SUFFIXES = frozenset({".gif", ".mjpg", ".mjpeg", ".apng"})


def format_of_suffix(suffix: str) -> StillFormat | None:
    """The format that a file name ending in `suffix` (".png") asks for; None for any other ending."""
    return next((form for form in FORMATS.values() if suffix.lower() in form.suffixes), None)


def output_suffix(source: Path) -> str:
    """The ending of a larger picture: the source's, or .png where that format is not written."""
    form = format_of_suffix(source.suffix)
    return source.suffix if form is not None and form.writes else ".png"


def sniff_format(head: bytes) -> str | None:
    """The name of the format that a file beginning with `head` has: a key of FORMATS, "GIF", or None."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "TIFF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(b"BM"):
        return "BMP"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if head[4:8] == b"ftyp":
        brands = {head[at : at + 4] for at in (8, 16, 20, 24, 28)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"):
            return "HEIF"
    return None


def is_still(path: str | os.PathLike[str]) -> bool:
    """True if `path` is to be treated as a still picture rather than as a film.

    The content decides where it is unmistakable (PNG, JPEG, WebP, AVIF, HEIC), whatever the name; else the name does,
    so that an empty or broken ``photo.png`` is reported as a broken picture. A GIF is a film. TIFF and BMP need their
    name as well: camera raw files begin like the one, and two letters prove nothing of the other. Never raises.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in _FILM_SUFFIXES:
        return False
    try:
        if path.exists() and not path.is_file():
            return False  # a folder; or a pipe, which would be waited for
        with path.open("rb") as file:
            content = sniff_format(file.read(HEAD_SIZE))
    except (OSError, ValueError):
        content = None
    if content in (None, "TIFF", "BMP"):
        return suffix in STILL_SUFFIXES
    return content != "GIF"
