"""A whole run of vsr through its public door, and how near it comes to its slowest stage alone."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsr.api import make_upscaler, upscale
from vsr.bench.calls import load_frames, time_calls
from vsr.bench.spread import Spread
from vsr.bench.task import Task
from vsr.pipeline.report import peak_memory

__all__ = ["River", "judge_river", "run_film", "run_network"]

NUM_WARM_UP = 2


@dataclass(frozen=True, slots=True)
class River:
    """`vsr.upscale` on the clip, all stages side by side; loading the network is left out, verifying is not.

    Attributes:
        milliseconds: per frame.
        stage_milliseconds: per frame, that each stage was at work within the run (median of the runs).
        startup_milliseconds: from starting the process to the end of a film of two frames: interpreter, imports,
            network, first frames, and verifying them.
        peak_memory_bytes: largest resident size of the process, of all runs.
        import_memory_bytes: what of it was there before the network: Python, torch, PyAV, numpy.
        processor_milliseconds: per frame, that all threads were at work (median of the runs).
        cores_busy: that over what all cores could have given meanwhile, 0..1: how much a CPU has left.
        slowest_stage: "decode", "compute" or "encode", whichever takes longest alone; None where that was not measured.
        slowest_milliseconds: per frame, of that stage alone.
        share_of_slowest: its time over the river's. 1 is all that stages side by side can reach where each has hardware
            of its own; on a CPU they share the cores. More than 1 is possible: frames side by side may use the cores
            better than one alone does, and what repeats the frame before is not computed again.
    """

    milliseconds: Spread
    frames_per_second: float
    stage_milliseconds: dict[str, float]
    startup_milliseconds: Spread
    peak_memory_bytes: int
    import_memory_bytes: int
    processor_milliseconds: float
    cores_busy: float
    slowest_stage: str | None
    slowest_milliseconds: float | None
    share_of_slowest: float | None


def judge_river(runs: Sequence[Mapping[str, Any]], alone: Mapping[str, float] | None, num_cores: int) -> River:
    """Sum up what `run_film` found.

    Args:
        alone: milliseconds per frame of each of the river's stages alone; None where they were not measured.
    """
    whole = Spread.of([run["seconds_per_frame"] * 1e3 for run in runs])
    stages = [run["stage_milliseconds"] for run in runs]
    at_work = {name: statistics.median(stage[name] for stage in stages) for name in stages[0]}
    processor = statistics.median(run["processor_seconds_per_frame"] * 1e3 for run in runs)
    slowest = max(alone, key=alone.__getitem__) if alone else None
    slowest_milliseconds = alone[slowest] if alone and slowest else None
    return River(
        milliseconds=whole,
        frames_per_second=1e3 / whole.median,
        stage_milliseconds=at_work,
        startup_milliseconds=Spread.of([run["startup_seconds"] * 1e3 for run in runs]),
        peak_memory_bytes=max(run["peak_memory_bytes"] for run in runs),
        import_memory_bytes=max(run["import_memory_bytes"] for run in runs),
        processor_milliseconds=processor,
        cores_busy=processor / (num_cores * whole.median),
        slowest_stage=slowest,
        slowest_milliseconds=slowest_milliseconds,
        share_of_slowest=slowest_milliseconds / whole.median if slowest_milliseconds else None,
    )


def run_film(task: Task) -> dict[str, Any]:
    """The whole clip, after two frames to warm up."""
    import_memory = peak_memory()
    settings = replace(task.read_settings(), overwrite=True)
    upscaler = make_upscaler(settings)
    clip = Path(task.clip)
    with tempfile.TemporaryDirectory(dir=clip.parent) as folder:
        warm = replace(settings, duration=NUM_WARM_UP / Fraction(task.coding.rate))
        upscale(clip, Path(folder, "warm.mp4"), settings=warm, upscaler=upscaler)
        startup = time.time() - task.started
        begin, begin_processor = time.perf_counter(), time.process_time()
        report = upscale(clip, Path(folder, "out.mp4"), settings=settings, upscaler=upscaler)
        seconds, processor_seconds = time.perf_counter() - begin, time.process_time() - begin_processor
    return {
        "seconds_per_frame": seconds / report.frames_out,
        "processor_seconds_per_frame": processor_seconds / report.frames_out,
        "num_frames": report.frames_out,
        "stage_milliseconds": {name: value * 1e3 / report.frames_out for name, value in report.stage_seconds.items()},
        "startup_seconds": startup,
        "peak_memory_bytes": report.peak_memory_bytes,
        "import_memory_bytes": import_memory,
    }


def run_network(task: Task) -> dict[str, Any]:
    """The upscaler alone, on the frames that the plain network gets."""
    upscaler = make_upscaler(task.read_settings())
    return {"seconds_per_frame": time_calls(upscaler, load_frames(Path(task.clip), upscaler.device))}
