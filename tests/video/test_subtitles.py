"""Text subtitles keep their words through every conversion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.video.subtitles import CONVERTIBLE, Cue, Flattener, convert_text

SPOKEN = "zweite Zeile, größer"


def timed(text: str) -> bytes:
    return len(text.encode()).to_bytes(2, "big") + text.encode()


PACKETS = {
    "subrip": SPOKEN.encode(),
    "srt": SPOKEN.encode(),
    "text": SPOKEN.encode(),
    "webvtt": SPOKEN.encode(),
    "ass": f"0,0,Default,,0,0,0,,{SPOKEN}".encode(),
    "ssa": f"0,0,Default,,0,0,0,,{SPOKEN}".encode(),
    "mov_text": timed(SPOKEN),
}


def test_every_convertible_coding_is_tested() -> None:
    assert set(PACKETS) == CONVERTIBLE


@pytest.mark.parametrize("source", sorted(PACKETS))
def test_words_survive(source: str) -> None:
    assert convert_text(PACKETS[source], source, "mov_text") == timed(SPOKEN)
    assert convert_text(PACKETS[source], source, "subrip") == SPOKEN.encode()


def test_ass_loses_only_styling() -> None:
    line = rb"7,0,Sign,,0,0,0,,{\an8\i1}Up,{\i0} there\Nnow\hthen"
    assert convert_text(line, "ass", "subrip") == b"Up, there\nnow then"


def test_markup_goes_where_timed_text_has_no_place_for_it() -> None:
    assert convert_text(b"<i>so</i> 1 < 2 > 0", "subrip", "mov_text") == timed("so 1 < 2 > 0")
    assert convert_text(b"<i>so</i>", "webvtt", "subrip") == b"<i>so</i>"


def test_styles_after_the_text_of_a_timed_text_packet_are_left_out() -> None:
    assert convert_text(timed("hello") + b"\0\0\0\x16styl....", "mov_text", "subrip") == b"hello"


def test_a_gap_becomes_nothing() -> None:
    assert convert_text(b"\0\0", "mov_text", "subrip") == b""


@given(st.text(alphabet="äöü€漢🎞a", min_size=1, max_size=9))
def test_a_text_too_long_for_timed_text_is_cut_between_letters(word: str) -> None:
    text = word * 66_000
    packet = convert_text(text.encode(), "subrip", "mov_text")
    length = int.from_bytes(packet[:2], "big")
    assert 0xFFFF - 4 < length == len(packet) - 2 <= 0xFFFF
    assert text.startswith(packet[2:].decode())


# Overlapping texts.


def flatten(*cues: Cue) -> list[Cue]:
    flattener = Flattener()
    settled = [found for cue in cues for found in flattener.add(cue)]
    assert flattener.num_moved == 0
    return settled + flattener.settle(None)


def test_texts_that_do_not_overlap_stay_as_they_are() -> None:
    cues = [Cue(0, 400, "one"), Cue(400, 600, "two"), Cue(700, 900, "three")]
    assert flatten(*cues) == cues


def test_a_text_within_another() -> None:
    assert flatten(Cue(100, 1500, "one"), Cue(500, 900, "two")) == [
        Cue(100, 500, "one"), Cue(500, 900, "one\ntwo"), Cue(900, 1500, "one"),
    ]  # fmt: skip


def test_texts_of_one_start() -> None:
    assert flatten(Cue(5, 9, "a"), Cue(5, 7, "b")) == [Cue(5, 7, "a\nb"), Cue(7, 9, "a")]


def test_a_text_without_an_end_stays_until_the_next() -> None:
    assert flatten(Cue(5, None, "a"), Cue(8, None, "b")) == [Cue(5, 8, "a"), Cue(8, None, "b")]


def test_a_text_that_comes_too_late_is_moved_and_counted() -> None:
    flattener = Flattener()
    assert not flattener.is_over(9)
    flattener.add(Cue(0, 10, "a"))
    assert not flattener.is_over(9)
    assert flattener.is_over(10)
    assert flattener.settle(10) == [Cue(0, 10, "a")]
    assert flattener.add(Cue(4, 8, "b")) == []
    assert flattener.settle(None) == [Cue(10, 11, "b")]
    assert flattener.num_moved == 1


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), max_size=8))
def test_at_every_instant_exactly_the_texts_of_that_instant_are_shown(spans: list[tuple[int, int]]) -> None:
    cues = [Cue(start, start + length, str(number)) for number, (start, length) in enumerate(sorted(spans))]
    found = flatten(*cues)
    for time in range(30):
        shown = [cue.text for cue in found if cue.start <= time < cue.end]
        wanted = [cue.text for cue in cues if cue.start <= time < cue.end]
        assert shown == (["\n".join(wanted)] if wanted else [])
