from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vsr.errors import SettingsError
from vsr.training import film
from vsr.training.degradation import KINDS, DegradationSettings, build_degradation
from vsr.training.film import Film
from vsr.training.noise import add_field, add_gaussian, add_poisson, draw_grain
from vsr.training.second_order import RESIZE_METHODS, SecondOrder, compress_jpeg, resize

ROOT = Path(__file__).resolve().parent.parent.parent
DEGRADING = [kind for kind in KINDS if kind != "none"]
degrading = pytest.mark.parametrize("kind", DEGRADING)
# The codec's worst, on a shot that moves: what a position error of the kept frame would show in first.
MOVING = {"codec_share": 1.0, "clean_share": 0.0, "noise_share": 0.0, "blur_share": 0.0, "halo_share": 0.0}


def paint(height: int = 192, width: int = 256, seed: int = 1) -> np.ndarray:
    """Waves, an edge and a little noise, in colour and away from black and white."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 35 * np.sin(x / 9.0 + y / 14.0)[:, :, None] * np.array([1.0, 0.7, 0.4])
    disc = 40.0 * (((x - width / 3) ** 2 + (y - height / 2) ** 2) < (height / 4) ** 2)[:, :, None]
    return np.clip(110 + waves + disc * np.array([1, 0.3, -0.5]) + rng.normal(0, 4, (height, width, 3)), 0, 255).astype(
        np.uint8
    )


def shrink(picture: np.ndarray, scale: int) -> np.ndarray:
    height, width, _ = picture.shape
    return np.asarray(Image.fromarray(picture).resize((width // scale, height // scale), Image.Resampling.BICUBIC))


def psnr(picture: np.ndarray, other: np.ndarray) -> float:
    error = float(np.mean((picture.astype(np.float64) - other) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def digest(kind: str, seeds: range) -> str:
    """Of many inputs, so that every branch has its turn."""
    degrade = build_degradation(DegradationSettings(kind))
    sha = hashlib.sha256()
    for seed in seeds:
        sha.update(degrade(paint(96, 128), 2, np.random.default_rng(seed)).tobytes())
    return sha.hexdigest()


@degrading
@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 3, 4]), st.integers(0, 2**32 - 1))
def test_shape_and_type(kind, height, width, scale, seed):
    """A low-resolution side of 1 as well; the input is left alone."""
    degrade = build_degradation(DegradationSettings(kind))
    high = np.random.default_rng(seed).integers(0, 256, (height * scale, width * scale, 3), dtype=np.uint8)
    before = high.copy()
    rng = np.random.default_rng(seed)
    low = degrade(degrade.prepare(high, scale, rng), scale, rng)
    assert low.shape == (height, width, 3)
    assert low.dtype == np.uint8
    assert low.flags.c_contiguous
    assert low.flags.owndata or low.base is not high
    np.testing.assert_array_equal(high, before)


@degrading
def test_same_state_same_bytes(kind):
    assert digest(kind, range(12)) == digest(kind, range(12))
    assert digest(kind, range(12)) != digest(kind, range(1, 13))


def test_same_bytes_in_another_process():
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]\n"
        "from test_degradation import DEGRADING, digest\n"
        "print(*(digest(kind, range(12)) for kind in DEGRADING))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    *digests, torch = done.stdout.split()
    assert digests == [digest(kind, range(12)) for kind in DEGRADING]
    assert torch == "False"  # workers start without it


@degrading
def test_mean_colour_stays(kind):
    """Over many draws no channel leans; in film no single draw strays either."""
    degrade = build_degradation(DegradationSettings(kind))
    high = paint()
    shifts = np.array(
        [degrade(high, 4, np.random.default_rng(seed)).mean(axis=(0, 1)) - high.mean(axis=(0, 1)) for seed in range(60)]
    )
    assert np.abs(shifts.mean(axis=0)).max() < 0.8
    if kind == "film":
        assert np.abs(shifts).max() < 4


@degrading
def test_it_degrades_but_does_not_destroy(kind):
    degrade = build_degradation(DegradationSettings(kind, clean_share=0.0))
    high = paint()
    scores = [psnr(degrade(high, 4, np.random.default_rng(seed)), shrink(high, 4)) for seed in range(30)]
    assert np.median(scores) < 36
    assert min(scores) > 15


@degrading
def test_clean_share(kind):
    high = paint()
    clean = build_degradation(DegradationSettings(kind, clean_share=1.0))
    assert all(psnr(clean(high, 4, np.random.default_rng(seed)), shrink(high, 4)) > 38 for seed in range(6))


def test_a_quarter_of_film_is_clean():
    high = paint(64, 64)
    degrade = build_degradation(DegradationSettings("film"))
    clean = [np.asarray(Image.fromarray(high).resize((32, 32), method)) for method in film.CLEAN_METHODS]
    lows = [degrade(high, 2, np.random.default_rng(seed)) for seed in range(200)]
    share = np.mean([any(np.array_equal(low, other) for other in clean) for low in lows])
    assert 0.15 < share < 0.35


@pytest.mark.parametrize("motion", [0.0, 3.0])
def test_film_keeps_the_picture_in_place(motion):
    """However the clip moves, the frame that is kept lies where the target does: no shift fits better."""
    high = paint(256, 256)
    degrade = build_degradation(DegradationSettings("film", motion=motion, resize=(1, 1), crf=(20, 24), **MOVING))
    expected = shrink(high, 2)
    middle = slice(16, -16)
    for seed in range(12):
        low = degrade(high, 2, np.random.default_rng(seed))
        scores = {
            (y, x): psnr(np.roll(low, (y, x), (0, 1))[middle, middle], expected[middle, middle])
            for y in (-1, 0, 1)
            for x in (-1, 0, 1)
        }
        assert max(scores, key=lambda shift: scores[shift]) == (0, 0)


def mean_shift(degrade: Callable[..., np.ndarray], count: int) -> np.ndarray:
    """By how many low-resolution pixels (rows, columns) inputs lie beside their clean twins, fitted to the slopes.

    Each draw is made of the picture and of the picture turned upside down: an error of the fit that comes from what
    the picture shows turns its sign, a shift that the degradation makes does not.
    """
    shifts = []
    for seed in range(count):
        high = paint(128, 128, seed)
        for picture in (high, np.ascontiguousarray(high[::-1, ::-1])):
            clean = shrink(picture, 2).mean(axis=2)
            low = degrade(picture, 2, np.random.default_rng(seed)).mean(axis=2)
            down, right = np.gradient((clean + low) / 2)
            columns = [plane[4:-4, 4:-4].ravel() for plane in (-down, -right, clean, np.ones_like(clean))]
            fit = np.linalg.lstsq(np.stack(columns, axis=1), (low - clean)[4:-4, 4:-4].ravel(), rcond=None)[0]
            shifts.append(fit[:2])
    return np.mean(shifts, axis=0)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("film", {"clean_share": 0.0, "codec_share": 0.0}),
        ("film", {"clean_share": 0.0, "codec_share": 0.0, "interlace_share": 1.0, "noise_share": 0.0}),
        ("film", {"clean_share": 0.0, "codecs": ("mpeg2", "mpeg4", "flv1"), "second_round_share": 0.5}),
        ("realesrgan", {"noise_sigma": (0, 3), "noise2_sigma": (0, 3), "resize": (0.5, 1.5)}),
    ],
)
def test_inputs_lie_where_their_targets_do(kind, changes):
    """To a fiftieth of a pixel: a network would learn the shift and move every film by it.

    Codecs that predict blocks from their neighbours above and to the left are left out: they drag coarse content to the
    lower right (see `recompress`), as they do in real films.
    """
    degrade = build_degradation(DegradationSettings(kind, **changes))
    assert np.abs(mean_shift(degrade, 20)).max() < 0.02

    def moved(high_HWC: np.ndarray, scale: int, rng: np.random.Generator) -> np.ndarray:
        return degrade(np.roll(high_HWC, 1, axis=1), scale, rng)  # half a pixel of the input

    assert mean_shift(moved, 20)[1] > 0.3


@pytest.mark.parametrize("method", [1, 2])
def test_deinterlacing_neither_brightens_nor_darkens(method):
    frame = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    exact = frame.astype(float)
    between = (exact[:-2] + exact[2:]) / 2
    if method == 1:
        exact[1:-1] = (exact[1:-1] + between) / 2
    else:
        exact[1:-1:2] = between[::2]
    error = (film._deinterlace(frame, method, 1) - exact)[1:-1]
    assert np.abs(error).max() <= 0.5
    assert abs(error.mean()) < 0.01
    assert np.array_equal(film._deinterlace(frame, 0, 1), frame)


def test_film_quality_falls_with_crf():
    high = paint()
    scores = []
    for crf in (16, 24, 32, 40):
        degrade = build_degradation(DegradationSettings("film", crf=(crf, crf), resize=(1, 1), **MOVING))
        scores.append(np.mean([psnr(degrade(high, 4, np.random.default_rng(s)), shrink(high, 4)) for s in range(12)]))
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 3


def test_kept_grain_is_in_target_and_input():
    """Grain that `prepare` adds to the target is what the input shows, seen from afar."""
    high = np.full((256, 256, 3), 120, np.uint8)
    grainy = Film(kept_grain_share=1.0, noise_sigma=(8.0, 8.0)).prepare(high, 4, np.random.default_rng(4))
    assert grainy.shape == high.shape
    assert 3 < grainy.astype(float).std() < 9
    low = Film(clean_share=1.0)(grainy, 4, np.random.default_rng(5))
    assert np.corrcoef(low.mean(axis=2).ravel(), shrink(grainy, 4).mean(axis=2).ravel())[0, 1] > 0.9
    assert low.astype(float).std() > 3
    assert Film().prepare(high, 4, np.random.default_rng(4)) is high


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("sigma", [1.0, 5.0, 20.0])
def test_gaussian_noise_has_its_sigma(sigma, grey):
    flat = np.full((200, 200, 3), 128, np.uint8)
    noise = add_gaussian(flat, sigma, np.random.default_rng(0), grey=grey).astype(float) - 128
    # Rounding to whole levels adds a variance of 1/12.
    assert noise.std() == pytest.approx(np.sqrt(sigma**2 + 1 / 12), rel=0.02)
    assert abs(noise.mean()) < 0.01 + 4 * sigma / 200
    assert np.array_equal(noise[:, :, 0], noise[:, :, 1]) is grey


def test_poisson_noise_grows_with_the_root_of_light():
    deviations = []
    for level in (30, 120):
        flat = np.full((200, 200, 3), level, np.uint8)
        deviations.append(add_poisson(flat, 1.0, np.random.default_rng(0)).astype(float).std())
        assert deviations[-1] == pytest.approx(np.sqrt(level / 255 / 256 * 255**2 + 1 / 12), rel=0.03)
    assert deviations[1] == pytest.approx(2 * deviations[0], rel=0.03)
    assert add_poisson(np.zeros((8, 8, 3), np.uint8), 3.0, np.random.default_rng(0)).max() == 0


@pytest.mark.parametrize("softness", [0.05, 0.25])
@pytest.mark.parametrize("chroma", [0.0, 0.4])
def test_grain_has_its_sigma_and_is_soft(softness, chroma):
    grain = draw_grain(200, 300, 4.0, softness, np.random.default_rng(0), chroma)
    luma = grain @ np.array([0.299, 0.587, 0.114])
    assert grain.shape == (200, 300, 3)
    assert luma.std() == pytest.approx(4.0, rel=0.03)
    neighbours = np.corrcoef(luma[:, 1:].ravel(), luma[:, :-1].ravel())[0, 1]
    side, middle = softness, 1 - 2 * softness
    assert neighbours == pytest.approx(2 * side * middle / (middle**2 + 2 * side**2), abs=0.02)
    own = (grain - luma[:, :, None]).std()
    assert (own < 1e-5) if chroma == 0 else (0.5 < own < 2.0)


def test_field_rounds_and_clips():
    picture = np.array([[[0, 255, 100]]], np.uint8)
    np.testing.assert_array_equal(add_field(picture, np.float32(0.4)), [[[0, 255, 100]]])
    np.testing.assert_array_equal(add_field(picture, np.float32(-300)), [[[0, 0, 0]]])
    np.testing.assert_array_equal(add_field(picture, np.float32(0.6)), [[[1, 255, 101]]])


def test_jpeg_leaves_blocks():
    high = paint(128, 128)
    steps = []
    for quality in (95, 40, 10):
        rows = np.abs(np.diff(compress_jpeg(high, quality).astype(float), axis=0)).mean(axis=(1, 2))
        at_grid = (np.arange(127) + 1) % 8 == 0
        steps.append(rows[at_grid].mean() / rows[~at_grid].mean())
    assert steps == sorted(steps)
    assert steps[-1] > 1.3 * steps[0]


@pytest.mark.parametrize("method", RESIZE_METHODS)
@pytest.mark.parametrize("side", [19, 32, 64, 97])
def test_resize_keeps_places_and_means(method, side):
    """A slope stays the same slope: centres fall on centres, rounding leans to neither side."""
    slope = np.broadcast_to(np.linspace(40, 200, 64)[None, :, None], (64, 64, 3)).astype(np.uint8)
    small = resize(slope, 64, side, method).astype(float)
    places = (np.arange(side) + 0.5) * 64 / side - 0.5
    expected = np.interp(places, np.arange(64), slope[0, :, 0].astype(float))
    inner = slice(side // 8 + 1, -(side // 8) - 1)
    assert np.abs(small[0, inner, 0] - expected[inner]).max() < (2.0 if method == "area" else 1.1)
    assert abs((small[:, inner, 0] - expected[inner]).mean()) < 0.5


def test_resize_is_the_interpolation_of_the_published_code():
    """torch's interpolate, which the paper's code calls, without antialiasing."""
    functional = pytest.importorskip("torch.nn.functional")
    import torch

    picture = np.random.default_rng(0).integers(0, 256, (23, 31, 3), dtype=np.uint8)
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    for method in ("bilinear", "bicubic"):
        for size in ((17, 40), (46, 9)):
            expected = functional.interpolate(planes, size=size, mode=method, align_corners=False)
            expected = expected[0].permute(1, 2, 0).clamp(0, 255).numpy()
            assert np.abs(resize(picture, *size, method) - expected).max() < 0.51


def test_resize_to_its_own_size_is_itself():
    picture = paint(16, 16)
    assert all(np.array_equal(resize(picture, 16, 16, method), picture) for method in RESIZE_METHODS)


def test_codec_rounds_of_realbasicvsr():
    """With codec_share every JPEG is followed by a video codec: worse than without, on equal draws otherwise."""
    high = paint()
    quiet = {"noise_sigma": (0, 0), "noise2_sigma": (0, 0), "poisson_scale": (0, 0), "poisson2_scale": (0, 0)}
    quiet |= {"jpeg_quality": (95, 95), "blur_share": 0.0, "blur2_share": 0.0, "resize": (1, 1), "resize2": (1, 1)}
    scores = []
    for share in (0.0, 1.0):
        degrade = build_degradation(DegradationSettings("realesrgan", codec_share=share, crf=(34, 34), **quiet))
        scores.append(np.mean([psnr(degrade(high, 4, np.random.default_rng(s)), shrink(high, 4)) for s in range(8)]))
    assert scores[1] < scores[0] - 1


def pairs(count: int, **changes: object) -> list[tuple[np.ndarray, np.ndarray]]:
    """(target, input) of film sheets x2."""
    degrade = build_degradation(DegradationSettings("film", **changes))
    made = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        target = degrade.prepare(paint(64, 64), 2, rng)
        made.append((target, degrade(target, 2, rng)))
    return made


def is_grey(picture: np.ndarray, tolerance: int = 0) -> bool:
    return bool((picture.max(axis=2).astype(int) - picture.min(axis=2)).max() <= tolerance)


def test_grey_sheets_are_grey_before_and_after():
    """Exactly so in the target; in the input the codec's colour conversion may round."""
    luma = np.asarray(Image.fromarray(paint(64, 64)).convert("L"))
    for target, low in pairs(12, grey_share=1.0, noise_share=0.0):
        assert is_grey(target)
        np.testing.assert_array_equal(target[:, :, 0], luma)
        assert is_grey(low, tolerance=3)
    assert not any(is_grey(target) or is_grey(low, tolerance=3) for target, low in pairs(12, grey_share=0.0))


