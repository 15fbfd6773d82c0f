"""Static HDR metadata: read from FFmpeg's structures, written in each encoder's own words."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import pytest
from av.sidedata.sidedata import Type as SideDataType

import films
from vsr.video.hdr import HdrMetadata, read_hdr_metadata
from vsr.video.probe import probe, read_side_data

# The primaries of P3 in D65 white, and 1000 cd/m², as films.hdr10 states them.
PRIMARIES = tuple(Fraction(value, 50000) for value in (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450))
MASTERING = HdrMetadata(PRIMARIES, (Fraction(1, 10000), Fraction(1000)), 1000, 400)


def display(rationals: list[tuple[int, int]], has_primaries: int = 1, has_luminance: int = 1) -> bytes:
    return struct.pack("=22i", *(part for pair in rationals for part in pair), has_primaries, has_luminance)


def test_the_metadata_of_a_film_are_read_exactly(make_film) -> None:
    info = probe(make_film(films.hdr10, "film.mp4").path)
    assert info.hdr == MASTERING
    assert info.colors.is_hdr


def test_a_film_without_them_has_none(film: films.Film) -> None:
    assert probe(film.path).hdr is None


def test_either_half_may_be_missing() -> None:
    rationals = [(value.numerator, value.denominator) for value in PRIMARIES] + [(1, 10000), (1000, 1)]
    assert read_hdr_metadata(display(rationals), None) == HdrMetadata(PRIMARIES, MASTERING.luminance, None, None)
    assert read_hdr_metadata(None, struct.pack("=2I", 1000, 400)) == HdrMetadata(None, None, 1000, 400)
    assert read_hdr_metadata(display(rationals, has_primaries=0), None) == HdrMetadata(
        None, MASTERING.luminance, None, None
    )
    assert read_hdr_metadata(None, None) is None
    assert read_hdr_metadata(display([(0, 0)] * 10, 0, 0), None) is None


def test_each_encoder_gets_its_own_words() -> None:
    master = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    assert MASTERING.x265_params() == {"master-display": master, "max-cll": "1000,400"}
    assert MASTERING.x264_params() == {"mastering-display": master, "cll": "1000,400"}
    assert MASTERING.svtav1_params() == {
        "mastering-display": (
            "G(0.26500,0.69000)B(0.15000,0.06000)R(0.68000,0.32000)WP(0.31270,0.32900)L(1000.0000,0.0001)"
        ),
        "content-light": "1000,400",
    }


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_decoded_output_carries_the_same_metadata(codec: str, make_film, upscale_plainly) -> None:
    source = make_film(films.hdr10, "film.mkv")
    output = upscale_plainly(source.path, "out.mkv", codec=codec).path
    with av.open(str(output)) as container:
        frame = next(container.decode(video=0))
        found = read_hdr_metadata(
            read_side_data(frame, SideDataType.MASTERING_DISPLAY_METADATA),
            read_side_data(frame, SideDataType.CONTENT_LIGHT_LEVEL),
        )
        assert (frame.format.name, int(frame.color_trc), int(frame.color_primaries), int(frame.colorspace)) == (
            "yuv420p10le", 16, 9, 9,
        )  # fmt: skip
    assert found is not None
    assert found.primaries is not None
    assert found.luminance is not None
    assert (found.max_content, found.max_average) == (1000, 400)
    # AV1 keeps chromaticities in 1/65536 and the lowest luminance in 1/16384.
    assert all(abs(a - b) < Fraction(1, 60000) for a, b in zip(found.primaries, PRIMARIES, strict=True))
    assert found.luminance[1] == 1000
    assert abs(found.luminance[0] - Fraction(1, 10000)) < Fraction(1, 16384)
