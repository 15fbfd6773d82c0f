"""vsr beside the plain loop of the usual scripts: how many times as fast, and how near in its results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vsr.api import make_upscaler
from vsr.bench.calls import load_frames
from vsr.bench.plain_networks import ARCHITECTURES, load_plain
from vsr.bench.spread import Spread, pair_ratios
from vsr.bench.task import Task
from vsr.errors import ProcessingError, UsageError
from vsr.metrics import psnr
from vsr.model import weights
from vsr.model.upscaler import Upscaler

__all__ = ["Peer", "compare_results", "export_weights", "judge_peer"]

NUM_COMPARED = 3


@dataclass(frozen=True, slots=True)
class Peer:
    """The same weights, encoder and options on both sides; runs alternate, each in a process of its own.

    Attributes:
        ends: how the plain loop reads and writes films.
        plain_film, vsr_film: milliseconds per frame end to end, of which vsr's also read the result back and verify it.
        plain_network, vsr_network: milliseconds per frame of the networks alone.
        ratio_film, ratio_network: plain over vsr, pair by pair.
        precision: vsr's; the plain loop's is fp32.
        psnr_db: vsr's result against the plain network's on the same frames, over RGB, not rounded; None where equal.
        psnr_db_nearest: the same of the frames enlarged by repeating pixels. A network that changes hardly anything is
            near to fp32 in any precision: this says how much it does change.
    """

    ends: str
    plain_film: Spread
    vsr_film: Spread
    ratio_film: Spread
    plain_network: Spread
    vsr_network: Spread
    ratio_network: Spread
    precision: str
    psnr_db: float | None
    psnr_db_nearest: float | None


def export_weights(upscaler: Upscaler, folder: Path) -> Path:
    """The network's tensors as the plain loop reads them, in a new file.

    Raises:
        UsageError: the plain loop has no such network, or none that enlarges by that factor.
    """
    from safetensors.torch import save_file

    network = upscaler.network
    way_out = "leave the peer out: name the other parts with --only"
    if network.architecture not in ARCHITECTURES or network.source is None:
        raise UsageError(
            f"the plain loop knows {' and '.join(ARCHITECTURES)}, not {network.architecture}", hint=way_out
        )
    if upscaler.scale != network.scale:
        raise UsageError(
            f"the plain loop enlarges as {network.name} does, {network.scale} times, not {upscaler.scale:g}",
            hint=f"--scale {network.scale}, or {way_out}",
        )
    state = weights.translate(weights.read_state(network.source))
    path = folder / "plain.safetensors"
    save_file({name: tensor.float().contiguous() for name, tensor in state.items()}, path)
    return path


def compare_results(task: Task) -> dict[str, Any]:
    """How near vsr's result comes to the plain network's on some frames: `Peer.psnr_db` and `psnr_db_nearest`."""
    upscaler, plain = make_upscaler(task.read_settings()), load_plain(Path(task.weights), "cpu")
    frames_BCHW = torch.cat(load_frames(Path(task.clip), "cpu", NUM_COMPARED))
    with torch.no_grad():
        exact_BCHW = torch.cat([plain(frame_CHW[None]).clamp(0, 1) for frame_CHW in frames_BCHW])
    ours_BCHW = torch.cat([upscaler(frame_CHW[None]).cpu() for frame_CHW in frames_BCHW])
    nearest_BCHW = torch.nn.functional.interpolate(frames_BCHW, size=exact_BCHW.shape[-2:])
    return {
        "precision": upscaler.precision,
        "psnr_db": _unless_equal(psnr(ours_BCHW, exact_BCHW)),
        "psnr_db_nearest": _unless_equal(psnr(nearest_BCHW, exact_BCHW)),
    }


def judge_peer(ends: str, runs: Mapping[str, Sequence[Mapping[str, Any]]], likeness: Mapping[str, Any]) -> Peer:
    """Sum up the runs "plain-film", "vsr-film", "plain-network" and "vsr-network", as many of each.

    Raises:
        ProcessingError: both sides do not give as many frames.
    """
    plain_count, own_count = (runs[name][0]["num_frames"] for name in ("plain-film", "vsr-film"))
    if plain_count != own_count:
        raise ProcessingError(f"the plain loop gave {plain_count} frames, vsr {own_count}")
    times = {name: [run["seconds_per_frame"] * 1e3 for run in found] for name, found in runs.items()}
    return Peer(
        ends=ends,
        plain_film=Spread.of(times["plain-film"]),
        vsr_film=Spread.of(times["vsr-film"]),
        ratio_film=pair_ratios(times["plain-film"], times["vsr-film"]),
        plain_network=Spread.of(times["plain-network"]),
        vsr_network=Spread.of(times["vsr-network"]),
        ratio_network=pair_ratios(times["plain-network"], times["vsr-network"]),
        precision=likeness["precision"],
        psnr_db=likeness["psnr_db"],
        psnr_db_nearest=likeness["psnr_db_nearest"],
    )


def _unless_equal(decibels: float) -> float | None:
    return None if decibels == math.inf else decibels
