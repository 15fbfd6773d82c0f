"""What the tests of the bench share: a small clip, a small task, a quick matrix product."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from vsr.bench.clip import draw_pictures
from vsr.bench.rgb import write_rgb
from vsr.bench.task import Coding, Task
from vsr.settings import Settings

NUM_FRAMES, WIDTH, HEIGHT = 4, 40, 30
CODING = Coding("libx264", {"crf": "18", "preset": "ultrafast"}, "yuv420p", "25")


@pytest.fixture(autouse=True)
def quick_matrix_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small product stands for the machine's rate."""
    monkeypatch.setattr("vsr.model.speed._SIDE_CPU", 64)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Four frames of 40x30, H.264 without loss of note."""
    path = tmp_path / "clip.mkv"
    write_rgb(path, draw_pictures(NUM_FRAMES, WIDTH, HEIGHT), Coding("libx264", {"crf": "1"}, "yuv444p", "25"))
    return path


@pytest.fixture
def task(clip: Path, tiny_weights: Path, tmp_path: Path) -> Task:
    """The clip through the tiny network on the CPU, with PyAV at the ends of the plain loop."""
    weights = tmp_path / "plain.safetensors"
    save_file(load_file(tiny_weights), weights)
    settings = Settings(model=str(tiny_weights), device="cpu", crf=18, encoder_preset="ultrafast")
    return Task(str(clip), WIDTH, HEIGHT, str(weights), "cpu", CODING, False, asdict(settings))
