"""Work not done changes nothing: with reuse or without it frames are the same to the last bit, whatever a film does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import films
import vsr
from vsr.model.compact import Compact
from vsr.model.network import Network, pad_to_multiple
from vsr.model.precision import has_native_bf16
from vsr.model.upscaler import Upscaler
from vsr.pipeline.compute import Tally, compute
from vsr.pipeline.plan import FilmPlan
from vsr.pipeline.reuse import (
    MAX_IDLE,
    Composition,
    Task,
    compute_tasks,
    describe_check,
    find_tasks,
    group_tasks,
    make_check,
)
from vsr.pipeline.workers import Way
from vsr.video.decoder_choice import DecoderChoice
from vsr.video.encoding import choose_encoding
from vsr.video.planes import view_samples
from vsr.video.probe import VideoInfo
from vsr.video.reader import Picture, Window
from vsr.video.writer import OutputPlan

MakeFilm = Callable[..., films.Film]
TICK = Fraction(1, 25)


# --- the stages by themselves, on frames made of numbers ---


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures this small are not worth sharing."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return vsr.probe(films.silent(tmp_path_factory.mktemp("film") / "film.mkv").path)


def make_plan(
    info: VideoInfo, upscaler: Upscaler, pix_fmt: str, width: int, height: int, *, batch: int = 1, reuse: bool = True
) -> FilmPlan:
    info = replace(info, pix_fmt=pix_fmt)
    encoding = choose_encoding(info, 64, 64, "ffv1")  # which it tries: sizes that no encoder takes are no matter here
    info = replace(info, width=width, height=height)
    larger_height, larger_width = upscaler.output_size(height, width)
    encoding = replace(encoding, height=larger_height, width=larger_width)
    return FilmPlan(
        info, OutputPlan(Path("out.mkv"), (), encoding, Window()), DecoderChoice("software"), batch, (), reuse
    )


def make_frame(name: str, width: int, height: int, seed: int) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, name)
    random = np.random.default_rng(seed)
    samples = view_samples(frame)
    for component, bits in zip(samples.components, samples.bits, strict=True):
        component[...] = random.integers(0, 1 << bits, component.shape) << samples.shift
    return frame


def copy_frame(frame: av.VideoFrame) -> av.VideoFrame:
    copied = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for target, source in zip(view_samples(copied).components, view_samples(frame).components, strict=True):
        target[...] = source
    return copied


def change(frame: av.VideoFrame, component: int, row: float, column: float, side: int) -> av.VideoFrame:
    """A copy with a square of other codes; `row` and `column` as parts of the component's size."""
    changed = copy_frame(frame)
    plane = view_samples(changed).components[component]
    top, left = int(row * (plane.shape[0] - 1)), int(column * (plane.shape[1] - 1))
    plane[top : top + side, left : left + side] ^= 0x55 << view_samples(changed).shift
    return changed


def make_pictures(frames: Sequence[av.VideoFrame]) -> list[Picture]:
    return [Picture(frame, 3 * number, 3, TICK) for number, frame in enumerate(frames)]


class Cells(nn.Module):
    """Works on cells of 2x2 pixels, as the x2 form of RRDB does: windows must begin where cells do."""

    scale, multiple, halo = 2, 2, 3

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(12, 48, 3, padding=1)

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        height, width = frames_BCHW.shape[-2:]
        cells = nn.functional.pixel_unshuffle(pad_to_multiple(frames_BCHW, 2), 2)
        larger = nn.functional.pixel_shuffle(self.conv(cells.to(self.conv.weight.dtype)), 4)
        return larger[..., : 2 * height, : 2 * width].to(torch.float32)


def make_network(module: Any) -> Network:
    module.eval().requires_grad_(False)
    return Network(module, module.scale, type(module).__name__, "test", module.halo, module.multiple)


def make_upscaler(kind: str, precision: str = "fp32", **options: Any) -> Upscaler:
    torch.manual_seed(0)
    modules: dict[str, Callable[[], nn.Module]] = {
        "compact x4": lambda: Compact(16, 1, 4),
        "compact x2": lambda: Compact(16, 2, 2),
        "compact x3": lambda: Compact(16, 1, 3),
        "compact x1": lambda: Compact(16, 0, 1),
        "cells of 2": Cells,
    }
    return Upscaler(make_network(modules[kind]()), precision=precision, device="cpu", **options)


