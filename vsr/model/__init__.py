"""torch's world: the networks, their weights, and how a frame goes through them. No PyAV here.

The package itself imports nothing heavy; torch arrives with the first of the public names.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__all__ = ["Network", "describe", "load_model"]

# Activations are tens of megabytes, given back and taken again at every layer; in small pages the faults alone cost
# as much as the network (854x480: 1184 against 694 ms a frame). torch reads this once, at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

_HOMES = {"Network": "network", "describe": "loading", "load_model": "loading"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
