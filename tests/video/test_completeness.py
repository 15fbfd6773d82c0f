"""What is missing of files that are still being written."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import films
from vsr.video.completeness import find_shortfall

WHOLE = [
    (films.plain, "film.mp4"),
    (films.plain, "film.mkv"),
    (films.mov_pcm, "film.mov"),
    (films.avi, "film.avi"),
    (films.webm, "film.webm"),
    (films.mpeg_ts, "film.ts"),
    (films.mpeg_ps, "film.mpg"),
    (films.everything, "film.mkv"),
    (films.edit_list, "film.mp4"),
]


@pytest.mark.parametrize(("recipe", "name"), WHOLE, ids=lambda value: getattr(value, "__name__", value))
def test_whole_films_lack_nothing(recipe, name: str, tmp_path: Path):
    assert find_shortfall(recipe(tmp_path / name).path) is None


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.mov", "film.avi"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.97])
def test_films_half_copied(name: str, share: float, tmp_path: Path):
    """Whatever has arrived of a film whose header states its size."""
    path = (films.avi if name.endswith("avi") else films.plain)(tmp_path / name).path
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert find_shortfall(path) is not None


def test_index_of_mp4_comes_last(tmp_path: Path):
    """A recorder's file before it is closed: all of its boxes are whole, and none says what is in them."""
    content = films.plain(tmp_path / "film.mp4").path.read_bytes()
    path = tmp_path / "recording.mp4"
    path.write_bytes(content[: content.index(b"moov") - 4])
    assert find_shortfall(path) == "its index is not written yet"


def test_file_laid_out_before_it_is_filled(tmp_path: Path):
    path = tmp_path / "film.ts"
    path.write_bytes(b"\x47" + b"\x01" * 10000 + b"\0" * 10000)
    assert find_shortfall(path) == "its end is nothing but zeros"


def test_empty_file(tmp_path: Path):
    (tmp_path / "film.mp4").touch()
    assert find_shortfall(tmp_path / "film.mp4") == "it is empty"


def test_bytes_after_the_last_box_are_nobodys(tmp_path: Path):
    path = films.plain(tmp_path / "film.mp4").path
    path.write_bytes(path.read_bytes() + b"\xff\xfe\xfd\xfc" * 8)
    assert find_shortfall(path) is None


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "bmp", "avif"])
def test_pictures(suffix: str, tmp_path: Path):
    path = tmp_path / f"picture.{suffix}"
    Image.effect_noise((64, 48), 60).convert("RGB").save(path)
    assert find_shortfall(path) is None
    if suffix not in ("tiff", "bmp"):  # they say nothing in front that a cut at the end would belie
        path.write_bytes(path.read_bytes()[:-20])
        assert find_shortfall(path) is not None


def test_what_nobody_knows_is_not_guessed_at(tmp_path: Path):
    (tmp_path / "film.dv").write_bytes(b"whatever this is" * 100)
    assert find_shortfall(tmp_path / "film.dv") is None