def run(pictures: Sequence[Picture], plan: FilmPlan, upscaler: Upscaler) -> tuple[list[Picture], Tally]:
    """The river without its threads; groups are computed in the wrong order, which must not matter."""
    tally, check = Tally(), make_check(plan, upscaler)
    groups = list(group_tasks(find_tasks(pictures, plan, upscaler), plan.batch))
    done = [compute_tasks(group, upscaler=upscaler, plan=plan, tally=tally, check=check) for group in groups[::-1]]
    # In bf16 narrow tiles may differ: then frames are whole, which is what the comparison below must find.
    assert upscaler.precision == "bf16" or describe_check(check) == []
    composition = Composition(upscaler, plan, tally)
    results = []
    for outcome in (outcome for group in done[::-1] for outcome in group):
        result = composition.add(outcome)
        # The next frame may be laid upon this one: what the encoder was given must not change under it.
        results.append(replace(result, frame=copy_frame(result.frame)))
    return results, tally


def check_equal(pictures: Sequence[Picture], plan: FilmPlan, upscaler: Upscaler) -> Tally:
    """Compare with whole frames, one by one; what was counted."""
    results, tally = run(pictures, plan, upscaler)
    assert [(p.pts, p.duration, p.time_base) for p in results] == [(p.pts, p.duration, TICK) for p in pictures]
    for number, (picture, result) in enumerate(zip(pictures, results, strict=True)):
        (whole,) = compute([picture], upscaler=upscaler, plan=plan, tally=Tally())
        assert whole.format.name == result.frame.format.name
        for one, other in zip(view_samples(whole).components, view_samples(result.frame).components, strict=True):
            assert np.array_equal(one, other), f"picture {number}"
    return tally


