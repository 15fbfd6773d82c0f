"""Whole trainings in small: they learn, go on after every sort of end, and refuse what they must not mix up."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import trainings
import vsr.model.precision
from vsr.errors import DataError, DeviceError, Interrupted, SettingsError, TrainingError, WeightsError
from vsr.model.loading import load_model
from vsr.progress import SilentProgress
from vsr.training import losses
from vsr.training.loop import Summary, train

GAN = {
    "pixel_weight": 0.01, "perceptual_weight": 1, "perceptual_weights": "random",
    "perceptual_layers": "{conv1_2 = 1.0}",
    "adversarial_weight": 5e-3, "discriminator.kind": "unet", "discriminator.num_features": 4,
}  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return trainings.write_pictures(tmp_path / "pictures")


@pytest.fixture
def run(tmp_path: Path, pictures: Path) -> Callable[..., Summary]:
    """run("a", resume=True, **{"run.steps": 9}): a training in the folder a."""

    def go(name: str, *, data: Path = pictures, resume: bool = False, **more: Any) -> Summary:
        arguments = {key: more.pop(key) for key in ("say", "progress") if key in more}
        recipe = trainings.make_recipe(tmp_path, **more)
        summary = train(recipe, [data], tmp_path / name, resume=resume, device="cpu", **arguments)
        assert summary is not None
        return summary

    return go


def read_losses(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]


def same_weights(a: Path, b: Path) -> bool:
    one, other = load_file(a), load_file(b)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_it_learns_and_leaves_all_that_is_promised(run: Callable[..., Summary], tmp_path: Path):
    data = tmp_path / "set"
    trainings.write_pictures(data / "train" / "HR")
    trainings.write_pictures(data / "val" / "HR", 1, seed=5)
    said: list[str] = []
    overrides = {"run.steps": 60, "log_every": 20, "validate_every": 30, "licence": "MIT"}
    summary = run("out", data=data, say=said.append, **overrides)
    out = tmp_path / "out"
    lines = read_losses(out)
    assert [line["step"] for line in lines] == [20, 40, 60]
    assert lines[-1]["pixel"] < 0.95 * lines[0]["pixel"]
    scores = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    assert [line["step"] for line in scores] == [30, 60]
    assert scores[1]["val"]["psnr_y"] > scores[0]["val"]["psnr_y"] > 10
    assert 0 < scores[1]["val"]["ssim_y"] < 1
    assert sorted(path.name for path in (out / "checkpoints").iterdir())[0] == "best.pt"
    assert summary.steps == 60
    assert summary.scores["val"]["psnr_y"] == scores[1]["val"]["psnr_y"]
    assert summary.images_per_second > 0
    assert 0 <= summary.data_wait <= 1
    assert summary.matrix_share > 0
    assert any("step 60" in line and "val" in line for line in said)
    network = load_model(out / "tiny.safetensors")
    assert (network.scale, network.architecture, network.licence) == (2, "SRVGGNetCompact", "MIT")


def test_the_header_says_where_weights_come_from(run: Callable[..., Summary], tmp_path: Path):
    run("out", **{"export_dtype": "fp16", "run.name": "mine", "run.seed": 3})
    with safe_open(tmp_path / "out" / "mine.safetensors", framework="pt") as file:
        header = file.metadata()
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert json.loads(header["recipe"]) == facts["recipe"]
    assert header["data"] == facts["data"]
    assert (header["num_pictures"], header["steps"], header["seed"], header["scale"]) == ("3", "6", "3", "2")
    assert header["torch"] == torch.__version__
    assert {"vsr", "seconds", "scores", "architecture", "network"} <= set(header)


def test_workers_and_kill_9_change_no_byte_of_the_losses(run: Callable[..., Summary], tmp_path: Path, pictures: Path):
    """50 steps at a stretch are 25 (or more), SIGKILL, and the rest; with 0 workers and with 2."""
    overrides = {"run.steps": 50, "checkpoint_every": 25}
    run("straight", **overrides)
    recipe = trainings.write_recipe(tmp_path)
    command = [sys.executable, "-m", "vsr", "train", str(recipe), "--data", str(pictures), "--device", "cpu", "--quiet"]
    command += ["--out", str(tmp_path / "killed"), "--set", "workers=2", "--set", "run.steps=1000000"]
    process = subprocess.Popen([*command, "--set", "checkpoint_every=25"], start_new_session=True)
    deadline = time.monotonic() + 90
    while not list((tmp_path / "killed" / "checkpoints").glob("step-*25.pt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    saved = sorted((tmp_path / "killed" / "checkpoints").glob("step-*.pt"))
    for later in saved[1:]:
        later.unlink()  # it may have come further than 50 before it was killed
    with (tmp_path / "killed" / "losses.jsonl").open("a") as file:
        file.write('{"step": 26, "pix')  # half a line, as a loss of power leaves it
    run("killed", resume=True, **overrides, workers=2)
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert len(read_losses(straight)) == 50
    assert (straight / "losses.jsonl").read_bytes() == (killed / "losses.jsonl").read_bytes()
    assert same_weights(straight / "tiny.safetensors", killed / "tiny.safetensors")


@pytest.mark.parametrize(
    "overrides",
    [GAN, {"optimizer.kind": "muon", "accumulate": 2, "clip": 1}, {"degradation.kind": "realesrgan", "log_every": 4}],
    ids=["gan", "muon", "degraded"],
)
def test_every_stage_goes_on_identically(run: Callable[..., Summary], tmp_path: Path, overrides: dict[str, Any]):
    run("straight", **overrides)
    run("parted", **overrides, **{"run.steps": 3})
    run("parted", **overrides, resume=True)
    assert read_losses(tmp_path / "straight") == read_losses(tmp_path / "parted")
    assert same_weights(tmp_path / "straight" / "tiny.safetensors", tmp_path / "parted" / "tiny.safetensors")


def test_a_gan_stage_moves_both_networks(run: Callable[..., Summary], tmp_path: Path):
    said: list[str] = []
    run("gan", say=said.append, **GAN)
    lines = read_losses(tmp_path / "gan")
    for name in ("pixel", "perceptual", "adversarial", "discriminator", "real", "fake"):
        values = [line[name] for line in lines]
        assert all(map(math.isfinite, values))
        assert len(set(values)) == len(values)
    assert any("RANDOM features" in line for line in said)


def test_a_finished_run_can_be_made_longer(run: Callable[..., Summary], tmp_path: Path):
    run("out")
    summary = run("out", resume=True, **{"run.steps": 9})
    assert (summary.steps, len(read_losses(tmp_path / "out"))) == (9, 9)
    assert run("out", resume=True, **{"run.steps": 9}).steps == 9  # nothing left to do is no error


def test_resuming_nothing_begins(run: Callable[..., Summary]):
    said: list[str] = []
    assert run("out", resume=True, say=said.append).steps == 6
    assert any("no checkpoint" in line for line in said)


def test_a_folder_with_another_run_is_refused(run: Callable[..., Summary], tmp_path: Path):
    run("out")
    before = (tmp_path / "out" / "losses.jsonl").read_bytes()
    with pytest.raises(TrainingError, match="a run of 6 steps") as caught:
        run("out")
    assert "--resume" in str(caught.value.hint)
    assert (tmp_path / "out" / "losses.jsonl").read_bytes() == before


def test_another_recipe_and_other_data_are_refused_by_name(run: Callable[..., Summary], tmp_path: Path):
    run("out")
    with pytest.raises(TrainingError, match=r"optimizer\.learning_rate: 0\.003 -> 0\.1"):
        run("out", resume=True, **{"optimizer.learning_rate": 0.1})
    other = trainings.write_pictures(tmp_path / "other", seed=7)
    with pytest.raises(TrainingError, match="other pictures"):
        run("out", resume=True, data=other)


class At(SilentProgress):
    """Does something once so many steps are done."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self.left, self.action, self.unit = step, action, ""

    def start(self, title: str, total: int | None, unit: str, done: int = 0) -> None:
        self.unit = unit

    def advance(self, amount: int, note: str = "") -> None:
        self.left -= amount if self.unit == "steps" else 0
        if self.left == 0 and self.unit == "steps":
            self.action()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops(run: Callable[..., Summary], tmp_path: Path, number: signal.Signals):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="step 4 of 6"):
        run("out", progress=At(4, lambda: os.kill(os.getpid(), number)))
    assert signal.getsignal(number) is before
    assert (tmp_path / "out" / "checkpoints" / "step-000000004.pt").is_file()
    run("straight")
    run("out", resume=True)
    assert read_losses(tmp_path / "out") == read_losses(tmp_path / "straight")


