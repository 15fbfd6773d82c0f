"""Still pictures: PNG, TIFF, JPEG, WebP, BMP and AVIF in and out, 8 and 16 bits, with all that is said about them.

    still.py     Still, StillMetadata: what a picture is
    formats.py   which files are stills, what each format can hold (imports nothing heavy)
    reader.py    read_still
    writer.py    write_still, check_output
    png.py       16-bit samples and chunks
    tiff.py      16-bit samples and tags
    exif.py      correcting an EXIF block in place

Pillow does the decoding. It holds no more than 8 bits in colour; png.py and tiff.py show how it reads 16 all the same.
"""

from __future__ import annotations

from vsr.stills.formats import STILL_SUFFIXES, format_of_suffix, is_still
from vsr.stills.reader import MAX_PIXELS, read_still
from vsr.stills.still import Still, StillMetadata
from vsr.stills.writer import check_output, choose_format, write_still

__all__ = [
    "MAX_PIXELS",
    "STILL_SUFFIXES",
    "Still",
    "StillMetadata",
    "check_output",
    "choose_format",
    "format_of_suffix",
    "is_still",
    "read_still",
    "write_still",
]
