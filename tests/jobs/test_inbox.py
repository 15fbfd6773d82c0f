"""Which files are work, and where each goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.errors import UsageError
from vsr.jobs.inbox import Inbox, Kind, free_name

ROOT = Path("/in")


@pytest.fixture
def inbox() -> Inbox:
    return Inbox(ROOT, Path("/in/larger"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.mp4", Kind.WORK),
        ("A.MKV", Kind.WORK),
        ("sub/b.png", Kind.WORK),
        ("sub/done/c.mp4", Kind.WORK),  # `done` is ours in the inbox itself alone
        ("a.txt", Kind.STRANGE),
        ("a", Kind.STRANGE),
        ("preset.toml", Kind.PASSED_OVER),
        ("sub/preset.toml", Kind.PASSED_OVER),
        (".a.mp4", Kind.PASSED_OVER),
        ("a.mp4.part", Kind.PASSED_OVER),
        ("a.mp4.crdownload", Kind.PASSED_OVER),
        ("~a.mp4", Kind.PASSED_OVER),
        ("done/a.mp4", Kind.PASSED_OVER),
        ("failed/sub/a.mp4", Kind.PASSED_OVER),
        (".vsr/lock", Kind.PASSED_OVER),
        (".sync/a.mp4", Kind.PASSED_OVER),
        ("larger/a.mp4", Kind.PASSED_OVER),  # the outbox lies within
    ],
)
def test_judge(name: str, kind: Kind, inbox: Inbox):
    assert inbox.judge(ROOT / name) is kind


def test_outputs_must_not_come_back_in():
    for outbox in (ROOT, ROOT / "done", ROOT / "failed" / "sub", ROOT / ".vsr"):
        with pytest.raises(UsageError, match="cannot take the outputs as well"):
            Inbox(ROOT, outbox)


def test_places(inbox: Inbox):
    film = ROOT / "sub" / "a.part1.avi"
    assert inbox.output_of(film, ".mp4") == Path("/in/larger/sub/a.part1.mp4")
    assert inbox.output_of(film, None) == Path("/in/larger/sub/a.part1.avi")
    assert inbox.kept_at(film, inbox.done) == Path("/in/done/sub/a.part1.avi")
    assert inbox.name(film) == "sub/a.part1.avi"


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ({"/in/preset.toml", "/in/sub/preset.toml"}, "/in/sub/preset.toml"),
        ({"/in/preset.toml", "/in/other/preset.toml"}, "/in/preset.toml"),
        ({"/preset.toml"}, None),
    ],
)
def test_nearest_preset(there: set[str], found: str | None, inbox: Inbox):
    preset = inbox.find_preset(ROOT / "sub" / "deep" / "a.mp4", lambda path: str(path) in there)
    assert preset == (found and Path(found))


@given(st.sets(st.integers(1, 12)))
def test_free_name_is_the_first_that_is_free(numbers: set[int]):
    taken = {Path("a.mp4") if number == 1 else Path(f"a_{number}.mp4") for number in numbers}
    name = free_name(Path("a.mp4"), taken.__contains__)
    first = next(number for number in range(1, 14) if number not in numbers)
    assert name == (Path("a.mp4") if first == 1 else Path(f"a_{first}.mp4"))


def test_names_are_none_that_no_disk_could_hold(inbox: Inbox):
    film = ROOT / f"{'ä' * 126}.ts"
    assert inbox.output_of(film, ".mkv").name == f"{'ä' * 125}.mkv"
    assert free_name(film, {film}.__contains__).name == f"{'ä' * 125}_2.ts"
