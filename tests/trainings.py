"""Small trainings for the tests: pictures drawn on the spot, and a recipe that takes no time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vsr.training.recipe import Recipe
from vsr.training.recipe_file import load_recipe

__all__ = ["make_recipe", "write_pictures", "write_recipe"]

RECIPE = """
[network]
num_features = 8
num_conv = 1
scale = 2
[data]
patch = 8
batch = 4
patches_per_sheet = 2
[optimizer]
learning_rate = 3e-3
ema = 0.9
[run]
steps = 6
workers = 0
log_every = 1
checkpoint_every = 3
validate_every = 0
tensorboard = false
"""


def write_pictures(folder: Path, count: int = 3, *, side: int = 64, seed: int = 0) -> Path:
    """PNG files of smooth random colours with sharp edges, so that there is something to learn."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    for number in range(count):
        a, b, c = random.uniform(2, 9, 3)
        waves = np.stack([np.sin(a * x + b * y), np.sin(b * x - c * y), np.cos(c * x * y)], -1)
        picture = np.where((x * a + y * b)[..., None] % 1 < 0.5, waves, -waves) * 100 + 127
        Image.fromarray(picture.round().astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def write_recipe(folder: Path, text: str = RECIPE, name: str = "tiny") -> Path:
    """The recipe as a file."""
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def make_recipe(folder: Path, **overrides: object) -> Recipe:
    """The recipe with other values: make_recipe(folder, **{"run.steps": 3})."""
    return load_recipe(str(write_recipe(folder)), {key: str(value) for key, value in overrides.items()})
