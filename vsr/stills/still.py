"""What a still picture is to vsr: samples, transparency, and everything said about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from vsr.stills.exif import read_orientation

# uint8 or uint16
Samples: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class StillMetadata:
    """What a picture file says beside its pixels, as bytes of the source wherever that is possible.

    Attributes:
        exif: the TIFF structure of an EXIF block, without the ``Exif\\0\\0`` in front.
        icc: the ICC profile.
        xmp: the XMP packet.
        dpi: pixels per inch, horizontal and vertical.
        photoshop: Photoshop image resources (the home of IPTC), without ``Photoshop 3.0\\0``.
        comment: a JPEG comment.
        png_chunks: (type, data) of PNG chunks on colour and text that have no home above.
        lossy: the source is stored lossily (JPEG, lossy WebP, AVIF, HEIC).
        jpeg_tables: quantisation tables of a JPEG source.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    photoshop: bytes | None = None
    comment: bytes | None = None
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()
    lossy: bool = False
    jpeg_tables: tuple[tuple[int, ...], ...] = ()

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 (upright) to 8; 1 where nothing is said."""
        return read_orientation(self.exif) if self.exif else 1


@dataclass(frozen=True, eq=False)
class Still:
    """A picture, as stored: no orientation applied, no colour converted (CMYK excepted).

    Attributes:
        pixels: H,W,C of uint8 or uint16, C = 1 (grey) or 3 (RGB), 0..255 or 0..65535, not premultiplied.
        alpha: H,W of the same dtype, 0 = transparent; None where the picture has no alpha.
        bits: 8 or 16.
        metadata: what the file says beside its pixels.
        format: of the source: PNG, JPEG, TIFF, WEBP, BMP, AVIF or HEIF.
        warnings: what could not be read as it is stored, one sentence each.
    """

    pixels: Samples
    alpha: Samples | None = None
    bits: int = 8
    metadata: StillMetadata = field(default_factory=StillMetadata)
    format: str = "PNG"
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        dtype = np.uint8 if self.bits == 8 else np.uint16
        assert self.bits in (8, 16), self.bits
        assert self.pixels.dtype == dtype, self.pixels.dtype
        assert self.pixels.ndim == 3, self.pixels.shape
        assert self.pixels.shape[2] in (1, 3), self.pixels.shape
        assert self.alpha is None or (self.alpha.dtype == dtype and self.alpha.shape == self.pixels.shape[:2])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def is_opaque(self) -> bool:
        """True where no pixel is even slightly transparent."""
        return self.alpha is None or bool((self.alpha == 2**self.bits - 1).all())


def join_alpha(pixels: Samples, alpha: Samples | None) -> Samples:
    """H,W,C and H,W -> H,W,C+1, alpha last; `pixels` themselves where there is no alpha."""
    return pixels if alpha is None else np.concatenate((pixels, alpha[..., None]), axis=2)
