"""The door of the Python API: which upscaler the settings ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import vsr
from vsr import api
from vsr.settings import Settings


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", ("Upscaler", "cpu")), ("cuda:0,cuda:2", ("UpscalerGroup", ("cuda:0", "cuda:2")))],
)
def test_several_devices_make_a_group(
    device: str, expected: tuple[str, Any], tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "Upscaler", lambda network, device, **options: ("Upscaler", device))
    monkeypatch.setattr(api, "UpscalerGroup", lambda network, devices, **options: ("UpscalerGroup", devices))
    made: Any = vsr.make_upscaler(Settings(model=str(tiny_weights), device=device))
    assert made == expected
