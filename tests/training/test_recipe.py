"""Recipes: those of the package, what `--set` means, what is refused, and what may change when a run is resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import trainings
from vsr.errors import SettingsError
from vsr.settings import presets_folder
from vsr.training.generators import build_generator
from vsr.training.recipe import find_differences
from vsr.training.recipe_file import list_recipes, load_recipe

FOLDER = presets_folder()


def test_the_promised_recipes_are_there():
    assert {f"train-{name}" for name in ("psnr", "esrgan", "srgan", "realesrgan", "compact")} <= set(list_recipes())


@pytest.mark.parametrize("name", list_recipes())
def test_recipe_is_read_explained_and_json(name: str):
    recipe = load_recipe(name)
    assert recipe.name == name.removeprefix("train-")
    assert (FOLDER / f"{name}.toml").read_text(encoding="utf-8").startswith("# ")
    assert 10 < len(recipe.description) <= 120
    assert json.loads(json.dumps(recipe.as_dict())) == recipe.as_dict()
    assert find_differences(recipe.as_dict(), load_recipe(recipe.name).as_dict()) == []


def test_esrgan_is_as_in_the_paper():
    recipe = load_recipe("train-esrgan")
    loss = recipe.loss
    assert (loss.pixel_weight, loss.perceptual_weight, loss.adversarial_weight) == (1e-2, 1.0, 5e-3)
    assert (loss.pixel, loss.adversarial, dict(loss.perceptual_layers)) == ("l1", "relativistic", {"conv5_4": 1.0})
    assert recipe.optimizer.milestones == (50_000, 100_000, 200_000, 300_000)
    assert (recipe.data.batch, recipe.data.patch * recipe.network.scale) == (16, 128)
    num_parameters = sum(parameter.numel() for parameter in build_generator(recipe.network).parameters())
    assert num_parameters == 16_697_987


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"run.steps": "7"}, 7),
        ({"steps": "1_000"}, 1000),
    ],
)
def test_set_takes_dotted_and_plain_keys(tmp_path: Path, words: dict[str, str], expected: int):
    assert load_recipe(str(trainings.write_recipe(tmp_path)), words).run.steps == expected


def test_set_reads_values_of_every_kind(tmp_path: Path):
    recipe = trainings.make_recipe(
        tmp_path,
        **{
            "optimizer.learning_rate": "1", "milestones": "[3, 4]", "schedule": "multistep", "validation": "a/Set5,b",
            "pretrained": "fast", "compile": "false", "perceptual_layers": "{conv1_2 = 0.5}", "betas": "0.8,0.9",
            "discriminator.learning_rate": "2e-4",
        },
    )  # fmt: skip
    assert (recipe.optimizer.learning_rate, recipe.optimizer.milestones) == (1.0, (3, 4))
    assert (recipe.data.validation, recipe.run.pretrained) == (("a/Set5", "b"), "fast")
    assert (recipe.run.compile, recipe.optimizer.betas) == (False, (0.8, 0.9))
    assert (dict(recipe.loss.perceptual_layers), recipe.discriminator.learning_rate) == ({"conv1_2": 0.5}, 2e-4)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ({"run.stesp": "7"}, "no key 'stesp'", "did you mean 'steps'?"),
        ({"rum.steps": "7"}, "no table 'rum'", "did you mean 'run'?"),
        ({"stesp": "7"}, "no such key", "did you mean 'steps'?"),
        ({"learning_rate": "7"}, "several tables", "discriminator.learning_rate or optimizer.learning_rate"),
        ({"num_features": "7"}, "several tables", "network.num_features or discriminator.num_features"),
        ({"run.steps": "many"}, "run.steps 'many'", "int is wanted"),
        ({"run.steps": "0"}, "run.steps 0", None),
        ({"run.steps": "true"}, "run.steps True", "int is wanted"),
        ({"run.compile": "1"}, "run.compile 1", "bool is wanted"),
        ({"run.precision": "fp8"}, "fp8", None),
        ({"optimizer.ema": "1"}, "optimizer.ema", "0 (none)"),
        ({"adversarial_weight": "1"}, "needs a discriminator", "discriminator.kind"),
        ({"discriminator.kind": "unet"}, "has no say", "loss.adversarial_weight"),
        ({"accumulate": "3"}, "does not divide", None),
        ({"schedule": "multistep"}, "no milestones", "optimizer.milestones"),
        ({"pixel_weight": "0"}, "nothing to learn", "loss.pixel_weight"),
        ({"run.name": "a/b"}, "no file name", None),
        ({"optimizer.learning_rate": "nan"}, "optimizer.learning_rate nan", None),
        ({"optimizer.learning_rate": "0"}, "optimizer.learning_rate 0.0", None),
        ({"discriminator.learning_rate": "inf"}, "discriminator.learning_rate inf", None),
        ({"optimizer.clip": "inf"}, "optimizer.clip inf", None),
        ({"network.architecture": "unet"}, "unet", None),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, words: dict[str, str], message: str, hint: str | None):
    with pytest.raises(SettingsError) as caught:
        load_recipe(str(trainings.write_recipe(tmp_path)), words)
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[netwrok]\nscale = 4", "unknown table [netwrok]", "did you mean 'network'?"),
        ("[network]\nscala = 4", "unknown key 'scala'", "did you mean 'scale'?"),
        ("run = 4", "run is a table", "[run]"),
        ("patch = 48", "'patch' stands outside of its table", "below [data]"),
        ("[run", "cannot be read", None),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, text: str, message: str, hint: str | None):
    with pytest.raises(SettingsError) as caught:
        load_recipe(str(trainings.write_recipe(tmp_path, text)))
    assert message in caught.value.message
    assert "tiny.toml" in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(SettingsError, match="no recipe 'train-esgran'") as caught:
        load_recipe("train-esgran")
    assert "train-esrgan" in str(caught.value.hint)
    with pytest.raises(SettingsError, match="no recipe file"):
        load_recipe("nowhere/x.toml")


def test_only_what_changes_the_losses_keeps_a_run_from_going_on(tmp_path: Path):
    old = trainings.make_recipe(tmp_path).as_dict()

    def differences(**changes: object) -> list[str]:
        return find_differences(old, trainings.make_recipe(tmp_path, **changes).as_dict())

    assert differences(**{"workers": 2, "minutes": 3, "keep": 9, "steps": 100, "validation": "x"}) == []
    assert differences(**{"optimizer.learning_rate": 1e-3}) == ["optimizer.learning_rate: 0.003 -> 0.001"]
    assert differences(**{"schedule": "cosine", "steps": 7}) == [
        'optimizer.schedule: "constant" -> "cosine"',
        "run.steps: 6 -> 7",  # where a cosine ends is part of it
    ]


def test_a_key_of_a_later_version_counts_as_its_default(tmp_path: Path):
    recipe = trainings.make_recipe(tmp_path).as_dict()
    old = {**recipe, "loss": {key: value for key, value in recipe["loss"].items() if key != "luma_weight"}}
    assert find_differences(old, recipe) == []
    changed = trainings.make_recipe(tmp_path, luma_weight=0.5).as_dict()
    assert find_differences(old, changed) == ["loss.luma_weight: 0.0 -> 0.5"]
