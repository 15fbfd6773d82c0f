"""What a film keeps: the promise of the whole, one row after the other, and no file where it failed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideDataType

import films
from vsr.errors import Interrupted, OutputError, ProcessingError, VerificationError
from vsr.video import writer as writer_module
from vsr.video.encoding import choose_encoding
from vsr.video.naming import give_name, remove_stale, temporary_name
from vsr.video.probe import probe, read_display_matrix
from vsr.video.reader import Picture, Reader, Window
from vsr.video.segment_encoder import encode_film
from vsr.video.segment_file import SegmentFile
from vsr.video.segments import SegmentGrid
from vsr.video.timing import rescale
from vsr.video.writer import OutputPlan, Writer, check_output, minimal_step

Make = Callable[..., films.Film]
SUFFIXES = (".mp4", ".mov", ".mkv")


def decode(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def instants(path: Path) -> list[Fraction]:
    return [frame.pts * frame.time_base for frame in decode_times(path)]


def decode_times(path: Path) -> Iterator[Any]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                yield packet


def tick(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        return Fraction(container.streams.video[0].time_base or 1)


# Video timestamps.


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (films.plain, "film.mp4"),
        (films.variable_rate, "film.mkv"),
        (films.variable_rate, "film.mp4"),
        (films.delayed_video, "film.mp4"),
        (films.b_frames, "film.mkv"),
        (films.edit_list, "film.mp4"),
        (films.mpeg_ts, "film.ts"),
        (films.webm, "film.webm"),
    ],
)
def test_the_same_instants_to_the_tick(
    recipe: Callable[..., films.Film], name: str, suffix: str, make_film: Make, upscale_plainly
) -> None:
    film = make_film(recipe, name)
    drop = ("audio",) if recipe is films.webm and suffix == ".mov" else ()  # QuickTime has no place for Opus
    run = upscale_plainly(film.path, f"out{suffix}", scale=2, drop=drop)
    with av.open(str(film.path)) as source:
        wanted = [frame.pts * frame.time_base for frame in source.decode(video=0)]
    assert run.times == wanted
    unit = tick(run.path)
    found = sorted(instants(run.path))
    assert found == [rescale(time.numerator, Fraction(1, time.denominator), unit) * unit for time in wanted]
    if suffix != ".mkv":  # Matroska counts milliseconds; the others keep every source's own ticks
        assert found == wanted
    assert run.writer.num_frames == film.num_frames
    first = decode(run.path)[0]
    assert (first.width, first.height) == (film.width * 2, film.height * 2)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "ffv1", "prores"])
@pytest.mark.parametrize("num_frames", [1, 2, 3, 5])
def test_short_films(codec: str, num_frames: int, make_film: Make, upscale_plainly) -> None:
    film = make_film(films.silent, "film.mp4", times=num_frames)
    suffix = ".mov" if codec == "prores" else ".mkv" if codec == "ffv1" else ".mp4"
    for attempt in range(3):  # x265 made up decoding times now and then
        run = upscale_plainly(film.path, f"out{attempt}{suffix}", codec=codec)
        unit = tick(run.path)
        wanted = [rescale(t.numerator, Fraction(1, t.denominator), unit) * unit for t in film.times]
        assert sorted(instants(run.path)) == wanted
        assert len(decode(run.path)) == num_frames


def test_the_pictures_themselves_arrive(make_film: Make, upscale_plainly) -> None:
    film = make_film(films.b_frames, times=30)
    run = upscale_plainly(film.path, "out.mkv", codec="ffv1")
    for number, (old, new) in enumerate(zip(decode(film.path), decode(run.path), strict=True)):
        assert np.array_equal(old.to_ndarray(), new.to_ndarray()), number


def test_the_last_frame_of_a_b_frame_film_arrives(make_film: Make, upscale_plainly) -> None:
    film = make_film(films.b_frames, times=25)
    run = upscale_plainly(film.path, "out.mp4", crf=1)
    last = decode(run.path)[-1]
    assert np.abs(last.to_ndarray().astype(int) - decode(film.path)[-1].to_ndarray()).mean() < 4


# Pictures.


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_kept_exactly(suffix: str, degrees: int, make_film: Make, upscale_plainly) -> None:
    run = upscale_plainly(make_film(films.rotated, degrees=degrees).path, f"out{suffix}")
    assert run.info.display_matrix is not None
    assert read_display_matrix(decode(run.path)[0]) == run.info.display_matrix


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pixel_aspect_is_kept(suffix: str, make_film: Make, upscale_plainly) -> None:
    run = upscale_plainly(make_film(films.wide_pixels).path, f"out{suffix}", scale=2)
    assert probe(run.path).pixel_aspect == Fraction(8, 9)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "ffv1", "prores"])
@pytest.mark.parametrize("tags", [films.BT601, films.BT709, films.HLG])
def test_colour_tags_are_kept(codec: str, tags: films.Tags, make_film: Make, upscale_plainly) -> None:
    film = make_film(films.tagged, tags=tags, times=3, pix_fmt="yuv420p10le")
    run = upscale_plainly(film.path, "out.mkv", codec=codec)
    frame = decode(run.path)[0]
    found = (int(frame.colorspace), int(frame.color_range), int(frame.color_primaries), int(frame.color_trc))
    assert found == (tags.matrix, tags.range, tags.primaries, tags.transfer)
    assert "10le" in frame.format.name


@pytest.mark.parametrize("size", [(65, 49), (33, 17), (1, 1), (2, 1)])
def test_odd_and_tiny_sizes(size: tuple[int, int], make_film: Make, upscale_plainly) -> None:
    film = make_film(films.tiny, "film.mkv", size=size)
    frame = decode(upscale_plainly(film.path, "out.mp4", scale=3).path)[0]
    assert (frame.width, frame.height) == (3 * size[0], 3 * size[1])


@pytest.mark.parametrize("codec", ["hevc"])
def test_mastering_metadata_of_the_output(codec: str, make_film: Make, upscale_plainly) -> None:
    run = upscale_plainly(make_film(films.hdr10).path, "out.mp4", codec=codec)
    frame = decode(run.path)[0]
    assert frame.side_data.get(SideDataType.MASTERING_DISPLAY_METADATA) is not None
    assert frame.side_data.get(SideDataType.CONTENT_LIGHT_LEVEL) is not None


def test_a_film_without_sound(make_film: Make, upscale_plainly) -> None:
    run = upscale_plainly(make_film(films.silent).path)
    assert [stream.kind for stream in probe(run.path).streams] == ["video"]


def test_damage_is_counted_and_the_rest_written(make_film: Make, upscale_plainly) -> None:
    run = upscale_plainly(make_film(films.corrupt, packets=(10,)).path)
    assert run.damage.is_lossy()
    assert run.writer.num_frames >= 23


# Parts.


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_part_starts_at_zero(suffix: str, make_film: Make, upscale_plainly) -> None:
    film = make_film(films.two_sounds, "film.mp4", times=48)
    run = upscale_plainly(film.path, f"out{suffix}", start=Fraction(1, 2), duration=Fraction(1))
    unit = tick(run.path)
    assert sorted(instants(run.path)) == [rescale(n, Fraction(1, 24), unit) * unit for n in range(24)]
    assert min(run.times) == Fraction(1, 2)
    assert [stream.kind for stream in probe(run.path).streams] == ["video", "audio", "audio"]


# Names and failures.


def plan_for(source: Path, output: Path, overwrite: bool = False) -> tuple[Any, OutputPlan]:
    from vsr.video.containers import plan_streams

    info = probe(source)
    encoding = choose_encoding(info, 64, 48, "h264", encoder_preset="ultrafast")
    return info, OutputPlan(output, plan_streams(info, output.suffix), encoding, Window(), overwrite)


def others_than(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir() if file not in (path, path.parent / "segments"))


def test_nothing_has_the_final_name_before_the_end(
    film: films.Film, monkeypatch: pytest.MonkeyPatch, upscale_plainly
) -> None:
    seen = []
    read = writer_module.read_packets

    def look(path: Path) -> Iterator[Any]:
        seen.append(others_than(film.path))
        return read(path)

    monkeypatch.setattr(writer_module, "read_packets", look)
    run = upscale_plainly(film.path)
    (names,) = {tuple(names) for names in seen}
    assert [Path(name).suffix for name in names] == [".part"]
    assert names[0].startswith(f"{run.path.name}.")
    assert others_than(film.path) == ["out.mp4"]


@pytest.mark.parametrize("at", [0, 5, 23])
def test_an_error_while_writing_leaves_nothing(at: int, film: films.Film, tmp_path: Path, upscale_plainly) -> None:
    def fail(picture: Picture) -> Picture:
        if picture.pts == at * 512:
            raise KeyboardInterrupt
        return picture

    with pytest.raises(KeyboardInterrupt):
        upscale_plainly(film.path, change=fail)
    assert others_than(film.path) == []
    assert list((tmp_path / "segments").iterdir()) == []


def test_a_header_that_cannot_be_written_leaves_nothing(film: films.Film, tmp_path: Path) -> None:
    info, plan = plan_for(film.path, tmp_path / "out.mov")
    broken = replace(plan, encoding=choose_encoding(info, 64, 48, "av1"))
    with pytest.raises(OutputError, match=r"out\.mov"):
        Writer(info, broken)
    assert others_than(film.path) == []


def test_a_frame_that_was_lost_is_found(film: films.Film, monkeypatch: pytest.MonkeyPatch, upscale_plainly) -> None:
    mux = Writer._mux
    monkeypatch.setattr(Writer, "_mux", lambda writer, coded, *times: coded.pts and mux(writer, coded, *times))
    with pytest.raises(VerificationError, match=r"'out\.mp4': 24 frames went in, 23 are in the file"):
        upscale_plainly(film.path)
    assert others_than(film.path) == []


def test_segments_of_two_encoders_are_not_joined(film: films.Film, tmp_path: Path) -> None:
    info, plan = plan_for(film.path, tmp_path / "out.mp4")
    other = choose_encoding(info, 64, 48, "h264", encoder_preset="medium")
    segments = segments_of(info, replace(plan, encoding=other))
    with Writer(info, plan) as writer, pytest.raises(ProcessingError, match="coded by another encoder"):
        writer.join(segments)
    assert others_than(film.path) == []


def test_an_existing_output_is_not_touched(film: films.Film, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    output.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        check_output(output, film.path, overwrite=False)
    check_output(output, film.path, overwrite=True)
    assert output.read_bytes() == b"precious"
    assert others_than(output) == [film.path.name]


def test_overwriting(film: films.Film, tmp_path: Path, upscale_plainly) -> None:
    (tmp_path / "out.mp4").write_bytes(b"old")
    with pytest.raises(OutputError, match="was written by somebody else meanwhile"):
        upscale_plainly(film.path)
    assert (tmp_path / "out.mp4").read_bytes() == b"old"
    upscale_plainly(film.path, overwrite=True)
    assert probe(tmp_path / "out.mp4").num_frames == 24
    assert others_than(film.path) == ["out.mp4"]


def test_an_output_over_its_own_input_is_refused(film: films.Film, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="same file"):
        check_output(film.path, film.path, overwrite=True)
    (tmp_path / "link.mp4").symlink_to(film.path)
    with pytest.raises(OutputError, match="same file"):
        check_output(tmp_path / "link.mp4", film.path, overwrite=True)


def test_places_that_take_no_file_are_refused(film: films.Film, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder"):
        check_output(tmp_path / "none" / "out.mp4", film.path, overwrite=False)
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path, film.path, overwrite=False)
    with pytest.raises(OutputError, match="there is no folder"):
        check_output(film.path / "out.mp4", film.path, overwrite=False)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that nobody may write to")
def test_a_read_only_folder_is_refused(film: films.Film) -> None:
    with pytest.raises(OutputError, match=r"is not writable|cannot be written"):
        check_output(Path("/proc/self/out.mp4"), film.path, overwrite=False)


def test_files_of_dead_processes_are_removed_and_of_living_ones_kept(film: films.Film, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    output = tmp_path / "out [1].mp4"
    ours = str(os.getpid())
    stale = temporary_name(output).name.replace(ours, str(gone.pid))
    alive = temporary_name(output).name.replace(ours, str(os.getppid()))
    host = stale.removeprefix(f"{output.name}.").partition("-")[0]
    kept = [alive, stale.replace(host, "0" * 8), f"{output.name}.mine.part", f"other.mp4.{host}-{gone.pid}-0.part"]
    for name in (*kept, stale):
        (tmp_path / name).write_bytes(b"")
    info, plan = plan_for(film.path, output)
    with Writer(info, plan):
        pass
    assert others_than(film.path) == sorted(kept)


def test_a_file_that_cannot_be_removed_is_left(film: films.Film, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    stale = temporary_name(tmp_path / "out.mp4").name.replace(str(os.getpid()), str(gone.pid))
    (tmp_path / stale).mkdir()  # which `unlink` refuses, as it does the file of another user
    remove_stale(tmp_path / "out.mp4")
    assert others_than(film.path) == [stale]


def test_every_unfinished_file_has_its_own_name(tmp_path: Path) -> None:
    assert len({temporary_name(tmp_path / "out.mp4") for _ in range(10)}) == 10


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV])
def test_a_file_system_without_links(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(old: Path, new: Path) -> None:
        raise OSError(number, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"film")
    give_name(old, new, overwrite=False)
    assert new.read_bytes() == b"film"
    old.write_bytes(b"another film")
    with pytest.raises(OutputError, match="was written by somebody else meanwhile"):
        give_name(old, new, overwrite=False)
    assert new.read_bytes() == b"film"


def test_a_link_that_fails_for_another_reason_is_no_reason_to_rename(tmp_path, monkeypatch) -> None:
    def fail(old: Path, new: Path) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(os, "link", fail)
    (tmp_path / "old").write_bytes(b"film")
    with pytest.raises(OSError, match="broken disk"):
        give_name(tmp_path / "old", tmp_path / "new", overwrite=False)


def test_a_name_that_is_too_long_is_refused(film: films.Film, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        check_output(tmp_path / f"{'long' * 80}.mp4", film.path, overwrite=False)


# Stopping.


def test_a_request_to_stop_is_heard_at_the_next_picture(film: films.Film, tmp_path: Path) -> None:
    info, plan = plan_for(film.path, tmp_path / "out.mp4")
    segments = segments_of(info, plan)
    cancel = threading.Event()
    cancel.set()
    with Writer(info, plan, cancel=cancel) as writer, pytest.raises(Interrupted):
        writer.join(segments)
    assert others_than(film.path) == []


@pytest.mark.parametrize("moment", ["join", "verify"])
def test_a_request_to_stop_is_heard_at_the_end(
    moment: str, film: films.Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info, plan = plan_for(film.path, tmp_path / "out.mp4")
    segments = segments_of(info, plan)
    cancel = threading.Event()
    with Writer(info, plan, cancel=cancel) as writer:
        writer.join(segments)
        if moment == "join":
            cancel.set()
        else:
            monkeypatch.setattr(writer_module, "_flush_to_disk", lambda path: cancel.set())
        with pytest.raises(Interrupted):
            writer.finish()
    assert others_than(film.path) == []


@pytest.mark.parametrize("step", ["copier", "container"])
def test_a_second_ctrl_c_while_cleaning_up_leaves_nothing(step: str, film: films.Film, tmp_path: Path) -> None:
    class Impatient:
        def close(self) -> None:
            raise KeyboardInterrupt

    info, plan = plan_for(film.path, tmp_path / "out.mp4")
    writer: Any = Writer(info, plan)
    if step == "copier":
        writer.copier.close()
        writer.copier = Impatient()
    else:
        writer._container.close()
        writer._container = Impatient()
    with pytest.raises(KeyboardInterrupt), writer:
        assert len(others_than(film.path)) == 1
    assert others_than(film.path) == []


def segments_of(info: Any, plan: OutputPlan) -> list[SegmentFile]:
    folder = plan.path.parent / "segments"
    folder.mkdir()
    pictures = Reader(info, Window()).pictures()
    return encode_film(pictures, SegmentGrid.of(info, plan.window), plan.encoding, folder, plan.path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB; skips where it cannot be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True)
    except OSError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip("mounting a small disk takes root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_named(film: films.Film, small_disk: Path, upscale_plainly) -> None:
    with pytest.raises(OutputError, match="the disk is full"):
        upscale_plainly(film.path, "small/out.mkv", scale=8, crf=1)
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_at_the_last_moment_is_named(
    film: films.Film, monkeypatch: pytest.MonkeyPatch, upscale_plainly
) -> None:
    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer_module, "_flush_to_disk", fail)
    with pytest.raises(OutputError, match="the disk is full"):
        upscale_plainly(film.path)
    assert others_than(film.path) == []


@pytest.mark.parametrize(
    ("name", "time_base", "step"),
    [
        ("a.mkv", Fraction(1, 90000), 90),
        ("a.MKV", Fraction(1, 44100), 45),
        ("a.mkv", Fraction(1, 24), 1),
        ("a.mp4", Fraction(1, 90000), 1),
    ],
)
def test_minimal_step(name: str, time_base: Fraction, step: int) -> None:
    assert minimal_step(Path(name), time_base) == step
