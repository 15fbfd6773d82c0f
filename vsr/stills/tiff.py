"""TIFF beyond Pillow: 16-bit samples, what its tags say, and a writer for both depths.

Tags, compressions and the horizontal predictor are those of TIFF 6.0 and of Adobe's technical notes on it;
BigTIFF is read as well.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from vsr.stills.exif import EXIF_IFD, ORIENTATION, PREFIX
from vsr.stills.still import Samples, StillMetadata, join_alpha

SUBFILE, BITS, COMPRESSION, PHOTOMETRIC, EXTRA_SAMPLES, SAMPLE_FORMAT = 254, 258, 259, 262, 338, 339
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
ASSOCIATED, UNASSOCIATED = 1, 2

_WIDTH, _HEIGHT, _STRIP_OFFSETS, _NUM_SAMPLES, _ROWS_PER_STRIP, _STRIP_SIZES = 256, 257, 273, 277, 278, 279
_X_RESOLUTION, _Y_RESOLUTION, _PLANAR, _RESOLUTION_UNIT, _PREDICTOR = 282, 283, 284, 296, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325
_XMP, _PHOTOSHOP, _ICC, _GPS_IFD, _MAKER_NOTE, _INTEROP_IFD = 700, 34377, 34675, 0x8825, 0x927C, 0xA005
_IMAGE_DESCRIPTION, _MAKE, _MODEL, _SOFTWARE, _DATE_TIME, _ARTIST, _COPYRIGHT = 270, 271, 272, 305, 306, 315, 33432

# What of IFD 0 describes the picture rather than how it is stored.
_DESCRIPTIVE = (_IMAGE_DESCRIPTION, _MAKE, _MODEL, ORIENTATION, _SOFTWARE, _DATE_TIME, _ARTIST, _COPYRIGHT)
_NONE, _LZW, _DEFLATE, _DEFLATE_OLD, _PACKBITS, _LZMA, _ZSTD = 1, 5, 8, 32946, 32773, 34925, 50000
_REDUCED_PAGE, _MASK_PAGE = 1, 4
_MAX_PAGES = 100_000
_STRIP_BYTES = 1 << 20
_BYTE, _UNDEFINED, _LONG = 1, 7, 4
_UNDO_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Page:
    """One page's tags, with those that tell its layout by name."""

    tags: Mapping[int, Any]
    byte_order: str

    def value(self, tag: int, default: int) -> int:
        value = self.tags.get(tag)
        if isinstance(value, tuple):
            value = value[0] if value else None
        return default if value is None else int(value)

    def values(self, tag: int) -> tuple[int, ...]:
        value = self.tags.get(tag, ())
        return tuple(value) if isinstance(value, tuple) else (value,)

    @property
    def width(self) -> int:
        return self.value(_WIDTH, 0)

    @property
    def height(self) -> int:
        return self.value(_HEIGHT, 0)

    @property
    def is_deep(self) -> bool:
        """True for grey and RGB, with or without more samples, of 16 unsigned bits each."""
        return (
            set(self.values(BITS)) == {16}
            and set(self.values(SAMPLE_FORMAT)) <= {1}
            and self.value(PHOTOMETRIC, -1) in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
        )


def read_pages(file: IO[bytes]) -> list[Page]:
    """The pages that are pictures in their own right: no thumbnails, no masks. At least one, or ValueError."""
    file.seek(0)
    header = file.read(8)
    if header[2:3] == b"\x2b" or header[3:4] == b"\x2b":
        header += file.read(8)
    directory = ImageFileDirectory_v2(header)
    pages: list[Page] = []
    seen = set[int]()
    while directory.next and directory.next not in seen and len(seen) < _MAX_PAGES:
        seen.add(directory.next)
        file.seek(directory.next)
        directory.load(file)
        page = Page(dict(directory), "<" if header[:1] == b"I" else ">")
        if not pages or not page.value(SUBFILE, 0) & (_REDUCED_PAGE | _MASK_PAGE):
            pages.append(page)
    if not pages:
        raise ValueError("no page in the TIFF file")
    return pages


