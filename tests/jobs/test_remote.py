"""What runs on a cluster's machines, called here without one."""

from __future__ import annotations

import errno
import pickle
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

import films
from vsr.errors import SourceError
from vsr.jobs import remote
from vsr.jobs.failure import RemoteFailure, judge
from vsr.jobs.remote import PassingFailure, RemoteFilm, identify, make_cells, put_in_place
from vsr.pipeline.cells import Cells
from vsr.settings import Settings


@pytest.fixture(autouse=True)
def threads_of_torch() -> Iterator[None]:
    """A machine of a cluster sets them once and for all; the tests that come after must not notice."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def film(tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteFilm:
    """Three segments, for a machine that does not have the folder of the output."""
    monkeypatch.setattr(remote, "_find_device", lambda: "cpu")
    source = films.plain(tmp_path / "film.mp4", times=240).path
    return RemoteFilm(source, Path("/not/here/out.mp4"), Settings(model=str(tiny_weights)), num_threads=1)


def test_segments_come_as_bytes_to_where_their_folder_is_not(film: RemoteFilm):
    identity = identify(film)
    deliveries = make_cells(film, Cells(None, 2), identity, 1, Path("/not/here/out.mp4.part"), b"token")
    deliveries += make_cells(film, Cells(2, None), identity, 1, Path("/not/here/out.mp4.part"), b"token")
    assert [delivery.entry.index for delivery in deliveries] == [0, 1, 2]
    assert [delivery.entry.file.num_frames for delivery in deliveries] == [96, 96, 48]
    assert all(delivery.data is not None for delivery in deliveries)
    assert [len(delivery.data or b"") for delivery in deliveries] == [one.entry.file.size for one in deliveries]


def test_segments_go_into_their_folder_where_it_is_the_same_one(film: RemoteFilm, tmp_path: Path):
    folder = tmp_path / "out.mp4.part"
    folder.mkdir()
    (folder / "job.json").write_bytes(b"token")
    (delivery,) = make_cells(film, Cells(0, 1), identify(film), 1, folder, b"token")
    assert delivery.data is None
    assert sorted(path.name for path in folder.iterdir()) == ["000000.segment", "job.json"]
    assert (folder / "000000.segment").stat().st_size == delivery.entry.file.size
    (delivery,) = make_cells(film, Cells(1, 2), identify(film), 1, folder, b"another folder's token")
    assert delivery.data is not None
    (folder / "000001.segment").mkdir()  # what cannot be written travels as well
    (delivery,) = make_cells(film, Cells(1, 2), identify(film), 1, folder, b"token")
    (folder / "000001.segment").rmdir()
    assert delivery.data is not None
    assert not (folder / "000001.segment").exists()


def test_the_network_and_the_plan_are_kept(film: RemoteFilm, monkeypatch: pytest.MonkeyPatch):
    identity = identify(film)
    monkeypatch.setattr("vsr.api.make_upscaler", lambda *_, **__: pytest.fail("the network is here"))
    monkeypatch.setattr("vsr.pipeline.plan.plan_film", lambda *_: pytest.fail("the plan is made"))
    assert identify(film) == identity
    film.source.write_bytes(film.source.read_bytes() + b"\0")  # now it is another film
    with pytest.raises(pytest.fail.Exception):
        identify(film)


def test_a_machine_that_would_make_other_pictures_says_why(film: RemoteFilm):
    identity = identify(film) | {"precision": "fp16"}
    with pytest.raises(RemoteFailure) as caught:
        make_cells(film, Cells(0, 1), identity, 1, Path("/not/here"), b"")
    failure = caught.value.failure
    assert failure.kind == "DeviceError"
    assert "precision was fp16 and is" in failure.message
    assert failure.message.endswith(f"(on {platform.node()})")
    assert not isinstance(caught.value, PassingFailure)


def test_what_may_pass_is_repeated_and_what_will_not_is_not(film: RemoteFilm, monkeypatch: pytest.MonkeyPatch):
    error = SourceError("'film.mp4' cannot be read")
    error.__cause__ = OSError(errno.ESTALE, "Stale file handle")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(remote._bench, "prepare", fail)
    with pytest.raises(PassingFailure):
        identify(film)
    error.__cause__ = None
    with pytest.raises(RemoteFailure) as caught:
        identify(film)
    assert not isinstance(caught.value, PassingFailure)


def test_a_film_that_is_not_on_the_machine(film: RemoteFilm):
    film.source.unlink()
    with pytest.raises(RemoteFailure) as caught:
        identify(film)
    failure = caught.value.failure
    assert (failure.kind, failure.may_pass) == ("SourceError", False)
    assert failure.hint == "every machine of the cluster needs the film under the same path"


def test_failures_travel(tmp_path: Path):
    failure = judge(MemoryError(), tmp_path / "a", tmp_path / "b")
    for kind in (RemoteFailure, PassingFailure):
        returned = pickle.loads(pickle.dumps(kind(failure)))
        assert type(returned) is kind
        assert returned.failure == failure
        assert judge(returned, tmp_path / "a", tmp_path / "b").may_pass


@pytest.mark.parametrize(
    ("given", "visible", "device"),
    [
        ([], None, "cpu"), ([], "0,1", "cpu"), ([0], None, "cuda:0"), ([1], None, "cuda:1"), (["3"], "2,3", "cuda:1"),
        (["GPU-b"], "GPU-a,GPU-b", "cuda:1"),
    ],
)  # fmt: skip
def test_the_gpu_that_ray_gives_is_the_one_that_torch_takes(
    given: list[object], visible: str | None, device: str, monkeypatch: pytest.MonkeyPatch
):
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'vsr[cluster]'")
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: given)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert remote._find_device() == device


def test_a_segment_is_put_in_place_whole_or_not_at_all(tmp_path: Path):
    (tmp_path / "made").write_bytes(b"segment")
    put_in_place(tmp_path / "made", tmp_path / "one")
    put_in_place(b"segment", tmp_path / "two")
    put_in_place(b"segment", tmp_path / "two")  # a task that was repeated, though its first worker lives
    assert [(tmp_path / name).read_bytes() for name in ("one", "two")] == [b"segment"] * 2
    with pytest.raises(FileNotFoundError):
        put_in_place(tmp_path / "missing", tmp_path / "three")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "one", "two"]