def test_grey_has_its_share_and_is_a_setting():
    share = np.mean([is_grey(target) for target, _ in pairs(150, grey_share=0.3, codec_share=0.0)])
    assert 0.2 < share < 0.4
    with pytest.raises(SettingsError, match="grey_share"):
        DegradationSettings("realesrgan", grey_share=0.3)


def test_kept_grain_lies_on_grey_targets_too():
    bare = pairs(6, grey_share=1.0, kept_grain_share=0.0)
    grainy = pairs(6, grey_share=1.0, kept_grain_share=1.0, noise_sigma=(4, 6), clean_share=1.0)
    for (plain, _), (target, low) in zip(bare, grainy, strict=True):
        grain = target.astype(float) - plain
        assert 1 < grain.std() < 8
        assert abs(grain.mean()) < 0.5
        # The same grain is in the input: shrunk, both tell the same.
        seen = low.astype(float) - shrink(plain, 2)
        expected = shrink(target, 2).astype(float) - shrink(plain, 2)
        assert np.corrcoef(seen.ravel(), expected.ravel())[0, 1] > 0.8


def test_settings_are_few_frozen_and_known_to_a_kind():
    assert len(fields(DegradationSettings)) < 26
    known = {field.name for kind in (Film, SecondOrder) for field in fields(kind)}
    assert known == {field.name for field in fields(DegradationSettings)} - {"kind"}
    with pytest.raises(FrozenInstanceError):
        DegradationSettings().kind = "film"


