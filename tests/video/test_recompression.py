from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.errors import ProcessingError, SettingsError
from vsr.video.recompression import LOSSY_CODECS, MATRICES, PROFILES, equivalent_quality, recompress

ROOT = Path(__file__).resolve().parent.parent.parent
codecs = pytest.mark.parametrize("codec", LOSSY_CODECS)


def paint(height: int = 96, width: int = 112, seed: int = 1) -> np.ndarray:
    """A picture with flat parts, edges, waves and a little noise, in colour."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 50 * np.sin(x * y / 150.0)[:, :, None] * np.array([1.0, 0.8, 0.5])
    disc = 60.0 * (((x - width / 3) ** 2 + (y - height / 2) ** 2) < (height / 4) ** 2)[:, :, None]
    noise = rng.normal(0, 6, (height, width, 3))
    return np.clip(110 + waves + disc * np.array([1, 0.3, -0.5]) + noise, 0, 255).astype(np.uint8)


def pan(num_frames: int = 4, height: int = 96, width: int = 112) -> list[np.ndarray]:
    whole = paint(height + num_frames, width + 2 * num_frames)
    return [np.ascontiguousarray(whole[i : i + height, 2 * i : 2 * i + width]) for i in range(num_frames)]


def psnr(frames, others) -> float:
    difference = np.stack(frames).astype(np.float64) - np.stack(others)
    return float(10 * np.log10(255**2 / np.mean(difference**2)))


def blockiness(picture: np.ndarray, grid: int = 8, top: int = 0) -> float:
    """Steps across the rows where blocks meet over steps elsewhere; 1 where there are no blocks."""
    steps = np.abs(np.diff(picture.astype(np.float64), axis=0)).mean(axis=(1, 2))
    at_grid = (np.arange(len(steps)) + 1 + top) % grid == 0
    return float(steps[at_grid].mean() / steps[~at_grid].mean())


def digest(frames) -> str:
    return hashlib.sha256(np.stack(frames).tobytes()).hexdigest()


@codecs
def test_quality_falls_as_asked(codec):
    frames = pan()
    scores = [psnr(frames, recompress(frames, codec, equivalent_quality(codec, crf))) for crf in (18, 24, 30, 36)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 3


def test_equivalent_qualities_are_equivalent():
    """At either end all codecs lose about what x264 loses."""
    frames = pan()
    for crf in (22, 32):
        scores = {
            codec: psnr(frames, recompress(frames, codec, equivalent_quality(codec, crf))) for codec in LOSSY_CODECS
        }
        for codec, score in scores.items():
            assert score == pytest.approx(scores["h264"], abs=3.0), codec


@codecs
@pytest.mark.parametrize("bframes", [0, 2])
def test_every_frame_comes_back_in_its_place(codec, bframes):
    """Also the last one of a clip with B-frames: each frame is nearest to the one that it was."""
    frames = pan(6)
    coded = recompress(frames, codec, equivalent_quality(codec, 22), bframes=bframes)
    assert len(coded) == len(frames)
    for number, frame in enumerate(coded):
        scores = [psnr([frame], [other]) for other in frames]
        assert int(np.argmax(scores)) == number


@codecs
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 37), (13, 2), (17, 31), (64, 33)])
def test_sizes_are_kept(codec, height, width):
    frames = [paint(height, width, seed) for seed in range(2)]
    coded = recompress(frames, codec, equivalent_quality(codec, 24))
    assert [frame.shape for frame in coded] == [(height, width, 3)] * 2
    assert all(frame.dtype == np.uint8 for frame in coded)


@settings(max_examples=15)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.tuples(st.integers(0, 15), st.integers(0, 15)))
def test_h264_takes_any_size_count_and_phase(height, width, num_frames, phase):
    frames = [np.full((height, width, 3), 40 * number, np.uint8) for number in range(num_frames)]
    coded = recompress(frames, "h264", 20, bframes=1, phase=phase)
    assert [frame.shape for frame in coded] == [(height, width, 3)] * num_frames
    for frame, before in zip(coded, frames, strict=True):
        assert np.abs(frame.astype(int) - before).max() <= 4


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("codec", ["h264", "mpeg2", "vp9"])
def test_flat_colours_stay(codec, matrix):
    """Within two levels: what 8-bit limited range rounds away."""
    for colour in [
        (0, 0, 0),
        (255, 255, 255),
        (200, 30, 40),
        (20, 180, 60),
        (30, 40, 220),
        (128, 128, 128),
        (240, 220, 10),
    ]:
        frame = np.full((32, 48, 3), colour, np.uint8)
        coded = recompress([frame], codec, LOSSY_CODECS[codec].best, matrix=matrix)[0]
        assert np.abs(coded.astype(int) - frame).max() <= 2, colour


@pytest.mark.parametrize("matrix", MATRICES)
def test_no_tint_over_many_colours(matrix):
    """Rounding does not lean to one side: a network would learn the opposite."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(40, 216, (12, 12, 3))
    frame = np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)
    coded = recompress([frame], "h264", 4, matrix=matrix)[0]
    assert np.abs((coded.astype(float) - frame).mean(axis=(0, 1))).max() < 0.3


