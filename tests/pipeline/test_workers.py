from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import films
import vsr
from vsr.pipeline.workers import TRIAL_FRAMES, TRIAL_SECONDS, CoreShare, Way, list_ways
from vsr.settings import Settings

SPLIT, WHOLE = Way(2, 1), Way(1, 2)


@pytest.mark.parametrize(
    ("cores", "groups", "expected"),
    [
        (1, 1000, [Way(1, 1)]),
        (2, 1000, [Way(2, 1), Way(1, 2)]),
        (2, None, [Way(2, 1), Way(1, 2)]),
        (2, 50, [Way(2, 1)]),
        (2, 3, [Way(1, 2)]),
        (8, 1000, [Way(4, 2), Way(1, 8)]),
        (6, 1000, [Way(4, 1), Way(1, 6)]),
        (64, 1000, [Way(4, 16), Way(1, 64)]),
    ],
)
def test_ways_worth_trying(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, cores: int, groups: int | None, expected: list[Way]
) -> None:
    upscaler = vsr.make_upscaler(Settings(model=str(tiny_weights), device="cpu"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert list_ways(upscaler, groups) == expected


class Machine:
    """A clock, and frames that take as long as the way says."""

    def __init__(self, seconds: dict[Way, float], ways: list[Way]) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.share = CoreShare(ways, clock=lambda: self.now)
        self.work = self.share.share(self.compute)

    def compute(self, item: object) -> object:
        self.now += self.seconds[self.share.way]
        return item


@pytest.fixture
def kept_threads() -> object:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("kept_threads")
@pytest.mark.parametrize(
    ("split", "whole", "kept"), [(0.04, 0.05, SPLIT), (0.05, 0.04, WHOLE), (0.05, 0.0499, SPLIT), (2.0, 1.0, WHOLE)]
)
def test_the_faster_way_is_kept(split: float, whole: float, kept: Way) -> None:
    machine = Machine({SPLIT: split, WHOLE: whole}, [SPLIT, WHOLE])
    assert machine.share.num_workers == 2
    seen = []
    for item in range(200):
        assert machine.work(item) == item
        seen.append(machine.share.way)
    assert {SPLIT, WHOLE} <= set(seen)
    assert set(seen[60:]) == {kept}


@pytest.mark.usefixtures("kept_threads")
def test_quick_frames_are_watched_for_long_enough() -> None:
    machine = Machine({SPLIT: 0.001, WHOLE: 0.001}, [SPLIT, WHOLE])
    num_frames = 0
    while machine.share.way == SPLIT:
        machine.work(None)
        num_frames += 1
    assert num_frames >= TRIAL_SECONDS / 0.001 > TRIAL_FRAMES


def test_no_more_frames_than_the_way_says_are_under_way() -> None:
    share = CoreShare([WHOLE, SPLIT])
    running, most = [], []

    def compute(item: int) -> None:
        running.append(item)
        most.append(len(running))
        time.sleep(0.01)
        running.remove(item)

    work = share.share(compute)
    threads = [threading.Thread(target=lambda number=number: work(number)) for number in range(4)]
    before = torch.get_num_threads()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.set_num_threads(before)
    assert max(most) == 1


def test_a_frame_that_fails_lets_the_next_one_through() -> None:
    share = CoreShare([Way(1, torch.get_num_threads())])

    def fail(item: object) -> None:
        raise RuntimeError("broken")

    work = share.share(fail)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="broken"):
            work(None)


def test_every_gpu_has_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    gpus: Any = SimpleNamespace(device=torch.device("cuda", 0), num_devices=3)
    assert list_ways(gpus, None) == list_ways(gpus, 2) == [Way(3, 8)]


def test_a_run_leaves_torchs_threads_as_they_were(film: films.Film, tiny_weights: Path) -> None:
    before = torch.get_num_threads()
    vsr.upscale(film.path, model=str(tiny_weights))
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (torch.get_num_threads(), seen) == (before, [before])
