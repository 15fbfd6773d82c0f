"""The ledger: order, states, and what survives other processes and their deaths."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.errors import JobError
from vsr.jobs.job import Job, State
from vsr.jobs.ledger import Ledger
from vsr.jobs.owner import name_owner

ME = name_owner()


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite", clock) as ledger:
        yield ledger


def job(name: str, folder: Path = Path("/films"), **settings: object) -> Job:
    return Job(folder / f"{name}.mp4", folder / f"{name}_x4.mp4", settings)


def claim(ledger: Ledger, **options: object) -> Job:
    claimed = ledger.claim(ME, **options)  # type: ignore[arg-type]
    assert claimed is not None
    return claimed


def names(jobs: list[Job]) -> str:
    return "".join(one.source.stem for one in jobs)


def test_jobs_are_claimed_in_order_each_once(ledger: Ledger, clock: Clock) -> None:
    ledger.add(job(name) for name in "abc")
    first = claim(ledger)
    assert (first.source, first.output) == (Path("/films/a.mp4"), Path("/films/a_x4.mp4"))
    assert (first.state, first.attempts, first.owner, first.began) == (State.WORKING, 1, ME, clock.now)
    assert names([claim(ledger), claim(ledger)]) == "bc"
    assert ledger.claim(ME) is None


def test_what_is_known_of_a_job_comes_back_whole(ledger: Ledger, clock: Clock) -> None:
    ledger.add([job("a", preset="film", scale=2.0, drop=["1"])])
    id = claim(ledger).id
    ledger.note_progress(id, 5, 100)
    clock.now += 7
    ledger.finish(id, {"frames_out": 100})
    done = ledger.get(id)
    assert done.settings == {"preset": "film", "scale": 2.0, "drop": ["1"]}
    assert (done.state, done.report, done.owner) == (State.DONE, {"frames_out": 100}, None)
    assert (done.added, done.began, done.ended) == (1000.0, 1000.0, 1007.0)
    assert (done.frames_done, done.frames_total) == (5, 100)


def test_names_that_are_no_utf8_are_kept(ledger: Ledger) -> None:
    source = Path(os.fsdecode(b"/films/caf\xe9.mp4"))
    ledger.add([Job(source, source.with_suffix(".mkv"), {"model": str(source)})])
    claimed = claim(ledger)
    assert (claimed.source, claimed.settings) == (source, {"model": str(source)})
    ledger.fail(claimed.id, f"{source} is broken", None, None)
    assert "caf" in (ledger.get(claimed.id).error or "")
    assert ledger.outputs() == {source.with_suffix(".mkv")}


def test_a_failure_that_may_pass_goes_to_the_end_and_waits_for_its_time(ledger: Ledger, clock: Clock) -> None:
    ledger.add(job(name) for name in "ab")
    first = claim(ledger)
    ledger.fail(first.id, "the disk is full", "make room", retry_at=1010.0)
    waiting = ledger.get(first.id)
    assert (waiting.state, waiting.error, waiting.hint, waiting.attempts) == (
        State.WAITING, "the disk is full", "make room", 1,
    )  # fmt: skip
    ledger.add([job("c")])
    assert names([claim(ledger)]) == "b"
    clock.now = 1010.0
    again = claim(ledger)
    assert (again.source.stem, again.attempts, again.error) == ("a", 2, None)


def test_a_failure_for_good_is_not_claimed_until_it_is_retried(ledger: Ledger) -> None:
    ledger.add([job("a")])
    id = claim(ledger).id
    ledger.fail(id, "not a film", None, None)
    assert ledger.claim(ME, now=1e12) is None
    assert ledger.get(id).state is State.FAILED
    ledger.retry(id)
    assert (claim(ledger).id, ledger.get(id).attempts) == (id, 1)


def test_an_interrupted_job_waits_at_its_place_and_the_attempt_does_not_count(ledger: Ledger) -> None:
    ledger.add(job(name) for name in "ab")
    first = claim(ledger)
    ledger.add([job("c")])
    ledger.release(first.id)
    assert ledger.get(first.id).attempts == 0
    assert names(ledger.jobs([State.WAITING])) == "abc"


def test_known_jobs_are_kept_and_take_new_settings(ledger: Ledger) -> None:
    ledger.add([job(name, scale=2) for name in "abcd"])
    for name, end in (("a", "done"), ("b", "failed"), ("c", "working")):
        claimed = claim(ledger)
        assert claimed.source.stem == name
        if end == "done":
            ledger.finish(claimed.id, {})
        elif end == "failed":
            ledger.fail(claimed.id, "x", None, None)
    ledger.add([job(name, scale=2) for name in "abcd"])
    assert [one.state.value for one in ledger.jobs()] == ["done", "failed", "working", "waiting"]
    ledger.add([job(name, scale=3) for name in "abcd"])
    state = {one.source.stem: (one.state.value, one.settings["scale"]) for one in ledger.jobs()}
    assert state == {"a": ("waiting", 3), "b": ("waiting", 3), "c": ("working", 2), "d": ("waiting", 3)}


def test_a_batch_is_what_was_added_last_and_leaves_others_alone(ledger: Ledger) -> None:
    ledger.add((job(name) for name in "abc"), batch="one")
    ledger.add([job("z")], batch="two")
    ledger.finish(claim(ledger, batch="one").id, {})
    ledger.add([job("c"), job("d")], batch="one")
    assert names(ledger.jobs(batch="one")) == "cd"
    assert names(ledger.jobs()) == "aczd"  # a is done, and stays known; c keeps its place
    assert ledger.counts(batch="one")[State.WAITING] == 2
    assert names([claim(ledger, batch="two")]) == "z"
    assert ledger.claim(ME, batch="two") is None


def test_people_cancel_pause_and_resume(ledger: Ledger) -> None:
    ledger.add(job(name) for name in "abc")
    first, second, third = ledger.jobs()
    ledger.cancel(first.id)
    ledger.pause(second.id)
    assert claim(ledger).id == third.id
    assert ledger.claim(ME) is None
    ledger.resume(second.id)
    assert claim(ledger).id == second.id
    ledger.cancel(third.id)
    assert [one.state for one in ledger.jobs()] == [State.CANCELLED, State.WORKING, State.CANCELLED]


def test_what_was_cancelled_while_at_work_stays_so(ledger: Ledger) -> None:
    ledger.add(job(name) for name in "abc")
    ids = [claim(ledger).id for _ in "abc"]
    for id in ids:
        ledger.cancel(id)
    ledger.release(ids[0])
    ledger.fail(ids[1], "stopped", None, retry_at=0.0)
    ledger.finish(ids[2], {})  # it was quicker
    assert [ledger.get(id).state for id in ids] == [State.CANCELLED, State.CANCELLED, State.DONE]


@pytest.mark.parametrize(
    ("action", "state"), [("resume", "waiting"), ("retry", "working"), ("cancel", "done"), ("pause", "done")]
)
def test_what_a_job_is_not_fit_for_is_refused(ledger: Ledger, action: str, state: str) -> None:
    ledger.add([job("a")])
    id = ledger.jobs()[0].id
    if state in ("working", "done"):
        claim(ledger)
    if state == "done":
        ledger.finish(id, {})
    with pytest.raises(JobError, match=f"job {id} is {state}"):
        getattr(ledger, action)(id)
    with pytest.raises(JobError, match="no job 99"):
        getattr(ledger, action)(99)


@given(st.permutations("abcdef"), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=8))
def test_moving_is_what_a_list_would_do(added: list[str], moves: list[tuple[int, int]]) -> None:
    with Ledger(Path(":memory:")) as ledger:
        ledger.add(job(name) for name in added)
        expected, ids = list(added), {one.source.stem: one.id for one in ledger.jobs()}
        for which, where in moves:
            name, before = expected[which], expected[where] if where < 6 else None
            ledger.move(ids[name], None if before is None else ids[before])
            if name != before:
                expected.remove(name)
                expected.insert(len(expected) if before is None else expected.index(before), name)
        assert names(ledger.jobs()) == "".join(expected)
        assert names([claim(ledger) for _ in added]) == "".join(expected)


def test_only_what_is_in_the_queue_moves(ledger: Ledger) -> None:
    ledger.add(job(name) for name in "ab")
    first = claim(ledger)
    with pytest.raises(JobError, match=f"job {first.id} is not in the queue"):
        ledger.move(first.id, None)


def test_progress_is_written_at_most_once_a_second(ledger: Ledger, clock: Clock) -> None:
    ledger.add([job("a")])
    id = claim(ledger).id
    seen = []
    for _ in range(5):
        ledger.note_progress(id, int(clock.now), None)
        seen.append(ledger.get(id).frames_done)
        clock.now += 0.5
    assert seen == [1000, 1000, 1001, 1001, 1002]


def test_history_is_newest_first_and_old_history_is_forgotten(ledger: Ledger, clock: Clock) -> None:
    ledger.add(job(name) for name in "abcd")
    for _ in "abc":
        ledger.finish(claim(ledger).id, {})
        clock.now += 10
    history = ledger.jobs([State.DONE], newest_first=True)
    assert names(history) == "cba"
    assert names(ledger.jobs([State.DONE], limit=1, offset=1, newest_first=True)) == "b"
    assert ledger.forget(before=1010.0) == 1
    assert names(ledger.jobs()) == "bcd"


def test_counts_have_every_state(ledger: Ledger) -> None:
    assert ledger.counts() == dict.fromkeys(State, 0)
    ledger.add(job(name) for name in "abc")
    claim(ledger)
    assert ledger.counts() == dict.fromkeys(State, 0) | {State.WAITING: 2, State.WORKING: 1}


def test_finished_is_verified_by_content(ledger: Ledger, tmp_path: Path) -> None:
    one = job("a", tmp_path)
    one.source.write_bytes(b"source" * 1000)
    ledger.add([one])
    id = claim(ledger).id
    one.output.write_bytes(b"output" * 1000)
    assert not ledger.is_still_finished(ledger.get(id))
    ledger.finish(id, {})
    done = ledger.get(id)
    assert ledger.is_still_finished(done)
    os.utime(one.output, (1, 1))  # touched: read again, and the same
    assert ledger.is_still_finished(done)
    assert ledger.get(id).output_print != done.output_print
    one.output.write_bytes(b"0utput" * 1000)  # as large as before
    assert not ledger.is_still_finished(ledger.get(id))
    one.output.write_bytes(b"output" * 1000)
    one.source.write_bytes(b"s0urce" * 1000)
    assert not ledger.is_still_finished(ledger.get(id))
    one.output.unlink()
    assert not ledger.is_still_finished(ledger.get(id))


def test_a_source_that_changes_during_the_work_is_not_taken_for_done(ledger: Ledger, tmp_path: Path) -> None:
    one = job("a", tmp_path)
    one.source.write_bytes(b"first")
    ledger.add([one])
    id = claim(ledger).id
    one.source.write_bytes(b"later")
    one.output.write_bytes(b"made of the first")
    ledger.finish(id, {})
    assert not ledger.is_still_finished(ledger.get(id))


@pytest.mark.parametrize("stood_before", [False, True])
def test_an_output_that_a_dead_attempt_left_is_known_for_its_own(
    ledger: Ledger, tmp_path: Path, stood_before: bool
) -> None:
    """Died between renaming the output and telling the ledger: the work is not to be done twice."""
    one = job("a", tmp_path)
    one.source.write_bytes(b"source")
    if stood_before:
        one.output.write_bytes(b"somebody's")
    ledger.add([one])
    claimed = claim(ledger)
    assert not claimed.output_appeared
    assert ledger.recover(is_alone=True) == 1
    again = claim(ledger)
    assert not again.output_appeared  # nothing new is there
    (tmp_path / "new.part").write_bytes(b"ours")
    os.replace(tmp_path / "new.part", one.output)
    assert ledger.recover(is_alone=True) == 1
    third = claim(ledger)
    assert (third.output_appeared, third.attempts) == (True, 1)
    ledger.finish(third.id, None)
    assert ledger.is_still_finished(ledger.get(third.id))


def test_an_output_that_appears_after_a_plain_failure_is_somebody_elses(ledger: Ledger, tmp_path: Path) -> None:
    one = job("a", tmp_path)
    ledger.add([one])
    for is_cut_short in (False, True):
        id = claim(ledger).id
        one.output.write_bytes(b"whose?" * (1 + is_cut_short))
        ledger.fail(id, "x", None, retry_at=0.0, is_cut_short=is_cut_short)
        assert ledger.jobs()[0].output_appeared is False  # that is told of a claimed job only
    assert claim(ledger).output_appeared is True


CLAIMER = """
import sys, time
from pathlib import Path
from vsr.jobs.ledger import Ledger
from vsr.jobs.owner import name_owner

