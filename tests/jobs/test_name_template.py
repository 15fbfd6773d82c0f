from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.errors import SettingsError
from vsr.jobs.name_template import DEFAULT_TEMPLATE, FIELDS, NameTemplate, output_suffix

OUT = Path("/out")
VALUES = {
    "stem": "tape", "suffix": ".mkv", "folder": "a/b", "scale": 4.0, "preset": "film", "model": "fast", "number": 7,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DEFAULT_TEMPLATE, "a/b/tape_x4.mkv"),
        ("{stem}{suffix}", "tape.mkv"),
        ("{preset}/{stem}_{model}.mp4", "film/tape_fast.mp4"),
        ("{number:04}-{number} {{x}}.mov", "0007-7 {x}.mov"),
        ("x/../{stem}.mp4", "tape.mp4"),
    ],
)
def test_names_are_filled_in(text: str, expected: str) -> None:
    assert NameTemplate(text).make(OUT, **VALUES) == OUT / expected


def test_a_film_in_no_sub_folder_lies_in_the_output_folder_itself() -> None:
    assert NameTemplate(DEFAULT_TEMPLATE).make(OUT, **VALUES | {"folder": "", "scale": 1.5}) == OUT / "tape_x1.5.mkv"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{stme}{suffix}", "did you mean 'stem'"),
        ("{0}.mp4", "unknown field '0'"),
        ("{}.mp4", "unknown field ''"),
        ("{stem.__class__}.mp4", "unknown field"),
        ("{stem[0]}.mp4", "unknown field"),
        ("{stem", "expected '}'"),
        ("stem}", "'}'"),
        ("{stem:>100}.mp4", "stem has no such form"),
        ("{stem!r}.mp4", "stem has no such form"),
        ("{number:x}.mp4", "number has no such form"),
        ("{number:999999999}.mp4", "number has no such form"),
        ("{number:{number}}.mp4", "number has no such form"),
        ("", "empty"),
    ],
)
def test_a_template_that_makes_no_sense_is_refused_at_once(text: str, word: str) -> None:
    with pytest.raises(SettingsError) as caught:
        NameTemplate(text)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    "text", ["../{stem}.mp4", "/etc/{stem}.mp4", "a/../../{stem}.mp4", "..", "{stem}/../..", "{stem}", "{stem}.mp4/"]
)
def test_a_name_that_leaves_the_folder_or_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        NameTemplate(text).make(OUT, **VALUES)


@given(st.text(st.sampled_from("ab./ \0{}é"), max_size=12), st.text(st.sampled_from("ab. {}é"), min_size=1, max_size=6))
def test_no_template_and_no_film_lead_out_of_the_folder(text: str, stem: str) -> None:
    try:
        path = NameTemplate("{folder}/" + text + "{stem}.mp4").make(OUT, **VALUES | {"stem": stem})
    except SettingsError:
        return
    assert OUT in path.parents
    assert ".." not in path.parts
    assert path == Path(os.path.normpath(path))


def test_fields_are_told() -> None:
    assert NameTemplate("".join(f"{{{name}}}" for name in FIELDS)).fields == set(FIELDS)


@pytest.mark.parametrize(
    ("source", "codec", "expected"),
    [
        ("a.mp4", "h264", ".mp4"),
        ("a.M4V", "h264", ".mp4"),
        ("a.mov", "hevc", ".mov"),
        ("a.avi", "h264", ".mkv"),
        ("a.webm", "av1", ".mkv"),
        ("a", "h264", ".mkv"),
        ("a.mp4", "prores", ".mov"),
        ("a.mp4", "ffv1", ".mkv"),
        ("a.PNG", "ffv1", ".PNG"),
        ("a.heic", "h264", ".png"),
        ("a.gif", "h264", ".mkv"),
    ],
)
def test_the_ending_follows_from_name_and_codec(source: str, codec: str, expected: str) -> None:
    assert output_suffix(Path(source), codec) == expected
