"""The right pixel format, tags and options for each codec; limits are found before the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import av
import pytest

import films
from vsr.errors import SettingsError, UnsupportedStreamError
from vsr.video.color import ColorTags
from vsr.video.encoding import CODERS, ENCODER_PRESETS, choose_encoding, output_colors
from vsr.video.probe import VideoInfo, probe

Make = Callable[..., films.Film]


@pytest.fixture
def info(film: films.Film) -> VideoInfo:
    return probe(film.path)


@pytest.mark.parametrize(
    ("source", "codec", "pix_fmt"),
    [
        ("yuv420p", "h264", "yuv420p"),
        ("yuv420p10le", "h264", "yuv420p10le"),
        ("yuv420p12le", "h264", "yuv420p10le"),
        ("yuv444p", "h264", "yuv420p"),
        ("yuvj420p", "h264", "yuv420p"),
        ("bgra", "h264", "yuv420p"),
        ("gray", "h264", "yuv420p"),
        ("yuv420p12le", "hevc", "yuv420p12le"),
        ("gray16le", "hevc", "yuv420p12le"),
        ("yuv420p10le", "av1", "yuv420p10le"),
        ("yuv420p", "prores", "yuv422p10le"),
        ("yuv444p12le", "prores", "yuv444p10le"),
        ("rgb24", "prores", "yuv444p10le"),
        ("yuv411p", "ffv1", "yuv411p"),
        ("yuv422p10le", "ffv1", "yuv422p10le"),
        ("gray16le", "ffv1", "gray16le"),
        ("rgb24", "ffv1", "gbrp10le"),
        ("rgb48le", "ffv1", "gbrp16le"),
    ],
)
def test_pixel_format(source: str, codec: str, pix_fmt: str, info: VideoInfo) -> None:
    encoding = choose_encoding(replace(info, pix_fmt=source), 64, 48, codec)
    assert encoding.pix_fmt == pix_fmt


def test_lost_depth_is_said(info: VideoInfo) -> None:
    deep = replace(info, pix_fmt="yuv420p12le")
    (warning,) = choose_encoding(deep, 64, 48, "h264").warnings
    assert warning == "12-bit source: h264 keeps 10 bits (--codec hevc keeps them all)"
    assert choose_encoding(deep, 64, 48, "hevc").warnings == ()


@pytest.mark.parametrize("size", [(63, 64), (64, 64), (65, 64), (301, 203), (903, 609), (1203, 811)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv411p", "yuv410p"])
def test_ffv1_takes_any_size(info: VideoInfo, pix_fmt: str, size: tuple[int, int]) -> None:
    """The encoder is tried: nothing is to be refused."""
    encoding = choose_encoding(replace(info, pix_fmt=pix_fmt), *size, "ffv1")
    assert (encoding.width, encoding.height) == size


def test_odd_sizes_get_the_chroma_that_allows_them(info: VideoInfo) -> None:
    for codec in ("h264", "hevc"):
        encoding = choose_encoding(info, 65, 49, codec)
        assert encoding.pix_fmt == "yuv444p"
        assert "65x49 is odd" in encoding.warnings[0]
    assert choose_encoding(info, 65, 49, "av1").pix_fmt == "yuv420p"


@pytest.mark.parametrize(
    ("tags", "size", "expected"),
    [
        (ColorTags(), (64, 48), ColorTags(6, 1, 2, 2)),
        (ColorTags(), (1280, 720), ColorTags(1, 1, 2, 2)),
        (ColorTags(9, 1, 9, 16), (64, 48), ColorTags(9, 1, 9, 16)),
        (ColorTags(1, 2, 1, 1), (64, 48), ColorTags(1, 2, 1, 1)),
    ],
)
def test_colours_are_decided_by_the_sources_size(
    tags: ColorTags, size: tuple[int, int], expected: ColorTags, info: VideoInfo
) -> None:
    source = replace(info, colors=tags, width=size[0], height=size[1])
    assert output_colors(source) == expected
    assert choose_encoding(source, 2 * size[0], 2 * size[1], "h264").colors == expected


@pytest.mark.parametrize("codec", CODERS)
@pytest.mark.parametrize(
    "size", [(1, 1), (1, 7), (2, 2), (3, 3), (4, 4), (8, 6), (15, 15), (16, 16), (34, 34), (36, 64), (47, 33)]
)
def test_small_pictures_work_or_are_refused_before_the_work(
    codec: str, size: tuple[int, int], make_film: Make, upscale_plainly
) -> None:
    film = make_film(films.tiny, "film.mkv", size=size)
    if min(size) < {"hevc": 16, "av1": 4}.get(codec, 1):
        with pytest.raises(UnsupportedStreamError, match="is smaller than") as refusal:
            upscale_plainly(film.path, "out.mkv", codec=codec)
        assert "--codec h264 or ffv1" in (refusal.value.hint or "")
        return
    run = upscale_plainly(film.path, "out.mkv", codec=codec)
    with av.open(str(run.path)) as container:
        frames = list(container.decode(video=0))
    assert [(frame.width, frame.height) for frame in frames] == [size] * 3


def test_the_least_size_is_no_smaller_than_stated(info: VideoInfo) -> None:
    choose_encoding(info, 16, 16, "hevc")
    choose_encoding(info, 4, 4, "av1")


@pytest.mark.parametrize(
    ("codec", "width", "height"),
    [("h264", 16400, 64), ("h264", 8192, 8192), ("hevc", 8200, 64), ("hevc", 8192, 4400), ("av1", 16400, 64)],
)
def test_large_pictures_are_refused(codec: str, width: int, height: int, info: VideoInfo) -> None:
    with pytest.raises(UnsupportedStreamError, match=f"{width}x{height} is larger than {codec} allows"):
        choose_encoding(info, width, height, codec)


@pytest.mark.parametrize("preset", ENCODER_PRESETS)
def test_one_set_of_preset_names_serves_all_codecs(preset: str, info: VideoInfo) -> None:
    assert choose_encoding(info, 64, 48, "h264", encoder_preset=preset).options["preset"] == preset
    assert choose_encoding(info, 64, 48, "av1", encoder_preset=preset).options["preset"].isdigit()
    assert "without effect" in choose_encoding(info, 64, 48, "ffv1", encoder_preset=preset).warnings[0]


def test_svt_presets_grow_with_speed_and_are_taken_as_numbers(info: VideoInfo) -> None:
    numbers = list(ENCODER_PRESETS.values())
    assert numbers == sorted(set(numbers), reverse=True)
    assert choose_encoding(info, 64, 48, "av1", encoder_preset="13").options["preset"] == "13"


@pytest.mark.parametrize(("codec", "preset"), [("h264", "quick"), ("hevc", "8"), ("av1", "14"), ("prores", "hq")])
def test_unknown_presets_are_refused(codec: str, preset: str, info: VideoInfo) -> None:
    with pytest.raises(SettingsError, match=f"{codec} has no encoder preset '{preset}'") as caught:
        choose_encoding(info, 64, 48, codec, encoder_preset=preset)
    assert "ultrafast" in (caught.value.hint or "")


def test_crf(info: VideoInfo) -> None:
    assert choose_encoding(info, 64, 48, "h264").options["crf"] == "18"
    assert choose_encoding(info, 64, 48, "h264", crf=23.5).options["crf"] == "23.5"
    assert "no crf" in choose_encoding(info, 64, 48, "prores", crf=10).warnings[0]
    with pytest.raises(UnsupportedStreamError, match="av1 does not take"):
        choose_encoding(info, 64, 48, "av1", crf=99)


def test_time_is_the_sources(make_film: Make) -> None:
    encoding = choose_encoding(probe(make_film(films.variable_rate).path), 64, 48, "h264")
    assert encoding.time_base == Fraction(1, 1000) / 16 or encoding.time_base.denominator % 1000 == 0
