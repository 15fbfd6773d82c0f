"""How fast `vsr train` goes, and whether its data keeps up; a script, not collected by pytest.

    python tests/bench/training_speed.py [--data DIR] [--steps N] [--runs 3] [--device auto] [--json]

Compact networks of 32 features with 8 and 16 convolutions, x4, batches of 16 patches of 48x48, in bf16 (fp32 where the
processor has no bf16); clean input made by the loop's own process, and input degraded as film by one worker. Pictures
are drawn on the spot, unless --data. Every run takes the path of `vsr train` (its step, its loader, its optimizer)
without logging, validation and checkpoints: some steps to warm up and to drain what the worker had made ahead, then
the clock. Networks and inputs take turns, so that a slow minute of the machine hits all; medians are given with the
spread.

    images/s        patches per second
    matrix rate     arithmetic of the network (forward, and twice that back) over what the machine does in a plain
                    product of large matrices of the same precision, measured just before
    busy            share of the time in which the network did not wait for data
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from vsr.model.memory import keep_freed_memory  # noqa: E402
from vsr.model.precision import choose_precision, resolve_device  # noqa: E402
from vsr.model.speed import measure_matrix_rate, synchronize  # noqa: E402
from vsr.progress import SilentProgress  # noqa: E402
from vsr.training.distributed import Ranks  # noqa: E402
from vsr.training.pictures import Pictures, open_pictures  # noqa: E402
from vsr.training.recipe import Recipe  # noqa: E402
from vsr.training.recipe_file import load_recipe  # noqa: E402
from vsr.training.run_folder import RunFolder  # noqa: E402
from vsr.training.speed import flushed_denormals  # noqa: E402
from vsr.training.training import Training  # noqa: E402

SCALE, PATCH, BATCH, CHUNK = 4, 48, 16, 8
INPUTS = {"clean": ("none", 0), "film": ("film", 1)}  # degradation, workers
DEPTHS = (8, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder of pictures; default: drawn ones")
    parser.add_argument("--steps", type=int, default=64, help="steps on the clock, per run (default %(default)s)")
    parser.add_argument("--warmup", type=int, default=4 * CHUNK, help="steps before (default %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each (default %(default)s)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    args = parser.parse_args()
    keep_freed_memory()
    device = resolve_device(args.device)
    precision = "fp32" if choose_precision("auto", device) == "fp32" else "bf16"
    with tempfile.TemporaryDirectory() as folder, flushed_denormals():
        data = args.data or draw_pictures(Path(folder, "pictures"))
        pictures = open_pictures([data], scale=SCALE, patch=PATCH)
        runs: dict[str, list[dict[str, float]]] = {}
        for number in range(args.runs):
            for depth in DEPTHS:
                for name in INPUTS:
                    recipe = make_recipe(depth, name, precision)
                    title = f"32x{depth} {name}"
                    print(f"run {number + 1} of {args.runs}: {title}", file=sys.stderr)
                    where = Path(folder, "out")
                    runs.setdefault(title, []).append(
                        measure(recipe, device, pictures, where, warmup=args.warmup, steps=args.steps)
                    )
    results = {
        "device": describe_device(device),
        "precision": precision,
        "threads": torch.get_num_threads(),
        "batch": BATCH,
        "patch": PATCH,
        "steps": args.steps,
        "runs": args.runs,
        "trainings": {title: summarise(measured) for title, measured in runs.items()},
    }
    print(json.dumps(results, indent=2) if args.json else describe(results))


def measure(
    recipe: Recipe, device: torch.device, pictures: Pictures, folder: Path, *, warmup: int, steps: int
) -> dict[str, float]:
    """One training of `warmup` + `steps` steps."""
    training = Training(recipe, Ranks(0, 1, device), pictures, RunFolder(folder, recipe), lambda line: None)
    matrix_rate = measure_matrix_rate(device, recipe.run.precision)
    with training.make_loader(SilentProgress()) as loader:
        batches = iter(loader)
        for batch in islice(batches, warmup):
            training.advance(batch)
        synchronize(device)
        waited, started = loader.wait_seconds, time.perf_counter()
        for batch in islice(batches, steps):
            training.advance(batch)
        synchronize(device)
        seconds, waited = time.perf_counter() - started, loader.wait_seconds - waited
    images = steps * recipe.data.batch
    return {
        "images_per_second": images / seconds,
        "matrix_share": images * training.flops_per_image / (seconds * matrix_rate),
        "busy": 1 - waited / seconds,
        "matrix_gflops": matrix_rate / 1e9,
    }


def make_recipe(depth: int, name: str, precision: str) -> Recipe:
    """As presets/train-fast.toml and train-film.toml, but for depth, workers and what they begin with."""
    kind, workers = INPUTS[name]
    words: dict[str, Any] = {
        "network.num_conv": depth, "network.scale": SCALE, "data.patch": PATCH, "data.batch": BATCH,
        "data.patches_per_sheet": CHUNK, "degradation.kind": kind, "run.workers": workers,
        "run.precision": precision, "run.pretrained": "",
    }  # fmt: skip
    return load_recipe("train-film", {key: str(value) for key, value in words.items()})


def summarise(measured: list[dict[str, float]]) -> dict[str, Any]:
    """Medians, and least and greatest."""
    summary: dict[str, Any] = {}
    for key in measured[0]:
        values = [run[key] for run in measured]
        summary[key] = round(statistics.median(values), 4)
        summary[f"{key}_spread"] = [round(min(values), 4), round(max(values), 4)]
    return summary


def describe(results: dict[str, Any]) -> str:
    lines = [
        f"{results['device']}, {results['threads']} threads, {results['precision']}; batches of {results['batch']}"
        f" patches of {results['patch']}x{results['patch']}, x{SCALE}; medians of {results['runs']} runs of"
        f" {results['steps']} steps (least to greatest)",
        f"  {'network, input':16} {'images/s':>24} {'matrix rate':>26} {'busy':>28}",
    ]
    for title, its in results["trainings"].items():
        cells = [
            f"{its[key]:{form}} ({its[f'{key}_spread'][0]:{form}} to {its[f'{key}_spread'][1]:{form}})"
            for key, form in (("images_per_second", ".1f"), ("matrix_share", ".1%"), ("busy", ".1%"))
        ]
        lines.append(f"  {title:16} {cells[0]:>24} {cells[1]:>26} {cells[2]:>28}")
    return "\n".join(lines)


def draw_pictures(folder: Path) -> Path:
    """Waves, edges and a little grain, 768x512: enough that codecs and caches have real work."""
    folder.mkdir()
    random = np.random.default_rng(0)
    y, x = np.mgrid[:512, :768].astype(np.float32)
    for number in range(12):
        a, b, c = random.uniform(0.01, 0.4, 3)
        waves = np.stack([np.sin(a * x + b * y), np.sin(b * x - c * y), np.cos(c * x + a * y)], -1)
        edges = np.where((a * x + c * y)[..., None] % 17 < 8, 1.0, -1.0)
        picture = 127 + 60 * waves + 30 * edges + random.normal(0, 4, waves.shape)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{number:02}.png")
    return folder


def describe_device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device} with {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