def test_chroma_does_not_move():
    """A ramp of colour comes back in place: a shift of half a pixel would add 2 levels."""
    ramp = np.linspace(40, 215, 48)
    for axis in (0, 1):
        plane = np.broadcast_to(ramp if axis else ramp[:, None], (48, 48))
        frame = np.stack([plane, np.full((48, 48), 128.0), plane[::-1, ::-1]], axis=-1).astype(np.uint8)
        coded = recompress([frame], "h264", 4)[0]
        middle = slice(8, 40)
        difference = coded[middle, middle].astype(float) - frame[middle, middle]
        assert np.abs(difference.mean(axis=(0, 1))).max() < 0.6


@codecs
def test_fine_coding_moves_nothing(codec):
    """At the best quality luma and chroma stay in place to a fiftieth of a pixel, at any phase and by any matrix."""
    y, x = np.mgrid[:96, :96]
    waves = [120 + 80 * np.sin(x / (5 + c) + c) * np.cos(y / (6 - c) - c) for c in range(3)]
    frame = np.stack(waves, axis=-1).round().astype(np.uint8)
    middle = (slice(8, -8), slice(8, -8))
    for phase, matrix in (((0, 0), "bt601"), ((5, 11), "bt709")):
        coded = recompress([frame], codec, LOSSY_CODECS[codec].best, phase=phase, matrix=matrix)[0]
        for weights in ((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081)):
            before, after = (picture.astype(float) @ weights for picture in (frame, coded))
            down, right = np.gradient(before)
            columns = [plane[middle].ravel() for plane in (-down, -right, before, np.ones_like(before))]
            fit = np.linalg.lstsq(np.stack(columns, axis=1), (after - before)[middle].ravel(), rcond=None)[0]
            assert np.abs(fit[:2]).max() < 0.02


@pytest.mark.parametrize("top", [0, 3, 5])
def test_blocks_lie_where_the_phase_puts_them(top):
    """MPEG-4 has no filter in its loop: its blocks stand out, at the phase asked for and at no other."""
    frame = paint(128, 128)
    coded = recompress([frame], "mpeg4", 20, phase=(top, 0))[0]
    scores = [blockiness(coded, top=phase) for phase in range(8)]
    assert int(np.argmax(scores)) == top
    assert scores[top] > 1.3 * blockiness(frame, top=top)


def test_a_shot_at_rest_is_held():
    """Skipped blocks: the artefacts of the key frame stand still."""
    frame = paint()
    coded = recompress([frame] * 3, "mpeg4", 12)
    assert psnr([coded[1]], [coded[2]]) > psnr([frame], [coded[2]]) + 6


def test_kept_selects_without_changing():
    frames = pan(5)
    whole = recompress(frames, "h264", 28, bframes=2)
    np.testing.assert_array_equal(recompress(frames, "h264", 28, bframes=2, kept=slice(3, 4)), whole[3:4])


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_work(profile):
    frames = pan()
    assert psnr(frames, recompress(frames, "h264", 24, profile=profile, bframes=2)) > 28


def test_nothing_in_nothing_out():
    assert recompress([], "h264", 28) == []


def test_input_is_left_alone():
    frames = pan()
    before = digest(frames)
    recompress(frames, "mpeg2", 8, phase=(3, 5))
    assert digest(frames) == before


@codecs
@pytest.mark.parametrize("bframes", [0, 2])
def test_same_frames_same_bytes(codec, bframes):
    """However often, and whatever the memory held before: encoders have read what nobody wrote (x264's mbtree)."""
    clips = pan(5, 144, 144), *([paint(144, 144, seed + i) for i in range(5)] for seed in (1, 2, 3))
    quality = equivalent_quality(codec, 33)
    found = set()
    for seed in range(2 if codec == "hevc" else 8):
        rng = np.random.default_rng(seed)
        litter = [rng.integers(0, 256, int(size), dtype=np.uint8) for size in rng.integers(1_000, 300_000, 20)]
        del litter
        found.add(tuple(digest(recompress(clip, codec, quality, bframes=bframes)) for clip in clips))
    assert len(found) == 1


def test_same_bytes_in_another_process():
    """Of all codecs at once, and whatever number of threads the environment offers."""

    def digests() -> list[str]:
        frames = pan()
        return [digest(recompress(frames, codec, equivalent_quality(codec, 28), bframes=2)) for codec in LOSSY_CODECS]

    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]\n"
        "from test_recompression import *\nframes = pan()\n"
        "for codec in LOSSY_CODECS:\n"
        "    print(digest(recompress(frames, codec, equivalent_quality(codec, 28), bframes=2)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == digests()
    assert done.stderr == ""  # no encoder talks


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"codec": "divx"}, "'divx'"),
        ({"quality": 99}, "99"),
        ({"codec": "mpeg2", "quality": 0}, "quality 0"),
        ({"profile": "high10"}, "'high10'"),
        ({"matrix": "bt2020"}, "'bt2020'"),
    ],
)
def test_wrong_settings_are_named(wrong, said):
    with pytest.raises(SettingsError, match=said):
        recompress(pan(1), **wrong)


def test_a_failing_encoder_leaves_as_our_error():
    """MPEG-2 has no pictures of this width."""
    with pytest.raises(ProcessingError, match="mpeg2 cannot code 70000x16"):
        recompress([np.zeros((16, 70_000, 3), np.uint8)], "mpeg2", 8)
