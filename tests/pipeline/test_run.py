"""The river on small films: what goes in comes out, in order, at its time, or the run ends with an error."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import films
import vsr
from vsr.errors import Interrupted, OutputError, ProcessingError, SourceError, UsageError
from vsr.model.group import UpscalerGroup
from vsr.model.loading import load_model
from vsr.model.upscaler import Upscaler
from vsr.pipeline.compute import Tally, compute
from vsr.pipeline.plan import plan_film
from vsr.pipeline.run import upscale_film
from vsr.pipeline.workers import Way
from vsr.settings import Settings
from vsr.video.reader import Reader

MakeFilm = Callable[..., films.Film]


def read_times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def read_pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def read_sound(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(audio=0) if p.size]


def test_a_film_grows_and_keeps_its_frames_times_and_sound(film: films.Film, tiny_weights: Path) -> None:
    report = vsr.upscale(film.path, model=str(tiny_weights))
    output = Path(report.output)
    assert output == film.path.with_name("film_x4.mp4")
    assert report.frames_in == report.frames_out == film.num_frames
    assert read_times(output) == read_times(film.path)
    assert read_sound(output) == read_sound(film.path)
    assert report.size_out == (4 * film.width, 4 * film.height)
    assert [stream["action"] for stream in report.streams] == ["upscale", "copy"]
    assert set(report.stage_seconds) == {"decode", "compute", "encode"}
    assert not report.damaged
    assert (report.decoder, report.encoder) == ("software", "libx264")


def test_the_pictures_are_those_of_the_network(make_film: MakeFilm, tmp_path: Path, tiny_weights: Path) -> None:
    """Lossless in, lossless out: the file holds what the network gives for the same frame.

    Not to the last code: planes are made without an RGB picture in between, in sums of another order.
    """
    from vsr.pixels import frames_to_tensor, tensor_to_frames
    from vsr.video.encoding import output_colors

    film = make_film(films.silent, "film.mkv", codec="ffv1")
    output = tmp_path / "larger.mkv"
    vsr.upscale(film.path, output, model=str(tiny_weights), codec="ffv1", precision="fp32")
    network = vsr.load_model(str(tiny_weights)).module
    tags = output_colors(vsr.probe(film.path))
    with av.open(str(film.path)) as source, av.open(str(output)) as result:
        for before, after in zip(source.decode(video=0), result.decode(video=0), strict=True):
            (expected,) = tensor_to_frames(network(frames_to_tensor([before], tags)), after.format.name, tags)
            difference = expected.to_ndarray().astype(int) - after.to_ndarray()
            assert abs(difference).max() <= 1
            assert (difference != 0).mean() < 0.01


def test_the_last_frame_of_a_film_with_b_frames_is_there(make_film: MakeFilm, tiny_weights: Path) -> None:
    film = make_film(films.b_frames)
    report = vsr.upscale(film.path, model=str(tiny_weights))
    before, after = read_pictures(film.path)[-1], read_pictures(Path(report.output))[-1]
    shrunk = after.reshape(film.height, 4, film.width, 4, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - before).mean() < 6


@pytest.mark.parametrize("batch", [2, 5])
def test_batches_change_nothing(film: films.Film, tmp_path: Path, tiny_weights: Path, batch: int) -> None:
    outputs = []
    for size in (1, batch):
        outputs.append(tmp_path / f"batch{size}.mkv")
        vsr.upscale(film.path, outputs[-1], model=str(tiny_weights), codec="ffv1", precision="fp32", batch=size)
    assert read_times(outputs[0]) == read_times(outputs[1])
    for one, other in zip(*map(read_pictures, outputs), strict=True):
        assert np.array_equal(one, other)


def test_tiles_change_nothing(film: films.Film, tmp_path: Path, tiny_weights: Path) -> None:
    outputs = []
    for tile in ("off", 16):
        outputs.append(tmp_path / f"tile{tile}.mkv")
        report = vsr.upscale(film.path, outputs[-1], model=str(tiny_weights), codec="ffv1", precision="fp32", tile=tile)
    assert report.tile == 16
    for one, other in zip(*map(read_pictures, outputs), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("options", [{}, {"batch": 3}, {"tile": 16}, {"reuse": False}], ids=str)
def test_the_river_gives_what_its_stages_give_one_after_the_other(
    make_film: MakeFilm, tmp_path: Path, tiny_weights: Path, options: dict[str, Any]
) -> None:
    """Without a thread, a queue, a batch, a tile, or anything reused: the same pictures, bit for bit."""
    film = make_film(films.plain, times=12)
    output = tmp_path / "river.mkv"
    vsr.upscale(film.path, output, model=str(tiny_weights), codec="ffv1", precision="fp32", **options)
    settings = Settings(model=str(tiny_weights), codec="ffv1", precision="fp32", tile="off", overwrite=True)
    upscaler = vsr.make_upscaler(settings)
    plan = plan_film(film.path, output, settings, upscaler)
    alone = []
    for picture in Reader(plan.info).pictures():
        (frame,) = compute([picture], upscaler=upscaler, plan=plan, tally=Tally())
        alone.append(frame.to_ndarray(format="rgb24"))
    for got, wanted in zip(read_pictures(output), alone, strict=True):
        assert np.array_equal(got, wanted)


def test_frames_at_a_time_change_nothing(
    make_film: MakeFilm, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_film(films.plain, times=40)
    outputs = []
    for ways in ([Way(1, 2)], [Way(3, 1)], [Way(2, 1), Way(1, 2)]):
        monkeypatch.setattr("vsr.pipeline.run.list_ways", lambda *_, ways=ways: ways)
        outputs.append(tmp_path / f"ways{len(outputs)}.mkv")
        vsr.upscale(film.path, outputs[-1], model=str(tiny_weights), codec="ffv1", precision="fp32")
    assert read_times(outputs[0]) == read_times(outputs[1]) == read_times(outputs[2])
    for first, *others in zip(*map(read_pictures, outputs), strict=True):
        assert all(np.array_equal(first, other) for other in others)


def make_group(tiny_weights: Path, cancel: threading.Event | None = None) -> UpscalerGroup:
    """Two places on the CPU, for two GPUs."""
    return UpscalerGroup(load_model(str(tiny_weights)), ["cpu", "cpu"], precision="fp32", cancel=cancel)


def test_several_devices_change_nothing(
    make_film: MakeFilm, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsr.pipeline.run.list_ways", lambda upscaler, _: [Way(upscaler.num_devices, 1)])
    film = make_film(films.plain, times=40)
    settings = Settings(model=str(tiny_weights), codec="ffv1", precision="fp32", batch=3)
    alone = vsr.upscale(film.path, tmp_path / "alone.mkv", settings=settings)
    shared = vsr.upscale(film.path, tmp_path / "shared.mkv", settings=settings, upscaler=make_group(tiny_weights))
    assert (alone.device, shared.device) == ("cpu", "cpu,cpu")
    assert read_times(Path(alone.output)) == read_times(Path(shared.output))
    for one, other in zip(read_pictures(Path(alone.output)), read_pictures(Path(shared.output)), strict=True):
        assert np.array_equal(one, other)


def test_one_device_that_fails_ends_the_run_and_leaves_nothing(
    film: films.Film, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsr.pipeline.run.list_ways", lambda upscaler, _: [Way(upscaler.num_devices, 1)])
    group = make_group(tiny_weights)

    def fail(*_: Any) -> None:
        raise RuntimeError("unspecified launch failure")

    monkeypatch.setattr(group._others[0], "_run", fail)
    with pytest.raises(ProcessingError, match=r"film\.mp4' at 0\.\d+ s: RuntimeError: unspecified launch failure"):
        vsr.upscale(film.path, model=str(tiny_weights), upscaler=group)
    assert leftovers(film.path.parent) == []
    assert not group.halt.is_set()


def test_several_devices_stop_when_asked_to(
    make_film: MakeFilm, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsr.pipeline.run.list_ways", lambda upscaler, _: [Way(upscaler.num_devices, 1)])
    film = make_film(films.plain, times=240)
    cancel = threading.Event()
    group = make_group(tiny_weights, cancel)
    threading.Timer(0.2, cancel.set).start()
    with pytest.raises(Interrupted):
        vsr.upscale(film.path, model=str(tiny_weights), upscaler=group, cancel=cancel)
    assert leftovers(film.path.parent) == []


def test_another_scale_than_the_networks_is_resampled_and_said(film: films.Film, tiny_weights: Path) -> None:
    report = vsr.upscale(film.path, model=str(tiny_weights), scale=2.5)
    assert report.size_out == (160, 120)
    assert Path(report.output).name == "film_x2.5.mp4"
    assert any("resampled to 2.5 times" in warning for warning in report.warnings)


def test_a_part_of_a_film(make_film: MakeFilm, tiny_weights: Path) -> None:
    film = make_film(films.plain, times=48)
    report = vsr.upscale(film.path, model=str(tiny_weights), start=0.5, duration=1)
    wanted = [time for time in read_times(film.path) if Fraction(1, 2) <= time < Fraction(3, 2)]
    assert read_times(Path(report.output)) == [time - wanted[0] for time in wanted]
    offset = read_sound(Path(report.output))[0][0]
    assert abs(offset) < Fraction(1, 10), "sound begins with the picture"


def test_a_changing_picture_size_is_resampled_and_said(make_film: MakeFilm, tiny_weights: Path) -> None:
    film = make_film(films.changing_size, "film.ts")
    report = vsr.upscale(film.path, model=str(tiny_weights))
    assert report.frames_out == film.num_frames
    assert any("picture size changes" in warning for warning in report.warnings)


def test_a_damaged_film_gives_what_can_be_decoded_and_says_so(make_film: MakeFilm, tiny_weights: Path) -> None:
    film = make_film(films.corrupt)
    report = vsr.upscale(film.path, model=str(tiny_weights))
    assert report.damaged
    assert 0 < report.frames_out <= film.num_frames
    assert read_times(Path(report.output)) == read_times(Path(report.output))


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if "_x4" in path.name]


def test_an_existing_output_is_kept_unless_told_otherwise(film: films.Film, tiny_weights: Path) -> None:
    taken = film.path.with_name("film_x4.mp4")
    taken.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        vsr.upscale(film.path, model=str(tiny_weights))
    assert taken.read_bytes() == b"mine"
    vsr.upscale(film.path, model=str(tiny_weights), overwrite=True)
    assert len(read_times(taken)) == film.num_frames


def test_a_disk_smaller_than_the_source_is_said_before_the_work(
    film: films.Film, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(film.path.parent)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    settings = Settings(model=str(tiny_weights))
    notes = plan_film(film.path, None, settings, vsr.make_upscaler(settings)).notes
    assert any("are free on the disk" in note for note in notes)


def test_output_onto_input_is_refused_even_when_told_to_overwrite(film: films.Film, tiny_weights: Path) -> None:
    content = film.path.read_bytes()
    with pytest.raises(OutputError, match="same file"):
        vsr.upscale(film.path, film.path, model=str(tiny_weights), overwrite=True)
    assert film.path.read_bytes() == content


class Failing:
    """Stands in for an Upscaler's call: works for some frames, then does not."""

    def __init__(self, upscaler: Upscaler, error: Exception, after: int) -> None:
        self.upscaler, self.error, self.left = upscaler, error, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self.upscaler, name)

    def split(self, num_threads: int) -> list[Failing]:
        return [self] * num_threads

    def fill(self, *arguments: Any) -> None:
        if self.left == 0:
            raise self.error
        self.left -= 1
        self.upscaler.fill(*arguments)


