"""torchvision, also where its compiled part does not load."""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType
from typing import Any

import torch

from vsr.errors import ModelError

__all__ = ["import_torchvision"]

# Operators that torchvision's Python parts want to exist when they are imported; nothing here calls them.
_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_lock = threading.Lock()
_library: Any = None  # its declarations live as long as this object


def import_torchvision() -> ModuleType:
    """The module torchvision, with at least `models` and `transforms` usable. Thread-safe, any number of times.

    The usual wheel is built against CUDA's libtorch. Beside a CPU-only torch its compiled part does not load, and
    ``import torchvision`` ends with "operator torchvision::nms does not exist" although models and transforms need
    none of it. Then, and only then, the missing operators are declared (without any code behind them) and the import
    is tried again. Where torchvision works by itself, nothing is touched.

    Raises:
        ModelError: torchvision is not installed, or does not fit the installed torch.
    """
    with _lock:
        try:
            return importlib.import_module("torchvision")
        except ImportError as exc:
            raise ModelError(
                f"torchvision cannot be imported: {exc}",
                hint="pip install torchvision, the release made for your torch",
            ) from exc
        # RuntimeError: the operator is missing. AttributeError: somebody else's import failed so before, and left
        # submodules in memory that the new attempt finds but does not get as attributes.
        except (RuntimeError, AttributeError):
            _forget_half_imported()
            _declare_missing_operators()
        try:
            return importlib.import_module("torchvision")
        except Exception as exc:  # it may fail anywhere in torch's inside
            _forget_half_imported()
            raise ModelError(
                f"torchvision does not fit the installed torch {torch.__version__}: {exc}",
                hint="pip install torchvision, the release made for your torch",
            ) from exc


def _declare_missing_operators() -> None:
    global _library
    missing = [name for name in _OPERATORS if not hasattr(torch.ops.torchvision, name)]
    if missing and _library is None:
        _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in missing:
        _library.define(name + _SCHEMA)


def _forget_half_imported() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
