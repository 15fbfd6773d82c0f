from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vsr.errors import SettingsError, UsageError
from vsr.jobs.entry import Entry, list_jobs, merge_settings
from vsr.jobs.name_template import DEFAULT_TEMPLATE, NameTemplate


def entry(folder: Path, input: str, *, name: str = DEFAULT_TEMPLATE, output: str = "out", **values: Any) -> Entry:
    options = {"settings": {}} | values
    return Entry("film 1", folder, input, folder / output, NameTemplate(name), **options)


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def scale_of(model: str, scale: float | None) -> float:
    return scale or 4


def outputs(folder: Path, *entries: Entry, **options: Any) -> dict[str, str]:
    jobs = list_jobs(entries, scale_of, **options)
    return {job.source.relative_to(folder).as_posix(): job.output.relative_to(folder).as_posix() for job in jobs}


def test_folders_are_kept_below_the_output_folder(tmp_path: Path) -> None:
    make(tmp_path, "in/a.mp4", "in/sub/a.avi")
    expected = {"in/a.mp4": "out/a_x4.mp4", "in/sub/a.avi": "out/sub/a_x4.mkv"}
    assert outputs(tmp_path, entry(tmp_path, "in", is_recursive=True)) == expected
    assert outputs(tmp_path, entry(tmp_path, "in/**/*")) == expected


def test_names_know_settings_and_numbers(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    one = entry(
        tmp_path, "*.mp4", name="{number:02}_{preset}_{model}_{scale}{suffix}", settings={"scale": 2, "codec": "ffv1"}
    )
    assert list(outputs(tmp_path, one).values()) == ["out/01_fast_fast_2.mkv", "out/02_fast_fast_2.mkv"]


def test_a_scale_that_no_name_needs_is_not_asked_for(tmp_path: Path) -> None:
    def refuse(model: str, scale: float | None) -> float:
        raise AssertionError("asked")

    assert len(list_jobs([entry(tmp_path, "a.mp4", name="{stem}{suffix}")], refuse)) == 1


def test_earlier_outputs_are_no_inputs_unless_named(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "a_x4.mp4", "out/b.mp4")
    known = {tmp_path / "a_x4.mp4"}
    here = entry(tmp_path, "*.mp4", output=".", name="{stem}_x{scale}{suffix}")
    assert outputs(tmp_path, here, known_outputs=known) == {"a.mp4": "a_x4.mp4"}
    named = entry(tmp_path, "a_x4.mp4", output=".", name="{stem}_x{scale}{suffix}")
    assert outputs(tmp_path, named, known_outputs=known) == {"a_x4.mp4": "a_x4_x4.mp4"}
    # The output folder below the input's is not searched, whatever is in it.
    assert set(outputs(tmp_path, entry(tmp_path, "**/*.mp4"))) == {"a.mp4", "a_x4.mp4"}


def test_a_film_that_is_not_there_is_a_job_all_the_same(tmp_path: Path) -> None:
    """It fails, and is told of, with the others."""
    assert outputs(tmp_path, entry(tmp_path, "missing.mp4")) == {"missing.mp4": "out/missing_x4.mp4"}


def test_one_output_twice_is_refused_with_both_films(tmp_path: Path) -> None:
    make(tmp_path, "in/a/x.mp4", "in/b/x.mp4")
    with pytest.raises(UsageError) as caught:
        outputs(tmp_path, entry(tmp_path, "in/**/*", name="{stem}{suffix}"))
    assert "in/a/x.mp4" in caught.value.message
    assert "in/b/x.mp4" in caught.value.message


def test_an_output_that_is_an_input_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "a_x4.mp4")
    with pytest.raises(UsageError, match=r"a_x4\.mp4' is an input"):
        outputs(tmp_path, entry(tmp_path, "*.mp4", output="."))


def test_an_entry_without_films_is_said_and_a_batch_without_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    said: list[str] = []
    jobs = list_jobs([entry(tmp_path, "*.avi"), entry(tmp_path, "a.mp4")], scale_of, say=said.append)
    assert (len(jobs), said) == (1, ["film 1 names no film: *.avi"])
    with pytest.raises(UsageError, match="no film"):
        list_jobs([entry(tmp_path, "*.avi")], scale_of)


def test_the_particular_wins_over_the_general_and_a_value_over_its_preset(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('codec = "hevc"\ncrf = 30\nmodel = "film"\n')
    mine = str(tmp_path / "mine.toml")
    assert merge_settings([{"crf": 10, "tile": 64}, {"preset": mine}]) == (
        {"crf": 30, "tile": 64, "codec": "hevc", "model": "film"}, "mine",
    )  # fmt: skip
    assert merge_settings([{"preset": mine, "crf": 10}, {}, {"scale": 2}]) == (
        {"crf": 10, "codec": "hevc", "model": "film", "scale": 2}, "mine",
    )  # fmt: skip
    assert merge_settings([{}]) == ({}, None)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"crff": 3}, "did you mean 'crf'"),
        ({"crf": 300}, "crf"),
        ({"scale": True}, "scale True is not a number"),
        ({"preset": "flim"}, "'film'"),
        ({"preset": 3}, "preset 3"),
        ({"model": ["a"]}, "model"),
        ({"start": ["a"]}, "is not a time"),
        ({"drop": 5}, "wrong kind"),
        ({"device": "cpu"}, "--device"),
        ({"overwrite": True}, "--overwrite"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingsError) as caught:
        merge_settings([values])
    assert word in str(caught.value)
