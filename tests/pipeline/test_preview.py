from __future__ import annotations

import io
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

import films
from vsr.pipeline.preview import MAX_WIDTH, Glimpse, Preview, make_jpeg
from vsr.pixels import frames_to_tensor, tensor_to_frames
from vsr.video.color import ColorTags
from vsr.video.pixel_format import describe_format, resolve_tags
from vsr.video.reader import Picture

ORANGE = (0.9, 0.5, 0.1)
CODE_POINTS = [(1, 1), (1, 2), (5, 1), (6, 1), (6, 2), (7, 1), (9, 1), (9, 2)]


def paint(height: int, width: int, pix_fmt: str, tags: ColorTags, color: tuple[float, ...] = ORANGE) -> Any:
    picture_BCHW = torch.tensor(color).reshape(1, 3, 1, 1).expand(1, 3, height, width)
    return tensor_to_frames(picture_BCHW, pix_fmt, tags)[0]


def read(jpeg: bytes) -> Image.Image:
    assert jpeg.startswith(b"\xff\xd8")
    assert jpeg.endswith(b"\xff\xd9")
    image = Image.open(io.BytesIO(jpeg))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    image.load()
    return image


@pytest.mark.parametrize(("matrix", "color_range"), CODE_POINTS)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv444p"])
def test_colours_are_the_films_own(matrix: int, color_range: int, pix_fmt: str):
    frame = paint(32, 48, pix_fmt, ColorTags(matrix, color_range, 1, 1))
    image = read(make_jpeg(frame))
    assert image.size == (48, 32)
    assert np.abs(np.asarray(image, dtype=float) - np.array(ORANGE) * 255).max() < 5
    assert (int(frame.colorspace), int(frame.color_range)) == (matrix, color_range), "the frame is as it was"


@pytest.mark.parametrize(("height", "matrix"), [(480, 6), (720, 1)])
def test_untagged_films_are_read_by_their_size(height: int, matrix: int):
    frame = paint(height, height * 4 // 3, "yuv420p", ColorTags(matrix, 1))
    frame.colorspace, frame.color_range = 2, 0
    assert np.abs(np.asarray(read(make_jpeg(frame)), dtype=float) - np.array(ORANGE) * 255).max() < 5


@pytest.mark.parametrize("recipe", [films.plain, films.ten_bit, films.odd_size, films.hdr10])
def test_it_is_the_picture(recipe: Any, tmp_path: Path):
    film = recipe(tmp_path / "film.mkv")
    with av.open(str(film.path)) as container:
        frame = next(container.decode(video=0))
    tags = ColorTags(int(frame.colorspace), int(frame.color_range))
    tags = resolve_tags(tags, describe_format(frame.format.name), frame.width, frame.height)
    wanted_CHW = frames_to_tensor([frame], tags)[0].clamp(0, 1) * 255
    made_CHW = torch.from_numpy(np.array(read(make_jpeg(frame)))).permute(2, 0, 1)
    assert (made_CHW - wanted_CHW).abs().mean() < 4


@pytest.mark.parametrize(
    ("size", "shown"),
    [((4, 3), (4, 3)), ((1, 1), (1, 1)), ((1600, 9), (1600, 9)), ((3200, 90), (1600, 45)), ((3201, 1), (1600, 1))],
)
def test_large_pictures_are_made_smaller_and_small_ones_stay(size: tuple[int, int], shown: tuple[int, int]):
    width, height = size
    image = read(make_jpeg(paint(height, width, "yuv444p", ColorTags(1, 1, 1, 1))))
    assert image.size == shown
    assert image.width <= MAX_WIDTH


def test_a_rotated_film_is_shown_upright_before_and_after(tmp_path: Path):
    film = films.rotated(tmp_path / "film.mp4", degrees=90)
    with av.open(str(film.path)) as container:
        frame = next(container.decode(video=0))
    after = paint(96, 128, "yuv420p", ColorTags(1, 1, 1, 1))
    made: list[Glimpse] = []
    Preview(threading.Event(), made.append, pytest.fail).offer(picture(frame), picture(after))
    assert read(made[0].before_jpeg).size == (film.height, film.width)
    assert read(made[0].after_jpeg).size == (96, 128)
    upright = np.asarray(read(make_jpeg(frame)), dtype=float)
    turned = np.asarray(read(made[0].before_jpeg), dtype=float)
    assert np.abs(np.rot90(upright) - turned).mean() < 3


def picture(frame: Any) -> Picture:
    return Picture(frame, pts=3, duration=1, time_base=Fraction(1, 24))


def test_one_is_made_when_it_is_wanted():
    wanted = threading.Event()
    made: list[Glimpse] = []
    preview = Preview(wanted, made.append, pytest.fail)
    assert not preview.is_wanted
    wanted.set()
    assert preview.is_wanted
    tags = ColorTags(1, 1, 1, 1)
    preview.offer(picture(paint(12, 16, "yuv420p", tags)), picture(paint(48, 64, "yuv420p", tags)))
    assert not preview.is_wanted
    assert made[0].time == Fraction(1, 8)
    assert (read(made[0].before_jpeg).size, read(made[0].after_jpeg).size) == ((16, 12), (64, 48))


def test_a_preview_that_fails_is_told_and_raises_nothing():
    failures: list[Exception] = []
    wanted = threading.Event()
    wanted.set()
    preview = Preview(wanted, lambda _: pytest.fail("there is nothing to show"), failures.append)
    preview.offer(picture(None), picture(None))
    assert isinstance(failures[0], AttributeError)
    assert not preview.is_wanted
