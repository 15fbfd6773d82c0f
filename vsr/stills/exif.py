"""Reading and correcting single values of an EXIF block without moving a byte of the rest.

A block that is parsed and written anew loses what the parser does not know, and breaks maker notes, which
point into the block by absolute offsets. So values are overwritten where they stand. The layout is that of
TIFF 6.0, section 2; the tags are those of Exif 2.32.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

ORIENTATION, IMAGE_WIDTH, IMAGE_LENGTH = 0x0112, 0x0100, 0x0101
EXIF_IFD, PIXEL_X_DIMENSION, PIXEL_Y_DIMENSION = 0x8769, 0xA002, 0xA003
PREFIX = b"Exif\x00\x00"

_SHORT, _LONG = 3, 4
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8]")


def read_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8; 1 where it is absent or makes no sense."""
    for tag, _, _, value in _walk(exif):
        if tag == ORIENTATION and 1 <= value <= 8:
            return value
    return 1


def correct_exif(exif: bytes, *, width: int, height: int, orientation: int | None = None) -> bytes:
    """The same block with the size of the new picture in it, and the orientation where one is given.

    Only values that are there are changed; nothing is added. A side that does not fit its 16-bit field
    stays as it was.
    """
    values = {IMAGE_WIDTH: width, PIXEL_X_DIMENSION: width, IMAGE_LENGTH: height, PIXEL_Y_DIMENSION: height}
    if orientation is not None:
        values[ORIENTATION] = orientation
    corrected = bytearray(exif)
    for tag, position, layout, _ in _walk(exif):
        value = values.get(tag)
        if value is not None and value < 1 << 8 * struct.calcsize(layout):
            struct.pack_into(layout, corrected, position, value)
    return bytes(corrected)


def correct_xmp(xmp: bytes) -> bytes:
    """The same packet with its orientation, if it states one, set to upright."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def _walk(exif: bytes) -> Iterator[tuple[int, int, str, int]]:
    """Yield (tag, position, struct layout, value) of the whole numbers in IFD 0 and in the Exif IFD."""
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return
    (start,) = struct.unpack_from(order + "I", exif, 4)
    pending, seen = [start], set[int]()
    while pending:
        start = pending.pop()
        if start in seen or start + 2 > len(exif):
            continue
        seen.add(start)
        (num_entries,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(start + 2, min(start + 2 + 12 * num_entries, len(exif) - 11), 12):
            tag, kind, count = struct.unpack_from(order + "HHI", exif, entry)
            if count != 1 or kind not in (_SHORT, _LONG):
                continue
            layout = order + ("H" if kind == _SHORT else "I")
            (value,) = struct.unpack_from(layout, exif, entry + 8)
            if tag == EXIF_IFD:
                pending.append(value)
            else:
                yield tag, entry + 8, layout, value
