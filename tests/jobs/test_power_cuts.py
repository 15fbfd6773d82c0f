"""The power goes after every single step that changes a file or the ledger: nothing is lost, nothing is done twice."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from vsr.errors import JobError
from vsr.jobs.crew import Failure
from vsr.jobs.job import State
from watching import INBOX, OUTBOX, PowerCut, World

MAX_STEPS = 50


def life(world: World) -> None:
    """Three films: one goes well, one at its second attempt, one not at all."""
    if not world.outcomes and not world.computed:
        for name in ("good", "late", "bad"):
            world.files.put(INBOX / "sub" / f"{name}.mp4", name.encode())
        world.outcomes["late.mp4"] = [Failure("OutputError", "the disk is full", may_pass=True)]
        world.outcomes["bad.mp4"] = [Failure("SourceError", "no film")] * 9
    world.run()


def check_life(world: World) -> None:
    assert world.files.names(OUTBOX) == {"sub/good.mp4", "sub/late.mp4"}
    assert world.files.contents[OUTBOX / "sub/late.mp4"] == b"larger late"
    assert world.files.names(INBOX) == {
        "done/sub/good.mp4", "done/sub/late.mp4", "failed/sub/bad.mp4", "failed/sub/bad.mp4.error.txt",
    }  # fmt: skip
    assert sorted(world.computed) == ["good.mp4", "late.mp4"]
    assert not [path for path in world.files.contents if path.is_relative_to(OUTBOX / "sub" / ".vsr")]
    with world.make() as daemon:
        states = {job.source.stem: job.state for job in daemon._ledger.jobs()}
    assert states == {"good": State.DONE, "late": State.DONE, "bad": State.FAILED}


def test_life_without_a_cut(world: World):
    life(world)
    check_life(world)
    assert 15 < world.files.num_changes < MAX_STEPS  # every step of it is cut in the next test


@pytest.mark.parametrize("step", range(MAX_STEPS))
def test_power_goes_after_a_step(step: int, world: World):
    world.files.cut_power(step)
    with suppress(PowerCut):
        life(world)
    world.files.restore_power()
    life(world)
    check_life(world)


@pytest.mark.parametrize("first", range(0, MAX_STEPS, 5))
@pytest.mark.parametrize("second", range(12))
def test_power_goes_twice(first: int, second: int, world: World):
    """The second time while the first is being put right."""
    for steps in (first, second):
        world.files.cut_power(steps)
        with suppress(PowerCut):
            life(world)
    world.files.restore_power()
    life(world)
    check_life(world)


@pytest.mark.parametrize("step", range(20))
def test_power_goes_during_a_retry(step: int, world: World):
    world.files.put(INBOX / "a.mp4")
    world.outcomes["a.mp4"] = [Failure("SourceError", "no film")]
    world.run()
    with suppress(PowerCut), world.make(is_once=True) as daemon:
        world.files.cut_power(step)
        daemon.station.retry(1)
        daemon.run()
    world.files.restore_power()
    world.run()
    if world.files.names(OUTBOX):  # the ledger had heard of it
        assert world.files.names(INBOX) == {"done/a.mp4"}
    else:
        assert world.files.names(INBOX) == {"failed/a.mp4", "failed/a.mp4.error.txt"}
    assert world.computed in ([], ["a.mp4"])


@pytest.mark.parametrize("step", range(25))
def test_power_goes_while_a_better_film_takes_the_name_of_one_that_failed(step: int, world: World):
    world.files.put(INBOX / "a.mp4", b"broken")
    world.outcomes["a.mp4"] = [Failure("SourceError", "no film")]
    world.run()
    world.files.put(INBOX / "a.mp4", b"whole")
    world.files.cut_power(step)
    with suppress(PowerCut):
        world.run()
    world.files.restore_power()
    world.run()
    assert world.files.contents[OUTBOX / "a.mp4"] == b"larger whole"
    assert world.files.contents[INBOX / "failed" / "a.mp4"] == b"broken"
    assert world.files.names(INBOX) == {"done/a.mp4", "failed/a.mp4", "failed/a.mp4.error.txt"}
    assert world.computed == ["a.mp4"]


def test_retry_needs_the_original(world: World):
    world.files.put(INBOX / "a.mp4")
    world.outcomes["a.mp4"] = [Failure("SourceError", "no film")]
    world.run()
    with world.make() as daemon:
        world.files.put(INBOX / "a.mp4", b"another")
        with pytest.raises(JobError, match=r"another file named 'a\.mp4' lies in the inbox"):
            daemon.station.retry(1)
        world.files.remove(INBOX / "a.mp4")
        world.files.remove(INBOX / "failed" / "a.mp4")
        with pytest.raises(JobError, match=r"the original of 'a\.mp4' is not in 'failed' any more"):
            daemon.station.retry(1)


def test_places_of_another_ledger_are_not_taken_for_ours(world: World, tmp_path: Path):
    """The ledger was deleted, and numbers begin anew: what the old one left half way is not the new one's output."""
    world.files.put(INBOX / "a.mp4", b"old")
    world.files.cut_power(5)  # marked, recovered, nothing to claim, queued, claimed, computed
    with pytest.raises(PowerCut):
        world.run()
    assert world.computed == ["a.mp4"]
    assert world.files.names(OUTBOX) == set()
    world.files.restore_power()
    for path in tmp_path.iterdir():
        path.unlink()
    world.clock.time += 1
    world.files.put(INBOX / "a.mp4", b"new")
    world.run()
    assert world.files.contents[OUTBOX / "a.mp4"] == b"larger new"
