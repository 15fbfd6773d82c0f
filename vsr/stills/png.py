"""PNG beyond Pillow: 16-bit samples, and every chunk that says something about the picture.

The chunk layout, the filters and the choice between them by the smallest sum of absolute differences are those of
the W3C recommendation "Portable Network Graphics (PNG) Specification (Third Edition)", sections 5, 9 and 12.7.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vsr.stills.still import Samples, StillMetadata, join_alpha

SIGNATURE = b"\x89PNG\r\n\x1a\n"
INCHES_PER_METRE = 39.37007874015748

_COLOUR_CHUNKS = (b"cICP", b"mDCV", b"cLLI", b"cHRM", b"gAMA", b"sRGB")
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_SRGB_NOTHING_ELSE = {b"sRGB", b"gAMA", b"cHRM"}

# Far above any honest metadata, far below what would hurt: a small file must not unpack to gigabytes.
_MAX_METADATA = 1 << 26
_BAND_BYTES = 1 << 20


@dataclass(frozen=True)
class Header:
    """The IHDR chunk: `depth` is bits per sample, `color` PNG's colour type (0, 2, 3, 4 or 6)."""

    width: int
    height: int
    depth: int
    color: int
    interlaced: bool


def read_header(file: IO[bytes]) -> Header:
    """The header of the PNG at the beginning of `file`. Raises ValueError if there is none."""
    file.seek(0)
    head = file.read(33)
    if len(head) < 33 or head[12:16] != b"IHDR":
        raise ValueError("the PNG header is cut off")
    width, height, depth, color, _, _, interlace = struct.unpack(">IIBBBBB", head[16:29])
    return Header(width, height, depth, color, bool(interlace))


def read_metadata(file: IO[bytes]) -> StillMetadata:
    """What the chunks of a PNG say. Chunks with a wrong checksum are passed over, as the standard allows."""
    found: dict[bytes, bytes] = {}
    text: list[tuple[bytes, bytes]] = []
    xmp: bytes | None = None
    for kind, data in _read_chunks(file, {*_COLOUR_CHUNKS, *_TEXT_CHUNKS, b"iCCP", b"eXIf", b"pHYs"}):
        if kind == b"iTXt" and data.startswith(_XMP_KEYWORD + b"\0"):
            xmp = _read_itxt(data) or xmp
        elif kind in _TEXT_CHUNKS:
            text.append((kind, data))
        else:
            found.setdefault(kind, data)
    return StillMetadata(
        exif=found.get(b"eXIf"),
        icc=_inflate(found[b"iCCP"].partition(b"\0")[2][1:]) if b"iCCP" in found else None,
        xmp=xmp,
        dpi=_read_phys(found.get(b"pHYs", b"")),
        png_chunks=(*((kind, found[kind]) for kind in _COLOUR_CHUNKS if kind in found), *text),
    )


def read_key(file: IO[bytes], header: Header) -> tuple[int, ...] | None:
    """The colour that stands for transparency: one value or three, in steps of the file's depth; None without one."""
    num_values = {0: 1, 2: 3}.get(header.color, 0)
    for _, data in _read_chunks(file, {b"tRNS"}):
        if num_values and len(data) >= 2 * num_values:
            return struct.unpack_from(f">{num_values}H", data)
    return None


def colour_is_lost_without(chunks: tuple[tuple[bytes, bytes], ...]) -> bool:
    """True if the colour chunks say anything but sRGB, so that a format without them would show other colours."""
    colours = {kind: data for kind, data in chunks if kind in _COLOUR_CHUNKS}
    if b"sRGB" in colours:
        return bool(colours.keys() - _SRGB_NOTHING_ELSE)
    gamma = struct.unpack(">I", colours[b"gAMA"])[0] if len(colours.get(b"gAMA", b"")) == 4 else 45455
    return b"cICP" in colours or abs(gamma - 45455) > 500


def read_deep(path: Path, header: Header) -> npt.NDArray[np.uint16]:
    """The samples of a PNG of 16 bits: H,W,C of uint16 with C = 1 to 4, alpha last. Raises what Pillow raises.

    Pillow has no mode for more than one sample of 16 bits and keeps the upper byte only. But its raw modes name
    which byte that is: big-endian samples read as little-endian ones give the lower byte. So the file is
    unpacked twice.
    """
    match header.color:
        case 0:
            return _load_as(path, "I;16B").astype(np.uint16)[..., None]
        case 4:  # grey and alpha of 16 bits are four bytes, and so is RGBA
            return _load_as(path, "RGBA").view(">u2").astype(np.uint16)
        case 2:
            upper, lower = (_load_as(path, raw_mode) for raw_mode in ("RGB;16B", "RGB;16L"))
        case _:
            upper, lower = (_load_as(path, raw_mode) for raw_mode in ("RGBA;16B", "RGBA;16L"))
    samples: npt.NDArray[np.uint16] = upper.astype(np.uint16) << 8 | lower
    return samples


