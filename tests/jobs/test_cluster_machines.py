"""Clusters of several machines of one core each; here they are all this one."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import films
from listening import Ear
from vsr.api import upscale
from vsr.jobs.cluster import Cluster
from vsr.jobs.cluster_hand import ClusterHand
from vsr.jobs.crew import Advanced, Finished, Order
from vsr.jobs.share import Share

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
pytest.importorskip("ray", reason="Ray is not installed: pip install 'vsr[cluster]'")


@pytest.fixture
def machines() -> Iterator[Any]:
    """A cluster of one machine; more may be added."""
    from ray.cluster_utils import Cluster as Machines

    own = Machines(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield own
    own.shutdown()


@pytest.fixture
def film(tmp_path: Path) -> films.Film:
    """Twelve segments."""
    return films.plain(tmp_path / "film.mp4", times=12 * 96, sounds=[films.Sound(seconds=48)])


@pytest.mark.slow
def test_a_machine_that_is_lost_is_done_without(machines: Any, film: films.Film, slow_weights: Path, tmp_path: Path):
    second = machines.add_node(num_cpus=1)
    ear = Ear()
    with Cluster(machines.address) as cluster:
        assert cluster.share("auto") == Share(num_cpus=1, num_gpus=0, num_slots=2)
        hand = ClusterHand(cluster, ear)
        hand.begin(Order(1, film.path, tmp_path / "out.mp4", {"model": str(slow_weights)}))
        for _ in range(3):
            ear.wait_for(Advanced)
        machines.remove_node(second, allow_graceful=False)
        assert ear.wait_for(Finished).report["frames_out"] == film.num_frames
        hand.close()
    upscale(film.path, tmp_path / "alone.mp4", model=str(slow_weights), device="cpu")
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "alone.mp4").read_bytes()


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_two_workers_are_faster_than_one_and_make_the_same_film(
    machines: Any, slow_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Seconds from the order to the finished film, in turns, by workers that have worked before."""
    machines.add_node(num_cpus=1)
    film = films.plain(tmp_path / "film.mp4", times=24 * 96, size=(96, 72), sounds=[films.Sound(seconds=96)])
    seconds: dict[int, list[float]] = {1: [], 2: []}
    made = set()
    ear = Ear()
    with Cluster(machines.address) as cluster:
        hand = ClusterHand(cluster, ear)
        for repeat in range(5):
            for num_tasks in (2, 1):  # at a time: the second worker has nothing to do
                monkeypatch.setattr("vsr.jobs.cluster_film.TASKS_PER_SLOT", num_tasks / 2)
                job = Order(1, film.path, tmp_path / f"{repeat}-{num_tasks}.mp4", {"model": str(slow_weights)})
                began = time.monotonic()
                hand.begin(job)
                assert ear.wait_for(Finished).report["frames_out"] == film.num_frames
                seconds[num_tasks].append(time.monotonic() - began)
                made.add(job.output.read_bytes())
        hand.close()
    assert len(made) == 1
    one, two = (statistics.median(seconds[number][1:]) for number in (1, 2))
    print(f"\none worker {one:.1f} s, two {two:.1f} s: {one / two:.2f} times as fast; all runs: {seconds}")
    assert one / two > 1.2
