"""Two processes with half the batch each against one with all of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import trainings
from vsr.errors import SettingsError, TrainingError
from vsr.training.distributed import Ranks, join_ranks
from vsr.training.generators import build_generator
from vsr.training.stages import build_stage


def test_alone_is_rank_0_of_1(monkeypatch: pytest.MonkeyPatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with join_ranks("cpu") as ranks:
        assert (ranks.rank, ranks.world, ranks.is_first) == (0, 1, True)
        assert ranks.agree(True)
        assert not ranks.agree(False)
        module = torch.nn.Linear(1, 1)
        assert ranks.wrap(module) is module


def test_a_broken_environment_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(TrainingError, match="RANK") as caught, join_ranks("cpu"):
        pass
    assert "torchrun" in str(caught.value.hint)


@pytest.mark.parametrize(("batch", "world", "accumulate"), [(4, 2, 4), (12, 2, 4), (6, 4, 1)])
def test_pieces_that_would_weigh_differently_are_refused(tmp_path: Path, batch: int, world: int, accumulate: int):
    """chunk(4) makes two pieces of a share of 2, and no piece would then be the last: nothing were averaged."""
    recipe = trainings.make_recipe(tmp_path, **{"data.batch": batch, "accumulate": accumulate})
    ranks = Ranks(0, world, torch.device("cpu"))
    with pytest.raises(SettingsError, match="equal pieces") as caught:
        build_stage(recipe, build_generator(recipe.network), ranks)
    assert str(world * accumulate) in str(caught.value.hint)


def start(folder: Path, name: str, rank: int, world: int, port: int, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vsr", "train", str(folder / "tiny.toml"), "--data", str(folder / "pictures")]
    command += ["--out", str(folder / name), "--device", "cpu", "--quiet", *words]
    environment = {
        **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    return subprocess.Popen(command, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--set", "accumulate=2", "--set", "clip=0.01")], ids=["plain", "accumulated"])
def test_two_processes_are_one_with_the_whole_batch(tmp_path: Path, more: tuple[str, ...]):
    trainings.write_recipe(tmp_path)
    trainings.write_pictures(tmp_path / "pictures")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [start(tmp_path, "one", 0, 1, port, *more)]
    processes += [start(tmp_path, "two", rank, 2, port, *more) for rank in (0, 1)]
    assert [process.wait(timeout=100) for process in processes] == [0, 0, 0]
    one, two = (load_file(tmp_path / name / "tiny.safetensors") for name in ("one", "two"))
    # Sums in another order, then Adam's division, which makes much of gradients near zero: not the same bits. Six steps
    # at this rate can move a weight by 0.018.
    torch.testing.assert_close(one, two, rtol=1e-3, atol=3e-4)
    losses = [
        [json.loads(line)["pixel"] for line in (tmp_path / name / "losses.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert len(losses[0]) == 6
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert not (tmp_path / "two" / "checkpoints" / ".best").exists()


@pytest.mark.slow
def test_two_processes_play_the_game_of_a_gan(tmp_path: Path):
    """Runs, and both end with the same weights by construction: the second one's are those that were averaged in."""
    trainings.write_recipe(tmp_path)
    trainings.write_pictures(tmp_path / "pictures")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = []
    for word in ("adversarial_weight=0.1", "discriminator.kind=unet", "discriminator.num_features=4", "accumulate=2"):
        words += ["--set", word]
    processes = [start(tmp_path, "gan", rank, 2, port, *words) for rank in (0, 1)]
    assert [process.wait(timeout=100) for process in processes] == [0, 0]
    lines = (tmp_path / "gan" / "losses.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert {json.loads(line)["skipped"] for line in lines} == {0}
