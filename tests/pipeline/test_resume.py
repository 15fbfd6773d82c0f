"""A film that is broken off goes on where it stopped, and is the film that an unbroken run makes, to the byte."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import av
import pytest

import films
import vsr
from vsr.cli import main
from vsr.errors import Interrupted, LockedError, OutputError
from vsr.lock import FileLock
from vsr.pipeline import gaps as gaps_module
from vsr.pipeline import run as run_module
from vsr.pipeline import work_folder as work_folder_module
from vsr.pipeline.journal import Entry, Journal
from vsr.pipeline.unfinished import list_unfinished, remove_unfinished
from vsr.progress import SilentProgress
from vsr.video import encoding as encoding_module
from vsr.video import landmarks as landmarks_module
from vsr.video import segments as segments_module

MakeFilm = Callable[..., films.Film]


class StopAt(SilentProgress):
    """Sets an event when so many frames have been made."""

    def __init__(self, num_frames: int, event: threading.Event) -> None:
        self._left, self._event = num_frames, event
        self.done = 0
        self.told: list[str] = []

    def tell(self, text: str) -> None:
        self.told.append(text)

    def start(self, title: str, total: int | None, unit: str, done: int = 0) -> None:
        self.done = done

    def advance(self, amount: int, note: str = "") -> None:
        self._left -= amount
        if self._left <= 0:
            self._event.set()


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of half a second: twelve pictures of the test films."""
    monkeypatch.setattr(segments_module, "LENGTH", Fraction(1, 2))
    monkeypatch.setattr(segments_module, "MIN_FRAMES", 1)


def upscale(film: films.Film, output: Path, weights: Path, **options: Any) -> vsr.Report:
    return vsr.upscale(film.path, output, model=str(weights), **options)


def break_off(film: films.Film, output: Path, weights: Path, after: int, how: str = "pause", **options: Any) -> None:
    event = threading.Event()
    with pytest.raises(Interrupted):
        upscale(film, output, weights, progress=StopAt(after, event), **{how: event}, **options)
    assert not output.exists()


@pytest.mark.parametrize("how", ["pause", "cancel"])
@pytest.mark.parametrize("recipe", [films.plain, films.b_frames, films.interlaced], ids=lambda recipe: recipe.__name__)
def test_a_film_broken_off_and_gone_on_with_is_that_of_one_run(
    how: str, recipe: Callable[..., films.Film], make_film: MakeFilm, tmp_path: Path, tiny_weights: Path
) -> None:
    film = make_film(recipe, times=72)
    whole = upscale(film, tmp_path / "whole.mp4", tiny_weights)
    broken = tmp_path / "broken.mp4"
    for after in (20, 14):
        break_off(film, broken, tiny_weights, after, how)
    report = upscale(film, broken, tiny_weights)
    assert broken.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert whole.frames_resumed == 0
    assert 24 <= report.frames_resumed < 72
    assert report.frames_resumed % 12 == 0
    assert report.frames_in == report.frames_out == 72
    assert report.warnings == whole.warnings
    assert not (tmp_path / "broken.mp4.part").exists()


def test_pausing_finishes_the_group_of_pictures_at_hand(film: films.Film, tmp_path: Path, tiny_weights: Path) -> None:
    break_off(film, tmp_path / "out.mp4", tiny_weights, after=3)
    (unfinished,) = list_unfinished([tmp_path])
    assert (unfinished.num_done, unfinished.num_frames) == (12, 24)


