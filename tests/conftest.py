"""What all tests share: the films, the real clips where they are, and the watch over threads left behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import films

ROOT = Path(__file__).resolve().parent.parent
THREAD_GRACE_SECONDS = 2.0

# The machines of CI are slow and shared: a property is judged by its examples, not by the clock.
settings.register_profile("vsr", deadline=None, derandomize=True)
settings.load_profile("vsr")


@pytest.fixture(scope="session")
def material() -> Path:
    """The folder of real clips, pictures and weights: ../shared/material beside the repository, or VSR_MATERIAL.

    Skips the test where it is absent; with VSR_REQUIRE_MATERIAL=1 the test fails instead.
    """
    place = Path(os.environ.get("VSR_MATERIAL") or ROOT.parent / "shared" / "material")
    if place.is_dir():
        return place
    message = f"no test material at {place} (set VSR_MATERIAL to its folder)"
    if os.environ.get("VSR_REQUIRE_MATERIAL") == "1":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests, and the programs that they start, keep their hands off the user's cache."""
    with pytest.MonkeyPatch.context() as context:
        context.setenv("VSR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """Fail a test that leaves a thread behind which would keep the process alive.

    Threads get a moment to end by themselves; daemon threads are let go, nobody waits for those.
    """
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + THREAD_GRACE_SECONDS
    while leaked := [t for t in threading.enumerate() if t not in before and t.is_alive() and not t.daemon]:
        if time.monotonic() > deadline:
            pytest.fail(f"threads left behind: {', '.join(sorted(thread.name for thread in leaked))}")
        leaked[0].join(0.05)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of a compact network x4 that takes no time: 8 features, one hidden convolution."""
    import networks  # torch takes seconds to import; tests of video/ do without

    return networks.write_compact(tmp_path_factory.mktemp("weights") / "tiny-x4.safetensors")


@pytest.fixture
def film(tmp_path: Path) -> films.Film:
    """H.264 4:2:0, 64x48, 24 frames at 24 frames/s with AAC stereo in MP4; see films.plain."""
    return films.plain(tmp_path / "film.mp4")


@pytest.fixture
def make_film(tmp_path: Path) -> Callable[..., films.Film]:
    """make_film(films.rotated, "film.mp4", degrees=90): a film with a trait, in the test's own folder."""

    def make(recipe: Callable[..., films.Film], name: str = "film.mp4", **changes: object) -> films.Film:
        return recipe(tmp_path / name, **changes)

    return make
