"""Under which conditions networks are compared: what a reader must know to make the same figures."""

from __future__ import annotations

from dataclasses import dataclass

from vsr.errors import SettingsError
from vsr.model.resample import SHRINK_KERNELS
from vsr.settings import MAX_SCALE

__all__ = ["Conditions"]


@dataclass(frozen=True, slots=True)
class Conditions:
    """Values are checked on construction.

    Attributes:
        scale: output size over input size, a whole number.
        kernel: what makes the low-resolution picture: "matlab" (imresize, as in the published tables) or "pillow".
        border: pixels left out at each edge of the high-resolution picture; None: as many as the scale.
        noise: standard deviation, in 8-bit levels, of Gaussian noise on the low-resolution picture, each channel its
            own; 0: none.
        crf: the low-resolution picture then goes through H.264 (yuv420p) at this constant rate factor, 1 to 51; None:
            it does not. A still picture does so in the middle of a short clip of itself, each frame with its own noise.
        seed: of the noise, together with the name of the picture or the number of the frame.
    """

    scale: int = 4
    kernel: str = "matlab"
    border: int | None = None
    noise: float = 0.0
    crf: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.scale <= MAX_SCALE:
            raise SettingsError(f"scale {self.scale} is out of range", hint=f"a whole number, 1 to {MAX_SCALE}")
        if self.kernel not in SHRINK_KERNELS:
            raise SettingsError(f"kernel {self.kernel!r} is not one of {', '.join(SHRINK_KERNELS)}")
        if self.border is not None and self.border < 0:
            raise SettingsError(f"border {self.border} is negative", hint="pixels, 0 or more")
        if not 0 <= self.noise <= 255:
            raise SettingsError(f"noise {self.noise:g} is out of range", hint="8-bit levels, 0 to 255; 2 is light")
        if self.crf is not None and not 1 <= self.crf <= 51:
            raise SettingsError(f"crf {self.crf} is out of range", hint="1 (best) to 51 for h264; 28 is a small film")
        if self.seed < 0:
            raise SettingsError(f"seed {self.seed} is negative")

    @property
    def cut(self) -> int:
        """Pixels left out at each edge."""
        return self.scale if self.border is None else self.border

    @property
    def is_degraded(self) -> bool:
        return self.noise > 0 or self.crf is not None

    def describe(self) -> str:
        """In a few words, for the head of a table."""
        words = [f"x{self.scale}", f"{self.kernel} bicubic input", f"border {self.cut}"]
        if self.noise:
            words.append(f"noise {self.noise:g} (seed {self.seed})")
        if self.crf is not None:
            words.append(f"h264 crf {self.crf}")
        return ", ".join(words)