def test_settings_reach_the_degradation():
    """Lists, as TOML has them, become tuples; what is not given stays the kind's own."""
    made = build_degradation(DegradationSettings("film", crf=[24, 30], codecs=["vp9"], motion=1))
    assert made == Film(crf=(24.0, 30.0), codecs=("vp9",), motion=1.0)
    assert build_degradation(DegradationSettings("realesrgan")) == SecondOrder()
    assert build_degradation(DegradationSettings()) is None
    assert build_degradation(DegradationSettings("none", crf=(1, 2))) is None


def test_defaults_pass_their_own_checks():
    for kind, made in (("film", Film()), ("realesrgan", SecondOrder())):
        given_again = DegradationSettings(kind, **{field.name: getattr(made, field.name) for field in fields(made)})
        assert build_degradation(given_again) == made


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "movie"}, "'movie' is not one of none, realesrgan, film"),
        ({"kind": "film", "jpeg_quality": (30, 95)}, "'film' has no setting 'jpeg_quality'"),
        ({"kind": "realesrgan", "motion": 1}, "'realesrgan' has no setting 'motion'"),
        ({"kind": "film", "crf": 23}, "crf 23 is no range"),
        ({"kind": "film", "crf": (30, 20)}, "wrong way round"),
        ({"kind": "film", "crf": (20, 60)}, "crf 60 is out of range"),
        ({"kind": "film", "crf": ("a", "b")}, "crf 'a' is no number"),
        ({"kind": "film", "clean_share": 1.5}, "clean_share 1.5 is out of range"),
        ({"kind": "film", "clean_share": float("nan")}, "no number"),
        ({"kind": "film", "clean_share": True}, "no number"),
        ({"kind": "film", "codecs": ["divx"]}, "codecs"),
        ({"kind": "film", "codecs": "h264"}, "codecs"),
        ({"kind": "film", "codecs": []}, "codecs"),
        ({"kind": "realesrgan", "blur_sigma": (0, 3)}, "blur_sigma 0 is out of range"),
    ],
)
def test_wrong_settings_are_named(wrong, said):
    with pytest.raises(SettingsError, match=said):
        DegradationSettings(**wrong)