def test_minutes_end_a_run_with_a_checkpoint(run: Callable[..., Summary], tmp_path: Path):
    summary = run("out", **{"run.steps": 1_000_000, "minutes": 1e-4})
    assert 0 < summary.steps < 1000
    assert "minutes" in summary.stopped
    assert (tmp_path / "out" / "checkpoints" / f"step-{summary.steps:09d}.pt").is_file()
    assert (tmp_path / "out" / "tiny.safetensors").is_file()


def break_losses(monkeypatch: pytest.MonkeyPatch, is_bad: Callable[[int], bool]) -> None:
    calls = 0
    right = losses.PixelLoss.forward

    def forward(self: losses.PixelLoss, *pictures: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return right(self, *pictures) * (float("nan") if is_bad(calls) else 1.0)

    monkeypatch.setattr(losses.PixelLoss, "forward", forward)


def test_a_bad_step_is_skipped_counted_and_said(
    run: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    break_losses(monkeypatch, lambda call: call in (3, 4))
    said: list[str] = []
    summary = run("out", say=said.append, **{"log_every": 6})
    assert summary.skipped == 2
    (line,) = read_losses(tmp_path / "out")
    assert line["skipped"] == 2
    assert math.isfinite(line["pixel"])
    assert any("2 of the steps 1 to 6" in text for text in said)


def test_bad_steps_in_a_row_end_it(run: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch):
    break_losses(monkeypatch, lambda call: call > 2)
    with pytest.raises(TrainingError, match="3 steps in a row up to step 5") as caught:
        run("out", max_bad_steps=3)
    assert "learning_rate" in str(caught.value.hint)


def test_pieces_of_a_batch_are_the_batch(run: Callable[..., Summary], tmp_path: Path):
    run("whole")
    run("pieces", accumulate=4)
    for a, b in zip(read_losses(tmp_path / "whole"), read_losses(tmp_path / "pieces"), strict=True):
        assert a["pixel"] == pytest.approx(b["pixel"], rel=1e-4)


def test_checkpointing_and_bf16_are_the_same_training(run: Callable[..., Summary], tmp_path: Path):
    run("plain", num_conv=3)
    run("saving", num_conv=3, checkpointing=True)
    run("half", num_conv=3, **{"run.precision": "bf16"})
    plain, saving, half = (read_losses(tmp_path / name) for name in ("plain", "saving", "half"))
    assert [line["pixel"] for line in saving] == pytest.approx([line["pixel"] for line in plain], rel=1e-5)
    assert [line["pixel"] for line in half] == pytest.approx([line["pixel"] for line in plain], rel=0.02)
    assert [line["pixel"] for line in half] != [line["pixel"] for line in plain]


def test_fp16_on_a_cpu_is_refused(run: Callable[..., Summary], tmp_path: Path):
    with pytest.raises(DeviceError, match="fp16"):
        run("out", **{"run.precision": "fp16"})
    assert not (tmp_path / "out").exists()


def test_a_processor_without_bf16_is_said(run: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vsr.model.precision, "has_native_bf16", lambda: False)
    said: list[str] = []
    run("half", say=said.append, **{"run.precision": "bf16", "run.steps": 1})
    assert any("run.precision=fp32 is faster" in line for line in said)
    run("full", say=(others := []).append, **{"run.precision": "fp32", "run.steps": 1})
    assert not any("bf16" in line for line in others)


@pytest.mark.parametrize("slope", [0, 0.1], ids=["prelu", "fixed slope"])
@pytest.mark.parametrize("kind", ["weights", "checkpoint"])
def test_weights_to_begin_with(run: Callable[..., Summary], tmp_path: Path, slope: float, kind: str):
    run("first", slope=slope)
    places = {"weights": "tiny.safetensors", "checkpoint": "checkpoints/step-000000006.pt"}
    first = tmp_path / "first" / places[kind]
    tiny = {"run.steps": 1, "optimizer.learning_rate": 1e-12}
    run("second", slope=slope, pretrained=first, **tiny)
    one, other = (load_file(tmp_path / name / "tiny.safetensors") for name in ("first", "second"))
    torch.testing.assert_close(one, other)


def test_weights_of_another_network_are_refused(run: Callable[..., Summary], tmp_path: Path):
    run("first")
    with pytest.raises(
        TrainingError, match=r"does not fit the network.*body\.0\.weight \(8x3x3x3 instead of 16"
    ) as caught:
        run("second", pretrained=tmp_path / "first" / "tiny.safetensors", **{"network.num_features": 16})
    assert "[network]" in str(caught.value.hint)
    with pytest.raises((TrainingError, WeightsError), match="does not exist"):
        run("third", pretrained=tmp_path / "nowhere.safetensors")


def test_missing_tensorboard_is_said_and_no_reason_to_stop(
    run: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    said: list[str] = []
    run("out", say=said.append, tensorboard=True)
    assert sum("TensorBoard is not installed" in line for line in said) == 1


def test_tensorboard_gets_scalars_and_pictures(
    run: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    got: dict[str, list[int]] = {}

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert (folder, purge_step) == (str(tmp_path / "out" / "tensorboard"), 0)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            got.setdefault(name, []).append(step)

        def add_image(self, name: str, picture_CHW: torch.Tensor, step: int) -> None:
            assert picture_CHW.shape == (3, 64, 64)
            got.setdefault(name, []).append(step)

        def close(self) -> None:
            got["closed"] = []

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    validation = trainings.write_pictures(tmp_path / "Set1", 1, seed=9)
    run("out", tensorboard=True, log_every=3, **{"data.validation": validation})
    assert got["loss/pixel"] == got["loss/rate"] == [3, 6]
    assert got["psnr_y/Set1"] == got["ssim_y/Set1"] == got["sample/Set1"] == [6]
    assert {"images_per_second", "data_wait", "closed"} <= set(got)


# --- what a run leaves behind, and what it does not need ---


def test_the_process_is_left_as_it_was(run: Callable[..., Summary]):
    """Numbers below 1e-38 are zeros during a training, and numbers again after it."""
    small = torch.tensor([1e-40])
    run("out")
    assert small.mul(1.0).item() > 0


def test_a_resumed_run_does_without_the_weights_it_began_with(run: Callable[..., Summary], tmp_path: Path):
    run("first")
    pretrained = tmp_path / "first" / "tiny.safetensors"
    run("straight", pretrained=pretrained)
    run("parted", pretrained=pretrained, **{"run.steps": 3})
    pretrained.unlink()
    run("parted", pretrained=pretrained, resume=True)
    assert same_weights(tmp_path / "straight" / "tiny.safetensors", tmp_path / "parted" / "tiny.safetensors")


def test_a_finished_run_exports_again(run: Callable[..., Summary], tmp_path: Path):
    run("out")
    summary = run("out", resume=True, **{"run.name": "half", "export_dtype": "fp16"})
    one, other = (load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("tiny", "half"))
    assert Path(summary.output).name == "half.safetensors"
    assert all(torch.equal(one[key].half(), other[key]) for key in one)
    assert len(read_losses(tmp_path / "out")) == 6


def test_a_checkpoint_without_its_run_json_still_knows_its_data(run: Callable[..., Summary], tmp_path: Path):
    run("out")
    (tmp_path / "out" / "run.json").unlink()
    with pytest.raises(TrainingError, match="other pictures"):
        run("out", resume=True, data=trainings.write_pictures(tmp_path / "other", seed=7))
    with pytest.raises(TrainingError, match=r"network\.num_conv"):
        run("out", resume=True, **{"network.num_conv": 2})


def test_what_a_killed_write_left_goes_with_the_resume(run: Callable[..., Summary], tmp_path: Path):
    run("out", **{"run.steps": 3})
    left = [tmp_path / "out" / ".run.json.1.tmp", tmp_path / "out" / "checkpoints" / ".step-000000004.pt.1.tmp"]
    for path in left:
        path.write_bytes(b"half")
    run("out", resume=True)
    assert not any(path.exists() for path in left)


def test_a_validation_folder_that_is_missing_claims_nothing(run: Callable[..., Summary], tmp_path: Path):
    with pytest.raises(DataError, match="nowhere"):
        run("out", **{"data.validation": tmp_path / "nowhere"})
    assert not (tmp_path / "out").exists()


def test_bad_steps_after_the_last_line_count(run: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch):
    break_losses(monkeypatch, lambda call: call == 6)
    assert run("out", log_every=4).skipped == 1


@pytest.mark.parametrize("name", ["losses.jsonl", "checkpoints"])
def test_a_place_that_cannot_be_written_is_named(run: Callable[..., Summary], tmp_path: Path, name: str):
    (tmp_path / "out").mkdir()
    if name == "checkpoints":
        (tmp_path / "out" / name).write_bytes(b"a file where a folder should be")
    else:
        (tmp_path / "out" / name).symlink_to(tmp_path / "nowhere" / "losses.jsonl")
    with pytest.raises(TrainingError, match=rf"{name}.* cannot be written"):
        run("out")


def test_targets_too_small_for_the_losses_are_refused_with_the_size_that_does(run: Callable[..., Summary]):
    deep = {"perceptual_weight": 1, "perceptual_weights": "random", "perceptual_layers": "{conv5_4 = 1.0}"}
    with pytest.raises(SettingsError, match="8 pixels are too small") as caught:
        run("out", **deep, **{"data.patch": 4})
    assert caught.value.hint == "data.patch 8 or more"
    with pytest.raises(SettingsError, match="they need 8") as caught:
        run("out", adversarial_weight=1, **{"discriminator.kind": "unet", "network.scale": 1, "data.patch": 4})
    assert caught.value.hint == "data.patch 8 or more"
