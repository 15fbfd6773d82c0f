"""Workers as a parent has them: real processes, real films, a small network."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import psutil
import pytest
from PIL import Image

import films
from listening import Ear
from vsr.jobs.crew import Advanced, Began, Event, Failed, Finished, Order, Previewed, Worker


def order(job_id: int, source: Path, output: Path, weights: Path, **settings: object) -> Order:
    return Order(job_id, source, output, {"model": str(weights)} | settings)


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Worker, Ear]]:
    ear = Ear()
    with Worker("cpu", ear) as worker:
        yield worker, ear


@pytest.fixture
def worker(shared: tuple[Worker, Ear], ear: Ear) -> Worker:
    """One that has worked before, most likely: starting a process takes more than a second."""
    worker, _ = shared
    assert worker.is_idle
    return worker


@pytest.fixture
def ear(shared: tuple[Worker, Ear]) -> Ear:
    """Hears `worker`, and has heard nothing yet."""
    _, ear = shared
    ear.forget()
    return ear


@pytest.fixture
def fresh(ear: Ear) -> Iterator[Worker]:
    """A worker without a process, heard by `ear` as well."""
    with Worker("cpu", ear) as worker:
        yield worker


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_films_one_after_the_other_in_one_process(
    worker: Worker, ear: Ear, film: films.Film, tiny_weights: Path, tmp_path: Path
):
    from vsr.api import upscale

    upscale(film.path, tmp_path / "here.mp4", model=str(tiny_weights), device="cpu")
    processes = []
    for number in (1, 2):
        assert worker.is_idle
        worker.begin(order(number, film.path, tmp_path / f"{number}.mp4", tiny_weights))
        assert not worker.is_idle
        finished = ear.wait_for(Finished)
        processes.append(worker.process_id)
        assert finished.job_id == number
        assert finished.report["frames_out"] == film.num_frames
        assert (tmp_path / f"{number}.mp4").read_bytes() == (tmp_path / "here.mp4").read_bytes()
    assert processes[0] == processes[1]
    first = [event for event in ear.events if event.job_id == 1]
    assert first[0] == Began(1, film.num_frames, 0)
    *news, _ = first[1:]
    done = [event.done for event in news if isinstance(event, Advanced)]
    assert len(done) == len(news)
    assert sorted(set(done)) == done
    assert done[-1] == film.num_frames


def test_a_picture_has_its_news_too(worker: Worker, ear: Ear, tiny_weights: Path, tmp_path: Path):
    Image.new("RGB", (16, 12)).save(tmp_path / "still.png")
    worker.begin(order(1, tmp_path / "still.png", tmp_path / "large.png", tiny_weights))
    ear.wait_for(Finished)
    assert ear.events[:2] == [Began(1, 1, 0), Advanced(1, 1, 1)]


def test_the_worker_s_device_wins(worker: Worker, ear: Ear, film: films.Film, tiny_weights: Path, tmp_path: Path):
    worker.begin(order(1, film.path, tmp_path / "out.mp4", tiny_weights, device="cuda:7"))
    assert ear.wait_for(Finished).report["device"] == "cpu"


@pytest.mark.slow
def test_a_worker_for_any_device_goes_by_the_settings(ear: Ear, film: films.Film, tiny_weights: Path, tmp_path: Path):
    with Worker("auto", ear) as worker:
        worker.begin(order(2, film.path, tmp_path / "out.mp4", tiny_weights, device="cuda:7"))
        assert ear.wait_for(Failed).failure.kind == "DeviceError"


def test_what_cannot_be_done_does_not_end_the_process(worker: Worker, ear: Ear, film: films.Film, tiny_weights: Path):
    missing, output = film.path.with_name("missing.mp4"), film.path.with_name("out.mp4")
    worker.begin(order(1, missing, output, tiny_weights))
    failed = ear.wait_for(Failed)
    process = worker.process_id
    assert failed.failure.kind == "SourceError"
    assert str(missing) in failed.failure.message
    assert not failed.failure.may_pass
    worker.begin(order(2, film.path, output, tiny_weights, crff=3))
    failed = ear.wait_for(Failed)
    assert (failed.job_id, failed.failure.kind, failed.failure.may_pass) == (2, "SettingsError", False)
    assert failed.failure.hint == "did you mean 'crf'?"
    worker.begin(order(3, film.path, output, tiny_weights))
    ear.wait_for(Finished)
    assert worker.process_id == process


def test_a_process_killed_in_the_midst_is_a_failure_and_the_next_order_has_a_new_one(
    worker: Worker,
    ear: Ear,
    long_film: films.Film,
    film: films.Film,
    slow_weights: Path,
    tiny_weights: Path,
    tmp_path: Path,
):
    worker.begin(order(1, long_film.path, tmp_path / "long.mp4", slow_weights))
    ear.wait_for(Advanced)
    victim = worker.process_id
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    failed = ear.wait_for(Failed)
    assert failed.job_id == 1
    assert "signal 9 (SIGKILL)" in failed.failure.message
    assert failed.failure.may_pass
    assert not failed.failure.is_interrupted
    assert not (tmp_path / "long.mp4").exists()
    worker.begin(order(2, film.path, tmp_path / "next.mp4", tiny_weights))
    assert ear.wait_for(Finished).report["frames_out"] == film.num_frames
    assert worker.process_id != victim


def test_a_process_killed_between_two_jobs_is_not_missed(
    worker: Worker, ear: Ear, film: films.Film, tiny_weights: Path, tmp_path: Path
):
    worker.begin(order(1, film.path, tmp_path / "1.mp4", tiny_weights))
    ear.wait_for(Finished)
    assert worker.process_id is not None
    os.kill(worker.process_id, signal.SIGKILL)
    wait_until(lambda: not worker.is_alive)
    worker.begin(order(2, film.path, tmp_path / "2.mp4", tiny_weights))
    ear.wait_for(Finished)


def test_a_cancelled_job_stops_at_once(
    worker: Worker, ear: Ear, long_film: films.Film, film: films.Film, slow_weights: Path, tiny_weights: Path,
    tmp_path: Path,
):  # fmt: skip
    worker.begin(order(1, long_film.path, tmp_path / "long.mp4", slow_weights))
    ear.wait_for(Advanced)
    process = worker.process_id
    worker.cancel()
    failed = ear.wait_for(Failed)
    assert failed.failure.is_interrupted
    assert failed.failure.may_pass
    assert not (tmp_path / "long.mp4").exists()
    worker.begin(order(2, film.path, tmp_path / "next.mp4", tiny_weights))
    ear.wait_for(Finished)
    assert worker.process_id == process


def test_a_paused_job_ends_its_group_of_pictures_and_goes_on_there(
    worker: Worker, ear: Ear, slow_weights: Path, tmp_path: Path
):
    film = films.silent(tmp_path / "film.mp4", times=120)  # the first group holds 96 of them
    job = order(1, film.path, tmp_path / "out.mp4", slow_weights)
    worker.begin(job)
    ear.wait_for(Advanced)
    worker.pause()
    assert ear.wait_for(Failed).failure.is_interrupted
    assert not job.output.exists()
    worker.begin(job)
    report = ear.wait_for(Finished).report
    assert (report["frames_resumed"], report["frames_out"]) == (96, 120)
    assert [event.done for event in ear.events if isinstance(event, Began)] == [0, 96]


def test_a_preview_comes_when_it_is_asked_for(
    worker: Worker, ear: Ear, film: films.Film, tiny_weights: Path, tmp_path: Path
):
    worker.begin(order(1, film.path, tmp_path / "out.mp4", tiny_weights))
    worker.ask_preview()
    previewed = ear.wait_for(Previewed)
    ear.wait_for(Finished)
    assert previewed.job_id == 1
    assert Fraction(previewed.time).limit_denominator(1000) in film.times
    sizes = [Image.open(io.BytesIO(jpeg)).size for jpeg in (previewed.before_jpeg, previewed.after_jpeg)]
    assert sizes == [(film.width, film.height), (4 * film.width, 4 * film.height)]
    assert sum(isinstance(event, Previewed) for event in ear.events) == 1


def test_telling_an_idle_worker_is_without_effect(
    worker: Worker, ear: Ear, film: films.Film, tiny_weights: Path, tmp_path: Path
):
    for number in (1, 2):
        worker.cancel()
        worker.pause()
        worker.ask_preview()
        worker.begin(order(number, film.path, tmp_path / f"{number}.mp4", tiny_weights))
        ear.wait_for(Finished)


@pytest.mark.slow
def test_a_job_cancelled_before_its_process_is_there(fresh: Worker, ear: Ear, film: films.Film, tiny_weights: Path):
    fresh.begin(order(1, film.path, film.path.with_name("out.mp4"), tiny_weights))
    fresh.cancel()
    assert ear.wait_for(Failed).failure.is_interrupted


@pytest.mark.slow
def test_terminating_the_process_stops_its_job_and_then_itself(
    worker: Worker, ear: Ear, long_film: films.Film, slow_weights: Path, tmp_path: Path
):
    worker.begin(order(1, long_film.path, tmp_path / "long.mp4", slow_weights))
    ear.wait_for(Advanced)
    assert worker.process_id is not None
    os.kill(worker.process_id, signal.SIGTERM)
    assert ear.wait_for(Failed).failure.is_interrupted
    wait_until(lambda: not worker.is_alive)


@pytest.mark.slow
def test_orders_may_be_given_from_within_an_event(film: films.Film, tiny_weights: Path, tmp_path: Path):
    finished = threading.Event()
    made: list[int] = []

    def hear(event: Event) -> None:
        if isinstance(event, Finished | Failed):
            made.append(event.job_id)
            if len(made) < 3:
                worker.begin(order(event.job_id + 1, film.path, tmp_path / f"{event.job_id + 1}.mp4", tiny_weights))
            else:
                finished.set()

    with Worker("cpu", hear) as worker:
        worker.begin(order(1, film.path, tmp_path / "1.mp4", tiny_weights))
        assert finished.wait(30)
    assert made == [1, 2, 3]
    assert all((tmp_path / f"{number}.mp4").exists() for number in made)


@pytest.mark.slow
def test_an_unexpected_error_is_followed_by_a_new_process(
    haunt: Callable[[str], None], fresh: Worker, ear: Ear, film: films.Film, tiny_weights: Path
):
    haunt(
        "import vsr.api\n"
        "def fail(*args, **options):\n"
        "    raise RuntimeError('CUDA error: an illegal memory access was encountered')\n"
        "vsr.api.upscale = fail\n"
    )
    for number in (1, 2):
        fresh.begin(order(number, film.path, film.path.with_name("out.mp4"), tiny_weights))
        failed = ear.wait_for(Failed)
        assert failed.failure.kind == "RuntimeError"
        assert failed.failure.may_pass
        wait_until(lambda: not fresh.is_alive)


@pytest.mark.slow
def test_what_libraries_print_does_not_disturb(
    haunt: Callable[[str], None], fresh: Worker, ear: Ear, film: films.Film, tiny_weights: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
):  # fmt: skip
    haunt(
        "import os, threading, time\n"
        "print('no line end', end='', flush=True)\n"
        "def chatter():\n"
        "    while True:\n"
        '        os.write(1, b\'{"event": "Finished"}\\n\\xff\')\n'
        "        time.sleep(0.001)\n"
        "threading.Thread(target=chatter, daemon=True).start()\n"
        "assert sys.argv[0] == '-m'\n"
    )
    fresh.begin(order(1, film.path, tmp_path / "out.mp4", tiny_weights))
    assert ear.wait_for(Finished).report["frames_out"] == film.num_frames
    assert isinstance(ear.events[0], Began)


def test_nothing_is_left_after_closing(ear: Ear, film: films.Film, tiny_weights: Path, tmp_path: Path):
    descriptors, threads = psutil.Process().num_fds(), threading.active_count()
    worker = Worker("cpu", ear)
    worker.begin(order(1, film.path, tmp_path / "out.mp4", tiny_weights))
    ear.wait_for(Finished)
    process = worker.process_id
    assert process is not None
    worker.close()
    assert not psutil.pid_exists(process)
    assert not worker.is_alive
    assert (psutil.Process().num_fds(), threading.active_count()) == (descriptors, threads)
    worker.close()  # once more does no harm


@pytest.mark.slow
def test_closing_in_the_midst_stops_the_job(ear: Ear, long_film: films.Film, slow_weights: Path, tmp_path: Path):
    with Worker("cpu", ear) as worker:
        worker.begin(order(1, long_film.path, tmp_path / "long.mp4", slow_weights))
        ear.wait_for(Advanced)
    assert ear.wait_for(Failed).failure.is_interrupted
    assert list(tmp_path.glob("long.mp4")) == []


@pytest.mark.slow
def test_a_stopped_process_is_closed_by_force(ear: Ear, long_film: films.Film, slow_weights: Path, tmp_path: Path):
    worker = Worker("cpu", ear)
    worker.begin(order(1, long_film.path, tmp_path / "long.mp4", slow_weights))
    ear.wait_for(Advanced)
    process = worker.process_id
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    worker.close(timeout=0.2)
    assert not psutil.pid_exists(process)
    assert ear.wait_for(Failed).failure.is_interrupted


PARENT = """
import sys, time
from pathlib import Path
from vsr.jobs.crew import Advanced, Order, Worker

