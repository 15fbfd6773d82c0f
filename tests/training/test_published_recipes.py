"""The recipes of the papers as they come, on networks and patches shrunk to nothing: each starts, learns, exports."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import trainings
from vsr.training.loop import train
from vsr.training.recipe_file import load_recipe

TINY = {
    "data.batch": "2", "data.patches_per_sheet": "1", "run.steps": "2", "run.workers": "0", "run.log_every": "1",
    "run.tensorboard": "false",
}  # fmt: skip
GAN = {"discriminator.num_features": "2", "loss.perceptual_weights": "random"}
GAN_TERMS = ["perceptual", "adversarial", "real", "fake", "discriminator"]


@pytest.mark.parametrize(
    ("name", "architecture", "changes", "terms"),
    [
        ("psnr", "RRDBNet", {"num_blocks": "1", "growth": "4", "patch": "8"}, ["pixel"]),
        ("esrgan", "RRDBNet", {"num_blocks": "1", "growth": "4", "patch": "8", **GAN}, ["pixel", *GAN_TERMS]),
        ("srgan", "SRResNet", {"num_blocks": "1", "patch": "8", **GAN}, GAN_TERMS),
        ("realesrgan", "RRDBNet", {"num_blocks": "1", "growth": "4", "patch": "8", **GAN}, ["pixel", *GAN_TERMS]),
        ("compact", "SRVGGNetCompact", {"num_conv": "1", "patch": "8"}, ["pixel"]),
    ],
)
def test_it_starts_and_learns(tmp_path: Path, name: str, architecture: str, changes: dict[str, str], terms: list[str]):
    recipe = load_recipe(name, {**TINY, "network.num_features": "4", **changes})
    pictures = trainings.write_pictures(tmp_path / "pictures", side=48)
    said: list[str] = []
    summary = train(recipe, [pictures], tmp_path / "out", device="cpu", say=said.append)
    assert summary is not None
    assert (summary.steps, summary.skipped) == (2, 0)
    lines = [json.loads(line) for line in (tmp_path / "out" / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    for line in lines:
        assert list(line) == ["step", *terms, "skipped", "rate"]
        assert all(math.isfinite(line[term]) for term in terms)
    assert any("RANDOM features" in line for line in said) == ("perceptual" in terms)
    with safe_open(summary.output, framework="pt") as file:
        assert file.metadata()["architecture"] == architecture
        assert all(torch.isfinite(file.get_tensor(key)).all() for key in file.keys())  # noqa: SIM118
