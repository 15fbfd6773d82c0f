"""Whatever kills a run, and whenever: no picture is wrong or missing, and no film has its name that is not whole."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import faults
import films
import vsr
from vsr.errors import OutputError, SourceError
from vsr.progress import SilentProgress

# Steps that come once in a run, once in a segment, and once in a picture or packet.
ONCE = {
    "description about to be written", "lock taken", "header", "verification", "about to be named", "two names",
    "named", "work folder half removed",
}  # fmt: skip
PER_SEGMENT = {
    "drain", "segment about to be named", "segment named", "half a line of the journal", "journal about to be written",
    "journal written",
}  # fmt: skip
NUM_FRAMES = 60
NUM_SEGMENTS = 5


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> films.Film:
    return films.b_frames(tmp_path_factory.mktemp("film") / "film.mp4", times=NUM_FRAMES)


@pytest.fixture(scope="module")
def forks() -> multiprocessing.context.ForkServerContext:
    """Processes that begin with torch and everything else loaded: each is there in an instant."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faults", "vsr.api", "vsr.model.fused", "vsr.video.writer"])
    return context


@pytest.fixture(scope="module")
def whole(film: films.Film, tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, forks) -> bytes:
    """The film of an unbroken run."""
    output = tmp_path_factory.mktemp("whole") / "out.mp4"
    process = forks.Process(target=faults.run, args=(film.path, output, tiny_weights, None, 0))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    return output.read_bytes()


def run_to_its_end(forks, film: films.Film, output: Path, weights: Path) -> None:
    """As somebody would who gives the same command again; a film that has its name is left alone."""
    if not output.exists():
        process = forks.Process(target=faults.run, args=(film.path, output, weights, None, 0))
        process.start()
        process.join(60)
        assert process.exitcode == 0


@pytest.mark.slow
@pytest.mark.parametrize("moment", faults.MOMENTS)
def test_killed_at_a_chosen_moment(
    moment: str, film: films.Film, whole: bytes, tmp_path: Path, tiny_weights: Path, forks
) -> None:
    output = tmp_path / "out.mp4"
    draw = random.Random(moment)
    most = 1 if moment in ONCE else NUM_SEGMENTS if moment in PER_SEGMENT else NUM_FRAMES
    process = forks.Process(target=faults.run, args=(film.path, output, tiny_weights, moment, draw.randint(1, most)))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, "the moment never came"
    if output.exists():
        assert output.read_bytes() == whole
    run_to_its_end(forks, film, output, tiny_weights)
    assert output.read_bytes() == whole


def test_killed_at_random_moments(
    film: films.Film, whole: bytes, tmp_path: Path, tiny_weights: Path, forks, capsys: pytest.CaptureFixture[str]
) -> None:
    """Thirty of them, by the clock or by the step; a film is killed until it is finished, then the next one begins."""
    draw = random.Random(5)
    survived, num_films = 0, 0
    while survived < 30:
        num_films += 1
        output = tmp_path / f"{num_films}.mp4"
        while not output.exists():
            if draw.random() < 0.5:
                order = (None, 0, draw.uniform(0.02, 0.6))
            else:
                moment = draw.choice(sorted(faults.MOMENTS))
                most = 1 if moment in ONCE else 3 if moment in PER_SEGMENT else 2 * NUM_FRAMES
                order = (moment, draw.randint(1, most), None)
            process = forks.Process(target=faults.run, args=(film.path, output, tiny_weights, *order))
            process.start()
            process.join(60)
            assert process.exitcode in (0, -signal.SIGKILL), order
            survived += process.exitcode != 0
        assert output.read_bytes() == whole
        shutil.rmtree(f"{output}.part", ignore_errors=True)  # of those killed after the film had its name
    with capsys.disabled():
        print(f"\n{survived} kills survived by {num_films} films", end=" ")


def test_a_disk_that_is_full(film: films.Film, whole: bytes, tmp_path: Path, tiny_weights: Path, forks) -> None:
    """Each try gets a little further; with room enough the film is finished, and it is the right one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a small disk takes root")
    try:
        output, done = disk / "out.mp4", []
        for kilobytes in range(24, 2000, 40):
            subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(disk)], check=True)
            process = forks.Process(target=run_on_full_disk, args=(film.path, output, tiny_weights))
            process.start()
            process.join(60)
            assert process.exitcode in (0, FULL)
            done.append(len(list(disk.glob("out.mp4.part/*.segment"))))
            if output.exists():
                break
            assert not list(disk.glob("**/*.tmp"))
        assert output.read_bytes() == whole
        assert 0 in done
        assert any(0 < number < NUM_SEGMENTS for number in done)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


FULL = 28


def run_on_full_disk(source: Path, output: Path, weights: Path) -> None:
    try:
        faults.run(source, output, weights, None, 0)
    except OutputError as exc:
        raise SystemExit(FULL if "the disk is full" in exc.message else 1) from None


@pytest.mark.parametrize("what", ["removed", "cut"])
def test_a_source_that_vanishes(what: str, film: films.Film, tmp_path: Path, tiny_weights: Path) -> None:
    """While it is read, or before it is read for its sound; back again, the film goes on."""
    source, output = tmp_path / "film.mp4", tmp_path / "out.mp4"
    shutil.copy2(film.path, source)

    class Thief(SilentProgress):
        done = 0

        def advance(self, amount: int, note: str = "") -> None:
            self.done += amount
            if self.done == NUM_FRAMES // 2:
                if what == "removed":
                    source.unlink()
                else:
                    with open(source, "r+b") as file:
                        file.truncate(2000)

    with pytest.raises(SourceError):
        vsr.upscale(source, output, model=str(tiny_weights), progress=Thief())
    assert not output.exists()
    with pytest.raises(SourceError):
        vsr.upscale(source, output, model=str(tiny_weights))
    shutil.copy2(film.path, source)
    report = vsr.upscale(source, output, model=str(tiny_weights))
    assert report.frames_out == NUM_FRAMES
    assert not report.damaged
