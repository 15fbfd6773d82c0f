"""The facts of a film are read as they were asked for when it was made."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

import films
from vsr.errors import SourceError
from vsr.video.color import ColorTags
from vsr.video.probe import probe
from vsr.video.source import demux_known

Make = Callable[..., films.Film]


def test_a_plain_film(film: films.Film) -> None:
    info = probe(film.path)
    assert (info.width, info.height, info.pix_fmt, info.codec) == (64, 48, "yuv420p", "h264")
    assert (info.num_frames, info.frames_are_estimated, info.frame_rate) == (24, False, 24)
    assert (info.start, info.clock_shift, info.duration) == (0, 0, 1)
    assert [stream.kind for stream in info.streams] == ["video", "audio"]
    assert info.streams[1].detail == "48000 Hz stereo"
    assert (info.pixel_aspect, info.display_matrix, info.hdr) == (None, None, None)
    assert (info.interlaced, info.captions, info.alpha, info.dynamic_hdr) == (False, False, False, ())


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_the_display_matrix_is_kept_as_integers(degrees: int, make_film: Make) -> None:
    info = probe(make_film(films.rotated, degrees=degrees).path)
    assert info.display_matrix is not None
    one = 1 << 16
    turns = {90: (0, -one, one, 0), 180: (-one, 0, 0, -one), 270: (0, one, -one, 0)}[degrees]
    a, b, _, c, d, _, _, _, w = info.display_matrix
    assert (a, b, c, d) == turns
    assert w == 1 << 30
    assert info.rotation % 360 == degrees


def test_pixel_aspect(make_film: Make) -> None:
    assert probe(make_film(films.wide_pixels).path).pixel_aspect == Fraction(8, 9)


@pytest.mark.parametrize("tags", [films.BT601, films.BT709, films.BT709_FULL, films.HLG])
def test_colours(tags: films.Tags, make_film: Make) -> None:
    info = probe(make_film(films.tagged, tags=tags).path)
    assert info.colors == ColorTags(tags.matrix, tags.range, tags.primaries, tags.transfer)


def test_unsignalled_colours_stay_unsignalled(film: films.Film) -> None:
    assert probe(film.path).colors == ColorTags()


@pytest.mark.parametrize("recipe", [films.interlaced, films.interlaced_mpeg2])
def test_interlacing_is_seen(recipe: Callable[..., films.Film], make_film: Make) -> None:
    assert probe(make_film(recipe, "film.mkv").path).interlaced


def test_streams_of_everything(make_film: Make) -> None:
    info = probe(make_film(films.everything, "film.mkv").path)
    kinds = [stream.kind for stream in info.streams]
    assert kinds == ["video", "audio", "audio", "subtitle", "subtitle", "subtitle", "cover", "attachment"]
    assert [stream.language for stream in info.streams[1:5]] == ["eng", "ger", "eng", "ger"]
    assert info.streams[2].title == "B"
    assert [chapter["metadata"]["title"] for chapter in info.chapters] == ["One", "Two"]
    assert info.metadata["title"] == "Everything"


def test_a_cover_is_no_film(make_film: Make) -> None:
    info = probe(make_film(films.with_cover).path)
    assert [stream.kind for stream in info.streams].count("cover") == 1
    assert info.main_stream.kind == "video"


def test_dispositions(make_film: Make) -> None:
    info = probe(make_film(films.two_sounds, "film.mkv").path)
    assert "default" in info.streams[1].dispositions
    assert "comment" in info.streams[2].dispositions


def test_frames_are_estimated_where_the_container_does_not_count_them(make_film: Make) -> None:
    info = probe(make_film(films.webm, "film.webm").path)
    assert (info.num_frames, info.frames_are_estimated) == (24, True)
    info = probe(make_film(films.no_duration, "live.webm").path)
    assert (info.duration, info.num_frames) == (None, None)


def test_a_title_in_another_alphabet_keeps_its_bytes(make_film: Make) -> None:
    info = probe(make_film(films.foreign_letters, "film.mkv").path)
    assert info.metadata["title"].encode("utf-8", "surrogateescape") == b"Caf\xe9!"


@pytest.mark.parametrize(("opacity", "expected"), [(255, False), (254, True)])
def test_transparency_counts_where_there_is_some(opacity: int, expected: bool, tmp_path: Path) -> None:
    path = tmp_path / "film.mov"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("qtrle", rate=24)
        stream.width, stream.height, stream.pix_fmt = 8, 8, "argb"
        frame = av.VideoFrame(8, 8, "argb")
        pixels = bytearray(b"\xff" * frame.planes[0].buffer_size)
        pixels[4] = opacity  # of the second pixel
        frame.planes[0].update(bytes(pixels))
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert probe(path).alpha is expected


def test_transparency_as_a_second_layer(make_film: Make) -> None:
    assert probe(make_film(films.webm, "film.webm", video_metadata={"alpha_mode": "1"}).path).alpha


def test_a_late_clock_is_brought_to_zero(make_film: Make) -> None:
    late = make_film(films.late_clock, "late.ts", hours=12)
    info = probe(late.path)
    assert info.start == 0
    assert info.main_stream.start is not None
    assert info.clock_shift + late.times[0] == info.main_stream.start
    assert 0 <= info.main_stream.start < 2


def test_a_clock_that_starts_within_a_minute_stays(make_film: Make) -> None:
    info = probe(make_film(films.mpeg_ts, "film.ts").path)
    assert info.clock_shift == 0
    assert 0 < info.start < 60


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.mp4", None, "does not exist"),
        ("empty.mp4", b"", "is not a film"),
        ("text.mp4", b"no film " * 1000, "is not a film"),
    ],
)
def test_what_is_no_film_is_refused(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=words):
        probe(tmp_path / name)


def test_folders_headless_films_and_sound_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a folder"):
        probe(tmp_path)
    with pytest.raises(SourceError, match="is not a film"):
        probe(films.headless(tmp_path / "headless.mp4").path)
    with pytest.raises(SourceError, match=r"holds no video stream \(only audio\)"):
        probe(films.no_video(tmp_path / "sound.m4a"))


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4"])
def test_the_end_is_on_the_films_own_clock(name: str, make_film: Make) -> None:
    info = probe(make_film(films.silent, name, times=films.constant(48, start=5)).path)
    assert (info.start, info.end, info.num_frames) == (5, 7, 48)


def test_formats_are_names_not_beginnings(make_film: Make) -> None:
    info = probe(make_film(films.silent, "film.m2v", codec="mpeg2video", file_format="mpeg2video", rate=25).path)
    assert info.formats == {"mpegvideo"}


@pytest.mark.parametrize("stream", [None, 0])
def test_a_stream_that_turns_up_late_is_told(stream: int | None, make_film: Make) -> None:
    film = make_film(films.late_stream, "film.ts")
    late: list[int] = []
    with av.open(str(film.path), container_options=films.SHORT_PROBE) as container:
        assert len(container.streams) == 1
        packets = [
            p
            for p in demux_known(container, None if stream is None else container.streams[0], lambda: late.append(1))
            if p.size
        ]
        assert len(packets) == film.num_frames
        assert late == [1]
    assert len(probe(film.path).streams) == 2


def test_streams_of_another_program_have_a_clock_of_their_own(make_film: Make) -> None:
    info = probe(make_film(films.two_programs, "film.ts").path)
    assert [stream.foreign_clock for stream in info.streams] == [False, True]
    assert info.streams[0].start is not None
    assert info.start == info.streams[0].start


def test_a_duration_between_two_clocks_is_none(make_film: Make) -> None:
    info = probe(make_film(films.joined, "film.ts", hours=(10, 0)).path)
    assert (info.duration, info.num_frames) == (None, None)
