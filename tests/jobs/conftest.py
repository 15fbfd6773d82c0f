"""What the tests of workers share: films that take a while, ears, and workers in which something is wrong;
and the world of a daemon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import films
from watching import World


@pytest.fixture(scope="session")
def slow_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that takes tens of milliseconds for a frame of 64x48."""
    import networks

    return networks.write_compact(
        tmp_path_factory.mktemp("weights") / "slow-x4.safetensors", num_features=64, num_conv=16
    )


@pytest.fixture(scope="session")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> films.Film:
    """1500 frames without sound: with `slow_weights` more than any test waits for."""
    return films.silent(tmp_path_factory.mktemp("films") / "long.mp4", times=1500)


@pytest.fixture
def haunt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """haunt(code): the code runs first in every worker that is started from now on."""

    def write(code: str) -> None:
        folder = tmp_path / "haunted"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(folder)

    return write


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """An empty inbox, an empty outbox, and a clock at zero; see `watching.World`."""
    return World(tmp_path, monkeypatch)
