"""What the page sees and asks for."""

from __future__ import annotations

import json

import pytest

import vsr
from vsr.errors import JobError
from vsr.jobs.crew import Advanced, Failure, Previewed
from vsr.jobs.daemon import Daemon
from watching import INBOX, OUTBOX, World


def drop(world: World, *names: str) -> None:
    for name in names:
        world.files.put(INBOX / name)


def live(world: World, daemon: Daemon, seconds: float) -> None:
    """So much of the daemon's life, without its end."""
    end = world.clock.time + seconds
    world.clock.at(end, daemon._bell.ring)
    while True:
        seconds = daemon._step()
        if world.clock.time >= end:
            return
        daemon._wait(seconds)


def names(jobs: list[dict[str, object]]) -> list[object]:
    return [job["name"] for job in jobs]


def test_snapshot(world: World):
    world.seconds_per_film = 100.0
    world.outcomes["bad.mp4"] = [Failure("SourceError", "no film", "look at it")]
    drop(world, "bad.mp4", "sub/a.mp4", "b.mp4")
    with world.make(min_free=5) as daemon:
        live(world, daemon, 150)
        snapshot = daemon.station.snapshot()
        assert json.loads(json.dumps(snapshot)) == snapshot
        assert names(snapshot["queue"]) == ["b.mp4"]
        (work,) = snapshot["working"]
        assert (work["job"]["name"], work["done"], work["total"], work["device"]) == ("sub/a.mp4", 0, 100, "auto")
        (failed,) = snapshot["history"]
        assert (failed["name"], failed["state"], failed["attempts"]) == ("bad.mp4", "failed", 1)
        assert (failed["error"], failed["hint"]) == ("no film", "look at it")
        assert failed["added"] <= failed["began"] < failed["ended"]
        counts = {"waiting": 1, "working": 1, "done": 0, "failed": 1, "cancelled": 0, "paused": 0}
        assert snapshot["counts"] == counts
        assert (snapshot["disk_free_bytes"], snapshot["disk_floor_bytes"]) == (10**12, 5)
        assert (snapshot["paused"], snapshot["trouble"], snapshot["version"]) == (False, None, vsr.__version__)
        assert daemon.station.inbox == INBOX


def test_names_that_are_taken(world: World):
    with world.make() as daemon:
        names = (
            "film.mp4",
            "PICTURE.PNG",
            "~film.mp4",
            ".film.mp4",
            "film.mp4.part",
            "film.tmp",
            "preset.toml",
            "notes.txt",
        )
        assert [name for name in names if daemon.station.takes(name)] == ["film.mp4", "PICTURE.PNG"]


def test_progress_has_a_rate_and_an_end(world: World):
    world.seconds_per_film = 1000.0
    world.num_done_before = 40  # by an earlier run: no work of this one
    drop(world, "a.mp4")
    with world.make() as daemon:
        live(world, daemon, 5)
        for step in range(1, 6):
            live(world, daemon, 2)
            daemon._dispatcher.hear(Advanced(1, 40 + step * 4, 100, "compute is the slowest stage"))
            live(world, daemon, 0)
        (work,) = daemon.station.snapshot()["working"]
        assert (work["done"], work["total"], work["note"]) == (60, 100, "compute is the slowest stage")
        assert work["fps"] == pytest.approx(2.0, rel=0.1)
        assert work["eta_seconds"] == pytest.approx(20.0, rel=0.1)
        assert daemon.station.metrics()["frames_total"] == 20


def test_changes_are_announced(world: World):
    with world.make() as daemon, daemon.station.subscribe() as changes:
        drop(world, "a.mp4")
        live(world, daemon, 100)
        heard = {changes.get_nowait() for _ in range(changes.qsize())}
        assert heard == {"job", "progress"}
        for _ in range(100):  # nobody fetches them
            daemon.station.pause(None)
        assert changes.qsize() < 20
        while not changes.empty():
            changes.get_nowait()
    daemon._monitor.announce("job")
    assert changes.empty()  # it has left


def test_preview_is_asked_for_and_kept(world: World):
    world.seconds_per_film = 1000.0
    drop(world, "a.mp4")
    with world.make() as daemon:
        live(world, daemon, 10)
        assert daemon.station.preview(1) is None
        assert world.num_previews_asked == 1
        daemon._dispatcher.hear(Previewed(1, 2.5, b"before", b"after"))
        live(world, daemon, 1)
        assert daemon.station.preview(1) == (2.5, b"before", b"after")
        assert daemon.station.preview(77) is None


def test_pause_of_one_and_resume(world: World):
    world.seconds_per_film = 100.0
    drop(world, "a.mp4", "b.mp4")
    with world.make() as daemon:
        live(world, daemon, 20)
        daemon.station.pause(1)
        live(world, daemon, 200)
        assert names(daemon.station.snapshot()["queue"]) == ["a.mp4"]
        assert world.files.names(OUTBOX) == {"b.mp4"}
        daemon.station.resume(1)
        live(world, daemon, 200)
        assert world.files.names(OUTBOX) == {"a.mp4", "b.mp4"}
        with pytest.raises(JobError, match="job 1 is done and cannot be paused"):
            daemon.station.pause(1)


