"""Weights as they ship: safetensors with, in the header, all that is needed to know where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from vsr import __version__
from vsr.training.checkpoint import replace_file
from vsr.training.recipe import Recipe

__all__ = ["describe_origin", "export_weights"]


def describe_origin(
    recipe: Recipe,
    generator: nn.Module,
    *,
    data: str,
    num_pictures: int,
    step: int,
    seconds: float,
    scores: Mapping[str, Mapping[str, float]],
) -> dict[str, str]:
    """The header: configuration and provenance.

    Args:
        generator: as it ships.
        data: fingerprint of the training pictures.
        step, seconds: how long it has been trained.
        scores: of the last validation.
    """
    plain = recipe.as_dict()
    header = {
        "architecture": str(generator.architecture),
        "scale": str(generator.scale),
        "network": json.dumps(plain["network"]),
        "recipe": json.dumps(plain),
        "data": data,
        "num_pictures": str(num_pictures),
        "steps": str(step),
        "seed": str(recipe.run.seed),
        "seconds": f"{seconds:.0f}",
        "scores": json.dumps(scores),
        "vsr": __version__,
        "torch": str(torch.__version__),
    }
    return header | ({"licence": recipe.run.licence} if recipe.run.licence else {})


def export_weights(path: Path, generator: nn.Module, header: Mapping[str, str], *, dtype: str = "fp32") -> None:
    """Write the weights of `generator` (as it ships) to `path`, as a whole or not at all.

    Args:
        dtype: "fp32" or "fp16".

    Raises:
        TrainingError: the file cannot be written.
    """
    from safetensors.torch import save

    kind = torch.float16 if dtype == "fp16" else torch.float32
    state = {
        key: (value.to(kind) if value.is_floating_point() else value).detach().cpu().contiguous()
        for key, value in generator.state_dict().items()
    }
    content = save(state, dict(header))
    replace_file(path, lambda file: file.write(content))
