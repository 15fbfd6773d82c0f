"""A run without a network: what the tests of reading and writing share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from vsr.video.containers import StreamPlan, plan_streams
from vsr.video.encoding import Encoding, choose_encoding
from vsr.video.probe import VideoInfo, probe
from vsr.video.reader import Damage, Picture, Reader, Window
from vsr.video.segment_encoder import encode_film
from vsr.video.segment_file import SegmentFile
from vsr.video.segments import SegmentGrid
from vsr.video.writer import OutputPlan, Writer, minimal_step

FAST = {"h264": "ultrafast", "hevc": "ultrafast", "av1": "12"}


@dataclass
class Run:
    """What a run left: the finished file and all that was decided and counted on the way."""

    path: Path
    info: VideoInfo
    encoding: Encoding
    plans: tuple[StreamPlan, ...]
    writer: Writer
    damage: Damage
    times: list[Fraction]


@pytest.fixture
def upscale_plainly(tmp_path: Path) -> Callable[..., Run]:
    """upscale_plainly(source, "out.mkv", scale=2, codec="h264", start=..., duration=...): a run without a network.

    The stand-in for the network is FFmpeg's own scaler.
    """

    def run(
        source: Path,
        name: str = "out.mp4",
        *,
        scale: float = 1,
        codec: str = "h264",
        crf: float | None = None,
        start: Fraction | None = None,
        duration: Fraction | None = None,
        drop: tuple[str, ...] = (),
        overwrite: bool = False,
        change: Callable[[Picture], Picture] | None = None,
    ) -> Run:
        info = probe(source)
        width, height = max(1, round(info.width * scale)), max(1, round(info.height * scale))
        encoding = choose_encoding(info, width, height, codec, crf, FAST.get(codec))
        path = tmp_path / name
        plans = plan_streams(info, path.suffix, drop, encoding.coding)
        plan = OutputPlan(path, plans, encoding, Window.of(info, start, duration), overwrite)
        reader = Reader(info, plan.window, minimal_step(path, info.time_base))
        times = []

        def pictures() -> Iterator[Picture]:
            for picture in reader.pictures():
                times.append(picture.time)
                picture = picture if change is None else change(picture)
                yield replace(picture, frame=_resize(picture.frame, encoding))

        with Writer(info, plan) as writer:
            writer.join(code(info, plan, pictures(), tmp_path / "segments"))
            writer.finish()
        return Run(path, info, encoding, plans, writer, reader.damage, times)

    return run


def code(info: VideoInfo, plan: OutputPlan, pictures: Iterable[Picture], folder: Path) -> list[SegmentFile]:
    """The pictures as segments in `folder`, which is made, and is left there."""
    folder.mkdir(exist_ok=True)
    return encode_film(pictures, SegmentGrid.of(info, plan.window), plan.encoding, folder, plan.path)


def _resize(frame: Any, encoding: Encoding) -> Any:
    return frame.reformat(width=encoding.width, height=encoding.height, format=encoding.pix_fmt)
