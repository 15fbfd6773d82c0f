"""The streams beside the picture: packet for packet, byte for byte, at the same distance from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import pytest

import films
from vsr.errors import UnsupportedStreamError
from vsr.video.containers import plan_streams
from vsr.video.copier import Copier
from vsr.video.probe import probe
from vsr.video.reader import Window

Make = Callable[..., films.Film]
SUFFIXES = (".mp4", ".mov", ".mkv")


@dataclass
class Packets:
    """The packets of one stream: payloads, and presentation times in seconds."""

    kind: str
    payloads: list[bytes]
    times: list[Fraction]
    tick: Fraction


def read_streams(path: Path) -> list[Packets]:
    with av.open(str(path)) as container:
        found = {
            stream.index: Packets(stream.type, [], [], Fraction(stream.time_base or 1))
            for stream in container.streams
            if stream.type != "attachment"
        }
        for packet in container.demux():
            if packet.size and packet.stream_index in found:
                found[packet.stream_index].payloads.append(bytes(packet))
                found[packet.stream_index].times.append(packet.pts * packet.time_base)
    return list(found.values())


def of_kind(path: Path, kind: str) -> list[Packets]:
    return [stream for stream in read_streams(path) if stream.kind == kind]


def assert_same(old: Packets, new: Packets, least_tick: Fraction = Fraction(0)) -> None:
    assert new.payloads == old.payloads
    tolerance = max(old.tick, new.tick, least_tick)
    for before, after in zip(old.times, new.times, strict=True):
        assert abs(after - before) <= tolerance


# Sound.


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (films.plain, "film.mp4"),
        (films.plain, "film.mkv"),
        (films.two_sounds, "film.mkv"),
        (films.delayed_sound, "film.mp4"),
        (films.delayed_video, "film.mkv"),
        (films.long_sound, "film.mp4"),
        (films.edit_list, "film.mp4"),
        (films.mov_pcm, "film.mov"),
        (films.mpeg_ps, "film.mpg"),
    ],
)
def test_sound_is_the_same_bytes_at_the_same_times(
    recipe: Callable[..., films.Film], name: str, suffix: str, make_film: Make, upscale_plainly
) -> None:
    film = make_film(recipe, name)
    try:
        run = upscale_plainly(film.path, f"out{suffix}")
    except UnsupportedStreamError:
        assert (recipe, suffix) == (films.mov_pcm, ".mp4")  # no container keeps everything
        return
    old, new = of_kind(film.path, "audio"), of_kind(run.path, "audio")
    assert len(new) == len(old)
    for before, after in zip(old, new, strict=True):
        if recipe is films.mov_pcm:  # demuxers cut PCM as they like
            assert b"".join(after.payloads) == b"".join(before.payloads)
        else:
            assert_same(before, after)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("recipe", "delay"), [(films.delayed_sound, Fraction(1, 4)), (films.delayed_video, Fraction(-1, 2))]
)
def test_delays_between_picture_and_sound_are_kept(
    recipe: Callable[..., films.Film], delay: Fraction, suffix: str, make_film: Make, upscale_plainly
) -> None:
    film = make_film(recipe)
    run = upscale_plainly(film.path, f"out{suffix}")
    old, new = [[min(stream.times) for stream in read_streams(path)] for path in (film.path, run.path)]
    for before, after in zip(old, new, strict=True):
        assert abs(after - before) <= (Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, 48000))
    assert abs(new[1] - new[0] - delay) < Fraction(1, 40)  # less the sound encoder's priming


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_languages_titles_and_dispositions(suffix: str, make_film: Make, upscale_plainly) -> None:
    run = upscale_plainly(make_film(films.two_sounds, "film.mkv").path, f"out{suffix}")
    _, first, second = probe(run.path).streams
    assert (first.language, second.language) == ("eng", "ger")
    assert (first.title, second.title) == ("Original", "Kommentar")
    assert "default" in first.dispositions
    assert "default" not in second.dispositions
    marks_lost = run.writer.lost_tags
    assert ("comment" in second.dispositions) != bool(marks_lost)  # QuickTime has no mark for a commentary


def test_adts_is_reframed_and_nothing_else(make_film: Make, upscale_plainly) -> None:
    film = make_film(films.mpeg_ts, "film.ts")
    run = upscale_plainly(film.path, "out.mp4")
    (old,), (new,) = of_kind(film.path, "audio"), of_kind(run.path, "audio")
    assert [payload[7:] for payload in old.payloads] == new.payloads  # 7 bytes of ADTS header
    assert all(abs(a - b) <= Fraction(1, 48000) for a, b in zip(old.times, new.times, strict=True))
    (copied,) = run.writer.copier.streams
    assert not copied.exact


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_late_clock_shifts_sound_and_picture_alike(suffix: str, make_film: Make, upscale_plainly) -> None:
    film = make_film(films.late_clock, "film.ts")
    run = upscale_plainly(film.path, f"out{suffix}")
    (old,), (new,) = of_kind(film.path, "audio"), of_kind(run.path, "audio")
    shift = run.info.clock_shift
    assert all(abs(b - a - shift) <= Fraction(1, 1000) for a, b in zip(old.times, new.times, strict=True))
    assert -Fraction(1, 10) < new.times[0] < Fraction(1, 10)


def test_joined_streams_keep_sound_beside_the_picture(make_film: Make, upscale_plainly) -> None:
    film = make_film(films.joined, "film.ts")
    run = upscale_plainly(film.path, "out.mkv")
    (old,), (new,) = of_kind(film.path, "audio"), of_kind(run.path, "audio")
    assert len(new.payloads) == len(old.payloads)
    second = new.times[new.times.index(min(t for t in new.times if t > run.times[12 * 24] - Fraction(1, 20)))]
    assert abs(second - run.times[12 * 24]) < Fraction(1, 10)
    assert new.times == sorted(new.times)


# Parts.


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_sound_of_a_part(suffix: str, make_film: Make, upscale_plainly) -> None:
    film = make_film(films.two_sounds, "film.mkv", times=48)
    start, end = Fraction(1, 4), Fraction(3, 4)
    run = upscale_plainly(film.path, f"out{suffix}", start=start, duration=end - start)
    shift = run.times[0]
    for before, after in zip(of_kind(film.path, "audio"), of_kind(run.path, "audio"), strict=True):
        wanted = [(p, t - shift) for p, t in zip(before.payloads, before.times, strict=True) if start <= t < end]
        assert after.payloads == [payload for payload, _ in wanted]
        assert all(abs(a - b) <= Fraction(1, 1000) for a, (_, b) in zip(after.times, wanted, strict=True))


def test_lines_on_screen_at_a_cut_are_clipped(make_film: Make, upscale_plainly) -> None:
    film = make_film(films.subtitled, "film.mkv")  # lines from 0 to 400 and from 500 to 900 ms
    run = upscale_plainly(film.path, "out.mkv", start=Fraction(1, 4), duration=Fraction(1, 2))
    first = of_kind(run.path, "subtitle")[0]
    assert first.payloads == [b"first line", "zweite Zeile, größer".encode()]
    assert first.times == [0, Fraction(1, 4)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_second_film_is_cut_at_its_key_frames(suffix: str, material: Path, upscale_plainly) -> None:
    clip = material / "clips" / "torchcodec" / "nasa_13013.mp4"  # its second film has key frames at 0 and 8 s
    run = upscale_plainly(clip, f"out{suffix}", start=Fraction(9, 10), duration=Fraction(1))
    second = next(stream for stream in run.writer.copier.streams if stream.plan.stream.kind == "video")
    assert (second.num_muxed, second.num_waited) == (0, 32)
    assert run.writer.copier.notes() == [
        "video stream #3: 32 packets left out at the start of the part, "
        "which cannot be shown without the key frame before it"
    ]
    whole = upscale_plainly(clip, f"whole{suffix}", duration=Fraction(1))
    assert [s.num_muxed for s in whole.writer.copier.streams if s.plan.stream.kind == "video"] == [32]
    assert whole.writer.copier.notes() == []


# Subtitles, chapters, attachments, covers.


def texts(path: Path) -> list[list[str]]:
    with av.open(str(path)) as container:
        found = {stream.index: [] for stream in container.streams.subtitles}
        for packet in container.demux():
            if packet.size and packet.stream_index in found:
                for subtitle in packet.decode():
                    spoken = subtitle.dialogue.decode() if hasattr(subtitle, "dialogue") else ""
                    found[packet.stream_index].append(spoken)
    return [[line for line in lines if line] for lines in found.values()]


@pytest.mark.parametrize(
    ("source", "suffix"), [("film.mkv", ".mkv"), ("film.mkv", ".mp4"), ("film.mkv", ".mov"), ("film.mp4", ".mp4"),
                           ("film.mp4", ".mkv"), ("film.mov", ".mp4")],
)  # fmt: skip
def test_every_line_of_every_subtitle_is_there(source: str, suffix: str, make_film: Make, upscale_plainly) -> None:
    film = make_film(films.subtitled, source)
    run = upscale_plainly(film.path, f"out{suffix}")
    old, new = probe(film.path), probe(run.path)
    assert texts(run.path) == [["first line", "zweite Zeile, größer"]] * (len(old.streams) - 2)
    for before, after in zip(old.streams[2:], new.streams[2:], strict=True):
        assert after.language == before.language
        assert after.title == before.title
    is_lost = "mark 'forced' of subtitle stream #2" in run.writer.lost_tags
    was_forced, is_forced = ("forced" in stream.dispositions for stream in (old.streams[2], new.streams[2]))
    assert was_forced == (is_forced or is_lost)
    assert not is_lost or suffix == ".mov"  # which has no such mark
    for stream in of_kind(run.path, "subtitle"):
        spoken = [t for t, p in zip(stream.times, stream.payloads, strict=True) if p != b"\0\0"]
        assert spoken == [0, Fraction(1, 2)]


def test_copied_subtitles_are_the_same_bytes(make_film: Make, upscale_plainly) -> None:
    film = make_film(films.subtitled, "film.mkv")
    run = upscale_plainly(film.path, "out.mkv")
    for before, after in zip(of_kind(film.path, "subtitle"), of_kind(run.path, "subtitle"), strict=True):
        assert_same(before, after)


@pytest.mark.parametrize("codec", ["subrip", "ass"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_overlapping_lines_keep_their_times_where_only_one_may_be_shown(
    codec: str, suffix: str, make_film: Make, upscale_plainly
) -> None:
    lines = ((100, 900, "one"), (300, 500, "two"), (300, 600, "three"))
    film = make_film(films.plain, "film.mkv", subtitles=[films.Subtitle(codec, lines=lines)])
    run = upscale_plainly(film.path, f"out{suffix}")
    (track,) = of_kind(run.path, "subtitle")
    # The muxer may put a gap of no length between two lines: the later sample of one time is the one shown.
    shown = {int(t * 1000): p[2:].decode() for t, p in zip(track.times, track.payloads, strict=True)}
    wanted = {100: "one", 300: "one\ntwo\nthree", 500: "one\nthree", 600: "one"}
    assert {time: text for time, text in shown.items() if text} == wanted
    with av.open(str(run.path)) as container:
        packets = [packet for packet in container.demux(subtitles=0) if packet.size and bytes(packet) != b"\0\0"]
        assert (packets[-1].pts + packets[-1].duration) * packets[-1].time_base == Fraction(9, 10)
    assert run.writer.copier.notes() == []


def test_lines_of_one_start_are_copied_unmoved(make_film: Make, upscale_plainly) -> None:
    lines = ((100, 900, "one"), (100, 500, "two"))
    film = make_film(films.plain, "film.mkv", subtitles=[films.Subtitle("subrip", lines=lines)])
    run = upscale_plainly(film.path, "out.mkv")
    assert of_kind(run.path, "subtitle")[0].times == [Fraction(1, 10)] * 2
    assert run.writer.copier.notes() == []


def test_times_that_had_to_be_moved_are_told(film: films.Film) -> None:
    info = probe(film.path)
    copier = Copier(info)
    with av.open(str(film.path.with_name("out.mp4")), "w") as container:
        copier.add_stream(container, plan_streams(info, ".mp4")[1])
        container.start_encoding()
        (stream,) = copier.streams
        for ticks in (0, 1024, 512):
            packet = av.Packet(b"sound")
            packet.time_base = Fraction(1, 48000)
            packet.pts = packet.dts = ticks
            stream.order(packet)
        assert packet.pts == 1025
    copier.close()
    assert copier.notes() == ["audio stream #1: the times of 1 packets were out of order and had to be moved"]


@pytest.mark.parametrize(("duration", "kept"), [(None, {"BPS", "NUMBER_OF_FRAMES"}), (Fraction(1, 2), set())])
def test_statistics_are_kept_with_a_whole_stream_only(
    duration: Fraction | None, kept: set[str], make_film: Make, upscale_plainly
) -> None:
    counts = {"BPS": "128000", "NUMBER_OF_FRAMES": "47", "title": "Original"}
    film = make_film(films.plain, "film.mkv", sounds=[films.Sound(metadata=counts)])
    run = upscale_plainly(film.path, "out.mkv", duration=duration)
    found = probe(run.path).streams[1]
    assert found.title == "Original"
    assert {"BPS", "NUMBER_OF_FRAMES"} & set(found.metadata) == kept


@pytest.mark.parametrize(
    ("source", "suffix"), [("film.mp4", ".mp4"), ("film.mp4", ".mkv"), ("film.mkv", ".mp4"), ("film.mov", ".mov")]
)
def test_chapters(source: str, suffix: str, make_film: Make, upscale_plainly) -> None:
    run = upscale_plainly(make_film(films.with_chapters, source).path, f"out{suffix}")
    info = probe(run.path)
    half = Fraction(1, 2)
    found = [(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"]) for c in info.chapters]
    assert found == [(0, half, "One"), (half, 1, "Two")]
    assert info.metadata["title"] == "A film in chapters"
    num_tracks = 2 if suffix == ".mkv" else 3  # MP4 keeps the chapters as one text track, not two
    assert len(info.streams) == num_tracks


def test_attachments_and_cover_stay_in_matroska(make_film: Make, upscale_plainly) -> None:
    film = make_film(films.everything, "film.mkv")
    run = upscale_plainly(film.path, "out.mkv")
    old, new = probe(film.path), probe(run.path)
    assert sorted(s.kind for s in new.streams) == sorted(s.kind for s in old.streams)
    with av.open(str(film.path)) as before, av.open(str(run.path)) as after:
        kept = [(s.name, s.mimetype, s.data) for s in after.streams.attachments]
        assert kept == [(s.name, s.mimetype, s.data) for s in before.streams.attachments]
        assert kept
    assert cover(run.path) == cover(film.path)


@pytest.mark.parametrize(("source", "suffix"), [("film.mp4", ".mp4"), ("film.mp4", ".mkv"), ("film.mkv", ".mp4")])
def test_covers(source: str, suffix: str, make_film: Make, upscale_plainly) -> None:
    film = make_film(films.with_cover, source)
    run = upscale_plainly(film.path, f"out{suffix}")
    assert cover(run.path) == cover(film.path)
    assert [s.kind for s in probe(run.path).streams].count("cover") == 1


def cover(path: Path) -> bytes:
    with av.open(str(path)) as container:
        (index,) = [s.index for s in probe(path).streams if s.kind == "cover"]
        return bytes(next(packet for packet in container.demux(container.streams[index]) if packet.size))


# Streams in a row.


def test_the_output_is_interleaved(make_film: Make, upscale_plainly) -> None:
    film = make_film(films.plain, "film.mkv", times=96, sounds=[films.Sound(seconds=Fraction(4))])
    run = upscale_plainly(film.path, "out.mkv")
    latest = {0: Fraction(0), 1: Fraction(0)}
    with av.open(str(run.path)) as container:
        for packet in container.demux():
            if packet.size:
                latest[packet.stream_index] = packet.dts * packet.time_base
                assert abs(latest[0] - latest[1]) < 2


def test_a_stream_without_packets_does_not_move_the_others(make_film: Make, upscale_plainly) -> None:
    # MP4 leaves the empty track out when it is written; what follows it must still be compared with its own.
    first = films.Sound(seconds=Fraction(1, 10))
    film = make_film(films.plain, times=48, sounds=[first, films.Sound(seconds=Fraction(2), pitch=660)])
    run = upscale_plainly(film.path, "out.mp4", start=Fraction(1), duration=Fraction(1, 2))
    assert [stream.num_muxed == 0 for stream in run.writer.copier.streams] == [True, False]
    assert [stream.kind for stream in probe(run.path).streams] == ["video", "audio"]


def test_the_rest_of_a_long_file_is_not_read_for_a_part(make_film: Callable[..., films.Film]) -> None:
    film = make_film(films.plain, times=24 * 60)
    info = probe(film.path)
    copier = Copier(info, Window(None, Fraction(1, 2)))
    with av.open(str(film.path.with_name("out.mp4")), "w") as container:
        for plan in plan_streams(info, ".mp4")[1:]:
            copier.add_stream(container, plan)
        container.start_encoding()
        list(copier.packets_until(None, Fraction(0)))
    copier.close()
    assert copier.latest is not None
    assert copier.latest < 3, "of sixty seconds"
