"""Colour tags of a picture: the four code points of ITU-T H.273 that a film carries about its colours.

The numbers are those of H.273 (and so of FFmpeg's AVCOL_* enumerations), except `range`, which is
FFmpeg's AVCOL_RANGE_*: 0 unspecified, 1 limited ("tv"), 2 full ("pc").
"""

from __future__ import annotations

from dataclasses import dataclass, replace

UNSPECIFIED = 2
RANGE_UNSPECIFIED, RANGE_LIMITED, RANGE_FULL = 0, 1, 2
MATRIX_RGB, MATRIX_BT709, MATRIX_BT470BG, MATRIX_SMPTE170M = 0, 1, 5, 6
TRANSFER_PQ, TRANSFER_HLG = 16, 18

# FFmpeg and every player draw the line between SD and HD here when a film says nothing.
HD_MIN_WIDTH, HD_MIN_HEIGHT = 1280, 577


@dataclass(frozen=True, slots=True)
class ColorTags:
    """Matrix coefficients, range, primaries and transfer, as signalled (2, or range 0: not signalled)."""

    matrix: int = UNSPECIFIED
    range: int = RANGE_UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @property
    def is_hdr(self) -> bool:
        """True for PQ (SMPTE ST 2084) and HLG (ARIB STD-B67) films."""
        return self.transfer in (TRANSFER_PQ, TRANSFER_HLG)

    def resolve(self, width: int, height: int) -> ColorTags:
        """These tags with matrix and range decided, for a picture of `width` x `height` source pixels.

        Unsignalled SD is BT.601, unsignalled HD is BT.709, unsignalled range is limited. Primaries and
        transfer stay as they are: no conversion here needs them, and inventing them would be a lie.
        """
        matrix = self.matrix
        if matrix in (UNSPECIFIED, 3):  # 3 is reserved in H.273
            is_hd = width >= HD_MIN_WIDTH or height >= HD_MIN_HEIGHT
            matrix = MATRIX_BT709 if is_hd else MATRIX_SMPTE170M
        return replace(self, matrix=matrix, range=self.range or RANGE_LIMITED)
