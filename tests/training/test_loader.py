"""The same batches whoever makes them, from wherever one starts; and workers that end when they should."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from itertools import islice
from multiprocessing import resource_sharer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vsr.training.loader
from vsr.errors import SettingsError, SourceError, TrainingError
from vsr.training.loader import Batch, PatchLoader
from vsr.training.pictures import Pictures, open_pictures


class Noisy:
    """A degradation that draws: every second pixel with noise."""

    def prepare(self, high_HWC: np.ndarray, scale: int, rng: np.random.Generator) -> np.ndarray:
        return high_HWC

    def __call__(self, high_HWC: np.ndarray, scale: int, rng: np.random.Generator) -> np.ndarray:
        low = high_HWC[::scale, ::scale]
        return (low // 2 + rng.integers(0, 100, low.shape)).astype(np.uint8)


class Dies(Noisy):
    def __call__(self, high_HWC: np.ndarray, scale: int, rng: np.random.Generator) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Fails(Noisy):
    def __call__(self, high_HWC: np.ndarray, scale: int, rng: np.random.Generator) -> np.ndarray:
        raise SourceError("film.mp4: gone", hint="fetch it again")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three noise pictures of different sizes, one of them grey with 16 bits."""
    place = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    for name, size in (("a", (40, 64)), ("b", (56, 33))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(place / f"{name}.png")
    Image.fromarray(rng.integers(0, 65536, (48, 48), np.uint16)).save(place / "deep.png")
    return place


@pytest.fixture
def pictures(folder: Path) -> Pictures:
    """The 8-bit ones."""
    return open_pictures([folder / "a.png", folder / "b.png"], scale=2, patch=8)


def loader(pictures: Pictures, **changes: object) -> PatchLoader:
    settings = {"scale": 2, "patch": 8, "batch": 4, "kernel": "matlab", "patches_per_sheet": 3, "seed": 7}
    return PatchLoader(pictures, **{**settings, **changes})


def take(pictures: Pictures, count: int = 7, **changes: object) -> list[Batch]:
    with loader(pictures, **changes) as batches:
        return list(islice(batches, count))


def same(ours: list[Batch], theirs: list[Batch]) -> bool:
    return len(ours) == len(theirs) and all(
        torch.equal(a.low_BCHW, b.low_BCHW) and torch.equal(a.high_BCHW, b.high_BCHW)
        for a, b in zip(ours, theirs, strict=True)
    )


def children() -> list[object]:
    return multiprocessing.active_children()


def test_batches_are_what_they_say(pictures: Pictures):
    [batch] = take(pictures, 1)
    assert batch.low_BCHW.shape == (4, 3, 8, 8)
    assert batch.high_BCHW.shape == (4, 3, 16, 16)
    for frames in (batch.low_BCHW, batch.high_BCHW):
        assert frames.dtype == torch.float32
        assert frames.is_contiguous()
        assert torch.equal(frames.mul(255).round().div(255), frames)
    assert batch.high_BCHW.min() < 0.1
    assert 0.9 < batch.high_BCHW.max() <= 1


@pytest.mark.parametrize("degrade", [None, Noisy()], ids=["clean", "degraded"])
@pytest.mark.parametrize("depth", [1, 3])
def test_any_number_of_workers_gives_the_same(pictures: Pictures, degrade: Noisy | None, depth: int):
    alone = take(pictures, degrade=degrade, patches_per_sheet=depth)
    for workers in (1, 2):
        assert same(take(pictures, degrade=degrade, patches_per_sheet=depth, workers=workers), alone), workers
    assert not children()
    assert not same(alone[:3], alone[3:6])


@pytest.mark.parametrize("workers", [0, 2])
def test_sixteen_bits_travel(folder: Path, workers: int):
    pictures = open_pictures([folder], scale=2, patch=8)
    batches = take(pictures, workers=workers, batch=8)
    assert same(batches, take(pictures, batch=8))
    assert not torch.equal(batches[0].high_BCHW.mul(255).round().div(255), batches[0].high_BCHW)


@pytest.mark.parametrize("step", [1, 3, 5])
@pytest.mark.parametrize("workers", [0, 1])
def test_resumed_is_as_if_never_stopped(pictures: Pictures, step: int, workers: int):
    fresh = take(pictures, 8, degrade=Noisy())
    assert same(take(pictures, 8 - step, degrade=Noisy(), start_step=step, workers=workers), fresh[step:])


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_share_the_batch(pictures: Pictures, world: int):
    whole = take(pictures, degrade=Noisy())
    parts = [take(pictures, degrade=Noisy(), rank=rank, world=world) for rank in range(world)]
    joined = [
        Batch(torch.cat([part.low_BCHW for part in step]), torch.cat([part.high_BCHW for part in step]))
        for step in zip(*parts, strict=True)
    ]
    assert same(joined, whole)


def test_seeds_and_memory(folder: Path, pictures: Pictures):
    first = take(pictures)
    assert same(take(pictures), first)
    assert not same(take(pictures, seed=8), first)
    tight = open_pictures([folder / "a.png", folder / "b.png"], scale=2, patch=8, memory=1)
    assert tight.report.num_resident == 0
    assert same(take(tight), first)


def test_pipes_serve_where_shared_memory_is_short(pictures: Pictures, monkeypatch: pytest.MonkeyPatch):
    first = take(pictures)
    monkeypatch.setattr(vsr.training.loader, "_has_shared_memory", lambda num_bytes: False)
    assert same(take(pictures, workers=1), first)


def test_augmentation_can_be_left_out(pictures: Pictures):
    plain, turned = take(pictures, augment=False), take(pictures)
    assert not same(plain, turned)
    for ours, theirs in zip(plain, turned, strict=True):
        assert torch.equal(ours.high_BCHW.flatten(1).sort().values, theirs.high_BCHW.flatten(1).sort().values)


def test_jitter_changes_input_and_target_alike_and_0_nothing(pictures: Pictures):
    plain, changed = take(pictures, 3), take(pictures, 3, jitter=0.3)
    assert same(take(pictures, 3, jitter=0.0), plain)
    assert not same(changed, plain)
    for workers in (0, 2):
        assert same(take(pictures, 3, jitter=0.3, workers=workers), changed)
    for ours, theirs in zip(changed, plain, strict=True):
        shifts = [
            (a.mean(dim=(2, 3)) - b.mean(dim=(2, 3)))
            for a, b in ((ours.low_BCHW, theirs.low_BCHW), (ours.high_BCHW, theirs.high_BCHW))
        ]
        assert shifts[0].abs().max() > 0.01
        # Input and target of noise pictures do not have quite the same mean to begin with.
        torch.testing.assert_close(shifts[0], shifts[1], rtol=0, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_need_no_fork(pictures: Pictures, method: str):
    """Pictures are handed over as a file in memory, not copied."""
    assert same(take(pictures, workers=2, start_method=method), take(pictures))


# --- ends ---


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loops_random_numbers_stay(pictures: Pictures, workers: int):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    take(pictures, workers=workers, jitter=0.1)
    assert torch.equal(torch.get_rng_state(), before)


def test_leaving_early_ends_the_workers(pictures: Pictures):
    for _ in loader(pictures, workers=2):
        assert len(children()) == 2
        break
    assert not children()


def test_closing_ends_the_workers(pictures: Pictures):
    loading = loader(pictures, workers=1)
    batches = iter(loading)
    next(batches)
    assert len(children()) == 1
    loading.close()
    assert not children()
    assert next(batches, None) is None


def test_an_error_in_the_loop_ends_the_workers(pictures: Pictures):
    def run() -> None:
        with loader(pictures, workers=1) as batches:
            for _ in batches:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert not children()


def test_workers_leave_signals_to_the_loop(pictures: Pictures):
    with loader(pictures, workers=1) as loading:
        batches = iter(loading)
        next(batches)
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGINT)
            os.kill(worker.pid, signal.SIGTERM)  # `timeout` and batch systems send it to the whole group
        time.sleep(0.05)
        assert same(list(islice(batches, 9)), take(pictures, 9, start_step=1))


def hand_over_to_nobody() -> None:
    """A worker, asked for a piece of shared memory by a loop that dies before it has it."""
    vsr.training.loader._prepare_worker(0)
    read, write = os.pipe()
    address, _ = resource_sharer.DupFd(read)._id
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as loop:
            loop.connect(address)
            loop.recv(4)  # the rest of the challenge stays unread: the connection is reset
    time.sleep(0.1)
    os.close(write)


@pytest.mark.skipif(sys.platform != "linux", reason="the sharer's socket is one of the file system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_say_nothing_when_the_loop_is_gone(capfd: pytest.CaptureFixture[str]):
    worker = multiprocessing.get_context("fork").Process(target=hand_over_to_nobody)
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_arrive_as_they_are(pictures: Pictures, workers: int):
    with pytest.raises(SourceError) as caught:
        take(pictures, degrade=Fails(), workers=workers)
    assert str(caught.value) == "film.mp4: gone\nhint: fetch it again"
    assert not children()


def test_a_dead_worker_is_explained(pictures: Pictures):
    with pytest.raises(TrainingError, match="has died"):
        take(pictures, degrade=Dies(), workers=1)
    assert not children()


def test_waiting_is_counted(pictures: Pictures):
    with loader(pictures) as loading:
        assert loading.wait_seconds == 0
        started = time.perf_counter()
        for _ in islice(loading, 5):
            pass
        inside = time.perf_counter() - started
        assert 0 < loading.wait_seconds <= inside
        waited = loading.wait_seconds
        time.sleep(0.02)
        assert loading.wait_seconds == waited


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"world": 3}, "cannot be shared out evenly to 3"), ({"patches_per_sheet": 0}, "patches_per_sheet 0"),
     ({"seed": -1}, "seed -1"), ({"batch": 0}, "batch of 0")],
)  # fmt: skip
def test_settings_that_do_not_fit(pictures: Pictures, changes: dict[str, int], message: str):
    with pytest.raises(SettingsError, match=message):
        loader(pictures, **changes)
