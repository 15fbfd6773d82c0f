"""What a bench is asked to measure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vsr.errors import UsageError
from vsr.settings import Settings

__all__ = ["NUM_FRAMES", "NUM_RUNS", "PARTS", "Request"]

PARTS = ("ceiling", "networks", "stages", "river", "peer")
NUM_FRAMES = 48
NUM_RUNS = 3


@dataclass(frozen=True, slots=True)
class Request:
    """Checked on construction.

    Attributes:
        settings: of the river, of its stages, and of its side of the peer.
        models: names or files of the networks that are measured alone; empty: the embedded ones. The river's own is
            always among them.
        source: the film whose first frames are the clip; None: a synthetic one.
        num_frames: of the clip, if the film has as many.
        num_runs: of every figure.
        parts: some of `PARTS`.
    """

    settings: Settings = field(default_factory=Settings)
    models: tuple[str, ...] = ()
    source: Path | None = None
    num_frames: int = NUM_FRAMES
    num_runs: int = NUM_RUNS
    parts: tuple[str, ...] = PARTS

    def __post_init__(self) -> None:
        for name, value in (("frames", self.num_frames), ("runs", self.num_runs)):
            if value < 1:
                raise UsageError(f"--{name} {value} is not at least 1")
        for part in self.parts:
            if part not in PARTS:
                raise UsageError(f"there is no part {part!r} to measure", hint=f"parts: {', '.join(PARTS)}")
