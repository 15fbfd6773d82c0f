from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from vsr.errors import SourceError
from vsr.video.planes import has_alpha, view_samples


def filtered(frame: av.VideoFrame, *filters: tuple[str, str]) -> av.VideoFrame:
    graph = av.filter.Graph()
    last = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format.name, time_base=Fraction(1, 25))
    for name, arguments in filters:
        following = graph.add(name, arguments or None)
        last.link_to(following)
        last = following
    sink = graph.add("buffersink")
    last.link_to(sink)
    graph.configure()
    frame.pts = 0
    graph.push(frame)
    return graph.pull()


def counted(width: int, height: int, name: str) -> av.VideoFrame:
    """A frame whose every sample of every component is another number (modulo its depth)."""
    frame = av.VideoFrame(width, height, name)
    samples = view_samples(frame)
    for index, component in enumerate(samples.components):
        numbers = np.arange(component.size).reshape(component.shape) * 7 + index * 31
        component[...] = numbers % (1 << samples.bits[index]) << samples.shift
    return frame


def copies(frame: av.VideoFrame) -> list[np.ndarray]:
    return [component.copy() for component in view_samples(frame).components]


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "gray", "gbrp12le"])
def test_views_of_cropped_frames_start_at_the_crop(name: str) -> None:
    whole = counted(40, 20, name)
    across, down = whole.format.chroma_width(40), whole.format.chroma_height(20)
    expected = copies(whole)
    cropped = filtered(whole, ("crop", "w=20:h=10:x=8:y=4:exact=1"))
    assert (cropped.width, cropped.height) == (20, 10)
    for found, full in zip(copies(cropped), expected, strict=True):
        x, y = 8 * full.shape[1] // 40, 4 * full.shape[0] // 20
        assert full.shape in ((20, 40), (down, across))
        np.testing.assert_array_equal(found, full[y : y + full.shape[0] // 2, x : x + full.shape[1] // 2])


@pytest.mark.parametrize("name", ["yuv420p", "yuv444p16le", "nv12", "rgb24", "gray10le"])
def test_planes_that_lie_upside_down(name: str) -> None:
    frame = counted(18, 10, name)
    expected = copies(frame)
    flipped = filtered(frame, ("vflip", ""))
    assert flipped.planes[0].line_size < 0  # else this tests nothing
    for found, upright in zip(copies(flipped), expected, strict=True):
        np.testing.assert_array_equal(found, upright[::-1])


@pytest.mark.parametrize("width", [1, 2, 7, 33])
@pytest.mark.parametrize(
    "name", ["yuyv422", "uyvy422", "yvyu422", "y210le", "nv12", "nv21", "nv24", "p010le", "p416le"]
)
def test_interleaved_chroma_is_found_at_any_width(name: str, width: int) -> None:
    frame = counted(width, 6, name)
    planar = {"yuyv422": "yuv422p", "uyvy422": "yuv422p", "yvyu422": "yuv422p", "y210le": "yuv422p10le"}
    planar |= {
        "nv12": "yuv420p",
        "nv21": "yuv420p",
        "nv24": "yuv444p",
        "p010le": "yuv420p10le",
        "p416le": "yuv444p16le",
    }
    same = view_samples(frame.reformat(format=planar[name], threads=1))
    samples = view_samples(frame)
    for mine, theirs in zip(samples.components, same.components, strict=True):
        assert mine.shape == theirs.shape
        # swscale drops the last chroma column of packed frames of odd width.
        whole = theirs.shape[1] - (1 if "422" in planar[name] and width % 2 else 0)
        np.testing.assert_array_equal(mine[:, :whole] >> samples.shift, theirs[:, :whole])


def test_palette_is_looked_up_and_its_opacity_noticed_where_used() -> None:
    frame = av.VideoFrame(5, 2, "pal8")
    palette = np.frombuffer(frame.planes[1], np.uint32)
    palette[:] = 0
    palette[[3, 9]] = 0xFF102030, 0xFFFF8000
    indices = np.frombuffer(frame.planes[0], np.uint8)
    indices[:] = 77  # padding: must not count
    lines = indices.reshape(2, -1)
    lines[:, :5] = [[3, 9, 3, 9, 3], [9, 9, 9, 3, 3]]
    red, green, blue = view_samples(frame).components
    np.testing.assert_array_equal(red, np.where(lines[:, :5] == 3, 0x10, 0xFF))
    np.testing.assert_array_equal(green, np.where(lines[:, :5] == 3, 0x20, 0x80))
    np.testing.assert_array_equal(blue, np.where(lines[:, :5] == 3, 0x30, 0x00))
    assert not has_alpha(frame)
    palette[9] = 0x80FF8000
    assert has_alpha(frame)


@pytest.mark.parametrize(("name", "lit"), [("monob", 1), ("monow", 0)])
def test_one_bit(name: str, lit: int) -> None:
    frame = av.VideoFrame(11, 1, name)
    np.frombuffer(frame.planes[0], np.uint8)[:2] = 0b10110000, 0b01111111
    (rows,) = view_samples(frame).components
    assert rows.tolist() == [[lit if bit == "1" else 1 - lit for bit in "10110000011"]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("yuva420p", True), ("rgba", True), ("ya16le", True), ("yuv420p", False), ("rgb0", False), ("pal8", False)],
)
def test_alpha_by_name(name: str, expected: bool) -> None:
    assert has_alpha(name) is expected


def test_what_ffmpeg_cannot_unpack_either_is_refused() -> None:
    with pytest.raises(SourceError, match="'rgb4'") as caught:
        view_samples(av.VideoFrame(16, 16, "rgb4"))
    assert caught.value.hint
