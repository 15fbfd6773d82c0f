"""Networks in 8 bits by OpenVINO: near fp32, or refused."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import films
import vsr
from vsr.errors import DeviceError, ProcessingError, SettingsError
from vsr.model import forms
from vsr.model.calibration import HEADROOM, compare_speed, measure_distance, measure_ranges
from vsr.model.compact import Compact
from vsr.model.loading import load_model
from vsr.model.network import Network
from vsr.model.openvino_body import MAX_GRAPHS, OpenVinoBody
from vsr.model.rrdb import RRDBNet
from vsr.model.upscaler import Upscaler
from vsr.pixels import describe_planes, make_frame
from vsr.video.color import RANGE_LIMITED, ColorTags

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")


def make_picture(height: int = 48, width: int = 64, seed: int = 0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    grain = torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed))
    picture = torch.stack([0.2 + 0.6 * x, 0.5 + 0.4 * torch.sin(20 * y + 9 * x), (x + y > 1).float()])
    return (picture + 0.02 * grain).clamp(0, 1)[None]


def test_ranges_are_what_enters_the_convolutions() -> None:
    network = Compact(2, 1, 1)
    for layer in network.body:
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, -4.0)
    samples = [torch.rand(1, 3, 5, 6)]
    # PReLU begins with a slope of a quarter: -4 becomes -1.
    assert measure_ranges(network.requires_grad_(False), samples) == pytest.approx((HEADROOM, HEADROOM))


def test_speed_is_compared_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("vsr.model.calibration.time.perf_counter", lambda: now[0])

    def take(seconds: float) -> Callable[[torch.Tensor], torch.Tensor]:
        def run(sample: torch.Tensor) -> torch.Tensor:
            now[0] += seconds
            return sample

        return run

    assert compare_speed(take(2.0), take(5.0), torch.zeros(1)) == pytest.approx(2.5)


def test_distance_is_psnr() -> None:
    assert measure_distance(lambda x: x, lambda x: x + 0.1, [torch.full((1, 3, 4, 4), 0.5)]) == pytest.approx(20)


@needs_openvino
@pytest.mark.parametrize(("height", "width", "batch"), [(1, 1, 1), (17, 23, 1), (16, 8, 3)])
def test_without_quantising_it_gives_what_torch_gives(height: int, width: int, batch: int) -> None:
    torch.manual_seed(0)
    network = Compact(8, 2, 2).eval().requires_grad_(False)
    frames = torch.rand(batch, 3, height, width)
    body = OpenVinoBody(network.body, torch.float32)
    values = body(frames)
    assert values.shape == (batch, 12, height, width)
    assert torch.allclose(values, network.body(frames), atol=1e-5)


@needs_openvino
def test_graphs_are_kept_for_few_sizes() -> None:
    network = Compact(8, 1, 2).eval().requires_grad_(False)
    body = OpenVinoBody(network.body, torch.float32)
    for width in range(1, MAX_GRAPHS + 4):
        body(torch.rand(1, 3, 4, width))
    assert len(body._graphs.kept) == MAX_GRAPHS


@needs_openvino
@pytest.mark.parametrize("name", ["realtime", "fast"])
def test_int8_is_near_fp32(name: str) -> None:
    network = load_model(name)
    int8, exact = (Upscaler(network, device="cpu", precision=precision) for precision in ("int8", "fp32"))
    calibration = int8.calibrate([make_picture(seed=seed) for seed in range(4)])
    assert calibration.num_samples == 4
    assert calibration.psnr_db >= 40
    assert calibration.speedup > 0
    unseen = make_picture(50, 70, seed=9)
    assert measure_distance(int8, exact, [unseen]) >= 40
    assert not torch.equal(int8(unseen), exact(unseen)), "that was no int8"


@needs_openvino
def test_int8_fills_planes_and_calibrates_itself_on_what_it_is_given() -> None:
    tags = ColorTags(1, RANGE_LIMITED, 1, 1)
    codes = describe_planes("yuv420p", tags)
    assert codes is not None
    pictures = []
    for precision in ("int8", "fp32"):
        upscaler = Upscaler(load_model("realtime"), device="cpu", precision=precision)
        frame, planes = make_frame(256, 192, "yuv420p", tags)
        upscaler.fill(make_picture(), codes, [planes])
        pictures.append(frame.to_ndarray().astype(np.float64))
    error = np.square(pictures[0] - pictures[1]).mean()
    assert 0 < error < 255**2 / 10**4


@needs_openvino
def test_int8_too_far_from_fp32_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "MIN_INT8_PSNR", 100.0)
    upscaler = Upscaler(load_model("realtime"), device="cpu", precision="int8")
    with pytest.raises(ProcessingError, match=r"realtime in int8 is \d+\.\d dB from fp32") as caught:
        upscaler(make_picture())
    assert caught.value.hint == "use --precision auto"


@needs_openvino
def test_what_was_refused_is_refused_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "MIN_INT8_PSNR", 100.0)
    upscaler = Upscaler(load_model("realtime"), device="cpu", precision="int8")
    for _ in range(2):
        with pytest.raises(ProcessingError, match="dB from fp32"):
            upscaler(make_picture())


@needs_openvino
def test_only_int8_is_calibrated() -> None:
    with pytest.raises(SettingsError, match="precision 'fp32' has nothing to calibrate"):
        Upscaler(load_model("realtime"), device="cpu", precision="fp32").calibrate([make_picture()])


@needs_openvino
def test_every_still_picture_is_fitted_by_itself(tmp_path: Path) -> None:
    """After a flat picture a busy one would be far off: it must come out as it does alone."""
    flat, busy = torch.full((1, 3, 48, 64), 0.5), make_picture()
    for name, picture in (("flat", flat), ("busy", busy)):
        samples = (picture[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        Image.fromarray(samples).save(tmp_path / f"{name}.png")
    settings = vsr.Settings(model="realtime", precision="int8", overwrite=True)
    results = []
    for names in (["busy"], ["flat", "busy"]):
        upscaler = vsr.make_upscaler(settings)
        for name in names:
            report = vsr.upscale(tmp_path / f"{name}.png", tmp_path / "out.png", settings=settings, upscaler=upscaler)
        assert report.precision == "int8"
        results.append((tmp_path / "out.png").read_bytes())
    assert results[0] == results[1]


@needs_openvino
def test_several_threads_share_one_network() -> None:
    upscaler = Upscaler(load_model("realtime"), device="cpu", precision="int8")
    upscaler.calibrate([make_picture()])
    wanted = upscaler(make_picture())
    results: list[torch.Tensor] = []
    threads = [
        threading.Thread(target=lambda one=one: results.append(one(make_picture()))) for one in upscaler.split(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [torch.equal(result, wanted) for result in results] == [True, True]


@needs_openvino
def test_networks_and_engines_that_do_not_go_together_are_refused() -> None:
    rrdb = Network(RRDBNet(8, 1, 4).eval(), 4, "RRDBNet", "big")
    with pytest.raises(DeviceError, match="OpenVINO runs compact networks here; big is RRDBNet"):
        Upscaler(rrdb, device="cpu", precision="int8")
    with pytest.raises(SettingsError, match="needs OpenVINO"):
        Upscaler(load_model("realtime"), device="cpu", precision="int8", engine="torch")


@needs_openvino
def test_a_signal_after_networks_came_and_went_in_other_threads_is_no_crash() -> None:
    """OpenVINO leaves a stack for signals behind on processors with AMX; see `_open_core`."""
    code = """
        import gc, signal, subprocess, threading, torch
        from vsr.model.loading import load_model
        from vsr.model.upscaler import Upscaler
        signal.signal(signal.SIGCHLD, lambda *_: None)
        upscalers = [Upscaler(load_model("realtime"), device="cpu", precision="int8")]
        upscalers[0](torch.rand(1, 3, 16, 16))
        thread = threading.Thread(target=lambda: (upscalers.clear(), gc.collect()))
        thread.start()
        thread.join()
        for _ in range(3):
            subprocess.run(["true"], check=True)
        print("alive")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "alive\n", (done.returncode, done.stderr)


@needs_openvino
def test_openvino_reports_nothing_to_its_makers() -> None:
    """In a fresh interpreter: importing it would start a thread that sends who, what and where."""
    code = (
        "import sys, threading\nfrom vsr.model.openvino_body import import_openvino\nimport_openvino()\n"
        "print([t.name for t in threading.enumerate()], [m for m in sys.modules if m.startswith('openvino_telemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split("\n")[0] == "['MainThread'] []"


def test_without_openvino_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DeviceError) as caught:
        Upscaler(load_model("realtime"), device="cpu", precision="int8")
    assert caught.value.hint == "pip install 'vsr[int8]'"


@needs_openvino
def test_a_film_in_int8_says_how_near_it_is(film: films.Film) -> None:
    report = vsr.upscale(film.path, model="realtime", precision="int8")
    assert report.precision == "int8"
    assert report.frames_out == film.num_frames
    assert any(note.startswith("int8 was fitted to 6 pictures of the film") for note in report.warnings)
