"""Matrix coefficients and quantisation of ITU-T H.273, section 8.3 (MatrixCoefficients), as plain numbers.

E'R, E'G, E'B are the non-linear components, nominally 0..1; E'Y is 0..1, E'PB and E'PR are -0.5..0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

from vsr.errors import SourceError
from vsr.video.color import MATRIX_RGB, RANGE_FULL

Matrix3 = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

MATRIX_YCGCO = 8

# H.273, table of MatrixCoefficients: KR and KB.
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC title 47
    5: (0.299, 0.114),  # BT.470 system B, G (BT.601 625)
    6: (0.299, 0.114),  # SMPTE 170M (BT.601 525)
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020 non-constant luminance
}

# What else a film can say, and what no constant 3x3 matrix on E'R, E'G, E'B undoes.
_UNSUPPORTED = {
    10: "BT.2020 constant luminance",
    11: "SMPTE ST 2085 (Y'D'zD'x)",
    12: "chromaticity-derived, non-constant luminance",
    13: "chromaticity-derived, constant luminance",
    14: "BT.2100 ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}


def encoding_matrix(matrix: int) -> Matrix3:
    """Rows that make E'Y, E'PB, E'PR out of (E'R, E'G, E'B), for the code point `matrix`.

    Raises:
        SourceError: the code point is none that a 3x3 matrix describes.
    """
    if matrix == MATRIX_RGB:
        return ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
    if matrix == MATRIX_YCGCO:
        return ((0.25, 0.5, 0.25), (-0.25, 0.5, -0.25), (0.5, 0.0, -0.5))
    kr, kb = _find_weights(matrix)
    kg = 1.0 - kr - kb
    blue, red = 2.0 * (1.0 - kb), 2.0 * (1.0 - kr)
    return ((kr, kg, kb), (-kr / blue, -kg / blue, 0.5), (0.5, -kg / red, -kb / red))


def decoding_matrix(matrix: int) -> Matrix3:
    """The inverse of `encoding_matrix`: rows that make E'R, E'G, E'B out of (E'Y, E'PB, E'PR).

    Raises:
        SourceError: the code point is none that a 3x3 matrix describes.
    """
    if matrix == MATRIX_RGB:
        return ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    if matrix == MATRIX_YCGCO:
        return ((1.0, -1.0, 1.0), (1.0, 1.0, 0.0), (1.0, -1.0, -1.0))
    kr, kb = _find_weights(matrix)
    kg = 1.0 - kr - kb
    blue, red = 2.0 * (1.0 - kb), 2.0 * (1.0 - kr)
    return ((1.0, 0.0, red), (1.0, -kb * blue / kg, -kr * red / kg), (1.0, blue, 0.0))


def _find_weights(matrix: int) -> tuple[float, float]:
    weights = _LUMA_WEIGHTS.get(matrix)
    if weights is None:
        name = _UNSUPPORTED.get(matrix, "unknown or not resolved")
        raise SourceError(
            f"matrix coefficients {matrix} ({name}) are not supported",
            hint="convert the film to BT.709 or BT.2020 non-constant luminance first, for instance with FFmpeg's "
            "libplacebo filter",
        )
    return weights


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How integer codes stand for components: code = round(component * scale + offset), clipped to 0..peak.

    Luma and RGB components use the luma figures. Limited range leaves head- and footroom, so decoded values
    may lie outside 0..1.
    """

    luma_scale: float
    luma_offset: float
    chroma_scale: float
    chroma_offset: float
    peak: float


def quantise(bits: int, color_range: int, matrix: int) -> Quantisation:
    """The quantisation of `bits`-bit codes (H.273, section 8.3).

    Args:
        bits: 1 to 32; limited range is defined from 8 bits on.
        color_range: RANGE_FULL, or anything else for limited.
        matrix: with RGB (0) all three components are coded like luma, with YCgCo (8) chroma has luma's scale.
    """
    peak = float((1 << bits) - 1)
    if color_range == RANGE_FULL:
        luma_scale, luma_offset, chroma_scale = peak, 0.0, peak
    else:
        step = 2.0 ** (bits - 8)
        luma_scale, luma_offset = 219.0 * step, 16.0 * step
        chroma_scale = luma_scale if matrix in (MATRIX_RGB, MATRIX_YCGCO) else 224.0 * step
    if matrix == MATRIX_RGB:
        return Quantisation(luma_scale, luma_offset, luma_scale, luma_offset, peak)
    return Quantisation(luma_scale, luma_offset, chroma_scale, float(1 << bits >> 1), peak)
