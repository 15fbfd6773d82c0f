"""Which decoder is taken, and what is said where the one asked for does not do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import films
from vsr.errors import DeviceError, SourceError
from vsr.video import dali, decoder_choice
from vsr.video.dali import DaliDecoder
from vsr.video.decoder import SoftwareDecoder
from vsr.video.decoder_choice import DecoderChoice, choose_decoder
from vsr.video.nvdec import NvdecDecoder
from vsr.video.probe import VideoInfo, probe


@pytest.fixture
def info(film: films.Film) -> VideoInfo:
    return probe(film.path)


@pytest.fixture
def obstacle(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], list[int]]:
    """obstacle("reason"): what trying NVDEC comes to; returns the devices on which it was tried."""

    def set_obstacle(reason: str | None) -> list[int]:
        tried: list[int] = []

        def find_obstacle(info: VideoInfo, device: int) -> str | None:
            tried.append(device)
            return reason

        monkeypatch.setattr(decoder_choice, "find_obstacle", find_obstacle)
        return tried

    return set_obstacle


def test_auto_tries_nvdec_where_a_gpu_computes(info: VideoInfo, obstacle: Callable[..., list[int]]) -> None:
    tried = obstacle(None)
    choice = choose_decoder(info, "auto", 1)
    assert choice == DecoderChoice("nvdec", 1)
    assert isinstance(choice.make(info), NvdecDecoder)
    assert tried == [1]


def test_auto_and_software_on_a_cpu_try_nothing(info: VideoInfo, obstacle: Callable[..., list[int]]) -> None:
    tried = obstacle(None)
    for wanted, device in (("auto", None), ("software", None), ("software", 0)):
        choice = choose_decoder(info, wanted, device)
        assert choice == DecoderChoice("software")
        assert type(choice.make(info)) is SoftwareDecoder
    assert tried == []


def test_auto_falls_back_and_says_why(info: VideoInfo, obstacle: Callable[..., list[int]]) -> None:
    obstacle("it does not take h264 with yuv444p")
    choice = choose_decoder(info, "auto", 0)
    assert choice == DecoderChoice(
        "software", notes=("decoded in software, not by NVDEC: it does not take h264 with yuv444p",)
    )


def test_nvdec_asked_for_and_not_to_be_had(info: VideoInfo, obstacle: Callable[..., list[int]]) -> None:
    obstacle("it does not take h264 with yuv444p")
    with pytest.raises(DeviceError, match=r"film\.mp4.*does not take h264") as caught:
        choose_decoder(info, "nvdec", 0)
    assert caught.value.hint == "--decoder auto"
    with pytest.raises(DeviceError, match="not one GPU that computes"):
        choose_decoder(info, "nvdec", None)


def test_interlaced_film_goes_through_software_even_where_nvdec_was_asked_for(info: VideoInfo) -> None:
    choice = choose_decoder(replace(info, interlaced=True), "nvdec", 0)
    assert choice.name == "software"
    assert "interlaced film is deinterlaced in system memory" in choice.notes[0]


def test_dali_is_checked_before_it_is_taken(info: VideoInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dali, "is_installed", lambda: True)
    choice = choose_decoder(info, "dali", 2)
    assert choice == DecoderChoice("dali", 2)
    assert isinstance(choice.make(info), DaliDecoder)
    with pytest.raises(SourceError, match="does not decode h264 on a CPU"):
        choose_decoder(info, "dali", None)
