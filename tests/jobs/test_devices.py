from __future__ import annotations

import shutil
import subprocess
from types import SimpleNamespace

import pytest

from vsr.errors import SettingsError
from vsr.jobs.devices import list_devices


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("cpu", ("cpu",)), ("cuda:0,cuda:1", ("cuda:0", "cuda:1")), ("cuda", ("cuda",)), ("mps", ("mps",))],
)
def test_what_is_asked_for_is_what_is_taken(wanted: str, expected: tuple[str, ...]) -> None:
    assert list_devices(wanted) == expected


@pytest.mark.parametrize(
    ("answer", "expected"), [("2\n", ("cuda:0", "cuda:1")), ("0\n", ("auto",)), ("", ("auto",)), ("Error", ("auto",))]
)
@pytest.mark.parametrize("wanted", [None, "auto"])
def test_by_itself_every_gpu_and_else_the_best_there_is(
    monkeypatch: pytest.MonkeyPatch, wanted: str | None, answer: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=answer))
    assert list_devices(wanted) == expected


def test_what_is_no_device_is_refused() -> None:
    with pytest.raises(SettingsError, match="tpu"):
        list_devices("tpu")
