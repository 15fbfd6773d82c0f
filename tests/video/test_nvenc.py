"""When NVENC is chosen and with what options. Opening it needs a GPU: here the trial is a stand-in, or fails truly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import pytest

import films
from vsr.errors import DeviceError, SettingsError, UnsupportedStreamError
from vsr.video import encoding as encodings
from vsr.video import segment_encoder
from vsr.video.containers import plan_streams
from vsr.video.encoding import Encoding, choose_encoding, configure_context
from vsr.video.hdr import HdrMetadata
from vsr.video.nvenc import ENCODERS, PRESETS, find_obstacle, nvenc_options, nvenc_preset
from vsr.video.probe import VideoInfo, probe
from vsr.video.reader import Reader, Window
from vsr.video.segment_encoder import encode_film
from vsr.video.segments import SegmentGrid
from vsr.video.writer import OutputPlan, Writer

NO_LIGHT_LEVELS = HdrMetadata(None, None, None, None)


@pytest.fixture
def info(film: films.Film) -> VideoInfo:
    return probe(film.path)


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Encoding]]:
    """trial(failing=True): a chip that has every NVENC, or none; returns the NVENC encodings that were tried."""
    truly = encodings._try_encoder

    def set_trial(*, failing: bool = False) -> list[Encoding]:
        tried: list[Encoding] = []

        def try_encoder(encoding: Encoding) -> None:
            if "nvenc" not in encoding.encoder:
                truly(encoding)
                return
            tried.append(encoding)
            if failing:
                raise UnsupportedStreamError("refused") from OSError("No capable devices found")

        monkeypatch.setattr(encodings, "_try_encoder", try_encoder)
        return tried

    return set_trial


@pytest.mark.parametrize(("codec", "encoder"), ENCODERS.items())
def test_auto_takes_nvenc_where_a_gpu_computes(
    codec: str, encoder: str, info: VideoInfo, trial: Callable[..., list[Encoding]]
) -> None:
    tried = trial()
    encoding = choose_encoding(info, 256, 192, codec, device=1)
    assert (encoding.encoder, encoding.codec, encoding.pix_fmt, encoding.on_device) == (encoder, codec, "nv12", False)
    assert encoding.options["gpu"] == "1"
    assert tried == [encoding]


def test_auto_on_a_cpu_and_software_anywhere_try_nothing(info: VideoInfo, trial: Callable[..., list[Encoding]]) -> None:
    tried = trial()
    assert choose_encoding(info, 256, 192, "hevc").encoder == "libx265"
    assert choose_encoding(info, 256, 192, "hevc", encoder="software", device=0).encoder == "libx265"
    assert tried == []


@pytest.mark.parametrize(
    ("codec", "size", "changes", "encoder"),
    [
        ("h264", (4098, 192), {}, "libx264"),
        ("h264", (256, 192), {"pix_fmt": "yuv420p10le"}, "libx264"),
        ("hevc", (256, 192), {"pix_fmt": "yuv420p12le"}, "libx265"),
        ("hevc", (256, 193), {}, "libx265"),
        ("av1", (255, 193), {}, "libsvtav1"),
        ("hevc", (256, 192), {"pix_fmt": "yuv420p10le", "hdr": NO_LIGHT_LEVELS}, "libx265"),
        ("prores", (256, 192), {}, "prores_ks"),
        ("ffv1", (256, 192), {}, "ffv1"),
    ],
)
def test_auto_takes_software_where_nvenc_would_lose_something(
    codec: str,
    size: tuple[int, int],
    changes: dict[str, Any],
    encoder: str,
    info: VideoInfo,
    trial: Callable[..., list[Encoding]],
) -> None:
    tried = trial()
    assert choose_encoding(replace(info, **changes), *size, codec, device=0).encoder == encoder
    assert tried == []


def test_auto_takes_software_where_the_chip_has_no_nvenc(info: VideoInfo, trial: Callable[..., list[Encoding]]) -> None:
    tried = trial(failing=True)
    assert choose_encoding(info, 256, 192, "h264", device=0) == choose_encoding(info, 256, 192, "h264")
    assert len(tried) == 1


def test_auto_keeps_the_presets_of_software(info: VideoInfo, trial: Callable[..., list[Encoding]]) -> None:
    trial()
    encoding = choose_encoding(info, 256, 192, "av1", encoder_preset="13", device=0)
    assert (encoding.encoder, encoding.options["preset"]) == ("libsvtav1", "13")
    encoding = choose_encoding(info, 256, 192, "av1", encoder_preset="slow", device=0)
    assert (encoding.encoder, encoding.options["preset"]) == ("av1_nvenc", "p6")


@pytest.mark.parametrize(
    ("codec", "size", "pix_fmt", "reason"),
    [
        ("prores", (256, 192), "yuv420p", "NVENC writes h264, hevc, av1, not prores"),
        ("h264", (4098, 192), "yuv420p", "4098x192 is too large: NVENC stops at 4096 pixels in h264"),
        ("hevc", (256, 8194), "yuv420p", "256x8194 is too large: NVENC stops at 8192 pixels in hevc"),
        ("h264", (256, 192), "yuv420p10le", "NVENC does not write yuv420p10le in h264"),
        ("av1", (255, 192), "yuv420p", "NVENC takes even sizes only"),
    ],
)
def test_what_nvenc_cannot_is_refused_where_it_was_asked_for(
    codec: str,
    size: tuple[int, int],
    pix_fmt: str,
    reason: str,
    info: VideoInfo,
    trial: Callable[..., list[Encoding]],
) -> None:
    tried = trial()
    with pytest.raises(UnsupportedStreamError, match=reason) as caught:
        choose_encoding(replace(info, pix_fmt=pix_fmt), *size, codec, encoder="nvenc", device=0)
    assert caught.value.hint == "--encoder software, or another --codec"
    assert tried == []


@pytest.mark.parametrize(("codec", "side"), [("h264", 4096), ("hevc", 8192), ("av1", 8192)])
def test_the_limits_themselves_are_allowed(codec: str, side: int) -> None:
    assert find_obstacle(codec, "yuv420p", side, 2) is None
    assert find_obstacle(codec, "yuv420p", 2, side) is None
    assert find_obstacle(codec, "yuv420p", side + 2, 2) is not None


def test_a_chip_without_nvenc_is_said(info: VideoInfo, trial: Callable[..., list[Encoding]]) -> None:
    trial(failing=True)
    with pytest.raises(DeviceError, match="does not write h264 of 256x192 here: No capable devices found") as caught:
        choose_encoding(info, 256, 192, "h264", encoder="nvenc")
    assert "A100, H100, H200" in str(caught.value.hint)


def test_unknown_presets_are_refused(info: VideoInfo, trial: Callable[..., list[Encoding]]) -> None:
    trial()
    with pytest.raises(SettingsError, match="NVENC has no encoder preset 'p8'"):
        choose_encoding(info, 256, 192, "h264", encoder="nvenc", encoder_preset="p8")
    assert nvenc_preset("p7") == "p7"
    assert [nvenc_preset(name) for name in PRESETS] == sorted(PRESETS.values())


def test_ten_bits_are_kept(info: VideoInfo, trial: Callable[..., list[Encoding]]) -> None:
    trial()
    deep = replace(info, pix_fmt="yuv420p10le")
    assert choose_encoding(deep, 256, 192, "hevc", device=0).pix_fmt == "p010le"
    with_hdr = replace(deep, hdr=NO_LIGHT_LEVELS)
    (warning,) = choose_encoding(with_hdr, 256, 192, "hevc", encoder="nvenc", device=0).warnings
    assert "mastering metadata" in warning


def test_crf_becomes_cq_and_the_best_level_is_not_automatic() -> None:
    assert nvenc_options(20.5, None, None) == {
        "preset": "p5",
        "tune": "hq",
        "rc": "vbr",
        "cq": "20.5",
        "b": "0",
        "surfaces": "16",
    }
    assert nvenc_options(0, "p7", 3) == {
        "preset": "p7", "tune": "hq", "rc": "vbr", "cq": "1", "b": "0", "surfaces": "16", "gpu": "3"
    }  # fmt: skip


def failure(codec: str, options: dict[str, str], info: VideoInfo) -> BaseException | None:
    """Why FFmpeg could not open NVENC with `options`; None where it could."""
    encoding = replace(
        choose_encoding(info, 256, 192, "h264"), encoder=ENCODERS[codec], pix_fmt="nv12", options=options
    )
    try:
        encodings._try_encoder(encoding)
    except UnsupportedStreamError as exc:
        return exc.__cause__
    return None


@pytest.mark.parametrize("preset", sorted(set(PRESETS.values())))
@pytest.mark.parametrize(("codec", "worst"), [("h264", 51), ("hevc", 51), ("av1", 63)])
def test_ffmpeg_takes_the_options(codec: str, worst: int, preset: str, info: VideoInfo) -> None:
    """FFmpeg reads options before it looks for a GPU: a wrong one fails differently from a missing chip."""
    refusals = (av.error.ArgumentError, av.error.OverflowError)
    assert isinstance(failure(codec, {"rc": "no such thing"}, info), refusals)
    assert isinstance(failure(codec, nvenc_options(worst + 1, preset, 0), info), refusals)
    assert not isinstance(failure(codec, nvenc_options(worst, preset, 0), info), refusals)


def test_a_stream_on_the_gpu_waits_for_its_first_frame(
    info: VideoInfo, monkeypatch: pytest.MonkeyPatch, trial: Callable[..., list[Encoding]]
) -> None:
    """An encoder of frames on the GPU is opened by the first of them; the film's header does not wait for that."""
    trial()
    on_device = choose_encoding(info, 64, 48, "h264", encoder="nvenc", device=0, on_device=True)
    assert on_device.on_device
    assert "gpu" not in on_device.options

    opened: list[str] = []

    def configure(context: Any, encoding: Encoding) -> None:
        configure_context(context, encoding)
        opened.append(context.pix_fmt)
        context.pix_fmt = "yuv420p"  # the stand-in takes frames of system memory

    monkeypatch.setattr(segment_encoder, "configure_context", configure)
    files = []
    for waits in (False, True):
        encoding = replace(choose_encoding(info, 64, 48, "h264"), on_device=waits)
        path = info.path.with_name(f"out_{waits}.mp4")
        plan = OutputPlan(path, plan_streams(info, ".mp4"), encoding, Window())
        grid = SegmentGrid.of(info, Window())
        segments = encode_film(Reader(info).pictures(), grid, encoding, info.path.parent, path)
        with Writer(info, plan) as writer:
            writer.join(segments)
            writer.finish()
        with av.open(str(path)) as container:
            packets = [(p.stream.type, p.pts, p.dts, bytes(p)) for p in container.demux() if p.size]
        files.append((probe(path).streams[0].duration, packets))
    assert opened == ["yuv420p", "cuda"]
    assert files[0] == files[1]
    assert files[0][0] == Fraction(1)