def read_metadata(page: Page, image: Image.Image | None) -> StillMetadata:
    """What the tags of `page` say. `image` is Pillow's view of the file, for the EXIF directories; None without."""
    tags = page.tags
    resolution = tuple(float(tags.get(tag, 0) or 0) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    per_inch = {2: 1.0, 3: 2.54}.get(page.value(_RESOLUTION_UNIT, 2))
    kept: dict[int, Any] = {tag: tags[tag] for tag in _DESCRIPTIVE if tag in tags}
    if image is not None:
        for tag in (EXIF_IFD, _GPS_IFD):
            if directory := image.getexif().get_ifd(tag):
                kept[tag] = _plain(directory)
    return StillMetadata(
        exif=b"II*\x00\x08\x00\x00\x00" + _directory(kept).tobytes(8) if kept else None,
        icc=_as_bytes(tags.get(_ICC)),
        xmp=_as_bytes(tags.get(_XMP)),
        photoshop=_as_bytes(tags.get(_PHOTOSHOP)),
        dpi=(resolution[0] * per_inch, resolution[1] * per_inch) if per_inch and all(resolution) else None,
    )


def load_as_stored(image: Image.Image) -> Image.Image:
    """Load a TIFF without the turn that Pillow gives it: it applies the orientation of TIFF files, and of no others."""
    orientation = image.getexif().get(ORIENTATION, 1)
    image.load()
    undo = _UNDO_ORIENTATION.get(orientation)
    return image if undo is None else image.transpose(undo)


def read_deep(data: bytes, page: Page) -> npt.NDArray[np.uint16]:
    """The samples of a page of 16 bits: H,W,S of uint16, as stored (inverted or premultiplied as they are).

    Pillow has no mode for them, but it unpacks any compression: to it the page is shown as 8-bit grey of as
    many columns as a row has bytes, through a directory of our own appended to the file. Only the byte
    order and the predictor, which knows of samples, are left to do.

    Raises:
        ValueError: the layout or the compression is one that cannot be shown so.
        OSError: what Pillow says of broken data.
    """
    num_samples = page.value(_NUM_SAMPLES, 1)
    compression, predictor = page.value(COMPRESSION, 1), page.value(_PREDICTOR, 1)
    if compression not in (_NONE, _LZW, _DEFLATE, _DEFLATE_OLD, _PACKBITS, _LZMA, _ZSTD) or predictor not in (1, 2):
        raise ValueError(f"compression {compression} with predictor {predictor} is not read at 16 bits")
    num_planes = num_samples if page.value(_PLANAR, 1) == 2 else 1
    samples_per_plane = num_samples // num_planes
    planes = []
    for plane in range(num_planes):
        raw = _unpack(data, page, plane, num_planes, 2 * samples_per_plane)
        samples = raw.view(page.byte_order + "u2").astype(np.uint16)
        samples = samples.reshape(page.height, page.width, samples_per_plane)
        if predictor == 2:
            step = page.value(_TILE_WIDTH, page.width)
            for start in range(0, page.width, step):
                block = samples[:, start : start + step]
                np.cumsum(block, axis=1, dtype=np.uint16, out=block)
        planes.append(samples)
    return np.concatenate(planes, axis=2) if num_planes > 1 else planes[0]


def write(file: IO[bytes], pixels: Samples, alpha: Samples | None, metadata: StillMetadata) -> None:
    """Write a TIFF of `pixels` (H,W,1|3) and `alpha` (H,W), uint8 or uint16: deflate, horizontal predictor.

    Raises:
        ValueError: more than 4 GiB even when packed, which a classic TIFF cannot hold.
    """
    height, width, channels = pixels.shape
    num_samples = channels + (alpha is not None)
    num_rows = min(height, max(1, _STRIP_BYTES // (width * num_samples * pixels.itemsize)))
    strips = list(_pack_strips(pixels, alpha, num_rows))
    sizes = [len(strip) for strip in strips]
    if sum(sizes) > 2**32 - 2**26:
        raise ValueError("more than 4 GiB of pixels do not fit into a TIFF")
    entries: dict[int, Any] = {
        _WIDTH: width,
        _HEIGHT: height,
        BITS: (8 * pixels.itemsize,) * num_samples,
        COMPRESSION: _DEFLATE,
        PHOTOMETRIC: BLACK_IS_ZERO if channels == 1 else RGB,
        _NUM_SAMPLES: num_samples,
        _ROWS_PER_STRIP: num_rows,
        _STRIP_OFFSETS: tuple(int(start) for start in np.cumsum([0, *sizes[:-1]])),
        _STRIP_SIZES: tuple(sizes),
        _PLANAR: 1,
        _PREDICTOR: 2,
    }
    if alpha is not None:
        entries[EXTRA_SAMPLES] = UNASSOCIATED
    entries |= _metadata_entries(metadata)
    directory = _directory(entries)
    file.write(struct.pack("<2sHI", b"II", 42, 8))
    file.write(directory.tobytes(8))
    for strip in strips:
        file.write(strip)


def _unpack(data: bytes, page: Page, plane: int, num_planes: int, pixel_bytes: int) -> npt.NDArray[np.uint8]:
    """The bytes of one plane, H, W * pixel_bytes, decompressed by Pillow."""
    entries = {
        _WIDTH: [page.width * pixel_bytes],
        _HEIGHT: [page.height],
        BITS: [8],
        COMPRESSION: [page.value(COMPRESSION, 1)],
        PHOTOMETRIC: [BLACK_IS_ZERO],
        _NUM_SAMPLES: [1],
        _PLANAR: [1],
    }
    tiled = _TILE_WIDTH in page.tags
    for tag in (_TILE_OFFSETS, _TILE_SIZES) if tiled else (_STRIP_OFFSETS, _STRIP_SIZES):
        values = page.values(tag)
        if not values or len(values) % num_planes or max(values) >= 2**32:
            raise ValueError("strips or tiles are missing, or lie beyond 4 GiB")
        share = len(values) // num_planes
        entries[tag] = list(values[plane * share : (plane + 1) * share])
    if tiled:
        entries[_TILE_WIDTH] = [page.value(_TILE_WIDTH, 0) * pixel_bytes]
        entries[_TILE_HEIGHT] = [page.value(_TILE_HEIGHT, 0)]
    else:
        entries[_ROWS_PER_STRIP] = [min(page.value(_ROWS_PER_STRIP, page.height), page.height)]
    start = len(data) + len(data) % 2
    shown = struct.pack("<2sHI", b"II", 42, start) + data[8:] + b"\0" * (len(data) % 2) + _pack_longs(entries, start)
    with Image.open(io.BytesIO(shown), formats=["TIFF"]) as image:
        return np.ascontiguousarray(np.asarray(image))


def _pack_longs(entries: Mapping[int, list[int]], start: int) -> bytes:
    """A little-endian directory of 32-bit values for the file position `start`."""
    records, values = [], b""
    after = start + 2 + 12 * len(entries) + 4
    for tag, numbers in sorted(entries.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        position = packed if len(numbers) == 1 else struct.pack("<I", after + len(values))
        records.append(struct.pack("<HHI", tag, _LONG, len(numbers)) + position)
        if len(numbers) > 1:
            values += packed
    return struct.pack("<H", len(records)) + b"".join(records) + b"\0\0\0\0" + values


def _pack_strips(pixels: Samples, alpha: Samples | None, num_rows: int) -> Iterator[bytes]:
    for row in range(0, pixels.shape[0], num_rows):
        rows = slice(row, row + num_rows)
        band = join_alpha(pixels[rows], None if alpha is None else alpha[rows])
        differences: Samples = np.array(band, dtype=band.dtype.newbyteorder("<"))
        differences[:, 1:] -= band[:, :-1]
        yield zlib.compress(differences.tobytes(), 6)


def _metadata_entries(metadata: StillMetadata) -> dict[int, Any]:
    entries: dict[int, Any] = {}
    if metadata.exif:
        exif = Image.Exif()
        exif.load(PREFIX + metadata.exif)
        entries = {tag: exif[tag] for tag in _DESCRIPTIVE if tag in exif}
        for tag in (EXIF_IFD, _GPS_IFD):
            if directory := exif.get_ifd(tag):
                entries[tag] = _plain(directory)
    for tag, data in ((_ICC, metadata.icc), (_XMP, metadata.xmp), (_PHOTOSHOP, metadata.photoshop)):
        if data:
            entries[tag] = data
    if metadata.dpi:
        entries[_X_RESOLUTION], entries[_Y_RESOLUTION] = (
            IFDRational(round(dots * 1000), 1000) for dots in metadata.dpi
        )
        entries[_RESOLUTION_UNIT] = 2
    return entries


def _plain(directory: Mapping[int, Any]) -> dict[int, Any]:
    """A sub-directory without what cannot be moved: maker notes hold offsets into the file they came from."""
    return {
        tag: value
        for tag, value in directory.items()
        if tag not in (_MAKER_NOTE, _INTEROP_IFD) and not isinstance(value, dict)
    }


def _directory(entries: Mapping[int, Any]) -> ImageFileDirectory_v2:
    directory = ImageFileDirectory_v2(b"II*\x00\x08\x00\x00\x00")
    for tag, value in entries.items():
        if tag in (_STRIP_OFFSETS, _STRIP_SIZES, EXIF_IFD, _GPS_IFD):
            directory.tagtype[tag] = _LONG
        elif tag in (_ICC, _PHOTOSHOP):
            directory.tagtype[tag] = _UNDEFINED
        elif tag == _XMP:
            directory.tagtype[tag] = _BYTE
        directory[tag] = value
    return directory


def _as_bytes(value: object) -> bytes | None:
    match value:
        case bytes() | (bytes(),):
            return value if isinstance(value, bytes) else value[0]
        case tuple() if all(isinstance(item, int) for item in value):
            return bytes(item & 255 for item in value)
    return None
