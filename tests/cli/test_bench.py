"""`vsr bench` as a user meets it: a table or one JSON object on stdout, words on stderr."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import films
import networks
from vsr.bench import process, session
from vsr.bench.task import Task

Run = Callable[..., tuple[int, str, str]]
PARTS = ("ceiling", "networks", "stages", "river", "peer")


@pytest.fixture
def bench(run: Run) -> Run:
    """bench("--runs", 1): `vsr bench`."""
    return partial(run, "bench")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were made, in order: here in this process, which takes no seconds to start."""
    made: list[str] = []

    def run_here(name: str, task: Task) -> dict[str, Any]:
        made.append(name)
        module, function = process.RUNS[name]
        found: dict[str, Any] = getattr(importlib.import_module(module), function)(Task.from_json(task.to_json()))
        return found

    monkeypatch.setattr(session, "run_apart", run_here)
    monkeypatch.setattr("vsr.model.speed._SIDE_CPU", 64)
    return made


@pytest.fixture
def arguments(film: films.Film, tiny_weights: Path) -> tuple[object, ...]:
    return ("--input", film.path, "--frames", 4, "--runs", 2, "--model", tiny_weights, "--device", "cpu")


def test_one_json_object_with_every_part(bench: Run, names: list[str], arguments: tuple[object, ...]) -> None:
    status, out, err = bench(*arguments, "--json", "--crf", 30, "--encoder-preset", "ultrafast")
    assert status == 0
    found = json.loads(out)
    assert list(found) == ["machine", "clip", "run", "num_runs", *PARTS]
    assert {"processor", "cores", "threads", "device", "torch", "pyav"} <= set(found["machine"])
    assert found["clip"] == {"name": "film.mp4", "width": 64, "height": 48, "num_frames": 4, "rate": "24"}
    assert found["run"]["size_out"] == [256, 192]
    assert found["run"]["encoder"] == "libx264 crf 30 preset ultrafast"
    assert [network["name"] for network in found["networks"]] == ["tiny-x4"]
    (network,) = found["networks"]
    ceiling = found["ceiling"][network["precision"]]["median"]
    assert network["share_of_ceiling"] == pytest.approx(network["flop_per_second"] / ceiling, rel=1e-3)
    river = found["river"]
    alone = {name: found["stages"]["milliseconds"][name]["median"] for name in ("decode", "compute", "encode")}
    assert river["slowest_milliseconds"] == max(alone.values()) == alone[river["slowest_stage"]]
    assert river["share_of_slowest"] == pytest.approx(max(alone.values()) / river["milliseconds"]["median"], rel=1e-3)
    assert found["peer"]["vsr_film"] == river["milliseconds"]
    assert names == ["plain-film", "vsr-film", "plain-network", "vsr-network"] * 2 + ["likeness"]
    assert "run 2 of 2: vsr-film" in err


def test_a_table_on_stdout(bench: Run, names: list[str], arguments: tuple[object, ...]) -> None:
    status, out, err = bench(*arguments)
    assert status == 0
    heads = [block.split("\n")[0].split("  ")[0] for block in out.split("\n\n")]
    assert heads[1:6] == ["ceiling", "network alone", "stage alone", "river", "peer"]
    assert "film.mp4 clip, 64x48, 4 frames; 2 runs" in out
    assert "tiny-x4 x4 in" in out
    assert all(line.startswith("vsr: ") for line in err.splitlines())


@pytest.mark.parametrize("part", PARTS)
def test_a_part_alone(bench: Run, names: list[str], arguments: tuple[object, ...], part: str) -> None:
    status, out, _ = bench(*arguments, "--json", "--only", part)
    assert status == 0
    found = json.loads(out)
    assert [name for name in PARTS if found[name] is not None] == [part]
    if part == "river":
        assert names == ["vsr-film"] * 2
        assert found["river"]["share_of_slowest"] is None
    elif part != "peer":
        assert names == []


def test_several_networks_take_part(
    bench: Run, names: list[str], arguments: tuple[object, ...], tmp_path: Path, tiny_weights: Path
) -> None:
    """Each of them once, files of one name apart; the first is the river's."""
    (tmp_path / "other").mkdir()
    twin = networks.write_compact(tmp_path / "other" / tiny_weights.name, scale=2)
    models = ("--model", twin, "--model", tiny_weights)
    status, out, _ = bench(*arguments, *models, "--json", "--only", "networks")
    assert status == 0
    found = json.loads(out)
    assert [(one["name"], one["scale"]) for one in found["networks"]] == [("tiny-x4", 4), ("tiny-x4#2", 2)]
    assert found["run"]["model"] == "tiny-x4"
    assert names == []


def test_without_a_model_the_embedded_ones_take_part(bench: Run, names: list[str], film: films.Film) -> None:
    status, out, _ = bench("--input", film.path, "--frames", 2, "--runs", 1, "--only", "networks", "--json")
    assert status == 0
    assert {"fast", "fast-x2", "film", "quality", "realtime"} == {one["name"] for one in json.loads(out)["networks"]}


def test_scale_is_of_the_run(bench: Run, names: list[str], arguments: tuple[object, ...]) -> None:
    status, _, err = bench(*arguments, "--scale", 2)
    assert status == 2
    assert "hint: --scale 4" in err
    status, out, _ = bench(*arguments, "--scale", 2, "--json", "--only", "stages")
    assert status == 0
    assert json.loads(out)["run"]["size_out"] == [128, 96]


@pytest.mark.parametrize(
    ("wrong", "status", "word"),
    [
        (("--only", "lake"), 2, "lake"),
        (("--frames", "0"), 2, "--frames 0"),
        (("--runs", "0"), 2, "--runs 0"),
        (("--input", "nowhere.mp4"), 1, "nowhere.mp4"),
        (("--model", "fasd"), 1, "fasd"),
        (("--encoder-preset", "warp"), 2, "warp"),
    ],
)
def test_what_cannot_be_is_said(bench: Run, names: list[str], wrong: tuple[str, ...], status: int, word: str) -> None:
    found, out, err = bench("--device", "cpu", *wrong)
    assert (found, out, names) == (status, "", [])
    assert word in err


@pytest.mark.slow
def test_processes_of_their_own(bench: Run, arguments: tuple[object, ...]) -> None:
    status, out, _ = bench(*arguments, "--json", "--only", "river", "--only", "peer")
    assert status == 0
    found = json.loads(out)
    assert found["peer"]["ratio_film"]["least"] > 0
    assert found["river"]["peak_memory_bytes"] > 1 << 20
