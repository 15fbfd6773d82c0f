"""The low-resolution twin of a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vsr.errors import DataError, SettingsError
from vsr.evaluation.conditions import Conditions
from vsr.evaluation.inputs import degrade_film, degrade_picture, fit_pair, make_pair
from vsr.evaluation.sources import Pixels, from_tensor, to_tensor
from vsr.model.resample import shrink


def make_picture(height: int, width: int) -> Pixels:
    """Waves of three colours, and an edge."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x / 7 + c) * np.cos(y / 9 - c) for c in range(3)]
    picture = np.stack(waves, axis=2)
    picture[height // 2 :, : width // 3] = (200, 40, 90)
    return picture.round().astype(np.uint8)


def test_tensors_and_samples_are_exact() -> None:
    samples = np.arange(256 * 3, dtype=np.uint32).astype(np.uint8).reshape(16, 16, 3)
    assert np.array_equal(from_tensor(to_tensor(samples)), samples)
    values = torch.tensor([-0.1, 0.5 / 255 + 1e-4, 1.7]).view(1, 3, 1, 1)
    assert from_tensor(values).flatten().tolist() == [0, 1, 255]


@pytest.mark.parametrize("kernel", ["matlab", "pillow"])
def test_a_pair_is_cropped_shrunk_and_rounded(kernel: str) -> None:
    picture = make_picture(43, 50)
    low, high = make_pair(picture, Conditions(kernel=kernel))
    assert (low.shape, low.dtype, high.shape) == ((10, 12, 3), np.uint8, (40, 48, 3))
    assert np.array_equal(high, picture[:40, :48])
    expected = (shrink(to_tensor(high), 4, kernel)[0] * 255).clamp(0, 255).round()
    assert np.array_equal(low, expected.permute(1, 2, 0).byte().numpy())


def test_a_given_input_crops_its_picture() -> None:
    picture = make_picture(43, 50)
    _, high = fit_pair(picture[:10, :12], picture, Conditions())
    assert high.shape == (40, 48, 3)
    for rows, columns in ((11, 12), (9, 12), (10, 13)):
        with pytest.raises(DataError, match="no input for 50x43 at scale 4: 12x10 are"):
            fit_pair(picture[:rows, :columns], picture, Conditions())


def test_too_small_pictures_are_refused() -> None:
    make_pair(make_picture(20, 20), Conditions())  # 12 left
    with pytest.raises(DataError, match="19x20 pixels are too few"):  # 16x20 once cropped
        make_pair(make_picture(20, 19), Conditions())
    with pytest.raises(DataError, match="3x3"):
        make_pair(make_picture(3, 3), Conditions(border=0))


def test_noise_is_what_was_asked_for_and_belongs_to_the_name() -> None:
    flat = np.full((60, 80, 3), 128, np.uint8)
    noisy = degrade_picture(flat, "a.png", Conditions(noise=5))
    error = noisy.astype(float) - 128
    assert error.std() == pytest.approx(5, rel=0.03)
    assert abs(error.mean()) < 0.2
    assert abs(np.corrcoef(error[..., 0].ravel(), error[..., 1].ravel())[0, 1]) < 0.05
    assert np.array_equal(noisy, degrade_picture(flat, "a.png", Conditions(noise=5)))
    assert not np.array_equal(noisy, degrade_picture(flat, "b.png", Conditions(noise=5)))
    assert not np.array_equal(noisy, degrade_picture(flat, "a.png", Conditions(noise=5, seed=1)))
    assert degrade_picture(flat, "a.png", Conditions()) is flat


def test_noise_clips_at_black_and_white() -> None:
    for level in (0, 255):
        noisy = degrade_picture(np.full((9, 9, 3), level, np.uint8), "a", Conditions(noise=20))
        assert (noisy == level).mean() > 0.3
        assert abs(noisy.astype(int) - level).max() < 128


@pytest.mark.parametrize("size", [(48, 64), (33, 41)])
def test_compression_loses_more_at_a_higher_crf(size: tuple[int, int]) -> None:
    picture = make_picture(*size)
    errors = []
    for crf in (10, 28, 45):
        result = degrade_picture(picture, "a", Conditions(crf=crf))
        assert (result.shape, result.dtype) == (picture.shape, np.uint8)
        errors.append(float(np.square(result.astype(float) - picture)[..., 1].mean()))
    assert 0 < errors[0] < errors[1] < errors[2]
    degrade_picture(picture, "a", Conditions(crf=1))  # the ends of the range are usable
    degrade_picture(picture, "a", Conditions(crf=51))
    assert np.array_equal(result, degrade_picture(picture, "a", Conditions(crf=45)))


def test_frames_of_a_film_have_noise_of_their_own() -> None:
    picture = make_picture(32, 32)
    conditions = Conditions(noise=4)
    frames = degrade_film([picture, picture, picture], 7, conditions)
    assert not np.array_equal(frames[0], frames[1])
    again = degrade_film([picture], 8, conditions)
    assert np.array_equal(again[0], frames[1]), "by its number, however the film is cut into clips"
    assert len(degrade_film([picture] * 3, 0, Conditions(crf=30))) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": 0},
        {"scale": 17},
        {"kernel": "cubic"},
        {"border": -1},
        {"noise": -1.0},
        {"crf": 52},
        {"crf": 0},
        {"seed": -1},
    ],
)
def test_conditions_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Conditions(**wrong)  # type: ignore[arg-type]