@pytest.mark.parametrize("options", [{"start": "0.75", "duration": 1.5}, {"codec": "ffv1"}, {"codec": "hevc"}], ids=str)
def test_parts_and_other_codecs_go_on_too(
    options: dict[str, Any], make_film: MakeFilm, tmp_path: Path, tiny_weights: Path
) -> None:
    film = make_film(films.b_frames, times=72)
    upscale(film, tmp_path / "whole.mkv", tiny_weights, **options)
    break_off(film, tmp_path / "broken.mkv", tiny_weights, 9, **options)
    report = upscale(film, tmp_path / "broken.mkv", tiny_weights, **options)
    assert report.frames_resumed == 12
    assert without_id(tmp_path / "broken.mkv") == without_id(tmp_path / "whole.mkv")


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_a_film_goes_on_where_there_are_more_cores(
    codec: str, film: films.Film, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """x265 writes its settings, the number of threads among them, into the headers."""
    output = tmp_path / "out.mp4"
    monkeypatch.setattr(encoding_module, "count_threads", lambda encoder: 1)
    break_off(film, output, tiny_weights, 3, codec=codec)
    monkeypatch.setattr(encoding_module, "count_threads", lambda encoder: 3)
    assert upscale(film, output, tiny_weights, codec=codec).frames_resumed == 12


def test_variable_rates_and_empty_cells(make_film: MakeFilm, tmp_path: Path, tiny_weights: Path) -> None:
    times = [Fraction(n, 1000) for n in (0, 40, 41, 120, 700, 2900, 2933, 3600, 3601, 3700)]
    film = make_film(films.variable_rate, "film.mp4")
    film = films.write_film(tmp_path / "film.mp4", times=times, time_base=Fraction(1, 1000))
    upscale(film, tmp_path / "whole.mp4", tiny_weights)
    break_off(film, tmp_path / "broken.mp4", tiny_weights, 5)
    assert upscale(film, tmp_path / "broken.mp4", tiny_weights).frames_resumed in (4, 5)
    assert (tmp_path / "broken.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_damaged_film_tells_of_all_its_damage(make_film: MakeFilm, tmp_path: Path, tiny_weights: Path) -> None:
    film = make_film(films.corrupt, packets=(5, 50), times=72)
    whole = upscale(film, tmp_path / "whole.mp4", tiny_weights)
    break_off(film, tmp_path / "broken.mp4", tiny_weights, 20)
    report = upscale(film, tmp_path / "broken.mp4", tiny_weights)
    assert whole.damaged
    assert report.damaged
    assert report.frames_resumed
    assert report.frames_out == whole.frames_out
    assert sum(count_damage(report)) >= sum(count_damage(whole)) > 0
    assert (tmp_path / "broken.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_film_that_cannot_be_entered_is_decoded_from_its_beginning(
    make_film: MakeFilm, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_film(films.plain, times=48)
    upscale(film, tmp_path / "whole.mp4", tiny_weights)
    break_off(film, tmp_path / "broken.mp4", tiny_weights, 9)
    opened: list[bool] = []

    class Liar(gaps_module.Reader):
        """Entered in the midst, it gives a picture too late."""

        def __init__(self, *arguments: Any, enter: bool = True) -> None:
            opened.append(enter)
            super().__init__(*arguments, enter=enter)

        def pictures(self) -> Any:
            pictures = super().pictures()
            if opened[-1]:
                next(pictures)
            return pictures

    monkeypatch.setattr(gaps_module, "Reader", Liar)
    assert upscale(film, tmp_path / "broken.mp4", tiny_weights).frames_resumed == 12
    assert opened == [True, False]
    assert (tmp_path / "broken.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_film_whose_pictures_come_out_otherwise_every_time_goes_on(
    make_film: MakeFilm, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What FFmpeg's threads make of damaged pictures depends on which of them is faster."""
    film = make_film(films.plain, times=48)
    upscale(film, tmp_path / "whole.mp4", tiny_weights)
    numbers = count()
    monkeypatch.setattr(landmarks_module, "_sum_samples", lambda frame: next(numbers))
    break_off(film, tmp_path / "broken.mp4", tiny_weights, 9)
    assert upscale(film, tmp_path / "broken.mp4", tiny_weights).frames_resumed == 12
    assert (tmp_path / "broken.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"crf": 30}, "options was crf=18 preset=veryfast and is crf=30"), ({"precision": "fp32"}, "precision was")],
    ids=str,
)
def test_other_settings_begin_anew_and_say_why(
    options: dict[str, Any], reason: str, film: films.Film, tmp_path: Path, tiny_weights: Path
) -> None:
    first = {"precision": "bf16"} if "precision" in options else {}
    break_off(film, tmp_path / "out.mp4", tiny_weights, 3, **first)
    progress = StopAt(1000, threading.Event())
    report = upscale(film, tmp_path / "out.mp4", tiny_weights, progress=progress, **options)
    assert report.frames_resumed == 0
    assert any(warning.startswith(f"begun anew: {reason}") for warning in report.warnings), report.warnings
    (told,) = progress.told
    assert told in report.warnings


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_another_version_of_the_engine_begins_anew(
    film: films.Film, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_off(film, tmp_path / "out.mp4", tiny_weights, 3, precision="int8")
    monkeypatch.setattr("openvino.__version__", "another one")
    report = upscale(film, tmp_path / "out.mp4", tiny_weights, precision="int8")
    assert report.frames_resumed == 0
    assert report.warnings[0].endswith("and is another one")


def test_another_source_begins_anew(make_film: MakeFilm, tmp_path: Path, tiny_weights: Path) -> None:
    film = make_film(films.plain)
    break_off(film, tmp_path / "out.mp4", tiny_weights, 3)
    film = make_film(films.plain, times=36)
    report = upscale(film, tmp_path / "out.mp4", tiny_weights)
    assert report.frames_resumed == 0
    assert report.frames_out == 36
    assert "begun anew: the source has changed" in report.warnings


def test_fresh_begins_anew(film: films.Film, tmp_path: Path, tiny_weights: Path) -> None:
    break_off(film, tmp_path / "out.mp4", tiny_weights, 3)
    assert upscale(film, tmp_path / "out.mp4", tiny_weights, fresh=True).frames_resumed == 0


def test_a_damaged_segment_is_made_again(make_film: MakeFilm, tmp_path: Path, tiny_weights: Path) -> None:
    film = make_film(films.plain, times=72)
    upscale(film, tmp_path / "whole.mp4", tiny_weights)
    break_off(film, tmp_path / "broken.mp4", tiny_weights, 40)
    victim = tmp_path / "broken.mp4.part" / "000001.segment"
    victim.write_bytes(victim.read_bytes()[:-7])
    report = upscale(film, tmp_path / "broken.mp4", tiny_weights)
    assert report.frames_resumed == 36
    assert (tmp_path / "broken.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_segment_that_begins_with_another_picture_is_made_again(
    make_film: MakeFilm, tmp_path: Path, tiny_weights: Path
) -> None:
    """As a machine of a cluster leaves it, that entered the film where it should not have been entered."""
    film = make_film(films.plain, times=72)
    upscale(film, tmp_path / "whole.mp4", tiny_weights)
    break_off(film, tmp_path / "broken.mp4", tiny_weights, 40)
    journal = Journal(tmp_path / "broken.mp4.part" / "journal.jsonl")
    entry = journal.entries[2]
    journal.record(replace(entry, span=replace(entry.span, first=replace(entry.span.first, checksum=7))))
    journal.close()
    assert upscale(film, tmp_path / "broken.mp4", tiny_weights).frames_resumed == 36
    assert (tmp_path / "broken.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@pytest.mark.parametrize("name", ["journal.jsonl", "job.json"])
@pytest.mark.parametrize("damage", ["cut", "garbage", "gone"])
def test_whatever_a_power_cut_leaves_of_the_notes_the_film_is_right(
    name: str, damage: str, make_film: MakeFilm, tmp_path: Path, tiny_weights: Path
) -> None:
    film = make_film(films.plain, times=48)
    upscale(film, tmp_path / "whole.mp4", tiny_weights)
    break_off(film, tmp_path / "broken.mp4", tiny_weights, 27)
    notes = tmp_path / "broken.mp4.part" / name
    if damage == "cut":
        notes.write_bytes(notes.read_bytes()[:-9])
    elif damage == "garbage":
        notes.write_bytes(bytes(200))
    else:
        notes.unlink()
    report = upscale(film, tmp_path / "broken.mp4", tiny_weights)
    assert report.frames_resumed == (24 if (name, damage) == ("journal.jsonl", "cut") else 0)
    assert (tmp_path / "broken.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_everything_done_but_the_joining(
    film: films.Film, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OutputError("the disk is full")

    with monkeypatch.context() as context:
        context.setattr(run_module.Writer, "join", fail)
        with pytest.raises(OutputError, match="the disk is full"):
            upscale(film, tmp_path / "out.mp4", tiny_weights)
    monkeypatch.setattr(gaps_module.GapReader, "pictures", fail)  # nothing is decoded again
    report = upscale(film, tmp_path / "out.mp4", tiny_weights)
    assert report.frames_resumed == report.frames_out == 24


def test_two_processes_do_not_work_on_one_film(film: films.Film, tmp_path: Path, tiny_weights: Path) -> None:
    class Intruder(SilentProgress):
        error: Exception | None = None

        def advance(self, amount: int, note: str = "") -> None:
            if self.error is None:
                with pytest.raises(LockedError) as caught:
                    upscale(film, tmp_path / "out.mp4", tiny_weights)
                self.error = caught.value

    intruder = Intruder()
    assert upscale(film, tmp_path / "out.mp4", tiny_weights, progress=intruder).frames_out == 24
    assert "is being worked on by process" in str(intruder.error)
    assert "out.mp4" in str(intruder.error)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_not_ours_is_left_alone(kind: str, film: films.Film, tmp_path: Path, tiny_weights: Path) -> None:
    place = tmp_path / "out.mp4.part"
    if kind == "file":
        place.write_bytes(b"half a download")
    else:
        place.mkdir()
        (place / "thesis.txt").write_bytes(b"years of work")
    with pytest.raises(OutputError, match="is in the way"):
        upscale(film, tmp_path / "out.mp4", tiny_weights)
    assert place.is_dir() == (kind == "folder")
    assert kind == "file" or [file.name for file in place.iterdir()] == ["thesis.txt"]


def test_an_interruption_before_the_first_segment_leaves_nothing(
    film: films.Film, tmp_path: Path, tiny_weights: Path
) -> None:
    break_off(film, tmp_path / "out.mp4", tiny_weights, 2, "cancel")
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]


def test_progress_begins_where_the_film_stopped(film: films.Film, tmp_path: Path, tiny_weights: Path) -> None:
    break_off(film, tmp_path / "out.mp4", tiny_weights, 3)
    progress = StopAt(1000, threading.Event())
    upscale(film, tmp_path / "out.mp4", tiny_weights, progress=progress)
    assert progress.done == 12


def test_the_unfinished_are_listed_and_removed(film: films.Film, tmp_path: Path, tiny_weights: Path) -> None:
    break_off(film, tmp_path / "out.mp4", tiny_weights, 3)
    everywhere = [one for one in list_unfinished([]) if one.folder.parent == tmp_path]
    assert [one.output for one in everywhere] == [str(tmp_path / "out.mp4")]
    (one,) = list_unfinished([tmp_path])
    assert one.source == str(film.path)
    assert not one.is_running
    assert one.size > 0
    remove_unfinished(one)
    assert list_unfinished([tmp_path]) == []
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]


def test_what_vanishes_while_films_are_listed_hides_no_other(
    film: films.Film, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A film that is being made renames files all the time, and may be finished at any."""
    break_off(film, tmp_path / "out.mp4", tiny_weights, 3)
    gone = tmp_path / "out.mp4.part" / "000001.segment.1.tmp"
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([*map(Path, map(str, folder.glob("*"))), gone]))
    (one,) = list_unfinished([tmp_path])
    assert (one.num_done, one.size > 0) == (12, True)


def test_a_place_that_cannot_be_looked_at_hides_no_other(
    film: films.Film, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    for name in ("one.mp4", "two.mp4"):
        break_off(film, tmp_path / name, tiny_weights, 3)
    for number in range(8):  # before and behind the others, in whatever order a folder has
        (tmp_path / "cache" / "unfinished" / f"{number:x}").write_bytes(b"/tmp/" + b"x" * 300 + b"/out.mp4.part")
    assert [Path(one.output).name for one in list_unfinished([])] == ["one.mp4", "two.mp4"]


def test_a_list_that_is_made_while_a_film_is_noted_forgets_none(
    film: films.Film, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, data: bytes) -> None:
        with open(path, "wb") as file:
            list_unfinished([])
            file.write(data)

    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Path, "write_bytes", write)
    break_off(film, tmp_path / "out.mp4", tiny_weights, 3)
    assert [Path(one.output).name for one in list_unfinished([])] == ["out.mp4"]


def test_a_folder_half_removed_is_still_listed(
    film: films.Film, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its segments would lie there for ever."""
    break_off(film, tmp_path / "out.mp4", tiny_weights, 3)
    (one,) = list_unfinished([tmp_path])
    unlink, left = Path.unlink, 2

    def die(path: Path, missing_ok: bool = False) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as context:
        context.setattr(Path, "unlink", die)
        with pytest.raises(KeyboardInterrupt):
            remove_unfinished(one)
    (one,) = list_unfinished([tmp_path])
    assert one.num_done == 0
    remove_unfinished(one)
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize("step", ["_write_description", "Journal", "FileLock"])
def test_a_disk_that_is_full_at_the_very_beginning(
    step: str, film: films.Film, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(work_folder_module, step, fail)
    with pytest.raises(OutputError, match="the disk is full"):
        upscale(film, tmp_path / "out.mp4", tiny_weights)
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]


def test_a_journal_that_does_not_fit_on_the_disk(film: films.Film, tmp_path: Path, tiny_weights: Path) -> None:
    """What it still holds back cannot be written when it is closed either."""
    output = tmp_path / "out.mp4"
    record = Journal.record

    def record_in_vain(journal: Journal, entry: Entry) -> None:
        if entry.index == 1:
            os.dup2(full, journal._file.fileno())
        record(journal, entry)

    full = os.open("/dev/full", os.O_RDWR)
    try:
        with pytest.MonkeyPatch.context() as context:
            context.setattr(Journal, "record", record_in_vain)
            with pytest.raises(OutputError, match="the disk is full"):
                upscale(film, output, tiny_weights)
    finally:
        os.close(full)
    assert upscale(film, output, tiny_weights).frames_resumed == 12


def test_the_name_is_on_the_disk_before_the_segments_are_removed(
    film: films.Film, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every file system keeps the order of what is done in two folders; a power cut must not take both."""
    output, fsync, flushed = tmp_path / "out.mp4", os.fsync, []

    def note(descriptor: int) -> None:
        if os.path.sameopenfile(descriptor, folder):
            flushed.append((output.exists(), len(list(tmp_path.glob("*.part/*.segment")))))
        fsync(descriptor)

    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        monkeypatch.setattr(os, "fsync", note)
        upscale(film, output, tiny_weights)
    finally:
        os.close(folder)
    assert flushed == [(True, 2)]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_flushes_no_folders(
    number: int, film: films.Film, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def flush(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    assert upscale(film, tmp_path / "out.mp4", tiny_weights).frames_out == 24


@pytest.mark.parametrize("how", ["done", "cleaned"])
def test_a_share_that_keeps_open_files_leaves_no_folder(
    how: str, film: films.Film, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS gives a file that is removed while it is open another name, until it is closed."""
    if how == "cleaned":
        break_off(film, tmp_path / "out.mp4", tiny_weights, 3)
    rmdir, release, is_open = Path.rmdir, FileLock.release, True

    def remove(folder: Path) -> None:
        if is_open:
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        rmdir(folder)

    def let_go(lock: FileLock) -> None:
        nonlocal is_open
        is_open = False
        release(lock)

    monkeypatch.setattr(Path, "rmdir", remove)
    monkeypatch.setattr(FileLock, "release", let_go)
    if how == "cleaned":
        remove_unfinished(*list_unfinished([tmp_path]))
    else:
        upscale(film, tmp_path / "out.mp4", tiny_weights)
    assert not (tmp_path / "out.mp4.part").exists()


def test_a_folder_that_cannot_be_removed_is_no_failure(
    film: films.Film, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(work_folder_module, "remove_contents", fail)
    report = upscale(film, tmp_path / "out.mp4", tiny_weights)
    assert report.frames_out == 24
    assert report.warnings[-1].endswith("out.mp4.part' could not be removed: Input/output error")


def test_a_film_moved_with_its_folder_goes_on(film: films.Film, tmp_path: Path, tiny_weights: Path) -> None:
    break_off(film, tmp_path / "out.mp4", tiny_weights, 3)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(tmp_path / "out.mp4.part", elsewhere / "out.mp4.part")
    assert upscale(film, elsewhere / "out.mp4", tiny_weights).frames_resumed == 12


def test_another_grid_begins_anew(
    film: films.Film, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_off(film, tmp_path / "out.mp4", tiny_weights, 3)
    monkeypatch.setattr(segments_module, "LENGTH", Fraction(3, 4))
    report = upscale(film, tmp_path / "out.mp4", tiny_weights)
    assert (report.frames_out, report.frames_resumed) == (24, 0)
    assert "begun anew: segments was 1/2 s from 0 s on and is 3/4 s from 0 s on" in report.warnings


def test_the_command_line(
    film: films.Film, tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def vsr_command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        return main([str(argument) for argument in arguments]), *capsys.readouterr()

    output = tmp_path / "out.mp4"
    break_off(film, output, tiny_weights, 3)
    status, out, _ = vsr_command("jobs", "list", "--json", tmp_path)
    found = json.loads(out)
    assert (status, found["num_done"], found["num_frames"], found["is_running"]) == (0, 12, 24, False)
    assert "12 of 24 frames" in vsr_command("jobs", "list", tmp_path)[1]
    goes_on = vsr_command("upscale", film.path, "-o", output, "--model", tiny_weights)
    assert goes_on[0] == 0
    assert "out.mp4: 24 frames (12 by an earlier run), 256x192" in goes_on[2]
    break_off(film, tmp_path / "other.mp4", tiny_weights, 3)
    assert vsr_command("jobs", "clean", tmp_path)[1].startswith("removed ")
    assert "nothing is unfinished" in vsr_command("jobs", "list", tmp_path)[2]
    status, _, err = vsr_command("jobs", "list", tmp_path / "none")
    assert status == 1
    assert "there is no folder" in err


def without_id(path: Path) -> list[tuple[Any, ...]]:
    """All packets of a file. Matroska files hold a random number of their own, so their bytes differ."""
    with av.open(str(path)) as container:
        return [(p.stream_index, p.pts, p.dts, p.duration, bytes(p)) for p in container.demux() if p.size]


def count_damage(report: vsr.Report) -> list[int]:
    return [int(warning.split()[0]) for warning in report.warnings if warning[0].isdigit()]
