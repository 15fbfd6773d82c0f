"""What an output cannot keep is said in words before the work starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

import films
from vsr.video.containers import plan_streams
from vsr.video.encoding import choose_encoding
from vsr.video.hdr import HdrMetadata
from vsr.video.losses import list_losses
from vsr.video.probe import probe

Make = Callable[..., films.Film]
HDR = HdrMetadata(None, None, 1000, 400)


def losses(film: films.Film, codec: str = "h264", drop: tuple[str, ...] = (), **facts: Any) -> list[str]:
    info = replace(probe(film.path), **facts)
    return list_losses(info, choose_encoding(info, 64, 48, codec), plan_streams(info, ".mkv", drop))


def test_a_plain_film_loses_nothing(film: films.Film) -> None:
    assert losses(film) == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"alpha": True}, "the film is transparent in places; the output is not"),
        ({"captions": True}, "closed captions inside the pictures are not kept"),
        ({"dynamic_hdr": ("HDR10+",)}, "dynamic HDR metadata (HDR10+) is not kept; static tags are"),
        (
            {"clock_shift": Fraction(-45296)},
            "the film's clock starts at 12:34:56; the output's starts at zero, all streams alike",
        ),
        ({"pix_fmt": "yuv420p12le"}, "12-bit source: h264 keeps 10 bits (--codec hevc keeps them all)"),
    ],
)
def test_each_loss_has_its_sentence(facts: dict[str, Any], words: str, film: films.Film) -> None:
    assert losses(film, **facts) == [words]


@pytest.mark.parametrize("codec", ["prores", "ffv1"])
def test_codecs_without_hdr_metadata(codec: str, film: films.Film) -> None:
    assert losses(film, codec, hdr=HDR) == [
        f"{codec} cannot hold the HDR mastering metadata (--codec hevc or av1 keeps it)"
    ]
    assert losses(film, "hevc", hdr=HDR) == []


def test_streams_left_out(make_film: Make) -> None:
    assert losses(make_film(films.two_sounds), drop=("2",)) == ["audio stream #2 (aac) is left out: asked for"]


def test_styling_of_converted_subtitles(make_film: Make) -> None:
    film = make_film(films.subtitled, "film.mkv")
    info = probe(film.path)
    found = list_losses(info, choose_encoding(info, 64, 48, "h264"), plan_streams(info, ".mp4"))
    assert found == ["subtitle stream #3 (ass) becomes mov_text: its words and times are kept, its styling is not"]
    assert losses(film) == []
