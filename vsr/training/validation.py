"""Measuring a generator on pictures it has not learned from, as the papers do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vsr.metrics import psnr_y, ssim_y
from vsr.model.network import Network
from vsr.model.upscaler import Upscaler
from vsr.training.degradation import Degrade
from vsr.training.pictures import Pairs, load_pairs

__all__ = ["ValidationSet", "find_sets", "mean_psnr", "measure"]


@dataclass(frozen=True)
class ValidationSet:
    """Pictures with their low-resolution inputs.

    Attributes:
        name: of the folder; with " degraded" behind it where the inputs went through the recipe's degradation.
        pairs: (name, low 3,h,w, high 3,H,W), float32 RGB 0..1.
    """

    name: str
    pairs: Sequence[tuple[str, Tensor, Tensor]]


def find_sets(
    data: Sequence[Path], folders: Sequence[str], *, scale: int, kernel: str, degrade: Degrade | None
) -> list[ValidationSet]:
    """The `val` part of the data, where there is one, and the folders that the recipe names.

    Args:
        degrade: of the recipe; every set is then there twice, clean and degraded (the same way each time).

    Raises:
        DataError: a folder of the recipe is missing or has no pictures.
    """
    found: list[tuple[str, Pairs]] = []
    for number, folder in enumerate(data):
        if len(own := load_pairs(folder, scale, kernel, split="val")):
            found.append((f"val {number + 1}" if number else "val", own))
    found += [(Path(name).name, load_pairs(Path(name), scale, kernel)) for name in folders]
    sets = []
    for name, pairs in found:
        sets.append(ValidationSet(name, pairs))
        if degrade is not None:
            degraded = [_degrade(*pair, number, scale, degrade) for number, pair in enumerate(pairs)]
            sets.append(ValidationSet(f"{name} degraded", degraded))
    return sets


def measure(
    generator: nn.Module,
    sets: Sequence[ValidationSet],
    *,
    device: torch.device,
    show: Callable[[str, Tensor], None] | None = None,
) -> dict[str, dict[str, float]]:
    """Mean PSNR (dB) and SSIM of luma over each set: output and target rounded to 8 bits, a border of as many pixels
    as the scale cut off, BT.601 Y.

    Args:
        generator: as it ships.
        show: hears the first output of each set, 3,H,W in 0..1.

    Returns:
        set -> {"psnr_y": ..., "ssim_y": ...}.
    """
    scale = int(generator.scale)  # type: ignore[arg-type]
    upscaler = Upscaler(_as_network(generator), device=str(device))
    scores = {}
    for validation in sets:
        figures = []
        for number, (_, low_CHW, high_CHW) in enumerate(validation.pairs):
            output_CHW = upscaler(low_CHW[None])[0].cpu()
            if number == 0 and show is not None:
                show(validation.name, output_CHW)
            output, target = _round(output_CHW), _round(high_CHW)
            figures.append((psnr_y(output, target, border=scale), ssim_y(output, target, border=scale)))
        psnr, ssim = (float(np.mean(column)) for column in zip(*figures, strict=True))
        scores[validation.name] = {"psnr_y": round(psnr, 4), "ssim_y": round(ssim, 5)}
    return scores


def mean_psnr(scores: Mapping[str, Mapping[str, float]]) -> float:
    """Over all sets of `measure`; minus infinity where there are none."""
    figures = [values["psnr_y"] for values in scores.values()]
    return sum(figures) / len(figures) if figures else float("-inf")


def _round(picture_CHW: Tensor) -> Tensor:
    return (picture_CHW.clamp(0, 1) * 255).round() / 255


def _as_network(generator: nn.Module) -> Network:
    return Network(
        module=generator,
        scale=int(generator.scale),  # type: ignore[arg-type]
        architecture=str(generator.architecture),
        name="the generator",
        halo=generator.halo,  # type: ignore[arg-type]
        multiple=int(getattr(generator, "multiple", 1)),
        flops_per_pixel=float(generator.flops_per_pixel),  # type: ignore[arg-type]
    )


def _degrade(
    name: str, low_CHW: Tensor, high_CHW: Tensor, number: int, scale: int, degrade: Degrade
) -> tuple[str, Tensor, Tensor]:
    high_HWC = (high_CHW * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    low_HWC = degrade(high_HWC, scale, np.random.default_rng([4711, number]))
    return name, torch.from_numpy(np.ascontiguousarray(low_HWC)).permute(2, 0, 1).float() / 255, high_CHW
