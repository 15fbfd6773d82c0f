"""Weights to begin with: those of another run, or of a network that has shipped."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from vsr.errors import TrainingError, WeightsError
from vsr.model import catalog, weights
from vsr.training.generators import fold

__all__ = ["load_pretrained"]


def load_pretrained(generator: nn.Module, name_or_path: str) -> None:
    """Fill `generator` (on the CPU, in training form) with weights of a file or of a name of the catalogue.

    A checkpoint of a run gives its averaged weights, in training form; every other file has weights as they ship.

    Raises:
        ModelError: there is no such name.
        DownloadError: the weights could not be had.
        WeightsError: the file is missing or broken.
        TrainingError: they are of another network; what differs is named.
    """
    entry, found = catalog.resolve(name_or_path)
    path = catalog.fetch(entry) if entry is not None else found
    assert path is not None
    checkpoint = _read_checkpoint(path)
    try:
        state = checkpoint or _drop_fixed(generator, weights.translate(weights.read_state(path)))
        weights.fill(generator, state, path)
    except WeightsError as exc:
        raise TrainingError(
            f"run.pretrained {name_or_path!r} does not fit the network of the recipe: {exc.message}",
            hint="set [network] as that of the weights, or leave run.pretrained out",
        ) from exc


def _drop_fixed(generator: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what ships although it is not learned (the slopes of a LeakyReLU), where it is the same."""
    shipping = fold(generator).state_dict()
    generator.train()
    fixed = {
        key: shipping[key]
        for key in shipping.keys() - generator.state_dict().keys()
        if key in state and torch.allclose(shipping[key], state[key].float(), atol=1e-3)
    }
    return {key: value for key, value in state.items() if key not in fixed}


def _read_checkpoint(path: Path) -> dict[str, Tensor] | None:
    if path.suffix != ".pt":
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # not ours: whoever reads it next says what is wrong with it
        return None
    return state.get("average") if isinstance(state, dict) and "format" in state else None
