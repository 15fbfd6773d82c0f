"""`vsr evaluate` and `vsr models blend` as a user meets them."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import films
import networks

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pictures"
    place.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (6, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 36), Image.Resampling.BICUBIC).save(place / f"{number}.png")
    return place


def test_a_table_goes_to_stdout(run: Run, folder: Path, tiny_weights: Path) -> None:
    status, out, err = run("evaluate", folder, "--model", "bicubic", "--model", tiny_weights, "--device", "cpu")
    assert (status, err) == (0, "")
    head, titles, *rows = out.splitlines()
    assert head == "x4, matlab bicubic input, border 4, fp32 on cpu"
    assert titles.split("  ")[0] == "data"
    assert [row.split()[3] for row in rows] == ["bicubic", "tiny-x4"]
    assert all(len(row.split()) == 8 for row in rows)
    verbose = run("evaluate", folder, "--model", "bicubic", "--verbose")[1]
    assert [line.split()[0] for line in verbose.splitlines()[-2:]] == ["0", "1"]


def test_json_holds_every_picture(run: Run, folder: Path) -> None:
    status, out, _ = run("evaluate", folder, "--model", "nearest", "--noise", 3, "--crf", 30, "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["conditions"] == {
        "scale": 4, "kernel": "matlab", "border": 4, "noise": 3.0, "crf": 30, "seed": 0,
    }  # fmt: skip
    [data] = facts["data"]
    assert (data["name"], data["kind"], data["count"], data["skipped"]) == ("pictures", "pictures", 2, [])
    [model] = data["models"]
    assert [picture["name"] for picture in model["pictures"]] == ["0", "1"]
    mean = sum(picture["psnr_y"] for picture in model["pictures"]) / 2
    assert model["psnr_y"] == pytest.approx(mean, abs=1e-4)
    assert facts["models"] == [{"model": "nearest", "architecture": "imresize, nearest", "parameters": 0}]


def test_films_and_sequences_tell_of_flicker(run: Run, film: films.Film, folder: Path) -> None:
    status, out, _ = run("evaluate", film.path, "--scale", 2, "--model", "bicubic", "--frames", 3, "--json")
    [data] = json.loads(out)["data"]
    assert status == 0
    assert (data["kind"], data["count"]) == ("film", 3)
    assert data["models"][0]["temporal_difference"] >= 0
    out = run("evaluate", folder, "--sequence", "--model", "bicubic")[1]
    assert "flicker" in out
    assert "(2 frames)" in out


def test_what_is_left_out_is_named_and_status_1(run: Run, folder: Path, tmp_path: Path) -> None:
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    status, out, err = run("evaluate", folder, "--model", "nearest")
    assert status == 1
    assert "(2 pictures)" in out
    assert "bad.png" in err
    assert "2 out of 3" in err
    status, out, err = run("evaluate", tmp_path / "missing", folder, "--model", "nearest", "--json")
    assert status == 1
    assert "missing" in err
    assert [data["name"] for data in json.loads(out)["data"]] == ["pictures"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "nothing to evaluate"),
        (["--time", "--model", "bicubic"], "filters are not timed"),
        (["DATA", "--kernel", "cubic"], "cubic"),
        (["DATA", "--scale", "0"], "scale 0"),
        (["DATA", "--crf", "70"], "crf 70"),
        (["DATA", "--low", "a", "--low", "b"], "--low"),
        (["DATA", "--frames", "0"], "--frames"),
        ([""], "empty"),
    ],
)
def test_wrong_usage_is_status_2(run: Run, folder: Path, arguments: list[str], word: str) -> None:
    status, out, err = run("evaluate", *(folder if argument == "DATA" else argument for argument in arguments))
    assert (status, out) == (2, "")
    assert word in err


def test_an_unknown_model_is_status_1(run: Run, folder: Path) -> None:
    status, _, err = run("evaluate", folder, "--model", "bicubik")
    assert status == 1
    assert "bicubik" in err


def test_time_alone_measures_networks(run: Run, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.model.speed.NUM_WARM_UP", 1)
    status, out, _ = run("evaluate", "--time", "--model", tiny_weights, "--device", "cpu")
    assert status == 0
    assert "480x270" in out
    assert "tiny-x4" in out


def test_outputs_are_kept(run: Run, folder: Path, tmp_path: Path) -> None:
    arguments = ("evaluate", folder, "--model", "bicubic", "--save", tmp_path / "out")
    assert run(*arguments)[0] == 0
    assert (tmp_path / "out" / "pictures" / "bicubic" / "1.png").is_file()
    status, _, err = run(*arguments)
    assert status == 1
    assert "--overwrite" in err
    assert run(*arguments, "--overwrite")[0] == 0


def test_data_of_one_name_are_told_apart(run: Run, folder: Path, tmp_path: Path) -> None:
    """However alike their paths end, and if the same comes twice: the outputs lie apart."""
    places = [tmp_path / top / "same" / "pictures" for top in ("x", "y")]
    for place in places:
        shutil.copytree(folder, place)
    arguments = ("evaluate", *places, folder, folder, "--model", "nearest", "--save", tmp_path / "out", "--json")
    status, out, _ = run(*arguments)
    assert status == 0
    names = [data["name"] for data in json.loads(out)["data"]]
    own = f"{tmp_path.name}/pictures"
    assert names == ["x/same/pictures", "y/same/pictures", own, f"{own}#2"]
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_frames_are_of_films(run: Run, folder: Path) -> None:
    status, out, err = run("evaluate", folder, "--model", "nearest", "--frames", 1)
    assert status == 0
    assert "(2 pictures)" in out
    assert "--frames is of films" in err
    assert "(1 frame)" in run("evaluate", folder, "--model", "nearest", "--frames", 1, "--sequence")[1]


def test_an_interrupted_evaluation_says_what_is_kept(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vsr.evaluation.pictures.compare", interrupt)
    arguments = ("evaluate", folder, "--model", "nearest")
    assert run(*arguments)[0] == 130
    status, out, err = run(*arguments, "--save", tmp_path / "kept")
    assert (status, out) == (130, "")
    assert str(tmp_path / "kept") in err
    assert "nothing is left" not in err


def test_equal_pictures_are_valid_json(run: Run, tmp_path: Path) -> None:
    """Their PSNR is infinite, which JSON has no word for."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(tmp_path / "flat.png")
    out = run("evaluate", tmp_path / "flat.png", "--model", "nearest", "--json")[1]
    assert json.loads(out, parse_constant=refuse)["data"][0]["models"][0]["psnr_y"] is None


