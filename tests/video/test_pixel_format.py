from __future__ import annotations

import av
import pytest
from av.video.format import names

from vsr.errors import SettingsError
from vsr.video.color import RANGE_FULL, RANGE_LIMITED, ColorTags
from vsr.video.pixel_format import ChromaSiting, describe_format, resolve_tags


@pytest.mark.parametrize(
    ("name", "bits", "chroma", "is_rgb", "has_alpha"),
    [
        ("yuv420p", 8, "420", False, False),
        ("yuvj422p", 8, "422", False, False),
        ("yuv440p12le", 12, "440", False, False),
        ("yuv411p", 8, "411", False, False),
        ("yuv410p", 8, "410", False, False),
        ("yuva444p10le", 10, "444", False, True),
        ("nv12", 8, "420", False, False),
        ("p010le", 10, "420", False, False),
        ("yuyv422", 8, "422", False, False),
        ("xv30le", 10, "444", False, False),
        ("gray", 8, "gray", False, False),
        ("gray14le", 14, "gray", False, False),
        ("ya8", 8, "gray", False, True),
        ("monow", 1, "gray", False, False),
        ("rgb24", 8, "444", True, False),
        ("bgra", 8, "444", True, True),
        ("gbrp16le", 16, "444", True, False),
        ("gbrap12le", 12, "444", True, True),
        ("rgb565le", 6, "444", True, False),
        ("pal8", 8, "444", True, True),
        ("gbrpf32le", 32, "444", True, False),
        ("bayer_rggb16le", 16, "444", True, False),
        ("xyz12le", 12, "444", True, False),
    ],
)
def test_facts_in_the_name(name: str, bits: int, chroma: str, is_rgb: bool, has_alpha: bool) -> None:
    described = describe_format(name)
    assert (described.name, described.bits, described.chroma) == (name, bits, chroma)
    assert (described.is_rgb, described.has_alpha) == (is_rgb, has_alpha)


def test_every_format_in_memory_is_described_as_ffmpeg_lays_it_out() -> None:
    count = 0
    for name in names:
        layout = av.VideoFormat(name, 64, 64)
        if not layout.components:
            with pytest.raises(SettingsError, match="hardware"):
                describe_format(name)
            continue
        described = describe_format(name)
        down, across = described.subsampling
        assert (layout.chroma_width(64) * across, layout.chroma_height(64) * down) == (64, 64), name
        assert described.is_float == ("f16" in name or "f32" in name), name
        count += 1
    assert count > 200


def test_unknown_format_is_refused() -> None:
    with pytest.raises(SettingsError, match="'yuv421p'"):
        describe_format("yuv421p")


@pytest.mark.parametrize(
    ("siting", "is_cosited"),
    [(ChromaSiting.LEFT, (False, True)), (ChromaSiting.TOP_LEFT, (True, True)), (ChromaSiting.CENTRE, (False, False))],
)
def test_siting_per_axis(siting: ChromaSiting, is_cosited: tuple[bool, bool]) -> None:
    assert siting.is_cosited == is_cosited


@pytest.mark.parametrize(
    ("name", "signalled", "resolved"),
    [
        ("yuv420p", (2, 0), (6, RANGE_LIMITED)),
        ("yuv420p", (1, RANGE_FULL), (1, RANGE_FULL)),
        ("yuv420p", (0, 0), (6, RANGE_LIMITED)),
        ("yuv444p", (0, RANGE_LIMITED), (0, RANGE_LIMITED)),
        ("yuvj420p", (5, RANGE_LIMITED), (5, RANGE_FULL)),
        ("gray", (2, 0), (6, RANGE_FULL)),
        ("gray10le", (1, RANGE_LIMITED), (1, RANGE_LIMITED)),
        ("gbrp", (0, RANGE_LIMITED), (0, RANGE_FULL)),
        ("rgb24", (2, 0), (0, RANGE_FULL)),
    ],
)
def test_tags_are_resolved_with_the_format(name: str, signalled: tuple[int, int], resolved: tuple[int, int]) -> None:
    tags = ColorTags(*signalled, primaries=9, transfer=16)
    assert resolve_tags(tags, describe_format(name), 720, 480) == ColorTags(*resolved, primaries=9, transfer=16)