with Ledger(Path(sys.argv[1])) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    while job := ledger.claim(name_owner()):
        print(job.id, flush=True)
        if sys.argv[2] == "hold":
            time.sleep(60)
        time.sleep(0.005)
        ledger.finish(job.id, {})
"""


def start_claimer(path: Path, way: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIMER, str(path), way],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_claim_no_job_twice(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.add(job(str(number)) for number in range(100))
        processes = [start_claimer(path, "finish") for _ in range(2)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        claimed = [process.communicate(timeout=60)[0].split() for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
        assert Counter(claimed[0] + claimed[1]) == Counter(str(one.id) for one in ledger.jobs())
        assert all(claimed), "one process had everything to itself, and nothing was tested"
        assert ledger.counts()[State.DONE] == 100


def test_what_a_killed_process_held_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.add(job(name) for name in "ab")
        mine = claim(ledger)
        process = start_claimer(path, "hold")
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        held = int(process.stdout.readline())
        assert ledger.recover() == 0  # both owners live
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
        assert ledger.recover() == 1
        assert (ledger.get(held).state, ledger.get(held).attempts) == (State.WAITING, 0)
        assert ledger.get(mine.id).state is State.WORKING


def test_owners_of_whom_nobody_can_tell_are_left_alone_unless_one_is_alone(ledger: Ledger) -> None:
    ledger.add([job("a")])
    ledger.claim("another-host:1:5")
    assert ledger.recover() == 0
    assert ledger.recover(is_alone=True) == 1


def test_threads_claim_no_job_twice(ledger: Ledger) -> None:
    ledger.add(job(str(number)) for number in range(100))
    claimed: list[int] = []

    def work() -> None:
        while (one := ledger.claim(ME)) is not None:
            claimed.append(one.id)
            ledger.finish(one.id, {})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == [one.id for one in ledger.jobs()]


def test_a_locked_ledger_is_said_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path, patience=0.1) as ledger:
        ledger.add([job("a")])
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(JobError, match=r"ledger\.sqlite' is locked") as caught:
                ledger.claim(ME)
            assert caught.value.exit_status == 1
            assert names(ledger.jobs()) == "a"  # readers do not wait
            with pytest.raises(JobError, match="is locked"):
                Ledger(path, patience=0.1)
        finally:
            other.close()
        assert claim(ledger).source.stem == "a"


@pytest.mark.parametrize("content", [b"this is no database, whatever its name says" * 50, None])
def test_what_is_no_ledger_is_said_with_its_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ledger.sqlite" if content else tmp_path / "nowhere" / "ledger.sqlite"
    if content:
        path.write_bytes(content)
    with pytest.raises(JobError, match=r"ledger\.sqlite"):
        Ledger(path)


def test_a_ledger_of_another_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JobError, match="another version"):
        Ledger(path)


def test_a_failed_addition_leaves_nothing(ledger: Ledger) -> None:
    def jobs() -> Iterator[Job]:
        yield job("a")
        raise OSError("the folder went away")

    with pytest.raises(OSError, match="went away"):
        ledger.add(jobs())
    assert ledger.jobs() == []
    ledger.add([job("b")])
    assert names(ledger.jobs()) == "b"


def test_ten_thousand_jobs_are_quick(ledger: Ledger) -> None:
    """Half a second of processor time here (disks are others' too); the bound catches what grows with the square."""
    begin = time.process_time()
    for _ in range(2):
        ledger.add((job(str(number)) for number in range(10_000)), batch="b")
    assert [claim(ledger, batch="b").source.stem for _ in range(100)] == [str(number) for number in range(100)]
    assert len(list(ledger.walk([State.WAITING]))) == 9900
    ids = [one.id for one in ledger.walk()]
    with ledger._database.write() as connection:
        connection.execute("UPDATE jobs SET state = 'failed'")
    ledger.reopen(ids)
    assert [one.id for one in ledger.walk([State.WAITING])] == ids
    assert time.process_time() - begin < 5
