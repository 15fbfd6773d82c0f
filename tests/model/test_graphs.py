"""Which shapes get a recording; and, where there is a GPU, that recordings give what the network gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from networks import make_rrdb
from vsr.errors import Interrupted
from vsr.model.graphs import GraphRecorder, Run, ShapeGraphs

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class Recorder:
    """Stands in for GraphRecorder: notes what was recorded, and what ran through a recording."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.recorded: list[int] = []
        self.replayed: list[int] = []

    def __call__(self, run: Run, frames_BCHW: Tensor) -> Run:
        width = frames_BCHW.shape[-1]
        self.recorded.append(width)
        if self.error is not None:
            raise self.error

        def replay(frames_BCHW: Tensor) -> Tensor:
            assert frames_BCHW.shape[-1] == width, "a recording fits one shape"
            self.replayed.append(width)
            return run(frames_BCHW)

        return replay


def run_widths(widths: list[int], recorder: Recorder, capacity: int = 2) -> list[str]:
    told: list[str] = []
    graphs = ShapeGraphs(lambda frames: frames * 2, recorder, told.append, capacity)
    for width in widths:
        frames = torch.rand(1, 3, 2, width)
        assert torch.equal(graphs(frames), frames * 2)
    return told


@pytest.mark.parametrize(
    ("widths", "recorded", "replayed"),
    [
        ([4], [], []),
        ([4, 4], [4], [4]),
        ([4, 4, 4], [4], [4, 4]),
        ([4, 5, 4, 5, 4], [4, 5], [4, 5, 4]),
        ([4, 4, 5, 5, 4, 6, 6, 5, 5, 4], [4, 5, 6], [4, 5, 4, 6, 4]),  # 5 was unused for longest, and comes no more
    ],
)
def test_shapes_are_recorded_when_they_come_again(widths: list[int], recorded: list[int], replayed: list[int]) -> None:
    recorder = Recorder()
    assert run_widths(widths, recorder) == []
    assert (recorder.recorded, recorder.replayed) == (recorded, replayed)


@given(st.lists(st.integers(1, 6), max_size=60))
def test_no_shape_is_recorded_twice(widths: list[int]) -> None:
    recorder = Recorder()
    run_widths(widths, recorder)
    assert len(recorder.recorded) == len(set(recorder.recorded))


def test_where_recording_fails_kernels_are_launched_one_by_one() -> None:
    recorder = Recorder(RuntimeError("operation not permitted when stream is capturing\nmore"))
    told = run_widths([4, 4, 4, 5, 5], recorder)
    assert told == [
        "no CUDA graph for frames of 4x2 (operation not permitted when stream is capturing): kernels one by one"
    ]
    assert recorder.recorded == [4, 5]


def test_an_interruption_is_no_failure() -> None:
    with pytest.raises(Interrupted):
        run_widths([4, 4], Recorder(Interrupted()))  # type: ignore[arg-type]


@needs_cuda
def test_a_recording_gives_what_the_network_gives_and_overwrites_nothing() -> None:
    module = make_rrdb().to("cuda", torch.float16)
    frames = [torch.rand(2, 3, 24, 31, device="cuda").contiguous(memory_format=torch.channels_last) for _ in range(3)]
    with torch.inference_mode():
        graph = GraphRecorder()(module, frames[0])
        results = [graph(picture) for picture in frames]
        for picture, result in zip(frames, results, strict=True):
            torch.testing.assert_close(result, module(picture), rtol=0, atol=2e-3)


@needs_cuda
def test_recordings_work_on_any_stream() -> None:
    module = make_rrdb().to("cuda", torch.float16)
    frames = torch.rand(1, 3, 40, 40, device="cuda").contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        graph, expected, results = GraphRecorder()(module, frames), module(frames), []
        torch.cuda.synchronize()
        for stream in (torch.cuda.Stream(), torch.cuda.Stream()):
            with torch.cuda.stream(stream):
                results += [graph(frames) for _ in range(5)]
        torch.cuda.synchronize()
    for result in results:
        torch.testing.assert_close(result, expected, rtol=0, atol=2e-3)


@needs_cuda
def test_recordings_that_share_memory_do_not_disturb_each_other() -> None:
    module, record = make_rrdb().to("cuda", torch.float16), GraphRecorder()
    shapes = [(1, 3, 40, 40), (1, 3, 24, 56), (2, 3, 40, 40)]
    pictures = [torch.rand(shape, device="cuda").contiguous(memory_format=torch.channels_last) for shape in shapes]
    with torch.inference_mode():
        graphs = [record(module, picture) for picture in pictures]
        for graph, picture in [*zip(graphs, pictures, strict=True)] * 3:
            torch.testing.assert_close(graph(picture), module(picture), rtol=0, atol=2e-3)