def hear(event):
    if isinstance(event, Advanced):
        print(worker.process_id, flush=True)

worker = Worker("cpu", hear)
worker.begin(Order(1, Path(sys.argv[1]), Path(sys.argv[2]), {"model": sys.argv[3]}))
time.sleep(60)
"""


def test_a_worker_does_not_outlive_its_parent(long_film: films.Film, slow_weights: Path, tmp_path: Path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PARENT, long_film.path, tmp_path / "long.mp4", slow_weights]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert psutil.pid_exists(child)
        parent.kill()
    wait_until(lambda: not psutil.pid_exists(child))
    assert not (tmp_path / "long.mp4").exists()


@pytest.mark.slow
def test_two_workers_side_by_side(film: films.Film, tiny_weights: Path, tmp_path: Path):
    ears = [Ear(), Ear()]
    with Worker("cpu", ears[0]) as one, Worker("cpu", ears[1]) as other:
        for number, worker in enumerate((one, other)):
            worker.begin(order(number, film.path, tmp_path / f"{number}.mp4", tiny_weights))
        for number, ear in enumerate(ears):
            assert ear.wait_for(Finished).job_id == number
            assert {event.job_id for event in ear.events} == {number}
        assert one.process_id != other.process_id


@pytest.mark.slow
def test_a_process_that_cannot_be_started_is_a_failure(
    fresh: Worker, ear: Ear, film: films.Film, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    fresh.begin(order(1, film.path, film.path.with_name("out.mp4"), tiny_weights))
    failure = ear.wait_for(Failed).failure
    assert failure.message == "a worker process cannot be started: No such file or directory"
    assert failure.may_pass
    monkeypatch.undo()
    fresh.begin(order(2, film.path, film.path.with_name("out.mp4"), tiny_weights))
    ear.wait_for(Finished)


@pytest.mark.slow
def test_a_listener_that_fails_ends_the_process(film: films.Film, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch):
    caught: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: caught.append(args.exc_value))
    heard: list[Event] = []

    def hear(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Began):
            raise ValueError("a fault of the listener")

    with Worker("cpu", hear) as worker:
        worker.begin(order(1, film.path, film.path.with_name("out.mp4"), tiny_weights))
        wait_until(lambda: bool(caught))
        assert not worker.is_alive
        assert worker.is_idle
    assert str(caught[0]) == "a fault of the listener"


def test_the_parent_loads_nothing_heavy():
    code = "import sys, vsr.jobs.crew; print(sorted({'torch', 'av', 'numpy', 'PIL'} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "[]\n"
