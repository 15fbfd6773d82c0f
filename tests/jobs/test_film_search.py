from __future__ import annotations

from pathlib import Path

import pytest

from vsr.errors import SourceError
from vsr.jobs.film_search import fixed_part, is_pattern, match_films, walk_films


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose own name looks like a pattern, with films and with what is none."""
    folder = tmp_path / "films [1]*"
    for name in (
        "b.mkv", "a.MP4", "notes.txt", "photo.png", ".hidden.mp4", "x.mp4.part", "sub/c.avi", "sub/deep/d.ts",
        ".git/e.mp4", "a.mp4.part/segment.mkv",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "folder.mp4").mkdir()
    return folder


def names(folder: Path, found: object) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found]  # type: ignore[attr-defined]


def test_a_folder_has_the_films_that_it_shows(folder: Path) -> None:
    assert names(folder, walk_films(folder, recursive=False)) == ["a.MP4", "b.mkv"]
    assert names(folder, walk_films(folder, recursive=True)) == ["a.MP4", "b.mkv", "sub/c.avi", "sub/deep/d.ts"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a.MP4", "b.mkv"]),
        ("**/*", ["a.MP4", "b.mkv", "sub/c.avi", "sub/deep/d.ts"]),
        ("sub/**/*.ts", ["sub/deep/d.ts"]),
        ("[ab].*", ["a.MP4", "b.mkv"]),
        ("*.mp4", []),
        ("*.png", ["photo.png"]),
        ("*.p*", []),
        ("nowhere/*", []),
        ("sub/../*.mkv", ["b.mkv"]),
    ],
)
def test_a_pattern_has_what_is_called_like_a_film_or_ends_as_it_says(
    folder: Path, pattern: str, expected: list[str]
) -> None:
    assert names(folder, match_films(folder, pattern)) == expected


def test_an_absolute_pattern_begins_at_the_root(folder: Path, tmp_path: Path) -> None:
    assert names(folder, match_films(Path("/nowhere"), f"{tmp_path}/films*/*.mkv")) == ["b.mkv"]
    assert fixed_part(Path("/nowhere"), f"{tmp_path}/films*/*.mkv") == tmp_path


def test_the_fixed_part_ends_before_the_first_star(folder: Path) -> None:
    assert fixed_part(folder, "sub/**/*.ts") == folder / "sub"
    assert fixed_part(folder, "*.ts") == folder
    assert fixed_part(folder, "sub/c.avi") == folder / "sub"


def test_a_file_of_that_very_name_is_no_pattern(folder: Path) -> None:
    (folder / "c[1].mp4").touch()
    assert not is_pattern(folder, "c[1].mp4")
    assert is_pattern(folder, "c[2].mp4")
    assert not is_pattern(folder, "c.mp4")


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        list(walk_films(tmp_path / "nowhere", recursive=True))
