"""Where vsr keeps things on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_folder", "expand"]


def cache_folder() -> Path:
    """VSR_CACHE if set, else the user's cache folder of the platform and vsr in it."""
    if own := os.environ.get("VSR_CACHE"):
        return expand(own)
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        root = "~/Library/Caches"
    else:
        root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expand(root) / "vsr"


def expand(path: str) -> Path:
    """The path with its leading ~ or ~user replaced; as it is where there is no such user (pathlib would raise)."""
    return Path(os.path.expanduser(path))
