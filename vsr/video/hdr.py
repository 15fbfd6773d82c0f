"""Static HDR metadata: mastering display (SMPTE ST 2086) and content light level (CTA-861.3).

Decoders give them as FFmpeg's side-data structures; encoders want them as text options. The integers in
between are those of the H.265 SEI messages: chromaticities in 1/50000, luminances in 1/10000 cd/m².
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["HdrMetadata", "read_hdr_metadata"]


@dataclass(frozen=True, slots=True)
class HdrMetadata:
    """`primaries` is (Rx, Ry, Gx, Gy, Bx, By, Wx, Wy) in CIE 1931 coordinates; luminances in cd/m².

    Either half may be missing (None): a film may state one without the other.
    """

    primaries: tuple[Fraction, ...] | None
    luminance: tuple[Fraction, Fraction] | None  # (lowest, highest)
    max_content: int | None  # brightest pixel, cd/m²
    max_average: int | None  # brightest frame average, cd/m²

    def x265_params(self) -> dict[str, str]:
        """Options for x265 (and x264 under its own names): integers of the SEI messages."""
        params = {}
        if self.primaries is not None and self.luminance is not None:
            rx, ry, gx, gy, bx, by, wx, wy = (round(value * 50000) for value in self.primaries)
            low, high = (round(value * 10000) for value in self.luminance)
            params["master-display"] = f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})"
        if self.max_content is not None:
            params["max-cll"] = f"{self.max_content},{self.max_average or 0}"
        return params

    def x264_params(self) -> dict[str, str]:
        names = {"master-display": "mastering-display", "max-cll": "cll"}
        return {names[key]: value for key, value in self.x265_params().items()}

    def svtav1_params(self) -> dict[str, str]:
        """SVT-AV1 takes real numbers."""
        params = {}
        if self.primaries is not None and self.luminance is not None:
            rx, ry, gx, gy, bx, by, wx, wy = (f"{float(value):.5f}" for value in self.primaries)
            low, high = (f"{float(value):.4f}" for value in self.luminance)
            params["mastering-display"] = f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})"
        if self.max_content is not None:
            params["content-light"] = f"{self.max_content},{self.max_average or 0}"
        return params


def read_hdr_metadata(mastering: bytes | None, light_level: bytes | None) -> HdrMetadata | None:
    """From AVMasteringDisplayMetadata and AVContentLightMetadata as they lie in memory; None if both are missing.

    AVMasteringDisplayMetadata is 10 rationals of two ints (R, G, B, white as x and y; lowest and highest
    luminance) and two flags; AVContentLightMetadata is two unsigned ints.
    """
    primaries = luminance = None
    if mastering is not None and len(mastering) >= 88:
        numbers = struct.unpack("=22i", mastering[:88])
        pairs = zip(numbers[0:20:2], numbers[1:20:2], strict=True)
        rationals = [Fraction(n, d) if d else Fraction(0) for n, d in pairs]
        has_primaries, has_luminance = numbers[20], numbers[21]
        primaries = tuple(rationals[:8]) if has_primaries else None
        luminance = (rationals[8], rationals[9]) if has_luminance else None
    max_content = max_average = None
    if light_level is not None and len(light_level) >= 8:
        max_content, max_average = struct.unpack("=2I", light_level[:8])
    if primaries is None and luminance is None and max_content is None:
        return None
    return HdrMetadata(primaries, luminance, max_content, max_average)
