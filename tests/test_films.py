"""The films of the tests are what they claim to be: read back with PyAV, trait by trait."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.frame import PictureType

import films

MakeFilm = Callable[..., films.Film]


def decode(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def stream_facts(path: Path, kind: str) -> list[tuple[str, str | None, str | None]]:
    """(codec, language, title) of the streams of one kind."""
    with av.open(str(path)) as container:
        return [
            (
                stream.codec_context.name,
                stream.language,
                stream.metadata.get("title") or stream.metadata.get("name"),
            )
            for stream in container.streams
            if stream.type == kind
        ]


# Everything about time: (recipe, file name, whether the container keeps the instants themselves).
TIMED = [
    (films.plain, "a.mp4"),
    (films.plain, "a.mkv"),
    (films.variable_rate, "a.mp4"),
    (films.variable_rate, "a.mkv"),
    (films.delayed_video, "a.mp4"),
    (films.delayed_video, "a.mkv"),
    (films.delayed_sound, "a.mp4"),
    (films.b_frames, "a.mp4"),
    (films.b_frames, "a.mkv"),
    (films.ten_bit, "a.mp4"),
    (films.hdr10, "a.mp4"),
    (films.hlg, "a.mp4"),
    (films.rotated, "a.mp4"),
    (films.odd_size, "a.mp4"),
    (films.odd_size_420, "a.webm"),
    (films.silent, "a.mp4"),
    (films.two_sounds, "a.mkv"),
    (films.subtitled, "a.mkv"),
    (films.subtitled, "a.mp4"),
    (films.with_chapters, "a.mp4"),
    (films.with_cover, "a.mp4"),
    (films.with_cover, "a.mkv"),
    (films.everything, "a.mkv"),
    (films.interlaced, "a.mp4"),
    (films.interlaced_mpeg2, "a.mkv"),
    (films.avi, "a.avi"),
    (films.webm, "a.webm"),
    (films.mov_pcm, "a.mov"),
    (films.wide_pixels, "a.mp4"),
    (films.one_frame, "a.mp4"),
    (films.tiny, "a.mkv"),
    (films.long_sound, "a.mp4"),
    (films.no_duration, "a.webm"),
    (films.edit_list, "a.mp4"),
    (films.repeated_times, "a.mkv"),
    (films.hidden_reference, "a.webm"),
]
# These containers start their clock where they like: only the distances are kept.
SHIFTED = [
    (films.mpeg_ts, "a.ts"),
    (films.mpeg_ps, "a.mpg"),
    (films.interlaced_mpeg2, "a.mpg"),
    (films.changing_size, "a.ts"),
]


@pytest.mark.parametrize(("recipe", "name"), TIMED, ids=lambda value: getattr(value, "__name__", value))
def test_frames_come_at_the_instants_asked_for(make_film: MakeFilm, recipe: Callable[..., films.Film], name: str):
    film = make_film(recipe, name)
    frames = decode(film.path)
    tick = frames[0].time_base
    assert [frame.pts * tick for frame in frames] == [round(instant / tick) * tick for instant in film.times]
    assert len(frames) == film.num_frames == len(film.times)
    assert (frames[0].width, frames[0].height) == (film.width, film.height)


@pytest.mark.parametrize(("recipe", "name"), SHIFTED, ids=lambda value: getattr(value, "__name__", value))
def test_frames_keep_their_distances(make_film: MakeFilm, recipe: Callable[..., films.Film], name: str):
    film = make_film(recipe, name)
    frames = decode(film.path)
    start = frames[0].pts
    assert [(frame.pts - start) * frame.time_base for frame in frames] == list(film.times)


def test_the_same_film_twice_is_the_same_bytes(make_film: MakeFilm):
    first = make_film(films.plain, "a.mp4").path.read_bytes()
    assert make_film(films.plain, "b.mp4").path.read_bytes() == first


def test_every_frame_of_a_film_is_another_picture(make_film: MakeFilm):
    pictures = {bytes(frame.to_ndarray().tobytes()) for frame in decode(make_film(films.plain).path)}
    assert len(pictures) == 24


def test_b_frames_are_stored_out_of_order(make_film: MakeFilm):
    film = make_film(films.b_frames)
    with av.open(str(film.path)) as container:
        stored = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert stored != sorted(stored)
    assert {PictureType(frame.pict_type).name for frame in decode(film.path)} == {"I", "P", "B"}


def test_delays(make_film: MakeFilm):
    with av.open(str(make_film(films.delayed_video).path)) as container:
        video, audio = container.streams
        assert video.start_time * video.time_base == Fraction(1, 2)
        assert audio.start_time == 0
    with av.open(str(make_film(films.delayed_sound).path)) as container:
        video, audio = container.streams
        assert video.start_time == 0
        assert Fraction(1, 5) < audio.start_time * audio.time_base <= Fraction(1, 4)


def test_variable_rate_is_variable(make_film: MakeFilm):
    times = make_film(films.variable_rate).times
    distances = {after - before for before, after in itertools.pairwise(times)}
    assert min(distances) == Fraction(1, 1000)
    assert max(distances) == Fraction(7, 10)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_hdr10(make_film: MakeFilm, name: str):
    first = decode(make_film(films.hdr10, name).path)[0]
    assert first.format.name == "yuv420p10le"
    assert (first.colorspace, first.color_primaries, first.color_trc, first.color_range) == (9, 9, 16, 1)
    kinds = {data.type for data in first.side_data}
    assert {Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL} <= kinds


def test_ten_bit_and_hlg(make_film: MakeFilm):
    assert decode(make_film(films.ten_bit).path)[0].format.name == "yuv420p10le"
    hlg = decode(make_film(films.hlg).path)[0]
    assert (hlg.format.name, hlg.color_trc, hlg.colorspace) == ("yuv420p10le", 18, 9)


@pytest.mark.parametrize(
    "tags", [films.BT601, films.BT709, films.BT601_FULL, films.BT709_FULL], ids=["601", "709", "601-full", "709-full"]
)
def test_colour_tags(make_film: MakeFilm, tags: films.Tags):
    first = decode(make_film(films.tagged, tags=tags).path)[0]
    assert (first.colorspace, first.color_range, first.color_primaries, first.color_trc) == (
        tags.matrix,
        tags.range,
        tags.primaries,
        tags.transfer,
    )
    luma = first.to_ndarray()[: first.height]
    assert (luma.max() > 250) == (tags.range == 2)  # the white bar


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_rotation(make_film: MakeFilm, degrees: int):
    assert abs(decode(make_film(films.rotated, degrees=degrees).path)[0].rotation) == abs(degrees)


def test_rotation_has_a_direction(make_film: MakeFilm):
    assert decode(make_film(films.rotated, degrees=90).path)[0].rotation == 90
    assert decode(make_film(films.rotated, degrees=-90).path)[0].rotation == -90


def test_sizes(make_film: MakeFilm):
    assert [frame.format.name for frame in decode(make_film(films.odd_size).path)] == ["yuv444p"] * 24
    assert decode(make_film(films.odd_size_420, "a.webm").path)[0].format.name == "yuv420p"
    large = decode(make_film(films.odd_size, "b.mp4", size=(321, 241)).path)[0]
    assert (large.width, large.height) == (321, 241)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 7), (3, 1)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "gray"])
def test_tiny_sizes(make_film: MakeFilm, size: tuple[int, int], pix_fmt: str):
    frames = decode(make_film(films.tiny, "a.mkv", size=size, pix_fmt=pix_fmt).path)
    assert [(frame.width, frame.height, frame.format.name) for frame in frames] == [(*size, pix_fmt)] * 3


def test_sounds(make_film: MakeFilm):
    assert stream_facts(make_film(films.silent).path, "audio") == []
    for name in ("a.mp4", "a.mkv"):
        path = make_film(films.two_sounds, name).path
        assert stream_facts(path, "audio") == [("aac", "eng", "Original"), ("aac", "ger", "Kommentar")]
    with av.open(str(path)) as container:
        assert [s.disposition for s in container.streams.audio] == [Disposition.default, Disposition.comment]
    with av.open(str(make_film(films.long_sound).path)) as container:
        video, audio = container.streams
        assert audio.duration * audio.time_base == 2 * video.duration * video.time_base


def test_subtitles(make_film: MakeFilm):
    path = make_film(films.subtitled, "a.mkv").path
    assert [codec for codec, _, _ in stream_facts(path, "subtitle")] == ["srt", "ssa", "webvtt"]
    assert [language for _, language, _ in stream_facts(path, "subtitle")] == ["eng", "ger", "ger"]
    assert stream_facts(make_film(films.subtitled, "a.mp4").path, "subtitle") == [("mov_text", "eng", "mov_text")]
    for name, index in (("a.mkv", 0), ("a.mkv", 1), ("a.mkv", 2), ("a.mp4", 0)):
        with av.open(str(path.with_name(name))) as container:
            shown = {
                packet.pts * packet.time_base: rect.dialogue.decode()
                for packet in container.demux(subtitles=index)
                if packet.size > 2
                for rect in packet.decode()
            }
        assert shown == {Fraction(0): "first line", Fraction(1, 2): "zweite Zeile, größer"}
    with av.open(str(path)) as container:
        assert container.streams.subtitles[0].disposition == Disposition.forced


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_chapters(make_film: MakeFilm, name: str):
    with av.open(str(make_film(films.with_chapters, name).path)) as container:
        chapters = [
            (chapter["start"] * chapter["time_base"], chapter["end"] * chapter["time_base"], chapter["metadata"])
            for chapter in container.chapters()
        ]
        assert container.metadata["title"] == "A film in chapters"
    assert chapters == [(0, Fraction(1, 2), {"title": "One"}), (Fraction(1, 2), 1, {"title": "Two"})]


def test_attachments(make_film: MakeFilm):
    with av.open(str(make_film(films.with_attachments, "a.mkv").path)) as container:
        attached = {s.name: (s.mimetype, len(s.data)) for s in container.streams if s.type == "attachment"}
    assert attached == {"Sans.ttf": ("application/x-truetype-font", 1024), "note.txt": ("text/plain", 14)}


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_cover(make_film: MakeFilm, name: str):
    with av.open(str(make_film(films.with_cover, name).path)) as container:
        film, cover = container.streams.video
        assert not film.disposition & Disposition.attached_pic
        assert cover.disposition == Disposition.attached_pic
        (image,) = container.decode(cover)
    assert (image.width, image.height) == (32, 32)


def test_interlaced(make_film: MakeFilm):
    assert all(frame.interlaced_frame for frame in decode(make_film(films.interlaced).path))
    assert all(frame.interlaced_frame for frame in decode(make_film(films.interlaced_mpeg2, "a.mkv").path))
    assert not any(frame.interlaced_frame for frame in decode(make_film(films.plain, "b.mp4").path))


@pytest.mark.parametrize(
    ("recipe", "name", "container", "codecs"),
    [
        (films.mpeg_ts, "a.ts", "mpegts", ["h264", "aac"]),
        (films.mpeg_ps, "a.mpg", "mpeg", ["mpeg2video", "mp2"]),
        (films.avi, "a.avi", "avi", ["mpeg4", "pcm_s16le"]),
        (films.webm, "a.webm", "matroska,webm", ["vp9", "opus"]),
        (films.mov_pcm, "a.mov", "mov,mp4,m4a,3gp,3g2,mj2", ["prores", "pcm_s16le"]),
    ],
)
def test_containers(make_film: MakeFilm, recipe: Callable[..., films.Film], name: str, container: str, codecs: list):
    with av.open(str(make_film(recipe, name).path)) as opened:
        assert opened.format.name == container
        assert [stream.codec_context.name.replace("float", "") for stream in opened.streams] == codecs


def test_vp8(make_film: MakeFilm):
    path = make_film(films.webm, "a.webm", codec="libvpx").path
    assert stream_facts(path, "video")[0][0] == "vp8"


def test_avi_with_b_frames_has_guessed_times(make_film: MakeFilm):
    film = make_film(films.avi_b_frames, "a.avi")
    pts = [frame.pts for frame in decode(film.path)]
    assert len(pts) == film.num_frames
    assert pts != sorted(pts)


def test_pixel_aspect(make_film: MakeFilm):
    for name in ("a.mp4", "a.mkv"):
        with av.open(str(make_film(films.wide_pixels, name).path)) as container:
            assert container.streams.video[0].sample_aspect_ratio == Fraction(8, 9)


def test_no_duration(make_film: MakeFilm):
    with av.open(str(make_film(films.no_duration, "a.webm").path)) as container:
        assert container.duration is None
        assert [(stream.duration, stream.frames) for stream in container.streams] == [(None, 0), (None, 0)]


def test_edit_list_hides_stored_frames(make_film: MakeFilm):
    film = make_film(films.edit_list)
    with av.open(str(film.path)) as container:
        assert container.streams.video[0].frames == film.num_frames + 6


def test_a_reference_is_hidden(make_film: MakeFilm):
    film = make_film(films.hidden_reference, "a.webm")
    with av.open(str(film.path)) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) == film.num_frames + 1


def test_times_stand_still_and_run_back(make_film: MakeFilm):
    pts = [frame.pts for frame in decode(make_film(films.repeated_times, "a.mkv").path)]
    assert pts == [0, 40, 80, 80, 120, 100, 200]


def test_size_changes_half_way(make_film: MakeFilm):
    frames = decode(make_film(films.changing_size, "a.ts").path)
    assert [(frame.width, frame.height) for frame in frames] == [(64, 48)] * 12 + [(96, 64)] * 12


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_truncated(make_film: MakeFilm, name: str):
    film = make_film(films.truncated, name)
    num_decoded = 0
    with av.open(str(film.path)) as container:
        stream = container.streams.video[0]
        try:
            for packet in container.demux(stream):
                num_decoded += len(packet.decode())
        except av.error.InvalidDataError:
            num_decoded += len(stream.decode(None))
    assert 5 < num_decoded < film.num_frames


def test_headless_does_not_open(make_film: MakeFilm):
    with pytest.raises(av.error.InvalidDataError):
        av.open(str(make_film(films.headless).path))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_corrupt_loses_just_those_frames(make_film: MakeFilm, name: str):
    film = make_film(films.corrupt, name, packets=(10, 17))
    frames, num_errors = [], 0
    with av.open(str(film.path)) as container:
        for packet in container.demux(video=0):
            try:
                frames += packet.decode()
            except av.error.InvalidDataError:
                num_errors += 1
    tick = frames[0].time_base
    expected = [round(instant / tick) for index, instant in enumerate(film.times) if index not in (10, 17)]
    assert [frame.pts for frame in frames] == expected
    assert num_errors == 2


def test_noisy_opens_and_differs(make_film: MakeFilm):
    whole = make_film(films.plain, "a.mp4").path.read_bytes()
    film = make_film(films.noisy, "b.mp4")
    damaged = film.path.read_bytes()
    assert len(damaged) == len(whole)
    assert 0 < sum(a != b for a, b in zip(damaged, whole, strict=True)) <= 40
    with av.open(str(film.path)) as container:
        assert container.streams.video[0].frames == film.num_frames


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_foreign_letters_trip_a_strict_reader(make_film: MakeFilm, name: str):
    path = make_film(films.foreign_letters, name).path
    with pytest.raises(UnicodeDecodeError):
        av.open(str(path))
    with av.open(str(path), metadata_errors="surrogateescape") as container:
        assert container.metadata["title"].encode("utf-8", "surrogateescape") == b"Caf\xe9!"


def test_no_video(tmp_path: Path):
    with av.open(str(films.no_video(tmp_path / "a.mp4"))) as container:
        assert [stream.type for stream in container.streams] == ["audio"]
