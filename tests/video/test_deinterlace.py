"""Interlaced frames come out whole, one for one, each with its own time."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from av.filter import Graph

import films
from vsr.errors import ProcessingError
from vsr.video.deinterlace import deinterlace
from vsr.video.probe import probe
from vsr.video.reader import Reader
from vsr.video.timing import Stamped

Make = Callable[..., films.Film]


def comb(num_frames: int, size: tuple[int, int] = (64, 48), interlaced: bool = True) -> list[Stamped[Any]]:
    """Frames whose two fields show a bar at different places, as a moving thing filmed in fields does."""
    width, height = size
    items = []
    for index in range(num_frames):
        image = np.full((height, width, 3), 32, np.uint8)
        image[0::2, 8 + 4 * index : 24 + 4 * index] = 220
        image[1::2, 10 + 4 * index : 26 + 4 * index] = 220
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        items.append(Stamped(mark_interlaced(frame) if interlaced else frame, index * index, 7))
    return items


def mark_interlaced(frame: Any) -> Any:
    """The frame with FFmpeg's flags for "interlaced, top field first", which PyAV cannot set itself."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25))
    setfield, sink = graph.add("setfield", "mode=tff"), graph.add("buffersink")
    source.link_to(setfield)
    setfield.link_to(sink)
    graph.configure()
    frame.pts = 0
    graph.push(frame)
    marked = graph.pull()
    assert marked.interlaced_frame
    return marked


def combing(frame: Any) -> float:
    luma = frame.to_ndarray()[: frame.height].astype(int)
    return float(np.abs(2 * luma[1:-1] - luma[:-2] - luma[2:]).mean())


def test_combs_vanish_and_times_stay() -> None:
    items = comb(8)
    before = [combing(item.payload) for item in items]
    after = list(deinterlace(comb(8)))
    assert [(item.pts, item.duration) for item in after] == [(item.pts, item.duration) for item in items]
    assert all(combing(item.payload) < old / 4 for item, old in zip(after[1:-1], before[1:-1], strict=True))


def test_progressive_frames_pass_untouched() -> None:
    items = comb(4, interlaced=False)
    assert list(deinterlace(items)) == items


def test_mixed_films_keep_their_progressive_frames() -> None:
    items = [*comb(3, interlaced=False), *comb(3), *comb(3, interlaced=False)]
    wanted = [item.payload.to_ndarray() for item in items]
    after = list(deinterlace(items))
    assert len(after) == 9
    for index in (0, 1, 2, 6, 7, 8):
        assert np.array_equal(after[index].payload.to_ndarray(), wanted[index])


def test_a_change_of_size_starts_anew() -> None:
    items = [*comb(3), *comb(4, size=(96, 64)), *comb(2)]
    sizes = [(item.payload.width, item.payload.height) for item in items]
    after = list(deinterlace(items))
    assert [(item.payload.width, item.payload.height) for item in after] == sizes


@pytest.mark.parametrize("num_frames", [0, 1, 2])
def test_short_films(num_frames: int) -> None:
    assert len(list(deinterlace(comb(num_frames)))) == num_frames


def test_missing_times_stay_missing() -> None:
    items = [Stamped(item.payload, None, 0) for item in comb(3)]
    assert [item.pts for item in deinterlace(items)] == [None] * 3


@pytest.mark.parametrize("recipe", [films.interlaced, films.interlaced_mpeg2])
def test_films(recipe: Callable[..., films.Film], make_film: Make) -> None:
    film = make_film(recipe, "film.mkv")
    pictures = list(Reader(probe(film.path)).pictures())
    assert len(pictures) == film.num_frames
    assert [round(picture.time * 1000) for picture in pictures] == [round(time * 1000) for time in film.times]


@pytest.mark.parametrize(
    ("pix_fmt", "planar"),
    [("nv12", "yuv420p"), ("p010le", "yuv420p10le"), ("rgb24", "gbrp"), ("yuv422p10le", "yuv422p10le")],
)
def test_the_depth_stays(pix_fmt: str, planar: str) -> None:
    items = []
    for item in comb(3, interlaced=False):
        frame = mark_interlaced(item.payload.reformat(format=pix_fmt))
        items.append(Stamped(frame, item.pts, item.duration))
    assert {item.payload.format.name for item in deinterlace(items)} == {planar}


def test_failures_of_the_filter_are_ours() -> None:
    with pytest.raises(ProcessingError, match="2x2 yuv420p cannot be deinterlaced"):
        list(deinterlace([Stamped(mark_interlaced(av.VideoFrame(2, 2, "yuv420p")), 0, 1)]))
