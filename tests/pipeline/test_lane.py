"""The GPU's lane of the river, on the CPU: its streams are stand-ins that do late what a GPU does late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import films
import vsr
from vsr.errors import Interrupted, ProcessingError
from vsr.model.group import UpscalerGroup
from vsr.model.loading import load_model
from vsr.model.network import Network
from vsr.model.upscaler import Upscaler
from vsr.pipeline.clock import StageClock
from vsr.pipeline.compute import Tally, compute
from vsr.pipeline.lane import FLIGHTS_PER_DEVICE, Flight, Lane, fly
from vsr.pipeline.plan import FilmPlan, plan_film
from vsr.pipeline.reuse import Task, group_tasks
from vsr.pipeline.workers import CoreShare, Way
from vsr.settings import Settings
from vsr.video.nvenc import MAX_HELD
from vsr.video.planes import view_samples
from vsr.video.reader import Picture, Reader

MakeFilm = Callable[..., films.Film]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class LateEvent:
    """Passed only once somebody has waited for it."""

    def __init__(self, streams: LateStreams) -> None:
        self.streams = streams

    def synchronize(self) -> None:
        self.streams.num_waits += 1

    def wait(self) -> None:
        self.streams.num_orders += 1


class LateStreams:
    """Streams of the CPU: work is done at once, but counted as it would be queued."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.num_waits = self.num_orders = self.num_finished = 0
        self.current = ["host"]
        self.allocated: list[int] = []

    @contextmanager
    def _queue(self, name: str) -> Iterator[None]:
        self.current.append(name)
        yield
        self.current.pop()

    def copying_in(self) -> Any:
        return self._queue("in")

    def computing(self) -> Any:
        return self._queue("work")

    def copying_out(self) -> Any:
        return self._queue("out")

    def mark(self) -> LateEvent:
        assert self.current[-1] != "host", "nothing is queued on the default stream"
        return LateEvent(self)

    def allocate(self, num_bytes: int) -> Tensor:
        self.allocated.append(num_bytes)
        # What was not copied shows.
        return torch.full((num_bytes,), 77, dtype=torch.uint8)

    def finish(self) -> None:
        self.num_finished += 1


