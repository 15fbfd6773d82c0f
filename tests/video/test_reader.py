"""Every picture comes out once, in order, at its own instant; what is damaged is counted."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

import films
from vsr.errors import SourceError
from vsr.video.probe import VideoInfo, probe
from vsr.video.reader import Picture, Reader, Window

Make = Callable[..., films.Film]

RECIPES: dict[str, tuple[Callable[..., films.Film], str]] = {
    "plain": (films.plain, "film.mp4"),
    "variable": (films.variable_rate, "film.mp4"),
    "variable in mkv": (films.variable_rate, "film.mkv"),
    "delayed": (films.delayed_video, "film.mp4"),
    "b-frames": (films.b_frames, "film.mp4"),
    "b-frames in mkv": (films.b_frames, "film.mkv"),
    "edit list": (films.edit_list, "film.mp4"),
    "10 bits": (films.ten_bit, "film.mkv"),
    "odd": (films.odd_size_420, "film.webm"),
    "one frame": (films.one_frame, "film.mp4"),
    "one pixel": (films.tiny, "film.mkv"),
    "no duration": (films.no_duration, "film.webm"),
    "prores": (films.mov_pcm, "film.mov"),
    "interlaced": (films.interlaced, "film.mkv"),
    "avi": (films.avi, "film.avi"),
    "avi with b-frames": (films.avi_b_frames, "film.avi"),
    "ts": (films.mpeg_ts, "film.ts"),
    "ps": (films.mpeg_ps, "film.mpg"),
}


def read(path: Path, **window: Fraction | None) -> tuple[VideoInfo, Reader, list[Picture]]:
    info = probe(path)
    reader = Reader(info, Window.of(info, window.get("start"), window.get("duration")))
    return info, reader, list(reader.pictures())


def content(frame: Any) -> int:
    return zlib.crc32(frame.reformat(format="rgb48le").to_ndarray().tobytes())


def decoded_by_pyav(path: Path) -> list[tuple[int, Fraction, int]]:
    with av.open(str(path)) as container:
        return [(frame.pts, frame.time_base, content(frame)) for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", RECIPES)
def test_instants_are_those_of_the_film(name: str, make_film: Make) -> None:
    recipe, file = RECIPES[name]
    film = make_film(recipe, file)
    info, reader, pictures = read(film.path)
    # The container rounds to its tick; MPEG streams, and VP9 in AVI's company, start anywhere.
    origin = pictures[0].time - film.times[0] if file.endswith((".ts", ".mpg", ".avi")) else Fraction(0)
    wanted = [round((time + origin) / info.time_base) for time in film.times]
    assert [picture.pts for picture in pictures] == wanted
    assert reader.damage.describe() == []


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"avi with b-frames", "interlaced"}))
def test_pictures_and_ticks_are_those_that_pyav_reads(name: str, make_film: Make) -> None:
    film = make_film(*RECIPES[name])
    _, _, pictures = read(film.path)
    assert [(p.pts, p.time_base, content(p.frame)) for p in pictures] == decoded_by_pyav(film.path)


def test_avi_keeps_the_decoders_order(make_film: Make) -> None:
    film = make_film(films.avi_b_frames, "film.avi")
    _, _, pictures = read(film.path)
    assert [content(picture.frame) for picture in pictures] == [crc for _, _, crc in decoded_by_pyav(film.path)]
    times = [picture.time for picture in pictures]
    assert times == sorted(set(times))


def test_repeated_times_are_repaired_and_said(make_film: Make) -> None:
    info, reader, pictures = read(make_film(films.repeated_times, "film.mkv").path)
    assert [picture.pts for picture in pictures] == [0, 40, 80, 81, 100, 120, 200]
    assert len(pictures) == 7
    assert reader.damage.repaired_timestamps == 1
    assert not reader.damage.is_lossy()
    assert "did not increase" in reader.damage.describe()[0]
    assert [p.pts for p in Reader(info, minimal_step=10).pictures()] == [0, 40, 80, 90, 100, 120, 200]


@pytest.mark.parametrize(
    "name", ["plain", "variable", "b-frames", "b-frames in mkv", "edit list", "ts", "ps", "avi with b-frames", "avi"]
)
def test_a_part_is_what_the_whole_shows_there(name: str, make_film: Make) -> None:
    recipe, file = RECIPES[name]
    extra = {} if name in ("variable", "edit list", "avi", "ps") else {"times": 60}
    film = make_film(recipe, file, **extra)
    info, _, whole = read(film.path)
    start, duration = Fraction(3, 10), Fraction(4, 10)
    first = info.start + start
    wanted = [(p.pts, content(p.frame)) for p in whole if first <= p.time < first + duration]
    _, reader, part = read(film.path, start=start, duration=duration)
    assert [(p.pts, content(p.frame)) for p in part] == wanted
    assert wanted
    assert reader.damage.describe() == []


def test_a_part_between_far_key_frames_is_exact(make_film: Make) -> None:
    film = make_film(films.b_frames, "film.mkv", times=300)
    _, _, whole = read(film.path)
    for start in (Fraction(0), Fraction(1, 24), Fraction(10), Fraction(125, 12)):
        _, _, part = read(film.path, start=start, duration=Fraction(1, 4))
        wanted = [(p.pts, content(p.frame)) for p in whole if start <= p.time < start + Fraction(1, 4)]
        assert [(p.pts, content(p.frame)) for p in part] == wanted


def test_a_part_behind_the_end_is_refused(film: films.Film) -> None:
    with pytest.raises(SourceError, match="no picture lies in the part"):
        read(film.path, start=Fraction(2))


@pytest.mark.parametrize(
    "clip", ["androidx-media/sample_vvc.mp4", "imageio/cockatoo.mp4", "moviepy/pigs_in_a_polka.gif"]
)
def test_parts_of_clips_that_are_hard_to_enter(clip: str, material: Path) -> None:
    info, _, whole = read(material / "clips" / clip)
    start = Fraction(int((info.duration or 1) * 40), 100)
    _, reader, part = read(material / "clips" / clip, start=start, duration=Fraction(1, 2))
    window = Window.of(info, start, Fraction(1, 2))
    assert [(p.pts, content(p.frame)) for p in part] == [
        (p.pts, content(p.frame)) for p in whole if window.holds(p.time)
    ]
    assert not reader.damage.is_lossy()


def test_a_part_before_the_first_picture_is_refused(make_film: Make) -> None:
    with pytest.raises(SourceError, match="no picture lies in the part"):
        read(make_film(films.delayed_video).path, duration=Fraction(1, 4))


def test_corrupt_packets_are_counted_and_the_rest_decoded(make_film: Make) -> None:
    film = make_film(films.corrupt, packets=(10, 11))
    info, reader, pictures = read(film.path)
    lost = {film.times[10], film.times[11]}
    assert [picture.time for picture in pictures if not picture.frame.is_corrupt] == [
        time for time in film.times if time not in lost
    ]
    assert reader.damage.is_lossy()
    assert info.num_frames == 24


def test_damage_before_a_part_is_none_of_its_own(make_film: Make) -> None:
    film = make_film(films.corrupt, packets=(3, 4))
    _, reader, _ = read(film.path, start=Fraction(1, 2))
    assert not reader.damage.is_lossy()
    _, reader, _ = read(film.path, duration=Fraction(1, 2))
    assert reader.damage.is_lossy()


@pytest.mark.parametrize("seed", range(5))
def test_noise_never_ends_a_reading(seed: int, make_film: Make) -> None:
    film = make_film(films.noisy, seed=seed)
    _, _, pictures = read(film.path)
    times = [picture.time for picture in pictures]
    assert times == sorted(set(times))
    assert len(times) >= 4


def test_sizes_may_change_within_a_film(make_film: Make) -> None:
    film = make_film(films.changing_size, "film.ts")
    _, _, pictures = read(film.path)
    assert [(p.frame.width, p.frame.height) for p in pictures] == [(64, 48)] * 12 + [(96, 64)] * 12


def test_joined_streams_go_on_in_time(make_film: Make) -> None:
    film = make_film(films.joined, "film.ts")
    _, reader, pictures = read(film.path)
    assert len(pictures) == film.num_frames
    steps = {later.pts - earlier.pts for earlier, later in pairwise(pictures)}
    assert reader.damage.clock_jumps == 1
    assert min(steps) > 0
    assert max(steps) < 90000 // 4  # the parts' sound is a little longer than their pictures
    assert not reader.damage.is_lossy()


def test_a_late_clock_starts_at_zero_and_keeps_its_steps(make_film: Make) -> None:
    film = make_film(films.late_clock, "film.ts")
    info, _, pictures = read(film.path)
    assert pictures[0].time == info.main_stream.start
    assert [p.time - pictures[0].time for p in pictures] == [time - film.times[0] for time in film.times]
    _, _, part = read(film.path, start=Fraction(1, 2))
    assert [p.pts for p in part] == [p.pts for p in pictures if p.time >= Fraction(1, 2)]


@pytest.mark.parametrize("hours", [0, 26])
def test_large_times_are_kept_to_the_tick(hours: int, make_film: Make) -> None:
    start = Fraction(hours * 3600)
    film = make_film(films.silent, "film.mkv", times=films.constant(5, start=start))
    info, _, pictures = read(film.path)
    assert [p.pts for p in pictures] == [round(time / info.time_base) for time in film.times]


EARLY_LEAVE = """
import sys
from pathlib import Path
import av
from vsr.video.probe import probe
from vsr.video.reader import Reader
av.logging.set_level(av.logging.ERROR)
for name in sys.argv[1:]:
    pictures = Reader(probe(Path(name))).pictures()
    next(pictures)
    pictures.close()