def test_a_failing_network_names_file_and_time_and_leaves_nothing(
    film: films.Film, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsr.pipeline.run.list_ways", lambda *_: [Way(1, 1)])  # so that "after 12" is a certain frame
    settings = Settings(model=str(tiny_weights))
    cancel = threading.Event()
    upscaler = vsr.make_upscaler(settings, cancel=cancel)
    plan = plan_film(film.path, None, settings, upscaler)
    failing: Any = Failing(upscaler, RuntimeError("out of luck"), after=12)
    with pytest.raises(ProcessingError, match=r"film\.mp4' at 0\.500 s: RuntimeError: out of luck") as caught:
        upscale_film(plan, failing, cancel=cancel)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert leftovers(film.path.parent) == []
    assert not cancel.is_set(), "the next film must not find itself cancelled"


def test_an_event_set_elsewhere_stops_the_run_and_leaves_nothing(make_film: MakeFilm, tiny_weights: Path) -> None:
    film = make_film(films.plain, times=240)
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(Interrupted):
        vsr.upscale(film.path, model=str(tiny_weights), cancel=cancel, scale=16)
    assert leftovers(film.path.parent) == []


def test_no_picture_in_the_part_asked_for(film: films.Film, tiny_weights: Path) -> None:
    with pytest.raises(SourceError, match="no picture lies in the part"):
        vsr.upscale(film.path, model=str(tiny_weights), start=100)
    assert leftovers(film.path.parent) == []


def test_settings_and_options_together_are_refused(film: films.Film) -> None:
    with pytest.raises(UsageError, match="neither preset nor options"):
        vsr.upscale(film.path, settings=Settings(), scale=2)


def run_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], text=True, stderr=subprocess.PIPE
    )


