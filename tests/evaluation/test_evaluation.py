"""Whole evaluations: published figures, figures worked out by hand, and what is left out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import films
from vsr.errors import DataError, OutputError, SettingsError, SourceError
from vsr.evaluation import Conditions, OutputFolder, compare, evaluate_film, evaluate_pictures
from vsr.evaluation.methods import open_methods
from vsr.evaluation.scores import PictureScores
from vsr.evaluation.sources import Pixels, list_pictures, read_picture, to_tensor
from vsr.metrics import TemporalDifference, luma_bt601, psnr, ssim
from vsr.model.resample import enlarge, shrink


class Fixed:
    """A method that knows the answers: the same picture whatever comes in, plus an error that may change by call."""

    def __init__(self, answers: list[Pixels], errors: list[float], name: str = "fixed") -> None:
        self.name, self._answers, self._errors, self.inputs = name, answers, errors, list[Tensor]()

    def describe(self) -> dict[str, object]:
        return {"model": self.name}

    def __call__(self, frames_BCHW: Tensor) -> Tensor:
        number = len(self.inputs)
        self.inputs.append(frames_BCHW)
        return to_tensor(self._answers[number]) + self._errors[number] / 255


def smooth(height: int, width: int, shift: float = 0.0) -> Pixels:
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 90 * np.sin((x + shift) / 6 + c) * np.cos(y / 8 - c) for c in range(3)]
    return np.stack(planes, axis=2).round().astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """2.png (50x43), 10.png (40x40, grey), and a text."""
    place = tmp_path / "pictures"
    place.mkdir()
    Image.fromarray(smooth(43, 50)).save(place / "2.png")
    Image.fromarray(smooth(40, 40)[..., 0]).save(place / "10.png")
    (place / "notes.txt").write_text("x")
    return place


# --- published figures ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Set5", 28.43), ("Set14", 26.09), pytest.param("B100", 25.96, marks=pytest.mark.slow)],
)
def test_bicubic_is_what_the_papers_say(material: Path, name: str, expected: float) -> None:
    methods, scale = open_methods(["bicubic"])
    result = evaluate_pictures(material / "images" / name, methods, Conditions(scale))
    assert result.is_complete
    assert result.methods[0].mean.psnr_y == pytest.approx(expected, abs=0.01)


def test_bicubic_with_luma_rounded_as_matlab_does(material: Path) -> None:
    """Set5 x4: 28.42 dB, 0.8104 (published); rgb2ycbcr of 8-bit pictures rounds Y."""
    scores = []
    for path in list_pictures(material / "images" / "Set5"):
        high = (luma_bt601(to_tensor(read_picture(path))) * 255).round() / 255
        low = (shrink(high, 4) * 255).round() / 255
        output = (enlarge(low, 4) * 255).round() / 255
        scores.append((psnr(output, high, border=4), ssim(output, high, border=4)))
    assert np.mean(scores, axis=0).tolist() == pytest.approx([28.42, 0.8104], abs=5e-3)


# --- pictures ---


def test_figures_of_pictures_are_those_of_the_metrics(folder: Path, tiny_weights: Path) -> None:
    methods, scale = open_methods(["bicubic", str(tiny_weights)], device="cpu")
    result = evaluate_pictures(folder, methods, Conditions(scale))
    assert (result.name, result.kind, result.count, result.is_complete) == ("pictures", "pictures", 2, True)
    assert [method.model for method in result.methods] == ["bicubic", "tiny-x4"]
    for method, figures in zip(methods, result.methods, strict=True):
        assert [name for name, _ in figures.pictures] == ["2", "10"]
        high = to_tensor(read_picture(folder / "2.png"))[..., :40, :48]
        low = (shrink(high, 4).clamp(0, 1) * 255).round() / 255
        output = (method(low) * 255).round() / 255
        scores = figures.pictures[0][1]
        assert scores.psnr_y == pytest.approx(psnr(luma_bt601(output), luma_bt601(high), border=4), abs=1e-4)
        assert scores.ssim_rgb == pytest.approx(ssim(output, high, border=4), abs=1e-6)
        each = [one.psnr_rgb for _, one in figures.pictures]
        assert figures.mean.psnr_rgb == pytest.approx(sum(each) / 2)


def test_a_known_error_gives_the_known_figure(folder: Path) -> None:
    """A grey error of 5 levels: 20 log10(255/5) on RGB, and 219/255 of the error on luma."""
    answers = [smooth(43, 50)[:40, :48], np.repeat(smooth(40, 40)[..., :1], 3, axis=2)]
    method = Fixed(answers, [5, 0])
    result = evaluate_pictures(folder, [method], Conditions())
    first, second = (scores for _, scores in result.methods[0].pictures)
    assert first.psnr_rgb == pytest.approx(20 * math.log10(255 / 5), abs=1e-4)
    assert first.psnr_y == pytest.approx(20 * math.log10(255 / (5 * 219 / 255)), abs=1e-4)
    assert second.psnr_y == math.inf
    assert second.ssim_rgb == pytest.approx(1)
    assert second.to_json()["psnr_y"] is None
    assert [tuple(frames.shape) for frames in method.inputs] == [(1, 3, 10, 12), (1, 3, 10, 10)]
    assert bool((method.inputs[1] == method.inputs[1][:, :1]).all()), "grey is RGB of equal channels"


def test_the_border_is_left_out(folder: Path) -> None:
    def spoil(picture: Pixels) -> Pixels:
        picture = picture.copy()
        picture[:4], picture[:, -4:] = 0, 0
        return picture

    answers = [spoil(smooth(43, 50)[:40, :48]), spoil(np.repeat(smooth(40, 40)[..., :1], 3, axis=2))]
    inside = evaluate_pictures(folder, [Fixed(answers, [0, 0])], Conditions())
    outside = evaluate_pictures(folder, [Fixed(answers, [0, 0])], Conditions(border=3))
    assert inside.methods[0].mean.psnr_rgb == math.inf
    assert outside.methods[0].mean.psnr_rgb < 40


def test_bad_pictures_are_named_and_left_out(folder: Path) -> None:
    (folder / "broken.png").write_bytes((folder / "2.png").read_bytes()[:200])
    Image.fromarray(smooth(16, 30)).save(folder / "small.png")
    methods, _ = open_methods(["nearest"])
    result = evaluate_pictures(folder, methods, Conditions())
    assert result.count == 2
    assert not result.is_complete
    assert [Path(one.path).name for one in result.skipped] == ["broken.png", "small.png"]
    assert "30x16" in result.skipped[1].reason


def test_nothing_to_evaluate_on_is_an_error(tmp_path: Path) -> None:
    methods, _ = open_methods(["nearest"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="without pictures"):
        evaluate_pictures(tmp_path / "empty", methods, Conditions())
    with pytest.raises(SourceError, match="missing"):
        evaluate_pictures(tmp_path / "missing", methods, Conditions())
    (tmp_path / "empty" / "bad.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="1 tried") as caught:
        evaluate_pictures(tmp_path / "empty", methods, Conditions())
    assert "bad.png" in (caught.value.hint or "")


def test_deep_and_transparent_pictures_are_read_as_8_bit_colour(tmp_path: Path) -> None:
    deep = (smooth(20, 24)[..., 0].astype(np.uint16) * 257) + 100  # rounds back
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(np.dstack([smooth(20, 24), np.full((20, 24), 7, np.uint8)])).save(tmp_path / "alpha.png")
    assert np.array_equal(read_picture(tmp_path / "deep.png")[..., 2], smooth(20, 24)[..., 0])
    assert np.array_equal(read_picture(tmp_path / "alpha.png"), smooth(20, 24))


@pytest.mark.parametrize("pattern", ["{}.png", "{}x4.png", "{}_x4.png"])
def test_given_inputs_are_used(folder: Path, tmp_path: Path, pattern: str) -> None:
    low = tmp_path / "low"
    low.mkdir()
    for stem, size in (("2", (10, 12)), ("10", (10, 10))):
        Image.fromarray(smooth(*size)).save(low / pattern.format(stem))
    method = Fixed([smooth(40, 48), smooth(40, 40)], [0, 0])
    result = evaluate_pictures(folder, [method], Conditions(), low=low)
    assert result.is_complete
    torch.testing.assert_close(method.inputs[0], to_tensor(smooth(10, 12)))
    (low / pattern.format("2")).unlink()
    result = evaluate_pictures(folder, [Fixed([smooth(40, 40)], [0])], Conditions(), low=low)
    assert [Path(one.path).name for one in result.skipped] == ["2.png"]


def test_a_single_picture_takes_an_input_of_any_name(folder: Path, tmp_path: Path) -> None:
    low = tmp_path / "small.png"
    Image.fromarray(smooth(10, 12)).save(low)
    method = Fixed([smooth(40, 48)], [0])
    assert evaluate_pictures(folder / "2.png", [method], Conditions(), low=low).count == 1
    torch.testing.assert_close(method.inputs[0], to_tensor(smooth(10, 12)))
    with pytest.raises(SourceError, match="nowhere"):
        evaluate_pictures(folder / "2.png", [method], Conditions(), low=tmp_path / "nowhere.png")


def test_pictures_of_one_stem_are_told_apart(tmp_path: Path) -> None:
    """Each has an input, a name and an output of its own."""
    high, low = tmp_path / "high", tmp_path / "low"
    for place, size in ((high, (40, 40)), (low, (10, 10))):
        place.mkdir()
        for shift, name in enumerate(("a.bmp", "a.png", "b.png")):
            Image.fromarray(smooth(*size, shift)).save(place / name)
    method = Fixed([smooth(40, 40)] * 3, [0] * 3)
    result = evaluate_pictures(high, [method], Conditions(), low=low, outputs=OutputFolder(tmp_path / "out"))
    assert [name for name, _ in result.methods[0].pictures] == ["a.bmp", "a.png", "b"]
    assert {path.name for path in (tmp_path / "out").rglob("*.png")} == {"a.bmp.png", "a.png.png", "b.png"}
    for shift, given in enumerate(method.inputs):
        torch.testing.assert_close(given, to_tensor(smooth(10, 10, shift)))


def test_outputs_are_kept_and_not_replaced(folder: Path, tmp_path: Path) -> None:
    methods, _ = open_methods(["bilinear"])
    outputs = OutputFolder(tmp_path / "out")
    evaluate_pictures(folder, methods, Conditions(), outputs=outputs)
    kept = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert kept == ["pictures/bilinear/10.png", "pictures/bilinear/2.png"]
    output = read_picture(tmp_path / "out/pictures/bilinear/2.png")
    result = evaluate_pictures(folder, methods, Conditions())
    assert compare(output, smooth(43, 50)[:40, :48], 4) == result.methods[0].pictures[0][1]
    with pytest.raises(OutputError, match="exists") as caught:
        evaluate_pictures(folder, methods, Conditions(), outputs=outputs)
    assert "--save" in str(caught.value.hint)
    assert "-o" not in str(caught.value.hint).split()
    with pytest.raises(OutputError, match="cannot be made") as caught:
        evaluate_pictures(folder, methods, Conditions(), outputs=OutputFolder(folder / "notes.txt"))
    assert "--save" in str(caught.value.hint)
    evaluate_pictures(folder, methods, Conditions(), outputs=OutputFolder(tmp_path / "out", overwrite=True))


def test_a_mean_of_figures_is_of_decibels() -> None:
    scores = [PictureScores(20, 0.5, 30, 0.25), PictureScores(40, 1.0, 31, 0.75)]
    assert PictureScores.mean(scores) == PictureScores(30, 0.75, 30.5, 0.5)


# --- methods ---


def test_scales_of_methods(tiny_weights: Path, tmp_path: Path) -> None:
    import networks

    double = networks.write_compact(tmp_path / "double.safetensors", scale=2)
    assert open_methods(["bicubic"])[1] == 4
    assert open_methods(["bicubic", str(double)])[1] == 2
    with pytest.raises(SettingsError, match="differently") as caught:
        open_methods([str(double), str(tiny_weights)])
    assert "--scale" in (caught.value.hint or "")
    methods, scale = open_methods([str(double), str(tiny_weights)], 3, device="cpu")
    assert scale == 3
    assert [tuple(method(torch.rand(1, 3, 5, 6)).shape) for method in methods] == [(1, 3, 15, 18)] * 2


def test_two_files_of_one_stem_have_two_names(tmp_path: Path) -> None:
    import networks

    paths = []
    for seed, place in enumerate(("a", "b")):
        (tmp_path / place).mkdir()
        paths.append(str(networks.write_compact(tmp_path / place / "net.safetensors", seed=seed)))
    assert [method.name for method in open_methods(paths, device="cpu")[0]] == ["net", "net#2"]


# --- films ---


def save_frames(folder: Path, frames: list[Pixels]) -> Path:
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return folder


def test_flicker_of_a_method_that_blinks(tmp_path: Path) -> None:
    """An error of 0, 8, 0, 8 levels moves luma by 8 x 219/255 at each step; a constant one does not at all."""
    frames = [smooth(32, 36, shift) for shift in (0, 2, 4, 6)]
    data = save_frames(tmp_path / "frames", frames)
    methods = [Fixed(frames, [0, 8, 0, 8], "blinking"), Fixed(frames, [8] * 4, "dark")]
    result = evaluate_film(data, methods, Conditions())
    assert (result.kind, result.count) == ("film", 4)
    assert result.methods[0].temporal_difference == pytest.approx(8 * 219 / 255, abs=1e-4)
    assert result.methods[1].temporal_difference == pytest.approx(0, abs=1e-4)
    assert result.methods[1].mean.psnr_rgb == pytest.approx(20 * math.log10(255 / 8), abs=1e-4)
    only = evaluate_film(data, [Fixed(frames, [0, 8], "blinking")], Conditions(), num_frames=1)
    assert (only.count, only.methods[0].temporal_difference) == (1, None)


def test_a_film_is_evaluated_frame_by_frame(film: films.Film) -> None:
    methods, _ = open_methods(["bicubic"], 2)
    result = evaluate_film(film.path, methods, Conditions(2))
    assert result.count == film.num_frames
    assert result.methods[0].temporal_difference is not None
    assert result.is_complete
    degraded = evaluate_film(film.path, methods, Conditions(2, crf=40))
    assert degraded.count == film.num_frames
    assert degraded.methods[0].mean.psnr_y < result.methods[0].mean.psnr_y


def test_clips_join_into_the_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.evaluation.films.FRAMES_PER_CLIP", 2)
    frames = [smooth(32, 36, shift) for shift in range(5)]
    data = save_frames(tmp_path / "frames", frames)
    method = Fixed(frames, [0] * 5)
    result = evaluate_film(data, [method], Conditions(2, crf=20))
    assert result.methods[0].mean.psnr_rgb == math.inf, "each output meets its own reference"
    assert [name for name, _ in result.methods[0].pictures] == [f"{number:08d}" for number in range(5)]
    for frames_BCHW, frame in zip(method.inputs, frames, strict=True):
        assert psnr(frames_BCHW, shrink(to_tensor(frame), 2)) > 25


def test_given_low_films_must_be_as_long(tmp_path: Path) -> None:
    frames = [smooth(32, 36, shift) for shift in range(3)]
    data = save_frames(tmp_path / "frames", frames)
    low = save_frames(tmp_path / "low", [frame[:8, :9] for frame in frames])
    method = Fixed(frames, [0] * 3)
    evaluate_film(data, [method], Conditions(), low=low)
    assert tuple(method.inputs[2].shape) == (1, 3, 8, 9)
    short = save_frames(tmp_path / "short", [frame[:8, :9] for frame in frames[:2]])
    with pytest.raises(DataError, match="only 2 frames"):
        evaluate_film(data, [Fixed(frames, [0] * 3)], Conditions(), low=short)
    long = save_frames(tmp_path / "long", [frame[:8, :9] for frame in [*frames, frames[0]]])
    with pytest.raises(DataError, match="more frames"):
        evaluate_film(data, [Fixed(frames, [0] * 3)], Conditions(), low=long)
    evaluate_film(data, [Fixed(frames, [0] * 2)], Conditions(), low=long, num_frames=2)


def test_a_film_keeps_its_size(tmp_path: Path) -> None:
    data = save_frames(tmp_path / "frames", [smooth(32, 36), smooth(32, 40)])
    methods, _ = open_methods(["nearest"])
    with pytest.raises(DataError, match="frame 1 is 40x32"):
        evaluate_film(data, methods, Conditions())
    with pytest.raises(SourceError):
        evaluate_film(tmp_path / "missing.mp4", methods, Conditions())


def test_a_real_film_flickers_less_with_a_better_filter(material: Path) -> None:
    """Nearest neighbours jump where the picture glides."""
    methods, _ = open_methods(["nearest", "bicubic"])
    result = evaluate_film(material / "video" / "calendar", methods, Conditions(), num_frames=4)
    nearest, bicubic = (figures.temporal_difference for figures in result.methods)
    assert nearest is not None
    assert bicubic is not None
    assert 0 < bicubic < nearest


def test_temporal_difference_of_a_film_is_that_of_the_metric(tmp_path: Path) -> None:
    frames = [smooth(32, 36, shift) for shift in (0, 3, 7)]
    methods, _ = open_methods(["bilinear"])
    result = evaluate_film(
        save_frames(tmp_path / "frames", frames), methods, Conditions(), outputs=OutputFolder(tmp_path / "out")
    )
    expected = TemporalDifference(border=4)
    for number, frame in enumerate(frames):
        output = read_picture(tmp_path / "out" / "frames" / "bilinear" / f"{number:08d}.png")
        expected.add(to_tensor(output), to_tensor(frame))
    assert result.methods[0].temporal_difference == pytest.approx(expected.mean)