class Overflowing(nn.Module):
    """Repeats pixels, and gives Inf in half precision where the picture is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        result = frames_BCHW.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        return result if self.gain.dtype == torch.float32 else result.where(result < 0.5, torch.inf)


def make_plan(film: films.Film, upscaler: Upscaler, **options: Any) -> FilmPlan:
    return plan_film(film.path, film.path.with_suffix(".out.mkv"), Settings(codec="ffv1", **options), upscaler)


def read_tasks(plan: FilmPlan, size: int) -> list[list[Task]]:
    pictures = Reader(plan.info, plan.output.window).pictures()
    return list(group_tasks((Task(picture, picture.frame.width * picture.frame.height) for picture in pictures), size))


def read_groups(plan: FilmPlan, size: int) -> list[list[Picture]]:
    return [[task.picture for task in group] for group in read_tasks(plan, size)]


def codes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    return list(view_samples(frame).components)


def assert_same(ones: list[av.VideoFrame], others: list[av.VideoFrame]) -> None:
    for one, other in zip(ones, others, strict=True):
        assert one.format.name == other.format.name
        assert (one.colorspace, one.color_range) == (other.colorspace, other.color_range)
        for left, right in zip(codes_of(one), codes_of(other), strict=True):
            assert np.array_equal(left, right)


@pytest.mark.parametrize(
    ("recipe", "scale"),
    [(films.plain, None), (films.plain, 2.5), (films.ten_bit, None), (films.odd_size, None)],
    ids=["planes", "resampled", "ten bits", "odd size"],
)
def test_gives_what_the_middle_stage_gives(
    make_film: MakeFilm, tiny_weights: Path, recipe: Callable[..., films.Film], scale: float | None
) -> None:
    upscaler = Upscaler(load_model(str(tiny_weights)), device="cpu", precision="fp32", scale=scale)
    plan = make_plan(make_film(recipe), upscaler)
    tally, streams = Tally(), LateStreams()
    lane = Lane(upscaler, plan, tally, streams)
    for group in read_groups(plan, 5):
        landed = lane.launch(group).land()
        assert_same(landed, compute(group, upscaler=upscaler, plan=plan, tally=tally))
    assert tally.sizes_resampled == set()


def test_launching_waits_for_nothing(film: films.Film, tiny_weights: Path) -> None:
    upscaler = Upscaler(load_model(str(tiny_weights)), device="cpu")
    plan, streams = make_plan(film, upscaler), LateStreams()
    lane = Lane(upscaler, plan, Tally(), streams)
    groups = read_groups(plan, 2)
    flights = [lane.launch(group) for group in groups[:FLIGHTS_PER_DEVICE]]
    # Two waits are for room on the way in, for copies launched long before: 18 planes through 6 buffers.
    assert streams.num_waits == 2 * 3 * FLIGHTS_PER_DEVICE - 6
    assert streams.num_orders == 2 * FLIGHTS_PER_DEVICE  # work behind copies in, copies out behind work
    for flight, group in zip(flights, groups, strict=False):
        assert_same(flight.land(), compute(group, upscaler=upscaler, plan=plan, tally=Tally()))


def test_memory_of_the_host_is_made_once(film: films.Film, tiny_weights: Path) -> None:
    upscaler = Upscaler(load_model(str(tiny_weights)), device="cpu")
    plan, streams = make_plan(film, upscaler), LateStreams()
    lane = Lane(upscaler, plan, Tally(), streams)
    for group in read_groups(plan, 4):
        lane.launch(group).land()
    luma = film.width * film.height
    # The ring's buffers go round: each of the six has held luma at some time; three for the way back.
    assert len(streams.allocated) <= 6 + 6 + FLIGHTS_PER_DEVICE
    assert max(streams.allocated) >= 4 * 16 * luma * 3 // 2
    before = len(streams.allocated)
    for group in read_groups(plan, 4):
        lane.launch(group).land()
    assert len(streams.allocated) == before


def test_for_nvenc_pictures_stay_on_the_device(film: films.Film, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the surfaces is what a frame in system memory would hold, also where it was done again."""
    network = Network(Overflowing().eval(), 2, "Overflowing", "test", 0)
    upscaler = Upscaler(network, device="cpu", precision="bf16")
    plan = make_plan(film, upscaler)
    encoding = replace(plan.output.encoding, pix_fmt="nv12", on_device=True)
    plan = replace(plan, output=replace(plan.output, encoding=encoding), batch=2)
    seen: list[Tensor] = []
    monkeypatch.setattr("vsr.pipeline.lane.wrap_surface", lambda surface, *_: seen.append(surface) or surface.clone())
    streams = LateStreams()
    lane = Lane(upscaler, plan, Tally(), streams)
    addresses, num_frames = set(), 0
    for group in read_groups(plan, 2) * 3:
        landed = lane.launch(group).land()
        expected = compute(group, upscaler=Upscaler(network, device="cpu", precision="bf16"), plan=plan, tally=Tally())
        for surface, frame in zip(landed, expected, strict=True):
            assert np.array_equal(surface.numpy(), join_planes(frame))
        addresses |= {surface.data_ptr() for surface in seen}
        num_frames += len(landed)
    assert upscaler.stats.fp32_repeats > 0
    assert MAX_HELD < len(addresses) < num_frames, "a fixed ring, larger than what the encoder holds"
    assert max(streams.allocated) == film.width * film.height, "samples go in, no picture comes back"


def join_planes(frame: av.VideoFrame) -> np.ndarray:
    """Luma, and below it both chroma components in turn."""
    luma, *chroma = codes_of(frame)
    return np.concatenate([luma, np.stack(chroma, axis=-1).reshape(-1, luma.shape[1])])


def test_frames_that_overflow_are_done_again(film: films.Film) -> None:
    network = Network(Overflowing().eval(), 2, "Overflowing", "test", 0)
    upscaler = Upscaler(network, device="cpu", precision="bf16")
    plan = make_plan(film, upscaler)
    group = read_groups(plan, 4)[0]
    expected = compute(group, upscaler=Upscaler(network, device="cpu", precision="bf16"), plan=plan, tally=Tally())
    assert_same(Lane(upscaler, plan, Tally(), LateStreams()).launch(group).land(), expected)
    assert upscaler.stats.fp32_repeats == 4
    assert upscaler.warnings == ["bf16 overflowed in test: such frames are done in fp32"]


def enlarge_in_lanes(monkeypatch: pytest.MonkeyPatch, streams: list[LateStreams]) -> None:
    """Let `upscale_film` work as it would with GPUs."""

    def enlarge(
        groups: Any, upscalers: list[Upscaler], _: CoreShare, plan: FilmPlan, tally: Tally, clock: Any, __: Any
    ) -> Any:
        streams[:] = [LateStreams() for _ in upscalers]
        lanes = [Lane(one, plan, tally, own) for one, own in zip(upscalers, streams, strict=True)]
        return fly(groups, lanes, clock)

    monkeypatch.setattr("vsr.pipeline.run._enlarge", enlarge)
    monkeypatch.setattr("vsr.pipeline.run.list_ways", lambda upscaler, _: [Way(upscaler.num_devices, 1)])


