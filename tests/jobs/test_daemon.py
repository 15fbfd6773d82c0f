"""The watch over a folder: what is taken, where everything ends up, and that nothing is lost or done twice."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from vsr.jobs.clock import SystemClock
from vsr.jobs.crew import Failure
from vsr.jobs.daemon import CANCEL_SECONDS, CLOSE_SECONDS, STOP_SECONDS
from vsr.jobs.file_system import Disk
from vsr.jobs.handover import Handover
from vsr.jobs.inbox import Inbox
from vsr.jobs.job import Job, State
from vsr.jobs.ledger import Ledger
from watching import INBOX, OUTBOX, World


def test_film_is_made_and_its_original_put_away(world: World):
    world.files.put(INBOX / "a.mp4")
    world.files.put(INBOX / "holiday" / "b.mkv")
    assert world.run() == 0
    assert world.files.names(OUTBOX) == {"a.mp4", "holiday/b.mp4"}
    assert world.files.names(INBOX) == {"done/a.mp4", "done/holiday/b.mkv"}
    assert world.computed == ["a.mp4", "b.mkv"]
    assert world.records() == set()


def test_what_is_no_work_is_left_alone(world: World):
    names = ["preset.toml", "a.mp4.part", ".hidden.mp4", "done/b.mp4", "failed/c.mp4", ".trash/d.mp4", "notes.txt"]
    for name in names:
        world.files.put(INBOX / name)
    assert world.run(300) == 0
    assert world.files.names(INBOX) == {name for name in names if not name.startswith(".")}
    assert world.computed == []
    assert [event["file"] for event in world.events("left alone")] == ["notes.txt"]  # said once, in ten looks


def test_file_is_taken_when_it_has_stopped_growing(world: World):
    def grow() -> None:
        world.files.put(INBOX / "a.mp4", b"film" * int(world.clock.time))
        if world.clock.time < 100:
            world.clock.after(4, grow)

    world.clock.at(0, grow)
    world.run(200, settle=5.0)
    (queued,) = world.events("queued")
    assert 100 + 5 <= queued["time"] - 1_700_000_000 <= 100 + 40  # the poll's 30 s, and twice the settling
    assert world.files.contents[OUTBOX / "a.mp4"] == b"larger " + b"film" * 100


def test_incomplete_file_is_waited_for_then_tried(world: World):
    world.files.put(INBOX / "a.mp4")
    world.incomplete.add("a.mp4")
    world.run(500, patience=600.0)
    assert world.computed == []
    assert len(world.events("incomplete")) == 1  # said once, looked at again and again, but ever rarer
    assert 5 < len(world.inspected) < 20
    world.run(800, patience=600.0)
    assert world.computed == ["a.mp4"]


def test_file_that_was_completed_is_taken(world: World):
    world.files.put(INBOX / "a.mp4")
    world.incomplete.add("a.mp4")

    def complete() -> None:
        world.incomplete.clear()
        world.files.put(INBOX / "a.mp4", b"whole film")

    world.clock.at(200, complete)
    world.run(400)
    assert world.files.contents[OUTBOX / "a.mp4"] == b"larger whole film"


def test_once_does_not_wait_for_what_is_incomplete(world: World):
    world.files.put(INBOX / "a.mp4")
    world.files.put(INBOX / "b.mp4")
    world.incomplete.add("a.mp4")
    assert world.run() == 0
    assert world.files.names(INBOX) == {"a.mp4", "done/b.mp4"}


def test_failure_that_cannot_pass_is_not_tried_again(world: World):
    world.files.put(INBOX / "a.mp4", b"text")
    world.outcomes["a.mp4"] = [Failure("SourceError", "'a.mp4' is not a film", "look at it")]
    assert world.run() == 1
    assert world.files.names(INBOX) == {"failed/a.mp4", "failed/a.mp4.error.txt"}
    assert world.files.contents[INBOX / "failed/a.mp4.error.txt"].decode() == (
        "a.mp4: 'a.mp4' is not a film\nhint: look at it\nwhen: 2023-11-14 22:13:45 UTC\nattempts: 1\n"
    )
    assert world.files.names(OUTBOX) == set()


def test_reason_lies_beside_an_original_of_whatever_name(tmp_path: Path):
    """On a disk: no name there has more than 255 bytes."""
    inbox = Inbox(tmp_path / "in", tmp_path / "out")
    names = [f"{'x' * 250}{number}.mp4" for number in (1, 2)]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        handover = Handover(tmp_path / "handover", inbox, ledger, Disk(), SystemClock())
        for name in names:
            source = inbox.root / name
            source.parent.mkdir(exist_ok=True)
            source.write_text("no film")
            ledger.add([Job(source, inbox.outbox / name)])
            job = ledger.claim("me:1:1")
            assert job is not None
            handover.give_up(job, Disk().sign(source), "is not a film", None)
    reasons = [path.read_text() for path in inbox.failed.iterdir() if path.name.endswith(".error.txt")]
    assert {path.name for path in inbox.failed.iterdir()} > set(names)
    assert sorted(text.partition(": ")[0] for text in reasons) == names


def test_failure_that_may_pass_is_tried_again_later(world: World):
    full = Failure("OutputError", "the disk is full", may_pass=True)
    world.files.put(INBOX / "a.mp4")
    world.outcomes["a.mp4"] = [full, full, None]
    assert world.run() == 0
    assert world.files.names(INBOX) == {"done/a.mp4"}
    begun = [event["time"] for event in world.events("begun")]
    first, second = (later - earlier - world.seconds_per_film for earlier, later in pairwise(begun))
    assert 5 <= first <= 10 <= second <= 20


def test_attempts_come_to_an_end(world: World):
    full = Failure("OutputError", "the disk is full", may_pass=True)
    world.files.put(INBOX / "a.mp4")
    world.outcomes["a.mp4"] = [full] * 9
    assert world.run(attempts=3) == 1
    assert len(world.outcomes["a.mp4"]) == 6
    assert b"attempts: 3" in world.files.contents[INBOX / "failed/a.mp4.error.txt"]


def test_one_failure_does_not_hold_up_the_rest(world: World):
    world.outcomes["b.mp4"] = [Failure("SourceError", "no film")]
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        world.files.put(INBOX / name)
    assert world.run() == 1
    assert world.files.names(OUTBOX) == {"a.mp4", "c.mp4"}


def test_hidden_place_is_not_shown_to_people(world: World):
    world.files.put(INBOX / "a.mp4")
    world.monkeypatch.setattr(
        "watching.FakeWorker._end",
        lambda worker, number: _fail_naming_the_output(worker),
    )
    world.run()
    assert "'/out/a.mp4' could not be finished" in world.files.contents[INBOX / "failed/a.mp4.error.txt"].decode()


def _fail_naming_the_output(worker) -> None:
    from vsr.jobs.crew import Failed

    order, worker._order = worker._order, None
    worker._on_event(Failed(order.job_id, Failure("OutputError", f"{str(order.output)!r} could not be finished")))


def test_damaged_film_is_delivered_and_said(world: World):
    world.files.put(INBOX / "a.mp4")
    world.damaged.add("a.mp4")
    assert world.run() == 1
    assert world.files.names(OUTBOX) == {"a.mp4"}
    assert world.files.names(INBOX) == {"failed/a.mp4", "failed/a.mp4.error.txt"}


def test_damage_that_is_allowed_is_no_failure(world: World):
    world.files.put(INBOX / "a.mp4")
    world.damaged.add("a.mp4")
    assert world.run(settings={"allow_corrupt": True}) == 0
    assert world.files.names(INBOX) == {"done/a.mp4"}


def test_same_name_again_is_another_film(world: World):
    world.files.put(INBOX / "a.mp4", b"first")
    world.run()
    world.files.put(INBOX / "a.mp4", b"second")
    world.run()
    assert world.files.contents[OUTBOX / "a.mp4"] == b"larger first"
    assert world.files.contents[OUTBOX / "a_2.mp4"] == b"larger second"
    assert world.files.names(INBOX) == {"done/a.mp4", "done/a_2.mp4"}


def test_same_name_again_though_the_output_was_taken_away(world: World):
    """A name that was given once is not given again: whoever has fetched the first film keeps it."""
    world.files.put(INBOX / "a.mp4", b"first")
    world.run()
    world.files.remove(OUTBOX / "a.mp4")
    world.files.put(INBOX / "a.mp4", b"second")
    world.run()
    assert world.files.names(OUTBOX) == {"a_2.mp4"}


def test_two_films_that_would_have_one_output(world: World):
    world.files.put(INBOX / "a.avi", b"avi")
    world.files.put(INBOX / "a.mp4", b"mp4")
    world.run()
    assert sorted(world.files.contents[OUTBOX / name] for name in ("a.mp4", "a_2.mp4")) == [
        b"larger avi",
        b"larger mp4",
    ]


def test_output_whose_name_somebody_took_meanwhile(world: World):
    world.files.put(INBOX / "a.mp4")
    world.clock.at(15, lambda: world.files.put(OUTBOX / "a.mp4", b"somebody's"))
    world.run()
    assert world.files.contents[OUTBOX / "a.mp4"] == b"somebody's"
    assert world.files.contents[OUTBOX / "a_2.mp4"] == b"larger film"
    assert world.computed == ["a.mp4"]


def test_number_that_was_given_before_is_not_given_again(world: World):
    """Twice somebody takes the name while we work, and both films were fetched in between."""
    for content in (b"first", b"second"):
        world.files.put(INBOX / "a.mp4", content)
        world.clock.after(15, lambda: world.files.put(OUTBOX / "a.mp4", b"somebody's"))
        world.run()
        (found,) = world.files.names(OUTBOX) - {"a.mp4"}
        assert found == {b"first": "a_2.mp4", b"second": "a_3.mp4"}[content]
        assert world.files.contents[OUTBOX / found] == b"larger " + content
        world.files.remove(OUTBOX)


def test_original_that_changed_meanwhile_is_done_again(world: World):
    world.files.put(INBOX / "a.mp4", b"first")
    world.clock.at(15, lambda: world.files.put(INBOX / "a.mp4", b"second"))
    world.run()
    assert world.files.contents[OUTBOX / "a.mp4"] == b"larger second"
    assert world.files.names(OUTBOX) == {"a.mp4"}


def test_original_that_was_taken_away_is_not_missed(world: World):
    world.seconds_per_film = 100.0
    world.files.put(INBOX / "a.mp4")
    world.files.put(INBOX / "b.mp4")
    world.clock.at(20, lambda: world.files.remove(INBOX / "b.mp4"))
    world.run(400)
    assert world.files.names(OUTBOX) == {"a.mp4"}
    assert [event["file"] for event in world.events("cancelled")] == ["b.mp4"]


def test_nearest_preset_counts(world: World):
    world.files.put(INBOX / "series" / "preset.toml")
    for name in ("a.mp4", "series/b.mp4", "series/one/c.mp4"):
        world.files.put(INBOX / name)
    with world.make(settings={"preset": "film", "crf": 20}) as daemon:
        world.clock.at(15, daemon.stop)
        daemon.run()
        snapshot = daemon.station.snapshot()
        settings = {job.source.name: dict(job.settings) for job in daemon._ledger.jobs()}
    assert [job["name"] for job in snapshot["queue"]] == ["a.mp4", "series/b.mp4", "series/one/c.mp4"]
    nearest = {"preset": "/in/series/preset.toml", "crf": 20}
    assert settings == {"a.mp4": {"preset": "film", "crf": 20}, "b.mp4": nearest, "c.mp4": nearest}


def test_nothing_begins_without_room(world: World):
    world.files.put(INBOX / "a.mp4")
    world.files.free = 10
    world.clock.at(300, lambda: setattr(world.files, "free", 1000))
    world.run(400, min_free=100)
    assert [event["event"] for event in world.events("room", "no room", "begun")] == ["no room", "room", "begun"]
    assert world.files.names(OUTBOX) == {"a.mp4"}


def test_outbox_that_may_not_be_written_to(world: World):
    world.files.put(INBOX / "sub" / "a.mp4")
    world.files.closed.add(OUTBOX / "sub")
    assert world.run() == 1
    reason = world.files.contents[INBOX / "failed/sub/a.mp4.error.txt"].decode()
    assert reason.startswith("sub/a.mp4: '/out/sub' cannot be written to: Permission denied\n")


def test_original_that_cannot_be_moved_is_not_done_twice(world: World):
    """`done` is closed for a while: the film is made once, and its original follows when it can."""
    world.files.put(INBOX / "a.mp4")
    world.files.closed.add(INBOX / "done")
    world.clock.at(300, world.files.closed.clear)
    world.run(200)
    assert world.files.names(INBOX) == {"a.mp4"}
    world.run(200)
    assert world.files.names(INBOX) == {"done/a.mp4"}
    assert world.computed == ["a.mp4"]
    assert world.files.names(OUTBOX) == {"a.mp4"}


def test_stop_puts_the_film_aside_and_the_next_start_goes_on(world: World):
    world.seconds_per_film = 1000.0
    world.files.put(INBOX / "a.mp4")
    assert world.run(100) == 0
    assert world.stops == ["pause"]
    assert world.clock.time < 131
    assert world.files.names(INBOX) == {"a.mp4"}
    world.run()
    assert world.files.names(INBOX) == {"done/a.mp4"}
    with world.make() as daemon:
        (job,) = daemon._ledger.jobs()
        assert (job.state, job.attempts) == (State.DONE, 1)  # the interrupted one does not count


def test_stop_does_not_wait_for_ever(world: World):
    world.seconds_per_film = 1000.0
    world.is_deaf = True
    world.files.put(INBOX / "a.mp4")
    assert world.run(100) == 0
    assert world.stops == ["pause", "cancel"]
    assert 100 + STOP_SECONDS <= world.clock.time < 130


def test_second_signal_stops_at_once(world: World):
    world.seconds_per_film = 1000.0
    world.is_deaf = True
    world.files.put(INBOX / "a.mp4")
    with world.make() as daemon:
        world.clock.at(100, daemon.stop)
        world.clock.at(101, daemon.stop)
        assert daemon.run() == 0
    assert world.stops == ["pause", "cancel"]
    assert world.clock.time <= 101


@pytest.mark.parametrize("num_devices", [1, 3])
def test_devices_work_side_by_side(num_devices: int, world: World):
    for number in range(6):
        world.files.put(INBOX / f"{number}.mp4")
    world.run(devices=tuple(f"cuda:{number}" for number in range(num_devices)))
    begun = [event["time"] for event in world.events("begun")]
    assert len(set(begun)) == 6 // num_devices
    assert len(world.files.names(OUTBOX)) == 6


def test_look_is_taken_when_asked_for(world: World):
    with world.make(poll=1e6) as daemon:
        world.clock.at(50, lambda: world.files.put(INBOX / "a.mp4"))
        world.clock.at(60, daemon.look)
        world.clock.at(200, daemon.stop)
        daemon.run()
    assert world.files.names(OUTBOX) == {"a.mp4"}


def test_original_that_was_replaced_while_it_waited_has_to_settle_again(world: World):
    world.seconds_per_film = 100.0
    world.files.put(INBOX / "a.mp4")
    world.files.put(INBOX / "b.mp4", b"first")

    def grow() -> None:
        world.files.put(INBOX / "b.mp4", b"second" * int(world.clock.time))
        if world.clock.time < 200:
            world.clock.after(3, grow)

    world.clock.at(50, grow)
    world.run(500)
    assert world.files.contents[OUTBOX / "b.mp4"] == b"larger " + b"second" * 200
    assert world.computed == ["a.mp4", "b.mp4"]  # nothing was begun on what still grew


def test_better_film_under_the_name_of_one_that_failed(world: World):
    world.files.put(INBOX / "a.mp4", b"broken")
    world.outcomes["a.mp4"] = [Failure("SourceError", "no film")]
    world.run()
    world.files.put(INBOX / "a.mp4", b"whole")
    assert world.run() == 0
    assert world.files.contents[OUTBOX / "a.mp4"] == b"larger whole"
    assert world.files.names(INBOX) == {"done/a.mp4", "failed/a.mp4", "failed/a.mp4.error.txt"}
    world.run()
    assert world.files.contents[INBOX / "failed" / "a.mp4"] == b"broken"  # nobody brings it back


def test_disk_that_is_away_is_no_folder_from_which_everything_was_taken(world: World):
    world.seconds_per_film = 100.0
    world.files.put(INBOX / "a.mp4")
    world.files.put(INBOX / "b.mp4")
    away: dict = {}

    def unmount() -> None:
        for path in [path for path in world.files.contents if path.is_relative_to(INBOX)]:
            away[path] = world.files.contents.pop(path)

    world.clock.at(20, unmount)
    world.clock.at(90, lambda: world.files.contents.update(away))
    world.run(400)
    assert world.files.names(OUTBOX) == {"a.mp4", "b.mp4"}
    assert [event["event"] for event in world.events("away", "back", "cancelled")] == ["away", "back"]


def test_file_that_nobody_comes_to_the_end_of_holds_up_nobody_for_ever(world: World):
    world.endless.add("a.mp4")
    world.files.put(INBOX / "a.mp4")
    world.files.put(INBOX / "b.mp4")
    world.run(1000)
    assert world.num_given_up == 1
    assert world.files.names(OUTBOX) == {"a.mp4", "b.mp4"}  # this worker had no trouble with it


def test_once_ends_while_everything_is_paused(world: World):
    world.files.put(INBOX / "a.mp4")
    with world.make() as daemon:
        daemon.station.pause(None)
    assert world.run() == 1
    assert world.files.names(INBOX) == {"a.mp4"}


@pytest.mark.parametrize("began", [1, 6, 26, 31, 46, 51])
def test_disk_of_the_ledger_that_is_full_for_a_while(began: int, world: World):
    """Whatever is under way then: taking, claiming, failing, delivering."""
    full = Failure("OutputError", "the disk is full", may_pass=True)
    world.outcomes["b.mp4"] = [full]
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        world.files.put(INBOX / name)
    world.clock.at(began, lambda: setattr(world.files, "is_full", True))
    world.clock.at(began + 100, lambda: setattr(world.files, "is_full", False))
    with world.make() as daemon:
        world.clock.at(began + 50, lambda: troubles.append(daemon.station.snapshot()["trouble"]))
        troubles: list[str | None] = []
        world.clock.at(600, daemon.stop)
        daemon.run()
    assert world.files.names(OUTBOX) == {"a.mp4", "b.mp4", "c.mp4"}
    assert world.files.names(INBOX) == {"done/a.mp4", "done/b.mp4", "done/c.mp4"}
    assert sorted(world.computed) == ["a.mp4", "b.mp4", "c.mp4"]
    assert len(world.events("trouble")) == len(world.events("trouble is over")) <= 1
    assert troubles[0] is not None


def test_outbox_that_is_away_for_a_while(world: World):
    world.files.put(INBOX / "a.mp4")
    world.files.is_outbox_away = True
    world.clock.at(100, lambda: setattr(world.files, "is_outbox_away", False))
    world.run(200, min_free=1)
    assert world.files.names(OUTBOX) == {"a.mp4"}
    (trouble,) = world.events("trouble")
    assert "Stale file handle" in trouble["text"]


def test_end_takes_less_than_half_a_minute():
    """With the inspector's second, and the second that the system's events may take."""
    assert STOP_SECONDS + CANCEL_SECONDS + CLOSE_SECONDS + 2 < 30
