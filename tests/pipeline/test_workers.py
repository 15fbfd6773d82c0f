from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

import films
import vsr
from vsr.pipeline.workers import share_cores
from vsr.settings import Settings


@pytest.mark.parametrize(
    ("cores", "groups", "expected"),
    [
        (1, 100, (1, 1)),
        (2, 100, (2, 1)),
        (2, None, (2, 1)),
        (2, 3, (1, 2)),
        (8, 100, (4, 2)),
        (6, 100, (4, 1)),
        (64, 100, (4, 16)),
    ],
)
def test_cores_are_shared_out(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, cores: int, groups: int | None, expected: tuple[int, int]
) -> None:
    upscaler = vsr.make_upscaler(Settings(model=str(tiny_weights), device="cpu"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert share_cores(upscaler, groups) == expected


def test_a_run_leaves_torchs_threads_as_they_were(film: films.Film, tiny_weights: Path) -> None:
    before = torch.get_num_threads()
    vsr.upscale(film.path, model=str(tiny_weights))
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (torch.get_num_threads(), seen) == (before, [before])
