"""Runs in processes of their own, so that none inherits the memory, the threads or the warm caches of another.

python -m vsr.bench.process NAME TASK        one JSON object on stdout
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vsr.bench.task import Task
from vsr.errors import ProcessingError, VsrError

__all__ = ["RUNS", "run_apart"]

RUNS = {
    "vsr-film": ("vsr.bench.river", "run_film"),
    "vsr-network": ("vsr.bench.river", "run_network"),
    "plain-film": ("vsr.bench.plain_loop", "run_film"),
    "plain-network": ("vsr.bench.plain_loop", "run_network"),
    "likeness": ("vsr.bench.peer", "compare_results"),
}

# What vsr sets in the environment to be fast, and its processes inherit; the usual scripts do not.
OWN_VARIABLES = ("OMP_WAIT_POLICY", "THP_MEM_ALLOC_ENABLE")


def run_apart(name: str, task: Task) -> dict[str, Any]:
    """Do one run of `RUNS` in a fresh interpreter; returns what it found.

    Raises:
        ProcessingError: the run failed; says why.
    """
    # The same code as here, whatever lies in the folder that this process happens to be in.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    if name.startswith("plain"):
        for variable in OWN_VARIABLES:
            environment.pop(variable, None)
    command = [sys.executable, "-P", "-m", __name__, name, replace(task, started=time.time()).to_json()]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False
    )
    lines = done.stdout.splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    except ValueError:
        found = {}
    if done.returncode or not found or "error" in found:
        words = done.stderr.strip().splitlines()
        reason = found.get("error") or (words[-1] if words else f"exit status {done.returncode}")
        raise ProcessingError(f"the run {name!r} failed: {reason}", hint=found.get("hint"))
    return found


def main(name: str, task: str) -> int:
    """One run, here."""
    module, function = RUNS[name]
    run: Callable[[Task], dict[str, Any]] = getattr(importlib.import_module(module), function)
    try:
        print(json.dumps(run(Task.from_json(task))))
    except VsrError as exc:
        print(json.dumps({"error": exc.message, "hint": exc.hint}))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