def test_given_low_pictures(run: Run, folder: Path, tmp_path: Path) -> None:
    low = tmp_path / "low"
    low.mkdir()
    for path in folder.iterdir():
        with Image.open(path) as picture:
            picture.resize((10, 9), Image.Resampling.BICUBIC).save(low / path.name)
    given = json.loads(run("evaluate", folder, "--low", low, "--model", "bicubic", "--json")[1])
    made = json.loads(run("evaluate", folder, "--kernel", "pillow", "--model", "bicubic", "--json")[1])
    # Pillow rounds after each axis, which costs a level here and there.
    figures = [facts["data"][0]["models"][0]["psnr_rgb"] for facts in (given, made)]
    assert figures[0] == pytest.approx(figures[1], abs=0.05)


# --- models blend ---


def test_blend_writes_a_network_that_loads(run: Run, tmp_path: Path, tiny_weights: Path) -> None:
    other = networks.write_compact(tmp_path / "other.safetensors", seed=1)
    output = tmp_path / "mixed.safetensors"
    arguments = ("models", "blend", tiny_weights, other, "--alpha", 0.8, "-o", output)
    status, out, err = run(*arguments)
    assert (status, out) == (0, f"{output}\n")
    assert "0.2 of tiny-x4 and 0.8 of other" in err
    assert json.loads(run("models", "info", output, "--json")[1])["scale"] == 4
    before = output.read_bytes()
    status, _, err = run(*arguments[:4], "--alpha", 0.1, "-o", output)
    assert status == 1
    assert "exists already" in err
    assert output.read_bytes() == before
    assert run(*arguments[:4], "--alpha", 0.1, "-o", output, "--overwrite")[0] == 0
    assert output.read_bytes() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mixed.safetensors", "other.safetensors"]


def test_a_blend_that_fails_leaves_nothing(run: Run, tmp_path: Path, tiny_weights: Path) -> None:
    other = networks.write_compact(tmp_path / "other.safetensors", num_features=16)
    for second, alpha, name, status, word in (
        (other, 0.5, "out.safetensors", 1, "layers differ"),
        (tiny_weights, 2, "out.safetensors", 2, "alpha"),
        (tmp_path / "missing.pth", 2, "out.safetensors", 2, "alpha"),  # before networks are fetched
        (tiny_weights, 0.5, "out.pth", 1, ".safetensors"),
        (tiny_weights, 0.5, "nowhere/out.safetensors", 1, "nowhere"),
        (tmp_path / "missing.pth", 0.5, "out.safetensors", 1, "missing.pth"),
    ):
        got, _, err = run("models", "blend", tiny_weights, second, "--alpha", alpha, "-o", tmp_path / name)
        assert got == status, err
        assert word in err
    assert [path.name for path in tmp_path.iterdir()] == ["other.safetensors"]


def test_a_blend_that_cannot_be_written_names_its_own_file(
    run: Run, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("vsr.model.blending.os.fsync", fail)
    output = tmp_path / "out.safetensors"
    status, _, err = run("models", "blend", tiny_weights, tiny_weights, "--alpha", 0.5, "-o", output)
    assert status == 1
    assert f"'{output}' cannot be written: {os.strerror(errno.ENOSPC)}" in err
    assert "-o" in err
    assert not list(tmp_path.iterdir())
