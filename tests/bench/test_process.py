"""Runs in processes of their own: what they find, and how they fail."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from vsr.bench import process
from vsr.bench.process import RUNS, run_apart
from vsr.bench.task import Task
from vsr.errors import ProcessingError
from vsr.settings import Settings


def test_a_task_goes_through_json(task: Task) -> None:
    found = Task.from_json(task.to_json())
    assert replace(found, settings={}) == replace(task, settings={})
    assert found.read_settings() == task.read_settings() == Settings(**task.settings)


def test_a_run_in_a_process_of_its_own(task: Task) -> None:
    found = run_apart("plain-film", task)
    assert found["num_frames"] == 4
    assert found["seconds_per_frame"] > 0


def test_an_error_of_ours_arrives_with_its_hint(task: Task) -> None:
    broken = replace(task, settings=task.settings | {"device": "cuda:77"})
    with pytest.raises(ProcessingError, match=r"'vsr-network' failed: device 'cuda:77'") as caught:
        run_apart("vsr-network", broken)
    assert caught.value.hint


def test_a_crash_arrives_with_its_last_line(task: Task) -> None:
    with pytest.raises(ProcessingError, match=r"'plain-network' failed: .*nowhere"):
        run_apart("plain-network", replace(task, weights="/nowhere.safetensors"))


@pytest.mark.parametrize("name", list(RUNS))
def test_the_plain_loop_runs_without_what_vsr_sets_for_itself(
    task: Task, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seen: dict[str, str] = {}

    def run(command: list[str], *, env: dict[str, str], **others: Any) -> subprocess.CompletedProcess[str]:
        seen.update(env)
        return subprocess.CompletedProcess(command, 0, json.dumps({"seconds_per_frame": 1.0}), "")

    monkeypatch.setattr(process.subprocess, "run", run)
    for variable in process.OWN_VARIABLES:
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("OTHER", "kept")
    assert run_apart(name, task) == {"seconds_per_frame": 1.0}
    assert seen["OTHER"] == "kept"
    assert {variable in seen for variable in process.OWN_VARIABLES} == {not name.startswith("plain")}
