"""One contract, every decoder: each picture once, in order, at its own instant, and nothing left behind.

NVDEC needs a GPU and is not here. DALI's tests skip where it is not installed; VSR_REQUIRE_DALI=1 makes them fail.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import films
from vsr.errors import DeviceError, ProcessingError, SourceError
from vsr.video import dali
from vsr.video.color import RANGE_LIMITED, ColorTags
from vsr.video.decoder_choice import choose_decoder
from vsr.video.pixel_format import ChromaSiting, describe_format, resolve_tags
from vsr.video.probe import VideoInfo, probe
from vsr.video.reader import Picture, Reader, Window

Make = Callable[..., films.Film]
VP9 = {"codec": "libvpx-vp9", "options": films.VPX}
MJPEG = {"codec": "mjpeg", "pix_fmt": "yuvj420p"}

FILMS: dict[str, tuple[Callable[..., films.Film], str, dict[str, object]]] = {
    "vp9 with sound": (films.webm, "film.webm", {}),
    "vp8": (films.webm, "film.webm", {"codec": "libvpx"}),
    "vp9 in mp4": (films.silent, "film.mp4", VP9),
    "mjpeg": (films.plain, "film.mkv", MJPEG),
    "mjpeg in avi": (films.plain, "film.avi", MJPEG | {"sounds": [films.Sound(codec="pcm_s16le")]}),
    "variable rate": (films.variable_rate, "film.mkv", VP9),
    "variable rate in mp4": (films.variable_rate, "film.mp4", MJPEG),
    "delayed": (films.delayed_video, "film.mkv", VP9),
    "far from zero": (films.silent, "film.mkv", VP9 | {"times": films.constant(5, start=26 * 3600)}),
    "one frame": (films.one_frame, "film.webm", VP9),
    "one more than a sequence": (films.silent, "film.webm", VP9 | {"times": dali.SEQUENCE_LENGTH + 1}),
    "a whole sequence": (films.silent, "film.webm", VP9 | {"times": dali.SEQUENCE_LENGTH}),
    "no duration": (films.no_duration, "film.webm", {}),
    "two pixels": (films.silent, "film.webm", VP9 | {"size": (2, 2)}),
    "no multiple of 16": (films.silent, "film.webm", VP9 | {"size": (34, 26)}),
    "a name that FFmpeg takes for an address": (films.silent, "12:30 %d film.mkv", VP9),
    "cut off": (films.truncated, "film.mkv", {"make": films.silent} | VP9),
}


@pytest.fixture(params=["software", "dali"])
def decoder(request: pytest.FixtureRequest) -> str:
    if request.param == "dali":
        require_dali()
    return str(request.param)


@pytest.fixture
def with_dali() -> None:
    require_dali()


def require_dali() -> None:
    if not dali.is_installed():
        if os.environ.get("VSR_REQUIRE_DALI") == "1":
            pytest.fail("DALI is not installed")
        pytest.skip("DALI is not installed: pip install 'vsr[dali]'")


def make_reader(info: VideoInfo, decoder: str, window: Window | None = None) -> Reader:
    return Reader(info, window, decoder=choose_decoder(info, decoder, None).make(info))


def read(path: Path, decoder: str, window: Window | None = None) -> tuple[Reader, list[Picture]]:
    reader = make_reader(probe(path), decoder, window)
    return reader, list(reader.pictures())


def stamps(pictures: list[Picture]) -> list[tuple[int, int, Fraction]]:
    return [(picture.pts, picture.duration, picture.time_base) for picture in pictures]


def count_threads() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.parametrize("name", FILMS)
def test_every_picture_at_its_own_instant(name: str, decoder: str, make_film: Make) -> None:
    recipe, file, changes = FILMS[name]
    film = make_film(recipe, file, **changes)
    reader, pictures = read(film.path, decoder)
    info = probe(film.path)
    wanted = [round(instant / info.time_base) for instant in film.times]
    if name == "cut off":
        assert 4 < len(pictures) < film.num_frames
        wanted = wanted[: len(pictures)]
    assert [picture.pts for picture in pictures] == wanted
    assert {(picture.frame.width, picture.frame.height) for picture in pictures} == {(film.width, film.height)}
    assert reader.damage.describe() == []
    assert reader.decoder.name == decoder
    _, by_software = read(film.path, "software")
    assert stamps(pictures) == stamps(by_software)


@pytest.mark.parametrize(("start", "duration"), [(0, 1), (Fraction(1, 4), Fraction(1, 3)), (Fraction(29, 30), 5)])
def test_a_part_is_what_the_whole_shows_there(
    start: Fraction, duration: Fraction, decoder: str, make_film: Make
) -> None:
    film = make_film(films.silent, "film.webm", **VP9, times=60)
    info = probe(film.path)
    window = Window.of(info, Fraction(start), Fraction(duration))
    _, whole = read(film.path, decoder)
    _, part = read(film.path, decoder, window)
    wanted = [picture for picture in whole if window.holds(picture.time)]
    assert wanted
    assert stamps(part) == stamps(wanted)
    for ours, theirs in zip(part, wanted, strict=True):
        np.testing.assert_array_equal(ours.frame.to_ndarray(), theirs.frame.to_ndarray())


def test_a_part_behind_the_end_is_refused(decoder: str, make_film: Make) -> None:
    film = make_film(films.silent, "film.webm", **VP9)
    with pytest.raises(SourceError, match="no picture lies in the part"):
        read(film.path, decoder, Window(start=Fraction(5)))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_an_early_leave_leaves_no_thread(decoder: str, make_film: Make) -> None:
    film = make_film(films.silent, "film.webm", **VP9, size=(128, 96), times=60)
    read(film.path, decoder)  # libraries may start threads once and for all
    before = count_threads()
    pictures = make_reader(probe(film.path), decoder).pictures()
    next(pictures)
    pictures.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while count_threads() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert count_threads() <= before


def test_pictures_follow_each_other(decoder: str, make_film: Make) -> None:
    """Frame for frame the film that was drawn: no neighbour in its place."""
    film = make_film(films.silent, "film.mkv", **VP9, size=(64, 48))
    _, pictures = read(film.path, decoder)
    for index, picture in enumerate(pictures):
        shown = picture.frame.to_ndarray(format="rgb24").astype(int)
        errors = [np.abs(shown - films.picture(other, 64, 48)).mean() for other in range(film.num_frames)]
        assert int(np.argmin(errors)) == index


@pytest.mark.usefixtures("with_dali")
@pytest.mark.parametrize("size", [(64, 48), (34, 26), (160, 120)])
@pytest.mark.parametrize("changes", [VP9, VP9 | {"tags": films.BT601}, VP9 | {"tags": films.BT601_FULL}, MJPEG])
def test_dalis_colours_are_bt601_with_centred_chroma(
    changes: dict[str, object], size: tuple[int, int], make_film: Make
) -> None:
    from vsr.pixels import frames_to_tensor

    film = make_film(films.silent, "film.mkv", **changes, size=size)
    info = probe(film.path)
    tags = resolve_tags(info.colors, describe_format(info.pix_fmt), *size)
    _, by_dali = read(film.path, "dali")
    _, by_software = read(film.path, "software")
    for ours, theirs in zip(by_dali, by_software, strict=True):
        wanted = frames_to_tensor([theirs.frame], tags, siting=ChromaSiting.CENTRE)
        got = frames_to_tensor([ours.frame], ColorTags(0, RANGE_LIMITED))
        # Half a level by rounding, a little more by swscale's integer arithmetic.
        assert (got - wanted.clamp(0, 1)).abs().max() * 255 <= 0.52


@pytest.mark.usefixtures("with_dali")
def test_dali_indexes_a_file_that_has_changed_anew(make_film: Make) -> None:
    for count in (24, 10, 30):
        film = make_film(films.silent, "film.webm", **VP9, times=count)
        assert len(read(film.path, "dali")[1]) == count


@pytest.mark.usefixtures("with_dali")
def test_what_dali_keeps_to_itself_is_said(make_film: Make) -> None:
    reader, _ = read(make_film(films.silent, "film.webm", **VP9).path, "dali")
    assert reader.decoder.notes == [
        "DALI tells neither of damaged pictures nor of a changing size; --decoder software does",
        "DALI's CPU decoder takes chroma for centred: colour edges may lie half a pixel off",
    ]


@pytest.mark.usefixtures("with_dali")
@pytest.mark.parametrize("changes", [VP9, MJPEG])
def test_dali_says_where_it_stops_at_damage(changes: dict[str, object], make_film: Make) -> None:
    film = make_film(films.noisy, "film.mkv", **changes)
    with pytest.raises(SourceError, match=r"at 0\.\d+ s: DALI failed: Failed to send packet to decoder") as caught:
        read(film.path, "dali")
    assert caught.value.hint == "--decoder software reads it"


@pytest.mark.usefixtures("with_dali")
@pytest.mark.parametrize(
    ("recipe", "file", "changes", "reason"),
    [
        (films.hidden_reference, "film.webm", {}, "packet 5 is never shown"),
        (films.edit_list, "film.mp4", VP9, "packet 0 lies before time zero"),
        (films.repeated_times, "film.mkv", {}, "packet 3 has the time of another"),
    ],
)
def test_packets_that_dali_would_miscount_are_refused(
    recipe: Callable[..., films.Film], file: str, changes: dict[str, object], reason: str, make_film: Make
) -> None:
    film = make_film(recipe, file, **changes)
    with pytest.raises(SourceError, match=reason):
        read(film.path, "dali")
    assert len(read(film.path, "software")[1]) == film.num_frames


@pytest.mark.usefixtures("with_dali")
@pytest.mark.parametrize("fault", ["number", "time", "count"])
def test_dali_is_held_to_the_packets(fault: str, make_film: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    film = make_film(films.silent, "film.webm", **VP9)
    given = dali.DaliDecoder._sequences

    def falsify(self: dali.DaliDecoder, instants: list[tuple[int, int]]):
        for frames, numbers, seconds in given(self, instants):
            if fault == "number" and numbers[0] == 8:
                numbers[1] = 8
            if fault == "time" and numbers[0] == 8:
                seconds[1] += 0.001
            yield frames, numbers, seconds
            if fault == "count" and numbers[0] == 8:
                return

    monkeypatch.setattr(dali.DaliDecoder, "_sequences", falsify)
    message = {
        "number": "DALI gives frame 8 where 9 of 24 is due",
        "time": r"frame 9 is 0\.375000 s from the first, for DALI 0\.376000 s",
        "count": "DALI gave 12 of 24 frames",
    }
    with pytest.raises(ProcessingError, match=message[fault]):
        read(film.path, "dali")


@pytest.mark.parametrize(
    ("device", "changes", "reason"),
    [
        (None, {"codec": "h264"}, "does not decode h264 on a CPU"),
        (0, {"codec": "prores"}, "does not decode prores on a GPU"),
        (0, {"pix_fmt": "yuv420p10le"}, "gives 8-bit 4:2:0, and the film has yuv420p10le"),
        (None, {"pix_fmt": "yuv444p"}, "gives 8-bit 4:2:0"),
        (0, {"interlaced": True}, "cannot deinterlace"),
        (0, {"width": 65}, "misplaces chroma at odd sizes, and the film has 65x48"),
        (0, {"container": "avi"}, "the container has none"),
        (None, {"colors": ColorTags(1, 1, 1, 1)}, "converts to BT.601 on a CPU, and the film's matrix is 1"),
        (None, {"width": 1280, "height": 720}, "converts to BT.601 on a CPU, and the film's matrix is 1"),
    ],
)
def test_films_that_dali_gets_wrong_are_refused(
    device: int | None, changes: dict[str, object], reason: str, make_film: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dali, "is_installed", lambda: True)
    info = probe(make_film(films.silent, "film.webm", **VP9).path)
    dali.check_dali(info, device)
    with pytest.raises(SourceError, match=reason) as caught:
        dali.check_dali(replace(info, **changes), device)
    assert caught.value.hint == "--decoder software reads it"


def test_bt709_passes_on_a_gpu(make_film: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dali, "is_installed", lambda: True)
    info = probe(make_film(films.silent, "film.webm", **VP9, tags=films.BT709).path)
    dali.check_dali(info, 0)


def test_a_film_with_two_pictures_is_refused(make_film: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dali, "is_installed", lambda: True)
    info = probe(make_film(films.with_cover, "film.mkv", **VP9).path)
    with pytest.raises(SourceError, match="chooses the video stream itself"):
        dali.check_dali(info, 0)


def test_without_dali_the_way_to_it_is_named(film: films.Film, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dali, "is_installed", lambda: False)
    with pytest.raises(DeviceError, match="DALI is not installed") as caught:
        choose_decoder(probe(film.path), "dali", None)
    assert "pip install 'vsr[dali]'" in str(caught.value.hint)