@pytest.mark.slow
def test_kill_at_any_moment_leaves_no_file_under_the_final_name(make_film: MakeFilm, tiny_weights: Path) -> None:
    film = make_film(films.plain, times=120)
    output = film.path.with_name("out.mp4")
    for moment in range(12):
        run = subprocess.Popen(
            [sys.executable, "-m", "vsr", "upscale", film.path, "-o", output, "--model", tiny_weights, "--overwrite"]
        )
        time.sleep(1.0 + 0.25 * moment)
        run.kill()
        run.wait()
        if output.exists():
            assert read_times(output) == read_times(film.path), "what has the name must be whole"
            output.unlink()
    vsr.upscale(film.path, output, model=str(tiny_weights))
    parts = [path.name for path in film.path.parent.iterdir() if path.suffix == ".part"]
    assert parts == [], "the next run clears what killed ones left"


MEASURE = """
    import sys, vsr
    report = vsr.upscale(sys.argv[1], sys.argv[2], model=sys.argv[3], overwrite=True)
    print(report.frames_out, report.peak_memory_bytes, file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_the_film(tmp_path: Path, tiny_weights: Path) -> None:
    """Ten minutes of film need no more memory than one, to within 100 MB."""
    peaks = []
    for minutes in (1, 10):
        film = films.plain(tmp_path / f"{minutes}.mp4", times=minutes * 60 * films.RATE)
        run = run_python(MEASURE, film.path, tmp_path / "out.mp4", tiny_weights)
        _, told = run.communicate()
        frames, peak = map(int, told.split()[-2:])
        assert frames == film.num_frames
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 100e6


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("size", "limit"), [((480, 270), 1.2e9), ((960, 540), 3e9)], ids=["1080p", "4K"])
@pytest.mark.parametrize("model", ["realtime", "quality"])
def test_memory_stays_within_its_limit(tmp_path: Path, model: str, size: tuple[int, int], limit: float) -> None:
    """Whole process, Python, torch and PyAV included; four times as large, as the smallest and the largest network."""
    film = films.plain(tmp_path / "film.mp4", size=size, times=24)
    run = run_python(MEASURE, film.path, tmp_path / "out.mp4", model)
    _, told = run.communicate()
    frames, peak = map(int, told.split()[-2:])
    assert frames == film.num_frames
    assert peak < limit
