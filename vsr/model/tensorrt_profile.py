"""The sizes of pictures that a TensorRT engine is built for, and how its own program is told."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from vsr.model.onnx_graph import INPUT

__all__ = ["Shape", "ShapeProfile", "trtexec_command"]

Shape = tuple[int, int, int]
"""Batch, height and width in input pixels."""


@dataclass(frozen=True, slots=True)
class ShapeProfile:
    """What an engine takes: from `minimum` to `maximum`, fastest at `optimum`.

    Raises:
        ValueError: a side is below 1, or the three do not rise.
    """

    minimum: Shape
    optimum: Shape
    maximum: Shape

    def __post_init__(self) -> None:
        sides = list(zip(self.minimum, self.optimum, self.maximum, strict=True))
        if not all(1 <= low <= best <= high for low, best, high in sides):
            raise ValueError(f"{self.minimum} to {self.maximum} around {self.optimum} is no range of shapes")

    @classmethod
    def up_to(cls, shape: Shape) -> ShapeProfile:
        """Everything from one pixel up to `shape`, which is what comes most."""
        return cls((1, 1, 1), shape, shape)

    def holds(self, shape: Shape) -> bool:
        """Whether pictures of `shape` may go in."""
        sides = zip(self.minimum, shape, self.maximum, strict=True)
        return all(low <= side <= high for low, side, high in sides)

    def grown(self, shape: Shape) -> ShapeProfile:
        """The profile that also holds `shape`, which is now what comes most."""
        least = (min(pair) for pair in zip(self.minimum, shape, strict=True))
        most = (max(pair) for pair in zip(self.maximum, shape, strict=True))
        return ShapeProfile(_shape(*least), shape, _shape(*most))


SUGGESTED = ShapeProfile((1, 1, 1), (1, 540, 960), (1, 1080, 1920))
"""For a user's own engine: any film up to 1080p."""


def trtexec_command(path: Path, tensorrt_major: int, profile: ShapeProfile = SUGGESTED) -> str:
    """The shell command that builds an engine beside the ONNX file `path`. Not yet run here: it needs a GPU.

    The types stand in the graph, so it is to be taken as strongly typed; TensorRT 11 knows nothing else.
    """
    words = ["trtexec", f"--onnx={path}", f"--saveEngine={path.with_suffix('.engine')}"]
    if tensorrt_major < 11:
        words.append("--stronglyTyped")
    for name, (batch, height, width) in (
        ("min", profile.minimum),
        ("opt", profile.optimum),
        ("max", profile.maximum),
    ):
        words.append(f"--{name}Shapes={INPUT}:{batch}x3x{height}x{width}")
    return shlex.join(words)


def _shape(batch: int, height: int, width: int) -> Shape:
    return batch, height, width