FORMATS = ["yuv420p", "yuv420p10le", "yuv422p", "yuv444p", "yuv444p16le", "yuv411p", "yuv410p", "gray", "nv12", "rgb24"]
CHANGES = st.lists(
    st.one_of(
        st.none(),
        st.tuples(st.integers(0, 2), st.floats(0, 1), st.floats(0, 1), st.integers(1, 20)),
        st.lists(
            st.tuples(st.integers(0, 2), st.floats(0, 1), st.floats(0, 1), st.integers(1, 4)), min_size=2, max_size=3
        ),
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@settings(max_examples=25)
@given(
    kind=st.sampled_from(["compact x4", "compact x2", "compact x3", "compact x1", "cells of 2"]),
    pix_fmt=st.sampled_from(FORMATS),
    width=st.integers(1, 200),
    height=st.integers(1, 150),
    tile=st.sampled_from(["off", "off", 48]),
    steps=CHANGES,
)
def test_reuse_changes_no_bit(
    info: VideoInfo, precision: str, kind: str, pix_fmt: str, width: int, height: int, tile: Any, steps: list[Any]
) -> None:
    if precision == "bf16" and not has_native_bf16():
        pytest.skip("bf16 is slow here")
    upscaler = make_upscaler(kind, precision, tile=tile)
    frames = [make_frame(pix_fmt, width, height, 0)]
    num_components = len(view_samples(frames[0]).components)
    for step in steps:
        frame = copy_frame(frames[-1])
        for component, row, column, side in [] if step is None else step if isinstance(step, list) else [step]:
            frame = change(frame, component % num_components, row, column, side)
        frames.append(frame)
    tally = check_equal(make_pictures(frames), make_plan(info, upscaler, pix_fmt, width, height), upscaler)
    assert tally.num_reused >= steps.count(None)
    assert tally.pixels_computed <= tally.pixels_seen == len(frames) * width * height


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv410p"])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_sample_reaches_no_further_than_what_is_kept(info: VideoInfo, pix_fmt: str, scale: int) -> None:
    """Every place of one sample within a block of luma and of chroma, the worst ones among them."""
    upscaler = make_upscaler(f"compact x{scale}")
    plan = make_plan(info, upscaler, pix_fmt, 176, 144)
    frames = [make_frame(pix_fmt, 176, 144, 0)]
    down, across = view_samples(frames[0]).pixel_format.subsampling
    for component, row, column in [
        (0, 64, 80),
        (0, 79, 95),
        (1, 64 // down, 80 // across),
        (2, 79 // down, 95 // across),
    ]:
        frame = copy_frame(frames[-1])
        view_samples(frame).components[component][row, column] ^= 0xFF
        frames.append(frame)
    tally = check_equal(make_pictures(frames), plan, upscaler)
    assert tally.pixels_computed < 0.8 * tally.pixels_seen, "patches were computed"


def test_work_shrinks_with_what_changes(info: VideoInfo) -> None:
    upscaler = make_upscaler("compact x4")
    plan = make_plan(info, upscaler, "yuv420p", 320, 240)
    first = make_frame("yuv420p", 320, 240, 0)
    frames = [first, copy_frame(first), change(first, 0, 0.5, 0.5, 8), change(first, 0, 0.5, 0.5, 8), first]
    tally = check_equal(make_pictures(frames), plan, upscaler)
    assert tally.num_reused == 2
    assert tally.pixels_seen == 5 * 320 * 240
    assert tally.pixels_computed == 320 * 240 + 2 * 64 * 64, "one frame and two windows"


def test_nothing_is_reused_where_it_is_not_wanted(info: VideoInfo) -> None:
    upscaler = make_upscaler("compact x4")
    frame = make_frame("yuv420p", 160, 120, 0)
    plan = make_plan(info, upscaler, "yuv420p", 160, 120, reuse=False)
    tally = check_equal(make_pictures([frame, frame, frame]), plan, upscaler)
    assert tally.num_reused == 0
    assert tally.pixels_computed == tally.pixels_seen


@pytest.mark.parametrize("batch", [1, 3])
def test_batches_hold_whole_pictures_of_one_layout(info: VideoInfo, batch: int) -> None:
    upscaler = make_upscaler("compact x4")
    plan = make_plan(info, upscaler, "yuv420p", 160, 120, batch=batch)
    noise = [make_frame("yuv420p", 160, 120, seed) for seed in range(4)]
    other = make_frame("yuv444p", 160, 120, 0)
    frames = [*noise, noise[3], noise[3], change(noise[3], 0, 0.1, 0.1, 4), other, noise[0], noise[1], noise[1]]
    assert check_equal(make_pictures(frames), plan, upscaler).num_reused == 3
    for group in group_tasks(find_tasks(make_pictures(frames), plan, upscaler), batch):
        whole = [task for task in group if task.patches is None]
        assert len(whole) <= batch
        assert len({task.picture.frame.format.name for task in whole}) <= 1
        assert all(not task.patches for task in group[:-1])


def test_pictures_that_need_no_work_travel_with_the_next_that_does(info: VideoInfo) -> None:
    upscaler = make_upscaler("compact x4")
    plan = make_plan(info, upscaler, "yuv420p", 64, 64)
    frames = [make_frame("yuv420p", 64, 64, seed) for seed in range(2)]
    pictures = make_pictures([frames[0]] * 4 + [frames[1]] * (2 * MAX_IDLE))
    groups = list(group_tasks(find_tasks(pictures, plan, upscaler), 1))
    assert [len(group) for group in groups] == [1, 4, MAX_IDLE + 1, MAX_IDLE - 2]
    assert [task.picture.pts for group in groups for task in group] == [picture.pts for picture in pictures]
    idle = [task for group in groups for task in group if task.patches == ()]
    assert all(task.picture.frame is None for task in idle), "their frames would fill the memory"


def test_a_film_that_needs_resampling_is_whole_or_the_same(info: VideoInfo) -> None:
    upscaler = make_upscaler("compact x4", scale=2.5)
    frame = make_frame("yuv420p", 160, 120, 0)
    frames = [frame, copy_frame(frame), change(frame, 0, 0.5, 0.5, 4)]
    tally = check_equal(make_pictures(frames), make_plan(info, upscaler, "yuv420p", 160, 120), upscaler)
    assert (tally.num_reused, tally.pixels_computed) == (1, 2 * 160 * 120)


def test_pictures_of_another_size_than_the_films_are_whole_or_the_same(info: VideoInfo) -> None:
    upscaler = make_upscaler("compact x4")
    large, small = make_frame("yuv420p", 160, 120, 0), make_frame("yuv420p", 120, 80, 1)
    frames = [large, small, copy_frame(small), change(small, 0, 0.5, 0.5, 4), large]
    tally = check_equal(make_pictures(frames), make_plan(info, upscaler, "yuv420p", 160, 120), upscaler)
    assert tally.num_reused == 1
    assert tally.sizes_resampled == {(120, 80)}


class Overflowing(nn.Module):
    """Passes pixels on, but in half precision the whole frame comes out otherwise, and with Inf where one is white."""

    scale, halo, multiple = 1, 0, 1

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((), 0.7))

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        frames_BCHW = frames_BCHW * self.gain.to(torch.float32)
        if self.gain.dtype == torch.float32:
            return frames_BCHW
        return torch.where(frames_BCHW > 0.69, torch.inf, frames_BCHW)


@pytest.mark.parametrize("where", ["before", "in a patch", "both", "gone"])
def test_frames_that_overflow_are_whole_frames_of_fp32(info: VideoInfo, where: str) -> None:
    """A whole frame with one Inf is repeated in fp32 everywhere; a patch of it must not be half of each."""
    upscaler = Upscaler(make_network(Overflowing()), precision="bf16", device="cpu")
    plan = make_plan(info, upscaler, "gray", 160, 120)

    def make(*white: tuple[int, int]) -> av.VideoFrame:
        frame = make_frame("gray", 160, 120, 0)
        luma = view_samples(frame).components[0]
        luma[...] = luma % 200
        for row, column in white:
            luma[row, column] = 255
        return frame

    still, touched = make(), change(make(), 0, 0.2, 0.2, 3)
    frames = {
        "before": [make((100, 100)), change(make((100, 100)), 0, 0.1, 0.1, 3), make((100, 100))],
        "in a patch": [still, make((50, 50)), make((50, 50)), still, touched],
        "both": [make((9, 9)), make((9, 9), (100, 100)), make((100, 100)), still, touched],
        "gone": [make((9, 9)), still, touched, touched, still],
    }[where]
    check_equal(make_pictures(frames), plan, upscaler)


def test_a_window_that_fails_its_check_makes_whole_frames_and_is_told_of(
    info: VideoInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = make_upscaler("compact x4")
    plan = make_plan(info, upscaler, "yuv420p", 160, 120)
    first = make_frame("yuv420p", 160, 120, 0)
    tally, check = Tally(), make_check(plan, upscaler)
    monkeypatch.setattr("vsr.model.exactness.torch.equal", lambda *_: False)
    pictures = make_pictures([first, change(first, 0, 0.5, 0.5, 4)])
    groups = group_tasks(find_tasks(pictures, plan, upscaler), 1)
    done = [compute_tasks(group, upscaler=upscaler, plan=plan, tally=tally, check=check) for group in groups]
    assert [outcome.num_computed for group in done for outcome in group] == [160 * 120] * 2
    assert describe_check(check) == [
        "windows of 64x64 differ from whole frames in the last bit here: such frames were computed whole"
    ]


# --- whole runs ---


def write_frames(path: Path, pictures: Sequence[np.ndarray]) -> Path:
    """FFV1 of RGB pictures, each held for a time of its own."""
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=width, height=height, pix_fmt="yuv420p")
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = 40 * number + number % 3, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def draw(seed: int, *squares: tuple[int, int], size: tuple[int, int] = (160, 192)) -> np.ndarray:
    picture = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    for top, left in squares:
        picture[top : top + 12, left : left + 12] = (250, 40, 90)
    return picture


def read_codes(path: Path) -> list[tuple[int, list[np.ndarray]]]:
    with av.open(str(path)) as container:
        return [(f.pts, [c.copy() for c in view_samples(f).components]) for f in container.decode(video=0)]


FILMS: dict[str, tuple[list[np.ndarray], int, float]] = {
    # pictures, frames that must be reused, the most that may be computed
    "slides": ([draw(0)] * 9 + [draw(1)] * 9, 16, 2 / 18),
    "a moving square": ([draw(0, (40 + 3 * n, 30 + 5 * n)) for n in range(12)], 0, 0.6),
    "noise": ([draw(seed) for seed in range(10)], 0, 1.0),
    "cuts": ([draw(n // 4, (50, 60 + n)) for n in range(16)], 0, 0.7),
    "drawn on twos": ([draw(n // 2) for n in range(16)], 8, 0.5),
    "one frame": ([draw(0)], 0, 1.0),
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", FILMS)
def test_a_run_gives_the_same_film_with_and_without(
    name: str, precision: str, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsr.pipeline.run.list_ways", lambda *_: [Way(2, 1)])
    pictures, num_reused, most = FILMS[name]
    source = write_frames(tmp_path / "film.mkv", pictures)
    reports = []
    for reuse in (True, False):
        output = tmp_path / f"{reuse}.mkv"
        reports.append(
            vsr.upscale(source, output, model=str(tiny_weights), codec="ffv1", precision=precision, reuse=reuse)
        )
    one, other = (read_codes(Path(report.output)) for report in reports)
    assert [pts for pts, _ in one] == [pts for pts, _ in other] == [pts for pts, _ in read_codes(source)]
    for (_, codes), (_, expected) in zip(one, other, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(codes, expected, strict=True))
    report, without = reports
    assert report.frames_reused == num_reused
    assert report.area_computed <= most + 1e-9
    assert (without.frames_reused, without.area_computed) == (0, 1.0)
    assert set(report.as_dict()) >= {"frames_reused", "area_computed"}
    assert not report.warnings


def test_noise_computes_every_pixel(tmp_path: Path, tiny_weights: Path) -> None:
    source = write_frames(tmp_path / "film.mkv", FILMS["noise"][0])
    assert vsr.upscale(source, model=str(tiny_weights), codec="ffv1").area_computed == 1.0


def test_a_lossy_film_with_a_still_background_saves_work(tmp_path: Path, tiny_weights: Path) -> None:
    """What codecs leave alone is found as it comes out of the decoder: H.264 skips blocks that do not move."""
    pictures = [draw(0, (60, 20 + 2 * n), size=(160, 192)) // 4 + 90 for n in range(12)]
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=24, width=192, height=160, pix_fmt="yuv420p")
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    outputs = []
    for reuse in (True, False):
        report = vsr.upscale(
            tmp_path / "film.mp4", tmp_path / f"{reuse}.mkv", model=str(tiny_weights), codec="ffv1", reuse=reuse
        )
        outputs.append((report.area_computed, read_codes(Path(report.output))))
    assert outputs[0][0] < 0.9
    for (_, codes), (_, expected) in zip(outputs[0][1], outputs[1][1], strict=True):
        assert all(np.array_equal(*pair) for pair in zip(codes, expected, strict=True))


def test_a_size_that_changes_in_mid_film_changes_nothing_else(make_film: MakeFilm, tiny_weights: Path) -> None:
    film = make_film(films.changing_size, "film.ts")
    outputs = []
    for reuse in (True, False):
        report = vsr.upscale(
            film.path, film.path.with_name(f"{reuse}.mkv"), model=str(tiny_weights), codec="ffv1", reuse=reuse
        )
        assert report.frames_out == film.num_frames
        outputs.append(read_codes(Path(report.output)))
    for (pts, codes), (expected_pts, expected) in zip(*outputs, strict=True):
        assert pts == expected_pts
        assert all(np.array_equal(*pair) for pair in zip(codes, expected, strict=True))


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_encoders_take_the_same_frame_again(codec: str, tmp_path: Path, tiny_weights: Path) -> None:
    """Encoders that look ahead still hold a frame when it is handed to them anew, with another time."""
    source = write_frames(tmp_path / "film.mkv", FILMS["slides"][0])
    report = vsr.upscale(source, tmp_path / "out.mkv", model=str(tiny_weights), codec=codec, crf=1)
    assert report.frames_reused == 16
    frames = read_codes(Path(report.output))
    assert [pts for pts, _ in frames] == [pts for pts, _ in read_codes(source)]
    scenes = [frames[4][1][0].astype(int), frames[14][1][0].astype(int)]
    for number, (_, (luma, *_)) in enumerate(frames):
        assert np.abs(luma - scenes[number // 9]).mean() < 3


def test_stills_report_that_nothing_was_reused(tmp_path: Path, tiny_weights: Path) -> None:
    from PIL import Image

    Image.fromarray(draw(0)).save(tmp_path / "photo.png")
    report = vsr.upscale(tmp_path / "photo.png", model=str(tiny_weights))
    assert (report.frames_reused, report.area_computed) == (0, 1.0)


def test_a_task_is_small_where_nothing_is_to_be_done(info: VideoInfo) -> None:
    upscaler = make_upscaler("compact x4")
    frame = make_frame("yuv420p", 64, 64, 0)
    plan = make_plan(info, upscaler, "yuv420p", 64, 64)
    first, second = find_tasks(make_pictures([frame, frame]), plan, upscaler)
    assert first == Task(Picture(frame, 0, 3, TICK), 64 * 64, None)
    assert second == Task(Picture(None, 3, 3, TICK), 64 * 64, ())
