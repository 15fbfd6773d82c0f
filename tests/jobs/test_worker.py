"""The worker's side of the line: what the process does, spoken to by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import films
from listening import Ear
from vsr.jobs.crew import Advanced, Failed, Finished, Order, Worker
from vsr.jobs.messages import read_event, write_order

COMMAND = [sys.executable, "-m", "vsr.jobs.worker", "--device", "cpu"]


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as one:
        yield one
        one.kill()


def begin(process: subprocess.Popen[bytes], order: Order) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"do": "begin", "order": write_order(order)}).encode() + b"\n")
    process.stdin.flush()


def test_no_more_orders_is_the_end(process: subprocess.Popen[bytes]):
    out, err = process.communicate(timeout=20)
    assert (out.strip(), err, process.returncode) == (b"", b"", 0)


def test_the_end_of_orders_stops_the_job_at_work(
    process: subprocess.Popen[bytes], long_film: films.Film, slow_weights: Path, tmp_path: Path
):
    assert process.stdout is not None
    assert process.stdin is not None
    begin(process, Order(1, long_film.path, tmp_path / "out.mp4", {"model": str(slow_weights)}))
    while not isinstance(read_event(process.stdout.readline()), Advanced):
        pass
    process.stdin.close()
    ended = time.monotonic()
    events = [read_event(line) for line in process.stdout]
    assert isinstance(events[-1], Failed)
    assert events[-1].failure.is_interrupted
    assert process.wait(5) in (0, 3)  # 3: it took longer than the grace, on a busy machine
    assert time.monotonic() - ended < 3


def test_words_that_are_no_orders_end_the_process(process: subprocess.Popen[bytes]):
    _, err = process.communicate(b"hello\n", timeout=20)
    assert b"JSONDecodeError" in err


def test_ctrl_c_is_the_parents_to_deal_with(process: subprocess.Popen[bytes], film: films.Film, tiny_weights: Path):
    assert process.stdout is not None
    begin(process, Order(1, film.path, film.path.with_name("out.mp4"), {"model": str(tiny_weights)}))
    for line in process.stdout:
        event = read_event(line)
        if event is not None:
            process.send_signal(signal.SIGINT)
        if isinstance(event, Finished):
            break
    begin(process, Order(2, film.path, film.path.with_name("out2.mp4"), {"model": str(tiny_weights)}))
    out, _ = process.communicate(timeout=20)
    assert b'"job_id": 2' in out


@pytest.mark.slow
def test_the_network_is_kept_while_it_fits(
    haunt: Callable[[str], None],
    film: films.Film,
    tiny_weights: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
):
    haunt(
        "import sys, vsr.api\n"
        "make = vsr.api.make_upscaler\n"
        "def tell(*args, **options):\n"
        "    print('a network is made', file=sys.stderr)\n"
        "    return make(*args, **options)\n"
        "vsr.api.make_upscaler = tell\n"
    )
    weights = tmp_path / "own.safetensors"
    weights.write_bytes(tiny_weights.read_bytes())
    ear = Ear()

    def count_made(job_id: int, **settings: object) -> int:
        worker.begin(Order(job_id, film.path, tmp_path / f"{job_id}.mp4", {"model": str(weights)} | settings))
        ear.wait_for(Finished)
        return capfd.readouterr().err.count("a network is made")

    with Worker("cpu", ear) as worker:
        assert count_made(1) == 1
        assert count_made(2, crf=30) == 0
        assert count_made(3, precision="fp32") == 1
        assert count_made(4, precision="fp32", codec="hevc", tile="auto") == 0
        weights.write_bytes(tiny_weights.read_bytes())
        assert count_made(5, precision="fp32") == 1, "the file is another one now"
