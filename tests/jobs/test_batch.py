"""A batch under way, with hands that make no film: what is done once, again, later, or not at all."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hands import FULL_DISK, NO_FILM, Workshop, report, write_output
from vsr.errors import JobError
from vsr.jobs import batch as batch_module
from vsr.jobs.batch import Batch
from vsr.jobs.crew import Event, Finished, Order
from vsr.jobs.display import Display
from vsr.jobs.job import Job, State
from vsr.jobs.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of seconds are a moment here."""
    monkeypatch.setattr(batch_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(batch_module, "delay", lambda attempt, **_: 0.05)


def jobs(folder: Path, names: str, **settings: Any) -> list[Job]:
    """A job for each word, with a source that is there."""
    for name in names.split():
        if not (folder / f"{name}.mp4").exists():
            (folder / f"{name}.mp4").write_text(name)
    return [Job(folder / f"{name}.mp4", folder / "out" / f"{name}.mp4", settings) for name in names.split()]


def work(ledger: Ledger, shop: Workshop, listed: list[Job], *, num_hands: int = 1, **options: Any) -> Batch:
    """Run a batch to its end."""
    batch = Batch(ledger, "batch", [shop.hire] * num_hands, **options)
    batch.enter(listed)
    with Display(num_hands, ledger.counts(), is_quiet=True) as display:
        assert batch.run(display)
    return batch


def states(ledger: Ledger) -> dict[str, str]:
    return {job.source.stem: str(job.state) for job in ledger.jobs()}


def test_every_film_is_made_once_and_into_folders_that_were_not_there(ledger: Ledger, tmp_path: Path) -> None:
    shop = Workshop()
    work(ledger, shop, jobs(tmp_path, "a b c d e"), num_hands=2)
    assert sorted(shop.names()) == ["a", "b", "c", "d", "e"]
    assert set(states(ledger).values()) == {"done"}
    assert len(list((tmp_path / "out").iterdir())) == 5
    assert all(hand.is_closed for hand in shop.hands)
    first = ledger.jobs()[0]
    assert (first.frames_done, first.frames_total) == (10, 10)


def test_the_hands_work_side_by_side(ledger: Ledger, tmp_path: Path) -> None:
    """Two films hang until both are at work: with one hand this would not end."""
    together = threading.Barrier(2, timeout=10)

    class Meeting(Workshop):
        def hire(self, on_event):  # type: ignore[no-untyped-def]
            hand = super().hire(on_event)
            work = hand._work
            hand._work = lambda order: (together.wait(), work(order))
            return hand

    work(ledger, Meeting(), jobs(tmp_path, "a b"), num_hands=2)
    assert states(ledger) == {"a": "done", "b": "done"}


def test_a_failure_does_not_stop_the_rest_and_is_kept_with_its_hint(ledger: Ledger, tmp_path: Path) -> None:
    shop = Workshop(b=[NO_FILM])
    work(ledger, shop, jobs(tmp_path, "a b c"))
    assert states(ledger) == {"a": "done", "b": "failed", "c": "done"}
    assert shop.names() == ["a", "b", "c"]  # what cannot pass is not tried again
    failed = ledger.jobs([State.FAILED])[0]
    assert (failed.error, failed.hint) == ("this is no film", "look at it")


def test_what_may_pass_is_tried_again_at_the_end(ledger: Ledger, tmp_path: Path) -> None:
    shop = Workshop(a=[FULL_DISK, FULL_DISK])
    work(ledger, shop, jobs(tmp_path, "a b c"))
    assert shop.names() == ["a", "b", "c", "a", "a"]
    assert states(ledger)["a"] == "done"


def test_a_few_attempts_are_enough(ledger: Ledger, tmp_path: Path) -> None:
    shop = Workshop(a=[FULL_DISK] * 10)
    work(ledger, shop, jobs(tmp_path, "a"))
    assert shop.names() == ["a"] * 4
    assert (states(ledger), ledger.jobs()[0].attempts) == ({"a": "failed"}, 4)


def test_run_again_only_what_failed_is_made(ledger: Ledger, tmp_path: Path) -> None:
    work(ledger, Workshop(b=[NO_FILM]), jobs(tmp_path, "a b c"))
    again = Workshop()
    work(ledger, again, jobs(tmp_path, "a b c"))
    assert again.names() == ["b"]
    last = Workshop()
    work(ledger, last, jobs(tmp_path, "a b c"))
    assert last.names() == []
    assert last.hands[0].thread is None


@pytest.mark.parametrize("change", ["source", "output", "missing output", "settings", "touched"])
def test_what_is_not_as_it_was_is_made_again(ledger: Ledger, tmp_path: Path, change: str) -> None:
    work(ledger, Workshop(), jobs(tmp_path, "a b"))
    if change == "source":
        (tmp_path / "a.mp4").write_text("A")
    elif change == "output":
        (tmp_path / "out" / "a.mp4").write_text("cut")
    elif change == "missing output":
        (tmp_path / "out" / "a.mp4").unlink()
    elif change == "touched":
        os.utime(tmp_path / "a.mp4", (5, 5))
    listed = jobs(tmp_path, "a b")
    if change == "settings":
        listed[0] = jobs(tmp_path, "a", crf=3)[0]
    again = Workshop()
    work(ledger, again, listed)
    assert again.names() == ([] if change == "touched" else ["a"])
    assert states(ledger) == {"a": "done", "b": "done"}


def test_only_ones_own_outputs_are_replaced(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    shop = Workshop()
    work(ledger, shop, jobs(tmp_path, "a"))
    (tmp_path / "a.mp4").write_text("another")
    work(ledger, shop, jobs(tmp_path, "a b"))
    assert [(order.source.stem, order.settings["overwrite"]) for order in shop.orders] == [
        ("a", False), ("b", False), ("a", True),
    ]  # fmt: skip
    (tmp_path / "b.mp4").write_text("another")
    forced = Workshop()
    work(ledger, forced, jobs(tmp_path, "b c"), overwrite=True)
    assert [order.settings["overwrite"] for order in forced.orders] == [True, True]


def test_a_worker_that_died_right_after_its_output_was_there_made_it(ledger: Ledger, tmp_path: Path) -> None:
    shop = Workshop(a=["die"])
    work(ledger, shop, jobs(tmp_path, "a"))
    assert shop.names() == ["a"]
    assert states(ledger) == {"a": "done"}
    again = Workshop()
    work(ledger, again, jobs(tmp_path, "a"))
    assert again.names() == []


def test_a_folder_that_cannot_be_made_is_a_failure_of_its_film(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "a.mp4").touch()
    shop = Workshop()
    work(ledger, shop, [Job(tmp_path / "a.mp4", tmp_path / "file" / "a.mp4"), *jobs(tmp_path, "b")])
    assert states(ledger) == {"a": "failed", "b": "done"}
    assert "file" in (ledger.jobs([State.FAILED])[0].error or "")


def stop_when_hanging(batch: Batch, shop: Workshop, num_stops: int = 1) -> threading.Thread:
    def stop() -> None:
        assert shop.is_hanging.wait(10)
        for _ in range(num_stops):
            batch.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    return thread


def test_stopped_it_pauses_who_works_and_begins_nothing_more(ledger: Ledger, tmp_path: Path) -> None:
    shop = Workshop(b=["hang"])
    batch = Batch(ledger, "batch", [shop.hire])
    batch.enter(jobs(tmp_path, "a b c"))
    thread = stop_when_hanging(batch, shop)
    with Display(1, ledger.counts(), is_quiet=True) as display:
        assert batch.run(display) is False
    thread.join()
    assert shop.hands[0].heard == "pause "
    assert states(ledger) == {"a": "done", "b": "waiting", "c": "waiting"}
    assert ledger.jobs()[1].attempts == 0
    again = Workshop()
    work(ledger, again, jobs(tmp_path, "a b c"))
    assert again.names() == ["b", "c"]


@pytest.mark.parametrize("num_stops", [1, 2])
def test_who_does_not_pause_in_time_is_cancelled(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_stops: int
) -> None:
    """After 20 seconds, or at the second Ctrl-C."""
    monkeypatch.setattr(batch_module, "PAUSE_SECONDS", 0.2 if num_stops == 1 else 60.0)
    shop = Workshop(a=["hang"])

    class Deaf(Workshop):
        def hire(self, on_event):  # type: ignore[no-untyped-def]
            hand = shop.hire(on_event)
            hand.pause = lambda: None
            return hand

    batch = Batch(ledger, "batch", [Deaf().hire])
    batch.enter(jobs(tmp_path, "a"))
    thread = stop_when_hanging(batch, shop, num_stops)
    begin = time.monotonic()
    with Display(1, ledger.counts(), is_quiet=True) as display:
        assert batch.run(display) is False
    thread.join()
    assert time.monotonic() - begin < 10
    assert shop.hands[0].heard == "cancel "
    assert states(ledger) == {"a": "waiting"}


@pytest.mark.parametrize("has_last_words", [True, False])
def test_who_has_to_be_killed_may_have_made_the_film_all_the_same(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_last_words: bool
) -> None:
    monkeypatch.setattr(batch_module, "PAUSE_SECONDS", 0.05)

    class Stubborn:
        """Hears nothing until it is let go, when its film was just finished."""

        def __init__(self, on_event: Callable[[Event], None]) -> None:
            self.on_event = on_event

        def begin(self, order: Order) -> None:
            self.order = order
            batch.stop()

        def pause(self) -> None:
            pass

        cancel = pause

        def close(self) -> None:
            write_output(self.order.output, self.order.settings)
            if has_last_words:
                self.on_event(Finished(self.order.job_id, report(self.order)))

    batch = Batch(ledger, "batch", [Stubborn])
    batch.enter(jobs(tmp_path, "a"))
    with Display(1, ledger.counts(), is_quiet=True) as display:
        assert batch.run(display) is False
    assert states(ledger) == {"a": "done" if has_last_words else "waiting"}
    again = Workshop()
    work(ledger, again, jobs(tmp_path, "a"))
    assert (again.names(), states(ledger)) == ([], {"a": "done"})


def test_stopped_before_it_began_it_does_nothing(ledger: Ledger, tmp_path: Path) -> None:
    shop = Workshop()
    batch = Batch(ledger, "batch", [shop.hire])
    batch.stop()
    batch.enter(jobs(tmp_path, "a"))
    with Display(1, ledger.counts(), is_quiet=True) as display:
        assert batch.run(display) is False
    assert shop.names() == []


def test_two_at_one_batch_share_it_and_each_waits_for_the_other(ledger: Ledger, tmp_path: Path) -> None:
    listed = jobs(tmp_path, " ".join(f"film{number}" for number in range(30)))
    shops = [Workshop(film0=[FULL_DISK]), Workshop(film1=[FULL_DISK])]
    seen: list[int] = []

    def run(shop: Workshop) -> None:
        with Ledger(ledger.path) as own:
            work(own, shop, listed, num_hands=2)
            seen.append(own.counts()[State.DONE])

    threads = [threading.Thread(target=run, args=(shop,)) for shop in shops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [30, 30]
    made = sorted(name for shop in shops for name in shop.names())
    assert len(made) - len(set(made)) <= 2  # those that failed at first


def test_what_a_dead_process_left_is_taken_back(ledger: Ledger, tmp_path: Path) -> None:
    """Of another machine's name: nobody can tell whether it lives, but it holds no lock."""
    ledger.add(jobs(tmp_path, "a b"), batch="batch")
    assert ledger.claim("another-container:1:5") is not None
    shop = Workshop()
    work(ledger, shop, jobs(tmp_path, "a b"))
    assert sorted(shop.names()) == ["a", "b"]


def test_what_a_dead_process_left_is_made_with_the_settings_of_now(ledger: Ledger, tmp_path: Path) -> None:
    ledger.add(jobs(tmp_path, "a", crf=3), batch="batch")
    assert ledger.claim("another-container:1:5") is not None
    shop = Workshop()
    work(ledger, shop, jobs(tmp_path, "a", crf=5))
    assert [order.settings["crf"] for order in shop.orders] == [5]
    assert ledger.jobs()[0].settings == {"crf": 5}


def test_everything_is_made_again_if_so_asked_and_anew_but_once(ledger: Ledger, tmp_path: Path) -> None:
    work(ledger, Workshop(b=[NO_FILM]), jobs(tmp_path, "a b"))
    shop = Workshop(a=[FULL_DISK])
    work(ledger, shop, jobs(tmp_path, "a b c"), fresh=True)
    assert sorted(shop.names()) == ["a", "a", "b", "c"]
    anew = [order.source.stem for order in shop.orders if order.settings.get("fresh")]
    assert sorted(anew) == ["a", "b", "c"]  # not the second attempt at a: its segments stand


def test_films_of_other_batches_are_left_alone(ledger: Ledger, tmp_path: Path) -> None:
    ledger.add(jobs(tmp_path, "x"), batch="another")
    work(ledger, Workshop(), jobs(tmp_path, "a"))
    assert states(ledger) == {"x": "waiting", "a": "done"}


@pytest.mark.parametrize("num_refusals", [3, 10**6])
def test_a_ledger_that_cannot_be_written_is_tried_for_a_while(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_refusals: int
) -> None:
    """A full disk has room again, or the run ends, and the hands are let go."""
    monkeypatch.setattr(batch_module, "LEDGER_SECONDS", 0.5)
    shop = Workshop()
    batch = Batch(ledger, "batch", [shop.hire])
    batch.enter(jobs(tmp_path, "a b"))
    finish, refusals = ledger.finish, []

    def refuse(id: int, report: dict[str, Any] | None) -> None:
        if len(refusals) < num_refusals:
            refusals.append(id)
            raise JobError("database or disk is full")
        finish(id, report)

    monkeypatch.setattr(ledger, "finish", refuse)
    with Display(1, ledger.counts(), is_quiet=True) as display:
        if num_refusals == 3:
            assert batch.run(display)
            assert states(ledger) == {"a": "done", "b": "done"}
        else:
            with pytest.raises(JobError, match="disk is full"):
                batch.run(display)
            assert states(ledger) == {"a": "working", "b": "waiting"}
    assert shop.hands[0].is_closed


def test_nobody_waits_for_a_ledger_to_tell_of_progress(ledger: Ledger, tmp_path: Path) -> None:
    ledger.add(jobs(tmp_path, "a"))
    job = ledger.claim("me:1:1")
    assert job is not None
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        begin = time.monotonic()
        with pytest.raises(JobError, match="is locked"):
            ledger.note_progress(job.id, 1, 2)
        assert time.monotonic() - begin < 5
    finally:
        other.close()
    ledger.finish(job.id, {})  # as patient as ever


def test_ten_thousand_films_begin_in_seconds(ledger: Ledger, tmp_path: Path) -> None:
    """Some of them done before, all of those verified: half a second of processor time here."""
    (tmp_path / "out").mkdir()
    listed = jobs(tmp_path, " ".join(str(number) for number in range(10_000)))
    ledger.add(listed, batch="batch")
    for _ in range(100):
        job = ledger.claim("me:1:1")
        assert job is not None
        job.output.write_text("made")
        ledger.finish(job.id, {})
    begin = time.process_time()
    Batch(ledger, "batch", []).enter(listed)
    assert time.process_time() - begin < 5
    assert ledger.counts() == dict.fromkeys(State, 0) | {State.DONE: 100, State.WAITING: 9900}