def write(file: IO[bytes], pixels: Samples, alpha: Samples | None, metadata: StillMetadata, *, level: int = 6) -> None:
    """Write a PNG of `pixels` (H,W,1|3) and `alpha` (H,W), uint8 or uint16, to `file`, band by band."""
    height, width, channels = pixels.shape
    color = (0 if channels == 1 else 2) + (4 if alpha is not None else 0)
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, color, 0, 0, 0)
    file.write(SIGNATURE)
    _write_chunk(file, b"IHDR", header)
    for kind, data in _pack_metadata(metadata):
        _write_chunk(file, kind, data)
    packer = zlib.compressobj(level)
    stride = width * (channels + (alpha is not None)) * pixels.itemsize
    above = np.zeros(stride, np.uint8)
    num_rows = max(1, _BAND_BYTES // stride)
    for row in range(0, height, num_rows):
        rows = slice(row, row + num_rows)
        band = join_alpha(pixels[rows], None if alpha is None else alpha[rows])
        raw = np.ascontiguousarray(band.astype(band.dtype.newbyteorder(">"))).view(np.uint8).reshape(len(band), -1)
        _write_data(file, packer.compress(_filter(raw, above, stride // width)))
        above = raw[-1]
    _write_data(file, packer.flush())
    _write_chunk(file, b"IEND", b"")


def _load_as(path: Path, raw_mode: str) -> npt.NDArray[Any]:
    """The samples of a PNG unpacked by another of Pillow's raw modes than the one it chooses itself."""
    with Image.open(path, formats=["PNG"]) as image:
        image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
        return np.ascontiguousarray(np.asarray(image))


def _filter(raw: npt.NDArray[np.uint8], above: npt.NDArray[np.uint8], pixel_bytes: int) -> bytes:
    """Filtered rows, each with the number of its filter in front. `above` is the row before the first."""
    up = np.concatenate((above[None], raw[:-1]))
    left, up_left = np.zeros_like(raw), np.zeros_like(raw)
    left[:, pixel_bytes:] = raw[:, :-pixel_bytes]
    up_left[:, pixel_bytes:] = up[:, :-pixel_bytes]
    average = (left & up) + ((left ^ up) >> 1)
    candidates = (raw, raw - left, raw - up, raw - average, raw - _predict_paeth(left, up, up_left))
    costs = np.stack([np.minimum(rows, -rows).sum(axis=1, dtype=np.int64) for rows in candidates])
    best = costs.argmin(axis=0)
    filtered = np.empty((len(raw), raw.shape[1] + 1), np.uint8)
    filtered[:, 0] = best
    for number, rows in enumerate(candidates):
        filtered[best == number, 1:] = rows[best == number]
    return filtered.tobytes()


def _predict_paeth(
    left: npt.NDArray[np.uint8], up: npt.NDArray[np.uint8], up_left: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    a, b, c = left.astype(np.int16), up.astype(np.int16), up_left.astype(np.int16)
    to_left, to_up, to_up_left = np.abs(b - c), np.abs(a - c), np.abs(a + b - c - c)
    other = np.where(to_up <= to_up_left, up, up_left)
    return np.where((to_left <= to_up) & (to_left <= to_up_left), left, other)


def _pack_metadata(metadata: StillMetadata) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of `metadata`, in an order the standard allows."""
    yield from (chunk for chunk in metadata.png_chunks if chunk[0] in _COLOUR_CHUNKS)
    if metadata.icc:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc, 9)
    if metadata.dpi:
        x, y = (round(dots * INCHES_PER_METRE) for dots in metadata.dpi)
        yield b"pHYs", struct.pack(">IIB", min(x, 2**31 - 1), min(y, 2**31 - 1), 1)
    if metadata.exif:
        yield b"eXIf", metadata.exif
    if metadata.xmp:
        yield b"iTXt", _XMP_KEYWORD + b"\0\0\0\0\0" + metadata.xmp
    if metadata.comment:
        yield b"tEXt", b"Comment\0" + metadata.comment.replace(b"\0", b" ")
    yield from (chunk for chunk in metadata.png_chunks if chunk[0] in _TEXT_CHUNKS)


def _write_chunk(file: IO[bytes], kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _write_data(file: IO[bytes], data: bytes) -> None:
    if data:
        _write_chunk(file, b"IDAT", data)


def _read_chunks(file: IO[bytes], wanted: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
    file.seek(len(SIGNATURE))
    budget = _MAX_METADATA
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return
        if kind not in wanted or length > budget:
            file.seek(length + 4, 1)
            continue
        data, checksum = file.read(length), file.read(4)
        budget -= length
        if checksum == struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))):
            yield kind, data


def _read_phys(data: bytes) -> tuple[float, float] | None:
    if len(data) != 9 or data[8] != 1:
        return None
    x, y = struct.unpack(">II", data[:8])
    return (x / INCHES_PER_METRE, y / INCHES_PER_METRE) if x and y else None


def _read_itxt(data: bytes) -> bytes | None:
    _, _, rest = data.partition(b"\0")
    packed, text = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
    return _inflate(text) if packed else text


def _inflate(data: bytes) -> bytes | None:
    unpacker: Any = zlib.decompressobj()
    try:
        unpacked: bytes = unpacker.decompress(data, _MAX_METADATA)
    except zlib.error:
        return None
    return unpacked if unpacker.eof else None