def test_pause_of_everything_outlives_the_process(world: World):
    world.seconds_per_film = 100.0
    drop(world, "a.mp4", "b.mp4")
    with world.make() as daemon:
        live(world, daemon, 20)
        daemon.station.pause(None)
        live(world, daemon, 200)
        assert world.stops == ["pause"]
        assert names(daemon.station.snapshot()["queue"]) == ["a.mp4", "b.mp4"]  # at its place
    with world.make() as daemon:
        live(world, daemon, 200)
        assert daemon.station.snapshot()["paused"] is True
        assert world.files.names(OUTBOX) == set()
        daemon.station.resume(None)
        live(world, daemon, 300)
        assert daemon.station.snapshot()["paused"] is False
        assert world.files.names(OUTBOX) == {"a.mp4", "b.mp4"}


@pytest.mark.parametrize("id", [1, 2])
def test_cancel_of_what_is_at_work_or_waits_and_retry(id: int, world: World):
    world.seconds_per_film = 100.0
    drop(world, "1.mp4", "2.mp4")
    with world.make() as daemon:
        live(world, daemon, 20)
        daemon.station.cancel(id)
        live(world, daemon, 300)
        assert world.files.names(OUTBOX) == {f"{3 - id}.mp4"}
        kept = {f"failed/{id}.mp4", f"failed/{id}.mp4.error.txt", f"done/{3 - id}.mp4"}
        assert world.files.names(INBOX) == kept
        assert daemon.station.snapshot()["counts"]["cancelled"] == 1
        # The latest in front: one without a time would come last, and never be seen where many films are done.
        assert [job["id"] for job in daemon.station.snapshot()["history"]] == [3 - id, id]
        assert all(job["added"] <= job["ended"] for job in daemon.station.snapshot()["history"])
        daemon.station.retry(id)
        assert world.files.names(INBOX) == {f"{id}.mp4", f"done/{3 - id}.mp4"}
        live(world, daemon, 300)
        assert world.files.names(OUTBOX) == {"1.mp4", "2.mp4"}
        assert world.files.names(INBOX) == {"done/1.mp4", "done/2.mp4"}


def test_retry_of_what_failed_and_of_what_is_done(world: World):
    drop(world, "a.mp4")
    world.outcomes["a.mp4"] = [Failure("SourceError", "no film")]
    with world.make() as daemon:
        live(world, daemon, 60)
        daemon.station.retry(1)
        live(world, daemon, 60)
        assert world.files.names(INBOX) == {"done/a.mp4"}
        with pytest.raises(JobError, match=r"'a\.mp4' is done"):
            daemon.station.retry(1)
        with pytest.raises(JobError, match="there is no job 9"):
            daemon.station.retry(9)


def test_retry_of_what_waits_for_its_next_attempt_is_at_once(world: World):
    full = Failure("OutputError", "the disk is full", may_pass=True)
    drop(world, "a.mp4")
    world.outcomes["a.mp4"] = [full, full, full]
    with world.make() as daemon:
        live(world, daemon, 100)  # two attempts, and a third far away
        (job,) = daemon.station.snapshot()["queue"]
        assert job["not_before"] > world.clock.now()
        daemon.station.retry(1)
        live(world, daemon, 1)
        assert daemon._dispatcher.is_at_work(1)


def test_order_of_the_queue(world: World):
    world.seconds_per_film = 100.0
    drop(world, "1.mp4", "2.mp4", "3.mp4", "4.mp4")
    with world.make() as daemon:
        live(world, daemon, 20)
        daemon.station.move(4, 2)
        daemon.station.move(2, None)
        assert names(daemon.station.snapshot()["queue"]) == ["4.mp4", "3.mp4", "2.mp4"]
        live(world, daemon, 400)
    assert world.computed == ["1.mp4", "4.mp4", "3.mp4", "2.mp4"]


def test_trouble_is_said(world: World):
    world.files.free = 10
    drop(world, "a.mp4")
    with world.make(min_free=100) as daemon:
        live(world, daemon, 60)
        assert daemon.station.snapshot()["trouble"] == "too little room is left where the outputs go"
        world.files.free = 1000
        world.files.closed.add(INBOX / "done")
        live(world, daemon, 60)
        assert daemon.station.snapshot()["trouble"] == "the files of 1 films cannot be moved to their places"
        world.files.closed.clear()
        live(world, daemon, 120)
        assert daemon.station.snapshot()["trouble"] is None
        metrics = daemon.station.metrics()
    assert (metrics["films_done_total"], metrics["films_failed_total"]) == (1, 0)
