"""The key of an engine changes with every part of it, and a file is read only if it is whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vsr.model.catalog import cache_folder
from vsr.model.tensorrt_cache import EngineKey, engine_path, read_plan, write_plan
from vsr.model.tensorrt_profile import ShapeProfile

KEY = EngineKey(
    model_sha256="00",
    precision="fp16",
    input_type="float32",
    output_type="float32",
    profile=ShapeProfile((1, 1, 1), (1, 540, 960), (2, 1080, 1920)),
    workspace_bytes=1 << 30,
    optimisation_level=3,
    num_aux_streams=0,
    tensorrt_version="10.12.0",
    gpu_name="a GPU",
)

CHANGES = {
    "model_sha256": "01",
    "precision": "fp32",
    "input_type": "float16",
    "output_type": "float16",
    "workspace_bytes": 2 << 30,
    "optimisation_level": 5,
    "num_aux_streams": 1,
    "tensorrt_version": "10.13.0",
    "gpu_name": "another GPU",
}

PROFILES = [
    ShapeProfile((1, 1, 2), (1, 540, 960), (2, 1080, 1920)),
    ShapeProfile((1, 1, 1), (2, 540, 960), (2, 1080, 1920)),
    ShapeProfile((1, 1, 1), (1, 540, 960), (2, 1080, 1921)),
]


def test_every_part_has_its_change_here() -> None:
    assert {field.name for field in dataclasses.fields(EngineKey)} == {*CHANGES, "profile"}


def test_any_change_of_any_part_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path))
    changed = [dataclasses.replace(KEY, **{name: value}) for name, value in CHANGES.items()]
    changed += [dataclasses.replace(KEY, profile=profile) for profile in PROFILES]
    paths = {engine_path(key) for key in (KEY, *changed)}
    assert len(paths) == 1 + len(CHANGES) + len(PROFILES)
    assert {path.parent for path in paths} == {cache_folder() / "tensorrt"}


def test_the_same_parts_are_the_same_file_in_every_process() -> None:
    assert KEY.digest == "17a3960622f9fb1769b61821b307efa22c73f495c80be54a2188d306efc36065"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.engine"
    write_plan(path, b"one")
    assert read_plan(path) == b"one"
    write_plan(path, b"another")
    assert read_plan(path) == b"another"
    assert list(path.parent.iterdir()) == [path]


def test_every_cut_and_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.engine"
    write_plan(path, b"plan")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert read_plan(path) is None, length
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert read_plan(path) is None, place
    path.write_bytes(whole + b"x")
    assert read_plan(path) is None


def test_what_is_not_there_or_no_file_is_not_read(tmp_path: Path) -> None:
    assert read_plan(tmp_path / "none.engine") is None
    assert read_plan(tmp_path) is None


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.engine"
    write_plan(path, b"old")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_plan(path, b"new")
    assert read_plan(path) == b"old"
    assert list(tmp_path.iterdir()) == [path]
