"""Everything that is measured, in order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

from vsr.api import make_upscaler
from vsr.bench.calls import load_frames
from vsr.bench.ceiling import measure_ceiling
from vsr.bench.clip import Clip, make_clip
from vsr.bench.machine import describe_machine, is_busy
from vsr.bench.networks import measure_networks
from vsr.bench.peer import export_weights, judge_peer
from vsr.bench.pipes import find_ffmpeg
from vsr.bench.process import run_apart
from vsr.bench.request import Request
from vsr.bench.results import Results
from vsr.bench.river import judge_river
from vsr.bench.stages import measure_stages
from vsr.bench.task import Coding, Task
from vsr.model.catalog import entries
from vsr.model.upscaler import Upscaler
from vsr.pipeline.clock import STAGES
from vsr.settings import Settings
from vsr.video.encoding import choose_encoding
from vsr.video.probe import probe

__all__ = ["run_bench"]

Runs = dict[str, list[dict[str, Any]]]


def run_bench(
    request: Request,
    *,
    tell: Callable[[str], None],
    on_download: Callable[[str], Callable[[int, int], None]] | None = None,
) -> Results:
    """Measure the parts asked for, one after the other; nothing else should run on the machine meanwhile.

    GPUs are waited for wherever the clock stops. Not yet run on a GPU.

    Args:
        tell: hears a line about what is under way.
        on_download: for the name of a network, a function of (bytes done, bytes in all) that hears of its download.

    Raises:
        SourceError: the film is missing or cannot be read.
        UsageError: the plain loop cannot do what vsr is asked for.
        VsrError: what goes wrong in any run.
    """
    # In software on both sides, and with the same options: the loops are to be compared, not encoders.
    settings = replace(request.settings, encoder="software")

    def load(model: str) -> Upscaler:
        hear = on_download(model) if on_download else None
        return make_upscaler(replace(settings, model=model), on_download=hear)

    parts = request.parts
    upscaler = load(settings.model)
    machine = describe_machine(upscaler.device)
    if is_busy(machine):
        tell(f"the machine is busy with other work (load {machine['load']}): figures will be worse than it can do")
    with tempfile.TemporaryDirectory(prefix="vsr-bench-") as name:
        folder = Path(name)
        path = folder / "clip.mkv"
        clip = make_clip(path, request.source, request.num_frames)
        weights = export_weights(upscaler, folder) if "peer" in parts else None
        task, run = _describe(settings, upscaler, path, clip, weights)
        ceiling = networks = stages = river = peer = None
        if "ceiling" in parts:
            tell("ceiling: products of matrices")
            ceiling = measure_ceiling(upscaler.device, upscaler.precision, request.num_runs)
        if "networks" in parts:
            others = [name for name in request.models or _list_embedded() if name != settings.model]
            upscalers = _name_upscalers([upscaler, *map(load, others)])
            tell(f"networks alone: {', '.join(upscalers)}")
            (frame_BCHW,) = load_frames(path, "cpu", 1)
            networks = measure_networks(upscalers, ceiling or {}, frame_BCHW=frame_BCHW, num_runs=request.num_runs)
        if "stages" in parts:
            tell("stages alone")
            stages = measure_stages(path, settings, upscaler, folder, request.num_runs)
        runs = _run_all(request, task, tell)
        if "river" in parts:
            alone = {name: stages.milliseconds[name].median for name in STAGES} if stages else None
            river = judge_river(runs["vsr-film"], alone, machine["cores"])
        if "peer" in parts:
            tell("peer: how near the results are")
            peer = judge_peer("two ffmpeg pipes" if task.uses_pipes else "PyAV", runs, run_apart("likeness", task))
    return Results(machine, clip, run, request.num_runs, ceiling, networks, stages, river, peer)


def _describe(
    settings: Settings, upscaler: Upscaler, path: Path, clip: Clip, weights: Path | None
) -> tuple[Task, dict[str, Any]]:
    """What the processes are told, and `Results.run`."""
    height, width = upscaler.output_size(clip.height, clip.width)
    encoding = choose_encoding(
        probe(path), width, height, settings.codec, settings.crf, settings.encoder_preset, encoder=settings.encoder
    )
    task = Task(
        clip=str(path),
        width=clip.width,
        height=clip.height,
        weights="" if weights is None else str(weights),
        device=str(upscaler.device),
        coding=Coding(encoding.encoder, encoding.options, encoding.pix_fmt, str(clip.rate)),
        uses_pipes=find_ffmpeg() is not None,
        settings=asdict(settings),
    )
    run = {
        "model": upscaler.network.name,
        "scale": upscaler.scale,
        "precision": upscaler.precision,
        "engine": upscaler.engine,
        "size_out": (width, height),
        "encoder": " ".join([encoding.encoder, *chain.from_iterable(encoding.options.items())]),
    }
    return task, run


def _list_embedded() -> list[str]:
    return [entry.name for entry in entries() if entry.is_embedded]


def _name_upscalers(upscalers: Iterable[Upscaler]) -> dict[str, Upscaler]:
    """By the names of their networks; of one weights file only the first, and files of one stem get a number."""
    named: dict[str, Upscaler] = {}
    for upscaler in upscalers:
        network = upscaler.network
        if any(network.source == other.network.source for other in named.values()):
            continue
        number = sum(network.name == other.network.name for other in named.values()) + 1
        named[network.name if number == 1 else f"{network.name}#{number}"] = upscaler
    return named


def _run_all(request: Request, task: Task, tell: Callable[[str], None]) -> Runs:
    """The runs in processes of their own, one of each in every round."""
    if "peer" in request.parts:
        names = ["plain-film", "vsr-film", "plain-network", "vsr-network"]
    else:
        names = ["vsr-film"] if "river" in request.parts else []
    runs: Runs = {name: [] for name in names}
    for number in range(request.num_runs):
        for name, found in runs.items():
            found.append(run_apart(name, task))
            tell(f"run {number + 1} of {request.num_runs}: {name}: {found[-1]['seconds_per_frame'] * 1e3:.1f} ms/frame")
    return runs
