"""torchvision through its guard: as it comes, where its compiled part does not load, after somebody's failed try."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType

import pytest
import torch

from vsr.errors import ModelError
from vsr.model import vision
from vsr.model.vision import import_torchvision


def run(code: str) -> None:
    """Runs `code` in a fresh interpreter, where nothing has been imported or declared and a warning is an error."""
    command = [sys.executable, "-W", "error::UserWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr


def test_models_and_transforms_work_and_the_second_call_is_the_same() -> None:
    torchvision = import_torchvision()
    assert import_torchvision() is torchvision
    transforms = importlib.import_module("torchvision.transforms.v2")
    picture = torch.arange(12, dtype=torch.uint8).view(1, 3, 4)
    assert torch.equal(transforms.functional.horizontal_flip(picture), picture.flip(-1))
    with torch.device("meta"):
        assert len(torchvision.models.vgg19(weights=None).features) == 37


def test_after_a_failed_import_of_somebody_else() -> None:
    """A plain import that fails leaves submodules behind, over which the next one stumbles in another way.

    And the networks have a guard of their own (for spandrel): an operator can be declared only once.
    """
    run(
        "import contextlib\n"
        "for _ in range(2):\n"
        "    with contextlib.suppress(RuntimeError, AttributeError):\n"
        "        import torchvision\n"
        "from vsr.model.vision import import_torchvision\n"
        "assert import_torchvision().models.vgg19 is import_torchvision().models.vgg19\n"
        "import torchvision.transforms.v2\n"
        "from vsr.model.loading import import_spandrel\n"
        "with contextlib.suppress(ImportError):\n"
        "    import_spandrel()\n"
    )


@pytest.mark.slow
def test_after_the_guard_of_the_networks() -> None:
    run(
        "import contextlib\n"
        "from vsr.model.loading import import_spandrel\n"
        "from vsr.model.vision import import_torchvision\n"
        "with contextlib.suppress(ImportError):\n"
        "    import_spandrel()\n"
        "assert import_torchvision().models.vgg19\n"
    )


def test_where_torchvision_works_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("declared although nothing was missing")

    whole = ModuleType("torchvision")
    monkeypatch.setitem(sys.modules, "torchvision", whole)
    monkeypatch.setattr(torch.library, "Library", fail)
    monkeypatch.setattr(vision, "_forget_half_imported", fail)
    assert import_torchvision() is whole


def test_an_operator_is_declared_once() -> None:
    import_torchvision()
    vision._declare_missing_operators()
    vision._declare_missing_operators()
    assert all(hasattr(torch.ops.torchvision, name) for name in ("nms", "qnms"))


@pytest.mark.parametrize("error", [ImportError, RuntimeError, AttributeError])
def test_what_cannot_be_mended_is_said(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail(name: str) -> ModuleType:
        raise error("no such thing")

    modules = dict(sys.modules)
    monkeypatch.setattr(vision.importlib, "import_module", fail)
    monkeypatch.setattr(vision, "_forget_half_imported", lambda: None)
    with pytest.raises(ModelError, match=r"torchvision .*no such thing") as caught:
        import_torchvision()
    assert "pip install" in str(caught.value.hint)
    assert isinstance(caught.value.__cause__, error)
    assert sys.modules == modules
