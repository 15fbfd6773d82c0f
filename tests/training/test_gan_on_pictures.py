"""A GAN recipe on real pictures, from recipe to exported weights: both networks learn, and neither runs away."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import trainings
from vsr.model.loading import load_model
from vsr.training.loop import train
from vsr.training.pictures import load_pairs
from vsr.training.recipe_file import load_recipe

RECIPE = """
[network]
architecture = "compact"
num_features = 16
num_conv = 4
scale = 4
[data]
patch = 16
batch = 8
patches_per_sheet = 4
[loss]
pixel_weight = 1.0
perceptual_weight = 0.1
perceptual_weights = "random"
perceptual_layers = { conv1_2 = 1.0 }
color_weight = 1.0
adversarial = "standard"
adversarial_weight = 0.02
[discriminator]
kind = "unet"
num_features = 8
learning_rate = 1e-3
[optimizer]
learning_rate = 2e-4
ema = 0.9
[run]
steps = 60
workers = 0
log_every = 1
checkpoint_every = 30
validate_every = 0
tensorboard = false
"""


@pytest.mark.slow
def test_a_gan_trains_on_real_pictures(material: Path, tmp_path: Path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted((material / "train" / "part1").glob("cid22_512_*"))[:12]:
        (folder / path.name).symlink_to(path)
    recipe = load_recipe(str(trainings.write_recipe(tmp_path, RECIPE, "game")))
    summary = train(recipe, [folder], tmp_path / "out", device="cpu")
    assert summary is not None
    assert summary.skipped == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "losses.jsonl").read_text().splitlines()]
    assert len(lines) == 60
    assert all(math.isfinite(value) for line in lines for value in line.values())

    def means(name: str) -> list[float]:
        """Over ten steps each."""
        values = [line[name] for line in lines]
        return [statistics.fmean(values[at : at + 10]) for at in range(0, 60, 10)]

    # Pictures get better.
    assert means("pixel")[-1] < 0.9 * means("pixel")[0]
    assert means("perceptual")[-1] < 0.9 * means("perceptual")[0]
    # First the judge learns what gives made pictures away (2 log 2 is what guessing costs it)...
    judge, deceit = means("discriminator"), means("adversarial")
    best = judge.index(min(judge))
    assert judge[best] < 0.8 * 2 * math.log(2)
    assert means("real")[best] > means("fake")[best] + 0.5
    # ... but does not win for good: the generator answers, and neither loss runs away.
    assert min(judge) > 0.05
    assert judge[-1] > judge[best]
    assert deceit[-1] < max(deceit)
    assert max(judge + deceit) < 10

    states = [
        torch.load(tmp_path / "out" / "checkpoints" / f"step-{step:09d}.pt", weights_only=True) for step in (30, 60)
    ]
    generators = [state["generator"] for state in states]
    judges = [state["stage"]["discriminator_weights"] for state in states]
    for before, after in (generators, judges):
        moved = [key for key in before if not torch.equal(before[key], after[key])]
        assert moved == list(before), "every tensor learns"

    network = load_model(summary.output)
    check_colours(network.module, load_pairs(folder, 4))


@torch.no_grad()
def check_colours(network: Callable[[torch.Tensor], torch.Tensor], pairs: object) -> None:
    """Output and input tell the same colours, box by box, and the output is a picture of the same thing."""
    for _, low_CHW, high_CHW in list(pairs)[:3]:  # type: ignore[call-overload]
        low_BCHW, high_BCHW = low_CHW[None, :, :64, :64], high_CHW[None, :, :256, :256]
        output_BCHW = network(low_BCHW).clamp(0, 1)
        assert (F.avg_pool2d(output_BCHW, 32) - F.avg_pool2d(low_BCHW, 8)).abs().max() < 0.05
        assert (output_BCHW - high_BCHW).abs().mean() < 0.1
