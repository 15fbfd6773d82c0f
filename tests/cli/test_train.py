"""`vsr train` as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import trainings
from vsr.cli import main

Train = Callable[..., tuple[int, str, str]]


@pytest.fixture
def train(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """train("--json"): the tiny recipe on a few pictures into the folder `out`."""
    monkeypatch.setattr("vsr.model.speed._SIDE_CPU", 64)  # the machine's rate took longer than the training
    recipe = trainings.write_recipe(tmp_path)
    pictures = trainings.write_pictures(tmp_path / "pictures")

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        command = ["train", recipe, "--data", pictures, "--out", tmp_path / "out", "--device", "cpu", *words]
        try:
            status = main([str(word) for word in command])
        except SystemExit as exc:  # argparse leaves so
            status = int(exc.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return call


def test_json_is_one_object_on_stdout(train: Train, tmp_path: Path):
    status, out, err = train("--json")
    summary = json.loads(out)
    assert status == 0
    assert summary["steps"] == 6
    assert Path(summary["output"]) == tmp_path / "out" / "tiny.safetensors"
    promised = {"output", "steps", "seconds", "images_per_second", "data_wait", "matrix_share", "losses", "scores"}
    assert promised <= set(summary)
    assert "3 pictures" in err


def test_words_go_to_stderr_and_quiet_has_none(train: Train):
    status, out, err = train()
    assert (status, out) == (0, "")
    assert "tiny.safetensors: 6 steps" in err
    assert "images/s" in err
    assert "waited for data" in err
    assert train("--quiet", "--resume", "--set", "run.steps=7") == (0, "", "")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("--set", "stesp=3"), 2, "did you mean 'steps'?"),
        (("--set", "steps"), 2, "is not key=value"),
        (("--device", "cuda:99"), 1, "hint: "),
        (("--set", "run.pretrained=nowhere.pth"), 1, "nowhere.pth"),
        (("--data", "nowhere"), 1, "nowhere"),
    ],
)
def test_mistakes_are_named(train: Train, tmp_path: Path, words: tuple[str, ...], status: int, message: str):
    got, out, err = train(*words)
    assert (got, out) == (status, "")
    assert message in err
    assert not (tmp_path / "out").exists()


def test_another_run_is_refused_with_the_way_out(train: Train):
    assert train("--quiet")[0] == 0
    status, _, err = train()
    assert status == 1
    assert "--resume" in err


def test_ctrl_c_says_where_it_stands_and_how_to_go_on(train: Train, tmp_path: Path):
    command = [sys.executable, "-m", "vsr", "train", str(tmp_path / "tiny.toml"), "--data", str(tmp_path / "pictures")]
    command += ["--out", str(tmp_path / "out"), "--device", "cpu", "--set", "run.steps=1000000", "--set", "workers=1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 90
    while not (tmp_path / "out" / "losses.jsonl").is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in err
    assert "Traceback" not in err
    assert train("--quiet", "--resume")[0] == 0
