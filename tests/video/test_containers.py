"""Nothing of a film is lost without a word: each stream is copied, converted, attached, left out or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import films
from vsr.errors import UnsupportedStreamError
from vsr.video.containers import FORMATS, choose_container, default_suffix, holds_codec, plan_streams, suffix_of
from vsr.video.probe import probe

Make = Callable[..., films.Film]


def actions(path: Path, suffix: str, *drop: str) -> list[str]:
    return [plan.action for plan in plan_streams(probe(path), suffix, drop)]


@pytest.mark.parametrize("suffix", FORMATS)
def test_picture_and_sound_go_everywhere(suffix: str, film: films.Film) -> None:
    assert actions(film.path, suffix) == ["upscale", "copy"]


@pytest.mark.parametrize(
    ("suffix", "codecs"),
    [(".mp4", "h264 hevc av1"), (".mov", "h264 hevc prores"), (".mkv", "h264 hevc av1 prores ffv1")],
)
def test_which_codings_a_container_holds(suffix: str, codecs: str) -> None:
    held = {codec for codec in ("h264", "hevc", "av1", "prores") if holds_codec(FORMATS[suffix], codec)}
    assert held == set(codecs.split()) - {"ffv1"}


def test_a_coding_that_the_container_cannot_hold_is_refused(film: films.Film) -> None:
    info = probe(film.path)
    with pytest.raises(UnsupportedStreamError, match=r"\.mov cannot hold video coded as av1") as caught:
        plan_streams(info, ".mov", coding="av1")
    assert ".mp4" in (caught.value.hint or "")
    plan_streams(info, ".mp4", coding="av1")


@pytest.mark.parametrize(
    ("recipe", "name", "codec", "suffix"),
    [
        (films.plain, "film.mp4", "h264", ".mp4"),
        (films.plain, "film.mov", "h264", ".mov"),
        (films.plain, "film.mkv", "h264", ".mkv"),
        (films.webm, "film.webm", "h264", ".mkv"),
        (films.mpeg_ts, "film.ts", "h264", ".mp4"),
        (films.plain, "film.mov", "av1", ".mp4"),
        (films.plain, "film.mp4", "prores", ".mov"),
        (films.plain, "film.mp4", "ffv1", ".mkv"),
        (films.with_attachments, "film.mkv", "h264", ".mkv"),
        (films.with_attachments, "film.mkv", "prores", ".mkv"),
    ],
)
def test_the_container_nobody_named(
    recipe: Callable[..., films.Film], name: str, codec: str, suffix: str, make_film: Make
) -> None:
    assert choose_container(probe(make_film(recipe, name).path), codec) == suffix


def test_the_default_is_the_sources_kind(make_film: Make) -> None:
    assert default_suffix(probe(make_film(films.avi, "film.avi").path)) == ".mp4"
    assert default_suffix(probe(make_film(films.webm, "film.webm").path)) == ".mkv"


def test_everything_stays_in_matroska(make_film: Make) -> None:
    path = make_film(films.everything, "film.mkv").path
    assert actions(path, ".mkv") == ["upscale", *["copy"] * 5, "attach", "copy"]


def test_text_subtitles_are_converted_where_the_container_demands_it(make_film: Make) -> None:
    path = make_film(films.subtitled, "film.mkv").path
    plans = plan_streams(probe(path), ".mp4")
    assert [(plan.action, plan.target) for plan in plans[2:]] == [("convert", "mov_text")] * 3
    assert plans[2].describe()["reason"] == "mp4 keeps text subtitles as mov_text"
    assert actions(path, ".mkv")[2:] == ["copy"] * 3
    path = make_film(films.subtitled, "film.mp4").path
    (plan,) = plan_streams(probe(path), ".mkv")[2:]
    assert (plan.action, plan.target) == ("convert", "subrip")


def test_attachments_have_no_place_in_mp4(make_film: Make) -> None:
    info = probe(make_film(films.with_attachments, "film.mkv").path)
    with pytest.raises(UnsupportedStreamError, match="cannot hold attachment stream #2"):
        plan_streams(info, ".mp4")
    for drop in (("attachment",), ("2", "3")):
        plans = plan_streams(info, ".mp4", drop)
        assert [(plan.action, plan.reason) for plan in plans[2:]] == [("drop", "asked for")] * 2


@pytest.mark.parametrize(("name", "suffix", "action"), [("film.mp4", ".mp4", "copy"), ("film.mp4", ".mkv", "attach")])
def test_covers(name: str, suffix: str, action: str, make_film: Make) -> None:
    info = probe(make_film(films.with_cover, name).path)
    assert [plan.action for plan in plan_streams(info, suffix) if plan.stream.kind == "cover"] == [action]


def test_a_cover_has_no_place_in_quicktime(make_film: Make) -> None:
    info = probe(make_film(films.with_cover).path)
    with pytest.raises(UnsupportedStreamError, match=r"\.mov cannot hold cover stream"):
        plan_streams(info, ".mov")


@pytest.mark.parametrize("name", ["film.mp4", "film.mov"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_the_chapter_track_is_written_anew_not_copied(name: str, suffix: str, make_film: Make) -> None:
    assert actions(make_film(films.with_chapters, name).path, suffix) == ["upscale", "copy", "rebuild"]


def test_private_data_of_a_phone_needs_quicktime(material: Path) -> None:
    path = material / "clips" / "androidx-media" / "dolbyVision-hdr.MOV"
    assert actions(path, ".mov") == ["upscale", *["copy"] * 4]
    assert choose_container(probe(path), "h264") == ".mov"
    with pytest.raises(UnsupportedStreamError, match="cannot hold data stream #2"):
        actions(path, ".mp4")
    assert actions(path, ".mp4", "data") == ["upscale", "copy", *["drop"] * 3]


def test_a_container_for_the_coding_comes_before_one_for_the_data(material: Path) -> None:
    info = probe(material / "clips" / "androidx-media" / "dolbyVision-hdr.MOV")
    assert choose_container(info, "av1") == ".mp4"
    with pytest.raises(UnsupportedStreamError, match="cannot hold data stream #2"):
        plan_streams(info, ".mp4", coding="av1")


def test_data_that_nothing_holds_is_left_out_and_said(material: Path) -> None:
    info = probe(material / "clips" / "androidx-media" / "sample_scte35.ts")
    plans = plan_streams(info, ".mp4")
    assert (plans[2].action, plans[2].reason) == ("drop", "no output container can hold this kind of data")


def test_an_unknown_suffix_is_refused() -> None:
    assert suffix_of(Path("a/Film.MKV")) == ".mkv"
    with pytest.raises(UnsupportedStreamError, match=r"\.mp4, \.m4v, \.mov, \.mkv"):
        suffix_of(Path("film.avi"))


def test_all_that_has_no_place_is_named_at_once(make_film: Make) -> None:
    info = probe(make_film(films.with_attachments, "film.mkv").path)
    with pytest.raises(UnsupportedStreamError, match=r"attachment stream #2 .*, attachment stream #3") as caught:
        plan_streams(info, ".mp4")
    assert caught.value.hint == "-o NAME.mkv holds them; or leave them out with --drop 2 --drop 3"
    assert len(plan_streams(info, ".mp4", ("2", "3"))) == 4


def test_streams_of_another_program_are_left_out(make_film: Make) -> None:
    info = probe(make_film(films.two_programs, "film.ts").path)
    plans = plan_streams(info, ".mkv")
    assert [plan.action for plan in plans] == ["upscale", "drop"]
    assert plans[1].reason == "belongs to another program, with a clock of its own"


def test_sound_that_begins_too_late_to_be_known_is_said(make_film: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = films.Sound(codec="mp2", start=films.Fraction(6))
    film = make_film(films.mpeg_ts, "film.ts", times=192, options={"qp": "5"}, sounds=[sound])
    assert [plan.action for plan in plan_streams(probe(film.path), ".mkv")] == ["upscale", "copy"]
    monkeypatch.setattr("vsr.video.source.LATE_STREAMS_PROBE", films.SHORT_PROBE)
    with pytest.raises(UnsupportedStreamError, match="its parameters are not in the first 0 MB"):
        plan_streams(probe(film.path), ".mkv")
