"""Segments: what goes in comes out to the tick and to the byte, whole files or none, the same every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import films
from vsr.errors import OutputError, ProcessingError
from vsr.video.encoding import Encoding, choose_encoding
from vsr.video.probe import probe
from vsr.video.reader import Picture, Reader, Window
from vsr.video.segment_encoder import encode_film, encode_segments
from vsr.video.segment_file import SegmentFileWriter, read_packets, read_times
from vsr.video.segments import SegmentGrid

Make = Callable[..., films.Film]
QUARTER = SegmentGrid(Fraction(0), Fraction(1, 4))


def code(film: films.Film, folder: Path, codec: str = "h264", grid: SegmentGrid = QUARTER) -> list[Any]:
    folder.mkdir()
    info = probe(film.path)
    encoding = choose_encoding(info, info.width, info.height, codec)
    pictures = (
        replace(picture, frame=picture.frame.reformat(format=encoding.pix_fmt)) for picture in Reader(info).pictures()
    )
    return encode_film(pictures, grid, encoding, folder, Path("out.mkv"))


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "ffv1", "prores"])
def test_each_segment_is_closed(codec: str, make_film: Make, tmp_path: Path) -> None:
    """It begins with a key frame, holds every picture of its cell, and decodes alone."""
    film = make_film(films.silent, "film.mkv", codec="ffv1")
    segments = code(film, tmp_path / "segments", codec)
    assert [segment.num_frames for segment in segments] == [6, 6, 6, 6]
    assert len({segment.header for segment in segments}) == 1
    for number, segment in enumerate(segments):
        packets = list(read_packets(segment.path))
        assert packets[0].is_key
        assert [packet.pts for packet in packets] == read_times(segment.path)
        wanted = [round(time * 1000) for time in film.times[6 * number : 6 * number + 6]]
        assert sorted(packet.pts for packet in packets) == wanted
        assert segment.is_intact()


def test_a_segment_knows_nothing_of_the_one_before(make_film: Make, tmp_path: Path) -> None:
    film = make_film(films.plain, times=60, size=(320, 144))  # a width where x264 was seen to differ
    whole = code(film, tmp_path / "whole")
    info = probe(film.path)
    later = Reader(info, Window(QUARTER.window_of(5).start, None)).pictures()
    alone = encode_film(later, QUARTER, encoding_of(film), made(tmp_path / "alone"), Path("out.mkv"))
    assert len(whole) == 10
    for one, other in zip(whole[5:], alone, strict=True):
        assert one.path.name == other.path.name
        assert one.path.read_bytes() == other.path.read_bytes()


def test_the_same_pictures_give_the_same_bytes(make_film: Make, tmp_path: Path) -> None:
    """x264 with AVX-512 gave five files in thirty tries here."""
    film = make_film(films.plain, times=48, size=(320, 144))
    found = {
        b"".join(s.path.read_bytes() for s in code(film, tmp_path / str(n), grid=SegmentGrid(Fraction(0), Fraction(4))))
        for n in range(12)
    }
    assert len(found) == 1


def test_cells_without_pictures_have_no_segment(make_film: Make, tmp_path: Path) -> None:
    film = make_film(films.silent, "film.mp4", times=[Fraction(n, 24) for n in (0, 1, 2, 40, 41)])
    assert [segment.path.name for segment in code(film, tmp_path / "segments")] == ["000000.segment", "000006.segment"]


def test_an_error_leaves_no_unfinished_file(film: films.Film, tmp_path: Path) -> None:
    def pictures() -> Any:
        for number, picture in enumerate(Reader(probe(film.path)).pictures()):
            if number == 9:
                raise RuntimeError("the network fails")
            yield picture

    folder = made(tmp_path / "segments")
    with pytest.raises(RuntimeError):
        encode_film(pictures(), QUARTER, encoding_of(film), folder, Path("out.mp4"))
    assert [file.name for file in folder.iterdir()] == ["000000.segment"]


def test_leaving_early_leaves_no_unfinished_file(film: films.Film, tmp_path: Path) -> None:
    folder = made(tmp_path / "segments")
    stage: Any = encode_segments(Reader(probe(film.path)).pictures(), QUARTER, encoding_of(film), folder, Path("x.mp4"))
    next(stage).finish()
    next(stage).discard()
    stage.close()
    assert [file.name for file in folder.iterdir()] == ["000000.segment"]


def test_a_folder_that_is_gone_is_named(film: films.Film, tmp_path: Path) -> None:
    pictures: list[Picture] = list(Reader(probe(film.path)).pictures())
    with pytest.raises(OutputError, match=r"'out\.mp4' cannot be written"):
        encode_film(pictures, QUARTER, encoding_of(film), tmp_path / "gone", Path("out.mp4"))


@pytest.mark.parametrize("cut", [3, 20, 60, -1])
def test_a_file_that_was_cut_is_known(cut: int, film: films.Film, tmp_path: Path) -> None:
    segment = code(film, tmp_path / "segments")[0]
    segment.path.write_bytes(segment.path.read_bytes()[:cut])
    assert not segment.is_intact()
    with pytest.raises(ProcessingError, match="is damaged"):
        list(read_packets(segment.path))


def test_one_wrong_bit_is_known(film: films.Film, tmp_path: Path) -> None:
    segment = code(film, tmp_path / "segments")[0]
    data = bytearray(segment.path.read_bytes())
    data[-1] ^= 1
    segment.path.write_bytes(data)
    assert not segment.is_intact()


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    writer = SegmentFileWriter(tmp_path / "000000.segment")
    assert [file.suffix for file in tmp_path.iterdir()] == [".tmp"]
    writer.finish(b"header")
    assert [file.name for file in tmp_path.iterdir()] == ["000000.segment"]
    writer.discard()
    assert [file.name for file in tmp_path.iterdir()] == ["000000.segment"]


def encoding_of(film: films.Film) -> Encoding:
    info = probe(film.path)
    return choose_encoding(info, info.width, info.height, "h264")


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder
