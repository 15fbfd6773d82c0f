"""What can be said of NVDEC without a GPU: how its absence shows, and that no frame's place goes unnoticed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import films
from vsr.errors import DeviceError
from vsr.video import abilities, nvdec
from vsr.video.damage import Damage
from vsr.video.nvdec import NvdecDecoder, find_obstacle
from vsr.video.probe import VideoInfo, probe
from vsr.video.reader import Reader
from vsr.video.source import open_film

Make = Callable[..., films.Film]


class Driver:
    """Stands in for libcuda: every call is noted, and one may fail."""

    def __init__(self, failing: str | None = None) -> None:
        self.calls: list[str] = []
        self._failing = failing

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: object) -> int:
            self.calls.append(name)
            return 100 if name == self._failing else 0

        return call


class InSystemMemory(NvdecDecoder):
    """NVDEC on a machine where FFmpeg falls back to software at once."""

    def _open(self) -> Any:
        return open_film(self._info.path)


def use_driver(driver: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> object:
        if isinstance(driver, OSError):
            raise driver
        return driver

    monkeypatch.setattr(ctypes, "CDLL", load)


def test_no_driver_is_an_obstacle_and_no_crash(film: films.Film, monkeypatch: pytest.MonkeyPatch) -> None:
    use_driver(OSError("libcuda.so.1: cannot open shared object file"), monkeypatch)
    assert find_obstacle(probe(film.path), 0) == "there is no CUDA driver on this machine"
    with pytest.raises(DeviceError) as caught:
        next(NvdecDecoder(probe(film.path), 0).frames(None, Damage()))
    assert caught.value.hint == "--decoder software needs none"


def test_torchs_context_is_current_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    use_driver(driver, monkeypatch)
    steps = ["cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2"]
    with suppress(KeyError), nvdec._torchs_context(1):
        assert driver.calls == steps
        raise KeyError("left by an error")
    assert driver.calls == [*steps, "cuCtxPopCurrent_v2"]


def test_a_failing_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(failing="cuDeviceGet")
    use_driver(driver, monkeypatch)
    with (
        pytest.raises(DeviceError, match="GPU 7 cannot be used: cuDeviceGet gave error 100"),
        nvdec._torchs_context(7),
    ):
        pytest.fail("there is no such GPU")
    assert driver.calls == ["cuInit", "cuDeviceGet"]


def test_a_fall_back_to_software_is_noticed_and_said(film: films.Film) -> None:
    info = probe(film.path)
    reader = Reader(info, decoder=InSystemMemory(info, 0))
    pictures = list(reader.pictures())
    assert [picture.pts for picture in pictures] == [picture.pts for picture in Reader(info).pictures()]
    assert reader.decoder.name == "software"
    assert reader.decoder.notes == ["NVDEC does not take h264 with yuv420p here: decoded in software"]


def test_a_fall_back_in_mid_film_is_noticed_and_said(film: films.Film, monkeypatch: pytest.MonkeyPatch) -> None:
    places = iter([True] * 10 + [False] * 14)
    monkeypatch.setattr(nvdec, "is_on_device", lambda frame: next(places))
    info = probe(film.path)
    reader = Reader(info, decoder=InSystemMemory(info, 0))
    assert len(list(reader.pictures())) == film.num_frames
    assert reader.decoder.name == "nvdec, software"
    assert reader.decoder.notes == ["NVDEC does not take h264 with yuv420p here: decoded in software from there on"]


def test_frames_are_fetched_from_the_first_interlaced_one_on(make_film: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[int] = []
    monkeypatch.setattr(nvdec, "is_on_device", lambda frame: True)
    monkeypatch.setattr(nvdec, "download", lambda frame: fetched.append(frame.pts) or frame)
    info = probe(make_film(films.interlaced, "film.mkv").path)
    reader = Reader(info, decoder=InSystemMemory(info, 0))
    pictures = list(reader.pictures())
    assert fetched == [picture.pts for picture in pictures]
    assert all(picture.was_interlaced for picture in pictures)
    assert reader.decoder.name == "nvdec"
    assert "deinterlaced in system memory" in reader.decoder.notes[0]


@pytest.mark.parametrize(
    ("on_device", "inside", "obstacle"),
    [
        (True, "nv12", None),
        (True, "p010le", None),
        (True, "yuv444p", "it does not take h264 with yuv420p"),
        (False, "nv12", "it does not take h264 with yuv420p"),
    ],
)
def test_the_first_frame_tells(
    on_device: bool, inside: str, obstacle: str | None, film: films.Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Frame:
        class format:  # noqa: N801
            name = "cuda" if on_device else inside

        class sw_format:  # noqa: N801
            name = inside

    def frames(self: NvdecDecoder, begin: object, damage: Damage, *, enter: bool = True):
        yield Frame()

    monkeypatch.setattr(NvdecDecoder, "frames", frames)
    assert find_obstacle(probe(film.path), 0) == obstacle


def test_a_film_without_frames_is_an_obstacle(film: films.Film, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NvdecDecoder, "frames", lambda *arguments: (frame for frame in ()))
    assert find_obstacle(probe(film.path), 0) == "it decodes no frame of this h264 film"


def test_info_is_enough_to_see_interlacing(make_film: Make) -> None:
    info: VideoInfo = probe(make_film(films.interlaced, "film.mkv").path)
    assert find_obstacle(info, 0) == "interlaced film is deinterlaced in system memory"


def test_the_doctor_is_told_what_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    use_driver(OSError("libcuda.so.1: cannot open shared object file"), monkeypatch)
    monkeypatch.setattr(abilities, "_opens", lambda encoder: False)
    assert abilities.describe_gpu() == {
        "nvdec": "not here: there is no CUDA driver on this machine",
        "nvenc": "not here: no encoder of it opens",
    }


def test_the_doctor_is_told_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvdec, "open_device", lambda device: None)
    monkeypatch.setattr(abilities, "_opens", lambda encoder: encoder != "av1_nvenc")
    found = abilities.describe_gpu()
    assert found["nvdec"].startswith("FFmpeg can use GPU 0")
    assert found["nvenc"] == "h264_nvenc, hevc_nvenc"


@pytest.mark.parametrize(("encoder", "opens"), [("libx264", True), ("prores_ks", False), ("no_such_encoder", False)])
def test_an_encoder_opens_or_not(encoder: str, opens: bool) -> None:
    assert abilities._opens(encoder) is opens


@pytest.mark.parametrize("status", [None, "cuInit"])
def test_a_device_that_ffmpeg_refuses_is_an_error(status: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is a stand-in, so that FFmpeg's own attempt fails where there is no GPU."""
    use_driver(Driver(failing=status), monkeypatch)
    with pytest.raises(DeviceError, match="FFmpeg cannot use GPU 63" if status is None else "cuInit gave error 100"):
        nvdec.open_device(63)
