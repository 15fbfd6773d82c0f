"""Figures of one picture, of one method on a set of data, and of all methods on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vsr.evaluation.sources import Pixels, to_tensor
from vsr.metrics import luma_bt601, psnr, ssim

__all__ = ["DataResult", "MethodResult", "PictureScores", "Skipped", "compare"]


@dataclass(frozen=True, slots=True)
class PictureScores:
    """PSNR in dB (infinite for equal pictures) and SSIM, on luma (BT.601, not rounded) and over red, green, blue.

    The PSNR of RGB is that of the error over all three channels, the SSIM the mean of the three.
    """

    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float

    @classmethod
    def mean(cls, scores: Sequence[PictureScores]) -> PictureScores:
        """The mean over pictures of each figure (dB are averaged, not errors, as the papers do)."""
        names = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")
        return cls(*(math.fsum(getattr(one, name) for one in scores) / len(scores) for name in names))

    def to_json(self) -> dict[str, float | None]:
        """Rounded to what can be told apart; None for what JSON cannot hold: the infinite PSNR of equal pictures."""
        return {name: round(value, 5) if math.isfinite(value) else None for name, value in asdict(self).items()}


def compare(output_HWC: Pixels, reference_HWC: Pixels, border: int) -> PictureScores:
    """The figures of two 8-bit RGB pictures of one size, without `border` pixels at each edge.

    Raises:
        ValueError: sizes differ, or less than 11x11 pixels are left.
    """
    output, reference = to_tensor(output_HWC).double(), to_tensor(reference_HWC).double()
    output_y, reference_y = luma_bt601(output), luma_bt601(reference)
    return PictureScores(
        psnr_y=psnr(output_y, reference_y, border=border),
        ssim_y=ssim(output_y, reference_y, border=border),
        psnr_rgb=psnr(output, reference, border=border),
        ssim_rgb=ssim(output, reference, border=border),
    )


@dataclass(slots=True)
class MethodResult:
    """What one method reached on one set of data.

    Attributes:
        pictures: (name, figures) of every picture or frame, in order.
        temporal_difference: of a film of two frames or more, see `vsr.metrics.TemporalDifference`; else None.
    """

    model: str
    pictures: list[tuple[str, PictureScores]] = field(default_factory=list)
    temporal_difference: float | None = None

    @property
    def mean(self) -> PictureScores:
        return PictureScores.mean([scores for _, scores in self.pictures])

    def to_json(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"model": self.model, **self.mean.to_json()}
        if self.temporal_difference is not None:
            facts["temporal_difference"] = round(self.temporal_difference, 5)
        return facts | {"pictures": [{"name": name, **scores.to_json()} for name, scores in self.pictures]}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A picture that could not be used, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class DataResult:
    """What all methods reached on one folder or film.

    Attributes:
        kind: "pictures" or "film".
        skipped: pictures that were left out of all figures.
        warnings: what else the reader of the figures should know.
    """

    name: str
    path: str
    kind: str
    methods: list[MethodResult]
    skipped: list[Skipped] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Pictures or frames that the figures are made of."""
        return len(self.methods[0].pictures)

    @property
    def is_complete(self) -> bool:
        return not self.skipped and not self.warnings

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "path": self.path,
            "kind": self.kind,
            "count": self.count,
            "models": [method.to_json() for method in self.methods],
            "skipped": [asdict(one) for one in self.skipped],
            "warnings": self.warnings,
        }
