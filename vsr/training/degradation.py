"""Which degradation makes the inputs of a training: settings as a recipe's [degradation] table gives them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Protocol, get_type_hints

import numpy as np
import numpy.typing as npt

from vsr.errors import SettingsError
from vsr.training.film import Film
from vsr.training.second_order import SecondOrder
from vsr.video.recompression import LOSSY_CODECS

__all__ = ["KINDS", "DegradationSettings", "Degrade", "build_degradation"]

Picture = npt.NDArray[np.uint8]
Range = tuple[float, float]

KINDS = ("none", "realesrgan", "film")
_CLASSES: dict[str, type[Film] | type[SecondOrder]] = {"realesrgan": SecondOrder, "film": Film}

# Least and greatest sensible value of each setting that is no share.
_LIMITS = {
    "blur_sigma": (0.05, 20.0),
    "blur2_sigma": (0.05, 20.0),
    "resize": (0.05, 4.0),
    "resize2": (0.05, 4.0),
    "noise_sigma": (0.0, 128.0),
    "noise2_sigma": (0.0, 128.0),
    "poisson_scale": (0.0, 20.0),
    "poisson2_scale": (0.0, 20.0),
    "jpeg_quality": (1.0, 100.0),
    "crf": (0.0, 51.0),
    "motion": (0.0, 16.0),
}


class Degrade(Protocol):
    """Makes the input that belongs to a target: the same bytes for the same `rng` state, in any process."""

    def prepare(self, high_HWC: Picture, scale: int, rng: np.random.Generator) -> Picture:
        """The target itself, which may get grain or lose its colours as the input does; call it before that is made."""

    def __call__(self, high_HWC: Picture, scale: int, rng: np.random.Generator) -> Picture:
        """RGB uint8 (H, W, 3), sides divisible by `scale` -> RGB uint8 (H / scale, W / scale, 3)."""


@dataclass(frozen=True, slots=True)
class DegradationSettings:
    """What is done to inputs, and how strongly: shares are of all sheets (0 to 1), ranges are [least, most].

    What is not given (None) is as the kind has it: the paper's figures for "realesrgan", see `SecondOrder`, and ones
    tuned on old films for "film", see `Film`. A setting that the kind does not have is refused; "none" ignores all.

    Attributes:
        kind: "none" (resized only), "realesrgan" (second order) or "film" (soft, grainy, compressed by video codecs).
        clean_share: inputs that are only resized.
        blur_share, blur_sigma: first blur; pixels of the target for realesrgan, of the input for film.
        blur2_share, blur2_sigma: second blur (realesrgan).
        sinc_share: sinc kernels among the blurs; final_sinc_share: sinc filter at the end (realesrgan).
        resize, resize2: sizes on the way: over the target's, then over the input's (realesrgan);
            over the input's, before the codec (film).
        noise_share: sheets with grain (film).
        noise_sigma, noise2_sigma: standard deviation of Gaussian noise or grain, levels of 255.
        poisson_scale, poisson2_scale: strength of Poisson noise (realesrgan).
        jpeg_quality: Pillow's (realesrgan).
        codec_share: sheets that a video codec codes (film), or rounds after each JPEG as in RealBasicVSR (realesrgan).
        codecs: drawn evenly; a name given twice is drawn twice as often.
        crf: quality of x264; other codecs get what loses as much.
        second_round_share: sheets that are coded twice, as re-uploads are (film).
        halo_share: sheets with the halos of sharpening; interlace_share: softened by deinterlacing (film).
        motion: most pixels of the input that a clip moves by from frame to frame (film).
        kept_grain_share: sheets with the same grain in the target, which is to be kept and not removed (film).
        grey_share: black and white sheets, target and input (film).
    """

    kind: str = "none"
    clean_share: float | None = None
    blur_share: float | None = None
    blur_sigma: Range | None = None
    blur2_share: float | None = None
    blur2_sigma: Range | None = None
    sinc_share: float | None = None
    final_sinc_share: float | None = None
    resize: Range | None = None
    resize2: Range | None = None
    noise_share: float | None = None
    noise_sigma: Range | None = None
    noise2_sigma: Range | None = None
    poisson_scale: Range | None = None
    poisson2_scale: Range | None = None
    jpeg_quality: Range | None = None
    codec_share: float | None = None
    codecs: tuple[str, ...] | None = None
    crf: Range | None = None
    second_round_share: float | None = None
    halo_share: float | None = None
    interlace_share: float | None = None
    motion: float | None = None
    kept_grain_share: float | None = None
    grey_share: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SettingsError(f"degradation kind {self.kind!r} is not one of {', '.join(KINDS)}")
        known = self._known()
        for name in (field.name for field in fields(self)[1:]):
            value = getattr(self, name)
            if value is None:
                continue
            if self.kind != "none" and name not in known:
                raise SettingsError(
                    f"degradation {self.kind!r} has no setting {name!r}", hint=f"it has {', '.join(sorted(known))}"
                )
            # TOML has lists where Python has tuples; a frozen value must not change.
            object.__setattr__(self, name, _checked(name, value))

    def _known(self) -> set[str]:
        return {field.name for field in fields(_CLASSES[self.kind])} if self.kind != "none" else set()


def build_degradation(settings: DegradationSettings) -> Degrade | None:
    """What `settings` describe; None where inputs are resized only (kind "none")."""
    if settings.kind == "none":
        return None
    made = _CLASSES[settings.kind]
    given = {field.name: getattr(settings, field.name) for field in fields(made)}
    return made(**{name: value for name, value in given.items() if value is not None})


def _checked(name: str, value: object) -> object:
    """`value` as its field wants it: a share, a number, a range or names of codecs."""
    if name == "codecs":
        names = value if isinstance(value, (list, tuple)) else ()
        unknown = [codec for codec in names if codec not in LOSSY_CODECS]
        if not names or unknown:
            raise SettingsError(
                f"degradation codecs {value!r} are no list of codecs", hint=f"any of {', '.join(LOSSY_CODECS)}"
            )
        return tuple(names)
    if name in _RANGES:
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise SettingsError(f"degradation {name} {value!r} is no range", hint="[least, most]")
        least, most = (_number(name, part) for part in value)
        if least > most:
            raise SettingsError(f"degradation {name} {value!r} has its ends the wrong way round")
        return (least, most)
    return _number(name, value)


def _number(name: str, value: object) -> float:
    least, most = _LIMITS.get(name, (0.0, 1.0))
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SettingsError(f"degradation {name} {value!r} is no number")
    if not least <= value <= most:
        raise SettingsError(f"degradation {name} {value!r} is out of range", hint=f"{least:g} to {most:g}")
    return float(value)


_RANGES = {name for name, hint in get_type_hints(DegradationSettings).items() if hint == (Range | None)}
