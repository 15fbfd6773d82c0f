"""Stages alone, a whole run, and what the one says about the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from vsr.api import make_upscaler
from vsr.bench import stages
from vsr.bench.river import judge_river, run_film, run_network
from vsr.bench.stages import measure_stages
from vsr.bench.task import Task


def make_run(seconds: float, compute: float, memory: int) -> dict[str, object]:
    stage = {"decode": 1.0, "compute": compute, "encode": 3.0}
    return {
        "seconds_per_frame": seconds,
        "processor_seconds_per_frame": 1.5 * seconds,
        "stage_milliseconds": stage,
        "startup_seconds": 10 * seconds,
        "peak_memory_bytes": memory,
        "import_memory_bytes": memory // 2,
        "num_frames": 4,
    }


def test_the_river_is_judged_by_its_slowest_stage() -> None:
    runs = [make_run(0.1, 50, 7), make_run(0.2, 70, 9), make_run(0.4, 90, 8)]
    river = judge_river(runs, {"decode": 2.0, "compute": 150.0, "encode": 30.0}, num_cores=2)
    assert (river.processor_milliseconds, river.cores_busy) == (pytest.approx(300), pytest.approx(0.75))
    assert (river.milliseconds.median, river.frames_per_second) == (200, 5)
    assert river.stage_milliseconds == {"decode": 1.0, "compute": 70, "encode": 3.0}
    assert (river.peak_memory_bytes, river.import_memory_bytes) == (9, 4)
    assert river.startup_milliseconds.median == 2000
    assert (river.slowest_stage, river.slowest_milliseconds, river.share_of_slowest) == ("compute", 150, 0.75)


def test_without_the_stages_alone_nothing_is_said_of_the_slowest() -> None:
    river = judge_river([make_run(0.1, 50, 7)], None, num_cores=1)
    assert (river.slowest_stage, river.slowest_milliseconds, river.share_of_slowest) == (None, None, None)


def test_a_run_counts_every_frame(task: Task) -> None:
    found = run_film(task)
    assert found["num_frames"] == 4
    assert set(found["stage_milliseconds"]) == {"decode", "compute", "encode"}
    assert found["seconds_per_frame"] > 0
    assert found["peak_memory_bytes"] >= found["import_memory_bytes"] > 1 << 20
    assert run_network(task)["seconds_per_frame"] > 0


@pytest.mark.parametrize("max_bytes", [stages.MAX_BYTES, 1])
def test_every_stage_is_timed_alone(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_bytes: int
) -> None:
    """Also where memory is for a single finished picture, which then stands for all."""
    monkeypatch.setattr(stages, "MAX_BYTES", max_bytes)
    settings = task.read_settings()
    found = measure_stages(Path(task.clip), settings, make_upscaler(settings), tmp_path, 2)
    assert list(found.milliseconds) == ["decode", "compute", "encode", "frames_to_tensor", "tensor_to_frames"]
    assert all(0 < one.least <= one.median <= one.greatest for one in found.milliseconds.values())