def read_film(path: Path) -> list[tuple[int, bytes]]:
    with av.open(str(path)) as container:
        return [(frame.pts, frame.to_ndarray().tobytes()) for frame in container.decode(video=0)]


@pytest.mark.parametrize("num_devices", [1, 2, 3])
def test_a_film_through_lanes_is_the_same_film(
    make_film: MakeFilm, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, num_devices: int
) -> None:
    film = make_film(films.plain, times=60)
    settings = Settings(model=str(tiny_weights), codec="ffv1", precision="fp32", batch=3)
    group = UpscalerGroup(load_model(str(tiny_weights)), ["cpu"] * num_devices, precision="fp32")
    plain = vsr.upscale(film.path, tmp_path / "plain.mkv", settings=settings)
    streams: list[LateStreams] = []
    enlarge_in_lanes(monkeypatch, streams)
    flown = vsr.upscale(film.path, tmp_path / "flown.mkv", settings=settings, upscaler=group)
    assert read_film(Path(flown.output)) == read_film(Path(plain.output))
    assert [one.num_finished for one in streams] == [1] * num_devices
    assert flown.stage_seconds["compute"] > 0


@pytest.mark.parametrize("method", ["launch", "land"])
def test_a_failure_names_its_place_and_leaves_nothing(
    film: films.Film, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    streams: list[LateStreams] = []
    enlarge_in_lanes(monkeypatch, streams)
    group = UpscalerGroup(load_model(str(tiny_weights)), ["cpu", "cpu"])

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    if method == "launch":
        monkeypatch.setattr(Upscaler, "_compute", fail)
    else:
        monkeypatch.setattr(LateEvent, "synchronize", fail)
    with pytest.raises(ProcessingError, match=r"film\.mp4' at 0\.000 s: RuntimeError: CUDA error") as caught:
        vsr.upscale(film.path, model=str(tiny_weights), upscaler=group, batch=2)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert [path.name for path in film.path.parent.iterdir()] == ["film.mp4"]
    assert [one.num_finished for one in streams] == [1, 1]


def test_an_interruption_ends_all_lanes(
    make_film: MakeFilm, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_film(films.plain, times=240)
    streams: list[LateStreams] = []
    enlarge_in_lanes(monkeypatch, streams)
    cancel = threading.Event()
    group = UpscalerGroup(load_model(str(tiny_weights)), ["cpu", "cpu"], scale=16, cancel=cancel)
    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(Interrupted):
        vsr.upscale(film.path, model=str(tiny_weights), scale=16, upscaler=group, cancel=cancel)
    assert [path.name for path in film.path.parent.iterdir()] == ["film.mp4"]


def test_flights_are_bounded(film: films.Film, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the encoder is, no more batches are on a device than have buffers to come back to."""
    upscaler = Upscaler(load_model(str(tiny_weights)), device="cpu")
    plan, counting, under_way = make_plan(film, upscaler), threading.Lock(), [0]

    def count(function: Callable[..., Any], change: int) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            result = function(*arguments)
            with counting:
                under_way.append(under_way[-1] + change)
            return result

        return counted

    monkeypatch.setattr(Lane, "launch", count(Lane.launch, 1))
    monkeypatch.setattr(Flight, "land", count(Flight.land, -1))
    lanes = [Lane(one, plan, Tally(), LateStreams()) for one in upscaler.split(2)]
    groups = read_tasks(plan, 1)
    with fly(groups, lanes, StageClock()) as landed:
        for _ in landed:
            time.sleep(0.02)
    assert len(under_way) == 1 + 2 * len(groups)
    assert under_way[-1] == 0
    assert 2 <= max(under_way) <= 2 * FLIGHTS_PER_DEVICE


@needs_cuda
@pytest.mark.parametrize("batch", [1, 4])
def test_a_gpu_gives_the_pictures_of_the_cpu(
    make_film: MakeFilm, tmp_path: Path, tiny_weights: Path, batch: int
) -> None:
    film = make_film(films.plain, times=60)
    outputs = []
    for device in ("cpu", "cuda"):
        outputs.append(tmp_path / f"{device}.mkv")
        vsr.upscale(
            film.path, outputs[-1], model=str(tiny_weights), codec="ffv1", precision="fp32", device=device, batch=batch
        )
    one, other = map(read_film, outputs)
    assert [pts for pts, _ in one] == [pts for pts, _ in other]
    for (_, left), (_, right) in zip(one, other, strict=True):
        difference = np.frombuffer(left, np.uint8).astype(int) - np.frombuffer(right, np.uint8)
        assert abs(difference).max() <= 1
