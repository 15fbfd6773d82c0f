from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vsr.jobs.batch_report import MAX_ROWS, BatchReport
from vsr.jobs.job import Job
from vsr.jobs.ledger import Ledger


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Iterator[Ledger]:
    with Ledger(Path(":memory:"), clock) as ledger:
        yield ledger


def add(ledger: Ledger, *names: str, **settings: Any) -> None:
    ledger.add([Job(Path(f"/in/{name}.mp4"), Path(f"/out/{name}.mp4"), settings) for name in names], batch="b")


def finish(ledger: Ledger, frames: int = 24, seconds: float = 2.0, **values: Any) -> None:
    job = ledger.claim("me:1:1")
    assert job is not None
    ledger.finish(
        job.id,
        {"frames_out": frames, "seconds": seconds, "fps": frames / seconds, "damaged": False, "frames_resumed": 0}
        | values,
    )


def fail(ledger: Ledger) -> None:
    job = ledger.claim("me:1:1")
    assert job is not None
    ledger.fail(job.id, "it is no film", "look at it", None)


def read(report: BatchReport) -> dict[str, Any]:
    stream = io.StringIO()
    report.write_json(stream)
    return dict(json.loads(stream.getvalue()))


def test_totals_are_of_this_run_and_films_are_all(ledger: Ledger, clock: Clock) -> None:
    add(ledger, *"abcd")
    finish(ledger)
    clock.now = 2000.0
    finish(ledger, frames=100)
    finish(ledger, frames=20, frames_resumed=15)
    fail(ledger)
    report = BatchReport(ledger, "b", 1500.0, ("a note",))
    whole = read(report)
    assert whole["totals"] | {"wall_seconds": 0, "fps": 0} == {
        "films": 4, "states": {"skipped": 1, "done": 2, "failed": 1}, "damaged": 0, "frames": 120, "frames_resumed": 15,
        "seconds": 4.0, "wall_seconds": 0, "fps": 0,
    }  # fmt: skip
    assert (whole["batch"], whole["notes"]) == ("b", ["a note"])
    assert [(film["input"], film["state"]) for film in whole["films"]] == [
        ("/in/a.mp4", "skipped"), ("/in/b.mp4", "done"), ("/in/c.mp4", "done"), ("/in/d.mp4", "failed"),
    ]  # fmt: skip
    assert whole["films"][1]["report"]["frames_out"] == 100
    assert (whole["films"][3]["error"], whole["films"][3]["hint"]) == ("it is no film", "look at it")
    assert not report.is_all_well


def test_all_is_well_when_everything_is_done_and_sound(ledger: Ledger) -> None:
    add(ledger, "a")
    assert not BatchReport(ledger, "b", 0.0).is_all_well
    finish(ledger)
    assert BatchReport(ledger, "b", 0.0).is_all_well


@pytest.mark.parametrize("is_allowed", [False, True])
def test_a_damaged_source_is_not_well_unless_it_may_be(ledger: Ledger, is_allowed: bool) -> None:
    add(ledger, "a", **({"allow_corrupt": True} if is_allowed else {}))
    finish(ledger, damaged=True)
    report = BatchReport(ledger, "b", 0.0)
    assert report.is_all_well is is_allowed
    assert ("damaged" in report.format_table()) is not is_allowed


def test_the_table_has_a_line_for_each_film_and_the_totals(ledger: Ledger) -> None:
    add(ledger, "a", "long_name")
    finish(ledger)
    fail(ledger)
    head, first, second, last = BatchReport(ledger, "b", 0.0).format_table().splitlines()
    assert head.split() == ["film", "state", "frames", "seconds", "frames/s", "output", "or", "error"]
    assert first.split() == ["a.mp4", "done", "24", "2.0", "12.00", "/out/a.mp4"]
    assert second.split() == ["long_name.mp4", "failed", "it", "is", "no", "film"]
    assert first.index("/out") == second.index("it is") == head.index("output")
    assert last.startswith("2 films: 1 done, 1 failed; 24 frames in ")


def test_of_a_long_batch_the_table_has_what_is_not_in_order(ledger: Ledger) -> None:
    add(ledger, *(f"film{number}" for number in range(MAX_ROWS + 1)))
    for _ in range(MAX_ROWS):
        finish(ledger)
    fail(ledger)
    lines = BatchReport(ledger, "b", 0.0).format_table().splitlines()
    assert [line.split()[1] for line in lines[1:-1]] == ["failed"]
    assert "--report FILE" in lines[-1]


def test_a_film_that_a_dead_run_finished_has_no_figures(ledger: Ledger) -> None:
    add(ledger, "a")
    job = ledger.claim("me:1:1")
    assert job is not None
    ledger.finish(job.id, None)
    report = BatchReport(ledger, "b", 0.0)
    assert report.is_all_well
    assert "a.mp4  done" in report.format_table()


def test_an_empty_batch_has_no_lines(ledger: Ledger) -> None:
    assert read(BatchReport(ledger, "b", 0.0))["films"] == []
    assert BatchReport(ledger, "b", 0.0).format_table().startswith("0 films: ")
