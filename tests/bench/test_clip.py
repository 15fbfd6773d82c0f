"""The clip, and the two ways in and out of a film as RGB."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import films
from vsr.bench import pipes, rgb
from vsr.bench.clip import draw_pictures, make_clip
from vsr.bench.task import Coding
from vsr.errors import OutputError, ProcessingError, SourceError

CODING = Coding("libx264", {"crf": "1", "preset": "ultrafast"}, "yuv444p", "30000/1001")
needs_ffmpeg = pytest.mark.skipif(pipes.find_ffmpeg() is None, reason="there is no ffmpeg program on PATH")


def test_the_synthetic_clip_is_the_same_every_time(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", None, 3)
    assert (clip.name, clip.width, clip.height, clip.num_frames, clip.rate) == ("synthetic", 480, 270, 3, 25)
    found, drawn = list(rgb.read_rgb(tmp_path / "a.mkv")), list(draw_pictures(3))
    assert all(np.array_equal(a, b) for a, b in zip(drawn, draw_pictures(3), strict=True))
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(found, drawn, strict=True)) < 8  # chroma is 4:2:0
    assert not np.array_equal(drawn[0], drawn[1])


@pytest.mark.parametrize("size", [(64, 48), (65, 49)])
def test_a_film_gives_its_first_frames(tmp_path: Path, size: tuple[int, int]) -> None:
    film = films.odd_size(tmp_path / "film.mkv", size=size)
    clip = make_clip(tmp_path / "clip.mkv", film.path, 5)
    assert (clip.name, (clip.width, clip.height), clip.num_frames) == ("film.mkv", size, 5)
    with av.open(str(tmp_path / "clip.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert container.streams.video[0].average_rate == clip.rate == films.RATE


def test_a_short_film_gives_what_it_has(tmp_path: Path) -> None:
    film = films.plain(tmp_path / "film.mp4")
    assert make_clip(tmp_path / "clip.mkv", film.path, 1000).num_frames == film.num_frames


def test_a_missing_film_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.mp4"):
        make_clip(tmp_path / "clip.mkv", tmp_path / "nowhere.mp4", 3)


def test_arrays_go_through_a_film(tmp_path: Path) -> None:
    pictures = list(draw_pictures(3, 40, 30))
    path = tmp_path / "film.mkv"
    assert rgb.write_rgb(path, pictures, CODING) == 3
    found = list(rgb.read_rgb(path))
    assert [picture.shape for picture in found] == [(30, 40, 3)] * 3
    assert all(np.abs(a.astype(int) - b).mean() < 2 for a, b in zip(pictures, found, strict=True))


def test_an_encoder_that_refuses_is_an_error_of_ours(tmp_path: Path) -> None:
    coding = Coding("libx264", {}, "yuv420p", "25")
    with pytest.raises(OutputError, match=r"odd\.mkv"):
        rgb.write_rgb(tmp_path / "odd.mkv", draw_pictures(1, 41, 31), coding)


@needs_ffmpeg
def test_pipes_and_pyav_read_the_same_film(tmp_path: Path) -> None:
    pictures = list(draw_pictures(5, 40, 30))
    path = tmp_path / "film.mkv"
    assert pipes.write_rgb(path, iter(pictures), CODING) == 5
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
    through_pipes, through_pyav = list(pipes.read_rgb(path, 40, 30)), list(rgb.read_rgb(path))
    assert len(through_pipes) == len(through_pyav) == 5
    differences = [np.abs(a.astype(int) - b).mean() for a, b in zip(through_pipes, through_pyav, strict=True)]
    assert max(differences) < 1.5


@needs_ffmpeg
def test_a_film_left_early_leaves_no_program_behind(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    rgb.write_rgb(path, draw_pictures(30, 40, 30), CODING)
    pictures = pipes.read_rgb(path, 40, 30)
    next(pictures)
    pictures.close()  # type: ignore[attr-defined]  # waits for the program; a ResourceWarning would fail the test


@needs_ffmpeg
def test_what_ffmpeg_says_reaches_the_error(tmp_path: Path) -> None:
    with pytest.raises(ProcessingError, match=r"decoding .*nowhere\.mkv.*No such file"):
        list(pipes.read_rgb(tmp_path / "nowhere.mkv", 40, 30))
    with pytest.raises(ProcessingError, match=r"encoding .*not divisible by 2"):
        pipes.write_rgb(tmp_path / "odd.mp4", draw_pictures(1, 41, 31), Coding("libx264", {}, "yuv420p", "25"))
    with pytest.raises(ProcessingError, match="no picture"):
        pipes.write_rgb(tmp_path / "none.mp4", iter(()), CODING)


@needs_ffmpeg
def test_a_film_that_ends_in_the_midst_of_a_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    rgb.write_rgb(path, draw_pictures(1, 40, 30), CODING)
    with pytest.raises(ProcessingError, match="decoding"):
        list(pipes.read_rgb(path, 41, 30))


def test_without_ffmpeg_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pipes.find_ffmpeg() is None
    with pytest.raises(ProcessingError, match="no ffmpeg"):
        list(pipes.read_rgb(tmp_path / "film.mkv", 40, 30))
