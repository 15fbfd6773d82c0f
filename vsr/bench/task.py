"""What a process of the bench is told: plain values that go through JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from vsr.settings import Settings

__all__ = ["Coding", "Task"]


@dataclass(frozen=True, slots=True)
class Coding:
    """How a film is encoded.

    Attributes:
        encoder: FFmpeg's name of it, "libx264".
        options: of the encoder, as FFmpeg names them.
        pix_fmt: FFmpeg's name of the pixel format.
        rate: frames per second, as FFmpeg reads it: "25" or "30000/1001".
    """

    encoder: str
    options: dict[str, str]
    pix_fmt: str
    rate: str


@dataclass(frozen=True, slots=True)
class Task:
    """One clip, one network, one way of coding the result.

    Attributes:
        clip: path of the clip; `width` and `height` are its own.
        weights: path of the network's tensors for the plain loop; empty where it takes no part.
        device: "cpu", "cuda:0" ...
        uses_pipes: the plain loop reads and writes through two ffmpeg programs, not through PyAV.
        settings: fields of `Settings` for vsr.
        started: when the process that does it was started, in seconds of `time.time`.
    """

    clip: str
    width: int
    height: int
    weights: str
    device: str
    coding: Coding
    uses_pipes: bool
    settings: dict[str, Any]
    started: float = 0.0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        values = json.loads(text)
        return cls(**(values | {"coding": Coding(**values["coding"])}))

    def read_settings(self) -> Settings:
        """The settings of vsr's side."""
        return Settings.from_options(**self.settings)
