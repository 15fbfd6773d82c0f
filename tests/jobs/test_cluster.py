"""Films on a real cluster of Ray: two workers of one thread each, on this machine."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import psutil
import pytest

import films
from listening import Ear
from vsr.jobs.cluster import Cluster
from vsr.jobs.cluster_hand import ClusterHand
from vsr.jobs.crew import Advanced, Failed, Finished, Order
from vsr.jobs.share import Share

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'vsr[cluster]'")


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Cluster]:
    """A cluster of one machine with two cores, a task of one thread for each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vsr.jobs.share.MAX_CORES", 1)
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        try:
            with Cluster() as cluster:
                assert cluster.share("auto") == Share(num_cpus=1, num_gpus=0, num_slots=2)
                yield cluster
            assert ray.is_initialized(), "a connection of others is left alone"
        finally:
            ray.shutdown()


@pytest.fixture
def hand(two_workers: Cluster, ear: Ear) -> Iterator[ClusterHand]:
    one = ClusterHand(two_workers, ear)
    yield one
    one.close()


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def film(tmp_path: Path) -> films.Film:
    """Five segments, with sound."""
    return films.plain(tmp_path / "film.mp4", times=400, sounds=[films.Sound(seconds=17)])


@pytest.fixture
def alone(film: films.Film, tiny_weights: Path, tmp_path: Path) -> bytes:
    """The film as one process makes it."""
    from vsr.api import upscale

    upscale(film.path, tmp_path / "alone.mp4", model=str(tiny_weights), device="cpu")
    return (tmp_path / "alone.mp4").read_bytes()


def order(film: films.Film, weights: Path, **settings: object) -> Order:
    return Order(1, film.path, film.path.with_name("out.mp4"), {"model": str(weights)} | settings)


def test_the_film_is_that_of_one_machine(
    hand: ClusterHand, ear: Ear, film: films.Film, tiny_weights: Path, alone: bytes
):
    job = order(film, tiny_weights)
    hand.begin(job)
    report = ear.wait_for(Finished).report
    assert job.output.read_bytes() == alone
    assert (report["frames_in"], report["frames_out"], report["frames_resumed"]) == (400, 400, 0)
    assert (report["device"], report["damaged"]) == ("cluster (cpu)", False)
    done = [event.done for event in ear.events if isinstance(event, Advanced)]
    assert done[-1] == 400
    assert sorted(set(done)) == done
    assert sorted(path.name for path in film.path.parent.iterdir()) == ["alone.mp4", "film.mp4", "out.mp4"]


@pytest.mark.slow
def test_segments_travel_as_bytes_where_the_folder_is_not_shared(
    hand: ClusterHand, ear: Ear, film: films.Film, tiny_weights: Path, alone: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vsr.jobs.cluster_film._read_token", lambda folder: b"another folder of that name")
    job = order(film, tiny_weights)
    hand.begin(job)
    ear.wait_for(Finished)
    assert job.output.read_bytes() == alone


@pytest.mark.slow
def test_what_the_cluster_began_is_finished_without_it_and_the_other_way_round(
    hand: ClusterHand, ear: Ear, film: films.Film, tiny_weights: Path, alone: bytes
):
    from vsr.api import upscale

    job = order(film, tiny_weights)
    hand.begin(job)
    ear.wait_for(Advanced)
    hand.cancel()
    assert ear.wait_for(Failed).failure.is_interrupted
    assert not job.output.exists()
    report = upscale(film.path, job.output, model=str(tiny_weights), device="cpu")
    assert 96 <= report.frames_resumed < 400
    assert job.output.read_bytes() == alone


@pytest.mark.slow
def test_a_paused_film_goes_on_on_the_cluster(
    hand: ClusterHand, ear: Ear, film: films.Film, tiny_weights: Path, alone: bytes
):
    job = order(film, tiny_weights)
    hand.begin(job)
    hand.pause()
    assert ear.wait_for(Failed).failure.is_interrupted
    hand.begin(job)
    ear.wait_for(Finished)
    assert job.output.read_bytes() == alone


def test_what_a_machine_cannot_do_is_told_once_and_not_repeated(
    hand: ClusterHand, ear: Ear, film: films.Film, tiny_weights: Path, two_workers: Cluster
):
    hand.begin(order(film, tiny_weights, start=1000))
    failure = ear.wait_for(Failed).failure
    assert failure.kind == "SourceError"
    assert "no picture lies in the part asked for" in failure.message
    assert not failure.may_pass


def test_machines_that_would_make_another_film_are_refused(
    hand: ClusterHand, ear: Ear, film: films.Film, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vsr.pipeline.fingerprint.__version__", "0.0.0")  # of this machine alone
    hand.begin(order(film, tiny_weights))
    failure = ear.wait_for(Failed).failure
    assert failure.kind == "DeviceError"
    assert "version of vsr was" in failure.message
    assert not failure.may_pass


def tasks_under_way() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        if "make_cells" in " ".join(process.cmdline()):
            found.append(process)
    return found


@pytest.mark.slow
def test_a_worker_killed_in_the_midst_is_replaced(hand: ClusterHand, ear: Ear, slow_weights: Path, tmp_path: Path):
    from vsr.api import upscale

    film = films.plain(tmp_path / "film.mp4", times=960, sounds=[films.Sound(seconds=40)])
    job = order(film, slow_weights)
    hand.begin(job)
    victims = []
    for _ in range(3):
        ear.wait_for(Advanced)
        while not (under_way := tasks_under_way()):
            time.sleep(0.01)
        victims.append(under_way[0].pid)
        os.kill(under_way[0].pid, signal.SIGKILL)
    ear.wait_for(Finished)
    assert len(set(victims)) == 3
    upscale(film.path, tmp_path / "alone.mp4", model=str(slow_weights), device="cpu")
    assert job.output.read_bytes() == (tmp_path / "alone.mp4").read_bytes()


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", [films.variable_rate, films.b_frames, films.hdr10, films.interlaced, films.avi_b_frames]
)
def test_films_of_all_kinds(
    recipe: Callable[..., films.Film], hand: ClusterHand, ear: Ear, tiny_weights: Path, tmp_path: Path,
    make_film: Callable[..., films.Film],
):  # fmt: skip
    from vsr.api import upscale

    longer: dict[str, Any] = {} if recipe is films.variable_rate else {"times": 300}
    suffix = ".avi" if recipe is films.avi_b_frames else ".mkv"
    film = make_film(recipe, f"film{suffix}", **longer)
    upscale(film.path, tmp_path / "alone.mkv", model=str(tiny_weights), device="cpu")
    hand.begin(Order(1, film.path, tmp_path / "out.mkv", {"model": str(tiny_weights)}))
    ear.wait_for(Finished)
    assert list_packets(tmp_path / "out.mkv") == list_packets(tmp_path / "alone.mkv")


def list_packets(path: Path) -> list[tuple[Any, ...]]:
    """Everything of all streams (Matroska gives each file a number of its own, so that no two are alike)."""
    with av.open(str(path)) as container:
        return [
            (packet.stream.index, packet.pts, packet.dts, packet.duration, packet.is_keyframe, bytes(packet))
            for packet in container.demux()
        ]
