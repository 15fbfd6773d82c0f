"""The plain loop: the same network as vsr's, nothing of vsr in it, as many frames out."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import networks
from vsr.api import make_upscaler
from vsr.bench import pipes, plain_loop
from vsr.bench.peer import compare_results, export_weights, judge_peer
from vsr.bench.plain_networks import load_plain
from vsr.bench.task import Task
from vsr.errors import ProcessingError, UsageError
from vsr.model.loading import load_model
from vsr.model.rrdb import RRDBNet
from vsr.model.srresnet import SRResNet
from vsr.settings import Settings

LIKENESS = {"precision": "bf16", "psnr_db": 67.0, "psnr_db_nearest": 30.0}


def make_runs(**milliseconds: list[float]) -> dict[str, list[dict[str, Any]]]:
    return {
        name.replace("_", "-"): [{"seconds_per_frame": value / 1e3, "num_frames": 4} for value in values]
        for name, values in milliseconds.items()
    }


def test_ratios_are_of_pairs() -> None:
    runs = make_runs(
        plain_film=[100, 300, 500], vsr_film=[50, 100, 100], plain_network=[80, 80, 80], vsr_network=[20, 10, 40]
    )
    peer = judge_peer("PyAV", runs, LIKENESS)
    assert peer.plain_film.median == pytest.approx(300)
    assert (peer.ratio_film.median, peer.ratio_film.least, peer.ratio_film.greatest) == pytest.approx((3, 2, 5))
    assert peer.ratio_network.median == pytest.approx(4)
    assert (peer.precision, peer.psnr_db, peer.psnr_db_nearest) == ("bf16", 67.0, 30.0)


def test_a_loop_that_loses_frames_is_no_peer() -> None:
    runs = make_runs(plain_film=[1], vsr_film=[1], plain_network=[1], vsr_network=[1])
    runs["plain-film"][0]["num_frames"] = 3
    with pytest.raises(ProcessingError, match="3 frames, vsr 4"):
        judge_peer("PyAV", runs, LIKENESS)


@pytest.mark.parametrize("unshuffle", [1, 2, 4])
def test_the_plain_rrdb_is_the_same_network(tmp_path: Path, unshuffle: int) -> None:
    torch.manual_seed(0)
    path = tmp_path / "rrdb.safetensors"
    save_file(RRDBNet(8, 2, 4, unshuffle=unshuffle).state_dict(), path)
    check_equal(path, tmp_path)


@pytest.mark.parametrize("scale", [1, 3, 4])
def test_the_plain_compact_is_the_same_network(tmp_path: Path, scale: int) -> None:
    check_equal(networks.write_compact(tmp_path / "compact.safetensors", scale=scale, num_conv=3), tmp_path)


def check_equal(path: Path, folder: Path) -> None:
    upscaler = make_upscaler(Settings(model=str(path), device="cpu", precision="fp32"))
    plain = load_plain(export_weights(upscaler, folder), "cpu")
    frame_BCHW = torch.rand(1, 3, 21, 18)
    with torch.no_grad():
        exact_BCHW = plain(frame_BCHW).clamp(0, 1)
    torch.testing.assert_close(upscaler(frame_BCHW), exact_BCHW, atol=1e-5, rtol=0)


def test_other_networks_and_scales_are_refused(tmp_path: Path, tiny_weights: Path) -> None:
    path = tmp_path / "srresnet.safetensors"
    save_file(SRResNet(8, 1).state_dict(), path)
    with pytest.raises(UsageError, match="SRResNet") as caught:
        export_weights(make_upscaler(Settings(model=str(path), device="cpu")), tmp_path)
    assert "--only" in str(caught.value.hint)
    with pytest.raises(UsageError, match="4 times, not 2"):
        export_weights(make_upscaler(Settings(model=str(tiny_weights), device="cpu", scale=2)), tmp_path)


def test_the_loop_gives_every_frame(task: Task) -> None:
    found = plain_loop.run_film(task)
    assert found["num_frames"] == 4
    assert found["seconds_per_frame"] > 0
    assert plain_loop.run_network(task)["seconds_per_frame"] > 0


@pytest.mark.skipif(pipes.find_ffmpeg() is None, reason="there is no ffmpeg program on PATH")
def test_through_pipes_as_many_frames_come_out(task: Task) -> None:
    assert plain_loop.run_film(replace(task, uses_pipes=True))["num_frames"] == plain_loop.run_film(task)["num_frames"]


def test_results_are_compared(task: Task) -> None:
    found = compare_results(task)
    assert found["precision"] == make_upscaler(task.read_settings()).precision
    assert found["psnr_db"] is None or found["psnr_db"] > 45
    exact = compare_results(replace(task, settings=task.settings | {"precision": "fp32"}))
    assert exact["psnr_db"] is None or exact["psnr_db"] > 100
    assert math.isfinite(found["psnr_db_nearest"])
    assert found["psnr_db_nearest"] < (exact["psnr_db"] or math.inf)


def test_the_plain_loop_knows_nothing_of_vsrs_model() -> None:
    """It would change how torch takes memory: the peer must run as it does where vsr is not installed."""
    code = "import sys, vsr.bench.plain_loop\nprint(*(name for name in sys.modules if name.startswith('vsr.model')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_networks_compared_have_the_same_weights(tiny_weights: Path, tmp_path: Path) -> None:
    upscaler = make_upscaler(Settings(model=str(tiny_weights), device="cpu"))
    exported = load_plain(export_weights(upscaler, tmp_path), "cpu").state_dict()
    own = load_model(tiny_weights).module.state_dict()
    assert exported.keys() == own.keys()
    assert all(torch.equal(exported[name], own[name]) for name in own)
