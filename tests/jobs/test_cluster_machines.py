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
@pytest.mark.timeout(600)
def test_two_machines_are_faster_than_one_and_make_the_same_film(
    machines: Any, film: films.Film, slow_weights: Path, tmp_path: Path
):
    """Seconds from the order to the finished film, the first run of each process left out."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    made = []
    ear = Ear()
    with Cluster(machines.address) as cluster:
        hand = ClusterHand(cluster, ear)
        for repeat in range(6):
            for number in (1, 2):
                second = machines.add_node(num_cpus=1) if number == 2 else None
                job = Order(1, film.path, tmp_path / f"{repeat}-{number}.mp4", {"model": str(slow_weights)})
                hand.begin(job)
                began = time.monotonic()
                report = ear.wait_for(Finished).report
                seconds[number].append(time.monotonic() - began)
                assert report["frames_out"] == film.num_frames
                made.append(job.output.read_bytes())
                if second is not None:
                    machines.remove_node(second)
        hand.close()
    assert len(set(made)) == 1
    one, two = (statistics.median(times[1:]) for times in seconds.values())
    print(f"\none machine {one:.1f} s, two {two:.1f} s: {one / two:.2f} times as fast; {seconds}")
    assert one / two > 1.2
