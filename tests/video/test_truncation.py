"""A film that was cut off is told from a whole one, although it decodes without an error."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

import films
from vsr.video.copier import Copier
from vsr.video.probe import probe
from vsr.video.reader import Damage
from vsr.video.truncation import find_truncation

Make = Callable[..., films.Film]


def look(path: Path) -> str | None:
    info = probe(path)
    copier = Copier(info)
    assert list(copier.packets_until(None, Fraction(0))) == []
    found = find_truncation(info, copier)
    copier.close()
    return found


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("film.mp4", films.plain),
        ("film.mov", films.plain),
        ("film.mkv", films.plain),
        ("film.webm", films.webm),
        ("film.flv", films.plain),
        ("film.avi", films.avi),
    ],
)
def test_films_cut_off(name: str, make: Callable[..., films.Film], make_film: Make) -> None:
    whole = make_film(make, f"whole{Path(name).suffix}", times=96)
    assert look(whole.path) is None
    cut = make_film(films.truncated, name, make=make, times=96)
    found = look(cut.path)
    assert found is not None
    assert "it seems cut off" in found
    assert ("s early" in found) or name.endswith(".avi")


def test_the_last_pictures_of_an_index_are_missed(make_film: Make) -> None:
    film = make_film(films.truncated, make=films.silent, keep=0.95, times=30)
    assert look(film.path) is not None


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (films.edit_list, "film.mp4"),
        (films.long_sound, "film.mp4"),
        (films.delayed_video, "film.mkv"),
        (films.no_duration, "film.webm"),
        (films.mpeg_ts, "film.ts"),
        (films.late_clock, "film.ts"),
        (films.mpeg_ps, "film.mpg"),
        (films.subtitled, "film.mkv"),
        (films.one_frame, "film.mp4"),
    ],
)
def test_whole_films(recipe: Callable[..., films.Film], name: str, make_film: Make) -> None:
    assert look(make_film(recipe, name).path) is None


def test_no_clip_is_taken_for_cut_off(material: Path) -> None:
    from vsr.errors import SourceError

    num_seen = 0
    for path in sorted((material / "clips").glob("*/*")):
        try:
            found = look(path)
        except SourceError:
            continue
        num_seen += 1
        assert found is None, path.name
    assert num_seen > 80


def test_a_film_cut_off_is_damaged() -> None:
    damage = Damage(cut_off="the file ends 2.0 s early: it seems cut off")
    assert damage.is_lossy()
    assert damage.describe() == ["the file ends 2.0 s early: it seems cut off"]


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4", "film.flv"])
def test_films_that_start_late_are_whole(name: str, make_film: Make) -> None:
    assert look(make_film(films.silent, name, times=films.constant(48, start=5)).path) is None


def test_matroska_that_lacks_less_than_a_second_is_told_by_its_size(tmp_path) -> None:
    """Where no duration helps: the one large element is shorter than it says."""
    whole = films.plain(tmp_path / "whole.mkv")
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.path.read_bytes()[:-200])
    for path, words in ((whole.path, None), (cut, "200 bytes early")):
        info = probe(path)
        copier = Copier(info)
        list(copier.packets_until(None, Fraction(0)))
        copier.close()
        found = find_truncation(info, copier)
        assert (found is None) if words is None else (found is not None and words in found)
