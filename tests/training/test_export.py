"""Exported weights: what a run can be told from, and what other programs can load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

import trainings
from vsr.errors import TrainingError
from vsr.model.compact import Compact
from vsr.model.loading import load_model
from vsr.model.srresnet import SRResNet
from vsr.training.export import describe_origin, export_weights


def describe(folder: Path, generator: nn.Module) -> dict[str, str]:
    recipe = trainings.make_recipe(folder, licence="MIT")
    scores = {"Set5": {"psnr_y": 30.5, "ssim_y": 0.86}}
    return describe_origin(
        recipe, generator, data="abc", num_pictures=7, step=5, seconds=1.6, scores=scores
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("make", [lambda: Compact(8, 2, 3), lambda: SRResNet(8, 1, 1)], ids=["compact", "srresnet"])
def test_weights_come_back(tmp_path: Path, dtype: str, make):
    generator = make().to(memory_format=torch.channels_last).eval()
    path = tmp_path / "new folder" / "x.safetensors"
    export_weights(path, generator, describe(tmp_path, generator), dtype=dtype)
    network = load_model(path)
    assert network.licence == "MIT"
    frames = torch.rand(1, 3, 9, 7)
    tolerance = 1e-6 if dtype == "fp32" else 2e-2
    torch.testing.assert_close(network.module(frames), generator(frames), atol=tolerance, rtol=tolerance)


def test_header_is_text_and_complete(tmp_path: Path):
    generator = Compact(8, 2, 3)
    export_weights(tmp_path / "x.safetensors", generator, describe(tmp_path, generator))
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        header = file.metadata()
    assert json.loads(header["scores"]) == {"Set5": {"psnr_y": 30.5, "ssim_y": 0.86}}
    assert json.loads(header["recipe"])["data"]["patch"] == 8
    assert json.loads(header["network"])["num_features"] == 8
    assert (header["data"], header["num_pictures"], header["steps"], header["seconds"]) == ("abc", "7", "5", "2")
    assert (header["architecture"], header["scale"]) == ("SRVGGNetCompact", "3")


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path):
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(TrainingError, match=r"x\.safetensors"):
        export_weights(tmp_path / "x.safetensors", Compact(8, 2, 3), {})
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]
