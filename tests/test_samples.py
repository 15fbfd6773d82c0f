"""What stands in samples/ for people to copy works as it stands."""

from __future__ import annotations

from pathlib import Path

from vsr.training.recipe_file import load_recipe

SAMPLES = Path(__file__).resolve().parent.parent / "samples"


def test_the_recipe_of_ones_own_is_that_of_film_going_on():
    """It names keys that there are, and a network into which the weights of `film` fit."""
    own, film = load_recipe(SAMPLES / "train_own_film.toml", {}), load_recipe("train-film", {})
    assert (own.name, own.run.pretrained, own.run.name) == ("train_own_film", "film", "own_film")
    for key in ("architecture", "scale", "num_features", "num_conv", "slope"):
        assert getattr(own.network, key) == getattr(film.network, key)
    assert own.degradation.kind == film.degradation.kind == "film"
