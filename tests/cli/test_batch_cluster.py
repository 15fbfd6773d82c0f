"""`vsr batch --cluster` as a user meets it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import films

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'vsr[cluster]'")


@pytest.fixture
def cluster() -> Iterator[None]:
    """One of the test's own: auto would find any other on this machine."""
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_batch_is_made_on_a_cluster(run: Callable[..., tuple[int, str, str]], tmp_path: Path, tiny_weights: Path):
    tapes = tmp_path / "tapes"
    tapes.mkdir()
    for number in range(3):
        films.plain(tapes / f"{number}.mp4", times=120)
    (tapes / "bad.mp4").write_text("no film")
    command = ("batch", tapes, "--model", tiny_weights, "--cluster", "auto", "--json")
    status, out, err = run(*command)
    assert status == 1
    assert "bad.mp4' is not a film" in err
    reports = [film["report"] for film in json.loads(out)["films"] if film["state"] == "done"]
    assert [report["frames_out"] for report in reports] == [120] * 3
    assert {report["device"] for report in reports} == {"cluster (cpu)"}
    (tapes / "bad.mp4").unlink()
    status, out, _ = run(*command)
    assert status == 0
    assert json.loads(out)["totals"]["states"] == {"skipped": 3}


def test_a_cluster_that_is_not_there_is_told_before_anything_is_made(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, tiny_weights: Path
):
    tapes = tmp_path / "tapes"
    tapes.mkdir()
    films.plain(tapes / "a.mp4")
    status, _, err = run("batch", tapes, "--model", tiny_weights, "--cluster", "127.0.0.1:1")
    assert status == 1
    assert "no cluster answers at '127.0.0.1:1'" in err
    assert list(tmp_path.iterdir()) == [tapes]
