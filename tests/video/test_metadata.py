"""Titles, tags and chapters, as the output container is given them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import av
import pytest

import films
from vsr.video.metadata import container_metadata, container_options, cut_chapters, stream_metadata
from vsr.video.probe import VideoInfo, probe
from vsr.video.reader import Window

Make = Callable[..., films.Film]


@pytest.fixture
def chaptered(make_film: Make) -> VideoInfo:
    return probe(make_film(films.with_chapters, "film.mkv").path)


def spans(info: VideoInfo, start: Fraction | None, end: Fraction | None) -> list[tuple[Fraction, Fraction, str]]:
    chapters = cut_chapters(info, Window(start, end))
    return [(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"]) for c in chapters]


def test_all_chapters_of_a_whole_film(chaptered: VideoInfo) -> None:
    half = Fraction(1, 2)
    assert spans(chaptered, None, None) == [(Fraction(0), half, "One"), (half, Fraction(1), "Two")]


def test_chapters_of_a_part_are_clipped_and_counted_from_its_start(chaptered: VideoInfo) -> None:
    quarter = Fraction(1, 4)
    assert spans(chaptered, quarter, 3 * quarter) == [(0, quarter, "One"), (quarter, 2 * quarter, "Two")]
    assert spans(chaptered, None, quarter) == [(0, quarter, "One")]
    assert spans(chaptered, 2 * quarter, None) == [(0, 2 * quarter, "Two")]
    assert spans(chaptered, Fraction(5), None) == []


def test_facts_about_the_old_file_are_left_out(film: films.Film) -> None:
    info = probe(film.path)
    assert "major_brand" in info.metadata
    tagged = replace(info, metadata=info.metadata | {"title": "T", "ENCODER": "old"})
    assert container_metadata(tagged) == {"title": "T"}
    stream = replace(info.main_stream, metadata={"title": "V", "BPS-eng": "1", "DURATION": "1", "language": "eng"})
    assert stream_metadata(stream) == {"title": "V", "language": "eng"}


def test_mp4_counts_delays_in_ticks_that_hold_them_exactly(make_film: Make) -> None:
    info = probe(make_film(films.delayed_sound).path)
    scale = int(container_options(info, "mp4", {}, [])["movie_timescale"])
    for stream in info.streams:
        assert stream.start is not None
        assert (stream.start * scale).denominator == 1
    assert scale >= 1000


def test_unusual_tags_need_mp4s_newer_table(film: films.Film) -> None:
    info = probe(film.path)
    assert "movflags" not in container_options(info, "mp4", {"title": "T"}, [])
    assert container_options(info, "mp4", {"director": "D"}, [])["movflags"] == "use_metadata_tags"
    assert "movflags" not in container_options(info, "matroska", {"director": "D"}, [])


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_tags_arrive(name: str, make_film: Make, upscale_plainly) -> None:
    wanted = {"title": "Größe", "artist": "A", "comment": "two\nlines", "director": "D", "date": "1999"}
    film = make_film(films.plain, "film.mkv", metadata=wanted, video_metadata={"title": "the picture"})
    run = upscale_plainly(film.path, name)
    with av.open(str(run.path)) as container:
        found = {key.lower(): value for key, value in container.metadata.items()}
        assert {key: found.get(key) for key in wanted} == wanted
    assert probe(run.path).main_stream.title == "the picture"
    assert run.writer.lost_tags == []


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_bytes_of_a_foreign_title_arrive(name: str, make_film: Make, upscale_plainly) -> None:
    run = upscale_plainly(make_film(films.foreign_letters, "film.mkv").path, name)
    assert probe(run.path).metadata["title"].encode("utf-8", "surrogateescape") == b"Caf\xe9!"


def test_what_the_container_lost_is_found(make_film: Make, upscale_plainly) -> None:
    film = make_film(films.with_cover, "film.mkv", metadata={"title": "T", "director": "D"})
    run = upscale_plainly(film.path, "out.mp4")
    # With a cover MP4 has only its classic tags, which know no director.
    assert run.writer.lost_tags == ["tag 'DIRECTOR' of the film"]
