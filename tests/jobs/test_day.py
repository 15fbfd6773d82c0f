"""A day of the daemon's life in seconds: what it holds on to does not grow."""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from vsr.jobs.crew import Failure
from watching import INBOX, OUTBOX, World

HOUR = 3600.0
FULL = Failure("OutputError", "the disk is full", may_pass=True)
BROKEN = Failure("SourceError", "it is no film")


@dataclass(frozen=True)
class Held:
    """What this process holds on to."""

    num_objects: int
    num_files: int
    resident_kb: int


def measure() -> Held:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Held(len(gc.get_objects()), len(os.listdir("/proc/self/fd")), pages * os.sysconf("SC_PAGE_SIZE") // 1024)


class Day:
    """A film every half minute into one of ten folders; every 20th fails twice, every 50th is none. Whoever owns the
    folders takes away every hour what has become of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.num_dropped = self.num_delivered = self.num_failed = 0
        self.held: list[Held] = []
        world.seconds_per_film = 25.0
        world.clock.at(1.0, self.drop)
        world.clock.at(HOUR, self.tidy)

    def drop(self) -> None:
        self.num_dropped += 1
        # A name comes back after a hundred films, as those of recorders do.
        name = f"film{self.num_dropped % 100}.mp4" if self.num_dropped % 50 else f"bad{self.num_dropped}.mp4"
        path = INBOX / f"folder{self.num_dropped % 10}" / name
        if not self.world.files.exists(path):
            self.world.files.put(path, b"film %d" % self.num_dropped)
            if self.num_dropped % 50 == 0:
                self.world.outcomes[name] = [BROKEN]
            elif self.num_dropped % 20 == 0:
                self.world.outcomes[name] = [FULL, FULL]
        self.world.clock.after(30.0, self.drop)

    def tidy(self) -> None:
        world = self.world
        self.num_delivered += len(world.files.names(OUTBOX))
        self.num_failed += len(world.files.names(INBOX / "failed")) // 2
        for place in (OUTBOX, INBOX / "done", INBOX / "failed"):
            for name in world.files.names(place):
                world.files.remove(place / name)
        world.computed.clear()
        world.inspected.clear()
        world.outcomes = {name: outcome for name, outcome in world.outcomes.items() if outcome}
        world.lines.seek(0)
        world.lines.truncate()
        self.held.append(measure())
        world.clock.after(HOUR, self.tidy)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files as Linux shows them")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("num_hours", [4, pytest.param(24, marks=pytest.mark.slow)])
def test_a_day_leaves_nothing_behind(num_hours: int, world: World, capsys: pytest.CaptureFixture[str]):
    day, began = Day(world), time.perf_counter()
    world.run(num_hours * HOUR + 1.0, poll=20.0)
    first, last = day.held[1], day.held[-1]  # the first hour fills caches and the queue
    with capsys.disabled():
        print(
            f"\n{num_hours} hours in {time.perf_counter() - began:.1f} s: {day.num_dropped} films dropped,"
            f" {day.num_delivered} made, {day.num_failed} given up; after 2 hours and at the end"
            f" {first.num_objects} and {last.num_objects} objects, {first.resident_kb} and {last.resident_kb} kB,"
            f" {first.num_files} and {last.num_files} files open"
        )
    assert day.num_dropped == 120 * num_hours
    assert day.num_delivered + day.num_failed > 118 * num_hours
    assert day.num_failed > 2 * num_hours
    assert last.num_files == first.num_files
    assert last.num_objects < first.num_objects + 1000
    assert last.resident_kb < first.resident_kb + 8000