left = Reader(probe(Path(sys.argv[1]))).pictures()
next(left)  # and this one is never closed
print("left")
"""


def test_an_early_leave_does_not_hang_at_exit(make_film: Make) -> None:
    paths = [str(make_film(films.b_frames, f"{n}.mp4", times=100, size=(320, 240)).path) for n in range(3)]
    done = subprocess.run(
        [sys.executable, "-c", EARLY_LEAVE, *paths], timeout=20, capture_output=True, text=True, check=True
    )
    assert done.stdout == "left\n"


@pytest.mark.parametrize("hours", [(10, 0), (0, 10)])
def test_joined_clocks_far_apart_go_on_in_time(hours: tuple[int, int], make_film: Make) -> None:
    film = make_film(films.joined, "film.ts", hours=hours)
    _, reader, pictures = read(film.path)
    assert len(pictures) == film.num_frames
    steps = {later.pts - earlier.pts for earlier, later in pairwise(pictures)}
    assert reader.damage.clock_jumps == 1
    assert 0 < min(steps) <= max(steps) < 90000 // 4


def test_two_programs_do_not_disturb_each_other(make_film: Make) -> None:
    film = make_film(films.two_programs, "film.ts")
    _, reader, pictures = read(film.path)
    assert {later.pts - earlier.pts for earlier, later in pairwise(pictures)} == {3600}
    assert len(pictures) == film.num_frames
    assert reader.damage.clock_jumps == 0


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video"])
def test_raw_streams_keep_the_decoders_order(codec: str, make_film: Make) -> None:
    film = make_film(films.silent, "film.mpv", codec=codec, file_format=codec, rate=25, options={"bf": "2"})
    _, _, pictures = read(film.path)
    assert [content(picture.frame) for picture in pictures] == [crc for _, _, crc in decoded_by_pyav(film.path)]


def test_late_streams_are_said(make_film: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.video.source.LATE_STREAMS_PROBE", films.SHORT_PROBE)
    film = make_film(films.late_stream, "film.ts")
    _, reader, pictures = read(film.path)
    assert len(pictures) == film.num_frames
    assert reader.damage.late_streams
    assert "begin only in the middle" in reader.damage.describe()[-1]


@pytest.mark.parametrize(("recipe", "count"), [(films.interlaced, 24), (films.plain, 0)])
def test_interlaced_frames_are_counted(recipe: Callable[..., films.Film], count: int, make_film: Make) -> None:
    _, _, pictures = read(make_film(recipe, "film.mkv").path)
    assert sum(picture.was_interlaced for picture in pictures) == count
