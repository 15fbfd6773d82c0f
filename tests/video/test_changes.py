"""What has changed between two frames: every changed sample is found, and nothing else that a network sees."""

from __future__ import annotations

import time

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.video.changes import BLOCK, FrameComparison
from vsr.video.color import ColorTags
from vsr.video.device_frame import DeviceFrame
from vsr.video.planes import view_samples

FORMATS = [
    "yuv420p", "yuvj420p", "yuv420p10le", "yuv420p10be", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "gray",
    "gray16le", "nv12", "p010le", "yuyv422", "rgb24", "bgra", "gbrp10le", "rgb565le", "pal8", "monow", "grayf32le",
    "gbrpf32le",
]  # fmt: skip


def make_frame(name: str, width: int, height: int, seed: int = 0) -> av.VideoFrame:
    """Noise in every byte, padding included."""
    frame = av.VideoFrame(width, height, name)
    random = np.random.default_rng(seed)
    for plane in frame.planes:
        plane.update(random.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    return frame


def copy_frame(frame: av.VideoFrame, garbage: int = 0) -> av.VideoFrame:
    """A frame of the same samples, other bytes in the padding."""
    copied = make_frame(frame.format.name, frame.width, frame.height, garbage)
    if not view_samples(frame).is_view:
        for plane, other in zip(copied.planes, frame.planes, strict=True):
            plane.update(bytes(other))
    for target, source in zip(view_samples(copied).components, view_samples(frame).components, strict=True):
        if view_samples(frame).is_view:
            target[...] = source
    return copied


def compare(one: av.VideoFrame, other: av.VideoFrame) -> np.ndarray | None:
    comparison = FrameComparison()
    assert comparison.find_changes(one) is None, "there is nothing before the first"
    return comparison.find_changes(other)


def count_changes(one: av.VideoFrame, other: av.VideoFrame) -> int:
    changed = compare(one, other)
    assert changed is not None
    return int(changed.sum())


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (33, 17), (64, 48)])
def test_equal_samples_are_no_change(name: str, size: tuple[int, int]) -> None:
    frame = make_frame(name, *size)
    changed = compare(frame, copy_frame(frame, garbage=1))
    assert changed is not None
    assert changed.shape == (-(-size[1] // BLOCK), -(-size[0] // BLOCK))
    assert not changed.any()


@given(data=st.data(), name=st.sampled_from(FORMATS), width=st.integers(2, 80), height=st.integers(2, 80))
def test_one_sample_changes_the_blocks_that_it_lies_in(data: st.DataObject, name: str, width: int, height: int) -> None:
    frame = make_frame(name, width, height)
    other = copy_frame(frame)
    samples = view_samples(other)
    if not samples.is_view:
        return
    index = data.draw(st.integers(0, len(samples.components) - 1))
    component = samples.components[index].view(f"u{samples.components[index].itemsize}")
    row, column = (data.draw(st.integers(0, length - 1)) for length in component.shape)
    component[row, column] ^= component.dtype.type(1 << data.draw(st.integers(0, 7)))
    down, across = samples.pixel_format.subsampling if index and component.shape != (height, width) else (1, 1)
    expected = np.zeros((-(-height // BLOCK), -(-width // BLOCK)), bool)
    expected[row * down // BLOCK, column * across // BLOCK] = True
    changed = compare(frame, other)
    # In a small picture one sample may be most of what the first look sees.
    assert changed is None or np.array_equal(changed, expected)
    assert changed is not None or expected.size <= 2


def test_a_palette_counts_by_its_colours() -> None:
    frame = make_frame("pal8", 64, 48)
    other = copy_frame(frame)
    palette = np.frombuffer(bytes(frame.planes[1]), np.uint32).copy()
    palette ^= 0x01000000  # opacity, which no network sees
    other.planes[1].update(palette.tobytes())
    assert count_changes(frame, other) == 0
    other.planes[1].update((palette ^ 0xFF).tobytes())
    assert count_changes(frame, other) == 12


def test_opacity_is_no_change() -> None:
    frame = make_frame("bgra", 40, 40)
    other = copy_frame(frame)
    opacity = view_samples(other).alpha
    assert opacity is not None
    opacity ^= 255
    assert count_changes(frame, other) == 0


def test_not_a_number_equals_itself_and_zero_has_a_sign() -> None:
    frame = make_frame("grayf32le", 64, 64)
    view_samples(frame).components[0][...] = np.nan
    other = copy_frame(frame)
    assert count_changes(frame, other) == 0
    view_samples(frame).components[0][0, 0], view_samples(other).components[0][0, 0] = 0.0, -0.0
    assert count_changes(frame, other) == 1


@pytest.mark.parametrize(
    "trait",
    [
        {"color_range": 2},
        {"colorspace": 1},
        {"color_primaries": 9},
        {"color_trc": 16},
    ],
)
def test_other_colours_make_another_picture_of_the_same_samples(trait: dict[str, int]) -> None:
    frame = make_frame("yuv420p", 64, 48)
    other = copy_frame(frame)
    for name, value in trait.items():
        setattr(other, name, value)
    assert compare(frame, other) is None


def test_another_size_or_format_is_another_picture() -> None:
    frame = make_frame("yuv420p", 64, 48)
    assert compare(frame, make_frame("yuv420p", 64, 50)) is None
    assert compare(frame, make_frame("yuv420p", 66, 48)) is None
    assert compare(frame, make_frame("yuv422p", 64, 48)) is None


def test_what_lies_on_a_gpu_is_not_looked_at() -> None:
    frame = make_frame("yuv420p", 64, 48)
    there = DeviceFrame(None, 0, 64, 48, "yuv420p", ColorTags(1, 1, 1, 1), 0, 1)
    comparison = FrameComparison()
    assert [comparison.find_changes(one) is None for one in (frame, there, there, frame, frame)] == [True] * 4 + [False]


def test_each_frame_is_compared_with_the_one_before_it() -> None:
    still = make_frame("yuv420p", 160, 96)
    moved = copy_frame(still)
    view_samples(moved).components[0][40, 100] ^= 1
    comparison = FrameComparison()
    found = [comparison.find_changes(frame) for frame in (still, copy_frame(still), moved, copy_frame(moved), still)]
    assert [None if changed is None else int(changed.sum()) for changed in found] == [None, 0, 1, 0, 1]


def test_noise_is_changed_everywhere() -> None:
    assert compare(make_frame("yuv420p", 480, 270), make_frame("yuv420p", 480, 270, seed=1)) is None


def test_black_bars_that_stay_are_found_beside_a_moving_picture() -> None:
    """A first look must not take a picture for all new where a third of it stands still."""
    frame, other = make_frame("yuv420p", 480, 288), make_frame("yuv420p", 480, 288, seed=1)
    for samples in (view_samples(frame), view_samples(other)):
        for component in samples.components:
            component[: len(component) // 3] = 16
    changed = compare(frame, other)
    assert changed is not None
    assert not changed[:6].any()
    assert changed[6:].all()


@pytest.mark.bench
def test_a_film_where_nothing_repeats_hardly_pays() -> None:
    """0.02 ms a frame were measured at 480x270; 0.2 ms are a hundredth of what the smallest network takes there."""
    frames = [make_frame("yuv420p", 480, 270, seed) for seed in range(2)]
    comparison = FrameComparison()
    seconds = []
    for number in range(100):
        start = time.perf_counter()
        comparison.find_changes(frames[number % 2])
        seconds.append(time.perf_counter() - start)
    assert sorted(seconds)[50] < 0.2e-3
