"""Files that are still being written: what their outermost structure says is missing. Reads heads and tails alone.

Nothing is decoded, so the answer comes at once for files of any size. Where a format does not state its size (MPEG
streams, Matroska that was written to a pipe), nothing is known, and nothing is said.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["find_shortfall", "riff_shortfall", "segment_shortfall"]

HEAD_BYTES = 4096
# Programs that lay a file out before they fill it leave zeros at its end.
TAIL_BYTES = 4096
_SEGMENT_ID = bytes.fromhex("18538067")
_EBML_ID = bytes.fromhex("1a45dfa3")
# Boxes that MP4, QuickTime, AVIF and HEIC files begin with, and those that say what is in them (ISO 14496-12).
_FIRST_BOXES = frozenset((b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp"))
_INDEX_BOXES = frozenset((b"moov", b"moof", b"meta"))


def find_shortfall(path: Path) -> str | None:
    """In words what the file at hand seems to lack; None where nothing is known to be missing.

    Raises:
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size == 0:
        return "it is empty"
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(max(0, size - TAIL_BYTES))
        tail = file.read(TAIL_BYTES)
    if len(tail) == TAIL_BYTES and not any(tail):
        return "its end is nothing but zeros"
    if head[4:8] in _FIRST_BOXES:
        return _box_shortfall(path, size)
    if head.startswith(_EBML_ID):
        missing = segment_shortfall(path)
    elif head.startswith(b"RIFF"):
        missing = riff_shortfall(path)
    elif head.startswith(b"\x89PNG"):
        return None if b"IEND" in tail else "its last chunk is missing"
    elif head.startswith(b"\xff\xd8\xff"):
        return None if b"\xff\xd9" in tail else "its end marker is missing"
    else:
        return None
    return f"{missing} bytes are missing at its end" if missing else None


def riff_shortfall(path: Path) -> int:
    """Bytes that an AVI or WebP file lacks of what its first chunk states; 0 for other files."""
    with path.open("rb") as file:
        head = file.read(12)
    missing = int.from_bytes(head[4:8], "little") + 8 - path.stat().st_size
    return missing if head[:4] == b"RIFF" and missing > 1 else 0  # one byte of padding is often left out


def segment_shortfall(path: Path) -> int:
    """Bytes that a Matroska file lacks of its one large element, which states its size unless it was written to a
    stream (RFC 8794, section 6); 0 where it does not."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    segment = head.find(_SEGMENT_ID)
    if segment < 0 or segment + 12 > len(head):
        return 0
    length = 9 - head[segment + 4].bit_length()
    stated = int.from_bytes(head[segment + 4 : segment + 4 + length], "big") - (1 << 7 * length)
    if not 1 <= length <= 8 or stated == (1 << 7 * length) - 1:
        return 0  # unknown
    return max(0, segment + 4 + length + stated - path.stat().st_size)


def _box_shortfall(path: Path, size: int) -> str | None:
    """What the boxes of the outermost level lack: their own bytes, or the one that says what the others hold."""
    at, kinds = 0, set()
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            header = file.read(16)
            kind, length = header[4:8], int.from_bytes(header[:4], "big")
            if length == 1:  # the size did not fit, and follows
                length = int.from_bytes(header[8:16], "big")
            if not kind.isascii() or (length != 0 and length < 8):
                return None  # something else was appended
            kinds.add(kind)
            if length == 0:  # up to the end of the file
                break
            at += length
    if at > size:
        return f"{at - size} bytes are missing at its end"
    return None if kinds & _INDEX_BOXES else "its index is not written yet"
